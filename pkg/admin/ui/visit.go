package ui

import (
	"bytes"
	"compress/gzip"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
)

// visit is one request of somebody who has signed in.
type visit struct {
	*caller
	ui *UI
	me api.Me
}

// can says whether the visitor has a right.
func (v *visit) can(right access.Right) bool { return slices.Contains(v.me.Rights, right) }

// query is a parameter of the page's address.
func (v *visit) query(name string) string { return v.r.URL.Query().Get(name) }

// form is a field of a form that was sent.
func (v *visit) form(name string) string { return v.r.PostFormValue(name) }

// said is a text of a form's without the ends of lines that browsers send, which would count
// twice where a text has a greatest length.
func (v *visit) said(name string) string {
	return strings.TrimSpace(strings.ReplaceAll(v.form(name), "\r\n", "\n"))
}

// page is what a handler has to show.
type page struct {
	template string // the name of a file below templates, without .html
	title    string
	scripts  []string // modules that it needs beside rowbell.js
	nav      string   // which entry of the navigation it belongs to
	data     any
	status   int    // 0: 200
	to       string // in place of all that: another page, below the base
	problem  *api.Problem
	file     *file // in place of all that: something to keep
}

// file is something that the browser saves.
type file struct {
	name, kind string
	body       []byte
}

// redirect goes to another page, which is below the base; done is a key of doneTexts, or "".
func redirect(path, done string) *page {
	if done != "" {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		path += sep + "done=" + url.QueryEscape(done)
	}
	return &page{to: path}
}

// layout is what templates get: what all pages have, and Data of the page.
type layout struct {
	Title   string
	Nav     string
	Path    string // of this page, with its query
	Me      *api.Me
	Tenant  string // the one that is acted in; "" all
	CanPick bool   // the visitor may choose the tenant
	Env     Environment
	Done    string // what has just been done
	Embeds  bool   // another application's page shows this one
	Scripts []string
	Problem *api.Problem
	Data    any
	v       *visit
}

// Again says that the page can be asked for once more, and may be there then.
func (l *layout) Again() bool {
	return l.v != nil && l.v.r.Method == http.MethodGet && l.Problem != nil && l.Problem.Status >= http.StatusTooManyRequests
}

// Can says whether the visitor has a right.
func (l *layout) Can(right string) bool { return l.v != nil && l.v.can(access.Right(right)) }

// mostForm bounds what a form sends, in bytes.
const mostForm = 2 << 20

// visited serves a route to who has signed in, and sends others to do so.
func (u *UI) visited(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		token := credential(req)
		if token == "" {
			u.toSignIn(w, req, "")
			return
		}
		req.Body = http.MaxBytesReader(w, req.Body, mostForm)
		v := &visit{ui: u, caller: &caller{api: u.cfg.API, r: req, token: token, tenant: chosenTenant(req)}}
		err := v.get("/me", nil, &v.me)
		if p := problemOf(err); err != nil && p.Status == http.StatusForbidden && v.tenant != "" {
			v.tenant = "" // it is chosen no more, or not this visitor's
			err = v.get("/me", nil, &v.me)
		}
		var shown *page
		switch {
		case err != nil && len(problemOf(err).Tenants) > 0:
			u.toPick(w, req, problemOf(err).Tenants)
			return
		case err != nil && problemOf(err).Status == http.StatusUnauthorized:
			u.toSignIn(w, req, problemOf(err).Detail)
			return
		case err != nil:
		case r.right != "" && !v.can(r.right):
			err = &api.Problem{Status: http.StatusForbidden, Detail: "to " + r.right.Text() + " takes a right that you don’t have: " + string(r.right), Mend: "ask an administrator for it"}
		default:
			shown, err = r.show(v)
		}
		if err != nil {
			p := problemOf(err)
			if p.Status >= 500 && req.Context().Err() == nil { // else the visitor has gone away
				u.cfg.Logger.ErrorContext(req.Context(), "a page can't be shown", "path", req.URL.Path, "err", err)
			}
			shown = &page{template: "problem", title: problemTitle(p), problem: p, status: p.Status}
		}
		u.write(w, v, shown)
	})
}

func problemTitle(p *api.Problem) string {
	switch p.Status {
	case http.StatusNotFound:
		return "Not found"
	case http.StatusForbidden:
		return "Not allowed"
	case http.StatusTooManyRequests:
		return "Too much at once"
	case http.StatusServiceUnavailable:
		return "Not reachable"
	case http.StatusGatewayTimeout:
		return "That took too long"
	}
	return "This didn't work"
}

// troubleHeader is set by forms that put a part of the answer in their own place: a problem
// that concerns the whole page is shown in its #trouble, and what they would replace stays.
const troubleHeader = "Rowbell-Trouble"

