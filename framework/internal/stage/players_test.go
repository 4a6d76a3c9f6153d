package stage

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

func TestWhatACheckFoundLackingIsUnsupportedForTheRest(t *testing.T) {
	c := newPlayers(nil, nil, world.Plan{})
	needs := requirement.Requirement{Needs: []requirement.Feature{requirement.LoadBalanced}}
	outcome, why := c.missingFor(needs, "")
	require.Empty(t, outcome)
	require.Empty(t, why)

	c.MarkAbsent(requirement.LoadBalanced, "nobody gave an address")
	outcome, why = c.missingFor(needs, "")
	require.Equal(t, reports.Unsupported, outcome)
	require.Equal(t, "nobody gave an address", why)
	outcome, _ = c.missingFor(requirement.Requirement{Needs: []requirement.Feature{requirement.OutsideHost}}, "")
	require.Empty(t, outcome)
}
