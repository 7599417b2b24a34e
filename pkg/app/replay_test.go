package app_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func operator(t *testing.T, db *pgtest.Database, change ...func(*app.Config)) *app.Operator {
	t.Helper()
	o, err := app.NewOperator(config(db, change...), testLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

// failures is what most replays are about.
func failures(id string) api.ReplayRequest {
	return api.ReplayRequest{
		ReplayFilter: store.ReplayFilter{Workflows: []string{id}, Statuses: []workflow.ExecutionStatus{workflow.Failure}, Since: time.Now().Add(-time.Hour)},
		Rate:         1000, By: "ann",
	}
}

func replayEnds(t *testing.T, o *app.Operator, id int32) store.Replay {
	t.Helper()
	var r store.Replay
	pgtest.Eventually(t, pgtest.Patience, "the replay to end", func() bool {
		var err error
		if r, err = o.Replay(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		return r.Status != store.ReplayRunning
	})
	return r
}

// A receiver was broken for a while. What died is retried, one delivery under its old id,
// and the rest replayed, each under a new one and once.
func TestRetryAndReplay(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	h := newHooks(t)
	var mended atomic.Bool
	h.answer = func(string, int) int {
		if mended.Load() {
			return 200
		}
		return 404
	}
	w := startWorker(t, db, delivers)
	w.holds(t)
	other := startWorker(t, db, delivers) // both work off what there is
	defineHook(t, db, "hook", h.URL+"/in", "")
	captured(t, db)
	const n = 60
	db.Exec(t, `insert into orders (tenant_id) select 'acme' from generate_series(1, $1)`, n)
	settled(t, db, fmt.Sprintf("failure %d", n))
	mended.Store(true)
	o := operator(t, db)

	list, err := o.Deliveries(t.Context(), store.DeliveryFilter{WorkflowID: "hook", Cause: "404"})
	if err != nil || len(list) != n {
		t.Fatalf("%d dead deliveries are listed, %v", len(list), err)
	}
	one := list[0].ID
	if back, err := o.RetryDelivery(t.Context(), one); err != nil || len(back) != 1 {
		t.Fatalf("RetryDelivery = %v, %v", back, err)
	}
	settled(t, db, fmt.Sprintf("failure %d, success 1", n-1))
	if bodies := h.bodies[one]; len(bodies) != 2 || bodies[0] != bodies[1] {
		t.Errorf("the receiver got %d requests under its id", len(bodies))
	}

	q := failures("hook")
	p, err := o.PlanReplay(t.Context(), q)
	if err != nil || p.Total != n-1 || len(p.Problems) != 0 || len(p.Parts) != 1 || p.Parts[0].Version != list[0].Version {
		t.Fatalf("PlanReplay = %+v, %v", p, err)
	}
	r, err := o.StartReplay(t.Context(), q)
	if err != nil || r.Total != n-1 {
		t.Fatalf("StartReplay = %+v, %v", r, err)
	}
	r = replayEnds(t, o, r.ID)
	if r.Done != n-1 || r.Left() != 0 || r.EndedAt == nil || r.Error != "" {
		t.Errorf("the replay has ended as %+v", r)
	}
	settled(t, db, fmt.Sprintf("failure %d, success %d", n-1, n))
	if ids, requests := h.count(); ids != 2*n-1 || requests != 2*n {
		t.Errorf("%d ids in %d requests", ids, requests)
	}
	if got := pgtest.One[int64](t, db, `select count(*) from rowbell.workflow_log where id like '%-%-' || $1 and status = 'success'`, fmt.Sprint(r.ID)); got != n-1 {
		t.Errorf("%d executions have the replay's number", got)
	}
	// What succeeded in a replay is no failure any more.
	if _, err := o.StartReplay(t.Context(), q); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("again: %v", err)
	}
	// Nothing of a workflow that is off.
	db.Exec(t, `update rowbell.workflow_definition set status = 'inactive'`)
	q.Statuses = []workflow.ExecutionStatus{workflow.Success}
	if _, err := o.StartReplay(t.Context(), q); err == nil || !strings.Contains(err.Error(), "activate it first") {
		t.Errorf("of a workflow that is off: %v", err)
	}
	if err := errors.Join(w.stop(), other.stop()); err != nil {
		t.Error(err)
	}
}

// With the current version, only what it matches is made, by its actions and priority.
func TestReplayCurrent(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	h := newHooks(t)
	old, now := h.URL+"/old", h.URL+"/new"
	h.answer = func(string, int) int { return 400 }
	w := startWorker(t, db, delivers)
	w.holds(t)
	defineHook(t, db, "hook", old, "")
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id, total) select 'acme', n from generate_series(1, 10) n`)
	settled(t, db, "failure 10")
	o := operator(t, db)
	h.mu.Lock()
	h.answer = nil
	h.mu.Unlock()
	db.Exec(t, `begin;
		update rowbell.workflow_trigger set field_conditions = '{"total": {"gt": 7}}', priority = 7;
		update rowbell.workflow_action set action_config = jsonb_set(action_config, '{url}', to_jsonb('`+now+`'::text));
		update rowbell.workflow_definition set settings = '{"firing": "once_per_row"}'; commit`)
	pgtest.Eventually(t, pgtest.Patience, "the version to apply", func() bool {
		return pgtest.One[bool](t, db, `select version = 2 from rowbell.applied where kind = 'workflow'`)
	})
	q := failures("hook")
	q.Current = true
	p, err := o.PlanReplay(t.Context(), q)
	if err != nil || p.Total != 10 || p.Evaluated != 10 || p.Unmatched != 7 || len(p.Problems) != 0 {
		t.Errorf("PlanReplay = %+v, %v", p, err)
	}
	r, err := o.StartReplay(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if r = replayEnds(t, o, r.ID); r.Done != 3 || r.Unmatched != 7 || r.Left() != 0 {
		t.Errorf("the replay has ended as %+v", r)
	}
	settled(t, db, "failure 10, success 3")
	if got := pgtest.One[string](t, db, `select string_agg(workflow_version || ' ' || priority, ', ') from rowbell.workflow_log where status = 'success'`); got != "2 7, 2 7, 2 7" {
		t.Errorf("executions of version and priority %s", got)
	}
	// The old version again, of those alone that the new one left out.
	q.Current = false
	if r, err = o.StartReplay(t.Context(), q); err != nil || r.Total != 7 {
		t.Fatalf("StartReplay = %+v, %v", r, err)
	}
	replayEnds(t, o, r.ID)
	settled(t, db, "failure 10, success 10")
}

// The rate holds, and a replay that is cancelled makes nothing more.
func TestReplayRateAndCancel(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	w := startWorker(t, db, delivers)
	w.holds(t)
	startWorker(t, db, delivers)
	define(t, db, "note", "acme", "create", "{}", "log")
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id) select 'acme' from generate_series(1, 500)`)
	settled(t, db, "success 500")
	o := operator(t, db)
	q := failures("note")
	q.Statuses, q.Rate = []workflow.ExecutionStatus{workflow.Success}, 20
	begun := time.Now()
	r, err := o.StartReplay(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, pgtest.Patience, "some to be made", func() bool {
		r, err = o.Replay(t.Context(), r.ID)
		return err == nil && r.Done >= 30
	})
	took := time.Since(begun).Seconds()
	if most := 20*(took+2) + 2; float64(r.Done) > most {
		t.Errorf("%d were made in %.1f s, at 20/s", r.Done, took)
	}
	if took < 1 {
		t.Errorf("30 took %.1f s at 20/s", took)
	}
	if r, err = o.CancelReplay(t.Context(), r.ID); err != nil || r.Status != store.ReplayCancelled {
		t.Fatalf("CancelReplay = %+v, %v", r, err)
	}
	made := pgtest.One[int64](t, db, `select count(*) from rowbell.workflow_log where id like '%-%-%'`)
	if int(made) != r.Done {
		t.Errorf("%d were made, and it says %d", made, r.Done)
	}
	if _, err := o.CancelReplay(t.Context(), r.ID); !errors.Is(err, workflow.ErrConflict) {
		t.Errorf("cancelled again: %v", err)
	}
	looked := pgtest.One[time.Time](t, db, `select clock_timestamp()`)
	pgtest.Eventually(t, pgtest.Patience, "workers to look again", func() bool { return time.Since(looked) > 700*time.Millisecond })
	if got := pgtest.One[int64](t, db, `select count(*) from rowbell.workflow_log where id like '%-%-%'`); got != made {
		t.Errorf("%d were made after it was cancelled", got-made)
	}
	if got := pgtest.One[int64](t, db, `select count(*) from rowbell.replay_item`); got != 0 {
		t.Errorf("%d are still on its list", got)
	}
}
