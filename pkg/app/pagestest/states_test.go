package pagestest

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/bench"
	"github.com/rowbell/rowbell/pkg/localpg"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/preference"
	"github.com/rowbell/rowbell/pkg/store"
)

// screen is a page, and what it must show in each state. Paths have {names} of what there is
// in a filled database; see ids.
type screen struct {
	name, path string
	person     bool // of somebody who has come by a link, and not of an administrator

	// empty is what it says where there is nothing yet, and next the link or button to go on
	// with; empty "": there can't be such a page.
	empty, next string
	// full is what it shows of 10,000 runs, and older says that there is more behind it, by the
	// button "Older" unless further names another.
	full    []string
	older   bool
	further string
	// narrow is the query that finds nothing: then it says so, and reset leads back.
	narrow, reset string
	// viewer is what somebody sees who only looks, and never what they aren't offered.
	viewer string
	never  []string
}

// publicURL is where people's links lead to, in a worker that nobody reaches there.
const publicURL = "http://127.0.0.1:8080"

// linkNotValid is what the console says of a link that was cut.
const linkNotValid = "status of 404"

// denied is what a page says that isn't for its visitor.
const denied = "Not allowed"

// screens are all pages. A new one is added here.
var screens = []screen{
	{name: "signin", path: "/signin?next=/runs", empty: "API key", next: "Sign in", full: []string{"API key"}, viewer: "API key"},
	{name: "home", path: "/", empty: "There is no workflow yet", next: "Open the gallery", full: []string{"Needs attention", "Runs over time", "Deliveries over time", "Latest runs", "What fails"}, viewer: "Runs over time", never: []string{"Access", "Activity", "Recipients"}},
	{name: "home-week", path: "/?range=week", full: []string{"Runs over time", "messages and calls arrived", "runs done"}, viewer: "Runs over time"},
	{name: "about", path: "/about", empty: "What you may do", full: []string{"admin", "What you may do"}, viewer: "viewer"},

	{name: "workflows", path: "/workflows", empty: "No workflows yet", next: "Open the gallery", full: []string{"tell", "Needs attention", "Last 7 days", "runs", "ago", "Turn on", "Turn off", "Duplicate"}, older: true, further: "More", narrow: "name=nosuchthing", reset: "Show all", viewer: "Last 7 days", never: []string{"New workflow", "Turn on", "Turn off", "Duplicate"}},
	{name: "workflow", path: "/workflows/{workflow}", full: []string{"Latest runs", "done in 7 days", "Versions", "Edit"}, viewer: "Latest runs", never: []string{"Edit", "Turn off", "Duplicate", "Delete", "Review and turn on"}},
	{name: "new", path: "/workflows/new", empty: "No table is watched yet", next: "Open the gallery", full: []string{"What is it about?"}, viewer: denied},
	{name: "gallery", path: "/gallery", empty: "Finished workflows to begin with", next: "Large order", full: []string{"Large order"}, viewer: "Finished workflows to begin with", never: []string{"Start from nothing"}},
	{name: "example", path: "/gallery/large-order", empty: "No table is watched yet", full: []string{"Use this"}, viewer: denied},
	{name: "designer", path: "/workflows/{workflow}/edit", full: []string{"When", "Only if", "How often", "Do", "What it would do", "Last 7 days"}, viewer: denied},
	{name: "try", path: "/workflows/{workflow}/try", full: []string{"What comes of it", "Nothing was sent."}, viewer: "What comes of it", never: []string{"Edit", "Review and turn on", "Send to me only"}},
	{name: "publish", path: "/workflows/{off}/publish", full: []string{"From then on", "Is it in order?", "Turn it on"}, viewer: "You may not turn it on", never: []string{"Turn it on", "Go on editing"}},
	{name: "versions", path: "/workflows/{old}/versions", full: []string{"Compare", "Version 2"}, viewer: "Compare", never: []string{"Take version 1 as the draft"}},
	{name: "transfer", path: "/transfer", empty: "There is no workflow yet to export", full: []string{"Export", "Import", "See what would happen"}, viewer: "Export", never: []string{"See what would happen"}},

	{name: "runs", path: "/runs", empty: "Nothing has run yet", full: []string{"Outcome", "tell"}, older: true, narrow: "row_key=nosuchthing", reset: "Show all", viewer: "Outcome", never: []string{"Run all of these again…"}},
	{name: "runs-failed", path: "/runs?status=failure&workflow_id={failing}", full: []string{"Failed", "Run all of these again…"}, viewer: "Failed", never: []string{"Run all of these again…"}},
	{name: "run", path: "/runs/{failed}", full: []string{"What changed", "What was done", "Attempt", "Try again"}, viewer: "What was done", never: []string{"Try again", "Run it again…"}},
	{name: "failures", path: "/failures?within=week", empty: "Nothing failed", next: "To the runs", full: []string{"failures", "Run these again…", "Look at the last one", "Dismiss…"}, narrow: "workflow_id=nosuchthing", reset: "Show all", viewer: "failures", never: []string{"Run these again…", "Dismiss…"}},
	{name: "failures-dismissed", path: "/failures?within=week&show=dismissed", empty: "Nothing is dismissed", next: "To the failures", full: []string{"Dismissed", "They have moved house", "Bring back"}, viewer: "They have moved house", never: []string{"Bring back", "Dismiss…"}},
	{name: "replays", path: "/replays", empty: "Nothing was run again yet", next: "To the failures", full: []string{"Replay 1"}, viewer: "Replay 1"},
	{name: "replay-new", path: "/replays/new?workflow_id={failing}&status=failure", full: []string{"What will happen", "By which rules?"}, viewer: "you need the right delivery.write"},
	{name: "replay", path: "/replays/1", full: []string{"Replay 1", "Rules"}, viewer: "Replay 1", never: []string{"End it"}},
	{name: "why", path: "/why", empty: "Name the row", next: "Explain", full: []string{"Name the row"}, viewer: "Name the row"},
	{name: "why-row", path: "/why?table={table}&row_key={row}", full: []string{"What each workflow did", "Ran"}, viewer: "What each workflow did"},

	{name: "destinations", path: "/destinations", empty: "Nothing was sent anywhere yet", next: "To the workflows", full: []string{"Destination", "Turned off", "Takes deliveries"}, older: true, further: "More", narrow: "kind=nosuchthing", reset: "Show all", viewer: "Takes deliveries"},
	{name: "destination", path: "/destinations/{destination}", full: []string{"Turned off", "Turn on"}, viewer: "Turned off", never: []string{"Turn on", "Send a test", "Change the secret"}},
	{name: "templates", path: "/templates", empty: "No templates yet", next: "Make the first", full: []string{"greeting", "footer"}, viewer: "greeting", never: []string{"New template"}},
	{name: "template", path: "/templates/footer?tenant={tenant}", full: []string{"Shown for", "What they read", "Save"}, viewer: "What they read", never: []string{"Save", "Add a language", "Delete"}},
	{name: "new-template", path: "/newtemplate", empty: "New template", next: "Save", full: []string{"New template"}, viewer: denied},
	{name: "recipients", path: "/recipients", empty: "Who is it?", full: []string{"Who is it?"}, viewer: denied},
	{name: "recipients-missing", path: "/recipients/missing", full: []string{"People without an address"}, viewer: denied},
	{name: "inbox", path: "/inbox", person: true, empty: "Nothing yet", full: []string{"An order was approved", "Mark all as read", "Put away"}, older: true, viewer: "An order was approved"},
	{name: "preferences", path: "/preferences", person: true, empty: "None: messages come at any hour", next: "Add quiet hours", full: []string{"Quiet hours"}, viewer: "Quiet hours"},

	// Without a sign-in, by the link that stands in a mail.
	{name: "unsubscribe", path: "/unsubscribe/{unsubscribe}", full: []string{"Stop these messages?", "You get messages of", "by e-mail", "Stop all messages by e-mail"}, viewer: "Stop these messages?"},
	{name: "unsubscribe-cut", path: "/unsubscribe/cut", empty: "This link is not valid", full: []string{"This link is not valid"}, viewer: "It may have been cut."},

	{name: "activity", path: "/activity", empty: "Key: create first key", full: []string{"Workflow: create", "Download as CSV"}, older: true, narrow: "text=nosuchthing", reset: "Show all", viewer: denied},
	{name: "act", path: "/activity/{act}", full: []string{"What", "Who", "When"}, viewer: denied},
	{name: "access", path: "/access", empty: "Nobody yet", next: "Make a key", full: []string{"People", "Ann Archer", "API keys"}, viewer: denied},
	{name: "connections", path: "/connections", empty: "Connections", full: []string{"Connections", "Last worked", "Not set up"}, viewer: "The services that Rowbell goes out to", never: []string{"Try it now: Mail server"}},
	{name: "settings", path: "/settings", empty: "No table is captured yet", full: []string{"Settings", "Pauses", "What is masked"}, viewer: "Nothing is paused", never: []string{"Begin a pause", "Change a tenant’s turns"}},
	{name: "tenants", path: "/tenants", empty: "Tenants", full: []string{"Where you act now"}, viewer: "Where you act now"},
	{name: "stream", path: "/stream", empty: "Health", full: []string{"Health", "Pauses"}, viewer: "Nothing is paused", never: []string{"Begin a pause"}},
}

