package executor

import (
	"testing"
	"time"
)

// simulate runs a pace for a while: fresh deliveries at a rate, retries as many as may
// begin up to a capacity, and waits that grow with the retries. It returns the retries a
// second of the last quarter of a second, and the wait then.
func simulate(p *pace, now *time.Time, while time.Duration, fresh, capacity float64, wait func(retries float64) time.Duration) (retries float64, last time.Duration) {
	const step = rateWindow / 5
	began, due := 0.0, 0.0
	recent := make([]float64, 0, 5)
	for end := now.Add(while); now.Before(end); *now = now.Add(step) {
		p.tick(*now)
		n := 0.0
		for ; n < capacity*step.Seconds() && p.mayRetry(); n++ {
			p.began(true, time.Time{}, *now)
		}
		began += n
		if recent = append(recent, n); len(recent) > 5 {
			recent = recent[1:]
		}
		sum := 0.0
		for _, x := range recent {
			sum += x
		}
		retries = sum / (float64(len(recent)) * step.Seconds())
		last = wait(retries)
		for due += fresh * step.Seconds(); due >= 1; due-- {
			p.began(false, now.Add(-last), *now)
		}
	}
	return retries, last
}

// Where retries make fresh ones wait they are held back until those hardly do; alone they
// go as fast as they can, and so they do beside fresh ones that they don't disturb.
func TestPace(t *testing.T) {
	t.Parallel()
	disturbed := func(retries float64) time.Duration {
		return 4*time.Millisecond + time.Duration(retries/100)*time.Millisecond
	}
	calm := func(float64) time.Duration { return 4 * time.Millisecond }
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	p := new(pace)
	if got, _ := simulate(p, &now, 5*time.Second, 200, 0, disturbed); got != 0 || p.rate != paceStart || p.active {
		t.Fatalf("without any it is at %v", p.rate)
	}
	got, wait := simulate(p, &now, 20*time.Second, 200, 8000, disturbed)
	if wait > 16*time.Millisecond || got < paceLeast || got > 2000 {
		t.Errorf("beside fresh ones: %.0f/s, and they wait for %s", got, wait)
	}
	if got, _ = simulate(p, &now, 10*time.Second, 0, 8000, disturbed); got < 7900 {
		t.Errorf("alone: %.0f/s", got)
	}
	if got, _ = simulate(p, &now, 60*time.Second, 200, 8000, calm); got < 7900 {
		t.Errorf("beside fresh ones that they don't disturb: %.0f/s", got)
	}
	// A few fresh ones a second say it too, after a while.
	if _, wait = simulate(p, &now, 60*time.Second, 8, 8000, disturbed); wait > 20*time.Millisecond {
		t.Errorf("eight fresh ones a second wait for %s", wait)
	}
	// Whatever slows the fresh ones down, some retries go.
	got, _ = simulate(p, &now, 20*time.Second, 200, 8000, func(float64) time.Duration { return time.Second })
	if got < paceLeast*0.8 || got > 2*paceLeast {
		t.Errorf("when all is slow %.0f/s go, want %.0f", got, paceLeast)
	}
}

// Retries that went while as many could as would are not owed when they are held back
// later: some go at any time.
func TestPaceOwesNothing(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	p := new(pace)
	simulate(p, &now, 5*time.Second, 200, 0, func(float64) time.Duration { return 4 * time.Millisecond })
	simulate(p, &now, 60*time.Second, 0, 8000, func(float64) time.Duration { return 4 * time.Millisecond })
	for range 20 {
		got, _ := simulate(p, &now, time.Second, 200, 8000, func(float64) time.Duration { return time.Second })
		if got < paceLeast*0.8 {
			t.Fatalf("%.0f/s go", got)
		}
	}
}
