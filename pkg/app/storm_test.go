package app_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// An import of 5,000 rows: the first 1,000 are delivered, the rest is held, and discarded
// or released by one command. Another workflow doesn't notice, and a restart in between
// changes nothing.
func TestImportIsHeld(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	h := newHooks(t)
	w := startWorker(t, db, delivers)
	w.holds(t)
	for _, id := range []string{"flood", "flood2"} {
		defineHook(t, db, id, h.URL+"/"+id, "")
	}
	define(t, db, "quiet", "acme", "create", `{"total": 5}`, "log")
	db.Exec(t, `insert into rowbell.workflow_action (workflow_id, action_type, "order") values ('flood2', 'log', 1)`)
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id, total) select 'acme', n from generate_series(1, 5000) n`)
	statuses := func(id, want string) {
		t.Helper()
		got := ""
		pgtest.Eventually(t, pgtest.Patience, id+" to come to "+want, func() bool {
			got = pgtest.One[string](t, db, `select coalesce(string_agg(status || ' ' || n, ', ' order by status), '') from (
				select status, count(*) n from rowbell.workflow_log where workflow_id = $1 group by 1) s`, id)
			return got == want
		})
	}
	statuses("flood", "pending 4000, success 1000")
	statuses("flood2", "pending 4000, success 1000")
	statuses("quiet", "success 1")
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	startWorker(t, db, delivers).holds(t)
	o := operator(t, db)
	list, err := o.Storms(t.Context(), false)
	if err != nil || len(list) != 2 || list[0].Executions != 4000 || list[1].Executions != 4000 {
		t.Fatalf("Storms = %+v, %v", list, err)
	}
	event := pgtest.One[string](t, db, `select max(trigger_event_id) from rowbell.workflow_log where workflow_id = 'flood' and status = 'pending'`)
	x, err := o.Explain(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range x.Workflows {
		if a.WorkflowID != "quiet" && (a.Outcome != trial.Held || !strings.Contains(a.Reason, "rowbell storm release ")) {
			t.Errorf("Explain = %+v", a)
		}
	}
	// One row more is none too many.
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	statuses("flood", "pending 4000, success 1001")

	if list, err = o.DiscardStorm(t.Context(), "flood2", "ann"); err != nil || len(list) != 1 || list[0].WorkflowID != "flood2" {
		t.Fatalf("DiscardStorm = %+v, %v", list, err)
	}
	statuses("flood2", "cancelled 4000, success 1001")
	if got := pgtest.One[string](t, db, `select string_agg(distinct error, '; ') from rowbell.workflow_log where status = 'cancelled'`); got != "held by the storm guard, and discarded by an operator" {
		t.Errorf("the reason is %q", got)
	}
	list, err = o.Storms(t.Context(), false)
	if err != nil || len(list) != 1 {
		t.Fatalf("Storms = %+v, %v", list, err)
	}
	if _, err = o.ReleaseStorm(t.Context(), list[0].ID, "ann"); err != nil {
		t.Fatal(err)
	}
	statuses("flood", "success 5001")
	if _, err := o.ReleaseStorm(t.Context(), list[0].ID, "ann"); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("released again: %v", err)
	}
	if list, err = o.Storms(t.Context(), true); err != nil || len(list) != 2 || list[0].DecidedBy != "ann" || list[0].Executions != 0 {
		t.Errorf("Storms, all = %+v, %v", list, err)
	}
	// What was discarded can be replayed.
	q := failures("flood2")
	q.Statuses, q.Cause, q.Limit = []workflow.ExecutionStatus{workflow.Cancelled}, "storm guard", 10
	r, err := o.StartReplay(t.Context(), q)
	if err != nil || r.Total != 10 {
		t.Fatalf("StartReplay = %+v, %v", r, err)
	}
	replayEnds(t, o, r.ID)
	statuses("flood2", "cancelled 4000, success 1011")
}

// An application that hands on its chain is stopped when it goes round.
func TestLoopIsStopped(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	h := newHooks(t)
	// The receiver writes another order because of each webhook, and hands on the chain.
	conn := db.Pool(t)
	h.answer = func(id string, n int) int {
		if n > 1 {
			return 200
		}
		_, err := conn.Exec(t.Context(), `with c as (select rowbell.set_chain($1::jsonb -> 'data' -> 'chain')) insert into orders (tenant_id) select 'acme' from c`, h.bodies[id][0])
		if err != nil {
			return 400
		}
		return 200
	}
	w := startWorker(t, db, delivers, func(c *app.Config) { c.MaxDepth = 4 })
	w.holds(t)
	defineHook(t, db, "round", h.URL+"/in", "")
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	settled(t, db, "failure 1, success 4")
	if ids, requests := h.count(); ids != 4 || requests != 4 {
		t.Errorf("%d ids in %d requests", ids, requests)
	}
	want := "stopped: loop: round → round → round → round → round (depth 5): each of these led to the next, and at most 4 may; if that is meant, raise max_depth in the workflow's settings"
	if got := pgtest.One[string](t, db, `select error from rowbell.workflow_log where status = 'failure'`); got != want {
		t.Errorf("the reason is %q, want %q", got, want)
	}
	o := operator(t, db)
	event := pgtest.One[string](t, db, `select trigger_event_id from rowbell.workflow_log where status = 'failure'`)
	x, err := o.Explain(t.Context(), event)
	if err != nil || len(x.Workflows) != 1 || x.Workflows[0].Reason != want {
		t.Errorf("Explain = %+v, %v", x, err)
	}
	if got := pgtest.One[int64](t, db, `select count(distinct coalesce(chain ->> 'id', id)) from rowbell.workflow_event`); got != 1 {
		t.Errorf("there are %d chains", got)
	}
	list, err := o.Deliveries(t.Context(), store.DeliveryFilter{})
	if err != nil || len(list) != 0 {
		t.Errorf("dead deliveries: %s, %v", fmt.Sprint(list), err)
	}
}
