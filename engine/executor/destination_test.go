package executor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/engine/executor"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// quick is a breaker that doesn't keep a test waiting.
var quick = workflow.Breaker{First: 500 * time.Millisecond, Longest: 2 * time.Second, Probe: 3 * time.Second}

// shared makes a process one that shares what it knows of destinations.
func (w *world) shared(name string, change ...func(*executor.Config)) func(*executor.Config) {
	return func(c *executor.Config) {
		c.Destinations, c.Process, c.Breaker = w.state, name, quick
		for _, f := range change {
			f(c)
		}
	}
}

func (w *world) startShared(t testing.TB, name string, change ...func(*executor.Config)) *process {
	t.Helper()
	return w.start(t, name, w.shared(name, change...))
}

var errDown = &actions.Error{Down: true, Err: errors.New("connection refused")}

func (w *world) destination(t testing.TB, name string) workflow.Destination {
	t.Helper()
	list, err := w.state.Destinations(t.Context(), store.DestinationFilter{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		return workflow.Destination{}
	}
	return list[0]
}

func (w *world) stateOf(t testing.TB, name string, want workflow.DestinationState) workflow.Destination {
	t.Helper()
	var d workflow.Destination
	pgtest.Eventually(t, soon, fmt.Sprintf("%s is %s", name, want), func() bool { d = w.destination(t, name); return d.State == want })
	return d
}

// While a destination fails nothing is tried there and no attempt is counted, whichever
// process would; others go on. When it is back all that waited goes.
func TestBreaker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 2000
	sick := w.define(t, definition{id: "sick", settings: `{"retry": ["1s", "1s", "1s", "1s"]}`, actions: []action{{config: `{"to": "sick"}`}}})
	well := w.define(t, definition{id: "well", actions: []action{{config: `{"to": "well"}`}}})
	var back atomic.Bool
	w.probe.does(func(_ context.Context, d *actions.Delivery) (actions.Result, error) {
		if d.Workflow.ID == "sick" && !back.Load() {
			return actions.Result{}, errDown
		}
		return actions.Result{Code: 200}, nil
	})
	w.queued(t, sick, n)
	a := w.startShared(t, "a")
	w.startShared(t, "b")
	d := w.stateOf(t, "sick", workflow.Open)
	if d.Failures < 10 || d.FirstFailureAt.IsZero() || d.LastError != "connection refused" || d.Kind != "probe" || d.TenantID != "acme" || d.WorkflowID != "sick" {
		t.Errorf("%+v", d)
	}
	a.record(t, w.batch(well, 500), lease)
	w.eventually(t, well, "success 500")
	// Probes go on; each is one attempt, and the breaker stays open for longer.
	pgtest.Eventually(t, soon, "the breaker has opened four times", func() bool { return w.destination(t, "sick").Opens >= 4 })
	tries := w.probe.to("sick")
	if tries > 150 { // what ran in both when it opened, and probes
		t.Errorf("%d attempts were made at a destination that is away", tries)
	}
	a.record(t, w.batch(sick, 100), lease) // goes to the queue
	time.Sleep(time.Second)
	if more := w.probe.to("sick") - tries; more > 4 {
		t.Errorf("%d attempts in a second while it is open", more)
	}
	counted := pgtest.One[int64](t, w.db, `select coalesce(sum(attempts), 0)::int8 from rowbell.queue`)
	if made := int64(w.probe.to("sick")); counted > made {
		t.Errorf("%d attempts are counted, and %d were made", counted, made)
	}
	if held := a.gauge(t, "rowbell_executor_held"); held > 4 {
		t.Errorf("%v deliveries are held in memory", held)
	}
	if open := a.gauge(t, "rowbell_breakers_open"); open+gaugeOf(t, a, "rowbell_breakers_open", "probe") < 1 {
		t.Error("the metric knows no open breaker")
	}
	back.Store(true)
	w.eventually(t, sick, fmt.Sprintf("success %d", n+100))
	if d := w.stateOf(t, "sick", workflow.Closed); d.Failures != 0 || !d.FirstFailureAt.IsZero() || d.ClosedAt.IsZero() {
		t.Errorf("%+v", d)
	}
}

