package pagestest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// tick ticks the rows whose boxes are called so.
func (b *tab) tick(names ...string) {
	b.t.Helper()
	for _, name := range names {
		if !eval[bool](b, fmt.Sprintf(`(() => { const box = document.querySelector('input[type=checkbox][aria-label=%q]'); box?.click(); return box?.checked ?? false })()`, "Tick "+name)) {
			b.t.Fatalf("there is no %s to tick:\n%s", name, b.text())
		}
	}
}

// answers presses a button of the dialog that is open.
func (b *tab) answers(value string) {
	b.t.Helper()
	b.until("the dialog", func() bool { return b.now(`String(document.querySelector("dialog[open]") !== null)`) == "true" })
	eval[bool](b, fmt.Sprintf(`(document.querySelector("dialog[open] button[value=%s]").click(), true)`, value))
}

// Several workflows are ticked and turned on and off, by keys alone too; what came of each is
// told by its name, and the last days stand beside it.
func TestWorkflowsTicked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, loopback)
	w.db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status, settings) values
			('one', 'acme', 'First rule', 'active', '{"owners": ["user:ann", "role:support"]}'), ('two', 'acme', 'Second rule $$', 'inactive', '{}'), ('empty', 'acme', 'Third rule', 'draft', '{}');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, priority) values ('one', 'orders', 'create', 20), ('two', 'orders', 'create', 100);
		insert into rowbell.workflow_action (workflow_id, action_type) values ('one', 'log'), ('two', 'log')`)
	pgtest.Eventually(t, pgtest.Patience, "the workflow to apply and the table to be captured", func() bool {
		return pgtest.One[bool](t, w.db, `select count(*) = 2 from rowbell.applied where id in ('one', 'orders')`)
	})
	w.db.Exec(t, `insert into orders (tenant_id, total) values ('acme', 1), ('acme', 2)`)
	pgtest.Eventually(t, pgtest.Patience, "the runs", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where status = 'success'`) == 2
	})
	b := w.open(t, widths[0])
	b.signIn(w.key("acme", access.Admin))
	b.to("/workflows")
	b.sees("When an order is created, record it.")
	b.sees("Owner: ann, role support · Priority 20")
	b.sees("2 runs")
	if said := b.now(`document.querySelector("svg.spark").getAttribute("aria-label")`); said != "Runs of each of the last 7 days, up to today: 0, 0, 0, 0, 0, 0, 2" {
		t.Errorf("the sparkline is called %q", said)
	}
	if b.offers("Turn on") {
		t.Error("with nothing ticked something can be turned on")
	}
	b.tick("Second rule $$", "Third rule", "First rule")
	b.sees("3 ticked")
	b.press("Turn on")
	b.sees("Turn on First rule, Second rule $$ and Third rule?")
	b.accessible()
	b.answers("yes")
	b.sees("What came of it")
	b.sees("First rule was on already.")
	b.sees("Second rule $$ is on.")
	b.sees("Third rule stays as it is.")
	b.accessible()
	b.plain()
	if got := pgtest.Query[string](t, w.db, `select id || ' ' || status from rowbell.workflow_definition order by id`); fmt.Sprint(got) != "[empty draft one active two active]" {
		t.Errorf("the workflows are %v", got)
	}
	// By keys, among those of a filter, which they leave.
	b.to("/workflows?status=active")
	eval[bool](b, `(document.querySelector("[data-tick-all] input").focus(), true)`)
	b.hit(" ")
	b.sees("2 ticked")
	b.tabs("Turn off")
	b.hit(kb.Enter)
	b.sees("Turn off First rule and Second rule $$?")
	b.answers("no")
	if n := pgtest.One[int](t, w.db, `select count(*)::int from rowbell.workflow_definition where status = 'active'`); n != 2 {
		t.Errorf("without a yes, %d are on", n)
	}
	b.press("Turn off")
	b.answers("yes")
	b.sees("First rule is off.")
	b.sees("Second rule $$ is off.")
	b.sees("Nothing like that")
	b.to("/workflows")
	b.press("Duplicate First rule")
	b.sees("Duplicated: this is the copy")

	viewer := w.open(t, widths[1])
	viewer.signIn(w.key("acme", access.Viewer))
	viewer.to("/workflows")
	viewer.sees("2 runs")
	if n := eval[int](viewer, `document.querySelectorAll("input[type=checkbox]").length`); n != 0 {
		t.Errorf("who may not publish sees %d boxes", n)
	}
	viewer.quiet("403")
	if said := eval[string](viewer, `(() => { const r = new XMLHttpRequest(); r.open("POST", "/workflows", false); r.setRequestHeader("Content-Type", "application/x-www-form-urlencoded"); r.send("id=one&do=on"); return r.status + r.responseText })()`); !strings.HasPrefix(said, "403") || !strings.Contains(said, "workflow.publish") {
		t.Errorf("to them it is answered %.300s", said)
	}
}

