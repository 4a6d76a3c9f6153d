package reports

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReportSurvivesItsFile(t *testing.T) {
	for name, write := range map[string]func(io.Writer, *Report) error{"JSON": WriteJSON, "YAML": WriteYAML} {
		t.Run(name, func(t *testing.T) {
			want := exampleReport()
			// A byte that is no UTF-8 can't be kept in JSON.
			want.Clusters[0].Results[2].Failure.Observed = "errno EBADF\nafter \x1b[31m <&> \u202e"
			doc := written(t, write, want)
			require.Contains(t, string(doc), "10.021s")
			got, err := ReadReport(bytes.NewReader(doc))
			require.NoError(t, err)
			require.True(t, want.Started.Equal(got.Started))
			require.Equal(t, want.Clusters[0].Results[1].Failure, got.Clusters[0].Results[1].Failure)
			require.Equal(t, string(doc), string(written(t, write, got)))
			require.Equal(t, want.ExitCode(false), got.ExitCode(false))
		})
	}
	golden(t, "report.json", written(t, WriteJSON, exampleReport()))
}

// Reports of older versions have fields that are gone, and newer ones may have fields that are not known yet.
func TestReadReportIgnoresUnknownFields(t *testing.T) {
	got, err := ReadReport(strings.NewReader(`{"apiVersion":"parley.dev/v1","kind":"ConformanceReport","clusters":[{"name":"c","results":[
		{"id":"a","level":"MUST","outcome":"passed","measured":[{"name":"address assigned","took":"812ms","bound":"30s"}],"putOff":"no answer"}]}]}`))
	require.NoError(t, err)
	require.Equal(t, []Result{{ID: "a", Level: Must, Outcome: Passed, PutOff: "no answer"}}, got.Clusters[0].Results)
}

func TestReadReportRefuses(t *testing.T) {
	var aliases string
	for c := 'b'; c < 'k'; c++ {
		aliases += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 9))
	}
	head := `{"apiVersion":"parley.dev/v1","kind":"ConformanceReport","clusters":[{"name":"c","results":[`
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "", `it is "" of ""`},
		{"another version", `{"apiVersion":"parley.dev/v9","kind":"ConformanceReport","clusters":7}`, `of "parley.dev/v9"`},
		{"another kind", "apiVersion: parley.dev/v1\nkind: Pod\n", `it is "Pod"`},
		{"neither JSON nor YAML", "\t:\x00", "neither JSON nor YAML"},
		{"cut short", head, "unexpected end"},
		{"no ID", head + `{"level":"MUST","outcome":"passed"}]}]}`, "has no ID"},
		{"outcome", head + `{"id":"a","level":"MUST","outcome":"fine"}]}]}`, `unknown outcome "fine"`},
		{"level", head + `{"id":"a","level":"MAY","outcome":"passed"}]}]}`, `unknown level "MAY"`},
		{"proof", head + `{"id":"a","level":"MUST","outcome":"passed","proof":{"state":"x"}}]}]}`, `unknown state of proof "x"`},
		{"verdict", head + `{"id":"a","level":"MUST","outcome":"passed","verdicts":[{"family":"IPv6"}]}]}]}`, `unknown outcome "" over IPv6`},
		{"twice", head + `{"id":"a","level":"MUST","outcome":"passed"},{"id":"a","level":"MUST","outcome":"failed"}]}]}`, "there twice"},
		{"aliases that grow without end", "a: &a [x,x,x,x,x,x,x,x,x]\n" + aliases, "neither JSON nor YAML"},
		{"a time without a unit", head + `{"id":"a","level":"MUST","outcome":"passed","took":"5"}]}]}`, "missing unit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ReadReport(strings.NewReader(c.in))
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "reading the report")
		})
	}
	_, err := ReadReport(io.LimitReader(blanks{}, 2*maxReport))
	require.ErrorContains(t, err, "larger than 64 MiB")
}

// blanks is white space without end.
type blanks struct{}

func (blanks) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// FuzzReadReport: what is read survives being written and read again, and every writer takes it. Its seeds are large:
// fuzz it with -fuzzminimizetime 20x, or a minute goes by on making each smaller.
func FuzzReadReport(f *testing.F) {
	for _, write := range []func(io.Writer, *Report) error{WriteJSON, WriteYAML} {
		var b bytes.Buffer
		require.NoError(f, write(&b, exampleReport()))
		f.Add(b.Bytes())
	}
	f.Add([]byte(`{"apiVersion":"parley.dev/v1","kind":"ConformanceReport","clusters":[null,{"results":null}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := ReadReport(bytes.NewReader(in))
		if err != nil {
			return
		}
		first := written(t, WriteJSON, r)
		again, err := ReadReport(bytes.NewReader(first))
		require.NoError(t, err)
		require.Equal(t, string(first), string(written(t, WriteJSON, again)))
		require.NoError(t, checkJUnit(written(t, WriteJUnit, r)))
		require.NoError(t, WriteSummary(io.Discard, r, true))
		require.Equal(t, r.ExitCode(false), again.ExitCode(false))
	})
}

func TestSave(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "save")
	require.NoError(t, Save(dir, New("older", time.Time{})))
	require.NoError(t, Save(dir, exampleReport()))

	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o644), info.Mode().Perm(), e.Name())
	}
	require.Equal(t, []string{JUnitFile, JSONFile, SummaryFile}, names, "and nothing temporary")
	b, err := os.ReadFile(filepath.Join(dir, JUnitFile))
	require.NoError(t, err)
	require.NoError(t, checkJUnit(b))
}

func TestForget(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, Forget(dir), "where there is nothing")
	require.NoError(t, SaveMatrix(dir, exampleReport()))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "other"), nil, 0o644))
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, list, len(files)+1, "a report of several clusters has every file")

	require.NoError(t, Forget(dir))
	list, err = os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "other", list[0].Name())
}

func TestSaveNamesTheFlagWhereItCannotWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		err := Save(dir, exampleReport())
		require.EqualError(t, err, "the reports can't be written to "+dir+" (not a directory): name another folder with -report")
	}

	if os.Geteuid() == 0 {
		t.Skip("root writes to read-only folders")
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o555))
	require.EqualError(t, Save(dir, exampleReport()),
		"the reports can't be written to "+dir+" (permission denied): name another folder with -report")
}
