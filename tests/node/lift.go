package node

import (
	"context"
	"errors"
)

// lift undoes what could not be finished, also when the check's context has ended, and gives both errors.
func lift(ctx context.Context, undo func(context.Context) error, why error) error {
	return errors.Join(why, undo(context.WithoutCancel(ctx)))
}
