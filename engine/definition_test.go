package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/cdc"
	"github.com/rowbell/rowbell/engine"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// A version counts from the transaction after its own.
func TestVersions(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.begin(t)
	r := s.start(t, options{})
	s.define(t, flow{id: "w", on: []string{"orders create"}, where: `{"status": "a"}`})
	// Edits beside changes count for none of them, and the last of several counts.
	s.db.Exec(t, `begin;
		insert into orders (id, status) values (1, 'a'), (2, 'b'), (3, 'c');
		update rowbell.workflow_trigger set field_conditions = '{"status": "b"}';
		set constraints all immediate;
		insert into orders (id, status) values (4, 'a'), (5, 'b'), (6, 'c');
		update rowbell.workflow_trigger set field_conditions = '{"status": "c"}';
		set constraints all immediate;
		insert into orders (id, status) values (7, 'a'), (8, 'b'), (9, 'c');
		commit`)
	s.db.Exec(t, `insert into orders (id, status) values (10, 'a'), (11, 'b'), (12, 'c')`)
	r.caughtUp(t)
	want := []string{"w v1 create 1", "w v1 create 4", "w v1 create 7", "w v3 create 12"}
	s.wantLogged(t, want...)

	// A workflow that comes again under the id of a deleted one goes on in numbering.
	s.db.Exec(t, `delete from rowbell.workflow_definition`)
	s.db.Exec(t, `insert into orders (id, status) values (13, 'c')`)
	r.caughtUp(t)
	if got := pgtest.One[int](t, s.db, `select count(*)::int from rowbell.applied where kind = 'workflow'`); got != 0 {
		t.Errorf("%d workflows are applied after the only one was deleted", got)
	}
	r.stop(t)
	r = s.start(t, options{})
	s.define(t, flow{id: "w", on: []string{"orders create"}, where: `{"status": "d"}`})
	s.db.Exec(t, `insert into orders (id, status) values (14, 'c'), (15, 'd')`)
	r.caughtUp(t)
	r.stop(t)
	r = s.start(t, options{})
	s.db.Exec(t, `insert into orders (id, status) values (16, 'd')`)
	s.db.Exec(t, `begin; delete from rowbell.workflow_definition; set constraints all immediate;
		insert into rowbell.workflow_definition (id, name, status) values ('w', 'Again', 'active');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('w', 'orders', 'delete');
		insert into rowbell.workflow_action (workflow_id, action_type) values ('w', 'log');
		commit`)
	s.db.Exec(t, `insert into orders (id, status) values (17, 'd'); delete from orders where id = 1`)
	r.caughtUp(t)
	want = append(want, "w v5 create 15", "w v5 create 16", "w v9 delete 1")
	s.wantLogged(t, want...)
	if got := pgtest.Query[string](t, s.db, `select distinct workflow_name from rowbell.workflow_log where workflow_version in (5, 9) order by 1`); !slices.Equal(got, []string{"Again", "Flow w"}) {
		t.Errorf("logged under the names %q", got)
	}
	// What state says is applied is what the definitions are.
	if got := s.db.QueryString(t, `select string_agg(concat_ws(' ', kind, id, version), ', ' order by 1) from rowbell.applied`); got != "table orders 1, workflow w 9" {
		t.Errorf("applied is %q", got)
	}
}

