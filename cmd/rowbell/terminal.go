package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// colourMode is what --color says. "" is colourAuto.
type colourMode string

const (
	colourAuto   colourMode = "auto" // on terminals
	colourAlways colourMode = "always"
	colourNever  colourMode = "never"
)

var colourModes = []string{string(colourAuto), string(colourAlways), string(colourNever)}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// colours says that what is written to f may have colours if nobody has said otherwise: it
// is a terminal that has them. (https://no-color.org)
func colours(f *os.File) bool {
	return isTerminal(f) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// in says whether what is written to f has colours.
func (m colourMode) in(f *os.File) bool {
	return m == colourAlways || m != colourNever && colours(f)
}

// screen is what a command writes to where the width of lines or colours count.
type screen struct {
	io.Writer
	width  int // of the terminal in columns; 0 if it is none, or nobody knows
	colour bool
}

// printer is what a command may write to f: on a terminal without what the terminal would
// obey. Names, texts and answers are written by tenants and receivers, and one of them could
// rename the window, fill the clipboard, or paint over what stands there. Files and pipes
// get everything as it is.
func printer(f *os.File, colour bool) io.Writer {
	switch {
	case isTerminal(f):
		s := screen{Writer: tame{f}, colour: colour}
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			s.width = width
		}
		return s
	case colour:
		return screen{Writer: f, colour: true}
	}
	return f
}

// tame shows control characters instead of sending them, but for line breaks, tabs and
// colours.
type tame struct{ w io.Writer }

// Write implements io.Writer. It counts the bytes that it was given.
func (t tame) Write(p []byte) (int, error) {
	if bytes.IndexFunc(p, unicode.IsControl) < 0 {
		return t.w.Write(p)
	}
	if _, err := io.WriteString(t.w, tamed(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

func tamed(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == '\x1b' && colour(s) > 0:
			size = colour(s)
			b.WriteString(s[:size])
		case r == '\n' || r == '\t' || !unicode.IsControl(r):
			b.WriteString(s[:size])
		case r == '\r' && strings.HasPrefix(s, "\r\n"):
		case r < ' ':
			b.WriteRune('␀' + r) // the control pictures of Unicode
		default:
			b.WriteRune(unicode.ReplacementChar)
		}
		s = s[size:]
	}
	return b.String()
}

// colour is the length of a sequence of SGR at the start of s; 0 if there is none. (ECMA-48,
// section 8.3.117.) It is what commands write themselves.
func colour(s string) int {
	rest, ok := strings.CutPrefix(s, "\x1b[")
	if !ok {
		return 0
	}
	rest = strings.TrimLeft(rest, "0123456789;")
	if !strings.HasPrefix(rest, "m") {
		return 0
	}
	return len(s) - len(rest) + 1
}
