package executor

import (
	"slices"
	"time"
)

// pace holds what was tried before back where it makes fresh deliveries wait: very many
// that come due at once keep the database, and this process, as busy as they can be. It
// goes by how long fresh ones take from the beginning of their record to the attempt:
// much longer than is usual, and fewer retries begin in a second; else more, and without
// anything fresh as many as can.
//
// Guarded by pool.mu.
type pace struct {
	since   time.Time // of the window that is counted
	waits   []time.Duration
	seen    int // fresh ones; waits has the first of them
	again   int // retries that began
	usual   time.Duration
	quiet   bool    // the window before had hardly any retries
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
	paceMost    = 100_000.0            // is as many as can
	paceSlack   = time.Millisecond     // beyond twice the usual
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
	if p.rate > 0 {
		p.budget = min(p.budget+p.rate*now.Sub(p.refill).Seconds(), max(1, p.rate/10))
	}
	p.refill = now
	return !could && p.mayRetry()
}

// judge goes by a window that lasted d.
func (p *pace) judge(now time.Time, d time.Duration) {
	if p.seen < paceFewest {
		if now.Sub(p.lastGot) > pacePatient {
			p.rate = 0
		}
		return
	}
	p.lastGot = now
	if p.rate > paceMost {
		p.rate = 0
	}
	slices.Sort(p.waits)
	wait := p.waits[len(p.waits)*9/10]
	if p.usual == 0 {
		p.usual = paceUsual
	}
	went := float64(p.again) / d.Seconds()
	switch {
	case p.again*20 < p.seen: // hardly any
		if p.rate > 0 {
			p.rate *= 1.2
		} else if p.quiet { // and before neither: so it is without them
			p.usual += (wait - p.usual) / 8
		}
		p.quiet = true
		return
	case wait > 2*p.usual+paceSlack:
		if p.rate == 0 {
			p.rate = went
		}
		p.rate = max(paceLeast, 0.75*min(p.rate, went+paceLeast))
	case p.rate > 0:
		p.rate *= 1.15
	}
	p.quiet = false
}
