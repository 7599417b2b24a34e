package engine_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// jsonEqual compares two JSON texts.
func jsonEqual(t testing.TB, got, want string) bool {
	t.Helper()
	var a, b any
	for text, to := range map[string]*any{got: &a, want: &b} {
		if err := json.Unmarshal([]byte(text), to); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

// A change of the tenant is a delete for the one and a create for the other, and each
// gets its own values only.
func TestTenantChange(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders+`; alter table orders replica identity full`)
	s.capture(t, "orders")
	all := []string{"orders create", "orders update", "orders delete"}
	s.define(t,
		flow{id: "a", tenant: "acme", on: all},
		flow{id: "b", tenant: "beta", on: all},
		flow{id: "b-old", tenant: "beta", on: all, when: []string{`new.note == nil || old.note != "of acme"`}},
		flow{id: "a-new", tenant: "acme", on: []string{"orders delete"}, when: []string{`new.note != nil || row.note != "of acme"`}},
		flow{id: "c", tenant: "ceta", on: all},
		flow{id: "ops", on: all},
	)
	s.begin(t)
	r := s.start(t, options{})
	s.db.Exec(t, `insert into orders (id, tenant_id, note) values (1, 'acme', 'of acme')`)
	s.db.Exec(t, `update orders set tenant_id = 'beta', note = 'of beta'`)
	s.db.Exec(t, `update orders set note = 'still of beta'`)
	s.db.Exec(t, `update orders set tenant_id = null`)
	s.db.Exec(t, `update orders set tenant_id = 'beta'`)
	s.db.Exec(t, `delete from orders`)
	r.caughtUp(t)
	s.wantLogged(t,
		"a v1 create 1", "ops v1 create 1",
		"a v1 delete 1", "ops v1 delete 1", "b v1 create 1", "b-old v1 create 1", "ops v1 create 1",
		"b v1 update 1", "b-old v1 update 1", "ops v1 update 1",
		"b v1 delete 1", "b-old v1 delete 1", "ops v1 delete 1", "ops v1 create 1",
		"ops v1 delete 1", "b v1 create 1", "b-old v1 create 1", "ops v1 create 1",
		"b v1 delete 1", "b-old v1 delete 1", "ops v1 delete 1",
	)
	for _, tenant := range []string{"a", "b"} {
		for _, data := range s.data(t, tenant) {
			if other := map[string]string{"a": "of beta", "b": "of acme"}[tenant]; strings.Contains(data, other) {
				t.Errorf("stored for %s: %s", tenant, data)
			}
		}
	}
	got := s.data(t, "a")[1]
	if want := `{"new": null, "old": {"id": 1, "tenant_id": "acme", "status": "new", "total": 0.00, "note": "of acme"}, "changed": [], "unavailable": [], "actor": null}`; !jsonEqual(t, got, want) {
		t.Errorf("the delete is stored as\n%s\nwant\n%s", got, want)
	}
	got = s.data(t, "b")[0]
	if want := `{"new": {"id": 1, "tenant_id": "beta", "status": "new", "total": 0.00, "note": "of beta"}, "old": null, "changed": [], "unavailable": [], "actor": null}`; !jsonEqual(t, got, want) {
		t.Errorf("the create is stored as\n%s\nwant\n%s", got, want)
	}
	if n := pgtest.One[int](t, s.db, `select count(*)::int from rowbell.workflow_log l join rowbell.workflow_event e on e.id = l.trigger_event_id
		where l.tenant_id is not null and l.tenant_id is distinct from e.tenant_id`); n != 0 {
		t.Errorf("%d executions are of another tenant than their event", n)
	}
}

// A table without tenant column serves operators' workflows only.
func TestTableWithoutTenant(t *testing.T) {
	t.Parallel()
	s := newStage(t, `create table rates (id int primary key, rate numeric)`)
	s.capture(t, "rates")
	s.define(t, flow{id: "ops", on: []string{"rates create"}}, flow{id: "a", tenant: "acme", on: []string{"rates create"}})
	s.begin(t)
	r := s.start(t, options{})
	s.db.Exec(t, `insert into rates values (1, 2.5)`)
	r.caughtUp(t)
	s.wantLogged(t, "ops v1 create 1")
	if got := r.verdict("a"); !strings.HasPrefix(got, "broken") || !strings.Contains(got, "operators' workflows only") {
		t.Errorf("the health of the tenant's workflow is %q", got)
	}
}

// Hidden columns are nowhere, redacted ones masked.
func TestHiddenColumns(t *testing.T) {
	t.Parallel()
	s := newStage(t, `create table people (id text primary key, tenant_id text, name text, ssn text, pin text);
		alter table people replica identity full`)
	s.db.Exec(t, `call rowbell.capture('people', hidden => '{ssn}', redacted => '{id,pin}')`)
	s.define(t,
		flow{id: "w", on: []string{"people create", "people update", "people delete"}},
		flow{id: "uses-hidden", on: []string{"people create"}, where: `{"ssn": "secret-ssn"}`},
		flow{id: "reads-hidden", on: []string{"people create"}, when: []string{`new.ssn == "secret-ssn"`}},
		flow{id: "reads-hidden-by-name", on: []string{"people create"}, when: []string{`new["ssn"] == "secret-ssn"`}},
		flow{id: "asks-hidden", on: []string{"people update"}, when: []string{`changed("ssn")`}},
		flow{id: "uses-redacted", on: []string{"people create"}, where: `{"pin": "secret-pin"}`},
		flow{id: "fails", on: []string{"people create"}, when: []string{`int(new.pin) > 3`}},
	)
	s.begin(t)
	r := s.start(t, options{})
	s.db.Exec(t, `insert into people values ('secret-id', 'acme', 'Ann', 'secret-ssn', 'secret-pin')`)
	s.db.Exec(t, `update people set ssn = 'secret-ssn-2', pin = 'secret-pin-2'`)
	s.db.Exec(t, `delete from people`)
	r.caughtUp(t)
	for _, id := range []string{"uses-hidden", "reads-hidden", "reads-hidden-by-name", "asks-hidden"} {
		if got := r.verdict(id); !strings.HasPrefix(got, "broken") || !strings.Contains(got, "ssn") {
			t.Errorf("the health of %s is %q", id, got)
		}
	}
	masked := `{"id": "***", "tenant_id": "acme", "name": "Ann", "pin": "***"}`
	data := s.data(t, "w")
	for i, want := range []string{
		`{"new": ` + masked + `, "old": null, "changed": [], "unavailable": [], "actor": null}`,
		`{"new": ` + masked + `, "old": ` + masked + `, "changed": ["pin"], "unavailable": [], "actor": null}`,
		`{"new": null, "old": ` + masked + `, "changed": [], "unavailable": [], "actor": null}`,
	} {
		if !jsonEqual(t, data[i], want) {
			t.Errorf("stored\n%s\nwant\n%s", data[i], want)
		}
	}
	fired := pgtest.Query[string](t, s.db, `select distinct workflow_id || ' ' || status from rowbell.workflow_log order by 1`)
	if want := []string{"fails failure", "uses-redacted success", "w success"}; !slices.Equal(fired, want) {
		t.Errorf("fired %q, want %q", fired, want)
	}
	if got := s.db.QueryString(t, `select error from rowbell.workflow_log where workflow_id = 'fails'`); !strings.Contains(got, "condition 1") || !strings.Contains(got, "redacted") {
		t.Errorf("the failure says %q", got)
	}
	for _, row := range pgtest.Query[string](t, s.db, `select e::text from rowbell.event e union all select e::text from rowbell.execution e`) {
		if strings.Contains(row, "secret") {
			t.Errorf("stored: %s", row)
		}
	}
}

const big = `alter table orders alter note set storage external; insert into orders (id, tenant_id, note) values (1, 'acme', repeat('big', 3000))`

// A condition that needs a value which the update left alone fails, says which and how
// to mend it, and fills the log with no more than ten such rows an hour.
func TestUnchangedTOAST(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t,
		flow{id: "needs", tenant: "acme", on: []string{"orders update"}, where: `{"note": {"contains": "big"}}`, actions: []string{"webhook"}},
		flow{id: "or", tenant: "acme", on: []string{"orders update"}, when: []string{`new.total > 6 || new.note contains "big"`}},
		flow{id: "and", tenant: "acme", on: []string{"orders update"}, where: `{"status": "paid", "note": {"contains": "big"}}`},
		flow{id: "w", tenant: "acme", on: []string{"orders update"}},
	)
	s.begin(t)
	s.db.Exec(t, big)
	r := s.start(t, options{})
	update := func() {
		for range 6 {
			s.db.Exec(t, `update orders set total = total + 1`)
		}
		r.caughtUp(t)
	}
	update()
	r.stop(t)
	r = s.start(t, options{})
	update()
	r.stop(t)
	r = s.start(t, options{})
	r.caughtUp(t)

	// By hour, since the test may run over the turn of one.
	want := pgtest.Query[string](t, s.db, `select format('%s %s', workflow_id, sum(least(counted, 10))) from rowbell.failure_count group by workflow_id having sum(counted) = case workflow_id when 'needs' then 12 else 6 end order by 1`)
	got := pgtest.Query[string](t, s.db, `select format('%s %s', workflow_id, count(*)) from rowbell.workflow_log where status = 'failure' group by workflow_id order by 1`)
	if len(want) != 2 || !slices.Equal(got, want) {
		t.Errorf("failures logged %q, counted %q", got, want)
	}
	if n := pgtest.One[int](t, s.db, `select count(*)::int from rowbell.failure_count where recorded <> least(counted, 10)`); n != 0 {
		t.Errorf("%d counts don't add up", n)
	}
	for _, message := range pgtest.Query[string](t, s.db, `select error from rowbell.workflow_log where status = 'failure'`) {
		for _, part := range []string{"orders", `"1"`, "note", "ALTER TABLE", "REPLICA IDENTITY FULL"} {
			if !strings.Contains(message, part) {
				t.Errorf("the message %q doesn't say %s", message, part)
			}
		}
	}
	if n := pgtest.One[int](t, s.db, `select count(*)::int from rowbell.delivery`); n != 0 {
		t.Errorf("%d deliveries of failed executions", n)
	}
	data := s.data(t, "w")
	if len(data) != 12 {
		t.Fatalf("%d executions of w, want 12", len(data))
	}
	if want := `{"new": {"id": 1, "tenant_id": "acme", "status": "new", "total": 1.00}, "old": null, "changed": null, "unavailable": ["note"], "actor": null}`; !jsonEqual(t, data[0], want) {
		t.Errorf("stored\n%s\nwant\n%s", data[0], want)
	}
}

