package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/rowbell/rowbell/pkg/access"
)

// Prefix is where the API stands below the listener's root.
const Prefix = "/api/v1"

// Authenticator says who sends a request; access's Authenticator is one. Its error is
// access.ErrUnauthenticated with a reason that may be shown, or one of the database.
type Authenticator interface {
	Authenticate(ctx context.Context, r *http.Request) (*access.Principal, error)
}

// Config is what an API works with.
type Config struct {
	Version string // of Rowbell
	Auth    Authenticator
	// Services are those for one principal: they see what it may.
	Services func(p *access.Principal) Services
	// Keys keeps the answers to requests with an idempotency key. nil: keys are refused.
	Keys IdempotencyStore
	// Feed is what happens, for the live stream. nil: there is none.
	Feed Feed
	// Rate is how many requests a second one principal may send on the average, and Burst how
	// many at once. They default to 50 and 100.
	Rate  float64
	Burst int
	// TrustedProxies are whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	Logger         *slog.Logger
}

// API serves requests. It is an http.Handler for all paths below Prefix.
type API struct {
	cfg     Config
	huma    huma.API
	handler http.Handler
	limits  *limits
	routes  []Route

	streamsMu sync.Mutex
	streams   map[string]int // live streams that are read, by principal
}

// New makes an API.
func New(cfg Config) *API {
	cfg.Rate = cmp.Or(cfg.Rate, 50)
	cfg.Burst = cmp.Or(cfg.Burst, 100)
	a := &API{cfg: cfg, limits: newLimits(cfg.Rate, cfg.Burst), streams: make(map[string]int)}
	mux := http.NewServeMux()
	config := huma.DefaultConfig("Rowbell", cfg.Version)
	config.Info.Description = description
	config.Servers = []*huma.Server{{URL: Prefix}}
	config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", nil
	config.RejectUnknownQueryParameters = true
	config.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		securityName: {Type: "http", Scheme: "bearer", Description: "An API key (rbk_…), a token of the OIDC provider, or a signed link's token"},
	}
	config.Security = []map[string][]string{{securityName: {}}}
	a.huma = humago.NewWithPrefix(mux, Prefix, config)
	for _, register := range []func(*API){
		identityRoutes, editRoutes, workflowRoutes, filesRoutes, catalogueRoutes, logRoutes, replayRoutes, viewRoutes, destinationRoutes, peopleRoutes, templateRoutes, accessRoutes, operateRoutes, connectionRoutes, liveRoutes,
	} {
		register(a)
	}
	a.notFound(mux)
	a.handler = a.identify(a.recoverPanic(a.authenticate(a.limit(a.idempotent(mux)))))
	return a
}

// schemaName is what a type is called in the document; types of two packages may have one
// name.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if of := path.Base(t.PkgPath()); t.Name() != "" && of != "api" && of != "." {
		return strings.ToUpper(of[:1]) + of[1:] + name
	}
	return name
}

const securityName = "bearer"

const description = `Everything that an administrator or an operator of Rowbell does.

Lists have the newest first where time matters. A page has up to limit items and, if there
are more, next: give it back as cursor. Errors are problem details (RFC 9457).

A tenant's principal sees its tenant; what others have is not found. A principal for all
tenants sees everything, and says which tenant by the query parameter tenant: a tenant's id, or
an empty one for what belongs to no tenant (operators' workflows).`

// ServeHTTP serves a request below Prefix.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// OpenAPI is the document.
func (a *API) OpenAPI() *huma.OpenAPI { return a.huma.OpenAPI() }

// Routes are the operations, in the order in which they were made.
func (a *API) Routes() []Route { return a.routes }

// Route is one operation.
type Route struct {
	Method, Path string
	ID           string // operationId, as listWorkflows
	Tag          string // the group that it stands in
	Summary      string
	Description  string
	// Right is what its caller must have. Every operation has one; Anyone is for those that
	// any principal may call.
	Right  access.Right
	Status int   // of success; 0: 200, or 204 for one without a body
	Errors []int // beside those that all have, or all of its method
	// MaxBody is how long its body may be, in bytes; 0: as those of all.
	MaxBody int64
}

// Anyone is the right of operations that any principal may call: they tell it about itself.
const Anyone access.Right = "anyone"

const rightKey = "x-rowbell-right"

