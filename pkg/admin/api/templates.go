package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/template"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func templateRoutes(a *API) {
	const tag = "Templates"
	invalid := []int{http.StatusConflict, http.StatusUnprocessableEntity}
	add(a, Route{
		Method: http.MethodGet, Path: "/templates", ID: "listTemplates", Tag: tag, Right: access.TemplateRead,
		Summary: "Stored templates by name and language",
	}, listTemplates)
	add(a, Route{
		Method: http.MethodGet, Path: "/templates/{name}", ID: "getTemplate", Tag: tag, Right: access.TemplateRead,
		Summary: "A template in all its languages, and the workflows that render it",
	}, getTemplate)
	add(a, Route{
		Method: http.MethodPut, Path: "/templates/{name}", ID: "putTemplate", Tag: tag, Right: access.TemplateWrite, Errors: invalid,
		Summary:     "Store a template in one language",
		Description: "Workflows that render it get a new version. Changing one that an active workflow renders needs the right workflow.publish as well.",
	}, putTemplate)
	add(a, Route{
		Method: http.MethodDelete, Path: "/templates/{name}", ID: "deleteTemplate", Tag: tag, Right: access.TemplateWrite, Errors: invalid, Status: http.StatusNoContent,
		Summary: "Take a template away, in one language or in all; refused while workflows render it",
	}, deleteTemplate)
	add(a, Route{
		Method: http.MethodPost, Path: "/templates/preview", ID: "previewTemplate", Tag: tag, Right: access.TemplateRead, Errors: []int{http.StatusNotFound},
		Summary: "Render a template that isn't stored, as one person would read it; nothing is sent",
	}, previewTemplate)
	add(a, Route{
		Method: http.MethodPost, Path: "/workflows/{id}/actions/{action}/preview", ID: "previewAction", Tag: workflowTag, Right: access.WorkflowRead, Errors: []int{http.StatusUnprocessableEntity},
		Summary: "Render an action's texts for a change, as one person would get them; nothing is sent",
	}, previewAction)
	add(a, Route{
		Method: http.MethodPost, Path: "/workflows/{id}/actions/{action}/test-send", ID: "testSendAction", Tag: workflowTag, Right: access.WorkflowWrite, Errors: []int{http.StatusUnprocessableEntity},
		Summary:     "Send what an action would, for a change, to yourself only",
		Description: "Of kinds that reach people. A mail goes to the verified e-mail address of your token, a notification to your own inbox. It is no execution.",
	}, testSend)
}

// TemplatePath names a template of a tenant.
type TemplatePath struct {
	Name   string       `path:"name" maxLength:"64"`
	Tenant OptionalText `query:"tenant" doc:"For principals of all tenants: whose template; the operators' if not given"`
}

func (q *Request) templateOf(p *TemplatePath) (string, error) {
	if q.Principal.All {
		return p.Tenant.Value, nil
	}
	if p.Tenant.Set && p.Tenant.Value != q.Principal.Tenant {
		return "", notFound("there is no template %s", p.Name)
	}
	return q.Principal.Tenant, nil
}

// ListedTemplate is a template in the list.
type ListedTemplate struct {
	TenantID    *string   `json:"tenant_id" doc:"Null: the operators', which all tenants may render"`
	Name        string    `json:"name"`
	Locale      string    `json:"locale,omitempty" doc:"Missing: for everybody"`
	Description string    `json:"description,omitempty"`
	Bytes       int       `json:"bytes" doc:"How long its text is"`
	Source      string    `json:"source,omitempty" doc:"Its text, with sources"`
	CreatedBy   string    `json:"created_by"`
	UpdatedAt   time.Time `json:"updated_at"`
}

func listTemplates(ctx context.Context, q *Request, in *struct {
	TenantFilter
	Sources bool `query:"sources" doc:"With their texts"`
},
) (*PageOf[ListedTemplate], error) {
	tenant, ok := q.Filter(in.Tenant)
	if !ok {
		return page([]ListedTemplate{}, ""), nil
	}
	found, err := q.Source.Templates(ctx, tenant, "")
	if err != nil {
		return nil, err
	}
	list := make([]ListedTemplate, len(found))
	for i, t := range found {
		list[i] = ListedTemplate{
			TenantID: orNull(t.TenantID), Name: t.Name, Locale: t.Locale, Description: t.Description, Bytes: len(t.Source), CreatedBy: t.CreatedBy, UpdatedAt: t.UpdatedAt.UTC(),
		}
		if in.Sources {
			list[i].Source = t.Source
		}
	}
	return page(list, ""), nil
}

// TemplateOut is a template in all its languages.
type TemplateOut struct {
	Name      string           `json:"name"`
	Languages []store.Template `json:"languages"`
	Workflows []string         `json:"workflows" doc:"Which render it"`
}

