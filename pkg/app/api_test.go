package app_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// client asks a worker's API with one key.
type client struct {
	t    testing.TB
	base string
	key  string
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask sends a request, again if there were too many. body is JSON unless it is a string,
// which is YAML. Request and answer must be as the document has them.
func (c *client) ask(method, path string, body any, headers ...string) *answer {
	c.t.Helper()
	for {
		a := c.askOnce(method, path, body, headers...)
		if a.status != http.StatusTooManyRequests {
			return a
		}
		time.Sleep(time.Second)
	}
}

func (c *client) askOnce(method, path string, body any, headers ...string) *answer {
	c.t.Helper()
	var sent []byte
	kind := ""
	switch b := body.(type) {
	case nil:
	case string:
		sent, kind = []byte(b), "application/yaml"
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		sent, kind = raw, "application/json"
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, bytes.NewReader(sent))
	if err != nil {
		c.t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	if resp.Header.Get("Content-Type") != "text/event-stream" { // it has no end
		if a.body, err = io.ReadAll(resp.Body); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := contractOf(c.t, c.base).check(req, sent, a); err != nil {
		c.t.Errorf("%s %s: %v\n%s", method, path, err, a.body)
	}
	return a
}

// want fails unless the answer has the status, and reads its body into to.
func (c *client) want(status int, a *answer, to any) *answer {
	c.t.Helper()
	if a.status != status {
		c.t.Fatalf("it is answered by %d, want %d: %s", a.status, status, a.body)
	}
	if to != nil {
		if err := json.Unmarshal(a.body, to); err != nil {
			c.t.Fatalf("%v: %s", err, a.body)
		}
	}
	return a
}

// apiWorld is a worker whose API is served.
type apiWorld struct {
	db     *pgtest.Database
	worker *worker
	o      *app.Operator
	base   string
}

func newAPIWorld(t *testing.T, change ...func(*app.Config)) *apiWorld {
	t.Helper()
	return newLoggedAPIWorld(t, testLogger(t), change...)
}

func newLoggedAPIWorld(t *testing.T, log *slog.Logger, change ...func(*app.Config)) *apiWorld {
	t.Helper()
	db := migrated(t)
	db.Exec(t, shop)
	return newAPIWorldOn(t, db, log, change...)
}

func newAPIWorldOn(t *testing.T, db *pgtest.Database, log *slog.Logger, change ...func(*app.Config)) *apiWorld {
	t.Helper()
	w := &apiWorld{db: db, worker: startLogged(t, db, log, change...)}
	w.worker.holds(t)
	w.base = "http://" + w.worker.PublicAddr().String() + "/api/v1"
	o, err := app.NewOperator(config(db, change...), testLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	w.o = o
	return w
}

// as makes a key with a role for a tenant ("" = all), and a client with it.
func (w *apiWorld) as(t testing.TB, tenant string, role access.Role, rights ...access.Right) *client {
	t.Helper()
	n := access.NewKey{Name: fmt.Sprint(tenant, " ", role), Roles: []access.Role{role}, Rights: rights}
	if tenant != "" {
		n.TenantID = &tenant
	}
	_, text, err := w.o.Access().CreateKey(t.Context(), n, "test")
	if err != nil {
		t.Fatal(err)
	}
	return &client{t, w.base, text}
}

// An administrator of a tenant writes a workflow, turns it on, a row changes, and the log
// says what became of it: by HTTP alone.
func TestAPIMainPath(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t)
	acme := w.as(t, "acme", access.Admin)

	var me struct {
		ID     string
		Tenant *string
		Rights []string
	}
	acme.want(200, acme.ask("GET", "/me", nil), &me)
	if me.Tenant == nil || *me.Tenant != "acme" || !slices.Contains(me.Rights, "workflow.publish") || slices.Contains(me.Rights, "secret.reveal") {
		t.Errorf("me is %+v", me)
	}

	var made struct {
		ID, Status, Sentence string
		TenantID             *string `json:"tenant_id"`
		Version              int32
	}
	a := acme.want(201, acme.ask("POST", "/workflows", map[string]any{
		"id": "big", "name": "Big order",
		"triggers": []any{map[string]any{"entity_type": "orders", "operation": "create", "field_conditions": map[string]any{"total": map[string]any{"gt": 1000}}}},
		"actions":  []any{map[string]any{"action_type": "notification", "action_config": map[string]any{"title": "Order {{ new.id }}"}}},
		"recipients": []any{
			map[string]any{"recipient_type": "user", "recipient_id": "ann"},
		},
	}), &made)
	if made.ID != "big" || made.Status != "draft" || made.TenantID == nil || *made.TenantID != "acme" || made.Version != 1 || !strings.Contains(made.Sentence, "order") {
		t.Errorf("made is %+v", made)
	}
	if got := a.header.Get("Location"); got != "/api/v1/workflows/big" {
		t.Errorf("Location is %q", got)
	}
	// An id is anybody's text, and a header is none.
	odd := acme.want(201, acme.ask("POST", "/workflows", map[string]any{"id": "\x1b[31mred/?", "name": "Odd"}), nil)
	if got := odd.header.Get("Location"); got != "/api/v1/workflows/%1B%5B31mred%2F%3F" {
		t.Errorf("Location is %q", got)
	}
	acme.want(204, acme.ask("DELETE", strings.TrimPrefix(odd.header.Get("Location"), "/api/v1"), nil, "If-Match", odd.header.Get("ETag")), nil)
	acme.want(200, acme.ask("POST", "/workflows/big/activate", nil), nil)
	captured(t, w.db)
	w.db.Exec(t, `insert into orders (tenant_id, total) values ('acme', 1500), ('acme', 5), ('globex', 9000)`)
	settled(t, w.db, "success 1")

	var list struct {
		Items []struct {
			ID, Status string
			RowKey     string `json:"row_key"`
		}
	}
	acme.want(200, acme.ask("GET", "/executions?workflow_id=big&status=success", nil), &list)
	if len(list.Items) != 1 || list.Items[0].RowKey != "1" {
		t.Fatalf("executions are %+v", list)
	}
	var x struct {
		Deliveries []struct {
			ID, Status, Recipient string
			Tries                 []any
		}
	}
	acme.want(200, acme.ask("GET", "/executions/"+list.Items[0].ID, nil), &x)
	if len(x.Deliveries) != 1 || x.Deliveries[0].Recipient != "ann" || x.Deliveries[0].Status != "succeeded" {
		t.Errorf("deliveries are %+v", x)
	}
	var inbox struct{ Items []struct{ Title string } }
	acme.want(200, acme.ask("GET", "/people/ann/inbox", nil), &inbox)
	if len(inbox.Items) != 1 || inbox.Items[0].Title != "Order 1" {
		t.Errorf("the inbox has %+v", inbox)
	}
	var audit struct {
		Items []struct{ Action, Actor, Via string }
	}
	acme.want(200, acme.ask("GET", "/audit?object_id=big", nil), &audit)
	var acts []string
	for _, e := range audit.Items {
		acts = append(acts, e.Action+" "+e.Via)
		if e.Actor != me.ID {
			t.Errorf("%s is by %s, want %s", e.Action, e.Actor, me.ID)
		}
	}
	if want := []string{"workflow.activate api", "workflow.create api"}; !slices.Equal(acts, want) {
		t.Errorf("acts are %q, want %q", acts, want)
	}
	other := w.as(t, "globex", access.Admin)
	other.want(404, other.ask("GET", "/workflows/big", nil), nil)
	other.want(404, other.ask("GET", "/executions/"+list.Items[0].ID, nil), nil)
}

// An edit for a state that is no more changes nothing, a request that is sent again does
// nothing twice, and what is wrong says where.
func TestAPIEdits(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t)
	ann := w.as(t, "acme", access.Author)
	const doc = "name: Note\ntriggers:\n  - entity_type: orders\n    operation: create\nactions:\n  - action_type: log\n"

	first := ann.want(201, ann.ask("POST", "/workflows", doc, "Idempotency-Key", "one"), nil)
	again := ann.want(201, ann.ask("POST", "/workflows", doc, "Idempotency-Key", "one"), nil)
	if !bytes.Equal(first.body, again.body) || again.header.Get("Idempotency-Replayed") != "true" || again.header.Get("Location") != first.header.Get("Location") {
		t.Errorf("again it is answered by %s, %v", again.body, again.header)
	}
	ann.want(422, ann.ask("POST", "/workflows", doc+"description: other\n", "Idempotency-Key", "one"), nil)
	// As if the worker had been killed in the midst of it.
	w.db.Exec(t, `update rowbell.api_request set status = null where key = 'one'`)
	if a := ann.want(409, ann.ask("POST", "/workflows", doc, "Idempotency-Key", "one"), nil); !strings.Contains(string(a.body), "is just being done") {
		t.Errorf("while it is done it is answered %s", a.body)
	}
	w.db.Exec(t, `update rowbell.api_request set lease_until = now() where key = 'one'`)
	if a := ann.want(409, ann.ask("POST", "/workflows", doc, "Idempotency-Key", "one"), nil); !strings.Contains(string(a.body), "may have been done or not") {
		t.Errorf("after it was cut off it is answered %s", a.body)
	}
	if n := pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_definition`); n != 1 {
		t.Errorf("%d workflows", n)
	}
	w.db.Exec(t, `update rowbell.api_request set created_at = now() - interval '25 hours' where key = 'one'`)
	ann.want(201, ann.ask("POST", "/workflows", doc, "Idempotency-Key", "one"), nil) // the day is over
	path := strings.TrimPrefix(first.header.Get("Location"), "/api/v1")
	tag := first.header.Get("ETag")
	changed := ann.want(200, ann.ask("PUT", path+"/draft", doc+"description: mine\n", "If-Match", tag), nil)
	if changed.header.Get("ETag") == tag {
		t.Error("the ETag stays")
	}
	ann.want(412, ann.ask("PUT", path+"/draft", doc, "If-Match", tag), nil)

	var p struct {
		Errors []struct{ Pointer, Detail string }
	}
	ann.want(422, ann.ask("PUT", path+"/draft", map[string]any{"triggers": []any{map[string]any{"entity_typ": "orders", "operation": "creat"}}}), &p)
	var got []string
	for _, e := range p.Errors {
		got = append(got, e.Pointer)
	}
	if want := []string{"#/triggers/0/entity_typ", "#/triggers/0", "#/triggers/0/operation"}; !slices.Equal(got, want) {
		t.Errorf("pointers are %q, want %q: %+v", got, want, p)
	}
	ann.want(403, ann.ask("POST", path+"/activate", nil), nil)
	if n := pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_definition where status = 'active'`); n != 0 {
		t.Error("an author has turned it on")
	}
}

// What the database can't take is the request's mistake, and not the server's.
func TestAPIOddValues(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t)
	c := w.as(t, "acme", access.Admin)
	c.want(201, c.ask("POST", "/workflows", map[string]any{
		"id": "odd", "name": "Odd", "status": "active", "triggers": []any{map[string]any{"entity_type": "orders", "operation": "create"}}, "actions": []any{map[string]any{"action_type": "log"}},
	}), nil)
	captured(t, w.db)
	c.want(201, c.ask("POST", "/workflows/odd/duplicate", map[string]any{"id": "gone"}), nil)
	c.want(204, c.ask("DELETE", "/workflows/gone", nil), nil)
	for _, call := range []call{
		{"", "GET", "/workflows/a%00b", nil, 422},
		{"", "GET", "/workflows?table=%FF%FE", nil, 422},
		{"", "GET", "/audit?object_id=a%00b", nil, 422},
		{"", "GET", "/templates/a%00b", nil, 422},
		{"", "DELETE", "/templates/t?locale=a%00b", nil, 422},
		{"", "GET", "/workflows/odd/diff?to=live", nil, 422},
		{"", "POST", "/replays/plan", map[string]any{"since": "0001-01-01T00:00:00Z"}, 422},
		{"", "POST", "/workflows/odd/simulate", map[string]any{"table": "orders", "key": "-1h"}, 422},
		{"", "POST", "/workflows/odd/simulate", map[string]any{"domain": "paid", "new": map[string]any{}, "old": map[string]any{}}, 422},
		{"", "POST", "/workflows/gone/simulate", map[string]any{"domain": "paid", "new": map[string]any{}}, 404},
	} {
		if a := c.ask(call.method, call.path, call.body); a.status != call.status {
			t.Errorf("%s %s is answered by %d, want %d: %s", call.method, call.path, a.status, call.status, a.body)
		}
	}
}

