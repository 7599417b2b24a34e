package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/rowbell/rowbell/pkg/admin"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// stormLimit is a setting as the engine takes it.
func stormLimit(n int) int32 {
	if n == StormOff {
		return 0
	}
	return int32(n)
}

// alert is told by the engine what owners of workflows are to know. It doesn't wait.
func (a *App) alert(w workflow.Alert) {
	a.log.Warn("a workflow was kept from doing more", "workflow_id", w.WorkflowID, "alert", w.Kind, "subject", w.Subject)
	select {
	case a.alerts.raised <- w:
	default: // that there are so many is in the log
	}
}

// Storms lists what the storm guard holds, the newest first; with all, what it has held
// too.
func (o *Operator) Storms(ctx context.Context, all bool) ([]store.Storm, error) {
	const most = 1000
	return o.app.state.Storms(ctx, all, most)
}

// ReleaseStorm lets what is held of a storm, or of a workflow, be delivered. Returns
// ErrNotFound if nothing of that name is held.
func (o *Operator) ReleaseStorm(ctx context.Context, name, by string) ([]store.Storm, error) {
	return o.decideStorm(ctx, name, workflow.BigReleased, "storm.release", by)
}

// DiscardStorm cancels what is held of a storm, or of a workflow. It can be replayed.
// Returns ErrNotFound if nothing of that name is held.
func (o *Operator) DiscardStorm(ctx context.Context, name, by string) ([]store.Storm, error) {
	return o.decideStorm(ctx, name, workflow.BigDiscarded, "storm.discard", by)
}

func (o *Operator) decideStorm(ctx context.Context, name string, to workflow.BigStatus, action, by string) ([]store.Storm, error) {
	list, err := o.app.state.DecideStorm(ctx, name, to, by)
	if err != nil {
		return list, err
	}
	for i := range list {
		s := &list[i]
		err = errors.Join(err, o.note(ctx, store.Act{
			Actor: by, TenantID: s.TenantID, Action: action, ObjectType: "storm", ObjectID: s.ID,
			Before: map[string]any{"status": s.Status}, After: map[string]any{"status": to},
			Detail: map[string]any{"workflow_id": s.WorkflowID, "executions": s.Executions, "deliveries": s.Deliveries},
		}))
	}
	return list, err
}

// checkStorm warns while something is held.
func (a *App) checkStorm(ctx context.Context) (string, error) {
	const most = 100
	list, err := a.state.Storms(ctx, false, most)
	if err != nil {
		return "", &admin.Problem{Message: "what the storm guard holds can't be read: " + Redact(err.Error()), Mend: "rowbell check", Warning: true}
	}
	if len(list) == 0 {
		return "the storm guard holds nothing", nil
	}
	n := 0
	for i := range list {
		n += list[i].Executions
	}
	oldest := &list[len(list)-1]
	return "", &admin.Problem{
		Message: fmt.Sprintf("the storm guard holds executions: %d, in storms: %d, the first of workflow %s", n, len(list), oldest.WorkflowID),
		Mend:    "rowbell storm list", Warning: true,
	}
}
