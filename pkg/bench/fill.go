package bench

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// FillOptions say what a database is filled with. The same ones fill it the same, but for
// the times: the log ends when it is filled.
type FillOptions struct {
	URL       string // an empty database of a server with wal_level = logical
	Workflows int    // Defaults to 100,000
	Rows      int    // executions. Defaults to 10,000,000
	Tenants   int    // Defaults to 1000
	Tables    int    // Defaults to 20
	Days      int    // that the log goes back. Defaults to 7
	Seed      uint64 // Defaults to 1
	Log       io.Writer
}

// fillServer is what a throw-away server is run with that is to be filled.
var fillServer = localpg.Options{Settings: map[string]string{
	"shared_buffers": "2GB", "max_wal_size": "8GB", "checkpoint_timeout": "15min", "maintenance_work_mem": "512MB", "effective_cache_size": "8GB",
}}

// FillServer starts a throw-away server, fills a database of it, says where that is, and
// keeps the server until ctx ends.
func FillServer(ctx context.Context, o FillOptions) (err error) {
	server, err := localpg.Start(ctx, fillServer)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if err := execute(ctx, server.URL("postgres"), "create database fill"); err != nil {
		return err
	}
	o.URL = server.URL("fill")
	if err := Fill(ctx, o); err != nil {
		return err
	}
	fmt.Fprintf(o.Log, "it is at %s until you end this process\n", o.URL)
	<-ctx.Done()
	return nil
}

// Fill fills an empty database with definitions and a log, as if workers had made it: some
// tenants have much and most have little, so have workflows and rows; hours of the day
// differ; there are imports of thousands of rows in one transaction, workflows that fail,
// retries, deliveries to several people, inboxes, and deliveries that wait for a retry. All
// is where a worker would have it, and a worker can go on from there: nothing has been
// changed since. It is written by COPY, and partitions get their indexes when they are
// full.
func Fill(ctx context.Context, o FillOptions) error {
	o.Workflows, o.Rows, o.Tenants = cmp.Or(o.Workflows, 100_000), cmp.Or(o.Rows, 10_000_000), cmp.Or(o.Tenants, 1000)
	o.Tables, o.Days, o.Seed = cmp.Or(o.Tables, 20), cmp.Or(o.Days, 7), cmp.Or(o.Seed, 1)
	switch {
	case o.Workflows < 1 || o.Rows < 1 || o.Tenants < 1 || o.Tables < 1 || o.Days < 1:
		return errors.New("workflows, rows, tenants, tables and days must be at least 1")
	case o.Days > 30:
		return fmt.Errorf("%d days are more than the log keeps: 30", o.Days)
	case o.Tables > 1000 || o.Workflows > 2_000_000 || o.Tenants > 1_000_000:
		return errors.New("at most 1000 tables, 2,000,000 workflows and 1,000,000 tenants")
	}
	f := &filler{FillOptions: o, random: rand.New(rand.NewPCG(o.Seed, 0)), now: time.Now().UTC().Truncate(time.Second)}
	begun := time.Now()
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"look at the database", f.look},
		{"make the application's tables, and capture them", f.tables},
		{fmt.Sprintf("define %d workflows of %d tenants", o.Workflows, o.Tenants), f.define},
		{"make the first checkpoint", f.start},
		{fmt.Sprintf("write %d executions of %d days", o.Rows, o.Days), f.log},
		{"write what is pending", f.pending},
		{"make the slot, and analyze", f.finish},
		{"count the hours for statistics", f.count},
		{"dismiss causes of failures, and save views", func(ctx context.Context) error { return decide(ctx, f.URL) }},
	} {
		at := time.Now()
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		fmt.Fprintf(o.Log, "%-60s %6.1f s\n", step.what, time.Since(at).Seconds())
	}
	var size string
	if err := f.scan(ctx, "select pg_size_pretty(pg_database_size(current_database()))", &size); err != nil {
		return err
	}
	fmt.Fprintf(o.Log, "%d events, %d executions (%d pending), %d deliveries of executions with several, %d attempts before the last, %d notifications: %s, in %.0f s\n",
		f.events, f.rows, len(f.waiting)+len(f.opened), f.several, f.attempts, f.notifications, size, time.Since(begun).Seconds())
	return nil
}

