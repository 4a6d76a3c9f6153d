package suite

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/parley-k8s/parley/framework/requirement"
)

// What a run takes on a busy machine of two cores, for the question whether it fits go test's -timeout.
const (
	makeCluster    = 2 * time.Minute
	buildNodeImage = 25 * time.Minute
	buildHandler   = 4 * time.Minute
	judgeRows      = time.Minute // at least, and more for each of many:
	judgeRow       = 500 * time.Millisecond
	proveRows      = 90 * time.Second // the same
	proveRow       = 800 * time.Millisecond
	slowRows       = 12 * time.Minute
	otherWorld     = 90 * time.Second // a world is removed and another one made
	// buildRuntimeImage is for a runtime's layer on a node image that is there: a Debian root or packages, the image saved,
	// put together and loaded.
	buildRuntimeImage = 10 * time.Minute
)

// timeToJudge is the time to judge, and with -prove to prove.
func (r *Run) timeToJudge() time.Duration {
	rows := 0
	for _, q := range r.all {
		if r.left[q.ID] == "" {
			rows++
		}
	}
	need := max(judgeRows, time.Duration(rows)*judgeRow)
	if r.config.Prove {
		need += max(proveRows, time.Duration(rows)*proveRow)
	}
	if slices.ContainsFunc(r.all, func(q requirement.Requirement) bool { return q.Slow && r.left[q.ID] == "" }) {
		need += slowRows
	}
	need *= time.Duration(rounds())
	if r.config.Measure {
		need += measureRows
	}
	return need
}

// timeOfShared is the time to judge n columns on one cluster.
func (r *Run) timeOfShared(n int) time.Duration {
	return time.Duration(n)*r.timeToJudge() + time.Duration(max(0, n-1))*otherWorld
}

// fits refuses a run that go test's -timeout would end in the middle.
func (r *Run) fits(need time.Duration) error {
	limit := timeout()
	left := limit - time.Since(r.started)
	if limit == 0 || left >= need+cleanupReserve {
		return nil
	}
	if isColumn() {
		return fmt.Errorf("this cluster may take %s, and of go test's -timeout only %s are left for it: run the matrix with a longer -timeout", need+cleanupReserve, left.Round(time.Second))
	}
	ask := (need + cleanupReserve + time.Since(r.started)).Round(time.Minute) + time.Minute
	return fmt.Errorf("this run may take %s and go test's -timeout ends it after %s: run it with -timeout %s", need+cleanupReserve, limit, short(ask))
}

func short(d time.Duration) string { return strings.TrimSuffix(d.String(), "0s") }

// defaultReportDir is reports/out in the root of the module that is tested.
func defaultReportDir() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	mod := strings.TrimSpace(string(out))
	if err != nil || mod == "" || mod == os.DevNull {
		here, err := os.Getwd()
		if err != nil {
			return "", fmt.Errorf("finding a folder for the reports: %w", err)
		}
		return filepath.Join(here, "reports", "out"), nil
	}
	return filepath.Join(filepath.Dir(mod), "reports", "out"), nil
}
