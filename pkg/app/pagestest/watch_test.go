package pagestest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// loopbackKey is the secret key of such a worker.
const loopbackKey = "0123456789abcdef0123456789abcdef"

// loopback lets webhooks go to servers of the test.
func loopback(c *app.Config) {
	c.SecretKey = app.Secret(loopbackKey)
	c.EgressAllow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

// fill writes into the field of a label.
func (b *tab) fill(label, text string) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	script := fmt.Sprintf(`(() => {
		if (document.readyState !== "complete") return "not loaded";
		const label = [...document.querySelectorAll("label")].find((l) => l.checkVisibility() && (l.innerText.split("\n")[0].trim() === %q));
		const field = label?.querySelector("input, textarea, select");
		if (!field) return "no";
		if (field.tagName === "SELECT") {
			const option = [...field.options].find((o) => o.text === %[2]q);
			if (!option) return "no option";
			field.value = option.value;
		} else field.value = %[2]q;
		field.dispatchEvent(new Event("input", {bubbles: true}));
		field.dispatchEvent(new Event("change", {bubbles: true}));
		return "yes";
	})()`, label, text)
	for {
		got, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](script))
		if err == nil && got == "yes" {
			b.deeds++
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%q can't be filled in (%s, %v) in:\n%s", label, got, err, b.text())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// look keeps pictures of pages at all widths and in the dark, as a visitor with a key sees them, and judges them.
func (w *world) look(t *testing.T, key string, paths ...string) {
	t.Helper()
	for _, width := range widths {
		b := w.open(t, width)
		b.signIn(key)
		for _, path := range paths {
			b.to(path)
			b.accessible()
			if wide := eval[bool](b, `document.documentElement.scrollWidth > innerWidth + 1`); wide {
				t.Errorf("%s is wider than %d pixels", path, width)
			}
			b.shot(fmt.Sprintf("%s-%d", path, width))
		}
		if width == widths[0] {
			eval[bool](b, `localStorage.setItem("rowbell-theme", "dark") ?? true`)
			for _, path := range paths {
				b.to(path)
				b.accessible()
				b.shot(fmt.Sprintf("%s-dark", path))
			}
		}
		b.run(chromedp.Navigate("about:blank")) // it reads the live stream no more
	}
}

// An operator finds what fails, mends the receiver, and runs all of it again; finds out why a
// row set nothing off; and looks after a destination.
func TestWatch(t *testing.T) {
	t.Parallel()
	var well atomic.Bool
	receiver := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if !well.Load() {
			http.Error(rw, "no such hook", http.StatusNotFound)
		}
	}))
	t.Cleanup(receiver.Close)
	w := newWorld(t, loopback)
	key := w.key("", access.Admin)
	b := w.open(t, widths[0])
	b.signIn(key)
	for _, empty := range []struct{ page, text string }{
		{"Failures", "Nothing failed"}, {"Why not?", "Name the row"}, {"Destinations", "Nothing was sent anywhere yet"},
	} {
		b.press(empty.page)
		b.sees(empty.text)
	}
	w.db.Exec(t, fmt.Sprintf(`insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('big', 'acme', 'Large order', 'active'), ('off', 'acme', 'Any order', 'inactive');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ('big', 'orders', 'create', '{"total": {"gte": 1000}}'), ('off', 'orders', 'create', '{}');
		insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('big', 'webhook', '{"url": "%s/hook", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}'), ('off', 'log', '{}')`, receiver.URL))
	pgtest.Eventually(t, pgtest.Patience, "the workflow to apply and the table to be captured", func() bool {
		return pgtest.One[bool](t, w.db, `select count(*) = 2 from rowbell.applied where id in ('big', 'orders')`)
	})
	w.db.Exec(t, `insert into orders (tenant_id, total, customer) values ('acme', 1200, 'Ada'), ('acme', 3000, 'Bo'), ('acme', 12, 'Cy')`)
	pgtest.Eventually(t, pgtest.Patience, "the failures", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where status = 'failure'`) == 2
	})

	b.press("Failures")
	b.sees("The receiver has nothing at this address")
	b.accessible()
	b.press("Dismiss… Large order")
	b.quiet("422 (Unprocessable")
	b.fill("Why it needs nobody any more", "  ")
	b.press("Dismiss")
	b.sees("The note is missing.") // and the form is open yet
	b.fill("Why it needs nobody any more", "They are moving their hooks")
	b.accessible()
	b.press("Dismiss")
	b.sees("Dismissed. It comes back when another run fails like this.")
	b.sees("Nothing needs you")
	b.press("Show what is dismissed")
	b.sees("by you: “They are moving their hooks”")
	b.accessible()
	b.press("Home")
	b.sees("Runs over time")
	if strings.Contains(b.text(), "thing fails") {
		t.Errorf("what is dismissed needs somebody:\n%s", b.text())
	}
	w.db.Exec(t, `insert into orders (tenant_id, total, customer) values ('acme', 4000, 'Cy')`)
	pgtest.Eventually(t, pgtest.Patience, "another failure", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where status = 'failure'`) == 3
	})
	b.to("/failures")
	b.sees("Dismissed before")
	b.sees("It has failed again since.")
	b.press("Dismiss… Large order")
	b.fill("Why it needs nobody any more", "Still moving")
	b.press("Dismiss")
	b.sees("Nothing needs you")
	b.press("Show what is dismissed")
	b.press("Bring back Large order")
	b.sees("It is listed again.")
	b.sees("Nothing is dismissed")
	b.to("/failures")
	b.sees("The receiver has nothing at this address")
	well.Store(true)
	b.press("Run these again…")
	b.sees("What will happen")
	b.sees("3 runs of Large order")
	b.accessible()
	w.look(t, key, "/failures", b.path())
	b.press("Run 3 again")
	b.sees("All 3 were run again")
	b.accessible()
	w.look(t, key, "/replays", "/replays/1")
	pgtest.Eventually(t, pgtest.Patience, "the runs to succeed", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where status = 'success'`) == 3
	})
	b.to("/runs/" + w.db.QueryString(t, `select min(id) from rowbell.workflow_log where status = 'failure'`))
	b.sees("The same change also ran")
	b.sees("by replay 1")
	b.accessible()
	b.press("Large order") // the run that the replay made
	b.sees("by replay 1")
	b.to("/replays/1")

	b.press("Runs")
	b.fill("Outcome", "Done")
	b.sees("say of which workflow")
	b.fill("Workflow", "Large order")
	b.sees("Run all of these again…")
	b.accessible()
	w.db.Exec(t, `insert into orders (tenant_id, total, customer) values ('acme', 5000, 'Di')`)
	b.sees("Another run has ended.")
	b.press("Show them")
	b.sees("orders 5")
	w.look(t, key, b.path())
	b.press("Large order")
	b.sees("Why it ran")
	b.sees("total is at least 1000")
	b.accessible()
	w.look(t, key, b.path())
	b.press("Run it again…")
	b.sees("The run of Large order")
	b.accessible()
	b.press("Run it again")
	b.sees("It was run again.")
	w.db.Exec(t, `insert into orders (tenant_id, total, customer) select 'acme', 2000, 'Ed' from generate_series(1, 40)`)
	pgtest.Eventually(t, pgtest.Patience, "the others to run", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where status = 'success'`) == 45
	})
	b.to("/runs?workflow_id=big&status=success")
	b.press("Run all of these again…")
	b.sees("44 runs of Large order")
	b.fill("How fast", "1 a second")
	b.sees("44 runs of Large order")
	b.press("Run 44 again")
	b.sees("of 44 so far.")
	b.press("End it")
	b.press("End it") // in the dialog: yes
	b.sees("Ended early")
	b.sees("were run again.")

	b.press("Why not?")
	b.fill("Table", "orders")
	b.fill("Row", "1")
	b.press("Explain")
	b.sees("Large order")
	b.sees("Ran")
	b.sees("Was off")
	b.accessible()
	b.fill("Row", "3")
	b.press("Explain")
	b.sees("No change of this row is kept")
	b.sees("If the row were changed as it is now")
	b.accessible()
	w.look(t, key, "/why?table=orders&row_key=1", b.path())

	b.press("Destinations")
	b.press(receiver.URL + "/hook")
	b.sees("Takes deliveries")
	destination := b.path()
	b.press("Send a test")
	b.sees("The test has arrived")
	b.accessible()
	b.press("Change the secret")
	b.press("Change the secret") // in the dialog: yes
	b.sees("it isn’t shown again")
	b.accessible()
	w.look(t, key, "/destinations", destination)
	b.fill("Why", "they move house")
	b.press("Turn off")
	b.press("Turn off")
	b.sees("Nothing is sent there any more.")
	b.sees("They move house.")
	b.press("Turn on")
	b.sees("Deliveries go there again.")
	w.db.Exec(t, `insert into rowbell.execution (committed_at, executed_at, settled_at, version_ref, priority, id, status, error)
		select x.committed_at, x.executed_at, clock_timestamp(), x.version_ref, x.priority, left(x.id, 26) || '-' || x.version_ref || '-' || 100 + n, 'failure', 'cause ' || chr(96 + n / 26) || chr(97 + n % 26)
		from (select * from rowbell.execution order by id limit 1) x, generate_series(26, 55) n`)
	b.to("/failures")
	b.sees("Show 6 more causes")
	b.accessible()
	b.press("Show 6 more causes")
	b.sees("Cause bd")
	if strings.Contains(b.text(), "more causes") {
		t.Errorf("there are still more causes:\n%s", b.text())
	}
	viewer := w.open(t, widths[0])
	viewer.signIn(w.key("acme", access.Viewer))
	for _, path := range []string{"/failures?within=week", "/replays/new?workflow_id=big", "/destinations"} {
		viewer.to(path)
		viewer.accessible()
	}
}

// path is where the browser is, with its query.
func (b *tab) path() string {
	b.t.Helper()
	return eval[string](b, `location.pathname + location.search`)
}
