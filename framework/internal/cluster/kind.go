package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	kind "sigs.k8s.io/kind/pkg/cluster"
	kindexec "sigs.k8s.io/kind/pkg/exec"

	"github.com/parley-k8s/parley/framework/internal/engine"
)

// kindTimeout bounds kind's part: it took 30 seconds on two slow cores with the node image there.
const kindTimeout = 10 * time.Minute

// podNetworkTimeout bounds the configuration of the pod network once all nodes have joined: it takes a second.
const podNetworkTimeout = time.Minute

// setEnvironment makes kind's library, which runs the engine's command itself, use the run's network, the
// engine's private configuration, and the command that Ctrl-C does not reach.
func setEnvironment(e *engine.Engine, networkName string) error {
	vars := append(e.Environ(), "KIND_EXPERIMENTAL_"+strings.ToUpper(e.Name)+"_NETWORK="+networkName)
	if e.Name == "nerdctl" { // its provider reads docker's
		vars = append(vars, "KIND_EXPERIMENTAL_DOCKER_NETWORK="+networkName)
	}
	shim, err := e.Shim()
	if err != nil {
		return err
	}
	if path := os.Getenv("PATH"); shim != "" && !strings.HasPrefix(path, shim) {
		vars = append(vars, "PATH="+shim+string(os.PathListSeparator)+path)
	}
	for _, v := range vars {
		key, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(key, value); err != nil {
			return fmt.Errorf("setting %s for kind: %w", key, err)
		}
	}
	return nil
}

func provider(e *engine.Engine, log *kindLogger) *kind.Provider {
	which := kind.ProviderWithDocker()
	switch e.Name {
	case "podman":
		which = kind.ProviderWithPodman()
	case "nerdctl":
		which = kind.ProviderWithNerdctl("")
	}
	return kind.NewProvider(which, kind.ProviderWithLogger(log))
}

// runKind makes the cluster with kind, and configures the pod network meanwhile where the image brings none, so that
// nodes become ready while others still join.
func (c *Cluster) runKind(ctx context.Context, phase *phases) error {
	limits := engine.Limits()
	cfg, err := kindConfig(plan{
		Name: c.name, Image: c.spec.Image, Workers: c.spec.Workers,
		Options:     c.spec.Options,
		CgroupV1:    c.spec.Engine.CgroupVersion == 1,
		SysResource: c.spec.Engine.Remote || limits.SysResource,
		NodeFiles:   c.nodeFiles(),
		Containerd:  c.spec.Containerd, Kubelet: c.spec.Kubelet,
	})
	if err != nil {
		return err
	}
	if err := setEnvironment(c.spec.Engine, c.net.Name); err != nil {
		return err
	}
	log := &kindLogger{phases: phase}
	c.kind = provider(c.spec.Engine, log)
	ctx, cancel := context.WithTimeoutCause(ctx, kindTimeout, fmt.Errorf("kind was not done within %s", kindTimeout))
	defer cancel()
	group, grouped := errgroup.WithContext(ctx)
	boot := &bootstrap{cluster: c, up: make(chan struct{})}
	log.began = func(name string) { boot.onPhase(grouped, name) }
	networkCtx, cancelNetwork := context.WithCancelCause(grouped)
	defer cancelNetwork(nil)
	group.Go(func() error {
		err := c.createCancellable(grouped, kind.CreateWithV1Alpha4Config(cfg),
			kind.CreateWithRetain(true), // the details of a failure are read from the nodes before they go
			kind.CreateWithKubeconfigPath(c.kubeconfig))
		if err != nil {
			return err
		}
		boot.markUp()
		stop := time.AfterFunc(podNetworkTimeout, func() { cancelNetwork(fmt.Errorf("not within %s of the last join", podNetworkTimeout)) })
		context.AfterFunc(networkCtx, func() { stop.Stop() })
		return c.connect("")
	})
	if c.spec.Image.Offline {
		group.Go(func() error { return c.configurePodNetwork(networkCtx, boot) })
	}
	if err := group.Wait(); err != nil {
		if e := context.Cause(ctx); e != nil {
			return fmt.Errorf("making the cluster: stopped in phase %q: %w", phase.last(), e)
		}
		return c.explain(ctx, phase.last(), log, err)
	}
	return nil
}

// createCancellable runs kind's Create, which knows no context: when ctx ends, the containers are removed from
// under it again and again until it gives up.
func (c *Cluster) createCancellable(ctx context.Context, opts ...kind.CreateOption) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("kind panicked: %v", p)
			}
		}()
		done <- c.kind.Create(c.name, opts...)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	for {
		// Failures don't matter here: containers come and go meanwhile, and Delete judges what is left.
		_ = removeNodes(undo, c.spec.Engine, c.spec.Run)
		select {
		case <-done:
			return context.Cause(ctx)
		case <-undo.Done():
			return errors.Join(context.Cause(ctx), fmt.Errorf("kind did not stop within %s", removeTimeout))
		case <-again.C:
		}
	}
}

// explain makes one sentence of kind's error, and writes the rest to a file.
func (c *Cluster) explain(ctx context.Context, phase string, log *kindLogger, err error) error {
	said := err.Error()
	details := log.text() + "\n" + said + "\n"
	if run := kindexec.RunErrorForError(err); run != nil {
		details += "\n$ " + run.PrettyCommand() + "\n" + string(run.Output)
		if line := errorLine(string(run.Output)); line != "" {
			said = line
		}
	}
	err = fmt.Errorf("making the cluster failed in phase %q: %s", phase, said)
	return c.keepDetails(ctx, err, details)
}

// keepDetails writes the text, and the end of what the nodes' services said, to a file that the error then names.
func (c *Cluster) keepDetails(ctx context.Context, err error, text string) error {
	if c.spec.LogDir == "" {
		return err
	}
	path := filepath.Join(c.spec.LogDir, "kind.log")
	if e := os.MkdirAll(c.spec.LogDir, 0o755); e != nil {
		return err
	}
	if e := os.WriteFile(path, []byte(text+c.journals(ctx)), 0o644); e != nil {
		return err
	}
	return fmt.Errorf("%w; details in %s", err, path)
}

// journals is the end of what each node's services said.
func (c *Cluster) journals(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	nodes, err := containersOf(ctx, c.spec.Engine, c.spec.Run)
	if err != nil {
		return ""
	}
	runtime, err := RuntimeOf(c.spec.Runtime)
	if err != nil {
		return ""
	}
	var b strings.Builder
	for _, node := range nodes {
		out, err := c.spec.Engine.Output(ctx, append([]string{"exec", node}, runtime.journal()...)...)
		if err != nil { // it does not run: what it said until it ended
			out, _ = c.spec.Engine.Output(ctx, "logs", "--tail", "100", node)
			out = err.Error() + "\n" + out
		}
		fmt.Fprintf(&b, "\n== %s\n%s", node, out)
	}
	return b.String()
}

// errorLine is the line of a command's output that says what went wrong: the last that begins with an
// error's mark, else the last.
func errorLine(output string) string {
	var last, failed string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		last = line
		if l := strings.ToLower(line); strings.HasPrefix(l, "error") || strings.HasPrefix(l, "[error") {
			failed = line
		}
	}
	if failed != "" {
		return failed
	}
	return last
}
