package sentence_test

import (
	"encoding/json"
	"strconv"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// part adds to a workflow.
type part func(*workflow.Workflow)

// of makes acme's workflow of its parts.
func of(parts ...part) *workflow.Workflow {
	acme := "acme"
	w := &workflow.Workflow{ID: "w", TenantID: &acme, Name: "W", Status: workflow.Active}
	for _, p := range parts {
		p(w)
	}
	return w
}

// on is a trigger; without fields nothing is asked of the row.
func on(table, operation string, fields ...string) part {
	return func(w *workflow.Workflow) {
		t := workflow.Trigger{ID: "t" + strconv.Itoa(len(w.Triggers)+1), EntityType: table, Operation: operation, Priority: 100}
		for _, f := range fields {
			t.FieldConditions = json.RawMessage(f)
		}
		w.Triggers = append(w.Triggers, t)
	}
}

func cond(kind, config string) part {
	return func(w *workflow.Workflow) {
		w.Conditions = append(w.Conditions, workflow.Condition{ID: "c" + strconv.Itoa(len(w.Conditions)+1), Type: kind, Config: json.RawMessage(config)})
	}
}

// expr is an expression condition.
func expr(text string) part {
	config, _ := json.Marshal(map[string]string{"expression": text})
	return cond("expression", string(config))
}

// act is an action; its id is a1, a2, …
func act(order int32, kind, config string) part {
	return func(w *workflow.Workflow) {
		w.Actions = append(w.Actions, workflow.Action{ID: "a" + strconv.Itoa(len(w.Actions)+1), Type: kind, Config: json.RawMessage(config), Order: order})
	}
}

func record() part { return act(0, "log", `{}`) }

func webhook() part { return act(0, "webhook", `{"url": "https://hooks.example.com/x?token=abc"}`) }

// to is a recipient of all actions, or of those named.
func to(kind, id string, actions ...string) part {
	return func(w *workflow.Workflow) {
		r := workflow.Recipient{ID: "r" + strconv.Itoa(len(w.Recipients)+1), Type: kind, Value: id}
		for _, a := range actions {
			r.ActionID = &a
		}
		w.Recipients = append(w.Recipients, r)
	}
}

func settings(s string) part {
	return func(w *workflow.Workflow) { w.Settings = json.RawMessage(s) }
}

func operators() part { return func(w *workflow.Workflow) { w.TenantID = nil } }
