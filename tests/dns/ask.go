package dns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/dnscache"
)

const specification = "https://github.com/kubernetes/dns/blob/master/docs/specification.md"

// serversAnswer is why a row about what the servers say is judged from one node.
const serversAnswer = "what a DNS server says does not depend on the asker's node, and the way from each node to each server is judged by dns/every-node, " +
	"dns/every-server, dns/tcp and dns/large-answer"

// Each question's source port is the requirement's own, so that a fault can match it alone: one for the library that
// asks a server, one for the program that resolves by resolv.conf.
const (
	byLibrary = iota
	byProgram
	spare // for a check that asks on the side
	spareToo
	waysToAsk
)

// source is the port of one way to ask. Checks under a control ask from others, those under a second control too, and each family does: the pod's
// connection tracking would still send a question from a port the way that an earlier one was redirected.
func source(env *requirement.Env, way int) string { return fmt.Sprintf(":%d", sourcePort(env, way)) }

func sourcePort(env *requirement.Env, way int) int {
	switch {
	case env.Patience > 0:
		way += 2 * waysToAsk
	case env.Proof > 0:
		way += 4 * waysToAsk
	}
	if env.Family == corev1.IPv6Protocol {
		way += waysToAsk
	}
	return env.Port(way)
}

// lied is the control of the rows that look at records: the asker's questions go to a lying resolver.
func lied(port int, red ...requirement.Reason) requirement.Control {
	says := map[int]string{
		world.LiarPort:       "a wrong address",
		world.LiarFailPort:   "SERVFAIL",
		world.LiarNoNamePort: "an NXDOMAIN that has no SOA",
	}
	return requirement.Control{
		Says:  "the asker's questions redirected to a resolver that answers with " + says[port],
		Fault: &requirement.Fault{Points: []requirement.Point{fault.InPodOf(world.Near, fault.LieAbout(port))}},
		Red:   red,
	}
}

// liedToPrograms is the control of the other half of these rows: what a program gets by its container's resolv.conf.
func liedToPrograms() requirement.Control {
	return requirement.Control{
		Says: "a program's questions alone redirected to a resolver that answers with a wrong address",
		Fault: &requirement.Fault{Points: []requirement.Point{fault.InPodOf(world.Near, func(ctx context.Context, env *requirement.Env) ([]wire.Rule, error) {
			rules, err := fault.LieAbout(world.LiarPort)(ctx, env)
			for i := range rules {
				rules[i].FromPort, rules[i].FromPortEnd = sourcePort(env, byProgram), 0
			}
			return rules, err
		})}},
		Red: []requirement.Reason{requirement.WrongRecord},
	}
}

// askServer puts one question to one server, by default the first of the client's resolv.conf.
func askServer(ctx context.Context, env *requirement.Env, client *requirement.End, q wire.DNS) (wire.DNSAnswer, error) {
	if q.Source == "" {
		q.Source = source(env, byLibrary)
	}
	q.Timeout = int(env.Attempt.Milliseconds())
	got, err := client.DNS(ctx, q)
	if err != nil {
		return got, fmt.Errorf("asking %s for %s %s: %w", client, q.Type, q.Name, err)
	}
	return got, nil
}

// hasRecords says whether the name has exactly the records wanted, in any order.
func hasRecords(ctx context.Context, env *requirement.Env, client *requirement.End, q wire.DNS, want ...string) error {
	var kept dnscache.Keeping
	return settles(ctx, env, &kept, func(ctx context.Context) error { return hasRecordsNow(ctx, env, client, &kept, q, want...) })
}

// hasRecordsNow is hasRecords by a single attempt.
func hasRecordsNow(ctx context.Context, env *requirement.Env, client *requirement.End, kept *dnscache.Keeping, q wire.DNS, want ...string) error {
	got, err := askServer(ctx, env, client, q)
	if err != nil {
		return err
	}
	kept.Saw(got)
	slices.Sort(want)
	if got.Ok() && slices.Equal(values(got, q.Type), want) {
		return nil
	}
	return unlike(client, q, got, q.Type+" "+strings.Join(want, ", "))
}

