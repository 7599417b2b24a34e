package trial

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/template"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Action is one that would run. Nothing secret is in it.
type Action struct {
	Number int    `json:"number"` // in the definition, from 1
	Kind   string `json:"kind"`
	Order  int32  `json:"order"` // equal ones run side by side
	// To is where it would go, as far as it isn't secret: scheme and host.
	To         string      `json:"to,omitempty"`
	Texts      []Text      `json:"texts,omitempty"`
	Recipients []Recipient `json:"recipients,omitempty"`
	// OnlyIf are conditions of its own, which hold.
	OnlyIf []condition.Clause `json:"only_if,omitempty"`
}

// Text is a template, rendered for the change. The recipient's name isn't known, so it
// stands there with the id of the first one.
type Text struct {
	Name  string `json:"name"` // title, body, link
	Text  string `json:"text"`
	Error string `json:"error,omitempty"`
}

// Recipient is one as it is listed; nobody is looked up in the directory.
type Recipient struct {
	Type  string `json:"type"`
	ID    string `json:"id"`              // of an attribute: the column
	Value string `json:"value,omitempty"` // of an attribute: what the column holds
}

// texts are the keys of action_config that are templates, by kind of action.
var texts = map[string][]textKey{
	"notification": {{"title", template.Plain}, {"body", template.Plain}, {"link", template.Plain}},
	// The body as it reads: what is added to escape values for Markdown, nobody sees.
	"email": {
		{"subject", template.Plain}, {"body", template.Plain}, {"button.text", template.Plain}, {"button.url", template.Plain}, {"reply_to", template.Plain},
	},
	"chat":    {{"title", template.Plain}, {"text", template.Plain}},
	"publish": {{"subject", template.Plain}},
}

type textKey struct {
	key     string
	channel template.Channel
}

func actionsOf(w *workflow.Workflow, c *Change, ev *change.Event, op change.Op, r *Result, own map[int]Own) []Action {
	vars, varsErr := template.EventVariables(c.asEvent(ev, op))
	library := workflow.NewLibrary(w.Templates)
	locale, zone, _ := w.Language() // what is wrong with it was said before
	var list []Action
	for _, n := range byOrder(w) {
		if o, ok := own[n]; ok && o.Verdict != condition.True {
			continue
		}
		a := w.Actions[n]
		out := Action{Number: n + 1, Kind: a.Type, Order: a.Order, OnlyIf: own[n].Clauses}
		var config map[string]json.RawMessage
		_ = json.Unmarshal(a.Config, &config) // what isn't an object is broken, and was said so
		if target := textIn(config, "url"); target != "" {
			out.To = host(target)
		}
		for _, rec := range w.Recipients {
			if rec.ActionID == nil || *rec.ActionID == a.ID {
				out.Recipients = append(out.Recipients, recipient(rec, vars))
			}
		}
		for _, of := range texts[a.Type] {
			var source template.Text
			if json.Unmarshal(member(config, of.key), &source) != nil || len(source) == 0 {
				continue
			}
			t := Text{Name: of.key}
			if varsErr != nil {
				t.Error = varsErr.Error()
			} else {
				o := template.Options{Channel: of.channel, Partials: library, Locale: locale, Zone: zone}
				t.Text, t.Error = render(source, o, vars, r, out.Recipients)
			}
			out.Texts = append(out.Texts, t)
		}
		list = append(list, out)
	}
	return list
}

// AsEvent is the change as it would be recorded.
func (c *Change) AsEvent() *workflow.Event { return c.asEvent(c.event(), c.Op) }

func (c *Change) asEvent(ev *change.Event, op change.Op) *workflow.Event {
	return &workflow.Event{
		ID: c.EventID, Position: c.Position, Side: c.Side, CommittedAt: c.CommittedAt, Table: c.Table.Label, Op: op,
		TenantID: c.tenant(op), RowKey: c.key(), Data: c.data(ev, op),
	}
}

// member is what stands under a key, or under a key inside it: button.text. Nil if nothing
// does.
func member(config map[string]json.RawMessage, key string) json.RawMessage {
	key, inner, deeper := strings.Cut(key, ".")
	if !deeper {
		return config[key]
	}
	var in map[string]json.RawMessage
	_ = json.Unmarshal(config[key], &in) // what isn't an object has nothing inside
	return in[inner]
}

func textIn(config map[string]json.RawMessage, key string) string {
	var s string
	if json.Unmarshal(config[key], &s) != nil {
		return ""
	}
	return s
}

// host leaves out what may be secret of a URL: user, path and query.
func host(target string) string {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

func render(source template.Text, o template.Options, vars map[string]any, r *Result, to []Recipient) (text, problem string) {
	t, err := source.Compile(o)
	if err != nil {
		return "", err.Error()
	}
	vars["workflow"] = map[string]any{"id": r.WorkflowID, "name": r.Name, "version": r.Version}
	id := ""
	if len(to) > 0 {
		id = to[0].ID
		if to[0].Type == "attribute" {
			id = to[0].Value
		}
	}
	vars["recipient"] = template.PersonVariables(&workflow.Person{ID: id})
	text, err = t.Render(vars)
	if err != nil {
		return "", err.Error()
	}
	return strings.TrimSpace(text), ""
}

// recipient shows one; an attribute with its column of the row that the event is about.
func recipient(rec workflow.Recipient, vars map[string]any) Recipient {
	out := Recipient{Type: rec.Type, ID: rec.Value}
	if rec.Type != "attribute" {
		return out
	}
	row, _ := vars["new"].(map[string]any)
	if row == nil {
		row, _ = vars["old"].(map[string]any)
	}
	switch v, there := row[rec.Value]; {
	case !there:
		out.Value = "not known"
	case v == nil:
		out.Value = "NULL"
	default:
		out.Value = fmt.Sprint(v)
	}
	return out
}
