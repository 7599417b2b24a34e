package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

const urgentYAML = `# Whoever packs it must know.
id: urgent
name: Urgent order
status: active
tenant_id: acme
triggers:
  - entity_type: orders
    operation: update
    field_conditions:
      status: approved
      total: {gte: 5e3}
actions:
  - action_type: webhook
    action_config:
      url: https://example.com/hook
      secret: whsec_cm93YmVsbC1leGFtcGxlLXNlY3JldC0zMi1ieXRlcyE=
  - action_type: notification
    action_config:
      title: "Order {{ new.id }}: {{ new.total }}"
      body: "{% render 'sign-off' %}"
recipients:
  - {recipient_type: attribute, recipient_id: owner}

# What it is to do.
tests:
  - name: A big one
    change:
      new: {id: 1, status: approved, total: 6000, owner: ann}
      old: {status: new}
    expect:
      fires: true
      recipients: [{attribute: owner, value: ann}]
      texts: [{title: "Order 1: 6000", body: {contains: acme}}]
  - name: A small one
    change:
      new: {id: 1, status: approved, total: 60}
      old: {status: new}
    expect: {fires: false, stopped_by: total gte 5000}
`

const signOffYAML = "template: sign-off\ntenant_id: acme\nsource: |\n  Yours, acme\nlocales:\n  de: |\n    Deine acme\n"

