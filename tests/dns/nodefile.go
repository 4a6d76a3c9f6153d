package dns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/hostpath"
	"github.com/parley-k8s/parley/tests/internal/resolvconf"
)

// usualFiles are what kubelets are told to read: the default of KubeletConfiguration, and what kubeadm sets where systemd-resolved
// runs.
var usualFiles = [...]string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// errNotThere is a file of the node that is not there.
var errNotThere = errors.New("it is not there")

// likeTheNode says whether the end's resolv.conf is what a kubelet makes of the file that it was told to use.
func likeTheNode(ctx context.Context, env *requirement.Env, end *requirement.End) error {
	agent := env.OnNode(world.Node, end.Node)
	if agent == nil {
		return &requirement.Unsupported{Probed: "no privileged agent runs on " + end.Node + ", and the node's file is read by it"}
	}
	got, err := configOf(ctx, end, "/etc/resolv.conf")
	if err != nil {
		return err
	}
	path, err := kubeletResolvConf(ctx, env, end.Node)
	switch {
	case apierrors.IsForbidden(err):
		return likeAUsualFile(ctx, env, agent, got, err)
	case err != nil:
		return err
	case path == "":
		if expected, observed, ok := got.Difference(resolvconf.WithoutFile(loopbacks(agent)...)); !ok {
			return wrongConfig(end, expected+", since the kubelet of "+end.Node+" has no resolvConf", observed)
		}
		return nil
	}
	want, err := madeOf(ctx, env, agent, path)
	if errors.Is(err, errNotThere) {
		return &requirement.Unsupported{Probed: fmt.Sprintf("the kubelet of %s reads %s, which the node's file system does not have as an agent there sees it", end.Node, path)}
	}
	if err != nil {
		return err
	}
	if expected, observed, ok := got.Difference(want); !ok {
		return wrongConfig(end, expected+" of "+path+" on "+end.Node, observed)
	}
	return nil
}

// likeAUsualFile judges where the kubelet may not be asked which file it reads.
func likeAUsualFile(ctx context.Context, env *requirement.Env, agent *requirement.End, got resolvconf.Config, forbidden error) error {
	for _, path := range usualFiles {
		want, err := madeOf(ctx, env, agent, path)
		if errors.Is(err, errNotThere) {
			continue
		}
		if err != nil {
			return err
		}
		if _, _, ok := got.Difference(want); ok {
			env.Note("the kubelet may not be asked which file it reads; the pod has what it makes of %s", path)
			return nil
		}
	}
	return fmt.Errorf("the kubelet of %s may not be asked which file it reads, and the pod's is like none of %v there: %w", agent.Node, usualFiles, forbidden)
}

// madeOf is what a kubelet makes of the node's file.
func madeOf(ctx context.Context, env *requirement.Env, agent *requirement.End, path string) (resolvconf.Config, error) {
	text, err := textOfNode(ctx, agent, path)
	if err != nil {
		return resolvconf.Config{}, err
	}
	want, cut := resolvconf.OfKubelet(text)
	if want.Empty() && path != usualFiles[0] {
		// The runtime is told nothing, and copies the usual file.
		if text, err = textOfNode(ctx, agent, usualFiles[0]); err != nil {
			return resolvconf.Config{}, err
		}
		return resolvconf.Parse(text), nil
	}
	if want.Empty() {
		return resolvconf.Parse(text), nil
	}
	if cut {
		env.Note("%s on %s has more than a pod may have: the kubelet keeps %d nameservers and %d search domains of it", path, agent.Node,
			len(want.Nameservers), len(want.Search))
	}
	return want, nil
}

// textOfNode reads a file of the node, whose symbolic links lead where they do there.
func textOfNode(ctx context.Context, agent *requirement.End, path string) (string, error) {
	path, err := hostpath.Resolve(path, func(p string) (string, bool, error) {
		link, err := agent.File(ctx, wire.File{Do: "readlink", Path: world.HostPath + p})
		if err != nil {
			return "", false, fmt.Errorf("asking %s about %s: %w", agent, p, err)
		}
		return string(link.Data), link.Ok(), nil
	})
	if err != nil {
		return "", err
	}
	got, err := agent.File(ctx, wire.File{Do: "read", Path: world.HostPath + path})
	switch {
	case err != nil:
		return "", fmt.Errorf("reading %s on %s: %w", path, agent.Node, err)
	case got.Class == wire.NotThere:
		return "", fmt.Errorf("reading %s on %s: %w", path, agent.Node, errNotThere)
	case !got.Ok():
		return "", fmt.Errorf("reading %s on %s: %s", path, agent.Node, got.Errno)
	}
	return string(got.Data), nil
}

// loopbacks are the loopback addresses of the node's families, in their order.
func loopbacks(agent *requirement.End) (all []string) {
	for _, ip := range agent.IPs {
		if ip.Is4() {
			all = append(all, "127.0.0.1")
		} else {
			all = append(all, "::1")
		}
	}
	return all
}

// kubeletResolvConf asks the node's kubelet for its resolvConf; "" is none.
func kubeletResolvConf(ctx context.Context, env *requirement.Env, node string) (string, error) {
	raw, err := env.Configz(ctx, node)
	if err != nil {
		return "", err
	}
	var config struct {
		Kubelet struct {
			ResolvConf *string `json:"resolvConf"`
		} `json:"kubeletconfig"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return "", fmt.Errorf("reading the configuration of the kubelet of %s: %w", node, err)
	}
	if config.Kubelet.ResolvConf == nil {
		return usualFiles[0], nil
	}
	return strings.TrimSpace(*config.Kubelet.ResolvConf), nil
}
