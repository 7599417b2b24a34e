package pagestest

import (
	"testing"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// Who publishes is told what becomes of runs that wait and of records that are there, and may
// say why: it is kept, also where it is refused at first, and shown with the version.
func TestPublishSaysWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *app.Config) { c.Delivery = app.DeliveryHold }) // so that runs wait
	w.capture("orders")
	w.db.Exec(t, `
		begin;
		insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('big', 'acme', 'Big orders', 'active');
		insert into rowbell.workflow_trigger (id, workflow_id, entity_type, operation) values ('t', 'big', 'orders', 'create');
		insert into rowbell.workflow_action (id, workflow_id, action_type, action_config) values ('a', 'big', 'notification', '{"title": "Order {{ new.id }}"}');
		insert into rowbell.workflow_recipient (id, workflow_id, recipient_type, recipient_id) values ('r', 'big', 'user', 'ann');
		commit`)
	b := w.open(t, widths[0])
	b.signIn(w.key("acme", access.Admin))
	b.to("/workflows/big/publish")
	b.sees("No run of it waits just now.")
	pgtest.Eventually(t, pgtest.Patience, "the workflow to apply", func() bool {
		return pgtest.One[bool](t, w.db, `select exists (select from rowbell.applied where id = 'big')`)
	})
	w.db.Exec(t, `insert into orders (tenant_id, total, customer) values ('acme', 1, 'Ada'), ('acme', 2, 'Ben')`)
	pgtest.Eventually(t, pgtest.Patience, "two runs that wait", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where status = 'pending'`) == 2
	})
	w.db.Exec(t, `update rowbell.workflow_definition set draft = '{"base": 1, "name": "Each order"}' where id = 'big'`)
	b.to("/workflows/big/publish")
	b.sees("2 runs of it have not ended yet: they end by the version that they began with")
	b.sees("Records that are there already are left alone")
	b.plain()
	b.accessible()
	b.pictured("publish-why-1280")

	b.fills("What changed, and why?", 0, "From now on each one:\nBen asked for it <b>")
	w.db.Exec(t, `update rowbell.workflow_definition set description = 'changed meanwhile' where id = 'big'`)
	b.quiet("status of 412")
	b.press("Publish")
	b.sees("has changed since")
	if text := eval[string](b, `document.querySelector("[name=comment]").value`); text != "From now on each one:\nBen asked for it <b>" {
		t.Errorf("after it was refused the comment is %q", text)
	}
	w.db.Exec(t, `update rowbell.workflow_definition set draft = '{"base": 2, "name": "Each order"}' where id = 'big'`)
	b.to("/workflows/big/publish")
	b.fills("What changed, and why?", 0, "From now on each one:\nBen asked for it <b>")
	b.press("Publish")
	b.sees("Turned on.")
	b.sees("Ben asked for it <b>")
	if kept := pgtest.One[string](t, w.db, `select comment from rowbell.workflow_version where workflow_id = 'big' order by version desc limit 1`); kept != "From now on each one:\nBen asked for it <b>" {
		t.Errorf("the comment is kept as %q", kept)
	}
	b.press("All, and what changed")
	b.sees("Ben asked for it <b>")
	b.accessible()
	b.pictured("versions-why-1280")
	narrow := w.comes(t, widths[1], "bob", access.Publisher, "/workflows/big/publish")
	narrow.sees("What changed, and why?")
	narrow.looked("publish-why-390")
	narrow.to("/workflows/big/versions")
	narrow.sees("Ben asked for it")
	narrow.looked("versions-why-390")
}