// While the database is away a request is answered soon, by a status that says to come
// again; then it is as before.
func TestAPIWithoutDatabase(t *testing.T) {
	t.Parallel()
	var proxy *pgtest.TCPProxy
	w := newAPIWorld(t, func(c *app.Config) {
		if proxy == nil { // the operator's connection stays
			proxy, c.SourceURL = pgtest.ProxyURL(t, c.SourceURL)
		}
	})
	c := w.as(t, "", access.Admin)
	c.want(200, c.ask("GET", "/workflows", nil), nil)
	proxy.Refuse()
	begun := time.Now()
	a := c.ask("GET", "/workflows", nil)
	var p struct{ Mend string }
	c.want(http.StatusServiceUnavailable, a, &p)
	if a.header.Get("Retry-After") == "" || p.Mend == "" {
		t.Errorf("Retry-After is %q: %s", a.header.Get("Retry-After"), a.body)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	proxy.Resume()
	pgtest.Eventually(t, pgtest.Patience, "the database to be back", func() bool { return c.ask("GET", "/workflows", nil).status == 200 })
}

// What takes the database too long is no mistake of the server's: it says to ask for less.
func TestAPITakesTooLong(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t)
	c := w.as(t, "", access.Admin)
	held := pgtest.Connect(t, w.db.URL)
	if _, err := held.Exec(t.Context(), `begin; lock table rowbell.workflow_definition in access exclusive mode`); err != nil {
		t.Fatal(err)
	}
	answered := make(chan *answer, 1)
	go func() { answered <- c.ask("GET", "/workflows", nil) }()
	// The server ends it as if its time were over.
	pgtest.Eventually(t, 20*time.Second, "the request's statement to be ended", func() bool {
		return pgtest.One[bool](t, w.db, `select coalesce(bool_or(pg_cancel_backend(pid)), false) from pg_stat_activity
			where datname = current_database() and application_name like '%/api' and wait_event_type = 'Lock'`)
	})
	var p struct{ Detail, Mend string }
	c.want(http.StatusGatewayTimeout, <-answered, &p)
	if !strings.Contains(p.Detail, "too long") || !strings.Contains(p.Mend, "ask for less") {
		t.Errorf("it is answered by %+v", p)
	}
	if _, err := held.Exec(t.Context(), `rollback`); err != nil {
		t.Fatal(err)
	}
	c.want(200, c.ask("GET", "/workflows", nil), nil)
}

