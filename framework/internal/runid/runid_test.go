package runid

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOwnRunIsAlive(t *testing.T) {
	id, err := New()
	require.NoError(t, err)
	require.True(t, id.Alive())
	got, ok := Parse(id.Name("control-plane"))
	require.True(t, ok)
	require.Equal(t, id, got)
	require.True(t, id.Owns(id.Name()))
	require.False(t, id.Owns("parley-node"))
}

func TestDeadOwnerIsNotAlive(t *testing.T) {
	child := exec.Command("sleep", "60")
	require.NoError(t, child.Start())
	id, err := of(int32(child.Process.Pid))
	require.NoError(t, err)
	require.True(t, id.Alive())
	require.NoError(t, child.Process.Kill())
	_ = child.Wait() // killed: the error says only that
	require.False(t, id.Alive())
}

func TestReusedProcessIDIsNotTheOwner(t *testing.T) {
	id, err := of(int32(os.Getpid()))
	require.NoError(t, err)
	pid, _, err := id.owner()
	require.NoError(t, err)
	require.EqualValues(t, os.Getpid(), pid)
	earlier := ID(string(id[:len(id)-6]) + "000000")
	require.False(t, earlier.Alive(), "same process number, another start time")
}

func TestParse(t *testing.T) {
	for name, ok := range map[string]bool{
		"parley-4242-t3k9xq":               true,
		"parley-4242-t3k9xq-control-plane": true,
		"parley-4242-t3k9xq:agent":         true,
		"parley-node":                      false,
		"parley-agent:latest":              false,
		"parley-3f2-t3k9xq":                false,
		"kind-control-plane":               false,
		"parley-node-image-1234":           false,
		"parley-99999999999-t3k9xq":        false,
		"":                                 false,
	} {
		_, got := Parse(name)
		require.Equal(t, ok, got, name)
	}
}
