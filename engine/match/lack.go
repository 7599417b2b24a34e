package match

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/spelling"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// lackError says which columns a workflow's actions need and never get: each delivery
// would fail.
type lackError []*condition.Error

func (e lackError) Error() string {
	texts := make([]string, len(e))
	for i, l := range e {
		texts[i] = l.Error()
	}
	return strings.Join(texts, "\n")
}

// lacks judges what the actions of a workflow will not get of the table's rows: an error
// of type lackError if deliveries would fail for it, warnings if a text has a gap. A text
// that has one for some of several triggers may be meant so, unless the column isn't there
// at all.
func (t *Table) lacks(c *Compiled, rules []*rule) ([]*condition.Error, error) {
	var warnings []*condition.Error
	var blocks lackError
	for _, use := range c.uses {
		if use.Column == "" {
			warnings = append(warnings, noVariable(use))
			continue
		}
		gaps := 0
		var told *condition.Error
		for _, r := range rules {
			if r.op == change.Emit {
				continue // what a payload has is not known
			}
			message, mend := lacking(use, t.rel, t.captured, r.op)
			if message == "" {
				continue
			}
			gaps++
			if told == nil {
				told = &condition.Error{Where: fmt.Sprintf("action %d (%s), %s", use.Action+1, use.Kind, use.Where), Message: message, Mend: mend}
			}
		}
		switch {
		case told == nil:
		case use.Recipient:
			blocks = append(blocks, told)
		case gaps == len(rules) || !visible(use.Column, t.rel, t.captured):
			if !visible(use.Column, t.rel, t.captured) && t.renamed[use.Column] != "" {
				told.Mend = renamedMend(t.renamed[use.Column])
			}
			warnings = append(warnings, told)
		}
	}
	if blocks != nil {
		return warnings, blocks
	}
	return warnings, nil
}

func noVariable(use workflow.ColumnUse) *condition.Error {
	name, _, _ := strings.Cut(use.Variable, ".")
	e := &condition.Error{Where: fmt.Sprintf("action %d (%s), %s", use.Action+1, use.Kind, use.Where), Message: "there is no variable " + name}
	if e.Mend = spelling.Mend(name, workflow.TextVariables); e.Mend == "" {
		e.Mend = "there are " + strings.Join(workflow.TextVariables, ", ")
	}
	return e
}

// visible says that the table has the column, and that it leaves the decoder.
func visible(column string, rel *change.Relation, t *workflow.Table) bool {
	return rel.Column(column) >= 0 && !slices.Contains(t.Hidden, column)
}

func lacking(use workflow.ColumnUse, rel *change.Relation, t *workflow.Table, op change.Op) (message, mend string) {
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
