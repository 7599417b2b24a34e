package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Error says why a server didn't do what was asked for. It is workflow.ErrNotFound,
// ErrConflict, ErrRefused or ErrUnavailable, as the same is on the databases.
type Error struct {
	Status int          // of the answer; 0 there was none
	of     *api.Problem // what the server says; nil if it isn't Rowbell's word
	text   string
	mend   string
}

func (e *Error) Error() string { return e.text }

// Mend is what to do about it; "" if the text says it, or nobody knows.
func (e *Error) Mend() string { return e.mend }

// Is says what an error of the databases it is.
func (e *Error) Is(target error) bool {
	switch e.Status {
	case http.StatusNotFound:
		return target == workflow.ErrNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return target == workflow.ErrConflict
	case http.StatusUnprocessableEntity, http.StatusBadRequest:
		return target == workflow.ErrRefused || target == access.ErrInvalid
	case http.StatusServiceUnavailable, 0:
		return target == workflow.ErrUnavailable
	}
	return false
}

// mostProblem bounds what is read of an error.
const mostProblem = 1 << 20

// asOptions gives back the options that the API's texts call query parameters.
var asOptions = strings.NewReplacer("?force=true", "--force", "?replace=true", "--replace", "?new_ids=true", "--new-ids")

// sentence is a mend as ours are written.
func sentence(mend string) string {
	mend = asOptions.Replace(mend)
	if mend == "" || strings.HasPrefix(mend, "rowbell ") {
		return mend
	}
	return strings.ToUpper(mend[:1]) + mend[1:]
}

// problem reads what a server answers in place of what was asked for.
func (c *Client) problem(r request, resp *http.Response) error {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var p api.Problem
	body, _ := io.ReadAll(io.LimitReader(resp.Body, mostProblem))
	if kind != "application/problem+json" || json.Unmarshal(body, &p) != nil {
		if strings.Contains(string(body), "HTTP request to an HTTPS server") {
			return &Error{Status: resp.StatusCode, text: c.host() + " speaks TLS", mend: "Write " + strings.Replace(c.host(), "http://", "https://", 1)}
		}
		return c.stranger(resp, kind)
	}
	e := &Error{Status: resp.StatusCode, of: &p, text: asOptions.Replace(p.Detail), mend: sentence(p.Mend)}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		e.text = fmt.Sprintf("%s doesn't know who asks: %s (%s)", c.host(), p.Detail, c.shown())
		e.mend = "Set ROWBELL_KEY to a key that counts; rowbell key create makes one, where the databases are"
	case http.StatusForbidden:
		e.text += " (" + c.shown() + ")"
		if strings.HasPrefix(p.Detail, "this needs the right ") {
			e.mend = "Use a key with a role that has it"
		}
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		path := api.Prefix + r.path
		if resp.StatusCode == http.StatusMethodNotAllowed || p.Detail == "there is no "+r.method+" "+unescaped(path) || p.Detail == "there is no "+r.method+" "+path {
			e.text = fmt.Sprintf("%s is older than this rowbell: it has no %s %s", c.host(), r.method, path)
			e.mend = "Update the server, or use a rowbell of its version"
			e.Status = http.StatusMethodNotAllowed // it is not that there is no such thing
		}
	case http.StatusInternalServerError:
		e.text = fmt.Sprintf("%s failed: %s", c.host(), p.Detail)
		if _, id, ok := strings.Cut(p.Instance, "request:"); ok {
			e.mend = "Its log has more under the request's id, " + id
		}
	}
	if list := e.parts(); len(list) > 1 {
		return errors.Join(list...)
	} else if len(list) == 1 {
		return list[0]
	}
	return e
}

func unescaped(path string) string {
	if plain, err := url.PathUnescape(path); err == nil {
		return plain
	}
	return path
}

