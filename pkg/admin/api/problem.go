package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Problem is an error as problem details have it (RFC 9457), with a mend.
type Problem struct {
	Type     string       `json:"type" doc:"about:blank: the status says what kind of problem it is" example:"about:blank"`
	Title    string       `json:"title" doc:"The status in words" example:"Unprocessable Entity"`
	Status   int          `json:"status" doc:"The HTTP status" example:"422"`
	Detail   string       `json:"detail" doc:"What is wrong" example:"the workflow can't be read"`
	Mend     string       `json:"mend,omitempty" doc:"What to do about it"`
	Instance string       `json:"instance,omitempty" doc:"The request, as urn:rowbell:request:<id>; the same id stands in the log" example:"urn:rowbell:request:01K0"`
	Errors   []FieldError `json:"errors,omitempty" doc:"Each thing that is wrong, where there are several or it has a place"`
	Tenants  []string     `json:"tenants,omitempty" doc:"Of 403: you are a member of these, and have to say by the header Rowbell-Tenant in which you act"`
	wait     int          // seconds for Retry-After; 0: none
}

// FieldError is one thing that is wrong with a request.
type FieldError struct {
	Detail  string `json:"detail" doc:"What is wrong"`
	Pointer string `json:"pointer,omitempty" doc:"Where in the body: a JSON pointer as a URI fragment (RFC 6901)" example:"#/triggers/0/entity_type"`
	// Parameter is a query parameter, a header or a part of the path.
	Parameter string `json:"parameter,omitempty" doc:"Or which parameter, as query.limit"`
	Line      int    `json:"line,omitempty" doc:"Line in an expression, from 1"`
	Column    int    `json:"column,omitempty" doc:"Column in it, in characters, from 1"`
	Snippet   string `json:"snippet,omitempty" doc:"The expression's line, with a mark below it"`
	Mend      string `json:"mend,omitempty" doc:"What to do about it"`
	// Where and Place are for people.
	Where string `json:"where,omitempty" doc:"Where in the workflow, in words; detail begins with it" example:"trigger 1 (orders update), field_conditions.total"`
	Place string `json:"place,omitempty" doc:"Where in the text that was sent: line:column, from 1, behind the file's name if files were sent" example:"workflows/large-order.yaml:11:7"`
	// Test and Differences are of a saved test that fails.
	Test        string   `json:"test,omitempty" doc:"The saved test that fails"`
	Differences []string `json:"differences,omitempty" doc:"What of it is not as it is expected"`
	Warning     bool     `json:"warning,omitempty" doc:"It is worth knowing, and no error"`
}

func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is RFC 9457's.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// The library makes errors and schemas by these variables: there is no other way to give them
// our shape.
func init() {
	huma.DefaultArrayNullable = false // nor do we answer null for a list
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		return newProblem(status, message, errs)
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, message string, errs ...error) huma.StatusError {
		p := newProblem(status, message, errs)
		if ctx != nil {
			p.Instance = instance(ctx.Context())
		}
		return p
	}
}

func newProblem(status int, message string, errs []error) *Problem {
	p := &Problem{Status: status, Detail: message}
	if status >= http.StatusInternalServerError {
		p.Detail, errs = "", nil
	}
	for _, err := range errs {
		var d huma.ErrorDetailer
		if !errors.As(err, &d) {
			p.Errors = append(p.Errors, FieldError{Detail: err.Error()})
			continue
		}
		e := FieldError{Detail: d.ErrorDetail().Message}
		where := d.ErrorDetail().Location
		if rest, ok := strings.CutPrefix(where, "body"); ok {
			e.Pointer = "#" + pointerOf(rest)
		} else {
			e.Parameter = where
		}
		p.Errors = append(p.Errors, e)
	}
	if message == "validation failed" {
		p.Detail = "the request is not as the operation's schema has it"
		p.Mend = "see errors; the schema stands in " + Prefix + "/openapi.json"
	}
	return p.whole()
}

// pointerOf makes a JSON pointer of a path as the library has it: .items[3].tags.
func pointerOf(path string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(strings.NewReplacer("[", ".", "]", "").Replace(path), ".") {
		if part != "" {
			b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(part))
		}
	}
	return b.String()
}

// whole fills in what follows from the rest.
func (p *Problem) whole() *Problem {
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	if p.Detail == "" {
		p.Detail = "something failed that should not"
		p.Mend = "try again; if it stays so, the log has more under the request's id"
	}
	return p
}

