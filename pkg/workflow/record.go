package workflow

import (
	"time"

	"github.com/rowbell/rowbell/pkg/change"
)

// ExecutionStatus is where an execution stands.
type ExecutionStatus string

const (
	Pending   ExecutionStatus = "pending"
	Success   ExecutionStatus = "success"
	Failure   ExecutionStatus = "failure"
	Cancelled ExecutionStatus = "cancelled"
)

// Checkpoint is the row that says up to where executions are recorded.
type Checkpoint struct {
	Position   change.Position // Seq = change.SeqWhole: the whole transaction is recorded
	EndLSN     change.LSN      // end of the last transaction that is recorded whole
	ConfirmLSN change.LSN      // what may be told to the slot
	// XIDFloor is the greatest xmin that a heartbeat has brought through the slot. The
	// 32-bit xids of transactions that come are widened to the 64-bit ones near it.
	XIDFloor uint64
}

// Event is a matched event as it is recorded: once, however many workflows match.
type Event struct {
	ID          string // ULID text, change.EventID
	Position    change.Position
	Side        change.Side
	CommittedAt time.Time
	TableRef    int32  // surrogate of the captured_table version
	Table       string // its label, or domain:<name>; "" where nobody asked
	Domain      string // name of a domain event, whose TableRef is 0; "" for a row of a table
	Op          change.Op
	TenantID    string // "" = none
	// RowKey is the key column values as text, joined by ","; "" without a key. Different
	// rows have different keys, unless a key column is redacted or NULL.
	RowKey string
	// Chain is what led to it, as the application said; nil: it said nothing. Shared between
	// events: read only.
	Chain *Chain
	// XID is the 64-bit xid of the transaction in the source; known only while it is recorded.
	XID uint64
	// Data is {"new": {…}, "old": {…}, "changed": […]|null, "unavailable": […],
	// "actor": {…}}: what a webhook's data holds of the row. Hidden columns are
	// absent, redacted ones masked.
	Data []byte
}

// Execution is one workflow version run for one event.
type Execution struct {
	Event      *Event
	VersionRef int32  // surrogate of the workflow version
	TenantID   string // of the workflow; "" = an operators' one
	Run        int32  // 0 from the stream; n for the n-th replay
	Priority   int32
	Status     ExecutionStatus
	Error      string // "" none
	Result     []byte // JSON; nil none
	BigRef     bool   // of a transaction that is recorded in parts
	// Storm holds the execution's deliveries until an operator decides: the CommitLSN of a
	// Big whose Stream is StormStream(VersionRef). 0: nothing holds them.
	Storm change.LSN
}

// Delivery is one action of an execution that is to be delivered.
type Delivery struct {
	Execution *Execution
	Action    int16  // index in the version's actions; GateAction
	Kind      string // action_type; GateKind
	Order     int32
	Addressed bool  // false: recipients are still to be resolved
	Lane      int64 // the same for one tenant's deliveries to one destination
	Leased    bool  // by the process that records it, which has it in memory
}

// AppliedKind says what an Applied row is about.
type AppliedKind string

const (
	AppliedWorkflow AppliedKind = "workflow"
	AppliedTable    AppliedKind = "table"
)

// Applied says that from a position on this version of a workflow or table counts.
type Applied struct {
	Kind      AppliedKind
	ID        string // workflow id, or table label
	Version   int32
	Surrogate int32 // given out once, never used again
	TenantID  string
	Name      string // of the workflow or table, kept for the log
	Gone      bool   // deleted workflow or released table: the row is removed
	// Stream and CommitLSN are where the version was committed: it applies to what
	// commits after that. CommitLSN is zero for what a first load found, and Stream too for
	// that of the first stream.
	Stream    int32
	CommitLSN change.LSN
}

// Fired says that a workflow which fires once per row has fired, for its event's row. It
// counts only if it is the first to say so of that workflow and row.
type Fired struct {
	Execution  *Execution
	WorkflowID string
}

// BigStatus is where a transaction stands that is recorded in parts.
type BigStatus string

const (
	BigOpen     BigStatus = "open"
	BigReleased BigStatus = "released"
	BigSkipped  BigStatus = "skipped"
	BigHeld     BigStatus = "held"
	// BigDiscarded is of a storm: its deliveries are cancelled.
	BigDiscarded BigStatus = "discarded"
)

// StormStream is what stands for Stream in the row of big_transaction that holds a storm
// of a workflow version: no stream is negative.
func StormStream(versionRef int32) int32 { return -versionRef }

// StormCounts are the executions that were recorded of workflows lately, for the storm
// guard to go on from. It is read of what is recorded, so it is what was counted.
type StormCounts struct {
	Minute int64 // the newest one of commit time that an execution was recorded of, in minutes since 1970; 0 none
	Counts []StormCount
}

// StormCount is of one workflow: executions recorded for changes of the newest minute, of
// the one before, and of the transaction that the checkpoint stands in.
type StormCount struct {
	WorkflowID string
	Newest     int32
	Before     int32
	InTxn      int32
}

// Big is a change to the row of a transaction that is recorded in parts.
type Big struct {
	Stream      int32
	CommitLSN   change.LSN
	CommittedAt time.Time
	Status      BigStatus
}

// Batch is what one fenced statement records: nothing of it, or all.
type Batch struct {
	Previous   Checkpoint
	Next       Checkpoint
	Events     []*Event
	Executions []*Execution
	Deliveries []*Delivery
	Applied    []Applied
	Big        []Big
	Fired      []Fired
	// Failures per workflow and hour of commit time are counted with the checkpoint,
	// so that a replay decides the same about the cap on them.
	Failures []FailureCount
}

// FailureCount is how many executions of a workflow failed in their conditions in one
// hour of commit time.
type FailureCount struct {
	WorkflowID string
	Hour       time.Time // start of the hour, UTC
	Recorded   int32     // as rows
	Counted    int32     // rows and the ones only counted
}

// Verdict is what health says of a workflow.
type Verdict string

const (
	OK          Verdict = "ok"
	Broken      Verdict = "broken"       // can't be compiled or bound; Message says why
	Incomplete  Verdict = "incomplete"   // active, but without trigger or action
	NotCaptured Verdict = "not_captured" // names a table that isn't captured
)

// Health is one row of workflow_health: shown to people, decided by by nothing.
type Health struct {
	WorkflowID string
	Version    int32
	TenantID   string
	Verdict    Verdict
	Message    string   // what is wrong, where, and how to mend it; "" when OK
	Warnings   []string // don't block
}
