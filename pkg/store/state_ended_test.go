package store_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// give is what the log doesn't keep of any action.
func give(action int16) store.PutBack {
	return store.PutBack{Lane: 70 + int64(action), Addressed: true}
}

// end claims what is due, and lets it end as verb says, after one attempt.
func end(t *testing.T, q *store.Queue, verb func(*workflow.Leased) workflow.Verb) int {
	t.Helper()
	got := claim(t, q, all)
	var list []workflow.Outcome
	for _, l := range got.Deliveries {
		o := workflow.Outcome{Leased: l, Verb: verb(l), Tried: true, StartedAt: time.Now(), Duration: time.Millisecond, Code: 200, Response: "answer"}
		if o.Verb == workflow.Dead {
			o.Code, o.Reason = 404, "crm.example answered 404 Not Found"
			o.Stop = "action " + string(rune('1'+l.Action)) + " (webhook) failed, and its on_failure is stop"
		}
		list = append(list, o)
	}
	settle(t, q, list...)
	return len(list)
}

func dies(actions ...int16) func(*workflow.Leased) workflow.Verb {
	return func(l *workflow.Leased) workflow.Verb {
		if slices.Contains(actions, l.Action) {
			return workflow.Dead
		}
		return workflow.Succeeded
	}
}

func (w *world) statuses(t *testing.T) string {
	t.Helper()
	return w.db.QueryString(t, `select coalesce(string_agg(action || ' ' || status || case when what = '' then '' else ' ' || what end, ', ' order by action, recipient), '') from (
		select action, coalesce(recipient, '') recipient, status, '' as what from rowbell.delivery_done
		union all select action, coalesce(recipient, ''), state, 'in queue' from rowbell.delivery) d`)
}

func TestRetrySoleDelivery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.pending(t, 1, 1)[0]
	q := w.queue(t, "p1")
	id := e.ID + "-2_0"
	if _, err := w.state.RetryDelivery(t.Context(), id, give); !errors.Is(err, workflow.ErrConflict) || !strings.Contains(err.Error(), "in the queue already") {
		t.Errorf("of a pending one: %v", err)
	}
	for n := range 3 { // each time it comes back, is tried once more, and dies
		end(t, q, dies(0))
		list, err := w.state.Deliveries(t.Context(), store.DeliveryFilter{})
		if err != nil || len(list) != 1 {
			t.Fatalf("Deliveries: %v, %v", list, err)
		}
		if l := list[0]; l.ID != id || l.Status != store.DeliveryDead || int(l.Attempts) != n+1 || l.Code != 404 || l.Table != "orders" || l.WorkflowName == "" || l.EndedAt == nil {
			t.Errorf("listed %+v", l)
		}
		if back, err := w.state.RetryDelivery(t.Context(), id, give); err != nil || len(back) != 1 || back[0] != id {
			t.Fatalf("RetryDelivery = %v, %v", back, err)
		}
		if got := w.db.QueryString(t, `select status from rowbell.workflow_log`); got != "pending" {
			t.Errorf("its execution is %s", got)
		}
		if got := w.db.QueryString(t, `select concat_ws(' ', attempts, base, lane, sole, addressed, ready_at <= clock_timestamp()) from rowbell.queue`); got != strings.Repeat(string(rune('1'+n))+" ", 2)+"70 t t t" {
			t.Errorf("it is in the queue as %s", got)
		}
	}
	got := claim(t, q, all).Deliveries
	if len(got) != 1 || got[0].ID() != id || got[0].Attempts != 3 || got[0].Base != 3 {
		t.Fatalf("claimed %+v", got)
	}
	settle(t, q, workflow.Outcome{Leased: got[0], Verb: workflow.Succeeded, Tried: true, StartedAt: time.Now(), Duration: time.Millisecond, Code: 204})
	d, err := w.state.Delivery(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if d.Status != store.DeliverySucceeded || len(d.Tries) != 4 || d.Tries[0].Code != 404 || d.Tries[3].Code != 204 || d.Tries[3].Attempt != 4 || len(d.Data) == 0 {
		t.Errorf("it is shown as %+v", d)
	}
	if _, err := w.state.RetryDelivery(t.Context(), id, give); !errors.Is(err, workflow.ErrConflict) || !strings.Contains(err.Error(), "rowbell replay") {
		t.Errorf("of one that succeeded: %v", err)
	}
	if got := w.db.QueryString(t, `select status from rowbell.workflow_log`); got != "success" {
		t.Errorf("its execution is %s", got)
	}
	for _, bad := range []string{"", "x", e.ID, e.ID + "-2", e.ID + "-2_x", strings.Repeat("9", 5000)} {
		if _, err := w.state.RetryDelivery(t.Context(), bad, give); err == nil {
			t.Errorf("RetryDelivery(%q) succeeds", bad)
		}
	}
	if _, err := w.state.RetryDelivery(t.Context(), e.ID+"-3_0", give); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("of an execution that isn't: %v", err)
	}
	if _, err := w.state.RetryDelivery(t.Context(), e.ID+"-2_7", give); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("of an action that isn't: %v", err)
	}
}

