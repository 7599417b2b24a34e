package live

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// message is one of a stream, as a browser takes it apart.
type message struct {
	id, event, data string
	comment         string
}

// client reads a stream.
type client struct {
	res    *http.Response
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

func connect(t *testing.T, url, lastID string) *client {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	c := &client{res: res, lines: bufio.NewScanner(res.Body), cancel: cancel}
	c.lines.Buffer(nil, 1<<20)
	return c
}

// read reads a message; ok is false at the end of the stream.
func (c *client) read() (m message, ok bool) {
	for c.lines.Scan() {
		line := c.lines.Text()
		field, value, _ := strings.Cut(line, ": ")
		switch field {
		case "id":
			m.id = value
		case "event":
			m.event = value
		case "data":
			m.data = value
		case "":
			if value != "" {
				m.comment = value
			} else if m != (message{}) {
				return m, true
			}
		}
	}
	return m, false
}

// execution reads up to the next execution.
func (c *client) execution(t *testing.T) (id, execution string) {
	t.Helper()
	for {
		m, ok := c.read()
		if !ok {
			t.Fatalf("the stream has ended: %v", c.lines.Err())
		}
		if m.event != string(Execution) {
			continue
		}
		var e Event
		if err := json.Unmarshal([]byte(m.data), &e); err != nil || e.Execution == nil || e.ID != m.id {
			t.Fatalf("%v: %+v", err, m)
		}
		return m.id, e.Execution.ID
	}
}

func (w *world) server(t *testing.T, f *Feed, filter func(*http.Request) Filter) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := f.serve(rw, r, filter(r), 100*time.Millisecond); err != nil {
			http.Error(rw, err.Error(), http.StatusServiceUnavailable)
		}
	}))
	s.Config.WriteTimeout, s.Config.ReadTimeout = time.Second, time.Second // as listeners have them for other answers
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// Many clients read over HTTP, some of one tenant; each is cut off now and then, comes again
// with the last id that it has, and misses and repeats nothing.
func TestServe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.feed(t)
	server := w.server(t, f, func(r *http.Request) Filter {
		filter := executions
		if tenant := r.URL.Query().Get("tenant"); tenant != "" {
			filter.Tenant = &tenant
		}
		return filter
	})
	const n, clients = 120, 12
	var wg sync.WaitGroup
	got := make([][]string, clients)
	begun := make(chan struct{}, clients)
	for i := range clients {
		wg.Go(func() {
			url, want := server.URL, n
			if i%3 == 0 {
				url, want = url+"?tenant=globex", n/2
			}
			c := connect(t, url, IDAt(time.Now().Add(-time.Hour)))
			begun <- struct{}{}
			last := ""
			for len(got[i]) < want {
				var x string
				last, x = c.execution(t)
				got[i] = append(got[i], x)
				if i%2 == 0 && len(got[i])%25 == 10+i {
					c.cancel()
					time.Sleep(time.Duration(i) * 20 * time.Millisecond)
					c = connect(t, url, last)
				}
			}
			c.cancel()
		})
	}
	for range clients {
		<-begun
	}
	conn := w.worker(t)
	var all, theirs []string
	for i := range n {
		id := w.settle(t, conn, int32(2+i%2), "success", 0)
		all = append(all, id)
		if i%2 == 1 {
			theirs = append(theirs, id)
		}
	}
	wg.Wait()
	for i := range clients {
		want := all
		if i%3 == 0 {
			want = theirs
		}
		if fmt.Sprint(got[i]) != fmt.Sprint(want) {
			t.Errorf("client %d got\n%v, want\n%v", i, got[i], want)
		}
	}
	pgtest.Eventually(t, soon, "all readers are gone", func() bool { return f.Readers() == 0 })
}

// A stream has the headers that keep proxies from holding it back, goes on for longer than
// other answers may take, says now and then that it is there, and ends with the feed.
func TestServeStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := New(Config{Log: w.log, Every: 50 * time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = f.Run(ctx)
	}()
	t.Cleanup(func() { stop(); <-ended })
	server := w.server(t, f, func(*http.Request) Filter { return executions })
	c := connect(t, server.URL, "no id of ours")
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"} {
		if got := c.res.Header.Get(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	if m, _ := c.read(); m.event != string(Missed) || !strings.Contains(m.data, `"missed":{"count":0}`) {
		t.Errorf("who comes with a strange id gets %+v", m)
	}
	began := time.Now()
	for beats := 0; time.Since(began) < 2*time.Second || beats < 5; beats++ {
		if m, ok := c.read(); !ok || m.comment != "beat" {
			t.Fatalf("%+v, %t after %s", m, ok, time.Since(began))
		}
	}
	id := w.settle(t, w.worker(t), 2, "success", 0)
	if _, got := c.execution(t); got != id {
		t.Errorf("got %s", got)
	}
	stop()
	for {
		if _, ok := c.read(); !ok {
			break
		}
	}
	if err := c.lines.Err(); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	res, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("when it has ended the answer is %s", res.Status)
	}
}