// add makes an operation.
func add[I, O any](a *API, r Route, f func(ctx context.Context, q *Request, in *I) (*O, error)) {
	if r.Right == "" {
		panic(fmt.Sprintf("operation %s states no right", r.ID)) // found by any test
	}
	a.routes = append(a.routes, r)
	_, hasBody := bodyOf(reflect.TypeFor[I]())
	op := huma.Operation{
		Method: r.Method, Path: r.Path, OperationID: r.ID, Tags: []string{r.Tag}, Summary: r.Summary, Description: r.Description,
		DefaultStatus: r.Status, MaxBodyBytes: cmp.Or(r.MaxBody, maxBody),
		Errors:     slices.Concat(errorsOfAll, r.Errors),
		Extensions: map[string]any{rightKey: string(r.Right)},
	}
	if r.MaxBody > 0 {
		op.BodyReadTimeout = filesTimeout
	}
	if hasBody {
		op.Errors = append(op.Errors, errorsOfBodies...)
	}
	if r.Method == http.MethodPost {
		op.Errors = append(op.Errors, errorsOfKeys...)
	}
	if r.Method != http.MethodGet {
		op.Errors = append(op.Errors, http.StatusConflict) // someone else changed the same
	}
	if strings.Contains(r.Path, "{") {
		op.Errors = append(op.Errors, http.StatusNotFound)
	}
	slices.Sort(op.Errors)
	op.Errors = slices.Compact(op.Errors)
	if r.Method == http.MethodPost {
		op.Parameters = append(op.Parameters, idempotencyParameter())
	}
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		q := requestOf(ctx)
		if r.Right != Anyone && !q.Principal.Can(r.Right) {
			return nil, a.problem(ctx, forbidden(r.Right)).answered()
		}
		out, err := f(ctx, q, in)
		if err != nil {
			return nil, a.problem(ctx, err).answered()
		}
		fill(reflect.ValueOf(out))
		return out, nil
	})
}

// Statuses that operations answer without their function being asked.
var (
	errorsOfAll = []int{ // 422: a parameter that there isn't, at least
		http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
	}
	errorsOfBodies = []int{http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType}
	errorsOfKeys   = []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge} // idempotency keys
)

// bodyOf is the field of an input that holds the request's body.
func bodyOf(input reflect.Type) (reflect.StructField, bool) {
	if f, ok := input.FieldByName("Body"); ok {
		return f, true
	}
	return input.FieldByName("RawBody")
}

// maxBody is how long a body may be, in bytes: a workflow's document is no longer.
const maxBody = 1 << 20

// notFound answers for paths that there are not.
func (a *API) notFound(mux *http.ServeMux) {
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if allowed := methods(mux, r); len(allowed) > 0 {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			a.fail(w, r, &Problem{Status: http.StatusMethodNotAllowed, Detail: r.URL.Path + " has no " + r.Method, Mend: "it has " + strings.Join(allowed, ", ")})
			return
		}
		a.fail(w, r, &Problem{Status: http.StatusNotFound, Detail: "there is no " + r.Method + " " + r.URL.Path, Mend: "the operations stand in " + Prefix + "/openapi.json"})
	})
}

// methods are those with which there is something at a request's path.
func methods(mux *http.ServeMux, r *http.Request) []string {
	var list []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := &http.Request{Method: method, URL: r.URL, Host: r.Host}
		if _, pattern := mux.Handler(other); pattern != "" && pattern != "/" {
			list = append(list, method)
		}
	}
	return list
}

// recoverPanic answers what panics, and says where.
func (a *API) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p) // the server's way to end a connection
			}
			a.cfg.Logger.ErrorContext(r.Context(), "a request panicked, which is a mistake in Rowbell", "request_id", idOf(r.Context()), "path", r.URL.Path, "err", p)
			a.fail(w, r, &Problem{Status: http.StatusInternalServerError})
		}()
		next.ServeHTTP(w, r)
	})
}

// takes says what an operation's body is like that the operation reads itself.
func (a *API) takes(id string, body any) {
	for _, item := range a.huma.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Post, item.Put, item.Patch} {
			if op == nil || op.OperationID != id {
				continue
			}
			schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(body), true, "")
			op.RequestBody.Content = map[string]*huma.MediaType{"application/json": {Schema: schema}, "application/yaml": {Schema: schema}}
		}
	}
}

// gives says that what an operation answers is of a kind, not JSON. It has no schema: that
// would be of one document, and there may be several.
func (a *API) gives(id, kind string) {
	for _, item := range a.huma.OpenAPI().Paths {
		if op := item.Get; op != nil && op.OperationID == id {
			r := op.Responses["200"]
			delete(r.Headers, "Content-Type") // a header of this name says nothing (OpenAPI 3.1, Response Object)
			r.Content = map[string]*huma.MediaType{kind: {}}
		}
	}
}
