package node

import (
	"context"
	"fmt"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/skew"
)

const (
	// certificateBackdate is by how much the cluster's certificates begin before they are signed.
	certificateBackdate = 5 * time.Minute
	// clockReadings is how often each clock is read; the reading that took the least time counts.
	clockReadings = 3
)

func clocks() requirement.Requirement {
	return requirement.Requirement{
		ID:    "node/clock",
		Title: "The clocks of all nodes agree within the five minutes by which the cluster's certificates are dated back.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/controller/certificates/signer/signer.go",
			Says: "A certificate that the controller manager signs for a node begins five minutes before it is signed, so that " +
				"nodes whose clocks are behind take it. A clock further behind finds it not yet valid.",
		},
		Why: "TLS and service account tokens are valid between two times. A node whose clock is off joins or renews its " +
			"certificate and is then refused with \"certificate has expired or is not yet valid\", whatever its network does.",
		Needs:       []requirement.Feature{requirement.NodeAgent},
		PodSecurity: "privileged",
		Roles:       []world.Role{world.Node},
		Check:       clocksAgree,
		Control: requirement.Control{
			Says:  "an agent that reports a clock ten minutes behind",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.ShiftClock(-10 * time.Minute)}},
			Red:   []requirement.Reason{requirement.ClocksDiffer},
		},
	}
}

func clocksAgree(ctx context.Context, env *requirement.Env) error {
	var all []skew.Reading
	for _, end := range env.Roles(world.Node) {
		best, err := readClock(ctx, end)
		if err != nil {
			return err
		}
		all = append(all, best)
	}
	pair, ok := skew.Widest(all)
	if !ok {
		return &requirement.Unsupported{Probed: fmt.Sprintf("not judgeable: the boot ID of all %d nodes is %s, so they are containers of one kernel "+
			"and share its clock", len(all), all[0].Kernel)}
	}
	env.Note("%s is ahead of %s by at least %s and at most %s", pair.Ahead.Name, pair.Behind.Name, pair.Apart, pair.Apart+pair.Unsure)
	if pair.Apart <= certificateBackdate {
		return nil
	}
	return &requirement.Failure{Reason: requirement.ClocksDiffer, Target: "nodes " + pair.Behind.Name + " and " + pair.Ahead.Name, Protocol: "clock",
		Expected: "clocks that agree within " + certificateBackdate.String(),
		Observed: fmt.Sprintf("%s at least %s behind %s", pair.Behind.Name, pair.Apart.Round(time.Millisecond), pair.Ahead.Name),
		Again:    "timedatectl   (on both nodes)"}
}

func readClock(ctx context.Context, end *requirement.End) (best skew.Reading, err error) {
	for i := range clockReadings {
		asked := time.Now()
		got, err := end.Clock(ctx, wire.Clock{Do: "read"})
		took := time.Since(asked)
		if err != nil {
			return best, fmt.Errorf("reading the clock of %s: %w", end.Node, err)
		}
		if !got.Ok() {
			return best, fmt.Errorf("reading the clock of %s: %s", end.Node, got.Errno)
		}
		if i == 0 || took < best.Took {
			best = skew.Reading{Name: end.Node, Kernel: got.Kernel, Asked: asked, Now: time.Unix(0, got.Now), Took: took}
		}
	}
	return best, nil
}
