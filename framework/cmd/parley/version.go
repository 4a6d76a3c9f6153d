package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  between(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "parley "+version())
			return err
		},
	}
}

// version describes this program, as Go noted it in the binary.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	return describeBuild(info)
}

// describeBuild is the version of the module, or where it has none the revision of the source and its time, then Go's version
// and the platform: "v1.2.3 (go1.26.0, linux/amd64)".
func describeBuild(info *debug.BuildInfo) string {
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	version := cmp.Or(info.Main.Version, "of unknown version")
	if revision := settings["vcs.revision"]; revision != "" && (info.Main.Version == "" || info.Main.Version == "(devel)") {
		version = strings.TrimSuffix(fmt.Sprintf("%s of %s", revision, settings["vcs.time"]), " of ")
		if settings["vcs.modified"] == "true" {
			version += ", modified"
		}
	}
	platform := cmp.Or(settings["GOOS"], runtime.GOOS) + "/" + cmp.Or(settings["GOARCH"], runtime.GOARCH)
	return fmt.Sprintf("%s (%s, %s)", version, info.GoVersion, platform)
}
