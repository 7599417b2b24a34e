package store_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/rowbell/rowbell/migrations"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
)

// Of everything that tenants have each row names its tenant somewhere, and each that is
// the operators' says so. operators' ones that all may use say that they are shared.
var owners = []string{"acme", "globex", "operators"}

// Where a row has no text it has the number of its tenant's workflow version, which is this
// for the first of them.
const firstVersion = 71101

// own and others are what is found in the text of rows of acme, and of all others.
var (
	own    = fmt.Sprintf("acme|,%d,", firstVersion)
	others = fmt.Sprintf("globex|operators|,%d,|,%d,", firstVersion+1, firstVersion+2)
)

// defineSQL writes the definitions of a tenant, whose name is $T; null for operators.
const defineSQL = `begin;
insert into rowbell.workflow_definition (id, tenant_id, name, status, draft) values ('wf-$T', $N, 'Of $T', 'active', '{"name": "Draft of $T"}');
insert into rowbell.workflow_trigger (id, workflow_id, entity_type, operation) values ('t-$T', 'wf-$T', 'orders', 'create');
insert into rowbell.workflow_condition (workflow_id, condition_type, condition_config) values ('wf-$T', 'expression', '{"expression": "new.total > 1"}');
insert into rowbell.workflow_action (id, workflow_id, action_type, action_config) values ('a-$T', 'wf-$T', 'webhook', '{"url": "https://$T.example.com", "secret": "whsec_$T"}');
insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ('wf-$T', 'user', 'ann');
insert into rowbell.template (tenant_id, name, source) values ($N, case when $N is null then 'shared' else 'footer' end, case when $N is null then 'shared' else 'Yours, $T' end);
insert into rowbell.secret (tenant_id, name, plain) values ($N, 'token-$T', 'secret of $T');
insert into rowbell.workflow_health (workflow_id, version, tenant_id, verdict, message) values ('wf-$T', 1, $N, 'ok', '$T');
insert into rowbell.audit_log (tenant_id, action, object_type, object_id) values ($N, 'workflow.create', 'workflow', 'wf-$T');
insert into rowbell.function (name, tenant_id, function, created_by) values (case when $N is null then 'shared' else '$T' end, $N, 'app.credit', 'shared');
insert into rowbell.pause (tenant_id, reason) select $N, '$T' where $N is not null;
insert into rowbell.pause (workflow_id, reason) values ('wf-$T', 'of a workflow of $T');
insert into rowbell.api_key (id, tenant_id, name, hash, roles) values (rowbell.gen_ulid(), $N, 'key of $T', sha256('$T'), '{viewer}');
insert into rowbell.link_key (id, tenant_id, name, public_key, roles) values (rowbell.gen_ulid(), $N, 'link of $T', '$T', '{viewer}');
insert into rowbell.member (id, tenant_id, issuer, subject, name, roles) values (rowbell.gen_ulid(), $N, 'https://login.example.com', 'ann', 'Ann of $T', '{viewer}');
insert into rowbell.sql_member (role_name, tenant_id) select 'somebody-$T', $N where $N is not null;
commit`

