package template

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Use is a place where a template reads a variable.
type Use struct {
	Variable string // as Variables lists it
	Where    string // line 3; translation de, line 3; line 1, template "footer" (de), line 3
}

// Variables lists what the template reads of its variables, in the order in which it
// first stands there: new.total for {{ new.total }} and all that is taken out of it,
// changed.status for {% if changed contains "status" %}, and the variable alone where it
// is read whole or by a key that only a rendering knows. What the template has set itself
// before is no variable of its caller's. Translations count, and what it renders.
func (t *Template) Variables() []string {
	var list []string
	for _, u := range t.Uses() {
		list = append(list, u.Variable)
	}
	return list
}

// Uses lists the same with the first place of each.
func (t *Template) Uses() []Use {
	var c collector
	for _, v := range t.variants {
		c.prefix = ""
		if v.locale != "" {
			c.prefix = "translation " + v.locale + ", "
		}
		c.nodes(v.nodes, nil)
	}
	return c.list
}

type collector struct {
	list   []Use
	prefix string
	line   int
}

func (c *collector) add(variable, where string) {
	if !slices.ContainsFunc(c.list, func(u Use) bool { return u.Variable == variable }) {
		c.list = append(c.list, Use{variable, c.prefix + where})
	}
}

func (c *collector) here(variable string) { c.add(variable, fmt.Sprintf("line %d", c.line)) }

// nodes goes through what stands one after the other. It returns the names that are set
// behind it: what only a branch sets may not be set there.
func (c *collector) nodes(list []node, set []string) []string {
	set = slices.Clip(set)
	for _, n := range list {
		switch n := n.(type) {
		case *outputNode:
			c.line = n.line
			c.expression(n.value, set)
		case *assignNode:
			c.line = n.line
			c.expression(n.value, set)
			set = append(set, n.name)
		case *captureNode:
			set = append(c.nodes(n.body, set), n.name)
		case branchNode:
			for _, b := range n {
				c.line = b.line
				c.expression(b.test, set)
				c.nodes(b.body, set)
			}
		case *caseNode:
			c.line = n.line
			c.expression(n.value, set)
			for _, w := range n.whens {
				c.line = w.line
				for _, e := range w.values {
					c.expression(e, set)
				}
				c.nodes(w.body, set)
			}
		case *loopNode:
			c.line = n.line
			c.expression(n.list, set)
			c.expression(n.limit, set)
			c.expression(n.offset, set)
			c.nodes(n.body, append(set, n.name, "forloop"))
			c.nodes(n.empty, set)
		case *renderNode:
			c.line = n.line
			for _, a := range n.args {
				c.expression(a.value, set)
			}
			for _, u := range n.partial.uses {
				// What it isn't given is nothing there, and may be meant so.
				variable, _, _ := strings.Cut(u.Variable, ".")
				if slices.Contains(workflow.TextVariables, variable) && !slices.ContainsFunc(n.args, func(a argument) bool { return a.name == variable }) {
					c.add(u.Variable, fmt.Sprintf("line %d, %s", n.line, u.Where))
				}
			}
		}
	}
	return set
}

// reads lists what the stored template reads of the variables.
func (p *partial) reads() []Use {
	var c collector
	for _, v := range p.variants {
		c.prefix = p.place(v.locale) + ", "
		c.nodes(v.nodes, nil)
	}
	return c.list
}

func (c *collector) expression(e expression, set []string) {
	switch e := e.(type) {
	case *path:
		c.path(e, set)
	case *filtered:
		c.expression(e.value, set)
		for _, f := range e.filters {
			for _, a := range f.args {
				c.expression(a, set)
			}
			c.expression(f.named, set)
		}
	case *comparison:
		if e.operator == "contains" && c.contains(e, set) {
			return
		}
		c.expression(e.left, set)
		c.expression(e.right, set)
	case *junction:
		for _, t := range e.terms {
			c.expression(t, set)
		}
	}
}

func (c *collector) path(e *path, set []string) {
	switch {
	case e.value != nil:
		c.expression(e.value, set)
	case slices.Contains(set, e.variable):
	default:
		name := e.variable
		if len(e.keys) > 0 {
			if key, ok := keyText(e.keys[0]); ok {
				name += "." + key
			}
		}
		c.here(name)
	}
	for _, k := range e.keys {
		c.expression(k, set)
	}
}

// contains takes "variable contains constant", which asks for one element.
func (c *collector) contains(e *comparison, set []string) bool {
	left, ok := e.left.(*path)
	if !ok || left.value != nil || len(left.keys) > 0 || slices.Contains(set, left.variable) {
		return false
	}
	key, ok := keyText(e.right)
	if ok {
		c.here(left.variable + "." + key)
	}
	return ok
}

// keyText is the text of a key that stands in the source.
func keyText(e expression) (string, bool) {
	c, ok := e.(constant)
	if !ok {
		return "", false
	}
	switch v := c.value.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	}
	return "", false
}
