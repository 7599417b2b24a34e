package api

import (
	"context"
	"net/http"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
)

func identityRoutes(a *API) {
	add(a, Route{
		Method: http.MethodGet, Path: "/me", ID: "getMe", Tag: "Identity", Right: Anyone,
		Summary: "Who you are here, and what you may do",
	}, getMe)
}

// Me is the principal of a request.
type Me struct {
	Kind    access.Kind    `json:"kind" enum:"key,person,link"`
	ID      string         `json:"id" doc:"What the audit log calls you"`
	Name    string         `json:"name,omitempty"`
	Tenant  *string        `json:"tenant" doc:"The tenant whose things you see; null: those of all"`
	Any     bool           `json:"any_tenant" doc:"You may act in any tenant, by the header Rowbell-Tenant"`
	Tenants []string       `json:"tenants" doc:"Those that you are a member of, and may act in by the header Rowbell-Tenant; of a person only"`
	Roles   []access.Role  `json:"roles"`
	Rights  []access.Right `json:"rights"`
	Expires *time.Time     `json:"expires,omitempty" doc:"When what you showed ends to count"`
}

func getMe(_ context.Context, q *Request, _ *struct{}) (*struct{ Body Me }, error) {
	p := q.Principal
	me := Me{Kind: p.Kind, ID: p.ID, Name: p.Name, Any: p.Any || p.All, Tenants: p.Tenants, Roles: p.Roles, Rights: p.Rights()}
	if !p.All {
		me.Tenant = &p.Tenant
	}
	if !p.Expires.IsZero() {
		me.Expires = &p.Expires
	}
	return &struct{ Body Me }{me}, nil
}
