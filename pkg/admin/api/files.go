package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// MaxFiles is how long a body with files may be, in bytes.
const MaxFiles = 16 << 20

// filesRoutes are about files as people keep them: several at once, by their names.
func filesRoutes(a *API) {
	const tag = "Files"
	invalid := []int{http.StatusUnprocessableEntity}
	add(a, Route{
		Method: http.MethodPost, Path: "/files/check", ID: "checkFiles", Tag: tag, Right: access.WorkflowRead, Errors: invalid, MaxBody: MaxFiles,
		Summary: "Judge the workflows of files, with the templates that they bring along, as activating would",
	}, checkFiles)
	add(a, Route{
		Method: http.MethodPost, Path: "/files/test", ID: "testFiles", Tag: tag, Right: access.WorkflowRead, Errors: invalid, MaxBody: MaxFiles,
		Summary: "Run the saved tests of files",
	}, testFiles)
	add(a, Route{
		Method: http.MethodPost, Path: "/files/plan", ID: "planFiles", Tag: tag, Right: access.WorkflowRead, Errors: invalid, MaxBody: MaxFiles,
		Summary: "Say what applying or importing files would do", Description: "Nothing is done. The answer's plan is for applyFiles.",
	}, planFiles)
	add(a, Route{
		Method: http.MethodPost, Path: "/files/apply", ID: "applyFiles", Tag: tag, Right: access.WorkflowWrite, Errors: edits, MaxBody: MaxFiles,
		Summary: "Make workflows and templates what files say, or import them",
		Description: "Templates come first, all in one transaction, then each workflow in one of its own, then what goes. Workflows that are active, or become so, need " +
			"the right workflow.publish, templates template.write. It is refused if a workflow would be active that is broken or fails one of its tests.",
	}, a.applyFiles)
	add(a, Route{
		Method: http.MethodPost, Path: "/files/simulate", ID: "simulateFile", Tag: tag, Right: access.WorkflowRead, Errors: []int{http.StatusNotFound, http.StatusUnprocessableEntity},
		Summary: "What the workflow of a file would do about a change; nothing is sent",
	}, simulateFile)
	add(a, Route{
		Method: http.MethodPost, Path: "/files/preview/{action}", ID: "previewFile", Tag: tag, Right: access.WorkflowRead, Errors: invalid,
		Summary: "Render the texts of an action in a file, as one person would get them; nothing is sent",
	}, previewFile)
	add(a, Route{
		Method: http.MethodPost, Path: "/files/record-test", ID: "recordFileTest", Tag: tag, Right: access.WorkflowRead, Errors: []int{http.StatusNotFound, http.StatusUnprocessableEntity},
		Summary: "Make a saved test of a recorded event, which expects what the workflow of a file says of it now", Description: "It is stored nowhere.",
	}, recordFileTest)
	add(a, Route{
		Method: http.MethodGet, Path: "/export/files", ID: "exportFiles", Tag: tag, Right: access.WorkflowRead, Errors: []int{http.StatusNotFound},
		Summary: "Workflows and the templates that they render, a file each", Description: "Secrets stand in them by reference only.",
	}, exportFiles)
	add(a, Route{
		Method: http.MethodPost, Path: "/workflows/check", ID: "checkWorkflows", Tag: workflowTag, Right: access.WorkflowRead,
		Summary: "Judge workflows and their drafts, as activating would", Description: "What isn't there is left out.",
	}, checkWorkflows)
	add(a, Route{
		Method: http.MethodPost, Path: "/workflows/test", ID: "testWorkflows", Tag: workflowTag, Right: access.WorkflowRead,
		Summary: "Run the saved tests of workflows and of their drafts", Description: "What isn't there is left out.",
	}, testWorkflows)
	add(a, Route{
		Method: http.MethodPost, Path: "/workflows/{id}/record-test", ID: "recordTest", Tag: workflowTag, Right: access.WorkflowRead, Errors: invalid,
		Summary: "Make a saved test of a recorded event, which expects what the workflow says of it now", Description: "It is stored nowhere: addTest does.",
	}, recordTest)
	add(a, Route{
		Method: http.MethodPost, Path: "/workflows/{id}/draft/tests", ID: "addTest", Tag: workflowTag, Right: access.WorkflowWrite, Errors: edits,
		Summary: "Add a saved test to the draft, which is made of the live version if there is none",
	}, addTest)
	add(a, Route{
		Method: http.MethodGet, Path: "/dependents", ID: "listDependents", Tag: workflowTag, Right: access.WorkflowRead, Errors: []int{http.StatusNotFound},
		Summary: "Which workflows and drafts depend on a table or a column, and how",
	}, listDependents)
}

