package ui

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/workflow"
)

var designerRoutes = []route{
	{"GET /workflows/new", access.WorkflowWrite, newWorkflow},
	{"POST /workflows/new", access.WorkflowWrite, makeWorkflow},
	{"GET /workflows/{id}/edit", access.WorkflowWrite, showDesigner},
	{"POST /workflows/{id}/edit", access.WorkflowWrite, saveDesign},
	{"GET /workflows/{id}/evidence", access.WorkflowRead, showEvidence},
	{"GET /workflows/{id}/try", access.WorkflowRead, showTry},
	{"POST /workflows/{id}/try", access.WorkflowRead, showTry},
	{"POST /workflows/{id}/send", access.WorkflowWrite, sendToMe},
	{"GET /workflows/{id}/publish", access.WorkflowRead, showPublish},
	{"POST /workflows/{id}/publish", access.WorkflowPublish, publish},
	{"POST /workflows/{id}/discard", access.WorkflowWrite, discardDraft},
}

// newData is what a workflow begins with.
type newData struct {
	Tables      []api.TableOut
	Name, Table string // what was filled in
}

func newWorkflow(v *visit) (*page, error) {
	d := &newData{Name: v.query("name"), Table: v.query("table")}
	var err error
	if d.Tables, err = v.tables(); err != nil {
		return nil, err
	}
	return &page{template: "new", title: "New workflow", nav: "workflows", data: d}, nil
}

// tables are those that workflows can be about.
func (v *visit) tables() ([]api.TableOut, error) {
	var list api.LogPage[api.TableOut]
	if err := v.get("/tables", nil, &list); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(t api.TableOut) bool { return t.Gone }), nil
}

func makeWorkflow(v *visit) (*page, error) {
	d := &document{Name: cmp.Or(strings.TrimSpace(v.form("name")), "New workflow"), Settings: json.RawMessage("{}"), Actions: []docAction{}}
	d.Triggers = []docTrigger{{newID(), v.form("table"), cmp.Or(v.form("operation"), "update"), json.RawMessage("{}"), 100}}
	var made api.WorkflowOut
	if err := v.call(http.MethodPost, "/workflows", nil, d, &made); err != nil {
		p := problemOf(err)
		if p.Status != http.StatusUnprocessableEntity {
			return nil, err
		}
		again := &newData{Name: d.Name, Table: v.form("table")}
		if again.Tables, err = v.tables(); err != nil {
			return nil, err
		}
		return &page{template: "new", title: "New workflow", nav: "workflows", data: again, problem: p, status: p.Status}, nil
	}
	return redirect(at("/workflows/%s/edit", made.ID), ""), nil
}

// loaded is a workflow as it is edited: its draft, or else what is live.
type loaded struct {
	api.WorkflowOut
	ETag     string
	Title    string // what it is called as it is edited
	document *document
}

func (v *visit) load(id string) (*loaded, error) {
	a, err := v.send(http.MethodGet, at("/workflows/%s", id), nil, nil, nil)
	if err != nil {
		return nil, err
	}
	return loadedOf(a)
}

func loadedOf(a *answer) (*loaded, error) {
	l := &loaded{ETag: a.header.Get("ETag")}
	if err := json.Unmarshal(a.body.Bytes(), &l.WorkflowOut); err != nil {
		return nil, err
	}
	l.document = documentOf(&l.DocumentOut)
	if l.Draft != nil && l.Draft.Document != nil {
		l.document = documentOf(l.Draft.Document)
		l.Sentence = l.Draft.Document.Sentence
	}
	l.Title = l.document.Name
	return l, nil
}

// catalogue is what a form offers.
type catalogue struct {
	v      *visit
	tables []api.TableOut
	detail map[string]*api.TableDetail
	kinds  map[string]*kind
	list   []*kind
}

func (v *visit) catalogue() (*catalogue, error) {
	c := &catalogue{v: v, detail: make(map[string]*api.TableDetail), kinds: make(map[string]*kind)}
	var err error
	if c.tables, err = v.tables(); err != nil {
		return nil, err
	}
	var list api.LogPage[api.KindOut]
	if err := v.get("/action-kinds", nil, &list); err != nil {
		return nil, err
	}
	for _, k := range list.Items {
		c.kinds[k.Name] = newKind(k)
		c.list = append(c.list, c.kinds[k.Name])
	}
	slices.SortStableFunc(c.list, func(a, b *kind) int { return cmp.Compare(rank(a.Name), rank(b.Name)) })
	return c, nil
}

