package external

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/authority"
)

const wrongCertificate = "wrong-certificate"

var ingressRules = requirement.Clause{
	URL: "https://kubernetes.io/docs/concepts/services-networking/ingress/#the-ingress-resource",
	Says: "A controller of the Ingress's class sends HTTP traffic for a rule's host and path to the rule's backend; the address where it does " +
		"is in the Ingress's status.",
}

func ingresses() []requirement.Requirement {
	base := requirement.Requirement{
		Level: requirement.Optional,
		Needs: []requirement.Feature{requirement.OutsideHost},
		Roles: []world.Role{world.Outside, world.WebNear, world.SiblingA},
		Wants: append(slices.Clone(world.ReferenceRoles), world.Node),
		Control: requirement.Control{
			Says:    "the rule leads to another backend",
			Variant: &requirement.Variant{Fixture: wrongBackend},
			Red:     []requirement.Reason{requirement.WrongPeer},
		},
		PerFamily: true,
	}
	with := func(change func(*requirement.Requirement)) requirement.Requirement {
		r := base
		change(&r)
		return r
	}
	return []requirement.Requirement{with(ingressHost), with(ingressWildcard), with(ingressPath), with(ingressTLS), with(ingressDefault)}
}

func ingressHost(r *requirement.Requirement) {
	r.ID = "external/ingress-host"
	r.Title = "An Ingress sends a host outside the cluster to the backend of the host that it asks for, and to none for a host of no rule."
	r.Clause = ingressRules
	r.Why = "One address serves many names, and only the request says which is meant. A controller that falls back to some backend shows one " +
		"tenant's site under another's name."
	r.Check = func(ctx context.Context, env *requirement.Env) error {
		s, err := openSites(ctx, env)
		if err != nil {
			return err
		}
		at, err := publish(ctx, env, networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{
			rule("a."+s.host, leads(networkingv1.PathTypePrefix, "/", s.first.service)),
			rule("b."+s.host, leads(networkingv1.PathTypePrefix, "/", s.second.service)),
		}})
		if err != nil {
			return err
		}
		return visits(ctx, env, at, []aim{{"a." + s.host, "/", &s.first}, {"b." + s.host, "/", &s.second}, {"c." + s.host, "/", nil}},
			"since no rule has this host")
	}
}

func ingressWildcard(r *requirement.Requirement) {
	r.ID = "external/ingress-wildcard-host"
	r.Title = "An Ingress rule for a wildcard host matches names of exactly one more label."
	r.Clause = requirement.Clause{
		URL:  "https://kubernetes.io/docs/concepts/services-networking/ingress/#hostname-wildcards",
		Says: "*.foo.com matches bar.foo.com, and neither baz.bar.foo.com nor foo.com: the wildcard stands for one label.",
	}
	r.Why = "Preview environments and tenants get names by wildcard, certificates match one label too. Proxies differ here among each other, " +
		"and a deeper match sends names to a site that was never meant to have them."
	r.Check = func(ctx context.Context, env *requirement.Env) error {
		s, err := openSites(ctx, env)
		if err != nil {
			return err
		}
		at, err := publish(ctx, env, networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{
			rule("*."+s.host, leads(networkingv1.PathTypePrefix, "/", s.first.service))}})
		if err != nil {
			return err
		}
		return visits(ctx, env, at, []aim{{"any." + s.host, "/", &s.first}, {"two.labels." + s.host, "/", nil}, {s.host, "/", nil}},
			"since the wildcard stands for one label")
	}
}

func ingressPath(r *requirement.Requirement) {
	r.ID = "external/ingress-path"
	r.Title = "An Ingress matches Exact paths as they are and Prefix paths element by element, an exact match before the longest prefix."
	r.Clause = requirement.Clause{
		URL: "https://kubernetes.io/docs/concepts/services-networking/ingress/#path-types",
		Says: "Exact matches the path case-sensitively; Prefix matches by elements split at /, so /aaa/bb does not match /aaa/bbb. Of several " +
			"matches the longest path wins, and Exact before Prefix.",
	}
	r.Why = "Services are put together under one name by path. Matching by characters instead of elements gives /admin-old the rights of /admin."
	r.Check = func(ctx context.Context, env *requirement.Env) error {
		s, err := openSites(ctx, env)
		if err != nil {
			return err
		}
		at, err := publish(ctx, env, networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{rule(s.host,
			leads(networkingv1.PathTypePrefix, "/shop", s.first.service),
			leads(networkingv1.PathTypePrefix, "/shop/cart", s.second.service),
			leads(networkingv1.PathTypeExact, "/shop/cart", s.first.service),
			leads(networkingv1.PathTypeExact, "/exact", s.second.service))}})
		if err != nil {
			return err
		}
		first, second := &s.first, &s.second
		return visits(ctx, env, at, []aim{
			{s.host, "/shop", first}, {s.host, "/shop/", first}, {s.host, "/shop/x?q=1", first},
			{s.host, "/shop/cart", first}, {s.host, "/shop/cart/1", second}, {s.host, "/shop/cartoon", first},
			{s.host, "/exact", second}, {s.host, "/exact/below", nil}, {s.host, "/shopping", nil}, {s.host, "/", nil},
		}, "since no path matches")
	}
}