// A tenant's reader of the live stream is told of its executions as they end, of no other
// tenant's, and on coming again of what it has missed.
func TestAPILive(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t)
	for _, tenant := range []string{"acme", "globex"} {
		w.as(t, tenant, access.Admin).want(201, w.as(t, tenant, access.Admin).ask("POST", "/workflows", map[string]any{
			"id": "all-" + tenant, "name": "All of " + tenant, "status": "active",
			"triggers": []any{map[string]any{"entity_type": "orders", "operation": "create"}},
			"actions":  []any{map[string]any{"action_type": "log"}},
		}), nil)
	}
	captured(t, w.db)
	acme := w.as(t, "acme", access.Viewer)
	if a := acme.ask("GET", "/live?workflow_id=all-globex", nil); a.status != http.StatusNotFound {
		t.Errorf("another tenant's workflow is answered by %d: %s", a.status, a.body)
	}
	if a := acme.ask("GET", "/live?tenant=globex", nil); a.status != http.StatusNotFound {
		t.Errorf("another tenant is answered by %d: %s", a.status, a.body)
	}
	if a := acme.ask("GET", "/live?type=nothing", nil); a.status != http.StatusUnprocessableEntity {
		t.Errorf("a type that there isn't is answered by %d: %s", a.status, a.body)
	}
	reader := acme.stream("/live?type=execution", "")
	insert := func(n int) {
		w.db.Exec(t, `insert into orders (tenant_id, total) select t, $1 from unnest('{acme,globex}'::text[]) t`, n)
	}
	insert(1)
	type told struct {
		ID        string
		Execution struct {
			TenantID   string `json:"tenant_id"`
			WorkflowID string `json:"workflow_id"`
			RowKey     string `json:"row_key"`
			Status     string
		}
	}
	next := func(of *bufio.Scanner) told {
		t.Helper()
		for of.Scan() {
			if data, ok := strings.CutPrefix(of.Text(), "data: "); ok {
				var e told
				if err := json.Unmarshal([]byte(data), &e); err != nil {
					t.Fatalf("%v: %s", err, data)
				}
				return e
			}
		}
		t.Fatalf("the stream has ended: %v", of.Err())
		return told{}
	}
	first := next(reader)
	if e := first.Execution; e.WorkflowID != "all-acme" || e.Status != "success" || e.RowKey == "" {
		t.Errorf("told is %+v", first)
	}
	insert(2)
	insert(3)
	seen := []string{next(reader).Execution.RowKey, next(reader).Execution.RowKey}
	again := acme.stream("/live?type=execution", first.ID)
	for _, key := range seen {
		if e := next(again).Execution; e.RowKey != key || e.WorkflowID != "all-acme" {
			t.Errorf("told again is %+v, want row %s", e, key)
		}
	}
}

