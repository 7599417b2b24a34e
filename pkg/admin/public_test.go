package admin

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// Strangers who hold connections open use up no more of the process's files than so many,
// and are hung up on.
func TestPublicConnections(t *testing.T) {
	t.Parallel()
	p, err := NewPublic(PublicConfig{Listen: "127.0.0.1:0", Routes: map[string]http.Handler{"/": http.NotFoundHandler()}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l := &counting{Listener: p.listener}
	p.listener = l
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	const asked = mostConnections + 50
	for range asked {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", p.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:errcheck // it is hung up on
	}
	pgtest.Eventually(t, pgtest.Patience, "all to have had their turn, and to be hung up on", func() bool { return l.ever.Load() == asked && l.open.Load() == 0 })
	if n := l.most.Load(); n > mostConnections {
		t.Errorf("%d connections are open at a time", n)
	}
}

// counting counts the connections of a listener. Accept is called by one goroutine.
type counting struct {
	net.Listener
	open, most, ever atomic.Int64
}

func (l *counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.ever.Add(1)
	l.most.Store(max(l.most.Load(), l.open.Add(1)))
	return &counted{Conn: c, of: l}, nil
}

type counted struct {
	net.Conn
	of   *counting
	once sync.Once
}

// Close counts first: another one may come as soon as this one is closed.
func (c *counted) Close() error {
	c.once.Do(func() { c.of.open.Add(-1) })
	return c.Conn.Close()
}
