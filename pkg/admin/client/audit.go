package client

import (
	"cmp"
	"context"
	"strconv"

	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
)

// Audit lists what was done, the newest first, from behind cursor on, which is what it
// returned as next.
func (c *Client) Audit(ctx context.Context, f store.AuditFilter, cursor string, limit int) (list []definition.Audited, next string, err error) {
	const most = 100 // if nobody says
	limit = cmp.Or(limit, most)
	q := ofTenant(f.Tenant)
	for name, value := range map[string]string{
		"actor": f.Actor, "action": f.Action, "object_type": f.ObjectType, "object_id": f.ObjectID, "text": f.Text, "cursor": cursor,
	} {
		set(q, name, value)
	}
	setTime(q, "since", f.Since)
	setTime(q, "until", f.Until)
	list = []definition.Audited{}
	for {
		q.Set("limit", strconv.Itoa(min(limit-len(list), mostPage)))
		var p page[definition.Audited]
		if err := c.in(f.Tenant).get(ctx, "/audit", q, &p); err != nil {
			return nil, "", err
		}
		if list = append(list, p.Items...); p.Next == "" || len(list) >= limit {
			return list, p.Next, nil
		}
		q.Set("cursor", p.Next)
	}
}

// AuditEntry reads one entry.
func (c *Client) AuditEntry(ctx context.Context, id string) (definition.Audited, error) {
	var e definition.Audited
	err := c.get(ctx, at("/audit/%s", id), nil, &e)
	return e, err
}
