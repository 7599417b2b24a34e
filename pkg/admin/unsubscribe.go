package admin

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/text/language"

	"github.com/rowbell/rowbell/pkg/preference"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// subscriptions is where preferences are kept.
type subscriptions interface {
	Preferences(ctx context.Context, people []workflow.PersonKey) ([]workflow.Preferences, error)
	SetPreference(ctx context.Context, who workflow.PersonKey, p workflow.Preference, wanted *bool, by string) error
	StopChannel(ctx context.Context, who workflow.PersonKey, channel, by string) error
	// WorkflowName is what a workflow was called last, and ErrNotFound if it never applied.
	WorkflowName(ctx context.Context, id string) (string, error)
}

// Unsubscribe serves the page on which a person stops what a workflow tells them, and begins
// it again, without a login: /unsubscribe/{token} of preference.Signer. A GET shows the page
// and changes nothing, since mail scanners follow links. A POST acts at once; one with
// List-Unsubscribe=One-Click, which mail programs send (RFC 8058), is the same as the first
// button.
type Unsubscribe struct {
	signer *preference.Signer
	store  subscriptions
	log    *slog.Logger

	all   bucket        // requests that reach the database
	turns chan struct{} // and of them those at once

	mu     sync.Mutex
	counts map[[sha256.Size]byte]*bucket // requests about one subscription
}

// NewUnsubscribe makes the page.
func NewUnsubscribe(signer *preference.Signer, store subscriptions, log *slog.Logger) *Unsubscribe {
	return &Unsubscribe{
		signer: signer, store: store, log: log, all: bucket{rate: 100, burst: 300}, turns: make(chan struct{}, 16),
		counts: make(map[[sha256.Size]byte]*bucket),
	}
}

// Path is where the page of a token is.
func (u *Unsubscribe) Path(token string) string { return "/unsubscribe/" + token }

const (
	mostForm   = 4 << 10 // bytes of a POST
	mostCounts = 10_000  // subscriptions that are counted
	slowest    = 5 * time.Second
	byPage     = "unsubscribe" // who wrote a preference
)

// ServeHTTP implements http.Handler. The pattern must have a {token}.
func (u *Unsubscribe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := page{words: wordsFor(r.Header.Get("Accept-Language"))}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "use GET or POST", http.StatusMethodNotAllowed)
		return
	}
	token := r.PathValue("token")
	sub, err := u.signer.Open(token)
	if err != nil {
		p.Title, p.Text = p.words.Invalid, p.words.InvalidHelp
		p.write(w, r, http.StatusNotFound)
		return
	}
	action := ""
	if r.Method == http.MethodPost {
		if action = actionOf(w, r); action == "" {
			p.Title, p.Text = p.words.Invalid, p.words.InvalidHelp
			p.write(w, r, http.StatusBadRequest)
			return
		}
	}
	if !u.may(sub) {
		w.Header().Set("Retry-After", "30")
		p.Title, p.Text = p.words.Later, p.words.LaterHelp
		p.write(w, r, http.StatusTooManyRequests)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), slowest)
	defer cancel()
	if err := u.serve(ctx, &p, sub, action); err != nil {
		if r.Context().Err() == nil {
			u.log.WarnContext(ctx, "the unsubscribe page could not be served", "workflow_id", sub.WorkflowID, "err", err)
		}
		w.Header().Set("Retry-After", "30")
		p.Title, p.Text, p.Buttons = p.words.Later, p.words.LaterHelp, nil
		p.write(w, r, http.StatusServiceUnavailable)
		return
	}
	p.write(w, r, http.StatusOK)
}

// The actions of the page's buttons.
const (
	stopThis  = "stop"
	stopAll   = "stop-all"
	beginThis = "resume"
	beginAll  = "resume-all"
)

// actionOf reads what a POST is to do; "" if it says nothing known. Mail programs send forms
// of either type.
func actionOf(w http.ResponseWriter, r *http.Request) string {
	r.Body = http.MaxBytesReader(w, r.Body, mostForm)
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var err error
	if kind == "multipart/form-data" {
		err = r.ParseMultipartForm(mostForm)
	} else {
		err = r.ParseForm()
	}
	if err != nil {
		return ""
	}
	if r.MultipartForm != nil {
		defer r.MultipartForm.RemoveAll() //nolint:errcheck // what is so small stays in memory
	}
	if r.PostForm.Get("List-Unsubscribe") == "One-Click" {
		return stopThis
	}
	switch do := r.PostForm.Get("do"); do {
	case stopThis, stopAll, beginThis, beginAll:
		return do
	}
	return ""
}

