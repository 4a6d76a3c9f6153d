//go:build unix

package engine

import (
	"os/exec"
	"syscall"
)

// setProcessGroup puts a command into a process group of its own: Ctrl-C in a terminal goes to the whole group, and podman,
// which has no daemon, leaves bridges and network namespaces behind when it is interrupted amid its work.
func setProcessGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
