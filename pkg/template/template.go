package template

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// The limits of one template.
const (
	MaxSource = 64 << 10 // bytes of source
	MaxText   = 64 << 10 // bytes of a text that a template makes, its output among them

	maxDepth = 32      // tags in tags, and parentheses in parentheses
	maxWork  = 8 << 20 // bytes that one Render may work on
)

// Template is a compiled template. It is immutable, and rendering may be done from any
// goroutine.
type Template struct {
	options  Options
	zone     *time.Location // of options; nil without one
	variants []variant      // one for each translation, sorted by locale; at least one
}

// Compile reads a template of plain text. Errors name the line, what is wrong there, and
// the mend.
func Compile(source string) (*Template, error) { return CompileFor(source, Options{}) }

// CompileFor reads a template. Errors name the line, what is wrong there, and the mend.
func CompileFor(source string, o Options) (*Template, error) {
	return Text{"": source}.Compile(o)
}

// Render gives the template's output for variables and no reader in particular. See
// RenderFor.
func (t *Template) Render(vars map[string]any) (string, error) { return t.RenderFor(vars, Reader{}) }

// RenderFor gives the template's output for variables, which it doesn't change, in the
// reader's language if there is a translation, with dates and numbers as they write them.
// Variables hold what encoding/json reads with UseNumber; int, int32, int64, float64 and
// time.Time too. Output longer than MaxText is cut there. Returns an error, with its line,
// if a filter can't do what it is to do, or the template does too much.
func (t *Template) RenderFor(vars map[string]any, reader Reader) (string, error) {
	v := choose(t.variants, cmp.Or(reader.Locale, t.options.Locale), t.options.Locale, defaultLocale)
	if v.nodes == nil {
		return v.static, nil
	}
	r := &run{
		vars: vars, work: maxWork, channel: t.options.Channel, zone: reader.Zone,
		fallback: t.options.Locale, locale: cmp.Or(reader.Locale, t.options.Locale),
	}
	if r.zone == nil {
		r.zone = t.zone
	}
	r.use(v)
	var out sink
	if err := r.render(v.nodes, &out); err != nil {
		return "", err
	}
	return out.String(), nil
}

// defaultLocale is that of texts for readers of whom nothing is known: English, as dates and
// numbers are written for them.
const defaultLocale = "en"

// run is one rendering.
type run struct {
	vars    map[string]any
	local   map[string]any // what the template assigned; before vars
	work    int            // bytes that it may still work on
	channel Channel
	zone    *time.Location // where moments are told; nil: as they are
	// locale is the reader's, or that of the translation that is being rendered if it is in
	// another language: what is rendered in it is in the same one. fallback is the workflow's.
	locale, fallback string
}

// use takes the locale of a translation for dates and numbers too, unless it is of the
// reader's language: a date of theirs in a text of another language helps nobody.
func (r *run) use(v *variant) {
	if v.locale != "" && baseLanguage(v.locale) != baseLanguage(r.locale) {
		r.locale = v.locale
	}
}

func baseLanguage(locale string) string {
	l, _, _ := strings.Cut(normalLocale(locale), "-")
	return l
}

// spend pays for work on n bytes.
func (r *run) spend(n int) error {
	if n < 0 || n > r.work {
		r.work = 0
		return fmt.Errorf("the template does too much: its values and filters together work on more than %d MiB; leave filters and loops out, or shorten long values by truncate first", maxWork>>20)
	}
	r.work -= n
	return nil
}

func (r *run) set(name string, v any) {
	if r.local == nil {
		r.local = make(map[string]any)
	}
	r.local[name] = v
}

func (r *run) get(name string) any {
	if v, ok := r.local[name]; ok {
		return v
	}
	return normal(r.vars[name])
}

func (r *run) render(nodes []node, out *sink) error {
	for _, n := range nodes {
		if err := r.spend(perStep); err != nil {
			return err
		}
		if err := n.render(r, out); err != nil {
			return err
		}
	}
	return nil
}