// recordSQL writes what comes of a workflow: version number $V.
const recordSQL = `begin;
insert into rowbell.surrogate (ref, kind, id, version, tenant_id, name, stream, commit_lsn) values ($V, 'workflow', 'wf-$T', 1, $N, 'Of $T', 1, '0/1');
insert into rowbell.applied (slot, kind, id, version, surrogate) values ('rowbell', 'workflow', 'wf-$T', 1, $V);
create temporary table x on commit drop as
select n, '$T' || lpad(n::text, 26 - length('$T'), '0') as event, '$T' || lpad(n::text, 26 - length('$T'), '0') || '-$V' as id,
	case n when 6 then now() - interval '400 days' else now() end as at from generate_series(1, 6) n;
insert into rowbell.event (committed_at, commit_lsn, stream, seq, table_ref, side, op, event_id, tenant_id, row_key, data)
select at, '0/1'::pg_lsn + n, 1, 0, 1, 0, 'c', event, $N, '42', '{"new": {"note": "$T"}}' from x;
insert into rowbell.execution (id, committed_at, executed_at, settled_at, version_ref, priority, status, error, action, kind, attempts, recipient, duration_ms)
select id, at, at, at, $V, 100, 'failure', 'refused by $T', case when n <> 2 then 0 end, case when n <> 2 then 'webhook' end, case when n <> 2 then 1 end, 'ann', 5 from x where n in (1, 2, 6);
insert into rowbell.delivery_ended (execution_id, committed_at, ended_at, version_ref, "order", action, attempts, kind, status, reason, recipient, duration_ms)
select id, at, at, $V, 0, 0, 1, 'email', 'dead', 'bounced by $T', r, 5 from x, unnest('{ann,bob}'::text[]) r where n = 2;
insert into rowbell.attempt (execution_id, committed_at, started_at, duration_ms, action, attempt, error) select id, at, at, 1, 0, 1, 'slow $T' from x where n in (1, 3);
insert into rowbell.queue (execution_id, committed_at, executed_at, ready_at, version_ref, priority, "order", action, kind, sole, addressed, error, big_lsn, big_stream)
select id, at, at, now() + interval '1 day', $V, 100, 0, 0, 'webhook', n <> 4, true, 'busy $T', case n when 5 then '0/5'::pg_lsn end, case n when 5 then -$V end from x where n in (3, 4, 5);
insert into rowbell.execution_open (id, committed_at, executed_at, version_ref, priority, open, error) select id, at, at, $V, 100, 2, 'open $T' from x where n = 4;
insert into rowbell.big_transaction (stream, commit_lsn, committed_at, status, decided_by) values (-$V, '0/5', now(), 'held', '$T');
insert into rowbell.failure_count (slot, workflow_id, hour, recorded, counted) values ('rowbell', 'wf-$T', now(), 1, 1);
insert into rowbell.fired (workflow_id, table_label, row_key, committed_at, execution_id) select 'wf-$T', 'orders', '42', at, id from x where n = 1;
insert into rowbell.notification (id, tenant_id, recipient_id, delivery_id, title) select '$T', $N, 'ann', id || '_0', 'For $T' from x where n = 1;
insert into rowbell.preference (tenant_id, recipient_id, wanted, updated_by) values (coalesce($N, ''), 'ann', false, '$T');
insert into rowbell.quiet_hours (tenant_id, recipient_id, starts, ends, updated_by) values (coalesce($N, ''), 'ann', '22:00', '07:00', '$T');
insert into rowbell.destination (lane, tenant_id, kind, destination) values ($V, $N, 'webhook', 'https://$T.example.com');
insert into rowbell.tenant_statistic (tenant_id, hour, success, failure, cancelled, steps, counts) values (coalesce($N, ''), date_trunc('hour', now()), 0, 3, 0, '{5}', '{3}');
insert into rowbell.workflow_statistic (version_ref, hour, success, failure, cancelled, steps, counts) values ($V, date_trunc('hour', now()), 0, 3, 0, '{5}', '{3}');
insert into rowbell.dismissal (id, tenant_id, workflow_id, cause, note, dismissed_by) values (md5('$T'), coalesce($N, ''), 'wf-$T', 'refused by $T', 'of $T', 'ann');
insert into rowbell.saved_view (id, tenant_id, owner, name, shared, filter) values ('view-$T', coalesce($N, ''), 'ann', 'Failed', true, '{"status": "failure", "workflow_id": "wf-$T"}');
insert into rowbell.tenant_weight (tenant_id, weight) select coalesce($N, ''), 2 where $N is not null;
insert into rowbell.alert (key, kind, tenant_id, workflow_id, subject, at) values ('k-$T', 'failing', $N, 'wf-$T', '$T fails', now());
insert into rowbell.alert_watch (workflow_id, since, told_to) values ('wf-$T', now(), now());
with r as (insert into rowbell.replay (rate, total, current, filter, created_by) values (1, 1, false, jsonb_build_object('tenant', coalesce($N, '')), '$T') returning id)
insert into rowbell.replay_item (replay, id, committed_at, version_ref, priority) select r.id, x.id, at, $V, 100 from r, x where n = 1;
commit`

// tenants gives a database that has something of everybody in every table.
func tenants(t *testing.T) *pgtest.Database {
	t.Helper()
	db := migrated(t)
	fillTenants(t, db, defineSQL, recordSQL)
	return db
}

