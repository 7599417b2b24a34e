package store_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestMasked(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"secret": "s", "Token": "t", "password": "", "name": "n"}`:                                             `{"Token":"***","name":"n","password":"","secret":"***"}`,
		`{"secret": {"ref": "crm"}}`:                                                                             `{"secret":{"ref":"crm"}}`,
		`{"headers": {"x-key": "k", "authorization": {"ref": "crm"}, "empty": ""}}`:                              `{"headers":{"authorization":{"ref":"crm"},"empty":"","x-key":"***"}}`,
		`{"url": "https://ann:pw@hooks.example.com/in?key=k#top"}`:                                               `{"url":"https://***@hooks.example.com/in?***#top"}`,
		`{"note": "see https://a.example/?q=1 and postgres://u:p@db/shop"}`:                                      `{"note":"see https://a.example/?*** and postgres://***@db/shop"}`,
		`{"note": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw is it", "list": [{"api_key": "k"}, ["rbk_1_secret"]]}`: `{"list":[{"api_key":"***"},["rbk_***"]],"note":"whsec_*** is it"}`,
		`{"n": 12345678901234567890.10, "b": true, "nul": "a\u0000b"}`:                                           "{\"b\":true,\"n\":12345678901234567890.10,\"nul\":\"a\ufffdb\"}",
		`null`: ``,
	} {
		got, err := store.Masked(json.RawMessage(in))
		if err != nil || got != want {
			t.Errorf("%s\ngives %s, %v\nwant  %s", in, got, err, want)
		}
	}
	if got, err := store.Masked(nil); err != nil || got != "" {
		t.Errorf("nothing gives %q, %v", got, err)
	}
}

// However much was done, a page is read by an index, and the same goes for a row's events.
func TestAuditPlans(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, `insert into rowbell.audit_log (id, at, tenant_id, actor, db_user, action, object_type, object_id)
		select 'a' || i, now() - i * interval '1 minute', 't' || i % 200, 'actor' || i % 200, 'user' || i % 200, 'thing.' || i % 200, 'thing', 'o' || i from generate_series(1, 20000) i`)
	db.Exec(t, `insert into rowbell.workflow_version (workflow_id, version, tenant_id, status, document, created_by, created_at)
		select 'w' || i, 1, 't' || i % 200, 'active', '{"id": "w"}', 'ann', now() - i * interval '1 minute' from generate_series(1, 20000) i`)
	db.Exec(t, `analyze rowbell.audit_log, rowbell.workflow_version`)
	plan := func(sql string, args ...any) string {
		t.Helper()
		return strings.Join(pgtest.Query[string](t, db, "explain "+sql, args...), "\n")
	}
	tenant, none := "t7", ""
	for name, f := range map[string]store.AuditFilter{
		"all": {}, "tenant": {Tenant: &tenant}, "operators": {Tenant: &none}, "object": {ObjectType: "thing", ObjectID: "o77"},
		"time": {Since: time.Now().Add(-time.Hour)}, "tenant and time": {Tenant: &tenant, Until: time.Now().Add(-100 * time.Hour)},
	} {
		for _, cursor := range []string{"", "page"} {
			if cursor != "" {
				_, next, err := store.OpenSource(db.Pool(t)).AuditLog(t.Context(), store.AuditFilter{}, "", 50)
				if err != nil || next == "" {
					t.Fatal(next, err)
				}
				cursor = next
			}
			sql, args, err := f.SQL(cursor, 100)
			if err != nil {
				t.Fatal(err)
			}
			if p := plan(sql, args...); strings.Contains(p, "Seq Scan") {
				t.Errorf("%s reads everything:\n%s", name, p)
			}
		}
	}
	for name, f := range map[string]store.AuditFilter{"actor": {Actor: "actor7"}, "action": {Action: "thing.7"}} {
		sql, args, err := f.SQL("", 100)
		if err != nil {
			t.Fatal(err)
		}
		if p := plan(sql, args...); strings.Contains(p, "Seq Scan on audit_log") {
			t.Errorf("%s reads all of the audit log:\n%s", name, p)
		}
	}
	if p := plan(store.FindRowSQL, "42", "orders", nil); strings.Contains(p, "Seq Scan on event") || !strings.Contains(p, "row_key") {
		t.Errorf("a row's events are found by\n%s", p)
	}
}

