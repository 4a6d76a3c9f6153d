package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/image"
	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
	"github.com/parley-k8s/parley/framework/internal/runid"
)

// failing is the requirement whose failure the README shows.
const failing = "pod/tcp-cross-node"

// byHand is the rule that makes it fail, in nft's own language: TCP to the ports that the checks use is dropped on its way
// into the node's pods.
const byHand = `table inet byhand {
	chain forward {
		type filter hook forward priority -10;
		tcp dport 20000-28000 drop
	}
}
`

// shownRule is the same as a person would type it, after the table and the chain.
const shownRule = "nft add rule inet byhand forward tcp dport 20000-28000 drop"

// shownRun is the run as a person would start it. -faults lets the diagnosis count packets by rules of its own.
const shownRun = "$ go test ./tests -args -kubeconfig KUBECONFIG -agent-image IMAGE -faults -select " + failing

// removeTimeout bounds the removal of the cluster, which goes on when this program is interrupted.
const removeTimeout = 2 * time.Minute

// failure makes a cluster, puts the rule on one node, has the suite judge the requirement and returns the block of its failure.
func failure(ctx context.Context) (text string, err error) {
	dir, err := os.MkdirTemp("", "parley-readme-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	say := func(line string) { fmt.Fprintln(os.Stderr, line) }
	e, _, err := engine.Find(ctx, engine.Options{Log: say})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	c, agent, err := makeCluster(ctx, e, dir, say)
	if err != nil {
		return "", err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer cancel()
		err = errors.Join(err, c.Delete(ctx))
	}()
	node := c.Name() + "-worker2"
	if err := putRule(ctx, c, node); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "./tests", "-count=1", "-timeout", "15m", "-args", "-kubeconfig", c.Kubeconfig(),
		"-agent-image", agent, "-faults", "-select", failing, "-report", filepath.Join(dir, "reports"))
	progress := filepath.Join(dir, "progress.txt")
	if err := os.WriteFile(progress, nil, 0o600); err != nil {
		return "", err
	}
	cmd.Env = append(os.Environ(), "PARLEY_PROGRESS="+progress)
	_, runErr := shown(cmd) // that it fails is what is wanted
	output, err := os.ReadFile(progress)
	if err != nil {
		return "", err
	}
	told, err := block(string(output), failing)
	if err != nil {
		return "", errors.Join(err, runErr)
	}
	return fmt.Sprintf("$ %s exec %s \\\n    %s\n%s\n%s", e.Name, node, shownRule, shownRun, told), nil
}

// makeCluster makes a cluster of two workers and brings the agent's image there, whose name it returns.
func makeCluster(ctx context.Context, e *engine.Engine, dir string, say func(string)) (*cluster.Cluster, string, error) {
	id, err := runid.New()
	if err != nil {
		return nil, "", err
	}
	choice, err := nodeimage.Choose(ctx, e, "", nodeimage.Versions{}, func(s nodeimage.Step) { say(fmt.Sprintf("node image: %+v", s)) })
	if err != nil {
		return nil, "", err
	}
	agent, err := image.Build(ctx, runtime.GOARCH)
	if err != nil {
		return nil, "", fmt.Errorf("building the agent: %w", err)
	}
	archive := filepath.Join(dir, "agent.tar")
	if err := agent.Save(archive); err != nil {
		return nil, "", err
	}
	c, err := cluster.Create(ctx, cluster.Spec{
		Run: id, Engine: e, Workers: 2, LogDir: dir, Log: say, AgentRef: agent.Ref(), AgentTar: archive,
		Image: cluster.Image{Ref: choice.Ref, From: choice.From, Kubernetes: choice.Kubernetes, Why: choice.Why, Offline: choice.Offline},
	})
	if err != nil {
		return nil, "", err
	}
	if err := c.LoadImage(ctx, agent.Ref(), archive); err != nil {
		return nil, "", errors.Join(err, c.Delete(context.WithoutCancel(ctx)))
	}
	return c, agent.Ref(), nil
}

// putRule puts the rule on the node.
func putRule(ctx context.Context, c *cluster.Cluster, node string) error {
	cmd, err := c.NodeCommand(ctx, node, "nft", "-f", "-")
	if err != nil {
		return err
	}
	var errOut bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(byHand), &errOut
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("putting the rule on %s: %w: %s", node, err, strings.TrimSpace(errOut.String()))
	}
	return nil
}
