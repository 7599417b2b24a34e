package template

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/pkg/spelling"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// The limits of what a template and the ones that it renders are together.
const (
	maxPartialDepth = 8       // templates in templates
	maxSources      = 4 << 16 // bytes of all sources, each counted once
)

// compiler makes the variants of one text.
type compiler struct {
	options Options
	open    []*partial // the stored templates that are being read, outermost first
	own     int        // bytes of the text's own sources
	reach   map[string]int
}

// partial is a stored template that render names, with all its translations. It is
// immutable once it is compiled, and shared by all texts of a Library.
type partial struct {
	name     string
	variants []variant
	uses     []Use          // what it reads of the variables, whoever renders it
	height   int            // how deep it renders others; 1 for none
	reach    map[string]int // it and what it renders, with the bytes of their sources
}

// made is what a Library keeps of a name.
type made struct {
	partial *partial
	err     error // for texts that render it by themselves
}

// variant compiles one translation.
func (c *compiler) variant(locale, source string) (variant, error) {
	v := variant{locale: locale}
	if len(source) > MaxSource {
		return v, fmt.Errorf("the template has %d bytes; the most are %d", len(source), MaxSource)
	}
	if len(c.open) == 0 {
		c.own += len(source)
		if err := c.fits(c.reach); err != nil {
			return v, err
		}
	}
	if !strings.Contains(source, "{{") && !strings.Contains(source, "{%") {
		v.static = source
		return v, nil
	}
	p := &parser{compiler: c, scanner: scanner{source: source, line: 1}}
	var err error
	v.nodes, _, err = p.block("", 0)
	return v, err
}

// fits holds sources to what they may have together.
func (c *compiler) fits(reach map[string]int) error {
	size := c.own
	for _, n := range reach {
		size += n
	}
	if size > maxSources {
		return fmt.Errorf("the template and those that it renders have more than %d bytes together; render fewer, or shorten them", maxSources)
	}
	return nil
}

// partial finds a stored template that what is being read renders.
func (c *compiler) partial(called string) (*partial, error) {
	if slices.ContainsFunc(c.open, func(p *partial) bool { return p.name == called }) {
		return nil, fmt.Errorf("the template %q renders itself: %s", shorten(called), c.way(called))
	}
	lib := c.options.Partials
	if lib == nil {
		lib = workflow.NewLibrary(nil)
	}
	var m made
	if kept, ok := lib.Made.Load(called); ok {
		m = kept.(made)
	} else {
		m.partial, m.err = c.compile(lib, called)
		if m.err == nil || len(c.open) == 0 { // deeper in it may be for the way to there
			lib.Made.Store(called, m)
		}
	}
	if m.err != nil {
		return nil, m.err
	}
	p := m.partial
	if len(c.open)+p.height > maxPartialDepth {
		return nil, fmt.Errorf("templates render each other more than %d deep: %s; make them flatter", maxPartialDepth, c.way(called))
	}
	reach := &c.reach
	if n := len(c.open); n > 0 {
		c.open[n-1].height = max(c.open[n-1].height, p.height+1)
		reach = &c.open[n-1].reach
	}
	if *reach == nil {
		*reach = make(map[string]int)
	}
	maps.Copy(*reach, p.reach)
	return p, c.fits(*reach)
}

// way names the templates that lead to one.
func (c *compiler) way(called string) string {
	var names []string
	for _, p := range c.open {
		names = append(names, p.name)
	}
	return strings.Join(append(names, called), " → ")
}

