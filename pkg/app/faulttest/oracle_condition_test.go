package faulttest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// form is a field condition: what the editor writes, read by the oracle's own lights.
type form map[string]any

// UnmarshalJSON keeps the digits of numbers.
func (f *form) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var m map[string]any
	err := d.Decode(&m)
	*f = m
	return err
}

// config is that of a condition of any type.
type config struct {
	Expression string `json:"expression"`

	Roles      []string `json:"roles"`
	AllRoles   []string `json:"all_roles"`
	NotRoles   []string `json:"not_roles"`
	Actors     []string `json:"actors"`
	NotActors  []string `json:"not_actors"`
	Attributes map[string]struct {
		GTE int `json:"gte"`
	} `json:"attributes"`

	Zone     string          `json:"zone"`
	Days     []string        `json:"days"`
	Hours    json.RawMessage `json:"hours"`
	Dates    *span           `json:"dates"`
	Holidays []string        `json:"holidays"`
	OnThem   bool            `json:"on_holidays"`
}

type span struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// holds evaluates a form.
func (e event) holds(f form) bool {
	for key, v := range f {
		var ok bool
		switch key {
		case "any":
			ok = slices.ContainsFunc(v.([]any), func(x any) bool { return e.holds(x.(map[string]any)) })
		case "all":
			ok = !slices.ContainsFunc(v.([]any), func(x any) bool { return !e.holds(x.(map[string]any)) })
		case "not":
			ok = !e.holds(v.(map[string]any))
		case "any_changed":
			ok = slices.ContainsFunc(v.([]any), func(x any) bool { return e.changed(x.(string)) })
		default:
			ok = e.column(key, v)
		}
		if !ok {
			return false
		}
	}
	return true
}

func (r *record) value(column string) any {
	switch column {
	case "status":
		return r.Status
	case "total":
		return number(r.Total.String())
	case "note":
		return r.Note
	}
	panic("the oracle does not know the column " + column)
}

func (e event) changed(column string) bool {
	return compare(e.old.value(column), e.new.value(column)) != 0
}

// compare puts two values of a column in order.
func compare(a, b any) int {
	if x, ok := a.(*big.Rat); ok {
		return x.Cmp(b.(*big.Rat))
	}
	return cmp.Compare(a.(string), b.(string))
}

// constant is a value of a form.
func constant(v any) any {
	if n, ok := v.(json.Number); ok {
		return number(n.String())
	}
	return v
}

// column evaluates what a form says of one.
func (e event) column(name string, v any) bool {
	ops, ok := v.(map[string]any)
	if !ok {
		return compare(e.row().value(name), constant(v)) == 0
	}
	for op, v := range ops {
		if !e.operator(name, op, v) {
			return false
		}
	}
	return true
}

func (e event) operator(name, op string, v any) bool {
	got := e.row().value(name)
	among := func(got any) bool {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		return slices.ContainsFunc(list, func(x any) bool { return compare(got, constant(x)) == 0 })
	}
	switch op {
	case "ne":
		return compare(got, constant(v)) != 0
	case "gt":
		return compare(got, constant(v)) > 0
	case "gte":
		return compare(got, constant(v)) >= 0
	case "lt":
		return compare(got, constant(v)) < 0
	case "lte":
		return compare(got, constant(v)) <= 0
	case "between":
		list := v.([]any)
		return compare(got, constant(list[0])) >= 0 && compare(got, constant(list[1])) <= 0
	case "in":
		return among(got)
	case "not_in":
		return !among(got)
	case "starts_with":
		return strings.HasPrefix(got.(string), v.(string))
	case "contains":
		return strings.Contains(got.(string), v.(string))
	case "changed":
		return e.changed(name) == v.(bool)
	case "changed_to":
		return e.changed(name) && among(e.new.value(name))
	case "changed_from":
		return e.changed(name) && among(e.old.value(name))
	}
	panic("the oracle does not know the operator " + op)
}

// meets evaluates a condition of the workflow.
func (e event) meets(kind string, c config) bool {
	switch kind {
	case "expression":
		m := expression.FindStringSubmatch(c.Expression)
		if m == nil {
			panic("the oracle does not know the expression " + c.Expression)
		}
		return e.total().Cmp(number(m[1])) > 0
	case "role_based":
		return e.roles(c)
	case "time_based":
		return e.timely(c)
	}
	panic("the oracle does not know conditions of type " + kind)
}

func (e event) roles(c config) bool {
	who := e.actor
	if who == nil {
		who = &actor{}
	}
	has := func(role string) bool { return slices.Contains(who.Roles, role) }
	if len(c.Roles) > 0 && !slices.ContainsFunc(c.Roles, has) || slices.ContainsFunc(c.NotRoles, has) {
		return false
	}
	for _, role := range c.AllRoles {
		if !has(role) {
			return false
		}
	}
	if len(c.Actors) > 0 && !slices.Contains(c.Actors, who.ID) || slices.Contains(c.NotActors, who.ID) {
		return false
	}
	for name, a := range c.Attributes {
		if level, ok := who.Attributes[name]; !ok || level < a.GTE {
			return false
		}
	}
	return true
}

func (e event) timely(c config) bool {
	zone, err := time.LoadLocation(cmp.Or(c.Zone, "UTC"))
	if err != nil {
		panic(err)
	}
	at := e.at.In(zone)
	day, clock := at.Format("2006-01-02"), at.Format("15:04")
	if len(c.Days) > 0 && !slices.Contains(c.Days, strings.ToLower(at.Format("Mon"))) {
		return false
	}
	if c.Dates != nil && (day < c.Dates.From || c.Dates.To != "" && day > c.Dates.To) {
		return false
	}
	if len(c.Holidays) > 0 && (slices.Contains(c.Holidays, day) || slices.Contains(c.Holidays, day[5:])) != c.OnThem {
		return false
	}
	if len(c.Hours) == 0 {
		return true
	}
	var hours []span
	if json.Unmarshal(c.Hours, &hours) != nil {
		hours = make([]span, 1)
		if err := json.Unmarshal(c.Hours, &hours[0]); err != nil {
			panic(fmt.Sprintf("the oracle does not know the hours %s: %v", c.Hours, err))
		}
	}
	return slices.ContainsFunc(hours, func(h span) bool {
		if h.From <= h.To {
			return h.From <= clock && clock < h.To
		}
		return clock >= h.From || clock < h.To // over midnight
	})
}
