package executor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/engine/executor"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Whether they come from memory or by a claim: each is delivered once.
func TestDelivers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", actions: []action{{config: `{"to": "a"}`}}})
	p := w.start(t, "p1")
	fresh := p.record(t, w.batch(f, 50), lease)
	w.queued(t, f, 30)
	w.eventually(t, f, "success 80")
	if deliveries, attempts := w.probe.counts(); deliveries != 80 || attempts != 80 {
		t.Errorf("%d deliveries in %d attempts, want 80 in 80", deliveries, attempts)
	}
	if n := p.gauge(t, "rowbell_deliveries_claimed_total"); n != 30 {
		t.Errorf("%v were claimed, want 30", n)
	}
	id := workflow.DeliveryID(fresh.Executions[0].ID(), 0, "")
	got := w.rows(t, `select concat_ws('|', l.workflow_name, l.status, l.result, d.status, d.attempts, d.code, a.attempt, a.outcome, a.response)
		from rowbell.workflow_log l join rowbell.delivery_done d on d.execution_id = l.id join rowbell.delivery_attempt a on a.delivery_id = d.id where d.id = $1`, id)
	if want := `The f|success|{"response": "thanks"}|succeeded|1|200|1|succeeded|thanks`; got != want {
		t.Errorf("in the log\n got %s\nwant %s", got, want)
	}
}

// A reservation whose recording failed gives its room back.
func TestNotRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", actions: []action{{}}})
	p := w.start(t, "p1", func(c *executor.Config) { c.Held = 20 })
	for range 5 {
		b := w.batch(f, 10)
		p.Reserve(b.Deliveries)
		if !b.Deliveries[0].Leased || !b.Deliveries[9].Leased {
			t.Fatal("there is no room")
		}
		p.Recorded(b.Deliveries, time.Now(), false)
	}
	w.queued(t, f, 3)
	w.eventually(t, f, "success 3")
}

