package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/store"
)

func accessRoutes(a *API) {
	const keyTag, memberTag, linkTag = "API keys", "Members", "Link keys"
	invalid := []int{http.StatusUnprocessableEntity}
	add(a, Route{
		Method: http.MethodGet, Path: "/keys", ID: "listKeys", Tag: keyTag, Right: access.KeyWrite,
		Summary: "API keys, the newest first; never their texts",
	}, listKeys)
	add(a, Route{
		Method: http.MethodPost, Path: "/keys", ID: "createKey", Tag: keyTag, Right: access.KeyWrite, Status: http.StatusCreated, Errors: invalid,
		Summary:     "Make an API key",
		Description: "Its text is shown once. Nobody gives rights that they don't have themselves, and none by a link; a key made by one that expires does so with it at the latest.",
	}, createKey)
	add(a, Route{
		Method: http.MethodDelete, Path: "/keys/{id}", ID: "revokeKey", Tag: keyTag, Right: access.KeyWrite, Errors: []int{http.StatusConflict},
		Summary: "Revoke a key; it may work for some seconds more",
	}, revokeKey)
	add(a, Route{
		Method: http.MethodGet, Path: "/link-keys", ID: "listLinkKeys", Tag: linkTag, Right: access.KeyWrite,
		Summary: "Keys with which host applications sign links, the newest first",
	}, listLinkKeys)
	add(a, Route{
		Method: http.MethodPost, Path: "/link-keys", ID: "createLinkKey", Tag: linkTag, Right: access.KeyWrite, Status: http.StatusCreated, Errors: invalid,
		Summary: "Add a link key",
		Description: "Without a public half a pair is made, and the private half is shown once. Who signs links does so for anybody: it needs the roles given, and inbox.read, inbox.write, " +
			"preference.read and preference.write. None is added by a link; one added by a key that expires does so with it at the latest.",
	}, createLinkKey)
	add(a, Route{
		Method: http.MethodDelete, Path: "/link-keys/{id}", ID: "revokeLinkKey", Tag: linkTag, Right: access.KeyWrite, Errors: []int{http.StatusConflict},
		Summary: "Revoke a link key, and with it all its links",
	}, revokeLinkKey)
	add(a, Route{
		Method: http.MethodGet, Path: "/members", ID: "listMembers", Tag: memberTag, Right: access.MemberWrite,
		Summary: "People who sign in with the identity provider, and what they may do",
	}, listMembers)
	add(a, Route{
		Method: http.MethodPut, Path: "/members", ID: "setMember", Tag: memberTag, Right: access.MemberWrite, Errors: invalid,
		Summary: "Say what somebody may do in a tenant", Description: "Whatever they could there before. Nobody gives rights that they don't have themselves, and none by a link.",
	}, setMember)
	add(a, Route{
		Method: http.MethodDelete, Path: "/members/{id}", ID: "removeMember", Tag: memberTag, Right: access.MemberWrite,
		Summary: "Take a member away",
	}, removeMember)
}

// Grant is what somebody may do where.
type Grant struct {
	TenantID *string  `json:"tenant_id,omitempty" nullable:"true" minLength:"1" doc:"Null: all tenants, and the operators' own; of a principal of one tenant, that one"`
	Roles    []string `json:"roles,omitempty" maxItems:"5" enum:"viewer,operator,author,publisher,admin"`
	Rights   []string `json:"rights,omitempty" maxItems:"50" doc:"Beside those of the roles, by name"`
}

// given reads a grant that the caller may give. Who has come by a link gives none: it ends
// within minutes, and what it gave would not.
func (q *Request) given(g *Grant) (tenant *string, roles []access.Role, rights []access.Right, err error) {
	if q.Principal.Kind == access.KindLink {
		return nil, nil, nil, &Problem{
			Status: http.StatusForbidden, Detail: "by a link nobody is given rights: they would outlive it",
			Mend: "use an API key, or a token of the identity provider; rowbell key, link and member do it on the command line",
		}
	}
	id, err := q.tenantIn(g.TenantID, "/tenant_id")
	if err != nil {
		return nil, nil, nil, err
	}
	if roles, rights, err = access.ParseGrant(g.Roles, g.Rights); err != nil {
		return nil, nil, nil, unprocessable("/rights", "", "%s", err.Error())
	}
	return orNull(id), roles, rights, q.Principal.MayGive(id, roles, rights)
}

