package template

import (
	"fmt"
	"slices"
	"strings"
)

// parser makes nodes of what the scanner finds.
type parser struct {
	*compiler
	scanner
	ahead  lexeme // of the expression that is being read
	closer string // of that expression
	depth  int    // of its parentheses
}

// refused are the tags of Liquid that are not allowed, with the reason.
var refused = map[string]string{
	"break": noJumps, "continue": noJumps, "cycle": noCycle, "ifchanged": noCycle, "tablerow": noRows, "endtablerow": noRows,
	"include": noInclude, "layout": noInclude, "section": noInclude,
	"increment": noCounters, "decrement": noCounters,
}

const (
	noJumps    = "a loop runs to its end; use limit, or if around what is not for all"
	noCycle    = "use forloop.index with the filter modulo"
	noRows     = "use for"
	noInclude  = "use render, which names one stored template and tells it what to use"
	noCounters = "templates have no counters; use forloop.index, or assign and the filter plus"
)

const allTags = "assign, capture, case, comment, for, if, raw, render, unless"

// block reads up to a tag that ends or divides the block of a tag; of the whole template
// if that is "". It returns the tag's name, and leaves its arguments to the caller.
func (p *parser) block(of string, depth int) (nodes []node, by string, err error) {
	nodes = []node{}
	line := p.line
	if depth > maxDepth {
		return nil, "", p.fail("tags are nested more than %d deep; make the template flatter", maxDepth)
	}
	for {
		text, found := p.text()
		if text != "" {
			nodes = append(nodes, textNode(text))
		}
		switch found {
		case end:
			if of != "" {
				return nil, "", at(line, fmt.Errorf("the tag %q is not closed; write {%% end%s %%} where it ends", of, of))
			}
			return nodes, "", nil
		case output:
			n := &outputNode{line: p.line}
			if n.value, err = p.whole("}}"); err != nil {
				return nil, "", err
			}
			nodes = append(nodes, n)
			continue
		}
		tagLine := p.line
		if err := p.begin("%}"); err != nil {
			return nil, "", err
		}
		if p.ahead.kind != name {
			return nil, "", p.unexpected("the name of a tag")
		}
		tagName := p.ahead.text
		if divides(of, tagName) {
			return nodes, tagName, nil
		}
		n, err := p.tag(tagName, tagLine, of, depth)
		if err != nil {
			return nil, "", err
		}
		if n != nil {
			nodes = append(nodes, n)
		}
	}
}

// divides says whether a tag ends or divides the block of another one.
func divides(of, tagName string) bool {
	switch tagName {
	case "elsif":
		return of == "if" || of == "unless"
	case "else":
		return of == "if" || of == "unless" || of == "case" || of == "for"
	case "when":
		return of == "case"
	}
	return of != "" && tagName == "end"+of
}

// tag reads a tag from behind its name to its end. Of a comment it returns nil.
func (p *parser) tag(tagName string, line int, inside string, depth int) (node, error) {
	switch tagName {
	case "if", "unless":
		return p.branches(tagName, line, depth)
	case "case":
		return p.cases(line, depth)
	case "for":
		return p.loop(line, depth)
	case "render":
		return p.partialCall(line)
	case "assign":
		variable, err := p.variable(tagName)
		if err != nil {
			return nil, err
		}
		if !p.ahead.is("=") {
			return nil, p.unexpected("= (as in {% assign name = value %})")
		}
		value, err := p.after()
		return &assignNode{name: variable, value: value, line: line}, err
	case "capture":
		variable, err := p.variable(tagName)
		if err != nil {
			return nil, err
		}
		if err := p.done(); err != nil {
			return nil, err
		}
		body, _, err := p.block("capture", depth+1)
		if err != nil {
			return nil, err
		}
		return &captureNode{name: variable, body: body, line: line}, p.empty()
	case "comment", "raw":
		if err := p.empty(); err != nil {
			return nil, err
		}
		text, err := p.until("end" + tagName)
		if err != nil || tagName == "comment" || text == "" {
			return nil, err
		}
		return textNode(text), nil
	}
	if why, ok := refused[tagName]; ok {
		return nil, at(line, fmt.Errorf("the tag %q is not allowed: %s", tagName, why))
	}
	if opened, ok := strings.CutPrefix(tagName, "end"); ok || tagName == "else" || tagName == "elsif" || tagName == "when" {
		where := "there is no open tag that it belongs to"
		if inside != "" {
			where = fmt.Sprintf("the innermost open tag is %q", inside)
		}
		if ok {
			where += fmt.Sprintf("; open it by {%% %s … %%}, or remove this", opened)
		}
		return nil, at(line, fmt.Errorf("the tag %q does not belong here: %s", shorten(tagName), where))
	}
	return nil, at(line, fmt.Errorf("the tag %q is unknown; there are: %s", shorten(tagName), allTags))
}

