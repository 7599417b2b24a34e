package executor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/engine/executor"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// pausable makes a process one that heeds pauses.
func (w *world) pausable(c *executor.Config) {
	c.Pauses = store.Definitions{State: w.state, Source: w.source}
}

func (w *world) pause(t testing.TB, p workflow.Pause, long time.Duration) {
	t.Helper()
	if _, err := w.source.Pause(t.Context(), p, long, "ann"); err != nil {
		t.Fatal(err)
	}
}

func (w *world) resume(t testing.TB) {
	t.Helper()
	if _, err := w.source.Resume(t.Context(), "ann", func(workflow.Pause) bool { return true }); err != nil {
		t.Fatal(err)
	}
}

// heeds waits until a process has heard of so many pauses.
func (p *process) heeds(t testing.TB, pauses int) {
	t.Helper()
	pgtest.Eventually(t, soon, fmt.Sprintf("%s heeds %d pauses", p.name, pauses), func() bool {
		list, known := p.Paused()
		return known && len(list) == pauses
	})
}

// untouched says that the deliveries of f are in the queue as if nobody had seen them.
func (w *world) untouched(t testing.TB, f *defined, n int) {
	t.Helper()
	pgtest.Eventually(t, soon, fmt.Sprintf("%d deliveries of %s wait, free and untried", n, f.id), func() bool {
		return pgtest.One[bool](t, w.db, `select count(*) filter (where lease_until is null and attempts = 0) = $2 and count(*) = $2
			from rowbell.queue where version_ref = $1`, f.ref, n)
	})
}

// Each scope holds what it names and nothing else, in the same lane too; in every process.
func TestPauseScopes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	both := []action{{config: `{"to": "x"}`}, {kind: "mail", config: `{"to": "m"}`}}
	ours := w.define(t, definition{id: "ours", actions: both, recipients: []string{"user:ann"}})
	more := w.define(t, definition{id: "more", actions: both[:1]})
	theirs := w.define(t, definition{id: "theirs", tenant: "globex", actions: both[:1]})
	a, b := w.start(t, "a", w.pausable), w.start(t, "b", w.pausable)
	all := []*defined{ours, more, theirs}
	for _, c := range []struct {
		pause workflow.Pause
		scope string
		left  []int // deliveries of ours, more, theirs that stay
	}{
		{workflow.Pause{}, "all", []int{2, 1, 1}},
		{workflow.Pause{TenantID: "acme"}, "tenant", []int{2, 1, 0}},
		{workflow.Pause{WorkflowID: "ours"}, "workflow", []int{2, 0, 0}},
		{workflow.Pause{Kind: "mail"}, "kind", []int{1, 0, 0}},
		{workflow.Pause{TenantID: "acme", Kind: "probe"}, "tenant_kind", []int{1, 1, 0}},
		{workflow.Pause{WorkflowID: "ours", Kind: "probe"}, "workflow_kind", []int{1, 0, 0}},
	} {
		w.pause(t, c.pause, 0)
		a.heeds(t, 1)
		b.heeds(t, 1)
		if got := gaugeWith(t, a, "rowbell_paused", c.scope); got != 1 {
			t.Errorf("%s: the metric has %v", c.scope, got)
		}
		const n = 30
		for i, f := range all {
			if i%2 == 0 {
				w.queued(t, f, n)
			} else {
				a.record(t, w.batch(f, n), lease)
			}
		}
		for i, f := range all {
			pgtest.Eventually(t, soon, fmt.Sprintf("%s: what isn't paused of %s is delivered", c.scope, f.id), func() bool {
				return pgtest.One[int64](t, w.db, `select count(*) from rowbell.queue where version_ref = $1`, f.ref) == int64(n*c.left[i])
			})
			w.untouched(t, f, n*c.left[i])
		}
		w.resume(t)
		pgtest.Eventually(t, soon, c.scope+": all goes when it is over", func() bool { return w.db.QueryString(t, `select count(*) from rowbell.queue`) == "0" })
	}
	if _, tries := w.probe.counts(); tries != 6*30*4 {
		t.Errorf("%d attempts were made of %d deliveries", tries, 6*30*4)
	}
	if got := gaugeWith(t, a, "rowbell_paused", "all"); got != 0 {
		t.Errorf("with nothing paused the metric has %v", got)
	}
}

