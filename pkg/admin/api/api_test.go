package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/access"
)

// tokens is an Authenticator that knows a few.
type tokens map[string]*access.Principal

func (t tokens) Authenticate(_ context.Context, r *http.Request) (*access.Principal, error) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if p := t[token]; p != nil {
		return p, nil
	}
	return nil, &access.Error{Status: http.StatusUnauthorized, Reason: "there is no such key"}
}

var some = tokens{
	"viewer": {Kind: access.KindKey, ID: "key:viewer", Tenant: "acme", Roles: []access.Role{access.Viewer}},
	"admin":  {Kind: access.KindKey, ID: "key:admin", All: true, Roles: []access.Role{access.Admin}},
}

func newAPI(t testing.TB, change ...func(*Config)) *API {
	t.Helper()
	cfg := Config{
		Version: "test", Auth: some, Logger: slog.New(slog.DiscardHandler),
		Services: func(*access.Principal) Services { return Services{} },
	}
	for _, f := range change {
		f(&cfg)
	}
	return New(cfg)
}

func (a *API) ask(method, path, token, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

func problemIn(t testing.TB, w *httptest.ResponseRecorder, status int) Problem {
	t.Helper()
	var p Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != status || p.Status != status || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Fatalf("it is answered by %d %s %s, want a problem with %d", w.Code, w.Header().Get("Content-Type"), w.Body, status)
	}
	if p.Instance != "urn:rowbell:request:"+w.Header().Get("X-Request-Id") || p.Type != "about:blank" || p.Title != http.StatusText(status) || p.Detail == "" {
		t.Errorf("the problem is %+v", p)
	}
	return p
}

func TestDocument(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for path, version := range map[string]string{"openapi.json": "3.1.0", "openapi-3.0.json": "3.0.3"} {
		w := a.ask(http.MethodGet, Prefix+"/"+path, "", "")
		var doc struct {
			OpenAPI string
			Paths   map[string]map[string]struct {
				OperationID string `json:"operationId"`
				Right       string `json:"x-rowbell-right"`
			}
		}
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != http.StatusOK || doc.OpenAPI != version {
			t.Fatalf("%s: %d %v %s", path, w.Code, err, doc.OpenAPI)
		}
		n := 0
		for p, operations := range doc.Paths {
			for method, op := range operations {
				n++
				if op.Right == "" || op.OperationID == "" {
					t.Errorf("%s: %s %s has the id %q and the right %q", path, method, p, op.OperationID, op.Right)
				}
			}
		}
		if n != len(a.Routes()) || n < 10 {
			t.Errorf("%s has %d operations, the API %d", path, n, len(a.Routes()))
		}
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	if p := problemIn(t, a.ask(http.MethodGet, Prefix+"/me", "", ""), http.StatusUnauthorized); p.Detail != "there is no such key" || !strings.Contains(p.Mend, "rowbell key create") {
		t.Errorf("%+v", p)
	}
	problemIn(t, a.ask(http.MethodGet, Prefix+"/nothing", "admin", ""), http.StatusNotFound)
	if p := problemIn(t, a.ask(http.MethodPost, Prefix+"/workflows/w/activate", "viewer", ""), http.StatusForbidden); !strings.Contains(p.Detail, "workflow.publish") {
		t.Errorf("%+v", p)
	}
	p := problemIn(t, a.ask(http.MethodPost, Prefix+"/workflows/w/simulate", "admin", `{"event_id": 7, "nuw": {}}`), http.StatusUnprocessableEntity)
	got := ""
	for _, e := range p.Errors {
		got += e.Pointer + e.Parameter + ": " + e.Detail + "\n"
	}
	const want = "#/event_id: expected string\n#/nuw: unexpected property\n"
	if got != want {
		t.Errorf("errors are\n%s, want\n%s", got, want)
	}
	if p := problemIn(t, a.ask(http.MethodGet, Prefix+"/workflows/w/diff?form=1", "admin", ""), http.StatusUnprocessableEntity); len(p.Errors) != 1 || p.Errors[0].Parameter != "query.form" {
		t.Errorf("%+v", p)
	}
	// The services are missing here, so that every operation that asks them panics.
	if p := problemIn(t, a.ask(http.MethodGet, Prefix+"/workflows/w", "admin", ""), http.StatusInternalServerError); strings.Contains(p.Detail, "nil") {
		t.Errorf("%+v", p)
	}
}

func TestFill(t *testing.T) {
	t.Parallel()
	type inner struct {
		List []string         `json:"list"`
		Map  map[string]int   `json:"map"`
		Raw  json.RawMessage  `json:"raw,omitempty"`
		Any  *json.RawMessage `json:"any,omitempty"`
	}
	out := &struct {
		inner
		Items []*inner `json:"items"`
		None  []int    `json:"none,omitempty"`
	}{Items: []*inner{{}, nil}}
	fill(reflect.ValueOf(out))
	got, err := json.Marshal(out)
	if want := `{"list":[],"map":{},"items":[{"list":[],"map":{}},null]}`; err != nil || string(got) != want {
		t.Errorf("it is %s, %v; want %s", got, err, want)
	}
}
