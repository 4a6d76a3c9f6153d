package dns

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/dnscache"
)

const (
	// newServices is how many Services are made, one after another, to see how soon they resolve.
	newServices = 10
	// makeFor is how long new ones are made: where a DNS pod keeps the no that it gave too early, each takes as long as that.
	makeFor = 30 * time.Second
	// holdServer bounds how long a DNS pod is held by the control: shorter than its probes' patience.
	holdServer = 20 * time.Second
)

func newServiceLatency() requirement.Requirement {
	return requirement.Requirement{
		ID:     "dns/new-service-latency",
		Title:  "A new Service resolves on each DNS pod within 10 s and the time that an earlier NXDOMAIN may be kept.",
		Level:  requirement.Should,
		Clause: programming,
		Why: "Installers make a Service and at once dial its name. Each DNS pod has a watch of its own: one that has lost it answers from memory, " +
			"for ever right about the old and wrong about the new. Asked one by one, as here, it shows.",
		OneNode: serversAnswer,
		Roles:   []world.Role{world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			all, err := servers(ctx, env)
			if err != nil {
				return err
			}
			var mu sync.Mutex
			var each []time.Duration
			begun, made := time.Now(), 0
			for ; made < newServices && time.Since(begun) < makeFor; made++ {
				service, err := newService(ctx, env, ordinarySpec())
				if err != nil {
					return err
				}
				group, ctx := errgroup.WithContext(ctx)
				for i, s := range all {
					group.Go(func() error {
						// From any port where there are more servers than ports.
						q := wire.DNS{Server: s.address, Name: fullName(env, service.Name, service.Namespace), Type: recordOf(family(service)), Source: ":0"}
						if i < waysToAsk {
							q.Source = source(env, i)
						}
						var kept dnscache.Keeping
						took, err := follows(ctx, env, &kept, func(ctx context.Context) error {
							return hasRecordsNow(ctx, env, env.Role(world.Near), &kept, q, service.Spec.ClusterIP)
						})
						if f := requirement.AsFailure(err); f != nil {
							f.Target = fmt.Sprintf("%s at the DNS pod %s", q.Name, s)
						}
						env.RecordConvergence("DNS shows a new Service", requirement.ConvergenceSample{Node: s.node, Family: string(family(service)), FirstRight: took})
						mu.Lock()
						defer mu.Unlock()
						each = append(each, took)
						return err
					})
				}
				if err := group.Wait(); err != nil {
					return err
				}
			}
			slices.Sort(each)
			env.Note("%d new Services on %d DNS pods: p50 %s, p99 and longest %s", made, len(all),
				each[len(each)/2].Round(time.Millisecond), each[len(each)-1].Round(time.Millisecond))
			return nil
		},
		Control: requirement.Control{
			Says: "one DNS pod held by SIGSTOP, or what goes to it dropped",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.SuspendInPod(oneServer, "coredns", holdServer),
				fault.InPodOf(world.Near, dropToOneServer("output", "udp", "tcp")),
			}},
			Red:   []requirement.Reason{requirement.NoAnswer},
			Alone: true,
		},
	}
}

// oneServer is a DNS pod on a node that has an agent, which holds it.
func oneServer(ctx context.Context, env *requirement.Env) (node, podUID string, err error) {
	all, err := servers(ctx, env)
	if err != nil {
		return "", "", err
	}
	for _, s := range all {
		if s.pod != nil && fault.AgentOn(env, s.node) != nil {
			return s.node, string(s.pod.UID), nil
		}
	}
	return "", "", fmt.Errorf("no privileged agent runs on a node of the DNS pods, of which the first is %s", all[0])
}