// stream opens a stream, and returns its lines.
func (c *client) stream(path, lastID string) *bufio.Scanner {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.base+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = resp.Body.Close() })
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		c.t.Fatalf("it is answered by %d %s", resp.StatusCode, kind)
	}
	return bufio.NewScanner(resp.Body)
}

// Who writes workflows and may not make them count can't by any edit: neither of a new one,
// nor of one that is active, nor by a file, a version or a copy.
func TestAPIAuthorActivatesNothing(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t)
	doc := func(id, status, name string) map[string]any {
		return map[string]any{
			"id": id, "name": name, "status": status,
			"triggers": []any{map[string]any{"entity_type": "orders", "operation": "create"}},
			"actions":  []any{map[string]any{"action_type": "log"}},
		}
	}
	publisher, author := w.as(t, "acme", access.Publisher), w.as(t, "acme", access.Author)
	w.db.Exec(t, `insert into rowbell.template (name, source) values ('footer', 'the operators'' footer')`)
	live := doc("live", "active", "Live")
	live["actions"] = []any{map[string]any{"action_type": "notification", "action_config": map[string]any{"title": "{% render 'footer' %}"}}}
	live["recipients"] = []any{map[string]any{"recipient_type": "user", "recipient_id": "ann"}}
	publisher.want(201, publisher.ask("POST", "/workflows", live), nil)
	live["name"] = "Live again"
	publisher.want(200, publisher.ask("PUT", "/workflows/live", live), nil)
	const before = `select id || ' ' || status || ' ' || version || ' ' || name from rowbell.workflow_definition where status = 'active' order by id`
	want := pgtest.Query[string](t, w.db, before)
	if !slices.Equal(want, []string{"live active 2 Live again"}) {
		t.Fatalf("active are %q", want)
	}
	yaml := func(id string) string {
		return "id: " + id + "\nname: From a file\nstatus: active\ntriggers:\n  - entity_type: orders\n    operation: create\nactions:\n  - action_type: log\n"
	}
	for _, c := range []call{
		{"create", "POST", "/workflows", doc("new", "active", "New"), 403},
		{"edit", "PUT", "/workflows/live", doc("live", "active", "Changed"), 403},
		{"turn off by an edit", "PUT", "/workflows/live", doc("live", "inactive", "Live again"), 403},
		{"draft", "PUT", "/workflows/live/draft", map[string]any{"name": "Draft", "triggers": live["triggers"], "actions": live["actions"], "recipients": live["recipients"]}, 200},
		{"restore", "POST", "/workflows/live/versions/1/restore?force=true", nil, 200}, // as a draft
		{"delete", "DELETE", "/workflows/live", nil, 403},
		{"activate", "POST", "/workflows/live/activate", nil, 403},
		{"deactivate", "POST", "/workflows/live/deactivate", nil, 403},
		{"import over it", "POST", "/import?replace=true", yaml("live"), 403},
		{"import", "POST", "/import", yaml("from-file"), 200},
		{"import of a template that it renders", "POST", "/import", "template: footer\nsource: mine\n", 403},
		{"duplicate", "POST", "/workflows/live/duplicate", map[string]any{"id": "copy"}, 201},
	} {
		if a := author.ask(c.method, c.path, c.body); a.status != c.status {
			t.Errorf("%s is answered by %d, want %d: %s", c.id, a.status, c.status, a.body)
		}
		if got := pgtest.Query[string](t, w.db, before); !slices.Equal(got, want) {
			t.Fatalf("after %s active are %q", c.id, got)
		}
	}
}

