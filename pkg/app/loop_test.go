package app_test

import (
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// A function that changes the row that it was called for sets its workflow off again, and
// is stopped after a while: what it changes comes of the execution, without a word of its
// own.
func TestFunctionInALoop(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop+`; alter table orders replica identity full;
		create function count_on(key text, payload jsonb) returns void language sql as $$
			update orders set total = total + 1 where id = (payload -> 'new' ->> 'id')::bigint $$`)
	w := startWorker(t, db, delivers)
	w.holds(t)
	db.Exec(t, `select rowbell.register_function('count_on', 'public.count_on(text,jsonb)')`)
	db.Exec(t, `begin; insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('round', 'acme', 'Round', 'active');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('round', 'orders', 'update');
		insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('round', 'function', '{"function": "count_on"}'); commit`)
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	db.Exec(t, `update orders set status = 'approved'`)
	settled(t, db, "failure 1, success 3")
	if got := pgtest.One[string](t, db, `select error from rowbell.workflow_log where status = 'failure'`); got[:14] != "stopped: loop:" {
		t.Errorf("it was stopped for %q", got)
	}
	if n := pgtest.One[int](t, db, `select total::int from orders`); n != 3 {
		t.Errorf("it was called %d times", n)
	}
}