// gaugeWith is a gauge whose one label has this value.
func gaugeWith(t testing.TB, p *process, name, value string) float64 {
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
			if m.GetLabel()[0].GetValue() == value {
				return m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no metric %s of %s", name, value)
	return 0
}

// What runs as a pause begins ends as it would; what waits in memory is given back, uncounted,
// and goes in its order when the pause ends by itself.
func TestPauseEndsByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "late", actions: []action{{config: `{"to": "x"}`}}})
	w.probe.hang("x")
	a := w.start(t, "a", w.pausable, func(c *executor.Config) { c.Concurrency = 1 })
	a.heeds(t, 0)
	b := w.batch(f, 50)
	var order []string
	for _, x := range b.Executions {
		order = append(order, x.ID())
	}
	a.record(t, b, lease)
	pgtest.Eventually(t, soon, "one runs", func() bool { return w.probe.runningNow("") == 1 })
	began := time.Now()
	w.pause(t, workflow.Pause{}, 4*time.Second)
	a.heeds(t, 1)
	pgtest.Eventually(t, soon, "what waits is given back", func() bool {
		return w.db.QueryString(t, `select count(*) from rowbell.queue where lease_until is null and attempts = 0`) == "49"
	})
	w.probe.open()
	w.eventually(t, f, "pending 49, success 1")
	w.eventually(t, f, "success 50")
	if took := time.Since(began); took < 4*time.Second {
		t.Errorf("a pause of 4 s was over after %s", took)
	}
	times := w.probe.times("x")
	if len(times) != 50 {
		t.Errorf("%d attempts were made", len(times))
	}
	if got := w.probe.order("x"); !slices.EqualFunc(got[1:], order[1:], func(delivery, execution string) bool { return delivery == execution+"_0" }) {
		t.Errorf("they were tried in the order %v", got)
	}
}

// order are the deliveries that were tried at a destination, in order.
func (p *probe) order(destination string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []string
	for _, s := range p.at {
		if s.destination == destination {
			ids = append(ids, s.id)
		}
	}
	return ids
}

// Very many that are paused are left where they are: they are neither claimed nor read past
// again and again, and others of their lane go as always. So with two processes.
func TestPauseOfVeryMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	to := []action{{config: `{"to": "x"}`}}
	held := w.define(t, definition{id: "held", actions: to})
	free := w.define(t, definition{id: "free", actions: to})
	w.pause(t, workflow.Pause{WorkflowID: "held"}, 0)
	const n = 20_000
	for range n / 2000 {
		w.queued(t, held, 2000)
	}
	a := w.start(t, "a", w.pausable)
	w.start(t, "b", w.pausable)
	a.heeds(t, 1)
	updates := func() string {
		return w.db.QueryString(t, `select count(*) from rowbell.queue where lease_by is not null and version_ref = $1`, held.ref)
	}
	w.queued(t, free, 500)
	w.eventually(t, free, "success 500")
	// The part of the queue with only paused ones is left out from now on.
	q := w.state.Queue("c", lease)
	defer func() { _ = q.Close(context.Background()) }()
	var paused *workflow.Paused
	pgtest.Eventually(t, soon, "what is behind them is known", func() bool {
		paused = &workflow.Paused{Refs: []int32{held.ref}}
		behind, err := q.BehindPaused(t.Context(), paused, 100)
		if err != nil {
			t.Fatal(err)
		}
		paused.Behind = behind
		return len(behind) == 1 && behind[0].Lane == held.steps[0].Lane && time.Since(behind[0].At) < 30*time.Second
	})
	claim := workflow.Claim{After: -1 << 63, Most: 1000, PerLane: 1000, Room: map[int64]int{held.steps[0].Lane: 500}, Paused: paused}
	got, err := q.Claim(t.Context(), claim)
	if err != nil || len(got.Deliveries) != 0 || !got.End {
		t.Errorf("a claim gets %d, %v", len(got.Deliveries), err)
	}
	for range 5 {
		w.queued(t, free, 100)
	}
	w.eventually(t, free, "success 1000")
	if got := updates(); got != "0" {
		t.Errorf("%s deliveries that are paused were claimed", got)
	}
	w.resume(t)
	w.eventually(t, held, fmt.Sprintf("success %d", n))
	if _, tries := w.probe.counts(); tries != n+1000 {
		t.Errorf("%d attempts were made", tries)
	}
}

