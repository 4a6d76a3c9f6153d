//go:build unix

package engine

import "golang.org/x/sys/unix"

// hardLimits are the process's hard limits of open files and of processes; 0 means unlimited or not told.
func hardLimits() (nofile, nproc uint64) {
	return hardLimit(unix.RLIMIT_NOFILE), hardLimit(unix.RLIMIT_NPROC)
}

func hardLimit(which int) uint64 {
	var l unix.Rlimit
	if err := unix.Getrlimit(which, &l); err != nil || l.Max == unix.RLIM_INFINITY {
		return 0
	}
	return uint64(l.Max)
}
