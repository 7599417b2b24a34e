package live

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const soon = pgtest.Patience

// world is a log that a test writes, and what reads it.
type world struct {
	db    *pgtest.Database
	state *store.State
	log   *counted
	seq   atomic.Int64
}

// counted is state, which counts how often it is asked, and can hang.
type counted struct {
	*store.State
	polls atomic.Int64
}

func (c *counted) LiveHorizon(ctx context.Context) (time.Time, error) {
	c.polls.Add(1)
	return c.State.LiveHorizon(ctx)
}

// migrate makes the tables of source and state.
func migrate(ctx context.Context, url string) error { return store.Migrate(ctx, url, url) }

// Workflows of the log: surrogates 2 (large, of acme), 3 (small, of globex), 4 (operators').
func newWorld(t *testing.T) *world {
	t.Helper()
	db := pgtest.Filled(t, "migrated", migrate)
	db.Exec(t, `insert into rowbell.surrogate (ref, kind, id, version, tenant_id, name) values (1, 'table', 'orders', 1, null, 'orders'),
		(2, 'workflow', 'large', 1, 'acme', 'Large orders'), (3, 'workflow', 'small', 1, 'globex', 'Small orders'), (4, 'workflow', 'ops', 1, null, 'All orders')`)
	w := &world{db: db, state: store.OpenState(db.Pool(t))}
	w.log = &counted{State: w.state}
	return w
}

func (w *world) feed(t *testing.T, change ...func(*Config)) *Feed {
	t.Helper()
	cfg := Config{Log: w.log, Every: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&cfg)
	}
	f := New(cfg)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = f.Run(ctx)
	}()
	t.Cleanup(func() { stop(); <-ended })
	return f
}

// event writes an event of now, and returns its id and time.
func (w *world) event(ctx context.Context, tx pgx.Tx, tenant string) (id string, at time.Time, err error) {
	n := w.seq.Add(1)
	at = time.Now().UTC().Truncate(time.Microsecond)
	p := change.Position{Stream: 1, CommitLSN: change.LSN(0x1000 + n*0x100)}
	id = change.EventID(at, p, change.SideFirst).String()
	_, err = tx.Exec(ctx, `insert into rowbell.event (event_id, commit_lsn, stream, seq, side, committed_at, table_ref, op, tenant_id, row_key, data)
values ($1, $2::text::pg_lsn, 1, 0, 0, $3, 1, 'c', nullif($4, ''), $5, '{}')`, id, p.CommitLSN.String(), at, tenant, fmt.Sprint(n))
	return id, at, err
}

var tenants = map[int32]string{2: "acme", 3: "globex", 4: ""}

// settle writes an execution of a workflow that has ended; before waits before it commits.
func (w *world) settle(t testing.TB, conn *pgx.Conn, ref int32, status string, before time.Duration) string {
	t.Helper()
	var id string
	err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		event, at, err := w.event(t.Context(), tx, tenants[ref])
		if err != nil {
			return err
		}
		id = fmt.Sprintf("%s-%d", event, ref)
		_, err = tx.Exec(t.Context(), `insert into rowbell.execution (id, committed_at, executed_at, settled_at, version_ref, priority, status, error, action, attempts, code, duration_ms, kind)
values ($1, $2, clock_timestamp(), clock_timestamp(), $3, 100, $4, case when $4 <> 'success' then 'it is away' end, 0, 1, 200, 5, 'webhook')`, id, at, ref, status)
		time.Sleep(before)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// worker is a connection as a worker has it.
func (w *world) worker(t testing.TB) *pgx.Conn {
	t.Helper()
	cfg, err := pgx.ParseConfig(w.db.URL)
	if err != nil {
		t.Fatal(err)
	}
	cfg.RuntimeParams["application_name"] = "rowbell/test/1"
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func subscribe(t *testing.T, f *Feed, filter Filter, after string) <-chan Event {
	t.Helper()
	events, err := f.Subscribe(t.Context(), filter, after)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func next(t *testing.T, events <-chan Event) Event {
	t.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			t.Fatal("the feed has ended")
		}
		return e
	case <-time.After(soon):
		t.Fatal("nothing comes")
	}
	return Event{}
}

// begins waits until a feed has taken its readers in.
func (w *world) begins(t *testing.T, f *Feed) {
	t.Helper()
	pgtest.Eventually(t, soon, "the readers are taken in", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		for r := range f.readers {
			if !r.in {
				return false
			}
		}
		return true
	})
}

var executions = Filter{Types: []Type{Execution}}

