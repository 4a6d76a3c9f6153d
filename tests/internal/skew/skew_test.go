package skew

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWidest(t *testing.T) {
	start := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	read := func(name, kernel string, ahead, took time.Duration) Reading {
		return Reading{Name: name, Kernel: kernel, Asked: start, Now: start.Add(ahead + took/2), Took: took}
	}
	for _, c := range []struct {
		name          string
		all           []Reading
		ok            bool
		ahead, behind string
		apart         time.Duration
	}{
		{name: "nothing"},
		{name: "one kernel", all: []Reading{read("a", "k", 0, 0), read("b", "k", time.Hour, 0)}},
		{name: "two that agree", all: []Reading{read("a", "k", time.Millisecond, 10*time.Millisecond), read("b", "l", 0, 4*time.Millisecond)},
			ok: true, ahead: "a", behind: "b"},
		{name: "two apart", all: []Reading{read("a", "k", 0, 20*time.Millisecond), read("b", "l", time.Minute, 40*time.Millisecond)},
			ok: true, ahead: "b", behind: "a", apart: time.Minute - 30*time.Millisecond},
		{name: "the widest of three", all: []Reading{read("a", "k", 0, 0), read("b", "l", time.Second, 0), read("c", "m", -time.Second, 0)},
			ok: true, ahead: "b", behind: "c", apart: 2 * time.Second},
		{name: "uncertain ones count less", all: []Reading{read("a", "k", 0, 0), read("b", "l", 3*time.Second, 4*time.Second), read("c", "m", 2*time.Second, 0)},
			ok: true, ahead: "c", behind: "a", apart: 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := Widest(c.all)
			require.Equal(t, c.ok, ok)
			require.Equal(t, []string{c.ahead, c.behind}, []string{got.Ahead.Name, got.Behind.Name})
			require.Equal(t, c.apart, got.Apart)
		})
	}
}
