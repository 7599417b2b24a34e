package app_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// worker is an App that runs in this process.
type worker struct {
	*app.App
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // what Run returned, once ended is closed
}

func startWorker(t *testing.T, db *pgtest.Database, change ...func(*app.Config)) *worker {
	t.Helper()
	return startLogged(t, db, testLogger(t), change...)
}

func startLogged(t *testing.T, db *pgtest.Database, log *slog.Logger, change ...func(*app.Config)) *worker {
	t.Helper()
	a, err := app.New(config(db, change...), log, "test", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &worker{App: a, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		w.err = a.Run(ctx)
	}()
	t.Cleanup(func() { _ = w.stop() })
	return w
}

// fails waits until the worker has ended by itself, and returns why.
func (w *worker) fails(t *testing.T) string {
	t.Helper()
	select {
	case <-w.ended:
	case <-time.After(pgtest.Patience):
		t.Fatal("the worker goes on")
	}
	if w.err == nil {
		t.Fatal("the worker ended in order")
	}
	return w.err.Error()
}

// stop ends the worker in order, and returns what Run returned.
func (w *worker) stop() error {
	w.cancel()
	<-w.ended
	return w.err
}

func config(db *pgtest.Database, change ...func(*app.Config)) app.Config {
	cfg := app.Config{
		SourceURL: db.URL, Slot: db.Name, Publication: "rowbell", Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0",
		HeartbeatInterval: time.Second,
	}
	for _, f := range change {
		f(&cfg)
	}
	return cfg
}

func testLogger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func (w *worker) holds(t *testing.T) {
	t.Helper()
	pgtest.Eventually(t, pgtest.Patience, "the worker to hold the slot", func() bool {
		select {
		case <-w.ended:
			t.Fatalf("the worker has ended: %v", w.err)
		default:
		}
		return strings.Contains(w.ready(t), "holding the slot and reading")
	})
}

func (w *worker) ready(t *testing.T) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.OpsAddr()+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	var b strings.Builder
	if _, err := fmt.Fprint(&b, resp.StatusCode, " "); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(&b, resp.Body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// logged waits until workflow_log holds this many executions of the workflow.
func logged(t *testing.T, db *pgtest.Database, workflow string, want int) {
	t.Helper()
	got := -1
	pgtest.Eventually(t, pgtest.Patience, fmt.Sprintf("%d executions of %s in workflow_log", want, workflow), func() bool {
		got = pgtest.One[int](t, db, "select count(*)::int from rowbell.workflow_log where workflow_id = $1", workflow)
		return got >= want
	})
	if got != want {
		t.Fatalf("%d executions of %s, want %d", got, workflow, want)
	}
}

// migrated is a database with the tables of source and state, as a worker makes them.
func migrated(t testing.TB) *pgtest.Database {
	t.Helper()
	return pgtest.Filled(t, "migrated", func(ctx context.Context, url string) error { return store.Migrate(ctx, url, url) })
}

const shop = `create table orders (
	id bigint generated always as identity primary key, tenant_id text not null, status text not null default 'new',
	total numeric(12,2) not null default 0, note text)`

// define writes a workflow on orders as an administrator does, in one transaction.
func define(t *testing.T, db *pgtest.Database, id, tenant, operation, conditions, action string) {
	t.Helper()
	db.Exec(t, `with d as (insert into rowbell.workflow_definition (id, tenant_id, name, status) values ($1, $2, 'Workflow ' || $1, 'active')),
		t as (insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ($1, 'orders', $3, $4::jsonb))
		insert into rowbell.workflow_action (workflow_id, action_type) values ($1, $5)`, id, tenant, operation, conditions, action)
}

// captured waits until the worker has captured orders and has read so.
func captured(t *testing.T, db *pgtest.Database) {
	t.Helper()
	pgtest.Eventually(t, pgtest.Patience, "orders to be captured", func() bool {
		return pgtest.One[bool](t, db, `select exists (select from rowbell.applied where kind = 'table' and id = 'orders')`)
	})
}

func TestRowChangeIsLoggedOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t) // empty: the worker makes its tables
	db.Exec(t, shop)
	w := startWorker(t, db)
	w.holds(t)
	define(t, db, "big-orders", "acme", "create", `{"total": {"gt": 1000}}`, "log")
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id, total) values ('acme', 1000.01), ('acme', 1000), ('globex', 5000)`)
	logged(t, db, "big-orders", 1)

	// Stopped in order and started again, nothing is recorded twice.
	if err := w.stop(); err != nil {
		t.Fatalf("the worker stopped with %v", err)
	}
	db.Exec(t, `insert into orders (tenant_id, total) values ('acme', 2000)`)
	startWorker(t, db).holds(t)
	logged(t, db, "big-orders", 2)
	row := pgtest.Query[string](t, db, `select concat_ws(' ', tenant_id, status, workflow_version, error) from rowbell.workflow_log order by executed_at limit 1`)
	if row[0] != "acme success 1" {
		t.Errorf("logged %q", row[0])
	}
}

// A version applies to the transactions that commit after its own, also to those that
// the worker reads long after.
func TestVersionAppliesFromItsCommit(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	w := startWorker(t, db)
	w.holds(t)
	define(t, db, "w", "acme", "create", `{"status": "a"}`, "log")
	captured(t, db)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `insert into orders (tenant_id, status) values ('acme', 'a'), ('acme', 'b')`)
	db.Exec(t, `update rowbell.workflow_trigger set field_conditions = '{"status": "b"}'`)
	db.Exec(t, `insert into orders (tenant_id, status) values ('acme', 'a'), ('acme', 'b')`)
	db.Exec(t, `update rowbell.workflow_definition set status = 'inactive'`)
	db.Exec(t, `insert into orders (tenant_id, status) values ('acme', 'a'), ('acme', 'b')`)
	db.Exec(t, `update rowbell.workflow_definition set status = 'active'`)
	db.Exec(t, `insert into orders (tenant_id, status) values ('acme', 'b')`)
	startWorker(t, db)
	logged(t, db, "w", 3)
	got := strings.Join(pgtest.Query[string](t, db, `select concat(l.workflow_version, e.data->'new'->>'status', e.data->'new'->>'id')
		from rowbell.workflow_log l join rowbell.workflow_event e on e.id = l.trigger_event_id order by 1`), " ")
	if want := "1a1 2b4 4b7"; got != want {
		t.Errorf("fired %q, want %q (version, status, order)", got, want)
	}
}

// What is wrong with one workflow is shown, and stops nothing else.
func TestHealth(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	w := startWorker(t, db)
	w.holds(t)
	define(t, db, "good", "acme", "create", `{}`, "log")
	define(t, db, "no-column", "acme", "create", `{"statuss": "a"}`, "log")
	define(t, db, "no-kind", "acme", "create", `{}`, "fax")
	define(t, db, "no-operator", "acme", "create", `{"total": {"above": 3}}`, "log")
	define(t, db, "old-values", "acme", "update", `{"status": {"changed_to": "a"}}`, "log")
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('empty', 'acme', 'Empty', 'active')`)
	captured(t, db)
	// No row has come through yet: the catalog tells what is wrong.
	for id, want := range map[string]string{
		"good": "ok", "no-column": "statuss", "no-kind": "fax", "no-operator": "above", "old-values": "REPLICA IDENTITY FULL", "empty": "incomplete",
	} {
		var got string
		pgtest.Eventually(t, pgtest.Patience, fmt.Sprintf("the health of %s to say %q", id, want), func() bool {
			got = strings.Join(pgtest.Query[string](t, db, `select concat_ws(': ', verdict, message) from rowbell.workflow_health where workflow_id = $1`, id), "")
			return strings.Contains(got, want)
		})
		t.Logf("%s: %s", id, got)
	}
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	logged(t, db, "good", 1)
	db.Exec(t, `update rowbell.workflow_trigger set field_conditions = '{"status": "new"}' where workflow_id = 'no-column'`)
	pgtest.Eventually(t, pgtest.Patience, "the mended workflow to be well", func() bool {
		return pgtest.One[string](t, db, `select verdict::text from rowbell.workflow_health where workflow_id = 'no-column'`) == "ok"
	})
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	logged(t, db, "good", 2)
	logged(t, db, "no-column", 1)
}

