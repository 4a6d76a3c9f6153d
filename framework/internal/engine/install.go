package engine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// packages are Debian's, for podman as root: the engine, its runtime and monitor, its networks with their
// name server, an init for containers, and both firewall front ends.
var packages = []string{"podman", "runc", "conmon", "netavark", "aardvark-dns", "catatonit", "iptables", "nftables"}

// installTimeout bounds the download and set-up of the packages.
const installTimeout = 10 * time.Minute

// Installable says in a few words why podman can't be installed from here; nil where it can.
func Installable() error {
	if _, err := os.Stat("/etc/debian_version"); err != nil {
		return fmt.Errorf("it is installed by itself on Debian only")
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("run as root, and it is installed by itself; or apt-get install %s", strings.Join(packages, " "))
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("it can't be installed by itself without apt-get")
	}
	return nil
}

func install(ctx context.Context, log func(string)) error {
	log("no container engine answers: installing podman from Debian's packages (" + strings.Join(packages, " ") + ")")
	ctx, cancel := context.WithTimeoutCause(ctx, installTimeout, fmt.Errorf("not done within %s", installTimeout))
	defer cancel()
	// Another apt-get may hold the lock for a while, such as the one of a run beside this one.
	apt := []string{"-o", "DPkg::Lock::Timeout=300", "-q", "-y"}
	for _, args := range [][]string{
		append(apt, "update"),
		append(append(apt, "install", "--no-install-recommends"), packages...),
	} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.WaitDelay = killGrace
		if out, err := cmd.CombinedOutput(); err != nil {
			return commandError(ctx, "apt-get", args, string(out), err)
		}
	}
	return nil
}
