package match

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Report is what can be said of a workflow before it is active.
type Report struct {
	Verdict  workflow.Verdict `json:"verdict,omitempty"`  // as workflow_health would say it
	Errors   []Problem        `json:"errors,omitempty"`   // the workflow would not run
	Warnings []Problem        `json:"warnings,omitempty"` // worth knowing; they don't block
}

// Problem is one thing that is wrong, and where.
type Problem struct {
	Where   string `json:"where"`             // trigger 1 (orders update), field_conditions.total.gt
	Line    int    `json:"line,omitempty"`    // in an expression, from 1; 0 elsewhere
	Column  int    `json:"column,omitempty"`  // in characters, from 1
	Snippet string `json:"snippet,omitempty"` // the expression's line, with a mark below it
	Message string `json:"message"`
	Mend    string `json:"mend,omitempty"`
}

// String is the problem as one message.
func (p Problem) String() string {
	e := condition.Error{Where: p.Where, Line: p.Line, Column: p.Column, Snippet: p.Snippet, Message: p.Message, Mend: p.Mend}
	if p.Where == "" {
		return strings.TrimPrefix(e.Error(), ": ")
	}
	return e.Error()
}

// Lookup finds a table by its label. A Table of version 0 isn't captured yet, and stands
// for how it would be. The error says that there is no such table, and the mend.
type Lookup func(label string) (*workflow.Table, *change.Relation, error)

// Check judges a workflow as if it were active: by Compile, and by binding its triggers
// as the Index binds them. Where those stop at the first problem, it looks at each
// trigger, condition and action by itself, to tell all of them. Without lookup nothing is
// bound: only what is wrong whatever the tables are is told.
func Check(w *workflow.Workflow, lookup Lookup, judge Judge) Report {
	active := *w
	active.Status = workflow.Active
	document, err := json.Marshal(&active)
	if err != nil {
		return Report{Verdict: workflow.Broken, Errors: []Problem{{Message: "it can't be written as JSON: " + err.Error()}}}
	}
	v := workflow.Version{WorkflowID: w.ID, Status: workflow.Active, Document: document}
	if w.TenantID != nil {
		v.TenantID = *w.TenantID
	}
	compiled := Compile(v, 0, judge)
	c := &checker{workflow: compiled.Workflow, tenantID: v.TenantID, lookup: lookup, tables: make(map[string]lookedUp)}
	if compiled.Health.Verdict == workflow.Incomplete {
		c.add(Problem{Message: compiled.Health.Message})
	}
	if compiled.Workflow == nil {
		return Report{Verdict: workflow.Broken, Errors: []Problem{{Message: compiled.Health.Message}}}
	}
	var uses []workflow.ColumnUse
	if judge != nil && len(compiled.Workflow.Actions) > 0 {
		judged, err := judge(compiled.Workflow)
		if err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				c.add(locate(line))
			}
		}
		uses = judged.Columns
	}
	if len(compiled.Workflow.Triggers) <= MostTriggers && len(compiled.Workflow.Conditions) <= MostConditions {
		for i := range compiled.Workflow.Triggers {
			c.trigger(i)
		}
		c.conditions()
	}
	c.onlyIf()
	c.lacks(uses)

	r := Report{Verdict: compiled.Health.Verdict}
	// The whole is judged last: what only shows in the parts together is in its message.
	if whole := c.whole(compiled); whole != "" {
		if r.Verdict != workflow.Incomplete {
			r.Verdict = workflow.Broken
		}
		if !c.told(whole) {
			c.add(locate(whole))
		}
	}
	r.Errors, r.Warnings = c.errors, c.warnings
	if len(r.Errors) > 0 && (r.Verdict == workflow.OK || r.Verdict == workflow.NotCaptured) {
		r.Verdict = workflow.Broken
	}
	if r.Verdict == workflow.OK {
		var missing []string
		for _, label := range compiled.labels() {
			if t := c.tables[label]; t.table != nil && t.table.Version == 0 && !strings.HasPrefix(label, workflow.DomainPrefix) {
				missing = append(missing, label)
			}
		}
		if len(missing) > 0 {
			r.Verdict = workflow.NotCaptured
			r.Warnings = append(r.Warnings, Problem{
				Message: "a worker captures what it may by itself (ROWBELL_CAPTURE=auto); else " + notCaptured(missing, "isn't captured", "aren't captured"),
			})
		}
	}
	return r
}

// checker gathers what is wrong.
type checker struct {
	workflow *workflow.Workflow
	tenantID string
	lookup   Lookup
	tables   map[string]lookedUp
	programs condition.Cache

	errors, warnings []Problem
	texts            []string // what Compile or bind would say for these errors
	found            []conditionProblem
}

