package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rowbell/rowbell/engine"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func holdLittle(c *engine.Config) { c.HoldBytes, c.BatchSize = 64<<10, 500 }

// insertMany is a transaction of about 700 kB, more than the stream hands over at once.
const insertMany = `insert into orders (id, tenant_id, note) select n, 'acme', repeat('x', 200) from generate_series(1, 3000) n`

// breakAfter lets so many batches be recorded, and fails the next.
type breakAfter struct {
	recorder
	left int
}

var errBroken = errors.New("broken by the test")

func (b *breakAfter) Record(ctx context.Context, batch *workflow.Batch) error {
	if b.left == 0 {
		return errBroken
	}
	b.left--
	return b.recorder.Record(ctx, batch)
}

// A transaction beyond what is held is recorded in parts, and goes on exactly where a
// stop has left it.
func TestBigTransactionStopped(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t, flow{id: "w", tenant: "acme", on: []string{"orders create"}, actions: []string{"webhook"}})
	s.begin(t)
	whole := s.copySlot(t)
	s.db.Exec(t, insertMany)

	big := `select coalesce(string_agg(status, ' '), 'none') from rowbell.big_transaction`
	left := `select count(*) from rowbell.workflow_log`
	before := int64(0)
	for n := 1; n <= 2; n++ { // two batches of each run are recorded, then it breaks
		r := s.start(t, options{config: holdLittle, wrap: func(r recorder) recorder { return &breakAfter{r, 2} }})
		<-r.ended
		if !errors.Is(r.err, errBroken) {
			t.Fatalf("run %d ended with %v", n, r.err)
		}
		if got := s.db.QueryString(t, big); got != "open" {
			t.Fatalf("after run %d the big transaction is %s", n, got)
		}
		count := pgtest.One[int64](t, s.db, left)
		if count <= before || count >= 3000 {
			t.Fatalf("%d executions after run %d, %d before", count, n, before)
		}
		before = count
	}
	if got := pgtest.One[int64](t, s.db, `select count(*) from rowbell.delivery where state <> 'waiting'`); got != 0 {
		t.Errorf("%d deliveries of an open transaction don't wait for its end", got)
	}
	s.start(t, options{config: holdLittle}).caughtUp(t)
	if got := s.db.QueryString(t, big); got != "released" {
		t.Errorf("at the end the big transaction is %s", got)
	}
	got := pgtest.Query[string](t, s.db, `select id from rowbell.workflow_log order by id`)
	var want []string
	for n, line := range s.drain(t, whole, nil, nil).executions() { // held whole
		id, _, _ := strings.Cut(line, " ")
		want = append(want, id)
		if !strings.Contains(line, fmt.Sprintf(`"id":%d,`, n+1)) {
			t.Fatalf("execution %d is %s", n, line)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d executions in parts, %d whole, or other ids", len(got), len(want))
	}
}

// Where the limit lies doesn't depend on the pieces that a transaction comes in.
func TestBigTransactionLimit(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t, flow{id: "w", on: []string{"orders create"}})
	s.begin(t)
	one, parts, below, beyond := s.copySlot(t), s.copySlot(t), s.copySlot(t), s.copySlot(t)
	s.db.Exec(t, `insert into orders (id, note) select n, repeat('x', 100) from generate_series(1, 300) n`)
	size := s.bytes(t, one)
	limit := func(bytes int) func(*engine.Config) { return func(c *engine.Config) { c.HoldBytes = bytes } }
	statuses := func(m *memory) (list []string) {
		for _, b := range m.batches {
			for _, g := range b.Big {
				list = append(list, string(g.Status))
			}
		}
		return list
	}
	if got := statuses(s.drain(t, below, limit(size), nil)); len(got) != 0 {
		t.Errorf("a transaction of %d bytes is big where %d are held: %v", size, size, got)
	}
	m := s.drain(t, beyond, limit(size-1), nil)
	if got := statuses(m); !slices.Equal(got, []string{"open", "released"}) {
		t.Errorf("a transaction of %d bytes where %d are held is %v", size, size-1, got)
	}
	split := s.drain(t, parts, limit(size-1), resplit(pgtest.Rand(t)))
	if !slices.Equal(statuses(split), statuses(m)) || !slices.Equal(split.executions(), m.executions()) {
		t.Errorf("in other pieces it is %v", statuses(split))
	}
}

// bytes is the size of the biggest transaction that a slot sends, as Config.HoldBytes
// counts it.
func (s *stage) bytes(t testing.TB, slot string) int {
	t.Helper()
	size, most := 0, atomic.Int64{}
	s.drain(t, slot, nil, func(in <-chan *change.Parts) <-chan *change.Parts {
		out := make(chan *change.Parts)
		go func() {
			defer close(out)
			for p := range in {
				for i := range p.List {
					if p.List[i].First {
						size = 0
					}
					size += p.List[i].Bytes + 256*len(p.List[i].Events)
					most.Store(max(most.Load(), int64(size)))
				}
				out <- p
			}
		}()
		return out
	})
	return int(most.Load())
}

