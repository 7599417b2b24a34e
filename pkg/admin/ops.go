package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewRegistry makes the registry that /metrics shows, with what the Go runtime and
// the process tell, and with rowbell_build_info. Nothing registers globally.
func NewRegistry(version, revision string) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "rowbell_build_info",
		Help: "Always 1; the labels say which build runs.",
	}, []string{"version", "revision"})
	info.WithLabelValues(version, revision).Set(1)
	reg.MustRegister(info)
	return reg
}

// OpsConfig is what Ops serves.
type OpsConfig struct {
	Listen   string               // host:port; port 0 takes any free one
	Registry *prometheus.Registry // of /metrics
	Checks   []Check              // of /readyz, and those that are Live of /healthz
	Logger   *slog.Logger
}

// Ops is the ops listener: /metrics, /healthz, /readyz and /debug/pprof.
type Ops struct {
	listener net.Listener
	server   *http.Server
	log      *slog.Logger
	requests context.CancelFunc // ends what is being served
}

// opsShutdown is how long requests may take to end once the listener is closed.
// Their contexts are over by then, so only a stuck reader of a body waits longer.
const opsShutdown = 3 * time.Second

// NewOps binds the address and serves nothing until Run. Close frees it if Run is
// never called.
func NewOps(cfg OpsConfig) (*Ops, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for metrics and health on %s (ROWBELL_OPS_LISTEN): %s", cfg.Listen, listenReason(err))
	}
	ctx, cancel := context.WithCancel(context.Background())
	o := &Ops{listener: l, log: cfg.Logger, requests: cancel}
	o.server = &http.Server{
		Handler:           o.handler(cfg),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	return o, nil
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

func (o *Ops) handler(cfg OpsConfig) http.Handler {
	var live []Check
	for _, c := range cfg.Checks {
		if c.Live {
			live = append(live, c)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.InstrumentMetricHandler(cfg.Registry,
		promhttp.HandlerFor(cfg.Registry, promhttp.HandlerOpts{
			ErrorLog:      slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelWarn),
			ErrorHandling: promhttp.ContinueOnError,
		})))
	mux.Handle("GET /healthz", healthHandler(live))
	mux.Handle("GET /readyz", healthHandler(cfg.Checks))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", noCommandLine)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "Rowbell\n\n/metrics       Prometheus metrics\n/healthz       is it getting on\n/readyz        is everything in order\n/debug/pprof/  profiles\n")
	})
	return mux
}

// noCommandLine stands where pprof would print the command line, which may hold a
// database password.
func noCommandLine(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "not served: a command line may hold a password", http.StatusForbidden)
}

// Addr is the address that was taken, with its real port.
func (o *Ops) Addr() net.Addr { return o.listener.Addr() }

// Close gives the address back without serving.
func (o *Ops) Close() error {
	o.requests()
	return o.listener.Close()
}

// Run serves until ctx ends, then lets requests end and returns nil. Any other
// return means that the listener broke.
func (o *Ops) Run(ctx context.Context) error {
	o.log.InfoContext(ctx, "serving metrics and health", "addr", o.Addr().String())
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		o.requests()
		fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), opsShutdown)
		defer cancel()
		err := o.server.Shutdown(fresh)
		if err != nil {
			err = o.server.Close()
		}
		stopped <- err
	})
	err := o.server.Serve(o.listener)
	if stop() { // ctx hasn't ended: Serve broke of itself
		o.requests()
		return fmt.Errorf("serve metrics and health on %s: %w", o.Addr(), err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("close the listener for metrics and health: %w", err)
	}
	return nil
}
