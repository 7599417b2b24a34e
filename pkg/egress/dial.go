package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// check returns a *BlockedError unless an address may be dialled for a host; plain says
// that it is to be spoken to in the clear, by a URL with http.
func (c *Client) check(host string, ip netip.Addr, plain bool) error {
	if c.allows(ip) {
		return nil
	}
	if s, refused := findSpecial(ip); refused {
		return blockedBy(host, ip, s)
	}
	if plain {
		return blockedPlain(host, ip)
	}
	return nil
}

// allows says whether an operator allowed an address.
func (c *Client) allows(ip netip.Addr) bool {
	ip = plainAddr(ip)
	for _, p := range c.allow {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// errNoneAnswered stands for the errors of several addresses of one name.
var errNoneAnswered = errors.New("of the host's addresses, those that may be called did not answer")

// DialContext connects to host:port over tcp, tcp4 or tcp6, for what isn't HTTP. Whether
// what is spoken there needs TLS is for the caller to see to. Returns a *BlockedError if
// all addresses of the host are refused, else an *Error.
func (c *Client) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	start := time.Now()
	conn, err := c.dial(ctx, network, addr, false, false)
	if err != nil {
		host, _, splitErr := net.SplitHostPort(addr)
		if splitErr != nil {
			return nil, &URLError{"this is no host and port; write it as example.com:587"}
		}
		return nil, wrap(ctx, host, start, false, err)
	}
	return conn, nil
}

// dial connects. plain says that it is for http, web that it is for http or https.
func (c *Client) dial(ctx context.Context, network, addr string, plain, web bool) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil, fmt.Errorf("egress: no connections over %s, only over tcp", network)
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	var passed atomic.Bool // IPv4 and IPv6 are dialled side by side
	dialer := net.Dialer{
		Timeout:  c.dialTimeout,
		Resolver: c.resolver,
		// After the lookup and before connect, for each address. The socket exists, but
		// nothing was sent.
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return &BlockedError{Host: host, Reason: "leads to something that is no IP address"}
			}
			if err := c.check(host, to.Addr(), plain); err != nil {
				return err
			}
			if web && otherPort(to.Port()) && !c.allows(to.Addr()) {
				return blockedPort(host, to.Addr(), to.Port())
			}
			passed.Store(true)
			return nil
		},
	}
	conn, err := dialer.DialContext(ctx, network, addr)
	if err == nil {
		return conn, nil
	}
	if blocked, ok := errors.AsType[*BlockedError](err); ok {
		if passed.Load() { // the error is the first address's
			return nil, errNoneAnswered
		}
		return nil, blocked
	}
	return nil, err
}
