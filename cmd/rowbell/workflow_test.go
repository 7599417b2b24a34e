package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
)

// migrated is a database with the tables of source and state, as a worker makes them.
func migrated(t testing.TB) *pgtest.Database {
	t.Helper()
	return pgtest.Filled(t, "migrated", func(ctx context.Context, url string) error { return store.Migrate(ctx, url, url) })
}

// shop is a database with Rowbell's tables and a few of an application's.
func shop(t *testing.T) (db *pgtest.Database, run func(args ...string) result) {
	t.Helper()
	db = migrated(t)
	env := []string{"ROWBELL_SOURCE_URL=" + db.URL, "TZ=UTC"}
	if r := rowbell(t, env, "migrate"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	db.Exec(t, `create table orders (id bigint primary key, tenant_id text not null, status text, total numeric, note text, owner text, secret_note text);
		create table customers (id bigint primary key, tenant_id text not null, email text);
		select rowbell.ensure_publications('rowbell')`)
	db.Exec(t, `call rowbell.capture('orders', hidden => array['secret_note'])`)
	db.Exec(t, `
		begin;
		select rowbell.set_actor('ann');
		insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('big', 'acme', 'Big orders', 'active');
		insert into rowbell.workflow_trigger (id, workflow_id, entity_type, operation, field_conditions)
			values ('t1', 'big', 'orders', 'update', '{"total": {"gte": 1000}, "status": "approved"}');
		insert into rowbell.workflow_condition (id, workflow_id, condition_type, condition_config)
			values ('c1', 'big', 'expression', '{"expression": "new.note != \"test\""}');
		insert into rowbell.workflow_action (id, workflow_id, action_type, action_config)
			values ('a1', 'big', 'notification', '{"title": "Order {{ new.id }}: {{ new.total }}"}'), ('a2', 'big', 'log', '{}');
		insert into rowbell.workflow_recipient (id, workflow_id, recipient_type, recipient_id) values ('r1', 'big', 'attribute', 'owner');
		commit`)
	return db, func(args ...string) result { return rowbell(t, env, append([]string{"workflow"}, args...)...) }
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wants holds a result to its code and to texts that it has.
func wants(t *testing.T, r result, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d:\n%s%s", r.code, code, r.stdout, r.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(r.stdout+r.stderr, text) {
			t.Errorf("%q isn't in\n%s%s", text, r.stdout, r.stderr)
		}
	}
}

func versionsOf(t *testing.T, db *pgtest.Database, id string) string {
	t.Helper()
	return strings.Join(pgtest.Query[string](t, db,
		"select version || ' ' || status from rowbell.workflow_version where workflow_id = $1 order by version", id), ", ")
}

