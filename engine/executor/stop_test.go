package executor_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/engine/executor"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// A stop gives back at once what waits; what runs ends and is written.
func TestStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", actions: []action{{config: `{"to": "hangs"}`}}})
	w.probe.hang("hangs")
	p := w.start(t, "p1", func(c *executor.Config) { c.PerDestination = 4 })
	p.record(t, w.batch(f, 20), lease)
	pgtest.Eventually(t, soon, "all is leased, and some hang", func() bool {
		return w.probe.runningNow("") == 4 && w.rows(t, `select string_agg(distinct state, ' ') from rowbell.delivery`) == "leased"
	})
	// What is just being recorded, too.
	late := w.batch(f, 5)
	p.Reserve(late.Deliveries)
	p.stop()
	pgtest.Eventually(t, soon, "what waits is given back", func() bool {
		return w.rows(t, `select string_agg(state || n, ' ' order by state) from (select state, count(*) n from rowbell.delivery group by 1) s`) == "leased4 ready16"
	})
	w.rec.LeaseTo("p1", lease)
	w.record(t, late)
	p.Recorded(late.Deliveries, time.Now(), true)
	pgtest.Eventually(t, soon, "so is what was being recorded", func() bool {
		return w.rows(t, `select string_agg(state || n, ' ' order by state) from (select state, count(*) n from rowbell.delivery group by 1) s`) == "leased4 ready21"
	})
	more := w.batch(f, 1)
	if p.Reserve(more.Deliveries); more.Deliveries[0].Leased {
		t.Error("there is room yet")
	}
	p.Recorded(more.Deliveries, time.Now(), false)
	select {
	case <-p.ended:
		t.Error("it has ended before what runs")
	default:
	}
	w.probe.open()
	p.wait(t, 10*time.Second)
	if got := w.log(t, f); got != "pending 21, success 4" {
		t.Errorf("the log says %s", got)
	}
	w.start(t, "p2")
	w.eventually(t, f, "success 25")
	if deliveries, attempts := w.probe.counts(); deliveries != 25 || attempts != 25 {
		t.Errorf("%d deliveries in %d attempts", deliveries, attempts)
	}
}

// The end of work cuts off what hangs, and gives it back untried.
func TestStopAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", actions: []action{{config: `{"to": "hangs"}`}}})
	w.probe.hang("hangs")
	p := w.start(t, "p1", func(c *executor.Config) { c.PerDestination = 4 })
	p.record(t, w.batch(f, 20), lease)
	pgtest.Eventually(t, soon, "some hang", func() bool { return w.probe.runningNow("") == 4 })
	p.stop()
	p.kill()
	p.wait(t, 5*time.Second)
	if got := w.rows(t, `select distinct concat_ws(' ', state, attempts, error) from rowbell.delivery`); got != "ready 0" {
		t.Errorf("deliveries are: %s", got)
	}
	w.probe.open()
	w.start(t, "p2")
	w.eventually(t, f, "success 20")
}

// cutQueue has its claims end after the executor was stopped.
type cutQueue struct {
	executor.Queue
	stopped chan struct{}
	claimed *atomic.Int32
}

