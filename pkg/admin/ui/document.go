package ui

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// document is a workflow as the API takes it. All its parts have ids, by which a form's fields
// find them.
type document struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Settings    json.RawMessage `json:"settings,omitempty"`
	Triggers    []docTrigger    `json:"triggers"`
	Conditions  []docCondition  `json:"conditions,omitempty"`
	Actions     []docAction     `json:"actions"`
	Recipients  []docRecipient  `json:"recipients,omitempty"`
}

type docTrigger struct {
	ID         string          `json:"id"`
	EntityType string          `json:"entity_type"`
	Operation  string          `json:"operation"`
	Conditions json.RawMessage `json:"field_conditions"`
	Priority   int32           `json:"priority"`
}

type docCondition struct {
	ID     string          `json:"id"`
	Type   string          `json:"condition_type"`
	Config json.RawMessage `json:"condition_config"`
}

type docAction struct {
	ID     string          `json:"id"`
	Type   string          `json:"action_type"`
	Config json.RawMessage `json:"action_config"`
	Order  int32           `json:"order"`
}

type docRecipient struct {
	ID       string  `json:"id"`
	ActionID *string `json:"action_id,omitempty"`
	Type     string  `json:"recipient_type"`
	Value    string  `json:"recipient_id"`
}

func newID() string { return strings.ToLower(ulid.Make().String()) }

// documentOf is a document as the API answered it.
func documentOf(o *api.DocumentOut) *document {
	d := &document{Name: o.Name, Description: o.Description, Settings: json.RawMessage(o.Settings)}
	for _, t := range o.Triggers {
		d.Triggers = append(d.Triggers, docTrigger{cmp.Or(t.ID, newID()), t.EntityType, t.Operation, json.RawMessage(t.FieldConditions), t.Priority})
	}
	for _, c := range o.Conditions {
		d.Conditions = append(d.Conditions, docCondition{cmp.Or(c.ID, newID()), c.Type, json.RawMessage(c.Config)})
	}
	for _, a := range o.Actions {
		d.Actions = append(d.Actions, docAction{cmp.Or(a.ID, newID()), a.Type, json.RawMessage(a.Config), a.Order})
	}
	for _, r := range o.Recipients {
		d.Recipients = append(d.Recipients, docRecipient{cmp.Or(r.ID, newID()), r.ActionID, r.Type, r.Value})
	}
	d.sort()
	return d
}

// sort puts actions in the order in which they run.
func (d *document) sort() {
	slices.SortStableFunc(d.Actions, func(a, b docAction) int { return cmp.Compare(a.Order, b.Order) })
}

// edit is a document as a form shows it: conditions are trees, which may have clauses that
// aren't complete.
type edit struct {
	*document
	rules map[string]*group // field conditions of triggers, and those of conditions, by what the form calls them
	// columns are, by triggers, those of which one must have changed.
	columns map[string][]string
	// own are the conditions of actions, by the actions' ids. They stand in no action_config here.
	// All have ids that the form gave them, since nothing makes the document's own ones differ
	// from each other, or from those of the workflow's parts.
	own map[string][]docCondition
	// called are the ids that these have in the document, by those that they have here; "": none.
	called map[string]string
}

// formKey is what the form writes as the id of an action's condition, to find it again: an id
// of the form's own, and after a space the document's, if it has one.
var formKey = regexp.MustCompile(`(?s)^(~[0-9a-z]{26})(?: (.+))?$`)

