package axis

import (
	"strings"
	"syscall"

	"github.com/parley-k8s/parley/framework/internal/cluster"
)

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
