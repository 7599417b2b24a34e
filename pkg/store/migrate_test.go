package store_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/rowbell/rowbell/migrations"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
)

// migrated gives a database with the tables of source and state.
func migrated(t *testing.T) *pgtest.Database {
	t.Helper()
	db := pgtest.DB(t)
	if err := store.Migrate(t.Context(), db.URL, db.URL); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestMigrateTwiceAtOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	before, err := store.Pending(t.Context(), db.URL, store.WhichSource)
	if err != nil || before == 0 {
		t.Fatalf("Pending of an empty database = %d, %v; want some", before, err)
	}
	g, ctx := errgroup.WithContext(t.Context())
	for range 4 {
		g.Go(func() error { return store.Migrate(ctx, db.URL, db.URL) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, w := range []store.Which{store.WhichSource, store.WhichState} {
		if n, err := store.Pending(t.Context(), db.URL, w); n != 0 || err != nil {
			t.Errorf("Pending(%s) after Migrate = %d, %v", w, n, err)
		}
	}
	if n := pgtest.One[int64](t, db, "select count(*) from rowbell.migration_source where version_id > 0"); int(n) != before {
		t.Errorf("%d migrations are noted, want %d", n, before)
	}
}

func TestMigrateRefusesANewerDatabase(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, "insert into rowbell.migration_source (version_id, is_applied) values (999, true)")
	err := store.Migrate(t.Context(), db.URL, db.URL)
	if !errors.Is(err, store.ErrNewer) || !strings.Contains(err.Error(), "999") {
		t.Errorf("Migrate = %v, want ErrNewer that names 999", err)
	}
	if _, err := store.Pending(t.Context(), db.URL, store.WhichSource); !errors.Is(err, store.ErrNewer) {
		t.Errorf("Pending = %v, want ErrNewer", err)
	}
	pgtest.Eventually(t, waitLong, "the lock is given back", func() bool {
		return pgtest.One[bool](t, db, "select not exists (select from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database()))")
	})
}

func TestMigrateErrorsHideThePassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"postgres://u:hunter2@127.0.0.1:1/x", "postgres://u:hunter2@127.0.0.1:port/x"} {
		err := store.Migrate(t.Context(), url, url)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Migrate(%q) = %v", url, err)
		}
	}
}

func TestPrintedMigrationsDoTheSame(t *testing.T) {
	t.Parallel()
	const tables = `select string_agg(format('%s.%s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod)), e'\n' order by c.relname, a.attnum)
		from pg_class c join pg_attribute a on a.attrelid = c.oid
		where c.relnamespace = 'rowbell'::regnamespace and c.relkind in ('r', 'p', 'v') and a.attnum > 0`
	var script bytes.Buffer
	if err := store.PrintMigrations(&script); err != nil {
		t.Fatal(err)
	}
	byHand := pgtest.DB(t)
	byHand.Exec(t, script.String())
	want := migrated(t).QueryString(t, tables)
	if got := byHand.QueryString(t, tables); got != want {
		t.Errorf("printed migrations made\n%s\nwant\n%s", got, want)
	}
	if err := store.Migrate(t.Context(), byHand.URL, byHand.URL); err != nil {
		t.Errorf("Migrate after the printed migrations: %v", err)
	}
}

func TestMigrateWithoutRights(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	_, url := db.Role(t, "nobody", "")
	if err := store.Migrate(t.Context(), url, url); err == nil || !strings.Contains(err.Error(), "permission denied for database") {
		t.Errorf("Migrate = %v, want permission denied for database", err)
	}
}

func TestMigrateStopsWithItsContext(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	db.Conn(t).Exec(t.Context(), "select pg_advisory_lock($1)", store.MigrationLock) //nolint:errcheck // the next step shows it
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- store.Migrate(ctx, db.URL, db.URL) }()
	pgtest.Eventually(t, waitLong, "the migration waits for the lock", func() bool {
		return pgtest.One[bool](t, db, "select exists (select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database()))")
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Migrate = %v, want context.Canceled", err)
	}
}

