package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/engine/sentence"
	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func sentenceOf(w *workflow.Workflow) string { return sentence.Of(w) }

const workflowTag = "Workflows"

func workflowRoutes(a *API) {
	add(a, Route{
		Method: http.MethodGet, Path: "/workflows/{id}", ID: "getWorkflow", Tag: workflowTag, Right: access.WorkflowRead,
		Summary: "A workflow, as it is live and as it is drafted",
	}, getWorkflow)
	add(a, Route{
		Method: http.MethodPut, Path: "/workflows/{id}/draft", ID: "putDraft", Tag: workflowTag, Right: access.WorkflowWrite, Errors: edits,
		Summary:     "Keep a document as the workflow's draft",
		Description: "The draft stands beside the live version until it is activated. It is the whole workflow: what the document leaves out is taken away then.",
	}, putDraft)
	a.takes("putDraft", Document{})
	add(a, Route{
		Method: http.MethodDelete, Path: "/workflows/{id}/draft", ID: "discardDraft", Tag: workflowTag, Right: access.WorkflowWrite, Errors: edits,
		Summary: "Discard the draft",
	}, discardDraft)
	add(a, Route{
		Method: http.MethodPost, Path: "/workflows/{id}/activate", ID: "activateWorkflow", Tag: workflowTag, Right: access.WorkflowPublish, Errors: edits,
		Summary: "Publish the draft, if there is one, and turn the workflow on",
		Description: "One version comes of it. It is refused if the worker would find the workflow broken, and, unless force, if the live version has changed " +
			"since the draft was made. Warnings don't block.",
	}, activateWorkflow)
	add(a, Route{
		Method: http.MethodPost, Path: "/workflows/{id}/deactivate", ID: "deactivateWorkflow", Tag: workflowTag, Right: access.WorkflowPublish, Errors: edits,
		Summary: "Turn the workflow off: deliveries that wait are cancelled",
	}, deactivateWorkflow)
	add(a, Route{
		Method: http.MethodPost, Path: "/workflows/validate", ID: "validateDocument", Tag: workflowTag, Right: access.WorkflowRead, Errors: []int{http.StatusUnprocessableEntity},
		Summary: "Judge a document that isn't stored, as activating would",
	}, validateDocument)
	a.takes("validateDocument", NewDocument{})
	add(a, Route{
		Method: http.MethodPost, Path: "/workflows/{id}/validate", ID: "validateWorkflow", Tag: workflowTag, Right: access.WorkflowRead,
		Summary: "Judge the draft, or the live version without one, as activating would",
	}, validateWorkflow)
	add(a, Route{
		Method: http.MethodGet, Path: "/workflows/{id}/versions", ID: "listVersions", Tag: workflowTag, Right: access.WorkflowRead,
		Summary: "The versions, the latest first, each with its changes in words",
	}, listVersions)
	add(a, Route{
		Method: http.MethodGet, Path: "/workflows/{id}/versions/{version}", ID: "getVersion", Tag: workflowTag, Right: access.WorkflowRead,
		Summary: "A version as it was",
	}, getVersion)
	add(a, Route{
		Method: http.MethodPost, Path: "/workflows/{id}/versions/{version}/restore", ID: "restoreVersion", Tag: workflowTag, Right: access.WorkflowWrite, Errors: edits,
		Summary: "Make an earlier version the draft",
	}, restoreVersion)
	add(a, Route{
		Method: http.MethodGet, Path: "/workflows/{id}/diff", ID: "diffWorkflow", Tag: workflowTag, Right: access.WorkflowRead, Errors: []int{http.StatusUnprocessableEntity},
		Summary: "What is different between two states of a workflow, in words and as YAML",
	}, diffWorkflow)
	add(a, Route{
		Method: http.MethodPost, Path: "/workflows/{id}/simulate", ID: "simulateWorkflow", Tag: workflowTag, Right: access.WorkflowRead, Errors: []int{http.StatusUnprocessableEntity},
		Summary: "What the workflow would do about a change; nothing is sent",
	}, simulateWorkflow)
	add(a, Route{
		Method: http.MethodGet, Path: "/events/{id}/explain", ID: "explainEvent", Tag: "Events", Right: access.WorkflowRead,
		Summary: "Why workflows fired for an event, and why others didn't",
	}, explainEvent)
	add(a, Route{
		Method: http.MethodGet, Path: "/explain", ID: "explainRow", Tag: "Events", Right: access.WorkflowRead, Errors: []int{http.StatusNotFound},
		Summary: "The same of the last recorded events of a row, the latest first",
	}, explainRow)
}

