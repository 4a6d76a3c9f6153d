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
	"github.com/parley-k8s/parley/framework/internal/matrix"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
	"k8s.io/apimachinery/pkg/util/validation"
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
	Family      string
	ProxyMode   string
	Kubernetes  string
	Containerd  string
	Runtime     string
	Bundles     string
	Handler     string
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
	fs.StringVar(&c.AgentImage, "agent-image", "", "the agent's image on a cluster of yours (see `parley image push`)")
	fs.StringVar(&c.PullSecrets, "pull-secrets", "", "secrets to pull the agent's image with, as namespace/name, separated by commas")
	fs.StringVar(&c.NodeImage, "node-image", "", "the node image to make clusters of; empty chooses one")
	fs.StringVar(&c.Engine, "engine", "", "the container engine: docker, podman or nerdctl; empty finds one")
	fs.StringVar(&c.Report, "report", "", "the folder for the reports; empty is reports/out in the module's root")
	fs.BoolVar(&c.Keep, "keep", false, "keep the cluster and say how to look in")
	fs.BoolVar(&c.Prove, "prove", false, "prove that each requirement can fail, by its negative control")
	fs.StringVar(&c.ProveOnly, "prove-only", "", "prove only these of the requirements that run, as in -select")
	fs.DurationVar(&c.ProveWithin, "prove-within", 0, "begin no proof after this time; the order is drawn by -prove-seed, so that other rows are proved each time; 0 proves all")
	fs.StringVar(&c.ProveSeed, "prove-seed", "", "what the order of the proofs is drawn by: a commit's hash")
	fs.StringVar(&c.Family, "family", "", "address families of a cluster that is made: ipv4, ipv6 or dual; of several, separated by commas, each gets a cluster")
	fs.StringVar(&c.ProxyMode, "proxy-mode", "", "mode of kube-proxy in a cluster that is made: iptables, nftables or ipvs; of several, separated by commas, each gets a cluster")
	fs.StringVar(&c.Kubernetes, "kubernetes", "", "version of Kubernetes of a cluster that is made: "+strings.Join(nodeimage.KubernetesVersions(), ", ")+"; of several, separated by commas, each gets a cluster")
	fs.StringVar(&c.Containerd, "containerd", "", "version of containerd of a cluster that is made: "+strings.Join(nodeimage.ContainerdVersions(), ", ")+"; of several, separated by commas, each gets a cluster")
	fs.StringVar(&c.Runtime, "runtime", "", "container runtime of the nodes of a cluster that is made: containerd, crio or docker; of several, separated by commas, each gets a cluster")
	fs.StringVar(&c.Bundles, nodeimage.BundlesFlag, "", "the folder with the release archives of runtimes other than containerd, or one archive, with their checksums beside them; empty fetches releases from their official addresses")
	fs.StringVar(&c.Handler, "handler", "", "the OCI handler that is judged: runc, crun or runsc on a cluster that is made, the name of a RuntimeClass on one of yours; several, separated by commas, are judged one after the other on the same cluster")
	fs.StringVar(&c.Matrix, "matrix", "", "clusters to judge side by side, each one or more values joined by '+': 'iptables nftables dual+nftables', or the sets proxies, families, versions, containerds, runtimes and handlers")
	fs.StringVar(&c.Known, "known", "", "a YAML file of known differences (id, where, link, expires, why): their failures are shown and not counted until they expire")
	fs.BoolVar(&c.Strict, "strict", false, "let a failed SHOULD fail the run")
	fs.BoolVar(&c.Slow, "slow", false, "run the requirements that take minutes too")
	fs.BoolVar(&c.Measure, "measure", false, "measure latency, throughput and connections a second of the cluster's paths, after the verdicts (half a minute; never judged)")
	fs.BoolVar(&c.Faults, "faults", false, "allow faults to be injected into a cluster of yours")
	fs.BoolVar(&c.Install, "install", true, "install podman from Debian's packages where no engine is there and it may")
	fs.StringVar(&c.Reference, "reference", "", "on a cluster of yours: the image of the reference implementations of LoadBalancer, Ingress and Gateway API, which are tested in place of the cluster's own (see `parley image push --reference`)")
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
	var problem error
	own.VisitAll(func(f *flag.Flag) {
		variable := variablePrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, set := os.LookupEnv(variable)
		if !set || given[f.Name] || value == "" {
			return
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

func (c *Config) check(given map[string]bool) error {
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("%q is no flag: flags begin with a hyphen and stand after -args", flag.Arg(0))
	case c.Workers < 1:
		return fmt.Errorf("-workers %d: a cluster needs at least one worker", c.Workers)
	case c.ProveWithin < 0:
		return fmt.Errorf("-prove-within %s: a time can't be negative", c.ProveWithin)
	case c.existing() && slices.ContainsFunc(ofMadeClusters, func(name string) bool { return given[name] }):
		return fmt.Errorf("-%s are for clusters that Parley makes; leave them out with -kubeconfig or -context", strings.Join(ofMadeClusters, ", -"))
	case !c.existing() && (c.AgentImage != "" || c.PullSecrets != ""):
		return fmt.Errorf("-agent-image and -pull-secrets are for a cluster of yours: name it with -kubeconfig or -context")
	}
	return nil
}

// ofMadeClusters are the flags that say what cluster to make.
var ofMadeClusters = []string{"node-image", "workers", "keep", "family", "proxy-mode", "kubernetes", "containerd", "runtime", nodeimage.BundlesFlag, "matrix", "engine"}

// axes are the values of the flags of the axes, by name.
func (c *Config) axes() map[string]*string {
	return map[string]*string{"family": &c.Family, "proxy-mode": &c.ProxyMode, "kubernetes": &c.Kubernetes, "containerd": &c.Containerd,
		"runtime": &c.Runtime, handlerFlag: &c.Handler}
}

// columns are the clusters that the flags ask for, and what shares one. One cluster is made with its values set in the flags.
func (c *Config) columns() ([]axis.Column, error) {
	lists := map[string]string{}
	for flag, value := range c.axes() {
		lists[flag] = *value
	}
	all := axis.All()
	if c.existing() {
		var err error
		if all, err = withRuntimeClasses(all, split(c.Handler)); err != nil {
			return nil, err
		}
	}
	columns, err := axis.Columns(all, lists, c.Matrix)
	if err != nil {
		return nil, err
	}
	groups := axis.Groups(columns)
	switch {
	case c.existing() && (len(groups) > 1 || c.Matrix != ""):
		return nil, fmt.Errorf("-matrix and lists of values make clusters: leave them out with -kubeconfig or -context, and compare saved reports with `parley diff`")
	case c.NodeImage != "" && slices.ContainsFunc(columns, func(c axis.Column) bool { return matrix.VersionsOf(c) != nodeimage.Versions{} }):
		return nil, nodeimage.ErrNamedVersions
	case len(groups) == 1:
		values := c.axes()
		for name, value := range groups[0].Flags() {
			if to := values[name]; to != nil {
				*to = value
			} else if err := flag.Set(name, value); err != nil {
				return nil, fmt.Errorf("%s asks for -%s %s: %w", groups[0].Name(), name, value, err)
			}
		}
	}
	return columns, nil
}

// withRuntimeClasses are the axes with the RuntimeClasses of a user's cluster in place of the handlers that Parley knows.
func withRuntimeClasses(axes []axis.Axis, names []string) ([]axis.Axis, error) {
	axes = slices.Clone(axes)
	for i := range axes {
		if axes[i].Flag != handlerFlag || len(names) == 0 {
			continue
		}
		axes[i].Values = nil
		for _, name := range names {
			if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
				return nil, fmt.Errorf("-%s %s is no name of a RuntimeClass: %s", handlerFlag, name, strings.Join(problems, "; "))
			}
			if !slices.ContainsFunc(axes[i].Values, func(v axis.Value) bool { return v.Word == name }) {
				axes[i].Values = append(axes[i].Values, axis.Value{Word: name})
			}
		}
	}
	return axes, nil
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
