//go:build !linux

package cluster

import "net/netip"

func setGuard(string, string, []netip.Prefix) error { return errGuardElsewhere }
func guardHits(string) (uint64, error)              { return 0, errGuardElsewhere }
func guardTables() ([]string, error)                { return nil, nil }
func removeGuard(string) error                      { return nil }

func guarded(string) (string, bool) { return "", false }

func removeBridge(string) error { return nil }
