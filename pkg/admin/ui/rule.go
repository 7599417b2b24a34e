package ui

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// member is one member of a JSON object.
type member struct {
	key   string
	value json.RawMessage
}

// members are those of a JSON object, in the order in which they stand there.
type members []member

// readMembers reads an object; ok is false for anything else.
func readMembers(raw []byte) (list members, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	for dec.More() {
		key, err := dec.Token()
		name, isText := key.(string)
		var m member
		if err != nil || !isText || dec.Decode(&m.value) != nil {
			return nil, false
		}
		m.key = name
		list = append(list, m)
	}
	return list, true
}

func (m members) get(key string) json.RawMessage {
	if i := slices.IndexFunc(m, func(one member) bool { return one.key == key }); i >= 0 {
		return m[i].value
	}
	return nil
}

func (m *members) set(key string, value json.RawMessage) {
	i := slices.IndexFunc(*m, func(one member) bool { return one.key == key })
	switch {
	case value == nil && i >= 0:
		*m = slices.Delete(*m, i, i+1)
	case value == nil:
	case i >= 0:
		(*m)[i].value = value
	default:
		*m = append(*m, member{key, value})
	}
}

func (m members) raw() json.RawMessage {
	b := []byte{'{'}
	for i, one := range m {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, jsonText(one.key)...), ':'), one.value...)
	}
	return append(b, '}')
}

// jsonText writes a value that can always be written, without escapes for HTML.
func jsonText(v any) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return json.RawMessage("null")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// group is conditions that a person has put together; docs/conditions.md has what it is
// written as.
type group struct {
	Join  string // all, any, none, notall
	Items []*item
}

// item is a part of a group: exactly one of these is there.
type item struct {
	Clause *clause
	Group  *group
	Raw    json.RawMessage // what the form can't hold: an object, kept as it is
}

// clause compares a column.
type clause struct {
	Column, Op string
	Values     []string
	Text       bool // of a column whose type isn't known: it is a text, even if it looks like a number
}

// joins are what a group can ask of its parts.
var joins = pick("all", "all of these hold", "any", "at least one of these holds", "none", "none of these holds", "notall", "not all of these hold")

// operatorTexts are the operators of field conditions in words, in the order in which they are
// offered. unchanged is the form's own name for changed: false.
var operatorTexts = pick("eq", "is", "ne", "is not", "in", "is one of", "not_in", "is none of", "gt", "is more than", "gte", "is at least", "lt", "is less than", "lte", "is at most",
	"between", "is between", "contains", "contains", "starts_with", "starts with", "matches", "matches the pattern", "not_null", "is filled in", "is_null", "is empty",
	"changed_to", "has become", "changed_from", "is no longer", "changed", "has changed", "unchanged", "has not changed")

// timeTexts are other words for some, where a column holds a date or a time.
var timeTexts = map[string]string{"gt": "is after", "gte": "is on or after", "lt": "is before", "lte": "is on or before"}

// Values of an operator: none, one, two or a list.
func valuesOf(op string) int {
	switch op {
	case "is_null", "not_null", "changed", "unchanged":
		return 0
	case "between":
		return 2
	case "in", "not_in", "changed_to", "changed_from":
		return many
	}
	return 1
}

const many = -1

// complete says that nothing is missing.
func (c *clause) complete() bool {
	if c.Column == "" || c.Op == "" {
		return false
	}
	switch n := valuesOf(c.Op); n {
	case 0:
		return true
	case many:
		return len(c.Values) > 0
	default:
		return len(c.Values) == n && !slices.Contains(c.Values, "")
	}
}

// readRule makes a group of a field condition.
func readRule(raw json.RawMessage) *group {
	g := &group{Join: "all"}
	m, ok := readMembers(raw)
	if !ok {
		if len(raw) > 0 && string(raw) != "null" {
			g.Items = append(g.Items, &item{Raw: raw})
		}
		return g
	}
	// A group that stands alone is the whole of it.
	if len(m) == 1 && (m[0].key == "any" || m[0].key == "not") {
		if one := readMember(m[0]); one.Group != nil {
			return one.Group
		}
	}
	if field := m.get("field"); field != nil && m.get("operator") != nil && len(m) <= 3 {
		if c := readSpelled(m); c != nil {
			g.Items = append(g.Items, &item{Clause: c})
			return g
		}
	}
	for _, one := range m {
		g.Items = append(g.Items, readColumn(one)...)
	}
	return g
}

