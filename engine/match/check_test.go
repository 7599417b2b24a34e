package match

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func expression(text string) workflow.Condition {
	config, err := json.Marshal(map[string]string{"expression": text})
	if err != nil {
		panic(err)
	}
	return workflow.Condition{Type: "expression", Config: config}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	tenant := "a"
	captured := &workflow.Table{Schema: "public", Name: "orders", Version: 1, Label: "orders", TenantColumn: "tenant_id"}
	lookup := func(identity byte, version int32) Lookup {
		return func(label string) (*workflow.Table, *change.Relation, error) {
			if label != "orders" {
				return nil, nil, fmt.Errorf("there is no table %s", label)
			}
			table := *captured
			table.Version = version
			return &table, orders(identity), nil
		}
	}
	judge := func(w *workflow.Workflow) (workflow.Judged, error) {
		var problems []error
		for i, a := range w.Actions {
			if a.Type != "log" {
				problems = append(problems, fmt.Errorf("action %d (%s): unknown", i+1, a.Type))
			}
		}
		return workflow.Judged{Routes: make([]workflow.Route, len(w.Actions))}, errors.Join(problems...)
	}
	for name, c := range map[string]struct {
		edit     func(w *workflow.Workflow)
		lookup   Lookup
		verdict  workflow.Verdict
		problems []string // how each begins
		warnings int
	}{
		"good":             {func(*workflow.Workflow) {}, lookup('f', 1), workflow.OK, nil, 0},
		"not captured yet": {func(*workflow.Workflow) {}, lookup('f', 0), workflow.NotCaptured, nil, 1},
		"incomplete":       {func(w *workflow.Workflow) { w.Actions = nil }, lookup('f', 1), workflow.Incomplete, []string{"the workflow is active but has no action"}, 0},
		"incomplete and wrong": {
			func(w *workflow.Workflow) {
				w.Actions = nil
				w.Triggers[0].FieldConditions = json.RawMessage(`{"stauts": 1}`)
			},
			lookup('f', 1), workflow.Incomplete,
			[]string{"the workflow is active but has no action", "trigger 1 (orders update), field_conditions.stauts: table orders has no column stauts"},
			0,
		},
		"all at once": {
			func(w *workflow.Workflow) {
				w.Triggers = []workflow.Trigger{on("update", `{"stauts": 1}`), on("create", `{"total": {"gtee": 1}}`), {EntityType: "order", Operation: "create"}, on("upsert", `{}`)}
				w.Conditions = []workflow.Condition{expression("new.total >"), expression("new.total > 1"), expression(`old.status == "x"`), expression("new.totl > 1")}
				w.Actions = []workflow.Action{{Type: "fax"}, {Type: "log"}, {Type: "telex"}}
			},
			lookup('d', 1), workflow.Broken,
			[]string{
				"action 1 (fax): unknown", "action 3 (telex): unknown",
				"trigger 1 (orders update), field_conditions.stauts: table orders has no column stauts",
				"trigger 2 (orders create), field_conditions.total.gtee: there is no operator",
				"trigger 3 (order create): there is no table order",
				`trigger 4 (orders upsert): there is no operation "upsert"`,
				"trigger 1 (orders update), condition 1 (expression), line 1, column 11: unexpected",
				"trigger 1 (orders update), condition 3 (expression), line 1, column 5: the old value of status",
				"trigger 1 (orders update), condition 4 (expression), line 1, column 5: table orders has no column totl",
			},
			0,
		},
		"of all triggers": {
			func(w *workflow.Workflow) {
				w.Triggers = append(w.Triggers, on("create", `{}`))
				w.Conditions = []workflow.Condition{expression("new.totl > 1")}
			},
			lookup('f', 1), workflow.Broken,
			[]string{"condition 1 (expression), line 1, column 5: table orders has no column totl"},
			0,
		},
		"the trigger alone": {
			func(w *workflow.Workflow) {
				w.TenantID = &tenant
				w.Triggers = []workflow.Trigger{on("delete", `{}`)}
				w.Conditions = []workflow.Condition{expression("true"), expression("old.id > 1")}
			},
			lookup('d', 1), workflow.Broken,
			[]string{"trigger 1 (orders delete): the tenant column tenant_id of a deleted row is never in the WAL"},
			0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &workflow.Workflow{ID: "w", Status: workflow.Draft, Triggers: []workflow.Trigger{on("update", `{"status":"x"}`)}, Actions: []workflow.Action{{Type: "log"}}}
			c.edit(w)
			r := Check(w, c.lookup, judge)
			if r.Verdict != c.verdict || len(r.Warnings) != c.warnings {
				t.Errorf("it is %s with warnings %v, want %s with %d", r.Verdict, r.Warnings, c.verdict, c.warnings)
			}
			for i, p := range r.Errors {
				if i >= len(c.problems) || !strings.HasPrefix(p.String(), c.problems[i]) {
					t.Errorf("problem %d: %s", i+1, p)
				}
			}
			if len(r.Errors) < len(c.problems) {
				t.Errorf("%d problems, want %d", len(r.Errors), len(c.problems))
			}
			if w.Status != workflow.Draft {
				t.Error("the workflow was changed")
			}
		})
	}
}

