package main

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/reports"
)

func TestDescribeBuild(t *testing.T) {
	platform := []debug.BuildSetting{{Key: "GOOS", Value: "linux"}, {Key: "GOARCH", Value: "arm64"}}
	revision := append(platform, debug.BuildSetting{Key: "vcs.revision", Value: "1a2b3c"}, debug.BuildSetting{Key: "vcs.time", Value: "2026-03-01T09:00:00Z"})
	for name, c := range map[string]struct {
		version  string
		settings []debug.BuildSetting
		want     string
	}{
		"released":               {"v1.2.3", platform, "v1.2.3 (go1.26.0, linux/arm64)"},
		"released, with its VCS": {"v1.2.3", revision, "v1.2.3 (go1.26.0, linux/arm64)"},
		"of a checkout":          {"(devel)", revision, "1a2b3c of 2026-03-01T09:00:00Z (go1.26.0, linux/arm64)"},
		"of a changed checkout": {"", append(revision, debug.BuildSetting{Key: "vcs.modified", Value: "true"}),
			"1a2b3c of 2026-03-01T09:00:00Z, modified (go1.26.0, linux/arm64)"},
		"without VCS":     {"(devel)", platform, "(devel) (go1.26.0, linux/arm64)"},
		"nothing is told": {"", platform, "of unknown version (go1.26.0, linux/arm64)"},
	} {
		t.Run(name, func(t *testing.T) {
			info := &debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: c.version}, Settings: c.settings}
			require.Equal(t, c.want, describeBuild(info))
		})
	}
}

func TestVersionFlagIsTheVersionVerb(t *testing.T) {
	code, verb, errOut := parley(t, "version")
	require.Equal(t, reports.ExitPassed, code, errOut)
	require.Equal(t, "parley "+version()+"\n", verb)
	code, flag, errOut := parley(t, "--version")
	require.Equal(t, reports.ExitPassed, code, errOut)
	require.Equal(t, verb, flag)
}
