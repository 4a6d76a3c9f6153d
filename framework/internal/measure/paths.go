package measure

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"path"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
	"github.com/parley-k8s/parley/reports"
)

// Roles are the parts that have to be played for all paths to be measured.
var Roles = []world.Role{world.SiblingA, world.SiblingB, world.Near, world.Far, world.Node}

// Field is where it is measured.
type Field struct {
	Players requirement.Players
	World   world.Plan
	Kube    kubernetes.Interface
	Family  corev1.IPFamily
	Port    int // the first of two that nobody else uses
	Say     func(format string, args ...any)
}

// Paths opens servers and a Service, measures every path, and removes them again. A path that can't be measured says
// why; the error is of what could not be removed.
func (f Field) Paths(ctx context.Context) ([]reports.Path, error) {
	l := &layout{Field: f}
	paths := l.all(ctx)
	told := measureAll(ctx, paths, f.Say)
	return told, l.tearDown(context.WithoutCancel(ctx))
}

// layout is what was set up for measuring.
type layout struct {
	Field
	undo []func(context.Context) error
}

func (l *layout) tearDown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var problems []error
	for i := len(l.undo) - 1; i >= 0; i-- {
		problems = append(problems, l.undo[i](ctx))
	}
	return errors.Join(problems...)
}

// all lays out the paths, from the nearest to the furthest.
func (l *layout) all(ctx context.Context) []*way {
	var id [6]byte
	_, _ = rand.Read(id[:]) // never fails, by its contract
	name := "parley-bench-" + hex.EncodeToString(id[:])
	a, b, near, far := l.end(world.SiblingA), l.end(world.SiblingB), l.end(world.Near), l.end(world.Far)
	loopback := "127.0.0.1"
	if l.Family == corev1.IPv6Protocol {
		loopback = "::1"
	}
	socket := path.Join(world.SharedPath, name+".sock")
	paths := []*way{
		l.serve(ctx, &way{name: "shared memory, same pod", from: a, to: b, network: "shm", dial: "/" + name}),
		l.serve(ctx, &way{name: "unix stream, same pod", from: a, to: b, network: "unix", dial: socket}),
		l.serve(ctx, &way{name: "loopback TCP, same pod", from: a, to: b, network: "tcp", dial: net.JoinHostPort(loopback, strconv.Itoa(l.Port))}),
		l.serve(ctx, &way{name: "pod IP, same node", from: a, to: near, network: "tcp", dial: l.at(near, l.Port)}),
		l.serve(ctx, &way{name: "pod IP, other node", from: a, to: far, network: "tcp", dial: l.at(far, l.Port)}),
	}
	client, server := l.nodes(a, far)
	paths = append(paths, l.serve(ctx, &way{name: "host network, other node", from: client, to: server, network: "tcp", dial: l.at(server, l.Port+1)}))
	return append(paths, l.throughService(ctx, name, a, near, far)...)
}

// throughService are the paths by the virtual IP and by a node port of one Service, with one endpoint: on the other
// node, or on the same where there is no other.
func (l *layout) throughService(ctx context.Context, name string, a, near, far *requirement.End) []*way {
	endpoint, where := far, "pod on other node"
	if far == nil {
		endpoint, where = near, "pod on same node"
	}
	virtual := &way{name: "ClusterIP, " + where, from: a, to: endpoint, network: "tcp"}
	port := &way{name: "NodePort of own node, " + where, from: a, to: endpoint, network: "tcp"}
	both := []*way{virtual, port}
	fail := func(why string) []*way {
		virtual.missing, port.missing = why, why
		return both
	}
	if a == nil || endpoint == nil {
		return fail("its pods are not played in this cluster")
	}
	service, err := l.service(ctx, name, endpoint)
	if err != nil {
		return fail(err.Error())
	}
	virtual.dial = net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(service.Spec.Ports[0].Port)))
	if err := l.awaitRules(ctx, virtual); err != nil {
		return fail(err.Error())
	}
	own, err := l.addressOf(ctx, a.Node)
	if err != nil {
		port.missing = err.Error()
		return both
	}
	port.dial = net.JoinHostPort(own, strconv.Itoa(int(service.Spec.Ports[0].NodePort)))
	if err := l.awaitRules(ctx, port); err != nil {
		port.missing = err.Error()
	}
	return both
}

