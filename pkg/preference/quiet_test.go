package preference

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rowbell/rowbell/pkg/workflow"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, ok := LoadZone(name)
	if !ok {
		t.Fatalf("there is no zone %s", name)
	}
	return z
}

func hours(t testing.TB, days, from, to string) workflow.QuietHours {
	t.Helper()
	clock := func(s string) time.Duration {
		if s == "24:00" {
			return day
		}
		at, err := time.Parse("15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
	}
	q := workflow.QuietHours{Days: workflow.EveryDay, From: clock(from), To: clock(to)}
	if days != "" {
		var err error
		if q.Days, err = workflow.ParseWeekdays([]string{days}); err != nil {
			t.Fatal(err)
		}
	}
	return q
}

// Times are RFC 3339 with their offset, so that those that a clock shows twice are told apart.
func TestQuietUntil(t *testing.T) {
	t.Parallel()
	const loud = ""
	for _, c := range []struct {
		name, zone, days, from, to, now, until string
	}{
		{"at its beginning", "Europe/Vienna", "", "22:00", "07:00", "2026-11-26T22:00:00+01:00", "2026-11-27T07:00:00+01:00"},
		{"just before", "Europe/Vienna", "", "22:00", "07:00", "2026-11-26T21:59:59+01:00", loud},
		{"after midnight", "Europe/Vienna", "", "22:00", "07:00", "2026-11-27T00:30:00+01:00", "2026-11-27T07:00:00+01:00"},
		{"at its end", "Europe/Vienna", "", "22:00", "07:00", "2026-11-27T07:00:00+01:00", loud},
		{"by day", "Asia/Kolkata", "", "13:00", "14:30", "2026-11-27T13:29:00+05:30", "2026-11-27T14:30:00+05:30"},
		{"of one day", "Europe/Vienna", "fri", "22:00", "07:00", "2026-11-28T06:00:00+01:00", "2026-11-28T07:00:00+01:00"},
		{"of another day", "Europe/Vienna", "sat", "22:00", "07:00", "2026-11-28T06:00:00+01:00", loud},
		{"a whole day", "Europe/Vienna", "sat", "00:00", "24:00", "2026-11-28T00:00:00+01:00", "2026-11-29T00:00:00+01:00"},
		{"from an hour to the same", "Europe/Vienna", "sat", "08:00", "08:00", "2026-11-29T07:59:00+01:00", "2026-11-29T08:00:00+01:00"},
		{"another zone's day", "Pacific/Auckland", "sat", "00:00", "24:00", "2026-11-27T12:00:00Z", "2026-11-29T00:00:00+13:00"},

		// Europe: on 29 March 2026 02:00 becomes 03:00, on 25 October 03:00 becomes 02:00.
		{"forward in the night", "Europe/Vienna", "", "22:00", "07:00", "2026-03-28T23:00:00+01:00", "2026-03-29T07:00:00+02:00"},
		{"ends in the gap", "Europe/Vienna", "", "22:00", "02:30", "2026-03-29T01:59:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"begins in the gap", "Europe/Vienna", "", "02:30", "05:00", "2026-03-29T03:00:00+02:00", "2026-03-29T05:00:00+02:00"},
		{"not yet in the gap", "Europe/Vienna", "", "02:30", "05:00", "2026-03-29T01:59:59+01:00", loud},
		{"all in the gap", "Europe/Vienna", "", "02:10", "02:50", "2026-03-29T03:00:00+02:00", loud},
		{"back in the night", "Europe/Vienna", "", "22:00", "07:00", "2026-10-24T23:00:00+02:00", "2026-10-25T07:00:00+01:00"},
		{"ends in the overlap, the first time", "Europe/Vienna", "", "22:00", "02:30", "2026-10-25T02:29:00+02:00", "2026-10-25T02:30:00+01:00"},
		{"between", "Europe/Vienna", "", "22:00", "02:30", "2026-10-25T02:45:00+02:00", "2026-10-25T02:30:00+01:00"},
		{"the second time", "Europe/Vienna", "", "22:00", "02:30", "2026-10-25T02:30:00+01:00", loud},
		{"begins in the overlap, the first time", "Europe/Vienna", "", "02:30", "05:00", "2026-10-25T02:30:00+02:00", "2026-10-25T05:00:00+01:00"},
		{"set back to before its beginning", "Europe/Vienna", "", "02:30", "05:00", "2026-10-25T02:10:00+01:00", "2026-10-25T05:00:00+01:00"},

		// The south: on 4 October 2026 Sydney's 02:00 becomes 03:00, on 5 April 03:00 becomes 02:00.
		{"south, forward", "Australia/Sydney", "", "22:00", "02:15", "2026-10-03T23:00:00+10:00", "2026-10-04T03:00:00+11:00"},
		{"south, back", "Australia/Sydney", "", "22:00", "02:15", "2026-04-05T02:05:00+11:00", "2026-04-05T02:15:00+10:00"},
		// Half an hour: Lord Howe's clocks go back from 02:00 to 01:30 on 5 April.
		{"half an hour", "Australia/Lord_Howe", "", "22:00", "01:45", "2026-04-05T01:50:00+11:00", "2026-04-05T01:45:00+10:30"},
		// At midnight: Santiago's 24:00 of 4 April becomes 23:00; Cairo's 00:00 of 24 April 01:00.
		{"back at midnight", "America/Santiago", "", "20:00", "23:30", "2026-04-04T23:40:00-03:00", "2026-04-04T23:30:00-04:00"},
		{"forward at midnight", "Africa/Cairo", "fri", "00:00", "06:00", "2026-04-24T01:00:00+03:00", "2026-04-24T06:00:00+03:00"},
		{"an end at the midnight that there isn't", "Africa/Cairo", "thu", "20:00", "24:00", "2026-04-23T23:59:00+02:00", "2026-04-24T01:00:00+03:00"},
		// Samoa had no 30 December 2011.
		{"a day left out", "Pacific/Apia", "thu", "22:00", "07:00", "2011-12-29T23:00:00-10:00", "2011-12-31T00:00:00+14:00"},
		{"of the day left out", "Pacific/Apia", "fri", "00:00", "24:00", "2011-12-31T00:00:00+14:00", loud},
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		z := zone(t, c.zone)
		until, quiet, ever := QuietUntil([]workflow.QuietHours{hours(t, c.days, c.from, c.to)}, z, now)
		got := ""
		if quiet {
			got = until.In(z).Format(time.RFC3339)
		}
		if got != c.until || ever {
			t.Errorf("%s: %s–%s %s at %s: quiet until %q, want %q (ever: %t)", c.name, c.from, c.to, c.zone, c.now, got, c.until, ever)
		}
	}
}

func TestSeveralQuietHours(t *testing.T) {
	t.Parallel()
	z := zone(t, "Europe/Vienna")
	list := []workflow.QuietHours{hours(t, "", "22:00", "07:00"), hours(t, "sat", "07:00", "22:00"), hours(t, "sun", "06:00", "24:00")}
	at := time.Date(2026, 11, 27, 23, 0, 0, 0, z) // a Friday: the weekend follows on the night
	if until, quiet, ever := QuietUntil(list, z, at); !quiet || ever || !until.Equal(time.Date(2026, 11, 30, 7, 0, 0, 0, z)) {
		t.Errorf("quiet %t (ever %t) until %s", quiet, ever, until)
	}
	list = append(list, hours(t, "", "07:00", "22:00"))
	if until, quiet, ever := QuietUntil(list, z, at); !quiet || !ever || !until.IsZero() {
		t.Errorf("a whole week: quiet %t, ever %t, until %s", quiet, ever, until)
	}
	own := hours(t, "", "22:00", "07:00")
	own.Zone = "America/New_York"
	if until, quiet, _ := QuietUntil([]workflow.QuietHours{own}, z, at); quiet {
		t.Errorf("in a zone of its own: quiet until %s", until)
	}
	own.Zone = "Mars/Olympus" // a zone that has gone: the person's counts
	if _, quiet, _ := QuietUntil([]workflow.QuietHours{own}, z, at); !quiet {
		t.Error("without its zone they are loud")
	}
}

var someZones = []string{
	"UTC", "Europe/Vienna", "Europe/Lisbon", "America/New_York", "America/Santiago", "America/Havana", "Australia/Sydney", "Australia/Lord_Howe",
	"Pacific/Apia", "Pacific/Auckland", "Pacific/Chatham", "Asia/Kathmandu", "Africa/Cairo", "Africa/Casablanca", "Asia/Gaza", "Antarctica/Troll",
}

// Whatever the hours, the zone and the time: it is quiet whenever the clock on the wall is
// inside them, the end is no sooner than it must be and no later than it may be, and after it
// it is loud.
func TestQuietUntilProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		z := zone(t, rapid.SampledFrom(someZones).Draw(r, "zone"))
		var list []workflow.QuietHours
		for range rapid.IntRange(1, 3).Draw(r, "stretches") {
			list = append(list, workflow.QuietHours{
				Days: workflow.Weekdays(rapid.IntRange(1, 127).Draw(r, "days")),
				From: time.Duration(rapid.IntRange(0, 95).Draw(r, "from")) * 15 * time.Minute,
				To:   time.Duration(rapid.IntRange(0, 96).Draw(r, "to")) * 15 * time.Minute,
			})
		}
		// Half of the times are near a change of the clocks.
		now := time.Unix(rapid.Int64Range(1_262_304_000, 1_893_456_000).Draw(r, "at"), 0)
		if rapid.Bool().Draw(r, "near a change") {
			if _, end := now.In(z).ZoneBounds(); !end.IsZero() {
				now = end.Add(time.Duration(rapid.IntRange(-1000, 1000).Draw(r, "minutes")) * time.Minute)
			}
		}
		until, quiet, ever := QuietUntil(list, z, now)
		if inside(list, now.In(z)) && !quiet {
			r.Fatalf("it is loud at %s", now.In(z))
		}
		if !quiet || ever {
			return
		}
		if !until.After(now) {
			r.Fatalf("it is quiet at %s until %s", now.In(z), until.In(z))
		}
		if inside(list, until.In(z)) {
			r.Fatalf("it is quiet at %s until %s, and the clock is inside then too", now.In(z), until.In(z))
		}
		if _, still, _ := QuietUntil(list, z, until); still {
			r.Fatalf("it is quiet at %s until %s, and then too", now.In(z), until.In(z))
		}
		before := until.Add(-time.Second)
		if same, still, _ := QuietUntil(list, z, before); !still || !same.Equal(until) {
			r.Fatalf("it is quiet at %s until %s, and a second before that %t until %s", now.In(z), until.In(z), still, same.In(z))
		}
		// It needs not be quiet for longer than the clock is inside, but for a change of it.
		if !inside(list, before.In(z)) && !changes(z, before.Add(-26*time.Hour), until.Add(26*time.Hour)) {
			r.Fatalf("it is quiet at %s until %s, though the clock is outside a second before", now.In(z), until.In(z))
		}
	})
}

// inside says whether what the clock on the wall shows is inside the hours: the naive way.
func inside(list []workflow.QuietHours, wall time.Time) bool {
	at := time.Duration(wall.Hour())*time.Hour + time.Duration(wall.Minute())*time.Minute + time.Duration(wall.Second())*time.Second
	yesterday := (wall.Weekday() + 6) % 7
	for _, q := range list {
		switch over := q.To <= q.From; {
		case q.Days.Has(wall.Weekday()) && at >= q.From && (over || at < q.To):
			return true
		case over && q.Days.Has(yesterday) && at < q.To:
			return true
		}
	}
	return false
}

func changes(z *time.Location, from, to time.Time) bool {
	_, end := from.In(z).ZoneBounds()
	return !end.IsZero() && end.Before(to)
}

func TestLoadZone(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "Local", "localtime", "posix/Europe/Vienna", "right/UTC", "../etc/passwd", "Europe/../Europe/Vienna", "Europe/Atlantis", "/etc/localtime"} {
		if z, ok := LoadZone(name); ok {
			t.Errorf("%q is %s", name, z)
		}
	}
}
