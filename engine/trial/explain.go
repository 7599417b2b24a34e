package trial

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Outcome is what became of an event for one workflow.
type Outcome string

const (
	Fired          Outcome = "fired"
	Failed         Outcome = "failed" // in its conditions, or in an action
	Cancelled      Outcome = "cancelled"
	Held           Outcome = "held" // its transaction is not released
	Skipped        Outcome = "skipped"
	NotMatched     Outcome = "not_matched"
	ChangedNothing Outcome = "changed_nothing"
	OtherOperation Outcome = "other_operation"
	OtherTenant    Outcome = "other_tenant"
	NoTrigger      Outcome = "no_trigger" // its version then had none on the table
	WasInactive    Outcome = "inactive"
	WasDraft       Outcome = "draft"
	WasDeleted     Outcome = "deleted"
	CreatedLater   Outcome = "created_later"
	WasBroken      Outcome = "broken"
	WasIncomplete  Outcome = "incomplete"
	Unknown        Outcome = "not_known" // the conditions need what isn't recorded
	Unexplained    Outcome = "unexplained"
)

// Past is a version of a workflow and from where on it applied.
type Past struct {
	workflow.Version
	// Known says that Stream and CommitLSN are: the version applied to transactions that
	// committed after it. Else the version is from the first load, or nobody noted it down,
	// and CreatedAt has to do.
	Known     bool
	Stream    int32
	CommitLSN change.LSN
	CreatedAt time.Time // by the source's clock, as commit times
}

// Execution is one that was recorded for the event.
type Execution struct {
	ID         string
	WorkflowID string
	Version    int32
	Name       string
	Status     workflow.ExecutionStatus
	Error      string
	// Of one that is pending: how many of its deliveries wait for a lower order or for the
	// transaction's release, are ready, or are being tried, and whether its gate is still to
	// be decided.
	Waiting, Ready, Leased int
	Gate                   bool
	NextAt                 time.Time // when the first of the ready ones may be tried; zero at once
	LastError              string
	Storm                  string // id of the storm that holds it; "" none does
	// Stopped says why actions were never begun, by their indexes: one before them failed.
	Stopped map[int]string
}

// Question is a recorded event, and what was found about it.
type Question struct {
	Change     *Change // see Recorded
	Versions   []Past  // of all workflows that have or had a trigger on the table
	Executions []Execution
	Big        workflow.BigStatus // of its transaction; "" if it was recorded at once
	Holding    bool               // this installation records, and delivers nothing
	Judge      match.Judge
}

// Account says what became of the event for one workflow.
type Account struct {
	WorkflowID  string                   `json:"workflow_id"`
	Name        string                   `json:"name"`
	Version     int32                    `json:"version,omitempty"` // that applied; 0 none did
	TenantID    string                   `json:"tenant_id,omitempty"`
	Outcome     Outcome                  `json:"outcome"`
	Reason      string                   `json:"reason"`
	ExecutionID string                   `json:"execution_id,omitempty"`
	Status      workflow.ExecutionStatus `json:"status,omitempty"`
	Triggers    []Trigger                `json:"triggers,omitempty"`
	// LeftOut are actions whose own conditions don't hold for the event, of one that ran.
	LeftOut []LeftOut `json:"left_out,omitempty"`
}

// Explain says for each workflow what became of the event: those that fired first, then
// by id.
func Explain(q Question) []Account {
	byID := map[string][]Past{}
	for _, v := range q.Versions {
		byID[v.WorkflowID] = append(byID[v.WorkflowID], v)
	}
	for _, x := range q.Executions {
		if _, known := byID[x.WorkflowID]; !known {
			byID[x.WorkflowID] = nil // its versions are gone; the execution tells
		}
	}
	var list []Account
	for id, versions := range byID {
		slices.SortFunc(versions, func(a, b Past) int { return cmp.Compare(a.Version.Version, b.Version.Version) })
		list = append(list, q.account(id, versions)...)
	}
	slices.SortFunc(list, func(a, b Account) int {
		return cmp.Or(cmp.Compare(rank(a.Outcome), rank(b.Outcome)), cmp.Compare(a.WorkflowID, b.WorkflowID), cmp.Compare(a.ExecutionID, b.ExecutionID))
	})
	return list
}

