package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// versions lists what workflow_version has of a workflow, as "1 active" and so on.
func versions(t *testing.T, db *pgtest.Database, id string) string {
	t.Helper()
	return strings.Join(pgtest.Query[string](t, db,
		"select version || ' ' || status from rowbell.workflow_version where workflow_id = $1 order by version", id), ", ")
}

func wantVersions(t *testing.T, db *pgtest.Database, id, want string) {
	t.Helper()
	if got := versions(t, db, id); got != want {
		t.Errorf("versions of %s: %q, want %q", id, got, want)
	}
}

// document reads a workflow's latest version.
func document(t *testing.T, db *pgtest.Database, id string) *workflow.Workflow {
	t.Helper()
	text := db.QueryString(t, "select document::text from rowbell.workflow_version where workflow_id = $1 order by version desc limit 1", id)
	w, err := workflow.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestVersionOfAWholeWorkflow(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	db.Exec(t, `
		begin;
		insert into rowbell.workflow_definition (id, tenant_id, name, description, status, settings)
			values ('big', 'acme', 'Big orders', 'tells sales', 'active', '{"fire": "every"}');
		insert into rowbell.workflow_trigger (id, workflow_id, entity_type, operation, field_conditions, priority) values
			('t2', 'big', 'orders', 'update', '{"total": {"gt": 1000}}', 50), ('t1', 'big', 'orders', 'create', '{}', 50),
			('t0', 'big', 'orders', 'delete', '{}', default);
		insert into rowbell.workflow_condition (id, workflow_id, condition_type, condition_config)
			values ('c1', 'big', 'expression', '{"expression": "new.total > 10"}');
		insert into rowbell.workflow_action (id, workflow_id, action_type, "order") values ('a1', 'big', 'log', 1), ('a2', 'big', 'log', 0);
		insert into rowbell.workflow_recipient (id, workflow_id, action_id, recipient_type, recipient_id)
			values ('r1', 'big', null, 'role', 'sales'), ('r2', 'big', 'a1', 'user', '7');
		commit`)
	wantVersions(t, db, "big", "1 active")
	tenant, a1 := "acme", "a1"
	want := &workflow.Workflow{
		ID: "big", TenantID: &tenant, Name: "Big orders", Description: "tells sales", Status: workflow.Active,
		Settings: json.RawMessage(`{"fire": "every"}`),
		Triggers: []workflow.Trigger{
			{ID: "t1", EntityType: "orders", Operation: "create", FieldConditions: json.RawMessage(`{}`), Priority: 50},
			{ID: "t2", EntityType: "orders", Operation: "update", FieldConditions: json.RawMessage(`{"total": {"gt": 1000}}`), Priority: 50},
			{ID: "t0", EntityType: "orders", Operation: "delete", FieldConditions: json.RawMessage(`{}`), Priority: 100},
		},
		Conditions: []workflow.Condition{{ID: "c1", Type: "expression", Config: json.RawMessage(`{"expression": "new.total > 10"}`)}},
		Actions: []workflow.Action{
			{ID: "a2", Type: "log", Config: json.RawMessage(`{}`), Order: 0},
			{ID: "a1", Type: "log", Config: json.RawMessage(`{}`), Order: 1},
		},
		Recipients: []workflow.Recipient{
			{ID: "r1", Type: "role", Value: "sales"},
			{ID: "r2", ActionID: &a1, Type: "user", Value: "7"},
		},
	}
	got, _ := json.MarshalIndent(document(t, db, "big"), "", " ")
	expected, _ := json.MarshalIndent(want, "", " ")
	if string(got) != string(expected) {
		t.Errorf("document:\n%s\nwant\n%s", got, expected)
	}
	if n := pgtest.One[int32](t, db, "select version from rowbell.workflow_definition where id = 'big'"); n != 1 {
		t.Errorf("the definition says version %d, want 1", n)
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	const orders = `insert into rowbell.workflow_definition (id, tenant_id, status) values ('w', 'acme', 'active');
		insert into rowbell.workflow_trigger (id, workflow_id, entity_type, operation) values ('t', 'w', 'orders', 'create');
		insert into rowbell.workflow_action (id, workflow_id, action_type) values ('a', 'w', 'log');`
	tests := []struct {
		name string
		sql  []string // transactions
		want string   // versions of w
	}{
		{"one statement each", []string{
			"insert into rowbell.workflow_definition (id) values ('w')",
			"insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('w', 'orders', 'create')",
			"update rowbell.workflow_definition set status = 'active' where id = 'w'",
		}, "1 draft, 2 draft, 3 active"},
		{"draft edits", []string{orders, `update rowbell.workflow_definition set draft = '{"name": "x"}' where id = 'w'`}, "1 active"},
		{"an update without change", []string{orders, "update rowbell.workflow_trigger set priority = 100"}, "1 active"},
		{"back and forth", []string{orders, "update rowbell.workflow_trigger set priority = 1; update rowbell.workflow_trigger set priority = 100"}, "1 active"},
		{"version is not for writing", []string{orders, "update rowbell.workflow_definition set version = 17"}, "1 active"},
		{"child updated", []string{orders, "update rowbell.workflow_trigger set priority = 1"}, "1 active, 2 active"},
		{"child deleted", []string{orders, "delete from rowbell.workflow_action"}, "1 active, 2 active"},
		{"child moved away", []string{orders, "insert into rowbell.workflow_definition (id) values ('v')", "update rowbell.workflow_trigger set workflow_id = 'v'"}, "1 active, 2 active"},
		{"deleted, with cascade", []string{orders, "delete from rowbell.workflow_definition"}, "1 active, 2 deleted"},
		{"deleted and used again", []string{orders, "delete from rowbell.workflow_definition", orders}, "1 active, 2 deleted, 3 active"},
		{"replaced in one transaction", []string{orders, "delete from rowbell.workflow_definition;" + orders}, "1 active"},
		{"made and deleted at once", []string{orders + "delete from rowbell.workflow_definition"}, ""},
		{"rolled back", []string{orders, "begin; update rowbell.workflow_trigger set priority = 1; rollback"}, "1 active"},
		{
			"constraints immediate in between",
			[]string{orders, "begin; update rowbell.workflow_trigger set priority = 1; set constraints all immediate; update rowbell.workflow_trigger set priority = 2; commit"},
			"1 active, 2 active, 3 active",
		},
		{"truncated children", []string{orders, "truncate rowbell.workflow_trigger"}, "1 active, 2 active"},
		{"truncated", []string{orders, "truncate rowbell.workflow_definition cascade"}, "1 active, 2 deleted"},
		{"as a replica", []string{
			"set session_replication_role = replica;" +
				"insert into rowbell.workflow_definition (id, status) values ('w', 'active')",
			"set session_replication_role = replica; insert into rowbell.workflow_action (id, workflow_id, action_type) values ('a', 'w', 'log')",
			"set session_replication_role = replica; delete from rowbell.workflow_definition",
		}, "1 active, 2 active, 3 deleted"},
		{"nulls", []string{"insert into rowbell.workflow_definition (id, name, description, settings) values ('w', null, null, null);" +
			"insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions, priority) values ('w', 'orders', 'create', null, null);" +
			"insert into rowbell.workflow_condition (workflow_id, condition_type, condition_config) values ('w', 'expression', null);" +
			`insert into rowbell.workflow_action (workflow_id, action_type, action_config, "order") values ('w', 'log', null, null)`}, "1 draft"},
		{"an empty secret", []string{orders, `update rowbell.workflow_action set action_config = '{"secret": ""}'`}, "1 active, 2 active"},
	}
	db := sourceDB(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := db.Conn(t)
			for _, sql := range tt.sql {
				if _, err := conn.Exec(t.Context(), sql); err != nil {
					t.Fatalf("%s: %v", sql, err)
				}
				if _, err := conn.Exec(t.Context(), "reset session_replication_role"); err != nil {
					t.Fatal(err)
				}
			}
			wantVersions(t, db, "w", tt.want)
			var n, latest int
			err := conn.QueryRow(t.Context(), "select version, (select max(version) from rowbell.workflow_version where workflow_id = 'w') from rowbell.workflow_definition where id = 'w'").Scan(&n, &latest)
			if err == nil && n != latest {
				t.Errorf("the definition says version %d, the latest is %d", n, latest)
			}
			// The next case starts anew: only this may remove versions.
			db.Exec(t, `alter table rowbell.workflow_version disable trigger insert_only_truncate;
				truncate rowbell.workflow_definition cascade; truncate rowbell.workflow_version;
				alter table rowbell.workflow_version enable always trigger insert_only_truncate`)
		})
	}
}

