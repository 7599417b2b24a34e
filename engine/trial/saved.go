package trial

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Tested is what came of a saved test.
type Tested struct {
	Name   string `json:"name"`
	Passed bool   `json:"passed"`
	Answer Answer `json:"answer,omitempty"` // "" if it could not be tried
	Reason string `json:"reason,omitempty"`
	// Differences say what isn't as expected, each in a sentence; or why it can't be tried.
	Differences []string `json:"differences,omitempty"`
}

// Lookup finds a table by its label. The error says that there is none, and the mend.
type Lookup func(label string) (*workflow.Table, *change.Relation, error)

// RunTest tries a saved test. in.Change is made of the test.
func RunTest(in Input, t *workflow.Test, lookup Lookup) Tested {
	out := Tested{Name: t.Name}
	w, err := workflow.Parse(in.Version.Document)
	if err == nil {
		in.Change, err = changeOf(t, w, lookup)
	}
	if err != nil {
		out.Differences = []string{err.Error()}
		return out
	}
	in.Fired = &t.FiredBefore
	r := Simulate(in)
	out.Answer, out.Reason = r.Answer, r.Reason
	out.Differences = differences(&r, w, &t.Expect)
	out.Passed = len(out.Differences) == 0
	return out
}

// changeOf is the change that a test is about.
func changeOf(t *workflow.Test, w *workflow.Workflow, lookup Lookup) (*Change, error) {
	if t.Event != nil {
		return changeOfEvent(t.Event, lookup)
	}
	of := t.Change
	label, op, err := aboutWhat(of, w)
	if err != nil {
		return nil, err
	}
	tenant := of.TenantID
	if tenant == "" && w.TenantID != nil {
		tenant = *w.TenantID
	}
	var c *Change
	if name, domain := strings.CutPrefix(label, workflow.DomainPrefix); domain {
		c = Domain(name, nil, tenant)
		err = c.Edit(of.New, of.Old)
	} else {
		if of.TenantID != "" {
			return nil, errors.New("tenant_id is for domain events; a row's tenant stands in the row")
		}
		c, err = rowChange(of, op, tenant, label, lookup)
	}
	if err != nil {
		return nil, err
	}
	c.CommittedAt = workflow.TestTime
	if of.At != nil {
		c.CommittedAt = *of.At
	}
	if actor := bytes.TrimSpace(of.Actor); len(actor) > 0 && string(actor) != "null" {
		c.Actor = actor
	}
	return c, nil
}

// aboutWhat is the table and the operation, from the workflow's triggers where the test
// doesn't say.
func aboutWhat(of *workflow.TestChange, w *workflow.Workflow) (label string, op change.Op, err error) {
	label = strings.TrimPrefix(of.EntityType, "public.")
	only := func(key string, given string, of func(workflow.Trigger) string) (string, error) {
		if given != "" {
			return given, nil
		}
		var all []string
		for _, t := range w.Triggers {
			if (label == "" || t.EntityLabel() == label) && !slices.Contains(all, of(t)) {
				all = append(all, of(t))
			}
		}
		if len(all) != 1 {
			return "", fmt.Errorf("its change doesn't say %s, and the workflow has triggers for %d; write it into the change", key, len(all))
		}
		return all[0], nil
	}
	if label, err = only("entity_type", label, workflow.Trigger.EntityLabel); err != nil {
		return "", op, err
	}
	operation, err := only("operation", of.Operation, func(t workflow.Trigger) string { return t.Operation })
	if err != nil {
		return "", op, err
	}
	op, ok := change.ParseOp(operation)
	if !ok {
		return "", op, fmt.Errorf("there is no operation %q; use create, update or delete", operation)
	}
	if strings.HasPrefix(label, workflow.DomainPrefix) && op != change.Create {
		return "", op, errors.New("domain events are only created; write operation create, or leave it out")
	}
	return label, op, nil
}

// rowChange makes the change of a row: columns that aren't given are NULL, but for the
// tenant's.
func rowChange(of *workflow.TestChange, op change.Op, tenant, label string, lookup Lookup) (*Change, error) {
	table, rel, err := lookup(label)
	if err != nil {
		return nil, err
	}
	given := func(side string, raw json.RawMessage) (map[string]json.RawMessage, error) {
		if trimmed := bytes.TrimSpace(raw); len(trimmed) == 0 || string(trimmed) == "null" {
			return map[string]json.RawMessage{}, nil
		}
		return readObject(side, raw)
	}
	newRow, err := given("new", of.New)
	if err != nil {
		return nil, err
	}
	oldRow, err := given("old", of.Old)
	if err != nil {
		return nil, err
	}
	first := newRow
	switch {
	case op == change.Create && len(oldRow) > 0:
		return nil, errors.New("old: a create has no old row")
	case op == change.Delete && len(newRow) > 0:
		return nil, errors.New("new: a delete has no new row; write what went as old")
	case op == change.Delete:
		first = oldRow
	}
	if _, ok := first[table.TenantColumn]; !ok && tenant != "" && table.TenantColumn != "" {
		text, err := json.Marshal(tenant)
		if err != nil {
			return nil, err
		}
		first[table.TenantColumn] = text
	}
	if op == change.Update { // the old row is the new one but for what was different
		whole := maps.Clone(newRow)
		maps.Copy(whole, oldRow)
		oldRow = whole
	}
	cells := make([]Cell, len(rel.Columns))
	for i := range cells {
		cells[i].State = change.Null
	}
	c := OfRow(op, cells, table, rel)
	var sides [2][]byte
	for i, row := range []map[string]json.RawMessage{newRow, oldRow} {
		if len(row) == 0 {
			continue
		}
		if sides[i], err = json.Marshal(row); err != nil {
			return nil, err
		}
	}
	return c, c.Edit(sides[0], sides[1])
}

