// Package publish is the action kind publish: it publishes a change to a stream of NATS
// JetStream, and has succeeded when the stream has acknowledged it.
//
// The message is what a webhook's body is, with the header Nats-Msg-Id, the delivery's id:
// a stream counts a message with an id that it has had lately once (within its
// duplicate_window, two minutes if nothing else was said).
//
// Where the broker is, is the operator's to say, and so are the subjects: a tenant's begin
// with a prefix of its own, whatever its workflows say. What a subject takes from the event
// is written as one token of it.
package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/template"
)

// action is the action_config.
type action struct {
	Subject string `json:"subject"`
}

// Schema is the JSON Schema of action_config.
const Schema = `{
	"type": "object",
	"properties": {
		"subject": {
			"title": "Subject",
			"description": "Tokens with dots between. A Liquid template with new, old, changed, event, workflow and actor; each value is one token. A tenant's subjects begin with the operator's prefix for it, which is put before.",
			"type": "string", "minLength": 1, "maxLength": 1024,
			"examples": ["orders.{{ event.operation }}", "orders.{{ new.status }}.{{ new.id }}"]
		}
	},
	"required": ["subject"],
	"additionalProperties": false
}`

const (
	timeout    = 10 * time.Second // of an attempt
	maxSubject = 512              // bytes of a subject
)

// schedule begins before a stream's window of duplicates is over.
var schedule = actions.Schedule{
	time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour,
}

// Kind returns the action kind, which publishes through a broker.
func Kind(b *Broker) *actions.Kind {
	return &actions.Kind{
		Name:   "publish",
		Title:  "Message",
		Help:   "Publishes the change to a stream of NATS JetStream.",
		Schema: Schema,
		Retry:  schedule,
		Parse: func(config json.RawMessage, texts actions.Texts) (actions.Runner, error) {
			var c action
			if err := json.Unmarshal(config, &c); err != nil {
				return nil, fmt.Errorf("action_config: %w", err)
			}
			t, err := template.CompileFor(c.Subject, template.Options{Channel: template.Token, Partials: texts.Templates, Locale: texts.Locale, Zone: texts.Zone})
			if err != nil {
				return nil, fmt.Errorf("subject: %w", err)
			}
			if len(t.Variables()) == 0 {
				text, err := t.Render(nil)
				if err == nil {
					err = checkSubject(text)
				}
				if err != nil {
					return nil, fmt.Errorf("subject: %w; write it as orders.created", err)
				}
			}
			return &message{broker: b, subject: t}, nil
		},
	}
}

// checkSubject lets through what may be published to. (NATS documentation: Subject-Based
// Messaging.) Subjects of the server's own begin with a $ or with _INBOX.
func checkSubject(s string) error {
	switch {
	case s == "":
		return errors.New("it is empty")
	case len(s) > maxSubject:
		return fmt.Errorf("it has %d bytes; the most are %d", len(s), maxSubject)
	}
	if err := notTheServers(s); err != nil {
		return err
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return errors.New("it has white space or another character that a subject can't have")
		}
	}
	for token := range strings.SplitSeq(s, ".") {
		switch {
		case token == "":
			return errors.New("it has an empty part between dots, or a dot at an end")
		case strings.ContainsAny(token, "*>"):
			return errors.New("it has * or >, which are for subscribers")
		}
	}
	return nil
}

// notTheServers keeps off the subjects by which NATS and its clients speak to each other.
func notTheServers(s string) error {
	if strings.HasPrefix(s, "$") || s == "_INBOX" || strings.HasPrefix(s, "_INBOX.") {
		return errors.New("subjects that begin with $ or _INBOX are the server's own")
	}
	return nil
}

// message is a configured publish.
type message struct {
	broker  *Broker
	subject *template.Template
}

// Destination implements actions.Runner.
func (m *message) Destination() string { return "nats" }

// Secrets implements actions.Runner.
func (m *message) Secrets() []string { return nil }

