package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const testSlot = "rowbell"

// A world is a state database with a slot begun, and what tests record there.
type world struct {
	db    *pgtest.Database
	state *store.State
	held  store.Held
	rec   *store.Recorder
	lsn   change.LSN
	at    time.Time // commit time of the next event
	last  workflow.Checkpoint
}

// migrate makes the tables of source and state.
func migrate(ctx context.Context, url string) error { return store.Migrate(ctx, url, url) }

// newWorld has two workflows, of tenants acme and beta, and one table, applied.
func newWorld(t testing.TB) *world {
	t.Helper()
	db := pgtest.Filled(t, "both", migrate)
	w := &world{db: db, state: store.OpenState(db.Pool(t)), lsn: 0x1000, at: time.Now().UTC().Truncate(time.Microsecond)}
	first := store.First{
		Slot: testSlot, SystemID: "7301", Timeline: 1, Snapshot: "10:20:15",
		Checkpoint: workflow.Checkpoint{Position: change.Position{Stream: 1, CommitLSN: w.lsn, Seq: change.SeqWhole}, EndLSN: w.lsn, ConfirmLSN: w.lsn, XIDFloor: 3},
		Applied: []workflow.Applied{
			{Kind: workflow.AppliedTable, ID: "orders", Version: 1, Surrogate: 1, Name: "orders"},
			{Kind: workflow.AppliedWorkflow, ID: "wf-a", Version: 3, Surrogate: 2, TenantID: "acme", Name: "Big orders"},
			{Kind: workflow.AppliedWorkflow, ID: "wf-b", Version: 1, Surrogate: 3, TenantID: "beta", Name: "Returns"},
		},
	}
	if err := w.state.Begin(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	w.acquire(t)
	return w
}

// acquire takes the slot and starts a recorder, instead of the one before.
func (w *world) acquire(t testing.TB) {
	t.Helper()
	var err error
	if w.held, err = w.state.Acquire(t.Context(), testSlot, "rowbell/test/1", time.Minute); err != nil {
		t.Fatal(err)
	}
	w.last = w.held.Checkpoint
	if w.rec != nil {
		if err := w.rec.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if w.rec, err = w.state.Recorder(t.Context(), testSlot, w.held.Epoch); err != nil {
		t.Fatal(err)
	}
	rec := w.rec
	t.Cleanup(func() { rec.Close(t.Context()) }) //nolint:errcheck // closed twice where the test closes it
}

// event makes the event of a transaction of its own.
func (w *world) event(key string) *workflow.Event {
	w.lsn += 0x100
	w.at = w.at.Add(time.Millisecond)
	p := change.Position{Stream: w.last.Position.Stream, CommitLSN: w.lsn}
	return &workflow.Event{
		ID: change.EventID(w.at, p, change.SideFirst).String(), Position: p, CommittedAt: w.at, TableRef: 1, Op: change.Create,
		TenantID: "acme", RowKey: key, Data: []byte(`{"new":{"id":` + key + `,"note":"caf\u00e9"}}`),
	}
}

// batch is of the events, each with an execution of version 2 of the given status; a
// pending one has so many deliveries.
func (w *world) batch(status workflow.ExecutionStatus, deliveries int, events ...*workflow.Event) *workflow.Batch {
	b := &workflow.Batch{Previous: w.last, Next: w.last, Events: events}
	for _, e := range events {
		x := &workflow.Execution{Event: e, VersionRef: 2, Priority: 100, Status: status}
		if status == workflow.Failure {
			x.Error = "column note of row " + e.RowKey + " is not in the WAL"
		}
		b.Executions = append(b.Executions, x)
		for i := range deliveries {
			b.Deliveries = append(b.Deliveries, &workflow.Delivery{Execution: x, Action: int16(i), Kind: "webhook", Order: int32(i), Addressed: true})
		}
		b.Next = checkpointAfter(e)
	}
	return b
}

func checkpointAfter(e *workflow.Event) workflow.Checkpoint {
	return workflow.Checkpoint{
		Position: change.Position{Stream: e.Position.Stream, CommitLSN: e.Position.CommitLSN, Seq: change.SeqWhole},
		EndLSN:   e.Position.CommitLSN + 0x30, ConfirmLSN: e.Position.CommitLSN + 0x40, XIDFloor: 9,
	}
}

func (w *world) record(t testing.TB, b *workflow.Batch) {
	t.Helper()
	if err := w.rec.Record(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	w.last = b.Next
}

func (w *world) counts(t testing.TB) string {
	t.Helper()
	return w.db.QueryString(t, `select format('%s events, %s log, %s delivery', (select count(*) from rowbell.workflow_event),
		(select count(*) from rowbell.workflow_log), (select count(*) from rowbell.delivery))`)
}

func TestRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, several, done := w.event("1"), w.event("2"), w.event("3")
	several.Op, several.RowKey, several.TenantID = change.Update, "", ""
	b := w.batch(workflow.Pending, 1, one)
	b2 := w.batch(workflow.Pending, 2, several)
	b3 := w.batch(workflow.Success, 0, done)
	b3.Executions[0].Result = []byte(`{"lines": 1}`)
	b.Events = append(append(b.Events, b2.Events...), b3.Events...)
	b.Executions = append(append(b.Executions, b2.Executions...), b3.Executions...)
	b.Deliveries = append(b.Deliveries, b2.Deliveries...)
	b.Next = b3.Next
	w.record(t, b)

	type row struct {
		ID, WorkflowID, Name, Tenant, EventID, Status, Result string
		Version                                               int32
		Settled                                               bool
	}
	got := pgtest.Structs[row](t, w.db, `select id, workflow_id, workflow_name as name, tenant_id as tenant, trigger_event_id as event_id, status,
		coalesce(result::text, '') as result, workflow_version as version, settled_at is not null and settled_at = executed_at as settled
		from rowbell.workflow_log order by id`)
	want := []row{
		{one.ID + "-2", "wf-a", "Big orders", "acme", one.ID, "pending", "", 3, false},
		{several.ID + "-2", "wf-a", "Big orders", "acme", several.ID, "pending", "", 3, false},
		{done.ID + "-2", "wf-a", "Big orders", "acme", done.ID, "success", `{"lines": 1}`, 3, true},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("workflow_log\n got %v\nwant %v", got, want)
	}
	for _, x := range b.Executions {
		if n := pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where id = $1`, x.ID()); n != 1 {
			t.Errorf("%d executions have the id %s", n, x.ID())
		}
	}
	events := pgtest.Query[string](t, w.db, `select concat_ws('|', id, commit_lsn, seq, side, table_name, operation, coalesce(tenant_id, '-'), coalesce(row_key, '-'), data,
		committed_at = $1) from rowbell.workflow_event order by id limit 2`, one.CommittedAt)
	wantEvents := []string{
		one.ID + `|` + one.Position.CommitLSN.String() + `|0|0|orders|create|acme|1|{"new":{"id":1,"note":"caf\u00e9"}}|t`,
		several.ID + `|` + several.Position.CommitLSN.String() + `|0|0|orders|update|-|-|{"new":{"id":2,"note":"caf\u00e9"}}|f`,
	}
	if fmt.Sprint(events) != fmt.Sprint(wantEvents) {
		t.Errorf("workflow_event\n got %q\nwant %q", events, wantEvents)
	}
	deliveries := pgtest.Query[string](t, w.db, `select concat_ws('|', id, state, kind, "order") from rowbell.delivery order by id`)
	wantDeliveries := []string{one.ID + "-2_0|ready|webhook|0", several.ID + "-2_0|ready|webhook|0", several.ID + "-2_1|waiting|webhook|1"}
	if fmt.Sprint(deliveries) != fmt.Sprint(wantDeliveries) {
		t.Errorf("delivery\n got %q\nwant %q", deliveries, wantDeliveries)
	}
	if id := workflow.DeliveryID(b2.Executions[0].ID(), 1, ""); id != several.ID+"-2_1" {
		t.Errorf("DeliveryID = %s", id)
	}
	stats, err := w.state.QueueStats(t.Context())
	if err != nil || fmt.Sprint(stats.Depth) != "map[leased:0 ready:2 waiting:1]" || stats.Oldest <= 0 || stats.Oldest > time.Minute {
		t.Errorf("QueueStats = %v, %v", stats, err)
	}
	w.acquire(t)
	if w.held.Checkpoint != b.Next {
		t.Errorf("the checkpoint is %+v, want %+v", w.held.Checkpoint, b.Next)
	}
	if lsn, err := w.rec.WALInsertLSN(t.Context()); err != nil || lsn == 0 {
		t.Errorf("WALInsertLSN = %s, %v", lsn, err)
	}
}

func TestRecordLeases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.rec.LeaseTo("rowbell/test/7", 30*time.Second)
	b := w.batch(workflow.Pending, 2, w.event("1"))
	big := w.batch(workflow.Pending, 1, w.event("2"))
	big.Executions[0].BigRef = true
	none := w.batch(workflow.Pending, 1, w.event("3"))
	for _, d := range append(b.Deliveries, big.Deliveries...) {
		d.Leased = true // of which only the first may be tried at once
	}
	w.record(t, b)
	big.Previous = w.last
	w.record(t, big)
	none.Previous = w.last
	w.record(t, none)
	got := pgtest.Query[string](t, w.db, `select concat_ws('|', state, lease_by, round(extract(epoch from lease_until - clock_timestamp()) / 30)) from rowbell.delivery order by id`)
	want := []string{"leased|rowbell/test/7|1", "waiting", "waiting", "ready"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("deliveries are %q, want %q", got, want)
	}
}

func TestFence(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, w *world, b *workflow.Batch)
	}{
		{"another epoch", func(t *testing.T, w *world, _ *workflow.Batch) {
			if _, err := w.state.Acquire(t.Context(), testSlot, "rowbell/test/2", time.Second); err != nil {
				t.Fatal(err)
			}
		}},
		{"another commit LSN", func(_ *testing.T, _ *world, b *workflow.Batch) { b.Previous.Position.CommitLSN-- }},
		{"another seq", func(_ *testing.T, _ *world, b *workflow.Batch) { b.Previous.Position.Seq = 4 }},
		{"another stream", func(_ *testing.T, _ *world, b *workflow.Batch) { b.Previous.Position.Stream++ }},
		{"resync", func(t *testing.T, w *world, _ *workflow.Batch) {
			if _, err := w.state.Resync(t.Context(), store.First{Slot: testSlot, Checkpoint: w.last}); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.record(t, w.batch(workflow.Success, 0, w.event("1")))
			b := w.batch(workflow.Pending, 2, w.event("2"))
			done := w.batch(workflow.Success, 0, w.event("3"))
			b.Events, b.Executions = append(b.Events, done.Events...), append(b.Executions, done.Executions...)
			b.Applied = []workflow.Applied{
				{Kind: workflow.AppliedWorkflow, ID: "wf-a", Version: 4, Surrogate: 10, Name: "x"},
				{Kind: workflow.AppliedWorkflow, ID: "wf-b", Version: 4, Surrogate: 11, Name: "x", Gone: true},
			}
			b.Big = []workflow.Big{{Stream: 1, CommitLSN: 5, CommittedAt: w.at, Status: workflow.BigOpen}}
			b.Failures = []workflow.FailureCount{{WorkflowID: "wf-a", Hour: w.at.Truncate(time.Hour), Recorded: 1, Counted: 2}}
			tc.spoil(t, w, b)
			const all = `select concat_ws(' ', (select string_agg(c::text, ',') from (select stream, commit_lsn, seq, end_lsn, confirm_lsn, xid_floor, epoch from rowbell.checkpoint) c),
				(select count(*) from rowbell.event), (select count(*) from rowbell.execution), (select count(*) from rowbell.execution_open), (select count(*) from rowbell.queue),
				(select string_agg(a::text, ',' order by a) from rowbell.applied a), (select count(*) from rowbell.surrogate), (select count(*) from rowbell.big_transaction),
				(select count(*) from rowbell.failure_count))`
			before := w.db.QueryString(t, all)
			err := w.rec.Record(t.Context(), b)
			if !errors.Is(err, workflow.ErrFenced) {
				t.Fatalf("Record = %v, want ErrFenced", err)
			}
			if after := w.db.QueryString(t, all); after != before {
				t.Errorf("fenced out, and yet written:\nbefore %s\n after %s", before, after)
			}
		})
	}
}

func TestRecordedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.event("1")
	w.record(t, w.batch(workflow.Success, 0, e))
	before := w.counts(t)
	// The fence holds, but the reader went back: the event's key is there.
	again := w.batch(workflow.Success, 0, e)
	again.Next.EndLSN++
	if err := w.rec.Record(t.Context(), again); !errors.Is(err, workflow.ErrConflict) {
		t.Fatalf("Record of the same event = %v, want ErrConflict", err)
	}
	// The same execution, though its event is not sent again.
	again.Events = nil
	if err := w.rec.Record(t.Context(), again); !errors.Is(err, workflow.ErrConflict) {
		t.Fatalf("Record of the same execution = %v, want ErrConflict", err)
	}
	if after := w.counts(t); after != before {
		t.Errorf("there are %s, were %s", after, before)
	}
	w.acquire(t)
	if w.held.Checkpoint != w.last {
		t.Errorf("the checkpoint moved to %+v", w.held.Checkpoint)
	}
	// A replay has a run, and so another key.
	again.Previous, again.Next = w.last, w.last
	again.Executions[0].Run = 1
	w.record(t, again)
	if got := w.db.QueryString(t, `select string_agg(id, ' ' order by id) from rowbell.workflow_log where trigger_event_id = $1`, e.ID); got != e.ID+"-2 "+e.ID+"-2-1" {
		t.Errorf("executions of the event: %s", got)
	}
}

func TestRecordRefusesHalfAnExecution(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.rec.Record(t.Context(), w.batch(workflow.Pending, 0, w.event("1"))); err == nil || !strings.Contains(err.Error(), "without a delivery") {
		t.Errorf("pending without delivery: %v", err)
	}
	if err := w.rec.Record(t.Context(), w.batch(workflow.Failure, 1, w.event("2"))); err == nil || !strings.Contains(err.Error(), "1 deliveries") {
		t.Errorf("failed with delivery: %v", err)
	}
	if got := w.counts(t); got != "0 events, 0 log, 0 delivery" {
		t.Errorf("there are %s", got)
	}
}

func TestBigTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.event("1")
	first := w.batch(workflow.Pending, 1, e)
	first.Executions[0].BigRef = true
	first.Next.Position.Seq = 0
	big := workflow.Big{Stream: 1, CommitLSN: e.Position.CommitLSN, CommittedAt: e.CommittedAt, Status: workflow.BigOpen}
	first.Big = []workflow.Big{big}
	w.record(t, first)
	w.acquire(t)
	if w.held.OpenBig == nil || *w.held.OpenBig != big {
		t.Fatalf("OpenBig = %+v, want %+v", w.held.OpenBig, big)
	}
	if got := w.db.QueryString(t, `select state from rowbell.delivery`); got != "waiting" {
		t.Errorf("before the last part the delivery is %s", got)
	}
	// The last part; open and released in one batch leave released.
	second := &workflow.Batch{Previous: w.last, Next: checkpointAfter(e), Big: []workflow.Big{big, big}}
	second.Big[1].Status = workflow.BigReleased
	w.record(t, second)
	if got := w.db.QueryString(t, `select string_agg(b.status || (q.big_stream = b.stream), ' ') from rowbell.big_transaction b join rowbell.queue q on q.big_lsn = b.commit_lsn`); got != "releasedtrue" {
		t.Errorf("the transaction is %q", got)
	}
	w.acquire(t)
	if w.held.OpenBig != nil {
		t.Errorf("OpenBig = %+v after its release", w.held.OpenBig)
	}
}

func TestApplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if len(w.held.Applied) != 3 || w.held.Applied[1] != (workflow.Applied{Kind: workflow.AppliedWorkflow, ID: "wf-a", Version: 3, Surrogate: 2, TenantID: "acme", Name: "Big orders"}) {
		t.Errorf("after Begin: %+v", w.held.Applied)
	}
	if w.held.NextSurrogate != 4 || w.held.Snapshot != "10:20:15" || w.held.SystemID != "7301" || w.held.Timeline != 1 || w.held.Checkpoint.XIDFloor != 3 {
		t.Errorf("Held = %+v", w.held)
	}
	w.record(t, &workflow.Batch{Previous: w.last, Next: w.last, Applied: []workflow.Applied{
		{Kind: workflow.AppliedWorkflow, ID: "wf-a", Version: 4, Surrogate: 4, TenantID: "acme", Name: "Bigger orders"},
		{Kind: workflow.AppliedWorkflow, ID: "wf-b", Version: 2, Surrogate: 5, TenantID: "beta", Name: "Returns", Gone: true},
		{Kind: workflow.AppliedWorkflow, ID: "wf-c", Version: 1, Surrogate: 6, Name: "New"},
		{Kind: workflow.AppliedWorkflow, ID: "wf-a", Version: 5, Surrogate: 7, TenantID: "acme", Name: "Biggest orders"},
		{Kind: workflow.AppliedTable, ID: "orders", Version: 2, Surrogate: 8, Name: "orders", Gone: true},
		{Kind: workflow.AppliedTable, ID: "orders", Version: 3, Surrogate: 9, Name: "orders"},
	}})
	w.acquire(t)
	want := []workflow.Applied{
		{Kind: workflow.AppliedWorkflow, ID: "wf-c", Version: 1, Surrogate: 6, Name: "New"},
		{Kind: workflow.AppliedWorkflow, ID: "wf-a", Version: 5, Surrogate: 7, TenantID: "acme", Name: "Biggest orders"},
		{Kind: workflow.AppliedTable, ID: "orders", Version: 3, Surrogate: 9, Name: "orders"},
	}
	if fmt.Sprint(w.held.Applied) != fmt.Sprint(want) || w.held.NextSurrogate != 10 {
		t.Errorf("applied, next %d\n got %+v\nwant %+v", w.held.NextSurrogate, w.held.Applied, want)
	}
	if n := pgtest.One[int64](t, w.db, `select count(*) from rowbell.surrogate`); n != 9 {
		t.Errorf("%d surrogates are kept, want 9", n)
	}
}

func TestFailureCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hour := w.at.Add(-240 * time.Hour).Truncate(time.Hour) // a backlog: long ago
	old := workflow.FailureCount{WorkflowID: "wf-a", Hour: hour.Add(-48 * time.Hour), Recorded: 10, Counted: 99}
	count := workflow.FailureCount{WorkflowID: "wf-a", Hour: hour, Recorded: 2, Counted: 2}
	w.record(t, &workflow.Batch{Previous: w.last, Next: w.last, Failures: []workflow.FailureCount{old, count}})
	count.Recorded, count.Counted = 10, 15
	w.record(t, &workflow.Batch{Previous: w.last, Next: w.last, Failures: []workflow.FailureCount{count}})
	w.acquire(t)
	if len(w.held.Failures) != 1 || w.held.Failures[0] != count {
		t.Errorf("Failures = %+v, want only %+v", w.held.Failures, count)
	}
}

func TestAcquireByManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	held := make([]store.Held, 8)
	var wg sync.WaitGroup
	for i := range held {
		wg.Go(func() {
			var err error
			held[i], err = w.state.Acquire(t.Context(), testSlot, fmt.Sprintf("rowbell/test/%d", i), time.Minute)
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	epochs := map[int64]int{}
	last := 0
	for i, h := range held {
		epochs[h.Epoch] = i
		if h.Epoch > held[last].Epoch {
			last = i
		}
	}
	if len(epochs) != len(held) || held[last].Epoch != w.held.Epoch+int64(len(held)) {
		t.Errorf("epochs %v, want %d different ones after %d", epochs, len(held), w.held.Epoch)
	}
	holder, epoch, expired, err := w.state.Holder(t.Context(), testSlot)
	if err != nil || holder != fmt.Sprintf("rowbell/test/%d", last) || epoch != held[last].Epoch || expired >= 0 {
		t.Errorf("Holder = %s, %d, %s, %v; want that of %d", holder, epoch, expired, err, last)
	}
	for i, h := range held {
		err := w.state.Renew(t.Context(), testSlot, h.Epoch, time.Minute)
		if i == last && err != nil || i != last && !errors.Is(err, workflow.ErrFenced) {
			t.Errorf("Renew under epoch %d = %v", h.Epoch, err)
		}
		err = w.state.Adopt(t.Context(), testSlot, h.Epoch, 2, 0x800)
		if i == last && err != nil || i != last && !errors.Is(err, workflow.ErrFenced) {
			t.Errorf("Adopt under epoch %d = %v", h.Epoch, err)
		}
	}
	w.acquire(t)
	if w.held.Timeline != 2 || w.held.Checkpoint.ConfirmLSN != 0x800 {
		t.Errorf("timeline %d, confirm %s; want the adopted 2 and 0/800", w.held.Timeline, w.held.Checkpoint.ConfirmLSN)
	}
}

func TestLeaseRunsOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.state.Renew(t.Context(), testSlot, w.held.Epoch, -time.Hour); err != nil {
		t.Fatal(err)
	}
	_, _, expired, err := w.state.Holder(t.Context(), testSlot)
	if err != nil || expired < time.Hour || expired > time.Hour+time.Minute {
		t.Errorf("expired for %s, %v; want an hour", expired, err)
	}
}

func TestNothingThereYet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.state.Acquire(t.Context(), "other", "x", time.Second); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("Acquire = %v", err)
	}
	if _, _, _, err := w.state.Holder(t.Context(), "other"); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("Holder = %v", err)
	}
	if err := w.state.Gap(t.Context(), "other", 1, 2, "x"); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("Gap = %v", err)
	}
	if _, err := w.state.Resync(t.Context(), store.First{Slot: "other"}); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("Resync = %v", err)
	}
	if _, err := w.state.Installation(t.Context()); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("Installation = %v", err)
	}
	err := w.state.Begin(t.Context(), store.First{Slot: testSlot, Applied: []workflow.Applied{{Kind: workflow.AppliedTable, ID: "x", Surrogate: 99}}})
	if !errors.Is(err, workflow.ErrConflict) {
		t.Errorf("Begin = %v", err)
	}
	empty := store.OpenState(pgtest.DB(t).Pool(t))
	if _, err := empty.Installation(t.Context()); err == nil || !strings.Contains(err.Error(), "rowbell migrate") {
		t.Errorf("Installation without tables = %v, want the command that makes them", err)
	}
}

func TestInstallation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, want := range []store.Installation{{"rowbell", "7301", 16384}, {"staging", "18446744073709551615", 4294967295}} {
		if err := w.state.SetInstallation(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if got, err := w.state.Installation(t.Context()); err != nil || got != want {
			t.Errorf("Installation = %+v, %v; want %+v", got, err, want)
		}
	}
}

func TestGapAndResync(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.event("1")
	b := w.batch(workflow.Pending, 1, e)
	b.Big = []workflow.Big{{Stream: 1, CommitLSN: e.Position.CommitLSN, CommittedAt: e.CommittedAt, Status: workflow.BigOpen}}
	w.record(t, b)
	for range 2 { // found again by the next worker
		if err := w.state.Gap(t.Context(), testSlot, 0x2000, 0x3000, "the slot was dropped"); err != nil {
			t.Fatal(err)
		}
	}
	gaps, err := w.state.OpenGaps(t.Context(), testSlot)
	if err != nil || len(gaps) != 1 || gaps[0].Stream != 1 || gaps[0].From != 0x2000 || gaps[0].To != 0x3000 || gaps[0].Reason != "the slot was dropped" || gaps[0].FoundAt.IsZero() {
		t.Fatalf("OpenGaps = %+v, %v", gaps, err)
	}
	next, err := w.state.NextSurrogate(t.Context())
	if err != nil || next != 4 {
		t.Fatalf("NextSurrogate = %d, %v", next, err)
	}
	start := change.LSN(0x500) // LSNs may start anew
	first := store.First{
		Slot: testSlot, SystemID: "7302", Timeline: 4, Snapshot: "30:30:",
		Checkpoint: workflow.Checkpoint{Position: change.Position{Stream: 77, CommitLSN: start, Seq: change.SeqWhole}, EndLSN: start, ConfirmLSN: start},
		Applied:    []workflow.Applied{{Kind: workflow.AppliedWorkflow, ID: "wf-a", Version: 9, Surrogate: next, TenantID: "acme", Name: "Big orders"}},
	}
	c, err := w.state.Resync(t.Context(), first)
	first.Checkpoint.Position.Stream = 2
	if err != nil || c != first.Checkpoint {
		t.Fatalf("Resync = %+v, %v; want %+v", c, err, first.Checkpoint)
	}
	if gaps, err := w.state.OpenGaps(t.Context(), testSlot); err != nil || len(gaps) != 0 {
		t.Errorf("OpenGaps after Resync = %+v, %v", gaps, err)
	}
	w.acquire(t)
	if got := w.db.QueryString(t, `select concat_ws(' ', stream, commit_lsn) from rowbell.surrogate where id = 'wf-a' and version = 9`); got != "2 0/0" {
		t.Errorf("what the new stream found applied from %s on", got)
	}
	if w.held.Checkpoint != c || w.held.Snapshot != "30:30:" || w.held.Timeline != 4 || w.held.SystemID != "7302" || len(w.held.Applied) != 1 || w.held.OpenBig != nil {
		t.Errorf("Held = %+v", w.held)
	}
	if got := w.db.QueryString(t, `select status from rowbell.big_transaction`); got != "released" {
		t.Errorf("the transaction recorded in part is %s", got)
	}
	// What nobody had found to be lost is written down as well.
	first.Applied = nil
	first.Checkpoint.ConfirmLSN = 0x900
	if _, err := w.state.Resync(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	got := w.db.QueryString(t, `select string_agg(concat_ws(' ', stream, from_lsn, to_lsn, closed_at is not null), ', ' order by id) from rowbell.stream_gap`)
	if want := "1 0/2000 0/3000 t, 2 0/500 0/900 t"; got != want {
		t.Errorf("gaps %q, want %q", got, want)
	}
}

func TestFeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.record(t, w.batch(workflow.Success, 0, w.event("1")))
	cursor, err := w.state.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 7 {
		e := w.event(fmt.Sprint(10 + i))
		status, n := workflow.Pending, 1+i%2
		if i%3 == 0 {
			status, n = workflow.Failure, 0
		}
		w.record(t, w.batch(status, n, e))
		want = append(want, fmt.Sprintf("orders create %s Big orders v3 acme %s", e.RowKey, status))
	}
	var got []string
	for {
		rows, err := w.state.Feed(t.Context(), cursor, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 0 {
			break
		}
		for _, r := range rows {
			got = append(got, fmt.Sprintf("%s %s %s %s v%d %s %s", r.Table, r.Operation, r.RowKey, r.WorkflowName, r.WorkflowVersion, r.TenantID, r.Status))
			if (r.Error != "") != (r.Status == workflow.Failure) || !strings.Contains(string(r.Data), `"new"`) || r.CommittedAt.IsZero() {
				t.Errorf("row %+v", r)
			}
			cursor = r.Cursor()
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("feed\n got %q\nwant %q", got, want)
	}
}

// Texts of a source that checks no encoding, or out of its json columns, may hold what
// the server of state refuses. They don't stop what else is recorded.
func TestRecordOddText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.event("1")
	e.RowKey, e.TenantID = "caf\xe9", "ac\x00me"
	b := w.batch(workflow.Failure, 0, e)
	b.Executions[0].Error = "can't compare \"a\x00b\" and \"\xff\""
	w.record(t, b)
	got := w.db.QueryString(t, `select concat_ws(' ', e.row_key, e.tenant_id, l.error) from rowbell.workflow_log l join rowbell.workflow_event e on e.id = l.trigger_event_id`)
	if want := "caf\ufffd ac\ufffdme can't compare \"a\ufffdb\" and \"\ufffd\""; got != want {
		t.Errorf("recorded %q, want %q", got, want)
	}
}

// A version's surrogate says from where on it applied, and a domain event what it is.
func TestRecordPositionsAndDomains(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.event("1")
	e.TableRef, e.Table, e.Domain, e.Op, e.RowKey = 0, "domain:order.shipped", "order.shipped", change.Emit, ""
	b := w.batch(workflow.Pending, 1, e)
	b.Applied = []workflow.Applied{
		{Kind: workflow.AppliedWorkflow, ID: "wf-a", Version: 4, Surrogate: 4, TenantID: "acme", Name: "Big orders", Stream: 1, CommitLSN: 0x1200},
		{Kind: workflow.AppliedTable, ID: "orders", Version: 2, Surrogate: 5, Name: "orders", Stream: 1, CommitLSN: 0x1300},
	}
	w.record(t, b)
	got := pgtest.Query[string](t, w.db, `select concat_ws(' ', ref, kind, id, version, stream, commit_lsn) from rowbell.surrogate order by ref`)
	want := []string{"1 table orders 1", "2 workflow wf-a 3", "3 workflow wf-b 1", "4 workflow wf-a 4 1 0/1200", "5 table orders 2 1 0/1300"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("surrogates\n got %q\nwant %q", got, want)
	}
	if got := w.db.QueryString(t, `select concat_ws(' ', table_name, operation, row_key is null) from rowbell.workflow_event`); got != "domain:order.shipped emit t" {
		t.Errorf("the event is %s", got)
	}
	l := claim(t, w.queue(t, "p"), all).Deliveries[0]
	if fmt.Sprint(*l.Event) != fmt.Sprint(*e) {
		t.Errorf("claimed with the event\n %+v, want\n %+v", *l.Event, *e)
	}
	w.acquire(t)
	for _, a := range w.held.Applied {
		if a.ID == "wf-a" && (a.Stream != 1 || a.CommitLSN != 0x1200) || a.ID == "wf-b" && a.CommitLSN != 0 {
			t.Errorf("acquired %+v", a)
		}
	}
}