// FileIn is a file that is sent.
type FileIn struct {
	Name string `json:"name" minLength:"1" maxLength:"1000" doc:"What messages call it; one that ends in .json is JSON, others are YAML" example:"workflows/large-order.yaml"`
	Text string `json:"text" doc:"One or more documents"`
}

// FilesIn are files that are sent.
type FilesIn struct {
	Files []FileIn `json:"files" minItems:"1" maxItems:"10000"`
}

func bundleOf(in []FileIn) (*definition.Bundle, error) {
	files := make([]definition.File, len(in))
	for i, f := range in {
		files[i] = definition.File{Name: f.Name, Text: f.Text}
	}
	return definition.BundleOf(files...)
}

// bundle reads files. Those of a principal of one tenant are that one's.
func (q *Request) bundle(in []FileIn) (*definition.Bundle, error) {
	b, err := bundleOf(in)
	if err != nil || q.Principal.All {
		return b, err
	}
	for _, d := range b.Workflows {
		if err := q.own(d); err != nil {
			return nil, err
		}
	}
	for _, d := range b.Templates {
		if d.HasTenant && d.TenantID != q.Principal.Tenant {
			return nil, unprocessable("/tenant_id", "leave tenant_id out", "you may write templates of tenant %s only", q.Principal.Tenant)
		}
		d.TenantID, d.HasTenant = q.Principal.Tenant, true
	}
	return b, nil
}

// document reads a file of one workflow.
func (q *Request) document(in FileIn) (*definition.Document, error) {
	doc, err := definition.Read(in.Name, []byte(in.Text))
	if err == nil {
		err = q.own(doc)
	}
	return doc, err
}

// CheckedOut is what a check says of a workflow.
type CheckedOut struct {
	ID     string          `json:"id,omitempty"`
	Name   string          `json:"name"`
	Status workflow.Status `json:"status,omitempty" doc:"What the definition has"`
	Of     string          `json:"of" doc:"Which one was judged: a version, the draft, or a file" example:"version 3"`
	Report match.Report    `json:"report"`
}

func checkedOut(list []definition.Checked) []CheckedOut {
	out := make([]CheckedOut, len(list))
	for i, c := range list {
		out[i] = CheckedOut{c.ID, c.Name, c.Status, c.Of, c.Report}
	}
	return out
}

func checkFiles(ctx context.Context, q *Request, in *struct{ Body FilesIn }) (*PageOf[CheckedOut], error) {
	b, err := q.bundle(in.Body.Files)
	if err != nil {
		return nil, err
	}
	list, err := q.Definitions.CheckBundle(ctx, b)
	if err != nil {
		return nil, err
	}
	return page(checkedOut(list), ""), nil
}

func testFiles(ctx context.Context, q *Request, in *struct{ Body FilesIn }) (*PageOf[definition.TestedWorkflow], error) {
	b, err := q.bundle(in.Body.Files)
	if err != nil {
		return nil, err
	}
	list, err := q.Definitions.TestBundle(ctx, b)
	if err != nil {
		return nil, err
	}
	return page(list, ""), nil
}

// WorkflowIDs names workflows.
type WorkflowIDs struct {
	IDs []string `json:"workflow_ids" minItems:"1" maxItems:"100"`
}

// seenOf are those ids whose workflows the caller sees.
func (q *Request) seenOf(ctx context.Context, ids []string) ([]string, error) {
	if q.Principal.All {
		return ids, nil
	}
	var seen []string
	for _, id := range ids {
		switch _, _, err := q.show(ctx, id); {
		case err == nil:
			seen = append(seen, id)
		case !isMissing(err):
			return nil, err
		}
	}
	return seen, nil
}

func checkWorkflows(ctx context.Context, q *Request, in *struct{ Body WorkflowIDs }) (*PageOf[CheckedOut], error) {
	ids, err := q.seenOf(ctx, in.Body.IDs)
	if err != nil {
		return nil, err
	}
	list, err := q.Definitions.CheckThese(ctx, ids)
	if err != nil {
		return nil, err
	}
	return page(checkedOut(list), ""), nil
}

