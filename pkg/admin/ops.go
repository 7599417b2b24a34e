package admin

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"

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
type Ops struct{ *server }

// NewOps binds the address and serves nothing until Run. Close frees it if Run is
// never called.
func NewOps(cfg OpsConfig) (*Ops, error) {
	s, err := newServer("metrics and health", "ROWBELL_OPS_LISTEN", cfg.Listen, opsHandler(cfg), cfg.Logger)
	if err != nil {
		return nil, err
	}
	return &Ops{s}, nil
}

func opsHandler(cfg OpsConfig) http.Handler {
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