// ids are what a filled database has for the names in paths.
func ids(w *world, tenant string) map[string]string {
	of := map[string]string{"tenant": tenant}
	for name, sql := range map[string]string{
		// The workflow with the most runs, one that is off, one with earlier versions, one that fails.
		"workflow":    `select workflow_id from rowbell.workflow_log l where tenant_id = $1 and exists (select from rowbell.workflow_definition d where d.id = l.workflow_id and d.status = 'active') group by 1 order by count(*) desc, 1 limit 1`,
		"off":         `select id from rowbell.workflow_definition where tenant_id = $1 and status <> 'active' order by id limit 1`,
		"old":         `select id from rowbell.workflow_definition where tenant_id = $1 and version > 1 order by version desc, id limit 1`,
		"failing":     `select workflow_id from rowbell.workflow_log where tenant_id = $1 and status = 'failure' group by 1 order by count(*) desc, 1 limit 1`,
		"replayed":    `select workflow_id from rowbell.workflow_log where tenant_id = $1 and status = 'failure' group by 1 order by count(*) desc, 1 limit 1 offset 1`,
		"failed":      `select x.id from rowbell.execution x join rowbell.surrogate v on v.ref = x.version_ref where v.tenant_id = $1 and x.status = 'failure' and x.attempts > 2 order by x.committed_at desc limit 1`,
		"table":       `select table_name from rowbell.workflow_event where tenant_id = $1 order by committed_at desc limit 1`,
		"row":         `select row_key from rowbell.workflow_event where tenant_id = $1 order by committed_at desc limit 1`,
		"destination": `select lpad(to_hex(lane), 16, '0') from rowbell.destination where tenant_id = $1 order by lane limit 1`,
		"act":         `select id from rowbell.audit_log where object_type = 'template' and $1 <> '' order by at desc limit 1`,
		"person":      `select recipient_id from rowbell.notification where tenant_id = $1 group by 1 order by count(*) desc, 1 limit 1`,
	} {
		of[name] = pgtest.One[string](w.t, w.db, sql, tenant)
	}
	return of
}

