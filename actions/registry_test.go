package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// runner is a runner that goes where its configuration says.
type runner struct {
	To string `json:"to"`
}

func (r *runner) Destination() string                            { return r.To }
func (r *runner) Secrets() []string                              { return nil }
func (r *runner) Run(context.Context, *Delivery) (Result, error) { return Result{}, nil }

const ringSchema = `{
	"type": "object",
	"properties": {
		"to": {"type": "string", "minLength": 1, "maxLength": 5, "examples": ["a/b"]},
		"secret": {"$ref": "#/$defs/value", "examples": ["whsec_…"]},
		"headers": {"type": "object", "maxProperties": 2, "additionalProperties": {"$ref": "#/$defs/value"}},
		"times": {"type": "array", "maxItems": 2, "minItems": 1, "items": {"type": "integer", "minimum": 1, "maximum": 9, "examples": [3]}},
		"tone": {"enum": ["low", "high"]},
		"pin": {"type": "string", "pattern": "^[0-9]+$"},
		"unique": {"type": "array", "uniqueItems": true},
		"named": {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}, "examples": [{"a": 1}]},
		"exact": {"const": true},
		"flag": {"type": ["string", "boolean"]}
	},
	"required": ["to"],
	"additionalProperties": false,
	"$defs": {
		"value": {
			"oneOf": [
				{"type": "string", "maxLength": 20},
				{"type": "object", "properties": {"ref": {"type": "string", "minLength": 1}}, "required": ["ref"], "additionalProperties": false}
			],
			"examples": ["text", {"ref": "name"}]
		}
	}
}`

func parseRing(config json.RawMessage, _ Texts) (Runner, error) {
	r := new(runner)
	if err := json.Unmarshal(config, r); err != nil {
		return nil, err
	}
	if r.To == "bad" {
		return nil, errors.New("to: nobody is called bad; write another name")
	}
	return r, nil
}

func ring() *Kind {
	return &Kind{Name: "ring", Title: "Ring", Help: "Rings.", Schema: ringSchema, Retry: StandardWebhooks, Parse: parseRing}
}

func tell() *Kind {
	return &Kind{
		Name: "tell", Title: "Tell", Schema: `{"type": "object", "additionalProperties": false}`, Recipients: true, Retry: Messages,
		Parse: func(json.RawMessage, Texts) (Runner, error) { return &runner{}, nil },
	}
}

