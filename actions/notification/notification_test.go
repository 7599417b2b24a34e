package notification_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/actions/notification"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const data = `{"new": {"id": 7, "total": 19.90, "big": 9007199254740993, "note": null, "name": "a\nb\u0001  c", "url": "javascript:alert(1)", "empty": ""},
	"old": {"id": 7, "total": 5.00}, "changed": ["total", "name"], "unavailable": [], "actor": {"id": "ada", "roles": ["clerk"]}}`

func delivery(id string) *actions.Delivery {
	return &actions.Delivery{
		ID: id, Attempt: 1, Recipient: "ann", Person: &workflow.Person{ID: "ann", Name: "Ann Lee"},
		Event: &workflow.Event{
			ID: "01JEVENT", Table: "orders", Op: change.Update, TenantID: "of-the-row",
			CommittedAt: time.Date(2026, 11, 5, 9, 7, 3, 0, time.UTC), Data: []byte(data),
		},
		Workflow: actions.Workflow{ID: "wf", Name: "Big orders", Version: 3, TenantID: "acme"},
	}
}

// texts is an action_config without translations.
type texts struct {
	Title string `json:"title"`
	Body  string `json:"body"`
	Link  string `json:"link"`
}

func config(t *testing.T, c texts) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A world is a state database, and its inbox.
type world struct {
	db   *pgtest.Database
	kind *actions.Kind
}

func newWorld(t *testing.T) world {
	t.Helper()
	db := pgtest.DB(t)
	if err := store.Migrate(t.Context(), db.URL, db.URL); err != nil {
		t.Fatal(err)
	}
	return world{db, notification.Kind(store.OpenState(db.Pool(t)))}
}

func (w world) runner(t *testing.T, c texts) actions.Runner {
	t.Helper()
	r, err := w.kind.Parse(config(t, c), actions.Texts{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type row struct {
	Tenant          *string
	Recipient       string
	Title, Body     string
	Link            *string
	CreatedAt, Read *time.Time
}

func (w world) inbox(t *testing.T, deliveryID string) []row {
	t.Helper()
	rows, err := w.db.Conn(t).Query(t.Context(), `select tenant_id, recipient_id, title, body, link, created_at, read_at from rowbell.notification where delivery_id = $1`, deliveryID)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var list []row
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.Tenant, &r.Recipient, &r.Title, &r.Body, &r.Link, &r.CreatedAt, &r.Read); err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestKind(t *testing.T) {
	t.Parallel()
	k := notification.Kind(nil)
	if k.Name != "notification" || k.Title == "" || k.Help == "" || !k.Recipients || len(k.Retry) != len(actions.Messages) {
		t.Errorf("the kind is %+v", k)
	}
	var schema struct {
		Properties map[string]struct{ Title, Description string }
		Required   []string
	}
	if err := json.Unmarshal([]byte(k.Schema), &schema); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"title", "body", "link"} {
		if p := schema.Properties[key]; p.Title == "" || p.Description == "" {
			t.Errorf("the schema says of %s: %+v", key, p)
		}
	}
	r, err := k.Parse(json.RawMessage(`{"title": "x"}`), actions.Texts{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Destination() != "" || len(r.Secrets()) != 0 {
		t.Errorf("destination %q, secrets %q", r.Destination(), r.Secrets())
	}
}

// However often, and by however many, a delivery is one row, and the first stays.
func TestOneRowForADelivery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.runner(t, texts{
		Title: "Order {{ new.id }}: {{ old.total }} to {{ new.total }} EUR",
		Body:  "{{ actor.id }} changed {{ changed | join: ', ' }}.\n{{ new.big }} {{ new.note }}|{{ event.table }} {{ event.operation }} {{ event.id }} {{ event.tenant_id }} {{ event.committed_at }}|{{ workflow.id }} {{ workflow.name }} {{ workflow.version }}|{{ recipient.id }}",
		Link:  "/orders/{{ new.id }}",
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if res, err := r.Run(t.Context(), delivery("d1")); err != nil || res != (actions.Result{}) {
				t.Errorf("Run = %+v, %v", res, err)
			}
		})
	}
	wg.Wait()
	other := w.runner(t, texts{Title: "something else"})
	later := delivery("d1")
	later.Attempt = 2
	if _, err := other.Run(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	got := w.inbox(t, "d1")
	if len(got) != 1 {
		t.Fatalf("%d rows", len(got))
	}
	n := got[0]
	if n.Tenant == nil || *n.Tenant != "acme" || n.Recipient != "ann" || n.Link == nil || *n.Link != "/orders/7" || n.CreatedAt == nil || n.Read != nil {
		t.Errorf("the row is %+v", n)
	}
	if want := "Order 7: 5.00 to 19.90 EUR"; n.Title != want {
		t.Errorf("title %q, want %q", n.Title, want)
	}
	if want := "ada changed total, name.\n9007199254740993 |orders update 01JEVENT of-the-row 2026-11-05T09:07:03Z|wf Big orders 3|ann"; n.Body != want {
		t.Errorf("body  %q\nwant  %q", n.Body, want)
	}
	if _, err := r.Run(t.Context(), delivery("d2")); err != nil || len(w.inbox(t, "d2")) != 1 {
		t.Errorf("another delivery: %v, %d rows", err, len(w.inbox(t, "d2")))
	}
}

// An operators' workflow has no tenant, whosever the row is; what isn't set is NULL or ”.
func TestOfOperators(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := delivery("d1")
	d.Workflow.TenantID = ""
	if _, err := w.runner(t, texts{Title: "x"}).Run(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got := w.inbox(t, "d1"); len(got) != 1 || got[0].Tenant != nil || got[0].Body != "" || got[0].Link != nil {
		t.Errorf("the rows are %+v", got)
	}
}

func TestShapes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := strings.Repeat("ü", 12_000)
	for name, c := range map[string]struct {
		config            texts
		title, body, link string
	}{
		"one line":        {texts{Title: " {{ new.name }}\r\n\u2028x\t"}, "a b c x", "", ""},
		"controls":        {texts{Title: "t", Body: "\n a\x01\r\nb\tc\u0085 \n"}, "t", "a\nb\tc", ""},
		"200 characters":  {texts{Title: long[:400]}, long[:400], "", ""},
		"cut":             {texts{Title: long[:402], Body: long}, long[:398] + "…", long[:19_998] + "…", ""},
		"10,000":          {texts{Title: "t", Body: long[:20_000]}, "t", long[:20_000], ""},
		"default":         {texts{Title: "{{ new.note | default: 'none' }}"}, "none", "", ""},
		"https":           {texts{Title: "t", Link: " https://example.com/a?b={{ 'c d&' | url_encode }}#e\n"}, "t", "", "https://example.com/a?b=c+d%26#e"},
		"http":            {texts{Title: "t", Link: "HTTP://10.0.0.1:8080"}, "t", "", "HTTP://10.0.0.1:8080"},
		"path":            {texts{Title: "t", Link: "/"}, "t", "", "/"},
		"path and colon":  {texts{Title: "t", Link: "/a:b/c d?e=/f//g"}, "t", "", "/a:b/c d?e=/f//g"},
		"link to nothing": {texts{Title: "t", Link: "{{ new.note }}"}, "t", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := w.runner(t, c.config).Run(t.Context(), delivery(name)); err != nil {
				t.Fatal(err)
			}
			n := w.inbox(t, name)[0]
			link := ""
			if n.Link != nil {
				link = *n.Link
			}
			if n.Title != c.title || n.Body != c.body || link != c.link {
				t.Errorf("%d characters of title, %d of body: %.300q, %.300q, %q", utf8.RuneCountInString(n.Title), utf8.RuneCountInString(n.Body), n.Title, n.Body, link)
			}
		})
	}
}

// What the event makes of a template is the same at each attempt: such errors are final.
func TestPermanentErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		config texts
		want   string
	}{
		"empty title":         {texts{Title: "{{ new.note }}"}, "title: the template gives nothing for this event; give its variables a default"},
		"blank title":         {texts{Title: " \n\x01{{ new.empty }}"}, "title: the template gives nothing"},
		"title fails":         {texts{Title: "{{ 1 | divided_by: 0 }}"}, "title: line 1: divided_by: division by zero"},
		"body fails":          {texts{Title: "t", Body: "\n{{ 'a' | truncate: 'b' }}"}, "body: line 2: truncate: "},
		"link fails":          {texts{Title: "t", Link: "{{ 1 | modulo: 0 }}"}, "link: line 1: modulo: "},
		"javascript":          {texts{Title: "t", Link: "{{ new.url }}"}, `link: "javascript:alert(1)" is neither a path nor a page; write a path that starts with one /, or an https or http URL`},
		"data":                {texts{Title: "t", Link: "data:text/html,x"}, "is neither a path nor a page"},
		"relative":            {texts{Title: "t", Link: "orders/7"}, "is neither a path nor a page"},
		"other host":          {texts{Title: "t", Link: "//evil.example"}, `link: "//evil.example" leads to another host`},
		"backslash":           {texts{Title: "t", Link: `/\evil.example`}, `has a \, which browsers take for a /`},
		"newline":             {texts{Title: "t", Link: "/a{{ new.name }}"}, `link: "/aa\nb\x01  c" has control characters; put the filter url_encode`},
		"tab":                 {texts{Title: "t", Link: "/\t/evil.example"}, "has control characters"},
		"no host":             {texts{Title: "t", Link: "https:///x"}, `"https:///x" names no host`},
		"opaque":              {texts{Title: "t", Link: "https:evil.example"}, "names no host"},
		"not a URL":           {texts{Title: "t", Link: "http://[::1/x"}, "is no URL"},
		"password":            {texts{Title: "t", Link: "https://ann:hunter2@example.com/"}, "link: it holds a user name or a password"},
		"password in a wrong": {texts{Title: "t", Link: "ftp://ann:hunter2@example.com/"}, "link: it is neither a path nor a page"},
		"long link":           {texts{Title: "t", Link: "/" + strings.Repeat("a", 2048)}, "link: it has more than 2048 characters"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.runner(t, c.config).Run(t.Context(), delivery(name))
			var how *actions.Error
			if !errors.As(err, &how) || !how.Permanent || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Run gives %v\nwant %s", err, c.want)
			}
			if n := len(w.inbox(t, name)); n != 0 {
				t.Errorf("%d rows", n)
			}
		})
	}
	broken := delivery("broken")
	broken.Event.Data = []byte(`{"new": `)
	var how *actions.Error
	if _, err := w.runner(t, texts{Title: "t"}).Run(t.Context(), broken); !errors.As(err, &how) || !how.Permanent || !strings.Contains(err.Error(), "01JEVENT") {
		t.Errorf("broken data gives %v", err)
	}
}

func TestRetryableErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.runner(t, texts{Title: "t"})
	w.db.Exec(t, `alter table rowbell.notification rename to elsewhere`)
	var how *actions.Error
	if _, err := r.Run(t.Context(), delivery("d1")); err == nil || errors.As(err, &how) || !strings.Contains(err.Error(), "inbox") {
		t.Errorf("without the table: %v", err)
	}
	w.db.Exec(t, `alter table rowbell.elsewhere rename to notification`)
	if _, err := r.Run(t.Context(), delivery("d1")); err != nil || len(w.inbox(t, "d1")) != 1 {
		t.Errorf("and with it again: %v", err)
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{}`:                         "title: it is empty; say in one line what happened",
		`{"title": " \n"}`:           "title: it is empty",
		`{"title": "{% cycle x %}"}`: `title: line 1: the tag "cycle" is not allowed`,
		`{"title": "t", "body": "\n{{ a | nope }}"}`:    `body: line 2: the filter "nope" is unknown`,
		`{"title": "{{", "link": "{% include 'x' %}"}`:  `link: line 1: the tag "include" is not allowed`,
		`{"title": "{{", "link": "{% include 'x'  %}"}`: `title: line 1: }} is missing`,
		`{"title": 1}`: "action_config: ",
		`[]`:           "action_config: ",
	} {
		if _, err := notification.Kind(nil).Parse(json.RawMessage(config), actions.Texts{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives %v, want %s", config, err, want)
		}
	}
}
