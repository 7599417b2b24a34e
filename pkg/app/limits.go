package app

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// limit is a setting that is shown to who uses the installation.
type limit struct {
	setting, group string
	workflow       string // the key in a workflow's settings that counts before it
	value          func(c Config) string
}

func plain[T any](get func(c Config) T) func(Config) string {
	return func(c Config) string { return fmt.Sprint(get(c)) }
}

func span(get func(c Config) time.Duration) func(Config) string {
	return func(c Config) string { return shortDuration(get(c)) }
}

// shortDuration is a duration as people write it: 120h, 30s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func stormValue(n int) string {
	if n == StormOff {
		return "off"
	}
	return fmt.Sprint(n)
}

var limits = []limit{
	{"delivery", "sending", "", func(c Config) string {
		if c.Delivery.Redirect() != "" {
			return "redirect"
		}
		return string(c.Delivery)
	}},
	{"delivery-concurrency", "sending", "", plain(func(c Config) int { return c.DeliveryConcurrency })},
	{"tenant-concurrency", "sending", "", plain(func(c Config) int { return c.TenantConcurrency })},
	{"destination-concurrency", "sending", "", plain(func(c Config) int { return c.DestinationConcurrency })},
	{"destination-rate", "sending", "", plain(func(c Config) string { return c.DestinationRate })},
	{"disable-after", "sending", "", span(func(c Config) time.Duration { return c.DisableAfter })},
	{"storm-transaction", "guard", "storm", func(c Config) string { return stormValue(c.StormTransaction) }},
	{"storm-minute", "guard", "storm", func(c Config) string { return stormValue(c.StormMinute) }},
	{"max-depth", "guard", "max_depth", plain(func(c Config) int { return c.MaxDepth })},
	{"retention-days", "keeping", "", plain(func(c Config) int { return c.RetentionDays })},
	{"kept-days", "keeping", "", plain(func(c Config) int { return c.KeptDays })},
	{"inbox-days", "keeping", "", plain(func(c Config) int { return c.InboxDays })},
	{"audit-retention", "keeping", "", func(c Config) string {
		if c.AuditDays == 0 {
			return "forever"
		}
		return fmt.Sprint(c.AuditDays)
	}},
	{"time-zone", "people", "zone", plain(func(c Config) string { return c.TimeZone })},
	{"critical-workflows", "people", "critical", plain(func(c Config) CriticalMode { return c.Critical })},
	{"alert-window", "people", "", span(func(c Config) time.Duration { return c.AlertWindow })},
	{"instance", "installation", "", plain(func(c Config) string { return c.Instance })},
	{"environment", "installation", "", plain(func(c Config) string { return c.Environment })},
	{"capture", "installation", "", plain(func(c Config) CaptureMode { return c.Capture })},
	{"tenant-column", "installation", "", plain(func(c Config) string { return c.TenantColumn })},
}

// mostExceptions is how many active workflows with limits or owners of their own are read.
const mostExceptions = 2000

// Settings are the limits in force, and a tenant's workflows that say otherwise; nil: all
// tenants'.
func (o *Operator) Settings(ctx context.Context, tenant *string) (api.SettingsOut, error) {
	s, err := o.sharedSettings(ctx)
	if err == nil {
		s.Weights, err = o.weights(ctx, tenant)
	}
	if err == nil {
		s.Workflows, s.More, err = o.exceptions(ctx, tenant)
	}
	return s, err
}

