package evidence

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMentions(t *testing.T) {
	for line, want := range map[string]bool{
		"ip daddr 10.0.0.1 drop": true, "dnat to 10.0.0.1:8080": true, "10.0.0.1/32": true,
		"ip daddr 10.0.0.12 drop": false, "ip daddr 110.0.0.1 drop": false, "ip daddr 10.0.0.1.2": false, "": false,
	} {
		require.Equal(t, want, mentions(line, "10.0.0.1"), line)
	}
	require.True(t, mentions("dnat to [fd00::1]:80", "fd00::1"))
	require.False(t, mentions("fd00::1a", "fd00::1"))
}

func TestMentioningKeepsTheChain(t *testing.T) {
	text := "table ip nat {\n\tchain a {\n\t\tip daddr 10.0.0.1 accept\n\t\tip daddr 10.0.0.1 drop\n\t}\n\tchain b {\n\t\tip daddr 10.0.0.2 drop\n\t}\n}\n"
	require.Equal(t, []string{"table ip nat {", "\tchain a {", "\t\tip daddr 10.0.0.1 accept", "\t\tip daddr 10.0.0.1 drop"}, mentioning(text, []string{"10.0.0.1"}))
	require.Empty(t, mentioning(text, nil))
}

func FuzzMentions(f *testing.F) {
	f.Add("a 10.0.0.1", "10.0.0.1")
	f.Fuzz(func(_ *testing.T, line, address string) {
		if address != "" {
			mentions(line, address)
		}
	})
}
