package pgoutput

import (
	"fmt"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
)

// Kind is a message's first byte.
type Kind byte

const (
	Begin    Kind = 'B'
	Commit   Kind = 'C'
	Relation Kind = 'R'
	TypeInfo Kind = 'Y'
	Insert   Kind = 'I'
	Update   Kind = 'U'
	Delete   Kind = 'D'
	Truncate Kind = 'T'
	Logical  Kind = 'M' // pg_logical_emit_message
	Origin   Kind = 'O'
)

// String gives the manual's word for the message.
func (k Kind) String() string {
	switch k {
	case Begin:
		return "Begin"
	case Commit:
		return "Commit"
	case Relation:
		return "Relation"
	case TypeInfo:
		return "Type"
	case Insert:
		return "Insert"
	case Update:
		return "Update"
	case Delete:
		return "Delete"
	case Truncate:
		return "Truncate"
	case Logical:
		return "Message"
	case Origin:
		return "Origin"
	}
	return fmt.Sprintf("message %q", byte(k))
}

// Options of a Truncate.
const (
	TruncateCascade         byte = 1
	TruncateRestartIdentity byte = 2
)

// Message is one decoded message. It is made to be used again: it is valid until
// the next Decode into it, and its slices and rows alias the input. Fields that
// its Kind does not name are zero.
type Message struct {
	Kind Kind

	XID        uint32     // Begin
	FinalLSN   change.LSN // Begin: where the commit record starts, the CommitLSN of the Commit to come
	CommitLSN  change.LSN // Commit: where the commit record starts. Origin: the commit's LSN there
	EndLSN     change.LSN // Commit: the next byte after the commit record
	CommitTime time.Time  // Begin, Commit; UTC, microseconds

	RelationOID uint32     // Insert, Update, Delete
	New         change.Row // Insert, Update
	// Old is empty for an Update that left the replica identity alone. OldKeyOnly
	// says that it holds the identity's columns only ('K'): the others arrive as NULL
	// and are not in the WAL. Update, Delete.
	Old        change.Row
	OldKeyOnly bool

	Relations       []uint32 // Truncate; valid until the Decoder's next Decode
	TruncateOptions byte     // Truncate: TruncateCascade | TruncateRestartIdentity

	Transactional bool       // Message; one that is not comes outside Begin and Commit
	MessageLSN    change.LSN // Message
	Prefix        []byte     // Message
	Content       []byte     // Message

	OriginName []byte // Origin

	Relation *RelationMessage // Relation; new for each message, never changed afterwards
	Type     *TypeMessage     // Type; likewise
}

// RelationMessage describes a table before its first row and after each change of
// it. Types are bare OIDs here: Relations resolves them.
type RelationMessage struct {
	OID             uint32
	Namespace       string // empty for pg_catalog
	Name            string
	ReplicaIdentity byte // pg_class.relreplident
	Columns         []RelationColumn
}

// RelationColumn is one column of a RelationMessage.
type RelationColumn struct {
	Key      bool // part of the replica identity
	Name     string
	TypeOID  uint32
	Modifier int32 // -1 none
}

// TypeMessage names a type that does not come with PostgreSQL, before the
// Relation that uses it. For a domain it carries the domain's OID with the
// namespace and name of the type that the domain is over.
type TypeMessage struct {
	OID       uint32
	Namespace string // empty for pg_catalog
	Name      string
}
