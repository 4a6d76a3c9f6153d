package container

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

var hostsFile = requirement.Clause{
	URL:  "https://kubernetes.io/docs/tasks/network/customize-hosts-file-for-pods/",
	Says: "Unless told otherwise, the hosts file that the kubelet manages in every container has localhost for both families, and the pod's own hostname.",
}

func localhostName() requirement.Requirement {
	return requirement.Requirement{
		ID:     "container/localhost-name",
		Title:  "In every container the name localhost stands for loopback, from /etc/hosts and without asking DNS.",
		Level:  requirement.Must,
		Clause: hostsFile,
		Why: "Programs reach their siblings by that name. Asked of DNS it costs a query for each search domain, fails while DNS does, " +
			"and whoever answers it can draw the traffic to himself (RFC 6761, section 6.3).",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			for _, end := range []*requirement.End{env.Role(world.SiblingA), env.Role(world.SiblingB)} {
				addrs, err := fromHosts(ctx, end, "localhost", "ip")
				if err != nil {
					return err
				}
				for _, a := range addrs {
					if ip, err := netip.ParseAddr(a); err != nil || !ip.IsLoopback() {
						return wrongHosts(end, "localhost", "loopback addresses", fmt.Sprint(addrs))
					}
				}
				if !slices.Contains(addrs, "::1") {
					env.Note("%s: localhost has no IPv6 address: %v", end.Container, addrs)
				}
			}
			return nil
		},
		Control:      anotherHostsFile(world.SiblingA),
		MoreControls: []requirement.Control{anotherHostsFile(world.SiblingB)},
	}
}

func hostnameResolves() requirement.Requirement {
	return requirement.Requirement{
		ID:     "container/hostname-resolves",
		Title:  "In every container the pod's own hostname stands for its pod IP, from /etc/hosts and without asking DNS.",
		Level:  requirement.Should,
		Clause: hostsFile,
		Why: "Java, Erlang and cluster software look up their own hostname to learn the address that they tell others. " +
			"DNS has no record of it.",
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA, world.SiblingB},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			for _, end := range []*requirement.End{env.Role(world.SiblingA), env.Role(world.SiblingB)} {
				own, err := env.IP(end)
				if err != nil {
					return err
				}
				family := "ip4"
				if own.Is6() {
					family = "ip6"
				}
				addrs, err := fromHosts(ctx, end, end.Pod, family)
				if err != nil {
					return err
				}
				if !slices.Equal(addrs, []string{own.String()}) {
					return wrongHosts(end, end.Pod, "the pod IP "+own.String(), fmt.Sprint(addrs))
				}
			}
			return nil
		},
		Control:      anotherHostsFile(world.SiblingA),
		MoreControls: []requirement.Control{anotherHostsFile(world.SiblingB)},
	}
}

func hostAliases() requirement.Requirement {
	return requirement.Requirement{
		ID:    "container/host-aliases",
		Title: "In every container the names of the pod's hostAliases stand for their addresses, of both families, from /etc/hosts.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  podSpec,
			Says: "hostAliases: hosts and IPs that are put into the pod's hosts file. A conformance test asks for it.",
		},
		Why:     "It names what DNS does not know, or not so: a database beside the cluster, a service on its way from one place to another.",
		PerNode: true,
		Roles:   []world.Role{world.NamedA, world.NamedB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			for _, end := range []*requirement.End{env.Role(world.NamedA), env.Role(world.NamedB)} {
				for family, ip := range map[string]string{"ip4": world.AliasIPv4, "ip6": world.AliasIPv6} {
					addrs, err := fromHosts(ctx, end, world.Alias, family)
					if err != nil {
						return err
					}
					if !slices.Equal(addrs, []string{ip}) {
						return wrongHosts(end, world.Alias, ip, fmt.Sprint(addrs))
					}
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "no hostAliases",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{
				world.NamedA: world.SiblingA, world.NamedB: world.SiblingB}},
			Red: []requirement.Reason{requirement.NameLost},
		},
		MoreControls: []requirement.Control{
			{Says: "no hostAliases for the second container alone",
				Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.NamedB: world.SiblingB}},
				Red:     []requirement.Reason{requirement.NameLost}},
		},
	}
}

func anotherHostsFile(container world.Role) requirement.Control {
	return requirement.Control{
		Says:    "another /etc/hosts mounted in place of that of " + string(container),
		Variant: &requirement.Variant{Roles: map[world.Role]world.Role{container: world.OtherHosts}},
		Red:     []requirement.Reason{requirement.WrongRecord, requirement.NameLost},
	}
}

