package store_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// alone gives a state database that is not the source's.
func alone(t testing.TB) (*pgtest.Database, *store.State) {
	t.Helper()
	state := pgtest.Filled(t, "state", store.MigrateState)
	return state, store.OpenState(state.Pool(t))
}

func TestEverythingHasAComment(t *testing.T) {
	t.Parallel()
	db, _ := alone(t)
	bare := pgtest.Query[string](t, db, `
		select c.relname || coalesce('.' || a.attname, '') from pg_class c
		left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
		where c.relnamespace = 'rowbell'::regnamespace and c.relkind in ('r', 'p', 'v') and (not c.relispartition or c.relname ~ '_[0-9]+$')
		and (obj_description(c.oid, 'pg_class') is null or col_description(c.oid, a.attnum) is null)
		union all
		select p.proname from pg_proc p where p.pronamespace = 'rowbell'::regnamespace and obj_description(p.oid, 'pg_proc') is null`)
	if len(bare) > 0 {
		t.Errorf("without comment: %s", strings.Join(bare, ", "))
	}
	want := []string{
		"applied", "big_transaction", "checkpoint", "delivery", "delivery_attempt", "delivery_done", "fired", "notification",
		"stream_gap", "workflow_event", "workflow_log", "workflow_log_kept",
	}
	for _, name := range want {
		if n := pgtest.One[int64](t, db, `select count(*) from information_schema.columns where table_schema = 'rowbell' and table_name = $1`, name); n == 0 {
			t.Errorf("there is no rowbell.%s", name)
		}
	}
}

// fill makes a log of 40,000 settled executions of 1,000 workflows of 200 tenants in three
// days, one in 500 failed, and 5,000 pending ones of each sort.
func fill(t testing.TB, db *pgtest.Database) {
	t.Helper()
	for _, sql := range []string{
		`insert into rowbell.surrogate (ref, kind, id, version, name) values (1, 'table', 'orders', 1, 'orders')`,
		`insert into rowbell.surrogate (ref, kind, id, version, tenant_id, name)
		select 1 + n, 'workflow', 'wf-' || n, 1, 'tenant-' || n % 200, 'Workflow ' || n from generate_series(1, 1000) n`,
		`create function pg_temp.ulid(n int) returns text language sql as $$ select '01' || lpad(n::text, 24, '0') $$;
		create temporary table e on commit drop as
		select n, pg_temp.ulid(n) as id, date_trunc('day', clock_timestamp() at time zone 'UTC') at time zone 'UTC' - interval '1 day' + n * interval '5 seconds' as at from generate_series(1, 50000) n;
		insert into rowbell.event (committed_at, commit_lsn, stream, seq, table_ref, side, op, event_id, tenant_id, row_key, data)
		select at, '0/1'::pg_lsn + n, 1, 0, 1, 0, 'c', id, 'tenant-1', (n % 10000)::text, '{"new": {}}' from e;
		insert into rowbell.execution (id, committed_at, executed_at, settled_at, version_ref, priority, status, error)
		select id || '-' || 2 + n % 1000, at, at, at, 2 + n % 1000, 100, case when n % 500 = 0 then 'failure' else 'success' end, case when n % 500 = 0 then 'row ' || n || ' has no note' end from e where n <= 40000;
		insert into rowbell.queue (execution_id, committed_at, executed_at, ready_at, version_ref, priority, "order", action, kind, sole, addressed)
		select id || '-' || 2 + n % 1000, at, at, at, 2 + n % 1000, 100, 0, 0, 'webhook', n <= 45000, true from e where n > 40000;
		insert into rowbell.execution_open (id, committed_at, executed_at, version_ref, priority, open)
		select id || '-' || 2 + n % 1000, at, at, 2 + n % 1000, 100, 2 from e where n > 45000`,
		`analyze`,
	} {
		db.Exec(t, sql)
	}
}

// TestLogFiltersUseAnIndex looks at the plans of what people ask workflow_log: no big
// table is read from end to end, whoever asks.
func TestLogFiltersUseAnIndex(t *testing.T) {
	t.Parallel()
	db, _ := alone(t)
	fill(t, db)
	filtersUseAnIndex(t, db.Conn(t), true)
}

