package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/actions/email"
	"github.com/rowbell/rowbell/actions/publish"
	"github.com/rowbell/rowbell/cdc"
	"github.com/rowbell/rowbell/engine"
	"github.com/rowbell/rowbell/engine/executor"
	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/directory"
	"github.com/rowbell/rowbell/pkg/egress"
	"github.com/rowbell/rowbell/pkg/live"
	"github.com/rowbell/rowbell/pkg/preference"
	"github.com/rowbell/rowbell/pkg/secret"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// roomyHeap is how much more than without it is allocated between two garbage collections,
// in bytes.
const roomyHeap = 16 << 20

// lease is how long a holder of the slot counts as alive after it was last heard of.
const lease = 3 * time.Second

// errDrainTimeout is the cause of a stop that took too long.
var errDrainTimeout = errors.New("the stop took longer than drain-timeout; what was not recorded will be read again")

// App is one worker: it waits for the slot, reads and records while it holds it, and
// tells how it is.
type App struct {
	cfg     Config
	id      string // of this process; in application_name and the holder row
	log     *slog.Logger
	reg     *prometheus.Registry
	engine  *engine.Metrics
	stream  *cdc.Metrics
	metrics *metrics

	sourcePool, statePool *pgxpool.Pool
	apiSourcePool         *pgxpool.Pool // of the API; nil: it isn't served
	apiStatePool          *pgxpool.Pool
	accessPool            *pgxpool.Pool
	directoryPool         *pgxpool.Pool        // nil: there is no directory
	directory             *directory.Directory // nil: likewise
	source                *store.Source
	state                 *store.State
	health                *healthWriter
	capturer              *capturer
	reader                readerStatus
	ops                   *admin.Ops
	public                *admin.Public      // nil: there are no pages
	signer                *preference.Signer // of unsubscribe links; nil: there are none
	access                *access.Authenticator
	api                   *api.API // nil: it isn't served
	feed                  *live.Feed
	inbox                 *inbox
	alerts                *alerter
	ready                 atomic.Bool                         // Run has finished its preparations
	checkpoint            atomic.Pointer[workflow.Checkpoint] // recorded last
	key                   *secret.Key                         // nil: there is none
	egress                *egress.Client
	redirectEgress        *egress.Client // nil: deliveries go where they are meant to
	redirect              func(*actions.Kind, actions.Runner) actions.Runner
	mailer                *email.Mailer  // nil: there is no mail server
	mailEgress            *egress.Client // nil: likewise
	broker                *publish.Broker
	registry              *actions.Registry
	executor              *executor.Executor
	lost                  chan []string            // captured tables that are not published any more; room for one
	identity              atomic.Pointer[[]string] // published tables without a replica identity
}

// New checks the configuration, and opens the pools and the ops listener. It connects
// to nothing yet. Close frees what Run was never called for.
func New(cfg Config, log *slog.Logger, version, revision string) (*App, error) {
	a, err := newApp(cfg, log)
	if err != nil {
		return nil, err
	}
	a.reg = admin.NewRegistry(version, revision)
	a.engine = engine.NewMetrics(a.reg)
	a.stream = cdc.NewMetrics(a.reg)
	a.metrics = newMetrics(a.reg)
	a.health = newHealthWriter(a.source, log)
	a.capturer = newCapturer(a.source, a.cfg, log)
	a.lost = make(chan []string, 1)
	if err := a.prepareDelivery(version); err != nil {
		a.closePools()
		return nil, err
	}
	a.reader.metrics = a.metrics
	a.reader.set(phaseStarting, nil)
	if a.ops, err = admin.NewOps(admin.OpsConfig{Listen: a.cfg.OpsListen, Registry: a.reg, Checks: a.checks(), Logger: log}); err != nil {
		a.closePools()
		return nil, err
	}
	if a.cfg.Listen != ListenOff {
		if err = a.openAPI(version); err == nil {
			err = a.openPublic(version)
		}
		if err != nil {
			return nil, errors.Join(err, a.Close())
		}
	}
	return a, nil
}

