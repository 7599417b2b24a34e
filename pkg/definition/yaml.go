package definition

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// YAML writes a workflow for people: Read gives the same workflow again. Keys that say
// nothing are left out.
func YAML(w *workflow.Workflow) ([]byte, error) {
	root := &node{kind: mapping}
	set := func(n *node, key, value string) {
		if value != "" {
			n.members = append(n.members, member{key: key, value: &node{kind: text, value: value}})
		}
	}
	var problem error
	object := func(n *node, key string, raw json.RawMessage) {
		if len(raw) == 0 {
			return
		}
		v, err := parseJSON(key, raw)
		if err != nil {
			problem = fmt.Errorf("write workflow %s as YAML: %w", w.ID, err)
			return
		}
		if v.kind == null || v.kind == mapping && len(v.members) == 0 {
			return
		}
		n.members = append(n.members, member{key: key, value: v})
	}
	count := func(n *node, key string, value, usual int32) {
		if value != usual {
			n.members = append(n.members, member{key: key, value: &node{kind: number, value: fmt.Sprint(value)}})
		}
	}
	part := func(key string, n int, f func(i int, n *node)) {
		if n == 0 {
			return
		}
		of := &node{kind: list}
		for i := range n {
			item := &node{kind: mapping}
			f(i, item)
			of.items = append(of.items, item)
		}
		root.members = append(root.members, member{key: key, value: of})
	}
	set(root, "name", w.Name)
	set(root, "description", w.Description)
	set(root, "status", string(w.Status))
	if w.TenantID != nil {
		set(root, "tenant_id", *w.TenantID)
	}
	set(root, "id", w.ID)
	settings, tests, err := splitTests(w.Settings)
	if err != nil {
		return nil, fmt.Errorf("write workflow %s as YAML: %w", w.ID, err)
	}
	object(root, "settings", settings)
	part("triggers", len(w.Triggers), func(i int, n *node) {
		t := w.Triggers[i]
		set(n, "entity_type", t.EntityType)
		set(n, "operation", t.Operation)
		object(n, "field_conditions", t.FieldConditions)
		count(n, "priority", t.Priority, 100)
		set(n, "id", t.ID)
	})
	part("conditions", len(w.Conditions), func(i int, n *node) {
		c := w.Conditions[i]
		set(n, "condition_type", c.Type)
		object(n, "condition_config", c.Config)
		set(n, "id", c.ID)
	})
	part("actions", len(w.Actions), func(i int, n *node) {
		a := w.Actions[i]
		set(n, "action_type", a.Type)
		object(n, "action_config", a.Config)
		count(n, "order", a.Order, 0)
		set(n, "id", a.ID)
	})
	part("recipients", len(w.Recipients), func(i int, n *node) {
		r := w.Recipients[i]
		set(n, "recipient_type", r.Type)
		set(n, "recipient_id", r.Value)
		if r.ActionID != nil {
			set(n, "action_id", *r.ActionID)
		}
		set(n, "id", r.ID)
	})
	if problem != nil {
		return nil, problem
	}
	if tests != nil {
		root.members = append(root.members, member{key: "tests", value: tests})
	}
	return writeTree(root), nil
}

func writeTree(root *node) []byte {
	var b bytes.Buffer
	if len(root.members) == 0 {
		return []byte("{}\n")
	}
	writeMembers(&b, root, "", "")
	return b.Bytes()
}

// splitTests takes the tests out of the settings; nil if there are none.
func splitTests(raw json.RawMessage) (settings json.RawMessage, tests *node, err error) {
	if !bytes.Contains(raw, []byte(`"`+workflow.TestsKey+`"`)) {
		return raw, nil, nil
	}
	root, err := parseJSON("settings", raw)
	if err != nil {
		return nil, nil, err
	}
	tests = root.get(workflow.TestsKey)
	if tests == nil || tests.kind != list || len(tests.items) == 0 {
		return raw, nil, nil
	}
	root.members = slices.DeleteFunc(root.members, func(m member) bool { return m.key == workflow.TestsKey })
	for _, t := range tests.items {
		inOrder(t, testKeys)
		for key, keys := range map[string][]string{"change": testChangeKeys, "event": testEventKeys, "expect": testExpectKeys} {
			if of := t.get(key); of != nil {
				inOrder(of, keys)
			}
		}
		if expect := t.get("expect"); expect != nil {
			for key, keys := range map[string][]string{"recipients": append(slices.Clone(recipientTypes), "value"), "texts": {"action", "title", "subject"}} {
				if of := expect.get(key); of != nil {
					for _, item := range of.items {
						inOrder(item, keys)
					}
				}
			}
		}
	}
	return root.raw(), tests, nil
}

// inOrder puts the members of a mapping into an order that people like, as far as keys
// says: jsonb has its own.
func inOrder(n *node, keys []string) {
	place := func(m member) int {
		if i := slices.Index(keys, m.key); i >= 0 {
			return i
		}
		return len(keys)
	}
	slices.SortStableFunc(n.members, func(a, b member) int { return place(a) - place(b) })
}

