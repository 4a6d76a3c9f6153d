package container

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

const podHostnamePage = "https://kubernetes.io/docs/concepts/workloads/pods/pod-hostname/"

// nameOf is the hostname that an end must see.
type nameOf func(context.Context, *requirement.Env, *requirement.End) (string, error)

// naming is a rule for the hostname that all containers of a pod see.
type naming struct {
	id, title, why string
	level          requirement.Level
	clause         requirement.Clause
	roles, wants   []world.Role
	want           nameOf
	security       string
	// more judges what the hostname alone does not show, or is nil.
	more func(context.Context, *requirement.Env, *requirement.End) error
	// says and others are the control: pods that the rule does not apply to.
	says   string
	others []world.Role
}

func fixed(name string) nameOf {
	return func(context.Context, *requirement.Env, *requirement.End) (string, error) { return name, nil }
}

var namings = []naming{
	{
		id: "hostname-shared", title: "All containers of a pod have one hostname: the pod's name.", level: requirement.Must,
		clause: requirement.Clause{URL: podHostnamePage, Says: "A pod's hostname, as seen from within, is its metadata.name."},
		why: "StatefulSets tell their members by it, and logs and metrics are labelled with it. It is the sandbox's UTS namespace that " +
			"every container joins.",
		roles: []world.Role{world.SiblingA, world.SiblingB},
		want:  func(_ context.Context, _ *requirement.Env, end *requirement.End) (string, error) { return end.Pod, nil },
		says:  "the hostname overridden by spec.hostname", others: []world.Role{world.NamedA, world.NamedB},
	},
	{
		id: "hostname-field", title: "With spec.hostname all containers of the pod have that hostname.", level: requirement.Must,
		clause: requirement.Clause{URL: podHostnamePage, Says: "spec.hostname takes precedence over metadata.name as the pod's hostname."},
		why:    "It is the way to a steady name where pods' own names are generated.",
		roles:  []world.Role{world.NamedA, world.NamedB}, want: fixed(world.PodHostname),
		says: "no spec.hostname", others: []world.Role{world.SiblingA, world.SiblingB},
	},
	{
		id: "hostname-subdomain", level: requirement.Must,
		title: "With spec.subdomain the hostname stays short, and the fully qualified name stands for the pod's IPs in /etc/hosts.",
		clause: requirement.Clause{URL: podSpec,
			Says: "subdomain: the fully qualified hostname is hostname.subdomain.namespace.svc.cluster-domain."},
		why:   "`hostname -f` and cluster software learn their own full name so, before any DNS record of it exists.",
		roles: []world.Role{world.Subdomained}, more: fqdnInHosts,
		want: func(_ context.Context, env *requirement.Env, end *requirement.End) (string, error) {
			return env.World.SubdomainedName(end.Node), nil
		},
		says: "no subdomain", others: []world.Role{world.NamedA},
	},
	{
		id: "hostname-fqdn", title: "With setHostnameAsFQDN the hostname is the pod's fully qualified name.", level: requirement.Must,
		clause: requirement.Clause{URL: podSpec,
			Says: "setHostnameAsFQDN: the pod's fully qualified name, rather than its first label, is the kernel's hostname."},
		why:   "Software from before containers takes its hostname for its full name: mail servers, Kerberos, Hadoop.",
		roles: []world.Role{world.FQDNNamed},
		want: func(_ context.Context, env *requirement.Env, _ *requirement.End) (string, error) {
			return env.World.FQDN(world.PodHostname, world.PodSubdomain), nil
		},
		says: "setHostnameAsFQDN off", others: []world.Role{world.Subdomained},
	},
	{
		id: "hostname-fqdn-without-subdomain", level: requirement.Must,
		title: "With setHostnameAsFQDN and no subdomain the hostname stays as it is.",
		clause: requirement.Clause{URL: podSpec,
			Says: "setHostnameAsFQDN: where the pod has no fully qualified name, it has no effect."},
		why:   "Templates set the field for all pods; those without a domain must not get half a name.",
		roles: []world.Role{world.NoDomainNamed}, want: fixed(world.PodHostname),
		says: "a subdomain as well", others: []world.Role{world.FQDNNamed},
	},
	{
		id: "hostname-override", level: requirement.Optional,
		title: "With hostnameOverride the hostname is that name, whatever hostname and subdomain say.",
		clause: requirement.Clause{URL: podSpec,
			Says: "hostnameOverride: it takes precedence over hostname and subdomain, and the pod's hostname is this value. It needs the feature gate HostnameOverride (on since 1.35)."},
		why:   "Software that is licensed or configured by a name outside the cluster runs unchanged so.",
		roles: []world.Role{world.OverrideNamed}, want: fixed(world.PodOverride), more: hasOverride,
		says: "no hostnameOverride", others: []world.Role{world.Subdomained},
	},
	{
		id: "hostname-long", level: requirement.Should,
		title: "Of a pod's name that is longer than a hostname may be the first 63 characters are the hostname, without a hyphen or dot at the end.",
		clause: requirement.Clause{URL: "https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/kubelet/kubelet_pods.go",
			Says: "truncatePodHostnameIfNeeded cuts a hostname after 63 characters and trims hyphens and dots from its end."},
		why:   "Jobs and custom controllers make such names. Two pods whose names differ only at the end then have one hostname.",
		roles: []world.Role{world.LongNamed},
		want: func(_ context.Context, _ *requirement.Env, end *requirement.End) (string, error) {
			return strings.TrimRight(end.Pod[:min(len(end.Pod), world.LongestHostname)], "-."), nil
		},
		says: "spec.hostname set beside the long name", others: []world.Role{world.LongHostnamed},
	},
	{
		id: "hostname-host-network", title: "A hostNetwork pod has the node's hostname.", level: requirement.Should, security: "privileged",
		clause: requirement.Clause{URL: "https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/kubelet/kuberuntime/kuberuntime_sandbox.go",
			Says: "The kubelet asks the runtime for a hostname unless the pod uses the host's network; runtimes then leave the host's."},
		why:   "Node agents report under their node's name. One that reports under its pod's is new to the monitoring after each restart.",
		roles: []world.Role{world.HostNetwork}, wants: []world.Role{world.Node}, want: nodeHostname,
		says: "an ordinary pod", others: []world.Role{world.Near},
	},
}

