package suite

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

// progressVariable names a file to show progress in: make sets it to its own standard error, since
// go test holds back what a test prints.
const progressVariable = "PARLEY_PROGRESS"

// progress shows a person what is happening, one plain line for each thing.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	color bool
	// column is for the run of a column, whose lines the matrix puts the time and the column's name before.
	column bool
	start  time.Time
	n, of  int
	// about is the column that the lines are about, where several share the cluster.
	about string
}

// newProgress writes to the file that the variable names, else to the terminal, else to standard error.
func newProgress() *progress {
	p := &progress{out: os.Stderr, start: time.Now(), column: isColumn()}
	if p.column {
		return p
	}
	for _, name := range []string{os.Getenv(progressVariable), "/dev/tty"} {
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

func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := fmt.Sprintf(format, args...)
	if p.about != "" {
		line = p.about + "  " + line
	}
	if p.column {
		fmt.Fprintln(p.out, line)
		return
	}
	fmt.Fprintf(p.out, "%6.1fs  %s\n", time.Since(p.start).Seconds(), line)
}

// tell has the lines from now on begin with a column's name; "" is none.
func (p *progress) tell(about string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.about = about
}

// show shows text as it is.
func (p *progress) show(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprint(p.out, text)
}

// expect begins a count of n things.
func (p *progress) expect(what string, n int) {
	p.mu.Lock()
	p.n, p.of = 0, n
	p.mu.Unlock()
	p.say("%s: %d requirements", what, n)
}

// verdict shows one of the things counted.
func (p *progress) verdict(id, word, sentence string, took time.Duration) {
	p.mu.Lock()
	p.n++
	n, of := p.n, p.of
	p.mu.Unlock()
	if sentence != "" {
		sentence = ": " + sentence
	}
	p.say("%3d of %-3d %-11s %s (%s)%s", n, of, word, id, took.Round(time.Millisecond), sentence)
}

// summary shows the whole at the end; of a column one line, since the matrix shows them side by side.
func (p *progress) summary(r *reports.Report, dir string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.column {
		fmt.Fprintln(p.out, reports.ClosingLine(r))
		return
	}
	if err := reports.WriteSummary(p.out, r, p.color); err != nil {
		fmt.Fprintln(os.Stderr, "showing the summary: "+err.Error())
	}
	fmt.Fprintf(p.out, "reports: %s\n", filepath.Join(dir, reports.JUnitFile))
}

// comparison shows the whole of a matrix.
func (p *progress) comparison(r *reports.Report, dir string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := reports.WriteComparison(p.out, reports.Compare(r), p.color); err != nil {
		fmt.Fprintln(os.Stderr, "showing the comparison: "+err.Error())
	}
	fmt.Fprintf(p.out, "reports: %s, and a folder beside it for each cluster\n", filepath.Join(dir, reports.MatrixMarkdownFile))
}