func fillTenants(t *testing.T, db *pgtest.Database, scripts ...string) {
	t.Helper()
	if slices.Contains(scripts, defineSQL) {
		db.Exec(t, `insert into rowbell.captured_table (schema_name, table_name, version, label, from_xid) values ('public', 'orders', 1, 'orders', '1')`)
	}
	if slices.Contains(scripts, recordSQL) {
		db.Exec(t, `insert into rowbell.surrogate (ref, kind, id, version, name) values (1, 'table', 'orders', 1, 'orders');
insert into rowbell.applied (slot, kind, id, version, surrogate) values ('rowbell', 'table', 'orders', 1, 1)`)
	}
	for i, who := range owners {
		tenant := "'" + who + "'"
		if who == "operators" {
			tenant = "null::text"
		}
		for _, sql := range scripts {
			db.Exec(t, strings.NewReplacer("$T", who, "$N", tenant, "$V", fmt.Sprint(firstVersion+i)).Replace(sql))
		}
	}
}

// relations are all tables, partitions and views of the schema.
func relations(t *testing.T, db *pgtest.Database) []string {
	t.Helper()
	return pgtest.Query[string](t, db, `select relname::text from pg_class where relnamespace = 'rowbell'::regnamespace and relkind in ('r', 'p', 'v') order by 1`)
}

var aPartition = regexp.MustCompile(`^(event|execution|delivery_ended|attempt)_(default|\d{8})$`)

// walk reads every relation in a session that was given all rights on all of them, and says
// which of them shows another's row, or not all of the tenant's own. Of partitions nothing
// is to be seen, since they are read through their tables.
func walk(t *testing.T, db *pgtest.Database, conn *pgx.Conn, begin string) (problems []string, seen map[string]int64) {
	t.Helper()
	ctx := t.Context()
	seen = make(map[string]int64)
	for _, rel := range relations(t, db) {
		want := pgtest.One[int64](t, db, fmt.Sprintf(`select count(*) from rowbell.%s r where r::text ~ '%s'`, pgx.Identifier{rel}.Sanitize(), own))
		tx, err := conn.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(ctx, begin); err != nil {
			t.Fatal(err)
		}
		var mine, notMine int64
		err = tx.QueryRow(ctx, fmt.Sprintf(`select count(*) filter (where r::text ~ '%s'), count(*) filter (where r::text ~ '%s') from rowbell.%s r`,
			own, others, pgx.Identifier{rel}.Sanitize())).Scan(&mine, &notMine)
		_ = tx.Rollback(ctx) // nothing was written
		if err != nil {
			t.Fatalf("rowbell.%s: %v", rel, err)
		}
		if aPartition.MatchString(rel) {
			want = 0
		}
		if notMine > 0 {
			problems = append(problems, fmt.Sprintf("rowbell.%s shows %d rows of others", rel, notMine))
		}
		if mine != want {
			problems = append(problems, fmt.Sprintf("rowbell.%s shows %d of the tenant's %d rows", rel, mine, want))
		}
		seen[rel] = mine
	}
	return problems, seen
}

// pretend is what somebody may set who hopes to be another.
const pretend = `select set_config('rowbell.' || s, 'globex', true) from unnest('{tenant,tenants,actor,role,api,member,sees_all,all,result,recording}'::text[]) s`

// member makes a role with access to a tenant's rows, and all rights that can be granted.
func member(t *testing.T, db *pgtest.Database, tenant, access string) (role string, conn *pgx.Conn) {
	t.Helper()
	role, roleURL := db.Role(t, "alice", "")
	db.Exec(t, fmt.Sprintf(`grant usage on schema rowbell to %[1]s; grant all on all tables in schema rowbell to %[1]s`, role))
	if tenant != "" {
		db.Exec(t, `insert into rowbell.sql_member (role_name, tenant_id, access) values ($1, $2, $3)`, role, tenant, access)
	}
	return role, pgtest.Connect(t, roleURL)
}

// asAPI is how a transaction of the API begins that says it works for acme.
const asAPI = `select set_config('role', 'rowbell_api', true), set_config('rowbell.tenant', 'acme', true)`

