package ui

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
)

// The pages of people who are told something: their inbox, and what they want to be told. They
// come by a link of the host application, which shows these pages in its own.
var inboxRoutes = []route{
	{"GET /inbox", "", showInbox},
	{"POST /inbox/mark", "", markInbox},
	{"GET /preferences", "", showPreferences},
	{"POST /preferences", "", setPreference},
	{"POST /preferences/quiet", "", addQuietHours},
	{"POST /preferences/quiet/clear", "", clearQuietHours},
}

// inboxData is a page of somebody's inbox.
type inboxData struct {
	Show  string // "", unread or archived
	Items []store.InboxEntry
	Count store.InboxCounts
	More  string
}

// person refuses who is no person here: a key has no inbox.
func (v *visit) person() error {
	if v.me.Kind == access.KindLink {
		return nil
	}
	return &api.Problem{
		Status: http.StatusForbidden, Detail: "this is for people who come by a link of their application, and you have come by a " + cameBy(v.me.Kind),
		Mend: "open it from the application that shows this page",
	}
}

// cameBy is how a visitor has shown who they are.
func cameBy(k access.Kind) string {
	if k == access.KindKey {
		return "key"
	}
	return "sign-in of the company's"
}

func showInbox(v *visit) (*page, error) {
	if err := v.person(); err != nil {
		return nil, err
	}
	d := &inboxData{Show: v.query("show")}
	q := v.pass("cursor")
	switch d.Show {
	case "unread":
		q.Set("unread", "true")
	case "archived":
		q.Set("archived", "true")
	default:
		d.Show = ""
	}
	q.Set("limit", "30")
	var list api.LogPage[store.InboxEntry]
	if err := v.get("/people/me/inbox", q, &list); err != nil {
		return nil, err
	}
	d.Items, d.More = list.Items, v.more(list.Next)
	if unseen := unseen(d.Items); len(unseen) > 0 && v.r.Header.Get("HX-Request") == "" {
		if err := v.mark("seen", unseen); err != nil {
			return nil, err
		}
	}
	if err := v.get("/people/me/inbox/counts", nil, &d.Count); err != nil {
		return nil, err
	}
	return &page{template: "inbox", title: "Inbox", nav: "inbox", data: d, scripts: []string{"inbox-page.js"}}, nil
}