// gaugeOf is a gauge's value for one kind.
func gaugeOf(t testing.TB, p *process, name, kind string) float64 {
	t.Helper()
	all, err := p.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == kind {
				return m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no %s of %s", name, kind)
	return 0
}

// Failures that are one delivery's own don't open it, and neither does what never came to
// calling it.
func TestBreakerStaysClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", settings: `{"retry": []}`, actions: []action{{config: `{"to": "picky"}`}}})
	w.probe.does(func(_ context.Context, d *actions.Delivery) (actions.Result, error) {
		if len(d.ID)%2 == 0 {
			return actions.Result{Code: 422}, &actions.Error{Permanent: true, Err: errors.New("422")}
		}
		return actions.Result{}, errors.New("the secret can't be read")
	})
	w.startShared(t, "a")
	w.queued(t, f, 200)
	w.eventually(t, f, "failure 200")
	if d := w.stateOf(t, "picky", workflow.Closed); d.Failures != 0 || d.Opens != 0 {
		t.Errorf("%+v", d)
	}
}

// What a receiver that fails seven times of ten gets is not hammered at either.
func TestBreakerByShare(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", settings: `{"retry": ["1h"]}`, actions: []action{{config: `{"to": "flaky"}`}}})
	var n atomic.Int64
	w.probe.does(func(context.Context, *actions.Delivery) (actions.Result, error) {
		if n.Add(1)%5 == 0 {
			return actions.Result{Code: 200}, nil
		}
		return actions.Result{Code: 503}, errDown
	})
	w.startShared(t, "a", func(c *executor.Config) { c.Breaker.First, c.Breaker.Longest = time.Minute, time.Minute })
	w.queued(t, f, 2000)
	w.stateOf(t, "flaky", workflow.Open)
	time.Sleep(1500 * time.Millisecond)
	if tries := w.probe.to("flaky"); tries > 300 {
		t.Errorf("%d attempts were made", tries)
	}
}

// The process that tries one is killed meanwhile: when its right has run out another one
// tries, and never two at once.
func TestProberDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", settings: `{"retry": ["1s", "1s", "1s", "1s", "1s", "1s"]}`, actions: []action{{config: `{"to": "gone"}`}}})
	var away, hang atomic.Bool
	away.Store(true)
	var running, most atomic.Int64
	hung := make(chan string, 10)
	w.probe.does(func(ctx context.Context, d *actions.Delivery) (actions.Result, error) {
		if hang.Load() {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer running.Add(-1)
			hung <- d.ID
			<-ctx.Done()
			return actions.Result{}, ctx.Err()
		}
		if away.Load() {
			return actions.Result{}, errDown
		}
		return actions.Result{Code: 200}, nil
	})
	w.queued(t, f, 50)
	var dead [2]atomic.Bool
	a := w.startShared(t, "a", func(c *executor.Config) { c.Destinations = mortal{w.state, &dead[0]} })
	b := w.startShared(t, "b", func(c *executor.Config) { c.Destinations = mortal{w.state, &dead[1]} })
	w.stateOf(t, "gone", workflow.Open)
	time.Sleep(1200 * time.Millisecond) // until both know
	hang.Store(true)
	<-hung
	d := w.stateOf(t, "gone", workflow.HalfOpen)
	time.Sleep(1500 * time.Millisecond)
	if n := most.Load(); n != 1 {
		t.Errorf("%d are tried at once", n)
	}
	// kill -9: it says nothing any more. Which one it is stands in the row.
	by := pgtest.One[string](t, w.db, `select probe_by from rowbell.destination where lane = $1`, d.Lane)
	hang.Store(false)
	away.Store(false)
	killed := a
	if by == "b" {
		killed = b
	}
	dead[slices.Index([]string{"a", "b"}, by)].Store(true)
	killed.kill()
	killed.stop()
	killed.wait(t, soon)
	if d := w.destination(t, "gone"); d.State != workflow.HalfOpen {
		t.Errorf("it is %s, though whoever tries one has died", d.State)
	}
	w.stateOf(t, "gone", workflow.Closed)
	pgtest.Eventually(t, soon, "the other one goes on", func() bool { _, n := w.probe.counts(); return n > 60 })
}

