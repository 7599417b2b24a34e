package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func editRoutes(a *API) {
	invalid := []int{http.StatusConflict, http.StatusUnprocessableEntity}
	add(a, Route{
		Method: http.MethodGet, Path: "/workflows", ID: "listWorkflows", Tag: workflowTag, Right: access.WorkflowRead, Errors: []int{http.StatusUnprocessableEntity},
		Summary: "Workflows, by name or the last changed first",
	}, listWorkflows)
	add(a, Route{
		Method: http.MethodPost, Path: "/workflows", ID: "createWorkflow", Tag: workflowTag, Right: access.WorkflowWrite, Status: http.StatusCreated, Errors: invalid,
		Summary:     "Make a workflow",
		Description: "As JSON or YAML. It is a draft unless the document's status says otherwise; active needs the right workflow.publish, and is refused if the worker would find it broken.",
	}, createWorkflow)
	a.takes("createWorkflow", NewDocument{})
	add(a, Route{
		Method: http.MethodPut, Path: "/workflows/{id}", ID: "updateWorkflow", Tag: workflowTag, Right: access.WorkflowWrite, Errors: edits,
		Summary: "Make the document what the workflow is, at once",
		Description: "One version comes of it. A workflow that is active, or becomes so, needs the right workflow.publish. A draft that is there stays. " +
			"What the document leaves out is taken away; a missing status stays as it is.",
	}, updateWorkflow)
	a.takes("updateWorkflow", NewDocument{})
	add(a, Route{
		Method: http.MethodDelete, Path: "/workflows/{id}", ID: "deleteWorkflow", Tag: workflowTag, Right: access.WorkflowWrite, Errors: edits, Status: http.StatusNoContent,
		Summary: "Delete a workflow", Description: "Its versions and executions stay. One that is active needs the right workflow.publish; deliveries that wait are cancelled.",
	}, deleteWorkflow)
	add(a, Route{
		Method: http.MethodPost, Path: "/workflows/{id}/duplicate", ID: "duplicateWorkflow", Tag: workflowTag, Right: access.WorkflowWrite, Status: http.StatusCreated, Errors: invalid,
		Summary: "Make another workflow like this one, as a draft",
	}, duplicateWorkflow)
	add(a, Route{
		Method: http.MethodPost, Path: "/workflows/{id}/test", ID: "testWorkflow", Tag: workflowTag, Right: access.WorkflowRead,
		Summary: "Run the saved tests of the draft, or of the live version without one",
	}, testWorkflow)
	add(a, Route{
		Method: http.MethodGet, Path: "/export", ID: "exportWorkflows", Tag: workflowTag, Right: access.WorkflowRead, Errors: []int{http.StatusNotFound},
		Summary: "Workflows as YAML documents, with the templates that they render", Description: "Secrets stand in them by reference only.",
	}, exportWorkflows)
	a.gives("exportWorkflows", "application/yaml")
	add(a, Route{
		Method: http.MethodPost, Path: "/import", ID: "importWorkflows", Tag: workflowTag, Right: access.WorkflowWrite, Errors: invalid,
		Summary:     "Take over documents, or say what taking them over would do",
		Description: "One or more YAML documents, or one as JSON. Workflows land inactive, and none that there is is touched unless replace. One that is active and would be replaced needs the right workflow.publish.",
	}, importWorkflows)
	a.takes("importWorkflows", NewDocument{})
}