// owned gives a database whose schema belongs to a role that is no superuser, and may take on
// rowbell_api.
func owned(t *testing.T) (db *pgtest.Database, ownerURL string) {
	t.Helper()
	db = pgtest.DB(t)
	owner, ownerURL := db.Role(t, "bell", "")
	// Other tests, in other databases of the server, make the role as well.
	db.Exec(t, `do $$ begin create role rowbell_api nologin; exception when duplicate_object or unique_violation then null; end $$`)
	db.Exec(t, fmt.Sprintf(`grant create on database %s to %s; grant rowbell_api to %[2]s`, db.Name, owner))
	if err := store.Migrate(t.Context(), ownerURL, ownerURL); err != nil {
		t.Fatal(err)
	}
	return db, ownerURL
}

// The same for who owns the tables, for an SQL member of one tenant, and for the API.
func TestLogFiltersOfOthersUseAnIndex(t *testing.T) {
	t.Parallel()
	db, ownerURL := owned(t)
	fill(t, db)
	t.Run("owner", func(t *testing.T) { filtersUseAnIndex(t, pgtest.Connect(t, ownerURL), true) })
	t.Run("member", func(t *testing.T) {
		_, conn := member(t, db, "tenant-124", "view")
		filtersUseAnIndex(t, conn, false)
	})
	t.Run("API", func(t *testing.T) {
		conn := pgtest.Connect(t, ownerURL)
		if _, err := conn.Exec(t.Context(), `set role rowbell_api; set rowbell.tenant = 'tenant-124'`); err != nil {
			t.Fatal(err)
		}
		filtersUseAnIndex(t, conn, false)
		for name, query := range map[string]func() (string, []any, error){
			"dead": store.DeliveryFilter{}.SQL,
			"replay": func() (string, []any, error) {
				return store.ReplaySQL(), []any{time.Now().Add(-72 * time.Hour), time.Now(), []string{"failure"}, []string{"wf-124"}, nil, "", 100, []string{}}, nil
			},
			"feed": func() (string, []any, error) {
				return store.DeliveryFeedSQL, []any{[]string{fmt.Sprintf("01%024d-%d", 42123, 125)}}, nil
			},
			"retry": func() (string, []any, error) {
				return `select exists (select from rowbell.event where event_id = left($1, 26)) from rowbell.execution where id = $1 for update`, []any{fmt.Sprintf("01%024d-%d", 20123, 125)}, nil
			},
			"retrying": store.DeliveryFilter{Statuses: []store.DeliveryStatus{store.DeliveryRetrying}, WorkflowID: "wf-124"}.SQL,
		} {
			sql, args, err := query()
			if err != nil {
				t.Fatal(err)
			}
			plan := explain(t, conn, sql, args...)
			for _, big := range bigScans(t, conn, plan) {
				if !pendingScan("", big) {
					t.Errorf("%s: a scan of %s in\n%s", name, big, plan)
				}
			}
		}
	})
}

// bigScans are the big tables that a plan reads from end to end.
func bigScans(t testing.TB, conn *pgx.Conn, plan string) (tables []string) {
	t.Helper()
	for _, scan := range regexp.MustCompile(`Seq Scan on (event|execution|queue)\S*`).FindAllString(plan, -1) {
		if table := strings.Fields(scan)[3]; pgRows(t, conn, table) > 1000 {
			tables = append(tables, table)
		}
	}
	return tables
}

