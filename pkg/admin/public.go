package admin

import (
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// PublicConfig is what Public serves.
type PublicConfig struct {
	Listen string // host:port; port 0 takes any free one
	// Routes are the handlers by pattern, as http.ServeMux has them.
	Routes map[string]http.Handler
	Logger *slog.Logger
}

// Public is the listener for people and programs outside. Who reaches it is not known:
// every handler sees to that itself.
type Public struct{ *server }

// mostConnections are open at a time; others wait to be taken. What strangers hold open must
// not use up the files that the process needs for the database and for deliveries.
const mostConnections = 512

// NewPublic binds the address and serves nothing until Run. Close frees it if Run is
// never called.
func NewPublic(cfg PublicConfig) (*Public, error) {
	mux := http.NewServeMux()
	for pattern, h := range cfg.Routes {
		mux.Handle(pattern, h)
	}
	s, err := newServer("pages", "ROWBELL_LISTEN", cfg.Listen, guarded(mux), cfg.Logger)
	if err != nil {
		return nil, err
	}
	s.server.ReadTimeout, s.server.WriteTimeout, s.server.MaxHeaderBytes = 10*time.Second, 30*time.Second, 16<<10
	s.server.IdleTimeout = 75 * time.Second // longer than proxies keep theirs, mostly
	s.listener = netutil.LimitListener(s.listener, mostConnections)
	return &Public{s}, nil
}

// guarded sets the headers that every answer has: it is not kept, sniffed, framed or
// referred to. A page that needs more widens Content-Security-Policy for itself.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Robots-Tag", "noindex, nofollow")
		next.ServeHTTP(w, r)
	})
}
