package fault

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/requirement"
)

// A pod whose namespace has the node's number, and is not the node's, is of another kernel: the rules would be the node's.
func TestOwnKernel(t *testing.T) {
	pod := &requirement.End{Role: "pod on the same node", Namespace: "n", Pod: "p", Container: "c", Node: "w"}
	require.NoError(t, ownKernel(pod, 4026532001, 4026531840))
	require.ErrorContains(t, ownKernel(pod, 4026531840, 4026531840), "a kernel of its own")
}
