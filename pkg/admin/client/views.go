package client

import (
	"context"

	"github.com/rowbell/rowbell/pkg/store"
)

// SavedViews lists the views of who has the key, and those that are shared with them.
func (c *Client) SavedViews(ctx context.Context, tenantID, _ string) ([]store.SavedView, error) {
	return whole[store.SavedView](ctx, c.in(&tenantID), "/views", nil)
}

// SaveView keeps a view under its name, which it replaces.
func (c *Client) SaveView(ctx context.Context, v store.SavedView) (store.SavedView, error) {
	in := map[string]any{"name": v.Name, "shared": v.Shared, "filter": v.Filter}
	err := c.in(&v.TenantID).put(ctx, "/views", nil, in, &v)
	return v, err
}

// DeleteView removes a view.
func (c *Client) DeleteView(ctx context.Context, id, _ string) error {
	return c.remove(ctx, at("/views/%s", id), nil, nil)
}
