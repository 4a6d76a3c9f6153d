package runid

import (
	"os"
	"os/exec"
	"strings"
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
	number, rest, _ := strings.Cut(string(id), "-")
	earlier := ID(number + "-000000" + rest[startLength:])
	require.False(t, earlier.Alive(), "same process number, another start time")
}

// What nobody can tell counts as alive: a number of another PID namespace, of another boot or of another machine.
func TestOwnerElsewhereCountsAsAlive(t *testing.T) {
	here := place()
	if here == "" {
		t.Skip("this system tells neither boot nor PID namespace")
	}
	require.Len(t, here, 5)
	require.False(t, ID("2147483647-000000"+here).Alive(), "here there is no such process")
	require.True(t, ID("2147483647-00000012345").Alive(), "elsewhere there may be one")
	require.False(t, ID("2147483647-000000").Alive(), "of an older Parley, which does not say where")
	got, ok := Parse(ID("2147483647-000000" + here).Name("agent"))
	require.True(t, ok)
	require.Equal(t, ID("2147483647-000000"+here), got)
}

func TestParse(t *testing.T) {
	for name, ok := range map[string]bool{
		"parley-4242-t3k9xq":               true,
		"parley-4242-t3k9xq-control-plane": true,
		"parley-4242-t3k9xq:agent":         true,
		"parley-4242-t3k9xqab3de":          true,
		"parley-4242-t3k9xqab3de-worker2":  true,
		"parley-4242-t3k9xqab":             false,
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
