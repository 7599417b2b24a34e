package live

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Type is what an event is about.
type Type string

const (
	Execution   Type = "execution"   // was recorded and is pending, or was settled
	Delivery    Type = "delivery"    // has ended
	Destination Type = "destination" // its breaker opened or closed, or it was disabled or enabled
	Pause       Type = "pause"       // began, or is over
	Stream      Type = "stream"      // how it stands
	Missed      Type = "missed"      // events are missing here
)

// Types are those that a filter may name.
var Types = []Type{Execution, Delivery, Destination, Pause, Stream}

// Event is something that happened. Of the pointers the one of its type is set.
type Event struct {
	ID          string               `json:"id,omitempty"` // where to go on after it; "" = it has no place
	Type        Type                 `json:"type"`
	At          time.Time            `json:"at"` // by the state server's clock
	Execution   *store.LiveExecution `json:"execution,omitempty"`
	Delivery    *store.LiveDelivery  `json:"delivery,omitempty"`
	Destination *DestinationState    `json:"destination,omitempty"`
	Pause       *PauseState          `json:"pause,omitempty"`
	Stream      *StreamState         `json:"stream,omitempty"`
	Missed      *MissedEvents        `json:"missed,omitempty"`

	tenantID string // whose it is, for readers of one tenant
	shared   bool   // every tenant may see it
	settles  bool   // the event of its execution comes next, with the same ID
}

// DestinationState is how a destination stands.
type DestinationState struct {
	ID          string                    `json:"id"`
	TenantID    string                    `json:"tenant_id"`
	Kind        string                    `json:"kind"`
	Destination string                    `json:"destination"`
	State       workflow.DestinationState `json:"state"`
	Reason      string                    `json:"reason,omitempty"` // why it was disabled, or failed last
}

// PauseState is a pause that began, or is over.
type PauseState struct {
	ID         string     `json:"id"`
	Begun      bool       `json:"begun"` // false: it is over
	Scope      string     `json:"scope"`
	TenantID   string     `json:"tenant_id,omitempty"`
	WorkflowID string     `json:"workflow_id,omitempty"`
	Kind       string     `json:"kind,omitempty"`
	Reason     string     `json:"reason,omitempty"`
	CreatedBy  string     `json:"created_by,omitempty"`
	Until      *time.Time `json:"until,omitempty"`
}

// StreamState is how the stream stands.
type StreamState struct {
	Held          bool      `json:"held"`             // a worker holds the slot
	Holder        string    `json:"holder,omitempty"` // application_name of its connection
	CheckpointAt  time.Time `json:"checkpoint_at"`    // when it last moved
	CheckpointAge float64   `json:"checkpoint_age_seconds"`
	RetainedBytes int64     `json:"retained_bytes"` // WAL that the slot keeps; -1 = not known
	LagBytes      int64     `json:"lag_bytes"`      // WAL that was not confirmed yet; -1 = not known
	Gaps          int       `json:"gaps"`           // stretches of WAL that were lost
	Problem       string    `json:"problem,omitempty"`
}

// MissedEvents says that events are missing.
type MissedEvents struct {
	Count int `json:"count"` // 0 = nobody has counted
}

// Filter says which events a reader gets.
type Filter struct {
	// Tenant is the one whose events they are, "" = operators'; nil: all tenants'. Who has one
	// gets no events of the stream, and of pauses that concern more than the tenant only that
	// they are.
	Tenant     *string
	WorkflowID string                     // executions and deliveries of this one; "" = of any
	Statuses   []workflow.ExecutionStatus // executions with one of these; nil: all that are settled
	Types      []Type                     // nil: all
	// Sees asks the database whether it shows the reader a tenant's rows, "" = the operators',
	// who see all. It is asked once for each tenant of whom there is something, besides Tenant,
	// and must go on after the request. nil: all are shown.
	Sees func(ctx context.Context, tenantID string) (bool, error)
}

