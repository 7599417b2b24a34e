package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// How reads are measured.
const (
	deepWalks   = 10 // of these go on from page to page,
	deepPages   = 20 // so far
	pageRows    = 50
	recordEach  = 5 * time.Millisecond // a change, while a worker records
	readGoal    = 50                   // ms
	sampledRows = 4000
)

// reads measures what the admin API reads, on a filled database: first pages and deep ones
// with arguments that the log has, by several readers at once, without and with a worker
// that records. What is of a tenant is read for it, under row-level security.
func reads(ctx context.Context, o Options) (err error) {
	f, err := openFilled(ctx, o, o.Fill)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	m, pool, url := f.readBench, f.pool, f.url
	for range o.Readers {
		r, err := openReader(ctx, url)
		if err != nil {
			return err
		}
		defer r.pool.Close()
		m.readers = append(m.readers, r)
	}
	fmt.Fprintf(o.Log, "reads: %d executions, about, of %d workflows; readers: %d; load average: %s\n", m.rows, m.workflows, o.Readers, loadAverage())
	list := m.list()
	var figures []*figure
	for _, recording := range []bool{false, true} {
		what := "nothing else runs"
		if recording && o.Idle {
			break
		}
		if recording {
			what = "a worker records 200 changes/s"
		}
		fmt.Fprintf(o.Log, "%s\n%-58s %8s %8s %8s | %8s %8s | %8s %8s %8s\n", what, "ms", "p50", "p99", "longest", "deep p50", "deep p99", "cpu p50", "cpu p99", "longest")
		stop := func() error { return nil }
		if recording {
			if stop, err = m.record(ctx, pool, url); err != nil {
				return err
			}
		}
		for _, r := range list {
			if !strings.HasPrefix("reads: "+r.name, o.Only) {
				continue
			}
			f := &figure{name: "reads, " + what + ": " + r.name + ", p99", unit: "ms", floor: readGoal, goal: readGoal, less: true}
			var p50s, deeps, cpus figure
			for round := range o.Runs {
				t, err := m.measure(ctx, r, uint64(round))
				if err != nil {
					return errors.Join(fmt.Errorf("%s: %w", r.name, err), stop())
				}
				fmt.Fprintf(o.Log, "%-58s %8.2f %8.2f %8.2f |", r.name, share(t.first, 0.5), share(t.first, 0.99), share(t.first, 1))
				if len(t.deep) > 0 {
					fmt.Fprintf(o.Log, " %8.2f %8.2f |", share(t.deep, 0.5), share(t.deep, 0.99))
					deeps.values = append(deeps.values, share(t.deep, 0.99))
				} else {
					fmt.Fprintf(o.Log, " %8s %8s |", "", "")
				}
				if len(t.cpu) > 0 {
					fmt.Fprintf(o.Log, " %8.2f %8.2f %8.2f", share(t.cpu, 0.5), share(t.cpu, 0.99), share(t.cpu, 1))
					cpus.values = append(cpus.values, share(t.cpu, 0.99))
				}
				fmt.Fprintln(o.Log)
				f.values = append(f.values, share(t.first, 0.99))
				p50s.values = append(p50s.values, share(t.first, 0.5))
			}
			f.note = fmt.Sprintf("p50 %.2g ms", p50s.median())
			if len(deeps.values) > 0 {
				f.note += fmt.Sprintf("; p99 of pages 2 to %d: %.3g ms", deepPages, deeps.median())
			}
			if len(cpus.values) > 0 {
				f.note += fmt.Sprintf("; the server's CPU for a first page, p99: %.3g ms", cpus.median())
			}
			figures = append(figures, f)
		}
		if err := stop(); err != nil {
			return err
		}
	}
	return conclude(figures, f.version, o)
}

// filled is a filled database, with arguments that it has.
type filled struct {
	*readBench
	pool         *pgxpool.Pool
	url, version string          // the server's
	server       *localpg.Server // nil: it isn't of this process
}

