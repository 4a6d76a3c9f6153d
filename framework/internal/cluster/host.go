package cluster

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/mem"

	"github.com/parley-k8s/parley/framework/internal/engine"
)

// HostFacts describe this host as far as it matters for making clusters. It is plain data.
type HostFacts struct {
	OS           string `json:"os"`
	Kernel       string `json:"kernel"`
	Architecture string `json:"architecture"`
	Root         bool   `json:"root"`

	Engine      string           `json:"engine,omitempty"` // its name and version
	Rootless    bool             `json:"rootless,omitempty"`
	Attempts    []engine.Attempt `json:"attempts"`
	EngineError string           `json:"engineError,omitempty"`

	CgroupVersion       int               `json:"cgroupVersion,omitempty"` // the engine's; 0 where there is none
	Limits              engine.HostLimits `json:"limits"`
	MissingCapabilities []string          `json:"missingCapabilities"`
	// Features are what the kernel can do, each found by trying.
	Features []Feature `json:"features"`
	// IPv4 and IPv6 say whether an interface has a global unicast address of the family.
	IPv4 bool `json:"ipv4"`
	IPv6 bool `json:"ipv6"`

	CPUs              int    `json:"cpus"`
	MemoryBytes       uint64 `json:"memoryBytes"`
	MemoryFreeBytes   uint64 `json:"memoryFreeBytes"`
	InotifyInstances  uint64 `json:"inotifyInstances"` // fs.inotify.max_user_instances: too few from about 8 nodes on at 128
	InotifyWatches    uint64 `json:"inotifyWatches"`
	DiskFreeBytes     uint64 `json:"diskFreeBytes"`     // where the engine keeps images, as far as told, else of /
	TempDiskFreeBytes uint64 `json:"tempDiskFreeBytes"` // of the folder for temporary files
	EgressGuard       string `json:"egressGuard"`       // "" where a run can set it, else why not
}

// Feature is a feature that a kernel may lack, and the error of trying it.
type Feature struct {
	Name  string `json:"name"`
	There bool   `json:"there"`
	Error string `json:"error,omitempty"`
	// For says which requirements or axes need it.
	For string `json:"for"`
}

// Host reads the facts of this host. What can't be read is left empty; what is made for trying is removed again.
func Host(ctx context.Context) HostFacts {
	h := HostFacts{
		OS: runtime.GOOS, Architecture: runtime.GOARCH, Root: os.Geteuid() == 0,
		CPUs: runtime.NumCPU(), Limits: engine.Limits(), MissingCapabilities: missingCapabilities(),
		Features: features(), InotifyInstances: readNumber("/proc/sys/fs/inotify/max_user_instances"),
		InotifyWatches: readNumber("/proc/sys/fs/inotify/max_user_watches"),
	}
	if k, err := host.KernelVersionWithContext(ctx); err == nil {
		h.Kernel = k
	}
	if m, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		h.MemoryBytes, h.MemoryFreeBytes = m.Total, m.Available
	}
	h.IPv4, h.IPv6 = addressFamilies()
	h.TempDiskFreeBytes = freeBytes(ctx, os.TempDir())
	h.DiskFreeBytes = freeBytes(ctx, "/")
	e, attempts, err := engine.Find(ctx, engine.Options{})
	h.Attempts = attempts
	if err != nil {
		h.EngineError = err.Error()
	} else {
		defer func() { _ = e.Close() }() // only its temporary configuration
		h.Engine, h.Rootless, h.CgroupVersion = e.Name+" "+e.Version, e.Rootless, e.CgroupVersion
		if root := storageRoot(ctx, e); root != "" {
			h.DiskFreeBytes = freeBytes(ctx, root)
		}
		if e.Rootless || e.Remote {
			h.EgressGuard = errGuardElsewhere.Error()
		}
	}
	if h.EgressGuard == "" {
		if _, err := guardTables(); err != nil {
			h.EgressGuard = err.Error()
		}
	}
	return h
}

// storageRoot is where a local engine keeps its images; "" where not told.
func storageRoot(ctx context.Context, e *engine.Engine) string {
	form := "{{.DockerRootDir}}"
	if e.Name == "podman" {
		form = "{{.Store.GraphRoot}}"
	}
	out, err := e.Output(ctx, "info", "--format", form)
	out = strings.TrimSpace(out)
	if err != nil || e.Remote || !filepath.IsAbs(out) {
		return ""
	}
	return out
}

func freeBytes(ctx context.Context, path string) uint64 {
	u, err := disk.UsageWithContext(ctx, path)
	if err != nil {
		return 0
	}
	return u.Free
}

func readNumber(path string) uint64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n
}

// addressFamilies says which families the host's interfaces have addresses of, beyond loopback and link-local.
func addressFamilies() (v4, v6 bool) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false, false
	}
	for _, a := range addrs {
		ip, ok := a.(*net.IPNet)
		if !ok || !ip.IP.IsGlobalUnicast() {
			continue
		}
		if ip.IP.To4() != nil {
			v4 = true
		} else {
			v6 = true
		}
	}
	return v4, v6
}
