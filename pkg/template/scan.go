package template

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// scanner goes through a source once, from its start to its end.
type scanner struct {
	source string
	pos    int
	line   int  // of pos
	trim   bool // whitespace that follows goes: a tag before it ended with -
}

// move goes on to a position, and counts the lines.
func (s *scanner) move(to int) {
	s.line += strings.Count(s.source[s.pos:to], "\n")
	s.pos = to
}

func (s *scanner) rest() string { return s.source[s.pos:] }

func (s *scanner) has(prefix string) bool { return strings.HasPrefix(s.rest(), prefix) }

func (s *scanner) fail(format string, args ...any) error {
	return at(s.line, fmt.Errorf(format, args...))
}

// opening is what begins after a piece of text.
type opening uint8

const (
	end    opening = iota // of the source
	output                // {{
	tag                   // {%
)

// text returns the text up to the next {{ or {%, and moves behind that.
func (s *scanner) text() (string, opening) {
	rest := s.rest()
	n, found := len(rest), end
	for i := 0; ; {
		j := strings.IndexByte(rest[i:], '{')
		if j < 0 || i+j+1 >= len(rest) {
			break
		}
		i += j
		if c := rest[i+1]; c == '{' || c == '%' {
			n, found = i, output
			if c == '%' {
				found = tag
			}
			break
		}
		i++
	}
	text := rest[:n]
	if s.trim {
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
		s.trim = false
	}
	s.move(s.pos + n)
	if found == end {
		return text, end
	}
	s.pos += len("{{")
	if s.has("-") {
		s.pos++
		text = strings.TrimRightFunc(text, unicode.IsSpace)
	}
	return text, found
}

// until returns what stands before the tag with this name, and moves behind that.
func (s *scanner) until(name string) (string, error) {
	start, at := s.pos, s.pos
	for {
		i := strings.Index(s.source[at:], "{%")
		if i < 0 {
			return "", s.fail("the tag %q is not closed; write {%% %s %%} where it ends", strings.TrimPrefix(name, "end"), name)
		}
		at += i + len("{%")
		t := scanner{source: s.source, pos: at, line: 1}
		text := s.source[start : at-len("{%")]
		if t.has("-") {
			t.pos++
			text = strings.TrimRightFunc(text, unicode.IsSpace)
		}
		t.spaces()
		if !t.has(name) {
			continue
		}
		t.pos += len(name)
		t.spaces()
		trim := t.has("-")
		if trim {
			t.pos++
		}
		if !t.has("%}") {
			continue
		}
		if s.trim {
			text = strings.TrimLeftFunc(text, unicode.IsSpace)
		}
		s.trim = trim
		s.move(t.pos + len("%}"))
		return text, nil
	}
}

func (s *scanner) spaces() {
	for s.pos < len(s.source) {
		c, n := utf8.DecodeRuneInString(s.rest())
		if !unicode.IsSpace(c) {
			return
		}
		if c == '\n' {
			s.line++
		}
		s.pos += n
	}
}

// lexeme is a word of an expression.
type lexeme struct {
	kind lexemeKind
	text string // of a string without its quotes
	line int
}

type lexemeKind uint8

const (
	closing lexemeKind = iota // }} or %}
	name
	number
	quoted
	symbol
)

func (l lexeme) is(symbolText string) bool { return l.kind == symbol && l.text == symbolText }
func (l lexeme) word(text string) bool     { return l.kind == name && l.text == text }

// String is how messages call it.
func (l lexeme) String() string {
	switch l.kind {
	case quoted:
		return fmt.Sprintf("the text %q", shorten(l.text))
	}
	return fmt.Sprintf("%q", shorten(l.text))
}

var symbols = []string{"==", "!=", "<>", "<=", ">=", "<", ">", "=", "|", ":", ",", ".", "[", "]", "(", ")"}

// next reads one lexeme; closer ends the expression: }} or %}.
func (s *scanner) next(closer string) (lexeme, error) {
	s.spaces()
	l := lexeme{line: s.line}
	start := s.pos
	done := func(kind lexemeKind) (lexeme, error) {
		l.kind, l.text = kind, s.source[start:s.pos]
		return l, nil
	}
	switch {
	case s.pos == len(s.source):
		return l, s.fail("%s is missing at the end of the template", closer)
	case s.has(closer), s.has("-" + closer):
		s.trim = s.has("-")
		if s.trim {
			s.pos++
		}
		s.pos += len(closer)
		l.kind, l.text = closing, closer
		return l, nil
	case s.has(".."):
		return l, s.fail("ranges (1..3) are not allowed; a loop goes over the elements of an array")
	}
	c, _ := utf8.DecodeRuneInString(s.rest())
	switch {
	case c == '"' || c == '\'':
		n := strings.IndexByte(s.source[s.pos+1:], byte(c))
		if n < 0 {
			return l, s.fail("the text that starts with %s is not closed; write %c at its end", shorten(s.rest()), c)
		}
		l.kind, l.text = quoted, s.source[s.pos+1:s.pos+1+n]
		s.move(s.pos + n + 2)
		return l, nil
	case isDigit(c) || c == '-' && s.pos+1 < len(s.source) && isDigit(rune(s.source[s.pos+1])):
		s.pos++
		s.digits()
		if s.has(".") && !s.has("..") {
			s.pos++
			if s.digits() == 0 {
				return l, s.fail("%q is no number; write a digit after the point", s.source[start:s.pos])
			}
		}
		return done(number)
	case c == '_' || unicode.IsLetter(c):
		s.name()
		return done(name)
	}
	for _, text := range symbols {
		if s.has(text) {
			s.pos += len(text)
			return done(symbol)
		}
	}
	return l, s.fail("%q is not understood here", c)
}

func isDigit(c rune) bool { return c >= '0' && c <= '9' }

func (s *scanner) digits() int {
	n := 0
	for s.pos < len(s.source) && isDigit(rune(s.source[s.pos])) {
		s.pos++
		n++
	}
	return n
}

// name goes behind a name: letters, digits, _ and -, and one ? at its end.
func (s *scanner) name() {
	for s.pos < len(s.source) {
		c, n := utf8.DecodeRuneInString(s.rest())
		switch {
		case c == '-' && (s.has("-}}") || s.has("-%}")):
			return
		case c == '?':
			s.pos++
			return
		case c != '_' && c != '-' && !unicode.In(c, unicode.L, unicode.Nd, unicode.M):
			return
		}
		s.pos += n
	}
}

// shorten cuts what a message quotes.
func shorten(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	return s[:runeStart(s, most)] + ellipsis
}
