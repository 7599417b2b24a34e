package chat

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/rowbell/rowbell/actions/actiontest"
)

// counterpart is a chat service that does what it is told, and repeats what it was sent.
type counterpart struct {
	mu      sync.Mutex
	status  int
	body    string
	away    bool
	hang    chan struct{} // nil: it answers
	reached chan struct{}
	seen    []actiontest.Effect
}

func (c *counterpart) set(status int, body string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status, c.body, c.away, c.hang = status, body, false, nil
}

func (c *counterpart) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	c.mu.Lock()
	c.seen = append(c.seen, actiontest.Effect{Key: req.Header.Get("Idempotency-Key"), Content: string(body)})
	status, answer, away, hang, reached := c.status, c.body, c.away, c.hang, c.reached
	c.mu.Unlock()
	switch {
	case hang != nil:
		close(reached)
		<-hang
		return
	case away:
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.(*net.TCPConn).SetLinger(0) // a reset
			_ = conn.Close()
		}
		return
	}
	w.WriteHeader(status)
	_, _ = fmt.Fprint(w, answer)
	if status != http.StatusOK { // as some do: all that it was sent
		_, _ = fmt.Fprint(w, req.URL, req.Header["Authorization"])
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]struct{ config, secret, ok, refused string }{
		"webhook": {`{"service": "slack", "secret": {"ref": "hook"}, "title": "Order {{ new.id }}", "text": "*{{ new.status }}*"}`, "%s/services/T0/B0/hunter2hunter2", "ok", "no_service "},
		"bot": {
			`{"service": "slack_bot", "secret": {"ref": "hook"}, "channel": "C1", "server": "%s", "text": "*{{ new.status }}*"}`, "xoxb-hunter2hunter2",
			`{"ok": true, "ts": "1"}`, `{"ok": false, "error": "channel_not_found"}`,
		},
		"matrix": {
			`{"service": "matrix", "secret": {"ref": "hook"}, "channel": "!a:b", "server": "%s/x/", "text": "{{ new.status }}"}`, "syt_hunter2hunter2",
			`{"event_id": "1"}`, `{"errcode": "M_NOT_FOUND", "error": "no"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &counterpart{}
			server := httptest.NewServer(c)
			t.Cleanup(server.Close)
			fill := func(s string) string {
				for i := range s {
					if s[i] == '%' {
						return fmt.Sprintf(s, server.URL)
					}
				}
				return s
			}
			actiontest.Run(t, actiontest.Subject{
				Kind: Kind(newClient(t, loopback)),
				Valid: []string{
					fill(s.config),
					`{"service": "teams", "secret": "https://a.example/x?sig=y", "text": {"en": "a", "de": "b"}}`,
				},
				Invalid: map[string][]string{
					`{}`: {"service", "secret", "text"},
					`{"service": "irc", "secret": "planted-token", "text": "x"}`:                               {"service", "slack", "teams"},
					`{"service": "slack", "secret": {"name": "planted-token"}, "text": "x"}`:                   {"secret"},
					`{"service": "slack", "secret": "https://a.example/planted-token%", "text": "x"}`:          {"secret", "%"},
					`{"service": "slack", "secret": "https://a.example", "text": "x", "url": "planted-token"}`: {"url", "there is no such key"},
				},
				Secrets:      map[string]string{"hook": fill(s.secret)},
				Planted:      []string{"planted-token", "hunter2hunter2"},
				OK:           func() { c.set(http.StatusOK, s.ok) },
				Refuse:       func() { c.set(http.StatusNotFound, s.refused) },
				RefuseForNow: func() { c.set(http.StatusInternalServerError, "") },
				Away: func() {
					c.mu.Lock()
					defer c.mu.Unlock()
					c.away = true
				},
				Hang: func() (<-chan struct{}, func()) {
					c.mu.Lock()
					defer c.mu.Unlock()
					hang := make(chan struct{})
					c.hang, c.reached = hang, make(chan struct{})
					return c.reached, func() {
						c.set(http.StatusOK, s.ok)
						close(hang)
					}
				},
				Effects: func() []actiontest.Effect {
					c.mu.Lock()
					defer c.mu.Unlock()
					return append([]actiontest.Effect(nil), c.seen...)
				},
			})
		})
	}
}
