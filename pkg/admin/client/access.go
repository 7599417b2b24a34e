package client

import (
	"context"
	"net/url"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
)

// grant is what somebody may do where.
func grant(tenant *string, roles []access.Role, rights []access.Right) api.Grant {
	g := api.Grant{TenantID: tenant}
	for _, r := range roles {
		g.Roles = append(g.Roles, string(r))
	}
	for _, r := range rights {
		g.Rights = append(g.Rights, string(r))
	}
	return g
}

func accessQuery(f store.AccessFilter) url.Values {
	q := ofTenant(f.TenantID)
	if f.Revoked {
		q.Set("revoked", "true")
	}
	return q
}

// CreateKey makes a key and returns its text.
func (c *Client) CreateKey(ctx context.Context, n access.NewKey, _ string) (store.APIKey, string, error) {
	in := api.KeyIn{Grant: grant(n.TenantID, n.Roles, n.Rights), Name: n.Name, ExpiresAt: n.Expires}
	var out api.CreatedKey
	err := c.in(n.TenantID).post(ctx, "/keys", nil, in, &out)
	return out.APIKey, out.Text, err
}

// Keys lists keys, the newest first.
func (c *Client) Keys(ctx context.Context, f store.AccessFilter) ([]store.APIKey, error) {
	return whole[store.APIKey](ctx, c.in(f.TenantID), "/keys", accessQuery(f))
}

// RevokeKey revokes a key.
func (c *Client) RevokeKey(ctx context.Context, id string, tenantID *string, _ string) (store.APIKey, error) {
	var out store.APIKey
	err := c.in(tenantID).remove(ctx, at("/keys/%s", id), nil, &out)
	return out, err
}

// AddLinkKey adds a link key, with its private half if the server makes the pair.
func (c *Client) AddLinkKey(ctx context.Context, n access.NewLinkKey, _ string) (api.CreatedLinkKey, error) {
	in := api.LinkKeyIn{Grant: grant(n.TenantID, n.Roles, nil), Name: n.Name, ExpiresAt: n.Expires, PublicKey: string(n.Public)}
	var out api.CreatedLinkKey
	err := c.in(n.TenantID).post(ctx, "/link-keys", nil, in, &out)
	return out, err
}

// LinkKeys lists link keys, the newest first.
func (c *Client) LinkKeys(ctx context.Context, f store.AccessFilter) ([]store.LinkKey, error) {
	return whole[store.LinkKey](ctx, c.in(f.TenantID), "/link-keys", accessQuery(f))
}

// RevokeLinkKey revokes a link key, and with it all its links.
func (c *Client) RevokeLinkKey(ctx context.Context, id string, tenantID *string, _ string) (store.LinkKey, error) {
	var out store.LinkKey
	err := c.in(tenantID).remove(ctx, at("/link-keys/%s", id), nil, &out)
	return out, err
}

// AddMember says what somebody may do in a tenant, whatever they could there before.
func (c *Client) AddMember(ctx context.Context, n access.NewMember, _ string) (store.Member, error) {
	in := api.MemberIn{Grant: grant(n.TenantID, n.Roles, n.Rights), Issuer: n.Issuer, Subject: n.Subject, Name: n.Name, Email: n.Email}
	var out store.Member
	err := c.in(n.TenantID).put(ctx, "/members", nil, in, &out)
	return out, err
}

// Members lists members by tenant and subject.
func (c *Client) Members(ctx context.Context, f store.AccessFilter) ([]store.Member, error) {
	return whole[store.Member](ctx, c.in(f.TenantID), "/members", ofTenant(f.TenantID))
}

// RemoveMember takes a member away, by id.
func (c *Client) RemoveMember(ctx context.Context, id string, tenantID *string, _ string) (store.Member, error) {
	var out store.Member
	err := c.in(tenantID).remove(ctx, at("/members/%s", id), nil, &out)
	return out, err
}

// Tenants lists tenants with what they have, the operators first, as "".
func (c *Client) Tenants(ctx context.Context) ([]api.TenantListed, error) {
	return whole[api.TenantListed](ctx, c, "/tenants", nil)
}