func rank(o Outcome) int {
	switch o {
	case Fired, Failed, Cancelled, Held, Skipped:
		return 0
	}
	return 1
}

// before says that a version applied to the event.
func (p *Past) before(c *Change) bool {
	if !p.Known {
		return !p.CreatedAt.After(c.CommittedAt)
	}
	return cmp.Or(cmp.Compare(p.Stream, c.Position.Stream), cmp.Compare(p.CommitLSN, c.Position.CommitLSN)) < 0
}

// account is about one workflow: one entry, or one for each of its executions.
func (q *Question) account(id string, versions []Past) []Account {
	var list []Account
	for i := range q.Executions {
		if q.Executions[i].WorkflowID == id {
			a := q.ran(&q.Executions[i])
			for _, v := range versions {
				if v.Version.Version == a.Version {
					a.TenantID = v.TenantID
					if decided(&q.Executions[i]) {
						q.left(&a, &v, q.Executions[i].Stopped)
					}
				}
			}
			list = append(list, a)
		}
	}
	if len(list) > 0 {
		return list
	}
	a := Account{WorkflowID: id}
	var applied *Past
	for i := range versions {
		a.Name = cmp.Or(nameOf(&versions[i]), a.Name)
		if versions[i].before(q.Change) {
			applied = &versions[i]
		}
	}
	if applied == nil {
		a.Outcome = CreatedLater
		a.Reason = fmt.Sprintf("it was created later: its first version is of %s, the change of %s", moment(versions[0].CreatedAt), moment(q.Change.CommittedAt))
		a.TenantID = versions[0].TenantID
		return []Account{a}
	}
	a.Name = cmp.Or(nameOf(applied), a.Name)
	a.Version, a.TenantID = applied.Version.Version, applied.TenantID
	q.why(&a, applied)
	return []Account{a}
}

