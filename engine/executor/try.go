package executor

import (
	"context"
	"errors"
	"time"

	"github.com/rowbell/rowbell/actions"
)

// Tried is what one attempt outside the queue came to. What it gave back and how it failed
// have no secrets in them.
type Tried struct {
	Result   actions.Result
	Duration time.Duration
	Err      error
}

// Try makes one attempt of an action, as the executor does, for people who want to see what
// comes of it: nothing is written down, and neither breakers nor limits know of it. d.Secret is
// set by it.
func Try(ctx context.Context, store Store, tenantID string, r actions.Runner, d *actions.Delivery) Tried {
	seen := &secrets{store: store, tenant: tenantID}
	d.Secret = seen.get
	ctx, cancel := context.WithTimeout(ctx, longestAttempt)
	defer cancel()
	begun := time.Now()
	res, err := protect(ctx, r, d)
	t := Tried{Result: res, Duration: time.Since(begun)}
	t.Result.Response = seen.mask(res.Response)
	if err != nil {
		t.Err = errors.New(seen.mask(err.Error()))
	}
	return t
}