// openFilled opens the database that was named, or starts a server and fills one of it so.
func openFilled(ctx context.Context, o Options, with FillOptions) (f *filled, err error) {
	f = &filled{url: o.Fill.URL, readBench: &readBench{seed: o.Seed, pages: o.Pages}}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close())
		}
	}()
	if f.url == "" {
		if f.server, err = localpg.Start(ctx, fillServer); err != nil {
			return f, err
		}
		if err := execute(ctx, f.server.URL("postgres"), "create database fill"); err != nil {
			return f, err
		}
		f.url = f.server.URL("fill")
		with.URL, with.Log = f.url, o.Log
		if err := Fill(ctx, with); err != nil {
			return f, err
		}
	}
	if f.pool, err = openPool(ctx, f.url); err != nil {
		return f, err
	}
	if err := f.pool.QueryRow(ctx, "show server_version").Scan(&f.version); err != nil {
		return f, err
	}
	if err := f.sample(ctx, f.pool); err != nil {
		return f, fmt.Errorf("look for arguments, in a database that rowbell-bench fill has filled: %w", err)
	}
	return f, nil
}

func (f *filled) close() error {
	if f.pool != nil {
		f.pool.Close()
	}
	if f.server == nil {
		return nil
	}
	return f.server.Close()
}

// share is a percentile of sorted times, in ms.
func share(list []time.Duration, of float64) float64 {
	return float64(list[min(len(list)-1, int(of*float64(len(list))))].Microseconds()) / 1000
}

// loadAverage is the system's, of the last minute; "unknown" where it isn't told so.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// A reader reads by one connection, as the API does: what is of a tenant for that tenant,
// under row-level security.
type reader struct {
	pool   *pgxpool.Pool
	state  *store.State
	source *store.Source
	pid    uint32 // of the server's process
}

func openReader(ctx context.Context, url string) (*reader, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns, cfg.MaxConnLifetime, cfg.MaxConnIdleTime = 1, 24*time.Hour, 24*time.Hour
	cfg.ConnConfig.RuntimeParams["jit"] = "off"
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	r := &reader{pool: pool, state: store.OpenState(pool), source: store.OpenSource(pool)}
	err = pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		r.pid = c.Conn().PgConn().PID()
		return nil
	})
	return r, err
}

// stateOf is the log as a tenant sees it; nil or "": as operators do.
func (r *reader) stateOf(tenant *string) *store.State {
	if tenant == nil || *tenant == "" {
		return r.state
	}
	return r.state.As(store.Tenant{ID: *tenant, Actor: "bench"})
}

func (r *reader) sourceOf(tenant *string) *store.Source {
	if tenant == nil || *tenant == "" {
		return r.source
	}
	return r.source.As(store.Tenant{ID: *tenant, Actor: "bench"})
}

// cpu is how long the server's process has run so far, if it is on this machine and Linux
// says so.
func (r *reader) cpu() (time.Duration, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", r.pid))
	if err != nil {
		return 0, false
	}
	first, _, _ := strings.Cut(string(text), " ")
	ns, err := strconv.ParseInt(first, 10, 64)
	return time.Duration(ns), err == nil
}

// readBench has what reads are asked for.
type readBench struct {
	readers []*reader
	seed    uint64
	pages   int // first ones, of each read and round

	rows, workflows int
	executions      []sampledExecution
	events          []sampledEvent
	ids             []string // of workflows, all alike
	tenants         []string // the same of tenants
	tables          []string
}

type sampledExecution struct {
	ID, WorkflowID, TenantID, Recipient string
	At                                  time.Time
}

type sampledEvent struct{ ID, Table, RowKey, TenantID string }

// sample reads arguments that the log has: what happens much is asked for much.
func (m *readBench) sample(ctx context.Context, pool *pgxpool.Pool) error {
	if err := pool.QueryRow(ctx, `select greatest(sum(c.reltuples), 0)::int8, (select count(*) from rowbell.workflow_definition)
from pg_class c join pg_inherits i on i.inhrelid = c.oid where i.inhparent = 'rowbell.execution'::regclass`).Scan(&m.rows, &m.workflows); err != nil {
		return err
	}
	percent := min(100, 100*float64(sampledRows)/float64(max(m.rows, 1)))
	rows, err := pool.Query(ctx, `select x.id, v.id, coalesce(v.tenant_id, ''), coalesce(x.recipient, ''), x.committed_at
from rowbell.execution x tablesample bernoulli ($1) repeatable (1) join rowbell.surrogate v on v.ref = x.version_ref`, percent)
	if err != nil {
		return err
	}
	if m.executions, err = pgx.CollectRows(rows, pgx.RowToStructByPos[sampledExecution]); err != nil {
		return err
	}
	rows, err = pool.Query(ctx, `select e.event_id, t.name, e.row_key, coalesce(e.tenant_id, '')
from rowbell.event e tablesample bernoulli ($1) repeatable (1) join rowbell.surrogate t on t.ref = e.table_ref`, percent)
	if err != nil {
		return err
	}
	if m.events, err = pgx.CollectRows(rows, pgx.RowToStructByPos[sampledEvent]); err != nil {
		return err
	}
	for sql, into := range map[string]*[]string{
		"select id from rowbell.workflow_definition order by md5(id) limit 5000":                  &m.ids,
		"select distinct tenant_id from rowbell.surrogate where tenant_id is not null order by 1": &m.tenants,
		"select label from rowbell.captured_table where not released order by 1":                  &m.tables,
	} {
		rows, err := pool.Query(ctx, sql)
		if err != nil {
			return err
		}
		if *into, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return err
		}
	}
	if len(m.executions) == 0 || len(m.events) == 0 || len(m.ids) == 0 || len(m.tenants) == 0 || len(m.tables) == 0 {
		return errors.New("there is too little in it")
	}
	return nil
}

