// Package notification is the action kind notification: it puts a message into the inbox
// of each recipient, the table rowbell.notification, where the application shows it.
//
// A delivery makes at most one row, however often it is tried: delivery_id is unique, and
// a row that is there stays as it is.
//
// Title, body and link are templates (package template). What a template gives is
// forgiven where that helps the reader: a long title or body is cut, a title becomes one
// line. A title that is empty and a link that a browser should not follow are errors, and
// permanent ones: the event stays the same, so another attempt would give the same.
package notification

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/template"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Config is the action_config of a notification: three templates, each in one language
// or in several.
type Config struct {
	Title template.Text `json:"title"`
	Body  template.Text `json:"body"`
	Link  template.Text `json:"link"`
}

// Schema is the JSON Schema of Config.
const Schema = `{
	"type": "object",
	"properties": {
		"title": {
			"title": "Title",
			"description": "What happened, in one line of at most 200 characters. A Liquid template with new, old, changed, event, workflow, actor and recipient.",
			"$ref": "#/$defs/text",
			"examples": ["Order {{ new.id }}: {{ new.total }} EUR"]
		},
		"body": {
			"title": "Text",
			"description": "What the recipient should know, as plain text of at most 10,000 characters. A Liquid template.",
			"$ref": "#/$defs/text",
			"examples": ["{{ actor.id | default: 'Somebody' }} changed {{ changed | join: ', ' }}."]
		},
		"link": {
			"title": "Link",
			"description": "Where it leads: a path of the application, or an https or http URL. A Liquid template.",
			"$ref": "#/$defs/text",
			"examples": ["/orders/{{ new.id | url_encode }}", "https://example.com/orders/{{ new.id | url_encode }}"]
		}
	},
	"required": ["title"],
	"additionalProperties": false,
	"$defs": {
		"text": ` + template.TextSchema + `
	}
}`

// The limits of what a recipient gets, in characters.
const (
	maxTitle = 200
	maxBody  = 10_000
	maxLink  = 2048
)

// inbox is where notifications go.
type inbox interface {
	Notify(ctx context.Context, n workflow.Notification) error
}

// Kind returns the action kind, which puts notifications into an inbox.
func Kind(in inbox) *actions.Kind {
	return &actions.Kind{
		Name:       "notification",
		Title:      "Notification",
		Help:       "Puts a message into each recipient's inbox in the application.",
		Schema:     Schema,
		Recipients: true,
		Retry:      actions.Messages,
		Parse: func(config json.RawMessage, texts actions.Texts) (actions.Runner, error) {
			var c Config
			if err := json.Unmarshal(config, &c); err != nil {
				return nil, fmt.Errorf("action_config: %w", err)
			}
			return newMessage(c, texts, in)
		},
	}
}

// message is a configured notification.
type message struct {
	inbox             inbox
	title, body, link *template.Template
}

// newMessage reports all that is wrong with a configuration.
func newMessage(c Config, texts actions.Texts, in inbox) (*message, error) {
	var problems []error
	o := template.Options{Partials: texts.Templates, Locale: texts.Locale, Zone: texts.Zone}
	compile := func(key string, source template.Text) *template.Template {
		t, err := source.Compile(o)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", key, err))
		}
		return t
	}
	m := &message{inbox: in, title: compile("title", c.Title), body: compile("body", c.Body), link: compile("link", c.Link)}
	if c.Title.Blank() {
		problems = append(problems, errors.New("title: it is empty; say in one line what happened, as Order {{ new.id }} is paid"))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return m, nil
}

// Destination implements actions.Runner: it is this database.
func (m *message) Destination() string { return "" }

// Reads implements actions.Reader.
func (m *message) Reads() []actions.Read {
	var reads []actions.Read
	for _, text := range []struct {
		key      string
		template *template.Template
	}{{"title", m.title}, {"body", m.body}, {"link", m.link}} {
		for _, u := range text.template.Uses() {
			reads = append(reads, actions.Read{Key: text.key, Variable: u.Variable, Where: u.Where})
		}
	}
	return reads
}

// Secrets implements actions.Runner.
func (m *message) Secrets() []string { return nil }

// Run implements actions.Runner.
func (m *message) Run(ctx context.Context, d *actions.Delivery) (actions.Result, error) {
	n, err := m.notification(d)
	if err != nil {
		return actions.Result{}, &actions.Error{Permanent: true, Err: err}
	}
	return actions.Result{}, m.inbox.Notify(ctx, n)
}

