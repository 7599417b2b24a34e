package ui

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
)

// A page that can't be shown now can be asked for again; one that isn't its visitor's says
// what is missing.
func TestProblemPage(t *testing.T) {
	t.Parallel()
	u := New(Config{Base: "/bell", API: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == api.Prefix+"/me" {
			_ = json.NewEncoder(w).Encode(map[string]any{"id": "key:1", "kind": "key", "rights": []access.Right{access.WorkflowRead, access.WorkflowWrite}})
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(map[string]any{"status": http.StatusServiceUnavailable, "detail": "the database doesn't answer", "mend": "wait a moment"})
	})})
	for _, c := range []struct {
		method, path string
		status       int
		says         string
		again        bool
	}{
		{"GET", "/workflows?status=active", 503, "The database doesn&#39;t answer.", true},
		{"POST", "/workflows/x/delete", 503, "The database doesn&#39;t answer.", false},
		{"GET", "/activity", 403, "To see who has done what takes a right that you don’t have: audit.read.", false},
		{"GET", "/nothing", 404, "There is no such page.", false},
	} {
		r := httptest.NewRequest(c.method, c.path, nil)
		r.AddCookie(&http.Cookie{Name: tokenCookie, Value: "rbk_x"})
		w := httptest.NewRecorder()
		u.ServeHTTP(w, r)
		body := w.Body.String()
		if w.Code != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s %s: %d\n%s", c.method, c.path, w.Code, body)
		}
		if again := strings.Contains(body, `href="/bell`+c.path+`">Try again</a>`); again != c.again {
			t.Errorf("%s %s can be tried again: %v\n%s", c.method, c.path, again, body)
		}
	}
}
