package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
)

// columns measures texts as terminals show them: 漢 and 🔔 take two columns, a combining
// accent none. What some fonts show narrow and others wide counts as narrow.
var columns = &runewidth.Condition{StrictEmojiNeutral: true}

// narrowest is what truncation leaves of a column.
const narrowest = 12

// writeTable writes a list: a header, then a row each, with columns aligned. In a file or a
// pipe everything is in it; on a terminal rows are cut to its width, so that each stays one
// line. The first column is never cut: it holds what other commands are told.
func writeTable(w io.Writer, rows [][]string) {
	s, _ := w.(screen)
	if s.width > 0 {
		rows = eachCell(rows, func(_ int, cell string) string { return oneLine(cell) })
	}
	widths := widthsOf(rows)
	if s.width > 0 {
		first, then := leasts(rows, widths)
		fit(widths, first, s.width)
		fit(widths, then, s.width)
		rows = eachCell(rows, func(column int, cell string) string { return columns.Truncate(cell, widths[column], "…") })
	}
	writeAligned(w, rows, widths, func(row, column int) string {
		switch {
		case !s.colour:
			return ""
		case row == 0:
			return bold
		case slices.Contains(judged, rows[0][column]):
			word, _, _ := strings.Cut(rows[row][column], ":")
			word, _, _ = strings.Cut(word, ",")
			return colourOf[word]
		}
		return ""
	})
}

// writeFields writes names and what each is. Nothing is cut: it is what there is to see.
func writeFields(w io.Writer, rows [][]string) {
	s, _ := w.(screen)
	writeAligned(w, rows, widthsOf(rows), func(_, column int) string {
		if s.colour && column == 0 {
			return bold
		}
		return ""
	})
}

func eachCell(rows [][]string, f func(column int, cell string) string) [][]string {
	out := make([][]string, len(rows))
	for i, row := range rows {
		out[i] = make([]string, len(row))
		for j, cell := range row {
			out[i][j] = f(j, cell)
		}
	}
	return out
}

// judged are columns whose words have colours.
var judged = []string{"STATUS", "STATE", "HEALTH"}

// Colours, by number. (ECMA-48, section 8.3.117.)
const (
	bold   = "1"
	green  = "32"
	yellow = "33"
	red    = "31"
)

// colourOf says which words are good and which are not. No text is told apart by its colour
// alone.
var colourOf = map[string]string{
	"active": green, "ok": green, "succeeded": green, "success": green, "done": green, "closed": green, "released": green,
	"retrying": yellow, "held": yellow, "half_open": yellow, "incomplete": yellow, "running": yellow, "paused": yellow,
	"dead": red, "failure": red, "broken": red, "open": red, "disabled": red,
}

func paint(colour, text string) string {
	if colour == "" || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func widthsOf(rows [][]string) []int {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], columns.StringWidth(cell))
		}
	}
	return widths
}

const gap = 2 // between columns

// fit makes columns narrower until a row fits: always the widest but the first, and none
// narrower than least says. What then is still too wide stays so.
func fit(widths, least []int, width int) {
	total := gap * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for ; total > width; total-- {
		widest := 0
		for i := 1; i < len(widths); i++ {
			if widths[i] > least[i] && (widest == 0 || widths[i] >= widths[widest]) {
				widest = i
			}
		}
		if widest == 0 {
			return
		}
		widths[widest]--
	}
}

// leasts say how narrow columns may become: first without cutting those in which everything
// is equally wide, as times are, for half a time says little; then with that.
func leasts(rows [][]string, widths []int) (first, then []int) {
	const time = 20
	for i := range widths {
		least, even := narrowest, len(rows) > 1
		for n, row := range rows {
			switch {
			case i >= len(row):
			case n == 0:
				least = max(least, columns.StringWidth(row[i]))
			default:
				even = even && columns.StringWidth(row[i]) == widths[i]
			}
		}
		then = append(then, least)
		if even && widths[i] <= time {
			least = widths[i]
		}
		first = append(first, least)
	}
	return first, then
}

// writeAligned writes rows; colour says by its number which one a cell has. Nothing stands
// behind what is last in a line.
func writeAligned(w io.Writer, rows [][]string, widths []int, colour func(row, column int) string) {
	var b strings.Builder
	for i, row := range rows {
		last := len(row) - 1
		for last > 0 && row[last] == "" {
			last--
		}
		for j := 0; j <= last; j++ {
			b.WriteString(paint(colour(i, j), row[j]))
			if j < last {
				b.WriteString(strings.Repeat(" ", max(widths[j]-columns.StringWidth(row[j]), 0)+gap))
			}
		}
		b.WriteByte('\n')
	}
	_, _ = io.WriteString(w, b.String())
}

// oneLine is a text without what would begin another line or move the cursor.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
}

func when(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return firstLine(s)
}

// firstLine is for a table: what it leaves out is marked.
func firstLine(s string) string {
	if line, _, more := strings.Cut(s, "\n"); more {
		return line + " …"
	}
	return s
}

func several(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
