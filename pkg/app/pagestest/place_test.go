package pagestest

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"github.com/rowbell/rowbell/actions/email/mailtest"
	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// twoTenants have a workflow each.
const twoTenants = `insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('ours', 'acme', 'Large order of acme', 'active'), ('theirs', 'globex', 'Large order of globex', 'draft');
	insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('ours', 'orders', 'create'), ('theirs', 'orders', 'create');
	insert into rowbell.workflow_action (workflow_id, action_type) values ('ours', 'log'), ('theirs', 'log')`

// Who acts for all tenants sees in the header in which they act, and in which installation,
// and changes the tenant there.
func TestTenantSwitch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *app.Config) { c.Environment = "Staging" })
	w.db.Exec(t, twoTenants)
	key := w.key("", access.Admin)
	b := w.open(t, widths[0])
	b.to("/signin")
	b.sees("STAGING")
	b.signIn(key)
	b.press("All tenants")
	b.press("globex")
	b.sees("globex")
	b.press("Workflows")
	b.sees("Large order of globex")
	if text := b.text(); strings.Contains(text, "of acme") || !strings.Contains(text, "STAGING") {
		t.Errorf("in tenant globex, in the installation Staging, one sees:\n%s", text)
	}
	b.press("globex")
	b.accessible()
	b.press("More about them…")
	b.sees("Where you act now: globex.")
	b.sees("1 workflow on")
	b.accessible()
	b.fill("Or name another", "initech")
	b.press("Act there")
	b.sees("There is no workflow yet")
	b.to("/tenants?q=nobody")
	b.sees("No tenant is called like that")
	b.accessible()
	b.press("Show all")
	b.press("All tenants and what is the operators’ own")
	b.sees("Runs over time")
	b.press("Workflows")
	b.sees("Large order of acme")
	b.sees("Large order of globex")
	w.look(t, key, "/tenants")
	viewer := w.open(t, widths[1])
	viewer.signIn(w.key("acme", access.Viewer))
	viewer.to("/tenants")
	viewer.sees("There is nothing to choose")
	viewer.accessible()
	if there := eval[int](viewer, `document.querySelectorAll(".where details").length`); there != 0 {
		t.Error("a visitor of one tenant can choose another")
	}
}

// A person who is a member of several tenants is asked in which they act, and goes on where
// they wanted to.
func TestMemberOfSeveral(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	home := f.URL + below
	users := httptest.NewUnstartedServer(nil)
	issuer := "http://" + users.Listener.Addr().String()
	client := storage.WebClient("rowbell", "s3cret", home+"/signin/back")
	users.Config.Handler = exampleop.SetupServer(issuer, storage.NewStorageWithClients(storage.NewUserStore(issuer), map[string]*storage.Client{"rowbell": client}), slog.New(slog.DiscardHandler), false)
	users.Start()
	t.Cleanup(users.Close)
	w := newWorld(t, func(c *app.Config) {
		c.PublicURL, c.SecretKey = home, app.Secret(bytes.Repeat([]byte{7}, 32))
		c.OIDCIssuer, c.OIDCAudience, c.OIDCClientSecret = issuer, "rowbell", app.Secret("s3cret")
	})
	to, err := url.Parse(w.base)
	if err != nil {
		t.Fatal(err)
	}
	f.to, w.base = to, home
	w.db.Exec(t, twoTenants)

	// An administrator of each tenant adds them, on the page.
	for _, tenant := range []string{"acme", "globex"} {
		admin := w.open(t, widths[0])
		admin.signIn(w.key(tenant, access.Admin))
		admin.press("Access")
		admin.sees("Nobody yet.")
		admin.press("Add somebody, or change what they may")
		admin.fill("Their id at the provider (sub)", "id1")
		admin.fill("Name", "Una of "+tenant)
		admin.press("Viewer looks")
		admin.press("Save")
		admin.sees("Saved.")
		admin.sees("Una of " + tenant)
		admin.accessible()
		admin.shot("access-member-" + tenant)
	}

	b := w.open(t, widths[1])
	b.quiet("status of 404") // the provider has no icon
	b.to("/workflows")
	b.press("Sign in with your company")
	b.typeInto("#username", "test-user@127.0.0.1")
	b.typeInto("#password", "verysecure")
	b.press("Login")
	b.sees("Which tenant?")
	b.accessible()
	b.shot("which-tenant-390")
	b.press("globex")
	b.sees("Large order of globex")
	if at := eval[string](b, `location.href`); at != home+"/workflows" {
		t.Errorf("after choosing one is at %s", at)
	}
	if strings.Contains(b.text(), "of acme") {
		t.Error("in tenant globex one sees acme's")
	}
	b.press("globex")
	b.press("acme")
	b.sees("Runs over time")
	b.to("/workflows")
	b.sees("Large order of acme")

	// Who is taken away in the one tenant is left in the other, and asked no more.
	admin := w.open(t, widths[0])
	admin.signIn(w.key("acme", access.Admin))
	admin.press("Access")
	admin.press("Take Una of acme away")
	admin.press("Take Una of acme away") // in the dialog: yes
	admin.sees("Taken away.")
	time.Sleep(3 * time.Second) // what was looked up is kept for so long
	b.to("/workflows")
	b.sees("Large order of globex")
	if there := eval[int](b, `document.querySelectorAll(".where details").length`); there != 0 {
		t.Error("a member of one tenant can choose another")
	}
}

