package pagestest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/examples"
	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// Each example can be taken from the gallery, edited, tried and reviewed, by forms alone: without
// a script too. A viewer sees what is there, and none of what changes it.
func TestGalleryWithoutScripts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.db.Exec(t, `drop table orders, invoices; `+examples.Shop)
	w.db.Exec(t, `insert into orders (tenant_id, customer_id, status, total) values ('acme', 1, 'new', 2500)`)
	w.capture("orders", "customers", "invoices")
	visitor := func(role access.Role) func(method, path string, form url.Values) (int, string, string) {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Jar: jar}
		t.Cleanup(client.CloseIdleConnections)
		ask := func(method, path string, form url.Values) (int, string, string) {
			t.Helper()
			req, err := http.NewRequestWithContext(t.Context(), method, w.base+path, strings.NewReader(form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			if method == http.MethodPost {
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			if strings.HasSuffix(req.URL.Path, "/evidence") {
				req.Header.Set("HX-Request", "true")
				req.Header.Set("HX-Target", "evidence")
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, resp.Request.URL.Path, string(body)
		}
		if status, _, body := ask("POST", "/signin", url.Values{"key": {w.key("acme", role)}}); status != http.StatusOK {
			t.Fatalf("signing in: %d %s", status, body)
		}
		return ask
	}
	made := ""
	for _, d := range examples.Documents() {
		if d.Name == "footer" {
			continue
		}
		admin := visitor(access.Admin) // another each time: one alone would ask too much at once
		status, _, body := admin("GET", "/gallery/"+d.Name, nil)
		if status != http.StatusOK || !strings.Contains(body, "Use this") {
			t.Errorf("%s: %d\n%s", d.Name, status, body)
			continue
		}
		form := url.Values{"name": {d.Name}, "url": {"https://example.com/hook"}}
		for _, table := range []string{"orders", "customers", "invoices"} {
			if strings.Contains(string(d.YAML), "entity_type: "+table) {
				form.Set("table", table)
			}
		}
		status, at, body := admin("POST", "/gallery/"+d.Name, form)
		if status != http.StatusOK || !strings.HasSuffix(at, "/edit") || !strings.Contains(body, "This is your copy") {
			t.Errorf("%s: %d at %s\n%s", d.Name, status, at, body)
			continue
		}
		made = path.Dir(at)
		for page, text := range map[string]string{"/edit": "How often", "/evidence": "What it would do", "/try": "Try it", "/publish": "Is it in order?", "": "Review and turn on"} {
			if status, _, body := admin("GET", made+page, nil); status != http.StatusOK || !strings.Contains(body, text) {
				t.Errorf("%s%s: %d\n%s", d.Name, page, status, body)
			}
		}
		// What the form's own document says is kept as the draft, and once only by who has seen it.
		_, _, body = admin("GET", made+"/edit", nil)
		sent := url.Values{"document": {attribute(body, "document")}, "etag": {attribute(body, "etag")}, "name": {"Renamed " + d.Name}}
		if status, at, body := admin("POST", made+"/edit", sent); status != http.StatusOK || !strings.Contains(body, "Saved.") || !strings.Contains(body, "Renamed "+d.Name) {
			t.Errorf("%s is not saved: %d at %s\n%s", d.Name, status, at, body)
		}
		if _, _, body := admin("POST", made+"/edit", sent); !strings.Contains(body, "Somebody else has changed this workflow meanwhile") {
			t.Errorf("%s: an old form overwrites a newer draft:\n%s", d.Name, body)
		}
	}
	if n := pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_definition where tenant_id = 'acme' and status = 'draft' and draft is not null`); n != 16 {
		t.Errorf("%d drafts were made", n)
	}
	// Recorded changes and rows of others are nobody's here.
	w.db.Exec(t, `insert into orders (tenant_id, customer_id, total) values ('globex', 4, 777)`)
	key := pgtest.One[int64](t, w.db, `select id from orders where total = 777`)
	if _, _, body := visitor(access.Admin)("GET", made+"/try?pick="+url.QueryEscape(fmt.Sprintf("row:orders|%d", key)), nil); strings.Contains(body, "777") {
		t.Error("another tenant's row is shown")
	}
	viewer := visitor(access.Viewer)
	for page, text := range map[string]string{"/gallery": "Finished workflows", made + "/try": "Try it", made + "/publish": "You may not turn it on", made: "until the draft is published"} {
		if status, _, body := viewer("GET", page, nil); status != http.StatusOK || !strings.Contains(body, text) || strings.Contains(body, `/edit"`) || strings.Contains(body, "Send to me only") {
			t.Errorf("a viewer at %s: %d\n%s", page, status, body)
		}
	}
	for _, page := range []string{made + "/edit", "/workflows/new", "/gallery/large-order"} {
		if status, _, body := viewer("GET", page, nil); status != http.StatusForbidden || !strings.Contains(body, "Not allowed") {
			t.Errorf("a viewer at %s: %d", page, status)
		}
	}
}

