package api

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
)

// Services are what operations work with.
type Services struct {
	Definitions *definition.Service
	Operations  Operations
	Access      *access.Service
	Issuer      string // of members' tokens, if they name none; "" none
	Instance    string // which links are for
	State       *store.State
	Source      *store.Source
	// Application reads the application's tables and what the database says of them, as
	// Rowbell's own role may.
	Application *store.Source
}

// Request is what an operation knows of its request beside its input.
type Request struct {
	Services
	Principal *access.Principal
	ID        string
	Address   string // of the client; "" unknown
	query     url.Values
}

// Actor is what created_by and the audit log hold.
func (q *Request) Actor() string { return q.Principal.ID }

// caller tells principals apart: one id may act in several tenants, and be somebody else in each.
func (q *Request) caller() string {
	return fmt.Sprintf("%t\n%s\n%s", q.Principal.All, q.Principal.Tenant, q.Principal.ID)
}

// Sees says that something of a tenant ("" = operators') may be seen. What may not is to be
// answered as what there isn't.
func (q *Request) Sees(tenantID string) bool { return q.Principal.Sees(tenantID) }

// optional is a query parameter as it was sent: for the library an empty one isn't there.
func (q *Request) optional(name string, o OptionalText) OptionalText {
	o.Set = q.query.Has(name)
	return o
}

// Filter is the tenant that a list is restricted to: the principal's own, or the one that it
// asks for; nil for all. Asking for another tenant than one's own finds nothing: ok is false.
func (q *Request) Filter(asked OptionalText) (tenant *string, ok bool) {
	asked = q.optional("tenant", asked)
	if !q.Principal.All {
		own := q.Principal.Tenant
		return &own, !asked.Set || asked.Value == own
	}
	if asked.Set {
		return &asked.Value, true
	}
	return nil, true
}

type contextKey int

const (
	idKey contextKey = iota
	addressKey
	requestKey
)

func idOf(ctx context.Context) string {
	id, _ := ctx.Value(idKey).(string)
	return id
}

func requestOf(ctx context.Context) *Request {
	q, _ := ctx.Value(requestKey).(*Request)
	return q
}

// givenID is what a request may bring as its id.
var givenID = regexp.MustCompile(`^[A-Za-z0-9_-]{8,64}$`)

// identify gives a request its id, and says so: the client's own if it has one.
func (a *API) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if !givenID.MatchString(id) {
			id = ulid.Make().String()
		}
		w.Header().Set("X-Request-Id", id)
		ctx := context.WithValue(r.Context(), idKey, id)
		ctx = context.WithValue(ctx, addressKey, clientAddress(r, a.cfg.TrustedProxies))
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// clientAddress is where a request came from; "" unknown.
func clientAddress(r *http.Request, trusted []netip.Prefix) string {
	if from := access.ClientAddress(r, trusted); from.IsValid() {
		return from.String()
	}
	return ""
}

// open are the paths that anybody may read: they say nothing about anyone.
func open(r *http.Request) bool {
	path, ok := strings.CutPrefix(r.URL.Path, Prefix+"/openapi")
	return ok && !strings.Contains(path, "/") && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}

// authenticate finds out who sends a request.
func (a *API) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if open(r) {
			next.ServeHTTP(w, r)
			return
		}
		p, err := a.cfg.Auth.Authenticate(r.Context(), r)
		if err != nil {
			problem := a.problem(r.Context(), err)
			if problem.Status == http.StatusUnauthorized {
				problem.Mend = "send Authorization: Bearer and an API key (rowbell key create), a token of the OIDC provider, or a signed link's"
			}
			a.fail(w, r, problem)
			return
		}
		address, _ := r.Context().Value(addressKey).(string)
		q := &Request{Principal: p, ID: idOf(r.Context()), Address: address, query: r.URL.Query()}
		q.Services = a.cfg.Services(p)
		ctx := store.WithOrigin(r.Context(), store.Origin{Actor: p.ID, Via: store.ViaAPI, Address: address, RequestID: q.ID})
		next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, requestKey, q)))
	})
}
