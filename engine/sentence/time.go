package sentence

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var weekdays = []struct{ key, name string }{
	{"mon", "Mondays"},
	{"tue", "Tuesdays"},
	{"wed", "Wednesdays"},
	{"thu", "Thursdays"},
	{"fri", "Fridays"},
	{"sat", "Saturdays"},
	{"sun", "Sundays"},
}

// timed reads a time_based condition: when it holds ("on weekdays between 09:00 and 17:30
// (Europe/Berlin), but not on holidays"; "" always), and what it asks of a column (nil
// nothing).
func timed(raw json.RawMessage) (when string, of *clause) {
	const broken = "at times that can't be read"
	j, err := parse(raw)
	o, ok := j.(object)
	if err != nil || !ok || len(o) == 0 {
		return broken, nil
	}
	var at []string // on weekdays, between 09:00 and 17:30
	holidays, only, zone, columnName := "", false, "UTC", ""
	var offsets []member
	days, hasDays := "", false
	for _, m := range o {
		text, isText := m.value.(string)
		var good bool
		switch m.key {
		case "zone":
			zone, good = zoneName(text), isText && text != ""
		case "days":
			days, good = daysOf(m.value)
			hasDays = true
		case "hours":
			// Below: they come after the days.
			_, good = hoursOf(m.value)
		case "dates":
			_, good = datesOf(m.value)
		case "holidays":
			_, good = holidaysOf(m.value, "or")
		case "on_holidays":
			only, good = m.value.(bool)
		case "column":
			columnName, good = text, isText && text != ""
		case "within", "within_last", "older_than", "further_than":
			offsets = append(offsets, m)
			good = isText
		default:
			good = false
		}
		if !good {
			return broken + " (" + quote(m.key, maxName) + ")", nil
		}
	}
	if hasDays {
		at = append(at, days)
	}
	if v, ok := o.get("hours"); ok {
		said, _ := hoursOf(v)
		at = append(at, said)
	}
	if v, ok := o.get("dates"); ok {
		said, _ := datesOf(v)
		at = append(at, said)
	}
	when = strings.Join(at, " ")
	if _, listed := o.get("holidays"); only && !listed {
		return broken + " (" + quote("on_holidays", maxName) + ")", nil
	}
	if v, ok := o.get("holidays"); ok {
		said, _ := holidaysOf(v, "or")
		switch {
		case only && when == "":
			when = "only on " + said
		case only:
			when += ", only on " + said
		case when == "":
			holidays = "except on " + said
		default:
			holidays = "but not on " + said
		}
	}
	switch {
	case when != "" && holidays != "":
		when += " (" + zone + "), " + holidays
	case when != "" || holidays != "":
		when += holidays + " (" + zone + ")"
	}
	if columnName == "" && len(offsets) > 0 || columnName != "" && len(offsets) == 0 {
		return strings.TrimSpace(when + " " + broken + " (" + quote("column", maxName) + ")"), nil
	}
	if len(offsets) == 0 {
		if when == "" {
			return broken, nil
		}
		return when, nil
	}
	// A day begins when it does in the zone.
	where := ""
	if when == "" && zone != "UTC" {
		where = " (" + zone + ")"
	}
	var kids []*clause
	for i, m := range offsets {
		said := duration(m.value.(string))
		switch m.key {
		case "within":
			said = "within the next " + said
		case "within_last":
			said = "within the last " + said
		case "older_than":
			said = "more than " + said + " ago"
		case "further_than":
			said = "more than " + said + " ahead"
		}
		if i == len(offsets)-1 {
			said += where
		}
		kids = append(kids, leaf(ofRow.col(columnName).subject, "is "+said, "is not "+said))
	}
	return when, group("and", kids)
}

// zoneName shows the name of a zone: Europe/Berlin.
func zoneName(zone string) string {
	if regexp.MustCompile(`^[A-Za-z0-9_+/-]{1,63}$`).MatchString(zone) {
		return zone
	}
	return quote(zone, maxName)
}

