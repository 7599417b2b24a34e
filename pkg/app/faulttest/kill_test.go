package faulttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// patience is how long a worker may take for what takes a second on a machine with
// nothing else to do.
const patience = time.Minute

// TestKilled kills the worker by SIGKILL, and now and then stops it by SIGTERM, at
// random moments from its very first start on, while rows are written and definitions
// change.
func TestKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, migrated(t), binary(t, ""))
	w.defineStanding()
	o, err := killScenario(w, 30*chaos(), 20000*chaos())
	report(t, w)(o, err)
	for _, what := range worthTesting {
		if o.seen[what] == 0 {
			t.Errorf("it never came to this: %s", what)
		}
	}
}

// TestKilledWithStateElsewhere does the same with log and checkpoint in another database
// than the application's, so that no transaction spans both.
func TestKilledWithStateElsewhere(t *testing.T) {
	t.Parallel()
	w := bareWorld(t, pgtest.DB(t), binary(t, ""))
	w.state = pgtest.DB(t).URL
	w.mustRun("migrate")
	w.defineMarker()
	report(t, w)(killScenario(w, 12*chaos(), 8000*chaos()))
}

// report fails the test if the scenario went wrong, and else tells its size.
func report(t *testing.T, w *world) func(outcome, error) {
	return func(o outcome, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v\n%s", err, w.situation())
		}
		t.Logf("exact: %d executions, %d versions of workflows, %d transactions; %v", o.executions, o.versions, o.transactions, o.seen)
	}
}

// load is an application and an administrator at work.
type load struct {
	app     *application
	written chan error // what the application ended with, once it has written all
	edited  chan error
	cancel  context.CancelCauseFunc
}

// startLoad lets rows be written, as far as they are allowed, and definitions change.
func startLoad(ctx context.Context, w *world, rows int, mayBreak bool) *load {
	ctx, cancel := context.WithCancelCause(ctx)
	l := &load{app: newApplication(w.db.URL, rows), written: make(chan error, 1), edited: make(chan error, 1), cancel: cancel}
	l.app.mayBreak = mayBreak
	e := &editor{url: w.db.URL, rng: rand.New(rand.NewPCG(w.rng.Uint64(), 100)), mayBreak: mayBreak, every: 50 * time.Millisecond, hook: w.hook}
	rng := rand.New(rand.NewPCG(w.rng.Uint64(), 101))
	go func() { l.written <- l.app.write(ctx, rng, 4) }()
	go func() { l.edited <- e.run(ctx) }()
	return l
}

// finish lets everything be written, and waits for it.
func (l *load) finish(ctx context.Context) error {
	l.app.allowAll()
	var err error
	select {
	case err = <-l.written:
	case <-time.After(2 * patience):
		err = errors.New("the application has not written its rows")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	l.cancel(errEnded)
	return errors.Join(err, <-l.edited)
}

// abandon ends it, in a scenario that has failed.
func (l *load) abandon() { l.cancel(errEnded) }

// during waits, and lets rows be written meanwhile, in a few bursts.
func (l *load) during(ctx context.Context, d time.Duration, rows int) error {
	const bursts = 4
	for range bursts {
		l.app.allow(rows / bursts)
		if err := pause(ctx, d/bursts); err != nil {
			return err
		}
	}
	return nil
}

// killScenario ends the worker so many times while so many rows are written.
func killScenario(w *world, kills, rows int) (outcome, error) {
	ctx := w.t.Context()
	l := startLoad(ctx, w, rows, false)
	defer l.abandon()
	var stalls sync.WaitGroup
	defer stalls.Wait()
	stops := 0
	for n := range kills {
		k, err := w.start(fmt.Sprint("kill-", n))
		if err != nil {
			return outcome{}, err
		}
		// Some of them die at any time from their start on, others when they are known to
		// read and record, and a few when they read but can't record.
		length := w.upTo(600 * time.Millisecond)
		mode := w.rng.IntN(6)
		if mode < 4 {
			if _, err := k.waitFor(msgHolding, 1, patience); err != nil {
				return outcome{}, errors.Join(err, w.alarm(), errors.New(w.situation()))
			}
			length = w.upTo(300 * time.Millisecond)
		}
		if mode == 0 {
			release, err := w.stall(ctx)
			if err != nil {
				return outcome{}, err
			}
			length = 1200*time.Millisecond + length // longer than the slot waits to be told
			// A statement that waits is carried out after its client has died, perhaps when
			// the next one is at work already.
			after := length + w.upTo(500*time.Millisecond)
			stalls.Go(func() {
				_ = pause(ctx, after)
				release()
			})
		}
		if err := l.during(ctx, length, rows/kills); err != nil {
			return outcome{}, err
		}
		if !k.running() {
			return outcome{}, k.endedByItself()
		}
		if mode > 0 && w.rng.IntN(8) == 0 && k.logged(msgRuns) {
			stops++
			if err := k.stop(patience); err != nil {
				return outcome{}, err
			}
		} else {
			k.kill()
		}
		if err := w.alarm(); err != nil {
			return outcome{}, err
		}
	}
	w.t.Logf("%d workers ended by SIGKILL, %d by SIGTERM", kills-stops, stops)
	k, err := w.start("last")
	if err != nil {
		return outcome{}, err
	}
	return w.drainAndStop(l, k)
}

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d))) }

// stall keeps anything from being recorded until release is called: the checkpoint's row
// is locked, as it would be by a state server that is slow.
func (w *world) stall(ctx context.Context) (release func(), err error) {
	conn, err := connect(ctx, w.state)
	if err != nil {
		return nil, err
	}
	tx, err := conn.Begin(ctx)
	if err == nil {
		_, err = tx.Exec(ctx, "select from rowbell.checkpoint where slot = $1 for update", w.slot)
	}
	if err != nil {
		closeConn(conn)
		return nil, err
	}
	return func() { closeConn(conn) }, nil
}
