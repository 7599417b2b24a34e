package executor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/engine/executor"
	"github.com/rowbell/rowbell/pkg/directory"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const once = `{"firing": "once_per_row"}`

// labelled is the value of a counter for one label value.
func labelled(t testing.TB, reg *prometheus.Registry, name, value string) float64 {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetValue() == value {
					return m.GetCounter().GetValue()
				}
			}
		}
	}
	return 0
}

// ended are the deliveries of a workflow that have ended: event's row, action, kind, status
// and reason, without the ids of executions.
func (w *world) ended(t testing.TB, f *defined) string {
	t.Helper()
	return w.rows(t, `select concat_ws(' ', e.row_key, d.action, d.kind, d.status, regexp_replace(d.reason, '[0-9A-Z]{26}-', '#-'))
		from rowbell.delivery_done d join rowbell.workflow_event e on e.id = left(d.execution_id, 26)
		where d.workflow_id = $1 order by e.commit_lsn, d.action`, f.id)
}

// Of the executions for one row the first is let through, whichever process decides which
// one, from memory or by a claim; the others are cancelled with the reason.
func TestOncePerRow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", settings: once, actions: []action{{}, {order: 1}}})
	p1 := w.start(t, "p1")
	p2 := w.start(t, "p2")
	const rows, times = 20, 4
	for n := range times {
		b := w.batch(f, rows) // of the same rows
		if n%2 == 0 {
			p1.record(t, b, lease)
		} else {
			w.record(t, b)
		}
	}
	w.eventually(t, f, fmt.Sprintf("cancelled %d, success %d", rows*(times-1), rows))
	if deliveries, attempts := w.probe.counts(); deliveries != 2*rows || attempts != 2*rows {
		t.Errorf("%d deliveries in %d attempts", deliveries, attempts)
	}
	first := w.rows(t, `select e.row_key || ' ' || l.id from rowbell.workflow_log l join rowbell.workflow_event e on e.id = l.trigger_event_id where l.status = 'success' order by 1`)
	if stands := w.rows(t, `select row_key || ' ' || execution_id from rowbell.fired order by 1`); first != stands {
		t.Errorf("let through\n%s\nand fired says\n%s", first, stands)
	}
	if n := pgtest.One[int64](t, w.db, `select count(distinct e.commit_lsn) from rowbell.workflow_log l join rowbell.workflow_event e on e.id = l.trigger_event_id
		where l.status = 'success' and e.commit_lsn > (select max(commit_lsn) - 256 * 20 * 3 from rowbell.workflow_event)`); n != 0 {
		t.Errorf("%d of the later ones were let through", n)
	}
	reason := w.rows(t, `select distinct (l.error = 'the workflow fires once per row, and fired for it in execution ' || f.execution_id)::text from rowbell.workflow_log l
		join rowbell.workflow_event e on e.id = l.trigger_event_id join rowbell.fired f on f.row_key = e.row_key where l.status = 'cancelled'`)
	if reason != "true" {
		t.Errorf("the reason names the execution that stands: %s", reason)
	}
	var passed, refused float64
	for _, p := range []*process{p1, p2} {
		passed += labelled(t, p.reg, "rowbell_gates_total", "passed")
		refused += labelled(t, p.reg, "rowbell_gates_total", "refused")
		if n := labelled(t, p.reg, "rowbell_deliveries_total", "gate") + labelled(t, p.reg, "rowbell_attempts_total", "gate"); n != 0 {
			t.Errorf("%v gates are counted among deliveries", n)
		}
	}
	if passed != rows || refused != rows*(times-1) {
		t.Errorf("%v gates passed and %v refused", passed, refused)
	}
}

// A process that dies between the decision and its record: another one decides the same.
func TestGateDecidedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", settings: once, actions: []action{{}}})
	w.wrapQueue = func(q executor.Queue) executor.Queue { return &mute{q} }
	p1 := w.start(t, "p1", func(c *executor.Config) { c.Lease = time.Second })
	p1.record(t, w.batch(f, 1), time.Second)
	w.queued(t, f, 1)
	pgtest.Eventually(t, soon, "both gates are leased", func() bool {
		return w.rows(t, `select count(*)::text from rowbell.delivery where kind = 'gate' and state = 'leased'`) == "2"
	})
	p1.stop()
	p1.kill()
	p1.wait(t, soon)
	if n, _ := w.probe.counts(); n != 0 || w.log(t, f) != "pending 2" {
		t.Errorf("%d deliveries, and the log says %s", n, w.log(t, f))
	}
	w.wrapQueue = func(q executor.Queue) executor.Queue { return q }
	w.start(t, "p2")
	w.eventually(t, f, "cancelled 1, success 1")
	want := "1 -1 gate succeeded\n1 0 probe succeeded\n" +
		"1 -1 gate cancelled the workflow fires once per row, and fired for it in execution #-2\n1 0 probe cancelled the workflow fires once per row, and fired for it in execution #-2"
	if got := w.ended(t, f); got != want {
		t.Errorf("ended\n%s\nwant\n%s", got, want)
	}
}