// TestComments wants every table and column of ours to say what it is.
func TestComments(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	missing := pgtest.Query[string](t, db, `
		select c.relname::text || coalesce('.' || a.attname, '')
		from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
		where c.relnamespace = 'rowbell'::regnamespace and c.relkind in ('r', 'p', 'v') and not c.relispartition
			and (coalesce(col_description(c.oid, a.attnum), '') = '' or coalesce(obj_description(c.oid, 'pg_class'), '') = '')
		order by 1`)
	if len(missing) > 0 {
		t.Errorf("no comment on %d: %s", len(missing), strings.Join(missing, ", "))
	}
	functions := pgtest.Query[string](t, db, `select proname::text from pg_proc
		where pronamespace = 'rowbell'::regnamespace and coalesce(obj_description(oid, 'pg_proc'), '') = '' order by 1`)
	if len(functions) > 0 {
		t.Errorf("no comment on functions %s", strings.Join(functions, ", "))
	}
}

// Who could execute rowbell.set_actor before it took attributes, still can, and no one else;
// calls of before mean what they did.
func TestSetActorKeepsItsGrants(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	if err := store.MigrateSource(t.Context(), db.URL); err != nil {
		t.Fatal(err)
	}
	text, err := fs.ReadFile(migrations.Source, "00004_context.sql")
	if err != nil {
		t.Fatal(err)
	}
	migration, err := fs.ReadFile(migrations.Source, "00005_attributes.sql")
	if err != nil {
		t.Fatal(err)
	}
	_, old, _ := strings.Cut(string(text), "create function rowbell.set_actor(")
	old, _, ok := strings.Cut(old, "-- +goose StatementEnd")
	if !ok {
		t.Fatal("00004_context.sql has no set_actor")
	}
	const before, now = `rowbell.set_actor(text, text[], text, text[], boolean)`, `rowbell.set_actor(text, text[], text, text[], boolean, jsonb)`
	app, appURL := db.Role(t, "App One", "")
	chief, chiefURL := db.Role(t, "chief", "")
	_, otherURL := db.Role(t, "other", "")
	db.Exec(t, `drop function `+now)
	db.Exec(t, `create function rowbell.set_actor(`+old)
	db.Exec(t, `revoke execute on function `+before+` from public`)
	db.Exec(t, `grant usage on schema rowbell to public`)
	db.Exec(t, `grant execute on function `+before+` to `+pgx.Identifier{app}.Sanitize())
	db.Exec(t, `grant execute on function `+before+` to `+pgx.Identifier{chief}.Sanitize()+` with grant option`)
	db.Exec(t, string(migration))
	got := pgtest.Query[string](t, db, `select coalesce(nullif(a.grantee, 0)::regrole::text, 'public') || ' ' || a.is_grantable
		from pg_proc p cross join aclexplode(p.proacl) a where p.proname = 'set_actor' and a.grantee <> p.proowner order by 1`)
	want := []string{app + " false", chief + " true"}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("it may be executed by %q, want %q", got, want)
	}
	if n := pgtest.One[int64](t, db, `select count(*) from pg_proc where proname = 'set_actor' and pronamespace = 'rowbell'::regnamespace`); n != 1 {
		t.Errorf("there are %d functions of that name", n)
	}
	for _, sql := range []string{
		`select rowbell.set_actor('ann')`, `select rowbell.set_actor('ann', '{a}', 'r', '{c}', true)`,
		`select rowbell.set_actor(id => 'ann', skip => true)`, `select rowbell.set_actor('ann', '{a}', 'r', '{c}', true, '{"level": 3}')`,
	} {
		for _, url := range []string{appURL, chiefURL} {
			if err := tryExec(t, url, sql); err != nil {
				t.Errorf("%s: %v", sql, err)
			}
		}
		if err := tryExec(t, otherURL, sql); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("%s by another role: %v", sql, err)
		}
	}
	// It was given to everybody: it stays so.
	db.Exec(t, `drop function `+now)
	db.Exec(t, `create function rowbell.set_actor(`+old)
	db.Exec(t, string(migration))
	if err := tryExec(t, otherURL, `select rowbell.set_actor('ann')`); err != nil {
		t.Errorf("after a grant to PUBLIC: %v", err)
	}
}