func (q *Request) template(ctx context.Context, tenant, name string) (*struct{ Body TemplateOut }, error) {
	list, err := q.Source.Templates(ctx, &tenant, name)
	if err == nil && len(list) == 0 {
		err = q.Source.NoTemplate(ctx, tenant, name, nil)
	}
	if err != nil {
		return nil, err
	}
	users, err := q.Source.RenderedBy(ctx, tenant, name)
	if err != nil {
		return nil, err
	}
	if users == nil {
		users = []string{}
	}
	return &struct{ Body TemplateOut }{TemplateOut{name, list, users}}, nil
}

func getTemplate(ctx context.Context, q *Request, in *TemplatePath) (*struct{ Body TemplateOut }, error) {
	tenant, err := q.templateOf(in)
	if err != nil {
		return nil, err
	}
	return q.template(ctx, tenant, in.Name)
}

// StoredTemplate is what storing a template came to.
type StoredTemplate struct {
	Same     bool                    `json:"same" doc:"It was stored like this already"`
	Versions []string                `json:"versions" doc:"Workflows that got a new version by it"`
	Problems map[string][]FieldError `json:"problems" doc:"What is wrong with these now, by workflow"`
}

func putTemplate(ctx context.Context, q *Request, in *struct {
	TemplatePath
	Body struct {
		Locale      string `json:"locale,omitempty" maxLength:"35" doc:"Language, as de or de-AT; for everybody if not given"`
		Source      string `json:"source" maxLength:"100000" doc:"Liquid"`
		Description string `json:"description,omitempty" maxLength:"500"`
	}
},
) (*struct{ Body StoredTemplate }, error) {
	tenant, err := q.templateOf(&in.TemplatePath)
	if err != nil {
		return nil, err
	}
	if err := q.mayChange(ctx, tenant, in.Name); err != nil {
		return nil, err
	}
	set, err := q.Definitions.SetTemplate(ctx, store.Template{TenantID: tenant, Name: in.Name, Locale: in.Body.Locale, Source: in.Body.Source, Description: in.Body.Description}, q.Actor())
	if err != nil {
		return nil, q.refusedTemplate(err)
	}
	out := StoredTemplate{Same: set.Same, Versions: set.Versions, Problems: map[string][]FieldError{}}
	if out.Versions == nil {
		out.Versions = []string{}
	}
	for id, r := range set.Problems {
		warnings := problemsOf(r.Warnings)
		for i := range warnings {
			warnings[i].Warning = true
		}
		out.Problems[id] = append(problemsOf(r.Errors), warnings...)
	}
	return &struct{ Body StoredTemplate }{out}, nil
}

// refusedTemplate says what is wrong with a template that can't be stored.
func (q *Request) refusedTemplate(err error) error {
	if isNotFound(err) || isConflict(err) || isOfDatabase(err) {
		return err
	}
	return unprocessable("/source", "", "%s", err.Error())
}

// mayChange says whether the caller may change a template: active workflows that render it
// change with it.
func (q *Request) mayChange(ctx context.Context, tenant, name string) error {
	if q.Principal.Can(access.WorkflowPublish) {
		return nil
	}
	users, err := q.Source.RenderedBy(ctx, tenant, name)
	if err != nil || len(users) == 0 {
		return err
	}
	statuses, err := q.Source.Statuses(ctx, users)
	if err != nil {
		return err
	}
	for _, id := range users {
		if statuses[id] == workflow.Active {
			return &Problem{
				Status: http.StatusForbidden, Detail: "active workflows render it, so that this needs the right " + string(access.WorkflowPublish),
				Mend: "store it under another name, and let a draft render that one",
			}
		}
	}
	return nil
}

func deleteTemplate(ctx context.Context, q *Request, in *struct {
	TemplatePath
	Locale OptionalText `query:"locale" doc:"Of this language only; empty: the one for everybody"`
},
) (*struct{}, error) {
	tenant, err := q.templateOf(&in.TemplatePath)
	if err != nil {
		return nil, err
	}
	var locale *string
	if asked := q.optional("locale", in.Locale); asked.Set {
		locale = &asked.Value
	}
	if err := q.mayChange(ctx, tenant, in.Name); err != nil {
		return nil, err
	}
	return nil, q.Source.DeleteTemplate(ctx, tenant, in.Name, locale, q.Actor())
}

// ReaderIn is who reads a preview.
type ReaderIn struct {
	ID     string  `json:"id,omitempty" maxLength:"500" default:"example"`
	Name   *string `json:"name,omitempty" maxLength:"200" default:"Alex Example"`
	Email  *string `json:"email,omitempty" maxLength:"320" default:"alex@example.com"`
	Phone  *string `json:"phone,omitempty" maxLength:"40" default:"+12025550123"`
	Locale string  `json:"locale,omitempty" maxLength:"35"`
	Zone   string  `json:"zone,omitempty" maxLength:"64"`
}

func (in *ReaderIn) person() (workflow.Person, error) {
	p := workflow.Person{ID: in.ID, Name: text(in.Name), Email: text(in.Email), Phone: text(in.Phone), Locale: in.Locale, Zone: in.Zone}
	if _, err := time.LoadLocation(p.Zone); err != nil || p.Zone == "Local" {
		return p, unprocessable("/person/zone", "write one as Europe/Vienna", "%q is no time zone", p.Zone)
	}
	return p, nil
}