func unseen(list []store.InboxEntry) (ids []string) {
	for _, e := range list {
		if e.SeenAt == nil {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// mark marks notifications; none: all in the inbox.
func (v *visit) mark(as string, ids []string) error {
	body := map[string]any{"mark": as}
	if len(ids) > 0 {
		body["ids"] = ids
	}
	return v.call(http.MethodPost, "/people/me/inbox/mark", nil, body, nil)
}

func markInbox(v *visit) (*page, error) {
	if err := v.person(); err != nil {
		return nil, err
	}
	as := v.form("mark")
	if !slices.Contains([]string{"read", "unread", "archived", "unarchived"}, as) {
		return nil, &api.Problem{Status: http.StatusUnprocessableEntity, Detail: "that can't be done with a notification"}
	}
	var ids []string
	if id := v.form("id"); id != "" {
		ids = []string{id}
	}
	if err := v.mark(as, ids); err != nil {
		return nil, err
	}
	return redirect("/inbox?show="+url.QueryEscape(v.form("show")), ""), nil
}

// channels are those through which people are told, in words.
var channels = []choice{{"notification", "In this inbox"}, {"email", "By e-mail"}, {"chat", "By chat"}, {"message", "By message"}}

// preferencesData is what somebody wants.
type preferencesData struct {
	Channels []channelData
	Single   []api.PreferenceOut // of one workflow
	Quiet    []api.QuietOut
	Zones    []string
}

type channelData struct {
	choice
	Wanted bool
}

func showPreferences(v *visit) (*page, error) {
	if err := v.person(); err != nil {
		return nil, err
	}
	var all api.PreferencesOut
	if err := v.get("/people/me/preferences", nil, &all); err != nil {
		return nil, err
	}
	d := &preferencesData{Quiet: all.QuietHours}
	off := func(channel string) bool {
		return slices.ContainsFunc(all.Preferences, func(p api.PreferenceOut) bool {
			return p.WorkflowID == "" && p.Channel == channel && !p.Wanted
		})
	}
	for _, c := range channels {
		d.Channels = append(d.Channels, channelData{c, !off(c.Value)})
	}
	for _, p := range all.Preferences {
		if p.WorkflowID != "" {
			d.Single = append(d.Single, p)
		}
	}
	return &page{template: "preferences", title: "What you are told", nav: "inbox", data: d, scripts: []string{"inbox-page.js"}}, nil
}

func setPreference(v *visit) (*page, error) {
	if err := v.person(); err != nil {
		return nil, err
	}
	body := map[string]any{"channel": v.form("channel")}
	if w := v.form("workflow_id"); w != "" {
		body["workflow_id"] = w
	}
	switch v.form("wanted") {
	case "yes":
		body["wanted"] = true
	case "no":
		body["wanted"] = false
	default: // as if nothing had been said
		body["wanted"] = nil
	}
	if err := v.call(http.MethodPut, "/people/me/preferences", nil, body, nil); err != nil {
		return nil, err
	}
	return redirect("/preferences", "saved"), nil
}

func addQuietHours(v *visit) (*page, error) {
	if err := v.person(); err != nil {
		return nil, err
	}
	body := map[string]any{"from": v.form("from"), "to": v.form("to"), "zone": v.form("zone")}
	if err := v.r.ParseForm(); err != nil {
		return nil, &api.Problem{Status: http.StatusBadRequest, Detail: "the form can't be read"}
	}
	if days := v.r.PostForm["day"]; len(days) > 0 {
		body["days"] = days
	}
	if err := v.call(http.MethodPost, "/people/me/quiet-hours", nil, body, nil); err != nil {
		return nil, err
	}
	return redirect("/preferences", "saved"), nil
}

func clearQuietHours(v *visit) (*page, error) {
	if err := v.person(); err != nil {
		return nil, err
	}
	if err := v.call(http.MethodDelete, "/people/me/quiet-hours", nil, nil, nil); err != nil {
		return nil, err
	}
	return redirect("/preferences", "saved"), nil
}

// countStream tells a bell how many notifications are not read, as server-sent events: at
// once, and whenever that changes. It ends after a while; browsers come again.
func (u *UI) countStream(w http.ResponseWriter, r *http.Request) {
	const long, every = 4 * time.Minute, 3 * time.Second
	token := credential(r)
	if token == "" {
		http.Error(w, "sign in first", http.StatusUnauthorized)
		return
	}
	c := &caller{api: u.cfg.API, r: r, token: token}
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	last := -1
	tick := time.NewTicker(every)
	defer tick.Stop()
	for end := time.Now().Add(long); time.Now().Before(end); {
		var n store.InboxCounts
		if err := c.get("/people/me/inbox/counts", nil, &n); err != nil {
			if last < 0 {
				http.Error(w, problemOf(err).Detail, problemOf(err).Status)
			}
			return
		}
		_ = out.SetWriteDeadline(time.Now().Add(every * 3)) // where there is one
		line := ": still here\n\n"
		if n.Unread != last {
			last = n.Unread
			line = "event: unread\ndata: " + strconv.Itoa(last) + "\n\n"
		}
		if _, err := w.Write([]byte(line)); err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// element serves the script by which a host application shows the inbox in its pages. Its
// address stays, so it is not kept for long.
func (u *UI) element(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("Access-Control-Allow-Origin", "*")            // there is nothing of anybody in it
	_, _ = w.Write(u.assets.all["rowbell-inbox.js"].raw) // the visitor has gone away: nobody to tell
}
