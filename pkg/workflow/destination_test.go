package workflow

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBreakerSteps(t *testing.T) {
	t.Parallel()
	b := Breaker{}.WithDefaults()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	d := &Destination{State: Closed}
	fail := func(n int) Attempts { return Attempts{Tries: n, Failures: n, Trailing: n, Error: "away"} }
	answered := Attempts{Tries: 1}
	want := func(what string, state DestinationState, after time.Duration) {
		t.Helper()
		if d.State != state || state == Open && d.ProbeAt.Sub(now) != after {
			t.Fatalf("%s: %s until %s, want %s for %s", what, d.State, d.ProbeAt, state, after)
		}
	}
	probe := func(a Attempts) {
		d.State, d.ProbeUntil = HalfOpen, now.Add(b.Probe)
		a.Probe = true
		d.Note(a, now, b)
	}
	d.Note(fail(9), now, b)
	want("nine failures", Closed, 0)
	d.Note(answered, now, b)
	now = now.Add(2 * b.Window) // and the share is another's matter
	d.Note(fail(9), now, b)
	want("nine more after an answer", Closed, 0)
	d.Note(fail(1), now, b)
	want("ten in a row", Open, 5*time.Second)
	d.Note(fail(3), now, b)
	want("stragglers", Open, 5*time.Second)
	for _, after := range []time.Duration{10, 20, 40, 80, 160, 300, 300, 300} {
		now = d.ProbeAt
		probe(fail(1))
		want("a probe fails", Open, after*time.Second)
	}
	now = d.ProbeAt
	probe(Attempts{})
	want("a probe says nothing", Open, b.First)
	now = d.ProbeAt
	probe(Attempts{Tries: 1, Delivered: true})
	want("a probe succeeds", Closed, 0)
	if d.Failures != 0 || !d.FirstFailureAt.IsZero() || !d.ProbeAt.IsZero() {
		t.Errorf("%+v", d)
	}
	now = now.Add(time.Minute)
	d.Note(fail(10), now, b)
	want("soon again", Open, b.Longest)
	d.Note(Attempts{Tries: 1, Delivered: true}, now, b)
	want("a straggler succeeds", Closed, 0)
	now = now.Add(2*b.Longest + time.Second)
	d.Note(fail(10), now, b)
	want("after a quiet time", Open, b.First)
	// What was away for a moment is soon as good as new.
	for _, c := range []struct{ quiet, after time.Duration }{{9, 10}, {19, 20}, {41, 5}, {11, 5}, {10, 10}} {
		now = now.Add(time.Second)
		d.Note(Attempts{Tries: 1, Delivered: true}, now, b)
		now = now.Add(c.quiet * time.Second)
		d.Note(fail(10), now, b)
		want(fmt.Sprintf("closed for %d s", c.quiet), Open, c.after*time.Second)
	}
	d = &Destination{State: Closed}
	d.Note(Attempts{Tries: 20, Failures: 14, Trailing: 0, Error: "away"}, now, b)
	want("seven of ten", Open, b.First)
	d = &Destination{State: Closed}
	d.Note(Attempts{Tries: 20, Failures: 13, Trailing: 9, Error: "away"}, now, b)
	want("six of ten", Closed, 0)
	d = &Destination{State: Closed}
	a := fail(10)
	a.RetryAfter = time.Minute
	d.Note(a, now, b)
	want("as it asked", Open, time.Minute)
}

func TestBreakerDisables(t *testing.T) {
	t.Parallel()
	b := Breaker{}.WithDefaults()
	start := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	d := &Destination{State: Closed}
	fail := Attempts{Tries: 1, Failures: 1, Trailing: 1, Error: "away"}
	now := start
	for now.Sub(start) < b.DisableAfter {
		if d.Note(fail, now, b); d.State == Disabled {
			t.Fatalf("disabled after %s", now.Sub(start))
		}
		now = now.Add(time.Hour)
	}
	if d.Note(fail, now, b); d.State != Disabled || d.DisabledAt != now || d.DisabledReason != "all attempts since 2026-11-26T12:00:00Z have failed; the last: away" {
		t.Fatalf("%+v", d)
	}
	if d.Note(Attempts{Tries: 1, Delivered: true}, now, b); d.State != Disabled {
		t.Error("a straggler enables it")
	}
	// One answer in between, and the time begins anew.
	d = &Destination{State: Closed}
	d.Note(fail, start, b)
	d.Note(Attempts{Tries: 1}, start.Add(b.DisableAfter/2), b)
	for i := range 20 {
		d.Note(fail, start.Add(b.DisableAfter/2+time.Duration(i)*time.Hour), b)
	}
	if d.Note(fail, start.Add(b.DisableAfter+time.Hour), b); d.State == Disabled {
		t.Error("disabled, though it has answered meanwhile")
	}
	// Few failures far apart are no proof.
	d = &Destination{State: Closed}
	d.Note(fail, start, b)
	if d.Note(fail, start.Add(30*24*time.Hour), b); d.State == Disabled {
		t.Error("disabled for two failures")
	}
	if d.Note(Attempts{Tries: 1, Failures: 1, Trailing: 1, Gone: true, Error: "410 Gone"}, start, b); d.State != Disabled || d.DisabledReason != "410 Gone" {
		t.Errorf("gone: %+v", d)
	}
}

// Whatever comes: it is open for no longer than Longest, a success closes it, and nothing
// but a person enables what is disabled.
func TestBreakerAlways(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := Breaker{}.WithDefaults()
		d := &Destination{State: Closed}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "later")))
			was := d.State
			if was == Open && !now.Before(d.ProbeAt) && rapid.Bool().Draw(t, "probed") {
				d.State, d.ProbeUntil = HalfOpen, now.Add(b.Probe)
			}
			a := Attempts{Tries: rapid.IntRange(0, 30).Draw(t, "tries"), Error: "away", Probe: d.State == HalfOpen && rapid.Bool().Draw(t, "of the probe")}
			a.Failures = rapid.IntRange(0, a.Tries).Draw(t, "failures")
			switch {
			case a.Failures == a.Tries:
				a.Trailing = a.Failures
			default:
				a.Trailing = rapid.IntRange(0, a.Failures).Draw(t, "trailing")
				a.Delivered = rapid.Bool().Draw(t, "delivered")
			}
			a.Gone = a.Failures > 0 && rapid.IntRange(0, 50).Draw(t, "gone") == 0
			d.Note(a, now, b)
			switch {
			case was == Disabled && d.State != Disabled:
				t.Fatal("it enabled itself")
			case d.State == Open && (d.ProbeAt.IsZero() || d.ProbeAt.Sub(now) > b.Longest):
				t.Fatalf("open until %s", d.ProbeAt)
			case d.State == Open && !d.ProbeUntil.IsZero(), d.State == Closed && !d.ProbeAt.IsZero():
				t.Fatalf("%+v", d)
			case a.Delivered && was != Closed && was != Disabled && d.State != Closed && !a.Gone:
				t.Fatalf("a success leaves it %s", d.State)
			case d.Failures == 0 != d.FirstFailureAt.IsZero():
				t.Fatalf("%d failures since %s", d.Failures, d.FirstFailureAt)
			}
		}
	})
}
