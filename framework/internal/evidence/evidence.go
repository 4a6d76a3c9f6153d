package evidence

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/diagnose"
	"github.com/parley-k8s/parley/framework/requirement"
)

// bound is how long the evidence of one failure may take.
const bound = 30 * time.Second

// Folder is where the evidence of all requirements lies, in the report's own folder.
const Folder = "evidence"

// Subject is a failure, and where its evidence goes.
type Subject struct {
	Env     *requirement.Env
	Failure *requirement.Failure
	Block   string   // the failure in words
	Steps   []string // of the diagnosis
	Since   time.Time
	Report  string // the report's folder
}

// Path is where the evidence goes, relative to the report's folder.
func (s Subject) Path() string {
	p := filepath.Join(Folder, filepath.FromSlash(s.Env.Requirement.ID))
	if s.Env.Requirement.PerFamily {
		p = filepath.Join(p, strings.ToLower(string(s.Env.Family)))
	}
	return p
}

// ends are those that the failure names.
func (s Subject) ends() []*requirement.End {
	var all []*requirement.End
	for _, end := range append([]*requirement.End{s.Failure.From, s.Failure.To}, s.Failure.Behind...) {
		if end != nil && end.Pod != "" && !slices.ContainsFunc(all, func(e *requirement.End) bool { return e.Pod == end.Pod && e.Container == end.Container }) {
			all = append(all, end)
		}
	}
	return all
}

// nodes are those of the ends; all that have an agent where the failure names no end.
func (s Subject) nodes() []string {
	var names []string
	for _, end := range s.ends() {
		names = append(names, end.Node)
	}
	if len(names) == 0 {
		for _, agent := range s.Env.Players.Ends(world.Node) {
			names = append(names, agent.Node)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// addresses are those that the nodes' tables are searched for.
func (s Subject) addresses() []string {
	var all []string
	for _, end := range s.ends() {
		if end.HostNetwork {
			continue // everything of a node mentions its own address
		}
		for _, ip := range end.IPs {
			all = append(all, ip.String())
		}
	}
	if ip, ok := diagnose.Address(s.Failure.Target); ok {
		all = append(all, ip.String())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Collect writes the folder. The error says what could not be gathered or written; the rest is there.
func Collect(ctx context.Context, s Subject) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	dir := filepath.Join(s.Report, s.Path())
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return fmt.Errorf("the evidence can't be written to %s: %w", dir, err)
	}
	c := &collector{Subject: s, dir: dir}
	text := s.Block + "\n"
	if len(s.Steps) > 0 {
		text += "\nwhat the diagnosis saw, step by step:\n  " + strings.Join(s.Steps, "\n  ") + "\n"
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	group.Go(func() error { return c.write("failure.txt", text) })
	group.Go(func() error { return c.objects(ctx) })
	group.Go(func() error { return c.events(ctx) })
	group.Go(func() error { return c.logs(ctx) })
	for _, node := range s.nodes() {
		group.Go(func() error { return c.node(ctx, node) })
	}
	return group.Wait()
}

type collector struct {
	Subject
	dir string
}

func (c *collector) write(name, text string) error {
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
