package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests"
)

// rows are the requirements of these IDs.
func rows(t *testing.T, ids ...string) (found []requirement.Requirement) {
	t.Helper()
	for _, q := range tests.All() {
		if slices.Contains(ids, q.ID) {
			found = append(found, q)
		}
	}
	require.Len(t, found, len(ids))
	return found
}

// What demands that nobody answers is content with an error at once, whichever it is: firewalls answer "prohibited" and balancers
// in connect(2) "not permitted". Silence and an answer are failures.
func TestAnErrorAtOnceIsARejection(t *testing.T) {
	t.Parallel()
	for class, reason := range map[wire.Class]requirement.Reason{
		wire.Refused: "", wire.Unreachable: "", wire.Denied: "", wire.Reset: "", wire.TimedOut: requirement.NoAnswer, wire.OK: requirement.Answered,
	} {
		for _, q := range rows(t, "service/no-endpoints-refused", "service/closed-target-refused", "pod/closed-port-refuses", "pod/closed-udp-port-refuses") {
			t.Run(q.ID+" "+string(class), func(t *testing.T) {
				t.Parallel()
				players := newFakePlayers()
				behind := netip.MustParseAddr(players.services[world.NearAlone].Spec.ClusterIP)
				players.names[behind] = players.ends[world.WebNear][0].Pod
				players.dialled = func(address string) wire.Errno {
					if address == requirement.At(behind, world.ServicePort) {
						return wire.Errno{}
					}
					return wire.Errno{Class: class}
				}
				err := q.Check(t.Context(), &requirement.Env{Requirement: &q, Family: corev1.IPv4Protocol, Attempt: time.Second, Players: players, World: players.plan, Base: 20000})
				if reason == "" {
					require.NoError(t, err)
					return
				}
				require.NotNil(t, requirement.AsFailure(err), "%v", err)
				require.Equal(t, reason, requirement.AsFailure(err).Reason)
			})
		}
	}
}

// forbidden is an API server that lets this user, alice, do nothing.
func forbidden(t *testing.T, refused *atomic.Int32) (kubernetes.Interface, *rest.Config) {
	t.Helper()
	config := &rest.Config{Host: "https://192.0.2.1", QPS: -1, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		refused.Add(1)
		said := fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,`+
			`"message":"%s is forbidden: User \"alice\" cannot %s resource \"things\" in API group \"\""}`, r.URL.Path, strings.ToLower(r.Method))
		return &http.Response{StatusCode: http.StatusForbidden, Request: r, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(said))}, nil
	})}
	config.ContentType = "application/json"
	kube, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return kube, config
}

// A request that is refused for want of a right says nothing about the cluster: no check makes a verdict of it in which that can't be
// read any more.
func TestNoCheckTakesAMissingRightForAVerdict(t *testing.T) {
	t.Parallel()
	for _, q := range tests.All() {
		t.Run(q.ID, func(t *testing.T) {
			t.Parallel()
			players := newFakePlayers()
			judge := func(kube kubernetes.Interface, config *rest.Config) (err error) {
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				env := &requirement.Env{Requirement: &q, Kube: kube, Config: config, Family: corev1.IPv4Protocol, Attempt: 10 * time.Millisecond,
					Players: players, World: players.plan, Base: 20000}
				defer func() {
					if said := recover(); said != nil {
						err = fmt.Errorf("%v", said) // nothing is there to be judged
					}
				}()
				defer func() { _ = env.CleanUp(ctx) }() // it removes nothing that there is
				return requirement.WithoutRight(q.Check(ctx, env), "alice")
			}
			var refused atomic.Int32
			kube, config := forbidden(t, &refused)
			err := judge(kube, config)
			if refused.Load() == 0 || err == nil || errors.Is(err, context.DeadlineExceeded) {
				return // it asked for nothing, or got on without it
			}
			var lacks *requirement.NotPermitted
			require.ErrorAs(t, err, &lacks, "of %d requests that were refused", refused.Load())
		})
	}
}