// An operator tries the services that Rowbell goes out to, and sees what is wrong with one and
// what mends it; a tenant's operator tries the tenant's own.
func TestConnections(t *testing.T) {
	t.Parallel()
	mails, err := mailtest.Listen(mailtest.Config{Password: func(string) (string, bool) { return "hunter2hunter2", true }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mails.Close)
	chat := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead {
			t.Errorf("trying a chat sends %s %s", r.Method, r.URL)
		}
	}))
	t.Cleanup(chat.Close)
	w := newWorld(t, loopback, func(c *app.Config) {
		c.SMTPURL, c.MailFrom = "smtp://shop:hunter2hunter2@"+mails.Addr+"?tls=none", "Shop <shop@example.com>"
		c.DirectoryRoleMembers = "select id from members where role = $1 and tenant = $2"
	})
	w.db.Exec(t, fmt.Sprintf(`insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('mail', 'acme', 'Mail', 'active'), ('chat', 'acme', 'Chat', 'active'), ('inside', 'globex', 'Inside', 'active');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('mail', 'orders', 'create'), ('chat', 'invoices', 'create'), ('inside', 'invoices', 'create');
		insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('mail', 'email', '{"subject": "Order", "body": "An order came."}'),
			('chat', 'chat', '{"service": "matrix", "server": "%s", "channel": "!room:example.com", "secret": "syt_token", "text": "An invoice"}'),
			('inside', 'chat', '{"service": "matrix", "server": "https://10.11.12.13", "channel": "!room:example.com", "secret": "syt_token", "text": "An invoice"}');
		insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ('mail', 'user', 'ann@example.com')`, chat.URL))
	pgtest.Eventually(t, pgtest.Patience, "the workflows to apply", func() bool {
		return pgtest.One[bool](t, w.db, `select count(*) = 5 from rowbell.applied where id in ('mail', 'chat', 'inside', 'orders', 'invoices')`)
	})
	key := w.key("", access.Admin)
	b := w.open(t, widths[0])
	b.signIn(key)
	b.press("Connections")
	b.sees("smtp://127.0.0.1:")
	b.sees("Message broker (NATS)")
	b.sees("Set ROWBELL_NATS_URL")
	b.accessible()
	b.press("Try it now: Mail server")
	b.sees("It works.")
	b.sees("authenticated by")
	b.accessible()
	b.press("Try it now: Directory of people")
	b.sees("It doesn’t work.")
	b.sees(`relation "members" does not exist`)
	b.accessible()
	b.shot("connections-tried-1280")
	w.db.Exec(t, `create table members (id text, role text, tenant text)`)
	b.press("Try it now: Directory of people")
	b.sees("Its SQL can be run.")
	b.press("Try it now: Chat")
	b.sees("Matrix at " + strings.TrimPrefix(chat.URL, "http://") + " answers.")
	b.sees("Matrix at 10.11.12.13: ")
	b.accessible()
	b.quiet("status of 409")
	eval[bool](b, `(() => { const f = document.querySelector("#c-chat form"); f.setAttribute("hx-post", f.getAttribute("hx-post").replace("chat", "nats")); htmx.process(f); return true })()`)
	b.press("Try it now: Chat")
	b.sees("It is not set up;")
	b.press("Try it now: Chat") // which is still there
	b.sees("It is not set up;")
	if n := eval[int](b, `document.querySelectorAll("#trouble [role=alert]").length`); n != 1 {
		t.Errorf("what is wrong is said %d times", n)
	}
	b.accessible()
	b.shot("connections-trouble-1280")
	b.to("/connections")
	mails.Close()
	b.press("Try it now: Mail server")
	b.until("the mail server to be gone", func() bool {
		return eval[bool](b, `document.querySelector("#c-mail .failed") !== null`)
	})
	if text := b.text(); strings.Contains(text, "hunter2") || strings.Contains(text, "syt_") {
		t.Errorf("a secret is shown:\n%s", text)
	}
	w.look(t, key, "/connections")

	operator := w.open(t, widths[0])
	operator.signIn(w.key("acme", access.Operator))
	operator.press("Connections")
	operator.sees("operators can try it")
	operator.press("Try it now: Chat")
	operator.sees("It works.")
	if text := operator.text(); strings.Contains(text, "smtp://") || strings.Contains(text, "10.11.12.13") || strings.Contains(text, "Try it now: Mail") {
		t.Errorf("a tenant's operator sees what is the installation's, or another tenant's:\n%s", text)
	}
	operator.accessible()
	viewer := w.open(t, widths[1])
	viewer.signIn(w.key("acme", access.Viewer))
	viewer.to("/connections")
	viewer.sees("Who may turn destinations off and on can try it.")
	viewer.accessible()
	viewer.shot("connections-viewer-390")
	if n := eval[int](viewer, `document.querySelectorAll("main button").length`); n != 0 {
		t.Errorf("a viewer has %d buttons", n)
	}
}

