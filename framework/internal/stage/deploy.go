package stage

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// deployWorld makes the namespaces, Services and pods that the roles need and waits until all run, on the nodes where they do.
func (s *Stage) deployWorld(ctx context.Context) error {
	if err := s.deployNamespaces(ctx); err != nil {
		return err
	}
	if err := s.applyReference(ctx); err != nil {
		return err
	}
	if err := s.deployServices(ctx); err != nil {
		return err
	}
	for {
		sick, err := s.deployPods(ctx, s.options.Roles)
		if err != nil {
			return err
		}
		if len(sick) == 0 {
			if sick, err = s.reachNodes(ctx); err != nil {
				return err
			}
		}
		if len(sick) == 0 {
			return nil
		}
		if err := s.leaveOut(ctx, sick); err != nil {
			return err
		}
	}
}

func (s *Stage) deployNamespaces(ctx context.Context) error {
	core := s.kube.CoreV1()
	for _, ns := range s.plan.Namespaces() {
		if _, err := own(ctx, s, core.Namespaces(), ns); err != nil {
			return err
		}
		s.made = append(s.made, ns.Name)
		if err := s.copyPullSecrets(ctx, ns.Name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stage) deployServices(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	for _, service := range s.plan.Services() {
		if _, made := s.players.Service(world.Service(service.Name)); made {
			continue // before the world was placed anew
		}
		group.Go(func() error {
			made, _, err := requirement.Create(groupCtx, s.kube.CoreV1().Services(service.Namespace), service) // it goes with its namespace
			if err != nil {
				return err
			}
			s.players.setService(made)
			return nil
		})
	}
	return group.Wait()
}

// own makes an object that is removed with the world; on a cluster that is kept for a look it stays.
func own[T metav1.Object](ctx context.Context, s *Stage, client requirement.Client[T], object T) (T, error) {
	made, remove, err := requirement.Create(ctx, client, object)
	if err == nil {
		s.undoUnlessKept("removing "+made.GetName(), remove)
	}
	return made, err
}

// deployPods makes the pods that the roles need, as far as they don't run already, and waits until all run. Where nodes turn out to start
// none, it returns them, and nobody has a role yet.
func (s *Stage) deployPods(ctx context.Context, roles world.Roles) (sick []requirement.NodeFinding, err error) {
	planned := s.plan.Pods(roles)
	s.players.expect(planned)
	refused, err := s.createPods(ctx, planned)
	if err != nil {
		return nil, err
	}
	var expected []world.Pod
	var made []*corev1.Pod
	for i, pod := range planned {
		if refused[i] == "" {
			expected, made = append(expected, pod), append(made, pod.Object)
			continue
		}
		for _, part := range pod.Plays {
			s.players.setRefused(part, refused[i])
		}
	}
	seen, err := s.players.await(ctx, requirement.Ready, made...)
	if err != nil {
		return nil, err
	}
	for name, pod := range seen.ready {
		s.running[name] = pod
	}
	if len(seen.sick) > 0 {
		return seen.sick, nil
	}
	if len(seen.ready) == 0 && len(seen.late) > 0 {
		return nil, fmt.Errorf("not one of %d pods started: %s", len(seen.late), slices.Sorted(maps.Values(seen.late))[0])
	}
	for _, pod := range expected {
		if why := seen.late[key(pod.Object)]; why != "" {
			s.options.Log.Say("a fixture did not start: %s", why)
			s.players.setLate(pod, why)
			continue
		}
		if err := s.players.add(pod, seen.ready[key(pod.Object)]); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// createPods makes those of the pods that don't run already, and says of each why the cluster refuses it.
func (s *Stage) createPods(ctx context.Context, planned []world.Pod) (refused []string, err error) {
	group, groupCtx := errgroup.WithContext(ctx)
	refused = make([]string, len(planned))
	for i, pod := range planned {
		if s.running[key(pod.Object)] != nil {
			continue
		}
		group.Go(func() (err error) {
			_, refused[i], err = s.players.create(groupCtx, pod.Object)
			return err
		})
	}
	return refused, group.Wait()
}

// Witnesses has an agent on every node and a pod on every node, which a diagnosis asks: where no requirement of the
// run needed them they are started with the first failure.
func (s *Stage) Witnesses(ctx context.Context) error {
	s.witnesses.Do(func() {
		late := world.Roles{}
		for _, role := range []world.Role{world.Node, world.Everywhere} {
			if len(s.Ends(role)) == 0 && s.WhyNobody(role) == "" {
				late.Want(world.Once, role)
			}
		}
		if len(late) > 0 {
			var sick []requirement.NodeFinding
			if sick, s.witnessError = s.deployPods(ctx, late); len(sick) > 0 {
				s.witnessError = fmt.Errorf("%s", sick[0])
			}
		}
	})
	return s.witnessError
}

func (s *Stage) copyPullSecrets(ctx context.Context, namespace string) error {
	for _, source := range s.options.PullSecrets {
		from, name, ok := strings.Cut(source, "/")
		if !ok {
			return fmt.Errorf("-pull-secrets %s: name it as namespace/name", source)
		}
		secret, err := s.kube.CoreV1().Secrets(from).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading the pull secret %s: %w", source, err)
		}
		twin := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: s.plan.Labels}, Type: secret.Type, Data: secret.Data}
		if _, _, err := requirement.Create(ctx, s.kube.CoreV1().Secrets(namespace), twin); err != nil {
			return fmt.Errorf("copying the pull secret %s: %w", source, err)
		}
	}
	return nil
}
