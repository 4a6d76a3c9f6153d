package matrix

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/shirou/gopsutil/v4/mem"

	"github.com/parley-k8s/parley/reports"
)

// nodeMemory is what a node of a cluster is given room for, in bytes. Three nodes with the world on them took 1.7 GiB.
const nodeMemory = 1 << 30

// Result is what the children found out.
type Result struct {
	Clusters []reports.Cluster // a part for each column, in their order
	Codes    []int             // how the children exited
}

// Judge makes and judges each of the clusters in a process of its own: each is judged alone, and made while others are judged where
// the host bears it.
func (p *Plan) Judge(ctx context.Context) (Result, error) {
	o := p.options
	dir, err := os.MkdirTemp("", o.Run.Name("matrix")+"-")
	if err != nil {
		return Result{}, fmt.Errorf("making a folder for the lock: %w", err)
	}
	defer os.RemoveAll(dir)
	var children []*child
	names, width := []string{}, 0
	for _, g := range p.Clusters {
		names, width = append(names, g.Name()), max(width, len(g.Name()))
		children = append(children, &child{group: g, dir: filepath.Join(o.Report, g.Name())})
	}
	how := "the next is made while one is judged"
	if judgesAlone() {
		how = "none is made while one is judged, for want of cores"
	}
	o.Log.Say("matrix: %s; %d at once, %s", strings.Join(names, ", "), p.slots, how)
	free := make(chan struct{}, p.slots)
	var running sync.WaitGroup
	for _, c := range children {
		free <- struct{}{} // in the order of the columns
		running.Go(func() {
			defer func() { <-free }()
			say := func(line string) { o.Log.Say("%-*s  %s", width, c.group.Name(), line) }
			c.judge(ctx, filepath.Join(dir, "lock"), o.Budget.ofChild(), say)
			if c.trouble != "" {
				say(c.trouble)
			}
		})
	}
	running.Wait()
	var r Result
	for _, c := range children {
		r.Clusters, r.Codes = append(r.Clusters, c.clusters()...), append(r.Codes, c.exit)
	}
	return r, nil
}

// atOnce is how many of n clusters are there at a time: as many as memory has room for, and no more than one to be
// judged and one being prepared for each two cores. With -measure it is one: nothing else may run then; and so where none is made
// while another is judged, since two that are made at once take as long as one after the other.
func (o Options) atOnce(ctx context.Context, n int) (int, error) {
	memory, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading how much memory is available: %w", err)
	}
	each := uint64(o.Workers+1) * nodeMemory
	room := int(memory.Available / each)
	switch {
	case o.Keep && room < n:
		return 0, fmt.Errorf("%d kept clusters take %d GiB and %d are available: leave -keep out, or ask for fewer", n, uint64(n)*each>>30, memory.Available>>30)
	case o.Measure, judgesAlone():
		return 1, nil
	}
	return max(1, min(n, room, 1+runtime.NumCPU()/2)), nil
}
