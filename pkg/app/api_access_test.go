package app_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
)

// linked is somebody with a link of a key of this tenant ("" = all), as an application signs it.
func (w *apiWorld) linked(t testing.TB, keyTenant string, l access.Link) *client {
	t.Helper()
	n := access.NewLinkKey{Roles: l.Roles}
	if keyTenant != "" {
		n.TenantID = &keyTenant
	}
	k, private, err := w.o.Access().AddLinkKey(t.Context(), n, "test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := access.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := access.SignLink(signer, k.ID, "rowbell", l, 5*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t, w.base, text}
}

// Only the person whom a link was signed for has an inbox and preferences of their own; a link
// for all tenants is nobody in any of them.
func TestAPIOwnPerson(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t)
	viewer := []access.Role{access.Viewer}
	acmes := w.linked(t, "", access.Link{Tenant: "acme", Subject: "42", Roles: viewer})
	alls := w.linked(t, "", access.Link{Tenant: access.AllTenants, Subject: "42", Roles: viewer})
	for _, call := range []struct {
		method, path string
		body         any
		status       int
	}{
		{"GET", "/inbox", nil, 200},
		{"GET", "/inbox/counts", nil, 200},
		{"POST", "/inbox/mark", map[string]any{"mark": "read"}, 200},
		{"GET", "/preferences", nil, 200},
		{"PUT", "/preferences", map[string]any{"channel": "email", "wanted": false}, 200},
		{"POST", "/quiet-hours", map[string]any{"from": "22:00", "to": "07:00"}, 204},
		{"DELETE", "/quiet-hours", nil, 204},
	} {
		for _, id := range []string{"me", "42"} {
			path := "/people/" + id + call.path
			acmes.want(call.status, acmes.ask(call.method, path, call.body), nil)
			acmes.want(call.status, acmes.ask(call.method, path+"?tenant=acme", call.body), nil)
			alls.want(call.status, alls.ask(call.method, path, call.body), nil)
			alls.want(403, alls.ask(call.method, path+"?tenant=acme", call.body), nil)
			alls.want(403, alls.ask(call.method, path, call.body, access.TenantHeader, "acme"), nil)
		}
		acmes.want(403, acmes.ask(call.method, "/people/43"+call.path, call.body), nil)
		alls.want(403, alls.ask(call.method, "/people/43"+call.path, call.body), nil)
	}
}

// Nobody gives for all tenants by a tenant that was not filled in.
func TestAPIEmptyTenant(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t)
	all := w.as(t, "", access.Admin)
	for _, call := range []struct {
		method, path string
		body         map[string]any
		status       int
	}{
		{"POST", "/keys", map[string]any{"name": "k", "roles": []string{"viewer"}}, 201},
		{"POST", "/link-keys", map[string]any{"name": "k", "roles": []string{"viewer"}}, 201},
		{"PUT", "/members", map[string]any{"issuer": "https://login.example.com", "subject": "ann", "roles": []string{"viewer"}}, 200},
		{"POST", "/pauses", map[string]any{"kind": "webhook"}, 201},
	} {
		var p struct{ Errors []struct{ Pointer string } }
		call.body["tenant_id"] = ""
		all.want(422, all.ask(call.method, call.path, call.body), &p)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != "#/tenant_id" {
			t.Errorf("%s %s with an empty tenant: %+v", call.method, call.path, p)
		}
		call.body["tenant_id"] = nil
		all.want(call.status, all.ask(call.method, call.path, call.body), nil)
		delete(call.body, "tenant_id")
		all.want(call.status, all.ask(call.method, call.path, call.body), nil)
	}
}

// What is given doesn't outlive who gives it, nor reach farther.
func TestAPIGiving(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t)
	grant := map[string]any{"name": "another", "roles": []string{"viewer"}}
	member := map[string]any{"issuer": "https://login.example.com", "subject": "ann", "roles": []string{"viewer"}}
	refuses := func(c *client, method, path string, body any, detail string) {
		t.Helper()
		var p struct{ Detail, Mend string }
		if c.want(403, c.ask(method, path, body), &p); !strings.Contains(p.Detail, detail) || p.Mend == "" {
			t.Errorf("it is refused by %+v, want %q and a mend", p, detail)
		}
	}

	// A link ends after minutes.
	link := w.linked(t, "acme", access.Link{Subject: "ann", Roles: []access.Role{access.Admin}})
	refuses(link, "POST", "/keys", grant, "by a link nobody is given rights")
	refuses(link, "POST", "/link-keys", grant, "by a link nobody is given rights")
	refuses(link, "PUT", "/members", member, "by a link nobody is given rights")

	// A key that ends makes none that ends later.
	ends, acme := time.Now().Add(time.Hour).Truncate(time.Second), "acme"
	_, text, err := w.o.Access().CreateKey(t.Context(), access.NewKey{TenantID: &acme, Roles: []access.Role{access.Admin}, Expires: &ends}, "test")
	if err != nil {
		t.Fatal(err)
	}
	brief, lasting := &client{t, w.base, text}, w.as(t, "acme", access.Admin)
	for _, path := range []string{"/keys", "/link-keys"} {
		for _, asked := range []any{nil, ends.Add(time.Hour), ends.Add(-time.Minute)} {
			var k struct {
				ExpiresAt *time.Time `json:"expires_at"`
			}
			body := maps.Clone(grant)
			body["expires_at"] = asked
			want := ends
			if at, ok := asked.(time.Time); ok && at.Before(ends) {
				want = at
			}
			if brief.want(201, brief.ask("POST", path, body), &k); k.ExpiresAt == nil || !k.ExpiresAt.Equal(want) {
				t.Errorf("%s until %v by a key until %v counts until %v", path, asked, ends, k.ExpiresAt)
			}
			lasting.want(201, lasting.ask("POST", path, body), &k)
			if at, ok := asked.(time.Time); ok != (k.ExpiresAt != nil) || ok && !k.ExpiresAt.Equal(at) {
				t.Errorf("%s until %v counts until %v", path, asked, k.ExpiresAt)
			}
		}
	}

	// Who has a link key signs for anybody, and so may do what anybody may with their own.
	rights := []access.Right{access.KeyWrite, access.InboxRead, access.InboxWrite, access.PreferenceRead, access.PreferenceWrite}
	for i, missing := range rights[1:] {
		some := slices.Delete(slices.Clone(rights), i+1, i+2)
		c := w.as(t, "acme", access.Viewer, some...)
		refuses(c, "POST", "/link-keys", grant, "this needs the right "+string(missing))
		c.want(201, c.ask("POST", "/keys", grant), nil)
	}
	c := w.as(t, "acme", access.Viewer, rights...)
	c.want(201, c.ask("POST", "/link-keys", grant), nil)
}
