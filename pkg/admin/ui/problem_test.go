package ui

import (
	"compress/gzip"
	"encoding/json"
	"io"
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

// Long pages go compressed to whom takes that; what answers a form never does.
func TestPagesAreCompressed(t *testing.T) {
	t.Parallel()
	u := New(Config{API: http.NotFoundHandler()})
	for _, c := range []struct {
		method, takes string
		n             int
		want          bool
	}{
		{"GET", "gzip, br", leastSqueezed, true}, {"GET", "gzip", leastSqueezed - 1, false}, {"GET", "br", leastSqueezed, false}, {"POST", "gzip", leastSqueezed, false},
	} {
		r := httptest.NewRequest(c.method, "/", nil)
		r.Header.Set("Accept-Encoding", c.takes)
		if got := squeezed(r, c.n); got != c.want {
			t.Errorf("%s of %d bytes to whom takes %s: %v", c.method, c.n, c.takes, got)
		}
	}
	r := httptest.NewRequest("GET", "/signin", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	plain, small := httptest.NewRecorder(), httptest.NewRecorder()
	long := &layout{Title: strings.Repeat("a long title ", 1000), Data: signInData{}}
	u.render(small, r, "signin", "bare", 0, long)
	r.Header.Del("Accept-Encoding")
	u.render(plain, r, "signin", "bare", 0, long)
	z, err := gzip.NewReader(small.Body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(z)
	if err != nil || string(got) != plain.Body.String() || plain.Header().Get("Content-Encoding") != "" || small.Header().Get("Vary") != "Accept-Encoding" {
		t.Errorf("%d bytes were %d, %v, headers %v and %v", small.Body.Len(), len(got), err, small.Header(), plain.Header())
	}
}

// A message begins as people write, but for an address, which would be another one.
func TestSentenceCase(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                               "",
		"the note is missing":            "The note is missing.",
		"it failed; try again.":          "It failed; try again.",
		"hooks.example.com answered 503": "hooks.example.com answered 503.",
		"https://example.com is away":    "https://example.com is away.",
		"dial tcp 203.0.113.180:443":     "Dial tcp 203.0.113.180:443.",
	} {
		if got := sentenceCase(text); got != want {
			t.Errorf("%q begins as %q, want %q", text, got, want)
		}
	}
}
