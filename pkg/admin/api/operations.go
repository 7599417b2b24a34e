package api

import (
	"context"
	"time"

	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/directory"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Operations are what an operator does beside definitions, as the command line does it; each
// is noted in the audit log. app's is one. It looks at no tenant: the caller has.
type Operations interface {
	// RetryDelivery puts an ended delivery back, and returns the ids of all that came back.
	RetryDelivery(ctx context.Context, id string) ([]string, error)
	CancelDelivery(ctx context.Context, id, by string) error

	// DismissFailure dismisses a cause of a workflow's failures; with a tenant, of its workflow.
	DismissFailure(ctx context.Context, workflowID, cause, note string, tenant *string, by string) (store.Dismissal, error)
	RestoreFailure(ctx context.Context, id, by string) error

	// CancelExecution ends what has not ended of an execution, and returns the ids of those
	// deliveries. Returns ErrConflict if all has.
	CancelExecution(ctx context.Context, id, by string) ([]string, error)

	SaveView(ctx context.Context, v store.SavedView) (store.SavedView, error)
	DeleteView(ctx context.Context, id, by string) error

	PlanReplay(ctx context.Context, r ReplayRequest) (ReplayPlan, error)
	StartReplay(ctx context.Context, r ReplayRequest) (store.Replay, error)
	CancelReplay(ctx context.Context, id int32, by string) (store.Replay, error)
	DecideStorm(ctx context.Context, id string, to workflow.BigStatus, by string) ([]store.Storm, error)

	EnableDestination(ctx context.Context, lane int64, by string) error
	DisableDestination(ctx context.Context, lane int64, by, reason string) error
	// RotateSecret changes the secrets with which webhooks to a destination are signed; the
	// old ones sign as well for so long.
	RotateSecret(ctx context.Context, lane int64, keep time.Duration, by string) ([]RotatedSecret, error)
	// TestDestination makes one attempt with a test event.
	TestDestination(ctx context.Context, lane int64, by string) (TestResult, error)

	// TestSend makes one attempt of an action as it would be for a change, to one person: who
	// asks.
	TestSend(ctx context.Context, p definition.Preview, sees func(tenantID string) bool, to *workflow.Person, by string) (TestResult, error)

	// Resolve finds out who recipients are.
	Resolve(ctx context.Context, q directory.Question) (directory.People, error)
	// MissingAddresses looks for people whom a tenant's active workflows can't reach.
	MissingAddresses(ctx context.Context, tenant *string) (MissingReport, error)

	SetPreference(ctx context.Context, who workflow.PersonKey, p workflow.Preference, wanted *bool, by string) error
	AddQuietHours(ctx context.Context, who workflow.PersonKey, q workflow.QuietHours, by string) error
	ClearQuietHours(ctx context.Context, who workflow.PersonKey, by string) (int, error)

	Pauses(ctx context.Context) ([]workflow.Pause, error)
	Pause(ctx context.Context, p workflow.Pause, long time.Duration, by string) (workflow.Pause, error)
	EndPause(ctx context.Context, id, by string) error

	// Tenants lists tenants that have anything, the operators first, as "".
	Tenants(ctx context.Context) ([]TenantListed, error)

	// Connections are the services that Rowbell goes out to, with what a tenant's deliveries
	// came to there; nil: all tenants'.
	Connections(ctx context.Context, tenant *string) ([]ConnectionOut, error)
	// VerifyConnection tries one. Returns ErrConflict if it is not set up.
	VerifyConnection(ctx context.Context, name string, tenant *string, by string) (VerifiedOut, error)
	// Settings are the limits in force, and, with workflows, a tenant's workflows that say
	// otherwise; nil: all tenants'.
	Settings(ctx context.Context, tenant *string, workflows bool) (SettingsOut, error)
	// SetWeight says how many turns a tenant's deliveries get.
	SetWeight(ctx context.Context, tenantID string, weight int, by string) error

	// Health is what /readyz says.
	Health(ctx context.Context) StreamHealth
}

// ReplayRequest says what is to be run again, and how.
type ReplayRequest struct {
	store.ReplayFilter
	Current bool    // with the current version, not the one that applied
	Rate    float64 // executions per second
	By      string  // who asks
}

// ReplayPlan is what a replay would do.
type ReplayPlan struct {
	Total     int                `json:"total"`
	Gone      int                `json:"gone" doc:"Of them, those whose event is no longer in the log"`
	Full      bool               `json:"full" doc:"There may be more than the limit"`
	Parts     []store.ReplayPart `json:"parts"`
	Evaluated int                `json:"evaluated" doc:"With the current version: so many of the first were evaluated"`
	Unmatched int                `json:"unmatched" doc:"Of these, those that it doesn't match"`
	Undecided int                `json:"undecided" doc:"And those that can't be decided by what is recorded"`
	Problems  []string           `json:"problems" doc:"Why workflows can't be replayed now"`
}

// RotatedSecret is a signing secret that was changed.
type RotatedSecret struct {
	Name      string    `json:"name"`
	TenantID  string    `json:"tenant_id" doc:"Whose it is; empty: the operators'"`
	Secret    string    `json:"secret" doc:"The new one; it is shown once"`
	Until     time.Time `json:"until" doc:"The old one signs as well until then"`
	Workflows []string  `json:"workflows" doc:"Whose webhooks it signs, wherever they go"`
}

// TestResult is what one attempt came to.
type TestResult struct {
	Sent      bool   `json:"sent" doc:"It was taken"`
	Code      int    `json:"code,omitempty" doc:"HTTP status or SMTP code"`
	Duration  int64  `json:"duration_ms"`
	Error     string `json:"error,omitempty"`
	Response  string `json:"response,omitempty" doc:"The start of what was answered"`
	Recipient string `json:"recipient,omitempty" doc:"To whom it went"`
}

// MissingReport is who can't be reached.
type MissingReport struct {
	People   []MissingPerson `json:"people"`
	Problems []string        `json:"problems" doc:"What could not be found out"`
	More     bool            `json:"more" doc:"There are more workflows than were looked at"`
}

// MissingPerson is somebody without an address that they need.
type MissingPerson struct {
	ID        string   `json:"id"`
	Name      string   `json:"name,omitempty"`
	Address   string   `json:"address" doc:"What is missing: email or phone"`
	Workflows []string `json:"workflows" doc:"Which can't reach them"`
}

// TenantListed is a tenant with what it has; the log is not counted.
type TenantListed struct {
	store.TenantCounts
	Destinations int `json:"destinations"`
}

// StreamHealth is how the worker that answers does.
type StreamHealth struct {
	Status string        `json:"status" enum:"ok,failing"`
	Checks []HealthCheck `json:"checks"`
}

// HealthCheck is what one check found.
type HealthCheck struct {
	Name    string `json:"name"`
	State   string `json:"state" enum:"ok,warning,failing"`
	Message string `json:"message,omitempty"`
	Mend    string `json:"mend,omitempty"`
}