func registry(t *testing.T) *Registry {
	t.Helper()
	r, err := NewRegistry(ring(), tell())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestValidate(t *testing.T) {
	t.Parallel()
	r := registry(t)
	k, err := r.Kind("ring")
	if err != nil {
		t.Fatal(err)
	}
	for config, want := range map[string]string{
		`{"to": "a"}`: "",
		`{"to": "a", "secret": "s", "headers": {"a": {"ref": "x"}}, "times": [1, 9], "tone": "low", "flag": true}`: "",

		`{}`:                          `to: it is missing; write it as "a/b"`,
		`{"to": 1}`:                   `to: it is a number, where a string belongs; write it as "a/b"`,
		`{"to": null}`:                `to: it is null, where a string belongs; write it as "a/b"`,
		`{"to": ""}`:                  `to: it is empty; write it as "a/b"`,
		`{"to": "abcdef"}`:            `to: it has 6 characters; the most are 5`,
		`{"to": "a", "too": "b"}`:     `too: there is no such key; did you mean "to"?`,
		`{"to": "a", "headerss": {}}`: `headerss: there is no such key; did you mean "headers"?`,
		`{"to": "a", "retyr": []}`:    `retyr: there is no such key; did you mean "retry"?`,
		`{"to": "a", "volume": 3}`:    `volume: there is no such key; the keys are: exact, flag, headers, named, pin, secret, times, to, tone, unique; and those of every kind, exclude, on_failure, only_if and retry`,
		`{"to": "a", "src": 3}`:       `src: there is no such key; the keys are: exact, flag, headers, named, pin, secret, times, to, tone, unique; and those of every kind, exclude, on_failure, only_if and retry`,
		`{"tp": "a", "to": "a"}`:      `tp: there is no such key; did you mean "to"?`,
		`{"to": "a", "secret": {"name": "x", "ref": "y"}}`:    `secret.name: there is no such key; the keys are: ref`,
		`{"to": "a", "secret": 5}`:                            `secret: it has none of the forms that it may have; write it as "whsec_…"`,
		`{"to": "a", "secret": {}}`:                           `secret.ref: it is missing`,
		`{"to": "a", "secret": {"reff":"x", "ref": "y"}}`:     `secret.reff: there is no such key; did you mean "ref"?`,
		`{"to": "a", "headers": {"X-Foo": 1}}`:                `headers.X-Foo: it has none of the forms that it may have; write it as "text" or {"ref":"name"}`,
		`{"to": "a", "headers": {"X Foo": {"ref": ""}}}`:      `headers."X Foo".ref: it is empty`,
		`{"to": "a", "headers": {"a": "", "b": "", "c": ""}}`: `headers: it has 3 keys; the most are 2`,
		`{"to": "a", "headers": []}`:                          `headers: it is an array, where an object belongs`,
		`{"to": "a", "times": []}`:                            `times: it has 0 elements; at least 1 are needed`,
		`{"to": "a", "times": [1,2,3]}`:                       `times: it has 3 elements; the most are 2`,
		`{"to": "a", "times": [1, 0]}`:                        `times[1]: it is less than 1, the least; write it as 3`,
		`{"to": "a", "times": [10]}`:                          `times[0]: it is more than 9, the most; write it as 3`,
		`{"to": "a", "times": ["x"]}`:                         `times[0]: it is a string, where an integer belongs; write it as 3`,
		`{"to": "a", "tone": "loud"}`:                         `tone: write "low" or "high"`,
		`{"to": "a", "pin": "hunter2"}`:                       `pin: it doesn't match ^[0-9]+$`,
		`{"to": "a", "unique": [1, 1]}`:                       `unique: it breaks the rule uniqueItems of the schema`,
		`{"to": "a", "named": {"A": 1}}`:                      `A: a key can't be called that`,
		`{"to": "a", "exact": false}`:                         `exact: write true`,
		`{"to": "a", "flag": 1}`:                              `flag: it is a number, where a boolean or a string belongs`,
		`[]`:                                                  `it is an array, where an object belongs`,
		`{"to": 1, "tone": 2, "x": 3}`:                        "to: it is a number, where a string belongs; write it as \"a/b\"\ntone: write \"low\" or \"high\"\nx: there is no such key; the keys are: exact, flag, headers, named, pin, secret, times, to, tone, unique; and those of every kind, exclude, on_failure, only_if and retry",
		`{"to": "a"`:                                          "action_config is not JSON: unexpected EOF",
	} {
		got := ""
		if err := r.validate(k, json.RawMessage(config)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", config, got, want)
		}
	}
}

// A kind without keys of its own names no empty list.
func TestValidateWithoutKeys(t *testing.T) {
	t.Parallel()
	r, err := NewRegistry(&Kind{Name: "bare", Schema: `{"type": "object", "additionalProperties": false, "properties": {"in": {"type": "object", "additionalProperties": false}}}`}, tell())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ config, want string }{
		"tell": {`{"volume": 1}`, "volume: there is no such key; remove it: the only keys are those of every kind, exclude, on_failure, only_if and retry"},
		"bare": {`{"in": {"a": 1}}`, "in.a: there is no such key; remove it: there are no keys here"},
	} {
		k, err := r.Kind(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.validate(k, json.RawMessage(c.config)); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// What is wrong may be a secret in the wrong place, and the error is stored and shown.
func TestValidateQuotesNoValue(t *testing.T) {
	t.Parallel()
	r := registry(t)
	k, err := r.Kind("ring")
	if err != nil {
		t.Fatal(err)
	}
	const planted = "hunter2hunter2hunter2hunter2"
	for _, key := range []string{"to", "secret", "headers", "times", "tone", "pin", "unique", "named", "exact", "other"} {
		for _, form := range []string{`{%q: %q}`, `{%q: {"ref": [%q]}}`, `{%q: [%q, %[2]q]}`, `{%q: {"a": {"b": %q}}}`, `{%q: {"ref": {"ref": %q}}}`} {
			err := r.validate(k, json.RawMessage(fmt.Sprintf(form, key, planted)))
			if err == nil {
				t.Errorf(form+" is accepted", key, planted)
			} else if strings.Contains(err.Error(), planted) {
				t.Errorf("%v", err)
			}
		}
	}
}

func TestNewRegistryRefuses(t *testing.T) {
	t.Parallel()
	with := func(schema string) *Kind { return &Kind{Name: "k", Schema: schema} }
	for want, kinds := range map[string][]*Kind{
		`there are two action kinds called "ring"`: {ring(), tell(), ring()},
		"it is not JSON":                   {with(`{`)},
		`"additionalProperties": false`:    {with(`{"type": "object"}`)},
		`"type": "object"`:                 {with(`{"additionalProperties": false}`)},
		`it must have "type"`:              {with(`true`)},
		`the property "retry"`:             {with(`{"type": "object", "additionalProperties": false, "properties": {"retry": {}}}`)},
		`its properties must be an object`: {with(`{"type": "object", "additionalProperties": false, "properties": 3}`)},
		"/properties/a/type":               {with(`{"type": "object", "additionalProperties": false, "properties": {"a": {"type": "text"}}}`)},
		"is not part of it":                {with(`{"type": "object", "additionalProperties": false, "properties": {"a": {"$ref": "file:///etc/passwd"}}}`)},
	} {
		if _, err := NewRegistry(kinds...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want something with %s", err, want)
		}
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	r := registry(t)
	var names []string
	for _, k := range r.Kinds() {
		names = append(names, k.Name)
	}
	if !slices.Equal(names, []string{"ring", "tell"}) {
		t.Errorf("kinds are %v", names)
	}
	for name, want := range map[string]string{
		"rung": `unknown action kind "rung"; did you mean "ring"?`,
		"mail": `unknown action kind "mail"; there are: ring, tell`,
	} {
		if _, err := r.Kind(name); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestSchema(t *testing.T) {
	t.Parallel()
	r := registry(t)
	if s := r.Schema("nobody"); s != nil {
		t.Errorf("an unknown kind has the schema %s", s)
	}
	whole := string(r.Schema("ring"))
	var doc struct {
		Schema      string `json:"$schema"`
		Title       string
		Description string
		Properties  map[string]any
	}
	if err := json.Unmarshal([]byte(whole), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Title != "Ring" || doc.Description != "Rings." || doc.Schema != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("title %q, description %q, schema %q", doc.Title, doc.Description, doc.Schema)
	}
	if len(doc.Properties) != 14 {
		t.Errorf("properties are %v", doc.Properties)
	}
	at := -1 // forms are drawn in the order of properties
	for _, key := range []string{"to", "secret", "headers", "times", "exclude", "on_failure", "only_if", "retry"} {
		i := strings.Index(whole, `"`+key+`":{`)
		if i <= at {
			t.Errorf("%s is not where it belongs in %s", key, whole)
		}
		at = i
	}

	// The whole schema is one, and says the same of the common keys as Plan does.
	for _, name := range []string{"ring", "tell"} {
		k := &Kind{Name: name, Schema: string(r.Schema(name))}
		k.Schema = strings.NewReplacer(`"exclude":`, `"ex":`, `"on_failure":`, `"on":`, `"only_if":`, `"oi":`, `"retry":`, `"re":`).Replace(k.Schema)
		s, err := compileSchema(k)
		if err != nil {
			t.Fatal(err)
		}
		to := `"to": "a", `
		if name == "tell" {
			to = ""
		}
		for config, ok := range map[string]bool{
			`"on": "stop", "re": ["5s", 3]`:  true,
			`"ex": ["actor", {"role": "x"}]`: true,
			`"ex": ["me"]`:                   false,
			`"on": "never"`:                  false,
			`"re": "5s"`:                     false,
			`"oi": [{"condition_type": "field_value", "condition_config": {"total": {"gt": 1}}}]`: true,
			`"oi": []`: true,
			`"oi": {"condition_type": "field_value", "condition_config": {}}`: false,
			`"oi": [{"condition_type": "moon", "condition_config": {}}]`:      false,
			`"oi": [{"total": 1}]`: false,
		} {
			if err := s.validate(json.RawMessage("{" + to + config + "}")); (err == nil) != ok {
				t.Errorf("%s: %s: %v", name, config, err)
			}
		}
	}
}
