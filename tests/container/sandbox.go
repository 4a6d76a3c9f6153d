package container

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/cri"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

// criAnswers bounds one call to a runtime. Stopping a sandbox tears its network down, which takes a second or two.
const criAnswers = 20 * time.Second

func podIPSurvivesRestart() requirement.Requirement {
	const sandbox = "kill the sandbox"
	return requirement.Requirement{
		ID:   "container/pod-ip-survives-restart",
		Long: true,
		Title: "When a container of a pod ends and is restarted, the pod keeps its IPs and its network namespace, and the open connections of " +
			"its siblings go on, whichever container it was.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/workloads/pods/#pod-networking",
			Says: "Each pod has an IP for each family and every container of it shares the network namespace: it is the pod's, made once for " +
				"the sandbox, and not a container's.",
		},
		Why: "A crash of a sidecar shall not cut the connections of the server beside it. It is what the sandbox is for: it holds the namespace " +
			"while containers come and go.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.Near},
		Wants:   []world.Role{world.Node},
		Check: func(ctx context.Context, env *requirement.Env) error {
			return checkIPSurvives(ctx, env, env.Fixture(sandbox))
		},
		Control: requirement.Control{Says: sandbox, Variant: &requirement.Variant{Fixture: sandbox},
			Red: []requirement.Reason{requirement.Lost}},
	}
}

func checkIPSurvives(ctx context.Context, env *requirement.Env, killSandbox bool) error {
	started, err := env.Start(ctx, env.NewPod(nodeOfSiblings(env), world.Container("a"), world.Container("b")))
	if err != nil {
		return err
	}
	client, pod := env.Role(world.Near), started.Pod
	for i, way := range []struct{ killed, sibling *requirement.End }{
		{started.Ends["a"], started.Ends["b"]}, {started.Ends["b"], started.Ends["a"]},
	} {
		fail := func(from *requirement.End, expected, observed string) error {
			return &requirement.Failure{Reason: requirement.Lost, From: from, To: way.sibling, Protocol: "restart of container " + way.killed.Container,
				Expected: expected, Observed: observed, Again: fmt.Sprintf("kubectl get pod -n %s %s -o wide --watch", pod.Namespace, pod.Name)}
		}
		before, err := inode(ctx, way.sibling, "net")
		if err != nil {
			return err
		}
		ip, err := env.IP(way.sibling)
		if err != nil {
			return err
		}
		server, err := way.sibling.Listen(ctx, wire.Listen{Network: "tcp", Address: requirement.At(env.Any(), env.Port(i))})
		if err != nil {
			return fmt.Errorf("opening a server in %s: %w", way.sibling, err)
		}
		if !server.Ok() {
			return fmt.Errorf("%s cannot open a server: %s", way.sibling, server.Errno)
		}
		held, err := openConnection(ctx, client, requirement.At(ip, env.Port(i)))
		if err != nil {
			return err
		}
		defer exchange.Release(ctx, client, held)
		if killSandbox {
			err = stopSandbox(ctx, env, pod)
		} else {
			err = restart(ctx, env, way.killed)
		}
		if err != nil {
			return err
		}
		on, err := client.Connect(ctx, wire.Connect{Network: "tcp", Reuse: held, Timeout: int(env.Attempt / time.Millisecond)})
		if err != nil {
			return fmt.Errorf("going on with a connection from %s: %w", client, err)
		}
		if len(on.Seen) != 1 || !on.Seen[0].Ok() || !on.Seen[0].Same {
			return fail(client, "the open connection to go on while container "+way.killed.Container+" is restarted", onlyTry(on))
		}
		now, err := become(ctx, env, pod, func(now *corev1.Pod) error {
			if s := statusOf(now, way.killed.Container); s.RestartCount == 0 {
				return kubeletFailure(requirement.NoEffect, way.killed, pod, "restart", "the restart to be counted", stateWords(s))
			}
			return nil
		})
		if err != nil {
			return err
		}
		if !slices.Equal(now.Status.PodIPs, pod.Status.PodIPs) {
			return fail(way.killed, "status.podIPs to stay "+ips(pod), ips(now))
		}
		for _, end := range []*requirement.End{way.sibling, way.killed} {
			after, err := inode(ctx, end, "net")
			if err != nil {
				return err
			}
			if after != before {
				return fail(end, fmt.Sprintf("the network namespace to stay (inode %d)", before), fmt.Sprintf("inode %d", after))
			}
		}
	}
	return nil
}

// openConnection opens a connection that stays.
func openConnection(ctx context.Context, client *requirement.End, to string) (string, error) {
	got, err := client.Connect(ctx, wire.Connect{Network: "tcp", Address: to, KeepOpen: true})
	if err != nil {
		return "", fmt.Errorf("dialling %s from %s: %w", to, client, err)
	}
	if len(got.Seen) != 1 || !got.Seen[0].Ok() {
		return "", fmt.Errorf("%s cannot open a connection to %s: %s", client, to, onlyTry(got))
	}
	return got.Seen[0].Handle, nil
}

