// Package webhook is the action kind webhook: it POSTs a change as JSON to a URL, signed
// as the Standard Webhooks specification says.
//
// A receiver is told by three headers: webhook-id is the same for all attempts at a
// delivery, webhook-timestamp is the attempt's time, and webhook-signature is there if
// the action has a secret. Body and id don't change between attempts, byte for byte.
//
// 2026-11-25: the signature is made here and not by the reference library, which formats
// the whole message by Sprintf into a copy of the body; tests verify with the library.
//
// 2026-11-25: some receivers answer with what they were sent. Secrets and what the query
// of the URL holds are taken out of an answer before it is kept or quoted.
package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/egress"
)

// Config is the action_config of a webhook.
type Config struct {
	URL     string           `json:"url"`
	Secret  *Value           `json:"secret"`  // signs; nil: no signature
	Secrets []Value          `json:"secrets"` // sign too, each with a signature of its own; refs
	Headers map[string]Value `json:"headers"` // in addition to ours
	// Timeout bounds an attempt, from the name's lookup to the end of the answer.
	// Defaults to 15 s.
	Timeout any `json:"timeout"`
	// Rate and Concurrency bound the attempts to the URL. They default to what the operator
	// allows.
	Rate        string `json:"rate"`
	Concurrency int    `json:"concurrency"`
}

// Value is a text, or the name of a secret that holds it.
type Value struct {
	Text string
	Ref  string // "" if Text is the value
}

// UnmarshalJSON reads "text" or {"ref": "name"}.
func (v *Value) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &v.Text)
	}
	var ref struct {
		Ref string `json:"ref"`
	}
	if err := json.Unmarshal(b, &ref); err != nil {
		return errors.New(`it is neither a text nor {"ref": "name of a secret"}`)
	}
	v.Ref = ref.Ref
	return nil
}

// Schema is the JSON Schema of Config.
const Schema = `{
	"type": "object",
	"properties": {
		"url": {
			"title": "URL",
			"description": "Where to POST to. Redirects are not followed.",
			"type": "string", "format": "uri", "minLength": 1, "maxLength": 2048,
			"examples": ["https://example.com/hook"]
		},
		"secret": {
			"title": "Signing secret",
			"description": "Key of the signature: whsec_ and 16 to 128 random bytes in base64, or the name of a stored secret.",
			"$ref": "#/$defs/value",
			"examples": ["whsec_…", {"ref": "name of a secret"}]
		},
		"secrets": {
			"title": "More signing secrets",
			"description": "Stored secrets that sign too, while receivers move from one to the other: each adds a signature.",
			"type": "array", "minItems": 1, "maxItems": 4,
			"items": {"$ref": "#/$defs/ref"},
			"examples": [[{"ref": "new"}, {"ref": "old"}]]
		},
		"headers": {
			"title": "Headers",
			"description": "Headers to send besides Rowbell's own.",
			"type": "object",
			"maxProperties": 32,
			"additionalProperties": {"$ref": "#/$defs/value"},
			"examples": [{"X-Team": "sales", "Authorization": {"ref": "name of a secret"}}]
		},
		"timeout": {
			"title": "Timeout",
			"description": "How long an attempt may take: 1s to 30s, or a number of seconds.",
			"type": ["string", "number"],
			"default": "15s",
			"examples": ["10s"]
		},
		"rate": {
			"title": "Rate",
			"description": "How many attempts to this URL there may be in a second, minute or hour.",
			"type": "string", "minLength": 3, "maxLength": 20,
			"examples": ["10/s", "600/m"]
		},
		"concurrency": {
			"title": "At once",
			"description": "How many attempts to this URL may run at once.",
			"type": "integer", "minimum": 1, "maximum": 1000,
			"examples": [4]
		}
	},
	"required": ["url"],
	"additionalProperties": false,
	"$defs": {
		"value": {
			"oneOf": [
				{"type": "string", "maxLength": 8192},
				{"$ref": "#/$defs/ref"}
			],
			"examples": ["text", {"ref": "name of a secret"}]
		},
		"ref": {
			"type": "object",
			"properties": {"ref": {"type": "string", "minLength": 1, "examples": ["name of a secret"]}},
			"required": ["ref"],
			"additionalProperties": false,
			"examples": [{"ref": "name of a secret"}]
		}
	}
}`

