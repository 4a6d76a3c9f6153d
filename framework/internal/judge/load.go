package judge

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// How many requirements are judged side by side follows what the cluster bears: on machines that are so busy that a pod takes
// half a minute to start, checks would wait for the machine instead of the cluster, and take it for broken.
const (
	atFirst = 4
	atLeast = 2
	atMost  = 12
	// calmRunnable and busyRunnable are tasks that run or wait to, for each of a node's processors: below the one a further
	// requirement is begun, above the other fewer are.
	calmRunnable = 8
	busyRunnable = 16
	// calmAnswer and busyAnswer are the same of how much longer than at the quickest an agent takes to answer.
	calmAnswer = 100 * time.Millisecond
	busyAnswer = 500 * time.Millisecond
	// paceEvery is how often they are looked at, paceWithin what that may take.
	paceEvery  = 400 * time.Millisecond
	paceWithin = 3 * time.Second
	// paceWeight is how much one look counts against those before it.
	paceWeight = 0.3
)

// load is how busy a node is.
type load struct {
	runnable float64 // for each processor; 0 where it is not known
	answer   time.Duration
}

// pace is how many requirements are judged at once.
type pace struct {
	least    int           // at once, however busy the nodes are
	quickest time.Duration // 0 before the first answer
	runnable float64       // smoothed
	limit    int
	busy     bool // the nodes were, when they were looked at last
}

// next takes how busy the nodes are.
func (p *pace) next(now load) int {
	if p.limit == 0 {
		p.limit, p.runnable, p.quickest = atFirst, now.runnable, now.answer
	}
	p.quickest = min(p.quickest, now.answer)
	p.runnable += paceWeight * (now.runnable - p.runnable)
	longer := now.answer - p.quickest
	p.busy = p.runnable > busyRunnable || longer > busyAnswer
	switch {
	case p.busy:
		p.limit = max(p.limit-1, p.least)
	case p.runnable < calmRunnable && longer < calmAnswer:
		p.limit = min(p.limit+1, atMost)
	}
	return p.limit
}

// followLoad has the limiters follow what the nodes bear until the context ends, and then says what that was.
func (j *Judge) followLoad(ctx context.Context, limiters ...*limiter) {
	ends := j.stage.Ends(world.Everywhere)
	p := pace{least: atLeast}
	// A handler may give pods a kernel of its own, which knows nothing of the node's load, and takes a multiple of the work.
	if nodes := j.stage.Ends(world.Node); j.stage.Sandboxed() && len(nodes) > 0 {
		ends, p.least = nodes, 1
	}
	if len(ends) == 0 {
		return
	}
	processors := make([]int, len(ends))
	fewest, most := atMost, 0
	defer func() {
		j.options.Log.Say("judged side by side: %d to %d of each kind, as the nodes bore it", fewest, most)
	}()
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	for {
		limit := p.next(loadOf(ctx, ends, processors))
		if p.busy {
			j.busy.note(time.Now())
		}
		fewest, most = min(fewest, limit), max(most, limit)
		for _, l := range limiters {
			l.setLimit(limit)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// loadOf is how busy the nodes are, the median of them: a control may hold one. processors are noted once they are known.
func loadOf(ctx context.Context, ends []*requirement.End, processors []int) load {
	ctx, cancel := context.WithTimeout(ctx, paceWithin)
	defer cancel()
	answers, runnables := make([]time.Duration, len(ends)), make([]float64, len(ends))
	var looking sync.WaitGroup
	for i, end := range ends {
		looking.Go(func() {
			if processors[i] == 0 {
				processors[i] = max(1, strings.Count(procFile(ctx, end, "/proc/stat"), "\ncpu"))
			}
			begun := time.Now()
			runnables[i] = float64(runnable(procFile(ctx, end, "/proc/loadavg"))) / float64(processors[i])
			answers[i] = time.Since(begun) // also of one that did not answer
		})
	}
	looking.Wait()
	slices.Sort(answers)
	slices.Sort(runnables)
	return load{runnable: runnables[len(runnables)/2], answer: answers[len(answers)/2]}
}

// procFile is a file that the end's kernel makes up, "" where it can't be read.
func procFile(ctx context.Context, end *requirement.End, path string) string {
	seen, err := end.File(ctx, wire.File{Do: "read", Path: path})
	if err != nil || !seen.Ok() {
		return ""
	}
	return string(seen.Data)
}

// runnable reads how many tasks run or wait to from /proc/loadavg, whose fourth field is runnable/all (proc(5)); what is not
// such a file has none.
func runnable(loadavg string) int {
	fields := strings.Fields(loadavg)
	if len(fields) < 4 {
		return 0
	}
	text, _, _ := strings.Cut(fields[3], "/")
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return max(0, n)
}