// perStep is what any step costs, however little it does.
const perStep = 16

// node is a part of a template.
type node interface{ render(*run, *sink) error }

type textNode string

func (n textNode) render(r *run, out *sink) error { return r.write(out, string(n)) }

type outputNode struct {
	value expression
	line  int
}

func (n *outputNode) render(r *run, out *sink) error {
	v, err := n.value.eval(r)
	if err == nil {
		err = r.output(out, v)
	}
	return at(n.line, err)
}

// output writes a value as text of the channel.
func (r *run) output(out *sink, v any) error {
	if m, ok := v.(markup); ok {
		return r.write(out, string(m))
	}
	if r.channel == Plain {
		return r.print(out, v)
	}
	s, err := r.text(v)
	if err != nil {
		return err
	}
	m, err := r.escaped(s)
	if err != nil {
		return err
	}
	return r.write(out, string(m))
}

type assignNode struct {
	name  string
	value expression
	line  int
}

func (n *assignNode) render(r *run, _ *sink) error {
	v, err := n.value.eval(r)
	if err != nil {
		return at(n.line, err)
	}
	r.set(n.name, v)
	return nil
}

type captureNode struct {
	name string
	body []node
	line int
}

func (n *captureNode) render(r *run, _ *sink) error {
	var inner sink
	if err := r.render(n.body, &inner); err != nil {
		return err
	}
	r.set(n.name, markup(inner.String()))
	return at(n.line, r.spend(inner.Len()))
}

// branchNode renders its first branch that applies.
type branchNode []branch

type branch struct {
	test expression // nil: else
	not  bool       // unless
	body []node
	line int
}

func (n branchNode) render(r *run, out *sink) error {
	for _, b := range n {
		if b.test != nil {
			v, err := b.test.eval(r)
			if err != nil {
				return at(b.line, err)
			}
			if truth(v) == b.not {
				continue
			}
		}
		return r.render(b.body, out)
	}
	return nil
}

type caseNode struct {
	value expression
	line  int
	whens []when
}

type when struct {
	values []expression // nil: else
	body   []node
	line   int
}

func (n *caseNode) render(r *run, out *sink) error {
	v, err := n.value.eval(r)
	if err != nil {
		return at(n.line, err)
	}
	for _, w := range n.whens {
		if w.values == nil {
			return r.render(w.body, out)
		}
		for _, e := range w.values {
			other, err := e.eval(r)
			if err != nil {
				return at(w.line, err)
			}
			same, err := r.equal(v, other, 0)
			if err != nil {
				return at(w.line, err)
			}
			if same {
				return r.render(w.body, out)
			}
		}
	}
	return nil
}

// at says where an error is.
func at(line int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("line %d: %w", line, err)
}

// sink takes text, up to MaxText.
type sink struct {
	strings.Builder
	full bool
}

func (s *sink) write(text string) {
	switch {
	case s.full:
	case s.Len()+len(text) <= MaxText:
		s.WriteString(text)
	default:
		s.full = true
		s.shorten(text)
	}
}

// shorten writes what there is room for, with an ellipsis. What was written before may
// leave none for that; then the cut is in there.
func (s *sink) shorten(text string) {
	room := MaxText - len(ellipsis) - s.Len()
	if room < 0 {
		before := s.String()
		s.Reset()
		s.WriteString(before[:runeStart(before, MaxText-len(ellipsis))])
	} else {
		s.WriteString(text[:runeStart(text, room)])
	}
	s.WriteString(ellipsis)
}

const ellipsis = "…"

// runeStart is n, or a little less where n is in the middle of a character.
func runeStart(s string, n int) int {
	for i := 0; i < utf8.UTFMax && n > 0 && n < len(s) && !utf8.RuneStart(s[n]); i++ {
		n--
	}
	return n
}

// cut is s as a sink would have it.
func cut(s string) string {
	if len(s) <= MaxText {
		return s
	}
	return s[:runeStart(s, MaxText-len(ellipsis))] + ellipsis
}
