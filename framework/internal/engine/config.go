package engine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/parley-k8s/parley/framework/internal/runid"
)

// HostLimits are the properties of the host that podman's private configuration depends on.
type HostLimits struct {
	// SysResource says whether CAP_SYS_RESOURCE is in the capability bounding set: without it no limit
	// can be raised over the hard one, not even by root.
	SysResource bool `json:"capSysResource"`
	// NofileHard and NprocHard are this process's hard limits; 0 means unlimited.
	NofileHard uint64 `json:"nofileHard"`
	NprocHard  uint64 `json:"nprocHard"`
	PIDMax     uint64 `json:"pidMax"` // kernel.pid_max
	// CgroupV1 says whether controllers lie in a cgroup v1 hierarchy.
	CgroupV1 bool `json:"cgroupV1"`
	// Systemd says whether systemd is the host's init.
	Systemd bool `json:"systemd"`
	// Runc says whether runc is installed.
	Runc bool `json:"runc"`
}

// fewest that a node's processes can live with, and the most that is asked for.
const nofileWanted, nprocWanted = 1 << 20, 1 << 22

// noPidsLimit lifts podman's limit of 2048 processes and threads in a container: a node has the pods' too. Docker Engine has
// no such limit.
const noPidsLimit = "pids_limit = 0"

// ContainersConf is the containers.conf that podman needs on such a host; "" where its defaults do.
func ContainersConf(h HostLimits) string {
	var containers, engine []string
	if !h.SysResource {
		// podman's defaults raise both limits, which the kernel refuses here; podman lowers its own
		// process limit to pid_max, so a higher one for containers is refused as well.
		nofile, nproc := atMost(nofileWanted, h.NofileHard), atMost(nprocWanted, h.NprocHard)
		nproc = atMost(nproc, h.PIDMax)
		containers = append(containers, fmt.Sprintf("default_ulimits = [\"nofile=%d:%d\", \"nproc=%d:%d\"]", nofile, nofile, nproc, nproc))
	}
	if h.CgroupV1 && h.Runc {
		// crun refuses a v1 hierarchy beside a v2 one ("cgroups in hybrid mode not supported").
		engine = append(engine, `runtime = "runc"`)
	}
	if !h.Systemd {
		engine = append(engine, `cgroup_manager = "cgroupfs"`, `events_logger = "file"`)
	}
	if len(containers)+len(engine) == 0 {
		return ""
	}
	containers = append(containers, noPidsLimit)
	var b strings.Builder
	for _, section := range []struct {
		name  string
		lines []string
	}{{"containers", containers}, {"engine", engine}} {
		if len(section.lines) > 0 {
			fmt.Fprintf(&b, "[%s]\n%s\n", section.name, strings.Join(section.lines, "\n"))
		}
	}
	return b.String()
}

func atMost(value, limit uint64) uint64 {
	if limit > 0 && limit < value {
		return limit
	}
	return value
}

// configure makes podman's private folder, with a configuration where the host needs one. What the user chose by environment
// stays.
func (e *Engine) configure() error {
	id, err := runid.New()
	if err != nil {
		return err
	}
	// Named by the run, so that the next one finds it when this one is killed.
	e.dir, err = os.MkdirTemp("", id.Name("engine")+"-")
	if err != nil {
		return fmt.Errorf("making a folder for podman's private configuration: %w", err)
	}
	for _, c := range []struct{ variable, file, conf string }{
		// It takes the place of the host's own files; what overrides is read beside them, by podman 4.4 and later.
		{"CONTAINERS_CONF", "containers.conf", ContainersConf(Limits())},
		{"CONTAINERS_CONF_OVERRIDE", "override.conf", "[containers]\n" + noPidsLimit + "\n"},
	} {
		if c.conf == "" || os.Getenv(c.variable) != "" {
			continue
		}
		path := filepath.Join(e.dir, c.file)
		if err := os.WriteFile(path, []byte(c.conf), 0o600); err != nil {
			_ = e.Close()
			return fmt.Errorf("writing podman's private configuration: %w", err)
		}
		e.env = append(e.env, c.variable+"="+path)
	}
	return nil
}

// capSysResource is CAP_SYS_RESOURCE's number, capabilities(7).
const capSysResource = 24

// Limits reads the host's limits. What can't be read counts as not limiting.
func Limits() HostLimits {
	h := HostLimits{SysResource: hasCapability("/proc/self/status", capSysResource)}
	h.NofileHard, h.NprocHard = hardLimits()
	if b, err := os.ReadFile("/proc/sys/kernel/pid_max"); err == nil {
		h.PIDMax, _ = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	}
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	h.CgroupV1 = os.IsNotExist(err)
	_, err = os.Stat("/run/systemd/system") // sd_booted(3)
	h.Systemd = err == nil
	_, err = exec.LookPath("runc")
	h.Runc = err == nil
	return h
}

// hasCapability says whether a process's bounding set has a capability; true where it can't be read.
func hasCapability(status string, number uint) bool {
	b, err := os.ReadFile(status)
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(b)) {
		if hex, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return err != nil || set&(1<<number) != 0
		}
	}
	return true
}

// checkPrivileged says why this host's dockerd can't run privileged containers, which nodes are: it asks
// the kernel for all capabilities, and one that lacks CAP_SYS_RESOURCE itself is refused.
func checkPrivileged() error {
	b, err := os.ReadFile("/var/run/docker.pid")
	if err != nil {
		return nil // not told, so not held against it
	}
	if !hasCapability("/proc/"+strings.TrimSpace(string(b))+"/status", capSysResource) {
		return fmt.Errorf("the daemon answers, but lacks CAP_SYS_RESOURCE: privileged containers, which nodes are, would fail")
	}
	return nil
}
