package ui

import (
	"cmp"
	"strings"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
)

var recipientRoutes = []route{
	{"GET /recipients", access.PersonRead, showRecipients},
	{"GET /recipients/missing", access.PersonRead, showMissing},
}

// recipientsData says who recipients are, and who can't be reached.
type recipientsData struct {
	Type, Value, Tenant string
	AskTenant           bool
	Asked               bool
	Resolved            api.ResolvedOut
	Missing             *api.MissingReport
}

func showRecipients(v *visit) (*page, error) {
	d := &recipientsData{Type: cmp.Or(v.query("type"), "user"), Value: strings.TrimSpace(v.query("value")), Tenant: v.query("tenant"), AskTenant: v.me.Tenant == nil}
	p := &page{template: "recipients", title: "Recipients", nav: "recipients", data: d}
	if d.Value == "" {
		return p, nil
	}
	d.Asked = true
	in := map[string]any{}
	var list []api.RecipientIn
	for value := range strings.SplitSeq(d.Value, ",") {
		if value = strings.TrimSpace(value); value != "" {
			list = append(list, api.RecipientIn{Type: d.Type, Value: value})
		}
	}
	in["recipients"] = list
	if d.AskTenant && d.Tenant != "" {
		in["tenant_id"] = d.Tenant
	}
	if err := v.call("POST", "/recipients/resolve", nil, in, &d.Resolved); err != nil {
		d.Asked = false
		return problemPage(p, err)
	}
	return p, nil
}

// showMissing looks for people who can't be reached, which may take a while.
func showMissing(v *visit) (*page, error) {
	d := &recipientsData{Type: "user", AskTenant: v.me.Tenant == nil, Missing: &api.MissingReport{}}
	if err := v.get("/recipients/missing-addresses", nil, d.Missing); err != nil {
		return nil, err
	}
	return &page{template: "recipients", title: "Recipients", nav: "recipients", data: d}, nil
}
