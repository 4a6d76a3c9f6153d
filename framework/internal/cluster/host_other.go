//go:build !linux

package cluster

// Containers run in another kernel there: this process can't try it.
func features() []Feature { return nil }

func missingCapabilities() []string { return nil }
