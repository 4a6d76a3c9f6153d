package lab

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/internal/cluster"
)

func TestRuntimesOf(t *testing.T) {
	one := cluster.Node{RuntimeVersion: "containerd://2.4.2"}
	require.Equal(t, []string{"containerd://2.4.2"}, runtimesOf([]cluster.Node{one, one}))
	require.Equal(t, []string{"containerd://2.4.2", "cri-o://1.37.0"}, runtimesOf([]cluster.Node{one, {RuntimeVersion: "cri-o://1.37.0"}}))
	require.Empty(t, runtimesOf(nil))
}
