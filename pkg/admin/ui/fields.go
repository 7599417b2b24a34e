package ui

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// kind is a kind of action, with what its configuration holds.
type kind struct {
	api.KindOut
	properties []property
}

// property is one key of an action's configuration.
type property struct {
	Key, Title, Help, Example string
	Input                     string // line, text, choice, number, secret, list, group, chip
	Choices                   []string
	Parts                     []property // of a group
	Required                  bool
	Liquid                    bool // values of the row can stand in it
}

// common are keys of every kind, and those which few need: they stand behind a disclosure.
var seldom = []string{"exclude", "on_failure", "retry", "secrets", "headers", "timeout", "rate", "concurrency", "from_name", "reply_to"}

// kindOf reads a kind's schema.
func newKind(k api.KindOut) *kind {
	out := &kind{KindOut: k}
	var top struct {
		Properties json.RawMessage            `json:"properties"`
		Defs       map[string]json.RawMessage `json:"$defs"`
		Required   []string                   `json:"required"`
	}
	if json.Unmarshal(k.Schema, &top) != nil {
		return out
	}
	out.properties = readProperties(top.Properties, top.Defs, top.Required)
	for i := range out.properties {
		if p := &out.properties[i]; p.Input == "line" && p.Liquid && (p.Key == "body" || p.Key == "text") {
			p.Input = "text"
		}
	}
	return out
}

func readProperties(raw json.RawMessage, defs map[string]json.RawMessage, required []string) []property {
	list, _ := readMembers(raw)
	var out []property
	for _, m := range list {
		if m.key == workflow.OnlyIfKey {
			continue // which has a form of its own
		}
		var p struct {
			Title, Description, Format string
			Ref                        string          `json:"$ref"`
			Type                       json.RawMessage `json:"type"`
			Enum                       []string        `json:"enum"`
			OneOf                      json.RawMessage `json:"oneOf"`
			Properties                 json.RawMessage `json:"properties"`
			Required                   []string        `json:"required"`
			Items                      json.RawMessage `json:"items"`
			Examples                   []json.RawMessage
		}
		if json.Unmarshal(m.value, &p) != nil {
			continue
		}
		name := strings.TrimPrefix(p.Ref, "#/$defs/")
		if def := defs[name]; def != nil {
			var d struct {
				Type  json.RawMessage `json:"type"`
				OneOf json.RawMessage `json:"oneOf"`
			}
			if json.Unmarshal(def, &d) == nil {
				p.Type, p.OneOf = d.Type, d.OneOf
			}
		}
		one := property{Key: m.key, Title: cmp.Or(p.Title, m.key), Help: plainHelp(p.Description), Required: slices.Contains(required, m.key), Choices: p.Enum, Liquid: strings.Contains(p.Description, "Liquid")}
		if len(p.Examples) > 0 {
			_ = json.Unmarshal(p.Examples[0], &one.Example) // one that is no text isn't shown
		}
		kinds := string(p.Type)
		switch {
		case len(p.Enum) > 0:
			one.Input = "choice"
		case p.OneOf != nil:
			one.Input = "secret"
		case p.Properties != nil:
			one.Input, one.Parts = "group", readProperties(p.Properties, defs, p.Required)
		case strings.Contains(kinds, `"array"`) && strings.Contains(string(p.Items), `"string"`) && !strings.Contains(string(p.Items), "$ref") && !strings.Contains(string(p.Items), "anyOf"):
			one.Input = "list"
		case strings.Contains(kinds, `"integer"`):
			one.Input = "number"
		case strings.Contains(kinds, `"string"`):
			one.Input = "line"
		default:
			one.Input = "chip"
		}
		out = append(out, one)
	}
	return out
}

// plainHelp leaves out what people need not know who write with the values at hand.
func plainHelp(s string) string {
	var kept []string
	for each := range strings.SplitSeq(s, ". ") {
		if !strings.Contains(each, "Liquid") {
			kept = append(kept, strings.TrimSuffix(each, "."))
		}
	}
	if len(kept) == 0 {
		return ""
	}
	return strings.Join(kept, ". ") + "."
}

// shownText is a value as its input shows it; ok is false if no input can.
func (p *property) shownText(raw json.RawMessage) (s string, ok bool) {
	switch {
	case len(raw) == 0:
		return "", true
	case p.Input == "list":
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			return "", false
		}
		texts := make([]string, len(list))
		for i, each := range list {
			if texts[i], _, ok = readScalar(each); !ok {
				return "", false
			}
		}
		return strings.Join(texts, ", "), true
	case json.Unmarshal(raw, &s) == nil:
		return s, true
	}
	s, _, ok = readScalar(raw)
	return s, ok
}

