package actions

import (
	"context"
	"encoding/json"
	"time"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Kind is an action kind, as workflows name it in action_type.
type Kind struct {
	Name  string // webhook
	Title string // for people: "Webhook"
	Help  string // one sentence on what it does
	// Schema is the JSON Schema (draft 2020-12) of action_config: an object without
	// further properties. The keys that every kind has (CommonKeys) are not in it.
	Schema string
	// Recipients says that a delivery is one recipient's. A workflow with such an
	// action needs recipients.
	Recipients bool
	// Address is what a recipient must have to be reached; of kinds with Recipients.
	Address workflow.Address
	// Retry is when a failed attempt is repeated, unless the workflow says otherwise.
	Retry Schedule
	// InTransaction says that an attempt takes effect in the transaction that writes down
	// its outcome, by Delivery.Call: both happen, or neither does.
	InTransaction bool
	// Parse reads an action_config that satisfies Schema. Errors name the key, what is
	// wrong with it, and the mend.
	Parse func(config json.RawMessage, texts Texts) (Runner, error)
}

// Runner is one action of a workflow version, configured. It is immutable, and its
// methods may be called from any goroutine.
type Runner interface {
	// Destination names what the attempts go to, for limits and fairness: a URL without
	// its query. "" is this process and its database.
	Destination() string
	// Secrets are the names of the secrets that Run asks for.
	Secrets() []string
	// Run makes one attempt. It returns soon after ctx ends. What it returns beside an
	// error counts too. An *Error says whether another attempt can help; any other
	// error is retried.
	Run(ctx context.Context, d *Delivery) (Result, error)
}

// Reacher is a Runner that can look whether what it goes to answers, without delivering
// anything. It returns what that is called, and an error that may be shown.
type Reacher interface {
	Reach(ctx context.Context, secret func(ctx context.Context, name string) (string, error)) (name string, err error)
}

// Delivery is what one attempt delivers.
type Delivery struct {
	ID      string // the idempotency key: the same for all attempts, without whitespace
	Attempt int    // from 1
	// Event has Table and Data set. Shared: read only.
	Event     *workflow.Event
	Workflow  Workflow
	Recipient string // whose share it is, by their id; "" for the action as a whole
	// Person is the same with what the directory knew of them; nil for the action as a
	// whole. Shared: read only.
	Person *workflow.Person
	// Secret returns a secret of the workflow's tenant by its name. Its errors may be
	// shown.
	Secret func(ctx context.Context, name string) (string, error)
	// Call calls a registered function, and writes down that the delivery succeeded, in one
	// transaction; of kinds InTransaction, once in an attempt. It returns the start of what
	// the function returned. After an error, a *workflow.CallError or one of the
	// connection's, nothing has happened, or the delivery is done.
	Call func(ctx context.Context, c workflow.FunctionCall) (string, error)
}

// Workflow is what a receiver is told of the workflow.
type Workflow struct {
	ID       string
	Name     string
	Version  int32
	TenantID string // "" = an operators' workflow
	// Critical says that it passes people's preferences: nobody can opt out of it.
	Critical bool
}

// Result is what an attempt got back.
type Result struct {
	Code     int    // the receiver's status code (HTTP, SMTP); 0 without one
	Response string // start of what it answered, for people; valid UTF-8
}

// Error says why an attempt failed, and whether another one can help.
type Error struct {
	Permanent  bool          // no retry can succeed: a 404, a bad template
	RetryAfter time.Duration // what the receiver asked for; 0 if it did not
	Busy       bool          // the receiver wants less: other deliveries to it wait too
	// Down says that it is the destination's doing, and not this delivery's: it can't be
	// reached, doesn't answer in time, or says that it is out of order. Busy says that as
	// well. When there is enough of it no more is tried there for a while.
	Down bool
	// Gone says that the destination has declared itself gone for good: nothing is sent
	// there any more.
	Gone bool
	Err  error // without secrets, and without credentials in URLs
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Schedule is how long to wait after each failed attempt: one attempt more than it has
// entries. Waits vary by ±20 %, so that what failed together is not tried together.
type Schedule []time.Duration

// The schedules that kinds take as their default.
var (
	// StandardWebhooks is the table of the Standard Webhooks specification: ten
	// attempts in about 75.6 hours.
	StandardWebhooks = Schedule{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
		10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
	// Messages is for what people read: late is worth less.
	Messages = Schedule{10 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour}
)
