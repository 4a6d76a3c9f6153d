package node

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/parley-k8s/parley/framework/requirement"
)

// onSickNode is the failure of a row that looks into a pod on every node, where a sick node has none: the run knows before that nothing
// that the row asks for works there.
func onSickNode(env *requirement.Env, verb string) error {
	var out []string
	for _, f := range env.SickNodes() {
		if f.LeftOut {
			out = append(out, f.String())
		}
	}
	if len(out) == 0 {
		return nil
	}
	node := env.SickNodes()[0].Node
	return &requirement.Failure{Reason: requirement.NoAnswer, Target: "kubelet of node " + node, Protocol: "https to the kubelet's port 10250",
		Expected: "a pod on every node that takes pods, and " + verb + " in it", Observed: strings.Join(out, "; "),
		Again: fmt.Sprintf("kubectl describe node %s; kubectl get --raw /api/v1/nodes/%s/proxy/healthz", node, node)}
}

// untilKnown is patient with a node, except with one that is known to answer no exec: it has had its time.
func untilKnown(ctx context.Context, env *requirement.Env, node string, attempt func(context.Context) error) error {
	if !answersNoExec(env, node) {
		return env.Until(ctx, attempt)
	}
	err := attempt(ctx)
	if failure := requirement.AsFailure(err); failure != nil {
		for _, f := range env.SickNodes(requirement.NodeAnswersNoExec) {
			if f.Node == node {
				failure.Observed += "; before: " + f.Said
			}
		}
	}
	return err
}

func answersNoExec(env *requirement.Env, node string) bool {
	return slices.ContainsFunc(env.SickNodes(requirement.NodeAnswersNoExec), func(f requirement.NodeFinding) bool { return f.Node == node })
}

// sickFirst puts the ends on nodes that answer no exec before the others.
func sickFirst(env *requirement.Env, ends []*requirement.End) []*requirement.End {
	slices.SortStableFunc(ends, func(a, b *requirement.End) int {
		x, y := answersNoExec(env, a.Node), answersNoExec(env, b.Node)
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
