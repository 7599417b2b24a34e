package faulttest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestFunctionOnce breaks calls of a function at any moment: the worker is killed, and
// so are its sessions in the server. The function writes a row and knows no key, so that
// only the outcome's transaction keeps it from doing so twice.
func TestFunctionOnce(t *testing.T) {
	t.Parallel()
	w := newCalling(t, "")
	if err := functionScenario(w, 6*chaos(), 1200*chaos()); err != nil {
		t.Fatalf("%v\n%s", err, w.situation())
	}
}

// The same finds a worker that calls in a transaction of its own.
func TestFunctionOncePlanted(t *testing.T) {
	t.Parallel()
	err := functionScenario(newCalling(t, "call_in_own_transaction"), 6*chaos(), 1200*chaos())
	if err == nil || !strings.Contains(err.Error(), "were credited") {
		t.Fatalf("not found: %v", err)
	}
	t.Logf("found: %.2000s", err)
}

func newCalling(t *testing.T, fault string) *world {
	t.Helper()
	tags, env := "", []string{"ROWBELL_DELIVERY=on", "ROWBELL_DELIVERY_LEASE=" + hookLease.String()}
	if fault != "" {
		tags, env = "faults", append(env, "ROWBELL_FAULT="+fault)
	}
	w := newWorld(t, migrated(t), binary(t, tags), env...)
	w.db.Exec(t, `create schema app;
create table app.credit (key text, order_id bigint);
create function app.credit(key text, payload jsonb) returns void language plpgsql as $$
begin
	insert into app.credit values (key, (payload -> 'new' ->> 'id')::bigint);
	perform pg_sleep(0.001 * random());
end $$;
select rowbell.register_function('credit', 'app.credit(text,jsonb)');
insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('credit', 'acme', 'Credit', 'active');
insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ('credit', 'orders', 'create', '{"status": "approved"}')`)
	// Alone in its execution, and after another action.
	retry := `"retry": ["50ms"` + strings.Repeat(`, "200ms"`, 45) + `]`
	w.db.Exec(t, `insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('credit', 'function', $1::jsonb)`, `{"function": "credit", `+retry+`}`)
	w.db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('second', 'acme', 'Second', 'active');
insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ('second', 'orders', 'create', '{"status": "approved"}')`)
	w.db.Exec(t, `insert into rowbell.workflow_action (workflow_id, action_type, action_config, "order") values ('second', 'log', '{}', 0), ('second', 'function', $1::jsonb, 1)`,
		`{"function": "credit", `+retry+`}`)
	return w
}

// functionScenario kills the worker so many times while so many orders are approved, and
// its sessions all the time.
func functionScenario(w *world, kills, orders int) error {
	ctx := w.t.Context()
	conn, err := connect(ctx, w.db.URL)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	k, err := w.start("calls-first")
	if err != nil {
		return err
	}
	if err := w.eventually(ctx, w.db.URL, patience, "table orders is captured and both workflows apply",
		"select count(*) filter (where kind = 'table') >= 1 and count(*) filter (where id in ('credit', 'second')) = 2 from rowbell.applied"); err != nil {
		return err
	}
	ended := 0
	for n := range kills {
		var called int
		if err := conn.QueryRow(ctx, `select count(*)::int from app.credit`).Scan(&called); err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, `insert into orders (writer, tenant_id, status, total) select 1, 'acme', 'approved', 1 from generate_series(1, $1::int)`, orders/kills); err != nil {
			return err
		}
		if err := w.eventually(ctx, w.db.URL, patience, "the worker calls", `select count(*) > $1 from app.credit`, called); err != nil {
			return err
		}
		for range 25 {
			var cut int
			err := conn.QueryRow(ctx, `select count(*) filter (where pg_terminate_backend(pid)) from (
	select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and application_name like 'rowbell/%'
	and (query like '%app.credit%' or query like '%rowbell.result%') and state = 'active' order by random() limit 2) a`).Scan(&cut)
			if err != nil {
				return err
			}
			ended += cut
			if err := pause(ctx, time.Duration(w.rng.IntN(int(15*time.Millisecond)))); err != nil {
				return err
			}
		}
		k.kill()
		if err := w.alarm(); err != nil {
			return err
		}
		if k, err = w.start(fmt.Sprint("calls-", n)); err != nil {
			return err
		}
	}
	w.t.Logf("%d workers and %d sessions were ended", kills, ended)
	if ended == 0 {
		return errors.New("no session was ended while it called")
	}
	want := orders / kills * kills * 2
	if err := w.eventually(ctx, w.db.URL, 2*patience, "all executions are settled",
		`select count(*) = $1 from rowbell.workflow_log where workflow_id in ('credit', 'second') and status <> 'pending'`, want); err != nil {
		return err
	}
	return credited(ctx, w, want)
}

// credited compares what the function did with the log.
func credited(ctx context.Context, w *world, want int) error {
	problems, err := query(ctx, w.db.URL, `select format('key %s: %s rows', coalesce(d.id, c.key), coalesce(n, 0)) from
	(select id || '_' || action as id from rowbell.execution where kind = 'function' and status = 'success'
		union all select execution_id || '_' || action from rowbell.delivery_ended where kind = 'function' and status = 'succeeded') d
	full join (select key, count(*) n from app.credit group by key) c on c.key = d.id
where n is distinct from 1 or d.id is null limit 20`)
	if err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	counts, err := query(ctx, w.db.URL, `select concat_ws(' ', (select count(*) from app.credit), (select count(distinct key) from app.credit))`)
	if err != nil {
		return err
	}
	if len(problems) > 0 || counts[0] != fmt.Sprintf("%d %d", want, want) {
		return fmt.Errorf("%s orders and keys were credited, want %d; %s", counts[0], want, strings.Join(problems, "; "))
	}
	return nil
}
