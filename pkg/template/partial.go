package template

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/pkg/spelling"
)

// The limits of what a template and the ones that it renders are together.
const (
	maxPartialDepth = 8       // templates in templates
	maxSources      = 4 << 16 // bytes of all sources, each counted once
)

// compiler makes variants; the stored templates that they render are compiled once.
type compiler struct {
	options  Options
	partials map[string]*partial
	open     []string // the stored templates that are being read, outermost first
	size     int      // bytes of sources read so far
}

// partial is a stored template that render names.
type partial struct {
	name     string
	variants []variant
	uses     []Use // what it reads of the variables, whoever renders it
}

// variant compiles one translation.
func (c *compiler) variant(locale, source string) (variant, error) {
	v := variant{locale: locale}
	if len(source) > MaxSource {
		return v, fmt.Errorf("the template has %d bytes; the most are %d", len(source), MaxSource)
	}
	if c.size += len(source); c.size > maxSources {
		return v, fmt.Errorf("the template and those that it renders have more than %d bytes together; render fewer, or shorten them", maxSources)
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

// partial compiles a stored template, with all its translations.
func (c *compiler) partial(called string) (*partial, error) {
	if slices.Contains(c.open, called) {
		return nil, fmt.Errorf("the template %q renders itself: %s", shorten(called), strings.Join(append(slices.Clone(c.open), called), " → "))
	}
	if p, ok := c.partials[called]; ok {
		return p, nil
	}
	sources, ok := c.options.Partials[called]
	if !ok || len(sources) == 0 {
		mend := spelling.Mend(called, slices.Sorted(maps.Keys(c.options.Partials)))
		if mend == "" {
			mend = "store it first, as by rowbell template set"
		}
		return nil, fmt.Errorf("there is no template %q; %s", shorten(called), mend)
	}
	if len(c.open) == maxPartialDepth {
		return nil, fmt.Errorf("templates render each other more than %d deep: %s; make them flatter", maxPartialDepth, strings.Join(c.open, " → "))
	}
	if len(sources) > maxTranslations {
		return nil, fmt.Errorf("the template %q has %d translations; the most are %d", shorten(called), len(sources), maxTranslations)
	}
	c.open = append(c.open, called)
	defer func() { c.open = c.open[:len(c.open)-1] }()
	p := &partial{name: called}
	for _, locale := range slices.Sorted(maps.Keys(sources)) {
		v, err := c.variant(locale, sources[locale])
		if err != nil {
			return nil, p.in(&v, err)
		}
		p.variants = append(p.variants, v)
	}
	p.uses = p.reads()
	c.partials[called] = p
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
