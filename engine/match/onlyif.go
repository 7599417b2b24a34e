package match

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// own are the conditions of one action: the executor decides them for the event as it was
// recorded, before the action begins. Here they are judged.
type own struct {
	action int // in the document, from 0
	kind   string
	form   *condition.Form
}

// OnlyIf reads an action's own conditions, without a table. action is its index in the
// document. nil: it has none. The error names the action, and the mend.
func OnlyIf(action int, a workflow.Action) (*condition.Form, error) {
	list, err := a.OnlyIf()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", actionName(action, a.Type), err)
	}
	return OnlyIfOf(action, a.Type, list)
}

// OnlyIfOf is OnlyIf for conditions that were read.
func OnlyIfOf(action int, kind string, list []workflow.Condition) (*condition.Form, error) {
	if len(list) == 0 {
		return nil, nil
	}
	of := actionName(action, kind) + ", " + workflow.OnlyIfKey
	if len(list) > MostConditions {
		return nil, &condition.Error{Where: of, Message: fmt.Sprintf("it has %d conditions, at most %d are taken", len(list), MostConditions), Mend: "join them in one form or expression"}
	}
	for i, c := range list {
		if c.Type != "role_based" {
			continue
		}
		if r, err := workflow.ParseRoles(c.Config); err == nil && r.By == workflow.ByDirectory {
			return nil, &condition.Error{
				Where: fmt.Sprintf("%s, condition %d (role_based)", of, i+1), Message: "an action's own condition can't ask the directory for roles",
				Mend: `leave "by" out to go by what the application says of the actor, or ask the directory in the workflow's conditions`,
			}
		}
	}
	return condition.Parse(condition.Source{Conditions: list, Of: of})
}

func actionName(i int, kind string) string { return fmt.Sprintf("action %d (%s)", i+1, kind) }

// readOnlyIf reads the actions' own conditions. With any of them the executor has to decide.
func (c *Compiled) readOnlyIf(w *workflow.Workflow) error {
	for i, a := range w.Actions {
		form, err := OnlyIf(i, a)
		if err != nil {
			return err
		}
		if form != nil {
			c.own = append(c.own, own{i, a.Type, form})
			c.LogOnly = false
		}
	}
	return nil
}

// onlyIf binds the actions' own conditions for what rules are about, and returns what is
// worth knowing of them besides.
func (t *Table) onlyIf(c *Compiled, rules []*rule, programs *condition.Cache) ([]*condition.Error, error) {
	var list []*condition.Error
	for _, o := range c.own {
		for op := range change.Emit + 1 {
			if !slices.ContainsFunc(rules, func(r *rule) bool { return r.op == op }) {
				continue
			}
			bound, err := t.bindOwn(o, op, programs)
			if err != nil {
				return nil, err
			}
			for _, w := range bound.Warnings() {
				if !slices.ContainsFunc(list, func(x *condition.Error) bool { return *x == *w }) {
					list = append(list, w)
				}
			}
		}
	}
	return list, nil
}

// bindOwn binds an action's own conditions. What is recorded of an event has redacted columns
// masked, so they can't be read here.
func (t *Table) bindOwn(o own, op change.Op, programs *condition.Cache) (*condition.Bound, error) {
	bound, err := programs.Bind(o.form, t.rel, t.captured, op)
	if err != nil {
		return nil, err
	}
	for _, read := range bound.Columns() {
		if _, column, _ := strings.Cut(read, "."); slices.Contains(t.captured.Redacted, column) {
			return nil, &condition.Error{
				Where:   actionName(o.action, o.kind) + ", " + workflow.OnlyIfKey,
				Message: fmt.Sprintf("column %s of table %s is redacted, so what is recorded of a change has it masked, and an action's own condition is decided by that", column, t.captured.Label),
				Mend:    "ask for it in the workflow's conditions, or capture the table without redacting it",
			}
		}
	}
	return bound, nil
}

// onlyIf tells what is wrong with the actions' own conditions, each by itself.
func (c *checker) onlyIf() {
	for i, a := range c.workflow.Actions {
		list, err := a.OnlyIf()
		if err != nil {
			c.add(locate(fmt.Sprintf("%s: %v", actionName(i, a.Type), err)))
			continue
		}
		if len(list) > MostConditions {
			list = nil // which the whole says
		}
		for n := range list {
			c.judgeOwn(i, a.Type, alone(list, n))
		}
	}
}

func (c *checker) judgeOwn(i int, kind string, list []workflow.Condition) {
	fail := func(err error) {
		c.texts = append(c.texts, err.Error())
		c.add(problemOf(err))
	}
	form, err := OnlyIfOf(i, kind, list)
	if err != nil {
		fail(err)
		return
	}
	if c.lookup == nil {
		return
	}
	for n, t := range c.workflow.Triggers {
		// A trigger that is wrong itself is told of by itself.
		parsed, err := c.parse(n, workflow.Trigger{EntityType: t.EntityType, Operation: t.Operation}, nil)
		if err != nil {
			continue
		}
		at := c.table(parsed.label)
		if at.err != nil || at.table.InsertOnly && parsed.op != change.Create {
			continue
		}
		table := newTable(nil, at.rel, at.table)
		if _, err := table.bindOwn(own{i, kind, form}, parsed.op, &c.programs); err != nil {
			fail(table.hint(err))
		}
	}
}

// ownReads lists what the actions' own conditions read of a trigger's table.
func ownReads(w *workflow.Workflow, t workflow.Trigger, table *workflow.Table, rel *change.Relation) []Reading {
	op, ok := change.ParseOp(t.Operation)
	if !ok {
		return nil // which is said of the trigger
	}
	var list []Reading
	for i, a := range w.Actions {
		conditions, err := a.OnlyIf()
		if err != nil {
			list = append(list, Reading{Where: actionName(i, a.Type), Err: fmt.Errorf("%s: %w", actionName(i, a.Type), err)})
			continue
		}
		for n, cond := range conditions {
			where := fmt.Sprintf("%s, %s, condition %d (%s)", actionName(i, a.Type), workflow.OnlyIfKey, n+1, cond.Type)
			form, err := OnlyIfOf(i, a.Type, alone(conditions, n))
			var bound *condition.Bound
			if err == nil {
				bound, err = form.Bind(rel, table, op)
			}
			switch {
			case err != nil:
				list = append(list, Reading{Where: where, Err: err})
			case len(bound.Columns()) > 0:
				list = append(list, Reading{Where: where, Columns: bound.Columns()})
			}
		}
	}
	return list
}