func filtersUseAnIndex(t *testing.T, conn *pgx.Conn, all bool) {
	t.Helper()
	const settled, waiting, open = 20123, 42123, 47123
	id := func(n int) string { return fmt.Sprintf("01%024d-%d", n, 2+n%1000) }
	event := func(n int) string { return fmt.Sprintf("01%024d", n) }
	for _, tc := range []struct {
		view, where string
		rows        int
		args        []any
	}{
		{"workflow_log", "id = $1", 1, []any{id(settled)}},
		{"workflow_log", "id = $1", 1, []any{id(waiting)}},
		{"workflow_log", "id = $1", 1, []any{id(open)}},
		{"workflow_log", "trigger_event_id = $1", 1, []any{event(settled)}},
		{"workflow_log", "trigger_event_id = $1", 1, []any{event(waiting)}},
		{"workflow_log", "trigger_event_id = $1", 1, []any{event(open)}},
		{"workflow_log", "workflow_id = $1", 50, []any{"wf-124"}},
		{"workflow_log", "workflow_id = $1 and status = $2", 40, []any{"wf-124", "success"}},
		{"workflow_log", "tenant_id = $1", 250, []any{"tenant-124"}},
		{"workflow_log", "status = $1", 80, []any{"failure"}},
		{"workflow_log", "status = $1", 0, []any{"cancelled"}},
		{"workflow_log", "executed_at between $1 and $1 + interval '10 minutes'", 120, []any{time.Now().UTC().Truncate(24 * time.Hour).Add(time.Second)}},
		{"workflow_event", "id = $1", 1, []any{event(settled)}},
		{"workflow_event", "row_key = $1", 5, []any{"42"}},
		{"row_history", "table_name = 'orders' and row_key = $1", 5, []any{"42"}},
		{"delivery", "execution_id = $1", 1, []any{id(waiting)}},
	} {
		t.Run(tc.view+" "+tc.where, func(t *testing.T) {
			// The plan for unknown arguments would be no better than a guess.
			plan := explain(t, conn, fmt.Sprintf("select * from rowbell.%s where %s", tc.view, tc.where), tc.args...)
			for _, big := range bigScans(t, conn, plan) {
				if !pendingScan(tc.where, big) {
					t.Errorf("a scan of %s in\n%s", big, plan)
				}
			}
			var n, others int
			err := conn.QueryRow(t.Context(), fmt.Sprintf("select count(*), count(*) filter (where tenant_id <> 'tenant-124') from rowbell.%s where %s", tc.view, tc.where), tc.args...).Scan(&n, &others)
			switch {
			case err != nil || all && n != tc.rows:
				t.Errorf("%d rows, %v; want %d", n, err, tc.rows)
			case !all && (others > 0 || n == 0 && tc.view == "workflow_log" && strings.Contains(tc.where, "_id = ")):
				t.Errorf("a tenant sees %d rows, %d of them others'", n, others)
			}
		})
	}
}

