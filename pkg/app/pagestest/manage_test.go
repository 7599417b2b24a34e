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

// bring is a workflow that somebody brings along.
const bring = `id: brought
tenant_id: acme
name: Brought along
triggers:
  - entity_type: orders
    operation: create
    field_conditions: {total: {gte: 50}}
actions:
  - action_type: log
`

// An administrator compares versions and takes one back, brings a workflow along, writes a
// template, looks up people, reads who did what, gives a key, and pauses deliveries.
func TestManage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, loopback)
	key := w.key("", access.Admin)
	b := w.open(t, widths[0])
	b.signIn(key)
	b.press("Templates")
	b.sees("No templates yet")
	w.db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('big', 'acme', 'Large order', 'active');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ('big', 'orders', 'create', '{"total": {"gte": 1000}}');
		insert into rowbell.workflow_action (workflow_id, action_type) values ('big', 'log')`)
	w.db.Exec(t, `update rowbell.workflow_trigger set field_conditions = '{"total": {"gte": 500}}' where workflow_id = 'big'`)
	w.db.Exec(t, `update rowbell.workflow_trigger set field_conditions = '{"total": {"gte": 700}}' where workflow_id = 'big'`)
	pgtest.Eventually(t, pgtest.Patience, "the workflow to apply and the table to be captured", func() bool {
		return pgtest.One[bool](t, w.db, `select count(*) = 2 from rowbell.applied where id in ('big', 'orders')`)
	})
	w.db.Exec(t, `insert into orders (tenant_id, total, customer) values ('acme', 1200, 'Ada')`)
	pgtest.Eventually(t, pgtest.Patience, "the run", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where status = 'success'`) == 1
	})

	b.to("/workflows/big/versions")
	b.sees("Versions of Large order")
	b.sees("1000")
	b.press("As text (YAML)")
	b.sees("gte: 500")
	b.accessible()
	b.press("Take version 1 as the draft")
	b.sees("That version is the draft now.")
	other := w.open(t, widths[0])
	other.signIn(w.key("acme", access.Publisher))
	other.to("/workflows/big/versions")
	other.quiet("409 (Conflict)")
	other.press("Take version 2 as the draft") // which another has made
	other.press("Put version 2 in place of the draft")
	other.press("Put version 2 in place of the draft") // in the dialog: yes
	other.sees("That version is the draft now.")

	b.press("Import and export")
	b.fill("Or its text", bring)
	b.press("See what would happen")
	b.sees("Nothing is done yet.")
	b.sees("Brought along")
	b.accessible()
	b.press("Import it")
	b.sees("What is new is turned off until you turn it on.")
	b.accessible()
	b.quiet("422 (Unprocessable")
	b.fill("Or its text", "nonsense: [")
	b.press("See what would happen")
	b.sees("The document can't be read.")
	b.press("Import and export")
	b.sees("Brought along")
	if got := b.fetched("/transfer/workflows.yaml?workflow_id=brought"); !strings.Contains(got, "name: Brought along") {
		t.Errorf("the export is %.200s", got)
	}

	b.press("Templates")
	b.press("Make the first")
	b.fill("Name", "footer")
	b.fill("Of tenant", "acme")
	b.fill("The text", "Order {{ new.id }} of {{ new.customer }}, for {{ recipient.name }}")
	b.sees("Order 1 of Ada, for Alex Example")
	b.accessible()
	b.fill("The text", "Order {{ new.id")
	b.press("Save")
	b.sees("Name")
	b.fill("The text", "Order {{ new.id }} of {{ new.customer }}.")
	b.sees("Order 1 of Ada.")
	b.press("Save")
	b.sees("Saved.")
	b.fill("Read by", "Bo")
	b.fill("The text", "Dear {{ recipient.name }}")
	b.sees("Dear Bo")
	b.press("Save")
	b.sees("Saved.")
	b.sees("No workflow uses it.")
	b.accessible()
	b.to("/templates/footer?tenant=acme&lang=de")
	b.fill("The text", "Bestellung {{ new.id }}")
	b.sees("Bestellung 1")
	b.press("Save")
	b.sees("Saved.")
	b.press("Delete this language")
	b.press("Delete this language") // in the dialog: yes
	b.sees("Deleted.")
	w.db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('told', 'acme', 'Told', 'active');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('told', 'orders', 'create');
		insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('told', 'notification', '{"title": "News", "body": "{% render ''footer'' %}"}');
		insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ('told', 'user', 'ann')`)
	b.to("/templates/footer?tenant=acme")
	b.sees("You have come by an API key")
	ann := w.open(t, widths[0])
	ann.to("/enter#token=" + w.link("acme", "ann", access.Author))
	ann.press("Templates")
	ann.press("footer")
	ann.sees("Send it to yourself")
	ann.accessible()
	ann.press("Send a test")
	ann.sees("Sent to ann.")
	ann.accessible()

	b.press("Recipients")
	b.sees("People without an address")
	b.fill("Called", "ann")
	b.press("Who is it?")
	b.accessible()

	b.press("Activity")
	b.sees("Workflow: ")
	b.accessible()
	b.fill("With", "no such thing")
	b.sees("Nothing like that")
	b.press("Show all")
	b.press("Template: set")
	b.sees("Before and after")
	b.accessible()
	act := b.path()
	if got := b.fetched("/activity/activity.csv?object_type=template"); !strings.Contains(got, "template.set") {
		t.Errorf("the CSV is %.200s", got)
	}

	b.press("Access")
	b.press("Make a key")
	b.fill("What it is for", "nightly report")
	b.press("Viewer looks")
	b.press("Make the key")
	b.sees("The key “nightly report” is made.")
	b.sees("rbk_")
	b.accessible()
	b.press("Revoke nightly report")
	b.press("Revoke")
	b.sees("Revoked. It may work for some seconds more.")
	b.press("Add a link key")
	b.fill("Which application", "shop")
	b.press("Viewer looks")
	b.press("Add the key")
	b.sees("PRIVATE KEY")
	b.accessible()

	b.press("Stream")
	b.sees("Health")
	b.press("Begin a pause")
	b.fill("Of workflow", "big")
	b.fill("Why", "they take stock")
	b.press("Pause")
	b.sees("Workflow big")
	b.sees("They take stock.")
	b.accessible()
	stream := []string{"/stream", "/access", "/recipients?type=user&value=ann", "/activity", act, "/templates", "/templates/footer?tenant=acme", "/newtemplate", "/transfer", "/workflows/big/versions"}
	w.look(t, key, stream...)
	b.press("End the pause Workflow big")
	b.press("End the pause Workflow big") // in the dialog: yes
	b.sees("What has waited goes now.")
	viewer := w.open(t, widths[0])
	viewer.signIn(w.key("acme", access.Viewer))
	for _, path := range []string{"/stream", "/templates/footer", "/transfer", "/workflows/big/versions"} {
		viewer.to(path)
		viewer.accessible()
	}
	viewer.quiet("403 (Forbidden)")
	for _, path := range []string{"/activity", "/access", "/recipients"} {
		viewer.to(path)
		viewer.sees("Not allowed")
		viewer.accessible()
	}
}

// link makes a link as an application signs it for somebody of a tenant.
func (w *world) link(tenant, person string, role access.Role) string {
	w.t.Helper()
	k, private, err := w.o.Access().AddLinkKey(w.t.Context(), access.NewLinkKey{TenantID: &tenant, Name: "host", Roles: []access.Role{role}}, "test")
	if err != nil {
		w.t.Fatal(err)
	}
	signer, err := access.ParsePrivateKey(private)
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := access.SignLink(signer, k.ID, w.o.Instance(), access.Link{Subject: person, Tenant: tenant, Roles: []access.Role{role}}, 10*time.Minute)
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// fetched is what a link gives that the browser would save.
func (b *tab) fetched(path string) string {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](fmt.Sprintf(`fetch(%q).then((r) => r.text())`, path), chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("the browser: %v", err)
	}
	return text
}
