package pod

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

// atOnce bounds the conversations of one sweep that are under way together.
const atOnce = 16

// sweep has each client talk to each server that it should, over TCP and UDP, and gives each exchange to see.
type sweep struct {
	clients, servers []*requirement.End
	pairs            func(client, server *requirement.End) bool
	see              func(client, server *requirement.End, protocol string, seen wire.Exchange)
}

// run opens each server once, and says how many conversations worked.
func (s sweep) run(ctx context.Context, env *requirement.Env) (worked int, err error) {
	var talks []exchange.Talk
	for _, server := range s.servers {
		ip, err := env.IP(server)
		if err != nil {
			return 0, err
		}
		for i, protocol := range []string{"tcp", "udp"} {
			opened, err := server.Listen(ctx, wire.Listen{Network: protocol, Address: requirement.At(env.Any(), env.Port(i))})
			if err == nil && !opened.Ok() {
				err = errors.New(opened.Errno.String())
			}
			if err != nil {
				return 0, fmt.Errorf("opening a %s server in %s: %w", protocol, server, err)
			}
			defer exchange.Release(ctx, server, opened.Handle)
			for _, client := range s.clients {
				if s.pairs(client, server) {
					talks = append(talks, exchange.Talk{From: client, To: server, Network: protocol, Dial: requirement.At(ip, env.Port(i))})
				}
			}
		}
	}
	var mu sync.Mutex
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, talk := range talks {
		group.Go(func() error {
			seen, err := exchange.Works(groupCtx, env, talk)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			worked++
			if s.see != nil {
				s.see(talk.From, talk.To, talk.Network, seen)
			}
			return nil
		})
	}
	err = group.Wait()
	return worked, err
}

// distinct are the ends without a second one of the same pod.
func distinct(ends ...[]*requirement.End) (all []*requirement.End) {
	known := map[string]bool{}
	for _, list := range ends {
		for _, end := range list {
			if name := end.Namespace + "/" + end.Pod; !known[name] {
				known[name] = true
				all = append(all, end)
			}
		}
	}
	return all
}
