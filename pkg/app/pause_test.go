package app_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// With state in another database and two workers: a pause is a row in the source, and both
// heed it. What is recorded, retried by hand and replayed meanwhile waits, the slot is told
// how far the record is, and when the pause is over all goes, once.
func TestPause(t *testing.T) {
	t.Parallel()
	db, state := migrated(t), migrated(t)
	db.Exec(t, shop)
	h := newHooks(t)
	failing := true // guarded by h.mu, with which answer is called
	h.answer = func(string, int) int {
		if failing {
			return 404
		}
		return 200
	}
	elsewhere := func(c *app.Config) { c.StateURL = state.URL }
	a, b := startWorker(t, db, delivers, elsewhere), startWorker(t, db, delivers, elsewhere)
	pgtest.Eventually(t, pgtest.Patience, "a worker to hold the slot", func() bool {
		return pgtest.One[bool](t, db, `select exists (select from pg_replication_slots where slot_name = $1 and active)`, db.Name)
	})
	defineHook(t, db, "hook", h.URL+"/in", "")
	captured(t, state)
	const n = 20
	orders := func() { db.Exec(t, `insert into orders (tenant_id) select 'acme' from generate_series(1, $1)`, n) }
	orders()
	settled(t, state, fmt.Sprintf("failure %d", n))
	h.mu.Lock()
	failing = false
	h.mu.Unlock()

	o := operator(t, db, elsewhere)
	ctx := t.Context()
	p, err := o.Pause(ctx, workflow.Pause{WorkflowID: "hook", Reason: "it is being mended"}, 0, "ann")
	if err != nil || p.CreatedBy != "ann" || !p.Until.IsZero() {
		t.Fatalf("Pause = %+v, %v", p, err)
	}
	time.Sleep(2 * time.Second) // about a second, on a busy machine
	_, before := h.count()
	orders()
	dead := pgtest.One[string](t, state, `select min(id) from rowbell.delivery_done where status = 'dead'`)
	if _, err := o.RetryDelivery(ctx, dead); err != nil {
		t.Fatal(err)
	}
	r, err := o.StartReplay(ctx, failures("hook"))
	if err != nil || r.Total != n-1 {
		t.Fatalf("StartReplay = %+v, %v", r, err)
	}
	replayEnds(t, o, r.ID)
	settled(t, state, fmt.Sprintf("failure %d, pending %d", n-1, 2*n))
	written := pgtest.One[string](t, db, `select pg_current_wal_lsn()::text`)
	db.Exec(t, `insert into orders (tenant_id) values ('globex')`) // so that there is something behind it
	pgtest.Eventually(t, pgtest.Patience, "the slot to be told how far the record is", func() bool {
		return pgtest.One[bool](t, db, `select confirmed_flush_lsn >= $2::text::pg_lsn from pg_replication_slots where slot_name = $1`, db.Name, written)
	})
	if _, after := h.count(); after != before {
		t.Errorf("%d requests came in the pause", after-before)
	}
	if got := pgtest.One[int64](t, state, `select count(*) from rowbell.queue where lease_until is null and attempts <= 1 and ready_at <= now()`); got != 2*n {
		t.Errorf("%d deliveries wait, free and due", got)
	}
	if _, err := o.Resume(ctx, []string{p.ID}, nil, "ben"); err != nil {
		t.Fatal(err)
	}
	settled(t, state, fmt.Sprintf("failure %d, success %d", n-1, 2*n))
	if _, after := h.count(); after != before+2*n {
		t.Errorf("%d requests came after the pause", after-before)
	}
	if list, err := o.Pauses(ctx); err != nil || len(list) != 0 {
		t.Errorf("Pauses = %v, %v", list, err)
	}
	if got := pgtest.One[string](t, db, `select string_agg(actor || ' ' || action, ', ' order by at) from rowbell.audit_log where object_id = $1`, p.ID); got != "ann pause.begin, ben pause.end" {
		t.Errorf("the audit log has %q", got)
	}
	if err := errors.Join(a.stop(), b.stop()); err != nil {
		t.Error(err)
	}
}
