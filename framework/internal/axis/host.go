package axis

import (
	"slices"
	"strings"
	"syscall"

	"github.com/parley-k8s/parley/framework/internal/cluster"
)

// Host is what is known of the machine that the clusters would be made on.
type Host struct {
	// Lacking are the features that its kernel was seen to lack, by the names that `parley doctor` shows, with how
	// the kernel said so.
	Lacking map[string]string
	// Unavailable are the values that were looked for and can't be had here, by their words, with why: see Choices.Probe.
	Unavailable map[string]string
	// Architecture is that of the nodes, as Go calls it; "" where it is not known.
	Architecture string
}

// HostOf is what is known of a host whose features were looked at. With a remote engine the nodes have another kernel, of
// which nothing is known; nor is it of a feature that this user may not try.
func HostOf(h cluster.HostFacts, remote bool) Host {
	lacking := map[string]string{}
	for _, f := range h.Features {
		if !f.There && !remote && !Untried(h, f) {
			lacking[f.Name] = f.Error
		}
	}
	return Host{Lacking: lacking, Architecture: h.Architecture}
}

// Untried says whether a feature failed since this process may not try it.
func Untried(h cluster.HostFacts, f cluster.Feature) bool {
	return !h.Root && strings.HasSuffix(f.Error, syscall.EPERM.Error())
}

// kernel is for a value that needs features of the kernel.
func kernel(features ...string) func(Host) string {
	return func(h Host) string {
		for _, f := range features {
			if how, lacks := h.Lacking[f]; lacks {
				return strings.TrimSuffix("this host's kernel shows no "+f+" ("+how+")", " ()")
			}
		}
		return ""
	}
}

// architecture is for a value that exists for some architectures alone.
func architecture(known ...string) func(Host) string {
	return func(h Host) string {
		if h.Architecture == "" || slices.Contains(known, h.Architecture) {
			return ""
		}
		return "it exists for " + strings.Join(known, " and ") + ", and the nodes would be " + h.Architecture
	}
}