func TestDeletedVersionKeepsTheTenant(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	db.Exec(t, "insert into rowbell.workflow_definition (id, tenant_id) values ('w', 'acme')")
	db.Exec(t, "delete from rowbell.workflow_definition")
	got := db.QueryString(t, "select concat_ws(' ', version, status, tenant_id, coalesce(document::text, 'no document')) from rowbell.workflow_version order by version desc limit 1")
	if got != "2 deleted acme no document" {
		t.Errorf("version after DELETE: %q", got)
	}
}

func TestVersionsByCopy(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	conn := db.Conn(t)
	const n = 300
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	copyIn := func(table string, columns []string, row func(i int) []any) {
		t.Helper()
		_, err := tx.CopyFrom(t.Context(), pgx.Identifier{"rowbell", table}, columns, pgx.CopyFromSlice(n, func(i int) ([]any, error) { return row(i), nil }))
		if err != nil {
			t.Fatal(err)
		}
	}
	copyIn("workflow_definition", []string{"id", "status"}, func(i int) []any { return []any{fmt.Sprint("w", i), "active"} })
	copyIn("workflow_trigger", []string{"workflow_id", "entity_type", "operation"}, func(i int) []any { return []any{fmt.Sprint("w", i), "orders", "create"} })
	copyIn("workflow_action", []string{"workflow_id", "action_type"}, func(i int) []any { return []any{fmt.Sprint("w", i), "log"} })
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := pgtest.One[int64](t, db, "select count(*) from rowbell.workflow_version where version = 1 and jsonb_array_length(document -> 'triggers') = 1 and jsonb_array_length(document -> 'actions') = 1"); got != n {
		t.Errorf("%d complete versions, want %d", got, n)
	}
	if got := pgtest.One[int64](t, db, "select count(*) from rowbell.workflow_version"); got != n {
		t.Errorf("%d versions, want %d", got, n)
	}
}