// newApp is what workers and operators' commands share: the settings and the pools.
func newApp(cfg Config, log *slog.Logger) (*App, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	a := &App{cfg: cfg, id: ulid.Make().String(), log: log}
	var err error
	if a.sourcePool, err = openPool(cfg.SourceURL, a.applicationName(), 4, 0); err != nil {
		return nil, fmt.Errorf("source-url: %w", err)
	}
	a.statePool = a.sourcePool
	if !cfg.stateInSource() {
		if a.statePool, err = openPool(cfg.StateURL, a.applicationName(), 4, 0); err != nil {
			a.sourcePool.Close()
			return nil, fmt.Errorf("state-url: %w", err)
		}
	}
	a.source, a.state = store.OpenSource(a.sourcePool), store.OpenState(a.statePool)
	return a, nil
}

// applicationName is what the server shows of our connections: rowbell/<instance>/<id>.
func (a *App) applicationName() string { return "rowbell/" + a.cfg.Instance + "/" + a.id }

// stateInSource says that state lives in the source's database.
func (c Config) stateInSource() bool { return c.StateURL == "" || c.StateURL == c.SourceURL }

func openPool(dsn, applicationName string, most int32, timeout time.Duration) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	cfg.ConnConfig.RuntimeParams["application_name"] = applicationName
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	cfg.PingTimeout = 5 * time.Second // of a connection that was idle: its server may have gone without a word
	cfg.MaxConns = most
	// A process may be stopped at any moment, in a transaction too; nobody is to wait for
	// it with what that has locked. What lists read is worth no compilation, though the
	// server takes it for more than it is.
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		set := `set idle_in_transaction_session_timeout = '10s'; set jit = off`
		if timeout > 0 {
			set += fmt.Sprintf("; set statement_timeout = %d", timeout.Milliseconds())
		}
		_, err := conn.Exec(ctx, set)
		return err
	}
	return pgxpool.NewWithConfig(context.Background(), cfg)
}

func (a *App) closePools() {
	for _, c := range []*egress.Client{a.egress, a.redirectEgress} {
		if c != nil {
			c.Close()
		}
	}
	if a.alerts != nil {
		a.alerts.close()
	}
	a.closeMail()
	if a.broker != nil {
		a.broker.Close()
	}
	if a.directoryPool != nil {
		a.directoryPool.Close()
	}
	a.sourcePool.Close()
	if a.statePool != a.sourcePool {
		a.statePool.Close()
	}
	if a.accessPool != nil {
		a.accessPool.Close()
	}
	if a.apiSourcePool != nil {
		a.apiSourcePool.Close()
	}
	if a.apiStatePool != nil && a.apiStatePool != a.apiSourcePool {
		a.apiStatePool.Close()
	}
}

// OpsAddr is where metrics and health are served.
func (a *App) OpsAddr() string { return a.ops.Addr().String() }

// Close frees the pools and the listener of an App that was not run.
func (a *App) Close() error {
	a.closePools()
	return a.closeListeners()
}

func (a *App) closeListeners() error {
	err := a.ops.Close()
	if a.public != nil {
		err = errors.Join(err, a.public.Close())
	}
	return err
}

