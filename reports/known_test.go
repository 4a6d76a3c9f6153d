package reports

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

const knownFile = `
- id: service/node-port-localhost
  where: nftables
  link: https://kubernetes.io/docs/reference/networking/virtual-ips/
  why: nftables mode does not listen on 127.0.0.1
  expires: 2027-01-31
- {id: dns/a, where: v1.36.3, link: "https://example.org/1", expires: "2026-03-01"}
`

func TestReadKnown(t *testing.T) {
	list, err := ReadKnown(strings.NewReader(knownFile))
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, "2027-01-31", list[0].Expires)
	list, err = ReadKnown(strings.NewReader("[]"))
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestReadKnownRefuses(t *testing.T) {
	entry := "- {id: a/b, where: w, link: https://x.org/, expires: 2027-01-31"
	for _, c := range []struct{ in, says string }{
		{"", "the file is empty"},
		{"a: b", "no list of entries"},
		{"- 7", "no list of entries"},
		{"\t:\x00", "no list of entries"},
		{entry + ", until: x}", "no list of entries"},
		{"- {where: w, link: https://x.org/, expires: 2027-01-31}", "known difference 1 (): it has no id"},
		{"- {id: a/b, link: https://x.org/, expires: 2027-01-31}", "(a/b): it has no where"},
		{"- {id: a/b, where: w, expires: 2027-01-31}", "it has no link"},
		{"- {id: a/b, where: w, link: https://x.org/}", "it has no expires"},
		{"- {id: a/b, where: w, link: x.org, expires: 2027-01-31}", "link x.org: it is no address of a page"},
		{"- {id: a/b, where: w, link: 'file:///etc', expires: 2027-01-31}", "no address of a page"},
		{"- {id: a/b, where: w, link: https://x.org/, expires: 31.1.2027}", "expires 31.1.2027: write the day as 2006-01-02"},
		{entry + "}\n" + entry + "}", "known difference 2 (a/b): it is there twice for w"},
	} {
		_, err := ReadKnown(strings.NewReader(c.in))
		require.ErrorContains(t, err, c.says, "%q", c.in)
	}
	_, err := ReadKnown(io.LimitReader(blanks{}, 2*maxKnown))
	require.ErrorContains(t, err, "larger than 1 MiB")
}

// FuzzReadKnown: what is read says the same when it is written and read again.
func FuzzReadKnown(f *testing.F) {
	f.Add([]byte(knownFile))
	f.Add([]byte("- {id: a, where: b, link: 'http://x', expires: '0000-01-01', why: \"\\x1b\"}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ReadKnown(bytes.NewReader(b))
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), "\x1b")
			return
		}
		for _, k := range list {
			require.NotContains(t, k.sentence(), "\n")
			k.expired(began)
		}
		if len(list) == 0 {
			return
		}
		again, err := yaml.Marshal(list)
		require.NoError(t, err)
		same, err := ReadKnown(bytes.NewReader(again))
		require.NoError(t, err)
		require.Equal(t, list, same)
	})
}

// failing is a report of one cluster on which a MUST fails.
func failing() *Report {
	r := New("1a-2b", began)
	r.Clusters = []Cluster{{Name: "c", Values: []string{"dual", "nftables"}, Facts: []Fact{{"Kubernetes", "v1.36.3"}, {"runtime", "cri-o://1.37.0"}}, Results: []Result{
		{ID: "service/x", Chapter: "service", Level: Must, Outcome: Failed, Reason: "no answer"},
		{ID: "service/y", Chapter: "service", Level: Must, Outcome: Passed},
	}}}
	return r
}

func TestMarkKnown(t *testing.T) {
	now := time.Date(2026, 5, 1, 23, 59, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		known   Known
		exit    int
		notices []string
	}{
		"by a value of an axis":     {Known{ID: "service/x", Where: "nftables", Expires: "2026-05-01"}, ExitPassed, nil},
		"by the cluster's name":     {Known{ID: "service/x", Where: "c", Expires: "2026-05-02"}, ExitPassed, nil},
		"by a fact":                 {Known{ID: "service/x", Where: "v1.36.3", Expires: "2026-05-02"}, ExitPassed, nil},
		"by a runtime":              {Known{ID: "service/x", Where: "cri-o", Expires: "2026-05-02"}, ExitPassed, nil},
		"elsewhere":                 {Known{ID: "service/x", Where: "iptables", Expires: "2026-05-02"}, ExitFailed, nil},
		"expired":                   {Known{ID: "service/x", Where: "nftables", Expires: "2026-04-30", Link: "https://l"}, ExitFailed, []string{"the known difference of service/x on nftables expired on 2026-04-30 and counts again: https://l"}},
		"expired and passed":        {Known{ID: "service/y", Where: "nftables", Expires: "2026-04-30"}, ExitFailed, []string{"the known difference of service/y on nftables expired on 2026-04-30: renew or remove it"}},
		"of nobody":                 {Known{ID: "service/z", Where: "nftables", Expires: "2026-05-02"}, ExitFailed, []string{"the known difference of service/z on nftables names a requirement that is not there"}},
		"none any more":             {Known{ID: "service/y", Where: "nftables", Expires: "2026-05-02"}, ExitFailed, []string{"the known difference of service/y on nftables is none any more, the requirement passed: remove it"}},
		"not judged here this time": {Known{ID: "service/y", Where: "iptables", Expires: "2026-05-02"}, ExitFailed, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := failing()
			r.MarkKnown([]Known{c.known}, now)
			r.MarkWarnings(true)
			require.Equal(t, c.exit, r.ExitCode(true))
			require.Equal(t, c.exit == ExitPassed, r.Clusters[0].Results[0].Warning)
			require.Equal(t, c.notices, r.Notices)
		})
	}
}

func TestKnownDifferenceIsShown(t *testing.T) {
	r := failing()
	k := Known{ID: "service/x", Where: "nftables", Link: "https://example.org/7", Why: "so it is", Expires: "2027-01-31"}
	r.MarkKnown([]Known{k}, began)
	r.MarkWarnings(false)
	text := string(written(t, func(w io.Writer, r *Report) error { return WriteSummary(w, r, false) }, r))
	require.Contains(t, text, "KNOWN DIFFERENCE service/x (MUST)\n  accepted on nftables until 2027-01-31 (https://example.org/7), so it is\n")
	doc := written(t, WriteJUnit, r)
	require.NoError(t, checkJUnit(doc))
	require.Contains(t, string(doc), `<skipped type="known" message="known difference, on nftables until 2027-01-31 (https://example.org/7), so it is: no answer">`)
	back, err := ReadReport(bytes.NewReader(written(t, WriteJSON, r)))
	require.NoError(t, err)
	require.Equal(t, &k, back.Clusters[0].Results[0].Known)
}
