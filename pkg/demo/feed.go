package demo

import (
	"context"
	"time"

	"github.com/rowbell/rowbell/pkg/store"
)

// feed reads workflow_log as it grows.
type feed struct {
	state *store.State
	after store.FeedCursor // the last row that was read
}

// atOnce is how many rows are read at a time. More wait for the next time.
const atOnce = 200

// next returns the executions that were recorded since the last call, oldest first.
func (f *feed) next(ctx context.Context) ([]store.FeedRow, error) {
	rows, err := f.state.Feed(ctx, f.after, atOnce)
	if err != nil {
		return nil, err
	}
	if len(rows) > 0 {
		f.after = rows[len(rows)-1].Cursor()
	}
	return rows, nil
}

// latency is from the change's commit to its execution's record, both by the
// server's clock.
func latency(r *store.FeedRow) time.Duration { return r.ExecutedAt.Sub(r.CommittedAt) }
