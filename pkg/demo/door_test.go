package demo

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// An address signs in once, and for so long; then it leads to where one signs in.
func TestDoor(t *testing.T) {
	t.Parallel()
	d, err := startDoor(t.Context(), "http://127.0.0.1:1/enter#token=rbk_x", "http://127.0.0.1:1/signin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	d.now = func() time.Time { return now }
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(method, address string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if cache := resp.Header.Get("Cache-Control"); resp.StatusCode == http.StatusSeeOther && cache != "no-store" {
			t.Errorf("it may be kept: %q", cache)
		}
		return resp.Status[:3] + " " + resp.Header.Get("Location")
	}
	const inside, outside = "303 http://127.0.0.1:1/enter#token=rbk_x", "303 http://127.0.0.1:1/signin"
	first, second, third := d.invite(), d.invite(), d.invite()
	if strings.Contains(first, "rbk_") || first == second {
		t.Errorf("addresses are %s and %s", first, second)
	}
	for i, c := range []struct{ method, address, want string }{
		{"HEAD", first, "405 "},
		{"POST", first, "405 "},
		{"GET", first, inside},
		{"GET", first, outside},
		{"GET", second, inside},
		{"GET", first[:strings.LastIndex(first, "/")], outside},
		{"GET", first + "x", outside},
	} {
		if got := ask(c.method, c.address); got != c.want {
			t.Errorf("%d: %s %s is answered by %q, want %q", i, c.method, c.address, got, c.want)
		}
	}
	now = now.Add(doorOpen)
	if got := ask("GET", third); got != outside {
		t.Errorf("too late it is answered by %q", got)
	}
	d.invite()
	if len(d.invites) != 1 {
		t.Errorf("%d invitations are kept", len(d.invites))
	}
	if err := d.close(); err != nil {
		t.Error(err)
	}
}
