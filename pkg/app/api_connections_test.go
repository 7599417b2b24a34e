package app_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// What is the whole installation's, a tenant's principal sees as set up or not, and can't try;
// its own chat it can, by the way that its deliveries go.
func TestAPIConnections(t *testing.T) {
	t.Parallel()
	var keys atomic.Value // what the provider publishes
	keys.Store(`{"keys": [{"kty": "EC"}]}`)
	var provider *httptest.Server
	provider = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			_, _ = fmt.Fprintf(rw, `{"issuer": %q, "authorization_endpoint": "%[1]s/a", "token_endpoint": "%[1]s/t", "jwks_uri": "%[1]s/keys", "id_token_signing_alg_values_supported": ["ES256"]}`, provider.URL)
		case "/keys":
			_, _ = fmt.Fprint(rw, keys.Load())
		}
	}))
	t.Cleanup(provider.Close)
	var posted atomic.Int64
	chat := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead || r.URL.Path != "/" {
			posted.Add(1)
		}
	}))
	t.Cleanup(chat.Close)
	w := newAPIWorld(t, delivers, func(c *app.Config) {
		c.OIDCIssuer, c.OIDCAudience = provider.URL, "rowbell"
		c.SMTPURL, c.MailFrom = "smtp://shop:hunter2hunter2@127.0.0.1:9?tls=none", "Shop <shop@example.com>" // where nobody listens
		c.NATSURL = "nats://bell:s3cr3ts3cr3t@127.0.0.1:9"
	})
	for tenant, server := range map[string]string{"acme": chat.URL, "globex": "https://10.1.2.3"} {
		w.db.Exec(t, fmt.Sprintf(`insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('%[1]s', '%[1]s', 'Chat', 'active');
			insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('%[1]s', 'orders', 'create');
			insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('%[1]s', 'chat', '{"service": "matrix", "server": "%[2]s", "channel": "!r:example.com", "secret": "syt_0123456789", "text": "Hi"}')`, tenant, server))
	}
	pgtest.Eventually(t, pgtest.Patience, "the secrets to be moved", func() bool {
		return pgtest.One[bool](t, w.db, `select count(*) = 2 from rowbell.applied where id in ('acme', 'globex')`)
	})
	all, acme, globex, viewer := w.as(t, "", access.Admin), w.as(t, "acme", access.Operator), w.as(t, "globex", access.Operator), w.as(t, "acme", access.Viewer)
	list := func(c *client) map[string]api.ConnectionOut {
		t.Helper()
		var out struct{ Items []api.ConnectionOut }
		a := c.want(200, c.ask("GET", "/connections", nil), &out)
		if strings.Contains(string(a.body), "hunter2") || strings.Contains(string(a.body), "s3cr3t") {
			t.Errorf("a password is in %s", a.body)
		}
		by := make(map[string]api.ConnectionOut)
		for _, one := range out.Items {
			by[one.Name] = one
		}
		return by
	}
	if l := list(all); len(l) != len(api.Connections) || l["mail"].About != "smtp://127.0.0.1:9" || !strings.HasPrefix(l["nats"].About, "nats://127.0.0.1:9") || !l["mail"].Verifiable || l["functions"].Verifiable {
		t.Errorf("an operator of all tenants sees %+v", l)
	}
	if l := list(acme); l["mail"].State != api.ConnectionReady || l["mail"].About != "" || l["mail"].Verifiable || !l["chat"].Verifiable || !strings.HasPrefix(l["directory"].Mend, "ask an operator: ") {
		t.Errorf("a tenant's operator sees %+v", l)
	}
	if l := list(viewer); l["chat"].Verifiable {
		t.Errorf("a viewer sees %+v", l)
	}
	verify := func(c *client, status int, name string) (v api.VerifiedOut, text string) {
		t.Helper()
		a := c.want(status, c.ask("POST", "/connections/"+name+"/verify", nil), nil)
		if status == 200 {
			c.want(200, a, &v)
		}
		if strings.Contains(string(a.body), "hunter2") || strings.Contains(string(a.body), "s3cr3t") || strings.Contains(string(a.body), "syt_") {
			t.Errorf("a secret is in %s", a.body)
		}
		return v, string(a.body)
	}
	verify(viewer, 403, "chat")
	for _, name := range []string{"mail", "nats", "directory", "sign-in", "functions"} {
		verify(acme, 403, name)
	}
	verify(all, 404, "post")
	verify(all, 409, "directory")
	for _, name := range []string{"mail", "nats"} {
		if v, text := verify(all, 200, name); v.Works {
			t.Errorf("nobody listens, and %s works: %s", name, text)
		}
	}
	if v, text := verify(acme, 200, "chat"); !v.Works || !strings.Contains(text, "Matrix at 127.0.0.1:") || strings.Contains(text, "10.1.2.3") {
		t.Errorf("acme's chat: %s", text)
	}
	if v, text := verify(globex, 200, "chat"); v.Works || !strings.Contains(text, "10.1.2.3") || strings.Contains(text, "127.0.0.1") {
		t.Errorf("globex's chat, which is at a private address: %s", text)
	}
	if n := posted.Load(); n != 0 {
		t.Errorf("trying a chat has posted %d times", n)
	}
	if v, text := verify(all, 200, "sign-in"); !v.Works || !strings.Contains(text, "1 key") {
		t.Errorf("the provider: %s", text)
	}
	for _, wrong := range []string{`{"keys": []}`, `no JSON`} {
		keys.Store(wrong)
		if v, text := verify(all, 200, "sign-in"); v.Works || !strings.Contains(text, "ROWBELL_OIDC_ISSUER") {
			t.Errorf("a provider with keys %s: %s", wrong, text)
		}
	}
	if n := pgtest.One[int64](t, w.db, `select count(*) from rowbell.audit_log where action = 'connection.verify'`); n != 7 {
		t.Errorf("the audit log has %d tries", n)
	}
}

