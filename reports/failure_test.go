package reports

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBlockHoldsItsForm(t *testing.T) {
	golden(t, "block.txt", []byte(natFailure().Block()+"\n"))
	golden(t, "block-sparse.txt", []byte(Failure{
		Requirement: "dns/nxdomain", Observed: "\na\x00b\r\nsecond line\xfe\n", Attempts: 1}.Block()+"\n"))
}

func TestSentence(t *testing.T) {
	for _, c := range []struct {
		name string
		f    Failure
		want string
	}{
		{"all", *natFailure(), "from client (node worker, 10.244.1.5) to server (node worker2, 10.244.2.7:8080) by TCP over IPv4: " +
			"expected the server to see the client's own address 10.244.1.5, " +
			"observed the server saw 172.18.0.3, the address of node worker (5 attempts in 10.02s); " +
			"first broken hop: pod on another node"},
		{"ends only", Failure{From: "a", To: "b"}, "from a to b: it does not hold"},
		{"observation only", Failure{Observed: "refused", Took: time.Millisecond}, "observed refused (in 1ms)"},
		{"final", Failure{Observed: "other bytes", Attempts: 1, Final: "what arrives changed is never the machine's doing"},
			"observed other bytes (1 attempt; not tried again: what arrives changed is never the machine's doing)"},
		{"final, and not counted", Failure{Observed: "another pod", Final: "a sample is judged once"}, "observed another pod (not tried again: a sample is judged once)"},
		{"hop only", Failure{FirstBrokenHop: "loopback"}, "first broken hop: loopback"},
		{"nothing", Failure{}, "it does not hold, and no observation was recorded"},
		{"one line, no escapes", Failure{Observed: "x\n\ty\x1b[2J"}, `observed x y\x1b[2J`},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, c.f.Sentence()) })
	}
}

func TestResultSentence(t *testing.T) {
	for _, c := range []struct {
		r    Result
		want string
	}{
		{Result{Outcome: Passed, Reason: "left over"}, ""},
		{Result{Outcome: Failed, Reason: "the reason", Failure: natFailure()}, "the reason"},
		{Result{Outcome: Failed, Failure: &Failure{Observed: "x"}}, "observed x"},
		{Result{Outcome: Skipped}, "no reason was recorded"},
	} {
		require.Equal(t, c.want, c.r.Sentence())
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                    "",
		"plain\tand\n日本 é":    "plain\tand\n日本 é",
		"\x00\x1b\r\x7f":      `\x00\x1b\r\x7f`,
		"\u0085\u202e\ufffe":  `\u0085\u202e\ufffe`,
		"\U000e0001":          `\U000e0001`,
		"\xff\xed\xa0\x80":    `\xff\xed\xa0\x80`, // a surrogate in UTF-8 is no UTF-8
		"honest \ufffd stays": "honest \ufffd stays",
	} {
		require.Equal(t, want, printable(in))
	}
}