// hooks is a receiver that answers as it is told, and a workflow that tells it of each order.
func hooks(t *testing.T, w *world, retry string) *atomic.Int32 {
	t.Helper()
	status := &atomic.Int32{}
	status.Store(http.StatusServiceUnavailable)
	receiver := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(int(status.Load()))
		_, _ = rw.Write([]byte("so says the hook"))
	}))
	t.Cleanup(receiver.Close)
	w.db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('big', 'acme', 'Large order', 'active')`)
	w.db.Exec(t, `insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('big', 'orders', 'create')`)
	w.db.Exec(t, fmt.Sprintf(`insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('big', 'webhook', '{"url": "%s/hook", "retry": %s}')`, receiver.URL, retry))
	pgtest.Eventually(t, pgtest.Patience, "the workflow to apply and the table to be captured", func() bool {
		return pgtest.One[bool](t, w.db, `select count(*) = 2 from rowbell.applied where id in ('big', 'orders')`)
	})
	return status
}

// Runs that are ticked are cancelled, or run again, and what is filtered is kept under a name.
func TestRunsTicked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, loopback)
	hooks(t, w, `["1h"]`)
	w.db.Exec(t, `insert into orders (tenant_id) values ('acme'), ('acme'), ('acme')`)
	pgtest.Eventually(t, pgtest.Patience, "the attempts", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.delivery where error is not null and state <> 'leased'`) == 3
	})
	b := w.open(t, widths[0])
	b.signIn(w.key("acme", access.Operator))
	b.to("/runs?status=pending")
	b.tick("Large order (orders 1)", "Large order (orders 3)")
	b.sees("2 ticked")
	b.accessible()
	b.press("Cancel")
	b.sees("Cancel Large order (orders 3) and Large order (orders 1)?")
	b.answers("yes")
	b.sees("Large order (orders 1) is cancelled.")
	b.sees("Large order (orders 3) is cancelled.")
	b.accessible()
	if got := pgtest.Query[string](t, w.db, `select status from rowbell.workflow_log order by committed_at, id`); fmt.Sprint(got) != "[cancelled pending cancelled]" {
		t.Errorf("the runs are %v", got)
	}
	b.to("/runs")
	b.tick("Large order (orders 1)", "Large order (orders 2)", "Large order (orders 3)")
	b.press("Run again…")
	b.sees("What will happen")
	b.sees("2 runs of Large order")

	// Views: one's own, and one that is shared.
	b.to("/runs")
	b.fill("Outcome", "Cancelled")
	b.sees("Save this view…")
	b.press("Save this view…")
	b.fill("What you call it", "Stopped ones")
	b.accessible()
	b.press("Save")
	b.sees("Saved: it stands above the list.")
	b.sees("Stopped ones")
	b.sees("Remove the view Stopped ones")
	if at := b.path(); !strings.Contains(at, "status=cancelled") {
		t.Errorf("behind it one is at %s", at)
	}
	b.fill("Outcome", "Under way")
	b.sees("Save this view…")
	b.until("the view not to be the present one", func() bool { return b.now(`String(document.querySelector(".views [aria-current]"))`) == "null" })
	b.press("Save this view…")
	b.fill("What you call it", "On their way")
	b.press("Show it to everybody in acme")
	b.press("Save")
	b.sees("Remove the view On their way")
	b.accessible()
	// Where it is refused, the list below it is as it was.
	b.to("/runs?table=orders")
	b.press("Save this view…")
	eval[bool](b, `(document.querySelector(".keepview [name=name]").required = false, true)`)
	b.quiet("status of 422")
	b.press("Save")
	b.sees("The view has no name.")
	if to := eval[string](b, `document.querySelector("#bulk").getAttribute("action")`); to != "/runs?table=orders" {
		t.Errorf("what is ticked there is sent to %s", to)
	}

	v := w.open(t, widths[1])
	v.signIn(w.key("acme", access.Viewer))
	v.to("/runs")
	v.press("On their way (shared)")
	v.until("the view", func() bool { return strings.Contains(v.now("location.search"), "status=pending") })
	v.sees("orders 2")
	for _, text := range []string{"Stopped ones", "Remove the view", "All on this page"} {
		if strings.Contains(v.text(), text) {
			t.Errorf("who only looks sees %q", text)
		}
	}
	v.to("/runs?table=orders")
	v.press("Save this view…")
	if strings.Contains(v.text(), "Show it to everybody") {
		t.Error("who only looks may share")
	}
	v.fill("What you call it", "Orders")
	v.press("Save")
	v.sees("Remove the view Orders")
	v.legible()
	v.press("Remove the view Orders")
	v.answers("yes")
	v.sees("Taken away.")
	b.to("/runs")
	b.sees("Stopped ones")
	if strings.Contains(b.text(), "Orders") {
		t.Errorf("another's own view is to be seen:\n%s", b.text())
	}
}

