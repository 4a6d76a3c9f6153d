package suite

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/handler"
	"github.com/parley-k8s/parley/framework/internal/runid"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// takeUp makes the column of that place the one that is judged.
func (r *Run) takeUp(at int) {
	r.at, r.left = at, r.chosen
	if name := r.columns[at].Spec().Handler; name != "" && (r.config.existing() || name != handler.Default) {
		r.left = besideHandlers(r.chosen, r.chapters)
	}
}

// besideHandlers leaves out besides the requirements that say nothing of an OCI handler.
func besideHandlers(chosen map[string]string, chapters []requirement.Chapter) map[string]string {
	left := maps.Clone(chosen)
	for _, c := range chapters {
		if c.Judged == requirement.PerHandler {
			continue
		}
		for _, q := range c.Requirements {
			if left[q.ID] == "" {
				left[q.ID] = "the chapter " + c.Name + " says nothing of an OCI handler: it is judged without -" + axis.HandlerFlag
			}
		}
	}
	return left
}

// prepareHandlers are the handlers that the columns ask for, with the files that nodes get for them. One that can't be had is
// not run, or an error where it was asked for by its name.
func (l *lab) prepareHandlers(ctx context.Context) (handlers []handler.Handler, files []cluster.File, err error) {
	var columns []axis.Column
	for _, c := range l.run.columns {
		var names []string
		if name := c.Spec().Handler; name != "" {
			names = []string{name}
		}
		found, err := handler.Named(names)
		if err != nil {
			return nil, nil, err
		}
		var its []cluster.File
		for _, h := range found {
			its, err = h.Files(ctx, l.run.buildStep)
			if err != nil {
				err = fmt.Errorf("the OCI handler %s can't be had here: %w", h.Name, err)
			}
		}
		switch {
		case err == nil:
			handlers, files, columns = append(handlers, found...), append(files, its...), append(columns, c)
		case ctx.Err() != nil || c.ByName:
			return nil, nil, err
		default:
			l.run.notRun(c.Name(), err.Error())
		}
	}
	if len(columns) == 0 {
		return nil, nil, fmt.Errorf("none of the OCI handlers can be had here: %s", l.run.report.NotRun[0].Reason)
	}
	l.run.columns = columns
	return handlers, files, nil
}

// absent is an OCI handler that the cluster's nodes turned out not to have.
type absent struct{ why string }

func (a *absent) Error() string { return a.why }

// runtimeClass is the RuntimeClass of that name: made on a cluster that was made here, and there already on one of the
// user's; nil for no name.
func (l *lab) runtimeClass(ctx context.Context, name string) (*nodev1.RuntimeClass, error) {
	classes := l.kube.NodeV1().RuntimeClasses()
	switch {
	case name == "":
		return nil, nil
	case !l.cluster.Owned():
		class, err := classes.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("-%s %s: the cluster has no RuntimeClass of that name%s", axis.HandlerFlag, name, l.othersThan(ctx))
		}
		if err != nil {
			return nil, fmt.Errorf("reading the RuntimeClass %s: %w", name, err)
		}
		return class, nil
	}
	if err := l.hasProgram(ctx, name); err != nil {
		return nil, err
	}
	class, err := classes.Create(ctx, &nodev1.RuntimeClass{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{runid.Label: string(l.run.id)}}, Handler: name}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("making the RuntimeClass %s: %w", name, err)
	}
	l.undoUnlessKept("removing the RuntimeClass "+name, func(ctx context.Context) error {
		return unlessGone(classes.Delete(ctx, name, metav1.DeleteOptions{}))
	})
	return class, nil
}

// othersThan names the RuntimeClasses that there are, for the user to choose of.
func (l *lab) othersThan(ctx context.Context) string {
	list, err := l.kube.NodeV1().RuntimeClasses().List(ctx, metav1.ListOptions{})
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

// hasProgram says what the handler's program is missing on, which comes with the node image.
func (l *lab) hasProgram(ctx context.Context, name string) error {
	handlers, err := handler.Named([]string{name})
	if err != nil {
		return err
	}
	program := handlers[0].Program
	if program == "" {
		return nil
	}
	for _, node := range l.facts.Nodes {
		cmd, err := l.cluster.NodeCommand(ctx, node.Name, "sh", "-c", `command -v "$1"`, "sh", program)
		if err != nil {
			return err
		}
		if err := cmd.Run(); err != nil {
			return &absent{fmt.Sprintf("the node image %s has no %s (%v), which the one that is built offline has", l.facts.NodeImage, program, err)}
		}
	}
	return nil
}

// handlerFacts say what the pods run under; none where that is left to the cluster.
func (l *lab) handlerFacts() []reports.Fact {
	if l.class == nil {
		return nil
	}
	facts := []reports.Fact{{Name: handler.Fact, Value: l.class.Handler}}
	if l.class.Name != l.class.Handler {
		facts = append(facts, reports.Fact{Name: "RuntimeClass", Value: l.class.Name})
	}
	return facts
}

// place is how a node stands to the pods of a RuntimeClass.
type place struct {
	Selected  bool // it has the labels that the class selects
	Tolerated bool // the class tolerates all of its taints
}

// placesOf is how each node stands to the pods of the RuntimeClass; nil where the class does not say where its pods go. It
// has the plan's agents in nodes' own namespaces tolerate what the class tolerates.
func (l *lab) placesOf(ctx context.Context) (map[string]place, error) {
	if l.class == nil {
		return nil, nil
	}
	l.plan.RuntimeClass = l.class.Name
	if l.class.Scheduling == nil {
		return nil, nil
	}
	nodes, err := l.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading which nodes take the pods of the RuntimeClass %s: %w", l.class.Name, err)
	}
	l.plan.NodeTolerations = l.class.Scheduling.Tolerations
	return places(l.class.Scheduling, nodes.Items), nil
}

func places(s *nodev1.Scheduling, nodes []corev1.Node) map[string]place {
	all := map[string]place{}
	for _, n := range nodes {
		at := place{Selected: true, Tolerated: true}
		for key, value := range s.NodeSelector {
			at.Selected = at.Selected && n.Labels[key] == value
		}
		for _, taint := range n.Spec.Taints {
			at.Tolerated = at.Tolerated && (taint.Effect == corev1.TaintEffectPreferNoSchedule ||
				slices.ContainsFunc(s.Tolerations, func(t corev1.Toleration) bool { return t.ToleratesTaint(klog.Background(), &taint, false) }))
		}
		all[n.Name] = at
	}
	return all
}
