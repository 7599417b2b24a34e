package app

import (
	"context"

	"github.com/rowbell/rowbell/pkg/store"
)

// Failures counts failed executions by their causes.
func (o *Operator) Failures(ctx context.Context, f store.CauseFilter) (store.Causes, error) {
	return o.app.state.FailureCauses(ctx, f)
}

// DismissFailure dismisses a cause of a workflow's failures until another execution fails for
// it; with a tenant, of its workflow. Returns ErrNotFound if there is no such cause in the log.
func (o *Operator) DismissFailure(ctx context.Context, workflowID, cause, note string, tenant *string, actor string) (store.Dismissal, error) {
	d, err := o.app.state.Dismiss(ctx, store.Dismissal{WorkflowID: workflowID, Cause: cause, Note: note, By: actor}, tenant)
	if err != nil {
		return d, err
	}
	return d, o.note(ctx, dismissalAct(&d, actor, "failure.dismiss"))
}

// RestoreFailure lists a dismissed cause again. Returns ErrNotFound.
func (o *Operator) RestoreFailure(ctx context.Context, id, actor string) error {
	d, err := o.app.state.Dismissal(ctx, id)
	if err != nil {
		return err
	}
	if err := o.app.state.RestoreFailure(ctx, id); err != nil {
		return err
	}
	return o.note(ctx, dismissalAct(&d, actor, "failure.restore"))
}

// dismissalAct is what audit_log has of a dismissal: not the cause, which may quote a row or a
// person, and is to go with them, while the log of acts stays.
func dismissalAct(d *store.Dismissal, actor, action string) store.Act {
	return store.Act{
		Actor: actor, TenantID: d.TenantID, Action: action, ObjectType: "failure", ObjectID: d.ID, Detail: map[string]any{"workflow_id": d.WorkflowID, "note": d.Note},
	}
}
