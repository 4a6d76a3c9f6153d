package external

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

const (
	wrongBackend = "wrong-backend"
	// routeInForce bounds the time until a proxy has taken up a new route; reloading takes some of them seconds.
	routeInForce = 30 * time.Second
	webPort      = 80
	webTLSPort   = 443
)

// sites are two HTTP servers in two pods, each behind a Service of the check's own.
type sites struct {
	first, second backend
	host          string // a name under which nobody else is asked for anything
}

type backend struct {
	service string
	end     *requirement.End
}

// openSites opens both. Under the variant that swaps the backends the first Service's name is the second's.
func openSites(ctx context.Context, env *requirement.Env) (*sites, error) {
	var random [6]byte
	_, _ = rand.Read(random[:]) // never fails, by its contract
	s := &sites{host: hex.EncodeToString(random[:]) + ".parley.example"}
	for _, b := range []struct {
		to    *backend
		role  world.Role
		label string
	}{{&s.first, world.WebNear, "nodeport"}, {&s.second, world.SiblingA, "hairpin"}} {
		end := env.Role(b.role)
		opened, err := end.Listen(ctx, wire.Listen{Network: "http", Address: fmt.Sprintf(":%d", env.Port(0))})
		if err == nil && !opened.Ok() {
			err = errors.New(opened.Errno.String())
		}
		if err != nil {
			return nil, fmt.Errorf("opening an HTTP server in %s: %w", end, err)
		}
		env.Defer(func(ctx context.Context) error { exchange.Release(ctx, end, opened.Handle); return nil })
		service, err := makeService(ctx, env, env.World.NewService("site", b.label, corev1.ServicePort{Name: "http", Protocol: corev1.ProtocolTCP,
			Port: webPort, TargetPort: intstr.FromInt(env.Port(0))}))
		if err != nil {
			return nil, fmt.Errorf("making a Service: %w", err)
		}
		*b.to = backend{service.Name, end}
	}
	if env.Fixture(wrongBackend) {
		s.first.service = s.second.service
	}
	return s, nil
}

// visit is one request from the outside.
type visit struct {
	at     netip.Addr // where the proxy is
	host   string
	path   string
	header map[string]string
	ca     []byte // over TLS, with a certificate that leads to it
}

func (v visit) url() string {
	if v.ca != nil {
		return "https://" + v.host + v.path
	}
	return "http://" + v.host + v.path
}

func (v visit) once(ctx context.Context, env *requirement.Env) (wire.HTTPAnswer, error) {
	client, port := env.Role(world.Outside), webPort
	if v.ca != nil {
		port = webTLSPort
	}
	got, err := client.HTTP(ctx, wire.HTTP{URL: v.url(), Address: requirement.At(v.at, port), Header: v.header, CA: v.ca,
		Timeout: int(env.Attempt / time.Millisecond)})
	if err != nil {
		return got, fmt.Errorf("asking %s to get %s at %s: %w", client, v.url(), v.at, err)
	}
	return got, nil
}

// reaches says whether the request is answered by the backend, with its host and path as they were sent.
//
// The routes were made a moment ago: another of the backends may answer while the proxy takes them up.
func (v visit) reaches(ctx context.Context, env *requirement.Env, to backend) error {
	return env.Converges(ctx, func(ctx context.Context) error {
		got, err := v.once(ctx, env)
		if err != nil {
			return err
		}
		failure := v.failure(env, "an answer by "+to.end.Pod+" to "+v.url())
		failure.To = to.end
		switch {
		case !got.Ok():
			failure.Reason, failure.Observed = requirement.ReasonOf(got.Errno), got.Errno.String()
		case got.Status != http.StatusOK || got.Witness == nil:
			failure.Reason, failure.Observed = requirement.WrongAnswer, fmt.Sprintf("status %d, %.100q", got.Status, got.Body)
		case got.Witness.Who != to.end.Pod:
			failure.Reason, failure.Observed = requirement.WrongPeer, "an answer by "+got.Witness.Who
		case got.Witness.Path != v.path:
			failure.Reason, failure.Observed = requirement.Broken, "the backend asked for "+got.Witness.Path
		default:
			return nil
		}
		return failure
	})
}

// reachesNone says whether none of the backends answers: several requests in a row get something else from the proxy, or an error at once.
// One that is lost says nothing.
func (v visit) reachesNone(ctx context.Context, env *requirement.Env, why string) error {
	return env.Converges(ctx, func(ctx context.Context) error {
		for range exchange.SilentInRow {
			got, err := v.once(ctx, env)
			if err != nil {
				return err
			}
			failure := v.failure(env, "no backend to answer "+v.url()+", "+why)
			switch {
			case got.Witness != nil:
				failure.Reason, failure.Observed = requirement.Answered, "an answer by "+got.Witness.Who
				return failure
			case got.Class == wire.TimedOut:
				failure.Expected = "the proxy to answer " + v.url() + " itself, or to refuse it"
				failure.Reason, failure.Observed = requirement.NoAnswer, got.Errno.String()
				return failure
			}
		}
		return nil
	})
}

func (v visit) failure(env *requirement.Env, expected string) *requirement.Failure {
	return &requirement.Failure{From: env.Role(world.Outside), Target: v.url() + " at " + v.at.String(), Protocol: "http", Expected: expected}
}

// comeIn waits until the new route answers in any way that is not the proxy's own, with a patience that a control does
// not shorten: what it changes comes out of the answer, not of its absence. What never comes is judged afterwards.
func (v visit) comeIn(ctx context.Context, env *requirement.Env) error {
	patience := env.Patience
	env.Patience = routeInForce
	defer func() { env.Patience = patience }()
	err := env.Until(ctx, func(ctx context.Context) error {
		got, err := v.once(ctx, env)
		if err != nil {
			return err
		}
		if got.Witness == nil {
			failure := v.failure(env, "an answer to "+v.url())
			failure.Reason, failure.Observed = requirement.WrongAnswer, fmt.Sprintf("status %d", got.Status)
			if !got.Ok() {
				failure.Reason, failure.Observed = requirement.ReasonOf(got.Errno), got.Errno.String()
			}
			return failure
		}
		return nil
	})
	return err
}
