package app

import (
	"fmt"
	"io"
	"strings"
)

// Style says how a text is shown: Marks with ✓, ! and ✗, and Colour, are for a
// terminal; otherwise there are words.
type Style struct {
	Marks  bool
	Colour bool
}

// mark returns how a level is shown, and the width of all marks.
func (s Style) mark(l Level) (string, int) {
	mark, word, colour := "✓", "ok", "32"
	switch l {
	case LevelWarning:
		mark, word, colour = "!", "warning", "33"
	case LevelFailed:
		mark, word, colour = "✗", "FAILED", "31"
	}
	if !s.Marks {
		return s.paint(colour, fmt.Sprintf("%-7s", word)), 7
	}
	return s.paint(colour, mark), 1
}

func (s Style) paint(code, text string) string {
	if !s.Colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Write shows the report as a list, each problem with its mend below it.
func (r *Report) Write(w io.Writer, s Style) error {
	width := 0
	for _, f := range r.Findings {
		width = max(width, len(f.Check))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Source: %s\n", r.Source)
	if r.State != r.Source {
		fmt.Fprintf(&b, "State:  %s\n", r.State)
	}
	b.WriteByte('\n')
	for _, f := range r.Findings {
		mark, markWidth := s.mark(f.Level)
		message := strings.ReplaceAll(f.Message, "\n", "\n"+strings.Repeat(" ", markWidth+2+width+2))
		fmt.Fprintf(&b, "%s  %-*s  %s\n", mark, width, f.Check, message)
		for _, line := range f.Mend {
			fmt.Fprintf(&b, "%s%s\n", strings.Repeat(" ", markWidth+2+width+4), s.paint("36", line))
		}
	}
	b.WriteByte('\n')
	failed, warnings := r.Count(LevelFailed), r.Count(LevelWarning)
	switch {
	case failed > 0:
		fmt.Fprintf(&b, "%s: mend %s first.\n", counted(failed, "problem", "problems"), thisOrThese(failed))
	case warnings > 0:
		fmt.Fprintf(&b, "Rowbell can run; %s.\n", counted(warnings, "warning", "warnings"))
	default:
		b.WriteString("Everything is in order.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func thisOrThese(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}
