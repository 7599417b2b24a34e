package ui

import (
	"cmp"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/rowbell/rowbell/engine/sentence"
	"github.com/rowbell/rowbell/examples"
	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/workflow"
)

var galleryRoutes = []route{
	{"GET /gallery", access.WorkflowRead, showGallery},
	{"GET /gallery/{name}", access.WorkflowWrite, showExample},
	{"POST /gallery/{name}", access.WorkflowWrite, useExample},
}

// example is a workflow to begin with.
type example struct {
	Name     string // large-order
	Title    string
	Help     string
	Sentence string
	Kinds    []string
	Needs    []need // tables that it is about
	Literals []literal
	Domain   bool
	workflow *workflow.Workflow
}

// need is a table that an example is about, with the columns that it reads.
type need struct {
	Table   string
	Columns []string
}

// gallery reads the examples. One that can't be read is a mistake in the program.
var gallery = sync.OnceValue(func() []*example {
	var list []*example
	for _, d := range examples.Documents() {
		if strings.Contains(string(d.YAML), "\ntemplate: ") {
			continue // a stored template
		}
		doc, err := definition.Read(d.Name+".yaml", d.YAML)
		if err != nil {
			panic("example " + d.Name + ": " + err.Error())
		}
		w := &doc.Workflow
		e := &example{Name: d.Name, Title: w.Name, Help: w.Description, Sentence: generally(w), workflow: w}
		for _, a := range w.Actions {
			e.Kinds = append(e.Kinds, a.Type)
		}
		e.needs()
		if len(e.Needs) > 0 {
			e.findLiterals()
		}
		list = append(list, e)
	}
	return list
})

// generally restates an example without the names and addresses of the shop's.
func generally(w *workflow.Workflow) string {
	of, somebody := *w, "somebody"
	of.TenantID, of.Recipients = &somebody, nil
	for _, r := range w.Recipients {
		if r.Type == "user" {
			r.Value = somebody
		}
		if !slices.ContainsFunc(of.Recipients, func(other workflow.Recipient) bool { return other.Type == r.Type && other.Value == r.Value }) {
			of.Recipients = append(of.Recipients, r)
		}
	}
	return strings.ReplaceAll(sentence.Of(&of), "127.0.0.1:8000", "your system")
}

// columnUses are columns in texts and expressions.
var columnUses = regexp.MustCompile(`\b(new|old|changed|row)\.([a-z_][a-z0-9_]*)|\bchanged\("([a-z_][a-z0-9_]*)"\)`)

// needs finds the tables and columns that an example is about. All of its triggers are on one.
func (e *example) needs() {
	w := e.workflow
	var columns []string
	add := func(c string) {
		if c != "" && c != "tenant_id" && !slices.Contains(columns, c) {
			columns = append(columns, c)
		}
	}
	uses := func(raw json.RawMessage) {
		for _, m := range columnUses.FindAllStringSubmatch(strings.ReplaceAll(string(raw), `\"`, `"`), -1) {
			add(m[2] + m[3])
		}
	}
	for _, t := range w.Triggers {
		e.Domain = e.Domain || t.Domain()
		renameKeys(t.FieldConditions, func(c string) string { add(c); return c })
	}
	conditions := slices.Clone(w.Conditions)
	for _, a := range w.Actions {
		own, _ := a.OnlyIf() // the examples are in order
		conditions = append(conditions, own...)
	}
	for _, c := range conditions {
		switch c.Type {
		case "field_value":
			renameKeys(c.Config, func(c string) string { add(c); return c })
		case "time_based":
			var x struct{ Column string }
			_ = json.Unmarshal(c.Config, &x) // it was read before
			add(x.Column)
		case "expression":
			uses(c.Config)
		}
	}
	for _, a := range w.Actions {
		uses(a.Config)
	}
	for _, r := range w.Recipients {
		if r.Type == "attribute" {
			add(r.Value)
		}
	}
	if len(w.Triggers) > 0 && !e.Domain {
		e.Needs = []need{{w.Triggers[0].EntityLabel(), columns}}
	}
}

