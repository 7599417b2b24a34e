package pagestest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// The dashboard moves while one looks: figures, strip, chart and the newest runs follow what
// happens, without a reload and without anything jumping; and one can stop that.
func TestDashboardMoves(t *testing.T) {
	t.Parallel()
	receiver := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "gone", http.StatusGone) }))
	t.Cleanup(receiver.Close)
	w := newWorld(t, loopback)
	w.db.Exec(t, fmt.Sprintf(`insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('big', 'acme', 'Large order', 'active'), ('told', 'acme', 'Tell the warehouse', 'active');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ('big', 'orders', 'create', '{"total": {"gte": 1000}}'), ('told', 'orders', 'create', '{"status": "lost"}');
		insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('big', 'log', '{}'), ('told', 'webhook', '{"url": "%s/hook", "retry": []}')`, receiver.URL))
	pgtest.Eventually(t, pgtest.Patience, "the workflows to apply and the table to be captured", func() bool {
		return pgtest.One[bool](t, w.db, `select count(*) = 3 from rowbell.applied where id in ('big', 'told', 'orders')`)
	})
	w.db.Exec(t, `insert into orders (tenant_id, total, customer) select 'acme', 2000, 'Ada' from generate_series(1, 12)`)
	ended := func(n int64) {
		t.Helper()
		pgtest.Eventually(t, pgtest.Patience, fmt.Sprintf("%d runs", n), func() bool {
			return pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where status <> 'pending'`) == n
		})
	}
	ended(12)
	key := w.key("acme", access.Publisher)
	b := w.open(t, widths[0])
	b.signIn(key)
	b.sees("All is well")
	done := func() string { return eval[string](b, `document.querySelectorAll("#figures .tile b")[1].textContent`) }
	if got := done(); got != "12" { // although nobody has counted the hour since
		t.Errorf("%s runs are done, not 12", got)
	}
	b.sees("Nothing was to be sent.") // each run only notes something
	b.until("the strip to show what was", func() bool {
		return eval[bool](b, `[...document.querySelectorAll(".strip .bar.done")].some((r) => Number(r.getAttribute("height")) > 0)`)
	})
	b.accessible()
	eval[bool](b, `(() => { window.same = true; window.shifts = 0;
		window.fresh = 0; new MutationObserver(() => { window.fresh += document.querySelectorAll(".ticker li.fresh").length; }).observe(document.body, {subtree: true, childList: true, attributeFilter: ["class"]});
		new PerformanceObserver((l) => { for (const e of l.getEntries()) if (!e.hadRecentInput) window.shifts += e.value; }).observe({type: "layout-shift", buffered: false}); return true; })()`)
	first := eval[string](b, `document.querySelector(".ticker li").dataset.id`)
	for i := range 4 {
		w.db.Exec(t, `insert into orders (tenant_id, total, customer) values ('acme', $1, 'Bo')`, 3000+i)
		time.Sleep(700 * time.Millisecond)
	}
	b.until("the figures to follow", func() bool { return done() == "16" })
	b.until("the newest runs to follow", func() bool { return eval[string](b, `document.querySelector(".ticker li").dataset.id`) != first })
	b.until("a run to be marked as new", func() bool { return eval[int](b, `window.fresh`) > 0 }) // until the next ones come
	w.db.Exec(t, `insert into orders (tenant_id, status) values ('acme', 'lost')`)
	b.sees("Needs attention")
	b.sees("1 thing fails.")
	b.until("the failure to be counted", func() bool {
		return eval[string](b, `document.querySelectorAll("#figures .tile b")[2].textContent`) == "1"
	})
	b.until("the delivery that failed to be drawn", func() bool {
		return eval[bool](b, `document.querySelectorAll("#sentchart .bar.failed").length === 1 && document.querySelector("#sentchart").textContent.includes("0 messages and calls arrived, 1 did not.")`)
	})
	if !eval[bool](b, `window.same === true`) {
		t.Error("the page was loaded again")
	}
	if got := eval[float64](b, `window.shifts`); got > 0.1 { // "good", by web.dev/articles/cls
		t.Errorf("what one looks at jumps: the layout has shifted by %.3f", got)
	}
	b.accessible()
	b.shot("home-moving-1280")

	b.press("Pause")
	b.sees("Paused")
	at := done()
	w.db.Exec(t, `insert into orders (tenant_id, total) values ('acme', 5000)`)
	ended(18)
	time.Sleep(4 * time.Second)
	if got := done(); got != at {
		t.Errorf("paused, %s runs became %s", at, got)
	}
	b.press("Go on")
	b.until("the figures to go on", func() bool { return done() == "17" })
	b.to("/?range=week")
	b.until("the week's figures", func() bool { return done() == "17" })
	w.db.Exec(t, `insert into orders (tenant_id, total) values ('acme', 6000)`)
	b.until("the week's figures to follow", func() bool { return done() == "18" })
	w.look(t, key, "/", "/?range=week")
}