// The limits in force can be read, and those changed that the pages may change.
func TestSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *app.Config) {
		c.StormMinute, c.KeptDays, c.Alerts = app.StormOff, 120, []string{"mailto:ops@example.com", "https://hooks.example.com/T0/s3cr3t"}
	})
	key := w.key("", access.Admin)
	b := w.open(t, widths[0])
	b.signIn(key)
	b.press("Settings")
	b.sees("No table is captured yet.")
	b.sees("Nothing is paused")
	b.accessible()
	w.db.Exec(t, twoTenants)
	w.db.Exec(t, `update rowbell.workflow_definition set settings = '{"storm": {"transaction": 250}, "max_depth": 5, "owners": ["user:ann", "role:support"]}' where id = 'ours'`)
	w.db.Exec(t, `call rowbell.capture('invoices', redacted => array['amount'], hidden => array['owner'])`)
	b.press("Settings")
	for _, text := range []string{
		"120 days", "ROWBELL_KEPT_DAYS", "no limit", "Large order of acme", "250", "user:ann, role:support", "mailto:ops@example.com, https://hooks.example.com/…", "amount", "owner", "All get one each.",
	} {
		b.sees(text)
	}
	if strings.Contains(b.text(), "s3cr3t") {
		t.Error("a secret is shown")
	}
	b.accessible()
	b.press("Change a tenant’s turns")
	b.fill("Tenant", "acme")
	b.fill("Turns", "3")
	b.press("Save")
	b.sees("Saved.")
	b.sees("acme 3 turns")
	b.press("Begin a pause")
	b.fill("Of tenant", "acme")
	b.fill("Only", "webhook")
	b.fill("Why", "they take stock")
	b.press("Pause")
	b.sees("Tenant acme, webhook only")
	b.accessible()
	w.look(t, key, "/settings")
	b.quiet("422 (Unprocessable")
	b.press("Begin a pause")
	b.fill("Of workflow", "ours")
	b.fill("Of tenant", "acme")
	b.press("Pause")
	b.sees("A workflow has its tenant.")
	b.accessible()
	viewer := w.open(t, widths[0])
	viewer.signIn(w.key("acme", access.Viewer))
	viewer.press("Settings")
	viewer.sees("acme 3 turns")
	viewer.sees("whom the operator has named")
	viewer.sees("Tenant acme, webhook only")
	viewer.accessible()
	viewer.shot("settings-viewer-1280")
	if text := viewer.text(); strings.Contains(text, "ops@example.com") || strings.Contains(text, "hidden") || eval[int](viewer, `document.querySelectorAll("main button").length`) != 0 {
		t.Errorf("a viewer of a tenant sees what is the operators', or may change it:\n%s", text)
	}
	b.to("/settings")
	b.press("End the pause Tenant acme, webhook only")
	b.press("End the pause Tenant acme, webhook only") // in the dialog: yes
	b.sees("What has waited goes now.")
	b.press("As all others acme")
	b.sees("All get one each.")
}

