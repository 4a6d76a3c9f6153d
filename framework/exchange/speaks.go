package exchange

import (
	"context"
	"fmt"
	"strings"

	"github.com/parley-k8s/parley/framework/requirement"
)

// Speaks says of an optional protocol ("sctp") that the kernel of one of the ends lacks it, as *requirement.Unsupported.
func Speaks(ctx context.Context, protocol string, ends ...*requirement.End) error {
	for _, end := range ends {
		id, err := end.Identity(ctx)
		if err != nil {
			return fmt.Errorf("asking %s what its kernel has: %w", end, err)
		}
		if gap, lacks := id.Gaps[protocol]; lacks {
			return &requirement.Unsupported{Probed: fmt.Sprintf("opening a socket of %s on %s: %s", strings.ToUpper(protocol), end.Where(), gap)}
		}
	}
	return nil
}
