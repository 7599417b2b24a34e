package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/app"
)

// What pages are to reach.
const (
	pageGoal = 200 * 1000 // bytes of a first visit, before anything is cached
	openGoal = 300        // ms until one can work with a page
	runsGoal = 200        // ms of the server for a list of runs, p99
)

// settling is how long a worker that has just taken the slot is left to itself: with very many
// workflows it loads them, and says how they are, for seconds.
const settling = 30 * time.Second

// pageVisitors is how many keys ask: one alone may ask for no more than so much a second.
const pageVisitors = 60

// pages measures the web pages on a filled database: what a first visit takes over the wire,
// how long the server takes, and when one can work with the page in a browser, at a first
// visit and with what the browser has kept. Then lists of runs, with arguments that the log
// has.
func pages(ctx context.Context, o Options) (err error) {
	p, f, stop, err := openServed(ctx, o, FillOptions{Workflows: 160, Rows: 10_000, Tenants: 3, Tables: 4, Days: 3, Seed: o.Fill.Seed})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	var report strings.Builder
	fmt.Fprintf(&report, "Measured %s with `rowbell-bench -only pages`: PostgreSQL %s, %s, %d CPUs, everything on loopback, %d executions of %d workflows, medians of %d, load average %s.\n\n",
		time.Now().UTC().Format(time.DateOnly), f.version, runtime.Version(), runtime.NumCPU(), f.rows, f.workflows, o.Runs, loadAverage())
	visits, over := p.visits(ctx, o.Log)
	report.WriteString(visits)
	lists, more := p.lists(ctx, o.Log)
	report.WriteString(lists)
	fmt.Fprint(o.Log, "\n"+report.String())
	if o.Report != "" {
		if err := os.WriteFile(o.Report, []byte(report.String()), 0o644); err != nil {
			return err
		}
	}
	return errors.Join(over, more)
}

// pageBench has pages that are served, and who asks for them.
type pageBench struct {
	*readBench
	rounds int
	base   string
	keys   []string
	client *http.Client
}

// openServed opens a filled database, with a worker that serves it; stop ends both.
func openServed(ctx context.Context, o Options, with FillOptions) (p *pageBench, f *filled, stop func() error, err error) {
	if f, err = openFilled(ctx, o, with); err != nil {
		return nil, nil, nil, err
	}
	p = &pageBench{readBench: f.readBench, rounds: o.Runs}
	end, err := p.serve(ctx, f.url, f.pool)
	if err != nil {
		return nil, nil, nil, errors.Join(err, f.close())
	}
	return p, f, func() error { return errors.Join(end(), f.close()) }, nil
}

// serve runs a worker on the database, and makes keys.
func (p *pageBench) serve(ctx context.Context, target string, pool *pgxpool.Pool) (stop func() error, err error) {
	cfg := config(target)
	cfg.Listen = "127.0.0.1:0"
	cfg.SMTPURL, cfg.MailFrom = "smtp://127.0.0.1:9", "bench@example.com" // so that e-mails are known; nothing is sent there
	a, err := app.New(cfg, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), "bench", "")
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(run) }()
	stop = func() error { cancel(); return <-ended }
	p.base, p.client = "http://"+a.PublicAddr().String(), &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		var held bool
		if err := pool.QueryRow(ctx, "select exists (select from rowbell.holder where leader_until > clock_timestamp())").Scan(&held); err != nil {
			return nil, errors.Join(err, stop())
		}
		if held {
			break
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(errors.New("the worker holds no slot after three minutes"), stop())
		}
	}
	op, err := app.NewOperator(cfg, discard)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	var ids []string
	end := stop
	stop = func() error { // the keys go as well: a list of them is one of the pages
		var err error
		for _, id := range ids {
			_, revoke := op.Access().RevokeKey(context.WithoutCancel(ctx), id, nil, "bench")
			err = errors.Join(err, revoke)
		}
		op.Close()
		return errors.Join(err, end())
	}
	for i := range pageVisitors {
		made, key, err := op.Access().CreateKey(ctx, access.NewKey{Name: fmt.Sprintf("bench %d", i), Roles: []access.Role{access.Admin}}, "bench")
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		ids, p.keys = append(ids, made.ID), append(p.keys, key)
	}
	return stop, pause(ctx, settling)
}

// ask gets a page as one of the visitors, and says how long that took, to its last byte.
func (p *pageBench) ask(ctx context.Context, visitor int, tenant, path string) (time.Duration, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+path, nil)
	if err != nil {
		return 0, err
	}
	r.AddCookie(&http.Cookie{Name: "rowbell", Value: p.keys[visitor%len(p.keys)]})
	if tenant != "" {
		r.AddCookie(&http.Cookie{Name: "rowbell_tenant", Value: url.QueryEscape(tenant)})
	}
	_, status, took, err := p.send(r)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s answers %d", path, status)
	}
	return took, err
}

