package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
)

func newNodeImage() *cobra.Command {
	return group("node-image", "The image that a cluster's nodes are made of", newNodeImageBuild(), newNodeImagePlan())
}

// imageReference is the image that the user names: the argument, else what -node-image of a run is given by its variable.
func imageReference(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return variable("node-image")
}

// versionFlags are the flags for the versions that a node image is built with.
func versionFlags(cmd *cobra.Command) *nodeimage.Versions {
	var v nodeimage.Versions
	cmd.Flags().StringVar(&v.Kubernetes, "kubernetes", variable("kubernetes"), "the version of Kubernetes: "+strings.Join(nodeimage.KubernetesVersions(), ", "))
	cmd.Flags().StringVar(&v.Containerd, "containerd", variable("containerd"), "the version of containerd: "+strings.Join(nodeimage.ContainerdVersions(), ", "))
	return &v
}

func newNodeImageBuild() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "build [REFERENCE]",
		Short: "Have the node image of a run ready, before the run",
		Long: "Have the node image ready that a run would use. Where kind's own is there or a registry gives it, nothing has to\n" +
			"be built; else, and where a version is asked for, it is built offline, in 10 to 15 minutes on two cores, and kept. The\n" +
			"reference is the last line of standard output, the progress goes to standard error.",
		Args: between(0, 1, "at most one reference"),
	}
	options := runtimeFlags(cmd)
	offline := cmd.Flags().Bool("offline", false, "build the offline image even where a registry gives kind's")
	install := cmd.Flags().Bool("install", mayInstall(), "install podman from Debian's packages where no engine is there and it may")
	versions := versionFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *offline && len(args) > 0 {
			return fmt.Errorf("--offline builds an image of its own and takes no reference")
		}
		ctx, errOut := cmd.Context(), cmd.ErrOrStderr()
		say := func(text string) { fmt.Fprintln(errOut, text) }
		e, _, err := engine.Find(ctx, engine.Options{Install: *install, Log: say})
		if err != nil {
			return err
		}
		defer func() { _ = e.Close() }() // only its temporary configuration
		if err := nodeimage.Reap(ctx); err != nil {
			say("what a dead build left could not all be removed: " + sentence(err))
		}
		request := nodeImageRequest{reference: imageReference(args), versions: *versions, offline: *offline, options: options}
		ref, err := request.prepare(ctx, e, &progress{out: errOut})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), ref)
		return err
	}
	return cmd
}

// runtimeOptions are the values of the flags for the runtime of a node image.
type runtimeOptions struct{ runtime, bundles *string }

// runtimeFlags declares the flags for the runtime that a node image is made with.
func runtimeFlags(cmd *cobra.Command) runtimeOptions {
	return runtimeOptions{
		cmd.Flags().String("runtime", variable("runtime"), "the nodes' container runtime: "+strings.Join(axis.Runtime().Words(), ", ")+"; empty is "+cluster.DefaultRuntime),
		cmd.Flags().String(nodeimage.BundlesFlag, variable(nodeimage.BundlesFlag), "the folder with the release archives of runtimes other than containerd, or one archive"),
	}
}

// resolve returns the runtime that is asked for. It is an error where it does not go with the versions.
func (l runtimeOptions) resolve(v nodeimage.Versions) (cluster.Runtime, error) {
	runtime, err := cluster.RuntimeOf(*l.runtime)
	if err != nil {
		return cluster.Runtime{}, err
	}
	asked := axis.Choose(axis.All(), map[string]string{"kubernetes": v.Kubernetes, "containerd": v.Containerd, "runtime": *l.runtime})
	if why := conflict(asked.Columns("")); why != "" {
		return cluster.Runtime{}, errors.New(why)
	}
	return runtime, nil
}

// nodeImageRequest is the node image that is asked for.
type nodeImageRequest struct {
	reference string // an image that the user names; "" chooses one
	versions  nodeimage.Versions
	offline   bool // build it even where a registry gives kind's
	options   runtimeOptions
}

// prepare has the image in the engine's store, and returns its reference.
func (r nodeImageRequest) prepare(ctx context.Context, e *engine.Engine, p *progress) (ref string, err error) {
	runtime, err := r.options.resolve(r.versions)
	if err != nil {
		return "", err
	}
	var choice nodeimage.Choice
	if r.offline {
		choice = nodeimage.Choice{Offline: true, From: nodeimage.FromBuild, Why: "asked for by --offline"}
		choice.Ref, _, err = nodeimage.Build(ctx, e, r.versions, p.step)
	} else {
		choice, err = nodeimage.Choose(ctx, e, r.reference, r.versions, p.step)
	}
	if err == nil {
		choice, err = nodeimage.OnRuntime(ctx, e, choice, runtime, *r.options.bundles, p.step)
	}
	if err != nil || r.offline && runtime.Layer == nil {
		return choice.Ref, err
	}
	fmt.Fprintf(p.out, "node image: %s, %s; %s\n", choice.Ref, choice.From, choice.Why)
	return choice.Ref, nil
}

// progress writes how a build goes, in plain lines.
type progress struct {
	out  io.Writer
	what string    // is built; "" is the node image
	last time.Time // when something was shown
}

// progressInterval is the time between two lines of one component.
const progressInterval = 15 * time.Second

func (p *progress) step(s nodeimage.Step) {
	count := ""
	if s.Of > 0 {
		count = fmt.Sprintf("%d of %d, ", s.N, s.Of)
	}
	took := s.Took.Round(time.Second)
	var text string
	switch {
	case s.Done && s.Cached:
		text = s.Component + ": cached"
	case s.Done:
		text = fmt.Sprintf("%s: done (%s)", s.Component, took)
	case took == 0:
		text = s.Component + " ..."
	case time.Since(p.last) < progressInterval:
		return
	case s.Detail == "":
		text = fmt.Sprintf("%s ... (%s)", s.Component, took)
	default:
		text = fmt.Sprintf("%s ... %s (%s)", s.Component, s.Detail, took)
	}
	p.last = time.Now()
	fmt.Fprintf(p.out, "%s: %s%s\n", cmp.Or(p.what, "node image"), count, text)
}

func newNodeImagePlan() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan [REFERENCE]",
		Short: "Say which node image a run would use, and why; nothing is built",
		Args:  between(0, 1, "at most one reference"),
	}
	form, options := outputFlag(cmd, "text", "json"), runtimeFlags(cmd)
	versions := versionFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		form, err := form()
		if err != nil {
			return err
		}
		runtime, err := options.resolve(*versions)
		if err != nil {
			return err
		}
		e, _, err := engine.Find(cmd.Context(), engine.Options{})
		if err != nil {
			return err
		}
		defer func() { _ = e.Close() }() // only its temporary configuration
		choice, err := nodeimage.Plan(cmd.Context(), e, imageReference(args), *versions)
		if err == nil {
			choice, err = nodeimage.PlanRuntime(cmd.Context(), e, choice, runtime, *options.bundles)
		}
		if err != nil {
			return err
		}
		if form == "json" {
			return writeJSON(cmd.OutOrStdout(), choice)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), choiceText(choice))
		return err
	}
	return cmd
}

// choiceText describes a node image in one line.
func choiceText(c nodeimage.Choice) string {
	text := c.Ref + ", " + c.From
	if c.From == nodeimage.FromBuild {
		text = c.Ref + ", to be built offline (10 to 15 minutes on two cores)"
	}
	if c.Kubernetes != "" {
		text += ", Kubernetes " + c.Kubernetes
	}
	if c.Containerd != "" {
		text += ", containerd " + c.Containerd
	}
	return text + "; " + c.Why
}
