package email

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/template"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Config is the action_config of an e-mail. Its texts are templates.
type Config struct {
	Subject template.Text `json:"subject"`
	Body    template.Text `json:"body"` // Markdown
	// Button stands below the body; nil: there is none.
	Button *Button `json:"button"`
	// FromName stands beside the operator's address. Defaults to the operator's name.
	FromName string `json:"from_name"`
	// ReplyTo is an address. Defaults to the sender's.
	ReplyTo string `json:"reply_to"`
}

// Button is a link that stands out.
type Button struct {
	Text template.Text `json:"text"`
	URL  template.Text `json:"url"`
}

// Schema is the JSON Schema of Config.
const Schema = `{
	"type": "object",
	"properties": {
		"subject": {
			"title": "Subject",
			"description": "What happened, in one line of at most 200 characters. A Liquid template.",
			"$ref": "#/$defs/text",
			"examples": ["Order {{ new.id }}: {{ new.total }} EUR"]
		},
		"body": {
			"title": "Text",
			"description": "What the recipient should know, in Markdown. A Liquid template; what its variables hold is text, never Markdown.",
			"$ref": "#/$defs/text",
			"examples": ["Hello {{ recipient.name | default: 'there' }},\n\norder **{{ new.id }}** was approved."]
		},
		"button": {
			"title": "Button",
			"description": "A link that stands out, below the text.",
			"type": "object",
			"properties": {
				"text": {"title": "Text", "description": "What it says. A Liquid template.", "$ref": "#/$defs/text", "examples": ["Open the order"]},
				"url": {"title": "Link", "description": "An https or http URL. A Liquid template; without a result there is no button.", "$ref": "#/$defs/text", "examples": ["https://example.com/orders/{{ new.id | url_encode }}"]}
			},
			"required": ["text", "url"],
			"additionalProperties": false,
			"examples": [{"text": "Open the order", "url": "https://example.com/orders/{{ new.id | url_encode }}"}]
		},
		"from_name": {
			"title": "Sender's name",
			"description": "The name beside the sender's address, which is the operator's. It holds no address.",
			"type": "string", "minLength": 1, "maxLength": 200,
			"examples": ["Acme Orders"]
		},
		"reply_to": {
			"title": "Answers to",
			"description": "The address that answers go to. A Liquid template; without a result they go to the sender.",
			"type": "string", "maxLength": 65536,
			"examples": ["orders@example.com"]
		}
	},
	"required": ["subject", "body"],
	"additionalProperties": false,
	"$defs": {
		"text": {
			"type": ["string", "object"],
			"description": "A Liquid template, or its translations by locale.",
			"maxLength": 65536,
			"minProperties": 1, "maxProperties": 100,
			"additionalProperties": {"type": "string", "maxLength": 65536},
			"examples": ["Order {{ new.id }}", {"en": "Order {{ new.id }}", "de": "Auftrag {{ new.id }}"}]
		}
	}
}`

const (
	maxSubject = 200  // characters
	maxButton  = 80   // characters of its text
	maxLink    = 2048 // characters
)

// Options are what the application gives besides a server.
type Options struct {
	// Unsubscribe returns the URL at which the recipient of a delivery stops such mails:
	// a page for a GET, and for a POST of List-Unsubscribe=One-Click at once (RFC 8058).
	// "" says that there is none, as for critical workflows. Defaults to none for all.
	Unsubscribe func(d *actions.Delivery) string
}

// Kind returns the action kind, which sends through m. If m is nil there is no mail
// server: actions are judged as ever, and each attempt fails for now.
func Kind(m *Mailer, o Options) *actions.Kind {
	return &actions.Kind{
		Name:       "email",
		Title:      "E-mail",
		Help:       "Sends each recipient an e-mail.",
		Schema:     Schema,
		Recipients: true,
		Address:    workflow.EmailAddress,
		Retry:      actions.Messages,
		Parse: func(config json.RawMessage, texts actions.Texts) (actions.Runner, error) {
			var c Config
			if err := json.Unmarshal(config, &c); err != nil {
				return nil, fmt.Errorf("action_config: %w", err)
			}
			return newLetter(c, texts, m, o)
		},
	}
}

// letter is a configured e-mail.
type letter struct {
	mailer                *Mailer // nil: there is no server
	unsubscribe           func(d *actions.Delivery) string
	subject, body         *template.Template
	buttonText, buttonURL *template.Template // nil without one
	replyTo               *template.Template
	fromName              string
	locale                string // for readers without one
}

