package definition

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/engine/sentence"
	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Doing is what a step of a plan does.
type Doing string

const (
	Creates Doing = "create"
	Changes Doing = "change"
	Deletes Doing = "delete"
	Nothing Doing = "nothing" // it is so already
)

// Step is what becomes of one workflow or template.
type Step struct {
	Do       Doing  `json:"do"`
	Kind     string `json:"kind"` // workflow or template
	ID       string `json:"id"`   // of a template: its name
	Name     string `json:"name,omitempty"`
	TenantID string `json:"tenant_id,omitempty"`
	File     string `json:"file,omitempty"`
	// Status is what the workflow has then.
	Status workflow.Status `json:"status,omitempty"`
	Words  []string        `json:"words,omitempty"` // what is different, in words
	YAML   string          `json:"yaml,omitempty"`  // and as diff -u has it; without secrets
	// Draft says that there is a draft beside the live version, which stays.
	Draft   bool           `json:"draft,omitempty"`
	Report  match.Report   `json:"report"`
	Failed  []trial.Tested `json:"failed_tests,omitempty"`
	Blocked bool           `json:"blocked,omitempty"` // it would be active, and is broken or fails a test

	doc       *Document
	edit      store.Edit
	next      *workflow.Workflow
	templates []store.TemplateEdit
}

// Document is the file's, for the places of problems; nil of what no file has.
func (s *Step) Document() *Document { return s.doc }

// Plan is what Apply would do, in order.
type Plan struct {
	Steps []Step `json:"steps"`
	// Bundle and Options are what it was made of.
	Bundle  *Bundle     `json:"-"`
	Options PlanOptions `json:"-"`
	tag     string
}

// Changed counts the steps that do something.
func (p *Plan) Changed() int {
	n := 0
	for _, s := range p.Steps {
		if s.Do != Nothing {
			n++
		}
	}
	return n
}

// Blocked are the steps that keep the plan from being carried out.
func (p *Plan) Blocked() []Step {
	var list []Step
	for _, s := range p.Steps {
		if s.Blocked {
			list = append(list, s)
		}
	}
	return list
}

// PlanOptions say how files are taken.
type PlanOptions struct {
	// Tenant is whose documents are that don't say so, and whose workflows Prune deletes; ""
	// the operators'. nil: documents that don't say so are the operators', or the tenant's of
	// the workflow that they name.
	Tenant *string
	// Prune deletes the tenant's workflows and templates that no file has. It needs Tenant.
	Prune bool
	// Force lets workflows be active whose saved tests fail.
	Force bool
	// Import makes all workflows inactive, and refuses to touch one that there is, unless
	// Replace. With it Tenant is the tenant of all documents, whatever they say.
	Import, Replace bool
	// Action is what the audit log calls it. Defaults to workflow.apply, with Import to
	// workflow.import.
	Action string
	// Comment is kept with the versions that come of it.
	Comment string
	// NewIDs gives workflows and parts new ids, so that they can stand beside those that they
	// were exported from. ID, if there is one, is the new one of the only workflow.
	NewIDs bool
	ID     string
	// Seed makes new ids the same each time that the plan is made. Zero: they are not.
	Seed ulid.ULID
}

// Plan says what would become of the database by these files. The error joins a *Problem for
// each document that can't be applied.
func (s *Service) Plan(ctx context.Context, b *Bundle, o PlanOptions) (*Plan, error) {
	var err error
	if o.Comment, err = commentOf(o.Comment); err != nil {
		return nil, err
	}
	c, err := s.catalog(ctx)
	if err != nil {
		return nil, err
	}
	p := &planner{catalog: c, o: o, plan: &Plan{Bundle: b, Options: o}, newID: idsOf(o.Seed)}
	if err := p.templatesSet(ctx, b); err != nil {
		return nil, err
	}
	for _, d := range b.Workflows {
		if err := p.workflow(ctx, d); err != nil {
			return nil, err
		}
	}
	if o.Prune {
		if err := p.prune(ctx, b); err != nil {
			return nil, err
		}
	}
	return p.plan, joined(p.problems)
}

type planner struct {
	*catalog
	o        PlanOptions
	plan     *Plan
	problems []error
	ids      []string // of the documents' workflows
	newID    func() string
}

func (p *planner) fail(file string, at *node, format string, args ...any) {
	problem := &Problem{File: file, Message: fmt.Sprintf(format, args...)}
	if at != nil {
		problem.Line, problem.Column = at.line, at.column
	}
	p.problems = append(p.problems, problem)
}