// A process that stops while it tries one says what came of it: nobody has to wait until
// its right to has run out.
func TestProberStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", settings: `{"retry": ["1s", "1s", "1s", "1s", "1s", "1s"]}`, actions: []action{{config: `{"to": "gone"}`}}})
	var hang atomic.Bool
	hung, goOn := make(chan string, 10), make(chan bool)
	w.probe.does(func(context.Context, *actions.Delivery) (actions.Result, error) {
		if hang.Load() {
			hung <- ""
			<-goOn
			return actions.Result{Code: 200}, nil
		}
		return actions.Result{}, errDown
	})
	w.queued(t, f, 20)
	a := w.startShared(t, "a", func(c *executor.Config) { c.Breaker.Probe = time.Minute })
	w.stateOf(t, "gone", workflow.Open)
	time.Sleep(time.Second)
	hang.Store(true)
	<-hung
	w.stateOf(t, "gone", workflow.HalfOpen)
	a.stop()
	time.Sleep(500 * time.Millisecond)
	close(goOn)
	a.wait(t, soon)
	if d := w.destination(t, "gone"); d.State != workflow.Closed {
		t.Errorf("it is %s", d.State)
	}
}

// mortal writes nothing any more once it is dead.
type mortal struct {
	*store.State
	dead *atomic.Bool
}

func (m mortal) NoteAttempts(ctx context.Context, list []workflow.Attempts, b workflow.Breaker) ([]workflow.Barred, error) {
	if m.dead.Load() {
		return nil, errors.New("killed")
	}
	return m.State.NoteAttempts(ctx, list, b)
}

// A destination that says that it is gone is disabled at once, and one that fails for too
// long; its owner is told once, what waits is cancelled, and so is what comes. Enabled
// again it gets what comes then.
func TestDisabled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, reason string
		err          error
		breaker      workflow.Breaker
	}{
		{"gone", "410 Gone", &actions.Error{Permanent: true, Gone: true, Err: errors.New("410 Gone")}, quick},
		{"long", "all attempts since", errDown, workflow.Breaker{First: 100 * time.Millisecond, Longest: 200 * time.Millisecond, Probe: 3 * time.Second, DisableAfter: 2 * time.Second}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			f := w.define(t, definition{id: "f", settings: `{"retry": ["1s", "1s", "1s", "1s", "1s", "1s", "1s", "1s"]}`, actions: []action{{config: `{"to": "x"}`}, {config: `{"to": "after"}`, order: 1}}})
			var works atomic.Bool
			w.probe.does(func(_ context.Context, d *actions.Delivery) (actions.Result, error) {
				if works.Load() || strings.HasSuffix(d.ID, "_1") {
					return actions.Result{Code: 200}, nil
				}
				time.Sleep(20 * time.Millisecond)
				return actions.Result{Code: 410}, c.err
			})
			told := &owners{}
			w.queued(t, f, 300)
			for _, name := range []string{"a", "b"} {
				w.startShared(t, name, func(x *executor.Config) { x.Breaker, x.Alerts = c.breaker, told })
			}
			d := w.stateOf(t, "x", workflow.Disabled)
			if !strings.HasPrefix(d.DisabledReason, c.reason) || d.DisabledBy != "" || d.DisabledAt.IsZero() {
				t.Errorf("%+v", d)
			}
			pgtest.Eventually(t, soon, "nothing waits", func() bool { return pgtest.One[int64](t, w.db, `select count(*) from rowbell.queue`) == 0 })
			reason := w.rows(t, `select distinct reason from rowbell.delivery_done where action = 0 and status = 'cancelled'`)
			if !strings.HasPrefix(reason, "its destination was disabled on ") || !strings.Contains(reason, "rowbell destination enable "+workflow.LaneID(d.Lane)) || strings.Contains(reason, "\n") {
				t.Errorf("cancelled because %q", reason)
			}
			if stop := w.rows(t, `select distinct reason from rowbell.delivery_done where action = 1 and reason like '%cancelled%'`); stop != "action 1 (probe) was cancelled, and its on_failure is stop" {
				t.Errorf("the next action is cancelled because %q", stop)
			}
			w.queued(t, f, 10)
			pgtest.Eventually(t, soon, "what comes is cancelled", func() bool { return pgtest.One[int64](t, w.db, `select count(*) from rowbell.queue`) == 0 })
			pgtest.Eventually(t, soon, "the owner is told", func() bool { return len(told.list()) > 0 })
			time.Sleep(1500 * time.Millisecond)
			all := told.list()
			if len(all) != 1 {
				t.Fatalf("told %d times", len(all))
			}
			if a := all[0]; a.Kind != workflow.AlertEndpoint || a.TenantID != "acme" || a.WorkflowID != "f" || a.Through != "probe" ||
				!strings.Contains(a.Text, c.reason) || !strings.Contains(a.Text, workflow.LaneID(d.Lane)) || a.Subject != "probe to x was disabled" {
				t.Errorf("%+v", a)
			}
			works.Store(true)
			g := w.define(t, definition{id: "g", actions: []action{{config: `{"to": "x"}`}}})
			if err := w.state.EnableDestination(t.Context(), d.Lane); err != nil {
				t.Fatal(err)
			}
			w.queued(t, g, 10) // whoever put them there may have waited for nothing but that
			w.eventually(t, g, "success 10")
		})
	}
}

