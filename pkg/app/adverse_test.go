package app_test

import (
	"strings"
	"testing"
	"time"

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
