package requirement

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	proxyRefused = `pods "every-0:20000" is forbidden: User "alice" cannot get resource "pods/proxy" in API group "" in the namespace "parley-1"`
	leaseRefused = `leases.coordination.k8s.io "n1" is forbidden: User "system:serviceaccount:ci:parley" cannot get resource "leases" in API group "coordination.k8s.io" in the namespace "kube-node-lease": RBAC: clusterrole.rbac.authorization.k8s.io "x" not found`
	pathRefused  = `forbidden: User "alice" cannot get path "/apis/gateway.networking.k8s.io/v1"`
)

func TestRefusedRight(t *testing.T) {
	for text, is := range map[string]Right{
		proxyRefused: {User: "alice", Verb: "get", On: "pods/proxy"},
		leaseRefused: {User: "system:serviceaccount:ci:parley", Verb: "get", On: "leases", Group: "coordination.k8s.io"},
		pathRefused:  {User: "alice", Verb: "get", On: "/apis/gateway.networking.k8s.io/v1"},
		`unknown (get pods every-0:20000) {"message":"pods \"every-0:20000\" is forbidden: User \"alice\" cannot get resource \"pods/proxy\" in API group \"\" in the namespace \"x\""}`: {User: "alice", Verb: "get", On: "pods/proxy"},
		`User "a\"b" cannot delete resource "pods" in API group ""`: {User: `a"b`, Verb: "delete", On: "pods"},

		`pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged`:                              {},
		`services "x" is forbidden: exceeded quota: q, requested: services=1`:                                      {},
		`Use of external IPs is denied by admission control.`:                                                      {},
		`Forbidden (user=kube-apiserver-kubelet-client, verb=get, resource=nodes, subresource(s)=[proxy configz])`: {},
	} {
		right, ok := RefusedRight(text)
		require.Equal(t, is, right, text)
		require.Equal(t, is != Right{}, ok, text)
	}
}

func FuzzRefusedRight(f *testing.F) {
	f.Add(proxyRefused)
	f.Add(leaseRefused)
	f.Add(pathRefused)
	f.Fuzz(func(t *testing.T, text string) {
		if right, ok := RefusedRight(text); ok && (right.Verb == "" || right.On == "") {
			t.Errorf("%q is taken for %+v", text, right)
		}
	})
}

func TestARightThatIsMissingIsNotWaitedFor(t *testing.T) {
	e := &Env{Requirement: &Requirement{ID: "a/b"}, User: "alice", Patience: time.Minute}
	tried := 0
	err := e.Until(t.Context(), func(context.Context) error {
		tried++
		return &Failure{Reason: Broken, Observed: proxyRefused}
	})
	require.Error(t, err)
	require.Equal(t, 1, tried)
}

func TestWithoutRight(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		user  string
		right string // "" where the error stays what it is
	}{
		"an error":                      {fmt.Errorf("listing: %w", errors.New(leaseRefused)), "system:serviceaccount:ci:parley", "get leases.coordination.k8s.io"},
		"a failure made of it":          {&Failure{Reason: Broken, Observed: proxyRefused}, "alice", "get pods/proxy"},
		"unsupported for it":            {&Unsupported{Probed: "not served: " + pathRefused}, "alice", "get /apis/gateway.networking.k8s.io/v1"},
		"the user is not known":         {errors.New(proxyRefused), "", "get pods/proxy"},
		"refused to a pod":              {&Failure{Reason: Denied, Observed: leaseRefused}, "alice", ""},
		"refused to a pod, not known":   {&Failure{Reason: Denied, Observed: leaseRefused}, "", ""},
		"another failure":               {&Failure{Reason: NoAnswer, Observed: "timed out"}, "alice", ""},
		"refused by admission":          {&Unsupported{Probed: `services "x" is forbidden: exceeded quota: q`}, "alice", ""},
		"refused, and it is found once": {WithoutRight(errors.New(proxyRefused), "alice"), "alice", "get pods/proxy"},
	} {
		t.Run(name, func(t *testing.T) {
			got := WithoutRight(c.err, c.user)
			var n *NotPermitted
			if c.right == "" {
				require.Equal(t, c.err, got)
				return
			}
			require.ErrorAs(t, got, &n)
			require.Equal(t, c.right, n.Right.String())
			require.Contains(t, got.Error(), "the right to "+c.right+" is missing: grant it to "+n.Right.User)
			require.NotErrorAs(t, n.Err, new(*NotPermitted))
		})
	}
	require.NoError(t, WithoutRight(nil, "alice"))
}