// formID writes the id of a part for names of the form's, and for what its buttons ask: a dot and
// a space mean something there, and ids may have them.
func formID(id string) string {
	var b strings.Builder
	for i := range len(id) {
		if c := id[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("~_-", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02x", c)
		}
	}
	return b.String()
}

var formEscape = regexp.MustCompile(`=[0-9a-f]{2}`)

// idOf reads what formID has written.
func idOf(text string) string {
	return formEscape.ReplaceAllStringFunc(text, func(s string) string {
		n, _ := strconv.ParseUint(s[1:], 16, 8) // two digits
		return string([]byte{byte(n)})
	})
}

// triggerName and conditionName are what the form calls these parts.
func triggerName(id string) string   { return "t." + formID(id) }
func conditionName(id string) string { return "c." + formID(id) }

func newFormKey() string { return "~" + newID() }

// editOf makes a form's state of a document.
func editOf(d *document) *edit {
	e := &edit{document: d, rules: make(map[string]*group), columns: make(map[string][]string), own: make(map[string][]docCondition), called: make(map[string]string)}
	for _, t := range d.Triggers {
		m, ok := readMembers(t.Conditions)
		var columns []string
		if ok && t.Operation == "update" && json.Unmarshal(m.get("any_changed"), &columns) == nil {
			e.columns[t.ID] = columns
			m.set("any_changed", nil)
			e.rules[triggerName(t.ID)] = readRule(m.raw())
			continue
		}
		e.rules[triggerName(t.ID)] = readRule(t.Conditions)
	}
	for i := range d.Conditions {
		e.open(&d.Conditions[i])
	}
	for i := range d.Actions {
		e.takeOwn(&d.Actions[i])
	}
	return e
}

// open makes a tree of a condition that a form can show as one.
func (e *edit) open(c *docCondition) {
	if c.Type == "expression" { // one that a form has written is that form again
		var config struct {
			Expression string `json:"expression"`
		}
		if json.Unmarshal(c.Config, &config) == nil {
			if kind, form, ok := condition.FromExpression(config.Expression); ok && kind == "field_value" {
				c.Type, c.Config = kind, form
			}
		}
	}
	if c.Type == "field_value" {
		e.rules[conditionName(c.ID)] = readRule(c.Config)
	}
}

// takeOwn takes an action's conditions out of its configuration. What is no list of them stays
// there: the check says what is wrong with it.
func (e *edit) takeOwn(a *docAction) {
	m, _ := readMembers(a.Config)
	list, err := workflow.ParseOnlyIf(m.get(workflow.OnlyIfKey))
	if err != nil || m.get(workflow.OnlyIfKey) == nil {
		return
	}
	m.set(workflow.OnlyIfKey, nil)
	a.Config = m.raw()
	e.own[a.ID] = nil
	for _, c := range list {
		key, name := newFormKey(), c.ID
		if parts := formKey.FindStringSubmatch(c.ID); parts != nil {
			name = parts[2]
			if _, taken := e.called[parts[1]]; !taken {
				key = parts[1]
			}
		}
		e.called[key] = name
		one := docCondition{key, c.Type, c.Config}
		e.open(&one)
		e.own[a.ID] = append(e.own[a.ID], one)
	}
}

// withOwn is a configuration with the action's conditions, by the form's ids; or, as the document
// has it, with those that are complete, by its own ids.
func (e *edit) withOwn(a docAction, complete bool) json.RawMessage {
	var list []members
	for _, c := range e.own[a.ID] {
		if complete && !c.counts() {
			continue
		}
		var m members
		name := e.called[c.ID]
		switch {
		case !complete && name != "":
			m.set("id", jsonText(c.ID+" "+name))
		case !complete:
			m.set("id", jsonText(c.ID))
		case name != "":
			m.set("id", jsonText(name))
		}
		m.set("condition_type", jsonText(c.Type))
		m.set("condition_config", c.Config)
		list = append(list, m)
	}
	if list == nil {
		return a.Config
	}
	raws := make([]json.RawMessage, len(list))
	for i := range list {
		raws[i] = list[i].raw()
	}
	m, _ := readMembers(a.Config)
	m.set(workflow.OnlyIfKey, jsonText(raws))
	return m.raw()
}

// counts says that a condition asks for something.
func (c *docCondition) counts() bool {
	return c.Type != "field_value" && c.Type != "role_based" || string(c.Config) != "{}"
}

// read takes over what a form sent, and does what its button asks.
func (e *edit) read(f fields, types func(table string) map[string]string, kinds map[string]*kind) {
	if f.has("name") {
		e.Name, e.Description = strings.TrimSpace(f.get("name")), strings.TrimSpace(f.get("description"))
	}
	for i := range e.Triggers {
		t := &e.Triggers[i]
		at := triggerName(t.ID)
		if f.has(at + ".table") {
			t.EntityType = f.get(at + ".table")
		}
		if f.has(at + ".operation") {
			t.Operation = f.get(at + ".operation")
		}
		if f.has(at + ".shown") {
			e.columns[t.ID] = f[at+".changed"]
		}
		if g := f.rule(at, 0); g != nil {
			e.rules[triggerName(t.ID)] = g
		}
	}
	for c := range e.all {
		e.readCondition(f, c)
	}
	e.readSettings(f)
	e.readActions(f, kinds)
	for i := range e.Recipients {
		r := &e.Recipients[i]
		if at := "r." + formID(r.ID); f.has(at + ".type") {
			if kind := f.get(at + ".type"); kind != r.Type {
				r.Type, r.Value = kind, ""
			} else {
				r.Value = strings.TrimSpace(f.get(at + ".value"))
			}
		}
	}
	verb, what, _ := strings.Cut(f.get("do"), " ")
	e.do(verb, what)
	e.write(types)
}

// all are the conditions of the workflow and those of its actions.
func (e *edit) all(yield func(*docCondition) bool) {
	for i := range e.Conditions {
		if !yield(&e.Conditions[i]) {
			return
		}
	}
	for _, a := range e.Actions {
		for i := range e.own[a.ID] {
			if !yield(&e.own[a.ID][i]) {
				return
			}
		}
	}
}

func (e *edit) readCondition(f fields, c *docCondition) {
	at := conditionName(c.ID)
	if g := f.rule(at, 0); g != nil && c.Type == "field_value" {
		e.rules[conditionName(c.ID)] = g
	}
	if !f.has(at + ".shown") {
		return
	}
	switch c.Type {
	case "time_based":
		c.Config = readTimed(f, at, c.Config)
	case "role_based":
		c.Config = readMakers(f, at, c.Config)
	}
}

// write puts the trees into the document.
func (e *edit) write(types func(table string) map[string]string) {
	var first map[string]string
	for i := range e.Triggers {
		t := &e.Triggers[i]
		of := types(t.EntityType)
		if first == nil {
			first = of
		}
		rule := e.rules[triggerName(t.ID)]
		if rule == nil {
			rule = &group{Join: "all"}
		}
		t.Conditions = rule.json(of)
		if columns := e.columns[t.ID]; t.Operation == "update" && len(columns) > 0 {
			m, _ := readMembers(t.Conditions)
			t.Conditions = append(members{{"any_changed", jsonText(columns)}}, m...).raw()
		}
	}
	for c := range e.all {
		if c.Type == "field_value" && e.rules[conditionName(c.ID)] != nil {
			c.Config = e.rules[conditionName(c.ID)].json(first)
		}
	}
}

func (e *edit) readSettings(f fields) {
	if !f.has("firing") {
		return
	}
	m, _ := readMembers(e.Settings)
	set := func(key, value string) {
		if value == "" {
			m.set(key, nil)
			return
		}
		m.set(key, jsonText(value))
	}
	if firing := f.get("firing"); firing == string(workflow.Every) {
		m.set("firing", nil)
	} else {
		set("firing", firing)
	}
	if f.has("storm") {
		switch s := f.get("storm"); s {
		case "default":
			m.set("storm", nil)
		case "off":
			m.set("storm", jsonText("off"))
		case "set":
			n := strings.TrimSpace(f.get("storm_number"))
			if isNumber(n) {
				m.set("storm", json.RawMessage(n))
			} else if m.get("storm") == nil || m.get("storm")[0] == '"' {
				m.set("storm", json.RawMessage("1000"))
			}
		}
	}
	m.set("critical", nil)
	if f.has("critical") {
		m.set("critical", json.RawMessage("true"))
	}
	if f.has("exclude_shown") {
		var list []json.RawMessage
		_ = json.Unmarshal(m.get("exclude"), &list) // what is no list is wrong, and goes
		list = slices.DeleteFunc(list, func(raw json.RawMessage) bool { return string(raw) == `"actor"` })
		if f.has("exclude_actor") {
			list = append([]json.RawMessage{json.RawMessage(`"actor"`)}, list...)
		}
		m.set("exclude", nil)
		if len(list) > 0 {
			m.set("exclude", jsonText(list))
		}
	}
	if f.has("owners") {
		m.set("owners", nil)
		if list := words(f.get("owners")); len(list) > 0 {
			m.set("owners", jsonText(list))
		}
	}
	for _, key := range []string{"zone", "locale"} {
		if f.has(key) {
			set(key, strings.TrimSpace(f.get(key)))
		}
	}
	e.Settings = m.raw()
}

// words are texts that stand there with commas between them.
func words(s string) []string {
	var list []string
	for each := range strings.SplitSeq(s, ",") {
		if each = strings.TrimSpace(each); each != "" {
			list = append(list, each)
		}
	}
	return list
}

func (e *edit) readActions(f fields, kinds map[string]*kind) {
	after := make(map[string]bool)
	for i := range e.Actions {
		a := &e.Actions[i]
		at := "a." + formID(a.ID)
		if !f.has(at + ".shown") {
			after[a.ID] = i > 0 && a.Order > e.Actions[i-1].Order
			continue
		}
		after[a.ID] = f.get(at+".after") == "after"
		if k := kinds[a.Type]; k != nil {
			a.Config = k.read(f, at+".c", a.Config)
		}
	}
	e.number(after)
}

// number gives actions their order: those that wait for the one before get a higher one. An order
// that says so already stays.
func (e *edit) number(after map[string]bool) {
	right := true
	for i := 1; i < len(e.Actions); i++ {
		a, b := e.Actions[i-1].Order, e.Actions[i].Order
		right = right && a <= b && (a < b) == after[e.Actions[i].ID]
	}
	if right {
		return
	}
	n := int32(0)
	for i := range e.Actions {
		if i > 0 && after[e.Actions[i].ID] {
			n++
		}
		e.Actions[i].Order = n
	}
}

// waits says of each action whether it waits for the one before.
func (e *edit) waits() map[string]bool {
	after := make(map[string]bool)
	for i := 1; i < len(e.Actions); i++ {
		after[e.Actions[i].ID] = e.Actions[i].Order > e.Actions[i-1].Order
	}
	return after
}

// do is what a button asks for: a verb and what it is about.
func (e *edit) do(verb, what string) {
	name, path, _ := strings.Cut(what, " ")
	id := idOf(name)
	switch verb {
	case "clause", "group":
		if e.rules[name] == nil {
			e.rules[name] = &group{Join: "all"}
		}
		g := e.rules[name].at(path)
		if g == nil {
			return
		}
		one := &item{Clause: &clause{Op: "eq", Values: []string{""}}}
		if verb == "group" {
			one = &item{Group: &group{Join: "any", Items: []*item{one, {Clause: &clause{Op: "eq", Values: []string{""}}}}}}
		}
		g.Items = append(g.Items, one)
	case "drop":
		if g := e.rules[name]; g != nil {
			g.remove(path)
			if of, is := strings.CutPrefix(name, "c."); is && len(g.Items) == 0 { // of an action nothing is left
				e.noOwn(idOf(of))
			}
		}
	case "trigger":
		t := docTrigger{ID: newID(), Operation: "create", Conditions: json.RawMessage("{}"), Priority: 100}
		if len(e.Triggers) > 0 {
			t.EntityType = e.Triggers[0].EntityType
		}
		e.Triggers = append(e.Triggers, t)
	case "no-trigger":
		if len(e.Triggers) > 1 {
			e.Triggers = slices.DeleteFunc(e.Triggers, func(t docTrigger) bool { return t.ID == id })
		}
	case "condition":
		c := docCondition{ID: newID(), Type: id, Config: json.RawMessage("{}")}
		if path != "" { // an action's own
			c.ID = newFormKey()
		}
		switch id {
		case "field_value":
			e.rules[conditionName(c.ID)] = &group{Join: "all", Items: []*item{{Clause: &clause{Op: "eq", Values: []string{""}}}}}
		case "time_based":
			c.Config = json.RawMessage(`{"zone":"UTC","days":["mon","tue","wed","thu","fri"]}`)
		case "role_based":
		default:
			return
		}
		if path != "" {
			e.own[idOf(path)] = append(e.own[idOf(path)], c)
			return
		}
		e.Conditions = append(e.Conditions, c)
	case "no-condition":
		e.Conditions = slices.DeleteFunc(e.Conditions, func(c docCondition) bool { return c.ID == id })
		e.noOwn(id)
	case "action":
		after := e.waits()
		e.Actions = append(e.Actions, docAction{ID: newID(), Type: id, Config: json.RawMessage("{}")})
		e.number(after)
	case "no-action":
		after := e.waits()
		e.Actions = slices.DeleteFunc(e.Actions, func(a docAction) bool { return a.ID == id })
		e.Recipients = slices.DeleteFunc(e.Recipients, func(r docRecipient) bool { return r.ActionID != nil && *r.ActionID == id })
		delete(e.own, id)
		e.number(after)
	case "up", "down":
		after := e.waits()
		i := slices.IndexFunc(e.Actions, func(a docAction) bool { return a.ID == id })
		j := i - 1
		if verb == "down" {
			j = i + 1
		}
		if i < 0 || j < 0 || j >= len(e.Actions) {
			return
		}
		e.Actions[i], e.Actions[j] = e.Actions[j], e.Actions[i]
		// What waits is the place, not the action.
		a, b := e.Actions[i].ID, e.Actions[j].ID
		after[a], after[b] = after[b], after[a]
		e.number(after)
	case "recipient":
		r := docRecipient{ID: newID(), Type: "user"}
		if id != "" {
			r.ActionID = &id
		}
		e.Recipients = append(e.Recipients, r)
	case "no-recipient":
		e.Recipients = slices.DeleteFunc(e.Recipients, func(r docRecipient) bool { return r.ID == id })
	}
}

// noOwn takes a condition of an action away.
func (e *edit) noOwn(id string) {
	for action := range e.own {
		e.own[action] = slices.DeleteFunc(e.own[action], func(c docCondition) bool { return c.ID == id })
	}
}

// tidy takes the conditions of actions away that nothing is known of but that they were begun.
func (e *edit) tidy() {
	for action := range e.own {
		e.own[action] = slices.DeleteFunc(e.own[action], func(c docCondition) bool { return c.Type == "field_value" && !c.counts() })
	}
}

// full is the document with all that the form shows, so that it can be read from there again.
func (e *edit) full() *document {
	d := *e.document
	d.Actions = slices.Clone(d.Actions)
	for i, a := range d.Actions {
		d.Actions[i].Config = e.withOwn(a, false)
	}
	return &d
}

// whole is the document without what isn't complete, as the API can read it.
func (e *edit) whole() *document {
	d := *e.document
	d.Actions = slices.Clone(d.Actions)
	for i, a := range d.Actions {
		d.Actions[i].Config = e.withOwn(a, true)
	}
	d.Recipients = slices.DeleteFunc(slices.Clone(d.Recipients), func(r docRecipient) bool { return r.Value == "" })
	d.Conditions = slices.DeleteFunc(slices.Clone(d.Conditions), func(c docCondition) bool { return !c.counts() })
	return &d
}

// Days as conditions name them.
var days = pick("mon", "Mon", "tue", "Tue", "wed", "Wed", "thu", "Thu", "fri", "Fri", "sat", "Sat", "sun", "Sun")

// timed is a time_based condition that the form can hold: days, and hours of one span.
type timed struct {
	Zone     string   `json:"zone,omitempty"`
	Days     []string `json:"days,omitempty"`
	From, To string   `json:"-"`
}

// timedOf reads such a condition; nil if it has anything else.
func timedOf(raw json.RawMessage) *timed {
	m, ok := readMembers(raw)
	if !ok {
		return nil
	}
	t := &timed{}
	for _, one := range m {
		switch one.key {
		case "zone", "days":
		case "hours":
			var hours struct{ From, To string }
			if json.Unmarshal(one.value, &hours) != nil {
				return nil
			}
			t.From, t.To = hours.From, hours.To
		default:
			return nil
		}
	}
	if json.Unmarshal(raw, t) != nil {
		return nil
	}
	return t
}

func readTimed(f fields, at string, before json.RawMessage) json.RawMessage {
	if timedOf(before) == nil {
		return before
	}
	var m members
	if zone := strings.TrimSpace(f.get(at + ".zone")); zone != "" {
		m.set("zone", jsonText(zone))
	}
	if list := f[at+".days"]; len(list) > 0 && len(list) < len(days) {
		m.set("days", jsonText(list))
	}
	if from, to := f.get(at+".from"), f.get(at+".to"); from != "" && to != "" {
		m.set("hours", members{{"from", jsonText(from)}, {"to", jsonText(to)}}.raw())
	}
	return m.raw()
}

// makers is a role_based condition that the form can hold: one of roles, or none of some.
type makers struct {
	Roles    []string `json:"roles,omitempty"`
	NotRoles []string `json:"not_roles,omitempty"`
}

// makersOf reads such a condition; nil if it has anything else.
func makersOf(raw json.RawMessage) *makers {
	m, ok := readMembers(raw)
	if !ok || slices.ContainsFunc(m, func(one member) bool { return one.key != "roles" && one.key != "not_roles" }) {
		return nil
	}
	w := &makers{}
	if json.Unmarshal(raw, w) != nil || slices.ContainsFunc(slices.Concat(w.Roles, w.NotRoles), func(s string) bool { return strings.Contains(s, ",") }) {
		return nil
	}
	return w
}

func readMakers(f fields, at string, before json.RawMessage) json.RawMessage {
	if makersOf(before) == nil {
		return before
	}
	m := members{}
	for _, key := range []string{"roles", "not_roles"} {
		if list := words(f.get(at + "." + key)); len(list) > 0 {
			m.set(key, jsonText(list))
		}
	}
	return m.raw()
}
