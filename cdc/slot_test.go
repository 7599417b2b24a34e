package cdc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

func TestSlotInfo(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	cfg := prepare(t, db)
	info, err := SlotInfo(t.Context(), cfg)
	if err != nil || info.Exists || !errors.Is(info.Err(cfg), ErrNoSlot) {
		t.Errorf("before it exists: %+v, %v, %v", info, err, info.Err(cfg))
	}
	from, err := CreateSlot(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if info, err = SlotInfo(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if !info.Exists || info.Plugin != "pgoutput" || info.Database != db.Name || info.Foreign != "" || info.Lost != "" ||
		info.Confirmed != from || info.Restart == 0 || info.Restart > from || info.WALStatus != "reserved" ||
		info.RetainedBytes <= 0 || info.SafeBytes != -1 || info.WALPos < from || info.ActivePID != 0 || info.Err(cfg) != nil {
		t.Errorf("made at %s: %+v", from, info)
	}
	if version := pgtest.One[int](t, db, `select current_setting('server_version_num')::int`); info.Failover != (version >= 170000) {
		t.Errorf("version %d: failover is %v", version, info.Failover)
	}
	s := connect(t, cfg)
	if info, err = SlotInfo(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if info.ActivePID == 0 || info.ApplicationName != "rowbell/test/w1" || !info.Ours || info.Since.IsZero() {
		t.Errorf("held: %+v", info)
	}
	if err := DropSlot(t.Context(), cfg); !errors.Is(err, ErrBusy) {
		t.Errorf("drop a held slot: %v", err)
	}
	s.Abort()
	pgtest.Eventually(t, 10*time.Second, "the slot can be dropped", func() bool { return DropSlot(t.Context(), cfg) == nil })
	if err := DropSlot(t.Context(), cfg); !errors.Is(err, ErrNoSlot) {
		t.Errorf("drop what is gone: %v", err)
	}
	if _, err := Connect(t.Context(), cfg); !errors.Is(err, ErrNoSlot) {
		t.Errorf("connect to what is gone: %v", err)
	}
}

func TestBusySlot(t *testing.T) {
	t.Parallel()
	_, cfg := newSource(t)
	r := startReader(t, connect(t, cfg), true)
	second := cfg
	second.WorkerID = "w2"
	_, err := Connect(t.Context(), second)
	busy, ok := errors.AsType[*BusyError](err)
	if !ok || !errors.Is(err, ErrBusy) {
		t.Fatalf("got %v, want ErrBusy", err)
	}
	if busy.PID == 0 || busy.ApplicationName != "rowbell/test/w1" || !busy.Ours || busy.Slot != cfg.Slot || busy.Since.IsZero() {
		t.Errorf("%+v", busy)
	}

	stranger := second
	stranger.Instance = "tes" // begins like the other's, and is not it
	_, err = Connect(t.Context(), stranger)
	if busy, ok := errors.AsType[*BusyError](err); !ok || busy.Ours || !strings.Contains(busy.Error(), "pg_terminate_backend") {
		t.Errorf("another instance got %v", err)
	}
	if ended, err := EndHolder(t.Context(), stranger, busy.PID, "rowbell/test/w1"); ended || err != nil {
		t.Errorf("another instance ended the holder: %v, %v", ended, err)
	}
	if ended, err := EndHolder(t.Context(), second, busy.PID+1, "rowbell/test/w1"); ended || err != nil {
		t.Errorf("ended whoever holds the slot: %v, %v", ended, err)
	}
	if ended, err := EndHolder(t.Context(), second, busy.PID, "rowbell/test/w0"); ended || err != nil {
		t.Errorf("ended another worker than the one not heard of: %v, %v", ended, err)
	}
	if ended, err := EndHolder(t.Context(), second, busy.PID, "rowbell/test/w1"); !ended || err != nil {
		t.Errorf("did not end the holder: %v, %v", ended, err)
	}
	if err := <-r.done; !errors.Is(err, ErrShutdown) {
		t.Errorf("the ended holder's Run: %v", err)
	}
	pgtest.Eventually(t, 10*time.Second, "the second worker takes the slot", func() bool {
		s, err := Connect(t.Context(), second)
		if err != nil {
			return false
		}
		s.Abort()
		return true
	})
}

func TestSlotOfAnother(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	for name, create := range map[string]string{
		"plugin":   `select pg_create_logical_replication_slot($1, 'test_decoding')`,
		"physical": `select pg_create_physical_replication_slot($1)`,
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{SourceURL: db.URL, Slot: pgtest.Slot(t, db), Publication: "p ub", Instance: "test", WorkerID: "w"}
			if name == "plugin" {
				cfg.Publication = "other"
			}
			db.Exec(t, `create publication `+quoteIdent(cfg.Publication)+`; create publication `+quoteIdent(cfg.Publication+"_insert"))
			db.Exec(t, create, cfg.Slot)
			if _, err := CreateSlot(t.Context(), cfg); !errors.Is(err, ErrMismatched) {
				t.Errorf("create: %v", err)
			}
			if _, err := Connect(t.Context(), cfg); !errors.Is(err, ErrMismatched) || !strings.Contains(err.Error(), "ROWBELL_SLOT") {
				t.Errorf("connect: %v", err)
			}
			if err := DropSlot(t.Context(), cfg); !errors.Is(err, ErrMismatched) {
				t.Errorf("drop: %v", err)
			}
		})
	}
	t.Run("database", func(t *testing.T) {
		_, theirs := newSource(t)
		mine := prepare(t, pgtest.DB(t))
		mine.Slot = theirs.Slot
		if _, err := Connect(t.Context(), mine); !errors.Is(err, ErrMismatched) {
			t.Errorf("connect: %v", err)
		}
	})
}

func TestCreateSlotTwice(t *testing.T) {
	t.Parallel()
	_, cfg := newSource(t)
	if _, err := CreateSlot(t.Context(), cfg); !errors.Is(err, ErrExists) {
		t.Errorf("got %v, want ErrExists", err)
	}
}

// A slot in the making waits for older transactions. Who is waited for stands in the
// error, and a cancelled attempt leaves nothing behind.
func TestCreateSlotBehindATransaction(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	cfg := prepare(t, db)
	conn := db.Conn(t)
	if _, err := conn.Exec(t.Context(), `set application_name = 'forgotten psql'; begin; insert into orders values (1)`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { _, err := CreateSlot(ctx, cfg); done <- err }()
	pid := int(conn.PgConn().PID())
	// The blocker is looked for each second: the second look comes after the first was noted.
	looks := func() int {
		return pgtest.One[int](t, db, `select count(*)::int from pg_stat_activity where datname = current_database()
			and application_name = 'rowbell/test/w1' and backend_type = 'client backend' and query like '%pg_prepared_xacts%'`)
	}
	pgtest.Eventually(t, 20*time.Second, "somebody looks who is waited for", func() bool { return looks() > 0 })
	waited := time.NewTimer(1500 * time.Millisecond)
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-waited.C:
	}
	cancel()
	err := <-done
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "process "+strconv.Itoa(pid)) || !strings.Contains(err.Error(), "forgotten psql") {
		t.Errorf("got %v, want who was waited for (process %d)", err, pid)
	}
	if _, err := conn.Exec(t.Context(), `commit`); err != nil {
		t.Fatal(err)
	}
	if info, err := SlotInfo(t.Context(), cfg); err != nil || info.Exists {
		t.Errorf("the cancelled attempt left %+v, %v", info, err)
	}
	if _, err := CreateSlot(t.Context(), cfg); err != nil {
		t.Errorf("once nobody is in the way: %v", err)
	}
}