var channels = []template.Channel{template.Plain, template.Markdown, template.HTML, template.Chat}

func previewTemplate(ctx context.Context, q *Request, in *struct {
	Body struct {
		TenantID *string   `json:"tenant_id,omitempty" doc:"Whose stored templates it may render"`
		Source   string    `json:"source" maxLength:"100000" doc:"Liquid"`
		Channel  string    `json:"channel,omitempty" enum:"plain,markdown,html,chat" default:"plain" doc:"For what it is escaped"`
		On       *ChangeIn `json:"on,omitempty" doc:"The change that it is rendered for"`
		Person   ReaderIn  `json:"person,omitempty"`
	}
},
) (*struct{ Body definition.Previewed }, error) {
	b := &in.Body
	tenant, err := q.tenantIn(b.TenantID, "/tenant_id")
	if err != nil {
		return nil, err
	}
	p := definition.Preview{Source: b.Source, TenantID: tenant}
	p.Channel = channels[slices.IndexFunc(channels, func(c template.Channel) bool { return c.String() == b.Channel })]
	if p.Person, err = b.Person.person(); err != nil {
		return nil, err
	}
	if b.On != nil {
		if p.On, err = b.On.simulation(q); err != nil {
			return nil, err
		}
		if err := q.seesChange(ctx, p.On); err != nil {
			return nil, err
		}
	}
	out, err := q.Definitions.Preview(ctx, p)
	if err != nil {
		return nil, q.refusedTemplate(err)
	}
	return &struct{ Body definition.Previewed }{out}, nil
}

// seesChange refuses a change of another tenant's row: as it is, whatever is said to be
// different of it.
func (q *Request) seesChange(ctx context.Context, on definition.Simulation) error {
	if q.Principal.All {
		return nil
	}
	switch tenant, err := q.Definitions.TenantOf(ctx, on); {
	case isNotFound(err) || err == nil && !q.Sees(tenant): // which of the two is nobody's business
		return notFound("there is no such row or event")
	case err != nil:
		return refusedTrial(err)
	}
	return nil
}

// ActionPath names an action of a workflow.
type ActionPath struct {
	WorkflowPath
	Action  int   `path:"action" minimum:"1" doc:"Number of the action in the definition, from 1"`
	Version int32 `query:"version" minimum:"1" doc:"A version; the latest if not given"`
	Draft   bool  `query:"draft" doc:"What is in the draft"`
}

func (q *Request) actionPreview(ctx context.Context, in *ActionPath, on *ChangeIn) (definition.Preview, error) {
	p := definition.Preview{Action: in.Action}
	if err := q.seesVersions(ctx, in.ID); err != nil {
		return p, err
	}
	var err error
	if p.On, err = on.simulation(q); err != nil {
		return p, err
	}
	p.On.Workflow, p.On.Version, p.On.Draft = in.ID, in.Version, in.Draft
	return p, q.seesChange(ctx, p.On)
}

func previewAction(ctx context.Context, q *Request, in *struct {
	ActionPath
	Body struct {
		ChangeIn
		Person ReaderIn `json:"person,omitempty"`
	}
},
) (*struct{ Body definition.Previewed }, error) {
	p, err := q.actionPreview(ctx, &in.ActionPath, &in.Body.ChangeIn)
	if err != nil {
		return nil, err
	}
	if p.Person, err = in.Body.Person.person(); err != nil {
		return nil, err
	}
	out, err := q.Definitions.Preview(ctx, p)
	if err != nil {
		return nil, q.refusedTemplate(err)
	}
	return &struct{ Body definition.Previewed }{out}, nil
}

func testSend(ctx context.Context, q *Request, in *struct {
	ActionPath
	Body ChangeIn
},
) (*struct{ Body TestResult }, error) {
	who := q.Principal
	if who.Subject == "" {
		return nil, &Problem{Status: http.StatusUnprocessableEntity, Detail: "a key is nobody, and has neither an inbox nor an e-mail address", Mend: "use a token of the identity provider, or a signed link's"}
	}
	p, err := q.actionPreview(ctx, &in.ActionPath, &in.Body)
	if err != nil {
		return nil, err
	}
	// An inbox is a person's of a tenant, whose links name them; others have an address at most.
	v, err := q.Source.LatestVersion(ctx, in.ID, 0)
	if err != nil {
		return nil, err
	}
	id := ""
	if who.Is(v.TenantID, who.Subject) {
		id = who.Subject
	}
	r, err := q.Operations.TestSend(ctx, p, q.Sees, &workflow.Person{ID: id, Name: who.Name, Email: who.Email, Reasons: []string{"a test that they asked for"}}, q.Actor())
	if err != nil {
		return nil, q.refusedTemplate(err)
	}
	return &struct{ Body TestResult }{r}, nil
}
