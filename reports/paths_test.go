package reports

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func measuredReport() *Report {
	r := New("1a-2b", began)
	r.Ended = began.Add(time.Minute)
	at := func(median, low, high time.Duration) Times { return Times{median, low, high} }
	r.Clusters = []Cluster{{Name: "kind-parley", Paths: []Path{
		{Name: "shared memory", From: "a", To: "b", Rounds: 5, LatencyP50: at(212, 208, 220), LatencyP99: at(1400, 1300, 21*time.Microsecond),
			Throughput: Rates{8.123e9, 8e9, 8.2e9}, Connections: Rates{51234.4, 50000, 52000}},
		{Name: "pod on another node", From: "a", To: "c", Rounds: 4, Trouble: "1 of 5 rounds failed: reset",
			LatencyP50: at(45123, 44*time.Microsecond, 47900), LatencyP99: at(120*time.Microsecond, 110*time.Microsecond, 2*time.Millisecond),
			Throughput: Rates{9.41e8, 9.2e8, 9.5e8}, Connections: Rates{7000, 6900, 7100}},
		{Name: "ClusterIP, pod\non another node", Missing: "connect: no answer\x1b[2J"},
	}}}
	return r
}

func TestPathsTable(t *testing.T) {
	golden(t, "paths.txt", written(t, func(w io.Writer, r *Report) error { return WriteSummary(w, r, false) }, measuredReport()))
}

func TestPathsSurviveTheirFile(t *testing.T) {
	for _, write := range []func(io.Writer, *Report) error{WriteJSON, WriteYAML} {
		want := measuredReport()
		doc := written(t, write, want)
		require.Contains(t, string(doc), "212ns")
		got, err := ReadReport(bytes.NewReader(doc))
		require.NoError(t, err)
		require.Equal(t, want.Clusters[0].Paths, got.Clusters[0].Paths)
	}
	require.Equal(t, 2, measuredReport().ExitCode(false), "what was measured is no verdict")
}

func TestRounds(t *testing.T) {
	require.Equal(t, Times{Median: 3, Low: 1, High: 9}, TimesOf([]time.Duration{9, 1, 3}))
	require.Equal(t, Rates{Median: 3, Low: 1, High: 9}, RatesOf([]float64{3, 9, 1}))
	require.Zero(t, TimesOf(nil))
	require.Zero(t, RatesOf(nil))
	for d, want := range map[time.Duration]string{0: "0s", 999: "999ns", 1234: "1.23µs", 45678: "45.7µs", 1234567: "1.23ms", 59995 * time.Millisecond: "1m0s"} {
		require.Equal(t, want, threeDigits(d), d)
	}
}
