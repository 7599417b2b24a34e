package ui

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// ask asks for a page as htmx does, for a part; "" as browsers do.
func ask(u *UI, method, path, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.AddCookie(&http.Cookie{Name: tokenCookie, Value: "rbk_x"})
	if target != "" {
		r.Header.Set("HX-Request", "true")
		r.Header.Set("HX-Target", target)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	u.ServeHTTP(w, r)
	return w
}

// Who must choose a tenant first can look for one, by htmx and without, and goes on where they
// wanted to.
func TestTenantIsLookedFor(t *testing.T) {
	t.Parallel()
	var tenants []string
	for i := range 12 {
		tenants = append(tenants, fmt.Sprintf("shop-%02d", i))
	}
	u := New(Config{API: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(map[string]any{"status": http.StatusForbidden, "detail": "name a tenant", "tenants": tenants})
	})})
	const next = `name="next" value="/runs?status=failure"`
	w := ask(u, "GET", "/runs?status=failure", "")
	if body := w.Body.String(); !strings.Contains(body, next) || !strings.Contains(body, `name="q"`) || !strings.Contains(body, "shop-11") {
		t.Errorf("before a tenant is chosen: %d\n%s", w.Code, body)
	}
	const search = "/tenants?next=%2Fruns%3Fstatus%3Dfailure&q=-07"
	for _, target := range []string{"tenant-choices", ""} {
		w := ask(u, "GET", search, target)
		body := w.Body.String()
		if w.Code != 200 || w.Header().Get("HX-Redirect") != "" || !strings.Contains(body, next) || !strings.Contains(body, "shop-07") || strings.Contains(body, "shop-08") {
			t.Errorf("looking for -07, as htmx does for %q: %d %v\n%s", target, w.Code, w.Header(), body)
		}
		if part := !strings.Contains(body, "<html"); part != (target != "") {
			t.Errorf("as htmx does for %q, a part comes: %v", target, part)
		}
	}
	if w := ask(u, "GET", "/tenants?next=/tenants", ""); !strings.Contains(w.Body.String(), `name="next" value="/"`) {
		t.Errorf("after choosing one comes back to choosing:\n%s", w.Body)
	}
	if w := ask(u, "GET", "/runs", "list"); w.Code != http.StatusNoContent || w.Header().Get("HX-Redirect") != "/tenants" {
		t.Errorf("a part of another page: %d %v", w.Code, w.Header())
	}
}