// With the full identity what an update left alone stands in the old row.
func TestUnchangedTOASTWithFullIdentity(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders+`; alter table orders replica identity full`)
	s.capture(t, "orders")
	s.define(t,
		flow{id: "needs", tenant: "acme", on: []string{"orders update"}, where: `{"note": {"contains": "big"}}`},
		flow{id: "changed", tenant: "acme", on: []string{"orders update"}, when: []string{`changed("note")`}},
	)
	s.begin(t)
	s.db.Exec(t, big)
	r := s.start(t, options{})
	s.db.Exec(t, `update orders set total = 1`)
	s.db.Exec(t, `update orders set note = note || 'ger', total = 2`)
	s.db.Exec(t, `update orders set note = null`)
	r.caughtUp(t)
	s.wantLogged(t, "needs v1 update 1", "changed v1 update 1", "needs v1 update 1", "changed v1 update 1")
	note := strings.Repeat("big", 3000)
	row := func(total, note string) string {
		return fmt.Sprintf(`{"id": 1, "tenant_id": "acme", "status": "new", "total": %s, "note": %s}`, total, note)
	}
	data := append(s.data(t, "needs"), s.data(t, "changed")[1])
	for i, want := range []string{
		`{"new": ` + row("1.00", `"`+note+`"`) + `, "old": ` + row("0.00", `"`+note+`"`) + `, "changed": ["total"], "unavailable": [], "actor": null}`,
		`{"new": ` + row("2.00", `"`+note+`ger"`) + `, "old": ` + row("1.00", `"`+note+`"`) + `, "changed": ["total", "note"], "unavailable": [], "actor": null}`,
		`{"new": ` + row("2.00", "null") + `, "old": ` + row("2.00", `"`+note+`ger"`) + `, "changed": ["note"], "unavailable": [], "actor": null}`,
	} {
		if !jsonEqual(t, data[i], want) {
			t.Errorf("stored\n%.300s\nwant\n%.300s", data[i], want)
		}
	}
}