// ending is when a key that the caller makes ends to count: one by a key that ends does so
// with it at the latest.
func (q *Request) ending(asked *time.Time) *time.Time {
	last := q.Principal.Expires
	if q.Principal.Kind != access.KindKey || last.IsZero() || asked != nil && asked.Before(last) {
		return asked
	}
	return &last
}

// ofAnybody are the rights to do for others what everybody may for themselves by a link.
// Who has a link key signs in as anybody.
var ofAnybody = []access.Right{access.InboxRead, access.InboxWrite, access.PreferenceRead, access.PreferenceWrite}

// invalidOr says what is wrong with what was asked for.
func invalidOr(err error) error {
	if !errors.Is(err, access.ErrInvalid) {
		return err
	}
	p := &Problem{Status: http.StatusUnprocessableEntity, Detail: err.Error()}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		p.Detail = "it is not as it must be"
		for _, e := range joined.Unwrap() {
			p.Errors = append(p.Errors, FieldError{Detail: e.Error()})
		}
	}
	return p
}

func (q *Request) accessFilter(in *TenantFilter, revoked bool) (store.AccessFilter, bool) {
	tenant, ok := q.Filter(in.Tenant)
	return store.AccessFilter{TenantID: tenant, Revoked: revoked}, ok
}

func listKeys(ctx context.Context, q *Request, in *struct {
	TenantFilter
	Revoked bool `query:"revoked" doc:"Revoked ones as well"`
},
) (*PageOf[store.APIKey], error) {
	f, ok := q.accessFilter(&in.TenantFilter, in.Revoked)
	if !ok {
		return page([]store.APIKey{}, ""), nil
	}
	list, err := q.Access.Keys(ctx, f)
	if err != nil {
		return nil, err
	}
	return page(list, ""), nil
}

// CreatedKey is a key with its text.
type CreatedKey struct {
	store.APIKey
	Text string `json:"key" doc:"What goes behind Bearer; shown once"`
}

type createdKey struct {
	Once string `header:"X-Rowbell-Shown-Once"`
	Body CreatedKey
}

// KeyIn is a key to make.
type KeyIn struct {
	Grant
	Name      string     `json:"name" maxLength:"200" doc:"What it is for"`
	ExpiresAt *time.Time `json:"expires_at,omitempty" nullable:"true" doc:"When it ends to count; null: not by itself, or with the key that makes it"`
}

func createKey(ctx context.Context, q *Request, in *struct{ Body KeyIn }) (*createdKey, error) {
	tenant, roles, rights, err := q.given(&in.Body.Grant)
	if err != nil {
		return nil, err
	}
	k, text, err := q.Access.CreateKey(ctx, access.NewKey{TenantID: tenant, Name: in.Body.Name, Roles: roles, Rights: rights, Expires: q.ending(in.Body.ExpiresAt)}, q.Actor())
	if err != nil {
		return nil, invalidOr(err)
	}
	return &createdKey{"true", CreatedKey{k, text}}, nil
}

func revokeKey(ctx context.Context, q *Request, in *struct {
	ID string `path:"id" maxLength:"100" doc:"Id of the key"`
},
) (*struct{ Body store.APIKey }, error) {
	k, err := q.Access.RevokeKey(ctx, in.ID, q.seen(), q.Actor())
	if err != nil {
		return nil, err
	}
	return &struct{ Body store.APIKey }{k}, nil
}

func listLinkKeys(ctx context.Context, q *Request, in *struct {
	TenantFilter
	Revoked bool `query:"revoked" doc:"Revoked ones as well"`
},
) (*PageOf[store.LinkKey], error) {
	f, ok := q.accessFilter(&in.TenantFilter, in.Revoked)
	if !ok {
		return page([]store.LinkKey{}, ""), nil
	}
	list, err := q.Access.LinkKeys(ctx, f)
	if err != nil {
		return nil, err
	}
	return page(list, ""), nil
}

// CreatedLinkKey is a link key, with its private half if that was made.
type CreatedLinkKey struct {
	store.LinkKey
	KeyID    string `json:"kid" doc:"What links have as kid in their header"`
	Audience string `json:"aud" doc:"And in aud"`
	Private  string `json:"private_key,omitempty" doc:"In PEM; shown once"`
}