func listWorkflows(ctx context.Context, q *Request, in *struct {
	TenantFilter
	Paging
	Status    string `query:"status" enum:"draft,active,inactive"`
	Health    string `query:"health" enum:"ok,broken,incomplete,waiting" doc:"What the worker says of active ones"`
	Table     string `query:"table" maxLength:"130" doc:"With a trigger on this table, or domain:<name>"`
	Name      string `query:"name" maxLength:"200" doc:"A part of the name"`
	CreatedBy string `query:"created_by" maxLength:"200"`
	Sort      string `query:"sort" enum:"name,updated" default:"name"`
	Outline   bool   `query:"outline" doc:"With the sentence, the owners and the priority of each"`
},
) (*struct {
	Body LogPage[WorkflowListed]
}, error,
) {
	tenant, ok := q.Filter(in.Tenant)
	if !ok {
		return nothing[WorkflowListed]()
	}
	found, err := q.Source.SearchWorkflows(ctx, store.WorkflowSearch{
		TenantID: tenant, Status: workflow.Status(in.Status), Verdict: workflow.Verdict(in.Health), Table: in.Table, Name: in.Name, CreatedBy: in.CreatedBy,
		Updated: in.Sort == "updated", Cursor: in.Cursor, Limit: in.Limit,
	})
	list := store.Page[WorkflowListed]{Items: make([]WorkflowListed, len(found.Items)), Next: found.Next}
	ids := make([]string, len(found.Items))
	for i, w := range found.Items {
		list.Items[i].ListedWorkflow, ids[i] = w, w.ID
	}
	if err == nil && in.Outline {
		var outlines map[string]definition.Outline
		outlines, err = q.Definitions.Outlines(ctx, ids)
		for i := range list.Items {
			w := &list.Items[i]
			o := outlines[w.ID]
			w.Sentence, w.Owners, w.Priority = o.Sentence, o.Owners, o.Priority
		}
	}
	return logPage(list, err)
}

// WorkflowListed is a workflow in a list.
type WorkflowListed struct {
	store.ListedWorkflow
	// With outline.
	Sentence string   `json:"sentence,omitempty" doc:"The whole of it in plain words"`
	Owners   []string `json:"owners,omitempty" doc:"Who is told when it fails, as user:ann"`
	Priority *int32   `json:"priority,omitempty" doc:"The lowest of its triggers', which goes first"`
}

// applied plans and does what one document says, and returns the workflow's id. may judges
// the step first; action is what the audit log calls it, comment is kept with the version.
func (q *Request) applied(ctx context.Context, action, comment string, doc *definition.Document, may func(definition.Step) error) (string, error) {
	plan, err := q.Definitions.Plan(ctx, &definition.Bundle{Workflows: []*definition.Document{doc}}, definition.PlanOptions{Tenant: doc.Workflow.TenantID, Action: action, Comment: comment})
	if err != nil {
		return "", err
	}
	step := plan.Steps[0]
	if err := may(step); err != nil {
		return "", err
	}
	if step.Blocked {
		p := &Problem{Status: http.StatusUnprocessableEntity, Detail: "it would be active, and is broken or fails one of its tests"}
		r := reportOut(step.Report, doc)
		p.Errors = r.Errors
		for _, t := range step.Failed {
			p.Errors = append(p.Errors, FieldError{Detail: fmt.Sprintf("test %q: %s", t.Name, strings.Join(t.Differences, "; "))})
		}
		return "", p
	}
	if _, err := q.Definitions.Apply(ctx, plan, q.Actor()); err != nil {
		return "", err
	}
	return step.ID, nil
}

// createdWorkflow is a workflow that was made.
type createdWorkflow struct {
	Location string `header:"Location"`
	ETag     string `header:"ETag"`
	Body     WorkflowOut
}

func (q *Request) created(ctx context.Context, id string) (*createdWorkflow, error) {
	w, err := q.answer(ctx, id)
	if err != nil {
		return nil, err
	}
	return &createdWorkflow{Prefix + "/workflows/" + url.PathEscape(id), w.ETag, w.Body}, nil
}

