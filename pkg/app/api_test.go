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
	db := pgtest.DB(t)
	db.Exec(t, shop)
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
	if n := pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_definition`); n != 1 {
		t.Errorf("%d workflows", n)
	}
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
		{"", "POST", "/workflows/gone/simulate", map[string]any{"domain": "paid", "new": map[string]any{}}, 422},
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
	pgtest.Eventually(t, 20*time.Second, "the database to be back", func() bool { return c.ask("GET", "/workflows", nil).status == 200 })
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