func changeOfEvent(of *workflow.TestEvent, lookup Lookup) (*Change, error) {
	e := &workflow.Event{
		ID: of.ID, Table: strings.TrimPrefix(of.EntityType, "public."), TenantID: of.TenantID, RowKey: of.RowKey, CommittedAt: of.CommittedAt, Data: of.Data,
	}
	if strings.HasPrefix(e.Table, workflow.DomainPrefix) {
		e.Op = change.Emit
		return Recorded(e, nil, nil)
	}
	op, ok := change.ParseOp(of.Operation)
	if !ok {
		return nil, fmt.Errorf("its event: there is no operation %q; use create, update or delete", of.Operation)
	}
	e.Op = op
	table, rel, err := lookup(e.Table)
	if err != nil {
		return nil, err
	}
	return Recorded(e, table, rel)
}

// differences says what of a result isn't as expected. What only gates decide, after an
// execution is recorded, counts as firing.
func differences(r *Result, w *workflow.Workflow, want *workflow.TestExpect) []string {
	var list []string
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	fires := r.Answer == Fires || r.Answer == Depends
	switch {
	case r.Answer == Broken:
		say("the workflow is broken: %s", r.Reason)
		return list
	case r.Answer == WouldFail || r.Answer == NotDecided:
		say("whether it fires can't be decided: %s", r.Reason)
		return list
	case fires && !want.Fires:
		say("it fires (%s), and was not to", r.Reason)
		return list
	case !fires && want.Fires:
		say("it doesn't fire: %s", r.Reason)
		return list
	case !fires:
		if !strings.Contains(r.Reason, want.StoppedBy) && !slices.ContainsFunc(r.Triggers, func(t Trigger) bool { return stops(t.Clauses, want.StoppedBy) }) {
			say("what stops it is not %q, but: %s", want.StoppedBy, r.Reason)
		}
		return list
	}
	if want.Recipients != nil {
		list = append(list, recipientDifferences(r.Actions, want.Recipients)...)
	}
	list = append(list, leftOutDifferences(r.LeftOut, w, want.LeftOut)...)
	for _, t := range want.Texts {
		if problem := textDifference(r.Actions, w, t); problem != "" {
			say("%s", problem)
		}
	}
	return list
}

// stops says that a clause which is false is written so: the whole of it, or a part that it
// was made of.
func stops(clauses []condition.Clause, text string) bool {
	return slices.ContainsFunc(clauses, func(c condition.Clause) bool {
		return c.Verdict == condition.False && (strings.Contains(Describe(&c), text) || stops(c.Children, text))
	})
}

// leftOutDifferences compares which actions would be left out, whatever the order.
func leftOutDifferences(got []LeftOut, w *workflow.Workflow, want []string) []string {
	if want == nil {
		return nil
	}
	var list []string
	idOf := func(l LeftOut) string { return w.Actions[l.Number-1].ID }
	for _, id := range want {
		switch {
		case !slices.ContainsFunc(w.Actions, func(a workflow.Action) bool { return a.ID == id }):
			list = append(list, fmt.Sprintf("there is no action with the id %q to leave out", id))
		case !slices.ContainsFunc(got, func(l LeftOut) bool { return idOf(l) == id }):
			list = append(list, fmt.Sprintf("the action with the id %q is not left out", id))
		}
	}
	for i := range got {
		if !slices.Contains(want, idOf(got[i])) {
			list = append(list, fmt.Sprintf("%s is left out: %s", got[i].named(), got[i].Reason))
		}
	}
	return list
}

// recipientDifferences compares who would get something, whatever the order.
func recipientDifferences(actions []Action, want []workflow.TestRecipient) []string {
	var got []Recipient
	for _, a := range actions {
		for _, r := range a.Recipients {
			if !slices.Contains(got, r) {
				got = append(got, r)
			}
		}
	}
	var list []string
	met := make([]bool, len(got))
	for _, w := range want {
		kind, name, _ := w.Named()
		found := false
		for i, r := range got {
			if r.Type == kind && r.ID == name && (w.Value == nil || *w.Value == r.Value) {
				met[i], found = true, true
			}
		}
		if found {
			continue
		}
		text := kind + " " + name
		if w.Value != nil {
			text += " with " + *w.Value
		}
		list = append(list, text+" is not told")
	}
	for i, r := range got {
		if met[i] {
			continue
		}
		text := r.Type + " " + r.ID
		if r.Type == "attribute" {
			text += ", which holds " + r.Value + ","
		}
		list = append(list, text+" is told, and is not expected")
	}
	return list
}

