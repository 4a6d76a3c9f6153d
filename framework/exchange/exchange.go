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
	// Knock is as in wire.Connect, for servers that are no agents: a connection is all that is judged then, and who takes it is not.
	Knock    bool
	Reuse    string // the handle of a connection that KeepOpen opened, for Again
	keepOpen bool
	// Stall is as in wire.Connect, for a connection that Reuse names; Within bounds the whole besides.
	Stall time.Duration
	// Converging says that the check changed a moment ago who is to answer, or made it: a wrong peer or address is forgiven then while
	// the patience lasts. By default it is not. Bytes that arrive changed are never forgiven.
	Converging bool
}

// patience is what is in force for the talk.
func (t Talk) patience(env *requirement.Env) func(context.Context, func(context.Context) error) error {
	if t.Converging {
		return env.Converges
	}
	return env.Until
}

// Works says whether the conversation works, within the patience in force, and what was seen last.
// The error is a *requirement.Failure when it does not.
func Works(ctx context.Context, env *requirement.Env, talk Talk) (wire.Exchange, error) {
	release, err := talk.bind(ctx)
	if err != nil {
		return wire.Exchange{}, err
	}
	defer release()
	who, err := talk.answerers(ctx)
	if err != nil {
		return wire.Exchange{}, err
	}
	var last wire.Exchange
	err = talk.patience(env)(ctx, func(ctx context.Context) error {
		seen, err := Once(ctx, env, talk)
		if err != nil {
			return err
		}
		last = seen
		return talk.judge(seen, who)
	})
	talk.recount(ctx, env, requirement.AsFailure(err), who)
	return last, err
}

// bind opens the server at Bind, where there is one to open, and gives what closes it.
func (t *Talk) bind(ctx context.Context) (release func(), err error) {
	if t.Dial == "" {
		t.Dial = t.Bind
	}
	if t.Bind == "" {
		return func() {}, nil
	}
	server, err := t.To.Listen(ctx, wire.Listen{Network: t.Network, Address: t.Bind, Mode: t.Mode, Behave: t.behave()})
	if err != nil {
		return nil, fmt.Errorf("opening a %s server at %s in %s: %w", t.Network, t.Bind, t.To, err)
	}
	if !server.Ok() {
		return nil, fmt.Errorf("%s cannot open a %s server at %s: %s", t.To, t.Network, t.Bind, server.Errno)
	}
	return func() { Release(ctx, t.To, server.Handle) }, nil
}

// Rejected says whether what From dials is turned away at once, within the patience in force: by a refusal, or by another error that
// comes before the attempt's time is up, as of a firewall that answers "prohibited" (EHOSTUNREACH, EACCES) or of a data path that
// rejects in connect(2) itself (EPERM). Only silence and an answer are failures. What is no refusal is noted.
//
// An answer is final, unless the talk is Converging.
func Rejected(ctx context.Context, env *requirement.Env, talk Talk) error {
	var by wire.Errno
	expected := fmt.Sprintf("%s to reject within %s", talk.Dial, env.Attempt)
	err := talk.patience(env)(ctx, func(ctx context.Context) error {
		seen, err := Once(ctx, env, talk)
		if by = seen.Errno; err != nil || slices.Contains([]wire.Class{wire.Refused, wire.Unreachable, wire.Denied, wire.Reset}, seen.Class) {
			return err
		}
		if seen.Ok() {
			return talk.answered(seen, expected)
		}
		return &requirement.Failure{Reason: requirement.ReasonOf(seen.Errno), From: talk.From, To: talk.To, Target: talk.Dial, Protocol: talk.Network,
			Expected: expected, Observed: seen.Errno.String(), Again: talk.again()}
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
	question := talk.connect()
	question.Timeout = int(within / time.Millisecond)
	got, err := talk.From.Connect(ctx, question)
	if err != nil {
		return wire.Exchange{}, fmt.Errorf("asking %s to dial %s: %w", talk.From, talk.Dial, err)
	}
	if len(got.Seen) != 1 {
		return wire.Exchange{}, fmt.Errorf("%s dialled %s once and reports %d attempts", talk.From, talk.Dial, len(got.Seen))
	}
	return got.Seen[0], nil
}

// connect is what From is asked, without how long it may take.
func (t Talk) connect() wire.Connect {
	return wire.Connect{Network: t.Network, Address: t.Dial, Source: t.Source, Bytes: t.Bytes, Digest: t.Digest, DF: t.DF, HalfClose: t.HalfClose,
		KeepOpen: t.keepOpen, Reuse: t.Reuse, Unconnected: t.Unconnected, Knock: t.Knock, Stall: int(t.Stall / time.Millisecond)}
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
