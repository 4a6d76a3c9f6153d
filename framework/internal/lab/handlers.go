package lab

import (
	"context"
	"fmt"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/handler"
)

// prepareHandlers are the OCI handlers that the columns ask for, with the files that nodes get for them. A column whose handler can't
// be had is not run, or an error where it was asked for by its name.
func (l *Lab) prepareHandlers(ctx context.Context) (handlers []handler.Handler, files []cluster.File, err error) {
	var columns axis.Group
	last := ""
	for _, c := range l.Columns {
		found, its, err := l.handlersOf(ctx, c)
		switch {
		case err == nil:
			handlers, files, columns = append(handlers, found...), append(files, its...), append(columns, c)
		case ctx.Err() != nil || c.ByName:
			return nil, nil, err
		default:
			last = err.Error()
			l.options.NotRun(c.Name(), last)
		}
	}
	if len(columns) == 0 {
		return nil, nil, fmt.Errorf("none of the OCI handlers can be had here: %s", last)
	}
	l.Columns = columns
	return handlers, files, nil
}

// handlersOf are the column's OCI handler and the files that nodes get for it; none where it asks for none.
func (l *Lab) handlersOf(ctx context.Context, c axis.Column) (found []handler.Handler, files []cluster.File, err error) {
	name := c.Spec().Handler
	if name == "" {
		return nil, nil, nil
	}
	if found, err = handler.Named([]string{name}); err != nil {
		return nil, nil, err
	}
	for _, h := range found {
		its, err := h.Files(ctx, l.buildStep)
		if err != nil {
			return nil, nil, fmt.Errorf("the OCI handler %s can't be had here: %w", h.Name, err)
		}
		files = append(files, its...)
	}
	return found, files, nil
}