// read is something that is read. open chooses arguments, and returns what reads the page
// behind a cursor.
type read struct {
	name string
	open func(s *reader, r *rand.Rand) func(ctx context.Context, cursor string) (next string, err error)
}

func oneOf[T any](list []T, r *rand.Rand) T { return list[r.IntN(len(list))] }

func (m *readBench) execution(r *rand.Rand) sampledExecution { return oneOf(m.executions, r) }

// tenant is one of those where much happens, or any one.
func (m *readBench) tenant(r *rand.Rand) *string {
	id := oneOf(m.tenants, r)
	if r.IntN(2) == 0 {
		id = m.execution(r).TenantID
	}
	return &id
}

func (m *readBench) workflow(r *rand.Rand) string {
	if r.IntN(2) == 0 {
		return m.execution(r).WorkflowID
	}
	return oneOf(m.ids, r)
}

// person is somebody who had a delivery.
func (m *readBench) person(r *rand.Rand) sampledExecution {
	for {
		if x := m.execution(r); x.Recipient != "" {
			return x
		}
	}
}

// within is a stretch of some hours that the log has.
func (m *readBench) within(r *rand.Rand) (since, until time.Time) {
	at := m.execution(r).At
	return at.Add(-3 * time.Hour), at.Add(3 * time.Hour)
}

