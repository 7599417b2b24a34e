package faulttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
)

// world is an application's database with Rowbell beside it.
type world struct {
	t          testing.TB
	rng        *rand.Rand
	db         *pgtest.Database
	binary     string
	slot       string // the worker's
	oracleSlot string
	env        []string  // settings of every worker
	source     string    // where workers find the database
	state      string    // the database with log and checkpoint; the application's by default
	hook       string    // action_config of webhooks, if they are to be delivered
	settles    *receiver // where they go

	mu      sync.Mutex
	workers []*worker
}

// migrated is a database with the tables of source and state, as a worker makes them.
func migrated(t testing.TB) *pgtest.Database {
	t.Helper()
	return pgtest.Filled(t, "migrated", func(ctx context.Context, url string) error { return store.Migrate(ctx, url, url) })
}

// newWorld makes the application's tables, the independent slot and Rowbell's schema,
// and a workflow that records markers.
func newWorld(t testing.TB, db *pgtest.Database, bin string, env ...string) *world {
	t.Helper()
	w := bareWorld(t, db, bin, env...)
	w.mustRun("migrate")
	w.defineMarker()
	return w
}

// bareWorld has nothing of Rowbell's yet.
func bareWorld(t testing.TB, db *pgtest.Database, bin string, env ...string) *world {
	t.Helper()
	w := &world{
		t: t, rng: pgtest.Rand(t), db: db, binary: bin, env: env, source: db.URL, state: db.URL,
		slot: pgtest.Slot(t, db), oracleSlot: pgtest.Slot(t, db),
	}
	t.Cleanup(w.endAll)
	db.Exec(t, applicationSchema)
	db.Exec(t, oracleSlotSQL, w.oracleSlot)
	return w
}

// defineMarker makes the workflow that drain waits for.
func (w *world) defineMarker() {
	w.t.Helper()
	w.db.Exec(w.t, `insert into rowbell.workflow_definition (id, name, status) values ('marker', 'marker', 'active')`)
	w.db.Exec(w.t, `with t as (insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ('marker', 'orders', 'create', '{"status": "marker"}'))
		insert into rowbell.workflow_action (workflow_id, action_type) values ('marker', 'log')`)
}

// defineStanding makes workflows that the administrator leaves alone, so that everything
// worth testing comes about whatever the choices are.
func (w *world) defineStanding() {
	w.t.Helper()
	for _, d := range []struct{ id, firing, table, op, form, kind, config string }{
		{"any", "every", "tickets", "update", `{"any_changed": ["status", "total"], "status": {"in": ["open", "paid"]}}`, "", ""},
		{"becomes", "becomes_true", "tickets", "update", `{"total": {"gt": 1000}}`, "", ""},
		{"once", "once_per_row", "tickets", "update", `{"not": {"status": "new"}}`, "", ""},
		{"emitted", "every", "domain:shipment", "create", `{"total": {"gt": 1000}}`, "", ""},
		{"boss", "every", "orders", "create", `{"total": {"lt": 300}}`, "role_based", `{"roles": ["boss"]}`},
		{"morning", "every", "orders", "create", `{"total": {"lt": 100}}`, "time_based", `{"hours": {"from": "00:00", "to": "12:00"}}`},
		{"evening", "every", "orders", "create", `{"total": {"lt": 100}}`, "time_based", `{"hours": {"from": "12:00", "to": "00:00"}}`},
	} {
		w.db.Exec(w.t, "insert into rowbell.workflow_definition (id, name, status, settings) values ($1, $1, 'active', jsonb_build_object('firing', $2::text))", d.id, d.firing)
		w.db.Exec(w.t, "insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ($1, $2, $3, $4::jsonb)", d.id, d.table, d.op, d.form)
		w.db.Exec(w.t, "insert into rowbell.workflow_action (workflow_id, action_type) values ($1, 'log')", d.id)
		if d.kind != "" {
			w.db.Exec(w.t, "insert into rowbell.workflow_condition (workflow_id, condition_type, condition_config) values ($1, $2, $3::jsonb)", d.id, d.kind, d.config)
		}
	}
}

