package store_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const lease = 30 * time.Second

// queue opens a queue for a process.
func (w *world) queue(t testing.TB, process string) *store.Queue {
	t.Helper()
	q := w.state.Queue(process, lease)
	t.Cleanup(func() { _ = q.Close(t.Context()) })
	return q
}

// all claims whatever is due.
var all = workflow.Claim{After: math.MinInt64, Most: 1000, PerLane: 1000}

func claim(t testing.TB, q *store.Queue, c workflow.Claim) workflow.Claimed {
	t.Helper()
	got, err := q.Claim(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func settle(t testing.TB, q *store.Queue, outcomes ...workflow.Outcome) {
	t.Helper()
	if lost, err := q.Settle(t.Context(), outcomes); err != nil || lost != 0 {
		t.Fatalf("Settle: %d lost, %v", lost, err)
	}
}

// pending records executions of one event each, with so many deliveries: each with an
// order of its own.
func (w *world) pending(t testing.TB, deliveries, n int, change ...func(*workflow.Delivery)) []*workflow.Event {
	t.Helper()
	var events []*workflow.Event
	for i := range n {
		events = append(events, w.event(fmt.Sprint(i+1)))
	}
	b := w.batch(workflow.Pending, deliveries, events...)
	for _, d := range b.Deliveries {
		for _, f := range change {
			f(d)
		}
	}
	w.record(t, b)
	return events
}

func people(ids ...string) []workflow.Person {
	var list []workflow.Person
	for _, id := range ids {
		list = append(list, workflow.Person{ID: id, Reasons: []string{"user " + id}})
	}
	return list
}

func ids(list []*workflow.Leased) string {
	var s []string
	for _, l := range list {
		s = append(s, l.ID())
	}
	slices.Sort(s)
	return strings.Join(s, " ")
}

func TestClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.pending(t, 1, 1, func(d *workflow.Delivery) { d.Lane = -5 })[0]
	q := w.queue(t, "p1")
	got := claim(t, q, all)
	if len(got.Deliveries) != 1 || got.Last != -5 || !got.End {
		t.Fatalf("claimed %+v", got)
	}
	l := got.Deliveries[0]
	want := workflow.Leased{
		ExecutionID: e.ID + "-2", VersionRef: 2, TenantID: "acme", Kind: "webhook", Priority: 100, Lane: -5, Addressed: true, Sole: true, Event: l.Event,
	}
	if *l != want {
		t.Errorf("claimed\n %+v, want\n %+v", *l, want)
	}
	wantEvent := *e
	wantEvent.Table = "orders"
	if fmt.Sprint(*l.Event) != fmt.Sprint(wantEvent) {
		t.Errorf("its event is\n %v, want\n %v", *l.Event, wantEvent)
	}
	if got := w.db.QueryString(t, `select concat_ws(' ', state, lease_by, lease_until > clock_timestamp() + interval '25 s') from rowbell.delivery`); got != "leased p1 t" {
		t.Errorf("the delivery is %s", got)
	}
	// Leased, it is nobody else's, nor claimed again; after its lease it is.
	other := w.queue(t, "p2")
	if got := claim(t, other, all); len(got.Deliveries) != 0 {
		t.Errorf("claimed twice: %s", ids(got.Deliveries))
	}
	w.db.Exec(t, `update rowbell.queue set lease_until = clock_timestamp() - interval '1 ms'`)
	if got := claim(t, other, all); ids(got.Deliveries) != e.ID+"-2_0" {
		t.Errorf("after its lease %q was claimed", ids(got.Deliveries))
	}
	if lost, err := q.Renew(t.Context(), []*workflow.Leased{l}); err != nil || len(lost) != 1 {
		t.Errorf("Renew of what another process has: %d lost, %v", len(lost), err)
	}
	if lost, err := other.Renew(t.Context(), []*workflow.Leased{l}); err != nil || len(lost) != 0 {
		t.Errorf("Renew: %d lost, %v", len(lost), err)
	}
	// What became of it at the first process counts for nothing.
	if lost, err := q.Settle(t.Context(), []workflow.Outcome{{Leased: l, Verb: workflow.Succeeded, Tried: true}}); err != nil || lost != 1 {
		t.Errorf("Settle of what another process has: %d lost, %v", lost, err)
	}
	if got := w.db.QueryString(t, `select status from rowbell.workflow_log`); got != "pending" {
		t.Errorf("the execution is %s", got)
	}
}

// A big event's data doesn't come along, and is read when it is needed.
func TestClaimBigEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.event("1")
	random := pgtest.Rand(t)
	var noise strings.Builder
	for noise.Len() < 100_000 {
		fmt.Fprintf(&noise, "%016x", random.Uint64())
	}
	e.Data = []byte(`{"new":{"note":"` + noise.String() + `"}}`)
	w.record(t, w.batch(workflow.Pending, 1, e))
	got := claim(t, w.queue(t, "p"), all)
	if len(got.Deliveries) != 1 || got.Deliveries[0].Event == nil || got.Deliveries[0].Event.Data != nil {
		t.Fatalf("claimed %d, with its data", len(got.Deliveries))
	}
	data, err := w.state.EventData(t.Context(), got.Deliveries[0].Event)
	if err != nil || string(data) != string(e.Data) {
		t.Errorf("EventData: %d bytes, %v", len(data), err)
	}
}

