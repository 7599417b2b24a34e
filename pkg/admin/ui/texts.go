package ui

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
)

var templateRoutes = []route{
	{"GET /templates", access.TemplateRead, listTemplates},
	{"GET /newtemplate", access.TemplateWrite, newTemplate},
	{"POST /newtemplate", access.TemplateWrite, saveTemplate},
	{"GET /templates/{name}", access.TemplateRead, showTemplate},
	{"POST /templates/{name}", access.TemplateWrite, saveTemplate},
	{"POST /templates/{name}/delete", access.TemplateWrite, deleteTemplate},
	{"POST /templates/{name}/send", access.WorkflowWrite, sendTemplate},
	{"POST /templatepreview", access.TemplateRead, previewTemplate},
}

// templatesData are the stored templates, each with its languages.
type templatesData struct{ Items []listedTemplate }

type listedTemplate struct {
	Name, Tenant, Description string
	Languages                 []string
	UpdatedAt                 time.Time
}

// languageName is a language for people; "" is everybody's.
func languageName(locale string) string { return cmp.Or(locale, "everybody") }

func listTemplates(v *visit) (*page, error) {
	var list api.LogPage[api.ListedTemplate]
	if err := v.get("/templates", nil, &list); err != nil {
		return nil, err
	}
	d := &templatesData{}
	for _, t := range list.Items {
		tenant := ""
		if t.TenantID != nil {
			tenant = *t.TenantID
		}
		if n := len(d.Items); n == 0 || d.Items[n-1].Name != t.Name || d.Items[n-1].Tenant != tenant {
			d.Items = append(d.Items, listedTemplate{Name: t.Name, Tenant: tenant})
		}
		last := &d.Items[len(d.Items)-1]
		last.Languages = append(last.Languages, languageName(t.Locale))
		last.Description = cmp.Or(last.Description, t.Description)
		if t.UpdatedAt.After(last.UpdatedAt) {
			last.UpdatedAt = t.UpdatedAt
		}
	}
	return &page{template: "texts", title: "Templates", nav: "templates", data: d}, nil
}

// templateData is a template in one language, with what it is shown for.
type templateData struct {
	Name, Tenant, Locale, Source, Description string
	New                                       bool // it isn't stored yet
	NewLanguage                               bool // it is, but not in this language
	Languages                                 []store.Template
	Workflows                                 []string
	Stored                                    *api.StoredTemplate // what saving came to
	Sends                                     []choice            // actions by which it can be sent to oneself
	Sent                                      *api.TestResult
	IsKey                                     bool // the visitor is nobody, who has no address
	// Who reads the preview, and of which change.
	Reader            api.ReaderIn
	Channel, EventID  string
	Events            []choice
	Preview           *definition.Previewed
	PreviewProblem    *api.Problem
	Variables         []string
	Unsaved, AskLocal bool
}

// channelChoices are what a text can be for.
var channelChoices = []choice{{"plain", "Plain text"}, {"markdown", "A mail"}, {"html", "HTML"}, {"chat", "A chat message"}}

// Channels are what a text can be for.
func (d *templateData) Channels() []choice { return channelChoices }

// Self is the address of this template, below the base.
func (d *templateData) Self() string {
	if d.New {
		return "/newtemplate"
	}
	return at("/templates/%s", d.Name) + "?" + d.which().Encode()
}

func (d *templateData) which() url.Values {
	q := url.Values{}
	if d.Tenant != "" {
		q.Set("tenant", d.Tenant)
	}
	if d.Locale != "" {
		q.Set("lang", d.Locale)
	}
	return q
}

// Other is the address of another language of it.
func (d *templateData) Other(locale string) string {
	q := d.which()
	q.Set("lang", locale)
	return at("/templates/%s", d.Name) + "?" + q.Encode()
}

// tenantQuery says whose template is meant, where the visitor may choose.
func (v *visit) tenantQuery(tenant string) url.Values {
	if tenant == "" || v.me.Tenant != nil {
		return nil
	}
	return url.Values{"tenant": {tenant}}
}

