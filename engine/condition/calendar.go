package condition

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/expr-lang/expr/ast"

	"github.com/rowbell/rowbell/pkg/change"
)

// calendarFunctions look at a time as a calendar and a clock on the wall of one zone show
// it. Each takes a time and the zone, "UTC" if it is left out.
var calendarFunctions = map[string]struct {
	returns kind
	fn      func(t, at any) any
}{
	"weekday":   {textKind, weekday},
	"clock":     {textKind, clock},
	"day":       {textKind, day},
	"yearday":   {textKind, yearDay},
	"daysUntil": {numberKind, dayNumber}, // minus that of now
	"moment":    {timeKind, moment},
}

// zoned is where a time is looked at.
type zoned struct {
	zone *time.Location
	// local says that the times are without zone: what stands there is meant in zone.
	local bool
}

var zones sync.Map // by name, of *time.Location

// loadZone returns a zone of the IANA time zone database. What else time.LoadLocation finds
// among a machine's files is another thing elsewhere: the machine's own zone, zones with
// leap seconds, a zone by another path.
func loadZone(name string) (*time.Location, error) {
	if z, ok := zones.Load(name); ok {
		return z.(*time.Location), nil
	}
	z, err := time.LoadLocation(name)
	area, _, _ := strings.Cut(name, "/")
	if err != nil || slices.Contains([]string{"", ".", "Local", "localtime", "posixrules", "posix", "right"}, area) || path.Clean(name) != name {
		return nil, fmt.Errorf("there is no time zone %s", quote(name))
	}
	zones.Store(name, z)
	return z, nil
}

// wall returns a time as its zone shows it; ok is false for nil. A text is read as
// parseMoment reads it, in the zone unless it has an offset.
func (p *zoned) wall(v any) (t time.Time, ok bool) {
	switch v := v.(type) {
	case nil:
		return t, false
	case time.Time:
		switch {
		case v.Equal(change.Infinity) || v.Equal(change.NegInfinity):
			return v, true
		case p.local:
			return time.Date(v.Year(), v.Month(), v.Day(), v.Hour(), v.Minute(), v.Second(), v.Nanosecond(), p.zone), true
		}
		return v.In(p.zone), true
	case string:
		if t, err := parseMoment(v, change.TimestampTZ); err == nil && (t.Equal(change.Infinity) || t.Equal(change.NegInfinity)) {
			return t, true
		}
		iso := v
		if len(v) > 10 && v[10] == ' ' {
			iso = v[:10] + "T" + v[11:]
		}
		for _, layout := range momentLayouts {
			if t, err := time.ParseInLocation(layout, iso, p.zone); err == nil {
				return t.In(p.zone), true
			}
		}
	}
	panic(fmt.Errorf("%s is no time", nameOf(v)))
}

// infinite is what day and the like are of times that never come.
func infinite(t time.Time) (string, bool) {
	switch {
	case t.Equal(change.Infinity):
		return "infinity", true
	case t.Equal(change.NegInfinity):
		return "-infinity", true
	}
	return "", false
}

// look applies a function to the time on the wall: nil for nil.
func look(v, at any, f func(time.Time) string) any {
	t, ok := at.(*zoned).wall(v)
	if !ok {
		return nil
	}
	if text, ok := infinite(t); ok {
		return text
	}
	return f(t)
}

func weekday(v, at any) any {
	return look(v, at, func(t time.Time) string { return weekdays[t.Weekday()] })
}

// clock sorts as the hours do, also against "09:00".
func clock(v, at any) any {
	return look(v, at, func(t time.Time) string { return t.Format("15:04:05.999999") })
}

func day(v, at any) any {
	return look(v, at, func(t time.Time) string { return t.Format(time.DateOnly) })
}

func yearDay(v, at any) any {
	return look(v, at, func(t time.Time) string { return t.Format("01-02") })
}

// dayNumber counts days of the calendar.
func dayNumber(v, at any) any {
	t, ok := at.(*zoned).wall(v)
	if !ok {
		return nil
	}
	y, m, d := t.Date()
	return int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60))
}

func moment(v, at any) any {
	t, ok := at.(*zoned).wall(v)
	if !ok {
		return nil
	}
	return t.UTC()
}

// calendar rewrites a call of one of the calendarFunctions.
func (b *binder) calendar(n *ast.CallNode, name string) operand {
	loc := n.Location()
	f := calendarFunctions[name]
	if len(n.Arguments) != 1 && len(n.Arguments) != 2 {
		return b.fail(loc, fmt.Sprintf("%s takes a time and a zone, not %d arguments", name, len(n.Arguments)), "write "+name+`(now(), "Europe/Berlin")`)
	}
	at := &zoned{zone: time.UTC}
	if len(n.Arguments) == 2 {
		zone, ok := n.Arguments[1].(*ast.StringNode)
		if !ok {
			return b.fail(n.Arguments[1].Location(), "the zone must be written out", `write "Europe/Berlin"`)
		}
		z, err := loadZone(zone.Value)
		if err != nil {
			return b.fail(zone.Location(), err.Error(), `write a name of the IANA time zone database, as "Europe/Berlin"`)
		}
		at.zone = z
	}
	x := b.expr(n.Arguments[0])
	switch x.kind {
	case timeKind, anyKind, nullKind, textKind:
	default:
		if b.err == nil {
			return b.fail(x.loc, fmt.Sprintf("%s takes a time, not %s", name, b.describe(x)), "")
		}
	}
	if s, ok := x.value.(string); ok && x.constant {
		if _, err := parseMoment(s, change.TimestampTZ); err != nil {
			return b.fail(x.loc, err.Error(), "")
		}
	}
	at.local = x.local
	node := b.apply(loc, f.fn, b.plain(x), constant(loc, at))
	if name == "daysUntil" {
		today := b.apply(loc, dayNumber, b.env(loc, readCommitTime), constant(loc, &zoned{zone: at.zone}))
		node = b.apply(loc, subtract, node, today)
		b.present = true
	}
	return operand{kind: f.returns, node: node, loc: loc}
}
