package trial

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Answer is what a simulation comes to.
type Answer string

const (
	Fires      Answer = "fires"
	DoesNot    Answer = "does_not_fire"
	Depends    Answer = "depends"     // on gates, which are decided after recording
	WouldFail  Answer = "fails"       // a condition can't be decided: the execution would be recorded as failed
	NotDecided Answer = "not_decided" // a condition needs what the recorded event doesn't have
	Broken     Answer = "broken"      // the definition can't run
)

// Input is a definition and a change to try it on.
type Input struct {
	// Version is the definition, whatever its status: it is tried as if it were active.
	Version workflow.Version
	Change  *Change
	// Judge judges actions, as match.Compile has it; nil accepts all.
	Judge match.Judge
	// Fired says, for firing mode once_per_row, whether the workflow has fired for this
	// row; nil if nobody knows.
	Fired *bool
}

// Result is what a definition would do.
type Result struct {
	WorkflowID string          `json:"workflow_id"`
	Name       string          `json:"name"`
	Version    int32           `json:"version,omitempty"`
	Status     workflow.Status `json:"status"`
	TenantID   string          `json:"tenant_id,omitempty"`

	Table     string `json:"table"`
	Operation string `json:"operation"`
	RowKey    string `json:"row_key,omitempty"`
	RowTenant string `json:"row_tenant,omitempty"`
	EventID   string `json:"event_id,omitempty"`

	Answer   Answer          `json:"answer"`
	Reason   string          `json:"reason"`
	Firing   workflow.Firing `json:"firing"`
	Triggers []Trigger       `json:"triggers"`
	Gates    []string        `json:"gates,omitempty"`
	Actions  []Action        `json:"actions,omitempty"`  // those that would run
	LeftOut  []LeftOut       `json:"left_out,omitempty"` // those that would not, by conditions of their own
	Warnings []string        `json:"warnings,omitempty"`
	Notes    []string        `json:"notes,omitempty"` // on the change itself
}

// Acts says that it fires, or may, and that there is an action for it to run.
func (r *Result) Acts() bool {
	return (r.Answer == Fires || r.Answer == Depends) && (len(r.Actions) > 0 || len(r.LeftOut) == 0)
}

// Trigger is one trigger of the definition.
type Trigger struct {
	Name     string             `json:"name"` // trigger 1 (orders update)
	Priority int32              `json:"priority"`
	Verdict  condition.Verdict  `json:"verdict"` // not_evaluated if it is about something else
	Reason   string             `json:"reason,omitempty"`
	Clauses  []condition.Clause `json:"clauses,omitempty"`
	// Before is the verdict on the old row, for firing mode becomes_true.
	Before        condition.Verdict  `json:"before,omitempty"`
	BeforeClauses []condition.Clause `json:"before_clauses,omitempty"`

	op change.Op // as which the change was evaluated
}

// Simulate says what a definition would do about a change. It sends nothing.
func Simulate(in Input) Result {
	c := in.Change
	ev := c.event()
	r := Result{
		WorkflowID: in.Version.WorkflowID, Version: in.Version.Version, Status: in.Version.Status, TenantID: in.Version.TenantID,
		Table: c.Table.Label, Operation: c.Op.String(), RowKey: c.key(), RowTenant: c.tenant(c.Op), EventID: c.EventID, Firing: workflow.Every,
	}
	w, err := workflow.Parse(in.Version.Document)
	if err != nil {
		return r.broken(err.Error())
	}
	r.Name = w.Name
	if r.Firing, err = w.Firing(); err != nil {
		return r.broken(err.Error())
	}
	triggers, err := parseTriggers(w, r.Firing)
	if err != nil {
		return r.broken(err.Error())
	}
	if problem := r.judge(in); problem != "" {
		return r.broken(problem)
	}
	r.Notes = c.notes(ev)
	sides := c.sides(ev)
	for i := range triggers {
		r.Triggers = append(r.Triggers, r.try(in, &triggers[i], ev, sides))
	}
	r.decide(in, w, ev, sides)
	return r
}

