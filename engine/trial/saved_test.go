package trial

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// saved is a workflow on orders that has a notification and a webhook.
func saved(settings, form string, operations ...string) workflow.Version {
	tenant := "a"
	w := workflow.Workflow{
		ID: "w", TenantID: &tenant, Name: "W", Status: workflow.Active, Settings: json.RawMessage(settings),
		Actions: []workflow.Action{
			{ID: "n", Type: "notification", Config: json.RawMessage(`{"title": "Order {{ new.id }}", "body": "{{ old.status }} → {{ new.status }}"}`)},
			{ID: "p", Type: "publish", Config: json.RawMessage(`{"subject": "orders.{{ new.id }}"}`)},
		},
		Recipients: []workflow.Recipient{{Type: "user", Value: "ann"}, {Type: "attribute", Value: "note"}},
	}
	for _, op := range operations {
		w.Triggers = append(w.Triggers, on(op, form))
	}
	text, err := json.Marshal(w)
	if err != nil {
		panic(err)
	}
	return workflow.Version{WorkflowID: "w", TenantID: tenant, Document: text}
}

func TestSavedTests(t *testing.T) {
	t.Parallel()
	lookup := func(label string) (*workflow.Table, *change.Relation, error) {
		if label != "orders" {
			return nil, nil, errors.New("there is no table " + label)
		}
		return captured(), orders('f'), nil
	}
	update := saved(`{}`, `{"status": {"changed_to": "approved"}, "total": {"gte": 10}}`, "update")
	for name, c := range map[string]struct {
		v    workflow.Version
		test string
		want []string // parts of the differences; none: it passes
	}{
		"fires": {update, `{"name": "x", "change": {"new": {"id": 1, "status": "approved", "total": 10.00, "note": "ben"}, "old": {"status": "new"}}, "expect": {"fires": true,
			"recipients": [{"attribute": "note", "value": "ben"}, {"user": "ann"}],
			"texts": [{"title": "Order 1", "body": {"contains": "new →"}}, {"action": "p", "subject": "orders.1"}]}}`, nil},
		"doesn't":                   {update, `{"name": "x", "change": {"new": {"id": 1, "status": "approved", "total": 9.99}, "old": {"status": "new"}}, "expect": {"fires": false, "stopped_by": "total gte 10"}}`, nil},
		"what was written stops it": {update, `{"name": "x", "change": {"new": {"id": 1, "status": "approved", "total": 10}, "old": {"total": 5}}, "expect": {"fires": false, "stopped_by": "status changed_to \"approved\""}}`, nil},
		"it fires, and was not to": {
			update, `{"name": "x", "change": {"new": {"id": 1, "status": "approved", "total": 10}, "old": {"status": "new"}}, "expect": {"fires": false}}`,
			[]string{"it fires (trigger 1 (orders update) matches), and was not to"},
		},
		"it doesn't, and was to": {update, `{"name": "x", "change": {"new": {"id": 1, "status": "new", "total": 10}, "old": {"status": "approved"}}, "expect": {"fires": true}}`, []string{"it doesn't fire: trigger 1"}},
		"something else stops it": {
			update, `{"name": "x", "change": {"new": {"id": 1, "status": "approved", "total": 9}, "old": {"status": "new"}}, "expect": {"fires": false, "stopped_by": "status changed_to"}}`,
			[]string{`what stops it is not "status changed_to", but: trigger 1 (orders update): total gte 10: new.total is 9`},
		},
		"others are told": {
			update, `{"name": "x", "change": {"new": {"id": 1, "status": "approved", "total": 10, "note": "ben"}, "old": {"status": "new"}}, "expect": {"fires": true, "recipients": [{"role": "r"}, {"attribute": "note", "value": "cid"}]}}`,
			[]string{"role r is not told", "attribute note with cid is not told", "user ann is told, and is not expected", "attribute note, which holds ben, is told, and is not expected"},
		},
		"it says something else": {
			update, `{"name": "x", "change": {"new": {"id": 1, "status": "approved", "total": 10}, "old": {"status": "new"}}, "expect": {"fires": true, "texts": [{"title": "Order 2"}, {"body": {"contains": "sent"}}, {"action": "p", "title": "x"}, {"action": "q", "title": "x"}]}}`,
			[]string{`title of action 1 (notification) is "Order 1", not "Order 2"`, `body of action 1 (notification) is "new → approved", and has no "sent" in it`, "action 2 (publish) has no title", `there is no action with the id "q" that would run`},
		},
		"an update that changes nothing": {update, `{"name": "x", "change": {"new": {"id": 1, "status": "approved", "total": 10}}, "expect": {"fires": false, "stopped_by": "changes nothing"}}`, nil},
		"of another tenant":              {update, `{"name": "x", "change": {"new": {"id": 1, "tenant_id": "b", "status": "approved", "total": 10}, "old": {"status": "new"}}, "expect": {"fires": false, "stopped_by": "the row is of tenant b"}}`, nil},
		"no such column":                 {update, `{"name": "x", "change": {"new": {"stauts": "approved"}}, "expect": {"fires": true}}`, []string{"new: table orders has no column stauts; did you mean \"status\"?"}},
		"a hidden column":                {update, `{"name": "x", "change": {"new": {"hidden": "x"}}, "expect": {"fires": true}}`, []string{"new: table orders has no column hidden"}},
		"a value that doesn't fit":       {update, `{"name": "x", "change": {"new": {"total": "many"}}, "expect": {"fires": true}}`, []string{"new.total: "}},
		"no such table":                  {update, `{"name": "x", "change": {"entity_type": "ordres"}, "expect": {"fires": true}}`, []string{"operation"}},
		"a table that isn't there":       {update, `{"name": "x", "change": {"entity_type": "ordres", "operation": "update"}, "expect": {"fires": true}}`, []string{"there is no table ordres"}},
		"which operation":                {saved(`{}`, `{}`, "create", "update"), `{"name": "x", "change": {"new": {"id": 1}}, "expect": {"fires": true}}`, []string{"its change doesn't say operation, and the workflow has triggers for 2"}},
		"a create":                       {saved(`{}`, `{}`, "create", "update"), `{"name": "x", "change": {"operation": "create", "new": {"id": 1}}, "expect": {"fires": true}}`, nil},
		"a create has no old row":        {saved(`{}`, `{}`, "create"), `{"name": "x", "change": {"new": {"id": 1}, "old": {"id": 1}}, "expect": {"fires": true}}`, []string{"old: a create has no old row"}},
		"a delete":                       {saved(`{}`, `{"status": "new"}`, "delete"), `{"name": "x", "change": {"old": {"id": 1, "status": "new"}}, "expect": {"fires": true}}`, nil},
		"a delete has no new row":        {saved(`{}`, `{}`, "delete"), `{"name": "x", "change": {"new": {"id": 1}}, "expect": {"fires": true}}`, []string{"new: a delete has no new row"}},
		"the first of a row":             {saved(`{"firing": "once_per_row"}`, `{}`, "create"), `{"name": "x", "change": {"new": {"id": 1}}, "expect": {"fires": true}}`, nil},
		"the second of a row":            {saved(`{"firing": "once_per_row"}`, `{}`, "create"), `{"name": "x", "fired_before": true, "change": {"new": {"id": 1}}, "expect": {"fires": false, "stopped_by": "it has fired"}}`, nil},
		"a broken one":                   {saved(`{}`, `{"stauts": 1}`, "create"), `{"name": "x", "change": {"new": {"id": 1}}, "expect": {"fires": false}}`, []string{"the workflow is broken: "}},
		"a recorded event": {update, `{"name": "x", "event": {"id": "E", "entity_type": "orders", "operation": "update", "tenant_id": "a", "row_key": "1", "committed_at": "2026-01-01T00:00:00Z",
			"data": {"new": {"id": 1, "tenant_id": "a", "status": "approved", "total": 10, "note": null}, "old": {"id": 1, "tenant_id": "a", "status": "new", "total": 10, "note": null}, "changed": ["status"], "unavailable": [], "actor": null}}, "expect": {"fires": true}}`, nil},
		"a tenant_id of a row": {update, `{"name": "x", "change": {"tenant_id": "a", "new": {"id": 1}}, "expect": {"fires": true}}`, []string{"tenant_id is for domain events"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test, err := workflow.ParseTest(json.RawMessage(c.test))
			if err != nil {
				t.Fatal(err)
			}
			got := RunTest(Input{Version: c.v}, &test, lookup)
			if got.Passed != (len(c.want) == 0) || len(got.Differences) != len(c.want) {
				t.Fatalf("it comes to %+v, want %q", got, c.want)
			}
			for i, want := range c.want {
				if !strings.Contains(got.Differences[i], want) {
					t.Errorf("it says %q, want %q", got.Differences[i], want)
				}
			}
		})
	}
}