// mute can't write what became of deliveries.
type mute struct{ executor.Queue }

func (mute) Settle(context.Context, []workflow.Outcome) (int, error) {
	return 0, errors.New("the network is gone")
}

// A workflow that is turned off before or after its gate: nothing was done, so it is
// cancelled. One whose gate passed and whose actions failed is a failure.
func TestGateAndStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var fail atomic.Bool
	w.probe.does(func(_ context.Context, d *actions.Delivery) (actions.Result, error) {
		if fail.Load() {
			return actions.Result{}, &actions.Error{Permanent: true, Err: errors.New("refused")}
		}
		return actions.Result{}, nil
	})
	after := w.define(t, definition{id: "after", settings: once, actions: []action{{config: `{"to": "hangs"}`}, {order: 1}}})
	before := w.define(t, definition{id: "before", settings: once, actions: []action{{}, {order: 1}}})
	failing := w.define(t, definition{id: "failing", settings: once, actions: []action{{}, {order: 1}}})
	w.probe.hang("hangs")
	w.status(t, before, "inactive")
	p := w.start(t, "p1", func(c *executor.Config) { c.PerDestination = 1 })
	p.record(t, w.batch(before, 1), lease)
	w.eventually(t, before, "cancelled 1")
	if got, want := w.ended(t, before), "1 -1 gate cancelled the workflow was turned off\n1 0 probe cancelled the workflow was turned off\n1 1 probe cancelled the workflow was turned off"; got != want {
		t.Errorf("turned off before\n%s\nwant\n%s", got, want)
	}
	if n := labelled(t, p.reg, "rowbell_gates_total", "cancelled"); n != 1 {
		t.Errorf("%v gates cancelled", n)
	}
	// Of two rows the first hangs in its action, the second waits for it behind its gate.
	w.queued(t, after, 2)
	pgtest.Eventually(t, soon, "both gates have passed", func() bool {
		return w.rows(t, `select count(*)::text from rowbell.delivery_done where workflow_id = 'after' and status = 'succeeded'`) == "2" && w.probe.runningNow("") == 1
	})
	w.status(t, after, "inactive")
	p.StatusChanged("after")
	w.eventually(t, after, "cancelled 1, pending 1")
	w.probe.open()
	w.eventually(t, after, "cancelled 1, success 1")
	if got := w.rows(t, `select error from rowbell.workflow_log where workflow_id = 'after' and status = 'cancelled'`); got != "the workflow was turned off" {
		t.Errorf("the reason is %q", got)
	}
	fail.Store(true)
	w.queued(t, failing, 1)
	w.eventually(t, failing, "failure 1")
	if got := w.rows(t, `select error from rowbell.workflow_log where workflow_id = 'failing'`); got != "refused" {
		t.Errorf("the reason is %q", got)
	}
}

// roles makes the directory of a world: a table member.
func (w *world) directory(t testing.TB) *directory.Directory {
	t.Helper()
	w.db.Exec(t, `create table member (id text, tenant text, role text);
		insert into member values ('ann', 'acme', 'approver'), ('ann', 'acme', 'staff'), ('bob', 'acme', 'staff'), ('eve', 'beta', 'approver')`)
	return directory.New(directory.Config{RolesSQL: `select role from member where id = $1 and tenant = $2 order by role`}, w.db.Pool(t))
}

func by(actor string) string {
	return fmt.Sprintf(`{"new":{"id":1},"actor":{"id":%q,"roles":["approver"]}}`, actor)
}

