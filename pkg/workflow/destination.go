package workflow

import (
	"fmt"
	"strconv"
	"time"
)

// DestinationState says whether deliveries to a destination are tried.
type DestinationState string

const (
	Closed   DestinationState = "closed"    // they are
	Open     DestinationState = "open"      // none is: attempts have failed
	HalfOpen DestinationState = "half_open" // one is, by one process, to see
	Disabled DestinationState = "disabled"  // none is, and they are cancelled
)

// Destination is where deliveries of one tenant go, as all processes know it. Times are
// the state server's; a zero one means never.
type Destination struct {
	Lane        int64
	TenantID    string // "" = of operators' workflows
	Kind        string
	Destination string // a URL without its query
	WorkflowID  string // of the last attempt that was noted
	State       DestinationState

	Failures       int       // in a row
	FirstFailureAt time.Time // of these
	WindowAt       time.Time // since when the next two are counted
	WindowTries    int
	WindowFailures int

	Opens      int // without a time between that was long enough to forget them
	OpenedAt   time.Time
	ClosedAt   time.Time
	ProbeAt    time.Time // while it is open: when one may be tried
	ProbeUntil time.Time // while it is half open: when the one who tries has lost the right to

	DisabledAt     time.Time
	DisabledBy     string // "" = Rowbell
	DisabledReason string

	LastError     string
	LastErrorAt   time.Time
	LastSuccessAt time.Time // to the minute
	Rate          string    // "" = as many as come
	Concurrency   int       // 0 = as many as the operator allows
	CreatedAt     time.Time
}

// LaneID is how a destination is named to people: 16 hexadecimal digits.
func LaneID(lane int64) string { return fmt.Sprintf("%016x", uint64(lane)) }

// ParseLaneID reads what LaneID wrote; ok is false if it is none.
func ParseLaneID(id string) (lane int64, ok bool) {
	n, err := strconv.ParseUint(id, 16, 64)
	return int64(n), err == nil && len(id) == 16
}

// A Breaker says when a destination is left alone.
type Breaker struct {
	// InARow opens it: so many failures with nothing else between. Defaults to 10.
	InARow int
	// It opens as well when of at least Tries attempts in a Window the Share has failed.
	// They default to 10, a minute and 0.7.
	Tries  int
	Window time.Duration
	Share  float64
	// It stays open for First, then one delivery is tried; each time that fails for twice as
	// long, but no longer than Longest. They default to 5 s and 5 min. Closed for twice as long
	// as it was to stay open last, it begins with First again.
	First, Longest time.Duration
	// Probe is how long the one may take before another process may try. Defaults to 75 s.
	Probe time.Duration
	// DisableAfter is after how long of nothing but failures, of which there are at least
	// InARow, a destination is disabled. Defaults to five days.
	DisableAfter time.Duration
}

// WithDefaults fills in what is zero.
func (b Breaker) WithDefaults() Breaker {
	if b.InARow == 0 {
		b.InARow = 10
	}
	if b.Tries == 0 {
		b.Tries = 10
	}
	if b.Window == 0 {
		b.Window = time.Minute
	}
	if b.Share == 0 {
		b.Share = 0.7
	}
	if b.First == 0 {
		b.First = 5 * time.Second
	}
	if b.Longest == 0 {
		b.Longest = 5 * time.Minute
	}
	if b.Probe == 0 {
		b.Probe = 75 * time.Second
	}
	if b.DisableAfter == 0 {
		b.DisableAfter = 5 * 24 * time.Hour
	}
	return b
}

// wait is for how long it stays open for the n-th time in a row; n is 1 or more.
func (b Breaker) wait(n int) time.Duration {
	if n > 30 { // it would overflow
		return b.Longest
	}
	return min(b.First<<(n-1), b.Longest)
}