func readSpelled(m members) *clause {
	var column, op string
	if json.Unmarshal(m.get("field"), &column) != nil || json.Unmarshal(m.get("operator"), &op) != nil {
		return nil
	}
	return readClause(column, op, m.get("value"))
}

// readColumn reads a member of an object: a column with what it is compared with, or a group.
func readColumn(m member) []*item {
	switch m.key {
	case "all": // no more than its parts, in a group where all must hold
		var list []json.RawMessage
		if json.Unmarshal(m.value, &list) == nil {
			var items []*item
			for _, raw := range list {
				if inner := readRule(raw); inner.Join == "all" {
					items = append(items, inner.Items...)
				} else {
					items = append(items, &item{Group: inner})
				}
			}
			return items
		}
	case "any", "not":
		return []*item{readMember(m)}
	case "any_changed":
	default:
		ops, isObject := readMembers(m.value)
		if !isObject {
			if c := readClause(m.key, "eq", m.value); c != nil {
				return []*item{{Clause: c}}
			}
			break
		}
		var items []*item
		for _, op := range ops {
			c := readClause(m.key, op.key, op.value)
			if c == nil {
				return []*item{{Raw: members{m}.raw()}}
			}
			items = append(items, &item{Clause: c})
		}
		return items
	}
	return []*item{{Raw: members{m}.raw()}}
}

// readMember reads a group: any, or not.
func readMember(m member) *item {
	kept := &item{Raw: members{m}.raw()}
	if m.key == "not" {
		inner := readRule(m.value)
		switch inner.Join {
		case "any":
			return &item{Group: &group{"none", inner.Items}}
		case "all":
			if len(inner.Items) > 0 {
				return &item{Group: &group{"notall", inner.Items}}
			}
		}
		return kept
	}
	var list []json.RawMessage
	if json.Unmarshal(m.value, &list) != nil || len(list) == 0 {
		return kept
	}
	g := &group{Join: "any"}
	for _, raw := range list {
		inner := readRule(raw)
		if inner.Join == "all" && len(inner.Items) == 1 {
			g.Items = append(g.Items, inner.Items[0])
			continue
		}
		g.Items = append(g.Items, &item{Group: inner})
	}
	return &item{Group: g}
}

// readClause reads a comparison; nil if the form can't hold it.
func readClause(column, op string, raw json.RawMessage) *clause {
	c := &clause{Column: column, Op: op}
	switch n := valuesOf(op); {
	case op == "changed" || op == "is_null" || op == "not_null":
		var is bool
		if json.Unmarshal(raw, &is) != nil {
			return nil
		}
		if !is {
			c.Op = map[string]string{"changed": "unchanged", "is_null": "not_null", "not_null": "is_null"}[op]
		}
		return c
	case op == "unchanged" || operatorText(op, "") == "":
		return nil
	case string(raw) == "null" && (op == "eq" || op == "ne"):
		c.Op = map[string]string{"eq": "is_null", "ne": "not_null"}[op]
		return c
	case n == 1:
		v, text, ok := readScalar(raw)
		c.Values, c.Text = []string{v}, text
		if !ok {
			return nil
		}
		return c
	default:
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			list = []json.RawMessage{raw} // one value stands for a list of it
		}
		for _, each := range list {
			v, text, ok := readScalar(each)
			if !ok || v == "" {
				return nil
			}
			c.Values, c.Text = append(c.Values, v), c.Text || text
		}
		if n == 2 && len(c.Values) != 2 || len(c.Values) == 0 {
			return nil
		}
		return c
	}
}

// readScalar reads a value that an input can hold, with all digits of a number.
func readScalar(raw json.RawMessage) (v string, text, ok bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return "", false, false
	}
	switch raw[0] {
	case '"':
		return v, true, json.Unmarshal(raw, &v) == nil && !strings.ContainsAny(v, "\n\r")
	case '{', '[', 'n':
		return "", false, false
	}
	return string(raw), false, true
}

