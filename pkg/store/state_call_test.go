package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// hostFunctions are an application's: credit writes without a key, so that it shows how
// often it ran.
const hostFunctions = `create schema app;
create table app.credit (key text, payload jsonb);
create function app.credit(key text, payload jsonb) returns jsonb language plpgsql as $$
begin
	insert into app.credit values (key, payload);
	case payload ->> 'do'
	when 'refuse' then raise exception 'no such customer' using errcode = 'RB001', hint = 'see app.customer', detail = 'hidden detail';
	when 'raise' then raise exception 'not now';
	when 'twice' then insert into app.once values (1), (1);
	when 'data' then perform 1 / 0;
	when 'sleep' then perform pg_sleep(20);
	when 'lock' then perform from app.locked for update;
	else null;
	end case;
	return jsonb_build_object('credited', payload -> 'n');
end $$;
create function app.quiet(key text, payload jsonb) returns void language sql as $$ insert into app.credit values (key, payload) $$;
create table app.once (id int constraint only_once primary key deferrable initially deferred);
create table app.locked (id int);
insert into app.locked values (1);
`

func callWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.db.Exec(t, hostFunctions)
	w.db.Exec(t, `select rowbell.register_function('credit', 'app.credit(text,jsonb)'), rowbell.register_function('quiet', 'app.quiet(text, jsonb)', 'acme'),
		rowbell.register_function('short', 'app.credit(text,jsonb)', timeout => '150 ms')`)
	return w
}

func functionCall(l *workflow.Leased, name, payload string) workflow.FunctionCall {
	return workflow.FunctionCall{Function: name, TenantID: "acme", Key: l.ID(), Payload: []byte(payload)}
}

// A call and its outcome are there together.
func TestCall(t *testing.T) {
	t.Parallel()
	w := callWorld(t)
	w.pending(t, 1, 2)
	q := w.queue(t, "p1")
	got := claim(t, q, all)
	said, err := q.Call(t.Context(), got.Deliveries[0], functionCall(got.Deliveries[0], "credit", `{"n": 7}`))
	if err != nil || said != `{"credited": 7}` {
		t.Fatalf("Call: %q, %v", said, err)
	}
	if said, err = q.Call(t.Context(), got.Deliveries[1], functionCall(got.Deliveries[1], "quiet", `{"n": 8}`)); err != nil || said != "" {
		t.Fatalf("Call of a void function: %q, %v", said, err)
	}
	for i, want := range []string{`{"n": 7}`, `{"n": 8}`} {
		l := got.Deliveries[i]
		if got := w.db.QueryString(t, `select string_agg(payload::text, '; ') from app.credit where key = $1`, l.ID()); got != want {
			t.Errorf("delivery %d did %s", i, got)
		}
	}
	if got := w.db.QueryString(t, `select string_agg(concat_ws(' ', status, result ->> 'response', (duration_ms >= 0)::text), '; ' order by id) from rowbell.execution`); got != `success {"credited": 7} true; success true` {
		t.Errorf("the log has %s", got)
	}
	if n := pgtest.One[int](t, w.db, `select count(*)::int from rowbell.queue`); n != 0 {
		t.Errorf("%d deliveries are left", n)
	}
	// It has ended: nothing is called again, and nothing it might say counts.
	if _, err := q.Call(t.Context(), got.Deliveries[0], functionCall(got.Deliveries[0], "credit", `{}`)); !errors.Is(err, workflow.ErrConflict) {
		t.Errorf("Call of what has ended: %v", err)
	}
	if n := pgtest.One[int](t, w.db, `select count(*)::int from app.credit`); n != 2 {
		t.Errorf("there are %d effects", n)
	}
}

// What another process has the lease of is not called.
func TestCallLost(t *testing.T) {
	t.Parallel()
	w := callWorld(t)
	w.pending(t, 1, 1)
	q := w.queue(t, "p1")
	l := claim(t, q, all).Deliveries[0]
	w.db.Exec(t, `update rowbell.queue set lease_by = 'p2'`)
	if _, err := q.Call(t.Context(), l, functionCall(l, "credit", `{}`)); !errors.Is(err, workflow.ErrConflict) {
		t.Errorf("Call: %v", err)
	}
	if n := pgtest.One[int](t, w.db, `select count(*)::int from app.credit`); n != 0 {
		t.Errorf("there are %d effects", n)
	}
}

// A delivery that is called is nobody else's, though its lease ends meanwhile.
func TestCallKeepsTheDelivery(t *testing.T) {
	t.Parallel()
	w := callWorld(t)
	w.pending(t, 1, 1)
	q := w.queue(t, "p1")
	l := claim(t, q, all).Deliveries[0]
	lock, err := w.db.Conn(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(t.Context(), `select from app.locked for update`); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := q.Call(context.WithoutCancel(t.Context()), l, functionCall(l, "credit", `{"do": "lock"}`))
		done <- err
	}()
	pgtest.Eventually(t, waitLong, "the call to wait for the lock", func() bool {
		return pgtest.One[bool](t, w.db, `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%app.credit%')`)
	})
	other := w.queue(t, "p2")
	for range 3 {
		if got := claim(t, other, all); len(got.Deliveries) != 0 {
			t.Errorf("claimed while it is called")
		}
	}
	if lost, err := w.queue(t, "p1").Renew(t.Context(), []*workflow.Leased{l}); err != nil || len(lost) != 0 {
		t.Errorf("Renew: %d lost, %v", len(lost), err)
	}
	if err := lock.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Call: %v", err)
	}
}

