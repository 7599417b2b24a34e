package executor

import (
	"cmp"
	"context"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/preference"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Preferences says whether people want what they are to be told, and whether now;
// preference.Asker does. Its methods may be called from any goroutine.
type Preferences interface {
	// Ask answers for one person. An error is one of the database, and may go away.
	Ask(ctx context.Context, q preference.Question) (preference.Answer, error)
}

// unwanted says that a delivery is not to be tried, or not now, and in o what becomes of
// it: it is cancelled if the person has opted out, and put off, untried, until their quiet
// hours end. Nobody is asked about what is critical, nor about an action as a whole.
func (e *Executor) unwanted(work context.Context, o *workflow.Outcome, p *plan, step *actions.Step, event *workflow.Event) (bool, error) {
	if e.cfg.Preferences == nil || o.Recipient == "" || p.workflow.Critical {
		return false, nil
	}
	q := preference.Question{
		// Of an operators' workflow they are the people of the row's tenant.
		TenantID: cmp.Or(p.workflow.TenantID, event.TenantID), WorkflowID: p.workflow.ID, Channel: step.Kind.Name,
		Person: workflow.Person{ID: o.Recipient},
	}
	if o.Person != nil {
		q.Person = *o.Person
	}
	ctx, cancel := context.WithTimeout(work, longestRead)
	defer cancel()
	a, err := e.cfg.Preferences.Ask(ctx, q)
	switch {
	case err != nil:
		return false, err
	case a.Reason == "":
		return false, nil
	case a.Wait > 0:
		o.Verb, o.Reason, o.RetryIn = workflow.GiveBack, a.Reason, a.Wait
		e.metrics.quiet.Inc()
	default:
		o.Verb, o.Reason = workflow.Cancel, a.Reason
	}
	return true, nil
}
