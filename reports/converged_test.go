package reports

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

func TestQuantilesOf(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(100-i)*ms)
	}
	for _, c := range []struct {
		name  string
		times []time.Duration
		want  Quantiles
	}{
		{"none", nil, Quantiles{}},
		{"one", []time.Duration{7 * ms}, Quantiles{1, 7 * ms, 7 * ms, 7 * ms}},
		{"two", []time.Duration{9 * ms, 1 * ms}, Quantiles{2, 1 * ms, 9 * ms, 9 * ms}},
		{"three", []time.Duration{3 * ms, 1 * ms, 2 * ms}, Quantiles{3, 2 * ms, 3 * ms, 3 * ms}},
		{"a hundred", hundred, Quantiles{100, 50 * ms, 99 * ms, 100 * ms}},
	} {
		require.Equal(t, c.want, QuantilesOf(c.times), c.name)
	}
}

func TestConvergedInReport(t *testing.T) {
	r := New("x", time.Time{})
	r.Clusters = []Cluster{{Name: "c", Results: []Result{
		{ID: "service/readiness", Chapter: "service", Level: Must, Outcome: Passed, Converged: []Converged{
			{What: "an endpoint turns ready", Samples: []ConvergedSample{{"n1", "IPv4", 20 * ms, 10 * ms}, {"n2", "IPv4", 40 * ms, 0}}}}},
		{ID: "service/other", Chapter: "service", Level: Must, Outcome: Passed, Converged: []Converged{
			{What: "an endpoint turns ready", Samples: []ConvergedSample{{"n1", "IPv6", 1200 * ms, 1100 * ms}}}}},
	}}}
	var b bytes.Buffer
	require.NoError(t, WriteJSON(&b, r))
	require.Contains(t, b.String(), `"firstRight": "20ms"`)
	require.Contains(t, b.String(), `"max": "40ms"`)
	back, err := ReadReport(&b)
	require.NoError(t, err)
	require.Equal(t, r.Clusters[0].Results, back.Clusters[0].Results)

	require.NoError(t, WriteSummary(&b, r, false))
	require.Regexp(t, `an endpoint turns ready +40ms +1\.2s +1\.2s +10ms +1\.1s +1\.1s +3`, b.String())
}
