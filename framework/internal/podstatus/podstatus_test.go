package podstatus

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestWhy(t *testing.T) {
	waiting := func(reason string, restarts int32) corev1.PodStatus {
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", RestartCount: restarts,
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "so it is"}}}}}
	}
	for name, tc := range map[string]struct {
		status corev1.PodStatus
		events []corev1.Event
		want   string
	}{
		"an image that is not there": {status: waiting("ErrImagePull", 0), want: "p, container c: ErrImagePull: so it is"},
		"ended": {
			status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c",
				State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3, Reason: "Error"}}}}},
			want: "p, container c ended with 3: Error",
		},
		"the newest warning": {
			status: waiting("ContainerCreating", 0),
			events: []corev1.Event{
				{Type: corev1.EventTypeWarning, Reason: "Old", Message: "no", LastTimestamp: metav1.NewTime(time.Unix(1, 0))},
				{Type: corev1.EventTypeNormal, Reason: "Scheduled", Message: "no", LastTimestamp: metav1.NewTime(time.Unix(3, 0))},
				{Type: corev1.EventTypeWarning, Reason: "FailedCreatePodSandBox", Message: "no plugin", EventTime: metav1.NewMicroTime(time.Unix(2, 0))},
			},
			want: "p: FailedCreatePodSandBox: no plugin",
		},
		"a condition": {
			status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "no node fits"}}},
			want:   "p: PodScheduled: no node fits",
		},
		"nothing known": {status: corev1.PodStatus{Phase: corev1.PodPending}, want: "p is Pending and no reason is given; see kubectl describe pod -n ns p"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"}, Status: tc.status}
			kube := fake.NewClientset()
			for i, e := range tc.events {
				e.Namespace, e.Name, e.InvolvedObject.UID = "ns", string(rune('a'+i)), pod.UID
				require.NoError(t, kube.Tracker().Add(&e))
			}
			require.Equal(t, tc.want, Why(t.Context(), kube, "p", pod))
		})
	}
	require.Equal(t, "p was never seen", Why(t.Context(), fake.NewClientset(), "p", nil))
}

func TestCrashing(t *testing.T) {
	state := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	pod := &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", RestartCount: 2, State: state}}}}
	require.Empty(t, Crashing(pod))
	pod.Status.ContainerStatuses[0].RestartCount = 3
	require.Equal(t, "c", Crashing(pod))
}
