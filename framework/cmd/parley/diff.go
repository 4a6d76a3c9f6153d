package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/parley-k8s/parley/framework/internal/knowndiff"
	"github.com/parley-k8s/parley/reports"
)

// exitCode ends the command with that code and without a message: an answer, not a failure of the command.
type exitCode int

func (f exitCode) Error() string { return fmt.Sprintf("exit code %d", int(f)) }

func newDiff() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Say what holds on A and not on B, of two saved reports",
		Long: "Compare two saved reports of any two runs, requirement by requirement, the differences first: what was seen on either side,\n" +
			"and the reason with its link where a known difference documents one. The known differences are those of --known, else those\n" +
			"that the runs were given. A and B are report folders or their " + reports.JSONFile + "; each cluster of a matrix has a folder of its own.\n\n" +
			"Exit code 0: every MUST that holds on A holds on B, or is a known difference there. 1: one does not: on B it failed or is\n" +
			"unsupported. 2: on B one could not be judged, the two have no requirement that both judged, or a file can't be read.\n" +
			"A requirement that B left out, by choice, is shown and not counted.",
		Args: between(2, 2, "two report folders or files"),
	}
	known := cmd.Flags().String("known", "", "a YAML file of known differences: a list of entries with id, where, link, expires and why")
	form := outputFlag(cmd, "text", "json", "yaml", "markdown")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		form, err := form()
		if err != nil {
			return err
		}
		combined := reports.New("", time.Time{})
		for _, path := range args {
			c, err := readCluster(path)
			if err != nil {
				return err
			}
			combined.Clusters = append(combined.Clusters, c)
		}
		setDistinctNames(combined.Clusters, args)
		if err := markKnown(combined, *known); err != nil {
			return err
		}
		combined.MarkWarnings(false)
		c := reports.Compare(combined)
		if err := writeComparison(cmd.OutOrStdout(), c, form); err != nil {
			return err
		}
		return diffExitCode(c)
	}
	return cmd
}

// readCluster reads the one cluster of a report.
func readCluster(path string) (reports.Cluster, error) {
	file := path
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		file = filepath.Join(path, reports.JSONFile)
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return reports.Cluster{}, fmt.Errorf("%s: there is no report: name a report folder, or its %s", path, reports.JSONFile)
	}
	if err != nil {
		return reports.Cluster{}, fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	r, err := reports.ReadReport(f)
	if err != nil {
		return reports.Cluster{}, fmt.Errorf("%s: %w", file, err)
	}
	if len(r.Clusters) != 1 {
		return reports.Cluster{}, fmt.Errorf("%s: the report is of %d clusters: name the folder of one of them", path, len(r.Clusters))
	}
	c := r.Clusters[0]
	if c.Interrupted == "" {
		c.Interrupted = r.Interrupted
	}
	return c, nil
}

// setDistinctNames names the clusters after the files that they were read from: the names that runs gave them say nothing.
func setDistinctNames(clusters []reports.Cluster, paths []string) {
	for i, path := range paths {
		if filepath.Base(path) == reports.JSONFile {
			path = filepath.Dir(path)
		}
		clusters[i].Name = filepath.Base(filepath.Clean(path))
	}
	if clusters[0].Name == clusters[1].Name {
		clusters[0].Name, clusters[1].Name = paths[0], paths[1]
	}
	if clusters[0].Name == clusters[1].Name {
		clusters[0].Name, clusters[1].Name = "A", "B"
	}
}

func markKnown(r *reports.Report, path string) error {
	if path == "" {
		return nil // what the runs knew stands in their reports
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("--known: %w", err)
	}
	defer f.Close()
	list, err := reports.ReadKnown(f)
	if err != nil {
		return fmt.Errorf("--known %s: %w", path, err)
	}
	shipped, err := knowndiff.In(r)
	if err != nil {
		return err
	}
	r.MarkKnown(append(list, shipped...), time.Now())
	return nil
}

func writeComparison(w io.Writer, c *reports.Comparison, form string) error {
	switch form {
	case "json":
		return reports.WriteComparisonJSON(w, c)
	case "yaml":
		return reports.WriteComparisonYAML(w, c)
	case "markdown":
		return reports.WriteComparisonMarkdown(w, c)
	}
	f, ok := w.(*os.File)
	return reports.WriteComparison(w, c, ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "")
}

// diffExitCode is the exit code of a comparison of two.
func diffExitCode(c *reports.Comparison) error {
	lost, unjudged := c.Regressions()
	switch {
	case len(lost) > 0:
		return exitCode(reports.ExitFailed)
	case len(unjudged) > 0:
		return exitCode(reports.ExitUnjudged)
	case c.Compared() == 0:
		return errors.New("the two reports have no requirement that both judged")
	}
	return nil
}