// What was cancelled because of a delivery comes back with it, and runs after it.
func TestRetryWithWhatItStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.pending(t, 3, 1)[0] // orders 0, 1, 2
	q := w.queue(t, "p1")
	end(t, q, dies(1)) // the first
	end(t, q, dies(1)) // the second dies, the third is cancelled
	if got := w.statuses(t); got != "0 succeeded, 1 dead, 2 cancelled" {
		t.Fatalf("deliveries: %s", got)
	}
	runs, err := w.state.EventExecutions(t.Context(), e.ID)
	if err != nil || len(runs) != 1 || !slices.Equal(runs[0].Stopped, []int16{2}) || !slices.Equal(runs[0].Reasons, []string{"action 2 (webhook) failed, and its on_failure is stop"}) {
		t.Errorf("EventExecutions = %+v, %v", runs, err)
	}
	back, err := w.state.RetryDelivery(t.Context(), e.ID+"-2_1", give)
	if err != nil || strings.Join(back, " ") != e.ID+"-2_1 "+e.ID+"-2_2" {
		t.Fatalf("RetryDelivery = %v, %v", back, err)
	}
	if got := w.statuses(t); got != "0 succeeded, 1 ready in queue, 2 waiting in queue" {
		t.Errorf("deliveries: %s", got)
	}
	if got := w.db.QueryString(t, `select concat_ws(' ', open, died, succeeded, stop is null, error is null) from rowbell.execution_open`); got != "2 f t t t" {
		t.Errorf("the execution is open as %s", got)
	}
	if n := end(t, q, dies()); n != 1 {
		t.Errorf("%d began at once", n)
	}
	end(t, q, dies())
	if got := w.statuses(t); got != "0 succeeded, 1 succeeded, 2 succeeded" {
		t.Errorf("deliveries: %s", got)
	}
	if got := w.db.QueryString(t, `select status || coalesce(error, '') from rowbell.workflow_log`); got != "success" {
		t.Errorf("the execution is %s", got)
	}
	// It dies again: so does what comes after it.
	if n := w.db.QueryString(t, `select count(*) from rowbell.execution_open`); n != "0" {
		t.Errorf("%s executions are open", n)
	}
}