// owner is whose a document is; false if that can't be.
func (p *planner) owner(file string, at *node, has bool, tenantID string) (string, bool) {
	switch {
	case p.o.Tenant == nil:
		return tenantID, true
	case has && tenantID != *p.o.Tenant && !p.o.Import:
		p.fail(file, at, "it is of %s, and --tenant says %s; leave --tenant out, or tenant_id", whose(tenantID), whose(*p.o.Tenant))
		return "", false
	}
	return *p.o.Tenant, true
}

func whose(tenantID string) string {
	if tenantID == "" {
		return "the operators"
	}
	return "tenant " + tenantID
}

// workflow plans what becomes of one.
func (p *planner) workflow(ctx context.Context, d *Document) error {
	w := d.whole()
	if p.o.NewIDs {
		newIDs(w, p.newID)
		if p.o.ID != "" {
			w.ID = p.o.ID
		}
	}
	if w.ID == "" && p.o.Import {
		w.ID = p.newID()
	}
	if w.ID == "" {
		p.fail(d.file, nil, "the workflow has no id, so nobody knows which one it is; write one, as id: %s", suggestID(w.Name))
		return nil
	}
	p.ids = append(p.ids, w.ID)
	def, err := p.service.current(ctx, w.ID)
	isThere := err == nil
	if err != nil && !errors.Is(err, workflow.ErrNotFound) {
		return err
	}
	tenantID, ok := p.owner(d.file, d.places["tenant_id"], d.Has["tenant_id"], value(w.TenantID))
	switch {
	case !ok:
		return nil
	case isThere && !d.Has["tenant_id"] && p.o.Tenant == nil:
		tenantID = def.TenantID
	case isThere && tenantID != def.TenantID:
		mend := "give it another id, or mend its tenant"
		if p.o.Import {
			mend = "--new-ids gives it an id of its own"
		}
		p.fail(d.file, d.places["id"], "there is a workflow %s, which is of %s and not of %s, and that can't be changed; %s", w.ID, whose(def.TenantID), whose(tenantID), mend)
		return nil
	case isThere && p.o.Import && !p.o.Replace:
		p.fail(d.file, d.places["id"], "there is a workflow %s already; --replace overwrites it, --new-ids puts this one beside it", w.ID)
		return nil
	}
	w.TenantID = nil
	if tenantID != "" {
		w.TenantID = &tenantID
	}
	live := &workflow.Workflow{}
	step := Step{Kind: "workflow", Do: Creates, ID: w.ID, Name: w.Name, TenantID: tenantID, File: d.file, doc: d}
	step.edit = store.Edit{WorkflowID: w.ID, Action: cmp.Or(p.o.Action, "workflow.apply")}
	if p.o.Import {
		step.edit.Action = "workflow.import"
	}
	if isThere {
		if live, err = workflow.Parse(def.Document); err != nil {
			return fmt.Errorf("workflow %s, version %d: %w", def.ID, def.Version, err)
		}
		step.edit.Version, step.edit.Draft, step.Draft = def.Version, def.DraftText, def.DraftText != nil
		step.Do = Changes
	}
	switch {
	case p.o.Import:
		w.Status = workflow.Inactive
	case w.Status == "" && isThere:
		w.Status = live.Status
	case w.Status == "":
		w.Status = workflow.Draft
	}
	keepIDs(w, &Shown{Workflow: live}, p.newID)
	if err := p.keepSecrets(ctx, w, live); err != nil {
		return err
	}
	step.next, step.Status = w, w.Status
	if isThere {
		live.Templates = nil
		if sameStored(live, w) {
			step.Do = Nothing
		}
		step.Words = sentence.Changes(shownCopy(live), shownCopy(w))
	} else {
		step.Words = []string{sentence.Of(inStoredForm(w))}
	}
	if step.YAML, err = yamlDiff(live, w, isThere); err != nil {
		return err
	}
	if step.Report, err = p.check(ctx, w); err != nil {
		return err
	}
	tested, err := p.test(ctx, w)
	if err != nil {
		if _, bad := w.Tests(); bad == nil {
			return err
		}
	}
	step.Failed = failed(tested)
	step.Blocked = step.Do != Nothing && w.Status == workflow.Active && (len(step.Report.Errors) > 0 || len(step.Failed) > 0 && !p.o.Force)
	p.plan.Steps = append(p.plan.Steps, step)
	return nil
}

// suggestID makes an id of a name.
func suggestID(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	id := strings.Trim(b.String(), "-")
	if id == "" || len(id) > 64 {
		return "large-order"
	}
	return id
}

