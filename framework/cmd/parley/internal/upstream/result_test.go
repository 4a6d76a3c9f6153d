package upstream

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/cmd/parley/internal/upstream/ginkgo"
	"github.com/parley-k8s/parley/reports"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestOfReport(t *testing.T) {
	r := reports.New("1-abcdef", time.Now())
	r.Interrupted = "interrupted by SIGINT"
	r.Clusters = []reports.Cluster{{Results: []reports.Result{
		{ID: "pod/a", Level: reports.Must, Outcome: reports.Passed},
		{ID: "pod/b", Level: reports.Must, Outcome: reports.Failed, Took: 2 * time.Second,
			Failure: &reports.Failure{From: "client", To: "server", Expected: "an answer", Observed: "none"}},
		{ID: "pod/c", Level: reports.Should, Outcome: reports.Failed, Reason: "not so"},
		{ID: "pod/d", Level: reports.Must, Outcome: reports.Errored, Reason: "no fixture"},
		{ID: "pod/e", Level: reports.Must, Outcome: reports.Unsupported, Reason: "no SCTP"},
		{ID: "pod/f", Level: reports.Must, Outcome: reports.Skipped, Reason: "slow"},
	}}}
	side := reportSide(r)
	require.Equal(t, 3, side.Judged)
	require.Equal(t, 2, side.NotAsked)
	require.Equal(t, "interrupted by SIGINT", side.Ended)
	require.Len(t, side.Reds, 2)
	require.Equal(t, r.Clusters[0].Results[1].Sentence(), side.Reds[0].Message)
	require.Positive(t, side.Reds[0].Bytes)
	require.Equal(t, []bool{false, true}, []bool{side.Reds[0].Warning, side.Reds[1].Warning})
	require.Equal(t, []Red{{Name: "pod/d", Message: "no fixture", Bytes: side.Unjudged[0].Bytes}}, side.Unjudged)
}

func TestOfSpecs(t *testing.T) {
	side := specsSide([]ginkgo.Spec{
		{Name: "a", Passed: true, Took: time.Second},
		{Name: "b", First: "1 out of 2 connections failed", Bytes: 52000, Took: 121 * time.Second},
		{Name: "c", First: "pod never ran", Bytes: 10, NoImage: "registry.example/x:1"},
	})
	require.Equal(t, Side{Judged: 2,
		Reds:     []Red{{Name: "b", Message: "1 out of 2 connections failed", Bytes: 52000, Took: 121}},
		Unjudged: []Red{{Name: "c", Message: "its image registry.example/x:1 is not to be had", Bytes: 10}}}, side)
}

func side(judged int, reds ...string) Side {
	s := Side{Judged: judged}
	for _, name := range reds {
		s.Reds = append(s.Reds, Red{Name: name, Message: "why"})
	}
	return s
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name          string
		rounds        []Round
		upstream, own []int // new reds, round by round
	}{
		{"no rounds", nil, nil, nil},
		{"all green", []Round{{Name: "healthy"}, {Name: "udp"}}, []int{0, 0}, []int{0, 0}},
		{"the fault alone", []Round{{Name: "healthy"}, {Name: "udp", Parley: side(5, "a", "b")}}, []int{0, 0}, []int{0, 2}},
		{"red before", []Round{{Name: "healthy", Upstream: side(3, "x"), Parley: side(5, "a")},
			{Name: "udp", Upstream: side(3, "x"), Parley: side(5, "a", "b")}}, []int{1, 0}, []int{1, 1}},
		{"the other suite's red is not this one's", []Round{{Name: "healthy", Upstream: side(3, "a")}, {Name: "udp", Parley: side(5, "a")}},
			[]int{1, 0}, []int{0, 1}},
		{"no healthy round", []Round{{Name: "udp", Parley: side(5, "a")}, {Name: "size", Parley: side(5, "a")}}, []int{0, 0}, []int{1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := &Comparison{Rounds: c.rounds}
			all.compare()
			all.compare() // each round is followed by one
			var upstream, own []int
			for _, r := range all.Rounds {
				upstream, own = append(upstream, r.Upstream.NewReds()), append(own, r.Parley.NewReds())
			}
			require.Equal(t, c.upstream, upstream)
			require.Equal(t, c.own, own)
		})
	}
}

func TestWriteText(t *testing.T) {
	c := &Comparison{Kubernetes: "v1.36.3", Cluster: "Kubernetes v1.36.3, 3 nodes, CNI ptp, kube-proxy in iptables mode",
		StandIns: []string{"registry.example/agnhost:2.63.0"},
		Rounds: []Round{
			{Name: "healthy", Title: "healthy", Upstream: Side{Wall: 118.04, Judged: 47}, Parley: side(2, "pod/a")},
			{Name: "udp", Title: "UDP between nodes dropped, DNS apart", Where: "on worker, worker2",
				Upstream: Side{Wall: 240, Judged: 46, Acted: 812, Ended: "not done within 20m0s",
					Reds:     []Red{{Name: "[sig-network] Granular Checks", Message: "1 out of 2 connections failed", Bytes: 52000, Took: 121}},
					Unjudged: []Red{{Name: "[sig-network] latency", Message: "its image x is not to be had"}}},
				Parley: Side{Wall: 45.25, Judged: 3, Acted: 64, Reds: []Red{
					{Name: "pod/a", Message: "why"},
					{Name: "pod/udp", Message: strings.Repeat("long ", 300) + "\nsecond line", Bytes: 1010, Took: 10.2, Warning: true}}}},
			{Name: "size", Title: "packets over 1200 bytes lost between nodes", Where: "on worker", Upstream: Side{Ended: "no report"}, Parley: Side{Judged: 3, NotAsked: 12}},
		}}
	c.compare()
	var b strings.Builder
	require.NoError(t, WriteText(&b, c))
	const golden = "testdata/text.golden"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
	require.ErrorIs(t, WriteText(broken{}, c), errBroken)
}

type broken struct{}

var errBroken = errors.New("broken")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestChosen(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  string
		err   string
	}{
		{nil, "healthy masquerade hairpin size udp", ""},
		{[]string{"udp", "healthy"}, "healthy udp", ""},
		{[]string{"mtu"}, "", "the rounds are healthy, masquerade, hairpin, size, udp"},
	} {
		got, err := selectRounds(c.names)
		if c.err != "" {
			require.ErrorContains(t, err, c.err)
			continue
		}
		require.NoError(t, err)
		var names []string
		for _, f := range got {
			names = append(names, f.Name)
		}
		require.Equal(t, c.want, strings.Join(names, " "))
	}
}

func TestFocus(t *testing.T) {
	got, err := focus("")
	require.NoError(t, err)
	require.Equal(t, `\[sig-network\].*\[Conformance\]`, got)
	got, err = focus("DNS|Ingress")
	require.NoError(t, err)
	require.Equal(t, `\[sig-network\].*(DNS|Ingress).*\[Conformance\]`, got)
	_, err = focus("(")
	require.ErrorContains(t, err, "no regular expression")
}

func TestProgramsPinned(t *testing.T) {
	version, err := Programs().Version()
	require.NoError(t, err)
	require.Regexp(t, `^v1\.[0-9]+\.[0-9]+$`, version)
	require.Equal(t, []string{"HOME=/root"}, withoutParleyVariables([]string{"PARLEY_KEEP=true", "HOME=/root"}))
}