// newLetter reports all that is wrong with a configuration.
func newLetter(c Config, texts actions.Texts, m *Mailer, o Options) (*letter, error) {
	var problems []error
	bad := func(key string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", key, err))
		}
	}
	compile := func(key string, source template.Text, channel template.Channel) *template.Template {
		t, err := source.Compile(template.Options{Channel: channel, Partials: texts.Templates, Locale: texts.Locale, Zone: texts.Zone})
		bad(key, err)
		return t
	}
	l := &letter{mailer: m, unsubscribe: o.Unsubscribe, fromName: c.FromName, locale: texts.Locale}
	l.subject = compile("subject", c.Subject, template.Plain)
	if c.Subject.Blank() {
		bad("subject", errors.New("it is empty; say in one line what happened, as Order {{ new.id }} is paid"))
	}
	l.body = compile("body", c.Body, template.Markdown)
	if c.Body.Blank() {
		bad("body", errors.New("it is empty; say what the recipient should know"))
	}
	if c.Button != nil {
		l.buttonText, l.buttonURL = compile("button.text", c.Button.Text, template.Plain), compile("button.url", c.Button.URL, template.Plain)
		if c.Button.Text.Blank() || c.Button.URL.Blank() {
			bad("button", errors.New("it needs a text and a URL; leave it out if there is to be none"))
		}
	}
	bad("from_name", checkSender(c.FromName))
	l.replyTo = compile("reply_to", template.Text{"": c.ReplyTo}, template.Plain)
	if c.ReplyTo != "" && l.replyTo != nil && !strings.Contains(c.ReplyTo, "{{") && !strings.Contains(c.ReplyTo, "{%") {
		_, err := parseAddress(strings.TrimSpace(c.ReplyTo))
		bad("reply_to", err)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return l, nil
}

// Destination implements actions.Runner: all mail goes to one server.
func (l *letter) Destination() string {
	if l.mailer == nil {
		return ""
	}
	return l.mailer.server.String()
}

// Secrets implements actions.Runner.
func (l *letter) Secrets() []string { return nil }

// Reads implements actions.Reader.
func (l *letter) Reads() []actions.Read {
	var reads []actions.Read
	for _, text := range []struct {
		key      string
		template *template.Template
	}{{"subject", l.subject}, {"body", l.body}, {"button.text", l.buttonText}, {"button.url", l.buttonURL}, {"reply_to", l.replyTo}} {
		if text.template == nil {
			continue
		}
		for _, u := range text.template.Uses() {
			reads = append(reads, actions.Read{Key: text.key, Variable: u.Variable, Where: u.Where})
		}
	}
	return reads
}

// Run implements actions.Runner.
func (l *letter) Run(ctx context.Context, d *actions.Delivery) (actions.Result, error) {
	if l.mailer == nil {
		return actions.Result{}, errors.New("this worker has no mail server; an operator can name one in ROWBELL_SMTP_URL")
	}
	m, to, err := l.compose(d)
	if err != nil {
		// The event and the person stay the same, so another attempt would give the same.
		return actions.Result{}, &actions.Error{Permanent: true, Err: err}
	}
	text, err := m.bytes()
	if err != nil {
		return actions.Result{}, fmt.Errorf("write the mail: %w", err)
	}
	answer, err := l.mailer.send(ctx, to, text)
	if err != nil {
		return failureOf(err).outcome()
	}
	return actions.Result{Code: 250, Response: printable(answer, maxResponse)}, nil
}

// Preview implements actions.Previewer. It needs no mail server.
func (l *letter) Preview(d *actions.Delivery) ([]actions.PreviewText, error) {
	m, _, err := l.compose(d)
	if err != nil {
		return nil, err
	}
	return []actions.PreviewText{{Name: "subject", Text: m.subject}, {Name: "text", Text: m.text}, {Name: "html", Text: m.html}}, nil
}

// button is one, rendered.
type button struct{ text, url string }