type lookedUp struct {
	table *workflow.Table
	rel   *change.Relation
	err   error
}

// conditionProblem is what is wrong with a condition of the workflow, which all triggers
// share, and the triggers that it is wrong for.
type conditionProblem struct {
	Problem
	triggers []int
}

func (c *checker) add(p Problem) {
	if !slices.Contains(c.errors, p) {
		c.errors = append(c.errors, p)
	}
}

func (c *checker) warn(p Problem) {
	if !slices.Contains(c.warnings, p) {
		c.warnings = append(c.warnings, p)
	}
}

// lacks tells what the actions will not get, though the triggers can't be bound.
func (c *checker) lacks(uses []workflow.ColumnUse) {
	if c.lookup == nil {
		return
	}
	rules := make(map[string][]*rule)
	var labels []string
	for _, t := range c.workflow.Triggers {
		op, ok := change.ParseOp(t.Operation)
		if label := t.EntityLabel(); ok && !t.Domain() && c.table(label).err == nil {
			if rules[label] == nil {
				labels = append(labels, label)
			}
			rules[label] = append(rules[label], &rule{op: op})
		}
	}
	for _, label := range labels {
		at := c.table(label)
		warnings, err := newTable(nil, at.rel, at.table).lacks(&Compiled{uses: uses}, rules[label])
		var blocks lackError
		if errors.As(err, &blocks) {
			for _, l := range blocks {
				c.add(problemOf(l))
			}
		}
		for _, w := range warnings {
			c.warn(problemOf(w))
		}
	}
}

func (c *checker) table(label string) lookedUp {
	t, ok := c.tables[label]
	if !ok {
		if name, domain := strings.CutPrefix(label, workflow.DomainPrefix); domain {
			t.table, t.rel = domainTable(name), condition.DomainRelation(name)
		} else {
			t.table, t.rel, t.err = c.lookup(label)
		}
		c.tables[label] = t
	}
	return t
}

// trigger judges one trigger: by itself, then with each condition by itself.
func (c *checker) trigger(i int) {
	t := c.workflow.Triggers[i]
	name := triggerName(i, t)
	c.judge(i, t, alone(c.workflow.Conditions, -1), func(p Problem) {
		p.Where = strings.Trim(name+", "+p.Where, ", ")
		c.add(p)
	})
	bare := t
	bare.FieldConditions = nil
	if !c.judge(i, bare, alone(nil, -1), func(Problem) {}) {
		return // it is the trigger that is wrong, whatever is asked for
	}
	for n := range c.workflow.Conditions {
		c.judge(i, bare, alone(c.workflow.Conditions, n), func(p Problem) { c.shared(i, p) })
	}
}

// alone is the conditions with one of them, which keeps its number, or with none for -1.
// The others hold always; and they read something of every event, since only the whole
// can be found to speak of the wrong row.
func alone(conditions []workflow.Condition, n int) []workflow.Condition {
	list := make([]workflow.Condition, max(len(conditions), 1), len(conditions)+1)
	for k := range list {
		list[k] = workflow.Condition{Type: "expression", Config: json.RawMessage(`{"expression": "op != \"\""}`)}
	}
	if n >= 0 {
		if len(list) == 1 {
			list = append(list, list[0])
		}
		list[n] = conditions[n]
	}
	return list
}

// shared notes a problem of a condition, which may come again with the next trigger.
func (c *checker) shared(trigger int, p Problem) {
	for n := range c.found {
		if c.found[n].Problem == p {
			c.found[n].triggers = append(c.found[n].triggers, trigger)
			return
		}
	}
	c.found = append(c.found, conditionProblem{p, []int{trigger}})
}

// conditions tells what is wrong with conditions, once for all triggers.
func (c *checker) conditions() {
	for _, f := range c.found {
		p := f.Problem
		if len(f.triggers) < len(c.workflow.Triggers) {
			p.Where = triggerName(f.triggers[0], c.workflow.Triggers[f.triggers[0]]) + ", " + p.Where
		}
		c.add(p)
	}
}

// judge parses and binds a trigger with these conditions, and says whether all is well.
func (c *checker) judge(i int, t workflow.Trigger, conditions []workflow.Condition, tell func(Problem)) bool {
	name := triggerName(i, t)
	fail := func(err error) {
		c.texts = append(c.texts, name+": "+err.Error())
		tell(problemOf(err))
	}
	parsed, err := c.parse(i, t, conditions)
	if err != nil {
		fail(err)
		return false
	}
	if c.lookup == nil {
		return true
	}
	at := c.table(parsed.label)
	if at.err != nil {
		fail(at.err)
		return false
	}
	if _, err := newTable(nil, at.rel, at.table).rule(c.compiled(parsed), parsed, &c.programs); err != nil {
		fail(err)
		return false
	}
	return true
}