func (f *Filter) wants(t Type) bool { return len(f.Types) == 0 || slices.Contains(f.Types, t) }

// pending says that executions are wanted that are not settled.
func (f *Filter) pending() bool {
	return f.wants(Execution) && slices.Contains(f.Statuses, workflow.Pending)
}

// see returns an event as a reader sees it; ok is false if it doesn't.
func (f *Filter) see(e Event) (Event, bool) {
	if !f.wants(e.Type) || f.Tenant != nil && e.tenantID != *f.Tenant && !e.shared || f.Tenant != nil && e.Type == Stream {
		return e, false
	}
	switch e.Type {
	case Execution:
		if len(f.Statuses) == 0 && e.Execution.Status == workflow.Pending || len(f.Statuses) > 0 && !slices.Contains(f.Statuses, e.Execution.Status) {
			return e, false
		}
		return e, f.WorkflowID == "" || f.WorkflowID == e.Execution.WorkflowID
	case Delivery:
		if e.settles && f.wants(Execution) {
			e.ID = "" // who goes on after it has yet to hear of the execution
		}
		return e, f.WorkflowID == "" || f.WorkflowID == e.Delivery.WorkflowID
	case Pause:
		if f.Tenant != nil && e.shared {
			e = e.plain()
		}
	case Destination, Stream, Missed:
	}
	return e, true
}

// plain is the event of a pause without an operator's words, which are for operators.
func (e Event) plain() Event {
	p := *e.Pause
	p.Reason, p.CreatedBy = "", ""
	e.Pause = &p
	return e
}

// place is where an event stands among those of what has ended: by its time, and then by the
// id of the execution or delivery.
type place struct {
	at time.Time
	id string // "" = before all of that time
}

// longestID is how long an ID may be.
const longestID = 400

// behindAll is an id that stands behind all others.
const behindAll = "~"

// String is the ID of the event.
func (p place) String() string {
	text := strconv.FormatInt(p.at.UnixMicro(), 10)
	if p.id != "" {
		text += "-" + p.id
	}
	return text
}

// IDAt is the ID of a moment: what comes after it is what has happened since.
func IDAt(at time.Time) string { return place{at: at}.String() }

// parsePlace reads what String wrote.
func parsePlace(id string) (place, error) {
	micros, key, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(micros, 10, 64)
	if err != nil || n < 0 || n > 1<<56 || len(id) > longestID || !utf8.ValidString(id) || strings.ContainsRune(id, 0) {
		return place{}, fmt.Errorf("%.60q is not the id of an event of this feed", id)
	}
	return place{time.UnixMicro(n), key}, nil
}

func (p place) compare(other place) int {
	return cmp.Or(p.at.Compare(other.at), strings.Compare(p.id, other.id))
}

func settledEvent(x *store.LiveExecution) Event {
	return Event{ID: place{*x.SettledAt, x.ID}.String(), Type: Execution, At: *x.SettledAt, Execution: x, tenantID: x.TenantID}
}

func pendingEvent(x *store.LiveExecution) Event {
	return Event{Type: Execution, At: x.ExecutedAt, Execution: x, tenantID: x.TenantID}
}

func deliveryEvent(d *store.LiveDelivery) Event {
	e := Event{ID: place{d.EndedAt, d.ID}.String(), Type: Delivery, At: d.EndedAt, Delivery: d, tenantID: d.TenantID}
	// It ends with the recipient's id, which may be anything.
	if len(e.ID) > longestID || strings.ContainsFunc(e.ID, unicode.IsControl) {
		e.ID = ""
	}
	return e
}

// onlyEvent is of the only delivery of an execution that it settles. It comes before the
// event of that, in the same place.
func onlyEvent(x *store.LiveExecution) Event {
	e := deliveryEvent(x.Only())
	e.ID, e.settles = place{*x.SettledAt, x.ID}.String(), true
	return e
}
