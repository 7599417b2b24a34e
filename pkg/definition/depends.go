package definition

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/pkg/spelling"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Use is one way in which a workflow depends on a table or a column.
type Use struct {
	How    string `json:"how"`              // trigger, condition, any_changed, recipient, template, test, tenant column, key column
	Where  string `json:"where"`            // trigger 1 (orders update), field_conditions
	Column string `json:"column,omitempty"` // of the table
	Reads  string `json:"reads,omitempty"`  // new.status
}

// Dependent is a workflow, as it is live or as its draft would make it, that depends on a
// table or a column; or of which that can't be said.
type Dependent struct {
	ID       string          `json:"id"`
	TenantID string          `json:"tenant_id,omitempty"`
	Name     string          `json:"name"`
	Status   workflow.Status `json:"status"`
	Of       string          `json:"of"` // version 3; draft
	Uses     []Use           `json:"uses"`
	Unjudged []string        `json:"unjudged,omitempty"` // what can't be judged, and why
}

// Dependents is the answer to Depends.
type Dependents struct {
	Table     string      `json:"table"`
	Column    string      `json:"column,omitempty"` // "" the whole table
	Workflows []Dependent `json:"workflows"`
}

// Depends finds what depends on a table, "orders" or "sales.orders", or on a column of
// it, "orders.status". Returns workflow.ErrNotFound, with what may have been meant, if
// there is no such table or column.
func (s *Service) Depends(ctx context.Context, what string) (*Dependents, error) {
	c, err := s.catalog(ctx)
	if err != nil {
		return nil, err
	}
	table, column := strings.TrimPrefix(unquoted(what), "public."), ""
	labels := []string{table} // what may be the table, in table.column
	for i := range len(table) {
		if table[i] == '.' {
			labels = append(labels, table[:i])
		}
	}
	defs, err := s.Source.Definitions(ctx, store.WorkflowFilter{Tables: labels})
	if err != nil {
		return nil, err
	}
	d := &dependents{catalog: c}
	for _, def := range defs {
		show, draftErr := shown(def)
		if show == nil {
			return nil, draftErr
		}
		d.states = append(d.states, state{show, show.Workflow, fmt.Sprintf("version %d", def.Version), nil})
		if def.DraftText != nil {
			d.states = append(d.states, state{show, show.Next, "draft", draftErr})
		}
	}
	known, err := d.knows(ctx, table)
	// A table's and a column's name may have dots: the longest that is a table's is meant.
	for i := strings.LastIndexByte(table, '.'); err == nil && !known && i > 0; i = strings.LastIndexByte(table[:i], '.') {
		if known, err = d.knows(ctx, table[:i]); known {
			table, column = table[:i], table[i+1:]
		}
	}
	if err != nil {
		return nil, err
	}
	if strings.Trim(table, ".") == "" {
		return nil, notFound("no table is named; write orders, or orders.status for a column")
	}
	if !known {
		_, _, err := c.lookup(ctx, table)
		if before, _, ok := strings.Cut(table, "."); ok { // the table of table.column, most often
			if _, _, near := c.lookup(ctx, before); near != nil && strings.Contains(near.Error(), "did you mean") {
				err = near
			}
		}
		return nil, notFound("%v", err)
	}
	answer := &Dependents{Table: table, Column: column, Workflows: []Dependent{}}
	for _, st := range d.states {
		if dep := d.of(ctx, st, table, column); len(dep.Uses) > 0 || len(dep.Unjudged) > 0 {
			answer.Workflows = append(answer.Workflows, dep)
		}
	}
	_, rel, err := c.lookup(ctx, table)
	if column != "" && err == nil && rel.Column(column) < 0 && !slices.ContainsFunc(answer.Workflows, func(d Dependent) bool { return len(d.Uses) > 0 }) {
		var names []string
		for _, col := range rel.Columns {
			names = append(names, col.Name)
		}
		mend := spelling.Mend(column, names)
		if mend == "" {
			mend = "it has " + strings.Join(names[:min(len(names), 20)], ", ")
		}
		return nil, notFound("table %s has no column %s; %s", table, column, mend)
	}
	return answer, nil
}

// unquoted takes names out of the quotes that SQL has them in: "Big Orders"."the total".
func unquoted(name string) string {
	var b strings.Builder
	for rest := name; ; {
		part, more := rest, ""
		if strings.HasPrefix(rest, `"`) {
			end := 1
			for end < len(rest) && (rest[end] != '"' || strings.HasPrefix(rest[end+1:], `"`)) {
				if rest[end] == '"' {
					end++
				}
				end++
			}
			if end >= len(rest) {
				return name // it is not closed: a name that begins so
			}
			part, more = strings.ReplaceAll(rest[1:end], `""`, `"`), rest[end+1:]
		} else if i := strings.IndexByte(rest, '.'); i >= 0 {
			part, more = rest[:i], rest[i:]
		}
		b.WriteString(part)
		if more == "" {
			return b.String()
		}
		if more[0] != '.' {
			return name
		}
		b.WriteByte('.')
		rest = more[1:]
	}
}

type dependents struct {
	*catalog
	states []state
}