// What was written before the first load doesn't fire, what commits after it does, once,
// and so it is with definitions.
func TestFirstLoad(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t, flow{id: "before", on: []string{"orders create"}})
	s.db.Exec(t, `insert into orders (id) values (1)`)
	lsn, err := cdc.CreateSlot(t.Context(), s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	// The slot sends these, but the first load has seen them.
	s.db.Exec(t, `insert into orders (id) values (2)`)
	s.define(t, flow{id: "seen", on: []string{"orders create"}})
	s.db.Exec(t, `insert into orders (id) values (3)`)
	// This one runs while the definitions are read.
	conn := s.db.Conn(t)
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`begin; insert into orders (id) values (4);
		insert into rowbell.workflow_definition (id, name, status) values ('meanwhile', 'Meanwhile', 'active');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('meanwhile', 'orders', 'create');
		insert into rowbell.workflow_action (workflow_id, action_type) values ('meanwhile', 'log');
		set constraints all immediate`)
	s.db.Exec(t, `insert into orders (id) values (5)`) // a later xid that the snapshot sees
	s.firstLoad(t, lsn)
	slots := []string{s.copySlot(t), s.copySlot(t)}
	exec(`insert into orders (id) values (6); commit`)
	s.db.Exec(t, `insert into orders (id) values (7)`)
	r := s.start(t, options{})
	r.caughtUp(t)
	want := []string{
		"before v1 create 4", "seen v1 create 4", "before v1 create 6", "seen v1 create 6",
		"before v1 create 7", "seen v1 create 7", "meanwhile v1 create 7",
	}
	s.wantLogged(t, want...)
	r.stop(t)
	r = s.start(t, options{})
	s.db.Exec(t, `insert into orders (id) values (8)`)
	r.caughtUp(t)
	s.wantLogged(t, append(want, "before v1 create 8", "seen v1 create 8", "meanwhile v1 create 8")...)
	if got := pgtest.Query[string](t, s.db, `select concat_ws(' ', kind, id, version) from rowbell.surrogate order by ref`); !slices.Equal(got, []string{"table orders 1", "workflow before 1", "workflow seen 1", "workflow meanwhile 1"}) {
		t.Errorf("given out were %q", got)
	}
	a, b := s.drain(t, slots[0], nil, nil), s.drain(t, slots[1], nil, nil)
	if !slices.Equal(a.executions(), b.executions()) || len(a.executions()) != 10 {
		t.Errorf("%d executions, and %d at another decode, want 10", len(a.executions()), len(b.executions()))
	}
}

// A transaction that overlaps the capture of its table is sent in part, and which part
// isn't determined by the WAL. None of it counts.
func TestCaptureOverlapped(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.define(t, flow{id: "w", on: []string{"orders create"}})
	s.begin(t)
	late := s.copySlot(t)
	r := s.start(t, options{}) // this session has seen the table unpublished
	conn := s.db.Conn(t)
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	s.db.Exec(t, `insert into orders (id) values (1)`)
	r.caughtUp(t)
	exec(`begin; insert into orders (id) values (2)`)
	s.capture(t, "orders")
	s.db.Exec(t, `insert into orders (id) values (3)`)
	exec(`insert into orders (id) values (4); commit`)
	s.db.Exec(t, `insert into orders (id) values (5)`)
	r.caughtUp(t)
	s.wantLogged(t, "w v1 create 3", "w v1 create 5")
	ids := pgtest.Query[string](t, s.db, `select id from rowbell.workflow_log order by id`)
	var again []string
	for _, line := range s.drain(t, late, nil, nil).executions() {
		id, _, _ := strings.Cut(line, " ")
		again = append(again, id)
	}
	slices.Sort(again)
	if !slices.Equal(again, ids) {
		t.Errorf("a later session recorded %q, the first one %q", again, ids)
	}

	// The floor that heartbeats bring is kept, for who widens xids next.
	fromXID := pgtest.One[int64](t, s.db, `select from_xid::text::int8 from rowbell.captured_table`)
	pgtest.Eventually(t, patience, "the floor to pass the capture", func() bool {
		s.db.Exec(t, `select pg_logical_emit_message(true, 'rowbell.heartbeat', pg_snapshot_xmin(pg_current_snapshot()) || ':0:other:1')`)
		r.caughtUp(t)
		return r.checkpoint().XIDFloor >= uint64(fromXID)
	})
	// Anyone may write such a message: one that claims what can't be is not believed.
	s.db.Exec(t, `select pg_logical_emit_message(true, 'rowbell.heartbeat', '99999999999999:0:forged:1')`)
	r.caughtUp(t)
	next := pgtest.One[int64](t, s.db, `select pg_snapshot_xmax(pg_current_snapshot())::text::int8`)
	if floor := r.checkpoint().XIDFloor; floor > uint64(next) {
		t.Errorf("after a forged heartbeat the floor is %d, beyond the next xid %d", floor, next)
	}
}