// owners keeps what they are told.
type owners struct {
	mu  sync.Mutex
	all []workflow.Alert
}

func (o *owners) Raise(_ context.Context, list ...workflow.Alert) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, list...)
	return nil
}

func (o *owners) list() []workflow.Alert {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.all)
}

// An alert that could not be told is told again.
func TestAlertAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", actions: []action{{config: `{"to": "x"}`}}})
	w.probe.does(func(context.Context, *actions.Delivery) (actions.Result, error) {
		return actions.Result{Code: 410}, &actions.Error{Permanent: true, Gone: true, Err: errors.New("410 Gone")}
	})
	told := &failingOwners{}
	w.startShared(t, "a", func(x *executor.Config) { x.Alerts = told })
	w.queued(t, f, 3)
	w.stateOf(t, "x", workflow.Disabled)
	pgtest.Eventually(t, soon, "it fails once", func() bool { return told.n.Load() == 1 })
	w.db.Exec(t, `update rowbell.destination set alert_until = now()`)
	pgtest.Eventually(t, soon, "it is told", func() bool { return len(told.list()) == 1 })
	pgtest.Eventually(t, soon, "that stands in the row", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.destination where alerted_at is not null`) == 1
	})
}

type failingOwners struct {
	owners
	n atomic.Int64
}

func (o *failingOwners) Raise(ctx context.Context, list ...workflow.Alert) error {
	if o.n.Add(1) == 1 {
		return errors.New("no way to tell")
	}
	return o.owners.Raise(ctx, list...)
}

// Two processes together keep a destination's rate and how many may run at once; no
// attempt is counted that is not made.
func TestSharedLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.probe.limits = map[string]actions.Limits{
		"slow": {Rate: actions.Rate{N: 40, Per: time.Second}},
		"few":  {Concurrency: 3},
		"one":  {Concurrency: 1},
	}
	const took = 30 * time.Millisecond
	w.probe.does(func(context.Context, *actions.Delivery) (actions.Result, error) {
		time.Sleep(took)
		return actions.Result{Code: 200}, nil
	})
	names := []string{"slow", "few", "one"}
	flows := map[string]*defined{}
	for i, name := range names {
		flows[name] = w.define(t, definition{id: name, actions: []action{{config: fmt.Sprintf(`{"to": %q}`, name)}}})
		w.queued(t, flows[name], []int{200, 200, 80}[i])
	}
	a := w.startShared(t, "a")
	b := w.startShared(t, "b")
	pgtest.Eventually(t, soon, "each knows of the other", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.executor`) == 2
	})
	time.Sleep(5 * time.Second) // until each knows that the other one does
	w.probe.reset()
	begun := time.Now()
	for i, name := range names {
		w.eventually(t, flows[name], fmt.Sprintf("success %d", []int{200, 200, 80}[i]))
	}
	at := w.probe.times("slow")
	// In any second 40, what a second holds at once, and what each process took in one.
	for i := range at {
		n := 0
		for _, x := range at[i:] {
			if x.Sub(at[i]) < time.Second {
				n++
			}
		}
		if n > 40+40+20+4 {
			t.Fatalf("%d attempts in a second", n)
		}
	}
	if all := at[len(at)-1].Sub(at[0]); all < 3500*time.Millisecond || all > 12*time.Second {
		t.Errorf("200 attempts at 40/s took %s", all)
	}
	t.Logf("slow: %s; all: %s; few: %d at once, one: %d", at[len(at)-1].Sub(at[0]), time.Since(begun), w.probe.mostAtOnce("to few"), w.probe.mostAtOnce("to one"))
	// From when each knows of the other on.
	w.probe.reset()
	for i, name := range names[1:] {
		w.queued(t, flows[name], 100-50*i)
	}
	w.eventually(t, flows["few"], "success 300")
	w.eventually(t, flows["one"], "success 130")
	if few, one := w.probe.mostAtOnce("to few"), w.probe.mostAtOnce("to one"); few > 3 || one > 1 {
		t.Errorf("%d and %d at once, want 3 and 1", few, one)
	}
	_, attempts := w.probe.counts()
	if attempts != 480+150 {
		t.Errorf("%d attempts", attempts)
	}
	if d := w.destination(t, "slow"); d.Rate != "40/s" || d.Concurrency != 0 {
		t.Errorf("shown are %q and %d", d.Rate, d.Concurrency)
	}
	_, _ = a, b
}

