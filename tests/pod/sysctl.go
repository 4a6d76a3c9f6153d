package pod

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

// Local ports that the pod of safe-sysctls may use.
const (
	lowestPort, highestPort = 34000, 34999
)

// Variants of the pod of safe-sysctls and of what is compared with it.
const (
	sysctlsUnset = "sysctls-unset"
	podForNode   = "the pod in place of its node once it runs"
	chosenPort   = "a local port that the program chose in place of one of the kernel's"
)

// safeSysctl is one that every kubelet of the version allows and the restricted Pod Security level admits. The values are
// nobody's defaults.
type safeSysctl struct{ name, value, since string }

var safe = []safeSysctl{
	{"kernel.shm_rmid_forced", "1", "1.11"},
	{"net.ipv4.ip_local_port_range", fmt.Sprintf("%d %d", lowestPort, highestPort), "1.11"},
	{"net.ipv4.tcp_syncookies", "2", "1.11"},
	{"net.ipv4.ping_group_range", "1000 1001", "1.18"},
	{"net.ipv4.ip_unprivileged_port_start", "90", "1.22"},
	{"net.ipv4.ip_local_reserved_ports", "34500", "1.27"},
	{"net.ipv4.tcp_keepalive_time", "601", "1.29"},
	{"net.ipv4.tcp_fin_timeout", "31", "1.29"},
	{"net.ipv4.tcp_keepalive_intvl", "61", "1.29"},
	{"net.ipv4.tcp_keepalive_probes", "7", "1.29"},
}

func safeSysctls() requirement.Requirement {
	return requirement.Requirement{
		ID:    "pod/safe-sysctls",
		Long:  true,
		Title: "The safe sysctls that a pod sets hold inside it, the kernel acts by them, and the node keeps its own.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/#safe-and-unsafe-sysctls",
			Says: "Safe sysctls are namespaced, enabled by default, and must not influence any other pod on the node nor its health. " +
				"Conformance: \"should support sysctls\".",
		},
		Why: "Port ranges and keepalives decide whether many connections fit and idle ones live. A runtime that ignores them changes " +
			"nothing that a pod's status would show; one that sets them on the node changes it for everyone.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA},
		Wants:   []world.Role{world.Node},
		Check:   checkSysctls,
		Control: requirement.Control{
			Says:    "the same pod without the sysctls",
			Variant: &requirement.Variant{Fixture: sysctlsUnset},
			Red:     []requirement.Reason{requirement.WrongSetting},
		},
		MoreControls: []requirement.Control{
			{Says: podForNode, Variant: &requirement.Variant{Fixture: podForNode}, Red: []requirement.Reason{requirement.WrongSetting}, Wants: []world.Role{world.Node}},
			{Says: chosenPort, Variant: &requirement.Variant{Fixture: chosenPort}, Red: []requirement.Reason{requirement.WrongSetting}},
		},
	}
}

func checkSysctls(ctx context.Context, env *requirement.Env) error {
	peer := env.Role(world.SiblingA)
	set, err := allowedOn(ctx, env, peer.Node)
	if err != nil {
		return err
	}
	node := env.OnNode(world.Node, peer.Node)
	before := map[string]string{}
	if node == nil {
		env.Note("not judged that the node keeps its own: no agent is admitted there")
	} else {
		for _, s := range set {
			if before[s.name], err = sysctl(ctx, node, s.name); err != nil {
				return err
			}
		}
	}
	pod := env.NewPod(peer.Node, world.Container("agent"))
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{}
	for _, s := range set {
		if !env.Fixture(sysctlsUnset) {
			pod.Spec.SecurityContext.Sysctls = append(pod.Spec.SecurityContext.Sysctls, corev1.Sysctl{Name: s.name, Value: s.value})
		}
	}
	started, err := env.Start(ctx, pod)
	if err != nil {
		return err
	}
	inside := started.Ends["agent"]
	if node != nil && env.Fixture(podForNode) {
		node = inside
	}
	wrong := func(end *requirement.End, name, expected, observed string) error {
		return &requirement.Failure{Reason: requirement.WrongSetting, To: end, Target: name, Protocol: "sysctl", Expected: expected, Observed: observed,
			Again: "cat /proc/sys/" + strings.ReplaceAll(name, ".", "/")}
	}
	for _, s := range set {
		seen, err := sysctl(ctx, inside, s.name)
		if err != nil {
			return err
		}
		if seen != s.value {
			observed := fmt.Sprintf("%q", seen)
			if seen == "" {
				observed = "no such sysctl"
			}
			return wrong(inside, s.name, fmt.Sprintf("%s to be %q as the pod sets it", s.name, s.value), observed)
		}
		if node == nil {
			continue
		}
		if seen, err = sysctl(ctx, node, s.name); err != nil {
			return err
		}
		if seen != before[s.name] {
			return wrong(node, s.name, fmt.Sprintf("the node's %s to stay %q", s.name, before[s.name]), fmt.Sprintf("%q", seen))
		}
	}
	ip, err := env.IP(peer)
	if err != nil {
		return err
	}
	source := ""
	if env.Fixture(chosenPort) {
		source = fmt.Sprintf(":%d", env.Port(1)) // which is not in the range
	}
	seen, err := exchange.Works(ctx, env, exchange.Talk{From: inside, To: peer, Network: "tcp", Source: source,
		Bind: requirement.At(env.Any(), env.Port(0)), Dial: requirement.At(ip, env.Port(0))})
	if err != nil {
		return err
	}
	if port := exchange.Port(seen.Local); port < lowestPort || port > highestPort {
		return wrong(inside, "net.ipv4.ip_local_port_range", fmt.Sprintf("a local port from %d to %d", lowestPort, highestPort), fmt.Sprint(port))
	}
	env.Note("%d sysctls", len(set))
	return nil
}

// allowedOn are the sysctls that the node's kubelet knows as safe.
func allowedOn(ctx context.Context, env *requirement.Env, name string) (set []safeSysctl, err error) {
	node, err := env.Kube.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading Node %s: %w", name, err)
	}
	kubelet, err := version.ParseGeneric(node.Status.NodeInfo.KubeletVersion)
	if err != nil {
		return nil, fmt.Errorf("reading the kubelet's version of Node %s: %w", name, err)
	}
	for _, s := range safe {
		if kubelet.AtLeast(version.MustParseGeneric(s.since)) {
			set = append(set, s)
		}
	}
	return set, nil
}

// sysctl is the value that the end sees, its parts one space apart; "" where its kernel has no such sysctl.
func sysctl(ctx context.Context, end *requirement.End, name string) (string, error) {
	seen, err := end.File(ctx, wire.File{Do: "read", Path: "/proc/sys/" + strings.ReplaceAll(name, ".", "/")})
	if err == nil && !seen.Ok() && seen.Class != wire.NotThere {
		err = fmt.Errorf("%s", seen.Errno)
	}
	if err != nil {
		return "", fmt.Errorf("reading %s in %s: %w", name, end, err)
	}
	return strings.Join(strings.Fields(string(seen.Data)), " "), nil
}
