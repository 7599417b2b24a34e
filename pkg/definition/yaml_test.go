package definition

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rowbell/rowbell/pkg/workflow"
)

func ptr[T any](v T) *T { return &v }

func example() *workflow.Workflow {
	return &workflow.Workflow{
		ID: "large-order", TenantID: ptr("acme"), Name: "Large order", Description: "Tells sales.\n\nAnd the boss: at 5,000.\n", Status: workflow.Active,
		Settings: json.RawMessage(`{"firing": "becomes_true"}`),
		Triggers: []workflow.Trigger{
			{ID: "t1", EntityType: "orders", Operation: "update", Priority: 100, FieldConditions: json.RawMessage(
				`{"total": {"gte": 1000.00}, "status": {"in": ["approved", "no", "1", "a, b"]}, "any": [{"a": null}, {"b": {"changed": true}}], "phone": "0123"}`)},
			{ID: "t2", EntityType: "sales.orders", Operation: "create", Priority: 5, FieldConditions: json.RawMessage(`{}`)},
		},
		Conditions: []workflow.Condition{
			{ID: "c1", Type: "expression", Config: json.RawMessage(`{"expression": "new.total > 1000 &&\n  new.note != \"x: y\""}`)},
			{ID: "c2", Type: "expression", Config: json.RawMessage(`{"expression": "changed(\"status\") && old.a == 'b'"}`)},
		},
		Actions: []workflow.Action{
			{ID: "a1", Type: "webhook", Order: 2, Config: json.RawMessage(`{"url": "https://example.com/hook?a=b#c", "secret": {"ref": "01J"}, "headers": {}, "retry": []}`)},
		},
		Recipients: []workflow.Recipient{{ID: "r1", ActionID: ptr("a1"), Type: "user", Value: "7"}},
	}
}

const exampleYAML = `name: Large order
description: |
  Tells sales.

  And the boss: at 5,000.
status: active
tenant_id: acme
id: large-order
settings:
  firing: becomes_true
triggers:
  - entity_type: orders
    operation: update
    field_conditions:
      total:
        gte: 1000.00
      status:
        in: [approved, "no", "1", "a, b"]
      any:
        - a: null
        - b:
            changed: true
      phone: "0123"
    id: t1
  - entity_type: sales.orders
    operation: create
    priority: 5
    id: t2
conditions:
  - condition_type: expression
    condition_config:
      expression: |-
        new.total > 1000 &&
          new.note != "x: y"
    id: c1
  - condition_type: expression
    condition_config:
      expression: "changed(\"status\") && old.a == 'b'"
    id: c2
actions:
  - action_type: webhook
    action_config:
      url: "https://example.com/hook?a=b#c"
      secret:
        ref: "01J"
      headers: {}
      retry: []
    order: 2
    id: a1
recipients:
  - recipient_type: user
    recipient_id: "7"
    action_id: a1
    id: r1
`

func TestYAML(t *testing.T) {
	t.Parallel()
	got, err := YAML(example())
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != exampleYAML {
		t.Errorf("YAML:\n%s\nwant\n%s", got, exampleYAML)
	}
	d, err := Read("w.yaml", got)
	if err != nil {
		t.Fatal(err)
	}
	same(t, &d.Workflow, example())
	document, err := json.Marshal(example())
	if err != nil {
		t.Fatal(err)
	}
	if d, err = Read("w.json", document); err != nil {
		t.Fatal(err)
	}
	same(t, &d.Workflow, example())
}

type failer interface {
	Helper()
	Errorf(string, ...any)
	Fatal(...any)
}