// Reads implements actions.Reader.
func (m *message) Reads() []actions.Read {
	var reads []actions.Read
	for _, u := range m.subject.Uses() {
		reads = append(reads, actions.Read{Key: "subject", Variable: u.Variable, Where: u.Where})
	}
	return reads
}

// Preview implements actions.Previewer: the whole subject, and the message.
func (m *message) Preview(d *actions.Delivery) ([]actions.PreviewText, error) {
	subject, err := m.subjectOf(d)
	if err != nil {
		return nil, err
	}
	body, err := actions.Body(d)
	return []actions.PreviewText{{Name: "subject", Text: subject}, {Name: "message", Text: string(body)}}, err
}

// subjectOf is where a delivery is published.
func (m *message) subjectOf(d *actions.Delivery) (string, error) {
	vars, err := template.EventVariables(d.Event)
	if err != nil {
		return "", err
	}
	vars["workflow"] = map[string]any{"id": d.Workflow.ID, "name": d.Workflow.Name, "version": d.Workflow.Version}
	subject, err := m.subject.Render(vars)
	if err != nil {
		return "", fmt.Errorf("subject: %w", err)
	}
	if err := checkSubject(subject); err != nil {
		return "", fmt.Errorf("subject: for this event %w; give its variables a default, as {{ new.status | default: 'none' }}", err)
	}
	subject = m.broker.cfg.prefix(d.Workflow.TenantID) + subject
	if err := notTheServers(subject); err != nil {
		return "", fmt.Errorf("subject: with the prefix for tenant %s: %w; an operator can put another one before it by ROWBELL_NATS_PREFIX", d.Workflow.TenantID, err)
	}
	return subject, nil
}

// Run implements actions.Runner.
func (m *message) Run(ctx context.Context, d *actions.Delivery) (actions.Result, error) {
	never := func(err error) (actions.Result, error) {
		return actions.Result{}, &actions.Error{Permanent: true, Err: err}
	}
	subject, err := m.subjectOf(d)
	if err != nil {
		return never(err)
	}
	body, err := actions.Body(d)
	if err != nil {
		return never(err)
	}
	attempt, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	js, err := m.broker.get(attempt)
	if err == nil {
		var ack *jetstream.PubAck
		ack, err = js.PublishMsg(attempt, &nats.Msg{
			Subject: subject, Data: body,
			Header: nats.Header{jetstream.MsgIDHeader: {d.ID}, "Content-Type": {"application/json"}},
		}, jetstream.WithRetryAttempts(0))
		if err == nil {
			said := fmt.Sprintf("stream %s, sequence %d", m.broker.cfg.shown(ack.Stream), ack.Sequence)
			if ack.Duplicate {
				said += ", which had it already"
			}
			return actions.Result{Response: said}, nil
		}
	}
	return actions.Result{}, failure(ctx, attempt, subject, len(body), m.broker.cfg.quiet(err))
}

// failure says why there was no acknowledgement.
func failure(ctx, attempt context.Context, subject string, size int, err error) error {
	var api *jetstream.APIError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("NATS: no acknowledgement yet: %w", context.Cause(ctx))
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return fmt.Errorf("NATS: no stream takes the subject %s; an operator can make one: nats stream add ROWBELL --subjects='%s.>'", subject, strings.SplitN(subject, ".", 2)[0])
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		return &actions.Error{Down: true, Err: errors.New("NATS: the connection is lost, and is being made again")}
	case errors.Is(err, nats.ErrMaxPayload):
		return &actions.Error{Permanent: true, Err: fmt.Errorf("NATS: the message has %d bytes, more than the server takes (max_payload)", size)}
	case errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamMessageExceedsMaximum:
		return &actions.Error{Permanent: true, Err: fmt.Errorf("NATS: the message has %d bytes, more than the stream takes (max_msg_size)", size)}
	case attempt.Err() != nil && !errors.Is(err, nats.ErrNoServers):
		return fmt.Errorf("NATS: no acknowledgement for the subject %s within %s; it may be one that the connection must not publish to", subject, timeout)
	}
	return &actions.Error{Down: true, Err: fmt.Errorf("NATS: %w", err)}
}
