package client

import (
	"cmp"
	"context"
	"net/url"
	"time"

	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
)

// set adds a parameter that is there to a query.
func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// setTime adds a time that is there.
func setTime(q url.Values, name string, at time.Time) {
	if !at.IsZero() {
		q.Set(name, at.UTC().Format(time.RFC3339Nano))
	}
}

// Deliveries lists deliveries, those of the newest changes first.
func (c *Client) Deliveries(ctx context.Context, f store.DeliveryFilter) ([]store.ListedDelivery, error) {
	const most = 100 // if nobody says
	q := ofTenant(f.TenantID)
	for name, value := range map[string]string{
		"workflow_id": f.WorkflowID, "kind": f.Kind, "recipient": f.Recipient, "table": f.Table, "row_key": f.RowKey, "cause": f.Cause, "before": f.Before,
	} {
		set(q, name, value)
	}
	setTime(q, "since", f.Since)
	setTime(q, "until", f.Until)
	if len(f.Statuses) == 0 {
		f.Statuses = []store.DeliveryStatus{store.DeliveryDead}
	}
	for _, s := range f.Statuses {
		q.Add("status", string(s))
	}
	return collect[store.ListedDelivery](ctx, c.in(f.TenantID), "/deliveries", q, cmp.Or(f.Limit, most))
}

// Delivery reads one delivery by its id.
func (c *Client) Delivery(ctx context.Context, id string) (store.ShownDelivery, error) {
	var d store.ShownDelivery
	err := c.get(ctx, at("/deliveries/%s", id), nil, &d)
	return d, err
}

// RetryDelivery puts an ended delivery back into the queue. It returns the ids of all that
// came back.
func (c *Client) RetryDelivery(ctx context.Context, id string) ([]string, error) {
	var out api.RetriedOut
	err := c.post(ctx, at("/deliveries/%s/retry", id), nil, nil, &out)
	return out.Back, err
}

// CancelDelivery ends a delivery that is in the queue.
func (c *Client) CancelDelivery(ctx context.Context, id, _ string) error {
	return c.post(ctx, at("/deliveries/%s/cancel", id), nil, nil, nil)
}

// CancelExecution ends what has not ended of an execution, and returns the ids of those
// deliveries.
func (c *Client) CancelExecution(ctx context.Context, id, _ string) ([]string, error) {
	var out api.CancelledOut
	err := c.post(ctx, at("/executions/%s/cancel", id), nil, nil, &out)
	return out.Cancelled, err
}
