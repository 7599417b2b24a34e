package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/engine/sentence"
	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// List lists workflows by tenant and id.
func (c *Client) List(ctx context.Context, f store.WorkflowFilter) ([]store.ListedWorkflow, error) {
	q := ofTenant(f.Tenant)
	if f.Status != "" {
		q.Set("status", string(f.Status))
	}
	list, err := collect[store.ListedWorkflow](ctx, c.in(f.Tenant), "/workflows", q, 0)
	slices.SortFunc(list, func(a, b store.ListedWorkflow) int {
		return cmp.Or(cmp.Compare(a.TenantID, b.TenantID), cmp.Compare(a.ID, b.ID))
	})
	return list, err
}

// Runs says how the executions of workflows ended from a time on, by day of UTC, with the last one
// of each. One of which none has ended is missing.
func (c *Client) Runs(ctx context.Context, ids []string, since time.Time) ([]store.WorkflowRuns, error) {
	const most = 100 // at once
	list := []store.WorkflowRuns{}
	for some := range slices.Chunk(ids, most) {
		q := url.Values{"workflow_id": some, "by": {"day"}}
		setTime(q, "since", since)
		more, err := whole[store.WorkflowRuns](ctx, c, "/statistics/workflows", q)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}

// workflow reads one, with its ETag.
func (c *Client) workflow(ctx context.Context, id string) (w api.WorkflowOut, tag string, err error) {
	header, err := c.do(ctx, request{method: http.MethodGet, path: at("/workflows/%s", id)}, &w)
	return w, header.Get("ETag"), err
}

// Show reads a workflow with its draft. A draft that can't be read is an error that says why;
// with it comes the rest.
func (c *Client) Show(ctx context.Context, id string) (*definition.Shown, error) {
	out, _, err := c.workflow(ctx, id)
	if err != nil {
		return nil, err
	}
	s := &definition.Shown{}
	s.ListedWorkflow = store.ListedWorkflow{
		ID: out.ID, Name: out.Name, Status: workflow.Status(out.Status), Version: out.Version, Draft: out.Draft != nil, UpdatedAt: out.UpdatedAt,
		Verdict: workflow.Verdict(out.Health.Verdict), Message: out.Health.Message, Warnings: out.Health.Warnings,
	}
	if out.TenantID != nil {
		s.TenantID = *out.TenantID
	}
	s.CreatedBy, s.CreatedAt = out.CreatedBy, out.CreatedAt
	s.Workflow = document(&out, &out.DocumentOut)
	d := out.Draft
	if d == nil {
		return s, nil
	}
	s.DraftText = json.RawMessage(d.Stored)
	if d.Document == nil {
		return s, errors.New(d.Problem)
	}
	s.Base, s.By, s.Next = d.Base, d.By, document(&out, d.Document)
	return s, nil
}

// document is a workflow as the API has it.
func document(of *api.WorkflowOut, d *api.DocumentOut) *workflow.Workflow {
	w := &workflow.Workflow{
		ID: of.ID, TenantID: of.TenantID, Status: workflow.Status(of.Status),
		Name: d.Name, Description: d.Description, Settings: json.RawMessage(d.Settings), Templates: d.Templates,
		Triggers: make([]workflow.Trigger, len(d.Triggers)), Conditions: make([]workflow.Condition, len(d.Conditions)),
		Actions: make([]workflow.Action, len(d.Actions)), Recipients: make([]workflow.Recipient, len(d.Recipients)),
	}
	for i, t := range d.Triggers {
		w.Triggers[i] = workflow.Trigger{ID: t.ID, EntityType: t.EntityType, Operation: t.Operation, FieldConditions: json.RawMessage(t.FieldConditions), Priority: t.Priority}
	}
	for i, c := range d.Conditions {
		w.Conditions[i] = workflow.Condition{ID: c.ID, Type: c.Type, Config: json.RawMessage(c.Config)}
	}
	for i, a := range d.Actions {
		w.Actions[i] = workflow.Action{ID: a.ID, Type: a.Type, Config: json.RawMessage(a.Config), Order: a.Order}
	}
	for i, r := range d.Recipients {
		w.Recipients[i] = workflow.Recipient{ID: r.ID, ActionID: r.ActionID, Type: r.Type, Value: r.Value}
	}
	return w
}

// History lists the latest versions of a workflow, the latest first.
func (c *Client) History(ctx context.Context, id string) ([]definition.Entry, error) {
	list, err := whole[definition.Entry](ctx, c, at("/workflows/%s/versions", id), nil)
	for i := range list {
		list[i].Line = sentence.Shorten(list[i].Changes)
	}
	return list, err
}

// Diff compares two states of a workflow: numbers of versions, live, or draft.
func (c *Client) Diff(ctx context.Context, id, from, to string) (*definition.Diff, error) {
	q := url.Values{}
	if from != "" {
		q.Set("from", from)
	}
	if to != "" {
		q.Set("to", to)
	}
	var d definition.Diff
	if err := c.get(ctx, at("/workflows/%s/diff", id), q, &d); err != nil {
		return nil, err
	}
	return &d, nil
}

// Restore makes an earlier version the draft. same says that there was nothing to do.
func (c *Client) Restore(ctx context.Context, id string, version int32, _ string, force bool) (same bool, err error) {
	_, before, err := c.workflow(ctx, id)
	if err != nil {
		return false, err
	}
	header, err := c.do(ctx, request{
		method: http.MethodPost, path: at("/workflows/%s/versions/%s/restore", id, strconv.Itoa(int(version))), query: flag("force", force),
	}, nil)
	return err == nil && header.Get("ETag") == before, err
}

// PutDraft makes a document the draft of a workflow. Unless force, the draft that is there may
// not be somebody else's.
func (c *Client) PutDraft(ctx context.Context, id string, doc *definition.Document, _ string, force bool) error {
	header := http.Header{}
	if force {
		_, tag, err := c.workflow(ctx, id)
		if err != nil {
			return err
		}
		header.Set("If-Match", tag)
	}
	err := c.raw(ctx, http.MethodPut, at("/workflows/%s/draft", id), header, doc)
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusConflict && !force && strings.Contains(e.text, "a draft that somebody else") {
		e.text = fmt.Sprintf("workflow %s has a draft that somebody else has made, which this would overwrite; look at it (rowbell workflow diff %[1]s live draft), then discard it, or say --force", id)
		e.mend = ""
	}
	return err
}

// Discard takes the draft away.
func (c *Client) Discard(ctx context.Context, id, _ string) error {
	return c.remove(ctx, at("/workflows/%s/draft", id), nil, nil)
}

// Activate publishes the draft, if there is one, and makes the workflow active. Returns a
// *definition.BlockedError if the worker would find it broken, and a *definition.TestsError if
// saved tests fail.
func (c *Client) Activate(ctx context.Context, id, _, comment string, force bool) (*definition.Activated, error) {
	var out api.ActivatedOut
	q := commented(comment)
	if force {
		q.Set("force", "true")
	}
	err := c.post(ctx, at("/workflows/%s/activate", id), q, nil, &out)
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusUnprocessableEntity && len(e.of.Errors) > 0 {
		if failed := testsOf(e.of.Errors); len(failed) > 0 {
			return nil, &definition.TestsError{WorkflowID: id, Failed: failed}
		}
		return nil, &definition.BlockedError{WorkflowID: id, Report: match.Report{Errors: problemsOf(e.of.Errors)}}
	}
	if err != nil {
		return nil, err
	}
	return &definition.Activated{
		Version: out.Version, Draft: out.Draft, Same: out.Same, Report: match.Report{Warnings: problemsOf(out.Warnings)}, Tests: testsOf(out.Failed),
	}, nil
}

// problemsOf are problems of a workflow, as a check has them.
func problemsOf(list []api.FieldError) []match.Problem {
	var out []match.Problem
	for _, f := range list {
		out = append(out, match.Problem{
			Where: f.Where, Message: strings.TrimPrefix(f.Detail, f.Where+": "), Line: f.Line, Column: f.Column, Snippet: f.Snippet, Mend: f.Mend,
		})
	}
	return out
}

// testsOf are the saved tests that fail.
func testsOf(list []api.FieldError) []trial.Tested {
	var out []trial.Tested
	for _, f := range list {
		if f.Test != "" {
			out = append(out, trial.Tested{Name: f.Test, Differences: f.Differences})
		}
	}
	return out
}

// Deactivate turns a workflow off. same says that it was.
func (c *Client) Deactivate(ctx context.Context, id, _, comment string) (version int32, same bool, err error) {
	var out api.DeactivatedOut
	err = c.post(ctx, at("/workflows/%s/deactivate", id), commented(comment), nil, &out)
	return out.Version, out.Same, err
}

// commented is a query with what is said of a version, or nothing.
func commented(comment string) url.Values {
	q := url.Values{}
	if comment != "" {
		q.Set("comment", comment)
	}
	return q
}

// changeIn is what something is tried on. What people wrote must be JSON before it can be sent.
func changeIn(of *definition.Simulation) (api.ChangeIn, error) {
	in := api.ChangeIn{EventID: of.Event, Table: of.Table, Key: of.Key, Domain: of.Domain, Tenant: of.Tenant}
	var err error
	if in.New, err = object(of.New, `new is not a JSON object of columns; write {"status": "approved"}`); err != nil {
		return in, err
	}
	if in.Old, err = object(of.Old, `old is not a JSON object of columns; write {"status": "approved"}`); err != nil {
		return in, err
	}
	if strings.TrimSpace(string(of.Actor)) == "null" {
		in.Actor = api.Object("null")
	} else if in.Actor, err = object(of.Actor, `actor is not a JSON object; write {"id": "ann", "roles": ["approver"]}`); err != nil {
		return in, err
	}
	if of.As != change.OpNone {
		in.Operation = of.As.String()
	}
	if !of.At.IsZero() {
		in.At = &of.At
	}
	return in, nil
}

func object(text []byte, problem string) (api.Object, error) {
	if strings.TrimSpace(string(text)) == "" {
		return nil, nil
	}
	var o map[string]json.RawMessage
	if json.Unmarshal(text, &o) != nil || o == nil {
		return nil, &Error{Status: http.StatusUnprocessableEntity, text: problem}
	}
	return api.Object(text), nil
}

// tried is where a workflow is tried, and what is sent besides the change.
func tried(of *definition.Simulation, stored, file string) (path string, q url.Values, in map[string]any, err error) {
	in = map[string]any{}
	on, err := changeIn(of)
	if err != nil {
		return "", nil, nil, err
	}
	raw, err := json.Marshal(on)
	if err == nil {
		err = json.Unmarshal(raw, &in)
	}
	if err != nil {
		return "", nil, nil, fmt.Errorf("write a change as JSON: %w", err)
	}
	for name, o := range map[string]api.Object{"new": on.New, "old": on.Old, "actor": on.Actor} {
		if o != nil {
			in[name] = o // with all digits
		}
	}
	if of.Document != nil {
		in["file"] = fileIn(of.Document)
		return file, nil, in, nil
	}
	q = url.Values{}
	if of.Version != 0 {
		q.Set("version", strconv.Itoa(int(of.Version)))
	}
	if of.Draft {
		q.Set("draft", "true")
	}
	return stored, q, in, nil
}

// Simulate says what a workflow would do. It sends nothing.
func (c *Client) Simulate(ctx context.Context, of definition.Simulation) (trial.Result, error) {
	var r trial.Result
	path, q, in, err := tried(&of, at("/workflows/%s/simulate", of.Workflow), "/files/simulate")
	if err == nil {
		err = c.post(ctx, path, q, in, &r)
	}
	return r, err
}

// Explain says of an event what became of it, for each workflow on its table.
func (c *Client) Explain(ctx context.Context, eventID string) (definition.Explanation, error) {
	var x definition.Explanation
	err := c.get(ctx, at("/events/%s/explain", eventID), nil, &x)
	return x, err
}

// ExplainRow explains the last recorded events of a row, the latest first.
func (c *Client) ExplainRow(ctx context.Context, table, key string) ([]definition.Explanation, error) {
	return whole[definition.Explanation](ctx, c, "/explain", url.Values{"table": {table}, "row_key": {key}})
}
