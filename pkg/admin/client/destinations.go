package client

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// timeOf is the zero time where there is none.
func timeOf(at *time.Time) time.Time {
	if at == nil {
		return time.Time{}
	}
	return *at
}

// textOf is "" where there is none.
func textOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func destinationOf(d *api.DestinationOut) (workflow.Destination, error) {
	lane, ok := workflow.ParseLaneID(d.ID)
	if !ok {
		return workflow.Destination{}, fmt.Errorf("the server's answer: %.100q is not the id of a destination", d.ID)
	}
	return workflow.Destination{
		Lane: lane, TenantID: textOf(d.TenantID), Kind: d.Kind, Destination: d.Destination, State: workflow.DestinationState(d.State), WorkflowID: d.WorkflowID,
		Failures: d.Failures, FirstFailureAt: timeOf(d.FirstFailureAt), OpenedAt: timeOf(d.OpenedAt), ProbeAt: timeOf(d.ProbeAt),
		DisabledAt: timeOf(d.DisabledAt), DisabledBy: d.DisabledBy, DisabledReason: d.DisabledReason,
		LastError: d.LastError, LastErrorAt: timeOf(d.LastErrorAt), LastSuccessAt: timeOf(d.LastSuccessAt), Rate: d.Rate, Concurrency: d.Concurrency,
	}, nil
}

// Destinations lists where deliveries go, those first to which nothing is sent.
func (c *Client) Destinations(ctx context.Context, f store.DestinationFilter) ([]workflow.Destination, error) {
	const most = 1000 // if nobody says
	q := ofTenant(f.Tenant)
	set(q, "state", string(f.State))
	set(q, "kind", f.Kind)
	set(q, "destination", f.Name)
	found, err := collect[api.DestinationOut](ctx, c.in(f.Tenant), "/destinations", q, cmp.Or(f.Limit, most))
	if err != nil {
		return nil, err
	}
	list := make([]workflow.Destination, len(found))
	for i := range found {
		if list[i], err = destinationOf(&found[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// destination asks for one by its id, or finds its id by its name and asks by that; then it
// sends in to what is below it, if there is such.
func (c *Client) destination(ctx context.Context, idOrName string, tenant *string, below string, in, out any) error {
	id, of := idOrName, c.in(tenant)
	if _, ok := workflow.ParseLaneID(idOrName); !ok {
		list, err := c.Destinations(ctx, store.DestinationFilter{Name: idOrName, Tenant: tenant})
		if err != nil {
			return err
		}
		shown := idOrName
		if u, err := url.Parse(idOrName); err == nil {
			shown = u.Redacted()
		}
		d, err := store.OneDestination(list, shown)
		if err != nil {
			return err
		}
		id = workflow.LaneID(d.Lane)
	}
	if below == "" {
		return of.get(ctx, at("/destinations/%s", id), nil, out)
	}
	return of.post(ctx, at("/destinations/%s", id)+below, nil, in, out)
}

// Destination finds one by its id, or by its name, for which tenant may be needed; nil is
// any. The second result is how many deliveries wait for it.
func (c *Client) Destination(ctx context.Context, idOrName string, tenant *string) (workflow.Destination, int64, error) {
	var out api.DestinationOut
	if err := c.destination(ctx, idOrName, tenant, "", nil, &out); err != nil {
		return workflow.Destination{}, 0, err
	}
	var waiting int64
	if out.Waiting != nil {
		waiting = *out.Waiting
	}
	d, err := destinationOf(&out)
	return d, waiting, err
}

// EnableDestination lets deliveries to a destination be tried again.
func (c *Client) EnableDestination(ctx context.Context, idOrName string, tenant *string, _ string) (workflow.Destination, error) {
	return c.changed(ctx, idOrName, tenant, "/enable", nil)
}

// DisableDestination cancels what waits for a destination, and what comes.
func (c *Client) DisableDestination(ctx context.Context, idOrName string, tenant *string, _, reason string) (workflow.Destination, error) {
	return c.changed(ctx, idOrName, tenant, "/disable", map[string]any{"reason": reason})
}

func (c *Client) changed(ctx context.Context, idOrName string, tenant *string, below string, in any) (workflow.Destination, error) {
	var out api.DestinationOut
	if err := c.destination(ctx, idOrName, tenant, below, in, &out); err != nil {
		return workflow.Destination{}, err
	}
	return destinationOf(&out)
}

// RotateSecret makes new signing secrets for the webhooks that go to a destination; those so
// far sign as well for so long.
func (c *Client) RotateSecret(ctx context.Context, idOrName string, tenant *string, keep time.Duration, _ string) ([]api.RotatedSecret, error) {
	var out api.RotatedOut
	if err := c.destination(ctx, idOrName, tenant, "/rotate-secret", map[string]any{"keep": keep.String()}, &out); err != nil {
		return nil, err
	}
	if out.Stopped != nil {
		return out.Secrets, said(out.Stopped)
	}
	return out.Secrets, nil
}
