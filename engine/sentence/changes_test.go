package sentence_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rowbell/rowbell/engine/sentence"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestChanges(t *testing.T) {
	const url = `{"url": "https://hooks.example.com/T0/B1/tok-en?key=k3y", "timeout": "10s", "secret": {"ref": "s1"}, "headers": {"authorization": "Bearer 1234", "x-team": "red"}}`
	// What is changed: an order's status, a webhook, then a notification to maria.
	base := func(parts ...part) *workflow.Workflow {
		return of(append([]part{
			settings(`{"retry": {"webhook": ["2s", "5s"]}}`),
			on("orders", "update", `{"status": {"changed_to": "approved"}}`),
			expr("new.total > 1000"),
			act(0, "webhook", url), act(1, "notification", `{"title": "Order {{ new.id }}"}`),
			to("user", "maria"),
		}, parts...)...)
	}
	action := func(i int, config string) part {
		return func(w *workflow.Workflow) { w.Actions[i].Config = json.RawMessage(config) }
	}
	edit := func(f func(*workflow.Workflow)) part { return f }
	for _, c := range []struct {
		name          string
		before, after *workflow.Workflow
		want          []string
	}{
		{"nothing", base(), base(), nil},
		{"neither", nil, nil, nil},
		{"created", nil, base(), []string{"created"}},
		{"deleted", base(), nil, []string{"deleted"}},
		{"head", base(), base(edit(func(w *workflow.Workflow) {
			w.Name, w.Description, w.Status, w.TenantID = "Order\napproved", "The warehouse packs it", workflow.Inactive, nil
		})), []string{
			"renamed from “W” to “Order approved”", "description added: “The warehouse packs it”", "turned off", "now for all tenants, no longer for tenant acme",
		}},
		{"turned on", base(edit(func(w *workflow.Workflow) { w.Status = workflow.Draft })), base(), []string{"turned on"}},
		{"only if", base(), base(action(1, `{"title": "Order {{ new.id }}", "only_if": [{"condition_type": "field_value", "condition_config": {"token": "x", "total": {"gt": 5}}}]}`)), []string{
			"notification: now only if its token is x and its total is over 5",
		}},
		{"only if something else", base(action(1, only(`{"total": 1}`))), base(action(1, only(`{"total": 2}`))), []string{"notification: now only if its total is 2 (before: only if its total is 1)"}},
		{"only if no more", base(action(1, only(`{"total": 1}`))), base(action(1, `{"only_if": []}`)), []string{"notification: no longer only if its total is 1"}},
		{"only if written otherwise", base(action(1, only(`{"total": 1}`))), base(action(1, only(`{"total": {"eq": 1}}`))), []string{"notification: only if changed in its details: its total is 1"}},
		{"only if nothing", base(action(1, `{}`)), base(action(1, `{"only_if": null}`)), nil},
		{"an action with conditions", of(on("orders", "create")), of(on("orders", "create"), act(0, "log", only(`{"total": 1}`))), []string{"action added: if its total is 1, record it"}},
		{"firing", base(), base(settings(`{"firing": "once_per_row", "retry": {"webhook": ["2s", "5s"]}}`)), []string{"now fires once for each row, no longer for every matching change"}},
		{"firing said explicitly", base(), base(settings(`{"firing": "every", "retry": {"webhook": ["2s", "5s"]}}`)), nil},
		{"settings", base(), base(settings(`{"retry": {"webhook": ["2s", "1m"]}, "on_failure": "continue"}`)), []string{
			"setting on_failure added: continue", "setting retry.webhook changed from 2s and 5s to 2s and 1m",
		}},
		{"trigger changed", base(), base(edit(func(w *workflow.Workflow) {
			w.Triggers[0].FieldConditions = json.RawMessage(`{"status": {"changed_to": "shipped"}}`)
			w.Triggers[0].Priority = 10
		})), []string{
			"trigger changed: when an order is updated, now if its status becomes shipped (before: if its status becomes approved)",
			"priority of the trigger (an order is updated and its status becomes shipped) changed from 100 to 10",
		}},
		{"trigger asks for more", of(on("orders", "update", `{"a": 1}`), on("orders", "create", `{"b": 2, "c": 3}`)), of(on("orders", "update", `{"a": 1, "any": [{"b": 1}, {"c": 2}]}`), on("orders", "create", `{"b": 2}`)), []string{
			"trigger changed: when an order is updated, now only if either its b is 1 or its c is 2",
			"trigger changed: when an order is created, no longer only if its c is 3",
		}},
		{"trigger on another table", of(on("orders", "update", `{"a": 1}`)), of(on("invoices", "update", `{"a": 1}`)), []string{
			"trigger changed: an invoice is updated and its “a” is 1 (before: an order is updated and its “a” is 1)",
		}},
		{"trigger written anew", base(), base(edit(func(w *workflow.Workflow) { w.Triggers[0].ID = "other"; w.Triggers[0].EntityType = "public.orders" })), nil},
		{"trigger added and removed", base(), base(edit(func(w *workflow.Workflow) {
			w.Triggers = []workflow.Trigger{{ID: "x", EntityType: "invoices", Operation: "delete", Priority: 1}}
		})), []string{
			"trigger added: an invoice is deleted", "trigger removed: an order is updated and its status becomes approved",
		}},
		{"key order and empty conditions", of(on("orders", "update", `{"a": 1, "b": {"gt": 1, "lt": 3}}`), on("orders", "create", `{}`)), of(on("orders", "update", `{"b": {"lt": 3, "gt": 1}, "a": 1}`), on("orders", "create", `null`)), nil},
		{"behind what is shown", of(on("orders", "update", `{"n": {"in": [1, 2, 3, 4, 5, 6, 7]}}`)), of(on("orders", "update", `{"n": {"in": [1, 2, 3, 4, 5, 6, 8]}}`)), []string{
			"trigger changed in its details: an order is updated and its n is one of 1, 2, 3 or 4 others",
		}},
		{"conditions", base(), base(edit(func(w *workflow.Workflow) { w.Conditions = nil }), cond("role_based", `{"roles": ["clerk"]}`), cond("time_based", `{"days": ["sat", "sun"]}`)), []string{
			"condition changed: by someone with role clerk (before: its total is over 1000)", "condition added: at weekends (UTC)",
		}},
		{"condition removed", base(), base(edit(func(w *workflow.Workflow) { w.Conditions = nil })), []string{"condition removed: its total is over 1000"}},
		{"webhook", base(), base(action(0, `{"url": "https://other.example/T0", "timeout": "5s", "secret": {"ref": "s2"}, "headers": {"authorization": "Bearer 5678", "x-trace": "on"}, "retry": ["1s", "2m"]}`)), []string{
			"webhook to other.example: header authorization changed",
			"webhook to other.example: header x-team removed",
			"webhook to other.example: header x-trace added",
			"webhook to other.example: retry added: 1s and 2m",
			"webhook to other.example: secret changed",
			"webhook to other.example: timeout changed from 10s to 5s",
			"webhook to other.example: url changed from https://hooks.example.com to https://other.example",
		}},
		{"path of a URL", base(), base(action(0, strings.Replace(url, "tok-en", "other", 1))), []string{"webhook to hooks.example.com: url changed"}},
		{"notification", base(), base(action(1, `{"title": "Order {{ new.id }} over {{ new.total }}", "body": ""}`)), []string{
			"notification: body added: the empty text", "notification: title changed from “Order {{ new.id }}” to “Order {{ new.id }} over {{ new.total }}”",
		}},
		{"order", base(), base(edit(func(w *workflow.Workflow) { w.Actions[1].Order = 0 })), []string{"notification: order changed from 1 to 0"}},
		{"kind", base(), base(edit(func(w *workflow.Workflow) { w.Actions[0].Type = "log"; w.Actions[0].Config = nil })), []string{
			"action changed: record it (before: send a webhook to hooks.example.com)",
		}},
		{"action added", base(), base(act(2, "email", `{}`), to("user", "ann", "a3")), []string{"action added: send an e-mail to maria and ann"}},
		{"action removed", base(to("group", "night", "a2")), base(edit(func(w *workflow.Workflow) { w.Actions = w.Actions[:1] })), []string{
			"action removed: notify maria and the group night",
		}},
		{"actions written anew", base(to("user", "ann", "a2")), base(to("user", "ann", "n2"), edit(func(w *workflow.Workflow) { w.Actions[0].ID, w.Actions[1].ID = "n1", "n2" })), nil},
		{"recipients", base(to("role", "clerk", "a2")), base(edit(func(w *workflow.Workflow) { w.Recipients[0].Value = "rui" }), to("attribute", "account_manager", "a2")), []string{
			"recipient added: rui", "recipient added: the row's account manager (for the notification)",
			"recipient removed: maria", "recipient removed: everyone with role clerk (for the notification)",
		}},
		{"broken", base(action(0, `[1]`)), base(action(0, `[`)), []string{"webhook: configuration changed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := sentence.Changes(c.before, c.after)
			if !slices.Equal(got, c.want) {
				t.Errorf("\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(c.want, "\n     "))
			}
			all := strings.Join(got, "\n") + sentence.Line(c.before, c.after)
			for _, secret := range []string{"1234", "5678", "tok-en", "k3y", "s1", "s2", "red"} {
				if strings.Contains(all, secret) {
					t.Errorf("%q is shown", secret)
				}
			}
		})
	}
}