// Preview implements actions.Previewer.
func (m *message) Preview(d *actions.Delivery) ([]actions.PreviewText, error) {
	n, err := m.notification(d)
	return []actions.PreviewText{{Name: "title", Text: n.Title}, {Name: "body", Text: n.Body}, {Name: "link", Text: n.Link}}, err
}

// notification is what a delivery puts into the inbox. It is of the workflow's tenant,
// who wrote what it says, and so of none for an operators' workflow, whosever the row.
func (m *message) notification(d *actions.Delivery) (workflow.Notification, error) {
	n := workflow.Notification{DeliveryID: d.ID, TenantID: d.Workflow.TenantID, RecipientID: d.Recipient}
	vars, err := template.EventVariables(d.Event)
	if err != nil {
		return n, err
	}
	vars["workflow"] = map[string]any{"id": d.Workflow.ID, "name": d.Workflow.Name, "version": d.Workflow.Version}
	vars["recipient"] = template.PersonVariables(d.Person)
	reader := template.ReaderOf(d.Person)
	title, err := m.title.RenderFor(vars, reader)
	if err != nil {
		return n, fmt.Errorf("title: %w", err)
	}
	body, err := m.body.RenderFor(vars, reader)
	if err != nil {
		return n, fmt.Errorf("body: %w", err)
	}
	link, err := m.link.RenderFor(vars, reader)
	if err != nil {
		return n, fmt.Errorf("link: %w", err)
	}
	n.Title, n.Body, n.Link = shorten(oneLine(title), maxTitle), shorten(clean(body), maxBody), strings.TrimSpace(link)
	if n.Title == "" {
		return n, errors.New("title: the template gives nothing for this event; give its variables a default, as {{ new.name | default: 'An order' }}")
	}
	if err := checkLink(n.Link); err != nil {
		return n, fmt.Errorf("link: %w", err)
	}
	return n, nil
}

// oneLine puts a space for each run of white space and control characters. Spaces that
// lines don't break at, as between an amount and its currency, stay.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "\uFFFD"), func(c rune) bool {
		return (unicode.IsSpace(c) || unicode.IsControl(c)) && c != '\u00a0' && c != '\u202f'
	}), " "))
}

// clean leaves control characters out, but for those that part lines and columns.
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) && c != '\n' && c != '\t' {
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, "\uFFFD")))
}

// shorten cuts s to so many characters, and says so by an ellipsis.
func shorten(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	n := 0
	for i := range s {
		if n++; n == most {
			return strings.TrimSpace(s[:i]) + "…"
		}
	}
	return s
}

// checkLink lets through what a browser can follow without running it: a path of the
// application, or a URL of a page. A backslash is a slash to browsers, so /\host leaves
// the application as //host does.
func checkLink(link string) error {
	const mend = "; write a path that starts with one /, or an https or http URL"
	switch {
	case link == "":
		return nil
	case utf8.RuneCountInString(link) > maxLink:
		return fmt.Errorf("it has more than %d characters", maxLink)
	case !utf8.ValidString(link) || strings.ContainsFunc(link, unicode.IsControl):
		return fmt.Errorf("%s has control characters; put the filter url_encode after each value in it", quote(link))
	case strings.Contains(link, `\`):
		return fmt.Errorf(`%s has a \, which browsers take for a /; put the filter url_encode after each value in it`, quote(link))
	case strings.HasPrefix(link, "//"):
		return fmt.Errorf("%s leads to another host"+mend, quote(link))
	}
	u, err := url.Parse(link)
	switch {
	case err != nil:
		return fmt.Errorf("%s is no URL; put the filter url_encode after each value in it", quote(link))
	case link[0] == '/':
		return nil
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%s is neither a path nor a page"+mend, quote(link))
	case u.Hostname() == "":
		return fmt.Errorf("%s names no host"+mend, quote(link))
	case u.User != nil:
		return errors.New("it holds a user name or a password, which everyone would see who sees it; leave them out")
	}
	return nil
}

// quote is for messages. What may hold a password is not shown.
func quote(link string) string {
	if strings.Contains(link, "@") {
		return "it"
	}
	return fmt.Sprintf("%q", shorten(link, 80))
}