// renameKeys writes a field condition with other names of columns.
func renameKeys(raw json.RawMessage, name func(string) string) json.RawMessage {
	m, ok := readMembers(raw)
	if !ok {
		return raw
	}
	for i := range m {
		switch m[i].key {
		case "any", "all":
			var list []json.RawMessage
			if json.Unmarshal(m[i].value, &list) != nil {
				continue
			}
			for j := range list {
				list[j] = renameKeys(list[j], name)
			}
			m[i].value = jsonText(list)
		case "not":
			m[i].value = renameKeys(m[i].value, name)
		case "any_changed":
			var list []string
			_ = json.Unmarshal(m[i].value, &list) // the examples have lists
			for j := range list {
				list[j] = name(list[j])
			}
			m[i].value = jsonText(list)
		default:
			m[i].key = name(m[i].key)
		}
	}
	return m.raw()
}

// mapping is what somebody has chosen in the place of an example's tables and columns.
type mapping struct {
	Tables  map[string]string
	Columns map[string]map[string]string
	Values  map[int]string    // of the example's literals
	Kinds   map[string]string // of the columns that were chosen, by the example's names
	Name    string
	To      []recipientChoice
	URL     string
}

type recipientChoice struct{ Type, Value string }

// mapped is an example for other tables: without its tests, whose rows are the shop's, and
// without addresses and secrets of the shop's.
func (e *example) mapped(m *mapping) *document {
	w := e.workflow
	table := ""
	if len(e.Needs) > 0 {
		table = e.Needs[0].Table
	}
	column := func(c string) string {
		if to := m.Columns[table][c]; to != "" {
			return to
		}
		return c
	}
	value := m.chosen(e)
	texts := func(raw json.RawMessage) json.RawMessage {
		return json.RawMessage(columnUses.ReplaceAllStringFunc(string(raw), func(s string) string {
			if of, c, ok := strings.Cut(s, "."); ok {
				return of + "." + column(c)
			}
			c := strings.TrimSuffix(strings.TrimPrefix(s, `changed("`), `")`)
			return `changed("` + column(c) + `")`
		}))
	}
	d := &document{Name: w.Name, Description: w.Description, Settings: json.RawMessage("{}")}
	if m.Name != "" {
		d.Name = m.Name
	}
	settings, _ := readMembers(w.Settings)
	for _, key := range []string{workflow.TestsKey, "owners", "retry"} {
		settings.set(key, nil)
	}
	d.Settings = settings.raw()
	for _, t := range w.Triggers {
		entity := t.EntityType
		if to := m.Tables[t.EntityLabel()]; to != "" {
			entity = to
		}
		d.Triggers = append(d.Triggers, docTrigger{newID(), entity, t.Operation, renameKeys(rewriteValues(t.FieldConditions, value), column), t.Priority})
	}
	condition := func(c workflow.Condition) json.RawMessage {
		config := c.Config
		switch c.Type {
		case "field_value":
			config = renameKeys(rewriteValues(config, value), column)
		case "time_based":
			o, _ := readMembers(config)
			var of string
			if json.Unmarshal(o.get("column"), &of) == nil && of != "" {
				o.set("column", jsonText(column(of)))
			}
			config = o.raw()
		case "expression":
			var x struct{ Expression string }
			if json.Unmarshal(config, &x) == nil {
				config = jsonText(map[string]string{"expression": string(texts(json.RawMessage(rewriteExpression(x.Expression, value))))})
			}
		}
		return config
	}
	for _, c := range w.Conditions {
		d.Conditions = append(d.Conditions, docCondition{newID(), c.Type, condition(c)})
	}
	for _, a := range w.Actions {
		o, _ := readMembers(texts(a.Config))
		for _, key := range []string{"secret", "retry", "button", "from_name"} {
			o.set(key, nil)
		}
		if o.get("url") != nil {
			o.set("url", nil)
			if m.URL != "" {
				o.set("url", jsonText(m.URL))
			}
		}
		for i := range o {
			o[i].value = json.RawMessage(footers.ReplaceAllString(string(o[i].value), ""))
		}
		if own, _ := a.OnlyIf(); own != nil {
			list := make([]members, len(own))
			raws := make([]json.RawMessage, len(own))
			for i, c := range own {
				list[i].set("condition_type", jsonText(c.Type))
				list[i].set("condition_config", condition(c))
				raws[i] = list[i].raw()
			}
			o.set(workflow.OnlyIfKey, jsonText(raws))
		}
		d.Actions = append(d.Actions, docAction{newID(), a.Type, o.raw(), a.Order})
	}
	if len(m.To) > 0 {
		for _, to := range m.To {
			if to.Value != "" {
				d.Recipients = append(d.Recipients, docRecipient{ID: newID(), Type: to.Type, Value: to.Value})
			}
		}
		return d
	}
	for _, r := range w.Recipients {
		value := r.Value
		if r.Type == "attribute" {
			value = column(value)
		}
		d.Recipients = append(d.Recipients, docRecipient{ID: newID(), Type: r.Type, Value: value})
	}
	return d
}