// What fails leaves nothing behind, and says whether another try can help.
func TestCallFails(t *testing.T) {
	t.Parallel()
	w := callWorld(t)
	w.db.Exec(t, `create function app.gone(key text, payload jsonb) returns jsonb language sql as 'select payload'`)
	w.db.Exec(t, `select rowbell.register_function('gone', 'app.gone(text,jsonb)'), rowbell.register_function('theirs', 'app.credit(text,jsonb)', 'beta')`)
	w.db.Exec(t, `drop function app.gone`)
	w.pending(t, 1, 1)
	q := w.queue(t, "p1")
	l := claim(t, q, all).Deliveries[0]
	for _, c := range []struct {
		function, payload, want string
		permanent               bool
	}{
		{"credit", `{"do": "refuse"}`, "call function credit: no such customer; see app.customer", true},
		{"credit", `{"do": "raise"}`, "not now (SQLSTATE P0001)", false},
		{"credit", `{"do": "data"}`, "division by zero (SQLSTATE 22012)", true},
		{"credit", `{"do": "twice"}`, `"only_once" (SQLSTATE 23505)`, true}, // at the commit
		{"credit", `{"n": "\u0000"}`, "SQLSTATE 22P05", true},
		{"short", `{"do": "sleep"}`, "it took longer than its timeout", false},
		{"gone", `{}`, "function app.gone(text, jsonb) does not exist", false},
		{"nobody", `{}`, "function nobody is not registered for tenant acme; an operator can do so: SELECT rowbell.register_function('nobody',", false},
		{"theirs", `{}`, "function theirs is not registered for tenant acme", false},
	} {
		_, err := q.Call(t.Context(), l, functionCall(l, c.function, c.payload))
		var failed *workflow.CallError
		if !errors.As(err, &failed) || failed.Permanent != c.permanent || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s %s: permanent %v, %v; want %s", c.function, c.payload, failed != nil && failed.Permanent, err, c.want)
		}
	}
	if n := pgtest.One[int](t, w.db, `select (select count(*) from app.credit) + (select count(*) from app.once)`); n != 0 {
		t.Errorf("there are %d effects", n)
	}
	settle(t, q, workflow.Outcome{Leased: l, Verb: workflow.Retry, Tried: true, StartedAt: time.Now(), Reason: "x", RetryIn: time.Hour})
	if got := w.db.QueryString(t, `select concat_ws(' ', state, attempts) from rowbell.delivery`); got != "ready 1" {
		t.Errorf("the delivery is %s", got)
	}
}