// Lanes take turns: none is claimed beyond its room, and those behind one with much to
// do are reached.
func TestClaimByLanes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := 0
	w.pending(t, 1, 300, func(d *workflow.Delivery) {
		n++
		switch {
		case n <= 250:
			d.Lane = 1
		case n <= 280:
			d.Lane = 2
		default:
			d.Lane = math.MaxInt64
		}
	})
	q := w.queue(t, "p")
	count := func(c workflow.Claimed) map[int64]int {
		m := make(map[int64]int)
		for _, l := range c.Deliveries {
			m[l.Lane]++
		}
		return m
	}
	c := workflow.Claim{After: math.MinInt64, Most: 100, PerLane: 20, Room: map[int64]int{1: 50, 7: 3}}
	if got := claim(t, q, c); fmt.Sprint(count(got)) != fmt.Sprint(map[int64]int{1: 50, 2: 20, math.MaxInt64: 20}) || !got.End {
		t.Errorf("claimed %v, end %v", count(got), got.End)
	}
	// A lane without room, and less room in all than there is to claim.
	c = workflow.Claim{After: math.MinInt64, Most: 15, PerLane: 20, Room: map[int64]int{1: 0}}
	got := claim(t, q, c)
	if fmt.Sprint(count(got)) != fmt.Sprint(map[int64]int{2: 10, math.MaxInt64: 0}) && count(got)[2] != 10 || len(got.Deliveries) > 15 {
		t.Errorf("claimed %v", count(got))
	}
	// From behind a lane.
	c = workflow.Claim{After: 1, Most: 1000, PerLane: 1000}
	if got := claim(t, q, c); count(got)[1] != 0 {
		t.Errorf("claimed %v from behind lane 1", count(got))
	}
	if got := claim(t, q, all); count(got)[1] != 200 || len(got.Deliveries) != 200 {
		t.Errorf("claimed %v at last", count(got))
	}
}

// Of a destination whose breaker is open one is claimed once its time is over, and at once
// when whoever tried one has died, whatever time it had.
func TestClaimBehindBreaker(t *testing.T) {
	t.Parallel()
	const most = 10
	for _, c := range []struct {
		name, destination string
		want              int
	}{
		{"closed", `'closed', null, null, null`, most},
		{"disabled", `'disabled', null, null, null`, most},
		{"open", `'open', now() + interval '1 min', null, null`, 0},
		{"open, due", `'open', now() - interval '1 s', null, null`, 1},
		{"half open", `'half_open', null, now() + interval '1 min', 'alive'`, 0},
		{"half open, too long", `'half_open', null, now() - interval '1 s', 'alive'`, 1},
		{"half open, and who tries is dead", `'half_open', null, now() + interval '1 min', 'dead'`, 1},
		{"half open, and who tries is unknown", `'half_open', null, now() + interval '1 min', 'gone'`, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.pending(t, 1, most, func(d *workflow.Delivery) { d.Lane = 1 })
			w.db.Exec(t, `insert into rowbell.executor (process, seen_at) values ('alive', now()), ('dead', now() - interval '11 s')`)
			w.db.Exec(t, `insert into rowbell.destination (lane, kind, destination, state, probe_at, probe_until, probe_by)
				values (1, 'webhook', 'https://example.com', `+c.destination+`)`)
			got := claim(t, w.queue(t, "p"), all)
			if len(got.Deliveries) != c.want {
				t.Errorf("claimed %d, want %d", len(got.Deliveries), c.want)
			}
		})
	}
}

// Two processes never get the same delivery.
func TestClaimAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 600
	w.pending(t, 1, n, func(d *workflow.Delivery) { d.Lane = int64(d.Execution.Event.Position.CommitLSN>>8) % 7 })
	var mu sync.Mutex
	seen := make(map[string]string)
	var wg sync.WaitGroup
	for p := range 3 {
		process := fmt.Sprint("p", p)
		q := w.queue(t, process)
		wg.Go(func() {
			for {
				got, err := q.Claim(t.Context(), workflow.Claim{After: math.MinInt64, Most: 17, PerLane: 5})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, l := range got.Deliveries {
					if other := seen[l.ID()]; other != "" {
						t.Errorf("%s was claimed by %s and %s", l.ID(), other, process)
					}
					seen[l.ID()] = process
				}
				done := len(seen) == n
				mu.Unlock()
				if done || len(got.Deliveries) == 0 {
					return
				}
			}
		})
	}
	wg.Wait()
	for got := claim(t, w.queue(t, "last"), all); len(got.Deliveries) > 0; got = claim(t, w.queue(t, "last"), all) {
		for _, l := range got.Deliveries {
			seen[l.ID()] = "last"
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d were claimed", len(seen), n)
	}
}