// While the same action is still dead for somebody else, what it stopped stays cancelled.
func TestRetryOneOfTwo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.pending(t, 2, 1, func(d *workflow.Delivery) {
		if d.Order == 0 {
			d.Addressed = false
		}
	})[0]
	q := w.queue(t, "p1")
	first := claim(t, q, all).Deliveries
	if _, err := q.Address(t.Context(), []workflow.Addressing{{Leased: first[0], People: people("ann", "bob")}}); err != nil {
		t.Fatal(err)
	}
	w.db.Exec(t, `update rowbell.queue set lease_until = null where recipient <> ''`)
	end(t, q, dies(0))
	if got := w.statuses(t); got != "0 dead, 0 dead, 1 cancelled" {
		t.Fatalf("deliveries: %s", got)
	}
	ann, bob := e.ID+"-2_0_ann", e.ID+"-2_0_bob"
	if back, err := w.state.RetryDelivery(t.Context(), ann, give); err != nil || len(back) != 1 {
		t.Fatalf("RetryDelivery = %v, %v", back, err)
	}
	if got := w.db.QueryString(t, `select concat_ws(' ', open, died) from rowbell.execution_open`); got != "1 t" {
		t.Errorf("the execution is open as %s", got)
	}
	if back, err := w.state.RetryDelivery(t.Context(), bob, give); err != nil || strings.Join(back, " ") != bob+" "+e.ID+"-2_1" {
		t.Fatalf("RetryDelivery = %v, %v", back, err)
	}
	got := claim(t, q, all).Deliveries
	if len(got) != 2 || got[0].Person == nil || !got[0].Addressed {
		t.Fatalf("claimed %+v", got)
	}
	// The operator doesn't want bob's any more: what comes after goes on.
	taken, err := w.queue(t, "operator").Take(t.Context(), bob)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, w.queue(t, "operator"), workflow.Outcome{Leased: taken, Verb: workflow.Cancel, Reason: "cancelled by ann"})
	for _, l := range got {
		want := 0
		if l.Recipient == "bob" {
			want = 1 // what became of it at the process that had it counts for nothing
		}
		if lost, err := q.Settle(t.Context(), []workflow.Outcome{{Leased: l, Verb: workflow.Succeeded, Tried: true}}); err != nil || lost != want {
			t.Errorf("Settle of %s: %d lost, %v", l.ID(), lost, err)
		}
	}
	end(t, q, dies())
	if got := w.statuses(t); got != "0 succeeded, 0 cancelled, 1 succeeded" {
		t.Errorf("deliveries: %s", got)
	}
	if _, err := q.Take(t.Context(), bob); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("Take of one that has ended: %v", err)
	}
	if back, err := w.state.RetryDelivery(t.Context(), bob, give); err != nil || len(back) != 1 {
		t.Errorf("RetryDelivery of a cancelled one = %v, %v", back, err)
	}
}

// So it is where an action was cancelled since its destination was disabled.
func TestRetryWithWhatADisabledDestinationStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.pending(t, 2, 1, func(d *workflow.Delivery) {
		if d.Order == 0 {
			d.Addressed = false
		}
	})[0]
	q := w.queue(t, "p1")
	if _, err := q.Address(t.Context(), []workflow.Addressing{{Leased: claim(t, q, all).Deliveries[0], People: people("ann", "bob")}}); err != nil {
		t.Fatal(err)
	}
	w.db.Exec(t, `update rowbell.queue set lease_until = null where recipient <> ''`)
	for _, l := range claim(t, q, all).Deliveries {
		settle(t, q, workflow.Outcome{
			Leased: l, Verb: workflow.Cancel, Reason: "its destination was disabled on 2026-11-26 12:00 UTC: 410 Gone; rowbell destination enable 0000000000000001 lets the next ones go",
			Stop: "action 1 (webhook) was cancelled, and its on_failure is stop",
		})
	}
	if got := w.statuses(t); got != "0 cancelled, 0 cancelled, 1 cancelled" {
		t.Fatalf("deliveries: %s", got)
	}
	ann, bob := e.ID+"-2_0_ann", e.ID+"-2_0_bob"
	if back, err := w.state.RetryDelivery(t.Context(), ann, give); err != nil || len(back) != 1 {
		t.Fatalf("RetryDelivery = %v, %v", back, err)
	}
	if back, err := w.state.RetryDelivery(t.Context(), bob, give); err != nil || strings.Join(back, " ") != bob+" "+e.ID+"-2_1" {
		t.Fatalf("RetryDelivery = %v, %v", back, err)
	}
	end(t, q, dies())
	end(t, q, dies())
	if got := w.statuses(t); got != "0 succeeded, 0 succeeded, 1 succeeded" {
		t.Errorf("deliveries: %s", got)
	}
}

