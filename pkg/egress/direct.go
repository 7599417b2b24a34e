package egress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http/httpguts"
)

const (
	// directBody is up to which size a body may go the direct way: it fits into what a
	// server's kernel takes before the server reads, so that writing it never waits for a
	// server that answers without reading.
	directBody = 32 << 10
	idleFor    = time.Minute
)

// direct does small requests by plain HTTP/1.1, each in the goroutine that asks: it writes
// the request, and reads the answer with net/http's parser. net/http's transport has two
// goroutines for each connection, which a request goes through by channels: 64 at a time, a
// request and its answer took 63 µs of two processors so, the server's part included, and
// take 40 µs (2026-11-26, BenchmarkDo beside BenchmarkBareClient). https stays with net/http,
// for HTTP/2.
type direct struct {
	dial          func(ctx context.Context, network, addr string) (net.Conn, error)
	perHost, most int // idle connections

	mu     sync.Mutex
	idle   map[string][]*wire // by host and port, the last used at the end
	count  int                // of idle
	sweep  *time.Timer        // while there are any
	closed bool
}

// may says whether a request can go the direct way. All others are for net/http.
func (d *direct) may(req *http.Request) bool {
	if !canPeek || req.URL.Scheme != "http" || req.ContentLength < 0 || req.ContentLength > directBody || req.ContentLength == 0 && req.Body != nil && req.Body != http.NoBody ||
		req.Close || len(req.TransferEncoding) > 0 || len(req.Trailer) > 0 {
		return false
	}
	for _, name := range []string{"Connection", "Expect", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		if _, ok := req.Header[name]; ok {
			return false
		}
	}
	return plainHost(req.URL.Host) && (req.Host == "" || plainHost(req.Host))
}

// plainHost says that a host goes into a request as it is: no punycode, no zone.
func plainHost(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '%' {
			return false
		}
	}
	return s != "" && httpguts.ValidHostHeader(s)
}

// roundTrip sends a request and reads the answer's head. The answer's body must be closed.
// If the server closed the connection while it was idle, the request is sent once more, on
// a fresh one, as RFC 9110, section 9.2.2, allows; for a POST if its Header says so, as
// net/http has it.
func (d *direct) roundTrip(ctx context.Context, req *http.Request) (*http.Response, error) {
	defer func() {
		if req.Body != nil {
			_ = req.Body.Close() // it was read, or will not be
		}
	}()
	if err := checkHeader(req); err != nil {
		return nil, err
	}
	addr := dialAddr(req.URL)
	w := d.take(addr)
	for again := false; ; again = true {
		idle := w != nil
		if !idle {
			if err := ctx.Err(); err != nil {
				return nil, context.Cause(ctx)
			}
			conn, err := d.dial(ctx, "tcp", addr)
			if err != nil {
				return nil, err
			}
			w = newWire(conn)
		}
		res, err := d.exchange(ctx, w, req, addr)
		if err == nil {
			return res, nil
		}
		if answered := w.got; !idle || again || answered || ctx.Err() != nil || !mayRepeat(req) {
			return nil, err
		}
		if req.Body != nil && req.Body != http.NoBody {
			body, bodyErr := req.GetBody()
			if bodyErr != nil {
				return nil, err
			}
			_ = req.Body.Close()
			req.Body = body
		}
		w = nil
	}
}

// mayRepeat says that a request may reach the server twice.
func mayRepeat(req *http.Request) bool {
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return false
	}
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	_, ok := req.Header["Idempotency-Key"]
	return ok
}

// dialAddr is what to dial.
func dialAddr(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// checkHeader refuses what would break out of a header, or of the request's first line.
func checkHeader(req *http.Request) error {
	for name, values := range req.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return errors.New("invalid header field name")
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return fmt.Errorf("invalid header field value for %s", name)
			}
		}
	}
	if req.Method != "" && !httpguts.ValidHeaderFieldName(req.Method) { // both are tokens
		return errors.New("invalid method")
	}
	return nil
}

// exchange writes a request and reads the head of its answer. On an error the connection
// is closed.
func (d *direct) exchange(ctx context.Context, w *wire, req *http.Request, addr string) (*http.Response, error) {
	// Deadlines of the connection are set when the context ends, and not before: that is
	// rare, and a deadline costs a timer.
	stop := context.AfterFunc(ctx, func() { _ = w.SetDeadline(time.Unix(1, 0)) })
	res, err := w.do(req)
	if err != nil {
		stop()
		_ = w.Close()
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return nil, err
	}
	res.Body = &directAnswer{
		ReadCloser: res.Body, d: d, wire: w, addr: addr, stop: stop,
		ended: res.Body == http.NoBody, last: res.Close || res.StatusCode == http.StatusSwitchingProtocols,
	}
	return res, nil
}

// wire is a connection.
type wire struct {
	net.Conn
	in   *bufio.Reader
	out  []byte
	left int64     // bytes that may be read yet
	got  bool      // something came of the present answer
	idle time.Time // since when
}

func newWire(conn net.Conn) *wire {
	w := &wire{Conn: conn}
	w.in = bufio.NewReader(w)
	return w
}

var errLongHead = fmt.Errorf("response headers exceeded %d bytes", maxHeaderBytes)

// Read implements io.Reader for in.
func (w *wire) Read(p []byte) (int, error) {
	if w.left <= 0 {
		return 0, errLongHead
	}
	n, err := w.Conn.Read(p[:min(int64(len(p)), w.left)])
	w.left -= int64(n)
	w.got = w.got || n > 0
	return n, err
}

