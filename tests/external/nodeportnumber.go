package external

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// Variants of what is asked of the API server: the opposite, which it must answer oppositely.
const (
	outOfRange  = "out-of-range"
	anotherPort = "another-port"
	notDeleted  = "not-deleted"
)

// portTries is how often a free port is looked for by asking for a random one: a range that is nine tenths full has
// none among so many with a probability of 0.9^200, 1e-9.
const portTries = 200

var nodePortRange = requirement.Clause{
	URL: "https://kubernetes.io/docs/concepts/services-networking/service/#type-nodeport",
	Says: "The control plane allocates a port from the range of --service-node-port-range (30000-32767 by default). Who asks for a port " +
		"gets it where it is valid and free; otherwise the API call fails.",
}

func nodePortNumbers() []requirement.Requirement {
	return []requirement.Requirement{
		{
			ID:     "external/nodeport-range",
			Title:  "Node ports are given from within the API server's range: those it chooses and those asked for; others are refused.",
			Level:  requirement.Must,
			Clause: nodePortRange,
			Why: "Firewalls in front of a cluster open this range and nothing else, and nodes keep it free of ephemeral ports. " +
				"A port beyond it would be a Service that only some can reach, or one that takes a daemon's port away.",
			Roles: []world.Role{world.Everywhere},
			Check: checkRange,
			Control: requirement.Control{
				Says:    "a port just beyond the range asked for as if it were within",
				Variant: &requirement.Variant{Fixture: outOfRange},
				Red:     []requirement.Reason{requirement.NotGranted},
			},
		},
		{
			ID:    "external/nodeport-collision",
			Title: "A node port that one Service has is refused to another.",
			Level: requirement.Must,
			Clause: requirement.Clause{
				URL:  "https://github.com/kubernetes/kubernetes/blob/v1.36.3/test/e2e/network/service.go#L1575",
				Says: "The upstream suite demands that a second Service with a node port that is taken is refused, as the documentation says of type NodePort.",
			},
			Why: "Two Services on one port would answer in turn or by chance. Only the API server's allocator stands against it: " +
				"the proxies take what they are given.",
			Roles: []world.Role{world.Everywhere},
			Check: checkCollision,
			Control: requirement.Control{
				Says:    "the second Service asks for another port",
				Variant: &requirement.Variant{Fixture: anotherPort},
				Red:     []requirement.Reason{requirement.Granted},
			},
		},
		{
			ID:    "external/nodeport-release",
			Title: "The node port of a Service that was deleted is granted to the next that asks for it.",
			Level: requirement.Must,
			Clause: requirement.Clause{
				URL:  "https://github.com/kubernetes/kubernetes/blob/v1.36.3/test/e2e/network/service.go#L1696",
				Says: "The upstream suite demands that deleting a Service releases its node port, so that a new Service may have it at once.",
			},
			Why: "Re-created Services with a fixed port are how manifests are applied again. Where ports leak, the range runs dry and " +
				"every new NodePort or LoadBalancer Service fails.",
			Roles: []world.Role{world.Everywhere},
			Check: checkRelease,
			Control: requirement.Control{
				Says:    "the first Service left in place",
				Variant: &requirement.Variant{Fixture: notDeleted},
				Red:     []requirement.Reason{requirement.NotGranted},
			},
		},
	}
}

func checkRange(ctx context.Context, env *requirement.Env) error {
	low, high, err := portRange(ctx, env)
	if err != nil {
		return err
	}
	env.Note("node ports are from %d to %d", low, high)
	chosen, err := makeService(ctx, env, withNodePort(env, 0))
	if err != nil {
		return fmt.Errorf("making a Service of type NodePort: %w", err)
	}
	if got := int(chosen.Spec.Ports[0].NodePort); got < low || got > high {
		return &requirement.Failure{Reason: requirement.WrongSetting, Target: "Service " + chosen.Name, Protocol: "API",
			Expected: fmt.Sprintf("a node port from %d to %d", low, high), Observed: fmt.Sprintf("node port %d", got)}
	}
	if env.Fixture(outOfRange) {
		low, high = high+1, high+1
	}
	if _, err := anyFree(ctx, env, low, high); err != nil {
		return err
	}
	for _, beyond := range []int{low - 1, high + 1} {
		if beyond < 1 || beyond > 65535 {
			continue
		}
		service, err := makeService(ctx, env, withNodePort(env, beyond))
		switch {
		case err == nil:
			return &requirement.Failure{Reason: requirement.Granted, Target: "Service " + service.Name, Protocol: "API",
				Expected: fmt.Sprintf("the API server to refuse node port %d, beyond its range", beyond), Observed: "the Service made"}
		case !apierrors.IsInvalid(err):
			return fmt.Errorf("asking for node port %d: %w", beyond, err)
		}
	}
	return nil
}