// compose makes the mail of a delivery.
func (l *letter) compose(d *actions.Delivery) (*message, address, error) {
	if d.Person == nil {
		return nil, address{}, errors.New("it has no recipient")
	}
	to, err := parseAddress(strings.TrimSpace(d.Person.Email))
	if err != nil {
		return nil, to, err
	}
	vars, err := template.EventVariables(d.Event)
	if err != nil {
		return nil, to, err
	}
	vars["workflow"] = map[string]any{"id": d.Workflow.ID, "name": d.Workflow.Name, "version": d.Workflow.Version}
	vars["recipient"] = template.PersonVariables(d.Person)
	reader := template.ReaderOf(d.Person)
	var failed error
	render := func(key string, t *template.Template) string {
		if t == nil || failed != nil {
			return ""
		}
		s, err := t.RenderFor(vars, reader)
		if err != nil {
			failed = fmt.Errorf("%s: %w", key, err)
		}
		return s
	}
	subject := shorten(oneLine(render("subject", l.subject)), maxSubject)
	body := clean(render("body", l.body))
	b := &button{
		text: shorten(oneLine(render("button.text", l.buttonText)), maxButton),
		url:  strings.TrimSpace(render("button.url", l.buttonURL)),
	}
	replyTo := strings.TrimSpace(render("reply_to", l.replyTo))
	const mend = "the template gives nothing for this event; give its variables a default, as {{ new.name | default: 'An order' }}"
	switch {
	case failed != nil:
		return nil, to, failed
	case subject == "":
		return nil, to, errors.New("subject: " + mend)
	case strings.TrimSpace(body) == "":
		return nil, to, errors.New("body: " + mend)
	case len(body) > maxBody:
		return nil, to, fmt.Errorf("body: it has more than %d bytes", maxBody)
	}
	if b.url == "" {
		b = nil
	} else if err := checkLink(b.url); err != nil {
		return nil, to, fmt.Errorf("button.url: %w", err)
	} else if b.text == "" {
		return nil, to, errors.New("button.text: " + mend)
	}
	m := &message{to: mailbox{address: to.text}, subject: subject, date: time.Now(), key: d.ID}
	if l.mailer != nil { // a preview needs none
		from := l.mailer.server.From
		m.from, m.domain = mailbox{from.Name, from.Address}, domainOf(from.Address)
	}
	if l.fromName != "" {
		m.from.name = l.fromName
	}
	if checkName(d.Person.Name) == nil {
		m.to.name = oneLine(d.Person.Name)
	}
	if replyTo != "" {
		a, err := parseAddress(replyTo)
		if err != nil {
			return nil, to, fmt.Errorf("reply_to: %w", err)
		}
		m.replyTo = a.text
	}
	if l.unsubscribe != nil {
		// In a header it can't be folded, and a line has at most 998 bytes.
		if u := l.unsubscribe(d); len(u) < 900 && checkLink(u) == nil && plainID(u) != "" {
			m.unsubscribe = u
		}
	}
	if err := l.write(m, body, b, d); err != nil {
		return nil, to, fmt.Errorf("body: %w", err)
	}
	return m, to, nil
}

// write makes both parts of one source.
func (l *letter) write(m *message, body string, b *button, d *actions.Delivery) error {
	doc, err := parse(body)
	if err != nil {
		return err
	}
	in := language(d.Person.Locale, l.locale)
	foot := footOf(d, in, m.unsubscribe)
	inner, err := bodyHTML(body, doc)
	if err != nil {
		return err
	}
	if m.html, err = pageHTML(m.subject, inner, b, foot, in); err != nil {
		return err
	}
	if m.text, err = bodyText(body, doc); err != nil {
		return err
	}
	m.text += "\n\n"
	if b != nil {
		m.text += b.text + ": " + b.url + "\n\n"
	}
	m.text += footText(foot)
	return nil
}

func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

var lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// clean leaves control characters out, but for those that part lines and columns.
func clean(s string) string {
	s = lineBreaks.Replace(s)
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) && c != '\n' && c != '\t' {
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// checkLink lets through a URL of a page that can stand in a header and in an attribute.
func checkLink(link string) error {
	switch {
	case len(link) > maxLink:
		return fmt.Errorf("it has more than %d bytes", maxLink)
	case strings.ContainsFunc(link, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`<>"\`, r)
	}):
		return errors.New(`it holds white space, a control character, or one of < > " \; put the filter url_encode after each value in it`)
	}
	u, err := url.Parse(link)
	switch {
	case err != nil:
		return errors.New("it is no URL; put the filter url_encode after each value in it")
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return errors.New("it is no page; write an https or http URL with its host")
	case u.User != nil:
		return errors.New("it holds a user name or a password, which everyone would see who sees it; leave them out")
	}
	return nil
}
