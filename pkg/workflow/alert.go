package workflow

import "time"

// An AlertKind says what an alert is about.
type AlertKind string

const (
	AlertFailing  AlertKind = "failing"  // executions of a workflow fail
	AlertBroken   AlertKind = "broken"   // a workflow can't be compiled or bound: it doesn't run
	AlertEndpoint AlertKind = "endpoint" // a destination was disabled: deliveries to it are cancelled
	AlertStorm    AlertKind = "storm"    // more matches at once than a workflow may have: the rest is held
	AlertLoop     AlertKind = "loop"     // a workflow set itself off again and again: it was stopped
)

// Reasons for which people are told alerts, in the place of those of the directory.
const (
	ReasonOwner    = "owner"    // of a workflow, whose id stands behind it: "owner large-order"
	ReasonOperator = "operator" // named by the setting alerts
)

// An Alert is what the owner of a workflow, or else the operator, is to be told. Nothing
// in it is secret: a destination is named by scheme, host and path, without user and query.
type Alert struct {
	// Key names the occasion, for ever: of alerts with the same key only the first is told,
	// whichever processes raise them. "endpoint/3f2a…/2026-11-26T01:02:03Z".
	Key        string
	Kind       AlertKind
	TenantID   string // whose it is; "" = an operators' one
	WorkflowID string // "" if it is about more than one workflow
	// Through is the action kind that fails ("webhook"), which is no way to tell of it; ""
	// if it is about none.
	Through string
	Subject string // one line, what happened: "endpoint https://example.com/hook was disabled"
	Text    string // sentences: since when, how often, an example, how to mend it; lines end in \n
	At      time.Time
}