// send sends a request, and says how long its answer took, to the last byte.
func (p *pageBench) send(r *http.Request) (body []byte, status int, took time.Duration, err error) {
	begun := time.Now()
	resp, err := p.client.Do(r)
	if err != nil {
		return nil, 0, 0, err
	}
	body, err = io.ReadAll(resp.Body)
	took = time.Since(begun)
	return body, resp.StatusCode, took, errors.Join(err, resp.Body.Close())
}

// list are the pages, with what the database has for them.
func (p *pageBench) list() []struct{ name, path string } {
	r := rand.New(rand.NewPCG(p.seed, 1))
	x, e, person := p.execution(r), oneOf(p.events, r), p.person(r)
	workflow := "/workflows/" + x.WorkflowID
	return []struct{ name, path string }{
		{"sign-in", "/signin"},
		{"home", "/"},
		{"home, 7 days", "/?range=week"},
		{"workflows", "/workflows"},
		{"a workflow", workflow},
		{"gallery", "/gallery"},
		{"mapping an example", "/gallery/large-order"},
		{"designer", workflow + "/edit"},
		{"try it", workflow + "/try"},
		{"publish", workflow + "/publish"},
		{"versions", workflow + "/versions"},
		{"import and export", "/transfer"},
		{"runs", "/runs"},
		{"a run", "/runs/" + x.ID},
		{"why not", "/why?" + url.Values{"table": {e.Table}, "row_key": {e.RowKey}}.Encode()},
		{"failures", "/failures"},
		{"run again", "/replays/new?status=failure&workflow_id=" + x.WorkflowID},
		{"destinations", "/destinations"},
		{"templates", "/templates"},
		{"a template", "/newtemplate"},
		{"recipients", "/recipients?" + url.Values{"type": {"user"}, "value": {person.Recipient}}.Encode()},
		{"activity", "/activity"},
		{"access", "/access"},
		{"stream", "/stream"},
	}
}

// visit is what a browser says of one page.
type visit struct {
	Bytes       float64 // over the wire, of the page and all that belongs to it
	Interactive float64 // ms from the start of the navigation until its scripts have run
}

// visits measures each page in a browser, and alone.
func (p *pageBench) visits(ctx context.Context, log io.Writer) (table string, over error) {
	path := ""
	for _, name := range []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		return "", errors.New("there is no Chromium, in which pages are measured; install it: apt-get install chromium-headless-shell")
	}
	allocator, end := chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-dev-shm-usage", true))...)
	defer end()
	browser, close := chromedp.NewContext(allocator)
	defer close()
	if err := chromedp.Do(browser); err != nil {
		return "", fmt.Errorf("start the browser: %w", err)
	}
	var b strings.Builder
	b.WriteString("| page | first visit, kB | again, kB | server, ms | interactive at a first visit, ms | again, ms |\n|---|---|---|---|---|---|\n")
	fmt.Fprintf(log, "%-24s %10s %10s %10s %12s %10s\n", "page", "first kB", "again kB", "server ms", "interactive", "again ms")
	visitor := 0
	for _, page := range p.list() {
		var bytes, againBytes, interactive, again, server figure
		for range p.rounds {
			visitor++
			first, second, err := p.visit(browser, p.keys[visitor%len(p.keys)], page.path)
			if err != nil {
				return "", fmt.Errorf("%s: %w", page.path, err)
			}
			took, err := p.ask(ctx, visitor, "", page.path)
			if err != nil {
				return "", err
			}
			bytes.values, againBytes.values = append(bytes.values, first.Bytes), append(againBytes.values, second.Bytes)
			interactive.values, again.values = append(interactive.values, first.Interactive), append(again.values, second.Interactive)
			server.values = append(server.values, float64(took.Microseconds())/1000)
		}
		fmt.Fprintf(log, "%-24s %10.1f %10.1f %10.1f %12.0f %10.0f\n", page.name, bytes.median()/1000, againBytes.median()/1000, server.median(), interactive.median(), again.median())
		fmt.Fprintf(&b, "| %s | %.0f | %.0f | %.1f | %.0f | %.0f |\n", page.name, bytes.median()/1000, againBytes.median()/1000, server.median(), interactive.median(), again.median())
		if n := bytes.median(); n > pageGoal {
			over = errors.Join(over, fmt.Errorf("a first visit of %s takes %.0f bytes, more than %d", page.path, n, pageGoal))
		}
		if ms := interactive.median(); ms > openGoal {
			over = errors.Join(over, fmt.Errorf("%s is interactive after %.0f ms, more than %d", page.path, ms, openGoal))
		}
	}
	b.WriteString("\n")
	return b.String(), over
}

