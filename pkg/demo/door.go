package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// doorOpen is how long an address signs in that nobody has used.
const doorOpen = 15 * time.Minute

// door gives addresses that sign in, once each. What a browser is started with, everybody on the
// machine can read in the list of processes: a key would be theirs, and such an address is used up
// by then, or whoever has meant to use it sees that somebody else has.
type door struct {
	inside  string // where one is signed in: it has the key
	outside string // where one signs in by oneself
	now     func() time.Time

	server   *http.Server
	listener net.Listener
	served   chan struct{} // closed when the server has ended

	mu      sync.Mutex
	invites map[string]time.Time // until when each counts
}

// startDoor listens on a free port of this machine. It must be closed.
func startDoor(ctx context.Context, inside, outside string) (*door, error) {
	d := &door{inside: inside, outside: outside, now: time.Now, served: make(chan struct{}), invites: make(map[string]time.Time)}
	var listen net.ListenConfig
	var err error
	if d.listener, err = listen.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("start what signs in the browser: %w", err)
	}
	d.server = &http.Server{Handler: d, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(d.served)
		_ = d.server.Serve(d.listener) // http.ErrServerClosed
	}()
	return d, nil
}

func (d *door) close() error {
	err := d.server.Close()
	<-d.served
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("stop what signs in the browser: %w", err)
	}
	return nil
}

// invite makes an address that signs in once.
func (d *door) invite() string {
	name := rand.Text()
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	for old, until := range d.invites {
		if !now.Before(until) {
			delete(d.invites, old)
		}
	}
	d.invites[name] = now.Add(doorOpen)
	return "http://" + d.listener.Addr().String() + "/" + name
}

// ServeHTTP implements http.Handler.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet { // who only looks whether it is there uses nothing up
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "use GET", http.StatusMethodNotAllowed)
		return
	}
	to := d.outside
	if d.takes(r.URL.Path) {
		to = d.inside
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Location", to) // not by http.Redirect, which would write it into a page as well
	w.WriteHeader(http.StatusSeeOther)
}

// takes uses an invitation up.
func (d *door) takes(path string) bool {
	if path == "" {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	until, known := d.invites[path[1:]]
	delete(d.invites, path[1:])
	return known && d.now().Before(until)
}
