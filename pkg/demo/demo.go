package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"github.com/rowbell/rowbell/actions/email/mailtest"
	"github.com/rowbell/rowbell/engine/sentence"
	"github.com/rowbell/rowbell/examples"
	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Options say how the demo is shown.
type Options struct {
	// Once runs one change through to its deliveries, shows what the receiver, the inbox
	// and the log have of it, and ends.
	Once bool
	// Out is what is written to.
	Out io.Writer
	// Terminal and Colour say what Out understands: rewriting a line, and colours.
	Terminal, Colour bool
	// Browser opens the dashboard in the browser, where there is a desktop.
	Browser bool
	// Version and Revision are of this build.
	Version, Revision string
	// Pause is the time between two changes of the traffic, on average.
	// Defaults to 300 ms: people read along.
	Pause time.Duration
}

// database is the shop's.
const database = "shop"

// patience is how long the worker may take until it reads and every workflow is in
// order, and how long one change may take to be delivered.
const patience = 60 * time.Second

// show is a demo that runs.
type show struct {
	Options
	screen   *screen
	teller   *teller
	server   *localpg.Server
	receiver *receiver
	partner  *receiver // nil where one change is to come through
	mails    *mailtest.Server
	worker   *worker
	key      string // for the API
	door     *door  // signs browsers in with it; nil with Once
	began    time.Time
}

// Run shows the demo until ctx ends, which is its orderly end, or until its one change
// is through. When it returns, server, files and processes are gone.
func Run(ctx context.Context, o Options) (err error) {
	if o.Pause == 0 {
		o.Pause = 300 * time.Millisecond
	}
	d := &show{Options: o, began: time.Now(), screen: &screen{out: o.Out, terminal: o.Terminal, colour: o.Colour, width: terminalWidth}}
	d.teller = newTeller(d.screen, d.receipt)
	defer func() {
		d.screen.clearStatus()
		err = errors.Join(err, d.close())
		if err == nil && ctx.Err() != nil {
			if sum := d.sum(); sum != "" {
				d.screen.line("%s", sum)
			}
			d.screen.line("Stopped. Nothing is left behind.")
		}
	}()
	if err := d.prepare(ctx); err != nil {
		return interrupted(ctx, err)
	}
	if o.Once {
		return interrupted(ctx, d.once(ctx))
	}
	return interrupted(ctx, d.watch(ctx))
}

// receipt is what the receivers know of a delivery.
func (d *show) receipt(id string) (receipt, bool) {
	r, ok := d.receiver.receipt(id)
	if !ok && d.partner != nil {
		return d.partner.receipt(id)
	}
	return r, ok
}

// sum is what the receiver has seen; "" if nothing came.
func (d *show) sum() string {
	if d.receiver == nil || d.receiver.total().Requests == 0 {
		return ""
	}
	c := d.receiver.total()
	sum := fmt.Sprintf("The receiver got %d webhooks, %d with a right signature, %d of them again.", c.Requests, c.Verified, c.Repeats)
	if d.mails != nil {
		sum += fmt.Sprintf(" The mail server has %d mails.", len(d.mails.Mails()))
	}
	return sum
}

// interrupted drops what is only ctx's own end.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (d *show) close() error {
	var problems []error
	if d.door != nil {
		problems = append(problems, d.door.close())
	}
	if d.worker != nil {
		problems = append(problems, d.worker.close())
	}
	if d.receiver != nil { // after the worker, which lets attempts end
		problems = append(problems, d.receiver.close())
	}
	if d.partner != nil {
		problems = append(problems, d.partner.close())
	}
	if d.mails != nil {
		d.mails.Close()
	}
	if d.server != nil {
		problems = append(problems, d.server.Close())
	}
	return errors.Join(problems...)
}

// step says what is being done, and then how long it took.
func (d *show) step(what string, do func() error) error {
	began := time.Now()
	if d.Terminal {
		d.screen.setStatus(what + " …")
	}
	if err := do(); err != nil {
		return err
	}
	d.screen.clearStatus()
	d.screen.line("%s %s", pad(what, 64), d.screen.paint(dim, since(time.Since(began))))
	return nil
}

// fetching says how far a download is.
func fetching(read, total int64) string {
	const width, mega = 30, 1e6
	switch {
	case read == 0:
		return "Fetch PostgreSQL …"
	case total == 0:
		return fmt.Sprintf("Fetch PostgreSQL: %.1f MB", float64(read)/mega)
	}
	full := int(min(read, total) * width / total)
	return fmt.Sprintf("Fetch PostgreSQL %s%s %.1f of %.1f MB", strings.Repeat("█", full), strings.Repeat("░", width-full), float64(read)/mega, float64(total)/mega)
}

