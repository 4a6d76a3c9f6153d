// Package resolvconf reads resolv.conf(5) files for what they say, so that two can be compared.
package resolvconf

import (
	"fmt"
	"slices"
	"strings"
)

// Config is what a resolver configuration says.
type Config struct {
	Nameservers []string
	Search      []string // without dots at their ends; a domain line counts as a search list of one
	Options     []string // sorted: "ndots:5", "edns0"
}

// Parse reads the text of a file. As in the C library, the last search or domain line wins, and lines that are none of
// these are left out.
func Parse(text string) Config {
	var c Config
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.ContainsAny(fields[0][:1], "#;") {
			continue
		}
		switch fields[0] {
		case "nameserver":
			c.Nameservers = append(c.Nameservers, fields[1])
		case "search", "domain":
			c.Search = nil
			for _, s := range fields[1:] {
				c.Search = append(c.Search, withoutDot(s))
			}
		case "options":
			c.Options = append(c.Options, fields[1:]...)
		}
	}
	slices.Sort(c.Options)
	return c
}

// withoutDot keeps the root, which is a dot alone.
func withoutDot(name string) string {
	if trimmed := strings.TrimSuffix(name, "."); trimmed != "" {
		return trimmed
	}
	return name
}

// Option is the value of an option, and whether it is set: "5" of ndots:5, "" of edns0.
func (c Config) Option(name string) (value string, set bool) {
	for _, o := range c.Options {
		if key, v, _ := strings.Cut(o, ":"); key == name {
			value, set = v, true
		}
	}
	return value, set
}

// Difference says in noun phrases how the configuration differs from the one wanted; ok is whether it does not. The
// order of nameservers and searches counts, that of options does not.
func (c Config) Difference(want Config) (expected, observed string, ok bool) {
	for _, part := range []struct {
		what      string
		got, want []string
	}{
		{"the nameservers", c.Nameservers, want.Nameservers},
		{"the search list", c.Search, want.Search},
		{"the options", c.Options, want.Options},
	} {
		if !slices.Equal(part.got, part.want) {
			return part.what + " " + list(part.want), list(part.got), false
		}
	}
	return "", "", true
}

func list(all []string) string {
	if len(all) == 0 {
		return "none"
	}
	return fmt.Sprint(all)
}