// Gates wait too, and actions of a higher order; so do retries that are due. Those of another
// kind go on.
func TestPauseOfWhatComesLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gated := w.define(t, definition{id: "gated", settings: `{"firing": "once_per_row"}`, actions: []action{{config: `{"to": "g"}`}}})
	steps := w.define(t, definition{id: "steps", actions: []action{{config: `{"to": "first"}`}, {kind: "mail", config: `{"to": "second"}`, order: 1}}, recipients: []string{"user:ann"}})
	again := w.define(t, definition{id: "again", settings: `{"retry": ["1500ms"]}`, actions: []action{{config: `{"to": "again"}`}}})
	var failed atomic.Int32
	w.probe.does(func(_ context.Context, d *actions.Delivery) (actions.Result, error) {
		if d.Workflow.ID == "again" && d.Attempt == 1 {
			failed.Add(1)
			return actions.Result{Code: 500}, errors.New("not yet")
		}
		return actions.Result{Code: 200}, nil
	})
	a := w.start(t, "a", w.pausable)
	a.heeds(t, 0)
	w.queued(t, again, 10)
	pgtest.Eventually(t, soon, "the first attempts to fail", func() bool { return failed.Load() == 10 })
	w.pause(t, workflow.Pause{WorkflowID: "again"}, 0)
	w.pause(t, workflow.Pause{WorkflowID: "gated"}, 0)
	w.pause(t, workflow.Pause{Kind: "mail"}, 0)
	a.heeds(t, 3)
	w.queued(t, gated, 1)
	w.queued(t, steps, 10)
	pgtest.Eventually(t, soon, "the first actions to succeed", func() bool { return w.probe.to("first") == 10 })
	w.untouched(t, steps, 10)
	w.untouched(t, gated, 2)
	time.Sleep(2500 * time.Millisecond) // the retries have been due for a while
	if got := w.db.QueryString(t, `select count(*) from rowbell.queue where version_ref = $1 and attempts = 1 and ready_at < now() and lease_until is null`, again.ref); got != "10" {
		t.Errorf("%s retries wait, due and uncounted", got)
	}
	if to := w.probe.to("second") + w.probe.to("g"); to != 0 {
		t.Errorf("%d attempts were made at what is paused", to)
	}
	w.resume(t)
	w.eventually(t, gated, "success 1")
	w.eventually(t, steps, "success 10")
	w.eventually(t, again, "success 10")
}

// silent is a source of pauses that can be made to fail.
type silent struct {
	of    executor.Pauses
	fails atomic.Bool
}

func (s *silent) Pauses(ctx context.Context, limit int) ([]workflow.Pause, error) {
	if s.fails.Load() {
		return nil, errors.New("the source is away")
	}
	return s.of.Pauses(ctx, limit)
}

func (s *silent) VersionsOf(ctx context.Context, workflowIDs, tenantIDs []string) (byWorkflow, byTenant map[string][]int32, last int32, err error) {
	return s.of.VersionsOf(ctx, workflowIDs, tenantIDs)
}

