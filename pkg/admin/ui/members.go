package ui

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
)

var accessRoutes = []route{
	{"GET /access", "", showAccess},
	{"POST /access/keys", access.KeyWrite, makeKey},
	{"POST /access/keys/{id}/revoke", access.KeyWrite, revokeKey},
	{"POST /access/links", access.KeyWrite, makeLinkKey},
	{"POST /access/links/{id}/revoke", access.KeyWrite, revokeLinkKey},
	{"POST /access/members", access.MemberWrite, setMember},
	{"POST /access/members/{id}/remove", access.MemberWrite, removeMember},
	{"GET /access/{what}", "", func(*visit) (*page, error) { return redirect("/access", ""), nil }}, // loaded again
}

// accessData is who may do what here.
type accessData struct {
	Keys    []store.APIKey
	Links   []store.LinkKey
	Members []store.Member
	Revoked bool
	Made    *api.CreatedKey
	MadeKey *api.CreatedLinkKey
	Roles   []role
	ByLink  bool // the visitor has come by a link, which gives nobody rights
	AskAll  bool // the visitor may give something for all tenants
	Self    string
}

// role is a role in words.
type role struct {
	Name, Text string
	May        bool // the visitor may give it: who gives rights has them
}

var roleTexts = map[access.Role]string{
	access.Viewer: "looks", access.Operator: "looks, and keeps messages going: retries, destinations, pauses", access.Author: "looks, and writes workflows that are not on yet",
	access.Publisher: "writes workflows, and turns them on", access.Admin: "does everything here, keys and members too",
}

func (v *visit) access() (*page, *accessData, error) {
	if !v.can(access.KeyWrite) && !v.can(access.MemberWrite) {
		return nil, nil, &api.Problem{Status: http.StatusForbidden, Detail: "who may do what here is for administrators to see", Mend: "ask an administrator for the right key.write or member.write"}
	}
	d := &accessData{Revoked: v.query("revoked") != "", ByLink: v.me.Kind == access.KindLink, AskAll: v.me.Tenant == nil, Self: v.me.ID}
	for _, r := range access.Roles() {
		d.Roles = append(d.Roles, role{string(r), roleTexts[r], !slices.ContainsFunc(r.Rights(), func(right access.Right) bool { return !v.can(right) })})
	}
	if v.can(access.KeyWrite) {
		q := url.Values{}
		if d.Revoked {
			q.Set("revoked", "true")
		}
		var keys api.Page[store.APIKey]
		if err := v.get("/keys", q, &keys); err != nil {
			return nil, nil, err
		}
		var links api.Page[store.LinkKey]
		if err := v.get("/link-keys", q, &links); err != nil {
			return nil, nil, err
		}
		d.Keys, d.Links = keys.Items, links.Items
	}
	if v.can(access.MemberWrite) {
		var members api.Page[store.Member]
		if err := v.get("/members", nil, &members); err != nil {
			return nil, nil, err
		}
		d.Members = members.Items
	}
	return &page{template: "access", title: "Access", nav: "access", data: d}, d, nil
}

func showAccess(v *visit) (*page, error) {
	p, _, err := v.access()
	return p, err
}

// grant is what a form gives.
func (v *visit) grant() map[string]any {
	in := map[string]any{"roles": v.r.PostForm["role"]}
	if in["roles"] == nil {
		in["roles"] = []string{}
	}
	if tenant := v.form("tenant"); tenant != "" {
		in["tenant_id"] = tenant
	}
	if days, err := strconv.Atoi(v.form("days")); err == nil && days > 0 {
		in["expires_at"] = now().AddDate(0, 0, days).UTC().Format(time.RFC3339)
	}
	return in
}

// with shows the page after a form: what was made, or what is wrong.
func (v *visit) withAccess(wrong error, f func(*accessData)) (*page, error) {
	p, d, err := v.access()
	if err != nil {
		return nil, err
	}
	if wrong != nil {
		return problemPage(p, wrong)
	}
	f(d)
	return p, nil
}

func makeKey(v *visit) (*page, error) {
	name := v.form("name") // reads the form
	in := v.grant()
	in["name"] = name
	made := &api.CreatedKey{}
	err := v.call("POST", "/keys", nil, in, made)
	return v.withAccess(err, func(d *accessData) { d.Made = made })
}

func makeLinkKey(v *visit) (*page, error) {
	name := v.form("name")
	in := v.grant()
	in["name"] = name
	if public := v.form("public_key"); public != "" {
		in["public_key"] = public
	}
	made := &api.CreatedLinkKey{}
	err := v.call("POST", "/link-keys", nil, in, made)
	return v.withAccess(err, func(d *accessData) { d.MadeKey = made })
}

func setMember(v *visit) (*page, error) {
	subject := v.form("subject")
	in := v.grant()
	delete(in, "expires_at")
	in["subject"], in["name"], in["email"] = subject, v.form("name"), v.form("email")
	if issuer := v.form("issuer"); issuer != "" {
		in["issuer"] = issuer
	}
	if err := v.call("PUT", "/members", nil, in, nil); err != nil {
		return v.withAccess(err, nil)
	}
	return redirect("/access", "saved"), nil
}

func revokeKey(v *visit) (*page, error) {
	if err := v.call("DELETE", at("/keys/%s", v.r.PathValue("id")), nil, nil, nil); err != nil {
		return v.withAccess(err, nil)
	}
	return redirect("/access", "revoked"), nil
}

func revokeLinkKey(v *visit) (*page, error) {
	if err := v.call("DELETE", at("/link-keys/%s", v.r.PathValue("id")), nil, nil, nil); err != nil {
		return v.withAccess(err, nil)
	}
	return redirect("/access", "revoked"), nil
}

func removeMember(v *visit) (*page, error) {
	if err := v.call("DELETE", at("/members/%s", v.r.PathValue("id")), nil, nil, nil); err != nil {
		return v.withAccess(err, nil)
	}
	return redirect("/access", "removed"), nil
}
