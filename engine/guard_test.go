package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/engine"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// A chain is followed as far as the application hands it on, and stopped at its limit, in
// whatever pieces and however often the stream comes.
func TestLoop(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t,
		flow{id: "hook", on: []string{"orders create"}, actions: []string{"webhook"}},
		flow{id: "deep", on: []string{"orders create"}, actions: []string{"webhook"}, settings: `{"max_depth": 5}`},
		flow{id: "note", on: []string{"orders create"}},
		flow{id: "broken", on: []string{"orders create"}, settings: `{"max_depth": 0}`},
	)
	s.begin(t)
	slot := s.copySlot(t)
	r := s.start(t, options{})
	const insert = `begin; %s; insert into orders (id) values (%d); commit`
	messages := []string{
		`select 1`,
		`select rowbell.set_chain('{"id": "first", "depth": 1, "workflows": ["hook"]}')`,
		`select rowbell.set_chain('first', 2, '{hook,other}')`,
		`select rowbell.set_chain('first', 3, '{hook,other,hook}')`,
		`select rowbell.set_chain('first', 5, '{a,b,c,d,hook}'); select rowbell.set_actor('ann')`,
		`select rowbell.set_actor('ann', chain => '{01-1,02-1,03-1}')`,
		`select rowbell.set_chain('first', 9); select rowbell.set_chain('first', 1)`,
		`select pg_logical_emit_message(true, 'rowbell.chain', '{"id": "", "depth": 9}'), rowbell.set_chain(null::jsonb)`,
	}
	for i, m := range messages {
		s.db.Exec(t, fmt.Sprintf(insert, m, i))
	}
	// After the change, too; a savepoint that is rolled back takes its chain along.
	s.db.Exec(t, `begin; insert into orders (id) values (20); select rowbell.set_chain('late', 7); savepoint a; select rowbell.set_chain('gone', 1); rollback to a; commit`)
	r.caughtUp(t)
	got := func(id string) string {
		return s.db.QueryString(t, `select string_agg(case status when 'failure' then 'stopped' else status end, ' ' order by trigger_event_id) from rowbell.workflow_log where workflow_id = '`+id+`'`)
	}
	for id, want := range map[string]string{
		"hook": "pending pending pending stopped stopped stopped pending pending stopped",
		"deep": "pending pending pending pending stopped pending pending pending stopped",
		"note": strings.TrimSpace(strings.Repeat("success ", 9)),
	} {
		if got := got(id); got != want {
			t.Errorf("%s is\n%s, want\n%s", id, got, want)
		}
	}
	if got := r.verdict("broken"); got != "broken: settings: max_depth is 0; it is a whole number from 1 to 100" {
		t.Errorf("max_depth 0 is %s", got)
	}
	why := pgtest.Query[string](t, s.db, `select error from rowbell.workflow_log where workflow_id = 'hook' and status = 'failure' order by trigger_event_id`)
	for i, want := range []string{
		"stopped: loop: hook → other → hook → hook (depth 4): each of these led to the next, and at most 3 may;", "a → b → c → d → hook → hook (depth 6)", "… → hook (depth 4)",
	} {
		if !strings.Contains(why[i], want) {
			t.Errorf("why is %q, want %q", why[i], want)
		}
	}
	if n := pgtest.One[int64](t, s.db, `select count(*) from rowbell.delivery d join rowbell.workflow_log l on l.id = d.execution_id where l.status <> 'pending'`); n != 0 {
		t.Errorf("what was stopped has %d deliveries", n)
	}
	if got := s.db.QueryString(t, `select string_agg(coalesce(chain ->> 'depth', '-'), ' ' order by id) from rowbell.workflow_event`); got != "- 1 2 3 5 3 1 - 7" {
		t.Errorf("the events have the depths %s", got)
	}
	r.stop(t)
	if n := len(r.alerts); n < 2 || n > 4 || r.alerts[0].Kind != workflow.AlertLoop || !strings.HasPrefix(r.alerts[0].Key, "loop/hook/") || !strings.Contains(r.alerts[0].Text, "(depth 4)") {
		t.Errorf("the owners are told %+v", r.alerts)
	}
	again := s.drain(t, slot, holdLittle, resplit(pgtest.Rand(t))).executions()
	if len(again) != 27 {
		t.Errorf("decoded again in other pieces there are %d executions", len(again))
	}
}

// held is which orders of a workflow are held, and how many of it are not.
func (s *stage) held(t testing.TB, id string) (free int64, held []string) {
	t.Helper()
	free = pgtest.One[int64](t, s.db, `select count(*) from rowbell.queue q join rowbell.surrogate v on v.ref = q.version_ref where v.id = $1 and q.big_lsn is null`, id)
	held = pgtest.Query[string](t, s.db, `select e.row_key from rowbell.queue q join rowbell.surrogate v on v.ref = q.version_ref
		join rowbell.event e on e.event_id = left(q.execution_id, 26) where v.id = $1 and q.big_stream < 0 and q.ready_at = 'infinity' order by e.commit_lsn, e.seq`, id)
	return free, held
}