// The directory's word counts, not what the context said.
func TestRolesByDirectory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.directory(t)
	with := func(c *executor.Config) { c.Directory = d }
	some := w.define(t, definition{id: "some", roles: []string{`{"roles": ["approver", "admin"], "by": "directory"}`, `{"roles": ["unknown"]}`}, actions: []action{{}}})
	not := w.define(t, definition{id: "not", roles: []string{`{"not_roles": ["approver"], "by": "directory"}`, `{"not_actors": ["root"], "by": "directory"}`}, actions: []action{{}}})
	both := w.define(t, definition{id: "both", settings: once, roles: []string{`{"all_roles": ["staff", "approver"], "by": "directory"}`}, actions: []action{{}}})
	p := w.start(t, "p1", with)
	data := []string{by("ann"), by("bob"), by("eve"), by("root"), `{"new":{},"actor":null}`, `{"new":{},"actor":{"id":7}}`}
	p.record(t, w.batch(some, len(data), data...), lease)
	w.queued(t, not, len(data), data...)
	w.eventually(t, some, "cancelled 5, success 1")
	w.eventually(t, not, "cancelled 2, success 4")
	gates := func(f *defined) []string {
		return slices.DeleteFunc(strings.Split(w.ended(t, f), "\n"), func(s string) bool { return !strings.Contains(s, " gate ") })
	}
	want := []string{
		"1 -1 gate succeeded",
		"2 -1 gate cancelled bob has the role staff, and not one of approver, admin (by directory)",
		"3 -1 gate cancelled eve has no roles, and not one of approver, admin (by directory)",
		"4 -1 gate cancelled root has no roles, and not one of approver, admin (by directory)",
		"5 -1 gate cancelled there is no actor (rowbell.set_actor), and so no roles, and not one of approver, admin (by directory)",
		"6 -1 gate cancelled there is no actor (rowbell.set_actor), and so no roles, and not one of approver, admin (by directory)",
	}
	if got := gates(some); !slices.Equal(got, want) {
		t.Errorf("some\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	want = []string{
		"1 -1 gate cancelled ann has the roles approver, staff, and may not have approver (by directory)",
		"2 -1 gate succeeded", "3 -1 gate succeeded",
		"4 -1 gate cancelled the actor is root, which may not be (by directory)",
		"5 -1 gate succeeded", "6 -1 gate succeeded",
	}
	if got := gates(not); !slices.Equal(got, want) {
		t.Errorf("not\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	w.queued(t, both, 1, by("ann"))
	w.queued(t, both, 1, by("ann"))
	w.eventually(t, both, "cancelled 1, success 1")
}

// A directory that can't be asked is asked again, on its own schedule, and in the end the
// execution fails with the reason; nothing of it was done.
func TestDirectoryAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.directory(t)
	w.db.Exec(t, `alter table member rename to away`)
	f := w.define(t, definition{id: "f", roles: []string{`{"roles": ["approver"], "by": "directory"}`}, actions: []action{{}, {order: 1}}})
	quick := func(c *executor.Config) {
		c.Directory, c.GateRetry = d, []time.Duration{20 * time.Millisecond, 20 * time.Millisecond}
	}
	p := w.start(t, "p1", quick)
	p.record(t, w.batch(f, 1, by("ann")), lease)
	w.eventually(t, f, "failure 1")
	const why = `whether it may go on could not be decided in 3 attempts: the directory's SQL for roles failed: relation "member" does not exist (SQLSTATE 42P01)`
	if got, want := w.ended(t, f), "1 -1 gate dead "+why+"\n1 0 probe cancelled "+why+"\n1 1 probe cancelled "+why; got != want {
		t.Errorf("ended\n%s\nwant\n%s", got, want)
	}
	if got := w.rows(t, `select error from rowbell.workflow_log`); got != why {
		t.Errorf("the log says %q", got)
	}
	if n := labelled(t, p.reg, "rowbell_gates_total", "dead"); n != 1 {
		t.Errorf("%v gates are dead", n)
	}
	p.stop()
	p.wait(t, soon)
	// A worker without a directory, and then one that has it.
	slow := func(c *executor.Config) { c.GateRetry = []time.Duration{300 * time.Millisecond, time.Hour} }
	w.queued(t, f, 1, by("ann"))
	none := w.start(t, "p2", slow)
	pgtest.Eventually(t, soon, "it was tried", func() bool {
		return strings.Contains(w.rows(t, `select coalesce(error, '') from rowbell.delivery where kind = 'gate'`), "need ROWBELL_DIRECTORY_ROLES")
	})
	none.stop()
	none.wait(t, soon)
	w.db.Exec(t, `alter table away rename to member`)
	w.start(t, "p3", func(c *executor.Config) { c.Directory = d })
	w.eventually(t, f, "failure 1, success 1")
}

// A gate whose outcome the database refuses, or that ends in whatever way but success,
// never lets the actions begin.
func TestGateOfBrokenVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", settings: once, actions: []action{{config: `{"to": "nowhere"}`}, {order: 1}}})
	w.start(t, "p1")
	w.queued(t, f, 1)
	w.eventually(t, f, "failure 1")
	if got := w.ended(t, f); !strings.HasPrefix(got, "1 -1 gate dead action 1 (probe): to: nowhere is no destination\n1 0 probe cancelled action 1") {
		t.Errorf("ended\n%s", got)
	}
	if n, _ := w.probe.counts(); n != 0 {
		t.Errorf("%d deliveries", n)
	}
}
