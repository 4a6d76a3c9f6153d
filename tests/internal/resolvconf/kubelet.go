package resolvconf

import (
	"slices"
	"strings"
)

// What a kubelet gives to a pod at most (k8s.io/kubernetes/pkg/apis/core/validation): it cuts the rest off and says so in an event.
const (
	MaxNameservers      = 3
	MaxSearches         = 32
	maxSearchCharacters = 2048
	maxSearchLength     = 253
)

// OfKubelet is the configuration that a kubelet makes of a node's file for a pod with dnsPolicy Default, as its package
// network/dns does. It does not read it as the C library does: domain lines are passed over, the root as a search domain is left
// out, of an option's values the last counts; and no more than its limits allow is kept.
func OfKubelet(text string) (kept Config, cut bool) {
	options := map[string]string{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if len(fields) > 1 {
				kept.Nameservers = append(kept.Nameservers, fields[1])
			}
		case "search":
			kept.Search = nil
			for _, s := range fields[1:] {
				if s != "." {
					kept.Search = append(kept.Search, strings.TrimSuffix(s, "."))
				}
			}
		case "options":
			for _, o := range fields[1:] {
				name, _, _ := strings.Cut(o, ":")
				options[name] = o
			}
		}
	}
	for _, o := range options {
		kept.Options = append(kept.Options, o)
	}
	slices.Sort(kept.Options)
	return limited(kept)
}

// limited cuts what is beyond the kubelet's limits.
func limited(c Config) (kept Config, cut bool) {
	nameservers, searches := len(c.Nameservers), len(c.Search)
	c.Nameservers = c.Nameservers[:min(nameservers, MaxNameservers)]
	c.Search = slices.DeleteFunc(c.Search[:min(searches, MaxSearches)], func(s string) bool { return len(s) > maxSearchLength })
	for len(c.Search) > 0 && len(strings.Join(c.Search, " ")) > maxSearchCharacters {
		c.Search = c.Search[:len(c.Search)-1]
	}
	return c, len(c.Nameservers) < nameservers || len(c.Search) < searches
}

// WithoutFile is the configuration that a kubelet gives to such pods whose resolvConf is empty: the node itself as nameserver, by
// the loopback address of each of its families, and no search.
func WithoutFile(loopbacks ...string) Config {
	if len(loopbacks) == 0 {
		loopbacks = []string{"127.0.0.1"}
	}
	return Config{Nameservers: loopbacks, Search: []string{"."}}
}

// Empty says whether nothing is configured: the runtime then gives the pod the node's /etc/resolv.conf.
func (c Config) Empty() bool { return len(c.Nameservers)+len(c.Search)+len(c.Options) == 0 }
