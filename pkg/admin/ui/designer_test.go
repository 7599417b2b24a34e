package ui

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/actions/chat"
	"github.com/rowbell/rowbell/actions/email"
	"github.com/rowbell/rowbell/actions/function"
	logaction "github.com/rowbell/rowbell/actions/log"
	"github.com/rowbell/rowbell/actions/notification"
	publishaction "github.com/rowbell/rowbell/actions/publish"
	"github.com/rowbell/rowbell/actions/webhook"
	"github.com/rowbell/rowbell/pkg/admin/api"
)

// shop is a catalogue of the examples' tables.
func shop(t *testing.T) *catalogue {
	t.Helper()
	c := &catalogue{detail: make(map[string]*api.TableDetail), kinds: make(map[string]*kind)}
	for label, columns := range map[string]string{
		"orders": "id int8, status text, total numeric, customer_id int8", "customers": "id int8, name text, email text, city text, credit_limit numeric, account_manager text",
		"invoices": "id int8, status text, amount numeric, due_on date, account_manager text",
	} {
		d := &api.TableDetail{TableOut: api.TableOut{Label: label, Name: label, Operations: []string{"create", "update", "delete"}}, ReplicaIdentity: "full"}
		for each := range strings.SplitSeq(columns, ", ") {
			name, kind, _ := strings.Cut(each, " ")
			d.Columns = append(d.Columns, api.ColumnOut{Name: name, Type: kind, Identity: true, Operators: []string{"eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "between", "changed", "changed_to", "changed_from", "is_null", "not_null"}})
		}
		c.detail[label] = d
		c.tables = append(c.tables, d.TableOut)
	}
	registry, err := actions.NewRegistry(chat.Kind(nil), email.Kind(nil, email.Options{}), function.Kind(true), logaction.Kind(), notification.Kind(nil), publishaction.Kind(nil), webhook.Kind(nil, "test"))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range registry.Kinds() {
		one := newKind(api.KindOut{Name: k.Name, Title: k.Title, Help: k.Help, Schema: api.Object(registry.Schema(k.Name)), Recipients: k.Recipients})
		c.kinds[k.Name], c.list = one, append(c.list, one)
	}
	return c
}

// sent is what a browser would send of the designer's form as it shows an edit.
func sent(t *testing.T, c *catalogue, e *edit) fields {
	t.Helper()
	d := &designerData{loaded: &loaded{}, Edit: e, Tables: c.tables, Kinds: c.list, Document: string(jsonText(e.full()))}
	d.fill(c, placed(nil))
	u := New(Config{})
	var b bytes.Buffer
	if err := u.templates.execute(&b, "designer", "designer", &layout{Data: d}); err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(&b)
	if err != nil {
		t.Fatal(err)
	}
	f := url.Values{}
	attr := func(n *html.Node, key string) (string, bool) {
		for _, a := range n.Attr {
			if a.Key == key {
				return a.Val, true
			}
		}
		return "", false
	}
	for n := range root.Descendants() {
		name, _ := attr(n, "name")
		if n.Type != html.ElementNode || name == "" || name == "do" {
			continue
		}
		value, _ := attr(n, "value")
		switch n.Data {
		case "input":
			if kind, _ := attr(n, "type"); kind == "checkbox" || kind == "radio" {
				if _, checked := attr(n, "checked"); !checked {
					continue
				}
			}
			f.Add(name, value)
		case "textarea":
			text := ""
			if n.FirstChild != nil {
				text = n.FirstChild.Data
			}
			f.Add(name, strings.ReplaceAll(text, "\n", "\r\n")) // as browsers do
		case "select":
			first, chosen, any, begun := "", "", false, false
			for o := range n.Descendants() {
				if o.Data != "option" {
					continue
				}
				value, has := attr(o, "value")
				if !has {
					t.Errorf("an option of %s has no value", name)
				}
				if !begun {
					first, begun = value, true
				}
				if _, selected := attr(o, "selected"); selected {
					chosen, any = value, true
				}
			}
			if !any {
				chosen = first
			}
			f.Add(name, chosen)
		}
	}
	return fields(f)
}

func written(t *testing.T, d *document) string {
	t.Helper()
	raw, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// What a form shows and nobody changes stays as it is: each example comes back from the browser
// as it went there, with what the form can't hold.
func TestDesignerLeavesDocumentsAsTheyAre(t *testing.T) {
	t.Parallel()
	c := shop(t)
	for _, e := range gallery() {
		d := e.mapped(&mapping{URL: "https://example.com/hook"})
		if e.Name == "large-order" {
			d.Settings = json.RawMessage(`{"storm":{"transaction":"off","minute":50000},"owners":["user:ann","role:finance"],"exclude":["actor",{"role":"intern"}],"max_depth":5,"critical":true,"locale":"en","zone":"UTC"}`)
			d.Actions[0].Config = json.RawMessage(`{"title":{"en":"Two\nlines","de":"Zwei"},"exclude":[{"user":"ann"}],"retry":["5s",60],"on_failure":"continue","body":"a\nb\n"}`)
		}
		if e.Name == "order-approved" {
			d.Actions[0].Config = json.RawMessage(`{"url":"https://example.com/hook","secret":{"ref":"s"},"secrets":[{"ref":"a"}],"headers":{"X":"1","Y":{"ref":"y"}},"timeout":10,"concurrency":4,"rate":"10/s"}`)
		}
		before := editOf(d)
		before.write(c.types) // as the form's own way of writing has it
		want := written(t, before.document)
		after := editOf(before.document)
		after.read(sent(t, c, editOf(before.document)), c.types, c.kinds)
		var a, b any
		_ = json.Unmarshal([]byte(want), &a)
		got := written(t, after.document)
		_ = json.Unmarshal([]byte(got), &b)
		if string(jsonText(a)) != string(jsonText(b)) {
			t.Errorf("%s: comes back as\n%s\nwant\n%s", e.Name, got, want)
		}
	}
}

// again is what the server makes of a form that a browser sends, with what is done to it.
func again(t *testing.T, c *catalogue, e *edit, do string, fill map[string]string) *edit {
	t.Helper()
	f := sent(t, c, e)
	for name, value := range fill {
		if !f.has(name) {
			t.Fatalf("the form has no %s", name)
		}
		f[name] = []string{value}
	}
	f["do"] = []string{do}
	d := &document{}
	if err := json.Unmarshal([]byte(f.get("document")), d); err != nil {
		t.Fatal(err)
	}
	next := editOf(d)
	next.read(f, c.types, c.kinds)
	return next
}

// An action's own conditions are built as the workflow's are, by what the browser sends alone;
// what isn't complete stays in the form and out of the document.
func TestOwnConditions(t *testing.T) {
	t.Parallel()
	c := shop(t)
	e := editOf(&document{Name: "x", Triggers: []docTrigger{{ID: "t1", EntityType: "orders", Operation: "update", Conditions: json.RawMessage(`{}`)}}, Actions: []docAction{
		{ID: "a", Type: "log", Config: json.RawMessage(`{}`)},
		{ID: "b", Type: "log", Config: json.RawMessage(`{"on_failure":"continue","only_if":[{"id":"mine","condition_type":"expression","condition_config":{"expression":"new.total > old.total * 2"}},{"condition_type":"field_value","condition_config":{"status":"paid"}}]}`)},
	}})
	config := func(i int) string { return string(e.whole().Actions[i].Config) }
	const untouched = `{"on_failure":"continue","only_if":[{"id":"mine","condition_type":"expression","condition_config":{"expression":"new.total > old.total * 2"}},{"condition_type":"field_value","condition_config":{"status":"paid"}}]}`
	if got := config(1); got != untouched {
		t.Errorf("it is read as %s", got)
	}
	e = again(t, c, e, "condition field_value a", nil)
	if got := config(0); got != `{}` || len(e.own["a"]) != 1 {
		t.Errorf("nothing is asked for yet, and it is %s", got)
	}
	at := "c." + e.own["a"][0].ID
	e = again(t, c, e, "", map[string]string{at + ".0.col": "total"})
	e = again(t, c, e, "", map[string]string{at + ".0.op": "gt", at + ".0.val": "1000"})
	const first = `{"only_if":[{"condition_type":"field_value","condition_config":{"total":{"gt":1000}}}]}`
	if got := config(0); got != first {
		t.Errorf("it is %s", got)
	}
	e = again(t, c, e, "condition role_based a", nil)
	e = again(t, c, e, "condition time_based a", nil)
	if got := config(0); got != `{"only_if":[{"condition_type":"field_value","condition_config":{"total":{"gt":1000}}},{"condition_type":"time_based","condition_config":{"zone":"UTC","days":["mon","tue","wed","thu","fri"]}}]}` {
		t.Errorf("it is %s", got)
	}
	e = again(t, c, e, "", map[string]string{"c." + e.own["a"][1].ID + ".roles": "manager"})
	e = again(t, c, e, "no-condition "+e.own["a"][2].ID, nil)
	e = again(t, c, e, "down a", nil)
	if e.Actions[1].ID != "a" || config(1) != `{"only_if":[{"condition_type":"field_value","condition_config":{"total":{"gt":1000}}},{"condition_type":"role_based","condition_config":{"roles":["manager"]}}]}` || config(0) != untouched {
		t.Errorf("they are %s and %s", config(0), config(1))
	}
	e = again(t, c, e, "group c."+e.own["a"][0].ID+" ", nil)
	e = again(t, c, e, "drop c."+e.own["a"][0].ID+" 0", nil)
	for e2 := range 2 {
		name := at + ".0." + string(rune('0'+e2))
		e = again(t, c, e, "", map[string]string{name + ".col": "status"})
		e = again(t, c, e, "", map[string]string{name + ".val": string(rune('a' + e2))})
	}
	if got := config(1); !strings.Contains(got, `{"any":[{"status":"a"},{"status":"b"}]}`) {
		t.Errorf("with a group it is %s", got)
	}
	for _, cond := range e.own["a"] {
		e = again(t, c, e, "no-condition "+cond.ID, nil)
	}
	if got := config(1); got != `{}` {
		t.Errorf("without any it is %s", got)
	}
	e = again(t, c, e, "no-action b", nil)
	if len(e.own["b"]) != 0 || len(e.Actions) != 1 {
		t.Errorf("of what is gone there is %v", e.own)
	}
	// What is stored comes back without what isn't complete, which the form keeps.
	e = again(t, c, e, "condition field_value a", nil)
	e.take(&document{Actions: []docAction{{ID: "a", Type: "log", Config: json.RawMessage(`{"retry":["5s"]}`)}}})
	if got := string(e.full().Actions[0].Config); !strings.HasPrefix(got, `{"retry":["5s"],"only_if":[{"id":"~`) {
		t.Errorf("the form keeps %s", got)
	}
	// A recipient whose name isn't given yet is there when it is.
	e = again(t, c, e, "action notification", nil)
	e = again(t, c, e, "recipient", nil)
	e = again(t, c, e, "", map[string]string{"r." + e.Recipients[0].ID + ".value": "ann"})
	if whole := e.whole(); len(whole.Recipients) != 1 || whole.Recipients[0].Value != "ann" {
		t.Errorf("the recipients are %+v", whole.Recipients)
	}
}

// The document's ids of actions' conditions need not differ, nor be such that a form can name its
// fields by them; they stay, and each condition is its own.
func TestOwnConditionsWithIDs(t *testing.T) {
	t.Parallel()
	c := shop(t)
	const trigger = `{"total":{"lt":5}}`
	asks := func(id, column, value string) string {
		return `{"id":` + string(jsonText(id)) + `,"condition_type":"field_value","condition_config":{"` + column + `":` + value + `}}`
	}
	first := `{"only_if":[` + asks("big", "total", `{"gt":1000}`) + `,` + asks("big", "status", `"paid"`) + `,` + asks("two words", "status", `"x"`) + `]}`
	second := `{"only_if":[` + asks("big", "total", `{"gt":2000}`) + `,` + asks("big.0", "status", `"y"`) + `,` + asks("t1", "total", `1`) + `]}`
	e := editOf(&document{
		Name:       "x",
		Triggers:   []docTrigger{{ID: "t1", EntityType: "orders", Operation: "create", Conditions: json.RawMessage(trigger)}},
		Conditions: []docCondition{{ID: "big", Type: "field_value", Config: json.RawMessage(`{"status":"open"}`)}},
		Actions:    []docAction{{ID: "a", Type: "log", Config: json.RawMessage(first)}, {ID: "b", Type: "log", Config: json.RawMessage(second)}},
	})
	want := func(what, a, b string) {
		t.Helper()
		d := e.whole()
		if got := string(d.Actions[0].Config); got != a {
			t.Errorf("%s: the first action has %s\nwant %s", what, got, a)
		}
		if got := string(d.Actions[1].Config); got != b {
			t.Errorf("%s: the second action has %s\nwant %s", what, got, b)
		}
		if got := string(d.Triggers[0].Conditions) + string(d.Conditions[0].Config); got != trigger+`{"status":"open"}` {
			t.Errorf("%s: the workflow asks for %s", what, got)
		}
	}
	want("read", first, second)
	for range 2 {
		e = again(t, c, e, "", nil)
		want("sent", first, second)
	}
	e = again(t, c, e, "", map[string]string{"c." + e.own["b"][0].ID + ".0.val": "3000"})
	second = strings.Replace(second, "2000", "3000", 1)
	want("changed", first, second)
	e = again(t, c, e, "drop c."+e.own["a"][2].ID+" 0", nil)
	e = again(t, c, e, "no-condition "+e.own["a"][1].ID, nil)
	first = `{"only_if":[` + asks("big", "total", `{"gt":1000}`) + `]}`
	want("removed", first, second)
	// Nor does it help to send one as if the form had named it.
	raw, name := `{"only_if":[`+asks("~01j00000000000000000000000 x", "total", `1`)+`,`+asks("~01j00000000000000000000000 x", "total", `2`)+`]}`, "x"
	e = editOf(&document{Triggers: e.Triggers, Actions: []docAction{{ID: "a", Type: "log", Config: json.RawMessage(raw)}}})
	e = again(t, c, e, "", nil)
	if got, want := string(e.whole().Actions[0].Config), `{"only_if":[`+asks(name, "total", `1`)+`,`+asks(name, "total", `2`)+`]}`; got != want {
		t.Errorf("it is %s, want %s", got, want)
	}
}

// The columns of an action's own conditions are mapped as those of the workflow's.
func TestOwnConditionsAreMapped(t *testing.T) {
	t.Parallel()
	for _, e := range gallery() {
		if e.Name != "order-cancelled" {
			continue
		}
		if len(e.Needs) != 1 || !slices.Contains(e.Needs[0].Columns, "total") {
			t.Errorf("it needs %+v", e.Needs)
		}
		d := e.mapped(&mapping{Tables: map[string]string{"orders": "sales"}, Columns: map[string]map[string]string{"orders": {"total": "amount", "status": "stage", "id": "no"}}})
		want := `"only_if":[{"condition_type":"field_value","condition_config":{"amount":{"gte":1000}}},{"condition_type":"expression","condition_config":{"expression":"old.stage != \"new\""}}]`
		if got := string(d.Actions[1].Config); !strings.Contains(got, want) {
			t.Errorf("it is mapped as %s", got)
		}
		return
	}
	t.Error("there is no such example")
}

// What is wrong with an action's own condition stands at the condition.
func TestOwnConditionsProblems(t *testing.T) {
	t.Parallel()
	c := shop(t)
	e := editOf(&document{Name: "x", Triggers: []docTrigger{{ID: "t1", EntityType: "orders", Operation: "update", Conditions: json.RawMessage(`{}`)}}, Actions: []docAction{
		{ID: "a", Type: "log", Config: json.RawMessage(`{"only_if":[{"id":"none","condition_type":"field_value","condition_config":{}},{"id":"one","condition_type":"field_value","condition_config":{"status":"x","total":{"gt":"many"}}},{"id":"two","condition_type":"expression","condition_config":{"expression":"new.x"}}]}`)},
	}})
	d := &designerData{loaded: &loaded{}, Edit: e}
	d.fill(c, placed([]api.FieldError{
		{Pointer: "#/actions/0/action_config/only_if/0/condition_config/total/gt", Where: "action 1 (log), only_if, condition 1 (field_value).total.gt", Detail: "action 1 (log), only_if, condition 1 (field_value).total.gt: no number"},
		{Pointer: "#/actions/0/action_config/only_if/1/condition_config/expression", Detail: "there is no column x"},
		{Pointer: "#/actions/0", Detail: "something else"},
	}))
	list := d.Actions[0].Only
	if len(list) != 3 || len(list[0].Problems) != 0 || !list[0].First || !list[1].Own || list[1].First {
		t.Fatalf("the conditions are %+v", list)
	}
	if got := list[1].Rule.Items[1].Clause.Problems; len(got) != 1 || got[0].Detail != "no number" {
		t.Errorf("at the clause stands %+v", got)
	}
	if got := list[2].Problems; len(got) != 1 || list[2].Chip != "new.x" {
		t.Errorf("at the expression stands %+v", list[2])
	}
	if got := d.Actions[0].Problems; len(got) != 1 || got[0].Detail != "something else" {
		t.Errorf("at the action stands %+v", got)
	}
}

// Buttons do what they say, and what they are about is found by its id.
func TestDesignerButtons(t *testing.T) {
	t.Parallel()
	c := shop(t)
	e := editOf(&document{Name: "x", Triggers: []docTrigger{{ID: "t1", EntityType: "orders", Operation: "update", Conditions: json.RawMessage(`{"any_changed":["status"],"total":{"gt":5}}`)}}})
	press := func(do string) {
		t.Helper()
		f := sent(t, c, e)
		f["do"] = []string{do}
		e.read(f, c.types, c.kinds)
	}
	press("action notification")
	press("action log")
	press("action webhook")
	first, second, third := e.Actions[0].ID, e.Actions[1].ID, e.Actions[2].ID
	f := sent(t, c, e)
	f["a."+third+".after"] = []string{"after"}
	f["a."+third+".c.url"] = []string{"https://example.com"}
	f["a."+first+".c.title"] = []string{"Order {{ new.id }}"}
	e.read(f, c.types, c.kinds)
	press("up " + second)
	if e.Actions[0].ID != second || e.Actions[1].ID != first || e.Actions[1].Order != 0 || e.Actions[2].Order != 1 {
		t.Errorf("the order is %+v", e.Actions)
	}
	press("recipient")
	press("recipient " + first)
	if len(e.Recipients) != 2 || e.Recipients[0].ActionID != nil || *e.Recipients[1].ActionID != first {
		t.Fatalf("recipients are %+v", e.Recipients)
	}
	if whole := e.whole(); len(whole.Recipients) != 0 {
		t.Errorf("recipients without a name are sent: %+v", whole.Recipients)
	}
	press("no-action " + first)
	if len(e.Actions) != 2 || len(e.Recipients) != 1 {
		t.Errorf("what is left: %+v %+v", e.Actions, e.Recipients)
	}
	press("group t.t1")
	press("clause t.t1 1")
	f = sent(t, c, e)
	for i, status := range []string{"a", "b"} {
		at := "t.t1.1." + string(rune('0'+i))
		f[at+".col"], f[at+".was"], f[at+".val"] = []string{"status"}, []string{"status"}, []string{status}
	}
	e.read(f, c.types, c.kinds)
	if got := string(e.Triggers[0].Conditions); got != `{"any_changed":["status"],"total":{"gt":5},"any":[{"status":"a"},{"status":"b"}]}` {
		t.Errorf("conditions are %s", got)
	}
	press("drop t.t1 0")
	press("condition time_based")
	if got := string(e.Triggers[0].Conditions); got != `{"any_changed":["status"],"any":[{"status":"a"},{"status":"b"}]}` {
		t.Errorf("conditions are %s", got)
	}
	f = sent(t, c, e)
	at := "c." + e.Conditions[0].ID
	f[at+".from"], f[at+".to"], f[at+".days"] = []string{"09:00"}, []string{"17:00"}, []string{"sat"}
	e.read(f, c.types, c.kinds)
	if got := string(e.Conditions[0].Config); got != `{"zone":"UTC","days":["sat"],"hours":{"from":"09:00","to":"17:00"}}` {
		t.Errorf("the time is %s", got)
	}
	press("condition role_based")
	if whole := e.whole(); len(whole.Conditions) != 1 {
		t.Errorf("a condition without roles is sent: %+v", whole.Conditions)
	}
	f = sent(t, c, e)
	f["c."+e.Conditions[1].ID+".not_roles"] = []string{"batch, robot"}
	e.read(f, c.types, c.kinds)
	if got := string(e.Conditions[1].Config); got != `{"not_roles":["batch","robot"]}` {
		t.Errorf("who is %s", got)
	}
	press("no-condition " + e.Conditions[1].ID)
	for _, nonsense := range []string{"up nobody", "drop t.t1 9.9.9", "clause nobody 1", "group t.t1 x", "no-trigger t1", "condition nothing", "drop", "what is this"} {
		press(nonsense)
	}
	if len(e.Triggers) != 1 || len(e.Conditions) != 1 {
		t.Errorf("nonsense did something: %+v", e.document)
	}
}

// Parts may have any ids: the same ones, with dots and with spaces. Each keeps what is its own,
// and buttons are about theirs.
func TestDesignerIDs(t *testing.T) {
	t.Parallel()
	c := shop(t)
	e := editOf(&document{
		Name: "x",
		Triggers: []docTrigger{
			{ID: "x", EntityType: "orders", Operation: "create", Conditions: json.RawMessage(`{"any":[{"status":"one"},{"status":"two"}]}`)},
			{ID: "x.0", EntityType: "orders", Operation: "create", Conditions: json.RawMessage(`{"status":"three"}`)},
			{ID: "x=2e0", EntityType: "orders", Operation: "create", Conditions: json.RawMessage(`{"status":"four"}`)},
		},
		Conditions: []docCondition{
			{ID: "x", Type: "field_value", Config: json.RawMessage(`{"status":"five"}`)},
			{ID: "x y", Type: "field_value", Config: json.RawMessage(`{"status":"six"}`)},
			{ID: "x.0", Type: "field_value", Config: json.RawMessage(`{"status":"seven"}`)},
		},
		Actions:    []docAction{{ID: "do it", Type: "notification", Config: json.RawMessage(`{}`)}, {ID: "x.0", Type: "log", Config: json.RawMessage(`{}`)}},
		Recipients: []docRecipient{{ID: "r .1", Type: "user", Value: "ann"}},
	})
	rules := func() string {
		var list []string
		for _, x := range e.Triggers {
			list = append(list, string(x.Conditions))
		}
		for _, x := range e.Conditions {
			list = append(list, string(x.Config))
		}
		return strings.Join(list, " ")
	}
	const untouched = `{"any":[{"status":"one"},{"status":"two"}]} {"status":"three"} {"status":"four"} {"status":"five"} {"status":"six"} {"status":"seven"}`
	e = again(t, c, e, "", nil)
	if got := rules(); got != untouched {
		t.Errorf("they come back as\n%s\nwant\n%s", got, untouched)
	}
	e = again(t, c, e, "", map[string]string{"c.x.0.val": "5", "c.x=20y.0.val": "6", "t.x=2e0.0.val": "3", "t.x=3d2e0.0.val": "4", "t.x.1.val": "2", "r.r=20=2e1.value": "ben"})
	const filled = `{"any":[{"status":"one"},{"status":"2"}]} {"status":"3"} {"status":"4"} {"status":"5"} {"status":"6"} {"status":"seven"}`
	if got := rules(); got != filled || e.Recipients[0].Value != "ben" {
		t.Errorf("they come back as\n%s\nwant\n%s", got, filled)
	}
	e = again(t, c, e, "drop c.x=20y 0", nil)
	e = again(t, c, e, "no-trigger x=2e0", nil)
	e = again(t, c, e, "down do=20it", nil)
	e = again(t, c, e, "condition field_value do=20it", nil)
	e = again(t, c, e, "no-recipient r=20=2e1", nil)
	const pressed = `{"any":[{"status":"one"},{"status":"2"}]} {"status":"4"} {"status":"5"} {} {"status":"seven"}`
	if got := rules(); got != pressed || e.Actions[0].ID != "x.0" || len(e.own["do it"]) != 1 || len(e.Recipients) != 0 {
		t.Errorf("they come back as\n%s\nwant\n%s; actions %+v, recipients %+v", got, pressed, e.Actions, e.Recipients)
	}
	for _, id := range []string{"", "=", "=2e", ".", "é ~_-", "\xff"} {
		if got := idOf(formID(id)); got != id {
			t.Errorf("%q comes back as %q", id, got)
		}
	}
}
