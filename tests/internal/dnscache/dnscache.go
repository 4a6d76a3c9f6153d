// Package dnscache says for how long after a change resolvers may go on giving an answer of before it: each may keep an answer
// for as long as the answer's own TTL says (RFC 1035, RFC 2308), and what it hands out counts down.
package dnscache

import (
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

// rounding is what TTLs, which are whole seconds, may be out by along a chain of two caches.
const rounding = 2 * time.Second

// Lifetime is for how long the answer may be kept: the longest TTL of its records; without records the smaller of the TTL and the
// MINIMUM of the SOA record beside it (RFC 2308, section 5); 0 for anything else.
func Lifetime(a wire.DNSAnswer) time.Duration {
	var ttl uint32
	for _, text := range a.Records {
		if rr, err := dns.NewRR(text); err == nil && rr != nil {
			ttl = max(ttl, rr.Header().Ttl)
		}
	}
	if len(a.Records) > 0 {
		return seconds(ttl)
	}
	for _, text := range a.Authority {
		rr, err := dns.NewRR(text)
		if soa, ok := rr.(*dns.SOA); ok && err == nil {
			ttl = max(ttl, min(soa.Hdr.Ttl, soa.Minttl))
		}
	}
	return seconds(ttl)
}

func seconds(ttl uint32) time.Duration { return time.Duration(ttl) * time.Second }

// Keeping is what the answers to one question have told about how long they may be kept. It may be used by several goroutines.
type Keeping struct {
	mu      sync.Mutex
	longest time.Duration // of all answers
	left    time.Duration // of the last one
	said    bool          // the last one was an answer that a cache keeps
}

// Saw takes note of an answer, before or after the change.
func (k *Keeping) Saw(a wire.DNSAnswer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.left, k.said = Lifetime(a), a.Rcode == dns.RcodeToString[dns.RcodeSuccess] || a.Rcode == dns.RcodeToString[dns.RcodeNameError]
	k.longest = max(k.longest, k.left)
}

// Longest is the longest lifetime that an answer had.
func (k *Keeping) Longest() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.longest
}

// Allowed is until how long after the change the answer seen last may be one of before it, where those who know of the change
// first have margin to learn of it. An answer that was taken from them by then may be kept for its lifetime: so it may not say, by
// what is left of that, that it can be kept any longer. What is no answer may be seen within margin alone.
func (k *Keeping) Allowed(margin time.Duration) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.said || k.longest == 0 {
		return margin
	}
	return max(margin, margin+k.longest-k.left+rounding)
}