// parts are the single things that are wrong, where the whole says only that something is.
func (e *Error) parts() []error {
	if e.Status != http.StatusUnprocessableEntity {
		return nil
	}
	var list []error
	for _, f := range e.of.Errors {
		one := &Error{Status: e.Status, of: e.of, text: asOptions.Replace(f.Detail), mend: sentence(f.Mend)}
		where := f.Parameter
		if where == "" && f.Pointer != "" {
			where = strings.TrimPrefix(f.Pointer, "#/")
		}
		if f.Detail != e.of.Detail && where != "" {
			one.text = where + ": " + one.text
		}
		list = append(list, one)
	}
	return list
}

// shown names the key, and never its secret.
func (c *Client) shown() string {
	if strings.HasPrefix(c.cfg.Key, "rbk_") {
		if id := access.KeyID(c.cfg.Key); id != "" && len(id) <= 32 {
			return "key " + id + " of " + c.cfg.KeyFrom
		}
	}
	return "by the token of " + c.cfg.KeyFrom
}

// stranger is an answer that no Rowbell server gives.
func (c *Client) stranger(resp *http.Response, kind string) error {
	e := &Error{Status: resp.StatusCode, mend: "Check the URL of the server; a proxy before it must pass " + api.Prefix + "/ on"}
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		e.text = fmt.Sprintf("%s sends on to %s, where the key isn't sent", c.host(), resp.Header.Get("Location"))
		e.mend = "If that is your server, name it by --server or ROWBELL_SERVER"
	case resp.StatusCode >= 400:
		e.text = fmt.Sprintf("%s answers %d %s, and not as a Rowbell server does", c.host(), resp.StatusCode, http.StatusText(resp.StatusCode))
	case kind == "text/html":
		e.text = c.host() + " answers with a web page, and not as a Rowbell server does"
	default:
		e.text = fmt.Sprintf("%s answers with %q, and not as a Rowbell server does", c.host(), kind)
	}
	if e.Status == http.StatusNotFound {
		e.Status = http.StatusMethodNotAllowed // nobody has looked for the thing
	}
	return e
}

// again says that a request that wasn't answered may be sent again. Where there was no
// connection it would be the same the next time, most often.
func again(method string, err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect" || op.Op == "remote error") || isTLS(err) {
		return false
	}
	return method == http.MethodGet || method == http.MethodPost
}

func isTLS(err error) bool {
	var verification *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	return errors.As(err, &verification) || errors.As(err, &header) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// unreached says why a server wasn't reached, and what to do about it.
func (c *Client) unreached(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err // it has the whole URL
	}
	e := &Error{mend: "Check the URL of the server"}
	var dns *net.DNSError
	var op *net.OpError
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var timeout net.Error
	switch at := c.host(); {
	case errors.As(err, &op) && op.Op == "proxyconnect":
		e.text = "the proxy on the way to " + at + " can't be reached: " + op.Err.Error()
		e.mend = "Check HTTPS_PROXY and HTTP_PROXY, or name the server's host in NO_PROXY"
	case errors.As(err, &dns):
		e.text = fmt.Sprintf("the host %s is not known", dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		e.text, e.mend = "nothing answers at "+at, "Check the URL of the server, and that rowbell run runs there and listens (ROWBELL_LISTEN)"
	case errors.As(err, &authority):
		e.text, e.mend = at+" shows a certificate of an unknown authority", "Name a file with the authority's certificate in SSL_CERT_FILE"
	case errors.As(err, &hostname):
		e.text, e.mend = at+" shows a certificate for another host", "Use the name that stands in the certificate"
	case errors.As(err, &invalid):
		e.text, e.mend = at+" shows a certificate that doesn't count: "+invalid.Error(), "Renew it, or set this machine's clock"
	case isTLS(err):
		e.text, e.mend = at+" doesn't speak TLS", "Name the proxy that does; or, on this machine, write "+strings.Replace(at, "https://", "http://", 1)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.text, e.mend = "no answer from "+at+" in time", "Check host and port, and that no firewall is between"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		e.text, e.mend = at+" closed the connection before its answer was there", "Look whether what was asked for is done, and try again"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		e.text, e.mend = "there is no way to "+at, "Check the host and the network"
	default:
		e.text = "can't reach " + at + ": " + err.Error()
	}
	return e
}
