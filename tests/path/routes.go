package path

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/paths"
)

// leastAtOnce is how many paths are measured side by side where there are fewer nodes; else as many as nodes.
const leastAtOnce = 8

// route is a path from a pod to another, or to the virtual IP of a Service.
type route struct {
	from *requirement.End
	to   *requirement.End   // nil: one of behind
	back []*requirement.End // the endpoints of the Service
	ip   netip.Addr
}

// String names the nodes: "worker to worker2".
func (r route) String() string {
	switch {
	case r.to == nil:
		return fmt.Sprintf("%s to the ClusterIP %s", r.from.Node, r.ip)
	case r.to.Node == r.from.Node:
		return "two pods on " + r.from.Node
	}
	return r.from.Node + " to " + r.to.Node
}

// talk is a conversation over the route.
func (r route) talk(network string, port int) exchange.Talk {
	return exchange.Talk{From: r.from, To: r.to, Among: r.back, Network: network, Dial: requirement.At(r.ip, port)}
}

// routesOf are the paths between the pods of Everywhere that are drawn, and on each worker to a second pod there. What is covered is
// noted.
func routesOf(env *requirement.Env) (all []route, err error) {
	ends := env.Roles(world.Everywhere)
	beside := map[string]*requirement.End{}
	for _, end := range env.Roles(world.Beside) {
		beside[end.Node] = end
	}
	within := 0
	for _, pair := range paths.Draw(len(ends), rand.IntN) {
		r := route{from: ends[pair.From], to: ends[pair.To]}
		if pair.From == pair.To {
			if r.to = beside[r.from.Node]; r.to == nil {
				continue
			}
			within++
		}
		if r.ip, err = env.IP(r.to); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, &requirement.Unsupported{Probed: "there are no two pods in this cluster that a path leads between"}
	}
	covered := "every ordered pair"
	if len(ends) > paths.Whole {
		covered = fmt.Sprintf("each node with %d others, drawn,", paths.Neighbours)
	}
	env.Note("%s: %d paths: %s of %d nodes, and two pods on each of %d", env.Family, len(all), covered, len(ends), within)
	return all, nil
}

// toService are the paths of the pods of Everywhere to the virtual IP, none where it has none of the family.
func toService(env *requirement.Env, service requirement.ServiceSeen, endpoints []*requirement.End) (all []route) {
	ip, ok := service.ClusterIP(env.Family)
	if !ok {
		env.Note("the Service %s has no virtual IP of %s", service.Name, env.Family)
		return nil
	}
	for _, from := range env.Roles(world.Everywhere) {
		all = append(all, route{from: from, back: endpoints, ip: ip})
	}
	return all
}

// targets are the pods that the routes lead to.
func targets(all []route) (ends []*requirement.End) {
	for _, r := range all {
		if r.to != nil {
			ends = append(ends, r.to)
		}
	}
	return ends
}

// distinct are the ends without a second one of the same pod: pods play several roles.
func distinct(ends []*requirement.End) (each []*requirement.End) {
	known := map[string]bool{}
	for _, end := range ends {
		if name := end.Namespace + "/" + end.Pod; !known[name] {
			known[name] = true
			each = append(each, end)
		}
	}
	return each
}

// serve opens each of the servers in each of the ends' pods, and gives what closes them.
func serve(ctx context.Context, ends []*requirement.End, servers ...wire.Listen) (release func(), err error) {
	var mu sync.Mutex
	var opened []func()
	release = func() {
		for _, closeOne := range opened {
			closeOne()
		}
	}
	// Where one can't be opened the others are not cut short, or nobody would know what they have opened.
	err = sideBySide(context.WithoutCancel(ctx), distinct(ends), func(_ context.Context, end *requirement.End) error {
		for _, listen := range servers {
			seen, err := end.Listen(ctx, listen)
			if err == nil && !seen.Ok() {
				err = errors.New(seen.Errno.String())
			}
			if err != nil {
				return fmt.Errorf("opening a %s server at %s in %s: %w", listen.Network, listen.Address, end, err)
			}
			mu.Lock()
			opened = append(opened, func() { exchange.Release(ctx, end, seen.Handle) })
			mu.Unlock()
		}
		return nil
	})
	if err != nil {
		release()
	}
	return release, err
}

// sideBySide does the same for each, some at a time.
func sideBySide[T any](ctx context.Context, all []T, do func(context.Context, T) error) error {
	return atOnce(ctx, max(leastAtOnce, len(all)/(1+paths.Neighbours)), all, do)
}

func atOnce[T any](ctx context.Context, most int, all []T, do func(context.Context, T) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(most)
	for _, one := range all {
		group.Go(func() error { return do(ctx, one) })
	}
	return group.Wait()
}
