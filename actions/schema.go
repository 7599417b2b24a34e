package actions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/rowbell/rowbell/pkg/spelling"
)

// schema is a kind's Schema, compiled.
type schema struct {
	compiled *jsonschema.Schema
	doc      map[string]any // as it was written, for what messages take from it
	whole    json.RawMessage
}

// commonSchema is what Schema adds to the properties of each kind, without the braces.
const commonSchema = `"exclude":{"title":"Who does not get it","description":"Recipients who are left out: actor (who made the change), or a user, role, group, or attribute (a column of the row).","type":"array","maxItems":50,"items":{"anyOf":[{"const":"actor"},{"type":"object","properties":{"user":{"type":"string"},"role":{"type":"string"},"group":{"type":"string"},"attribute":{"type":"string"}},"minProperties":1,"maxProperties":1,"additionalProperties":false}],"examples":["actor",{"role":"intern"}]},"examples":[["actor",{"role":"intern"}]]},` +
	`"on_failure":{"title":"When it fails for good","description":"stop cancels the actions with a higher order, continue goes on with them.","type":"string","enum":["stop","continue"],"default":"stop"},` +
	`"only_if":{"title":"Only if","description":"Conditions of this action's own, written as those of a workflow: where one of them does not hold for a change, the action is left out, and the log says so. They can't ask the directory, nor read redacted columns.","type":"array","maxItems":50,"items":{"type":"object","properties":{"condition_type":{"enum":["field_value","time_based","role_based","expression"]},"condition_config":{"type":"object"},"id":{"type":["string","null"]}},"required":["condition_type","condition_config"],"additionalProperties":false},"examples":[[{"condition_type":"field_value","condition_config":{"total":{"gt":1000}}}]]},` +
	`"retry":{"title":"Waits between attempts","description":"How long to wait after each failed attempt, as 5s, 5m, 2h or 1d, or in seconds. An empty list allows a single attempt.","type":"array","maxItems":50,"items":{"type":["string","number"],"examples":["5m"]},"examples":[["5s","5m","2h","1d"]]}`

// compileSchema refuses what would not do for an action_config.
func compileSchema(k *Kind) (*schema, error) {
	parsed, err := jsonschema.UnmarshalJSON(strings.NewReader(k.Schema))
	if err != nil {
		return nil, fmt.Errorf("it is not JSON: %w", err)
	}
	doc, ok := parsed.(map[string]any)
	if !ok || doc["type"] != "object" || doc["additionalProperties"] != false {
		return nil, errors.New(`it must have "type": "object" and "additionalProperties": false`)
	}
	properties, ok := doc["properties"].(map[string]any)
	if !ok && doc["properties"] != nil {
		return nil, errors.New("its properties must be an object")
	}
	for _, key := range CommonKeys {
		if properties[key] != nil {
			return nil, fmt.Errorf("the property %q is every kind's; leave it out", key)
		}
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	url := "rowbell:action/" + k.Name
	if err := c.AddResource(url, doc); err != nil {
		return nil, err
	}
	s := &schema{doc: doc}
	if s.compiled, err = c.Compile(url); err != nil {
		return nil, err
	}
	s.whole, err = wholeSchema(k)
	return s, err
}

// noLoader keeps a schema from naming files and URLs.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is not part of it; use $defs", url)
}

// wholeSchema adds the common keys, and leaves the properties in their order.
func wholeSchema(k *Kind) (json.RawMessage, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal([]byte(k.Schema), &top); err != nil {
		return nil, err
	}
	properties := bytes.TrimSpace(top["properties"])
	if len(properties) == 0 {
		properties = []byte("{}")
	}
	own := bytes.TrimSpace(properties[1 : len(properties)-1])
	all := append([]byte("{"), own...)
	if len(own) > 0 {
		all = append(all, ',')
	}
	top["properties"] = append(append(all, commonSchema...), '}')
	for key, value := range map[string]string{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": k.Title, "description": k.Help,
	} {
		if _, ok := top[key]; ok || value == "" {
			continue
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		top[key] = text
	}
	return json.Marshal(top)
}

func (s *schema) validate(config json.RawMessage) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(config))
	if err != nil {
		return fmt.Errorf("action_config is not JSON: %w", err)
	}
	err = s.compiled.Validate(value)
	invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return err
	}
	lines := s.problems(nil, invalid)
	slices.Sort(lines)
	return errors.New(strings.Join(slices.Compact(lines), "\n"))
}

