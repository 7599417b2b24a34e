package pagestest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// comes gives a visitor a browser that has come by a link of the application, as a person.
func (w *world) comes(t *testing.T, width int64, subject string, role access.Role, to string) *tab {
	t.Helper()
	key, private, err := w.o.Access().AddLinkKey(t.Context(), access.NewLinkKey{Name: subject, Roles: []access.Role{role}}, "test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := access.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	link, err := access.SignLink(signer, key.ID, "rowbell", access.Link{Tenant: "acme", Subject: subject, Name: subject, Roles: []access.Role{role}}, 5*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	b := w.open(t, width)
	b.to("/enter?to=" + to + "#token=" + link)
	return b
}

// says waits until the rule's sentence has a text.
func (b *tab) says(text string) {
	b.t.Helper()
	b.until("the sentence to say "+text, func() bool {
		return strings.Contains(eval[string](b, `document.getElementById("says")?.innerText ?? ""`), text)
	})
}

// cards are the titles of the actions' cards, in their order.
func (b *tab) cards() string {
	b.t.Helper()
	return eval[string](b, `[...document.querySelectorAll("[data-action] h3")].map((h) => h.innerText.trim()).join(", ")`)
}

// An action has conditions of its own: built by what can be seen, tried, turned on, and told of
// in the run.
func TestActions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, loopback)
	w.db.Exec(t, `alter table orders replica identity full; insert into orders (tenant_id, status, total, customer) values ('acme', 'new', 1500, 'Ada'), ('acme', 'new', 12, 'Ben')`)
	w.capture("orders")
	w.db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('big', 'acme', 'Orders', 'draft');
		insert into rowbell.workflow_trigger (id, workflow_id, entity_type, operation) values ('t', 'big', 'orders', 'create');
		insert into rowbell.workflow_action (id, workflow_id, action_type, action_config, "order") values
			('tell', 'big', 'notification', '{"title": "Order {{ new.id }} of {{ new.customer }}", "body": "It is over {{ new.total }}."}', 0),
			('note', 'big', 'log', '{"only_if": [{"condition_type": "expression", "condition_config": {"expression": "len(new.customer) * 2 > 4"}}]}', 1);
		insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ('big', 'user', 'ann')`)
	b := w.comes(t, widths[0], "ann", access.Publisher, "/workflows/big/edit")

	t.Run("built", func(t *testing.T) {
		b.sees("What it would do")
		b.sees("It would act on 2 of these 2")
		b.settled()
		if got := b.cards(); got != "Notification, Log" {
			t.Errorf("the cards are %s", got)
		}
		b.sees("len(new.customer) * 2 > 4") // as one chip
		b.press("Only if…")
		b.sees("until then this doesn’t count")
		b.settled()
		b.fills("What is compared", 0, "Total")
		b.settled()
		b.fills("How it is compared", 0, "is more than")
		b.settled()
		b.fills("Value", 0, "1000")
		b.says("if its total is over 1000, notify ann")
		b.settled()
		b.sees("Left out, because this doesn’t hold:")
		b.pictured("designer-action-out-1280")
		b.press("It acts: Order 1 as it is now, if it were created")
		b.sees("Order 1 of Ada")
		b.settled()
		b.accessible()
		b.pictured("designer-action-1280")
		b.press("Undo")
		b.says("is created, notify ann")
		b.settled()
		b.press("Only if…")
		b.settled()
		b.fills("What is compared", 0, "Total")
		b.settled()
		b.fills("How it is compared", 0, "is at least")
		b.settled()
		b.fills("Value", 0, "many")
		b.sees("1 thing is missing before it can be turned on")
		b.settled()
		if got := eval[string](b, `document.querySelector(".own .clause .fault")?.innerText ?? ""`); !strings.Contains(got, "many") || strings.Contains(got, "only_if") {
			t.Errorf("at the condition stands %q", got)
		}
		b.pictured("designer-action-wrong-1280")
		b.fills("Value", 0, "1000")
		b.says("if its total is at least 1000, notify ann")
		b.settled()
		eval[bool](b, `(document.getElementById("own-time-tell").click(), true)`)
		b.says("it happens on weekdays")
		b.settled()
		b.pictured("designer-action-days-1280")
		b.press("Remove this part")
		b.settled()
		if got := pgtest.One[string](t, w.db, `select jsonb_path_query_array(draft, '$.actions[*].action_config.only_if[*].condition_type')::text from rowbell.workflow_definition`); !strings.Contains(got, "field_value") {
			t.Errorf("the draft has %s", got)
		}
	})

	t.Run("moved by keys", func(t *testing.T) {
		before := b.cards()
		focus := func() string { return eval[string](b, `document.activeElement.id`) }
		move := func(key string) {
			t.Helper()
			was := b.cards()
			eval[bool](b, fmt.Sprintf(`document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key: %q, altKey: true, bubbles: true, cancelable: true}))`, key))
			b.until("the card to move", func() bool { return b.cards() != was })
			b.settled()
		}
		eval[bool](b, `(document.getElementById("a.tell.c.title").focus(), true)`)
		move("ArrowDown")
		if got := focus(); got != "a.tell.c.title" {
			t.Errorf("after moving, %s has the focus", got)
		}
		move("ArrowUp")
		if got := b.cards(); got != before || focus() != "a.tell.c.title" {
			t.Errorf("the cards are %s, and %s has the focus", got, focus())
		}
		b.says("if its total is at least 1000") // which went with the action
	})

	t.Run("typed while it is saved", func(t *testing.T) {
		// The answer comes late, as over a slow line.
		eval[bool](b, `(() => {
			const send = XMLHttpRequest.prototype.send;
			XMLHttpRequest.prototype.send = function (...a) { setTimeout(() => send.apply(this, a), 900); };
			return true;
		})()`)
		eval[bool](b, `(() => {
			const about = document.getElementById("description");
			about.value = "Tells of orders";
			about.dispatchEvent(new Event("change", {bubbles: true}));
			const name = document.getElementById("name");
			name.focus();
			name.setSelectionRange(name.value.length, name.value.length);
			return true;
		})()`)
		b.until("the form to be sent", func() bool {
			return eval[bool](b, `document.querySelector("#design-form.htmx-request") !== null`)
		})
		for _, text := range []string{" that", " are", " big"} {
			b.run(chromedp.SendKeys(chromedp.CSS("#name"), text))
			time.Sleep(250 * time.Millisecond)
		}
		b.settled()
		state := func() string {
			return eval[string](b, `(() => { const n = document.getElementById("name"); return [n.value, document.activeElement.id, n.selectionStart, document.getElementById("description").value].join("|"); })()`)
		}
		if got, want := state(), "Orders that are big|name|19|Tells of orders"; got != want {
			t.Errorf("the form has %s, want %s", got, want)
		}
		eval[bool](b, `(document.activeElement.blur(), true)`)
		pgtest.Eventually(t, patience, "the draft to have both", func() bool {
			return pgtest.One[string](t, w.db, `select (draft ->> 'name') || '|' || (draft ->> 'description') from rowbell.workflow_definition`) == "Orders that are big|Tells of orders"
		})
		b.settled()
	})

	t.Run("tried", func(t *testing.T) {
		b.to("/workflows/big/try")
		b.sees("It acts.")
		b.sees("Left out, because this doesn’t hold:")
		b.accessible()
		b.pictured("try-action-out-1280")
		b.fills("Total", 0, "1001")
		b.sees("Order 2 of Ben")
		b.settled()
		b.accessible()
		b.pictured("try-action-1280")
		b.press("Send to me only")
		b.sees("Sent to ann, and to nobody else.")
		if strings.Contains(b.text(), "Nothing was sent.") {
			t.Error("it says that nothing was sent, too")
		}
		if got := pgtest.One[string](t, w.db, `select string_agg(recipient_id || ' ' || title, ', ') from rowbell.notification`); got != "ann Order 2 of Ben" {
			t.Errorf("in inboxes there is %s", got)
		}
		if n := pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log`); n != 0 {
			t.Errorf("%d executions are recorded", n)
		}
		narrow := w.comes(t, widths[1], "bob", access.Publisher, "/workflows/big/edit")
		narrow.sees("What it would do")
		narrow.settled()
		narrow.accessible()
		narrow.pictured("designer-action-390")
		narrow.to("/workflows/big/try")
		narrow.sees("It acts.")
		narrow.pictured("try-action-390")
	})

	t.Run("run", func(t *testing.T) {
		b.to("/workflows/big/publish")
		b.sees("if its total is at least 1000")
		b.press("Turn it on")
		b.sees("Turned on.")
		pgtest.Eventually(t, pgtest.Patience, "the workflow to apply", func() bool {
			return pgtest.One[bool](t, w.db, `select exists (select from rowbell.applied a join rowbell.workflow_definition d on d.id = a.id and d.version = a.version where d.status = 'active')`)
		})
		w.db.Exec(t, `insert into orders (tenant_id, total, customer) values ('acme', 999, 'Cleo')`)
		pgtest.Eventually(t, pgtest.Patience, "the run", func() bool {
			return pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where status = 'success'`) == 1
		})
		b.to("/runs/" + pgtest.One[string](t, w.db, `select id from rowbell.workflow_log`))
		b.sees("What was done")
		b.sees("left out because this didn’t hold:")
		b.sees("999")
		b.accessible()
		b.pictured("run-action-1280")
		// With nothing left to do, it does nothing, and says why.
		w.db.Exec(t, `delete from rowbell.workflow_action where id = 'note'`)
		b.to("/workflows/big/try?pick=event:" + pgtest.One[string](t, w.db, `select trigger_event_id from rowbell.workflow_log`))
		b.sees("It does nothing: each action is left out.")
		b.pictured("try-action-nothing-1280")
	})
}
