package pagestest

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// hit presses keys, one after another.
func (b *tab) hit(keys string, options ...chromedp.KeyOption) {
	b.t.Helper()
	b.run(chromedp.KeyEvent(keys, options...))
}

// focused is what has the keyboard: its name as a screen reader says it, and what is wrong
// with how that is shown. Nothing has it: "".
const focused = `(() => {
	const e = document.activeElement;
	if (!e || e === document.body) return ["", ""];
	const label = e.getAttribute("aria-label") ?? ([...(e.labels ?? [])].map((l) => {
		const c = l.cloneNode(true);
		c.querySelectorAll("input, select, textarea").forEach((x) => x.remove());
		return c.textContent;
	}).join(" ") || e.textContent);
	const style = getComputedStyle(e), box = e.getBoundingClientRect();
	let wrong = "";
	if (!e.matches(":focus-visible")) wrong = "has the keyboard, which can't be seen";
	else if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) wrong = "has no outline";
	else if (box.bottom < 1 || box.top > innerHeight - 1 || box.right < 1 || box.left > innerWidth - 1) wrong = "is outside of what is seen";
	return [label.trim().replace(/\s+/g, " "), wrong];
})()`

func (b *tab) focus() string {
	b.t.Helper()
	f := eval[[]string](b, focused)
	if f[1] != "" {
		b.t.Errorf("at %s %q %s", b.path(), f[0], f[1])
	}
	return f[0]
}

// mostTabs is how many stops a page may have before something.
const mostTabs = 90

// tabs goes on with the Tab key until something has the keyboard whose name begins so.
func (b *tab) tabs(name string) {
	b.t.Helper()
	b.ready()
	var passed []string
	for range mostTabs {
		b.hit(kb.Tab)
		now := b.focus()
		if now == name || strings.HasPrefix(now, name+" ") {
			return
		}
		passed = append(passed, now)
	}
	b.t.Fatalf("%d times Tab lead to no %q at %s, but to %q", mostTabs, name, b.path(), passed)
}

// ready waits until the page and its scripts are there.
func (b *tab) ready() {
	b.t.Helper()
	b.until("the page to be loaded", func() bool { return b.now("document.readyState") == "complete" })
}

// writes takes what a field has away and types a text.
func (b *tab) writes(text string) {
	b.t.Helper()
	b.hit("a", chromedp.KeyModifiers(chromedp.ModifierCtrl))
	b.hit(text)
}

