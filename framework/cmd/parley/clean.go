package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
	ids "github.com/parley-k8s/parley/framework/internal/runid"
)

func newClean() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "Remove what runs left on this host",
		Long: "Remove what runs left whose process has ended: containers, volumes, networks, nftables tables and folders. Kept\n" +
			"clusters and runs that go on are left alone, unless --all is given. It prints what was removed.",
		Args: between(0, 0, "no arguments"),
	}
	all := cmd.Flags().Bool("all", false, "remove kept clusters too, and what runs have that still go on")
	dry := cmd.Flags().Bool("dry-run", false, "only list what would be removed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		e, _, err := engine.Find(ctx, engine.Options{})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "only tables and folders are looked for: "+sentence(err))
		} else {
			defer func() { _ = e.Close() }() // only its temporary configuration
		}
		if *dry {
			return listLeftovers(ctx, cmd.OutOrStdout(), e, *all)
		}
		return removeLeftovers(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), e, *all)
	}
	return cmd
}

// nothingLeft is what is printed where nothing is left.
const nothingLeft = "nothing to remove"

// listLeftovers lists what removeLeft would remove.
func listLeftovers(ctx context.Context, out io.Writer, e *engine.Engine, all bool) error {
	self, err := ids.New()
	if err != nil {
		return err
	}
	things, err := cluster.Leftovers(ctx, e)
	folders, e2 := nodeimage.Leftovers()
	n := 0
	for _, t := range things {
		folders = slices.DeleteFunc(folders, func(f string) bool { return f == t.Name })
		if t.Run != self && (all || (!t.Alive && !t.Kept)) {
			fmt.Fprintln(out, t)
			n++
		}
	}
	for _, f := range folders {
		fmt.Fprintf(out, "folder %s (owner gone)\n", f)
		n++
	}
	if err := errors.Join(err, e2); err != nil {
		return err
	}
	if n == 0 {
		fmt.Fprintln(out, nothingLeft)
	}
	return nil
}

func removeLeftovers(ctx context.Context, out, errOut io.Writer, e *engine.Engine, all bool) error {
	removed, err := cluster.Reap(ctx, e, all, func(text string) { fmt.Fprintln(errOut, text) })
	folders, e1 := nodeimage.Leftovers()
	e2 := nodeimage.Reap(ctx)
	for _, f := range folders {
		if _, err := os.Lstat(f); errors.Is(err, os.ErrNotExist) {
			removed = append(removed, "folder "+f)
		}
	}
	for _, name := range removed {
		fmt.Fprintln(out, "removed "+name)
	}
	if err := errors.Join(err, e1, e2); err != nil {
		return fmt.Errorf("not everything could be removed: %w", err)
	}
	if len(removed) == 0 {
		fmt.Fprintln(out, nothingLeft)
	}
	return nil
}
