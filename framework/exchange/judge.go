package exchange

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
)

// judge judges what was seen; who are the hostnames of those who may answer, none: anybody.
func (t Talk) judge(seen wire.Exchange, who []string) error {
	fail := func(reason requirement.Reason, expected, observed string, args ...any) *requirement.Failure {
		question := t.connect()
		return &requirement.Failure{
			Reason: reason, From: t.From, To: t.To, Behind: t.Among, Target: t.Dial, Protocol: t.Network, Exchange: &question,
			Expected: expected, Observed: fmt.Sprintf(observed, args...), Again: t.again(),
		}
	}
	changed := func(expected, observed string, args ...any) error {
		f := fail(requirement.Broken, expected, observed, args...)
		f.Final = requirement.ChangedIsFinal
		return f
	}
	answer := fmt.Sprintf("an answer from %s over %s", t.Dial, t.Network)
	if t.Knock {
		answer = "a connection to " + t.Dial
	}
	switch {
	case seen.Step == wire.StepCompare:
		return changed("the bytes that were sent to arrive unchanged", "%s", seen.Text)
	case !seen.Ok():
		return fail(requirement.ReasonOf(seen.Errno), answer, "%s at %s", seen.Errno, step(seen.Step))
	case t.Knock:
		return nil
	case seen.Witness == nil || !seen.Same:
		return changed("the bytes that were sent to come back", "%d other bytes", seen.Bytes)
	case t.Unconnected && seen.Remote != t.Dial:
		return fail(requirement.Translated, answer, "one from the address %s", seen.Remote)
	case len(who) > 0 && !slices.Contains(who, seen.Witness.Who):
		return fail(requirement.WrongPeer, answer+" by "+t.expected(who), "an answer by %s", seen.Witness.Who)
	}
	if !t.NoNAT {
		return nil
	}
	local, remote := Addr(seen.Local), Addr(seen.Remote)
	if peer := Addr(seen.Witness.Remote); peer != local {
		return fail(requirement.Translated, fmt.Sprintf("the server to see the client's own address %s", local),
			"the client as %s", seen.Witness.Remote)
	}
	if own := Addr(seen.Witness.Local); own != remote {
		return fail(requirement.Translated, fmt.Sprintf("the client to reach the server's own address %s", remote),
			"the server reached at %s", seen.Witness.Local)
	}
	return nil
}

func (t Talk) behave() string {
	if t.Behave == "" && t.Digest {
		return "digest"
	}
	return t.Behave
}

// answerers are the hostnames of those who may answer; none: anybody.
func (t Talk) answerers(ctx context.Context) ([]string, error) {
	if t.To != nil {
		return requirement.Hostnames(ctx, t.To)
	}
	return requirement.Hostnames(ctx, t.Among...)
}

func (t Talk) expected(who []string) string {
	if t.To != nil {
		return who[0]
	}
	return "one of the endpoints"
}

// again is a command that shows the same thing by hand; agents have no shell, so it goes through the
// agent's own command line.
func (t Talk) again() string {
	if t.From == nil || t.From.Pod == "" {
		return ""
	}
	return fmt.Sprintf("kubectl exec -n %s %s -c %s -- /agent dial %s %s", t.From.Namespace, t.From.Pod, t.From.Container, t.Network, t.Dial)
}

func step(s string) string {
	if s == "" {
		return "some step"
	}
	return s
}

const (
	// recounts is how many attempts follow one whose failure is final, and recountWithin how long.
	recounts      = 19
	recountWithin = 5 * time.Second
)

// recount makes some further attempts after a failure that is final. They change nothing of the verdict: they say whether it is each
// time so or now and then, which are two different faults to look for.
func (t Talk) recount(ctx context.Context, env *requirement.Env, f *requirement.Failure, who []string) {
	if f == nil || f.Final == "" || env.Patience == 0 || t.Reuse != "" {
		return
	}
	begun, tried, so := time.Now(), 1, 1
	for ; tried <= recounts && time.Since(begun) < recountWithin; tried++ {
		seen, err := Once(ctx, env, t)
		if err != nil {
			break
		}
		if again := requirement.AsFailure(t.judge(seen, who)); again != nil && again.Reason == f.Reason {
			so++
		}
	}
	f.Observed += fmt.Sprintf(" (%d of %d attempts ended so)", so, tried)
	f.Attempts, f.Took = f.Attempts+tried-1, f.Took+time.Since(begun)
}