func TestSettleSole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pending(t, 1, 5)
	q := w.queue(t, "p")
	got := claim(t, q, all).Deliveries
	slices.SortFunc(got, func(a, b *workflow.Leased) int { return strings.Compare(a.ExecutionID, b.ExecutionID) })
	at := time.Now().Add(-time.Minute).UTC().Truncate(time.Millisecond)
	tried := workflow.Outcome{Tried: true, StartedAt: at, Duration: 12 * time.Millisecond, Code: 503, Response: "busy \x00\xff"}
	with := func(l *workflow.Leased, verb workflow.Verb, change func(*workflow.Outcome)) workflow.Outcome {
		o := tried
		o.Leased, o.Verb = l, verb
		change(&o)
		return o
	}
	settle(t, q,
		with(got[0], workflow.Succeeded, func(o *workflow.Outcome) { o.Code, o.Response = 200, "" }),
		with(got[1], workflow.Dead, func(o *workflow.Outcome) { o.Reason, o.Stop = "refused", "no matter" }),
		workflow.Outcome{Leased: got[2], Verb: workflow.Cancel, Reason: "turned off"},
		with(got[3], workflow.Retry, func(o *workflow.Outcome) { o.Reason, o.RetryIn = "busy", time.Hour }),
		workflow.Outcome{Leased: got[4], Verb: workflow.GiveBack},
	)
	log := pgtest.Query[string](t, w.db, `select concat_ws('|', status, error, result, settled_at is not null) from rowbell.workflow_log order by id`)
	want := []string{`success|t`, `failure|refused|{"response": "busy ` + "\ufffd\ufffd" + `"}|t`, `cancelled|turned off|t`, `pending|busy|f`, `pending|f`}
	if fmt.Sprint(log) != fmt.Sprint(want) {
		t.Errorf("workflow_log\n got %q\nwant %q", log, want)
	}
	done := pgtest.Query[string](t, w.db, `select concat_ws('|', id, status, reason, attempts, code, duration_ms, response) from rowbell.delivery_done order by id`)
	want = []string{
		got[0].ID() + `|succeeded|1|200|12`, got[1].ID() + "|dead|refused|1|503|12|busy \ufffd\ufffd", got[2].ID() + `|cancelled|turned off|0`,
	}
	if fmt.Sprint(done) != fmt.Sprint(want) {
		t.Errorf("delivery_done\n got %q\nwant %q", done, want)
	}
	left := pgtest.Query[string](t, w.db, `select concat_ws('|', state, attempts, ready_at > clock_timestamp() + interval '50 min', error) from rowbell.delivery order by id`)
	if want := []string{"ready|1|t|busy", "ready|0|f"}; fmt.Sprint(left) != fmt.Sprint(want) {
		t.Errorf("delivery\n got %q\nwant %q", left, want)
	}
	attempts := pgtest.Query[string](t, w.db, `select concat_ws('|', delivery_id, attempt, outcome, duration_ms, code, error, response) from rowbell.delivery_attempt order by 1`)
	want = []string{
		got[0].ID() + `|1|succeeded|12|200`, got[1].ID() + "|1|dead|12|503|refused|busy \ufffd\ufffd", got[3].ID() + "|1|retry|12|503|busy|busy \ufffd\ufffd",
	}
	if fmt.Sprint(attempts) != fmt.Sprint(want) {
		t.Errorf("delivery_attempt\n got %q\nwant %q", attempts, want)
	}
	if started := pgtest.One[time.Time](t, w.db, `select started_at from rowbell.attempt`); !started.Equal(at) {
		t.Errorf("the attempt started at %s, want %s", started, at)
	}
	// What was given back may be claimed at once, what is to be tried again not yet.
	if again := claim(t, q, all); ids(again.Deliveries) != got[4].ID() {
		t.Errorf("claimed %q", ids(again.Deliveries))
	}
	w.db.Exec(t, `update rowbell.queue set ready_at = clock_timestamp() where attempts > 0`)
	again := claim(t, q, all).Deliveries
	if len(again) != 1 || again[0].Attempts != 1 {
		t.Fatalf("claimed %s", ids(again))
	}
	settle(t, q, with(again[0], workflow.Succeeded, func(*workflow.Outcome) {}))
	if got := w.db.QueryString(t, `select string_agg(attempt || outcome, ' ' order by attempt) from rowbell.delivery_attempt where delivery_id = $1`, again[0].ID()); got != "1retry 2succeeded" {
		t.Errorf("attempts: %s", got)
	}
}

