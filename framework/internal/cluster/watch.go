package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/parley-k8s/parley/framework/until"
)

// listRetry is how often the API server is asked again while it does not answer: it starts within seconds.
const listRetry = 250 * time.Millisecond

// pendingError is what a check returns while something is missing; any other result of it ends the watch.
type pendingError struct{ missing string }

func (e pendingError) Error() string { return e.missing }

func pending(format string, a ...any) error { return pendingError{fmt.Sprintf(format, a...)} }

// watchUntil lists objects and watches them, and calls check after every change until it returns nil or an error
// that is no pendingError. When ctx ends, the error is the last thing that was missing.
func watchUntil[T runtime.Object](ctx context.Context, lw *cache.ListWatch, check func(objects map[string]T) error) error {
	missing := pending("the API server has not answered yet")
	for {
		err := watchOnce(ctx, lw, func(objects map[string]T) error {
			missing = check(objects)
			return missing
		})
		if ctx.Err() != nil && missing != nil {
			return fmt.Errorf("%w: %w", missing, context.Cause(ctx))
		}
		if !errors.As(err, &pendingError{}) {
			return err
		}
	}
}

// watchOnce is watchUntil on one watch: where that breaks off, the error is a pendingError.
func watchOnce[T runtime.Object](ctx context.Context, lw *cache.ListWatch, check func(map[string]T) error) error {
	var list runtime.Object
	// The deadline is ctx's own: Within only has to be longer.
	_, err := until.Settled(ctx, until.Policy{Within: 24 * time.Hour, Every: listRetry}, func(ctx context.Context) (err error) {
		list, err = lw.ListWithContextFunc(ctx, metav1.ListOptions{})
		return err
	})
	if err != nil {
		return pending("the API server does not answer: %v", err)
	}
	objects := map[string]T{}
	if err := meta.EachListItem(list, func(o runtime.Object) error { return store(objects, o) }); err != nil {
		return err
	}
	if err := check(objects); !errors.As(err, &pendingError{}) {
		return err
	}
	version, err := meta.NewAccessor().ResourceVersion(list)
	if err != nil {
		return err
	}
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, version, lw)
	if err != nil {
		return err
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		switch event.Type {
		case watch.Added, watch.Modified:
			err = store(objects, event.Object)
		case watch.Deleted:
			delete(objects, nameOf(event.Object))
		case watch.Error: // the version is too old: list again
			return pending("the watch broke off")
		default:
			continue
		}
		if err != nil {
			return err
		}
		if err := check(objects); !errors.As(err, &pendingError{}) {
			return err
		}
	}
	return pending("the watch broke off")
}

func store[T runtime.Object](objects map[string]T, o runtime.Object) error {
	t, ok := o.(T)
	if !ok {
		return fmt.Errorf("the API server sent a %T where a %T was expected", o, t)
	}
	objects[nameOf(o)] = t
	return nil
}

func nameOf(o runtime.Object) string {
	a, err := meta.Accessor(o)
	if err != nil {
		return ""
	}
	return a.GetName()
}