// A domain event needs no table.
func TestSavedTestOfADomainEvent(t *testing.T) {
	t.Parallel()
	v := document(`{}`, nil, workflow.Trigger{EntityType: "domain:paid", Operation: "create", FieldConditions: json.RawMessage(`{"total": {"gte": 5}}`)})
	for text, passes := range map[string]bool{
		`{"name": "x", "change": {"new": {"total": 5}}, "expect": {"fires": true}}`:                                  true,
		`{"name": "x", "change": {"new": {"total": 4}}, "expect": {"fires": false, "stopped_by": "total gte 5"}}`:    true,
		`{"name": "x", "change": {"new": {"total": 5}, "tenant_id": "b"}, "expect": {"fires": true}}`:                false,
		`{"name": "x", "change": {"operation": "update", "new": {"total": 5}}, "expect": {"fires": true}}`:           false,
		`{"name": "x", "change": {"entity_type": "domain:sent", "operation": "create"}, "expect": {"fires": false}}`: true,
	} {
		test, err := workflow.ParseTest(json.RawMessage(text))
		if err != nil {
			t.Fatal(err)
		}
		got := RunTest(Input{Version: v}, &test, func(string) (*workflow.Table, *change.Relation, error) {
			t.Error("a table is asked for")
			return nil, nil, errors.New("there is none")
		})
		if got.Passed != passes {
			t.Errorf("%s comes to %+v", text, got)
		}
	}
}

