package service

import (
	"context"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

func selectorChange() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/selector-change",
		Long:  true,
		Title: "When a Service's selector is changed, its traffic goes to the pods that the new one selects, and to them alone, from every node within a minute.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/services-networking/service/#defining-a-service",
			Says: "The controller of a Service continuously looks for the pods that match its selector, and makes the needed updates to its " +
				"EndpointSlices.",
		},
		Why:   "Blue-green deployments are switched by it. A node that still knows the old version serves both at once, for as long as its proxy is late.",
		Roles: []world.Role{world.Everywhere, world.WebNear, world.SiblingA}, PerFamily: true,
		Check:   checkSelectorChange,
		Control: extraSliceControl(requirement.Stale),
	}
}

func checkSelectorChange(ctx context.Context, env *requirement.Env) error {
	blue, green := env.Role(world.WebNear), env.Role(world.SiblingA)
	labels := map[*requirement.End]string{blue: ownLabel(), green: ownLabel()}
	for end, label := range labels {
		if err := mark(ctx, env, end, label, true); err != nil {
			return err
		}
	}
	service, err := selecting(ctx, env, labels[blue], nil)
	if err != nil {
		return err
	}
	if err := keepBySlice(ctx, env, service, blue); err != nil {
		return err
	}
	watch, err := watchService(ctx, env, service)
	if err != nil {
		return err
	}
	if err := watch.Change(ctx, expectAnswers(serviceMade, blue), unchanged); err != nil {
		return err
	}
	for _, next := range []*requirement.End{green, blue} {
		if err := watch.Change(ctx, turnsRed(expectAnswers(endpointMoves, next)), atOnce(func(ctx context.Context) error {
			return patchService(ctx, env, service, map[string]any{"spec": map[string]any{"selector": map[string]any{
				labels[blue]: ifSo(next == blue), labels[green]: ifSo(next == green)}}})
		})); err != nil {
			return err
		}
	}
	return nil
}

// ifSo is the value of a label in a merge patch: null takes it away.
func ifSo(on bool) any {
	if on {
		return "yes"
	}
	return nil
}

// patchService changes a Service by a JSON merge patch (RFC 7386).
func patchService(ctx context.Context, env *requirement.Env, service requirement.ServiceSeen, change map[string]any) error {
	patch, err := json.Marshal(change)
	if err != nil {
		return err
	}
	if _, err := env.Kube.CoreV1().Services(service.Namespace).Patch(ctx, service.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("changing the Service %s: %w", service.Name, err)
	}
	return nil
}

func labelChange() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/label-change",
		Long:  true,
		Title: "A pod that loses the label leaves the Service, and one that gets it joins, on every node within a minute.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#isolating-pods-from-a-replicaset",
			Says: "A pod is taken out of service for debugging by changing its labels; the pods of a Service are those that its selector matches at " +
				"the moment.",
		},
		Why: "This is how a pod that misbehaves is set aside and kept for a look at it. It stays ready and serves on, so that a data path that " +
			"is late is not seen by anything else.",
		Roles: []world.Role{world.Everywhere, world.WebNear, world.SiblingA}, PerFamily: true,
		Check:   checkLabelChange,
		Control: extraSliceControl(requirement.Answered),
	}
}

func checkLabelChange(ctx context.Context, env *requirement.Env) error {
	label, first, second := ownLabel(), env.Role(world.WebNear), env.Role(world.SiblingA)
	if err := mark(ctx, env, first, label, true); err != nil {
		return err
	}
	service, err := selecting(ctx, env, label, nil)
	if err != nil {
		return err
	}
	if err := keepBySlice(ctx, env, service, first); err != nil {
		return err
	}
	watch, err := watchService(ctx, env, service)
	if err != nil {
		return err
	}
	if err := watch.Change(ctx, expectAnswers(serviceMade, first), unchanged); err != nil {
		return err
	}
	if err := watch.Change(ctx, turnsRed(expectNobody(endpointLeaves, atOwnAddress(first))), atOnce(func(ctx context.Context) error { return mark(ctx, env, first, label, false) })); err != nil {
		return err
	}
	if err := watch.Change(ctx, expectAnswers(endpointJoins, second), atOnce(func(ctx context.Context) error { return mark(ctx, env, second, label, true) })); err != nil {
		return err
	}
	return watch.Change(ctx, expectNobody(endpointLeaves, atOwnAddress(second)), atOnce(func(ctx context.Context) error { return mark(ctx, env, second, label, false) }))
}