// Whoever has all rights on all tables still sees one tenant's rows only, by SQL and
// through the API's role.
func TestTenantsSeeTheirOwn(t *testing.T) {
	t.Parallel()
	db := tenants(t)
	db.Exec(t, `grant all on all tables in schema rowbell to rowbell_api`)
	_, alice := member(t, db, "acme", "view")
	for who, begin := range map[string]string{"a member": pretend, "the API": asAPI} {
		conn := alice
		if who == "the API" {
			conn = db.Conn(t)
		}
		problems, seen := walk(t, db, conn, begin)
		for _, p := range problems {
			t.Errorf("%s: %s", who, p)
		}
		// Nothing of this is there for nobody.
		for _, rel := range relations(t, db) {
			if seen[rel] == 0 && noTenants[rel] == "" && !aPartition.MatchString(rel) {
				t.Errorf("%s sees nothing in rowbell.%s, so that it is not tried", who, rel)
			}
		}
	}
	t.Run("nobody's", func(t *testing.T) {
		_, conn := member(t, db, "", "")
		for _, rel := range relations(t, db) {
			var n int64
			if err := conn.QueryRow(t.Context(), fmt.Sprintf(`select count(*) from rowbell.%s r where r::text ~ 'acme|globex|operators'`, pgx.Identifier{rel}.Sanitize())).Scan(&n); err != nil || n > 0 {
				t.Errorf("rowbell.%s shows %d rows to who has no tenant, %v", rel, n, err)
			}
		}
	})
	t.Run("all", func(t *testing.T) {
		_, conn := member(t, db, "*", "view")
		api := db.Conn(t)
		if _, err := api.Exec(t.Context(), `set rowbell.tenant = '*'; set role rowbell_api`); err != nil {
			t.Fatal(err)
		}
		for _, rel := range relations(t, db) {
			if aPartition.MatchString(rel) {
				continue
			}
			sql := fmt.Sprintf(`select count(*) from rowbell.%s`, pgx.Identifier{rel}.Sanitize())
			want := pgtest.One[int64](t, db, sql)
			for who, conn := range map[string]*pgx.Conn{"a member of all tenants": conn, "the API for all": api} {
				var n int64
				if err := conn.QueryRow(t.Context(), sql).Scan(&n); err != nil || n != want {
					t.Errorf("rowbell.%s shows %d of %d rows to %s, %v", rel, n, want, who, err)
				}
			}
		}
		if _, err := conn.Exec(t.Context(), `update rowbell.workflow_definition set name = 'mine'`); !denied(err) {
			t.Errorf("who may look at all edits: %v", err)
		}
	})
	t.Run("the API without a tenant", func(t *testing.T) {
		conn := db.Conn(t)
		for _, tenant := range []string{"", "nobody"} {
			problems, seen := walk(t, db, conn, strings.ReplaceAll(asAPI, "acme", tenant))
			for _, p := range problems {
				if strings.Contains(p, "of others") {
					t.Errorf("%q: %s", tenant, p)
				}
			}
			for rel, n := range seen {
				if n > 0 {
					t.Errorf("%q: rowbell.%s shows %d rows", tenant, rel, n)
				}
			}
		}
	})
}

// With state in a database of its own the API sees one tenant there as well, and nobody else
// sees anything.
func TestTenantsInStateAlone(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	fillTenants(t, db, recordSQL)
	db.Exec(t, `grant all on all tables in schema rowbell to rowbell_api`)
	problems, seen := walk(t, db, db.Conn(t), asAPI)
	for _, p := range problems {
		t.Error(p)
	}
	if seen["workflow_log"] == 0 || seen["queue"] == 0 {
		t.Errorf("nothing was tried: %v", seen)
	}
	_, alice := member(t, db, "", "")
	for _, rel := range relations(t, db) {
		var n int64
		if err := alice.QueryRow(t.Context(), fmt.Sprintf(`select count(*) from rowbell.%s r where r::text ~ 'acme|globex|operators'`, pgx.Identifier{rel}.Sanitize())).Scan(&n); err != nil || n > 0 {
			t.Errorf("rowbell.%s shows %d rows, %v", rel, n, err)
		}
	}
	if list, err := state.As(store.Tenant{ID: "acme"}).Feed(t.Context(), store.FeedCursor{}, 100); err != nil || len(list) != 6 {
		t.Errorf("%d executions, %v", len(list), err)
	}
}

