package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/internal/runid"
)

// hostSetting is a setting of the whole host that clusters need. It is counted, not toggled: each run leaves a file
// with its ID beside the original, and whoever finds no living run there puts the original back.
type hostSetting struct {
	dir string
	// apply changes the host and returns the value that was there before; "" where nothing had to change.
	apply func() (original string, err error)
	// restore puts the original value back.
	restore func(original string) error
}

// hostSettingsDir outlives runs and not the host's start, as the settings themselves do. Tests have their own.
var hostSettingsDir = "/run/parley"

const (
	inotifyInstances = "/proc/sys/fs/inotify/max_user_instances"
	// enoughInotify serves some twenty nodes; a kubelet, its containerd and systemd take about 15 instances each.
	enoughInotify = 1024
	modulesDir    = "/lib/modules"
)

// hostSettings are what kind's nodes need of the host.
func hostSettings(root string) []hostSetting {
	return []hostSetting{
		{dir: filepath.Join(root, "inotify"), apply: raiseInotify, restore: func(original string) error {
			return os.WriteFile(inotifyInstances, []byte(original), 0o644)
		}},
		{dir: filepath.Join(root, "modules"), apply: makeModules, restore: func(string) error {
			err := os.Remove(modulesDir) // fails, rightly, when something was put there since
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		}},
	}
}

// raiseInotify raises how many inotify instances a user may have: the usual 128 are too few from about eight nodes on.
func raiseInotify() (string, error) {
	raw, err := os.ReadFile(inotifyInstances)
	if err != nil {
		return "", err
	}
	original := strings.TrimSpace(string(raw))
	if n, err := strconv.Atoi(original); err != nil || n >= enoughInotify {
		return "", err
	}
	return original, os.WriteFile(inotifyInstances, []byte(strconv.Itoa(enoughInotify)), 0o644)
}

// makeModules makes the folder that kind mounts into every node; a kernel without modules may have none.
func makeModules() (string, error) {
	if _, err := os.Stat(modulesDir); err == nil {
		return "", nil
	}
	return "made", os.Mkdir(modulesDir, 0o755)
}

// acquire applies the setting where it is not in force, and counts the run among those that need it.
func (h hostSetting) acquire(ctx context.Context, id runid.ID) error {
	return h.locked(ctx, func() error {
		original, err := h.apply()
		if err != nil {
			return err
		}
		if original != "" {
			if err := os.WriteFile(filepath.Join(h.dir, "original"), []byte(original), 0o644); err != nil {
				return err
			}
		}
		if _, err := os.Stat(filepath.Join(h.dir, "original")); errors.Is(err, os.ErrNotExist) {
			return nil // the host has enough of its own
		}
		return os.WriteFile(filepath.Join(h.dir, id.Name()), nil, 0o644)
	})
}

// release ends the run's need of the setting, and that of runs whose owner is dead and of which no container runs. Where no
// run needs it any more, the original is restored.
func (h hostSetting) release(ctx context.Context, id runid.ID, running map[runid.ID]bool) error {
	if _, err := os.Stat(h.dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return h.locked(ctx, func() error {
		entries, err := os.ReadDir(h.dir)
		if err != nil {
			return err
		}
		holders := 0
		for _, e := range entries {
			holder, ok := runid.Parse(e.Name())
			switch {
			case !ok:
			case holder == id || !holder.Alive() && !isKept(holder) && !running[holder]:
				if err := os.Remove(filepath.Join(h.dir, e.Name())); err != nil {
					return err
				}
			default:
				holders++
			}
		}
		original, err := os.ReadFile(filepath.Join(h.dir, "original"))
		if holders > 0 || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil {
			err = h.restore(string(original))
		}
		return errors.Join(err, os.Remove(filepath.Join(h.dir, "original")))
	})
}

func (h hostSetting) locked(ctx context.Context, do func() error) error {
	if err := os.MkdirAll(h.dir, 0o755); err != nil {
		return err
	}
	lock := flock.New(filepath.Join(h.dir, "lock"))
	if _, err := lock.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		return err
	}
	return errors.Join(do(), lock.Unlock())
}

// prepareHost applies the host settings that the nodes need. Where the host refuses, it is logged and the run goes on: fewer
// nodes may fit all the same.
func (c *Cluster) prepareHost(ctx context.Context) {
	for _, h := range hostSettings(hostSettingsDir) {
		if err := h.acquire(ctx, c.spec.Run); err != nil {
			c.spec.Log(fmt.Sprintf("the host's %s could not be prepared: %v", filepath.Base(h.dir), err))
		}
	}
}

// releaseHost ends the run's need of the host settings.
func releaseHost(ctx context.Context, e *engine.Engine, id runid.ID) error {
	running, err := listNames(ctx, e, container)
	if err != nil {
		return fmt.Errorf("listing what rests on the host's settings: %w", err)
	}
	owners := map[runid.ID]bool{}
	for name := range running {
		if owner, ok := runid.Parse(name); ok {
			owners[owner] = true
		}
	}
	var problems []error
	for _, h := range hostSettings(hostSettingsDir) {
		if err := h.release(ctx, id, owners); err != nil {
			problems = append(problems, fmt.Errorf("putting the host's %s back: %w", filepath.Base(h.dir), err))
		}
	}
	return errors.Join(problems...)
}
