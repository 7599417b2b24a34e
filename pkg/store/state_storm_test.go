package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Whoever takes the slot counts on from what is recorded: of the newest minute, of the one
// before, and of the transaction that is recorded in part. Replays don't count.
func TestStormCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if got := w.held.Storms; got.Minute != 0 || len(got.Counts) != 0 {
		t.Errorf("at first: %+v", got)
	}
	at := w.at.Truncate(time.Minute)
	record := func(at time.Time, status workflow.ExecutionStatus, deliveries int) *workflow.Event {
		t.Helper()
		w.at = at
		e := w.event("1")
		w.record(t, w.batch(status, deliveries, e))
		return e
	}
	record(at.Add(-3*time.Minute), workflow.Success, 0)
	record(at.Add(-2*time.Minute), workflow.Success, 0)
	record(at.Add(-time.Minute), workflow.Failure, 0)
	record(at.Add(-time.Second), workflow.Pending, 2)
	record(at, workflow.Success, 0)
	record(at.Add(58*time.Second), workflow.Pending, 1)
	record(at.Add(-time.Millisecond*500), workflow.Success, 0) // commit times don't always grow
	w.acquire(t)
	minute := at.Unix() / 60
	if got := w.held.Storms; got.Minute != minute || !slices.Equal(got.Counts, []workflow.StormCount{{WorkflowID: "wf-a", Newest: 2, Before: 3}}) {
		t.Errorf("between transactions: %+v, want minute %d", got, minute)
	}
	// The midst of a transaction.
	w.at = at.Add(59 * time.Second)
	first := w.event("1")
	second := *first
	second.Position.Seq = 1
	second.ID = change.EventID(second.CommittedAt, second.Position, change.SideFirst).String()
	b := w.batch(workflow.Success, 0, first, &second)
	b.Next.Position.Seq = 1
	b.Next.ConfirmLSN = w.last.ConfirmLSN
	w.record(t, b)
	w.db.Exec(t, `insert into rowbell.execution (committed_at, executed_at, settled_at, version_ref, priority, id, status)
		select committed_at, executed_at, settled_at, version_ref, priority, id || '-7', status from rowbell.execution`)
	w.acquire(t)
	if got := w.held.Storms; got.Minute != minute || !slices.Equal(got.Counts, []workflow.StormCount{{WorkflowID: "wf-a", Newest: 4, Before: 3, InTxn: 2}}) {
		t.Errorf("in a transaction: %+v", got)
	}
}

// A storm's row is written once: what an operator has decided of it stays.
func TestStormStaysDecided(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hold := func() string {
		t.Helper()
		e := w.event("1")
		b := w.batch(workflow.Pending, 2, e)
		b.Executions[0].Storm = 0x900
		b.Big = []workflow.Big{{Stream: workflow.StormStream(2), CommitLSN: 0x900, CommittedAt: e.CommittedAt, Status: workflow.BigHeld}}
		w.record(t, b)
		return e.ID + "-2"
	}
	first := hold()
	q := w.queue(t, "p1")
	if n, err := q.ReleaseBig(t.Context(), 10); err != nil || n != 0 || len(claim(t, q, all).Deliveries) != 0 {
		t.Errorf("%d were released, %v", n, err)
	}
	if list, err := q.ClaimDiscarded(t.Context(), 10); err != nil || len(list) != 0 {
		t.Errorf("ClaimDiscarded of what is held: %v, %v", list, err)
	}
	id := workflow.StormID(2, 0x900)
	for _, name := range []string{"wf-b", "2-0/1", "", "2-0/900 "} {
		if _, err := w.state.DecideStorm(t.Context(), name, workflow.BigReleased, "ann"); !errors.Is(err, workflow.ErrNotFound) {
			t.Errorf("DecideStorm(%q): %v", name, err)
		}
	}
	if list, err := w.state.DecideStorm(t.Context(), id, workflow.BigDiscarded, "ann"); err != nil || len(list) != 1 || list[0].Executions != 1 || list[0].Deliveries != 2 {
		t.Fatalf("DecideStorm = %+v, %v", list, err)
	}
	second := hold()
	list, err := q.ClaimDiscarded(t.Context(), 10)
	if err != nil || len(list) != 4 {
		t.Fatalf("ClaimDiscarded: %v, %v", list, err)
	}
	var outcomes []workflow.Outcome
	for _, l := range list {
		outcomes = append(outcomes, workflow.Outcome{Leased: l, Verb: workflow.Cancel, Reason: "discarded"})
	}
	settle(t, q, outcomes...)
	for _, x := range []string{first, second} {
		if got := w.db.QueryString(t, `select status || ' ' || error from rowbell.workflow_log where id = '`+x+`'`); got != "cancelled discarded" {
			t.Errorf("execution %s is %s", x, got)
		}
	}
}
