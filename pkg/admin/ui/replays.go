package ui

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
)

var replayRoutes = []route{
	{"GET /replays", access.ExecutionRead, listReplays},
	{"GET /replays/new", access.ExecutionRead, planReplay},
	{"POST /replays", access.DeliveryWrite, startReplay},
	{"GET /replays/{id}", access.ExecutionRead, showReplay},
	{"POST /replays/{id}/cancel", access.DeliveryWrite, cancelReplay},
}

// replaysData are the replays there were.
type replaysData struct{ Items []store.Replay }

func listReplays(v *visit) (*page, error) {
	var list api.LogPage[store.Replay]
	if err := v.get("/replays", nil, &list); err != nil {
		return nil, err
	}
	return &page{template: "replays", title: "Run again", nav: "failures", data: &replaysData{list.Items[:min(len(list.Items), 100)]}}, nil
}

// replayAsked is what a form says is to be run again, as the page's address has it.
type replayAsked struct {
	Workflows, Statuses, Executions, Tenants []string
	Cause, Since, Until                      string
	Current                                  bool
	Rate                                     int
}

// Fields are what the form of the next step carries on.
func (a *replayAsked) Fields() []choice {
	var list []choice
	for _, part := range []struct {
		name   string
		values []string
	}{
		{"workflow_id", a.Workflows},
		{"status", a.Statuses},
		{"execution_id", a.Executions},
		{"tenant", a.Tenants},
		{"cause", []string{a.Cause}},
		{"since", []string{a.Since}},
		{"until", []string{a.Until}},
	} {
		for _, value := range part.values {
			if value != "" {
				list = append(list, choice{part.name, value})
			}
		}
	}
	return list
}

func given(q url.Values, name string) (list []string) {
	for _, s := range q[name] {
		if s != "" {
			list = append(list, s)
		}
	}
	return list
}

// replayOf reads what is to be run again.
func (v *visit) replayOf(q url.Values) (*replayAsked, *api.ReplayIn, error) {
	a := &replayAsked{
		Workflows: given(q, "workflow_id"), Statuses: given(q, "status"), Executions: given(q, "execution_id"), Tenants: given(q, "tenant"),
		Cause: q.Get("cause"), Since: q.Get("since"), Until: q.Get("until"), Current: q.Get("version") == "current", Rate: 10,
	}
	if a.Until == "" {
		a.Until = now().UTC().Truncate(time.Second).Add(time.Second).Format(time.RFC3339) // with this second's
	}
	if long, ok := withins[q.Get("within")]; ok && a.Since == "" {
		a.Since = now().Add(-long).UTC().Format(time.RFC3339)
	}
	if a.Since == "" {
		a.Since = now().AddDate(0, 0, -31).UTC().Format(time.RFC3339)
	}
	if n, err := strconv.Atoi(q.Get("rate")); err == nil && n > 0 {
		a.Rate = n
	}
	in := &api.ReplayIn{Workflows: a.Workflows, Statuses: a.Statuses, Cause: a.Cause, Only: a.Executions, Current: a.Current, Rate: float64(a.Rate)}
	if len(a.Tenants) > 0 {
		in.TenantID = &a.Tenants[0]
	}
	var err error
	if in.Since, err = time.Parse(time.RFC3339Nano, a.Since); err != nil {
		return nil, nil, notFound("%.40q is no time", a.Since)
	}
	until, err := time.Parse(time.RFC3339Nano, a.Until)
	if err != nil {
		return nil, nil, notFound("%.40q is no time", a.Until)
	}
	in.Until = &until
	return a, in, nil
}

// replayPlan is what would be run again.
type replayPlan struct {
	*replayAsked
	Plan     api.ReplayPlan
	From, To time.Time
	One      bool // it is one run that was asked for
}

// Left are those that can be run again.
func (p *replayPlan) Left() int { return p.Plan.Total - p.Plan.Gone }

func planReplay(v *visit) (*page, error) {
	asked, in, err := v.replayOf(v.r.URL.Query())
	if err != nil {
		return nil, err
	}
	d := &replayPlan{replayAsked: asked, From: in.Since, To: *in.Until, One: len(asked.Executions) == 1}
	p := &page{template: "replaynew", title: "Run again", nav: "failures", data: d}
	if err := v.call("POST", "/replays/plan", nil, in, &d.Plan); err != nil {
		return problemPage(p, err)
	}
	return p, nil
}

func startReplay(v *visit) (*page, error) {
	if err := v.r.ParseForm(); err != nil {
		return nil, &api.Problem{Status: 400, Detail: "the form can't be read", Mend: "try again"}
	}
	asked, in, err := v.replayOf(v.r.PostForm)
	if err != nil {
		return nil, err
	}
	var started store.Replay
	if err := v.call("POST", "/replays", nil, in, &started); err != nil {
		return problemPage(&page{template: "replaynew", title: "Run again", nav: "failures", data: &replayPlan{replayAsked: asked, From: in.Since, To: *in.Until}}, err)
	}
	return redirect(at("/replays/%s", fmt.Sprint(started.ID)), ""), nil
}

// replayData is one replay.
type replayData struct {
	store.Replay
	Looked  int // so many were looked at
	Running bool
	LeftOut []string // why some were not run again
}

func showReplay(v *visit) (*page, error) {
	d := &replayData{}
	if err := v.get(at("/replays/%s", v.r.PathValue("id")), nil, &d.Replay); err != nil {
		return nil, err
	}
	d.Looked, d.Running = d.Total-d.Left(), d.Status == store.ReplayRunning
	for _, each := range []struct {
		n   int
		why string
	}{
		{d.Unmatched, "the current version doesn't match %s"},
		{d.Undecided, "nobody can tell whether the current version matches %s: too little is recorded"},
		{d.Gone, "the change is no longer in the log of %s"},
		{d.Changed, "meanwhile, somebody else has run again %s"},
		{d.Refused, "the version can't run for %s"},
	} {
		if each.n > 0 {
			d.LeftOut = append(d.LeftOut, fmt.Sprintf(each.why, number(each.n)))
		}
	}
	return &page{template: "replay", title: fmt.Sprintf("Replay %d", d.ID), nav: "failures", data: d}, nil
}

func cancelReplay(v *visit) (*page, error) {
	id := v.r.PathValue("id")
	if err := v.call("POST", at("/replays/%s/cancel", id), nil, nil, nil); err != nil {
		return nil, err
	}
	return redirect(at("/replays/%s", id), "stopped"), nil
}
