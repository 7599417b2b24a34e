package template

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// expression has a value.
type expression interface{ eval(*run) (any, error) }

// constant is a value that the source has.
type constant struct{ value any }

func (c constant) eval(*run) (any, error) { return c.value, nil }

// The values of blank and empty, which are only there to be compared with.
type (
	blank struct{}
	empty struct{}
)

var constants = map[string]any{"nil": nil, "null": nil, "true": true, "false": false, "blank": blank{}, "empty": empty{}}

// constantNames are the words that can't be variables.
var constantNames = append(slices.Sorted(maps.Keys(constants)), "and", "or", "contains")

// path is a variable, or another value, and what is taken out of it.
type path struct {
	variable string
	value    expression // if not nil: instead of the variable
	keys     []expression
}

func (e *path) eval(r *run) (any, error) {
	if err := r.spend(perStep * (1 + len(e.keys))); err != nil {
		return nil, err
	}
	var v any
	if e.value == nil {
		v = r.get(e.variable)
	} else {
		var err error
		if v, err = e.value.eval(r); err != nil {
			return nil, err
		}
	}
	for _, key := range e.keys {
		k, err := key.eval(r)
		if err != nil {
			return nil, err
		}
		v = member(unmarked(v), unmarked(k))
	}
	return v, nil
}

// filtered is a value that filters change, one after the other.
type filtered struct {
	value   expression
	filters []call
}

type call struct {
	name   string
	filter filter
	args   []expression
	named  expression // allow_false of default; nil without
}

func (e *filtered) eval(r *run) (any, error) {
	v, err := e.value.eval(r)
	if err != nil {
		return nil, err
	}
	for _, c := range e.filters {
		if err := r.spend(perElement); err != nil {
			return nil, err
		}
		args := make([]any, len(c.args), len(c.args)+1)
		for i, a := range c.args {
			if args[i], err = a.eval(r); err != nil {
				return nil, err
			}
			args[i] = unmarked(args[i])
		}
		if c.named != nil {
			flag, err := c.named.eval(r)
			if err != nil {
				return nil, err
			}
			args = append(args, flag)
		}
		if c.name != "default" { // which may give v back as it is
			v = unmarked(v)
		}
		if v, err = c.filter.apply(r, v, args); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return v, nil
}

// comparison is left operator right.
type comparison struct {
	left, right expression
	operator    string
}

func (e *comparison) eval(r *run) (any, error) {
	if err := r.spend(perStep); err != nil {
		return nil, err
	}
	a, err := e.left.eval(r)
	if err != nil {
		return nil, err
	}
	b, err := e.right.eval(r)
	if err != nil {
		return nil, err
	}
	return r.compare(e.operator, unmarked(a), unmarked(b))
}

// junction is terms with and or or between them: the rightmost first, as in Liquid.
type junction struct {
	terms []expression
	ands  []bool // ands[i] is between terms i and i+1
}

func (e *junction) eval(r *run) (any, error) {
	for i, and := range e.ands {
		if err := r.spend(perStep); err != nil {
			return false, err
		}
		v, err := e.terms[i].eval(r)
		if err != nil {
			return nil, err
		}
		if truth(v) != and {
			return !and, nil
		}
	}
	v, err := e.terms[len(e.terms)-1].eval(r)
	return truth(v), err
}

// condition reads terms with and and or between them.
func (p *parser) condition() (expression, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail("parentheses are nested more than %d deep; use assign for parts of it", maxDepth)
	}
	defer func() { p.depth-- }()
	var j junction
	for {
		term, err := p.relation()
		if err != nil {
			return nil, err
		}
		j.terms = append(j.terms, term)
		if !p.ahead.word("and") && !p.ahead.word("or") {
			break
		}
		j.ands = append(j.ands, p.ahead.text == "and")
		if err := p.step(); err != nil {
			return nil, err
		}
	}
	if len(j.terms) == 1 {
		return j.terms[0], nil
	}
	return &j, nil
}

