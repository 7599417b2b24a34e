package match

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Compiled is a workflow version whose document has been read and judged, without its
// tables. It is immutable.
type Compiled struct {
	Workflow   *workflow.Workflow // nil if the document can't be read, and for Deleted
	WorkflowID string
	Version    int32
	Ref        int32 // surrogate of the version
	TenantID   string
	Status     workflow.Status
	Health     workflow.Health  // OK, Broken or Incomplete; NotCaptured and bind errors come with the Index
	LogOnly    bool             // all actions are of kind log, and nothing is decided before them or of them
	Gated      bool             // the executor decides first: OncePerRow, or roles by directory
	OncePerRow bool             // only the first match of each row counts
	Routes     []workflow.Route // of the actions, in their order
	Limits     workflow.Limits  // of the workflow; zero where the operator's count

	triggers []trigger // of workflows whose Health is OK
	own      []own     // conditions of actions
	uses     []workflow.ColumnUse
}

type trigger struct {
	index    int // in the document, from 0
	label    string
	op       change.Op
	priority int32
	becomes  bool // firing mode becomes_true
	form     *condition.Form
}

// How many parts a workflow may have that the stream evaluates: each trigger is bound
// together with all conditions.
const (
	MostTriggers   = 50
	MostConditions = 50
)

// Judge says what recording must know of a workflow's actions; or what is wrong with
// them, each with the action and the mend.
type Judge func(*workflow.Workflow) (workflow.Judged, error)

// Compile judges a version. It never fails: what is wrong stands in Health. judge is
// asked about the actions; nil accepts all.
func Compile(v workflow.Version, ref int32, judge Judge) *Compiled {
	c := &Compiled{
		WorkflowID: v.WorkflowID, Version: v.Version, Ref: ref, TenantID: v.TenantID, Status: v.Status,
		Health: workflow.Health{WorkflowID: v.WorkflowID, Version: v.Version, TenantID: v.TenantID, Verdict: workflow.OK},
	}
	if v.Status == workflow.Deleted {
		return c
	}
	w, err := workflow.Parse(v.Document)
	if err != nil {
		return c.broken(err.Error())
	}
	w.DropTests() // which nothing here reads, and which would stay in memory
	c.Workflow = w
	if v.Status != workflow.Active {
		return c
	}
	if len(w.Triggers) == 0 || len(w.Actions) == 0 {
		what := "trigger and no action"
		switch {
		case len(w.Actions) > 0:
			what = "trigger"
		case len(w.Triggers) > 0:
			what = "action"
		}
		c.Health.Verdict = workflow.Incomplete
		c.Health.Message = fmt.Sprintf("the workflow is active but has no %s, so it does nothing; add one, or set its status to draft", what)
		return c
	}
	firing, err := w.Firing()
	if err != nil {
		return c.broken(err.Error())
	}
	if c.Limits, err = w.Limits(); err != nil {
		return c.broken(err.Error())
	}
	if err := c.readGate(w, firing); err != nil {
		return c.broken(err.Error())
	}
	c.LogOnly = !c.Gated
	for _, a := range w.Actions {
		c.LogOnly = c.LogOnly && a.Type == "log"
	}
	c.Routes = make([]workflow.Route, len(w.Actions))
	if judge != nil {
		judged, err := judge(w)
		if err != nil {
			return c.broken(err.Error())
		}
		c.Routes, c.uses = judged.Routes, judged.Columns
	}
	if err := c.readOnlyIf(w); err != nil {
		return c.broken(err.Error())
	}
	switch {
	case len(w.Triggers) > MostTriggers:
		return c.broken(fmt.Sprintf("it has %d triggers, at most %d are taken; split it", len(w.Triggers), MostTriggers))
	case len(w.Conditions) > MostConditions:
		return c.broken(fmt.Sprintf("it has %d conditions, at most %d are taken; join them in one form or expression", len(w.Conditions), MostConditions))
	}
	var triggers []trigger
	for i, t := range w.Triggers {
		parsed, err := c.parseTrigger(i, t, w.Conditions, firing)
		if err != nil {
			return c.broken(triggerName(i, t) + ": " + err.Error())
		}
		triggers = append(triggers, parsed)
	}
	c.triggers = triggers
	return c
}

func (c *Compiled) broken(message string) *Compiled {
	c.Health.Verdict, c.Health.Message = workflow.Broken, message
	return c
}

func (c *Compiled) parseTrigger(i int, t workflow.Trigger, conditions []workflow.Condition, firing workflow.Firing) (trigger, error) {
	label := t.EntityLabel()
	if label == "" {
		return trigger{}, fmt.Errorf("entity_type is empty; write the name of a table")
	}
	op, ok := change.ParseOp(t.Operation)
	if !ok {
		return trigger{}, fmt.Errorf("there is no operation %q; use create, update or delete", t.Operation)
	}
	if name, ok := strings.CutPrefix(t.EntityType, workflow.DomainPrefix); ok {
		if err := checkDomain(c, t, name); err != nil {
			return trigger{}, err
		}
		op = change.Emit
	}
	form, err := condition.Parse(condition.Source{Trigger: t, Conditions: conditions, Firing: firing})
	if err != nil {
		return trigger{}, err
	}
	return trigger{index: i, label: label, op: op, priority: t.Priority, becomes: firing == workflow.BecomesTrue, form: form}, nil
}

func triggerName(i int, t workflow.Trigger) string {
	return fmt.Sprintf("trigger %d (%s %s)", i+1, t.EntityType, t.Operation)
}

// labels returns the tables that the workflow's triggers name, each once.
func (c *Compiled) labels() []string {
	var list []string
	for _, t := range c.triggers {
		if !slices.Contains(list, t.label) {
			list = append(list, t.label)
		}
	}
	return list
}