// filler fills one database.
type filler struct {
	FillOptions
	random *rand.Rand
	now    time.Time

	labels    []string
	tableRefs []int32
	workflows []filledWorkflow
	tenants   []filledTenant // the last one is none: operators
	shares    []float64      // of tenants, added up

	events, rows, several, attempts, notifications int
	waiting, opened                                [][]byte // rows of queue and of execution_open
}

type filledTenant struct {
	id        string // "" operators
	workflows []int  // that run, the busiest first
	shares    []float64
	byTable   map[int][]int
	people    int
}

type filledWorkflow struct {
	id     string
	tenant int
	table  int
	op     byte // c, u, d
	kind   string
	active bool
	sick   bool    // fails often
	refs   []int32 // of its versions, the first one first
	lane   int64
}

func (f *filler) scan(ctx context.Context, sql string, into ...any) error {
	conn, err := pgx.Connect(ctx, f.URL)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	return conn.QueryRow(ctx, sql).Scan(into...)
}

// look refuses a database that has something in it.
func (f *filler) look(ctx context.Context) error {
	var level string
	var rowbell bool
	var tables int
	err := f.scan(ctx, `select current_setting('wal_level'), to_regnamespace('rowbell') is not null,
	(select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p') and n.nspname not like 'pg\_%' and n.nspname not in ('information_schema', 'rowbell'))`,
		&level, &rowbell, &tables)
	switch {
	case err != nil:
		return err
	case rowbell:
		return errors.New("the database has an installation of Rowbell; give an empty one: createdb rowbell_fill")
	case tables > 0:
		return fmt.Errorf("the database is not empty (tables: %d); give an empty one: createdb rowbell_fill", tables)
	case level != "logical":
		return fmt.Errorf("the server's wal_level is %s: alter system set wal_level = logical, and restart it", level)
	}
	return nil
}

var tableNames = []string{
	"orders", "invoices", "payments", "tickets", "customers", "products", "shipments", "returns", "contracts", "subscriptions",
	"leads", "deals", "tasks", "projects", "employees", "absences", "assets", "bookings", "reviews", "messages",
}

