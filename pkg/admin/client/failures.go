package client

import (
	"context"
	"strconv"

	"github.com/rowbell/rowbell/pkg/store"
)

// Failures counts failed executions by their causes.
func (c *Client) Failures(ctx context.Context, f store.CauseFilter) (store.Causes, error) {
	q := ofTenant(f.TenantID)
	set(q, "workflow_id", f.WorkflowID)
	setTime(q, "since", f.Since)
	q.Set("limit", strconv.Itoa(mostPage))
	if f.Dismissed {
		q.Set("dismissed", "true")
	}
	var found store.Causes
	err := c.in(f.TenantID).get(ctx, "/failures", q, &found)
	return found, err
}

// DismissFailure dismisses a cause of a workflow's failures until another execution fails for it.
func (c *Client) DismissFailure(ctx context.Context, workflowID, cause, note string, tenant *string, _ string) (store.Dismissal, error) {
	var d store.Dismissal
	err := c.in(tenant).post(ctx, "/failures/dismissals", nil, map[string]string{"workflow_id": workflowID, "cause": cause, "note": note}, &d)
	return d, err
}

// RestoreFailure lists a dismissed cause again.
func (c *Client) RestoreFailure(ctx context.Context, id, _ string) error {
	return c.remove(ctx, at("/failures/dismissals/%s", id), nil, nil)
}
