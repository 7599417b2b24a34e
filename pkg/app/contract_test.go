package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/rowbell/rowbell/pkg/admin/api"
)

// contract holds requests and their answers against the documents that the server serves, in
// both their forms.
type contract struct {
	operations map[string]*http.ServeMux // by the path of the document
}

// exchange is one request and its answer.
type exchange struct {
	request *http.Request
	sent    []byte
	answer  *answer
	refuses bool // what is no request must be
	err     error
}

type exchangeKey struct{}

var theContract struct {
	sync.Mutex
	*contract
}

// contractOf reads the documents once: every server serves the same.
func contractOf(t testing.TB, base string) *contract {
	theContract.Lock()
	defer theContract.Unlock()
	if theContract.contract == nil {
		c, err := readContract(t.Context(), base)
		if err != nil {
			t.Fatal(err)
		}
		theContract.contract = c
	}
	return theContract.contract
}

func readContract(ctx context.Context, base string) (*contract, error) {
	c := &contract{make(map[string]*http.ServeMux)}
	for _, path := range []string{"/openapi.json", "/openapi-3.0.json"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		raw, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		doc, err := openapi3.NewLoader().LoadFromData(raw)
		if err == nil {
			err = doc.Validate(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("%s is no OpenAPI document: %w", path, err)
		}
		// The server goes by such a mux as well.
		mux := http.NewServeMux()
		for at, item := range doc.Paths.Map() {
			for method, op := range item.Operations() {
				route := &routers.Route{Spec: doc, Path: at, PathItem: item, Method: method, Operation: op}
				mux.HandleFunc(method+" "+api.Prefix+at, func(_ http.ResponseWriter, r *http.Request) {
					x := r.Context().Value(exchangeKey{}).(*exchange)
					x.err = x.fits(r, route)
				})
			}
		}
		c.operations[path] = mux
	}
	return c, nil
}

// check returns what of an exchange isn't as the documents have it. A request that isn't
// must be refused.
func (c *contract) check(req *http.Request, sent []byte, a *answer) error {
	return c.exchanged(exchange{request: req, sent: sent, answer: a, refuses: true})
}

// checkAnswer looks at the answer alone.
func (c *contract) checkAnswer(req *http.Request, a *answer) error {
	return c.exchanged(exchange{request: req, answer: a})
}

func (c *contract) exchanged(of exchange) error {
	var wrong []error
	req := of.request
	for path, mux := range c.operations {
		one := of
		x := &one
		r := req.Clone(context.WithValue(req.Context(), exchangeKey{}, x))
		r.RequestURI = r.URL.RequestURI()
		if _, pattern := mux.Handler(r); pattern == "" {
			continue // it is no operation
		}
		mux.ServeHTTP(nil, r)
		if x.err != nil {
			wrong = append(wrong, fmt.Errorf("by %s: %w", path, x.err))
		}
	}
	return errors.Join(wrong...)
}

// fits judges an exchange by one operation; matched has the parts of the path.
func (x *exchange) fits(matched *http.Request, route *routers.Route) error {
	r := x.request.Clone(x.request.Context())
	r.Body, r.GetBody = io.NopCloser(bytes.NewReader(x.sent)), nil
	if len(x.sent) == 0 {
		r.Body = http.NoBody
	}
	in := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: make(map[string]string), Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, RejectWhenRequestBodyNotSpecified: true, SkipSettingDefaults: true,
		},
	}
	for _, params := range []openapi3.Parameters{route.PathItem.Parameters, route.Operation.Parameters} {
		for _, p := range params {
			if p.Value.In == openapi3.ParameterInPath {
				in.PathParams[p.Value.Name] = matched.PathValue(p.Value.Name)
			}
		}
	}
	if x.refuses && x.answer.status/100 == 2 {
		if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil {
			return fmt.Errorf("what is answered by %d is no request of %s: %w", x.answer.status, route.Operation.OperationID, err)
		}
	}
	stated := route.Operation.Responses.Status(x.answer.status)
	if stated == nil {
		return fmt.Errorf("%s doesn't state that it answers %d", route.Operation.OperationID, x.answer.status)
	}
	kind, _, _ := strings.Cut(x.answer.header.Get("Content-Type"), ";")
	switch {
	case len(stated.Value.Content) == 0 && len(x.answer.body) > 0:
		return fmt.Errorf("%s doesn't state that %d has a body", route.Operation.OperationID, x.answer.status)
	case kind == "text/event-stream" && stated.Value.Content[kind] != nil:
		return nil // what has no end was not read
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: x.answer.status, Header: x.answer.header, Options: in.Options}
	out.SetBodyBytes(x.answer.body)
	if err := openapi3filter.ValidateResponse(r.Context(), out); err != nil {
		return fmt.Errorf("%d of %s: %w", x.answer.status, route.Operation.OperationID, err)
	}
	return nil
}

// wrongly sends what an operation can't take, each of which it must refuse and say so as the
// document states.
func wrongly(t *testing.T, c *client, of call) {
	t.Helper()
	refused := func(what, path string, body any, headers ...string) {
		t.Helper()
		if a := c.ask(of.method, path, body, headers...); a.status/100 != 4 || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s with %s is answered by %d: %s", of.id, what, a.status, a.body)
		}
	}
	path, _, _ := strings.Cut(of.path, "?")
	refused("a parameter that there isn't", path+"?nonsense=1", of.body)
	if of.body != nil {
		refused("a body that is no JSON", of.path, "{", "Content-Type", "application/json")
		refused("a list as its body", of.path, []any{1})
		refused("a body of an unknown kind", of.path, "a text", "Content-Type", "text/plain")
		refused("a body that is too long", of.path, strings.Repeat(" ", 1<<20)+"{}", "Content-Type", "application/json")
	}
	if of.method == http.MethodPost {
		refused("an idempotency key that is too long", of.path, of.body, "Idempotency-Key", strings.Repeat("k", 256))
	}
	if parts := strings.Split(path, "/"); len(parts) > 2 && parts[1] != "people" && of.id != "putTemplate" { // anything may be a person's id
		parts[2] = url.PathEscape("there is none")
		refused("an id that there isn't", strings.Join(parts, "/"), of.body)
	}
}