func TestLine(t *testing.T) {
	base := of(on("orders", "update"), webhook(), record())
	for _, c := range []struct {
		after *workflow.Workflow
		want  string
	}{
		{base, "nothing changed"},
		{nil, "deleted"},
		{of(on("orders", "update"), webhook(), record(), to("user", "ann"), operators()), "now for all tenants, no longer for tenant acme; recipient added: ann"},
		{of(on("orders", "update"), on("orders", "create"), on("invoices", "create"), on("invoices", "delete"), webhook(), record()), "trigger added: an order is created; trigger added: an invoice is created; 1 more"},
		{of(on("orders", "update", `{"status": {"in": ["one", "two", "three"]}, "total": {"gt": 1000}, "city": "Porto"}`), webhook(), record(), to("user", "ann")), "trigger changed: when an order is updated, now only if its status is one of “one”, two or t…; 1 more"},
	} {
		got := sentence.Line(base, c.after)
		if got != c.want {
			t.Errorf("\n got %s\nwant %s", got, c.want)
		}
		if n := utf8.RuneCountInString(got); n > 100 {
			t.Errorf("%s: %d characters", got, n)
		}
	}
}

// Saved tests are told of by their names.
func TestTestChanges(t *testing.T) {
	t.Parallel()
	with := func(tests string) *workflow.Workflow {
		return &workflow.Workflow{Settings: json.RawMessage(`{"firing": "every", "tests": ` + tests + `}`)}
	}
	for _, c := range []struct{ before, after, want string }{
		{`[]`, `[{"name": "a", "n": 1}]`, "test added: “a”"},
		{`[{"name": "a", "n": 1}, {"name": "b"}]`, `[{"n": 2, "name": "a"}, {"name": "c"}]`, "test changed: “a”; test added: “c”; test removed: “b”"},
		{`[{"name": "a", "n": 1}]`, `[{"n": 1, "name": "a"}]`, ""},
		{`[{"name": "a"}, {"name": "b"}]`, `[{"name": "b"}, {"name": "a"}]`, "tests in another order"},
		{`[{"name": "a"}]`, `{"a": 1}`, "tests changed"},
		{`[{"name": "a"}, {"name": "a"}]`, `[]`, "tests changed"},
	} {
		if got := strings.Join(sentence.Changes(with(c.before), with(c.after)), "; "); got != c.want {
			t.Errorf("from %s to %s: %s, want %s", c.before, c.after, got, c.want)
		}
	}
}
