package executor_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/engine/executor"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const (
	slot  = "rowbell"
	lease = 30 * time.Second
	// soon is for what should happen at once, on a busy machine.
	soon = 20 * time.Second
)

// A world is a database with state and source, workflows, and executors that share it.
type world struct {
	db       *pgtest.Database
	state    *store.State
	source   *store.Source
	rec      *store.Recorder
	last     workflow.Checkpoint
	at       time.Time // commit time of the last event
	ref      int32     // last surrogate
	probe    *probe
	registry *actions.Registry
	secrets  map[string]string
	// Wrappers of what executors that are started afterwards use.
	wrapStore func(executor.Store) executor.Store
	wrapQueue func(executor.Queue) executor.Queue
}

// migrate makes the tables of source and state.
func migrate(ctx context.Context, url string) error { return store.Migrate(ctx, url, url) }

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{db: pgtest.Filled(t, "migrated", migrate), ref: 1, at: time.Now().UTC().Truncate(time.Microsecond), secrets: make(map[string]string)}
	w.wrapStore = func(s executor.Store) executor.Store { return s }
	w.wrapQueue = func(q executor.Queue) executor.Queue { return q }
	w.probe = newProbe()
	var err error
	w.registry, err = actions.NewRegistry(w.probe.kind("probe", false), w.probe.kind("mail", true))
	if err != nil {
		t.Fatal(err)
	}
	pool := w.db.Pool(t)
	w.state, w.source = store.OpenState(pool), store.OpenSource(pool)
	first := store.First{
		Slot: slot, SystemID: "7301", Timeline: 1, Snapshot: "10:20:15",
		Checkpoint: workflow.Checkpoint{Position: change.Position{Stream: 1, CommitLSN: 0x1000, Seq: change.SeqWhole}, EndLSN: 0x1000, ConfirmLSN: 0x1000, XIDFloor: 3},
		Applied:    []workflow.Applied{{Kind: workflow.AppliedTable, ID: "orders", Version: 1, Surrogate: 1, Name: "orders"}},
	}
	if err := w.state.Begin(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	held, err := w.state.Acquire(t.Context(), slot, "rowbell/test/1", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	w.last = held.Checkpoint
	if w.rec, err = w.state.Recorder(t.Context(), slot, held.Epoch); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.rec.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// A definition is a workflow as SQL writes it.
type definition struct {
	id, tenant string // tenant defaults to acme
	settings   string
	actions    []action
	recipients []string // type:value, for all actions
	roles      []string // configs of role_based conditions
}

type action struct {
	kind   string // defaults to probe
	config string // defaults to {}
	order  int32
}

// defined is a version of a workflow that applies.
type defined struct {
	definition
	ref   int32
	doc   *workflow.Workflow
	steps []actions.Step // nil if it can't be planned
}

func (w *world) define(t testing.TB, d definition) *defined {
	t.Helper()
	d.tenant = cmp.Or(d.tenant, "acme")
	tx, err := w.db.Pool(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := tx.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`insert into rowbell.workflow_definition (id, tenant_id, name, status, settings) values ($1, $2, $3, 'active', $4)`,
		d.id, d.tenant, "The "+d.id, cmp.Or(d.settings, "{}"))
	for i, a := range d.actions {
		exec(`insert into rowbell.workflow_action (id, workflow_id, action_type, action_config, "order") values ($1, $2, $3, $4, $5)`,
			fmt.Sprintf("%s-%d", d.id, i), d.id, cmp.Or(a.kind, "probe"), cmp.Or(a.config, "{}"), a.order)
	}
	for _, r := range d.roles {
		exec(`insert into rowbell.workflow_condition (workflow_id, condition_type, condition_config) values ($1, 'role_based', $2)`, d.id, r)
	}
	for _, r := range d.recipients {
		kind, value, _ := strings.Cut(r, ":")
		exec(`insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ($1, $2, $3)`, d.id, kind, value)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.ref++
	f := &defined{definition: d, ref: w.ref}
	versions, err := w.source.Versions(t.Context(), []store.VersionRef{{ID: d.id, Version: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if f.doc, err = workflow.Parse(versions[0].Document); err != nil {
		t.Fatal(err)
	}
	if p, err := w.registry.Plan(f.doc); err == nil {
		f.steps = p.Steps
	}
	b := &workflow.Batch{Previous: w.last, Next: w.last, Applied: []workflow.Applied{
		{Kind: workflow.AppliedWorkflow, ID: d.id, Version: 1, Surrogate: w.ref, TenantID: d.tenant, Name: "The " + d.id},
	}}
	if err := w.rec.Record(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return f
}

// batch is of n events, each with an execution of f.
func (w *world) batch(f *defined, n int, data ...string) *workflow.Batch {
	b := &workflow.Batch{Previous: w.last, Next: w.last}
	for i := range n {
		row := `{"new":{"id":1}}`
		if i < len(data) {
			row = data[i]
		}
		w.at = w.at.Add(time.Millisecond)
		p := change.Position{Stream: 1, CommitLSN: b.Next.Position.CommitLSN + 0x100}
		e := &workflow.Event{
			ID: change.EventID(w.at, p, change.SideFirst).String(), Position: p, CommittedAt: w.at, TableRef: 1, Table: "orders", Op: change.Create,
			TenantID: f.tenant, RowKey: fmt.Sprint(i + 1), Data: []byte(row),
		}
		x := &workflow.Execution{Event: e, VersionRef: f.ref, TenantID: f.tenant, Priority: 100, Status: workflow.Pending}
		b.Events, b.Executions = append(b.Events, e), append(b.Executions, x)
		firing, _ := f.doc.Firing()
		if firing == workflow.OncePerRow {
			b.Fired = append(b.Fired, workflow.Fired{Execution: x, WorkflowID: f.id})
		}
		if firing == workflow.OncePerRow || strings.Contains(strings.Join(f.roles, ""), "directory") {
			b.Deliveries = append(b.Deliveries, &workflow.Delivery{
				Execution: x, Action: workflow.GateAction, Kind: workflow.GateKind, Order: workflow.GateOrder,
				Lane: workflow.Lane(f.tenant, workflow.GateKind), Addressed: true,
			})
		}
		for i, a := range f.doc.Actions { // they come in their order
			d := &workflow.Delivery{Execution: x, Action: int16(i), Kind: a.Type, Order: a.Order, Addressed: true}
			if f.steps != nil {
				d.Lane, d.Addressed = f.steps[i].Lane, !f.steps[i].Kind.Recipients
			}
			b.Deliveries = append(b.Deliveries, d)
		}
		p.Seq = change.SeqWhole
		b.Next = workflow.Checkpoint{Position: p, EndLSN: p.CommitLSN + 0x30, ConfirmLSN: p.CommitLSN + 0x40, XIDFloor: 9}
	}
	return b
}

// record writes a batch as a process does that delivers nothing of it itself.
func (w *world) record(t testing.TB, b *workflow.Batch) *workflow.Batch {
	t.Helper()
	if err := w.rec.Record(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	w.last = b.Next
	return b
}

// queued records n executions of f that are free to claim.
func (w *world) queued(t testing.TB, f *defined, n int, data ...string) *workflow.Batch {
	t.Helper()
	return w.record(t, w.batch(f, n, data...))
}

// storage is what an executor reads, with the world's secrets.
type storage struct {
	store.Definitions
	secrets map[string]string
}

func (s storage) Secret(_ context.Context, tenantID, name string) (string, error) {
	if v, ok := s.secrets[tenantID+"/"+name]; ok {
		return v, nil
	}
	return "", fmt.Errorf("tenant %s has no secret %s", tenantID, name)
}

// process is an executor that runs.
type process struct {
	*executor.Executor
	name  string
	world *world
	stop  context.CancelFunc // no more is taken
	kill  context.CancelFunc // what runs is cut off
	ended chan struct{}
	reg   *prometheus.Registry
}

// start starts an executor, which is stopped at the end of the test.
func (w *world) start(t testing.TB, name string, change ...func(*executor.Config)) *process {
	t.Helper()
	return w.startOn(t, w.db.URL, name, change...)
}

// startOn starts an executor that reaches state by a URL of its own.
func (w *world) startOn(t testing.TB, url, name string, change ...func(*executor.Config)) *process {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	own := *w
	own.state = store.OpenState(pool)
	cfg := executor.Config{Lease: lease, Plan: w.registry.Plan, Logger: slog.New(slog.DiscardHandler), Concurrency: 32}
	for _, f := range change {
		f(&cfg)
	}
	p := &process{name: name, world: w, ended: make(chan struct{}), reg: prometheus.NewRegistry()}
	p.Executor = executor.New(cfg, w.wrapStore(storage{store.Definitions{State: own.state, Source: own.source}, w.secrets}), func() executor.Queue { return own.wrapQueue(own.state.Queue(name, cfg.Lease)) },
		executor.NewMetrics(p.reg, []string{"probe", "mail"}))
	ctx, stop := context.WithCancel(context.Background())
	work, kill := context.WithCancel(context.Background())
	p.stop, p.kill = stop, kill
	go func() {
		defer close(p.ended)
		if err := p.Run(ctx, work); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		w.probe.open()
		stop()
		kill()
		p.wait(t, soon)
		pool.Close()
	})
	return p
}

// wait waits for the end of Run.
func (p *process) wait(t testing.TB, within time.Duration) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(within):
		t.Errorf("%s runs on after %s", p.name, within)
	}
}

// gauge is the value of one of its metrics.
func (p *process) gauge(t testing.TB, name string) float64 {
	t.Helper()
	all, err := p.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// record records n executions of f as the process that holds the slot does.
func (p *process) record(t testing.TB, b *workflow.Batch, lease time.Duration) *workflow.Batch {
	t.Helper()
	p.world.rec.LeaseTo(p.name, lease)
	p.Reserve(b.Deliveries)
	since := time.Now()
	p.world.record(t, b)
	p.Recorded(b.Deliveries, since, true)
	return b
}

// log is what stands in workflow_log: how many executions of f are in each status.
func (w *world) log(t testing.TB, f *defined) string {
	t.Helper()
	return w.db.QueryString(t, `select coalesce(string_agg(status || ' ' || n, ', ' order by status), '')
		from (select status, count(*) n from rowbell.workflow_log where workflow_id = $1 group by 1) s`, f.id)
}

// eventually waits until workflow_log has this of f, and nothing is left that belongs to
// no pending execution.
func (w *world) eventually(t testing.TB, f *defined, want string) {
	t.Helper()
	var got string
	defer func() {
		if got != want {
			t.Logf("the log has %q; in the queue: %s", got, w.db.QueryString(t, `select coalesce(string_agg(concat_ws(' ', id, state, attempts, lease_by, error), '; '), 'none')
				from (select * from rowbell.delivery where workflow_id = $1 limit 5) d`, f.id))
		}
	}()
	pgtest.Eventually(t, soon, "the log says "+want, func() bool { got = w.log(t, f); return got == want })
}

// rows are the values of a text query, sorted by it.
func (w *world) rows(t testing.TB, sql string, args ...any) string {
	t.Helper()
	return strings.Join(pgtest.Query[string](t, w.db, sql, args...), "\n")
}

func (w *world) status(t testing.TB, f *defined, status string) {
	t.Helper()
	if status == "deleted" {
		w.db.Exec(t, `delete from rowbell.workflow_definition where id = $1`, f.id)
		return
	}
	w.db.Exec(t, `update rowbell.workflow_definition set status = $2 where id = $1`, f.id, status)
}

// probe is an action of which a test says what becomes of it, and which counts.
type probe struct {
	mu      sync.Mutex
	act     func(ctx context.Context, d *actions.Delivery) (actions.Result, error)
	seen    map[string][]int // attempts by delivery id
	at      []seen
	running map[string]int // by destination, tenant and "" for all
	most    map[string]int
	gates   map[string]chan struct{}
	limits  map[string]actions.Limits // of destinations; set before anything runs
}

type seen struct {
	id, destination string
	at              time.Time
}

func newProbe() *probe {
	return &probe{seen: make(map[string][]int), running: make(map[string]int), most: make(map[string]int), gates: make(map[string]chan struct{})}
}

// does says what an attempt does from now on; nil: it succeeds.
func (p *probe) does(act func(ctx context.Context, d *actions.Delivery) (actions.Result, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.act = act
}

// hang lets attempts to a destination hang, until open or the end of their context.
func (p *probe) hang(destination string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gates[destination] = make(chan struct{})
}

// open ends all hanging.
func (p *probe) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, gate := range p.gates {
		close(gate)
	}
	clear(p.gates)
}

// attempts returns the attempts that a delivery saw.
func (p *probe) attempts(id string) []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.seen[id])
}

// counts returns how many deliveries it saw, and how many attempts.
func (p *probe) counts() (deliveries, attempts int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.seen {
		attempts += len(a)
	}
	return len(p.seen), attempts
}

// to returns how many attempts to a destination began so far.
func (p *probe) to(destination string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, s := range p.at {
		if s.destination == destination {
			n++
		}
	}
	return n
}

// times returns when attempts to a destination began, in order.
func (p *probe) times(destination string) []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	var at []time.Time
	for _, s := range p.at {
		if s.destination == destination {
			at = append(at, s.at)
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	return at
}

// reset forgets how many ran at once.
func (p *probe) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.most)
}

func (p *probe) runningNow(key string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running[key]
}

func (p *probe) mostAtOnce(key string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.most[key]
}

func (p *probe) kind(name string, recipients bool) *actions.Kind {
	return &actions.Kind{
		Schema: `{"type": "object", "properties": {"to": {"type": "string"}, "secret": {}}, "additionalProperties": false}`,
		Name:   name, Title: name, Recipients: recipients, Retry: actions.Schedule{time.Hour},
		Parse: func(config json.RawMessage, _ actions.Texts) (actions.Runner, error) {
			var c struct{ To, Secret string }
			if err := json.Unmarshal(config, &c); err != nil {
				return nil, err
			}
			if c.To == "nowhere" {
				return nil, fmt.Errorf("to: %s is no destination", c.To)
			}
			return &probeRunner{p, c.To}, nil
		},
	}
}

type probeRunner struct {
	*probe
	destination string
}

func (r *probeRunner) Destination() string { return r.destination }
func (r *probeRunner) Secrets() []string   { return nil }

func (r *probeRunner) Limits() actions.Limits { return r.limits[r.destination] }

func (r *probeRunner) Run(ctx context.Context, d *actions.Delivery) (actions.Result, error) {
	r.mu.Lock()
	r.seen[d.ID] = append(r.seen[d.ID], d.Attempt)
	r.at = append(r.at, seen{d.ID, r.destination, time.Now()})
	for _, key := range []string{"", "to " + r.destination, "of " + d.Workflow.TenantID} {
		r.running[key]++
		r.most[key] = max(r.most[key], r.running[key])
	}
	act, gate := r.act, r.gates[r.destination]
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, key := range []string{"", "to " + r.destination, "of " + d.Workflow.TenantID} {
			r.running[key]--
		}
	}()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return actions.Result{}, ctx.Err()
		}
	}
	if act == nil {
		return actions.Result{Code: 200, Response: "thanks"}, nil
	}
	return act(ctx, d)
}
