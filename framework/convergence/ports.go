package convergence

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

// TCP questions come from ports of their own, each of which is used again only after all others. A question that was sent
// before the proxy knew the Service leaves an entry in connection tracking that translates nothing, for 120 seconds
// (nf_conntrack_tcp_timeout_syn_sent): a later one from the same port follows it past the proxy, and is answered by nobody. The
// kernel's own choice comes back to a port after some three thousand connections to one address, which are asked in 80 seconds.
const (
	// firstPort and lastPort are below the requirements' own ports (20000), the usual ephemeral range (32768) and the NodePort
	// range, and above what the components of a node listen on (10249 to 10259). Every 25 ms one, they last 225 seconds.
	firstPort, lastPort = 11000, 19999
	// portTries bounds how many ports are tried for one question where others have taken them.
	portTries = 10
)

// ports gives the source of one question after another.
type ports struct {
	begin  int
	number atomic.Int64
}

// drawPorts begins at a random port: the watches before this one, in the same network namespace, began elsewhere.
func drawPorts() *ports { return &ports{begin: rand.IntN(lastPort - firstPort + 1)} }

func (p *ports) next() string {
	n := int(p.number.Add(1))
	return fmt.Sprintf(":%d", firstPort+(p.begin+n)%(lastPort-firstPort+1))
}

// taken says whether a question was not asked since its port was another's.
func taken(x wire.Exchange) bool { return x.Class == wire.InUse }