// The walk finds what it is for.
func TestTheWalkFindsHoles(t *testing.T) {
	t.Parallel()
	db := tenants(t)
	_, alice := member(t, db, "acme", "edit")
	for name, tc := range map[string]struct{ sql, want string }{
		"no row-level security": {`alter table rowbell.notification disable row level security`, "rowbell.notification shows 2 rows of others"},
		"no policies":           {`drop policy seen on rowbell.queue; drop policy everything on rowbell.queue`, "rowbell.queue shows 0 of the tenant's 3 rows"},
		"another policy":        {`create policy mine on rowbell.destination using (true)`, "rowbell.destination shows 2 rows of others"},
		"a policy that was changed": {
			`alter policy seen on rowbell.template using (true); alter policy seen on rowbell.secret using (tenant_id is not null)`, "rowbell.secret shows 2 rows of others",
		},
		"a partition": {
			`do $$ begin execute format('alter table rowbell.event_%s disable row level security', to_char(now() at time zone 'UTC', 'YYYYMMDD')); end $$`, "rows of others",
		},
	} {
		db.Exec(t, tc.sql)
		if problems, _ := walk(t, db, alice, pretend); !strings.Contains(strings.Join(problems, "\n"), tc.want) {
			t.Errorf("%s: the walk has found %q", name, problems)
		}
		// It mends what was dropped or changed; what others have added it doesn't know.
		db.Exec(t, `drop policy if exists mine on rowbell.destination; select rowbell.apply_policies()`)
		if problems, _ := walk(t, db, alice, pretend); len(problems) > 0 {
			t.Errorf("%s: after apply_policies the walk has found %q", name, problems)
		}
	}
	if n := pgtest.One[int64](t, db, `select rowbell.apply_policies()`); n != 0 {
		t.Errorf("the policies of %d tables were made again, with nothing to mend", n)
	}
}

// A function that tells on what it is given gets no row of others, however cheap it says it is.
func TestFunctionsOfMembersSeeTheirOwn(t *testing.T) {
	t.Parallel()
	db := tenants(t)
	_, alice := member(t, db, "acme", "edit")
	if _, err := alice.Exec(t.Context(), `create function pg_temp.tell(text) returns boolean language plpgsql cost 0.0000001 as
		'begin if $1 ~ ''globex|operators'' then raise exception ''told: %'', $1; end if; return true; end'`); err != nil {
		t.Fatal(err)
	}
	told := func() (list []string) {
		for _, rel := range relations(t, db) {
			name := pgx.Identifier{rel}.Sanitize()
			for _, sql := range []string{`select count(*) from rowbell.%s r where pg_temp.tell(r::text)`, `delete from rowbell.%s r where pg_temp.tell(r::text) and false`} {
				if _, err := alice.Exec(t.Context(), fmt.Sprintf(sql, name)); err != nil && strings.Contains(err.Error(), "told: ") {
					list = append(list, rel)
				}
			}
		}
		for _, column := range []string{"workflow_log.error", "workflow_event.row_key || data::text", "delivery.error", "delivery_done.reason", "row_history.data::text", "endpoint.destination"} {
			view, _, _ := strings.Cut(column, ".")
			if _, err := alice.Exec(t.Context(), fmt.Sprintf(`select count(*) from rowbell.%s where pg_temp.tell(%s)`, view, column)); err != nil && strings.Contains(err.Error(), "told: ") {
				list = append(list, column)
			}
		}
		return list
	}
	if list := told(); len(list) > 0 {
		t.Errorf("rows of others were told of %q", list)
	}
	db.Exec(t, `alter view rowbell.endpoint reset (security_barrier)`)
	if list := told(); !slices.Contains(list, "endpoint.destination") {
		t.Errorf("without security_barrier rows were told of %q: the test finds nothing", list)
	}
}

// noTenants are tables without row-level security, and why: they hold nothing of a tenant's.
var noTenants = map[string]string{
	"migration_source": "which migrations were applied",
	"migration_state":  "which migrations were applied",
	"setting":          "settings of the installation",
	"captured_table":   "the catalogue: what tables there are, for all who write workflows",
	"installation":     "which source the state belongs to",
	"checkpoint":       "how far the stream was read",
	"holder":           "which worker reads it",
	"stream_gap":       "which WAL was lost",
	"executor":         "which workers deliver",
	"alert_sweep":      "when failures were last looked at",
	"statistic_hour":   "which hours were counted",
	"api_request":      "answers to repeated requests, kept by whoever sent them; nobody but the worker has rights on it",
}

