package dns

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

const (
	// pairs is how many times each asker asks for A and AAAA at once, in bursts of pairsInBurst: a burst with a loss is the
	// last, so that a control shows within one time-out.
	pairs        = 1000
	pairsInBurst = 50
	// everyHundredth is the share of answers that the control loses: two in each burst.
	everyHundredth = 50
)

func parallelPair() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/parallel-a-aaaa",
		Title: fmt.Sprintf("A and AAAA asked at once from one new socket, %d times in a row, get all their answers.", pairs),
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://man7.org/linux/man-pages/man5/resolv.conf.5.html",
			Says: "glibc sends the questions for IPv4 and IPv6 in parallel by default, from one socket; single-request and single-request-reopen are " +
				"for servers and paths that cannot take that.",
		},
		Why: "Two packets of one new socket race for one connection tracking entry, and kernels that lose the race drop a question: the program then " +
			"waits five seconds, one time in some thousands. Each try has a socket of its own, as in a program. One loss is red, whatever its " +
			"cause: on a path that drops one packet in a million, this row gives a false alarm in one run of a hundred and twenty.",
		Roles: []world.Role{world.BurstNear}, Wants: []world.Role{world.BurstFar},
		Services: []world.Service{world.Web},
		Check: func(ctx context.Context, env *requirement.Env) error {
			group, ctx := errgroup.WithContext(ctx)
			for _, client := range append(env.Roles(world.BurstNear), env.Roles(world.BurstFar)...) {
				group.Go(func() error { return lossless(ctx, env, client) })
			}
			return group.Wait()
		},
		Control: requirement.Control{
			Says:  "one answer in fifty dropped as it reaches the asker's pod",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.InPodOf(world.BurstNear, loseAnswers)}},
			Red:   []requirement.Reason{requirement.NoAnswer},
		},
	}
}

func loseAnswers(context.Context, *requirement.Env) ([]wire.Rule, error) {
	return []wire.Rule{{Hook: "input", Priority: fault.BeforeAll, Proto: "udp", FromPort: dnsPort, EveryNth: everyHundredth, Do: "drop"}}, nil
}

// lossless asks in bursts and demands every answer. It asks once: another try would hide what it looks for.
func lossless(ctx context.Context, env *requirement.Env, client *requirement.End) error {
	var want, each = []string{}, []int64{}
	for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
		if ip, ok := env.Service(world.Web).ClusterIP(family); ok {
			want = append(want, ip.String())
		}
	}
	slices.Sort(want)
	start := time.Now()
	q := wire.DNS{Name: nameOf(env, world.Web), Type: "A+AAAA", Count: pairsInBurst, Timeout: int(env.Attempt.Milliseconds())}
	for done := 0; done < pairs; done += pairsInBurst {
		got, err := client.DNS(ctx, q)
		if err != nil {
			return fmt.Errorf("asking %s for %s: %w", client, q.Name, err)
		}
		each = append(each, got.Each...)
		if !got.Ok() {
			f := unlike(client, q, got, fmt.Sprintf("an answer to each of %d pairs of questions", pairs))
			f.Observed = fmt.Sprintf("%d of %d without both answers: %s", pairsInBurst-got.Tally[wire.OK], done+pairsInBurst, got.Errno)
			if got.Class == wire.TimedOut {
				f.Reason = requirement.NoAnswer
			}
			return f
		}
		if !slices.Equal(values(got, "A"), want) {
			return unlike(client, q, got, fmt.Sprint(want))
		}
	}
	slices.Sort(each)
	env.Note("%s: %d pairs in %s, p50 %s, p99 %s, longest %s", client.Where(), len(each), time.Since(start).Round(time.Millisecond),
		micros(each[len(each)/2]), micros(each[len(each)*99/100]), micros(each[len(each)-1]))
	return nil
}

func micros(n int64) time.Duration {
	return (time.Duration(n) * time.Microsecond).Round(10 * time.Microsecond)
}
