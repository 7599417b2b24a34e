package ui

import (
	"fmt"
	"html/template"
	"net/url"
	"time"

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
	Stats     *store.Statistics
	Chart     template.HTML
	Failures  *store.Causes
	Broken    []store.ListedWorkflow
	Muted     []api.DestinationOut
	Pauses    []api.PauseOut
	Health    *api.StreamHealth // nil: not this visitor's to see
	Recent    []store.ListedExecution
	Workflows bool // there are any
	Active    int
	ActiveAll bool // Active is all of them, and not only those of the first page
	Calm      bool // nothing needs anybody
}

// mostCounted is how many active workflows are counted on the dashboard.
const mostCounted = 200

func home(v *visit) (*page, error) {
	d := &homeData{Range: "day"}
	q := url.Values{}
	long := 24 * time.Hour
	if v.query("range") == "week" {
		d.Range, long = "week", 7*24*time.Hour
		q.Set("by", "day")
	}
	since := now().Add(-long).UTC().Truncate(time.Hour)
	q.Set("since", since.Format(time.RFC3339))
	if v.can(access.ExecutionRead) {
		d.Stats, d.Failures = &store.Statistics{}, &store.Causes{}
		var recent api.LogPage[store.ListedExecution]
		for _, ask := range []struct {
			path  string
			query url.Values
			out   any
		}{
			{"/statistics", q, d.Stats},
			{"/failures", url.Values{"since": {since.Format(time.RFC3339)}, "limit": {"5"}}, d.Failures},
		} {
			if err := v.get(ask.path, ask.query, ask.out); err != nil {
				return nil, err
			}
		}
		if err := searched(v, url.Values{"limit": {"8"}}, false, &recent); err != nil {
			return nil, err
		}
		d.Recent = recent.Items
		d.Chart = chart(d.Stats.Buckets, d.Range == "week")
	}
	if v.can(access.WorkflowRead) {
		var active, any, broken api.LogPage[store.ListedWorkflow]
		if err := v.get("/workflows", url.Values{"status": {"active"}, "limit": {fmt.Sprint(mostCounted)}}, &active); err != nil {
			return nil, err
		}
		d.Active, d.ActiveAll = len(active.Items), active.Next == ""
		d.Workflows = d.Active > 0
		if !d.Workflows {
			if err := v.get("/workflows", url.Values{"limit": {"1"}}, &any); err != nil {
				return nil, err
			}
			d.Workflows = len(any.Items) > 0
		}
		for _, health := range []string{"broken", "incomplete"} {
			if err := v.get("/workflows", url.Values{"health": {health}, "limit": {"5"}}, &broken); err != nil {
				return nil, err
			}
			d.Broken = append(d.Broken, broken.Items...)
		}
	}
	if v.can(access.DestinationRead) {
		var list api.LogPage[api.DestinationOut]
		if err := v.get("/destinations", nil, &list); err != nil {
			return nil, err
		}
		for _, one := range list.Items { // those that take nothing come first
			if one.State != "closed" {
				d.Muted = append(d.Muted, one)
			}
		}
	}
	if v.can(access.StreamRead) {
		var list api.LogPage[api.PauseOut]
		if err := v.get("/pauses", nil, &list); err != nil {
			return nil, err
		}
		d.Pauses = list.Items
		if v.me.Tenant == nil {
			d.Health = &api.StreamHealth{}
			if err := v.get("/health", nil, d.Health); err != nil {
				return nil, err
			}
		}
	}
	d.Calm = len(d.Broken) == 0 && len(d.Muted) == 0 && len(d.Pauses) == 0 && (d.Failures == nil || len(d.Failures.Causes) == 0) && (d.Health == nil || d.Health.Status == "ok")
	return &page{template: "home", title: "Home", nav: "home", data: d}, nil
}

// about says who the visitor is here, and what they may do.
func about(v *visit) (*page, error) {
	texts := make(map[access.Right]string)
	for _, r := range v.me.Rights {
		texts[r] = r.Text()
	}
	return &page{template: "about", title: "You", nav: "about", data: texts}, nil
}