// LinkKeyIn is a link key to add.
type LinkKeyIn struct {
	Grant
	Name      string     `json:"name" maxLength:"200" doc:"What it is for"`
	ExpiresAt *time.Time `json:"expires_at,omitempty" nullable:"true" doc:"When it ends to count; null: not by itself, or with the key that makes it"`
	PublicKey string     `json:"public_key,omitempty" maxLength:"4000" doc:"In PEM, Ed25519 or ECDSA on P-256; a pair is made if not given"`
}

func createLinkKey(ctx context.Context, q *Request, in *struct{ Body LinkKeyIn }) (*struct {
	Once string `header:"X-Rowbell-Shown-Once"`
	Body CreatedLinkKey
}, error,
) {
	tenant, roles, rights, err := q.given(&in.Body.Grant)
	if err != nil {
		return nil, err
	}
	if len(rights) > 0 {
		return nil, unprocessable("/rights", "leave it out", "links give roles only")
	}
	for _, r := range ofAnybody {
		if !q.Principal.Can(r) {
			return nil, forbidden(r)
		}
	}
	n := access.NewLinkKey{TenantID: tenant, Name: in.Body.Name, Roles: roles, Expires: q.ending(in.Body.ExpiresAt)}
	if in.Body.PublicKey != "" {
		n.Public = []byte(in.Body.PublicKey)
	}
	k, private, err := q.Access.AddLinkKey(ctx, n, q.Actor())
	if err != nil {
		return nil, invalidOr(err)
	}
	return &struct {
		Once string `header:"X-Rowbell-Shown-Once"`
		Body CreatedLinkKey
	}{"true", CreatedLinkKey{k, access.LinkKeyID(k.ID), q.Instance, string(private)}}, nil
}

func revokeLinkKey(ctx context.Context, q *Request, in *struct {
	ID string `path:"id" maxLength:"100" doc:"Id of the link key"`
},
) (*struct{ Body store.LinkKey }, error) {
	k, err := q.Access.RevokeLinkKey(ctx, in.ID, q.seen(), q.Actor())
	if err != nil {
		return nil, err
	}
	return &struct{ Body store.LinkKey }{k}, nil
}

func listMembers(ctx context.Context, q *Request, in *TenantFilter) (*PageOf[store.Member], error) {
	f, ok := q.accessFilter(in, false)
	if !ok {
		return page([]store.Member{}, ""), nil
	}
	list, err := q.Access.Members(ctx, f)
	if err != nil {
		return nil, err
	}
	return page(list, ""), nil
}

// MemberIn is a member to add, or to change.
type MemberIn struct {
	Grant
	Issuer  string `json:"issuer,omitempty" maxLength:"500" doc:"Of their tokens; the one of ROWBELL_OIDC_ISSUER if not given"`
	Subject string `json:"subject" minLength:"1" maxLength:"500" doc:"sub in their tokens"`
	Name    string `json:"name,omitempty" maxLength:"200"`
	Email   string `json:"email,omitempty" maxLength:"320"`
}

func setMember(ctx context.Context, q *Request, in *struct{ Body MemberIn }) (*struct{ Body store.Member }, error) {
	tenant, roles, rights, err := q.given(&in.Body.Grant)
	if err != nil {
		return nil, err
	}
	n := access.NewMember{
		TenantID: tenant, Issuer: in.Body.Issuer, Subject: in.Body.Subject, Name: in.Body.Name, Email: in.Body.Email, Roles: roles, Rights: rights,
	}
	if n.Issuer == "" {
		n.Issuer = q.Issuer
	}
	m, err := q.Access.AddMember(ctx, n, q.Actor())
	if err != nil {
		return nil, invalidOr(err)
	}
	return &struct{ Body store.Member }{m}, nil
}

func removeMember(ctx context.Context, q *Request, in *struct {
	ID string `path:"id" maxLength:"100" doc:"Id of the member"`
},
) (*struct{ Body store.Member }, error) {
	m, err := q.Access.RemoveMember(ctx, in.ID, q.seen(), q.Actor())
	if err != nil {
		return nil, err
	}
	return &struct{ Body store.Member }{m}, nil
}
