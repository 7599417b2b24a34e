package faulttest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// durable is a server of the test's own that keeps what it has said is committed.
func durable(t *testing.T) *localpg.Server {
	t.Helper()
	return pgtest.Server(t, localpg.Options{Template: true, FSync: true})
}

// TestServerRestarted stops the server in every way, and kills it, while rows are
// written. The worker runs on.
func TestServerRestarted(t *testing.T) {
	t.Parallel()
	server := durable(t)
	w := newWorld(t, pgtest.DBOn(t, server), binary(t, ""))
	report(t, w)(restartScenario(w, server, 6*chaos(), 6000*chaos()))
}

func restartScenario(w *world, server *localpg.Server, restarts, rows int) (outcome, error) {
	ctx := w.t.Context()
	l := startLoad(ctx, w, rows, true)
	defer l.abandon()
	k, err := w.start("worker")
	if err != nil {
		return outcome{}, err
	}
	var back []time.Duration
	for n := range restarts {
		if _, err := k.waitFor(msgHolding, n+1, patience); err != nil {
			return outcome{}, err
		}
		if err := l.during(ctx, w.upTo(time.Second), rows/restarts); err != nil {
			return outcome{}, err
		}
		end := func() {}
		if w.settles != nil {
			end = w.settles.breaks()
		}
		if err := stopServer(ctx, server, pick(w.rng, []string{"fast", "immediate", "kill"})); err != nil {
			return outcome{}, err
		}
		if err := pause(ctx, w.upTo(300*time.Millisecond)); err != nil {
			return outcome{}, err
		}
		if err := server.Restart(ctx); err != nil {
			return outcome{}, err
		}
		start := time.Now()
		if _, err := k.waitFor(msgHolding, n+2, patience); err != nil {
			return outcome{}, err
		}
		end()
		back = append(back, time.Since(start).Round(time.Millisecond))
	}
	w.t.Logf("holding the slot again after the server accepted connections: %v", back)
	return w.drainAndStop(l, k)
}

// stopServer stops the server, or kills it as a crash would.
func stopServer(ctx context.Context, server *localpg.Server, how string) error {
	switch how {
	case "fast":
		_, err := fastStop(ctx, server)
		return err
	case "immediate":
		return server.Stop(ctx, localpg.Immediate)
	}
	return server.Kill()
}

// fastStop is pg_ctl stop -m fast. The server waits until its walsenders have left.
func fastStop(ctx context.Context, server *localpg.Server) (time.Duration, error) {
	const most = 5 * time.Second
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := server.Stop(ctx, localpg.Fast); err != nil {
		return 0, err
	}
	took := time.Since(start).Round(time.Millisecond)
	if took > most {
		return took, fmt.Errorf("the server's fast shutdown took %s with a worker attached, more than %s", took, most)
	}
	return took, nil
}

// drainAndStop lets the load end, waits until all is in the log, stops the worker and
// compares.
func (w *world) drainAndStop(l *load, ks ...*worker) (outcome, error) {
	ctx := w.t.Context()
	if err := l.finish(ctx); err != nil {
		return outcome{}, errors.Join(w.alarm(), err)
	}
	if err := w.drain(ctx, patience); err != nil {
		return outcome{}, err
	}
	if w.settles != nil {
		if err := w.settled(ctx); err != nil {
			return outcome{}, err
		}
	}
	for _, k := range ks {
		if !k.running() {
			return outcome{}, k.endedByItself()
		}
		if err := k.stop(patience); err != nil {
			return outcome{}, err
		}
	}
	return w.verify(ctx)
}

// TestFastShutdown: a worker never holds up the server's shutdown, idle or under load,
// and goes on when the server is back.
func TestFastShutdown(t *testing.T) {
	t.Parallel()
	server := durable(t)
	w := newWorld(t, pgtest.DBOn(t, server), binary(t, ""))
	report(t, w)(shutdownScenario(w, server, 2*chaos()))
}

func shutdownScenario(w *world, server *localpg.Server, rounds int) (outcome, error) {
	ctx := w.t.Context()
	k, err := w.start("worker")
	if err != nil {
		return outcome{}, err
	}
	holdings := 0
	stop := func(under string) error {
		took, err := fastStop(ctx, server)
		if err != nil {
			return fmt.Errorf("%s: %w", under, err)
		}
		w.t.Logf("fast shutdown, %s: %s", under, took)
		if err := server.Restart(ctx); err != nil {
			return err
		}
		holdings++
		_, err = k.waitFor(msgHolding, holdings+1, patience)
		return err
	}
	if _, err := k.waitFor(msgHolding, 1, patience); err != nil {
		return outcome{}, err
	}
	for range rounds {
		if err := w.drain(ctx, patience); err != nil {
			return outcome{}, err
		}
		if err := pause(ctx, 2*time.Second); err != nil {
			return outcome{}, err
		}
		if err := stop("idle"); err != nil {
			return outcome{}, err
		}
	}
	l := startLoad(ctx, w, 6000*rounds, true)
	defer l.abandon()
	for range rounds {
		if err := l.during(ctx, time.Second, 3000); err != nil {
			return outcome{}, err
		}
		if err := stop("under load"); err != nil {
			return outcome{}, err
		}
	}
	return w.drainAndStop(l, k)
}

// TestConnectionCut breaks the worker's connections by resets, by refusing new ones, and
// by silence.
func TestConnectionCut(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"source and state", "source alone"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, migrated(t), binary(t, ""))
			proxy, url := pgtest.ProxyURL(t, w.db.URL)
			w.source = url
			if name == "source alone" {
				w.env = append(w.env, "ROWBELL_STATE_URL="+w.db.URL)
			}
			report(t, w)(cutScenario(w, proxy, 8*chaos(), 6000*chaos()))
		})
	}
}

func cutScenario(w *world, proxy *pgtest.TCPProxy, cuts, rows int) (outcome, error) {
	ctx := w.t.Context()
	l := startLoad(ctx, w, rows, false)
	defer l.abandon()
	k, err := w.start("worker")
	if err != nil {
		return outcome{}, err
	}
	silence := w.rng.IntN(cuts) // one of them outlasts every timeout
	for n := range cuts {
		length := w.upTo(700 * time.Millisecond)
		if err := l.during(ctx, w.upTo(1500*time.Millisecond), rows/cuts); err != nil {
			return outcome{}, err
		}
		switch how := w.rng.IntN(3); {
		case n == silence:
			length = 8 * time.Second
			proxy.Pause()
		case how == 0:
			proxy.Pause()
		case how == 1:
			proxy.Refuse()
		default:
			proxy.Cut()
		}
		if err := pause(ctx, length); err != nil {
			return outcome{}, err
		}
		proxy.Resume()
		if !k.running() {
			return outcome{}, k.endedByItself()
		}
		if err := w.alarm(); err != nil {
			return outcome{}, err
		}
	}
	return w.drainAndStop(l, k)
}
