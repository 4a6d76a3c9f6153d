package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
)

// diagnosis is what `parley doctor -o json` prints. The form is read by others: fields are added, never changed.
type diagnosis struct {
	Possible bool   `json:"possible"` // a run could be made on this host
	WhyNot   string `json:"whyNot"`   // "" where it could
	Engine   chosen `json:"engine"`
	// NodeImage is null where it can't be told: without an engine, or without a way to get one.
	NodeImage       *nodeimage.Choice `json:"nodeImage"`
	Runtimes        []option          `json:"runtimes"`
	AddressFamilies []option          `json:"addressFamilies"`
	ProxyModes      []option          `json:"proxyModes"`
	Kubernetes      []option          `json:"kubernetesVersions"`
	Containerd      []option          `json:"containerdVersions"`
	Handlers        []option          `json:"handlers"`
	KernelGaps      []cluster.Feature `json:"kernelGaps"`
	Untried         []string          `json:"untried"` // features that this user may not try
	Notes           []string          `json:"notes"`
	Host            cluster.HostFacts `json:"host"`
}

// chosen is the engine that a run would use.
type chosen struct {
	Use      string           `json:"use"`      // name and version; "" where none answers
	Install  string           `json:"install"`  // what would be installed; "" for nothing
	Attempts []engine.Attempt `json:"attempts"` // what was tried, in order
}

// option is one value of an axis of a cluster.
type option struct {
	Name string `json:"name"`
	Use  bool   `json:"use"` // a run uses it
	// There says that this host has what it takes.
	There bool   `json:"there"`
	Why   string `json:"why"`
}

// seen is what a diagnosis is made of.
type seen struct {
	host        cluster.HostFacts
	remote      bool              // the engine's containers run in another kernel
	choice      *nodeimage.Choice // nil where there is none
	choiceError error             // why not
	mayInstall  error             // why podman can't be installed; nil where it can

	family, proxyMode, runtime, handler string             // asked for; "" is the default
	versions                            nodeimage.Versions // the same
	// runtimes are those that can't be had, or were not looked for, with why.
	runtimes map[string]string
}

func newDoctor() *cobra.Command {
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
	family := cmd.Flags().String("family", variable("family"), "address families of a cluster: ipv4, ipv6 or dual")
	proxyMode := cmd.Flags().String("proxy-mode", variable("proxy-mode"), "mode of kube-proxy: iptables, nftables or ipvs")
	versions := versionFlags(cmd)
	runtime := cmd.Flags().String("runtime", variable("runtime"), "container runtime of the nodes: containerd, crio or docker")
	bundles := cmd.Flags().String(nodeimage.BundlesFlag, variable(nodeimage.BundlesFlag), "the folder with the release archives of runtimes other than containerd")
	handler := cmd.Flags().String("handler", variable("handler"), "OCI handler that is judged: runc, crun or runsc")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		form, err := form()
		if err != nil {
			return err
		}
		s := look(cmd.Context(), *node, firstOf(*versions), *install)
		s.family, s.proxyMode, s.runtime, s.handler = *family, *proxyMode, *runtime, *handler
		s.runtimes = lookForRuntimes(cmd.Context(), *runtime, *bundles)
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

// look reads the host, without a change.
func look(ctx context.Context, node string, v nodeimage.Versions, install bool) seen {
	s := seen{host: cluster.Host(ctx), mayInstall: engine.Installable(), versions: v}
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
	choice, err := nodeimage.Plan(ctx, e, node, v)
	if err != nil {
		s.choiceError = err
	} else {
		s.choice = &choice
	}
	return s
}

// lookForRuntimes are the runtimes that can't be had, with why. Addresses outside are asked only for those that a run asks for.
func lookForRuntimes(ctx context.Context, asked, bundles string) map[string]string {
	lacking := map[string]string{}
	for _, rt := range cluster.Runtimes() {
		why := nodeimage.NotAsked(rt, bundles)
		if why != "" && slices.Contains(strings.Split(asked, ","), rt.Name) {
			why = nodeimage.Lacks(ctx, rt, bundles)
		}
		if why != "" {
			lacking[rt.Name] = why
		}
	}
	return lacking
}

// diagnose judges what was seen.
func diagnose(s seen) diagnosis {
	d := diagnosis{
		Host: s.host, NodeImage: s.choice, KernelGaps: []cluster.Feature{}, Untried: []string{}, Notes: []string{},
		Engine: chosen{Use: s.host.Engine, Attempts: s.host.Attempts},
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
	host := axis.HostOf(s.host, false)
	host.Runtimes = s.runtimes
	for _, a := range axis.All() {
		switch a.Flag {
		case "family":
			d.AddressFamilies = options(a, s.family, host)
		case "proxy-mode":
			d.ProxyModes = options(a, s.proxyMode, host)
		case "kubernetes":
			d.Kubernetes = versionOptions(a, s.versions.Kubernetes, s.built().Kubernetes)
		case "containerd":
			d.Containerd = versionOptions(a, s.versions.Containerd, s.built().Containerd)
		case "runtime":
			d.Runtimes = options(a, s.runtime, host)
		case "handler":
			d.Handlers = options(a, s.handler, host)
		}
	}
	d.WhyNot = cmp.Or(whyNot(s, lacks), unfit(s, "-family", s.family, d.AddressFamilies), unfit(s, "-proxy-mode", s.proxyMode, d.ProxyModes),
		unfit(s, "-runtime", s.runtime, d.Runtimes), unfit(s, "-handler", s.handler, d.Handlers), apart(s.versions, s.runtime, s.handler))
	d.Possible = d.WhyNot == ""
	if s.host.Engine == "" && s.mayInstall == nil {
		d.Engine.Install = "podman, from Debian's packages"
		d.Notes = append(d.Notes, "the node image is chosen when podman is there: kind's own where a registry gives it, else one that is built offline")
	}
	d.Notes = append(d.Notes, notes(s)...)
	return d
}

// options are the values of an axis, each with why it is not there. The first is what a run uses where it is
// asked for no others by its flag.
func options(a axis.Axis, asked string, host axis.Host) []option {
	var all []option
	words := strings.Split(cmp.Or(asked, a.Values[0].Word), ",")
	for i, v := range a.Values {
		o := option{Name: v.Word, Use: slices.Contains(words, v.Word), There: true}
		if v.Lacks != nil {
			o.Why = v.Lacks(host)
			o.There = o.Why == ""
		}
		switch {
		case !o.There:
		case o.Use && asked != "":
			o.Why = "asked for by -" + a.Flag
		case i == 0 && o.Use:
			o.Why = "what a cluster is made with unless -" + a.Flag + " says otherwise"
		default:
			o.Why = "for a run with -" + a.Flag + " " + o.Name
		}
		all = append(all, o)
	}
	return all
}

// unfit says why a run can't have the values that it is asked for; "" where it can.
func unfit(s seen, flag, asked string, options []option) string {
	var names []string
	used := 0
	for _, o := range options {
		names = append(names, o.Name)
		if !o.Use {
			continue
		}
		if used++; !o.There && !s.remote {
			return fmt.Sprintf("%s %s: %s", flag, o.Name, o.Why)
		}
	}
	if used <= strings.Count(asked, ",") {
		return fmt.Sprintf("%s %s: choose of %s", flag, asked, strings.Join(names, ", "))
	}
	return ""
}

// required are the features without which no cluster of nodes in containers runs.
var required = []string{"overlay file system", "bridge", "veth"}

// whyNot says why no run could be made; "" where one could.
func whyNot(s seen, lacks map[string]bool) string {
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
func notes(s seen) []string {
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
