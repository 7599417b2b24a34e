package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/live"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// A stream that ends is asked for again, behind what was told last, or else for as long as
// nothing came; what can't be mended by waiting ends it.
func TestTail(t *testing.T) {
	t.Parallel()
	event := func(id, of string) string {
		return fmt.Sprintf("id: %s\nevent: execution\ndata: {\"id\":%q,\"type\":\"execution\",\ndata: \"execution\":{\"id\":%q}}\n\n", id, id, of)
	}
	var mu sync.Mutex
	var asked []string
	answers := []func(w http.ResponseWriter){
		func(w http.ResponseWriter) { _, _ = fmt.Fprint(w, "retry: 7\n\n: beat\n\n") },
		func(w http.ResponseWriter) {
			_, _ = fmt.Fprint(w, event("1-a", "a"), event("2-b", "b"), "event: delivery\ndata: {\"type\":\"delivery\"}\n\n", "id: 3-c\ndata: {\"type\":\"execu")
		},
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
		func(w http.ResponseWriter) {
			_, _ = fmt.Fprint(w, event("3-c", "c"), "event: missed\ndata: {\"type\":\"missed\",\"missed\":{\"count\":2}}\n\n")
		},
		func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprint(w, `{"detail":"the key was revoked"}`)
		},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/api/v1/workflows" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprint(w, `{"items":[{"id":"w"}]}`)
			return
		}
		ago := r.URL.Query().Get("ago")
		if d, err := time.ParseDuration(ago); err == nil && d > time.Hour && d < time.Hour+time.Minute {
			ago = "over an hour"
		}
		asked = append(asked, strings.TrimSpace(r.Header.Get("Rowbell-Tenant")+" "+r.URL.Query().Get("tenant")+" "+r.URL.Query().Get("type")+" "+r.Header.Get("Last-Event-ID")+" "+ago))
		answer := answers[0]
		if len(answers) > 1 {
			answers = answers[1:]
		}
		w.Header().Set("Content-Type", "text/event-stream")
		answer(w)
	}))
	t.Cleanup(s.Close)
	c := New(Config{URL: s.URL, Key: "k", KeyFrom: "ROWBELL_KEY", Version: "test"})
	t.Cleanup(c.Close)
	var waited []time.Duration
	c.sleep = func(_ context.Context, d time.Duration) error { waited = append(waited, d); return nil }
	var told, notes []string
	c.Note = func(text string) { notes = append(notes, text) }
	acme := "acme"
	err := c.Tail(t.Context(), live.Filter{Tenant: &acme, Types: []live.Type{live.Execution}}, time.Hour, func(e live.Event) error {
		if e.Type == live.Missed {
			told = append(told, fmt.Sprint("missed ", e.Missed.Count))
		} else {
			told = append(told, e.Execution.ID)
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "the key was revoked") {
		t.Errorf("it ends with %v", err)
	}
	if got := strings.Join(told, ", "); got != "a, b, c, missed 2" {
		t.Errorf("told is %s", got)
	}
	// A proxy's 502 is asked again by the client as well.
	want := "acme acme execution  1h0m0s; acme acme execution  over an hour; acme acme execution 2-b; acme acme execution 2-b; acme acme execution 3-c"
	if got := strings.Join(asked, "; "); got != want {
		t.Errorf("asked is\n%s, want\n%s", got, want)
	}
	if waited[0] != 7*time.Millisecond {
		t.Errorf("it waits %v", waited)
	}
	if len(notes) > 0 {
		t.Errorf("it says %q", notes)
	}
}

// A server that is gone is waited for, which is told once; one that was never there isn't.
func TestTailAway(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, "retry: 5000\n\n")
	}))
	c := New(Config{URL: s.URL, Key: "k", KeyFrom: "ROWBELL_KEY"})
	t.Cleanup(c.Close)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var waited []time.Duration
	c.sleep = func(ctx context.Context, d time.Duration) error {
		if waited = append(waited, d); len(waited) == 1 {
			s.Close()
		} else if len(waited) == 8 {
			cancel()
		}
		return ctx.Err()
	}
	var notes []string
	c.Note = func(text string) { notes = append(notes, text) }
	none := func(live.Event) error { return errors.New("nothing comes") }
	if err := c.Tail(ctx, live.Filter{}, 0, none); !errors.Is(err, context.Canceled) {
		t.Errorf("it ends with %v", err)
	}
	if want := []string{"nothing answers at " + s.URL + "; it is asked again until it answers"}; len(notes) != 1 || notes[0] != want[0] {
		t.Errorf("it says %q, want %q", notes, want)
	}
	if want := "[5s 10s 20s 30s 30s 30s 30s 30s]"; fmt.Sprint(waited) != want {
		t.Errorf("it waits %v, want %s", waited, want)
	}
	if err := c.Tail(t.Context(), live.Filter{}, 0, none); !errors.Is(err, workflow.ErrUnavailable) {
		t.Errorf("a server that isn't there gives %v", err)
	}
}
