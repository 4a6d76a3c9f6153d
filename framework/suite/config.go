package suite

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// Config is what a user can choose, by flags after -args or by environment variables PARLEY_<FLAG>.
type Config struct {
	Select      string
	Level       string
	Kubeconfig  string
	Context     string
	AgentImage  string
	PullSecrets string
	NodeImage   string
	Engine      string
	Report      string
	Keep        bool
	Prove       bool
	ProveOnly   string
	ProveWithin time.Duration
	ProveSeed   string
	Axes        *axis.Choices // what the axes' own flags say
	Matrix      string
	Known       string
	Strict      bool
	Slow        bool
	Measure     bool
	Faults      bool
	Install     bool
	Workers     int
	Reference   string
	Addresses   string

	// Features is e2e-framework's own configuration: its flags -feature, -labels, -skip-labels,
	// -skip-features, -fail-fast and -dry-run choose as its users expect.
	Features *envconf.Config
}

// variablePrefix begins the environment variable of each flag.
const variablePrefix = "PARLEY_"

// register declares the flags.
func (c *Config) register(fs *flag.FlagSet) {
	fs.StringVar(&c.Select, "select", "", "requirements to run: IDs, chapters or patterns, separated by commas (pod, 'dns/*', service/hairpin)")
	fs.StringVar(&c.Level, "level", "", "levels to run, separated by commas: MUST, SHOULD, OPTIONAL")
	fs.StringVar(&c.AgentImage, "agent-image", "", "the agent's image on a cluster of yours (see parley image push)")
	fs.StringVar(&c.PullSecrets, "pull-secrets", "", "secrets to pull the agent's image with, as namespace/name, separated by commas")
	fs.StringVar(&c.NodeImage, "node-image", "", "the node image to make clusters of; empty chooses one")
	fs.StringVar(&c.Engine, "engine", "", "the container engine: docker, podman or nerdctl; empty finds one")
	fs.StringVar(&c.Report, "report", "", "the folder for the reports; empty is reports/out in the module's root")
	fs.BoolVar(&c.Keep, "keep", false, "keep the cluster and say how to look in")
	fs.BoolVar(&c.Prove, "prove", false, "prove that each requirement can fail, by its negative control")
	fs.StringVar(&c.ProveOnly, "prove-only", "", "prove only these of the requirements that run, as in -select")
	fs.DurationVar(&c.ProveWithin, "prove-within", 0, "begin no proof after this time; the order is drawn by -prove-seed, so that other rows are proved each time; 0 proves all")
	fs.StringVar(&c.ProveSeed, "prove-seed", "", "what the order of the proofs is drawn by: a commit's hash")
	c.Axes = axis.Register(fs, axis.All())
	fs.StringVar(&c.Matrix, "matrix", "", "clusters to judge side by side, each one or more values joined by '+': 'iptables nftables dual+nftables', or the sets "+axis.Sets(axis.All()))
	fs.StringVar(&c.Known, "known", "", "a YAML file of known differences (id, where, link, expires, why): their failures are shown and not counted until they expire")
	fs.BoolVar(&c.Strict, "strict", false, "let a failed SHOULD or OPTIONAL fail the run")
	fs.BoolVar(&c.Slow, "slow", false, "run the requirements that take minutes too")
	fs.BoolVar(&c.Measure, "measure", false, "measure latency, throughput and connections a second of the cluster's paths, after the verdicts (half a minute; never judged)")
	fs.BoolVar(&c.Faults, "faults", false, "allow faults to be injected into a cluster of yours")
	fs.BoolVar(&c.Install, "install", true, "install podman from Debian's packages where no engine is there and it may")
	fs.StringVar(&c.Reference, "reference", "", "on a cluster of yours: the image of the reference implementations of LoadBalancer, Ingress and Gateway API, which are tested in place of the cluster's own (see parley image push --reference)")
	fs.StringVar(&c.Addresses, "reference-addresses", "", "prefixes of the nodes' network, free for the run, where the reference load balancer takes addresses from (192.0.2.64/26), separated by commas")
	fs.IntVar(&c.Workers, "workers", 2, "worker nodes of a cluster that is made")
}

// parse reads the flags, e2e-framework's among them, and the environment for what no flag says.
func (c *Config) parse() error {
	c.register(flag.CommandLine)
	features, err := envconf.NewFromFlags()
	if err != nil {
		return fmt.Errorf("reading the flags: %w", err)
	}
	c.Features = features.WithParallelTestEnabled()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	own := flag.NewFlagSet("", flag.ContinueOnError)
	new(Config).register(own)
	for _, name := range []string{"kubeconfig", "context"} {
		own.String(name, "", "")
	}
	users := given["kubeconfig"] || given["context"] || os.Getenv(variableOf("kubeconfig")) != "" || os.Getenv(variableOf("context")) != ""
	var problem error
	own.VisitAll(func(f *flag.Flag) {
		variable := variableOf(f.Name)
		value := os.Getenv(variable)
		if value == "" || given[f.Name] {
			return
		}
		if users && slices.Contains(ofMadeClusters(), f.Name) {
			return // it says how clusters are made, for all runs in this environment, and this one makes none
		}
		if err := flag.Set(f.Name, value); err != nil && problem == nil {
			problem = fmt.Errorf("%s=%q is no value for -%s: %w", variable, value, f.Name, err)
		}
	})
	if problem != nil {
		return problem
	}
	c.Kubeconfig, c.Context = flag.Lookup("kubeconfig").Value.String(), flag.Lookup("context").Value.String()
	return c.check(given)
}

