package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func filesIn(b *definition.Bundle) api.FilesIn {
	var in api.FilesIn
	for _, f := range b.Files() {
		in.Files = append(in.Files, api.FileIn{Name: f.Name, Text: f.Text})
	}
	return in
}

func fileIn(d *definition.Document) api.FileIn {
	f := d.Source()
	return api.FileIn{Name: f.Name, Text: f.Text}
}

func checked(list []api.CheckedOut) []definition.Checked {
	out := make([]definition.Checked, len(list))
	for i, c := range list {
		out[i] = definition.Checked{ID: c.ID, Name: c.Name, Status: c.Status, Of: c.Of, Report: c.Report}
	}
	return out
}

// CheckBundle judges what files hold, with the templates that they bring along.
func (c *Client) CheckBundle(ctx context.Context, b *definition.Bundle) ([]definition.Checked, error) {
	var p page[api.CheckedOut]
	err := c.post(ctx, "/files/check", nil, filesIn(b), &p)
	return checked(p.Items), err
}

// CheckDocument checks what a file holds.
func (c *Client) CheckDocument(ctx context.Context, doc *definition.Document) (definition.Checked, error) {
	var p page[api.CheckedOut]
	if err := c.post(ctx, "/files/check", nil, api.FilesIn{Files: []api.FileIn{fileIn(doc)}}, &p); err != nil {
		return definition.Checked{}, err
	}
	if len(p.Items) != 1 {
		return definition.Checked{}, fmt.Errorf("the server judged %d workflows of %s, which has one", len(p.Items), doc.File())
	}
	return checked(p.Items)[0], nil
}

// atOnce is how many workflows are judged by one request: each is checked, or tested.
const atOnce = 50

// these posts the ids of the workflows that a filter chooses, some at a time.
func these[T any](ctx context.Context, c *Client, path string, f store.WorkflowFilter) ([]T, error) {
	all, err := c.List(ctx, f)
	if err != nil {
		return nil, err
	}
	var list []T
	for len(all) > 0 {
		var in api.WorkflowIDs
		n := min(len(all), atOnce)
		for _, w := range all[:n] {
			in.IDs = append(in.IDs, w.ID)
		}
		all = all[n:]
		var p page[T]
		if err := c.in(f.Tenant).post(ctx, path, nil, in, &p); err != nil {
			return nil, err
		}
		list = append(list, p.Items...)
	}
	return list, nil
}

// one posts the id of a workflow, which must be there.
func one[T any](ctx context.Context, c *Client, path, id string) ([]T, error) {
	var p page[T]
	if err := c.post(ctx, path, nil, api.WorkflowIDs{IDs: []string{id}}, &p); err != nil {
		return nil, err
	}
	if len(p.Items) == 0 {
		return nil, c.get(ctx, at("/workflows/%s", id), nil, nil) // which says that it isn't there
	}
	return p.Items, nil
}

// CheckAll checks the workflows that a filter chooses, and their drafts.
func (c *Client) CheckAll(ctx context.Context, f store.WorkflowFilter) ([]definition.Checked, error) {
	list, err := these[api.CheckedOut](ctx, c, "/workflows/check", f)
	return checked(list), err
}

// CheckOne checks a workflow and its draft.
func (c *Client) CheckOne(ctx context.Context, id string) ([]definition.Checked, error) {
	list, err := one[api.CheckedOut](ctx, c, "/workflows/check", id)
	return checked(list), err
}

// TestBundle runs the saved tests of files, with the templates that they bring along.
func (c *Client) TestBundle(ctx context.Context, b *definition.Bundle) ([]definition.TestedWorkflow, error) {
	var p page[definition.TestedWorkflow]
	err := c.post(ctx, "/files/test", nil, filesIn(b), &p)
	return p.Items, err
}

// TestStored runs the saved tests of the workflows that a filter chooses, or of the one of
// this id if it isn't "", and of their drafts.
func (c *Client) TestStored(ctx context.Context, id string, f store.WorkflowFilter) ([]definition.TestedWorkflow, error) {
	if id != "" {
		return one[definition.TestedWorkflow](ctx, c, "/workflows/test", id)
	}
	all, err := these[definition.TestedWorkflow](ctx, c, "/workflows/test", f)
	var list []definition.TestedWorkflow
	for _, t := range all {
		if t.Problem != "" || len(t.Tests) > 0 {
			list = append(list, t)
		}
	}
	return list, err
}

func planIn(b *definition.Bundle, o definition.PlanOptions) api.PlanIn {
	return api.PlanIn{
		FilesIn: filesIn(b), TenantID: o.Tenant, Prune: o.Prune, Force: o.Force, Import: o.Import, Replace: o.Replace, NewIDs: o.NewIDs, Comment: o.Comment, Seed: o.Seed.String(),
	}
}

