package executor_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/engine/executor"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// other opens a queue of a process that is not an executor.
func (w *world) other(t testing.TB, process string, lease time.Duration) *store.Queue {
	t.Helper()
	q := w.state.Queue(process, lease)
	t.Cleanup(func() { _ = q.Close(context.Background()) })
	return q
}

func claimAll(t testing.TB, q *store.Queue) []*workflow.Leased {
	t.Helper()
	got, err := q.Claim(t.Context(), workflow.Claim{After: math.MinInt64, Most: 1000, PerLane: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return got.Deliveries
}

// What a process had leased that is gone is taken over when its leases end.
func TestTakesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", actions: []action{{}}})
	w.queued(t, f, 20)
	claimed := time.Now()
	if n := len(claimAll(t, w.other(t, "gone", 1500*time.Millisecond))); n != 20 {
		t.Fatalf("%d were claimed", n)
	}
	w.start(t, "p1")
	w.eventually(t, f, "success 20")
	w.probe.mu.Lock()
	defer w.probe.mu.Unlock()
	if len(w.probe.at) != 20 || w.probe.at[0].at.Sub(claimed) < 1500*time.Millisecond {
		t.Errorf("%d attempts, the first after %s", len(w.probe.at), w.probe.at[0].at.Sub(claimed))
	}
}

// Whoever has lost a lease while an attempt hung has no say any more.
func TestLosesLease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", settings: `{"retry": ["1ms"]}`, actions: []action{{config: `{"to": "hangs"}`}}})
	w.probe.hang("hangs")
	w.probe.does(func(context.Context, *actions.Delivery) (actions.Result, error) {
		return actions.Result{Code: 500}, errors.New("too late")
	})
	const short = time.Second
	p := w.start(t, "p1", func(c *executor.Config) { c.PerDestination, c.Lease = 2, short })
	p.record(t, w.batch(f, 6), short) // 2 hang, 4 wait
	pgtest.Eventually(t, soon, "it hangs", func() bool { return w.probe.runningNow("") == 2 })
	// In one statement, so that the executor's own claim does not come between.
	w.db.Exec(t, `update rowbell.queue set lease_by = 'other', lease_until = clock_timestamp() + interval '1 h'`)
	taken := time.Now()
	pgtest.Eventually(t, soon, "its lease has passed", func() bool { return time.Since(taken) > short })
	w.probe.open()
	pgtest.Eventually(t, soon, "they count for nothing", func() bool { return p.gauge(t, "rowbell_leases_lost_total") == 6 })
	if n, _ := w.probe.counts(); n != 2 {
		t.Errorf("%d were tried, 4 of them without a lease", n)
	}
	if got := w.log(t, f); got != "pending 6" {
		t.Fatalf("the log says %s", got)
	}
	if got := w.rows(t, `select distinct concat_ws(' ', state, lease_by, attempts, error) from rowbell.delivery`); got != "leased other 0" {
		t.Errorf("deliveries are: %s", got)
	}
	other := w.other(t, "other", lease)
	w.db.Exec(t, `update rowbell.queue set lease_until = clock_timestamp() - interval '1 s'`)
	p.stop() // or it claims them itself
	var outcomes []workflow.Outcome
	pgtest.Eventually(t, soon, "the other one has them", func() bool {
		for _, l := range claimAll(t, other) {
			outcomes = append(outcomes, workflow.Outcome{Leased: l, Verb: workflow.Succeeded, Tried: true, StartedAt: time.Now(), Response: "by another"})
		}
		return w.rows(t, `select distinct concat(lease_by, lease_until is not null) from rowbell.queue`) == "othert"
	})
	if _, err := other.Settle(t.Context(), outcomes); err != nil {
		t.Fatal(err)
	}
	if got := w.log(t, f); got != "success 6" {
		t.Errorf("the log says %s", got)
	}
}

// slowSource answers only when it is let go.
type slowSource struct {
	executor.Store
	asked, let chan struct{}
}

func (s slowSource) Statuses(ctx context.Context, ids []string) (map[string]workflow.Status, error) {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	select {
	case <-s.let:
	case <-ctx.Done():
	}
	return s.Store.Statuses(ctx, ids)
}

