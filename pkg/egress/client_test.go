package egress

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// local is a client that may call loopback.
func local(t *testing.T, cfg Config) *Client {
	t.Helper()
	cfg.Allow = []netip.Prefix{loopback}
	return newClient(t, cfg)
}

// raw is a server that gets each connection, with the request read, to answer as it
// likes; the connection is closed when answer returns. gone ends when the client has
// closed the connection, or the test is over.
func raw(t *testing.T, answer func(conn net.Conn, gone <-chan struct{})) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	running := make(chan struct{})
	go func() {
		defer close(running)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(conn)
			if _, err := http.ReadRequest(in); err != nil {
				_ = conn.Close()
				continue
			}
			gone := make(chan struct{})
			unhook := context.AfterFunc(ctx, func() { _ = conn.Close() })
			go func() {
				defer close(gone)
				_, _ = io.Copy(io.Discard, in)
			}()
			answer(conn, gone)
			unhook()
			_ = conn.Close()
			<-gone
		}
	}()
	t.Cleanup(func() {
		stop()
		_ = l.Close()
		<-running
	})
	return "http://" + l.Addr().String() + "/"
}

// trickle writes a piece now and then until the client has gone.
func trickle(conn net.Conn, gone <-chan struct{}, piece func(n int) string) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-gone:
			return
		case <-tick.C:
			if _, err := io.WriteString(conn, piece(n)); err != nil {
				return
			}
		}
	}
}

func TestDo(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = fmt.Fprintf(w, "%s %s %q %q %s", r.Method, r.URL.RequestURI(), r.Header.Values("User-Agent"), r.Header.Values("Accept-Encoding"), body)
	})
	c := local(t, Config{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/a?b=c", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if want := `POST /a?b=c ["Rowbell"] [] body`; string(res.Body) != want || res.StatusCode != 429 || res.Header.Get("Retry-After") != "7" || res.Truncated {
		t.Errorf("%+v, want body %s", res, want)
	}
	for _, bad := range []string{"ftp://127.0.0.1/", "https://user:pw@127.0.0.1/", "https:opaque", "/path"} {
		if _, err := get(t.Context(), c, bad); !Permanent(err) {
			t.Errorf("%s: %v, want a URLError", bad, err)
		}
	}
}

