package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/parley-k8s/parley/framework/until"
)

// storeTimeout bounds how long containerd may take to answer while the image is built.
const storeTimeout = 30 * time.Second

// store fills an image store with an archive's images, by a containerd that runs for this only, and returns the
// store's folder. Nothing is unpacked: each node does that with what it runs, since overlayfs can't write on the
// overlayfs that a node's own file system is.
func (b *builder) store(ctx context.Context, p parts, archive string) (folder string, err error) {
	folder, err = b.folder("store")
	if err != nil {
		return "", err
	}
	// A socket's path may have 107 bytes only: not under the cache's folder.
	runDir, err := scratchIn("")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(runDir)
	config, err := inputs.ReadFile(storeConfig(b.versions.Containerd))
	if err != nil {
		return "", fmt.Errorf("reading the store's configuration: %w", err)
	}
	configFile, socket := filepath.Join(runDir, "config.toml"), filepath.Join(runDir, "c.sock")
	if err := os.WriteFile(configFile, config, 0o644); err != nil {
		return "", fmt.Errorf("writing the store's configuration: %w", err)
	}

	runCtx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		cmd := exec.CommandContext(runCtx, filepath.Join(p.bin["containerd"], "containerd"), "--config", configFile,
			"--root", folder, "--state", filepath.Join(runDir, "state"), "--address", socket, "--log-level", "warn")
		_, err := command(runCtx, cmd, false, nil)
		ended <- err
	}()
	defer func() {
		stop() // containerd closes its database on SIGTERM
		if e := <-ended; err == nil && e != nil && !errors.Is(e, context.Canceled) {
			err = fmt.Errorf("filling the image store: %w", e)
		}
	}()
	_, err = until.Settled(ctx, until.Policy{Within: storeTimeout}, func(ctx context.Context) error {
		c, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("waiting for containerd: %w", err)
	}
	ctr := func(args ...string) (string, error) {
		args = append([]string{"--address", socket, "--namespace", "k8s.io", "images"}, args...)
		out, err := command(ctx, exec.CommandContext(ctx, filepath.Join(p.bin["containerd"], "ctr"), args...), false, nil)
		if err != nil {
			return "", fmt.Errorf("filling the image store: %w", err)
		}
		return out, nil
	}
	importing := []string{"import", "--local", "--no-unpack", "--platform", "linux/" + runtime.GOARCH}
	if isContainerd1(b.versions.Containerd) {
		return folder, importUnlabelled(ctr, importing, archive)
	}
	_, err = ctr(append(importing, "--label="+pinned, archive)...)
	return folder, err
}

// pinned is the label that keeps the kubelet from removing an image.
const pinned = "io.cri-containerd.pinned=pinned"

// importUnlabelled imports an archive and labels its images afterwards: the ctr of containerd 1.x can't do both at once.
func importUnlabelled(ctr func(args ...string) (string, error), importing []string, archive string) error {
	if _, err := ctr(append(importing, archive)...); err != nil {
		return err
	}
	list, err := ctr("list", "--quiet")
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(list) {
		if _, err := ctr("label", name, pinned); err != nil {
			return err
		}
	}
	return nil
}

// isContainerd1 says whether a version is of containerd's first major release.
func isContainerd1(containerd string) bool { return strings.HasPrefix(containerd, "1.") }

// storeConfigs begins the names of the configurations of the containerd that fills the store.
const storeConfigs = "files/store"

// storeConfig is the one for a version of containerd: the first major release knows no version 3 of the form.
func storeConfig(containerd string) string {
	if isContainerd1(containerd) {
		return storeConfigs + "-1.toml"
	}
	return storeConfigs + ".toml"
}
