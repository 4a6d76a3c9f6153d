// Package gotest is what a run has to do with go test, of which it is a test: its flags, its cache, and the folder that a module's reports
// go to.
package gotest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/parley-k8s/parley/reports"
)

// Timeout is go test's -timeout; 0 is none.
func Timeout() time.Duration {
	f := flag.Lookup("test.timeout")
	if f == nil {
		return 0
	}
	d, err := time.ParseDuration(f.Value.String())
	if err != nil {
		return 0
	}
	return d
}

// Count is how often everything is judged on each cluster: go test's -count.
func Count() int {
	f := flag.Lookup("test.count")
	if f == nil {
		return 1
	}
	n, err := strconv.Atoi(f.Value.String())
	if err != nil {
		return 1
	}
	return max(1, n)
}

// NeverCached keeps go test from answering for this run out of its cache: it caches a package that passed and
// whose inputs have not changed, and this one's input is a cluster. It never does so when a file of the module that
// the test opened is newer than two seconds, so one from tomorrow is opened.
func NeverCached() error {
	dir, err := ReportDir()
	if err != nil {
		return err
	}
	name, tomorrow := filepath.Join(dir, ".newer-than-any-cache"), time.Now().Add(24*time.Hour)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(name, nil, 0o644), os.Chtimes(name, tomorrow, tomorrow)); err != nil {
		return fmt.Errorf("the folder of the reports can't be written, and without it go test might cache the run: %w", err)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return f.Close()
}

// ReportDir is reports/out in the root of the module that is tested.
func ReportDir() (string, error) {
	out, err := exec.CommandContext(context.Background(), "go", "env", "GOMOD").Output()
	mod := strings.TrimSpace(string(out))
	if err != nil || mod == "" || mod == os.DevNull {
		here, err := os.Getwd()
		if err != nil {
			return "", fmt.Errorf("finding a folder for the reports: %w", err)
		}
		return filepath.Join(here, "reports", "out"), nil
	}
	return filepath.Join(filepath.Dir(mod), "reports", "out"), nil
}

// clientLog is the file in the report's folder that client-go and e2e-framework log to.
const clientLog = "client.log"

// DivertLogs keeps what the client libraries log out of the verdicts: it goes to a file beside them.
func DivertLogs(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return reports.Unwritable(dir, err)
	}
	file, err := os.Create(filepath.Join(dir, clientLog))
	if err != nil {
		return reports.Unwritable(dir, err)
	}
	klog.LogToStderr(false)
	klog.SetOutput(file)
	options := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(options)
	return options.Set("stderrthreshold", "FATAL") // errors would go to both
}
