package main

import (
	"os"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

const serverDefinitions = `
begin;
select rowbell.set_actor('ann');
insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('big', 'acme', 'Big orders', 'active'), ('theirs', 'globex', 'Theirs', 'draft'), ('ours', null, 'Ours', 'inactive');
insert into rowbell.workflow_trigger (id, workflow_id, entity_type, operation, field_conditions) values
	('t1', 'big', 'orders', 'update', '{"total": {"gte": 1000}, "status": "approved"}'),
	('t2', 'theirs', 'orders', 'create', '{"sttaus": "new"}'), ('t3', 'ours', 'orders', 'delete', '{}');
insert into rowbell.workflow_condition (id, workflow_id, condition_type, condition_config) values ('c1', 'big', 'expression', '{"expression": "new.note != \"test\""}');
insert into rowbell.workflow_action (id, workflow_id, action_type, action_config, "order") values
	('a1', 'big', 'notification', '{"title": "Order {{ new.id }}: {{ new.total }}", "body": "{% render ''footer'' %}"}', 0), ('a2', 'big', 'log', '{}', 1),
	('a3', 'theirs', 'log', '{}', 0), ('a4', 'ours', 'log', '{}', 0);
insert into rowbell.workflow_recipient (id, workflow_id, recipient_type, recipient_id) values ('r1', 'big', 'attribute', 'owner');
commit`

// workflowTwins have workflows and a recorded event.
func workflowTwins(t *testing.T) (w *twins, events map[*pgtest.Database]string) {
	t.Helper()
	w = newTwins(t, func(db *pgtest.Database, env []string) {
		db.Exec(t, `create table orders (id bigint primary key, tenant_id text not null, status text, total numeric, note text, owner text);
			alter table orders replica identity full;
			select rowbell.ensure_publications('rowbell')`)
		db.Exec(t, `call rowbell.capture('orders')`)
		wants(t, rowbell(t, env, "template", "set", "footer", write(t, "footer.liquid", "Yours, {{ workflow.name }}")), 0)
		db.Exec(t, serverDefinitions)
		db.Exec(t, `insert into orders values (1, 'acme', 'new', 10, 'x', 'ann'), (42, 'acme', 'new', 5000.50, 'x', 'ann')`)
	}, "ROWBELL_DELIVERY=hold")
	events = make(map[*pgtest.Database]string)
	w.each(func(db *pgtest.Database) {
		db.Exec(t, `update orders set status = 'approved' where id = 42`)
		pgtest.Eventually(t, pgtest.Patience, "the execution to be recorded", func() bool {
			return pgtest.One[bool](t, db, `select count(*) = 1 from rowbell.workflow_log`)
		})
		events[db] = pgtest.One[string](t, db, `select trigger_event_id from rowbell.workflow_log`)
		pgtest.Eventually(t, pgtest.Patience, "the workflow to be judged", func() bool {
			return pgtest.One[bool](t, db, `select count(*) = 1 from rowbell.workflow_health where verdict = 'ok'`)
		})
	})
	return w, events
}

// on runs a command in which OWN stands for something that is another one on each.
func (w *twins) on(t *testing.T, code int, own map[*pgtest.Database]string, line []string, texts ...string) {
	t.Helper()
	w.sameOf(t, code, func(db *pgtest.Database) []string {
		args := make([]string, len(line))
		for i, word := range line {
			args[i] = strings.ReplaceAll(word, "OWN", own[db])
		}
		return args
	}, texts...)
}

// Workflows are looked at, drafted, tried, published and turned off.
func TestServerWorkflows(t *testing.T) {
	t.Parallel()
	w, events := workflowTwins(t)
	run := func(code int, line string, texts ...string) result {
		t.Helper()
		return w.same(t, code, append([]string{"workflow"}, strings.Fields(line)...), texts...)
	}
	run(0, "list", "big     acme    Big orders  active    1        -      ok")
	run(0, "list --tenant acme --json", `"id": "big"`)
	run(0, "list --tenant none", "ours")
	run(0, "list --status draft --output yaml", "id: theirs")
	run(0, "list --tenant nobody", "There are no such workflows.")
	run(2, "list --status lost", "there is no status")
	run(0, "statistics big theirs none", "None of them has a run that has ended.")
	run(0, "statistics big --json", "[]")
	run(2, "statistics big --since soon", "--since wants a time")
	run(0, "show big", "Does      When an order is updated")
	run(0, "show big --yaml", "gte: 1000")
	run(0, "show big --json", `"templates": {`)
	run(1, "show bgi", "there is no workflow bgi")
	run(1, "show big --draft", "workflow big has no draft")
	run(1, "check", "theirs version 1: broken")
	run(0, "check big", "big version 1: ok")
	run(1, "check theirs --json", `"verdict": "broken"`)
	run(1, "check --status draft", "theirs version 1: broken")
	run(1, "check bgi", "there is no workflow bgi")
	run(0, "versions big", "created")
	run(0, "versions big --json", `"version": 1`)
	run(1, "versions bgi", "bgi")
	run(1, "diff big", "nothing to compare")
	run(0, "depends orders.status", "condition  trigger 1 (orders update), field_conditions")
	run(0, "depends orders --output yaml", "workflow")
	run(1, "depends orders.stauts", `did you mean "status"?`)

	yaml := rowbell(t, w.byServer, "workflow", "show", "big", "--yaml").stdout
	edited := write(t, "big.yaml", strings.Replace(yaml, "gte: 1000", "gte: 5000", 1))
	wrong := write(t, "wrong.yaml", strings.Replace(yaml, "      status: approved", "      stauts: approved", 1))
	other := write(t, "other.yaml", strings.Replace(yaml, "tenant_id: acme", "tenant_id: globex", 1))
	named := write(t, "named.yaml", strings.Replace(yaml, "id: big", "id: bigger", 1))
	unread := write(t, "unread.yaml", "name: [1]\ntrigers: []\n")
	json := write(t, "big.json", `{"name": "Big", "tenant_id": "acme", "triggers": [{"entity_type": "orders", "operation": "update"}], "actions": [{"action_type": "log"}]}`)
	run(0, "check "+edited, "ok")
	run(1, "check "+wrong, "wrong.yaml:", `table orders has no column stauts; did you mean "status"?`)
	run(1, "check "+unread, "several things are wrong")
	run(1, "draft big "+other, "other.yaml:", "can't be changed")
	run(1, "draft big "+named, "named.yaml:", "it is workflow bigger, not big")
	run(1, "draft bgi "+edited, "there is no workflow bgi")
	run(0, "draft big "+edited, "big has a draft.")
	run(0, "diff big", "From version 1 to draft:")
	run(0, "diff big --json", `"words"`)
	run(0, "show big", "made from version 1")
	run(0, "show big --draft --json", `"base": 1`)
	run(0, "draft big "+wrong, "big has a draft.", "wrong.yaml:")
	run(1, "check big", "big draft: broken")
	run(1, "activate big", "workflow big is not activated: 1 error is to mend first", "has no column stauts")
	run(0, "draft big "+json, "big has a draft.")
	run(0, "draft big "+edited+" --force")
	run(1, "activate big --comment "+strings.Repeat("x", 1001), "the comment is 1001 characters long; shorten it to 1000")
	run(0, "activate big --comment slower", "big is active: its draft is version 2.")
	run(0, "versions big", "COMMENT", "slower")
	run(0, "versions big --json", `"comment": "slower"`, `"comment": ""`)
	run(0, "activate big", "big is active already, and has no draft.")
	run(0, "restore big 1", "Version 1 is the draft of big now.")
	run(0, "restore big 1", "was already")
	run(1, "restore big 2", "has a draft", "--force")
	run(0, "restore big 2 --force")
	run(1, "restore big 9", "has no version 9")
	run(0, "discard big --yes", "big has no draft any more.")
	run(1, "discard big --yes", "workflow big has no draft")
	run(2, "discard big", "Add --yes")
	w.each(func(db *pgtest.Database) {
		db.Exec(t, `update rowbell.workflow_definition set draft = '{"trigers": []}' where id = 'ours'`)
	})
	run(0, "show ours", "Draft     can't be read:")
	run(1, "show ours --draft", "trigers")
	run(1, "test", "its tests can't be read")
	run(0, "discard ours --yes")
	run(0, "deactivate big", "big is inactive, as version 3.")
	run(0, "deactivate big", "big is inactive already.")
	run(1, "deactivate big no-such-one ours", "big is inactive already.", "ours is inactive already.", "there is no workflow no-such-one")
	run(0, "activate big", "big is active, as version 4.")
	run(0, "diff big 1 live --yaml", "+++ version 4")

	run(0, "simulate big --row orders 42 --as update", "It doesn't fire")
	run(0, "simulate big --row orders 42 --json", `"answer"`)
	run(0, "simulate "+edited+" --row orders 42", "orders")
	run(1, "simulate big --row orders 43", "43")
	run(1, "simulate big --row ordres 42", "ordres")
	run(1, "simulate "+unread+" --row orders 42", "several things are wrong")
	run(1, "simulate big --version 9 --row orders 42", "9")
	run(1, "simulate big --draft --row orders 42", "has no draft")
	run(2, "simulate big", "nothing to try it on")
	w.same(t, 1, []string{"workflow", "simulate", "big", "--row", "orders", "42", "--new", "{"}, `write {"status": "approved"}`)
	w.same(t, 1, []string{"workflow", "simulate", "big", "--row", "orders", "42", "--actor", "3"}, "actor is not a JSON object")
	w.same(t, 0, []string{"workflow", "simulate", "big", "--row", "orders", "42", "--new", `{"total": 12345678901234567890.25}`, "--actor", "null", "--at", "2026-01-31T10:00:00Z"}, "12345678901234567890.25")
	w.on(t, 0, events, []string{"workflow", "simulate", "big", "--event", "OWN"}, "It fires")
	w.on(t, 0, events, []string{"workflow", "explain", "OWN"}, "big")
	w.on(t, 0, events, []string{"workflow", "explain", "OWN", "--all", "--json"}, `"event_id"`)
	w.on(t, 0, events, []string{"workflow", "explain", "orders", "42"}, "big")
	run(1, "explain orders 43", "no change of orders 43 is recorded")
	run(1, "explain ordres 42", "ordres")

	w.on(t, 0, events, []string{"workflow", "test", "big", "--record", "OWN"}, "The draft of big has the test")
	w.on(t, 1, events, []string{"workflow", "test", "big", "--record", "OWN"}, "has a test called")
	w.on(t, 0, events, []string{"workflow", "test", edited, "--record", "OWN"}, "Put this into")
	run(0, "test", "1 test passed")
	run(0, "test big", "big version 4: no tests")
	run(0, "test big --json", `"passed": true`)
	run(1, "test bgi", "there is no workflow bgi")
	run(0, "activate big")
	w.each(func(db *pgtest.Database) {
		db.Exec(t, `update rowbell.workflow_trigger set field_conditions = '{"total": {"gte": 100000}}' where id = 't1'`)
	})
	run(1, "test", "fail")
	run(0, "deactivate big")
	run(1, "activate big", "of its tests fails; --force activates it all the same", "failed:")
	run(0, "activate big --force", "big is active", "failed:")
}

// Files are judged, applied, exported and imported.
func TestServerFiles(t *testing.T) {
	t.Parallel()
	w, _ := workflowTwins(t)
	run := func(code int, line string, texts ...string) result {
		t.Helper()
		return w.same(t, code, append([]string{"workflow"}, strings.Fields(line)...), texts...)
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := dir + "/" + name
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file("a.yaml", "id: shipped\ntenant_id: acme\nname: Shipped\nstatus: active\ntriggers:\n  - entity_type: orders\n    operation: update\n    field_conditions:\n      status: shipped\nactions:\n  - action_type: notification\n    action_config:\n      title: \"{% render 'greeting' %} {{ new.id }}\"\nrecipients:\n  - recipient_type: attribute\n    recipient_id: owner\ntests:\n  - name: ships\n    change:\n      new: {status: shipped, id: 7}\n      old: {status: new}\n    expect:\n      fires: true\n")
	file("b.yaml", "template: greeting\ntenant_id: acme\nsource: Hello\n---\nid: second\ntenant_id: acme\nname: Second\ntriggers:\n  - entity_type: orders\n    operation: create\nactions:\n  - action_type: log\n")
	bad := file("../bad.yaml", "id: bad\nstatus: active\ntriggers:\n  - entity_type: orders\n    operation: update\n    field_conditions:\n      stauts: shipped\nactions:\n  - action_type: log\n")
	unread := file("../unread.yaml", "id: bad\nstatus: on\n---\ntrigers: []\n")
	run(0, "validate "+dir, "a.yaml: ok", "template greeting")
	run(1, "validate "+dir+" "+bad, "bad.yaml:7:7")
	run(0, "validate "+dir+" --json", `"verdict"`)
	run(0, "validate "+dir+" --offline", "were not looked at")
	run(1, "validate "+unread, "unread.yaml")
	run(0, "test "+dir, "1 test passed")
	run(3, "diff "+dir, "create workflow shipped (Shipped) of tenant acme, active")
	run(3, "diff "+dir+" --yaml", "+name: Shipped")
	run(3, "apply "+dir+" --dry-run", "3 to create, 0 to change")
	run(3, "apply "+dir+" --dry-run --json", `"do": "create"`)
	run(1, "apply "+bad+" --yes", "nothing was applied: 1 workflow is to mend first", "bad.yaml:7:7")
	run(1, "apply "+dir+" --tenant globex --yes", "it is of tenant acme, and --tenant says tenant globex")
	run(2, "apply "+dir, "there is nobody to ask")
	run(2, "apply "+dir+" --prune --yes", "it must be said whose")
	run(0, "apply "+dir+" --yes", "created template greeting", "created workflow shipped (Shipped) of tenant acme, active, as version 1")
	run(0, "apply "+dir+" --yes", "Nothing to do")
	run(0, "diff "+dir, "Nothing to do")
	file("b.yaml", "template: greeting\ntenant_id: acme\nsource: Hello you\n")
	run(3, "apply "+dir+" --tenant acme --prune --dry-run", "delete workflow big", "delete workflow second")
	run(0, "apply "+dir+" --tenant acme --prune --yes --json", `"do": "delete"`)
	run(0, "list --tenant acme", "shipped")
	run(0, "export", "template: greeting")
	run(0, "export shipped --tenant acme", "name: Shipped")
	wants(t, rowbell(t, w.byServer, "workflow", "export", "shipped", "--tenant", "globex"), 1, "there is no workflow shipped")
	run(1, "export lost", "there is no workflow lost")

	// What is exported has other ids on each.
	dirs := map[*pgtest.Database]string{w.direct: t.TempDir() + "/exported", w.served: t.TempDir() + "/exported"}
	exported := func(code int, line string, texts ...string) {
		t.Helper()
		w.on(t, code, dirs, strings.Fields("workflow "+line), texts...)
	}
	exported(0, "export --tenant acme --into OWN", "2 files written into")
	exported(1, "import OWN", "there is a workflow shipped already; --replace overwrites it")
	exported(3, "import OWN --replace --dry-run", "")
	exported(0, "import OWN --tenant globex --new-ids", "created workflow")
	exported(0, "import OWN --replace --json", `"do"`)
	run(0, "list --tenant globex", "Shipped")
	exported(2, "import OWN --replace --new-ids", "nothing is replaced")
}

// Templates are stored, shown, tried and deleted.
func TestServerTemplates(t *testing.T) {
	t.Parallel()
	w, events := workflowTwins(t)
	run := func(code int, line string, texts ...string) result {
		t.Helper()
		return w.same(t, code, append([]string{"template"}, strings.Fields(line)...), texts...)
	}
	text := write(t, "footer.liquid", "Yours, {{ tenant }}")
	wrong := write(t, "wrong.liquid", "Yours, {% if %}")
	nothing := write(t, "nothing.liquid", "Yours, {{ new.nothing }}")
	run(0, "list", "footer")
	run(0, "list --json", `"source"`)
	run(0, "list --tenant nobody", "There are no such templates.")
	run(0, "show footer", "Rendered by")
	run(0, "show footer --json", `"rendered_by"`)
	w.same(t, 0, []string{"template", "show", "footer", "--locale", ""}, "Yours, {{ workflow.name }}")
	run(1, "show foter", `did you mean "footer"?`)
	run(0, "set footer "+text, "These active workflows have a new version by it: big")
	run(0, "set footer "+text, "like this already")
	run(1, "set footer "+wrong, "not stored")
	run(1, "set footer "+text+" --locale 3", "")
	run(1, "delete footer --yes", "big")
	run(0, "set footer "+nothing+" --locale de --tenant acme --description Greets", "")
	run(0, "show footer --tenant acme", "Greets")
	run(0, "set greeting "+text+" --locale de", "No active workflow renders it.")
	run(1, "show greeting --locale fr", "has no text for locale")
	run(2, "delete greeting", "Add --yes")
	run(1, "delete greeting --locale fr --yes", "fr")
	run(0, "delete greeting --yes", "Template greeting is deleted.")
	run(1, "delete greeting --yes", "greeting")
	run(0, "preview "+text, "Yours,")
	run(0, "preview "+text+" --row orders 42 --tenant acme --json", `"texts"`)
	run(0, "preview "+nothing+" --row orders 42", "warning")
	run(1, "preview "+wrong, "")
	run(0, "preview --workflow big --row orders 42", "Order 42: 5000.50")
	run(1, "preview --workflow big --action 7 --row orders 42", "has no action 7")
	run(1, "preview --workflow big --action 2 --row orders 42", "")
	file := write(t, "big.yaml", rowbell(t, w.byServer, "workflow", "show", "big", "--yaml").stdout)
	run(0, "preview --workflow "+file+" --row orders 42", "Order 42: 5000.50")
	w.on(t, 0, events, []string{"template", "preview", "--workflow", "big", "--event", "OWN"}, "Order 42: 5000.50")
	w.same(t, 0, []string{"template", "preview", write(t, "who.liquid", "{{ recipient.name }}, {{ recipient.email }}, {{ recipient.phone }}"), "--person", `{"id": "ann", "name": "Ann"}`}, "Ann, ,")
	run(0, "preview "+write(t, "who.liquid", "{{ recipient.name }}, {{ recipient.email }}, {{ recipient.phone }}"), "Alex Example, alex@example.com, +12025550123")
}
