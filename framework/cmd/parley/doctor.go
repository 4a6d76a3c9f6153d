package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
)

// diagnosis is what `parley doctor -o json` prints: the members of a possibility, one for each axis, and those of the findings.
// The form is read by others: fields are added, never changed.
type diagnosis struct {
	possibility
	Axes []axisOptions `json:"-"`
	findings
}

// possibility is whether a run could be made, and with what.
type possibility struct {
	Possible bool   `json:"possible"` // a run could be made on this host
	WhyNot   string `json:"whyNot"`   // "" where it could
	Engine   chosen `json:"engine"`
	// NodeImage is null where it can't be told: without an engine, or without a way to get one.
	NodeImage *nodeimage.Choice `json:"nodeImage"`
}

// findings are what was seen of the host.
type findings struct {
	KernelGaps []cluster.Feature `json:"kernelGaps"`
	Untried    []string          `json:"untried"` // features that this user may not try
	Notes      []string          `json:"notes"`
	Host       cluster.HostFacts `json:"host"`
}

// chosen is the engine that a run would use.
type chosen struct {
	Use      string           `json:"use"`      // name and version; "" where none answers
	Install  string           `json:"install"`  // what would be installed; "" for nothing
	Attempts []engine.Attempt `json:"attempts"` // what was tried, in order
}

// hostState is what a diagnosis is made of.
type hostState struct {
	host        cluster.HostFacts
	remote      bool              // the engine's containers run in another kernel
	choice      *nodeimage.Choice // nil where there is none
	choiceError error             // why not
	mayInstall  error             // why podman can't be installed; nil where it can

	asked       *axis.Choices     // of the axes
	unavailable map[string]string // values that can't be had, or were not looked for, by their words, with why
}

func newDoctor() *cobra.Command { return doctorOf(axis.All()) }

// doctorOf is the verb over a list of axes.
func doctorOf(axes []axis.Axis) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this host has for a run, and what a run would use",
		Long: "Say what this host has for a run, what a run would use, and why not where none could be made (exit code 2).\n" +
			"The flags, and their environment variables, are those of a run. Nothing on the host is changed.",
		Args: between(0, 0, "no arguments"),
	}
	form := outputFlag(cmd, "text", "json")
	node := cmd.Flags().String("node-image", variable("node-image"), "the node image to make clusters of; empty chooses one")
	install := cmd.Flags().Bool("install", mayInstall(), "a run may install podman")
	asked := axisFlags(cmd, axes)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		form, err := form()
		if err != nil {
			return err
		}
		s := inspectHost(cmd.Context(), *node, asked, *install)
		d := diagnose(s)
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		if form == "json" {
			err = writeJSON(cmd.OutOrStdout(), d)
		} else {
			err = writeDiagnosis(cmd.OutOrStdout(), d)
		}
		if err == nil && !d.Possible {
			err = fmt.Errorf("no run can be made on this host: %s", d.WhyNot)
		}
		return err
	}
	return cmd
}

// inspectHost reads the host, without a change. The node image is that of the first cluster that is asked for.
func inspectHost(ctx context.Context, node string, asked *axis.Choices, install bool) hostState {
	s := hostState{host: cluster.Host(ctx), mayInstall: engine.Installable(), asked: asked}
	columns, err := asked.Columns("")
	var first axis.Spec
	if err == nil { // else diagnose says why
		first = columns[0].Spec()
	}
	s.unavailable = asked.Probe(ctx, columns)
	want := os.Getenv(engine.Variable)
	switch {
	case !install:
		s.mayInstall = fmt.Errorf("it must not be installed (-install=false)")
	case want != "" && want != "podman":
		s.mayInstall = fmt.Errorf("%s is wanted", want)
	}
	e, _, err := engine.Find(ctx, engine.Options{})
	if err != nil {
		return s
	}
	defer func() { _ = e.Close() }() // only its temporary configuration
	s.remote = e.Remote
	choice, err := nodeimage.Plan(ctx, e, node, first.Versions)
	if err != nil {
		s.choiceError = err
	} else {
		s.choice = &choice
	}
	return s
}

