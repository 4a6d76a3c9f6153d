package node

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/cri"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/cni"
)

// criAttempt bounds the questions to one runtime: each takes milliseconds, the stream to it some more.
const criAttempt = 10 * time.Second

// nodeRoot is the node's own file system as its first process sees it, where plugins find their libraries.
const nodeRoot = "/proc/1/root"

func cniConfig() requirement.Requirement {
	return requirement.Requirement{
		ID: "node/cni-config",
		Title: "Every node has a CNI configuration that can be read where its runtime looks, each plugin that it names is there, and the plugins " +
			"speak its version of the specification.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/network-plugins/",
			Says: "The container runtime loads the CNI plugins that implement the network model; they have to be compatible with version " +
				"0.4.0 of the CNI specification or later.",
		},
		Why: "The runtime reads the folder when something changes in it. A broken file there, or a plugin that an update removed, lets " +
			"running pods run and no new pod start, with an error that names neither.",
		Needs:       []requirement.Feature{requirement.NodeAgent},
		PodSecurity: "privileged",
		Roles:       []world.Role{world.Node},
		Check: func(ctx context.Context, env *requirement.Env) error {
			for _, end := range asked(env, env.Roles(world.Node)) {
				if err := env.Until(ctx, func(ctx context.Context) error { return cniUsable(ctx, env, end) }); err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says:  "a file that is no configuration in its place, in one agent's own mount namespace",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.FileInPlaceOf(cniFileOf, `{"cniVersion": "1.0.0", "name": "parley"`)}},
			Red:   []requirement.Reason{requirement.Malformed},
		},
		MoreControls: []requirement.Control{
			{Says: "a configuration in its place that names a plugin which nobody has",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.FileInPlaceOf(cniFileOf,
					`{"cniVersion": "1.0.0", "name": "parley", "plugins": [{"type": "parley-nobodys"}]}`)}},
				Red: []requirement.Reason{requirement.Missing}},
		},
	}
}

// cniFileOf is where the node has its configuration.
func cniFileOf(ctx context.Context, env *requirement.Env, end *requirement.End) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, criAttempt)
	defer cancel()
	_, at, err := cniFile(ctx, env, end)
	return at, err
}

// cniFile asks the node's runtime where it looks and finds the file that it takes there.
func cniFile(ctx context.Context, env *requirement.Env, end *requirement.End) (info map[string]string, at string, err error) {
	client, err := cri.Connect(ctx, env, end)
	if err != nil {
		return nil, "", err
	}
	defer client.Close()
	status, err := client.Status(ctx, &runtime.StatusRequest{Verbose: true})
	if err != nil {
		return nil, "", fmt.Errorf("asking the runtime of %s for its status: %w", end.Node, err)
	}
	places := cni.PlacesOf(status.GetInfo())
	seen, err := end.File(ctx, wire.File{Do: "list", Path: path.Join(world.HostPath, places.Config)})
	if err != nil {
		return nil, "", fmt.Errorf("listing %s on %s: %w", places.Config, end.Node, err)
	}
	name, ok := cni.FirstOf(seen.Names)
	if !seen.Ok() || !ok {
		saw := fmt.Sprintf("%q", seen.Names)
		if !seen.Ok() {
			saw = seen.Errno.String()
		}
		return nil, "", cniFailure(end, places.Config, requirement.Missing, "a file *.conflist, *.conf or *.json", saw)
	}
	return status.GetInfo(), path.Join(places.Config, name), nil
}

func cniUsable(ctx context.Context, env *requirement.Env, end *requirement.End) error {
	ctx, cancel := context.WithTimeout(ctx, criAttempt)
	defer cancel()
	info, at, err := cniFile(ctx, env, end)
	if err != nil {
		return err
	}
	read, err := end.File(ctx, wire.File{Do: "read", Path: path.Join(world.HostPath, at)})
	if err != nil {
		return fmt.Errorf("reading %s on %s: %w", at, end.Node, err)
	}
	if !read.Ok() {
		return cniFailure(end, at, requirement.Missing, "a file that can be read", read.Errno.String())
	}
	network, err := cni.Parse(at, read.Data)
	if err != nil {
		return cniFailure(end, at, requirement.Malformed, "a configuration that libcni takes", err.Error())
	}
	places := cni.PlacesOf(info)
	var versions []string
	for _, plugin := range network.Plugins {
		speaks, err := pluginSpeaks(ctx, end, places.Bins, plugin, network.Version)
		if err != nil {
			return err
		}
		versions = append(versions, speaks)
	}
	if status := cni.Loaded(info); status != "" && status != "OK" {
		return cniFailure(end, at, requirement.WrongServer, "the runtime to have loaded it", status)
	}
	where := "told by the runtime"
	if !places.Told {
		where = "the default, since the runtime does not tell"
	}
	env.Note("%s: %s (%s), network %s, version %s: %s", end.Node, at, where, network.Name, network.Version, strings.Join(versions, "; "))
	return nil
}

// pluginSpeaks finds the plugin and asks it for its versions.
func pluginSpeaks(ctx context.Context, end *requirement.End, bins []string, plugin, version string) (string, error) {
	for _, bin := range bins {
		at := path.Join(bin, plugin)
		seen, err := end.File(ctx, wire.File{Do: "stat", Path: path.Join(world.HostPath, at)})
		if err != nil {
			return "", fmt.Errorf("looking for %s on %s: %w", at, end.Node, err)
		}
		if !seen.Ok() {
			continue
		}
		if seen.Mode&0o111 == 0 {
			return "", cniFailure(end, at, requirement.Denied, "a plugin that can be executed", fmt.Sprintf("mode %04o", seen.Mode&0o7777))
		}
		speaks, err := end.CNIVersion(ctx, wire.CNIVersion{Root: nodeRoot, Path: at})
		switch {
		case err != nil:
			return "", fmt.Errorf("asking %s on %s for its versions: %w", at, end.Node, err)
		case !speaks.Ok():
			return "", cniFailure(end, at, requirement.WrongServer, "an answer to VERSION", speaks.Errno.String())
		case !slices.Contains(speaks.Supported, version):
			return "", cniFailure(end, at, requirement.WrongServer, "a plugin that speaks version "+version, fmt.Sprintf("one that speaks %v", speaks.Supported))
		}
		return plugin + " speaks " + speaks.Supported[0] + " to " + speaks.Supported[len(speaks.Supported)-1], nil
	}
	return "", cniFailure(end, strings.Join(bins, ", "), requirement.Missing, "the plugin "+plugin, "no such file")
}

func cniFailure(end *requirement.End, target string, reason requirement.Reason, expected, observed string) error {
	return &requirement.Failure{Reason: reason, From: end, Target: target, Protocol: "CNI", Expected: expected, Observed: observed,
		Again: "crictl info   (on node " + end.Node + ")"}
}
