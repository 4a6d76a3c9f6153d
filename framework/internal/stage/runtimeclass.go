package stage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/parley-k8s/parley/framework/internal/handler"
	"github.com/parley-k8s/parley/framework/internal/runid"
)

// HandlerMissing says that the cluster's nodes turned out not to have an OCI handler.
type HandlerMissing struct{ why string }

func (h *HandlerMissing) Error() string { return h.why }

// runtimeClass is the RuntimeClass of that name: made on a cluster that was made here, and there already on one of the
// user's; nil for no name.
func (s *Stage) runtimeClass(ctx context.Context, name string) (*nodev1.RuntimeClass, error) {
	classes := s.kube.NodeV1().RuntimeClasses()
	switch {
	case name == "":
		return nil, nil
	case !s.cluster.Owned():
		class, err := classes.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("-handler %s: the cluster has no RuntimeClass of that name%s", name, s.othersThan(ctx))
		}
		if err != nil {
			return nil, fmt.Errorf("reading the RuntimeClass %s: %w", name, err)
		}
		return class, nil
	}
	if err := s.requireProgram(ctx, name); err != nil {
		return nil, err
	}
	return own(ctx, s, classes, &nodev1.RuntimeClass{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{runid.Label: string(s.options.Run)}}, Handler: name})
}

// othersThan names the RuntimeClasses that there are, for the user to choose of.
func (s *Stage) othersThan(ctx context.Context) string {
	list, err := s.kube.NodeV1().RuntimeClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return ""
	}
	if len(list.Items) == 0 {
		return ", and no other"
	}
	var names []string
	for _, c := range list.Items {
		names = append(names, c.Name)
	}
	return "; it has " + strings.Join(names, ", ")
}

// requireProgram says which node lacks the handler's program, which comes with the node image.
func (s *Stage) requireProgram(ctx context.Context, name string) error {
	handlers, err := handler.Named([]string{name})
	if err != nil {
		return err
	}
	program := handlers[0].Program
	if program == "" {
		return nil
	}
	for _, node := range s.lab.Facts.Nodes {
		cmd, err := s.cluster.NodeCommand(ctx, node.Name, "sh", "-c", `command -v "$1"`, "sh", program)
		if err != nil {
			return err
		}
		if err := cmd.Run(); err != nil {
			return &HandlerMissing{fmt.Sprintf("the node image %s has no %s (%v), which the one that is built offline has", s.lab.Facts.NodeImage, program, err)}
		}
	}
	return nil
}

// place is how a node stands to the pods of a RuntimeClass.
type place struct {
	Selected  bool // it has the labels that the class selects
	Tolerated bool // the class tolerates all of its taints
}

// planRuntimeClass has the planned pods run as the RuntimeClass, and the agents in nodes' own namespaces tolerate what it tolerates.
func (s *Stage) planRuntimeClass() {
	if s.class == nil {
		return
	}
	s.plan.RuntimeClass = s.class.Name
	if s.class.Scheduling != nil {
		s.plan.NodeTolerations = s.class.Scheduling.Tolerations
	}
}

// placesOf is how each node stands to the pods of the RuntimeClass; nil where the class does not say where its pods go.
func (s *Stage) placesOf(ctx context.Context) (map[string]place, error) {
	if s.class == nil || s.class.Scheduling == nil {
		return nil, nil
	}
	nodes, err := s.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading which nodes take the pods of the RuntimeClass %s: %w", s.class.Name, err)
	}
	return places(s.class.Scheduling, nodes.Items), nil
}

func places(of *nodev1.Scheduling, nodes []corev1.Node) map[string]place {
	all := map[string]place{}
	for _, n := range nodes {
		at := place{Selected: true, Tolerated: true}
		for key, value := range of.NodeSelector {
			at.Selected = at.Selected && n.Labels[key] == value
		}
		for _, taint := range n.Spec.Taints {
			at.Tolerated = at.Tolerated && (taint.Effect == corev1.TaintEffectPreferNoSchedule ||
				slices.ContainsFunc(of.Tolerations, func(t corev1.Toleration) bool { return t.ToleratesTaint(klog.Background(), &taint, false) }))
		}
		all[n.Name] = at
	}
	return all
}