func testWorkflows(ctx context.Context, q *Request, in *struct{ Body WorkflowIDs }) (*PageOf[definition.TestedWorkflow], error) {
	ids, err := q.seenOf(ctx, in.Body.IDs)
	if err != nil {
		return nil, err
	}
	list, err := q.Definitions.TestThese(ctx, ids)
	if err != nil {
		return nil, err
	}
	return page(list, ""), nil
}

// PlanIn is what a plan is made of.
type PlanIn struct {
	FilesIn
	TenantID *string `json:"tenant_id,omitempty" doc:"Whose documents are that don't say so, and whose workflows prune deletes; with import, whose all of them are. Empty: the operators'"`
	Prune    bool    `json:"prune,omitempty" doc:"Delete the tenant's workflows and templates that no file has; it needs tenant_id"`
	Force    bool    `json:"force,omitempty" doc:"Let workflows be active whose saved tests fail"`
	Import   bool    `json:"import,omitempty" doc:"Make all workflows inactive, and touch none that there is unless replace"`
	Replace  bool    `json:"replace,omitempty" doc:"With import: replace workflows and templates that there are"`
	NewIDs   bool    `json:"new_ids,omitempty" doc:"With import: give workflows and their parts new ids"`
	Comment  string  `json:"comment,omitempty" doc:"What changed, and why, in at most 1000 characters: it is kept with the versions that come of it"`
	Seed     string  `json:"seed,omitempty" maxLength:"26" doc:"A ULID that new ids are made of, so that they are the same in plan and apply; random if not given"`
}

// plan says what would become of it.
func (q *Request) plan(ctx context.Context, in *PlanIn) (*definition.Plan, error) {
	o := definition.PlanOptions{Tenant: in.TenantID, Prune: in.Prune, Force: in.Force, Import: in.Import, Replace: in.Replace, NewIDs: in.NewIDs, Comment: in.Comment}
	if in.Seed != "" {
		seed, err := ulid.ParseStrict(in.Seed)
		if err != nil {
			return nil, unprocessable("/seed", "give a ULID, or leave it out", "%q is no ULID", in.Seed)
		}
		o.Seed = seed
	}
	switch own := q.Principal.Tenant; {
	case !q.Principal.All && in.TenantID != nil && *in.TenantID != own:
		return nil, unprocessable("/tenant_id", "leave it out", "you are of tenant %s", own)
	case !q.Principal.All:
		o.Tenant = &own // which refuses what says that it is another's
	}
	switch {
	case in.Prune && o.Tenant == nil:
		return nil, unprocessable("/prune", "give tenant_id", "it deletes what no file has, so it must be said whose")
	case in.Import && (in.Prune || in.Force):
		return nil, unprocessable("/import", "leave prune and force out", "an import neither deletes nor activates anything")
	case !in.Import && (in.Replace || in.NewIDs):
		return nil, unprocessable("/import", "leave replace and new_ids out, or import", "replace and new_ids go with import")
	case in.Replace && in.NewIDs:
		return nil, unprocessable("/new_ids", "give one of them", "with new_ids nothing is replaced")
	}
	b, err := bundleOf(in.Files)
	if err != nil {
		return nil, err
	}
	definitions := *q.Definitions
	if !q.Principal.Can(access.WorkflowWrite) {
		definitions.Secret = nil // whether a guess is right is not for readers
	}
	return definitions.Plan(ctx, b, o)
}

// PlanOut is a plan.
type PlanOut struct {
	Plan  string            `json:"plan" doc:"For applyFiles: it does this plan and no other"`
	Steps []definition.Step `json:"steps" doc:"In the order of the documents, templates first; what goes comes last"`
}

func planFiles(ctx context.Context, q *Request, in *struct{ Body PlanIn }) (*struct{ Body PlanOut }, error) {
	p, err := q.plan(ctx, &in.Body)
	if err != nil {
		return nil, err
	}
	tag, err := p.Tag()
	if err != nil {
		return nil, err
	}
	return &struct{ Body PlanOut }{PlanOut{tag, p.Steps}}, nil
}