// Who may see all tenants' things sees those of one, or of none; and what there isn't says
// what there is instead.
func TestAPITenantsAndMethods(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t)
	all := w.as(t, "", access.Admin)
	for _, tenant := range []string{"acme", "globex", ""} {
		body := map[string]any{
			"id": "of-" + tenant, "name": "Of " + tenant,
			"triggers": []any{map[string]any{"entity_type": "orders", "operation": "create"}},
			"actions":  []any{map[string]any{"action_type": "log"}},
		}
		if tenant != "" {
			body["tenant_id"] = tenant
		}
		all.want(201, all.ask("POST", "/workflows", body), nil)
	}
	for query, want := range map[string]string{"": "of- of-acme of-globex", "?tenant=acme": "of-acme", "?tenant=": "of-", "?tenant=nobody": ""} {
		var list struct{ Items []struct{ ID string } }
		all.want(200, all.ask("GET", "/workflows"+query, nil), &list)
		var ids []string
		for _, item := range list.Items {
			ids = append(ids, item.ID)
		}
		slices.Sort(ids)
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%q lists %s, want %s", query, got, want)
		}
	}
	a := all.ask("PATCH", "/workflows/of-acme", nil)
	if allow := a.header.Get("Allow"); a.status != http.StatusMethodNotAllowed || allow != "GET, HEAD, PUT, DELETE" {
		t.Errorf("it is answered by %d, Allow %s: %s", a.status, allow, a.body)
	}
	if a := all.ask("GET", "/nothing", nil); a.status != http.StatusNotFound {
		t.Errorf("it is answered by %d: %s", a.status, a.body)
	}
}