func TestNoRedirect(t *testing.T) {
	t.Parallel()
	var paths atomic.Int64
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		paths.Add(1)
		http.Redirect(w, r, "/next", http.StatusTemporaryRedirect)
	})
	res, err := get(t.Context(), local(t, Config{}), s.URL)
	if err != nil || res.StatusCode != http.StatusTemporaryRedirect || res.Header.Get("Location") != "/next" {
		t.Errorf("%+v, %v", res, err)
	}
	if paths.Load() != 1 {
		t.Error("the redirect was followed")
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	start := func(setup func(*httptest.Server)) *httptest.Server {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes
		setup(s)
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	one := start(func(*httptest.Server) {})
	two := start(func(s *httptest.Server) { s.EnableHTTP2 = true })
	old := start(func(s *httptest.Server) {
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	})
	open := serve(t, func(http.ResponseWriter, *http.Request) {})
	roots := x509.NewCertPool()
	roots.AddCert(one.Certificate()) // httptest has one for all servers
	dns := &names{answers: map[string][][]string{"wrong.test": {{"127.0.0.1"}}}}
	c := local(t, Config{RootCAs: roots})
	c.resolver = dns.resolver(t)
	doubting := local(t, Config{})
	for _, a := range []struct {
		name      string
		c         *Client
		url, want string // the body, or what Reason says
	}{
		{"http/1.1", c, one.URL, "HTTP/1.1"},
		{"http/2", c, two.URL, "HTTP/2.0"},
		{"unknown authority", doubting, one.URL, "the certificate is not valid: who signed it is not known"},
		{"wrong name", c, "https://" + hostPort(t, one, "wrong.test"), "the certificate is not valid: it is not for wrong.test"},
		{"TLS 1.1", c, old.URL, "the TLS handshake failed: protocol version not supported"},
		{"https to http", c, strings.Replace(open.URL, "http:", "https:", 1), "the server speaks plain http on this port, not https"},
	} {
		res, err := get(t.Context(), a.c, a.url)
		got := Reason(err)
		if err == nil {
			got = string(res.Body)
		}
		if got != a.want {
			t.Errorf("%s: %s (%#v), want %s", a.name, got, errors.Unwrap(err), a.want)
		}
	}
	res, err := get(t.Context(), c, strings.Replace(one.URL, "https:", "http:", 1))
	if err != nil || res.StatusCode != http.StatusBadRequest {
		t.Errorf("http to https: %+v, %v", res, err)
	}
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	const limit = 1000
	var conns, closed atomic.Int64
	gone := make(chan struct{}, 100)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n int
		if _, err := fmt.Sscan(r.URL.Query().Get("n"), &n); err != nil {
			t.Error(err)
		}
		if r.URL.Query().Has("chunked") {
			w.(http.Flusher).Flush()
		} else {
			w.Header().Set("Content-Length", fmt.Sprint(n))
		}
		_, _ = w.Write(bytes.Repeat([]byte("x"), n))
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			conns.Add(1)
		case http.StateClosed:
			closed.Add(1)
			gone <- struct{}{}
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	c := local(t, Config{BodyLimit: limit})
	for _, how := range []string{"", "&chunked"} {
		for _, n := range []int{0, 1, limit - 1, limit, limit + 1, limit + drainBytes - 1} {
			res, err := get(t.Context(), c, fmt.Sprintf("%s?n=%d%s", s.URL, n, how))
			if err != nil {
				t.Fatal(err)
			}
			if len(res.Body) != min(n, limit) || res.Truncated != (n > limit) {
				t.Errorf("%d bytes%s: kept %d, truncated %v", n, how, len(res.Body), res.Truncated)
			}
		}
	}
	if conns.Load() != 1 || closed.Load() != 0 {
		t.Errorf("%d connections were made and %d closed, want one that is kept", conns.Load(), closed.Load())
	}
	for _, how := range []string{"", "&chunked"} {
		for range 3 { // more than is read on for: the connection goes, and nothing with it
			res, err := get(t.Context(), c, fmt.Sprintf("%s?n=%d%s", s.URL, 4<<20, how))
			if err != nil || len(res.Body) != limit || !res.Truncated {
				t.Errorf("%v, %v", res, err)
			}
			<-gone
		}
	}
	if conns.Load() != closed.Load() {
		t.Errorf("%d connections, %d closed", conns.Load(), closed.Load())
	}
}

// What a server can do to hold or flood a client. Each is over by the timeout.
func TestEvilServers(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
	for _, a := range []struct {
		name   string
		answer func(conn net.Conn, gone <-chan struct{})
		want   string // how Reason begins
		status int    // of a Response that comes with the error
		body   string // how its body begins
	}{
		{"says nothing", func(_ net.Conn, gone <-chan struct{}) { <-gone }, "timed out after ", 0, ""},
		{"closes at once", func(net.Conn, <-chan struct{}) {}, "the connection was closed before an answer came", 0, ""},
		{"slow headers", func(conn net.Conn, gone <-chan struct{}) {
			_, _ = io.WriteString(conn, head)
			trickle(conn, gone, func(n int) string { return fmt.Sprintf("X-%d: y\r\n", n) })
		}, "timed out after ", 0, ""},
		{"slow line", func(conn net.Conn, gone <-chan struct{}) {
			_, _ = io.WriteString(conn, head+"X-Long: ")
			trickle(conn, gone, func(int) string { return "y" })
		}, "timed out after ", 0, ""},
		{"endless informational answers", func(conn net.Conn, gone <-chan struct{}) {
			trickle(conn, gone, func(int) string { return "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" })
		}, "timed out after ", 0, ""},
		{"huge headers", func(conn net.Conn, _ <-chan struct{}) {
			_, _ = io.WriteString(conn, head)
			for range 100 {
				_, _ = io.WriteString(conn, "X-Filler: "+strings.Repeat("y", 1<<10)+"\r\n")
			}
			_, _ = io.WriteString(conn, "\r\n")
		}, "the answer's headers are too long", 0, ""},
		{"trickling body", func(conn net.Conn, gone <-chan struct{}) {
			_, _ = io.WriteString(conn, head+"\r\n")
			trickle(conn, gone, func(int) string { return "z" })
		}, "timed out after ", 200, "zz"},
		{"cut body", func(conn net.Conn, _ <-chan struct{}) {
			_, _ = io.WriteString(conn, head+"Content-Length: 100\r\n\r\nhalf")
		}, "the connection was closed in the middle of the answer", 200, "half"},
		{"cut chunk", func(conn net.Conn, _ <-chan struct{}) {
			_, _ = io.WriteString(conn, head+"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n9\r\n")
		}, "the connection was closed in the middle of the answer", 200, "half"},
		{"no HTTP", func(conn net.Conn, _ <-chan struct{}) {
			_, _ = io.WriteString(conn, "220 mail.example ESMTP\r\n")
		}, "the server did not answer in HTTP", 0, ""},
	} {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			url := raw(t, a.answer)
			c := local(t, Config{Timeout: 200 * time.Millisecond})
			res, err := get(t.Context(), c, url)
			failed, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("%v, %v; want an Error", res, err)
			}
			if !strings.HasPrefix(Reason(err), a.want) || Permanent(err) {
				t.Errorf("%s (%v), want %s", Reason(err), failed.Err, a.want)
			}
			if failed.Elapsed > 5*time.Second {
				t.Errorf("took %s", failed.Elapsed)
			}
			if failed.Partial != (a.status != 0) || failed.Partial != (res != nil) {
				t.Fatalf("%v with %+v", failed, res)
			}
			if res != nil && (res.StatusCode != a.status || !strings.HasPrefix(string(res.Body), a.body) || !res.Truncated) {
				t.Errorf("%+v", res)
			}
		})
	}
}

