package ui

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// literal is a value that an example compares a column with: of the shop's, and maybe of
// nobody else's rows.
type literal struct {
	Column string
	Op     string // as field_conditions have it
	Text   string
	Number bool
	// Exact says that rows have just this value, and not more or less than it.
	Exact bool
}

// exactly are the operators that ask for a value as it is.
var exactly = []string{"eq", "ne", "in", "not_in", "changed_to", "changed_from"}

// bounds are those that ask for more or less than a value.
var bounds = []string{"gt", "gte", "lt", "lte"}

// literalOf reads a value; false for what is none to choose: true, null, a list.
func literalOf(column, op string, raw json.RawMessage) (literal, bool) {
	l := literal{Column: column, Op: op, Exact: slices.Contains(exactly, op)}
	if json.Unmarshal(raw, &l.Text) == nil && string(raw) != "null" {
		return l, l.Exact
	}
	l.Text, l.Number = string(raw), true
	return l, isNumber(l.Text) && (l.Exact || slices.Contains(bounds, op))
}

// rewriteValues writes a field condition with other values. Names of columns stay.
func rewriteValues(raw json.RawMessage, value func(column, op string, raw json.RawMessage) json.RawMessage) json.RawMessage {
	m, ok := readMembers(raw)
	if !ok {
		return raw
	}
	each := func(column, op string, raw json.RawMessage) json.RawMessage {
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil || list == nil {
			return value(column, op, raw)
		}
		for i := range list {
			of := op
			if op == "between" { // its values ask what these do
				of = []string{"gte", "lte"}[min(i, 1)]
			}
			list[i] = value(column, of, list[i])
		}
		return jsonText(list)
	}
	for i := range m {
		switch m[i].key {
		case "any", "all":
			var list []json.RawMessage
			if json.Unmarshal(m[i].value, &list) != nil {
				continue
			}
			for j := range list {
				list[j] = rewriteValues(list[j], value)
			}
			m[i].value = jsonText(list)
		case "not":
			m[i].value = rewriteValues(m[i].value, value)
		case "any_changed":
		default:
			ops, is := readMembers(m[i].value)
			if !is {
				m[i].value = each(m[i].key, "eq", m[i].value)
				continue
			}
			for j := range ops {
				ops[j].value = each(m[i].key, ops[j].key, ops[j].value)
			}
			m[i].value = ops.raw()
		}
	}
	return m.raw()
}

// comparisons are those of columns with values, in an expression.
var comparisons = regexp.MustCompile(`\b((?:new|old)\.)([a-z_][a-z0-9_]*)( *)(==|!=|>=|<=|>|<)( *)("[^"\\]*"|-?[0-9]+(?:\.[0-9]+)?)`)

// comparisonOps are the operators of expressions, as field_conditions have them.
var comparisonOps = map[string]string{"==": "eq", "!=": "ne", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}

// rewriteExpression writes an expression with other values.
func rewriteExpression(text string, value func(column, op string, raw json.RawMessage) json.RawMessage) string {
	return comparisons.ReplaceAllStringFunc(text, func(s string) string {
		m := comparisons.FindStringSubmatch(s)
		return m[1] + m[2] + m[3] + m[4] + m[5] + string(value(m[2], comparisonOps[m[4]], json.RawMessage(m[6])))
	})
}

// findLiterals finds what an example compares columns with, each once.
func (e *example) findLiterals() {
	find := func(column, op string, raw json.RawMessage) json.RawMessage {
		if l, ok := literalOf(column, op, raw); ok && column != "tenant_id" && e.literal(l) < 0 {
			e.Literals = append(e.Literals, l)
		}
		return raw
	}
	for _, t := range e.workflow.Triggers {
		rewriteValues(t.FieldConditions, find)
	}
	conditions := slices.Clone(e.workflow.Conditions)
	for _, a := range e.workflow.Actions {
		own, _ := a.OnlyIf() // the examples are in order
		conditions = append(conditions, own...)
	}
	for _, c := range conditions {
		switch c.Type {
		case "field_value":
			rewriteValues(c.Config, find)
		case "expression":
			var x struct{ Expression string }
			_ = json.Unmarshal(c.Config, &x) // it was read before
			rewriteExpression(x.Expression, find)
		}
	}
}

// literal is which one of the example's a value is; -1 none. A value that rows have is the same
// whatever is asked of it.
func (e *example) literal(l literal) int {
	return slices.IndexFunc(e.Literals, func(other literal) bool {
		return other.Column == l.Column && other.Text == l.Text && other.Number == l.Number && (other.Op == l.Op || other.Exact && l.Exact)
	})
}

// valueName is what the form calls the value of a literal.
func valueName(i int) string { return "value." + strconv.Itoa(i) }

// asJSON is a chosen value as JSON, as the kind of column takes it.
func asJSON(text, kind string) json.RawMessage {
	switch {
	case kind == "number" && isNumber(text), kind == "bool" && (text == "true" || text == "false"):
		return json.RawMessage(text)
	}
	return jsonText(text)
}

// chosen gives values in the place of the example's: those that were chosen, by the number of
// their literal.
func (m *mapping) chosen(e *example) func(column, op string, raw json.RawMessage) json.RawMessage {
	return func(column, op string, raw json.RawMessage) json.RawMessage {
		l, ok := literalOf(column, op, raw)
		if !ok {
			return raw
		}
		i := e.literal(l)
		if i < 0 || m.Values[i] == "" || m.Values[i] == l.Text {
			return raw
		}
		kind := m.Kinds[column]
		if kind == "" && l.Number {
			kind = "number"
		}
		return asJSON(m.Values[i], kind)
	}
}

// exampleValue is a literal in the form.
type exampleValue struct {
	Name, Title string
	Chosen      string
	Choices     []string // values that the latest rows have; none: it is written
	Number      bool
	Original    string
	Unseen      bool // none of the latest rows has the example's value, and it may be chosen
	Missing     bool // it is what is chosen
}

// offer makes the form of the literals, for the columns that are chosen.
func (d *exampleData) offer(v *visit) {
	for i, l := range d.Literals {
		one := exampleValue{Name: valueName(i), Chosen: l.Text, Original: l.Text, Number: l.Number && !l.Exact}
		column := ""
		for _, c := range d.Columns {
			if c.Name == l.Column {
				column = c.Chosen
			}
		}
		kind := ""
		for _, c := range d.Offered {
			if c.Name == column {
				kind = c.Kind
				if l.Exact {
					one.Choices = c.Samples
				}
			}
		}
		one.Title = strings.TrimSpace(humane(l.Column) + " " + operatorText(l.Op, kind))
		asked := v.query(one.Name)
		switch {
		case len(one.Choices) == 0:
			if asked != "" {
				one.Chosen = asked
			}
		default:
			at := slices.IndexFunc(one.Choices, func(s string) bool { return strings.EqualFold(s, l.Text) })
			if one.Unseen = at < 0; at >= 0 {
				one.Chosen = one.Choices[at]
			}
			if slices.Contains(one.Choices, asked) || one.Unseen && asked == l.Text {
				one.Chosen = asked
			}
			one.Missing = one.Unseen && one.Chosen == l.Text
		}
		d.Values = append(d.Values, one)
	}
}

// Unknown says how many of the values none of the latest rows has; "" none.
func (d *exampleData) Unknown() string {
	n := 0
	for _, v := range d.Values {
		if v.Missing {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s that none of your latest rows has. Choose what yours have, or it may never act.", plural(int64(n), "value", "values"))
}
