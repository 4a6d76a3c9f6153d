package cluster

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpareAddressesAreTheLast(t *testing.T) {
	for _, c := range []struct{ subnet, want string }{
		{"10.89.1.0/24", "10.89.1.192/26"},
		{"172.18.0.0/16", "172.18.255.192/26"},
		{"10.0.0.128/25", "10.0.0.192/26"},
		{"10.0.0.0/26", ""},
		{"10.0.0.0/30", ""},
		{"fd00:1:2:3::/64", "fd00:1:2:3:ffff:ffff:ffff:ffc0/122"},
	} {
		got, ok := lastPart(netip.MustParsePrefix(c.subnet), spareBits)
		require.Equal(t, c.want != "", ok, c.subnet)
		if ok {
			require.Equal(t, c.want, got.String())
		}
	}
}
