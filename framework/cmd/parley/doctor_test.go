package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
	"github.com/parley-k8s/parley/reports"
)

// asking are choices by pairs of an axis's flag and what it is given.
func asking(pairs ...string) *axis.Choices { return askingOf(axis.All(), pairs...) }

func askingOf(axes []axis.Axis, pairs ...string) *axis.Choices {
	given := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		given[pairs[i]] = pairs[i+1]
	}
	return axis.Choose(axes, given)
}

// of are the options of the axis with that key.
func (d diagnosis) of(key string) []option {
	for _, a := range d.Axes {
		if a.Line.Key == key {
			return a.Options
		}
	}
	return nil
}

func TestDiagnose(t *testing.T) {
	noEngine := cluster.HostFacts{Root: true, EngineError: "no container engine answers", Attempts: []engine.Attempt{{Engine: "docker", Result: "not installed"}}}
	podman := cluster.HostFacts{Root: true, Engine: "podman 4.3.1"}
	with := func(h cluster.HostFacts, change func(*cluster.HostFacts)) cluster.HostFacts {
		change(&h)
		return h
	}
	lacks := func(names ...string) func(*cluster.HostFacts) {
		return func(h *cluster.HostFacts) {
			for _, n := range names {
				h.Features = append(h.Features, cluster.Feature{Name: n, Error: "no such thing", For: "something"})
			}
		}
	}
	offline := &nodeimage.Choice{Ref: "localhost/parley/node:1", From: nodeimage.FromBuild, Offline: true}
	pulled := &nodeimage.Choice{Ref: "kindest/node:v1", From: nodeimage.FromRegistry}
	unguarded := func(h *cluster.HostFacts) { h.EgressGuard = "not permitted" }
	for _, c := range []struct {
		name   string
		seen   hostState
		whyNot string // "" where a run is possible
		notes  int
	}{
		{name: "no engine and none to be had", seen: hostState{host: noEngine, mayInstall: errors.New("it is installed by itself on Debian only")}, whyNot: "no container engine answers", notes: 1},
		{name: "podman would be installed", seen: hostState{host: noEngine}, notes: 1},
		{name: "offline build", seen: hostState{host: podman, choice: offline}},
		{name: "no node image", seen: hostState{host: podman, choiceError: errors.New("needs root")}, whyNot: "needs root"},
		{name: "offline without a guard", seen: hostState{host: with(podman, unguarded), choice: offline}, whyNot: "egress guard"},
		{name: "registry without a guard", seen: hostState{host: with(podman, unguarded), choice: pulled}, notes: 1},
		{name: "gaps that forbid nothing", seen: hostState{host: with(podman, lacks("ipvs", "netem")), choice: offline}},
		{name: "gaps that do", seen: hostState{host: with(podman, lacks("veth")), choice: offline}, whyNot: "veth"},
		{name: "another kernel's gaps", seen: hostState{host: with(podman, lacks("veth")), choice: pulled, remote: true}, notes: 1},
		{name: "gaps not tried", seen: hostState{host: with(podman, func(h *cluster.HostFacts) {
			h.Root, h.Features = false, []cluster.Feature{{Name: "veth", Error: "making namespaces: operation not permitted"}}
		}), choice: pulled}},
		{name: "dual-stack", seen: hostState{host: podman, choice: offline, asked: asking("family", "dual")}},
		{name: "no such family", seen: hostState{host: podman, choice: offline, asked: asking("family", "ipv5")}, whyNot: "-family ipv5: choose of ipv4, ipv6, dual"},
		{name: "a proxy mode that the kernel lacks", seen: hostState{host: with(podman, lacks("ipvs")), choice: offline, asked: asking("proxy-mode", "ipvs")}, whyNot: "-proxy-mode ipvs: this host's kernel shows no ipvs"},
		{name: "a version", seen: hostState{host: podman, choice: &nodeimage.Choice{From: nodeimage.FromBuild, Offline: true, Containerd: "v2.1.9"}, asked: asking("containerd", "2.1")}},
		{name: "a runtime", seen: hostState{host: podman, choice: offline, asked: asking("runtime", "crio")}},
		{name: "a runtime that can't be had", seen: hostState{host: podman, choice: offline, asked: asking("runtime", "containerd,crio"), unavailable: map[string]string{"crio": "no bundle"}}, whyNot: "-runtime crio: no bundle"},
		{name: "no such runtime", seen: hostState{host: podman, choice: offline, asked: asking("runtime", "rkt")}, whyNot: "-runtime rkt: choose of containerd, crio, docker"},
		{name: "a handler", seen: hostState{host: podman, choice: offline, asked: asking("runtime", "containerd", "handler", "crun")}},
		{name: "a handler of another runtime", seen: hostState{host: podman, choice: offline, asked: asking("runtime", "crio", "handler", "runc")}},
		{name: "a handler that is containerd's", seen: hostState{host: podman, choice: offline, asked: asking("runtime", "crio", "handler", "runc,crun")}, whyNot: "crun: it is set up in containerd, and the nodes' runtime would be crio"},
		{name: "a version of containerd and another runtime", seen: hostState{host: podman, choice: offline, asked: asking("runtime", "docker", "containerd", "2.1")},
			whyNot: "containerd-2.1: it is a version of containerd, and the nodes' runtime would be docker"},
		{name: "small", seen: hostState{host: with(podman, func(h *cluster.HostFacts) { h.CPUs, h.MemoryFreeBytes, h.DiskFreeBytes = 1, gib, 5*gib }), choice: offline}, notes: 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.seen.host.CPUs == 0 {
				c.seen.host.CPUs = 2
			}
			d := diagnose(c.seen)
			require.Equal(t, c.whyNot == "", d.Possible, d.WhyNot)
			require.Contains(t, d.WhyNot, c.whyNot)
			require.Len(t, d.Notes, c.notes, "%v", d.Notes)
			require.Equal(t, c.seen.host.Engine == "" && c.seen.mayInstall == nil, d.Engine.Install != "")
			require.Equal(t, len(c.seen.host.Features), len(d.KernelGaps)+len(d.Untried))
			var text bytes.Buffer
			require.NoError(t, writeDiagnosis(&text, d))
			require.NotContains(t, text.String(), "%!")
		})
	}
}

