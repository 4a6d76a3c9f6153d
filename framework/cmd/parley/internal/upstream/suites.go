package upstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/framework/cmd/parley/internal/upstream/ginkgo"
	"github.com/parley-k8s/parley/framework/until"
	"github.com/parley-k8s/parley/reports"
)

// junitFile is what ginkgo calls its report here.
const junitFile = "junit.xml"

// focus is the expression that chooses the specs; more narrows it to those whose names match that too.
func focus(more string) (string, error) {
	if _, err := regexp.Compile(more); err != nil {
		return "", fmt.Errorf("--focus %q is no regular expression: %w", more, err)
	}
	if more != "" {
		more = ".*(" + more + ")"
	}
	return `\[sig-network\]` + more + `.*\[Conformance\]`, nil
}

// runUpstream runs the specs on the cluster. What the specs say is no error; that they said nothing is in Side.Ended.
func (b *bench) runUpstream(ctx context.Context, dir string) (Side, error) {
	chosen, err := focus(b.options.Focus)
	if err != nil {
		return Side{}, err
	}
	limited, cancel := b.limit(ctx) // ginkgo keeps the limit itself, and writes its report then
	defer cancel()
	cmd := exec.CommandContext(limited, filepath.Join(b.programs, ginkgoCLI),
		"--procs="+strconv.Itoa(b.options.Procs), "--timeout="+b.options.Limit.String(), "--focus="+chosen, "--no-color", "--succinct",
		"--junit-report="+junitFile, "--output-dir="+dir, filepath.Join(b.programs, e2eTest), "--",
		"--kubeconfig="+b.cluster.Kubeconfig(), "--kubectl-path="+filepath.Join(b.programs, kubectl), "--provider=skeleton", "--disable-log-dump")
	// Each process of the specs makes a temporary folder for kubectl's settings as it starts, and leaves it there.
	cmd.Dir, cmd.Env = dir, append(withoutParleyVariables(os.Environ()), "TMPDIR="+b.scratch)
	log := filepath.Join(dir, "output.txt")
	took, code, err := execute(limited, cmd, log)
	if ctx.Err() != nil {
		return Side{}, context.Cause(ctx)
	}
	var side Side
	specs, readErr := readFile(filepath.Join(dir, junitFile))
	if readErr == nil {
		side = specsSide(specs)
	}
	side.Wall = Seconds(took.Seconds())
	switch {
	case err != nil:
		side.Ended = err.Error()
	case readErr != nil:
		side.Ended = fmt.Sprintf("%s; its exit code was %d: %s", readErr, code, lastLine(log))
	case code != 0 && took >= b.options.Limit:
		side.Ended = fmt.Sprintf("not done within %s", b.options.Limit)
	case code != 0 && len(side.Reds)+len(side.Unjudged) == 0:
		side.Ended = fmt.Sprintf("its exit code was %d without a red spec; its output is in %s", code, log)
	}
	if err := b.awaitNamespacesGone(ctx); err != nil {
		b.options.Say(err.Error())
	}
	return side, context.Cause(ctx)
}

// limit bounds a suite that does not end at its own limit.
func (b *bench) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	within := b.options.Limit + endGrace
	return context.WithTimeoutCause(ctx, within, fmt.Errorf("not ended within %s", within))
}

func readFile(name string) ([]ginkgo.Spec, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading ginkgo's report: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	return ginkgo.Read(f)
}

// namespacesTimeout bounds the wait for the specs' namespaces to go: a Service's pods may take their whole grace period.
const namespacesTimeout = 3 * time.Minute

// awaitNamespacesGone waits until the namespaces of the specs are gone, so that neither suite meets what the other left.
func (b *bench) awaitNamespacesGone(ctx context.Context) error {
	_, err := until.Settled(ctx, until.Policy{Within: namespacesTimeout, Every: 500 * time.Millisecond}, func(ctx context.Context) error {
		list, err := b.cluster.Client().CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: "e2e-framework"})
		if err != nil {
			return err
		}
		if len(list.Items) > 0 {
			return fmt.Errorf("the namespace %s is still there", list.Items[0].Name)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("waiting for upstream's namespaces to go: %w", err)
	}
	return nil
}

// buildTimeout bounds the build of Parley's own test binary.
const buildTimeout = 10 * time.Minute

// buildParley builds Parley's run as a program, so that its wall time has no compiler in it, as upstream's has none.
func (b *bench) buildParley(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	where := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", testsPackage)
	out, err := where.Output()
	if err != nil {
		return fmt.Errorf("finding the package %s: run this within a module that has it: %w", testsPackage, err)
	}
	b.testsDir = strings.TrimSpace(string(out))
	b.testsBinary = filepath.Join(b.scratch, "parley.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", b.testsBinary, testsPackage)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building Parley's run: %w: %s", err, out)
	}
	return nil
}

const testsPackage = "github.com/parley-k8s/parley/tests"

// runParley runs Parley's chapters on the cluster. What they say is no error; that they said nothing is in Side.Ended.
func (b *bench) runParley(ctx context.Context, dir string) (Side, error) {
	limited, cancel := b.limit(ctx)
	defer cancel()
	cmd := exec.CommandContext(limited, b.testsBinary, "-test.timeout="+b.options.Limit.String(), "-kubeconfig="+b.cluster.Kubeconfig(),
		"-agent-image="+b.agent, "-faults=false", "-select="+b.options.Select, "-report="+dir)
	cmd.Dir, cmd.Env = b.testsDir, withoutParleyVariables(os.Environ())
	log := filepath.Join(dir, "output.txt")
	took, code, err := execute(limited, cmd, log)
	if ctx.Err() != nil {
		return Side{}, context.Cause(ctx)
	}
	side := Side{Wall: Seconds(took.Seconds())}
	file, openErr := os.Open(filepath.Join(dir, reports.JSONFile))
	if openErr != nil {
		side.Ended = errors.Join(err, fmt.Errorf("no report; its exit code was %d: %s", code, lastLine(log))).Error()
		return side, nil
	}
	defer func() { _ = file.Close() }() // only read
	report, readErr := reports.ReadReport(file)
	if readErr != nil {
		side.Ended = errors.Join(err, readErr).Error()
		return side, nil
	}
	side = reportSide(report)
	side.Wall = Seconds(took.Seconds())
	if err != nil && side.Ended == "" {
		side.Ended = err.Error()
	}
	return side, nil
}