// A table that is new either has row-level security or stands above with the reason.
func TestEveryTableOfTenantsHasPolicies(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	type table struct {
		Name           string
		Forced, Tenant bool
		Policies       int64
	}
	for _, r := range pgtest.Structs[table](t, db, `select c.relname::text as name, c.relrowsecurity and c.relforcerowsecurity as forced,
	exists (select from pg_attribute a where a.attrelid = c.oid and a.attname in ('tenant_id', 'workflow_id', 'version_ref', 'execution_id') and not a.attisdropped) as tenant,
	(select count(*) from pg_policy p where p.polrelid = c.oid) as policies
from pg_class c where c.relnamespace = 'rowbell'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition`) {
		switch reason := noTenants[r.Name]; {
		case reason == "" && (!r.Forced || r.Policies != 5):
			t.Errorf("rowbell.%s is without row-level security: let rowbell.row_rule say whose its rows are, or say in noTenants why it needs none", r.Name)
		case reason != "" && r.Forced:
			t.Errorf("rowbell.%s has row-level security, and noTenants says it needs none", r.Name)
		case reason != "" && r.Tenant:
			t.Errorf("rowbell.%s has a column that names a tenant, and noTenants says it needs no row-level security", r.Name)
		}
	}
	if n := pgtest.One[int64](t, db, `select count(*) from pg_class where relnamespace = 'rowbell'::regnamespace and relispartition and relkind = 'r' and not relrowsecurity`); n > 0 {
		t.Errorf("%d partitions are without row-level security", n)
	}
	// Whatever view shows rows of tenants can't be asked by functions that tell on them.
	open := pgtest.Query[string](t, db, `select relname::text from pg_class where relnamespace = 'rowbell'::regnamespace and relkind = 'v'
and not coalesce('security_barrier=true' = any (reloptions), false)`)
	if len(open) > 0 {
		t.Errorf("views without security_barrier: %v", open)
	}
}

// Workers that start at once all look after the rights of rowbell_api and of publications:
// they are given where they lack, one at a time, and the catalog is left alone otherwise.
func TestGrantsAreMadeOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	if err := store.Migrate(t.Context(), db.URL, db.URL); err != nil {
		t.Fatal(err)
	}
	written := func() string {
		return db.QueryString(t, `select concat_ws(' ', n.xmin, c.xmin, d.xmin) from pg_namespace n, pg_class c, pg_description d
			where n.nspname = 'rowbell' and c.oid = 'rowbell.queue'::regclass and d.objoid = 'rowbell.grant_api()'::regprocedure`)
	}
	db.Exec(t, `select rowbell.apply_policies()`)
	before := written()
	db.Exec(t, `select rowbell.apply_policies()`)
	if after := written(); after != before {
		t.Errorf("with nothing to grant the catalog was written: %s, before %s", after, before)
	}
	for range 20 {
		db.Exec(t, `revoke all on schema rowbell from rowbell_api; revoke all on rowbell.queue from rowbell_api; drop publication if exists p, p_insert`)
		var all errgroup.Group
		for _, sql := range []string{`select rowbell.apply_policies()`, `select rowbell.ensure_publications('p')`, `select rowbell.apply_policies()`, `select rowbell.ensure_publications('p')`} {
			all.Go(func() error {
				conn, err := pgx.Connect(t.Context(), db.URL)
				if err != nil {
					return err
				}
				defer conn.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // nothing is pending
				_, err = conn.Exec(t.Context(), sql)
				return err
			})
		}
		if err := all.Wait(); err != nil {
			t.Fatal(err)
		}
		if got := db.QueryString(t, `select concat_ws(' ', has_schema_privilege('rowbell_api', 'rowbell', 'usage'), has_table_privilege('rowbell_api', 'rowbell.queue', 'select'),
			has_table_privilege('rowbell_api', 'rowbell.queue', 'delete'))`); got != "t t f" {
			t.Fatalf("rowbell_api may use the schema, read the queue, delete from it: %s", got)
		}
	}
}

// What both databases need is the same in both.
func TestIsolationIsTheSameInBoth(t *testing.T) {
	t.Parallel()
	part := func(text string) string {
		_, text, _ = strings.Cut(text, "-- The following is word for word")
		text, _, ok := strings.Cut(text, "-- End of what is in both.")
		if !ok {
			t.Error("the migration has no such part")
		}
		return text
	}
	source, err := fs.ReadFile(migrations.Source, "00014_isolation.sql")
	if err != nil {
		t.Fatal(err)
	}
	state, err := fs.ReadFile(migrations.State, "00011_isolation.sql")
	if err != nil {
		t.Fatal(err)
	}
	if part(string(source)) != part(string(state)) {
		t.Error("source/00014_isolation.sql and state/00011_isolation.sql differ in what both must have")
	}
}

