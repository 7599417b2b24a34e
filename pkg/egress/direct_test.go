package egress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// post does one small POST, which may go the direct way; key says that it may be sent
// again.
func post(ctx context.Context, c *Client, url string, key bool) (*Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("x"))
	if err != nil {
		return nil, err
	}
	if key {
		req.Header["Idempotency-Key"] = nil
	}
	return c.Do(ctx, req)
}

// session is a server that gets each connection as it is, from the first byte on. What it
// was asked is counted.
func session(t *testing.T, serve func(n int, conn net.Conn, in *bufio.Reader)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for n := 1; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
				defer conn.Close() //nolint:errcheck // it may be closed already
				serve(n, conn, bufio.NewReader(conn))
			})
		}
	})
	t.Cleanup(func() {
		stop()
		_ = l.Close()
		running.Wait()
	})
	return "http://" + l.Addr().String() + "/"
}

// take reads one request, and says whether there was one.
func take(in *bufio.Reader) bool {
	req, err := http.ReadRequest(in)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, req.Body)
	return err == nil
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// What a server sends unasked behind an answer is no answer to the next request, and no
// other's either.
func TestUnaskedAnswer(t *testing.T) {
	t.Parallel()
	const unasked = "HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n"
	asked, sent := make(chan bool), make(chan bool)
	apart := session(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		for take(in) {
			_, _ = io.WriteString(conn, okAnswer)
			<-asked // it has its answer, and nothing is to come
			_, _ = io.WriteString(conn, unasked)
			sent <- true
		}
	})
	together := session(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		for take(in) {
			_, _ = io.WriteString(conn, okAnswer+unasked)
		}
	})
	c := local(t, Config{})
	for i := range 20 {
		for _, url := range []string{apart, together} {
			if res, err := post(t.Context(), c, url, true); err != nil || res.StatusCode != http.StatusOK {
				t.Fatalf("request %d: %+v, %v", i, res, err)
			}
		}
		asked <- true
		<-sent
	}
}

// A connection that was closed while it was idle is not used, even for a request that must
// not be sent twice.
func TestIdleConnectionThatIsClosed(t *testing.T) {
	t.Parallel()
	var conns atomic.Int64
	url := session(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		conns.Add(1)
		if take(in) {
			_, _ = io.WriteString(conn, okAnswer)
		}
	})
	c := local(t, Config{})
	for range 5 {
		if res, err := post(t.Context(), c, url, false); err != nil || string(res.Body) != "ok" {
			t.Fatalf("%+v, %v", res, err)
		}
		time.Sleep(20 * time.Millisecond) // the end of the connection has arrived
	}
	if conns.Load() != 5 {
		t.Errorf("%d connections", conns.Load())
	}
}

// A server that breaks off over a request on a connection that it has answered on before
// gets it once more if it may, on a fresh connection, and not a third time; and never once
// it has begun to answer.
func TestSentAgain(t *testing.T) {
	t.Parallel()
	for _, a := range []struct {
		name, begins string
		key          bool
		requests     int64
	}{
		{"may be", "", true, 3},
		{"may not be", "", false, 2},
		{"has begun to answer", "HTTP/1.1 2", true, 2},
	} {
		var requests atomic.Int64
		url := session(t, func(n int, conn net.Conn, in *bufio.Reader) {
			for i := 0; take(in); i++ {
				if requests.Add(1); n == 1 && i == 0 {
					_, _ = io.WriteString(conn, okAnswer)
					continue
				}
				_, _ = io.WriteString(conn, a.begins)
				return
			}
		})
		c := local(t, Config{})
		if _, err := post(t.Context(), c, url, a.key); err != nil {
			t.Fatal(err)
		}
		_, err := post(t.Context(), c, url, a.key)
		if err == nil || Permanent(err) || requests.Load() != a.requests {
			t.Errorf("%s: %d requests, want %d: %v", a.name, requests.Load(), a.requests, err)
		}
	}
}

// An answer that comes before the request was read counts, however the connection ends.
func TestAnswerBeforeTheRequestIsRead(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, directBody, directBody + 1, 4 << 20} {
		url := session(t, func(_ int, conn net.Conn, in *bufio.Reader) {
			_, _ = in.Peek(1)
			_, _ = io.WriteString(conn, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
			time.Sleep(50 * time.Millisecond) // nothing is read
		})
		c := local(t, Config{Timeout: 5 * time.Second})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(make([]byte, size)))
		if err != nil {
			t.Fatal(err)
		}
		if res, err := c.Do(t.Context(), req); err != nil || res.StatusCode != http.StatusRequestEntityTooLarge || string(res.Body) != "big" {
			t.Errorf("%d bytes: %+v, %v", size, res, err)
		}
	}
}