// service makes a Service of which the one pod is the endpoint, on the port that its server has already.
func (l *layout) service(ctx context.Context, name string, endpoint *requirement.End) (*corev1.Service, error) {
	namespace := l.World.Main()
	made, remove, err := requirement.Create(ctx, l.Kube.CoreV1().Services(namespace), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: l.World.Labels},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, IPFamilies: []corev1.IPFamily{l.Family},
			Selector: map[string]string{world.PodLabel: endpoint.Pod},
			Ports:    []corev1.ServicePort{{Port: int32(l.Port)}}},
	})
	if err == nil {
		l.undo = append(l.undo, remove)
	}
	return made, err
}

// awaitRules waits until the rules of a new Service let through.
func (l *layout) awaitRules(ctx context.Context, w *way) error {
	_, err := until.Settled(ctx, until.Policy{Within: rulesWithin}, func(ctx context.Context) error {
		got, err := w.from.Connect(ctx, wire.Connect{Network: "tcp", Address: w.dial, Knock: true})
		if err != nil || len(got.Seen) != 1 {
			return fmt.Errorf("dialling %s: %w", w.dial, err)
		}
		if !got.Seen[0].Ok() {
			return fmt.Errorf("dialling %s: %s", w.dial, got.Seen[0].Errno)
		}
		return nil
	})
	return err
}

func (l *layout) addressOf(ctx context.Context, node string) (string, error) {
	object, err := l.Kube.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading Node %s: %w", node, err)
	}
	for _, a := range object.Status.Addresses {
		if ip := net.ParseIP(a.Address); a.Type == corev1.NodeInternalIP && ip != nil && (ip.To4() != nil) == (l.Family == corev1.IPv4Protocol) {
			return a.Address, nil
		}
	}
	return "", fmt.Errorf("node %s has no InternalIP of %s", node, l.Family)
}

// serve opens the server of a path, unless nobody plays one of its ends.
func (l *layout) serve(ctx context.Context, w *way) *way {
	if w.from == nil || w.to == nil || w.dial == "" {
		w.missing = "its ends are not both played in this cluster, or have no address of " + string(l.Family)
		return w
	}
	listening, err := w.to.Listen(ctx, wire.Listen{Network: w.network, Address: w.dial, Behave: "bench"})
	switch {
	case err != nil:
		w.missing = err.Error()
	case !listening.Ok():
		w.missing = "opening the server: " + listening.Errno.String()
	default:
		l.undo = append(l.undo, func(ctx context.Context) error { return w.to.Release(ctx, listening.Handle) })
	}
	return w
}

// end is who plays the role, nil where nobody does.
func (l *layout) end(role world.Role) *requirement.End {
	if all := l.Players.Ends(role); len(all) > 0 {
		return all[0]
	}
	return nil
}

// nodes are the agents in the nodes' own networks where the two pods are, nil where there is none.
func (l *layout) nodes(a, far *requirement.End) (client, server *requirement.End) {
	for _, node := range l.Players.Ends(world.Node) {
		if a != nil && node.Node == a.Node {
			client = node
		}
		if far != nil && node.Node == far.Node {
			server = node
		}
	}
	return client, server
}

// at is the end's address and the port, "" where it has no address of the family.
func (l *layout) at(end *requirement.End, port int) string {
	if end == nil {
		return ""
	}
	ip, ok := end.IP(l.Family)
	if !ok {
		return ""
	}
	return requirement.At(ip, port)
}
