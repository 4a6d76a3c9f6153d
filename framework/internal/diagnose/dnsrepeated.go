package diagnose

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
)

const (
	// questionsOften is how often a question is asked that is answered now: where one packet in a hundred is lost, all of them are
	// answered in one of 20 cases.
	questionsOften = 300
	// questionWithin is how long each of them may take, in milliseconds. They are asked one after another.
	questionWithin = 500
)

// questionRepeated asks each DNS pod the question many times over UDP, and says of the first that leaves some unanswered how many, which
// way their packets were lost and where, and by which rule; "" where all are answered.
func (w *walk) questionRepeated(ctx context.Context, pods []dnsPod, q wire.DNS) string {
	for _, pod := range pods {
		told, err := w.questionRepeatedAt(ctx, pod, q)
		if err != nil {
			return gone(w.failure.From, err)
		}
		if told != "" {
			return told
		}
	}
	return ""
}

func (w *walk) questionRepeatedAt(ctx context.Context, pod dnsPod, q wire.DNS) (string, error) {
	_, text, err := net.SplitHostPort(pod.address)
	if err != nil {
		return "", nil
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return "", nil
	}
	from := w.failure.From
	q.Server, q.TCP, q.EDNS, q.Count, q.Timeout = pod.address, false, 0, questionsOften, questionWithin
	var got wire.DNSAnswer
	var failed error
	attempt := func(ctx context.Context) error {
		got, failed = from.DNS(ctx, q)
		return failed
	}
	p := w.path(ctx, from, pod.end())
	if p == nil || !w.rules {
		_ = attempt(ctx)
		return unanswered(got, from, pod, q), failed
	}
	counts, drops, counted := w.countTraced(ctx, p, w.env.Port(sourcePort), func(answer bool) wire.Rule {
		if answer {
			return wire.Rule{Proto: "udp", FromPort: port}
		}
		return wire.Rule{Proto: "udp", ToPort: port}
	}, attempt)
	told := unanswered(got, from, pod, q)
	if failed != nil || told == "" || !counted {
		return told, failed
	}
	culprits := w.culprits(ctx, p, drops)
	w.blameFirst(culprits)
	return strings.Join(slices.Concat([]string{told}, w.losses(p, counts, from.Where(), pod.String(), "questions", "answers"), culprits), "; "), nil
}

// unanswered says how many of many questions a DNS pod did not answer; "" where it answered all, whatever it said.
func unanswered(got wire.DNSAnswer, from *requirement.End, pod dnsPod, q wire.DNS) string {
	asked := 0
	for _, n := range got.Tally {
		asked += n
	}
	lost := got.Tally[wire.TimedOut]
	if lost == 0 {
		return ""
	}
	return fmt.Sprintf("of %d questions %s %s that %s asks the DNS pod %s over UDP, one after another, %d get no answer", asked, q.Type, q.Name, from.Where(), pod, lost)
}
