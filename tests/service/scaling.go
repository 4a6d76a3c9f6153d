package service

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

func scaling() requirement.Requirement {
	return requirement.Requirement{
		ID:   "service/scaling",
		Long: true,
		Title: "When a Deployment is scaled up every node sends to each of its pods within a minute of their readiness, and when it is scaled down to no pod " +
			"that is gone.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: programmingSLI,
			Says: "Users are to have a guarantee of how quickly new backends of a Service become targets of in-cluster load balancing, and how quickly " +
				"deleted ones are removed from it.",
		},
		Why: "New pods that get no traffic are money spent while the old ones drown. Pods that are gone and still get it are errors, one in n, " +
			"until the last node has followed.",
		Roles: []world.Role{world.Everywhere},
		Check: checkScaling,
		Control: requirement.Control{Says: "one of the new pods without the Service's label", Variant: &requirement.Variant{Fixture: "unlabelled"},
			Red: []requirement.Reason{requirement.Missing}},
	}
}

const scaleTo = 3

func checkScaling(ctx context.Context, env *requirement.Env) error {
	// The Deployment selects by a label of its own, the Service by another, so that a pod can lose the latter and is not replaced.
	owned, selected := ownLabel(), ownLabel()
	service, err := selecting(ctx, env, selected, allFamilies)
	if err != nil {
		return err
	}
	d, err := deployment(ctx, env, owned, 1, func(pod *corev1.Pod) { pod.Labels[selected] = "yes" })
	if err != nil {
		return err
	}
	first, err := rolledOut(ctx, env, d)
	if err != nil {
		return err
	}
	watch, err := watchService(ctx, env, service)
	if err != nil {
		return err
	}
	expect := expectAnswers("a Service with one pod is made")
	expect.By = first
	if err := watch.Change(ctx, expect, unchanged); err != nil {
		return err
	}
	if err := changeDeployment(ctx, env, d, map[string]any{"replicas": scaleTo}); err != nil {
		return err
	}
	all, err := rolledOut(ctx, env, d)
	if err != nil {
		return err
	}
	if env.Fixture("unlabelled") {
		for _, name := range all {
			if !slices.Contains(first, name) {
				if err := mark(ctx, env, &requirement.End{Namespace: d.Namespace, Pod: name}, selected, false); err != nil {
					return err
				}
				break
			}
		}
		// Until the nodes follow, the pod still answers.
		if err := settleFor(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	expect.What, expect.By, expect.Every, expect.Red = "a Deployment is scaled up", all, true, true
	if err := watch.Change(ctx, expect, unchanged); err != nil {
		return err
	}
	expect.What = "a Deployment is scaled down"
	expect.Every, expect.Red = false, false
	at := time.Now()
	if err := changeDeployment(ctx, env, d, map[string]any{"replicas": 1}); err != nil {
		return err
	}
	if expect.By, err = rolledOut(ctx, env, d); err != nil {
		return err
	}
	return watch.Change(ctx, expect, madeAt(at))
}
