package faulttest

import (
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// TestOracle spoils a log that is right, in small ways, each of which must be seen.
func TestOracle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.DB(t), binary(t, ""))
	k, err := w.start("worker")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.drain(t.Context(), patience); err != nil {
		t.Fatal(err)
	}
	l := startLoad(t.Context(), w, 3000, false)
	defer l.abandon()
	if err := l.during(t.Context(), 2*time.Second, 3000); err != nil {
		t.Fatal(err)
	}
	o, err := w.drainAndStop(l, k)
	if err != nil {
		t.Fatal(err)
	}
	if o.executions < 100 {
		t.Fatalf("only %d executions were recorded: the editor's workflows match too little", o.executions)
	}
	w.db.Exec(t, `create table saved_execution as select * from rowbell.execution;
		create table saved_event as select * from rowbell.event`)
	for _, c := range []struct{ name, spoil, want string }{
		{"missing", "delete from rowbell.execution where id = (select min(id) from rowbell.execution)", "1 executions"},
		{"of another version", `update rowbell.execution set version_ref = (select min(ref) from rowbell.surrogate where kind = 'workflow' and ref <> version_ref)
			where id = (select max(id) from rowbell.execution)`, "too many"},
		{"twice", "insert into rowbell.execution select (x).* from (select jsonb_populate_record(x, jsonb_build_object('id', id || '-1')) x from rowbell.execution x order by id limit 1) s", "1 are too many"},
		{"of another event", "update rowbell.event set seq = seq + 100000 where event_id = (select max(event_id) from rowbell.event)", "missing"},
		{"of another transaction", "update rowbell.event set commit_lsn = commit_lsn + 1000000 where event_id = (select min(event_id) from rowbell.event)", "missing"},
		{"with the values of another row", `update rowbell.event set data = replace(data::text, '"tenant_id":"acme"', '"tenant_id":"globex"')::json, tenant_id = 'globex'
			where event_id = (select min(event_id) from rowbell.event where tenant_id = 'acme')`, "missing"},
		{"without its event", "delete from rowbell.event where event_id = (select left(min(id), 26) from rowbell.execution)", "has no event"},
	} {
		if n := w.db.Exec(t, c.spoil).RowsAffected(); n != 1 {
			t.Fatalf("%s: %d rows were spoiled, want 1", c.name, n)
		}
		if _, err := w.verify(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("an execution %s: the oracle says %v, want something with %q", c.name, err, c.want)
		}
		w.db.Exec(t, `truncate rowbell.execution, rowbell.event;
			insert into rowbell.execution select * from saved_execution; insert into rowbell.event select * from saved_event`)
	}
	if _, err := w.verify(t.Context()); err != nil {
		t.Errorf("after all is as it was: %v", err)
	}
}
