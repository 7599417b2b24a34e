package condition

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// compiledSchemas are Schemas, ready to validate by.
func compiledSchemas(t *testing.T) map[string]*jsonschema.Schema {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": Schemas()})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("rowbell:conditions", doc); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]*jsonschema.Schema)
	for name := range Schemas() {
		if all[name], err = c.Compile("rowbell:conditions#/$defs/" + name); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

type schemaFailer interface {
	Helper()
	Fatal(...any)
}

func validates(t schemaFailer, s *jsonschema.Schema, config []byte) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(config))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

func TestEveryOperatorHasASchema(t *testing.T) {
	t.Parallel()
	if len(takes) != len(operators) {
		t.Errorf("%d operators, and schemas for %d", len(operators), len(takes))
	}
	for _, op := range operators {
		if takes[op]["description"] == nil {
			t.Errorf("operator %s has no description", op)
		}
	}
	timed, _ := Schemas()[SchemaTimeBased].(schema)["properties"].(schema)
	for _, key := range timedKeys {
		if timed[key] == nil {
			t.Errorf("time_based: %s has no schema", key)
		}
	}
	roles, _ := Schemas()[SchemaRoleBased].(schema)["properties"].(schema)
	for _, key := range workflow.RolesKeys() {
		if roles[key] == nil {
			t.Errorf("role_based: %s has no schema", key)
		}
	}
	if len(timed) != len(timedKeys) || len(roles) != len(workflow.RolesKeys()) || len(ConfigSchemas) != len(conditionTypes) {
		t.Error("there are schemas of keys or types that aren't there")
	}
}

// What the manual shows validates.
func TestSchemasTakeTheManual(t *testing.T) {
	t.Parallel()
	all := compiledSchemas(t)
	cases, _ := readDoc(t)
	for _, c := range cases {
		name := ConfigSchemas[c.kind]
		if name == "" {
			t.Fatalf("line %d: a condition of type %s", c.line, c.kind)
		}
		if err := validates(t, all[name], []byte(c.config)); err != nil {
			t.Errorf("line %d: %s: %v", c.line, c.config, err)
		}
	}
	if len(cases) < 50 {
		t.Errorf("only %d examples", len(cases))
	}
}

// Schema and Parse agree on what is a condition, whatever somebody writes.
func TestSchemasAgreeWithParse(t *testing.T) {
	t.Parallel()
	all := compiledSchemas(t)
	scalars := rapid.SampledFrom([]any{nil, true, false, "a", "", "mon", "sun", 1, 2.5, -3})
	var forms func(depth int) *rapid.Generator[any]
	forms = func(depth int) *rapid.Generator[any] {
		keys := rapid.SampledFrom(slices.Concat([]string{"status", "total", "any", "all", "not", anyChanged, "field", "operator", "value", "gtt", ""}, operators))
		if depth == 0 {
			return rapid.OneOf(scalars, rapid.Map(rapid.SliceOfN(scalars, 0, 3), func(l []any) any { return l }), rapid.SampledFrom([]any{"eq", "between", "changed", "is"}))
		}
		inner := forms(depth - 1)
		return rapid.OneOf(inner,
			rapid.Map(rapid.SliceOfN(inner, 0, 3), func(l []any) any { return l }),
			rapid.Map(rapid.MapOfN(keys, inner, 0, 3), func(m map[string]any) any { return m }))
	}
	times := rapid.MapOfN(rapid.SampledFrom(append([]string{"day"}, timedKeys...)), rapid.OneOf(
		scalars, rapid.SampledFrom([]any{
			[]any{"mon"},
			[]any{},
			[]any{"monday"},
			map[string]any{"from": "09:00", "to": "17:00"},
			map[string]any{"from": "9:00", "to": "17:00"},
			map[string]any{"from": "24:00", "to": "17:00"},
			[]any{map[string]any{"from": "09:00", "to": "24:00"}},
			map[string]any{"from": "2026-01-01"},
			map[string]any{},
			[]any{"12-25", "2026-04-03"},
			[]any{"25.12."},
			"3d", "2w", "90m", "1h30m", "3 days", "-3d", "UTC", "due_date",
		})), 0, 4)
	roles := rapid.MapOfN(rapid.SampledFrom(append([]string{"role"}, workflow.RolesKeys()...)), rapid.OneOf(
		scalars, rapid.SampledFrom([]any{[]any{"a"}, []any{}, []any{""}, []any{1}, "context", "directory", map[string]any{"level": 3}, map[string]any{"level": map[string]any{"above": 3}}, map[string]any{}})), 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]string{"fields", "field_value", "time_based", "role_based"}).Draw(t, "kind")
		var of any
		switch kind {
		case "time_based":
			of = times.Draw(t, "config")
		case "role_based":
			of = roles.Draw(t, "config")
		default:
			of = rapid.MapOfN(rapid.SampledFrom(slices.Concat([]string{"status", "total", "any", "all", "not", anyChanged, "field", "operator", "value", ""}, operators)), forms(3), 0, 3).Draw(t, "config")
		}
		config, err := json.Marshal(of)
		if err != nil {
			t.Fatal(err)
		}
		src := Source{Trigger: workflow.Trigger{EntityType: "orders", Operation: "update"}}
		name := ConfigSchemas[kind]
		if kind == "fields" {
			src.Trigger.FieldConditions, name = config, SchemaFields
		} else {
			src.Conditions = []workflow.Condition{{Type: kind, Config: config}}
		}
		_, parseErr := Parse(src)
		schemaErr := validates(t, all[name], config)
		if (parseErr == nil) != (schemaErr == nil) && !beyondSchema(parseErr) && (kind != "role_based" || !nothing(of)) {
			t.Errorf("%s %s: Parse says %v, the schema %v", kind, config, parseErr, schemaErr)
		}
	})
}

// beyondSchema says that a schema can't say this.
func beyondSchema(err error) bool {
	if err == nil {
		return false
	}
	for _, text := range []string{"there is no time zone", "changed is about columns of a row"} {
		if bytes.Contains([]byte(err.Error()), []byte(text)) {
			return true
		}
	}
	return false
}

// nothing says that a role_based condition has a key with null, which is as if it weren't
// there to the one, and not to the other.
func nothing(of any) bool {
	m, _ := of.(map[string]any)
	for _, v := range m {
		if v == nil {
			return true
		}
	}
	return false
}
