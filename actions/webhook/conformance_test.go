package webhook

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/rowbell/rowbell/actions/actiontest"
)

// counterpart is a receiver that does what it is told.
type counterpart struct {
	mu      sync.Mutex
	status  int
	away    bool
	hang    chan struct{} // nil: it answers
	reached chan struct{}
	seen    []actiontest.Effect
}

func (c *counterpart) set(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status, c.away, c.hang = status, false, nil
}

func (c *counterpart) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	c.mu.Lock()
	c.seen = append(c.seen, actiontest.Effect{Key: req.Header.Get("Webhook-Id"), Content: string(body)})
	status, away, hang, reached := c.status, c.away, c.hang, c.reached
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
	// As some do: all that it was sent.
	_, _ = fmt.Fprintln(w, req.URL, strings.Join(req.Header["Authorization"], ""))
}

func TestConformance(t *testing.T) {
	t.Parallel()
	c := &counterpart{status: http.StatusOK}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	actiontest.Run(t, actiontest.Subject{
		Kind: Kind(newClient(t), "1.2"),
		Valid: []string{
			`{"url": "` + s.URL + `/in?token=planted-token", "secret": {"ref": "sign"}, "headers": {"Authorization": {"ref": "auth"}, "X-Team": "sales"}, "timeout": "30s"}`,
			`{"url": "https://a.example"}`,
			`{"url": "https://a.example", "secret": "` + testSecret + `", "timeout": 5}`,
		},
		Invalid: map[string][]string{
			`{}`: {"url", "https://example.com/hook"},
			`{"url": "https://a.example/?token=planted-token#%"}`:                {"url"},
			`{"url": "https://a.example", "secret": "planted-token"}`:            {"secret", "openssl"},
			`{"url": "https://a.example", "headers": {"Host": "planted-token"}}`: {"headers.Host", "url"},
			`{"url": "https://a.example", "timeout": "1h"}`:                      {"timeout", "1s", "30s"},
		},
		Secrets:      map[string]string{"sign": testSecret, "auth": "Bearer hunter2hunter2"},
		Planted:      []string{"planted-token"},
		OK:           func() { c.set(http.StatusOK) },
		Refuse:       func() { c.set(http.StatusNotFound) },
		RefuseForNow: func() { c.set(http.StatusInternalServerError) },
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
				c.set(http.StatusOK)
				close(hang)
			}
		},
		Effects: func() []actiontest.Effect {
			c.mu.Lock()
			defer c.mu.Unlock()
			return append([]actiontest.Effect(nil), c.seen...)
		},
	})
}