// Somebody changes a workflow by a file: draft, look, activate, and back again.
func TestWorkflowDraft(t *testing.T) {
	t.Parallel()
	db, run := shop(t)

	yaml := run("show", "big", "--yaml")
	wants(t, yaml, 0, "name: Big orders\nstatus: active\ntenant_id: acme\nid: big\n", "      total:\n        gte: 1000\n")
	edited := strings.Replace(yaml.stdout, "gte: 1000", "gte: 5000", 1)
	edited = strings.Replace(edited, "    id: t1\n", "", 1) // parts need no id
	edited = strings.Replace(edited, "recipients:\n", "  - action_type: webhook\n    action_config:\n      url: https://example.com/hook\n      secret: whsec_cm93YmVsbC1leGFtcGxlLXNlY3JldC0zMi1ieXRlcyE=\nrecipients:\n", 1)
	file := write(t, "big.yaml", edited)

	wants(t, run("discard", "big", "--yes"), 1, "workflow big has no draft")
	wants(t, run("draft", "big", file, "--actor", "ben"), 0, "big has a draft. See what it would change: rowbell workflow diff big\n")
	wants(t, run("draft", "big", file, "--actor", "cid"), 1, "workflow big has a draft of ben, which this would overwrite")
	wants(t, run("draft", "big", file, "--actor", "ben"), 0)
	if got := versionsOf(t, db, "big"); got != "1 active" {
		t.Errorf("a draft made versions: %s", got)
	}
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.workflow_definition where draft::text like '%whsec_%'`); n != 0 {
		t.Error("the secret stands in the draft")
	}
	wants(t, run("list"), 0, "big  acme    Big orders  active  1        yes    not judged yet")
	wants(t, run("show", "big"), 0, "Does      When an order is updated and its total is at least 1000", "Draft     of ben, made from version 1; see rowbell workflow diff big")
	diff := run("diff", "big")
	wants(t, diff, 0, "From version 1 to draft:\n  - trigger changed: ", "  - action added: send a webhook to example.com\n", "--- version 1\n+++ draft\n", "-        gte: 1000\n+        gte: 5000\n", "+        ref: ")
	wants(t, run("diff", "big", "draft", "1", "--yaml"), 0, "--- draft\n+++ version 1\n")

	wants(t, run("activate", "big", "--comment", strings.Repeat("x", 1001)), 1, "the comment is 1001 characters long; shorten it to 1000")
	wants(t, run("activate", "big", "--actor", "dora", "--comment", " Fewer of them:\nthe team is small "), 0, "big is active: its draft is version 2.\n")
	if got := versionsOf(t, db, "big"); got != "1 active, 2 active" {
		t.Errorf("versions: %s", got)
	}
	if got := db.QueryString(t, `select string_agg(id, ' ' order by id) from rowbell.workflow_trigger`); got != "t1" {
		t.Errorf("the trigger has id %s, want t1 still", got)
	}
	if got := db.QueryString(t, `select created_by || ' ' || (document #>> '{triggers,0,field_conditions,total,gte}') from rowbell.workflow_version where version = 2`); got != "dora 5000" {
		t.Errorf("version 2 is %s", got)
	}
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.workflow_definition where draft is not null`); n != 0 {
		t.Error("the draft is still there")
	}
	if got := db.QueryString(t, `select plain from rowbell.secret s join rowbell.workflow_action a on a.action_config #>> '{secret,ref}' = s.name and s.tenant_id = 'acme'`); !strings.HasPrefix(got, "whsec_") {
		t.Errorf("the secret is %s", got)
	}

	wants(t, run("restore", "big", "1", "--actor", "eve"), 0, "Version 1 is the draft of big now")
	wants(t, run("restore", "big", "1"), 0, "The draft of big is what version 1 was already.")
	wants(t, run("restore", "big", "2"), 1, "workflow big has a draft of eve, which this would overwrite", "--force")
	wants(t, run("restore", "big", "2", "--force"), 0)
	wants(t, run("discard", "big", "--yes"), 0, "big has no draft any more.")
	wants(t, run("restore", "big", "1"), 0)
	wants(t, run("activate", "big"), 0, "its draft is version 3.")
	if got := db.QueryString(t, `select string_agg(distinct (document - 'status')::text, ' ') from rowbell.workflow_version where version in (1, 3)`); strings.Count(got, `"name"`) != 1 {
		t.Errorf("version 3 is not what version 1 was: %s", got)
	}
	wants(t, run("versions", "big"), 0, "VERSION  STATUS  WHEN", "trigger changed: when an order is updated, now if its total is at least 1000", "dora (", "Fewer of them: the team is small\n", "created")

	wants(t, run("deactivate", "big", "--actor", "fay"), 0, "big is inactive, as version 4.")
	wants(t, run("deactivate", "big"), 0, "big is inactive already.")
	wants(t, run("activate", "big"), 0, "big is active, as version 5.")
	wants(t, run("activate", "big"), 0, "big is active already, and has no draft.")
	audit := db.QueryString(t, `select string_agg(actor || ' ' || action, ', ' order by id) from rowbell.audit_log where actor in ('ben', 'dora', 'eve', 'fay') and object_id = 'big' and tenant_id = 'acme'`)
	if audit != "ben workflow.draft, ben workflow.draft, dora workflow.activate, eve workflow.restore, fay workflow.deactivate" {
		t.Errorf("audit_log has %s", audit)
	}
}

