package store_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestFirstLoad(t *testing.T) {
	t.Parallel()
	db, s := published(t)
	empty, err := s.FirstLoad(t.Context())
	if err != nil || empty.Snapshot == "" || len(empty.Versions) != 0 || len(empty.Tables) != 0 {
		t.Errorf("FirstLoad of nothing = %+v, %v", empty, err)
	}
	db.Exec(t, "insert into rowbell.workflow_definition (id, tenant_id, status) values ('b', 'acme', 'active'), ('a', null, 'draft'), ('gone', 'acme', 'active')")
	db.Exec(t, "update rowbell.workflow_definition set status = 'inactive' where id = 'b'")
	db.Exec(t, "delete from rowbell.workflow_definition where id = 'gone'")
	db.Exec(t, "create table orders (id int primary key, tenant_id text); create table old (id int primary key)")
	db.Exec(t, "call rowbell.capture('orders')")
	db.Exec(t, "call rowbell.capture('old')")
	db.Exec(t, "call rowbell.release('old')")
	// A transaction that is under way is in neither part of the answer.
	tx := db.Conn(t)
	if _, err := tx.Exec(t.Context(), "begin; insert into rowbell.workflow_definition (id) values ('later'); set constraints all immediate"); err != nil {
		t.Fatal(err)
	}
	f, err := s.FirstLoad(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%s %d %q %s, %s %d %q %s", f.Versions[0].WorkflowID, f.Versions[0].Version, f.Versions[0].TenantID, f.Versions[0].Status,
		f.Versions[1].WorkflowID, f.Versions[1].Version, f.Versions[1].TenantID, f.Versions[1].Status); len(f.Versions) != 2 || got != `a 1 "" draft, b 2 "acme" inactive` {
		t.Errorf("versions: %d, %s", len(f.Versions), got)
	}
	if len(f.Tables) != 1 || f.Tables[0].Label != "orders" || f.Tables[0].TenantColumn != "tenant_id" || !slices.Equal(f.Tables[0].KeyColumns, []string{"id"}) {
		t.Errorf("tables: %+v", f.Tables)
	}
	var sees bool
	if err := tx.QueryRow(t.Context(), "select pg_visible_in_snapshot(pg_current_xact_id(), $1::text::pg_snapshot)", f.Snapshot).Scan(&sees); err != nil || sees {
		t.Errorf("the snapshot %s sees the transaction under way (%v)", f.Snapshot, err)
	}
}

