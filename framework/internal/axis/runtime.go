package axis

import (
	"context"

	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
)

// Runtime is the axis of the nodes' container runtimes: the first is in every node image, a further one has to be brought.
func Runtime() Axis {
	return Axis{
		Name: "runtime", Flag: "runtime", Set: "runtimes", Chooses: "container runtime of the nodes of a cluster that is made",
		Values: runtimes(),
		Apply:  func(s *Spec, runtime string) { s.Runtime = runtime },
		Settings: []Setting{{
			Flag: nodeimage.BundlesFlag,
			Help: "the folder with the release archives of runtimes other than containerd, or one archive, with their checksums beside them; " +
				"empty fetches releases from their official addresses",
			Apply: func(s *Spec, bundles string) { s.Bundles = bundles },
		}},
		Doctor: DoctorLine{Key: "runtimes", Label: "runtimes", First: true},
	}
}

func runtimes() (values []Value) {
	for _, r := range cluster.Runtimes() {
		v := Value{Word: r.Name}
		if r.Layer != nil {
			v.Probe = func(ctx context.Context, s Spec, outside bool) string {
				if outside {
					return nodeimage.Lacks(ctx, r, s.Bundles)
				}
				return nodeimage.NotAsked(r, s.Bundles)
			}
		}
		values = append(values, v)
	}
	return values
}
