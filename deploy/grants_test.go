package deploy_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/deploy"
	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	wf "github.com/rowbell/rowbell/pkg/workflow"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// cluster is a server of its own, since the roles have fixed names.
func cluster(t *testing.T) *localpg.Server {
	t.Helper()
	return pgtest.Server(t, localpg.Options{Template: true})
}

// role is one that a test works as, in one session. The server trusts everybody.
type role struct {
	URL  string
	conn *pgconn.PgConn // opened at its first use
}

func as(t *testing.T, db *pgtest.Database, name string) *role {
	t.Helper()
	u, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(name)
	r := &role{URL: u.String()}
	t.Cleanup(func() {
		if r.conn != nil {
			_ = r.conn.Close(context.Background()) // nothing is pending
		}
	})
	return r
}

func (r *role) try(t *testing.T, sql string) error {
	t.Helper()
	if r.conn == nil {
		conn, err := pgconn.Connect(t.Context(), r.URL)
		if err != nil {
			t.Fatal(err)
		}
		r.conn = conn
	}
	_, err := r.conn.Exec(t.Context(), sql).ReadAll()
	if r.conn.TxStatus() != 'I' {
		_, _ = r.conn.Exec(t.Context(), "rollback").ReadAll() // err is what counts
	}
	return err
}

// do runs what must succeed.
func (r *role) do(t *testing.T, sql string) {
	t.Helper()
	if err := r.try(t, sql); err != nil {
		t.Fatalf("%v, from:\n%.300s", err, sql)
	}
}

// refused fails unless the server refuses the statement with this SQLSTATE.
func (r *role) refused(t *testing.T, state, sql string) {
	t.Helper()
	err := r.try(t, sql)
	if pg, ok := errors.AsType[*pgconn.PgError](err); !ok || pg.Code != state {
		t.Errorf("%.300s\ngave %v, want SQLSTATE %s", sql, err, state)
	}
}

const denied = "42501" // insufficient_privilege

func config(sourceURL string) app.Config {
	return app.Config{
		SourceURL: sourceURL, Capture: app.CaptureManual, NoMigrate: true, Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0", HeartbeatInterval: time.Second,
	}
}

