package dns

import (
	"context"
	"fmt"
	"slices"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/resolvconf"
)

const podDNS = "https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/"

func resolvConfClusterFirst() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/resolv-conf-cluster-first",
		Title: "With dnsPolicy ClusterFirst resolv.conf names the cluster's DNS, searches namespace.svc.zone, svc.zone and zone, and has ndots:5.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: podDNS + "#namespaces-of-services",
			Says: "Kubelets set each pod's /etc/resolv.conf: the DNS Service as nameserver, namespace.svc.cluster.local, svc.cluster.local and " +
				"cluster.local as search list, options ndots:5.",
		},
		Why: "Every short name rests on these three lines. A kubelet with another clusterDNS or clusterDomain than its neighbours makes names fail " +
			"on its node alone.",
		PerNode: true,
		Roles:   []world.Role{world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			return clusterFirst(ctx, env, env.Role(world.Near))
		},
		Control: otherPolicy(world.Near, world.DefaultDNS),
	}
}

// otherPolicy is the variant of these rows.
func otherPolicy(role, other world.Role) requirement.Control {
	return requirement.Control{
		Says:    "the " + string(other) + " in its place",
		Variant: &requirement.Variant{Roles: map[world.Role]world.Role{role: other}},
		Red:     []requirement.Reason{requirement.WrongSetting},
	}
}

// clusterFirst says whether the resolv.conf begins as ClusterFirst has it; searches of the node's follow.
func clusterFirst(ctx context.Context, env *requirement.Env, end *requirement.End) error {
	got, err := configOf(ctx, end, "/etc/resolv.conf")
	if err != nil {
		return err
	}
	want := resolvconf.Config{Search: clusterSearches(env, end)}
	switch server := env.World.ClusterDNS; {
	case server == "" && len(got.Nameservers) > 0:
		env.Note("%s: which nameserver is due is not known: no kubelet may be asked, and no Service is known to serve DNS; it has %v", end.Pod, got.Nameservers)
	case !slices.Contains(got.Nameservers, server):
		return wrongConfig(end, "the nameserver "+server, fmt.Sprint(got.Nameservers))
	}
	first := got.Search[:min(len(want.Search), len(got.Search))]
	if !slices.Equal(first, want.Search) {
		return wrongConfig(end, fmt.Sprintf("a search list that begins with %v", want.Search), fmt.Sprint(got.Search))
	}
	if more := got.Search[len(first):]; len(more) > 0 {
		env.Note("%s: the node's own searches follow: %v", end.Pod, more)
	}
	if ndots, _ := got.Option("ndots"); ndots != "5" {
		return wrongConfig(end, "the option ndots:5", fmt.Sprint(got.Options))
	}
	return nil
}

func clusterSearches(env *requirement.Env, end *requirement.End) []string {
	domain := env.World.Domain
	return []string{end.Namespace + ".svc." + domain, "svc." + domain, domain}
}

// configOf reads a resolver configuration through the end.
func configOf(ctx context.Context, end *requirement.End, path string) (resolvconf.Config, error) {
	text, err := textOf(ctx, end, path)
	return resolvconf.Parse(text), err
}

func textOf(ctx context.Context, end *requirement.End, path string) (string, error) {
	got, err := end.File(ctx, wire.File{Do: "read", Path: path})
	if err == nil && !got.Ok() {
		err = fmt.Errorf("%s", got.Errno)
	}
	if err != nil {
		return "", fmt.Errorf("reading %s in %s: %w", path, end, err)
	}
	return string(got.Data), nil
}

func wrongConfig(end *requirement.End, expected, observed string) *requirement.Failure {
	return &requirement.Failure{Reason: requirement.WrongSetting, From: end, Target: "/etc/resolv.conf", Protocol: "resolv.conf",
		Expected: expected, Observed: observed,
		Again: fmt.Sprintf("kubectl debug -n %s %s --target %s, then cat /proc/1/root/etc/resolv.conf", end.Namespace, end.Pod, end.Container)}
}