func (w *world) settings(extra ...string) []string {
	settings := []string{
		"ROWBELL_SOURCE_URL=" + w.source,
		"ROWBELL_SLOT=" + w.slot,
		"ROWBELL_LISTEN=127.0.0.1:0",
		"ROWBELL_OPS_LISTEN=127.0.0.1:0",
		"ROWBELL_DELIVERY=hold",
		"ROWBELL_LOG_FORMAT=json",
		"ROWBELL_STORM_TRANSACTION=off", "ROWBELL_STORM_MINUTE=off", // there is more at once here than anybody wants
	}
	if w.state != w.db.URL {
		settings = append(settings, "ROWBELL_STATE_URL="+w.state)
	}
	return append(settings, append(slices.Clone(w.env), extra...)...)
}

// start starts a worker.
func (w *world) start(name string, extra ...string) (*worker, error) {
	return w.startCommand(name, []string{"run"}, extra...)
}

func (w *world) startCommand(name string, args []string, extra ...string) (*worker, error) {
	k, err := startWorker(name, w.binary, args, w.settings(extra...))
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.workers = append(w.workers, k)
	w.mu.Unlock()
	return k, nil
}

// run runs a command to its end, and returns its exit code and what it wrote.
func (w *world) run(args ...string) (code int, output string, err error) {
	k, err := w.startCommand(args[0], args)
	if err != nil {
		return 0, "", err
	}
	code, err = k.exitCode(time.Minute)
	return code, k.log.tail(400), err
}

// mustRun is run for what must succeed.
func (w *world) mustRun(args ...string) {
	w.t.Helper()
	code, output, err := w.run(args...)
	if err != nil {
		w.t.Fatal(err)
	}
	if code != 0 {
		w.t.Fatalf("rowbell %s: exit code %d\n%s", strings.Join(args, " "), code, output)
	}
}

// endAll kills what still runs.
func (w *world) endAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range w.workers {
		k.kill()
		if w.t.Failed() && os.Getenv("ROWBELL_TEST_LOGS") != "" {
			w.t.Logf("worker %s:\n%s", k.name, k.log.tail(400))
		}
	}
}

// alarm returns the first thing that a worker reported and must never have.
func (w *world) alarm() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range w.workers {
		if err := k.alarm(); err != nil {
			return err
		}
	}
	return nil
}

// connect opens a connection. The server may have to come back.
func connect(ctx context.Context, url string) (*pgx.Conn, error) {
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			return conn, nil
		}
		if pauseErr := pause(ctx, 50*time.Millisecond); pauseErr != nil {
			return nil, errors.Join(err, pauseErr)
		}
	}
}

// eventually polls a condition until it holds. An alarm ends the wait; an error of the
// query is only told when the time is over: the server may be gone for a moment.
func (w *world) eventually(ctx context.Context, url string, within time.Duration, what, query string, args ...any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("not within %s: %s", within, what))
	defer cancel()
	var conn *pgx.Conn
	defer func() { closeConn(conn) }()
	for {
		var err error
		if conn == nil {
			conn, err = pgx.Connect(ctx, url)
		}
		if err == nil {
			var ok bool
			if err = conn.QueryRow(ctx, query, args...).Scan(&ok); err == nil && ok {
				return nil
			}
		}
		if err != nil && ctx.Err() == nil {
			closeConn(conn)
			conn = nil
		}
		if err := w.alarm(); err != nil {
			return err
		}
		if pauseErr := pause(ctx, 20*time.Millisecond); pauseErr != nil {
			return errors.Join(pauseErr, err, errors.New(w.situation()))
		}
	}
}