// at is a screen's path in a filled database.
func (s screen) at(of map[string]string) string {
	path := s.path
	for name, id := range of {
		path = strings.ReplaceAll(path, "{"+name+"}", url.QueryEscape(id))
	}
	return path
}

// looked says what is wrong with the page, as far as a program can tell, and keeps a picture.
func (b *tab) looked(picture string) {
	b.t.Helper()
	if wide := eval[int](b, `document.documentElement.scrollWidth - innerWidth`); wide > 1 {
		b.t.Errorf("%s is %d pixels wider than the screen", picture, wide)
	}
	if from := eval[string](b, `performance.getEntriesByType("resource").map((e) => e.name).filter((n) => !n.startsWith(location.origin + "/") && !n.startsWith("data:")).join(" ")`); from != "" {
		b.t.Errorf("%s asks others: %s", picture, from)
	}
	b.pictured(picture)
}

// now is what an expression is, and "" between two pages.
func (b *tab) now(expression string) string {
	b.t.Helper()
	s, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		return ""
	}
	return s
}

// seen waits for all texts. What isn't there is told, and the next page is looked at.
func (b *tab) seen(what string, texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		there := ""
		for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			if there = b.now(`document.body?.innerText ?? ""`); strings.Contains(there, text) {
				break
			}
			if time.Now().After(deadline) {
				b.t.Errorf("%s doesn't show %q:\n%.2000s", what, text, there)
				return
			}
		}
	}
}

