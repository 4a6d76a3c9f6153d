// Package exchange makes one end talk to another and judges what both of them saw: that the bytes
// came back unchanged and, where asked, that nobody translated an address on the way.
package exchange

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
)

// Talk is one conversation: who dials what, and who should answer.
type Talk struct {
	From    *requirement.End
	To      *requirement.End // who should answer; nil: anyone of Among
	Among   []*requirement.End
	Network string // as in wire.Listen
	// Bind is where To opens a server for this conversation; empty where one stands already.
	Bind   string
	Dial   string // what From dials; empty is Bind
	Source string // local address of From, "" is the system's choice
	Bytes  int
	// NoNAT also demands that each end names the other's own address.
	NoNAT bool
	Mode  uint32 // of a unix socket
	// Behave is how the server at Bind behaves, as in wire.Listen.
	Behave string
	// Within bounds one attempt that takes longer than env.Attempt allows; 0 is env.Attempt.
	Within    time.Duration
	Digest    bool // Digest, DF and HalfClose are as in wire.Connect
	DF        bool
	HalfClose bool
	// Unconnected is as in wire.Connect: the answer must then come from what was dialled.
	Unconnected bool
	Reuse       string // the handle of a connection that KeepOpen opened, for Again
	keepOpen    bool
}

// Works says whether the conversation works, within the patience in force, and what was seen last.
// The error is a *requirement.Failure when it does not.
func Works(ctx context.Context, env *requirement.Env, talk Talk) (wire.Exchange, error) {
	if talk.Dial == "" {
		talk.Dial = talk.Bind
	}
	if talk.Bind != "" {
		server, err := talk.To.Listen(ctx, wire.Listen{Network: talk.Network, Address: talk.Bind, Mode: talk.Mode, Behave: talk.behave()})
		if err != nil {
			return wire.Exchange{}, fmt.Errorf("opening a %s server at %s in %s: %w", talk.Network, talk.Bind, talk.To, err)
		}
		if !server.Ok() {
			return wire.Exchange{}, fmt.Errorf("%s cannot open a %s server at %s: %s", talk.To, talk.Network, talk.Bind, server.Errno)
		}
		defer Release(ctx, talk.To, server.Handle)
	}
	who, err := talk.answerers(ctx)
	if err != nil {
		return wire.Exchange{}, err
	}
	var last wire.Exchange
	err = env.Until(ctx, func(ctx context.Context) error {
		seen, err := Once(ctx, env, talk)
		if err != nil {
			return err
		}
		last = seen
		return talk.judge(seen, who)
	})
	return last, err
}

// Rejected says whether what From dials is turned away at once, within the patience in force: by a refusal, or by another error that
// comes before the attempt's time is up, as of a firewall that answers "prohibited" (EHOSTUNREACH, EACCES) or of a data path that
// rejects in connect(2) itself (EPERM). Only silence and an answer are failures. What is no refusal is noted.
func Rejected(ctx context.Context, env *requirement.Env, talk Talk) error {
	var by wire.Errno
	err := env.Until(ctx, func(ctx context.Context) error {
		seen, err := Once(ctx, env, talk)
		if by = seen.Errno; err != nil || slices.Contains([]wire.Class{wire.Refused, wire.Unreachable, wire.Denied, wire.Reset}, seen.Class) {
			return err
		}
		reason := requirement.ReasonOf(seen.Errno)
		if seen.Ok() {
			reason = requirement.Answered
		}
		return &requirement.Failure{Reason: reason, From: talk.From, To: talk.To, Target: talk.Dial, Protocol: talk.Network,
			Expected: fmt.Sprintf("%s to reject within %s", talk.Dial, env.Attempt), Observed: seen.Errno.String(), Again: talk.again()}
	})
	if err == nil && by.Class != wire.Refused {
		env.Note("%s is rejected at once over %s, though not as refused: %s", talk.Dial, talk.Network, by)
	}
	return err
}

