package store_test

import (
	"errors"
	"testing"
	"time"

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
	if _, err := state.RetryDelivery(t.Context(), id, func(int16) store.PutBack { return store.PutBack{Addressed: true} }); err != nil {
		t.Fatal(err)
	}
	due := pgtest.One[time.Time](t, db, `select next_at from rowbell.statistic_hour where hour = date_trunc('hour', (select committed_at from rowbell.delivery where id = $1), 'UTC')`, id)
	if time.Until(due) > 2*time.Minute {
		t.Errorf("the hour is counted again at %s", due)
	}
	db.Exec(t, `update rowbell.statistic_hour set next_at = clock_timestamp() where hour = date_trunc('hour', (select committed_at from rowbell.delivery where id = $1), 'UTC')`, id)
	if n, err := state.CountHours(t.Context(), 30, 90); err != nil || n != 1 {
		t.Errorf("%d hours were counted again, %v, want 1", n, err)
	}
	check("after a retry")
	// What ends between two counts is there at once for who asks for it, and counted once.
	for _, f := range []store.StatisticFilter{{}, {TenantID: str("big")}, {TenantID: str("quiet")}} {
		f.Since, f.Until = since, until
		before, err := state.Statistics(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		f.Live = true
		now, err := state.Statistics(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if now.Total.Success != before.Total.Success || now.Total.Failure != before.Total.Failure {
			t.Errorf("nothing has ended since it was counted, and it is %+v in place of %+v", now.Total, before.Total)
		}
	}
	const ofBig = `from (select x.ctid, x.tableoid from rowbell.execution x join rowbell.surrogate v on v.ref = x.version_ref where v.tenant_id = 'big' and x.status = 'success' order by x.id desc limit 7) y
		where x.ctid = y.ctid and x.tableoid = y.tableoid`
	was, err := state.Statistics(t.Context(), store.StatisticFilter{TenantID: str("big"), Since: since, Until: until})
	if err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `update rowbell.execution x set settled_at = clock_timestamp() `+ofBig)
	is, err := state.Statistics(t.Context(), store.StatisticFilter{TenantID: str("big"), Since: since, Until: until, Live: true})
	if err != nil {
		t.Fatal(err)
	}
	if is.Total.Success != was.Total.Success+7 { // as if these were seven more
		t.Errorf("%d succeeded, %d before, of which 7 have ended just now", is.Total.Success, was.Total.Success)
	}
	other, err := state.Statistics(t.Context(), store.StatisticFilter{TenantID: str("acme"), Since: since, Until: until, Live: true})
	if err != nil {
		t.Fatal(err)
	}
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.workflow_log where tenant_id = 'acme' and status = 'success'`); other.Total.Success != n {
		t.Errorf("of acme %d succeeded, not %d", other.Total.Success, n)
	}
	// Hours that the log has let go of stay as they were, for as long as what is kept.
	db.Exec(t, `update rowbell.statistic_hour set next_at = clock_timestamp()`)
	before := pgtest.One[int64](t, db, `select sum(success)::int8 from rowbell.tenant_statistic`)
	db.Exec(t, `delete from rowbell.execution where committed_at < clock_timestamp() - interval '1 day 2 hours'`)
	if _, err := state.CountHours(t.Context(), 1, 90); err != nil {
		t.Fatal(err)
	}
	if after := pgtest.One[int64](t, db, `select sum(success)::int8 from rowbell.tenant_statistic`); after < before*9/10 {
		t.Errorf("%d executions are counted, %d were", after, before)
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

// TestLastExecutions has workflows with several versions, and one that never ran.
func TestLastExecutions(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	fillLog(t, db, 500)
	got, err := state.LastExecutions(t.Context(), []string{"acme-0", "operators-1", "quiet-0", "none"})
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
