package dns

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/dnscache"
	"github.com/parley-k8s/parley/tests/internal/resolvconf"
)

// programGets says whether a program gets exactly the addresses wanted for a name, by the container's resolv.conf.
func programGets(ctx context.Context, env *requirement.Env, client *requirement.End, name, family string, want ...string) error {
	return env.Until(ctx, func(ctx context.Context) error {
		return programGetsNow(ctx, env, client, wire.Resolve{Name: name, Family: family}, want...)
	})
}

// programGetsNew is programGets for a name that is so new that a DNS pod may not have known it when it was first asked, and then
// keeps its no for as long as the cluster domain's SOA says.
func programGetsNew(ctx context.Context, env *requirement.Env, client *requirement.End, r wire.Resolve, want ...string) error {
	var kept time.Duration
	return env.UntilLonger(ctx, func() time.Duration { return min(followMargin+kept, longestWait) }, func(ctx context.Context) error {
		err := programGetsNow(ctx, env, client, r, want...)
		if f := requirement.AsFailure(err); f != nil && f.Reason == requirement.NameLost && kept == 0 {
			no, err := askServer(ctx, env, client, wire.DNS{Name: absent(env), Type: "A"})
			if err != nil {
				return err
			}
			kept = dnscache.Lifetime(no)
		}
		return err
	})
}

func programGetsNow(ctx context.Context, env *requirement.Env, client *requirement.End, r wire.Resolve, want ...string) error {
	got, err := resolveBy(ctx, env, client, r)
	if err != nil {
		return err
	}
	slices.Sort(got.Addresses)
	slices.Sort(want)
	if got.Ok() && slices.Equal(got.Addresses, want) {
		return nil
	}
	return unresolved(client, r, got, addresses(want))
}

// mostAddresses is how many addresses are written out.
const mostAddresses = 8

// addresses are all of them, or how many and some.
func addresses(all []string) string {
	if len(all) <= mostAddresses {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%d addresses, %s and so on", len(all), strings.Join(all[:mostAddresses/2], ", "))
}

// resolve has the agent do what a program of its container does with a name.
func resolve(ctx context.Context, env *requirement.Env, client *requirement.End, name, family string) (wire.Resolved, error) {
	return resolveBy(ctx, env, client, wire.Resolve{Name: name, Family: family})
}

// resolveBy does so in the way given. Of a name without a dot at its end only those completions are asked for that are in the
// cluster domain: what the search domains of a node or the name as it is lead to is told by servers outside, which may have a
// wildcard there, or be silent where the cluster has no way out.
func resolveBy(ctx context.Context, env *requirement.Env, client *requirement.End, r wire.Resolve) (wire.Resolved, error) {
	r.Source, r.Timeout = source(env, byProgram), int(env.Attempt.Milliseconds())
	name := r.Name
	if !strings.HasSuffix(name, ".") {
		r.Within = env.World.Domain
	}
	got, err := client.Resolve(ctx, r)
	if err != nil {
		return got, fmt.Errorf("asking %s to resolve %s: %w", client, name, err)
	}
	return got, nil
}

func unresolved(client *requirement.End, r wire.Resolve, got wire.Resolved, expected string) *requirement.Failure {
	reason := requirement.WrongRecord
	switch {
	case got.Ok() || got.Class == wire.Other: // SERVFAIL
	default:
		reason = requirement.ReasonOf(got.Errno)
	}
	protocol, again := "dns by resolv.conf", "getent ahosts "+r.Name
	if r.EDNS > 0 {
		protocol, again = fmt.Sprintf("dns by resolv.conf, announcing %d bytes by EDNS(0)", r.EDNS), fmt.Sprintf("dig +bufsize=%d +search %s", r.EDNS, r.Name)
	}
	record := "A"
	if r.Family == "ip6" {
		record = "AAAA"
	}
	return &requirement.Failure{Reason: reason, From: client, Target: r.Name, Protocol: protocol, Expected: expected,
		Observed: describeResolved(got), Again: again, Question: &wire.DNS{Name: r.Name, Type: record, EDNS: r.EDNS}}
}

func describeResolved(got wire.Resolved) string {
	switch {
	case got.Ok():
		return addresses(got.Addresses) + " by " + got.From
	case len(got.Tried) > 4:
		return fmt.Sprintf("%s; asked %d times, at last %s", got.Errno, len(got.Tried), got.Tried[len(got.Tried)-1])
	case len(got.Tried) > 0:
		return got.Errno.String() + "; asked " + strings.Join(got.Tried, ", ")
	case got.Class == wire.NameError:
		return fmt.Sprintf("%s: the search list %v completes it to no name in the cluster domain", got.Errno, resolvconf.Parse(got.Config).Search)
	}
	return got.Errno.String()
}