// attribute is the value of a form's hidden input.
func attribute(body, name string) string {
	_, rest, _ := strings.Cut(body, `name="`+name+`"`)
	_, rest, _ = strings.Cut(rest, `value="`)
	value, _, _ := strings.Cut(rest, `"`)
	return strings.NewReplacer("&#34;", `"`, "&#39;", "'", "&lt;", "<", "&gt;", ">", "&#43;", "+", "&amp;", "&").Replace(value)
}

// What an example compares with is chosen of what the visitor's rows have: the same in another
// case by itself, and what none of them has is said.
func TestGalleryValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.db.Exec(t, `create table sales (id bigint primary key, tenant_id text not null, stage text not null, kind text, total numeric);
		insert into sales select i, 'acme', (array['Approved', 'Draft', 'Sent'])[1 + i % 3], 'new', i from generate_series(1, 30) i; insert into sales values (99, 'globex', 'Theirs', 'new', 1)`)
	w.capture("sales")
	b := w.open(t, widths[0])
	b.signIn(w.key("acme", access.Admin))
	b.to("/gallery/order-at-risk")
	b.sees("What it compares with")
	value := func(name string) string {
		return eval[string](b, fmt.Sprintf(`(() => { const e = document.querySelector("[name='%s']"); return e.tagName + " " + e.value + (e.selectedOptions ? " " + e.selectedOptions[0].text : ""); })()`, name))
	}
	for name, want := range map[string]string{"value.0": "SELECT new new – none of your latest rows has this", "value.1": "SELECT Approved Approved", "value.2": "INPUT 2000"} {
		if got := value(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	b.sees("1 value that none of your latest rows has.")
	if text := eval[string](b, `document.querySelector("#map").innerText`); strings.Contains(text, "Theirs") {
		t.Errorf("another tenant's value is offered:\n%s", text)
	}
	b.accessible()
	b.pictured("gallery-values-1280")
	// Another column has other values, and what has the focus keeps it.
	b.fills("Status stands in", 0, "Kind")
	b.until("the values of the other column", func() bool { return value("value.0") == "SELECT new new" })
	b.settled() // what has come listens a moment later
	if has := eval[string](b, `document.activeElement.name ?? document.activeElement.tagName`); has != "column.status" {
		t.Errorf("behind it %s has the focus", has)
	}
	b.fills("Status stands in", 0, "Stage")
	b.until("the values of the first column", func() bool { return strings.Contains(value("value.0"), "none of your latest rows") })
	b.settled()
	b.fills("Status is one of", 0, "Draft")
	b.fills("Total is at least", 0, "12.50")
	b.press("Use this")
	b.sees("This is your copy of the example")
	got := pgtest.One[string](t, w.db, `select document -> 'conditions' -> 0 ->> 'condition_config' from rowbell.workflow_version order by version desc limit 1`)
	if want := `{"stage": {"in": ["Draft", "Approved"]}, "total": {"gte": 12.50}}`; got != want {
		t.Errorf("the condition is %s, want %s", got, want)
	}
	narrow := w.comes(t, widths[1], "bob", access.Publisher, "/gallery/order-at-risk")
	narrow.sees("What it compares with")
	narrow.looked("gallery-values-390")
}
