package ui

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/store"
)

// Sizes of a chart, in units of its viewBox.
const (
	chartWidth, chartHeight = 720, 160
	chartLeft, chartBottom  = 44, 22 // for the labels of its axes
)

// bar is an hour or a day of a chart: what went well, what went wrong, and what wasn't done.
type bar struct {
	from                    time.Time
	done, failed, cancelled int64
}

// chart draws how something ended as bars: failures above what was cancelled above what is done.
// Colours come from the style sheet, by class, so that they follow the theme. The table beside
// it says the same to who doesn't see it. done is what it is called when it went well.
func chart(what, done string, bars []bar, day bool) template.HTML {
	most := int64(1)
	for _, b := range bars {
		most = max(most, b.done+b.failed+b.cancelled)
	}
	top := niceTop(most)
	width := float64(chartWidth-chartLeft) / float64(max(len(bars), 1))
	high := float64(chartHeight - chartBottom)
	var s strings.Builder
	fmt.Fprintf(&s, `<svg class="chart" viewBox="0 0 %d %d" role="img" aria-label="%s over time; the table below has the numbers">`, chartWidth, chartHeight, template.HTMLEscapeString(what))
	for i := range 3 {
		y := high * float64(i) / 2
		fmt.Fprintf(&s, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, chartLeft, chartWidth, y+0.5, y+0.5)
		fmt.Fprintf(&s, `<text class="tick" x="%d" y="%.1f" text-anchor="end">%s</text>`, chartLeft-6, min(max(y+4, 10), high), compact(top*int64(2-i)/2))
	}
	every := max(1, (len(bars)+7)/8)
	for i, b := range bars {
		x := chartLeft + float64(i)*width
		fmt.Fprintf(&s, `<g><title>%s</title><rect class="hit" x="%.1f" y="0" width="%.1f" height="%.1f"/>`, template.HTMLEscapeString(b.text(done, day)), x, width, high)
		y := high
		for _, part := range []struct {
			class string
			n     int64
		}{{"done", b.done}, {"cancelled", b.cancelled}, {"failed", b.failed}} {
			if part.n == 0 {
				continue
			}
			h := math.Max(float64(part.n)/float64(top)*high, 1.5)
			y -= h
			fmt.Fprintf(&s, `<rect class="bar %s" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="1"/>`, part.class, x+width*0.15, math.Max(y, 0), width*0.7, h)
		}
		s.WriteString(`</g>`)
		if i%every == 0 {
			fmt.Fprintf(&s, `<text class="tick" x="%.1f" y="%d">%s</text>`, math.Min(x+width*0.15, chartWidth-32), chartHeight-6, tick(b.from, day))
		}
	}
	s.WriteString(`</svg>`)
	return template.HTML(s.String()) //nolint:gosec // numbers, and texts that are escaped
}

// Sizes of a sparkline, in units of its viewBox.
const (
	sparkWidth, sparkHeight = 12, 26 // of one day
	sparkBar                = 9
)

// spark draws the days of one workflow as small bars, failures above the rest, each list by its
// own measure. What it is called says the same in words.
func spark(days []store.Bucket) template.HTML {
	most, failed := int64(1), int64(0)
	said := make([]string, len(days))
	for i, b := range days {
		n := b.Success + b.Failure + b.Cancelled
		most, failed, said[i] = max(most, n), failed+b.Failure, number(n)
	}
	title := "Runs of each of the last " + plural(int64(len(days)), "day", "days") + ", up to today: " + strings.Join(said, ", ")
	if failed > 0 {
		title += "; " + number(failed) + " failed"
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg class="spark" viewBox="0 0 %d %d" role="img" aria-label="%s"><title>%[3]s</title>`, len(days)*sparkWidth, sparkHeight, template.HTMLEscapeString(title))
	for i, b := range days {
		x, y := i*sparkWidth, float64(sparkHeight)
		fmt.Fprintf(&s, `<rect class="bar none" x="%d" y="%d" width="%d" height="1"/>`, x, sparkHeight-1, sparkBar)
		for _, part := range []struct {
			class string
			n     int64
		}{{"done", b.Success}, {"cancelled", b.Cancelled}, {"failed", b.Failure}} {
			if part.n == 0 {
				continue
			}
			h := math.Max(float64(part.n)/float64(most)*sparkHeight, 2)
			y = math.Max(y-h, 0)
			fmt.Fprintf(&s, `<rect class="bar %s" x="%d" y="%.1f" width="%d" height="%.1f" rx="1"/>`, part.class, x, y, sparkBar, h)
		}
	}
	s.WriteString(`</svg>`)
	return template.HTML(s.String()) //nolint:gosec // numbers, and texts that are escaped
}

// niceTop is the next of 1, 2, 5, 10, 20, 50, … that is not below n, and even.
func niceTop(n int64) int64 {
	for step := int64(1); ; step *= 10 {
		for _, f := range []int64{2, 4, 10} {
			if f*step >= n {
				return f * step
			}
		}
	}
}

// compact is a number in little space: 1.2k, 3M.
func compact(n int64) string {
	switch {
	case n >= 1_000_000:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/1e6), ".0") + "M"
	case n >= 1000:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/1e3), ".0") + "k"
	}
	return fmt.Sprint(n)
}

func tick(t time.Time, day bool) string {
	if day {
		return t.UTC().Format("2 Jan")
	}
	return t.UTC().Format("15:04")
}

func (b *bar) text(done string, day bool) string {
	at := b.from.UTC().Format("2 Jan 15:04")
	if day {
		at = b.from.UTC().Format("2 Jan")
	}
	return fmt.Sprintf("%s: %s %s, %s failed, %s cancelled", at, number(b.done), done, number(b.failed), number(b.cancelled))
}