func (r *Result) broken(message string) Result {
	r.Answer, r.Reason = Broken, message
	return *r
}

// parsed is a trigger whose conditions have been read.
type parsed struct {
	workflow.Trigger
	index int
	op    change.Op
	form  *condition.Form
}

func parseTriggers(w *workflow.Workflow, firing workflow.Firing) ([]parsed, error) {
	if len(w.Triggers) == 0 {
		return nil, fmt.Errorf("the workflow has no trigger, so it does nothing")
	}
	list := make([]parsed, len(w.Triggers))
	for i, t := range w.Triggers {
		p := parsed{Trigger: t, index: i}
		var ok bool
		if p.op, ok = change.ParseOp(t.Operation); !ok {
			return nil, fmt.Errorf("%s: there is no operation %q; use create, update or delete", triggerName(i, t), t.Operation)
		}
		if t.Domain() {
			if p.op != change.Create {
				return nil, fmt.Errorf("%s: domain events are only created; write operation create", triggerName(i, t))
			}
			p.op = change.Emit
		}
		form, err := condition.Parse(condition.Source{Trigger: t, Conditions: w.Conditions, Firing: firing})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", triggerName(i, t), err)
		}
		p.form = form
		list[i] = p
	}
	return list, nil
}

func triggerName(i int, t workflow.Trigger) string {
	return fmt.Sprintf("trigger %d (%s %s)", i+1, t.EntityType, t.Operation)
}

// judge asks the index what is wrong with the definition on this table; "" nothing.
func (r *Result) judge(in Input) string {
	v := in.Version
	v.Status = workflow.Active
	compiled := match.Compile(v, 1, in.Judge)
	switch compiled.Health.Verdict {
	case workflow.Broken:
		return compiled.Health.Message
	case workflow.Incomplete:
		r.Warnings = append(r.Warnings, compiled.Health.Message)
		return ""
	}
	ix := match.New()
	if in.Change.Op != change.Emit {
		ix.Capture(in.Change.Table)
	}
	ix.Apply(compiled)
	if in.Change.Op != change.Emit {
		ix.Bind(in.Change.Relation)
	}
	for _, h := range ix.TakeVerdicts() {
		r.Warnings = append(r.Warnings, h.Warnings...)
		if h.Verdict == workflow.Broken {
			return h.Message
		}
	}
	return ""
}

// notes says what is odd about the change.
func (c *Change) notes(ev *change.Event) []string {
	var list []string
	if !c.Recorded && c.Op == change.Update && c.Relation.ReplicaIdentity != 'f' {
		for i, col := range c.Relation.Columns {
			if !col.Key && !sameCell(c.Old[i], c.New[i]) {
				list = append(list, fmt.Sprintf("table %s has no full replica identity, so the WAL has no old values but those of its key: conditions can't read them", c.Table.Label))
				break
			}
		}
	}
	if tenantChange(c, ev) {
		list = append(list, fmt.Sprintf("the change moves the row from tenant %s to %s: it is a delete for the one and a create for the other", named(c.tenant(change.Delete)), named(c.tenant(change.Create))))
	}
	return list
}

func named(tenant string) string {
	if tenant == "" {
		return "(none)"
	}
	return tenant
}

// side is what a change is for one tenant.
type side struct {
	op   change.Op
	side change.Side
}

func tenantChange(c *Change, ev *change.Event) bool {
	if c.Op != change.Update {
		return false
	}
	ix := match.New()
	ix.Capture(c.Table)
	t := ix.Bind(c.Relation)
	return t != nil && t.TenantChange(ev)
}

// sides are what the change is matched as: mostly what it is.
func (c *Change) sides(ev *change.Event) []side {
	if tenantChange(c, ev) {
		return []side{{change.Delete, change.SideFirst}, {change.Create, change.SideSecond}}
	}
	return []side{{c.Op, c.Side}}
}

