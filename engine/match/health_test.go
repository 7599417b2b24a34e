package match

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestCompile(t *testing.T) {
	document := func(f func(w *workflow.Workflow)) json.RawMessage {
		w := workflow.Workflow{ID: "w", Status: workflow.Active, Triggers: []workflow.Trigger{on("update", `{"status":"x"}`)}, Actions: []workflow.Action{{Type: "log"}}}
		f(&w)
		b, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	judge := func(w *workflow.Workflow) (workflow.Judged, error) {
		for i, a := range w.Actions {
			if a.Type != "log" && a.Type != "webhook" {
				return workflow.Judged{}, fmt.Errorf("action %d: there is no action kind %q; use log or webhook", i+1, a.Type)
			}
		}
		return workflow.Judged{Routes: make([]workflow.Route, len(w.Actions))}, nil
	}
	for _, c := range []struct {
		name     string
		document json.RawMessage
		verdict  workflow.Verdict
		message  string
		logOnly  bool
	}{
		{"good", document(func(w *workflow.Workflow) {}), workflow.OK, "", true},
		{"another action", document(func(w *workflow.Workflow) { w.Actions = append(w.Actions, workflow.Action{Type: "webhook"}) }), workflow.OK, "", false},
		{"malformed document", json.RawMessage(`{"triggers":`), workflow.Broken, "read the workflow document", false},
		{"wrong shape", json.RawMessage(`{"triggers":{"a":1}}`), workflow.Broken, "read the workflow document", false},
		{"no trigger", document(func(w *workflow.Workflow) { w.Triggers = nil }), workflow.Incomplete, "has no trigger, so", false},
		{"no action", document(func(w *workflow.Workflow) { w.Actions = nil }), workflow.Incomplete, "has no action, so", false},
		{"neither", document(func(w *workflow.Workflow) { w.Actions, w.Triggers = nil, nil }), workflow.Incomplete, "has no trigger and no action, so", false},
		{"unknown action", document(func(w *workflow.Workflow) { w.Actions[0].Type = "fax" }), workflow.Broken, `action 1: there is no action kind "fax"; use log or webhook`, false},
		{"unknown operation", document(func(w *workflow.Workflow) { w.Triggers[0].Operation = "upsert" }), workflow.Broken, `trigger 1 (orders upsert): there is no operation "upsert"; use create, update or delete`, false},
		{"no table", document(func(w *workflow.Workflow) { w.Triggers[0].EntityType = "" }), workflow.Broken, `entity_type is empty`, false},
		{"domain event", document(func(w *workflow.Workflow) { w.Triggers[0].EntityType = "domain:order.paid" }), workflow.Broken, `trigger 1 (domain:order.paid update): a domain event is made, never changed; write create instead of update`, false},
		{"firing", document(func(w *workflow.Workflow) { w.Settings = json.RawMessage(`{"firing": "sometimes"}`) }), workflow.Broken, `settings: firing is "sometimes"; it is "every", "becomes_true" or "once_per_row"`, false},
		{"roles", document(func(w *workflow.Workflow) {
			w.Conditions = []workflow.Condition{{Type: "role_based", Config: json.RawMessage(`{"roles": [""], "by": "directory"}`)}}
		}), workflow.Broken, `condition 1 (role_based): roles holds an empty text`, false},
		{"order of gates", document(func(w *workflow.Workflow) {
			w.Settings, w.Actions[0].Order = json.RawMessage(`{"firing": "once_per_row"}`), math.MinInt32
		}), workflow.Broken, `action 1 (log): order -2147483648 is kept for what is decided before the actions`, false},
		{"bad form", document(func(w *workflow.Workflow) { w.Triggers[0].FieldConditions = json.RawMessage(`{"total":{"gte ":1}}`) }), workflow.Broken, `trigger 1 (orders update): field_conditions.total.gte : there is no operator "gte "; did you mean "gte"?`, false},
		{"bad expression", document(func(w *workflow.Workflow) {
			w.Conditions = []workflow.Condition{{Type: "expression", Config: json.RawMessage(`{"expression":"new.total >"}`)}}
		}), workflow.Broken, `condition 1 (expression), line 1`, false},
		{"bad time", document(func(w *workflow.Workflow) {
			w.Conditions = []workflow.Condition{{Type: "time_based", Config: json.RawMessage(`{"days":["mo"]}`)}}
		}), workflow.Broken, `condition 1 (time_based).days[0]: there is no day "mo"`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Compile(workflow.Version{WorkflowID: "w", Version: 3, TenantID: "a", Status: workflow.Active, Document: c.document}, 9, judge)
			if got.Health.Verdict != c.verdict || !strings.Contains(got.Health.Message, c.message) || c.verdict != workflow.OK && got.Health.Message == "" {
				t.Errorf("got %s: %s", got.Health.Verdict, got.Health.Message)
			}
			if got.Health.Verdict == workflow.OK && got.LogOnly != c.logOnly {
				t.Errorf("LogOnly is %v", got.LogOnly)
			}
			if got.Ref != 9 || got.Version != 3 || got.Health.Version != 3 || got.Health.TenantID != "a" {
				t.Errorf("got %+v", got)
			}
		})
	}
	gone := Compile(workflow.Version{WorkflowID: "w", Status: workflow.Deleted, Document: json.RawMessage("null")}, 1, judge)
	if gone.Health.Verdict != workflow.OK || gone.Workflow != nil {
		t.Errorf("deleted: got %+v", gone)
	}
}

