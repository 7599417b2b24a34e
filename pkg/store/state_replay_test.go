package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// makeAll makes each item anew with so many deliveries, each of an order of its own.
func makeAll(deliveries int) func(context.Context, *store.Replay, []store.ReplayItem) ([]store.Replayed, error) {
	return func(_ context.Context, _ *store.Replay, items []store.ReplayItem) ([]store.Replayed, error) {
		var list []store.Replayed
		for _, i := range items {
			x := &workflow.Execution{Event: i.Event, VersionRef: i.VersionRef, Priority: i.Priority, Status: workflow.Pending}
			r := store.Replayed{Outcome: store.ReplayMade, Execution: x, Fires: true, WorkflowID: i.WorkflowID}
			for n := range deliveries {
				r.Deliveries = append(r.Deliveries, &workflow.Delivery{Execution: x, Action: int16(n), Kind: "webhook", Order: int32(n), Addressed: true, Lane: 5})
			}
			if deliveries == 0 {
				x.Status = workflow.Success
			}
			list = append(list, r)
		}
		return list, nil
	}
}

func (w *world) step(t *testing.T, make func(context.Context, *store.Replay, []store.ReplayItem) ([]store.Replayed, error)) bool {
	t.Helper()
	worked, err := w.state.ReplayStep(t.Context(), 100, 100, make)
	if err != nil {
		t.Fatal(err)
	}
	return worked
}

func TestReplayChooses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	record := func(status workflow.ExecutionStatus, ref int32) *workflow.Event {
		e := w.event("1")
		b := w.batch(status, 0, e)
		b.Executions[0].VersionRef = ref
		w.record(t, b)
		return e
	}
	first := record(workflow.Failure, 2)
	record(workflow.Success, 2)
	record(workflow.Cancelled, 2)
	record(workflow.Failure, 3) // of wf-b, tenant beta
	last := record(workflow.Failure, 2)
	w.pending(t, 1, 1)
	all := store.ReplayFilter{
		Statuses: []workflow.ExecutionStatus{workflow.Failure, workflow.Success, workflow.Cancelled}, Since: first.CommittedAt, Until: time.Now().Add(time.Hour), Limit: 100,
	}
	acme := "acme"
	count := func(change func(*store.ReplayFilter)) (n int) {
		t.Helper()
		f := all
		change(&f)
		parts, err := w.state.CountReplay(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			n += p.Count
		}
		return n
	}
	failures := func(f *store.ReplayFilter) { f.Statuses = []workflow.ExecutionStatus{workflow.Failure} }
	for name, c := range map[string]struct {
		change func(*store.ReplayFilter)
		want   int
	}{
		"all":           {func(*store.ReplayFilter) {}, 5},
		"failures":      {failures, 3},
		"of a workflow": {func(f *store.ReplayFilter) { failures(f); f.Workflows = []string{"wf-a"} }, 2},
		"of a tenant":   {func(f *store.ReplayFilter) { f.TenantID = &acme }, 4},
		"of operators":  {func(f *store.ReplayFilter) { none := ""; f.TenantID = &none }, 0},
		"since":         {func(f *store.ReplayFilter) { f.Since = last.CommittedAt }, 1},
		"until":         {func(f *store.ReplayFilter) { f.Until = last.CommittedAt }, 4},
		"cause":         {func(f *store.ReplayFilter) { f.Cause = "NOT IN the wal" }, 3},
		"another cause": {func(f *store.ReplayFilter) { f.Cause = "%" }, 0},
		"numbers left":  {func(f *store.ReplayFilter) { f.Cause = "row # is not" }, 3},
		"by id":         {func(f *store.ReplayFilter) { f.Executions = []string{last.ID + "-2", "another"} }, 1},
		"limit":         {func(f *store.ReplayFilter) { f.Limit = 2 }, 2},
	} {
		if got := count(c.change); got != c.want {
			t.Errorf("%s: %d are chosen, want %d", name, got, c.want)
		}
	}
	// The last run counts, whatever becomes of it; while it is pending there is nothing to run.
	f := all
	failures(&f)
	r, err := w.state.StartReplay(t.Context(), f, false, 1000, "ann")
	if err != nil || r.Total != 3 || r.CreatedBy != "ann" || r.Filter.Limit != 100 {
		t.Fatalf("StartReplay = %+v, %v", r, err)
	}
	if !w.step(t, makeAll(2)) || w.step(t, makeAll(2)) {
		t.Error("it is not done by one step")
	}
	if r, err = w.state.Replay(t.Context(), r.ID); err != nil || r.Status != store.ReplayDone || r.Done != 3 || r.EndedAt == nil {
		t.Errorf("it has ended as %+v, %v", r, err)
	}
	if got := count(failures); got != 0 {
		t.Errorf("while they are pending %d are chosen", got)
	}
	got := w.db.QueryString(t, `select string_agg(concat_ws(' ', action, state, priority), ', ' order by execution_id, action) from rowbell.delivery join rowbell.workflow_log l on l.id = execution_id where execution_id like '%-%-`+fmt.Sprint(r.ID)+`'`)
	if want := strings.Repeat("0 ready 100, 1 waiting 100, ", 3); got+", " != want {
		t.Errorf("deliveries are %s, want %s", got, want)
	}
	if got := w.db.QueryString(t, `select count(*) from rowbell.fired`); got != "2" {
		t.Errorf("%s rows have fired", got)
	}
	q := w.queue(t, "p1")
	end(t, q, dies(0)) // the three, and the one that was pending at first
	if got := count(failures); got != 4 {
		t.Errorf("after they died again %d are chosen", got)
	}
	if got := count(func(*store.ReplayFilter) {}); got != 6 {
		t.Errorf("of all, %d are chosen", got)
	}
}

