package client

import (
	"context"
	"net/url"
	"strconv"

	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
)

func replayIn(r *api.ReplayRequest) api.ReplayIn {
	in := api.ReplayIn{
		TenantID: r.TenantID, Workflows: r.Workflows, Cause: r.Cause, Since: r.Since, Limit: r.Limit, Current: r.Current, Rate: r.Rate,
	}
	for _, s := range r.Statuses {
		in.Statuses = append(in.Statuses, string(s))
	}
	if !r.Until.IsZero() {
		in.Until = &r.Until
	}
	return in
}

// PlanReplay says what a replay would do, and does nothing.
func (c *Client) PlanReplay(ctx context.Context, r api.ReplayRequest) (api.ReplayPlan, error) {
	var p api.ReplayPlan
	err := c.in(r.TenantID).post(ctx, "/replays/plan", nil, replayIn(&r), &p)
	return p, err
}

// StartReplay starts a replay, which workers work off.
func (c *Client) StartReplay(ctx context.Context, r api.ReplayRequest) (store.Replay, error) {
	var out store.Replay
	err := c.in(r.TenantID).post(ctx, "/replays", nil, replayIn(&r), &out)
	return out, err
}

// Replays lists replays, the newest first; the server has a limit of its own.
func (c *Client) Replays(ctx context.Context) ([]store.Replay, error) {
	return whole[store.Replay](ctx, c, "/replays", nil)
}

// Replay reads one replay.
func (c *Client) Replay(ctx context.Context, id int32) (store.Replay, error) {
	var out store.Replay
	err := c.get(ctx, at("/replays/%s", strconv.Itoa(int(id))), nil, &out)
	return out, err
}

// CancelReplay ends a replay.
func (c *Client) CancelReplay(ctx context.Context, id int32) (store.Replay, error) {
	var out store.Replay
	err := c.post(ctx, at("/replays/%s/cancel", strconv.Itoa(int(id))), nil, nil, &out)
	return out, err
}

// Storms lists what the storm guard holds, the newest first; with all, what it has held too.
func (c *Client) Storms(ctx context.Context, all bool) ([]store.Storm, error) {
	q := url.Values{}
	if all {
		q.Set("all", "true")
	}
	return whole[store.Storm](ctx, c, "/storms", q)
}

// ReleaseStorm lets what is held of a storm, or of a workflow, be delivered.
func (c *Client) ReleaseStorm(ctx context.Context, name, _ string) ([]store.Storm, error) {
	return c.decideStorm(ctx, name, "release")
}

// DiscardStorm cancels what is held of a storm, or of a workflow.
func (c *Client) DiscardStorm(ctx context.Context, name, _ string) ([]store.Storm, error) {
	return c.decideStorm(ctx, name, "discard")
}

func (c *Client) decideStorm(ctx context.Context, name, what string) ([]store.Storm, error) {
	var p page[store.Storm]
	err := c.post(ctx, at("/storms/%s/", name)+what, nil, nil, &p)
	return p.Items, err
}