// offers says whether a page has a link, button or entry of the navigation with just this text.
func (b *tab) offers(text string) bool {
	b.t.Helper()
	return eval[bool](b, fmt.Sprintf(`[...document.querySelectorAll("a, button, summary")].some((e) => e.checkVisibility() && !e.disabled && (e.getAttribute("aria-label") ?? e.innerText).trim().replace(/\s+/g, " ") === %q)`, text))
}

// themed chooses the theme for the pages that follow.
func (b *tab) themed(theme string) {
	b.t.Helper()
	eval[bool](b, fmt.Sprintf(`localStorage.setItem("rowbell-theme", %q) ?? true`, theme))
}

// visitors are the tabs of a state: of an administrator, or of somebody who looks only, and of
// a person. Wide screens are light here, and narrow ones dark.
type visitors struct{ key, person *tab }

func (w *world) visitors(t *testing.T, width int64, key, tenant, person string) visitors {
	t.Helper()
	v := visitors{key: w.open(t, width), person: w.open(t, width)}
	v.key.signIn(key)
	v.person.to("/enter?to=/inbox#token=" + w.link(tenant, person, access.Viewer))
	v.person.sees("Inbox")
	for _, b := range []*tab{v.key, v.person} {
		if width == widths[1] {
			b.themed("dark")
		}
	}
	return v
}

// end leaves pages, so that they read live streams no more.
func (v visitors) end() {
	for _, b := range []*tab{v.key, v.person} {
		b.run(chromedp.Navigate("about:blank"))
	}
}

func (v visitors) of(s screen) *tab {
	if s.person {
		return v.person
	}
	return v.key
}

// Each page where nothing has been set up yet says so, and what comes next.
func TestPagesEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t, loopback, func(c *app.Config) { c.PublicURL = publicURL })
	key := w.key("", access.Admin)
	for _, width := range widths {
		v := w.visitors(t, width, key, "acme", "ann")
		v.key.quiet(linkNotValid)
		for _, s := range screens {
			if s.empty == "" {
				continue
			}
			b := v.of(s)
			b.to(s.path)
			b.seen("empty "+s.name, s.empty)
			if s.next != "" && !b.offers(s.next) {
				t.Errorf("%s doesn't offer %q:\n%s", s.name, s.next, b.text())
			}
			if width == widths[0] {
				b.accessible()
			}
			b.looked(fmt.Sprintf("empty-%s-%d", s.name, width))
		}
		v.end()
	}
}