// serve acts, and fills the page with how things stand then.
func (u *Unsubscribe) serve(ctx context.Context, p *page, sub preference.Subscription, action string) error {
	select {
	case u.turns <- struct{}{}:
		defer func() { <-u.turns }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	who := workflow.PersonKey{TenantID: sub.TenantID, ID: sub.RecipientID}
	this := workflow.Preference{WorkflowID: sub.WorkflowID, Channel: sub.Channel}
	yes, no := true, false
	var err error
	switch action {
	case stopThis:
		err = u.store.SetPreference(ctx, who, this, &no, byPage)
	case stopAll:
		err = u.store.StopChannel(ctx, who, sub.Channel, byPage)
	case beginThis:
		err = u.store.SetPreference(ctx, who, this, &yes, byPage)
	case beginAll:
		if err = u.store.SetPreference(ctx, who, workflow.Preference{Channel: sub.Channel}, &yes, byPage); err == nil {
			err = u.store.SetPreference(ctx, who, this, nil, byPage)
		}
	}
	if err != nil {
		return err
	}
	list, err := u.store.Preferences(ctx, []workflow.PersonKey{who})
	if err != nil {
		return err
	}
	name, err := u.store.WorkflowName(ctx, sub.WorkflowID)
	if err != nil {
		name = sub.WorkflowID // it is gone; they may stop it all the same
	}
	p.show(sub, cmp.Or(name, sub.WorkflowID), list[0].Wanted, action)
	return nil
}

// show says how things stand, and what can be done about it.
func (p *page) show(sub preference.Subscription, name string, wanted []workflow.Preference, action string) {
	t := p.words
	channel := t.channel(sub.Channel)
	this, _ := preference.Wanted(wanted, sub.WorkflowID, sub.Channel)
	others, _ := preference.Wanted(wanted, "", sub.Channel)
	if action != "" {
		p.Done = t.Done
	}
	button := func(do, text string, main bool) { p.Buttons = append(p.Buttons, formButton{do, text, main}) }
	switch {
	case this:
		p.Title, p.Text = t.Ask, fill(t.Get, name, channel)
		button(stopThis, t.Stop, true)
	default:
		p.Title, p.Text = t.Stopped, fill(t.GetNone, name, channel)
		button(beginThis, t.Begin, false)
	}
	if sub.TenantID != "" {
		p.From = fill(t.From, sub.TenantID, "")
	}
	if others {
		button(stopAll, fill(t.StopAll, "", channel), false)
	} else {
		p.All = fill(t.AllStopped, "", channel)
		button(beginAll, fill(t.BeginAll, "", channel), false)
	}
}

// may counts a request against the limits of its subscription, and of all. It goes by what
// the token says, and not by the token: that can be written in many ways, with padding and
// spaces, and there is one by each key.
func (u *Unsubscribe) may(sub preference.Subscription) bool {
	now := time.Now()
	key := sha256.Sum256([]byte(strings.Join([]string{sub.TenantID, sub.RecipientID, sub.WorkflowID, sub.Channel}, "\x00")))
	u.mu.Lock()
	defer u.mu.Unlock()
	b := u.counts[key]
	if b == nil {
		if len(u.counts) >= mostCounts {
			for k, old := range u.counts {
				if old.full(now) {
					delete(u.counts, k)
				}
			}
			if len(u.counts) >= mostCounts {
				clear(u.counts)
			}
		}
		b = &bucket{rate: 0.5, burst: 20}
		u.counts[key] = b
	}
	return b.take(now) && u.all.take(now)
}

// bucket lets burst requests pass at once, and rate of them a second in the long run.
type bucket struct {
	rate, burst float64
	used        float64
	at          time.Time
}

func (b *bucket) drain(now time.Time) {
	b.used = max(0, b.used-b.rate*now.Sub(b.at).Seconds())
	b.at = now
}

func (b *bucket) full(now time.Time) bool { b.drain(now); return b.used == 0 }

func (b *bucket) take(now time.Time) bool {
	b.drain(now)
	if b.used+1 > b.burst {
		return false
	}
	b.used++
	return true
}

// page is what is shown.
type page struct {
	words   *words
	Title   string
	Done    string // what was just done; "" nothing
	Text    string
	All     string
	From    string
	Buttons []formButton
}

type formButton struct {
	Do, Text string
	Main     bool
}

// Lang is the page's language.
func (p *page) Lang() string { return p.words.Lang }

const pageStyle = `body{margin:0;font:1rem/1.5 system-ui,sans-serif;color:#1c1c1c;background:#fff}main{max-width:34rem;margin:3rem auto;padding:0 1.25rem}h1{font-size:1.5rem;line-height:1.25}form{margin:0 0 .75rem}button{font:inherit;padding:.65rem 1rem;border:2px solid #1f4e8c;border-radius:.4rem;background:#fff;color:#1f4e8c;cursor:pointer}button.main{background:#1f4e8c;color:#fff}button:focus-visible{outline:3px solid #b35c00;outline-offset:2px}.done{padding:.6rem .9rem;border-left:4px solid #2b6e3f;background:#eef6f0}.from{color:#555}@media(prefers-color-scheme:dark){body{color:#eee;background:#16181c}button{background:#16181c;color:#9cc3f5;border-color:#9cc3f5}button.main{background:#9cc3f5;color:#10233d}.done{background:#1d2a21}.from{color:#aaa}}`

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="{{.Lang}}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>` + pageStyle + `</style>
</head>
<body>
<main>
{{with .Done}}<p class="done" role="status">{{.}}</p>
{{end}}<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
{{with .All}}<p>{{.}}</p>
{{end}}{{with .From}}<p class="from">{{.}}</p>
{{end}}{{range .Buttons}}<form method="post"><button type="submit" name="do" value="{{.Do}}"{{if .Main}} class="main"{{end}}>{{.Text}}</button></form>
{{end}}</main>
</body>
</html>
`))

// pagePolicy allows the one style, and forms to where the page is.
var pagePolicy = func() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
}()

func (p *page) write(w http.ResponseWriter, r *http.Request, status int) {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", p.words.Lang)
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	h.Add("Vary", "Accept-Language")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b.Bytes()) // the reader has gone away: nobody to tell
	}
}

var matcher = func() language.Matcher {
	var tags []language.Tag
	for _, w := range allWords {
		tags = append(tags, language.MustParse(w.Lang))
	}
	return language.NewMatcher(tags)
}()

// wordsFor are those of the language that a reader would rather have; English if of none.
func wordsFor(accept string) *words {
	if len(accept) > 500 {
		accept = ""
	}
	tags, _, err := language.ParseAcceptLanguage(accept)
	if err != nil {
		return allWords[0]
	}
	_, i, _ := matcher.Match(tags...)
	return allWords[i]
}
