package pgtest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/localpg"
)

func TestMain(m *testing.M) { Main(m) }

func TestChoose(t *testing.T) {
	t.Parallel()
	yes := func() error { return nil }
	no := func(text string) func() error { return func() error { return errors.New(text) } }
	unasked := func() error { t.Error("asked although an earlier source was there"); return nil }
	for _, c := range []struct {
		name             string
		url              string
		binaries, engine func() error
		want             source
	}{
		{"the URL comes first", "postgres://x", unasked, unasked, fromURL},
		{"then binaries", "", yes, unasked, fromBinaries},
		{"then a container", "", no("no initdb"), yes, fromContainer},
	} {
		got, err := choose(c.url, c.binaries, c.engine)
		if got != c.want || err != nil {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
	got, err := choose("", no("no initdb"), no("no socket"))
	if got != 0 || err == nil {
		t.Fatalf("nothing there: %v, %v", got, err)
	}
	for _, want := range []string{"apt-get install postgresql", urlEnv, "no initdb", "no socket"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

func TestUnique(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"TestOrders":                            `^rb_orders_[0-9a-f]{10}$`,
		"TestA/Größe/b c":                       `^rb_a_gr__e_b_c_[0-9a-f]{10}$`,
		"Test" + strings.Repeat("VeryLong", 20): `^rb_(verylong){3}verylon_[0-9a-f]{10}$`,
		"":                                      `^rb_[0-9a-f]{10}$`,
	} {
		a, b := unique("rb_", name), unique("rb_", name)
		if !regexp.MustCompile(want).MatchString(a) {
			t.Errorf("%q: %s, want %s", name, a, want)
		}
		if a == b {
			t.Errorf("%q: twice %s", name, a)
		}
	}
}

func TestDatabase(t *testing.T) {
	t.Parallel()
	db := DB(t)
	db.Exec(t, "create table a (n int, s text); insert into a values (1, 'x'), (2, 'y')")
	if tag := db.Exec(t, "insert into a values ($1, $2)", 3, "z"); tag.RowsAffected() != 1 {
		t.Errorf("tag %s", tag)
	}
	if got := Query[string](t, db, "select s from a where n > $1 order by n", 1); len(got) != 2 || got[0] != "y" || got[1] != "z" {
		t.Errorf("Query: %q", got)
	}
	type row struct {
		N int
		S string
	}
	if got := Structs[row](t, db, "select n, s from a order by n"); len(got) != 3 || got[2] != (row{3, "z"}) {
		t.Errorf("Structs: %v", got)
	}
	if got := One[int64](t, db, "select count(*) from a"); got != 3 {
		t.Errorf("One: %d", got)
	}
	if got := db.QueryString(t, "select current_database()::text"); got != db.Name {
		t.Errorf("current_database() = %s, want %s", got, db.Name)
	}
	var n int
	if err := db.Conn(t).QueryRow(t.Context(), "select count(*) from a").Scan(&n); err != nil || n != 3 {
		t.Errorf("Conn: %d, %v", n, err)
	}
	if err := db.Pool(t).QueryRow(t.Context(), "select count(*) from a").Scan(&n); err != nil || n != 3 {
		t.Errorf("Pool: %d, %v", n, err)
	}
	if got := One[int](t, DB(t), "select count(*) from pg_class where relname = 'a'"); got != 0 {
		t.Error("a second database has the first one's table")
	}
}

func TestFilledOnce(t *testing.T) {
	t.Parallel()
	times := 0
	fill := func(ctx context.Context, url string) error {
		times++
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer closeConn(conn)
		_, err = conn.Exec(ctx, `create table filled (n int); insert into filled values (1)`)
		return err
	}
	for range 3 {
		d := Filled(t, "a table", fill)
		if n := One[int](t, d, `select count(*)::int from filled`); n != 1 {
			t.Errorf("%d rows, want 1", n)
		}
		d.Exec(t, `insert into filled values (2)`) // in the copy alone
	}
	if times != 1 {
		t.Errorf("filled %d times", times)
	}
}

// What hangs on a database goes with it: slots (one of them held by a session), roles
// that own objects, and sessions.
func TestDatabaseIsDropped(t *testing.T) {
	t.Parallel()
	watch := DB(t)
	var db *Database
	var role string
	held := make(chan error, 1)
	t.Run("use", func(t *testing.T) {
		db = DB(t)
		slot := Slot(t, db)
		db.Exec(t, "select pg_create_logical_replication_slot($1, 'pgoutput')", slot)
		db.Exec(t, "select pg_create_logical_replication_slot($1, 'pgoutput')", slot+"_held")

		repl, err := pgx.Connect(context.Background(), withReplication(db))
		if err != nil {
			t.Fatal(err)
		}
		db.Exec(t, "create publication p for all tables")
		go func() {
			_, err := repl.PgConn().Exec(context.Background(),
				"START_REPLICATION SLOT "+slot+"_held LOGICAL 0/0 (proto_version '1', publication_names 'p')").ReadAll()
			_ = repl.Close(context.Background())
			held <- err
		}()
		Eventually(t, Patience, "the slot is held", func() bool {
			return One[bool](t, db, "select active from pg_replication_slots where slot_name = $1", slot+"_held")
		})

		var roleURL string
		role, roleURL = db.Role(t, "clerk", "createrole")
		conn := Connect(t, roleURL)
		db.Exec(t, "grant create on schema public to "+role)
		if _, err := conn.Exec(t.Context(), "create table mine ()"); err != nil {
			t.Fatal(err)
		}
	})
	if err := <-held; err == nil {
		t.Error("the session that held the slot was not ended")
	}
	if n := One[int](t, watch, "select count(*) from pg_replication_slots where database = $1", db.Name); n != 0 {
		t.Errorf("%d slots are left", n)
	}
	if n := One[int](t, watch, "select count(*) from pg_database where datname = $1", db.Name); n != 0 {
		t.Error("the database is left")
	}
	if n := One[int](t, watch, "select count(*) from pg_roles where rolname = $1", role); n != 0 {
		t.Error("the role is left")
	}
}

func withReplication(db *Database) string {
	return db.ReplicationURL() + "&default_query_exec_mode=simple_protocol"
}

func TestServerOfItsOwn(t *testing.T) {
	t.Parallel()
	s := Server(t, localpg.Options{Template: true, Settings: map[string]string{"wal_level": "replica"}})
	db := DBOn(t, s)
	Slot(t, db)
	if got := db.QueryString(t, "show wal_level"); got != "replica" {
		t.Errorf("wal_level %s", got)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := db.QueryString(t, "select current_database()::text"); got != db.Name {
		t.Errorf("after a restart: %s", got)
	}
	if err := s.Kill(); err != nil { // and the cleanup doesn't mind
		t.Fatal(err)
	}
}

func TestCheckServer(t *testing.T) {
	t.Parallel()
	s := Server(t, localpg.Options{Template: true, Settings: map[string]string{"wal_level": "replica"}})
	db := DBOn(t, s)
	_, plain := db.Role(t, "plain", "")
	err := checkServer(t.Context(), plain)
	if err == nil || !strings.Contains(err.Error(), "wal_level is replica") || !strings.Contains(err.Error(), "no superuser") {
		t.Errorf("got %v", err)
	}
	if err := checkServer(t.Context(), DB(t).URL); err != nil {
		t.Error(err)
	}
}

// echo is a server that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// answer sends a line and returns what comes back within the time.
func answer(c net.Conn, within time.Duration) (string, error) {
	if _, err := c.Write([]byte("ping\n")); err != nil {
		return "", err
	}
	return read(c, within)
}

func read(c net.Conn, within time.Duration) (string, error) {
	_ = c.SetReadDeadline(time.Now().Add(within))
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	return string(buf[:n]), err
}

func TestProxy(t *testing.T) {
	t.Parallel()
	p := Proxy(t, echo(t))
	works := func(c net.Conn) {
		t.Helper()
		if got, err := answer(c, 10*time.Second); got != "ping\n" || err != nil {
			t.Fatalf("answer %q, %v", got, err)
		}
	}
	broken := func(c net.Conn) {
		t.Helper()
		if got, err := answer(c, 10*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("answer %q, %v; want a broken connection", got, err)
		}
	}
	a := dial(t, p.Addr())
	works(a)

	p.Cut()
	broken(a)
	b := dial(t, p.Addr())
	works(b)

	p.Pause()
	if got, err := answer(b, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("paused: %q, %v", got, err)
	}
	c := dial(t, p.Addr())
	if got, err := answer(c, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("paused, new connection: %q, %v", got, err)
	}
	p.Resume()
	for name, conn := range map[string]net.Conn{"old": b, "new": c} {
		if got, err := read(conn, 10*time.Second); got != "ping\n" || err != nil {
			t.Fatalf("resumed, %s connection: %q, %v", name, got, err)
		}
	}

	p.Pause()
	if _, err := c.Write([]byte("lost")); err != nil {
		t.Fatal(err)
	}
	p.Cut() // also what is held back
	broken(c)
	p.Resume()

	p.Refuse()
	broken(b)
	if d, err := net.Dial("tcp", p.Addr()); err == nil { // the kernel may accept before the proxy breaks it
		t.Cleanup(func() { _ = d.Close() })
		broken(d)
	}
	p.Resume()
	works(dial(t, p.Addr()))
	if n := p.Connections(); n != 4 {
		t.Errorf("%d connections, want 4", n)
	}
}

// The end of one direction is passed on; the other goes on.
func TestProxyHalfClose(t *testing.T) {
	t.Parallel()
	c := dial(t, Proxy(t, echo(t)).Addr())
	if _, err := c.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if got, err := io.ReadAll(c); string(got) != "last words" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestProxyURL(t *testing.T) {
	t.Parallel()
	db := DB(t)
	p, url := ProxyURL(t, db.URL)
	conn := Connect(t, url)
	if err := conn.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Cut()
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("the connection outlived the cut")
	}
	if err := Connect(t, url).Ping(t.Context()); err != nil {
		t.Error(err)
	}
}
