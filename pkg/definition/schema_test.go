package definition_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/definition"
)

var update = flag.Bool("update", false, "rewrite docs/workflow.schema.json")

const schemaFile = "../../docs/workflow.schema.json"

func service(t *testing.T) *definition.Service {
	t.Helper()
	s, err := app.OfflineWorkflows()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What is published is what the code goes by.
func TestSchemaIsPublished(t *testing.T) {
	t.Parallel()
	text, err := definition.Schema(service(t).Registry)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(schemaFile, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, text) {
		t.Errorf("%s is stale; rewrite it: go test ./pkg/definition -run TestSchemaIsPublished -update", schemaFile)
	}
}

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := definition.Schema(service(t).Registry)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("rowbell:workflow", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("rowbell:workflow")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate judges YAML as an editor does: by another reader than ours.
func validate(s *jsonschema.Schema, text []byte) error {
	raw, err := yaml.YAMLToJSON(text)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

func TestSchemaTakesTheExamples(t *testing.T) {
	t.Parallel()
	s := compiledSchema(t)
	n := 0
	err := filepath.WalkDir("../../examples/workflows", func(path string, e fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" {
			return err
		}
		n++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := validate(s, text); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if !strings.HasPrefix(string(text), "# yaml-language-server: $schema=../../docs/workflow.schema.json\n") {
			t.Errorf("%s doesn't begin with the line by which editors find the schema", path)
		}
		return nil
	})
	if err != nil || n < 12 {
		t.Errorf("%d examples, %v", n, err)
	}
}

// The schema refuses what the reader refuses for its shape.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	s := compiledSchema(t)
	for name, text := range map[string]string{
		"unknown key":             "nmae: A\n",
		"unknown key of trigger":  "triggers:\n  - {entity_type: orders, operation: update, field_condition: {}}\n",
		"unknown operation":       "triggers:\n  - {entity_type: orders, operation: updte}\n",
		"no entity_type":          "triggers:\n  - {operation: update}\n",
		"unknown status":          "status: on\n",
		"no action_type":          "actions:\n  - {order: 1}\n",
		"unknown condition":       "conditions:\n  - {condition_type: magic, condition_config: {}}\n",
		"triggers no list":        "triggers: orders\n",
		"an action is no text":    "actions: [log]\n",
		"settings no mapping":     "settings: [1]\n",
		"order no integer":        "actions:\n  - {action_type: log, order: 1.5}\n",
		"id with a dot":           "id: a.b\n",
		"long id":                 "id: " + strings.Repeat("a", 65) + "\n",
		"recipient without id":    "recipients:\n  - {recipient_type: user}\n",
		"name no text":            "name: [a]\n",
		"test without name":       "tests:\n  - {change: {new: {a: 1}}, expect: {fires: true}}\n",
		"test without change":     "tests:\n  - {name: a, expect: {fires: true}}\n",
		"test with both":          "tests:\n  - {name: a, change: {}, event: {entity_type: orders, operation: update, data: {}}, expect: {fires: true}}\n",
		"test expects nothing":    "tests:\n  - {name: a, change: {}, expect: {}}\n",
		"test with unknown key":   "tests:\n  - {name: a, change: {nwe: {}}, expect: {fires: true}}\n",
		"test of a bad recipient": "tests:\n  - {name: a, change: {}, expect: {fires: true, recipients: [ann]}}\n",
		"tests twice":             "settings: {tests: []}\ntests:\n  - {name: a, change: {}, expect: {fires: true}}\n",
		"template without text":   "template: footer\n",
		"template of a bad name":  "template: a b\nsource: x\n",
		"template in no language": "template: footer\nlocales: {de_AT: x}\n",
		"template with triggers":  "template: footer\nsource: x\ntriggers: []\n",
	} {
		path := filepath.Join(t.TempDir(), "w.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := definition.ReadBundle([]string{path}); err == nil {
			t.Errorf("%s: it is read", name)
		}
		if name != "template of a bad name" && validate(s, []byte(text)) == nil {
			t.Errorf("%s: the schema takes it", name)
		}
	}
}

// What the reader refuses for its shape, the schema refuses, wherever a document is damaged;
// and what YAML writes of a sound workflow the schema takes.
func TestSchemaAgreesWithTheReader(t *testing.T) {
	t.Parallel()
	s := compiledSchema(t)
	const sound = `{
		"name": "Large order", "description": "A\nB", "status": "active", "tenant_id": "acme", "id": "w",
		"settings": {"firing": "becomes_true", "retry": {"webhook": ["5s"]}, "storm": {"transaction": 5, "minute": "off"}, "owners": ["user:ann"]},
		"triggers": [{"entity_type": "orders", "operation": "update", "field_conditions": {"total": {"gte": 1000.50}, "any": [{"a": null}, {"b": [1]}]}, "priority": 5, "id": "t"}],
		"conditions": [{"condition_type": "expression", "condition_config": {"expression": "new.a == 1"}, "id": "c"}, {"condition_type": "time_based", "condition_config": {"days": ["mon"]}}],
		"actions": [{"action_type": "notification", "action_config": {"title": "T", "body": {"de": "B", "en": "C"}}, "order": 2, "id": "a"}, {"action_type": "webhook", "action_config": {"url": "https://example.com", "secret": {"ref": "x"}}}],
		"recipients": [{"recipient_type": "user", "recipient_id": "7", "action_id": "a", "id": "r"}],
		"tests": [{"name": "one", "change": {"entity_type": "orders", "operation": "update", "new": {"total": 1}, "old": {}, "actor": {"id": "x"}, "at": "2026-01-01T00:00:00Z"}, "fired_before": true,
			"expect": {"fires": true, "recipients": [{"user": "7"}, {"attribute": "o", "value": "x"}], "texts": [{"action": "a", "title": "T", "body": {"contains": "C"}}]}},
			{"name": "two", "event": {"id": "E", "entity_type": "orders", "operation": "update", "tenant_id": "acme", "row_key": "1", "committed_at": "2026-01-01T00:00:00Z", "data": {"new": {}}}, "expect": {"fires": false, "stopped_by": "x"}}]
	}`
	rapid.Check(t, func(t *rapid.T) {
		var doc any
		dec := json.NewDecoder(strings.NewReader(sound))
		dec.UseNumber()
		if err := dec.Decode(&doc); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, 2).Draw(t, "damages") {
			damage(t, doc)
		}
		raw, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		schemaErr := s.Validate(v)
		d, readErr := definition.Read("w.json", raw)
		switch {
		case readErr != nil && schemaErr == nil && !beyondSchema(readErr):
			t.Errorf("the schema takes what the reader refuses: %v\n%s", readErr, raw)
		case readErr == nil && schemaErr == nil:
			text, err := definition.YAML(&d.Workflow)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate(s, text); err != nil {
				t.Errorf("what YAML writes is refused: %v\n%s", err, text)
			}
		}
	})
}

// beyondSchema says that a schema can't say this: what refers to something else.
func beyondSchema(err error) bool {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if !strings.Contains(line, "there is no action with the id") && !strings.Contains(line, "stands there twice") && !strings.Contains(line, "another test called") {
			return false
		}
	}
	return true
}

// damage changes something somewhere in a document.
func damage(t *rapid.T, doc any) {
	at := doc
	for {
		switch v := at.(type) {
		case map[string]any:
			if len(v) == 0 {
				v["x"] = 1
				return
			}
			key := rapid.SampledFrom(slices.Sorted(maps.Keys(v))).Draw(t, "key")
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				delete(v, key)
				return
			case 1:
				v[key] = rapid.SampledFrom([]any{nil, 1, -1.5, "", "x", true, []any{}, []any{"x"}, map[string]any{}, map[string]any{"x": 1}}).Draw(t, "value")
				return
			case 2:
				v["x"+key] = v[key]
				return
			}
			at = v[key]
		case []any:
			if len(v) == 0 {
				return
			}
			at = v[rapid.IntRange(0, len(v)-1).Draw(t, "item")]
		default:
			return
		}
	}
}