// link is a client with a link that an application of a tenant has signed for somebody.
func (w *apiWorld) link(t testing.TB, tenant, who string, role access.Role) *client {
	t.Helper()
	k, private, err := w.o.Access().AddLinkKey(t.Context(), access.NewLinkKey{TenantID: &tenant, Name: tenant, Roles: []access.Role{role}}, "test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := access.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := access.SignLink(signer, k.ID, "rowbell", access.Link{Tenant: tenant, Subject: who, Roles: []access.Role{role}}, 5*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t, w.base, text}
}

// All that is left of an execution is cancelled, also of one with more people than are shown
// with it, and each delivery is noted.
func TestAPICancelsAllOfAnExecution(t *testing.T) {
	t.Parallel()
	const people = 1100
	w := newAPIWorld(t, delivers)
	things := w.fill(t, "acme", refuses(t))
	w.db.Exec(t, `insert into rowbell.queue select (jsonb_populate_record(q, jsonb_build_object('recipient', 'p' || n))).*
from rowbell.queue q, generate_series(1, $2::int) n where q.execution_id = $1 and q.action = 1`, things.open, people)
	w.db.Exec(t, `update rowbell.execution_open set open = open + $2::int where id = $1`, things.open, people)
	ids := pgtest.One[[]string](t, w.db, `select array_agg(id order by id) from rowbell.delivery where execution_id = $1`, things.open)
	if len(ids) < people {
		t.Fatalf("%d deliveries wait", len(ids))
	}
	c := w.as(t, "acme", access.Admin)
	var done struct{ Cancelled []string }
	c.want(200, c.ask("POST", "/executions/"+things.open+"/cancel", nil), &done)
	slices.Sort(done.Cancelled)
	if slices.Sort(ids); !slices.Equal(done.Cancelled, ids) {
		t.Errorf("%d of %d are cancelled", len(done.Cancelled), len(ids))
	}
	if n := pgtest.One[int64](t, w.db, `select count(*) from rowbell.queue where execution_id = $1`, things.open); n != 0 {
		t.Errorf("%d are left", n)
	}
	if got := pgtest.One[string](t, w.db, `select status from rowbell.workflow_log where id = $1`, things.open); got != "cancelled" {
		t.Errorf("the execution is %s", got)
	}
	if n := pgtest.One[int](t, w.db, `select count(distinct object_id) from rowbell.audit_log where action = 'delivery.cancel' and object_id = any ($1)`, ids); n != len(ids) {
		t.Errorf("%d of %d are noted", n, len(ids))
	}
	c.want(409, c.ask("POST", "/executions/"+things.open+"/cancel", nil), nil)
}

// An id that was another tenant's before is nothing of that tenant's to who has it now: not
// its versions, neither to look at nor to send.
func TestAPIReusedID(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t, delivers)
	doc := func(title string) map[string]any {
		return map[string]any{
			"id": "big", "name": "Big", "triggers": []any{map[string]any{"entity_type": "orders", "operation": "create"}},
			"actions":    []any{map[string]any{"action_type": "notification", "action_config": map[string]any{"title": title}}},
			"recipients": []any{map[string]any{"recipient_type": "user", "recipient_id": "ann"}},
		}
	}
	acme, globex := w.as(t, "acme", access.Admin), w.link(t, "globex", "ann", access.Admin)
	acme.want(201, acme.ask("POST", "/workflows", doc("acme's words")), nil)
	acme.want(204, acme.ask("DELETE", "/workflows/big", nil), nil)
	globex.want(201, globex.ask("POST", "/workflows", doc("globex's words")), nil)
	id := pgtest.One[int64](t, w.db, `insert into orders (tenant_id) values ('globex') returning id`)
	w.db.Exec(t, `call rowbell.capture('orders', tenant_column => 'tenant_id')`)
	row := map[string]any{"table": "orders", "key": fmt.Sprint(id)}
	for _, path := range []string{"/workflows/big/actions/1/test-send?version=1", "/workflows/big/actions/1/preview?version=1"} {
		if a := globex.ask("POST", path, row); a.status != http.StatusNotFound || strings.Contains(string(a.body), "acme's") {
			t.Errorf("%s is answered by %d: %s", path, a.status, a.body)
		}
	}
	if a := globex.ask("GET", "/workflows/big/versions/1", nil); a.status != http.StatusNotFound {
		t.Errorf("version 1 is answered by %d: %s", a.status, a.body)
	}
	globex.want(200, globex.ask("POST", "/workflows/big/actions/1/test-send", row), nil)
	if got := pgtest.Query[string](t, w.db, `select tenant_id || ' ' || title from rowbell.notification`); !slices.Equal(got, []string{"globex globex's words"}) {
		t.Errorf("notifications are %q", got)
	}
}

