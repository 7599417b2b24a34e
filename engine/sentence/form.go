package sentence

import (
	"encoding/json"
	"slices"
)

// operators of the form, in the order in which they are said.
var operators = []string{
	"changed", "changed_from", "changed_to", "eq", "ne", "in", "not_in", "gt", "gte", "between", "lt", "lte",
	"starts_with", "contains", "matches", "not_null", "is_null",
}

// voice is how a row is spoken of: its status; it has no note.
type voice struct{ its, it string }

var (
	ofRow   = voice{"its", "it"}
	ofActor = voice{"whose", "who"} // of the attributes of who made a change
)

// form reads field conditions; nil if there are none.
func (v voice) form(what string, raw json.RawMessage) *clause {
	j, err := parse(raw)
	if err != nil {
		return unreadable(what)
	}
	switch j := j.(type) {
	case nil:
		return nil
	case object:
		if len(j) == 0 {
			return nil
		}
	case []any:
		if len(j) == 0 {
			return nil
		}
	}
	return v.condition(what, j)
}

func (v voice) condition(what string, j any) *clause {
	switch j := j.(type) {
	case []any:
		return v.list(what, "and", j)
	case object:
		if field, ok := j.get("field"); ok {
			if operator, ok := j.get("operator"); ok && j.only("field", "operator", "value") {
				return v.spelledOut(what, field, operator, j)
			}
		}
		var kids []*clause
		for _, m := range j {
			kids = append(kids, v.member(what, m))
		}
		if len(kids) > 0 {
			return group("and", kids)
		}
		return leaf("", "anything holds", "nothing holds")
	}
	return unreadable(what)
}

func (v voice) list(what, conjunction string, list []any) *clause {
	var kids []*clause
	for _, j := range list {
		kids = append(kids, v.condition(what, j))
	}
	if len(kids) == 0 {
		return unreadable("an empty list in " + what)
	}
	return group(conjunction, kids)
}

func (v voice) spelledOut(what string, field, operator any, o object) *clause {
	col, isText := field.(string)
	op, isWord := operator.(string)
	if !isText || !isWord || col == "" {
		return unreadable(what)
	}
	val, given := o.get("value")
	return v.operator(col, op, val, given)
}

func (v voice) member(what string, m member) *clause {
	switch m.key {
	case "any", "all":
		list, ok := m.value.([]any)
		if !ok {
			return unreadable("“" + m.key + "” in " + what)
		}
		if m.key == "any" {
			return v.list(what, "or", list)
		}
		return v.list(what, "and", list)
	case "not":
		switch m.value.(type) {
		case object, []any:
			return v.condition(what, m.value).not()
		}
		return unreadable("“not” in " + what)
	case "any_changed":
		var columns []string
		list, _ := m.value.([]any)
		for _, c := range list {
			if s, ok := c.(string); ok && s != "" {
				columns = append(columns, s)
			}
		}
		if len(columns) == 0 || len(columns) != len(list) {
			return unreadable("“any_changed” in " + what)
		}
		return anyChanges(v.its, columns)
	}
	ops, ok := m.value.(object)
	if !ok {
		return v.operator(m.key, "eq", m.value, true)
	}
	if len(ops) == 0 {
		return unreadable("no operator for " + v.col(m.key).subject)
	}
	ops = slices.Clone(ops)
	slices.SortStableFunc(ops, func(a, b member) int { return slices.Index(operators, a.key) - slices.Index(operators, b.key) })
	var kids []*clause
	for _, o := range ops {
		kids = append(kids, v.operator(m.key, o.key, o.value, true))
	}
	return group("and", kids)
}

// operator says one comparison of the form.
func (v voice) operator(column, op string, val any, given bool) *clause {
	if !slices.Contains(operators, op) {
		return unreadable(quote(op, maxName) + " of " + v.col(column).subject)
	}
	return v.compare(v.col(column), op, val, given)
}

// operand is what a comparison is about.
type operand struct {
	subject string // its status
	name    string // status
	column  string // as it is written; "" if it isn't a column of the new row or the old
	old     bool
	it      string // who has it: it; "" if it can't be said to be had
}

func (v voice) col(name string) operand {
	return operand{subject: v.its + " " + column(name), name: column(name), column: name, it: v.it}
}

