package change

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
)

// SeqWhole, as the Seq of a checkpoint, says that the whole transaction is recorded.
const SeqWhole int32 = -1

// Position names an event for ever.
type Position struct {
	Stream    int32 // grows by one when LSNs start anew (resync after a lost slot, a restore)
	CommitLSN LSN   // where the transaction's commit record starts (Begin.final_lsn)
	Seq       int32 // counts from 0 inside the transaction; SeqWhole in a checkpoint
}

// Compare orders positions as the stream does. SeqWhole is after every other Seq
// of its transaction.
func (p Position) Compare(q Position) int {
	return cmp.Or(
		cmp.Compare(p.Stream, q.Stream),
		cmp.Compare(p.CommitLSN, q.CommitLSN),
		cmp.Compare(uint32(p.Seq), uint32(q.Seq)), // SeqWhole becomes the greatest
	)
}

func (p Position) String() string {
	return fmt.Sprintf("%d:%s:%d", p.Stream, p.CommitLSN, p.Seq)
}

// Side tells apart the two events of one row change that moves a row from one
// tenant to another: the old tenant's delete and the new tenant's create share a Seq.
type Side uint8

const (
	SideFirst  Side = 0 // every event but the one below
	SideSecond Side = 1 // the create half of a change of tenant
)

// EventID is the public id of an event, the same at every decode: the commit time
// in milliseconds, the low 48 bits of the commit LSN, then side and seq in 32 bits.
// Ids sort by commit time only; the order of events is Position's.
func EventID(committedAt time.Time, p Position, side Side) ulid.ULID {
	var id ulid.ULID
	ms := max(committedAt.UnixMilli(), 0)
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(ms)<<16)
	copy(id[0:6], b[:6])
	binary.BigEndian.PutUint64(b[:], uint64(p.CommitLSN)<<16)
	copy(id[6:12], b[:6])
	binary.BigEndian.PutUint32(id[12:16], uint32(side)<<31|uint32(p.Seq)&0x7fffffff)
	return id
}
