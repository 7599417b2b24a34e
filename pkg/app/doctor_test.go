package app

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// found returns the findings of one check.
func found(r *Report, check string) []Finding {
	var list []Finding
	for _, f := range r.Findings {
		if f.Check == check {
			list = append(list, f)
		}
	}
	return list
}

// expect fails unless the check found the level, with the message and a mend that
// contain these words.
func expect(t *testing.T, r *Report, check string, level Level, message, mend string) {
	t.Helper()
	for _, f := range found(r, check) {
		if f.Level == level && strings.Contains(f.Message, message) && strings.Contains(strings.Join(f.Mend, "\n"), mend) {
			return
		}
	}
	t.Errorf("no finding of %s is %s with %q and the mend %q; the report is\n%s", check, level, message, mend, reportText(r))
}

func reportText(r *Report) string {
	var b bytes.Buffer
	_ = r.Write(&b, Style{})
	return b.String()
}

func TestDoctorUnreachable(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	u, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*url.URL)) string {
		v := *u
		change(&v)
		return v.String()
	}
	// A port that was free a moment ago.
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ url, message, mend string }{
		"nobody listens":  {with(func(u *url.URL) { u.Host = closed }), "nothing answers at " + closed, "listen_addresses"},
		"no such host":    {with(func(u *url.URL) { u.Host = "nowhere.invalid:5432" }), "nowhere.invalid", "Check the host"},
		"no such base":    {with(func(u *url.URL) { u.Path = "/nowhere" }), `database "nowhere" does not exist (SQLSTATE 3D000)`, "createdb nowhere"},
		"no such role":    {with(func(u *url.URL) { u.User = url.UserPassword("nobody_here", "hunter2") }), `role "nobody_here" does not exist`, "CREATE ROLE nobody_here LOGIN REPLICATION"},
		"TLS not offered": {with(func(u *url.URL) { u.RawQuery = "sslmode=require" }), "doesn't speak TLS", "sslmode=require"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := Doctor(t.Context(), Config{SourceURL: c.url})
			expect(t, r, "source", LevelFailed, c.message, c.mend)
			text := reportText(r)
			for _, never := range []string{"hunter2", "dial tcp", "failed to connect", "context deadline"} {
				if strings.Contains(text, never) {
					t.Errorf("%q is in the report:\n%s", never, text)
				}
			}
		})
	}
}

func TestDoctorServerSettings(t *testing.T) {
	t.Parallel()
	srv := pgtest.Server(t, localpg.Options{Template: true, Settings: map[string]string{
		"wal_level": "replica", "max_replication_slots": "1", "max_wal_senders": "0",
	}})
	db := pgtest.DBOn(t, srv)
	db.Exec(t, "select pg_create_physical_replication_slot('somebody')")
	r := Doctor(t.Context(), Config{SourceURL: db.URL})
	expect(t, r, "wal_level", LevelFailed, "replica, but must be logical", "ALTER SYSTEM SET wal_level = logical;")
	expect(t, r, "max_replication_slots", LevelWarning, "all 1 are in use", "ALTER SYSTEM SET max_replication_slots = 11;")
	expect(t, r, "slot", LevelFailed, "can't be made: all 1 slots are in use", "")
	expect(t, r, "max_wal_senders", LevelFailed, "all 0 are in use", "ALTER SYSTEM SET max_wal_senders = 10;")
}

func TestDoctorReplicationPrivilege(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	role, roleURL := db.Role(t, "plain", "")
	r := Doctor(t.Context(), Config{SourceURL: roleURL})
	expect(t, r, "replication", LevelFailed, role+" may not replicate", "ALTER ROLE "+role+" REPLICATION;")

	_, roleURL = db.Role(t, "reader", "replication")
	r = Doctor(t.Context(), Config{SourceURL: roleURL})
	expect(t, r, "replication", LevelOK, "may replicate", "")
	expect(t, r, "replication connection", LevelOK, "works", "")
}

func TestDoctorSeesPooler(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	u, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	direct := Doctor(t.Context(), Config{SourceURL: db.URL})
	expect(t, direct, "connection", LevelOK, "direct", "")
	u.Host = pretendPooler(t, u.Host)
	r := Doctor(t.Context(), Config{SourceURL: u.String()})
	expect(t, r, "connection", LevelFailed, "a pooler", "ROWBELL_SOURCE_URL")
}

