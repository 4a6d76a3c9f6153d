package lab

import (
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// The role that users are told to bind has to hold every right that a run asks for.
func TestManifestGrantsWhatIsNeeded(t *testing.T) {
	raw, err := os.ReadFile("../../../manifests/rbac/parley.yaml")
	require.NoError(t, err)
	var role rbacv1.ClusterRole
	require.NoError(t, yaml.UnmarshalStrict(raw, &role))
	for _, n := range needed {
		resource := n.Resource
		if n.Subresource != "" {
			resource += "/" + n.Subresource
		}
		require.True(t, slices.ContainsFunc(role.Rules, func(r rbacv1.PolicyRule) bool {
			return slices.Contains(r.APIGroups, n.Group) && slices.Contains(r.Resources, resource) && slices.Contains(r.Verbs, n.Verb)
		}), "%s %s", n.Verb, resource)
	}
}