// written is what an input's text says; nil nothing.
func (p *property) written(s string) json.RawMessage {
	switch {
	case p.Input == "list":
		if list := words(s); len(list) > 0 {
			return jsonText(list)
		}
		return nil
	case strings.TrimSpace(s) == "":
		return nil
	case p.Input == "number" && isNumber(strings.TrimSpace(s)):
		return json.RawMessage(strings.TrimSpace(s))
	}
	return jsonText(strings.ReplaceAll(s, "\r\n", "\n"))
}

// read takes over what a form has of an action's configuration, below a path. What isn't in the
// form stays as it was.
func (k *kind) read(f fields, at string, before json.RawMessage) json.RawMessage {
	m, _ := readMembers(before)
	readInto(&m, k.properties, f, at)
	return m.raw()
}

func readInto(m *members, list []property, f fields, at string) {
	for i := range list {
		p := &list[i]
		name := at + "." + p.Key
		was := m.get(p.Key)
		switch {
		case p.Key == "exclude":
			if f.has(name + ".shown") {
				m.set(p.Key, nil)
				if f.has(name) {
					m.set(p.Key, json.RawMessage(`["actor"]`))
				}
			}
		case p.Input == "group":
			inner, _ := readMembers(was)
			readInto(&inner, p.Parts, f, name)
			m.set(p.Key, nil)
			if len(inner) > 0 {
				m.set(p.Key, inner.raw())
			}
		case f.has(name):
			s := f.get(name)
			if p.Input == "secret" && s == "" {
				continue // the one that there is stays
			}
			if before, ok := p.shownText(was); ok && before == strings.ReplaceAll(s, "\r\n", "\n") && was != nil {
				continue
			}
			m.set(p.Key, p.written(s))
		case was != nil && was[0] == '{' && p.Input != "secret" && p.Input != "chip": // translations
			langs, _ := readMembers(was)
			for j := range langs {
				if in := name + "." + langs[j].key; f.has(in) {
					langs[j].value = jsonText(strings.ReplaceAll(f.get(in), "\r\n", "\n"))
				}
			}
			m.set(p.Key, langs.raw())
		}
	}
}

// fieldView is an input of a form.
type fieldView struct {
	property
	Name    string // of the input, which is its id, too
	Value   string
	Lang    string // of a translation
	Chip    string // what can't be edited here
	Stored  bool   // of a secret: there is one
	Checked bool
	Fields  []fieldView // of a group
	Problem []string
}

// view is what a form shows of a configuration: what everybody needs, and what few do.
func (k *kind) view(at string, config json.RawMessage) (main, more []fieldView) {
	m, _ := readMembers(config)
	for _, v := range viewOf(k.properties, at, m) {
		if slices.Contains(seldom, v.Key) && !v.Required {
			more = append(more, v)
		} else {
			main = append(main, v)
		}
	}
	return main, more
}

func viewOf(list []property, at string, m members) []fieldView {
	var out []fieldView
	for _, p := range list {
		raw := m.get(p.Key)
		v := fieldView{property: p, Name: at + "." + p.Key}
		switch {
		case p.Key == "exclude":
			v.Input = "check"
			v.Title, v.Help = "Leave out whoever made the change", ""
			v.Checked = string(raw) == `["actor"]`
			if raw != nil && !v.Checked {
				v.Input, v.Chip = "chip", string(raw)
			}
		case p.Input == "chip":
			if raw == nil {
				continue
			}
			v.Chip = string(raw)
		case p.Input == "secret":
			v.Stored = raw != nil
		case p.Input == "group":
			inner, _ := readMembers(raw)
			v.Fields = viewOf(p.Parts, v.Name, inner)
		default:
			s, ok := p.shownText(raw)
			v.Value = s
			if langs, isObject := readMembers(raw); !ok && isObject {
				for _, l := range langs {
					one := v
					one.Lang, one.Name = l.key, v.Name+"."+l.key
					_ = json.Unmarshal(l.value, &one.Value) // what is no text is wrong, and shows as none
					out = append(out, one)
				}
				continue
			} else if !ok {
				v.Input, v.Chip = "chip", string(raw)
			}
		}
		out = append(out, v)
	}
	return out
}