func TestDiagnoseAxes(t *testing.T) {
	d := diagnose(hostState{unavailable: map[string]string{"docker": "not looked for"}, host: cluster.HostFacts{Features: []cluster.Feature{{Name: "ipv6 sockets"}, {Name: "dummy"}, {Name: "nftables", There: true}}}})
	there := map[string]bool{}
	for _, options := range [][]option{d.of("runtimes"), d.of("addressFamilies"), d.of("proxyModes"), d.of("handlers")} {
		used := 0
		for _, o := range options {
			there[o.Name] = o.There
			if o.Use {
				used++
			}
		}
		require.Equal(t, 1, used, "a run uses one value of each axis")
	}
	require.Equal(t, map[string]bool{"containerd": true, "crio": true, "docker": false, "ipv4": true, "ipv6": false, "dual": false, "iptables": true, "nftables": true, "ipvs": false,
		"runc": true, "crun": true, "runsc": true}, there)
}

func TestDiagnoseVersions(t *testing.T) {
	used := func(all []option) (names []string) {
		for _, o := range all {
			require.True(t, o.There)
			if o.Use {
				names = append(names, o.Name)
			}
		}
		return names
	}
	offline := &nodeimage.Choice{Offline: true, Containerd: "v2.4.2"}
	for name, c := range map[string]struct {
		seen                   hostState
		kubernetes, containerd []string
	}{
		"the offline image":          {hostState{choice: offline}, []string{"1.36"}, []string{"2.4"}},
		"an older containerd":        {hostState{choice: offline, asked: asking("containerd", "1.7")}, []string{"1.35"}, []string{"1.7"}},
		"another runtime":            {hostState{choice: offline, asked: asking("runtime", "crio")}, []string{"1.36"}, nil},
		"an image from elsewhere":    {hostState{choice: &nodeimage.Choice{Ref: "kindest/node:v1"}}, nil, nil},
		"no image that is known yet": {hostState{}, nil, nil},
	} {
		d := diagnose(c.seen)
		require.Equal(t, c.kubernetes, used(d.of("kubernetesVersions")), name)
		require.Equal(t, c.containerd, used(d.of("containerdVersions")), name)
	}
	columns, err := asking("kubernetes", "1.34,1.35", "containerd", "1.7").Columns("")
	require.NoError(t, err)
	require.Equal(t, nodeimage.Versions{Kubernetes: "1.34", Containerd: "1.7"}, columns[0].Spec().Versions, "of several, the first one's image is told")
}

