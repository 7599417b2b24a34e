package app_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// A captured table may be gone by the time of a resync, which then does without it.
func TestResyncWithoutTable(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop+`; create table items (id int primary key)`)
	w := startWorker(t, db)
	w.holds(t)
	db.Exec(t, `call rowbell.capture('items')`)
	define(t, db, "w", "acme", "create", `{}`, "log")
	captured(t, db)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `drop table items`)
	op, err := app.NewOperator(config(db), testLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	if _, err := op.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	startWorker(t, db).holds(t)
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	logged(t, db, "w", 1)
}

// A slot that somebody else reads is no worker to wait for: it is said who, and the mend.
func TestSlotOfAnother(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	w := startWorker(t, db)
	w.holds(t)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	conn, err := pgconn.Connect(t.Context(), db.ReplicationURL()+"&application_name=archiver")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	conn.Frontend().Send(&pgproto3.Query{String: `START_REPLICATION SLOT "` + db.Name + `" LOGICAL 0/0 (proto_version '1', publication_names 'rowbell')`})
	if err := conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, pgtest.Patience, "the slot to be taken", func() bool {
		return pgtest.One[bool](t, db, `select active from pg_replication_slots where slot_name = $1`, db.Name)
	})
	w = startWorker(t, db)
	pgtest.Eventually(t, pgtest.Patience, "readiness to fail and name the holder", func() bool {
		r := w.ready(t)
		return strings.HasPrefix(r, "503") && strings.Contains(r, "archiver") && strings.Contains(r, "ROWBELL_SLOT")
	})
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.holds(t)
}

// A network that swallows everything must not keep a worker in a call that never ends.
func TestSilentNetwork(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	proxy, url := pgtest.ProxyURL(t, db.URL)
	w := startWorker(t, db, func(c *app.Config) { c.SourceURL = url })
	w.holds(t)
	define(t, db, "w", "acme", "create", `{}`, "log")
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	logged(t, db, "w", 1)
	proxy.Pause()
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	pgtest.Eventually(t, 40*time.Second, "the worker to give the slot up", func() bool {
		return !strings.Contains(w.ready(t), "holding the slot and reading")
	})
	proxy.Cut()
	proxy.Resume()
	w.holds(t)
	logged(t, db, "w", 2)
}

// A source that was set back to a copy of its files writes at LSNs that state holds as
// recorded: what it writes must not be taken for that.
func TestSourceSetBack(t *testing.T) {
	t.Parallel()
	state := migrated(t)
	server := pgtest.Server(t, localpg.Options{Template: true})
	db := pgtest.DBOn(t, server)
	db.Exec(t, shop)
	elsewhere := func(c *app.Config) { c.StateURL = state.URL }
	w := startWorker(t, db, elsewhere)
	w.holds(t)
	define(t, db, "w", "acme", "create", `{}`, "log")
	captured(t, state)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	files := func(command ...string) {
		t.Helper()
		if err := server.Stop(t.Context(), localpg.Fast); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", command, err, out)
		}
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	data := server.DataDir()
	files("cp", "-a", data, data+"-copy")
	w = startWorker(t, db, elsewhere)
	w.holds(t)
	db.Exec(t, `insert into orders (tenant_id) select 'acme' from generate_series(1, 5000)`)
	logged(t, state, "w", 5000)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	files("sh", "-c", `rm -r "$0" && mv "$0-copy" "$0"`, data)
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	w = startWorker(t, db, elsewhere)
	pgtest.Eventually(t, pgtest.Patience, "readiness to fail with the mend", func() bool {
		r := w.ready(t)
		return strings.HasPrefix(r, "503") && strings.Contains(r, "diverged") && strings.Contains(r, "rowbell resync")
	})
}

// Who has lost the slot knows no more which tables are wanted, and captures none.
func TestWaitingWorkerCapturesNothing(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	a := startWorker(t, db)
	a.holds(t)
	b := startWorker(t, db)
	waits := func(w *worker) bool { return strings.Contains(w.ready(t), "waits to take over") }
	pgtest.Eventually(t, pgtest.Patience, "the second worker to wait", func() bool { return waits(b) })
	define(t, db, "w", "acme", "create", `{}`, "log")
	db.Exec(t, `update rowbell.workflow_trigger set entity_type = 'parcels'`)
	failing := func(w *worker) bool { return strings.Contains(w.ready(t), "parcels: ") }
	pgtest.Eventually(t, pgtest.Patience, "the capture to fail", func() bool { return failing(a) })
	pgtest.Eventually(t, pgtest.Patience, "the second worker to hold the slot", func() bool {
		if !waits(a) {
			db.Exec(t, `with h as (update rowbell.holder set epoch = epoch + 1) update rowbell.checkpoint set epoch = epoch + 1`)
		}
		return strings.Contains(b.ready(t), "holding the slot and reading") && waits(a)
	})
	pgtest.Eventually(t, pgtest.Patience, "only the holder to want the table", func() bool { return failing(b) && !failing(a) })
}
