package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// fails writes executions of a workflow that failed so long ago, in a log of its own.
func fails(t testing.TB, db *pgtest.Database, ref, n int, ago string) {
	t.Helper()
	db.Exec(t, `insert into rowbell.execution (id, committed_at, executed_at, settled_at, version_ref, priority, status, kind, error)
		select '01' || substr(md5(concat($1::int, n, clock_timestamp())), 1, 24) || '-' || $1::int, now(), now(), clock_timestamp() - $3::text::interval, $1::int, 100,
		'failure', case when $1::int = 1 then 'webhook' end, 'no ' || n from generate_series(1, $2::int) n`, ref, n, ago)
}

func word(f store.Failures) workflow.Alert {
	return workflow.Alert{
		Key: f.WorkflowID + "/" + f.Last.UTC().Format(time.RFC3339Nano), Kind: workflow.AlertFailing, TenantID: f.TenantID, WorkflowID: f.WorkflowID, At: f.Last,
		Subject: fmt.Sprintf("%s %s %d %v %t", f.WorkflowID, f.Name, f.Count, f.Through, f.Digest),
	}
}

func TestSweepFailures(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	db.Exec(t, `insert into rowbell.surrogate (ref, kind, id, version, tenant_id, name) values
		(1, 'workflow', 'a', 1, 'acme', 'A'), (2, 'workflow', 'b', 1, null, 'B'), (3, 'table', 'a', 1, null, 'a')`)
	var all []string
	sweep := func(want ...string) {
		t.Helper()
		// Several processes look at the same time.
		var g errgroup.Group
		for range 3 {
			g.Go(func() error { _, err := state.SweepFailures(t.Context(), time.Hour, word); return err })
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		all = append(all, want...)
		if got := pgtest.Query[string](t, db, `select subject from rowbell.alert order by raised_at, subject`); !slices.Equal(got, all) {
			t.Errorf("alerts are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(all, "\n"))
		}
	}
	// What failed before Rowbell began to look is not told.
	fails(t, db, 1, 3, "2 minutes")
	sweep()
	fails(t, db, 1, 50, "0 s")
	sweep("a A 50 [webhook] false")
	fails(t, db, 1, 7, "0 s")
	fails(t, db, 2, 1, "0 s")
	sweep("b B 1 [] false")
	sweep()
	later := func() {
		t.Helper()
		db.Exec(t, `update rowbell.alert_watch set digest_at = digest_at - interval '61 minutes', since = since - interval '61 minutes', told_to = told_to - interval '61 minutes';
			update rowbell.execution set settled_at = settled_at - interval '61 minutes';
			update rowbell.alert_sweep set swept_to = swept_to - interval '61 minutes'`)
	}
	// An hour later: 57 in all of the one, and no more of the other.
	later()
	sweep("a A 57 [webhook] true")
	fails(t, db, 1, 2, "0 s")
	fails(t, db, 2, 1, "0 s") // after a window without any it is told at once
	sweep("b B 1 [] false")
	later()
	sweep("a A 2 [webhook] true")
	later()
	sweep()
	if got := db.QueryString(t, `select coalesce(string_agg(workflow_id, ', '), '') from rowbell.alert_watch where digest_at is not null`); got != "" {
		t.Errorf("digests are due of %s", got)
	}
	later()
	sweep()
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.alert_watch`); n != 0 {
		t.Errorf("%d workflows are watched though nothing fails", n)
	}
}

func TestAlertsAreClaimedOnce(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	ctx := t.Context()
	a := workflow.Alert{Key: "k", Kind: workflow.AlertEndpoint, TenantID: "acme", Through: "webhook", Subject: "s", Text: "t\n", At: time.Now()}
	for i, want := range []int{1, 0} {
		if n, err := state.RaiseAlerts(ctx, []workflow.Alert{a}, "chat"); n != want || err != nil {
			t.Errorf("%d: %d new, %v", i, n, err)
		}
	}
	var g errgroup.Group
	got := make(chan store.StoredAlert, 10)
	for range 5 {
		g.Go(func() error {
			list, err := state.ClaimAlerts(ctx, 10, time.Minute)
			for _, a := range list {
				got <- a
			}
			return err
		})
	}
	if err := g.Wait(); err != nil || len(got) != 1 {
		t.Fatalf("claimed %d times, %v", len(got), err)
	}
	if c := <-got; c.Key != "k" || c.Attempts != 1 || !slices.Equal(c.Through, []string{"webhook", "chat"}) || c.Text != "t\n" || c.TenantID != "acme" {
		t.Errorf("claimed %+v", c)
	}
	if err := state.EndAlert(ctx, "k", []string{"email:ann"}, "ben: no", time.Hour); err != nil {
		t.Fatal(err)
	}
	if list, err := state.ClaimAlerts(ctx, 10, time.Minute); len(list) != 0 || err != nil {
		t.Errorf("before its time: %+v, %v", list, err)
	}
	db.Exec(t, `update rowbell.alert set next_at = now()`)
	if list, err := state.ClaimAlerts(ctx, 10, time.Minute); err != nil || len(list) != 1 || list[0].Attempts != 2 || !slices.Equal(list[0].Told, []string{"email:ann"}) {
		t.Errorf("again: %+v, %v", list, err)
	}
	if err := state.EndAlert(ctx, "k", []string{"email:ann", "email:ben"}, "", 0); err != nil {
		t.Fatal(err)
	}
	if got := db.QueryString(t, `select concat_ws(' ', next_at is null, told_at is not null, error, told) from rowbell.alert`); got != "t t {email:ann,email:ben}" {
		t.Errorf("the row is %s", got)
	}
}
