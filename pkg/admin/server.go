package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"
)

// server is a listener with what it serves.
type server struct {
	what     string // it serves, for messages
	listener net.Listener
	server   *http.Server
	log      *slog.Logger
	requests context.CancelFunc // ends what is being served
}

// shutdown is how long requests may take to end once the listener is closed.
// Their contexts are over by then, so only a stuck reader of a body waits longer.
const shutdown = 3 * time.Second

// newServer binds an address, which a setting names, and serves nothing until Run. Close
// frees it if Run is never called.
func newServer(what, setting, address string, handler http.Handler, log *slog.Logger) (*server, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for %s on %s (%s): %s", what, address, setting, listenReason(err))
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{what: what, listener: l, log: log, requests: cancel}
	s.server = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// listenReason says why an address can't be taken, and what to do.
func listenReason(err error) string {
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another process has this port. Stop it, or choose another port"
	case errors.Is(err, syscall.EACCES):
		return "this user may not take this port. Choose one above 1023"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine has no such address. Use 127.0.0.1, or leave the host out for all addresses"
	case errors.As(err, &dns):
		return fmt.Sprintf("the host %s is not known. Use an address, as 127.0.0.1", dns.Name)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

// Addr is the address that was taken, with its real port.
func (s *server) Addr() net.Addr { return s.listener.Addr() }

// Close gives the address back without serving.
func (s *server) Close() error {
	s.requests()
	return s.listener.Close()
}

// Run serves until ctx ends, then lets requests end and returns nil. Any other
// return means that the listener broke.
func (s *server) Run(ctx context.Context) error {
	s.log.InfoContext(ctx, "serving", "what", s.what, "addr", s.Addr().String())
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		s.requests()
		fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdown)
		defer cancel()
		err := s.server.Shutdown(fresh)
		if err != nil {
			err = s.server.Close()
		}
		stopped <- err
	})
	err := s.server.Serve(s.listener)
	if stop() { // ctx hasn't ended: Serve broke of itself
		s.requests()
		return fmt.Errorf("serve %s on %s: %w", s.what, s.Addr(), err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("close the listener for %s: %w", s.what, err)
	}
	return nil
}