// situation tells what is known of slot, checkpoint and workers, for a failure.
func (w *world) situation() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var b strings.Builder
	for _, q := range []struct{ url, query string }{
		{w.db.URL, "select to_jsonb(s)::text from pg_replication_slots s where slot_name = $1"},
		{w.state, "select to_jsonb(c)::text from rowbell.checkpoint c where slot = $1"},
		{w.state, "select to_jsonb(c)::text from rowbell.holder c where slot = $1"},
		{w.state, "select to_jsonb(c)::text from rowbell.stream_gap c where slot = $1"},
		{w.state, "select to_jsonb(q)::text from rowbell.queue q where $1 <> '' order by executed_at limit 8"},
		{w.state, "select to_jsonb(d)::text from rowbell.destination d where state <> 'closed' and $1 <> ''"},
		{w.state, "select to_jsonb(x)::text from rowbell.executor x where $1 <> ''"},
	} {
		list, err := query(ctx, q.url, q.query, w.slot)
		for _, s := range list {
			fmt.Fprintln(&b, s)
		}
		if err != nil {
			fmt.Fprintln(&b, err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range w.workers[max(0, len(w.workers)-3):] {
		fmt.Fprintf(&b, "worker %s (running: %v) wrote last:\n%s\n", k.name, k.running(), k.log.tail(12))
	}
	return b.String()
}

func query(ctx context.Context, url, sql string, args ...any) ([]string, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn)
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// drain waits until a change that is made now is in the log. Changes count only once
// their table is captured, which the first worker sees to.
func (w *world) drain(ctx context.Context, within time.Duration) error {
	if err := w.eventually(ctx, w.db.URL, within, "table orders is captured", "select exists (select from rowbell.captured_table where label = 'orders')"); err != nil {
		return err
	}
	conn, err := connect(ctx, w.db.URL)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	var id string
	err = conn.QueryRow(ctx, "insert into orders (writer, tenant_id, status, total) values (-2, 'acme', 'marker', 0) returning id::text").Scan(&id)
	if err != nil {
		return fmt.Errorf("insert a marker: %w", err)
	}
	return w.eventually(ctx, w.state, within, "the last change is in the log",
		`select exists (select from rowbell.workflow_event e join rowbell.workflow_log l on l.trigger_event_id = e.id
			where e.table_name = 'orders' and e.row_key = $1 and l.workflow_id = 'marker')`, id)
}

// outcome is what a scenario has found when nothing was wrong.
type outcome struct {
	transactions, versions, executions int
	seen                               map[string]int
}

// verify compares the log with what it must hold.
func (w *world) verify(ctx context.Context) (outcome, error) {
	if err := w.alarm(); err != nil {
		return outcome{}, err
	}
	source, err := connect(ctx, w.db.URL)
	if err != nil {
		return outcome{}, err
	}
	defer closeConn(source)
	conn, err := connect(ctx, w.state)
	if err != nil {
		return outcome{}, err
	}
	defer closeConn(conn)
	var snapshot string
	if err := conn.QueryRow(ctx, "select snapshot from rowbell.checkpoint where slot = $1", w.slot).Scan(&snapshot); err != nil {
		return outcome{}, fmt.Errorf("read the first load's snapshot: %w", err)
	}
	h, err := readHistory(ctx, source, w.oracleSlot, snapshot)
	if err != nil {
		return outcome{}, err
	}
	got, lsns, problems, err := recorded(ctx, conn, h.commits)
	if err != nil {
		return outcome{}, fmt.Errorf("read the log: %w", err)
	}
	want := h.expected()
	if w.settles != nil {
		for x, n := range want {
			if x.Outcome == "pending" {
				delete(want, x)
				x.Outcome = delivered
				want[x] += n
			}
		}
		if err := w.verifyDelivered(ctx, source, conn); err != nil {
			problems = append(problems, err.Error())
		}
	}
	problems = append(problems, h.differences(want, got, lsns)...)
	unlike, err := h.unlike(ctx, conn)
	if err != nil {
		return outcome{}, err
	}
	problems = append(problems, unlike...)
	var pending, deliveries, odd int
	err = conn.QueryRow(ctx, `select (select count(*) from rowbell.workflow_log where status = 'pending'),
		(select count(distinct execution_id) from rowbell.delivery),
		(select count(*) from rowbell.stream_gap) + (select count(*) from rowbell.big_transaction where status <> 'released')`).Scan(&pending, &deliveries, &odd)
	if err != nil {
		return outcome{}, err
	}
	if pending != deliveries {
		problems = append(problems, fmt.Sprintf("%d executions are pending, and %d have deliveries", pending, deliveries))
	}
	if odd != 0 {
		problems = append(problems, fmt.Sprintf("%d rows in stream_gap, or in big_transaction with another status than released", odd))
	}
	if len(problems) > 0 {
		return outcome{}, errors.New(strings.Join(problems[:min(len(problems), 25)], "\n"))
	}
	executions := 0
	for _, n := range got {
		executions += n
	}
	return outcome{len(h.commits.order), h.count, executions, h.seen}, nil
}
