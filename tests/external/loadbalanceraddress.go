package external

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
	"github.com/parley-k8s/parley/tests/internal/controller"
)

func (b *balanced) awaitAddress(ctx context.Context, env *requirement.Env, made *corev1.Service) error {
	start, nobody := time.Now(), ""
	_, err := until.Settled(ctx, until.Policy{Within: addressGiven, Every: addressLook}, func(ctx context.Context) error {
		now, err := env.Kube.CoreV1().Services(made.Namespace).Get(ctx, made.Name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading the Service %s: %w", made.Name, err)
		}
		b.service = now
		if len(now.Status.LoadBalancer.Ingress) > 0 {
			return nil
		}
		if nobody = env.Players.WhyAbsent(requirement.LoadBalanced); nobody != "" {
			return nil
		}
		return fmt.Errorf("the status of the Service has %w after %s", errNoAddress, time.Since(start).Round(time.Second))
	})
	if err != nil && !errors.Is(err, errNoAddress) {
		return err
	}
	if err != nil {
		return b.noAddress(ctx, env, err.Error(), time.Since(start) >= addressGiven)
	}
	if nobody != "" {
		return &requirement.Unsupported{Probed: nobody}
	}
	var told []string
	for _, i := range b.service.Status.LoadBalancer.Ingress {
		told = append(told, i.IP+i.Hostname)
		for _, ip := range addressesOf(ctx, i.IP, i.Hostname) {
			if ip.Is4() == (env.Family == corev1.IPv4Protocol) && !b.at.IsValid() {
				b.at = ip
			}
		}
	}
	if !b.at.IsValid() {
		return &requirement.Unsupported{Probed: fmt.Sprintf("the status of a Service of type LoadBalancer has no address of %s: %v", env.Family, told)}
	}
	return nil
}

// noAddress judges a Service that got no address, as seen. One that somebody takes care of should have had one; whether an implementation
// supports what one asks for besides is its own matter, where it says so. patient is whether the whole time was waited.
func (b *balanced) noAddress(ctx context.Context, env *requirement.Env, seen string, patient bool) error {
	claim, err := controller.OfService(ctx, env.Kube, b.service)
	if err != nil {
		return err
	}
	claimed := claim.Claimed() || referencePlays(env, world.ReferenceLoadBalancer)
	switch {
	case !claimed:
		probed := "made a Service of type LoadBalancer: " + seen + ", and " + claim.String()
		if b.plain && patient {
			env.Players.MarkAbsent(requirement.LoadBalanced, probed)
		}
		return &requirement.Unsupported{Probed: probed}
	case !b.plain && len(claim.Words) > 0:
		return &requirement.Unsupported{Probed: "made a Service of type LoadBalancer that asks for more than an address: " + seen + "; " + claim.String()}
	}
	return &requirement.Failure{Reason: requirement.Missing, Target: "Service " + b.service.Name, Protocol: "API",
		Expected: "an address in the status of a Service of type LoadBalancer", Observed: seen + "; " + claim.String(),
		Again: "kubectl describe service -n " + b.service.Namespace + " " + b.service.Name}
}

// addressesOf are the addresses of a status's entry, by this machine's resolver where it has a name only.
func addressesOf(ctx context.Context, ip, hostname string) []netip.Addr {
	if addr, err := netip.ParseAddr(ip); err == nil {
		return []netip.Addr{addr}
	}
	if hostname == "" {
		return nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", hostname)
	if err != nil {
		return nil // said by the caller: no address
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	return found
}
