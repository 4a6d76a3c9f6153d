package progress

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shown is what a log writes to the file that its variable names.
func shown(t *testing.T, write func(*Log)) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "progress")
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	t.Setenv(Variable, name)
	write(New(false))
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}

func TestLinesHaveATimeAndAPrefix(t *testing.T) {
	text := shown(t, func(l *Log) {
		l.Say("engine: %s", "podman 4")
		l.Prefix("crun")
		l.Count("holds", 2)
		l.Verdict("pod/a", "passed", "", 1500*time.Microsecond)
		l.Verdict("pod/b", "FAILED", "no answer", time.Second)
		l.Prefix("")
		l.Show("the end\n")
	})
	require.Regexp(t, `^ +\d+\.\ds  engine: podman 4
 +\d+\.\ds  crun  holds: 2 requirements
 +\d+\.\ds  crun    1 of 2   passed      pod/a \(2ms\)
 +\d+\.\ds  crun    2 of 2   FAILED      pod/b \(1s\): no answer
the end
$`, text)
}
