package service

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

var bothProtocols = []string{"tcp", "udp"}

// virtualIP is the cluster IP of the family in force of the Service that plays the part. A Service that was given none is
// unsupported there.
func virtualIP(env *requirement.Env, s world.Service) (netip.Addr, error) {
	return virtualIPOf(env, env.Service(s))
}

// virtualIPOf is the same of a Service that the check made.
func virtualIPOf(env *requirement.Env, service requirement.ServiceSeen) (netip.Addr, error) {
	ip, ok := service.ClusterIP(env.Family)
	if !ok {
		return ip, &requirement.Unsupported{Probed: fmt.Sprintf("the Service %s was given no cluster IP of %s", service.Name, env.Family)}
	}
	return ip, nil
}

// calls are talks of every client with the Service, over every protocol, which one of the endpoints must answer.
type calls struct {
	clients   []*requirement.End
	service   world.Service
	endpoints []*requirement.End
	protocols []string
	// judge is given what was seen of each talk that worked, where it is set.
	judge func(client *requirement.End, protocol string, seen wire.Exchange) error
}

// work says whether all of them work, from the requirement's own source ports.
func (c calls) work(ctx context.Context, env *requirement.Env) error {
	ip, err := virtualIP(env, c.service)
	if err != nil {
		return err
	}
	for _, client := range c.clients {
		for i, protocol := range c.protocols {
			seen, err := fromPort(ctx, env, i, exchange.Talk{From: client, Among: c.endpoints, Network: protocol, Dial: requirement.At(ip, world.ServicePort)})
			if err == nil && c.judge != nil {
				err = c.judge(client, protocol, seen)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// fromPort has the talk made from the requirement's n-th port, where its fault looks for it, once it works from another: a
// connection that was tried before the proxy knew the Service stays untranslated for as long as it is tried again.
func fromPort(ctx context.Context, env *requirement.Env, n int, talk exchange.Talk) (wire.Exchange, error) {
	if err := serviceAnswers(ctx, env, talk); err != nil {
		return wire.Exchange{}, err
	}
	talk.Source = fmt.Sprintf(":%d", env.Port(n))
	return exchange.Works(ctx, env, talk)
}

// serviceAnswers waits until the Service that the talk dials answers something small from any port.
func serviceAnswers(ctx context.Context, env *requirement.Env, talk exchange.Talk) error {
	return untilWorks(ctx, env, exchange.Talk{From: talk.From, To: talk.To, Among: talk.Among, Network: talk.Network, Dial: talk.Dial})
}

// parseIP reads an address that the API gave.
func parseIP(text string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return ip, fmt.Errorf("the API gave %q for an address: %w", text, err)
	}
	return ip, nil
}