// resplit cuts the parts of transactions where the network might have cut them.
func resplit(rng *rand.Rand) func(<-chan *change.Parts) <-chan *change.Parts {
	return func(in <-chan *change.Parts) <-chan *change.Parts {
		out := make(chan *change.Parts)
		go func() {
			defer close(out)
			for p := range in {
				var pieces []change.Part
				for _, part := range p.List {
					for len(part.Events) > 1 && rng.IntN(3) > 0 {
						n := 1 + rng.IntN(len(part.Events)-1)
						head := part
						head.EndLSN, head.Events, head.Bytes = 0, part.Events[:n:n], rng.IntN(part.Bytes+1)
						pieces = append(pieces, head)
						part.First, part.Events, part.Bytes = false, part.Events[n:], part.Bytes-head.Bytes
					}
					pieces = append(pieces, part)
				}
				cuts := [][]change.Part{pieces}
				for rng.IntN(2) == 0 {
					last := cuts[len(cuts)-1]
					n := rng.IntN(len(last) + 1)
					cuts[len(cuts)-1] = last[:n]
					cuts = append(cuts, last[n:])
				}
				var left atomic.Int32
				left.Store(int32(len(cuts)))
				for i, list := range cuts {
					q := change.NewParts(func(*change.Parts) {
						if left.Add(-1) == 0 {
							p.Release()
						}
					})
					q.List, q.WALEnd, q.Received = list, p.WALEnd, p.Received
					if i == len(cuts)-1 {
						q.Idle = p.Idle
					}
					out <- q
				}
			}
		}()
		return out
	}
}

// What is recorded is the same at every decode, in whatever pieces it comes.
func TestDecodedAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders+`; create table uncaptured (id int primary key)`)
	s.capture(t, "orders")
	s.define(t,
		flow{id: "all", on: []string{"orders create", "orders update", "orders delete"}, actions: []string{"webhook", "log"}},
		flow{id: "acme", tenant: "acme", on: []string{"orders create", "orders update"}, where: `{"status": "paid"}`},
	)
	s.begin(t)
	const copies = 5
	var slots []string
	for range copies {
		slots = append(slots, s.copySlot(t))
	}
	rng := pgtest.Rand(t)
	for n := range 60 {
		sql := "begin;"
		for range 1 + rng.IntN(4) {
			rows := 1 + rng.IntN(30)
			if rng.IntN(5) == 0 {
				rows *= 40
			}
			switch rng.IntN(7) {
			case 0:
				sql += fmt.Sprintf(`select rowbell.set_actor('actor-%d', skip => %t);`, n, rng.IntN(4) == 0)
			case 1:
				sql += `select rowbell.emit('thing.happened', '{"n": 1}');`
			case 2:
				sql += `savepoint a; update orders set note = 'undone'; select rowbell.set_actor('undone', skip => true); rollback to a; insert into uncaptured select coalesce(max(id), 0) + 1 from uncaptured;`
			case 3:
				sql += fmt.Sprintf(`update orders set status = 'paid', note = note || 'y' where id %% 40 = %d;`, rng.IntN(40))
			case 4:
				sql += fmt.Sprintf(`delete from orders where id %% 50 = %d;`, rng.IntN(50))
			default:
				sql += fmt.Sprintf(`insert into orders (tenant_id, status, note) select case when n %% 2 = 0 then 'acme' else 'beta' end, 'paid', repeat('x', %d) from generate_series(1, %d) n;`, rng.IntN(200), rows)
			}
		}
		if n == 30 {
			sql += `update rowbell.workflow_trigger set field_conditions = '{"status": "new"}' where workflow_id = 'acme';`
		}
		s.db.Exec(t, sql+"commit")
	}
	var want []string
	for i, slot := range slots {
		config, between := holdLittle, resplit(rng)
		if i == 0 {
			between = nil
		}
		got := s.drain(t, slot, config, between).executions()
		switch {
		case i == 0:
			want = got
		case !slices.Equal(got, want):
			t.Fatalf("decoded again in other pieces: %d executions, %d before; the first that differs is\n%s", len(got), len(want), firstDifference(got, want))
		}
	}
	if len(want) < 100 {
		t.Fatalf("only %d executions", len(want))
	}
}

func firstDifference(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return a[i] + "\n" + b[i]
		}
	}
	return "at the end"
}

