// Package pagestest tries the web pages in a real browser, served by a whole worker.
package pagestest

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

//go:embed testdata/axe.min.js
var axe string

// shop is the application.
const shop = `create table orders (id bigint generated always as identity primary key, tenant_id text not null, status text not null default 'new',
	total numeric not null default 0, customer text, assignee text);
create table invoices (id bigint generated always as identity primary key, tenant_id text not null, status text not null default 'open', amount numeric not null, due_date date, owner text)`

// world is a worker whose pages are served.
type world struct {
	t    *testing.T
	db   *pgtest.Database
	base string
	o    *app.Operator
}

func newWorld(t *testing.T, change ...func(*app.Config)) *world {
	t.Helper()
	db := pgtest.Filled(t, "migrated", func(ctx context.Context, url string) error { return store.Migrate(ctx, url, url) })
	db.Exec(t, shop)
	return newWorldOf(t, db, change...)
}

// newWorldOf is a worker on a database that has the application's tables.
func newWorldOf(t *testing.T, db *pgtest.Database, change ...func(*app.Config)) *world {
	t.Helper()
	cfg := app.Config{
		SourceURL: db.URL, Slot: db.Name, Publication: "rowbell", Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0", HeartbeatInterval: time.Second,
	}
	for _, c := range change {
		c(&cfg)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	a, err := app.New(cfg, log, "test", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context())) // not the test's, which ends before the tabs are closed
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	})
	w := &world{t: t, db: db, base: "http://" + a.PublicAddr().String()}
	conn := db.Conn(t)
	pgtest.Eventually(t, pgtest.Patience, "the worker to hold the slot", func() bool {
		var held bool // false too while there are no tables yet
		return conn.QueryRow(t.Context(), `select exists (select from rowbell.holder where leader_until > clock_timestamp())`).Scan(&held) == nil && held
	})
	if w.o, err = app.NewOperator(cfg, log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.o.Close)
	return w
}

// key makes a key with a role for a tenant; "" is all.
func (w *world) key(tenant string, role access.Role) string {
	w.t.Helper()
	n := access.NewKey{Name: strings.TrimSpace(tenant + " " + string(role)), Roles: []access.Role{role}}
	if tenant != "" {
		n.TenantID = &tenant
	}
	_, text, err := w.o.Access().CreateKey(w.t.Context(), n, "test")
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// browser is one for all tests that run at a time, each of which has a context of its own there.
var browser struct {
	mu    sync.Mutex
	users int
	ctx   context.Context
	close func()
}

// useBrowser starts the browser, unless it runs, and ends it after its last user.
func useBrowser(t *testing.T) context.Context {
	t.Helper()
	browser.mu.Lock()
	defer browser.mu.Unlock()
	if browser.users == 0 {
		path := ""
		for _, name := range []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"} {
			if p, err := exec.LookPath(name); err == nil {
				path = p
				break
			}
		}
		if path == "" {
			t.Fatal("there is no Chromium, in which pages are tried; install it: apt-get install chromium-headless-shell")
		}
		options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
			chromedp.Flag("disable-quic", true), chromedp.IgnoreCertErrors, chromedp.Flag("disable-dev-shm-usage", true))
		allocator, end := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
		ctx, cancel := chromedp.NewContext(allocator)
		browser.close = func() { cancel(); end() }
		if err := chromedp.Do(ctx); err != nil {
			browser.close()
			t.Fatalf("start the browser: %v", err)
		}
		browser.ctx = ctx
	}
	browser.users++
	t.Cleanup(func() {
		browser.mu.Lock()
		defer browser.mu.Unlock()
		if browser.users--; browser.users == 0 {
			browser.close()
		}
	})
	return browser.ctx
}

// tab is a visitor's browser.
type tab struct {
	w   *world
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	troubles []string // what the console said, and what was blocked
	expected []string // what it may say

	deeds int // how often the visitor has pressed or filled in something
}

// open gives a visitor a browser that knows nothing yet, of a width in pixels.
func (w *world) open(t *testing.T, width int64) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(useBrowser(t), chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	ctx, stop := context.WithTimeout(ctx, 6*time.Minute)
	t.Cleanup(stop)
	b := &tab{w: w, t: t, ctx: ctx}
	b.run(chromedp.EmulateViewport(width, 900))
	said := chromedp.Console(ctx)
	go func() {
		for m, err := range said {
			if err != nil {
				return // the tab is closed
			}
			if m.Type == "error" || m.Type == "warning" || m.Type == chromedp.ConsoleException {
				b.mu.Lock()
				b.troubles = append(b.troubles, m.Text)
				b.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, what := range b.troubles {
			if slices.ContainsFunc(b.expected, func(s string) bool { return strings.Contains(what, s) }) {
				continue
			}
			t.Errorf("the browser complains: %s", what)
		}
		if t.Failed() {
			if at, err := chromedp.Run(ctx, chromedp.Location()); err == nil {
				t.Logf("the browser is at %s", at)
				b.shot("failed-" + strings.NewReplacer("/", "-", " ", "_").Replace(t.Name()))
			}
		}
	})
	return b
}

// quiet says that the console may say something: of an answer that is no success it does.
func (b *tab) quiet(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = append(b.expected, text)
}

// run does something in the browser.
func (b *tab) run(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatalf("the browser: %v", err)
	}
}