// Deliveries of one execution, step by step: orders, on_failure and the execution's end.
func TestSettleSeveral(t *testing.T) {
	t.Parallel()
	order := func(orders ...int32) func(*workflow.Delivery) {
		n := 0
		return func(d *workflow.Delivery) { d.Order = orders[n%len(orders)]; n++ }
	}
	type step struct {
		claims  string // the actions that are claimed
		outcome map[int16]workflow.Outcome
	}
	ok, dead, off := workflow.Outcome{Verb: workflow.Succeeded, Tried: true}, workflow.Outcome{Verb: workflow.Dead, Tried: true, Reason: "refused"},
		workflow.Outcome{Verb: workflow.Cancel, Reason: "turned off"}
	stop := dead
	stop.Stop = "action 1 failed"
	for name, tc := range map[string]struct {
		orders []int32
		steps  []step
		log    string // status and error of the execution at the end
		done   string
	}{
		"side by side": {
			[]int32{0, 0},
			[]step{{"0 1", map[int16]workflow.Outcome{0: ok, 1: ok}}},
			"success", "0 succeeded, 1 succeeded",
		},
		"one after the other": {
			[]int32{1, 2, 2, 5},
			[]step{
				{"0", map[int16]workflow.Outcome{0: ok}},
				{"1 2", map[int16]workflow.Outcome{1: ok}},
				{"", map[int16]workflow.Outcome{2: ok}},
				{"3", map[int16]workflow.Outcome{3: ok}},
			},
			"success", "0 succeeded, 1 succeeded, 2 succeeded, 3 succeeded",
		},
		"failed and went on": {
			[]int32{0, 1},
			[]step{{"0", map[int16]workflow.Outcome{0: dead}}, {"1", map[int16]workflow.Outcome{1: ok}}},
			"failure refused", "0 dead refused, 1 succeeded",
		},
		"failed and stopped": {
			[]int32{0, 0, 1, 2},
			[]step{{"0 1", map[int16]workflow.Outcome{0: stop}}, {"", map[int16]workflow.Outcome{1: ok}}},
			"failure refused", "0 dead refused, 1 succeeded, 2 cancelled action 1 failed, 3 cancelled action 1 failed",
		},
		"turned off before": {
			[]int32{0, 0},
			[]step{{"0 1", map[int16]workflow.Outcome{0: off, 1: off}}},
			"cancelled turned off", "0 cancelled turned off, 1 cancelled turned off",
		},
		"turned off in between": {
			[]int32{0, 1},
			[]step{{"0", map[int16]workflow.Outcome{0: ok}}, {"1", map[int16]workflow.Outcome{1: off}}},
			"success", "0 succeeded, 1 cancelled turned off",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.pending(t, len(tc.orders), 1, order(tc.orders...))
			q := w.queue(t, "p")
			leased := make(map[int16]*workflow.Leased)
			for n, s := range tc.steps {
				if status := w.db.QueryString(t, `select status from rowbell.workflow_log`); status != "pending" {
					t.Fatalf("before step %d the execution is %s", n, status)
				}
				var claimed []string
				for _, l := range claim(t, q, all).Deliveries {
					leased[l.Action] = l
					claimed = append(claimed, fmt.Sprint(l.Action))
				}
				slices.Sort(claimed)
				if got := strings.Join(claimed, " "); got != s.claims {
					t.Fatalf("step %d claims %q, want %q", n, got, s.claims)
				}
				var outcomes []workflow.Outcome
				for action, o := range s.outcome {
					o.Leased = leased[action]
					outcomes = append(outcomes, o)
				}
				settle(t, q, outcomes...)
			}
			if got := w.db.QueryString(t, `select concat_ws(' ', status, error) from rowbell.workflow_log`); got != tc.log {
				t.Errorf("the execution is %q, want %q", got, tc.log)
			}
			if got := w.db.QueryString(t, `select string_agg(concat_ws(' ', action, status, reason), ', ' order by action) from rowbell.delivery_done`); got != tc.done {
				t.Errorf("deliveries: %s\nwant %s", got, tc.done)
			}
			if got := w.counts(t); got != "1 events, 1 log, 0 delivery" {
				t.Errorf("there are %s", got)
			}
		})
	}
}