// What is made of a recorded event passes on it, whatever the verdict is.
func TestTestOfARecordedEvent(t *testing.T) {
	t.Parallel()
	e := &workflow.Event{ID: "E", Table: "orders", Op: change.Update, TenantID: "a", RowKey: "1", CommittedAt: at, Data: []byte(
		`{"new":{"id":1,"tenant_id":"a","status":"approved","total":10,"note":"ben"},"old":{"id":1,"tenant_id":"a","status":"new","total":10,"note":"ben"},"changed":["status"],"unavailable":[],"actor":{"id":"ann"}}`)}
	lookup := func(string) (*workflow.Table, *change.Relation, error) { return captured(), orders('f'), nil }
	for _, v := range []workflow.Version{saved(`{}`, `{"status": "approved"}`, "update"), saved(`{}`, `{"status": "sent"}`, "update"), saved(`{"firing": "once_per_row"}`, `{}`, "update")} {
		w, err := workflow.Parse(v.Document)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Recorded(e, captured(), orders('f'))
		if err != nil {
			t.Fatal(err)
		}
		fired := strings.Contains(string(v.Document), "once_per_row")
		r := Simulate(Input{Version: v, Change: c, Fired: &fired})
		test, err := TestOf(e, &r, w)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(test)
		if err != nil {
			t.Fatal(err)
		}
		if test, err = workflow.ParseTest(raw); err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		if got := RunTest(Input{Version: v}, &test, lookup); !got.Passed {
			t.Errorf("it comes to %+v: %s", got, raw)
		}
	}
	if _, err := TestOf(e, &Result{Answer: Broken, Reason: "it is"}, &workflow.Workflow{}); err == nil {
		t.Error("a test was made of a broken workflow")
	}
}

// What runs a version knows nothing of its tests.
func TestTestsDontRun(t *testing.T) {
	t.Parallel()
	with := document(`{"firing": "every", "tests": [{"name": "x", "change": {}, "expect": {"fires": true}}]}`, nil, on("create", `{}`))
	without := document(`{"firing": "every"}`, nil, on("create", `{}`))
	a, b := match.Compile(with, 1, nil), match.Compile(without, 1, nil)
	if string(a.Workflow.Settings) != `{"firing":"every"}` || a.Health.Verdict != b.Health.Verdict {
		t.Errorf("it runs with the settings %s, and is %s", a.Workflow.Settings, a.Health.Verdict)
	}
}
