package undo

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheLastIsUndoneFirst(t *testing.T) {
	var l List
	var done, failed []string
	step := func(name string, err error) func(context.Context) error {
		return func(context.Context) error { done = append(done, name); return err }
	}
	l.Add("a", step("a", nil))
	forget := l.Add("b", step("b", nil))
	l.Add("c", step("c", errors.New("no answer")))
	l.Add("d", func(context.Context) error {
		done = append(done, "d")
		l.Add("e", step("e", nil)) // made while others are removed
		return nil
	})
	forget()
	forget()
	tell := func(what string, err error) { failed = append(failed, what+": "+err.Error()) }
	l.All(t.Context(), tell)
	l.All(t.Context(), tell)
	require.Equal(t, []string{"d", "e", "c", "a"}, done)
	require.Equal(t, []string{"c: no answer"}, failed)
}
