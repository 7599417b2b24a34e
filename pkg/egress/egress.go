package egress

import (
	"bytes"
	"cmp"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

const (
	maxHeaderBytes = 64 << 10 // of an answer

	// drainBytes is how much of a body is read beyond what is kept: a connection that has
	// nothing unread can be used again, and a new one costs more than reading this.
	drainBytes = 32 << 10
)

// Config says where to a Client may go, and how much of an answer it takes.
type Config struct {
	// Allow are the ranges that may be called although they are special, and by plain
	// http. An IPv4 range counts for IPv4-mapped addresses too. Defaults to none.
	Allow []netip.Prefix
	// UserAgent is sent with requests that bring none. Defaults to "Rowbell".
	UserAgent string
	// RootCAs are whose certificates are believed. Defaults to the system's.
	RootCAs *x509.CertPool
	// Timeout bounds one request, from the name to the end of the body, where its context
	// does not end earlier. Defaults to 30 s.
	Timeout time.Duration
	// DialTimeout bounds looking up a name and connecting to its addresses, and again the
	// TLS handshake. Defaults to 10 s.
	DialTimeout time.Duration
	// BodyLimit is how many bytes of a body are kept. Defaults to 64 KiB.
	BodyLimit int
	// IdlePerHost is how many idle connections are kept to one host and port. A batch's
	// deliveries to one recipient come at once and end at once, and what is over the
	// number is closed and dialled again for the next batch. Defaults to 64.
	IdlePerHost int
	// Idle is how many idle connections are kept in all: for https, for small requests by
	// http, and for others by http. They are closed after a minute. Defaults to 256.
	Idle int
}

// Client dials and does requests within the limits of its Config. It may be used by
// several goroutines.
type Client struct {
	allow       []netip.Prefix
	userAgent   string
	timeout     time.Duration
	bodyLimit   int
	dialTimeout time.Duration
	resolver    *net.Resolver // nil, except in tests

	direct        *direct         // for http, where it may
	plain, secure *http.Transport // for http and for https
}

// New makes a Client. It returns an error that names each setting that makes no sense.
func New(cfg Config) (*Client, error) {
	c := &Client{
		userAgent:   cmp.Or(cfg.UserAgent, "Rowbell"),
		timeout:     cmp.Or(cfg.Timeout, 30*time.Second),
		bodyLimit:   cmp.Or(cfg.BodyLimit, 64<<10),
		dialTimeout: cmp.Or(cfg.DialTimeout, 10*time.Second),
	}
	idlePerHost, idle := cmp.Or(cfg.IdlePerHost, 64), cmp.Or(cfg.Idle, 256)
	var problems []error
	for _, l := range []struct {
		name  string
		value int64
	}{
		{"Timeout", int64(c.timeout)},
		{"DialTimeout", int64(c.dialTimeout)},
		{"BodyLimit", int64(c.bodyLimit)},
		{"IdlePerHost", int64(idlePerHost)},
		{"Idle", int64(idle)},
	} {
		if l.value < 0 {
			problems = append(problems, fmt.Errorf("egress: %s is negative; leave it 0 for its default", l.name))
		}
	}
	for i, p := range cfg.Allow {
		if !p.IsValid() {
			problems = append(problems, fmt.Errorf("egress: number %d of the allowed ranges is not one; write it as 10.0.0.0/8", i+1))
			continue
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		c.allow = append(c.allow, p.Masked())
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}

	transport := func(plain bool) *http.Transport {
		return &http.Transport{
			// The dial goes on when the request that wanted it is over, for the next one;
			// so it needs the timeout, which would be the request's otherwise.
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return c.dial(ctx, network, addr, plain, true)
			},
			TLSHandshakeTimeout:    c.dialTimeout,
			MaxIdleConns:           idle,
			MaxIdleConnsPerHost:    idlePerHost,
			IdleConnTimeout:        time.Minute,
			DisableCompression:     true, // what a server packs unasked is unpacked by Do, within its limit
			MaxResponseHeaderBytes: maxHeaderBytes,
		}
	}
	c.direct = &direct{
		dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return c.dial(ctx, network, addr, true, true)
		},
		perHost: idlePerHost, most: idle, idle: make(map[string][]*wire),
	}
	c.plain = transport(true)
	c.secure = transport(false)
	c.secure.ForceAttemptHTTP2 = true // as net/http does where DialContext is not set
	c.secure.TLSClientConfig = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		RootCAs:            cfg.RootCAs,
		ClientSessionCache: tls.NewLRUClientSessionCache(256),
	}
	c.secure.HTTP2 = &http.HTTP2Config{
		// A server may send so much before we read; the defaults are 4 MiB and 1 GiB.
		MaxReceiveBufferPerStream:     256 << 10,
		MaxReceiveBufferPerConnection: 2 << 20,
		// A connection that has died in silence would else be used until TCP gives up.
		SendPingTimeout: 15 * time.Second,
	}
	return c, nil
}

// Close ends the idle connections. What still runs goes on, and its connection is
// closed then.
func (c *Client) Close() {
	c.direct.close()
	c.plain.CloseIdleConnections()
	c.secure.CloseIdleConnections()
}