// Once makes a single attempt and judges nothing.
func Once(ctx context.Context, env *requirement.Env, talk Talk) (wire.Exchange, error) {
	within := talk.Within
	if within == 0 {
		within = env.Attempt
	}
	got, err := talk.From.Connect(ctx, wire.Connect{
		Network: talk.Network, Address: talk.Dial, Source: talk.Source, Bytes: talk.Bytes,
		Timeout: int(within / time.Millisecond), Digest: talk.Digest, DF: talk.DF, HalfClose: talk.HalfClose,
		KeepOpen: talk.keepOpen, Reuse: talk.Reuse, Unconnected: talk.Unconnected,
	})
	if err != nil {
		return wire.Exchange{}, fmt.Errorf("asking %s to dial %s: %w", talk.From, talk.Dial, err)
	}
	if len(got.Seen) != 1 {
		return wire.Exchange{}, fmt.Errorf("%s dialled %s once and reports %d attempts", talk.From, talk.Dial, len(got.Seen))
	}
	return got.Seen[0], nil
}

// KeepOpen makes a single attempt and keeps its connection, which the Handle of what was seen names, for Again. The caller
// releases it.
func KeepOpen(ctx context.Context, env *requirement.Env, talk Talk) (wire.Exchange, error) {
	talk.keepOpen = true
	return Again(ctx, env, talk)
}

// Again makes a single attempt and judges it: on the held connection that talk.Reuse names, where it is set.
func Again(ctx context.Context, env *requirement.Env, talk Talk) (wire.Exchange, error) {
	who, err := talk.answerers(ctx)
	if err != nil {
		return wire.Exchange{}, err
	}
	seen, err := Once(ctx, env, talk)
	if err != nil {
		return seen, err
	}
	return seen, talk.judge(seen, who)
}

// releaseWithin bounds the closing of a server: one that stays open keeps its port from the check's next attempt.
const releaseWithin = 15 * time.Second

// Release closes a server also when the check's own context has ended; an agent that is gone took its
// servers along. What never opened (an empty handle) needs no closing.
func Release(ctx context.Context, end *requirement.End, handle string) {
	if handle == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
	defer cancel()
	if err := end.Release(ctx, handle); err != nil {
		return
	}
}

// judge judges what was seen; who are the hostnames of those who may answer, none: anybody.
func (t Talk) judge(seen wire.Exchange, who []string) error {
	fail := func(reason requirement.Reason, expected, observed string, args ...any) error {
		return &requirement.Failure{
			Reason: reason, From: t.From, To: t.To, Behind: t.Among, Target: t.Dial, Protocol: t.Network,
			Expected: expected, Observed: fmt.Sprintf(observed, args...), Again: t.again(),
		}
	}
	answer := fmt.Sprintf("an answer from %s over %s", t.Dial, t.Network)
	if t.Within > 0 && t.Bytes >= 1<<20 {
		answer = fmt.Sprintf("%d MiB to reach %s over %s within %s", t.Bytes>>20, t.Dial, t.Network, t.Within)
	}
	switch {
	case seen.Step == "compare":
		return fail(requirement.Broken, "the bytes that were sent to arrive unchanged", "%s", seen.Text)
	case !seen.Ok():
		return fail(requirement.ReasonOf(seen.Errno), answer, "%s at %s", seen.Errno, step(seen.Step))
	case seen.Witness == nil || !seen.Same:
		return fail(requirement.Broken, "the bytes that were sent to come back", "%d other bytes", seen.Bytes)
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

// Addr is the address in "ip:port" as agents write it; the zero Addr where the text is none.
func Addr(text string) netip.Addr {
	ap, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// Port is the port in "ip:port" as agents write it; 0 where the text is none.
func Port(text string) int {
	ap, err := netip.ParseAddrPort(text)
	if err != nil {
		return 0
	}
	return int(ap.Port())
}