// directory writes files into a new directory.
func directory(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWorkflowApply(t *testing.T) {
	t.Parallel()
	db, run := shop(t)
	dir := directory(t, map[string]string{"urgent.yaml": urgentYAML, "templates.yaml": signOffYAML})

	wants(t, run("apply", dir), 2, "there is nobody to ask whether that is wanted")
	plan := run("apply", dir, "--dry-run")
	wants(t, plan, 3, "create template sign-off of tenant acme", "create workflow urgent (Urgent order) of tenant acme, active\n", "2 to create, 0 to change, 0 to delete, 0 as the files say.")
	if strings.Contains(plan.stdout, "whsec_") {
		t.Errorf("the plan shows the secret:\n%s", plan.stdout)
	}
	if n := pgtest.One[int](t, db, `select count(*)::int from rowbell.workflow_definition where id = 'urgent'`); n != 0 {
		t.Error("--dry-run has made it")
	}
	diff := run("diff", dir+"/")
	wants(t, diff, 3, "+name: Urgent order", `+        ref: "(a new secret)"`)
	wants(t, run("apply", dir, "--yes", "--actor", "ann"), 0, "created workflow urgent (Urgent order) of tenant acme, active, as version 1")
	if got := db.QueryString(t, `select created_by || ' ' || (document #>> '{settings,tests,1,name}') || ' ' || (document #>> '{templates,sign-off,de}') from rowbell.workflow_version where workflow_id = 'urgent'`); got != "ann A small one Deine acme\n" {
		t.Errorf("version 1 has %q", got)
	}
	for _, args := range [][]string{{"apply", dir, "--yes"}, {"apply", dir, "--dry-run"}, {"diff", dir + "/"}} {
		wants(t, run(args...), 0, "Nothing to do: all is as the files say.")
	}
	if got := versionsOf(t, db, "urgent"); got != "1 active" {
		t.Errorf("versions: %s", got)
	}
	if n := pgtest.One[int](t, db, `select count(*)::int from rowbell.secret`); n != 1 {
		t.Errorf("%d secrets", n)
	}
	wants(t, run("test", "urgent"), 0, "urgent version 1: 2 tests passed")
	wants(t, run("test", dir+"/"), 0, "2 tests passed")
	wants(t, run("test"), 0, "urgent version 1: 2 tests passed") // big has none

	// A change in words; what runs keeps its parts' ids.
	ids := db.QueryString(t, `select string_agg(id, ' ' order by id) from rowbell.workflow_action where workflow_id = 'urgent'`)
	changed := strings.Replace(urgentYAML, "5e3", "5500", 1)
	changed = strings.Replace(changed, "gte 5000", "gte 5500", 1)
	changed = strings.Replace(changed, "status: active", "status: inactive", 1)
	file := write(t, "urgent.yaml", changed)
	wants(t, run("apply", file, "--yes"), 0, "change workflow urgent (Urgent order) of tenant acme, inactive\n  - turned off\n  - test changed: “A small one”\n  - trigger changed: ", "changed workflow urgent", "as version 2")
	if got := db.QueryString(t, `select string_agg(id, ' ' order by id) from rowbell.workflow_action where workflow_id = 'urgent'`); got != ids {
		t.Errorf("actions have ids %s, want %s", got, ids)
	}
	// Another secret is a change, and the same one again isn't.
	other := strings.Replace(changed, "whsec_cm93", "whsec_cm94", 1)
	file = write(t, "urgent.yaml", other)
	r := run("diff", file)
	wants(t, r, 3, "(a new secret)")
	if strings.Contains(r.stdout, "whsec") {
		t.Error("the difference shows the secret")
	}
	wants(t, run("apply", file, "--yes"), 0, "as version 3")
	wants(t, run("apply", file, "--yes"), 0, "Nothing to do")

	// A draft stays where it is.
	wants(t, run("restore", "urgent", "1", "--actor", "ben"), 0)
	wants(t, run("apply", write(t, "urgent.yaml", changed), "--yes"), 0, "note: there is a draft beside it, which stays", "as version 4")
	wants(t, run("activate", "urgent"), 1, "the draft of workflow urgent was made from version 3, and version 4 is live")

	// What goes: only of the tenant that is named.
	wants(t, run("apply", dir, "--prune", "--yes"), 2, "it must be said whose")
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id) values ('theirs', 'globex'); insert into rowbell.template (tenant_id, name, source) values ('acme', 'unused', 'x')`)
	wants(t, run("apply", dir, "--prune", "--tenant", "acme", "--yes"), 0, "delete workflow big (Big orders) of tenant acme", "delete template unused of tenant acme", "deleted workflow big", "deleted template unused")
	if got := db.QueryString(t, `select string_agg(id, ' ' order by id) from rowbell.workflow_definition`); got != "theirs urgent" {
		t.Errorf("left are %s", got)
	}
	wants(t, run("apply", dir, "--tenant", "globex", "--dry-run"), 1, "urgent.yaml:5:12: it is of tenant acme, and --tenant says tenant globex", "templates.yaml:2:12: it is of tenant acme")
	var steps []struct{ Do, Kind, ID string }
	r = run("apply", dir, "--dry-run", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &steps); err != nil || len(steps) != 2 || steps[0].Kind != "template" || steps[1].Do != "nothing" {
		t.Errorf("%v: %s", err, r.stdout)
	}
	audit := db.QueryString(t, `select string_agg(distinct action, ' ' order by action) from rowbell.audit_log where object_id in ('urgent', 'big', 'unused', 'sign-off')`)
	if audit != "template.delete template.set workflow.apply workflow.delete workflow.restore" {
		t.Errorf("audit_log has %s", audit)
	}
}

// What would be active and is wrong keeps all of it from being applied.
func TestWorkflowApplyRefused(t *testing.T) {
	t.Parallel()
	db, run := shop(t)
	none := func() {
		t.Helper()
		if n := pgtest.One[int](t, db, `select count(*)::int from rowbell.workflow_definition where id <> 'big'`); n != 0 {
			t.Errorf("%d workflows were made", n)
		}
	}
	fine := strings.NewReplacer("id: urgent", "id: fine", "body: \"{% render 'sign-off' %}\"", "body: of acme").Replace(urgentYAML)
	broken := strings.NewReplacer("status: approved\n", "stauts: approved\n", "body: \"{% render 'sign-off' %}\"", "body: of acme").Replace(urgentYAML)
	dir := directory(t, map[string]string{"a.yaml": fine, "b.yaml": broken})
	r := run("apply", dir, "--yes")
	wants(t, r, 1, filepath.Join(dir, "b.yaml")+`:10:7: error: trigger 1 (orders update), field_conditions.stauts: table orders has no column stauts; did you mean "status"?`, "rowbell: nothing was applied: 1 workflow is to mend first")
	none()
	// A workflow that doesn't run may be unfinished.
	wants(t, run("apply", write(t, "b.yaml", strings.Replace(broken, "status: active", "status: draft", 1)), "--dry-run"), 3, "warning: trigger 1", "create workflow urgent")

	failing := strings.Replace(fine, "fires: false, stopped_by: total gte 5000", "fires: true", 1)
	file := write(t, "a.yaml", failing)
	wants(t, run("test", file), 1, "fine "+file+": 1 of 2 tests fail", `test "A small one" failed:`, "- it doesn't fire: trigger 1 (orders update): total gte 5000: new.total is 60")
	wants(t, run("apply", file, "--yes"), 1, `test "A small one" failed:`, "1 workflow is to mend first")
	none()
	wants(t, run("apply", file, "--yes", "--force"), 0, "created workflow fine")
	// So is activating.
	wants(t, run("deactivate", "fine"), 0)
	r = run("activate", "fine")
	wants(t, r, 1, "rowbell: workflow fine is not activated: 1 of its tests fails; --force activates it all the same", "it doesn't fire")
	if r.stdout != "" {
		t.Errorf("stdout has %q", r.stdout)
	}
	wants(t, run("activate", "fine", "--force"), 0, "fine is active, as version 3", `test "A small one" failed:`)

	wants(t, run("apply", write(t, "x.yaml", "name: Very Big!\n"), "--dry-run"), 1, "the workflow has no id, so nobody knows which one it is; write one, as id: very-big")
	wants(t, run("apply", write(t, "x.yaml", "id: fine\ntenant_id: globex\n"), "--dry-run"), 1, "x.yaml:1:5: there is a workflow fine, which is of tenant acme and not of tenant globex")
	wants(t, run("apply", write(t, "x.yaml", "id: a\nnmae: x\n---\nid: a\n---\nid: a\n"), "--dry-run"), 1, `x.yaml:2:1: unknown key "nmae" in a workflow`, "x.yaml:6:5: workflow a stands in ")
	wants(t, run("apply", "/nowhere/", "--dry-run"), 1, "can't read /nowhere/: no such file or directory")
	wants(t, run("apply", t.TempDir(), "--dry-run"), 1, "has no file that ends in .yaml, .yml or .json")
	wants(t, run("apply", write(t, "t.yaml", "template: a\nsource: \"{% render 'b' %}\"\n"), "--dry-run"), 1, `t.yaml:2:9: template a: line 1: there is no template "b"`)
}

// Somebody who changes a workflow between plan and deed keeps what they did.
func TestWorkflowApplyConflict(t *testing.T) {
	t.Parallel()
	db, run := shop(t)
	wants(t, run("apply", directory(t, map[string]string{"urgent.yaml": urgentYAML, "templates.yaml": signOffYAML}), "--yes"), 0)
	// Holding the row makes apply wait no longer than two seconds, and then say so.
	conn := db.Conn(t)
	if _, err := conn.Exec(t.Context(), `begin; select from rowbell.workflow_definition where id = 'urgent' for update`); err != nil {
		t.Fatal(err)
	}
	wants(t, run("apply", write(t, "urgent.yaml", strings.Replace(urgentYAML, "Urgent order", "Urgent", 1)), "--yes"), 1, "workflow.apply of workflow urgent")
	if _, err := conn.Exec(t.Context(), `rollback`); err != nil {
		t.Fatal(err)
	}
	if got := versionsOf(t, db, "urgent"); got != "1 active" {
		t.Errorf("versions: %s", got)
	}
}

func TestWorkflowExportImport(t *testing.T) {
	t.Parallel()
	db, run := shop(t)
	wants(t, run("apply", directory(t, map[string]string{"urgent.yaml": urgentYAML, "templates.yaml": signOffYAML}), "--yes"), 0)
	db.Exec(t, `insert into rowbell.template (name, source) values ('amount', '{{ value }}'), ('other', 'x');
		update rowbell.workflow_action set action_config = action_config || '{"title": "{% render ''amount'', value: new.total %}"}' where id = 'a1'`)

	dir := filepath.Join(t.TempDir(), "out")
	r := run("export", "--tenant", "acme", "--into", dir)
	wants(t, r, 0, "3 files written into "+dir+", 0 as they were.", "Not exported, since they are the operators': templates amount.")
	wants(t, run("export", "--tenant", "acme", "--into", dir), 0, "0 files written into "+dir+", 3 as they were.")
	text, err := os.ReadFile(filepath.Join(dir, "urgent.yaml"))
	if err != nil || strings.Contains(string(text), "whsec_") || !strings.Contains(string(text), "secret:\n        ref: ") || !strings.Contains(string(text), "tests:\n  - name: A big one\n    change:\n      new:\n") {
		t.Errorf("%v: exported is\n%s", err, text)
	}
	if err := os.WriteFile(filepath.Join(dir, "urgent.yaml"), append([]byte("# mine\n"), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	wants(t, run("export", "urgent", "--into", dir), 1, dir+" holds other text under urgent.yaml; --overwrite replaces it, comments too")
	wants(t, run("apply", dir, "--dry-run"), 0, "Nothing to do")
	wants(t, run("export", "none"), 1, "there is no workflow none")
	wants(t, run("export", "big", "--tenant", "globex"), 1, "workflow big is of tenant acme")

	// Nothing is overwritten, and nothing is turned on.
	wants(t, run("import", dir), 1, "there is a workflow urgent already; --replace overwrites it, --new-ids puts this one beside it", "there is a workflow big already")
	if got := versionsOf(t, db, "urgent"); got != "1 active" {
		t.Errorf("versions: %s", got)
	}
	wants(t, run("import", dir, "--tenant", "globex"), 1, "there is a workflow big, which is of tenant acme and not of tenant globex", "--new-ids gives it an id of its own")
	wants(t, run("import", dir, "--tenant", "globex", "--new-ids"), 0, "of tenant globex, inactive, as version 1")
	if got := db.QueryString(t, `select string_agg(name || ' ' || status, ', ' order by name) from rowbell.workflow_definition where tenant_id = 'globex'`); got != "Big orders inactive, Urgent order inactive" {
		t.Errorf("globex has %s", got)
	}
	if n := pgtest.One[int](t, db, `select count(*)::int from rowbell.template where tenant_id = 'globex'`); n != 2 {
		t.Errorf("globex has %d templates", n)
	}
	wants(t, run("import", filepath.Join(dir, "urgent.yaml"), "--replace"), 0, "turned off", "as version 2")
	if got := versionsOf(t, db, "urgent"); got != "1 active, 2 inactive" {
		t.Errorf("versions: %s", got)
	}

	// All of it, through a pipe, into an empty installation.
	all := run("export")
	wants(t, all, 0, "\n---\n")
	other, there := shop(t)
	other.Exec(t, `delete from rowbell.workflow_definition`)
	wants(t, there("import", write(t, "all.yaml", all.stdout)), 0, "created template amount of the operators")
	if again := there("export"); again.stdout != strings.ReplaceAll(all.stdout, "status: active", "status: inactive") {
		t.Errorf("exported there it is\n%s\nand was\n%s", again.stdout, all.stdout)
	}
}

func TestWorkflowValidate(t *testing.T) {
	t.Parallel()
	offline := func(args ...string) result {
		return rowbell(t, nil, append([]string{"workflow"}, args...)...)
	}
	dir := directory(t, map[string]string{"urgent.yaml": urgentYAML, "templates.yaml": signOffYAML, "workflow.schema.json": "{}", "notes.txt": "x"})
	wants(t, offline("validate", dir), 0, "urgent "+filepath.Join(dir, "urgent.yaml")+": ok\n", "template sign-off ", "there was no database to ask")
	bad := strings.NewReplacer("gte: 5e3", "gt: 5, above: 3", "secret: wh", "secrett: wh").Replace(urgentYAML)
	file := write(t, "bad.yaml", bad)
	wants(t, offline("validate", file), 1, file+`:11:22: error: trigger 1 (orders update), field_conditions.total.above: there is no operator "above"`, `action 1 (webhook): secrett: there is no such key; did you mean "secret"?`)
	wants(t, offline("test", dir+"/"), 1, "tests need to know the columns of the tables, and there is no database to ask: set ROWBELL_SOURCE_URL")
	wants(t, offline("validate", write(t, "t.yaml", "template: a\nsource: \"{% if %}\"\n")), 1, "t.yaml:2:9: template a: ")
	wants(t, offline("validate", dir, "--config", "/nowhere.yaml"), 2, "/nowhere.yaml")
	schema := offline("schema")
	published, err := os.ReadFile("../../docs/workflow.schema.json")
	if err != nil || schema.code != 0 || schema.stdout != string(published) {
		t.Errorf("exit code %d, %v: what it prints isn't docs/workflow.schema.json", schema.code, err)
	}

	_, run := shop(t)
	wants(t, run("validate", dir), 0, "urgent.yaml: ok\n")
	wrong := write(t, "wrong.yaml", strings.Replace(urgentYAML, "status: approved\n", "stauts: approved\n", 1))
	wants(t, run("validate", wrong, filepath.Join(dir, "templates.yaml")), 1, wrong+":10:7: error: ")
	wants(t, run("validate", wrong, filepath.Join(dir, "templates.yaml"), "--offline"), 0, "ok\n")
	wants(t, run("validate", wrong, "--offline"), 0, "warning: action 2 (notification): body: line 1: there is no template")
	wants(t, run("validate"), 2, "FILE|DIR is missing. Write: rowbell workflow validate FILE|DIR…")
}

// A recorded event becomes a test, in a draft and in a file.
func TestWorkflowRecordTest(t *testing.T) {
	t.Parallel()
	db, run := shop(t)
	id := recordedOrder(t, db)
	wants(t, run("test", "big", "--record", id, "--actor", "ann"), 0, `The draft of big has the test "update of orders 1 (event `+id+`)" now. It expects what is the case: it fires.`)
	wants(t, run("test", "big", "--record", id, "--actor", "ann"), 1, "workflow big has a test called")
	wants(t, run("test", "big", "--record", id, "--actor", "ben"), 1, "workflow big has a draft of ann, which this would change")
	wants(t, run("test", "big"), 0, "big version 1: no tests\nbig draft: 1 test passed\n")
	wants(t, run("diff", "big"), 0, "test added: “update of orders 1")
	wants(t, run("activate", "big"), 0, "its draft is version 2")

	file := write(t, "big.yaml", "# mine\nid: big\ntriggers:   # why\n  - {entity_type: orders, operation: update, field_conditions: {total: {gt: 9999}}}\nactions:\n- action_type: log\n")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := run("test", file, "--record", id)
	wants(t, r, 0, "It doesn't fire: trigger 1 (orders update): total gt 9999", "tests:\n  - name: ")
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("%v: the file was written:\n%s", err, after)
	}
	wants(t, run("test", file, "--record", id, "--write"), 0, "big.yaml has the test")
	after, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(after), string(before)) || string(after) != string(before)+r.stdout {
		t.Errorf("%v: the file is\n%s", err, after)
	}
	wants(t, run("test", file), 0, "1 test passed")
	wants(t, run("test", "big", "--record", "01ARZ3NDEKTSV4RRFFQ69G5FAV"), 1, "event 01ARZ3NDEKTSV4RRFFQ69G5FAV is not recorded")
	for _, args := range [][]string{{"big", file}, {"big", "other"}, {"big", "--write"}, {"--record", id}, {"big", "--tenant", "acme"}} {
		wants(t, run(append([]string{"test"}, args...)...), 2, "See rowbell workflow test --help")
	}
}

// recordedOrder lets a worker record an update that workflow big matches, and returns the
// event's id.
func recordedOrder(t *testing.T, db *pgtest.Database) string {
	t.Helper()
	worker := program(t, []string{"ROWBELL_SOURCE_URL=" + db.URL, "ROWBELL_SLOT=" + db.Name, "ROWBELL_LISTEN=127.0.0.1:0", "ROWBELL_OPS_LISTEN=127.0.0.1:0", "ROWBELL_DELIVERY=hold"}, "run")
	worker.Stderr = t.Output()
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = worker.Process.Signal(syscall.SIGTERM)
		_ = worker.Wait()
	}()
	pgtest.Eventually(t, pgtest.Patience, "the definitions to be read", func() bool {
		return pgtest.One[bool](t, db, `select exists (select from pg_replication_slots where slot_name = $1 and active) and exists (select from rowbell.applied where kind = 'workflow')`, db.Name)
	})
	db.Exec(t, `insert into orders (id, tenant_id, status, total, note, owner) values (1, 'acme', 'new', 2000, '', 'ann')`)
	db.Exec(t, `update orders set status = 'approved'`)
	id := ""
	pgtest.Eventually(t, pgtest.Patience, "the update to be recorded", func() bool {
		ids := pgtest.Query[string](t, db, `select id from rowbell.workflow_event where operation = 'update'`)
		if len(ids) > 0 {
			id = ids[0]
		}
		return id != ""
	})
	return id
}