func TestRetries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	busy := func(id string) bool { return strings.HasSuffix(id, "_0") }
	w.probe.does(func(_ context.Context, d *actions.Delivery) (actions.Result, error) {
		switch {
		case d.Workflow.ID == "recovers" && d.Attempt == 3:
			return actions.Result{Code: 200}, nil
		case d.Workflow.ID == "permanent":
			return actions.Result{Code: 404}, &actions.Error{Permanent: true, Err: errors.New("not found")}
		case d.Workflow.ID == "later" && d.Attempt == 1:
			return actions.Result{Code: 429}, &actions.Error{RetryAfter: time.Hour, Err: errors.New("later, please")}
		case d.Workflow.ID == "panics":
			_ = make([]int, 0, 1)[d.Attempt]
		}
		if !busy(d.ID) {
			t.Errorf("an attempt at %s", d.ID)
		}
		return actions.Result{Code: 503, Response: "down"}, fmt.Errorf("attempt %d failed", d.Attempt)
	})
	quick := `{"retry": ["10ms", "10ms"]}`
	recovers := w.define(t, definition{id: "recovers", settings: quick, actions: []action{{}}})
	exhausted := w.define(t, definition{id: "exhausted", settings: `{"retry": ["9h"]}`, actions: []action{{config: `{"retry": ["10ms", "10ms"]}`}}})
	once := w.define(t, definition{id: "once", settings: `{"retry": []}`, actions: []action{{}}})
	permanent := w.define(t, definition{id: "permanent", settings: quick, actions: []action{{}}})
	later := w.define(t, definition{id: "later", settings: quick, actions: []action{{}}})
	panics := w.define(t, definition{id: "panics", settings: `{"retry": ["10ms"]}`, actions: []action{{}}})
	p := w.start(t, "p1")
	for _, f := range []*defined{exhausted, once, permanent, later, panics} {
		w.queued(t, f, 1)
	}
	p.record(t, w.batch(recovers, 1), lease)

	w.eventually(t, recovers, "success 1")
	for _, f := range []*defined{exhausted, once, permanent, panics} {
		w.eventually(t, f, "failure 1")
	}
	pgtest.Eventually(t, soon, "the one that is to come later was tried", func() bool {
		return w.rows(t, `select state || attempts from rowbell.delivery where workflow_id = 'later'`) == "ready1"
	})
	for f, want := range map[*defined]string{
		recovers:  "success 3: 1 retry 503 attempt 1 failed, 2 retry 503 attempt 2 failed, 3 succeeded 200",
		exhausted: "failure gave up after 3 attempts: attempt 3 failed 3: 1 retry 503 attempt 1 failed, 2 retry 503 attempt 2 failed, 3 dead 503 gave up after 3 attempts: attempt 3 failed",
		once:      "failure attempt 1 failed 1: 1 dead 503 attempt 1 failed",
		permanent: "failure not found 1: 1 dead 404 not found",
		later:     "pending later, please 1: 1 retry 429 later, please",
	} {
		got := w.rows(t, `select concat_ws(' ', l.status, l.error, count(*)) || ': ' || string_agg(concat_ws(' ', a.attempt, a.outcome, a.code, a.error), ', ' order by a.attempt)
			from rowbell.workflow_log l join rowbell.delivery_attempt a on a.execution_id = l.id where l.workflow_id = $1 group by l.status, l.error`, f.id)
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", f.id, got, want)
		}
	}
	if got := w.rows(t, `select error from rowbell.workflow_log where workflow_id = 'panics'`); !strings.Contains(got, "panicked") ||
		!strings.Contains(got, "index out of range") || !strings.Contains(got, "executor_test.go") {
		t.Errorf("of the panic the log says %s", got)
	}
	if wait := pgtest.One[float64](t, w.db, `select extract(epoch from ready_at - clock_timestamp())::float8 from rowbell.delivery where workflow_id = 'later'`); wait < 3000 {
		t.Errorf("the one that is to come in an hour comes in %v s", wait)
	}
	// One key for all attempts, counted from 1.
	if deliveries, attempts := w.probe.counts(); deliveries != 6 || attempts != 3+3+1+1+1+2 {
		t.Errorf("%d deliveries in %d attempts", deliveries, attempts)
	}
	id := w.rows(t, `select delivery_id from rowbell.delivery_attempt where execution_id = (select id from rowbell.workflow_log where workflow_id = 'recovers') limit 1`)
	if got := fmt.Sprint(w.probe.attempts(id)); got != "[1 2 3]" {
		t.Errorf("attempts at %s: %s", id, got)
	}
}

// A delivery that is to be tried again at once comes back though the process that has
// just written so has not yet forgotten it.
func TestRetryAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.probe.does(func(_ context.Context, d *actions.Delivery) (actions.Result, error) {
		if d.Attempt <= 10 {
			return actions.Result{}, errors.New("again")
		}
		return actions.Result{}, nil
	})
	f := w.define(t, definition{id: "f", settings: `{"retry": [0,0,0,0,0,0,0,0,0,0,0,0]}`, actions: []action{{}}})
	w.start(t, "p1")
	w.queued(t, f, 200)
	w.eventually(t, f, "success 200")
	if deliveries, attempts := w.probe.counts(); deliveries != 200 || attempts != 2200 {
		t.Errorf("%d deliveries in %d attempts", deliveries, attempts)
	}
}