// signIn shows a key.
func (b *tab) signIn(key string) {
	b.t.Helper()
	b.to("/signin")
	b.run(chromedp.SendKeys(chromedp.CSS(`input[name=key]`), key))
	b.press("Sign in")
	deadline := time.Now().Add(patience)
	for eval[string](b, `document.title`) == "Sign in · Rowbell" {
		if time.Now().After(deadline) {
			b.t.Fatalf("the key is not taken:\n%s", b.text())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// to goes to a page, and waits until it is there.
func (b *tab) to(path string) {
	b.t.Helper()
	b.run(chromedp.Navigate(b.w.base+path), chromedp.WaitReady(chromedp.CSS("body")))
}

// text is what can be seen of the page.
func (b *tab) text() string {
	b.t.Helper()
	return eval[string](b, `document.body.innerText`)
}

// eval evaluates an expression of JavaScript.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("the browser: %v", err)
	}
	return v
}

// patience is how long something on a page may take.
const patience = pgtest.Patience

// sees waits until a text can be seen.
func (b *tab) sees(text string) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		s, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body?.innerText ?? ""`)) // between two pages there may be none
		if err == nil && strings.Contains(s, text) {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%q is not to be seen (%v) in:\n%s", text, err, s)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// press clicks what a person would: the first visible link or button with just this text.
func (b *tab) press(text string) {
	b.t.Helper()
	quoted, _ := json.Marshal(text) // never fails
	script := fmt.Sprintf(`(() => {
		if (document.readyState !== "complete") return "no"; // its scripts may not listen yet
		const wanted = %s;
		const own = (e) => (e.getAttribute("aria-label") ?? e.innerText ?? "").trim().replace(/\s+/g, " ");
		const open = document.querySelector("dialog[open]");
		const all = [...(open ?? document).querySelectorAll("a, button, summary, label, [role=button], [role=tab], option")];
		const found = all.find((e) => own(e) === wanted && e.checkVisibility());
		if (!found) return "no";
		found.scrollIntoView({block: "center"});
		found.click();
		return "yes";
	})()`, quoted)
	deadline := time.Now().Add(patience)
	for {
		got, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](script))
		if err == nil && got == "yes" {
			b.deeds++
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("there is nothing to press called %q (%v) in:\n%s", text, err, b.text())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// accessible judges the page by WCAG 2.2 AA, as far as axe-core can tell.
func (b *tab) accessible() {
	b.t.Helper()
	b.axe(`["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]`)
}

// legible judges what depends on the theme and the width alone, of a page that was judged in
// another one: it is much faster.
func (b *tab) legible() {
	b.t.Helper()
	b.axe(`{type: "rule", values: ["color-contrast", "target-size", "scrollable-region-focusable"]}`)
}

// axe judges the page by some rules, when it is all there. What was seen may have been of the
// page before, which is left while it is judged: then the next one is.
func (b *tab) axe(rules string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	var found string
	err := errors.New("the page isn't complete")
	for err != nil {
		state, now := chromedp.Run(ctx, chromedp.Evaluate[string](`document.readyState`))
		if now == nil && state == "complete" {
			now = chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](axe))
			if now == nil {
				found, now = chromedp.Run(ctx, chromedp.Evaluate[string](`axe.run({runOnly: `+rules+`}).then((r) =>
		r.violations.map((v) => v.id + ": " + v.help + "\n" + v.nodes.map((n) => "    " + n.target + "  " + n.failureSummary.replaceAll("\n", " ")).join("\n")).join("\n"))`, chromedp.EvalAwaitPromise))
			}
			if ctx.Err() == nil {
				err = now
			}
		}
		if err != nil && ctx.Err() != nil {
			b.t.Fatalf("axe: %v", err)
		}
		if err != nil {
			time.Sleep(50 * time.Millisecond)
		}
	}
	if found != "" {
		b.t.Errorf("%s is not accessible:\n%s", eval[string](b, `location.pathname + location.search`), found)
	}
}

// noName is what file names don't have.
var noName = regexp.MustCompile(`[^a-zA-Z0-9-]+`)

// shot keeps a picture of the whole page in the folder ROWBELL_SHOTS, if that is set.
func (b *tab) shot(name string) {
	b.t.Helper()
	dir := os.Getenv("ROWBELL_SHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Errorf("take a picture: %v", err)
		return
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, noName.ReplaceAllString(name, "-")+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// visit goes to a page of somebody else's.
func (b *tab) visit(url string) {
	b.t.Helper()
	b.run(chromedp.Navigate(url), chromedp.WaitReady(chromedp.CSS("body")))
}

// until waits for something.
func (b *tab) until(what string, so func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