func (m *readBench) list() []read {
	unwell := []workflow.ExecutionStatus{workflow.Failure, workflow.Cancelled}
	executions := func(name string, filter func(r *rand.Rand) store.ExecutionFilter) read {
		return read{"executions " + name, func(s *reader, r *rand.Rand) func(context.Context, string) (string, error) {
			f := filter(r)
			f.Limit = pageRows
			return func(ctx context.Context, cursor string) (string, error) {
				f.Cursor = cursor
				page, err := s.stateOf(f.TenantID).SearchExecutions(ctx, f)
				return page.Next, err
			}
		}}
	}
	deliveries := func(name string, filter func(r *rand.Rand) store.DeliverySearch) read {
		return read{"deliveries " + name, func(s *reader, r *rand.Rand) func(context.Context, string) (string, error) {
			f := filter(r)
			f.Limit = pageRows
			return func(ctx context.Context, cursor string) (string, error) {
				f.Cursor = cursor
				page, err := s.stateOf(f.TenantID).SearchDeliveries(ctx, f)
				return page.Next, err
			}
		}}
	}
	events := func(name string, filter func(r *rand.Rand) store.EventFilter) read {
		return read{name, func(s *reader, r *rand.Rand) func(context.Context, string) (string, error) {
			f := filter(r)
			f.Limit = pageRows
			return func(ctx context.Context, cursor string) (string, error) {
				f.Cursor = cursor
				page, err := s.stateOf(f.TenantID).SearchEvents(ctx, f)
				return page.Next, err
			}
		}}
	}
	workflows := func(name string, filter func(r *rand.Rand) store.WorkflowSearch) read {
		return read{"workflows " + name, func(s *reader, r *rand.Rand) func(context.Context, string) (string, error) {
			f := filter(r)
			f.Limit = pageRows
			return func(ctx context.Context, cursor string) (string, error) {
				f.Cursor = cursor
				page, err := s.sourceOf(f.TenantID).SearchWorkflows(ctx, f)
				if err != nil {
					return "", err
				}
				ids := make([]string, len(page.Items))
				for i, w := range page.Items {
					ids[i] = w.ID
				}
				_, err = s.stateOf(f.TenantID).LastExecutions(ctx, ids, f.TenantID)
				return page.Next, err
			}
		}}
	}
	once := func(name string, do func(ctx context.Context, s *reader, r *rand.Rand) error) read {
		return read{name, func(s *reader, r *rand.Rand) func(context.Context, string) (string, error) {
			return func(ctx context.Context, _ string) (string, error) { return "", do(ctx, s, r) }
		}}
	}
	statistics := func(name string, days int, filter func(r *rand.Rand) store.StatisticFilter) read {
		return once(name, func(ctx context.Context, s *reader, r *rand.Rand) error {
			f := filter(r)
			f.Since, f.Days = time.Now().AddDate(0, 0, -days), days > 1
			_, err := s.stateOf(f.TenantID).Statistics(ctx, f)
			return err
		})
	}
	ofWorkflow := func(r *rand.Rand) store.StatisticFilter {
		for {
			if x := m.execution(r); x.WorkflowID != "" {
				return store.StatisticFilter{WorkflowID: x.WorkflowID}
			}
		}
	}
	ofTenant := func(r *rand.Rand) store.StatisticFilter { return store.StatisticFilter{TenantID: m.tenant(r)} }
	return []read{
		executions("of all tenants", func(*rand.Rand) store.ExecutionFilter { return store.ExecutionFilter{} }),
		executions("of all tenants, failed", func(*rand.Rand) store.ExecutionFilter { return store.ExecutionFilter{Statuses: unwell} }),
		executions("of a tenant", func(r *rand.Rand) store.ExecutionFilter { return store.ExecutionFilter{TenantID: m.tenant(r)} }),
		executions("of a tenant, failed", func(r *rand.Rand) store.ExecutionFilter {
			return store.ExecutionFilter{TenantID: m.tenant(r), Statuses: unwell}
		}),
		executions("of a tenant, pending", func(r *rand.Rand) store.ExecutionFilter {
			return store.ExecutionFilter{TenantID: m.tenant(r), Statuses: []workflow.ExecutionStatus{workflow.Pending}}
		}),
		executions("of a tenant, within six hours", func(r *rand.Rand) store.ExecutionFilter {
			f := store.ExecutionFilter{TenantID: m.tenant(r)}
			f.Since, f.Until = m.within(r)
			return f
		}),
		executions("of a tenant, by a text in the error", func(r *rand.Rand) store.ExecutionFilter {
			return store.ExecutionFilter{TenantID: m.tenant(r), Error: oneOf([]string{"timeout", "503", "no such endpoint", "certificate"}, r)}
		}),
		executions("of all tenants, by a text that no error has", func(*rand.Rand) store.ExecutionFilter { return store.ExecutionFilter{Error: "abracadabra"} }),
		executions("of a workflow", func(r *rand.Rand) store.ExecutionFilter {
			return store.ExecutionFilter{WorkflowIDs: []string{m.workflow(r)}}
		}),
		executions("of a workflow, failed", func(r *rand.Rand) store.ExecutionFilter {
			return store.ExecutionFilter{WorkflowIDs: []string{m.workflow(r)}, Statuses: unwell}
		}),
		executions("of a row of a tenant", func(r *rand.Rand) store.ExecutionFilter {
			e := oneOf(m.events, r)
			return store.ExecutionFilter{Table: e.Table, RowKey: e.RowKey, TenantID: &e.TenantID}
		}),
		executions("of a row", func(r *rand.Rand) store.ExecutionFilter {
			e := oneOf(m.events, r)
			return store.ExecutionFilter{Table: e.Table, RowKey: e.RowKey}
		}),
		executions("of a table of a tenant", func(r *rand.Rand) store.ExecutionFilter {
			e := oneOf(m.events, r)
			return store.ExecutionFilter{Table: e.Table, TenantID: &e.TenantID}
		}),
		executions("of a table", func(r *rand.Rand) store.ExecutionFilter { return store.ExecutionFilter{Table: oneOf(m.tables, r)} }),
		executions("for a recipient", func(r *rand.Rand) store.ExecutionFilter {
			x := m.person(r)
			return store.ExecutionFilter{Recipient: x.Recipient, TenantID: &x.TenantID}
		}),
		once("an execution with all that belongs to it", func(ctx context.Context, s *reader, r *rand.Rand) error {
			x := m.execution(r)
			_, err := s.stateOf(&x.TenantID).Execution(ctx, x.ID, &x.TenantID)
			return err
		}),
		deliveries("of a tenant", func(r *rand.Rand) store.DeliverySearch { return store.DeliverySearch{TenantID: m.tenant(r)} }),
		deliveries("of a tenant, given up", func(r *rand.Rand) store.DeliverySearch {
			return store.DeliverySearch{TenantID: m.tenant(r), Statuses: []store.DeliveryStatus{store.DeliveryDead}}
		}),
		deliveries("of a tenant, that will be tried again", func(r *rand.Rand) store.DeliverySearch {
			return store.DeliverySearch{TenantID: m.tenant(r), Statuses: []store.DeliveryStatus{store.DeliveryRetrying}}
		}),
		deliveries("of a tenant and a kind", func(r *rand.Rand) store.DeliverySearch {
			return store.DeliverySearch{TenantID: m.tenant(r), Kind: oneOf([]string{"webhook", "email", "notification"}, r)}
		}),
		deliveries("of a workflow", func(r *rand.Rand) store.DeliverySearch {
			return store.DeliverySearch{WorkflowIDs: []string{m.workflow(r)}}
		}),
		deliveries("for a recipient", func(r *rand.Rand) store.DeliverySearch {
			x := m.person(r)
			return store.DeliverySearch{Recipient: x.Recipient, TenantID: &x.TenantID}
		}),
		events("events of all tenants", func(*rand.Rand) store.EventFilter { return store.EventFilter{} }),
		events("events of a tenant", func(r *rand.Rand) store.EventFilter { return store.EventFilter{TenantID: m.tenant(r)} }),
		events("events of a table of a tenant", func(r *rand.Rand) store.EventFilter {
			e := oneOf(m.events, r)
			return store.EventFilter{Table: e.Table, TenantID: &e.TenantID}
		}),
		events("what happened to a row", func(r *rand.Rand) store.EventFilter {
			e := oneOf(m.events, r)
			return store.EventFilter{Table: e.Table, RowKey: e.RowKey, TenantID: &e.TenantID, Executions: true, Data: true}
		}),
		once("causes of failures of a tenant", func(ctx context.Context, s *reader, r *rand.Rand) error {
			tenant := m.tenant(r)
			_, err := s.stateOf(tenant).FailureCauses(ctx, store.CauseFilter{TenantID: tenant})
			return err
		}),
		once("causes of failures of all tenants", func(ctx context.Context, s *reader, _ *rand.Rand) error {
			_, err := s.state.FailureCauses(ctx, store.CauseFilter{})
			return err
		}),
		workflows("of a tenant by name, with their last executions", func(r *rand.Rand) store.WorkflowSearch { return store.WorkflowSearch{TenantID: m.tenant(r)} }),
		workflows("of all tenants, the last changed", func(*rand.Rand) store.WorkflowSearch { return store.WorkflowSearch{Updated: true} }),
		workflows("of all tenants, broken", func(*rand.Rand) store.WorkflowSearch { return store.WorkflowSearch{Verdict: workflow.Broken} }),
		workflows("of all tenants, by a text in the name", func(r *rand.Rand) store.WorkflowSearch {
			return store.WorkflowSearch{Name: oneOf([]string{"overdue: tell", "CRM 77", "warehouse 5", "xyz"}, r)}
		}),
		workflows("of all tenants, on a table", func(r *rand.Rand) store.WorkflowSearch { return store.WorkflowSearch{Table: oneOf(m.tables, r)} }),
		workflows("of all tenants, made by somebody", func(r *rand.Rand) store.WorkflowSearch {
			return store.WorkflowSearch{CreatedBy: fmt.Sprintf("admin-%d", r.IntN(500))}
		}),
		statistics("statistics of a workflow, 24 hours", 1, ofWorkflow),
		statistics("statistics of a workflow, 30 days", 30, ofWorkflow),
		statistics("statistics of a tenant, 24 hours", 1, ofTenant),
		statistics("statistics of a tenant, 30 days", 30, ofTenant),
		statistics("statistics of all tenants, 30 days", 30, func(*rand.Rand) store.StatisticFilter { return store.StatisticFilter{} }),
		{"inbox", func(s *reader, r *rand.Rand) func(context.Context, string) (string, error) {
			x := m.person(r)
			return func(ctx context.Context, before string) (string, error) {
				list, err := s.stateOf(&x.TenantID).Inbox(ctx, store.InboxQuery{RecipientID: x.Recipient, TenantID: &x.TenantID, Before: before, Limit: pageRows})
				if len(list) < pageRows {
					return "", err
				}
				return list[len(list)-1].ID, err
			}
		}},
		once("count of an inbox", func(ctx context.Context, s *reader, r *rand.Rand) error {
			x := m.person(r)
			_, err := s.stateOf(&x.TenantID).CountInbox(ctx, x.Recipient, &x.TenantID)
			return err
		}),
	}
}

