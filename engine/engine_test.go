package engine_test

import (
	"testing"
)

// Workflows name a table by its label, which need not be its name.
func TestLabels(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders+`; create schema sales; create table sales.orders (like orders including all); create table "odd Name" (like orders including all)`)
	s.db.Exec(t, `call rowbell.capture('orders', label => 'bestellungen')`)
	s.capture(t, "sales.orders")
	s.begin(t)
	r := s.start(t, options{})
	s.define(t,
		flow{id: "label", on: []string{"bestellungen create"}},
		flow{id: "name", on: []string{"orders create"}},
		flow{id: "sales", on: []string{"sales.orders create"}},
		flow{id: "odd", on: []string{"odd Name create", "public.odd Name delete"}},
	)
	s.db.Exec(t, `call rowbell.capture('"odd Name"')`)
	s.db.Exec(t, `insert into orders (id) values (1)`)
	s.db.Exec(t, `insert into sales.orders (id) values (2)`)
	s.db.Exec(t, `insert into "odd Name" (id) values (3)`)
	s.db.Exec(t, `delete from "odd Name"`)
	r.caughtUp(t)
	s.wantLogged(t, "label v1 create 1", "sales v1 create 2", "odd v1 create 3", "odd v1 delete 3")
	if got := r.verdict("name"); got == "ok" {
		t.Errorf("a workflow on a label that no table has is %s", got)
	}
	// Another label takes a release; then the workflow that names it fires.
	s.db.Exec(t, `call rowbell.release('orders')`)
	s.db.Exec(t, `insert into orders (id) values (4)`)
	s.db.Exec(t, `call rowbell.capture('orders')`)
	s.db.Exec(t, `insert into orders (id) values (5)`)
	r.caughtUp(t)
	s.wantLogged(t, "label v1 create 1", "sales v1 create 2", "odd v1 create 3", "odd v1 delete 3", "name v1 create 5")
	r.stop(t)
	s.db.Exec(t, `insert into orders (id) values (6)`)
	s.start(t, options{}).caughtUp(t)
	s.wantLogged(t, "label v1 create 1", "sales v1 create 2", "odd v1 create 3", "odd v1 delete 3", "name v1 create 5", "name v1 create 6")
}
