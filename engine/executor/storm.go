package executor

import (
	"context"

	"github.com/rowbell/rowbell/pkg/workflow"
)

const discarded = "held by the storm guard, and discarded by an operator"

// discard cancels what an operator has discarded of what the storm guard held. It stops
// each execution as well: what waits for a lower order may not be among those that are
// claimed together, and would begin when that has ended.
func (e *Executor) discard(ctx context.Context, q Queue, results chan<- result) error {
	calls, stop := outlast(ctx, lastWrite)
	defer stop()
	for ctx.Err() == nil {
		call, done := context.WithTimeout(calls, longestSweep)
		list, err := q.ClaimDiscarded(call, unwantedAtOnce)
		done()
		if err != nil {
			return err
		}
		for _, l := range list {
			results <- result{outcome: workflow.Outcome{Leased: l, Verb: workflow.Cancel, Reason: discarded, Stop: discarded}}
		}
		if len(list) < unwantedAtOnce {
			break
		}
	}
	return nil
}
