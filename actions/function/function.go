// Package function is the action kind function: it calls an SQL function of the
// application's, which an operator has registered, in the transaction that writes down the
// delivery's outcome. What the function does in the database happens exactly once: it
// stands or falls with the row that says so.
//
// The function gets the delivery's idempotency key and what happened:
//
//	app.credit_order(key text, payload jsonb) returns jsonb
//
// The payload has what a webhook's data has (event, workflow, new, old, changed,
// unavailable, actor), committed_at, and arguments: what the configuration says.
//
// 2026-11-26: arguments are texts and JSON values. A text is a template and stays a text;
// what is to be a number is read from payload -> 'new', where it has its type.
package function

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/template"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Config is the action_config of a function.
type Config struct {
	Function  string                     `json:"function"` // its name in rowbell.function
	Arguments map[string]json.RawMessage `json:"arguments"`
}

// Schema is the JSON Schema of Config.
const Schema = `{
	"type": "object",
	"properties": {
		"function": {
			"title": "Function",
			"description": "The name under which an operator has registered it.",
			"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$",
			"examples": ["credit_order"]
		},
		"arguments": {
			"title": "Arguments",
			"description": "What the function finds under arguments of its payload: any JSON. Texts are Liquid templates with new, old, changed, event, workflow and actor.",
			"type": "object", "maxProperties": 50,
			"examples": [{"reason": "Order {{ new.id }}", "points": 10}]
		}
	},
	"required": ["function"],
	"additionalProperties": false
}`

// The limits of arguments.
const (
	maxDepth     = 8
	maxValues    = 500
	maxArguments = 64 << 10 // bytes, before and after the templates
)

// schedule is shorter than a webhook's: nothing is between Rowbell and the function.
var schedule = actions.Schedule{
	time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour,
}

// Kind returns the action kind. In another database than the function's there is no
// transaction for both: stateInSource says that state is in the source's.
func Kind(stateInSource bool) *actions.Kind {
	return &actions.Kind{
		Name:          "function",
		Title:         "Function",
		Help:          "Calls an SQL function of the application's, exactly once.",
		Schema:        Schema,
		Retry:         schedule,
		InTransaction: true,
		Parse: func(config json.RawMessage, texts actions.Texts) (actions.Runner, error) {
			if !stateInSource {
				return nil, errors.New("functions are not called where state is in another database (ROWBELL_STATE_URL): a call and its record would not be one transaction; use a webhook")
			}
			var c Config
			if err := json.Unmarshal(config, &c); err != nil {
				return nil, fmt.Errorf("action_config: %w", err)
			}
			return newCall(c, texts)
		},
	}
}

// call is a configured function.
type call struct {
	function  string
	arguments object
	reads     []actions.Read
}

func newCall(c Config, texts actions.Texts) (*call, error) {
	r := &call{function: c.Function, arguments: make(object, len(c.Arguments))}
	size := 0
	for name, raw := range c.Arguments {
		size += len(name) + len(raw)
	}
	if size > maxArguments {
		return nil, fmt.Errorf("arguments: they have %d bytes; the most are %d", size, maxArguments)
	}
	p := parser{options: template.Options{Partials: texts.Templates, Locale: texts.Locale, Zone: texts.Zone}}
	for _, name := range slices.Sorted(maps.Keys(c.Arguments)) {
		v, err := decode(c.Arguments[name])
		if err == nil {
			r.arguments[name], err = p.value("arguments."+name, v, 1)
		}
		if err != nil {
			p.problems = append(p.problems, err)
		}
	}
	if len(p.problems) > 0 {
		return nil, errors.Join(p.problems...)
	}
	r.reads = p.reads
	return r, nil
}

// object is a JSON object; its values are nil, bool, json.Number, *template.Template,
// object or []any of these.
type object map[string]any

func decode(raw json.RawMessage) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}

// parser compiles the texts in arguments.
type parser struct {
	options  template.Options
	values   int
	reads    []actions.Read
	problems []error
}

func (p *parser) value(at string, v any, depth int) (any, error) {
	if p.values++; p.values > maxValues {
		return nil, fmt.Errorf("arguments: there are more than %d values", maxValues)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("%s: it is nested deeper than %d levels", at, maxDepth)
	}
	switch v := v.(type) {
	case string:
		t, err := template.CompileFor(v, p.options)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		for _, variable := range t.Variables() {
			p.reads = append(p.reads, actions.Read{Key: at, Variable: variable})
		}
		return t, nil
	case map[string]any:
		out := make(object, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			var err error
			if out[key], err = p.value(at+"."+key, v[key], depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = p.value(fmt.Sprintf("%s[%d]", at, i), v[i], depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

// render puts what templates give in their places.
func render(at string, v any, vars map[string]any) (any, error) {
	switch v := v.(type) {
	case *template.Template:
		text, err := v.Render(vars)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		// A text of jsonb holds no NUL.
		return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", ""), nil
	case object:
		out := make(map[string]any, len(v))
		for key := range v {
			var err error
			if out[key], err = render(at+"."+key, v[key], vars); err != nil {
				return nil, err
			}
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = render(fmt.Sprintf("%s[%d]", at, i), v[i], vars); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

// Destination implements actions.Runner: a slow function holds up no other.
func (c *call) Destination() string { return "function " + c.function }

// Secrets implements actions.Runner.
func (c *call) Secrets() []string { return nil }

// Reads implements actions.Reader.
func (c *call) Reads() []actions.Read { return c.reads }

// Run implements actions.Runner.
func (c *call) Run(ctx context.Context, d *actions.Delivery) (actions.Result, error) {
	payload, err := c.payload(d)
	if err != nil {
		return actions.Result{}, &actions.Error{Permanent: true, Err: err}
	}
	chain := d.Event.Next(d.Workflow.ID)
	said, err := d.Call(ctx, workflow.FunctionCall{
		Function: c.function, TenantID: d.Workflow.TenantID, Key: d.ID, Payload: payload, Chain: chain.JSON(),
	})
	if failed, ok := errors.AsType[*workflow.CallError](err); ok {
		return actions.Result{}, &actions.Error{Permanent: failed.Permanent, Err: failed.Err}
	}
	return actions.Result{Response: said}, err
}

// payload is the function's second argument, the same at every attempt.
func (c *call) payload(d *actions.Delivery) ([]byte, error) {
	arguments := []byte("{}")
	if len(c.arguments) > 0 {
		vars, err := template.EventVariables(d.Event)
		if err != nil {
			return nil, err
		}
		vars["workflow"] = map[string]any{"id": d.Workflow.ID, "name": d.Workflow.Name, "version": d.Workflow.Version}
		rendered, err := render("arguments", c.arguments, vars)
		if err != nil {
			return nil, err
		}
		if arguments, err = json.Marshal(rendered); err != nil {
			return nil, fmt.Errorf("arguments: %w", err)
		}
		if len(arguments) > maxArguments {
			return nil, fmt.Errorf("arguments: with this event they have %d bytes; the most are %d", len(arguments), maxArguments)
		}
	}
	b, err := actions.AppendData(nil, d)
	if err != nil {
		return nil, err
	}
	b = append(b[:len(b)-1], `,"committed_at":"`...)
	b = d.Event.CommittedAt.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","arguments":`...)
	b = append(b, arguments...)
	return append(b, '}'), nil
}
