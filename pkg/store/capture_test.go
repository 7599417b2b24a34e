package store_test

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// published gives a migrated database with the publications, and a Source on it.
func published(t *testing.T) (*pgtest.Database, *store.Source) {
	t.Helper()
	db := sourceDB(t)
	s := store.OpenSource(db.Pool(t))
	if err := s.EnsurePublications(t.Context(), "rowbell"); err != nil {
		t.Fatal(err)
	}
	return db, s
}

// captured lists captured_table, one line a row.
func captured(t *testing.T, db *pgtest.Database) string {
	t.Helper()
	return strings.Join(pgtest.Query[string](t, db, `select format('%s.%s %s %s tenant=%s key=%s hidden=%s redacted=%s%s%s', schema_name, table_name, version, label,
		tenant_column, key_columns, hidden, redacted, case when insert_only then ' insert_only' end, case when released then ' released' end)
		from rowbell.captured_table order by schema_name, table_name, version`), "\n")
}

// inPublications lists application tables as publication:table.
func inPublications(t *testing.T, db *pgtest.Database) string {
	t.Helper()
	return strings.Join(pgtest.Query[string](t, db, `select pubname || ':' || schemaname || '.' || tablename from pg_publication_tables
		where schemaname <> 'rowbell' order by 1`), " ")
}

func tryExec(t *testing.T, url, sql string) error {
	t.Helper()
	_, err := pgtest.Connect(t, url).Exec(t.Context(), sql)
	return err
}

func TestEnsurePublications(t *testing.T) {
	t.Parallel()
	db, s := published(t)
	look := func() string {
		return strings.Join(pgtest.Query[string](t, db, `select format('%s %s%s%s%s%s', pubname, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot)
			from pg_publication order by 1`), ", ")
	}
	const want = "rowbell ttttt, rowbell_insert tffft"
	if got := look(); got != want {
		t.Errorf("publications: %s, want %s", got, want)
	}
	if owner := db.QueryString(t, "select pg_get_userbyid(pubowner)::text from pg_publication where pubname = 'rowbell'"); owner != "rowbell_publisher" {
		t.Errorf("owner %s, want rowbell_publisher", owner)
	}
	p, err := s.PublicationState(t.Context(), "rowbell")
	if err != nil || !p.Exists || !p.InsertExists || !p.Complete || !p.Member || p.Owner != "rowbell_publisher" || len(p.Tables) != 0 {
		t.Errorf("PublicationState = %+v, %v", p, err)
	}
	// Damage, and mend.
	db.Exec(t, "alter publication rowbell set (publish = 'insert'); alter publication rowbell_insert drop table rowbell.workflow_version")
	if p, err := s.PublicationState(t.Context(), "rowbell"); err != nil || p.Complete {
		t.Errorf("PublicationState after damage = %+v, %v; want it incomplete", p, err)
	}
	if err := s.EnsurePublications(t.Context(), "rowbell"); err != nil {
		t.Fatal(err)
	}
	if p, err := s.PublicationState(t.Context(), "rowbell"); err != nil || !p.Complete || look() != want {
		t.Errorf("PublicationState after mending = %+v, %v; %s", p, err, look())
	}
	db.Exec(t, "drop publication rowbell")
	if p, err := s.PublicationState(t.Context(), "rowbell"); err != nil || p.Exists || !p.InsertExists || p.Complete {
		t.Errorf("PublicationState after DROP = %+v, %v", p, err)
	}
	// Another name, one with quotes to mind, is noted for SQL callers.
	if err := s.EnsurePublications(t.Context(), `My "Pub"`); err != nil {
		t.Fatal(err)
	}
	if got := db.QueryString(t, "select publication from rowbell.setting"); got != `My "Pub"` {
		t.Errorf("setting.publication = %s", got)
	}
	if err := s.EnsurePublications(t.Context(), strings.Repeat("p", 60)); err == nil || !strings.Contains(err.Error(), "56 bytes") {
		t.Errorf("EnsurePublications of a long name = %v", err)
	}
}

