package engine

import (
	"maps"

	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// definition says which of our own insert-only tables a relation is.
type definition uint8

const (
	notDefinition definition = iota
	versionRow               // rowbell.workflow_version
	tableRow                 // rowbell.captured_table
)

// binding is what the rows of one relation mean, until a definition changes.
type binding struct {
	rel        *change.Relation
	definition definition
	label      string
	domain     string       // name of the domain events; "" of a table
	table      *match.Table // nil: not captured
	fromXID    uint64       // older transactions don't count
	ref        int32        // surrogate of the captured table
	layout     *layout
}

// bind finds out what a relation's rows mean, and remembers it.
func (e *Engine) bind(rel *change.Relation) *binding {
	b := e.bindings[rel]
	if b == nil {
		b = &binding{rel: rel, label: rel.Label()}
		t := e.tables[rel.Label()]
		switch {
		case rel.Schema == "rowbell" && rel.Name == "workflow_version":
			b.definition = versionRow
		case rel.Schema == "rowbell" && rel.Name == "captured_table":
			b.definition = tableRow
		case t != nil:
			b.label = t.Label
			b.table = e.index.Bind(rel)
			b.ref = t.Ref
			b.fromXID = t.FromXID
			b.layout = newLayout(rel, &t.Table)
			e.tellVerdicts()
		}
		// An ALTER TABLE makes another relation: the one before won't come again.
		maps.DeleteFunc(e.bindings, func(old *change.Relation, _ *binding) bool { return old.OID == rel.OID })
		e.bindings[rel] = b
	}
	e.last = b
	return b
}

// unbind forgets what relations mean. Relations that are still in use are bound again
// at their next row.
func (e *Engine) unbind() {
	clear(e.bindings)
	e.last = nil
}

// changeTable takes a new row of captured_table: from the next transaction on, this
// is what is captured of the table.
func (e *Engine) changeTable(t workflow.Table) {
	ref := e.surrogate()
	e.batch.Applied = append(e.batch.Applied, workflow.Applied{
		Kind: workflow.AppliedTable, ID: t.Label, Version: t.Version, Surrogate: ref, Name: t.Label, Gone: t.Released,
		Stream: e.tracker.Stream(), CommitLSN: e.txn.commitLSN,
	})
	e.capture(Table{Table: t, Ref: ref})
}

func (e *Engine) capture(t Table) {
	name := change.TableLabel(t.Schema, t.Name)
	if t.Released {
		delete(e.tables, name)
	} else {
		e.tables[name] = &t
	}
	e.index.Capture(&t.Table)
	e.unbind()
	if !t.Released && e.hooks.Undescribed != nil {
		e.hooks.Undescribed(t.Schema, t.Name)
	}
}

// described binds a table to what the catalog says of it, for the verdicts that come of
// it. Nothing is matched by that: the stream describes a table before its rows, and
// from then on its word counts.
func (e *Engine) described(rel *change.Relation) {
	for bound := range e.bindings {
		if bound.Schema == rel.Schema && bound.Name == rel.Name {
			return
		}
	}
	e.index.Bind(rel)
	e.tellVerdicts()
}

// changeVersion takes a new row of workflow_version.
func (e *Engine) changeVersion(v workflow.Version) {
	ref := e.surrogate()
	compiled := e.apply(Version{Version: v, Ref: ref})
	name := v.WorkflowID // of a deleted one, or one whose document can't be read
	if compiled.Workflow != nil {
		name = compiled.Workflow.Name
	}
	e.batch.Applied = append(e.batch.Applied, workflow.Applied{
		Kind: workflow.AppliedWorkflow, ID: v.WorkflowID, Version: v.Version, Surrogate: ref,
		TenantID: v.TenantID, Name: name, Gone: v.Status == workflow.Deleted,
		Stream: e.tracker.Stream(), CommitLSN: e.txn.commitLSN,
	})
}

func (e *Engine) apply(v Version) *match.Compiled {
	c := match.Compile(v.Version, v.Ref, e.judge)
	e.index.Apply(c)
	e.domain = nil
	if v.Status != workflow.Active {
		e.metrics.verdicts([]workflow.Health{{WorkflowID: v.WorkflowID}})
		if e.hooks.Withdrawn != nil {
			e.hooks.Withdrawn(v.WorkflowID)
		}
	}
	return c
}

// tellUncaptured passes on which tables are named and not captured.
func (e *Engine) tellUncaptured() {
	if e.hooks.Uncaptured != nil {
		e.hooks.Uncaptured(e.index.Uncaptured())
	}
}

func (e *Engine) surrogate() int32 {
	s := e.next
	e.next++
	return s
}

// tellVerdicts passes on what has changed in what can be said of workflows.
func (e *Engine) tellVerdicts() {
	if v := e.index.TakeVerdicts(); len(v) > 0 {
		e.metrics.verdicts(v)
		if e.hooks.Verdicts != nil {
			e.hooks.Verdicts(v)
		}
	}
}
