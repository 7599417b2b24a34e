package ui

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
)

var workflowRoutes = []route{
	{"GET /workflows", access.WorkflowRead, listWorkflows},
	{"POST /workflows", access.WorkflowPublish, turnWorkflows},
	{"GET /workflows/{id}", access.WorkflowRead, showWorkflow},
	{"POST /workflows/{id}/activate", access.WorkflowPublish, activateWorkflow},
	{"POST /workflows/{id}/deactivate", access.WorkflowPublish, deactivateWorkflow},
	{"POST /workflows/{id}/duplicate", access.WorkflowWrite, duplicateWorkflow},
	{"POST /workflows/{id}/delete", access.WorkflowWrite, deleteWorkflow},
}

// workflowsData is a page of workflows, as they were filtered.
type workflowsData struct {
	Name, Status, Health, Table, Sort string
	Filtered                          bool
	Items                             []listedWorkflow
	More                              string // address of the next page; "" this is the last
	Here                              string // of this one, where what is ticked is turned on or off
	Outcomes                          []outcome
}

// listedWorkflow is a workflow with how it did in the last seven days.
type listedWorkflow struct {
	api.WorkflowListed
	Runs store.WorkflowRuns
}

// All is how many executions ended in those days.
func (w *listedWorkflow) All() int64 {
	t := w.Runs.Total
	return t.Success + t.Failure + t.Cancelled
}

// usualPriority is that of triggers that say none.
const usualPriority = 100

// Besides is who is told when it fails, and its priority where that isn't the usual one.
func (w *listedWorkflow) Besides() string {
	var said []string
	if len(w.Owners) > 0 {
		said = append(said, "Owner: "+ownersText(w.Owners))
	}
	if w.Priority != nil && *w.Priority != usualPriority {
		said = append(said, fmt.Sprintf("Priority %d", *w.Priority))
	}
	return strings.Join(said, " · ")
}

// outcome is what came of one of several things that were ticked.
type outcome struct {
	Name, Path string
	Text       string // what is done
	Wrong      string // or why it isn't
	Mend       string
}

// pass takes parameters of the page's address over for the API, those that are given.
func (v *visit) pass(names ...string) url.Values {
	q := url.Values{}
	for _, name := range names {
		if s := v.query(name); s != "" {
			q.Set(name, s)
		}
	}
	return q
}

// more is this page's address with another cursor.
func (v *visit) more(next string) string { return v.moreOf(v.r.URL.Path, next) }

// moreOf is more for a list that stands at another path than what was asked for: a form of its
// was refused.
func (v *visit) moreOf(path, next string) string {
	if next == "" {
		return ""
	}
	q := v.r.URL.Query()
	q.Set("cursor", next)
	return v.ui.url(path) + "?" + q.Encode()
}

// here is the address of a list at a path with what is asked for of it, without what was done
// before.
func (v *visit) here(path string) string {
	path = v.ui.url(path)
	q := v.r.URL.Query()
	if q.Del("done"); len(q) > 0 {
		path += "?" + q.Encode()
	}
	return path
}

func listWorkflows(v *visit) (*page, error) {
	p, _, err := v.workflows(true)
	return p, err
}

// workflows is the list; with runs, how each did besides.
func (v *visit) workflows(runs bool) (*page, *workflowsData, error) {
	d := &workflowsData{Name: v.query("name"), Status: v.query("status"), Health: v.query("health"), Table: v.query("table"), Sort: v.query("sort"), Here: v.here("/workflows")}
	d.Filtered = d.Name != "" || d.Status != "" || d.Health != "" || d.Table != ""
	q := v.pass("name", "status", "health", "table", "sort", "cursor")
	q.Set("limit", "50")
	q.Set("outline", fmt.Sprint(runs))
	var list api.LogPage[api.WorkflowListed]
	if err := v.get("/workflows", q, &list); err != nil {
		return nil, nil, err
	}
	d.Items, d.More = make([]listedWorkflow, len(list.Items)), v.more(list.Next)
	at := make(map[string]int)
	of := url.Values{"by": {"day"}, "since": {now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -6).Format(time.RFC3339)}}
	for i, w := range list.Items {
		d.Items[i].WorkflowListed, at[w.ID] = w, i
		of.Add("workflow_id", w.ID)
	}
	if runs && len(d.Items) > 0 {
		var found api.Page[store.WorkflowRuns]
		if err := v.get("/statistics/workflows", of, &found); err != nil {
			return nil, nil, err
		}
		for _, r := range found.Items {
			d.Items[at[r.WorkflowID]].Runs = r
		}
	}
	return &page{template: "workflows", title: "Workflows", nav: "workflows", scripts: []string{"ticks.js"}, data: d}, d, nil
}

// mostTicked is how many of a list one ticks at most: a page has no more.
const mostTicked = 50