// hostnames generates a row for each rule.
func hostnames() []requirement.Requirement {
	var all []requirement.Requirement
	for _, n := range namings {
		others := map[world.Role]world.Role{}
		for i, role := range n.roles {
			others[role] = n.others[i]
		}
		all = append(all, requirement.Requirement{
			ID: "container/" + n.id, Title: n.title, Level: n.level, Clause: n.clause, Why: n.why,
			PerNode: true,
			Roles:   n.roles, Wants: n.wants, PodSecurity: n.security,
			Check: n.check,
			Control: requirement.Control{
				Says:    n.says,
				Variant: &requirement.Variant{Roles: others},
				Red:     []requirement.Reason{requirement.WrongName, requirement.NameLost},
			},
		})
	}
	return append(all, fqdnTooLong())
}

func (n naming) check(ctx context.Context, env *requirement.Env) error {
	for _, role := range n.roles {
		end := env.Role(role)
		want, err := n.want(ctx, env, end)
		if err != nil {
			return err
		}
		id, err := end.Identity(ctx)
		if err != nil {
			return fmt.Errorf("asking %s for its hostname: %w", end, err)
		}
		if n.more != nil {
			if err := n.more(ctx, env, end); err != nil {
				return err
			}
		}
		if id.Hostname != want {
			return wrongName(end, fmt.Sprintf("the hostname %q", want), fmt.Sprintf("%q", id.Hostname))
		}
	}
	return nil
}

func wrongName(end *requirement.End, expected, observed string) error {
	return &requirement.Failure{Reason: requirement.WrongName, From: end, Protocol: "hostname", Expected: expected, Observed: observed,
		Again: fmt.Sprintf("kubectl get pod -n %s %s -o yaml", end.Namespace, end.Pod)}
}

// nodeHostname is what the node calls itself, which the agent in its namespaces sees. Without that agent it is the address of type
// Hostname that the kubelet reports, or was given by --hostname-override: a pod that sees a third name, neither this nor its own, has
// perhaps the node's.
func nodeHostname(ctx context.Context, env *requirement.Env, end *requirement.End) (string, error) {
	if node := env.OnNode(world.Node, end.Node); node != nil {
		id, err := node.Identity(ctx)
		if err != nil {
			return "", fmt.Errorf("asking %s for the hostname: %w", node, err)
		}
		return id.Hostname, nil
	}
	node, err := env.Kube.CoreV1().Nodes().Get(ctx, end.Node, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading Node %s: %w", end.Node, err)
	}
	own, err := end.Identity(ctx)
	if err != nil {
		return "", fmt.Errorf("asking %s for its hostname: %w", end, err)
	}
	var reported string
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeHostName {
			reported = a.Address
		}
	}
	if own.Hostname != reported && own.Hostname != end.Pod {
		return "", &requirement.Unsupported{Probed: fmt.Sprintf("no agent runs on %s that sees its hostname; the Node reports %q, its hostNetwork pod sees %q",
			end.Node, reported, own.Hostname)}
	}
	return reported, nil
}

// fqdnInHosts judges that the pod's full name stands for all of its IPs.
func fqdnInHosts(ctx context.Context, env *requirement.Env, end *requirement.End) error {
	fqdn := env.World.FQDN(env.World.SubdomainedName(end.Node), world.PodSubdomain)
	addrs, err := fromHosts(ctx, end, fqdn, "ip")
	if err != nil {
		return err
	}
	for _, ip := range end.IPs {
		if !slices.Contains(addrs, ip.String()) {
			return wrongName(end, fmt.Sprintf("%s to stand for the pod IP %s in /etc/hosts", fqdn, ip), fmt.Sprint(addrs))
		}
	}
	return nil
}

// hasOverride looks whether the cluster knows the field: an API server that does not has dropped it.
func hasOverride(ctx context.Context, env *requirement.Env, _ *requirement.End) error {
	end := env.RolesAsDeployed(world.OverrideNamed)[0]
	pod, err := env.Kube.CoreV1().Pods(end.Namespace).Get(ctx, end.Pod, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading the pod of %s: %w", end, err)
	}
	if pod.Spec.HostnameOverride == nil {
		return &requirement.Unsupported{Probed: "the API server drops spec.hostnameOverride of a pod"}
	}
	return nil
}