// diagnose judges what was seen.
func diagnose(s hostState) diagnosis {
	d := diagnosis{
		possibility: possibility{NodeImage: s.choice, Engine: chosen{Use: s.host.Engine, Attempts: s.host.Attempts}},
		findings:    findings{Host: s.host, KernelGaps: []cluster.Feature{}, Untried: []string{}, Notes: []string{}},
	}
	if d.Engine.Attempts == nil {
		d.Engine.Attempts = []engine.Attempt{}
	}
	lacks := map[string]bool{}
	for _, f := range s.host.Features {
		switch {
		case f.There:
		case axis.Untried(s.host, f):
			d.Untried = append(d.Untried, f.Name)
		default:
			lacks[f.Name] = true
			d.KernelGaps = append(d.KernelGaps, f)
		}
	}
	axes, unfit := s.axes()
	d.Axes, d.WhyNot = axes, cmp.Or(whyNot(s, lacks), unfit)
	d.Possible = d.WhyNot == ""
	if s.host.Engine == "" && s.mayInstall == nil {
		d.Engine.Install = "podman, from Debian's packages"
		d.Notes = append(d.Notes, "the node image is chosen when podman is there: kind's own where a registry gives it, else one that is built offline")
	}
	d.Notes = append(d.Notes, notes(s)...)
	return d
}

// required are the features without which no cluster of nodes in containers runs.
var required = []string{"overlay file system", "bridge", "veth"}

// whyNot says why no run could be made; "" where one could.
func whyNot(s hostState, lacks map[string]bool) string {
	h := s.host
	switch {
	case h.Engine == "" && s.mayInstall != nil:
		return h.EngineError
	case s.choiceError != nil:
		return s.choiceError.Error()
	case s.choice != nil && s.choice.Offline && h.EgressGuard != "":
		return fmt.Sprintf("the offline node image needs the egress guard, which can't be set (%s): run as root with a rootful engine on this machine", h.EgressGuard)
	}
	if !s.remote { // its containers run in another kernel
		if i := slices.IndexFunc(required, func(name string) bool { return lacks[name] }); i >= 0 {
			return "the kernel lacks what every cluster needs: " + required[i]
		}
	}
	return ""
}

// What a run of one control plane and two workers should find, in bytes.
const (
	gib         = 1 << 30
	memoryFree  = 3 * gib
	diskToRun   = 4 * gib
	diskToBuild = 10 * gib // Go's caches, the binaries and the image
)

// notes are what a person should know and what forbids nothing.
func notes(s hostState) []string {
	h := s.host
	var all []string
	add := func(when bool, format string, args ...any) {
		if when {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	add(h.Engine == "" && s.mayInstall != nil, "a run does not install podman here: %v", s.mayInstall)
	add(s.remote, "the engine's containers run in another kernel than the one that was looked at")
	add(h.EgressGuard != "" && !(s.choice != nil && s.choice.Offline),
		"no egress guard could be set (%s): packets to addresses outside a cluster may leave this machine", h.EgressGuard)
	add(h.CPUs < 2, "a run wants two cores, and this host has %d", h.CPUs)
	add(h.MemoryFreeBytes > 0 && h.MemoryFreeBytes < memoryFree, "a run wants %s of free memory, and %s are free", size(memoryFree), size(h.MemoryFreeBytes))
	disk := uint64(diskToRun)
	if s.choice != nil && s.choice.From == nodeimage.FromBuild {
		disk = diskToBuild
	}
	add(h.DiskFreeBytes > 0 && h.DiskFreeBytes < disk, "a run wants %s of free disk for the engine, and %s are free", size(disk), size(h.DiskFreeBytes))
	return all
}

// size is a number of bytes for a person.
func size(bytes uint64) string { return fmt.Sprintf("%.1f GiB", float64(bytes)/gib) }
