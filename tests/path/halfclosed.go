package path

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

const (
	// silence is how long the server is silent after the client's FIN, and controlSilence under a control, which acts in half of it.
	silence        = 15 * time.Second
	controlSilence = 2 * time.Second
	// answerWithin is how long its answer may take then: TCP sends it again meanwhile.
	answerWithin = 10 * time.Second
	// halfClosed is how many such connections each node's pod has, each from a port of its own: both endpoints get some.
	halfClosed      = 4
	halfClosedFirst = 1 // of the requirement's own ports
)

func halfClosedService() requirement.Requirement {
	return requirement.Requirement{
		ID:    "path/half-closed-service",
		Long:  true,
		Title: "A connection through a ClusterIP on which the client has sent FIN stays usable for the server's answer, also when that comes 15 seconds later.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-proxy/",
			Says: "kube-proxy keeps half-closed connections tracked for an hour by default (--conntrack-tcp-timeout-close-wait). By RFC 9293, section 3.6, the " +
				"side that has closed goes on receiving until the other closes too.",
		},
		Why: "Clients that have nothing more to say close their direction and wait: dumps, uploads, proxies. Where the node forgets the connection meanwhile " +
			"(the kernel's own default is a minute, a firewall's may be seconds) the answer arrives untranslated and is reset. Pod to pod " +
			"nobody notices. Every node's pod has four such connections at once, and the server is silent for 15 seconds.",
		Roles: []world.Role{world.Everywhere, world.WebNear}, Wants: []world.Role{world.WebFar, world.Node},
		Services:  []world.Service{world.Web},
		PerFamily: true,
		Check:     checkHalfClosed,
		Control: requirement.Control{
			Says: "what comes back on one client's connections dropped after the FIN",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.Midway(fault.InPodOf(world.Everywhere, fault.DropOwnPorts("input", "tcp"))),
			}},
			Red: []requirement.Reason{requirement.NoAnswer, requirement.Broken},
		},
	}
}

// halfOpen is one connection, and how it ended.
type halfOpen struct {
	route
	seen wire.Exchange
}

func checkHalfClosed(ctx context.Context, env *requirement.Env) error {
	pause, within := silence, answerWithin
	if env.Patience == 0 {
		pause, within = controlSilence, env.Attempt
	}
	release, err := serve(ctx, env.Roles(world.WebNear, world.WebFar), wire.Listen{Network: "tcp", Address: requirement.At(env.Any(), env.Port(0)), Behave: "answer-after-fin",
		Delay: int(pause.Milliseconds())})
	if err != nil {
		return err
	}
	defer release()
	routes, err := ownService(ctx, env, env.Port(0))
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var all []halfOpen
	group, groupCtx := errgroup.WithContext(ctx)
	for _, r := range routes {
		for i := range halfClosed {
			group.Go(func() error {
				got, err := r.from.Connect(groupCtx, wire.Connect{Network: "tcp", Address: requirement.At(r.ip, world.ServicePort), HalfClose: true,
					Source: fmt.Sprintf(":%d", env.Port(halfClosedFirst+i)), Timeout: int((pause + within).Milliseconds())})
				if err != nil {
					return fmt.Errorf("asking %s for a connection: %w", r.from, err)
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, halfOpen{r, got.Seen[0]})
				return nil
			})
		}
	}
	group.Go(func() error {
		if err := until.Idle(groupCtx, pause/2); err != nil { // by then every FIN is out
			return err
		}
		return env.Midway(groupCtx)
	})
	if err := group.Wait(); err != nil {
		return err
	}
	return halfClosedFailure(ctx, env, all, pause)
}

// halfClosedFailure names one connection that was forgotten, and how many were on which nodes; nil where none was.
func halfClosedFailure(ctx context.Context, env *requirement.Env, all []halfOpen, pause time.Duration) error {
	var first *halfOpen
	lost, of, who := map[string]int{}, map[string]int{}, map[string]int{}
	for _, h := range all {
		of[h.from.Node]++
		switch {
		case h.seen.Ok() && h.seen.Witness != nil:
			who[h.seen.Witness.Who]++
		default:
			lost[h.from.Node]++
			if first == nil || first.seen.Step == "dial" && h.seen.Step != "dial" {
				first = &h
			}
		}
	}
	if first == nil {
		env.Note("%s: %d half-closed connections from %d nodes got their answers after %s, by %d endpoints", env.Family, len(all), len(of), pause, len(who))
		return nil
	}
	var told []string
	for node, n := range lost {
		told = append(told, fmt.Sprintf("%d of %d from %s", n, of[node], node))
	}
	slices.Sort(told)
	at := requirement.At(first.ip, world.ServicePort)
	f := &requirement.Failure{Reason: requirement.ReasonOf(first.seen.Errno), From: first.from, Behind: first.back, Target: at, Protocol: "tcp",
		Expected: fmt.Sprintf("the server's answer %s after the client's FIN", pause),
		Observed: fmt.Sprintf("%s at %s; connections without an answer: %s", first.seen.Errno, first.seen.Step, strings.Join(told, ", ")), Attempts: len(all),
		Again: "sysctl net.netfilter.nf_conntrack_tcp_timeout_close_wait net.netfilter.nf_conntrack_tcp_timeout_fin_wait   (on node " + first.from.Node + ")"}
	if first.seen.Step == "read" {
		f.FirstBrokenHop = fmt.Sprintf("after the FIN: the connection stood, and the late answer did not come back; look at what keeps the state of connections on node "+
			"%s%s", first.from.Node, forgets(ctx, env.OnNode(world.Node, first.from.Node), pause))
	}
	return f
}

// forgets says which of the kernel's times for half-closed connections are shorter than that on the node; "" where none is known to be.
func forgets(ctx context.Context, node *requirement.End, than time.Duration) (told string) {
	if node == nil {
		return ""
	}
	for _, name := range []string{"nf_conntrack_tcp_timeout_close_wait", "nf_conntrack_tcp_timeout_fin_wait"} {
		read, err := node.File(ctx, wire.File{Do: "read", Path: "/proc/sys/net/netfilter/" + name})
		if err != nil || !read.Ok() {
			continue
		}
		if seconds, err := strconv.Atoi(strings.TrimSpace(string(read.Data))); err == nil && time.Duration(seconds)*time.Second <= than {
			told += fmt.Sprintf("; %s is %d s", name, seconds)
		}
	}
	return told
}
