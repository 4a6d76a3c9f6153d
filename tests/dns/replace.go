package dns

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

const (
	// replacedWithin bounds the replacement of one DNS pod: its end takes up to its grace period, usually 30 s.
	replacedWithin = 90 * time.Second
	// clientsRetry is what a program by resolv.conf's defaults waits for in all: two attempts of five seconds.
	clientsRetry = 11 * time.Second
	// askEvery is the pace of each asker while pods are replaced: it asks all the time, and does not load the servers.
	askEvery = 20 * time.Millisecond
)

func survivesReplacement() requirement.Requirement {
	const atOnce = "all at once and without grace"
	return requirement.Requirement{
		ID:    "dns/survives-replacement",
		Title: "While the DNS pods are replaced one by one, no lookup fails that a program makes, with the retries of its resolver.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination",
			Says: "A pod that ends is taken from its Services' endpoints and given a grace period to finish; resolv.conf(5) has a resolver ask twice, " +
				"five seconds apart.",
		},
		Why: "Upgrades of CoreDNS and of nodes do exactly this, in every cluster and often. A proxy that keeps sending to the pod that ended, or a " +
			"server that stops before the proxies know, shows as a burst of name errors in programs that have nothing to do with it.",
		OneNode: "it is the servers that are replaced: two nodes ask meanwhile, and the way from each node is judged by dns/every-node",
		Roles:   []world.Role{world.BurstNear}, Wants: []world.Role{world.BurstFar},
		Services: []world.Service{world.Web},
		Slow:     true,
		Disrupts: "it deletes the pods of the cluster's DNS, one by one",
		Check: func(ctx context.Context, env *requirement.Env) error {
			before, err := servers(ctx, env)
			if err != nil {
				return err
			}
			if len(before) < 2 {
				return &requirement.Unsupported{Probed: "the cluster's DNS Service has one endpoint: one by one is all at once"}
			}
			clients := append(env.Roles(world.BurstNear), env.Roles(world.BurstFar)...)
			for _, client := range clients {
				// The proxies of these nodes must know the servers that are there now.
				if err := env.Until(ctx, func(ctx context.Context) error { return lookup(ctx, env, client, nil) }); err != nil {
					return err
				}
			}
			ctx, stop := context.WithCancel(ctx)
			defer stop()
			askers, asking := errgroup.WithContext(ctx)
			for _, client := range clients {
				askers.Go(func() error { return keepAsking(asking, env, client) })
			}
			err = replace(asking, env, before, env.Fixture(atOnce))
			stop()
			if failed := askers.Wait(); failed != nil {
				err = failed
			}
			// What comes next needs DNS again, whatever was seen.
			if late := replaced(context.WithoutCancel(ctx), env, len(before)); late != nil {
				return late
			}
			return err
		},
		Control: requirement.Control{
			Says:    atOnce,
			Variant: &requirement.Variant{Fixture: atOnce},
			Red:     []requirement.Reason{requirement.NoAnswer, requirement.Refused},
			Alone:   true,
		},
	}
}

// replace deletes the DNS pods, each after its predecessor's successor is ready, or all in one go.
func replace(ctx context.Context, env *requirement.Env, all []server, atOnce bool) error {
	for _, s := range all {
		if s.pod == nil {
			return &requirement.Unsupported{Probed: fmt.Sprintf("the endpoint %s of the DNS Service is no pod", s)}
		}
		var options metav1.DeleteOptions
		if atOnce {
			now := int64(0)
			options.GracePeriodSeconds = &now
		}
		start := time.Now()
		err := env.Kube.CoreV1().Pods(s.pod.Namespace).Delete(ctx, s.pod.Name, options)
		if requirement.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting the DNS pod %s: %w", s, err)
		}
		if atOnce {
			continue
		}
		if err := replaced(ctx, env, len(all), s); err != nil {
			return err
		}
		env.Note("%s was replaced in %s", s, time.Since(start).Round(100*time.Millisecond))
	}
	if atOnce {
		return replaced(ctx, env, len(all), all...)
	}
	return nil
}

// replaced waits until the DNS Service has so many ready endpoints, and those gone are none of them and their pods gone.
func replaced(ctx context.Context, env *requirement.Env, want int, gone ...server) error {
	_, err := until.Settled(ctx, until.Policy{Within: replacedWithin, Every: 100 * time.Millisecond}, func(ctx context.Context) error {
		now, err := servers(ctx, env)
		if err != nil {
			return err
		}
		for _, old := range gone {
			for _, s := range now {
				if s.pod != nil && s.pod.UID == old.pod.UID {
					return fmt.Errorf("the DNS pod %s is still an endpoint", old)
				}
			}
			_, err := env.Kube.CoreV1().Pods(old.pod.Namespace).Get(ctx, old.pod.Name, metav1.GetOptions{})
			if !apierrors.IsNotFound(err) {
				return fmt.Errorf("the DNS pod %s is still there", old)
			}
		}
		if len(now) < want {
			return fmt.Errorf("%d of %d DNS pods are ready", len(now), want)
		}
		return nil
	})
	return err
}

// lookup resolves a Service's name once, as a program does, from any port.
func lookup(ctx context.Context, env *requirement.Env, client *requirement.End, seen func(wire.Resolved)) error {
	name := nameOf(env, world.Web)
	ip, err := clusterIP(env, world.Web)
	if err != nil {
		return err
	}
	got, err := client.Resolve(ctx, wire.Resolve{Name: name, Family: familyOf(env.Family), Timeout: int(clientsRetry.Milliseconds())})
	if err != nil {
		return fmt.Errorf("asking %s to resolve %s: %w", client, name, err)
	}
	if !got.Ok() || len(got.Addresses) != 1 || got.Addresses[0] != ip {
		return unresolved(client, wire.Resolve{Name: name, Family: familyOf(env.Family)}, got, ip)
	}
	if seen != nil {
		seen(got)
	}
	return nil
}

// keepAsking looks up until the context ends; the first lookup that fails ends it.
func keepAsking(ctx context.Context, env *requirement.Env, client *requirement.End) error {
	var lookups, retried int
	var longest time.Duration
	for ctx.Err() == nil {
		err := lookup(ctx, env, client, func(got wire.Resolved) {
			lookups++
			if len(got.Tried) > 1 {
				retried++
			}
			longest = max(longest, time.Duration(got.Took)*time.Microsecond)
		})
		if f := requirement.AsFailure(err); f != nil {
			f.Expected += fmt.Sprintf(", as from %d lookups before", lookups)
		}
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return err
		}
		if until.Idle(ctx, askEvery) != nil {
			break
		}
	}
	env.Note("%s: %d lookups, %d with a retry, the longest %s", client.Where(), lookups, retried, longest.Round(time.Millisecond))
	return nil
}
