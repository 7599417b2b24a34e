package engine_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/engine"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

const once = `{"firing": "once_per_row"}`

// fired are the rows for which workflows have fired, and the seq of the event that did it.
func (s *stage) fired(t testing.TB) []string {
	t.Helper()
	return pgtest.Query[string](t, s.db, `select concat_ws(' ', f.workflow_id, f.table_label, f.row_key, e.operation, e.seq)
		from rowbell.fired f join rowbell.workflow_event e on e.id = left(f.execution_id, 26) order by 1`)
}

// What is to be decided before the actions is one delivery more; of once_per_row the first
// event of a row is noted, in whatever pieces and however often the stream comes.
func TestGated(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t,
		flow{id: "once", on: []string{"orders create", "orders update"}, where: `{"status": "paid"}`, settings: once, actions: []string{"webhook", "log"}},
		flow{id: "logs", on: []string{"orders update"}, settings: once},
		flow{id: "roles", on: []string{"orders update"}, roles: []string{`{"roles": ["approver"], "by": "directory"}`}},
		flow{id: "plain", on: []string{"orders update"}, settings: `{"firing": "every"}`},
		flow{id: "both", on: []string{"orders delete"}, settings: once, roles: []string{`{"roles": ["approver"], "by": "directory"}`}},
	)
	s.begin(t)
	r := s.start(t, options{config: func(c *engine.Config) { c.BatchSize = 2 }})
	s.db.Exec(t, `begin; insert into orders (id, status) values (1, 'new'), (2, 'paid'), (3, 'new');
		update orders set status = 'paid' where id < 3; update orders set total = 1 where id < 3; commit`)
	s.db.Exec(t, `update orders set total = 2 where id = 3`)
	r.caughtUp(t)
	want := []string{
		"logs orders 1 update 3", "logs orders 2 update 4", "logs orders 3 update 0",
		"once orders 1 update 3", "once orders 2 create 1",
	}
	if got := s.fired(t); !slices.Equal(got, want) {
		t.Errorf("fired\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	deliveries := func(id string) string {
		return s.db.QueryString(t, `select string_agg(distinct concat_ws(' ', action, kind, "order", state), ', ') from rowbell.delivery where workflow_id = '`+id+`'`)
	}
	for id, want := range map[string]string{
		"once":  "-1 gate -2147483648 ready, 0 webhook 0 waiting, 1 log 1 waiting",
		"logs":  "-1 gate -2147483648 ready, 0 log 0 waiting",
		"roles": "-1 gate -2147483648 ready, 0 log 0 waiting",
	} {
		if got := deliveries(id); got != want {
			t.Errorf("%s has the deliveries %s, want %s", id, got, want)
		}
	}
	if got := s.db.QueryString(t, `select string_agg(distinct status, ' ') from rowbell.workflow_log where workflow_id = 'plain'`); got != "success" {
		t.Errorf("plain is %s", got)
	}
	if n := pgtest.One[int64](t, s.db, `select count(*) from rowbell.workflow_log where workflow_id in ('once', 'logs', 'roles') and status <> 'pending'`); n != 0 {
		t.Errorf("%d gated executions are settled already", n)
	}
	// The version after, and the worker after, go on from what is there.
	r.stop(t)
	s.define(t, flow{id: "once", on: []string{"orders update"}, settings: once, actions: []string{"log"}})
	s.db.Exec(t, `update orders set total = 3 where id = 3`)
	s.start(t, options{}).caughtUp(t)
	want = append(want, "once orders 3 update 0")
	if got := s.fired(t); !slices.Equal(got, want) {
		t.Errorf("then fired\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := r.health["both"].Warnings; len(got) != 1 || !strings.Contains(got[0], "also when the directory refuses it") {
		t.Errorf("of both it warns %q", got)
	}
}

// Rows are told apart by their keys, so there must be some.
func TestOncePerRowNeedsAKey(t *testing.T) {
	t.Parallel()
	s := newStage(t, `create table keyless (id int, sku text); alter table keyless replica identity full;
		create table pairs (a text, b text, c text, id int, primary key (a, b));
		create table people (email text primary key, n int);
		create table things (id int primary key, sku text not null, n int);
		create table nullable (id int primary key, sku text)`)
	s.capture(t, "keyless", "pairs")
	s.db.Exec(t, `call rowbell.capture('people', redacted => '{email}')`)
	s.db.Exec(t, `call rowbell.capture('things', key_columns => '{sku}')`)
	s.db.Exec(t, `call rowbell.capture('nullable', key_columns => '{sku}')`)
	s.define(t,
		flow{id: "keyless", on: []string{"keyless create"}, settings: once},
		flow{id: "pairs", on: []string{"pairs create"}, settings: once},
		flow{id: "people", on: []string{"people create"}, settings: once},
		flow{id: "things", on: []string{"things update"}, settings: once},
		flow{id: "deleted", on: []string{"things delete"}, settings: once},
		flow{id: "nullable", on: []string{"nullable create"}, settings: once},
		flow{id: "misspelt", on: []string{"pairs create"}, settings: `{"firing": "once"}`},
	)
	s.begin(t)
	r := s.start(t, options{})
	s.db.Exec(t, `insert into keyless values (1, 'x')`)
	s.db.Exec(t, `insert into pairs values ('x', 'y'), ('x,y', 'z'), ('x', 'y,z'), ('x\', 'y'), ('x\,y', 'z'), ('x\', 'y,z')`)
	s.db.Exec(t, `insert into pairs values ('long', repeat('l', 1100) || 'a'), ('long', repeat('l', 1100) || 'b')`)
	s.db.Exec(t, `insert into people values ('a@example.com', 1)`)
	s.db.Exec(t, `insert into things values (1, 'x', 1); update things set n = 2; delete from things`)
	s.db.Exec(t, `insert into nullable values (1, 'x'), (2, null)`)
	r.caughtUp(t)
	for id, want := range map[string]string{
		"keyless":  `broken: trigger 1 (keyless create): settings: firing is "once_per_row", and table keyless has no key columns to tell its rows apart by; give it a primary key and capture it anew, or name them: run CALL rowbell.capture('keyless', key_columns => '{id}')`,
		"people":   `broken: trigger 1 (people create): settings: firing is "once_per_row", and key column email of table people is redacted`,
		"deleted":  `broken: trigger 1 (things delete): settings: firing is "once_per_row", and key column sku of a deleted row is never in the WAL`,
		"misspelt": `broken: settings: firing is "once"; it is "every", "becomes_true" or "once_per_row"`,
		"pairs":    "ok", "things": "ok", "nullable": "ok",
	} {
		if got := r.verdict(id); !strings.HasPrefix(got, want) {
			t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
	rows := pgtest.Query[string](t, s.db, `select row_key from rowbell.fired where workflow_id = 'pairs' and length(row_key) < 100 order by 1`)
	if want := []string{`x,y`, `x,y\,z`, `x\,y,z`, `x\\,y`, `x\\,y\,z`, `x\\\,y,z`}; !slices.Equal(rows, want) {
		t.Errorf("fired for the pairs %q, want %q", rows, want)
	}
	if n := pgtest.One[int64](t, s.db, `select count(*) from rowbell.fired where workflow_id = 'pairs' and row_key ~ '…[0-9a-f]{32}$'`); n != 2 {
		t.Errorf("fired for %d rows with long keys, want 2", n)
	}
	got := pgtest.Query[string](t, s.db, `select concat_ws(' ', status, error) from rowbell.workflow_log where workflow_id = 'nullable' order by id`)
	want := []string{"pending", `failure settings: firing: once_per_row tells rows apart by their keys, and key column sku is NULL; name other key columns: CALL rowbell.capture('nullable', key_columns => '{…}')`}
	if !slices.Equal(got, want) {
		t.Errorf("nullable\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := s.db.QueryString(t, `select string_agg(row_key, ' ') from rowbell.fired where workflow_id in ('nullable', 'things')`); got != "x x" {
		t.Errorf("fired for %s", got)
	}
}

// A failed condition doesn't count: the row fires when it can be decided.
func TestOncePerRowAfterAFailure(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t, flow{id: "w", on: []string{"orders create", "orders update"}, when: []string{`100 / (new.total - 1) > 0`}, settings: once})
	s.begin(t)
	r := s.start(t, options{})
	s.db.Exec(t, `insert into orders (id, total) values (1, 1)`)
	s.db.Exec(t, `update orders set total = 2`)
	r.caughtUp(t)
	if got := s.fired(t); !slices.Equal(got, []string{"w orders 1 update 0"}) {
		t.Errorf("fired for %q", got)
	}
	if got := s.db.QueryString(t, `select string_agg(status, ' ' order by id) from rowbell.workflow_log`); got != "failure pending" {
		t.Errorf("the log says %s", got)
	}
}

// In a big transaction the gate waits for its end as well.
func TestGateInABigTransaction(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t, flow{id: "w", on: []string{"orders create", "orders delete"}, settings: once})
	s.begin(t)
	slot := s.copySlot(t)
	r := s.start(t, options{config: holdLittle})
	s.db.Exec(t, `begin; `+insertMany+`; delete from orders; commit`)
	r.caughtUp(t)
	if got := s.db.QueryString(t, `select string_agg(concat_ws(' ', kind, state, n), ', ' order by kind) from (select kind, state, count(*) n from rowbell.delivery group by 1, 2) d`); got != "gate waiting 6000, log waiting 6000" {
		t.Errorf("the queue has %s", got)
	}
	if got := s.db.QueryString(t, `select concat_ws(' ', count(*), min(e.operation), max(e.operation)) from rowbell.fired f join rowbell.workflow_event e on e.id = left(f.execution_id, 26)`); got != "3000 create create" {
		t.Errorf("fired says %s", got)
	}
	again := s.drain(t, slot, nil, nil)
	n := 0
	for _, b := range again.batches {
		n += len(b.Fired)
	}
	if n != 6000 {
		t.Errorf("decoded again %d say that they have fired", n)
	}
}
