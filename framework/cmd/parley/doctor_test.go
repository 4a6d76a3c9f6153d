package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
	"github.com/parley-k8s/parley/reports"
)

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
		seen   seen
		whyNot string // "" where a run is possible
		notes  int
	}{
		{name: "no engine and none to be had", seen: seen{host: noEngine, mayInstall: errors.New("it is installed by itself on Debian only")}, whyNot: "no container engine answers", notes: 1},
		{name: "podman would be installed", seen: seen{host: noEngine}, notes: 1},
		{name: "offline build", seen: seen{host: podman, choice: offline}},
		{name: "no node image", seen: seen{host: podman, choiceError: errors.New("needs root")}, whyNot: "needs root"},
		{name: "offline without a guard", seen: seen{host: with(podman, unguarded), choice: offline}, whyNot: "egress guard"},
		{name: "registry without a guard", seen: seen{host: with(podman, unguarded), choice: pulled}, notes: 1},
		{name: "gaps that forbid nothing", seen: seen{host: with(podman, lacks("ipvs", "netem")), choice: offline}},
		{name: "gaps that do", seen: seen{host: with(podman, lacks("veth")), choice: offline}, whyNot: "veth"},
		{name: "another kernel's gaps", seen: seen{host: with(podman, lacks("veth")), choice: pulled, remote: true}, notes: 1},
		{name: "gaps not tried", seen: seen{host: with(podman, func(h *cluster.HostFacts) {
			h.Root, h.Features = false, []cluster.Feature{{Name: "veth", Error: "making namespaces: operation not permitted"}}
		}), choice: pulled}},
		{name: "dual-stack", seen: seen{host: podman, choice: offline, family: "dual"}},
		{name: "no such family", seen: seen{host: podman, choice: offline, family: "ipv5"}, whyNot: "-family ipv5: choose of ipv4, ipv6, dual"},
		{name: "a proxy mode that the kernel lacks", seen: seen{host: with(podman, lacks("ipvs")), choice: offline, proxyMode: "ipvs"}, whyNot: "-proxy-mode ipvs: this host's kernel shows no ipvs"},
		{name: "a version", seen: seen{host: podman, choice: &nodeimage.Choice{From: nodeimage.FromBuild, Offline: true, Containerd: "v2.1.9"}, versions: nodeimage.Versions{Containerd: "2.1"}}},
		{name: "a runtime", seen: seen{host: podman, choice: offline, runtime: "crio"}},
		{name: "a runtime that can't be had", seen: seen{host: podman, choice: offline, runtime: "containerd,crio", runtimes: map[string]string{"crio": "no bundle"}}, whyNot: "-runtime crio: no bundle"},
		{name: "no such runtime", seen: seen{host: podman, choice: offline, runtime: "rkt"}, whyNot: "-runtime rkt: choose of containerd, crio, docker"},
		{name: "a handler", seen: seen{host: podman, choice: offline, runtime: "containerd", handler: "crun"}},
		{name: "a handler of another runtime", seen: seen{host: podman, choice: offline, runtime: "crio", handler: "runc"}},
		{name: "a handler that is containerd's", seen: seen{host: podman, choice: offline, runtime: "crio", handler: "runc,crun"}, whyNot: "crun: it is set up in containerd, and the nodes' runtime would be crio"},
		{name: "a version of containerd and another runtime", seen: seen{host: podman, choice: offline, runtime: "docker", versions: nodeimage.Versions{Containerd: "2.1"}},
			whyNot: "containerd-2.1: it is a version of containerd, and the nodes' runtime would be docker"},
		{name: "small", seen: seen{host: with(podman, func(h *cluster.HostFacts) { h.CPUs, h.MemoryFreeBytes, h.DiskFreeBytes = 1, gib, 5*gib }), choice: offline}, notes: 3},
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
	d := diagnose(seen{runtimes: map[string]string{"docker": "not looked for"}, host: cluster.HostFacts{Features: []cluster.Feature{{Name: "ipv6 sockets"}, {Name: "dummy"}, {Name: "nftables", There: true}}}})
	there := map[string]bool{}
	for _, axis := range [][]option{d.Runtimes, d.AddressFamilies, d.ProxyModes, d.Handlers} {
		used := 0
		for _, o := range axis {
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
		seen                   seen
		kubernetes, containerd []string
	}{
		"the offline image":          {seen{choice: offline}, []string{"1.36"}, []string{"2.4"}},
		"an older containerd":        {seen{choice: offline, versions: nodeimage.Versions{Containerd: "1.7"}}, []string{"1.35"}, []string{"1.7"}},
		"another runtime":            {seen{choice: offline, runtime: "crio"}, []string{"1.36"}, nil},
		"an image from elsewhere":    {seen{choice: &nodeimage.Choice{Ref: "kindest/node:v1"}}, nil, nil},
		"no image that is known yet": {seen{}, nil, nil},
	} {
		d := diagnose(c.seen)
		require.Equal(t, c.kubernetes, used(d.Kubernetes), name)
		require.Equal(t, c.containerd, used(d.Containerd), name)
	}
	require.Equal(t, nodeimage.Versions{Kubernetes: "1.34", Containerd: "1.7"}, firstOf(nodeimage.Versions{Kubernetes: "1.34,1.35", Containerd: "1.7"}))
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
