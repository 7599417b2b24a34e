package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// workflows on orders, one for each fate that an event can have.
const trialWorkflows = `
create table orders (
	id bigint generated always as identity primary key, tenant_id text not null, status text not null default 'new',
	total numeric(12,2) not null default 0, card text, note text);
alter table orders replica identity full;
`

const trialDefinitions = `
insert into rowbell.workflow_definition (id, tenant_id, name, status, settings) values
	('approved', 'acme', 'Order approved', 'active', '{}'),
	('big', 'acme', 'Big order', 'active', '{}'),
	('drafted', 'acme', 'Not yet', 'draft', '{}'),
	('stopped', 'acme', 'Turned off', 'inactive', '{}'),
	('theirs', 'globex', 'Theirs', 'active', '{}'),
	('inserts', 'acme', 'New orders', 'active', '{}'),
	('broken', 'acme', 'Broken', 'active', '{}'),
	('cards', 'acme', 'By card', 'active', '{}');
insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values
	('approved', 'orders', 'update', '{"status": {"changed_to": "approved"}}'),
	('big', 'orders', 'update', '{"status": "approved", "total": {"gt": 1000}}'),
	('drafted', 'orders', 'update', '{}'), ('stopped', 'orders', 'update', '{}'), ('theirs', 'orders', 'update', '{}'),
	('inserts', 'orders', 'create', '{"status": "new"}'),
	('broken', 'orders', 'update', '{"sttaus": "approved"}'),
	('cards', 'orders', 'update', '{"card": "4111"}');
insert into rowbell.workflow_condition (workflow_id, condition_type, condition_config) values
	('big', 'expression', '{"expression": "new.note == nil || lower(new.note) contains \"rush\""}');
insert into rowbell.workflow_action (id, workflow_id, action_type, action_config, "order")
	select id || '-log', id, 'log', '{}'::jsonb, 1 from rowbell.workflow_definition;
insert into rowbell.workflow_action (id, workflow_id, action_type, action_config) values
	('approved-tell', 'approved', 'notification', '{"title": "Order {{ new.id }}: {{ new.total }} EUR", "body": "{{ actor.id }} changed {{ changed | join: \", \" }}; card {{ new.card }}"}'),
	('approved-hook', 'approved', 'webhook', '{"url": "https://hooks.example.com/secret-path?token=hunter2"}');
insert into rowbell.workflow_recipient (workflow_id, action_id, recipient_type, recipient_id) values
	('approved', 'approved-tell', 'user', 'ann'), ('approved', 'approved-tell', 'attribute', 'tenant_id');
`

