package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// screen writes lines, and on a terminal a status line below them that is rewritten
// in place. Elsewhere the status is a plain line, now and then.
type screen struct {
	out      io.Writer
	terminal bool
	colour   bool
	width    func() int // of the terminal; asked at each line, since windows change

	mu         sync.Mutex
	status     string
	statusTime time.Time // of the last plain status line
}

// plainStatus is how often the status is written where there is no terminal.
const plainStatus = 10 * time.Second

// Colours, by what they are for. Text is never told apart by colour alone.
const (
	dim    = "2"
	bold   = "1"
	green  = "32"
	yellow = "33"
	red    = "31"
	cyan   = "36"
)

func (s *screen) paint(code, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// line writes a line above the status.
func (s *screen) line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if !s.terminal {
		_, _ = fmt.Fprintln(s.out, text) // nobody looks any more: nothing to tell
		return
	}
	_, _ = fmt.Fprintf(s.out, "\r\x1b[K%s\n%s", text, s.status)
}

// setStatus rewrites the status line.
func (s *screen) setStatus(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.terminal {
		now := time.Now()
		if s.statusTime.IsZero() {
			s.statusTime = now // there is nothing to tell yet
		}
		if now.Sub(s.statusTime) >= plainStatus {
			s.statusTime = now
			_, _ = fmt.Fprintln(s.out, text)
		}
		return
	}
	s.status = s.paint(dim, cut(text, s.columns()))
	_, _ = fmt.Fprintf(s.out, "\r\x1b[K%s", s.status)
}

// clearStatus takes the status line away for good.
func (s *screen) clearStatus() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.terminal && s.status != "" {
		_, _ = fmt.Fprint(s.out, "\r\x1b[K")
	}
	s.status = ""
}

// lineHandler shows log records as lines: the message, and what it is about.
type lineHandler struct {
	screen *screen
	least  slog.Level
	attrs  string
}

// Enabled is part of slog.Handler, as the other three are.
func (h lineHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.least }

func (h lineHandler) Handle(_ context.Context, r slog.Record) error {
	text := r.Message + h.attrs
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	colour := dim
	if r.Level >= slog.LevelWarn {
		colour = yellow
	}
	h.screen.line("%s", h.screen.paint(colour, text))
	return nil
}

func (h lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.attrs += " " + a.String()
	}
	return h
}

func (h lineHandler) WithGroup(string) slog.Handler { return h }

// columns is how many a line may have.
func (s *screen) columns() int {
	if !s.terminal {
		return widest
	}
	return s.width() - 1
}

// clean makes one line of a text from the database, and takes out what a terminal would
// obey.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// cut shortens a text to a number of characters.
func cut(text string, width int) string {
	if width < 1 || utf8.RuneCountInString(text) <= width {
		return text
	}
	runes := []rune(text)
	return string(runes[:width-1]) + "…"
}

// pad fills a text to a number of characters, or cuts it.
func pad(text string, width int) string {
	text = cut(text, width)
	return text + strings.Repeat(" ", width-utf8.RuneCountInString(text))
}

// wrap breaks a text into lines of a number of characters, at most so many.
func wrap(text string, width, most int) (lines []string) {
	for runes := []rune(text); len(runes) > 0; {
		if len(lines) == most-1 {
			return append(lines, cut(string(runes), width))
		}
		n := min(width, len(runes))
		lines = append(lines, string(runes[:n]))
		runes = runes[n:]
	}
	return lines
}

// wrapWords breaks a text between words into lines of a number of characters; a word that
// is longer than that has a line of its own.
func wrapWords(text string, width int) (lines []string) {
	line, n := "", 0
	for word := range strings.FieldsSeq(text) {
		w := utf8.RuneCountInString(word)
		if n > 0 && n+1+w > width {
			lines = append(lines, line)
			line, n = "", 0
		}
		if n > 0 {
			line, n = line+" ", n+1
		}
		line, n = line+word, n+w
	}
	return append(lines, line)
}