// The executions of an event are in the order of priority, several triggers of one
// workflow make one, and each action is a delivery.
func TestPriorityAndActions(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	on := []string{"orders create"}
	s.define(t,
		flow{id: "late", on: on, priority: 300},
		flow{id: "b-middle", on: on},
		flow{id: "a-middle", on: on},
		flow{id: "first", on: on, priority: -5},
		flow{id: "two", on: []string{"orders create", "orders create"}, priority: 200},
		flow{id: "acts", on: on, priority: 400, actions: []string{"webhook", "email", "log"}},
		flow{id: "hook", on: on, priority: 500, actions: []string{"webhook"}},
	)
	s.db.Exec(t, `update rowbell.workflow_trigger set priority = 50 where id = (select min(id) from rowbell.workflow_trigger where workflow_id = 'two')`)
	s.begin(t)
	slot := s.copySlot(t)
	s.db.Exec(t, `insert into orders (id) values (1)`)
	var order []string
	names := make(map[int32]string)
	for _, v := range s.first.Versions {
		names[v.Ref] = v.WorkflowID
	}
	for _, b := range s.drain(t, slot, nil, nil).batches {
		for _, x := range b.Executions {
			order = append(order, fmt.Sprint(names[x.VersionRef], " ", x.Priority))
		}
	}
	want := []string{"first -5", "two 50", "a-middle 100", "b-middle 100", "late 300", "acts 400", "hook 500"}
	if !slices.Equal(order, want) {
		t.Errorf("recorded in the order %q, want %q", order, want)
	}
	s.start(t, options{}).caughtUp(t)
	got := pgtest.Query[string](t, s.db, `select concat_ws(' ', workflow_id, priority, status) from rowbell.workflow_log where workflow_id in ('two', 'acts', 'hook') order by 1`)
	if want := []string{"acts 400 pending", "hook 500 pending", "two 50 success"}; !slices.Equal(got, want) {
		t.Errorf("logged %q, want %q", got, want)
	}
	got = pgtest.Query[string](t, s.db, `select concat_ws(' ', workflow_id, action, kind, "order", state) from rowbell.delivery order by 1`)
	if want := []string{"acts 0 webhook 0 ready", "acts 1 email 1 waiting", "acts 2 log 2 waiting", "hook 0 webhook 0 ready"}; !slices.Equal(got, want) {
		t.Errorf("deliveries %q, want %q", got, want)
	}
	if n := pgtest.One[int](t, s.db, `select count(*)::int from rowbell.delivery d left join rowbell.workflow_log l on l.id = d.execution_id where l.id is null or d.id <> l.id || '_' || d.action`); n != 0 {
		t.Errorf("%d deliveries don't name their execution", n)
	}
}

// TRUNCATE makes a warning and no event, also of what nobody captured.
func TestTruncate(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders+`; create table other (id int primary key)`)
	s.capture(t, "orders", "other")
	s.define(t, flow{id: "w", on: []string{"orders create", "orders delete", "orders update"}})
	s.begin(t)
	again := s.copySlot(t)
	s.db.Exec(t, `insert into orders (id) values (1)`)
	s.db.Exec(t, `begin; insert into orders (id) values (2); truncate orders, other; insert into orders (id) values (3); commit`)
	r := s.start(t, options{})
	r.caughtUp(t)
	s.wantLogged(t, "w v1 create 1", "w v1 create 2", "w v1 create 3")
	if n := pgtest.One[int32](t, s.db, `select max(seq) from rowbell.workflow_event`); n != 1 {
		t.Errorf("the last seq is %d: a TRUNCATE has taken one", n)
	}
	if n := r.metric(t, "rowbell_truncates_total"); n != 2 {
		t.Errorf("the metric counts %v, want 2", n)
	}
	if n := r.log.count("was truncated"); n != 2 {
		t.Errorf("%d warnings, want 2", n)
	}
	r.stop(t)
	// What is recorded is not warned of again.
	start := s.first
	start.Checkpoint = r.checkpoint()
	r = s.start(t, options{slot: again, start: &start, rec: &memory{}})
	r.caughtUp(t)
	if n := r.log.count("was truncated"); n != 0 {
		t.Errorf("%d warnings of what was recorded before", n)
	}
}