// try evaluates one trigger.
func (r *Result) try(in Input, p *parsed, ev *change.Event, sides []side) Trigger {
	c := in.Change
	t := Trigger{Name: triggerName(p.index, p.Trigger), Priority: p.Priority, Verdict: condition.NotEvaluated}
	if p.EntityLabel() != c.Table.Label {
		t.Reason = fmt.Sprintf("it is on %s, and the change is of %s", p.EntityType, c.Table.Label)
		return t
	}
	i := slices.IndexFunc(sides, func(s side) bool { return s.op == p.op })
	if i < 0 {
		t.Reason = fmt.Sprintf("it is for %s, and this is %s", article(p.Operation), article(c.Op.String()))
		if len(sides) > 1 {
			t.Reason = fmt.Sprintf("it is for %s, and a change of tenant is a delete and a create", article(p.Operation))
		}
		return t
	}
	s := sides[i]
	t.op = s.op
	if in.Version.TenantID != "" {
		if tenant := c.tenant(s.op); tenant != in.Version.TenantID {
			t.Verdict, t.Reason = condition.False, fmt.Sprintf("the row is of tenant %s, the workflow of %s", named(tenant), in.Version.TenantID)
		}
	}
	var env condition.Env
	ctx := &condition.Context{Position: c.Position, Side: s.side, CommittedAt: c.CommittedAt, Actor: decodeActor(c.Actor)}
	env.LoadAs(ev, s.op, ctx)
	env.Mask(c.masked)
	clauses, err := p.form.Explain(c.Relation, c.Table, s.op, &env)
	if err != nil {
		t.Verdict, t.Reason = condition.Failed, err.Error()
		return t
	}
	t.Clauses = clauses
	if t.Verdict == condition.False { // another tenant: the conditions are shown, and don't count
		return t
	}
	t.Verdict = condition.Decide(clauses)
	if stop := condition.Stopper(clauses); stop != nil {
		t.Reason = Describe(stop)
		return t
	}
	if r.Firing != workflow.BecomesTrue || s.op != change.Update {
		return t
	}
	t.BeforeClauses, err = p.form.ExplainBefore(c.Relation, c.Table, s.op, &env)
	if err != nil {
		t.Verdict, t.Reason = condition.Failed, err.Error()
		return t
	}
	switch t.Before = condition.Decide(t.BeforeClauses); t.Before {
	case condition.True:
		t.Verdict, t.Reason = condition.False, "the row matched before this change already, and firing mode becomes_true fires only when it begins to"
	case condition.Failed:
		t.Verdict, t.Reason = condition.Failed, "whether the row matched before can't be decided: "+condition.Stopper(t.BeforeClauses).Error
	}
	return t
}

func article(op string) string {
	switch op {
	case "update":
		return "an update"
	case "emit":
		return "a domain event"
	}
	return "a " + op
}

func decodeActor(actor json.RawMessage) any {
	if actor == nil {
		return nil
	}
	v, err := change.Type{Kind: change.JSON}.Decode(actor)
	if err != nil {
		return nil
	}
	return v
}

// Describe says a clause with its values in one line.
func Describe(c *condition.Clause) string {
	text := c.Text
	var values []string
	switch c.Kind {
	case condition.Changed:
		if c.Left != nil && c.Right != nil {
			values = append(values, c.Left.Shown+" → "+c.Right.Shown)
		}
	default:
		for _, v := range []*condition.Value{c.Left, c.Right} {
			if v != nil && !v.Constant {
				values = append(values, v.Text+" is "+v.Shown)
			}
		}
	}
	if len(values) > 0 {
		text += ": " + strings.Join(values, ", ")
	}
	if c.Verdict == condition.Failed {
		text += " (" + c.Error + ")"
	}
	return text
}

