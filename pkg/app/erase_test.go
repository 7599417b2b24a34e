package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// traces says in which tables of Rowbell's schema a text stands, in any column, and how
// often. Partitions count as the table that they are of.
func traces(t *testing.T, db *pgtest.Database, text string) map[string]int {
	t.Helper()
	found := make(map[string]int)
	for _, name := range pgtest.Query[string](t, db, `select relname::text from pg_class where relnamespace = 'rowbell'::regnamespace and relkind in ('r', 'p') and not relispartition`) {
		if n := pgtest.One[int](t, db, `select count(*)::int from rowbell.`+name+` t where position($1 in t::text) > 0`, text); n > 0 {
			found[name] = n
		}
	}
	return found
}

func wantTraces(t *testing.T, db *pgtest.Database, text string, in ...string) {
	t.Helper()
	found := traces(t, db, text)
	for _, name := range in {
		if found[name] == 0 {
			t.Errorf("%q is not in rowbell.%s, so that nothing could be erased there; it is in %v", text, name, found)
		}
	}
}

func wantNoTraces(t *testing.T, db *pgtest.Database, text string, but ...string) {
	t.Helper()
	for name, n := range traces(t, db, text) {
		if !slices.Contains(but, name) {
			t.Errorf("%q is in %d rows of rowbell.%s yet: %.300s", text, n, name,
				pgtest.One[string](t, db, `select min(t::text) from rowbell.`+name+` t where position($1 in t::text) > 0`, text))
		}
	}
}

