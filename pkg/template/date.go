package template

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-playground/locales"
)

// layouts are what rows and events have: timestamptz, which is a moment, and timestamp and
// date, which are what a clock and a calendar showed somewhere.
var layouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", time.DateTime, time.DateOnly}

// perDate is what a date costs beside its text.
const perDate = 512

// date formats a moment as the reader's locale does (see styled), or as strftime does. What
// is no moment stays as it is. A moment is told in the zone that the filter names, else the
// reader's, else at the offset that its text has.
func date(r *run, in any, args []any) (any, error) {
	s, ok := in.(string)
	if !ok || len(s) > len("2006-01-02T15:04:05.999999999+00:00")+5 {
		return in, nil
	}
	format, err := r.text(args[0])
	if err != nil {
		return nil, err
	}
	zone := r.zone
	if len(args) > 1 && args[1] != nil {
		name, err := r.text(args[1])
		if err != nil {
			return nil, err
		}
		if zone, err = loadZone(name); err != nil {
			return nil, err
		}
	}
	if err := r.spend(perDate); err != nil {
		return nil, err
	}
	for i, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			if i == 0 && zone != nil {
				t = t.In(zone)
			}
			if text, ok := styled(r.locale, t, format); ok {
				return text, r.spend(len(text))
			}
			var out sink
			strftime(&out, t, format, calendar(r.locale))
			return out.String(), r.spend(out.Len())
		}
	}
	return in, nil
}

// strftime writes a directive that it doesn't know as it is. Of Ruby's flags it knows -,
// which leaves leading zeros and spaces out.
func strftime(out *sink, t time.Time, format string, names locales.Translator) {
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
		text, ok := conversion(t, directive[0], names)
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

// conversion is what one directive stands for. Without names they are English.
func conversion(t time.Time, c byte, names locales.Translator) (text string, ok bool) {
	if names != nil {
		switch c {
		case 'B':
			return names.MonthWide(t.Month()), true
		case 'b', 'h':
			return names.MonthAbbreviated(t.Month()), true
		case 'A':
			return names.WeekdayWide(t.Weekday()), true
		case 'a':
			return names.WeekdayAbbreviated(t.Weekday()), true
		}
	}
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
