package ui

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

var runRoutes = []route{
	{"GET /runs", access.ExecutionRead, listRuns},
	{"GET /runs/{id}", access.ExecutionRead, showRun},
	{"POST /deliveries/{id}/retry", access.DeliveryWrite, retryDelivery},
	{"POST /deliveries/{id}/cancel", access.DeliveryWrite, cancelDelivery},
}

// runsData is a page of executions, as they were filtered.
type runsData struct {
	WorkflowID, Status, Table, RowKey, Recipient, Error, Within string
	Filtered                                                    bool
	Items                                                       []store.ListedExecution
	SearchedTo                                                  *time.Time
	More                                                        string
	Again                                                       string // where all that is shown is run again; "" it can't be
	AgainHint                                                   bool   // it could be, of one workflow
}

// withins are the times that one chooses from.
var withins = map[string]time.Duration{"hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour}

func listRuns(v *visit) (*page, error) {
	d := &runsData{
		WorkflowID: v.query("workflow_id"), Status: v.query("status"), Table: v.query("table"), RowKey: v.query("row_key"), Recipient: v.query("recipient"),
		Error: v.query("error"), Within: v.query("within"),
	}
	q := v.pass("workflow_id", "status", "table", "row_key", "recipient", "error", "cursor")
	if long, ok := withins[d.Within]; ok {
		q.Set("since", now().Add(-long).UTC().Format(time.RFC3339))
	}
	d.Filtered = len(v.pass("workflow_id", "status", "table", "row_key", "recipient", "error", "within")) > 0
	q.Set("limit", "50")
	var list api.LogPage[store.ListedExecution]
	if err := searched(v, q, d.Filtered, &list); err != nil {
		return nil, err
	}
	d.Items, d.SearchedTo, d.More = list.Items, list.SearchedTo, v.more(list.Next)
	d.Again, d.AgainHint = v.again(d)
	return &page{template: "runs", title: "Runs", nav: "runs", scripts: []string{"runs.js"}, data: d}, nil
}

// How long a search goes on that has found nothing, and over how many pages of the API's.
const (
	searchTime  = 150 * time.Millisecond
	searchPages = 8
)

// searched asks for executions until there are some, or all of the log was looked at: a page
// of the API's may have none though there are some behind it. What is asked for by a filter
// may be nowhere: then it stops when it takes long, and the page says how far it came.
func searched(v *visit, q url.Values, filtered bool, list *api.LogPage[store.ListedExecution]) error {
	begun := now()
	for range searchPages {
		*list = api.LogPage[store.ListedExecution]{}
		if err := v.get("/executions", q, list); err != nil {
			return err
		}
		if len(list.Items) > 0 || list.Next == "" || filtered && now().Sub(begun) > searchTime {
			return nil
		}
		q.Set("cursor", list.Next)
	}
	return nil
}

// again says where what a list shows can be run again: a replay knows no rows and no
// recipients, and is of runs that have ended, of one workflow or of one tenant.
func (v *visit) again(d *runsData) (path string, hint bool) {
	if !v.can(access.DeliveryWrite) || len(d.Items) == 0 || d.Table != "" || d.RowKey != "" || d.Recipient != "" || d.Status == "" || d.Status == string(workflow.Pending) {
		return "", false
	}
	if d.WorkflowID == "" && v.me.Tenant == nil {
		return "", true
	}
	q := v.pass("workflow_id", "status", "within")
	if d.Error != "" {
		q.Set("cause", d.Error)
	}
	return "/replays/new?" + q.Encode(), false
}

// runData is one execution, as people read it.
type runData struct {
	store.ShownExecution
	Sentence string
	Changes  []change
	Triggers []trial.Trigger // what its version judged the change by
	Answer   string          // what came of that
	LeftOut  []trial.LeftOut // actions that the change is not for, by conditions of their own
	Again    string          // where it is run again; "" it can't be
}

// Left says that a delivery's action was left out, and what of its conditions; nil if it wasn't.
func (d *runData) Left(of store.ShownDelivery) *trial.LeftOut {
	why, left := strings.CutPrefix(of.Reason, workflow.NotMet)
	if !left || of.Status != store.DeliveryCancelled {
		return nil
	}
	for i := range d.LeftOut {
		if d.LeftOut[i].Number == int(of.Action)+1 {
			return &d.LeftOut[i]
		}
	}
	return &trial.LeftOut{Number: int(of.Action) + 1, Kind: of.Kind, Reason: why}
}

// change is a column before and after.
type change struct {
	Column, Old, New string
	HasOld, HasNew   bool
	Changed          bool
}

func showRun(v *visit) (*page, error) {
	d := &runData{}
	if err := v.get(at("/executions/%s", v.r.PathValue("id")), nil, &d.ShownExecution); err != nil {
		return nil, err
	}
	d.Changes = changesOf(d.Data)
	if v.can(access.WorkflowRead) {
		var of api.VersionOut
		if err := v.get(at("/workflows/%s/versions/%s", d.WorkflowID, fmt.Sprint(d.Version)), nil, &of); err == nil && of.Document != nil {
			d.Sentence = of.Document.Sentence
		}
		// What is gone from the log can't be judged any more.
		var judged trial.Result
		err := v.call("POST", at("/workflows/%s/simulate", d.WorkflowID), url.Values{"version": {fmt.Sprint(d.Version)}}, map[string]string{"event_id": d.EventID}, &judged)
		if err == nil {
			d.Triggers, d.Answer, d.LeftOut = evaluated(judged.Triggers), judged.Reason, judged.LeftOut
		} else if problemOf(err).Status >= 500 {
			return nil, err
		}
	}
	if d.SettledAt != nil && d.Table != "" && v.can(access.DeliveryWrite) {
		d.Again = "/replays/new?" + url.Values{
			"workflow_id": {d.WorkflowID}, "status": {string(d.Status)}, "execution_id": {d.ID}, "version": {"current"},
			"since": {d.CommittedAt.Add(-time.Second).Format(time.RFC3339Nano)}, "until": {d.CommittedAt.Add(time.Second).Format(time.RFC3339Nano)},
		}.Encode()
	}
	return &page{template: "run", title: "Run of " + d.WorkflowName, nav: "runs", data: d}, nil
}

// changesOf says what an event changed: what differs first, both in the order of the names.
func changesOf(data json.RawMessage) []change {
	var of struct {
		New, Old map[string]json.RawMessage
		Changed  []string
	}
	if json.Unmarshal(data, &of) != nil {
		return nil
	}
	var names []string
	for name := range of.New {
		names = append(names, name)
	}
	for name := range of.Old {
		if _, ok := of.New[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var first, rest []change
	for _, name := range names {
		c := change{Column: name}
		if raw, ok := of.New[name]; ok {
			c.New, c.HasNew = plain(raw), true
		}
		if raw, ok := of.Old[name]; ok {
			c.Old, c.HasOld = plain(raw), true
		}
		if c.Changed = slices.Contains(of.Changed, name); c.Changed {
			first = append(first, c)
		} else {
			rest = append(rest, c)
		}
	}
	return append(first, rest...)
}

// plain is a value as people write it.
func plain(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	if string(raw) == "null" {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

// back is where a form about a delivery came from.
func back(v *visit) string {
	execution, _, _ := strings.Cut(v.r.PathValue("id"), "_")
	return at("/runs/%s", execution)
}

func retryDelivery(v *visit) (*page, error) {
	if err := v.call("POST", at("/deliveries/%s/retry", v.r.PathValue("id")), nil, nil, nil); err != nil {
		return nil, err
	}
	return redirect(back(v), "retried"), nil
}

func cancelDelivery(v *visit) (*page, error) {
	if err := v.call("POST", at("/deliveries/%s/cancel", v.r.PathValue("id")), nil, nil, nil); err != nil {
		return nil, err
	}
	return redirect(back(v), "cancelled"), nil
}
