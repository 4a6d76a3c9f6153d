package cluster

import (
	"fmt"
	"strings"
	"sync"
	"time"

	kindlog "sigs.k8s.io/kind/pkg/log"
)

// phases reports the phases of a creation one after the other.
type phases struct {
	report func(name string, took time.Duration, done bool)

	mu      sync.Mutex
	current string
	since   time.Time
}

// begin ends the phase before, if any, and begins one.
func (p *phases) begin(name string) {
	p.end()
	p.mu.Lock()
	p.current, p.since = name, time.Now()
	p.mu.Unlock()
	if p.report != nil {
		p.report(name, 0, false)
	}
}

func (p *phases) end() {
	p.mu.Lock()
	name, took := p.current, time.Since(p.since)
	p.current = ""
	p.mu.Unlock()
	if p.report != nil && name != "" {
		p.report(name, took, true)
	}
}

// last is the phase that is on, or was on last.
func (p *phases) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}

// kindLogger is kind's logger: its status lines become phases, and all of its lines are kept for the details
// of a failure.
type kindLogger struct {
	phases *phases
	// began is told each phase; kind goes on when it returns.
	began func(name string)

	mu    sync.Mutex
	lines []string
}

var _ kindlog.Logger = &kindLogger{}

func (l *kindLogger) keep(level, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, time.Now().Format("15:04:05.000 ")+level+strings.TrimRight(text, "\n"))
}

// text is what kind said so far.
func (l *kindLogger) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n") + "\n"
}

// The methods of kind's Logger.

func (l *kindLogger) Warn(text string)             { l.keep("warning: ", text) }
func (l *kindLogger) Warnf(form string, a ...any)  { l.keep("warning: ", fmt.Sprintf(form, a...)) }
func (l *kindLogger) Error(text string)            { l.keep("error: ", text) }
func (l *kindLogger) Errorf(form string, a ...any) { l.keep("error: ", fmt.Sprintf(form, a...)) }

func (l *kindLogger) V(level kindlog.Level) kindlog.InfoLogger { return kindInfo{l, level} }

// kindInfo is one verbosity of kindLogger.
type kindInfo struct {
	*kindLogger
	level kindlog.Level
}

// kindDetail is how much of kind's talk is kept: its commands' configuration, not its traces.
const kindDetail = 2

func (i kindInfo) Enabled() bool { return i.level <= kindDetail }

func (i kindInfo) Info(text string) {
	if !i.Enabled() {
		return
	}
	i.keep("", text)
	if name, ok := phaseOf(text); ok {
		i.phases.begin(name)
		if i.began != nil {
			i.began(name)
		}
	}
}

func (i kindInfo) Infof(form string, a ...any) { i.Info(fmt.Sprintf(form, a...)) }

// phaseOf reads a line with which kind begins a phase (" • Preparing nodes 📦 📦  ...").
func phaseOf(line string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(line), "•")
	if !ok {
		return "", false
	}
	name = strings.Map(func(r rune) rune {
		if r > 0x7f {
			return -1 // kind's pictures: logs stay plain
		}
		return r
	}, strings.TrimSuffix(rest, "..."))
	name = strings.Join(strings.Fields(name), " ")
	if name == "" {
		return "", false
	}
	return "kind: " + strings.ToLower(name[:1]) + name[1:], true
}