// Response is what came back. Its Body is what can be shown or read for a reason, not a
// transfer: at most Config.BodyLimit bytes of it.
type Response struct {
	StatusCode int
	Header     http.Header
	// Body is the start of the body. If the server packed it as gzip or deflate, although
	// it isn't asked to, it is unpacked here; Header still says how it came.
	Body []byte
	// Truncated says that the body went on, or broke off.
	Truncated bool
}

// Do sends a request and reads the answer. Redirects are answers like others; whoever
// calls decides what a status means. It takes the request over: it may add headers, and
// header and body must not be changed until the body has been closed, which may come
// after Do returned.
//
// Returns a *URLError or a *BlockedError if nothing was sent and never will be, and an
// *Error if no answer came; Permanent tells them apart. If the answer broke off in its
// body, both are returned: the Response as far as it came, and an *Error with Partial.
//
// A POST on a connection that the server has just closed is not sent again, unless the
// request says that it may: by a key Idempotency-Key in its Header, which is not sent
// if the value is empty (http.Header{"Idempotency-Key": nil}).
func (c *Client) Do(ctx context.Context, req *http.Request) (*Response, error) {
	start := time.Now()
	if err := checkParsed(req.URL); err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // nothing was read
		}
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); !ok || deadline.Sub(start) > c.timeout {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, start.Add(c.timeout))
		defer cancel()
	}
	if req.Header == nil {
		req.Header = make(http.Header, 1)
	}
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header["User-Agent"] = []string{c.userAgent}
	}
	// Not through http.Client, which would follow redirects and put URLs into errors.
	var res *http.Response
	var err error
	switch {
	case c.direct.may(req):
		res, err = c.direct.roundTrip(ctx, req)
	case req.URL.Scheme == "http":
		res, err = c.plain.RoundTrip(req.WithContext(ctx))
	default:
		res, err = c.secure.RoundTrip(req.WithContext(ctx))
	}
	if err != nil {
		return nil, wrap(ctx, req.URL.Hostname(), start, false, err)
	}
	defer func() { _ = res.Body.Close() }() // says only what Read said; with what is unread the connection goes
	r := &Response{StatusCode: res.StatusCode, Header: res.Header}
	r.Body, r.Truncated, err = c.readBody(res)
	if err != nil {
		err = wrap(ctx, req.URL.Hostname(), start, true, err)
	}
	if encoding := res.Header["Content-Encoding"]; len(encoding) == 1 && len(r.Body) > 0 {
		c.unpack(r, strings.ToLower(encoding[0]))
	}
	return r, err
}

// wrap makes what Do returns of what net/http returned.
func wrap(ctx context.Context, host string, start time.Time, partial bool, err error) error {
	if blocked, ok := errors.AsType[*BlockedError](err); ok {
		return blocked
	}
	// A context that ends makes errors of several kinds, some of them by a closed connection.
	if over := ctx.Err(); over != nil && !errors.Is(err, over) {
		err = fmt.Errorf("%w: %w", over, err)
	}
	return &Error{Host: host, Elapsed: time.Since(start), Partial: partial, Err: err}
}

// readBody reads what is kept, and a little more.
func (c *Client) readBody(res *http.Response) (body []byte, truncated bool, err error) {
	if res.ContentLength == 0 || res.StatusCode == http.StatusSwitchingProtocols {
		return nil, false, nil
	}
	size := 512
	if n := res.ContentLength; n > 0 {
		size = int(min(n, int64(c.bodyLimit)))
	}
	body = make([]byte, 0, size)
	for len(body) < c.bodyLimit {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := res.Body.Read(body[len(body):min(cap(body), c.bodyLimit)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, false, nil
		}
		if err != nil {
			return body, true, err
		}
		if int64(len(body)) == res.ContentLength {
			break // and without growing for the end
		}
	}
	if res.ContentLength > int64(c.bodyLimit+drainBytes) {
		return body, true, nil
	}
	n, err := io.CopyN(io.Discard, res.Body, drainBytes)
	return body, n > 0 || !errors.Is(err, io.EOF), nil
}

// unpack replaces a packed body by its first BodyLimit unpacked bytes, whatever they are
// packed to. One that can't be unpacked stays as it is.
func (c *Client) unpack(r *Response, encoding string) {
	var from io.Reader
	var err error
	packed := bytes.NewReader(r.Body)
	switch encoding {
	case "gzip", "x-gzip":
		from, err = gzip.NewReader(packed)
	case "deflate": // RFC 9110 means zlib; some servers send it bare
		if from, err = zlib.NewReader(packed); err != nil {
			packed.Reset(r.Body)
			from, err = flate.NewReader(packed), nil
		}
	default:
		return
	}
	if err != nil {
		return
	}
	body, err := io.ReadAll(io.LimitReader(from, int64(c.bodyLimit)+1))
	if err != nil && (len(body) == 0 || !r.Truncated) {
		return
	}
	if len(body) > c.bodyLimit {
		body, r.Truncated = body[:c.bodyLimit], true
	}
	r.Body = body
}
