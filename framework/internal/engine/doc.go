// Package engine finds the container engine that the lab runs on, and runs its commands.
//
// Docker is asked first, then podman, then nerdctl: an engine counts only when it answers for itself, since a
// docker client without a daemon runs nothing. What podman needs on an unusual host (a missing capability,
// cgroup v1) goes into a private containers.conf, so that nothing of the host's own configuration is changed.
package engine
