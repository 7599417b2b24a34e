package localpg

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options say which PostgreSQL to run, and how. The zero value is a new cluster of the
// version that Find prefers, on a free port of 127.0.0.1, without fsync.
type Options struct {
	// Version is a major version, such as "17". Defaults to the newest one installed.
	Version string
	// BinDir holds initdb and postgres. Defaults to what Find finds.
	BinDir string
	// NoFetch forbids the download of binaries. Defaults to false.
	NoFetch bool
	// Fetching, if there is one, is told when a download begins, with zeros, and over HTTP
	// how many bytes have come of how many; 0 if nobody knows.
	Fetching func(read, total int64)

	// Settings go into postgresql.conf, over the package's own (see conf) and before
	// ALTER SYSTEM. Values are written quoted, as strings.
	Settings map[string]string
	// FSync turns fsync on, for measurements. Without it a crash of the server loses
	// nothing, only a crash of the machine would. Defaults to false.
	FSync bool
	// Port is the TCP port. Defaults to a free one.
	Port int

	// Template copies a cached data directory instead of running initdb, which is ten
	// times faster. All servers made so share one system identifier, as the copies of a
	// production database do. Defaults to false.
	Template bool
	// From is the data directory of a stopped server, to be copied instead of running
	// initdb: a cold backup. Defaults to none.
	From string
	// Standby starts the copy made with From as a standby (give primary_conninfo in
	// Settings). Defaults to false.
	Standby bool

	// StartTimeout bounds each start until the server accepts connections. Defaults to
	// one minute.
	StartTimeout time.Duration
	// Log gets a line before what takes long: a download. Defaults to none.
	Log *slog.Logger
}

// Mode is how a server stops. (PostgreSQL manual: Shutting Down the Server.)
type Mode int

// The three modes of pg_ctl stop.
const (
	Smart     Mode = iota // waits until all clients have left
	Fast                  // ends sessions and writes a checkpoint; waits for the walsenders to send all WAL
	Immediate             // ends at once; the next start recovers from WAL
)

func (m Mode) String() string {
	switch m {
	case Smart:
		return "smart"
	case Fast:
		return "fast"
	case Immediate:
		return "immediate"
	}
	return "mode " + strconv.Itoa(int(m))
}

// Superuser is the role that initdb makes; every local connection is trusted.
const Superuser = "postgres"

// Server is a PostgreSQL server that belongs to this process. Its methods may be called
// from several goroutines.
type Server struct {
	bin  Binaries
	opts Options
	dir  string // holds data/ and server.log; removed by Close
	port int
	as   *account // nil: as ourselves

	watchdog *watchdog

	mu      sync.Mutex
	proc    *process // the last one started; nil before
	crashed bool     // ended by Kill, so shared memory may be left
	closed  bool
}

// Start makes a cluster, starts its server and returns when that accepts connections.
// The server lives until Close, or until this process ends in whatever way.
func Start(ctx context.Context, o Options) (_ *Server, err error) {
	o.StartTimeout = cmp.Or(o.StartTimeout, time.Minute)
	if o.Template && o.From != "" {
		return nil, errors.New("localpg: Options.Template and Options.From exclude each other")
	}
	bin, err := Find(ctx, o)
	if err != nil {
		return nil, err
	}
	as, err := serverAccount()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(tempRoot(), "rowbell-pg-")
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, opts: o, dir: dir, as: as, port: o.Port}
	if s.watchdog, err = watch(dir, s.DataDir()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := as.own(dir); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	if err := s.makeData(ctx); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		if o.Port == 0 {
			if s.port, err = freePort(); err != nil {
				return nil, err
			}
		}
		if err := s.writeConf(); err != nil {
			return nil, err
		}
		err = s.launch(ctx)
		if err == nil {
			return s, nil
		}
		// Somebody else may have taken the port since freePort looked.
		if o.Port != 0 || try == 10 || !strings.Contains(err.Error(), "in use") {
			return nil, err
		}
	}
}

// DataDir is the server's data directory.
func (s *Server) DataDir() string { return filepath.Join(s.dir, "data") }

// Port is the TCP port on 127.0.0.1. It stays the same over restarts.
func (s *Server) Port() int { return s.port }