// edits are the errors of what changes something.
var edits = []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusUnprocessableEntity}

// WorkflowPath names a workflow.
type WorkflowPath struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the workflow"`
}

// workflowAnswer is a workflow with its tag.
type workflowAnswer struct {
	ETag string `header:"ETag" doc:"Of this state, for If-Match"`
	Body WorkflowOut
}

// show reads a workflow that the caller may see. draftErr says that its draft can't be read.
func (q *Request) show(ctx context.Context, id string) (s *definition.Shown, draftErr, err error) {
	s, err = q.Definitions.Show(ctx, id)
	if s == nil {
		return nil, nil, err
	}
	if !q.Sees(s.TenantID) {
		return nil, nil, notFound("there is no workflow %s", id)
	}
	return s, err, nil
}

// tag changes with each edit of the workflow or its draft, and with nothing else.
func tag(s *definition.Shown) string {
	sum := sha256.Sum256(s.DraftText)
	return fmt.Sprintf(`"%d-%s"`, s.Version, hex.EncodeToString(sum[:6]))
}

// IfMatch is the header that makes an edit fail if somebody else has edited meanwhile.
type IfMatch struct {
	IfMatch string `header:"If-Match" doc:"ETag of the state that the edit is made for; without it the edit is made whatever has changed"`
}

// Commented is what an editor says of the version that comes of an edit. How long it may be
// is judged where it is kept, for the command line too.
type Commented struct {
	Comment string `query:"comment" doc:"What changed, and why, in at most 1000 characters: it is kept with the version"`
}

// check refuses an edit of another state than s.
func (m *IfMatch) check(s *definition.Shown) error {
	if m.IfMatch == "" || m.IfMatch == "*" {
		return nil
	}
	for each := range strings.SplitSeq(m.IfMatch, ",") {
		if strings.TrimSpace(each) == tag(s) {
			return nil
		}
	}
	return &Problem{
		Status: http.StatusPreconditionFailed, Detail: fmt.Sprintf("workflow %s has changed since: its ETag is %s now", s.ID, tag(s)),
		Mend: "read it again, and make the edit for what it is now",
	}
}

// asSeen gives a context in which edits are made of the state that was shown, and of no
// other: what the caller has seen, and may do, was judged by it.
func asSeen(ctx context.Context, s *definition.Shown) context.Context {
	return definition.Expect(ctx, s.ID, func(d *store.Definition) error {
		if d.Version == s.Version && bytes.Equal(d.DraftText, s.DraftText) {
			return nil
		}
		return &Problem{Status: http.StatusConflict, Detail: fmt.Sprintf("workflow %s has just been changed by somebody else", s.ID), Mend: "read it again, and make the edit for what it is now"}
	})
}

// answer reads a workflow again, after an edit.
func (q *Request) answer(ctx context.Context, id string) (*workflowAnswer, error) {
	s, draftErr, err := q.show(ctx, id)
	if err != nil {
		return nil, err
	}
	return &workflowAnswer{tag(s), *workflowOut(s, draftErr)}, nil
}

func getWorkflow(ctx context.Context, q *Request, in *WorkflowPath) (*workflowAnswer, error) {
	return q.answer(ctx, in.ID)
}