func (p *parser) relation() (expression, error) {
	left, err := p.filtered()
	if err != nil {
		return nil, err
	}
	switch {
	case p.ahead.word("contains"):
	case p.ahead.kind == symbol && slices.Contains([]string{"==", "!=", "<>", "<", ">", "<=", ">="}, p.ahead.text):
	default:
		return left, nil
	}
	e := &comparison{left: left, operator: p.ahead.text}
	if err := p.step(); err != nil {
		return nil, err
	}
	e.right, err = p.filtered()
	return e, err
}

func (p *parser) filtered() (expression, error) {
	value, err := p.operand()
	if err != nil {
		return nil, err
	}
	e := &filtered{value: value}
	for p.ahead.is("|") {
		if err := p.step(); err != nil {
			return nil, err
		}
		if p.ahead.kind != name {
			return nil, p.unexpected("the name of a filter")
		}
		c, err := p.call()
		if err != nil {
			return nil, err
		}
		e.filters = append(e.filters, c)
	}
	if len(e.filters) == 0 {
		return value, nil
	}
	return e, nil
}

// call reads a filter's name and arguments.
func (p *parser) call() (call, error) {
	c := call{name: p.ahead.text}
	var ok bool
	if c.filter, ok = filters[c.name]; !ok {
		return c, p.fail("the filter %q is unknown; there are: %s", shorten(c.name), strings.Join(slices.Sorted(maps.Keys(filters)), ", "))
	}
	line := p.line
	if err := p.step(); err != nil {
		return c, err
	}
	if p.ahead.is(":") {
		for {
			if err := p.step(); err != nil {
				return c, err
			}
			word := p.ahead
			arg, err := p.operand()
			if err != nil {
				return c, err
			}
			if word.kind == name && p.ahead.is(":") {
				if c.named != nil || c.name != "default" || word.text != "allow_false" {
					return c, p.fail("the filter %s has no argument called %q", c.name, shorten(word.text))
				}
				if err := p.step(); err != nil {
					return c, err
				}
				if c.named, err = p.operand(); err != nil {
					return c, err
				}
			} else {
				c.args = append(c.args, arg)
			}
			if !p.ahead.is(",") {
				break
			}
		}
	}
	if err := checkArguments(c); err != nil {
		return c, at(line, err)
	}
	if n := len(c.args); n < c.filter.least || n > c.filter.most {
		return c, at(line, fmt.Errorf("the filter %s has %d arguments; it takes %s", c.name, n, c.filter.takes()))
	}
	return c, nil
}

// operand reads a value and what is taken out of it.
func (p *parser) operand() (expression, error) {
	var e path
	l := p.ahead
	switch {
	case l.kind == quoted:
		e.value = constant{l.text}
	case l.kind == number:
		e.value = constant{json.Number(l.text)}
	case l.is("("):
		if err := p.step(); err != nil {
			return nil, err
		}
		var err error
		if e.value, err = p.condition(); err != nil {
			return nil, err
		}
		if !p.ahead.is(")") {
			return nil, p.unexpected(")")
		}
	case l.kind == name:
		if v, ok := constants[l.text]; ok {
			e.value = constant{v}
		} else if slices.Contains(constantNames, l.text) {
			return nil, p.unexpected("a value")
		}
		e.variable = l.text
	default:
		return nil, p.unexpected("a value")
	}
	if err := p.step(); err != nil {
		return nil, err
	}
	for {
		switch {
		case p.ahead.is("."):
			if err := p.step(); err != nil {
				return nil, err
			}
			if p.ahead.kind != name {
				return nil, p.unexpected(`a name (write odd ones as ["name"])`)
			}
			e.keys = append(e.keys, constant{p.ahead.text})
		case p.ahead.is("["):
			if err := p.step(); err != nil {
				return nil, err
			}
			key, err := p.condition()
			if err != nil {
				return nil, err
			}
			if !p.ahead.is("]") {
				return nil, p.unexpected("]")
			}
			e.keys = append(e.keys, key)
		default:
			if e.value != nil && len(e.keys) == 0 {
				return e.value, nil
			}
			return &e, nil
		}
		if err := p.step(); err != nil {
			return nil, err
		}
	}
}
