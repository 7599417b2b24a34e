package client

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// mostNames is how many are looked at: more can't be chosen from.
const mostNames = 100

// Names lists names that start with begun, for somebody who is writing one, as app.Operator's
// method of this name does: of is one of app.NamesOf. Of what the server has no list there
// are none.
func (c *Client) Names(ctx context.Context, of, begun string) ([]store.Named, error) {
	var list []store.Named
	add := func(name, says string) bool {
		if strings.HasPrefix(name, begun) {
			list = append(list, store.Named{Name: name, Says: says})
		}
		return len(list) < mostNames
	}
	switch of {
	case "workflows":
		for w, err := range each[store.ListedWorkflow](ctx, c, "/workflows", url.Values{"sort": {"updated"}}) {
			if err != nil || !add(w.ID, w.Name) {
				return list, err
			}
		}
	case "templates":
		all, err := whole[struct{ Name, Description string }](ctx, c, "/templates", nil)
		if err != nil {
			return nil, err
		}
		for i, t := range all {
			if i == 0 || t.Name != all[i-1].Name {
				add(t.Name, t.Description)
			}
		}
	case "tenants":
		all, err := c.Tenants(ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range all {
			if t.TenantID != "" {
				add(t.TenantID, "")
			}
		}
	case "destinations":
		all, err := c.Destinations(ctx, store.DestinationFilter{})
		if err != nil {
			return nil, err
		}
		for _, d := range all {
			if !add(workflow.LaneID(d.Lane), fmt.Sprintf("%s %s, %s", d.Kind, d.Destination, d.State)) {
				break
			}
		}
	case "ended deliveries", "deliveries in the queue":
		statuses := []store.DeliveryStatus{store.DeliveryDead, store.DeliveryCancelled}
		if of == "deliveries in the queue" {
			statuses = []store.DeliveryStatus{store.DeliveryRetrying, store.DeliveryPending}
		}
		all, err := c.Deliveries(ctx, store.DeliveryFilter{Statuses: statuses, Limit: mostNames})
		if err != nil {
			return nil, err
		}
		for i := range all {
			add(all[i].ID, strings.TrimSpace(fmt.Sprintf("%s of %s: %s", all[i].Kind, all[i].WorkflowID, all[i].Reason)))
		}
	case "causes", "dismissed":
		found, err := c.Failures(ctx, store.CauseFilter{Since: time.Now().AddDate(0, 0, -7), Dismissed: of == "dismissed"})
		if err != nil {
			return nil, err
		}
		for i := range found.Causes {
			add(found.Causes[i].ID, found.Causes[i].WorkflowID+": "+found.Causes[i].Cause)
		}
	case "views":
		all, err := c.SavedViews(ctx, "", "")
		if err != nil {
			return nil, err
		}
		for i := range all {
			add(all[i].ID, all[i].Name)
		}
	case "replays":
		all, err := c.Replays(ctx)
		if err != nil {
			return nil, err
		}
		for i := range all {
			if !add(strconv.Itoa(int(all[i].ID)), fmt.Sprintf("%s, %d of %d", all[i].Status, all[i].Done, all[i].Total)) {
				break
			}
		}
	case "storms":
		all, err := c.Storms(ctx, false)
		if err != nil {
			return nil, err
		}
		for i := range all {
			add(all[i].ID, fmt.Sprintf("%d executions of %s", all[i].Executions, all[i].WorkflowID))
		}
	case "pauses":
		all, err := c.Pauses(ctx)
		if err != nil {
			return nil, err
		}
		for i := range all {
			add(all[i].ID, all[i].String())
		}
	case "API keys":
		all, err := c.Keys(ctx, store.AccessFilter{})
		if err != nil {
			return nil, err
		}
		for i := range all {
			add(all[i].ID, strings.TrimSpace(strings.Join(all[i].Roles, ", ")+" "+all[i].Name))
		}
	case "link keys":
		all, err := c.LinkKeys(ctx, store.AccessFilter{})
		if err != nil {
			return nil, err
		}
		for i := range all {
			add(all[i].ID, strings.TrimSpace(strings.Join(all[i].Roles, ", ")+" "+all[i].Name))
		}
	case "members":
		all, err := c.Members(ctx, store.AccessFilter{})
		if err != nil {
			return nil, err
		}
		for i := range all {
			add(all[i].ID, strings.TrimSpace(all[i].Subject+" "+all[i].Name))
		}
	case "tables":
		all, err := whole[struct{ Label string }](ctx, c, "/tables", nil)
		if err != nil {
			return nil, err
		}
		for _, t := range all {
			add(t.Label, "")
		}
	}
	return list, nil
}
