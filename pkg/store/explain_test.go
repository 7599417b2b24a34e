package store_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// A row comes with the texts that the replication connection would bring, whatever is set
// for the database.
func TestRowText(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	db.Exec(t, `create schema "odd schema"; create type "odd schema".mood as enum ('sad', 'happy');
		create table "odd schema"."odd table" ("the id" int, b text, mood "odd schema".mood, at timestamptz, bytes bytea, n numeric(12,2), e text, f float8, wait interval, tags text[], primary key ("the id", b));
		insert into "odd schema"."odd table" values (1, 'a,b', 'happy', '2026-01-31 10:00:00+05', '\x00ff', 10, '', 0.1, '1 mon 2 days', '{a,NULL}'), (1, 'other', null, null, null, null, null, null, null, null)`)
	db.Exec(t, `alter database `+db.Name+` set timezone = 'Asia/Kolkata'`)
	db.Exec(t, `alter database `+db.Name+` set datestyle = 'German'`)
	db.Exec(t, `alter database `+db.Name+` set bytea_output = 'escape'`)
	pool := db.Pool(t)
	source := store.OpenSource(pool)
	table := &workflow.Table{Schema: "odd schema", Name: "odd table", Label: "odd", KeyColumns: []string{"the id", "b"}}
	columns := []string{"the id", "b", "mood", "at", "bytes", "n", "e", "f", "wait", "tags"}
	texts := func(key ...string) []string {
		row, err := source.RowText(t.Context(), table, columns, key)
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, v := range row {
			if v == nil {
				list = append(list, "NULL")
			} else {
				list = append(list, string(v))
			}
		}
		return list
	}
	if got, want := texts("1", "a,b"), []string{"1", "a,b", "happy", "2026-01-31 05:00:00+00", `\x00ff`, "10.00", "", "0.1", "1 mon 2 days", "{a,NULL}"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := texts("1", "other"); !slices.Equal(got[2:], []string{"NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL"}) {
		t.Errorf("got %q", got)
	}
	for want, key := range map[string][]string{
		"there is no such row":                  {"1", `' or true --`},
		"invalid input syntax for type integer": {"1 or true", "other"},
		"the key of odd is the id, b, so it takes 2 values separated by commas, not 1": {"1"},
	} {
		if _, err := source.RowText(t.Context(), table, columns, key); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", key, err, want)
		}
	}
	if _, err := source.RowText(t.Context(), table, columns, []string{"2", "x"}); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	// It reads: a function that writes is refused, and one that takes long is ended.
	db.Exec(t, `create table written (); create function writes() returns int language plpgsql as 'begin insert into written default values; return 1; end';
		create view odd_view as select writes() as id, 'x' as b`)
	view := &workflow.Table{Schema: "public", Name: "odd_view", Label: "odd_view", KeyColumns: []string{"b"}}
	if _, err := source.RowText(t.Context(), view, []string{"id"}, []string{"x"}); err == nil || !strings.Contains(err.Error(), "read-only transaction") {
		t.Errorf("got %v", err)
	}
	var zone string
	if err := pool.QueryRow(t.Context(), `show timezone`).Scan(&zone); err != nil || zone != "Asia/Kolkata" {
		t.Errorf("the settings outlive the transaction: %s, %v", zone, err)
	}
}

func TestVersionsOn(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	if err := store.MigrateSource(t.Context(), db.URL); err != nil {
		t.Fatal(err)
	}
	source := store.OpenSource(db.Pool(t))
	for _, w := range []struct{ id, tenant, entity string }{{"a", "x", "public.orders"}, {"b", "y", "orders"}, {"c", "", "orders"}, {"d", "y", "things"}, {"e", "y", "orders"}} {
		db.Exec(t, `with d as (insert into rowbell.workflow_definition (id, tenant_id, name, status) values ($1, nullif($2, ''), $1, 'active'))
			insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ($1, $3, 'update')`, w.id, w.tenant, w.entity)
	}
	db.Exec(t, `update rowbell.workflow_trigger set entity_type = 'things' where workflow_id = 'b'`) // it had one
	db.Exec(t, `delete from rowbell.workflow_definition where id = 'e'`)
	ids := func(limit, others int) (string, bool) {
		list, more, err := source.VersionsOn(t.Context(), "orders", "y", limit, others)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range list {
			if v.CreatedAt.IsZero() {
				t.Error("no time")
			}
			got = append(got, v.WorkflowID+string(rune('0'+v.Version.Version)))
		}
		return strings.Join(got, " "), more
	}
	if got, more := ids(10, 10); got != "a1 b1 b2 c1 e1 e2" || more {
		t.Errorf("got %s, %v", got, more)
	}
	if got, more := ids(10, 0); got != "b1 b2 c1 e1 e2" || !more {
		t.Errorf("got %s, %v", got, more)
	}
	if got, more := ids(2, 2); got != "b1 b2 c1" || !more {
		t.Errorf("got %s, %v", got, more)
	}
	if got, more := ids(3, 3); got != "b1 b2 c1 e1 e2" || !more { // those that serve the tenant
		t.Errorf("got %s, %v", got, more)
	}
	if _, err := source.TableNamed(t.Context(), "orders"); !errors.Is(err, workflow.ErrNotFound) || !strings.Contains(err.Error(), "run rowbell capture orders") {
		t.Errorf("got %v", err)
	}
	if v, err := source.LatestVersion(t.Context(), "b", 1); err != nil || v.Version != 1 {
		t.Errorf("got %v, %v", v, err)
	}
	if v, err := source.LatestVersion(t.Context(), "e", 0); err != nil || v.Status != workflow.Deleted {
		t.Errorf("got %v, %v", v, err)
	}
}