// writeMembers writes a mapping: the first line behind what stands there, the others
// indented.
func writeMembers(b *bytes.Buffer, n *node, first, indent string) {
	for i, m := range n.members {
		if i == 0 {
			b.WriteString(first)
		} else {
			b.WriteString(indent)
		}
		writeScalarText(b, m.key)
		b.WriteByte(':')
		writeValue(b, m.value, indent)
	}
}

// writeValue writes what stands behind a key or a dash, and ends the line.
func writeValue(b *bytes.Buffer, n *node, indent string) {
	inner := indent + "  "
	switch {
	case n.kind == mapping && len(n.members) > 0:
		b.WriteByte('\n')
		writeMembers(b, n, inner, inner)
	case n.kind == list && len(n.items) > 0 && short(n):
		b.WriteString(" [")
		for i, item := range n.items {
			if i > 0 {
				b.WriteString(", ")
			}
			writeScalar(b, item, true)
		}
		b.WriteString("]\n")
	case n.kind == list && len(n.items) > 0:
		b.WriteByte('\n')
		for _, item := range n.items {
			b.WriteString(inner + "-")
			if item.kind == mapping && len(item.members) > 0 {
				writeMembers(b, item, " ", inner+"  ")
			} else {
				writeValue(b, item, inner)
			}
		}
	case n.kind == text && block(n.value):
		b.WriteString(" |")
		body, ends := strings.CutSuffix(n.value, "\n")
		if !ends {
			b.WriteByte('-')
		}
		b.WriteByte('\n')
		for line := range strings.SplitSeq(body, "\n") {
			if line != "" {
				b.WriteString(inner + line)
			}
			b.WriteByte('\n')
		}
	default:
		b.WriteByte(' ')
		writeScalar(b, n, false)
		b.WriteByte('\n')
	}
}

// short says that a list goes on one line: a few scalars.
func short(n *node) bool {
	width := 0
	for _, item := range n.items {
		if item.kind == list && len(item.items) > 0 || item.kind == mapping && len(item.members) > 0 || strings.Contains(item.value, "\n") {
			return false
		}
		width += utf8.RuneCountInString(item.value) + 4
	}
	return width <= 80
}

// block says that a text can be read best, and without loss, as a block of lines.
func block(s string) bool {
	body := strings.TrimSuffix(s, "\n")
	if !strings.Contains(body, "\n") || strings.HasPrefix(s, "\n") || strings.HasPrefix(s, " ") || strings.HasSuffix(body, "\n") {
		return false
	}
	for line := range strings.SplitSeq(body, "\n") {
		if strings.TrimSpace(line) == "" && line != "" || strings.TrimRight(line, " \t") != line || strings.ContainsFunc(line, unprintable) {
			return false
		}
	}
	return true
}

// unprintable says that a character must be escaped to be read and to come back.
func unprintable(r rune) bool {
	return !unicode.IsGraphic(r) || r == '\uFEFF' || r == '\u2028' || r == '\u2029' || r == '\u0085' || r == utf8.RuneError
}

func writeScalar(b *bytes.Buffer, n *node, inFlow bool) {
	switch n.kind {
	case text:
		if inFlow && strings.ContainsAny(n.value, ",[]{}") {
			writeQuoted(b, n.value)
			return
		}
		writeScalarText(b, n.value)
	case list:
		b.WriteString("[]")
	case mapping:
		b.WriteString("{}")
	case null:
		b.WriteString("null")
	default:
		b.WriteString(n.value)
	}
}

// plain is what needs no quotes: words that start with a letter, and hold nothing that
// YAML takes for its own.
var plain = regexp.MustCompile(`^[\pL_/][\pL\pN_./()<>=+*@$%^~;!?&|\\', -]*$`)

// words are those that some reader of YAML takes for something else than a text.
var words = map[string]bool{
	"null": true, "true": true, "false": true, "yes": true, "no": true, "on": true, "off": true, "y": true, "n": true,
}

func writeScalarText(b *bytes.Buffer, s string) {
	// The parser takes << for a merge of keys wherever it stands.
	if plain.MatchString(s) && !strings.Contains(s, "<<") && !words[strings.ToLower(s)] && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, unprintable) {
		b.WriteString(s)
		return
	}
	writeQuoted(b, s)
}

// writeQuoted writes a text in single quotes if those leave it as it is, else in double
// ones.
func writeQuoted(b *bytes.Buffer, s string) {
	if !strings.ContainsFunc(s, func(r rune) bool { return unprintable(r) || r == '\'' }) {
		quote := `"`
		if strings.ContainsAny(s, `"\`) {
			quote = `'`
		}
		b.WriteString(quote + s + quote)
		return
	}
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case !unprintable(r):
			b.WriteRune(r)
		case r <= 0xff:
			fmt.Fprintf(b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteByte('"')
}
