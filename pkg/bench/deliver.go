package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/engine/executor"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// The receiver is a process of its own. It answers 200 to everything; below /slow/ only
// after ten seconds.
const slowAnswer = 10 * time.Second

// benchSecret is what the workloads' webhooks are signed with, and benchKey what that is
// sealed with.
const benchSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

var benchKey = app.Secret("0123456789abcdef0123456789abcdef")

// deliveryConfig is a worker's that sends to receivers on this machine.
func deliveryConfig(url string) app.Config {
	c := config(url)
	c.Delivery = app.DeliveryOn
	return c
}

// Sink is the receiver's process: it prints its address, and ends with its input.
func Sink(ctx context.Context, in io.Reader, out io.Writer) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &sink{ids: make(map[string]int64)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /received", s.received)
	mux.HandleFunc("POST /forget", s.forget)
	mux.HandleFunc("POST /", s.take)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	fmt.Fprintln(out, l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, in) // until the parent closes it, or is gone
		_ = server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type sink struct {
	mu  sync.Mutex
	ids map[string]int64 // when each webhook-id came first, in microseconds since 1970
	n   int
}

func (s *sink) take(w http.ResponseWriter, r *http.Request) {
	now := time.Now().UnixMicro()
	_, _ = io.Copy(io.Discard, r.Body)
	if strings.HasPrefix(r.URL.Path, "/slow/") {
		select {
		case <-time.After(slowAnswer):
		case <-r.Context().Done():
		}
	}
	id := r.Header.Get("webhook-id")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	if _, ok := s.ids[id]; !ok {
		s.ids[id] = now
	}
}

// receipts is what a receiver tells of what it got.
type receipts struct {
	Requests int
	At       map[string]int64 // when each webhook-id came first, in microseconds since 1970
}

func (s *sink) received(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = json.NewEncoder(w).Encode(receipts{s.n, s.ids})
}

func (s *sink) forget(http.ResponseWriter, *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.ids)
	s.n = 0
}

// receiver is the sink's process as its parent sees it.
type receiver struct {
	cmd   *exec.Cmd
	stdin io.Closer
	url   string
}

func startReceiver(ctx context.Context) (*receiver, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r := &receiver{cmd: exec.CommandContext(ctx, self, "sink")}
	r.cmd.Stderr = os.Stderr
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	var addr string
	if _, err := fmt.Fscanln(stdout, &addr); err != nil {
		return nil, errors.Join(fmt.Errorf("the receiver told no address: %w", err), r.close())
	}
	r.url = "http://" + addr
	return r, nil
}

func (r *receiver) close() error {
	_ = r.stdin.Close()
	return r.cmd.Wait()
}

func (r *receiver) ask(ctx context.Context, method, path string, to any) error {
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it is read
	if to == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(to)
}