// onlyTry says how the only try went.
func onlyTry(c wire.Connected) string {
	if len(c.Seen) != 1 {
		return fmt.Sprintf("%d attempts", len(c.Seen))
	}
	return c.Seen[0].Errno.String()
}

func ips(pod *corev1.Pod) string {
	var all []string
	for _, ip := range pod.Status.PodIPs {
		all = append(all, ip.IP)
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// stopSandbox stops the pod's sandbox as the kubelet would.
func stopSandbox(ctx context.Context, env *requirement.Env, pod *corev1.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, criAnswers)
	defer cancel()
	client, err := cri.OnNode(ctx, env, pod.Spec.NodeName)
	if err != nil {
		return err
	}
	defer client.Close()
	all, err := client.Sandboxes(ctx, string(pod.UID))
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("the runtime of %s knows no sandbox of pod %s", pod.Spec.NodeName, pod.Name)
	}
	if _, err := client.StopPodSandbox(ctx, &runtime.StopPodSandboxRequest{PodSandboxId: all[0].Id}); err != nil {
		return fmt.Errorf("stopping the sandbox %s of pod %s: %w", all[0].Id, pod.Name, err)
	}
	return nil
}

func sandboxReplaced() requirement.Requirement {
	return requirement.Requirement{
		ID:   "container/sandbox-replaced",
		Long: true,
		Title: "A pod whose sandbox was stopped through the CRI gets another one: its containers run again, it is reached, and status.podIPs says " +
			"what it sees of itself.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-network-readiness",
			Says: "Later in the pod's life, when the sandbox is destroyed, the kubelet makes a new one and configures its network; the condition " +
				"PodReadyToStartContainers follows that.",
		},
		Why: "A runtime that was restarted or upgraded, or a node that ran out of memory, leaves pods without their sandbox. A pod that keeps its old IP " +
			"in the API after that is one that nobody reaches.",
		Needs:   []requirement.Feature{requirement.NodeAgent},
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.Near, world.Node},
		Check:   checkSandboxReplaced,
		Control: requirement.Control{
			Says:  "the replacement held back",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.StopNewSandboxes(world.SiblingA)}},
			Red:   []requirement.Reason{requirement.NoEffect},
		},
	}
}

func checkSandboxReplaced(ctx context.Context, env *requirement.Env) error {
	started, err := env.Start(ctx, env.NewPod(nodeOfSiblings(env), world.Container("a"), world.Container("b")))
	if err != nil {
		return err
	}
	pod := started.Pod
	if err := stopSandbox(ctx, env, pod); err != nil {
		return err
	}
	begun := time.Now()
	now, err := becomeWithin(ctx, env, pod, unlessRed(env, 6*time.Second), func(now *corev1.Pod) error {
		for _, c := range pod.Spec.Containers {
			if s := statusOf(now, c.Name); s.RestartCount == 0 || !s.Ready || len(now.Status.PodIPs) == 0 {
				return kubeletFailure(requirement.NoEffect, started.Ends[c.Name], pod, "sandbox", "the container to run in a new sandbox",
					stateWords(s)+", podIPs "+ips(now))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	env.Note("the pod ran again %s after its sandbox was stopped; podIPs %s before and %s after", time.Since(begun).Round(100*time.Millisecond), ips(pod), ips(now))
	client := env.Role(world.Near)
	for i, name := range []string{"a", "b"} {
		end := started.Ends[name]
		id, err := end.Identity(ctx)
		if err != nil {
			return fmt.Errorf("asking %s who it is: %w", end, err)
		}
		for _, ip := range now.Status.PodIPs {
			if !hasAddress(id, ip.IP) {
				return kubeletFailure(requirement.Broken, end, pod, "sandbox", "status.podIPs to name addresses that the container has",
					fmt.Sprintf("%s in the API, %v inside", ip.IP, addresses(id)))
			}
			addr, err := netip.ParseAddr(ip.IP)
			if err != nil {
				return fmt.Errorf("status.podIPs of %s: %w", pod.Name, err)
			}
			if addr.Is4() != env.Loopback().Is4() {
				continue
			}
			if _, err := exchange.Works(ctx, env, exchange.Talk{From: client, To: end, Network: "tcp",
				Bind: requirement.At(env.Any(), env.Port(i)), Dial: requirement.At(addr, env.Port(i))}); err != nil {
				return err
			}
		}
	}
	return sameNamespace(ctx, "net", started.Ends["a"], started.Ends["b"])
}

func addresses(id wire.Identity) (all []string) {
	for _, i := range id.Interfaces {
		all = append(all, i.Addrs...)
	}
	return all
}

func hasAddress(id wire.Identity, ip string) bool {
	return slices.ContainsFunc(addresses(id), func(cidr string) bool { address, _, _ := strings.Cut(cidr, "/"); return address == ip })
}