// json writes a group as a field condition. types are the types of columns, by their names.
// Clauses that aren't complete are left out.
func (g *group) json(types map[string]string) json.RawMessage {
	switch g.Join {
	case "any":
		if list := g.list(types); list != nil {
			return members{{"any", list}}.raw()
		}
		return json.RawMessage("{}")
	case "none":
		if list := g.list(types); list != nil {
			return members{{"not", members{{"any", list}}.raw()}}.raw()
		}
		return json.RawMessage("{}")
	case "notall":
		if all := (&group{"all", g.Items}).json(types); len(all) > 2 {
			return members{{"not", all}}.raw()
		}
		return json.RawMessage("{}")
	}
	var out members
	var more []json.RawMessage // what has no place beside the others
	for _, it := range g.Items {
		if it.Clause != nil && it.Clause.complete() && !reserved(it.Clause.Column) {
			column, op, value := it.Clause.Column, it.Clause.operator(), it.Clause.json(types)
			before := out.get(column)
			ops, isObject := readMembers(before)
			switch {
			case before == nil && op == "eq":
				out = append(out, member{column, value})
				continue
			case before == nil:
				out = append(out, member{column, members{{op, value}}.raw()})
				continue
			case isObject && ops.get(op) == nil && op != "eq":
				out.set(column, append(ops, member{op, value}).raw())
				continue
			}
		}
		raw := it.json(types)
		inner, isObject := readMembers(raw)
		switch {
		case len(inner) == 0 && isObject: // nothing yet
		case isObject && !slices.ContainsFunc(inner, func(m member) bool { return out.get(m.key) != nil }) && inner.get("field") == nil:
			out = append(out, inner...)
		default:
			more = append(more, raw)
		}
	}
	if more != nil {
		if all := out.get("all"); all != nil { // kept from before, and not a list
			more = append(more, members{{"all", all}}.raw())
			out.set("all", nil)
		}
		out = append(out, member{"all", jsonText(more)})
	}
	return out.raw()
}

// reserved are names of columns that mean something else in a condition.
func reserved(column string) bool {
	return slices.Contains([]string{"any", "all", "not", "any_changed", "field"}, column)
}

func (it *item) json(types map[string]string) json.RawMessage {
	switch {
	case it.Raw != nil:
		return it.Raw
	case it.Group != nil:
		return it.Group.json(types)
	case !it.Clause.complete():
		return json.RawMessage("{}")
	case reserved(it.Clause.Column):
		return members{{"field", jsonText(it.Clause.Column)}, {"operator", jsonText(it.Clause.operator())}, {"value", it.Clause.json(types)}}.raw()
	case it.Clause.Op == "eq":
		return members{{it.Clause.Column, it.Clause.json(types)}}.raw()
	}
	return members{{it.Clause.Column, members{{it.Clause.operator(), it.Clause.json(types)}}.raw()}}.raw()
}

// list writes the parts of a group, each by itself; nil if there are none yet.
func (g *group) list(types map[string]string) json.RawMessage {
	var list []json.RawMessage
	for _, it := range g.Items {
		if raw := it.json(types); string(raw) != "{}" {
			list = append(list, raw)
		}
	}
	if list == nil {
		return nil
	}
	return jsonText(list)
}

func (c *clause) operator() string {
	if c.Op == "unchanged" {
		return "changed"
	}
	return c.Op
}

func (c *clause) json(types map[string]string) json.RawMessage {
	switch valuesOf(c.Op) {
	case 0:
		return jsonText(c.Op != "unchanged")
	case 1:
		return c.value(types, c.Values[0])
	}
	if len(c.Values) == 1 && (c.Op == "changed_to" || c.Op == "changed_from") {
		return c.value(types, c.Values[0])
	}
	list := make([]json.RawMessage, len(c.Values))
	for i, v := range c.Values {
		list[i] = c.value(types, v)
	}
	return jsonText(list)
}

// value writes what an input holds as the column's type has it.
func (c *clause) value(types map[string]string, v string) json.RawMessage {
	t, known := types[c.Column]
	switch kind := kindOf(t); {
	case kind == "bool" && (v == "true" || v == "false"):
		return json.RawMessage(v)
	case (kind == "number" || !known && !c.Text) && isNumber(v):
		return json.RawMessage(v)
	}
	return jsonText(v)
}

