package pagestest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
)

// field finds what can be filled in by what stands beside it: the number-th one of a label.
const field = `(label, nth) => {
	const own = (e) => e.getAttribute("aria-label") ?? [...(e.labels ?? [])].map((l) => {
		const c = l.cloneNode(true);
		c.querySelectorAll("input, select, textarea").forEach((x) => x.remove());
		return c.textContent.trim().replace(/\s+/g, " ");
	}).join(" ");
	const all = [...document.querySelectorAll("input:not([type=hidden]), select, textarea")].filter((e) => e.checkVisibility());
	return all.filter((e) => own(e) === label || own(e).startsWith(label + " "))[nth];
}`

// fills writes into a field as a person would, and leaves it. nth counts fields of one label
// from 0. A select gets the choice with this text.
func (b *tab) fills(label string, nth int, text string) {
	b.t.Helper()
	l, _ := json.Marshal(label) // never fails
	s, _ := json.Marshal(text)  // the same
	script := fmt.Sprintf(`(() => {
		const el = (%s)(%s, %d);
		if (!el) return "there is no such field";
		el.focus();
		if (el.tagName === "SELECT") {
			const o = [...el.options].find((o) => o.text.trim().replace(/\s+/g, " ") === %s);
			if (!o) return "it can be " + [...el.options].map((o) => o.text.trim()).join(", ");
			el.value = o.value;
		} else if (el.type === "checkbox" || el.type === "radio") {
			el.checked = true;
		} else {
			el.value = %[4]s;
			el.dispatchEvent(new Event("input", {bubbles: true}));
		}
		el.dispatchEvent(new Event("change", {bubbles: true}));
		return "";
	})()`, field, l, nth, s)
	deadline := time.Now().Add(patience)
	for {
		why := eval[string](b, script)
		if why == "" {
			b.deeds++
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s can't be made %q: %s\n%s", label, text, why, b.text())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// settled waits until no answer is under way.
func (b *tab) settled() {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for quiet := 0; quiet < 4; {
		if eval[bool](b, `document.querySelector(".htmx-request, .htmx-settling, .htmx-swapping") === null`) {
			quiet++
		} else {
			quiet = 0
		}
		if time.Now().After(deadline) {
			b.t.Fatal("the page doesn't come to rest")
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// pictured keeps a picture of the page from its top.
func (b *tab) pictured(name string) {
	b.t.Helper()
	eval[bool](b, `(scrollTo(0, 0), true)`)
	b.shot(name)
}

// plain says that nothing that can be read here is JSON, a template or SQL.
func (b *tab) plain() {
	b.t.Helper()
	text := b.text()
	for _, code := range []string{`{"`, "{{", "{%", "[{", "select *", "::"} {
		if strings.Contains(text, code) {
			b.t.Errorf("at %s there is %q to be read:\n%s", b.path(), code, text)
		}
	}
}

// capture makes tables known, as whoever runs Rowbell does.
func (w *world) capture(tables ...string) {
	w.t.Helper()
	tenant := "tenant_id"
	for _, name := range tables {
		if err := w.o.Capture(w.t.Context(), name, store.CaptureOptions{TenantColumn: &tenant}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// An administrator's first ten minutes, from an empty installation, by what can be seen alone:
// gallery, mapping, trying, turning on; then a row changes, and the run shows.
func TestFirstTenMinutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.db.Exec(t, `alter table orders replica identity full; insert into orders (tenant_id, status, total, customer) values ('acme', 'new', 1500, 'Ada'), ('acme', 'approved', 12, 'Ben'), ('globex', 'new', 9, 'Eve')`)
	w.capture("orders", "invoices")
	b := w.open(t, widths[0])
	b.signIn(w.key("acme", access.Admin))
	b.sees("There is no workflow yet")
	before := b.deeds
	b.press("Open the gallery")
	b.sees("Finished workflows to begin with")
	b.plain()
	b.accessible()
	b.pictured("gallery-1280")
	b.press("Large order")
	b.sees("Total stands in")
	b.plain()
	b.accessible()
	b.pictured("gallery-map-1280")
	b.fills("Who", 0, "ann")
	b.press("Use this")
	b.sees("This is your copy of the example")
	b.sees("What it would do")
	b.sees("It would act on 1 of these 2")
	b.sees("Order 1 over")
	b.settled()
	b.plain()
	b.accessible()
	b.pictured("designer-1280")
	b.press("Try it")
	b.sees("It acts.")
	b.plain()
	b.accessible()
	b.pictured("try-1280")
	b.fills("Total", 0, "12") // tried, and kept nowhere
	b.sees("It does nothing.")
	b.press("Review and turn on")
	b.sees("Everything that it needs is there.")
	b.plain()
	b.accessible()
	b.pictured("publish-1280")
	b.press("Turn it on")
	b.sees("Turned on.")
	b.plain()
	pgtest.Eventually(t, pgtest.Patience, "the workflow to apply", func() bool {
		return pgtest.One[bool](t, w.db, `select exists (select from rowbell.applied a join rowbell.workflow_definition d on d.id = a.id and d.name = 'Large order')`)
	})
	w.db.Exec(t, `insert into orders (tenant_id, total, customer) values ('acme', 2500, 'Cleo')`)
	pgtest.Eventually(t, pgtest.Patience, "the run", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where status = 'success'`) == 1
	})
	b.press("Runs")
	b.sees("Outcome")
	b.press("Large order")
	b.sees("Cleo")
	b.sees("Done")
	b.plain()
	if n := b.deeds - before; n > 12 {
		t.Errorf("the first workflow took %d interactions, more than 12", n)
	} else {
		t.Logf("the first workflow took %d interactions", n)
	}

	// The same by the rule: what the form changes, the sentence says.
	b.press("Workflows")
	b.sees("New workflow")
	b.press("Large order")
	b.press("Edit")
	b.sees("What it would do")
	b.settled()
	b.fills("Value", 0, "2000")
	b.sees("at least 2000")
	b.settled()
	b.press("Add a condition")
	b.sees("until then this doesn’t count")
	b.fills("What is compared", 1, "Status")
	b.settled()
	b.fills("Value", 1, "new")
	b.sees("its status is new")
	b.settled()
	b.press("Undo")
	b.settled()
	if text := b.text(); strings.Contains(text, "its status is") {
		t.Errorf("undo has taken nothing back:\n%s", text)
	}
	b.press("E-mail")
	b.sees("Subject")
	b.sees("missing before it can be turned on")
	b.settled()
	b.pictured("designer-problems-1280")
	b.accessible()
	b.press("Move E-mail up")
	b.settled()
	b.press("Remove E-mail")
	b.settled()
	b.fills("Only when it begins to be like that, and not again while it stays so", 0, "")
	b.sees("begins to")
	b.settled()
	b.press("Review and turn on")
	b.sees("What changes")
	b.accessible()
	b.pictured("publish-changes-1280")
	// Somebody else edits meanwhile: that is said, and theirs stays.
	b.press("Go on editing")
	b.sees("What it would do")
	b.settled()
	other := w.open(t, widths[1])
	other.signIn(w.key("acme", access.Admin))
	other.press("Menu")
	other.press("Workflows")
	other.sees("New workflow")
	other.press("Large order")
	other.press("Edit the draft")
	other.sees("What it would do")
	other.settled()
	other.fills("What it is for", 0, "Theirs")
	other.sees("Saved as a draft")
	other.settled()
	other.accessible()
	other.pictured("designer-390")
	b.fills("What it is for", 0, "Mine")
	b.sees("Somebody else has changed this workflow meanwhile.")
	b.press("Show theirs")
	b.settled()
	if got := eval[string](b, `document.getElementById("description").value`); got != "Theirs" {
		t.Errorf("it is for %q now", got)
	}
	for _, path := range []string{"/gallery", "/gallery/large-order", "/workflows/new"} {
		other.to(path)
		other.accessible()
		other.pictured(path + "-390")
	}
	id := pgtest.One[string](t, w.db, `select id from rowbell.workflow_definition`)
	// What was recorded can be tried with other values.
	b.to("/workflows/" + id + "/try")
	b.sees("It acts.")
	b.fills("Total", 0, "1999.99")
	b.sees("It does nothing.")
	for _, path := range []string{"try", "publish"} {
		other.to("/workflows/" + id + "/" + path)
		other.settled()
		other.accessible()
		other.pictured(path + "-390")
	}
	b.to("/workflows/new")
	b.pictured("new-1280")
}