func TestLostSlot(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t, localpg.Options{Template: true, Settings: map[string]string{
		"max_slot_wal_keep_size": "1MB", "min_wal_size": "32MB", "max_wal_size": "48MB",
	}})
	db := pgtest.DBOn(t, server)
	cfg := prepare(t, db)
	from, err := CreateSlot(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var info Slot
	pgtest.Eventually(t, time.Minute, "the slot is lost", func() bool {
		db.Exec(t, `select pg_switch_wal(); create table filler as select 1 as i; drop table filler`)
		db.Exec(t, `checkpoint`)
		if info, err = SlotInfo(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		return info.Lost != ""
	})
	if info.WALStatus != "lost" {
		t.Errorf("%+v", info)
	}
	_, err = Connect(t.Context(), cfg)
	lost, ok := errors.AsType[*LostError](err)
	if !ok || !errors.Is(err, ErrLost) {
		t.Fatalf("got %v, want ErrLost", err)
	}
	if lost.Confirmed != from || lost.Err == nil || !strings.Contains(lost.Error(), "rowbell resync") {
		t.Errorf("made at %s: %+v", from, lost)
	}
}

func TestPublicationMissing(t *testing.T) {
	t.Parallel()
	db, cfg := newSource(t)
	r := startReader(t, connect(t, cfg), false)
	db.Exec(t, `drop publication "p ub_insert"`)
	db.Exec(t, `insert into orders values (1)`)
	err := <-r.done
	if !errors.Is(err, ErrNoPublication) || !strings.Contains(err.Error(), `"p ub_insert"`) {
		t.Errorf("in mid-stream: %v", err)
	}
	if _, err := Connect(t.Context(), cfg); !errors.Is(err, ErrNoPublication) || !strings.Contains(err.Error(), "p ub_insert") {
		t.Errorf("at connect: %v", err)
	}
	if _, err := CreateSlot(t.Context(), cfg); !errors.Is(err, ErrNoPublication) {
		t.Errorf("at creation: %v", err)
	}
}

func TestRoleMayNotReplicate(t *testing.T) {
	t.Parallel()
	db, cfg := newSource(t)
	var role string
	role, cfg.SourceURL = db.Role(t, "plain", "")
	_, err := Connect(t.Context(), cfg)
	if !errors.Is(err, ErrPrivilege) || !strings.Contains(err.Error(), fmt.Sprintf(`alter role "%s" with replication`, role)) {
		t.Errorf("got %v", err)
	}
	if strings.Contains(err.Error(), "postgres://") {
		t.Errorf("the error shows the URL: %v", err)
	}
	_, cfg.SourceURL = db.Role(t, "repl", "replication")
	s, err := Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Abort()
}

func TestWALLevel(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t, localpg.Options{Template: true, Settings: map[string]string{"wal_level": "replica"}})
	cfg := prepare(t, pgtest.DBOn(t, server))
	if _, err := CreateSlot(t.Context(), cfg); !errors.Is(err, ErrWALLevel) || !strings.Contains(err.Error(), "alter system set wal_level") {
		t.Errorf("create: %v", err)
	}
	if _, err := Connect(t.Context(), cfg); !errors.Is(err, ErrWALLevel) {
		t.Errorf("connect: %v", err)
	}
}