// What a key change and a delete carry under the default identity.
func TestDefaultIdentity(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t,
		flow{id: "ops", on: []string{"orders update", "orders delete"}},
		flow{id: "a", tenant: "acme", on: []string{"orders delete"}},
		flow{id: "old", on: []string{"orders delete"}, where: `{"status": "new"}`},
	)
	s.begin(t)
	r := s.start(t, options{})
	s.db.Exec(t, `insert into orders (id, tenant_id) values (1, 'acme')`)
	s.db.Exec(t, `update orders set id = 2`)
	s.db.Exec(t, `delete from orders`)
	r.caughtUp(t)
	s.wantLogged(t, "ops v1 update 2", "ops v1 delete 2")
	data := s.data(t, "ops")
	for i, want := range []string{
		`{"new": {"id": 2, "tenant_id": "acme", "status": "new", "total": 0.00, "note": null}, "old": {"id": 1}, "changed": null,
			"unavailable": ["old.tenant_id", "old.status", "old.total", "old.note"], "actor": null}`,
		`{"new": null, "old": {"id": 2}, "changed": [], "unavailable": ["old.tenant_id", "old.status", "old.total", "old.note"], "actor": null}`,
	} {
		if !jsonEqual(t, data[i], want) {
			t.Errorf("stored\n%s\nwant\n%s", data[i], want)
		}
	}
	for id, want := range map[string]string{"a": "tenant column", "old": "status"} {
		if got := r.verdict(id); !strings.HasPrefix(got, "broken") || !strings.Contains(got, want) || !strings.Contains(got, "REPLICA IDENTITY FULL") {
			t.Errorf("the health of %s is %q", id, got)
		}
	}
}
