package service

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

func headless() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/headless",
		Title: "The name of a headless Service gives the IPs of all its ready endpoints, and traffic goes straight to each pod.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/services-networking/service/#headless-services",
			Says: "A headless Service with a selector has no cluster IP; DNS returns A or AAAA records that point directly to the pods " +
				"behind it.",
		},
		Why:       "Databases and queues find their members by it. One endpoint missing from the answer is a member that nobody joins.",
		PerNode:   true,
		Roles:     []world.Role{world.Near, world.WebNear},
		Wants:     []world.Role{world.WebFar},
		Services:  []world.Service{world.Headless},
		PerFamily: true,
		Check:     checkHeadless,
		Control: requirement.Control{
			Says:    "a ClusterIP Service before the same endpoints",
			Variant: &requirement.Variant{Services: map[world.Service]world.Service{world.Headless: world.Web}},
			Red:     []requirement.Reason{requirement.WrongRecord},
		},
		// Straight to a pod on the client's node and to one on another: the first that is not straight is told, and the loop is one.
		MoreControls: []requirement.Control{{
			Says: "the client's own address translated on the way to the endpoints",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnNodeOf(world.Near, fault.MasqueradeFrom("tcp")),
				fault.InPodOf(world.WebNear, fault.TranslateFrom("tcp")),
			}},
			Red: []requirement.Reason{requirement.Translated},
		}},
	}
}

func checkHeadless(ctx context.Context, env *requirement.Env) error {
	client, service := env.Role(world.Near), env.Service(world.Headless)
	endpoints := append(env.Roles(world.WebNear), env.Roles(world.WebFar)...)
	var want []string
	for _, end := range endpoints {
		ip, err := env.IP(end)
		if err != nil {
			return err
		}
		want = append(want, ip.String())
	}
	slices.Sort(want)
	record := "A"
	if env.Family == corev1.IPv6Protocol {
		record = "AAAA"
	}
	name := fmt.Sprintf("%s.%s.svc.%s.", service.Name, service.Namespace, env.World.Domain)
	err := env.Until(ctx, func(ctx context.Context) error {
		got, err := client.DNS(ctx, wire.DNS{Name: name, Type: record})
		if err != nil {
			return fmt.Errorf("asking %s for %s: %w", client, name, err)
		}
		fail := func(reason requirement.Reason, observed string) error {
			return &requirement.Failure{Reason: reason, From: client, Target: name, Protocol: "dns " + record,
				Expected: "the endpoints " + strings.Join(want, ", "), Observed: observed, Again: "dig " + record + " " + name}
		}
		if !got.Ok() {
			return fail(requirement.ReasonOf(got.Errno), got.Errno.String()+" from "+got.Server)
		}
		slices.Sort(got.Answers)
		if !slices.Equal(got.Answers, want) {
			return fail(requirement.WrongRecord, strings.Join(got.Answers, ", "))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, end := range endpoints {
		ip, err := env.IP(end)
		if err != nil {
			return err
		}
		if _, err := exchange.Works(ctx, env, exchange.Talk{From: client, To: end, Network: "tcp", NoNAT: true,
			Source: fmt.Sprintf(":%d", env.Port(0)), Dial: requirement.At(ip, world.TargetPort)}); err != nil {
			return err
		}
	}
	return nil
}