// A busy receiver has its lane rest; other lanes go on.
func TestBusy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", settings: `{"retry": ["10ms","10ms","10ms","10ms","10ms"]}`, actions: []action{{config: `{"to": "busy"}`}}})
	other := w.define(t, definition{id: "other", actions: []action{{config: `{"to": "free"}`}}})
	w.probe.does(func(_ context.Context, d *actions.Delivery) (actions.Result, error) {
		if d.Workflow.ID == "f" && w.probe.to("busy") == 1 {
			return actions.Result{Code: 429}, &actions.Error{Busy: true, RetryAfter: 1500 * time.Millisecond, Err: errors.New("too many")}
		}
		return actions.Result{}, nil
	})
	p := w.start(t, "p1", func(c *executor.Config) { c.PerDestination = 1 })
	p.record(t, w.batch(f, 20), lease)
	pgtest.Eventually(t, soon, "the receiver was asked", func() bool { return w.probe.to("busy") == 1 })
	asked := time.Now()
	p.record(t, w.batch(other, 20), lease)
	w.eventually(t, other, "success 20")
	if time.Since(asked) < time.Second && w.probe.to("busy") != 1 {
		t.Errorf("%d attempts at a busy receiver", w.probe.to("busy"))
	}
	w.eventually(t, f, "success 20")
	w.probe.mu.Lock()
	defer w.probe.mu.Unlock()
	var first time.Time
	for _, s := range w.probe.at {
		switch {
		case s.destination != "busy":
		case first.IsZero():
			first = s.at
		case s.at.Sub(first) < 1400*time.Millisecond:
			t.Fatalf("tried again after %s, want 1.5 s", s.at.Sub(first))
		}
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.probe.does(func(_ context.Context, d *actions.Delivery) (actions.Result, error) {
		if strings.HasSuffix(d.ID, "_1") && d.Workflow.ID != "good" {
			return actions.Result{}, &actions.Error{Permanent: true, Err: errors.New("refused")}
		}
		return actions.Result{}, nil
	})
	steps := func(onFailure string) []action {
		return []action{{order: 1}, {order: 1, config: onFailure}, {order: 2}, {order: 5}}
	}
	good := w.define(t, definition{id: "good", actions: steps(`{}`)})
	stops := w.define(t, definition{id: "stops", actions: steps(`{}`)})
	goesOn := w.define(t, definition{id: "goes-on", settings: `{"on_failure": "stop"}`, actions: steps(`{"on_failure": "continue"}`)})
	p := w.start(t, "p1")
	for _, f := range []*defined{good, stops, goesOn} {
		p.record(t, w.batch(f, 5), lease)
		w.queued(t, f, 5)
	}
	w.eventually(t, good, "success 10")
	w.eventually(t, stops, "failure 10")
	w.eventually(t, goesOn, "failure 10")
	for f, want := range map[*defined]string{
		good:   "0 succeeded|1 succeeded|2 succeeded|3 succeeded",
		stops:  "0 succeeded|1 dead refused|2 cancelled action 2 (probe) failed, and its on_failure is stop|3 cancelled action 2 (probe) failed, and its on_failure is stop",
		goesOn: "0 succeeded|1 dead refused|2 succeeded|3 succeeded",
	} {
		got := w.rows(t, `select distinct string_agg(concat_ws(' ', action, status, reason), '|' order by action) from rowbell.delivery_done where workflow_id = $1 group by execution_id`, f.id)
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", f.id, got, want)
		}
	}
	// None began before what comes before it.
	began := make(map[string]int)
	w.probe.mu.Lock()
	defer w.probe.mu.Unlock()
	for i, s := range w.probe.at {
		began[s.id] = i
	}
	for id, i := range began {
		if x, ok := strings.CutSuffix(id, "_3"); ok && (i < began[x+"_2"] || i < began[x+"_1"] || i < began[x+"_0"] || began[x+"_2"] < began[x+"_1"]) {
			t.Errorf("the order of %s was not kept", x)
		}
	}
}

// Never more than the limits at once, and as many when there is enough to do.
func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all []*defined
	for _, d := range []struct{ id, tenant, to string }{
		{"a1", "acme", "one"}, {"a2", "acme", "two"}, {"a3", "acme", "three"}, {"b1", "beta", "four"}, {"b2", "beta", "five"},
	} {
		f := w.define(t, definition{id: d.id, tenant: d.tenant, actions: []action{{config: fmt.Sprintf(`{"to": %q}`, d.to)}}})
		all = append(all, f)
		w.probe.hang(d.to)
	}
	p := w.start(t, "p1", func(c *executor.Config) { c.Concurrency, c.PerDestination, c.PerTenant = 9, 3, 5 })
	run := func(key string, n int) {
		t.Helper()
		pgtest.Eventually(t, soon, fmt.Sprintf("%d run %s", n, key), func() bool { return w.probe.runningNow(key) == n })
	}
	w.queued(t, all[3], 20)
	run("to four", 3)
	w.queued(t, all[4], 20)
	run("of beta", 5)
	for _, f := range all[:3] {
		w.queued(t, f, 20)
	}
	run("of acme", 4)
	run("", 9)
	pgtest.Eventually(t, soon, "the metric says so", func() bool { return p.gauge(t, "rowbell_executor_running") == 9 })
	w.probe.open()
	for _, f := range all {
		w.eventually(t, f, "success 20")
	}
	for key, want := range map[string]int{"": 9, "of acme": 5, "of beta": 5, "to one": 3, "to two": 3, "to three": 3, "to four": 3, "to five": 3} {
		if got := w.probe.mostAtOnce(key); got > want {
			t.Errorf("%d at once %s, want at most %d", got, key, want)
		}
	}
	pgtest.Eventually(t, soon, "nothing is held", func() bool { return p.gauge(t, "rowbell_executor_held") == 0 })
}

