package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// TestStatistics compares statistics with the counts of the view.
func TestStatistics(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	fillLog(t, db, 4000)
	db.Exec(t, `update rowbell.surrogate set id = 'busy' where ref in (select ref from rowbell.surrogate where tenant_id = 'acme' order by ref limit 3)`)
	until := time.Now().Add(time.Minute)
	since := until.Add(-5 * 24 * time.Hour)
	check := func(what string) {
		t.Helper()
		for name, f := range map[string]store.StatisticFilter{
			"all": {}, "a tenant": {TenantID: str("big")}, "operators": {TenantID: str("")}, "a tenant with nothing": {TenantID: str("quiet")},
			"a busy workflow": {WorkflowID: "busy"}, "a workflow": {WorkflowID: "big-3", TenantID: str("big")}, "a workflow by day": {WorkflowID: "busy", Days: true},
		} {
			f.Since, f.Until = since, until
			got, err := state.Statistics(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			type counts struct{ Success, Failure, Cancelled int64 }
			unit := "hour"
			if f.Days {
				unit = "day"
			}
			want := map[time.Time]counts{}
			for _, w := range pgtest.Structs[struct {
				At time.Time
				counts
			}](t, db, `select date_trunc($1, committed_at, 'UTC') as at, count(*) filter (where status = 'success') as success, count(*) filter (where status = 'failure') as failure,
				count(*) filter (where status = 'cancelled') as cancelled
				from rowbell.workflow_log where ($2::text is null or coalesce(tenant_id, '') = $2) and ($3 = '' or workflow_id = $3) and status <> 'pending' group by 1`, unit, f.TenantID, f.WorkflowID) {
				want[w.At.UTC()] = w.counts
			}
			var total counts
			for i, b := range got.Buckets {
				if c := (counts{b.Success, b.Failure, b.Cancelled}); c != want[b.From.UTC()] {
					t.Errorf("%s, %s: %s has %+v, want %+v", what, name, b.From, c, want[b.From.UTC()])
				}
				if i > 0 && !b.From.After(got.Buckets[i-1].From) {
					t.Errorf("%s, %s: %s comes behind %s", what, name, b.From, got.Buckets[i-1].From)
				}
				total.Success += b.Success
				total.Failure += b.Failure
				total.Cancelled += b.Cancelled
			}
			if c := (counts{got.Total.Success, got.Total.Failure, got.Total.Cancelled}); c != total {
				t.Errorf("%s, %s: the total is %+v, want %+v", what, name, c, total)
			}
			if (f.WorkflowID == "") != (got.Total.Deliveries != nil) {
				t.Errorf("%s, %s: deliveries are %+v", what, name, got.Total.Deliveries)
			}
			if f.WorkflowID == "" {
				checkDeliveries(t, db, what+", "+name, f, got)
			}
			if n := total.Success + total.Failure; (n > 0) != (got.Total.P50 != nil) {
				t.Errorf("%s, %s: P50 of %d executions is %v", what, name, n, got.Total.P50)
			}
		}
	}
	n, err := state.CountHours(t.Context(), 30, 90)
	if err != nil {
		t.Fatal(err)
	}
	if n < 80 {
		t.Errorf("%d hours were counted, want 84 and more", n)
	}
	check("counted")
	if pgtest.One[int64](t, db, `select count(*) from rowbell.workflow_statistic`) == 0 {
		t.Error("no workflow was busy in any hour")
	}
	// To a fifth: the steps are of half a doubling.
	exact := pgtest.One[float64](t, db, `select percentile_cont(0.95) within group (order by extract(epoch from settled_at - executed_at)::float8) from rowbell.execution where status <> 'cancelled'`)
	all, err := state.Statistics(t.Context(), store.StatisticFilter{Since: since, Until: until})
	if err != nil {
		t.Fatal(err)
	}
	if p95 := all.Total.P95.Seconds(); p95 < exact*0.8 || p95 > exact*1.25 {
		t.Errorf("P95 is %.3f s, exactly %.3f s", p95, exact)
	}
	if n, err := state.CountHours(t.Context(), 30, 90); err != nil || n != 0 {
		t.Errorf("%d hours were counted again at once, %v", n, err)
	}
	// What is put back is counted again.
	id := db.QueryString(t, `select id from rowbell.delivery_done where status = 'dead' and execution_id in (select id from rowbell.execution where action is not null) order by id desc limit 1`)
	before := read(t, state, store.StatisticFilter{Since: since, Until: until})
	if _, err := state.RetryDelivery(t.Context(), id, func(int16) store.PutBack { return store.PutBack{Addressed: true} }); err != nil {
		t.Fatal(err)
	}
	// It succeeds. Whoever asks before the hour is counted anew is told what was, not both.
	db.Exec(t, `with q as (delete from rowbell.queue where execution_id = (select execution_id from rowbell.delivery where id = $1) returning *)
		insert into rowbell.execution (id, committed_at, executed_at, settled_at, version_ref, priority, action, attempts, kind, recipient, status)
		select execution_id, committed_at, executed_at, clock_timestamp(), version_ref, priority, action, attempts, kind, recipient, 'success' from q`, id)
	const ofIt = ` where hour = date_trunc('hour', (select committed_at from rowbell.delivery_done where id = $1), 'UTC')`
	live := read(t, state, store.StatisticFilter{Since: since, Until: until, Live: true})
	if live.Total.Failure != before.Total.Failure || live.Total.Success != before.Total.Success {
		t.Errorf("%d failed and %d succeeded, %d and %d before one of the failures was retried", live.Total.Failure, live.Total.Success, before.Total.Failure, before.Total.Success)
	}
	if counted := pgtest.One[time.Time](t, db, `select counted_at from rowbell.statistic_hour`+ofIt, id); live.AsOf.After(counted) {
		t.Errorf("as of %s, and the hour was counted at %s", live.AsOf, counted)
	}
	if n, err := state.CountHours(t.Context(), 30, 90); err != nil || n != 0 {
		t.Errorf("%d hours were counted again within a minute, %v", n, err)
	}
	db.Exec(t, `update rowbell.statistic_hour set counted_at = counted_at - interval '2 minutes'`+ofIt, id)
	if n, err := state.CountHours(t.Context(), 30, 90); err != nil || n != 1 {
		t.Errorf("%d hours were counted again, %v, want 1", n, err)
	}
	check("after a retry")
	if due := pgtest.One[time.Time](t, db, `select next_at from rowbell.statistic_hour`+ofIt, id); time.Until(due) > 2*time.Minute {
		t.Errorf("the hour is counted again at %s", due)
	}
	// What ends between two counts is there at once for who asks for it, and counted once.
	for _, f := range []store.StatisticFilter{{}, {TenantID: str("big")}, {TenantID: str("quiet")}} {
		f.Since, f.Until = since, until
		before := read(t, state, f)
		f.Live = true
		now := read(t, state, f)
		if now.Total.Success != before.Total.Success || now.Total.Failure != before.Total.Failure {
			t.Errorf("nothing has ended since it was counted, and it is %+v in place of %+v", now.Total, before.Total)
		}
	}
	db.Exec(t, `insert into rowbell.execution (committed_at, executed_at, settled_at, version_ref, priority, id, status)
		select x.committed_at, x.executed_at, clock_timestamp(), x.version_ref, x.priority, x.id || '-1', x.status
		from rowbell.execution x join rowbell.surrogate v on v.ref = x.version_ref where v.tenant_id = 'big' and x.status = 'success' order by x.id desc limit 7`)
	is := read(t, state, store.StatisticFilter{TenantID: str("big"), Since: since, Until: until, Live: true})
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.workflow_log where tenant_id = 'big' and status = 'success'`); is.Total.Success != n {
		t.Errorf("of big %d succeeded, not %d", is.Total.Success, n)
	}
	// Deliveries of one that has not settled yet count as they end.
	db.Exec(t, `insert into rowbell.delivery_ended (committed_at, ended_at, version_ref, "order", action, attempts, execution_id, recipient, kind, status)
		select d.committed_at, clock_timestamp(), d.version_ref, d."order", d.action, 1, d.execution_id, 'late-' || s, d.kind, s
		from (select d.* from rowbell.delivery_ended d join rowbell.surrogate v on v.ref = d.version_ref where v.tenant_id = 'big' and d.action >= 0 order by d.execution_id desc limit 1) d,
			unnest('{succeeded,dead,cancelled}'::text[]) s`)
	late := read(t, state, store.StatisticFilter{TenantID: str("big"), Since: since, Until: until, Live: true})
	if was, is := *is.Total.Deliveries, *late.Total.Deliveries; is != (store.DeliveryCounts{Succeeded: was.Succeeded + 1, Dead: was.Dead + 1, Cancelled: was.Cancelled + 1}) {
		t.Errorf("deliveries were %+v and are %+v, when one more of each has ended", was, is)
	}
	other := read(t, state, store.StatisticFilter{TenantID: str("acme"), Since: since, Until: until, Live: true})
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.workflow_log where tenant_id = 'acme' and status = 'success'`); other.Total.Success != n {
		t.Errorf("of acme %d succeeded, not %d", other.Total.Success, n)
	}
	// Hours that the log has let go of stay as they were, for as long as what is kept.
	db.Exec(t, `update rowbell.statistic_hour set next_at = clock_timestamp()`)
	kept := pgtest.One[int64](t, db, `select sum(success)::int8 from rowbell.tenant_statistic`)
	db.Exec(t, `delete from rowbell.execution where committed_at < clock_timestamp() - interval '1 day 2 hours'`)
	if _, err := state.CountHours(t.Context(), 1, 90); err != nil {
		t.Fatal(err)
	}
	if after := pgtest.One[int64](t, db, `select sum(success)::int8 from rowbell.tenant_statistic`); after < kept*9/10 {
		t.Errorf("%d executions are counted, %d were", after, kept)
	}
	if _, err := state.CountHours(t.Context(), 1, 1); err != nil {
		t.Fatal(err)
	}
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.tenant_statistic where hour < clock_timestamp() - interval '25 hours'`); n != 0 {
		t.Errorf("%d rows are older than what is kept", n)
	}
	if _, err := state.Statistics(t.Context(), store.StatisticFilter{WorkflowID: "none"}); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("no such workflow: %v", err)
	}
	if _, err := state.Statistics(t.Context(), store.StatisticFilter{Since: until.AddDate(-1, 0, 0)}); !errors.Is(err, store.ErrRange) {
		t.Errorf("a year: %v", err)
	}
}

// checkDeliveries compares how deliveries ended with the view.
func checkDeliveries(t *testing.T, db *pgtest.Database, what string, f store.StatisticFilter, got store.Statistics) {
	t.Helper()
	want := map[time.Time]store.DeliveryCounts{}
	var total store.DeliveryCounts
	for _, w := range pgtest.Structs[struct {
		At time.Time
		store.DeliveryCounts
	}](t, db, `select date_trunc('hour', committed_at, 'UTC') as at, count(*) filter (where status = 'succeeded') as succeeded, count(*) filter (where status = 'dead') as dead,
		count(*) filter (where status = 'cancelled') as cancelled
		from rowbell.delivery_done where action >= 0 and ($1::text is null or coalesce(tenant_id, '') = $1) group by 1`, f.TenantID) {
		want[w.At.UTC()] = w.DeliveryCounts
		total.Succeeded += w.Succeeded
		total.Dead += w.Dead
		total.Cancelled += w.Cancelled
	}
	for _, b := range got.Buckets {
		if *b.Deliveries != want[b.From.UTC()] {
			t.Errorf("%s: %s has deliveries %+v, want %+v", what, b.From, *b.Deliveries, want[b.From.UTC()])
		}
	}
	if *got.Total.Deliveries != total {
		t.Errorf("%s: deliveries are %+v in all, want %+v", what, *got.Total.Deliveries, total)
	}
}

// TestLiveStatistics has executions that end at odd moments.
func TestLiveStatistics(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	db.Exec(t, `insert into rowbell.surrogate (ref, kind, id, version, tenant_id, name) values (1, 'workflow', 'a', 1, 'acme', 'A'), (2, 'workflow', 'b', 1, 'big', 'B')`)
	at := time.Now().UTC().Truncate(time.Millisecond)
	n := 0
	settle := func(ref int, committedAt time.Time) {
		t.Helper()
		n++
		db.Exec(t, `insert into rowbell.execution (id, committed_at, executed_at, settled_at, version_ref, priority, status) values ($1, $2, clock_timestamp(), clock_timestamp(), $3, 0, 'success')`,
			fmt.Sprintf("%s-%d", change.EventID(committedAt, change.Position{Stream: 1, CommitLSN: change.LSN(n), Seq: 1}, change.SideFirst), ref), committedAt, ref)
	}
	all := store.StatisticFilter{Since: at.Add(-4 * time.Hour), Until: at.Add(time.Minute), Live: true}
	check := func(what string, want int64) store.Statistics {
		t.Helper()
		got := read(t, state, all)
		if got.Total.Success != want {
			t.Errorf("%s: %d succeeded, want %d", what, got.Total.Success, want)
		}
		return got
	}
	current := func(what string, is bool) {
		t.Helper()
		got, now := read(t, state, all), time.Now()
		if got.AsOf.After(now.Add(time.Second)) || got.AsOf.After(now.Add(-time.Minute)) != is {
			t.Errorf("%s: as of %s at %s", what, got.AsOf, now)
		}
	}
	settle(1, at)
	settle(1, at.Add(-2*time.Hour))
	db.Exec(t, `insert into rowbell.statistic_hour (hour, next_at) select h, clock_timestamp() from generate_series(date_trunc('hour', $1::timestamptz, 'UTC') - interval '4 hours', $1, interval '1 hour') h`, at)
	if _, err := state.CountHours(t.Context(), 30, 90); err != nil {
		t.Fatal(err)
	}
	check("counted", 2)
	// One ends after the count has begun, and before it reads.
	db.Exec(t, `update rowbell.statistic_hour set next_at = clock_timestamp() where hour <= $1`, at)
	pool := db.Pool(t)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) //nolint:errcheck // it is over by then
	if _, err := tx.Exec(t.Context(), `lock table rowbell.tenant_statistic`); err != nil {
		t.Fatal(err)
	}
	counted := make(chan error, 1)
	go func() {
		_, err := state.CountHours(t.Context(), 30, 90)
		counted <- err
	}()
	for pgtest.One[int64](t, db, `select count(*) from pg_locks where not granted and relation = 'rowbell.tenant_statistic'::regclass`) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	settle(1, at)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-counted; err != nil {
		t.Fatal(err)
	}
	check("one ended while it was counted", 3)
	current("all hours were counted just now", true)
	// An hour that was counted earlier than the one that runs.
	const old = ` where hour = date_trunc('hour', $1::timestamptz, 'UTC') - interval '2 hours'`
	db.Exec(t, `update rowbell.statistic_hour set counted_at = counted_at - interval '2 minutes' where hour < date_trunc('hour', $1::timestamptz, 'UTC')`, at)
	db.Exec(t, `update rowbell.execution set settled_at = clock_timestamp() - interval '10 minutes'`)
	settle(1, at.Add(-2*time.Hour))
	db.Exec(t, `update rowbell.execution set settled_at = (select counted_at + interval '1 minute' from rowbell.statistic_hour`+old+`) where settled_at > clock_timestamp() - interval '5 minutes'`, at)
	check("one of an earlier hour ended before the hour that runs was counted", 4)
	current("the earlier hours were counted 2 minutes ago", true)
	// What others have doesn't fill a tenant's share.
	db.Exec(t, `insert into rowbell.execution (id, committed_at, executed_at, settled_at, version_ref, priority, status)
		select rpad('0', 26, '0') || '-2-' || i, $1, clock_timestamp(), clock_timestamp(), 2, 0, 'success' from generate_series(1, 50001) i`, at)
	settle(1, at)
	current("more has ended than is read", false)
	all.TenantID = str("acme")
	check("others have more than is read", 5)
	current("others have more than is read", true)
	db.Exec(t, `update rowbell.statistic_hour set counted_at = counted_at - interval '10 minutes'`+old, at)
	current("an hour was counted 12 minutes ago", false)
}

func read(t *testing.T, state *store.State, f store.StatisticFilter) store.Statistics {
	t.Helper()
	s, err := state.Statistics(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestLastExecutions has workflows with several versions, and one that never ran.
func TestLastExecutions(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	fillLog(t, db, 500)
	got, err := state.LastExecutions(t.Context(), []string{"acme-0", "operators-1", "quiet-0", "none"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"acme-0", "operators-1"} {
		if want := db.QueryString(t, `select id from rowbell.workflow_log where workflow_id = '`+id+`' and status <> 'pending' order by committed_at desc limit 1`); got[id].ID != want {
			t.Errorf("%s: %+v, want %s", id, got[id], want)
		}
	}
	if len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

// TestWorkflowRuns compares them with the counts of the view: of workflows with busy hours,
// which are counted, and with others.
func TestWorkflowRuns(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	fillLog(t, db, 4000)
	ids := []string{"acme-0", "big-3", "none", "operators-1", "acme-0", "acme-1"}
	until := time.Now().Add(time.Minute)
	since := until.Add(-4 * 24 * time.Hour)
	type day struct {
		At                          time.Time
		Success, Failure, Cancelled int64
	}
	check := func(what string) {
		t.Helper()
		for _, f := range []store.StatisticFilter{{Days: true}, {}, {Days: true, TenantID: str("acme")}, {Days: true, TenantID: str("")}} {
			f.Since, f.Until = since, until
			list, err := state.WorkflowRuns(t.Context(), ids, f)
			if err != nil {
				t.Fatal(err)
			}
			unit := "hour"
			if f.Days {
				unit = "day"
			}
			for _, r := range list {
				want := map[time.Time]day{}
				for _, d := range pgtest.Structs[day](t, db, `select date_trunc($1, committed_at, 'UTC') as at, count(*) filter (where status = 'success') as success,
					count(*) filter (where status = 'failure') as failure, count(*) filter (where status = 'cancelled') as cancelled
					from rowbell.workflow_log where workflow_id = $2 and status <> 'pending' and committed_at >= date_trunc('hour', $3::timestamptz, 'UTC') group by 1`, unit, r.WorkflowID, since) {
					want[d.At.UTC()] = d
				}
				if r.Total.Deliveries != nil || slices.ContainsFunc(r.Buckets, func(b store.Bucket) bool { return b.Deliveries != nil }) {
					t.Errorf("%s: %s has deliveries, which are not counted of one workflow", what, r.WorkflowID)
				}
				var sum int64
				for _, b := range r.Buckets {
					at := b.From.UTC()
					if got := (day{want[at].At, b.Success, b.Failure, b.Cancelled}); got != want[at] {
						t.Errorf("%s: %s has %+v, want %+v", what, r.WorkflowID, got, want[at])
					}
					sum += b.Success + b.Failure + b.Cancelled
				}
				if total := r.Total.Success + r.Total.Failure + r.Total.Cancelled; total != sum || total == 0 && f.TenantID == nil {
					t.Errorf("%s: %s has %d in all, and %d in its buckets", what, r.WorkflowID, total, sum)
				}
				if want := db.QueryString(t, `select id from rowbell.workflow_log where workflow_id = '`+r.WorkflowID+`' and status <> 'pending' order by committed_at desc limit 1`); r.Last.ID != want {
					t.Errorf("%s: the last of %s is %+v, want %s", what, r.WorkflowID, r.Last, want)
				}
			}
			var named []string
			for _, r := range list {
				named = append(named, r.WorkflowID)
			}
			want := "[acme-0 big-3 operators-1 acme-1]"
			if f.TenantID != nil {
				want = map[string]string{"acme": "[acme-0 acme-1]", "": "[operators-1]"}[*f.TenantID]
			}
			if got := fmt.Sprint(named); got != want {
				t.Errorf("%s: there are %s, want %s", what, got, want)
			}
		}
	}
	check("before anything was counted")
	if _, err := state.CountHours(t.Context(), 30, 90); err != nil {
		t.Fatal(err)
	}
	if pgtest.One[int64](t, db, `select count(*) from rowbell.workflow_statistic w join rowbell.surrogate v on v.ref = w.version_ref where v.id = 'operators-1'`) == 0 {
		t.Error("operators-1 was not busy in any hour")
	}
	check("counted")
	if _, err := state.WorkflowRuns(t.Context(), ids, store.StatisticFilter{Since: until.AddDate(-1, 0, 0), Until: until}); !errors.Is(err, store.ErrRange) {
		t.Errorf("of a year: %v", err)
	}
}
