package actions

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/spelling"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Reader is a Runner that knows what of the event it reads by name. One that isn't takes
// the event as it is.
type Reader interface {
	// Reads lists it by key of action_config.
	Reads() []Read
}

// Read is something that an action reads of the event.
type Read struct {
	Key      string // of action_config: title
	Variable string // as template.Variables lists it: new.total, changed.status, actor.id
}

// Column is the column that is read; "" if it is none.
func (r Read) Column() string {
	variable, column, ok := strings.Cut(r.Variable, ".")
	if ok && (variable == "new" || variable == "old" || variable == "changed") {
		return column
	}
	return ""
}

// ColumnUse is a column that an action needs of the rows that it is run for.
type ColumnUse struct {
	Action    int    // index in the document
	Kind      string // of the action
	Where     string // title; recipient 2
	Variable  string // new.total; "" for a recipient
	Column    string
	Recipient bool
}

// Columns lists the columns that the actions' texts name, and those that hold their
// recipients, in the order of the document.
func (p *Plan) Columns(w *workflow.Workflow) []ColumnUse {
	var list []ColumnUse
	for i, s := range p.Steps {
		if s.Kind == nil {
			continue
		}
		if r, ok := s.Runner.(Reader); ok {
			for _, read := range r.Reads() {
				if c := read.Column(); c != "" {
					list = append(list, ColumnUse{Action: i, Kind: s.Kind.Name, Where: read.Key, Variable: read.Variable, Column: c})
				}
			}
		}
		if !s.Kind.Recipients {
			continue
		}
		for n, r := range w.Recipients {
			if r.Type == "attribute" && (r.ActionID == nil || *r.ActionID == w.Actions[i].ID) {
				list = append(list, ColumnUse{
					Action: i, Kind: s.Kind.Name, Where: fmt.Sprintf("recipient %d", n+1), Column: r.Value, Recipient: true,
				})
			}
		}
	}
	return list
}

// Lack is a column that an action needs and never gets.
type Lack struct {
	ColumnUse
	Message, Mend string
	// Blocks says that each delivery would fail; else a text has a gap.
	Blocks bool
	// Unknown says that the table has no such column; else the operation has no such value.
	Unknown bool
}

// Lacking judges by the columns of a table what the actions of a workflow will not get
// for an operation on it.
func (p *Plan) Lacking(w *workflow.Workflow, rel *change.Relation, t *workflow.Table, op change.Op) []Lack {
	var list []Lack
	for _, use := range p.Columns(w) {
		l := Lack{ColumnUse: use, Blocks: use.Recipient}
		l.Unknown = !visible(use.Column, rel, t)
		l.Message, l.Mend = lacking(use, rel, t, op)
		if l.Message != "" {
			list = append(list, l)
		}
	}
	return list
}

// visible says that the table has the column, and that it leaves the decoder.
func visible(column string, rel *change.Relation, t *workflow.Table) bool {
	return rel.Column(column) >= 0 && !slices.Contains(t.Hidden, column)
}

func lacking(use ColumnUse, rel *change.Relation, t *workflow.Table, op change.Op) (message, mend string) {
	if !visible(use.Column, rel, t) {
		var names []string
		for _, c := range rel.Columns {
			if !slices.Contains(t.Hidden, c.Name) {
				names = append(names, c.Name)
			}
		}
		if mend = spelling.Mend(use.Column, names); mend == "" {
			mend = "it has " + strings.Join(names[:min(len(names), 20)], ", ")
		}
		return fmt.Sprintf("table %s has no column %s", t.Label, use.Column), mend
	}
	if use.Recipient && slices.Contains(t.Redacted, use.Column) {
		return fmt.Sprintf("column %s of table %s is redacted, so nobody can be found by it", use.Column, t.Label),
			"name another column, or capture the table without redacting it"
	}
	old := strings.HasPrefix(use.Variable, "old.")
	switch {
	case op == change.Create && old:
		return use.Variable + " is nothing for a new row", "use new." + use.Column
	case op == change.Delete && strings.HasPrefix(use.Variable, "new."):
		return use.Variable + " is nothing for a deleted row", "use old." + use.Column
	case (old || use.Recipient && op == change.Delete) && rel.ReplicaIdentity != 'f' && !rel.Columns[rel.Column(use.Column)].Key:
		what := "the old value of " + use.Column
		if op == change.Delete {
			what = "column " + use.Column + " of a deleted row"
		}
		return fmt.Sprintf("%s is not in the WAL, since it is not part of the replica identity of table %s", what, t.Label),
			fmt.Sprintf("run ALTER TABLE %s REPLICA IDENTITY FULL", change.TableLabel(rel.Schema, rel.Name))
	}
	return "", ""
}