// surroundings reads what stands beside the editor.
func (v *visit) surroundings(d *templateData) error {
	d.IsKey = v.me.Kind == access.KindKey
	d.Channel = cmp.Or(d.Channel, "plain")
	d.Reader.Name, d.Reader.Email = cmp.Or(d.Reader.Name, new("Alex Example")), cmp.Or(d.Reader.Email, new("alex@example.com"))
	d.Variables = []string{"{{ event.table }}", "{{ event.committed_at | date: \"%d.%m.%Y\" }}", "{{ recipient.name }}", "{{ workflow.name }}"}
	if v.can(access.ExecutionRead) {
		var events api.LogPage[store.ListedEvent]
		if err := v.get("/events", url.Values{"limit": {"15"}, "data": {"true"}}, &events); err != nil {
			return err
		}
		for _, e := range events.Items {
			d.Events = append(d.Events, choice{e.ID, e.Table + " " + short(20, e.RowKey) + " " + did(e.Operation) + " " + ago(e.CommittedAt)})
			if d.EventID == "" {
				d.EventID = e.ID
			}
			if e.ID == d.EventID {
				for i, c := range changesOf(e.Data) {
					if i < 12 {
						d.Variables = append(d.Variables, "{{ new."+c.Column+" }}")
					}
				}
			}
		}
	}
	return nil
}

func newTemplate(v *visit) (*page, error) {
	d := &templateData{New: true, Source: "Hello {{ recipient.name }}, {{ event.table }} {{ new.id }} has changed."}
	if v.me.Tenant == nil {
		d.AskLocal = true
	}
	if err := v.surroundings(d); err != nil {
		return nil, err
	}
	return &page{template: "text", title: "New template", nav: "templates", scripts: []string{"texts.js"}, data: d}, nil
}

// templateOf reads the template of the page's address.
func (v *visit) templateOf(locale string) (*page, *templateData, error) {
	d := &templateData{Name: v.r.PathValue("name"), Tenant: v.query("tenant"), Locale: locale}
	var of api.TemplateOut
	if err := v.get(at("/templates/%s", d.Name), v.tenantQuery(d.Tenant), &of); err != nil {
		return nil, nil, err
	}
	d.Languages, d.Workflows = of.Languages, of.Workflows
	d.NewLanguage = true
	for _, t := range of.Languages {
		if t.Locale == d.Locale {
			d.Source, d.Description, d.NewLanguage = t.Source, t.Description, false
		}
	}
	if d.NewLanguage && len(of.Languages) > 0 { // begin with what there is
		d.Source, d.Description = of.Languages[0].Source, of.Languages[0].Description
		if d.Locale == "" && v.r.Method == http.MethodGet && !v.r.URL.Query().Has("lang") {
			d.Locale, d.NewLanguage = of.Languages[0].Locale, false
		}
	}
	d.Reader.Locale = d.Locale
	if v.can(access.WorkflowWrite) {
		if err := v.senders(d); err != nil {
			return nil, nil, err
		}
	}
	return &page{template: "text", title: d.Name, nav: "templates", scripts: []string{"texts.js"}, data: d}, d, nil
}

// mostSenders is how many workflows are looked at for actions that send the template.
const mostSenders = 5

// senders finds actions that render a template, and reach people.
func (v *visit) senders(d *templateData) error {
	for _, id := range d.Workflows[:min(len(d.Workflows), mostSenders)] {
		var w api.WorkflowOut
		if err := v.get(at("/workflows/%s", id), nil, &w); err != nil {
			if problemOf(err).Status == http.StatusNotFound {
				continue
			}
			return err
		}
		for i, a := range w.Actions {
			if (a.Type == "email" || a.Type == "notification") && strings.Contains(string(a.Config), d.Name) {
				d.Sends = append(d.Sends, choice{fmt.Sprintf("%s/%d", id, i+1), fmt.Sprintf("%s (%s)", w.Name, a.Type)})
			}
		}
	}
	return nil
}

func showTemplate(v *visit) (*page, error) {
	p, d, err := v.templateOf(v.query("lang"))
	if err != nil {
		return nil, err
	}
	return p, v.surroundings(d)
}

