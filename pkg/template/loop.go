package template

import (
	"maps"
	"slices"
)

// maxRounds are those of one loop: of a longer list it takes the first so many elements.
const maxRounds = 100

// loopNode renders its body for each element of a list.
type loopNode struct {
	name          string // of the variable that holds the element
	list          expression
	limit, offset expression // nil without
	reversed      bool
	body, empty   []node // empty: where there is no element
	line          int
}

func (n *loopNode) render(r *run, out *sink) error {
	list, err := n.elements(r)
	if err != nil {
		return at(n.line, err)
	}
	if len(list) == 0 {
		return r.render(n.empty, out)
	}
	defer r.shadow(n.name)()
	defer r.shadow("forloop")()
	for i, v := range list {
		if err := r.spend(perElement); err != nil {
			return at(n.line, err)
		}
		r.set(n.name, normal(v))
		r.set("forloop", map[string]any{
			"first": i == 0, "last": i == len(list)-1, "length": len(list),
			"index": i + 1, "index0": i, "rindex": len(list) - i, "rindex0": len(list) - i - 1,
		})
		if err := r.render(n.body, out); err != nil {
			return err
		}
	}
	return nil
}

// elements are those that the loop goes over: of an object pairs of key and value, and none
// of what is no list.
func (n *loopNode) elements(r *run) ([]any, error) {
	v, err := n.list.eval(r)
	if err != nil {
		return nil, err
	}
	limit, err := r.count(n.limit, maxRounds)
	if err != nil {
		return nil, err
	}
	offset, err := r.count(n.offset, 0)
	if err != nil {
		return nil, err
	}
	var keys []string
	var list []any
	size := 0
	switch v := v.(type) {
	case []any:
		list, size = v, len(v)
	case map[string]any:
		if err := r.spend(perElement * len(v)); err != nil {
			return nil, err
		}
		keys, size = slices.Sorted(maps.Keys(v)), len(v)
	}
	from := min(max(offset, 0), size)
	to := min(from+min(max(limit, 0), maxRounds), size)
	if keys == nil {
		list = slices.Clone(list[from:to])
	} else {
		for _, k := range keys[from:to] {
			list = append(list, []any{k, v.(map[string]any)[k]})
		}
	}
	if n.reversed {
		slices.Reverse(list)
	}
	return list, nil
}

// count is a whole number of an argument, or what counts without it.
func (r *run) count(e expression, without int) (int, error) {
	if e == nil {
		return without, nil
	}
	v, err := e.eval(r)
	if err != nil {
		return 0, err
	}
	return intArg([]any{unmarked(v)}, 0, without)
}

// shadow returns what gives a variable the value back that it has now.
func (r *run) shadow(name string) (restore func()) {
	v, was := r.local[name]
	return func() {
		if was {
			r.local[name] = v
		} else {
			delete(r.local, name)
		}
	}
}

// loop reads a for, from behind its name.
func (p *parser) loop(line, depth int) (node, error) {
	n := &loopNode{line: line}
	var err error
	if n.name, err = p.variable("for"); err != nil {
		return nil, err
	}
	if !p.ahead.word("in") {
		return nil, p.unexpected("in (as in {% for column in changed %})")
	}
	if err := p.step(); err != nil {
		return nil, err
	}
	if n.list, err = p.filtered(); err != nil {
		return nil, err
	}
	for p.ahead.kind == name {
		word := p.ahead
		if err := p.step(); err != nil {
			return nil, err
		}
		switch word.text {
		case "reversed":
			n.reversed = true
		case "limit":
			n.limit, err = p.named(word)
		case "offset":
			n.offset, err = p.named(word)
		default:
			return nil, at(word.line, unknownWord("for", word.text, "limit: 10, offset: 10 and reversed"))
		}
		if err != nil {
			return nil, err
		}
		if p.ahead.is(",") {
			if err := p.step(); err != nil {
				return nil, err
			}
		}
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	var by string
	if n.body, by, err = p.block("for", depth+1); err != nil {
		return nil, err
	}
	if by == "else" {
		if err := p.empty(); err != nil {
			return nil, err
		}
		if n.empty, by, err = p.block("for", depth+1); err != nil {
			return nil, err
		}
		if by == "else" {
			return nil, p.fail("%q can't follow else; make else the last branch", by)
		}
	}
	return n, p.empty()
}

// named reads the value behind the name of an argument, and the colon between them.
func (p *parser) named(word lexeme) (expression, error) {
	if !p.ahead.is(":") {
		return nil, p.unexpected(": (as in " + shorten(word.text) + ": 10)")
	}
	if err := p.step(); err != nil {
		return nil, err
	}
	return p.operand()
}
