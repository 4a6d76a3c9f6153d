package service

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/draw"
)

// sampling is samples of a Service from a pod on each node and over each protocol, all at once.
type sampling struct {
	service   requirement.ServiceSeen
	protocols []string
	// ends are those who are to answer the client. A client to whom nobody is to answer makes no sample.
	ends func(client *requirement.End) []*requirement.End
	// anyOf says that one of the ends is enough to answer until the Service counts as known: a client with affinity meets no other.
	anyOf bool
	// converging says that the check made the Service a moment ago.
	converging bool
	take       func(ctx context.Context, from draw.Source) (draw.Sample, error)
	judge      func(s draw.Sample, ends []*requirement.End, judgements int) error
}

// run waits until each client's proxy knows the Service, with the patience in force, then takes one sample from each and judges it once.
func (p sampling) run(ctx context.Context, env *requirement.Env) error {
	ip, err := virtualIPOf(env, p.service)
	if err != nil {
		return err
	}
	target := requirement.At(ip, world.ServicePort)
	clients := env.Roles(world.Everywhere)
	group, ctx := errgroup.WithContext(ctx)
	for _, client := range clients {
		ends := p.ends(client)
		if len(ends) == 0 {
			continue
		}
		awaited := ends
		if p.anyOf {
			awaited = nil
		}
		for _, protocol := range p.protocols {
			group.Go(func() error {
				from := draw.Source{Env: env, Client: client, Protocol: protocol, Target: target}
				wait := from.Known
				if p.converging {
					wait = from.Converged
				}
				if err := wait(ctx, awaited...); err != nil {
					return err
				}
				s, err := p.take(ctx, from)
				if err == nil {
					err = p.judge(s, ends, len(clients)*len(p.protocols))
				}
				if lost := s.Unanswered(); err == nil && lost != "" {
					env.Note("%s %s from %s: %s", env.Family, protocol, client.Node, lost)
				}
				return err
			})
		}
	}
	return group.Wait()
}

// atOnceOf takes a sample of that size, in as short a time as it takes.
func atOnceOf(count int) func(context.Context, draw.Source) (draw.Sample, error) {
	return func(ctx context.Context, from draw.Source) (draw.Sample, error) { return from.Take(ctx, count) }
}

// toAll says that all ends are to answer each client.
func toAll(ends []*requirement.End) func(*requirement.End) []*requirement.End {
	return func(*requirement.End) []*requirement.End { return ends }
}

// onlyAmong judges a sample by who answered alone.
func onlyAmong(s draw.Sample, ends []*requirement.End, judgements int) error {
	return s.Among(ends, judgements)
}

// onNode are those of the ends on the node.
func onNode(ends []*requirement.End, node string) (local []*requirement.End) {
	for _, end := range ends {
		if end.Node == node {
			local = append(local, end)
		}
	}
	return local
}

// replicas are the endpoints of Replicas and its like.
func replicas(env *requirement.Env) []*requirement.End { return env.Roles(world.Replica) }