func daysOf(v any) (string, bool) {
	list, _ := v.([]any)
	asked := map[string]bool{}
	for _, d := range list {
		s, _ := d.(string)
		asked[s] = true
	}
	var said []string
	for _, d := range weekdays {
		if asked[d.key] {
			said = append(said, d.name)
			delete(asked, d.key)
		}
	}
	switch {
	case len(said) == 0 || len(asked) > 0:
		return "", false
	case len(said) == 7:
		return "on any day", true
	case len(said) == 5 && said[4] == "Fridays":
		return "on weekdays", true
	case len(said) == 2 && said[0] == "Saturdays":
		return "at weekends", true
	}
	return "on " + join(said, "and"), true
}

// ranges reads an object with from and to, or a list of them.
func ranges(v any, say func(from, to string) string) (string, bool) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var said []string
	for _, e := range list {
		o, ok := e.(object)
		if !ok || len(o) == 0 || !o.only("from", "to") {
			return "", false
		}
		var ends [2]string
		for i, key := range []string{"from", "to"} {
			end, given := o.get(key)
			s, isText := end.(string)
			if given && (!isText || s == "") {
				return "", false
			}
			ends[i] = s
		}
		said = append(said, say(ends[0], ends[1]))
	}
	if len(said) > maxListed {
		said = append(said[:fewListed:fewListed], "at "+strconv.Itoa(len(said)-fewListed)+" other times")
	}
	if len(said) == 2 {
		return "either " + strings.Join(said, " or "), true
	}
	return strings.Join(said, " or "), len(said) > 0
}

func hoursOf(v any) (string, bool) {
	return ranges(v, func(from, to string) string {
		f, t := clock(from), clock(to)
		switch {
		case to == "":
			return "from " + f + " on"
		case from == "":
			return "before " + t
		case from > to:
			return "between " + f + " and " + t + " overnight"
		}
		return "between " + f + " and " + t
	})
}

var clockTime = regexp.MustCompile(`^\d\d?:\d\d(:\d\d)?$`)

func clock(s string) string {
	if clockTime.MatchString(s) {
		return s
	}
	return quote(s, maxName)
}

func datesOf(v any) (string, bool) {
	return ranges(v, func(from, to string) string {
		switch {
		case to == "":
			return "from " + date(from) + " on"
		case from == "":
			return "until " + date(to)
		case from == to:
			return "on " + date(from)
		}
		return "from " + date(from) + " to " + date(to)
	})
}

// date writes 2026-12-24 as 24 December 2026, and 12-24 as 24 December.
func date(s string) string {
	for _, layout := range [][2]string{{"2006-01-02", "2 January 2006"}, {"2006-01-02", "2 January"}} {
		text := s
		if len(s) == len("01-02") {
			text, layout[1] = "2000-"+s, "2 January" // a leap year: 02-29 is a day
		}
		if t, err := time.Parse(layout[0], text); err == nil {
			return t.Format(layout[1])
		}
	}
	return quote(s, maxName)
}

func holidaysOf(v any, conjunction string) (string, bool) {
	list, _ := v.([]any)
	var said []string
	for _, e := range list {
		s, ok := e.(string)
		if !ok || s == "" {
			return "", false
		}
		said = append(said, date(s))
	}
	switch {
	case len(said) == 0:
		return "", false
	case len(said) <= fewListed:
		return join(said, conjunction), true
	}
	return "holidays (" + some(said, "and") + ")", true
}

var durationParts = regexp.MustCompile(`^(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?$`)

// duration writes 3d as 3 days, 1h30m as 1 hour 30 minutes.
func duration(s string) string {
	if s == "" || len(s) > 40 || !durationParts.MatchString(s) {
		return quote(s, maxName)
	}
	units := map[byte]string{'w': "week", 'd': "day", 'h': "hour", 'm': "minute", 's': "second"}
	var said []string
	start := 0
	for i := range len(s) {
		unit, ok := units[s[i]]
		if !ok {
			continue
		}
		n, err := strconv.Atoi(s[start:i])
		if err != nil {
			return quote(s, maxName)
		}
		said = append(said, count(n, unit))
		start = i + 1
	}
	return strings.Join(slices.Clip(said), " ")
}