// problems appends a line for each thing that is wrong.
func (s *schema) problems(lines []string, e *jsonschema.ValidationError) []string {
	at := e.InstanceLocation
	say := func(at []string, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if path := jsonPath(at); path != "" {
			text = path + ": " + text
		}
		lines = append(lines, text)
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		for _, c := range e.Causes {
			lines = s.problems(lines, c)
		}
	case *kind.OneOf, *kind.AnyOf:
		// What it is decides which of the forms was meant.
		var meant []*jsonschema.ValidationError
		for _, c := range e.Causes {
			if !wrongType(c, at) {
				meant = append(meant, c)
			}
		}
		if len(meant) != 1 {
			say(at, "it has none of the forms that it may have%s", s.mend(at))
			break
		}
		lines = s.problems(lines, meant[0])
	case *kind.Type:
		say(at, "it is %s, where %s belongs%s", article(k.Got), articles(k.Want), s.mend(at))
	case *kind.Required:
		for _, key := range k.Missing {
			there := append(slices.Clone(at), key)
			say(there, "it is missing%s", s.mend(there))
		}
	case *kind.AdditionalProperties:
		own, common := s.keys(at), []string(nil)
		if len(at) == 0 {
			common = CommonKeys
		}
		for _, key := range k.Properties {
			mend := spelling.Mend(key, slices.Concat(own, common))
			if mend == "" {
				mend = keyList(own, common)
			}
			say(append(slices.Clone(at), key), "there is no such key; %s", mend)
		}
	case *kind.PropertyNames:
		// Only the key: the library's location shares its memory with its neighbours',
		// and may name one of them.
		say([]string{k.Property}, "a key can't be called that")
	case *kind.Enum:
		say(at, "write %s", orList(k.Want))
	case *kind.Const:
		say(at, "write %s", orList([]any{k.Want}))
	case *kind.MinLength:
		if k.Got == 0 {
			say(at, "it is empty%s", s.mend(at))
			break
		}
		say(at, "it has %s; at least %d are needed", count(k.Got, "character"), k.Want)
	case *kind.MaxLength:
		say(at, "it has %s; the most are %d", count(k.Got, "character"), k.Want)
	case *kind.Minimum:
		say(at, "it is less than %s, the least%s", k.Want.RatString(), s.mend(at))
	case *kind.Maximum:
		say(at, "it is more than %s, the most%s", k.Want.RatString(), s.mend(at))
	case *kind.MinItems:
		say(at, "it has %s; at least %d are needed%s", count(k.Got, "element"), k.Want, s.mend(at))
	case *kind.MaxItems:
		say(at, "it has %s; the most are %d", count(k.Got, "element"), k.Want)
	case *kind.MaxProperties:
		say(at, "it has %s; the most are %d", count(k.Got, "key"), k.Want)
	case *kind.Pattern:
		say(at, "it doesn't match %s%s", k.Want, s.mend(at)) // the pattern, not the value
	default:
		// The library's own texts may quote the value.
		say(at, "it breaks the rule %s of the schema%s", strings.Join(e.ErrorKind.KeywordPath(), "."), s.mend(at))
	}
	return lines
}

// wrongType says that a form was refused since the value is of another JSON type.
func wrongType(e *jsonschema.ValidationError, at []string) bool {
	if _, ok := e.ErrorKind.(*kind.Type); ok {
		return len(e.InstanceLocation) == len(at)
	}
	return slices.ContainsFunc(e.Causes, func(c *jsonschema.ValidationError) bool { return wrongType(c, at) })
}

