// Package runid gives everything that one run of Parley makes a name that says whose it is.
//
// The run's ID carries the owner's process ID and start time, and where these mean something: the boot and the PID namespace. So any
// later run can tell from a name alone whether the owner still lives, without a ledger that could itself be lost.
package runid

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

// Prefix begins the name of everything that Parley makes on a host or in a cluster.
const Prefix = "parley-"

// Label is the label key that carries the run's ID on containers and Kubernetes objects.
const Label = "parley.dev/run"

// clockSlack is how far two readings of one process's start time may differ: it is computed from the boot
// time, which moves when the clock is corrected.
const clockSlack = 2 * time.Second

// ID names one run: the owner's process ID in decimal, a hyphen, its start time (seconds since the epoch) in base 36, and five digits
// of a hash of the boot and the PID namespace that it runs in, where the system tells these: valid within a DNS label, an nftables
// table and a container name.
type ID string

var idPattern = regexp.MustCompile(`^parley-([0-9]{1,10})-([0-9a-z]{6}(?:[0-9a-z]{5})?)(?:[-.:@]|$)`)

// startLength is how many digits the start time has: until the year 2038 and for long after.
const startLength = 6

// New returns the ID of a run owned by the calling process.
func New() (ID, error) { return of(int32(os.Getpid())) }

func of(pid int32) (ID, error) {
	started, err := startOf(pid)
	if err != nil {
		return "", fmt.Errorf("reading the start time of process %d: %w", pid, err)
	}
	return ID(strconv.Itoa(int(pid)) + "-" + strconv.FormatInt(started.Unix(), 36) + place()), nil
}

// place is the boot and the PID namespace of this process, in which process IDs mean what they do; "" where the system does not tell.
func place() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(append(boot, namespace...))
	text := strconv.FormatUint(binary.BigEndian.Uint64(sum[:]), 36)
	return ("00000" + text)[len(text):]
}

// Parse finds the run's ID in the name of something that a run made; ok is false for any other name.
func Parse(name string) (id ID, ok bool) {
	m := idPattern.FindStringSubmatch(name)
	if m == nil {
		return "", false
	}
	id = ID(m[1] + "-" + m[2])
	if _, _, err := id.owner(); err != nil {
		return "", false
	}
	return id, true
}

// Name is the name of a thing of this run: "parley-<id>" with the parts appended, joined by hyphens.
func (id ID) Name(parts ...string) string {
	return strings.Join(append([]string{Prefix + string(id)}, parts...), "-")
}

// Owns says whether name is the name of a thing of this run.
func (id ID) Owns(name string) bool {
	other, ok := Parse(name)
	return ok && other == id
}

// Alive says whether the process that owns the run still runs. A process that took over the number
// later than the run began is not the owner. Where that cannot be told, the run counts as alive:
// nothing is reaped on a guess. So it is for an owner in another PID namespace, on another boot, or on another machine that shares the
// engine: its number means nothing here.
func (id ID) Alive() bool {
	pid, started, err := id.owner()
	if err != nil {
		return true
	}
	if _, rest, _ := strings.Cut(string(id), "-"); len(rest) > startLength && rest[startLength:] != place() {
		return true
	}
	exists, err := process.PidExists(pid)
	if err != nil {
		return true
	}
	if !exists {
		return false
	}
	now, err := startOf(pid)
	if err != nil {
		return true
	}
	return now.Sub(started).Abs() <= clockSlack
}

func (id ID) owner() (pid int32, started time.Time, err error) {
	p, s, ok := strings.Cut(string(id), "-")
	if !ok {
		return 0, time.Time{}, fmt.Errorf("%q is not the ID of a run", id)
	}
	n, err := strconv.ParseInt(p, 10, 32)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("process ID in %q: %w", id, err)
	}
	at, err := strconv.ParseInt(s[:min(startLength, len(s))], 36, 64)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("start time in %q: %w", id, err)
	}
	return int32(n), time.Unix(at, 0), nil
}

func startOf(pid int32) (time.Time, error) {
	p, err := process.NewProcess(pid)
	if err != nil {
		return time.Time{}, err
	}
	ms, err := p.CreateTime()
	if err != nil {
		return time.Time{}, err
	}
	return time.UnixMilli(ms), nil
}
