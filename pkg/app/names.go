package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// NamesOf says what names are of.
type NamesOf string

// What has names that people write on a command line.
const (
	NamesOfWorkflows    NamesOf = "workflows"
	NamesOfTenants      NamesOf = "tenants"
	NamesOfTemplates    NamesOf = "templates"
	NamesOfTables       NamesOf = "tables"     // that are captured
	NamesOfAllTables    NamesOf = "all tables" // of the application
	NamesOfDestinations NamesOf = "destinations"
	NamesOfEnded        NamesOf = "ended deliveries" // those that gave up or were cancelled
	NamesOfQueued       NamesOf = "deliveries in the queue"
	NamesOfCauses       NamesOf = "causes"    // of failures, of the last 7 days
	NamesOfDismissed    NamesOf = "dismissed" // causes
	NamesOfViews        NamesOf = "views"     // of nobody in particular: those that are shared
	NamesOfReplays      NamesOf = "replays"
	NamesOfStorms       NamesOf = "storms"
	NamesOfPauses       NamesOf = "pauses"
	NamesOfKeys         NamesOf = "API keys" // that were not revoked
	NamesOfLinkKeys     NamesOf = "link keys"
	NamesOfMembers      NamesOf = "members"
)

// mostNames is how many are looked at: more can't be chosen from.
const mostNames = 100

// Names lists names that start with begun, for somebody who is writing one: of what there
// is much of, the newest, and not all.
func (o *Operator) Names(ctx context.Context, of NamesOf, begun string) ([]store.Named, error) {
	var list []store.Named
	add := func(name, says string) {
		if strings.HasPrefix(name, begun) {
			list = append(list, store.Named{Name: name, Says: says})
		}
	}
	deliveries := func(statuses ...store.DeliveryStatus) error {
		all, err := o.Deliveries(ctx, store.DeliveryFilter{Statuses: statuses, Limit: mostNames})
		for i := range all {
			add(all[i].ID, strings.TrimSpace(fmt.Sprintf("%s of %s: %s", all[i].Kind, all[i].WorkflowID, all[i].Reason)))
		}
		return err
	}
	switch of {
	case NamesOfWorkflows:
		return o.app.source.WorkflowNames(ctx, begun, mostNames)
	case NamesOfTenants:
		return o.app.source.TenantNames(ctx, begun, mostNames)
	case NamesOfTemplates:
		return o.app.source.TemplateNames(ctx, begun, mostNames)
	case NamesOfTables:
		tables, err := o.app.source.CapturedTables(ctx)
		for _, t := range tables {
			add(t.Label, "")
		}
		return list, err
	case NamesOfAllTables:
		labels, _, err := o.app.source.TableLabels(ctx)
		for _, label := range labels {
			add(label, "")
		}
		return list, err
	case NamesOfDestinations:
		all, err := o.Destinations(ctx, store.DestinationFilter{Limit: mostNames})
		for _, d := range all {
			add(workflow.LaneID(d.Lane), fmt.Sprintf("%s %s, %s", d.Kind, d.Destination, d.State))
		}
		return list, err
	case NamesOfEnded:
		err := deliveries(store.DeliveryDead, store.DeliveryCancelled)
		return list, err
	case NamesOfQueued:
		err := deliveries(store.DeliveryRetrying, store.DeliveryPending)
		return list, err
	case NamesOfCauses, NamesOfDismissed:
		found, err := o.Failures(ctx, store.CauseFilter{Since: time.Now().AddDate(0, 0, -7), Dismissed: of == NamesOfDismissed, Limit: mostNames})
		for i := range found.Causes {
			add(found.Causes[i].ID, found.Causes[i].WorkflowID+": "+found.Causes[i].Cause)
		}
		return list, err
	case NamesOfViews:
		all, err := o.SavedViews(ctx, "", "")
		for i := range all {
			add(all[i].ID, all[i].Name)
		}
		return list, err
	case NamesOfReplays:
		all, err := o.Replays(ctx)
		for i := range all {
			add(fmt.Sprint(all[i].ID), fmt.Sprintf("%s, %d of %d", all[i].Status, all[i].Done, all[i].Total))
		}
		return list, err
	case NamesOfStorms:
		all, err := o.Storms(ctx, false)
		for i := range all {
			add(all[i].ID, fmt.Sprintf("%d executions of %s", all[i].Executions, all[i].WorkflowID))
		}
		return list, err
	case NamesOfPauses:
		all, err := o.Pauses(ctx)
		for i := range all {
			add(all[i].ID, all[i].String())
		}
		return list, err
	case NamesOfKeys:
		all, err := o.Access().Keys(ctx, store.AccessFilter{})
		for i := range all {
			add(all[i].ID, strings.TrimSpace(strings.Join(all[i].Roles, ", ")+" "+all[i].Name))
		}
		return list, err
	case NamesOfLinkKeys:
		all, err := o.Access().LinkKeys(ctx, store.AccessFilter{})
		for i := range all {
			add(all[i].ID, strings.TrimSpace(strings.Join(all[i].Roles, ", ")+" "+all[i].Name))
		}
		return list, err
	case NamesOfMembers:
		all, err := o.Access().Members(ctx, store.AccessFilter{})
		for i := range all {
			add(all[i].ID, strings.TrimSpace(all[i].Subject+" "+all[i].Name))
		}
		return list, err
	}
	return nil, fmt.Errorf("there are no names of %q", of)
}
