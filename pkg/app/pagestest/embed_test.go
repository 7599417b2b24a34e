package pagestest

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// below is the path below which a proxy has the pages.
const below = "/bell"

// front is a proxy with TLS before a worker, which may be told later where that is.
type front struct {
	*httptest.Server
	to *url.URL
}

func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{}
	f.Server = httptest.NewTLSServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(f.to)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
	})
	t.Cleanup(f.Close)
	return f
}

// host is an application that shows the inbox in its page, at another site than the pages.
func newHost(t *testing.T, page func() string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprint(w, page()) // the browser has gone away: nobody to tell
	}))
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return "http://localhost:" + port
}

// Behind a proxy with TLS, below a path: people sign in with their company's provider; a host
// application of another site shows the inbox of its people, and nobody else may.
func TestBehindAProxy(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	home := f.URL + below
	var script string
	host := newHost(t, func() string {
		return `<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,"><body><main><h1>Shop</h1>` + script + `</main>`
	})

	// The provider, as a library has it, with one person in its directory.
	users := httptest.NewUnstartedServer(nil)
	issuer := "http://" + users.Listener.Addr().String()
	client := storage.WebClient("rowbell", "s3cret", home+"/signin/back")
	users.Config.Handler = exampleop.SetupServer(issuer, storage.NewStorageWithClients(storage.NewUserStore(issuer), map[string]*storage.Client{"rowbell": client}), slog.New(slog.DiscardHandler), false)
	users.Start()
	t.Cleanup(users.Close)

	w := newWorld(t, func(c *app.Config) {
		c.PublicURL, c.FrameOrigins, c.SecretKey = home, []string{host}, app.Secret(bytes.Repeat([]byte{7}, 32))
		c.OIDCIssuer, c.OIDCAudience, c.OIDCClientSecret = issuer, "rowbell", app.Secret("s3cret")
	})
	to, err := url.Parse(w.base)
	if err != nil {
		t.Fatal(err)
	}
	f.to, w.base = to, home

	t.Run("a person of the company", func(t *testing.T) {
		b := w.open(t, widths[0])
		b.to("/")
		b.press("Sign in with your company")
		b.sees("Username")
		b.typeInto("#username", "test-user@127.0.0.1")
		b.typeInto("#password", "verysecure")
		b.press("Login")
		b.sees("Nobody has given id1 a role here")
		b.quiet("status of 403")
		b.quiet("status of 404") // the provider has no icon
	})
	if _, err := w.o.Access().AddMember(t.Context(), access.NewMember{Issuer: issuer, Subject: "id1", Roles: []access.Role{access.Viewer}}, "test"); err != nil {
		t.Fatal(err)
	}
	t.Run("a person of the company who is a member", func(t *testing.T) {
		time.Sleep(3 * time.Second) // what was looked up is kept for so long
		b := w.open(t, widths[0])
		b.to("/about")
		b.press("Sign in with your company")
		b.typeInto("#username", "test-user@127.0.0.1")
		b.typeInto("#password", "verysecure")
		b.press("Login")
		b.quiet("status of 404")
		b.sees("What you may do")
		b.sees("viewer")
		if at := eval[string](b, `location.href`); at != home+"/about" {
			t.Errorf("after signing in one is at %s", at)
		}
		b.press("Home")
		b.sees("All is well")
	})

	key, private, err := w.o.Access().AddLinkKey(t.Context(), access.NewLinkKey{Name: "shop", Roles: []access.Role{access.Viewer}}, "test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := access.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	link := func(subject string) string {
		text, err := access.SignLink(signer, key.ID, "rowbell", access.Link{Tenant: "acme", Subject: subject, Name: "Ann Archer", Roles: []access.Role{access.Viewer}}, 5*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	w.db.Exec(t, `insert into rowbell.notification (id, delivery_id, tenant_id, recipient_id, title, body, link) values
		(rowbell.gen_ulid(), 'd1', 'acme', 'ann', 'Order 7 is late', 'It was due yesterday.', 'https://shop.example.com/orders/7'),
		(rowbell.gen_ulid(), 'd2', 'acme', 'ann', 'Order 8 is paid', '', null), (rowbell.gen_ulid(), 'd3', 'globex', 'ann', 'Not yours', '', null)`)

	t.Run("a person's inbox", func(t *testing.T) {
		for _, width := range widths {
			b := w.open(t, width)
			b.to("/enter?to=/inbox#token=" + link("ann"))
			b.sees("Order 7 is late")
			b.accessible()
			b.shot(fmt.Sprintf("inbox-%d", width))
			if strings.Contains(b.text(), "Not yours") {
				t.Error("it shows what another tenant's person was told")
			}
			if width != widths[0] {
				continue
			}
			b.press("Mark as read")
			b.sees("1 unread")
			b.press("Mark as unread")
			b.sees("2 unread")
			b.press("What you are told")
			b.sees("Quiet hours")
			b.accessible()
			b.shot(fmt.Sprintf("preferences-%d", width))
			b.press("By e-mail")
			pgtest.Eventually(t, patience, "the preference to be written", func() bool {
				return pgtest.One[bool](t, w.db, `select exists (select from rowbell.preference where recipient_id = 'ann' and channel = 'email' and not wanted)`)
			})
			b.press("Add quiet hours")
			b.sees("22:00 to 07:00")
		}
	})
	t.Run("a bell in an application's page", func(t *testing.T) {
		script = fmt.Sprintf(`<script type="module" src="%s/rowbell-inbox.js"></script><rowbell-inbox token="%s"></rowbell-inbox>`, home, link("ann"))
		b := w.open(t, widths[0])
		b.visit(host + "/")
		bell := `document.querySelector("rowbell-inbox")?.shadowRoot?.querySelector("button")?.getAttribute("aria-label") ?? ""`
		b.until("the bell to know the count", func() bool { return eval[string](b, bell) == "Inbox, 2 unread" })
		w.db.Exec(t, `update rowbell.notification set read_at = now() where delivery_id = 'd2'`)
		b.until("the bell to follow", func() bool { return eval[string](b, bell) == "Inbox, 1 unread" })
		b.accessible()
	})
	t.Run("a page of another application", func(t *testing.T) {
		script = ""
		other := newHost(t, func() string {
			return fmt.Sprintf(`<!doctype html><html lang="en"><title>Other</title><link rel="icon" href="data:,"><iframe title="Theirs" src="%s/signin"></iframe>`, home)
		})
		resp, err := f.Client().Get(home + "/signin")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if policy := resp.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-ancestors "+host) || strings.Contains(policy, other) {
			t.Errorf("the policy is %s", policy)
		}
	})
}

// Nobody gets in by a link that isn't one, and none of what is shown is kept by scripts.
func TestSignInRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.open(t, widths[0])
	b.to("/enter?to=/inbox#token=not.a.link")
	b.sees("The link that you came by doesn't count")
	b.to("/enter")
	b.sees("There is no link to come in by")
	b.to("/signin?next=//evil.example.com")
	b.typeInto("input[name=key]", "rbk_01M8BR9QZE00003W7KA0000000_WRONG")
	b.press("Sign in")
	b.sees("Sign in")
	b.typeInto("input[name=key]", w.key("acme", access.Viewer))
	b.press("Sign in")
	b.sees("acme")
	if got := eval[string](b, `location.pathname + " " + document.cookie`); got != "/ " {
		t.Errorf("the page and its cookies for scripts: %q", got)
	}
	b.to("/workflows/nope")
	b.sees("There is no workflow nope")
	b.accessible()
	b.quiet("status of 401")
	b.quiet("status of 404")
}

// typeInto types into the field that a selector finds: of pages that are not ours, or have
// no label that can be seen.
func (b *tab) typeInto(selector, text string) {
	b.t.Helper()
	b.run(chromedp.WaitVisible(chromedp.CSS(selector)), chromedp.SendKeys(chromedp.CSS(selector), text))
}
