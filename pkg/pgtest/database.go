package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/pkg/localpg"
)

// Database is a fresh, empty database. Its methods may be called from several
// goroutines; they end the test when they fail.
type Database struct {
	URL  string // for a superuser; not for a replication connection (ReplicationURL)
	Name string

	mu    sync.Mutex
	conn  *pgx.Conn // used by Exec and Query; opened again if it broke
	roles []string  // dropped with the database
}

// DB makes a database on the test process's server. At the end of t it is dropped, with
// its slots and the sessions that are left.
func DB(t testing.TB) *Database {
	t.Helper()
	server, err := serverURL()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return dropped(t, server, newDatabase(t, server, "template0"))
}

// filled are the templates of this test process, by their names.
var filled struct {
	mu sync.Mutex
	by map[string]string // names of databases
}

// Filled makes a database as DB does, that begins as fill leaves an empty one, given its URL.
// That happens once for each name in a test process: the others are copies, which take a
// fifth of the time that migrations take.
func Filled(t testing.TB, name string, fill func(ctx context.Context, url string) error) *Database {
	t.Helper()
	server, err := serverURL()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return dropped(t, server, newDatabase(t, server, template(t, server, name, fill)))
}

// template is the name of the database that Filled copies.
func template(t testing.TB, server, name string, fill func(ctx context.Context, url string) error) string {
	t.Helper()
	filled.mu.Lock()
	defer filled.mu.Unlock()
	if made, ok := filled.by[name]; ok {
		return made
	}
	d := newDatabase(t, server, "template0")
	if err := fill(t.Context(), d.URL); err != nil {
		t.Fatalf("pgtest: fill the template %q: %v", name, err)
	}
	if filled.by == nil {
		filled.by = make(map[string]string)
	}
	filled.by[name] = d.Name
	return d.Name
}

// dropFilled drops the templates, of a server that stays.
func dropFilled() error {
	var problems []error
	for _, name := range filled.by {
		problems = append(problems, onServer(context.Background(), shared.url, "drop database "+name+" with (force)"))
	}
	return errors.Join(problems...)
}

// dropped drops the database at the end of t.
func dropped(t testing.TB, server string, d *Database) *Database {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := d.drop(ctx, server); err != nil {
			t.Errorf("pgtest: drop database %s: %v", d.Name, err)
		}
	})
	return d
}

// DBOn makes a database on a server of the test's own. It goes with the server.
func DBOn(t testing.TB, s *localpg.Server) *Database {
	t.Helper()
	d := newDatabase(t, s.URL("postgres"), "template0")
	t.Cleanup(d.disconnect)
	return d
}

func newDatabase(t testing.TB, server, template string) *Database {
	t.Helper()
	d := &Database{Name: unique("rb_", t.Name())}
	d.URL = withDatabase(server, d.Name)
	err := onServer(context.Background(), server, "create database "+d.Name+" template "+template)
	if err != nil {
		t.Fatalf("pgtest: create database %s: %v", d.Name, err)
	}
	return d
}

// drop removes the database and all that hangs on it. Sessions are refused first, since
// a worker under test may connect again as often as it is thrown out.
func (d *Database) drop(ctx context.Context, server string) error {
	d.disconnect()
	if err := onServer(ctx, server, "alter database "+d.Name+" with allow_connections false"); err != nil {
		return err
	}
	if err := dropSlots(ctx, server, "database = $1", d.Name); err != nil {
		return err
	}
	if err := onServer(ctx, server, "drop database "+d.Name+" with (force)"); err != nil {
		return err
	}
	for _, role := range d.roles {
		if err := onServer(ctx, server, "drop role "+role); err != nil {
			return err
		}
	}
	return nil
}

// dropSlots drops the slots that match, and ends the sessions that hold them. It is not
// done at once: a walsender needs a moment to leave.
func dropSlots(ctx context.Context, server, where, arg string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }() // nothing is pending
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var left int
		err := conn.QueryRow(ctx, `with held as (
			select pg_terminate_backend(active_pid) from pg_replication_slots where active and `+where+`)
			select (select count(*) from held), count(*) from pg_replication_slots where `+where, arg).Scan(nil, &left)
		if err != nil || left == 0 {
			return err
		}
		_, err = conn.Exec(ctx, `select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active and `+where, arg)
		// 55006: taken between the look and the drop. 42704: dropped by its owner.
		if pgErr, ok := errors.AsType[*pgconn.PgError](err); err != nil && (!ok || pgErr.Code != "55006" && pgErr.Code != "42704") {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d slots are still held: %w", left, ctx.Err())
		}
	}
}

// Slot returns a slot name that nobody else has. Whatever slot has that name at the end
// of t is dropped, and the session that holds it ended.
func Slot(t testing.TB, d *Database) string {
	t.Helper()
	name := unique("rs_", t.Name())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		err := dropSlots(ctx, d.URL, "slot_name = $1", name)
		if _, refused := errors.AsType[*pgconn.ConnectError](err); refused {
			return // the test has stopped its server, whose end is the slot's too
		}
		if err != nil {
			t.Errorf("pgtest: drop slot %s: %v", name, err)
		}
	})
	return name
}