// A slot that is gone stops reading, is written down, and reading goes on by itself
// after a resync, in the next stream.
func TestResync(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	w := startWorker(t, db)
	w.holds(t)
	define(t, db, "w", "acme", "create", `{}`, "log")
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	logged(t, db, "w", 1)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `select pg_drop_replication_slot($1)`, db.Name)
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`) // lost

	w = startWorker(t, db)
	pgtest.Eventually(t, pgtest.Patience, "readiness to fail with the mend", func() bool {
		r := w.ready(t)
		return strings.HasPrefix(r, "503") && strings.Contains(r, "rowbell resync")
	})
	pgtest.Eventually(t, pgtest.Patience, "the gap in stream_gap", func() bool {
		return pgtest.One[int](t, db, "select count(*)::int from rowbell.stream_gap") == 1
	})
	op, err := app.NewOperator(config(db), testLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	r, err := op.Resync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Stream != 2 {
		t.Errorf("stream %d after the resync, want 2", r.Stream)
	}
	w.holds(t)
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	logged(t, db, "w", 2)
}

// A worker that is stopped before it runs has stopped in order too: here while it waits for
// its turn to migrate.
func TestStoppedAsItStarts(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	waits := func() bool {
		return pgtest.One[bool](t, db, `select exists (select from pg_locks where locktype = 'advisory' and not granted
			and database = (select oid from pg_database where datname = current_database()))`)
	}
	gate := db.Conn(t)
	if _, err := gate.Exec(t.Context(), `select pg_advisory_lock(x'726f7762656c6c4d'::bigint)`); err != nil {
		t.Fatal(err)
	}
	w := startWorker(t, db)
	pgtest.Eventually(t, pgtest.Patience, "the worker to wait", waits)
	if err := w.stop(); err != nil {
		t.Error(err)
	}
}

// State that belongs to another installation is not touched until it is adopted.
func TestOtherInstallation(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	w := startWorker(t, db)
	w.holds(t)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	second := startWorker(t, db, func(c *app.Config) { c.Slot += "_2" })
	if err := second.fails(t); !strings.Contains(err, "ROWBELL_SLOT="+db.Name) {
		t.Fatalf("a second slot was refused with %q, want the first one named", err)
	}
	staging := func(c *app.Config) { c.Instance = "staging" }
	if err := startWorker(t, db, staging).fails(t); !strings.Contains(err, "rowbell adopt") {
		t.Fatalf("another instance ended with %q, want rowbell adopt named", err)
	}
	op, err := app.NewOperator(config(db, staging), testLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	if _, err := op.Adopt(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, db, staging)
	w.holds(t)
	define(t, db, "w", "acme", "create", `{}`, "log")
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	logged(t, db, "w", 1)
}
