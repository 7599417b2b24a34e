package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
)

// Config says which server is asked, and by what.
type Config struct {
	// URL is the server's, without api.Prefix.
	URL string
	// Key is an API key, or another token that the API takes; KeyFrom is where it stands, for
	// messages.
	Key, KeyFrom string
	// Version is of Rowbell, and stands in User-Agent.
	Version string
	// Timeout is how long one answer may take, but for streams. Defaults to 60 s: the server
	// gives up before.
	Timeout time.Duration
}

// Client asks one server. Its methods may be called from any goroutine.
type Client struct {
	cfg    Config
	http   *http.Client
	tenant string // in which it acts; "" as the key says
	// sleep waits; for tests.
	sleep func(ctx context.Context, d time.Duration) error
}

// New makes a client. Proxies are those of HTTPS_PROXY, HTTP_PROXY and NO_PROXY, authorities
// those of the system, or of SSL_CERT_FILE.
func New(cfg Config) *Client {
	cfg.Timeout = cmp.Or(cfg.Timeout, time.Minute)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = cfg.Timeout
	return &Client{
		cfg: cfg,
		http: &http.Client{
			Transport: transport,
			// The key is for the server that was named, and for nobody it sends on to.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		sleep: sleep,
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close frees its connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// in acts in one tenant: who may act in several must say so. nil and "" leave it to the key.
func (c *Client) in(tenant *string) *Client {
	if tenant == nil || *tenant == "" {
		return c
	}
	of := *c
	of.tenant = *tenant
	return &of
}

// request is one request, below api.Prefix.
type request struct {
	method, path string
	query        url.Values
	header       http.Header
	kind         string // of the body
	body         []byte
	stream       bool // the answer goes on for long
}

// at makes a path of ids, which may be any texts: at("/workflows/%s/draft", id).
func at(path string, ids ...string) string {
	escaped := make([]any, len(ids))
	for i, id := range ids {
		escaped[i] = url.PathEscape(id)
	}
	return fmt.Sprintf(path, escaped...)
}

// get asks for something, and reads the answer's JSON into out.
func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	_, err := c.do(ctx, request{method: http.MethodGet, path: path, query: query}, out)
	return err
}

// post, put and remove send in as JSON, or nothing if it is nil, and read the answer's JSON
// into out unless that is nil.
func (c *Client) post(ctx context.Context, path string, query url.Values, in, out any) error {
	return c.write(ctx, http.MethodPost, path, query, in, out)
}

func (c *Client) put(ctx context.Context, path string, query url.Values, in, out any) error {
	return c.write(ctx, http.MethodPut, path, query, in, out)
}

func (c *Client) remove(ctx context.Context, path string, query url.Values, out any) error {
	return c.write(ctx, http.MethodDelete, path, query, nil, out)
}

func (c *Client) write(ctx context.Context, method, path string, query url.Values, in, out any) error {
	r := request{method: method, path: path, query: query}
	if in != nil {
		var err error
		if r.body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("write a request as JSON: %w", err)
		}
		r.kind = "application/json"
	}
	_, err := c.do(ctx, r, out)
	return err
}

// mostAnswer bounds what is read of an answer, in bytes.
const mostAnswer = 256 << 20

// do sends a request and reads the answer's JSON into out, unless that is nil. It returns the
// answer's headers.
func (c *Client) do(ctx context.Context, r request, out any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, longestCall)
	defer cancel()
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	if out == nil {
		return resp.Header, nil
	}
	if err := c.is(resp, "application/json"); err != nil {
		return nil, err
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, mostAnswer)).Decode(out); err != nil {
		return nil, &Error{text: fmt.Sprintf("the answer of %s can't be read: %v", c.host(), err), mend: "Update the older of this rowbell and the server"}
	}
	return resp.Header, nil
}

// Bounds of sending again.
const (
	mostTries   = 6
	mostWait    = 30 * time.Second
	longestCall = 5 * time.Minute // with all tries
	firstWait   = 500 * time.Millisecond
)

