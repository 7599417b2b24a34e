package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/change"
)

var discard = slog.New(slog.DiscardHandler)

// config is a worker's that sends nothing and is not disturbed by its own timers.
func config(url string) app.Config {
	return app.Config{
		SourceURL: url, Listen: app.ListenOff, OpsListen: "127.0.0.1:0", Delivery: app.DeliveryHold, NoMigrate: true, HeartbeatInterval: 10 * time.Minute,
		SecretKey: benchKey, EgressAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		StormTransaction: app.StormOff, StormMinute: app.StormOff, // all of it is to be recorded as it is at other times
	}
}

// Drained is what a worker process says of its drain.
type Drained struct {
	Mallocs uint64 // heap objects allocated from holding the slot to the end
	// Ready is how long it took to hold the slot, the definitions loaded, and Took how long
	// all the WAL took from there on, binding the definitions to their table included, in
	// seconds.
	Ready, Took float64
}

// Drain is the measured process: a worker that runs until a transaction that commits
// behind mark is recorded. It prints a Drained as JSON.
func Drain(ctx context.Context, url, mark string, coalesce app.CoalesceMode, out io.Writer) error {
	lsn, err := change.ParseLSN(mark)
	if err != nil {
		return err
	}
	cfg := config(url)
	cfg.ReadCoalescing = coalesce
	a, err := app.New(cfg, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), "bench", "")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	var before, after runtime.MemStats
	held := false
	began := time.Now()
	var ready time.Duration
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case err := <-ended:
			return errors.Join(errors.New("the worker ended before its work was done"), err)
		}
		at := a.Recorded()
		if !held && at.EndLSN != 0 {
			runtime.ReadMemStats(&before)
			held = true
			ready = time.Since(began)
		}
		if at.Position.CommitLSN >= lsn {
			break
		}
	}
	runtime.ReadMemStats(&after)
	return json.NewEncoder(out).Encode(Drained{Mallocs: after.Mallocs - before.Mallocs, Ready: ready.Seconds(), Took: (time.Since(began) - ready).Seconds()})
}

// run is one measured process.
type run struct {
	took   time.Duration
	rss    int64 // peak resident set, bytes
	cpu    time.Duration
	result Drained
}

// drain runs Drain in a process of its own.
func (w *workload) drain(ctx context.Context, coalesce app.CoalesceMode) (run, error) {
	if err := w.reset(ctx); err != nil {
		return run{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return run{}, err
	}
	r, out, err := timed(exec.CommandContext(ctx, self, "drain", w.url, w.mark.String(), string(coalesce)))
	if err != nil {
		return r, fmt.Errorf("drain %s: %w", w.name, err)
	}
	if err := json.Unmarshal(out, &r.result); err != nil {
		return r, fmt.Errorf("drain %s printed %q: %w", w.name, out, err)
	}
	n, err := w.count(ctx)
	if err == nil && n != w.want {
		err = fmt.Errorf("drain %s recorded %d executions, want %d", w.name, n, w.want)
	}
	return r, err
}

// reference drains the same WAL with pg_recvlogical, into nothing.
func (w *workload) reference(ctx context.Context, binDir string) (run, error) {
	if err := w.reset(ctx); err != nil {
		return run{}, err
	}
	r, _, err := timed(exec.CommandContext(ctx, filepath.Join(binDir, "pg_recvlogical"), "--dbname", w.url, "--slot", "rowbell", "--start",
		"--endpos", w.end.String(), "--file", "/dev/null", "--no-loop",
		"--option", "proto_version=1", "--option", `publication_names="rowbell","rowbell_insert"`, "--option", "messages=true"))
	if err != nil {
		return r, fmt.Errorf("pg_recvlogical on %s: %w", w.name, err)
	}
	return r, nil
}

func timed(cmd *exec.Cmd) (run, []byte, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	start := time.Now()
	err := cmd.Run()
	r := run{took: time.Since(start)}
	if err != nil {
		return r, nil, fmt.Errorf("%w: %s", err, errs.String())
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	r.rss = usage.Maxrss << 10
	r.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return r, out.Bytes(), nil
}

// openPool is for what a measured process reads beside its worker.
func openPool(ctx context.Context, url string) (*pgxpool.Pool, error) { return pgxpool.New(ctx, url) }