// readTimes are how long pages took, sorted.
type readTimes struct {
	first, deep []time.Duration // first pages, and those behind
	cpu         []time.Duration // of the server, for first pages; none if nobody knows
}

// measure reads with several readers at once.
func (m *readBench) measure(ctx context.Context, what read, round uint64) (t readTimes, err error) {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	for n, reader := range m.readers {
		g.Go(func() error {
			r := rand.New(rand.NewPCG(m.seed+round, uint64(n)))
			for i := range m.pages / len(m.readers) {
				page := what.open(reader, r)
				cpu, known := reader.cpu()
				begun := time.Now()
				next, err := page(ctx, "")
				took := time.Since(begun)
				if err != nil {
					return err
				}
				if known {
					var now time.Duration
					now, known = reader.cpu()
					cpu = now - cpu
				}
				var later []time.Duration
				for n := 1; n < deepPages && next != "" && i%deepWalks == 0; n++ {
					begun = time.Now()
					if next, err = page(ctx, next); err != nil {
						return err
					}
					later = append(later, time.Since(begun))
				}
				mu.Lock()
				t.first, t.deep = append(t.first, took), append(t.deep, later...)
				if known {
					t.cpu = append(t.cpu, cpu)
				}
				mu.Unlock()
			}
			return nil
		})
	}
	err = g.Wait()
	slices.Sort(t.first)
	slices.Sort(t.deep)
	slices.Sort(t.cpu)
	return t, err
}

