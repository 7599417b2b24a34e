package ui

import (
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
)

var homeRoutes = []route{
	{"GET /{$}", "", home},
	{"GET /about", "", about},
}

// homeData answers: is all well?
type homeData struct {
	Range     string // day or week
	Now       time.Time
	Stats     *store.Statistics
	Chart     template.HTML // of runs
	Sent      template.HTML // of deliveries
	Failures  *store.Causes
	Broken    []store.ListedWorkflow
	Muted     []api.DestinationOut
	MutedMore bool // there are more than these
	Pauses    []api.PauseOut
	Health    *api.StreamHealth // nil: not this visitor's to see
	Recent    []store.ListedExecution
	Workflows bool // there are any
	Active    int
	ActiveAll bool // Active is all of them, and not only those of the first page
	Calm      bool // nothing needs anybody
}

// Account says in a line how many things need somebody.
func (d *homeData) Account() string { return sentenceCase(strings.Join(d.troubles(), ", ")) }

func (d *homeData) troubles() []string {
	var list []string
	add := func(n int, one, many string) {
		if n > 0 {
			list = append(list, plural(int64(n), one, many))
		}
	}
	if d.Health != nil && d.Health.Status != "ok" {
		list = append(list, "the stream needs an operator")
	}
	add(len(d.Broken), "workflow can’t run", "workflows can’t run")
	if d.MutedMore {
		list = append(list, fmt.Sprintf("more than %d destinations take nothing", len(d.Muted)))
	} else {
		add(len(d.Muted), "destination takes nothing", "destinations take nothing")
	}
	if d.Failures != nil {
		add(len(d.Failures.Causes), "thing fails", "things fail")
	}
	add(len(d.Pauses), "pause holds", "pauses hold")
	return list
}

// mostMuted is how many destinations the dashboard names that take nothing.
const mostMuted = 5

// MutedShown are those that are named.
func (d *homeData) MutedShown() []api.DestinationOut { return d.Muted[:min(len(d.Muted), mostMuted)] }

// MutedRest says how many take nothing besides; "" none.
func (d *homeData) MutedRest() string {
	n := len(d.Muted) - mostMuted
	switch {
	case n <= 0:
		return ""
	case d.MutedMore:
		return "And very many more"
	}
	return "And " + plural(int64(n), "other destination", "other destinations")
}

// mostCounted is how many active workflows are counted on the dashboard.
const mostCounted = 200

// Parts of the dashboard that are asked for anew while somebody looks: the figures, at each
// run that ends, and what needs somebody, less often.
const (
	figuresPart = "figures"
	concernPart = "concerns"
)

func home(v *visit) (*page, error) {
	d := &homeData{Range: "day", Now: now()}
	part := ""
	if v.r.Header.Get("HX-Request") == "true" {
		part = v.r.Header.Get("HX-Target")
	}
	var both errgroup.Group // each is for fields of its own
	if part != concernPart {
		both.Go(func() error { return v.figures(d) })
	}
	if part != figuresPart {
		both.Go(func() error { return v.concerns(d) })
	}
	if err := both.Wait(); err != nil {
		return nil, err
	}
	return &page{template: "home", title: "Home", nav: "home", scripts: []string{"home.js"}, data: d}, nil
}

// figures reads what moves.
func (v *visit) figures(d *homeData) error {
	q := url.Values{"by": {"hour"}, "live": {"true"}}
	long := 23 * time.Hour
	if v.query("range") == "week" {
		d.Range, long = "week", 6*24*time.Hour
		q.Set("by", "day")
	}
	if v.can(access.WorkflowRead) {
		var active, any api.LogPage[store.ListedWorkflow]
		if err := v.get("/workflows", url.Values{"status": {"active"}, "limit": {fmt.Sprint(mostCounted)}}, &active); err != nil {
			return err
		}
		d.Active, d.ActiveAll = len(active.Items), active.Next == ""
		d.Workflows = d.Active > 0
		if !d.Workflows {
			if err := v.get("/workflows", url.Values{"limit": {"1"}}, &any); err != nil {
				return err
			}
			d.Workflows = len(any.Items) > 0
		}
	}
	if !v.can(access.ExecutionRead) {
		return nil
	}
	q.Set("since", now().Add(-long).UTC().Truncate(time.Hour).Format(time.RFC3339))
	d.Stats = &store.Statistics{}
	if err := v.get("/statistics", q, d.Stats); err != nil {
		return err
	}
	runs, deliveries := make([]bar, 0, len(d.Stats.Buckets)), make([]bar, 0, len(d.Stats.Buckets))
	for i := range d.Stats.Buckets {
		b := &d.Stats.Buckets[i]
		runs = append(runs, bar{b.From, b.Success, b.Failure, b.Cancelled})
		if of := b.Deliveries; of != nil {
			deliveries = append(deliveries, bar{b.From, of.Succeeded, of.Dead, of.Cancelled})
		}
	}
	d.Chart = chart("Runs", "done", runs, d.Range == "week")
	d.Sent = chart("Deliveries", "sent", deliveries, d.Range == "week")
	var recent api.LogPage[store.ListedExecution]
	if err := searched(v, url.Values{"limit": {"8"}}, false, &recent); err != nil {
		return err
	}
	d.Recent = recent.Items
	return nil
}

// concerns reads what needs somebody.
func (v *visit) concerns(d *homeData) error {
	if v.can(access.ExecutionRead) {
		d.Failures = &store.Causes{}
		since := now().Add(-23 * time.Hour).UTC().Truncate(time.Hour)
		if v.query("range") == "week" {
			since = now().AddDate(0, 0, -6).UTC().Truncate(time.Hour)
		}
		if err := v.get("/failures", url.Values{"since": {since.Format(time.RFC3339)}, "limit": {"5"}}, d.Failures); err != nil {
			return err
		}
	}
	if v.can(access.WorkflowRead) {
		for _, health := range []string{"broken", "incomplete"} {
			var broken api.LogPage[store.ListedWorkflow]
			if err := v.get("/workflows", url.Values{"health": {health}, "limit": {"5"}}, &broken); err != nil {
				return err
			}
			d.Broken = append(d.Broken, broken.Items...)
		}
	}
	if v.can(access.DestinationRead) {
		var list api.LogPage[api.DestinationOut]
		if err := v.get("/destinations", nil, &list); err != nil {
			return err
		}
		for _, one := range list.Items { // those that take nothing come first
			if one.State != "closed" {
				d.Muted = append(d.Muted, one)
			}
		}
		d.MutedMore = list.Next != "" && len(d.Muted) == len(list.Items)
	}
	if v.can(access.StreamRead) {
		var list api.LogPage[api.PauseOut]
		if err := v.get("/pauses", nil, &list); err != nil {
			return err
		}
		d.Pauses = list.Items
		if v.me.Tenant == nil {
			d.Health = &api.StreamHealth{}
			if err := v.get("/health", nil, d.Health); err != nil {
				return err
			}
		}
	}
	d.Calm = len(d.troubles()) == 0
	return nil
}

// about says who the visitor is here, and what they may do.
func about(v *visit) (*page, error) {
	texts := make(map[access.Right]string)
	for _, r := range v.me.Rights {
		texts[r] = r.Text()
	}
	return &page{template: "about", title: "You", nav: "about", data: texts}, nil
}
