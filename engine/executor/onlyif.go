package executor

import (
	"context"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Decided is what became of an action's own conditions. The zero value says that they hold.
type Decided struct {
	Reason string // why they don't
	Failed bool   // they can't be decided, now or later
}

// leftOut says that a delivery is not to be tried since the conditions of its action don't
// hold, and in o what becomes of it. They are decided before the action begins, once: what
// was tried before, or is one person's share, has passed.
func (e *Executor) leftOut(work context.Context, o *workflow.Outcome, step *actions.Step, event *workflow.Event) (bool, error) {
	if step.OnlyIf == nil || o.Recipient != "" || o.Attempts > 0 {
		return false, nil
	}
	d := Decided{Failed: true, Reason: "its condition can't be decided: this process can't read the application's tables"}
	if e.cfg.OnlyIf != nil {
		ctx, cancel := context.WithTimeout(work, longestRead)
		defer cancel()
		var err error
		if d, err = e.cfg.OnlyIf(ctx, int(o.Action), step.Kind.Name, step.OnlyIf, event); err != nil {
			return false, err
		}
	}
	switch {
	case d.Failed:
		o.Verb, o.Reason, o.Stop = workflow.Dead, d.Reason, stopReason(step, o.Action)
	case d.Reason != "":
		o.Verb, o.Reason = workflow.Cancel, d.Reason
	default:
		return false, nil
	}
	return true, nil
}
