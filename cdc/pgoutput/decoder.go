package pgoutput

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
)

// ErrMalformed says that bytes are not a message of pgoutput's protocol 1. The
// stream that they came from cannot be read any further.
var ErrMalformed = errors.New("malformed pgoutput message")

// postgresEpoch is 2000-01-01 UTC, where PostgreSQL counts from, in Unix microseconds.
const postgresEpoch = 946_684_800_000_000

// Decoder decodes messages. The zero value is ready. It is not safe for
// concurrent use.
type Decoder struct {
	relations []uint32 // of the last Truncate
}

// Decode reads one message, which data holds whole, into m. Whatever m held is
// gone, also after an error. Errors are ErrMalformed with the kind of the message,
// the offset, and what was expected there.
func (d *Decoder) Decode(data []byte, m *Message) error {
	*m = Message{}
	if len(data) == 0 {
		return fmt.Errorf("%w: it is empty", ErrMalformed)
	}
	m.Kind = Kind(data[0])
	r := reader{data: data, off: 1}
	switch m.Kind {
	case Insert:
		m.RelationOID = r.uint32("the relation's OID")
		if tag := r.byte("'N' before the new row"); tag != 'N' {
			r.fail(r.off-1, "'N' before the new row")
		}
		m.New = r.row()
	case Update:
		m.RelationOID = r.uint32("the relation's OID")
		tag := r.byte("'K', 'O' or 'N' before a row")
		if tag == 'K' || tag == 'O' {
			m.OldKeyOnly = tag == 'K'
			m.Old = r.row()
			tag = r.byte("'N' before the new row")
		}
		if tag != 'N' {
			r.fail(r.off-1, "'N' before the new row")
		}
		m.New = r.row()
	case Delete:
		m.RelationOID = r.uint32("the relation's OID")
		tag := r.byte("'K' or 'O' before the old row")
		if tag != 'K' && tag != 'O' {
			r.fail(r.off-1, "'K' or 'O' before the old row")
		}
		m.OldKeyOnly = tag == 'K'
		m.Old = r.row()
	case Begin:
		m.FinalLSN = r.lsn("the LSN of the commit")
		m.CommitTime = r.time("the commit time")
		m.XID = r.uint32("the transaction id")
	case Commit:
		if r.byte("the flags") != 0 {
			r.fail(r.off-1, "no flags (0)")
		}
		m.CommitLSN = r.lsn("the LSN of the commit")
		m.EndLSN = r.lsn("the end LSN of the transaction")
		m.CommitTime = r.time("the commit time")
	case Truncate:
		d.truncate(&r, m)
	case Logical:
		m.Transactional = r.byte("the flags")&1 != 0
		m.MessageLSN = r.lsn("the LSN of the message")
		m.Prefix = r.cstring("the prefix, ended by a zero byte")
		n := r.uint32("the length of the content")
		m.Content = r.bytes(uint64(n), "the content")
	case Relation:
		m.Relation = r.relation()
	case TypeInfo:
		m.Type = &TypeMessage{
			OID:       r.uint32("the type's OID"),
			Namespace: string(r.cstring("the namespace, ended by a zero byte")),
			Name:      string(r.cstring("the type's name, ended by a zero byte")),
		}
	case Origin:
		m.CommitLSN = r.lsn("the LSN of the commit at the origin")
		m.OriginName = r.cstring("the origin's name, ended by a zero byte")
	default:
		r.fail(0, "a message of protocol 1")
	}
	if r.want == "" && r.off != len(data) {
		r.fail(r.off, "the end of the message")
	}
	if r.want != "" {
		err := r.error(m.Kind)
		*m = Message{}
		return err
	}
	return nil
}

func (d *Decoder) truncate(r *reader, m *Message) {
	n := r.uint32("the number of relations")
	m.TruncateOptions = r.byte("the options")
	oids := r.bytes(4*uint64(n), "the OIDs of the relations")
	d.relations = d.relations[:0]
	for ; len(oids) >= 4; oids = oids[4:] {
		d.relations = append(d.relations, binary.BigEndian.Uint32(oids))
	}
	m.Relations = d.relations
}

// reader walks a message. After the first failure every read gives zero values,
// so callers check once, at the end.
type reader struct {
	data []byte
	off  int
	at   int    // offset of the failure
	want string // what was expected there; empty while all is well
}