func TestEnsurePublicationsAtOnce(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	s := store.OpenSource(db.Pool(t))
	const n = 4
	errs := make(chan error, n)
	for range n {
		go func() { errs <- s.EnsurePublications(t.Context(), "rowbell") }()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if p, err := s.PublicationState(t.Context(), "rowbell"); err != nil || !p.Complete {
		t.Errorf("PublicationState = %+v, %v", p, err)
	}
}

func TestCapture(t *testing.T) {
	t.Parallel()
	db, s := published(t)
	db.Exec(t, `create table orders (id int primary key, tenant_id text, total numeric, card text, note text);
		create schema sales; create table sales."Order Lines" (a int, b int, c text, primary key (b, a));
		create table logs (line text)`)
	conn := db.Conn(t)
	call := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	call("call rowbell.capture('orders')")
	call("call rowbell.capture('orders')") // already: no row
	call("call rowbell.capture('public.orders', redacted => '{card}', hidden => '{note}')")
	call("call rowbell.capture('orders', tenant_column => '')")
	call("call rowbell.capture('orders', renew => true)")
	call(`call rowbell.capture('sales."Order Lines"')`)
	call("call rowbell.capture('logs', label => 'log')")
	const want = `public.logs 1 log tenant= key={} hidden={} redacted={} insert_only
public.orders 1 orders tenant=tenant_id key={id} hidden={} redacted={}
public.orders 2 orders tenant=tenant_id key={id} hidden={note} redacted={card}
public.orders 3 orders tenant= key={id} hidden={note} redacted={card}
public.orders 4 orders tenant= key={id} hidden={note} redacted={card}
sales.Order Lines 1 sales.Order Lines tenant= key={b,a} hidden={} redacted={}`
	if got := captured(t, db); got != want {
		t.Errorf("captured:\n%s\nwant\n%s", got, want)
	}
	if got, want := inPublications(t, db), "rowbell:public.orders rowbell:sales.Order Lines rowbell_insert:public.logs"; got != want {
		t.Errorf("published: %s, want %s", got, want)
	}
	db.Exec(t, "insert into logs values ('x'); update logs set line = 'y'") // still allowed

	// An identity appears, and goes again: the table moves.
	call("alter table logs replica identity full")
	call("call rowbell.capture('logs')")
	if got := inPublications(t, db); got != "rowbell:public.logs rowbell:public.orders rowbell:sales.Order Lines" {
		t.Errorf("published with an identity: %s", got)
	}
	call("alter table logs replica identity default")
	if got, err := s.TablesPublishedWithoutIdentity(t.Context(), "rowbell"); err != nil || !slices.Equal(got, []string{"public.logs"}) {
		t.Errorf("TablesPublishedWithoutIdentity = %q, %v", got, err)
	}
	call("call rowbell.capture('logs')")
	if got, err := s.TablesPublishedWithoutIdentity(t.Context(), "rowbell"); err != nil || len(got) != 0 {
		t.Errorf("TablesPublishedWithoutIdentity = %q, %v", got, err)
	}

	// Release, by name, by label, and of a table that is gone.
	call("call rowbell.release('orders')")
	call("drop table logs")
	call("call rowbell.release('log')")
	if got := inPublications(t, db); got != "rowbell:sales.Order Lines" {
		t.Errorf("published after release: %s", got)
	}
	f, err := s.FirstLoad(t.Context())
	if err != nil || len(f.Tables) != 1 || f.Tables[0].Label != "sales.Order Lines" {
		t.Errorf("FirstLoad = %+v, %v", f, err)
	}
	// Once released the label is free, and numbers go on, by table and by label.
	call("create table logs2 (id int primary key)")
	call("call rowbell.capture('logs2', label => 'log')")
	call("call rowbell.capture('orders', label => 'purchases')")
	if got := captured(t, db); !strings.Contains(got, "public.logs2 5 log ") || !strings.Contains(got, "public.orders 6 purchases tenant=tenant_id key={id} hidden={} redacted={}") {
		t.Errorf("captured again:\n%s", got)
	}
}

func TestCaptureFromGo(t *testing.T) {
	t.Parallel()
	db, s := published(t)
	db.Exec(t, `create table orders (id int primary key, org text); create schema sales; create table sales."Lines" (id int primary key);
		create table "Mixed Case" (id int primary key)`)
	if err := s.SetTenantColumn(t.Context(), "org"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"orders", "sales.Lines", "Mixed Case"} {
		if err := s.Capture(t.Context(), "rowbell", name, store.CaptureOptions{}); err != nil {
			t.Errorf("Capture(%s): %v", name, err)
		}
	}
	none := ""
	if err := s.Capture(t.Context(), "rowbell", "orders", store.CaptureOptions{TenantColumn: &none, Redacted: []string{"org"}, KeyColumns: []string{}}); err != nil {
		t.Error(err)
	}
	const want = `public.Mixed Case 1 Mixed Case tenant= key={id} hidden={} redacted={}
public.orders 1 orders tenant=org key={id} hidden={} redacted={}
public.orders 2 orders tenant= key={} hidden={} redacted={org}
sales.Lines 1 sales.Lines tenant= key={id} hidden={} redacted={}`
	if got := captured(t, db); got != want {
		t.Errorf("captured:\n%s\nwant\n%s", got, want)
	}
	p, err := s.PublicationState(t.Context(), "rowbell")
	if err != nil || len(p.Tables) != 3 {
		t.Errorf("PublicationState = %+v, %v", p, err)
	}
	if err := s.Release(t.Context(), "rowbell", "Mixed Case"); err != nil {
		t.Error(err)
	}
	if err := s.Release(t.Context(), "rowbell", "Mixed Case"); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("second Release = %v, want ErrNotFound", err)
	}
	if err := s.Capture(t.Context(), "rowbell", "nothing", store.CaptureOptions{}); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("Capture of nothing = %v, want ErrNotFound", err)
	}
	rights, err := s.TableRights(t.Context(), []string{"orders", "sales.Lines", "nothing", "no thing"})
	if err != nil || !rights[0].Exists || !rights[0].Member || !rights[0].Identity || !rights[1].Exists || rights[2].Exists || rights[3].Exists {
		t.Errorf("TableRights = %+v, %v", rights, err)
	}
}