// Connections are kept up to the limits, and closed when they have been idle for long, or
// with the client.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var hold atomic.Bool
	hold.Store(true)
	server := func() (url string, open *atomic.Int64) {
		open = new(atomic.Int64)
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			if hold.Load() {
				<-release
			}
		}))
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				open.Add(1)
			case http.StateClosed:
				open.Add(-1)
			}
		}
		s.Start()
		t.Cleanup(s.Close)
		return s.URL, open
	}
	settle := func(open *atomic.Int64, want int64) {
		t.Helper()
		for range 500 {
			if open.Load() == want {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("%d connections are open, want %d", open.Load(), want)
	}
	c := local(t, Config{IdlePerHost: 3, Idle: 4})
	url, open := server()
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if _, err := post(t.Context(), c, url, true); err != nil {
				t.Error(err)
			}
		})
	}
	settle(open, 10)
	hold.Store(false)
	close(release)
	all.Wait()
	settle(open, 3)
	for range 2 { // other hosts: the one goes that was idle for longest
		other, of := server()
		if _, err := post(t.Context(), c, other, true); err != nil {
			t.Error(err)
		}
		settle(of, 1)
	}
	settle(open, 2)
	c.direct.mu.Lock()
	for _, list := range c.direct.idle {
		list[0].idle = time.Now().Add(-idleFor)
	}
	c.direct.mu.Unlock()
	c.direct.sweepIdle()
	settle(open, 1)
	if c.direct.count != 1 || c.direct.sweep == nil {
		t.Errorf("%d idle, sweep %v", c.direct.count, c.direct.sweep)
	}
	c.Close()
	settle(open, 0)
	if _, err := post(t.Context(), c, url, true); err != nil {
		t.Error(err)
	}
	settle(open, 0) // a client that is closed keeps none
}

// A request that is cut leaves no connection behind whose answer another one would get.
func TestCutRequests(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(len(r.URL.Query().Get("n"))) * time.Millisecond)
		_, _ = io.WriteString(w, r.URL.Query().Get("n"))
	})
	c := local(t, Config{IdlePerHost: 4})
	var all sync.WaitGroup
	var cut, whole atomic.Int64
	for g := range 8 {
		all.Go(func() {
			for i := range 60 {
				n := strings.Repeat("x", i%5) + fmt.Sprint(g, ".", i)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%12)*time.Millisecond)
				res, err := post(ctx, c, s.URL+"?n="+strings.ReplaceAll(n, " ", "+"), true)
				cancel()
				switch {
				case err != nil:
					cut.Add(1)
				case string(res.Body) != n:
					t.Errorf("asked for %s, got %s", n, res.Body)
				default:
					whole.Add(1)
				}
			}
		})
	}
	all.Wait()
	if cut.Load() == 0 || whole.Load() == 0 {
		t.Errorf("%d were cut and %d were not", cut.Load(), whole.Load())
	}
}

// answers are what servers send, right and wrong.
var answers = []string{
	okAnswer,
	"HTTP/1.1 204 No Content\r\n\r\n",
	"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: b\r\nX-A: c\r\n\r\n",
	"HTTP/1.1 200 OK\r\n\r\nto the end",
	"HTTP/1.0 200 OK\r\n\r\nold",
	"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nold",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3\r\nabc\r\n0\r\nX-T: t\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
	"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabcd",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX-B: c\r\n\r\n" + okAnswer,
	"HTTP/1.1 100 Continue\r\n\r\n",
	"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 20 OK\r\n\r\n",
	"HTTP/1.1 2000 OK\r\n\r\n",
	"HTTP/2.0 200 OK\r\n\r\n",
	"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
	"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
	"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
	"HTTP/1.1 200 OK\r\nX-A: b\r\n folded\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore",
	"\r\n" + okAnswer,
	"", "H", "HTTP/1.1 200 OK\r\nX",
}

// FuzzAnswer holds the direct way against net/http's: the same answer gives the same
// response, or an error for the same reason.
func FuzzAnswer(f *testing.F) {
	for _, a := range answers {
		f.Add([]byte(a))
	}
	// Over a socket of its own in the file system: ports would run out.
	path := filepath.Join(f.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = l.Close() })
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		// An upgrade hands the connection over, which nobody here takes.
		if bytes.Contains(answer, []byte(" 101")) {
			t.Skip()
		}
		served := make(chan struct{})
		defer func() { <-served }()
		go func() {
			defer close(served)
			for range 2 {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				in := bufio.NewReader(conn)
				if take(in) {
					_, _ = conn.Write(answer)
				}
				_ = conn.(*net.UnixConn).CloseWrite()
				_, _ = io.Copy(io.Discard, in)
				_ = conn.Close()
			}
		}()
		type outcome struct {
			Response *Response
			Reason   string
			Partial  bool
		}
		do := func(how func(*http.Request)) outcome {
			c := local(t, Config{Timeout: 5 * time.Second})
			defer c.Close()
			c.direct.dial, c.plain.DialContext = dial, dial
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://answers.example/", strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			how(req)
			res, err := c.Do(t.Context(), req)
			o := outcome{Response: res}
			if failed, ok := errors.AsType[*Error](err); ok {
				failed.Elapsed = 0
				o.Reason, o.Partial = Reason(failed), failed.Partial
			} else if err != nil {
				t.Fatal(err)
			}
			return o
		}
		direct := do(func(*http.Request) {})
		other := do(func(req *http.Request) { req.Close = true }) // which only net/http does
		if !reflect.DeepEqual(direct, other) {
			t.Errorf("%q:\n%+v %+v\nnet/http:\n%+v %+v", answer, direct, direct.Response, other, other.Response)
		}
	})
}