// pretendPooler forwards to a server as poolers do: with a process id of its own in
// BackendKeyData. It returns its address.
func pretendPooler(t *testing.T, server string) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		wg.Wait()
	})
	serve := func(client net.Conn) {
		defer client.Close() //nolint:errcheck // it may be closed already
		backend, err := new(net.Dialer).DialContext(ctx, "tcp", server)
		if err != nil {
			return
		}
		defer backend.Close() //nolint:errcheck // it may be closed already
		stop := context.AfterFunc(ctx, func() { _ = client.Close(); _ = backend.Close() })
		defer stop()
		wg.Go(func() {
			_, _ = io.Copy(backend, client)
			_ = backend.Close()
		})
		forwardMessages(client, backend)
		_ = client.Close()
	}
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(client) })
		}
	})
	return l.Addr().String()
}

// forwardMessages copies the server's messages, and changes the process id.
func forwardMessages(to io.Writer, from io.Reader) {
	var head [5]byte
	for first := true; ; first = false {
		// The answer to a request for TLS is one byte.
		if _, err := io.ReadFull(from, head[:1]); err != nil {
			return
		}
		if first && head[0] == 'N' {
			if _, err := to.Write(head[:1]); err != nil {
				return
			}
			continue
		}
		if _, err := io.ReadFull(from, head[1:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(from, body); err != nil {
			return
		}
		if head[0] == 'K' {
			binary.BigEndian.PutUint32(body, 1<<30)
		}
		if _, err := to.Write(append(head[:], body...)); err != nil {
			return
		}
	}
}

func TestNamePooler(t *testing.T) {
	for _, c := range []struct {
		host       string
		port       uint16
		name, mend string
	}{
		{"ep-cool-1-pooler.eu.aws.neon.tech", 5432, "Neon's pooler", "ep-cool-1.eu.aws.neon.tech"},
		{"aws-0-eu.pooler.supabase.com", 6543, "Supabase's pooler", "db.<project>.supabase.co"},
		{"shop.proxy-abc.eu-west-1.rds.amazonaws.com", 5432, "RDS Proxy", "endpoint of the instance"},
		{"shop.postgres.database.azure.com", 6432, "Azure's PgBouncer", "port 5432"},
		{"10.0.0.7", 6432, "PgBouncer, by its port", "port 5432"},
		{"10.0.0.7", 5433, "a pooler", "that it forwards to"},
	} {
		name, mend := namePooler(c.host, c.port)
		if !strings.Contains(name, c.name) || !strings.Contains(mend, c.mend) {
			t.Errorf("%s:%d: got %q, %q", c.host, c.port, name, mend)
		}
	}
}

// installed is a migrated database with a captured table, as after a first start. It
// needs no worker: what the doctor looks at is in the tables.
func installed(t *testing.T) (*pgtest.Database, Config) {
	t.Helper()
	db := pgtest.DB(t)
	cfg := Config{SourceURL: db.URL, Slot: pgtest.Slot(t, db)}.WithDefaults()
	if err := store.Migrate(t.Context(), cfg.SourceURL, cfg.StateURL); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `create table orders (id bigint primary key, tenant_id text not null, status text)`)
	source := store.OpenSource(db.Pool(t))
	if err := source.EnsurePublications(t.Context(), cfg.Publication); err != nil {
		t.Fatal(err)
	}
	if err := source.Capture(t.Context(), cfg.Publication, "orders", store.CaptureOptions{}); err != nil {
		t.Fatal(err)
	}
	return db, cfg
}

// begun writes installation and checkpoint, as a worker does when it has made the slot.
func begun(t *testing.T, db *pgtest.Database, cfg Config) {
	t.Helper()
	db.Exec(t, `select pg_create_logical_replication_slot($1, 'pgoutput')`, cfg.Slot)
	state := store.OpenState(db.Pool(t))
	p, err := store.OpenSource(db.Pool(t)).Prerequisites(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	here := store.Installation{Instance: cfg.Instance, SystemID: p.SystemID, DatabaseOID: p.DatabaseOID}
	if err := state.SetInstallation(t.Context(), here); err != nil {
		t.Fatal(err)
	}
	first := store.First{
		Slot: cfg.Slot, SystemID: p.SystemID, Timeline: 1, Snapshot: "1:1:",
		Checkpoint: workflow.Checkpoint{Position: change.Position{Stream: 1, Seq: change.SeqWhole}, EndLSN: 1, ConfirmLSN: 1},
	}
	if err := state.Begin(t.Context(), first); err != nil {
		t.Fatal(err)
	}
}

func TestDoctorHealthy(t *testing.T) {
	t.Parallel()
	db, cfg := installed(t)
	begun(t, db, cfg)
	r := Doctor(t.Context(), cfg)
	if r.Count(LevelFailed) > 0 || r.Count(LevelWarning) > 0 {
		t.Errorf("a healthy installation has findings:\n%s", reportText(r))
	}
	expect(t, r, "source schema", LevelOK, "up to date", "")
	expect(t, r, "publications", LevelOK, "rowbell and rowbell_insert, with 1 table", "")
	expect(t, r, "slot", LevelOK, "is free", "")
	expect(t, r, "table orders", LevelOK, "tenant in tenant_id", "")
	if !strings.Contains(reportText(r), "Everything is in order.") {
		t.Error("it doesn't say that everything is in order")
	}
}

// A database that has never seen Rowbell is fine for it.
func TestDoctorBeforeTheFirstStart(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	r := Doctor(t.Context(), Config{SourceURL: db.URL, Slot: pgtest.Slot(t, db)})
	if r.Count(LevelFailed) > 0 {
		t.Errorf("an empty database fails:\n%s", reportText(r))
	}
	expect(t, r, "source schema", LevelWarning, "to be run; rowbell run does it", "rowbell migrate")
	expect(t, r, "slot", LevelOK, "rowbell run makes it", "")

	r = Doctor(t.Context(), Config{SourceURL: db.URL, Slot: pgtest.Slot(t, db), NoMigrate: true})
	expect(t, r, "source schema", LevelFailed, "ROWBELL_NO_MIGRATE is set", "rowbell migrate")

	role, roleURL := db.Role(t, "reader", "replication")
	r = Doctor(t.Context(), Config{SourceURL: roleURL, Slot: pgtest.Slot(t, db)})
	expect(t, r, "source schema", LevelFailed, role+" may not make it", "GRANT CREATE ON DATABASE "+db.Name+" TO "+role+";")
}

// Each broken thing is found, with its mend.
func TestDoctorFinds(t *testing.T) {
	t.Parallel()
	const active = `insert into rowbell.workflow_definition (id, tenant_id, status) values ('w', 'acme', 'active')`
	trigger := func(table string) string {
		return `insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('w', '` + table + `', 'create')`
	}
	for name, c := range map[string]struct {
		sql           []string // run on the installed database
		config        func(*Config)
		check         string
		level         Level
		message, mend string
	}{
		"publication dropped": {sql: []string{"drop publication rowbell"}, check: "publications", level: LevelFailed, message: "rowbell was dropped", mend: "rowbell resync"},
		"insert publication dropped": {
			sql: []string{"drop publication rowbell_insert"}, check: "publications", level: LevelFailed,
			message: "rowbell_insert was dropped", mend: "rowbell resync",
		},
		"publication altered": {sql: []string{"alter publication rowbell set (publish = 'insert')"}, check: "publications", level: LevelWarning, message: "altered by hand", mend: "rowbell run"},
		"slot dropped":        {sql: []string{"select pg_drop_replication_slot('SLOT')"}, check: "slot", level: LevelFailed, message: "is gone although it was read before", mend: "rowbell resync"},
		"slot of another plugin": {
			sql:   []string{"select pg_drop_replication_slot('SLOT')", "select pg_create_logical_replication_slot('SLOT', 'test_decoding')"},
			check: "slot", level: LevelFailed, message: "its plugin is test_decoding", mend: "",
		},
		"gap": {
			sql:   []string{"insert into rowbell.stream_gap (slot, stream, from_lsn, to_lsn, reason) values ('SLOT', 1, '0/10', '0/20', 'testing')"},
			check: "gap", level: LevelFailed, message: "changes from 0/10 to 0/20", mend: "rowbell resync",
		},
		"other instance": {config: func(c *Config) { c.Instance = "staging" }, check: "installation", level: LevelFailed, message: "staging", mend: "rowbell adopt --discard-pending"},
		"primary key dropped": {
			sql: []string{"alter table orders drop constraint orders_pkey"}, check: "table public.orders", level: LevelFailed,
			message: "UPDATE and DELETE on it fail", mend: "ALTER TABLE public.orders REPLICA IDENTITY FULL;",
		},
		"tenant column dropped": {
			sql: []string{"alter table orders drop column tenant_id"}, check: "table orders", level: LevelFailed,
			message: "tenant column tenant_id is gone", mend: "--tenant-column",
		},
		"taken out of the publication": {
			sql: []string{"alter publication rowbell drop table orders"}, check: "table orders", level: LevelFailed,
			message: "out of the publication", mend: "rowbell capture orders",
		},
		"table dropped": {sql: []string{"drop table orders"}, check: "table orders", level: LevelWarning, message: "dropped or renamed", mend: "CALL rowbell.release('orders');"},
		"workflow on no table": {
			sql: []string{active, trigger("parcels")}, check: "table parcels", level: LevelWarning,
			message: "named by w, but there is no such table", mend: "entity_type",
		},
		"workflow on a table to be captured by hand": {
			sql:    []string{"create table parcels (id int primary key)", active, trigger("parcels")},
			config: func(c *Config) { c.Capture = CaptureManual }, check: "table parcels", level: LevelWarning, message: "isn't captured", mend: "rowbell capture parcels",
		},
		"workflow on a table to be captured by itself": {
			sql:   []string{"create table parcels (id int primary key)", active, trigger("parcels")},
			check: "table parcels", level: LevelOK, message: "rowbell run captures it",
		},
		"broken workflow": {
			sql:   []string{active, "insert into rowbell.workflow_health (workflow_id, version, verdict, message) values ('w', 1, 'broken', 'no column statuss')"},
			check: "workflow w", level: LevelWarning, message: "version 1 is broken: no column statuss",
		},
		"anyone may emit": {
			sql:   []string{"insert into rowbell.sql_member (role_name, tenant_id, access) values ('clerk', 'acme', 'view')"},
			check: "forgery", level: LevelFailed, message: "1 role of tenants", mend: "REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text",
		},
		"newer schema": {
			sql:   []string{"insert into rowbell.migration_source (version_id, is_applied) values (99999, true)"},
			check: "source schema", level: LevelFailed, message: "newer than this rowbell",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, cfg := installed(t)
			begun(t, db, cfg)
			for _, s := range c.sql {
				db.Exec(t, strings.ReplaceAll(s, "SLOT", cfg.Slot))
			}
			if c.config != nil {
				c.config(&cfg)
			}
			expect(t, Doctor(t.Context(), cfg), c.check, c.level, c.message, c.mend)
		})
	}
}

// A role that owns no tables is told what to grant.
func TestDoctorRights(t *testing.T) {
	t.Parallel()
	db, cfg := installed(t)
	begun(t, db, cfg)
	role, roleURL := db.Role(t, "worker", "replication")
	db.Exec(t, `grant usage on schema rowbell to `+role+`; grant select on all tables in schema rowbell to `+role)
	cfg.SourceURL, cfg.StateURL = roleURL, roleURL
	expect(t, Doctor(t.Context(), cfg), "tenants", LevelFailed, "rows of some tenants only", "VALUES ('"+role+"', '*', 'edit')")
	db.Exec(t, `insert into rowbell.sql_member (role_name, tenant_id) values ($1, '*')`, role)
	expect(t, Doctor(t.Context(), cfg), "tenants", LevelWarning, "may not take on role rowbell_api", "GRANT rowbell_api TO "+role+";")
	db.Exec(t, `create table parcels (id int primary key)`)
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, status) values ('w', 'acme', 'active')`)
	db.Exec(t, `insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('w', 'parcels', 'create')`)
	r := Doctor(t.Context(), cfg)
	expect(t, r, "table parcels", LevelWarning, "not a member of its owner", "TO "+role+";")
	expect(t, r, "publications", LevelWarning, "not a member of their owner", "TO "+role+";")
}

// The slot of another program is not ours to take.
func TestDoctorBusySlot(t *testing.T) {
	t.Parallel()
	db, cfg := installed(t)
	begun(t, db, cfg)
	conn, err := pgconn.Connect(t.Context(), db.ReplicationURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background()) //nolint:errcheck // the test is over
	conn.Frontend().Send(&pgproto3.Query{String: `START_REPLICATION SLOT ` + cfg.Slot + ` LOGICAL 0/0 (proto_version '1', publication_names 'rowbell')`})
	if err := conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, pgtest.Patience, "the slot to be active", func() bool {
		return pgtest.One[bool](t, db, `select active from pg_replication_slots where slot_name = $1`, cfg.Slot)
	})
	r := Doctor(t.Context(), cfg)
	expect(t, r, "slot", LevelFailed, "no worker of this instance", "")
}

func TestDoctorStateElsewhere(t *testing.T) {
	t.Parallel()
	db, cfg := installed(t)
	other := pgtest.DB(t)
	cfg.StateURL = other.URL
	if err := store.Migrate(t.Context(), cfg.SourceURL, cfg.StateURL); err != nil {
		t.Fatal(err)
	}
	r := Doctor(t.Context(), cfg)
	if r.Count(LevelFailed) > 0 {
		t.Errorf("state elsewhere fails:\n%s", reportText(r))
	}
	expect(t, r, "state", LevelWarning, "actions of kind function don't work", "ROWBELL_STATE_URL")

	cfg.StateURL = db.URL + "&application_name=state"
	if !strings.Contains(db.URL, "?") {
		cfg.StateURL = db.URL + "?application_name=state"
	}
	expect(t, Doctor(t.Context(), cfg), "state", LevelWarning, "the source's own database by another URL", "Leave ROWBELL_STATE_URL out")

	cfg.StateURL = strings.Replace(other.URL, other.Name, "nowhere", 1)
	expect(t, Doctor(t.Context(), cfg), "state", LevelFailed, `"nowhere" does not exist`, "ROWBELL_STATE_URL")
}

func TestClockSkew(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for read, want := range map[time.Duration]time.Duration{-time.Minute: -time.Minute, time.Second: 0, time.Minute: 58 * time.Second} {
		if got := clockSkew(at, at.Add(read), at.Add(2*time.Second)); got != want {
			t.Errorf("read %v after: got %v, want %v", read, got, want)
		}
	}
	if got := aheadOrBehind(-90 * time.Second); got != "1m30s behind this machine's" {
		t.Error(got)
	}
}

func TestReportStyles(t *testing.T) {
	r := &Report{Source: "database shop", State: "database shop"}
	r.ok("wal_level", "logical")
	r.add(LevelWarning, "slot", "keeps much\nand more")
	r.add(LevelFailed, "replication", "may not", "ALTER ROLE x REPLICATION;")
	want := `Source: database shop

ok       wal_level    logical
warning  slot         keeps much
                      and more
FAILED   replication  may not
                        ALTER ROLE x REPLICATION;

1 problem: mend it first.
`
	if got := reportText(r); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var b bytes.Buffer
	if err := r.Write(&b, Style{Marks: true, Colour: true}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\x1b[32m✓\x1b[0m  wal_level", "\x1b[33m!\x1b[0m  slot", "\x1b[31m✗\x1b[0m  replication"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in %q", want, b.String())
		}
	}
}

func TestDoctorDirectory(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	db.Exec(t, `create table member (id bigint, role text)`)
	examine := func(sql string) *Report {
		return Doctor(t.Context(), Config{SourceURL: db.URL, DirectoryRoles: sql})
	}
	expect(t, examine(`select role from member where id = $1::bigint`), "directory", LevelOK, "can be run", "")
	expect(t, examine(`select role from members where id = $1`), "directory", LevelFailed, `relation "members" does not exist`, "ROWBELL_DIRECTORY_ROLES")
	expect(t, examine(`select role from member where id = $1`), "directory", LevelFailed, "user_id = $1::bigint", "$1 is what is asked for")
	if f := found(examine(""), "directory"); len(f) != 0 {
		t.Errorf("without a directory the doctor says %v", f)
	}
}