func TestCaptureRefuses(t *testing.T) {
	t.Parallel()
	db, _ := published(t)
	db.Exec(t, `create table orders (id int primary key, tenant_id text, card text);
		create view v as select * from orders; create materialized view m as select * from orders;
		create unlogged table u (id int primary key); create sequence seq;
		create table p (id int primary key) partition by range (id); create table p1 partition of p for values from (0) to (10);
		create schema other; create table other.orders (id int primary key)`)
	db.Exec(t, "call rowbell.capture('orders')")
	tests := []struct{ call, want string }{
		{"rowbell.capture('nothing')", "there is no table nothing"},
		{"rowbell.capture('v')", "public.v cannot be captured: it is a view"},
		{"rowbell.capture('m')", "public.m cannot be captured: it is a view"},
		{"rowbell.capture('u')", "ALTER TABLE public.u SET LOGGED;"},
		{"rowbell.capture('seq')", "it is not a table"},
		{"rowbell.capture('orders_pkey')", "it is not a table"},
		{"rowbell.capture('p1')", "capture public.p, and all its partitions are"},
		{"rowbell.capture('pg_class')", "it is a system table"},
		{"rowbell.capture('rowbell.workflow_definition')", "it belongs to Rowbell"},
		{"rowbell.capture('orders', hidden => '{kard}')", "public.orders has no column kard"},
		{"rowbell.capture('orders', tenant_column => 'org')", "public.orders has no column org"},
		{"rowbell.capture('orders', hidden => '{tenant_id}')", "tenant_id of public.orders cannot be hidden"},
		{"rowbell.capture('orders', hidden => '{id}')", "id of public.orders cannot be hidden"},
		{"rowbell.capture('orders', redacted => '{null}')", "must not contain null"},
		{"rowbell.capture('orders', label => 'buys')", "public.orders is captured as orders"},
		{"rowbell.capture('other.orders', label => 'orders')", "public.orders has that label"},
		{"rowbell.capture('other.orders', label => 'domain:x')", "cannot be the label of other.orders"},
		{"rowbell.capture('other.orders', publication => 'nope')", "there is no publication nope and nope_insert"},
		{"rowbell.release('other.orders')", "other.orders is not captured"},
		{"rowbell.release('rowbell.workflow_version')", "rowbell.workflow_version is not captured"},
	}
	for _, tt := range tests {
		if err := tryExec(t, db.URL, "call "+tt.call); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.call, err, tt.want)
		}
	}
	temp := db.Conn(t)
	_, err := temp.Exec(t.Context(), "create temp table scratch (id int primary key)")
	if err == nil {
		_, err = temp.Exec(t.Context(), "call rowbell.capture('scratch')")
	}
	if err == nil || !strings.Contains(err.Error(), "temporary table") {
		t.Errorf("capture of a temporary table: %v", err)
	}
	for _, sql := range []string{
		"begin; call rowbell.capture('orders'); commit",
		"do $$ begin execute 'select 1'; call rowbell.capture('other.orders'); end $$; select 1",
		"begin; call rowbell.release('orders'); commit",
	} {
		err := tryExec(t, db.URL, sql)
		if err == nil || !strings.Contains(err.Error(), "cannot run inside a transaction block") {
			t.Errorf("%s: %v, want a word about transaction blocks", sql, err)
		}
	}
	if got := inPublications(t, db); got != "rowbell:public.orders" {
		t.Errorf("published: %s", got)
	}
}