// Columns come, go and change while the stream runs: workflows that need one that is
// gone are broken from the first row on, others go on, and a mended definition heals.
func TestColumnsChange(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.begin(t)
	r := s.start(t, options{})
	on := []string{"orders create"}
	s.define(t, flow{id: "all", on: on}, flow{id: "tenant", tenant: "acme", on: on},
		flow{id: "total", on: on, where: `{"total": {"gte": 0}}`}, flow{id: "status", on: on, where: `{"status": "new"}`})
	insert := func(id int) {
		s.db.Exec(t, `insert into orders (id, tenant_id) values ($1, 'acme')`, id)
		r.caughtUp(t)
	}
	fired := func(id int) string {
		return strings.Join(pgtest.Query[string](t, s.db, `select l.workflow_id from rowbell.workflow_log l join rowbell.workflow_event e on e.id = l.trigger_event_id where e.row_key = $1 order by 1`, fmt.Sprint(id)), " ")
	}
	want := func(id int, want string, broken map[string]string) {
		t.Helper()
		if got := fired(id); got != want {
			t.Errorf("row %d fired %q, want %q", id, got, want)
		}
		for _, w := range []string{"all", "tenant", "total", "status"} {
			got, message := r.verdict(w), broken[w]
			if message == "" && got != "ok" || message != "" && (!strings.HasPrefix(got, "broken") || !strings.Contains(got, message)) {
				t.Errorf("after row %d the health of %s is %q, want %q in it", id, w, got, message)
			}
		}
	}
	insert(1)
	want(1, "all status tenant total", nil)
	s.db.Exec(t, `alter table orders add column region text default 'north'`)
	insert(2)
	want(2, "all status tenant total", nil)
	if data := s.data(t, "all"); !strings.Contains(data[len(data)-1], `"region": "north"`) && !strings.Contains(data[len(data)-1], `"region":"north"`) {
		t.Errorf("a new column is not in %s", data[len(data)-1])
	}
	s.db.Exec(t, `alter table orders rename column status to state; alter table orders drop column total`)
	insert(3)
	want(3, "all tenant", map[string]string{"status": "status", "total": "total"})
	s.define(t, flow{id: "status", on: on, where: `{"state": "new"}`})
	insert(4)
	want(4, "all status tenant", map[string]string{"total": "total"})
	s.db.Exec(t, `alter table orders add column total text default '5'`)
	insert(5)
	want(5, "all status tenant", map[string]string{"total": "text"})
	s.db.Exec(t, `alter table orders alter column total drop default, alter column total type int using 5`)
	s.db.Exec(t, `insert into orders (id, tenant_id, total) values (6, 'acme', 5)`)
	r.caughtUp(t)
	want(6, "all status tenant total", nil)
	s.db.Exec(t, `alter table orders drop column total`)
	s.db.Exec(t, `alter table orders rename column tenant_id to customer`)
	s.db.Exec(t, `insert into orders (id, customer) values (7, 'acme')`)
	r.caughtUp(t)
	want(7, "all status", map[string]string{"total": "total", "tenant": "tenant_id"})
	r.stop(t)
	r = s.start(t, options{})
	s.db.Exec(t, `insert into orders (id, customer) values (8, 'acme')`)
	r.caughtUp(t)
	want(8, "all status", map[string]string{"total": "total", "tenant": "tenant_id"})
	s.db.Exec(t, `call rowbell.capture('orders', tenant_column => 'customer')`)
	s.db.Exec(t, `insert into orders (id, customer) values (9, 'acme')`)
	r.caughtUp(t)
	want(9, "all status tenant", map[string]string{"total": "total"})
}