// TestConcurrentEdits lets two transactions change children of one workflow, neither
// seeing the other's. Whoever commits last must write a version with both.
func TestConcurrentEdits(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	db.Exec(t, "insert into rowbell.workflow_definition (id, status) values ('w', 'active')")
	a, b := db.Conn(t), db.Conn(t)
	exec := func(conn *pgx.Conn, sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec(a, "begin; insert into rowbell.workflow_action (id, workflow_id, action_type) values ('a', 'w', 'log')")
	exec(b, "begin; insert into rowbell.workflow_action (id, workflow_id, action_type) values ('b', 'w', 'log')")
	// a has done its checks, and so holds the lock, while b commits.
	exec(a, "set constraints all immediate")
	done := make(chan error, 1)
	go func() {
		_, err := b.Exec(context.WithoutCancel(t.Context()), "commit")
		done <- err
	}()
	pgtest.Eventually(t, waitLong, "the second editor waits for the first", func() bool {
		return pgtest.One[bool](t, db, "select exists (select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock')", b.PgConn().PID())
	})
	exec(a, "commit")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantVersions(t, db, "w", "1 active, 2 active, 3 active")
	if got := document(t, db, "w").Actions; len(got) != 2 {
		t.Errorf("the last version has actions %v, want a and b", got)
	}
}

// TestConcurrentEditsEndTogether has many editors of few workflows at once: the last
// version must be what the tables say.
func TestConcurrentEditsEndTogether(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	db.Exec(t, "insert into rowbell.workflow_definition (id, status) values ('x', 'active'), ('y', 'active')")
	const editors, edits = 6, 25
	errs := make(chan error, editors)
	for e := range editors {
		conn := db.Conn(t)
		go func() {
			for i := range edits {
				w := []string{"x", "y"}[(e+i)%2]
				id := fmt.Sprintf("%d-%d", e, i)
				if _, err := conn.Exec(context.WithoutCancel(t.Context()), fmt.Sprintf(`insert into rowbell.workflow_action (id, workflow_id, action_type) values ('%s', '%s', 'log');
					insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('%s', 'orders', 'create')`, id, w, w)); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range editors {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	actions := 0
	for _, w := range []string{"x", "y"} {
		actions += len(document(t, db, w).Actions)
	}
	if actions != editors*edits {
		t.Errorf("the last versions have %d actions, want %d", actions, editors*edits)
	}
	if gaps := pgtest.One[int64](t, db, "select count(*) from (select max(version) - count(*) as missing from rowbell.workflow_version group by workflow_id) g where missing <> 0"); gaps != 0 {
		t.Error("version numbers have gaps")
	}
}

func TestSecretsAreMoved(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	db.Exec(t, `
		insert into rowbell.workflow_definition (id, tenant_id, status) values ('w', 'acme', 'active');
		insert into rowbell.workflow_action (id, workflow_id, action_type, action_config) values ('a', 'w', 'webhook',
			'{"url": "https://x", "secret": "whsec_1", "auth": {"Password": "p\"2", "user": "u"}, "list": [{"token": "t3"}, 5], "headers": {"token": {"ref": "mine"}}}')`)
	wantVersions(t, db, "w", "1 active")
	got := pgtest.Query[string](t, db, "select concat_ws('|', plain, tenant_id, workflow_id, action_id) from rowbell.secret order by plain")
	if want := `p"2|acme|w|a,t3|acme|w|a,whsec_1|acme|w|a`; strings.Join(got, ",") != want {
		t.Errorf("secrets: %s, want %s", strings.Join(got, ","), want)
	}
	for _, where := range []string{
		"select action_config::text from rowbell.workflow_action",
		"select document::text from rowbell.workflow_version",
	} {
		text := db.QueryString(t, where)
		if strings.Contains(text, "whsec_1") || strings.Contains(text, "t3") || !strings.Contains(text, "https://x") || !strings.Contains(text, `"ref": "mine"`) {
			t.Errorf("%s: %s", where, text)
		}
	}
	ref := db.QueryString(t, "select action_config #>> '{secret,ref}' from rowbell.workflow_action")
	if plain := db.QueryString(t, "select plain from rowbell.secret where name = $1", ref); plain != "whsec_1" {
		t.Errorf("secret %s is %q, want whsec_1", ref, plain)
	}
	// A further edit moves nothing again.
	db.Exec(t, `update rowbell.workflow_action set "order" = 1`)
	if n := pgtest.One[int64](t, db, "select count(*) from rowbell.secret"); n != 3 {
		t.Errorf("%d secrets after an edit, want 3", n)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id) values ('w', 'acme'), ('v', 'acme');
		insert into rowbell.workflow_action (id, workflow_id, action_type) values ('a', 'w', 'log')`)
	tests := []struct{ sql, want string }{
		{"update rowbell.workflow_definition set id = 'x' where id = 'w'", "the id of workflow w cannot be changed"},
		{"update rowbell.workflow_definition set tenant_id = 'other' where id = 'w'", "the tenant of workflow w cannot be changed"},
		{"update rowbell.workflow_definition set tenant_id = null where id = 'w'", "the tenant of workflow w cannot be changed"},
		{"insert into rowbell.workflow_definition (id) values ('a.b')", "id_must_have_1_to_64_characters_and_no_dot"},
		{"insert into rowbell.workflow_definition (id) values (repeat('a', 65))", "id_must_have_1_to_64_characters_and_no_dot"},
		{"insert into rowbell.workflow_definition (tenant_id) values ('')", "tenant_id_must_have_1_to_200_characters_null_means_operators"},
		{"insert into rowbell.workflow_definition (status) values ('on')", "status_must_be_draft_active_or_inactive"},
		{"insert into rowbell.workflow_definition (settings) values ('[]')", "settings_must_be_a_json_object"},
		{"insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('w', 'orders', 'insert')", "operation_must_be_create_update_or_delete"},
		{"insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('nope', 'orders', 'create')", "workflow_id_must_be_a_workflow_definition"},
		{"insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ('w', 'orders', 'create', '[1]')", "field_conditions_must_be_a_json_object"},
		{"insert into rowbell.workflow_condition (workflow_id, condition_type) values ('w', 'magic')", "condition_type_must_be_a_known_one"},
		{"insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ('w', 'dog', '1')", "recipient_type_must_be_user_role_group_or_attribute"},
		{"insert into rowbell.workflow_recipient (workflow_id, action_id, recipient_type, recipient_id) values ('v', 'a', 'user', '1')", "action_id_must_be_an_action_of_the_same_workflow"},
		{`update rowbell.workflow_action set action_config = jsonb_build_object('x', repeat('x', 1100000))`, "more than 1048576"},
		{"update rowbell.workflow_version set status = 'inactive'", "the table is insert-only"},
		{"delete from rowbell.workflow_version", "the table is insert-only"},
		{"truncate rowbell.workflow_version", "the table is insert-only"},
		{"set session_replication_role = replica; delete from rowbell.workflow_version", "the table is insert-only"},
		{"truncate rowbell.captured_table", "the table is insert-only"},
	}
	for _, tt := range tests {
		_, err := db.Conn(t).Exec(t.Context(), tt.sql)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.sql, err, tt.want)
		}
	}
}

func TestWhoAndWhen(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	role, url := db.Role(t, "admin", "")
	db.Exec(t, fmt.Sprintf(`grant usage on schema rowbell to %[1]s; grant select, insert, update, delete on rowbell.workflow_definition, rowbell.workflow_action to %[1]s;
		grant execute on function rowbell.set_actor(text, text[], text, text[], boolean, jsonb) to %[1]s;
		insert into rowbell.sql_member (role_name, tenant_id) values ('%[1]s', '*')`, role))
	conn := pgtest.Connect(t, url)
	if _, err := conn.Exec(t.Context(), "insert into rowbell.workflow_definition (id) values ('w')"); err != nil {
		t.Fatal(err)
	}
	got := db.QueryString(t, "select concat_ws(' ', d.created_by, v.created_by, v.db_user) from rowbell.workflow_definition d join rowbell.workflow_version v on v.workflow_id = d.id")
	if want := role + " " + role + " " + role; got != want {
		t.Errorf("writers: %s, want %s", got, want)
	}
	before := db.QueryString(t, "select updated_at::text from rowbell.workflow_definition")
	if _, err := conn.Exec(t.Context(), `begin; select rowbell.set_actor('ann@acme', '{editor}');
		insert into rowbell.workflow_action (workflow_id, action_type) values ('w', 'log'); commit`); err != nil {
		t.Fatal(err)
	}
	got = db.QueryString(t, "select concat_ws(' ', d.created_by, v.created_by, v.db_user) from rowbell.workflow_definition d join rowbell.workflow_version v on v.workflow_id = d.id and v.version = 2")
	if want := role + " ann@acme " + role; got != want {
		t.Errorf("writers: %s, want %s", got, want)
	}
	if after := db.QueryString(t, "select updated_at::text from rowbell.workflow_definition"); after == before {
		t.Errorf("updated_at is still %s after an edit of a part", after)
	}
	if _, err := conn.Exec(t.Context(), "insert into rowbell.workflow_version (workflow_id, version, status, created_by) values ('w', 9, 'deleted', 'x')"); err == nil {
		t.Error("an admin could write workflow_version")
	}
}

func TestGenULID(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	before := pgtest.One[int64](t, db, "select (extract(epoch from clock_timestamp()) * 1000)::bigint")
	ids := pgtest.Query[string](t, db, "select rowbell.gen_ulid() from generate_series(1, 20000)")
	after := pgtest.One[int64](t, db, "select (extract(epoch from clock_timestamp()) * 1000)::bigint")
	seen := map[string]bool{}
	descents := 0
	for i, id := range ids {
		u, err := ulid.ParseStrict(id)
		if err != nil {
			t.Fatalf("%q: %v", id, err)
		}
		if ms := int64(u.Time()); ms < before-1 || ms > after+1 {
			t.Fatalf("%s is of %d, not between %d and %d", id, ms, before, after)
		}
		if seen[id] {
			t.Fatalf("%s came twice", id)
		}
		seen[id] = true
		if i > 0 && id < ids[i-1] {
			descents++
		}
	}
	if descents > len(ids)/10 { // only those within one microsecond
		t.Errorf("%d of %d ids sort before the one made before them", descents, len(ids))
	}
}