// What the storm guard holds is let go, or discarded, by who may.
func TestStorms(t *testing.T) {
	t.Parallel()
	hooks := make(chan string, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hooks <- r.URL.Path }))
	t.Cleanup(receiver.Close)
	w := newWorld(t, loopback)
	w.db.Exec(t, fmt.Sprintf(`insert into rowbell.workflow_definition (id, tenant_id, name, status, settings) values ('imported', 'acme', 'Imported order', 'active', '{"storm": {"transaction": 3}}');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('imported', 'orders', 'create');
		insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('imported', 'webhook', '{"url": "%s/hook"}')`, receiver.URL))
	pgtest.Eventually(t, pgtest.Patience, "the workflow to apply and the table to be captured", func() bool {
		return pgtest.One[bool](t, w.db, `select count(*) = 2 from rowbell.applied where id in ('imported', 'orders')`)
	})
	storm := func() {
		t.Helper()
		w.db.Exec(t, `insert into orders (tenant_id, total) select 'acme', n from generate_series(1, 10) n`)
		pgtest.Eventually(t, pgtest.Patience, "the storm", func() bool {
			return pgtest.One[bool](t, w.db, `select exists (select from rowbell.big_transaction where status = 'held')`)
		})
	}
	sent := func(n int) {
		t.Helper()
		pgtest.Eventually(t, pgtest.Patience, fmt.Sprintf("%d webhooks", n), func() bool { return len(hooks) >= n })
		if got := len(hooks); got != n {
			t.Errorf("%d webhooks were sent, not %d", got, n)
		}
	}
	b := w.open(t, widths[0])
	b.signIn(w.key("acme", access.Operator))
	b.press("Stream")
	b.sees("Nothing is held.")
	storm()
	sent(3)
	b.press("Stream")
	b.sees("7 runs with 7 messages held")
	b.accessible()
	b.shot("storms-1280")
	viewer := w.open(t, widths[1])
	viewer.signIn(w.key("acme", access.Viewer))
	viewer.to("/stream")
	viewer.sees("7 runs with 7 messages held")
	viewer.accessible()
	viewer.shot("storms-viewer-390")
	if n := eval[int](viewer, `document.querySelectorAll("main button").length`); n != 0 {
		t.Errorf("a viewer has %d buttons", n)
	}
	b.press("Let them go")
	b.sees("Let 7 messages of Imported order go?")
	b.press("Not now")
	b.sees("7 runs with 7 messages held")
	b.press("Let them go")
	b.press("Let them go") // in the dialog: yes
	b.sees("Let go.")
	b.sees("Nothing is held.")
	sent(10)
	storm()
	sent(13)
	b.press("Stream")
	b.press("Discard")
	b.sees("Discard 7 messages of Imported order? They are never sent.")
	b.press("Discard")
	b.sees("Discarded: nothing of it is sent.")
	b.sees("Nothing is held.")
	b.press("Runs")
	b.fill("Outcome", "Cancelled")
	b.sees("Imported order")
	pgtest.Eventually(t, pgtest.Patience, "the runs to be cancelled", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where status = 'cancelled'`) == 7
	})
	sent(13)
}

// The evidence beside the form says how many people a workflow has reached, or would reach.
func TestReached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('told', 'acme', 'Tell them', 'active'), ('new', 'acme', 'Tell whoever has it', 'draft');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ('told', 'orders', 'create', '{}'), ('new', 'orders', 'create', '{"total": {"gte": 2}}');
		insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('told', 'notification', '{"title": "Order {{ new.id }}"}'), ('new', 'notification', '{"title": "Order {{ new.id }}"}');
		insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ('told', 'user', 'ann'), ('told', 'user', 'bo'), ('new', 'attribute', 'assignee')`)
	pgtest.Eventually(t, pgtest.Patience, "the workflow to apply and the table to be captured", func() bool {
		return pgtest.One[bool](t, w.db, `select count(*) = 2 from rowbell.applied where id in ('told', 'orders')`)
	})
	w.db.Exec(t, `insert into orders (tenant_id, total, assignee) values ('acme', 1, 'cy'), ('acme', 2, 'di'), ('acme', 3, 'ed')`)
	pgtest.Eventually(t, pgtest.Patience, "the runs", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where status = 'success'`) == 3
	})
	b := w.open(t, widths[0])
	b.signIn(w.key("acme", access.Publisher))
	b.to("/workflows/told/edit")
	b.sees("Last 7 days: 3 firings, 6 messages to 2 people.")
	b.accessible()
	b.to("/workflows/new/edit")
	b.sees("By the 2 firings above it would reach 2 people.")
	b.accessible()
	b.shot("designer-reach-1280")
}