// kindOf is what an input for a type of PostgreSQL's is like: number, bool, date, time, text.
func kindOf(t string) string {
	switch strings.TrimSuffix(strings.TrimPrefix(t, "_"), "[]") {
	case "int2", "int4", "int8", "float4", "float8", "numeric", "smallint", "integer", "bigint", "real", "double precision", "oid":
		return "number"
	case "bool", "boolean":
		return "bool"
	case "date":
		return "date"
	case "timestamp", "timestamptz", "time", "timetz":
		return "time"
	}
	return "text"
}

// isNumber says that a text is a number as JSON writes it.
func isNumber(s string) bool {
	var n json.Number
	return s != "" && (s[0] == '-' || s[0] >= '0' && s[0] <= '9') && json.Unmarshal([]byte(s), &n) == nil
}

// operatorText is an operator in words; "" if there is no such one.
func operatorText(op, kind string) string {
	if s := timeTexts[op]; s != "" && (kind == "date" || kind == "time") {
		return s
	}
	for _, o := range operatorTexts {
		if o.Value == op {
			return o.Text
		}
	}
	return ""
}

// fields are a form's that was sent.
type fields map[string][]string

func (f fields) get(name string) string {
	if len(f[name]) == 0 {
		return ""
	}
	return f[name][0]
}

func (f fields) has(name string) bool { return len(f[name]) > 0 }

// mostDepth bounds groups in groups, as the conditions' own bound does.
const mostDepth = 12

// rule reads the group that a form has at a path; nil if it has none.
func (f fields) rule(path string, depth int) *group {
	join := f.get(path + ".join")
	if join == "" || depth > mostDepth {
		return nil
	}
	g := &group{Join: join}
	for _, n := range f[path+".item"] {
		at := path + "." + n
		switch {
		case f.has(at + ".raw"):
			if raw := f.get(at + ".raw"); json.Valid([]byte(raw)) {
				g.Items = append(g.Items, &item{Raw: json.RawMessage(raw)})
			}
		case f.has(at + ".join"):
			if inner := f.rule(at, depth+1); inner != nil {
				g.Items = append(g.Items, &item{Group: inner})
			}
		case f.has(at + ".col"):
			c := &clause{Column: f.get(at + ".col"), Op: f.get(at + ".op"), Text: f.get(at+".text") != ""}
			for _, v := range f[at+".val"] {
				if v = strings.TrimSpace(v); v != "" || valuesOf(c.Op) != many {
					c.Values = append(c.Values, v)
				}
			}
			if before := f.get(at + ".was"); before != "" && before != c.Column {
				c.Op, c.Values = "", nil // another column has other values
			}
			c.fit()
			g.Items = append(g.Items, &item{Clause: c})
		}
	}
	return g
}

// fit makes the number of values what the operator takes.
func (c *clause) fit() {
	if c.Op == "" {
		c.Op = "eq"
	}
	switch n := valuesOf(c.Op); n {
	case 0:
		c.Values = nil
	case many:
		c.Values = slices.DeleteFunc(c.Values, func(v string) bool { return v == "" })
	default:
		for len(c.Values) < n {
			c.Values = append(c.Values, "")
		}
		c.Values = c.Values[:n]
	}
}

// at finds the group at a path below the one at base: "" is that one itself.
func (g *group) at(path string) *group {
	for _, n := range strings.Split(path, ".") {
		if n == "" {
			continue
		}
		i := index(n, len(g.Items))
		if i < 0 || g.Items[i].Group == nil {
			return nil
		}
		g = g.Items[i].Group
	}
	return g
}

// remove takes the item at a path away, and groups that are empty then.
func (g *group) remove(path string) {
	first, rest, deeper := strings.Cut(path, ".")
	i := index(first, len(g.Items))
	if i < 0 {
		return
	}
	if deeper {
		if g.Items[i].Group == nil {
			return
		}
		g.Items[i].Group.remove(rest)
		if len(g.Items[i].Group.Items) > 0 {
			return
		}
	}
	g.Items = slices.Delete(g.Items, i, i+1)
}

// index reads a number below n; -1 if it is none.
func index(s string, n int) int {
	i := 0
	for _, r := range s {
		if r < '0' || r > '9' || i > 1000 {
			return -1
		}
		i = i*10 + int(r-'0')
	}
	if s == "" || i >= n {
		return -1
	}
	return i
}