// Plan says what would become of the workflows and templates by these files.
func (c *Client) Plan(ctx context.Context, b *definition.Bundle, o definition.PlanOptions) (*definition.Plan, error) {
	o.Seed = ulid.Make()
	var out api.PlanOut
	if err := c.in(o.Tenant).post(ctx, "/files/plan", nil, planIn(b, o), &out); err != nil {
		return nil, err
	}
	return definition.Made(out.Steps, out.Plan, b, o), nil
}

// Apply carries a plan out, if it would be the same now. It returns what was done, also with
// an error.
func (c *Client) Apply(ctx context.Context, p *definition.Plan, _ string) ([]definition.Applied, error) {
	if err := p.Refusal(); err != nil {
		return nil, err
	}
	tag, err := p.Tag()
	if err != nil {
		return nil, err
	}
	var out api.AppliedOut
	in := struct {
		api.PlanIn
		Plan string `json:"plan"`
	}{planIn(p.Bundle, p.Options), tag}
	if err := c.in(p.Options.Tenant).post(ctx, "/files/apply", nil, in, &out); err != nil {
		return nil, err
	}
	if out.Stopped != nil {
		return out.Steps, said(out.Stopped)
	}
	return out.Steps, nil
}

// fileName is what exported files are called: ids, with %2F for what can't stand in a name.
var fileName = regexp.MustCompile(`^[A-Za-z0-9_%-]+\.yaml$`)

// Export writes workflows as they are live, and the templates of the same owners.
func (c *Client) Export(ctx context.Context, ids []string, f store.WorkflowFilter) (list []definition.Exported, operators []string, err error) {
	q := ofTenant(f.Tenant)
	q["workflow_id"] = ids
	var out api.ExportedOut
	if err := c.in(f.Tenant).get(ctx, "/export/files", q, &out); err != nil {
		return nil, nil, err
	}
	for _, file := range out.Files {
		if !fileName.MatchString(file.Name) { // it is written below a directory, and nowhere else
			return nil, nil, fmt.Errorf("the server calls a file %.100q, which is no name of one", file.Name)
		}
		list = append(list, definition.Exported{File: file.Name, YAML: []byte(file.Text)})
	}
	return list, out.Operators, nil
}

// RecordedTest is a saved test of a recorded event, and what the workflow says of it now.
func (c *Client) RecordedTest(ctx context.Context, of definition.Simulation) (workflow.Test, trial.Result, error) {
	var out api.RecordedTestOut
	var err error
	if of.Document != nil {
		err = c.post(ctx, "/files/record-test", nil, map[string]any{"event_id": of.Event, "file": fileIn(of.Document)}, &out)
	} else {
		err = c.post(ctx, at("/workflows/%s/record-test", of.Workflow), flag("draft", of.Draft), map[string]any{"event_id": of.Event}, &out)
	}
	if err != nil {
		return workflow.Test{}, out.Result, err
	}
	t, err := workflow.ParseTest(json.RawMessage(out.Test))
	return t, out.Result, err
}

// AddTest puts a saved test into the draft of a workflow.
func (c *Client) AddTest(ctx context.Context, id string, t workflow.Test, _ string, force bool) error {
	return c.post(ctx, at("/workflows/%s/draft/tests", id), flag("force", force), t, nil)
}

// Depends finds what depends on a table, or on a column of it.
func (c *Client) Depends(ctx context.Context, what string) (*definition.Dependents, error) {
	var d definition.Dependents
	if err := c.get(ctx, "/dependents", url.Values{"of": {what}}, &d); err != nil {
		return nil, err
	}
	return &d, nil
}

// flag is a query with a parameter that is true, or none.
func flag(name string, is bool) url.Values {
	if !is {
		return nil
	}
	return url.Values{name: {"true"}}
}

// said is what the server says of a part of what was asked for.
func said(p *api.Problem) error {
	return (&Error{Status: p.Status, of: p, text: asOptions.Replace(p.Detail), mend: mended(p.Mend)}).whole()
}

// raw sends a document as it is.
func (c *Client) raw(ctx context.Context, method, path string, header http.Header, doc *definition.Document) error {
	f := doc.Source()
	kind := "application/yaml"
	if strings.HasSuffix(f.Name, ".json") {
		kind = "application/json"
	}
	_, err := c.do(ctx, request{method: method, path: path, header: header, kind: kind, body: []byte(f.Text), file: f.Name}, nil)
	return err
}
