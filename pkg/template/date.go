package template

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// layouts are what rows and events have: timestamptz, which is a moment, and timestamp and
// date, which are what a clock and a calendar showed somewhere.
var layouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", time.DateTime, time.DateOnly}

// date formats a moment as strftime does. What is no moment stays as it is; a moment has
// the offset that its text has.
func date(r *run, in any, args []any) (any, error) {
	s, ok := in.(string)
	if !ok || len(s) > len("2006-01-02T15:04:05.999999999+00:00")+5 {
		return in, nil
	}
	format, err := r.text(args[0])
	if err != nil {
		return nil, err
	}
	for i, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			if i == 0 && r.zone != nil {
				t = t.In(r.zone)
			}
			var out sink
			strftime(&out, t, format)
			return out.String(), r.spend(perElement + out.Len())
		}
	}
	return in, nil
}

// strftime writes a directive that it doesn't know as it is. Of Ruby's flags it knows -,
// which leaves leading zeros and spaces out.
func strftime(out *sink, t time.Time, format string) {
	for !out.full {
		before, after, found := strings.Cut(format, "%")
		out.write(before)
		if !found {
			return
		}
		directive, plain := strings.CutPrefix(after, "-")
		if directive == "" {
			out.write("%" + after)
			return
		}
		text, ok := conversion(t, directive[0])
		if plain && len(text) > 1 {
			text = strings.TrimLeft(text[:len(text)-1], "0 ") + text[len(text)-1:]
		}
		if !ok {
			n := len(after) - len(directive) + runes(directive, 1)
			text = "%" + after[:n]
			directive = after[n-1:] // its first byte goes below
		}
		out.write(text)
		format = directive[1:]
	}
}

// conversion is what one directive stands for.
func conversion(t time.Time, c byte) (text string, ok bool) {
	hour12 := (t.Hour()+11)%12 + 1
	switch c {
	case 'Y':
		return t.Format("2006"), true
	case 'y':
		return t.Format("06"), true
	case 'm':
		return t.Format("01"), true
	case 'B':
		return t.Format("January"), true
	case 'b', 'h':
		return t.Format("Jan"), true
	case 'd':
		return t.Format("02"), true
	case 'e':
		return t.Format("_2"), true
	case 'j':
		return t.Format("002"), true
	case 'H':
		return t.Format("15"), true
	case 'k':
		return fmt.Sprintf("%2d", t.Hour()), true
	case 'I':
		return fmt.Sprintf("%02d", hour12), true
	case 'l':
		return fmt.Sprintf("%2d", hour12), true
	case 'M':
		return t.Format("04"), true
	case 'S':
		return t.Format("05"), true
	case 'L':
		return fmt.Sprintf("%03d", t.Nanosecond()/int(time.Millisecond)), true
	case 'p':
		return t.Format("PM"), true
	case 'P':
		return t.Format("pm"), true
	case 'z':
		return t.Format("-0700"), true
	case 'Z':
		return t.Format("MST"), true
	case 'A':
		return t.Format("Monday"), true
	case 'a':
		return t.Format("Mon"), true
	case 'u':
		return strconv.Itoa((int(t.Weekday())+6)%7 + 1), true
	case 'w':
		return strconv.Itoa(int(t.Weekday())), true
	case 'V':
		_, week := t.ISOWeek()
		return fmt.Sprintf("%02d", week), true
	case 'G':
		year, _ := t.ISOWeek()
		return strconv.Itoa(year), true
	case 's':
		return strconv.FormatInt(t.Unix(), 10), true
	case 'F':
		return t.Format(time.DateOnly), true
	case 'D', 'x':
		return t.Format("01/02/06"), true
	case 'T', 'X':
		return t.Format(time.TimeOnly), true
	case 'R':
		return t.Format("15:04"), true
	case 'r':
		return t.Format("03:04:05 PM"), true
	case 'c':
		return t.Format("Mon Jan _2 15:04:05 2006"), true
	case '%':
		return "%", true
	}
	return "", false
}
