package app_test

import (
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
