package pagestest

import (
	"fmt"
	"strings"
	"testing"
	"time"

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
			('one', 'acme', 'First rule', 'active', '{"owners": ["user:ann", "role:support"]}'), ('two', 'acme', 'Second rule', 'inactive', '{}'), ('empty', 'acme', 'Third rule', 'draft', '{}');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, priority) values ('one', 'orders', 'create', 20), ('two', 'orders', 'create', 100);
		insert into rowbell.workflow_action (workflow_id, action_type) values ('one', 'log'), ('two', 'log')`)
	pgtest.Eventually(t, 20*time.Second, "the workflow to apply and the table to be captured", func() bool {
		return pgtest.One[bool](t, w.db, `select count(*) = 2 from rowbell.applied where id in ('one', 'orders')`)
	})
	w.db.Exec(t, `insert into orders (tenant_id, total) values ('acme', 1), ('acme', 2)`)
	pgtest.Eventually(t, 20*time.Second, "the runs", func() bool {
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
	b.tick("Second rule", "Third rule", "First rule")
	b.sees("3 ticked")
	b.press("Turn on")
	b.sees("Turn on First rule, Second rule and Third rule?")
	b.accessible()
	b.answers("yes")
	b.sees("What came of it")
	b.sees("First rule was on already.")
	b.sees("Second rule is on.")
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
	b.sees("Turn off First rule and Second rule?")
	b.answers("no")
	if n := pgtest.One[int](t, w.db, `select count(*)::int from rowbell.workflow_definition where status = 'active'`); n != 2 {
		t.Errorf("without a yes, %d are on", n)
	}
	b.press("Turn off")
	b.answers("yes")
	b.sees("First rule is off.")
	b.sees("Second rule is off.")
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