const (
	defaultTimeout = 15 * time.Second
	minTimeout     = time.Second
	maxTimeout     = 30 * time.Second
)

// Kind returns the action kind. Requests go through client; version is Rowbell's own, for
// the header user-agent.
func Kind(client *egress.Client, version string) *actions.Kind {
	return &actions.Kind{
		Name:   "webhook",
		Title:  "Webhook",
		Help:   "POSTs the change as JSON to a URL.",
		Schema: Schema,
		Retry:  actions.StandardWebhooks,
		Parse: func(config json.RawMessage, _ actions.Texts) (actions.Runner, error) {
			var c Config
			if err := json.Unmarshal(config, &c); err != nil {
				return nil, fmt.Errorf("action_config: %w", err)
			}
			return newHook(c, client, version)
		},
	}
}

// hook is a configured webhook.
type hook struct {
	poster
	signer
	limits  actions.Limits
	headers http.Header       // that don't need a secret
	refs    map[string]string // header by name, to the name of its secret
	size    int               // bytes of headers
	hide    []string          // what of url is not to be shown
}

// poster does requests to one URL.
type poster struct {
	client      *egress.Client
	url         *url.URL
	destination string
	timeout     time.Duration
}

// newHook reports all that is wrong with a configuration. Whether an address is called is
// not settled here but when it is dialled: that is the operator's to change, and must not
// decide whether a workflow matches.
func newHook(c Config, client *egress.Client, version string) (*hook, error) {
	var problems []error
	bad := func(key string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", key, err))
		}
	}
	h := &hook{headers: ownHeaders(version), refs: make(map[string]string)}
	h.client = client
	var err error
	h.timeout, err = readTimeout(c.Timeout)
	bad("timeout", err)
	h.url, err = egress.CheckURL(c.URL)
	bad("url", err)
	if h.url != nil {
		h.destination = destinationOf(h.url)
		for _, values := range h.url.Query() {
			h.hide = append(h.hide, values...)
		}
	}
	if c.Secret != nil {
		if c.Secret.Ref == "" { // an empty text too must not come to mean no signature
			h.keys, err = readKeys(c.Secret.Text)
			bad("secret", err)
		} else {
			h.secretRefs = append(h.secretRefs, c.Secret.Ref)
		}
	}
	for _, s := range c.Secrets {
		switch {
		case s.Ref == "":
			bad("secrets", errors.New(`it takes stored secrets only; write a text under secret, and {"ref": "name of a secret"} here`))
		case !slices.Contains(h.secretRefs, s.Ref):
			h.secretRefs = append(h.secretRefs, s.Ref)
		}
	}
	if c.Rate != "" {
		h.limits.Rate, err = actions.ParseRate(c.Rate)
		bad("rate", err)
	}
	h.limits.Concurrency = c.Concurrency
	if len(c.Headers) > maxHeaders {
		bad("headers", fmt.Errorf("there are %d; the most are %d", len(c.Headers), maxHeaders))
	}
	seen := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		value := c.Headers[name]
		if err := checkHeaderName(name); err != nil {
			bad("headers."+quoteName(name), err)
			continue
		}
		canonical := http.CanonicalHeaderKey(name)
		if seen[canonical] {
			bad("headers."+name, errors.New("it is there twice, since upper and lower case are the same in header names; remove one"))
		}
		seen[canonical] = true
		h.size += len(name) + len(value.Text)
		if value.Ref != "" {
			h.refs[canonical] = value.Ref
			continue
		}
		bad("headers."+name, checkHeaderValue(value.Text))
		h.headers[canonical] = []string{value.Text}
	}
	if h.size > maxHeaderBytes {
		bad("headers", fmt.Errorf("names and values have %d bytes; the most are %d", h.size, maxHeaderBytes))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return h, nil
}

func readTimeout(v any) (time.Duration, error) {
	if v == nil {
		return defaultTimeout, nil
	}
	d, err := actions.ParseDuration(v)
	if err != nil {
		return 0, err
	}
	if d < minTimeout || d > maxTimeout {
		return 0, fmt.Errorf("%v is out of range; use %s to %s", v, minTimeout, maxTimeout)
	}
	return d, nil
}

