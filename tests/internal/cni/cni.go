// Package cni reads where a container runtime looks for CNI configurations and plugins, and what a configuration asks
// for (the CNI specification, https://www.cni.dev/docs/spec/).
package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/version"
)

// Places are where a runtime looks.
type Places struct {
	Config string   // the folder of configurations
	Bins   []string // the folders of plugins, the first that has one counts
	// Told is whether the runtime said so; otherwise these are the defaults of libcni and of its users.
	Told bool
}

// PlacesOf reads the verbose half of a CRI Status. containerd tells, in a document named config; others do not.
func PlacesOf(info map[string]string) Places {
	var config struct {
		CNI struct {
			Config string   `json:"confDir"`
			Bins   []string `json:"binDirs"`
			Bin    string   `json:"binDir"` // before containerd 2.1
		} `json:"cni"`
	}
	p := Places{Config: "/etc/cni/net.d", Bins: []string{"/opt/cni/bin", "/usr/libexec/cni", "/usr/lib/cni"}}
	if json.Unmarshal([]byte(info["config"]), &config) != nil || config.CNI.Config == "" {
		return p
	}
	bins := config.CNI.Bins
	if len(bins) == 0 && config.CNI.Bin != "" {
		bins = []string{config.CNI.Bin}
	}
	if len(bins) == 0 {
		bins = p.Bins
	}
	return Places{Config: config.CNI.Config, Bins: bins, Told: true}
}

// Loaded is what the runtime says of loading its configuration, "" where it does not.
func Loaded(info map[string]string) string { return info["lastCNILoadStatus"] }

// FirstOf is the file that libcni takes of a folder: the first by name of those that are configurations.
func FirstOf(names []string) (first string, ok bool) {
	for _, name := range slices.Sorted(slices.Values(names)) {
		switch path.Ext(name) {
		case ".conf", ".conflist", ".json":
			return name, true
		}
	}
	return "", false
}

// Network is what a configuration asks for.
type Network struct {
	Name    string
	Version string   // of the specification
	Plugins []string // their types, in order; IPAM plugins too
}

// Parse reads a configuration as libcni does. Versions that its library does not know are an error.
func Parse(file string, data []byte) (Network, error) {
	list, err := parse(file, data)
	if err != nil {
		return Network{}, fmt.Errorf("reading %s: %w", file, err)
	}
	n := Network{Name: list.Name, Version: list.CNIVersion}
	if n.Version == "" {
		n.Version = "0.1.0" // the specification's default
	}
	if !slices.Contains(version.All.SupportedVersions(), n.Version) {
		return Network{}, fmt.Errorf("reading %s: version %q of the CNI specification is none of %v", file, n.Version, version.All.SupportedVersions())
	}
	for _, plugin := range list.Plugins {
		n.Plugins = append(n.Plugins, plugin.Network.Type)
		if ipam := plugin.Network.IPAM.Type; ipam != "" {
			n.Plugins = append(n.Plugins, ipam)
		}
	}
	if len(n.Plugins) == 0 {
		return Network{}, fmt.Errorf("reading %s: %w", file, errors.New("it names no plugin"))
	}
	return n, nil
}

func parse(file string, data []byte) (*libcni.NetworkConfigList, error) {
	if path.Ext(file) == ".conflist" {
		return libcni.NetworkConfFromBytes(data)
	}
	one, err := libcni.NetworkPluginConfFromBytes(data) // runtimes still take single configurations
	if err != nil {
		return nil, err
	}
	return &libcni.NetworkConfigList{Name: one.Network.Name, CNIVersion: one.Network.CNIVersion, Plugins: []*libcni.PluginConfig{one}}, nil
}
