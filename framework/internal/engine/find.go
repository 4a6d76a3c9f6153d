package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Variable names the environment variable that chooses an engine by name.
const Variable = "PARLEY_ENGINE"

// engineOrder is the order in which engines are tried.
var engineOrder = []string{"docker", "podman", "nerdctl"}

// askTimeout is how long an engine may take to answer for itself. podman's first answer on a cold machine
// sets up its storage, which takes a few seconds.
const askTimeout = 60 * time.Second

// Options say which engine to look for.
type Options struct {
	// Want names the only engine to try; "" means the PARLEY_ENGINE variable, and without it all, in order.
	Want string
	// Install allows podman to be installed from Debian's packages where no engine answers and this
	// process is root on Debian.
	Install bool
	// Log takes a line for each step that takes time; it may be nil.
	Log func(string)
}

// Attempt is one engine that was tried, and its answer or error.
type Attempt struct {
	Engine string `json:"engine"`
	Result string `json:"result"`
}

// Find returns the first engine that answers, and all that were tried, in order. Its error is one sentence that
// says what was tried and what to install. The caller closes the engine after its last command.
func Find(ctx context.Context, opts Options) (*Engine, []Attempt, error) {
	if opts.Log == nil {
		opts.Log = func(string) {}
	}
	if opts.Want == "" {
		opts.Want = os.Getenv(Variable)
	}
	names := engineOrder
	if opts.Want != "" {
		if !slices.Contains(engineOrder, opts.Want) {
			return nil, nil, fmt.Errorf("%q is no engine that Parley knows: choose docker, podman or nerdctl", opts.Want)
		}
		names = []string{opts.Want}
	}
	var attempts []Attempt
	for _, name := range names {
		e, err := tryEngine(ctx, name)
		if ctx.Err() != nil {
			return nil, attempts, fmt.Errorf("looking for a container engine: %w", context.Cause(ctx))
		}
		if err == nil {
			return e, append(attempts, Attempt{name, "answers, version " + e.Version}), nil
		}
		attempts = append(attempts, Attempt{name, err.Error()})
	}
	remedy := "start one of them, or install podman"
	if opts.Want != "" {
		remedy = "start or install it, or choose another"
	}
	if opts.Install && slices.Contains(names, "podman") {
		if err := Installable(); err != nil {
			remedy += " (" + err.Error() + ")"
		} else {
			if err := install(ctx, opts.Log); err != nil {
				return nil, append(attempts, Attempt{"podman", err.Error()}), fmt.Errorf("no container engine answers, and installing podman failed: %w", err)
			}
			e, err := tryEngine(ctx, "podman")
			if err == nil {
				return e, append(attempts, Attempt{"podman", "installed from Debian's packages, version " + e.Version}), nil
			}
			attempts = append(attempts, Attempt{"podman", "installed from Debian's packages, but: " + err.Error()})
		}
	}
	tried := make([]string, len(attempts))
	for i, a := range attempts {
		tried[i] = a.Engine + " (" + a.Result + ")"
	}
	return nil, attempts, fmt.Errorf("no container engine answers: %s; tried in this order: %s", remedy, strings.Join(tried, ", "))
}

// tryEngine returns the engine of that name if it answers.
func tryEngine(ctx context.Context, name string) (*Engine, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, fmt.Errorf("no answer within %s", askTimeout))
	defer cancel()
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("not installed")
	}
	e := &Engine{Name: name, Path: path}
	if name == "podman" && runtime.GOOS == "linux" {
		if err := e.configure(); err != nil {
			return nil, err
		}
	}
	if err := e.identify(ctx); err != nil {
		_ = e.Close() // the answer is the error that counts
		return nil, err
	}
	return e, nil
}

// identify asks the engine for its version and properties: the server's, where it has one.
func (e *Engine) identify(ctx context.Context) error {
	format := "{{json .}}"
	if e.Name == "podman" {
		format = "json"
	}
	out, err := e.Output(ctx, "info", "--format", format)
	if err != nil {
		return err
	}
	if e.Name == "podman" {
		return e.readPodman([]byte(out))
	}
	return e.readDocker([]byte(out))
}

func (e *Engine) readPodman(out []byte) error {
	var info struct {
		Host struct {
			CgroupVersion   string `json:"cgroupVersion"`
			ServiceIsRemote bool   `json:"serviceIsRemote"`
			Security        struct {
				Rootless bool `json:"rootless"`
			} `json:"security"`
		} `json:"host"`
		Version struct {
			Version string `json:"Version"`
		} `json:"version"`
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return fmt.Errorf("reading what podman says of itself: %w", err)
	}
	e.Version, e.Rootless, e.Remote = info.Version.Version, info.Host.Security.Rootless, info.Host.ServiceIsRemote
	e.CgroupVersion = cgroupVersion(info.Host.CgroupVersion)
	return nil
}

// readDocker reads docker's and nerdctl's answer, which have the same form.
func (e *Engine) readDocker(out []byte) error {
	var info struct {
		ServerVersion   string
		CgroupVersion   string
		OperatingSystem string
		ServerErrors    []string
		SecurityOptions []string
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return fmt.Errorf("reading what %s says of itself: %w", e.Name, err)
	}
	// Clients print what they know and exit with 0 even where the daemon did not answer.
	if len(info.ServerErrors) > 0 {
		return fmt.Errorf("the client is there, the daemon is not: %s", info.ServerErrors[0])
	}
	if info.ServerVersion == "" {
		return fmt.Errorf("the client is there, the daemon is not")
	}
	e.Version, e.CgroupVersion = info.ServerVersion, cgroupVersion(info.CgroupVersion)
	e.Rootless = slices.ContainsFunc(info.SecurityOptions, func(o string) bool { return strings.Contains(o, "rootless") })
	host := os.Getenv("DOCKER_HOST")
	e.Remote = runtime.GOOS != "linux" || strings.Contains(info.OperatingSystem, "Docker Desktop") ||
		(e.Name == "docker" && host != "" && !strings.HasPrefix(host, "unix://"))
	if e.Name == "docker" && !e.Remote && !e.Rootless {
		return checkPrivileged()
	}
	return nil
}

func cgroupVersion(s string) int {
	switch strings.TrimPrefix(s, "v") {
	case "1":
		return 1
	case "2":
		return 2
	}
	return 0
}
