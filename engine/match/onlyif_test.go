package match

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func onlyIf(conditions ...workflow.Condition) json.RawMessage {
	config, err := json.Marshal(map[string]any{"only_if": conditions})
	if err != nil {
		panic(err)
	}
	return config
}

func conditionOf(kind, config string) workflow.Condition {
	return workflow.Condition{Type: kind, Config: json.RawMessage(config)}
}

// What an action's own conditions lack is said when they are saved, with the place; by Check and
// by the index alike.
func TestOnlyIfIsJudged(t *testing.T) {
	t.Parallel()
	table := capturedOrders()
	table.Redacted = []string{"note"}
	fields := func(form string) workflow.Condition { return conditionOf("field_value", form) }
	for name, c := range map[string]struct {
		ops        string
		identity   byte
		conditions json.RawMessage // action_config
		problems   []string        // how each begins
	}{
		"good": {"create update delete", 'f', onlyIf(fields(`{"total": {"gt": 5}}`), expression(`op == "update" && old.total > 1`), conditionOf("time_based", `{"days": ["mon"]}`), conditionOf("role_based", `{"roles": ["clerk"]}`)), nil},
		"none": {"update", 'd', json.RawMessage(`{"only_if": []}`), nil},
		"each by itself": {"create update", 'f', onlyIf(fields(`{"totl": 1}`), fields(`{"total": 1}`), expression("new."), fields(`{"total": {"gt": "many"}}`), conditionOf("moon_based", `{}`)), []string{
			"action 2 (log), only_if, condition 1 (field_value).totl: table orders has no column totl; did you mean",
			"action 2 (log), only_if, condition 3 (expression), line 1, column 4: unexpected end",
			"action 2 (log), only_if, condition 4 (field_value).total.gt: ",
			`action 2 (log), only_if, condition 5 (moon_based): there is no condition_type "moon_based"`,
		}},
		"never in the WAL": {"update", 'd', onlyIf(fields(`{"status": {"changed": true}}`), expression("old.total > 1")), []string{
			"action 2 (log), only_if, condition 1 (field_value).status.changed: the old value of status in an update is never in the WAL",
			"action 2 (log), only_if, condition 2 (expression), line 1, column 5: the old value of total in an update is never in the WAL",
		}},
		"the wrong row": {"create", 'f', onlyIf(expression("old.total > 1")), []string{"action 2 (log), only_if, condition 1 (expression): its conditions read only old.total, and a create has no old row; write new.total"}},
		"redacted":      {"update", 'f', onlyIf(fields(`{"total": 1}`), fields(`{"note": "x"}`)), []string{"action 2 (log), only_if: column note of table orders is redacted, so what is recorded of a change has it masked"}},
		"by directory":  {"update", 'f', onlyIf(conditionOf("role_based", `{"roles": ["clerk"], "by": "directory"}`)), []string{"action 2 (log), only_if, condition 1 (role_based): an action's own condition can't ask the directory for roles"}},
		"no list":       {"update", 'f', json.RawMessage(`{"only_if": {"total": 1}}`), []string{"action 2 (log): only_if: it is no list; write a list of conditions"}},
		"too many":      {"update", 'f', onlyIf(slices.Repeat([]workflow.Condition{fields(`{"total": 1}`)}, MostConditions+1)...), []string{"action 2 (log), only_if: it has 51 conditions, at most 50 are taken"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rel := orders(c.identity)
			w := &workflow.Workflow{ID: "w", Status: workflow.Active, Actions: []workflow.Action{{Type: "log"}, {Type: "log", Config: c.conditions}}}
			for op := range strings.FieldsSeq(c.ops) {
				w.Triggers = append(w.Triggers, on(op, ""))
			}
			r := Check(w, func(string) (*workflow.Table, *change.Relation, error) { return table, rel, nil }, nil)
			for i, p := range r.Errors {
				if i >= len(c.problems) || !strings.HasPrefix(p.String(), c.problems[i]) {
					t.Errorf("problem %d: %s", i+1, p)
				}
			}
			if len(r.Errors) < len(c.problems) {
				t.Errorf("%d problems, want %d: %v", len(r.Errors), len(c.problems), r.Errors)
			}
			document, err := json.Marshal(w)
			if err != nil {
				t.Fatal(err)
			}
			ix := New()
			ix.Capture(table)
			compiled := Compile(workflow.Version{WorkflowID: "w", Version: 1, Status: workflow.Active, Document: document}, 1, nil)
			ix.Apply(compiled)
			ix.Bind(rel)
			health := ix.TakeVerdicts()[0]
			if health.Verdict != r.Verdict {
				t.Errorf("Check says %s, the index %s: %s", r.Verdict, health.Verdict, health.Message)
			}
			if len(c.problems) > 0 && !slices.ContainsFunc(r.Errors, func(p Problem) bool { return strings.Contains(health.Message, p.Message) }) {
				t.Errorf("Check says %v, the index %s", r.Errors, health.Message)
			}
			if name == "good" && compiled.LogOnly {
				t.Error("nobody would decide the conditions")
			}
			if name == "none" && !compiled.LogOnly {
				t.Error("there is nothing to decide")
			}
		})
	}
}

func TestReadsOnlyIf(t *testing.T) {
	w := &workflow.Workflow{ID: "w", Triggers: []workflow.Trigger{on("update", `{"status": "x"}`)}, Actions: []workflow.Action{
		{Type: "log"},
		{Type: "log", Config: onlyIf(conditionOf("field_value", `{"total": {"changed": true}}`), expression("new.note == 1"), expression("new.nots == 1"))},
	}}
	var got []string
	for _, r := range Reads(w, 0, capturedOrders(), orders('f')) {
		got = append(got, fmt.Sprint(r.Where, " ", r.Columns, " ", r.Err != nil))
	}
	want := []string{
		"trigger 1 (orders update), field_conditions [new.status] false",
		"action 2 (log), only_if, condition 1 (field_value) [new.total old.total] false",
		"action 2 (log), only_if, condition 2 (expression) [] true", // a text is no number
		"action 2 (log), only_if, condition 3 (expression) [] true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}
