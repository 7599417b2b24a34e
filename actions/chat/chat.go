// Package chat is the action kind chat: it posts a message into a channel of a chat
// service, through the guarded client.
//
// A message is for a channel, not for people: it has no recipients. The text is a template
// in the service's own markup, and what it takes from the event is escaped for it, so that
// a value can't mention everybody or bring links along.
//
// No service knows a message that it has got already by a key, but Matrix. So the same
// message may stand there twice, if an answer was lost. All attempts carry the header
// idempotency-key, for what may lie between.
//
// 2026-11-26: Slack is spoken through slack-go/slack, on the guarded client: it has the
// blocks, the escaping and the errors of the API. The other services take one JSON object
// each, which stands here. shoutrrr was looked at for them: its Send takes no context and
// returns neither status nor Retry-After, and it wants a URL form of its own, with hosts of
// its own, in place of the URL that the service gave to the user.
package chat

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/egress"
	"github.com/rowbell/rowbell/pkg/template"
)

// Config is the action_config of a chat message.
type Config struct {
	Service string        `json:"service"`
	Secret  *Value        `json:"secret"`  // the URL of the service's webhook, or a bot's token
	Channel string        `json:"channel"` // of bots: which channel, chat or room
	Server  string        `json:"server"`  // of bots: where the service's API is. Defaults to the vendor's
	Title   template.Text `json:"title"`
	Text    template.Text `json:"text"`
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
var Schema = `{
	"type": "object",
	"properties": {
		"service": {
			"title": "Service",
			"description": "Which chat service.",
			"type": "string", "enum": ` + serviceNames() + `
		},
		"secret": {
			"title": "Webhook URL or token",
			"description": "The URL of the incoming webhook that the service gave, or a bot's token. Whoever has it can post.",
			"oneOf": [
				{"type": "string", "minLength": 1, "maxLength": 2048},
				{
					"type": "object",
					"properties": {"ref": {"type": "string", "minLength": 1, "examples": ["name of a secret"]}},
					"required": ["ref"],
					"additionalProperties": false
				}
			],
			"examples": ["https://hooks.slack.com/services/…", {"ref": "name of a secret"}]
		},
		"channel": {
			"title": "Channel",
			"description": "Where a bot posts: a channel of Slack, a chat of Telegram, a room of Matrix. A webhook's URL has it already.",
			"type": "string", "minLength": 1, "maxLength": 255,
			"examples": ["C0123456789", "-1001234567890", "!room:example.com"]
		},
		"server": {
			"title": "Server",
			"description": "Where a bot's service is, if not at the vendor's: the server of Matrix.",
			"type": "string", "format": "uri", "minLength": 1, "maxLength": 2048,
			"examples": ["https://matrix.example.com"]
		},
		"title": {
			"title": "Title",
			"description": "One line of at most 150 characters above the text. A Liquid template.",
			"$ref": "#/$defs/text",
			"examples": ["Order {{ new.id }}"]
		},
		"text": {
			"title": "Text",
			"description": "The message, in the service's markup. A Liquid template with new, old, changed, event, workflow and actor, whose values are escaped.",
			"$ref": "#/$defs/text",
			"examples": ["*{{ new.customer }}* ordered for {{ new.total }} EUR"]
		}
	},
	"required": ["service", "secret", "text"],
	"additionalProperties": false,
	"$defs": {
		"text": ` + template.TextSchema + `
	}
}`

const (
	timeout  = 15 * time.Second // of an attempt
	maxTitle = 150              // characters: what Slack's header takes
)

// Kind returns the action kind. Requests go through client.
func Kind(client *egress.Client) *actions.Kind {
	return &actions.Kind{
		Name:   "chat",
		Title:  "Chat message",
		Help:   "Posts a message into a channel of " + serviceTitles() + ".",
		Schema: Schema,
		Retry:  actions.Messages,
		Parse: func(config json.RawMessage, texts actions.Texts) (actions.Runner, error) {
			var c Config
			if err := json.Unmarshal(config, &c); err != nil {
				return nil, fmt.Errorf("action_config: %w", err)
			}
			return newPost(c, texts, client)
		},
	}
}

// post is a configured message.
type post struct {
	service     *service
	client      *egress.Client
	secret      Value
	channel     string
	server      string // without a slash at its end; "" for webhooks
	title, text *template.Template
}

// newPost reports all that is wrong with a configuration.
func newPost(c Config, texts actions.Texts, client *egress.Client) (*post, error) {
	var problems []error
	bad := func(key string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", key, err))
		}
	}
	i := slices.IndexFunc(services, func(s service) bool { return s.name == c.Service })
	if i < 0 {
		return nil, fmt.Errorf("service: there are: %s", strings.Join(names(), ", "))
	}
	p := &post{service: &services[i], client: client, channel: c.Channel}
	if c.Secret != nil {
		p.secret = *c.Secret
	}
	if p.secret.Ref == "" {
		bad("secret", p.service.checkSecret(p.secret.Text))
	}
	o := template.Options{Channel: p.service.markup, Partials: texts.Templates, Locale: texts.Locale, Zone: texts.Zone}
	var err error
	p.text, err = c.Text.Compile(o)
	bad("text", err)
	if c.Text.Blank() {
		bad("text", errors.New("it is empty; say what happened, as Order {{ new.id }} is paid"))
	}
	if p.service.plainTitle {
		o.Channel = template.Plain
	}
	p.title, err = c.Title.Compile(o)
	bad("title", err)
	switch {
	case p.service.channel == "" && c.Channel != "":
		bad("channel", fmt.Errorf("the webhook's URL of %s says where it posts; remove it", p.service.title))
	case p.service.channel != "" && c.Channel == "":
		bad("channel", fmt.Errorf("it is missing; write %s", p.service.channel))
	case strings.ContainsFunc(c.Channel, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }):
		bad("channel", fmt.Errorf("it has white space; write %s", p.service.channel))
	}
	switch server := cmp.Or(c.Server, p.service.server); {
	case p.service.channel == "" && c.Server != "":
		bad("server", fmt.Errorf("the webhook's URL of %s says where it is; remove it", p.service.title))
	case p.service.channel == "":
	case server == "":
		bad("server", errors.New("it is missing; write the server's URL, as https://matrix.example.com"))
	default:
		u, err := egress.CheckURL(server)
		if err == nil && (u.RawQuery != "" || u.ForceQuery) {
			err = errors.New("it has a query; write the server's URL without one")
		}
		bad("server", err)
		p.server = strings.TrimRight(server, "/")
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return p, nil
}

