package stage

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/progress"
	"github.com/parley-k8s/parley/framework/internal/runid"
)

// newFakeStage is the stage of a plan without pods, on a clientset that is no cluster.
func newFakeStage(o Options) (*Stage, *fake.Clientset) {
	kube := fake.NewClientset()
	o.Log = progress.New(true)
	s := &Stage{options: o, kube: kube, plan: world.Plan{Prefix: "parley-1-t3k9xq", Labels: map[string]string{runid.Label: "x"}, Workers: []string{"n1"}, Nodes: []string{"n1"}}}
	s.players = newPlayers(nil, kube, s.plan)
	return s, kube
}

func namespaces(t *testing.T, kube *fake.Clientset) (names []string) {
	t.Helper()
	list, err := kube.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, ns := range list.Items {
		names = append(names, ns.Name)
	}
	return names
}

func TestTheWorldIsRemovedWithTheStage(t *testing.T) {
	s, kube := newFakeStage(Options{})
	require.NoError(t, s.deployWorld(t.Context()))
	require.Len(t, namespaces(t, kube), len(s.plan.Namespaces()))
	_, there := s.players.Service(world.Web)
	require.True(t, there)
	s.Close(t.Context())
	s.Close(t.Context())
	require.Empty(t, namespaces(t, kube))
	require.NoError(t, s.Gone(t.Context()))
}

func TestAKeptWorldStays(t *testing.T) {
	s, kube := newFakeStage(Options{Keep: true})
	require.NoError(t, s.deployWorld(t.Context()))
	s.Close(t.Context())
	require.Len(t, namespaces(t, kube), len(s.plan.Namespaces()))
	require.NoError(t, s.Gone(t.Context()), "nobody waits for it")
}

// What was never made is not waited for: an OCI handler that the nodes lack is found before the world is planned.
func TestAWorldThatWasNotMadeIsGone(t *testing.T) {
	s, _ := newFakeStage(Options{})
	s.Close(t.Context())
	require.NoError(t, s.Gone(t.Context()))
}

func TestAWorldThatCanNotBeMadeIsRemovedAsFarAsItWas(t *testing.T) {
	s, kube := newFakeStage(Options{})
	kube.PrependReactor("create", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("the API server is away")
	})
	err := s.deployWorld(t.Context())
	require.ErrorContains(t, err, "making the Service parley-1-t3k9xq")
	require.ErrorContains(t, err, "the API server is away")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s.Close(context.WithoutCancel(ended))
	require.Empty(t, namespaces(t, kube))
}

func TestPullSecretsAreCopiedWithTheRunsLabels(t *testing.T) {
	s, _ := newFakeStage(Options{PullSecrets: []string{"registry/key"}})
	require.ErrorContains(t, s.deployWorld(t.Context()), "reading the pull secret registry/key")
	s.Close(t.Context())

	var kube *fake.Clientset
	s, kube = newFakeStage(Options{PullSecrets: []string{"registry/key"}})
	_, err := kube.CoreV1().Secrets("registry").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "key"}, Data: map[string][]byte{"k": []byte("v")}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.NoError(t, s.deployWorld(t.Context()))
	copied, err := kube.CoreV1().Secrets(s.plan.Main()).Get(t.Context(), "key", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, s.plan.Labels, copied.Labels)
	require.Equal(t, "v", string(copied.Data["k"]))

	s, _ = newFakeStage(Options{PullSecrets: []string{"key"}})
	require.ErrorContains(t, s.deployWorld(t.Context()), "name it as namespace/name")
}

func TestFaultsAreLiftedBeforeTheWorldGoes(t *testing.T) {
	s, kube := newFakeStage(Options{})
	require.NoError(t, s.deployWorld(t.Context()))
	var order []string
	s.Undo("lifting the fault of pod/x", func(context.Context) error {
		order = append(order, "lifted with "+strings.Join(namespaces(t, kube), " "))
		return nil
	})
	forget := s.Undo("lifting the fault of pod/y", func(context.Context) error { order = append(order, "pod/y"); return nil })
	forget()
	s.Close(t.Context())
	require.Len(t, order, 1)
	require.Contains(t, order[0], s.plan.Main(), "its namespace is there still")
}