// entries is what the page itself knows. Scripts are deferred: they have run when the content
// is said to be loaded.
const entries = `(() => {
	const [page] = performance.getEntriesByType("navigation");
	const all = performance.getEntriesByType("resource").reduce((n, r) => n + r.transferSize, page.transferSize);
	return JSON.stringify({Bytes: all, Interactive: page.domContentLoadedEventEnd});
})()`

// visit opens a page in a browser that knows the visitor and has kept nothing, and once more.
func (p *pageBench) visit(browser context.Context, key, path string) (first, again visit, err error) {
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	// The sign-in is sent from something that has none of what pages share.
	signIn := fmt.Sprintf(`fetch("/signin", {method: "POST", redirect: "manual", body: new URLSearchParams({key: %q})}).then(() => true)`, key)
	bare := chromedp.Navigate(p.base + "/rowbell-inbox.js")
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 900), bare, chromedp.Evaluate[chromedp.Void](signIn, chromedp.EvalAwaitPromise)); err != nil {
		return first, again, err
	}
	for _, into := range []*visit{&first, &again} {
		if err := chromedp.Do(ctx, chromedp.Navigate(p.base+path), chromedp.WaitReady(chromedp.CSS("#main")), chromedp.Sleep(300*time.Millisecond)); err != nil {
			return first, again, err
		}
		text, err := chromedp.Run(ctx, chromedp.Evaluate[string](entries))
		if err != nil {
			return first, again, err
		}
		if err := json.Unmarshal([]byte(text), into); err != nil {
			return first, again, err
		}
		if err := chromedp.Do(ctx, bare); err != nil {
			return first, again, err
		}
	}
	return first, again, nil
}

// lists measures lists of runs, by the server alone.
func (p *pageBench) lists(ctx context.Context, log io.Writer) (table string, over error) {
	asks := []struct {
		name string
		page func(r *rand.Rand) (tenant, path string)
	}{
		{"runs of all tenants", func(*rand.Rand) (string, string) { return "", "/runs" }},
		{"runs of all tenants, failed", func(*rand.Rand) (string, string) { return "", "/runs?status=failure" }},
		{"runs of a tenant", func(r *rand.Rand) (string, string) { return *p.tenant(r), "/runs" }},
		{"runs of a tenant, failed", func(r *rand.Rand) (string, string) { return *p.tenant(r), "/runs?status=failure" }},
		{"runs of a tenant, under way", func(r *rand.Rand) (string, string) { return *p.tenant(r), "/runs?status=pending" }},
		{"runs of a tenant, within 24 hours", func(r *rand.Rand) (string, string) { return *p.tenant(r), "/runs?within=day" }},
		{"runs of a workflow", func(r *rand.Rand) (string, string) {
			x := p.execution(r)
			return x.TenantID, "/runs?workflow_id=" + x.WorkflowID
		}},
		{"runs of a row", func(r *rand.Rand) (string, string) {
			e := oneOf(p.events, r)
			return e.TenantID, "/runs?" + url.Values{"table": {e.Table}, "row_key": {e.RowKey}}.Encode()
		}},
		{"runs for a recipient", func(r *rand.Rand) (string, string) {
			x := p.person(r)
			return x.TenantID, "/runs?" + url.Values{"recipient": {x.Recipient}}.Encode()
		}},
		{"a run", func(r *rand.Rand) (string, string) {
			x := p.execution(r)
			return x.TenantID, "/runs/" + x.ID
		}},
		{"home of a tenant", func(r *rand.Rand) (string, string) { return *p.tenant(r), "/" }},
	}
	var b strings.Builder
	b.WriteString("| list, without a browser | p50, ms | p99, ms | longest, ms |\n|---|---|---|---|\n")
	fmt.Fprintf(log, "%-36s %8s %8s %8s\n", "", "p50 ms", "p99 ms", "longest")
	n := cmp.Or(p.pages, 200)
	for i, ask := range asks {
		r := rand.New(rand.NewPCG(p.seed, uint64(i)))
		times := make([]time.Duration, 0, n)
		for k := range n {
			tenant, path := ask.page(r)
			took, err := p.ask(ctx, k, tenant, path)
			if err != nil {
				return "", fmt.Errorf("%s, tenant %q: %w", ask.name, tenant, err)
			}
			times = append(times, took)
		}
		slices.Sort(times)
		fmt.Fprintf(log, "%-36s %8.1f %8.1f %8.1f\n", ask.name, share(times, 0.5), share(times, 0.99), share(times, 1))
		fmt.Fprintf(&b, "| %s | %.1f | %.1f | %.1f |\n", ask.name, share(times, 0.5), share(times, 0.99), share(times, 1))
		if ms := share(times, 0.99); ms > runsGoal {
			over = errors.Join(over, fmt.Errorf("%s takes %.0f ms at p99, more than %d", ask.name, ms, runsGoal))
		}
	}
	return b.String(), over
}
