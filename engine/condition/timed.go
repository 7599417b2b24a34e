package condition

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/spelling"
)

// timedKeys are those of a time_based condition, in the order in which people are told
// of them.
var timedKeys = []string{
	"zone", "days", "hours", "dates", "holidays", "on_holidays", "column", "within", "within_last", "older_than", "further_than",
}

// weekdays as the function weekday returns them, by time.Weekday.
var weekdays = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// timed is a time_based condition that is being written.
type timed struct {
	w      *formWriter
	config object
	where  string
	zone   string // as a literal of the expression language
	parts  int
}

// addTime adds a time_based condition; see doc.go for its form.
func (f *Form) addTime(where string, raw json.RawMessage) error {
	v, err := readConfig(where, raw)
	if err != nil {
		return err
	}
	config, ok := v.(object)
	if !ok {
		return &Error{Where: where, Message: "a time_based condition is an object, not " + jsonKind(v), Mend: `write {"days": ["mon", "fri"], "hours": {"from": "09:00", "to": "17:00"}, "zone": "Europe/Berlin"}`}
	}
	w := &formWriter{row: "row"}
	t := &timed{w: w, config: config, where: where, zone: `"UTC"`}
	if err := t.write(config); err != nil {
		return err
	}
	f.addWritten(where, w, false)
	return nil
}

func (t *timed) fail(key, message, mend string) error {
	return &Error{Where: t.where + key, Message: message, Mend: mend}
}

// part writes one of the parts that are ANDed, as what key wrote.
func (t *timed) part(key, text string) {
	if t.parts++; t.parts > 1 {
		t.w.write(" && ")
	}
	start := t.w.runes
	t.w.write(text)
	t.w.spans = append(t.w.spans, span{from: start, to: t.w.runes, path: t.where + key, label: t.label(key)})
}

// label is a part as the condition says it.
func (t *timed) label(key string) string {
	key = strings.TrimPrefix(key, ".")
	v, _ := t.config.get(key)
	label := key + " " + string(appendConfig(nil, v))
	if column, ok := t.config.get("column"); ok && slices.Contains(distances, key) {
		label = fmt.Sprint(column) + " " + label
	}
	return label
}

func (t *timed) write(config object) error {
	for _, m := range config {
		known := false
		for _, k := range timedKeys {
			known = known || k == m.key
		}
		if !known {
			mend := spelling.Mend(m.key, timedKeys)
			if mend == "" {
				mend = "there are " + strings.Join(timedKeys, ", ")
			}
			return t.fail("."+m.key, "there is no such key in a time_based condition", mend)
		}
	}
	if v, ok := config.get("zone"); ok {
		name, ok := v.(string)
		if !ok {
			return t.fail(".zone", "zone is a text, not "+jsonKind(v), `write "Europe/Berlin"`)
		}
		if _, err := loadZone(name); err != nil {
			return t.fail(".zone", err.Error(), `write a name of the IANA time zone database, as "Europe/Berlin"`)
		}
		t.zone = quoteText(name)
	}
	for _, step := range []func(object) error{t.days, t.hours, t.dates, t.holidays, t.column} {
		if err := step(config); err != nil {
			return err
		}
	}
	if t.parts == 0 {
		return t.fail("", "it asks for no time", `write days, hours, dates, holidays, or column with within`)
	}
	return nil
}

func (t *timed) days(config object) error {
	v, ok := config.get("days")
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return t.fail(".days", "days is a list of days, not "+jsonKind(v), `write ["mon", "tue"]`)
	}
	days := make([]string, len(list))
	for i, e := range list {
		name, _ := e.(string)
		for _, d := range weekdays {
			if name == d {
				days[i] = quoteText(d)
			}
		}
		if days[i] == "" {
			return t.fail(fmt.Sprintf(".days[%d]", i), "there is no day "+strings.TrimPrefix(jsonKind(e), "the text "), "days are mon, tue, wed, thu, fri, sat, sun")
		}
	}
	t.part(".days", "weekday(now(), "+t.zone+") in ["+strings.Join(days, ", ")+"]")
	return nil
}

