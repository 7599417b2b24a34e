package change

import "time"

// Op is what an event did.
type Op uint8

const (
	OpNone   Op = iota
	Create      // INSERT
	Update      // UPDATE
	Delete      // DELETE
	Truncate    // TRUNCATE: one event per relation; counted and warned about, never matched
	Emit        // a transactional logical message (pg_logical_emit_message); Message is set
)

// String gives the word that workflows use: create, update, delete; truncate, emit.
func (o Op) String() string {
	switch o {
	case Create:
		return "create"
	case Update:
		return "update"
	case Delete:
		return "delete"
	case Truncate:
		return "truncate"
	case Emit:
		return "emit"
	}
	return "none"
}

// Phrase is the operation with its article: "a create", "an update".
func (o Op) Phrase() string {
	switch o {
	case Update, Emit:
		return "an " + o.String()
	}
	return "a " + o.String()
}

// ParseOp reads create, update or delete.
func ParseOp(s string) (Op, bool) {
	switch s {
	case "create":
		return Create, true
	case "update":
		return Update, true
	case "delete":
		return Delete, true
	}
	return OpNone, false
}

// Event is one row change of a committed transaction, or one logical message in it.
// Relation is shared: read only. Old and New point into the bytes of the Parts they
// came with, and are valid until Parts.Release.
// (PostgreSQL manual: Logical Replication Message Formats.)
type Event struct {
	Op       Op
	Relation *Relation // nil for Emit
	// Old holds the replica-identity columns. It is empty for a create, and for an
	// update that left the identity alone. OldKeyOnly says that only key columns
	// carry values: the others arrive as NULL and are not in the WAL.
	Old        Row
	New        Row // empty for a delete
	OldKeyOnly bool
	Message    Message // for Emit
}

// Message is a transactional logical message.
type Message struct {
	Prefix  string
	Content []byte
}

// Part is a piece of one transaction, in order. Small transactions are one part;
// a big one comes in as many as it takes, since no transaction is ever held whole.
type Part struct {
	XID        uint32    // of the transaction, 32 bits as Begin has it
	CommitLSN  LSN       // where the commit record starts
	CommitTime time.Time // UTC, microseconds
	First      bool      // this part starts with the Begin
	// EndLSN is the next byte after the commit record. It is set on the part with the
	// Commit only; zero says that more parts follow. It may be confirmed to the slot
	// once everything up to and with this part is recorded.
	EndLSN LSN
	Events []Event
	// Bytes is what the events took on the wire: message bytes of changes and of
	// logical messages, without Relation and Type messages, so it is the same at
	// every decode of the transaction.
	Bytes int
}

// Last says that the part ends with the transaction's Commit.
func (p *Part) Last() bool { return p.EndLSN != 0 }

// Parts is what the stream hands over at once: consecutive parts and the memory
// that their rows point into.
type Parts struct {
	List []Part
	// WALEnd is the greatest WAL position that the server has told so far, for lag.
	WALEnd LSN
	// Idle, when not zero, is a keepalive's WAL end that was received after List with
	// no transaction open. It may be confirmed to the slot once everything before it
	// is recorded.
	Idle LSN
	// Received is when the first byte of List was read (local clock).
	Received time.Time

	release func(*Parts)
}

// NewParts is for the stream and for tests; release may be nil.
func NewParts(release func(*Parts)) *Parts { return &Parts{release: release} }

// Release gives the memory back. No Event, Row or Message of these parts may be
// touched afterwards.
func (p *Parts) Release() {
	if p.release != nil {
		p.release(p)
	}
}