func TestExactVersions(t *testing.T) {
	t.Parallel()
	db, s := published(t)
	db.Exec(t, "insert into rowbell.workflow_definition (id, name) values ('w', 'one')")
	db.Exec(t, "update rowbell.workflow_definition set name = 'two'")
	db.Exec(t, "delete from rowbell.workflow_definition")
	got, err := s.Versions(t.Context(), []store.VersionRef{{ID: "w", Version: 3}, {ID: "w", Version: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Status != workflow.Deleted || got[0].Document != nil || got[1].Version != 1 {
		t.Errorf("Versions = %+v", got)
	}
	if w, err := workflow.Parse(got[1].Document); err != nil || w.Name != "one" {
		t.Errorf("version 1 = %+v, %v", w, err)
	}
	_, err = s.Versions(t.Context(), []store.VersionRef{{ID: "w", Version: 1}, {ID: "w", Version: 9}, {ID: "w", Version: 2}})
	if !errors.Is(err, workflow.ErrNotFound) || !strings.Contains(err.Error(), "version 9 of workflow w") {
		t.Errorf("Versions of a missing one = %v", err)
	}
	_, err = s.Tables(t.Context(), []store.VersionRef{{ID: "orders", Version: 1}})
	if !errors.Is(err, workflow.ErrNotFound) || !strings.Contains(err.Error(), "version 1 of captured table orders") {
		t.Errorf("Tables of a missing one = %v", err)
	}
	if got, err := s.Versions(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("Versions of none = %v, %v", got, err)
	}
}

// tuple gives a row as pgoutput sends it: the values of a relation's columns as text.
func tuple(values []*string) change.Row {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(values)))
	for _, v := range values {
		if v == nil {
			b = append(b, 'n')
			continue
		}
		b = append(b, 't')
		b = binary.BigEndian.AppendUint32(b, uint32(len(*v)))
		b = append(b, *v...)
	}
	return change.NewRow(b)
}

// streamed reads a table as the stream would bring it: columns in order, values in
// PostgreSQL's text format.
func streamed(t *testing.T, db *pgtest.Database, table, where string) (*change.Relation, change.Row) {
	t.Helper()
	conn := db.Conn(t).PgConn()
	r := conn.ExecParams(t.Context(), "select * from rowbell."+table+" where "+where, nil, nil, nil, nil).Read() // text format
	if r.Err != nil || len(r.Rows) != 1 {
		t.Fatalf("%s: %d rows, %v", table, len(r.Rows), r.Err)
	}
	rel := &change.Relation{Schema: "rowbell", Name: table}
	var values []*string
	for i, f := range r.FieldDescriptions {
		rel.Columns = append(rel.Columns, change.Column{Name: f.Name})
		var v *string
		if text := r.Rows[0][i]; text != nil {
			s := string(text)
			v = &s
		}
		values = append(values, v)
	}
	return rel, tuple(values)
}

// TestRowsFromTheStream wants the same of a row in the stream as of the same row in the
// table.
func TestRowsFromTheStream(t *testing.T) {
	t.Parallel()
	db, s := published(t)
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name) values ('w', 'acme', 'Grüße "x"'), ('op', null, '')`)
	db.Exec(t, "delete from rowbell.workflow_definition where id = 'op'")
	db.Exec(t, `create schema s; create table s."T,1" (id int primary key, tenant_id text, "a,b" text, "q""q" text, "null" text); create table l (x text)`)
	db.Exec(t, `call rowbell.capture('s."T,1"', redacted => array['a,b', 'q"q', 'null'])`)
	db.Exec(t, "call rowbell.capture('l')")
	for _, ref := range []store.VersionRef{{ID: "w", Version: 1}, {ID: "op", Version: 1}, {ID: "op", Version: 2}} {
		want, err := s.Versions(t.Context(), []store.VersionRef{ref})
		if err != nil {
			t.Fatal(err)
		}
		got, err := store.VersionFromRow(streamed(t, db, "workflow_version", fmt.Sprintf("workflow_id = '%s' and version = %d", ref.ID, ref.Version)))
		if err != nil || !sameJSON(got.Document, want[0].Document) {
			t.Errorf("VersionFromRow(%v) = %s, %v; want %s", ref, got.Document, err, want[0].Document)
		}
		got.Document, want[0].Document = nil, nil
		if !reflect.DeepEqual(got, want[0]) {
			t.Errorf("VersionFromRow(%v) = %+v, want %+v", ref, got, want[0])
		}
	}
	for _, label := range []string{"s.T,1", "l"} {
		want, err := s.Tables(t.Context(), []store.VersionRef{{ID: label, Version: 1}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := store.TableFromRow(streamed(t, db, "captured_table", fmt.Sprintf("label = '%s'", label)))
		if err != nil || !reflect.DeepEqual(got, want[0]) {
			t.Errorf("TableFromRow(%s) = %+v, %v; want %+v", label, got, err, want[0])
		}
	}
	rel, row := streamed(t, db, "captured_table", "label = 'l'")
	rel.Columns[0].Name = "renamed"
	if _, err := store.TableFromRow(rel, row); err == nil || !strings.Contains(err.Error(), "no column schema_name") {
		t.Errorf("TableFromRow of another shape = %v", err)
	}
	if _, err := store.VersionFromRow(&change.Relation{}, change.Row{}); err == nil {
		t.Error("VersionFromRow read nothing without complaint")
	}
}

func sameJSON(a, b json.RawMessage) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

func TestHealth(t *testing.T) {
	t.Parallel()
	db, s := published(t)
	rows := func() string {
		return strings.Join(pgtest.Query[string](t, db, "select format('%s %s %s %s %s %s', workflow_id, version, tenant_id, verdict, message, warnings) from rowbell.workflow_health order by 1"), "; ")
	}
	ok := workflow.Health{WorkflowID: "w", Version: 1, TenantID: "acme", Verdict: workflow.OK}
	bad := workflow.Health{WorkflowID: "v", Version: 2, Verdict: workflow.Broken, Message: "no column x", Warnings: []string{"slow"}}
	if err := s.WriteHealth(t.Context(), []workflow.Health{ok, bad}); err != nil {
		t.Fatal(err)
	}
	if got, want := rows(), "v 2  broken no column x {slow}; w 1 acme ok  {}"; got != want {
		t.Errorf("health: %s, want %s", got, want)
	}
	before := db.QueryString(t, "select updated_at::text from rowbell.workflow_health where workflow_id = 'w'")
	bad.Verdict, bad.Message, bad.Warnings, bad.Version = workflow.NotCaptured, "run: …", nil, 3
	if err := s.ReplaceHealth(t.Context(), []workflow.Health{ok, bad}); err != nil {
		t.Fatal(err)
	}
	if got, want := rows(), "v 3  not_captured run: … {}; w 1 acme ok  {}"; got != want {
		t.Errorf("health: %s, want %s", got, want)
	}
	if after := db.QueryString(t, "select updated_at::text from rowbell.workflow_health where workflow_id = 'w'"); after != before {
		t.Error("a verdict that stayed got a new time")
	}
	if err := s.RemoveHealth(t.Context(), []string{"v", "unknown"}); err != nil || rows() != "w 1 acme ok  {}" {
		t.Errorf("RemoveHealth: %v; %s", err, rows())
	}
	if err := s.ReplaceHealth(t.Context(), nil); err != nil || rows() != "" {
		t.Errorf("ReplaceHealth with none: %v; %s", err, rows())
	}
	if err := s.WriteHealth(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func TestUninstall(t *testing.T) {
	t.Parallel()
	// A server of its own: the role that goes belongs to all databases.
	db := pgtest.DBOn(t, pgtest.Server(t, localpg.Options{Template: true}))
	if err := store.MigrateSource(t.Context(), db.URL); err != nil {
		t.Fatal(err)
	}
	s := store.OpenSource(db.Pool(t))
	if err := s.EnsurePublications(t.Context(), "rowbell"); err != nil {
		t.Fatal(err)
	}
	slot := pgtest.Slot(t, db)
	db.Exec(t, "select pg_create_logical_replication_slot($1, 'pgoutput')", slot)
	db.Exec(t, "create table orders (id int primary key); insert into orders values (1)")
	if err := s.Capture(t.Context(), "rowbell", "orders", store.CaptureOptions{}); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, "insert into rowbell.workflow_definition (id) values ('w')")
	u, err := store.Uninstall(t.Context(), db.Pool(t))
	if err != nil || !slices.Equal(u.Publications, []string{"rowbell", "rowbell_insert"}) || !slices.Equal(u.Slots, []string{slot}) || len(u.Roles) > 0 {
		t.Errorf("Uninstall = %+v, %v", u, err)
	}
	if got := db.QueryString(t, "select format('%s %s', (select count(*) from orders), to_regnamespace('rowbell'))"); got != "1 " {
		t.Errorf("after Uninstall: %q", got)
	}
	if got := pgtest.One[int64](t, db, "select count(*) from pg_publication"); got != 0 {
		t.Errorf("%d publications are left", got)
	}
	if _, err := store.Uninstall(t.Context(), db.Pool(t)); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("second Uninstall = %v, want ErrNotFound", err)
	}
	if err := store.MigrateSource(t.Context(), db.URL); err != nil {
		t.Errorf("Migrate after Uninstall: %v", err)
	}
}

func TestPrerequisites(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t) // without our tables
	running := db.Conn(t)
	var xid uint64
	if _, err := running.Exec(t.Context(), "begin"); err != nil {
		t.Fatal(err)
	}
	if err := running.QueryRow(t.Context(), "select pg_current_xact_id()").Scan(&xid); err != nil {
		t.Fatal(err)
	}
	s := store.OpenSource(db.Pool(t))
	p, err := s.Prerequisites(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p.VersionNum < 140000 || p.WALLevel != "logical" || p.MaxSlots < 1 || p.MaxSenders < 1 || p.SystemID == "" || p.Database != db.Name ||
		p.DatabaseOID == 0 || !p.Superuser || !p.Replication || !p.CreateRole || !p.CreateOnDatabase || p.Pooler != "" || p.InRecovery {
		t.Errorf("Prerequisites = %+v", p)
	}
	if !p.EmitAllowed || !slices.Contains(p.EmitGrantees, "PUBLIC") {
		t.Errorf("pg_logical_emit_message: allowed %t, others %q", p.EmitAllowed, p.EmitGrantees)
	}
	is := func(b store.Blocker) bool { return b.PID == running.PgConn().PID() && b.XID == uint32(xid) }
	if i := slices.IndexFunc(p.Blockers, is); i < 0 {
		t.Errorf("blockers %+v lack process %d with xid %d", p.Blockers, running.PgConn().PID(), xid)
	} else if b := p.Blockers[i]; b.Since.IsZero() || b.State != "idle in transaction" || b.Database != db.Name {
		t.Errorf("blocker %+v", b)
	}

	// A role that may little sees as much of the blockers as it must.
	_, roleURL := db.Role(t, "little", "")
	pool, err := pgxpool.New(t.Context(), roleURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	p, err = store.OpenSource(pool).Prerequisites(t.Context())
	if err != nil || p.Superuser || p.Replication || p.CreateRole || p.CreateOnDatabase {
		t.Errorf("Prerequisites of a role that may little = %+v, %v", p, err)
	}
	if !slices.ContainsFunc(p.Blockers, is) {
		t.Errorf("blockers seen by a role that may little: %+v", p.Blockers)
	}
}

// TestPooler connects through something that, as poolers do, answers the startup with a
// process id of its own.
func TestPooler(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	pool, err := pgxpool.New(t.Context(), throughPooler(t, db.URL))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	p, err := store.OpenSource(pool).Prerequisites(t.Context())
	if err != nil || !strings.Contains(p.Pooler, "opened as process 4242") {
		t.Errorf("Prerequisites through a pooler: %q, %v", p.Pooler, err)
	}
}

// throughPooler listens for connections without TLS, and passes everything on but the
// process id in BackendKeyData.
func throughPooler(t *testing.T, databaseURL string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	server := u.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	t.Cleanup(func() { listener.Close() }) //nolint:errcheck // it only listened
	pass := func(client, backend net.Conn) {
		defer client.Close()  //nolint:errcheck // the end either way
		defer backend.Close() //nolint:errcheck // the end either way
		for {
			var head [5]byte // type and length
			if _, err := io.ReadFull(backend, head[:]); err != nil {
				return
			}
			message := make([]byte, 1+binary.BigEndian.Uint32(head[1:]))
			copy(message, head[:])
			if _, err := io.ReadFull(backend, message[5:]); err != nil {
				return
			}
			if message[0] == 'K' {
				binary.BigEndian.PutUint32(message[5:], 4242)
			}
			if _, err := client.Write(message); err != nil {
				return
			}
		}
	}
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			backend, err := net.Dial("tcp", server)
			if err != nil {
				client.Close() //nolint:errcheck // nothing was sent
				continue
			}
			running.Go(func() { pass(client, backend) })
			running.Go(func() {
				io.Copy(backend, client) //nolint:errcheck // it ends with the connection
				backend.Close()          //nolint:errcheck // the end either way
			})
		}
	})
	u.Host = listener.Addr().String()
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	return u.String()
}

func TestEmitAndSetActor(t *testing.T) {
	t.Parallel()
	db, _ := published(t)
	role, roleURL := db.Role(t, "app", "")
	db.Exec(t, "grant usage on schema rowbell to "+role)
	if err := tryExec(t, roleURL, "select rowbell.emit('x')"); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("emit without EXECUTE = %v", err)
	}
	db.Exec(t, "grant execute on function rowbell.emit(text, jsonb, text), rowbell.set_actor(text, text[], text, text[], boolean, jsonb) to "+role)
	slot := pgtest.Slot(t, db)
	db.Exec(t, "select pg_create_logical_replication_slot($1, 'pgoutput')", slot)
	if err := tryExec(t, roleURL, `begin; select rowbell.set_actor('ann', '{admin}', 'req-1', skip => true, attributes => '{"level": 3}'); select rowbell.emit('order.shipped', '{"id": 42}', 'acme');
		savepoint a; select rowbell.emit('never'); rollback to a; commit`); err != nil {
		t.Fatal(err)
	}
	if err := tryExec(t, roleURL, "begin; select rowbell.emit('never'); rollback"); err != nil {
		t.Fatal(err)
	}
	// Logical messages as pgoutput writes them: 'M', flags, LSN, prefix, length, content.
	data := pgtest.Query[[]byte](t, db, `select data from pg_logical_slot_get_binary_changes($1, null, null,
		'proto_version', '1', 'publication_names', 'rowbell', 'messages', 'true') where get_byte(data, 0) = ascii('M')`, slot)
	var got []string
	for _, d := range data {
		prefix, rest, _ := strings.Cut(string(d[10:]), "\x00")
		var content map[string]any
		if err := json.Unmarshal([]byte(rest[4:]), &content); err != nil {
			t.Fatal(err)
		}
		text, _ := json.Marshal(content)
		got = append(got, fmt.Sprintf("%d %s %s", d[1], prefix, text))
	}
	want := []string{
		fmt.Sprintf(`1 rowbell.context {"attributes":{"level":3},"chain":[],"id":"ann","request_id":"req-1","roles":["admin"],"session_user":"%s","skip":true}`, role),
		fmt.Sprintf(`1 rowbell.event {"name":"order.shipped","payload":{"id":42},"session_user":"%s","tenant":"acme"}`, role),
	}
	if !slices.Equal(got, want) {
		t.Errorf("messages:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for sql, want := range map[string]string{
		"select rowbell.emit('')":         "needs a name",
		"select rowbell.emit('x', '[1]')": "must be a JSON object, not array",
		"select rowbell.emit('x', jsonb_build_object('a', repeat('x', 2000000)))":                    "more than 1048576",
		"select rowbell.set_actor(repeat('x', 70000))":                                               "more than 65536",
		"select rowbell.set_actor('ann', attributes => '[3]')":                                       "must be a JSON object, not array",
		"select rowbell.set_actor('ann', attributes => jsonb_build_object('a', repeat('x', 70000)))": "more than 65536",
	} {
		if err := tryExec(t, roleURL, sql); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s = %v, want %q", sql, err, want)
		}
	}
}

// Two workers that both think they hold the slot write what they know, and don't wait for
// each other in a circle.
func TestReplaceHealthTogether(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	if err := store.Migrate(t.Context(), db.URL, db.URL); err != nil {
		t.Fatal(err)
	}
	s := store.OpenSource(db.Pool(t))
	var wg sync.WaitGroup
	for worker := range 2 {
		wg.Go(func() {
			for round := range 60 {
				var list []workflow.Health
				for i := range 40 {
					if (i+round+worker)%3 > 0 {
						list = append(list, workflow.Health{WorkflowID: fmt.Sprintf("w%02d", (i*7)%40), Version: int32(round), Verdict: workflow.OK})
					}
				}
				if err := s.ReplaceHealth(t.Context(), list); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