func TestWorkflowConflict(t *testing.T) {
	t.Parallel()
	db, run := shop(t)
	draft := write(t, "d.yaml", "name: Bigger\ntriggers:\n  - {entity_type: orders, operation: update}\nactions:\n  - {action_type: log}\n")
	wants(t, run("draft", "big", draft), 0)
	wants(t, run("deactivate", "big"), 0) // its status alone is no conflict
	wants(t, run("activate", "big"), 0, "its draft is version 3")
	wants(t, run("draft", "big", draft), 0)
	db.Exec(t, `update rowbell.workflow_trigger set priority = 7`)
	r := run("activate", "big")
	wants(t, r, 1, "the draft of workflow big was made from version 3, and version 4 is live", "rowbell workflow diff big 3 4", "--force")
	wants(t, run("activate", "big", "--force"), 0, "its draft is version 5")
	wants(t, run("diff", "big", "4", "5"), 0, "changed from 7 to 100")

	// A part of another workflow is not taken over.
	db.Exec(t, `insert into rowbell.workflow_definition (id) values ('other'); insert into rowbell.workflow_action (id, workflow_id, action_type) values ('x', 'other', 'log')`)
	wants(t, run("draft", "big", write(t, "d.yaml", "triggers:\n  - {entity_type: orders, operation: update}\nactions:\n  - {action_type: log, id: x}\n"), "--force"), 0)
	wants(t, run("activate", "big"), 1, "action x is a part of another workflow")
	if got := versionsOf(t, db, "big"); !strings.HasSuffix(got, "5 active") {
		t.Errorf("versions: %s", got)
	}
	wants(t, run("draft", "big", write(t, "d.yaml", "id: small\n")), 1, "d.yaml:1:5: it is workflow small, not big")
	wants(t, run("draft", "big", write(t, "d.yaml", "tenant_id: zeta\n")), 1, `d.yaml:1:12: the tenant of workflow big is "acme" and can't be changed`)
	wants(t, run("draft", "big", write(t, "d.yaml", "nmae: x\n")), 1, `d.yaml:1:1: unknown key "nmae" in a workflow; did you mean "name"?`)
	wants(t, run("draft", "big", "/nowhere.yaml"), 1, "can't read /nowhere.yaml: no such file or directory")
	for _, args := range [][]string{{"show", "none"}, {"versions", "none"}, {"diff", "none"}, {"restore", "none", "1"}, {"activate", "none"}, {"deactivate", "none"}, {"discard", "none", "--yes"}, {"check", "none"}} {
		wants(t, run(args...), 1, "there is no workflow none")
	}
	wants(t, run("diff", "big", "1", "99"), 1, "workflow big has no version 99; it has 1 to 5")
	wants(t, run("restore", "big", "99"), 1, "workflow big has no version 99; it has 1 to 5")
	db.Exec(t, `delete from rowbell.workflow_definition where id = 'big'`)
	wants(t, run("show", "big"), 1, "workflow big was deleted, as its version 6 says")
	wants(t, run("versions", "big"), 0, "6        deleted")
	wants(t, run("diff", "big", "5", "6"), 0, "deleted")
}