// An attempt that has waited for the source begins only if its lease lasts yet.
func TestLosesLeaseBeforeAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source := slowSource{asked: make(chan struct{}, 1), let: make(chan struct{})}
	w.wrapStore = func(s executor.Store) executor.Store { source.Store = s; return source }
	f := w.define(t, definition{id: "f", actions: []action{{}}})
	const short = time.Second
	p := w.start(t, "p1", func(c *executor.Config) { c.Lease = short })
	p.record(t, w.batch(f, 3), short)
	<-source.asked
	w.db.Exec(t, `update rowbell.queue set lease_by = 'other', lease_until = clock_timestamp() + interval '1 h'`)
	taken := time.Now()
	pgtest.Eventually(t, soon, "its lease has passed", func() bool { return time.Since(taken) > short })
	close(source.let)
	pgtest.Eventually(t, soon, "they count for nothing", func() bool { return p.gauge(t, "rowbell_leases_lost_total") == 3 })
	if n, _ := w.probe.counts(); n != 0 {
		t.Errorf("%d were tried without a lease", n)
	}
}

// A lease lasts as long as the attempt, and the wait for it.
func TestRenews(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", actions: []action{{config: `{"to": "hangs"}`}}})
	w.probe.hang("hangs")
	short := func(c *executor.Config) { c.Lease, c.PerDestination = time.Second, 1 }
	p := w.start(t, "p1", short)
	p.record(t, w.batch(f, 5), time.Second)
	pgtest.Eventually(t, soon, "it hangs", func() bool { return w.probe.runningNow("") == 1 })
	w.start(t, "p2", short) // would take what runs out
	leases := make(map[string]bool)
	pgtest.Eventually(t, soon, "leases are renewed", func() bool {
		leases[w.rows(t, `select string_agg(lease_by || lease_until, ' ' order by execution_id) from rowbell.queue`)] = true
		return len(leases) >= 8
	})
	for l := range leases {
		if strings.Contains(l, "p2") {
			t.Fatalf("taken by another one: %s", l)
		}
	}
	w.probe.open()
	w.eventually(t, f, "success 5")
	if deliveries, attempts := w.probe.counts(); deliveries != 5 || attempts != 5 {
		t.Errorf("%d deliveries in %d attempts", deliveries, attempts)
	}
}

// Executors that share a queue deliver each once, however deliveries are mixed.
func TestShareQueue(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.probe.does(func(_ context.Context, d *actions.Delivery) (actions.Result, error) {
				if d.Workflow.ID == "again" && d.Attempt == 1 {
					return actions.Result{}, errors.New("once more")
				}
				return actions.Result{}, nil
			})
			sole := w.define(t, definition{id: "sole", actions: []action{{config: `{"to": "a"}`}}})
			several := w.define(t, definition{id: "several", actions: []action{{config: `{"to": "a"}`}, {config: `{"to": "b"}`}, {order: 1}}})
			again := w.define(t, definition{id: "again", settings: `{"retry": ["5ms"]}`, actions: []action{{config: `{"to": "c"}`}}})
			mails := w.define(t, definition{id: "mails", actions: []action{{kind: "mail"}}, recipients: []string{"user:ann", "user:ben"}})
			all := []*defined{sole, several, again, mails}
			w.queued(t, sole, 200)
			w.queued(t, several, 100)
			var first *process
			for i := range n {
				p := w.start(t, fmt.Sprint("p", i), func(c *executor.Config) { c.Concurrency, c.Held, c.PerDestination = 8, 100, 4 })
				if i == 0 {
					first = p
				}
			}
			w.queued(t, again, 100)
			first.record(t, w.batch(several, 50), lease)
			first.record(t, w.batch(mails, 50), lease)
			w.queued(t, mails, 50)
			for i, want := range []string{"success 200", "success 150", "success 100", "success 100"} {
				w.eventually(t, all[i], want)
			}
			if deliveries, attempts := w.probe.counts(); deliveries != 200+450+100+200 || attempts != 200+450+200+200 {
				t.Errorf("%d deliveries in %d attempts", deliveries, attempts)
			}
			if got := w.rows(t, `select concat_ws(' ', (select count(*) from rowbell.delivery_done where status = 'succeeded'), (select count(*) from rowbell.delivery_attempt),
				(select count(*) from rowbell.queue), (select count(*) from rowbell.execution_open))`); got != "950 1050 0 0" {
				t.Errorf("done, attempts, queue, open: %s", got)
			}
		})
	}
}
