package app_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// standbyless is a database where the commits of one session wait for a standby that there
// isn't: they come through the slot, and nobody sees them. let lets them go.
func standbyless(t *testing.T) (db *pgtest.Database, waits *pgx.Conn, let func()) {
	t.Helper()
	db = pgtest.DBOn(t, pgtest.Server(t, localpg.Options{Template: true}))
	db.Exec(t, shop)
	db.Exec(t, `alter system set synchronous_commit = 'local'`)
	db.Exec(t, `alter system set synchronous_standby_names = 'nobody'`)
	db.Exec(t, `select pg_reload_conf()`)
	waits = db.Conn(t)
	if _, err := waits.Exec(t.Context(), `set synchronous_commit = 'on'`); err != nil {
		t.Fatal(err)
	}
	return db, waits, func() {
		db.Exec(t, `alter system set synchronous_standby_names = ''`)
		db.Exec(t, `select pg_reload_conf()`)
	}
}

// executes runs a statement whose commit waits.
func executes(t *testing.T, waits *pgx.Conn, sql string) (done chan error) {
	t.Helper()
	done = make(chan error, 1)
	go func() {
		_, err := waits.Exec(t.Context(), sql)
		done <- err
	}()
	return done
}

// Who looked whether a table was released, while its release isn't visible, would capture it
// again.
func TestReleaseNotVisibleYet(t *testing.T) {
	t.Parallel()
	db, waits, let := standbyless(t)
	w := startWorker(t, db)
	w.holds(t)
	define(t, db, "w", "acme", "create", `{}`, "log")
	captured(t, db)
	health(t, db, "w", "ok")
	released := executes(t, waits, `call rowbell.release('orders')`)
	health(t, db, "w", "not_captured: table orders isn't captured; run CALL rowbell.capture('orders')")
	time.Sleep(time.Second) // as long as it isn't visible, who asks would be told that it is captured
	let()
	if err := <-released; err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, pgtest.Patience, "readiness to say that it was released", func() bool {
		return strings.Contains(w.ready(t), "orders: it was released")
	})
	if got := pgtest.One[int32](t, db, `select max(version) from rowbell.captured_table`); got != 2 {
		t.Errorf("captured_table has version %d, want 2: it was captured again", got)
	}
}

// What a version does that isn't visible waits: of a new workflow, of one that was a draft, and
// of one that was active before.
func TestVersionNotVisibleYet(t *testing.T) {
	t.Parallel()
	db, waits, let := standbyless(t)
	h := newHooks(t)
	w := startWorker(t, db, delivers)
	w.holds(t)
	defineHook(t, db, "edited", h.URL+"/edited", "")
	defineHook(t, db, "draft", h.URL+"/draft", "")
	db.Exec(t, `update rowbell.workflow_definition set status = 'draft' where id = 'draft'`)
	captured(t, db)
	health(t, db, "edited", "ok")
	published := executes(t, waits, `with d as (insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('new', 'acme', 'New', 'active')),
		t as (insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('new', 'orders', 'create')),
		a as (insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('new', 'webhook', '{"url": "`+h.URL+`/new", "secret": "`+hookSecret+`"}'))
		update rowbell.workflow_definition set status = 'active', name = name || ', again' where id in ('draft', 'edited')`)
	for _, id := range []string{"new", "draft"} {
		health(t, db, id, "ok")
	}
	db.Exec(t, `insert into orders (tenant_id, total) values ('acme', 1)`)
	for _, id := range []string{"new", "draft", "edited"} {
		logged(t, db, id, 1)
	}
	time.Sleep(2500 * time.Millisecond) // workers look what was turned off each second
	for _, got := range pgtest.Query[string](t, db, `select concat_ws(': ', status, error) from rowbell.workflow_log`) {
		if !strings.HasPrefix(got, "pending") || !strings.HasSuffix(got, "is not yet visible to readers of the source") {
			t.Errorf("while it isn't visible: %s", got)
		}
	}
	let()
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	settled(t, db, "success 3")
	if ids, _ := h.count(); ids != 3 {
		t.Errorf("%d webhooks, want 3", ids)
	}
}