// A table is its name: made again it must be captured again, under another name it is
// another table.
func TestTableMadeAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t, flow{id: "w", on: []string{"orders create"}}, flow{id: "other", on: []string{"purchases create"}})
	s.begin(t)
	r := s.start(t, options{})
	s.db.Exec(t, `insert into orders (id) values (1)`)
	s.db.Exec(t, `alter table orders rename to purchases`)
	s.db.Exec(t, `insert into purchases (id) values (2)`)
	s.db.Exec(t, strings.Replace(orders, "note text", "note text, extra int", 1))
	s.db.Exec(t, `insert into orders (id) values (3)`) // not published
	s.capture(t, "orders", "purchases")
	s.db.Exec(t, `insert into orders (id) values (4)`)
	s.db.Exec(t, `insert into purchases (id) values (5)`)
	s.db.Exec(t, `drop table orders; `+orders)
	s.db.Exec(t, `insert into orders (id) values (6)`)
	s.capture(t, "orders")
	s.db.Exec(t, `insert into orders (id) values (7)`)
	r.caughtUp(t)
	s.wantLogged(t, "w v1 create 1", "w v1 create 4", "other v1 create 5", "w v1 create 7")
	for _, id := range []string{"w", "other"} {
		if got := r.verdict(id); got != "ok" {
			t.Errorf("the health of %s is %q", id, got)
		}
	}
}

// Traffic that matches nothing writes nothing, until the timer moves the checkpoint.
func TestUnmatchedTraffic(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t, flow{id: "w", on: []string{"orders create"}, where: `{"status": "never"}`})
	s.begin(t)
	records := &counting{}
	r := s.start(t, options{
		wrap:   func(r recorder) recorder { records.recorder = r; return records },
		config: func(c *engine.Config) { c.MoveInterval = 1 << 40 },
	})
	moved := s.db.QueryString(t, `select moved_at::text from rowbell.checkpoint`)
	for range 20 {
		s.db.Exec(t, `insert into orders (note) select repeat('x', 100) from generate_series(1, 100)`)
	}
	pgtest.Eventually(t, patience, "all rows to be read", func() bool { return r.metric(t, "rowbell_events_total") == 2000 })
	if n := records.n.Load(); n != 0 {
		t.Errorf("%d writes for rows that match nothing", n)
	}
	if got := s.db.QueryString(t, `select moved_at::text from rowbell.checkpoint`); got != moved {
		t.Errorf("the checkpoint was moved at %s", got)
	}
	r.stop(t) // moves it
	if n := records.n.Load(); n != 1 {
		t.Errorf("%d writes at the stop, want 1", n)
	}
	if got := pgtest.One[bool](t, s.db, `select confirmed_flush_lsn >= confirm_lsn from pg_replication_slots, rowbell.checkpoint where slot_name = slot`); !got {
		t.Error("the slot was not told at the stop")
	}

	// With the timer the slot follows, though nothing matches.
	lsn := s.db.QueryString(t, `select confirmed_flush_lsn::text from pg_replication_slots where slot_name = $1`, s.cfg.Slot)
	s.start(t, options{})
	s.db.Exec(t, `insert into orders (note) values ('x')`)
	pgtest.Eventually(t, patience, "the slot to be told", func() bool {
		return pgtest.One[bool](t, s.db, `select confirmed_flush_lsn > $2::text::pg_lsn from pg_replication_slots where slot_name = $1`, s.cfg.Slot, lsn)
	})
}