// What reaches a server is the same as by net/http, byte for byte but for the order of
// headers.
func TestRequestAsNetHTTP(t *testing.T) {
	t.Parallel()
	seen := make(chan *http.Request, 1)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		seen <- r
	})
	c := local(t, Config{})
	for _, a := range []struct {
		method, path, host, body string
		header                   http.Header
	}{
		{"POST", "/", "", "{}", nil},
		{"POST", "", "", "", nil},
		{"GET", "/a%2Fb/ü?q=%20x&y", "", "", nil},
		{"PUT", "//x", "example.com", "body", http.Header{"X-A": {"1", "2"}, "x-lower": {"kept"}, "Empty": {""}, "None": nil}},
		{"DELETE", "/?", "", "", http.Header{"Host": {"evil"}, "Content-Length": {"9"}, "Spaces": {"  a b\t"}}},
		{"HEAD", "/", "", "", http.Header{"User-Agent": {"mine"}}},
	} {
		var got [2]*http.Request
		for i := range got {
			var body io.Reader
			if a.body != "" {
				body = strings.NewReader(a.body)
			}
			req, err := http.NewRequestWithContext(t.Context(), a.method, s.URL+a.path, body)
			if err != nil {
				t.Fatal(err)
			}
			if a.header != nil {
				req.Header = a.header.Clone()
			}
			if a.host != "" {
				req.Host = a.host
			}
			if !c.direct.may(req) {
				t.Fatalf("%s %s doesn't go the direct way", a.method, a.path)
			}
			if i == 1 {
				req.Header["Te"] = []string{"trailers"} // which only net/http does
			}
			if _, err := c.Do(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			got[i] = <-seen
			delete(got[i].Header, "Te")
		}
		d, o := got[0], got[1]
		db, _ := io.ReadAll(d.Body)
		ob, _ := io.ReadAll(o.Body)
		if d.Method != o.Method || d.RequestURI != o.RequestURI || d.Host != o.Host || d.ContentLength != o.ContentLength ||
			!reflect.DeepEqual(d.Header, o.Header) || !bytes.Equal(db, ob) || !reflect.DeepEqual(d.TransferEncoding, o.TransferEncoding) {
			t.Errorf("%s %s:\n%s %s %v %d %q\nnet/http:\n%s %s %v %d %q", a.method, a.path,
				d.RequestURI, d.Host, d.Header, d.ContentLength, db, o.RequestURI, o.Host, o.Header, o.ContentLength, ob)
		}
	}
}

// What could break out of a request is refused, and nothing is sent.
func TestRequestIsOne(t *testing.T) {
	t.Parallel()
	var conns atomic.Int64
	url := session(t, func(int, net.Conn, *bufio.Reader) { conns.Add(1) })
	c := local(t, Config{})
	for name, change := range map[string]func(*http.Request){
		"value":  func(r *http.Request) { r.Header.Set("X-A", "b\r\nX-Evil: c") },
		"name":   func(r *http.Request) { r.Header["X-A: b\r\nX-Evil"] = []string{"c"} },
		"method": func(r *http.Request) { r.Method = "GET / HTTP/1.1\r\nX-Evil: c\r\n\r\nPOST" },
		"query":  func(r *http.Request) { r.URL.RawQuery = "a\r\nX-Evil: c" },
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		if change(req); !c.direct.may(req) {
			t.Fatalf("%s: doesn't go the direct way", name)
		}
		if res, err := c.Do(t.Context(), req); err == nil {
			t.Errorf("%s: %+v", name, res)
		}
	}
	// A host is net/http's to mend or to refuse.
	for _, host := range []string{"a\r\nX-Evil: c", "bücher.example", "[fe80::1%25eth0]", "a b", ""} {
		req := &http.Request{Method: http.MethodGet, URL: mustParse(t, url), Host: host, Header: http.Header{}}
		if host != "" && c.direct.may(req) {
			t.Errorf("host %q goes the direct way", host)
		}
	}
}
