package match

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// readGate notes what the executor is to decide of each execution before its actions.
func (c *Compiled) readGate(w *workflow.Workflow, firing workflow.Firing) error {
	c.OncePerRow = firing == workflow.OncePerRow
	directory := false
	for i, cond := range w.Conditions {
		if cond.Type != "role_based" {
			continue
		}
		r, err := workflow.ParseRoles(cond.Config)
		if err != nil {
			return fmt.Errorf("condition %d (role_based): %w", i+1, err)
		}
		directory = directory || r.By == workflow.ByDirectory
	}
	c.Gated = c.OncePerRow || directory
	if !c.Gated {
		return nil
	}
	for i, a := range w.Actions {
		if a.Order <= workflow.GateOrder {
			return fmt.Errorf("action %d (%s): order %d is kept for what is decided before the actions; give it a greater one", i+1, a.Type, a.Order)
		}
	}
	if c.OncePerRow && directory {
		c.Health.Warnings = append(c.Health.Warnings,
			`firing is "once_per_row", and the first change of a row that matches is the one: also when the directory refuses it, nothing fires for the row later`)
	}
	return nil
}

// checkKey says what keeps rows from being told apart by their keys.
func checkKey(rel *change.Relation, t *workflow.Table, op change.Op) error {
	const what = `settings: firing is "once_per_row", `
	again := fmt.Sprintf("CALL rowbell.capture('%s', key_columns => '{id}')", strings.ReplaceAll(t.Label, "'", "''"))
	if len(t.KeyColumns) == 0 {
		return fmt.Errorf("%sand table %s has no key columns to tell its rows apart by; give it a primary key and capture it anew, or name them: run %s", what, t.Label, again)
	}
	for _, k := range t.KeyColumns {
		i := rel.Column(k)
		switch {
		case i < 0:
			return fmt.Errorf("%sand table %s has lost its key column %s; add it again, or capture the table anew: run %s", what, t.Label, k, again)
		case slices.Contains(t.Redacted, k):
			return fmt.Errorf("%sand key column %s of table %s is redacted, so that its rows can't be told apart; name other key columns: run %s", what, k, t.Label, again)
		case op == change.Delete && rel.ReplicaIdentity != 'f' && !rel.Columns[i].Key:
			return fmt.Errorf("%sand key column %s of a deleted row is never in the WAL, since it is not part of the replica identity of table %s; run ALTER TABLE %s REPLICA IDENTITY FULL", what, k, t.Label, t.Label)
		}
	}
	return nil
}