func (f *filler) tables(ctx context.Context) error {
	if err := store.Migrate(ctx, f.URL, f.URL); err != nil {
		return err
	}
	op, err := app.NewOperator(config(f.URL), discard)
	if err != nil {
		return err
	}
	defer op.Close()
	if err := op.Prepare(ctx); err != nil {
		return err
	}
	for i := range f.Tables {
		name := tableNames[i%len(tableNames)]
		if n := i / len(tableNames); n > 0 {
			name += strconv.Itoa(n + 1)
		}
		f.labels = append(f.labels, name)
		if err := execute(ctx, f.URL, "create table "+name+` (id bigint primary key, tenant_id text not null, status text not null, total numeric(12,2) not null,
			email text not null, note text not null, updated_at timestamptz not null default now()); alter table `+name+" replica identity full"); err != nil {
			return err
		}
		if err := op.Capture(ctx, name, store.CaptureOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// falling are the shares, added up, of n things of which the k-th has 1/k^power.
func falling(n int, power float64) []float64 {
	list := make([]float64, n)
	sum := 0.0
	for i := range list {
		sum += math.Pow(float64(i+1), -power)
		list[i] = sum
	}
	for i := range list {
		list[i] /= sum
	}
	return list
}

func (f *filler) pick(shares []float64) int {
	return min(sort.SearchFloat64s(shares, f.random.Float64()), len(shares)-1)
}

var (
	verbs = []string{"approved", "created", "cancelled", "overdue", "shipped", "assigned", "reopened", "changed", "escalated", "closed"}
	ends  = []string{"tell sales", "tell the owner", "post to the partner", "note in the log", "tell finance", "call the warehouse", "remind the manager", "sync the CRM"}
)

// ways are how things are done, in the states of rows.
var ways = []string{"", " late", " in part", " by hand", " again"}

// fillStates is how many states rows have that workflows ask for.
const fillStates = 50

// stateOf is the state that a workflow asks for, by its number.
func stateOf(i int) string { return verbs[i%len(verbs)] + ways[i%fillStates/len(verbs)] }

// tenantOf is a tenant's id, by its number.
func tenantOf(i int) string {
	if first := []string{"acme", "globex", "initech"}; i < len(first) {
		return first[i]
	}
	return fmt.Sprintf("tenant-%04d", i)
}

// plan decides what workflows there are.
func (f *filler) plan() {
	f.tenants = make([]filledTenant, f.Tenants+1)
	for i := range f.Tenants {
		f.tenants[i] = filledTenant{id: tenantOf(i), people: 20 + f.random.IntN(200)}
	}
	f.tenants[f.Tenants].people = 50
	f.shares = falling(f.Tenants, 0.8)
	tableShares := falling(f.Tables, 0.7)
	kinds := []string{"webhook", "webhook", "webhook", "webhook", "webhook", "email", "email", "notification", "notification", "log"}
	f.workflows = make([]filledWorkflow, f.Workflows)
	for i := range f.workflows {
		w := &f.workflows[i]
		w.id = fmt.Sprintf("wf-%06d", i)
		if w.tenant = f.pick(f.shares); i < f.Tenants {
			w.tenant = i // everybody has one
		}
		if i%200 == 199 {
			w.tenant = f.Tenants
		}
		w.table, w.kind, w.op = f.pick(tableShares), kinds[f.random.IntN(len(kinds))], "ccuuud"[f.random.IntN(6)]
		w.active, w.sick = f.random.IntN(100) < 85, f.random.IntN(100) < 3
		versions := 1
		if f.random.IntN(10) == 0 {
			versions += 1 + f.random.IntN(4)
		}
		w.refs = make([]int32, versions)
		t := &f.tenants[w.tenant]
		w.lane = workflow.Lane(t.id, w.destination(t.id))
		if w.active {
			if t.byTable == nil {
				t.byTable = make(map[int][]int)
			}
			t.workflows, t.byTable[w.table] = append(t.workflows, i), append(t.byTable[w.table], i)
		}
	}
	for i := range f.tenants {
		f.tenants[i].shares = falling(len(f.tenants[i].workflows), 1)
	}
}

func (w *filledWorkflow) destination(tenantID string) string {
	if w.kind != "webhook" {
		return w.kind
	}
	n, _ := strconv.Atoi(w.id[3:])
	return fmt.Sprintf("https://hooks%d.example.com/%s", n%3, cmp.Or(tenantID, "operators"))
}

// define writes the definitions through the version trigger's own function: the trigger
// itself would look at each workflow once for each of its parts.
func (f *filler) define(ctx context.Context) error {
	f.plan()
	conn, err := pgx.Connect(ctx, f.URL)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		back, err := withoutTriggers(ctx, tx, "workflow_definition", "workflow_trigger", "workflow_action", "workflow_recipient")
		if err != nil {
			return err
		}
		copies := []struct {
			to  string
			row func(b *copyRow, w *filledWorkflow, i int)
		}{
			{"workflow_definition (id, tenant_id, name, status, created_by, created_at, updated_at)", func(b *copyRow, w *filledWorkflow, i int) {
				status := "inactive"
				if w.active {
					status = "active"
				} else if i%3 == 0 {
					status = "draft"
				}
				at := f.now.Add(-time.Duration(1+i%400) * 24 * time.Hour)
				b.text(w.id).orNull(f.tenants[w.tenant].id).text(fmt.Sprintf("%s %s: %s %d", f.labels[w.table], verbs[i%len(verbs)], ends[i/7%len(ends)], i%100)).
					text(status).text("admin-" + strconv.Itoa(i%500)).time(at).time(at.Add(time.Duration(i%97) * time.Hour))
			}},
			{"workflow_trigger (id, workflow_id, entity_type, operation, field_conditions)", func(b *copyRow, w *filledWorkflow, i int) {
				b.text("t-" + w.id).text(w.id).text(f.labels[w.table]).text(map[byte]string{'c': "create", 'u': "update", 'd': "delete"}[w.op]).
					text(fmt.Sprintf(`{"status": %q}`, stateOf(i)))
			}},
			{"workflow_action (id, workflow_id, action_type, action_config)", func(b *copyRow, w *filledWorkflow, _ int) {
				config := "{}"
				switch w.kind {
				case "webhook":
					config = fmt.Sprintf(`{"url": "%s?key=1"}`, w.destination(f.tenants[w.tenant].id))
				case "email":
					config = `{"subject": "{{ new.id | default: old.id }} was {{ new.status | default: old.status }}", "body": "It is {{ new.total | default: old.total | money: 'EUR' }}."}`
				case "notification":
					config = `{"title": "{{ new.id | default: old.id }} was {{ new.status | default: old.status }}"}`
				}
				b.text("a-" + w.id).text(w.id).text(w.kind).text(config)
			}},
			{"workflow_recipient (id, workflow_id, recipient_type, recipient_id)", func(b *copyRow, w *filledWorkflow, _ int) {
				if w.people() {
					b.text("r-" + w.id).text(w.id).text("attribute").text("email")
				}
			}},
		}
		for _, c := range copies {
			err := copyTo(ctx, tx.Conn(), "copy rowbell."+c.to+" from stdin", func(out *bufio.Writer) error {
				var b copyRow
				for i := range f.workflows {
					c.row(&b, &f.workflows[i], i)
					if _, err := out.Write(b.end()); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "analyze rowbell.workflow_trigger, rowbell.workflow_action, rowbell.workflow_recipient, rowbell.workflow_definition"); err != nil {
			return err
		}
		for version := 1; version <= 5; version++ {
			var ids []string
			for i := range f.workflows {
				if w := &f.workflows[i]; len(w.refs) >= version {
					ids = append(ids, w.id)
				}
			}
			for _, sql := range []string{
				"update rowbell.workflow_definition d set description = 'version ' || $2::text from unnest($1::text[]) i where d.id = i and $2 > 1",
				"select count(rowbell.version_workflow(i)) from unnest($1::text[]) i where $2 > 0",
			} {
				if _, err := tx.Exec(ctx, sql, ids, version); err != nil {
					return err
				}
			}
		}
		_, err = tx.Exec(ctx, `insert into rowbell.workflow_health (workflow_id, version, tenant_id, verdict, message)
select id, version, tenant_id, case when n % 200 = 7 then 'broken' else 'ok' end, case when n % 200 = 7 then 'there is no column state in ' || id else '' end
from (select *, row_number() over (order by id) as n from rowbell.workflow_definition where status = 'active') d`)
		if err != nil {
			return err
		}
		return back()
	})
}

// people says that it is for people, each of whom has a delivery.
func (w *filledWorkflow) people() bool { return w.kind == "email" || w.kind == "notification" }

// withoutTriggers switches the triggers of tables off; back switches each on as it was.
func withoutTriggers(ctx context.Context, tx pgx.Tx, tables ...string) (back func() error, err error) {
	rows, err := tx.Query(ctx, `select format('alter table rowbell.%I enable %s trigger %I', c.relname, case t.tgenabled when 'A' then 'always' when 'R' then 'replica' else '' end, t.tgname)
from pg_trigger t join pg_class c on c.oid = t.tgrelid
where c.relnamespace = 'rowbell'::regnamespace and c.relname = any ($1) and not t.tgisinternal and t.tgenabled <> 'D'`, tables)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		if _, err := tx.Exec(ctx, "alter table rowbell."+t+" disable trigger user"); err != nil {
			return nil, err
		}
	}
	list = append([]string{"set constraints all immediate"}, list...) // what is still to be checked stands in the way
	return func() error {
		for _, sql := range list {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// start writes the surrogates of old versions, and then what a worker writes when it begins.
func (f *filler) start(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, f.URL)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	next := int32(1)
	begin := f.now.AddDate(0, 0, -f.Days)
	applied := func(i, version int) time.Time { // when that version began
		return begin.Add(time.Duration(float64(f.now.Sub(begin)) * float64(version) / float64(len(f.workflows[i].refs))))
	}
	err = copyTo(ctx, conn, "copy rowbell.surrogate (ref, kind, id, version, tenant_id, name, first_applied_at) from stdin", func(out *bufio.Writer) error {
		var b copyRow
		for i := range f.workflows {
			w := &f.workflows[i]
			for v := range len(w.refs) - 1 {
				w.refs[v] = next
				next++
				b.int(int64(w.refs[v])).text("workflow").text(w.id).int(int64(v + 1)).orNull(f.tenants[w.tenant].id).text("before " + w.id).time(applied(i, v))
				if _, err := out.Write(b.end()); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	op, err := app.NewOperator(config(f.URL), discard)
	if err != nil {
		return err
	}
	defer op.Close()
	if err := op.Start(ctx); err != nil {
		return err
	}
	at := make(map[string]int, len(f.workflows))
	for i := range f.workflows {
		at[f.workflows[i].id] = i
	}
	f.tableRefs = make([]int32, len(f.labels))
	rows, err := conn.Query(ctx, "select a.kind, a.id, a.surrogate from rowbell.applied a")
	if err != nil {
		return err
	}
	var kind, id string
	var ref int32
	_, err = pgx.ForEachRow(rows, []any{&kind, &id, &ref}, func() error {
		if kind == "workflow" {
			w := &f.workflows[at[id]]
			w.refs[len(w.refs)-1] = ref
			return nil
		}
		for i, label := range f.labels {
			if label == id {
				f.tableRefs[i] = ref
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, sql := range []string{
		fmt.Sprintf("update rowbell.surrogate s set first_applied_at = '%s' from rowbell.applied a where a.surrogate = s.ref", begin.Format(time.RFC3339)),
		"select pg_drop_replication_slot('rowbell')", // what is written now is not to be read
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// at is when so much of the log had happened: there is more by day than by night.
func (f *filler) at(share float64) time.Time {
	days := float64(f.Days)
	x := share*days + 0.7/(2*math.Pi)*math.Sin(2*math.Pi*share*days)
	return f.now.AddDate(0, 0, -f.Days).Add(time.Duration(x * float64(24*time.Hour))).Truncate(time.Microsecond)
}

// logTables are those that have a partition for each day.
var logTables = []struct{ name, columns string }{
	{"event", "event_id, commit_lsn, stream, seq, side, committed_at, table_ref, op, tenant_id, row_key, data"},
	{"execution", "committed_at, executed_at, settled_at, version_ref, priority, duration_ms, action, attempts, code, id, status, kind, recipient, error, result, address"},
	{"delivery_ended", `committed_at, ended_at, version_ref, "order", duration_ms, action, attempts, code, execution_id, recipient, kind, status, reason, address, response`},
	{"attempt", "committed_at, started_at, duration_ms, action, attempt, code, execution_id, recipient, error, response"},
}

const (
	toEvents = iota
	toExecutions
	toEnded
	toAttempts
	toNotifications
)

// log writes the partitions, each to its end, and attaches it while the next is written.
func (f *filler) log(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	notes, done := copyStream(ctx, g, f.URL, "copy rowbell.notification (id, tenant_id, recipient_id, delivery_id, title, body, created_at, seen_at, read_at) from stdin")
	w := &logWriter{filler: f}
	w.out[toNotifications] = notes
	attach := make(chan string, f.Days+1)
	g.Go(func() error {
		for day := range attach {
			if err := f.attach(ctx, day); err != nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() error {
		defer close(attach)
		defer done()
		for f.rows < f.Rows {
			day := f.at(float64(f.rows) / float64(f.Rows)).Truncate(24 * time.Hour)
			if err := f.day(ctx, w, day); err != nil {
				return err
			}
			attach <- day.Format("20060102")
		}
		return nil
	})
	return g.Wait()
}

// day writes one day's partitions.
func (f *filler) day(ctx context.Context, w *logWriter, day time.Time) error {
	name := day.Format("20060102")
	for _, t := range logTables {
		child := t.name + "_" + name
		if err := execute(ctx, f.URL, fmt.Sprintf("drop table if exists rowbell.%[1]s; create table rowbell.%[1]s (like rowbell.%[2]s including defaults including constraints including comments)", child, t.name)); err != nil {
			return err
		}
		if err := execute(ctx, f.URL, fmt.Sprintf("comment on table rowbell.%s is 'Partition of %s'", child, t.name)); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	var done []func()
	for i, t := range logTables {
		out, end := copyStream(ctx, g, f.URL, fmt.Sprintf("copy rowbell.%s_%s (%s) from stdin", t.name, name, t.columns))
		w.out[i] = out
		done = append(done, end)
	}
	g.Go(func() error {
		defer func() {
			for _, end := range done {
				end()
			}
		}()
		for f.rows < f.Rows {
			at := f.at(float64(f.rows) / float64(f.Rows))
			if !at.Truncate(24 * time.Hour).Equal(day) {
				return nil
			}
			if err := w.transaction(at); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// attach makes a day's tables partitions, which gives them their indexes.
func (f *filler) attach(ctx context.Context, day string) error {
	at, err := time.Parse("20060102", day)
	if err != nil {
		return err
	}
	for _, t := range logTables {
		if err := execute(ctx, f.URL, fmt.Sprintf("alter table rowbell.%[1]s attach partition rowbell.%[1]s_%[2]s for values from ('%[3]s 00:00:00+00') to ('%[4]s 00:00:00+00')",
			t.name, day, at.Format(time.DateOnly), at.AddDate(0, 0, 1).Format(time.DateOnly))); err != nil {
			return err
		}
	}
	return nil
}

// copyStream begins a COPY that ends with done.
func copyStream(ctx context.Context, g *errgroup.Group, url, sql string) (out *bufio.Writer, done func()) {
	r, w := io.Pipe()
	out = bufio.NewWriterSize(w, 1<<16)
	g.Go(func() error {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			_, err = conn.PgConn().CopyFrom(ctx, r, sql)
			_ = conn.Close(context.WithoutCancel(ctx))
		}
		if err == nil {
			return r.Close()
		}
		return errors.Join(err, r.CloseWithError(err))
	})
	return out, func() { _ = w.CloseWithError(out.Flush()) } // nil is the end of the input
}

// copyTo copies what write writes.
func copyTo(ctx context.Context, conn *pgx.Conn, sql string, write func(out *bufio.Writer) error) error {
	r, w := io.Pipe()
	go func() {
		out := bufio.NewWriterSize(w, 1<<16)
		err := write(out)
		if err == nil {
			err = out.Flush()
		}
		_ = w.CloseWithError(err)
	}()
	_, err := conn.PgConn().CopyFrom(ctx, r, sql)
	_ = r.CloseWithError(io.ErrClosedPipe)
	return err
}

// copyRow is a row as COPY reads it in text format.
type copyRow struct{ b []byte }

func (r *copyRow) sep() *copyRow {
	if len(r.b) > 0 {
		r.b = append(r.b, '\t')
	}
	return r
}

func (r *copyRow) text(s string) *copyRow {
	r.sep()
	if s == "" && len(r.b) == 0 {
		panic("the first column of a row is never empty")
	}
	if strings.ContainsAny(s, "\t\n\r\\") {
		s = strings.NewReplacer("\\", `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`).Replace(s)
	}
	r.b = append(r.b, s...)
	return r
}

func (r *copyRow) null() *copyRow {
	r.sep()
	r.b = append(r.b, `\N`...)
	return r
}

func (r *copyRow) orNull(s string) *copyRow {
	if s == "" {
		return r.null()
	}
	return r.text(s)
}

func (r *copyRow) int(n int64) *copyRow {
	r.sep()
	r.b = strconv.AppendInt(r.b, n, 10)
	return r
}

func (r *copyRow) intOrNull(n int64) *copyRow {
	if n == 0 {
		return r.null()
	}
	return r.int(n)
}

func (r *copyRow) time(t time.Time) *copyRow {
	r.sep()
	r.b = t.UTC().AppendFormat(r.b, "2006-01-02 15:04:05.999999Z07")
	return r
}

// end returns the row; it is good until the next one begins.
func (r *copyRow) end() []byte {
	if len(r.b) == 0 {
		return nil
	}
	b := append(r.b, '\n')
	r.b = b[:0]
	return b
}

// pending writes what has not ended, and where deliveries go.
func (f *filler) pending(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, f.URL)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, c := range []struct {
		to   string
		rows [][]byte
	}{
		{`queue (committed_at, executed_at, ready_at, version_ref, priority, "order", action, attempts, sole, addressed, execution_id, recipient, kind, error, address, lane)`, f.waiting},
		{"execution_open (committed_at, executed_at, version_ref, priority, open, id, error)", f.opened},
	} {
		err := copyTo(ctx, conn, "copy rowbell."+c.to+" from stdin", func(out *bufio.Writer) error {
			for _, row := range c.rows {
				if _, err := out.Write(row); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", c.to, err)
		}
	}
	lanes := make(map[int64]bool)
	return copyTo(ctx, conn, "copy rowbell.destination (lane, tenant_id, kind, destination, workflow_id, last_success_at) from stdin", func(out *bufio.Writer) error {
		var b copyRow
		for i := range f.workflows {
			w := &f.workflows[i]
			if w.kind != "webhook" || !w.active || lanes[w.lane] {
				continue
			}
			lanes[w.lane] = true
			tenant := f.tenants[w.tenant].id
			b.int(w.lane).orNull(tenant).text(w.kind).text(w.destination(tenant)).text(w.id).time(f.now.Truncate(time.Minute))
			if _, err := out.Write(b.end()); err != nil {
				return err
			}
		}
		return nil
	})
}

// finish lets a worker go on from here.
func (f *filler) finish(ctx context.Context) error {
	for _, sql := range []string{
		"vacuum analyze",
		"analyze rowbell.event, rowbell.execution, rowbell.delivery_ended, rowbell.attempt",
		"checkpoint",
		"select pg_create_logical_replication_slot('rowbell', 'pgoutput')",
		`update rowbell.checkpoint set commit_lsn = s.confirmed_flush_lsn, end_lsn = s.confirmed_flush_lsn, confirm_lsn = s.confirmed_flush_lsn, seq = -1
from pg_replication_slots s where s.slot_name = 'rowbell' and s.database = current_database()`,
	} {
		if err := execute(ctx, f.URL, sql); err != nil {
			return err
		}
	}
	return nil
}

// count counts the hours as housekeeping does.
func (f *filler) count(ctx context.Context) error {
	pool, err := openPool(ctx, f.URL)
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := store.OpenState(pool).CountHours(ctx, 30, 90); err != nil {
		return err
	}
	return execute(ctx, f.URL, "vacuum analyze rowbell.statistic_hour, rowbell.tenant_statistic, rowbell.workflow_statistic")
}

// eventID is the id of the change.
func eventID(at time.Time, lsn change.LSN, seq int32) string {
	return change.EventID(at, change.Position{Stream: 1, CommitLSN: lsn, Seq: seq}, change.SideFirst).String()
}

// What people have decided about the log, of each tenant.
const (
	dismissedEach = 10
	viewedEach    = 20 // people
	viewsEach     = 5  // of each of them, one shared
)

// decide dismisses causes of failures, and saves views.
func decide(ctx context.Context, url string) error {
	pool, err := openPool(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	rows, err := pool.Query(ctx, "select distinct tenant_id from rowbell.surrogate where tenant_id is not null order by 1")
	if err != nil {
		return err
	}
	tenants, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	state := store.OpenState(pool)
	for _, tenant := range tenants {
		found, err := state.FailureCauses(ctx, store.CauseFilter{TenantID: &tenant, Limit: 3 * dismissedEach})
		if err != nil {
			return err
		}
		for i, c := range found.Causes {
			if i%3 != 2 { // what is most frequent stays
				continue
			}
			if _, err := state.Dismiss(ctx, store.Dismissal{WorkflowID: c.WorkflowID, Cause: c.Cause, Note: "known: the receiver is being moved", By: "admin-" + strconv.Itoa(i)}, &tenant); err != nil {
				return err
			}
		}
	}
	_, err = pool.Exec(ctx, `insert into rowbell.saved_view (shared, id, tenant_id, owner, name, filter)
select n = 1, rowbell.gen_ulid(), t.id, 'admin-' || o, 'view ' || n, '{"status": "failure", "within": "day"}'
from unnest($1::text[]) t (id), generate_series(1, $2) o, generate_series(1, $3) n`, tenants, viewedEach, viewsEach)
	return err
}