// At an upgrade the worker's role goes on seeing all, whatever it is called.
func TestWorkersSeeAllAfterUpgrade(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	worker, _ := db.Role(t, "worker", "")
	reader, _ := db.Role(t, "reader", "")
	db.Exec(t, fmt.Sprintf(`grant select, insert, update, delete on rowbell.workflow_health to %s; grant select on rowbell.workflow_health to %s, public`, worker, reader))
	text, err := fs.ReadFile(migrations.Source, "00014_isolation.sql")
	if err != nil {
		t.Fatal(err)
	}
	_, statement, _ := strings.Cut(string(text), "insert into rowbell.sql_member (role_name, tenant_id)\nselect distinct")
	statement, _, ok := strings.Cut(statement, ";")
	if !ok {
		t.Fatal("the migration has no such statement")
	}
	db.Exec(t, "insert into rowbell.sql_member (role_name, tenant_id) select distinct"+statement)
	if got := pgtest.Query[string](t, db, `select concat_ws(' ', role_name, tenant_id, access) from rowbell.sql_member`); !slices.Equal(got, []string{worker + " * edit"}) {
		t.Errorf("the members are %q", got)
	}
}

func denied(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "42501"
}

// What an SQL member may edit, and what it is told otherwise.
func TestMembersEditTheirOwn(t *testing.T) {
	t.Parallel()
	db := tenants(t)
	ctx := t.Context()
	_, alice := member(t, db, "acme", "edit")
	_, bob := member(t, db, "acme", "view")
	for _, sql := range []string{
		`update rowbell.workflow_definition set description = 'x', draft = null where id = 'wf-acme'`,
		`insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('wf-acme', 'orders', 'update')`,
		`insert into rowbell.workflow_definition (id, tenant_id) values ('mine', 'acme')`,
		`insert into rowbell.workflow_action (id, workflow_id, action_type, action_config) values ('mine', 'mine', 'webhook', '{"password": "secret"}')`,
		`update rowbell.workflow_trigger set workflow_id = 'mine' where id = 't-acme'`,
		`insert into rowbell.template (tenant_id, name, source) values ('acme', 'head', 'Hello')`,
		`insert into rowbell.secret (tenant_id, name, plain) values ('acme', 'mine', 'x')`,
		`delete from rowbell.workflow_definition where id = 'mine'`,
	} {
		if tag, err := alice.Exec(ctx, sql); err != nil || tag.RowsAffected() != 1 {
			t.Errorf("%s: %v, %v", sql, tag, err)
		}
		if _, err := bob.Exec(ctx, sql); !denied(err) || !strings.Contains(err.Error(), "their access is view") {
			t.Errorf("%s, by who may only look: %v", sql, err)
		}
	}
	for sql, want := range map[string]string{
		`insert into rowbell.workflow_definition (id, tenant_id) values ('other', 'globex')`:                                                                                                                     "may not write rows of tenant globex",
		`insert into rowbell.workflow_definition (id) values ('other')`:                                                                                                                                          "may not write rows without tenant_id, which are the operators'",
		`insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('wf-globex', 'orders', 'update')`:                                                                                    "there is no workflow wf-globex that",
		`insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('nothing', 'orders', 'update')`:                                                                                      "there is no workflow nothing that",
		`insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('wf-operators', 'orders', 'update')`:                                                                                 "there is no workflow wf-operators that",
		`update rowbell.workflow_action set workflow_id = 'wf-globex' where id = 'a-acme'`:                                                                                                                       "there is no workflow wf-globex that",
		`insert into rowbell.workflow_condition (workflow_id, condition_type) values ('wf-globex', 'expression')`:                                                                                                "there is no workflow wf-globex that",
		`insert into rowbell.workflow_action (workflow_id, action_type) values ('wf-globex', 'log')`:                                                                                                             "there is no workflow wf-globex that",
		`insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ('wf-globex', 'user', 'alice')`:                                                                               "there is no workflow wf-globex that",
		`insert into rowbell.template (tenant_id, name, source) values ('globex', 'head', 'x')`:                                                                                                                  "may not write rows of tenant globex",
		`insert into rowbell.secret (tenant_id, name, plain) values ('globex', 'mine', 'x')`:                                                                                                                     "may not write rows of tenant globex",
		`insert into rowbell.workflow_version (workflow_id, version, tenant_id, status, created_by) values ('x', 1, 'globex', 'deleted', 'x')`:                                                                   "row-level security",
		`insert into rowbell.queue (committed_at, executed_at, version_ref, priority, "order", action, sole, addressed, execution_id, kind) values (now(), now(), 71102, 1, 0, 0, true, true, 'x-71102', 'log')`: "row-level security",
		`insert into rowbell.sql_member (role_name, tenant_id) values ('alice', 'globex')`:                                                                                                                       "row-level security",
		// An id that is taken is refused as it is to its owner, without saying whose it is.
		`insert into rowbell.workflow_trigger as t (id, workflow_id, entity_type, operation) values ('t-globex', 'wf-acme', 'orders', 'update') on conflict (id) do update set priority = 1`: "row-level security",
	} {
		_, err := alice.Exec(ctx, sql)
		if !denied(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", sql, err, want)
		}
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Detail != "" {
			t.Errorf("%s says more than it should: %s", sql, pg.Detail)
		}
	}
	if _, err := alice.Exec(ctx, `insert into rowbell.workflow_definition (id, tenant_id) values ('wf-globex', 'acme')`); err == nil || strings.Contains(err.Error(), "globex)") {
		t.Errorf("another tenant's id: %v", err)
	}
	for _, sql := range []string{
		`update rowbell.workflow_definition set status = 'inactive' where id in ('wf-globex', 'wf-operators')`,
		`delete from rowbell.workflow_action where workflow_id in ('wf-globex', 'wf-operators')`,
		`update rowbell.template set source = 'x' where tenant_id is distinct from 'acme'`,
		`delete from rowbell.workflow_recipient where workflow_id = 'wf-globex'`,
	} {
		if tag, err := alice.Exec(ctx, sql); err != nil || tag.RowsAffected() != 0 {
			t.Errorf("%s: %v, %v", sql, tag, err)
		}
	}
	// Access that is taken away is gone with the next statement.
	db.Exec(t, `delete from rowbell.sql_member where tenant_id = 'acme'`)
	if _, err := alice.Exec(ctx, `update rowbell.workflow_definition set name = 'x'`); !denied(err) || !strings.Contains(err.Error(), "no tenant is theirs") {
		t.Errorf("after the row in sql_member is gone: %v", err)
	}
}

