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
	w := newWorld(t, migrated(t), binary(t, ""))
	k, err := w.start("worker")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.drain(t.Context(), patience); err != nil {
		t.Fatal(err)
	}
	l := startLoad(t.Context(), w, 3000, false)
	defer l.abandon()
	// However slow the machine, there is something to match by the time that rows come.
	pgtest.Eventually(t, patience, "the editor's first workflows to apply", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.applied where kind = 'workflow'`) >= 10
	})
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
		{"by another actor", `update rowbell.event set data = regexp_replace(data::text, '"id": *"(ann|bob|robot)"', '"id": "eve"')::json
			where event_id = (select min(event_id) from rowbell.event where data -> 'actor' ->> 'id' in ('ann', 'bob', 'robot'))`, "missing"},
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

// TestDeliveryOracle spoils what is right about deliveries, in small ways, each of which
// must be seen.
func TestDeliveryOracle(t *testing.T) {
	t.Parallel()
	w, r := newDelivering(t, migrated(t), binary(t, ""))
	k, err := w.start("worker")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.drain(t.Context(), patience); err != nil {
		t.Fatal(err)
	}
	l := startLoad(t.Context(), w, 1000, false)
	defer l.abandon()
	if _, err := w.drainAndStop(l, k); err != nil {
		t.Fatal(err)
	}
	source, state := w.db.Conn(t), w.db.Conn(t)
	const (
		ended = "(select e.execution_id, e.action from rowbell.delivery_ended e join rowbell.surrogate s on s.ref = e.version_ref where s.id = 'sure' and status = 'succeeded' order by 1 limit 1)"
		tried = "(select execution_id, action, attempt from rowbell.attempt where code is not null order by 1 limit 1)"
	)
	w.db.Exec(t, `create table saved_ended as select * from rowbell.delivery_ended;
		create table saved_attempt as select * from rowbell.attempt`)
	for _, c := range []struct{ name, spoil, want string }{
		{"is missing", "delete from rowbell.delivery_ended where (execution_id, action) = " + ended, "is not there"},
		{"gave up", "update rowbell.delivery_ended set status = 'dead', reason = 'no' where (execution_id, action) = " + ended, "is dead: no"},
		{"is cancelled for nothing", "update rowbell.delivery_ended set status = 'cancelled', reason = 'the workflow was turned off' where (execution_id, action) = " + ended, "is cancelled"},
		{"of no action", "update rowbell.delivery_ended set action = 7 where (execution_id, action) = " + ended, "there is no such delivery"},
		{"with an attempt too many", "update rowbell.delivery_ended set attempts = attempts + 1 where (execution_id, action) = " + ended, "has these"},
		{"without an attempt", "delete from rowbell.attempt where (execution_id, action, attempt) = " + tried, "has these"},
		{"with another answer", "update rowbell.attempt set code = 418 where (execution_id, action, attempt) = " + tried, "answer 418"},
	} {
		if n := w.db.Exec(t, c.spoil).RowsAffected(); n != 1 {
			t.Fatalf("a delivery %s: %d rows were spoiled, want 1", c.name, n)
		}
		if err := w.verifyDelivered(t.Context(), source, state); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("a delivery %s: the oracle says %v, want something with %q", c.name, err, c.want)
		}
		w.db.Exec(t, `truncate rowbell.delivery_ended, rowbell.attempt;
			insert into rowbell.delivery_ended select * from saved_ended; insert into rowbell.attempt select * from saved_attempt`)
	}
	var id string
	var got *receipt
	for id, got = range r.got {
		if strings.HasSuffix(id, "_1") {
			break
		}
	}
	whole, body := got.came, got.body
	for _, c := range []struct {
		name, want string
		spoil      func()
	}{
		{"that never came", "never answered well", func() { delete(r.got, id) }},
		{"that came for no attempt", "came 9 times", func() {
			for len(got.came) < 9 {
				got.came = append(got.came, &arrival{at: time.Now(), ended: time.Now(), code: 204})
			}
		}},
		{"whose answer was never good", "never answered well", func() { got.came = []*arrival{{at: whole[0].at, code: 500}} }},
		{"that came too early", "which has a lower order", func() { got.came = append([]*arrival{{code: 0}}, whole...) }},
		{"of another event", "the log says event", func() { got.body = []byte(strings.Replace(string(body), `"id":"01`, `"id":"02`, 1)) }},
		{"that nobody knows", "no such delivery", func() { r.got[id+"0"] = got }},
	} {
		c.spoil()
		if err := w.verifyDelivered(t.Context(), source, state); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("a webhook %s: the oracle says %v, want something with %q", c.name, err, c.want)
		}
		got.came, got.body = whole, body
		r.got[id] = got
		delete(r.got, id+"0")
	}
	if err := w.verifyDelivered(t.Context(), source, state); err != nil {
		t.Errorf("after all is as it was: %v", err)
	}
}