// fromHosts resolves a name, which must be found in /etc/hosts.
func fromHosts(ctx context.Context, end *requirement.End, name, family string) ([]string, error) {
	got, err := end.Resolve(ctx, wire.Resolve{Name: name, Family: family, Timeout: 2500})
	if err != nil {
		return nil, fmt.Errorf("asking %s to resolve %s: %w", end, name, err)
	}
	if !got.Ok() || got.From != "hosts" {
		observed := got.Errno.String()
		if len(got.Tried) > 0 {
			observed = fmt.Sprintf("DNS asked %d times instead (%s): %s", len(got.Tried), got.Tried[0], observed)
		}
		f := wrongHosts(end, name, "it to be found in /etc/hosts", observed)
		f.Reason = requirement.NameLost
		return nil, f
	}
	return got.Addresses, nil
}

func wrongHosts(end *requirement.End, name, expected, observed string) *requirement.Failure {
	return &requirement.Failure{Reason: requirement.WrongRecord, From: end, Target: name, Protocol: "hosts", Expected: expected, Observed: observed,
		Again: fmt.Sprintf("kubectl debug -n %s %s --target %s, then cat /proc/1/root/etc/hosts", end.Namespace, end.Pod, end.Container)}
}

func loopbackIsolated() requirement.Requirement {
	const toAny = "bound to every address"
	return requirement.Requirement{
		ID: "container/loopback-isolated",
		Title: "A server bound to loopback, which its sibling reaches, is reached by no other pod, not from the node, and by nobody through " +
			"the pod IP, over TCP and UDP.",
		Level:  requirement.Must,
		Clause: podsShareNetwork,
		Why: "Sidecars bind their unprotected admin ports to loopback and trust that only their own pod gets there. A node that routes " +
			"127.0.0.0/8, or one loopback for several pods, opens them (CVE-2020-8558 was such a case). Five attempts in a row are not answered, " +
			"each beside one to a server on every address that is.",
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA, world.SiblingB, world.Near},
		Wants:     []world.Role{world.Node},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			at := env.Loopback()
			if env.Fixture(toAny) {
				at = env.Any()
			}
			return checkLoopbackIsolated(ctx, env, at)
		},
		Control: requirement.Control{
			Says:    "the server bound to every address",
			Variant: &requirement.Variant{Fixture: toAny},
			Red:     []requirement.Reason{requirement.Answered},
		},
		MoreControls: []requirement.Control{{
			Says: "UDP dropped on lo in the pod's network namespace, so that the sibling does not reach it",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.SiblingA, fault.DropOnLoopback("udp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		}},
	}
}

func checkLoopbackIsolated(ctx context.Context, env *requirement.Env, at netip.Addr) error {
	owner, sibling, other := env.Role(world.SiblingA), env.Role(world.SiblingB), env.Role(world.Near)
	own, err := env.IP(owner)
	if err != nil {
		return err
	}
	type stranger struct {
		end  *requirement.End
		dial netip.Addr
	}
	strangers := []stranger{{sibling, own}, {other, own}, {other, env.Loopback()}}
	if node := env.OnNode(world.Node, owner.Node); node != nil {
		strangers = append(strangers, stranger{node, own}, stranger{node, env.Loopback()})
	} else {
		env.Note("not tried from the node itself: no agent is admitted there")
	}
	for i, network := range []string{"tcp", "udp"} {
		port := env.Port(i)
		server, err := bind(ctx, owner, network, requirement.At(at, port))
		if err != nil {
			return err
		}
		if !server.Ok() {
			return fmt.Errorf("%s cannot bind %s port %d on %s: %s", owner, network, port, at, server.Errno)
		}
		defer exchange.Release(ctx, owner, server.Handle)
		_, err = exchange.Works(ctx, env, exchange.Talk{From: sibling, To: owner, Network: network, Dial: requirement.At(env.Loopback(), port)})
		if err != nil {
			return err
		}
		// Beside it another server of the same container is bound to every address: the strangers reach that one.
		open, err := bind(ctx, owner, network, requirement.At(env.Any(), env.Port(2+i)))
		if err != nil {
			return err
		}
		if !open.Ok() {
			return fmt.Errorf("%s cannot bind %s port %d: %s", owner, network, env.Port(2+i), open.Errno)
		}
		defer exchange.Release(ctx, owner, open.Handle)
		var all errgroup.Group
		for _, s := range strangers {
			all.Go(func() error {
				heard := exchange.Talk{From: s.end, To: owner, Network: network, Dial: requirement.At(own, env.Port(2+i))}
				_, err := exchange.Silent(ctx, env, exchange.Talk{From: s.end, Network: network, Dial: requirement.At(s.dial, port)}, heard,
					"where the server is bound to "+env.Loopback().String())
				return err
			})
		}
		if err := all.Wait(); err != nil {
			return err
		}
	}
	return nil
}
