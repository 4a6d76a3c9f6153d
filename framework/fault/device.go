package fault

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
)

// InterfaceOf is the end's interface that has the address.
func InterfaceOf(ctx context.Context, end *requirement.End, ip netip.Addr) (wire.Interface, error) {
	id, err := end.Identity(ctx)
	if err != nil {
		return wire.Interface{}, fmt.Errorf("reading the interfaces of %s: %w", end, err)
	}
	for _, i := range id.Interfaces {
		for _, text := range i.Addrs {
			if p, err := netip.ParsePrefix(text); err == nil && p.Addr() == ip {
				return i, nil
			}
		}
	}
	return wire.Interface{}, fmt.Errorf("no interface of %s has the address %s", end, ip)
}
