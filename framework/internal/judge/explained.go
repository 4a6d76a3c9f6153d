package judge

import (
	"slices"
	"strings"
	"sync"

	"github.com/parley-k8s/parley/framework/internal/diagnose"
	"github.com/parley-k8s/parley/framework/requirement"
)

// way is what an exchange crosses, as far as one cause may break all of it: from a node's pods to those of another, or to DNS.
type way struct {
	from, to, transport string
	reason              requirement.Reason
}

// waysOf are the ways of a failure, to each of those who may answer; none of a failure that is no exchange between nodes.
func waysOf(f *requirement.Failure, family string) (all []way) {
	if f.From == nil || f.From.Pod == "" || f.From.Node == "" {
		return nil
	}
	switch f.Reason {
	case requirement.NoAnswer, requirement.Refused, requirement.Unreachable:
	default:
		return nil
	}
	w := way{from: f.From.Node, reason: f.Reason, transport: f.Protocol + " over " + family}
	switch {
	case strings.HasPrefix(f.Protocol, "dns"):
		w.to, w.transport = diagnose.DNS, "dns"
		return []way{w}
	case f.Protocol != "tcp" && f.Protocol != "udp":
		return nil
	}
	ends := f.Behind
	if f.To != nil {
		ends = []*requirement.End{f.To}
	}
	for _, end := range ends {
		w.to = end.Node
		if !slices.Contains(all, w) {
			all = append(all, w)
		}
	}
	return all
}

// explained is what was found of a way that carries nothing.
type explained struct{ id, cause, hop, evidence string }

// findings keep what diagnoses found, for the failures after them.
type findings struct {
	mu     sync.Mutex
	causes map[string]bool
	ways   map[way]explained
}

// first says whether the cause was not found before; "" is none.
func (f *findings) first(cause string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if cause == "" || f.causes[cause] {
		return false
	}
	if f.causes == nil {
		f.causes = map[string]bool{}
	}
	f.causes[cause] = true
	return true
}

// keep notes what breaks ways to the node, where they are among those of a failure that was looked into; the first counts.
func (f *findings) keep(ways []way, to string, what explained) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range ways {
		if _, known := f.ways[w]; known || w.to != to {
			continue
		}
		if f.ways == nil {
			f.ways = map[way]explained{}
		}
		f.ways[w] = what
	}
}

// of is what breaks all of the ways, where that is known and one thing.
func (f *findings) of(ways []way) (what explained, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, w := range ways {
		one, known := f.ways[w]
		if !known || i > 0 && one.cause != what.cause {
			return explained{}, false
		}
		if i == 0 {
			what = one
		}
	}
	return what, len(ways) > 0
}
