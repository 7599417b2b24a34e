package actions

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Limits are how much of it a destination wants at most. They hold for all processes
// together.
type Limits struct {
	Rate        Rate
	Concurrency int // attempts at once; 0: no limit of its own
}

// Limited is a Runner whose configuration may have limits. If several actions of one
// tenant go to one destination, the lowest of each counts.
type Limited interface{ Limits() Limits }

// Timed is a Runner that ends an attempt by itself once so long is over, whatever its
// context says.
type Timed interface{ Timeout() time.Duration }

// Rate is so many attempts in a time. The zero one is no limit.
type Rate struct {
	N   int
	Per time.Duration // a second, a minute or an hour
}

// mostRate is the greatest N: more is no limit that anybody means.
const mostRate = 100_000

const rateMend = `write a whole number and its time, as "10/s", "600/m" or "1000/h"`

// ParseRate reads "10/s", "600/m" or "1000/h".
func ParseRate(text string) (Rate, error) {
	number, per, ok := strings.Cut(text, "/")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if !ok || err != nil {
		return Rate{}, fmt.Errorf("%s is no rate; %s", shorten(strconv.Quote(text)), rateMend)
	}
	if n < 1 || n > mostRate {
		return Rate{}, fmt.Errorf("%d is out of range; use 1 to %d", n, mostRate)
	}
	r := Rate{N: n}
	switch strings.TrimSpace(per) {
	case "s":
		r.Per = time.Second
	case "m":
		r.Per = time.Minute
	case "h":
		r.Per = time.Hour
	default:
		return Rate{}, fmt.Errorf("%s has no time that is known; %s", shorten(strconv.Quote(text)), rateMend)
	}
	return r, nil
}

// String is what ParseRate reads; "" without a limit.
func (r Rate) String() string {
	switch r.Per {
	case time.Second:
		return strconv.Itoa(r.N) + "/s"
	case time.Minute:
		return strconv.Itoa(r.N) + "/m"
	case time.Hour:
		return strconv.Itoa(r.N) + "/h"
	}
	return ""
}

// PerSecond is how many attempts a second that is; 0 without a limit.
func (r Rate) PerSecond() float64 {
	if r.Per == 0 {
		return 0
	}
	return float64(r.N) / r.Per.Seconds()
}

// Lower returns the lower limit of each kind, where no limit is the highest.
func (l Limits) Lower(other Limits) Limits {
	if o := other.Rate; o.N > 0 && (l.Rate.N == 0 || o.PerSecond() < l.Rate.PerSecond()) {
		l.Rate = o
	}
	if n := other.Concurrency; n > 0 && (l.Concurrency == 0 || n < l.Concurrency) {
		l.Concurrency = n
	}
	return l
}