// do writes a request and reads the head of its answer.
func (w *wire) do(req *http.Request) (*http.Response, error) {
	w.left, w.got = maxHeaderBytes, false
	var err error
	if w.out, err = appendRequest(w.out[:0], req); err != nil {
		return nil, err
	}
	_, writeErr := w.Write(w.out)
	// A server may have answered before it closed: that says more than the broken pipe.
	var res *http.Response
	for res == nil || res.StatusCode/100 == 1 && res.StatusCode != http.StatusSwitchingProtocols {
		if res, err = http.ReadResponse(w.in, req); err != nil {
			if writeErr != nil {
				err = writeErr
			}
			return nil, err
		}
	}
	res.Close = res.Close || writeErr != nil
	w.left = math.MaxInt64
	return res, nil
}

// appendRequest writes a request as RFC 9112, section 3, says.
func appendRequest(b []byte, req *http.Request) ([]byte, error) {
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	uri := req.URL.RequestURI()
	if strings.ContainsFunc(uri, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return b, errors.New("the URL holds a control character")
	}
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	b = append(append(append(b, method...), ' '), uri...)
	b = append(append(append(b, " HTTP/1.1\r\nHost: "...), host...), "\r\n"...)
	if req.ContentLength > 0 || method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch {
		b = append(b, "Content-Length: "...)
		b = append(strconv.AppendInt(b, req.ContentLength, 10), "\r\n"...)
	}
	var room [32]string
	for _, name := range slices.AppendSeq(room[:0], maps.Keys(req.Header)) {
		if name == "Host" || name == "Content-Length" {
			continue // the request's own
		}
		for _, value := range req.Header[name] {
			b = append(append(append(append(b, name...), ": "...), strings.Trim(value, " \t")...), "\r\n"...)
		}
	}
	b = append(b, "\r\n"...)
	if req.ContentLength == 0 {
		return b, nil
	}
	at := len(b)
	b = slices.Grow(b, int(req.ContentLength))[:at+int(req.ContentLength)]
	if _, err := io.ReadFull(req.Body, b[at:]); err != nil {
		return b, fmt.Errorf("read the body of the request: %w", err)
	}
	return b, nil
}

// directAnswer is an answer's body. Closing it gives the connection back.
type directAnswer struct {
	io.ReadCloser
	d           *direct
	wire        *wire
	addr        string
	stop        func() bool
	ended, last bool // the body is read to its end; the connection isn't to be used again
}

func (a *directAnswer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	a.ended = a.ended || errors.Is(err, io.EOF)
	return n, err
}

func (a *directAnswer) Close() error {
	if a.wire == nil {
		return nil
	}
	w := a.wire
	a.wire = nil
	// Not ReadCloser's, which would read on to the end.
	if !a.stop() || a.last || !a.ended || w.in.Buffered() > 0 {
		return w.Close()
	}
	a.d.put(a.addr, w)
	return nil
}

// take returns an idle connection that the server has not closed; nil if there is none.
func (d *direct) take(addr string) *wire {
	for {
		d.mu.Lock()
		list := d.idle[addr]
		if len(list) == 0 {
			d.mu.Unlock()
			return nil
		}
		w := list[len(list)-1]
		d.drop(addr, len(list)-1)
		d.mu.Unlock()
		if raw, ok := w.Conn.(syscall.Conn); !ok || quiet(raw) {
			return w
		}
		_ = w.Close() // it is closed from there, or holds what nobody asked for
	}
}

// drop takes a connection out of idle. Guarded by mu.
func (d *direct) drop(addr string, i int) {
	list := slices.Delete(d.idle[addr], i, i+1)
	if d.count--; len(list) == 0 {
		delete(d.idle, addr)
		return
	}
	d.idle[addr] = list
}

// put keeps a connection for the next request. Where there are too many, the one goes that
// was idle for longest.
func (d *direct) put(addr string, w *wire) {
	w.idle = time.Now()
	if cap(w.out) > 4<<10 {
		w.out = nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || len(d.idle[addr]) >= d.perHost {
		_ = w.Close()
		return
	}
	if d.count >= d.most {
		oldest := ""
		for other, list := range d.idle {
			if oldest == "" || list[0].idle.Before(d.idle[oldest][0].idle) {
				oldest = other
			}
		}
		_ = d.idle[oldest][0].Close()
		d.drop(oldest, 0)
	}
	d.idle[addr] = append(d.idle[addr], w)
	d.count++
	if d.sweep == nil {
		d.sweep = time.AfterFunc(idleFor/2, d.sweepIdle)
	}
}

// sweepIdle closes what has been idle for long.
func (d *direct) sweepIdle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweep = nil
	for addr, list := range d.idle {
		for len(list) > 0 && time.Since(list[0].idle) >= idleFor {
			_ = list[0].Close()
			d.drop(addr, 0)
			list = d.idle[addr]
		}
	}
	if d.count > 0 {
		d.sweep = time.AfterFunc(idleFor/2, d.sweepIdle)
	}
}

// close closes what is idle, and the others when their answers have been read.
func (d *direct) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.sweep != nil {
		d.sweep.Stop()
		d.sweep = nil
	}
	for _, list := range d.idle {
		for _, w := range list {
			_ = w.Close()
		}
	}
	clear(d.idle)
	d.count = 0
}
