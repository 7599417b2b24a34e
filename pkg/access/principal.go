package access

import (
	"fmt"
	"slices"
	"time"
)

// Kind says how somebody has shown who they are.
type Kind string

// The kinds of principals.
const (
	KindKey    Kind = "key"    // an API key
	KindPerson Kind = "person" // a token of the OpenID Connect provider
	KindLink   Kind = "link"   // a link that a host application has signed
)

// Principal is who asks.
type Principal struct {
	Kind Kind
	// ID is what audit rows and created_by hold: key:<id>, user:<subject of the token>,
	// link:<subject of the link>.
	ID      string
	Subject string // of a token or a link; a link's is the person's id in the application
	Name    string // of the person, or of the key; may be ""
	Email   string // of the person; "" if not known, or if the provider doesn't say that it is verified
	// Tenant is the only one whose things it may see. With All it is "": everything, also
	// what is the operators' own.
	Tenant  string
	All     bool
	Tenants []string // those that a person may act in besides, by TenantHeader
	Roles   []Role
	Extra   []Right   // beside those of the roles
	Expires time.Time // when it ends to count; zero: not by itself
	Any     bool      // it may act in any tenant, also where it acts in one
	home    string    // the tenant that a link was signed for; "" the operators' own
}

// Can says whether the principal has the right. It says nothing of whose things: see Sees.
// A nil one can nothing.
func (p *Principal) Can(r Right) bool {
	if p == nil {
		return false
	}
	return slices.Contains(p.Extra, r) || slices.ContainsFunc(p.Roles, func(role Role) bool { return role.Can(r) })
}

// Sees says whether the principal may see what is this tenant's; "" is the operators' own.
func (p *Principal) Sees(tenantID string) bool {
	if p == nil {
		return false
	}
	return p.All || tenantID != "" && tenantID == p.Tenant
}

// Is says whether the principal is this person of a tenant ("" = of none), by the
// application's id. That is what a link's subject is, and only in the tenant that the link
// was signed for: a link for all of them is of nobody in any of them, also when it is
// narrowed to one. The subject of a provider's token is the provider's id, and of nobody.
func (p *Principal) Is(tenantID, personID string) bool {
	return p != nil && p.Kind == KindLink && personID != "" && personID == p.Subject && tenantID == p.home
}

// Rights are all that the principal has, in the order of the manual.
func (p *Principal) Rights() []Right {
	var list []Right
	for _, r := range Rights() {
		if p.Can(r) {
			list = append(list, r)
		}
	}
	return list
}

// MayGive says what is wrong with giving somebody else these roles and rights in a tenant
// ("" = all of them): nobody gives what they don't have themselves. Returns an Error with
// status 403, or nil.
func (p *Principal) MayGive(tenantID string, roles []Role, rights []Right) error {
	if !p.Sees(tenantID) { // "" only with All
		return &Error{Status: statusForbidden, Reason: "you may give rights in your own tenant only"}
	}
	for _, role := range roles {
		for _, r := range roleRights[role] {
			if !p.Can(r) {
				return &Error{Status: statusForbidden, Reason: fmt.Sprintf("you can't give the role %s: you don't have its right %s yourself", role, r)}
			}
		}
	}
	for _, r := range rights {
		if !p.Can(r) {
			return &Error{Status: statusForbidden, Reason: fmt.Sprintf("you can't give the right %s: you don't have it yourself", r)}
		}
	}
	return nil
}

// within narrows a principal to one tenant.
func (p *Principal) within(tenantID string) *Principal {
	if tenantID == "" {
		return p
	}
	narrow := *p
	narrow.Tenant, narrow.All = tenantID, false
	narrow.Any = p.Any || p.All
	return &narrow
}
