package app_test

import (
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// applies waits until the worker goes by the present version of a workflow.
func applies(t *testing.T, db *pgtest.Database, id string) {
	t.Helper()
	pgtest.Eventually(t, pgtest.Patience, "the version to apply", func() bool {
		return pgtest.One[bool](t, db, `select exists (select from rowbell.applied a join rowbell.workflow_definition d on d.id = a.id and d.version = a.version where a.kind = 'workflow' and d.id = $1)`, id)
	})
}

// An action's own conditions are decided for the row as it was recorded: by its types, through
// the stream, a replay with the current version, and what is done to the table meanwhile.
func TestOnlyIf(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop+`; alter table orders add token text`)
	h := newHooks(t)
	w := startWorker(t, db, delivers)
	w.holds(t)
	// A column that is called like a secret is a column.
	defineHook(t, db, "hook", h.URL+"/in", `, "only_if": [{"condition_type": "field_value", "condition_config": {"total": {"gt": 9.5}, "token": "red"}}]`)
	db.Exec(t, `insert into rowbell.workflow_action (workflow_id, action_type, action_config, "order") values ('hook', 'log', '{"only_if": [{"condition_type": "expression", "condition_config": {"expression": "new.total < 100"}}]}', 1)`)
	captured(t, db)
	applies(t, db, "hook")
	if got := pgtest.One[string](t, db, `select action_config -> 'only_if' -> 0 -> 'condition_config' ->> 'token' from rowbell.workflow_action where action_type = 'webhook'`); got != "red" {
		t.Errorf("the condition on token asks for %s", got)
	}
	db.Exec(t, `insert into orders (tenant_id, total, token) values ('acme', 10, 'red'), ('acme', 9, 'red'), ('acme', 1000, 'blue')`)
	settled(t, db, "cancelled 1, success 2")
	ended := func() string {
		return pgtest.One[string](t, db, `select string_agg(concat_ws(' ', e.row_key, d.kind, d.status, d.reason), e'\n' order by e.seq, d.action, d.execution_id) from rowbell.delivery_done d join rowbell.workflow_event e on e.id = left(d.execution_id, 26)`)
	}
	want := `1 webhook succeeded
1 log succeeded
2 webhook cancelled its condition was not met: total gt 9.5: new.total is 9.00
2 log succeeded
3 webhook cancelled its condition was not met: token eq "red": new.token is "blue"
3 log cancelled its condition was not met: new.total < 100: new.total is 1000.00`
	if got := ended(); got != want {
		t.Errorf("ended\n%s\nwant\n%s", got, want)
	}
	if ids, requests := h.count(); ids != 1 || requests != 1 {
		t.Errorf("%d ids in %d requests", ids, requests)
	}
	if got := pgtest.One[string](t, db, `select error from rowbell.workflow_log where status = 'cancelled'`); !strings.HasPrefix(got, "its condition was not met: ") {
		t.Errorf("the execution says %q", got)
	}

	// The current version decides anew of what was left out.
	db.Exec(t, `update rowbell.workflow_action set action_config = jsonb_set(action_config, '{only_if}', '[{"condition_type": "field_value", "condition_config": {"token": "blue"}}]') where action_type = 'webhook'`)
	applies(t, db, "hook")
	o := operator(t, db)
	q := failures("hook")
	q.Statuses = []workflow.ExecutionStatus{workflow.Success, workflow.Cancelled}
	q.Current = true
	r, err := o.StartReplay(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if r = replayEnds(t, o, r.ID); r.Done != 3 {
		t.Errorf("the replay has ended as %+v", r)
	}
	settled(t, db, "cancelled 1, success 5")
	if ids, requests := h.count(); ids != 2 || requests != 2 {
		t.Errorf("then %d ids in %d requests", ids, requests)
	}

	// A column that came since, at once, though the table was read a moment ago.
	db.Exec(t, `alter table orders add region text; update rowbell.workflow_action set action_config = jsonb_set(action_config, '{only_if}', '[{"condition_type": "field_value", "condition_config": {"region": "eu"}}]') where action_type = 'webhook'`)
	applies(t, db, "hook")
	db.Exec(t, `insert into orders (tenant_id, region) values ('acme', 'eu')`)
	settled(t, db, "cancelled 1, success 6")
	if ids, requests := h.count(); ids != 3 || requests != 3 {
		t.Errorf("then %d ids in %d requests", ids, requests)
	}

	// What is wrong with one is said when it is saved.
	db.Exec(t, `update rowbell.workflow_action set action_config = jsonb_set(action_config, '{only_if}', '[{"condition_type": "field_value", "condition_config": {"regoin": "eu"}}]') where action_type = 'webhook'`)
	got := ""
	pgtest.Eventually(t, pgtest.Patience, "the verdict", func() bool {
		got = db.QueryString(t, `select coalesce(max(verdict || ' ' || message), '') from rowbell.workflow_health`)
		return strings.HasPrefix(got, `broken action 1 (webhook), only_if, condition 1 (field_value).regoin: table orders has no column regoin; did you mean "region"?`)
	})
}

// A value that isn't in the WAL is no answer: the action fails, and says what to do; what comes
// after it goes by on_failure.
func TestOnlyIfNotInTheWAL(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop+`; alter table orders alter note set storage external`)
	w := startWorker(t, db, delivers)
	w.holds(t)
	define(t, db, "w", "acme", "update", `{}`, "log")
	db.Exec(t, `update rowbell.workflow_action set action_config = '{"only_if": [{"condition_type": "expression", "condition_config": {"expression": "len(new.note) > 5"}}]}' where workflow_id = 'w'`)
	captured(t, db)
	applies(t, db, "w")
	db.Exec(t, `insert into orders (tenant_id, note) values ('acme', repeat('x', 10000)), ('acme', 'long enough')`)
	db.Exec(t, `update orders set total = 1`)
	settled(t, db, "failure 1, success 1")
	got := pgtest.One[string](t, db, `select error from rowbell.workflow_log where status = 'failure'`)
	if !strings.HasPrefix(got, "its condition can't be decided: ") || !strings.Contains(got, "new.note") || !strings.Contains(got, "ALTER TABLE public.orders REPLICA IDENTITY FULL") {
		t.Errorf("it failed with %q", got)
	}
	if n := pgtest.One[int](t, db, `select count(*)::int from rowbell.delivery_attempt`); n != 0 {
		t.Logf("%d attempts", n)
	}
}