// Each filter chooses by itself.
func TestListDeliveries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	events := w.pending(t, 1, 5)
	q := w.queue(t, "p1")
	verbs := []workflow.Verb{workflow.Dead, workflow.Cancel, workflow.Retry, workflow.Succeeded}
	for i, l := range claim(t, q, workflow.Claim{After: all.After, Most: 4, PerLane: 4}).Deliveries {
		o := workflow.Outcome{Leased: l, Verb: verbs[i], Tried: verbs[i] != workflow.Cancel, StartedAt: time.Now(), RetryIn: time.Hour}
		if o.Verb != workflow.Succeeded {
			o.Reason = string(o.Verb) + " 100% Of It"
		}
		settle(t, q, o)
	}
	w.db.Exec(t, `update rowbell.queue set lease_until = null`)
	some := func(f store.DeliveryFilter) string {
		t.Helper()
		list, err := w.state.Deliveries(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		var s []string
		for _, l := range list {
			s = append(s, string(l.Status)+" "+l.RowKey)
		}
		slices.Sort(s)
		return strings.Join(s, ", ")
	}
	every := []store.DeliveryStatus{store.DeliveryDead, store.DeliveryCancelled, store.DeliveryRetrying, store.DeliveryPending, store.DeliverySucceeded}
	acme, other := "acme", "other"
	at := events[0].CommittedAt
	cases := []struct {
		name string
		f    store.DeliveryFilter
		want int
	}{
		{"all", store.DeliveryFilter{}, 5},
		{"workflow", store.DeliveryFilter{WorkflowID: "other"}, 0},
		{"tenant", store.DeliveryFilter{TenantID: &acme}, 5},
		{"another tenant", store.DeliveryFilter{TenantID: &other}, 0},
		{"kind", store.DeliveryFilter{Kind: "webhook"}, 5},
		{"another kind", store.DeliveryFilter{Kind: "log"}, 0},
		{"recipient", store.DeliveryFilter{Recipient: "ann"}, 0},
		{"table", store.DeliveryFilter{Table: "orders"}, 5},
		{"row", store.DeliveryFilter{Table: "orders", RowKey: events[2].RowKey}, 1},
		{"cause", store.DeliveryFilter{Cause: "100% of"}, 3},
		{"another cause", store.DeliveryFilter{Cause: "1%0"}, 0},
		{"since", store.DeliveryFilter{Since: at.Add(time.Hour)}, 0},
		{"until", store.DeliveryFilter{Until: at}, 0},
		{"limit", store.DeliveryFilter{Limit: 2}, 2},
	}
	for _, c := range cases {
		c.f.Statuses = every
		if got := some(c.f); c.want == 0 && got != "" || c.want > 0 && len(strings.Split(got, ", ")) != c.want {
			t.Errorf("%s: %q, want %d", c.name, got, c.want)
		}
	}
	for _, s := range every {
		if got := some(store.DeliveryFilter{Statuses: []store.DeliveryStatus{s}}); !strings.HasPrefix(got, string(s)+" ") || strings.Contains(got, ",") {
			t.Errorf("%s: %q", s, got)
		}
	}
	// What waits for a person's quiet hours, and what was cancelled and is put back, was never
	// tried: nothing of it has failed.
	w.db.Exec(t, `update rowbell.queue set error = 'quiet_hours: until 07:00' where attempts = 0`)
	if back, err := w.state.RetryDelivery(t.Context(), w.db.QueryString(t, `select id from rowbell.delivery_done where status = 'cancelled'`), give); err != nil || len(back) != 1 {
		t.Fatalf("RetryDelivery = %v, %v", back, err)
	}
	if got := some(store.DeliveryFilter{Statuses: []store.DeliveryStatus{store.DeliveryPending}}); len(strings.Split(got, ", ")) != 2 {
		t.Errorf("never tried are %q", got)
	}
	if n := pgtest.One[int64](t, w.db, `select coalesce(sum(count), 0)::int8 from rowbell.failing where state = 'retrying'`); n != 1 {
		t.Errorf("%d are failing", n)
	}
	// Page by page, each once.
	var seen []string
	for before := ""; ; {
		page, err := w.state.Deliveries(t.Context(), store.DeliveryFilter{Statuses: every, Limit: 2, Before: before})
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, l := range page {
			seen = append(seen, l.ID)
		}
		before = page[len(page)-1].ID
	}
	if len(seen) != 5 || !slices.IsSortedFunc(seen, func(a, b string) int { return -strings.Compare(a, b) }) {
		t.Errorf("page by page: %v", seen)
	}
	if n := pgtest.One[int64](t, w.db, `select count(*) from rowbell.queue`); n != 3 {
		t.Errorf("%d are left in the queue", n)
	}
}
