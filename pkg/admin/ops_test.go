package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// start serves until the test ends and returns the base URL and the way to stop.
func start(t *testing.T, checks ...Check) (base string, reg *prometheus.Registry, stop func() error) {
	t.Helper()
	reg = NewRegistry("1.2.3", "abc")
	o, err := NewOps(OpsConfig{Listen: "127.0.0.1:0", Registry: reg, Checks: checks, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	var once error
	ended := false
	stop = func() error {
		if !ended {
			cancel()
			once, ended = <-done, true
		}
		return once
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return "http://" + o.Addr().String(), reg, stop
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func fixed(name string, live bool, message string, err error) Check {
	return Check{Name: name, Live: live, Run: func(context.Context) (string, error) { return message, err }}
}

func TestEndpoints(t *testing.T) {
	base, reg, _ := start(t)
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "rowbell_test_total", Help: "x"})
	reg.MustRegister(c)
	c.Inc()
	status, body := get(t, base+"/metrics")
	for _, want := range []string{`rowbell_build_info{revision="abc",version="1.2.3"} 1`, "rowbell_test_total 1", "go_goroutines", "process_start_time_seconds"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not in /metrics", want)
		}
	}
	if status != 200 {
		t.Errorf("/metrics: status %d", status)
	}
	if status, body := get(t, base+"/debug/pprof/goroutine?debug=1"); status != 200 || !strings.Contains(body, "goroutine profile") {
		t.Errorf("/debug/pprof/goroutine: status %d", status)
	}
	if status, _ := get(t, base+"/debug/pprof/cmdline"); status != 403 {
		t.Errorf("/debug/pprof/cmdline: status %d", status)
	}
	if status, body := get(t, base+"/"); status != 200 || !strings.Contains(body, "/readyz") {
		t.Errorf("/: status %d, %s", status, body)
	}
	if status, _ := get(t, base+"/nothing"); status != 404 {
		t.Errorf("/nothing: status %d", status)
	}
}

func TestHealth(t *testing.T) {
	broken := &Problem{Message: "nothing came back for 42s", Mend: "Look at the slot"}
	for name, c := range map[string]struct {
		checks      []Check
		live, ready int
	}{
		"no checks":           {nil, 200, 200},
		"all hold":            {[]Check{fixed("slot", true, "reads", nil), fixed("schema", false, "", nil)}, 200, 200},
		"an operator's":       {[]Check{fixed("slot", true, "reads", nil), fixed("heartbeat", false, "", broken)}, 200, 503},
		"no progress":         {[]Check{fixed("heartbeat", true, "", broken)}, 503, 503},
		"a warning":           {[]Check{fixed("lag", true, "", &Problem{Message: "far behind", Warning: true})}, 200, 200},
		"an error of no kind": {[]Check{fixed("state", false, "", errors.New("connection refused"))}, 200, 503},
	} {
		t.Run(name, func(t *testing.T) {
			base, _, _ := start(t, c.checks...)
			if got, body := get(t, base+"/healthz"); got != c.live {
				t.Errorf("/healthz: status %d, want %d: %s", got, c.live, body)
			}
			if got, body := get(t, base+"/readyz"); got != c.ready {
				t.Errorf("/readyz: status %d, want %d: %s", got, c.ready, body)
			}
		})
	}
}

func TestHealthBody(t *testing.T) {
	base, _, _ := start(t,
		fixed("slot", true, "reads slot rowbell", nil),
		fixed("lag", false, "", &Problem{Message: "3 GB of WAL kept", Mend: "Find what holds it", Warning: true}),
		fixed("heartbeat", false, "", &Problem{Message: "none for 42s"}),
	)
	_, body := get(t, base+"/readyz")
	var got Health
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want := []Result{
		{"slot", "ok", "reads slot rowbell", ""},
		{"lag", "warning", "3 GB of WAL kept", "Find what holds it"},
		{"heartbeat", "failing", "none for 42s", ""},
	}
	if got.Status != "failing" || len(got.Checks) != len(want) {
		t.Fatalf("got %s", body)
	}
	for i := range want {
		if got.Checks[i] != want[i] {
			t.Errorf("got %+v, want %+v", got.Checks[i], want[i])
		}
	}
}

// A check that hangs is named, and the others are answered.
func TestHangingCheck(t *testing.T) {
	hang := Check{Name: "state", Run: func(ctx context.Context) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	}}
	h := runChecks(t.Context(), []Check{fixed("slot", true, "reads", nil), hang}, 20*time.Millisecond)
	if h.Checks[0].State != "ok" || h.Checks[1].State != "failing" || h.Status != "failing" {
		t.Errorf("got %+v", h)
	}
}

func TestAddressTaken(t *testing.T) {
	base, _, _ := start(t)
	addr := strings.TrimPrefix(base, "http://")
	_, err := NewOps(OpsConfig{Listen: addr, Registry: NewRegistry("", ""), Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		t.Fatal("the port was taken twice")
	}
	for _, want := range []string{addr, "ROWBELL_OPS_LISTEN", "another process has this port"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
}

// Stopping doesn't wait for a profile that would take a minute.
func TestStopEndsRequests(t *testing.T) {
	entered := make(chan struct{})
	base, _, stop := start(t, Check{Name: "slow", Run: func(ctx context.Context) (string, error) {
		close(entered)
		<-ctx.Done()
		return "", ctx.Err()
	}})
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, base+"/readyz", nil)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-entered
	began := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("stopping took %v", took)
	}
	<-answered
}