// BinDir holds the server programs, and the client programs where they are installed;
// see also Binaries.Program.
func (s *Server) BinDir() string { return s.bin.Dir }

// Binaries says which version runs, and from where.
func (s *Server) Binaries() Binaries { return s.bin }

// URL is the address of a database for the superuser.
func (s *Server) URL(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User(Superuser),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Log returns the end of the server's log, at most 8 KiB.
func (s *Server) Log() string {
	data, err := os.ReadFile(s.logPath())
	if err != nil {
		return err.Error()
	}
	const limit = 8 << 10
	if len(data) > limit {
		data = data[len(data)-limit:]
		if _, rest, ok := bytes.Cut(data, []byte("\n")); ok {
			data = rest
		}
	}
	return string(data)
}

func (s *Server) logPath() string { return filepath.Join(s.dir, "server.log") }

// PID is the postmaster's process id, 0 while the server is stopped.
func (s *Server) PID() int {
	if p := s.running(); p != nil {
		return p.pid()
	}
	return 0
}

// running returns the postmaster, nil if there is none or it has ended.
func (s *Server) running() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil || !s.proc.running() {
		return nil
	}
	return s.proc
}

// Stop ends the server and returns when it has ended. If ctx ends before, it returns
// an error and the server goes on stopping; a more drastic mode may be asked for then,
// or meanwhile. Stopping a stopped server does nothing.
func (s *Server) Stop(ctx context.Context, mode Mode) error {
	p := s.running()
	if p == nil {
		return nil
	}
	if err := p.signal(stopSignal(mode)); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop PostgreSQL (%s): %w", mode, err)
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("PostgreSQL has not stopped (%s): %w; its log ends:\n%s", mode, context.Cause(ctx), s.Log())
	}
}

// Kill ends postmaster and all its children by SIGKILL, as a crash of the machine would
// (except that what was written to files stays), and returns when they are gone.
func (s *Server) Kill() error {
	p := s.running()
	if p == nil {
		return nil
	}
	return s.kill(p)
}

func (s *Server) kill(p *process) error {
	if err := p.killTree(); err != nil {
		return fmt.Errorf("kill PostgreSQL: %w", err)
	}
	s.mu.Lock()
	s.crashed = true
	s.mu.Unlock()
	// The pid in it may be given to another process; ours are known to be gone.
	if err := os.Remove(filepath.Join(s.DataDir(), "postmaster.pid")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Restart stops the server (fast) if it runs, and starts it again on the same port and
// data directory. After Stop or Kill it only starts it.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(ctx, Fast); err != nil {
		return err
	}
	return s.launch(ctx)
}

// Done returns a channel that is closed when the server has ended; closed already if it
// is stopped.
func (s *Server) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		none := make(chan struct{})
		close(none)
		return none
	}
	return s.proc.done
}

// Close ends the server at once and removes its files. It may be called again.
func (s *Server) Close() error {
	s.mu.Lock()
	closed, crashed := s.closed, s.crashed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	p := s.running()
	if p == nil && crashed {
		// Only a start of the same cluster knows what a killed server left in shared
		// memory, and removes it, before anything else.
		var err error
		if p, err = s.startProcess(); err == nil {
			for p.running() && s.status() == "" {
				p.waitFor(5 * time.Millisecond)
			}
		}
	}
	var err error
	if p != nil {
		_ = p.signal(stopSignal(Immediate)) // if that fails, the next step ends it
		p.waitFor(10 * time.Second)
		err = p.killTree()
	}
	return errors.Join(err, s.watchdog.release())
}

// makeData fills the data directory.
func (s *Server) makeData(ctx context.Context) error {
	switch {
	case s.opts.From != "":
		if _, err := os.Stat(filepath.Join(s.opts.From, "postmaster.pid")); err == nil {
			return fmt.Errorf("copy %s: a server runs on it (postmaster.pid exists); stop it first", s.opts.From)
		}
		if err := s.copyData(s.opts.From); err != nil {
			return err
		}
		if s.opts.Standby {
			return s.as.write(filepath.Join(s.DataDir(), "standby.signal"), nil)
		}
		return nil
	case s.opts.Template:
		dir, err := s.template(ctx)
		if err != nil {
			return err
		}
		return s.copyData(dir)
	}
	return s.initdb(ctx, s.DataDir())
}

