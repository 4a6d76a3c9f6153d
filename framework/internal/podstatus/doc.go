// Package podstatus says in a sentence why a pod is not ready: what a crashing container said, what holds a container back, the
// last warning of the pod's events, its conditions.
package podstatus
