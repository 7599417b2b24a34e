package access

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

const (
	failuresAtOnce = 20              // of one address, before it must wait
	failureEach    = 3 * time.Second // that it may have in the long run
	mostAddresses  = 10_000          // that are remembered, twice
)

// failures counts those that each address had lately.
type failures struct {
	now    func() time.Time
	counts *recent[netip.Addr, *rate.Limiter]
}

func newFailures(now func() time.Time) *failures {
	return &failures{now: now, counts: newRecent[netip.Addr, *rate.Limiter](mostAddresses)}
}

// wait is how long an address must wait before it may try again; 0: it may.
func (f *failures) wait(from netip.Addr) time.Duration {
	l, ok := f.counts.get(neighbours(from))
	if !ok {
		return 0
	}
	if left := l.TokensAt(f.now()); left < 1 {
		return max(time.Second, time.Duration((1-left)*float64(failureEach)))
	}
	return 0
}

func (f *failures) add(from netip.Addr) {
	from = neighbours(from)
	l, ok := f.counts.get(from)
	if !ok {
		// Two that come at once may each make one; the second counts.
		l = rate.NewLimiter(rate.Every(failureEach), failuresAtOnce)
		f.counts.put(from, l)
	}
	l.AllowN(f.now(), 1)
}

// neighbours are counted as one: who has an IPv6 address has the 2^64 beside it.
func neighbours(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// mostHops of X-Forwarded-For are looked at.
const mostHops = 50

// ClientAddress is where a request comes from: the peer, or, if that is a trusted proxy, whom
// it and the trusted ones before it name in X-Forwarded-For. What a client writes there
// itself stands left of what proxies add, and doesn't count. It is the zero Addr if the peer
// has none, as on a Unix socket.
func ClientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	from := parseHop(r.RemoteAddr)
	if !from.IsValid() {
		return from
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= max(0, len(hops)-mostHops) && within(from, trusted); i-- {
		hop := parseHop(strings.TrimSpace(hops[i]))
		if !hop.IsValid() {
			break
		}
		from = hop
	}
	return from
}

func within(a netip.Addr, ranges []netip.Prefix) bool {
	for _, p := range ranges {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// parseHop reads an address, with or without a port.
func parseHop(s string) netip.Addr {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}