// footers are stored templates of the shop's.
var footers = regexp.MustCompile(`(\\n)*\{% render '[a-z-]+' %\}`)

func showGallery(v *visit) (*page, error) {
	return &page{template: "gallery", title: "Gallery", nav: "gallery", data: gallery()}, nil
}

// exampleData is the wizard of one example.
type exampleData struct {
	*example
	Tables   []api.TableOut
	Table    string
	Columns  []exampleColumn
	Offered  []columnView
	Title    string // what it is to be called
	Original string // what the example is called
	Addressy bool   // somebody is told
	To       recipientChoice
	URL      bool
	URLValue string
	Missing  int
	Values   []exampleValue
}

type exampleColumn struct{ Name, Title, Chosen string }

func findExample(v *visit) (*example, error) {
	name := v.r.PathValue("name")
	for _, e := range gallery() {
		if e.Name == name {
			return e, nil
		}
	}
	return nil, notFound("there is no example %s", name)
}

func showExample(v *visit) (*page, error) {
	e, err := findExample(v)
	if err != nil {
		return nil, err
	}
	d := &exampleData{example: e, Title: e.Title, Original: e.Title, Table: v.query("table"), URLValue: v.query("url")}
	if v.query("name") != "" {
		d.Title = v.query("name")
	}
	if d.Tables, err = v.tables(); err != nil {
		return nil, err
	}
	if err := d.guess(v); err != nil {
		return nil, err
	}
	return &page{template: "example", title: e.Title, nav: "gallery", data: d}, nil
}

// guess chooses what is likely meant, by names.
func (d *exampleData) guess(v *visit) error {
	c := &catalogue{v: v, detail: make(map[string]*api.TableDetail)}
	if len(d.Needs) > 0 {
		of := d.Needs[0]
		if d.Table == "" {
			best := -1.0
			for _, t := range d.Tables {
				detail := c.table(t.Label)
				if detail == nil {
					continue
				}
				score := 2 * alike(of.Table, t.Name)
				names := columnNames(columnsOf(detail))
				for _, col := range of.Columns {
					if nearest(col, names) != "" {
						score += 1 / float64(len(of.Columns))
					}
				}
				if score > best {
					best, d.Table = score, t.Label
				}
			}
		}
		d.Offered = columnsOf(c.table(d.Table))
		names := columnNames(d.Offered)
		for _, col := range of.Columns {
			one := exampleColumn{Name: col, Title: humane(col), Chosen: nearest(col, names)}
			if asked := v.query("column." + col); asked != "" && slices.Contains(names, asked) {
				one.Chosen = asked
			}
			if one.Chosen == "" {
				d.Missing++
			}
			d.Columns = append(d.Columns, one)
		}
		d.offer(v)
	}
	for _, a := range d.workflow.Actions {
		d.URL = d.URL || a.Type == "webhook"
	}
	if list := d.workflow.Recipients; len(list) > 0 {
		d.Addressy = true
		d.To = recipientChoice{list[0].Type, list[0].Value}
		switch list[0].Type {
		case "attribute":
			d.To.Value = nearest(list[0].Value, columnNames(d.Offered))
		case "user":
			d.To.Value = ""
		}
	}
	if s := v.query("to_type"); s != "" {
		d.To.Type, d.To.Value = s, v.query("to")
	}
	return nil
}