// What is too much of one transaction is held, and of that workflow alone; restarts in its
// midst, and other pieces, hold the same.
func TestStormInTransaction(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t,
		flow{id: "guarded", on: []string{"orders create"}, actions: []string{"webhook"}},
		flow{id: "own", on: []string{"orders create"}, actions: []string{"webhook"}, settings: `{"storm": {"transaction": 20}}`},
		flow{id: "off", on: []string{"orders create"}, actions: []string{"webhook"}, settings: `{"storm": "off"}`},
		flow{id: "note", on: []string{"orders create"}},
		flow{id: "some", on: []string{"orders create"}, actions: []string{"webhook"}, where: `{"total": 7}`},
	)
	s.begin(t)
	limits := func(c *engine.Config) { c.StormTransaction, c.BatchSize = 5, 7 }
	// It breaks in the midst of the transaction.
	r := s.start(t, options{config: limits, wrap: func(rec recorder) recorder { return &breakAfter{recorder: rec, left: 4} }})
	s.db.Exec(t, `insert into orders (id, total) select n, n from generate_series(1, 30) n`)
	<-r.ended
	if !errors.Is(r.err, errBroken) {
		t.Fatalf("Run = %v", r.err)
	}
	if n := pgtest.One[int64](t, s.db, `select count(*) from rowbell.workflow_event`); n == 0 || n == 30 {
		t.Fatalf("%d events were recorded before it broke", n)
	}
	r = s.start(t, options{config: limits})
	s.db.Exec(t, `insert into orders (id, total) select n, n from generate_series(101, 103) n`)
	r.caughtUp(t)
	for id, want := range map[string][2]int{"guarded": {8, 25}, "own": {23, 10}, "off": {33, 0}, "note": {0, 0}, "some": {1, 0}} {
		free, held := s.held(t, id)
		if int(free) != want[0] || len(held) != want[1] {
			t.Errorf("of %s %d go and %d are held, want %v", id, free, len(held), want)
		}
		if want[1] > 0 && held[0] != fmt.Sprint(31-want[1]) {
			t.Errorf("of %s the first that is held is %s", id, held[0])
		}
	}
	storms, err := s.state.Storms(t.Context(), false, 10)
	if err != nil || len(storms) != 2 {
		t.Fatalf("Storms = %+v, %v", storms, err)
	}
	for _, one := range storms {
		if one.Status != "held" || one.Executions != map[string]int{"guarded": 25, "own": 10}[one.WorkflowID] {
			t.Errorf("a storm is %+v", one)
		}
	}
	r.stop(t)
	for _, a := range r.alerts {
		if a.Kind != workflow.AlertStorm || a.Key != "storm/"+storms[0].ID && a.Key != "storm/"+storms[1].ID || a.At.IsZero() {
			t.Errorf("the owners are told %+v", a)
		}
	}
	if n := r.metric(t, "rowbell_storm_executions_total"); n == 0 {
		t.Error("no metric has what is held")
	}
}

// What is too much of one minute is held. Counts go on from what is recorded.
func TestStormInMinute(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t, flow{id: "guarded", on: []string{"orders create"}, actions: []string{"webhook", "log"}})
	s.begin(t)
	slot := s.copySlot(t)
	limits := func(c *engine.Config) { c.StormMinute = 40 }
	var r *run
	for n := range 50 { // so that it may begin in one minute and end in the next
		if n%10 == 0 {
			if r != nil {
				r.stop(t)
			}
			r = s.start(t, options{config: limits})
		}
		s.db.Exec(t, `insert into orders (id) values ($1)`, n)
	}
	r.caughtUp(t)
	r.stop(t)
	// What is held is what came after the fortieth of its minute.
	want := pgtest.Query[string](t, s.db, `select row_key from (
		select row_key, row_number() over (partition by date_trunc('minute', committed_at) order by commit_lsn) n, commit_lsn from rowbell.workflow_event) e where n > 40 order by commit_lsn`)
	got := pgtest.Query[string](t, s.db, `select e.row_key from rowbell.queue q join rowbell.event e on e.event_id = left(q.execution_id, 26)
		where q.big_stream < 0 and q.action = 0 and q.ready_at = 'infinity' order by e.commit_lsn`)
	if !slices.Equal(got, want) {
		t.Errorf("held are %v, want %v", got, want)
	}
	if n := len(want); n == 0 {
		t.Skip("the minute was over in the midst")
	}
	again := 0
	for _, x := range s.drain(t, slot, limits, nil).list() {
		if x.Storm != 0 {
			again++
		}
	}
	if again != len(want) {
		t.Errorf("decoded again %d are held, want %d", again, len(want))
	}
}

// A workflow that is edited while a storm goes on is held on, by a row of its new version:
// nothing is held by a row that nobody can release.
func TestStormOfTwoVersions(t *testing.T) {
	t.Parallel()
	s := newStage(t, orders)
	s.capture(t, "orders")
	s.define(t, flow{id: "guarded", on: []string{"orders create"}, actions: []string{"webhook"}})
	s.begin(t)
	r := s.start(t, options{config: func(c *engine.Config) { c.StormMinute = 3 }})
	for n := range 30 {
		if n == 15 {
			s.db.Exec(t, `update rowbell.workflow_definition set name = 'Edited' where id = 'guarded'`)
		}
		s.db.Exec(t, `insert into orders (id) values ($1)`, n)
	}
	r.caughtUp(t)
	r.stop(t)
	if n := pgtest.One[int64](t, s.db, `select count(distinct big_stream) from rowbell.queue`); n < 2 {
		t.Errorf("what is held is of %d versions", n)
	}
	if n := pgtest.One[int64](t, s.db, `select count(*) from rowbell.queue q where q.big_lsn is not null
		and not exists (select from rowbell.big_transaction b where b.stream = q.big_stream and b.commit_lsn = q.big_lsn)`); n != 0 {
		t.Errorf("%d are held by nothing", n)
	}
}