// Several processes write at once, in transactions that take their time to commit. A reader
// hears of each execution once, in the order in which they were settled.
func TestEachOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.feed(t)
	events := subscribe(t, f, executions, "")
	w.begins(t, f)
	const writers, each = 4, 60
	var wg sync.WaitGroup
	for n := range writers {
		conn := w.worker(t)
		wg.Go(func() {
			for i := range each {
				w.settle(t, conn, 2, "success", time.Duration((i*7+n*13)%40)*time.Millisecond)
			}
		})
	}
	seen := make(map[string]bool)
	var last time.Time
	for range writers * each {
		e := next(t, events)
		if e.Type != Execution || seen[e.Execution.ID] || e.At.Before(last) || e.ID == "" {
			t.Fatalf("%+v comes after %s, known: %t", e, last, seen[e.Execution.ID])
		}
		seen[e.Execution.ID], last = true, e.At
		if x := e.Execution; x.WorkflowID != "large" || x.Table != "orders" || x.RowKey == "" || x.Operation != "create" || len(x.Did) != 1 || x.Did[0].Kind != "webhook" || x.TenantID != "acme" {
			t.Fatalf("%+v", x)
		}
	}
	wg.Wait()
	select {
	case e := <-events:
		t.Errorf("too much: %+v", e)
	case <-time.After(300 * time.Millisecond):
	}
}

// One process reads for any number of readers, and nothing while there are none.
func TestManyReaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.feed(t, func(c *Config) { c.Readers = 100 })
	time.Sleep(200 * time.Millisecond)
	if n := w.log.polls.Load(); n != 0 {
		t.Errorf("it reads %d times for nobody", n)
	}
	ctx, leave := context.WithCancel(t.Context())
	var list []<-chan Event
	for range 100 {
		events, err := f.Subscribe(ctx, executions, "")
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, events)
	}
	if _, err := f.Subscribe(ctx, executions, ""); err != ErrReaders { //nolint:errorlint // it is the very one
		t.Errorf("one more gets %v", err)
	}
	w.begins(t, f)
	before, began := w.log.polls.Load(), time.Now()
	conn := w.worker(t)
	for range 20 {
		w.settle(t, conn, 2, "success", 0)
	}
	for i, events := range list {
		for range 20 {
			if e := next(t, events); e.Type != Execution {
				t.Fatalf("reader %d gets %+v", i, e)
			}
		}
	}
	if n, most := w.log.polls.Load()-before, int64(time.Since(began)/(50*time.Millisecond))+2; n > most {
		t.Errorf("it read %d times, where one reader needs %d at most", n, most)
	}
	leave()
	pgtest.Eventually(t, soon, "nobody is left", func() bool { return f.Readers() == 0 })
	time.Sleep(100 * time.Millisecond)
	before = w.log.polls.Load()
	time.Sleep(300 * time.Millisecond)
	if n := w.log.polls.Load() - before; n != 0 {
		t.Errorf("it reads on %d times for nobody", n)
	}
}

// A reader that doesn't keep up is told how many events it has missed, and nobody else misses
// one for it.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.feed(t, func(c *Config) { c.Buffer = 16 })
	slow, quick := subscribe(t, f, executions, ""), subscribe(t, f, executions, "")
	w.begins(t, f)
	conn := w.worker(t)
	const n = 200
	for range n / 10 {
		for range 10 {
			w.settle(t, conn, 2, "success", 0)
		}
		for range 10 {
			if e := next(t, quick); e.Type != Execution {
				t.Fatalf("the quick one gets %+v", e)
			}
		}
	}
	got, missed, gaps := 0, 0, 0
	var resume string
	for got+missed < n {
		switch e := next(t, slow); e.Type {
		case Execution:
			got++
		case Missed:
			missed += e.Missed.Count
			gaps++
			resume = e.ID
		default:
			t.Fatalf("%+v", e)
		}
	}
	if got < 16 || got > 40 || gaps == 0 || got+missed != n {
		t.Errorf("it got %d and missed %d, said %d times", got, missed, gaps)
	}
	if _, err := parsePlace(resume); err != nil {
		t.Error(err)
	}
	last := w.settle(t, conn, 2, "success", 0)
	if e := next(t, slow); e.Execution == nil || e.Execution.ID != last {
		t.Errorf("then it gets %+v", e)
	}
}

