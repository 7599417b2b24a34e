package truthtest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"strings"
)

// node is a random condition: as JSON, and as the SQL that it stands for.
type node interface {
	json() string
	// sql is true or false, never NULL. row is the row that the event is about.
	sql(row string) string
	atoms() []*atom
}

// atom is one comparison.
type atom struct {
	column   *column
	operator string
	value    string // JSON; "" none
	write    func(row string) string
	spelled  bool      // as {"field": …, "operator": …, "value": …}
	short    bool      // as {"column": value}: equality or null
	of       []*column // of any_changed; column is the first of them
}

const anyChanged = "any_changed"

func (a *atom) fill(r *rand.Rand) {
	c := a.column
	x := func(row string) string { return c.of(row, c.compared) }
	text := func(row string) string { return c.of(row, c.text) }
	several := func() (json string, sql func(string) string) {
		var j, s []string
		n := 1 + r.IntN(4)
		if one(r, 8) {
			n = 8 + r.IntN(4) // a set
		}
		for range n {
			v := c.constant(r)
			j, s = append(j, v.json), append(s, v.sql)
		}
		return "[" + strings.Join(j, ",") + "]", func(row string) string {
			return "coalesce(" + x(row) + " in (" + strings.Join(s, ", ") + "), false)"
		}
	}
	changed := c.changed
	compare := func(operator string) func(string) string {
		v := c.constant(r)
		a.value = v.json
		return func(row string) string { return "coalesce(" + x(row) + " " + operator + " " + v.sql + ", false)" }
	}
	flag := func(yes, no func(row string) string) {
		switch r.IntN(4) {
		case 0:
			a.value, a.write = "false", no
		case 1:
			if a.spelled {
				a.value, a.write = "", yes
				return
			}
			fallthrough
		default:
			a.value, a.write = "true", yes
		}
	}
	null := func(row string) string { return "(" + row + `."` + c.name + `" is null)` }
	present := func(row string) string { return "(" + row + `."` + c.name + `" is not null)` }
	switch a.operator {
	case "eq":
		if one(r, 12) {
			a.value, a.write, a.short = "null", null, one(r, 2)
			break
		}
		a.write = compare("=")
		a.short = !strings.HasPrefix(a.value, "{") && one(r, 2)
	case "ne":
		if one(r, 12) {
			a.value, a.write = "null", present
			break
		}
		v := c.constant(r)
		a.value = v.json
		a.write = func(row string) string { return "(" + x(row) + " is distinct from " + v.sql + ")" }
	case "gt":
		a.write = compare(">")
	case "gte":
		a.write = compare(">=")
	case "lt":
		a.write = compare("<")
	case "lte":
		a.write = compare("<=")
	case "in":
		a.value, a.write = several()
	case "not_in":
		value, sql := several()
		a.value, a.write = value, func(row string) string { return "(not " + sql(row) + ")" }
	case "between":
		low, high := c.constant(r), c.constant(r)
		a.value = "[" + low.json + "," + high.json + "]"
		a.write = func(row string) string {
			return "coalesce(" + x(row) + " between " + low.sql + " and " + high.sql + ", false)"
		}
	case "contains":
		v := c.part(r)
		a.value = v.json
		a.write = func(row string) string {
			if c.has != "" {
				return "coalesce(" + fmt.Sprintf(c.has, row+`."`+c.name+`"`, v.sql) + ", false)"
			}
			return "coalesce(strpos(" + text(row) + ", " + v.sql + ") > 0, false)"
		}
	case "starts_with":
		v := c.part(r)
		a.value = v.json
		a.write = func(row string) string { return "coalesce(starts_with(" + text(row) + ", " + v.sql + "), false)" }
	case "matches":
		p := pick(r, patterns)
		a.value = quoteJSON(p)
		a.write = func(row string) string { return "coalesce(" + text(row) + " ~ " + quote(p) + ", false)" }
	case "is_null":
		flag(null, present)
	case "not_null":
		flag(present, null)
	case "changed":
		flag(func(string) string { return changed() }, func(string) string { return "(not " + changed() + ")" })
	case "changed_from", "changed_to":
		row := map[string]string{"changed_from": "o", "changed_to": "n"}[a.operator]
		lists := strings.HasPrefix(c.kind, "jsonb") || strings.HasSuffix(c.kind, "[]") // there a list is always several values
		switch {
		case one(r, 8):
			a.value, a.write = "null", func(string) string { return "(" + changed() + " and " + null(row) + ")" }
		case lists || one(r, 2):
			value, sql := several()
			a.value, a.write = value, func(string) string { return "(" + changed() + " and " + sql(row) + ")" }
		default:
			sql := compare("=")
			a.write = func(string) string { return "(" + changed() + " and " + sql(row) + ")" }
		}
	default:
		panic("no such operator: " + a.operator)
	}
	a.short = a.short && !a.spelled
}

// changed is the SQL of a column that an update changed.
func (c *column) changed() string {
	how := cmp.Or(c.different, c.compared)
	return "(" + c.of("n", how) + " is distinct from " + c.of("o", how) + ")"
}

// anyOf is a condition that one of several columns changed.
func (g *generator) anyOf() *atom {
	a := &atom{operator: anyChanged}
	var names, parts []string
	for range 1 + g.r.IntN(4) {
		c := pick(g.r, g.columns)
		a.of = append(a.of, c)
		names, parts = append(names, quoteJSON(c.name)), append(parts, c.changed())
	}
	a.column = a.of[0]
	a.value = "[" + strings.Join(names, ",") + "]"
	a.write = func(string) string { return "(" + strings.Join(parts, " or ") + ")" }
	return a
}