// rank puts first what most people look for.
func rank(kind string) int {
	list := []string{"notification", "email", "chat", "webhook", "publish", "function", "log"}
	if i := slices.Index(list, kind); i >= 0 {
		return i
	}
	return len(list)
}

// table is a table's columns; nil of one that isn't captured, and of domain events.
func (c *catalogue) table(label string) *api.TableDetail {
	label = strings.TrimPrefix(label, "public.")
	if label == "" || strings.HasPrefix(label, workflow.DomainPrefix) {
		return nil
	}
	d, ok := c.detail[label]
	if !ok {
		d = &api.TableDetail{}
		if err := c.v.get(at("/tables/%s", label), nil, d); err != nil {
			d = nil // the check says so
		}
		c.detail[label] = d
	}
	return d
}

func (c *catalogue) types(label string) map[string]string {
	d := c.table(label)
	if d == nil {
		return nil
	}
	types := make(map[string]string, len(d.Columns))
	for _, one := range d.Columns {
		types[one.Name] = one.Type
	}
	return types
}

// designerData is the form.
type designerData struct {
	*loaded
	Edit     *edit
	Document string // as the browser keeps it, to go back to
	Tables   []api.TableOut
	Triggers []triggerView
	Only     []onlyView // conditions besides
	Kinds    []*kind
	Actions  []actionView
	Shared   []recipientView // for all actions
	Several  bool            // more than one action has recipients
	Takes    bool            // any has
	Firing   string
	Storm    string // default, set, off, other
	StormN   string
	Critical bool
	NotActor bool
	Owners   string
	Zone     string
	Locale   string

	Saved     bool
	Unchanged bool             // there is no draft: it is what was published
	Conflict  bool             // somebody else has changed it
	Problems  []api.FieldError // that stand at no field
	Warnings  []api.FieldError
	Wrong     int // how many there are in all
	Insert    []columnView
	Columns   []columnView // of the first table
}

// columnView is a column for people.
type columnView struct {
	Name, Title, Comment, Kind string
	Samples                    []string
	Checked                    bool
	NoOld                      bool
}

// triggerView is one trigger.
type triggerView struct {
	docTrigger
	EntityLabel  string
	First, Alone bool
	Domain       string
	Operations   []choice
	Columns      []columnView
	AnyColumns   bool
	Warnings     []api.WarningOut
	Rule         *ruleView
	Problems     []api.FieldError
	Missing      bool // the table isn't captured
}

// onlyView is a condition besides those of triggers: of the workflow, or of an action.
type onlyView struct {
	docCondition
	Own, First bool // of an action; the first one there
	Rule       *ruleView
	Time       *timed
	Who        *makers
	Days       []columnView
	Chip       string
	Code       bool
	Problems   []api.FieldError
}

// ruleView is a group.
type ruleView struct {
	ID, Path, Name string // of the root; below it; of the inputs
	Join           string
	Root           bool
	Items          []ruleItem
}

type ruleItem struct {
	Index, Name, Path, ID string
	Clause                *clauseView
	Group                 *ruleView
	Raw                   string
}

type clauseView struct {
	*clause
	Columns   []columnView
	Operators []choice
	Inputs    []inputView
	Input     string
	Samples   []string
	Incomplete,
	Unknown bool
	Problems []api.FieldError
}

type inputView struct{ ID, Value, Label string }

// actionView is one action.
type actionView struct {
	docAction
	Number      int
	First, Last bool
	After       bool
	Kind        *kind
	Only        []onlyView // conditions of its own
	Main, More  []fieldView
	Recipients  []recipientView
	Problems    []api.FieldError
}

type recipientView struct {
	docRecipient
	Columns []columnView
}