// What the worker would find broken is not activated; what it would run is.
func TestWorkflowBlocked(t *testing.T) {
	t.Parallel()
	db, run := shop(t)
	broken := `name: Wrong
tenant_id: acme
triggers:
  - entity_type: orders
    operation: update
    field_conditions:
      stauts: x
conditions:
  - condition_type: expression
    condition_config: {expression: "new.totl > 1"}
actions:
  - action_type: notification
    action_config: {title: "{{ new.nmae }}"}
recipients:
  - {recipient_type: attribute, recipient_id: onwer}
`
	file := write(t, "wrong.yaml", broken)
	problems := []string{
		file + `:7:7: error: trigger 1 (orders update), field_conditions.stauts: table orders has no column stauts; did you mean "status"?`,
		file + `:10:36: error: condition 1 (expression), line 1, column 5: table orders has no column totl; did you mean "total"?`,
		file + `:15:5: error: action 1 (notification), recipient 1: table orders has no column onwer; did you mean "owner"?`,
		file + `:12:5: warning: action 1 (notification), title: table orders has no column nmae; did you mean "note"?`,
	}
	wants(t, run("check", file), 1, append(problems, "wrong.yaml: broken\n")...)
	wants(t, run("draft", "big", file), 0, problems...)
	r := run("activate", "big")
	wants(t, r, 1, "rowbell: workflow big is not activated: 3 errors are to mend first\n", "  error: condition 1 (expression)")
	if r.stdout != "" {
		t.Errorf("stdout has %q", r.stdout)
	}
	if got := versionsOf(t, db, "big"); got != "1 active" {
		t.Errorf("versions: %s", got)
	}
	wants(t, run("check", "big"), 1, "big version 1: ok\n", "big draft: broken\n")
	wants(t, run("check"), 1, "2 definitions checked, 1 with errors.")
	var reports []struct {
		ID, Of, Verdict  string
		Errors, Warnings []struct{ Where, Message, Mend string }
	}
	r = run("check", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &reports); err != nil || r.code != 1 || len(reports) != 2 || reports[1].Of != "draft" || len(reports[1].Errors) != 3 || len(reports[0].Errors) != 0 {
		t.Errorf("exit code %d, %v: %s", r.code, err, r.stdout)
	}

	// Warnings don't block.
	fine := strings.NewReplacer("stauts", "status", "totl", "total", "onwer", "owner").Replace(broken)
	wants(t, run("draft", "big", write(t, "fine.yaml", fine)), 0, "warning: action 1 (notification), title")
	wants(t, run("activate", "big"), 0, "big is active: its draft is version 2.", "warning: ")
	wants(t, run("check"), 0, "big version 2: ok, with 1 warning")

	// A table that isn't captured yet is captured by the worker; one that isn't there can't be.
	wants(t, run("check", write(t, "c.json", `{"tenant_id": "acme", "triggers": [{"entity_type": "customers", "operation": "create"}], "actions": [{"action_type": "log"}]}`)), 0,
		"c.json: not_captured", "CALL rowbell.capture('customers')")
	wants(t, run("check", write(t, "c.json", `{"triggers": [{"entity_type": "custumers", "operation": "create"}], "actions": [{"action_type": "log"}]}`)), 1,
		`trigger 1 (custumers create): there is no table custumers; did you mean "customers"?`)
	wants(t, run("check", write(t, "c.yaml", "triggers:\n  - {entity_type: orders, operation: create}\n")), 1, "c.yaml: incomplete", "has no action")
	wants(t, run("check", "big", "--tenant", "acme"), 2, "leave big out")
	db.Exec(t, `alter table orders rename column owner to seller`)
	wants(t, run("check", "big"), 1, "action 1 (notification), recipient 1: table orders has no column owner")
	wants(t, run("deactivate", "big"), 0)
	wants(t, run("activate", "big"), 1, "1 error is to mend first")
	db.Exec(t, `update rowbell.workflow_definition set draft = '{"nmae": "x"}'`)
	wants(t, run("check", "big"), 1, "big draft: broken", `unknown key "nmae"`)
	wants(t, run("show", "big"), 0, `can't be read: the draft of workflow big:1:2: unknown key "nmae" in a workflow`)
	wants(t, run("activate", "big"), 1, `unknown key "nmae"`)
	wants(t, run("discard", "big", "--yes"), 0)
	db.Exec(t, `update rowbell.workflow_definition set draft = '{"name": "Short"}'`)
	wants(t, run("diff", "big"), 0, "renamed from “Wrong” to “Short”")
}

