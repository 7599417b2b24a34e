package ui

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
)

// caller asks the API in the name of a request's sender.
type caller struct {
	api    http.Handler
	r      *http.Request // of the visitor: whence it comes is told on
	token  string        // what the visitor has shown
	tenant string        // in which they act; "": as the token says
}

// get asks for something, and reads the answer into out. path is below api.Prefix, and must be
// escaped.
func (c *caller) get(path string, query url.Values, out any) error {
	return c.call(http.MethodGet, path, query, nil, out)
}

// call sends in as JSON, unless it is nil, and reads the answer into out, unless that is nil.
// An answer that isn't a success is an *api.Problem.
func (c *caller) call(method, path string, query url.Values, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("ask for %s %s: %w", method, path, err)
		}
	}
	answer, err := c.send(method, path, query, body, map[string]string{"Content-Type": "application/json"})
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(answer.body.Bytes(), out); err != nil {
		return fmt.Errorf("read the answer to %s %s: %w", method, path, err)
	}
	return nil
}

// send sends a body, and returns an answer that is a success.
func (c *caller) send(method, path string, query url.Values, body []byte, headers map[string]string) (*answer, error) {
	r, err := c.request(method, path, query, body)
	if err != nil {
		return nil, err
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	a := &answer{header: make(http.Header), status: http.StatusOK}
	c.api.ServeHTTP(a, r)
	if a.status/100 != 2 {
		p := &api.Problem{Status: a.status, Detail: http.StatusText(a.status)}
		if err := json.Unmarshal(a.body.Bytes(), p); err != nil {
			return nil, errors.Join(p, err)
		}
		return nil, p
	}
	return a, nil
}

// request makes a request to the API as the visitor would send it.
func (c *caller) request(method, path string, query url.Values, body []byte) (*http.Request, error) {
	target := api.Prefix + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(c.r.Context(), method, target, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask for %s %s: %w", method, path, err)
	}
	r.RemoteAddr, r.RequestURI, r.Host = c.r.RemoteAddr, target, c.r.Host
	for _, name := range []string{"X-Forwarded-For", "User-Agent", "Last-Event-Id", "X-Request-Id"} {
		if values := c.r.Header.Values(name); len(values) > 0 {
			r.Header[name] = values
		}
	}
	if len(body) == 0 {
		r.Body = http.NoBody
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	if c.tenant != "" {
		r.Header.Set(access.TenantHeader, c.tenant)
	}
	return r, nil
}

// answer is what the API wrote.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// at makes a path of ids, which may be any texts: at("/workflows/%s/draft", id).
func at(path string, ids ...string) string {
	escaped := make([]any, len(ids))
	for i, id := range ids {
		escaped[i] = url.PathEscape(id)
	}
	return fmt.Sprintf(path, escaped...)
}

// problemOf is what is wrong, for a page; an error that is none of the API's is a 500.
func problemOf(err error) *api.Problem {
	var p *api.Problem
	if errors.As(err, &p) {
		return p
	}
	return &api.Problem{Status: http.StatusInternalServerError, Detail: "something went wrong here", Mend: "try again; the log of rowbell has more"}
}

// problemPage shows a problem of a form on the page that has the form.
func problemPage(p *page, err error) (*page, error) {
	p.problem = problemOf(err)
	if p.problem.Status >= 500 {
		return nil, err
	}
	p.status = p.problem.Status
	return p, nil
}

func notFound(format string, args ...any) error {
	return &api.Problem{Status: http.StatusNotFound, Detail: fmt.Sprintf(format, args...)}
}

// address is the first word of a message that begins with where something is: it stays as it is.
var address = regexp.MustCompile(`^\S*(?:://|[a-z0-9]\.[a-z0-9])`)

// sentenceCase begins a message as people write.
func sentenceCase(s string) string {
	if s == "" {
		return s
	}
	r := []rune(s)
	if !address.MatchString(s) {
		s = strings.ToUpper(string(r[0])) + string(r[1:])
	}
	if last := r[len(r)-1]; last != '.' && last != '!' && last != '?' && last != ';' {
		s += "."
	}
	return s
}
