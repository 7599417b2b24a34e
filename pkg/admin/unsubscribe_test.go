package admin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/preference"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// site is the page, served over state in a database.
type site struct {
	base   string
	db     *pgtest.Database
	signer *preference.Signer
}

type failing struct {
	subscriptions
	err error
}

func (f failing) SetPreference(context.Context, workflow.PersonKey, workflow.Preference, *bool, string) error {
	return f.err
}

func newSite(t *testing.T, wrap func(subscriptions) subscriptions) *site {
	t.Helper()
	db := pgtest.DB(t)
	if err := store.Migrate(t.Context(), db.URL, db.URL); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `insert into rowbell.surrogate (ref, kind, id, version, tenant_id, name) values
		(1, 'workflow', 'wf', 1, 'acme', 'Old name'), (2, 'workflow', 'wf', 2, 'acme', 'Orders <b>&amp; %c')`)
	signer, err := preference.NewSigner(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	var to subscriptions = store.OpenState(db.Pool(t))
	if wrap != nil {
		to = wrap(to)
	}
	log := slog.New(slog.DiscardHandler)
	u := NewUnsubscribe(signer, to, log)
	p, err := NewPublic(PublicConfig{Listen: "127.0.0.1:0", Routes: map[string]http.Handler{"/unsubscribe/{token}": u}, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return &site{"http://" + p.Addr().String(), db, signer}
}

func (s *site) link(sub preference.Subscription) string {
	return s.base + "/unsubscribe/" + s.signer.Token(sub)
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (s *site) do(t *testing.T, method, link, kind, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, link, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func (s *site) press(t *testing.T, link, button string) answer {
	t.Helper()
	return s.do(t, http.MethodPost, link, form, url.Values{"do": {button}}.Encode())
}

func (s *site) preferences(t *testing.T) string {
	t.Helper()
	return s.db.QueryString(t, `select coalesce(string_agg(concat_ws(' ', tenant_id, recipient_id, workflow_id, channel, wanted, updated_by), '; '
		order by workflow_id, channel), '') from rowbell.preference`)
}

const form = "application/x-www-form-urlencoded"

var annsMail = preference.Subscription{TenantID: "acme", RecipientID: "ann", WorkflowID: "wf", Channel: "email"}

var buttonName = regexp.MustCompile(`value="([a-z-]+)"`)

// buttons are those of a page.
func (a answer) buttons() string {
	var names []string
	for _, m := range buttonName.FindAllStringSubmatch(a.body, -1) {
		names = append(names, m[1])
	}
	return strings.Join(names, " ")
}

// Looking changes nothing; each button does what it says, at once.
func TestUnsubscribePage(t *testing.T) {
	s := newSite(t, nil)
	link := s.link(annsMail)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if a := s.do(t, method, link, "", ""); a.status != 200 {
			t.Errorf("%s: status %d", method, a.status)
		}
	}
	if got := s.preferences(t); got != "" {
		t.Fatalf("looking at the page wrote %s", got)
	}
	page := s.do(t, http.MethodGet, link, "", "")
	for _, want := range []string{
		`<html lang="en">`, `<h1>Stop these messages?</h1>`, `You get messages of “Orders &lt;b&gt;&amp;amp; %c” by e-mail.`, "Sender: acme",
		`<button type="submit" name="do" value="stop" class="main">Stop these messages</button>`, "Stop all messages by e-mail",
	} {
		if !strings.Contains(page.body, want) {
			t.Errorf("%s is not in\n%s", want, page.body)
		}
	}
	if strings.Contains(page.body, "ann") || strings.Contains(page.body, "<script") {
		t.Errorf("the page says too much:\n%s", page.body)
	}
	for header, want := range map[string]string{
		"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Content-Language": "en", "X-Robots-Tag": "noindex",
		"Content-Security-Policy": "default-src 'none'; style-src 'sha256-",
	} {
		if got := page.header.Get(header); !strings.Contains(got, want) {
			t.Errorf("%s: %q", header, got)
		}
	}
	steps := []struct{ button, shows, stored string }{
		{"stop", "resume stop-all", "acme ann wf email f unsubscribe"},
		{"stop", "resume stop-all", "acme ann wf email f unsubscribe"},
		{"resume", "stop stop-all", "acme ann wf email t unsubscribe"},
		{"stop-all", "resume resume-all", "acme ann email f unsubscribe; acme ann wf email f unsubscribe"},
		{"resume", "stop resume-all", "acme ann email f unsubscribe; acme ann wf email t unsubscribe"},
		{"resume-all", "stop stop-all", "acme ann email t unsubscribe"},
	}
	for i, c := range steps {
		a := s.press(t, link, c.button)
		if a.status != 200 || a.buttons() != c.shows || !strings.Contains(a.body, `role="status">Your choice is saved.`) {
			t.Errorf("step %d, %s: status %d, buttons %q, want %q\n%s", i+1, c.button, a.status, a.buttons(), c.shows, a.body)
		}
		if got := strings.ReplaceAll(s.preferences(t), "  ", " "); got != c.stored {
			t.Errorf("step %d, %s: stored is %q, want %q", i+1, c.button, got, c.stored)
		}
		if again := s.do(t, http.MethodGet, link, "", ""); again.buttons() != c.shows {
			t.Errorf("step %d, %s: looked at again, buttons are %q", i+1, c.button, again.buttons())
		}
	}
}

// A mail program's one click acts without a second one, in both types of forms (RFC 8058).
func TestOneClick(t *testing.T) {
	s := newSite(t, nil)
	var b bytes.Buffer
	parts := multipart.NewWriter(&b)
	if err := errors.Join(parts.WriteField("List-Unsubscribe", "One-Click"), parts.Close()); err != nil {
		t.Fatal(err)
	}
	for who, request := range map[string][2]string{
		"ben": {form, "List-Unsubscribe=One-Click"},
		"cid": {parts.FormDataContentType(), b.String()},
	} {
		sub := annsMail
		sub.RecipientID = who
		if a := s.do(t, http.MethodPost, s.link(sub), request[0], request[1]); a.status != 200 {
			t.Errorf("%s: status %d\n%s", request[0], a.status, a.body)
		}
		if n := pgtest.One[int64](t, s.db, `select count(*) from rowbell.preference where recipient_id = $1 and workflow_id = 'wf' and channel = 'email' and not wanted`, who); n != 1 {
			t.Errorf("%s: nothing was stopped", request[0])
		}
	}
}

// What isn't right changes nothing, and says so in a page.
func TestUnsubscribeRefuses(t *testing.T) {
	s := newSite(t, nil)
	link := s.link(annsMail)
	flipped := []byte(link)
	flipped[len(flipped)-4] ^= 1
	other, err := preference.NewSigner(bytes.Repeat([]byte("x"), 32))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		method, link, kind, body string
		status                   int
	}{
		"changed":            {"POST", string(flipped), form, "List-Unsubscribe=One-Click", 404},
		"cut":                {"POST", link[:len(link)-5], form, "List-Unsubscribe=One-Click", 404},
		"another's":          {"GET", s.base + "/unsubscribe/" + other.Token(annsMail), "", "", 404},
		"none":               {"GET", s.base + "/unsubscribe/", "", "", 404},
		"no such page":       {"GET", s.base + "/", "", "", 404},
		"says nothing":       {"POST", link, form, "", 400},
		"says something odd": {"POST", link, form, "do=delete-all&List-Unsubscribe=Two-Click", 400},
		"in the query":       {"POST", link + "?List-Unsubscribe=One-Click&do=stop", form, "", 400},
		"JSON":               {"POST", link, "application/json", `{"List-Unsubscribe":"One-Click"}`, 400},
		"too long":           {"POST", link, form, "List-Unsubscribe=One-Click&x=" + strings.Repeat("a", 8<<10), 400},
		"broken multipart":   {"POST", link, "multipart/form-data; boundary=x", "--y", 400},
		"DELETE":             {"DELETE", link, "", "", 405},
	} {
		if a := s.do(t, c.method, c.link, c.kind, c.body); a.status != c.status {
			t.Errorf("%s: status %d, want %d", name, a.status, c.status)
		}
	}
	if a := s.do(t, http.MethodGet, string(flipped), "", ""); !strings.Contains(a.body, "This link is not valid") || a.buttons() != "" {
		t.Errorf("an invalid link shows\n%s", a.body)
	}
	if got := s.preferences(t); got != "" {
		t.Errorf("stored is %s", got)
	}
}

func TestUnsubscribeLanguages(t *testing.T) {
	s := newSite(t, nil)
	for accept, want := range map[string]string{
		"": "en", "de-AT,de;q=0.9,en;q=0.5": "de", "fr-CA": "fr", "es-MX, en;q=0.1": "es", "zh, ja;q=0.9": "en", "en;q=0.1, de": "de",
		"\xff;;q": "en", strings.Repeat("de,", 400): "en",
	} {
		if got := wordsFor(accept).Lang; got != want {
			t.Errorf("%.40q is served in %s, want %s", accept, got, want)
		}
	}
	a := s.do(t, http.MethodGet, s.link(annsMail), "", "", "Accept-Language", "de-AT")
	if !strings.Contains(a.body, `<html lang="de">`) || !strings.Contains(a.body, "Diese Nachrichten abbestellen") || a.header.Get("Content-Language") != "de" {
		t.Errorf("in German:\n%s", a.body)
	}
	for _, w := range allWords {
		for _, text := range []string{
			w.Ask, w.Get, w.Stop, w.Stopped, w.GetNone, w.Begin, w.StopAll, w.AllStopped, w.BeginAll, w.From, w.Done,
			w.Invalid, w.InvalidHelp, w.Later, w.LaterHelp, w.channel("email"), w.channel("notification"), w.channel("chat"), w.channel("pigeon"),
		} {
			if text == "" || strings.Contains(fill(text, "n", "c"), "%") {
				t.Errorf("%s lacks a text, or has an odd one: %q", w.Lang, text)
			}
		}
	}
}

func TestUnsubscribeLimits(t *testing.T) {
	s := newSite(t, nil)
	link := s.link(annsMail)
	last := answer{}
	for range 25 {
		last = s.do(t, http.MethodGet, link, "", "")
	}
	if last.status != http.StatusTooManyRequests || last.header.Get("Retry-After") == "" || !strings.Contains(last.body, "try again") {
		t.Errorf("the 25th request: status %d\n%s", last.status, last.body)
	}
	ben := annsMail
	ben.RecipientID = "ben"
	if a := s.do(t, http.MethodGet, s.link(ben), "", ""); a.status != 200 {
		t.Errorf("another person's: status %d", a.status)
	}
}

// A token can be written in many ways. They count as one, or who holds one could keep the
// page from everybody.
func TestUnsubscribeLimitsWhateverIsWritten(t *testing.T) {
	s := newSite(t, nil)
	link := s.link(annsMail)
	last := answer{}
	for i := range 25 {
		last = s.do(t, http.MethodGet, link+strings.Repeat("=", i)+"%20", "", "")
	}
	if last.status != http.StatusTooManyRequests {
		t.Errorf("the 25th way to write a token: status %d", last.status)
	}
}

func TestUnsubscribeWithoutDatabase(t *testing.T) {
	s := newSite(t, func(to subscriptions) subscriptions {
		return failing{to, errors.New("password authentication failed for rowbell:hunter2")}
	})
	a := s.press(t, s.link(annsMail), "stop")
	if a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "Nothing was changed") || strings.Contains(a.body, "hunter2") || a.buttons() != "" {
		t.Errorf("status %d\n%s", a.status, a.body)
	}
}