// readEditor takes over what the editor's form says.
func (v *visit) readEditor(d *templateData) {
	d.Source, d.Description = strings.ReplaceAll(v.form("source"), "\r\n", "\n"), v.form("description")
	d.Channel, d.EventID = v.form("channel"), v.form("event")
	d.Reader = api.ReaderIn{Name: new(v.form("reader")), Email: new(v.form("email")), Locale: v.form("reads")}
}

func saveTemplate(v *visit) (*page, error) {
	var p *page
	var d *templateData
	if name := v.r.PathValue("name"); name != "" {
		var err error
		if p, d, err = v.templateOf(v.form("locale")); err != nil {
			return nil, err
		}
	} else {
		d = &templateData{New: true, Name: strings.TrimSpace(v.form("name")), Locale: v.form("locale"), Tenant: v.form("tenant"), AskLocal: v.me.Tenant == nil}
		p = &page{template: "text", title: "New template", nav: "templates", scripts: []string{"texts.js"}, data: d}
	}
	v.readEditor(d)
	if err := v.surroundings(d); err != nil {
		return nil, err
	}
	if d.Name == "" {
		return problemPage(p, &api.Problem{Status: http.StatusUnprocessableEntity, Detail: "the template has no name yet", Mend: "give it one, as footer"})
	}
	var stored api.StoredTemplate
	body := map[string]string{"source": d.Source, "description": d.Description, "locale": d.Locale}
	if err := v.call("PUT", at("/templates/%s", d.Name), v.tenantQuery(d.Tenant), body, &stored); err != nil {
		d.Unsaved = true
		return problemPage(p, err)
	}
	if d.New || d.NewLanguage {
		d.New = false
		return redirect(d.Self(), "saved"), nil
	}
	d.Stored = &stored
	return p, nil
}

func deleteTemplate(v *visit) (*page, error) {
	q := v.tenantQuery(v.query("tenant"))
	if v.form("one") != "" {
		if q == nil {
			q = url.Values{}
		}
		q.Set("locale", v.query("lang"))
	}
	if err := v.call("DELETE", at("/templates/%s", v.r.PathValue("name")), q, nil, nil); err != nil {
		p, d, again := v.templateOf(v.query("lang"))
		if again != nil {
			return nil, err
		}
		if again := v.surroundings(d); again != nil {
			return nil, again
		}
		return problemPage(p, err)
	}
	return redirect("/templates", "deleted"), nil
}

func previewTemplate(v *visit) (*page, error) {
	d := &templateData{Name: v.form("name"), Tenant: v.form("tenant"), Locale: v.form("locale"), New: true}
	v.readEditor(d)
	in := map[string]any{"source": d.Source, "channel": cmp.Or(d.Channel, "plain"), "person": d.Reader}
	if d.EventID != "" {
		in["on"] = map[string]string{"event_id": d.EventID}
	}
	if d.Tenant != "" && v.me.Tenant == nil {
		in["tenant_id"] = d.Tenant
	}
	d.Preview = &definition.Previewed{}
	if err := v.call("POST", "/templates/preview", nil, in, d.Preview); err != nil {
		if d.PreviewProblem = problemOf(err); d.PreviewProblem.Status >= 500 {
			return nil, err
		}
		d.Preview = nil
	}
	p := &page{template: "text", title: "Preview", nav: "templates", scripts: []string{"texts.js"}, data: d}
	if v.r.Header.Get("HX-Request") == "" { // without scripts: the whole page, with what was written
		if err := v.surroundings(d); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func sendTemplate(v *visit) (*page, error) {
	p, d, err := v.templateOf(v.query("lang"))
	if err != nil {
		return nil, err
	}
	d.EventID = v.form("event")
	if err := v.surroundings(d); err != nil {
		return nil, err
	}
	id, action, _ := strings.Cut(v.form("by"), "/")
	d.Sent = &api.TestResult{}
	if err := v.call("POST", at("/workflows/%s/actions/%s/test-send", id, action), nil, map[string]string{"event_id": d.EventID}, d.Sent); err != nil {
		d.Sent = nil
		return problemPage(p, err)
	}
	return p, nil
}