// Who was away goes on where it was: nothing is repeated, and nothing is missing.
func TestResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.feed(t)
	conn := w.worker(t)
	ctx, leave := context.WithCancel(t.Context())
	events, err := f.Subscribe(ctx, executions, "")
	if err != nil {
		t.Fatal(err)
	}
	w.begins(t, f)
	want := []string{w.settle(t, conn, 2, "success", 0), w.settle(t, conn, 3, "failure", 0)}
	first := next(t, events)
	leave()
	for range events { // what was on its way is not taken
	}
	for range 30 {
		want = append(want, w.settle(t, conn, 2, "success", 0))
	}
	again := subscribe(t, f, executions, first.ID)
	w.begins(t, f)
	for range 5 {
		want = append(want, w.settle(t, conn, 2, "success", 0))
	}
	got := []string{first.Execution.ID}
	for range len(want) - 1 {
		e := next(t, again)
		if e.Execution == nil {
			t.Fatalf("%+v", e)
		}
		got = append(got, e.Execution.ID)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%v, want\n%v", got, want)
	}
	// Of a tenant that was away, too; and from a time on.
	globex := "globex"
	theirs := subscribe(t, f, Filter{Types: []Type{Execution}, Tenant: &globex}, IDAt(first.At.Add(-time.Minute)))
	if e := next(t, theirs); e.Execution == nil || e.Execution.ID != want[1] || e.Execution.Error != "it is away" {
		t.Errorf("globex gets %+v", e)
	}
	for _, id := range []string{"x", "-1-a", "12\x00", "99999999999999999999-x", string(make([]byte, 1000))} {
		if _, err := f.Subscribe(t.Context(), executions, id); err == nil {
			t.Errorf("%.20q is taken for an id", id)
		}
	}
}

// An execution comes as pending when that is asked for; deliveries come before what they
// settle; those of several are told one by one.
func TestKinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.feed(t)
	all := []workflow.ExecutionStatus{workflow.Pending, workflow.Success, workflow.Failure, workflow.Cancelled}
	events := subscribe(t, f, Filter{Types: []Type{Execution, Delivery}, Statuses: all}, "")
	failures := subscribe(t, f, Filter{Types: []Type{Execution}, Statuses: []workflow.ExecutionStatus{workflow.Failure}, WorkflowID: "small"}, "")
	w.begins(t, f)
	ctx := t.Context()
	conn := w.worker(t)
	var id string
	var at time.Time
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		event, committed, err := w.event(ctx, tx, "acme")
		if err != nil {
			return err
		}
		id, at = event+"-2", committed
		_, err = tx.Exec(ctx, `insert into rowbell.execution_open (id, committed_at, executed_at, version_ref, priority, open) values ($1, $2, clock_timestamp(), 2, 100, 2)`, id, at)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if e := next(t, events); e.Execution == nil || e.Execution.ID != id || e.Execution.Status != workflow.Pending || e.ID != "" || e.Execution.SettledAt != nil {
		t.Fatalf("%+v", e)
	}
	_, err = conn.Exec(ctx, `insert into rowbell.delivery_ended (execution_id, committed_at, ended_at, version_ref, "order", action, attempts, recipient, kind, status, reason, code)
values ($1, $2, clock_timestamp(), 2, 0, 0, 1, 'ann', 'email', 'succeeded', null, 250), ($1, $2, clock_timestamp(), 2, 0, 0, 3, 'ben', 'email', 'dead', 'no such mailbox', 550)`, id, at)
	if err != nil {
		t.Fatal(err)
	}
	if d := next(t, events).Delivery; d == nil || d.ID != id+"_0_ann" || d.Status != "succeeded" || d.WorkflowID != "large" {
		t.Fatalf("%+v", d)
	}
	if d := next(t, events).Delivery; d == nil || d.ID != id+"_0_ben" || d.Status != "dead" || d.Reason != "no such mailbox" || d.Attempts != 3 || d.Code != 550 {
		t.Fatalf("%+v", d)
	}
	_, err = conn.Exec(ctx, `with x as (delete from rowbell.execution_open returning *)
insert into rowbell.execution (id, committed_at, executed_at, settled_at, version_ref, priority, status, error)
select id, committed_at, executed_at, clock_timestamp(), version_ref, priority, 'failure', 'no such mailbox' from x`)
	if err != nil {
		t.Fatal(err)
	}
	x := next(t, events).Execution
	if x == nil || x.ID != id || x.Status != workflow.Failure || fmt.Sprint(x.Did) != "[{email succeeded 1 ann  0 0 0} {email dead 1 ben no such mailbox 0 0 0}]" || x.Only() != nil {
		t.Fatalf("%+v", x)
	}
	// One with a single delivery: that comes first, and has no place of its own.
	sole := w.settle(t, conn, 3, "failure", 0)
	if e := next(t, events); e.Delivery == nil || e.Delivery.ID != sole+"_0" || e.ID != "" || e.Delivery.Status != "dead" {
		t.Fatalf("%+v", e)
	}
	if e := next(t, events); e.Execution == nil || e.Execution.ID != sole || e.ID == "" {
		t.Fatalf("%+v", e)
	}
	if e := next(t, failures); e.Execution == nil || e.Execution.ID != sole {
		t.Errorf("who wants failures of one workflow gets %+v", e)
	}
}