// Run works until ctx ends, and returns nil after an orderly stop: the stream stops
// being read, what was read is recorded, the slot is told, and the connections are
// closed. It returns an error at once if something is wrong that only an operator can
// mend before it starts; later failures are logged, shown by /readyz, and tried again.
func (a *App) Run(ctx context.Context) error {
	// The collector waits until the heap has doubled. A small one doubles many times a second
	// under load; this much that is never touched, and so takes no memory, lets it grow by as
	// much more before.
	defer runtime.KeepAlive(make([]byte, roomyHeap))
	defer a.closePools()
	ctx = store.WithOrigin(ctx, store.Origin{Via: store.ViaWorker})
	for _, f := range a.cfg.secretFiles {
		if text, mend := openFile(f.path, f.holds); text != "" {
			a.log.WarnContext(ctx, "a file with secrets is not kept from others", "file", text, "mend", mend)
		}
	}
	work, kill := context.WithCancelCause(context.WithoutCancel(ctx))
	defer kill(nil)

	if err := a.prepareWhenReachable(ctx); err != nil {
		if ctx.Err() != nil {
			a.log.InfoContext(ctx, "rowbell was stopped as it started", "err", err)
			err = nil
		}
		return errors.Join(err, a.closeListeners())
	}
	a.ready.Store(true)
	a.log.InfoContext(ctx, "rowbell runs", "instance", a.cfg.Instance, "worker", a.id, "slot", a.cfg.Slot,
		"source", Redact(a.cfg.SourceURL), "ops", a.ops.Addr().String())
	if a.api != nil {
		a.showFirstKey(ctx)
	}

	g, ctx := errgroup.WithContext(ctx)
	// Whatever ends the rest, a stop was asked for or a part has failed.
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(a.cfg.DrainTimeout, func() { kill(errDrainTimeout) })
	})
	defer stop()
	g.Go(func() error { return a.ops.Run(ctx) })
	if a.public != nil {
		g.Go(func() error { return a.public.Run(ctx) })
	}
	g.Go(func() error { return a.read(ctx, work) })
	g.Go(func() error { return a.health.run(ctx) })
	g.Go(func() error { return a.capturer.run(ctx) })
	g.Go(func() error { return a.watch(ctx) })
	g.Go(func() error { return a.maintain(ctx) })
	ringing, delivered := context.WithCancel(work)
	g.Go(func() error { defer delivered(); return a.executor.Run(ctx, work) })
	g.Go(func() error { return a.inbox.run(ringing) })
	g.Go(func() error { return a.listen(ctx) })
	g.Go(func() error { return a.sealSecrets(ctx) })
	g.Go(func() error { return a.alerts.run(ctx) })
	g.Go(func() error { a.tryDirectory(ctx); return nil })
	g.Go(func() error { return a.replays(ctx) })
	if a.access != nil {
		g.Go(func() error { return a.access.Run(ctx) })
		g.Go(func() error { return a.feed.Run(ctx) })
	}
	err := g.Wait()
	a.log.InfoContext(ctx, "rowbell has stopped", "err", err)
	return err
}

// startPatience is how long a worker that starts waits for servers that can't be
// reached: one that is restarted together with its database should come up with it.
const startPatience = 10 * time.Second

// prepareWhenReachable prepares, and tries again for a while if a server can't be
// reached or is starting.
func (a *App) prepareWhenReachable(ctx context.Context) error {
	deadline := time.Now().Add(startPatience)
	told := ""
	for {
		err := a.prepare(ctx)
		var pgErr *pgconn.PgError
		var connect *pgconn.ConnectError
		answered := errors.As(err, &pgErr)
		away := cdc.IsShutdown(err) || !answered && (errors.As(err, &connect) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET))
		if err == nil || !away || time.Now().After(deadline) {
			return err
		}
		if what := Message(err); what != told {
			told = what
			a.log.WarnContext(ctx, "a server can't be reached yet, will try again", "err", what, "for", startPatience)
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// prepare does what must be right before anything is read: the schema, the
// installation that state belongs to, the publications.
func (a *App) prepare(ctx context.Context) error {
	if err := a.sourcePool.Ping(ctx); err != nil {
		return fmt.Errorf("reach the source %s: %w", Redact(a.cfg.SourceURL), err)
	}
	if err := a.statePool.Ping(ctx); err != nil {
		return fmt.Errorf("reach state %s: %w", Redact(a.cfg.StateURL), err)
	}
	if !a.cfg.NoMigrate {
		if err := store.Migrate(ctx, a.cfg.SourceURL, a.cfg.StateURL); err != nil {
			return err
		}
	}
	if err := a.claimInstallation(ctx); err != nil {
		return err
	}
	return a.preparePublications(ctx)
}

// preparePublications makes or mends what the slot reads through.
func (a *App) preparePublications(ctx context.Context) error {
	if err := a.source.EnsurePublications(ctx, a.cfg.Publication); err != nil {
		return err
	}
	return a.source.SetTenantColumn(ctx, a.cfg.TenantColumn)
}