// The members of the output, in their order: others read them.
func TestDoctorsMembers(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, writeJSON(&out, diagnose(hostState{host: cluster.HostFacts{EngineError: "<none> & nothing"}})))
	require.Contains(t, out.String(), "<none> & nothing", "as it was written")
	d := json.NewDecoder(&out)
	var members []string
	_, err := d.Token()
	require.NoError(t, err)
	for d.More() {
		key, err := d.Token()
		require.NoError(t, err)
		members = append(members, key.(string))
		var value json.RawMessage
		require.NoError(t, d.Decode(&value))
	}
	want := []string{"possible", "whyNot", "engine", "nodeImage", "runtimes", "addressFamilies", "proxyModes",
		"kubernetesVersions", "containerdVersions", "handlers", "kernelGaps", "untried", "notes", "host"}
	members = slices.DeleteFunc(members, func(key string) bool { return !slices.Contains(want, key) }) // others may be added
	require.Equal(t, want, members)
}

// An axis that no other code knows of has its flag, its help, and its line in both forms of the output.
func TestDoctorShowsAFurtherAxis(t *testing.T) {
	colour := axis.Axis{
		Name: "colour", Flag: "colour", Set: "colours", Chooses: "colour of a cluster that is made",
		Values: []axis.Value{{Word: "red"}, {Word: "blue", Lacks: func(h axis.Host) string { return h.Lacking["paint"] }}},
		Apply:  func(s *axis.Spec, colour string) { s.Handler = colour },
		Doctor: axis.DoctorLine{Key: "colours", Label: "colours"},
	}
	axes := append(axis.All(), colour)
	flag := doctorOf(axes).Flags().Lookup("colour")
	require.NotNil(t, flag)
	require.Equal(t, "colour of a cluster that is made: red or blue; of several, separated by commas, each gets a cluster", flag.Usage)
	t.Setenv("PARLEY_COLOUR", "blue")
	require.Equal(t, "blue", doctorOf(axes).Flags().Lookup("colour").Value.String())

	host := cluster.HostFacts{Engine: "podman 4.3.1", CPUs: 2, Features: []cluster.Feature{{Name: "paint", Error: "all dry"}}}
	d := diagnose(hostState{host: host, asked: askingOf(axes, "colour", "red,blue")})
	require.False(t, d.Possible)
	require.Equal(t, "-colour blue: all dry", d.WhyNot)
	var text, form bytes.Buffer
	require.NoError(t, writeDiagnosis(&text, d))
	require.Regexp(t, `(?m)^colours +red \(used: asked for by -colour\)$`, text.String())
	require.NoError(t, writeJSON(&form, d))
	var got struct{ Colours []option }
	require.NoError(t, json.Unmarshal(form.Bytes(), &got))
	require.Equal(t, []option{{"red", true, true, "asked for by -colour"}, {"blue", true, false, "all dry"}}, got.Colours)
	d = diagnose(hostState{host: host, asked: askingOf(axes, "colour", "grey")})
	require.Equal(t, "-colour grey: choose of red, blue", d.WhyNot)
}

func TestDoctorOfThisHost(t *testing.T) {
	// An image that is named: no registry is asked for one.
	code, out, errOut := parley(t, "doctor", "-o", "json", "--node-image", "localhost/parley/node:named")
	var d diagnosis
	require.NoError(t, json.Unmarshal([]byte(out), &d), errOut)
	require.NotNil(t, d.KernelGaps)
	require.NotNil(t, d.Notes)
	if d.Possible {
		require.Equal(t, reports.ExitPassed, code)
		require.Empty(t, errOut)
	} else {
		require.Equal(t, reports.ExitUnjudged, code)
		require.Contains(t, errOut, sentence(errors.New(d.WhyNot)))
	}
	require.NotEmpty(t, d.Engine.Attempts)
}

func TestDoctorWithoutAnEngine(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	code, out, errOut := parley(t, "doctor", "--install=false")
	require.Equal(t, reports.ExitUnjudged, code)
	require.Contains(t, out, "none answers")
	require.Contains(t, errOut, "docker (not installed), podman (not installed), nerdctl (not installed)")
}
