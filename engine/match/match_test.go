package match

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// unchanged stands for a value that is not sent again, nil for NULL.
type unchanged struct{}

// row builds TupleData: nil is NULL, unchanged{} an unchanged value, a string a text.
func row(values ...any) change.Row {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(values)))
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			b = append(b, 'n')
		case unchanged:
			b = append(b, 'u')
		case string:
			b = append(b, 't')
			b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
			b = append(b, v...)
		}
	}
	return change.NewRow(b)
}

// orders is id, tenant_id, status, total, note.
func orders(identity byte) *change.Relation {
	full := identity == 'f'
	return &change.Relation{
		OID: 16384, Schema: "public", Name: "orders", ReplicaIdentity: identity, Fingerprint: 1000 + uint64(identity),
		Columns: []change.Column{
			{Name: "id", Type: change.Type{OID: 20, Kind: change.Int, Name: "int8"}, Key: true},
			{Name: "tenant_id", Type: change.Type{OID: 25, Kind: change.Text, Name: "text"}, Key: full},
			{Name: "status", Type: change.Type{OID: 25, Kind: change.Text, Name: "text"}, Key: full},
			{Name: "total", Type: change.Type{OID: 1700, Kind: change.Number, Name: "numeric"}, Key: full},
			{Name: "note", Type: change.Type{OID: 25, Kind: change.Text, Name: "text"}, Key: full},
		},
	}
}

func capturedOrders() *workflow.Table {
	return &workflow.Table{Schema: "public", Name: "orders", Version: 1, Label: "orders", TenantColumn: "tenant_id", KeyColumns: []string{"id"}}
}

// version builds a workflow version from its triggers and conditions.
func version(id, tenant string, number int32, triggers []workflow.Trigger, conditions []workflow.Condition) workflow.Version {
	doc, err := json.Marshal(workflow.Workflow{
		ID: id, Name: id, Status: workflow.Active, Triggers: triggers, Conditions: conditions,
		Actions: []workflow.Action{{ID: "a", Type: "log"}},
	})
	if err != nil {
		panic(err)
	}
	return workflow.Version{WorkflowID: id, Version: number, TenantID: tenant, Status: workflow.Active, Document: doc}
}

// settings puts settings into a document.
func settings(document json.RawMessage, s string) json.RawMessage {
	var w workflow.Workflow
	if err := json.Unmarshal(document, &w); err != nil {
		panic(err)
	}
	w.Settings = json.RawMessage(s)
	document, err := json.Marshal(w)
	if err != nil {
		panic(err)
	}
	return document
}

func on(operation, conditions string) workflow.Trigger {
	t := workflow.Trigger{EntityType: "orders", Operation: operation, Priority: 100}
	if conditions != "" {
		t.FieldConditions = json.RawMessage(conditions)
	}
	return t
}

func simple(id, tenant, operation, conditions string) *Compiled {
	return Compile(version(id, tenant, 1, []workflow.Trigger{on(operation, conditions)}, nil), 1, nil)
}

var testContext = &condition.Context{
	Position:    change.Position{Stream: 1, CommitLSN: 0x16B374D848},
	CommittedAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
}

