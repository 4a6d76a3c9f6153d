package dns

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

var hostsFile = requirement.Clause{
	URL: "https://kubernetes.io/docs/tasks/network/customize-hosts-file-for-pods/",
	Says: "The kubelet manages each container's hosts file: it has the pod's own names, and the entries of hostAliases, which override how " +
		"those names resolve in this pod.",
}

func etcHosts() requirement.Requirement {
	return requirement.Requirement{
		ID:     "dns/etc-hosts",
		Title:  "A pod with a hostname and a subdomain finds its own full name in /etc/hosts, and DNS gives others the same address.",
		Level:  requirement.Must,
		Clause: hostsFile,
		Why: "Cluster software looks up its own full name to tell its peers. It must not depend on DNS, which has the record only once the pod is " +
			"ready, and the two must agree: else a member introduces itself under an address that its peers don't know.",
		PerNode:   true,
		Roles:     []world.Role{world.Subdomained, world.Near},
		Services:  []world.Service{world.Subdomain},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			pod := env.Role(world.Subdomained)
			own, err := env.IP(pod)
			if err != nil {
				return err
			}
			name := env.World.SubdomainedName(pod.Node) + "." + nameOf(env, world.Subdomain)
			if err := inHosts(ctx, env, pod, strings.TrimSuffix(name, "."), own.String()); err != nil {
				return err
			}
			return hasRecords(ctx, env, env.Role(world.Near), wire.DNS{Name: name, Type: recordOf(env.Family)}, own.String())
		},
		Control: requirement.Control{
			Says:    "a pod without hostname and subdomain",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.Subdomained: world.Near}},
			Red:     []requirement.Reason{requirement.NameLost},
		},
		MoreControls: []requirement.Control{lied(world.LiarPort, requirement.WrongRecord)},
	}
}

// inHosts says whether a program finds the name in the container's /etc/hosts, with that address alone.
func inHosts(ctx context.Context, env *requirement.Env, end *requirement.End, name, ip string) error {
	got, err := resolve(ctx, env, end, name, familyOf(env.Family))
	if err != nil {
		return err
	}
	if got.Ok() && got.From == "hosts" && slices.Equal(got.Addresses, []string{ip}) {
		return nil
	}
	f := unresolved(end, wire.Resolve{Name: name}, got, ip+" from /etc/hosts")
	f.Protocol = "hosts"
	if got.From != "hosts" {
		f.Reason = requirement.NameLost
	}
	return f
}

func etcHostsHostNetwork() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/etc-hosts-host-network",
		Title: "A hostNetwork pod has the entries of its node's /etc/hosts.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  "https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/kubelet/kubelet_pods.go",
			Says: "For a hostNetwork pod the kubelet writes the node's hosts file and adds the pod's hostAliases; a conformance test looks at it (test/e2e/common/node/kubelet_etc_hosts.go).",
		},
		Why: "Node agents share the node's view: names of registries, proxies or the API server that administrators put there are what they " +
			"start with.",
		PerNode:     true,
		Roles:       []world.Role{world.HostNetwork, world.Node},
		PodSecurity: "privileged",
		Check: func(ctx context.Context, env *requirement.Env) error {
			end := env.Role(world.HostNetwork)
			agent := env.OnNode(world.Node, end.Node)
			if agent == nil {
				return &requirement.Unsupported{Probed: "no privileged agent runs on " + end.Node + ", and the node's file is read by it"}
			}
			node, err := textOf(ctx, agent, world.HostPath+"/etc/hosts")
			if err != nil {
				return err
			}
			pod, err := textOf(ctx, end, "/etc/hosts")
			if err != nil {
				return err
			}
			has := entries(pod)
			for _, entry := range entries(node) {
				if !slices.Contains(has, entry) {
					return &requirement.Failure{Reason: requirement.WrongSetting, From: end, Target: "/etc/hosts", Protocol: "hosts",
						Expected: fmt.Sprintf("the entry %q of the node %s", entry, end.Node), Observed: strings.Join(has, "; "),
						Again: fmt.Sprintf("kubectl debug -n %s %s --target %s, then cat /proc/1/root/etc/hosts", end.Namespace, end.Pod, end.Container)}
				}
			}
			return nil
		},
		Control: otherPolicy(world.HostNetwork, world.Near),
	}
}

// entries are the lines of a hosts file without comments, their fields apart by one space.
func entries(hosts string) (all []string) {
	for line := range strings.Lines(hosts) {
		line, _, _ = strings.Cut(line, "#")
		if fields := strings.Fields(line); len(fields) > 1 {
			all = append(all, strings.Join(fields, " "))
		}
	}
	return all
}

func hostAliases() requirement.Requirement {
	return aliased("dns/host-aliases", "An alias for a Service's name takes the place of DNS's answer for the programs of its pod; the server's answer stays.",
		"It is how one pod is sent to a stand-in, for a test or a move, while all others go on as before.",
		world.Aliased, "", requirement.Control{
			Says:    "a pod without aliases",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.Aliased: world.Near}},
			Red:     []requirement.Reason{requirement.NameLost},
		})
}

func hostAliasesHostNetwork() requirement.Requirement {
	return aliased("dns/host-aliases-host-network", "A hostNetwork pod's aliases are in its /etc/hosts, beside the node's entries.",
		"They were left out in old releases, and a pod that moves to the host's network must not lose them.",
		world.HostNetworkDNS, "privileged", requirement.Control{
			Says:    "a hostNetwork pod without aliases",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.HostNetworkDNS: world.HostNetwork}},
			Red:     []requirement.Reason{requirement.NameLost},
		})
}

func aliased(id, title, why string, role world.Role, podSecurity string, control requirement.Control) requirement.Requirement {
	return requirement.Requirement{
		ID: id, Title: title, Level: requirement.Must, Clause: hostsFile, Why: why,
		PerNode: true,
		Roles:   []world.Role{role, world.Near}, Services: []world.Service{world.Web}, PodSecurity: podSecurity, Control: control,
		MoreControls: []requirement.Control{lied(world.LiarPort, requirement.WrongRecord)},
		Check: func(ctx context.Context, env *requirement.Env) error {
			name := nameOf(env, world.Web)
			got, err := resolve(ctx, env, env.Role(role), strings.TrimSuffix(name, "."), "ip4")
			if err != nil {
				return err
			}
			if !got.Ok() || got.From != "hosts" || !slices.Equal(got.Addresses, []string{world.AliasIPv4}) {
				f := unresolved(env.Role(role), wire.Resolve{Name: name}, got, world.AliasIPv4+" from /etc/hosts")
				f.Protocol, f.Reason = "hosts", requirement.NameLost
				return f
			}
			ip, err := clusterIP(env, world.Web)
			if err != nil {
				return err
			}
			return hasRecords(ctx, env, env.Role(world.Near), wire.DNS{Name: name, Type: recordOf(env.Family)}, ip)
		},
	}
}