// record starts a worker, a receiver that all goes to, and changes that match a few
// workflows each; stop ends all of them.
func (m *readBench) record(ctx context.Context, pool *pgxpool.Pool, url string) (stop func() error, err error) {
	to, err := startReceiver(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := pool.Query(ctx, `select t.entity_type, coalesce(d.tenant_id, 'acme'), t.field_conditions ->> 'status'
from rowbell.workflow_trigger t join rowbell.workflow_definition d on d.id = t.workflow_id and d.status = 'active'
where t.operation = 'create' order by md5(d.id) limit 1000`)
	if err != nil {
		return nil, errors.Join(err, to.close())
	}
	type target struct{ Table, Tenant, Status string }
	targets, err := pgx.CollectRows(rows, pgx.RowToStructByPos[target])
	if err != nil {
		return nil, errors.Join(err, to.close())
	}
	end, err := startLive(ctx, url, to.url+"/hook")
	if err != nil {
		return nil, errors.Join(err, to.close())
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, errors.Join(err, end(), to.close())
	}
	writing, halt := context.WithCancel(ctx)
	written := make(chan error, 1)
	go func() {
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		next := time.Now()
		for i := 0; ; i++ {
			next = next.Add(recordEach)
			if pause(writing, time.Until(next)) != nil {
				written <- nil
				return
			}
			t := targets[i%len(targets)]
			if _, err := conn.Exec(context.WithoutCancel(ctx), "insert into "+pgx.Identifier{t.Table}.Sanitize()+` (id, tenant_id, status, total, email, note)
				values ((extract(epoch from clock_timestamp()) * 1000000)::int8, $1, $2, 12.5, 'ann@example.com', 'a note')`, t.Tenant, t.Status); err != nil {
				written <- err
				return
			}
		}
	}()
	stop = func() error {
		halt()
		return errors.Join(<-written, end(), to.close())
	}
	// Until it records: it loads the workflows first.
	begun := time.Now()
	for {
		var n int
		err := pool.QueryRow(ctx, `select count(*) from (select from rowbell.execution where committed_at > $1 and executed_at > $1 limit 10) x`, begun).Scan(&n)
		if err == nil && n == 10 {
			return stop, nil
		}
		if err == nil && time.Since(begun) > 2*time.Minute {
			err = errors.New("the worker recorded nothing in two minutes")
		}
		if err == nil {
			err = pause(ctx, 200*time.Millisecond)
		}
		if err != nil {
			return nil, errors.Join(err, stop())
		}
	}
}