func (s *silent) LastVersion(ctx context.Context) (int32, error) { return s.of.LastVersion(ctx) }

// While the source can't be read, what was known holds; at the start of a process nothing is
// delivered until it is known what is paused.
func TestPauseIsKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", actions: []action{{config: `{"to": "x"}`}}})
	with := func(s *silent) func(*executor.Config) {
		return func(c *executor.Config) {
			w.pausable(c)
			s.of, c.Pauses = c.Pauses, s
		}
	}
	w.pause(t, workflow.Pause{TenantID: "acme"}, 0)
	s := &silent{}
	a := w.start(t, "a", with(s))
	a.heeds(t, 1)
	s.fails.Store(true)
	w.resume(t)
	late := &silent{}
	late.fails.Store(true)
	b := w.start(t, "b", with(late))
	a.record(t, w.batch(f, 20), lease)
	b.record(t, w.batch(f, 20), lease)
	time.Sleep(2 * time.Second)
	w.untouched(t, f, 40)
	for _, p := range []*process{a, b} {
		if !slices.ContainsFunc(p.Troubles(), func(t executor.Trouble) bool { return t.What == "read what is paused" }) {
			t.Errorf("%s has no trouble", p.name)
		}
	}
	late.fails.Store(false)
	w.eventually(t, f, "success 40")
	a.heeds(t, 1)
	s.fails.Store(false)
	a.heeds(t, 0)
}

// A process that is killed while all is paused leaves nothing behind that would be lost, or
// tried before the pause is over.
func TestPauseSurvivesKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", actions: []action{{config: `{"to": "x"}`}}})
	short := func(c *executor.Config) { c.Lease = 3 * time.Second }
	w.probe.hang("x")
	a := w.start(t, "a", w.pausable, short)
	a.heeds(t, 0)
	a.record(t, w.batch(f, 100), 3*time.Second)
	pgtest.Eventually(t, soon, "some run", func() bool { return w.probe.runningNow("") > 0 })
	a.kill() // with leases, and attempts that nobody writes down
	a.stop()
	w.pause(t, workflow.Pause{}, 0)
	w.probe.open()
	_, before := w.probe.counts()
	b := w.start(t, "b", w.pausable, short)
	b.heeds(t, 1)
	time.Sleep(4 * time.Second)
	if _, tries := w.probe.counts(); tries != before {
		t.Errorf("%d attempts were made while all was paused", tries-before)
	}
	w.resume(t)
	w.eventually(t, f, "success 100")
}

// A big transaction that is released in a pause waits on, its second actions too.
func TestPauseOfBigTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", actions: []action{{}, {order: 1}}})
	a := w.start(t, "a", w.pausable)
	w.pause(t, workflow.Pause{TenantID: "acme"}, 0)
	a.heeds(t, 1)
	b := w.batch(f, 100)
	big := workflow.Big{Stream: 1, CommitLSN: b.Events[0].Position.CommitLSN, CommittedAt: b.Events[0].CommittedAt, Status: workflow.BigOpen}
	for i, x := range b.Executions { // all of one transaction
		x.BigRef = true
		x.Event.Position.CommitLSN, x.Event.Position.Seq = big.CommitLSN, int32(i)
	}
	b.Big = []workflow.Big{big}
	a.record(t, b, lease)
	big.Status = workflow.BigReleased
	w.record(t, &workflow.Batch{Previous: w.last, Next: w.last, Big: []workflow.Big{big}})
	pgtest.Eventually(t, soon, "they are released", func() bool {
		return w.db.QueryString(t, `select count(*) from rowbell.queue where ready_at <= now()`) == "100"
	})
	time.Sleep(time.Second)
	w.untouched(t, f, 200)
	w.resume(t)
	w.eventually(t, f, "success 100")
	if deliveries, attempts := w.probe.counts(); deliveries != 200 || attempts != 200 {
		t.Errorf("%d deliveries in %d attempts", deliveries, attempts)
	}
}
