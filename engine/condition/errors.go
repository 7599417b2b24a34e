package condition

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/file"
)

// Error says what is wrong in a condition, and where. It is what Parse and Bind
// return.
type Error struct {
	Where   string // field_conditions.total.gt, condition 2 (expression)
	Line    int    // in an expression, from 1; 0 in a form
	Column  int    // in an expression, in characters, from 1
	Snippet string // the line and a mark below it; "" in a form
	Message string
	Mend    string // "" if the message says it all
	Unknown string // the column that the table doesn't have; "" if that isn't what is wrong
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Where)
	if e.Line > 0 {
		fmt.Fprintf(&b, ", line %d, column %d", e.Line, e.Column)
	}
	b.WriteString(": ")
	b.WriteString(e.Message)
	if e.Mend != "" {
		b.WriteString("; ")
		b.WriteString(e.Mend)
	}
	if e.Snippet != "" {
		b.WriteByte('\n')
		b.WriteString(e.Snippet)
	}
	return b.String()
}

// MissingError says that a condition needs a value that is not in the WAL.
type MissingError struct {
	Column string // new.note, old.status
	Why    string
	Mend   string
	Masked bool // by Env.Mask: not known here, whatever the WAL had
}

func (e *MissingError) Error() string {
	if e.Masked {
		return fmt.Sprintf("the condition needs %s, which is not known here: %s", e.Column, e.Why)
	}
	return fmt.Sprintf("the condition needs %s, which is not in the WAL: %s; %s", e.Column, e.Why, e.Mend)
}

// EvalError says that a condition could not be evaluated for this row: a division by
// zero, a text in json where a number was expected, a limit.
type EvalError struct {
	Where string
	Err   error
}

func (e *EvalError) Error() string { return e.Where + ": " + e.Err.Error() }

func (e *EvalError) Unwrap() error { return e.Err }

// errorAt builds an Error for a place of a clause's text: for a form the key path that
// wrote it, for an expression line, column and snippet.
func (c *clause) errorAt(loc file.Location, message, mend string) *Error {
	e := &Error{Where: c.where, Message: message, Mend: mend}
	if c.spans != nil {
		e.Where = c.path(loc.From)
		return e
	}
	line, column, start := 1, 1, 0
	n := 0
	for i, r := range c.text {
		if n == loc.From {
			break
		}
		n++
		column++
		if r == '\n' {
			line, column, start = line+1, 1, i+1
		}
	}
	e.Line, e.Column = line, column
	text := c.text[start:]
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	e.Snippet = snippet(text, column)
	return e
}

// snippet shows at most 80 characters of a line, with a mark below the column.
func snippet(line string, column int) string {
	line = strings.ReplaceAll(line, "\t", " ")
	runes := []rune(line)
	const before, most = 50, 80
	if column > before {
		cut := min(column-before, len(runes))
		runes, column = runes[cut:], column-cut
	}
	if len(runes) > most {
		runes = runes[:most]
	}
	return "    " + string(runes) + "\n    " + strings.Repeat(" ", max(column-1, 0)) + "^"
}

// quote shows a value that someone wrote, at most 60 bytes of it.
func quote(s string) string {
	const most = 60
	if len(s) <= most {
		return fmt.Sprintf("%q", s)
	}
	cut := most
	for cut > most-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%q…", s[:cut])
}
