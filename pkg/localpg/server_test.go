package localpg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// start runs a server that is closed at the test's end.
func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// value runs a query with one text result.
func value(t *testing.T, s *Server, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	if err != nil {
		t.Fatalf("%v; the server's log ends:\n%s", err, s.Log())
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var v string
	if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// eventually polls until ok says yes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
		<-tick.C
	}
}

func gone(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

func TestServer(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Template: true, Settings: map[string]string{"work_mem": "5MB", "cluster_name": "it's"}})
	for sql, want := range map[string]string{
		"show wal_level":                  "logical",
		"show max_connections":            "200",
		"show max_wal_senders":            "64",
		"show max_replication_slots":      "64",
		"show fsync":                      "off",
		"show work_mem":                   "5MB",
		"show cluster_name":               "it's",
		"show server_encoding":            "UTF8",
		"show listen_addresses":           "127.0.0.1",
		"show unix_socket_directories":    "",
		"show port":                       strconv.Itoa(s.Port()),
		"select current_user::text":       Superuser,
		"select 'é'::text || chr(8364)":   "é€",
		"select inet_server_addr()::text": "127.0.0.1/32",
	} {
		if got := value(t, s, sql); got != want {
			t.Errorf("%s: %q, want %q", sql, got, want)
		}
	}
	if got := value(t, s, "show server_version"); !strings.HasPrefix(got, s.Binaries().Version) {
		t.Errorf("server_version %q, Binaries().Version %q", got, s.Binaries().Version)
	}
}

// Each way to stop is followed by a start that finds what was committed.
func TestRestart(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Template: true})
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "create table kept (n int)"); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(t.Context())
	port, rows := s.Port(), 0
	for _, c := range []struct {
		name string
		stop func() error
	}{
		{"restart", func() error { return nil }},
		{"smart", func() error { return s.Stop(t.Context(), Smart) }},
		{"fast", func() error { return s.Stop(t.Context(), Fast) }},
		{"immediate", func() error { return s.Stop(t.Context(), Immediate) }},
		{"kill", s.Kill},
		{"kill twice", func() error { return errors.Join(s.Kill(), s.Kill()) }},
	} {
		value(t, s, "with i as (insert into kept values (1) returning n) select n::text from i")
		rows++
		before := s.PID()
		if err := c.stop(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if c.name != "restart" {
			if s.PID() != 0 {
				t.Fatalf("%s: PID is still %d", c.name, s.PID())
			}
			<-s.Done()
			if c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
				t.Fatalf("stopped, and still accepts: %v", c.Close())
			}
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if s.PID() == before || s.PID() == 0 {
			t.Fatalf("%s: PID %d, before %d", c.name, s.PID(), before)
		}
		if got := value(t, s, "select count(*)::text from kept"); got != strconv.Itoa(rows) {
			t.Fatalf("%s: %s rows, want %d", c.name, got, rows)
		}
	}
	if s.Port() != port {
		t.Errorf("port %d, was %d", s.Port(), port)
	}
}

// A smart stop waits for clients; the caller's context bounds it, and a fast one helps.
func TestStopTimesOut(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Template: true})
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := s.Stop(ctx, Smart); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("smart stop with a client: %v", err)
	}
	if err := s.Stop(t.Context(), Fast); err != nil {
		t.Fatal(err)
	}
}

func TestFromIsAColdBackup(t *testing.T) {
	t.Parallel()
	a := start(t, Options{Template: true})
	if _, err := Start(t.Context(), Options{From: a.DataDir()}); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Fatalf("copy of a running server: %v", err)
	}
	id := value(t, a, "select system_identifier::text from pg_control_system()")
	if err := a.Stop(t.Context(), Fast); err != nil {
		t.Fatal(err)
	}
	b := start(t, Options{From: a.DataDir(), Standby: true})
	if err := a.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := value(t, b, "select system_identifier::text from pg_control_system()"); got != id {
		t.Errorf("system identifier %s, want %s", got, id)
	}
	if got := value(t, b, "select pg_is_in_recovery()::text"); got != "true" {
		t.Errorf("pg_is_in_recovery() %s", got)
	}
	if got := value(t, b, "select pg_promote()::text"); got != "true" {
		t.Errorf("pg_promote() %s", got)
	}
	if a.Port() == b.Port() {
		t.Errorf("both on port %d", a.Port())
	}
}

// Without Template each cluster is its own.
func TestFreshClusterHasItsOwnIdentity(t *testing.T) {
	t.Parallel()
	a, b := start(t, Options{Template: true}), start(t, Options{})
	const q = "select system_identifier::text from pg_control_system()"
	if x, y := value(t, a, q), value(t, b, q); x == y {
		t.Errorf("both have system identifier %s", x)
	}
}

func TestStartFailureShowsTheLog(t *testing.T) {
	t.Parallel()
	_, err := Start(t.Context(), Options{Template: true, Settings: map[string]string{"no_such_setting": "1"}})
	if err == nil || !strings.Contains(err.Error(), `unrecognized configuration parameter "no_such_setting"`) {
		t.Fatalf("got %v", err)
	}
}

func TestStartOnATakenPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, err = Start(t.Context(), Options{Template: true, Port: l.Addr().(*net.TCPAddr).Port})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("got %v", err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(*Server) error{
		"running": func(*Server) error { return nil },
		"stopped": func(s *Server) error { return s.Stop(t.Context(), Fast) },
		"killed":  (*Server).Kill,
	} {
		s := start(t, Options{Template: true})
		id := sharedMemory(t, s)
		if err := before(s); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !gone(s.dir) {
			t.Errorf("%s: %s is still there", name, s.dir)
		}
		if sharedMemoryExists(id) {
			t.Errorf("%s: shared memory segment %s is still there", name, id)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: second Close: %v", name, err)
		}
		if err := s.Restart(t.Context()); err == nil {
			t.Errorf("%s: a closed server starts again", name)
		}
	}
}

// sharedMemory returns the id of the server's System V segment, from postmaster.pid.
func sharedMemory(t *testing.T, s *Server) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.DataDir(), "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(strings.Split(string(data), "\n")[6])
	if len(fields) != 2 {
		t.Fatalf("postmaster.pid: %q", data)
	}
	return fields[1]
}

// sharedMemoryExists looks into Linux's table; elsewhere it can't tell.
func sharedMemoryExists(id string) bool {
	data, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == id {
			return true
		}
	}
	return false
}

// childEnv makes the test binary start a server and wait to be killed.
const childEnv = "LOCALPG_TEST_CHILD"

// child is the other process of TestDiesWithItsParent.
func child() {
	s, err := Start(context.Background(), Options{Template: true})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("server", s.PID(), s.dir)
	// Make the threads that started it idle, and let others come and go.
	for range 20 {
		done := make(chan bool)
		go func() { runtime.LockOSThread(); close(done) }() // its thread ends with it
		<-done
	}
	fmt.Println("settled", s.PID())
	<-make(chan bool)
}

func TestDiesWithItsParent(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid, again int
	var dir string
	in := bufio.NewReader(out)
	if _, err := fmt.Fscanf(in, "server %d %s\nsettled %d\n", &pid, &dir, &again); err != nil {
		_ = cmd.Process.Kill()
		t.Fatalf("%v: %v", err, cmd.Wait())
	}
	if pid == 0 || again != pid {
		t.Errorf("the server did not outlive the end of another thread: pid %d, then %d", pid, again)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, "the server ends and its files are removed", func() bool { return !alive(pid) && gone(dir) })
}