// filled is a worker on a database with a log of 10,000 runs.
func filled(t *testing.T) (*world, map[string]string) {
	t.Helper()
	db := pgtest.DBOn(t, pgtest.Server(t, localpg.Options{})) // a server of its own: the slot of a filled database is called rowbell
	err := bench.Fill(t.Context(), bench.FillOptions{URL: db.URL, Workflows: 160, Rows: 10_000, Tenants: 2, Tables: 4, Days: 3, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	const tenant = "acme"
	db.Exec(t, `insert into rowbell.template (tenant_id, name, locale, source, description) values
		($1, 'footer', '', 'Yours, {{ new.email }} – order {{ new.id }}', 'Below each mail'), ($1, 'footer', 'de', 'Ihre Bestellung {{ new.id }}', 'Below each mail'),
		($1, 'greeting', '', 'Dear {{ recipient.name }},', 'Above each mail')`, tenant)
	db.Exec(t, `insert into rowbell.member (issuer, subject, name, email, roles, tenant_id) values ('https://login.example.com', 'ann', 'Ann Archer', 'ann@example.com', '{publisher}', $1), ('https://login.example.com', 'bo', 'Bo Baker', 'bo@example.com', '{viewer}', null)`, tenant)
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('unfinished', $1, 'a rule that does nothing yet', 'active')`, tenant)
	db.Exec(t, `insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('unfinished', 'orders', 'create')`)
	db.Exec(t, `insert into rowbell.destination (lane, tenant_id, kind, destination) select 9223372036854775000 + i, $1, 'webhook', 'https://receiver-' || i || '.example.com/hook' from generate_series(1, 60) i`, tenant)
	w := newWorldOf(t, db, loopback, func(c *app.Config) {
		c.Slot, c.Delivery = "rowbell", app.DeliveryHold
		c.SMTPURL, c.MailFrom = "smtp://127.0.0.1:2525", "Shop <shop@example.com>" // nothing is sent there
		c.PublicURL = publicURL
	})
	of := ids(w, tenant)
	signer, err := preference.NewSigner([]byte(loopbackKey))
	if err != nil {
		t.Fatal(err)
	}
	of["unsubscribe"] = signer.Token(preference.Subscription{TenantID: tenant, RecipientID: of["person"], WorkflowID: of["workflow"], Channel: "email"})
	name := tenant
	if _, err := w.o.DisableDestination(t.Context(), of["destination"], &name, "user:ann", "they move house until Monday"); err != nil {
		t.Fatal(err)
	}
	// The cause of the fewest failures is dismissed.
	db.Exec(t, `update rowbell.execution set settled_at = clock_timestamp() where settled_at > clock_timestamp()`)
	found, err := w.o.Failures(t.Context(), store.CauseFilter{TenantID: &name, Since: time.Now().AddDate(0, 0, -7)})
	if err != nil {
		t.Fatal(err)
	}
	least := found.Causes[len(found.Causes)-1]
	if _, err := w.o.DismissFailure(t.Context(), least.WorkflowID, least.Cause, "They have moved house", &name, "user:ann"); err != nil {
		t.Fatal(err)
	}
	return w, of
}

// replayed runs what failed of a workflow again.
func (b *tab) replayed(workflow string) {
	b.t.Helper()
	b.to("/replays/new?status=failure&workflow_id=" + workflow)
	b.sees("What will happen")
	eval[bool](b, `(document.querySelector("#plan form").requestSubmit(), true)`)
	b.sees("run again.")
}

// Each page shows its own of 10,000 runs, goes on to older ones, says when nothing is as asked
// for, and offers who only looks nothing else.
func TestPagesFull(t *testing.T) {
	t.Parallel()
	w, of := filled(t)
	admin, viewer := w.key("", access.Admin), w.key(of["tenant"], access.Viewer)
	operator := w.open(t, widths[0])
	operator.signIn(w.key(of["tenant"], access.Operator))
	operator.replayed(of["replayed"])
	for _, width := range widths {
		v := w.visitors(t, width, admin, of["tenant"], of["person"])
		v.key.quiet(linkNotValid)
		for _, s := range screens {
			b := v.of(s)
			b.to(s.at(of))
			b.seen(s.name, s.full...)
			b.settled()
			if width == widths[0] {
				b.accessible()
			} else {
				b.legible() // it is dark here
			}
			b.looked(fmt.Sprintf("full-%s-%d", s.name, width))
			if width != widths[0] {
				continue
			}
			if s.older {
				first := b.text()
				b.press(cmp.Or(s.further, "Older"))
				b.until("older ones of "+s.name, func() bool {
					return strings.Contains(b.now("location.search"), "cursor=") && !slices.Contains([]string{"", first}, b.now("document.body.innerText"))
				})
				b.seen(s.name, s.full[0])
			}
			if s.narrow != "" {
				path, _, _ := strings.Cut(s.at(of), "?")
				b.to(path + "?" + s.narrow)
				b.sees("Nothing like that")
				b.accessible()
				b.looked(fmt.Sprintf("none-%s-%d", s.name, width))
				b.press(s.reset)
				b.seen(s.name, s.full[0])
			}
		}
		v.end()
	}
	operator.unreachable()
	for _, width := range widths {
		v := w.visitors(t, width, viewer, of["tenant"], of["person"])
		v.key.quiet("status of 403")
		v.key.quiet(linkNotValid)
		for _, s := range screens {
			if s.person && width == widths[1] {
				continue // as above
			}
			b := v.of(s)
			b.to(s.at(of))
			b.seen("to a viewer, "+s.name, s.viewer)
			if s.viewer == denied {
				b.seen("to a viewer, "+s.name, "Ask an administrator")
			}
			for _, text := range s.never {
				if b.offers(text) {
					t.Errorf("%s offers %q to who only looks", s.name, text)
				}
			}
			b.looked(fmt.Sprintf("viewer-%s-%d", s.name, width))
		}
		v.end()
	}
}

// A list that can't be fetched says so, and how to go on; what was there stays.
func (b *tab) unreachable() {
	b.t.Helper()
	b.quiet("Content Security Policy")
	b.quiet("htmx:sendError")
	b.quiet("htmx:afterRequest")
	b.to("/workflows")
	b.settled()
	eval[bool](b, `(() => {
		const open = XMLHttpRequest.prototype.open;
		XMLHttpRequest.prototype.open = function (method, url, ...rest) { return open.call(this, method, "http://127.0.0.1:9/", ...rest); };
		return true;
	})()`)
	b.fill("Status", "Off")
	b.sees("The server can’t be reached.")
	b.accessible()
	b.pictured("unreachable")
	b.press("Try again")
	b.until("the page to be there again", func() bool {
		return b.now(`String(document.getElementById("list") !== null && document.getElementById("unreachable") === null)`) == "true"
	})
}

// noScreen are what the pages serve besides: parts of pages, files, and ways back after a form.
var noScreen = []string{"/workflows/{}/evidence", "/activity/activity.csv", "/transfer/workflows.yaml", "/destinations/{}/{}", "/access/{}", "/connections/{}/verify", "/settings/{}"}

// The table has each page that there is.
func TestScreensAreAll(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../admin/ui/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	name := regexp.MustCompile(`\{[^}]*\}`)
	known := slices.Clone(noScreen)
	for _, s := range screens {
		path, _, _ := strings.Cut(s.path, "?")
		known = append(known, name.ReplaceAllString(path, "{}"), path)
	}
	page := regexp.MustCompile(`\{"GET (/[^"]*)"`)
	found := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page.FindAllStringSubmatch(string(source), -1) {
			found++
			shape := name.ReplaceAllString(strings.ReplaceAll(m[1], "{$}", ""), "{}")
			if !slices.ContainsFunc(known, func(k string) bool { return k == shape || matches(shape, k) }) {
				t.Errorf("no screen in the table has the path %s of %s", m[1], filepath.Base(file))
			}
		}
	}
	if found < 30 {
		t.Errorf("%d pages were found", found)
	}
}

// matches says that a path is one of a shape, in which {} stands for any one part. What has
// names of its own counts for no other shape.
func matches(shape, path string) bool {
	a, b := strings.Split(shape, "/"), strings.Split(path, "/")
	if len(a) != len(b) || strings.Contains(path, "{") {
		return false
	}
	for i := range a {
		if a[i] != b[i] && a[i] != "{}" {
			return false
		}
	}
	return true
}