// sharedSettings are those without what single workflows say.
func (o *Operator) sharedSettings(ctx context.Context) (api.SettingsOut, error) {
	a := o.app
	s := api.SettingsOut{Tables: []api.PolicyOut{}, Workflows: []api.ExceptionOut{}, Alerts: []string{}, Weights: []api.TenantShareOut{}}
	for _, l := range limits {
		i := slices.IndexFunc(settings, func(s struct {
			Setting
			set func(*Config, string) error
		},
		) bool {
			return s.Flag == l.setting
		})
		of := settings[i].Setting
		s.Limits = append(s.Limits, api.LimitOut{
			Name: of.Key(), Group: l.group, Value: l.value(a.cfg), Default: of.Default, Setting: of.Env(), Text: of.Help, Workflow: l.workflow,
		})
	}
	tables, err := a.source.CapturedTables(ctx)
	if err != nil {
		return s, err
	}
	for i := range tables {
		t := &tables[i]
		s.Tables = append(s.Tables, api.PolicyOut{Label: t.Label, TenantColumn: t.TenantColumn, Redacted: append([]string{}, t.Redacted...), Hidden: append([]string{}, t.Hidden...)})
	}
	slices.SortFunc(s.Tables, func(x, y api.PolicyOut) int { return strings.Compare(x.Label, y.Label) })
	for _, to := range a.cfg.Alerts {
		s.Alerts = append(s.Alerts, alertee(to))
	}
	return s, nil
}

// weights are how many turns those tenants get that get more than one; nil: of all tenants,
// else of this one.
func (o *Operator) weights(ctx context.Context, tenant *string) ([]api.TenantShareOut, error) {
	weights, err := o.app.state.TenantWeights(ctx)
	list := []api.TenantShareOut{}
	for id, n := range weights {
		if tenant == nil || id == *tenant {
			list = append(list, api.TenantShareOut{TenantID: id, Weight: n})
		}
	}
	slices.SortFunc(list, func(x, y api.TenantShareOut) int { return strings.Compare(x.TenantID, y.TenantID) })
	return list, err
}

// alertee is one of the setting alerts as it may be shown: an URL may hold a token.
func alertee(to string) string {
	if !strings.HasPrefix(to, "http") {
		return to
	}
	u, err := url.Parse(to)
	if err != nil {
		return "a URL"
	}
	return u.Scheme + "://" + u.Host + "/…"
}

// exceptions are active workflows that have limits, or owners, of their own.
func (o *Operator) exceptions(ctx context.Context, tenant *string) (list []api.ExceptionOut, more bool, err error) {
	definitions, err := o.app.source.Definitions(ctx, store.WorkflowFilter{
		Tenant: tenant, Status: workflow.Active, Exceptional: true, Limit: mostExceptions + 1,
	})
	if err != nil {
		return nil, false, err
	}
	if len(definitions) > mostExceptions {
		definitions, more = definitions[:mostExceptions], true
	}
	list = []api.ExceptionOut{}
	limitText := func(n int32) string {
		switch n {
		case 0:
			return ""
		case workflow.Unlimited:
			return "off"
		}
		return fmt.Sprint(n)
	}
	for _, d := range definitions {
		w, err := workflow.Parse(d.Document)
		if err != nil {
			continue // it is broken, which its health says
		}
		x := api.ExceptionOut{ID: d.ID, Name: w.Name, TenantID: d.TenantID, Owners: []string{}}
		// What of them is wrong makes the workflow broken, and counts for nothing.
		l, _ := w.Limits()
		x.StormTransaction, x.StormMinute, x.MaxDepth = limitText(l.StormTransaction), limitText(l.StormMinute), l.MaxDepth
		x.Critical, _ = w.Critical()
		owners, _ := w.Owners()
		for _, r := range owners {
			x.Owners = append(x.Owners, r.Type+":"+r.Value)
		}
		if x.StormTransaction != "" || x.StormMinute != "" || x.MaxDepth != 0 || x.Critical || len(x.Owners) > 0 {
			list = append(list, x)
		}
	}
	return list, more, nil
}

// SetWeight says how many turns a tenant's deliveries get while others get one. Returns
// ErrNotFound if there is nothing of the tenant.
func (o *Operator) SetWeight(ctx context.Context, tenantID string, weight int, by string) error {
	if tenantID != "" {
		if _, err := o.PlanTenant(ctx, tenantID); err != nil {
			return err
		}
	}
	if err := o.app.state.SetTenantWeight(ctx, tenantID, weight); err != nil {
		return err
	}
	return o.note(ctx, store.Act{Actor: by, TenantID: tenantID, Action: "tenant.weight", ObjectType: "tenant", ObjectID: tenantID, After: map[string]any{"weight": weight}})
}
