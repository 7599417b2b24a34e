package app_test

import (
	"testing"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// A standby that has everything that is recorded, slot and checkpoint included, is
// promoted: the worker goes on there, on the new timeline, with nothing doubled or lost.
func TestPromotion(t *testing.T) {
	t.Parallel()
	primary := pgtest.Server(t, localpg.Options{})
	db := pgtest.DBOn(t, primary)
	db.Exec(t, shop)
	w := startWorker(t, db)
	w.holds(t)
	define(t, db, "w", "acme", "create", `{}`, "log")
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	logged(t, db, "w", 1)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`) // committed, not yet read
	if err := primary.Stop(t.Context(), localpg.Fast); err != nil {
		t.Fatal(err)
	}

	standby := pgtest.Server(t, localpg.Options{From: primary.DataDir(), Standby: true})
	promoted := &pgtest.Database{URL: standby.URL(db.Name), Name: db.Name}
	if !pgtest.One[bool](t, promoted, `select pg_promote()`) {
		t.Fatal("the standby was not promoted")
	}
	promoted.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	startWorker(t, promoted).holds(t)
	logged(t, promoted, "w", 3)
	pgtest.Eventually(t, pgtest.Patience, "the checkpoint to be on timeline 2", func() bool {
		return pgtest.One[int](t, promoted, `select timeline from rowbell.checkpoint`) == 2
	})
}

// A standby that was behind what is recorded is promoted: what is recorded there never
// happened here, so nothing is read until an operator decides.
func TestPromotionBehindTheCheckpoint(t *testing.T) {
	t.Parallel()
	primary := pgtest.Server(t, localpg.Options{})
	db := pgtest.DBOn(t, primary)
	state := pgtest.DB(t) // elsewhere, so it is not set back with the source
	db.Exec(t, shop)
	elsewhere := func(url string) *worker {
		return startWorker(t, &pgtest.Database{URL: url, Name: db.Name}, func(c *app.Config) { c.StateURL = state.URL })
	}
	w := elsewhere(db.URL)
	w.holds(t)
	define(t, db, "w", "acme", "create", `{}`, "log")
	captured(t, state)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if err := primary.Stop(t.Context(), localpg.Fast); err != nil {
		t.Fatal(err)
	}
	standby := pgtest.Server(t, localpg.Options{From: primary.DataDir(), Standby: true})
	if err := primary.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	w = elsewhere(db.URL)
	w.holds(t)
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`) // recorded, and the standby never gets it
	logged(t, state, "w", 1)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}

	promoted := &pgtest.Database{URL: standby.URL(db.Name), Name: db.Name}
	if !pgtest.One[bool](t, promoted, `select pg_promote()`) {
		t.Fatal("the standby was not promoted")
	}
	// Its WAL goes beyond what is recorded again: only the timelines tell.
	promoted.Exec(t, `insert into orders (tenant_id) select 'acme' from generate_series(1, 2000)`)
	elsewhere(promoted.URL)
	pgtest.Eventually(t, pgtest.Patience, "the gap in stream_gap", func() bool {
		return pgtest.One[int](t, state, `select count(*)::int from rowbell.stream_gap where reason like '%timeline%'`) == 1
	})
	logged(t, state, "w", 1)
}
