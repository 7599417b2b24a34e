package client

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// ListPreferences reads preferences and quiet hours; the server has a limit of its own.
func (c *Client) ListPreferences(ctx context.Context, f store.PreferenceFilter) ([]store.StoredPreference, error) {
	q := ofTenant(f.TenantID)
	if f.RecipientID != nil {
		q.Set("recipient_id", *f.RecipientID)
	}
	found, err := whole[api.ListedPreference](ctx, c.in(f.TenantID), "/preferences", q)
	if err != nil {
		return nil, err
	}
	list := make([]store.StoredPreference, len(found))
	for i, p := range found {
		list[i] = store.StoredPreference{TenantID: p.TenantID, RecipientID: p.RecipientID, UpdatedAt: p.UpdatedAt, UpdatedBy: p.UpdatedBy}
		if p.Quiet == nil {
			list[i].Preference = &workflow.Preference{WorkflowID: p.WorkflowID, Channel: p.Channel, Wanted: p.Wanted != nil && *p.Wanted}
			continue
		}
		if list[i].Quiet, err = quietHours(p.Quiet); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// quietHours reads quiet hours as the API has them.
func quietHours(q *api.QuietOut) (*workflow.QuietHours, error) {
	days, err := workflow.ParseWeekdays(q.Days)
	if err != nil {
		return nil, fmt.Errorf("the server's answer: %w", err)
	}
	return &workflow.QuietHours{From: timeOfDay(q.From), To: timeOfDay(q.To), Days: days, Zone: q.Zone}, nil
}

// timeOfDay reads 22:00, as the server writes it.
func timeOfDay(s string) time.Duration {
	hours, minutes, _ := strings.Cut(s, ":")
	h, _ := strconv.Atoi(hours)
	m, _ := strconv.Atoi(minutes)
	return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
}

func clock(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60)
}

// person is somebody's path below /people, and whose they are.
func (c *Client) person(who workflow.PersonKey, what string) (of *Client, path string, q url.Values) {
	q = url.Values{}
	if who.TenantID != "" {
		q.Set("tenant", who.TenantID)
	}
	return c.in(&who.TenantID), at("/people/%s", who.ID) + what, q
}

func (c *Client) preferencesOf(ctx context.Context, who workflow.PersonKey) (api.PreferencesOut, error) {
	var out api.PreferencesOut
	of, path, q := c.person(who, "/preferences")
	err := of.get(ctx, path, q, &out)
	return out, err
}

// Wanted is what somebody has said of what they want.
func (c *Client) Wanted(ctx context.Context, who workflow.PersonKey) ([]workflow.Preference, error) {
	out, err := c.preferencesOf(ctx, who)
	if err != nil {
		return nil, err
	}
	list := make([]workflow.Preference, len(out.Preferences))
	for i, p := range out.Preferences {
		list[i] = workflow.Preference{WorkflowID: p.WorkflowID, Channel: p.Channel, Wanted: p.Wanted}
	}
	return list, nil
}

// SetPreference says in somebody's name whether they want something; nil takes back what was
// said of it.
func (c *Client) SetPreference(ctx context.Context, who workflow.PersonKey, p workflow.Preference, wanted *bool, _ string) error {
	of, path, q := c.person(who, "/preferences")
	return of.put(ctx, path, q, map[string]any{"workflow_id": p.WorkflowID, "channel": p.Channel, "wanted": wanted}, nil)
}

// AddQuietHours adds to the quiet hours that somebody has.
func (c *Client) AddQuietHours(ctx context.Context, who workflow.PersonKey, h workflow.QuietHours, _ string) error {
	of, path, q := c.person(who, "/quiet-hours")
	return of.post(ctx, path, q, map[string]any{"from": clock(h.From), "to": clock(h.To), "days": h.Days.Names(), "zone": h.Zone}, nil)
}

// ClearQuietHours takes away all quiet hours that somebody has, and returns how many there
// were.
func (c *Client) ClearQuietHours(ctx context.Context, who workflow.PersonKey, _ string) (int, error) {
	out, err := c.preferencesOf(ctx, who)
	if err != nil {
		return 0, err
	}
	of, path, q := c.person(who, "/quiet-hours")
	return len(out.QuietHours), of.remove(ctx, path, q, nil)
}