// write sends a page, or the part of it that htmx asks for.
func (u *UI) write(w http.ResponseWriter, v *visit, p *page) {
	r := v.r
	part := r.Header.Get("HX-Request") == "true" && r.Header.Get("HX-Boosted") != "true"
	w.Header().Add("Vary", "HX-Request")
	if p.file != nil {
		w.Header().Set("Content-Type", p.file.kind)
		w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": p.file.name}))
		_, _ = w.Write(p.file.body) // the visitor has gone away: nobody to tell
		return
	}
	if p.to != "" {
		if part {
			w.Header().Set("HX-Redirect", u.url(p.to))
			w.WriteHeader(http.StatusNoContent)
			return
		}
		http.Redirect(w, r, u.url(p.to), http.StatusSeeOther)
		return
	}
	l := &layout{
		Title: p.title, Nav: p.nav, Path: r.URL.RequestURI(), Me: &v.me, Tenant: v.tenant, Done: doneTexts[v.query("done")], Embeds: embedded(r),
		Scripts: p.scripts, Problem: p.problem, Data: p.data, v: v,
	}
	if v.me.Tenant != nil {
		l.Tenant = *v.me.Tenant
	}
	l.CanPick = v.me.Any || len(v.me.Tenants) > 1
	name := "layout"
	if target := r.Header.Get("HX-Target"); part && u.templates.has(p.template, target) {
		name = target
	} else if part && p.problem != nil {
		name = "trouble"
		if r.Header.Get(troubleHeader) != "" {
			h := w.Header()
			h.Set("HX-Retarget", "#trouble")
			h.Set("HX-Reswap", "innerHTML show:top")
			h.Set("HX-Reselect", "[role=alert]")
		}
	}
	u.render(w, r, p.template, name, p.status, l)
}

// render writes one template of a page's.
func (u *UI) render(w http.ResponseWriter, r *http.Request, file, name string, status int, l *layout) {
	var b bytes.Buffer
	l.Env = u.cfg.Environment
	if err := u.templates.execute(&b, file, name, l); err != nil {
		u.cfg.Logger.ErrorContext(r.Context(), "a page can't be made", "template", file, "err", err)
		http.Error(w, "this page can't be made; the log of rowbell has more", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Add("Vary", "Accept-Encoding")
	body := b.Bytes()
	if squeezed(r, len(body)) {
		var small bytes.Buffer
		z := squeezers.Get().(*gzip.Writer) // nothing else is in it
		z.Reset(&small)
		_, _ = z.Write(body) // never fails
		_ = z.Close()
		squeezers.Put(z)
		h.Set("Content-Encoding", "gzip")
		body = small.Bytes()
	}
	if status != 0 {
		w.WriteHeader(status)
	}
	_, _ = w.Write(body) // the visitor has gone away: nobody to tell
}

// squeezers are kept, since each has a megabyte.
var squeezers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is right
	return z
}}

// leastSqueezed is from how many bytes on a page is compressed.
const leastSqueezed = 4000

// squeezed says that a page goes compressed. What answers a form doesn't: a secret may stand
// there, beside what was sent, and sizes could tell of it (BREACH).
func squeezed(r *http.Request, n int) bool {
	return r.Method == http.MethodGet && n >= leastSqueezed && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
}

// live passes the API's live stream on, for scripts: a browser's EventSource has no headers.
func (u *UI) live(w http.ResponseWriter, r *http.Request) {
	token := credential(r)
	if token == "" {
		http.Error(w, "sign in first", http.StatusUnauthorized)
		return
	}
	c := &caller{api: u.cfg.API, r: r, token: token, tenant: chosenTenant(r)}
	req, err := c.request(http.MethodGet, "/live", r.URL.Query(), nil)
	if err != nil {
		http.Error(w, "that can't be asked for", http.StatusBadRequest)
		return
	}
	u.cfg.API.ServeHTTP(w, req)
}

// doneTexts say what a form has done, on the page that follows.
var doneTexts = map[string]string{
	"activated":   "Turned on.",
	"deactivated": "Turned off. What was waiting is cancelled.",
	"deleted":     "Deleted.",
	"duplicated":  "Duplicated: this is the copy, and it is a draft.",
	"discarded":   "The draft is discarded.",
	"saved":       "Saved.",
	"retried":     "It is tried again.",
	"cancelled":   "Cancelled.",
	"mapped":      "This is your copy of the example, as a draft. Nothing happens until you turn it on.",
	"signedout":   "You are signed out.",
	"stopped":     "Ended: what was not run again yet won't be.",
	"enabled":     "Deliveries go there again.",
	"disabled":    "Nothing is sent there any more.",
	"restored":    "That version is the draft now. It counts when it is published.",
	"revoked":     "Revoked. It may work for some seconds more.",
	"removed":     "Taken away.",
	"paused":      "Paused. What comes meanwhile waits.",
	"resumed":     "What has waited goes now.",
	"released":    "Let go.",
	"dropped":     "Discarded: nothing of it is sent.",
	"dismissed":   "Dismissed. It comes back when another run fails like this.",
	"listed":      "It is listed again.",
	"kept":        "Saved: it stands above the list.",
}
