package dns

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
	"github.com/parley-k8s/parley/tests/internal/dnscache"
)

const (
	// followMargin is how long the servers that watch the API may take to answer by a change of it. Kubernetes names the figure
	// (sig-scalability's in-cluster DNS programming latency) and sets no number; what was measured is noted. Caches come on top.
	followMargin = 10 * time.Second
	// followUnderControl is what is left of it under a control that keeps the change from being seen.
	followUnderControl = 2 * time.Second
	// longestWait is how long a check waits for caches: one with TTLs of hours can't be judged.
	longestWait = 75 * time.Second
)

// settles observes with the patience in force, and longer as far as caches may keep what was seen.
func settles(ctx context.Context, env *requirement.Env, kept *dnscache.Keeping, observe func(context.Context) error) error {
	return keptTooLong(kept, env.UntilLonger(ctx, allowedBy(kept), observe))
}

// follows waits until the name service shows a change, which a control may keep it from, and says how long it took.
func follows(ctx context.Context, env *requirement.Env, kept *dnscache.Keeping, observe func(context.Context) error) (time.Duration, error) {
	policy := until.Policy{Within: followMargin, Longer: allowedBy(kept)}
	if env.Patience == 0 {
		policy = until.Policy{Within: followUnderControl}
	}
	seen, err := polled(ctx, env, policy, observe)
	if f := requirement.AsFailure(err); f != nil {
		f.Expected += fmt.Sprintf(" within %s and the %s for which caches may keep what was before", policy.Within, kept.Longest())
	}
	return seen.Took, keptTooLong(kept, err)
}

// polled asks quickly, and notes how many questions were not answered meanwhile: that a change is late excuses no silence.
func polled(ctx context.Context, env *requirement.Env, policy until.Policy, observe func(context.Context) error) (until.Seen, error) {
	policy.Every = 10 * time.Millisecond
	silent := 0
	seen, err := until.Settled(ctx, policy, func(ctx context.Context) error {
		err := observe(ctx)
		if f := requirement.AsFailure(err); f != nil && f.Reason == requirement.NoAnswer {
			silent++
		}
		return err
	})
	if silent > 0 {
		env.Note("%d of %d questions were not answered", silent, seen.Attempts)
	}
	if f := requirement.AsFailure(err); f != nil {
		f.Attempts, f.Took = seen.Attempts, seen.Took
		return seen, f
	}
	return seen, err
}

func allowedBy(kept *dnscache.Keeping) func() time.Duration {
	return func() time.Duration { return min(kept.Allowed(followMargin), longestWait) }
}

// keptTooLong is the failure, unless what was seen may be a cache's for longer than a check waits.
func keptTooLong(kept *dnscache.Keeping, err error) error {
	var unsupported *requirement.Unsupported
	if allowed := kept.Allowed(followMargin); requirement.AsFailure(err) != nil && !errors.As(err, &unsupported) && allowed > longestWait {
		return &requirement.Unsupported{Probed: fmt.Sprintf("the answer that was seen may be a cache's for %s by its TTL, longer than a check waits: %v",
			kept.Longest(), err)}
	}
	return err
}
