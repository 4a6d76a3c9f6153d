package pod

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

func newIPAfterRecreate() requirement.Requirement {
	return requirement.Requirement{
		ID:    "pod/new-ip-after-recreate",
		Long:  true,
		Title: "A pod that was deleted and made again under its name is reached at its new IP as soon as it is ready, and the old IP is silent.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-lifetime",
			Says: "A pod is never moved: its replacement is another pod, even under the same name. Each pod has its own IP, and pods reach " +
				"all other pods.",
		},
		Why: "StatefulSets do this at every update. Routes, neighbour entries and maps that still know the old pod make the new one " +
			"unreachable for seconds to minutes, from some nodes only.",
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA},
		Wants:     []world.Role{world.Far},
		PerFamily: true,
		Check:     checkRecreate,
		Control: requirement.Control{
			Says: "a stale route to the new IP on a client's node",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.Midway(fault.StaleRoute(world.SiblingA, "tcp", world.TargetPort)),
				fault.Midway(fault.InPodOf(world.SiblingA, fault.DropToMiddle("output", "tcp", world.TargetPort))),
			}},
			Red: []requirement.Reason{requirement.NoAnswer, requirement.Unreachable},
		},
	}
}

// silenceWithin is how long an address must say nothing to count as silent.
const silenceWithin = time.Second

func checkRecreate(ctx context.Context, env *requirement.Env) error {
	clients := []*requirement.End{env.Role(world.SiblingA)}
	node := clients[0].Node
	if far := env.Roles(world.Far); len(far) > 0 {
		clients, node = append(clients, far[0]), far[0].Node
	}
	pod := env.NewPod(node, world.Container("web", fmt.Sprintf("tcp=:%d", world.TargetPort)))
	pod.Name, pod.GenerateName = pod.GenerateName+rand.String(5), "" // one name for both pods
	reach := func(started *requirement.Started) error {
		end := started.Ends["web"]
		ip, err := env.IP(end)
		if err != nil {
			return err
		}
		for _, client := range clients {
			if _, err := exchange.Works(ctx, env, exchange.Talk{From: client, To: end, Network: "tcp", Dial: requirement.At(ip, world.TargetPort)}); err != nil {
				return err
			}
		}
		return nil
	}
	first, err := env.Start(ctx, pod)
	if err != nil {
		return err
	}
	if err := reach(first); err != nil {
		return err
	}
	was, err := first.Ends["web"].Identity(ctx)
	if err != nil {
		return fmt.Errorf("asking %s who it is: %w", first.Pod.Name, err)
	}
	old, err := env.IP(first.Ends["web"])
	if err != nil {
		return err
	}
	if err := first.Remove(ctx); err != nil {
		return err
	}
	second, err := env.Start(ctx, pod)
	if err != nil {
		return err
	}
	if err := env.Midway(ctx, second.Ends["web"]); err != nil {
		return err
	}
	ready := time.Now()
	if err := reach(second); err != nil {
		return err
	}
	env.Note("%s: reached from %d nodes %s after it was seen ready", env.Family, len(clients), time.Since(ready).Round(time.Millisecond))
	if now, _ := second.Ends["web"].IP(env.Family); now == old {
		env.Note("%s: the new pod got the old IP %s, so its silence was not judged", env.Family, old)
		return nil
	}
	for _, client := range clients {
		talk := exchange.Talk{From: client, Network: "tcp", Dial: requirement.At(old, world.TargetPort), Within: silenceWithin}
		ip, err := env.IP(second.Ends["web"])
		if err != nil {
			return err
		}
		heard := exchange.Talk{From: client, To: second.Ends["web"], Network: "tcp", Dial: requirement.At(ip, world.TargetPort)}
		if _, err := exchange.Silent(ctx, env, talk, heard, "the IP of the pod that is gone"); err != nil {
			if f := requirement.AsFailure(err); f != nil && f.Reason == requirement.Answered {
				seen, err := exchange.Once(ctx, env, talk)
				if w := seen.Witness; err == nil && w != nil && w.Boot != was.Boot && w.Who != second.Pod.Name {
					env.Note("%s: the old IP %s belongs to %s by now", env.Family, old, w.Who)
					continue
				}
				f.Again = "ip route get " + old.String() + "; ip neighbour show " + old.String() + "   (on both nodes)"
			}
			return err
		}
	}
	return nil
}