// ReplicationURL is the database's address for the replication protocol.
func (d *Database) ReplicationURL() string {
	u := mustParse(d.URL)
	q := u.Query()
	q.Set("replication", "database")
	u.RawQuery = q.Encode()
	return u.String()
}

// Conn opens a connection that is closed at the end of t.
func (d *Database) Conn(t testing.TB) *pgx.Conn {
	t.Helper()
	return Connect(t, d.URL)
}

// Connect opens a connection to any URL, such as a role's, that is closed at the end of t.
func Connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() { closeConn(conn) })
	return conn
}

// Pool opens a pool that is closed at the end of t. Return its connections before.
func (d *Database) Pool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), d.URL)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// Role makes a login role with a password and the given attributes (such as
// "replication", or ""), and returns its name, which begins with name, and its URL of
// this database. It is dropped with the database.
func (d *Database) Role(t testing.TB, name, attributes string) (role, roleURL string) {
	t.Helper()
	role = unique(name+"_", "")
	password := randomHex(8)
	d.Exec(t, fmt.Sprintf("create role %s login password '%s' %s", role, password, attributes))
	d.mu.Lock()
	d.roles = append(d.roles, role)
	d.mu.Unlock()
	u := mustParse(d.URL)
	u.User = url.UserPassword(role, password)
	return role, u.String()
}

// Exec runs SQL as a superuser: one statement with arguments, or several without.
func (d *Database) Exec(t testing.TB, sql string, args ...any) pgconn.CommandTag {
	t.Helper()
	var tag pgconn.CommandTag
	err := d.do(t.Context(), func(conn *pgx.Conn) (err error) {
		tag, err = conn.Exec(t.Context(), sql, args...)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return tag
}

// QueryString returns the single value of a query, which must be text.
func (d *Database) QueryString(t testing.TB, sql string, args ...any) string {
	t.Helper()
	return One[string](t, d, sql, args...)
}

// Query returns the rows of a query with one column.
func Query[T any](t testing.TB, d *Database, sql string, args ...any) []T {
	t.Helper()
	return collect(t, d, pgx.RowTo[T], sql, args...)
}

// Structs returns the rows of a query by the names of columns and fields, as
// pgx.RowToStructByName does.
func Structs[T any](t testing.TB, d *Database, sql string, args ...any) []T {
	t.Helper()
	return collect(t, d, pgx.RowToStructByName[T], sql, args...)
}

// One returns the single value of a query with one row and column.
func One[T any](t testing.TB, d *Database, sql string, args ...any) T {
	t.Helper()
	rows := Query[T](t, d, sql, args...)
	if len(rows) != 1 {
		t.Fatalf("%s: %d rows, want 1", sql, len(rows))
	}
	return rows[0]
}

func collect[T any](t testing.TB, d *Database, scan pgx.RowToFunc[T], sql string, args ...any) []T {
	t.Helper()
	var result []T
	err := d.do(t.Context(), func(conn *pgx.Conn) error {
		rows, err := conn.Query(t.Context(), sql, args...)
		if err != nil {
			return err
		}
		result, err = pgx.CollectRows(rows, scan)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return result
}

// do lends the database's own connection.
func (d *Database) do(ctx context.Context, f func(*pgx.Conn) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil || d.conn.IsClosed() || d.conn.Ping(ctx) != nil { // Ping: the server may have been restarted
		if d.conn != nil {
			closeConn(d.conn)
		}
		var err error
		if d.conn, err = pgx.Connect(ctx, d.URL); err != nil {
			d.conn = nil
			return err
		}
	}
	return f(d.conn)
}

func (d *Database) disconnect() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		closeConn(d.conn)
		d.conn = nil
	}
}

// closeConn says goodbye; a connection that is broken already has no more to say.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// onServer runs one statement on a connection of its own.
func onServer(ctx context.Context, server, sql string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	_, err = conn.Exec(ctx, sql)
	return err
}

// unique makes an identifier that needs no quotes, of at most 45 characters.
func unique(prefix, name string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '_'
	}, prefix+strings.TrimPrefix(name, "Test"))
	return strings.TrimRight(clean[:min(len(clean), 34)], "_") + "_" + randomHex(5)
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// withDatabase changes the database of a URL.
func withDatabase(server, name string) string {
	u := mustParse(server)
	u.Path = "/" + name
	return u.String()
}

// mustParse reads a URL that a server has been reached by.
func mustParse(raw string) *url.URL {
	u, err := url.Parse(raw)
	if err != nil {
		panic("pgtest: " + urlEnv + " must be a URL (postgres://…)")
	}
	return u
}