// A body that never ends is an answer all the same: what is kept of it is full before
// the timeout.
func TestEndlessBody(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	})
	res, err := get(t.Context(), local(t, Config{}), s.URL)
	if err != nil || len(res.Body) != 64<<10 || !res.Truncated {
		t.Errorf("%v", err)
	}
}

func TestSwitchingProtocolsIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	url := raw(t, func(conn net.Conn, gone <-chan struct{}) {
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: evil\r\n\r\n")
		<-gone
	})
	res, err := get(t.Context(), local(t, Config{}), url)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols || len(res.Body) != 0 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	const limit = 1 << 10
	pack := func(makeWriter func(io.Writer) io.WriteCloser, n int) []byte {
		var b bytes.Buffer
		w := makeWriter(&b)
		piece := bytes.Repeat([]byte("a"), 1<<10)
		for ; n > 0; n -= len(piece) {
			_, _ = w.Write(piece[:min(n, len(piece))])
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	gz := func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }
	zl := func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }
	fl := func(w io.Writer) io.WriteCloser {
		f, err := flate.NewWriter(w, 5)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	small := pack(gz, 10)
	for _, a := range []struct {
		name, encoding string
		body           []byte
		want           string
		truncated      bool
	}{
		{"gzip", "gzip", small, strings.Repeat("a", 10), false},
		{"x-gzip", "X-GZip", small, strings.Repeat("a", 10), false},
		{"zlib", "deflate", pack(zl, 10), strings.Repeat("a", 10), false},
		{"bare deflate", "deflate", pack(fl, 10), strings.Repeat("a", 10), false},
		{"exactly the limit", "gzip", pack(gz, limit), strings.Repeat("a", limit), false},
		{"a bomb that fits", "gzip", pack(gz, 500<<10), strings.Repeat("a", limit), true},
		{"a bomb that is cut", "gzip", pack(gz, 16<<20), strings.Repeat("a", limit), true},
		{"no gzip", "gzip", []byte("plain"), "plain", false},
		{"half of it", "gzip", small[:15], string(small[:15]), false},
		{"unknown", "br", small, string(small), false},
		{"twice", "gzip, gzip", small, string(small), false},
	} {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", a.encoding)
			_, _ = w.Write(a.body)
		})
		res, err := get(t.Context(), local(t, Config{BodyLimit: limit}), s.URL)
		if err != nil {
			t.Fatal(err)
		}
		if string(res.Body) != a.want || res.Truncated != a.truncated {
			t.Errorf("%s: %d bytes, truncated %v, begins %.20q", a.name, len(res.Body), res.Truncated, res.Body)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	for _, a := range []struct{ name, sent string }{
		{"before the answer", ""},
		{"in the body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		url := raw(t, func(conn net.Conn, gone <-chan struct{}) {
			_, _ = io.WriteString(conn, a.sent)
			cancel()
			<-gone // the connection is closed with the request
		})
		_, err := get(ctx, local(t, Config{}), url)
		cancel()
		failed, ok := errors.AsType[*Error](err)
		if !ok || !errors.Is(err, context.Canceled) || !strings.HasPrefix(Reason(err), "cancelled after ") || failed.Elapsed > 5*time.Second {
			t.Errorf("%s: %v", a.name, err)
		}
	}
	// A reason of the caller's own is no other failure.
	why := errors.New("draining")
	stopped, stop := context.WithCancelCause(t.Context())
	stop(why)
	if _, err := get(stopped, local(t, Config{}), "http://127.0.0.1:9/"); !errors.Is(err, why) || !errors.Is(err, context.Canceled) || !strings.HasPrefix(Reason(err), "cancelled") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if _, err := get(ctx, local(t, Config{}), "http://127.0.0.1:9/"); !errors.Is(err, context.DeadlineExceeded) || Permanent(err) {
		t.Errorf("%v", err)
	}
}

