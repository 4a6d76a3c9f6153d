// Package progress shows a person what a run is doing, one plain line for each thing, and the whole at its end.
package progress

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/parley-k8s/parley/reports"
)

// Variable is the environment variable that names a file to show progress in: make sets it to its own standard error, since
// go test holds back what a test prints.
const Variable = "PARLEY_PROGRESS"

// Log shows what a run is doing. It may be used by several goroutines.
type Log struct {
	mu    sync.Mutex
	out   io.Writer
	color bool
	// child is set for a process of a matrix, which puts the time and the cluster's name before each line.
	child  bool
	start  time.Time
	n, of  int
	prefix string
}

// New writes to the file that Variable names, else to the terminal, else to standard error. child says that this process is
// one of a matrix, whose parent shows the lines.
func New(child bool) *Log {
	p := &Log{out: os.Stderr, start: time.Now(), child: child}
	if child {
		return p
	}
	for _, name := range []string{os.Getenv(Variable), "/dev/tty"} {
		if name == "" || (name == "/dev/tty" && term.IsTerminal(int(os.Stderr.Fd()))) {
			continue
		}
		if f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0); err == nil {
			p.out = f
			break
		}
	}
	if f, ok := p.out.(*os.File); ok {
		p.color = term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
	}
	return p
}

// Say shows a line, formatted as by fmt.Sprintf.
func (p *Log) Say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := fmt.Sprintf(format, args...)
	if p.prefix != "" {
		line = p.prefix + "  " + line
	}
	if p.child {
		fmt.Fprintln(p.out, line)
		return
	}
	fmt.Fprintf(p.out, "%6.1fs  %s\n", time.Since(p.start).Seconds(), line)
}

// Prefix has the lines from now on begin with a column's name; "" is none.
func (p *Log) Prefix(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.prefix = name
}

// Show shows text as it is.
func (p *Log) Show(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprint(p.out, text)
}

// Count begins a count of n things.
func (p *Log) Count(what string, n int) {
	p.mu.Lock()
	p.n, p.of = 0, n
	p.mu.Unlock()
	p.Say("%s: %d requirements", what, n)
}

// Verdict shows one of the things counted: what became of the requirement of that ID, in a word and in a sentence, which may be
// empty.
func (p *Log) Verdict(id, outcome, sentence string, took time.Duration) {
	p.mu.Lock()
	p.n++
	n, of := p.n, p.of
	p.mu.Unlock()
	if sentence != "" {
		sentence = ": " + sentence
	}
	p.Say("%3d of %-3d %-11s %s (%s)%s", n, of, outcome, id, took.Round(time.Millisecond), sentence)
}

// Summary shows the whole at the end; of a child one line, since the matrix shows them side by side.
func (p *Log) Summary(r *reports.Report, dir string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child {
		fmt.Fprintln(p.out, reports.ClosingLine(r))
		return
	}
	if err := reports.WriteSummary(p.out, r, p.color); err != nil {
		fmt.Fprintln(os.Stderr, "showing the summary: "+err.Error())
	}
	fmt.Fprintf(p.out, "reports: %s\n", filepath.Join(dir, reports.JUnitFile))
}

// Comparison shows the whole of several clusters at the end.
func (p *Log) Comparison(r *reports.Report, dir string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := reports.WriteComparison(p.out, reports.Compare(r), p.color); err != nil {
		fmt.Fprintln(os.Stderr, "showing the comparison: "+err.Error())
	}
	fmt.Fprintf(p.out, "reports: %s, and a folder beside it for each cluster\n", filepath.Join(dir, reports.MatrixMarkdownFile))
}