// A run that is under way is followed to its end, and what one has open and holds stays.
func TestRunFollows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, loopback)
	status := hooks(t, w, `["3s", "3s", "3s", "3s", "3s", "3s", "3s", "3s", "3s", "3s"]`)
	w.db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	pgtest.Eventually(t, pgtest.Patience, "the first attempt", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.delivery_attempt`) == 1
	})
	id := pgtest.One[string](t, w.db, `select id from rowbell.workflow_log`)
	b := w.open(t, widths[0])
	b.signIn(w.key("acme", access.Operator))
	b.to("/runs/" + id)
	b.sees("this page follows it until it has ended")
	b.accessible()
	eval[bool](b, `(() => { const d = document.querySelector("details.try"); d.open = true; d.querySelector("summary").focus(); window.kept = d; window.loaded = true; return true })()`)
	b.sees("Attempt 3")
	holds := `window.loaded && window.kept.isConnected && window.kept.open && document.activeElement === window.kept.querySelector("summary")`
	if !eval[bool](b, holds) {
		t.Error("what was open and held is not any more")
	}
	status.Store(http.StatusOK)
	b.sees("Delivered")
	b.sees("Ended")
	b.sees("Run it again…")
	if !eval[bool](b, holds) {
		t.Error("at its end, what was open and held is not any more")
	}
	for _, text := range []string{"Cancel the run", "this page follows it"} {
		if strings.Contains(b.text(), text) {
			t.Errorf("at its end there is %q", text)
		}
	}
	b.until("the stream to be closed", func() bool { return b.now(`document.documentElement.dataset.stream ?? "none"`) == "none" })
	b.accessible()
	// One that is cancelled on its page.
	status.Store(http.StatusServiceUnavailable)
	w.db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
	pgtest.Eventually(t, pgtest.Patience, "another run", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where status = 'pending'`) == 1
	})
	b.to("/runs/" + pgtest.One[string](t, w.db, `select id from rowbell.workflow_log where status = 'pending'`))
	b.press("Cancel the run")
	b.answers("yes")
	b.sees("Cancelled.")
}