func logger(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// work starts a worker and waits until it holds the slot, and so writes into state. The
// function that it returns stops it, in order.
func work(t *testing.T, cfg app.Config, state *pgtest.Database) (stop func()) {
	t.Helper()
	a, err := app.New(cfg, logger(t), "test", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	}
	t.Cleanup(stop)
	pgtest.Eventually(t, pgtest.Patience, "the worker to hold the slot", func() bool {
		return pgtest.One[bool](t, state, `select exists (select from rowbell.holder where leader_until > clock_timestamp())`)
	})
	return stop
}

// install does what README.md says: roles, migrations, grants.
func install(t *testing.T, db *pgtest.Database) {
	t.Helper()
	db.Exec(t, deploy.Roles)
	if err := app.Migrate(t.Context(), config(as(t, db, "rowbell_migrate").URL)); err != nil {
		t.Fatal(err)
	}
	as(t, db, "rowbell_migrate").do(t, deploy.Grants)
}

// Since alice may write workflows she may not forge events: roles.sql has the statement.
const shop = `do $$ begin
	execute (select string_agg(format('revoke execute on function %s from public', oid::regprocedure), '; ') from pg_proc where proname = 'pg_logical_emit_message');
end $$;
create role shop_owner login;
grant rowbell_publisher to shop_owner;
create role alice login in role rowbell_tenant;
insert into rowbell.sql_member (role_name, tenant_id) values ('alice', 'acme');
create table orders (id bigint generated always as identity primary key, tenant_id text not null, total numeric not null);
alter table orders owner to shop_owner;`

// workflow writes one on orders, as people do.
func workflow(id string) string {
	return fmt.Sprintf(`begin;
insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('%[1]s', 'acme', 'Large order', 'active');
insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ('%[1]s', 'orders', 'create', '{"total": {"gte": 1000}}');
insert into rowbell.workflow_action (workflow_id, action_type) values ('%[1]s', 'log');
commit`, id)
}

// logged waits until the log, read as a role, has so many executions.
func logged(t *testing.T, roleURL string, want int64) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), roleURL)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	pgtest.Eventually(t, pgtest.Patience, fmt.Sprintf("%d executions in workflow_log", want), func() bool {
		var n int64
		if err := pool.QueryRow(t.Context(), `select count(*) from rowbell.workflow_log where status = 'success'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == want
	})
}

// The whole way with least privilege, as README.md has it.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	db := pgtest.DBOn(t, cluster(t))
	install(t, db)
	db.Exec(t, shop)
	migrate, run := as(t, db, "rowbell_migrate"), as(t, db, "rowbell_run")
	owner, alice := as(t, db, "shop_owner"), as(t, db, "alice")

	if owners := pgtest.Query[string](t, db, `select distinct pg_get_userbyid(pubowner)::text from pg_publication`); !slices.Equal(owners, []string{"rowbell_publisher"}) {
		t.Errorf("the publications belong to %v", owners)
	}
	owner.do(t, `call rowbell.capture('orders')`)
	stop := work(t, config(run.URL), db)
	alice.do(t, workflow("large-order"))
	owner.do(t, `insert into orders (tenant_id, total) values ('acme', 1200), ('acme', 10)`)
	logged(t, alice.URL, 1)

	t.Run("check", func(t *testing.T) {
		var b strings.Builder
		r := app.Doctor(t.Context(), config(run.URL))
		if err := r.Write(&b, app.Style{}); err != nil {
			t.Fatal(err)
		}
		if r.Count(app.LevelFailed) > 0 || r.Count(app.LevelWarning) > 0 {
			t.Errorf("rowbell check as rowbell_run:\n%s", &b)
		}
	})
	t.Run("check, before grants.sql is run again", func(t *testing.T) {
		migrate.do(t, `revoke all on rowbell.dismissal, rowbell.saved_view from rowbell_run`)
		var b strings.Builder
		r := app.Doctor(t.Context(), config(run.URL))
		if err := r.Write(&b, app.Style{}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "rowbell_run may do nothing with tables rowbell.dismissal, rowbell.saved_view") || !strings.Contains(b.String(), "-f grants.sql") || r.Count(app.LevelFailed) != 0 || r.Count(app.LevelWarning) != 1 {
			t.Errorf("rowbell check as rowbell_run:\n%s", &b)
		}
		migrate.do(t, deploy.Grants)
	})
	t.Run("health", func(t *testing.T) {
		pool, err := pgxpool.New(t.Context(), alice.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		pgtest.Eventually(t, pgtest.Patience, "alice to see the health of her workflow", func() bool {
			var verdict string
			err := pool.QueryRow(t.Context(), `select verdict from rowbell.workflow_health where workflow_id = 'large-order'`).Scan(&verdict)
			return err == nil && verdict == "ok"
		})
	})
	t.Run("run", func(t *testing.T) { runMayNot(t, run) })
	t.Run("tenant", func(t *testing.T) { tenantMay(t, db, alice) })
	t.Run("capture by a tenant", func(t *testing.T) { alice.refused(t, denied, `call rowbell.capture('orders', redacted => '{total}')`) })
	t.Run("nobody else", func(t *testing.T) {
		db.Exec(t, `create role stranger login`)
		for _, sql := range []string{`select from rowbell.workflow_log`, `select from rowbell.workflow_definition`, `select rowbell.make_partitions(1)`} {
			as(t, db, "stranger").refused(t, denied, sql)
		}
	})

	// The log is the worker's, and yet migrations can go on altering it.
	migrate.do(t, `begin; alter table rowbell.attempt add column probe integer; create index on rowbell.event (table_ref); rollback`)

	// A lost slot: the worker notes the gap, who may make slots makes a new stream, and the
	// worker reads it.
	stop()
	db.Exec(t, `alter role rowbell_migrate replication; select pg_drop_replication_slot('rowbell')`)
	pool, err := pgxpool.New(t.Context(), run.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for range 2 { // it finds the gap again and again
		if err := store.OpenState(pool).Gap(t.Context(), "rowbell", 1, 2, "lost"); err != nil {
			t.Fatal(err)
		}
	}
	op, err := app.NewOperator(config(migrate.URL), logger(t))
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	if _, err := op.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	work(t, config(run.URL), db)
	owner.do(t, `insert into orders (tenant_id, total) values ('acme', 1300)`)
	logged(t, alice.URL, 2)
}

// runMayNot tries what the worker has no need of. (A role with REPLICATION can read rows
// in the WAL; that is not a matter of grants.)
func runMayNot(t *testing.T, run *role) {
	for _, sql := range []string{
		`select from orders`,
		`insert into orders (tenant_id, total) values ('acme', 1)`,
		`update orders set total = 0`,
		`delete from orders`,
		`call rowbell.capture('orders', hidden => '{total}')`,
		`alter publication rowbell drop table orders`,
		`create publication mine`,
		`create schema mine`,
		`insert into rowbell.workflow_definition (name) values ('mine')`,
		`update rowbell.workflow_definition set status = 'inactive'`,
		`delete from rowbell.workflow_action`,
		`select from rowbell.workflow_action`,
		`insert into rowbell.workflow_version select * from rowbell.workflow_version`,
		`insert into rowbell.captured_table select * from rowbell.captured_table`,
		`insert into rowbell.secret (plain) values ('mine')`,
		`update rowbell.secret set tenant_id = 'mine'`,
		`delete from rowbell.secret`,
		`insert into rowbell.sql_member (role_name, tenant_id) values ('mine', 'acme')`,
		`delete from rowbell.audit_log`,
		`update rowbell.audit_log set action = 'mine'`,
		`insert into rowbell.audit_log (action, db_user) values ('mine', 'bob')`,
		`insert into rowbell.audit_log (action, at) values ('mine', now() - interval '1 year')`,
		`select rowbell.begin_erasing()`,
		`update rowbell.notification set title = 'mine'`,
		`delete from rowbell.quiet_hours`,
		`delete from rowbell.checkpoint`,
		`delete from rowbell.stream_gap`,
		`update rowbell.stream_gap set closed_at = now()`,
		`truncate rowbell.queue`,
		`alter table rowbell.queue add column mine integer`,
		`drop table rowbell.checkpoint`,
		`alter table rowbell.workflow_version disable trigger all`,
		`create or replace function rowbell.make_partitions(days integer) returns integer language sql as 'select 1'`,
		`insert into rowbell.migration_state (version_id, is_applied) values (99, true)`,
		`select rowbell.emit('mine')`,
		`select rowbell.set_actor('mine')`,
		`select rowbell.set_chain('mine', 1)`,
		`insert into rowbell.function (name, function, created_by) values ('mine', 'public.mine', 'me')`,
		`select rowbell.register_function('mine', 'public.mine(text,jsonb)')`,
		`update rowbell.template set source = 'mine'`,
		`delete from rowbell.preference`,
		`grant rowbell_migrate to rowbell_run`,
		`grant rowbell_publisher to rowbell_run`,
		`grant rowbell_api to rowbell_run`,
		`set role rowbell_migrate`,
	} {
		run.refused(t, denied, sql)
	}
}

func tenantMay(t *testing.T, db *pgtest.Database, alice *role) {
	for _, sql := range []string{
		`begin; update rowbell.workflow_definition set description = 'of a thousand and more', draft = '{"name": "Big"}'; commit`,
		`insert into rowbell.workflow_condition (workflow_id, condition_type, condition_config) values ('large-order', 'expression', '{"expression": "new.total < 1000000"}')`,
		`insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ('large-order', 'user', 'bob')`,
		`delete from rowbell.workflow_recipient where recipient_id = 'bob'`,
		workflow("short-lived"),
		`delete from rowbell.workflow_definition where id = 'short-lived'`,
		`select * from rowbell.workflow_version, rowbell.workflow_health, rowbell.captured_table`,
		`select * from rowbell.workflow_log, rowbell.workflow_event, rowbell.workflow_log_kept, rowbell.row_history, rowbell.failing`,
		`select * from rowbell.delivery, rowbell.delivery_done, rowbell.delivery_attempt`,
	} {
		alice.do(t, sql)
	}
	// The secret that she writes leaves her table, and she can't read it back.
	alice.do(t, `insert into rowbell.workflow_definition (id, tenant_id) values ('hooked', 'acme');
insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('hooked', 'webhook', '{"url": "https://example.com", "secret": "whsec_c2VjcmV0"}')`)
	if got := pgtest.Query[string](t, db, `select plain from rowbell.secret where workflow_id = 'hooked'`); !slices.Equal(got, []string{"whsec_c2VjcmV0"}) {
		t.Errorf("the secrets are %v", got)
	}
	if got := pgtest.Query[string](t, db, `select document::text from rowbell.workflow_version where document::text like '%whsec%'`); len(got) > 0 {
		t.Errorf("the secret is in %v", got)
	}
	alice.do(t, `select id, tenant_id, name, key_id, workflow_id, action_id, created_by, created_at, sealed_at from rowbell.secret`)
	for _, sql := range []string{
		`select plain from rowbell.secret`,
		`select sealed from rowbell.secret`,
		`select * from rowbell.secret`,
		`select count(*) from rowbell.secret where plain like 'w%'`,
		`insert into rowbell.secret (plain) values ('mine')`,
		`update rowbell.secret set plain = 'mine'`,
		`delete from rowbell.secret`,
		`insert into rowbell.execution (id) values ('mine')`,
		`update rowbell.execution set status = 'success'`,
		`delete from rowbell.execution`,
		`delete from rowbell.queue`,
		`update rowbell.workflow_version set status = 'active'`,
		`insert into rowbell.workflow_version select * from rowbell.workflow_version`,
		`delete from rowbell.workflow_version`,
		`update rowbell.workflow_health set verdict = 'ok'`,
		`insert into rowbell.captured_table select * from rowbell.captured_table`,
		`truncate rowbell.workflow_definition cascade`,
		`alter table rowbell.workflow_definition disable trigger all`,
		`select from rowbell.queue`,
		`select from rowbell.execution`,
		`select from rowbell.execution_default`,
		`select from rowbell.execution_open`,
		`select from rowbell.event`,
		`select from rowbell.attempt`,
		`select from rowbell.delivery_ended`,
		`select from rowbell.checkpoint`,
		`update rowbell.surrogate set name = ''`,
		`select from rowbell.notification`,
		`select from rowbell.preference`,
		`select from rowbell.quiet_hours`,
		`select from rowbell.alert`,
		`select rowbell.set_preference('bob', false)`,
		`select rowbell.inbox('bob')`,
		`select from rowbell.audit_log`,
		`select from rowbell.installation`,
		`update rowbell.setting set tenant_column = ''`,
		`insert into rowbell.audit_log (action, actor) values ('mine', 'bob')`,
		`insert into rowbell.audit_log (action, db_user) values ('mine', 'bob')`,
		`update rowbell.audit_log set action = 'mine'`,
		`delete from rowbell.audit_log`,
		`truncate rowbell.audit_log`,
		`select rowbell.begin_erasing()`,
		`select rowbell.trim_audit(30)`,
		`insert into rowbell.applied select * from rowbell.applied`,
		`insert into rowbell.pause default values`,
		`insert into rowbell.sql_member (role_name, tenant_id) values ('alice', 'globex')`,
		`select rowbell.version_workflow('large-order')`,
		`select rowbell.move_secrets('{}', null, 'large-order', null)`,
		`select rowbell.move_all_secrets('{}', null, 'large-order', null)`,
		`select rowbell.emit('mine')`,
		`select rowbell.set_actor('bob')`,
		`select rowbell.set_chain('mine', 1)`,
		`insert into rowbell.function (name, function, created_by) values ('mine', 'public.mine', 'me')`,
		`select rowbell.register_function('mine', 'pg_catalog.pg_terminate_backend(int)')`,
		`select rowbell.unregister_function('mine')`,
		`select rowbell.templates_of('{footer}', 'globex')`,
		`select rowbell.workflows_rendering('footer', null)`,
		`truncate rowbell.template`,
		`alter table rowbell.template disable trigger all`,
		`select rowbell.inbox_mark('bob', null, 'read')`,
		`select rowbell.clear_quiet_hours('bob')`,
		`select from rowbell.replay`,
		`select from rowbell.destination`,
		`select rowbell.make_partitions(100)`,
		`create table rowbell.mine ()`,
		`set role rowbell_run`,
	} {
		alice.refused(t, denied, sql)
	}
	// The log's views can't be written by anybody.
	for _, sql := range []string{
		`insert into rowbell.workflow_log (id) values ('mine')`,
		`update rowbell.workflow_log set status = 'success'`,
		`delete from rowbell.delivery`,
	} {
		alice.refused(t, "55000", sql)
	}
}

// The worker makes the partitions of the coming days, and drops old ones, whoever made
// them.
func TestPartitions(t *testing.T) {
	t.Parallel()
	db := pgtest.DBOn(t, cluster(t))
	install(t, db)
	pool, err := pgxpool.New(t.Context(), as(t, db, "rowbell_run").URL)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	partition := func(day string) string {
		return pgtest.One[string](t, db, `select coalesce(pg_get_userbyid(c.relowner)::text, 'nobody')
from (select 'event_' || to_char((clock_timestamp() at time zone 'UTC')::date + $1::int, 'YYYYMMDD') as name) want
left join pg_class c on c.relnamespace = 'rowbell'::regnamespace and c.relname = want.name`, day)
	}
	if p := partition("-1"); p != "rowbell_run" {
		t.Fatalf("the migration's partitions belong to %s", p)
	}
	// The last day is missing, as it will be tomorrow.
	db.Exec(t, `do $$ begin
	execute (select format('drop table rowbell.event_%1$s, rowbell.execution_%1$s, rowbell.delivery_ended_%1$s, rowbell.attempt_%1$s',
		to_char((clock_timestamp() at time zone 'UTC')::date + 7, 'YYYYMMDD')));
end $$`)
	// An execution of yesterday that failed is to be kept, with its event.
	db.Exec(t, `insert into rowbell.surrogate (ref, kind, id, version, name) values (1, 'workflow', 'w', 1, 'W');
insert into rowbell.event (committed_at, commit_lsn, stream, seq, table_ref, side, op, event_id, data)
	values (now() - interval '1 day', '0/1', 1, 0, 0, 0, 'c', '01ARZ3NDEKTSV4RRFFQ69G5FAV', '{}');
insert into rowbell.execution (committed_at, executed_at, settled_at, version_ref, priority, id, status)
	values (now() - interval '1 day', now(), now(), 1, 100, '01ARZ3NDEKTSV4RRFFQ69G5FAV-1', 'failure');
insert into rowbell.fired (workflow_id, table_label, row_key, committed_at, execution_id)
	values ('w', 'orders', '1', now(), '01ARZ3NDEKTSV4RRFFQ69G5FAV-1')`)
	if err := store.OpenState(pool).MaintainPartitions(t.Context(), 0, 90); err != nil {
		t.Fatal(err)
	}
	for day, want := range map[string]string{"-1": "nobody", "0": "rowbell_run", "7": "rowbell_run"} {
		if p := partition(day); p != want {
			t.Errorf("the partition of day %s belongs to %s, want %s", day, p, want)
		}
	}
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.workflow_log_kept`); n != 1 {
		t.Errorf("%d executions were kept, want 1", n)
	}
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.fired`); n != 0 {
		t.Error("a workflow that is gone has fired for rows yet")
	}
	// Partitions of a later migration become the worker's when grants.sql is run again.
	db.Exec(t, `create table rowbell.event_19990101 partition of rowbell.event for values from ('1999-01-01 00:00+00') to ('1999-01-02 00:00+00');
alter table rowbell.event_19990101 owner to rowbell_migrate`)
	if err := store.OpenState(pool).MaintainPartitions(t.Context(), 30, 90); err == nil {
		t.Error("the worker dropped a partition of rowbell_migrate's")
	}
	as(t, db, "rowbell_migrate").do(t, deploy.Grants)
	if err := store.OpenState(pool).MaintainPartitions(t.Context(), 30, 90); err != nil {
		t.Error(err)
	}
}

// rights is what rowbell_run, rowbell_tenant and rowbell_api may do with each table and view
// of the schema: s select, i insert, u update, d delete; in capitals, on some columns only.
// A table that is new needs a line here, and may need one in grants.sql and in
// rowbell.grant_api.
var rights = map[string][3]string{
	"migration_source": {"s", "", ""}, "migration_state": {"s", "", ""},
	"setting":             {"sU", "s", "s"},
	"workflow_definition": {"s", "siud", "siud"}, "workflow_trigger": {"", "siud", "siud"}, "workflow_condition": {"", "siud", "siud"},
	"workflow_action": {"", "siud", "siud"}, "workflow_recipient": {"", "siud", "siud"},
	"workflow_version": {"s", "s", "s"}, "captured_table": {"s", "s", "s"}, "workflow_health": {"siud", "s", "s"},
	"secret":    {"sU", "SI", "SI"},
	"template":  {"s", "siud", "siud"},
	"audit_log": {"I", "I", "si"}, "sql_member": {"s", "", ""}, "function": {"s", "s", "s"}, "pause": {"sdI", "s", "siud"},

	"api_key": {"siU", "", "iSU"}, "link_key": {"siU", "", "iSU"}, "member": {"siud", "", "siud"}, "api_request": {"siud", "", ""},

	"event": {"owner", "", "s"}, "execution": {"owner", "", "sdU"}, "delivery_ended": {"owner", "", "sd"}, "attempt": {"owner", "", "si"},
	"replay": {"siud", "", "siu"}, "replay_item": {"siud", "", "sid"},
	"execution_open": {"siud", "", "siu"}, "queue": {"siud", "", "siU"}, "big_transaction": {"siud", "s", "su"},
	"surrogate": {"siud", "s", "s"}, "applied": {"siud", "", "s"}, "failure_count": {"siud", "", ""}, "fired": {"sid", "s", "s"},
	"installation": {"siu", "", ""}, "checkpoint": {"siu", "", ""}, "holder": {"siu", "", ""}, "stream_gap": {"si", "", ""},
	"notification": {"sidU", "", "sU"}, "preference": {"siu", "", "siud"}, "quiet_hours": {"s", "", "siud"},
	"alert": {"siud", "", "s"}, "alert_watch": {"siud", "", ""}, "alert_sweep": {"su", "", ""},
	"workflow_log": {"s", "s", "s"}, "workflow_log_kept": {"", "s", "s"}, "workflow_event": {"s", "s", "s"}, "row_history": {"", "s", "s"}, "failing": {"", "s", "s"},
	"destination": {"siud", "", "su"}, "executor": {"siud", "", ""}, "tenant_weight": {"siu", "", ""}, "endpoint": {"s", "s", "s"},
	"dismissal": {"siud", "", "siud"}, "saved_view": {"siud", "", "siud"},
	"statistic_hour": {"siud", "", "sU"}, "tenant_statistic": {"siud", "", "s"}, "workflow_statistic": {"siud", "", "s"},
	"workflow_log_settled": {}, "workflow_log_queued": {}, "workflow_log_open": {}, "delivery_done_sole": {}, "delivery_done_several": {}, "delivery_attempt_retried": {},
	"delivery": {"s", "s", "s"}, "delivery_done": {"s", "s", "s"}, "delivery_attempt": {"", "s", "s"},
}

// Who edits workflows by SQL can do so by rowbell workflow too, and a worker's settings are
// enough to look.
func TestWorkflowCommands(t *testing.T) {
	t.Parallel()
	db := pgtest.DBOn(t, cluster(t))
	install(t, db)
	db.Exec(t, shop)
	owner, alice := as(t, db, "shop_owner"), as(t, db, "alice")
	owner.do(t, `call rowbell.capture('orders')`)
	work(t, config(as(t, db, "rowbell_run").URL), db)
	alice.do(t, workflow("large-order"))
	owner.do(t, `insert into orders (tenant_id, total) values ('acme', 1200), ('acme', 10)`)
	logged(t, alice.URL, 1)
	event := db.QueryString(t, `select id from rowbell.workflow_event`)
	for _, who := range []string{"alice", "rowbell_run"} {
		o, err := app.NewOperator(config(as(t, db, who).URL), logger(t))
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		s, err := o.Workflows()
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		try := func(what string, err error) {
			t.Helper()
			if err != nil {
				t.Errorf("%s as %s: %v", what, who, err)
			}
		}
		if who == "alice" {
			_, err = s.List(ctx, store.WorkflowFilter{})
			try("list", err)
			_, err = s.Show(ctx, "large-order")
			try("show", err)
			_, err = s.CheckOne(ctx, "large-order")
			try("check", err)
			_, err = s.History(ctx, "large-order")
			try("versions", err)
			_, _, err = s.Deactivate(ctx, "large-order", "ann", "")
			try("deactivate", err)
			_, err = s.Activate(ctx, "large-order", "ann", "", false)
			try("activate", err)
			if got := db.QueryString(t, `select string_agg(concat_ws(' ', action, actor, db_user), ', ' order by at) from rowbell.audit_log where object_type = 'workflow'`); got != "workflow.deactivate ann alice, workflow.activate ann alice" {
				t.Errorf("the audit log has %s", got)
			}
		}
		d, err := s.Depends(ctx, "orders.total")
		try("depends", err)
		if err == nil && len(d.Workflows) != 1 {
			t.Errorf("as %s, %+v depends on orders.total", who, d.Workflows)
		}
		_, err = o.Simulate(ctx, definition.Simulation{Workflow: "large-order", Event: event})
		try("simulate", err)
		_, err = o.Explain(ctx, event)
		try("explain", err)
		if who != "rowbell_run" {
			continue
		}
		list, err := o.Deliveries(ctx, store.DeliveryFilter{Statuses: []store.DeliveryStatus{store.DeliveryDead, store.DeliverySucceeded, store.DeliveryPending}})
		try("delivery list", err)
		for _, d := range list {
			_, err = o.Delivery(ctx, d.ID)
			try("delivery show", err)
		}
		r, err := o.StartReplay(ctx, api.ReplayRequest{Rate: 100, ReplayFilter: store.ReplayFilter{
			Workflows: []string{"large-order"}, Since: time.Now().Add(-time.Hour), Statuses: []wf.ExecutionStatus{wf.Success},
		}})
		try("replay", err)
		pgtest.Eventually(t, pgtest.Patience, "the replay to end", func() bool {
			r, err = o.Replay(ctx, r.ID)
			return err != nil || r.Status == store.ReplayDone
		})
		try("replay show", err)
		if r.Done != 1 {
			t.Errorf("the replay has ended as %+v", r)
		}
		_, err = o.Storms(ctx, true)
		try("storm list", err)
		if _, err = o.DiscardStorm(ctx, "large-order", "ann"); !errors.Is(err, wf.ErrNotFound) {
			try("storm discard", err)
		}
		_, err = o.SecretStatus(ctx)
		try("secret status", err)
		tryAccess(t, o.Access())
	}
}

// tryAccess does all that there is with keys, link keys and members.
func tryAccess(t *testing.T, s *access.Service) {
	t.Helper()
	try := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s as rowbell_run: %v", what, err)
		}
	}
	ctx, viewer := t.Context(), []access.Role{access.Viewer}
	k, _, err := s.CreateKey(ctx, access.NewKey{Roles: viewer}, "ann")
	try("key create", err)
	_, err = s.Keys(ctx, store.AccessFilter{})
	try("key list", err)
	_, err = s.RevokeKey(ctx, k.ID, nil, "ann")
	try("key revoke", err)
	_, _, err = s.FirstKey(ctx, "rowbell run")
	try("the first key", err)
	l, _, err := s.AddLinkKey(ctx, access.NewLinkKey{Roles: viewer}, "ann")
	try("link add-key", err)
	_, err = s.LinkKeys(ctx, store.AccessFilter{})
	try("link list", err)
	_, err = s.RevokeLinkKey(ctx, l.ID, nil, "ann")
	try("link revoke", err)
	for _, roles := range [][]access.Role{viewer, {access.Admin}} {
		_, err = s.AddMember(ctx, access.NewMember{Issuer: "https://login.example.com", Subject: "ann", Roles: roles}, "ann")
		try("member add", err)
	}
	list, err := s.Members(ctx, store.AccessFilter{})
	try("member list", err)
	for _, m := range list {
		_, err = s.RemoveMember(ctx, m.ID, nil, "ann")
		try("member remove", err)
	}
	if len(list) != 1 {
		t.Errorf("there are %d members", len(list))
	}
}

func TestRights(t *testing.T) {
	t.Parallel()
	db := pgtest.DBOn(t, cluster(t))
	install(t, db)
	// What an earlier version of the script gave is taken away again.
	db.Exec(t, `grant all on all tables in schema rowbell to rowbell_tenant, rowbell_api;
grant insert, truncate on rowbell.workflow_version to rowbell_run;
grant update (tenant_id) on rowbell.secret to rowbell_run;
grant create on schema rowbell to rowbell_tenant`)
	as(t, db, "rowbell_migrate").do(t, deploy.Grants)
	checkRights(t, db)
	db.Exec(t, deploy.Roles)
	db.Exec(t, deploy.Grants) // as a superuser it comes to the same
	checkRights(t, db)
}

func checkRights(t *testing.T, db *pgtest.Database) {
	t.Helper()
	type relation struct{ Name, Run, Tenant, API string }
	const of = `case when c.relowner = r.oid then 'owner' else (
	select coalesce(string_agg(l, '' order by n), '') from (
		select n, case when has_table_privilege(r.oid, c.oid, p) then case p when 'TRUNCATE' then 'truncate' when 'TRIGGER' then 'trigger' else lower(left(p, 1)) end end as l
		from unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) with ordinality as a (p, n)
		union all
		select n + 10, case when has_any_column_privilege(r.oid, c.oid, p) and not has_table_privilege(r.oid, c.oid, p) then left(p, 1) end
		from unnest(array['SELECT', 'INSERT', 'UPDATE']) with ordinality as a (p, n)
	) x) end`
	got := pgtest.Structs[relation](t, db, `select c.relname::text as name,
(select `+of+` from pg_roles r where r.rolname = 'rowbell_run') as run,
(select `+of+` from pg_roles r where r.rolname = 'rowbell_tenant') as tenant,
(select `+of+` from pg_roles r where r.rolname = 'rowbell_api') as api
from pg_class c where c.relnamespace = 'rowbell'::regnamespace and c.relkind in ('r', 'p', 'v') and not c.relispartition`)
	for _, r := range got {
		want, known := rights[r.Name]
		if !known {
			t.Errorf("rowbell.%s is new: say in grants.sql and here who may do what with it", r.Name)
		} else if got := [3]string{r.Run, r.Tenant, r.API}; got != want {
			t.Errorf("rowbell.%s: rowbell_run, rowbell_tenant and rowbell_api may %q, want %q", r.Name, got, want)
		}
	}
	if len(got) < len(rights) {
		t.Errorf("the schema has %d relations, want %d", len(got), len(rights))
	}
	if strays := pgtest.Query[string](t, db, `select relname::text from pg_class c where relnamespace = 'rowbell'::regnamespace and relispartition
and relkind = 'r' and (relowner <> 'rowbell_run'::regrole or exists (select from aclexplode(relacl) a where a.grantee <> c.relowner))`); len(strays) > 0 {
		t.Errorf("partitions that don't belong to rowbell_run, or that others were given rights on: %v", strays)
	}
	if pgtest.One[bool](t, db, `select has_schema_privilege('rowbell_tenant', 'rowbell', 'create')`) {
		t.Error("rowbell_tenant may create in the schema")
	}
}

// With state in another database, and with roles of other names.
func TestStateElsewhere(t *testing.T) {
	t.Parallel()
	srv := cluster(t)
	source, state := pgtest.DBOn(t, srv), pgtest.DBOn(t, srv)
	rename := strings.NewReplacer("rowbell_migrate", "bell_migrate", "rowbell_run", "bell_run", "rowbell_tenant", "bell_tenant")
	for _, db := range []*pgtest.Database{source, state} {
		db.Exec(t, rename.Replace(deploy.Roles))
	}
	cfg := config(as(t, source, "bell_migrate").URL)
	cfg.StateURL = as(t, state, "bell_migrate").URL
	if err := app.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for _, db := range []*pgtest.Database{source, state} {
		as(t, db, "bell_migrate").do(t, rename.Replace(deploy.Grants))
	}
	source.Exec(t, rename.Replace(shop))
	as(t, source, "shop_owner").do(t, `call rowbell.capture('orders')`)
	cfg.SourceURL, cfg.StateURL = as(t, source, "bell_run").URL, as(t, state, "bell_run").URL
	work(t, cfg, state)
	as(t, source, "alice").do(t, workflow("large-order"))
	as(t, source, "shop_owner").do(t, `insert into orders (tenant_id, total) values ('acme', 1200)`)
	logged(t, state.URL, 1)
	as(t, state, "alice").refused(t, denied, `select from rowbell.workflow_log`)
	seesOnly(t, cfg, "acme", 1)
	seesOnly(t, cfg, "globex", 0)
	as(t, source, "bell_run").refused(t, denied, `create table rowbell.mine ()`)
}

// seesOnly looks, as the worker's process does for a request, for what a tenant has.
func seesOnly(t *testing.T, cfg app.Config, tenant string, want int) {
	t.Helper()
	stateURL := cmp.Or(cfg.StateURL, cfg.SourceURL)
	pools := make(map[string]*pgxpool.Pool)
	for _, u := range []string{cfg.SourceURL, stateURL} {
		pool, err := pgxpool.New(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		pools[u] = pool
	}
	as := store.Tenant{ID: tenant, Actor: "key:1"}
	list, err := store.OpenSource(pools[cfg.SourceURL]).As(as).Workflows(t.Context(), store.WorkflowFilter{})
	if err != nil || len(list) != want || want == 1 && list[0].TenantID != tenant {
		t.Errorf("%s has the workflows %+v, %v", tenant, list, err)
	}
	feed, err := store.OpenState(pools[stateURL]).As(as).Feed(t.Context(), store.FeedCursor{}, 100)
	if err != nil || len(feed) != want || want == 1 && (feed[0].TenantID != tenant || feed[0].Table != "orders") {
		t.Errorf("%s has the executions %+v, %v", tenant, feed, err)
	}
}

// Two tenants and the operators, each with people of their own, in an installation of three
// roles and in one that a superuser has made.
func TestTenantsApart(t *testing.T) {
	t.Parallel()
	for _, made := range []string{"by roles.sql", "by a superuser"} {
		t.Run(made, func(t *testing.T) {
			t.Parallel()
			db := pgtest.DBOn(t, cluster(t))
			worker := localpg.Superuser
			if made == "by roles.sql" {
				install(t, db)
				worker = "rowbell_run"
			} else {
				if err := app.Migrate(t.Context(), config(db.URL)); err != nil {
					t.Fatal(err)
				}
				db.Exec(t, `create role rowbell_tenant nologin; grant usage on schema rowbell to rowbell_tenant;
grant select, insert, update, delete on rowbell.workflow_definition, rowbell.workflow_trigger, rowbell.workflow_action to rowbell_tenant;
grant select on all tables in schema rowbell to rowbell_tenant`)
			}
			db.Exec(t, shop)
			db.Exec(t, `create role bob login in role rowbell_tenant; create role olga login in role rowbell_tenant; create role nina login in role rowbell_tenant;
insert into rowbell.sql_member (role_name, tenant_id, access) values ('bob', 'globex', 'edit'), ('olga', '*', 'edit'), ('nina', 'acme', 'view')`)
			owner := as(t, db, "shop_owner")
			owner.do(t, `call rowbell.capture('orders')`)
			cfg := config(as(t, db, worker).URL)
			work(t, cfg, db)
			alice, bob, olga, nina := as(t, db, "alice"), as(t, db, "bob"), as(t, db, "olga"), as(t, db, "nina")
			alice.do(t, workflow("of-acme"))
			bob.do(t, strings.ReplaceAll(workflow("of-globex"), "'acme'", "'globex'"))
			olga.do(t, strings.ReplaceAll(workflow("of-operators"), "'acme'", "null"))
			owner.do(t, `insert into orders (tenant_id, total) values ('acme', 1200), ('globex', 2400), ('acme', 10)`)
			logged(t, db.URL, 4) // the operators' workflow sees both
			for who, want := range map[string]int64{"alice": 1, "bob": 1, "nina": 1, "olga": 4} {
				logged(t, as(t, db, who).URL, want)
			}
			seesOnly(t, cfg, "acme", 1)
			seesOnly(t, cfg, "globex", 1)
			seesOnly(t, cfg, "nobody", 0)
			for _, r := range []*role{alice, nina} {
				r.do(t, `do $$ begin
	perform set_config('rowbell.tenant', 'globex', false);
	if exists (select from rowbell.workflow_event where tenant_id is distinct from 'acme' or data::text like '%2400%')
		or exists (select from rowbell.row_history where workflow_id <> 'of-acme')
		or exists (select from rowbell.workflow_version where tenant_id is distinct from 'acme') then
		raise 'there are rows of others';
	end if;
end $$`)
			}
			alice.refused(t, denied, strings.ReplaceAll(workflow("mine"), "'acme'", "'globex'"))
			bob.refused(t, denied, workflow("mine"))
			nina.refused(t, denied, workflow("mine"))
			alice.refused(t, denied, `set role rowbell_api`)
			if made == "by roles.sql" {
				as(t, db, "rowbell_run").do(t, `begin; set local role rowbell_api; set local rowbell.tenant = 'acme'; update rowbell.workflow_definition set description = 'x' where id = 'of-acme'; commit`)
			}
		})
	}
}

// Who erases is the role that owns the schema, and nobody else; also where state is in
// another database.
func TestErasing(t *testing.T) {
	t.Parallel()
	for name, elsewhere := range map[string]bool{"one database": false, "state elsewhere": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := cluster(t)
			source := pgtest.DBOn(t, srv)
			state := source
			if elsewhere {
				state = pgtest.DBOn(t, srv)
			}
			both := []*pgtest.Database{source}
			if elsewhere {
				both = append(both, state)
			}
			for _, db := range both {
				db.Exec(t, deploy.Roles)
			}
			cfg := config(as(t, source, "rowbell_migrate").URL)
			if elsewhere {
				cfg.StateURL = as(t, state, "rowbell_migrate").URL
			}
			if err := app.Migrate(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			for _, db := range both {
				as(t, db, "rowbell_migrate").do(t, deploy.Grants)
			}
			source.Exec(t, shop)
			owner, alice := as(t, source, "shop_owner"), as(t, source, "alice")
			owner.do(t, `call rowbell.capture('orders')`)
			runs := config(as(t, source, "rowbell_run").URL)
			if elsewhere {
				runs.StateURL = as(t, state, "rowbell_run").URL
			}
			work(t, runs, state)
			alice.do(t, workflow("large-order"))
			owner.do(t, `insert into orders (tenant_id, total) values ('acme', 1200), ('acme', 1300)`)
			logged(t, state.URL, 2)
			state.Exec(t, `select rowbell.set_preference('ann', false, tenant => 'acme')`)
			open := func(c app.Config) *app.Operator {
				t.Helper()
				o, err := app.NewOperator(c, logger(t))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(o.Close)
				return o
			}
			quiet := func(string) {}
			run := open(runs)
			for what, err := range map[string]error{
				"erase row":     second(run.EraseRow(t.Context(), "orders", "1", nil, quiet)),
				"erase person":  second(run.ErasePerson(t.Context(), []string{"ann"}, nil, quiet)),
				"tenant delete": second(run.DeleteTenant(t.Context(), "acme", time.Minute, quiet)),
			} {
				if !errors.Is(err, store.ErrPrivilege) || !strings.Contains(err.Error(), "that is for rowbell_migrate") {
					t.Errorf("%s as rowbell_run: %v", what, err)
				}
			}
			logged(t, state.URL, 2)
			migrate := open(cfg)
			row, err := migrate.EraseRow(t.Context(), "orders", "1", nil, quiet)
			if err != nil || row.Left() != 0 {
				t.Errorf("erase row: %+v, %v", row, err)
			}
			person, err := migrate.ErasePerson(t.Context(), []string{"ann"}, nil, quiet)
			if err != nil || person.Left() != 0 {
				t.Errorf("erase person: %+v, %v", person, err)
			}
			tenant, err := migrate.DeleteTenant(t.Context(), "acme", time.Minute, quiet)
			if err != nil || tenant.Left() != 0 {
				t.Errorf("tenant delete: %+v, %v", tenant, err)
			}
			if n := pgtest.One[int](t, state, `select (select count(*) from rowbell.execution)::int + (select count(*) from rowbell.event)::int + (select count(*) from rowbell.preference)::int`); n != 0 {
				t.Errorf("%d rows are left in state", n)
			}
			if n := pgtest.One[int](t, source, `select (select count(*) from rowbell.workflow_version)::int + (select count(*) from rowbell.workflow_definition)::int`); n != 0 {
				t.Errorf("%d rows are left in the source", n)
			}
			got := source.QueryString(t, `select string_agg(concat_ws(' ', action, db_user, detail ->> 'complete'), ', ' order by at) from rowbell.audit_log where action ~ 'erase|delete'`)
			if got != "row.erase rowbell_migrate true, person.erase rowbell_migrate true, tenant.delete rowbell_migrate true" {
				t.Errorf("the audit log has %s", got)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

// An installation that one role made can be handed over to the three.
func TestHandOver(t *testing.T) {
	t.Parallel()
	db := pgtest.DBOn(t, cluster(t))
	db.Exec(t, fmt.Sprintf(`create role rowbell login replication; grant create on database %s to rowbell`, db.Name))
	if err := app.Migrate(t.Context(), config(as(t, db, "rowbell").URL)); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, deploy.Roles)
	as(t, db, localpg.Superuser).refused(t, "55000", deploy.Grants)
	db.Exec(t, `reassign owned by rowbell to rowbell_migrate;
alter publication rowbell owner to rowbell_publisher;
alter publication rowbell_insert owner to rowbell_publisher`)
	as(t, db, "rowbell_migrate").do(t, deploy.Grants)
	checkRights(t, db)
	db.Exec(t, shop)
	as(t, db, "shop_owner").do(t, `call rowbell.capture('orders')`)
}

// The schema's owner dumps all rows, if pg_dump is told that there is row-level security.
func TestDump(t *testing.T) {
	t.Parallel()
	db := pgtest.DBOn(t, cluster(t))
	install(t, db)
	db.Exec(t, shop)
	as(t, db, "alice").do(t, workflow("large-order"))
	dump := func(args ...string) (string, error) {
		args = append(args, "--schema=rowbell", "--data-only", "--inserts", "-d", as(t, db, "rowbell_migrate").URL)
		out, err := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(psqlPath(t)), "pg_dump"), args...).CombinedOutput()
		return string(out), err
	}
	if out, err := dump(); err == nil || !strings.Contains(out, "row-level security") {
		t.Errorf("a plain dump: %v\n%.500s", err, out)
	}
	if out, err := dump("--enable-row-security"); err != nil || !strings.Contains(out, "INSERT INTO rowbell.workflow_definition VALUES ('large-order', 'acme'") {
		t.Errorf("a dump with --enable-row-security: %v\n%.500s", err, out)
	}
}

// psql runs the files as README.md says, and compose.yaml sets the passwords.
func TestPsql(t *testing.T) {
	t.Parallel()
	db := pgtest.DBOn(t, cluster(t))
	psql(t, db.URL, "-f", "roles.sql")
	if err := app.Migrate(t.Context(), config(as(t, db, "rowbell_migrate").URL)); err != nil {
		t.Fatal(err)
	}
	psql(t, as(t, db, "rowbell_migrate").URL, "-f", "grants.sql")
	psql(t, as(t, db, "rowbell_migrate").URL, "-f", "grants.sql")
	checkRights(t, db)

	cmd := exec.CommandContext(t.Context(), "sh", "passwords.sh")
	u, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(psqlPath(t))+":"+os.Getenv("PATH"), "PGHOST="+u.Hostname(), "PGPORT="+u.Port(),
		"POSTGRES_USER="+u.User.Username(), "POSTGRES_DB="+db.Name, "MIGRATE_PASSWORD=it's", `RUN_PASSWORD=a\b "c"`)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("passwords.sh: %v\n%s", err, out)
	}
	if n := pgtest.One[int64](t, db, `select count(*) from pg_authid where rolname in ('rowbell_migrate', 'rowbell_run') and rolpassword is not null`); n != 2 {
		t.Errorf("%d roles have a password, want 2", n)
	}
}

func psql(t *testing.T, databaseURL string, args ...string) {
	t.Helper()
	args = append([]string{"-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", databaseURL}, args...)
	if out, err := exec.CommandContext(t.Context(), psqlPath(t), args...).CombinedOutput(); err != nil {
		t.Fatalf("psql %v: %v\n%s", args, err, out)
	}
}

// psqlPath is where psql is: in the path, or beside the server.
func psqlPath(t *testing.T) string {
	t.Helper()
	if beside, err := filepath.Glob("/usr/lib/postgresql/*/bin/psql"); err == nil && len(beside) > 0 {
		return beside[len(beside)-1]
	}
	return need(t, "psql", "postgresql-client")
}