// The limits are those in force; of what is the operators' own a tenant's principal sees
// nothing.
func TestAPISettings(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t, func(c *app.Config) {
		c.StormMinute, c.MaxDepth, c.Alerts = app.StormOff, 7, []string{"mailto:ops@example.com", "https://hooks.example.com/T0/s3cr3t"}
	})
	w.db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status, settings) values ('a', 'acme', 'A', 'active', '{"critical": true}'), ('g', 'globex', 'G', 'active', '{"storm": "off"}'), ('d', 'acme', 'D', 'draft', '{"storm": 9}');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) select id, 'orders', 'create' from rowbell.workflow_definition;
		insert into rowbell.workflow_action (workflow_id, action_type) select id, 'log' from rowbell.workflow_definition`)
	all, acme := w.as(t, "", access.Admin), w.as(t, "acme", access.Admin)
	var s, mine, none api.SettingsOut
	all.want(200, all.ask("GET", "/settings", nil), &s)
	value := func(name string) string {
		i := slices.IndexFunc(s.Limits, func(l api.LimitOut) bool { return l.Name == name })
		if i < 0 {
			t.Fatalf("there is no limit %s", name)
		}
		if s.Limits[i].Setting != "ROWBELL_"+strings.ToUpper(name) || s.Limits[i].Text == "" {
			t.Errorf("%s is %+v", name, s.Limits[i])
		}
		return s.Limits[i].Value
	}
	for name, want := range map[string]string{"storm_minute": "off", "storm_transaction": "1000", "max_depth": "7", "audit_retention": "forever", "disable_after": "120h", "destination_rate": ""} {
		if got := value(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := fmt.Sprint(s.Alerts); got != "[mailto:ops@example.com https://hooks.example.com/…]" {
		t.Errorf("alerts go to %s", got)
	}
	if len(s.Workflows) != 2 || s.Workflows[0].ID != "a" || !s.Workflows[0].Critical || s.Workflows[1].StormMinute != "off" {
		t.Errorf("workflows with limits of their own are %+v", s.Workflows)
	}
	all.want(200, all.ask("PUT", "/settings/weight", map[string]any{"tenant_id": "globex", "weight": 5}), nil)
	all.want(200, all.ask("PUT", "/settings/weight", map[string]any{"tenant_id": "", "weight": 2}), nil)
	all.want(404, all.ask("PUT", "/settings/weight", map[string]any{"tenant_id": "nobody", "weight": 5}), nil)
	all.want(422, all.ask("PUT", "/settings/weight", map[string]any{"tenant_id": "globex", "weight": 0}), nil)
	acme.want(403, acme.ask("PUT", "/settings/weight", map[string]any{"tenant_id": "acme", "weight": 100}), nil)
	a := acme.want(200, acme.ask("GET", "/settings", nil), &mine)
	if len(mine.Workflows) != 1 || len(mine.Alerts) != 0 || len(mine.Weights) != 0 || strings.Contains(string(a.body), "globex") {
		t.Errorf("acme sees %s", a.body)
	}
	all.want(200, all.ask("GET", "/settings?tenant=globex", nil), &none)
	if len(none.Workflows) != 1 || len(none.Weights) != 1 || none.Weights[0].Weight != 5 {
		t.Errorf("of globex there is %+v, %+v", none.Workflows, none.Weights)
	}
}

// With the right to see the stream alone one learns of services and limits, and not of
// workflows, tables and destinations.
func TestAPISettingsByRight(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t, func(c *app.Config) { c.SMTPURL, c.MailFrom = "smtp://127.0.0.1:9?tls=none", "Shop <shop@example.com>" })
	w.db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status, settings) values ('a', 'acme', 'Kept from them', 'active', '{"max_depth": 3, "owners": ["user:ann"]}');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('a', 'orders', 'create');
		insert into rowbell.workflow_action (workflow_id, action_type) values ('a', 'log');
		insert into rowbell.destination (lane, tenant_id, kind, destination, state, last_success_at, last_error_at, last_error) values (1, 'acme', 'email', 'ann@example.com', 'closed', now(), now(), '550 no such Ann')`)
	w.db.Exec(t, `call rowbell.capture('orders', redacted => array['total'])`)
	for _, tenant := range []string{"", "acme"} {
		with := func(rights ...access.Right) *client {
			n := access.NewKey{Name: fmt.Sprint("of ", tenant, rights), Rights: append(rights, access.StreamRead)}
			if tenant != "" {
				n.TenantID = &tenant
			}
			_, text, err := w.o.Access().CreateKey(t.Context(), n, "test")
			if err != nil {
				t.Fatal(err)
			}
			return &client{t, w.base, text}
		}
		for _, c := range []struct {
			of                           *client
			workflows, tables, addresses bool
		}{
			{of: with()},
			{of: with(access.WorkflowRead), workflows: true},
			{of: with(access.CatalogueRead), tables: true},
			{of: with(access.DestinationRead), addresses: true},
		} {
			if !c.workflows { // and aren't read for nothing: who locks them is waited for otherwise
				tx, err := w.db.Pool(t).Begin(t.Context())
				if err == nil {
					_, err = tx.Exec(t.Context(), `lock table rowbell.workflow_version`)
				}
				if err != nil {
					t.Fatal(err)
				}
				asked := make(chan *answer, 1)
				go func() { asked <- c.of.ask("GET", "/settings", nil) }()
				select {
				case a := <-asked:
					c.of.want(200, a, nil)
				case <-time.After(pgtest.Patience):
					t.Errorf("of %q, with %+v, workflows are read", tenant, c)
				}
				if err := tx.Rollback(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			settings, list := string(c.of.want(200, c.of.ask("GET", "/settings", nil), nil).body), string(c.of.want(200, c.of.ask("GET", "/connections", nil), nil).body)
			if strings.Contains(settings, "Kept from them") != c.workflows || strings.Contains(settings, "user:ann") != c.workflows || strings.Contains(settings, `"label":"orders"`) != c.tables ||
				!strings.Contains(settings, "ROWBELL_MAX_DEPTH") || strings.Contains(settings, `"workflows":null`) || strings.Contains(settings, `"tables":null`) {
				t.Errorf("of %q, with %+v, the settings are %s", tenant, c, settings)
			}
			if strings.Contains(list, "no such Ann") != c.addresses || strings.Contains(list, `"destinations":1`) != c.addresses || strings.Contains(list, "last_used_at") != c.addresses {
				t.Errorf("of %q, with %+v, the connections are %s", tenant, c, list)
			}
		}
	}
}

// A copy of the installation that sends nothing, or all of it elsewhere, doesn't go out to the
// original's chats either.
func TestAPIHeldChatIsNotTried(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(server.Close)
	for mode, says := range map[string]string{"hold": "holds all deliveries", "redirect:" + server.URL + "/all": "sends all deliveries to another address"} {
		w := newAPIWorld(t, delivers, func(c *app.Config) { c.Delivery = app.DeliveryMode(mode) })
		w.db.Exec(t, fmt.Sprintf(`insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('acme', 'acme', 'Chat', 'active');
			insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('acme', 'orders', 'create');
			insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('acme', 'chat', '{"service": "matrix", "server": "%s", "channel": "!r:example.com", "secret": "syt_0123456789", "text": "Hi"}')`, server.URL))
		pgtest.Eventually(t, pgtest.Patience, "the secret to be moved", func() bool {
			return pgtest.One[bool](t, w.db, `select count(*) = 1 from rowbell.applied where id = 'acme'`)
		})
		var v api.VerifiedOut
		acme := w.as(t, "acme", access.Operator)
		acme.want(200, acme.ask("POST", "/connections/chat/verify", nil), &v)
		if len(v.Findings) != 1 || v.Findings[0].Level != "warning" || !strings.Contains(v.Findings[0].Message, says) || len(v.Findings[0].Mend) != 1 {
			t.Errorf("with delivery %s it finds %+v", mode, v)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("a chat was asked %d times", n)
	}
}

// Whom workflows can't reach is found among very many that tell nobody by an address, of which
// none is read for it.
func TestAPIMissingAddressesAmongMany(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t, func(c *app.Config) {
		c.SMTPURL, c.MailFrom = "smtp://127.0.0.1:9?tls=none", "Shop <shop@example.com>"
		c.DirectoryUsers = "select id, id as name, nullif(email, '') as email from (values ('ann', 'ann@example.com'), ('ben', '')) p (id, email) where id = any ($1) and $2 = 'acme'"
	})
	w.db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status) select 'a' || i, 'acme', 'A', 'active' from generate_series(1, 510) i union all select 'z', 'acme', 'Z', 'active';
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) select id, 'orders', 'create' from rowbell.workflow_definition;
		insert into rowbell.workflow_action (workflow_id, action_type) select id, 'log' from rowbell.workflow_definition where id <> 'z';
		insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('z', 'email', '{"subject": "s", "body": "b"}');
		insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ('z', 'user', 'ann'), ('z', 'user', 'ben')`)
	acme := w.as(t, "acme", access.Admin)
	var r api.MissingReport
	acme.want(200, acme.ask("GET", "/recipients/missing-addresses", nil), &r)
	if r.More || len(r.Problems) != 0 || len(r.People) != 1 || r.People[0].ID != "ben" || !slices.Equal(r.People[0].Workflows, []string{"z"}) {
		t.Errorf("the report is %+v", r)
	}
}