// Of several who edit the same state one edits it.
func TestAPIEditsAtOnce(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t)
	doc := func(name string) map[string]any {
		return map[string]any{
			"name": name, "triggers": []any{map[string]any{"entity_type": "orders", "operation": "create"}}, "actions": []any{map[string]any{"action_type": "log"}},
		}
	}
	c := w.as(t, "acme", access.Admin)
	made := c.want(201, c.ask("POST", "/workflows", doc("first")), nil)
	path := strings.TrimPrefix(made.header.Get("Location"), "/api/v1")
	for _, draft := range []string{"", "/draft"} {
		tag := c.want(200, c.ask("GET", path, nil), nil).header.Get("ETag")
		status := make([]int, 8)
		var wg sync.WaitGroup
		for i := range status {
			wg.Go(func() { status[i] = c.ask("PUT", path+draft, doc(fmt.Sprint(draft, i)), "If-Match", tag).status })
		}
		wg.Wait()
		slices.Sort(status)
		if status[0] != 200 || status[1] != 409 && status[1] != 412 || status[7] > 412 {
			t.Errorf("PUT %s is answered by %v", draft, status)
		}
	}
}

// With one of its two walls alone too, the live stream tells a tenant's reader of what is the
// tenant's: of what it has missed, of what happens, and of pauses.
func TestAPILiveHasTwoWalls(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t)
	for _, tenant := range []string{"acme", "globex", ""} {
		c := w.as(t, tenant, access.Admin)
		c.want(201, c.ask("POST", "/workflows", map[string]any{
			"id": "all-" + tenant, "name": "All of " + tenant, "status": "active",
			"triggers": []any{map[string]any{"entity_type": "orders", "operation": "create"}},
			"actions":  []any{map[string]any{"action_type": "log"}},
		}), nil)
	}
	captured(t, w.db)
	insert := func(note string) {
		w.db.Exec(t, `insert into orders (tenant_id, note) select t, $1 from unnest('{globex,acme}'::text[]) t`, note)
	}
	insert("before")
	pgtest.Eventually(t, pgtest.Patience, "executions", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where status = 'success'`) >= 2
	})
	for name, change := range map[string]func(*app.Config){"the code": app.WithoutRowSecurity, "row-level security": app.WithoutCode} {
		acme := w.as(t, "acme", access.Admin)
		acme.base = "http://" + startWorker(t, w.db, change).PublicAddr().String() + "/api/v1"
		reader := acme.stream("/live?ago=1h", "")
		operator := w.as(t, "", access.Admin)
		var seen strings.Builder
		until := func(what string) {
			t.Helper()
			for reader.Scan() {
				seen.WriteString(reader.Text() + "\n")
				if strings.Contains(reader.Text(), what) {
					return
				}
			}
			t.Fatalf("%s: the stream has ended before %q: %v\n%s", name, what, reader.Err(), &seen)
		}
		until("all-acme") // what was missed
		// A pause that only operators' words tell of: it comes once the feed has seen what was before.
		time.Sleep(1500 * time.Millisecond)
		var pause struct{ ID string }
		operator.want(201, operator.ask("POST", "/pauses", map[string]any{"reason": "a secret of operators"}), &pause)
		until("event: pause")
		until("data: ")
		operator.want(204, operator.ask("DELETE", "/pauses/"+pause.ID, nil), nil)
		until(`"begun":false`)
		insert("after by " + name)
		until("all-acme")
		if text := seen.String(); strings.Contains(text, "globex") || strings.Contains(text, "secret of operators") || strings.Contains(text, `"workflow_id":"all-"`) || strings.Contains(text, "event: stream") {
			t.Errorf("with %s alone a reader of acme is told:\n%s", name, text)
		}
	}
}