// parse is what Compile does with a trigger. A firing mode that there isn't is told of by
// itself.
func (c *checker) parse(i int, t workflow.Trigger, conditions []workflow.Condition) (trigger, error) {
	firing, _ := c.workflow.Firing()
	return (&Compiled{OncePerRow: firing == workflow.OncePerRow}).parseTrigger(i, t, conditions, firing)
}

// compiled is the workflow with one trigger.
func (c *checker) compiled(t trigger) *Compiled {
	return &Compiled{Workflow: c.workflow, WorkflowID: c.workflow.ID, TenantID: c.tenantID, Status: workflow.Active, triggers: []trigger{t}}
}

// whole binds the workflow as the Index does, and returns the first thing that is wrong.
func (c *checker) whole(compiled *Compiled) string {
	if compiled.Health.Verdict == workflow.Broken {
		return compiled.Health.Message
	}
	for _, label := range compiled.labels() {
		if c.lookup == nil {
			break
		}
		at := c.table(label)
		if at.err != nil || at.table == nil {
			continue // told of its trigger
		}
		_, warnings, err := newTable(nil, at.rel, at.table).compile(compiled, &c.programs)
		var lacks lackError
		if errors.As(err, &lacks) {
			for _, l := range lacks {
				c.add(problemOf(l))
			}
			continue
		}
		if err != nil {
			return err.Error()
		}
		for _, w := range warnings {
			c.warn(problemOf(w))
		}
	}
	for _, text := range compiled.Health.Warnings {
		c.warn(locate(text))
	}
	return ""
}

// told says that a message of the whole was told for a part.
func (c *checker) told(message string) bool {
	if slices.Contains(c.texts, message) {
		return true
	}
	for line := range strings.SplitSeq(message, "\n") {
		if !slices.Contains(c.errors, locate(line)) {
			return false
		}
	}
	return true
}

// problemOf takes an error apart.
func problemOf(err error) Problem {
	var at *condition.Error
	if errors.As(err, &at) {
		return Problem{Where: at.Where, Line: at.Line, Column: at.Column, Snippet: at.Snippet, Message: at.Message, Mend: at.Mend}
	}
	return Problem{Message: err.Error()}
}

// locate takes the place off a message that starts with one: "action 2 (webhook): …".
func locate(message string) Problem {
	where, rest, ok := strings.Cut(message, ": ")
	for _, part := range []string{"action ", "trigger ", "settings"} {
		if ok && strings.HasPrefix(where, part) {
			return Problem{Where: where, Message: rest}
		}
	}
	return Problem{Message: message}
}

// Reading is what a trigger or a condition of a workflow reads of a table.
type Reading struct {
	Where   string   // trigger 1 (orders update), field_conditions; condition 2 (expression)
	Columns []string // new.status, old.total
	Err     error    // it can't be judged, with the place; then Columns are unknown
}

// Reads lists what trigger i, each condition, and those of actions read of its table.
func Reads(w *workflow.Workflow, i int, table *workflow.Table, rel *change.Relation) []Reading {
	// In which mode it fires makes no difference to what it reads.
	every := *w
	every.Settings = nil
	c := &checker{workflow: &every}
	t := w.Triggers[i]
	name := triggerName(i, t)
	var list []Reading
	read := func(where string, t workflow.Trigger, conditions []workflow.Condition) error {
		parsed, err := c.parse(i, t, conditions)
		if err != nil {
			return err
		}
		bound, err := newTable(nil, rel, table).rule(c.compiled(parsed), parsed, &c.programs)
		if err == nil && len(bound.full.Columns()) > 0 {
			list = append(list, Reading{Where: where, Columns: bound.full.Columns()})
		}
		return err
	}
	fail := func(where string, err error) {
		list = append(list, Reading{Where: where, Err: fmt.Errorf("%s: %w", name, err)})
	}
	bare := t
	bare.FieldConditions = nil
	if err := read("", bare, alone(nil, -1)); err != nil {
		fail(name, err)
		return list
	}
	where := name + ", field_conditions"
	if err := read(where, t, alone(w.Conditions, -1)); err != nil {
		fail(where, err)
	}
	for n, cond := range w.Conditions {
		where := fmt.Sprintf("condition %d (%s)", n+1, cond.Type)
		if err := read(where, bare, alone(w.Conditions, n)); err != nil {
			fail(where, err)
		}
	}
	return append(list, ownReads(w, t, table, rel)...)
}