// ticked are the ids of what was ticked, to do one of these things with it.
func (v *visit) ticked(what string, deeds ...string) ([]string, error) {
	if err := v.r.ParseForm(); err != nil {
		return nil, &api.Problem{Status: http.StatusBadRequest, Detail: "the form can't be read", Mend: "try again"}
	}
	ids := given(v.r.PostForm, "id")
	switch {
	case !slices.Contains(deeds, v.form("do")):
		return nil, &api.Problem{Status: http.StatusUnprocessableEntity, Detail: "the form doesn't say what is to be done", Mend: "press one of the buttons above the list"}
	case len(ids) == 0:
		return nil, &api.Problem{Status: http.StatusUnprocessableEntity, Detail: "nothing is ticked", Mend: "tick the " + what + " first"}
	case len(ids) > mostTicked:
		return nil, &api.Problem{Status: http.StatusUnprocessableEntity, Detail: fmt.Sprintf("%d are ticked, and %d at most may be", len(ids), mostTicked), Mend: "do it in parts"}
	}
	return ids, nil
}

// turnWorkflows turns those that are ticked on or off, each by itself, and says what came of
// each.
func turnWorkflows(v *visit) (*page, error) {
	ids, err := v.ticked("workflows", "on", "off")
	if err != nil {
		p, _, listErr := v.workflows(true)
		if listErr != nil {
			return nil, listErr
		}
		return problemPage(p, err)
	}
	// What they are called: behind it they may not be in the list any more.
	_, before, err := v.workflows(false)
	if err != nil {
		return nil, err
	}
	names := make(map[string]string)
	for _, w := range before.Items {
		names[w.ID] = w.Name
	}
	outcomes := make([]outcome, len(ids))
	for i, id := range ids {
		outcomes[i] = v.turn(id, v.form("do") == "on")
		outcomes[i].Name, outcomes[i].Path = cmp.Or(names[id], id), at("/workflows/%s", id)
	}
	p, d, err := v.workflows(true)
	if err != nil {
		return nil, err
	}
	d.Outcomes = outcomes
	return p, nil
}

// turn turns one workflow on or off.
func (v *visit) turn(id string, on bool) (o outcome) {
	var err error
	if on {
		var done api.ActivatedOut
		err = v.call("POST", at("/workflows/%s/activate", id), nil, nil, &done)
		switch o.Text = "is on"; {
		case done.Same:
			o.Text = "was on already"
		case done.Draft:
			o.Text = "is on, with what was in its draft"
		}
	} else {
		var done api.DeactivatedOut
		err = v.call("POST", at("/workflows/%s/deactivate", id), nil, nil, &done)
		if o.Text = "is off"; done.Same {
			o.Text = "was off already"
		}
	}
	return o.of(err)
}

// of is the outcome with what went wrong.
func (o outcome) of(err error) outcome {
	if err == nil {
		return o
	}
	p := problemOf(err)
	o.Text, o.Wrong, o.Mend = "", p.Detail, p.Mend
	for _, e := range p.Errors[:min(len(p.Errors), 3)] {
		o.Wrong += "; " + e.Detail
	}
	return o
}

// workflowData is one workflow.
type workflowData struct {
	*api.WorkflowOut
	Stats    *store.Statistics
	Versions []definition.Entry
	Runs     []store.ListedExecution
}

func showWorkflow(v *visit) (*page, error) {
	id := v.r.PathValue("id")
	d := &workflowData{WorkflowOut: &api.WorkflowOut{}}
	if err := v.get(at("/workflows/%s", id), nil, d.WorkflowOut); err != nil {
		return nil, err
	}
	var versions api.LogPage[definition.Entry]
	if err := v.get(at("/workflows/%s/versions", id), nil, &versions); err != nil {
		return nil, err
	}
	d.Versions = versions.Items[:min(len(versions.Items), 5)]
	if v.can(access.ExecutionRead) {
		d.Stats = &store.Statistics{}
		if err := v.get(at("/workflows/%s/statistics", id), url.Values{"since": {now().AddDate(0, 0, -7).UTC().Format("2006-01-02T15:04:05Z")}, "by": {"day"}}, d.Stats); err != nil {
			return nil, err
		}
		var runs api.LogPage[store.ListedExecution]
		if err := searched(v, url.Values{"workflow_id": {id}, "limit": {"10"}}, true, &runs); err != nil {
			return nil, err
		}
		d.Runs = runs.Items
	}
	return &page{template: "workflow", title: d.Name, nav: "workflows", data: d}, nil
}

func activateWorkflow(v *visit) (*page, error) {
	id := v.r.PathValue("id")
	if err := v.call("POST", at("/workflows/%s/activate", id), nil, nil, nil); err != nil {
		return nil, err
	}
	return redirect(at("/workflows/%s", id), "activated"), nil
}

func deactivateWorkflow(v *visit) (*page, error) {
	id := v.r.PathValue("id")
	if err := v.call("POST", at("/workflows/%s/deactivate", id), nil, nil, nil); err != nil {
		return nil, err
	}
	return redirect(at("/workflows/%s", id), "deactivated"), nil
}

func duplicateWorkflow(v *visit) (*page, error) {
	var copied api.WorkflowOut
	if err := v.call("POST", at("/workflows/%s/duplicate", v.r.PathValue("id")), nil, struct{}{}, &copied); err != nil {
		return nil, err
	}
	return redirect(at("/workflows/%s", copied.ID), "duplicated"), nil
}

func deleteWorkflow(v *visit) (*page, error) {
	if err := v.call("DELETE", at("/workflows/%s", v.r.PathValue("id")), nil, nil, nil); err != nil {
		return nil, err
	}
	return redirect("/workflows", "deleted"), nil
}