// initdb makes a cluster; dir must not exist, and its parent must be the account's.
func (s *Server) initdb(ctx context.Context, dir string) error {
	args := initdbArgs(dir)
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin.Dir, "initdb"), args...)
	cmd.Dir = filepath.Dir(dir)
	cmd.Env = serverEnv()
	cmd.SysProcAttr = sysProcAttr(s.as, 0)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

func initdbArgs(dir string) []string {
	return []string{"-D", dir, "-U", Superuser, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"}
}

// serverEnv leaves out the caller's PG… variables and locale, which initdb and postgres
// would heed.
func serverEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC", "HOME=/"}
}

// conf lists the settings of a server, one a line.
func (s *Server) conf() string {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(s.port),
		"unix_socket_directories": "",
		"wal_level":               "logical",
		"max_connections":         "200",
		"max_wal_senders":         "64",
		"max_replication_slots":   "64",
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		"log_line_prefix":         "%m [%p] %q%d %a ",
		"logging_collector":       "off",
		"fsync":                   "off",
	}
	if s.opts.FSync {
		settings["fsync"] = "on"
	}
	maps.Copy(settings, s.opts.Settings)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	return b.String()
}

// writeConf appends our settings to postgresql.conf; of a setting the last line counts.
func (s *Server) writeConf() (err error) {
	f, err := os.OpenFile(filepath.Join(s.DataDir(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("\n# localpg\n" + s.conf())
	return errors.Join(err, f.Close())
}

// launch starts the postmaster and waits until it accepts connections.
func (s *Server) launch(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.opts.StartTimeout, fmt.Errorf("not ready after %s", s.opts.StartTimeout))
	defer cancel()
	p, err := s.begin()
	if err != nil {
		return err
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		// "standby" is what a standby that accepts no reading sessions says.
		if status := s.status(); p.running() && (status == "ready" || status == "standby") {
			s.mu.Lock()
			s.crashed = false
			s.mu.Unlock()
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("PostgreSQL %s (%s) ended at start: %w; its log ends:\n%s", s.bin.Version, s.bin.Dir, p.err, s.Log())
		case <-ctx.Done():
			err := fmt.Errorf("start PostgreSQL %s (%s): %w; its log ends:\n%s", s.bin.Version, s.bin.Dir, context.Cause(ctx), s.Log())
			return errors.Join(err, s.kill(p))
		case <-tick.C:
		}
	}
}

// begin starts the postmaster as the one that runs.
func (s *Server) begin() (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("start PostgreSQL: the server was closed")
	}
	if s.proc != nil && s.proc.running() {
		return nil, errors.New("start PostgreSQL: it runs already")
	}
	p, err := s.startProcess()
	if err != nil {
		return nil, err
	}
	s.proc = p
	return p, nil
}

// status is the last line of postmaster.pid, as pg_ctl reads it: starting, ready,
// standby, stopping; "" if there is none.
func (s *Server) status() string {
	data, err := os.ReadFile(filepath.Join(s.DataDir(), "postmaster.pid"))
	if err != nil {
		return ""
	}
	lines := strings.Split(string(data), "\n")
	if len(lines) < 8 {
		return ""
	}
	return strings.TrimSpace(lines[7])
}

// startProcess starts the postmaster, without waiting for anything.
func (s *Server) startProcess() (*process, error) {
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(s.bin.Dir, "postgres"), "-D", s.DataDir()) //nolint:noctx // it lives until Stop, not as long as a call
	cmd.Dir = s.dir
	cmd.Env = serverEnv()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = sysProcAttr(s.as, stopSignal(Immediate))
	p, err := startProcess(cmd)
	return p, errors.Join(err, log.Close())
}

// freePort finds a port that nobody listens on. It lies below the ports that systems
// give to outgoing connections: a client that tries to reach a stopped server could
// otherwise be given the server's own port, and be connected to itself.
func freePort() (int, error) {
	var last error
	for range 100 {
		port := 15000 + rand.IntN(15000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) //nolint:noctx // a local bind
		if err != nil {
			last = err
			continue
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("no free port between 15000 and 30000: %w", last)
}