// Attempts is what attempts at a destination came to, in the order in which they ended.
type Attempts struct {
	Lane                        int64
	TenantID, Kind, Destination string
	WorkflowID                  string
	Tries, Failures             int           // failures are those that were the destination's doing
	Trailing                    int           // failures since the last one that wasn't; Failures if all were
	Delivered                   bool          // one has succeeded
	Error                       string        // of the last failure
	Gone                        bool          // it said that it is gone for good
	RetryAfter                  time.Duration // that the last failure asked for
	Probe                       bool          // one was the one of a half-open breaker
	Rate                        string        // its limits, as its actions have them
	Concurrency                 int
}

// Note changes what is known of a destination by what attempts came to.
func (d *Destination) Note(a Attempts, now time.Time, b Breaker) {
	if a.WorkflowID != "" {
		d.WorkflowID = a.WorkflowID
	}
	d.Rate, d.Concurrency = a.Rate, a.Concurrency
	if a.Delivered {
		d.LastSuccessAt = now
	}
	if a.Failures > 0 {
		d.LastError, d.LastErrorAt = a.Error, now
	}
	answered := a.Tries > a.Failures
	if answered {
		d.Failures, d.FirstFailureAt = 0, time.Time{}
	}
	if n := a.Trailing; n > 0 {
		if d.Failures == 0 {
			d.FirstFailureAt = now
		}
		d.Failures += n
	}
	if now.Sub(d.WindowAt) > b.Window {
		d.WindowAt, d.WindowTries, d.WindowFailures = now, 0, 0
	}
	d.WindowTries += a.Tries
	d.WindowFailures += a.Failures
	switch {
	case d.State == Disabled:
	case a.Gone:
		d.disable(now, "", a.Error)
	case d.Failures >= b.InARow && now.Sub(d.FirstFailureAt) >= b.DisableAfter:
		d.disable(now, "", fmt.Sprintf("all attempts since %s have failed; the last: %s", d.FirstFailureAt.UTC().Format(time.RFC3339), d.LastError))
	case d.State == Closed:
		share := float64(d.WindowFailures) >= b.Share*float64(d.WindowTries)
		if a.Failures > 0 && (d.Failures >= b.InARow || d.WindowTries >= b.Tries && share) {
			d.open(now, a.RetryAfter, b)
		}
	case a.Delivered || answered && a.Trailing == 0:
		d.State, d.ClosedAt = Closed, now
		d.ProbeAt, d.ProbeUntil = time.Time{}, time.Time{}
		d.WindowAt, d.WindowTries, d.WindowFailures = now, 0, 0
	case a.Probe && a.Trailing > 0:
		d.open(now, a.RetryAfter, b)
	case a.Probe:
		// It came to nothing that says anything: the next one may be tried.
		d.State, d.ProbeAt, d.ProbeUntil = Open, now.Add(b.First), time.Time{}
	}
}

// open opens the breaker, for longer each time.
func (d *Destination) open(now time.Time, atLeast time.Duration, b Breaker) {
	if d.State == Closed && d.Opens > 0 && now.Sub(d.ClosedAt) > 2*b.wait(d.Opens) {
		d.Opens = 0
	}
	d.Opens++
	wait := b.wait(d.Opens)
	d.State, d.OpenedAt = Open, now
	d.ProbeAt, d.ProbeUntil = now.Add(max(wait, min(atLeast, b.Longest))), time.Time{}
}

func (d *Destination) disable(now time.Time, by, reason string) {
	d.State, d.DisabledAt, d.DisabledBy, d.DisabledReason = Disabled, now, by, reason
	d.ProbeAt, d.ProbeUntil = time.Time{}, time.Time{}
}

// Barred is a destination that is not simply open to deliveries.
type Barred struct {
	Lane  int64
	Kind  string
	State DestinationState
	// Due says that one delivery may be tried by whoever is first: the time of an open one
	// is over, or whoever had the right has lost it.
	Due    bool
	Reason string // of a disabled one
}

// TokenRequest asks for attempts at a destination that has a rate.
type TokenRequest struct {
	Lane      int64
	PerSecond float64
	Most      int
}

// TokenGrant says how many it got. If none, Wait is how long it is until there are any.
type TokenGrant struct {
	Lane int64
	N    int
	Wait time.Duration
}