// Bare is the process of the bare client: it posts so many bodies of a webhook's size
// with net/http, as many at a time as the worker does.
func Bare(ctx context.Context, to string, n int, out io.Writer) error {
	const atOnce = 64
	body := []byte(`{"type":"orders.create","data":"` + strings.Repeat("x", 900) + `"}`)
	transport := &http.Transport{MaxIdleConnsPerHost: atOnce}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	begun := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for i := range atOnce {
		g.Go(func() error {
			for k := i; k < n; k += atOnce {
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
				if err != nil {
					return err
				}
				req.Header.Set("content-type", "application/json")
				req.Header.Set("webhook-id", fmt.Sprint("bare-", k))
				resp, err := client.Do(req)
				if err != nil {
					return err
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					return errors.New(resp.Status)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(Delivered{Deliveries: n, Took: time.Since(begun)})
}

// Delivered is what a delivering process says of its work.
type Delivered struct {
	Deliveries int
	Took       time.Duration
}

// Deliver is the process of a worker that reads, records and delivers, until what
// commits before mark is recorded and nothing is left that may be tried. With live it
// goes on until its input ends. Wherever deliveries are meant to go, they go to redirect,
// if it is given.
func Deliver(ctx context.Context, url, mark, redirect string, in io.Reader, out io.Writer) error {
	cfg := deliveryConfig(url)
	if redirect != "" {
		cfg.Delivery = app.DeliveryMode("redirect:" + redirect)
		cfg.SMTPURL, cfg.MailFrom = "smtp://127.0.0.1:9", "bench@example.com" // so that e-mails are known; nothing is sent there
	}
	cfg.ReadCoalescing = app.CoalesceOn
	a, err := app.New(cfg, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), "bench", "")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	begun := time.Now()
	go func() { ended <- a.Run(ctx) }()
	done := make(chan error, 1)
	go func() {
		if mark == "live" {
			fmt.Fprintln(out, "started")
			_, err := io.Copy(io.Discard, in)
			done <- err
			return
		}
		done <- settledBeyond(ctx, a, url, mark)
	}()
	select {
	case err := <-ended:
		return errors.Join(errors.New("the worker ended before its work was done"), err)
	case err := <-done:
		if err != nil {
			return err
		}
	}
	took := time.Since(begun)
	stop()
	if err := <-ended; err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(Delivered{Took: took})
}

// Queue is the process of an executor alone: it claims what is in the queue, and says of
// each delivery that it succeeded, until none is left.
func Queue(ctx context.Context, url string, out io.Writer) error {
	pool, err := openPool(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	state := store.OpenState(pool)
	kind := &actions.Kind{Name: "webhook"}
	e := executor.New(executor.Config{
		Plan: func(w *workflow.Workflow) (*actions.Plan, error) {
			return &actions.Plan{Steps: []actions.Step{{Kind: kind, Runner: nothing{}}}}, nil
		},
		Destinations: state, Process: "bench",
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}, queueStore{store.Definitions{State: state, Source: store.OpenSource(pool)}}, func() executor.Queue { return state.Queue("bench", 30*time.Second) },
		executor.NewMetrics(prometheus.NewRegistry(), []string{"webhook"}))
	var n int
	if err := pool.QueryRow(ctx, "select count(*) from rowbell.queue").Scan(&n); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	begun := time.Now()
	go func() { ended <- e.Run(ctx, context.WithoutCancel(ctx)) }()
	if err := emptied(ctx, url); err != nil {
		return err
	}
	took := time.Since(begun)
	stop()
	if err := <-ended; err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(Delivered{Deliveries: n, Took: took})
}

// nothing is an action that does nothing, to somewhere.
type nothing struct{}

func (nothing) Destination() string { return "https://example.com/" } // so that it has a breaker
func (nothing) Secrets() []string   { return nil }
func (nothing) Run(context.Context, *actions.Delivery) (actions.Result, error) {
	return actions.Result{Code: http.StatusOK}, nil
}

type queueStore struct{ store.Definitions }

func (queueStore) Secret(context.Context, string, string) (string, error) {
	return "", errors.New("there is none")
}

// settledBeyond waits until everything before mark is recorded and delivered.
func settledBeyond(ctx context.Context, a *app.App, url, mark string) error {
	lsn, err := pglogrepl.ParseLSN(mark)
	if err != nil {
		return err
	}
	for uint64(a.Recorded().Position.CommitLSN) < uint64(lsn) {
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return emptied(ctx, url)
}

// emptied waits until nothing in the queue may be tried now.
func emptied(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "set enable_seqscan = off"); err != nil {
		return err
	}
	for {
		var left bool
		// By the index: the table's first pages are full of what was deleted, and reading them
		// again and again took a tenth of what the server did.
		err := conn.QueryRow(ctx, "select coalesce((select true from rowbell.queue where attempts = 0 order by lane limit 1), false)").Scan(&left)
		if err != nil || !left {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// child runs one of the processes above to its end, and reads what it says.
func child(ctx context.Context, args ...string) (d Delivered, err error) {
	out, err := output(ctx, args...)
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal(out, &d)
}

// output runs any of our processes to its end, and returns what it prints.
func output(ctx context.Context, args ...string) ([]byte, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	_, out, err := timed(exec.CommandContext(ctx, self, args...))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", args[0], err)
	}
	return out, nil
}

// walEnd is where the server writes next, in bytes.
func walEnd(ctx context.Context, url string) (float64, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(ctx) }()
	var at float64
	return at, conn.QueryRow(ctx, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8").Scan(&at)
}

// deliveries are the figures of delivering: F5 to F7, F11, fairness, and retries.
func deliveries(ctx context.Context, o Options, server *localpg.Server) ([]*figure, error) {
	wanted := func(name string) bool { return strings.HasPrefix(name, o.Only) }
	var figures []*figure
	for _, part := range []struct {
		name string
		run  func(context.Context, Options, *localpg.Server, *receiver) ([]*figure, error)
	}{{"queue", queueFigures}, {"webhook", webhookFigures}, {"fair", fairFigures}, {"live", liveFigures}, {"retries", retriesFigures}} {
		if !wanted(part.name) {
			continue
		}
		to, err := startReceiver(ctx)
		if err != nil {
			return nil, err
		}
		more, err := part.run(ctx, o, server, to)
		if err = errors.Join(err, to.close()); err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
		figures = append(figures, more...)
	}
	return figures, nil
}

// queueFigures are F5, and F11 over the same deliveries.
func queueFigures(ctx context.Context, o Options, server *localpg.Server, to *receiver) ([]*figure, error) {
	rate := &figure{name: "F5 no-op deliveries claimed, completed and settled", unit: "a second", floor: 20000, goal: 40000, note: "of a queue that is full at the start"}
	wal := &figure{name: "F11 WAL of one match, from its record to its end, claimed", unit: "kB", floor: 2, goal: 1.5, less: true, note: "every delivery is claimed; full pages after a checkpoint included"}
	n := int(100_000*o.Scale) / 1000 * 1000
	w, err := prepare(ctx, server, spec{name: "queue", events: n, perTxn: 100, condition: "{}", action: "webhook", matches: 1, to: to.url + "/"})
	if err != nil {
		return nil, err
	}
	for round := range o.Runs {
		if err := w.reset(ctx); err != nil {
			return nil, err
		}
		before, err := walEnd(ctx, w.url)
		if err != nil {
			return nil, err
		}
		if _, err := output(ctx, "drain", w.url, w.mark.String(), string(app.CoalesceOn)); err != nil {
			return nil, err
		}
		d, err := child(ctx, "queue", w.url)
		if err != nil {
			return nil, err
		}
		after, err := walEnd(ctx, w.url)
		if err != nil {
			return nil, err
		}
		if err := w.succeeded(ctx, n); err != nil {
			return nil, err
		}
		rate.values = append(rate.values, float64(d.Deliveries)/d.Took.Seconds())
		wal.values = append(wal.values, (after-before)/float64(n)/1000)
		fmt.Fprintf(o.Log, "  round %d: %.0f deliveries/s, %.3f kB of WAL a match\n", round+1, float64(d.Deliveries)/d.Took.Seconds(), (after-before)/float64(n)/1000)
	}
	return []*figure{rate, wal}, w.drop(ctx, server)
}

// succeeded checks that so many executions are there, and all have succeeded.
func (w *workload) succeeded(ctx context.Context, n int) error {
	conn, err := pgx.Connect(ctx, w.url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	var ok, all int
	err = conn.QueryRow(ctx, "select count(*) filter (where status = 'success'), count(*) from rowbell.workflow_log where workflow_id like 'match%'").Scan(&ok, &all)
	if err == nil && (ok != n || all != n) {
		err = fmt.Errorf("%s: %d executions of %d succeeded, want %d", w.name, ok, all, n)
	}
	return err
}

// webhookFigures are F6.
func webhookFigures(ctx context.Context, o Options, server *localpg.Server, to *receiver) ([]*figure, error) {
	ratio := &figure{name: "F6 WAL to signed webhook to outcome, end to end", unit: "× bare client", floor: 0.4, goal: 0.6}
	wal := &figure{name: "F11 WAL of one match, from its record to its end", unit: "kB", floor: 2, goal: 1.5, less: true, note: "in the runs of F6; full pages after a checkpoint included"}
	var ends, bares figure
	n := int(120_000*o.Scale) / 1000 * 1000
	w, err := prepare(ctx, server, spec{name: "webhook", events: n, perTxn: 1, condition: "{}", action: "webhook", matches: 1, to: to.url + "/hook"})
	if err != nil {
		return nil, err
	}
	for round := range o.Runs {
		var bare, end Delivered
		steps := []func() error{
			func() (err error) { bare, err = child(ctx, "bare", to.url+"/hook", fmt.Sprint(n)); return },
			func() error {
				err := w.reset(ctx)
				if err != nil {
					return err
				}
				if err = to.ask(ctx, http.MethodPost, "/forget", nil); err != nil {
					return err
				}
				before, err := walEnd(ctx, w.url)
				if err != nil {
					return err
				}
				if end, err = child(ctx, "deliver", w.url, w.mark.String()); err != nil {
					return err
				}
				after, err := walEnd(ctx, w.url)
				if err != nil {
					return err
				}
				wal.values = append(wal.values, (after-before)/float64(n)/1000)
				var got receipts
				if err = to.ask(ctx, http.MethodGet, "/received", &got); err != nil {
					return err
				}
				if len(got.At) != n {
					return fmt.Errorf("%d webhook-ids came, want %d", len(got.At), n)
				}
				return w.succeeded(ctx, n)
			},
		}
		if round%2 == 1 {
			slices.Reverse(steps)
		}
		for _, step := range steps {
			if err := step(); err != nil {
				return nil, err
			}
		}
		ends.values, bares.values = append(ends.values, float64(n)/end.Took.Seconds()), append(bares.values, float64(n)/bare.Took.Seconds())
		ratio.values = append(ratio.values, bare.Took.Seconds()/end.Took.Seconds())
		fmt.Fprintf(o.Log, "  round %d: %.0f webhooks/s from the WAL on, bare client %.0f/s\n", round+1, float64(n)/end.Took.Seconds(), float64(n)/bare.Took.Seconds())
	}
	ratio.note = fmt.Sprintf("1-row transactions; %.1fk/s against %.1fk/s", ends.median()/1000, bares.median()/1000)
	return []*figure{ratio, wal}, w.drop(ctx, server)
}

// fairFigures compare eight destinations' throughput beside two healthy ones with that
// beside one that is dead and one that answers after ten seconds.
func fairFigures(ctx context.Context, o Options, server *localpg.Server, to *receiver) ([]*figure, error) {
	share := &figure{name: "throughput of 8 destinations beside a dead and a slow one", unit: "× beside 2 healthy", floor: 0.9, goal: 0.9, note: "10 destinations of one tenant, each with a tenth of the load"}
	n := int(60_000*o.Scale) / 1000 * 1000
	rate := make(map[bool]float64)
	dead, err := closedPort(ctx)
	if err != nil {
		return nil, err
	}
	for round := range o.Runs {
		for _, sick := range []bool{round%2 == 1, round%2 == 0} { // by turns
			s := spec{name: "fair", events: n, perTxn: 10, condition: "{}", action: "webhook", matches: 1}
			for i := range 10 {
				url := fmt.Sprintf("%s/hook/%d", to.url, i)
				switch {
				case sick && i == 8:
					url = "http://" + dead + "/hook"
				case sick && i == 9:
					url = to.url + "/slow/hook"
				}
				s.among = append(s.among, url)
			}
			w, err := prepare(ctx, server, s)
			if err != nil {
				return nil, err
			}
			if rate[sick], err = w.healthyRate(ctx, n*8/10); err != nil {
				return nil, err
			}
			if err := w.drop(ctx, server); err != nil {
				return nil, err
			}
		}
		share.values = append(share.values, rate[true]/rate[false])
		fmt.Fprintf(o.Log, "  round %d: %.0f/s beside healthy ones, %.0f/s beside sick ones\n", round+1, rate[false], rate[true])
	}
	return []*figure{share}, nil
}

func closedPort(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// healthyRate runs a worker until the first eight workflows have so many executions
// that succeeded, and returns how many a second that was.
func (w *workload) healthyRate(ctx context.Context, want int) (float64, error) {
	stop, err := startLive(ctx, w.url)
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	conn, err := pgx.Connect(ctx, w.url)
	if err != nil {
		return 0, errors.Join(err, stop())
	}
	defer func() { _ = conn.Close(ctx) }()
	for n := 0; n < want; {
		if err = pause(ctx, 20*time.Millisecond); err != nil {
			break
		}
		if time.Since(begun) > 5*time.Minute {
			err = fmt.Errorf("only %d of %d deliveries to healthy destinations succeeded in 5 minutes", n, want)
			break
		}
		err = conn.QueryRow(ctx, `select count(*) from rowbell.execution where status = 'success' and version_ref in (
			select ref from rowbell.surrogate where kind = 'workflow' and id ~ '^match[0-7]$')`).Scan(&n)
		if err != nil {
			break
		}
	}
	took := time.Since(begun)
	return float64(want) / took.Seconds(), errors.Join(err, stop())
}

// startLive starts a worker's process that works until stop is called.
func startLive(ctx context.Context, url string, redirect ...string) (stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"deliver", url, "live"}, redirect...)...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() error {
		_ = stdin.Close()
		return cmd.Wait()
	}
	var word string
	if _, err := fmt.Fscanln(stdout, &word); err != nil {
		return nil, errors.Join(err, stop())
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	return stop, nil
}

// liveFigures are F7: changes that commit at a steady rate, until they are received.
func liveFigures(ctx context.Context, o Options, server *localpg.Server, to *receiver) ([]*figure, error) {
	const perSecond = 500
	p50 := &figure{name: "F7 commit to webhook received, 500 changes/s, p50", unit: "ms", floor: 5, goal: 2, less: true}
	p99 := &figure{name: "F7 the same, p99", unit: "ms", floor: 25, goal: 10, less: true}
	var bare50, bare99 figure
	n := int(perSecond * 10 * o.Scale)
	for round := range o.Runs {
		w, err := prepare(ctx, server, spec{name: fmt.Sprint("live-", round), events: 0, perTxn: 1, condition: "{}", action: "webhook", matches: 1, to: to.url + "/hook"})
		if err != nil {
			return nil, err
		}
		if err := to.ask(ctx, http.MethodPost, "/forget", nil); err != nil {
			return nil, err
		}
		hooks, reads, err := w.live(ctx, to, n, perSecond)
		if err != nil {
			return nil, err
		}
		at := func(list []time.Duration, share float64) float64 {
			return float64(list[min(len(list)-1, int(share*float64(len(list))))].Microseconds()) / 1000
		}
		p50.values, p99.values = append(p50.values, at(hooks, 0.5)), append(p99.values, at(hooks, 0.99))
		bare50.values, bare99.values = append(bare50.values, at(reads, 0.5)), append(bare99.values, at(reads, 0.99))
		begun50, begun99, err := w.recordLatency(ctx)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(o.Log, "  round %d: webhooks p50 %.2f ms, p99 %.2f ms, longest %.2f ms; of that until the record begins p50 %.2f ms, p99 %.2f ms; bare reader p50 %.2f ms, p99 %.2f ms\n", round+1,
			at(hooks, 0.5), at(hooks, 0.99), at(hooks, 1), begun50, begun99, at(reads, 0.5), at(reads, 0.99))
		if err := w.drop(ctx, server); err != nil {
			return nil, err
		}
	}
	p50.note = fmt.Sprintf("a bare reader of the slot: %.2g ms", bare50.median())
	p99.note = fmt.Sprintf("a bare reader of the slot: %.2g ms", bare99.median())
	return []*figure{p50, p99}, nil
}

// recordLatency is the time from commits to the statements that recorded them, in ms.
func (w *workload) recordLatency(ctx context.Context) (p50, p99 float64, err error) {
	conn, err := pgx.Connect(ctx, w.url)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = conn.Close(ctx) }()
	err = conn.QueryRow(ctx, `select percentile_cont(0.5) within group (order by ms), percentile_cont(0.99) within group (order by ms)
		from (select extract(epoch from executed_at - committed_at)::float8 * 1000 as ms from rowbell.workflow_log where workflow_id = 'match') x`).Scan(&p50, &p99)
	return p50, p99, err
}

// live commits n changes at a steady rate beside a worker, and returns, sorted, the times
// from the return of each commit to its webhook, and to its arrival at a bare reader.
func (w *workload) live(ctx context.Context, to *receiver, n, perSecond int) (hooks, reads []time.Duration, err error) {
	stop, err := startLive(ctx, w.url)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	bare, err := startBareReader(ctx, w.url)
	if err != nil {
		return nil, nil, err
	}
	defer bare.close()
	conn, err := pgx.Connect(ctx, w.url)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	const warm = 500 // changes before the measured ones
	committed := make([]int64, warm+n)
	next := time.Now().Add(time.Second) // the worker takes the slot meanwhile
	for i := range committed {
		if err := pause(ctx, time.Until(next)); err != nil {
			return nil, nil, err
		}
		next = next.Add(time.Second / time.Duration(perSecond))
		_, err := conn.Exec(ctx, `insert into orders (id, tenant_id, status, total, email, note, meta)
			values ($1, 'tenant-1', 'new', 12.25, 'customer@example.com', 'a note', '{"channel": "web"}')`, i)
		if err != nil {
			return nil, nil, err
		}
		committed[i] = time.Now().UnixMicro()
	}
	received, err := w.receivedOf(ctx, conn, to, warm+n)
	if err != nil {
		return nil, nil, err
	}
	seen, err := bare.seen(ctx, warm+n)
	if err != nil {
		return nil, nil, err
	}
	for i := warm; i < warm+n; i++ {
		// A reader can be faster than the commit's return.
		hooks = append(hooks, time.Duration(max(0, received[i]-committed[i]))*time.Microsecond)
		reads = append(reads, time.Duration(max(0, seen[i]-committed[i]))*time.Microsecond)
	}
	slices.Sort(hooks)
	slices.Sort(reads)
	return hooks, reads, nil
}

// receivedOf waits until all have come, and returns when each order's webhook did.
func (w *workload) receivedOf(ctx context.Context, conn *pgx.Conn, to *receiver, n int) ([]int64, error) {
	var got receipts
	for deadline := time.Now().Add(30 * time.Second); ; {
		if err := to.ask(ctx, http.MethodGet, "/received", &got); err != nil {
			return nil, err
		}
		if len(got.At) >= n {
			break
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%d of %d webhooks came", len(got.At), n)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
	rows, err := conn.Query(ctx, `select l.id || '_0', e.row_key::int from rowbell.workflow_log l join rowbell.workflow_event e on e.id = l.trigger_event_id where l.workflow_id = 'match'`)
	if err != nil {
		return nil, err
	}
	at := make([]int64, n)
	var id string
	var order, found int
	_, err = pgx.ForEachRow(rows, []any{&id, &order}, func() error {
		if t, ok := got.At[id]; ok {
			at[order] = t
			found++
		}
		return nil
	})
	if err == nil && found != n {
		err = fmt.Errorf("%d of %d executions have a webhook", found, n)
	}
	return at, err
}

// bareReader reads a slot of its own, and notes when each order came.
type bareReader struct {
	cancel context.CancelFunc
	ended  chan struct{}
	mu     sync.Mutex
	at     []int64
	err    error
}

func startBareReader(ctx context.Context, databaseURL string) (*bareReader, error) {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return nil, err
	}
	q := u.Query()
	q.Set("replication", "database")
	u.RawQuery = q.Encode()
	conn, err := pgconn.Connect(ctx, u.String())
	if err != nil {
		return nil, err
	}
	const slot = "bench_bare"
	_, err = pglogrepl.CreateReplicationSlot(ctx, conn, slot, "pgoutput", pglogrepl.CreateReplicationSlotOptions{Temporary: true})
	if err == nil {
		err = pglogrepl.StartReplication(ctx, conn, slot, 0, pglogrepl.StartReplicationOptions{PluginArgs: []string{"proto_version '1'", `publication_names 'rowbell'`}})
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	ctx, cancel := context.WithCancel(ctx)
	b := &bareReader{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(b.ended)
		for {
			msg, err := conn.ReceiveMessage(ctx)
			if err != nil {
				_ = conn.Close(context.WithoutCancel(ctx))
				b.mu.Lock()
				b.err = err
				b.mu.Unlock()
				return
			}
			data, ok := msg.(*pgproto3.CopyData)
			if ok && len(data.Data) > 25 && data.Data[0] == pglogrepl.XLogDataByteID && data.Data[25] == 'I' {
				now := time.Now().UnixMicro()
				b.mu.Lock()
				b.at = append(b.at, now) // the orders come in the order of their ids
				b.mu.Unlock()
			}
		}
	}()
	return b, nil
}

func (b *bareReader) seen(ctx context.Context, n int) ([]int64, error) {
	for deadline := time.Now().Add(10 * time.Second); ; {
		b.mu.Lock()
		got, err := len(b.at), b.err
		b.mu.Unlock()
		if got >= n || err != nil {
			return b.at, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the bare reader saw %d of %d changes", got, n)
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

func (b *bareReader) close() {
	b.cancel()
	<-b.ended
}