func TestWorkflowDepends(t *testing.T) {
	t.Parallel()
	db, run := shop(t)
	db.Exec(t, `
		insert into rowbell.workflow_definition (id, tenant_id, status, draft) values ('odd', null, 'inactive', null),
			('late', 'acme', 'draft', '{"settings": {"tests": [{"name": "one", "change": {"new": {"secret_note": "x"}}, "expect": {"fires": true}}]}, "triggers": [{"entity_type": "orders", "operation": "create", "field_conditions": {"note": "x"}}]}');
		alter table orders replica identity full;
		alter table orders add column sent_at timestamptz, add column priority int, add column region text, add column "a.b" int;
		insert into rowbell.workflow_definition (id, tenant_id, status, settings) values ('watch', 'acme', 'inactive', '{"firing": "becomes_true"}'), ('event', null, 'active', '{}');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values
			('watch', 'orders', 'update', '{"any_changed": ["priority"]}'), ('event', 'domain:orders', 'create', '{"status": "x"}');
		insert into rowbell.workflow_condition (workflow_id, condition_type, condition_config) values ('watch', 'time_based', '{"column": "sent_at", "within": "3d"}');
		insert into rowbell.workflow_action (workflow_id, action_type, action_config) values
			('watch', 'notification', '{"title": "{% if changed contains \"total\" %}x{% endif %}"}'), ('event', 'log', '{}');
		insert into rowbell.workflow_action (workflow_id, action_type, action_config, "order") values ('watch', 'log', '{"only_if": [{"condition_type": "field_value", "condition_config": {"region": "eu"}}]}', 5);
		insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ('watch', 'user', 'ann');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ('odd', 'orders', 'create', '{"nothing": 1}');
		insert into rowbell.workflow_action (workflow_id, action_type) values ('odd', 'log'), ('late', 'log')`)
	for what, c := range map[string][]string{
		"orders.status":        {"big (Big orders) of tenant acme, active, version 1\n  condition  trigger 1 (orders update), field_conditions  new.status\n", "odd, inactive, version 1\n  can't be judged: trigger 1 (orders create): field_conditions.nothing: table orders has no column nothing"},
		"orders.note":          {"condition  condition 1 (expression)  new.note", "late of tenant acme, draft, draft\n  condition  trigger 1 (orders create), field_conditions  new.note"},
		"orders.owner":         {"recipient  action 1 (notification), recipient 1  owner"},
		"orders.id":            {"key column  trigger 1 (orders update)       id", "template    action 1 (notification), title  new.id"},
		"orders.tenant_id":     {"tenant column  trigger 1 (orders update)  tenant_id"},
		"orders.sent_at":       {"watch of tenant acme, inactive, version 1\n  condition  condition 1 (time_based)  new.sent_at\n"},
		"orders.secret_note":   {"late of tenant acme, draft, draft\n  test  test \"one\"  secret_note\n"},
		"orders.priority":      {"watch of tenant acme, inactive, version 1\n  any_changed  trigger 1 (orders update), field_conditions.any_changed  changed.priority\n"},
		"orders.region":        {"watch of tenant acme, inactive, version 1\n  condition  action 2 (log), only_if, condition 1 (field_value)  new.region\n"},
		"orders.total":         {"template  action 1 (notification), title  changed.total"},
		"orders":               {"trigger        trigger 1 (orders update)\n", "new.total"},
		"public.orders":        {"trigger 1 (orders update)"},
		"orders.a.b":           {"odd, inactive, version 1\n  can't be judged"},
		`"orders"."note"`:      {"condition  condition 1 (expression)  new.note"},
		`public."orders".note`: {"condition  condition 1 (expression)  new.note"},
		"customers":            {"No workflow depends on customers.\n"},
		"customers.email":      {"No workflow depends on customers.email.\n"},
	} {
		wants(t, run("depends", what), 0, c...)
	}
	wants(t, run("depends", "ordes"), 1, `there is no table ordes; did you mean "orders"?`)
	wants(t, run("depends", "ordes.status"), 1, `there is no table ordes; did you mean "orders"?`)
	wants(t, run("depends", "orders.a.c"), 1, `table orders has no column a.c; did you mean "a.b"?`)
	wants(t, run("depends", "orders.stauts"), 1, `table orders has no column stauts; did you mean "status"?`)
	var answer struct {
		Table, Column string
		Workflows     []struct {
			ID   string
			Uses []struct{ How, Where, Reads string }
		}
	}
	r := run("depends", "orders.total", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &answer); err != nil || answer.Column != "total" || len(answer.Workflows) < 2 || len(answer.Workflows[1].Uses) != 2 || answer.Workflows[1].Uses[1].How != "template" {
		t.Errorf("%v: %s", err, r.stdout)
	}
	db.Exec(t, `drop table orders`)
	wants(t, run("depends", "orders"), 0, "can't be judged: table orders was captured, and is not there any more")
}