// The operator's limit counts where an action has none that is lower.
func TestOperatorsRate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", actions: []action{{config: `{"to": "x"}`}}})
	w.queued(t, f, 60)
	w.startShared(t, "a", func(c *executor.Config) { c.Limits.Rate = actions.Rate{N: 20, Per: time.Second} })
	w.eventually(t, f, "success 60")
	at := w.probe.times("x")
	if all := at[len(at)-1].Sub(at[0]); all < 1500*time.Millisecond {
		t.Errorf("60 attempts at 20/s took %s", all)
	}
}

// State goes away while a breaker is open, and comes back: nothing is lost or doubled.
func TestBreakerStateAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", settings: `{"retry": ["100ms", "100ms", "100ms", "100ms", "100ms", "100ms", "100ms", "100ms", "100ms"]}`, actions: []action{{config: `{"to": "x"}`}}})
	var away atomic.Bool
	away.Store(true)
	w.probe.does(func(context.Context, *actions.Delivery) (actions.Result, error) {
		if away.Load() {
			return actions.Result{}, errDown
		}
		return actions.Result{Code: 200}, nil
	})
	w.queued(t, f, 200)
	proxy, url := pgtest.ProxyURL(t, w.db.URL)
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	a := w.startOn(t, url, "a", w.shared("a", func(c *executor.Config) { c.Destinations = store.OpenState(pool) }))
	w.stateOf(t, "x", workflow.Open)
	proxy.Refuse()
	time.Sleep(time.Second)
	proxy.Resume()
	away.Store(false)
	w.eventually(t, f, "success 200")
	if len(a.Troubles()) > 0 {
		pgtest.Eventually(t, soon, "all is well", func() bool { return len(a.Troubles()) == 0 })
	}
}
