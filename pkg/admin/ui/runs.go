package ui

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
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
	{"POST /runs", access.DeliveryWrite, doRuns},
	{"POST /runs/views", access.ExecutionRead, saveView},
	{"POST /runs/views/{id}/delete", access.ExecutionRead, deleteView},
	{"GET /runs/{id}", access.ExecutionRead, showRun},
	{"POST /runs/{id}/cancel", access.DeliveryWrite, cancelRun},
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
	Here                                                        string // this page, where something is done with what is ticked
	Outcomes                                                    []outcome
	Picker                                                      picker
	Views                                                       []savedView
	View                                                        *savedView // the one that is shown
	Query                                                       string     // what is filtered
	Part                                                        bool       // only the list was asked for
}

// Ended says that some of the runs have: those can be run again.
func (d *runsData) Ended() bool {
	return slices.ContainsFunc(d.Items, func(x store.ListedExecution) bool { return x.Status != workflow.Pending })
}

// UnderWay says that some of the runs are: those can be cancelled.
func (d *runsData) UnderWay() bool {
	return slices.ContainsFunc(d.Items, func(x store.ListedExecution) bool { return x.Status == workflow.Pending })
}

// withins are the times that one chooses from.
var withins = map[string]time.Duration{"hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour}

// filteredRuns are the parameters of the list.
var filteredRuns = []string{"workflow_id", "status", "table", "row_key", "recipient", "error", "within"}

func listRuns(v *visit) (*page, error) {
	p, _, err := v.runs()
	return p, err
}

func (v *visit) runs() (*page, *runsData, error) {
	d := &runsData{
		Here: v.here("/runs"), Query: v.pass(filteredRuns...).Encode(), Part: v.r.Header.Get("HX-Target") == "list",
		WorkflowID: v.query("workflow_id"), Status: v.query("status"), Table: v.query("table"), RowKey: v.query("row_key"), Recipient: v.query("recipient"),
		Error: v.query("error"), Within: v.query("within"),
	}
	q := v.pass("workflow_id", "status", "table", "row_key", "recipient", "error", "cursor")
	if long, ok := withins[d.Within]; ok {
		q.Set("since", now().Add(-long).UTC().Format(time.RFC3339))
	}
	d.Filtered = d.Query != ""
	q.Set("limit", "50")
	var list api.LogPage[store.ListedExecution]
	if err := searched(v, q, d.Filtered, &list); err != nil {
		return nil, nil, err
	}
	d.Items, d.SearchedTo, d.More = list.Items, list.SearchedTo, v.moreOf("/runs", list.Next)
	d.Again, d.AgainHint = v.again(d)
	if err := v.views(d); err != nil {
		return nil, nil, err
	}
	var err error
	if d.Picker, err = v.picks(d.WorkflowID); err != nil {
		return nil, nil, err
	}
	return &page{template: "runs", title: "Runs", nav: "runs", scripts: []string{"runs.js", "ticks.js"}, data: d}, d, nil
}

// savedView is a filter that somebody keeps under a name.
type savedView struct {
	store.SavedView
	Query string // what it filters, as the page's address has it
	Mine  bool
}

// views reads those of the visitor, and finds the one that is shown.
func (v *visit) views(d *runsData) error {
	var list api.Page[store.SavedView]
	if err := v.get("/views", nil, &list); err != nil {
		return err
	}
	for _, saved := range list.Items {
		f := saved.Filter
		q := url.Values{}
		for name, value := range map[string]string{
			"workflow_id": f.WorkflowID, "status": f.Status, "table": f.Table, "row_key": f.RowKey, "recipient": f.Recipient, "error": f.Error, "within": f.Within,
		} {
			if value != "" {
				q.Set(name, value)
			}
		}
		d.Views = append(d.Views, savedView{saved, q.Encode(), saved.Owner == v.me.ID})
		if last := &d.Views[len(d.Views)-1]; last.Query == d.Query && (d.View == nil || last.Mine) {
			d.View = last
		}
	}
	return nil
}

// ofRuns goes back to the list after a form, or shows there what is wrong.
func (v *visit) ofRuns(wrong error, query url.Values, done string) (*page, error) {
	if wrong == nil {
		path := "/runs"
		if len(query) > 0 {
			path += "?" + query.Encode()
		}
		return redirect(path, done), nil
	}
	p, _, err := v.runs()
	if err != nil {
		return nil, err
	}
	return problemPage(p, wrong)
}

func saveView(v *visit) (*page, error) {
	filter := map[string]string{}
	q := v.pass(filteredRuns...)
	for name := range q {
		filter[name] = q.Get(name)
	}
	in := map[string]any{"name": strings.TrimSpace(v.form("name")), "shared": v.form("shared") != "", "filter": filter}
	if in["name"] == "" {
		return v.ofRuns(&api.Problem{Status: http.StatusUnprocessableEntity, Detail: "the view has no name", Mend: "say what you call it, as Failed today"}, q, "")
	}
	return v.ofRuns(v.call("PUT", "/views", nil, in, nil), q, "kept")
}

func deleteView(v *visit) (*page, error) {
	return v.ofRuns(v.call("DELETE", at("/views/%s", v.r.PathValue("id")), nil, nil, nil), nil, "removed")
}

// doRuns cancels those that are ticked, and says what came of each, or goes on to running them
// again.
func doRuns(v *visit) (*page, error) {
	ids, err := v.ticked("runs", "cancel", "again")
	if err != nil {
		return v.ofRuns(err, nil, "")
	}
	list := make([]store.ShownExecution, len(ids))
	for i, id := range ids {
		if err := v.get(at("/executions/%s", id), nil, &list[i]); err != nil {
			return v.ofRuns(err, nil, "")
		}
	}
	if v.form("do") == "again" {
		return v.runAgain(list)
	}
	outcomes := make([]outcome, len(list))
	for i, x := range list {
		o := outcome{Name: runName(&x.ListedExecution), Path: at("/runs/%s", x.ID), Text: "is cancelled"}
		if x.SettledAt != nil {
			o.Text = "had ended already"
			outcomes[i] = o
			continue
		}
		outcomes[i] = o.of(v.call("POST", at("/executions/%s/cancel", x.ID), nil, nil, nil))
	}
	p, d, err := v.runs()
	if err != nil {
		return nil, err
	}
	d.Outcomes = outcomes
	return p, nil
}

// runName is what a run is called among others: Large order (orders 42).
func runName(x *store.ListedExecution) string {
	name := cmp.Or(x.WorkflowName, x.WorkflowID)
	if x.Table != "" {
		name += " (" + strings.TrimSpace(x.Table+" "+short(40, x.RowKey)) + ")"
	}
	return name
}

// runAgain goes to the page on which runs that have ended are run again.
func (v *visit) runAgain(list []store.ShownExecution) (*page, error) {
	q := url.Values{}
	var since, until time.Time
	for _, x := range list {
		if x.Status == workflow.Pending || x.Table == "" {
			continue
		}
		q.Add("execution_id", x.ID)
		for name, value := range map[string]string{"workflow_id": x.WorkflowID, "status": string(x.Status)} {
			if !slices.Contains(q[name], value) {
				q.Add(name, value)
			}
		}
		if since.IsZero() || x.CommittedAt.Before(since) {
			since = x.CommittedAt
		}
		if x.CommittedAt.After(until) {
			until = x.CommittedAt
		}
	}
	if since.IsZero() {
		return v.ofRuns(&api.Problem{
			Status: http.StatusUnprocessableEntity, Detail: "none of those that are ticked can be run again: they are under way, or their change is no longer kept", Mend: "tick some that have ended",
		}, nil, "")
	}
	q.Set("since", since.Add(-time.Second).Format(time.RFC3339Nano))
	q.Set("until", until.Add(time.Second).Format(time.RFC3339Nano))
	return redirect("/replays/new?"+q.Encode(), ""), nil
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
	Also     []store.ListedExecution // of the same change
	Triggers []trial.Trigger         // what its version judged the change by
	Answer   string                  // what came of that
	LeftOut  []trial.LeftOut         // actions that the change is not for, by conditions of their own
	Again    string                  // where it is run again; "" it can't be
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
	if len(d.Others) > 0 {
		var also api.LogPage[store.ListedExecution]
		if err := v.get("/executions", url.Values{"event_id": {d.EventID}, "limit": {"200"}}, &also); err != nil {
			return nil, err
		}
		d.Also = slices.DeleteFunc(also.Items, func(x store.ListedExecution) bool { return x.ID == d.ID })
	}
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
	p := &page{template: "run", title: "Run of " + d.WorkflowName, nav: "runs", data: d}
	if d.SettledAt == nil {
		p.scripts = []string{"run.js"}
	}
	return p, nil
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

func cancelRun(v *visit) (*page, error) {
	id := v.r.PathValue("id")
	if err := v.call("POST", at("/executions/%s/cancel", id), nil, nil, nil); err != nil {
		return nil, err
	}
	return redirect(at("/runs/%s", id), "cancelled"), nil
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