// destinationOf leaves out what can hold a token: the query.
func destinationOf(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// Destination implements actions.Runner.
func (h *hook) Destination() string { return h.destination }

// Limits implements actions.Limited.
func (h *hook) Limits() actions.Limits { return h.limits }

// Secrets implements actions.Runner.
func (h *hook) Secrets() []string {
	names := slices.Clone(h.secretRefs)
	for _, name := range h.refs {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Run implements actions.Runner.
func (h *hook) Run(ctx context.Context, d *actions.Delivery) (actions.Result, error) {
	body, err := appendBody(d)
	if err != nil {
		return actions.Result{}, err
	}
	keys, hide, err := h.signingKeys(ctx, d, time.Now())
	if err != nil {
		return actions.Result{}, err
	}
	headers := maps.Clone(h.headers)
	size, hide := h.size, append(hide, h.hide...)
	for header, name := range h.refs {
		value, err := secretOf(ctx, d, name)
		if err != nil {
			return actions.Result{}, fmt.Errorf("headers.%s: %w", header, err)
		}
		if err := checkHeaderValue(value); err != nil {
			return actions.Result{}, fmt.Errorf("headers.%s: secret %q: %w; change the secret, and the next attempt takes it", header, name, err)
		}
		if size += len(value); size > maxHeaderBytes {
			return actions.Result{}, fmt.Errorf("headers: names and values have more than %d bytes with secret %q", maxHeaderBytes, name)
		}
		headers[header] = []string{value}
		hide = append(append(hide, value), strings.Fields(value)...) // also without "Bearer"
	}
	return h.post(ctx, d, keys, headers, body, hide)
}

func secretOf(ctx context.Context, d *actions.Delivery, name string) (string, error) {
	text, err := d.Secret(ctx, name)
	if err != nil {
		return "", fmt.Errorf("secret %q can't be read: %w; store it under this name, or name another one in action_config: the next attempt reads it again", name, err)
	}
	return text, nil
}

// Timeout implements actions.Timed.
func (p *poster) Timeout() time.Duration { return p.timeout }

// errResent reads to egress like what it stands for: a connection that broke.
var errResent = fmt.Errorf("sent again, and broken off again: %w", io.ErrUnexpectedEOF)

// post makes one attempt. It adds our headers of the attempt to headers, and takes hide
// out of the answer.
func (p *poster) post(ctx context.Context, d *actions.Delivery, keys [][]byte, headers http.Header, body []byte, hide []string) (actions.Result, error) {
	id := headerText(d.ID)
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	values := [...]string{id, timestamp, ""}
	headers["Webhook-Id"] = values[0:1:1]
	headers["Webhook-Timestamp"] = values[1:2:2]
	if len(keys) > 0 {
		values[2] = sign(keys, id, timestamp, body)
		headers["Webhook-Signature"] = values[2:3:3]
	}
	if _, ok := headers["Idempotency-Key"]; !ok {
		// Not sent. It says that a request may be sent once more if the
		// server just closed the one it was sent on: the receiver knows it by its id.
		headers["Idempotency-Key"] = nil
	}
	resent := false
	req := &http.Request{
		Method:        http.MethodPost,
		URL:           p.url,
		Host:          p.url.Host,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        headers,
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
		GetBody: func() (io.ReadCloser, error) {
			// net/http would go through all idle connections, and a receiver that breaks
			// over this request get it as often.
			if resent {
				return nil, errResent
			}
			resent = true
			return io.NopCloser(bytes.NewReader(body)), nil
		},
	}
	attempt, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	res, err := p.client.Do(attempt, req)
	if res == nil {
		return actions.Result{}, p.failure(ctx, attempt, err)
	}
	res.Body = redact(res.Body, hide)
	// The status decides, also if the answer broke off after it.
	result := actions.Result{Code: res.StatusCode, Response: printable(res.Body, maxResponse)}
	return result, p.judge(res)
}

// failure says why there was no answer.
func (p *poster) failure(ctx, attempt context.Context, err error) error {
	switch {
	case egress.Permanent(err):
		return &actions.Error{Permanent: true, Err: fmt.Errorf("url: %w", err)}
	case ctx.Err() != nil:
		return fmt.Errorf("%s: no answer yet: %w", p.url.Host, context.Cause(ctx))
	case attempt.Err() != nil:
		err = fmt.Errorf("%s: no answer within %s; a receiver should answer first and work afterwards", p.url.Host, p.timeout)
	}
	return &actions.Error{Down: true, Err: err} // else an *egress.Error, whose text is made for people
}