// prepare makes everything up to a worker that reads.
func (d *show) prepare(ctx context.Context) error {
	s := d.screen
	s.line("%s", s.paint(bold, "Rowbell rings when a row changes."))
	s.line("")
	log := slog.New(lineHandler{screen: s, least: slog.LevelWarn})

	binaries, err := localpg.Find(ctx, localpg.Options{
		Log:      slog.New(lineHandler{screen: s}),
		Fetching: func(read, total int64) { s.setStatus(fetching(read, total)) },
	})
	s.clearStatus()
	if err != nil {
		return fmt.Errorf("find a PostgreSQL for the demo: %w", err)
	}
	err = d.step("Start a throw-away PostgreSQL "+binaries.Version, func() (err error) {
		d.server, err = localpg.Start(ctx, localpg.Options{BinDir: binaries.Dir, Settings: map[string]string{"max_wal_size": "256MB"}})
		return err
	})
	if err != nil {
		return err
	}
	err = d.step("Open a shop: customers, orders, invoices of acme and globex", func() error { return d.openShop(ctx) })
	if err != nil {
		return err
	}
	err = d.step("Start a receiver of webhooks, with a secret of its own", func() (err error) {
		d.receiver, err = startReceiver(ctx, d.faults())
		return err
	})
	if err != nil {
		return err
	}
	if !d.Once {
		err = d.step("Start a partner's receiver, which is away for half of the time", func() (err error) {
			d.partner, err = startReceiver(ctx, d.partnerFaults())
			return err
		})
		if err != nil {
			return err
		}
	}
	err = d.step("Start a mail server that keeps what it gets", func() (err error) {
		d.mails, err = mailtest.Listen(mailtest.Config{Keep: 1000})
		return err
	})
	if err != nil {
		return err
	}
	list := examples.Workflows()
	err = d.step(fmt.Sprintf("Write %d workflows as SQL rows (examples/)", len(list)), func() error {
		if err := migrate(ctx, d.url()); err != nil {
			return err
		}
		if d.key, err = makeKey(ctx, d.url()); err != nil {
			return err
		}
		if err := d.writeWorkflows(ctx, list); err != nil || d.partner == nil {
			return err
		}
		return d.script(ctx, "partner", fmt.Sprintf(partner, d.partner.url(), d.partner.secret))
	})
	if err != nil {
		return err
	}
	err = d.step("Start the worker; it captures the tables that they name", func() (err error) {
		if d.worker, err = startWorker(ctx, d.url(), "smtp://"+d.mails.Addr+"?tls=none", log, d.Version, d.Revision); err != nil {
			return err
		}
		want := len(list)
		if d.partner != nil {
			want++
		}
		return d.untilInOrder(ctx, want)
	})
	if err != nil {
		return err
	}
	s.line("")
	if err := d.tellWorkflows(ctx); err != nil {
		return err
	}
	s.line("")
	return nil
}

// tellWorkflows says in a sentence each what the workflows do, as their versions have it.
func (d *show) tellWorkflows(ctx context.Context) error {
	const idWidth = 20
	return d.withConn(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, "select document::text from rowbell.workflow_version order by created_at, workflow_id")
		if err != nil {
			return fmt.Errorf("read rowbell.workflow_version: %w", err)
		}
		documents, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("read rowbell.workflow_version: %w", err)
		}
		for _, document := range documents {
			w, err := workflow.Parse([]byte(document))
			if err != nil {
				return err
			}
			label := d.screen.paint(cyan, pad(w.ID, idWidth))
			for _, line := range wrapWords(sentence.Of(w), max(40, d.screen.columns()-idWidth-3)) {
				d.screen.line("  %s %s", label, line)
				label = strings.Repeat(" ", idWidth)
			}
		}
		return nil
	})
}

// faults are how the receiver fails: not at all where one change is to come through.
func (d *show) faults() faults {
	if d.Once {
		return faults{}
	}
	const away = 6 * time.Second
	return faults{
		Refuse: tooDear, Fail: 8, Slow: 11, SlowFor: 300 * time.Millisecond,
		AwayEvery: 40 * time.Second, AwayFor: away,
		Away: func() { d.teller.other(yellow, "The receiver goes away for %s: it hangs up.", since(away)) },
	}
}