// Two calls that wait for each other: the server ends one, which is called again.
func TestCallAfterDeadlock(t *testing.T) {
	t.Parallel()
	w := callWorld(t)
	w.db.Exec(t, `create table app.account (id int primary key, n int);
insert into app.account values (1, 0), (2, 0);
create function app.move(key text, payload jsonb) returns jsonb language plpgsql as $$
begin
	perform set_config('lock_timeout', '20s', true);
	update app.account set n = n + 1 where id = (payload ->> 'from')::int;
	perform pg_sleep(0.2);
	update app.account set n = n + 1 where id = (payload ->> 'to')::int;
	return null;
end $$;
select rowbell.register_function('move', 'app.move(text,jsonb)', timeout => '30 s')`)
	w.pending(t, 1, 2)
	list := claim(t, w.queue(t, "p"), all).Deliveries
	done := make(chan error, 2)
	for i, payload := range []string{`{"from": 1, "to": 2}`, `{"from": 2, "to": 1}`} {
		q := w.queue(t, "p")
		go func() {
			_, err := q.Call(context.WithoutCancel(t.Context()), list[i], functionCall(list[i], "move", payload))
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := w.db.QueryString(t, `select string_agg(n::text, ' ') from app.account`); got != "2 2" {
		t.Errorf("the accounts have %s", got)
	}
}

// Of an execution with several actions the next one begins with the call's outcome.
func TestCallInOrder(t *testing.T) {
	t.Parallel()
	w := callWorld(t)
	w.pending(t, 2, 1)
	q := w.queue(t, "p")
	for i := range 2 {
		list := claim(t, q, all).Deliveries
		if len(list) != 1 || int(list[0].Action) != i {
			t.Fatalf("claimed %s", ids(list))
		}
		if _, err := q.Call(t.Context(), list[0], functionCall(list[0], "credit", fmt.Sprintf(`{"n": %d}`, i))); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.db.QueryString(t, `select concat_ws(' ', (select status from rowbell.workflow_log),
		(select string_agg(payload ->> 'n', '') from app.credit), (select string_agg(status, ' ') from rowbell.delivery_done))`); got != "success 01 succeeded succeeded" {
		t.Errorf("the log has %s", got)
	}
}

// Registration finds out what could not be called, and who may not.
func TestRegisterFunction(t *testing.T) {
	t.Parallel()
	w := callWorld(t)
	w.db.Exec(t, `create procedure app.proc(key text, payload jsonb) language sql as 'select 1';
create function app.text(key text, payload jsonb) returns text language sql as 'select key';
create function app.many(key text, payload jsonb) returns setof jsonb language sql as 'select payload';
create function app.three(key text, payload jsonb, x int) returns jsonb language sql as 'select payload';
create function app."Odd ""name"(key text, payload jsonb) returns jsonb language sql as 'select payload'`)
	conn := w.db.Conn(t)
	for call, want := range map[string]string{
		`('a b', 'app.credit(text,jsonb)')`:                             "can't be the name",
		`(null, 'app.credit(text,jsonb)')`:                              "can't be the name",
		`('a', 'app.nothing(text,jsonb)')`:                              "there is no function 'app.nothing(text,jsonb)'",
		`('a', null)`:                                                   "there is no function null",
		`('a', 'app.credit')`:                                           "there is no function 'app.credit'",
		`('a', 'app.proc(text,jsonb)')`:                                 "it is no plain function",
		`('a', 'app.text(text,jsonb)')`:                                 "it must return jsonb or void",
		`('a', 'app.many(text,jsonb)')`:                                 "it must return jsonb or void",
		`('a', 'app.three(text,jsonb,integer)')`:                        "its arguments must be (text, jsonb)",
		`('a', 'rowbell.move_secrets(jsonb,text,text,text)')`:           "it is in schema rowbell",
		`('a', 'pg_catalog.jsonb_object_field(jsonb,text)')`:            "it is in schema pg_catalog",
		`('a', 'app.credit(text,jsonb)', timeout => interval '1 hour')`: "a timeout of 01:00:00 is out of range",
	} {
		if _, err := conn.Exec(t.Context(), `select rowbell.register_function`+call); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", call, err, want)
		}
	}
	if got := w.db.QueryString(t, `select rowbell.register_function('odd.1', 'app."Odd ""name"(text,jsonb)', '', '2 s', 'An odd one')`); got != `app."Odd ""name"(text,jsonb)` {
		t.Errorf("registered %s", got)
	}
	w.pending(t, 1, 1)
	q := w.queue(t, "p")
	l := claim(t, q, all).Deliveries[0]
	if said, err := q.Call(t.Context(), l, functionCall(l, "odd.1", `{"n": 1}`)); err != nil || said != `{"n": 1}` {
		t.Errorf("Call: %s, %v", said, err)
	}
	// Again under the same name it takes the place; of a tenant it comes first.
	w.db.Exec(t, `select rowbell.register_function('credit', 'app.quiet(text,jsonb)'), rowbell.register_function('quiet', 'app.credit(text,jsonb)')`)
	if got := strings.Join(pgtest.Query[string](t, w.db, `select concat_ws(' ', name, tenant_id, function, timeout) from rowbell.function order by 1`), "\n"); got != "credit app.quiet 00:00:05\nodd.1 app.\"Odd \"\"name\" 00:00:02\nquiet acme app.quiet 00:00:05\nquiet app.credit 00:00:05\nshort app.credit 00:00:00.15" {
		t.Errorf("there are\n%s", got)
	}
	if !pgtest.One[bool](t, w.db, `select rowbell.unregister_function('quiet', 'acme')`) || pgtest.One[bool](t, w.db, `select rowbell.unregister_function('quiet', 'acme')`) {
		t.Error("unregister_function doesn't say whether it was there")
	}
	if got := strings.Join(pgtest.Query[string](t, w.db, `select concat_ws(' ', action, tenant_id, object_id, detail ->> 'function') from rowbell.audit_log order by at desc limit 2`), "\n"); !strings.HasPrefix(got, "function.unregister acme quiet") {
		t.Errorf("the audit log has\n%s", got)
	}

	// Others may not, and who is made an operator may.
	role, url := w.db.Role(t, "stranger", "")
	w.db.Exec(t, fmt.Sprintf(`grant usage on schema rowbell, app to %s`, role))
	stranger := pgtest.Connect(t, url)
	for _, sql := range []string{`select rowbell.register_function('a', 'app.credit(text,jsonb)')`, `select rowbell.unregister_function('credit')`} {
		if _, err := stranger.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "is no operator of Rowbell") {
			t.Errorf("%s by a stranger: %v", sql, err)
		}
	}
	if _, err := stranger.Exec(t.Context(), `insert into rowbell.function (name, function, created_by) values ('a', 'app.credit', 'me')`); err == nil {
		t.Error("a stranger wrote into rowbell.function")
	}
}
