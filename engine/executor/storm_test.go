package executor_test

import (
	"context"
	"testing"

	"github.com/rowbell/rowbell/engine/executor"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// fewDiscarded claims what is discarded one by one.
type fewDiscarded struct{ executor.Queue }

func (q fewDiscarded) ClaimDiscarded(ctx context.Context, _ int) ([]*workflow.Leased, error) {
	return q.Queue.ClaimDiscarded(ctx, 1)
}

// Of what an operator has discarded nothing begins, whichever of it is cancelled first.
func TestDiscardedInParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.wrapQueue = func(q executor.Queue) executor.Queue { return fewDiscarded{q} }
	f := w.define(t, definition{id: "f", actions: []action{{}, {order: 1}, {order: 2}}})
	w.queued(t, f, 2)
	w.db.Exec(t, `update rowbell.queue set big_stream = -version_ref, big_lsn = '0/1', ready_at = case when ready_at is not null then timestamptz 'infinity' end;
		insert into rowbell.big_transaction (stream, commit_lsn, committed_at, status, updated_at)
		select distinct big_stream, big_lsn, committed_at, 'discarded', now() from rowbell.queue limit 1`)
	w.start(t, "p1")
	w.eventually(t, f, "cancelled 2")
	if n, _ := w.probe.counts(); n != 0 {
		t.Errorf("%d deliveries", n)
	}
	if got := w.rows(t, `select distinct status || ' ' || reason from rowbell.delivery_done`); got != "cancelled held by the storm guard, and discarded by an operator" {
		t.Errorf("they ended: %s", got)
	}
}