// A handshake that is never answered outlives its request; Close ends it, or goleak
// tells.
func TestSilentHandshake(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // its backlog connects
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, err = get(t.Context(), local(t, Config{Timeout: 50 * time.Millisecond, DialTimeout: time.Hour}), "https://"+l.Addr().String())
	if !strings.HasPrefix(Reason(err), "timed out after ") {
		t.Errorf("%v", err)
	}
}

// A POST is sent again on a fresh connection only if it says that it may be.
func TestStaleConnection(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	url := raw(t, func(conn net.Conn, gone <-chan struct{}) {
		requests.Add(1)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	c := local(t, Config{})
	for range 20 { // each answer's connection is closed, seen or unseen
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header["Idempotency-Key"] = nil
		if res, err := c.Do(t.Context(), req); err != nil || string(res.Body) != "ok" {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	if requests.Load() != 20 {
		t.Errorf("%d requests were answered", requests.Load())
	}
}

// Whatever goes wrong, no error says what a URL has behind its host.
func TestNoSecretInErrors(t *testing.T) {
	t.Parallel()
	silent := raw(t, func(_ net.Conn, gone <-chan struct{}) { <-gone })
	closing := raw(t, func(net.Conn, <-chan struct{}) {})
	cut := raw(t, func(conn net.Conn, _ <-chan struct{}) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
	})
	dns := &names{answers: map[string][][]string{"inside.example": {{"10.9.8.7"}}}}
	c := local(t, Config{Timeout: 200 * time.Millisecond})
	c.resolver = dns.resolver(t)
	closedAt := closedPort(t)
	for _, base := range []string{
		silent, closing, cut, "http://127.0.0.1:" + closedAt + "/", "http://unknown.example/", "http://inside.example/", "https://inside.example/",
		"ftp://inside.example/", "https://user:s3cret@inside.example/", strings.Replace(closing, "http:", "https:", 1),
		"http://127.0.0.1:99999/",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"s3cret?key=s3cret", strings.NewReader("s3cret"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer s3cret")
		_, err = c.Do(t.Context(), req)
		if err == nil {
			t.Errorf("%s: no error", base)
			continue
		}
		for _, secret := range []string{"s3cret", "key=", "10.9.8.7", "user"} {
			if said := fmt.Sprintf("%v %+v %s", err, err, Reason(err)); strings.Contains(said, secret) && !(secret == "user" && strings.Contains(said, "user or password")) {
				t.Errorf("%s: %s", base, said)
			}
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if strings.Contains(e.Error(), "s3cret") {
				t.Errorf("%s: %T: %v", base, e, e)
			}
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, silent, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer s3cret\n")
	_, err = c.Do(t.Context(), req)
	if want := "a header holds a character that headers don't have"; Reason(err) != want || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v, want %s", err, want)
	}
}