func ingressDefault(r *requirement.Requirement) {
	r.ID = "external/ingress-default"
	r.Title = "Requests for an Ingress's host that none of its paths match go to its default backend."
	r.Clause = requirement.Clause{
		URL:  "https://kubernetes.io/docs/concepts/services-networking/ingress/#default-backend",
		Says: "defaultBackend handles the requests that match none of the Ingress's hosts and paths.",
	}
	r.Why = "It carries error pages and single-page applications. What is asked here stays within the Ingress's own host: whether a controller " +
		"takes the default for every host differs, and other people's names are not touched."
	r.Check = func(ctx context.Context, env *requirement.Env) error {
		s, err := openSites(ctx, env)
		if err != nil {
			return err
		}
		fallback := toService(s.first.service)
		at, err := publish(ctx, env, networkingv1.IngressSpec{DefaultBackend: &fallback, Rules: []networkingv1.IngressRule{
			rule(s.host, leads(networkingv1.PathTypePrefix, "/known", s.second.service))}})
		if err != nil {
			return err
		}
		return visits(ctx, env, at, []aim{{s.host, "/known", &s.second}, {s.host, "/unknown", &s.first}, {s.host, "/", &s.first}}, "")
	}
}

func ingressTLS(r *requirement.Requirement) {
	r.ID = "external/ingress-tls"
	r.Title = "An Ingress with a TLS Secret serves its host over HTTPS with that certificate, chosen by the name that the client asks for."
	r.Clause = requirement.Clause{
		URL: "https://kubernetes.io/docs/concepts/services-networking/ingress/#tls",
		Says: "A Secret with tls.crt and tls.key secures the hosts that the Ingress names for it on port 443; several hosts share the port by " +
			"the name in the TLS handshake (SNI).",
	}
	r.Why = "Controllers that can't read the Secret serve a certificate of their own instead: the site seems up, and every browser warns."
	r.Check = checkIngressTLS
	r.Control = requirement.Control{
		Says:    "a certificate of another authority in the Secret",
		Variant: &requirement.Variant{Fixture: wrongCertificate},
		Red:     []requirement.Reason{requirement.Untrusted},
	}
}

func checkIngressTLS(ctx context.Context, env *requirement.Env) error {
	s, err := openSites(ctx, env)
	if err != nil {
		return err
	}
	ca, err := authority.New()
	if err != nil {
		return err
	}
	signer := ca
	if env.Fixture(wrongCertificate) {
		if signer, err = authority.New(); err != nil {
			return err
		}
	}
	spec := networkingv1.IngressSpec{}
	hosts := []struct {
		name string
		to   backend
	}{{"a." + s.host, s.first}, {"b." + s.host, s.second}}
	for _, h := range hosts {
		secret, err := makeCertificate(ctx, env, signer, h.name)
		if err != nil {
			return err
		}
		spec.TLS = append(spec.TLS, networkingv1.IngressTLS{Hosts: []string{h.name}, SecretName: secret})
		spec.Rules = append(spec.Rules, rule(h.name, leads(networkingv1.PathTypePrefix, "/", h.to.service)))
	}
	at, err := publish(ctx, env, spec)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		v := visit{at: at, host: h.name, path: "/", ca: signer.Certificate}
		if err := v.comeIn(ctx, env); err != nil {
			return err
		}
		v.ca = ca.Certificate
		if err := v.reaches(ctx, env, h.to); err != nil {
			return err
		}
	}
	return nil
}

// makeCertificate makes a Secret with a certificate for the name, which is removed after the check.
func makeCertificate(ctx context.Context, env *requirement.Env, ca *authority.Authority, name string) (secret string, err error) {
	certificate, key, err := ca.Issue(name)
	if err != nil {
		return "", err
	}
	made, err := requirement.Own(ctx, env, env.Kube.CoreV1().Secrets(env.Namespace()), &corev1.Secret{
		ObjectMeta: env.ObjectMeta("certificate-"), Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key}})
	if err != nil {
		return "", err
	}
	return made.Name, nil
}