// Row-level security costs recording and delivering nothing: for the owner, who need not be
// a superuser, its conditions are gone when a statement has been planned.
func TestHotStatementsAreAsTheyWere(t *testing.T) {
	t.Parallel()
	db, ownerURL := owned(t)
	plans := func(conn *pgx.Conn) map[string]string {
		all := make(map[string]string)
		if _, err := conn.Exec(t.Context(), `set plan_cache_mode = force_generic_plan; set enable_seqscan = off`); err != nil {
			t.Fatal(err)
		}
		for name, sql := range store.HotSQL() {
			st, err := conn.PgConn().Prepare(t.Context(), "hot_"+name, sql, nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			nulls := strings.TrimSuffix(strings.Repeat("null, ", len(st.ParamOIDs)), ", ")
			rows, err := conn.Query(t.Context(), fmt.Sprintf("explain (verbose, costs off) execute hot_%s (%s)", name, nulls), pgx.QueryExecModeSimpleProtocol)
			if err != nil {
				t.Fatal(err)
			}
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			all[name] = strings.Join(lines, "\n")
		}
		return all
	}
	// In which order equal conditions are tried, and how a plan writes them, is no matter.
	nodes := func(plan string) string {
		return regexp.MustCompile(`(?m)^ *(Output|\S+ Cond|Filter|Join Filter|Recheck Cond): .*\n?`).ReplaceAllString(plan, "")
	}
	without, with := plans(db.Conn(t)), plans(pgtest.Connect(t, ownerURL)) // a superuser has no policies
	for name, want := range without {
		if got := with[name]; nodes(got) != nodes(want) || strings.Contains(got, "sees_all") {
			t.Errorf("%s is planned as\n%s\nwithout row-level security as\n%s", name, got, want)
		}
	}
	// For others they are there, so that this is told apart.
	other, conn := member(t, db, "*", "edit")
	if got := plans(conn)["claim"]; !strings.Contains(got, "sees_all") {
		t.Errorf("%s claims by\n%s", other, got)
	}
}

// The feed of deliveries goes to each execution by its key.
func TestDeliveryFeedUsesIndexes(t *testing.T) {
	t.Parallel()
	db, _ := alone(t)
	fill(t, db)
	db.Exec(t, `insert into rowbell.attempt (execution_id, committed_at, action, attempt, started_at, duration_ms)
		select execution_id, committed_at, action, 1, committed_at, 1 from rowbell.queue`)
	db.Exec(t, `insert into rowbell.delivery_ended (execution_id, committed_at, ended_at, version_ref, "order", action, attempts, kind, status)
		select id, committed_at, committed_at, version_ref, 0, 0, 0, 'webhook', 'succeeded' from rowbell.execution`)
	db.Exec(t, `analyze`)
	plan := explain(t, db.Conn(t), store.DeliveryFeedSQL, []string{fmt.Sprintf("01%024d-%d", 42123, 2+42123%1000), "01ARZ3NDEKTSV4RRFFQ69G5FAV-2"})
	for _, big := range regexp.MustCompile(`Seq Scan on (execution|queue|attempt|delivery_ended)(_open|_\d+)? `).FindAllString(plan, -1) {
		if pgRows(t, db.Conn(t), strings.Fields(big)[3]) > 1000 {
			t.Errorf("%s in\n%s", big, plan)
		}
	}
}

// Lists of what gave up, or was cancelled, go by an index, however many have succeeded.
func TestListOfDeadUsesIndexes(t *testing.T) {
	t.Parallel()
	db, _ := alone(t)
	fill(t, db)
	db.Exec(t, `update rowbell.execution set action = 0, kind = 'webhook', attempts = 1`)
	db.Exec(t, `insert into rowbell.delivery_ended (execution_id, committed_at, ended_at, version_ref, "order", action, attempts, kind, status)
		select id, committed_at, committed_at, version_ref, 0, 1, 0, 'webhook', case status when 'success' then 'succeeded' else 'dead' end from rowbell.execution`)
	db.Exec(t, `analyze`)
	for _, statuses := range [][]store.DeliveryStatus{nil, {store.DeliveryCancelled}, {store.DeliveryDead, store.DeliveryRetrying}} {
		sql, args, err := store.DeliveryFilter{Statuses: statuses}.SQL()
		if err != nil {
			t.Fatal(err)
		}
		plan := explain(t, db.Conn(t), sql, args...)
		for _, big := range regexp.MustCompile(`(?:Seq Scan|Scan Backward using \S+_pkey) on (execution|delivery_ended)(_\d+)? `).FindAllString(plan, -1) {
			if fields := strings.Fields(big); pgRows(t, db.Conn(t), fields[len(fields)-1]) > 1000 {
				t.Errorf("%v: %s in\n%s", statuses, big, plan)
			}
		}
	}
}

// The live feed finds what has ended lately by its blocks, and what was recorded by the
// events' ids; of a tenant too.
func TestLiveUsesIndexes(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	fill(t, db)
	conn := db.Conn(t)
	settings, settled, pending := store.LiveSQL()
	if _, err := conn.Exec(t.Context(), strings.ReplaceAll(settings, "set local", "set")); err != nil {
		t.Fatal(err)
	}
	last := pgtest.One[time.Time](t, db, `select max(settled_at) from rowbell.execution`)
	after := last.Add(-time.Minute)
	plan := explain(t, conn, settled, after, "", last, "tenant-7", "", 1000)
	if !regexp.MustCompile(`Bitmap Index Scan on execution_\d+_settled_at_idx`).MatchString(plan) || regexp.MustCompile(`Scan (using \S+ )?on execution_\d+ `).MatchString(strings.ReplaceAll(plan, "Bitmap Heap Scan", "")) {
		t.Errorf("what was settled comes by\n%s", plan)
	}
	plan = explain(t, conn, pending, fmt.Sprintf("01%024d", 49990), after, last, 1000)
	if regexp.MustCompile(`Seq Scan on (event|execution|queue)(_open|_\d+)? `).MatchString(plan) {
		t.Errorf("what was recorded comes by\n%s", plan)
	}
	list, err := state.LiveSettled(t.Context(), store.LiveWindow{After: after, UpTo: last, Limit: 1000})
	if err != nil || len(list) != 13 || list[0].Table != "orders" || list[0].WorkflowID == "" {
		t.Errorf("%d were settled, %v", len(list), err)
	}
	tenant := list[0].TenantID
	some, err := state.LiveSettled(t.Context(), store.LiveWindow{After: after, UpTo: last, Limit: 1000, Tenant: &tenant, WorkflowID: list[0].WorkflowID})
	if err != nil || len(some) != 1 || some[0].ID != list[0].ID {
		t.Errorf("of one workflow %+v, %v", some, err)
	}
	rest, err := state.LiveSettled(t.Context(), store.LiveWindow{After: *list[3].SettledAt, AfterID: list[3].ID, UpTo: last, Limit: 2})
	if err != nil || len(rest) != 2 || rest[0].ID != list[4].ID {
		t.Errorf("behind the fourth come %+v, %v", rest, err)
	}
	waits, newest, full, err := state.LivePending(t.Context(), fmt.Sprintf("01%024d", 49980), store.LiveWindow{UpTo: time.Now().Add(96 * time.Hour), Limit: 10})
	if err != nil || len(waits) != 10 || !full || newest != fmt.Sprintf("01%024d", 49990) || waits[0].Status != workflow.Pending {
		t.Errorf("%d wait, up to %s, %t, %v", len(waits), newest, full, err)
	}
}

// pendingScan says that a scan of a table of pending executions is meant: it holds what
// isn't done, which is little, so it has no index for these filters.
func pendingScan(where, table string) bool {
	return (table == "queue" || table == "execution_open") && !strings.HasPrefix(where, "id =")
}

func pgRows(t testing.TB, conn *pgx.Conn, table string) (n float64) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), `select reltuples from pg_class where oid = ('rowbell.' || $1)::regclass`, table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func explain(t testing.TB, conn *pgx.Conn, sql string, args ...any) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), "explain "+sql, append([]any{pgx.QueryExecModeExec}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

// day is so many days before today, as partitions are named and as a time in it.
func day(ago int) (name string, noon time.Time) {
	d := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -ago)
	return d.Format("20060102"), d.Add(12 * time.Hour)
}