// AppliedOut is what was done.
type AppliedOut struct {
	Steps []definition.Applied `json:"steps" doc:"What was done, in order"`
	// Stopped is why it went no further.
	Stopped *Problem `json:"stopped,omitempty" doc:"Why it went no further, where it was not all done"`
}

func (a *API) applyFiles(ctx context.Context, q *Request, in *struct {
	Body struct {
		PlanIn
		Plan string `json:"plan,omitempty" maxLength:"64" doc:"What planFiles has answered. If the plan would be another one now, nothing is done (412)"`
	}
},
) (*struct{ Body AppliedOut }, error) {
	p, err := q.plan(ctx, &in.Body.PlanIn)
	if err != nil {
		return nil, err
	}
	tag, err := p.Tag()
	if err != nil {
		return nil, err
	}
	if in.Body.Plan != "" && in.Body.Plan != tag {
		return nil, &Problem{
			Status: http.StatusPreconditionFailed, Detail: "what the files would do is something else now: somebody has changed workflows or templates since the plan was made",
			Mend: "look at the plan again",
		}
	}
	if err := q.mayApply(ctx, p); err != nil {
		return nil, err
	}
	done, err := q.Definitions.Apply(ctx, p, q.Actor())
	if err != nil && len(done) == 0 {
		return nil, err
	}
	out := AppliedOut{Steps: done}
	if err != nil {
		out.Stopped = a.problem(ctx, err)
	}
	return &struct{ Body AppliedOut }{out}, nil
}

// mayApply says whether the caller may do what a plan does.
func (q *Request) mayApply(ctx context.Context, p *definition.Plan) error {
	does := func(s definition.Step) bool { return s.Do != definition.Nothing }
	if !q.Principal.Can(access.TemplateWrite) && slices.ContainsFunc(p.Steps, func(s definition.Step) bool { return s.Kind == "template" && does(s) }) {
		return forbidden(access.TemplateWrite)
	}
	if q.Principal.Can(access.WorkflowPublish) {
		return nil
	}
	if slices.ContainsFunc(p.Steps, func(s definition.Step) bool { return does(s) && s.Status == workflow.Active }) {
		return forbidden(access.WorkflowPublish)
	}
	return q.onlyInactive(ctx, p)
}

func simulateFile(ctx context.Context, q *Request, in *struct {
	Body struct {
		ChangeIn
		File FileIn `json:"file"`
	}
},
) (*struct{ Body trial.Result }, error) {
	s, err := q.try(ctx, &in.Body.ChangeIn, in.Body.File)
	if err != nil {
		return nil, err
	}
	r, err := q.Definitions.Simulate(ctx, s)
	if err != nil {
		return nil, refusedTrial(err)
	}
	return &struct{ Body trial.Result }{r}, nil
}

// try reads a change that the caller may see, and the file's workflow.
func (q *Request) try(ctx context.Context, on *ChangeIn, file FileIn) (definition.Simulation, error) {
	s, err := on.simulation(q)
	if err != nil {
		return s, err
	}
	if s.Document, err = q.document(file); err != nil {
		return s, err
	}
	return s, q.seesChange(ctx, s)
}

func previewFile(ctx context.Context, q *Request, in *struct {
	Action int `path:"action" minimum:"1" doc:"Number of the action in the file, from 1"`
	Body   struct {
		ChangeIn
		File   FileIn   `json:"file"`
		Person ReaderIn `json:"person,omitempty"`
	}
},
) (*struct{ Body definition.Previewed }, error) {
	p := definition.Preview{Action: in.Action}
	var err error
	if p.On, err = q.try(ctx, &in.Body.ChangeIn, in.Body.File); err != nil {
		return nil, err
	}
	if p.Person, err = in.Body.Person.person(); err != nil {
		return nil, err
	}
	out, err := q.Definitions.Preview(ctx, p)
	if err != nil {
		return nil, refusedTrial(err)
	}
	return &struct{ Body definition.Previewed }{out}, nil
}

// RecordedTestOut is a test that was made of a recorded event.
type RecordedTestOut struct {
	Test   Object       `json:"test" doc:"As it stands under tests in a workflow's settings"`
	Result trial.Result `json:"result" doc:"What the workflow says of the event now"`
}