// pgbouncer answers so to a replication connection.
func TestPooler(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b := pgproto3.NewBackend(c, c)
			if _, err := b.ReceiveStartupMessage(); err == nil {
				b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "08P01", Message: "unsupported startup parameter: replication"})
				_ = b.Flush() // the client sees nothing then, and the test fails
			}
			_ = c.Close()
		}
	}()
	cfg := Config{SourceURL: "postgres://u:secret@" + l.Addr().String() + "/db?sslmode=disable", Slot: "s", Publication: "p", Instance: "i", WorkerID: "w"}
	_, err = connectReplication(t.Context(), cfg.withDefaults())
	if !errors.Is(err, ErrPooler) || !strings.Contains(err.Error(), "ROWBELL_SOURCE_URL") || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

func TestServerThatIsDown(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t, localpg.Options{Template: true})
	cfg := prepare(t, pgtest.DBOn(t, server))
	if err := server.Stop(t.Context(), localpg.Fast); err != nil {
		t.Fatal(err)
	}
	_, err := Connect(t.Context(), cfg)
	if !refused(err) {
		t.Errorf("got %v, want a refused connection", err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	_, err := Connect(t.Context(), Config{Instance: "a/b", Coalesce: "maybe", StatusInterval: time.Minute})
	for _, want := range []string{"SourceURL", "Slot", "Publication", "Instance", "Coalesce", "StatusInterval"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v says nothing of %s", err, want)
		}
	}
}