// values are the answer's records without what the specification leaves open (an SRV record's priority and weight),
// in small letters and in order: names compare without regard to case.
func values(got wire.DNSAnswer, record string) (all []string) {
	for _, v := range got.Answers {
		if fields := strings.Fields(v); record == "SRV" && len(fields) == 4 {
			v = fields[2] + " " + fields[3]
		}
		all = append(all, strings.ToLower(v))
	}
	slices.Sort(all)
	return all
}

// unlike is the failure that an answer is not the one expected.
func unlike(client *requirement.End, q wire.DNS, got wire.DNSAnswer, expected string) *requirement.Failure {
	protocol, again := "dns "+q.Type, "dig "+q.Type+" "+q.Name
	if q.TCP {
		protocol, again = protocol+" over tcp", again+" +tcp"
	}
	if got.Server != "" {
		if server, err := netip.ParseAddrPort(got.Server); err == nil {
			again += " @" + server.Addr().String()
		}
	}
	return &requirement.Failure{Reason: wrong(got), From: client, Target: q.Name, Protocol: protocol, Expected: expected,
		Observed: describe(got), Again: again, Question: &q}
}

func wrong(got wire.DNSAnswer) requirement.Reason {
	switch {
	case got.Class == wire.NameError:
		return requirement.NameLost
	case got.Rcode != "":
		return requirement.WrongRecord
	case got.Class == wire.Denied:
		return requirement.NoAnswer // netfilter tells a UDP sender of a drop: nothing left for the server
	}
	return requirement.ReasonOf(got.Errno)
}

func describe(got wire.DNSAnswer) string {
	what := strings.Join(got.Answers, ", ")
	switch {
	case !got.Ok():
		what = got.Errno.String()
	case what == "":
		what = "an answer without records"
	}
	return what + " from " + got.Server
}

// resolvesTo asks for the addresses of a name as a library and as a program do.
func resolvesTo(ctx context.Context, env *requirement.Env, client *requirement.End, name string, family corev1.IPFamily, want ...string) error {
	if err := hasRecords(ctx, env, client, wire.DNS{Name: name, Type: recordOf(family)}, want...); err != nil {
		return err
	}
	return programGets(ctx, env, client, name, familyOf(family), want...)
}

// recordOf is the type of a family's address records, familyOf what a program calls the family.
func recordOf(family corev1.IPFamily) string {
	if family == corev1.IPv6Protocol {
		return "AAAA"
	}
	return "A"
}

func familyOf(family corev1.IPFamily) string {
	if family == corev1.IPv6Protocol {
		return "ip6"
	}
	return "ip4"
}

// otherFamily is the one that is not.
func otherFamily(family corev1.IPFamily) corev1.IPFamily {
	if family == corev1.IPv6Protocol {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

// fullName is a Service's, with the dot at its end.
func fullName(env *requirement.Env, service, namespace string) string {
	return fmt.Sprintf("%s.%s.svc.%s.", service, namespace, env.World.Domain)
}

// nameOf is the full name of what plays the Service.
func nameOf(env *requirement.Env, s world.Service) string {
	service := env.Service(s)
	return fullName(env, service.Name, service.Namespace)
}

// clusterIP is the Service's address of the family in force.
func clusterIP(env *requirement.Env, s world.Service) (string, error) {
	ip, ok := env.Service(s).ClusterIP(env.Family)
	if !ok {
		return "", &requirement.Unsupported{Probed: fmt.Sprintf("the Service %s was given no cluster IP of %s", s, env.Family)}
	}
	return ip.String(), nil
}

// resolves checks that the Service's full name leads to its cluster IP, asked for in both ways.
func resolves(service world.Service) func(context.Context, *requirement.Env) error {
	return func(ctx context.Context, env *requirement.Env) error {
		ip, err := clusterIP(env, service)
		if err != nil {
			return err
		}
		return resolvesTo(ctx, env, env.Role(world.Near), nameOf(env, service), env.Family, ip)
	}
}
