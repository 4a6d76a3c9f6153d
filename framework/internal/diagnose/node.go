package diagnose

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// undoBound bounds the removal of counting rules, also after the diagnosis's own time.
const undoBound = 5 * time.Second

// facts are what the place where packets were seen last has to say about where they were to go: its route, and the
// neighbour there.
func (w *walk) facts(ctx context.Context, p *way, at int) string {
	if at < 0 {
		at = 0
	}
	if len(p.steps) == 0 {
		return ""
	}
	target := w.failure.Target
	if s := p.steps[at]; s.answer {
		ip, ok := w.failure.From.IP(w.env.Family)
		if !ok {
			return ""
		}
		target = ip.String()
	} else {
		for _, server := range []*requirement.End{w.server(), p.to} { // the last that is known: who was dialled now
			if server == nil {
				continue
			}
			if ip, ok := server.IP(w.env.Family); ok {
				target = ip.String()
			}
		}
	}
	ip, ok := Address(target)
	if !ok {
		return ""
	}
	place := p.places[p.steps[at].place]
	to := []string{ip.String()}
	if next := w.nextNode(p, at); next != "" {
		to = append(to, next)
	}
	seen, err := place.agent.InspectNetns(ctx, wire.InspectNetns{Netns: place.netns, To: to})
	if probe.Either(seen.Errno, err) != nil || len(seen.Lookups) != len(to) {
		return ""
	}
	if seen.Lookups[0].Kind == "local" && place.netns != 0 {
		return "" // it came to where it was to
	}
	told := WayOf(place.name, seen.Lookups[0])
	for _, l := range seen.Lookups {
		if wrong := w.wrongNeighbour(ctx, l); wrong != "" && !strings.Contains(told, wrong) {
			if l.To != seen.Lookups[0].To {
				told += "; " + WayOf(place.name, l)
			}
			told += "; " + wrong
			w.blame(fmt.Sprintf("%s has a wrong neighbour entry for %s, %s: %s", place.name, cmp.Or(l.Via, l.To), l.Address, wrong))
		}
	}
	w.note("%s", told)
	return "; " + told
}

// nextNode is the address of the node that a packet would have come to after the step, where it is another one: a tunnel's packets go
// to it. "" where it is not.
func (w *walk) nextNode(p *way, at int) string {
	if at+1 >= len(p.steps) {
		return ""
	}
	here, next := p.places[p.steps[at].place], p.places[p.steps[at+1].place]
	if here.agent.Node == next.agent.Node {
		return ""
	}
	ip, ok := next.agent.IP(w.env.Family)
	if !ok {
		return ""
	}
	return ip.String()
}

// accounting is what a conntrack entry says besides the connection.
var accounting = regexp.MustCompile(` (packets|bytes|mark)=\S+| (start|stop)=.*(?: UTC|$)| timeout=\S+`)

// conntrackEntry is the conntrack entry of what was followed from the client, on its node: where a proxy sent it.
func (w *walk) conntrackEntry(ctx context.Context, client *requirement.End) string {
	ip, ok := client.IP(w.env.Family)
	if !ok || !w.rules {
		return ""
	}
	for _, agent := range w.env.Players.Ends(world.Node) {
		if agent.Node != client.Node {
			continue
		}
		from := requirement.At(ip, w.env.Port(sourcePort))
		seen, err := agent.Conntrack(ctx, wire.Conntrack{Do: "find", Proto: w.transport(), From: from})
		switch {
		case probe.Either(seen.Errno, err) != nil:
			return ""
		case len(seen.Entries) == 0:
			return fmt.Sprintf("; %s tracks no connection from %s", agent.Node, from)
		}
		return fmt.Sprintf("; %s tracks it as %s", agent.Node, strings.Join(strings.Fields(accounting.ReplaceAllString(seen.Entries[0], "")), " "))
	}
	return ""
}

// Address is the address of what was dialled, alone or with a port; false for a name or a path.
func Address(text string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr(), true
	}
	ip, err := netip.ParseAddr(text)
	return ip, err == nil
}