// story is an index with one table, and what its health has said.
type story struct {
	t  *testing.T
	ix *Index
}

func (s story) verdicts(want ...string) {
	s.t.Helper()
	var got []string
	for _, h := range s.ix.TakeVerdicts() {
		got = append(got, fmt.Sprintf("%s v%d %s: %s", h.WorkflowID, h.Version, h.Verdict, h.Message))
	}
	if len(got) != len(want) {
		s.t.Fatalf("got verdicts %q, want %q", got, want)
	}
	for i := range got {
		if !strings.Contains(got[i], want[i]) {
			s.t.Fatalf("got verdict %q, want %q", got[i], want[i])
		}
	}
}

func (s story) matches(table *Table, ev change.Event, want string) {
	s.t.Helper()
	ev.Relation = table.rel
	if got := names(table.Match(&ev, testContext, nil)); got != want {
		s.t.Fatalf("got matches %q, want %q", got, want)
	}
}

func TestHealth(t *testing.T) {
	created := change.Event{Op: change.Create, New: row("1", "a", "x", "1", "n")}
	t.Run("not captured, then captured, then released", func(t *testing.T) {
		s := story{t, New()}
		s.ix.Apply(simple("w", "a", "create", ``))
		s.verdicts("w v1 not_captured: table orders isn't captured; run CALL rowbell.capture('orders')")
		if s.ix.Bind(orders('d')) != nil {
			t.Fatal("a table that isn't captured is bound")
		}
		s.ix.Capture(capturedOrders())
		s.verdicts("w v1 ok: ")
		s.matches(s.ix.Bind(orders('d')), created, "w")
		s.verdicts()
		released := capturedOrders()
		released.Released = true
		s.ix.Capture(released)
		s.verdicts("w v1 not_captured")
		if s.ix.Bind(orders('d')) != nil {
			t.Fatal("a released table is bound")
		}
		s.ix.Apply(&Compiled{WorkflowID: "w", Status: workflow.Deleted})
		s.verdicts()
		if len(s.ix.tables) != 0 {
			t.Errorf("%d tables are left", len(s.ix.tables))
		}
	})
	t.Run("a column goes and comes", func(t *testing.T) {
		s := story{t, New()}
		s.ix.Capture(capturedOrders())
		s.ix.Apply(simple("w", "a", "create", `{"status":"x"}`))
		s.ix.Apply(simple("other", "a", "create", ``))
		s.matches(s.ix.Bind(orders('d')), created, "other w")
		s.verdicts("other v1 ok", "w v1 ok")
		altered := orders('d')
		altered.Columns[2].Name = "state"
		altered.Fingerprint++
		s.matches(s.ix.Bind(altered), created, "other")
		s.verdicts("w v1 broken: trigger 1 (orders create): field_conditions.status: table orders has no column status; it was renamed to state: write that")
		s.matches(s.ix.Bind(orders('d')), created, "other w")
		s.verdicts("w v1 ok: ")
	})
	t.Run("a new version is broken, the old one doesn't stay", func(t *testing.T) {
		s := story{t, New()}
		s.ix.Capture(capturedOrders())
		s.ix.Apply(simple("w", "a", "create", ``))
		table := s.ix.Bind(orders('d'))
		s.matches(table, created, "w")
		s.verdicts("w v1 ok")
		s.ix.Apply(Compile(version("w", "a", 2, []workflow.Trigger{on("create", `{"nothing":1}`)}, nil), 2, nil))
		s.matches(table, created, "")
		s.verdicts("w v2 broken: ")
		s.ix.Apply(Compile(version("w", "a", 3, []workflow.Trigger{on("create", `{"status":{"xx":1}}`)}, nil), 3, nil))
		s.matches(table, created, "")
		s.verdicts("w v3 broken: ")
		s.ix.Apply(Compile(version("w", "a", 4, []workflow.Trigger{on("create", `{"status":"x"}`)}, nil), 4, nil))
		s.matches(table, created, "w")
		s.verdicts("w v4 ok")
		s.ix.Apply(Compile(workflow.Version{WorkflowID: "w", Version: 5, Status: workflow.Deleted}, 5, nil))
		s.matches(table, created, "")
		s.verdicts()
	})
	t.Run("one bad trigger keeps the others of the table back", func(t *testing.T) {
		s := story{t, New()}
		s.ix.Capture(capturedOrders())
		s.ix.Apply(Compile(version("w", "a", 1, []workflow.Trigger{on("create", ``), on("delete", ``)}, nil), 1, nil))
		s.matches(s.ix.Bind(orders('d')), created, "")
		s.verdicts("w v1 broken: trigger 2 (orders delete): the tenant column tenant_id of a deleted row is never in the WAL")
		s.matches(s.ix.Bind(orders('f')), created, "w")
		s.verdicts("w v1 ok")
	})
	t.Run("tables without tenant column serve operators", func(t *testing.T) {
		s := story{t, New()}
		table := capturedOrders()
		table.TenantColumn = ""
		s.ix.Capture(table)
		s.ix.Apply(simple("ops", "", "create", ``))
		s.ix.Apply(simple("w", "a", "create", ``))
		s.matches(s.ix.Bind(orders('f')), created, "ops")
		s.verdicts("ops v1 ok", "w v1 broken: trigger 1 (orders create): table orders has no tenant column, so it serves operators' workflows only; capture it")
	})
	t.Run("the tenant column is gone", func(t *testing.T) {
		s := story{t, New()}
		s.ix.Capture(capturedOrders())
		s.ix.Apply(simple("w", "a", "create", ``))
		altered := orders('d')
		altered.Columns[1].Name = "customer"
		s.matches(s.ix.Bind(altered), created, "")
		s.verdicts("w v1 broken: trigger 1 (orders create): table orders has lost its tenant column tenant_id")
	})
	t.Run("insert only", func(t *testing.T) {
		s := story{t, New()}
		table := capturedOrders()
		table.InsertOnly = true
		s.ix.Capture(table)
		s.ix.Apply(simple("c", "a", "create", ``))
		s.ix.Apply(simple("u", "a", "update", ``))
		s.matches(s.ix.Bind(orders('n')), created, "c")
		s.verdicts("c v1 ok", "u v1 broken: trigger 1 (orders update): operation update: table orders has no replica identity")
	})
	t.Run("a table with a label of its own", func(t *testing.T) {
		s := story{t, New()}
		table := capturedOrders()
		table.Label = "sales"
		s.ix.Capture(table)
		tr := on("create", "")
		tr.EntityType = "sales"
		s.ix.Apply(Compile(version("w", "a", 1, []workflow.Trigger{tr}, nil), 1, nil))
		s.matches(s.ix.Bind(orders('d')), created, "w")
		s.verdicts("w v1 ok")
	})
	t.Run("added columns are harmless", func(t *testing.T) {
		s := story{t, New()}
		s.ix.Capture(capturedOrders())
		s.ix.Apply(simple("w", "a", "create", `{"status":"x"}`))
		s.ix.Apply(simple("later", "a", "create", `{"rank":{"gte":3}}`))
		s.matches(s.ix.Bind(orders('d')), created, "w")
		s.verdicts("later v1 broken: trigger 1 (orders create): field_conditions.rank.gte: table orders has no column rank", "w v1 ok")
		before := s.ix.Bind(orders('d'))
		added := orders('d')
		added.Columns = append(slices.Clone(added.Columns), change.Column{Name: "rank", Type: change.Type{Kind: change.Int, Name: "int4"}})
		added.Fingerprint++
		after := s.ix.Bind(added)
		if after != before {
			t.Error("what was bound is bound again")
		}
		s.verdicts("later v1 ok")
		s.matches(after, change.Event{Op: change.Create, New: row("1", "a", "x", "1", "n", "3")}, "later w")
		s.matches(after, change.Event{Op: change.Create, New: row("1", "a", "x", "1", "n", "2")}, "w")
		s.ix.Apply(simple("another", "a", "create", `{"rank":2}`))
		s.matches(after, change.Event{Op: change.Create, New: row("1", "a", "x", "1", "n", "2")}, "another w")
		s.verdicts("another v1 ok")
	})
	t.Run("a column is retyped", func(t *testing.T) {
		s := story{t, New()}
		s.ix.Capture(capturedOrders())
		s.ix.Apply(simple("w", "a", "create", `{"status":"x"}`))
		s.matches(s.ix.Bind(orders('d')), created, "w")
		s.verdicts("w v1 ok")
		altered := orders('d')
		altered.Columns[2].Type = change.Type{Kind: change.Int, Name: "int4"}
		altered.Fingerprint++
		s.matches(s.ix.Bind(altered), created, "")
		s.verdicts("w v1 broken: trigger 1 (orders create): field_conditions.status: column status is int4 and can't be compared with the text \"x\"")
	})
	t.Run("warnings", func(t *testing.T) {
		s := story{t, New()}
		s.ix.Capture(capturedOrders())
		s.ix.Apply(simple("w", "a", "update", `{"note":{"contains":"x"},"total":{"gt":6,"lt":5}}`))
		s.ix.Bind(orders('d'))
		got := s.ix.TakeVerdicts()
		if len(got) != 1 || got[0].Verdict != workflow.OK || len(got[0].Warnings) != 2 ||
			!strings.Contains(got[0].Warnings[0], "a large value of note") || !strings.Contains(got[0].Warnings[1], "never hold together") {
			t.Errorf("got %+v", got)
		}
		s.ix.Bind(orders('f'))
		if got := s.ix.TakeVerdicts(); len(got) != 1 || len(got[0].Warnings) != 1 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("firing mode becomes_true", func(t *testing.T) {
		s := story{t, New()}
		s.ix.Capture(capturedOrders())
		v := version("w", "a", 1, []workflow.Trigger{on("create", `{"status":"x"}`), on("update", `{"status":"x"}`)}, nil)
		v.Document = settings(v.Document, `{"firing":"becomes_true"}`)
		s.ix.Apply(Compile(v, 1, nil))
		s.matches(s.ix.Bind(orders('d')), created, "")
		s.verdicts("w v1 broken: trigger 2 (orders update): field_conditions: firing mode becomes_true needs the old value of status")
		table := s.ix.Bind(orders('f'))
		s.verdicts("w v1 ok")
		s.matches(table, created, "w")
		update := func(before, after string) change.Event {
			return change.Event{Op: change.Update, Old: row("1", "a", before, "1", "n"), New: row("1", "a", after, "2", "n")}
		}
		s.matches(table, update("y", "x"), "w")
		s.matches(table, update("x", "x"), "")
		s.matches(table, update("x", "y"), "")
		s.ix.Apply(Compile(workflow.Version{WorkflowID: "w", Version: 2, TenantID: "a", Status: workflow.Active, Document: settings(v.Document, `{"firing":"sometimes"}`)}, 2, nil))
		s.verdicts(`w v2 broken: settings: firing is "sometimes"; it is "every", "becomes_true" or "once_per_row"`)
	})
	t.Run("hidden columns don't exist", func(t *testing.T) {
		s := story{t, New()}
		table := capturedOrders()
		table.Hidden = []string{"note"}
		s.ix.Capture(table)
		s.ix.Apply(simple("w", "a", "create", `{"note":"n"}`))
		s.matches(s.ix.Bind(orders('n')), created, "")
		s.verdicts("table orders has no column note; ")
	})
}

func TestMatchReportsEvalError(t *testing.T) {
	_, rel, table := index(t, 'f', Compile(version("w", "a", 1, []workflow.Trigger{on("create", ``)},
		[]workflow.Condition{{Type: "expression", Config: json.RawMessage(`{"expression":"1 / (new.id - 1) > 0"}`)}}), 1, nil))
	ev := change.Event{Op: change.Create, Relation: rel, New: row("1", "a", "x", "1", "n")}
	list := table.Match(&ev, testContext, nil)
	if len(list) != 1 || !errors.Is(list[0].Err, change.ErrDivisionByZero) {
		t.Fatalf("got %v", describe(list))
	}
}
