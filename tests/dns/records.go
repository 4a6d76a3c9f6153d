package dns

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

const specification = "https://github.com/kubernetes/dns/blob/master/docs/specification.md"

// lies is the control of the rows that look at records: the asker's questions go to a lying resolver.
func lies(port int) *requirement.Fault {
	return &requirement.Fault{Points: []requirement.Point{fault.InPodOf(world.Near, fault.LieAbout(port))}}
}

func serviceA() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/service-a",
		Title: "The full name of a ClusterIP Service has one A record, its cluster IP.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  specification + "#231---aaaaa-record",
			Says: "A Service with a cluster IP has an A record of that address under service.namespace.svc.zone.",
		},
		Why:      "A name is how nearly every client finds a Service. A stale or foreign answer sends it elsewhere without an error.",
		Roles:    []world.Role{world.Near},
		Services: []world.Service{world.Web},
		Check: func(ctx context.Context, env *requirement.Env) error {
			service := env.Service(world.Web)
			ip, ok := service.ClusterIP(corev1.IPv4Protocol)
			if !ok {
				return &requirement.Unsupported{Probed: "the cluster gives Services no IPv4 cluster IP"}
			}
			return answers(ctx, env, fullName(env, service.Name, service.Namespace), "A", ip.String())
		},
		Control: requirement.Control{
			Says:  "the asker's questions redirected to a resolver that answers with a wrong address",
			Fault: lies(world.LiarPort),
			Red:   []requirement.Reason{requirement.WrongRecord},
		},
	}
}

func nxdomain() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/nxdomain",
		Title: "A name that does not exist in the cluster domain is answered with NXDOMAIN: neither SERVFAIL nor silence.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  specification + "#23---records-for-a-service-with-clusterip",
			Says: "Records exist for the Services that exist; for any other name of the zone RFC 2308 demands a name error.",
		},
		Why: "Search lists rest on quick name errors: each short name first fails under a few longer ones. An error or a time-out there " +
			"ends or delays every lookup.",
		Roles: []world.Role{world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			client := env.Role(world.Near)
			name := fullName(env, "no-such-service", env.Cast.Plan().Main())
			return env.Until(ctx, func(ctx context.Context) error {
				got, err := ask(ctx, env, client, name, "A")
				if err != nil || got.Class == wire.NameError {
					return err
				}
				return &requirement.Failure{Reason: wrong(got), From: client, Target: name, Protocol: "dns A", Expected: "NXDOMAIN",
					Observed: describe(got), Again: "dig A " + name}
			})
		},
		Control: requirement.Control{
			Says:  "the asker's questions redirected to a resolver that answers SERVFAIL",
			Fault: lies(world.LiarFailPort),
			Red:   []requirement.Reason{requirement.WrongRecord},
		},
	}
}

func answers(ctx context.Context, env *requirement.Env, name, record string, want ...string) error {
	client := env.Role(world.Near)
	return env.Until(ctx, func(ctx context.Context) error {
		got, err := ask(ctx, env, client, name, record)
		if err != nil {
			return err
		}
		if got.Ok() && strings.Join(got.Answers, " ") == strings.Join(want, " ") {
			return nil
		}
		return &requirement.Failure{Reason: wrong(got), From: client, Target: name, Protocol: "dns " + record,
			Expected: record + " " + strings.Join(want, ", "), Observed: describe(got), Again: "dig " + record + " " + name}
	})
}

// ask puts one question from the requirement's own source port, so that a fault can match it alone.
func ask(ctx context.Context, env *requirement.Env, client *requirement.End, name, record string) (wire.DNSAnswer, error) {
	got, err := client.DNS(ctx, wire.DNS{Name: name, Type: record, Source: fmt.Sprintf(":%d", env.Port(0)),
		Timeout: int(env.Attempt.Milliseconds())})
	if err != nil {
		return got, fmt.Errorf("asking %s to resolve %s: %w", client, name, err)
	}
	return got, nil
}

func fullName(env *requirement.Env, service, namespace string) string {
	return fmt.Sprintf("%s.%s.svc.%s.", service, namespace, env.Cast.Plan().Domain)
}

func wrong(got wire.DNSAnswer) requirement.Reason {
	switch got.Class {
	case wire.NameError:
		return requirement.NameLost
	case wire.OK, wire.Other:
		return requirement.WrongRecord
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