// compile reads a stored template, and whatever it renders.
func (c *compiler) compile(lib *workflow.Library, called string) (*partial, error) {
	sources := lib.Sources[called]
	if len(sources) == 0 {
		mend := spelling.Mend(called, slices.Sorted(maps.Keys(lib.Sources)))
		if mend == "" {
			mend = "store it first, as by rowbell template set"
		}
		return nil, fmt.Errorf("there is no template %q; %s", shorten(called), mend)
	}
	if len(c.open) == maxPartialDepth {
		return nil, fmt.Errorf("templates render each other more than %d deep: %s; make them flatter", maxPartialDepth, c.way(called))
	}
	if len(sources) > maxTranslations {
		return nil, fmt.Errorf("the template %q has %d translations; the most are %d", shorten(called), len(sources), maxTranslations)
	}
	p := &partial{name: called, height: 1, reach: make(map[string]int)}
	for _, source := range sources {
		p.reach[called] += len(source)
	}
	if err := c.fits(p.reach); err != nil {
		return nil, err
	}
	c.open = append(c.open, p)
	defer func() { c.open = c.open[:len(c.open)-1] }()
	for _, locale := range slices.Sorted(maps.Keys(sources)) {
		v, err := c.variant(locale, sources[locale])
		if err != nil {
			return nil, p.in(&v, err)
		}
		p.variants = append(p.variants, v)
	}
	p.uses = p.reads()
	return p, nil
}

// in says which stored template an error is in.
func (p *partial) in(v *variant, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s, %w", p.place(v.locale), err)
}

func (p *partial) place(locale string) string {
	if locale == "" {
		return fmt.Sprintf("template %q", shorten(p.name))
	}
	return fmt.Sprintf("template %q (%s)", shorten(p.name), shorten(locale))
}

// renderNode renders a stored template, which sees what it is given and what the template
// was given that is rendered, but nothing that has been assigned there.
type renderNode struct {
	partial *partial
	args    []argument
	line    int
}

type argument struct {
	name  string
	value expression
}

func (n *renderNode) render(r *run, out *sink) error {
	inner := make(map[string]any, len(n.args))
	for _, a := range n.args {
		v, err := a.value.eval(r)
		if err != nil {
			return at(n.line, err)
		}
		inner[a.name] = v
	}
	v := choose(n.partial.variants, r.locale, r.fallback, defaultLocale)
	if v.nodes == nil {
		if err := r.spend(len(v.static)); err != nil {
			return at(n.line, err)
		}
		out.write(v.static)
		return nil
	}
	local, locale := r.local, r.locale
	r.local = inner
	r.use(v)
	err := r.render(v.nodes, out)
	r.local, r.locale = local, locale
	return at(n.line, n.partial.in(v, err))
}

// partialCall reads a render, from behind its name.
func (p *parser) partialCall(line int) (node, error) {
	if err := p.step(); err != nil {
		return nil, err
	}
	if p.ahead.kind != quoted {
		return nil, p.unexpected("the name of a template in quotes (as in {% render 'footer' %})")
	}
	n := &renderNode{line: line}
	var err error
	if n.partial, err = p.partial(p.ahead.text); err != nil {
		return nil, at(line, err)
	}
	if err := p.step(); err != nil {
		return nil, err
	}
	for p.ahead.is(",") || p.ahead.kind == name {
		if p.ahead.is(",") {
			if err := p.step(); err != nil {
				return nil, err
			}
		}
		word := p.ahead
		switch {
		case word.kind != name:
			return nil, p.unexpected("the name of an argument (as in {% render 'footer', total: new.total %})")
		case slices.Contains(constantNames, word.text):
			return nil, p.fail("%q can't be set, for it is a word of the language; choose another name", word.text)
		case slices.ContainsFunc(n.args, func(a argument) bool { return a.name == word.text }):
			return nil, p.fail("the argument %q is there twice; remove one", shorten(word.text))
		}
		if err := p.step(); err != nil {
			return nil, err
		}
		if (word.text == "with" || word.text == "for") && !p.ahead.is(":") {
			return nil, at(word.line, unknownWord("render", word.text, "arguments, as order: new, total: new.total"))
		}
		value, err := p.named(word)
		if err != nil {
			return nil, err
		}
		n.args = append(n.args, argument{word.text, value})
	}
	return n, p.done()
}

func unknownWord(tag, word, takes string) error {
	return errors.New("the tag " + tag + " does not know the word " + fmt.Sprintf("%q", shorten(word)) + "; it takes " + takes)
}