// What can't be run again any more is left out and counted, and an error undoes the part.
func TestReplayLeavesOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var events []*workflow.Event
	for range 6 {
		e := w.event("1")
		w.record(t, w.batch(workflow.Failure, 0, e))
		events = append(events, e)
	}
	f := store.ReplayFilter{Statuses: []workflow.ExecutionStatus{workflow.Failure}, Since: events[0].CommittedAt, Until: time.Now().Add(time.Hour), Limit: 100}
	r, err := w.state.StartReplay(t.Context(), f, true, 5, "")
	if err != nil {
		t.Fatal(err)
	}
	other, err := w.state.StartReplay(t.Context(), f, false, 1000, "")
	if err != nil || other.Total != 6 {
		t.Fatalf("another one: %+v, %v", other, err)
	}
	w.db.Exec(t, `delete from rowbell.event where event_id = '`+events[0].ID+`'`)
	w.db.Exec(t, `delete from rowbell.execution where id like '`+events[1].ID+`%'`)
	w.db.Exec(t, `update rowbell.replay set paced_at = paced_at - interval '10 s' where id = `+fmt.Sprint(r.ID))
	broken := errors.New("broken by the test")
	if _, err := w.state.ReplayStep(t.Context(), 100, 100, func(context.Context, *store.Replay, []store.ReplayItem) ([]store.Replayed, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("ReplayStep = %v", err)
	}
	w.db.Exec(t, `update rowbell.replay set paced_at = paced_at - interval '20 s' where id = `+fmt.Sprint(r.ID)) // it lets the other one go first
	outcomes := []store.ReplayOutcome{store.ReplayUnmatched, store.ReplayUndecided, store.ReplayRefused}
	odd := func(ctx context.Context, p *store.Replay, items []store.ReplayItem) ([]store.Replayed, error) {
		list, err := makeAll(0)(ctx, p, items)
		for i := range list {
			if i < len(outcomes) {
				list[i] = store.Replayed{Outcome: outcomes[i], Why: "it can't run"}
			}
		}
		return list, err
	}
	if !w.step(t, odd) {
		t.Fatal("there was nothing to do")
	}
	if r, err = w.state.Replay(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	if r.Gone != 1 || r.Changed != 1 || r.Unmatched != 1 || r.Undecided != 1 || r.Refused != 1 || r.Done != 1 || r.Left() != 0 || r.Status != store.ReplayDone || r.Error != "it can't run" {
		t.Errorf("it has ended as %+v", r)
	}
	// The other one leaves alone what the first has made.
	w.step(t, makeAll(0))
	if other, err = w.state.Replay(t.Context(), other.ID); err != nil || other.Done != 3 || other.Changed != 2 || other.Gone != 1 {
		t.Errorf("the other one has ended as %+v, %v", other, err)
	}
	if _, err := w.state.Replay(t.Context(), 99); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("a replay that isn't: %v", err)
	}
	f.Limit = store.MostReplayed + 1
	if _, err := w.state.StartReplay(t.Context(), f, false, 1, ""); err == nil {
		t.Error("a limit that is too great is taken")
	}
}

// A replay that can't go on, whenever it is tried, keeps no other from going on.
func TestReplayThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.event("1")
	w.record(t, w.batch(workflow.Failure, 0, e))
	f := store.ReplayFilter{Statuses: []workflow.ExecutionStatus{workflow.Failure}, Since: e.CommittedAt, Until: time.Now().Add(time.Hour), Limit: 100}
	bad, err := w.state.StartReplay(t.Context(), f, false, 10, "")
	if err != nil {
		t.Fatal(err)
	}
	good, err := w.state.StartReplay(t.Context(), f, false, 10, "")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, _ = w.state.ReplayStep(t.Context(), 100, 100, func(ctx context.Context, r *store.Replay, items []store.ReplayItem) ([]store.Replayed, error) {
			if r.ID == bad.ID {
				return nil, errors.New("it can't be decoded")
			}
			return makeAll(1)(ctx, r, items)
		})
	}
	if r, err := w.state.Replay(t.Context(), good.ID); err != nil || r.Status != store.ReplayDone || r.Done != 1 {
		t.Errorf("the other one is %+v, %v", r, err)
	}
	if r, err := w.state.Replay(t.Context(), bad.ID); err != nil || r.Status != store.ReplayRunning {
		t.Errorf("the one that fails is %+v, %v", r, err)
	}
}
