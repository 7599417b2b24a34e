package executor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/directory"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// resolve finds out whom a delivery is for, and says so in r.address; or in r.outcome why
// it can't be found out, or not now, or that it is for nobody.
func (e *Executor) resolve(work context.Context, r *result, p *plan, step *actions.Step, event *workflow.Event) {
	o := &r.outcome
	ctx, cancel := context.WithTimeout(work, longestAttempt)
	defer cancel()
	o.StartedAt = time.Now()
	people, err := e.cfg.Directory.Resolve(ctx, directory.Question{
		TenantID: p.workflow.TenantID, Recipients: step.Recipients, Exclude: step.Exclude, Actor: actorOf(event.Data),
		Row: func() (map[string]any, error) { return rowOf(event.Data) }, What: event.Table + " " + event.RowKey,
		XID: o.XID, CommittedAt: event.CommittedAt,
	})
	o.Duration = time.Since(o.StartedAt)
	n := int(o.Attempts - o.Base) // of the waits so far
	switch {
	case err == nil && len(people.To) > 0:
		r.address = &workflow.Addressing{Leased: o.Leased, People: people.To, Left: people.Left}
	case err == nil:
		o.Verb, o.Reason = workflow.Cancel, people.Why
	case work.Err() != nil:
		o.Verb = workflow.GiveBack // the process ends, and has cut it off
	case errors.Is(err, directory.ErrNever):
		o.Verb, o.Reason, o.Stop = workflow.Dead, err.Error(), stopReason(step, o.Action)
	case n < len(e.cfg.GateRetry):
		o.Tried, o.Verb, o.Reason = true, workflow.Retry, err.Error()
		o.RetryIn = max(vary(e.cfg.GateRetry[n]), time.Millisecond)
	default:
		o.Tried, o.Verb, o.Stop = true, workflow.Dead, stopReason(step, o.Action)
		o.Reason = fmt.Sprintf("whom it is for could not be found out in %d attempts: %v", n+1, err)
	}
}

// reachable says whether a person has the address that an action's kind needs. If not, o
// says so: that is theirs, and no failure of the workflow.
func (e *Executor) reachable(o *workflow.Outcome, step *actions.Step) bool {
	if o.Person == nil { // addressed by an older version
		o.Person = &workflow.Person{ID: o.Recipient, Stranger: true}
	}
	if o.Person.Has(step.Kind.Address) {
		return true
	}
	what := map[workflow.Address]string{workflow.EmailAddress: "e-mail address", workflow.PhoneAddress: "phone number"}[step.Kind.Address]
	why := fmt.Sprintf("%s has no %s in the directory", o.Recipient, what)
	if o.Person.Stranger {
		why = fmt.Sprintf("the directory does not know %s, whose id is no %s either", o.Recipient, what)
	}
	o.Verb, o.Reason = workflow.Cancel, workflow.Why(workflow.WhyNoAddress, why)
	return false
}

// rowOf is the new row of an event's data; the old one of a delete.
func rowOf(data []byte) (map[string]any, error) {
	var d struct{ New, Old map[string]any }
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&d); err != nil {
		return nil, fmt.Errorf("read the event's row: %w", err)
	}
	if d.New != nil {
		return d.New, nil
	}
	return d.Old, nil
}