func resolvConfDefault() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/resolv-conf-default",
		Title: "With dnsPolicy Default the pod has the name resolution configuration of its node.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: podDNS + "#pod-s-dns-policy",
			Says: "Default: the pod inherits the name resolution configuration from the node that it runs on: the file that the kubelet's resolvConf names, " +
				"of which it keeps three nameservers and 32 search domains.",
		},
		Why: "The cluster's own DNS servers run so: what they forward goes where the node's configuration points. A stub on the node's " +
			"loopback in that file makes them ask themselves.",
		PerNode:     true,
		Roles:       []world.Role{world.DefaultDNS, world.Node},
		PodSecurity: "privileged",
		Check: func(ctx context.Context, env *requirement.Env) error {
			return likeTheNode(ctx, env, env.Role(world.DefaultDNS))
		},
		Control: otherPolicy(world.DefaultDNS, world.Near),
	}
}

func resolvConfHostNetwork() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/resolv-conf-host-network",
		Title: "A hostNetwork pod with dnsPolicy ClusterFirst has the name resolution configuration of its node, as with Default.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  podDNS + "#pod-s-dns-policy",
			Says: "Pods with hostNetwork and ClusterFirst fall back to the behaviour of Default; ClusterFirstWithHostNet is for them.",
		},
		Why: "Node agents and CNI daemons run so and must start before the cluster's DNS does. Who expects Services' names in one is told " +
			"here which policy to set.",
		PerNode:     true,
		Roles:       []world.Role{world.HostNetwork, world.Node},
		PodSecurity: "privileged",
		Check: func(ctx context.Context, env *requirement.Env) error {
			return likeTheNode(ctx, env, env.Role(world.HostNetwork))
		},
		Control: otherPolicy(world.HostNetwork, world.HostNetworkDNS),
	}
}

func resolvConfNone() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/resolv-conf-none",
		Title: "With dnsPolicy None resolv.conf has the nameservers, searches and options of dnsConfig, and nothing else.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  podDNS + "#pod-dns-config",
			Says: "None: DNS settings of the Kubernetes environment are ignored, and all are taken from the pod's dnsConfig.",
		},
		Why:     "Pods that serve DNS themselves, or must not see the cluster's names, choose their own resolvers. One line of the node's too many leaks their questions.",
		PerNode: true,
		Roles:   []world.Role{world.OwnDNS},
		Check: func(ctx context.Context, env *requirement.Env) error {
			end, config := env.Role(world.OwnDNS), world.OwnDNSConfig()
			got, err := configOf(ctx, end, "/etc/resolv.conf")
			if err != nil {
				return err
			}
			want := resolvconf.Config{Nameservers: config.Nameservers, Search: config.Searches, Options: []string{"edns0", "ndots:3"}}
			if expected, observed, ok := got.Difference(want); !ok {
				return wrongConfig(end, expected, observed)
			}
			return nil
		},
		Control: otherPolicy(world.OwnDNS, world.DefaultDNS),
	}
}

func resolvConfMerged() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/resolv-conf-dns-config",
		Title: "dnsConfig beside ClusterFirst adds its nameservers and searches after the policy's, and its options take the place of the policy's.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: podDNS + "#pod-dns-config",
			Says: "nameservers and searches are combined with those of the policy and duplicates removed; options are merged with the policy's, " +
				"and the pod's own value of an option is the one that counts.",
		},
		Why: "Lowering ndots is the usual cure for lookups that ask five questions for one name; a second ndots in the file, or the policy's " +
			"searches gone, makes it worse than the illness.",
		PerNode: true,
		Roles:   []world.Role{world.MergedDNS},
		Check: func(ctx context.Context, env *requirement.Env) error {
			end, config := env.Role(world.MergedDNS), world.MergedDNSConfig()
			got, err := configOf(ctx, end, "/etc/resolv.conf")
			if err != nil {
				return err
			}
			searches := clusterSearches(env, end)
			switch last := len(got.Search) - 1; {
			case len(got.Nameservers) == resolvconf.MaxNameservers && !slices.Contains(got.Nameservers, config.Nameservers[0]):
				return &requirement.Unsupported{Probed: fmt.Sprintf("the kubelet gives pods as many nameservers as they may have, %v: there is no room for another", got.Nameservers)}
			case !slices.Contains(got.Nameservers, config.Nameservers[0]) || got.Nameservers[0] != env.World.ClusterDNS:
				return wrongConfig(end, fmt.Sprintf("the nameserver %s and after it %s", env.World.ClusterDNS, config.Nameservers[0]), fmt.Sprint(got.Nameservers))
			case len(got.Search) < 4 || !slices.Equal(got.Search[:3], searches) || got.Search[last] != config.Searches[0]:
				return wrongConfig(end, fmt.Sprintf("the searches %v and at last %s", searches, config.Searches[0]), fmt.Sprint(got.Search))
			case !slices.Equal(got.Options, []string{"ndots:2"}):
				return wrongConfig(end, "the option ndots:2, once", fmt.Sprint(got.Options))
			}
			return nil
		},
		Control: otherPolicy(world.MergedDNS, world.Near),
	}
}