func createWorkflow(ctx context.Context, q *Request, in *struct {
	Commented
	DocumentInput
},
) (*createdWorkflow, error) {
	doc, err := in.read()
	if err != nil {
		return nil, err
	}
	if err := q.own(doc); err != nil {
		return nil, err
	}
	if doc.Workflow.Status == workflow.Active && !q.Principal.Can(access.WorkflowPublish) {
		return nil, forbidden(access.WorkflowPublish)
	}
	if doc.Workflow.ID == "" {
		doc.Workflow.ID = ulid.Make().String()
	}
	id, err := q.applied(ctx, "workflow.create", in.Comment, doc, func(s definition.Step) error {
		if s.Do != definition.Creates {
			return &Problem{Status: http.StatusConflict, Detail: fmt.Sprintf("there is a workflow %s", s.ID), Mend: "leave id out, or update that one"}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return q.created(ctx, id)
}

func updateWorkflow(ctx context.Context, q *Request, in *struct {
	WorkflowPath
	IfMatch
	Commented
	DocumentInput
},
) (*workflowAnswer, error) {
	s, _, err := q.show(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := in.check(s); err != nil {
		return nil, err
	}
	doc, err := in.read()
	if err != nil {
		return nil, err
	}
	if id := doc.Workflow.ID; id != "" && id != in.ID {
		return nil, unprocessable("/id", "leave it out", "the document is of workflow %s", id)
	}
	if err := q.own(doc); err != nil {
		return nil, err
	}
	w := &doc.Workflow
	switch {
	case !doc.Has["tenant_id"]:
		w.TenantID = orNull(s.TenantID)
	case text(w.TenantID) != s.TenantID:
		return nil, unprocessable("/tenant_id", "leave it out, or duplicate the workflow", "the tenant of a workflow can't be changed")
	}
	w.ID = in.ID
	if !doc.Has["status"] {
		w.Status = s.Status
	}
	if (s.Status == workflow.Active || w.Status == workflow.Active) && !q.Principal.Can(access.WorkflowPublish) {
		return nil, forbidden(access.WorkflowPublish)
	}
	if _, err := q.applied(asSeen(ctx, s), "workflow.update", in.Comment, doc, func(definition.Step) error { return nil }); err != nil {
		return nil, err
	}
	return q.answer(ctx, in.ID)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func deleteWorkflow(ctx context.Context, q *Request, in *struct {
	WorkflowPath
	IfMatch
},
) (*struct{}, error) {
	s, _, err := q.show(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := in.check(s); err != nil {
		return nil, err
	}
	if s.Status == workflow.Active && !q.Principal.Can(access.WorkflowPublish) {
		return nil, forbidden(access.WorkflowPublish)
	}
	return nil, q.Source.Delete(ctx, store.Edit{WorkflowID: s.ID, Actor: q.Actor(), Action: "workflow.delete", Version: s.Version, Draft: s.DraftText})
}

func duplicateWorkflow(ctx context.Context, q *Request, in *struct {
	WorkflowPath
	Body struct {
		ID   string `json:"id,omitempty" maxLength:"64" doc:"Of the new one; a ULID if not given"`
		Name string `json:"name,omitempty" maxLength:"500" doc:"Copy of …, if not given"`
	}
},
) (*createdWorkflow, error) {
	s, draftErr, err := q.show(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if draftErr != nil {
		return nil, &Problem{Status: http.StatusConflict, Detail: "its draft can't be read: " + draftErr.Error(), Mend: "discard the draft first"}
	}
	w := *s.Workflow
	if s.Next != nil {
		w = *s.Next
	}
	w.ID, w.Status, w.Templates = in.Body.ID, workflow.Draft, nil
	if w.Name = in.Body.Name; w.Name == "" {
		w.Name = "Copy of " + s.Name
	}
	raw, err := definition.YAML(&w)
	if err != nil {
		return nil, err
	}
	doc, err := definition.Read("copy.yaml", raw)
	if err != nil {
		return nil, err
	}
	plan, err := q.Definitions.Plan(ctx, &definition.Bundle{Workflows: []*definition.Document{doc}}, definition.PlanOptions{Tenant: orEmpty(s.TenantID), NewIDs: true, ID: in.Body.ID, Action: "workflow.duplicate"})
	if err != nil {
		return nil, err
	}
	if plan.Steps[0].Do != definition.Creates {
		return nil, &Problem{Status: http.StatusConflict, Detail: fmt.Sprintf("there is a workflow %s", plan.Steps[0].ID), Mend: "leave id out"}
	}
	if _, err := q.Definitions.Apply(ctx, plan, q.Actor()); err != nil {
		return nil, err
	}
	return q.created(ctx, plan.Steps[0].ID)
}

func orEmpty(s string) *string { return &s }

// TestedOut is what the saved tests of a workflow came to.
type TestedOut struct {
	Passed bool          `json:"passed" doc:"All did"`
	Tests  []TestedEntry `json:"tests"`
}

// TestedEntry is one saved test.
type TestedEntry struct {
	Name     string   `json:"name"`
	Passed   bool     `json:"passed"`
	Problems []string `json:"problems,omitempty" doc:"What is not as it is expected"`
}

func testWorkflow(ctx context.Context, q *Request, in *WorkflowPath) (*struct{ Body TestedOut }, error) {
	s, draftErr, err := q.show(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if draftErr != nil {
		return nil, &Problem{Status: http.StatusConflict, Detail: "its draft can't be read: " + draftErr.Error()}
	}
	w := s.Workflow
	if s.Next != nil {
		w = s.Next
	}
	done, err := q.Definitions.Test(ctx, w)
	if err != nil {
		return nil, err
	}
	out := TestedOut{Passed: true, Tests: []TestedEntry{}}
	for _, t := range done {
		out.Tests = append(out.Tests, TestedEntry{Name: t.Name, Passed: t.Passed, Problems: t.Differences})
		out.Passed = out.Passed && t.Passed
	}
	return &struct{ Body TestedOut }{out}, nil
}

// yamlAnswer is a YAML text.
type yamlAnswer struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func exportWorkflows(ctx context.Context, q *Request, in *ExportIn) (*yamlAnswer, error) {
	files, _, err := q.exported(ctx, in)
	if err != nil {
		return nil, err
	}
	var body []byte
	for i, f := range files {
		if i > 0 {
			body = append(body, "---\n"...)
		}
		body = append(body, f.YAML...)
	}
	return &yamlAnswer{"application/yaml", body}, nil
}

// ImportedOut is what an import did, or would do.
type ImportedOut struct {
	Done  bool              `json:"done" doc:"False: nothing was done"`
	Steps []definition.Step `json:"steps"`
}

func importWorkflows(ctx context.Context, q *Request, in *struct {
	DocumentInput
	Tenant  OptionalText `query:"tenant" doc:"For principals of all tenants: whose they are to be; what documents say if not given"`
	Replace bool         `query:"replace" doc:"Replace workflows that there are"`
	NewIDs  bool         `query:"new_ids" doc:"Give what an id is taken of one of its own"`
	DryRun  bool         `query:"dry_run" doc:"Say what would be done, and do nothing"`
},
) (*struct{ Body ImportedOut }, error) {
	b, err := in.bundle()
	if err != nil {
		return nil, err
	}
	o := definition.PlanOptions{Import: true, Replace: in.Replace, NewIDs: in.NewIDs}
	switch {
	case !q.Principal.All:
		o.Tenant = &q.Principal.Tenant
	case q.optional("tenant", in.Tenant).Set:
		o.Tenant = &in.Tenant.Value
	}
	plan, err := q.Definitions.Plan(ctx, b, o)
	if err != nil {
		return nil, err
	}
	if !q.Principal.Can(access.TemplateWrite) && slices.ContainsFunc(plan.Steps, func(s definition.Step) bool { return s.Kind == "template" && s.Do != definition.Nothing }) {
		return nil, forbidden(access.TemplateWrite)
	}
	if !q.Principal.Can(access.WorkflowPublish) {
		if err := q.onlyInactive(ctx, plan); err != nil {
			return nil, err
		}
	}
	out := ImportedOut{Steps: plan.Steps}
	if !in.DryRun {
		if _, err := q.Definitions.Apply(ctx, plan, q.Actor()); err != nil {
			return nil, err
		}
		out.Done = true
	}
	return &struct{ Body ImportedOut }{out}, nil
}

// onlyInactive refuses a plan that changes what is active.
func (q *Request) onlyInactive(ctx context.Context, plan *definition.Plan) error {
	var ids []string
	for _, s := range plan.Steps {
		switch {
		case s.Do == definition.Nothing:
		case s.Kind == "template": // a new one too: active workflows may render it in place of the operators'
			if err := q.mayChange(ctx, s.TenantID, s.ID); err != nil {
				return err
			}
		case s.Do == definition.Creates:
		default:
			ids = append(ids, s.ID)
		}
	}
	statuses, err := q.Source.Statuses(ctx, ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if statuses[id] == workflow.Active {
			return forbidden(access.WorkflowPublish)
		}
	}
	return nil
}