// Functions with the rights of their owner ask who has called them.
func TestFunctionsAskWhoCalls(t *testing.T) {
	t.Parallel()
	db := tenants(t)
	ctx := t.Context()
	calls := map[string]bool{ // whether it changes something
		`select rowbell.preferences('ann', $1)`:                               false,
		`select rowbell.quiet_hours_of('ann', $1)`:                            false,
		`select rowbell.inbox('ann', tenant => $1)`:                           false,
		`select rowbell.inbox_count('ann', $1)`:                               false,
		`select rowbell.set_preference('ann', false, tenant => $1)`:           true,
		`select rowbell.set_quiet_hours('ann', '1:00', '2:00', tenant => $1)`: true,
		`select rowbell.clear_quiet_hours('ann', $1)`:                         true,
		`select rowbell.inbox_mark('ann', null, 'seen', $1)`:                  true,
		`select rowbell.emit('order.paid', '{}', $1)`:                         true,
	}
	grants := `grant usage on schema rowbell to %[1]s; grant execute on all functions in schema rowbell to %[1]s`
	alice, asAlice := member(t, db, "acme", "edit")
	bob, asBob := member(t, db, "acme", "view")
	gone, asGone := member(t, db, "", "")
	app, appURL := db.Role(t, "app", "")
	for _, role := range []string{alice, bob, gone, app, "rowbell_api"} {
		db.Exec(t, fmt.Sprintf(grants, role))
	}
	asApp, api := pgtest.Connect(t, appURL), db.Conn(t)
	// call calls a function, the API in a transaction of its own.
	call := func(who *pgx.Conn, sql string, args ...any) error {
		return pgx.BeginFunc(ctx, who, func(tx pgx.Tx) error {
			if who == api {
				if _, err := tx.Exec(ctx, asAPI); err != nil {
					return err
				}
			}
			_, err := tx.Exec(ctx, sql, args...)
			return err
		})
	}
	for sql, changes := range calls {
		for _, tenant := range []*string{new("acme"), new("globex"), new(""), nil} {
			mine := tenant != nil && *tenant == "acme"
			for who, may := range map[*pgx.Conn]bool{asAlice: mine, asBob: mine && !changes, asGone: false, asApp: true, api: mine} {
				if err := call(who, sql, tenant); may && err != nil || !may && !denied(err) {
					t.Errorf("%s of %v by %s: %v, want it to be done: %v", sql, tenant, who.Config().User, err, may)
				}
			}
		}
	}
	// Who acts for a tenant is no operator, whoever owns the schema.
	if err := call(api, `select rowbell.register_function('x', 'pg_catalog.now()')`); !denied(err) {
		t.Errorf("register_function by the API: %v", err)
	}
}
