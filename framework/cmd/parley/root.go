package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/requirement"
)

// newRoot is the command with all its verbs, over a list of chapters.
func newRoot(chapters []requirement.Chapter) *cobra.Command {
	root := group("parley", "Requirements of communication in Kubernetes, and what a run of them needs",
		newList(chapters), newExplain(chapters), newDiff(), newDoctor(), newImage(), newNodeImage(), newBenchUpstream(), newClean(), newVersion())
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Version = version()
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see `%s --help`", err, cmd.CommandPath())
	})
	wanted := root.PersistentFlags().String("engine", "", "the container engine: docker, podman or nerdctl; empty is $"+engine.Variable+", else the first that answers")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if *wanted == "" {
			return nil
		}
		// kind's library and the engine package read it from there.
		return os.Setenv(engine.Variable, *wanted)
	}
	return root
}

// group is a verb that only has other verbs under it: without one it shows them.
func group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			hint := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = fmt.Sprintf(" (did you mean %s?)", strings.Join(near, " or "))
			}
			return fmt.Errorf("%q is no verb of %s%s; see `%s --help`", args[0], cmd.CommandPath(), hint, cmd.CommandPath())
		},
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(verbs...)
	return cmd
}

// between says what a verb takes where the number of its arguments is not between least and most.
func between(least, most int, takes string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		return fmt.Errorf("`%s` takes %s, and was given %d; see `%s --help`", cmd.CommandPath(), takes, len(args), cmd.CommandPath())
	}
}

// outputFlag declares -o with its forms, the first the default; the returned function is the form that was
// chosen, or says which there are.
func outputFlag(cmd *cobra.Command, forms ...string) func() (string, error) {
	form := cmd.Flags().StringP("output", "o", forms[0], "the form of the output: "+strings.Join(forms, ", "))
	return func() (string, error) {
		if !slices.Contains(forms, *form) {
			return "", fmt.Errorf("-o %s: the forms of `%s` are %s", *form, cmd.CommandPath(), strings.Join(forms, ", "))
		}
		return *form, nil
	}
}

func writeJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// variable is the value that an environment variable gives a flag of `go test`, for those that both have.
func variable(flag string) string {
	return os.Getenv("PARLEY_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_")))
}

// mayInstall is the value that its variable gives -install; true where there is none, or none that can be read.
func mayInstall() bool {
	may, err := strconv.ParseBool(variable("install"))
	return err != nil || may
}