// state is a workflow as it is, or as its draft would make it.
type state struct {
	show     *Shown
	workflow *workflow.Workflow // nil: it can't be read
	of       string
	err      error
}

// knows says that there is such a table, or was: a workflow names it.
func (d *dependents) knows(ctx context.Context, label string) (bool, error) {
	_, _, err := d.lookup(ctx, label)
	if f, ok := err.(failure); ok { //nolint:errorlint // never wrapped
		return false, f.err
	}
	if err == nil || slices.ContainsFunc(d.captured, func(t workflow.Table) bool { return t.Label == label }) {
		return true, nil
	}
	return slices.ContainsFunc(d.states, func(s state) bool {
		return s.workflow != nil && slices.ContainsFunc(s.workflow.Triggers, func(t workflow.Trigger) bool { return !t.Domain() && t.EntityLabel() == label })
	}), nil
}

// of finds how one workflow depends on the table or the column.
func (d *dependents) of(ctx context.Context, st state, table, column string) Dependent {
	dep := Dependent{ID: st.show.ID, TenantID: st.show.TenantID, Name: st.show.Name, Status: st.show.Status, Of: st.of, Uses: []Use{}}
	if st.err != nil {
		dep.Unjudged = []string{st.err.Error()}
		return dep
	}
	w := st.workflow
	use := func(how, where, col, reads string) {
		u := Use{how, where, col, reads}
		if (column == "" || col == column) && !slices.Contains(dep.Uses, u) {
			dep.Uses = append(dep.Uses, u)
		}
	}
	unjudged := func(err string) {
		if !slices.Contains(dep.Unjudged, err) {
			dep.Unjudged = append(dep.Unjudged, err)
		}
	}
	about := false
	for i, t := range w.Triggers {
		if t.Domain() || t.EntityLabel() != table {
			continue
		}
		about = true
		name := fmt.Sprintf("trigger %d (%s %s)", i+1, t.EntityType, t.Operation)
		use("trigger", name, "", "")
		anyChanged(t.FieldConditions, func(col string) { use("any_changed", name+", field_conditions.any_changed", col, "changed."+col) })
		captured, rel, err := d.lookup(ctx, table)
		if err != nil {
			unjudged(err.Error())
			continue
		}
		if st.show.TenantID != "" && captured.TenantColumn != "" {
			use("tenant column", name, captured.TenantColumn, "")
		}
		for _, key := range captured.KeyColumns {
			use("key column", name, key, "")
		}
		for _, r := range match.Reads(w, i, captured, rel) {
			if r.Err != nil {
				unjudged(r.Err.Error())
			}
			for _, read := range r.Columns {
				_, col, _ := strings.Cut(read, ".")
				use("condition", r.Where, col, read)
			}
		}
	}
	if !about {
		return dep
	}
	if tests, err := w.Tests(); err == nil {
		for _, t := range tests {
			testColumns(w, &t, table, func(col string) { use("test", fmt.Sprintf("test %q", t.Name), col, "") })
		}
	}
	for n, c := range w.Conditions {
		anyChanged(c.Config, func(col string) {
			use("any_changed", fmt.Sprintf("condition %d (%s), any_changed", n+1, c.Type), col, "changed."+col)
		})
	}
	for n, a := range w.Actions {
		own, _ := a.OnlyIf() // what is wrong with it the plan says
		for i, c := range own {
			anyChanged(c.Config, func(col string) {
				use("any_changed", fmt.Sprintf("action %d (%s), %s, condition %d (%s), any_changed", n+1, a.Type, workflow.OnlyIfKey, i+1, c.Type), col, "changed."+col)
			})
		}
	}
	plan, err := d.service.Registry.Plan(w)
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			unjudged(line)
		}
		return dep
	}
	for _, u := range plan.Columns(w) {
		where := fmt.Sprintf("action %d (%s), %s", u.Action+1, u.Kind, u.Where)
		if u.Recipient {
			use("recipient", where, u.Column, "")
		} else {
			use("template", where, u.Column, u.Variable)
		}
	}
	return dep
}

// testColumns calls f with the columns of a table that a made-up change of a saved test has.
func testColumns(w *workflow.Workflow, t *workflow.Test, table string, f func(column string)) {
	if t.Change == nil {
		return
	}
	of := strings.TrimPrefix(t.Change.EntityType, "public.")
	if of == "" && len(w.Triggers) > 0 {
		of = w.Triggers[0].EntityLabel() // it may be left out if all are about one
	}
	if of != table {
		return
	}
	for _, row := range []json.RawMessage{t.Change.New, t.Change.Old} {
		var columns map[string]json.RawMessage
		if len(row) == 0 || json.Unmarshal(row, &columns) != nil {
			continue
		}
		for _, col := range slices.Sorted(maps.Keys(columns)) {
			f(col)
		}
	}
}

// anyChanged calls f with the columns of the key any_changed.
func anyChanged(form json.RawMessage, f func(column string)) {
	var keys struct {
		AnyChanged []string `json:"any_changed"`
	}
	if len(form) == 0 || json.Unmarshal(form, &keys) != nil {
		return
	}
	for _, c := range keys.AnyChanged {
		f(c)
	}
}