// textDifference finds an action whose texts are all as expected; else it says what the
// nearest one has.
func textDifference(actions []Action, w *workflow.Workflow, want workflow.TestTexts) string {
	nearest := ""
	for _, a := range actions {
		if want.Action != "" && (a.Number < 1 || a.Number > len(w.Actions) || w.Actions[a.Number-1].ID != want.Action) {
			continue
		}
		problem := ""
		for _, name := range slices.Sorted(maps.Keys(want.Texts)) {
			expected := want.Texts[name]
			i := slices.IndexFunc(a.Texts, func(t Text) bool { return t.Name == name })
			switch {
			case i < 0:
				problem = fmt.Sprintf("action %d (%s) has no %s", a.Number, a.Kind, name)
			case a.Texts[i].Error != "":
				problem = fmt.Sprintf("%s of action %d (%s): %s", name, a.Number, a.Kind, a.Texts[i].Error)
			case expected.Contains && !strings.Contains(a.Texts[i].Text, expected.Text):
				problem = fmt.Sprintf("%s of action %d (%s) is %q, and has no %q in it", name, a.Number, a.Kind, a.Texts[i].Text, expected.Text)
			case !expected.Contains && a.Texts[i].Text != strings.TrimSpace(expected.Text):
				problem = fmt.Sprintf("%s of action %d (%s) is %q, not %q", name, a.Number, a.Kind, a.Texts[i].Text, expected.Text)
			}
			if problem != "" {
				break
			}
		}
		if problem == "" {
			return ""
		}
		if nearest == "" || strings.Contains(nearest, " has no ") && !strings.Contains(problem, " has no ") {
			nearest = problem
		}
	}
	switch {
	case nearest != "":
		return nearest
	case want.Action != "":
		return fmt.Sprintf("there is no action with the id %q that would run", want.Action)
	}
	return "no action would run"
}

// TestOf is a saved test of a recorded event, which expects what is the case now.
func TestOf(e *workflow.Event, r *Result, w *workflow.Workflow) (workflow.Test, error) {
	if r.Answer != Fires && r.Answer != Depends && r.Answer != DoesNot {
		return workflow.Test{}, fmt.Errorf("there is no verdict to keep: %s", r.Reason)
	}
	t := workflow.Test{
		Name: fmt.Sprintf("%s of %s %s (event %s)", e.Op, e.Table, e.RowKey, e.ID),
		Event: &workflow.TestEvent{
			ID: e.ID, EntityType: e.Table, Operation: e.Op.String(), TenantID: e.TenantID, RowKey: e.RowKey, CommittedAt: e.CommittedAt.UTC(), Data: e.Data,
		},
		Expect: workflow.TestExpect{Fires: r.Answer != DoesNot},
	}
	if e.Op == change.Emit {
		t.Name = fmt.Sprintf("%s (event %s)", e.Table, e.ID)
		t.Event.Operation = change.Create.String()
	}
	if !t.Expect.Fires {
		t.FiredBefore = r.Firing == workflow.OncePerRow && strings.HasPrefix(r.Reason, "it has fired")
		t.Expect.StoppedBy = r.Reason
		return t, nil
	}
	for _, l := range r.LeftOut {
		if l.Number <= len(w.Actions) && w.Actions[l.Number-1].ID != "" {
			t.Expect.LeftOut = append(t.Expect.LeftOut, w.Actions[l.Number-1].ID)
		}
	}
	for _, a := range r.Actions {
		texts := workflow.TestTexts{Texts: make(map[string]workflow.TestText)}
		if a.Number >= 1 && a.Number <= len(w.Actions) {
			texts.Action = w.Actions[a.Number-1].ID
		}
		for _, text := range a.Texts {
			if text.Error == "" {
				texts.Texts[text.Name] = workflow.TestText{Text: text.Text}
			}
		}
		if len(texts.Texts) > 0 {
			t.Expect.Texts = append(t.Expect.Texts, texts)
		}
		for _, to := range a.Recipients {
			r := workflow.TestRecipient{}
			switch to.Type {
			case "user":
				r.User = to.ID
			case "role":
				r.Role = to.ID
			case "group":
				r.Group = to.ID
			default:
				value := to.Value
				r.Attribute, r.Value = to.ID, &value
			}
			same := func(o workflow.TestRecipient) bool {
				k1, n1, _ := o.Named()
				k2, n2, _ := r.Named()
				return k1 == k2 && n1 == n2
			}
			if !slices.ContainsFunc(t.Expect.Recipients, same) {
				t.Expect.Recipients = append(t.Expect.Recipients, r)
			}
		}
	}
	return t, nil
}
