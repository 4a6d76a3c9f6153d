package container

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

func TestInOrder(t *testing.T) {
	require.True(t, inOrder([]string{"create x", "modify x", "modify x", "close-write x"}, []string{"create x", "modify x", "close-write x"}))
	require.False(t, inOrder([]string{"close-write x", "create x"}, []string{"create x", "close-write x"}))
	require.False(t, inOrder(nil, []string{"create x"}))
	require.True(t, inOrder([]string{"modify x"}, nil))
}

func TestStateWords(t *testing.T) {
	for want, s := range map[string]corev1.ContainerStatus{
		"no state yet":                     {},
		"running":                          {Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
		"running, not ready, 2 restarts":   {RestartCount: 2, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
		"waiting (CrashLoopBackOff)":       {State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}},
		"ended with 2 (Error), 1 restarts": {RestartCount: 1, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 2, Reason: "Error"}}},
	} {
		require.Equal(t, want, stateWords(s))
	}
}

func TestRunningAndStatusOf(t *testing.T) {
	runs := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a"}}}, Status: corev1.PodStatus{
		ContainerStatuses:          []corev1.ContainerStatus{{Name: "a", State: runs}},
		InitContainerStatuses:      []corev1.ContainerStatus{{Name: "side", RestartCount: 3}},
		EphemeralContainerStatuses: []corev1.ContainerStatus{{Name: "debugger", State: runs}},
	}}
	require.True(t, running()(pod))
	require.True(t, running("a", "debugger")(pod))
	require.False(t, running("a", "side")(pod))
	require.False(t, running("none")(pod))
	require.Equal(t, int32(3), statusOf(pod, "side").RestartCount)
}

func TestHasAddress(t *testing.T) {
	id := wire.Identity{Interfaces: []wire.Interface{{Addrs: []string{"127.0.0.1/8"}}, {Addrs: []string{"10.244.1.5/24", "fd00::5/64"}}}}
	require.True(t, hasAddress(id, "fd00::5"))
	require.False(t, hasAddress(id, "10.244.1.50"))
}
