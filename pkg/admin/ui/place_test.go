package ui

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
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

// Whatever goes wrong while a service is tried, its card stays and says so, or the page does.
func TestTriedServiceStays(t *testing.T) {
	t.Parallel()
	mail := api.ConnectionOut{Name: api.ConnectionMail, State: api.ConnectionReady, Verifiable: true}
	gone := mail
	gone.State = api.ConnectionMissing
	for name, c := range map[string]struct {
		me, verify, list int
		mail             api.ConnectionOut
		atCard           bool
		status           int
	}{
		"it fails":                {200, 503, 200, mail, true, 503},
		"it is refused":           {200, 409, 200, mail, true, 409},
		"it isn't set up":         {200, 409, 200, gone, false, 409},
		"it was taken away":       {200, 200, 200, gone, false, 409},
		"the list can't be had":   {200, 200, 503, mail, false, 503},
		"it is asked too often":   {200, 429, 429, mail, false, 429},
		"nobody can be signed in": {503, 200, 200, mail, false, 503},
	} {
		u := New(Config{API: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			status, body := c.list, any(map[string]any{"items": []api.ConnectionOut{c.mail}})
			switch r.URL.Path {
			case api.Prefix + "/me":
				status, body = c.me, map[string]any{"id": "key:1", "kind": "key", "rights": []access.Right{access.StreamRead, access.DestinationWrite}}
			case api.Prefix + "/connections/mail/verify":
				status, body = c.verify, api.VerifiedOut{Name: "mail", Works: true}
			}
			if status != 200 {
				body = map[string]any{"status": status, "detail": "so it is"}
			}
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(body)
		})})
		w := ask(u, "POST", "/connections/mail/verify", "c-mail", troubleHeader, "apart")
		body, apart := w.Body.String(), w.Header().Get("HX-Retarget") == "#trouble" && w.Header().Get("HX-Reselect") == "[role=alert]"
		if w.Code != c.status || apart == c.atCard || strings.Contains(body, `<section class="card connection" id="c-mail"`) != c.atCard {
			t.Errorf("%s: %d %v\n%s", name, w.Code, w.Header(), body)
		}
		if !strings.Contains(body, "So it is.") && !strings.Contains(body, "This service is not set up any more.") || !c.atCard && !strings.Contains(body, `role="alert"`) {
			t.Errorf("%s, which isn't said:\n%s", name, body)
		}
	}
	w := ask(New(Config{API: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := any(map[string]any{"items": []api.ConnectionOut{mail}})
		if r.URL.Path == api.Prefix+"/me" {
			body = map[string]any{"id": "key:1", "kind": "key", "rights": []access.Right{access.StreamRead, access.DestinationWrite}}
		}
		_ = json.NewEncoder(w).Encode(body)
	})}), "GET", "/connections", "")
	if body := w.Body.String(); !strings.Contains(body, `hx-headers='{"`+troubleHeader+`": "apart"}'`) || !strings.Contains(body, `<div id="trouble">`) {
		t.Errorf("the form doesn't say where its trouble goes:\n%s", body)
	}
}
