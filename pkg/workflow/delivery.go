package workflow

import (
	"math"
	"time"
)

// Leased is a delivery that one process has to itself for a while.
type Leased struct {
	ExecutionID string
	Action      int16   // index in the version's actions; GateAction
	VersionRef  int32   // surrogate of the workflow version
	TenantID    string  // of the workflow; "" = an operators' one
	Recipient   string  // whose share it is, by their id; "" for the action as a whole
	Person      *Person // the same with what the directory knew; nil for the action as a whole
	Kind        string  // action_type; GateKind
	Order       int32
	Priority    int32
	Attempts    int16 // so far
	Base        int16 // of them, those before it was put back by hand: its schedule begins after them
	Lane        int64
	Addressed   bool // false: recipients are still to be resolved
	Sole        bool // the execution's only delivery
	// Event is what it is about. Data is nil if it is too big to come along; it is to be
	// read when it is needed.
	Event *Event
	// XID is the 64-bit xid of the event's transaction in the source, for deliveries that
	// are still to be addressed; 0 if it doesn't matter any more.
	XID uint64
}

// ID is the delivery's public id, and the idempotency key of all its attempts.
func (l *Leased) ID() string { return DeliveryID(l.ExecutionID, l.Action, l.Recipient) }

// Verb says what is to become of a delivery.
type Verb string

const (
	Succeeded Verb = "succeeded" // it has ended
	Dead      Verb = "dead"      // it has ended: gave up
	Cancel    Verb = "cancelled" // it has ended: it is not wanted any more
	Retry     Verb = "retry"     // it is to be tried again, RetryIn from now
	GiveBack  Verb = "give_back" // it was not tried: whoever is free may have it
	// Written is of a delivery that succeeded, whose action wrote that down itself:
	// nothing is left to write.
	Written Verb = "written"
)

// A gate is recorded as a delivery before those of the actions: what the executor decides
// of an execution. If it succeeds they begin; however else it ends, they are cancelled.
const (
	GateAction int16 = -1
	GateKind         = "gate"
	GateOrder  int32 = math.MinInt32 // which no action may have whose workflow has a gate
)

// Gate says that the delivery is a gate.
func (l *Leased) Gate() bool { return l.Action == GateAction }

// Outcome is what became of a leased delivery.
type Outcome struct {
	*Leased
	Verb Verb
	// Tried says that an attempt was made; the next four are about it.
	Tried     bool
	StartedAt time.Time
	Duration  time.Duration
	Code      int    // status code that it got; 0 none
	Response  string // start of what the receiver answered
	// Reason is why it failed or is not wanted; "" for Succeeded.
	Reason  string
	RetryIn time.Duration // for Retry
	// Stop is why the execution's actions with a higher order are cancelled; "" if they go
	// on. When a gate doesn't succeed they never do: Reason says why if Stop doesn't.
	Stop string
}

// A Claim says what a process has room for.
type Claim struct {
	// After is the lane behind which to begin: each claim goes on where the last one
	// ended, so that no lane is always first.
	After int64
	// Most is how many deliveries there is room for, and PerLane how many of any lane
	// that is not in Room.
	Most, PerLane int
	Room          map[int64]int // by lane
	// Barred says that destinations whose breaker is open count like all others.
	Barred bool
	// Paused is what is left out; nil: nothing is.
	Paused *Paused
}

// Claimed is what a claim got.
type Claimed struct {
	Deliveries []*Leased
	// Last is the lane at which it ended; End says that there was none behind it.
	Last int64
	End  bool
}

// Addressing replaces an action's delivery by one for each of its recipients.
type Addressing struct {
	*Leased
	People []Person  // without doubles by id
	Left   []LeftOut // without doubles, and none of People
}