// What is old goes, and nothing else, and nobody else takes anything away.
func TestTrimAudit(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, `insert into rowbell.audit_log (at, action) select now() - i * interval '1 day', 'x.y' from generate_series(0, 99) i`)
	s := store.OpenSource(db.Pool(t))
	if err := s.TrimAudit(t.Context(), 29); err == nil || !strings.Contains(err.Error(), "30 days at least") {
		t.Errorf("29 days: %v", err)
	}
	if err := s.TrimAudit(t.Context(), 50); err != nil {
		t.Fatal(err)
	}
	if got := pgtest.One[string](t, db, `select count(*) || ' ' || (max(now() - at) <= interval '50 days') from rowbell.audit_log`); got != "50 true" {
		t.Errorf("there are %s", got)
	}
	conn := db.Conn(t)
	for _, sql := range []string{
		`update rowbell.audit_log set actor = 'eve'`, `delete from rowbell.audit_log`, `truncate rowbell.audit_log`,
		`begin; select rowbell.trim_audit(30); delete from rowbell.audit_log`, `rollback; begin; set rowbell.erasing = '1'; delete from rowbell.audit_log`,
		`rollback; set session_replication_role = replica; delete from rowbell.audit_log`,
		`delete from rowbell.workflow_version`,
	} {
		if sql == `delete from rowbell.workflow_version` {
			db.Exec(t, `insert into rowbell.workflow_definition (id) values ('w')`)
		}
		if _, err := conn.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// What is done by SQL is noted by triggers, in the name of who does it, and without secrets.
func TestAuditTriggers(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	db.Exec(t, `select rowbell.ensure_publications('rowbell'); create table orders (id int primary key, tenant_id text)`)
	db.Exec(t, `call rowbell.capture('orders')`)
	db.Exec(t, `call rowbell.capture('orders', redacted => '{tenant_id}')`)
	db.Exec(t, `call rowbell.capture('orders', renew => true)`) // nothing is different
	db.Exec(t, `call rowbell.release('orders')`)
	db.Exec(t, `begin; select set_config('rowbell.actor', 'ann', true), set_config('rowbell.via', 'api', true), set_config('rowbell.address', '192.0.2.1', true), set_config('rowbell.request_id', 'r1', true);
		insert into rowbell.template (tenant_id, name, source) values ('acme', 'footer', 'A'); commit`)
	db.Exec(t, `update rowbell.template set source = 'B'; update rowbell.template set source = 'B'; delete from rowbell.template`)
	db.Exec(t, `insert into rowbell.secret (tenant_id, name, plain) values ('acme', 'crm', 'planted')`)
	db.Exec(t, `update rowbell.secret set plain = null, sealed = 'x', key_id = 'k'`) // a worker seals it
	db.Exec(t, `update rowbell.secret set plain = 'planted anew'`)
	db.Exec(t, `insert into rowbell.sql_member (role_name, tenant_id) values ('alice', 'acme'); update rowbell.sql_member set access = 'view'; delete from rowbell.sql_member`)
	got := pgtest.Query[string](t, db, `select concat_ws(' ', action, object_id, tenant_id, case when actor = db_user then 'sql' else actor end, via, case when via = 'api' then host(address::inet) || ' ' || request_id end,
		case when action ~ 'template' then concat_ws('>', coalesce(before ->> 'source', '-'), coalesce(after ->> 'source', '-')) when action ~ 'member' then concat_ws('>', coalesce(before ->> 'access', '-'), coalesce(after ->> 'access', '-'))
		when action ~ 'table' then concat_ws('>', coalesce(before ->> 'redacted', '-'), coalesce(after ->> 'redacted', '-')) end) from rowbell.audit_log order by at, id`)
	want := []string{
		"table.capture orders sql sql ->[]", `table.change orders sql sql []>["tenant_id"]`, `table.release orders sql sql ["tenant_id"]>-`,
		"template.set footer acme ann api 192.0.2.1 r1 ->A", "template.set footer acme sql sql A>B", "template.delete footer acme sql sql B>-",
		"secret.set crm acme sql sql", "secret.set crm acme sql sql",
		"sql_member.set alice acme sql sql ->edit", "sql_member.set alice acme sql sql edit>view", "sql_member.delete alice acme sql sql view>-",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the audit log has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if text := db.QueryString(t, `select string_agg(a::text, '') from rowbell.audit_log a`); strings.Contains(text, "planted") {
		t.Error("the audit log has a secret")
	}
}

// An act and the version that it writes are one entry; who edits by SQL has entries of their
// own, also behind an act's back.
func TestAuditEntries(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	s := store.OpenSource(db.Pool(t))
	ctx := store.WithOrigin(t.Context(), store.Origin{Actor: "ann", Via: store.ViaAPI, Address: "192.0.2.9", RequestID: "r9"})
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name) values ('w', 'acme', 'W')`)
	if _, err := s.SetStatus(ctx, store.Edit{WorkflowID: "w", Action: "workflow.deactivate", Version: 1}, workflow.Inactive); err != nil {
		t.Fatal(err)
	}
	if err := s.SetDraft(ctx, store.Edit{WorkflowID: "w", Action: "workflow.draft", Version: 2}, json.RawMessage(`{"name": "X", "actions": [{"action_config": {"url": "https://a.example/?k=planted"}}]}`)); err != nil {
		t.Fatal(err)
	}
	// Somebody who writes an act of their own hides nothing by it.
	db.Exec(t, `begin; insert into rowbell.audit_log (action, object_type, object_id) values ('workflow.nothing', 'workflow', 'w'); update rowbell.workflow_definition set name = 'hidden' where id = 'w'; commit`)
	db.Exec(t, `delete from rowbell.workflow_definition where id = 'w'`)
	list, next, err := s.AuditLog(t.Context(), store.AuditFilter{Documents: true}, "", 0)
	if err != nil || next != "" {
		t.Fatal(next, err)
	}
	var got []string
	for _, e := range list {
		documents := ""
		if e.Was != nil {
			documents += fmt.Sprintf(" was %d", e.Was.Version)
		}
		if e.Is != nil {
			documents += fmt.Sprintf(" is %d", e.Is.Version)
		}
		if e.Live != nil {
			documents += fmt.Sprintf(" live %d", e.Live.Version)
		}
		actor := e.Actor
		if actor == e.DBUser {
			actor = "sql"
		}
		got = append(got, fmt.Sprintf("%s %s %s %s %s %d%s", e.Action, actor, e.Via, e.Address, e.RequestID, e.Version, documents))
		if e.Action == "workflow.draft" && (strings.Contains(string(e.After), "planted") || !strings.Contains(string(e.After), `"X"`)) {
			t.Errorf("the draft is noted as %s", e.After)
		}
		same, err := s.AuditEntry(t.Context(), e.ID)
		if err != nil || same.Action != e.Action || same.Version != e.Version || (same.Is == nil) != (e.Is == nil) {
			t.Errorf("entry %s is %+v, %v", e.ID, same, err)
		}
	}
	address := list[1].Address // of the connection
	want := "workflow.delete sql sql   4 was 3 is 4, workflow.nothing sql sql " + address + "  3 was 2 is 3, workflow.draft ann api 192.0.2.9 r9 0 live 2, " +
		"workflow.deactivate ann api 192.0.2.9 r9 2 was 1 is 2, workflow.create sql sql   1 is 1"
	if strings.Join(got, ", ") != want {
		t.Errorf("the entries are\n%s\nwant\n%s", strings.Join(got, ", "), want)
	}
}
