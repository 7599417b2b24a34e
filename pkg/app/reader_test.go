package app_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// A version that counts and was removed by force stops the worker, which says which.
func TestMissingVersion(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	w := startWorker(t, db)
	w.holds(t)
	define(t, db, "w", "acme", "create", `{}`, "log")
	captured(t, db)
	db.Exec(t, `update rowbell.workflow_definition set name = 'Another'`)
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	logged(t, db, "w", 1)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `alter table rowbell.workflow_version disable trigger insert_only; delete from rowbell.workflow_version where version = 2`)
	w = startWorker(t, db)
	<-w.ended
	if w.err == nil || !strings.Contains(w.err.Error(), "version 2 of workflow w") || !strings.Contains(w.err.Error(), "rowbell resync") {
		t.Fatalf("the worker ended with %v", w.err)
	}
}

// A quiet database is seen to be read by heartbeats that come back, and its slot moves.
func TestQuietDatabase(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	w := startWorker(t, db)
	w.holds(t)
	flushed := func() string {
		return db.QueryString(t, `select confirmed_flush_lsn::text from pg_replication_slots where slot_name = $1`, db.Name)
	}
	first := flushed()
	pgtest.Eventually(t, pgtest.Patience, "the slot to be told", func() bool { return flushed() != first })
	pgtest.Eventually(t, pgtest.Patience, "a heartbeat to come back", func() bool {
		return strings.Contains(w.ready(t), "the last heartbeat came back 0s ago")
	})
	if n := pgtest.One[int](t, db, `select count(*)::int from rowbell.workflow_event`); n != 0 {
		t.Errorf("%d events", n)
	}
}

// Who has lost the slot writes no more, and waits for it.
func TestFenced(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	a := startWorker(t, db)
	a.holds(t)
	define(t, db, "w", "acme", "create", `{}`, "log")
	captured(t, db)
	b := startWorker(t, db)
	waits := func(w *worker) bool { return strings.Contains(w.ready(t), "waits to take over") }
	pgtest.Eventually(t, pgtest.Patience, "the second worker to wait", func() bool { return waits(b) })
	for n := range 3 {
		db.Exec(t, `with h as (update rowbell.holder set epoch = epoch + 1) update rowbell.checkpoint set epoch = epoch + 1`)
		db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
		logged(t, db, "w", n+1)
		pgtest.Eventually(t, pgtest.Patience, "one to hold and one to wait", func() bool {
			ra, rb := a.ready(t), b.ready(t)
			const holds, waits = "holding the slot", "waits to take over"
			return strings.HasPrefix(ra, "200") && strings.HasPrefix(rb, "200") &&
				(strings.Contains(ra, holds) && strings.Contains(rb, waits) || strings.Contains(ra, waits) && strings.Contains(rb, holds))
		})
	}
}

// health waits until the health of the workflow says what it should.
func health(t *testing.T, db *pgtest.Database, id, want string) {
	t.Helper()
	pgtest.Eventually(t, pgtest.Patience, fmt.Sprintf("the health of %s to say %q", id, want), func() bool {
		return strings.Contains(strings.Join(pgtest.Query[string](t, db,
			`select concat_ws(': ', verdict, message) from rowbell.workflow_health where workflow_id = $1`, id), ""), want)
	})
}

func manual(c *app.Config) { c.Capture = app.CaptureManual }

// A captured table that is dropped, made again or renamed is not captured any more, and
// health says so.
func TestLostTable(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	w := startWorker(t, db)
	w.holds(t)
	define(t, db, "w", "acme", "create", `{}`, "log")
	captured(t, db)
	health(t, db, "w", "ok")
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `alter table orders rename to purchases`)
	w = startWorker(t, db, manual)
	w.holds(t)
	db.Exec(t, `insert into purchases (tenant_id) values ('acme')`)
	health(t, db, "w", "not_captured: table orders was captured, and then dropped, made again or renamed")
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	// Made again, the worker captures it, where it may.
	db.Exec(t, shop)
	startWorker(t, db).holds(t)
	pgtest.Eventually(t, pgtest.Patience, "orders to be captured again", func() bool {
		return pgtest.One[int](t, db, `select version from rowbell.applied where kind = 'table' and id = 'orders'`) == 2
	})
	health(t, db, "w", "ok")
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	logged(t, db, "w", 1)
}

// What people release stays released, and a table that nobody names any more is not
// asked for.
func TestReleasedStaysReleased(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	w := startWorker(t, db)
	w.holds(t)
	define(t, db, "w", "acme", "create", `{}`, "log")
	captured(t, db)
	health(t, db, "w", "ok")
	db.Exec(t, `call rowbell.release('orders')`)
	health(t, db, "w", "not_captured: table orders isn't captured; run CALL rowbell.capture('orders')")
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, db)
	w.holds(t)
	define(t, db, "typo", "acme", "create", `{}`, "log")
	db.Exec(t, `update rowbell.workflow_trigger set entity_type = 'orderz' where workflow_id = 'typo'`)
	pgtest.Eventually(t, pgtest.Patience, "readiness to say why both aren't captured", func() bool {
		r := w.ready(t)
		return strings.Contains(r, "orders: it was released") && strings.Contains(r, "there is no table orderz")
	})
	db.Exec(t, `delete from rowbell.workflow_definition where id = 'typo'`)
	pgtest.Eventually(t, pgtest.Patience, "the table that nobody names to be forgotten", func() bool {
		r := w.ready(t)
		return strings.Contains(r, "orders: it was released") && !strings.Contains(r, "orderz")
	})
	if got := pgtest.One[bool](t, db, `select released from rowbell.captured_table order by version desc limit 1`); !got {
		t.Error("orders was captured again")
	}
	db.Exec(t, `call rowbell.capture('orders')`)
	health(t, db, "w", "ok")
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	logged(t, db, "w", 1)
}
