package cluster

import (
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

func TestGuard(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: nftables tables are made in a network namespace of the test's own")
	}
	require.Error(t, setGuard("parley-1-2", "", nil), "no guard over a bridge without a name")
	results, err := inThrowawayNamespace(func() []error {
		errs := []error{setGuard("parley-1-2", "podman9", append(podSubnets(), netip.MustParsePrefix("10.89.9.0/24")))}
		tables, err := guardTables()
		errs = append(errs, err)
		if len(tables) != 1 || tables[0] != "parley-1-2" {
			errs = append(errs, os.ErrNotExist)
		}
		if bridge, there := guardedBridge("parley-1-2"); there || bridge != "podman9" {
			errs = append(errs, os.ErrExist)
		}
		errs = append(errs, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "podman9"}}))
		if _, there := guardedBridge("parley-1-2"); !there {
			errs = append(errs, os.ErrNotExist)
		}
		errs = append(errs, removeBridge("podman9"))
		if _, there := guardedBridge("parley-1-2"); there {
			errs = append(errs, os.ErrExist)
		}
		errs = append(errs, removeGuard("parley-1-2"))
		tables, err = guardTables()
		errs = append(errs, err)
		if len(tables) != 0 {
			errs = append(errs, os.ErrExist)
		}
		return errs
	})
	require.NoError(t, err)
	for _, err := range results {
		require.NoError(t, err)
	}
}
