package app_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// A captured table may be gone by the time of a resync, which then does without it.
func TestResyncWithoutTable(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
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
	db := pgtest.DB(t)
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
	defer conn.Close(t.Context())
	conn.Frontend().Send(&pgproto3.Query{String: `START_REPLICATION SLOT "` + db.Name + `" LOGICAL 0/0 (proto_version '1', publication_names 'rowbell')`})
	if err := conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, 20*time.Second, "the slot to be taken", func() bool {
		return pgtest.One[bool](t, db, `select active from pg_replication_slots where slot_name = $1`, db.Name)
	})
	w = startWorker(t, db)
	pgtest.Eventually(t, 20*time.Second, "readiness to fail and name the holder", func() bool {
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
	db := pgtest.DB(t)
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
