package reports

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "see the difference, and if it is meant: go test ./reports -update")
}

func written(t *testing.T, write func(io.Writer, *Report) error, r *Report) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, write(&b, r))
	return b.Bytes()
}

var began = time.Date(2026, 3, 1, 10, 0, 0, 0, time.FixedZone("", 3600))

func natFailure() *Failure {
	return &Failure{
		Requirement: "pod/no-nat-cross-node",
		From:        "client (node worker, 10.244.1.5)", To: "server (node worker2, 10.244.2.7:8080)",
		Protocol: "TCP over IPv4",
		Expected: "the server to see the client's own address 10.244.1.5",
		Observed: "the server saw 172.18.0.3, the address of node worker",
		Attempts: 5, Took: 10*time.Second + 21*time.Millisecond,
		FirstBrokenHop: "pod on another node",
		Again:          "kubectl -n parley-1a-2b exec client -- /agent get 10.244.2.7:8080",
	}
}

// exampleReport has a result of every kind.
func exampleReport() *Report {
	r := New("1a-2b", began)
	r.Host, r.Ended = "builder", began.Add(151*time.Second)
	r.Clusters = []Cluster{{
		Name: "kind-parley",
		Facts: []Fact{{"kubernetes", "v1.36.3"}, {"runtime", "containerd 2.4.2"}, {"cni", "ptp & routes"},
			{"nodes", "1 control plane, 2 workers"}},
		Results: []Result{
			{ID: "pod/ip-unique", Title: "every pod has an address of its own", Chapter: "pod", Level: Must,
				Clause:  Clause{"https://kubernetes.io/docs/concepts/services-networking/", "every pod gets its own IP address"},
				Outcome: Passed, Started: began.Add(40 * time.Second), Took: 120 * time.Millisecond,
				Verdicts: []Verdict{{"IPv4", Passed, ""}, {"IPv6", Unsupported, "no node has an IPv6 pod range"}},
				Proof: &Proof{State: Proved, How: "variant: two hostNetwork pods", Point: "fixture",
					Red: "a and b both have 172.18.0.3", Took: 3204 * time.Millisecond},
				Notes: []string{"the pod range is 10.244.0.0/16"}},
			{ID: "pod/no-nat-cross-node", Title: "a pod on another node sees the client's own address", Chapter: "pod",
				Level: Must, Outcome: Failed, Failure: natFailure(), Started: began.Add(39 * time.Second), Took: 10 * time.Second,
				Proof: &Proof{State: ProofNotRun, Reason: "it was not green to begin with"}},
			{ID: "container/unix-fd-passing", Title: "a passed descriptor can be used", Chapter: "container", Level: Should,
				Outcome: Failed, Warning: true, Took: time.Second, Failure: &Failure{Requirement: "container/unix-fd-passing",
					From: "a", To: "b", Protocol: "unix stream", Expected: "a readable descriptor", Observed: "errno EBADF\nafter \x1b[31m\xff"}},
			{ID: "container/loopback-tcp", Title: "siblings talk on localhost", Chapter: "container", Level: Must,
				Outcome: Passed, Took: 5 * time.Millisecond,
				Proof: &Proof{State: Unproved, How: "fault: drop tcp on lo", Reason: "gVisor has a network stack of its own"}},
			{ID: "container/loopback-sctp", Title: "siblings talk SCTP", Chapter: "container", Level: Optional,
				Outcome: Unsupported, Reason: "socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP): protocol not supported"},
			{ID: "dns/service-a", Title: "a service's name resolves", Chapter: "dns", Level: Must,
				Outcome: Errored, Reason: "the pod dns-client did not start: ImagePullBackOff"},
			{ID: "dns/nxdomain", Title: "a name that is not there is said not to be", Chapter: "dns", Level: Must,
				Outcome: Passed, Took: 2 * time.Millisecond,
				Proof: &Proof{State: Refuted, How: "fault: answer for it", Point: "node", Reason: "it stayed green"}},
			{ID: "service/hairpin", Chapter: "service", Level: Must, Outcome: Skipped, Reason: "not selected by -run"},
			{ID: "service/headless", Chapter: "service", Level: Must, Outcome: Skipped, Reason: "not selected by -run"},
		},
	}}
	return r
}
