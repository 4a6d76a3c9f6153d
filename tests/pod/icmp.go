package pod

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

func echoes() (all []requirement.Requirement) {
	for _, at := range placements {
		all = append(all, answersEcho(at))
	}
	return all
}

func answersEcho(at placement) requirement.Requirement {
	return requirement.Requirement{
		ID:    "pod/icmp-" + at.suffix,
		Title: "Two pods " + at.says + " answer each other's ICMP echo requests by pod IP, each direction.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://www.rfc-editor.org/rfc/rfc1122#section-3.2.2.6",
			Says: "Every host answers echo requests; for IPv6, RFC 4443, section 4.2, says the same. " +
				"The Kubernetes network model names no protocol.",
		},
		Why: "Ping is the first thing anyone tries, and a network that drops ICMP wholesale drops \"fragmentation needed\" with it, " +
			"which ends in connections that hang.",
		Needs:     at.needs,
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA, at.peer},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			a, b := env.Role(world.SiblingA), env.Role(at.peer)
			for _, way := range []struct{ from, to *requirement.End }{{a, b}, {b, a}} {
				if err := pings(ctx, env, way.from, way.to); err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "echo requests dropped as they reach the other pod",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(at.peer, fault.DropEcho(at.peer)),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{{
			Says:  "echo requests dropped as they reach the first pod",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.InPodOf(world.SiblingA, fault.DropEcho(world.SiblingA))}},
			Red:   []requirement.Reason{requirement.NoAnswer},
		}},
	}
}

func pings(ctx context.Context, env *requirement.Env, from, to *requirement.End) error {
	ip, err := env.IP(to)
	if err != nil {
		return err
	}
	if from, err = pinger(ctx, env, from); err != nil {
		return err
	}
	return env.Until(ctx, func(ctx context.Context) error {
		seen, err := from.Ping(ctx, wire.Ping{Address: ip.String(), Timeout: int(env.Attempt / time.Millisecond)})
		if err != nil {
			return fmt.Errorf("asking %s to ping %s: %w", from, ip, err)
		}
		switch {
		case seen.Ok() && seen.From == ip.String():
			return nil
		case seen.Ok():
			return &requirement.Failure{Reason: requirement.WrongPeer, From: from, To: to, Target: ip.String(), Protocol: "icmp",
				Expected: "an echo reply from " + ip.String(), Observed: "one from " + seen.From}
		}
		return &requirement.Failure{Reason: requirement.ReasonOf(seen.Errno), From: from, To: to, Target: ip.String(), Protocol: "icmp",
			Expected: "an echo reply from " + ip.String(), Observed: fmt.Sprintf("%s at %s", seen.Errno, seen.Step),
			Again: "kubectl debug -n " + from.Namespace + " " + from.Pod + " --image=busybox -it -- ping -c 3 " + ip.String()}
	})
}

// pinger is the end itself where it may open a ping socket or a raw one, else a pod beside it whose own sysctl
// allows the former.
func pinger(ctx context.Context, env *requirement.Env, end *requirement.End) (*requirement.End, error) {
	try := func(end *requirement.End) (wire.Pinged, error) {
		seen, err := end.Ping(ctx, wire.Ping{Address: env.Loopback().String(), Timeout: int(env.Attempt / time.Millisecond)})
		if err != nil {
			err = fmt.Errorf("asking %s to ping itself: %w", end, err)
		}
		return seen, err
	}
	seen, err := try(end)
	if err != nil || seen.Step != "socket" {
		if err == nil && seen.Socket == "raw" {
			env.Note("%s pings through a raw socket: its runtime grants NET_RAW and no ping sockets", end.Where())
		}
		return end, err
	}
	pod := env.NewPod(end.Node, world.Container("client"))
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "net.ipv4.ping_group_range", Value: "0 2147483647"}}}
	started, err := env.Start(ctx, pod)
	if err != nil {
		return nil, err
	}
	env.Note("the runtime gives ordinary pods on %s no ping sockets (%s); a pod with the sysctl net.ipv4.ping_group_range stood in", end.Node, seen.Errno)
	own := started.Ends["client"]
	if seen, err = try(own); err == nil && seen.Step == "socket" {
		err = &requirement.Unsupported{Probed: fmt.Sprintf("opening a ping socket on %s, as it is and with net.ipv4.ping_group_range set: %s", end.Node, seen.Errno)}
	}
	return own, err
}