// each calls do for an object, or for each of a list of objects, whose keys may be those.
func (t *timed) each(key string, v any, mend string, keys []string, do func(path string, o object) error) error {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	} else if len(list) == 0 {
		return t.fail("."+key, "the list is empty", mend)
	}
	for i, e := range list {
		path := "." + key
		if ok {
			path = fmt.Sprintf(".%s[%d]", key, i)
		}
		o, isObject := e.(object)
		if !isObject {
			return t.fail(path, "it is an object, not "+jsonKind(e), mend)
		}
		for _, m := range o {
			if m.key != keys[0] && m.key != keys[1] {
				return t.fail(path+"."+m.key, "there is no such key", mend)
			}
		}
		if err := do(path, o); err != nil {
			return err
		}
	}
	return nil
}

var hourOfDay = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$`)

func (t *timed) hours(config object) error {
	v, ok := config.get("hours")
	if !ok {
		return nil
	}
	const mend = `write {"from": "09:00", "to": "17:30"}, or a list of such`
	var spans []string
	err := t.each("hours", v, mend, []string{"from", "to"}, func(path string, o object) error {
		var at [2]string
		for i, key := range []string{"from", "to"} {
			v, given := o.get(key)
			text, isText := v.(string)
			if !given {
				return t.fail(path, key+" is missing", mend)
			}
			if !isText || !hourOfDay.MatchString(text) || i == 0 && text == "24:00" {
				return t.fail(path+"."+key, strings.TrimPrefix(jsonKind(v), "the text ")+" is no hour of the day", `write "09:00"`)
			}
			at[i] = text
		}
		clock := "clock(now(), " + t.zone + ")"
		join := " && "
		switch {
		case at[0] == at[1]:
			return t.fail(path, "it begins and ends at "+at[0], "leave hours out for the whole day")
		case at[0] > at[1]:
			join = " || " // over midnight
		}
		spans = append(spans, "("+clock+" >= "+quoteText(at[0])+join+clock+" < "+quoteText(at[1])+")")
		return nil
	})
	if err != nil {
		return err
	}
	t.part(".hours", anyOf(spans))
	return nil
}

// anyOf joins parts that stand in parentheses already.
func anyOf(parts []string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	return "(" + strings.Join(parts, " || ") + ")"
}

func (t *timed) dates(config object) error {
	v, ok := config.get("dates")
	if !ok {
		return nil
	}
	const mend = `write {"from": "2026-12-24", "to": "2027-01-06"}, or a list of such; either end may be left out`
	var spans []string
	err := t.each("dates", v, mend, []string{"from", "to"}, func(path string, o object) error {
		day := "day(now(), " + t.zone + ")"
		var parts []string
		var at [2]string
		for i, key := range []string{"from", "to"} {
			v, given := o.get(key)
			if !given {
				continue
			}
			text, isText := v.(string)
			if !isText || !isDate(text) {
				return t.fail(path+"."+key, strings.TrimPrefix(jsonKind(v), "the text ")+" is no date", `write "2026-12-24"`)
			}
			at[i] = text
			parts = append(parts, day+[]string{" >= ", " <= "}[i]+quoteText(text))
		}
		switch {
		case len(parts) == 0:
			return t.fail(path, "from and to are missing", mend)
		case len(parts) == 2 && at[0] > at[1]:
			return t.fail(path, "it ends before it begins", "exchange from and to")
		}
		spans = append(spans, "("+strings.Join(parts, " && ")+")")
		return nil
	})
	if err != nil {
		return err
	}
	t.part(".dates", anyOf(spans))
	return nil
}

func isDate(text string) bool {
	_, err := time.Parse(time.DateOnly, text)
	return err == nil
}

// isYearDay says that text is a day of every year, as 12-25; 02-29 is one.
func isYearDay(text string) bool {
	return len(text) == len("12-25") && isDate("2024-"+text)
}

func (t *timed) holidays(config object) error {
	on, given := config.get("on_holidays")
	only, ok := on.(bool)
	if given && !ok {
		return t.fail(".on_holidays", "on_holidays is true or false, not "+jsonKind(on), "true: only on the holidays; false, the default: not on them")
	}
	v, listed := config.get("holidays")
	if !listed {
		if given {
			return t.fail(".on_holidays", "there are no holidays", `write "holidays": ["2026-04-03", "12-25"] beside it`)
		}
		return nil
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return t.fail(".holidays", "holidays is a list of days, not "+jsonKind(v), `write ["2026-04-03", "12-25"]`)
	}
	var once, yearly []string
	for i, e := range list {
		switch text, _ := e.(string); {
		case isYearDay(text):
			yearly = append(yearly, quoteText(text))
		case isDate(text):
			once = append(once, quoteText(text))
		default:
			return t.fail(fmt.Sprintf(".holidays[%d]", i), strings.TrimPrefix(jsonKind(e), "the text ")+" is no day", `write "2026-04-03", or "12-25" for every year`)
		}
	}
	var parts []string
	if len(once) > 0 {
		parts = append(parts, "day(now(), "+t.zone+") in ["+strings.Join(once, ", ")+"]")
	}
	if len(yearly) > 0 {
		parts = append(parts, "yearday(now(), "+t.zone+") in ["+strings.Join(yearly, ", ")+"]")
	}
	text := "(" + strings.Join(parts, " || ") + ")"
	if !only {
		text = "!" + text
	}
	t.part(".holidays", text)
	return nil
}

// distances are the keys that go with column.
var distances = []string{"within", "within_last", "older_than", "further_than"}

var dayCount = regexp.MustCompile(`^([0-9]{1,5})([dw])$`)

func (t *timed) column(config object) error {
	v, given := config.get("column")
	column, ok := v.(string)
	if given && (!ok || column == "") {
		return t.fail(".column", "column is the name of a column, not "+jsonKind(v), "")
	}
	n := 0
	for _, key := range distances {
		v, ok := config.get(key)
		if !ok {
			continue
		}
		if !given {
			return t.fail("."+key, key+" goes with a column", `write "column": "due_date" beside it`)
		}
		text, ok := v.(string)
		if !ok {
			return t.fail("."+key, key+" is a duration, not "+jsonKind(v), `write "3d", "2w", "36h" or "90m"`)
		}
		n++
		if m := dayCount.FindStringSubmatch(text); m != nil {
			days, _ := strconv.Atoi(m[1])
			if m[2] == "w" {
				days *= 7
			}
			t.part("."+key, daysAway(key, "daysUntil("+accessor("row", column)+", "+t.zone+")", days))
			continue
		}
		d, err := parseDuration(text)
		if err != nil || d <= 0 {
			return t.fail("."+key, strings.TrimPrefix(jsonKind(v), "the text ")+" is no duration", `write "3d", "2w", "36h" or "90m"`)
		}
		t.part("."+key, away(key, "moment("+accessor("row", column)+", "+t.zone+")", "duration("+quoteText(text)+")"))
	}
	if given && n == 0 {
		return t.fail(".column", "it doesn't say when", `write "within": "3d" beside it; there are `+strings.Join(distances, ", "))
	}
	return nil
}

// daysAway is one distance in calendar days.
func daysAway(key, until string, days int) string {
	n := strconv.Itoa(days)
	switch key {
	case "within":
		return until + " >= 0 && " + until + " <= " + n
	case "within_last":
		return until + " <= 0 && " + until + " >= -" + n
	case "older_than":
		return until + " < -" + n
	}
	return until + " > " + n
}

// away is one distance in hours and minutes.
func away(key, at, d string) string {
	switch key {
	case "within":
		return at + " >= now() && " + at + " <= now() + " + d
	case "within_last":
		return at + " <= now() && " + at + " >= now() - " + d
	case "older_than":
		return at + " < now() - " + d
	}
	return at + " > now() + " + d
}
