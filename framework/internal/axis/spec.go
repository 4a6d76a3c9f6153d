package axis

import (
	"cmp"

	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
)

// Spec is what the values of a column decide about its cluster and how it is judged. It is plain data; what is empty is left to
// the default.
type Spec struct {
	// Options are the cluster's own: address families, proxy mode, node runtime.
	cluster.Options
	// Versions are those that the node image is asked for.
	Versions nodeimage.Versions
	// Bundles is where the release archives of runtimes are: a folder, or one of them.
	Bundles string
	// Handler is the OCI handler that is judged; on a cluster that exists it is the name of a RuntimeClass.
	Handler string
}

// otherRuntime is the nodes' runtime where that is not containerd; "" where it is.
func (s Spec) otherRuntime() string {
	if r := cmp.Or(s.Runtime, cluster.DefaultRuntime); r != cluster.DefaultRuntime {
		return r
	}
	return ""
}
