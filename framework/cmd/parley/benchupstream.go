package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/parley-k8s/parley/framework/cmd/parley/internal/upstream"
	"github.com/parley-k8s/parley/framework/internal/engine"
)

func newBenchUpstream() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench-upstream",
		Short: "Compare Parley with Kubernetes' own conformance specs, healthy and under four faults",
		Long: "Build Kubernetes' own e2e.test from its module, make a cluster, and have its [sig-network] conformance specs and\n" +
			"Parley judge it in turn: healthy, and under each of four faults. It prints wall time, promises judged, red or\n" +
			"green, and the first line of each message, and keeps both suites' reports. The first time it builds for some\n" +
			"minutes; a comparison takes half an hour on two cores. What the suites find is no error of this verb.",
		Args: between(0, 0, "no arguments"),
	}
	var o upstream.Options
	flags := cmd.Flags()
	flags.StringVar(&o.Dir, "report", filepath.Join("reports", "out", "upstream"), "the folder for the reports")
	flags.StringVar(&o.NodeImage, "node-image", variable("node-image"), "the node image to make the cluster of; empty chooses one")
	flags.StringVar(&o.ProxyMode, "proxy-mode", "", "mode of kube-proxy: iptables or nftables; empty is iptables")
	flags.IntVar(&o.Workers, "workers", 2, "worker nodes of the cluster, at least two")
	flags.StringSliceVar(&o.Rounds, "rounds", nil, "rounds to run: healthy, masquerade, hairpin, size, udp; empty is all")
	flags.StringVar(&o.Focus, "focus", "", "only specs whose names match this expression too")
	flags.StringVar(&o.Select, "select", "", "only these of Parley's requirements, as in -select of a run")
	flags.IntVar(&o.Procs, "procs", 4, "processes that run the specs at once")
	flags.DurationVar(&o.Limit, "limit", 20*time.Minute, "how long one suite may take in one round")
	flags.BoolVar(&o.Keep, "keep", false, "keep the cluster")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case o.Workers < 2:
			return fmt.Errorf("--workers %d: faults between nodes need at least two", o.Workers)
		case o.Procs < 1:
			return fmt.Errorf("--procs %d: at least one process has to run the specs", o.Procs)
		case o.Limit < time.Minute:
			return fmt.Errorf("--limit %s: a suite takes at least a minute", o.Limit)
		}
		ctx, errOut := cmd.Context(), cmd.ErrOrStderr()
		started := time.Now()
		o.Say = func(text string) { fmt.Fprintf(errOut, "%6.1fs  %s\n", time.Since(started).Seconds(), text) }
		o.Progress = (&progress{out: errOut, what: "build"}).step
		var err error
		if o.Engine, _, err = engine.Find(ctx, engine.Options{Install: mayInstall(), Log: o.Say}); err != nil {
			return err
		}
		defer func() { _ = o.Engine.Close() }() // only its temporary configuration
		c, err := upstream.Run(ctx, o)
		if c != nil && len(c.Rounds) > 0 {
			if textErr := upstream.WriteText(cmd.OutOrStdout(), c); textErr != nil {
				return textErr
			}
			fmt.Fprintln(errOut, "the reports of both suites are in "+o.Dir)
		}
		return err
	}
	return cmd
}