// newIDs gives the workflow and its parts new ids; what is for one action stays so.
func newIDs(w *workflow.Workflow, newID func() string) {
	w.ID = newID()
	for i := range w.Triggers {
		w.Triggers[i].ID = newID()
	}
	for i := range w.Conditions {
		w.Conditions[i].ID = newID()
	}
	actions := make(map[string]string)
	for i := range w.Actions {
		id := newID()
		actions[w.Actions[i].ID], w.Actions[i].ID = id, id
	}
	for i := range w.Recipients {
		w.Recipients[i].ID = newID()
		if of := w.Recipients[i].ActionID; of != nil {
			id := actions[*of]
			w.Recipients[i].ActionID = &id
		}
	}
	w.Settings = renamedActions(w.Settings, actions)
}

// yamlDiff is the difference in YAML, without secrets.
func yamlDiff(live, next *workflow.Workflow, isThere bool) (string, error) {
	before := ""
	if isThere {
		text, err := YAML(shownCopy(live))
		if err != nil {
			return "", err
		}
		before = string(text)
	}
	after, err := YAML(shownCopy(next))
	if err != nil {
		return "", err
	}
	return unified("live", "file", before, string(after)), nil
}

// templatesSet plans the templates of the files, and lets workflows be judged with them.
func (p *planner) templatesSet(ctx context.Context, b *Bundle) error {
	if len(b.Templates) == 0 {
		return nil
	}
	stored, err := p.service.Source.Templates(ctx, nil, "")
	if err != nil {
		return err
	}
	own := make(map[string]map[string]map[string]string) // tenant → name → locale → source, as it will be
	for _, t := range stored {
		put(own, t.TenantID, t.Name)[t.Locale] = t.Source
	}
	var docs []*TemplateDocument
	for _, d := range b.Templates {
		tenantID, ok := p.owner(d.file, d.at.get("tenant_id"), d.HasTenant, d.TenantID)
		if !ok {
			continue
		}
		mine := *d
		mine.TenantID = tenantID
		docs = append(docs, &mine)
		delete(put(own, tenantID, d.Name), "")
		own[tenantID][d.Name] = maps.Clone(d.Texts)
	}
	for _, d := range docs {
		step := templateStep(d, stored)
		if p.o.Import && step.Do == Changes && !p.o.Replace {
			p.fail(d.file, d.at, "there is a template %s of %s already; --replace overwrites it", d.Name, whose(d.TenantID))
			continue
		}
		p.problems = append(p.problems, d.compile(workflow.NewLibrary(rendered(own, d.TenantID)))...)
		p.plan.Steps = append(p.plan.Steps, step)
	}
	p.own = own
	return nil
}

func put(own map[string]map[string]map[string]string, tenantID, name string) map[string]string {
	if own[tenantID] == nil {
		own[tenantID] = make(map[string]map[string]string)
	}
	if own[tenantID][name] == nil {
		own[tenantID][name] = make(map[string]string)
	}
	return own[tenantID][name]
}

// rendered is what a tenant's workflows render: its own, and the operators' where it has
// none of that name.
func rendered(own map[string]map[string]map[string]string, tenantID string) map[string]map[string]string {
	all := maps.Clone(own[""])
	if all == nil {
		all = make(map[string]map[string]string)
	}
	maps.Copy(all, own[tenantID])
	return all
}

// templateStep plans one template.
func templateStep(d *TemplateDocument, stored []store.Template) Step {
	step := Step{Kind: "template", Do: Creates, ID: d.Name, TenantID: d.TenantID, File: d.file}
	live := &TemplateDocument{Name: d.Name, TenantID: d.TenantID, Texts: make(map[string]string)}
	for _, t := range stored {
		if t.TenantID == d.TenantID && t.Name == d.Name {
			live.Texts[t.Locale] = t.Source
			live.Description = cmp.Or(live.Description, t.Description) // one of all languages
		}
	}
	for _, locale := range slices.Sorted(maps.Keys(d.Texts)) {
		source, there := live.Texts[locale]
		what := "text for everybody"
		if locale != "" {
			what = "text for " + locale
		}
		switch {
		case there && source == d.Texts[locale] && live.Description == d.Description:
			continue
		case !there:
			step.Words = append(step.Words, what+" added")
		case source != d.Texts[locale]:
			step.Words = append(step.Words, what+" changed")
		default:
			step.Words = append(step.Words, "description changed")
		}
		step.templates = append(step.templates, store.TemplateEdit{Template: store.Template{
			TenantID: d.TenantID, Name: d.Name, Locale: locale, Source: d.Texts[locale], Description: d.Description,
		}})
	}
	for _, locale := range slices.Sorted(maps.Keys(live.Texts)) {
		if _, has := d.Texts[locale]; has {
			continue
		}
		if slices.ContainsFunc(slices.Collect(maps.Keys(d.Texts)), func(l string) bool { return strings.EqualFold(l, locale) }) {
			continue // the same language, written otherwise
		}
		step.Words = append(step.Words, "text for "+locale+" removed")
		step.templates = append(step.templates, store.TemplateEdit{Template: store.Template{TenantID: d.TenantID, Name: d.Name, Locale: locale}, Remove: true})
	}
	step.Words = slices.Compact(step.Words)
	before := ""
	if len(live.Texts) > 0 {
		step.Do = Changes
		before = string(live.YAML())
	}
	if len(step.templates) == 0 {
		step.Do = Nothing
	}
	step.YAML = unified("live", "file", before, string(d.YAML()))
	return step
}