func checkCollision(ctx context.Context, env *requirement.Env) error {
	first, err := makeService(ctx, env, withNodePort(env, 0))
	if err != nil {
		return fmt.Errorf("making a Service of type NodePort: %w", err)
	}
	taken := int(first.Spec.Ports[0].NodePort)
	asked := taken
	if env.Fixture(anotherPort) {
		asked = 0
	}
	second, err := makeService(ctx, env, withNodePort(env, asked))
	switch {
	case err == nil:
		return &requirement.Failure{Reason: requirement.Granted, Target: "Services " + first.Name + " and " + second.Name, Protocol: "API",
			Expected: fmt.Sprintf("the API server to refuse node port %d, which another Service has", taken),
			Observed: fmt.Sprintf("a second Service with node port %d", second.Spec.Ports[0].NodePort)}
	case !apierrors.IsInvalid(err):
		return fmt.Errorf("asking for node port %d, which is taken: %w", taken, err)
	}
	other := withNodePort(env, taken)
	other.Spec.Ports[0].Protocol = corev1.ProtocolUDP
	if _, err := makeService(ctx, env, other); err == nil {
		env.Note("the same number was granted to another Service for UDP")
	} else {
		env.Note("the same number was refused to another Service also for UDP: one allocator for all protocols")
	}
	return nil
}

func checkRelease(ctx context.Context, env *requirement.Env) error {
	first, err := makeService(ctx, env, withNodePort(env, 0))
	if err != nil {
		return fmt.Errorf("making a Service of type NodePort: %w", err)
	}
	port := int(first.Spec.Ports[0].NodePort)
	if !env.Fixture(notDeleted) {
		if err := removeService(ctx, env, first); err != nil {
			return err
		}
	}
	return env.Until(ctx, func(ctx context.Context) error {
		_, err := makeService(ctx, env, withNodePort(env, port))
		if apierrors.IsInvalid(err) {
			return notGranted(port, err)
		}
		return err
	})
}

func notGranted(port int, err error) error {
	return &requirement.Failure{Reason: requirement.NotGranted, Target: fmt.Sprintf("node port %d", port), Protocol: "API",
		Expected: fmt.Sprintf("a Service with node port %d", port), Observed: "the API server refusing it: " + err.Error()}
}

// withNodePort is a Service without endpoints that asks for the node port, 0 for any.
func withNodePort(env *requirement.Env, number int) *corev1.Service {
	service := env.World.NewService("nodeport-number", "nothing-has-this", corev1.ServicePort{Name: "tcp", Protocol: corev1.ProtocolTCP,
		Port: world.ServicePort, TargetPort: intstr.FromInt32(world.TargetPort), NodePort: int32(number)})
	service.Spec.Type = corev1.ServiceTypeNodePort
	return service
}

// anyFree makes a Service with a node port from low to high that nobody has.
func anyFree(ctx context.Context, env *requirement.Env, low, high int) (*corev1.Service, error) {
	for try := 1; ; try++ {
		number := low + rand.IntN(high-low+1)
		service, err := makeService(ctx, env, withNodePort(env, number))
		switch {
		case err == nil:
			return service, nil
		case !apierrors.IsInvalid(err):
			return nil, fmt.Errorf("asking for node port %d: %w", number, err)
		case strings.Contains(err.Error(), "already allocated") && try < portTries:
			continue // somebody's
		}
		return nil, notGranted(number, err)
	}
}

var rangeSaid = regexp.MustCompile(`range of valid ports is (\d+)-(\d+)`)

// portRange has the API server say its range, by asking for a port that no usual range has. (In a dry run it does not
// look at the range.)
func portRange(ctx context.Context, env *requirement.Env) (low, high int, err error) {
	_, err = makeService(ctx, env, withNodePort(env, 1))
	if err == nil {
		return 1, 65535, nil // a range that begins with the first port: all that is known is that numbers end
	}
	said := rangeSaid.FindStringSubmatch(err.Error())
	if said == nil {
		if apierrors.IsInvalid(err) {
			return 0, 0, &requirement.Unsupported{Probed: "asked for node port 1, the API server does not say its range: " + err.Error()}
		}
		return 0, 0, fmt.Errorf("asking for node port 1 to hear the range: %w", err)
	}
	low, _ = strconv.Atoi(said[1]) // digits, by the expression
	high, _ = strconv.Atoi(said[2])
	return low, high, nil
}
