package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/internal/lab"
	"github.com/parley-k8s/parley/framework/internal/progress"
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
	made, err := makeCluster(ctx, dir)
	if err != nil {
		return "", err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer cancel()
		made.Close(ctx)
	}()
	c := made.Cluster
	node := c.Name() + "-worker2"
	if err := putRule(ctx, c, node); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "./tests", "-count=1", "-timeout", "15m", "-args", "-kubeconfig", c.Kubeconfig(),
		"-agent-image", made.AgentImage, "-faults", "-select", failing, "-report", filepath.Join(dir, "reports"))
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
	return fmt.Sprintf("$ %s exec %s \\\n    %s\n%s\n%s", made.Engine(), node, shownRule, shownRun, told), nil
}

// makeCluster makes a cluster of two workers, as a run without flags does.
func makeCluster(ctx context.Context, dir string) (*lab.Lab, error) {
	id, err := runid.New()
	if err != nil {
		return nil, err
	}
	columns, err := axis.Choose(axis.All(), nil).Columns("")
	if err != nil {
		return nil, err
	}
	log := progress.New(false)
	e, _, err := engine.Find(ctx, engine.Options{Log: func(line string) { log.Say("%s", line) }})
	if err != nil {
		return nil, err
	}
	log.Say("engine: %s %s", e.Name, e.Version)
	return lab.Open(ctx, lab.Options{Run: id, Columns: axis.Group(columns), Log: log, Report: dir, Engine: e, Workers: 2})
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
