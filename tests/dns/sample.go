package dns

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/chance"
)

const (
	// questionsAtOnce is how many questions an asker asks, one after another, until what was lost is judged again.
	questionsAtOnce = 10
	// mostQuestions and sampleFor bound one sample: what is not known for a fault then is none, and the note says how many were asked.
	mostQuestions = 5000
	sampleFor     = 20 * time.Second
	// askersAtOnce is how many nodes ask at the same time: the servers are others' too.
	askersAtOnce = 8
	// toleratedLoss is the share of questions that a path may lose: a question and its answer are two packets.
	toleratedLoss = 2e-5
	// missedLoss is the probability that a sample misses the loss that it is to find.
	missedLoss = 1e-3
)

// losing is what one of so many samples of a row may lose, where it is to find that share. All of the row's samples together call
// the tolerated loss a fault by chance.FalseAlarm.
func losing(sought float64, samples int) chance.Losses {
	return chance.Losses{Tolerated: toleratedLoss, Sought: sought, Alarm: chance.FalseAlarm / float64(max(1, samples)), Miss: missedLoss}
}

// answersAll says whether the question is answered right, every time: it waits until it is for the first time, and then asks
// until what was lost is known for a fault or for none. No question is asked again, and a wrong answer is one too many.
func answersAll(ctx context.Context, env *requirement.Env, client *requirement.End, q wire.DNS, may chance.Losses, want ...string) error {
	if err := hasRecords(ctx, env, client, q, want...); err != nil {
		return err
	}
	right := strings.Join(slices.Sorted(slices.Values(want)), " ")
	start, lost, asked := time.Now(), 0, 0
	var each []int64
	for enough := false; !enough && asked < mostQuestions && time.Since(start) < sampleFor; {
		q.Count, q.Source = questionsAtOnce, source(env, asked/questionsAtOnce%waysToAsk)
		got, err := askServer(ctx, env, client, q)
		if err != nil {
			return err
		}
		each, asked = append(each, got.Each...), asked+questionsAtOnce
		silent := got.Tally[wire.TimedOut] + got.Tally[wire.Denied] // the latter is a drop on the way out, which netfilter tells
		if answered := got.Tally[wire.OK]; answered+silent < questionsAtOnce || got.Said[right] < answered {
			f := unlike(client, q, got, fmt.Sprintf("%s %s each time", q.Type, right))
			f.Reason, f.Final = requirement.WrongRecord, requirement.SampleIsFinal
			if f.Observed = fmt.Sprintf("of %d answers %s; the last: %s", answered, said(got.Said), describe(got)); answered == 0 {
				f.Observed = fmt.Sprintf("%s, to each of %d questions", describe(got), questionsAtOnce)
			}
			return f
		}
		lost += silent
		var fault bool
		if fault, enough = may.Decided(lost, asked); fault {
			f := unlike(client, q, got, fmt.Sprintf("an answer to each question, or to all but one in %.0f", 1/may.Tolerated))
			f.Reason, f.Observed = requirement.NoAnswer, fmt.Sprintf("%d of %d questions not answered: %s", lost, asked, describe(got))
			return f
		}
	}
	slices.Sort(each)
	note := fmt.Sprintf("%s asks %s%s: %d of %d questions answered", client.Where(), by(q), of(q), asked-lost, asked)
	if lost > 0 {
		note += ", the rest may be the path's own loss"
	}
	if len(each) > 0 {
		note += fmt.Sprintf(", p50 %s, p99 %s", micros(each[len(each)/2]), micros(each[len(each)*99/100]))
	}
	env.Note("%s", note)
	return nil
}

func by(q wire.DNS) string {
	if q.TCP {
		return "over TCP"
	}
	return "over UDP"
}

func of(q wire.DNS) string {
	if q.Server == "" {
		return ""
	}
	return " of " + q.Server
}

// said is how often which records were answered.
func said(all map[string]int) string {
	var parts []string
	for records, times := range all {
		if records == "" {
			records = "no records"
		}
		parts = append(parts, fmt.Sprintf("%d say %s", times, records))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// fromEach does the same for each of the askers, some of them at a time.
func fromEach(ctx context.Context, clients []*requirement.End, do func(context.Context, *requirement.End) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(askersAtOnce)
	for _, client := range clients {
		group.Go(func() error { return do(ctx, client) })
	}
	return group.Wait()
}