func resolvConfHostNet() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/resolv-conf-cluster-first-with-host-net",
		Title: "With dnsPolicy ClusterFirstWithHostNet a hostNetwork pod has the resolv.conf of ClusterFirst, and resolves Services.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  podDNS + "#pod-s-dns-policy",
			Says: "ClusterFirstWithHostNet: for pods with hostNetwork, whose DNS policy has to be set to this to be ClusterFirst.",
		},
		Why: "Ingress controllers and monitoring on the node's network must find Services. From the node's own address the questions take " +
			"another way through the proxy than from a pod's.",
		PerNode: true,
		Roles:   []world.Role{world.HostNetworkDNS}, Services: []world.Service{world.Web},
		PodSecurity: "privileged",
		Check: func(ctx context.Context, env *requirement.Env) error {
			end := env.Role(world.HostNetworkDNS)
			if err := clusterFirst(ctx, env, end); err != nil {
				return err
			}
			ip, err := clusterIP(env, world.Web)
			if err != nil {
				return err
			}
			service := env.Service(world.Web)
			return programGets(ctx, env, end, service.Name+"."+service.Namespace, familyOf(env.Family), ip)
		},
		Control: otherPolicy(world.HostNetworkDNS, world.HostNetwork),
		MoreControls: []requirement.Control{{
			Says:  "the pod's questions redirected to a resolver that answers with a wrong address",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.OnNodeOf(world.HostNetworkDNS, fault.LieAbout(world.LiarPort))}},
			Red:   []requirement.Reason{requirement.WrongRecord},
		}},
	}
}

func resolvConfLongSearch() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/resolv-conf-search-limit",
		Title: "A pod may have 32 search domains: all are in resolv.conf, and a name that only the last completes resolves.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  podDNS + "#dns-search-domain-list-limits",
			Says: "Up to 32 search domains with 2048 characters in all are allowed (stable since 1.28), given a runtime that does not cut them off.",
		},
		Why: "Old runtimes kept six and dropped the rest without a word; names that rest on the seventh then fail on the nodes that run " +
			"such a one.",
		PerNode: true,
		Roles:   []world.Role{world.LongSearchDNS}, Services: []world.Service{world.Web},
		Check: func(ctx context.Context, env *requirement.Env) error {
			end := env.Role(world.LongSearchDNS)
			got, err := configOf(ctx, end, "/etc/resolv.conf")
			if err != nil {
				return err
			}
			if want := env.World.LongSearches(); !slices.Equal(got.Search, want) {
				return wrongConfig(end, fmt.Sprintf("all %d searches, the last %s", len(want), want[len(want)-1]), fmt.Sprintf("%d: %v", len(got.Search), got.Search))
			}
			ip, err := clusterIP(env, world.Web)
			if err != nil {
				return err
			}
			return programGets(ctx, env, end, env.Service(world.Web).Name, familyOf(env.Family), ip)
		},
		Control: otherPolicy(world.LongSearchDNS, world.NoSearch),
	}
}