// Two processes settle deliveries of the same executions at the same time.
func TestSettleAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 200
	w.pending(t, 4, n, func(d *workflow.Delivery) { d.Order, d.Lane = int32(d.Action/2), int64(d.Action) })
	var wg sync.WaitGroup
	for p := range 3 {
		q := w.queue(t, fmt.Sprint("p", p))
		random := pgtest.Rand(t)
		wg.Go(func() {
			for {
				got, err := q.Claim(t.Context(), workflow.Claim{After: math.MinInt64, Most: 40, PerLane: 15})
				if err != nil {
					t.Error(err)
					return
				}
				var outcomes []workflow.Outcome
				for _, l := range got.Deliveries {
					outcomes = append(outcomes, workflow.Outcome{Leased: l, Verb: workflow.Succeeded, Tried: true})
				}
				random.Shuffle(len(outcomes), func(i, j int) { outcomes[i], outcomes[j] = outcomes[j], outcomes[i] })
				if lost, err := q.Settle(t.Context(), outcomes); err != nil || lost != 0 {
					t.Errorf("%d lost, %v", lost, err)
					return
				}
				var left int
				if len(outcomes) == 0 {
					if err := w.db.Pool(t).QueryRow(t.Context(), `select count(*) from rowbell.queue`).Scan(&left); err != nil || left == 0 {
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if got := w.db.QueryString(t, `select concat_ws(' ', count(*) filter (where status = 'success'), count(*), (select count(*) from rowbell.delivery_done),
		(select count(*) from rowbell.execution_open)) from rowbell.workflow_log`); got != fmt.Sprintf("%d %d %d 0", n, n, 4*n) {
		t.Errorf("settled, executions, deliveries, open: %s", got)
	}
}

// An outcome that is written again, since the answer to the first time was lost, counts
// once; nor does a lease come back that was given back meanwhile.
func TestSettleAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pending(t, 1, 2)
	q := w.queue(t, "p")
	got := claim(t, q, all).Deliveries
	outcomes := []workflow.Outcome{
		{Leased: got[0], Verb: workflow.Retry, Tried: true, StartedAt: time.Now(), Reason: "busy"}, {Leased: got[1], Verb: workflow.GiveBack},
	}
	settle(t, q, outcomes...)
	for range 2 {
		if lost, err := q.Settle(t.Context(), outcomes); err != nil || lost != 2 {
			t.Errorf("written again: %d lost, %v", lost, err)
		}
		if lost, err := q.Renew(t.Context(), got); err != nil || len(lost) != 2 {
			t.Errorf("Renew of what was given back: %d lost, %v", len(lost), err)
		}
	}
	state := pgtest.Query[string](t, w.db, `select state || attempts || (select count(*) from rowbell.attempt a where a.execution_id = d.execution_id)
		from rowbell.delivery d order by attempts`)
	if want := []string{"ready00", "ready11"}; fmt.Sprint(state) != fmt.Sprint(want) {
		t.Errorf("the deliveries are %q, want %q", state, want)
	}
	// It is claimed again, and now the first outcome is about an attempt that is over.
	claim(t, q, all)
	if lost, err := q.Settle(t.Context(), outcomes[:1]); err != nil || lost != 1 {
		t.Errorf("written again after another claim: %d lost, %v", lost, err)
	}
}

// Renewing does not wait for outcomes that are being written: they could wait for it.
func TestRenewPassesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pending(t, 1, 3)
	q := w.queue(t, "p")
	got := claim(t, q, all).Deliveries
	w.db.Exec(t, `update rowbell.queue set lease_until = clock_timestamp() + interval '1 s'`)
	tx := w.db.Conn(t)
	if _, err := tx.Exec(t.Context(), `begin; delete from rowbell.queue where execution_id = '`+got[1].ExecutionID+`'`); err != nil {
		t.Fatal(err)
	}
	if lost, err := q.Renew(t.Context(), got); err != nil || len(lost) != 0 {
		t.Errorf("%d lost, %v", len(lost), err)
	}
	if n := pgtest.One[int](t, w.db, `select count(*) from rowbell.queue where lease_until > clock_timestamp() + interval '20 s'`); n != 2 {
		t.Errorf("%d were renewed, want 2", n)
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pending(t, 1, 2, func(d *workflow.Delivery) { d.Addressed = false })
	w.pending(t, 2, 1, func(d *workflow.Delivery) { d.Addressed, d.Order = d.Action == 1, 0 })
	q := w.queue(t, "p")
	got := claim(t, q, all).Deliveries
	slices.SortFunc(got, func(a, b *workflow.Leased) int { return strings.Compare(a.ID(), b.ID()) })
	gone := *got[0]
	gone.ExecutionID = "nobody's"
	done, err := q.Address(t.Context(), []workflow.Addressing{
		{Leased: got[0], People: people("ann")},
		{Leased: got[1], People: people("ann", "ben.x")},
		{Leased: &gone, People: people("ann")},
		{Leased: got[2], People: people("cid", "dot", "eve")},
	})
	if err != nil || fmt.Sprint(done) != "[true true false true]" {
		t.Fatalf("Address = %v, %v", done, err)
	}
	shares := pgtest.Query[string](t, w.db, `select concat_ws('|', id, recipient, addressed, state, lease_by) from rowbell.delivery order by id`)
	want := []string{
		got[0].ID() + "_ann|ann|t|leased|p",
		got[1].ID() + "_ann|ann|t|leased|p", got[1].ID() + "_ben.x|ben.x|t|leased|p",
		got[2].ID() + "_cid|cid|t|leased|p", got[2].ID() + "_dot|dot|t|leased|p", got[2].ID() + "_eve|eve|t|leased|p",
		got[3].ID() + "|t|leased|p",
	}
	if fmt.Sprint(shares) != fmt.Sprint(want) {
		t.Errorf("deliveries\n got %q\nwant %q", shares, want)
	}
	if got := w.db.QueryString(t, `select string_agg(open::text, ' ' order by id) from rowbell.execution_open`); got != "2 4" {
		t.Errorf("open: %s", got)
	}
	if got := w.db.QueryString(t, `select count(*) || ' ' || count(*) filter (where status = 'pending') from rowbell.workflow_log`); got != "3 3" {
		t.Errorf("executions, pending: %s", got)
	}
	w.db.Exec(t, `update rowbell.queue set lease_until = null`)
	var outcomes []workflow.Outcome
	for _, l := range claim(t, q, all).Deliveries {
		outcomes = append(outcomes, workflow.Outcome{Leased: l, Verb: workflow.Succeeded, Tried: true})
	}
	settle(t, q, outcomes...)
	if got := w.db.QueryString(t, `select string_agg(status, ' ') || ' ' || (select count(*) from rowbell.delivery_done) from rowbell.workflow_log`); got != "success success success 7" {
		t.Errorf("at the end: %s", got)
	}
}

func TestReleaseBig(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.event("1")
	b := w.batch(workflow.Pending, 2, e)
	b.Executions[0].BigRef = true
	b.Big = []workflow.Big{{Stream: 1, CommitLSN: e.Position.CommitLSN, CommittedAt: e.CommittedAt, Status: workflow.BigOpen}}
	w.record(t, b)
	q := w.queue(t, "p")
	if n, err := q.ReleaseBig(t.Context(), 10); n != 0 || err != nil {
		t.Fatalf("%d released of an open transaction, %v", n, err)
	}
	if got := claim(t, q, all).Deliveries; len(got) != 0 {
		t.Fatalf("%s claimed of an open transaction", ids(got))
	}
	w.db.Exec(t, `update rowbell.big_transaction set status = 'released'`)
	for i, want := range []int{1, 1, 0} {
		if n, err := q.ReleaseBig(t.Context(), 1); n != want || err != nil {
			t.Fatalf("call %d released %d, %v", i, n, err)
		}
	}
	first := claim(t, q, all).Deliveries
	if ids(first) != e.ID+"-2_0" {
		t.Fatalf("claimed %q", ids(first))
	}
	settle(t, q, workflow.Outcome{Leased: first[0], Verb: workflow.Succeeded, Tried: true})
	if got := ids(claim(t, q, all).Deliveries); got != e.ID+"-2_1" {
		t.Errorf("then %q", got)
	}
}

func TestClaimUnwanted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pending(t, 2, 3)
	other := w.batch(workflow.Pending, 1, w.event("9"))
	other.Executions[0].VersionRef = 3
	w.record(t, other)
	q := w.queue(t, "p")
	held := claim(t, w.queue(t, "busy"), workflow.Claim{After: math.MinInt64, Most: 1, PerLane: 1}).Deliveries
	got, err := q.ClaimUnwanted(t.Context(), []string{"wf-a", "none"}, 4)
	if err != nil || len(got) != 4 {
		t.Fatalf("claimed %d, %v; want 4", len(got), err)
	}
	more, err := q.ClaimUnwanted(t.Context(), []string{"wf-a"}, 4)
	if err != nil || len(more) != 1 {
		t.Fatalf("claimed %d, %v; want the one that is left", len(more), err)
	}
	var outcomes []workflow.Outcome
	for _, l := range append(got, more...) {
		outcomes = append(outcomes, workflow.Outcome{Leased: l, Verb: workflow.Cancel, Reason: "turned off"})
	}
	settle(t, q, outcomes...)
	if got := w.db.QueryString(t, `select string_agg(status || n, ' ' order by status) from (select status, count(*) n from rowbell.workflow_log where workflow_id = 'wf-a' group by 1) s`); got != "cancelled2 pending1" {
		t.Errorf("executions: %s (%s is worked on)", got, ids(held))
	}
	if got := w.db.QueryString(t, `select status from rowbell.workflow_log where workflow_id = 'wf-b'`); got != "pending" {
		t.Errorf("the other workflow's is %s", got)
	}
	if got, err := w.state.QueuedWorkflows(t.Context()); err != nil || len(got) != 2 {
		t.Errorf("QueuedWorkflows = %v, %v", got, err)
	}
}

func TestNotify(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := workflow.Notification{DeliveryID: "x-2_0_ann", TenantID: "acme", RecipientID: "ann", Title: "Order 1", Body: "b", Link: "/orders/1"}
	for range 2 {
		if err := w.state.Notify(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.db.QueryString(t, `select string_agg(concat_ws('|', tenant_id, recipient_id, delivery_id, title, body, link, length(id)), ' ') from rowbell.notification`); got != "acme|ann|x-2_0_ann|Order 1|b|/orders/1|26" {
		t.Errorf("the inbox: %s", got)
	}
}

// A queue whose connection was lost opens another one.
func TestQueueReconnects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pending(t, 1, 2)
	q := w.queue(t, "p")
	one := claim(t, q, workflow.Claim{After: math.MinInt64, Most: 1, PerLane: 1}).Deliveries
	w.db.Exec(t, `select pg_terminate_backend(pid) from pg_stat_activity where query like '%rowbell.%' and pid <> pg_backend_pid() and datname = current_database()`)
	done := []workflow.Outcome{{Leased: one[0], Verb: workflow.Succeeded, Tried: true}}
	if _, err := q.Settle(t.Context(), done); err == nil {
		t.Error("the connection outlived its end")
	}
	settle(t, q, done...)
	if got := claim(t, q, all).Deliveries; len(got) != 1 {
		t.Errorf("claimed %d afterwards", len(got))
	}
}

// What DeliveryFeed tells of executions as they go on.
func TestDeliveryFeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sole := w.pending(t, 1, 1, func(d *workflow.Delivery) { d.Lane = 1 })[0].ID + "-2"
	several := w.pending(t, 3, 1, func(d *workflow.Delivery) { d.Lane = 2; d.Order = int32(d.Action) / 2 })[0].ID + "-2"
	none := w.event("9")
	w.record(t, w.batch(workflow.Success, 0, none))
	tell := func() string {
		t.Helper()
		rows, err := w.state.DeliveryFeed(t.Context(), []string{several, sole, none.ID + "-2", "01ARZ3NDEKTSV4RRFFQ69G5FAV-2"})
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, r := range rows {
			id := strings.NewReplacer(several, "several", sole, "sole", none.ID+"-2", "none").Replace(r.DeliveryID)
			lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %d%s %d %v %s %s%s", r.ExecutionStatus, id, r.State, r.Attempt, r.Outcome, r.Code, r.Duration, r.Error, r.Recipient, r.Title)))
			if ended := r.State == "succeeded" || r.State == "dead" || r.State == "ready"; ended == r.At.IsZero() {
				t.Errorf("%s is %s at %v", id, r.State, r.At)
			}
		}
		return strings.Join(lines, "\n")
	}
	expect := func(want ...string) {
		t.Helper()
		if got := tell(); got != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	}
	q := w.queue(t, "p")
	expect(
		"pending sole_0 ready 0 0 0s",
		"pending several_0 ready 0 0 0s", "pending several_1 ready 0 0 0s", "pending several_2 waiting 0 0 0s",
		"success   0 0 0s",
	)
	outcomes := func(busy workflow.Outcome) (list []workflow.Outcome) {
		for _, l := range claim(t, q, all).Deliveries {
			o := busy
			if l.Action == 1 {
				o = workflow.Outcome{Verb: workflow.Dead, Tried: true, Code: 422, Reason: "refused", Duration: 2 * time.Millisecond}
			}
			o.Leased, o.StartedAt = l, time.Now()
			list = append(list, o)
		}
		return list
	}
	settle(t, q, outcomes(workflow.Outcome{Verb: workflow.Retry, Tried: true, Code: 503, Reason: "busy", RetryIn: time.Hour, Duration: 12 * time.Millisecond})...)
	expect(
		"pending sole_0 ready 1retry 503 12ms busy",
		"pending several_0 ready 1retry 503 12ms busy", "pending several_1 dead 1dead 422 2ms refused", "pending several_2 waiting 0 0 0s",
		"success   0 0 0s",
	)
	if stats, err := w.state.QueueStats(t.Context()); err != nil || stats.Retrying != 2 {
		t.Errorf("%d deliveries are retrying, want 2; %v", stats.Retrying, err)
	}
	w.db.Exec(t, `update rowbell.queue set ready_at = clock_timestamp() where attempts > 0`)
	done := outcomes(workflow.Outcome{Verb: workflow.Succeeded, Tried: true, Code: 200, Duration: 3 * time.Millisecond})
	settle(t, q, done...)
	for _, o := range done {
		if err := w.state.Notify(t.Context(), workflow.Notification{DeliveryID: o.ID(), RecipientID: "ann", Title: "T"}); err != nil {
			t.Fatal(err)
		}
	}
	expect(
		"success sole_0 succeeded 1retry 503 12ms busy T", "success sole_0 succeeded 2succeeded 200 3ms  T",
		"pending several_0 succeeded 1retry 503 12ms busy T", "pending several_0 succeeded 2succeeded 200 3ms  T",
		"pending several_1 dead 1dead 422 2ms refused", "pending several_2 ready 0 0 0s",
		"success   0 0 0s",
	)
}

// gated records an execution with a gate and two actions, and claims the gate.
func (w *world) gated(t testing.TB, q *store.Queue) *workflow.Leased {
	t.Helper()
	e := w.event("1")
	b := w.batch(workflow.Pending, 2, e)
	b.Deliveries = append([]*workflow.Delivery{{
		Execution: b.Executions[0], Action: workflow.GateAction, Kind: workflow.GateKind, Order: workflow.GateOrder, Addressed: true,
	}}, b.Deliveries...)
	w.record(t, b)
	got := claim(t, q, all).Deliveries
	if len(got) != 1 || !got[0].Gate() || got[0].Kind != "gate" || got[0].Sole || got[0].ID() != e.ID+"-2_-1" {
		t.Fatalf("claimed %s", ids(got))
	}
	return got[0]
}

// The actions of an execution begin when its gate has passed, and never otherwise; that it
// passed is no success of the execution's.
func TestGates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.queue(t, "p")
	now := time.Now()
	log := func() string {
		return w.db.QueryString(t, `select concat_ws('|', status, error) from rowbell.workflow_log order by committed_at desc limit 1`)
	}
	ended := func() string {
		return strings.Join(pgtest.Query[string](t, w.db, `select concat_ws('|', action, kind, status, reason, attempts) from rowbell.delivery_done
			where execution_id = (select id from rowbell.workflow_log order by committed_at desc limit 1) order by action`), "; ")
	}
	for _, c := range []struct {
		name        string
		gate        workflow.Outcome
		log, ended  string
		next, count int // actions that may begin then
	}{
		{"passes", workflow.Outcome{Verb: workflow.Succeeded, Tried: true, StartedAt: now}, "pending", "-1|gate|succeeded|1", 1, 0},
		{"refuses", workflow.Outcome{Verb: workflow.Cancel, Tried: true, StartedAt: now, Reason: "no", Stop: "no"}, "cancelled|no", "-1|gate|cancelled|no|1; 0|webhook|cancelled|no|0; 1|webhook|cancelled|no|0", 0, 0},
		{"dies", workflow.Outcome{Verb: workflow.Dead, Tried: true, StartedAt: now, Reason: "away", Stop: "gave up"}, "failure|away", "-1|gate|dead|away|1; 0|webhook|cancelled|gave up|0; 1|webhook|cancelled|gave up|0", 0, 0},
		{"is cancelled without a word on the rest", workflow.Outcome{Verb: workflow.Cancel, Reason: "off"}, "cancelled|off", "-1|gate|cancelled|off|0; 0|webhook|cancelled|off|0; 1|webhook|cancelled|off|0", 0, 0},
		{"dies without any reason", workflow.Outcome{Verb: workflow.Dead}, "failure", "-1|gate|dead|0; 0|webhook|cancelled|the gate did not pass|0; 1|webhook|cancelled|the gate did not pass|0", 0, 0},
		{"is to be tried again", workflow.Outcome{Verb: workflow.Retry, Tried: true, StartedAt: now, Reason: "busy", RetryIn: time.Hour}, "pending", "", 0, 0},
	} {
		l := w.gated(t, q)
		c.gate.Leased = l
		settle(t, q, c.gate)
		if got := log(); got != c.log {
			t.Errorf("%s: the log says %s, want %s", c.name, got, c.log)
		}
		if got := ended(); got != c.ended {
			t.Errorf("%s: ended\n %s, want\n %s", c.name, got, c.ended)
		}
		next := claim(t, q, all).Deliveries
		if len(next) != c.next {
			t.Errorf("%s: then %s may begin", c.name, ids(next))
		}
		// Nothing but the gate has succeeded: turned off now, it is cancelled.
		for len(next) > 0 {
			settle(t, q, workflow.Outcome{Leased: next[0], Verb: workflow.Cancel, Reason: "turned off"})
			if next = claim(t, q, all).Deliveries; len(next) == 0 {
				if got := log(); got != "cancelled|turned off" {
					t.Errorf("%s: after its actions were cancelled the log says %s", c.name, got)
				}
			}
		}
	}
	if got := w.db.QueryString(t, `select concat_ws('|', kind, state, attempts, error) from rowbell.delivery where action = -1`); got != "gate|ready|1|busy" {
		t.Errorf("the gate that waits is %s", got)
	}
	if got := w.db.QueryString(t, `select concat_ws('|', outcome, error) from rowbell.delivery_attempt where delivery_id like '%_-1' and outcome = 'retry'`); got != "retry|busy" {
		t.Errorf("its attempt is %s", got)
	}
}

// Of the executions that say to have fired for a row the first stands, in one batch or in
// several; what is fenced out says nothing.
func TestFired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fire := func(b *workflow.Batch) *workflow.Batch {
		for _, x := range b.Executions {
			x.Event.Table = "orders"
			b.Fired = append(b.Fired, workflow.Fired{Execution: x, WorkflowID: "wf-a"})
		}
		return b
	}
	odd := w.event("7\xff\x00")
	odd.Data = []byte(`{}`)
	first := fire(w.batch(workflow.Success, 0, w.event("1"), w.event("1"), w.event("2"), odd))
	w.record(t, first)
	second := fire(w.batch(workflow.Success, 0, w.event("2"), w.event("3")))
	w.record(t, second)
	fenced := fire(w.batch(workflow.Success, 0, w.event("4")))
	fenced.Previous = first.Previous
	if err := w.rec.Record(t.Context(), fenced); err == nil {
		t.Fatal("a batch that starts elsewhere was recorded")
	}
	for _, c := range []struct {
		event *workflow.Event
		first *workflow.Execution
	}{
		{first.Events[0], first.Executions[0]},
		{first.Events[1], first.Executions[0]},
		{first.Events[2], first.Executions[2]},
		{odd, first.Executions[3]},
		{second.Events[0], first.Executions[2]},
		{second.Events[1], second.Executions[1]},
		{fenced.Events[0], nil},
	} {
		got, err := w.state.Fired(t.Context(), "wf-a", c.event)
		switch {
		case c.first == nil && !errors.Is(err, workflow.ErrNotFound):
			t.Errorf("row %q: %s, %v", c.event.RowKey, got, err)
		case c.first != nil && (err != nil || got != c.first.ID()):
			t.Errorf("row %q: %s, %v; want %s", c.event.RowKey, got, err, c.first.ID())
		}
	}
	if _, err := w.state.Fired(t.Context(), "wf-b", first.Events[0]); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("another workflow's row: %v", err)
	}
	// The rows are kept as long as the workflow is there.
	keep := func(want string) {
		t.Helper()
		if err := w.state.MaintainPartitions(t.Context(), 1, 1); err != nil {
			t.Fatal(err)
		}
		if got := w.db.QueryString(t, `select coalesce(string_agg(distinct workflow_id, ' '), '') || count(*) from rowbell.fired`); got != want {
			t.Errorf("kept are %s, want %s", got, want)
		}
	}
	other := w.batch(workflow.Success, 0, w.event("1"))
	other.Events[0].Table = "orders"
	other.Fired = []workflow.Fired{{Execution: other.Executions[0], WorkflowID: "wf-b"}}
	other.Applied = []workflow.Applied{{Kind: workflow.AppliedWorkflow, ID: "wf-a", Version: 4, Surrogate: 4, TenantID: "acme", Name: "Big orders"}}
	w.record(t, other)
	keep("wf-a wf-b5")
	gone := w.batch(workflow.Success, 0, w.event("9"))
	gone.Applied = []workflow.Applied{{Kind: workflow.AppliedWorkflow, ID: "wf-a", Version: 5, Surrogate: 5, TenantID: "acme", Name: "wf-a", Gone: true}}
	w.record(t, gone)
	keep("wf-b1")
}