func (a *atom) sql(row string) string { return a.write(row) }

func (a *atom) atoms() []*atom { return []*atom{a} }

func (a *atom) json() string {
	switch {
	case a.spelled && a.value == "":
		return fmt.Sprintf(`{"field":%s,"operator":%q}`, quoteJSON(a.column.name), a.operator)
	case a.spelled:
		return fmt.Sprintf(`{"field":%s,"operator":%q,"value":%s}`, quoteJSON(a.column.name), a.operator, a.value)
	}
	return "{" + a.member() + "}"
}

func (a *atom) member() string {
	if a.operator == anyChanged {
		return quoteJSON(anyChanged) + ":" + a.value
	}
	if a.short {
		return quoteJSON(a.column.name) + ":" + a.value
	}
	return fmt.Sprintf("%s:{%q:%s}", quoteJSON(a.column.name), a.operator, a.value)
}

// object is {column: …, column: …, any: […], not: …}: all of them.
type object struct {
	columns [][]*atom // of one column each
	groups  []*group
}

func (o *object) json() string {
	var parts []string
	for _, atoms := range o.columns {
		if len(atoms) == 1 {
			parts = append(parts, atoms[0].member())
			continue
		}
		var ops []string
		for _, a := range atoms {
			ops = append(ops, fmt.Sprintf("%q:%s", a.operator, a.value))
		}
		parts = append(parts, quoteJSON(atoms[0].column.name)+":{"+strings.Join(ops, ",")+"}")
	}
	for _, g := range o.groups {
		parts = append(parts, g.member())
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func (o *object) sql(row string) string {
	var parts []string
	for _, atoms := range o.columns {
		for _, a := range atoms {
			parts = append(parts, a.sql(row))
		}
	}
	for _, g := range o.groups {
		parts = append(parts, g.sql(row))
	}
	return "(" + strings.Join(parts, " and ") + ")"
}

func (o *object) atoms() []*atom {
	var list []*atom
	for _, atoms := range o.columns {
		list = append(list, atoms...)
	}
	for _, g := range o.groups {
		list = append(list, g.atoms()...)
	}
	return list
}

// group is any, all, not; a list without a word is all.
type group struct {
	word string
	of   []node
}

func (g *group) list() string {
	var parts []string
	for _, n := range g.of {
		parts = append(parts, n.json())
	}
	return "[" + strings.Join(parts, ",") + "]"
}

func (g *group) member() string {
	if g.word == "not" {
		return `"not":` + g.of[0].json()
	}
	return quoteJSON(g.word) + ":" + g.list()
}

func (g *group) json() string {
	if g.word == "" {
		return g.list()
	}
	return "{" + g.member() + "}"
}

func (g *group) sql(row string) string {
	var parts []string
	for _, n := range g.of {
		parts = append(parts, n.sql(row))
	}
	switch g.word {
	case "any":
		return "(" + strings.Join(parts, " or ") + ")"
	case "not":
		return "(not " + parts[0] + ")"
	}
	return "(" + strings.Join(parts, " and ") + ")"
}

func (g *group) atoms() []*atom {
	var list []*atom
	for _, n := range g.of {
		list = append(list, n.atoms()...)
	}
	return list
}

// generator writes conditions for one operation.
type generator struct {
	r       *rand.Rand
	columns []*column
	changes bool // whether conditions may ask for changes
}

func (g *generator) comparison() *atom {
	if g.changes && one(g.r, 16) {
		return g.anyOf()
	}
	return g.about(pick(g.r, g.columns))
}

// about makes a comparison of a column.
func (g *generator) about(c *column) *atom {
	for {
		a := &atom{column: c, operator: pick(g.r, c.operators), spelled: c.triple || one(g.r, 6)}
		if !strings.HasPrefix(a.operator, "changed") || g.changes {
			a.fill(g.r)
			return a
		}
	}
}

// condition writes one with groups.
func (g *generator) condition(depth int) node {
	switch n := g.r.IntN(10); {
	case n < 3:
		return g.comparison()
	case n < 5 && depth < 3:
		return g.group(depth)
	}
	o := &object{}
	seen := map[*column]bool{}
	for range 1 + g.r.IntN(3) {
		a := g.comparison()
		if a.operator == anyChanged {
			if !seen[nil] {
				o.columns = append(o.columns, []*atom{a})
			}
			seen[nil] = true
			continue
		}
		if a.column.triple || seen[a.column] {
			continue
		}
		seen[a.column] = true
		a.unspell()
		atoms := []*atom{a}
		if b := g.about(a.column); one(g.r, 3) && b.operator != a.operator {
			a.short = false
			b.unspell()
			b.short = false
			atoms = append(atoms, b)
		}
		o.columns = append(o.columns, atoms)
	}
	words := map[string]bool{}
	for depth < 3 && (len(o.columns) == 0 || one(g.r, 4)) {
		x := g.group(depth)
		if x.word == "" || words[x.word] {
			continue
		}
		words[x.word] = true
		o.groups = append(o.groups, x)
		if len(words) == 3 {
			break
		}
	}
	if len(o.columns)+len(o.groups) == 0 {
		return g.comparison()
	}
	return o
}

// unspell writes the value of a comparison that may go without when it is spelled out.
func (a *atom) unspell() {
	if a.spelled && a.value == "" {
		a.value = "true"
	}
	a.spelled = false
}

func (g *generator) group(depth int) *group {
	x := &group{word: pick(g.r, []string{"any", "any", "all", "not", "not", ""})}
	n := 1 + g.r.IntN(3)
	if x.word == "not" {
		n = 1
	}
	for range n {
		x.of = append(x.of, g.condition(depth+1))
	}
	return x
}