// Destination implements actions.Runner. A webhook's URL is secret, and is told by the
// name of its secret.
func (p *post) Destination() string {
	return strings.Join(slices.DeleteFunc([]string{"chat", p.service.name, p.server, p.channel, p.secret.Ref}, func(s string) bool { return s == "" }), " ")
}

// Secrets implements actions.Runner.
func (p *post) Secrets() []string {
	if p.secret.Ref == "" {
		return nil
	}
	return []string{p.secret.Ref}
}

// Reads implements actions.Reader.
func (p *post) Reads() []actions.Read {
	var reads []actions.Read
	for _, u := range p.title.Uses() {
		reads = append(reads, actions.Read{Key: "title", Variable: u.Variable, Where: u.Where})
	}
	for _, u := range p.text.Uses() {
		reads = append(reads, actions.Read{Key: "text", Variable: u.Variable, Where: u.Where})
	}
	return reads
}

// Preview implements actions.Previewer: title and text as the service gets them, in its
// markup.
func (p *post) Preview(d *actions.Delivery) ([]actions.PreviewText, error) {
	m, err := p.message(d)
	return []actions.PreviewText{{Name: "title", Text: m.title}, {Name: "text", Text: m.text}}, err
}

// message is what is posted.
type message struct {
	key         string // the idempotency key
	secret      string
	server      string
	channel     string
	title, text string // in the service's markup
}

// Run implements actions.Runner.
func (p *post) Run(ctx context.Context, d *actions.Delivery) (actions.Result, error) {
	m, err := p.message(d)
	if err != nil {
		return actions.Result{}, &actions.Error{Permanent: true, Err: err}
	}
	m.secret = p.secret.Text
	if p.secret.Ref != "" {
		if m.secret, err = d.Secret(ctx, p.secret.Ref); err != nil {
			return actions.Result{}, fmt.Errorf("secret %q can't be read: %w; store it under this name, or name another one in action_config: the next attempt reads it again", p.secret.Ref, err)
		}
		m.secret = strings.TrimSpace(m.secret)
		if err := p.service.checkSecret(m.secret); err != nil {
			return actions.Result{}, fmt.Errorf("secret %q: %w; change the secret, and the next attempt takes it", p.secret.Ref, err)
		}
	}
	attempt, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	x := &exchange{client: p.client, ctx: attempt, key: m.key}
	sent := p.service.send(x, m)
	if x.res == nil {
		return actions.Result{}, p.failure(ctx, attempt, x.err, sent)
	}
	x.res.Body = actions.Redact(x.res.Body, hidden(m.secret))
	result := actions.Result{Code: x.res.StatusCode, Response: actions.Printable(x.res.Body, maxResponse)}
	return result, p.service.judge(x.res)
}

