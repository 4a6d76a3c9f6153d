package judge

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/internal/diagnose"
	"github.com/parley-k8s/parley/framework/requirement"
)

func TestAWayThatCarriesNothingIsLookedIntoOnce(t *testing.T) {
	end := func(pod, node string) *requirement.End { return &requirement.End{Pod: pod, Node: node} }
	from := end("a", "n1")
	silent := func(f requirement.Failure) []way {
		if f.From == nil {
			f.From = from
		}
		if f.Reason == "" {
			f.Reason = requirement.NoAnswer
		}
		if f.Protocol == "" {
			f.Protocol = "tcp"
		}
		return waysOf(&f, "IPv4")
	}
	var all findings
	direct := silent(requirement.Failure{To: end("b", "n2")})
	_, ok := all.of(direct)
	require.False(t, ok, "nothing was looked into")
	rule := explained{id: "pod/x", cause: "n2: a rule drops it", hop: "pod on another node: ..."}
	all.keep(direct, "n3", rule)
	_, ok = all.of(direct)
	require.False(t, ok, "what was found broken is another way")
	all.keep(direct, "n2", rule)
	all.keep(direct, "n2", explained{cause: "found later"})
	all.keep(silent(requirement.Failure{To: end("c", "n3")}), "n3", explained{cause: "n3: another rule"})
	all.keep(silent(requirement.Failure{To: end("c", "n4")}), "n4", rule)
	all.keep(silent(requirement.Failure{Protocol: "dns A"}), diagnose.DNS, rule)
	for name, c := range map[string]struct {
		ways []way
		want bool
	}{
		"the same":                         {silent(requirement.Failure{To: end("other", "n2")}), true},
		"by a Service, whose endpoint":     {silent(requirement.Failure{To: end("b", "n2"), Target: "10.96.0.1:80"}), true},
		"endpoints that one cause breaks":  {silent(requirement.Failure{Behind: []*requirement.End{end("b", "n2"), end("d", "n4")}}), true},
		"two causes":                       {silent(requirement.Failure{Behind: []*requirement.End{end("b", "n2"), end("c", "n3")}}), false},
		"an endpoint on the client's node": {silent(requirement.Failure{Behind: []*requirement.End{end("b", "n2"), end("d", "n1")}}), false},
		"the other protocol":               {silent(requirement.Failure{To: end("b", "n2"), Protocol: "udp"}), false},
		"another node's":                   {silent(requirement.Failure{From: end("e", "n3"), To: end("b", "n2")}), false},
		"refused":                          {silent(requirement.Failure{To: end("b", "n2"), Reason: requirement.Refused}), false},
		"a wrong peer":                     {silent(requirement.Failure{To: end("b", "n2"), Reason: requirement.WrongPeer}), false},
		"any name":                         {silent(requirement.Failure{Protocol: "dns SRV"}), true},
		"a name, another node's":           {silent(requirement.Failure{From: end("e", "n3"), Protocol: "dns A"}), false},
		"the host outside":                 {silent(requirement.Failure{From: &requirement.End{}, To: end("b", "n2")}), false},
		"a file":                           {silent(requirement.Failure{To: end("b", "n2"), Protocol: "resolv.conf"}), false},
	} {
		t.Run(name, func(t *testing.T) {
			what, ok := all.of(c.ways)
			require.Equal(t, c.want, ok)
			if ok {
				require.Equal(t, rule, what)
			}
		})
	}
	require.True(t, all.first("a cause"))
	require.False(t, all.first("a cause"))
	require.False(t, all.first(""))
}
