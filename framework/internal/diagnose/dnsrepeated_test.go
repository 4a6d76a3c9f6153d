package diagnose

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
)

func TestUnanswered(t *testing.T) {
	from := &requirement.End{Pod: "every-1", Node: "w2"}
	pod := dnsPod{name: "coredns-a", node: "cp", address: "10.0.0.2:53"}
	for name, c := range map[string]struct {
		tally map[wire.Class]int
		want  string
	}{
		"all are answered":      {map[wire.Class]int{wire.OK: 300}, ""},
		"by no such name":       {map[wire.Class]int{wire.NameError: 300}, ""},
		"a few are not":         {map[wire.Class]int{wire.OK: 297, wire.TimedOut: 3}, "of 300 questions A web. that every-1 on w2 asks the DNS pod coredns-a on cp over UDP, one after another, 3 get no answer"},
		"nothing could be said": {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, unanswered(wire.DNSAnswer{Tally: c.tally}, from, pod, wire.DNS{Name: "web.", Type: "A"}))
		})
	}
}