// decide puts triggers, firing mode and gates together.
func (r *Result) decide(in Input, w *workflow.Workflow, ev *change.Event, sides []side) {
	c := in.Change
	best := -1
	for i, t := range r.Triggers {
		if t.Verdict == condition.True && (best < 0 || t.Priority < r.Triggers[best].Priority) {
			best = i
		}
	}
	if best < 0 {
		r.Answer, r.Reason = DoesNot, "no trigger matches"
		stopped := -1
		for i, t := range r.Triggers {
			if t.Verdict == condition.Failed {
				stopped = i
				r.Answer = WouldFail
				if c.Recorded && masked(t.Clauses, t.BeforeClauses) {
					r.Answer = NotDecided
				}
				break
			}
			if t.Verdict == condition.False && stopped < 0 {
				stopped = i
			}
		}
		if stopped < 0 && len(r.Triggers) > 0 {
			stopped = 0
		}
		if stopped >= 0 {
			r.Reason = r.Triggers[stopped].Name + ": " + r.Triggers[stopped].Reason
		}
	}
	if c.unchanged(ev) && len(sides) == 1 {
		r.Answer, r.Reason = DoesNot, "the update changes nothing, and such a one fires nothing"
		if !c.Recorded {
			r.Reason += "; say what it changes with --new or --old"
		}
		return
	}
	if best < 0 {
		return
	}
	t := &r.Triggers[best]
	r.Answer, r.Reason = Fires, t.Name+" matches"
	r.Gates = gates(w, r.Firing)
	if r.Firing == workflow.OncePerRow {
		switch {
		case in.Fired == nil:
			r.Answer = Depends
			r.Reason += "; it fires if it hasn't for this row"
		case *in.Fired:
			r.Answer = DoesNot
			r.Reason = "it has fired for this row already, and firing mode once_per_row fires once"
			return
		}
	}
	if slices.ContainsFunc(r.Gates, func(g string) bool { return strings.HasPrefix(g, "role") }) {
		r.Answer = Depends
		r.Reason += "; the directory decides about roles, and isn't asked here"
	}
	as := side{t.op, c.Side}
	if i := slices.IndexFunc(sides, func(s side) bool { return s.op == t.op }); i >= 0 {
		as = sides[i]
	}
	own := c.own(w, ev, as)
	r.LeftOut = leftOut(w, own)
	r.Actions = actionsOf(w, c, ev, t.op, r, own)
	if len(r.Actions) == 0 && len(r.LeftOut) > 0 {
		r.Reason += "; but nothing is done: " + r.LeftOut[0].named() + ": " + r.LeftOut[0].Reason
	}
}

// gates are what the executor decides after recording.
func gates(w *workflow.Workflow, firing workflow.Firing) []string {
	var list []string
	if firing == workflow.OncePerRow {
		list = append(list, "once_per_row: the first execution for each row passes")
	}
	for i, c := range w.Conditions {
		if c.Type != "role_based" {
			continue
		}
		roles, err := workflow.ParseRoles(c.Config)
		if err == nil && roles.By == workflow.ByDirectory {
			list = append(list, fmt.Sprintf("role_based, condition %d: the directory is asked for %s", i+1, compactJSON(c.Config)))
		}
	}
	return list
}

func compactJSON(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return "…"
	}
	return b.String()
}

// masked says that a clause failed for want of what the record doesn't have.
func masked(lists ...[]condition.Clause) bool {
	for _, list := range lists {
		for _, c := range list {
			if c.Verdict == condition.Failed && strings.Contains(c.Error, "which is not known here") {
				return true
			}
		}
	}
	return false
}

// byOrder are the indexes of the actions as they run.
func byOrder(w *workflow.Workflow) []int {
	list := make([]int, len(w.Actions))
	for i := range list {
		list[i] = i
	}
	slices.SortStableFunc(list, func(a, b int) int { return cmp.Compare(w.Actions[a].Order, w.Actions[b].Order) })
	return list
}
