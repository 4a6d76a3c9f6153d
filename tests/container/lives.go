package container

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

// listens opens a server in the end, which goes with its agent.
func listens(ctx context.Context, end *requirement.End, at string) error {
	server, err := end.Listen(ctx, wire.Listen{Network: "tcp", Address: at})
	if err != nil {
		return fmt.Errorf("opening a server in %s: %w", end, err)
	}
	if !server.Ok() {
		return fmt.Errorf("%s cannot open a server: %s", end, server.Errno)
	}
	return nil
}

// runsOn is for how long a container is looked at that is not to end meanwhile, and looks how often.
const (
	runsOn = 2 * time.Second
	looks  = 10
	// endsWithin bounds the wait for the answer of an agent that ends itself.
	endsWithin = 5 * time.Second
)

// answersOn has the end dial a server of another container of its pod for a while. The server goes with its agent: a container that ended
// refuses, also where it was started again. Who that is, is not asked of it, since it may be gone.
func answersOn(ctx context.Context, env *requirement.Env, from *requirement.End, port int) error {
	talk := exchange.Talk{From: from, Network: "tcp", Dial: requirement.At(env.Loopback(), port)}
	_, err := until.Settled(ctx, until.Policy{Within: min(env.Patience, 2*runsOn), Every: runsOn / looks, Consecutive: looks},
		func(ctx context.Context) error {
			_, err := exchange.Again(ctx, env, talk)
			return err
		})
	return err
}

// ends has the end's main process end, without waiting for one that the kubelet starts after it.
func ends(ctx context.Context, end *requirement.End) error {
	id, err := end.Identity(ctx)
	if err != nil {
		return fmt.Errorf("asking %s who it is: %w", end, err)
	}
	asked, cancel := context.WithTimeout(ctx, endsWithin)
	defer cancel()
	if err := askedToEnd(asked, end, id.PID); err != nil && asked.Err() == nil {
		return err
	}
	return ctx.Err()
}

// boots are the lives that the ends' agents are in.
func boots(ctx context.Context, ends ...*requirement.End) ([]string, error) {
	var all []string
	for _, end := range ends {
		id, err := end.Identity(ctx)
		if err != nil {
			return nil, fmt.Errorf("asking %s who it is: %w", end, err)
		}
		all = append(all, id.Boot)
	}
	return all, nil
}

// sameBoots says whether none of the ends was restarted since.
func sameBoots(ctx context.Context, before []string, ends ...*requirement.End) error {
	for i, end := range ends {
		now, err := boots(ctx, end)
		if err != nil {
			return err
		}
		if now[0] != before[i] {
			return &requirement.Failure{Reason: requirement.NoEffect, From: end, Protocol: "restart", Expected: "this container to run on",
				Observed: "another life of it", Again: fmt.Sprintf("kubectl get pod -n %s %s", end.Namespace, end.Pod)}
		}
	}
	return nil
}

// appears waits for a file that a hook makes.
func appears(ctx context.Context, env *requirement.Env, end *requirement.End, pod *corev1.Pod, at string) error {
	_, err := become(ctx, env, pod, func(*corev1.Pod) error {
		seen, err := file(ctx, end, wire.File{Do: "stat", Path: at})
		if err == nil && !seen.Ok() {
			return kubeletFailure(requirement.NoEffect, end, pod, "hook", "the hook to leave "+at, seen.Errno.String())
		}
		return err
	})
	return err
}
