package change

import "encoding/binary"

// State says what a column of a Row holds.
type State uint8

const (
	NotInWAL State = iota // unchanged TOAST, an old column outside the identity, no such column
	Null                  // SQL NULL
	Present               // a value
)

// Row is a tuple as pgoutput sent it (TupleData), undecoded: a 16-bit column count,
// then per column a kind byte ('n' null, 'u' unchanged TOAST, 't' text, 'b' binary)
// and, for 't' and 'b', a 32-bit length and the bytes. The decoder has checked its
// shape, so reading needs no further bound checks to be safe.
// The zero Row is empty: every column is NotInWAL.
type Row struct {
	data []byte
}

// NewRow wraps TupleData whose shape has been checked (pgoutput.Decode does so).
func NewRow(tupleData []byte) Row { return Row{data: tupleData} }

// Empty says that there is no tuple at all.
func (r Row) Empty() bool { return len(r.data) == 0 }

// Len is the number of columns.
func (r Row) Len() int {
	if len(r.data) < 2 {
		return 0
	}
	return int(binary.BigEndian.Uint16(r.data))
}

// Size is the number of bytes on the wire.
func (r Row) Size() int { return len(r.data) }

// Column returns the text of column i and its state. The bytes are those of the
// stream: valid until Parts.Release, and not to be written to. It walks the tuple:
// to read many columns in order use Columns.
func (r Row) Column(i int) ([]byte, State) {
	d := r.data
	if len(d) < 2 || i < 0 || i >= int(binary.BigEndian.Uint16(d)) {
		return nil, NotInWAL
	}
	d = d[2:]
	for ; len(d) > 0; i-- {
		kind := d[0]
		d = d[1:]
		var v []byte
		if kind == 't' || kind == 'b' {
			if len(d) < 4 {
				return nil, NotInWAL
			}
			n := int(binary.BigEndian.Uint32(d))
			if n > len(d)-4 {
				return nil, NotInWAL
			}
			v, d = d[4:4+n], d[4+n:]
		}
		if i == 0 {
			return v, stateOf(kind)
		}
	}
	return nil, NotInWAL
}

// Columns calls yield for each column in order, with its index, text and state.
func (r Row) Columns(yield func(i int, text []byte, s State) bool) {
	if len(r.data) < 2 {
		return
	}
	d := r.data[2:]
	for i := 0; len(d) > 0; i++ {
		kind := d[0]
		d = d[1:]
		var v []byte
		if kind == 't' || kind == 'b' {
			if len(d) < 4 {
				return
			}
			n := int(binary.BigEndian.Uint32(d))
			if n > len(d)-4 {
				return
			}
			v, d = d[4:4+n], d[4+n:]
		}
		if !yield(i, v, stateOf(kind)) {
			return
		}
	}
}

func stateOf(kind byte) State {
	switch kind {
	case 'n':
		return Null
	case 't', 'b':
		return Present
	}
	return NotInWAL
}

// Differences calls yield for the columns that are not sent alike in both rows of an
// update, in order. A column that the new row leaves out, since its value is unchanged,
// is none of them. Rows of different lengths differ in what is behind the shorter one.
func Differences(before, after Row, yield func(i int) bool) {
	if string(before.data) == string(after.data) {
		return
	}
	a, b := before.fields(), after.fields()
	for i := 0; ; i++ {
		x, kind1, ok1 := a.next()
		y, kind2, ok2 := b.next()
		if !ok1 && !ok2 {
			return
		}
		if ok2 && stateOf(kind2) == NotInWAL {
			continue
		}
		if ok1 != ok2 || kind1 != kind2 || string(x) != string(y) {
			if !yield(i) {
				return
			}
		}
	}
}

// fields walks over the columns of a row.
type fields struct{ rest []byte }

func (r Row) fields() fields {
	if len(r.data) < 2 {
		return fields{}
	}
	return fields{r.data[2:]}
}

func (f *fields) next() (text []byte, kind byte, ok bool) {
	d := f.rest
	if len(d) == 0 {
		return nil, 0, false
	}
	kind, d = d[0], d[1:]
	if kind == 't' || kind == 'b' {
		if len(d) < 4 {
			f.rest = nil
			return nil, 0, false
		}
		n := int(binary.BigEndian.Uint32(d))
		if n > len(d)-4 {
			f.rest = nil
			return nil, 0, false
		}
		text, d = d[4:4+n], d[4+n:]
	}
	f.rest = d
	return text, kind, true
}
