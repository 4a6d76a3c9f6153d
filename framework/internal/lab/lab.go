package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/runkey"
	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/internal/progress"
	"github.com/parley-k8s/parley/framework/internal/runid"
	"github.com/parley-k8s/parley/framework/internal/undo"
)

// Options say which cluster to join or to make.
type Options struct {
	Run     runid.ID
	Columns axis.Group // that are judged on the cluster
	// NotRun is told of a column that can't be had here and was not asked for by name, with why.
	NotRun func(name, why string)
	Log    *progress.Log
	Report string // the folder of the reports, which takes the details of a failure

	// Existing says that the cluster is the user's. Kubeconfig and Context name it, kubectl's rules choose what they leave open.
	Existing            bool
	Kubeconfig, Context string
	AgentImage          string
	// ReferenceImage and ReferenceAddresses are the reference implementations on a cluster of the user's: their image, and prefixes
	// of the nodes' network that are free for the run, separated by commas.
	ReferenceImage, ReferenceAddresses string

	// Engine makes the cluster; the lab closes it.
	Engine    *engine.Engine
	NodeImage string // "" chooses one
	Workers   int
	Keep      bool
	// Reference says that something that was chosen is tested on the reference implementations, whose image is built then.
	Reference bool
}

// Lab is a cluster to judge.
type Lab struct {
	Cluster    *cluster.Cluster
	Facts      cluster.Facts
	AgentImage string
	Key        string // the run's, see package runkey: every agent has it, in the cluster and beside it
	// User is whom this run acts for, as a cluster of the user's knows it; "" where it does not say, or was made here.
	User string
	// Columns are those of the options that can be judged on the cluster.
	Columns axis.Group

	options   Options
	reference *reference // nil where nothing needs it
	undo      undo.List
}

// closeBound bounds the removal of what Open made before it failed.
const closeBound = 65 * time.Second

// Open joins or makes the cluster. What is made before an error is removed again, what is being built is ended.
func Open(ctx context.Context, o Options) (*Lab, error) {
	l := &Lab{options: o, Columns: o.Columns, Key: runkey.New()}
	if err := l.open(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause // what broke because of it says less
		}
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeBound)
		defer cancel()
		l.Close(closing)
		return nil, err
	}
	return l, nil
}

func (l *Lab) open(ctx context.Context) error {
	if l.options.Engine != nil {
		l.undo.Add("removing the engine's private configuration", func(context.Context) error { return l.options.Engine.Close() })
	}
	l.startReference(ctx)
	open := l.create
	if l.options.Existing {
		open = l.join
	}
	if err := open(ctx); err != nil {
		return err
	}
	var err error
	if l.Facts, err = l.Cluster.Facts(ctx); err != nil {
		return fmt.Errorf("asking the cluster what it is: %w", err)
	}
	return nil
}

// Engine is the name of the container engine that made the cluster; "" for a cluster of the user's.
func (l *Lab) Engine() string {
	if l.options.Engine == nil {
		return ""
	}
	return l.options.Engine.Name
}

// Close removes what was made; a cluster that is to be kept stays. What can't be removed is said.
func (l *Lab) Close(ctx context.Context) {
	l.undo.All(ctx, func(what string, err error) { l.options.Log.Say("%s failed: %s", what, err) })
}

// join takes a cluster of the user's.
func (l *Lab) join(ctx context.Context) error {
	o := l.options
	var err error
	if l.Cluster, err = cluster.Existing(ctx, o.Kubeconfig, o.Context); err != nil {
		return err
	}
	need := needed
	if slices.ContainsFunc(o.Columns, func(c axis.Column) bool { return c.Spec().Handler != "" }) {
		need = append(slices.Clone(needed), neededOfHandlers)
	}
	l.User = whoAmI(ctx, l.Cluster.Client())
	if err := rights(ctx, l.Cluster.Client(), need); err != nil {
		return err
	}
	if l.AgentImage = o.AgentImage; l.AgentImage == "" {
		return errors.New("a cluster of yours needs the agent's image: bring it there with `parley image push REF` and name it with -agent-image REF")
	}
	return nil
}
