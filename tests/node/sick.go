package node

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// onSickNode is the failure of a row that looks into a pod on every node, where a sick node has none: the run knows before that nothing
// that the row asks for works there.
func onSickNode(env *requirement.Env, verb string) error {
	var out []string
	node := ""
	for _, f := range env.SickNodes() {
		if f.LeftOut && env.OnNode(world.Everywhere, f.Node) == nil {
			out, node = append(out, f.String()), cmp.Or(node, f.Node)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return &requirement.Failure{Reason: requirement.NoAnswer, Target: "kubelet of node " + node, Protocol: "https to the kubelet's port 10250",
		Final: requirement.SickIsFinal, Expected: "a pod on every node that takes pods, and " + verb + " in it", Observed: strings.Join(out, "; "),
		Again: fmt.Sprintf("kubectl describe node %s; kubectl get --raw /api/v1/nodes/%s/proxy/healthz", node, node)}
}

// untilKnown is patient with a node, except with one that is known to answer no exec: it has had its time.
func untilKnown(ctx context.Context, env *requirement.Env, node string, attempt func(context.Context) error) error {
	if !env.AnswersNoExec(node) {
		return env.Until(ctx, attempt)
	}
	err := attempt(ctx)
	if failure := requirement.AsFailure(err); failure != nil {
		for _, f := range env.SickNodes(requirement.NodeAnswersNoExec) {
			if f.Node == node {
				failure.Observed += "; before: " + f.Said
				failure.Final = requirement.SickIsFinal
			}
		}
	}
	return err
}

// asked are the ends on nodes whose kubelets can be asked through the API server; the others are noted.
func asked(env *requirement.Env, ends []*requirement.End) (all []*requirement.End) {
	for _, end := range ends {
		if env.AnswersNoExec(end.Node) {
			env.Note("judged without %s: its kubelet is not reached through the API server", end.Node)
			continue
		}
		all = append(all, end)
	}
	return all
}

// sickFirst puts the ends on nodes that answer no exec before the others.
func sickFirst(env *requirement.Env, ends []*requirement.End) []*requirement.End {
	slices.SortStableFunc(ends, func(a, b *requirement.End) int {
		x, y := env.AnswersNoExec(a.Node), env.AnswersNoExec(b.Node)
		switch {
		case x == y:
			return 0
		case x:
			return -1
		}
		return 1
	})
	return ends
}
