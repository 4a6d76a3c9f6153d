package cluster

import "net/netip"

// spareBits is how large the part of each network is that Parley's own load balancer takes addresses from: 64.
const spareBits = 6

// SpareAddresses returns the last 64 addresses of each subnet of the cluster's container network, for the reference load
// balancer. Engines assign addresses from the other end, and only to the run's own containers, of which there are few.
func (c *Cluster) SpareAddresses() (all []netip.Prefix) {
	for _, subnet := range c.net.Subnets {
		if spare, ok := lastPart(subnet, spareBits); ok {
			all = append(all, spare)
		}
	}
	return all
}

// lastPart returns the last prefix with so many host bits within p; ok is false where p has no more host bits than that.
func lastPart(p netip.Prefix, bits int) (part netip.Prefix, ok bool) {
	length := p.Addr().BitLen() - bits
	if p.Bits() >= length {
		return netip.Prefix{}, false
	}
	raw := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < length; bit++ {
		raw[bit/8] |= 1 << (7 - bit%8)
	}
	ip, _ := netip.AddrFromSlice(raw) // it has the length that it had
	return netip.PrefixFrom(ip, length), true
}