func (q *Request) recordedTest(ctx context.Context, s definition.Simulation) (*struct{ Body RecordedTestOut }, error) {
	if !q.Principal.Can(access.ExecutionRead) {
		return nil, forbidden(access.ExecutionRead) // a test has the event's row
	}
	if err := q.seesChange(ctx, s); err != nil {
		return nil, err
	}
	t, r, err := q.Definitions.RecordedTest(ctx, s)
	if err != nil {
		return nil, refusedTrial(err)
	}
	raw, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("write a test as JSON: %w", err)
	}
	return &struct{ Body RecordedTestOut }{RecordedTestOut{Object(raw), r}}, nil
}

func recordFileTest(ctx context.Context, q *Request, in *struct {
	Body struct {
		EventID string `json:"event_id" minLength:"1" maxLength:"64"`
		File    FileIn `json:"file"`
	}
},
) (*struct{ Body RecordedTestOut }, error) {
	doc, err := q.document(in.Body.File)
	if err != nil {
		return nil, err
	}
	return q.recordedTest(ctx, definition.Simulation{Document: doc, Event: in.Body.EventID})
}

func recordTest(ctx context.Context, q *Request, in *struct {
	WorkflowPath
	Draft bool `query:"draft" doc:"What the draft says, not the live version"`
	Body  struct {
		EventID string `json:"event_id" minLength:"1" maxLength:"64"`
	}
},
) (*struct{ Body RecordedTestOut }, error) {
	if err := q.seesVersions(ctx, in.ID); err != nil {
		return nil, err
	}
	return q.recordedTest(ctx, definition.Simulation{Workflow: in.ID, Draft: in.Draft, Event: in.Body.EventID})
}

func addTest(ctx context.Context, q *Request, in *struct {
	WorkflowPath
	IfMatch
	Force bool   `query:"force" doc:"Change a draft that somebody else made"`
	Body  Object `doc:"As it stands under tests in a workflow's settings"`
},
) (*workflowAnswer, error) {
	s, _, err := q.show(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := in.check(s); err != nil {
		return nil, err
	}
	t, err := workflow.ParseTest(json.RawMessage(in.Body))
	if err != nil {
		return nil, unprocessable("/", "", "%s", err.Error())
	}
	if err := q.Definitions.AddTest(asSeen(ctx, s), in.ID, t, q.Actor(), in.Force); err != nil {
		return nil, err
	}
	return q.answer(ctx, in.ID)
}

func listDependents(ctx context.Context, q *Request, in *struct {
	Of string `query:"of" required:"true" minLength:"1" maxLength:"260" doc:"A table, or a column of it" example:"orders.status"`
},
) (*struct{ Body definition.Dependents }, error) {
	d, err := q.Definitions.Depends(ctx, in.Of)
	if err != nil {
		return nil, err
	}
	d.Workflows = slices.DeleteFunc(d.Workflows, func(w definition.Dependent) bool { return !q.Sees(w.TenantID) })
	return &struct{ Body definition.Dependents }{*d}, nil
}

// ExportedOut is what was exported.
type ExportedOut struct {
	Files     []FileIn `json:"files"`
	Operators []string `json:"operators" doc:"Templates of the operators' that a tenant's workflows render, and that aren't in files"`
}

func exportFiles(ctx context.Context, q *Request, in *ExportIn) (*struct{ Body ExportedOut }, error) {
	files, operators, err := q.exported(ctx, in)
	if err != nil {
		return nil, err
	}
	out := ExportedOut{Files: make([]FileIn, len(files)), Operators: operators}
	for i, f := range files {
		out.Files[i] = FileIn{f.File, string(f.YAML)}
	}
	return &struct{ Body ExportedOut }{out}, nil
}

// ExportIn says what is to be exported.
type ExportIn struct {
	TenantFilter
	WorkflowID []string `query:"workflow_id,explode" maxItems:"1000" doc:"These; all if not given"`
}

func (q *Request) exported(ctx context.Context, in *ExportIn) ([]definition.Exported, []string, error) {
	tenant, ok := q.Filter(in.Tenant)
	if !ok {
		return nil, nil, notFound("there is no tenant %s here", in.Tenant.Value)
	}
	for _, id := range in.WorkflowID {
		if _, _, err := q.show(ctx, id); err != nil {
			return nil, nil, err
		}
	}
	return q.Definitions.Export(ctx, in.WorkflowID, store.WorkflowFilter{Tenant: tenant})
}

// filesTimeout is how long files may take to arrive.
const filesTimeout = time.Minute