// prune plans what goes since no file has it.
func (p *planner) prune(ctx context.Context, b *Bundle) error {
	defs, err := p.service.Source.Definitions(ctx, store.WorkflowFilter{Tenant: p.o.Tenant})
	if err != nil {
		return err
	}
	for _, def := range defs {
		if slices.Contains(p.ids, def.ID) {
			continue
		}
		p.plan.Steps = append(p.plan.Steps, Step{
			Kind: "workflow", Do: Deletes, ID: def.ID, Name: def.Name, TenantID: def.TenantID, Draft: def.DraftText != nil,
			edit: store.Edit{WorkflowID: def.ID, Action: "workflow.delete", Version: def.Version, Draft: def.DraftText},
		})
	}
	stored, err := p.service.Source.Templates(ctx, p.o.Tenant, "")
	if err != nil {
		return err
	}
	for _, t := range stored {
		if slices.ContainsFunc(b.Templates, func(d *TemplateDocument) bool { return d.Name == t.Name }) {
			continue
		}
		edit := store.TemplateEdit{Template: store.Template{TenantID: t.TenantID, Name: t.Name, Locale: t.Locale}, Remove: true}
		last := len(p.plan.Steps) - 1
		if last >= 0 && p.plan.Steps[last].Kind == "template" && p.plan.Steps[last].Do == Deletes && p.plan.Steps[last].ID == t.Name {
			p.plan.Steps[last].templates = append(p.plan.Steps[last].templates, edit)
			continue
		}
		p.plan.Steps = append(p.plan.Steps, Step{Kind: "template", Do: Deletes, ID: t.Name, TenantID: t.TenantID, templates: []store.TemplateEdit{edit}})
	}
	return nil
}

// Applied is what a step came to.
type Applied struct {
	Step
	Version int32 `json:"version,omitempty"` // of a workflow; 0 of one that is deleted
}

// Apply carries a plan out, in the name of actor: templates first, all in one transaction,
// then each workflow in one of its own, then what goes. It returns what was done, also with
// an error; workflow.ErrConflict if something has changed since the plan was made. A plan
// with steps that are blocked is refused.
func (s *Service) Apply(ctx context.Context, p *Plan, actor string) ([]Applied, error) {
	if err := p.Refusal(); err != nil {
		return nil, err
	}
	var done []Applied
	templates := func(do ...Doing) error {
		var edits []store.TemplateEdit
		var steps []Applied
		for _, step := range p.Steps {
			if step.Kind == "template" && slices.Contains(do, step.Do) {
				edits = append(edits, step.templates...)
				steps = append(steps, Applied{Step: step})
			}
		}
		if len(edits) == 0 {
			return nil
		}
		if err := s.Source.EditTemplates(ctx, edits, actor); err != nil {
			return err
		}
		done = append(done, steps...)
		return nil
	}
	if err := templates(Creates, Changes); err != nil {
		return done, err
	}
	for _, step := range p.Steps {
		if step.Kind != "workflow" || step.Do == Nothing {
			continue
		}
		e := step.edit
		e.Actor, e.Comment, e.Detail = actor, p.Options.Comment, map[string]any{"file": step.File, "status": step.Status}
		a := Applied{Step: step}
		var err error
		switch step.Do {
		case Creates:
			a.Version, err = s.Source.Create(ctx, e, step.next)
		case Changes:
			a.Version, err = s.Source.Replace(ctx, e, step.next)
		default:
			e.Detail = nil
			err = s.Source.Delete(ctx, e)
		}
		if err != nil {
			return done, err
		}
		done = append(done, a)
	}
	return done, templates(Deletes)
}
