// Package diagnose finds the first broken hop of a path that does not work: it walks the ladder from the server's own
// loopback outwards, over the endpoints and what was dialled, and asks the failing question itself again: who has the addresses, where
// the answer comes from, at which size it breaks, how many of many are lost. It names the nearest rung that fails, follows its packets
// over both nodes by counting rules, and says what those nodes' routes, neighbours, rules and counters have to say about it. What it
// did not look at it does not call whole.
package diagnose

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
)

// bound is how long the whole diagnosis may take: it is not worth more than the verdict.
const bound = 30 * time.Second

// The last two of a requirement's ports are the diagnosis's: a server's, and the source of what is followed.
const (
	serverPort = requirement.PortsEach - 1
	sourcePort = requirement.PortsEach - 2
)

// Finding is what a diagnosis came to.
type Finding struct {
	// Hop names the first broken hop and what is known of it, in one line; empty where there is no path to walk.
	Hop string
	// Cause is what breaks it, in one sentence that is the same for everything that it breaks: the rule or policy that drops, the address of
	// two, the neighbour that is wrong, the node whose service proxy does not answer. "" where none was found.
	Cause string
	// NothingTo is the node to whose pods nothing passes straight from the failure's From by its protocol, or DNS: none of several attempts
	// did. "" where something does, or that was not seen.
	NothingTo string
	// Seen is every step that was taken, in order, a line each.
	Seen []string
}

// DNS stands in Finding.NothingTo for all of the cluster's DNS.
const DNS = "the cluster's DNS"

// walk is one diagnosis.
type walk struct {
	env     *requirement.Env
	failure *requirement.Failure
	// rules may be added to nodes: they only count and trace, and match the diagnosis's own port.
	rules bool
	// target is what the failing exchange dialled, where it was one by TCP or UDP.
	target target
	cause  string
	// suspected is the cause where nothing is found that is nearer.
	suspected string
	nothingTo string
	seen      []string
}

// blame keeps what breaks the path; the first that is found counts.
func (w *walk) blame(cause string) {
	if w.cause == "" {
		w.cause = cause
	}
}

func (w *walk) note(format string, args ...any) {
	w.seen = append(w.seen, fmt.Sprintf(format, args...))
}

// suspect keeps what breaks the path unless something nearer is found.
func (w *walk) suspect(cause string) {
	if w.suspected == "" {
		w.suspected = cause
	}
}

// FirstBrokenHop walks the ladder for the failure. rules says whether counting rules may be put on the nodes.
func FirstBrokenHop(ctx context.Context, env *requirement.Env, f *requirement.Failure, rules bool) Finding {
	if f.From == nil {
		return Finding{}
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	w := &walk{env: env, failure: f, rules: rules}
	if f.Protocol == "tcp" || f.Protocol == "udp" {
		w.target = w.findTarget(ctx)
	}
	mine, others := w.secondOwners(ctx)
	hop := mine
	w.blame(mine)
	if hop == "" {
		hop = w.walkLadder(ctx)
	}
	if others != "" && hop != "" {
		hop += "; besides, " + others
	}
	return Finding{Hop: hop, Cause: cmp.Or(w.cause, w.suspected), NothingTo: w.nothingTo, Seen: w.seen}
}

// walkLadder chooses the ladder by what was spoken and how it failed.
func (w *walk) walkLadder(ctx context.Context) string {
	f := w.failure
	unheard := []requirement.Reason{requirement.NoAnswer, requirement.Refused, requirement.Unreachable, requirement.Broken,
		requirement.Missing} // of several that were to answer some did not
	switch {
	case strings.HasPrefix(f.Protocol, "dns"), f.Protocol == resolvConf:
		return w.names(ctx)
	case f.Protocol != "tcp" && f.Protocol != "udp":
	case f.Reason == requirement.Translated && f.Exchange != nil && f.Exchange.Unconnected:
		return w.untranslated(ctx, w.target)
	case f.Reason == requirement.Translated:
		return w.translated(ctx)
	case f.Reason == requirement.WrongPeer:
		return w.whoAnswers(ctx)
	case slices.Contains(unheard, f.Reason):
		return w.ladder(ctx)
	}
	return ""
}

// question is the failing exchange as it was asked.
func (w *walk) question() wire.Connect {
	c := wire.Connect{Network: w.failure.Protocol, Address: w.failure.Target}
	if w.failure.Exchange != nil {
		c = *w.failure.Exchange
		// A connection that was held is gone with the check, and what it was bound to is the check's.
		c.Reuse, c.KeepOpen, c.Source = "", false, ""
	}
	c.Timeout = w.millis()
	return c
}

// millis is the bound of one attempt.
func (w *walk) millis() int { return int(w.env.Attempt.Milliseconds()) }

// ask has the end dial; the error is of the control channel.
func (w *walk) ask(ctx context.Context, from *requirement.End, c wire.Connect) (wire.Connected, error) {
	got, err := from.Connect(ctx, c)
	if err == nil && len(got.Seen) == 0 && !c.Brief {
		err = fmt.Errorf("%s dialled %s and reports no attempt", from, c.Address)
	}
	return got, err
}

// whoAnswers asks again and says who answers how often: where somebody answers who should not, the address leads to several.
func (w *walk) whoAnswers(ctx context.Context) string {
	c := w.question()
	c.Count, c.Parallel = few, few
	got, err := w.ask(ctx, w.failure.From, c)
	if err != nil || len(got.Peers) == 0 {
		return ""
	}
	told := fmt.Sprintf("%s, asked %d times more, answers as %s", c.Address, few, shares(got.Peers))
	w.note("%s", told)
	return told
}

// server is the pod that should have answered, nil where it is not known.
func (w *walk) server() *requirement.End {
	server := w.failure.To
	if server == nil && len(w.failure.Behind) > 0 {
		server = w.failure.Behind[0]
	}
	if server == nil || server.Pod == "" {
		return nil
	}
	return server
}
