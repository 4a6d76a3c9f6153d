package dns

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/chance"
)

const (
	// pairsInBurst is how many times an asker asks for A and AAAA at once until what was lost is judged again.
	pairsInBurst = 50
	// firstPairs is the same until one was answered: where none is, so many show it.
	firstPairs = 10
	// mostPairs and askFor bound how often and how long an asker asks, the latter on machines so busy that a pair takes tens of
	// milliseconds. What is not known for a fault then is none, and the note says how many were asked.
	mostPairs = 30000
	askFor    = 30 * time.Second
	// everyFiftieth is the share of answers that the control loses: two in each burst.
	everyFiftieth = 50
)

// pairLosses is what an asker may lose. A pair is four packets: a path that drops one packet in a hundred thousand is none of
// this row's business, and kernels that lose the race drop a question of one pair in some thousands at little load and of
// one in some hundreds at more.
var pairLosses = chance.Losses{Tolerated: 4e-5, Sought: 1e-3, Alarm: chance.FalseAlarm / 2, Miss: 0.2}

func parallelPair() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/parallel-a-aaaa",
		Title: "A and AAAA asked at once from one new socket, thousands of times in a row, get their answers.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://man7.org/linux/man-pages/man5/resolv.conf.5.html",
			Says: "glibc sends the questions for IPv4 and IPv6 in parallel by default, from one socket; single-request and single-request-reopen are " +
				"for servers and paths that cannot take that.",
		},
		Why: "Two packets of one new socket race for one connection tracking entry, and kernels that lose the race drop a question: the program then " +
			"waits five seconds, one time in some thousands. Each try has a socket of its own, as in a program. Each asker asks until its losses " +
			"tell one pair in a thousand from one packet in a hundred thousand (Wald's sequential test): the latter is called a fault by " +
			"a probability of 1e-9, the former is missed by 0.2.",
		PerNode: true,
		Roles:   []world.Role{world.BurstNear}, Services: []world.Service{world.Web},
		Check: func(ctx context.Context, env *requirement.Env) error {
			return lossless(ctx, env, env.Role(world.BurstNear))
		},
		Control: requirement.Control{
			Says:  "one answer in fifty dropped as it reaches the asker's pod",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.InPodOf(world.BurstNear, loseAnswers)}},
			Red:   []requirement.Reason{requirement.NoAnswer},
		},
	}
}

func loseAnswers(context.Context, *requirement.Env) ([]wire.Rule, error) {
	return []wire.Rule{{Hook: "input", Priority: fault.BeforeAll, Proto: "udp", FromPort: dnsPort, EveryNth: everyFiftieth, Do: "drop"}}, nil
}

// lossless asks in bursts until what was lost is known for a fault or for none. No question is asked again: another try would
// hide what it looks for.
func lossless(ctx context.Context, env *requirement.Env, client *requirement.End) error {
	var want, each = []string{}, []int64{}
	for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
		if ip, ok := env.Service(world.Web).ClusterIP(family); ok {
			want = append(want, ip.String())
		}
	}
	slices.Sort(want)
	start := time.Now()
	q := wire.DNS{Name: nameOf(env, world.Web), Type: "A+AAAA", Timeout: int(env.Attempt.Milliseconds())}
	lost, asked := 0, 0
	for enough := false; !enough && asked < mostPairs && time.Since(start) < askFor; {
		q.Count = pairsInBurst
		if len(each) == 0 { // a hundred that nobody answers take longer than the check may
			q.Count = firstPairs
		}
		got, err := client.DNS(ctx, q)
		if err != nil {
			return fmt.Errorf("asking %s for %s: %w", client, q.Name, err)
		}
		each, asked = append(each, got.Each...), asked+q.Count
		switch {
		case got.Class == wire.TimedOut: // the first that was not answered; the others are, but for as many as the tally says
			lost += q.Count - got.Tally[wire.OK]
		case !got.Ok():
			return unlike(client, q, got, "answers to A and AAAA")
		case !slices.Equal(values(got, "A"), want):
			return unlike(client, q, got, fmt.Sprint(want))
		}
		var fault bool
		if fault, enough = pairLosses.Decided(lost, asked); fault {
			f := unlike(client, q, got, fmt.Sprintf("both answers to all pairs of questions, or all but one in %.0f", 1/pairLosses.Tolerated))
			f.Observed = fmt.Sprintf("%d of %d pairs without both answers: %s", lost, asked, got.Errno)
			f.Reason = requirement.NoAnswer
			return f
		}
	}
	if lost > 0 {
		env.Note("%s: %d of %d pairs without both answers, which may be the path's own loss", client.Where(), lost, asked)
	}
	slices.Sort(each)
	env.Note("%s: %d pairs in %s, p50 %s, p99 %s, longest %s", client.Where(), len(each), time.Since(start).Round(time.Millisecond),
		micros(each[len(each)/2]), micros(each[len(each)*99/100]), micros(each[len(each)-1]))
	return nil
}

func micros(n int64) time.Duration {
	return (time.Duration(n) * time.Microsecond).Round(10 * time.Microsecond)
}