// What the Index finds wrong, Check does, with the same words; and nothing else.
func TestCheckSaysWhatTheIndexSays(t *testing.T) {
	t.Parallel()
	tables := map[byte]*change.Relation{'f': orders('f'), 'd': orders('d')}
	captured := &workflow.Table{Schema: "public", Name: "orders", Version: 1, Label: "orders", TenantColumn: "tenant_id"}
	forms := []string{`{}`, `{"status":"x"}`, `{"status":{"changed":true}}`, `{"total":{"gt":"many"}}`, `{"nothing":1}`, `{"total":{"over":1}}`, `{"any_changed":["status","total"]}`, `{"any_changed":["nothing"]}`}
	conditions := []string{"true", "new.total > 1", "old.total > 1", "new.total > old.total", "new.", "new.nothing == 1", `tenant == "a"`}
	ok, n := 0, 0
	for identity, rel := range tables {
		for _, op := range []string{"create", "update", "delete"} {
			for _, form := range forms {
				for _, text := range conditions {
					for _, settings := range []string{`{}`, `{"firing": "becomes_true"}`, `{"firing": "once_per_row"}`, `{"firing": "twice"}`} {
						tenant := []string{"", "a", "a"}[n%3]
						n++
						w := workflow.Workflow{
							ID: "w", Status: workflow.Active, Triggers: []workflow.Trigger{on(op, form)}, Actions: []workflow.Action{{Type: "log"}},
							Conditions: []workflow.Condition{expression("true"), expression(text)}, Settings: json.RawMessage(settings),
						}
						if tenant != "" {
							w.TenantID = &tenant
						}
						document, err := json.Marshal(w)
						if err != nil {
							t.Fatal(err)
						}
						ix := New()
						ix.Capture(captured)
						ix.Apply(Compile(workflow.Version{WorkflowID: "w", Version: 1, TenantID: tenant, Status: workflow.Active, Document: document}, 1, nil))
						ix.Bind(rel)
						health := ix.TakeVerdicts()[0]
						r := Check(&w, func(string) (*workflow.Table, *change.Relation, error) { return captured, rel, nil }, nil)
						what := fmt.Sprintf("identity %c, %s %s, %s, settings %s, tenant %q", identity, op, form, text, settings, tenant)
						if r.Verdict != health.Verdict {
							t.Errorf("%s: Check says %s %v, the index %s: %s", what, r.Verdict, r.Errors, health.Verdict, health.Message)
						}
						if health.Verdict == workflow.OK {
							ok++
							if len(r.Errors) > 0 || len(r.Warnings) != len(health.Warnings) {
								t.Errorf("%s: Check says %v and warns of %v, the index warns of %q", what, r.Errors, r.Warnings, health.Warnings)
							}
							continue
						}
						if !slices.ContainsFunc(r.Errors, func(p Problem) bool { return strings.Contains(health.Message, p.Message) }) {
							t.Errorf("%s: Check says %v, the index %s", what, r.Errors, health.Message)
						}
					}
				}
			}
		}
	}
	if ok < 50 {
		t.Errorf("only %d were in order", ok)
	}
}
