//go:build !linux

package cluster

import "net/netip"

func setGuard(string, string, []netip.Prefix) error { return errGuardElsewhere }
func guardTables() ([]string, error)                { return nil, nil }
func removeGuard(string) error                      { return nil }

func guarded(string) (string, bool) { return "", false }

func removeBridge(string) error { return nil }
