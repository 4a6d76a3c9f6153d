package dnscache

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

const name = "web.a.svc.cluster.local."

func address(ttl int) wire.DNSAnswer {
	return wire.DNSAnswer{Rcode: "NOERROR", Records: []string{fmt.Sprintf("%s %d IN A 10.0.0.1", name, ttl)}}
}

func nobody(ttl, minimum int) wire.DNSAnswer {
	return wire.DNSAnswer{Errno: wire.Errno{Class: wire.NameError}, Rcode: "NXDOMAIN",
		Authority: []string{fmt.Sprintf("cluster.local. %d IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 %d", ttl, minimum)}}
}

var silence = wire.DNSAnswer{Errno: wire.Errno{Class: wire.TimedOut}}

func TestLifetime(t *testing.T) {
	for what, c := range map[string]struct {
		answer wire.DNSAnswer
		want   time.Duration
	}{
		"a record's TTL":                       {address(30), 30 * time.Second},
		"the longest of a chain":               {wire.DNSAnswer{Rcode: "NOERROR", Records: []string{name + " 5 IN CNAME x.", "x. 60 IN A 10.0.0.1"}}, time.Minute},
		"no such name: the SOA's minimum":      {nobody(3600, 5), 5 * time.Second},
		"no such name: what is left of it":     {nobody(3, 30), 3 * time.Second},
		"no such name and no SOA: not at all":  {wire.DNSAnswer{Rcode: "NXDOMAIN"}, 0},
		"a record counts, not the zone's SOA":  {wire.DNSAnswer{Rcode: "NOERROR", Records: address(0).Records, Authority: nobody(9, 9).Authority}, 0},
		"silence":                              {silence, 0},
		"what is no record":                    {wire.DNSAnswer{Records: []string{"???"}}, 0},
		"an authority without SOA (referral)":  {wire.DNSAnswer{Rcode: "NOERROR", Authority: []string{"x. 60 IN NS y."}}, 0},
		"a comment in the place of the record": {wire.DNSAnswer{Records: []string{"; nothing"}}, 0},
	} {
		t.Run(what, func(t *testing.T) { require.Equal(t, c.want, Lifetime(c.answer)) })
	}
}

// TestAllowed has a change seen within ten seconds by those who know of it first; the answers are what was seen last before and
// after it, at that time after it.
func TestAllowed(t *testing.T) {
	const margin = 10 * time.Second
	for what, c := range map[string]struct {
		before, after wire.DNSAnswer
		at            time.Duration
		allowed       bool
	}{
		"an old answer at first":                                 {address(30), address(30), 5 * time.Second, true},
		"an old answer from a cache that counts down":            {address(30), address(11), 19 * time.Second, true},
		"the same in the last second":                            {address(30), address(0), 40 * time.Second, true},
		"taken from the server in time, and kept":                {address(30), address(1), 39 * time.Second, true},
		"kept beyond its TTL":                                    {address(30), address(0), 43 * time.Second, false},
		"kept beyond its TTL, and counted down anew":             {address(30), address(17), 31 * time.Second, false},
		"from a server that does not know, undiminished":         {address(30), address(30), 13 * time.Second, false},
		"no such name, from a cache":                             {nobody(30, 30), nobody(10, 30), 21 * time.Second, true},
		"no such name, seen at first after the change":           {wire.DNSAnswer{}, nobody(4, 5), 11 * time.Second, true},
		"no such name, from a server that does not know":         {nobody(5, 5), nobody(5, 5), 13 * time.Second, false},
		"no such name without an SOA: nobody may keep it":        {wire.DNSAnswer{Rcode: "NXDOMAIN"}, wire.DNSAnswer{Rcode: "NXDOMAIN"}, 11 * time.Second, false},
		"silence is no answer that was kept":                     {address(30), silence, 11 * time.Second, false},
		"nor is a failure":                                       {address(30), wire.DNSAnswer{Rcode: "SERVFAIL"}, 11 * time.Second, false},
		"records whose TTL is 0 are nobody's to keep":            {address(0), address(0), 11 * time.Second, false},
		"an answer kept longer than the one before was to be":    {address(5), address(60), 13 * time.Second, false},
		"an hour's TTL is an hour's patience, if it counts down": {address(3600), address(600), 50 * time.Minute, true},
	} {
		t.Run(what, func(t *testing.T) {
			var k Keeping
			k.Saw(c.before)
			k.Saw(c.after)
			require.Equal(t, c.allowed, c.at <= k.Allowed(margin), k.Allowed(margin))
		})
	}
	var k Keeping
	require.Equal(t, margin, k.Allowed(margin), "nothing was seen")
}

func FuzzLifetime(f *testing.F) {
	f.Add("x. 60 IN A 10.0.0.1", "x. 1 IN SOA a. b. 1 2 3 4 5")
	f.Fuzz(func(t *testing.T, record, authority string) {
		require.GreaterOrEqual(t, Lifetime(wire.DNSAnswer{Records: []string{record}, Authority: []string{authority}}), time.Duration(0))
		Lifetime(wire.DNSAnswer{Authority: []string{authority}})
	})
}
