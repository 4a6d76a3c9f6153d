package container

import (
	"context"
	"time"
)

// cleanUp removes what a check made, also when its context has ended. What cannot be removed dies
// with the pod, so the error is of no interest.
func cleanUp(ctx context.Context, remove func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if remove(ctx) != nil {
		return
	}
}