// inDocs holds the manual to what the program writes; -update rewrites the manual.
func inDocs(t *testing.T, event string, args []string, stdout string) {
	t.Helper()
	const path, shown = "../../docs/testing-workflows.md", "01M8ACT0GY00003H4CB0000000"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	words := []string{"$ rowbell"}
	for _, a := range args {
		if strings.ContainsAny(a, " {") {
			a = "'" + a + "'"
		}
		words = append(words, a)
	}
	stable := func(s string) string {
		s = strings.ReplaceAll(s, event, shown)
		s = regexp.MustCompile(shown+`-\d+`).ReplaceAllString(s, shown+"-3")
		s = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?`).ReplaceAllString(s, "2026-11-25 22:21:49.470681")
		return regexp.MustCompile(`at 1:0/[0-9A-F]+:0`).ReplaceAllString(s, "at 1:0/1C48C58:0")
	}
	command := stable(strings.Join(words, " ")) + "\n"
	before, after, found := strings.Cut(string(text), command)
	_, rest, _ := strings.Cut(after, "```")
	if !found {
		t.Errorf("%s doesn't have: %s", path, command)
		return
	}
	if want := before + command + stable(stdout) + "```" + rest; want != string(text) {
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		t.Errorf("%s has another output of %s(go test ./cmd/rowbell -run TestTrial -update rewrites it):\n%s", path, command, stable(stdout))
	}
}

// TestTrial does as an administrator does: tries workflows on rows and recorded events,
// and asks why they did or did not fire.
func TestTrial(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, trialWorkflows)
	env := []string{"ROWBELL_SOURCE_URL=" + db.URL, "ROWBELL_SLOT=" + db.Name, "ROWBELL_LISTEN=127.0.0.1:0", "ROWBELL_OPS_LISTEN=127.0.0.1:0", "ROWBELL_DELIVERY=hold"}
	if r := rowbell(t, env, "migrate"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	worker := program(t, env, "run")
	worker.Stderr = t.Output()
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = worker.Process.Signal(syscall.SIGTERM)
		_ = worker.Wait()
	})
	pgtest.Eventually(t, pgtest.Patience, "the worker to hold the slot", func() bool {
		return pgtest.One[bool](t, db, `select exists (select from pg_replication_slots where slot_name = $1 and active)`, db.Name)
	})
	if r := rowbell(t, env, "capture", "orders", "--redacted", "card", "--hidden", "note"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	// The condition on note is of a workflow that may see it no more: it is broken.
	if r := rowbell(t, env, "capture", "orders", "--redacted", "card", "--hidden", "none"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	db.Exec(t, trialDefinitions)
	pgtest.Eventually(t, pgtest.Patience, "the definitions to be read", func() bool {
		return pgtest.One[int](t, db, `select count(*)::int from rowbell.applied where kind = 'workflow'`) == 8
	})
	db.Exec(t, `insert into orders (tenant_id, status, total, card) values ('acme', 'open', 999.90, '4111')`)
	db.Exec(t, `begin; select rowbell.set_actor('ann', array['clerk']); update orders set status = 'approved' where id = 1; commit`)
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('late', 'acme', 'Late', 'active');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('late', 'orders', 'update');
		insert into rowbell.workflow_action (workflow_id, action_type) values ('late', 'log')`)
	event := ""
	pgtest.Eventually(t, pgtest.Patience, "the update to be recorded", func() bool {
		ids := pgtest.Query[string](t, db, `select id from rowbell.workflow_event where operation = 'update'`)
		if len(ids) > 0 {
			event = ids[0]
		}
		return event != ""
	})

	t.Run("as it is", func(t *testing.T) {
		for name, c := range map[string]struct {
			args []string
			want []string // lines of stdout, each a part of one
		}{
			"a recorded event": {
				[]string{"workflow", "simulate", "approved", "--event", event},
				[]string{
					`workflow approved "Order approved", version 1, active`,
					`on update of orders 1, tenant acme, event ` + event,
					`✓ It fires: trigger 1 (orders update) matches`,
					`✓ true  field_conditions`,
					`changed("status")`, `"open" → "approved"`,
					`action 2, notification`,
					`to         user ann`,
					`to         attribute tenant_id: acme`,
					`title      Order 1: 999.90 EUR`,
					`body       ann changed status; card ***`,
					`webhook, to https://hooks.example.com`,
					`log, order 1`,
				},
			},
			"a row as it is": {
				[]string{"workflow", "simulate", "approved", "--row", "orders", "1"},
				[]string{`✗ It doesn't fire: the update changes nothing, and such a one fires nothing; say what it changes with --new or --old`},
			},
			"a row with edits": {
				[]string{"workflow", "simulate", "big", "--row", "orders", "1", "--as", "update", "--new", `{"total": "2000", "note": "in a Rush"}`, "--actor", `{"id": "ben"}`},
				[]string{
					`✓ It fires`, `✓ true   condition 1 (expression)`, `total gt 1000`, `new.total is 2000`, `any of:`, `✗ false`, `new.note is "in a Rush"`,
					`lower(new.note) is "in a rush"`,
				},
			},
			"what stops it": {
				[]string{"workflow", "simulate", "big", "--event", event},
				[]string{`✗ It doesn't fire: trigger 1 (orders update): total gt 1000: new.total is 999.90`},
			},
			"another operation": {
				[]string{"workflow", "simulate", "inserts", "--row", "orders", "1", "--as", "delete"},
				[]string{`✗ It doesn't fire: trigger 1 (orders create): it is for a create, and this is a delete`},
			},
			"another tenant": {
				[]string{"workflow", "simulate", "theirs", "--row", "orders", "1", "--new", `{"total": 1}`},
				[]string{`the row is of tenant acme, the workflow of globex`},
			},
			"broken": {
				[]string{"workflow", "simulate", "broken", "--event", event},
				[]string{`! The workflow is broken: trigger 1 (orders update): field_conditions.sttaus: table orders has no column sttaus`},
			},
			"masked": {
				[]string{"workflow", "simulate", "cards", "--event", event},
				[]string{`? It can't be told from what is recorded`, `new.card is not known`, `redacted, so the recorded event has it masked`},
			},
			"redacted, of a row": {
				[]string{"workflow", "simulate", "cards", "--row", "orders", "1", "--new", `{"total": 1}`},
				[]string{`✓ It fires`, `new.card is ***`},
			},
			"explain": {
				[]string{"workflow", "explain", event, "--all"},
				[]string{
					`on update of orders 1, tenant acme, event ` + event,
					`✓ approved "Order approved" v1`, `fired, pending`, `delivery is on hold here (ROWBELL_DELIVERY=hold)`, `execution ` + event + `-`,
					`✓ cards "By card" v1`, `fired, success`,
					`✗ big "Big order" v1`, `not matched`, `trigger 1 (orders update): total gt 1000: new.total is 999.90`,
					`! broken "Broken" v1`, `it is broken: trigger 1`,
					`✗ drafted "Not yet" v1`, `it was a draft then (version 1)`,
					`✗ inserts "New orders" v1`, `other operation`,
					`✗ late "Late"`, `created later`,
					`✗ stopped "Turned off" v1`, `it was inactive then (version 1)`,
					`✗ theirs "Theirs" v1`, `it is of tenant globex, and the row of acme`,
				},
			},
			"explain a row": {
				[]string{"workflow", "explain", "orders", "1"},
				[]string{`on update of orders 1`, `fired, pending`},
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := rowbell(t, env, c.args...)
				if r.code != 0 || r.stderr != "" {
					t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
				}
				t.Logf("$ rowbell %s\n%s", strings.Join(c.args, " "), r.stdout)
				for _, want := range c.want {
					if !strings.Contains(r.stdout, want) {
						t.Errorf("%q isn't there", want)
					}
				}
				for _, never := range []string{"4111\"", "hunter2", "secret-path", "%!", "<nil>"} {
					if name != "redacted, of a row" && name != "masked" && name != "explain" && strings.Contains(r.stdout, never) {
						t.Errorf("%q is there", never)
					}
				}
			})
		}
	})

	for _, args := range [][]string{
		{"workflow", "simulate", "big", "--row", "orders", "1", "--as", "update", "--new", `{"total": "2000", "note": "in a Rush"}`, "--actor", `{"id": "ben"}`},
		{"workflow", "simulate", "approved", "--event", event},
		{"workflow", "explain", event},
	} {
		r := rowbell(t, env, args...)
		if r.code != 0 {
			t.Fatal(r.stderr)
		}
		inDocs(t, event, args, r.stdout)
	}

	// What happens to the workflows later changes nothing of that.
	db.Exec(t, `update rowbell.workflow_definition set status = 'active' where id in ('stopped', 'drafted')`)
	db.Exec(t, `update rowbell.workflow_trigger set field_conditions = '{"status": "approved"}' where workflow_id in ('big', 'broken')`)
	db.Exec(t, `delete from rowbell.workflow_definition where id = 'inserts'`)
	pgtest.Eventually(t, pgtest.Patience, "the changes to be read", func() bool {
		return pgtest.One[int](t, db, `select count(*)::int from rowbell.surrogate where kind = 'workflow' and version > 1`) >= 4
	})
	later := rowbell(t, env, "workflow", "explain", event, "--json")
	var x struct {
		Workflows []struct {
			ID      string `json:"workflow_id"`
			Version int
			Outcome string
		}
	}
	if err := json.Unmarshal([]byte(later.stdout), &x); err != nil {
		t.Fatalf("%v\n%s%s", err, later.stdout, later.stderr)
	}
	outcomes := map[string]string{}
	for _, w := range x.Workflows {
		outcomes[w.ID] = fmt.Sprint(w.Outcome, " ", w.Version)
	}
	for id, want := range map[string]string{
		"stopped": "inactive 1", "drafted": "draft 1", "big": "not_matched 1", "broken": "broken 1", "inserts": "other_operation 1", "late": "created_later 0", "approved": "fired 1",
	} {
		if outcomes[id] != want {
			t.Errorf("%s: %s, want %s", id, outcomes[id], want)
		}
	}

	// Domain events.
	db.Exec(t, `with d as (insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('shipped', 'acme', 'Shipped', 'active'), ('slow', 'acme', 'Slow', 'active')),
		tr as (insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values
			('shipped', 'domain:order.shipped', 'create', '{"carrier": "dhl"}'), ('slow', 'domain:order.shipped', 'create', '{"days": {"gt": 7}}'))
		insert into rowbell.workflow_action (workflow_id, action_type) values ('shipped', 'log'), ('slow', 'log')`)
	db.Exec(t, `select rowbell.emit('order.shipped', '{"carrier": "dhl", "days": 3}', 'acme')`)
	emitted := ""
	pgtest.Eventually(t, pgtest.Patience, "the domain event to be recorded", func() bool {
		ids := pgtest.Query[string](t, db, `select id from rowbell.workflow_event where operation = 'emit'`)
		if len(ids) > 0 {
			emitted = ids[0]
		}
		return emitted != ""
	})
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"workflow", "simulate", "slow", "--event", emitted}, "days gt 7: new.days is 3"},
		{[]string{"workflow", "simulate", "slow", "--event", emitted, "--new", `{"days": 8}`}, "✓ It fires"},
		{[]string{"workflow", "simulate", "slow", "--domain", "order.shipped", "--tenant", "acme", "--new", `{"days": 8}`}, "✓ It fires"},
		{[]string{"workflow", "simulate", "slow", "--domain", "order.paid", "--tenant", "acme"}, "it is on domain:order.shipped, and the change is of domain:order.paid"},
		{[]string{"workflow", "explain", emitted}, `✓ shipped "Shipped" v1`},
		{[]string{"workflow", "explain", emitted}, "days gt 7: new.days is 3"},
	} {
		if r := rowbell(t, env, c.args...); r.code != 0 || !strings.Contains(r.stdout, c.want) {
			t.Errorf("%v: exit code %d\n%s%swant %s", c.args, r.code, r.stdout, r.stderr, c.want)
		}
	}

	file := filepath.Join(t.TempDir(), "draft.yaml")
	if err := os.WriteFile(file, []byte(`name: From a file
tenant_id: acme
settings: {firing: once_per_row}
triggers:
  - {entity_type: orders, operation: create, priority: 5, field_conditions: {any: [{status: approved}, {total: {gt: 5000}}]}}
conditions:
  - {condition_type: role_based, condition_config: {roles: [clerk]}}
actions:
  - {action_type: log}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	r := rowbell(t, env, "workflow", "simulate", file, "--row", "orders", "1", "--as", "create", "--actor", `{"roles": ["clerk"]}`, "--json")
	var got struct {
		Answer   string
		Triggers []struct{ Verdict string }
		Gates    []string
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || got.Answer != "depends" || got.Triggers[0].Verdict != "true" || len(got.Gates) != 1 {
		t.Errorf("%v\n%s%s", err, r.stdout, r.stderr)
	}

	// An action that its own condition leaves out says so.
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('cancelled', 'acme', 'Order cancelled', 'inactive');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ('cancelled', 'orders', 'update', '{"status": {"changed_to": "cancelled"}}');
		insert into rowbell.workflow_action (id, workflow_id, action_type, action_config) values ('cancelled-1', 'cancelled', 'log', '{}'),
			('cancelled-2', 'cancelled', 'log', '{"only_if": [{"condition_type": "field_value", "condition_config": {"total": {"gte": 1000}}}]}')`)
	args := []string{"workflow", "simulate", "cancelled", "--row", "orders", "1", "--as", "update", "--new", `{"status": "cancelled"}`}
	r = rowbell(t, env, args...)
	if r.code != 0 || !strings.Contains(r.stdout, "Actions that are left out, by conditions of their own:\n  action 2, log\n") || !strings.Contains(r.stdout, "new.total is 999.90") {
		t.Errorf("%s%s", r.stdout, r.stderr)
	}
	inDocs(t, event, args, r.stdout)

	// A file that names a workflow is its tenant's, as to check; - is standard input; and
	// what lies about in the directory is no workflow.
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "approved"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, want string }{
		{"approved", `workflow approved "Order approved", version 1`},
		{"-", `workflow approved "Typed"`},
	} {
		cmd := program(t, env, "workflow", "simulate", c.what, "--row", "orders", "1", "--new", `{"tenant_id": "globex"}`, "--old", `{"tenant_id": "globex", "total": 1}`)
		cmd.Dir = dir
		cmd.Stdin = strings.NewReader("{id: approved, name: Typed, triggers: [{entity_type: orders, operation: update}], actions: [{action_type: log}]}")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), c.want) || !strings.Contains(string(out), "It doesn't fire") || !strings.Contains(string(out), "the workflow of acme") {
			t.Errorf("%s: %v\n%s", c.what, err, out)
		}
	}

	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no such event":     {[]string{"workflow", "simulate", "approved", "--event", "01NOPE"}, 1, "event 01NOPE is not recorded: only events that a workflow matched are"},
		"no such row":       {[]string{"workflow", "simulate", "approved", "--row", "orders", "77"}, 1, `read orders "77": there is no such row`},
		"a wrong key":       {[]string{"workflow", "simulate", "approved", "--row", "orders", "x"}, 1, "invalid input syntax for type bigint"},
		"no such table":     {[]string{"workflow", "simulate", "approved", "--row", "ordres", "1"}, 1, "table ordres isn't captured; run rowbell capture ordres"},
		"no such workflow":  {[]string{"workflow", "simulate", "nope", "--row", "orders", "1"}, 1, "there is no workflow nope"},
		"no such version":   {[]string{"workflow", "simulate", "approved", "--version", "7", "--row", "orders", "1"}, 1, "workflow approved has no version 7"},
		"no draft":          {[]string{"workflow", "simulate", "approved", "--draft", "--row", "orders", "1"}, 1, "workflow approved has no draft"},
		"no such file":      {[]string{"workflow", "simulate", "./nope.yaml", "--row", "orders", "1"}, 1, "no such file"},
		"no such column":    {[]string{"workflow", "simulate", "approved", "--row", "orders", "1", "--new", `{"sttaus": 1}`}, 1, "new: table orders has no column sttaus; did you mean \"status\"?"},
		"a wrong value":     {[]string{"workflow", "simulate", "approved", "--row", "orders", "1", "--new", `{"total": "x"}`}, 1, `new.total: "x" is no numeric: want a number`},
		"no object":         {[]string{"workflow", "simulate", "approved", "--row", "orders", "1", "--new", `[1]`}, 1, "new is not a JSON object of columns"},
		"old of a create":   {[]string{"workflow", "simulate", "approved", "--row", "orders", "1", "--as", "create", "--old", `{"total": 1}`}, 1, "old: a create has no old row"},
		"a wrong actor":     {[]string{"workflow", "simulate", "approved", "--row", "orders", "1", "--actor", "ann"}, 1, "actor is not a JSON object"},
		"nothing to try on": {[]string{"workflow", "simulate", "approved"}, 2, "nothing to try it on. Give --event EVENT_ID, --row TABLE KEY, or --domain NAME"},
		"no key":            {[]string{"workflow", "simulate", "approved", "--row", "orders"}, 2, "the row's key is missing. Write: --row orders KEY"},
		"a wrong operation": {[]string{"workflow", "simulate", "approved", "--row", "orders", "1", "--as", "upsert"}, 2, `"upsert" is no operation`},
		"a wrong time":      {[]string{"workflow", "simulate", "approved", "--row", "orders", "1", "--at", "noon"}, 2, "--at wants a time as 2026-01-31T10:00:00Z"},
		"explain nothing":   {[]string{"workflow", "explain", "orders", "99"}, 1, "no change of orders 99 is recorded: only those that a workflow matched are"},
		"explain no event":  {[]string{"workflow", "explain", "01NOPE"}, 1, "event 01NOPE is not recorded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rowbell(t, env, c.args...)
			if r.code != c.code || r.stdout != "" || !strings.Contains(r.stderr, c.want) {
				t.Errorf("exit code %d, want %d\n%s%swant %s", r.code, c.code, r.stdout, r.stderr, c.want)
			}
		})
	}
}
