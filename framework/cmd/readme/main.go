// Command readme takes the README's examples from real runs, so that they can't grow old: what `make conformance` shows, and a
// failure on a cluster with a firewall rule that is put on a node by hand. It writes them between the README's markers.
//
// What is cut is said beside the examples: of the verdicts the first three and the last are shown, of the summary the chapters and
// the closing line; kind's steps and the building of what is cached are left out; long lines are folded; and this machine's own folders and resolver are
// not shown.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// The parts of the README that are written here.
const (
	partRun     = "run"
	partFailure = "failure"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	only := flag.String("only", "", "write one part alone: run or failure; empty writes both")
	file := flag.String("file", "README.md", "the document to write to, in the module's root, which is where this runs")
	from := flag.String("from", "", "a file with the output of a run that was made before, in place of making one (for -only run)")
	flag.Parse()
	if err := write(ctx, *file, *only, *from); err != nil {
		fmt.Fprintln(os.Stderr, "readme: "+err.Error())
		os.Exit(1)
	}
}

// write makes the parts and puts them into the file.
func write(ctx context.Context, file, only, from string) error {
	if only != "" && only != partRun && only != partFailure {
		return fmt.Errorf("-only %s: the parts are %s and %s", only, partRun, partFailure)
	}
	for _, part := range []string{partRun, partFailure} {
		if only != "" && only != part {
			continue
		}
		text, err := textOf(ctx, part, from)
		if err != nil {
			return fmt.Errorf("the part %q: %w", part, err)
		}
		folders, err := ownFolders()
		if err != nil {
			return err
		}
		old, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		document, err := replaceBetween(string(old), part, console(fold(hideLookups(hidePaths(text, folders)))))
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := os.WriteFile(file, []byte(document), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// textOf is the text of a part.
func textOf(ctx context.Context, part, from string) (string, error) {
	if part == partFailure {
		return failure(ctx)
	}
	output, err := outputOfRun(ctx, from)
	if err != nil {
		return "", err
	}
	short, err := shortenRun(output)
	return "$ make conformance\n" + short, err
}

// outputOfRun is what `make conformance` shows, or what the file has of an earlier one.
func outputOfRun(ctx context.Context, from string) (string, error) {
	if from != "" {
		content, err := os.ReadFile(from)
		return string(content), err
	}
	output, err := shown(exec.CommandContext(ctx, "make", "conformance"))
	if err != nil {
		return "", fmt.Errorf("`make conformance` has to pass before its output is shown: %w", err)
	}
	return output, nil
}

// shown runs the command and returns what it writes to standard error, where a run shows its progress; it is seen meanwhile.
func shown(cmd *exec.Cmd) (string, error) {
	var output bytes.Buffer
	cmd.Stderr = io.MultiWriter(os.Stderr, &output)
	// The run removes what it made before it ends.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	err := cmd.Run()
	return output.String(), err
}

// ownFolders are the folders of this machine that may stand in a run's output, and what is shown in their place.
func ownFolders() (map[string]string, error) {
	here, err1 := os.Getwd()
	home, err2 := os.UserHomeDir()
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("finding the folders that are not to be shown: %w", err)
	}
	return map[string]string{here + "/": "", here: ".", strings.TrimSuffix(home, "/"): "~", filepath.Clean(os.TempDir()): "$TMPDIR"}, nil
}
