// Package log is the action kind log: it does nothing. The execution is the record: what
// matched, when, and of which event, is a row of rowbell.workflow_log either way.
//
// An execution whose actions are all log is recorded as success at once, without
// deliveries, and never comes here. Beside other actions a log has a delivery like them,
// which succeeds at its first attempt, and so is in its place of the workflow's order.
package log

import (
	"context"
	"encoding/json"

	"github.com/rowbell/rowbell/actions"
)

// Schema is the JSON Schema of action_config: {}.
const Schema = `{
	"type": "object",
	"additionalProperties": false
}`

// Kind returns the action kind.
func Kind() *actions.Kind {
	return &actions.Kind{
		Name:   "log",
		Title:  "Log",
		Help:   "Records in the execution log that the workflow matched, and nothing else.",
		Schema: Schema,
		Parse:  func(json.RawMessage, actions.Texts) (actions.Runner, error) { return record{}, nil },
	}
}

// record is the action. It has nothing to configure, to send to, or to fail at.
type record struct{}

// Destination implements actions.Runner: it goes nowhere.
func (record) Destination() string { return "" }

// Secrets implements actions.Runner.
func (record) Secrets() []string { return nil }

// Run implements actions.Runner. It succeeds.
func (record) Run(context.Context, *actions.Delivery) (actions.Result, error) {
	return actions.Result{}, nil
}