func (r *reader) fail(at int, want string) {
	if r.want == "" {
		r.at, r.want = at, want
		r.off = len(r.data)
	}
}

func (r *reader) error(k Kind) error {
	got := "the message ends there"
	if r.at < len(r.data) {
		got = fmt.Sprintf("found byte 0x%02x", r.data[r.at])
		if rest := len(r.data) - r.at; rest > 1 {
			got += fmt.Sprintf(" and %d more", rest-1)
		}
	}
	return fmt.Errorf("%w: %s of %d bytes, at byte %d: want %s, but %s", ErrMalformed, k, len(r.data), r.at, r.want, got)
}

func (r *reader) byte(want string) byte {
	if r.off >= len(r.data) {
		r.fail(r.off, want)
		return 0
	}
	b := r.data[r.off]
	r.off++
	return b
}

func (r *reader) uint16(want string) uint16 {
	if len(r.data)-r.off < 2 {
		r.fail(r.off, want)
		return 0
	}
	v := binary.BigEndian.Uint16(r.data[r.off:])
	r.off += 2
	return v
}

func (r *reader) uint32(want string) uint32 {
	if len(r.data)-r.off < 4 {
		r.fail(r.off, want)
		return 0
	}
	v := binary.BigEndian.Uint32(r.data[r.off:])
	r.off += 4
	return v
}

func (r *reader) uint64(want string) uint64 {
	if len(r.data)-r.off < 8 {
		r.fail(r.off, want)
		return 0
	}
	v := binary.BigEndian.Uint64(r.data[r.off:])
	r.off += 8
	return v
}

func (r *reader) lsn(want string) change.LSN { return change.LSN(r.uint64(want)) }

func (r *reader) time(want string) time.Time {
	return time.UnixMicro(int64(r.uint64(want)) + postgresEpoch).UTC()
}

// cstring reads up to a zero byte, and over it.
func (r *reader) cstring(want string) []byte {
	n := bytes.IndexByte(r.data[r.off:], 0)
	if n < 0 {
		r.fail(r.off, want)
		return nil
	}
	s := r.data[r.off : r.off+n : r.off+n]
	r.off += n + 1
	return s
}

func (r *reader) bytes(n uint64, want string) []byte {
	if n > uint64(len(r.data)-r.off) {
		r.fail(r.off, want)
		return nil
	}
	s := r.data[r.off : r.off+int(n) : r.off+int(n)]
	r.off += int(n)
	return s
}

// row checks the shape of a TupleData and wraps it.
func (r *reader) row() change.Row {
	start := r.off
	n := int(r.uint16("the number of columns"))
	d, off := r.data, r.off
	if r.want != "" {
		return change.Row{}
	}
	for range n {
		if off >= len(d) {
			r.fail(off, "a column")
			return change.Row{}
		}
		switch d[off] {
		case 't':
			if len(d)-off < 5 {
				r.fail(off+1, "the length of a column")
				return change.Row{}
			}
			size := binary.BigEndian.Uint32(d[off+1:])
			off += 5
			if uint64(size) > uint64(len(d)-off) {
				r.fail(off, fmt.Sprintf("%d bytes of a column", size))
				return change.Row{}
			}
			off += int(size)
		case 'n', 'u':
			off++
		default:
			// 'b' among them: binary is never asked for, and would be misread as text.
			r.fail(off, "a column: 'n', 'u' or 't'")
			return change.Row{}
		}
	}
	r.off = off
	return change.NewRow(d[start:off:off])
}

func (r *reader) relation() *RelationMessage {
	m := &RelationMessage{
		OID:             r.uint32("the relation's OID"),
		Namespace:       string(r.cstring("the namespace, ended by a zero byte")),
		Name:            string(r.cstring("the relation's name, ended by a zero byte")),
		ReplicaIdentity: r.byte("the replica identity"),
	}
	n := int(r.uint16("the number of columns"))
	// A column takes 10 bytes at least: what is promised is not believed before.
	m.Columns = make([]RelationColumn, 0, min(n, (len(r.data)-r.off)/10))
	for range n {
		if r.want != "" {
			break
		}
		m.Columns = append(m.Columns, RelationColumn{
			Key:      r.byte("a column's flags")&1 != 0,
			Name:     string(r.cstring("a column's name, ended by a zero byte")),
			TypeOID:  r.uint32("a column's type OID"),
			Modifier: int32(r.uint32("a column's type modifier")),
		})
	}
	return m
}