// tooDear is why a receiver may refuse an order for good.
func tooDear(body []byte) string {
	var b struct {
		Type string `json:"type"`
		Data struct {
			New struct {
				Total float64 `json:"total"`
			} `json:"new"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &b); err == nil && b.Type == "orders.update" && b.Data.New.Total > 1700 {
		return "too dear for our insurance"
	}
	return ""
}

func (d *show) url() string { return d.server.URL(database) }

func (d *show) openShop(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, d.server.URL(localpg.Superuser))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "create database "+database)
	if err = errors.Join(err, conn.Close(ctx)); err != nil {
		return fmt.Errorf("create database %s: %w", database, err)
	}
	if err := d.script(ctx, "shop.sql", examples.Shop); err != nil {
		return err
	}
	if d.Once {
		return nil // so that its order is the first
	}
	// A shop that has been open for a while: what happened before is not in the log.
	return d.withConn(ctx, func(conn *pgx.Conn) error {
		t := newTraffic(conn, 0)
		for range 80 {
			if err := t.do(ctx, steps[pick(t.random)]); err != nil {
				return err
			}
		}
		return nil
	})
}

// withConn opens a connection to the shop for the length of f.
func (d *show) withConn(ctx context.Context, f func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, d.url())
	if err != nil {
		return err
	}
	return errors.Join(f(conn), conn.Close(context.WithoutCancel(ctx)))
}

// open opens a pool for what follows the log. Its tables are new and grow quickly: a plan
// that was made while they were empty must not be kept, and what is estimated of them
// would make the server compile queries for seconds.
func (d *show) open(ctx context.Context) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(d.url())
	if err != nil {
		return nil, err
	}
	config.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_custom_plan"
	config.ConnConfig.RuntimeParams["jit"] = "off"
	return pgxpool.NewWithConfig(ctx, config)
}

func (d *show) writeWorkflows(ctx context.Context, list []examples.Workflow) error {
	for _, w := range list {
		if err := d.script(ctx, w.File, w.For(d.receiver.url(), d.receiver.secret)); err != nil {
			return err
		}
	}
	return nil
}

// script runs a file as psql would: in one go.
func (d *show) script(ctx context.Context, name, sql string) error {
	return d.withConn(ctx, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("run examples/%s: %w", name, err)
		}
		return nil
	})
}

// untilInOrder waits until the worker has judged every workflow, and all are in order.
func (d *show) untilInOrder(ctx context.Context, want int) error {
	conn, err := pgx.Connect(ctx, d.url())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it only read
	deadline := time.Now().Add(patience)
	for {
		var inOrder int
		var rest string
		err := conn.QueryRow(ctx, `
			select count(*) filter (where verdict = 'ok'),
			       coalesce(string_agg(workflow_id || ' is ' || verdict || ': ' || coalesce(message, ''), '; ') filter (where verdict <> 'ok'), '')
			from rowbell.workflow_health`).Scan(&inOrder, &rest)
		if err != nil {
			return fmt.Errorf("read rowbell.workflow_health: %w", err)
		}
		if inOrder == want {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("only %d of %d workflows are in order after %v: %s", inOrder, want, patience, rest)
		}
		if err := d.wait(ctx, 25*time.Millisecond); err != nil {
			return err
		}
	}
}

// wait pauses, and returns at once with the reason when the worker or the server ends.
func (d *show) wait(ctx context.Context, pause time.Duration) error {
	var workerEnded <-chan struct{}
	if d.worker != nil {
		workerEnded = d.worker.ended
	}
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-workerEnded:
		return errors.New("the worker ended before it was told to")
	case <-d.server.Done():
		return fmt.Errorf("the PostgreSQL server ended before it was told to; its log ends:\n%s", d.server.Log())
	}
}

// once approves one order, waits for its deliveries and shows what is known of them.
func (d *show) once(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, d.url())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the server goes anyway
	var order int64
	err = conn.QueryRow(ctx, `insert into orders (tenant_id, customer_id, total) select tenant_id, id, 129.90 from customers where tenant_id = 'acme' order by id limit 1 returning id`).Scan(&order)
	if err != nil {
		return fmt.Errorf("place an order: %w", err)
	}
	if _, err := conn.Exec(ctx, `update orders set status = 'approved' where id = $1`, order); err != nil {
		return fmt.Errorf("approve the order: %w", err)
	}
	pool, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	f := newFeed(store.OpenState(pool), store.OpenSource(pool))
	deadline := time.Now().Add(patience)
	var last *news
	var webhooks []string // ids of those that succeeded
	for {
		list, _, _, err := f.next(ctx)
		if err != nil {
			return err
		}
		for i := range list {
			last = &list[i]
			d.teller.tell(last)
			if last.Delivery.Kind == "webhook" && last.Delivery.Outcome == "succeeded" {
				webhooks = append(webhooks, last.Delivery.DeliveryID)
			}
		}
		if last != nil && len(f.open) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no execution in rowbell.workflow_log whose deliveries have ended, %v after the change", patience)
		}
		if err := d.wait(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	took := time.Since(d.began)
	problem := d.showReceipts(webhooks)
	const inbox = `select recipient_id, title, body, created_at from rowbell.notification order by id`
	if err := d.showRows(ctx, conn, "The inbox has", inbox); err != nil {
		return err
	}
	const log = `select *, settled_at - committed_at as latency from rowbell.workflow_log order by id`
	if err := d.showRows(ctx, conn, "The log says", log); err != nil {
		return err
	}
	d.screen.line("")
	d.screen.line("From nothing to here: %s", since(took))
	switch {
	case last.Status != workflow.Success:
		return fmt.Errorf("the execution ended with %s: %s", last.Status, last.ExecutionError)
	case problem != nil:
		return problem
	}
	return nil
}

// showReceipts prints what the receiver has of these webhooks. It returns an error if
// there is none, or one that it didn't verify.
func (d *show) showReceipts(ids []string) error {
	s := d.screen
	if len(ids) == 0 {
		return errors.New("no webhook was delivered")
	}
	for _, id := range ids {
		r, ok := d.receiver.receipt(id)
		if !ok {
			return fmt.Errorf("the log says that webhook %s was delivered, and the receiver has none whose signature is right", id)
		}
		s.line("")
		s.line("%s", s.paint(bold, "The receiver got"))
		for _, line := range [][2]string{
			{"POST", r.Path},
			{"webhook-id", id},
			{"webhook-timestamp", r.Timestamp},
			{"webhook-signature", r.Signature},
			{"", s.paint(green, delivered+" verified by the Standard Webhooks library")},
		} {
			s.line("  %s %s", s.paint(dim, pad(line[0], labelWidth)), line[1])
		}
		for i, line := range wrap(clean(string(r.Body)), max(60, s.columns()-2-labelWidth-1), 4) {
			s.line("  %s %s", s.paint(dim, pad([]string{"body", ""}[min(i, 1)], labelWidth)), line)
		}
	}
	return nil
}

// labelWidth is that of the names of columns.
const labelWidth = 18

// showRows prints rows, a column a line.
func (d *show) showRows(ctx context.Context, conn *pgx.Conn, title, query string) error {
	// In the simple protocol every value comes as the text that psql would show.
	rows, err := conn.Query(ctx, query, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		d.screen.line("")
		d.screen.line("%s", d.screen.paint(bold, title))
		values := make([]*string, len(rows.FieldDescriptions()))
		targets := make([]any, len(values))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
		for i, field := range rows.FieldDescriptions() {
			text := "null"
			if values[i] != nil {
				text = *values[i]
			}
			d.screen.line("  %s %s", d.screen.paint(dim, pad(field.Name, labelWidth)), text)
		}
	}
	return rows.Err()
}

// watch runs the traffic and shows the feed until ctx ends.
func (d *show) watch(ctx context.Context) error {
	if err := d.openDoor(ctx); err != nil {
		return err
	}
	d.showHints()
	if d.Browser {
		if command := opener(runtime.GOOS, os.Getenv, exec.LookPath); command != nil {
			opened := make(chan struct{})
			go func() {
				defer close(opened)
				open(ctx, command, d.door.invite())
			}()
			defer func() { <-opened }()
		}
	}
	trafficConn, err := pgx.Connect(ctx, d.url())
	if err != nil {
		return err
	}
	defer trafficConn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the server goes anyway
	pool, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()

	t := newTraffic(trafficConn, d.Pause)
	t.first = opening
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return t.run(ctx) })
	g.Go(func() error { return d.receiver.comeAndGo(ctx) })
	g.Go(func() error { return d.partner.comeAndGo(ctx) })
	g.Go(func() error { return d.follow(ctx, pool, t) })
	return g.Wait()
}

// hintEvery is how often a hint comes by, since those at the start scroll away.
const hintEvery = 25 * time.Second

// follow shows executions and their deliveries as they are recorded, and the status.
func (d *show) follow(ctx context.Context, pool *pgxpool.Pool, t *traffic) error {
	state := store.OpenState(pool)
	f := newFeed(state, store.OpenSource(pool))
	st := newStatus(d.worker.opsURL())
	next, nextHint, hint := time.Now(), time.Now().Add(hintEvery), 0
	barred := make(map[string]string) // the state of destinations that take nothing
	for {
		list, fresh, leftOut, err := f.next(ctx)
		if err != nil {
			return err
		}
		st.executions += int64(fresh)
		for i := range list {
			d.teller.tell(&list[i])
			if list[i].Delivery.Outcome == "succeeded" {
				st.delivered(list[i].latency())
			}
		}
		if leftOut > 0 {
			d.teller.other(dim, "… and %d more executions at once", leftOut)
		}
		now := time.Now()
		if !now.Before(nextHint) {
			if at := hint % (len(hints) + 1); at == 0 {
				d.teller.other(dim, "Watch it in the browser:  %s", d.door.invite())
			} else {
				d.teller.other(dim, "Try:  %s", hints[at-1])
			}
			nextHint, hint = now.Add(hintEvery), hint+1
		}
		if !now.Before(next) {
			next = now.Add(500 * time.Millisecond)
			var written float64
			if err := pool.QueryRow(ctx, `select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8`).Scan(&written); err != nil {
				return fmt.Errorf("ask where the WAL ends: %w", err)
			}
			if st.queue, err = state.QueueStats(ctx); err != nil {
				return err
			}
			open, err := breakers(ctx, pool)
			if err != nil {
				return err
			}
			d.tellBreakers(barred, open)
			st.breakers = len(open)
			st.measure(ctx, now, t.changes.Load(), written)
			d.screen.setStatus(st.line(d.screen.columns()))
		}
		if err := d.wait(ctx, 60*time.Millisecond); err != nil {
			return err
		}
	}
}

// hints are what else there is to try.
var hints = []string{
	"update orders set status = 'approved' where tenant_id = 'acme' and status = 'new';",
	"select recipient_id, title, created_at from rowbell.notification order by created_at desc limit 5;",
	"select destination, state, failures, probe_at, last_error from rowbell.endpoint;",
	"select kind, recipient, attempts, ready_at, error from rowbell.delivery;",
	"select workflow_id, state, count, example_error from rowbell.failing;",
	"select row_key, operation, workflow_name, status from rowbell.row_history order by committed_at desc limit 5;",
	"update rowbell.workflow_definition set status = 'inactive' where id = 'large-order';",
}

// apiHints are what there is to try by the API.
var apiHints = []string{
	"bin/rowbell workflow list",
	"bin/rowbell tail --status failure",
	`curl -H "Authorization: Bearer $ROWBELL_KEY" "$ROWBELL_SERVER/api/v1/executions?limit=3"`,
}

// openDoor makes what gives addresses of the pages that sign in. What stands behind # goes to no
// server, and a script of the page shows it once.
func (d *show) openDoor(ctx context.Context) (err error) {
	d.door, err = startDoor(ctx, d.worker.apiURL()+"/enter#token="+d.key, d.worker.apiURL()+"/signin")
	return err
}

// showHints says what else there is to try.
func (d *show) showHints() {
	s := d.screen
	s.line("%s  %s", s.paint(bold, "Watch it in the browser:"), s.paint(cyan, d.door.invite()))
	s.line("  %s", s.paint(dim, fmt.Sprintf("It signs in once, within %d minutes. Later: %s, with the key below.", doorOpen/time.Minute, d.worker.apiURL())))
	s.line("")
	url := d.url()
	if _, err := d.server.Binaries().Program("psql"); err == nil {
		s.line("Try it in another terminal:  %s", s.paint(bold, "psql '"+url+"'"))
	} else {
		s.line("Try it with any PostgreSQL client:  %s", s.paint(bold, url))
	}
	for _, hint := range hints {
		s.line("  %s", s.paint(dim, hint))
	}
	s.line("Or by the API:")
	s.line("  %s", s.paint(bold, fmt.Sprintf("export ROWBELL_SERVER=%s ROWBELL_KEY=%s", d.worker.apiURL(), d.key)))
	for _, hint := range apiHints {
		s.line("  %s", s.paint(dim, hint))
	}
	s.line("Webhooks go to      %s, which fails now and then", d.receiver.url())
	s.line("The partner is at   %s, which is away for half of the time", d.partner.url())
	s.line("Mails go to         %s, which passes nothing on", d.mails.Addr)
	s.line("Metrics and health  %s/metrics  /readyz", d.worker.opsURL())
	s.line("Ctrl-C ends it and leaves nothing behind.")
	s.line("")
}

// terminalWidth asks the terminal, which may have been resized.
func terminalWidth() int {
	if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil && w > 0 {
		return w
	}
	return 120
}