// makeDay makes the partitions of a day in the past.
func makeDay(t *testing.T, db *pgtest.Database, ago int) {
	t.Helper()
	name, _ := day(ago)
	for _, table := range []string{"event", "execution", "delivery_ended", "attempt"} {
		db.Exec(t, fmt.Sprintf(`create table rowbell.%[1]s_%[2]s partition of rowbell.%[1]s for values from ('%[3]s 00:00+00') to ('%[4]s 00:00+00')`,
			table, name, time.Now().UTC().AddDate(0, 0, -ago).Format(time.DateOnly), time.Now().UTC().AddDate(0, 0, 1-ago).Format(time.DateOnly)))
	}
}

func TestPartitions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	today, _ := day(0)
	for _, tc := range []struct {
		at   time.Time
		want string
	}{
		{time.Now().UTC(), "execution_" + today},
		{time.Date(1999, 12, 31, 23, 59, 0, 0, time.UTC), "execution_default"},
		{time.Now().UTC().AddDate(30, 0, 0), "execution_default"},
	} {
		w.at = tc.at.Truncate(time.Microsecond)
		e := w.event("1")
		w.record(t, w.batch(workflow.Success, 0, e))
		if got := w.db.QueryString(t, `select tableoid::regclass::text from rowbell.execution where id = $1`, e.ID+"-2"); got != "rowbell."+tc.want {
			t.Errorf("an execution of %s is in %s, want %s", tc.at, got, tc.want)
		}
		if n := pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where trigger_event_id = $1`, e.ID); n != 1 {
			t.Errorf("%d executions of %s are in the log", n, tc.at)
		}
	}
	// A day that is missing, though the DEFAULT partition has a row of it, stays there;
	// the other days are made.
	soon, at := day(-7)
	other, _ := day(-6)
	w.db.Exec(t, fmt.Sprintf(`drop table rowbell.execution_%s, rowbell.execution_%s`, soon, other))
	w.at = at
	w.record(t, w.batch(workflow.Success, 0, w.event("2")))
	if err := w.state.MaintainPartitions(t.Context(), 30, 90); err != nil {
		t.Fatal(err)
	}
	if got := w.db.QueryString(t, `select concat_ws(' ', to_regclass('rowbell.execution_' || $1) is null, to_regclass('rowbell.execution_' || $2) is null)`, soon, other); got != "t f" {
		t.Errorf("missing partitions: %s, want only the one whose rows are in the DEFAULT partition", got)
	}
	if n := pgtest.One[int64](t, w.db, `select rowbell.make_partitions(7)`); n != 0 {
		t.Errorf("%d partitions were made again", n)
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	makeDay(t, w.db, 40)
	name, noon := day(40)
	w.at = noon
	succeeded, failed, pending, open := w.event("1"), w.event("2"), w.event("3"), w.event("4")
	w.record(t, w.batch(workflow.Success, 0, succeeded))
	w.record(t, w.batch(workflow.Failure, 0, failed))
	w.record(t, w.batch(workflow.Pending, 1, pending))
	w.record(t, w.batch(workflow.Pending, 2, open))
	for _, e := range []*workflow.Event{succeeded, failed, pending, open} {
		w.db.Exec(t, `insert into rowbell.attempt (committed_at, started_at, duration_ms, action, attempt, execution_id, error) values ($1, $1, 1, 0, 1, $2, 'refused')`, e.CommittedAt, e.ID+"-2")
		w.db.Exec(t, `insert into rowbell.delivery_ended (committed_at, ended_at, version_ref, "order", action, attempts, execution_id, kind, status) values ($1, $1, 2, 0, 7, 1, $2, 'webhook', 'dead')`, e.CommittedAt, e.ID+"-2")
	}
	_, w.at = day(0)
	w.record(t, w.batch(workflow.Success, 0, w.event("5")))

	const rows = `select string_agg(row_key || ' ' || status, ', ' order by row_key) from rowbell.row_history`
	if err := w.state.MaintainPartitions(t.Context(), 40, 90); err != nil {
		t.Fatal(err)
	}
	if got := w.db.QueryString(t, rows); got != "1 success, 2 failure, 3 pending, 4 pending, 5 success" {
		t.Errorf("a day that is to be kept lost some: %s", got)
	}
	for range 2 { // the second has nothing to do
		if err := w.state.MaintainPartitions(t.Context(), 30, 90); err != nil {
			t.Fatal(err)
		}
		if got := w.db.QueryString(t, rows); got != "2 failure, 3 pending, 4 pending, 5 success" {
			t.Errorf("after retention: %s", got)
		}
	}
	if n := pgtest.One[int64](t, w.db, `select count(*) from pg_class where relname like '%\_' || $1`, name); n != 0 {
		t.Errorf("%d tables of the day are left", n)
	}
	if got := w.db.QueryString(t, `select string_agg(right(id, 2) || ' ' || status, ', ') from rowbell.workflow_log_kept`); got != "-2 failure" {
		t.Errorf("workflow_log_kept: %s", got)
	}
	left := `select (select count(*) from rowbell.attempt) || ' ' || (select count(*) from rowbell.delivery_ended)`
	if got := w.db.QueryString(t, left); got != "3 2" {
		t.Errorf("attempts and ended deliveries that are left: %s", got)
	}
	// What was kept goes in its turn; what is pending never does.
	if err := w.state.MaintainPartitions(t.Context(), 30, 35); err != nil {
		t.Fatal(err)
	}
	if got := w.db.QueryString(t, rows); got != "3 pending, 4 pending, 5 success" {
		t.Errorf("after the longer time: %s", got)
	}
}

// TestRetentionGoesOn has a process die after it detached a day.
func TestRetentionGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	makeDay(t, w.db, 40)
	name, noon := day(40)
	w.at = noon
	w.record(t, w.batch(workflow.Failure, 0, w.event("1")))
	w.db.Exec(t, fmt.Sprintf(`alter table rowbell.event detach partition rowbell.event_%[1]s; alter table rowbell.execution detach partition rowbell.execution_%[1]s`, name))
	if err := w.state.MaintainPartitions(t.Context(), 30, 90); err != nil {
		t.Fatal(err)
	}
	if got := w.db.QueryString(t, `select string_agg(row_key || ' ' || status, ', ') from rowbell.row_history`); got != "1 failure" {
		t.Errorf("the log has %s", got)
	}
}

// TestRetentionOfAnOddDay has a day whose executions are in the DEFAULT partition.
func TestRetentionOfAnOddDay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	makeDay(t, w.db, 40)
	name, noon := day(40)
	w.db.Exec(t, `drop table rowbell.execution_`+name)
	w.at = noon
	w.record(t, w.batch(workflow.Failure, 0, w.event("1")))
	w.record(t, w.batch(workflow.Success, 0, w.event("2")))
	if err := w.state.MaintainPartitions(t.Context(), 30, 90); err != nil {
		t.Fatal(err)
	}
	if got := w.db.QueryString(t, `select string_agg(row_key || ' ' || status, ', ') from rowbell.row_history`); got != "1 failure" {
		t.Errorf("the log has %s", got)
	}
}

// TestMaintenanceAtOnce has several processes maintain the same partitions.
func TestMaintenanceAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	makeDay(t, w.db, 31)
	makeDay(t, w.db, 32)
	var g errgroup.Group
	for range 3 {
		g.Go(func() error { return w.state.MaintainPartitions(t.Context(), 30, 90) })
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestFailing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 3 {
		w.record(t, w.batch(workflow.Failure, 0, w.event(fmt.Sprint(40+i))))
	}
	retried := w.event("50")
	w.record(t, w.batch(workflow.Pending, 1, retried))
	w.db.Exec(t, `update rowbell.queue set error = 'status 503 from the shop'`)
	got := pgtest.Query[string](t, w.db, `select concat_ws('|', workflow_id, workflow_name, tenant_id, state, cause, count, last_seen >= first_seen, example_execution_id, example_error)
		from rowbell.failing order by state`)
	if len(got) != 2 || !strings.HasPrefix(got[0], "wf-a|Big orders|acme|failed|column note of row # is not in the WAL|3|t|") ||
		got[1] != "wf-a|Big orders|acme|retrying|status # from the shop|1|t|"+retried.ID+"-2|status 503 from the shop" {
		t.Errorf("failing: %q", got)
	}
}

// BenchmarkRecord records matches as a busy webhook workflow makes them: one event of
// 300 bytes, one execution, one delivery.
func BenchmarkRecord(b *testing.B) {
	for _, size := range []int{100, 1000} {
		b.Run(fmt.Sprintf("B=%d", size), func(b *testing.B) {
			w := newWorld(b)
			w.rec.LeaseTo("rowbell/bench/1", 30*time.Second)
			const wal = `select pg_current_wal_insert_lsn() - '0/0'::pg_lsn`
			data := []byte(`{"new":{"id":10,"tenant_id":"acme","status":"approved","total":120.50,"email":"customer@example.com","note":"` +
				strings.Repeat("x", 40) + `","created_at":"2026-01-02T03:04:05.123456Z","updated_at":"2026-01-02T03:04:05.123456Z","meta":{"channel":"web","items":3}},"old":null,"changed":null,"unavailable":[]}`)
			before := pgtest.One[float64](b, w.db, wal)
			n := 0
			for b.Loop() {
				b.StopTimer()
				events := make([]*workflow.Event, size)
				for i := range events {
					events[i] = w.event(fmt.Sprint(n + i))
					events[i].Data = data
				}
				batch := w.batch(workflow.Pending, 1, events...)
				n += size
				b.StartTimer()
				if err := w.rec.Record(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
				w.last = batch.Next
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "matches/s")
			b.ReportMetric((pgtest.One[float64](b, w.db, wal)-before)/float64(n), "WAL-B/match")
		})
	}
}