func TestCapturePartitioned(t *testing.T) {
	t.Parallel()
	db, s := published(t)
	db.Exec(t, `create table p (id int, at int, tenant_id text) partition by range (at);
		create table p1 partition of p for values from (0) to (10);
		create table p2 partition of p for values from (10) to (20) partition by range (id);
		create table p2a partition of p2 for values from (0) to (10);
		alter table p1 add primary key (id)`)
	db.Exec(t, "call rowbell.capture('p')")
	if got, want := inPublications(t, db), "rowbell_insert:public.p"; got != want {
		t.Errorf("published: %s, want %s", got, want)
	}
	db.Exec(t, "alter table p2a replica identity full")
	db.Exec(t, "call rowbell.capture('p')")
	if got, want := inPublications(t, db), "rowbell:public.p"; got != want {
		t.Errorf("published: %s, want %s", got, want)
	}
	db.Exec(t, "create table p3 partition of p for values from (20) to (30)")
	if got, err := s.TablesPublishedWithoutIdentity(t.Context(), "rowbell"); err != nil || !slices.Equal(got, []string{"public.p3"}) {
		t.Errorf("TablesPublishedWithoutIdentity = %q, %v; want the new partition", got, err)
	}
}

// TestIdentityAsTheServerSeesIt compares our idea of a usable replica identity with what
// an UPDATE of a published table says.
func TestIdentityAsTheServerSeesIt(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	db.Exec(t, "create publication everything for all tables")
	tables := []string{
		"(id int primary key, x int)",
		"(id int primary key deferrable, x int)",
		"(id int, x int)",
		"(id int not null unique, x int)",
		"(id int not null unique, x int); alter table t replica identity using index t_id_key",
		"(id int, x int); alter table t replica identity full",
		"(id int primary key, x int); alter table t replica identity nothing",
		"(id int not null unique, x int); alter table t replica identity using index t_id_key; alter table t drop constraint t_id_key",
	}
	for _, def := range tables {
		t.Run(def, func(t *testing.T) {
			db.Exec(t, "drop table if exists t; create table t "+def+"; insert into t values (1, 1)")
			usable := tryExec(t, db.URL, "update t set x = 2") == nil
			if got := pgtest.One[int64](t, db, "select count(*) from rowbell.tables_without_identity('t'::regclass)") == 0; got != usable {
				t.Errorf("usable = %t, the server says %t", got, usable)
			}
		})
	}
}