func instance(ctx context.Context) string {
	if id := idOf(ctx); id != "" {
		return "urn:rowbell:request:" + id
	}
	return ""
}

// fail answers with a problem outside of an operation.
func (a *API) fail(w http.ResponseWriter, r *http.Request, p *Problem) {
	p.Instance = instance(r.Context())
	body, err := json.Marshal(p.whole())
	if err != nil { // it has texts and numbers
		http.Error(w, http.StatusText(p.Status), p.Status)
		return
	}
	h := w.Header()
	h.Set("Content-Type", p.ContentType(""))
	if p.wait > 0 {
		h.Set("Retry-After", fmt.Sprint(p.wait))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="rowbell"`)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // the client has gone away: nobody to tell
}

func forbidden(right access.Right) error {
	return &Problem{
		Status: http.StatusForbidden, Detail: "this needs the right " + string(right),
		Mend: "use a key, or a member, with a role that has it; GET " + Prefix + "/me says what you have",
	}
}

func notFound(format string, args ...any) error {
	return &Problem{Status: http.StatusNotFound, Detail: fmt.Sprintf(format, args...)}
}

// unprocessable says what is wrong with one field of the body, or with a parameter if where
// has no slash.
func unprocessable(where, mend, format string, args ...any) error {
	e := FieldError{Detail: fmt.Sprintf(format, args...), Mend: mend}
	if strings.HasPrefix(where, "/") {
		e.Pointer = "#" + where
	} else {
		e.Parameter = where
	}
	return &Problem{Status: http.StatusUnprocessableEntity, Detail: e.Detail, Mend: mend, Errors: []FieldError{e}}
}

// problem is what a caller is told of an error. Those of the database stay in the log.
func (a *API) problem(ctx context.Context, err error) *Problem {
	var p *Problem
	var blocked *definition.BlockedError
	var failing *definition.TestsError
	var wrong *definition.Problem
	var refused *access.Error
	switch {
	case errors.As(err, &p):
	case errors.As(err, &refused):
		p = &Problem{Status: refused.Status, Detail: refused.Reason, Tenants: refused.Tenants, wait: int(math.Ceil(refused.RetryAfter.Seconds()))}
		if refused.Err != nil {
			a.cfg.Logger.WarnContext(ctx, "who sends a request could not be found out", "request_id", idOf(ctx), "err", refused.Err)
		}
	case errors.As(err, &blocked):
		p = &Problem{Status: http.StatusUnprocessableEntity, Detail: blocked.Error(), Errors: problemsOf(blocked.Report.Errors)}
	case errors.As(err, &failing):
		p = &Problem{Status: http.StatusUnprocessableEntity, Detail: failing.Error(), Errors: failures(failing.Failed)}
	case errors.As(err, &wrong):
		p = &Problem{Status: http.StatusUnprocessableEntity, Detail: "the document can't be read"}
		for _, each := range wrongs(err) {
			p.Errors = append(p.Errors, FieldError{Detail: each.Message, Pointer: each.Pointer, Place: placeOf(each)})
		}
	case errors.Is(err, workflow.ErrNotFound):
		p = &Problem{Status: http.StatusNotFound, Detail: err.Error()}
	case errors.Is(err, workflow.ErrConflict):
		p = &Problem{Status: http.StatusConflict, Detail: err.Error()}
	case store.IsCollision(err):
		p = &Problem{Status: http.StatusConflict, Detail: "another change was made to the same at the same time", Mend: "send the request again"}
	case errors.Is(err, store.ErrPrivilege):
		a.cfg.Logger.WarnContext(ctx, "the database did not allow a request", "request_id", idOf(ctx), "err", err)
		p = &Problem{Status: http.StatusForbidden, Detail: "the database doesn't allow it", Mend: "the log has more under the request's id; rowbell check finds rights that are missing"}
	case errors.Is(err, workflow.ErrRefused) && !store.IsDatabaseError(err):
		p = &Problem{Status: http.StatusUnprocessableEntity, Detail: err.Error()}
	case errors.Is(err, workflow.ErrRefused) || store.IsValueError(err):
		p = &Problem{
			Status: http.StatusUnprocessableEntity, Detail: "the request has a value that the database can't take",
			Mend: "texts are UTF-8 without the character 0, numbers are in the range of their type, and a row's key is of its column's type",
		}
	case errors.Is(err, workflow.ErrUnavailable):
		a.cfg.Logger.WarnContext(ctx, "a request failed", "request_id", idOf(ctx), "err", err)
		p = &Problem{Status: http.StatusServiceUnavailable, Detail: "the database can't be reached", Mend: "try again in a moment; health says more", wait: 2}
	case ctx.Err() != nil:
		p = &Problem{Status: http.StatusServiceUnavailable, Detail: "the request was cut off", Mend: "try again"}
	case store.IsTimeout(err):
		a.cfg.Logger.WarnContext(ctx, "a request took the database too long", "request_id", idOf(ctx), "err", err)
		p = &Problem{Status: http.StatusGatewayTimeout, Detail: "it took the database too long, and was given up", Mend: "ask for less: one workflow, a shorter time or a smaller limit"}
	default:
		a.cfg.Logger.WarnContext(ctx, "a request failed", "request_id", idOf(ctx), "err", err)
		p = &Problem{Status: http.StatusInternalServerError}
	}
	p.Instance = instance(ctx)
	p.Detail, p.Mend = options.Replace(p.Detail), options.Replace(p.Mend)
	for i := range p.Errors {
		p.Errors[i].Detail, p.Errors[i].Mend = options.Replace(p.Errors[i].Detail), options.Replace(p.Errors[i].Mend)
	}
	return p.whole()
}

// options are what texts that command line and API share call by the option of a command; the
// API has it as a query parameter.
var options = strings.NewReplacer("--version ", "version ", "--force", "?force=true", "--replace", "?replace=true", "--new-ids puts", "?new_ids=true puts", "--new-ids gives", "?new_ids=true gives",
	"and --tenant says", "and what you write is of", "leave --tenant out, or tenant_id", "leave tenant_id out of one of them")

// answered is a problem as an operation returns it, with its headers.
func (p *Problem) answered() error {
	if p.wait > 0 {
		return huma.ErrorWithHeaders(p, http.Header{"Retry-After": {strconv.Itoa(p.wait)}})
	}
	return p
}

// wrongs are the problems that an error joins.
func wrongs(err error) []*definition.Problem {
	var list []*definition.Problem
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			list = append(list, wrongs(e)...)
		}
		return list
	}
	var p *definition.Problem
	if errors.As(err, &p) {
		list = append(list, p)
	}
	return list
}

// placeOf is where in what was sent a problem stands; what came alone has no name.
func placeOf(p *definition.Problem) string {
	if p.Line == 0 && strings.HasPrefix(p.File, bodyName) {
		return ""
	}
	place, _ := strings.CutSuffix(p.Error(), ": "+p.Message)
	if rest, alone := strings.CutPrefix(place, bodyName); alone {
		_, place, _ = strings.Cut(rest, ":") // .yaml:11:7
	}
	return place
}

// problemsOf are what a check found, as errors of fields.
func problemsOf(list []match.Problem) []FieldError {
	out := make([]FieldError, len(list))
	for i, p := range list {
		out[i] = FieldError{Detail: p.Message, Line: p.Line, Column: p.Column, Snippet: p.Snippet, Mend: p.Mend}
		if p.Where != "" {
			out[i].Detail, out[i].Where = p.Where+": "+p.Message, p.Where
		}
	}
	return out
}

// failures are saved tests that fail, each with what isn't as expected.
func failures(list []trial.Tested) []FieldError {
	out := make([]FieldError, len(list))
	for i, t := range list {
		out[i] = FieldError{Detail: fmt.Sprintf("test %q: %s", t.Name, strings.Join(t.Differences, "; ")), Test: t.Name, Differences: t.Differences}
	}
	return out
}

func isNotFound(err error) bool { return errors.Is(err, workflow.ErrNotFound) }

// isMissing says that there is no such thing, or that it is another's.
func isMissing(err error) bool {
	var p *Problem
	return isNotFound(err) || errors.As(err, &p) && p.Status == http.StatusNotFound
}

func isConflict(err error) bool { return errors.Is(err, workflow.ErrConflict) }

// isOfDatabase says that an error is no word for whoever asks.
func isOfDatabase(err error) bool {
	return errors.Is(err, workflow.ErrUnavailable) || store.IsDatabaseError(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
