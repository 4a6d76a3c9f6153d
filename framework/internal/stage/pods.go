package stage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/undo"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

const (
	// accountReady bounds the wait for a new namespace's default service account, without which pods
	// are refused. The controller takes milliseconds.
	accountReady = 30 * time.Second
	// podGone bounds the removal of a pod of a check's own.
	podGone = 100 * time.Second
)

// create makes a pod. A pod in the privileged namespace that admission refuses is no error: the rows that
// rest on it are unsupported, in admission's words.
func (p *players) create(ctx context.Context, pod *corev1.Pod) (made *corev1.Pod, refused string, err error) {
	p.plan.Equip(pod)
	var answer error
	_, late := until.Settled(ctx, until.Policy{Within: accountReady}, func(ctx context.Context) error {
		made, answer = p.kube.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
		if apierrors.IsForbidden(answer) && strings.Contains(answer.Error(), "serviceaccount") {
			return answer // a new namespace gets its account within milliseconds
		}
		return nil
	})
	switch {
	case late == nil && answer == nil:
		return made, "", nil
	case apierrors.IsForbidden(answer) && pod.Namespace == p.plan.Privileged():
		return nil, "the cluster refuses the pod that it needs: " + answer.Error(), nil
	}
	return nil, "", fmt.Errorf("making the pod %s/%s: %w", pod.Namespace, pod.Name+pod.GenerateName, answer)
}

// Start makes a pod of a check's own and waits until it is ready, or until enough says so.
func (p *players) Start(ctx context.Context, pod *corev1.Pod, enough func(*corev1.Pod) bool) (*requirement.Started, error) {
	if enough == nil {
		enough = requirement.Ready
	}
	made, refused, err := p.create(ctx, pod)
	if err != nil {
		return nil, err
	}
	if refused != "" {
		return nil, &requirement.Unsupported{Probed: refused}
	}
	remove := func(ctx context.Context) error { return p.remove(ctx, made) }
	seen, err := p.await(ctx, enough, made)
	if why := seen.late[key(made)]; why != "" {
		err = errors.New("a fixture did not start: " + why)
	}
	if err != nil {
		return nil, errors.Join(err, undo.Do(ctx, remove))
	}
	planned := world.Pod{Object: made}
	for _, container := range made.Spec.Containers {
		planned.Plays = append(planned.Plays, world.Part{Role: world.Role(made.Name), Container: container.Name})
	}
	for _, container := range made.Spec.InitContainers {
		if p := container.RestartPolicy; p != nil && *p == corev1.ContainerRestartPolicyAlways {
			planned.Plays = append(planned.Plays, world.Part{Role: world.Role(made.Name), Container: container.Name})
		}
	}
	ends, err := p.endsOf(planned, seen.ready[key(made)])
	if err != nil {
		return nil, errors.Join(err, undo.Do(ctx, remove))
	}
	started := &requirement.Started{Pod: seen.ready[key(made)], Ends: map[string]*requirement.End{}, Remove: func(ctx context.Context) error {
		for _, end := range ends {
			if end.Close() != nil {
				continue // its stream ends with the pod
			}
		}
		return remove(ctx)
	}}
	for _, end := range ends {
		started.Ends[end.Container] = end
	}
	return started, nil
}

// Join opens an end in a container of a running pod.
func (p *players) Join(pod *corev1.Pod, container string) (*requirement.End, error) {
	ends, err := p.endsOf(world.Pod{Object: pod, Plays: []world.Part{{Role: world.Role(pod.Name), Container: container}}}, pod)
	if err != nil {
		return nil, err
	}
	return ends[0], nil
}

// remove deletes a pod and waits until it is gone.
func (p *players) remove(ctx context.Context, pod *corev1.Pod) error {
	pods := p.kube.CoreV1().Pods(pod.Namespace)
	err := pods.Delete(ctx, pod.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("removing the pod %s: %w", key(pod), err)
	}
	_, err = until.Settled(ctx, until.Policy{Within: podGone, Every: 100 * time.Millisecond}, func(ctx context.Context) error {
		now, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || (err == nil && now.UID != pod.UID) {
			return nil
		}
		return errors.Join(fmt.Errorf("the pod %s is still there", key(pod)), err)
	})
	return err
}

func key(pod *corev1.Pod) string { return pod.Namespace + "/" + pod.Name }