func showDesigner(v *visit) (*page, error) {
	l, err := v.load(v.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	c, err := v.catalogue()
	if err != nil {
		return nil, err
	}
	return v.designer(l, editOf(l.document), c, nil)
}

// designer makes the page of an edit. refused is why it isn't saved.
func (v *visit) designer(l *loaded, e *edit, c *catalogue, refused *api.Problem) (*page, error) {
	d := &designerData{loaded: l, Edit: e, Tables: c.tables, Kinds: c.list, Saved: refused == nil}
	d.Document = string(jsonText(e.full()))
	var report api.ReportOut
	p := &page{template: "designer", title: "Edit " + e.Name, nav: "workflows", data: d, scripts: []string{"designer.js"}}
	switch {
	case refused != nil && (refused.Status == http.StatusConflict || refused.Status == http.StatusPreconditionFailed):
		d.Conflict = true
	case refused != nil:
		report.Errors = refused.Errors
		if len(report.Errors) == 0 {
			report.Errors = []api.FieldError{{Detail: refused.Detail, Mend: refused.Mend}}
		}
	default:
		var err error
		if report, err = v.validate(l, e.whole()); err != nil {
			return nil, err
		}
	}
	d.Unchanged = d.Saved && l.Draft == nil && l.Status != "draft"
	d.Wrong = len(report.Errors)
	d.Warnings = report.Warnings
	d.fill(c, placed(report.Errors))
	return p, nil
}

// validate judges a document as activating would.
func (v *visit) validate(l *loaded, d *document) (api.ReportOut, error) {
	in := struct {
		*document
		ID     string  `json:"id"`
		Tenant *string `json:"tenant_id,omitempty"`
	}{d, l.ID, l.TenantID}
	var report api.ReportOut
	err := v.call(http.MethodPost, "/workflows/validate", nil, in, &report)
	if p := problemOf(err); err != nil && p.Status == http.StatusUnprocessableEntity {
		report.Errors = p.Errors
		if len(p.Errors) == 0 {
			report.Errors = []api.FieldError{{Detail: p.Detail, Mend: p.Mend}}
		}
		return report, nil
	}
	return report, err
}

// places are problems by where they are; each is shown once.
type places struct {
	list  []api.FieldError
	shown []bool
}

func placed(list []api.FieldError) *places { return &places{list, make([]bool, len(list))} }

// at takes those that stand at a pointer or below.
func (p *places) at(pointer string) []api.FieldError {
	var out []api.FieldError
	for i, one := range p.list {
		if !p.shown[i] && (one.Pointer == pointer || strings.HasPrefix(one.Pointer, pointer+"/")) {
			p.shown[i] = true
			one.Detail = strings.TrimPrefix(one.Detail, one.Where+": ") // it is shown there
			out = append(out, one)
		}
	}
	return out
}

// about takes those at a pointer or below that begin with a name: of a field, or a column.
func (p *places) about(pointer, name string) []string {
	var out []string
	for i, one := range p.list {
		if p.shown[i] || !strings.HasPrefix(one.Pointer, pointer) {
			continue
		}
		for line := range strings.SplitSeq(one.Detail, "\n") {
			if rest, ok := strings.CutPrefix(line, name+": "); ok {
				p.shown[i] = true
				out = append(out, rest)
			} else if _, rest, ok := strings.Cut(line, ": "+name+": "); ok {
				p.shown[i] = true
				out = append(out, rest)
			}
		}
	}
	return out
}

func (p *places) rest() []api.FieldError {
	var out []api.FieldError
	for i, one := range p.list {
		if !p.shown[i] {
			out = append(out, one)
		}
	}
	return out
}

func (d *designerData) fill(c *catalogue, wrong *places) {
	e := d.Edit
	var first string
	if len(e.Triggers) > 0 {
		first = e.Triggers[0].EntityType
	}
	d.Columns = columnsOf(c.table(first))
	d.Insert = d.Columns
	for i, t := range e.Triggers {
		pointer := "#/triggers/" + strconv.Itoa(i)
		detail := c.table(t.EntityType)
		view := triggerView{docTrigger: t, EntityLabel: strings.TrimPrefix(t.EntityType, "public."), First: i == 0, Alone: len(e.Triggers) == 1, Columns: columnsOf(detail)}
		view.Operations = operationsOf(t.EntityType, detail)
		if name, ok := strings.CutPrefix(t.EntityType, workflow.DomainPrefix); ok {
			view.Domain = name
		} else if detail == nil && t.EntityType != "" {
			view.Missing = true
		}
		for j := range view.Columns {
			view.Columns[j].Checked = slices.Contains(e.columns[t.ID], view.Columns[j].Name)
			view.AnyColumns = view.AnyColumns || view.Columns[j].Checked
		}
		if detail != nil && detail.ReplicaIdentity != "full" {
			view.Warnings = detail.Warnings
		}
		view.Rule = c.rule(e.rules[triggerName(t.ID)], triggerName(t.ID), triggerName(t.ID), "", view.Columns, detail, wrong, pointer+"/field_conditions")
		view.Problems = wrong.at(pointer)
		d.Triggers = append(d.Triggers, view)
	}
	d.Only = c.only(e, e.Conditions, "#/conditions", d.Columns, c.table(first), wrong)
	d.settings()
	waits := e.waits()
	takers := 0
	for _, a := range e.Actions {
		if k := c.kinds[a.Type]; k != nil && k.Recipients {
			takers++
		}
	}
	d.Several, d.Takes = takers > 1, takers > 0
	for _, r := range e.Recipients {
		if r.ActionID == nil && d.Several {
			d.Shared = append(d.Shared, recipientView{r, d.Columns})
		}
	}
	for i, a := range e.Actions {
		pointer := "#/actions/" + strconv.Itoa(i)
		view := actionView{docAction: a, Number: i + 1, First: i == 0, Last: i == len(e.Actions)-1, After: waits[a.ID], Kind: c.kinds[a.Type]}
		view.Only = c.only(e, e.own[a.ID], pointer+"/action_config/"+workflow.OnlyIfKey, d.Columns, c.table(first), wrong)
		for j := range view.Only {
			view.Only[j].Own, view.Only[j].First = true, j == 0
		}
		if view.Kind != nil {
			view.Main, view.More = view.Kind.view("a."+formID(a.ID)+".c", a.Config)
			for _, list := range [][]fieldView{view.Main, view.More} {
				for j := range list {
					list[j].Problem = wrong.about(pointer, list[j].Key)
					for n, s := range list[j].Problem {
						if strings.HasPrefix(s, "it is missing") { // examples stand in the field
							list[j].Problem[n] = "this is needed"
						}
					}
				}
			}
		}
		for _, r := range e.Recipients {
			if view.Kind != nil && view.Kind.Recipients && (r.ActionID == nil && !d.Several || r.ActionID != nil && *r.ActionID == a.ID) {
				view.Recipients = append(view.Recipients, recipientView{r, d.Columns})
			}
		}
		view.Problems = wrong.at(pointer)
		d.Actions = append(d.Actions, view)
	}
	d.Problems = wrong.rest()
}

// only makes what a form shows of conditions, which stand in the document below a pointer.
func (c *catalogue) only(e *edit, list []docCondition, pointer string, columns []columnView, t *api.TableDetail, wrong *places) []onlyView {
	var views []onlyView
	n := 0 // of those that the document has
	for _, cond := range list {
		at := pointer + "/" + strconv.Itoa(n)
		if cond.counts() {
			n++
		} else {
			at = "#/-" // nothing is wrong with it yet
		}
		view := onlyView{docCondition: cond}
		switch times, w := timedOf(cond.Config), makersOf(cond.Config); {
		case cond.Type == "field_value":
			view.Rule = c.rule(e.rules[conditionName(cond.ID)], conditionName(cond.ID), conditionName(cond.ID), "", columns, t, wrong, at+"/condition_config")
		case cond.Type == "time_based" && times != nil:
			view.Time = times
			for _, day := range days {
				view.Days = append(view.Days, columnView{Name: day.Value, Title: day.Text, Checked: len(times.Days) == 0 || slices.Contains(times.Days, day.Value)})
			}
		case cond.Type == "role_based" && w != nil:
			view.Who = w
		default:
			view.Chip = string(cond.Config)
			var x struct{ Expression string }
			if cond.Type == "expression" && json.Unmarshal(cond.Config, &x) == nil {
				view.Chip, view.Code = x.Expression, true
			}
		}
		view.Problems = wrong.at(at)
		views = append(views, view)
	}
	return views
}

func (d *designerData) settings() {
	var s struct {
		Firing       string
		Storm        json.RawMessage
		Critical     bool
		Exclude      []json.RawMessage
		Owners       []string
		Zone, Locale string
	}
	_ = json.Unmarshal(d.Edit.Settings, &s) // what is wrong with it the check says
	d.Firing, d.Critical, d.Owners, d.Zone, d.Locale = cmp.Or(s.Firing, string(workflow.Every)), s.Critical, strings.Join(s.Owners, ", "), s.Zone, s.Locale
	d.NotActor = slices.ContainsFunc(s.Exclude, func(raw json.RawMessage) bool { return string(raw) == `"actor"` })
	switch {
	case s.Storm == nil || string(s.Storm) == "null":
		d.Storm = "default"
	case string(s.Storm) == `"off"`:
		d.Storm = "off"
	case isNumber(string(s.Storm)):
		d.Storm, d.StormN = "set", string(s.Storm)
	default:
		d.Storm = "other"
	}
}

// humane is a name of the database's for people: due_date is Due date.
func humane(name string) string {
	name = name[strings.LastIndexByte(name, '.')+1:]
	s := strings.TrimSpace(strings.ReplaceAll(name, "_", " "))
	if s == "" {
		return name
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func columnsOf(t *api.TableDetail) []columnView {
	if t == nil {
		return nil
	}
	var list []columnView
	for _, c := range t.Columns {
		if c.Name == t.TenantColumn {
			continue // a workflow is of one tenant
		}
		list = append(list, columnView{Name: c.Name, Title: humane(c.Name), Comment: c.Comment, Kind: kindOf(c.Type), Samples: c.Samples, NoOld: !c.Identity})
	}
	return list
}

func operationsOf(entity string, t *api.TableDetail) []choice {
	if strings.HasPrefix(entity, workflow.DomainPrefix) {
		return pick("create", "happens")
	}
	all := pick("create", "is created", "update", "is changed", "delete", "is deleted")
	if t == nil {
		return all
	}
	return slices.DeleteFunc(all, func(c choice) bool { return !slices.Contains(t.Operations, c.Value) })
}

// rule makes what a form shows of a group.
func (c *catalogue) rule(g *group, id, name, path string, columns []columnView, t *api.TableDetail, wrong *places, pointer string) *ruleView {
	if g == nil {
		g = &group{Join: "all"}
	}
	view := &ruleView{ID: id, Path: path, Name: name, Join: g.Join, Root: path == ""}
	for i, it := range g.Items {
		n := strconv.Itoa(i)
		one := ruleItem{Index: n, Name: name + "." + n, Path: strings.TrimPrefix(path+"."+n, "."), ID: id}
		switch {
		case it.Raw != nil:
			one.Raw = string(it.Raw)
		case it.Group != nil:
			one.Group = c.rule(it.Group, id, one.Name, one.Path, columns, t, wrong, pointer)
		default:
			one.Clause = clauseOf(it.Clause, one.Name, columns, t)
			if col := it.Clause.Column; col != "" {
				one.Clause.Problems = wrong.at(pointer + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(col))
				for _, s := range wrong.about(pointer, col) {
					one.Clause.Problems = append(one.Clause.Problems, api.FieldError{Detail: s})
				}
			}
		}
		view.Items = append(view.Items, one)
	}
	return view
}

func clauseOf(cl *clause, name string, columns []columnView, t *api.TableDetail) *clauseView {
	view := &clauseView{clause: cl, Columns: columns, Incomplete: !cl.complete(), Input: "text"}
	var operators []string
	kind := ""
	if t != nil {
		i := slices.IndexFunc(t.Columns, func(c api.ColumnOut) bool { return c.Name == cl.Column })
		if i >= 0 {
			operators, kind, view.Samples = t.Columns[i].Operators, kindOf(t.Columns[i].Type), t.Columns[i].Samples
		}
		view.Unknown = i < 0 && cl.Column != ""
	}
	for _, o := range operatorTexts {
		own := o.Value
		if own == "unchanged" {
			own = "changed"
		}
		if operators == nil && (cl.Column == "" && o.Value == "eq" || t == nil || view.Unknown) || slices.Contains(operators, own) || o.Value == cl.Op {
			view.Operators = append(view.Operators, choice{o.Value, operatorText(o.Value, kind)})
		}
	}
	switch kind {
	case "bool":
		view.Input = "bool"
	case "date":
		view.Input = "date"
	}
	values := slices.Clone(cl.Values)
	if valuesOf(cl.Op) == many {
		values = append(values, "") // room for another
	}
	if valuesOf(cl.Op) == 1 && len(values) == 0 {
		values = []string{""}
	}
	for i, value := range values {
		label := "Value"
		switch {
		case valuesOf(cl.Op) == 2:
			label = []string{"From", "To"}[min(i, 1)]
		case valuesOf(cl.Op) == many && value == "":
			label = "Another value"
		}
		view.Inputs = append(view.Inputs, inputView{name + ".val." + strconv.Itoa(i), value, label})
	}
	return view
}

// saveDesign takes over the form, keeps it as the draft, and shows it again.
func saveDesign(v *visit) (*page, error) {
	id := v.r.PathValue("id")
	if err := v.r.ParseForm(); err != nil {
		return nil, &api.Problem{Status: http.StatusBadRequest, Detail: "the form can't be read"}
	}
	f := fields(v.r.PostForm)
	d := &document{}
	if err := json.Unmarshal([]byte(f.get("document")), d); err != nil {
		return nil, &api.Problem{Status: http.StatusBadRequest, Detail: "the form is not whole", Mend: "open the page again"}
	}
	c, err := v.catalogue()
	if err != nil {
		return nil, err
	}
	e := editOf(d)
	if f.get("do") != "restore" {
		e.read(f, c.types, c.kinds)
	} else {
		e.tidy()
	}
	a, err := v.send(http.MethodPut, at("/workflows/%s/draft", id), nil, jsonText(e.whole()), map[string]string{"Content-Type": "application/json", "If-Match": f.get("etag")})
	var refused *api.Problem
	if err != nil && (!errors.As(err, &refused) || refused.Status != http.StatusConflict && refused.Status != http.StatusPreconditionFailed && refused.Status != http.StatusUnprocessableEntity) {
		return nil, err
	}
	var l *loaded
	if refused == nil {
		l, err = loadedOf(a)
		if err != nil {
			return nil, err
		}
		e.take(l.document)
	} else {
		if l, err = v.load(id); err != nil {
			return nil, err
		}
		l.ETag = f.get("etag") // of what this form was made from
	}
	if v.r.Header.Get("HX-Request") != "true" && refused == nil {
		if to := f.get("do"); to == "try" || to == "publish" {
			return redirect(at("/workflows/%s/"+to, id), ""), nil
		}
		return redirect(at("/workflows/%s/edit", id), "saved"), nil
	}
	return v.designer(l, e, c, refused)
}

// take makes the document the one that was stored, where it holds the same parts: secrets stand
// in it by reference only.
func (e *edit) take(stored *document) {
	configs := make(map[string]json.RawMessage)
	for _, a := range stored.Actions {
		configs[a.ID] = a.Config
	}
	for i := range e.Actions {
		a := &e.Actions[i]
		config := configs[a.ID]
		if config == nil {
			continue
		}
		if m, _ := readMembers(config); e.own[a.ID] != nil && m.get(workflow.OnlyIfKey) != nil {
			m.set(workflow.OnlyIfKey, nil) // the form has it, with what isn't complete
			config = m.raw()
		}
		a.Config = config
	}
}

func discardDraft(v *visit) (*page, error) {
	id := v.r.PathValue("id")
	if err := v.call(http.MethodDelete, at("/workflows/%s/draft", id), nil, nil, nil); err != nil {
		return nil, err
	}
	return redirect(at("/workflows/%s", id), "discarded"), nil
}

// draftQuery says whether what is tried is the draft.
func (l *loaded) draftQuery() url.Values {
	if l.Draft != nil {
		return url.Values{"draft": {"true"}}
	}
	return nil
}
