// Command ocilimits stands before runc on a node whose host withholds CAP_SYS_RESOURCE: the kernel then refuses a lower
// oom_score_adj, a higher hard limit and the capability itself, and no container would start. It takes these out of the
// container's configuration, or of the process that is executed in one, and becomes runc. Where nothing is withheld it only
// becomes runc.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// realRuntime is what it becomes: a link that the node image has.
const realRuntime = "/kind/bin/runc"

func main() {
	if l := limitsOfThis(); !l.sysResource {
		if err := edit(os.Args[1:], l); err != nil {
			fmt.Fprintln(os.Stderr, "ocilimits: "+err.Error())
			os.Exit(1)
		}
	}
	err := syscall.Exec(realRuntime, append([]string{"runc"}, os.Args[1:]...), os.Environ())
	fmt.Fprintf(os.Stderr, "ocilimits: starting %s: %s\n", realRuntime, err)
	os.Exit(1)
}

// limits are what this process, and so every one below it, may do.
type limits struct {
	sysResource bool
	hard        func(resource int) uint64 // getrlimit(2)
	hugetlb     bool                      // the cgroup controller is there
}

// capSysResource is the number of CAP_SYS_RESOURCE.
const capSysResource = 24

func limitsOfThis() limits {
	status, _ := os.ReadFile("/proc/self/status")
	_, v1 := os.Stat("/sys/fs/cgroup/hugetlb")
	v2, _ := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	return limits{
		sysResource: bounded(string(status), capSysResource),
		hard: func(resource int) uint64 {
			var r syscall.Rlimit
			if syscall.Getrlimit(resource, &r) != nil {
				return 0
			}
			return r.Max
		},
		hugetlb: v1 == nil || slices.Contains(strings.Fields(string(v2)), "hugetlb"),
	}
}

// bounded says whether the bounding set in /proc/PID/status has a capability; one that can't be read has all.
func bounded(status string, capability int) bool {
	for line := range strings.Lines(status) {
		if hex, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return err != nil || set>>capability&1 == 1
		}
	}
	return true
}

// valued are runc's and crun's global flags that have a value of their own.
var valued = []string{"root", "log", "log-format", "log-level", "criu", "rootless", "cgroup-manager"}

// target is the file that a call of the runtime reads its container or process from; "" for a call that starts none.
func target(args []string) (file string, process bool) {
	i := 0
	for i < len(args) && strings.HasPrefix(args[i], "-") {
		if slices.Contains(valued, strings.TrimLeft(args[i], "-")) {
			i++
		}
		i++
	}
	if i >= len(args) {
		return "", false
	}
	rest := args[i+1:]
	switch args[i] {
	case "create", "run":
		return filepath.Join(value(rest, "bundle", "b"), "config.json"), false
	case "exec":
		return value(rest, "process"), true // as conmon and containerd's shim say it
	}
	return "", false
}

// value is a flag's, in any of its forms; "" where it is not given.
func value(args []string, names ...string) string {
	for i, a := range args {
		name, is, joined := strings.Cut(strings.TrimLeft(a, "-"), "=")
		switch {
		case a == "--":
			return ""
		case !strings.HasPrefix(a, "-") || !slices.Contains(names, name):
		case joined:
			return is
		case i+1 < len(args):
			return args[i+1]
		}
	}
	return ""
}

// edit takes out of the file that the call reads what can't be had.
func edit(args []string, l limits) error {
	file, process := target(args)
	if file == "" {
		return nil
	}
	before, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	after, err := within(before, process, l)
	if err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	return os.WriteFile(file, after, 0o600)
}

// within is a container's configuration, or a process's, within the limits. All that it does not know stays.
func within(config []byte, isProcess bool, l limits) ([]byte, error) {
	var whole map[string]any
	d := json.NewDecoder(bytes.NewReader(config))
	d.UseNumber() // limits have 64 bits
	if err := d.Decode(&whole); err != nil {
		return nil, err
	}
	process := whole
	if !isProcess {
		process, _ = whole["process"].(map[string]any)
		linux, _ := whole["linux"].(map[string]any)
		if resources, ok := linux["resources"].(map[string]any); ok && !l.hugetlb {
			delete(resources, "hugepageLimits")
		}
	}
	if process == nil {
		return json.Marshal(whole)
	}
	if score, ok := process["oomScoreAdj"].(json.Number); ok && strings.HasPrefix(score.String(), "-") {
		process["oomScoreAdj"] = 0
	}
	sets, _ := process["capabilities"].(map[string]any)
	for name, set := range sets {
		if list, ok := set.([]any); ok {
			sets[name] = slices.DeleteFunc(list, func(c any) bool { return c == "CAP_SYS_RESOURCE" })
		}
	}
	rlimits, _ := process["rlimits"].([]any)
	for _, r := range rlimits {
		if r, ok := r.(map[string]any); ok {
			clamp(r, l)
		}
	}
	return json.Marshal(whole)
}

// resources are the numbers of setrlimit(2)'s limits on Linux, by their names in the specification.
var resources = map[string]int{
	"RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5, "RLIMIT_NPROC": 6,
	"RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10, "RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12,
	"RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}

// clamp lowers a limit to what this process may have at most.
func clamp(rlimit map[string]any, l limits) {
	kind, _ := rlimit["type"].(string)
	number, known := resources[kind]
	if !known {
		return
	}
	most := l.hard(number)
	for _, name := range []string{"hard", "soft"} {
		n, ok := rlimit[name].(json.Number)
		if !ok {
			continue
		}
		if value, err := strconv.ParseUint(n.String(), 10, 64); err == nil && value > most {
			rlimit[name] = most
		}
	}
}
