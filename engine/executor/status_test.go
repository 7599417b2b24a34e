package executor_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/engine/executor"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// A workflow is turned off while its deliveries wait: in the queue, in memory behind
// something that hangs, and for their next attempt. All are cancelled at once, and none
// comes back.
func TestTurnedOff(t *testing.T) {
	t.Parallel()
	for status, reason := range map[string]string{
		"inactive": "the workflow was turned off", "draft": "the workflow was made a draft", "deleted": "the workflow was deleted",
	} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			hangs := w.define(t, definition{id: "hangs", actions: []action{{config: `{"to": "hangs"}`}}})
			behind := w.define(t, definition{id: "behind", actions: []action{{config: `{"to": "hangs"}`}}})
			fails := w.define(t, definition{id: "fails", settings: `{"retry": ["1h"]}`, actions: []action{{config: `{"to": "fails"}`}}})
			stays := w.define(t, definition{id: "stays", actions: []action{{config: `{"to": "hangs"}`}}})
			w.probe.hang("hangs")
			w.probe.does(func(_ context.Context, d *actions.Delivery) (actions.Result, error) {
				if d.Workflow.ID == "fails" {
					return actions.Result{}, errors.New("no")
				}
				return actions.Result{}, nil
			})
			p := w.start(t, "p1", func(c *executor.Config) { c.PerDestination, c.Sweep = 2, time.Hour })
			p.record(t, w.batch(hangs, 20), lease)
			pgtest.Eventually(t, soon, "two hang", func() bool { return w.probe.runningNow("to hangs") == 2 })
			p.record(t, w.batch(behind, 20), lease) // nothing is tried of this version
			p.record(t, w.batch(stays, 5), lease)
			w.queued(t, fails, 20)
			w.queued(t, hangs, 1000)
			pgtest.Eventually(t, soon, "all were tried", func() bool {
				return w.rows(t, `select concat(count(*) filter (where attempts = 1)) from rowbell.delivery where workflow_id = 'fails'`) == "20"
			})
			for _, f := range []*defined{hangs, behind, fails} {
				w.status(t, f, status)
				p.StatusChanged(f.id)
			}
			off := time.Now()
			w.eventually(t, behind, "cancelled 20")
			w.eventually(t, fails, "cancelled 20")
			w.eventually(t, hangs, "cancelled 1018, pending 2")
			if took := time.Since(off); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
			if got := w.rows(t, `select distinct coalesce(reason, '-') from rowbell.delivery_done`); got != reason {
				t.Errorf("cancelled for: %s, want %s", got, reason)
			}
			if got := w.log(t, stays); got != "pending 5" {
				t.Errorf("of the one that stays on: %s", got)
			}
			_, before := w.probe.counts()
			if status != "deleted" {
				w.status(t, hangs, "active")
				p.StatusChanged("hangs")
			}
			w.probe.open()
			w.eventually(t, hangs, "cancelled 1018, success 2")
			w.eventually(t, stays, "success 5")
			if _, attempts := w.probe.counts(); attempts != before+5 {
				t.Errorf("%d attempts after it was turned off, want the 5 of the other", attempts-before)
			}
			pgtest.Eventually(t, soon, "nothing is held", func() bool { return p.gauge(t, "rowbell_executor_held") == 0 })
		})
	}
}

// Without a word from the source a sweep finds what waits of a workflow that is off.
func TestSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", actions: []action{{}}})
	on := w.define(t, definition{id: "on", actions: []action{{}}})
	w.queued(t, f, 3000)
	w.queued(t, on, 3)
	w.db.Exec(t, `update rowbell.queue set ready_at = clock_timestamp() + interval '1 h'`)
	w.start(t, "p1", func(c *executor.Config) { c.Sweep = 100 * time.Millisecond })
	w.status(t, f, "inactive")
	w.eventually(t, f, "cancelled 3000")
	if got := w.log(t, on); got != "pending 3" {
		t.Errorf("of the other: %s", got)
	}
	if n, _ := w.probe.counts(); n != 0 {
		t.Errorf("%d were sent", n)
	}
}

// Nothing is sent of a workflow that has been off for some time, though nobody said so
// and it has much to do.
func TestStatusIsFresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.probe.does(func(ctx context.Context, _ *actions.Delivery) (actions.Result, error) {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
		return actions.Result{}, nil
	})
	f := w.define(t, definition{id: "f", actions: []action{{}}})
	w.start(t, "p1", func(c *executor.Config) { c.PerDestination, c.Sweep = 1, time.Hour })
	w.queued(t, f, 2000)
	pgtest.Eventually(t, soon, "some are delivered", func() bool { n, _ := w.probe.counts(); return n > 20 })
	w.status(t, f, "inactive")
	off := time.Now()
	pgtest.Eventually(t, soon, "the rest is cancelled", func() bool {
		return w.rows(t, `select concat(count(*)) from rowbell.delivery`) == "0"
	})
	w.probe.mu.Lock()
	defer w.probe.mu.Unlock()
	if last := w.probe.at[len(w.probe.at)-1].at.Sub(off); last > 3*time.Second {
		t.Errorf("sent %s after it was turned off", last)
	}
}

// sourceAway is a store whose source can't be reached while away is set.
type sourceAway struct {
	executor.Store
	away atomic.Bool
}

func (s *sourceAway) Statuses(ctx context.Context, ids []string) (map[string]workflow.Status, error) {
	if s.away.Load() {
		return nil, errors.New("the source is away")
	}
	return s.Store.Statuses(ctx, ids)
}

func (s *sourceAway) Version(ctx context.Context, ref int32) (workflow.Version, error) {
	if s.away.Load() {
		return workflow.Version{}, errors.New("the source is away")
	}
	return s.Store.Version(ctx, ref)
}

// While the source is away, what is known of it counts; the rest waits.
func TestSourceAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var source *sourceAway
	w.wrapStore = func(s executor.Store) executor.Store { source = &sourceAway{Store: s}; return source }
	known := w.define(t, definition{id: "known", actions: []action{{}}})
	unknown := w.define(t, definition{id: "unknown", actions: []action{{}}})
	p := w.start(t, "p1")
	w.queued(t, known, 5)
	w.eventually(t, known, "success 5")
	source.away.Store(true)
	w.queued(t, unknown, 20)
	p.record(t, w.batch(known, 5), lease)
	w.eventually(t, known, "success 10")
	pgtest.Eventually(t, soon, "the others are put off", func() bool {
		return w.rows(t, `select distinct concat_ws(' ', attempts, error) from rowbell.delivery where ready_at > clock_timestamp()`) == "0 the source is away"
	})
	source.away.Store(false)
	w.eventually(t, unknown, "success 20")
	if deliveries, attempts := w.probe.counts(); deliveries != 30 || attempts != 30 {
		t.Errorf("%d deliveries in %d attempts", deliveries, attempts)
	}
}

// What is recorded after a workflow was turned on again is delivered, though it was known
// to be off a moment ago and nobody said that it changed.
func TestTurnedOnAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(t, "p1", func(c *executor.Config) { c.Sweep = time.Hour })
	for n := range 5 {
		f := w.define(t, definition{id: fmt.Sprint("f", n), actions: []action{{}}})
		w.status(t, f, "inactive")
		p.record(t, w.batch(f, 1), lease)
		w.eventually(t, f, "cancelled 1")
		w.status(t, f, "active")
		w.queued(t, f, 5)
		p.record(t, w.batch(f, 5), lease)
		w.eventually(t, f, "cancelled 1, success 10")
	}
}