// mend is the examples that the schema has for a place, or nothing.
func (s *schema) mend(at []string) string {
	examples, _ := s.at(at)["examples"].([]any)
	if len(examples) == 0 {
		return ""
	}
	return "; write it as " + orList(examples)
}

// keys are the property names that a place may have, sorted.
func (s *schema) keys(at []string) []string {
	properties, _ := s.form(s.at(at))["properties"].(map[string]any)
	return slices.Sorted(maps.Keys(properties))
}

// keyList says which keys there are. Those of every kind are named apart: they are not
// what somebody looks for who guessed at a key of this one.
func keyList(own, common []string) string {
	switch {
	case len(own) == 0 && len(common) == 0:
		return "remove it: there are no keys here"
	case len(own) == 0:
		return "remove it: the only keys are those of every kind, " + listed(common)
	case len(common) == 0:
		return "the keys are: " + strings.Join(own, ", ")
	}
	return "the keys are: " + strings.Join(own, ", ") + "; and those of every kind, " + listed(common)
}

// at is the part of the schema that is about a place in the config; nil if it is not
// plain to find.
func (s *schema) at(path []string) map[string]any {
	part := s.resolve(s.doc)
	for _, key := range path {
		next := s.form(part)
		properties, _ := next["properties"].(map[string]any)
		switch {
		case properties[key] != nil:
			part = s.resolve(properties[key])
		case next["type"] == "array":
			part = s.resolve(next["items"])
		default:
			part = s.resolve(next["additionalProperties"])
		}
	}
	return part
}

// form is the one of several forms that has places inside; part itself if it has none.
func (s *schema) form(part map[string]any) map[string]any {
	for _, of := range []string{"oneOf", "anyOf"} {
		forms, _ := part[of].([]any)
		for _, f := range forms {
			if form := s.resolve(f); form["type"] == "object" || form["type"] == "array" {
				return form
			}
		}
	}
	return part
}

// resolve follows a $ref to a $def.
func (s *schema) resolve(part any) map[string]any {
	m, _ := part.(map[string]any)
	ref, _ := m["$ref"].(string)
	if name, ok := strings.CutPrefix(ref, "#/$defs/"); ok {
		defs, _ := s.doc["$defs"].(map[string]any)
		def, _ := defs[name].(map[string]any)
		merged := maps.Clone(def)
		for key, value := range m { // what stands beside the $ref is closer
			if key != "$ref" && merged != nil {
				merged[key] = value
			}
		}
		return merged
	}
	return m
}

// jsonPath writes a place as people read it: headers.X-Foo, retry[2].
func jsonPath(at []string) string {
	var b strings.Builder
	for _, key := range at {
		switch _, err := strconv.ParseUint(key, 10, 32); {
		case err == nil:
			b.WriteString("[" + key + "]")
			continue
		case b.Len() > 0:
			b.WriteByte('.')
		}
		if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r == '.' || r == '"' }) || key == "" {
			b.WriteString(strconv.Quote(shorten(key)))
			continue
		}
		b.WriteString(shorten(key))
	}
	return b.String()
}

// article puts the words of JSON into a sentence.
func article(jsonType string) string {
	switch jsonType {
	case "null", "true", "false":
		return jsonType
	case "object", "array", "integer":
		return "an " + jsonType
	}
	return "a " + jsonType
}

func articles(jsonTypes []string) string {
	words := make([]string, len(jsonTypes))
	for i, t := range jsonTypes {
		words[i] = article(t)
	}
	return strings.Join(words, " or ")
}

func orList(values []any) string {
	words := make([]string, 0, len(values))
	for _, v := range values {
		text, err := json.Marshal(v)
		if err != nil {
			continue // came from JSON
		}
		words = append(words, string(text))
	}
	return strings.Join(words, " or ")
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}

// listed names things for a sentence: a, b and c.
func listed(names []string) string {
	n := len(names) - 1
	if n < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:n], ", ") + " and " + names[n]
}
