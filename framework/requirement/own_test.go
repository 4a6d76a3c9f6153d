package requirement

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/parley-k8s/parley/fixtures/world"
)

// clientOf is a client of one kind that answers as it is told.
type clientOf[T metav1.Object] struct {
	refuses, undeletable error
	deleted              []string
	options              metav1.DeleteOptions
}

func (c *clientOf[T]) Create(_ context.Context, object T, _ metav1.CreateOptions) (T, error) {
	if object.GetName() == "" {
		object.SetName(object.GetGenerateName() + "x7")
	}
	object.SetUID(types.UID("uid of " + object.GetName()))
	return object, c.refuses
}

func (c *clientOf[T]) Delete(_ context.Context, name string, options metav1.DeleteOptions) error {
	c.deleted, c.options = append(c.deleted, name), options
	return c.undeletable
}

func TestOwnRemovesAfterTheCheck(t *testing.T) {
	services := schema.GroupResource{Resource: "services"}
	for name, c := range map[string]struct {
		undeletable error
		says        string
	}{
		"it is there":             {},
		"it is gone":              {apierrors.NewNotFound(services, "own-x7"), ""},
		"another has its name":    {apierrors.NewConflict(services, "own-x7", errors.New("another UID")), ""},
		"the API server does not": {errors.New("no"), "removing the Service ns/own-x7: no"},
	} {
		t.Run(name, func(t *testing.T) {
			client := &clientOf[*corev1.Service]{undeletable: c.undeletable}
			env := &Env{Requirement: &Requirement{ID: "a/own"}}
			made, err := Own(t.Context(), env, client, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", GenerateName: "own-"}})
			require.NoError(t, err)
			require.Equal(t, "own-x7", made.Name)
			require.Empty(t, client.deleted)
			err = env.CleanUp(t.Context())
			require.Equal(t, []string{"own-x7"}, client.deleted)
			require.Equal(t, types.UID("uid of own-x7"), *client.options.Preconditions.UID)
			if c.says == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, c.says)
			}
			require.NoError(t, env.CleanUp(t.Context()), "it is removed once")
		})
	}
}

func TestCreateSaysWhatItMade(t *testing.T) {
	refused := apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "n", errors.New("no right"))
	made, remove, err := Create(t.Context(), &clientOf[*corev1.Node]{refuses: refused}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}})
	require.Nil(t, made)
	require.Nil(t, remove)
	require.ErrorContains(t, err, "making the Node n: ")
	require.True(t, apierrors.IsForbidden(err))

	env := &Env{Requirement: &Requirement{ID: "a/own"}}
	_, err = Own(t.Context(), env, &clientOf[*corev1.Pod]{refuses: errors.New("no")}, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", GenerateName: "p-"}})
	require.ErrorContains(t, err, "making the Pod ns/p-")
	require.NoError(t, env.CleanUp(t.Context()), "there is nothing to remove")
}

func TestDeletions(t *testing.T) {
	pods, deployments := &clientOf[*corev1.Pod]{}, &clientOf[*appsv1.Deployment]{}
	_, remove, err := Create(t.Context(), pods, &corev1.Pod{}, AtOnce)
	require.NoError(t, err)
	require.NoError(t, remove(t.Context()))
	require.Zero(t, *pods.options.GracePeriodSeconds)
	_, remove, err = Create(t.Context(), deployments, &appsv1.Deployment{}, WithDependents)
	require.NoError(t, err)
	require.NoError(t, remove(t.Context()))
	require.Equal(t, metav1.DeletePropagationBackground, *deployments.options.PropagationPolicy)
}

func TestLabelsAreACopy(t *testing.T) {
	env := &Env{Requirement: &Requirement{ID: "a/own"}, World: world.Plan{Prefix: "parley-r", Labels: map[string]string{RunLabel: "r"}}}
	meta := env.ObjectMeta("")
	require.Equal(t, metav1.ObjectMeta{GenerateName: "a-own-", Namespace: "parley-r", Labels: map[string]string{RunLabel: "r"}}, meta)
	meta.Labels["more"] = "yes"
	require.Equal(t, map[string]string{RunLabel: "r"}, env.World.Labels)
	require.Equal(t, "given-", env.ObjectMeta("given-").GenerateName)
}