func columnNames(list []columnView) []string {
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = c.Name
	}
	return names
}

func useExample(v *visit) (*page, error) {
	e, err := findExample(v)
	if err != nil {
		return nil, err
	}
	m := &mapping{Values: make(map[int]string), Kinds: make(map[string]string), Name: strings.TrimSpace(v.form("name")), URL: strings.TrimSpace(v.form("url")), Tables: make(map[string]string), Columns: make(map[string]map[string]string)}
	for _, of := range e.Needs {
		m.Tables[of.Table] = v.form("table")
		m.Columns[of.Table] = make(map[string]string)
		for _, c := range of.Columns {
			m.Columns[of.Table][c] = v.form("column." + c)
		}
	}
	for i := range e.Literals {
		m.Values[i] = strings.TrimSpace(v.form(valueName(i)))
	}
	if len(e.Literals) > 0 { // whether a value is a number says the column that it is compared with
		of := e.Needs[0].Table
		c := &catalogue{v: v, detail: make(map[string]*api.TableDetail)}
		for _, col := range columnsOf(c.table(cmp.Or(m.Tables[of], of))) {
			for _, l := range e.Literals {
				if col.Name == cmp.Or(m.Columns[of][l.Column], l.Column) {
					m.Kinds[l.Column] = col.Kind
				}
			}
		}
	}
	if kind := v.form("to_type"); kind != "" {
		to := recipientChoice{kind, strings.TrimSpace(v.form("to"))}
		if kind == "attribute" {
			to.Value = v.form("to_column")
		}
		m.To = []recipientChoice{to}
	}
	var made api.WorkflowOut
	if err := v.call(http.MethodPost, "/workflows", nil, e.mapped(m), &made); err != nil {
		return nil, err
	}
	return redirect(at("/workflows/%s/edit", made.ID), "mapped"), nil
}

// synonyms are words that columns of one meaning are called by.
var synonyms = [][]string{
	{"status", "state", "stage", "phase"},
	{"total", "amount", "sum", "price", "value", "gross", "grand_total"},
	{"due_on", "due_date", "due", "due_at", "deadline", "payable_by"},
	{"account_manager", "owner", "owner_id", "manager", "assignee", "responsible", "account_manager_id"},
	{"name", "title", "customer_name", "full_name", "customer"},
	{"email", "mail", "email_address", "contact_email"},
	{"city", "town"},
	{"credit_limit", "credit", "limit"},
	{"id", "uuid", "number", "no"},
	{"orders", "order", "sales_orders", "purchases", "sales"},
	{"invoices", "invoice", "bills", "billing"},
	{"customers", "customer", "clients", "accounts", "contacts"},
}

// alike says how much two names are alike, from 0 to 1.
func alike(a, b string) float64 {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if a == b {
		return 1
	}
	for _, group := range synonyms {
		i, j := slices.Index(group, a), slices.Index(group, b)
		if i >= 0 && j >= 0 {
			return .9 - float64(max(i, j))*.02
		}
	}
	// Words that both have.
	as, bs := strings.Split(a, "_"), strings.Split(b, "_")
	both := 0
	for _, w := range as {
		if slices.Contains(bs, w) && w != "id" {
			both++
		}
	}
	return .8 * float64(both) / float64(max(len(as), len(bs)))
}

// nearest is the name that is most like another; "" if none is.
func nearest(name string, list []string) string {
	best, found := .35, ""
	for _, each := range list {
		if s := alike(name, each); s > best {
			best, found = s, each
		}
	}
	return found
}