// variableOf is the environment variable of a flag.
func variableOf(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func (c *Config) check(given map[string]bool) error {
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("%q is no flag: flags begin with a hyphen and stand after -args", flag.Arg(0))
	case c.Workers < 1:
		return fmt.Errorf("-workers %d: a cluster needs at least one worker", c.Workers)
	case c.ProveWithin < 0:
		return fmt.Errorf("-prove-within %s: a time can't be negative", c.ProveWithin)
	case c.existing() && slices.ContainsFunc(ofMadeClusters(), func(name string) bool { return given[name] }):
		return fmt.Errorf("-%s are for clusters that Parley makes; leave them out with -kubeconfig or -context", strings.Join(ofMadeClusters(), ", -"))
	case !c.existing() && (c.AgentImage != "" || c.PullSecrets != ""):
		return fmt.Errorf("-agent-image and -pull-secrets are for a cluster of yours: name it with -kubeconfig or -context")
	}
	return nil
}

// ofMadeClusters are the flags that say what cluster to make.
func ofMadeClusters() []string {
	return slices.Concat([]string{"node-image", "workers", "keep"}, axis.OfMadeClusters(axis.All()), []string{"matrix", "engine"})
}

// columns are the clusters that the flags ask for, and what shares one.
func (c *Config) columns() ([]axis.Column, error) {
	choices := c.Axes
	if c.existing() {
		var err error
		if choices, err = choices.Existing(); err != nil {
			return nil, err
		}
	}
	columns, err := choices.Columns(c.Matrix)
	if err != nil {
		return nil, err
	}
	switch {
	case c.existing() && (len(axis.Groups(columns)) > 1 || c.Matrix != ""):
		return nil, fmt.Errorf("-matrix and lists of values make clusters: leave them out with -kubeconfig or -context, and compare saved reports with `parley diff`")
	case c.NodeImage != "" && slices.ContainsFunc(columns, func(c axis.Column) bool { return c.Spec().Versions != nodeimage.Versions{} }):
		return nil, nodeimage.ErrNamedVersions
	}
	return columns, nil
}

// knownDifferences reads the file of known differences; none is empty.
func (c *Config) knownDifferences() ([]reports.Known, error) {
	if c.Known == "" {
		return nil, nil
	}
	f, err := os.Open(c.Known)
	if err != nil {
		return nil, fmt.Errorf("-known: %w", err)
	}
	defer f.Close()
	list, err := reports.ReadKnown(f)
	if err != nil {
		return nil, fmt.Errorf("-known %s: %w", c.Known, err)
	}
	return list, nil
}

// existing says whether the user names a cluster.
func (c *Config) existing() bool { return c.Kubeconfig != "" || c.Context != "" }

// chosen says of each requirement why it is left out; "" is chosen. An unknown name is an error.
func (c *Config) chosen(all []requirement.Requirement) (map[string]string, error) {
	patterns, err := c.patterns("select", c.Select, all)
	if err != nil {
		return nil, err
	}
	levels := split(c.Level)
	for _, level := range levels {
		if !slices.Contains([]requirement.Level{requirement.Must, requirement.Should, requirement.Optional}, requirement.Level(level)) {
			return nil, fmt.Errorf("-level %s: the levels are MUST, SHOULD and OPTIONAL", level)
		}
	}
	left := map[string]string{}
	for _, r := range all {
		switch {
		case !patterns.Has(r.ID):
			left[r.ID] = "not chosen by -select " + c.Select
		case len(levels) > 0 && !slices.Contains(levels, string(r.Level)):
			left[r.ID] = "not chosen by -level " + c.Level
		case r.Slow && !c.Slow && !patterns.Names(r.ID):
			left[r.ID] = "it takes minutes: run it with -slow"
		default:
			left[r.ID] = ""
		}
	}
	return left, nil
}

func (c *Config) patterns(name, value string, all []requirement.Requirement) (requirement.Selection, error) {
	selection, err := requirement.ParseSelection(value, all)
	if err != nil {
		return nil, fmt.Errorf("-%s: %w", name, err)
	}
	return selection, nil
}

func split(list string) (all []string) {
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); item != "" {
			all = append(all, item)
		}
	}
	return all
}
