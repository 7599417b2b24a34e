package executor

import (
	"slices"
	"time"
)

// pace holds what was tried before back where it makes fresh deliveries wait: very many
// that come due at once keep the database, and this process, as busy as they can be. It
// goes by how long fresh ones take from the beginning of their record to the attempt:
// much longer than is usual, and fewer retries begin in a second; else more, and without
// anything fresh as many as can. Beside fresh ones they begin slowly: what the first of
// very many do to the others is known only afterwards.
//
// Guarded by pool.mu.
type pace struct {
	since   time.Time // of the window that is counted
	waits   []time.Duration
	seen    int // fresh ones; waits has the first of them
	again   int // retries that began
	usual   time.Duration
	quiet   bool    // the window before had hardly any retries
	active  bool    // the last one had more than that
	rate    float64 // retries a second; 0: as many as can
	budget  float64 // of these, how many may begin now
	refill  time.Time
	lastGot time.Time // when a window was long enough
}

// slowAttempt is how long attempts at a destination take to which fresh deliveries say
// nothing of the pace: they wait for it, and not for the database or this process.
const slowAttempt = 50 * time.Millisecond

const (
	paceWindow  = 250 * time.Millisecond
	paceSamples = 128
	paceFewest  = 5                    // fresh deliveries that say something
	pacePatient = 2 * time.Second      // for so long what they said holds
	paceUsual   = 4 * time.Millisecond // until it is known
	paceLeast   = 500.0                // retries a second always go
	paceStart   = 1000.0               // with so many it begins
	paceMost    = 100_000.0            // which is as many as can
	paceSlack   = time.Millisecond / 2 // beyond one and a half times the usual
	paceBeat    = 5 * time.Millisecond // how often some more may begin
	paceKeep    = rateWindow / 5       // of how long a budget is kept
)

// began counts an attempt that begins; since is when the record of a fresh one began, and
// zero if it was claimed.
func (p *pace) began(again bool, since, now time.Time) {
	if again {
		p.again++
		if p.rate > 0 { // else they would be owed, all that ever began
			p.budget--
		}
		return
	}
	if since.IsZero() {
		return
	}
	p.seen++
	if len(p.waits) < paceSamples {
		p.waits = append(p.waits, now.Sub(since))
	}
}

// mayRetry says that a retry may begin.
func (p *pace) mayRetry() bool { return p.rate == 0 || p.budget >= 1 }

// tick moves on. It returns whether retries may begin that might not before.
func (p *pace) tick(now time.Time) bool {
	could := p.mayRetry()
	if d := now.Sub(p.since); d >= paceWindow && (p.seen >= paceFewest || d >= 4*paceWindow) {
		p.judge(now, d)
		p.since, p.waits, p.seen, p.again = now, p.waits[:0], 0, 0
	}
	p.fill(now)
	return !could && p.mayRetry()
}

// fill adds to the budget what has come since the last time. What is not used is not kept
// for long: retries that go all at once are what fresh ones wait for.
func (p *pace) fill(now time.Time) {
	if p.rate > 0 {
		p.budget = min(p.budget+p.rate*now.Sub(p.refill).Seconds(), max(1, p.rate*paceKeep.Seconds()))
	}
	p.refill = now
}

// judge goes by a window that lasted d.
func (p *pace) judge(now time.Time, d time.Duration) {
	if p.seen < paceFewest {
		if now.Sub(p.lastGot) > pacePatient {
			p.rate, p.active = 0, false
		}
		return
	}
	p.lastGot = now
	slices.Sort(p.waits)
	wait := p.waits[len(p.waits)*19/20]
	if p.usual == 0 {
		p.usual = paceUsual
	}
	went := float64(p.again) / d.Seconds()
	switch {
	case p.again*20 < p.seen: // hardly any
		if p.quiet { // and before neither: so it is without them
			p.usual += (wait - p.usual) / 8
			p.rate = paceStart
		}
		p.quiet, p.active = true, false
		return
	case wait > 3*p.usual/2+paceSlack:
		if p.rate == 0 {
			p.rate = went
		}
		p.rate = max(paceLeast, 0.75*min(p.rate, went+paceLeast))
	case p.rate > 0 && went > p.rate/2: // all that may, go
		p.rate = min(1.15*p.rate, paceMost)
	}
	p.quiet, p.active = false, true
}