func TestTimelineHistory(t *testing.T) {
	t.Parallel()
	t.Run("first timeline", func(t *testing.T) {
		t.Parallel()
		if h, err := TimelineHistory(t.Context(), Config{}, 1); err != nil || h != nil {
			t.Errorf("%v, %v", h, err)
		}
	})
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		got, err := parseHistory("# a comment\n1\t0/196EFB8\tno recovery target specified\n\n2\t16/B374D848\tbefore 2026\n")
		if want := []Switch{{1, 0x196EFB8}, {2, 0x16_B374D848}}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v", got, err)
		}
		for _, bad := range []string{"1", "x\t0/1\t", "1\t0\t", "99999999999\t0/1"} {
			if got, err := parseHistory(bad); err == nil {
				t.Errorf("%q gave %v", bad, got)
			}
		}
	})
	t.Run("promoted standby", func(t *testing.T) {
		t.Parallel()
		primary := pgtest.Server(t, localpg.Options{})
		db := pgtest.DBOn(t, primary)
		cfg := prepare(t, db)
		if err := primary.Stop(t.Context(), localpg.Fast); err != nil {
			t.Fatal(err)
		}
		standby := pgtest.Server(t, localpg.Options{From: primary.DataDir(), Standby: true})
		cfg.SourceURL = standby.URL(db.Name)
		if _, err := CreateSlot(t.Context(), cfg); !errors.Is(err, ErrStandby) {
			t.Errorf("create on a standby: %v", err)
		}
		conn := pgtest.Connect(t, cfg.SourceURL)
		var promoted bool
		if err := conn.QueryRow(t.Context(), `select pg_promote()`).Scan(&promoted); err != nil || !promoted {
			t.Fatalf("promote: %v, %v", promoted, err)
		}
		from, err := CreateSlot(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		s := connect(t, cfg)
		defer s.Abort()
		if got := s.System().Timeline; got != 2 {
			t.Errorf("timeline %d, want 2", got)
		}
		history, err := TimelineHistory(t.Context(), cfg, 2)
		if err != nil || len(history) != 1 || history[0].Timeline != 1 || history[0].LSN == 0 || history[0].LSN > from {
			t.Errorf("history %v (%v), slot made at %s", history, err, from)
		}
	})
}

// What the versions say of a slot that can't be read any more.
func TestLostMessages(t *testing.T) {
	t.Parallel()
	for _, e := range []pgconn.PgError{
		{Code: "55000", Message: `cannot read from logical replication slot "s"`, Detail: "This slot has been invalidated because it exceeded the maximum reserved size."}, // 14, 15
		{Code: "55000", Message: `can no longer get changes from replication slot "s"`},                                                                                    // 16, 17
		{Code: "55000", Message: `can no longer access replication slot "s"`, Detail: "This replication slot has been invalidated due to \"wal_removed\"."},                // 18
		{Code: "58P01", Message: "requested WAL segment 000000010000000000000003 has already been removed"},
	} {
		if !lostMessage(&e) {
			t.Errorf("%s %q is not taken for a lost slot", e.Code, e.Message)
		}
	}
	for _, e := range []pgconn.PgError{
		{Code: "55006", Message: `replication slot "s" is active for PID 1`},
		{Code: "42704", Message: `replication slot "s" does not exist`},
		{Code: "55000", Message: "logical decoding requires wal_level >= logical"},
	} {
		if lostMessage(&e) {
			t.Errorf("%s %q is taken for a lost slot", e.Code, e.Message)
		}
	}
}