// compare says one comparison. given is false if there is no value at all.
func (v voice) compare(o operand, op string, val any, given bool) *clause {
	bad := func() *clause { return unreadable(quote(op, maxName) + " of " + o.subject) }
	about := func(k kind, value, is, isnt string) *clause {
		c := leaf(o.subject, is, isnt)
		c.column, c.kind, c.value = o.column, k, value
		return c
	}
	flag := func(c *clause) *clause {
		yes, isBool := val.(bool)
		switch {
		case given && !isBool:
			return bad()
		case given && !yes:
			return c.not()
		}
		return c
	}
	if !given && op != "is_null" && op != "not_null" && op != "changed" {
		return bad()
	}
	list, isList := val.([]any)
	_, isObject := val.(object)
	scalar := val != nil && !isList && !isObject
	switch op {
	case "eq", "ne":
		c := v.equal(o, val)
		if op == "ne" {
			return c.not()
		}
		return c
	case "in", "not_in":
		if len(list) == 0 {
			return bad()
		}
		c := v.among(o, list)
		if op == "not_in" {
			return c.not()
		}
		return c
	case "gt", "gte", "lt", "lte":
		if !scalar {
			return bad()
		}
		than := than(op, val)
		return about(plain, "", "is "+than, "is not "+than)
	case "between":
		if len(list) != 2 {
			return bad()
		}
		for _, e := range list {
			switch e.(type) {
			case nil, object, []any:
				return bad()
			}
		}
		said := "between " + value(list[0]) + " and " + value(list[1])
		return about(plain, "", "is "+said, "is not "+said)
	case "contains":
		if !scalar {
			return bad()
		}
		said := value(val)
		if s, ok := val.(string); ok {
			said = quote(s, maxValue)
		}
		return about(plain, "", "contains "+said, "does not contain "+said)
	case "starts_with", "ends_with", "matches":
		s, ok := val.(string)
		if !ok {
			return bad()
		}
		switch op {
		case "starts_with":
			return about(plain, "", "starts with "+quote(s, maxValue), "does not start with "+quote(s, maxValue))
		case "ends_with":
			return about(plain, "", "ends with "+quote(s, maxValue), "does not end with "+quote(s, maxValue))
		}
		return about(plain, "", "matches the pattern "+quote(s, maxValue), "does not match the pattern "+quote(s, maxValue))
	case "is_null":
		return flag(v.null(o))
	case "not_null":
		return flag(v.null(o).not())
	case "changed":
		return flag(about(changes, "", "changes", "does not change"))
	case "changed_to", "changed_from":
		said := value(val)
		if isList {
			if len(list) == 0 {
				return bad()
			}
			said = oneOf(list)
		}
		if yes, isBool := val.(bool); isBool && op == "changed_to" && o.it != "" {
			if adj, ok := adjective(o.column); ok {
				c := about(becomes, said, "becomes "+adj, "does not become "+adj)
				if !yes {
					c = about(becomes, said, "stops being "+adj, "does not stop being "+adj)
				}
				c.subject = o.it
				return c
			}
		}
		if op == "changed_to" {
			return about(becomes, said, "becomes "+said, "does not become "+said)
		}
		return about(leaves, said, "changes from "+said, "does not change from "+said)
	}
	return bad()
}

// than says an order: numbers are over or under, moments after or before.
func than(op string, val any) string {
	said := value(val)
	if s, ok := val.(string); ok && dateLike.MatchString(s) {
		return map[string]string{"gt": "after ", "gte": "not before ", "lt": "before ", "lte": "not after "}[op] + said
	}
	return map[string]string{"gt": "over ", "gte": "at least ", "lt": "under ", "lte": "at most "}[op] + said
}

// null: "it has no note".
func (v voice) null(o operand) *clause {
	var c *clause
	switch {
	case o.it == "":
		c = leaf(o.subject, "is null", "is not null")
	case o.old:
		c = leaf(o.it, "had no "+o.name+" before", "had "+article(o.name)+" before")
	default:
		c = leaf(o.it, "has no "+o.name, "has "+article(o.name))
	}
	c.column, c.kind, c.value = o.column, equals, value(nil)
	if o.old {
		c.kind = was
	}
	return c
}

func (v voice) equal(o operand, val any) *clause {
	switch val := val.(type) {
	case nil:
		return v.null(o)
	case bool:
		if said, ok := adjective(o.column); ok && !o.old && o.it != "" {
			c := leaf(o.it, "is "+said, "is not "+said)
			if !val {
				c = leaf(o.it, "is not "+said, "is "+said+" or not known to be")
			}
			c.column, c.value = o.column, value(val)
			c.kind = equals
			return c
		}
	}
	said := value(val)
	c := leaf(o.subject, "is "+said, "is not "+said)
	c.column, c.kind, c.value = o.column, equals, said
	if o.old {
		c.kind = was
	}
	return c
}

// oneOf: "a", "a or b", "one of a, b or c".
func oneOf(list []any) string {
	said := listed(list)
	if len(said) <= 2 {
		return join(said, "or")
	}
	return "one of " + some(said, "or")
}

func listed(list []any) []string {
	said := make([]string, len(list))
	for i, e := range list {
		said[i] = value(e)
	}
	return said
}

func (v voice) among(o operand, list []any) *clause {
	said := listed(list)
	var c *clause
	switch len(said) {
	case 1:
		return v.equal(o, list[0])
	case 2:
		c = leaf(o.subject, "is "+said[0]+" or "+said[1], "is neither "+said[0]+" nor "+said[1])
	default:
		c = leaf(o.subject, "is one of "+some(said, "or"), "is none of "+some(said, "and"))
	}
	c.column, c.kind, c.value = o.column, equals, oneOf(list)
	if o.old {
		c.kind = was
	}
	return c
}