// parrot answers with what it was sent: /good takes it, /bad refuses it for good, /later
// asks for another try in an hour.
func parrot(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/bad":
			w.WriteHeader(http.StatusUnprocessableEntity)
		case "/later":
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = fmt.Fprintf(w, "I was told: %s", body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

const staffOfErasing = `; create table staff (id text primary key, tenant text, name text, email text)`

func erasing(c *app.Config) {
	delivers(c)
	c.DirectoryUsers = `select id, name, email from staff where id = any ($1) and tenant = $2`
}

// ended waits until nothing is tried any more, but for so many deliveries that wait.
func ended(t *testing.T, db *pgtest.Database, executions, waiting int) {
	t.Helper()
	pgtest.Eventually(t, pgtest.Patience, "everything to be tried", func() bool {
		return pgtest.One[bool](t, db, `select (select count(*) from rowbell.workflow_log) = $1 and (select count(*) from rowbell.delivery) = $2
			and (select count(*) from rowbell.delivery where ready_at > now() + interval '1 minute' and state <> 'leased') = $2`, executions, waiting)
	})
}

// Everything that the log has of one row is erased, and nothing that it has of another.
func TestEraseRow(t *testing.T) {
	t.Parallel()
	const gone, stays = "marker-of-forty-two", "marker-of-another"
	db := migrated(t)
	db.Exec(t, shop+staffOfErasing+`; insert into staff values ('ann', 'acme', 'Ann', 'ann@acme.example'), ('bob', 'acme', 'Bob', 'bob@acme.example'), ('oscar', 'acme', 'Oscar', null)`)
	url := parrot(t)
	w := startWorker(t, db, erasing)
	w.holds(t)
	for _, hook := range []string{"good", "bad", "later"} {
		defineHook(t, db, hook, url+"/"+hook, `, "retry": ["1h"]`)
	}
	db.Exec(t, `update rowbell.workflow_definition set settings = '{"owners": ["user:oscar"]}' where id = 'bad'`)
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status, settings) values ('tell', 'acme', 'Tell', 'active', '{"firing": "once_per_row"}');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('tell', 'orders', 'create');
		insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('tell', 'notification', '{"title": "Order: {{ new.note }}"}');
		insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ('tell', 'user', 'ann'), ('tell', 'user', 'bob'), ('tell', 'attribute', 'status')`)
	captured(t, db)
	o := operator(t, db, erasing)
	for _, note := range []string{gone, stays} {
		db.Exec(t, `insert into orders (tenant_id, note, status) values ('acme', $1, $1 || '@customers.example')`, note)
	}
	ended(t, db, 8, 2)
	pgtest.Eventually(t, pgtest.Patience, "the owner to be told", func() bool {
		return pgtest.One[bool](t, db, `select exists (select from rowbell.notification where recipient_id = 'oscar')`)
	})
	// Somebody looked after what wasn't delivered: whom to stands in the audit log.
	list, err := o.Deliveries(t.Context(), store.DeliveryFilter{WorkflowID: "bad", Table: "orders", RowKey: "1"})
	if err != nil || len(list) != 1 {
		t.Fatalf("dead deliveries: %v, %v", list, err)
	}
	if err := store.OpenSource(db.Pool(t)).Note(t.Context(), store.Act{Action: "delivery.look", ObjectType: "delivery", ObjectID: list[0].ExecutionID + "_0_" + gone + "@customers.example"}); err != nil {
		t.Fatal(err)
	}
	if n := pgtest.One[int](t, db, `select count(*)::int from rowbell.fired`); n != 2 {
		t.Fatalf("%d rows have fired", n)
	}
	// And at what became of the row; and a cause quotes it.
	db.Exec(t, `insert into rowbell.saved_view (id, tenant_id, owner, name, shared, filter) select 'v' || n, 'acme', 'dora', 'Order ' || n, true, jsonb_build_object('table', 'orders', 'row_key', n::text) from generate_series(1, 2) n
		union all select 'v3', 'acme', 'dora', 'Key 1', false, jsonb_build_object('row_key', '1')`)
	db.Exec(t, `insert into rowbell.dismissal (id, tenant_id, workflow_id, cause, note, dismissed_by) values ('d1', 'acme', 'bad', 'it says ' || $1, 'known', 'dora'), ('d2', 'acme', 'none', 'it rains', 'known', 'dora')`, gone)
	wantTraces(t, db, gone, "event", "notification", "execution", "delivery_ended", "attempt", "audit_log", "dismissal")
	before := traces(t, db, stays)
	counts := statusCounts(t, db)

	other := "globex"
	if _, err := o.EraseRow(t.Context(), "orders", "1", &other, func(string) {}); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("another tenant's row: %v", err)
	}
	tenant := "acme"
	done, err := o.EraseRow(t.Context(), "orders", "1", &tenant, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if done.Left() != 0 || done.Cancelled != 1 || erasedOf(done, "event").Deleted != 1 || erasedOf(done, "execution").Emptied != 4 || erasedOf(done, "fired").Deleted != 1 || erasedOf(done, "audit_log").Emptied != 1 {
		t.Errorf("the proof is %+v", done)
	}
	wantNoTraces(t, db, gone)
	if left := pgtest.One[string](t, db, `select string_agg(id, ' ' order by id) from (select id from rowbell.saved_view union all select id from rowbell.dismissal) x`); left != "d2 v2" {
		t.Errorf("of views and dismissals there are %s", left)
	}
	if n := pgtest.One[int](t, db, `select count(*)::int from rowbell.queue where execution_id like $1`, list[0].EventID+"%"); n != 0 {
		t.Errorf("%d deliveries about it are in the queue", n)
	}
	// The other row's are as they were, but for what quotes errors.
	after := traces(t, db, stays)
	for _, m := range []map[string]int{before, after} {
		delete(m, "alert")
		delete(m, "destination")
		delete(m, "notification")
	}
	if !maps.Equal(before, after) {
		t.Errorf("of the other row there was %v, and is %v", before, after)
	}
	if n := pgtest.One[int](t, db, `select count(*)::int from rowbell.notification where title like '%' || $1`, stays); n != 3 {
		t.Errorf("the other row has %d notifications, want 3", n)
	}
	// Executions can be counted as before; one was pending.
	counts["pending"], counts["cancelled"] = counts["pending"]-1, counts["cancelled"]+1
	if got := statusCounts(t, db); !maps.Equal(got, counts) {
		t.Errorf("executions are %v, want %v", got, counts)
	}
	row := pgtest.One[string](t, db, `select concat_ws(' ', action, object_type, object_id ~ '^[0-9a-f]{32}$', tenant_id, via, detail ->> 'table', detail ->> 'complete') from rowbell.audit_log where action = 'row.erase'`)
	if row != "row.erase row t acme sql orders true" {
		t.Errorf("the audit log has %q", row)
	}
	if _, err := o.EraseRow(t.Context(), "orders", "1", nil, func(string) {}); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("once more: %v", err)
	}
	// The row goes on: what changes now is recorded, and fires once more.
	db.Exec(t, `delete from orders where id = 1`)
	db.Exec(t, `insert into orders (id, tenant_id, status) overriding system value values (1, 'acme', 'new')`)
	pgtest.Eventually(t, pgtest.Patience, "the row to fire again", func() bool {
		return pgtest.One[int](t, db, `select count(*)::int from rowbell.fired`) == 2
	})
}

func statusCounts(t *testing.T, db *pgtest.Database) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	for _, s := range []string{"pending", "success", "failure", "cancelled"} {
		counts[s] = pgtest.One[int](t, db, `select count(*)::int from rowbell.workflow_log where status = $1`, s)
	}
	return counts
}

func erasedOf(e *app.Erasure, table string) store.ErasedTable {
	for _, t := range e.Tables {
		if t.Table == table {
			return t
		}
	}
	return store.ErasedTable{}
}

// Of a person nothing stays in log, inbox and preferences, nor of their address; others
// keep what is theirs.
func TestErasePerson(t *testing.T) {
	t.Parallel()
	const ann, mail, other = "ann-marker", "ann-marker@acme.example", "bob-marker"
	db := migrated(t)
	db.Exec(t, shop+staffOfErasing)
	db.Exec(t, `insert into staff values ($1, 'acme', 'Ann', $2), ($3, 'acme', 'Bob', 'bob@acme.example')`, ann, mail, other)
	w := startWorker(t, db, erasing)
	w.holds(t)
	define := func(id, title, who string, more ...string) {
		t.Helper()
		db.Exec(t, `with d as (insert into rowbell.workflow_definition (id, tenant_id, name, status) values ($1, 'acme', $1, 'active')),
			t as (insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ($1, 'orders', 'create')),
			a as (insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ($1, 'notification', jsonb_build_object('title', $2::text, 'retry', '[]'::jsonb)))
			insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) select $1, case when w = 'note' then 'attribute' else 'user' end, w from unnest($3::text[]) w`, id, title, append(more, who))
	}
	define("both", "Order {{ new.id }}", ann, other)
	define("alone", "For {{ recipient.name }}", ann)
	define("empty", "{{ new.status | remove: 'new' }}", ann, other) // fails
	define("by-note", "Yours", "note")
	captured(t, db)
	o := operator(t, db, erasing)
	ctx := store.WithOrigin(t.Context(), store.Origin{Actor: "dora", Via: store.ViaAPI, Address: "192.0.2.7", RequestID: "r-1"})
	who := workflow.PersonKey{TenantID: "acme", ID: ann}
	yes := true
	if err := o.SetPreference(ctx, who, workflow.Preference{Channel: "email"}, &yes, "dora"); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `begin; select rowbell.set_actor($$`+ann+`$$, attributes => '{"email": "`+mail+`"}'); insert into orders (tenant_id, note) values ('acme', '`+mail+`'), ('acme', null); commit`)
	ended(t, db, 8, 0)
	// From now on she wants to be left alone, but for a day that is not near: what comes waits.
	var names []string
	for _, name := range workflow.EveryDay.Names() {
		if name != strings.ToLower(time.Now().UTC().AddDate(0, 0, 3).Weekday().String()[:3]) {
			names = append(names, name)
		}
	}
	days, err := workflow.ParseWeekdays(names)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.AddQuietHours(ctx, who, workflow.QuietHours{Days: days, From: 0, To: 24 * time.Hour}, "dora"); err != nil {
		t.Fatal(err)
	}
	var last time.Time
	pgtest.Eventually(t, pgtest.Patience, "hers to wait", func() bool {
		if time.Since(last) > 500*time.Millisecond { // what was known of her counts for a while
			last = time.Now()
			db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
		}
		return pgtest.One[int](t, db, `select count(*)::int from rowbell.delivery where recipient = $1 and error like 'quiet_hours:%'`, ann) >= 2
	})
	pgtest.Eventually(t, pgtest.Patience, "the others to have ended", func() bool {
		return pgtest.One[int](t, db, `select count(*)::int from rowbell.delivery where recipient is distinct from $1 or error is null or state = 'leased'`, ann) == 0
	})
	// What others were told may quote her address, and may have one that only looks like it.
	db.Exec(t, `insert into rowbell.notification (id, tenant_id, recipient_id, delivery_id, title, body) values ('n1', 'acme', 'oscar', 'alert:x:oscar', 'It fails', '550 <`+mail+`>: no such user'),
		('n2', 'acme', 'oscar', 'd2', 'Not her', 'joann-marker@acme.example and ann-marker@acme.example.org')`)
	db.Exec(t, `insert into rowbell.alert (key, kind, tenant_id, subject, body, at, next_at) values ('x', 'failing', 'acme', 'It fails', 'The last one: 550 `+mail+`.', now(), null)`)
	// Somebody looks at what she was told, she has a view of her own, and a cause names her.
	db.Exec(t, `insert into rowbell.saved_view (id, tenant_id, owner, name, shared, filter) values ('v1', 'acme', 'dora', 'Hers', true, jsonb_build_object('recipient', $1::text)),
		('v2', 'acme', 'link:' || $1, 'Failed', false, '{"status": "failure"}'), ('v3', 'acme', 'dora', 'Failed', false, '{"status": "failure"}')`, ann)
	db.Exec(t, `insert into rowbell.dismissal (id, tenant_id, workflow_id, cause, note, dismissed_by) values ('d1', 'acme', 'both', '# <' || $1 || '>: no such user', 'known', 'dora'),
		('d2', 'acme', 'both', 'it rains', 'known', 'dora')`, mail)
	wantTraces(t, db, ann, "event", "notification", "execution", "delivery_ended", "queue", "preference", "quiet_hours", "audit_log", "saved_view")
	wantTraces(t, db, mail, "event", "execution", "delivery_ended", "dismissal")
	before := pgtest.One[string](t, db, `select string_agg(d.id || d.status, ' ' order by d.id) from rowbell.delivery_done d where d.recipient = $1`, other)

	tenant := "acme"
	done, err := o.ErasePerson(ctx, []string{ann, mail}, &tenant, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if done.Left() != 0 || done.Cancelled < 2 || !slices.Equal(done.NamedBy, []string{"alone", "both", "empty"}) {
		t.Errorf("the proof is %+v", done)
	}
	// Her address is a value of a row: that is told, and erased as a row.
	if len(done.Mentions) != 1 || done.Mentions[0] != (store.Mention{Table: "orders", RowKey: "1", Events: 1}) {
		t.Errorf("rows that name her are %+v", done.Mentions)
	}
	if n := db.Exec(t, `delete from rowbell.notification where id in ('n1', 'n2')`).RowsAffected(); n != 1 {
		t.Errorf("of the two that others have %d are left", n)
	}
	if left := pgtest.One[string](t, db, `select string_agg(id, ' ' order by id) from (select id from rowbell.saved_view union all select id from rowbell.dismissal) x`); left != "d2 v3" {
		t.Errorf("of views and dismissals there are %s", left)
	}
	wantNoTraces(t, db, mail, "event")
	if _, err := o.EraseRow(ctx, "orders", "1", &tenant, func(string) {}); err != nil {
		t.Fatal(err)
	}
	// Who is to be told is a definition, for people to edit.
	wantNoTraces(t, db, ann, "workflow_recipient", "workflow_version")
	wantNoTraces(t, db, mail)
	// Events of the other rows are there, without her.
	if got := pgtest.Query[string](t, db, `select coalesce(data ->> 'actor', 'nobody') || ' ' || (data -> 'new' ->> 'id') from rowbell.workflow_event order by committed_at, seq limit 2`); !slices.Equal(got, []string{"nobody 2", "nobody 3"}) {
		t.Errorf("the events are %v", got)
	}
	after := pgtest.One[string](t, db, `select string_agg(d.id || d.status, ' ' order by d.id) from rowbell.delivery_done d where d.recipient = $1`, other)
	if !strings.Contains(before, after) || after == "" {
		t.Errorf("the other's deliveries were %s, and are %s", before, after)
	}
	if n := pgtest.One[int](t, db, `select count(*)::int from rowbell.workflow_log where status = 'pending'`); n != 0 {
		t.Errorf("%d executions are pending", n)
	}
	row := pgtest.One[string](t, db, `select concat_ws(' ', actor, via, address, request_id, object_id ~ '^[0-9a-f]{32}$', detail ->> 'complete') from rowbell.audit_log where action = 'person.erase'`)
	if row != "dora api 192.0.2.7 r-1 t true" {
		t.Errorf("the audit log has %q", row)
	}
	if _, err := o.ErasePerson(ctx, []string{"nobody"}, nil, func(string) {}); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
}

// A tenant goes with all that there is of it, in every table that says whose its rows are,
// and the worker goes on for others, also when it starts again.
func TestDeleteTenant(t *testing.T) {
	t.Parallel()
	const gone = "tenant-marker"
	db := migrated(t)
	db.Exec(t, shop)
	url := parrot(t)
	w := startWorker(t, db, delivers)
	w.holds(t)
	// A table that somebody adds later is found by its column.
	db.Exec(t, `create table rowbell.later (id int primary key, tenant_id text); insert into rowbell.later values (1, $$`+gone+`$$), (2, 'globex')`)
	define := func(tenant string) {
		t.Helper()
		of := "'" + tenant + "'"
		if tenant == "operators" {
			of = "null"
		}
		for _, hook := range []string{"good", "bad", "later"} {
			db.Exec(t, `with d as (insert into rowbell.workflow_definition (id, tenant_id, name, status) values ($1, `+of+`, 'Workflow ' || $1, 'active')),
				t as (insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ($1, 'orders', 'create'))
				insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ($1, 'webhook', $2::jsonb)`,
				hook+"-of-"+tenant, fmt.Sprintf(`{"url": "%s/%s", "secret": %q, "retry": ["1h"]}`, url, hook, hookSecret))
		}
	}
	define(gone)
	define("globex")
	define("operators")
	captured(t, db)
	for _, tenant := range []string{gone, "globex"} {
		db.Exec(t, `insert into rowbell.template (tenant_id, name, source) values ($1, 'footer', 'x')`, tenant)
		db.Exec(t, `insert into rowbell.sql_member (role_name, tenant_id) values ('alice', $1)`, tenant)
		db.Exec(t, `select rowbell.set_preference('ann', false, tenant => $1)`, tenant)
		db.Exec(t, `select rowbell.set_quiet_hours('ann', '22:00', '07:00', tenant => $1)`, tenant)
		db.Exec(t, `insert into rowbell.tenant_weight (tenant_id, weight) values ($1, 2)`, tenant)
		db.Exec(t, `insert into rowbell.saved_view (id, tenant_id, owner, name, shared, filter) values ('v-' || $1, $1, 'ann', 'Failed', true, '{"status": "failure"}')`, tenant)
		db.Exec(t, `insert into rowbell.dismissal (id, tenant_id, workflow_id, cause, note, dismissed_by) values ('d-' || $1, $1, 'bad-of-' || $1, 'it rains', 'known', 'ann')`, tenant)
		db.Exec(t, `insert into rowbell.notification (id, tenant_id, recipient_id, delivery_id, title) values ('n-' || $1, $1, 'ann', 'd-' || $1, 'Hello')`, tenant)
		db.Exec(t, `insert into orders (tenant_id, note) select $1, 'note of ' || $1 from generate_series(1, 3)`, tenant)
	}
	// Three orders of each of two tenants, for three workflows of theirs and three of operators.
	ended(t, db, 36, 12)
	pgtest.Eventually(t, pgtest.Patience, "owners to be told", func() bool {
		return pgtest.One[int](t, db, `select count(*)::int from rowbell.alert`) >= 3
	})
	o := operator(t, db, delivers)
	if _, err := o.StartReplay(t.Context(), failures("bad-of-"+gone)); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, pgtest.Patience, "the replay to end", func() bool {
		return pgtest.One[bool](t, db, `select status = 'done' from rowbell.replay`)
	})
	ended(t, db, 39, 12)
	wantTraces(t, db, gone, "workflow_definition", "workflow_version", "surrogate", "event", "alert", "destination", "template", "secret", "sql_member",
		"preference", "quiet_hours", "tenant_weight", "saved_view", "dismissal", "notification", "audit_log", "replay", "later", "applied", "execution")
	kept := traces(t, db, "globex")

	// Without a worker that reads on, versions must stay.
	_ = w.stop()
	done, err := o.DeleteTenant(t.Context(), gone, 10*time.Millisecond, func(string) {})
	if !errors.Is(err, workflow.ErrConflict) || !strings.Contains(err.Error(), "run this again") || len(done.Tables) == 0 {
		t.Fatalf("without a worker: %v", err)
	}
	w = startWorker(t, db, delivers)
	w.holds(t)
	interrupted, cancel := context.WithCancel(t.Context())
	tells := 0
	_, err = o.DeleteTenant(interrupted, gone, time.Minute, func(string) {
		if tells++; tells == 3 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	done, err = o.DeleteTenant(t.Context(), gone, time.Minute, func(string) {})
	if err != nil {
		t.Fatalf("%v, after %+v", err, done)
	}
	if done.Left() != 0 {
		t.Errorf("the proof is %+v", done)
	}
	wantNoTraces(t, db, gone, "audit_log")
	if got := pgtest.Query[string](t, db, `select distinct action from rowbell.audit_log t where position($1 in t::text) > 0`, gone); !slices.Equal(got, []string{"tenant.delete"}) {
		t.Errorf("the audit log has %v of it", got)
	}
	if got := traces(t, db, "globex"); got["execution"] != kept["execution"] || got["event"] != kept["event"] || got["queue"] != kept["queue"] || got["workflow_version"] != kept["workflow_version"] || got["secret"] != kept["secret"] || got["later"] != 1 {
		t.Errorf("of the other tenant there was %v, and is %v", kept, got)
	}
	if _, err := o.PlanTenant(t.Context(), gone); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("once more: %v", err)
	}
	if _, err := o.PlanTenant(t.Context(), "globx"); err == nil || !strings.Contains(err.Error(), `did you mean "globex"`) {
		t.Errorf("a tenant that there isn't: %v", err)
	}
	// It goes on, and the numbers of versions are not given out again.
	most := pgtest.One[int](t, db, `select max(ref) from rowbell.surrogate`)
	if err := w.stop(); err != nil {
		t.Errorf("the worker ended with %v", err)
	}
	w = startWorker(t, db, delivers)
	w.holds(t)
	define("acme")
	pgtest.Eventually(t, pgtest.Patience, "the new tenant's workflows to apply", func() bool {
		return pgtest.One[int](t, db, `select count(*)::int from rowbell.surrogate where tenant_id = 'acme' and ref > $1`, most) == 3
	})
	n := pgtest.One[int](t, db, `select count(*)::int from rowbell.workflow_log where status = 'success'`)
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	pgtest.Eventually(t, pgtest.Patience, "its order to be delivered", func() bool {
		return pgtest.One[int](t, db, `select count(*)::int from rowbell.workflow_log where status = 'success'`) == n+2
	})
}