// One receiver that hangs, and one that always fails, keep none of the others waiting,
// though there is little room.
func TestBadLanes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hangs := w.define(t, definition{id: "hangs", actions: []action{{config: `{"to": "hangs"}`}}})
	fails := w.define(t, definition{id: "fails", settings: `{"retry": ["10ms","10ms","1h"]}`, actions: []action{{config: `{"to": "fails"}`}}})
	good := w.define(t, definition{id: "good", actions: []action{{config: `{"to": "good"}`}}})
	w.probe.hang("hangs")
	w.probe.does(func(_ context.Context, d *actions.Delivery) (actions.Result, error) {
		if d.Workflow.ID == "fails" {
			return actions.Result{Code: 500}, errors.New("always")
		}
		return actions.Result{}, nil
	})
	w.queued(t, hangs, 300)
	w.queued(t, fails, 300)
	p := w.start(t, "p1", func(c *executor.Config) { c.Held, c.PerDestination = 64, 4 })
	p.record(t, w.batch(hangs, 100), lease)
	pgtest.Eventually(t, soon, "the lane hangs", func() bool { return w.probe.runningNow("to hangs") == 4 })
	for range 3 {
		p.record(t, w.batch(good, 50), lease)
	}
	w.queued(t, good, 50)
	w.eventually(t, good, "success 200")
	if n := pgtest.One[int](t, w.db, `select count(*)::int from rowbell.delivery where workflow_id = 'hangs' and state = 'leased'`); n > 16 {
		t.Errorf("the lane that hangs holds %d of 64", n)
	}
	pgtest.Eventually(t, soon, "what fails was tried", func() bool {
		return w.rows(t, `select string_agg(distinct attempts::text, ' ') from rowbell.delivery where workflow_id = 'fails'`) == "3"
	})
	w.probe.open()
	w.eventually(t, hangs, "success 400")
}

// A lane that was fast, and has come to hang, gives back what it holds when others need
// the room.
func TestLaneComesToHang(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	was := w.define(t, definition{id: "was-fast", actions: []action{{config: `{"to": "a"}`}}})
	w.queued(t, was, 2000)
	w.start(t, "p1", func(c *executor.Config) { c.Held, c.PerDestination = 256, 2 })
	pgtest.Eventually(t, soon, "it is fast", func() bool { return w.probe.to("a") > 300 })
	w.probe.hang("a")
	others := make([]*defined, 12)
	for i := range others {
		others[i] = w.define(t, definition{id: fmt.Sprint("hangs-", i), tenant: fmt.Sprint("t", i), actions: []action{{config: `{"to": "b"}`}}})
	}
	w.probe.hang("b")
	good := w.define(t, definition{id: "good", tenant: "good", actions: []action{{config: `{"to": "good"}`}}})
	for _, f := range others {
		w.queued(t, f, 100)
	}
	w.queued(t, good, 300)
	w.eventually(t, good, "success 300")
	w.probe.open()
	w.eventually(t, was, "success 2000")
	for _, f := range others {
		w.eventually(t, f, "success 100")
	}
	if deliveries, attempts := w.probe.counts(); deliveries != 3500 || attempts != 3500 {
		t.Errorf("%d deliveries in %d attempts", deliveries, attempts)
	}
}
