package external

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

const (
	closedPort = "closed-port"
	// forwardReady bounds the time until the API server and the kubelet have taken up a forwarding.
	forwardReady = 10 * time.Second
)

func portForward() requirement.Requirement {
	return requirement.Requirement{
		ID:    "external/port-forward",
		Title: "A port forwarded through the API server reaches a server that listens on 127.0.0.1 only, in a pod on every node.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/tasks/access-application-cluster/port-forward-access-application-cluster/",
			Says: "Connections to the forwarded local port reach the port within the pod, over TCP, by way of the API server and the kubelet. " +
				"The kubelet opens them in the pod's own network namespace, on localhost.",
		},
		Why: "It is how people reach databases and consoles that no Service publishes. It needs no pod network at all, but the API server's " +
			"way to every kubelet, a streaming runtime and proxies on the way that let upgraded connections through.",
		Roles: []world.Role{world.Everywhere},
		Check: checkPortForward,
		Control: requirement.Control{
			Says:    "the server on another port than the one forwarded",
			Variant: &requirement.Variant{Fixture: closedPort},
			Red:     []requirement.Reason{requirement.Broken, requirement.Refused, requirement.NoAnswer},
		},
	}
}

func checkPortForward(ctx context.Context, env *requirement.Env) error {
	dialer, stop, err := probe.Local(env.World.Key)
	if err != nil {
		return fmt.Errorf("starting an agent within the suite: %w", err)
	}
	defer stop()
	client := &requirement.End{Agent: probe.New("the suite", dialer), Role: "the suite's machine"}
	defer func() { _ = client.Close() }() // it ends with the process otherwise
	group, groupCtx := errgroup.WithContext(ctx)
	for _, server := range env.Roles(world.Everywhere) {
		group.Go(func() error { return forwarded(groupCtx, env, client, server) })
	}
	return group.Wait()
}

func forwarded(ctx context.Context, env *requirement.Env, client, server *requirement.End) error {
	port := env.Port(0)
	listens := port
	if env.Fixture(closedPort) {
		listens = env.Port(1)
	}
	opened, err := server.Listen(ctx, wire.Listen{Network: "tcp", Address: requirement.At(env.Loopback(), listens)})
	if err == nil && !opened.Ok() {
		err = errors.New(opened.Errno.String())
	}
	if err != nil {
		return fmt.Errorf("opening a server in %s: %w", server, err)
	}
	defer exchange.Release(ctx, server, opened.Handle)
	again := fmt.Sprintf("kubectl port-forward -n %s %s :%d", server.Namespace, server.Pod, listens)
	return env.Until(ctx, func(ctx context.Context) error {
		f, err := forward(ctx, env, server, port)
		if err != nil {
			return &requirement.Failure{Reason: requirement.NoAnswer, From: client, To: server, Protocol: "port-forward",
				Target:   fmt.Sprintf("pods/%s/portforward", server.Pod),
				Expected: "the API server to forward port " + fmt.Sprint(port), Observed: err.Error(), Again: again}
		}
		defer f.close()
		_, err = exchange.Again(ctx, env, exchange.Talk{From: client, To: server, Network: "tcp", Dial: fmt.Sprintf("127.0.0.1:%d", f.local)})
		if failure := requirement.AsFailure(err); failure != nil {
			failure.Protocol, failure.Again = "port-forward", again
			failure.Expected = fmt.Sprintf("an answer from 127.0.0.1:%d in the pod, forwarded", port)
			if told := strings.TrimSpace(f.told.String()); told != "" {
				failure.Observed += "; " + told
			}
		}
		return err
	})
}

// forwarding is a local port that leads to a pod's.
type forwarding struct {
	local int
	told  *said // what the other side said of connections that failed
	stop  chan struct{}
	ended chan error
}

// forward opens a forwarding as kubectl does: over WebSocket, or over SPDY where a server on the way is older.
func forward(ctx context.Context, env *requirement.Env, server *requirement.End, port int) (*forwarding, error) {
	url := env.Kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(server.Namespace).Name(server.Pod).SubResource("portforward").URL()
	tunnel, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, env.Config)
	if err != nil {
		return nil, err
	}
	transport, upgrader, err := spdy.RoundTripperFor(env.Config)
	if err != nil {
		return nil, err
	}
	plain := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	dialer := portforward.NewFallbackDialerForStreaming(tunnel, plain, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	f := &forwarding{told: new(said), stop: make(chan struct{}), ended: make(chan error, 1)}
	ready := make(chan struct{})
	forwarder, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, f.stop, ready, new(said), f.told)
	if err != nil {
		return nil, err
	}
	go func() { f.ended <- forwarder.ForwardPorts() }()
	timer := time.NewTimer(forwardReady)
	defer timer.Stop()
	select {
	case <-ready:
	case err := <-f.ended:
		return nil, fmt.Errorf("it ended at once: %w", err)
	case <-timer.C:
		f.close()
		return nil, fmt.Errorf("not ready after %s", forwardReady)
	case <-ctx.Done():
		f.close()
		return nil, context.Cause(ctx)
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		f.close()
		return nil, err
	}
	f.local = int(ports[0].Local)
	return f, nil
}

func (f *forwarding) close() { close(f.stop) }

// said keeps what is written to it from several goroutines.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