// Readers of a tenant get what is the tenant's: of destinations, pauses and the stream as well.
func TestTenants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var mu sync.Mutex
	var pauses []workflow.Pause
	f := w.feed(t, func(c *Config) {
		c.Pauses = func(context.Context) ([]workflow.Pause, error) {
			mu.Lock()
			defer mu.Unlock()
			return append([]workflow.Pause(nil), pauses...), nil
		}
		c.Stream = func(context.Context) StreamState { return StreamState{Held: true, Holder: "rowbell/x/1"} }
	})
	of := func(tenant string) Filter { return Filter{Tenant: &tenant} }
	acme, globex, operators, everybody := subscribe(t, f, of("acme"), ""), subscribe(t, f, of("globex"), ""), subscribe(t, f, of(""), ""), subscribe(t, f, Filter{}, "")
	w.begins(t, f)
	if e := next(t, everybody); e.Type != Stream || !e.Stream.Held {
		t.Fatalf("%+v", e)
	}
	pgtest.Eventually(t, soon, "the feed knows how things are", func() bool { return w.log.polls.Load() > 3 })
	conn := w.worker(t)
	w.settle(t, conn, 2, "success", 0)
	w.settle(t, conn, 3, "success", 0)
	w.settle(t, conn, 4, "success", 0)
	told := func(events <-chan Event, want ...string) {
		t.Helper()
		for _, what := range want {
			e := next(t, events)
			for e.Type == Stream {
				e = next(t, events)
			}
			got := string(e.Type)
			switch e.Type {
			case Execution:
				got += " " + e.Execution.WorkflowID
			case Delivery:
				got += " " + e.Delivery.WorkflowID
			case Destination:
				got += " " + e.Destination.Destination + " " + string(e.Destination.State)
			case Pause:
				got += fmt.Sprintf(" %s %t %s", e.Pause.Scope, e.Pause.Begun, e.Pause.Reason)
			case Stream, Missed:
			}
			if got != what {
				t.Fatalf("got %q, want %q", got, what)
			}
		}
	}
	told(acme, "delivery large", "execution large")
	told(globex, "delivery small", "execution small")
	told(operators, "delivery ops", "execution ops")
	told(everybody, "delivery large", "execution large", "delivery small", "execution small", "delivery ops", "execution ops")

	lane := workflow.Lane("globex", "https://x.example/")
	down := workflow.Attempts{Lane: lane, TenantID: "globex", Kind: "webhook", Destination: "https://x.example/", Tries: 20, Failures: 20, Trailing: 20, Error: "refused"}
	if _, err := w.state.NoteAttempts(t.Context(), []workflow.Attempts{down}, workflow.Breaker{}.WithDefaults()); err != nil {
		t.Fatal(err)
	}
	told(globex, "destination https://x.example/ open")
	if err := w.state.EnableDestination(t.Context(), lane); err != nil {
		t.Fatal(err)
	}
	told(globex, "destination https://x.example/ closed")
	told(everybody, "destination https://x.example/ open", "destination https://x.example/ closed")

	set := func(list ...workflow.Pause) {
		mu.Lock()
		defer mu.Unlock()
		pauses = list
	}
	set(workflow.Pause{ID: "1", Reason: "secret plans"})
	told(everybody, "pause all true secret plans")
	told(acme, "pause all true ") // an operator's words are not for tenants
	told(globex, "pause all true ")
	set(workflow.Pause{ID: "2", TenantID: "globex", Reason: "unpaid"})
	for _, events := range []<-chan Event{acme, operators} {
		if events == operators {
			told(events, "pause all true ")
		}
		told(events, "pause all false ")
	}
	told(globex, "pause all false ")
	told(globex, "pause tenant true unpaid")
	set()
	told(globex, "pause tenant false unpaid")
	w.settle(t, conn, 2, "success", 0)
	told(acme, "delivery large", "execution large")
}
