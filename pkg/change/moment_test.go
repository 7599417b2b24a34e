package change

import "testing"

func TestMoment(t *testing.T) {
	last := -1e300
	for _, text := range []string{
		"-infinity", "4713-11-24 00:00:00+00 BC", "0001-01-01 00:00:00+00", "1970-01-01 00:00:00+00", "2026-01-31 10:00:00+02",
		"2026-01-31 10:00:00+00", "2026-01-31 10:00:00.000001+00", "294276-12-31 23:59:59.999999+00", "infinity",
	} {
		got, ok := Type{Kind: TimestampTZ}.Moment([]byte(text))
		if !ok || got <= last {
			t.Errorf("%s is at %g (%v), what comes before at %g", text, got, ok, last)
		}
		last = got
	}
	if got, ok := (Type{Kind: TimestampTZ}).Moment([]byte("1970-01-01 01:00:00.25+01")); got != 0.25 || !ok {
		t.Errorf("got %g %v, want 0.25", got, ok)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = Type{Kind: TimestampTZ}.Moment([]byte("2026-01-31 10:00:00.000001+00")) }); n != 0 {
		t.Errorf("%g allocations", n)
	}
	for _, c := range []struct {
		kind Kind
		text string
	}{{Date, "2026-01-31 10:00:00"}, {Timestamp, "yesterday"}, {TimestampTZ, ""}, {Text, "2026-01-31"}} {
		if got, ok := (Type{Kind: c.kind}).Moment([]byte(c.text)); ok {
			t.Errorf("%s as %s is at %g", c.text, c.kind, got)
		}
	}
}