// names writes matches as "id" or "id!" for one that failed, "id/1" on the second side.
func names(list []Match) string {
	var parts []string
	for _, m := range list {
		s := m.Compiled.WorkflowID
		if m.Side == change.SideSecond {
			s += "/1"
		}
		if m.Err != nil {
			s += "!"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " ")
}

func index(t *testing.T, identity byte, list ...*Compiled) (*Index, *change.Relation, *Table) {
	t.Helper()
	ix := New()
	ix.Capture(capturedOrders())
	for _, c := range list {
		ix.Apply(c)
	}
	rel := orders(identity)
	table := ix.Bind(rel)
	if table == nil {
		t.Fatal("Bind returned nil for a captured table")
	}
	for _, h := range ix.TakeVerdicts() {
		if h.Verdict != workflow.OK {
			t.Logf("%s: %s: %s", h.WorkflowID, h.Verdict, h.Message)
		}
	}
	return ix, rel, table
}

func TestMatch(t *testing.T) {
	_, rel, table := index(t, 'f',
		simple("all", "", "update", ``),
		simple("a-approved", "a", "update", `{"status":"approved"}`),
		simple("b-approved", "b", "update", `{"status":"approved"}`),
		simple("a-big", "a", "update", `{"total":{"gt":1000}}`),
		simple("a-ten", "a", "update", `{"total":10}`),
		simple("a-in", "a", "update", `{"status":["x"]}`),
		simple("a-either", "a", "update", `{"status":{"in":["approved","paid"]},"total":{"lt":11}}`),
		simple("a-note", "a", "update", `{"note":"long"}`),
		simple("a-created", "a", "create", ``),
		simple("b-created", "b", "create", `{"status":"approved"}`),
		simple("a-gone", "a", "delete", `{"status":"new"}`),
		simple("ops-gone", "", "delete", ``),
	)
	for _, c := range []struct {
		name string
		ev   change.Event
		want string
	}{
		{"approved of a", change.Event{Op: change.Update, New: row("1", "a", "approved", "10.00", "n"), Old: row("1", "a", "new", "10.00", "n")}, "a-approved a-either a-ten all"},
		{"approved of b", change.Event{Op: change.Update, New: row("1", "b", "approved", "10", "n"), Old: row("1", "b", "new", "10", "n")}, "all b-approved"},
		{"big of a", change.Event{Op: change.Update, New: row("1", "a", "paid", "1000.01", nil), Old: row("1", "a", "paid", "1", nil)}, "a-big all"},
		{"NULLs", change.Event{Op: change.Update, New: row("1", "a", nil, nil, nil), Old: row("1", "a", "x", nil, nil)}, "all"},
		{"no tenant", change.Event{Op: change.Update, New: row("1", nil, "approved", "10", nil), Old: row("1", nil, nil, nil, nil)}, "all"},
		{"nothing changed", change.Event{Op: change.Update, New: row("1", "a", "approved", "10.00", "n"), Old: row("1", "a", "approved", "10.00", "n")}, ""},
		{"nothing but how a number is written", change.Event{Op: change.Update, New: row("1", "a", "approved", "10.00", "n"), Old: row("1", "a", "approved", "10", "n")}, ""},
		{"nothing but a value that isn't sent again", change.Event{Op: change.Update, New: row("1", "a", "approved", "10", unchanged{}), Old: row("1", "a", "approved", "10", "n")}, ""},
		{"nothing as far as one can tell", change.Event{Op: change.Update, New: row("1", "a", "approved", "9", "n"), Old: row("1", "a", unchanged{}, "9", "n")}, "a-approved a-either all"},
		{"unchanged note is in the old row", change.Event{Op: change.Update, New: row("1", "a", "x", "2", unchanged{}), Old: row("1", "a", "x", "1", "long")}, "a-note all"},
		{"create", change.Event{Op: change.Create, New: row("1", "a", "approved", "10", "n")}, "a-created"},
		{"delete", change.Event{Op: change.Delete, Old: row("1", "a", "new", "10", "n")}, "a-gone ops-gone"},
		{"change of tenant", change.Event{Op: change.Update, New: row("1", "b", "approved", "10", "n"), Old: row("1", "a", "new", "10", "n")}, "a-gone ops-gone b-created/1"},
		{"truncate", change.Event{Op: change.Truncate}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.ev.Relation = rel
			if got := names(table.Match(&c.ev, testContext, nil)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestMissingValue(t *testing.T) {
	_, rel, table := index(t, 'd',
		simple("a-note", "a", "update", `{"note":"long"}`),
		simple("b-note", "b", "update", `{"note":"long"}`),
		simple("a-note-paid", "a", "update", `{"note":"long","status":"paid"}`),
		simple("a-paid-note", "a", "update", `{"status":"paid","note":{"contains":"o"}}`),
		simple("a-any", "a", "update", `{"any":[{"status":"new"},{"note":"long"}]}`),
	)
	ev := change.Event{Op: change.Update, Relation: rel, New: row("1", "a", "new", "1", unchanged{})}
	list := table.Match(&ev, testContext, nil)
	if got, want := names(list), "a-any a-note!"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	var missing *condition.MissingError
	if !errors.As(list[1].Err, &missing) || missing.Column != "new.note" {
		t.Errorf("got error %v, want a MissingError on new.note", list[1].Err)
	}
	if !strings.Contains(list[1].Err.Error(), "ALTER TABLE public.orders REPLICA IDENTITY FULL") {
		t.Errorf("no mend in %q", list[1].Err)
	}
}

func TestPriority(t *testing.T) {
	p := func(tr workflow.Trigger, priority int32) workflow.Trigger { tr.Priority = priority; return tr }
	_, rel, table := index(t, 'f',
		Compile(version("w1", "a", 1, []workflow.Trigger{p(on("update", `{"status":"x"}`), 50), p(on("update", ``), 7)}, nil), 1, nil),
		Compile(version("w2", "a", 1, []workflow.Trigger{p(on("update", `{"status":"x"}`), 5), p(on("update", ``), 70)}, nil), 2, nil),
		Compile(version("w0", "a", 1, []workflow.Trigger{p(on("update", ``), 7)}, nil), 3, nil),
	)
	for status, want := range map[string]string{"x": "w2:5 w0:7 w1:7", "y": "w0:7 w1:7 w2:70"} {
		ev := change.Event{Op: change.Update, Relation: rel, New: row("1", "a", status, "1", nil), Old: row("1", "a", "o", "1", nil)}
		var got []string
		for _, m := range table.Match(&ev, testContext, nil) {
			got = append(got, fmt.Sprintf("%s:%d", m.Compiled.WorkflowID, m.Priority))
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("status %s: got %q, want %q", status, g, want)
		}
	}
}

// An index that nobody uses any more goes, with all that is in it: a worker makes one each
// time that it takes the slot.
func TestIndexIsCollected(t *testing.T) {
	ix := New()
	ix.Capture(capturedOrders())
	for i := range 100 {
		ix.Apply(simple(fmt.Sprint("w", i), "a", "update", `{"status":"x","any":[{"total":1},{"note":{"contains":"y"}}]}`))
	}
	if ix.Bind(orders('f')).Len() != 100 {
		t.Fatal("not all are bound")
	}
	gone := weak.Make(ix)
	ix = nil
	for range 100 {
		runtime.GC()
		if gone.Value() == nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("the index is kept by what is in it")
}