func TestCaptureRights(t *testing.T) {
	t.Parallel()
	db, _ := published(t)
	owner, _ := db.Role(t, "owner", "")
	role, roleURL := db.Role(t, "least", "")
	db.Exec(t, "create table orders (id int primary key, tenant_id text); alter table orders owner to "+owner)
	pool, err := pgxpool.New(t.Context(), roleURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	s := store.OpenSource(pool)
	db.Exec(t, "grant usage on schema rowbell to "+role+"; grant select on rowbell.captured_table, rowbell.setting to "+role)
	// Each round does what the message says.
	err = s.Capture(t.Context(), "rowbell", "orders", store.CaptureOptions{})
	if !errors.Is(err, store.ErrPrivilege) {
		t.Fatalf("Capture = %v, want ErrPrivilege", err)
	}
	for _, grant := range []string{
		fmt.Sprintf("GRANT %s TO %s;", owner, role),
		fmt.Sprintf("GRANT rowbell_publisher TO %s;", role),
		fmt.Sprintf("GRANT SELECT, INSERT ON rowbell.captured_table TO %s;", role),
	} {
		if !strings.Contains(err.Error(), grant) {
			t.Errorf("Capture = %v, want it to say %s", err, grant)
		}
	}
	if got := inPublications(t, db) + captured(t, db); got != "" {
		t.Errorf("a refused capture left %s", got)
	}
	db.Exec(t, fmt.Sprintf("grant %s to %s", owner, role))
	err = s.Capture(t.Context(), "rowbell", "orders", store.CaptureOptions{})
	if !errors.Is(err, store.ErrPrivilege) || strings.Contains(err.Error(), "GRANT "+owner) || !strings.Contains(err.Error(), "GRANT rowbell_publisher") {
		t.Errorf("Capture by the table's owner = %v", err)
	}
	db.Exec(t, fmt.Sprintf("revoke usage on schema rowbell from %s; revoke select on rowbell.captured_table, rowbell.setting from %s; grant rowbell_publisher to %s", role, role, role))
	if err := s.Capture(t.Context(), "rowbell", "orders", store.CaptureOptions{}); err != nil {
		t.Errorf("Capture by a member of both: %v", err)
	}
	// Other options need no right on the table.
	db.Exec(t, fmt.Sprintf("revoke %s from %s", owner, role))
	if err := s.Capture(t.Context(), "rowbell", "orders", store.CaptureOptions{Renew: true}); err != nil {
		t.Errorf("Capture with Renew by a member of rowbell_publisher: %v", err)
	}
	if err := s.Release(t.Context(), "rowbell", "orders"); err != nil {
		t.Errorf("Release by a member of rowbell_publisher: %v", err)
	}
	if got := pgtest.One[int64](t, db, "select count(*) from rowbell.captured_table where db_user = $1", role); got != 3 {
		t.Errorf("%d rows by %s, want 3", got, role)
	}
}

// TestWithoutSuperuser installs as the owner of the database, with and without the right
// to make role rowbell_publisher. The servers are the tests' own, since roles belong to
// the whole server.
func TestWithoutSuperuser(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ attributes, owner string }{
		{"", "installer"},
		{"createrole", "rowbell_publisher"},
	} {
		t.Run("installer "+tt.attributes, func(t *testing.T) {
			t.Parallel()
			db := pgtest.DBOn(t, pgtest.Server(t, localpg.Options{Template: true}))
			db.Exec(t, "create role installer login "+tt.attributes)
			db.Exec(t, "alter database "+db.Name+" owner to installer; grant all on schema public to installer")
			pool, err := pgxpool.New(t.Context(), asUser(t, db.URL, "installer"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pool.Close)
			if err := store.MigrateSource(t.Context(), asUser(t, db.URL, "installer")); err != nil {
				t.Fatal(err)
			}
			s := store.OpenSource(pool)
			if err := s.EnsurePublications(t.Context(), "rowbell"); err != nil {
				t.Fatal(err)
			}
			p, err := s.PublicationState(t.Context(), "rowbell")
			if err != nil || p.Owner != tt.owner || !p.Complete || !p.Member {
				t.Errorf("PublicationState = %+v, %v; want owner %s", p, err, tt.owner)
			}
			if got := pgtest.One[bool](t, db, "select exists (select from pg_roles where rolname = 'rowbell_publisher' and has_database_privilege(oid, current_database(), 'create'))"); got {
				t.Error("rowbell_publisher may still create in the database")
			}
			if _, err := pool.Exec(t.Context(), "create table orders (id int primary key)"); err != nil {
				t.Fatal(err)
			}
			if err := s.Capture(t.Context(), "rowbell", "orders", store.CaptureOptions{}); err != nil {
				t.Errorf("Capture of an own table: %v", err)
			}
			db.Exec(t, "create table theirs (id int primary key)")
			if err := s.Capture(t.Context(), "rowbell", "theirs", store.CaptureOptions{}); !errors.Is(err, store.ErrPrivilege) {
				t.Errorf("Capture of a superuser's table = %v, want ErrPrivilege", err)
			}
			// A second database of the server finds the role.
			const other = "other"
			db.Exec(t, "create database "+other+" owner installer")
			otherURL := strings.Replace(asUser(t, db.URL, "installer"), "/"+db.Name, "/"+other, 1)
			if err := store.MigrateSource(t.Context(), otherURL); err != nil {
				t.Errorf("Migrate of a second database: %v", err)
			}
		})
	}
}

func asUser(t *testing.T, databaseURL, user string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(user)
	return u.String()
}

func TestCaptureLockTimeout(t *testing.T) {
	t.Parallel()
	db, s := published(t)
	db.Exec(t, "create table orders (id int primary key)")
	holder := db.Conn(t)
	if _, err := holder.Exec(t.Context(), "begin; lock table orders in share update exclusive mode"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	err := s.Capture(t.Context(), "rowbell", "orders", store.CaptureOptions{})
	took := time.Since(start)
	if !errors.Is(err, store.ErrLockTimeout) || !errors.Is(err, workflow.ErrConflict) {
		t.Errorf("Capture = %v, want ErrLockTimeout", err)
	}
	if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("pid %d", holder.PgConn().PID())) {
		t.Errorf("Capture = %v, want it to name process %d", err, holder.PgConn().PID())
	}
	if took < 1900*time.Millisecond || took > 10*time.Second {
		t.Errorf("it took %s, want 2 s", took)
	}
	// Writers were not in the way, and are not.
	if _, err := holder.Exec(t.Context(), "rollback; begin; insert into orders values (1); update orders set id = 2"); err != nil {
		t.Fatal(err)
	}
	if err := s.Capture(t.Context(), "rowbell", "orders", store.CaptureOptions{}); err != nil {
		t.Errorf("Capture beside a writer: %v", err)
	}
}

// TestFromXID has a transaction that overlaps the capture, and one that follows it.
func TestFromXID(t *testing.T) {
	t.Parallel()
	db, s := published(t)
	db.Exec(t, "create table orders (id int primary key)")
	early, late := db.Conn(t), db.Conn(t)
	xid := func(conn *pgx.Conn) (id uint64) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), "begin"); err != nil {
			t.Fatal(err)
		}
		if err := conn.QueryRow(t.Context(), "select pg_current_xact_id()").Scan(&id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	before := xid(early)
	if err := s.Capture(t.Context(), "rowbell", "orders", store.CaptureOptions{}); err != nil {
		t.Fatal(err)
	}
	after := xid(late)
	tables, err := s.Tables(t.Context(), []store.VersionRef{{ID: "orders", Version: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if from := tables[0].FromXID; from <= before || from > after {
		t.Errorf("from_xid = %d, want more than %d and at most %d", from, before, after)
	}
}

func TestCaptureSurvivesAHalfDoneOne(t *testing.T) {
	t.Parallel()
	db, s := published(t)
	db.Exec(t, "create table orders (id int primary key); alter publication rowbell add table orders") // and then it crashed
	if err := s.Capture(t.Context(), "rowbell", "orders", store.CaptureOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := captured(t, db); got != "public.orders 1 orders tenant= key={id} hidden={} redacted={}" {
		t.Errorf("captured: %s", got)
	}
	// Thrown out by hand: the changes since then are lost, so a new from_xid is due.
	db.Exec(t, "alter publication rowbell drop table orders")
	if err := s.Capture(t.Context(), "rowbell", "orders", store.CaptureOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := pgtest.One[int64](t, db, "select count(*) from rowbell.captured_table"); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
}

func TestCaptureAtOnce(t *testing.T) {
	t.Parallel()
	db, s := published(t)
	db.Exec(t, "create table orders (id int primary key)")
	const n = 4
	errs := make(chan error, n)
	for range n {
		go func() { errs <- s.Capture(t.Context(), "rowbell", "orders", store.CaptureOptions{}) }()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := inPublications(t, db); got != "rowbell:public.orders" {
		t.Errorf("published: %s", got)
	}
}

func TestCaptureWarnsOfInsertOnly(t *testing.T) {
	t.Parallel()
	db, _ := published(t)
	db.Exec(t, "create table logs (line text)")
	cfg, err := pgx.ParseConfig(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	var notices []string
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		notices = append(notices, n.Severity+" "+n.Message+" "+n.Hint)
	}
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // the test is over
	if _, err := conn.Exec(t.Context(), "call rowbell.capture('logs')"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(notices, "\n"); !strings.Contains(got, "WARNING only inserts of public.logs are captured") || !strings.Contains(got, "ALTER TABLE public.logs REPLICA IDENTITY FULL;") {
		t.Errorf("notices: %s", got)
	}
}

// A transaction that began to write while the table was being published is sent or not
// by chance, so its xid must lie below from_xid, whatever has ended meanwhile.
func TestCaptureBesideWriter(t *testing.T) {
	t.Parallel()
	db, s := published(t)
	// The ALTER PUBLICATION waits with its xid in hand until the gate opens. Opening it
	// takes no xid: one that ends would move the snapshot's xmax on.
	db.Exec(t, `create table orders (id int primary key);
		create function hold() returns event_trigger language plpgsql as $$
		begin
			while not pg_try_advisory_lock(42) loop
				perform pg_sleep(0.005);
			end loop;
			perform pg_advisory_unlock(42);
		end $$;
		create event trigger hold on ddl_command_end when tag in ('ALTER PUBLICATION') execute function hold()`)
	gate, writer := db.Conn(t), db.Conn(t)
	exec := func(c *pgx.Conn, sql string) {
		t.Helper()
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(gate, `select pg_advisory_lock(42)`)
	done := make(chan error, 1)
	go func() { done <- s.Capture(t.Context(), "rowbell", "orders", store.CaptureOptions{}) }()
	pgtest.Eventually(t, pgtest.Patience, "the capture to wait at the gate", func() bool {
		return pgtest.One[bool](t, db, `select exists (select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep')`)
	})
	exec(writer, `begin; insert into orders values (1)`)
	exec(gate, `select pg_advisory_unlock(42)`)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var counts bool
	if err := writer.QueryRow(t.Context(), `select pg_current_xact_id() >= from_xid from rowbell.captured_table`).Scan(&counts); err != nil {
		t.Fatal(err)
	}
	if counts {
		t.Error("a transaction that wrote before the table was published counts")
	}
	exec(writer, `rollback`)
}

// A release waits for a capture that is about to end, and is of it.
func TestReleaseWaitsForCapture(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	db.Exec(t, `create table orders (id int primary key); select rowbell.ensure_publications('rowbell')`)
	db.Exec(t, `alter publication rowbell add table orders`)
	capturing := db.Conn(t) // stands where rowbell.capture is just before its last commit
	if _, err := capturing.Exec(t.Context(), `begin; select pg_advisory_xact_lock(hashtextextended('rowbell.capture', 0));
		insert into rowbell.captured_table (schema_name, table_name, version, label, tenant_column, key_columns, hidden, redacted, insert_only, from_xid)
		values ('public', 'orders', 1, 'orders', null, '{id}', '{}', '{}', false, pg_current_xact_id())`); err != nil {
		t.Fatal(err)
	}
	releasing := db.Conn(t)
	released := make(chan error, 1)
	go func() {
		_, err := releasing.Exec(t.Context(), `call rowbell.release('orders')`)
		released <- err
	}()
	pgtest.Eventually(t, pgtest.Patience, "the release to wait, or end", func() bool {
		return len(released) > 0 || pgtest.One[bool](t, db, `select exists (select from pg_locks where locktype = 'advisory' and not granted)`)
	})
	if _, err := capturing.Exec(t.Context(), `commit`); err != nil {
		t.Fatal(err)
	}
	if err := <-released; err != nil {
		t.Fatal(err)
	}
	if got := pgtest.Query[string](t, db, `select concat_ws(' ', version, released) from rowbell.captured_table order by version`); !slices.Equal(got, []string{"1 f", "2 t"}) {
		t.Errorf("captured_table: %q", got)
	}
	if n := pgtest.One[int](t, db, `select count(*)::int from pg_publication_rel where prrelid = 'orders'::regclass`); n != 0 {
		t.Error("it is published yet")
	}
}