// WayOf is a route and its neighbour in words.
func WayOf(place string, w wire.RouteLookup) string {
	switch {
	case !w.Ok():
		return fmt.Sprintf("%s has no route to %s (%s)", place, w.To, w.Text)
	case w.Kind == "local":
		return fmt.Sprintf("%s holds %s to be its own address", place, w.To)
	case w.Kind != "":
		return fmt.Sprintf("%s has a route of type %s to %s", place, w.Kind, w.To)
	}
	hop, told := w.To, fmt.Sprintf("%s routes %s by %s", place, w.To, w.Device)
	if w.Via != "" {
		hop, told = w.Via, fmt.Sprintf("%s routes %s via %s by %s", place, w.To, w.Via, w.Device)
	}
	switch {
	case w.State == "FAILED" || w.State == "INCOMPLETE":
		return fmt.Sprintf("%s, where its neighbour table has %s as %s", told, hop, w.State)
	case w.State != "":
		return fmt.Sprintf("%s (neighbour %s at %s, %s)", told, hop, w.Address, w.State)
	}
	return told
}

// telling are the kernel's counters of packets that it drops outside of rules (proc_net_snmp(5) and the kernel's
// Documentation/networking/snmp_counter.rst).
var telling = []string{"Ip.InNoRoutes", "Ip.OutNoRoutes", "Ip.InAddrErrors", "Ip.InHdrErrors", "Ip.ReasmFails", "Ip.FragFails",
	"IpExt.InNoRoutes", "IpExt.InCsumErrors", "TcpExt.IPReversePathFilter", "TcpExt.ListenDrops", "TcpExt.ListenOverflows",
	"Tcp.InCsumErrors", "Udp.RcvbufErrors", "Udp.InCsumErrors", "Udp.NoPorts"}

// counters reads those of the nodes and pods on the way, by place.
func (w *walk) counters(ctx context.Context, p *way) map[string]map[string]uint64 {
	all := map[string]map[string]uint64{}
	for _, place := range p.places {
		if all[place.name] != nil {
			continue
		}
		all[place.name] = map[string]uint64{}
		reader := place.agent
		if place.netns != 0 {
			reader = place.own
		}
		for _, file := range []string{"/proc/net/snmp", "/proc/net/netstat"} {
			got, err := reader.File(ctx, wire.File{Do: "read", Path: file})
			if err == nil && got.Ok() {
				parseCounters(string(got.Data), all[place.name])
			}
		}
	}
	return all
}

// grown are the telling counters that have grown since.
func (w *walk) grown(ctx context.Context, p *way, before map[string]map[string]uint64) string {
	var told []string
	after := w.counters(ctx, p)
	for _, place := range p.places {
		for _, name := range telling {
			if now, was := after[place.name][name], before[place.name][name]; now > was && len(before[place.name]) > 0 {
				told = append(told, counted(place.name, now-was, name))
				if protocol, sum := checksums(name); sum {
					w.suspect(fmt.Sprintf("packets come by %s to %s with a wrong checksum", protocol, place.agent.Node))
				}
			}
		}
	}
	told = slices.Compact(told)
	for _, line := range told {
		w.note("%s", line)
	}
	return strings.Join(told, "; ")
}

// checksums is the protocol whose wrong checksums the counter counts: "UDP"; ok is false of any other counter.
func checksums(name string) (protocol string, ok bool) {
	protocol, ok = strings.CutSuffix(name, ".InCsumErrors")
	return strings.ToUpper(protocol), ok
}

// counted is a counter that has grown, in words: a wrong checksum is what nobody finds by the counter's name.
func counted(place string, by uint64, name string) string {
	if protocol, sum := checksums(name); sum {
		return fmt.Sprintf("%s discards %s that came by %s with a wrong checksum (%s)", place, packets(by), protocol, name)
	}
	return fmt.Sprintf("%s counted %d more %s meanwhile", place, by, name)
}

// parseCounters reads the pairs of lines of /proc/net/snmp and /proc/net/netstat: names, then values.
func parseCounters(text string, into map[string]uint64) {
	lines := bufio.NewScanner(strings.NewReader(text))
	var names []string
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		if len(names) != len(fields) || names[0] != fields[0] {
			names = fields
			continue
		}
		for i := 1; i < len(fields); i++ {
			if n, err := strconv.ParseUint(fields[i], 10, 64); err == nil {
				into[strings.TrimSuffix(names[0], ":")+"."+names[i]] = n
			}
		}
		names = nil
	}
}