// Rows of a deleted workflow are forgotten while it is made again under its id, and fires
// for one of them: either it had fired for the row, or it fires now, and that stands.
func TestFiredWhileForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	batch := func(version int32, gone bool, keys ...string) *workflow.Batch {
		var events []*workflow.Event
		for _, k := range keys {
			e := w.event(k)
			e.Table = "orders"
			events = append(events, e)
		}
		b := w.batch(workflow.Success, 0, events...)
		for _, x := range b.Executions {
			b.Fired = append(b.Fired, workflow.Fired{Execution: x, WorkflowID: "wf-a"})
		}
		b.Applied = []workflow.Applied{{Kind: workflow.AppliedWorkflow, ID: "wf-a", Version: version, Surrogate: version, TenantID: "acme", Name: "wf-a", Gone: gone}}
		return b
	}
	w.record(t, batch(4, true, "1", "2"))
	again := batch(5, false, "2")

	// The first row is held, so that forgetting stops in its middle.
	hold := w.db.Conn(t)
	if _, err := hold.Exec(t.Context(), `begin; select from rowbell.fired where row_key = '1' for update`); err != nil {
		t.Fatal(err)
	}
	waiting := func(n int64) bool {
		return pgtest.One[int64](t, w.db, `select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`) >= n
	}
	forgotten, recorded := make(chan error, 1), make(chan error, 1)
	go func() { forgotten <- w.state.MaintainPartitions(t.Context(), 1, 1) }()
	pgtest.Eventually(t, waitLong, "forgetting has begun", func() bool { return waiting(1) })
	go func() { recorded <- w.rec.Record(t.Context(), again) }()
	pgtest.Eventually(t, waitLong, "the batch is recorded, or waits", func() bool { return len(recorded) > 0 || waiting(2) })
	if _, err := hold.Exec(t.Context(), `commit`); err != nil {
		t.Fatal(err)
	}
	for _, done := range []chan error{forgotten, recorded} {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if got, err := w.state.Fired(t.Context(), "wf-a", again.Events[0]); err != nil || got != again.Executions[0].ID() {
		t.Errorf("the row fired in %s, %v; want %s", got, err, again.Executions[0].ID())
	}
}
