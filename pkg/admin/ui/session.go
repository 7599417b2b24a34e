package ui

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
)

// What a browser keeps. The first cookie holds what its visitor has shown, and no script can
// read it: there is no session on the server, so that a key that is revoked counts at once no
// more, and any worker may answer.
const (
	tokenCookie  = "rowbell"
	tenantCookie = "rowbell_tenant"
)

// longestSession is how long a key counts for a browser.
const longestSession = 12 * time.Hour

// credential is what the visitor has shown; "" nothing.
func credential(r *http.Request) string {
	// In parts, since a browser keeps no more than 4096 bytes in one.
	var b strings.Builder
	for _, name := range []string{tokenCookie, tokenCookie + "2", tokenCookie + "3"} {
		c, err := r.Cookie(name)
		if err != nil {
			break
		}
		b.WriteString(c.Value)
	}
	return b.String()
}

// chosenTenant is the tenant that the visitor has chosen to act in; "" none.
func chosenTenant(r *http.Request) string {
	c, err := r.Cookie(tenantCookie)
	if err != nil {
		return ""
	}
	name, err := url.QueryUnescape(c.Value)
	if err != nil {
		return ""
	}
	return name
}

// mostCookie is how many bytes of a credential stand in one cookie.
const mostCookie = 3800

// keep gives the browser a credential for so long.
func (u *UI) keep(w http.ResponseWriter, r *http.Request, token string, long time.Duration) {
	names := []string{tokenCookie, tokenCookie + "2", tokenCookie + "3"}
	for _, name := range names {
		part := token[:min(len(token), mostCookie)]
		token = token[len(part):]
		u.setCookie(w, r, name, part, long)
	}
}

func (u *UI) setCookie(w http.ResponseWriter, r *http.Request, name, value string, long time.Duration) {
	c := &http.Cookie{
		Name: name, Value: value, Path: u.url("/"), HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: u.secure(r), MaxAge: int(long.Seconds()),
	}
	if value == "" {
		c.MaxAge = -1
	}
	if len(u.cfg.Frames) > 0 && c.Secure {
		// In a frame of another site a browser sends no others, and keeps these apart for each
		// site that has such a frame (CHIPS).
		c.SameSite, c.Partitioned = http.SameSiteNoneMode, true
	}
	http.SetCookie(w, c)
}

// secure says that a request has come by https.
func (u *UI) secure(r *http.Request) bool {
	if u.cfg.Secure || r.TLS != nil {
		return true
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	trusted := err == nil && slices.ContainsFunc(u.cfg.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(from.Addr().Unmap()) })
	return trusted && r.Header.Get("X-Forwarded-Proto") == "https"
}

// embedded says that a page of another site shows this one (Fetch Metadata).
func embedded(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Dest") == "iframe"
}

// local is a path of these pages that a visitor may be sent to; "/" in place of another.
func local(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(path, "//") || strings.Contains(path, `\`) {
		return "/"
	}
	return u.RequestURI()
}

// toSignIn sends a visitor to show who they are, and back.
func (u *UI) toSignIn(w http.ResponseWriter, r *http.Request, reason string) {
	q := url.Values{}
	if r.Method == http.MethodGet && r.URL.Path != "/" {
		q.Set("next", r.URL.RequestURI())
	}
	if reason != "" {
		q.Set("ended", "1")
	}
	to := u.url("/signin")
	if len(q) > 0 {
		to += "?" + q.Encode()
	}
	if r.Header.Get("HX-Request") == "true" {
		w.Header().Set("HX-Redirect", to)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// signInData is what the sign-in page shows.
type signInData struct {
	Next        string
	HasProvider bool
	Ended       bool // what was shown before has ended
}

func (u *UI) showSignIn(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	u.render(w, r, "signin", "bare", 0, &layout{
		Title: "Sign in", Embeds: embedded(r), Done: doneTexts[q.Get("done")],
		Data: signInData{Next: local(q.Get("next")), HasProvider: u.provider != nil, Ended: q.Get("ended") != ""},
	})
}

// signIn takes a key.
func (u *UI) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, mostForm)
	key, next := strings.TrimSpace(r.PostFormValue("key")), local(r.PostFormValue("next"))
	if p := u.show(w, r, key); p != nil {
		u.render(w, r, "signin", "bare", p.Status, &layout{
			Title: "Sign in", Problem: p, Embeds: embedded(r), Data: signInData{Next: next, HasProvider: u.provider != nil},
		})
		return
	}
	http.Redirect(w, r, u.url(next), http.StatusSeeOther)
}

// show asks who has shown a credential, and lets the browser keep it. It returns what is
// wrong with it.
func (u *UI) show(w http.ResponseWriter, r *http.Request, token string) *api.Problem {
	if token == "" {
		return &api.Problem{Status: http.StatusUnauthorized, Detail: "there is no key"}
	}
	if strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' || c == ';' || c == '"' || c == ',' || c == '\\' }) {
		return &api.Problem{Status: http.StatusUnauthorized, Detail: "this is no key: it has characters that no key has", Mend: "copy the whole key and nothing else"}
	}
	var me api.Me
	err := (&caller{api: u.cfg.API, r: r, token: token}).get("/me", nil, &me)
	if p := problemOf(err); err != nil && len(p.Tenants) > 0 {
		u.keep(w, r, token, longestSession) // the page that follows asks in which
		return nil
	}
	if err != nil {
		p := problemOf(err)
		if p.Mend = ""; p.Status == http.StatusUnauthorized { // which is for programs
			p.Detail, _, _ = strings.Cut(p.Detail, ". Send ")
		}
		return p
	}
	long := longestSession
	if me.Expires != nil {
		long = min(long, time.Until(*me.Expires))
		if me.Kind != access.KindKey {
			long = time.Until(*me.Expires)
		}
	}
	u.keep(w, r, token, max(long, time.Second))
	return nil
}

func (u *UI) signOut(w http.ResponseWriter, r *http.Request) {
	u.keep(w, r, "", 0)
	u.setCookie(w, r, tenantCookie, "", 0)
	http.Redirect(w, r, u.url("/signin?done=signedout"), http.StatusSeeOther)
}

// showEnter is where a host application sends its people: /enter?to=/path#token=<link>. What
// stands behind # goes to no server and into no log; a script of the page posts it.
func (u *UI) showEnter(w http.ResponseWriter, r *http.Request) {
	u.render(w, r, "enter", "bare", 0, &layout{Title: "One moment", Embeds: embedded(r), Data: signInData{Next: local(r.URL.Query().Get("to"))}})
}

// enter takes a link.
func (u *UI) enter(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, mostForm)
	if p := u.show(w, r, strings.TrimSpace(r.PostFormValue("token"))); p != nil {
		p.Detail = "the link that you came by doesn't count: " + p.Detail
		u.render(w, r, "signin", "bare", p.Status, &layout{Title: "Sign in", Problem: p, Embeds: embedded(r), Data: signInData{Next: "/", HasProvider: u.provider != nil}})
		return
	}
	u.setCookie(w, r, tenantCookie, "", 0)
	http.Redirect(w, r, u.url(local(r.PostFormValue("next"))), http.StatusSeeOther)
}

// chooseTenant acts in one tenant from now on, or in all that the visitor may.
func (u *UI) chooseTenant(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, mostForm)
	tenant := strings.TrimSpace(r.PostFormValue("tenant"))
	if len(tenant) > 200 {
		tenant = ""
	}
	u.setCookie(w, r, tenantCookie, url.QueryEscape(tenant), longestSession)
	http.Redirect(w, r, u.url(local(r.PostFormValue("next"))), http.StatusSeeOther)
}
