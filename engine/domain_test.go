package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// A domain event sets off the workflows that have a trigger on its name, of its tenant and
// of operators, in its place among the rows of its transaction.
func TestDomainEvents(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t,
		flow{id: "rows", on: []string{"orders create"}},
		flow{id: "any", on: []string{"domain:order.shipped create"}, priority: 1},
		flow{id: "acme", tenant: "acme", on: []string{"domain:order.shipped create", "orders update"}},
		flow{id: "other", on: []string{"domain:order.lost create"}},
	)
	s.begin(t)
	slot := s.copySlot(t)
	r := s.start(t, options{})
	s.db.Exec(t, `begin; insert into orders (id) values (1); select rowbell.emit('order.shipped', '{"order_id": 1, "note": "ü, \"x\""}', 'acme');
		insert into orders (id) values (2); select rowbell.emit('order.unknown'); savepoint a; select rowbell.emit('order.lost'); rollback to a; commit`)
	s.db.Exec(t, `select rowbell.emit('order.shipped', '{"order_id": 2}', 'beta')`)
	s.db.Exec(t, `begin; select rowbell.set_actor('ann', '{clerk}', attributes => '{"level": 3}'); select rowbell.emit('order.lost', null); commit`)
	s.db.Exec(t, `begin; select rowbell.emit('order.lost', null); select rowbell.set_actor('importer', skip => true); commit`)
	r.caughtUp(t)
	s.wantLogged(t, "rows v1 create 1", "any v1 emit", "acme v1 emit", "rows v1 create 2", "any v1 emit", "other v1 emit")
	got := pgtest.Query[string](t, s.db, `select concat_ws('|', table_name, operation, seq, tenant_id, row_key is null, data::jsonb - 'actor',
		data -> 'actor' ->> 'id', data -> 'actor' ->> 'attributes') from rowbell.workflow_event where operation = 'emit' order by commit_lsn, seq`)
	want := []string{
		`domain:order.shipped|emit|1|acme|t|{"new": {"note": "ü, \"x\"", "order_id": 1}, "old": null, "changed": [], "unavailable": []}`,
		`domain:order.shipped|emit|0|beta|t|{"new": {"order_id": 2}, "old": null, "changed": [], "unavailable": []}`,
		`domain:order.lost|emit|0|t|{"new": {}, "old": null, "changed": [], "unavailable": []}|ann|{"level": 3}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("recorded\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if n := pgtest.One[int64](t, s.db, `select count(*) from rowbell.row_history where table_name = 'domain:order.shipped' and workflow_id = 'acme' and status = 'success'`); n != 1 {
		t.Errorf("row_history has it %d times", n)
	}
	if n := r.metric(t, "rowbell_events_total"); n != 7 {
		t.Errorf("%v events, want 7", n)
	}
	for _, id := range []string{"any", "acme", "other"} {
		if got := r.verdict(id); got != "ok" {
			t.Errorf("%s is %s", id, got)
		}
	}
	r.stop(t)
	if again := s.drain(t, slot, holdLittle, resplit(pgtest.Rand(t))).executions(); len(again) != 6 {
		t.Errorf("decoded again in other pieces there are %d executions", len(again))
	}
	// A version counts from its commit on.
	r = s.start(t, options{})
	s.db.Exec(t, `update rowbell.workflow_definition set status = 'inactive' where id = 'any'`)
	s.define(t, flow{id: "acme", tenant: "acme", on: []string{"domain:order.lost create"}})
	s.db.Exec(t, `select rowbell.emit('order.shipped', '{}', 'acme')`)
	s.db.Exec(t, `select rowbell.emit('order.lost', '{}', 'acme')`)
	r.caughtUp(t)
	if got := s.logged(t); !slices.Equal(got[6:], []string{"other v1 emit", "acme v2 emit"}) {
		t.Errorf("then logged %q", got[6:])
	}
}

func TestDomainTriggers(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.define(t,
		flow{id: "update", on: []string{"domain:x update"}},
		flow{id: "nameless", on: []string{"domain: create"}},
		flow{id: "long", on: []string{"domain:" + strings.Repeat("ä", 201) + " create"}},
		flow{id: "once", on: []string{"domain:x create"}, settings: `{"firing": "once_per_row"}`},
		flow{id: "ok", on: []string{"domain:" + strings.Repeat("ä", 200) + " create"}},
	)
	s.begin(t)
	r := s.start(t, options{})
	r.caughtUp(t)
	for id, want := range map[string]string{
		"update":   "broken: trigger 1 (domain:x update): a domain event is made, never changed; write create instead of update",
		"nameless": "broken: trigger 1 (domain: create): entity_type names no domain event",
		"long":     "has 201 characters, and rowbell.emit takes no more than 200",
		"once":     `settings: firing is "once_per_row", and a domain event is about no row`,
		"ok":       "ok",
	} {
		if got := r.verdict(id); !strings.Contains(got, want) {
			t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
}

// A context applies to domain events as it does to rows.
func TestContextOfDomainEvents(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t,
		flow{id: "w", on: []string{"domain:x create"}},
		flow{id: "level", on: []string{"domain:x create"}, roles: []string{`{"attributes": {"level": {"gte": 3}}}`}},
		flow{id: "expression", on: []string{"domain:x create"}, when: []string{`actor.attributes.level == 3 && op == "emit"`}},
	)
	s.begin(t)
	r := s.start(t, options{config: holdLittle})
	for _, c := range []struct {
		name, sql, want string
		warnings        int
	}{
		{"late", `begin; select rowbell.emit('x'); select rowbell.set_actor('ann', attributes => '{"level": 3}'); commit`, `ann {"level": 3}`, 0},
		{"early", `begin; select rowbell.set_actor('ann'); select rowbell.emit('x'); commit`, `ann {}`, 0},
		{"skipped late", `begin; select rowbell.emit('x'); select rowbell.set_actor('ann', skip => true); commit`, ``, 0},
		{"undone", `begin; select rowbell.emit('x'); savepoint a; select rowbell.set_actor('ann', skip => true); rollback to a; commit`, `nobody`, 0},
		{"big, late", `begin; select rowbell.emit('x'); select rowbell.set_actor('ann'); ` + insertMany + `; commit`, `nobody`, 1},
		{"big, early", `begin; select rowbell.set_actor('ann', attributes => '{"level": 1}'); select rowbell.emit('x'); ` + insertMany + `; delete from orders; commit`, `ann {"level": 1}`, 0},
		{"big, skipped", `begin; select rowbell.set_actor('ann', skip => true); ` + insertMany + `; select rowbell.emit('x'); commit`, ``, 0},
		{"big payload", `begin; select rowbell.set_actor('ann'); select rowbell.emit('x', jsonb_build_object('p', repeat('x', 1000000))); select rowbell.set_actor('bob'); commit`, `ann {}`, 1},
	} {
		s.db.Exec(t, `truncate rowbell.event, rowbell.execution; delete from orders`)
		warned := r.log.count("context message after the first change")
		s.db.Exec(t, c.sql)
		r.caughtUp(t)
		got := strings.Join(pgtest.Query[string](t, s.db, `select coalesce(concat_ws(' ', e.data -> 'actor' ->> 'id', e.data -> 'actor' ->> 'attributes'), '')
			from rowbell.workflow_log l join rowbell.workflow_event e on e.id = l.trigger_event_id where l.workflow_id = 'w'`), ", ")
		if got == "" && c.want == "nobody" && pgtest.One[int64](t, s.db, `select count(*) from rowbell.workflow_log where workflow_id = 'w'`) == 1 {
			got = "nobody"
		}
		level := s.db.QueryString(t, `select coalesce(string_agg(workflow_id, ' ' order by workflow_id), '') from rowbell.workflow_log where status = 'success' and workflow_id <> 'w'`)
		if (level == "expression level") != strings.HasSuffix(c.want, "3}") || level != "" && level != "expression level" {
			t.Errorf("%s: of those who ask for a level fired %q", c.name, level)
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		if n := r.log.count("context message after the first change") - warned; n != c.warnings {
			t.Errorf("%s: %d warnings, want %d", c.name, n, c.warnings)
		}
	}
}

// Any database user may send a message that looks like a domain event. None of it may stop
// the stream, and each has its seq.
func TestHostileDomainEvents(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t, flow{id: "w", on: []string{"domain:x create"}}, flow{id: "row", on: []string{"orders create"}})
	s.begin(t)
	r := s.start(t, options{})
	const ignored, fired = false, true
	for i, c := range []struct {
		name, content string
		fires         bool
	}{
		{"not UTF-8", `'\x7b226e616d65223a2278222c2278223a2261ff62227d'::bytea`, ignored}, // {"name":"x","x":"a\xffb"}
		{"not JSON", `'{"name": "x"'`, ignored},
		{"empty", `''`, ignored},
		{"no object", `'["x"]'`, ignored},
		{"null", `'null'`, ignored},
		{"no name", `'{"payload": {}}'`, ignored},
		{"name of another type", `'{"name": 1}'`, ignored},
		{"payload no object", `'{"name": "x", "payload": [1]}'`, ignored},
		{"tenant of another type", `'{"name": "x", "tenant": {}}'`, ignored},
		{"long", `'{"name": "x", "payload": {"p": "' || repeat('x', 1200000) || '"}}'`, ignored},
		{"bare", `'{"name": "x"}'`, fired},
		{"half a pair", `'{"name": "x", "payload": {"p": "\ud83d"}}'`, fired},
		{"a zero", `'{"name": "x", "payload": {"p": "a\u0000b"}, "tenant": "a\u0000b"}'`, fired},
		{"a zero in the name", `'{"name": "x\u0000", "payload": {}}'`, ignored},
		{"deep", `'{"name": "x", "payload": {"p": ' || repeat('[', 9000) || repeat(']', 9000) || '}}'`, fired},
		{"huge exponent", `'{"name": "x", "payload": {"p": 1e999999}}'`, fired},
		{"blanks", `'{"name": "x", "payload":  {  } , "tenant": ""}'`, fired},
		{"twice", `'{"name": "y", "name": "x", "payload": {"a": 1, "a": 2}}'`, fired},
	} {
		s.db.Exec(t, fmt.Sprintf(`begin; select pg_logical_emit_message(true, 'rowbell.event', %s); insert into orders (id) values (%d); commit`, c.content, i+1))
		r.caughtUp(t)
		got := pgtest.One[int64](t, s.db, `select count(*) from rowbell.workflow_log where workflow_id = 'w'`)
		if (got == 1) != c.fires {
			t.Errorf("%s: it fired %d times", c.name, got)
		}
		if seq := pgtest.One[int32](t, s.db, `select seq from rowbell.workflow_event where operation = 'create'`); seq != 1 {
			t.Errorf("%s: the row behind it has seq %d", c.name, seq)
		}
		s.db.Exec(t, `truncate rowbell.event, rowbell.execution`)
	}
	if n := r.log.count("a domain event can't be read"); n != 10 {
		t.Errorf("%d warnings", n)
	}
}
