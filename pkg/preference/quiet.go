package preference

import (
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rowbell/rowbell/pkg/workflow"
)

const day = 24 * time.Hour

// longestQuiet is how far ahead the end of quiet hours is looked for: those that follow on
// one another for a whole week go round for ever.
const longestQuiet = 8 * day

// QuietUntil says whether now is in somebody's quiet hours, and until when. It is never past
// their end: where one stretch goes over into another it is the end of the last one. A
// stretch without a zone of its own, or with one that there isn't, is in zone. ever says
// that there is no end in sight: until is the zero time then.
func QuietUntil(list []workflow.QuietHours, zone *time.Location, now time.Time) (until time.Time, quiet, ever bool) {
	for until = now; ; quiet = true {
		end := until
		for _, q := range list {
			if t := quietUntil(q, zone, until); t.After(end) {
				end = t
			}
		}
		switch {
		case !end.After(until):
			return until, quiet, false
		case end.Sub(now) > longestQuiet:
			return time.Time{}, true, true
		}
		until = end
	}
}

// quietUntil is the latest end of the stretches of q that t is in; the zero time if it is
// in none.
func quietUntil(q workflow.QuietHours, zone *time.Location, t time.Time) (until time.Time) {
	if q.Zone != "" {
		if own, ok := LoadZone(q.Zone); ok {
			zone = own
		}
	}
	y, m, d := t.In(zone).Date()
	// One that began the day before yesterday may go on where a day was left out.
	for back := range 3 {
		date := time.Date(y, m, d-back, 0, 0, 0, 0, time.UTC)
		if !q.Days.Has(date.Weekday()) {
			continue
		}
		to := q.To
		if to <= q.From {
			to += day
		}
		begin, _ := instants(date.Add(q.From), zone)
		_, end := instants(date.Add(to), zone)
		if !t.Before(begin) && t.Before(end) && end.After(until) {
			until = end
		}
	}
	return until
}

// instants are when a zone's clock on the wall shows what wall shows in UTC, the first and
// the last time. Of a time that it leaves out both are when it does so.
func instants(wall time.Time, zone *time.Location) (first, last time.Time) {
	// No clock is further than 26 hours from UTC, or was put by more than a day.
	const reach = 50 * time.Hour
	at, to := wall.Add(-reach), wall.Add(reach)
	for at.Before(to) {
		in := at.In(zone)
		_, offset := in.Zone()
		c := wall.Add(-time.Duration(offset) * time.Second)
		begun, end := in.ZoneBounds()
		if end.IsZero() {
			end = to
		}
		switch {
		case c.Before(end) && (begun.IsZero() || !c.Before(begun)):
			if first.IsZero() {
				first = c
			}
			last = c
		case !c.Before(end):
			// Its time hasn't come when this offset ends; if the next one begins behind it, it
			// is left out.
			_, next := end.In(zone).Zone()
			if after := wall.Add(-time.Duration(next) * time.Second); after.Before(end) && first.IsZero() {
				first, last = end, end
			}
		}
		at = end
	}
	return first.UTC(), last.UTC()
}

var zones sync.Map // by name, of *time.Location; those that there are

const longestZone = 64 // bytes of a name

// LoadZone returns a zone of the IANA time zone database by its name. Other files of a
// machine that Go takes for zones are none: Local, right/…, a path that goes round.
func LoadZone(name string) (*time.Location, bool) {
	if name == "" || len(name) > longestZone {
		return nil, false
	}
	if z, ok := zones.Load(name); ok {
		return z.(*time.Location), true
	}
	area, _, _ := strings.Cut(name, "/")
	if slices.Contains([]string{"", ".", "Local", "localtime", "posixrules", "posix", "right"}, area) || path.Clean(name) != name {
		return nil, false
	}
	z, err := time.LoadLocation(name)
	if err != nil {
		return nil, false
	}
	zones.Store(name, z)
	return z, true
}