// same compares workflows by their compacted JSON, in which numbers keep their digits.
func same(t failer, got, want *workflow.Workflow) {
	t.Helper()
	compact := func(w *workflow.Workflow) string {
		raw, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := json.Compact(&b, raw); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if got, want := compact(got), compact(want); got != want {
		t.Errorf("it came back as\n%s\nand was\n%s", got, want)
	}
}

// Whatever a workflow holds, its YAML gives the same again.
func TestYAMLRoundTrip(t *testing.T) {
	t.Parallel()
	special := []string{
		"", " ", "a", "no", "Yes", "~", "null", "0", "0123", "0x1F", "1e3", "1_000", ".inf", ".nan", "-", "- a", "a: b", "a #b", "#", "&a", "*a", "!t", "%", "@", "`",
		"{", "}", "[", "]", ",", "?", "? a", ":", "a:", "|", ">", "'", `"`, `\`, `'"\`, "a\nb", "a\nb\n", "a\n\nb", "\na", " a\nb", "a \nb", "a\n b", "a\n\tb", "\t", "a\tb", "a\r\nb",
		"a\n\n", "ä", "日本", "😀", "\u2028", "\u0085", "\uFEFF", "\x01", "\x7f", "2026-11-25", "2026-11-25 10:00:00", "12:30:45", "<<", "A<<", "a << b", "a\n<<: b\n", "<<a\nb", "=", "---", "...", "a\n---\nb", "--- a", "new.total > 1", "a 'b' c", "it's",
		"#a\nb", "{{ new.a }}", "{{ new.a }}\n{{ new.b }}", "on", "a\n#b", "%a\nb", "a\u00a0", "\u00a0a\nb", "true", "+1", "1.", "1.0", "0o7", "0b1",
	}
	texts := rapid.OneOf(rapid.SampledFrom(special), rapid.String().Filter(func(s string) bool { return !strings.ContainsRune(s, 0) }),
		rapid.StringMatching(`[a-z :#'"\n\t\-]{0,20}`))
	var values func(depth int) *rapid.Generator[any]
	values = func(depth int) *rapid.Generator[any] {
		scalars := []*rapid.Generator[any]{
			rapid.Just[any](nil), rapid.Map(rapid.Bool(), func(b bool) any { return b }), rapid.Map(texts, func(s string) any { return s }),
			rapid.Map(rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?`), func(s string) any { return json.Number(s) }),
		}
		if depth == 0 {
			return rapid.OneOf(scalars...)
		}
		inner := values(depth - 1)
		return rapid.OneOf(append(scalars,
			rapid.Map(rapid.SliceOfN(inner, 0, 4), func(l []any) any { return l }),
			rapid.Map(rapid.MapOfN(texts, inner, 0, 4), func(m map[string]any) any { return m }))...)
	}
	objects := rapid.Custom(func(t *rapid.T) json.RawMessage {
		raw, err := json.Marshal(rapid.MapOfN(texts, values(3), 0, 4).Draw(t, "object"))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	})
	rapid.Check(t, func(t *rapid.T) {
		word := texts.Filter(func(s string) bool { return s != "" })
		w := &workflow.Workflow{
			Name: texts.Draw(t, "name"), Description: texts.Draw(t, "description"), Status: workflow.Draft, Settings: objects.Draw(t, "settings"),
			Triggers:   []workflow.Trigger{{EntityType: word.Draw(t, "table"), Operation: "create", FieldConditions: objects.Draw(t, "form"), Priority: rapid.Int32().Draw(t, "priority")}},
			Conditions: []workflow.Condition{{Type: "expression", Config: objects.Draw(t, "condition")}},
			Actions:    []workflow.Action{{ID: "a", Type: word.Draw(t, "kind"), Config: objects.Draw(t, "config"), Order: rapid.Int32().Draw(t, "order")}},
			Recipients: []workflow.Recipient{{Type: "user", Value: word.Draw(t, "recipient"), ActionID: ptr("a")}},
		}
		rendered, err := YAML(w)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Read("w.yaml", rendered)
		if err != nil {
			t.Fatalf("%v in\n%s", err, rendered)
		}
		same(t, &d.Workflow, w)
		again, err := YAML(&d.Workflow)
		if err != nil || !bytes.Equal(again, rendered) {
			t.Errorf("rendered again it is\n%s\nand was\n%s%v", again, rendered, err)
		}
	})
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file, text string
		want       []string
	}{
		"unknown keys": {
			"w.yaml", "nmae: A\ntriggers:\n  - entity_type: orders\n    operation: updte\n    field_condition: {}\n",
			[]string{
				`w.yaml:1:1: unknown key "nmae" in a workflow; did you mean "name"?`,
				`w.yaml:5:5: unknown key "field_condition" in a trigger; did you mean "field_conditions"?`,
				`w.yaml:4:16: there is no operation "updte"; did you mean "update"?`,
			},
		},
		"missing": {"w.yaml", "actions:\n  - order: 1\nrecipients:\n  - recipient_type: user\n", []string{
			"w.yaml:2:5: action_type is missing; it is a kind, as webhook", "w.yaml:4:5: recipient_id is missing; it is a user, role or group, or the name of a column",
		}},
		"wrong kinds": {"w.yaml", "triggers: orders\nactions:\n  - log\nsettings: [1]\n", []string{
			"w.yaml:4:11: settings is a mapping, not a list", "w.yaml:1:11: triggers is a list of triggers, not a text",
			"w.yaml:3:5: an action is a mapping of keys (action_type, action_config, order, id), not a text",
		}},
		"order":          {"w.yaml", "actions:\n  - {action_type: log, order: 1.5}", []string{"w.yaml:2:31: order is a whole number"}},
		"no action":      {"w.yaml", "recipients:\n  - {recipient_type: user, recipient_id: ann, action_id: a}", []string{`w.yaml:2:58: there is no action with the id "a" in here`}},
		"id twice":       {"w.yaml", "actions:\n  - {action_type: log, id: a}\n  - {action_type: log, id: a}\n", []string{`w.yaml:3:28: id "a" stands there twice`}},
		"id with a dot":  {"w.yaml", "actions:\n  - {action_type: log, id: a.b}\n", []string{`w.yaml:2:28: id "a.b" is none: an id has at most 64 characters, and no dot`}},
		"key twice":      {"w.yaml", "name: a\nname: b\n", []string{"w.yaml:2:1: "}},
		"octal":          {"w.yaml", "settings: {a: 010}\n", []string{"w.yaml:1:15: 010 is a number in one way and a text in another"}},
		"infinity":       {"w.yaml", "settings: {a: .inf}\n", []string{"w.yaml:1:15: .inf is no number in JSON; put it in quotes"}},
		"alias":          {"w.yaml", "settings: &a {b: 1}\n", []string{"w.yaml:1:11: anchor is not understood in a workflow"}},
		"tag":            {"w.yaml", "settings: {a: !!str 1}\n", []string{"w.yaml:1:15: tag is not understood in a workflow"}},
		"two documents":  {"w.yaml", "name: a\n---\nname: b\n", []string{"w.yaml:3:1: there is a second document; a file holds one workflow"}},
		"no YAML":        {"w.yaml", "name: a\n  b: [\n", []string{"w.yaml:1:7: this is not YAML"}},
		"empty":          {"w.yaml", "# nothing\n", []string{"w.yaml: it is empty"}},
		"a list":         {"w.yaml", "- a\n", []string{"w.yaml:1:1: a workflow is a mapping of keys"}},
		"no JSON":        {"w.json", "{\"name\": \"a\",\n}", []string{"w.json:1:14: this is not JSON"}},
		"JSON cut off":   {"w.json", "{\"name\": \"a\"", []string{"w.json:1:13: this is not JSON: it ends too early"}},
		"more JSON":      {"w.json", "{} {}", []string{"w.json:1:"}},
		"JSON key":       {"w.json", "{\"name\": \"a\",\n  \"nmae\": 1}", []string{`w.json:2:3: unknown key "nmae" in a workflow; did you mean "name"?`}},
		"JSON key twice": {"w.json", "{\"name\": \"a\",\n  \"name\": \"b\"}", []string{`w.json:2:3: key "name" stands there twice`}},
		"too long":       {"w.json", strings.Repeat(" ", maxFile+1), []string{"w.json: it has 1048577 bytes, and a workflow at most 1048576"}},
		"zero byte":      {"w.json", "{\"name\": \"a\\u0000\"}", []string{"w.json:1:10: the text can't be stored"}},
		"zero in a key":  {"w.json", "{\"settings\": {\"a\\u0000\": 1}}", []string{"w.json:1:15: the text can't be stored"}},
		"YAML zero key":  {"w.yaml", "settings: {\"a\\0\": 1}\n", []string{"w.yaml:1:12: the text can't be stored"}},
		"no UTF-8":       {"w.json", "{\n \"name\": \"\xff\"}", []string{"w.json:2:11: this is not JSON: it is no UTF-8"}},
		"too deep":       {"w.json", `{"settings":` + strings.Repeat("[", 100), []string{"w.json:1:77: it is nested deeper than 64"}},
		"version":        {"w.yaml", "version: 3\n", []string{`w.yaml:1:1: unknown key "version" in a workflow`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Read(c.file, []byte(c.text))
			if err == nil {
				t.Fatal("it was read")
			}
			lines := strings.Split(err.Error(), "\n")
			for i := range max(len(lines), len(c.want)) {
				if i >= len(lines) || i >= len(c.want) || !strings.HasPrefix(lines[i], c.want[i]) {
					t.Fatalf("it says\n%s\nwant\n%s", err, strings.Join(c.want, "\n"))
				}
			}
		})
	}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	d, err := Read("w.yaml", []byte(exampleYAML))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"trigger 2": "w.yaml:25:5", "condition 2": "w.yaml:38:19", "trigger 1 (orders update), field_conditions.total.gte": "w.yaml:16:9",
		"trigger 1 (orders update), field_conditions.any[1].b.changed": "w.yaml:22:13", "trigger 1 (orders update), field_conditions.none": "w.yaml:12:5",
		"trigger 1 (orders update), condition 1 (expression)": "w.yaml:32:19", "action 1": "w.yaml:41:5", "name": "w.yaml:1:7", "recipient 9": "w.yaml", "elsewhere": "w.yaml",
	} {
		if got := d.Place(path); got != want {
			t.Errorf("%s stands at %s, want %s", path, got, want)
		}
	}
	if !reflect.DeepEqual(d.Has, map[string]bool{
		"name": true, "description": true, "status": true, "tenant_id": true, "id": true, "settings": true, "triggers": true, "conditions": true, "actions": true, "recipients": true,
	}) {
		t.Errorf("it has %v", d.Has)
	}
}

// What a file holds takes no time by the square of its length.
func TestReadLong(t *testing.T) {
	t.Parallel()
	var keys, rows strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&keys, `,"k%d":1`, i)
		fmt.Fprintf(&rows, "  k%d: 1\n", i)
	}
	start := time.Now()
	d, err := Read("w.json", []byte(`{"settings":{`+keys.String()[1:]+`},`+"\n"+`"nmae": 1}`))
	if d != nil || err == nil || !strings.HasPrefix(err.Error(), `w.json:2:1: unknown key "nmae"`) {
		t.Errorf("JSON: %v", err)
	}
	for name, text := range map[string]string{
		"keys": "settings:\n" + rows.String(), "lists": "settings: " + strings.Repeat("[", 500_000), "mappings": strings.Repeat("{a: ", 200_000), "items": strings.Repeat("- ", 400_000),
	} {
		if _, err := Read("w.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "write it as JSON") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A file with much that is wrong is told the first of it, and in time.
func TestReadManyProblems(t *testing.T) {
	t.Parallel()
	data := []byte(`{"triggers": [` + strings.Repeat(`{"a": 1},`, 100_000) + `{"a": 1}]}`)
	start := time.Now()
	_, err := Read("w.json", data)
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("reads as %v", err)
	}
	list := joined.Unwrap()
	if len(list) != 101 {
		t.Fatalf("%d problems", len(list))
	}
	var first, second, last *Problem
	if !errors.As(list[0], &first) || !errors.As(list[1], &second) || !errors.As(list[100], &last) {
		t.Fatal(err)
	}
	if first.Pointer != "#/triggers" || !strings.Contains(first.Message, "it has 100001 triggers, at most 50 are taken; split it") {
		t.Errorf("the first is at %q: %s", first.Pointer, first.Message)
	}
	if second.Pointer != "#/triggers/0/a" {
		t.Errorf("the second is at %q: %s", second.Pointer, second.Message)
	}
	// Three for each trigger: the key, and two that are missing.
	if last.Message != "and 299904 more things are wrong" {
		t.Errorf("the last is %s", last.Message)
	}
}

// A document has as many parts as its workflow can have.
func TestReadManyParts(t *testing.T) {
	t.Parallel()
	for key, c := range map[string]struct {
		part string
		most int
	}{
		"triggers":   {`{"entity_type": "orders", "operation": "create"}`, 50},
		"conditions": {`{"condition_type": "expression", "condition_config": {"expression": "true"}}`, 50},
		"actions":    {`{"action_type": "log"}`, 50},
		"recipients": {`{"recipient_type": "user", "recipient_id": "1"}`, 200},
	} {
		text := func(n int) []byte {
			return []byte(`{"` + key + `": [` + strings.TrimSuffix(strings.Repeat(c.part+",", n), ",") + `]}`)
		}
		if _, err := Read("w.json", text(c.most)); err != nil {
			t.Errorf("%d %s: %v", c.most, key, err)
		}
		_, err := Read("w.json", text(c.most+1))
		var p *Problem
		want := fmt.Sprintf("it has %d %s, at most %d are taken; ", c.most+1, key, c.most)
		if !errors.As(err, &p) || p.Pointer != "#/"+key || !strings.HasPrefix(p.Message, want) {
			t.Errorf("%d %s: %v", c.most+1, key, err)
		}
	}
}
