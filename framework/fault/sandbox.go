package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/cri"
	"github.com/parley-k8s/parley/framework/requirement"
)

const (
	// lookForSandboxes is how often new sandboxes are looked for.
	lookForSandboxes = 100 * time.Millisecond
	// holdSandboxes bounds the whole, should nobody lift it.
	holdSandboxes = time.Minute
)

// StopNewSandboxes stops every sandbox that the kubelet makes in place of the first one of the requirement's own
// pods (those whose name begins as Env.NewPod's do), on the node of the role, as soon as it is there.
func StopNewSandboxes(role world.Role) requirement.Point {
	return requirement.Point{Where: "CRI of the node of the " + string(role), Inject: func(ctx context.Context, env *requirement.Env) (requirement.Injected, error) {
		agent := AgentOn(env, env.Role(role).Node)
		if agent == nil {
			return nil, errNoAgent
		}
		client, err := cri.Connect(ctx, env, agent)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), holdSandboxes)
		h := &sandboxStopper{client: client, cancel: cancel, namespace: env.Namespace(), prefix: env.Requirement.ObjectName() + "-"}
		h.running.Go(func() { h.run(ctx) })
		return h, nil
	}}
}

type sandboxStopper struct {
	client            *cri.Client
	namespace, prefix string
	cancel            context.CancelFunc
	running           sync.WaitGroup
	stopped           atomic.Int64
	lifted            sync.Once
	failed            error // the last one, once running is done
}

func (h *sandboxStopper) run(ctx context.Context) {
	tick := time.NewTicker(lookForSandboxes)
	defer tick.Stop()
	for {
		if err := h.stopReady(ctx); err != nil && ctx.Err() == nil {
			h.failed = err
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (h *sandboxStopper) stopReady(ctx context.Context) error {
	ready := &runtime.PodSandboxStateValue{State: runtime.PodSandboxState_SANDBOX_READY}
	list, err := h.client.ListPodSandbox(ctx, &runtime.ListPodSandboxRequest{Filter: &runtime.PodSandboxFilter{State: ready}})
	if err != nil {
		return fmt.Errorf("listing the sandboxes of %s: %w", h.client.Node, err)
	}
	for _, s := range list.Items {
		m := s.GetMetadata()
		if m.GetNamespace() != h.namespace || !strings.HasPrefix(m.GetName(), h.prefix) || m.GetAttempt() == 0 {
			continue
		}
		if _, err := h.client.StopPodSandbox(ctx, &runtime.StopPodSandboxRequest{PodSandboxId: s.Id}); err != nil {
			return fmt.Errorf("stopping the sandbox %s: %w", s.Id, err)
		}
		h.stopped.Add(1)
	}
	return nil
}

func (h *sandboxStopper) Acted(context.Context) (bool, string, error) {
	n := h.stopped.Load()
	return n > 0, fmt.Sprintf("%d new sandboxes stopped", n), nil
}

func (h *sandboxStopper) Lift(context.Context) (err error) {
	h.lifted.Do(func() {
		h.cancel()
		h.running.Wait()
		err = h.client.Close()
		if h.stopped.Load() == 0 {
			err = errors.Join(err, h.failed)
		}
	})
	return err
}