// A context applies to all of a transaction that is held whole, wherever it stands in
// it. In a bigger one only a context before the first change counts.
func TestContext(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t, flow{id: "w", on: []string{"orders create"}}, flow{id: "ann", on: []string{"orders create"}, when: []string{`actor.id == "ann"`}})
	s.begin(t)
	r := s.start(t, options{config: holdLittle})
	const late = `begin; insert into orders (id) values (0); select rowbell.set_actor('ann'); %s; delete from orders; commit`
	const early = `begin; select rowbell.set_actor('ann'); %s; delete from orders; commit`
	const skipped = `begin; select rowbell.set_actor('ann', skip => true); %s; delete from orders; commit`
	const skippedLate = `begin; insert into orders (id) values (0); select rowbell.set_actor('ann', skip => true); %s; delete from orders; commit`
	small, big := `insert into orders (id) values (1)`, insertMany
	for _, c := range []struct {
		name, sql, rows string
		events, byAnn   int64
		warnings        int
		big             string
	}{
		{"small, late", late, small, 2, 2, 0, "none"},
		{"small, early", early, small, 1, 1, 0, "none"},
		{"small, skipped", skipped, small, 0, 0, 0, "none"},
		{"small, skipped late", skippedLate, small, 0, 0, 0, "none"},
		{"big, late", late, big, 3001, 0, 1, "released"},
		{"big, early", early, big, 3000, 3000, 0, "released"},
		{"big, skipped", skipped, big, 0, 0, 0, "skipped"},
		{"big, skipped late", skippedLate, big, 3001, 0, 1, "released"},
	} {
		count := func(sql string) int64 { return pgtest.One[int64](t, s.db, sql) }
		events, byAnn := `select count(*) from rowbell.workflow_event where operation = 'create'`, `select count(*) from rowbell.workflow_log where workflow_id = 'ann'`
		e, a, warned := count(events), count(byAnn), r.log.count("context message after the first change")
		s.db.Exec(t, fmt.Sprintf(c.sql, c.rows))
		r.caughtUp(t)
		if got := count(events) - e; got != c.events {
			t.Errorf("%s: %d events, want %d", c.name, got, c.events)
		}
		if got := count(byAnn) - a; got != c.byAnn {
			t.Errorf("%s: %d by ann, want %d", c.name, got, c.byAnn)
		}
		if got := r.log.count("context message after the first change") - warned; got != c.warnings {
			t.Errorf("%s: %d warnings, want %d", c.name, got, c.warnings)
		}
		got := s.db.QueryString(t, `select coalesce((select status from rowbell.big_transaction order by commit_lsn desc limit 1), 'none')`)
		if got != c.big {
			t.Errorf("%s: the last big transaction is %s, want %s", c.name, got, c.big)
		}
	}
}

// No statement records more than BatchSize executions and the rest of one event.
func TestBatchIsBounded(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	var flows []flow
	for n := range 7 {
		flows = append(flows, flow{id: fmt.Sprint("w", n), on: []string{"orders create"}})
	}
	s.define(t, flows...)
	s.begin(t)
	slot := s.copySlot(t)
	s.db.Exec(t, insertMany)
	m := s.drain(t, slot, func(c *engine.Config) { c.BatchSize = 100 }, nil)
	total := 0
	for _, b := range m.batches {
		total += len(b.Executions)
		if len(b.Executions) > 100+6 {
			t.Errorf("a batch of %d executions", len(b.Executions))
		}
		if n := len(b.Executions); n > 0 && n%7 != 0 {
			t.Errorf("a batch of %d executions ends inside an event", n)
		}
	}
	if total != 7*3000 {
		t.Errorf("%d executions, want %d", total, 7*3000)
	}
}

// stuck is a recorder whose server doesn't answer.
type stuck struct {
	recorder
	entered chan struct{}
	free    chan struct{}
}

func (s *stuck) Record(ctx context.Context, b *workflow.Batch) error {
	select {
	case s.entered <- struct{}{}:
	default:
	}
	select {
	case <-s.free:
		return s.recorder.Record(ctx, b)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// While nothing can be recorded, no more is read than a batch and what waits for it.
func TestBlockedRecorder(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t, flow{id: "w", on: []string{"orders create"}})
	s.begin(t)
	block := &stuck{entered: make(chan struct{}, 1), free: make(chan struct{})}
	var taken, released atomic.Int64
	count := func(in <-chan *change.Parts) <-chan *change.Parts {
		out := make(chan *change.Parts)
		go func() {
			defer close(out)
			for p := range in {
				q := change.NewParts(func(*change.Parts) { released.Add(1); p.Release() })
				q.List, q.Idle = p.List, p.Idle
				out <- q
				taken.Add(1)
			}
		}()
		return out
	}
	r := s.start(t, options{
		between: count, config: func(c *engine.Config) { c.BatchSize = 200 },
		wrap: func(r recorder) recorder { block.recorder = r; return block },
	})
	s.db.Exec(t, `insert into orders (id) values (0)`)
	<-block.entered
	const rows = 400
	for n := range 40 { // 26 MB
		s.db.Exec(t, fmt.Sprintf(`insert into orders (id, note) select %d + n, repeat('x', 1600) from generate_series(1, %d) n`, n*rows, rows))
	}
	events := func() float64 { return r.metric(t, "rowbell_events_total") }
	if n := taken.Load() - released.Load(); n > 70 { // 16 MB of one transaction, in parts of 256 kB
		t.Errorf("%d parts are in use", n)
	}
	if n := events(); n > rows {
		t.Errorf("%v events were taken while nothing was recorded", n)
	}
	close(block.free)
	r.caughtUp(t)
	if n := pgtest.One[int64](t, s.db, `select count(*) from rowbell.workflow_log`); n != 40*rows+1 {
		t.Errorf("%d executions at the end, want %d", n, 40*rows+1)
	}
}