// Somebody who has no mouse signs in, takes an example, changes it, tries it and turns it on;
// what has the keyboard can be seen at every step, and stays where it was when a part of the
// page is made anew.
func TestKeyboardAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.db.Exec(t, `alter table orders replica identity full; insert into orders (tenant_id, status, total, customer) values ('acme', 'new', 1500, 'Ada'), ('acme', 'approved', 12, 'Ben')`)
	w.capture("orders")
	b := w.open(t, widths[0])
	b.to("/")
	b.tabs("API key")
	b.hit(w.key("acme", access.Admin))
	b.hit(kb.Enter)
	b.sees("There is no workflow yet")

	b.ready()
	b.hit(kb.Tab)
	if got := b.focus(); got != "To the content" {
		t.Errorf("the first stop is %q", got)
	}
	b.hit(kb.Enter)
	if got := eval[string](b, `document.activeElement.id`); got != "main" {
		t.Errorf("it leads to %q", got)
	}
	b.hit(kb.Tab)
	if got := b.focus(); got != "Open the gallery" {
		t.Errorf("the first stop of the content is %q", got)
	}
	b.hit(kb.Enter)
	b.sees("Finished workflows to begin with")
	b.tabs("Large order")
	b.hit(kb.Enter)
	b.tabs("Who")
	b.hit("ann")
	b.tabs("Use this")
	b.hit(kb.Enter)
	b.sees("What it would do")
	b.settled()

	// What is changed is sent when one goes on, and one goes on from there.
	b.tabs("Value")
	b.writes("1200")
	b.hit(kb.Tab)
	next := b.focus()
	b.sees("at least 1200")
	b.settled()
	if got := b.focus(); got != next {
		t.Errorf("after the answer %q has the keyboard, and not %q", got, next)
	}
	b.tabs("Each time that a change is like that")
	b.hit(kb.ArrowDown)
	b.sees("begins to")
	b.settled()
	if got := eval[string](b, `document.activeElement.id`); got != "firing.becomes_true" {
		t.Errorf("after an arrow %q has the keyboard", got)
	}
	b.hit(kb.ArrowUp)
	b.settled()
	b.tabs("E-mail")
	b.hit(" ")
	b.sees("Subject")
	b.settled()
	if got := eval[string](b, `document.activeElement.closest("section")?.getAttribute("aria-labelledby") ?? document.activeElement.tagName`); got != "step-do" {
		t.Errorf("after adding an action the keyboard is at %s", got)
	}
	b.hit(kb.ArrowUp, chromedp.KeyModifiers(chromedp.ModifierAlt))
	b.settled()
	b.backTo("Remove E-mail")
	b.hit(kb.Enter)
	b.until("the action to be gone", func() bool { return !strings.Contains(b.text(), "Subject") })
	b.settled()
	if got := eval[string](b, `document.activeElement.closest("section")?.getAttribute("aria-labelledby") ?? document.activeElement.tagName`); got != "step-do" {
		t.Errorf("after removing an action the keyboard is at %s", got)
	}
	b.tabs("Try it")
	b.hit(kb.Enter)
	b.sees("It acts.")
	b.tabs("Total")
	b.writes("12")
	b.hit(kb.Tab)
	b.sees("It does nothing.")
	b.settled()
	if got := b.focus(); got == "" {
		t.Error("after trying nothing has the keyboard")
	}
	b.backTo("Review and turn on")
	b.hit(kb.Enter)
	b.sees("Everything that it needs is there.")
	b.tabs("Turn it on")
	b.hit(" ")
	b.sees("Turned on.")

	// A question that is asked before: it has the keyboard, and gives it back.
	b.tabs("Turn off")
	b.hit(kb.Enter)
	b.sees("Not now")
	if !eval[bool](b, `document.querySelector("dialog[open]").contains(document.activeElement)`) {
		t.Error("the question has not the keyboard")
	}
	b.hit(kb.Escape)
	b.until("the question to be gone", func() bool { return eval[bool](b, `document.querySelector("dialog") === null`) })
	if got := b.focus(); got != "Turn off" {
		t.Errorf("after the question %q has the keyboard", got)
	}

	// A list that is made anew below its filter.
	pgtest.Eventually(t, pgtest.Patience, "the workflow to apply", func() bool {
		return pgtest.One[bool](t, w.db, `select exists (select from rowbell.applied a join rowbell.workflow_definition d on d.id = a.id and d.name = 'Large order')`)
	})
	w.db.Exec(t, `insert into orders (tenant_id, total, customer) values ('acme', 2500, 'Cleo')`)
	pgtest.Eventually(t, pgtest.Patience, "the run", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where status = 'success'`) == 1
	})
	b.backTo("Runs")
	b.hit(kb.Enter)
	b.sees("Outcome")
	b.tabs("Row")
	b.hit("nosuchrow")
	b.sees("Nothing like that")
	if got := b.focus(); got != "Row" {
		t.Errorf("while the list changes %q has the keyboard", got)
	}
	b.tabs("Show all")
	b.hit(kb.Enter)
	b.sees("Large order")
	b.tabs("Large order")
	b.hit(kb.Enter)
	b.sees("What was done")

	// The menu of a narrow screen.
	n := w.open(t, widths[1])
	n.signIn(w.key("acme", access.Viewer))
	n.tabs("Menu")
	n.hit(kb.Enter)
	n.tabs("Workflows")
	n.hit(kb.Enter)
	n.sees("Large order")
	if at := n.path(); at != "/workflows" {
		t.Errorf("the menu leads to %s", at)
	}
}

// backTo goes back with Shift and Tab.
func (b *tab) backTo(name string) {
	b.t.Helper()
	b.ready()
	for range mostTabs {
		b.hit(kb.Tab, chromedp.KeyModifiers(chromedp.ModifierShift))
		if now := b.focus(); now == name {
			return
		}
	}
	b.t.Fatalf("%d times Shift and Tab lead to no %q at %s", mostTabs, name, b.path())
}