// variable reads the name that assign and capture set.
func (p *parser) variable(tagName string) (string, error) {
	if err := p.step(); err != nil {
		return "", err
	}
	if p.ahead.kind != name {
		return "", p.unexpected("the name of a variable after " + tagName)
	}
	variable := p.ahead.text
	if slices.Contains(constantNames, variable) {
		return "", p.fail("%q can't be set, for it is a word of the language; choose another name", variable)
	}
	return variable, p.step()
}

func (p *parser) branches(of string, line, depth int) (node, error) {
	var list branchNode
	b := branch{not: of == "unless", line: line}
	var err error
	if b.test, err = p.after(); err != nil {
		return nil, err
	}
	for {
		var by string
		if b.body, by, err = p.block(of, depth+1); err != nil {
			return nil, err
		}
		isElse := b.test == nil
		list = append(list, b)
		if by == "end"+of {
			return list, p.empty()
		}
		if isElse {
			return nil, p.fail("%q can't follow else; make else the last branch", by)
		}
		b = branch{line: p.line}
		if by == "else" {
			err = p.empty()
		} else {
			b.test, err = p.after()
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) cases(line, depth int) (node, error) {
	n := &caseNode{line: line}
	var err error
	if n.value, err = p.after(); err != nil {
		return nil, err
	}
	// What stands before the first when is no branch's.
	_, by, err := p.block("case", depth+1)
	if err != nil {
		return nil, err
	}
	for by != "endcase" {
		if last := len(n.whens) - 1; last >= 0 && n.whens[last].values == nil {
			return nil, p.fail("%q can't follow else; make else the last branch", by)
		}
		w := when{line: p.line}
		if by == "else" {
			err = p.empty()
		} else {
			w.values, err = p.list()
		}
		if err != nil {
			return nil, err
		}
		if w.body, by, err = p.block("case", depth+1); err != nil {
			return nil, err
		}
		n.whens = append(n.whens, w)
	}
	return n, p.empty()
}

// list reads the values of a when: separated by commas, or by or.
func (p *parser) list() ([]expression, error) {
	var list []expression
	for {
		if err := p.step(); err != nil {
			return nil, err
		}
		e, err := p.operand()
		if err != nil {
			return nil, err
		}
		list = append(list, e)
		if !p.ahead.is(",") && !p.ahead.word("or") {
			return list, p.done()
		}
	}
}

// begin starts to read an expression.
func (p *parser) begin(closer string) error {
	p.closer, p.depth = closer, 0
	return p.step()
}

func (p *parser) step() error {
	var err error
	p.ahead, err = p.next(p.closer)
	return err
}

// whole reads an expression up to its end.
func (p *parser) whole(closer string) (expression, error) {
	if err := p.begin(closer); err != nil {
		return nil, err
	}
	return p.toEnd()
}

// after reads the expression behind a lexeme, up to its end.
func (p *parser) after() (expression, error) {
	if err := p.step(); err != nil {
		return nil, err
	}
	return p.toEnd()
}

func (p *parser) toEnd() (expression, error) {
	e, err := p.condition()
	if err != nil {
		return nil, err
	}
	return e, p.done()
}

// empty reads the end of a tag that takes no arguments.
func (p *parser) empty() error {
	if err := p.step(); err != nil {
		return err
	}
	return p.done()
}

func (p *parser) done() error {
	if p.ahead.kind != closing {
		return p.unexpected(p.closer)
	}
	return nil
}

func (p *parser) unexpected(wanted string) error {
	return at(p.ahead.line, fmt.Errorf("%s stands where %s is expected", p.ahead, wanted))
}
