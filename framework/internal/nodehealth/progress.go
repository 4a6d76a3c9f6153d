package nodehealth

import (
	"fmt"
	"time"

	"github.com/parley-k8s/parley/framework/requirement"
)

const (
	// unacknowledged is how long after the last pod of the other nodes became ready a kubelet may take to acknowledge a pod
	// (status.startTime), where its Lease is renewed; a healthy one takes a second.
	unacknowledged = 15 * time.Second
	// notReady is the same for a kubelet that has acknowledged pods, of which none becomes ready.
	notReady = 30 * time.Second
	// leaseToo is the same where a renewal of the Lease is missed besides, and quietToo how long nothing was seen of its pods.
	leaseToo, quietToo = 3 * time.Second, 7 * time.Second
)

// Pods say how the pods that are awaited on one node come up.
type Pods struct {
	Node           string
	All, Scheduled int
	Acknowledged   int // by the kubelet: they have a status.startTime
	Ready          int
	GivenUp        int           // one by one, such as those that crash
	Quiet          time.Duration // since something was last seen of any of them, or they were made
	Overdue        *Overdue      // its Lease; nil where it was renewed
	Others         Others
}

// Others say how the pods that are awaited on all other nodes come up.
type Others struct {
	Nodes          int
	Ready, Awaited int           // Awaited are neither ready nor given up
	Took, Settled  time.Duration // until the last of them became ready or was given up, and since then
}

// GiveUp says whether the pods of a node need not be waited for any longer, and why. Where others are awaited too, all measures are
// relative to what those took on the same machines.
func GiveUp(p Pods) (requirement.NodeFinding, bool) {
	f := requirement.NodeFinding{Node: p.Node, Sick: true, LeftOut: true}
	if p.Ready+p.GivenUp == p.All {
		return f, false
	}
	if p.Others.Nodes == 0 { // a single pod of a check's own
		if p.Overdue == nil || p.Acknowledged > 0 || p.Quiet < unacknowledged {
			return f, false
		}
		f.State, f.Since, f.Said = requirement.NodeRenewsNoLease, p.Overdue.Last, p.Overdue.String()
		return f, true
	}
	if p.Others.Awaited > 0 || p.Others.Ready == 0 {
		return f, false
	}
	after := fmt.Sprintf("%s after the pods of all other nodes were ready", p.Others.Settled.Round(time.Second))
	patient := func(atLeast time.Duration) bool {
		wait := max(atLeast, p.Others.Took)
		return p.Others.Settled >= wait && p.Quiet >= wait
	}
	switch {
	case p.Overdue != nil && p.Others.Settled >= leaseToo && p.Quiet >= quietToo:
		f.State, f.Since = requirement.NodeRenewsNoLease, p.Overdue.Last
		f.Said = fmt.Sprintf("%s; %s its kubelet has acknowledged %d of %d pods", p.Overdue, after, p.Acknowledged, p.All)
	case p.Acknowledged == 0 && patient(unacknowledged):
		f.State = requirement.NodeStartsNoPod
		f.Said = fmt.Sprintf("%s its kubelet has acknowledged none of %d pods (no status.startTime), of which %d were scheduled there", after, p.All, p.Scheduled)
	case p.Ready == 0 && patient(notReady):
		f.State = requirement.NodeStartsNoPod
		f.Said = fmt.Sprintf("%s none of its %d pods is ready, of which its kubelet has acknowledged %d", after, p.All, p.Acknowledged)
	default:
		return f, false
	}
	return f, true
}