func (q cutQueue) Claim(ctx context.Context, c workflow.Claim) (workflow.Claimed, error) {
	got, err := q.Queue.Claim(ctx, c)
	q.claimed.Add(int32(len(got.Deliveries)))
	if len(got.Deliveries) > 0 {
		<-q.stopped
		select {
		case <-ctx.Done(): // then the connection would be gone, and with it the answer
			return workflow.Claimed{}, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return got, err
}

// A claim that a stop comes upon is not lost.
func TestStopDuringClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stopped, claimed := make(chan struct{}), new(atomic.Int32)
	w.wrapQueue = func(q executor.Queue) executor.Queue { return cutQueue{q, stopped, claimed} }
	f := w.define(t, definition{id: "f", actions: []action{{}}})
	w.queued(t, f, 20)
	p := w.start(t, "p1")
	pgtest.Eventually(t, soon, "they are claimed", func() bool { return claimed.Load() == 20 })
	p.stop()
	close(stopped)
	p.wait(t, 10*time.Second)
	if got := w.rows(t, `select coalesce(string_agg(distinct state, ' '), 'none') from rowbell.delivery`); got == "leased" {
		t.Error("they are leased to a process that is gone")
	}
}

// Outcomes that can't be written are written when state is back, without another attempt.
func TestStateAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	proxy, url := pgtest.ProxyURL(t, w.db.URL)
	f := w.define(t, definition{id: "f", settings: `{"retry": ["10ms"]}`, actions: []action{{config: `{"to": "hangs"}`}}})
	w.probe.hang("hangs")
	w.probe.does(func(_ context.Context, d *actions.Delivery) (actions.Result, error) {
		if d.Attempt == 1 {
			return actions.Result{}, errors.New("once more")
		}
		return actions.Result{}, nil
	})
	p := w.startOn(t, url, "p1")
	p.record(t, w.batch(f, 30), lease)
	pgtest.Eventually(t, soon, "they hang", func() bool { return w.probe.runningNow("") == 16 })
	proxy.Refuse()
	w.probe.open()
	pgtest.Eventually(t, soon, "all are tried, and nothing of it can be written", func() bool {
		n, _ := w.probe.counts()
		return n == 30 && p.gauge(t, "rowbell_settle_failures_total") >= 3
	})
	proxy.Resume()
	w.eventually(t, f, "success 30")
	if deliveries, attempts := w.probe.counts(); deliveries != 30 || attempts != 60 {
		t.Errorf("%d deliveries in %d attempts", deliveries, attempts)
	}
}

// However often connections break: the log has each attempt once.
func TestConnectionsBreak(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	proxy, url := pgtest.ProxyURL(t, w.db.URL)
	f := w.define(t, definition{id: "f", settings: `{"retry": ["10ms","10ms"]}`, actions: []action{{config: `{"to": "a"}`}}})
	several := w.define(t, definition{id: "several", settings: `{"retry": ["10ms","10ms"]}`, actions: []action{{}, {kind: "mail"}, {order: 1}}, recipients: []string{"user:ann", "user:ben"}})
	w.probe.does(func(_ context.Context, d *actions.Delivery) (actions.Result, error) {
		if d.Attempt < 3 {
			return actions.Result{}, errors.New("once more")
		}
		return actions.Result{}, nil
	})
	p := w.startOn(t, url, "p1", func(c *executor.Config) { c.Lease = 2 * time.Second })
	cuts := 0
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 10 {
		p.record(t, w.batch(f, 10), 2*time.Second)
		w.queued(t, f, 10)
		p.record(t, w.batch(several, 10), 2*time.Second)
		for range 3 {
			<-tick.C
			proxy.Cut()
			cuts++
		}
	}
	w.eventually(t, f, "success 200")
	w.eventually(t, several, "success 100")
	if got := w.rows(t, `select numbers || ' ' || count(*) from (
			select delivery_id, string_agg(attempt || outcome, ' ' order by attempt) as numbers from rowbell.delivery_attempt group by 1
		) a group by numbers`); got != "1retry 2retry 3succeeded 600" {
		t.Errorf("attempts in the log: %s", got)
	}
	_, attempts := w.probe.counts()
	t.Logf("%d cuts, %d attempts for 1800", cuts, attempts)
}

// A stop doesn't wait for a state database that is away.
func TestStopWhileAway(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(*pgtest.TCPProxy){"down": (*pgtest.TCPProxy).Refuse, "silent": (*pgtest.TCPProxy).Pause} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			proxy, url := pgtest.ProxyURL(t, w.db.URL)
			f := w.define(t, definition{id: "f", actions: []action{{config: `{"to": "hangs"}`}}})
			w.probe.hang("hangs")
			p := w.startOn(t, url, "p1", func(c *executor.Config) { c.PerDestination = 4 })
			p.record(t, w.batch(f, 200), lease)
			pgtest.Eventually(t, soon, "some hang", func() bool { return w.probe.runningNow("") == 4 })
			away(proxy)
			w.probe.open()
			pgtest.Eventually(t, soon, "some were delivered", func() bool { n, _ := w.probe.counts(); return n > 4 })
			p.stop()
			p.kill()
			p.wait(t, 9*time.Second)
			proxy.Resume()
		})
	}
}
