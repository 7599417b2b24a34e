package ui

import (
	"net/url"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
)

var workflowRoutes = []route{
	{"GET /workflows", access.WorkflowRead, listWorkflows},
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
	Items                             []store.ListedWorkflow
	More                              string // address of the next page; "" this is the last
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
func (v *visit) more(next string) string {
	if next == "" {
		return ""
	}
	q := v.r.URL.Query()
	q.Set("cursor", next)
	return v.ui.url(v.r.URL.Path) + "?" + q.Encode()
}

func listWorkflows(v *visit) (*page, error) {
	d := &workflowsData{Name: v.query("name"), Status: v.query("status"), Health: v.query("health"), Table: v.query("table"), Sort: v.query("sort")}
	d.Filtered = d.Name != "" || d.Status != "" || d.Health != "" || d.Table != ""
	q := v.pass("name", "status", "health", "table", "sort", "cursor")
	q.Set("limit", "50")
	var list api.LogPage[store.ListedWorkflow]
	if err := v.get("/workflows", q, &list); err != nil {
		return nil, err
	}
	d.Items, d.More = list.Items, v.more(list.Next)
	return &page{template: "workflows", title: "Workflows", nav: "workflows", data: d}, nil
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
	if err := v.call("POST", at("/workflows/%s/duplicate", v.r.PathValue("id")), nil, nil, &copied); err != nil {
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