func TestWorkflowLists(t *testing.T) {
	t.Parallel()
	db, run := shop(t)
	db.Exec(t, `insert into rowbell.workflow_definition (id, name) values ('ops', 'Für alle');
		insert into rowbell.workflow_health (workflow_id, version, tenant_id, verdict, message, warnings)
			values ('big', 1, 'acme', 'broken', E'field_conditions: no\nsecond line', '{careful}')`)
	wants(t, run("list"), 0, "ID   TENANT  NAME        STATUS  VERSION  DRAFT  HEALTH\nops  -       Für alle    draft   1        -      -\nbig  acme    Big orders  active  1        -      broken: field_conditions: no …\n")
	if r := run("list", "--tenant", "none"); strings.Contains(r.stdout, "big") || !strings.Contains(r.stdout, "ops") {
		t.Error(r.stdout)
	}
	if r := run("list", "--tenant", "acme", "--status", "active"); !strings.Contains(r.stdout, "big") || strings.Contains(r.stdout, "ops") {
		t.Error(r.stdout)
	}
	wants(t, run("list", "--status", "inactive"), 0, "There are no such workflows.")
	wants(t, run("list", "--status", "actve"), 2, `there is no status "actve"; it is draft, active or inactive`)
	wants(t, run("show", "big"), 0, "Does      When an order is updated", "Health    broken: field_conditions: no …", "          second line", "Warning   careful", "Draft     none", "Made", "by ann", "\nname: Big orders\n")
	for _, args := range [][]string{{"list", "--json"}, {"show", "big", "--json"}, {"versions", "big", "--json"}} {
		if r := run(args...); !json.Valid([]byte(r.stdout)) || r.code != 0 {
			t.Errorf("%v: %d %s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	wants(t, run("diff", "big"), 1, "workflow big has one version and no draft, so there is nothing to compare")
	wants(t, run("show", "big", "--draft"), 1, "workflow big has no draft")
}

func TestWorkflowCalledWrongly(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"rowbell: \"lst\" is not a command of rowbell workflow. Did you mean list?\nSee rowbell workflow --help\n":                 {"lst"},
		"rowbell: a command must stand before --yaml.\nSee rowbell workflow --help\n":                                              {"--yaml", "list"},
		"rowbell: ID is missing. Write: rowbell workflow show ID\nSee rowbell workflow show --help\n":                              {"show"},
		"rowbell: VERSION is missing. Write: rowbell workflow restore ID VERSION\nSee rowbell workflow restore --help\n":           {"restore", "a"},
		"rowbell: \"4\" is one argument too many. Write: rowbell workflow diff ID [FROM [TO]]\nSee rowbell workflow diff --help\n": {"diff", "a", "1", "2", "4"},
		"rowbell: \"x\" is no version; give its number, live, or draft\nSee rowbell workflow diff --help\n":                        {"diff", "a", "x"},
		"rowbell: \"0\" is not the number of a version\nSee rowbell workflow restore --help\n":                                     {"restore", "a", "0"},
		"{\n  \"error\": \"either --yaml or --output, not both\",\n  \"mend\": \"See rowbell workflow show --help\"\n}\n":          {"show", "a", "--yaml", "--json"},
		"rowbell: unknown option --forse. Did you mean --force?\nSee rowbell workflow restore --help\n":                            {"restore", "a", "1", "--forse"},
	} {
		if r := rowbell(t, nil, append([]string{"workflow"}, args...)...); r.code != 2 || r.stderr != want {
			t.Errorf("%v: exit code %d, %s", args, r.code, r.stderr)
		}
	}
	if r := rowbell(t, nil, "workflow"); r.code != 2 || !strings.Contains(r.stdout, "depends TABLE[.COLUMN]") {
		t.Errorf("exit code %d, %s", r.code, r.stdout)
	}
}

func TestWorkflowHelp(t *testing.T) {
	t.Parallel()
	for _, sub := range workflowCommand().sub {
		r := rowbell(t, nil, "help", "workflow", sub.name)
		if again := rowbell(t, nil, "workflow", sub.name, "--help"); r != again || r.code != 0 {
			t.Errorf("exit code %d, and %d with --help:\n%s", r.code, again.code, again.stdout)
		}
		if !strings.HasPrefix(r.stdout, sub.short+"\n\nUsage: rowbell workflow "+sub.name) {
			t.Error(r.stdout)
		}
		for i, line := range strings.Split(r.stdout, "\n") {
			if len([]rune(line)) > 100 {
				t.Errorf("rowbell workflow %s --help, line %d is wider than 100 columns", sub.name, i+1)
			}
		}
	}
}

// A draft from standard input, and what is shown put again, change nothing.
func TestWorkflowStdin(t *testing.T) {
	t.Parallel()
	db, run := shop(t)
	yaml := run("show", "big", "--yaml")
	cmd := program(t, []string{"ROWBELL_SOURCE_URL=" + db.URL}, "workflow", "draft", "big", "-")
	cmd.Stdin = strings.NewReader(yaml.stdout)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err, stderr.String())
	}
	wants(t, run("diff", "big"), 0, "Nothing is different between version 1 and draft.")
	wants(t, run("activate", "big"), 0)
	if got := versionsOf(t, db, "big"); got != "1 active" {
		t.Errorf("nothing changed, and there are versions %s", got)
	}
}
