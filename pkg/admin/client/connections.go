package client

import (
	"context"

	"github.com/rowbell/rowbell/pkg/admin/api"
)

// Connections are the services that the server goes out to.
func (c *Client) Connections(ctx context.Context, tenant *string) ([]api.ConnectionOut, error) {
	return whole[api.ConnectionOut](ctx, c, "/connections", ofTenant(tenant))
}

// VerifyConnection has the server try one.
func (c *Client) VerifyConnection(ctx context.Context, name string, _ *string, _ string) (api.VerifiedOut, error) {
	var out api.VerifiedOut
	err := c.post(ctx, at("/connections/%s/verify", name), nil, nil, &out)
	return out, err
}

// Settings are the limits in force.
func (c *Client) Settings(ctx context.Context, tenant *string) (api.SettingsOut, error) {
	var out api.SettingsOut
	err := c.get(ctx, "/settings", ofTenant(tenant), &out)
	return out, err
}

// SetWeight says how many turns a tenant's deliveries get.
func (c *Client) SetWeight(ctx context.Context, tenantID string, weight int, _ string) error {
	return c.put(ctx, "/settings/weight", nil, map[string]any{"tenant_id": tenantID, "weight": weight}, nil)
}