// send sends a request, again where that makes sense, until it is answered by a status below
// 300. The answer's body is the caller's to close. Another answer is an *Error.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	if slices.ContainsFunc(strings.Split(r.path, "/")[1:], func(part string) bool { return part == "" || part == "." || part == ".." }) {
		return nil, &Error{Status: http.StatusNotFound, text: "an id is missing, or is one that nothing can have"}
	}
	key := ulid.Make().String() // of all tries
	for try := 1; ; try++ {
		resp, err := c.once(ctx, r, key)
		var wait time.Duration
		switch {
		case err != nil:
			if ctx.Err() != nil || try == mostTries || !again(r.method, err) {
				return nil, c.unreached(ctx, err)
			}
			wait = firstWait << (try - 1)
		case resp.StatusCode < 300:
			return resp, nil
		default:
			problem := c.problem(r, resp)
			_ = resp.Body.Close()
			wait = firstWait << (try - 1)
			if after, ok := retryAfter(resp); ok {
				wait = after
			}
			if try == mostTries || wait > mostWait || !passes(r.method, resp.StatusCode) {
				return nil, problem
			}
		}
		if err := c.sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// passes says that a status may pass, and that sending the request again does no harm.
func passes(method string, status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return true // nothing was done
	case http.StatusBadGateway, http.StatusGatewayTimeout: // by a proxy, which knows nothing of that
		return method == http.MethodGet || method == http.MethodPost
	}
	return false
}

// retryAfter is how long the server asks to wait, which is seconds of ours; the date that a
// proxy may send is no matter here.
func retryAfter(resp *http.Response) (time.Duration, bool) {
	n, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || n < 0 || n > 1<<20 {
		return 0, false
	}
	return time.Duration(n) * time.Second, true
}

func (c *Client) once(ctx context.Context, r request, key string) (*http.Response, error) {
	u := c.cfg.URL + api.Prefix + r.path
	if len(r.query) > 0 {
		u += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.Header.Set("Authorization", "Bearer "+c.cfg.Key)
	req.Header.Set("User-Agent", "rowbell/"+c.cfg.Version)
	req.Header.Set("X-Request-Id", ulid.Make().String())
	if r.kind != "" {
		req.Header.Set("Content-Type", r.kind)
	}
	if c.tenant != "" {
		req.Header.Set(access.TenantHeader, c.tenant)
	}
	if r.method == http.MethodPost {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.http.Do(req)
	if err != nil || r.stream {
		return resp, err
	}
	// All of it is read here, so that an answer that breaks off is one that is asked for again.
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, err
}

// is an error unless an answer is of a kind.
func (c *Client) is(resp *http.Response, kind string) error {
	if got, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); got != kind {
		return c.stranger(resp, got)
	}
	return nil
}

// host is what messages call the server.
func (c *Client) host() string { return c.cfg.URL }

// page is one page of a list.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

// mostPage is how many items are asked for at once.
const mostPage = 200

// each asks for a list page by page, as far as it is read. The query may have no limit and no
// cursor.
func each[T any](ctx context.Context, c *Client, path string, query url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		q := url.Values{}
		for name, values := range query {
			q[name] = values
		}
		q.Set("limit", strconv.Itoa(mostPage))
		for {
			var p page[T]
			if err := c.get(ctx, path, q, &p); err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range p.Items {
				if !yield(item, nil) {
					return
				}
			}
			if p.Next == "" {
				return
			}
			q.Set("cursor", p.Next)
		}
	}
}

// collect reads a list that comes in pages, most items of it; 0 is all.
func collect[T any](ctx context.Context, c *Client, path string, query url.Values, most int) ([]T, error) {
	list := []T{}
	for item, err := range each[T](ctx, c, path, query) {
		if err != nil {
			return nil, err
		}
		if list = append(list, item); len(list) == most {
			break
		}
	}
	return list, nil
}

// whole reads a list that comes whole.
func whole[T any](ctx context.Context, c *Client, path string, query url.Values) ([]T, error) {
	p := page[T]{Items: []T{}}
	err := c.get(ctx, path, query, &p)
	return p.Items, err
}

// ofTenant is the query of lists that one tenant's things are asked of; nil: of all.
func ofTenant(tenant *string) url.Values {
	q := url.Values{}
	if tenant != nil {
		q.Set("tenant", *tenant)
	}
	return q
}
