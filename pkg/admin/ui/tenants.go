package ui

import (
	"net/http"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/pkg/admin/api"
)

// tenantsData is where a visitor chooses the tenant to act in.
type tenantsData struct {
	List    []tenantChoice
	All     int    // how many there are
	Any     bool   // the visitor may act in all at once, or in one that isn't in the list
	Wanted  string // what is looked for
	Next    string // where they go then
	Current string
}

type tenantChoice struct {
	ID     string
	Counts *api.TenantListed // nil: they are not this visitor's to see
}

// mostTenants are listed at once; who has more looks for a part of the name.
const mostTenants = 100

// toPick asks a member of several tenants in which they act.
func (u *UI) toPick(w http.ResponseWriter, r *http.Request, tenants []string) {
	here := r.Method == http.MethodGet && r.URL.Path == "/tenants"
	searched := here && r.Header.Get("HX-Target") == "tenant-choices"
	w.Header().Add("Vary", "HX-Request")
	if r.Header.Get("HX-Request") == "true" && !searched {
		w.Header().Set("HX-Redirect", u.url("/tenants"))
		w.WriteHeader(http.StatusNoContent)
		return
	}
	next, part := "/", "bare"
	switch {
	case here:
		next = afterwards(r.URL.Query().Get("next"))
	case r.Method == http.MethodGet:
		next = local(r.URL.RequestURI())
	}
	if searched {
		part = "tenant-choices"
	}
	d := &tenantsData{Next: next}
	d.choose(choices(tenants), r.URL.Query().Get("q"))
	u.render(w, r, "tenants", part, 0, &layout{Title: "Which tenant?", Embeds: embedded(r), Data: d})
}

// afterwards is where one goes after choosing a tenant: not back to choosing.
func afterwards(next string) string {
	if next = local(next); strings.HasPrefix(next, "/tenants") {
		return "/"
	}
	return next
}

func choices(tenants []string) []tenantChoice {
	list := make([]tenantChoice, len(tenants))
	for i, id := range tenants {
		list[i].ID = id
	}
	return list
}

// choose keeps those of a list that have a text in their name.
func (d *tenantsData) choose(list []tenantChoice, wanted string) {
	d.Wanted, d.All = strings.TrimSpace(wanted), len(list)
	if d.Wanted != "" {
		list = slices.DeleteFunc(list, func(c tenantChoice) bool { return !strings.Contains(strings.ToLower(c.ID), strings.ToLower(d.Wanted)) })
	}
	d.List = list[:min(len(list), mostTenants)]
}

// showTenants is the page on which the tenant is chosen; a person who must choose comes here
// before any other.
func (u *UI) showTenants(w http.ResponseWriter, r *http.Request) {
	u.visited(route{show: pickTenant}).ServeHTTP(w, r)
}

func pickTenant(v *visit) (*page, error) {
	d := &tenantsData{Any: v.me.Any, Next: afterwards(v.query("next"))}
	if v.me.Tenant != nil {
		d.Current = *v.me.Tenant
	}
	list := choices(v.me.Tenants)
	if v.me.Any {
		all := *v.caller
		all.tenant = "" // which there are is no tenant's to know
		var found api.Page[api.TenantListed]
		switch err := all.get("/tenants", nil, &found); {
		case err != nil && problemOf(err).Status == http.StatusForbidden: // without the right to see workflows
		case err != nil:
			return nil, err
		}
		for i := range found.Items {
			id := found.Items[i].TenantID
			if id == "" {
				continue // operators' workflows are in no tenant
			}
			if at := slices.IndexFunc(list, func(c tenantChoice) bool { return c.ID == id }); at >= 0 {
				list[at].Counts = &found.Items[i]
				continue
			}
			list = append(list, tenantChoice{id, &found.Items[i]})
		}
		slices.SortFunc(list, func(a, b tenantChoice) int { return strings.Compare(a.ID, b.ID) })
	}
	d.choose(list, v.query("q"))
	return &page{template: "tenants", title: "Tenants", nav: "tenants", data: d}, nil
}