func nameOf(p *Past) string {
	w, err := workflow.Parse(p.Document)
	if err != nil || w == nil {
		return ""
	}
	return w.Name
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.999999") + " UTC" }

// ran is about an execution.
func (q *Question) ran(x *Execution) Account {
	a := Account{WorkflowID: x.WorkflowID, Name: x.Name, Version: x.Version, ExecutionID: x.ID, Status: x.Status, Outcome: Fired}
	switch x.Status {
	case workflow.Success:
		a.Reason = "it fired, and all its actions succeeded"
	case workflow.Failure:
		a.Outcome, a.Reason = Failed, cmp.Or(x.Error, "an action gave up")
	case workflow.Cancelled:
		a.Outcome, a.Reason = Cancelled, cmp.Or(x.Error, "it was cancelled")
	default:
		a.Reason = q.pending(x, &a)
	}
	return a
}

// decided says that actions' own conditions were: they are when deliveries are tried, and that
// doesn't come where all was cancelled before, as by a gate.
func decided(x *Execution) bool {
	switch x.Status {
	case workflow.Pending:
		return false
	case workflow.Cancelled:
		return strings.HasPrefix(x.Error, workflow.NotMet)
	}
	return true
}

// left says which actions of the version that ran were left out, and why. Those that were never
// begun were not asked about: their conditions might say anything.
func (q *Question) left(a *Account, p *Past, stopped map[int]string) {
	w, err := workflow.Parse(p.Document)
	if err != nil {
		return
	}
	c := q.Change
	own := c.own(w, c.event(), side{c.Op, c.Side})
	for i := range own {
		if why, is := stopped[i]; is {
			own[i] = Own{Verdict: condition.NotEvaluated, Reason: "it was not asked, since " + why}
		}
	}
	a.LeftOut = leftOut(w, own)
	if len(a.LeftOut) == 0 || a.Status != workflow.Success {
		return
	}
	a.Reason = "it fired, and all its other actions succeeded"
	for i := range a.LeftOut {
		a.Reason += "; " + a.LeftOut[i].named() + " was left out: " + a.LeftOut[i].Reason
	}
}

// pending says what a pending execution waits for.
func (q *Question) pending(x *Execution, a *Account) string {
	if x.Storm != "" {
		a.Outcome = Held
		return "it matched, and the storm guard holds it with what there was too much of; decide: rowbell storm release " + x.Storm + ", or discard"
	}
	switch q.Big {
	case workflow.BigHeld:
		a.Outcome = Held
		return "it matched, and its transaction is held until an operator decides"
	case workflow.BigOpen:
		a.Outcome = Held
		return "it matched, and its transaction, which is recorded in parts, is not released yet"
	case workflow.BigSkipped:
		a.Outcome = Skipped
		return "it matched, and the application said skip: nothing of this transaction is delivered"
	}
	var parts []string
	switch {
	case q.Holding:
		parts = append(parts, "delivery is on hold here (ROWBELL_DELIVERY=hold)")
	case x.Leased > 0:
		parts = append(parts, count(x.Leased, "delivery is", "deliveries are")+" being tried")
	}
	if x.Gate {
		parts = append(parts, "its gate is to be decided first")
	}
	if x.Ready > 0 && !x.NextAt.IsZero() {
		parts = append(parts, "the next try is at "+moment(x.NextAt))
	} else if x.Ready > 0 {
		parts = append(parts, count(x.Ready, "delivery is", "deliveries are")+" ready")
	}
	if x.Waiting > 0 {
		parts = append(parts, count(x.Waiting, "delivery waits", "deliveries wait")+" for what runs before")
	}
	reason := "it fired, and is pending"
	if len(parts) > 0 {
		reason += ": " + strings.Join(parts, ", ")
	}
	if x.LastError != "" {
		reason += "; last: " + x.LastError
	}
	return reason
}

func count(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

// why says why there is no execution of the version that applied.
func (q *Question) why(a *Account, p *Past) {
	c := q.Change
	switch p.Status {
	case workflow.Draft:
		a.Outcome, a.Reason = WasDraft, fmt.Sprintf("it was a draft then (version %d)", a.Version)
		return
	case workflow.Inactive:
		a.Outcome, a.Reason = WasInactive, fmt.Sprintf("it was inactive then (version %d)", a.Version)
		return
	case workflow.Deleted:
		a.Outcome, a.Reason = WasDeleted, fmt.Sprintf("it was deleted then (version %d)", a.Version)
		return
	}
	if p.TenantID != "" && p.TenantID != c.tenant(c.Op) {
		a.Outcome = OtherTenant
		a.Reason = fmt.Sprintf("it is of tenant %s, and the row of %s", p.TenantID, named(c.tenant(c.Op)))
		return
	}
	if w, err := workflow.Parse(p.Document); err == nil {
		on := func(t workflow.Trigger) bool { return t.EntityLabel() == c.Table.Label }
		switch {
		case len(w.Triggers) == 0 || len(w.Actions) == 0:
			a.Outcome, a.Reason = WasIncomplete, fmt.Sprintf("it had no trigger or no action then (version %d)", a.Version)
			return
		case !slices.ContainsFunc(w.Triggers, on):
			a.Outcome, a.Reason = NoTrigger, fmt.Sprintf("it had no trigger on %s then (version %d)", c.Table.Label, a.Version)
			return
		}
	}
	r := Simulate(Input{Version: p.Version, Change: c, Judge: q.Judge})
	a.Triggers = r.Triggers
	switch r.Answer {
	case Broken:
		a.Outcome, a.Reason = WasBroken, "it is broken: "+r.Reason
	case DoesNot:
		a.Outcome, a.Reason = NotMatched, r.Reason
		switch {
		case c.unchanged(c.event()):
			a.Outcome = ChangedNothing
		case !slices.ContainsFunc(r.Triggers, func(t Trigger) bool { return t.Verdict != condition.NotEvaluated }):
			a.Outcome = OtherOperation
		}
	case NotDecided:
		a.Outcome, a.Reason = Unknown, "it can't be told: "+r.Reason
	case WouldFail:
		a.Outcome = Failed
		a.Reason = "its condition could not be decided, and it was only counted, since only the first few of an hour are recorded: " + r.Reason
	default:
		a.Outcome = Unexplained
		a.Reason = "by what is recorded it matches, and there is no execution of it: the table or its capture may have changed since, or the execution is older than the log keeps"
	}
}