// Reach implements actions.Reacher: it asks the service's server for its first page, by the
// guarded client, so that name, address and certificate are tried and nothing is posted.
func (p *post) Reach(ctx context.Context, secret func(ctx context.Context, name string) (string, error)) (string, error) {
	at := p.server
	if at == "" {
		text := p.secret.Text
		if p.secret.Ref != "" {
			var err error
			if text, err = secret(ctx, p.secret.Ref); err != nil {
				return p.service.title, fmt.Errorf("secret %q can't be read: %w; store it under this name", p.secret.Ref, err)
			}
			text = strings.TrimSpace(text)
			if err := p.service.checkSecret(text); err != nil {
				return p.service.title, fmt.Errorf("secret %q: %w", p.secret.Ref, err)
			}
		}
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			return p.service.title, errors.New("its secret is no URL")
		}
		at = u.Scheme + "://" + u.Host
	}
	u, err := url.Parse(at)
	if err != nil {
		return p.service.title, errors.New("its server is no URL")
	}
	name := p.service.title + " at " + u.Host
	attempt, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(attempt, http.MethodHead, u.Scheme+"://"+u.Host+"/", http.NoBody)
	if err != nil {
		return name, errors.New("the request could not be made; check secret and server")
	}
	_, err = p.client.Do(attempt, req)
	switch {
	case err != nil && attempt.Err() != nil && ctx.Err() == nil:
		return name, fmt.Errorf("no answer within %s", timeout)
	case err != nil && egress.Permanent(err): // says no more than the name and the rule
		return name, err
	case err != nil:
		return name, errors.New(egress.Reason(err))
	}
	return name, nil
}

// message renders the templates.
func (p *post) message(d *actions.Delivery) (message, error) {
	m := message{key: d.ID, server: p.server, channel: p.channel}
	vars, err := template.EventVariables(d.Event)
	if err != nil {
		return m, err
	}
	vars["workflow"] = map[string]any{"id": d.Workflow.ID, "name": d.Workflow.Name, "version": d.Workflow.Version}
	if m.title, err = p.title.Render(vars); err != nil {
		return m, fmt.Errorf("title: %w", err)
	}
	if m.text, err = p.text.Render(vars); err != nil {
		return m, fmt.Errorf("text: %w", err)
	}
	m.title = shorten(strings.Join(strings.FieldsFunc(clean(m.title), unicode.IsSpace), " "), maxTitle)
	if m.text = clean(m.text); m.text == "" {
		return m, errors.New("text: the template gives nothing for this event; give its variables a default, as {{ new.name | default: 'An order' }}")
	}
	m.text = shorten(m.text, p.service.most)
	return m, nil
}

// failure says why there was no answer. No text of it has the URL, which may be secret.
func (p *post) failure(ctx, attempt context.Context, err, sent error) error {
	switch {
	case err == nil && sent == nil:
		return fmt.Errorf("%s was not asked, which is a mistake in Rowbell", p.service.title)
	case err == nil: // the request could not be made
		return fmt.Errorf("%s: the request could not be made; check secret, server and channel", p.service.title)
	case egress.Permanent(err):
		return &actions.Error{Permanent: true, Err: fmt.Errorf("%s: %w", p.service.title, err)}
	case ctx.Err() != nil:
		return fmt.Errorf("%s: no answer yet: %w", p.service.title, context.Cause(ctx))
	case attempt.Err() != nil:
		return &actions.Error{Down: true, Err: fmt.Errorf("%s: no answer within %s", p.service.title, timeout)}
	}
	return &actions.Error{Down: true, Err: fmt.Errorf("%s: %w", p.service.title, err)}
}

// hidden is what of a secret is not to be shown: of a URL the last parts of its path and
// what its query holds.
func hidden(secret string) []string {
	list := []string{secret}
	if u, err := url.Parse(secret); err == nil && u.Host != "" {
		list = append(list, u.EscapedPath(), u.RawQuery)
		for part := range strings.SplitSeq(u.EscapedPath(), "/") {
			if len(part) >= 8 {
				list = append(list, part)
			}
		}
		for _, values := range u.Query() {
			list = append(list, values...)
		}
	}
	slices.SortFunc(list, func(a, b string) int { return len(b) - len(a) }) // one may stand in another
	return list
}

// clean leaves control characters out, but for those that part lines and columns.
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD")))
}

// shorten cuts s to so many characters, not inside of what escapes one, and says so by an
// ellipsis.
func shorten(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	runes := []rune(s)[:most-1]
	cut := string(runes)
	const longest = 12 // of an entity
	if i := strings.LastIndexAny(cut, "&<"); i >= 0 && i > len(cut)-longest && !strings.ContainsAny(cut[i:], ";>") {
		cut = cut[:i]
	}
	if n := len(cut) - len(strings.TrimRight(cut, `\`)); n%2 == 1 {
		cut = cut[:len(cut)-1]
	}
	return strings.TrimSpace(cut) + "…"
}