func putDraft(ctx context.Context, q *Request, in *struct {
	WorkflowPath
	IfMatch
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
	// Who says which state it is made for has seen the draft that is there.
	err = q.Definitions.PutDraft(asSeen(ctx, s), in.ID, doc, q.Actor(), in.IfMatch.IfMatch != "")
	if isConflict(err) && s.DraftText != nil {
		return nil, &Problem{
			Status: http.StatusConflict, Detail: fmt.Sprintf("workflow %s has a draft that somebody else has made, which this would overwrite", in.ID),
			Mend: "look at it, and send its ETag as If-Match to overwrite it, or discard it",
		}
	}
	if err != nil {
		return nil, err
	}
	return q.answer(ctx, in.ID)
}

func discardDraft(ctx context.Context, q *Request, in *struct {
	WorkflowPath
	IfMatch
},
) (*workflowAnswer, error) {
	s, _, err := q.show(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := in.check(s); err != nil {
		return nil, err
	}
	if err := q.Definitions.Discard(asSeen(ctx, s), in.ID, q.Actor()); err != nil {
		return nil, err
	}
	return q.answer(ctx, in.ID)
}

// ReportOut is what a check found.
type ReportOut struct {
	Verdict  string       `json:"verdict" doc:"As a worker's health would say: ok, broken, incomplete or waiting"`
	Errors   []FieldError `json:"errors" doc:"It can't be activated with these"`
	Warnings []FieldError `json:"warnings" doc:"Worth knowing"`
}

func reportOut(r match.Report, doc *definition.Document) ReportOut {
	out := ReportOut{Verdict: string(r.Verdict), Errors: problemsOf(r.Errors), Warnings: problemsOf(r.Warnings)}
	if doc != nil {
		for i, p := range r.Errors {
			out.Errors[i].Pointer = doc.Pointer(p.Where)
		}
		for i, p := range r.Warnings {
			out.Warnings[i].Pointer = doc.Pointer(p.Where)
		}
	}
	return out
}

// ActivatedOut is what activating came to.
type ActivatedOut struct {
	Version  int32        `json:"version"`
	Draft    bool         `json:"draft" doc:"A draft was published"`
	Same     bool         `json:"same" doc:"It was active already, and had no draft"`
	Warnings []FieldError `json:"warnings" doc:"Worth knowing; they don't block"`
	Failed   []FieldError `json:"failed_tests" doc:"Saved tests that fail, which force has overridden"`
}

func activateWorkflow(ctx context.Context, q *Request, in *struct {
	WorkflowPath
	IfMatch
	Commented
	Force bool `query:"force" doc:"Publish the draft though the live version has changed since it was made"`
},
) (*struct{ Body ActivatedOut }, error) {
	s, _, err := q.show(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := in.check(s); err != nil {
		return nil, err
	}
	done, err := q.Definitions.Activate(asSeen(ctx, s), in.ID, q.Actor(), in.Comment, in.Force)
	if err != nil {
		return nil, err
	}
	failed := slices.DeleteFunc(done.Tests, func(t trial.Tested) bool { return t.Passed })
	return &struct{ Body ActivatedOut }{ActivatedOut{done.Version, done.Draft, done.Same, problemsOf(done.Report.Warnings), failures(failed)}}, nil
}

// DeactivatedOut is what deactivating came to.
type DeactivatedOut struct {
	Version int32 `json:"version"`
	Same    bool  `json:"same" doc:"It was off already"`
}

func deactivateWorkflow(ctx context.Context, q *Request, in *struct {
	WorkflowPath
	IfMatch
	Commented
},
) (*struct{ Body DeactivatedOut }, error) {
	s, _, err := q.show(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := in.check(s); err != nil {
		return nil, err
	}
	version, same, err := q.Definitions.Deactivate(asSeen(ctx, s), in.ID, q.Actor(), in.Comment)
	if err != nil {
		return nil, err
	}
	return &struct{ Body DeactivatedOut }{DeactivatedOut{version, same}}, nil
}

func validateDocument(ctx context.Context, q *Request, in *struct{ DocumentInput }) (*struct{ Body ReportOut }, error) {
	doc, err := in.read()
	if err != nil {
		return nil, err
	}
	if err := q.own(doc); err != nil {
		return nil, err
	}
	checked, err := q.Definitions.CheckDocument(ctx, doc)
	if err != nil {
		return nil, err
	}
	return &struct{ Body ReportOut }{reportOut(checked.Report, doc)}, nil
}

// own makes a document the caller's tenant's; one of another tenant is refused.
func (q *Request) own(doc *definition.Document) error {
	w := &doc.Workflow
	if q.Principal.All {
		return nil
	}
	own := q.Principal.Tenant
	if doc.Has["tenant_id"] && (w.TenantID == nil || *w.TenantID != own) {
		return unprocessable("/tenant_id", "leave tenant_id out", "you may write workflows of tenant %s only", own)
	}
	w.TenantID, doc.Has["tenant_id"] = &own, true
	return nil
}

func validateWorkflow(ctx context.Context, q *Request, in *WorkflowPath) (*struct{ Body ReportOut }, error) {
	s, draftErr, err := q.show(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if draftErr != nil {
		return &struct{ Body ReportOut }{ReportOut{Verdict: string(workflow.Broken), Errors: []FieldError{{Detail: draftErr.Error()}}, Warnings: []FieldError{}}}, nil
	}
	w := s.Workflow
	if s.Next != nil {
		w = s.Next
	}
	report, err := q.Definitions.Check(ctx, w)
	if err != nil {
		return nil, err
	}
	return &struct{ Body ReportOut }{reportOut(report, nil)}, nil
}

func listVersions(ctx context.Context, q *Request, in *WorkflowPath) (*PageOf[definition.Entry], error) {
	if err := q.seesVersions(ctx, in.ID); err != nil {
		return nil, err
	}
	list, err := q.Definitions.History(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return page(list, ""), nil
}

// seesVersions says whether the caller may see the versions of a workflow, which may be
// deleted.
func (q *Request) seesVersions(ctx context.Context, id string) error {
	v, err := q.Source.LatestVersion(ctx, id, 0)
	if err == nil && !q.Sees(v.TenantID) {
		err = notFound("there is no workflow %s", id)
	}
	return err
}

// VersionOut is a version as it was.
type VersionOut struct {
	WorkflowID string       `json:"workflow_id"`
	Version    int32        `json:"version"`
	Status     string       `json:"status" doc:"draft, active, inactive or deleted"`
	Document   *DocumentOut `json:"document,omitempty" doc:"Missing: it says that the workflow was deleted"`
	YAML       string       `json:"yaml,omitempty"`
}

// VersionPath names a version.
type VersionPath struct {
	WorkflowPath
	Version int32 `path:"version" minimum:"1" doc:"Number of the version"`
}

func getVersion(ctx context.Context, q *Request, in *VersionPath) (*struct{ Body VersionOut }, error) {
	v, err := q.Source.LatestVersion(ctx, in.ID, in.Version)
	if err == nil && !q.Sees(v.TenantID) {
		err = notFound("there is no workflow %s", in.ID)
	}
	if err != nil {
		return nil, err
	}
	out := VersionOut{WorkflowID: v.WorkflowID, Version: v.Version, Status: string(v.Status)}
	if v.Status != workflow.Deleted {
		w, err := workflow.Parse(v.Document)
		if err != nil {
			return nil, err
		}
		text, err := definition.YAML(w)
		if err != nil {
			return nil, err
		}
		out.Document, out.YAML = documentOut(w), string(text)
	}
	return &struct{ Body VersionOut }{out}, nil
}

func restoreVersion(ctx context.Context, q *Request, in *struct {
	VersionPath
	IfMatch
	Force bool `query:"force" doc:"Overwrite a draft that is there"`
},
) (*workflowAnswer, error) {
	s, _, err := q.show(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := in.check(s); err != nil {
		return nil, err
	}
	if _, err := q.Definitions.Restore(asSeen(ctx, s), in.ID, in.Version, q.Actor(), in.Force); err != nil {
		return nil, err
	}
	return q.answer(ctx, in.ID)
}

func diffWorkflow(ctx context.Context, q *Request, in *struct {
	WorkflowPath
	From string `query:"from" doc:"A version's number, live or draft; without from and to, the draft against the live version, else that against the one before"`
	To   string `query:"to" doc:"The same; live if not given"`
},
) (*struct{ Body definition.Diff }, error) {
	if err := q.seesVersions(ctx, in.ID); err != nil {
		return nil, err
	}
	for name, ref := range map[string]string{"query.from": in.From, "query.to": in.To} {
		if ref == "" || ref == "live" || ref == "draft" {
			continue
		}
		if _, err := definition.ParseVersion(ref); err != nil {
			return nil, unprocessable(name, "give a version's number, live or draft", "%s", err.Error())
		}
	}
	if in.From == "" && in.To != "" {
		return nil, unprocessable("query.from", "give from, or leave out to", "there is nothing to compare %s with", in.To)
	}
	d, err := q.Definitions.Diff(ctx, in.ID, in.From, in.To)
	if err != nil {
		return nil, err
	}
	return &struct{ Body definition.Diff }{*d}, nil
}

// ChangeIn says what to try a workflow on: one of event_id, table with key, or domain.
type ChangeIn struct {
	EventID   string     `json:"event_id,omitempty" doc:"A recorded event"`
	Table     string     `json:"table,omitempty" doc:"A captured table, with key"`
	Key       string     `json:"key,omitempty" doc:"Key of a row of the table, its columns joined by commas"`
	Domain    string     `json:"domain,omitempty" doc:"Name of a domain event, with new as its payload"`
	Tenant    string     `json:"tenant,omitempty" doc:"Tenant of the domain event; of a principal of one tenant, that one"`
	Operation string     `json:"operation,omitempty" enum:"create,update,delete" doc:"What happens to the row; update if not given"`
	New       Object     `json:"new,omitempty" doc:"Values of the new row instead of those there are"`
	Old       Object     `json:"old,omitempty" doc:"Values of the old row instead of those there are"`
	Actor     Object     `json:"actor,omitempty" nullable:"true" doc:"Who makes the change, as rowbell.set_actor would say; null for nobody"`
	At        *time.Time `json:"at,omitempty" doc:"When it commits; as recorded, or now, if not given"`
}

func (in *ChangeIn) simulation(q *Request) (definition.Simulation, error) {
	s := definition.Simulation{
		Event: in.EventID, Table: in.Table, Key: in.Key, Domain: in.Domain, Tenant: in.Tenant,
		New: []byte(in.New), Old: []byte(in.Old), Actor: []byte(in.Actor),
	}
	given := 0
	for _, text := range []string{in.EventID, in.Table, in.Domain} {
		if text != "" {
			given++
		}
	}
	switch {
	case given != 1:
		return s, unprocessable("/event_id", "give one of event_id, table with key, and domain", "it says %d things to try it on", given)
	case (in.Table == "") != (in.Key == ""):
		return s, unprocessable("/key", "give both", "a table and the key of a row go together")
	case in.Operation != "" && in.Table == "":
		return s, unprocessable("/operation", "leave it out", "operation is for rows")
	case !q.Principal.All && in.Domain != "":
		if in.Tenant != "" && in.Tenant != q.Principal.Tenant {
			return s, unprocessable("/tenant", "leave it out", "you may try events of tenant %s only", q.Principal.Tenant)
		}
		s.Tenant = q.Principal.Tenant
	}
	if in.Operation != "" {
		s.As, _ = change.ParseOp(in.Operation) // the schema has said that it is one
	}
	if in.At != nil {
		s.At = *in.At
	}
	return s, nil
}

func simulateWorkflow(ctx context.Context, q *Request, in *struct {
	WorkflowPath
	Version int32 `query:"version" minimum:"1" doc:"A version; the latest if not given"`
	Draft   bool  `query:"draft" doc:"What is in the draft"`
	Body    ChangeIn
},
) (*struct{ Body trial.Result }, error) {
	if err := q.seesVersions(ctx, in.ID); err != nil {
		return nil, err
	}
	s, err := in.Body.simulation(q)
	if err != nil {
		return nil, err
	}
	if err := q.seesChange(ctx, s); err != nil {
		return nil, err
	}
	s.Workflow, s.Version, s.Draft = in.ID, in.Version, in.Draft
	r, err := q.Definitions.Simulate(ctx, s)
	if err != nil {
		return nil, refusedTrial(err)
	}
	return &struct{ Body trial.Result }{r}, nil
}

// refusedTrial says what is wrong with what a workflow can't be tried on.
func refusedTrial(err error) error {
	var p *Problem
	if errors.As(err, &p) || isNotFound(err) || isConflict(err) || isOfDatabase(err) {
		return err
	}
	return &Problem{Status: http.StatusUnprocessableEntity, Detail: err.Error()}
}

func explainEvent(ctx context.Context, q *Request, in *struct {
	ID     string `path:"id" maxLength:"64" doc:"Id of a recorded event"`
	Others int    `query:"others" minimum:"0" maximum:"500" default:"500" doc:"How many workflows of other tenants than the row's are told of at most"`
},
) (*struct{ Body definition.Explanation }, error) {
	x, err := q.Definitions.ExplainSome(ctx, in.ID, in.Others)
	if errors.Is(err, workflow.ErrNotFound) || err == nil && !q.Sees(x.TenantID) {
		return nil, notFound("event %s is not recorded: only those that a workflow matched are, and for as long as the log is kept", in.ID)
	}
	if err != nil {
		return nil, err
	}
	q.seenAccounts(&x)
	return &struct{ Body definition.Explanation }{x}, nil
}

// seenAccounts leaves of an explanation what the caller sees.
func (q *Request) seenAccounts(x *definition.Explanation) {
	x.Workflows = slices.DeleteFunc(x.Workflows, func(a trial.Account) bool { return !q.Sees(a.TenantID) })
}

func explainRow(ctx context.Context, q *Request, in *struct {
	Table string `query:"table" required:"true" minLength:"1" maxLength:"130" doc:"Label of a captured table"`
	Key   string `query:"row_key" required:"true" minLength:"1" maxLength:"1000" doc:"Key of the row, its columns joined by commas"`
},
) (*PageOf[definition.Explanation], error) {
	list, err := q.Definitions.ExplainRow(ctx, in.Table, in.Key)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(x definition.Explanation) bool { return !q.Sees(x.TenantID) })
	if len(list) == 0 {
		return nil, notFound("no change of %s %s is recorded: only those that a workflow matched are", in.Table, in.Key)
	}
	for i := range list {
		q.seenAccounts(&list[i])
	}
	return page(list, ""), nil
}
