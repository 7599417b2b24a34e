package client

import (
	"context"
	"errors"
	"time"

	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func pauseOf(p *api.PauseOut) workflow.Pause {
	return workflow.Pause{
		ID: p.ID, TenantID: p.TenantID, WorkflowID: p.WorkflowID, Kind: p.Kind, Reason: p.Reason, Until: timeOf(p.Until), CreatedBy: p.CreatedBy, CreatedAt: p.CreatedAt,
	}
}

// Pauses lists the pauses that hold, the oldest first.
func (c *Client) Pauses(ctx context.Context) ([]workflow.Pause, error) {
	found, err := whole[api.PauseOut](ctx, c, "/pauses", nil)
	list := make([]workflow.Pause, len(found))
	for i := range found {
		list[i] = pauseOf(&found[i])
	}
	return list, err
}

// Pause lets deliveries wait for so long, 0: until they are resumed.
func (c *Client) Pause(ctx context.Context, p workflow.Pause, long time.Duration, _ string) (workflow.Pause, error) {
	in := map[string]any{"workflow_id": p.WorkflowID, "kind": p.Kind, "reason": p.Reason}
	if p.TenantID != "" {
		in["tenant_id"] = p.TenantID
	}
	if long > 0 {
		in["for"] = long.String()
	}
	var out api.PauseOut
	if err := c.in(&p.TenantID).post(ctx, "/pauses", nil, in, &out); err != nil {
		return p, err
	}
	return pauseOf(&out), nil
}

// Resume ends pauses: those of these ids, and those of just these deliveries. It returns
// those that it has ended.
func (c *Client) Resume(ctx context.Context, ids []string, of *workflow.Pause, _ string) ([]workflow.Pause, error) {
	list, err := c.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	if list, err = store.ChoosePauses(list, ids, of); err != nil {
		return nil, err
	}
	return c.end(ctx, list)
}

// ResumeAll ends all pauses, and returns those that it has ended.
func (c *Client) ResumeAll(ctx context.Context, _ string) ([]workflow.Pause, error) {
	list, err := c.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	return c.end(ctx, list)
}

// end ends pauses, each whatever becomes of the others.
func (c *Client) end(ctx context.Context, list []workflow.Pause) (ended []workflow.Pause, err error) {
	for _, p := range list {
		switch e := c.remove(ctx, at("/pauses/%s", p.ID), nil, nil); {
		case e == nil:
			ended = append(ended, p)
		case !errors.Is(e, workflow.ErrNotFound): // that has ended meanwhile
			err = errors.Join(err, e)
		}
	}
	return ended, err
}
