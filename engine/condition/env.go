package condition

import (
	"errors"
	"fmt"
	"strconv"
	"time"
	"unsafe"

	"github.com/expr-lang/expr/vm"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/fault"
)

// Context is what conditions can read of an event besides its rows.
type Context struct {
	Position    change.Position
	Side        change.Side // set by package match for the halves of a change of tenant
	CommittedAt time.Time
	Actor       any // decoded JSON of the transaction's context message; nil without one
}

// The columns of the relation that stands for domain events: their payload, an object,
// and the tenant that they were sent for. Conditions read new.x as a part of the payload.
const (
	DomainPayload = iota
	DomainTenant
)

// DomainRelation describes what is matched of a domain event, with operation Emit, as the
// row of a table of its own.
func DomainRelation(name string) *change.Relation {
	return &change.Relation{
		Schema: "rowbell domain", Name: name, ReplicaIdentity: 'f',
		Columns: []change.Column{
			DomainPayload: {Name: "payload", Type: change.Type{Kind: change.JSON, Name: "jsonb"}, Key: true},
			DomainTenant:  {Name: "tenant", Type: change.Type{Kind: change.Text, Name: "text"}, Key: true},
		},
	}
}

// rowSide says which of the two rows a column is read from.
type rowSide uint8

const (
	newRow rowSide = iota
	oldRow
)

func (s rowSide) String() string {
	if s == oldRow {
		return "old"
	}
	return "new"
}

// Env is what conditions are evaluated against: one event at a time, decoded column by
// column as they are read. It keeps its memory between events. One goroutine may use
// it. The zero value is ready.
type Env struct {
	ev  *change.Event
	ctx *Context
	rel *change.Relation
	op  change.Op
	// before says that conditions are evaluated for the old row: it stands in the place of
	// the new one.
	before bool

	// generation counts events. A cell belongs to the present one if its generation is
	// the same, so nothing is cleared in between.
	generation uint32
	cells      [2][]cell

	masked map[int]string // see Mask; nil in the stream

	vm   vm.VM
	work int // list elements looked at in the present evaluation
	made int // bytes of text made in it
}

// cell is one column of one row of the present event.
type cell struct {
	generation uint32
	state      change.State
	decoded    bool // value is set
	text       []byte
	value      any
}

// Load makes ev the event that conditions are evaluated for. ev and ctx are kept until
// the next Load.
func (e *Env) Load(ev *change.Event, ctx *Context) { e.LoadAs(ev, ev.Op, ctx) }

// LoadAs is Load with another operation than the event's: the halves of an update that
// changes the tenant are a delete and a create.
func (e *Env) LoadAs(ev *change.Event, op change.Op, ctx *Context) {
	e.ev, e.ctx, e.rel, e.op = ev, ctx, ev.Relation, op
	e.generation++
	if n := len(ev.Relation.Columns); e.generation == 0 || len(e.cells[newRow]) < n {
		e.generation = 1
		e.cells[newRow] = make([]cell, n)
		e.cells[oldRow] = make([]cell, n)
	}
}

// Side is that of the Context that was loaded.
func (e *Env) Side() change.Side { return e.ctx.Side }

// Text returns a column of the row that the event is about, as it came, in the form in
// which equal values have equal bytes for the kinds that Equality lists.
func (e *Env) Text(column int) ([]byte, change.State) {
	side := newRow
	if e.op == change.Delete {
		side = oldRow
	}
	c := e.cell(side, column)
	if c.state != change.Present {
		return nil, c.state
	}
	return canonical(e.rel.Columns[column].Type, c.text), change.Present
}

// seen is the row that a condition sees when it reads that of side.
func (e *Env) seen(side rowSide) rowSide {
	if e.before && !fault.On("before_reads_new") {
		return oldRow
	}
	return side
}

func (e *Env) cell(side rowSide, column int) *cell {
	side = e.seen(side)
	c := &e.cells[side][column]
	if c.generation != e.generation {
		c.generation = e.generation
		c.decoded = false
		c.text, c.state = e.find(side, column)
	}
	return c
}

// find looks a column up in the rows that came, with what follows from them: an
// unchanged value that isn't sent stands in a full old row, and the columns of an
// identity that didn't change are those of the new row.
func (e *Env) find(side rowSide, column int) ([]byte, change.State) {
	if e.masked != nil && e.maskedError(side, column) != nil {
		return nil, change.NotInWAL
	}
	ev := e.ev
	haveOld := !ev.Old.Empty() && (!ev.OldKeyOnly || e.rel.Columns[column].Key)
	if side == newRow {
		if e.op == change.Delete {
			return nil, change.Null
		}
		text, state := ev.New.Column(column)
		if state == change.NotInWAL && fault.On("toast_as_null") {
			return nil, change.Null
		}
		if state == change.NotInWAL && haveOld {
			return ev.Old.Column(column)
		}
		return text, state
	}
	switch {
	case e.op == change.Create:
		return nil, change.Null
	case e.op == change.Delete && fault.On("delete_reads_new"):
		return nil, change.Null
	case haveOld:
		return ev.Old.Column(column)
	case ev.Op == change.Update && ev.Old.Empty() && e.rel.Columns[column].Key:
		return ev.New.Column(column)
	}
	return nil, change.NotInWAL
}

// changed compares a column of the two rows by value.
func (e *Env) changed(column int) (bool, error) {
	if e.op != change.Update {
		return false, nil
	}
	if err := e.maskedError(oldRow, column); err != nil {
		return false, err
	}
	if _, state := e.ev.New.Column(column); state == change.NotInWAL {
		return false, nil // unchanged TOAST
	}
	a, b := e.cell(newRow, column), e.cell(oldRow, column)
	if b.state == change.NotInWAL {
		return false, e.missing(oldRow, column)
	}
	if a.state != b.state {
		return true, nil
	}
	if a.state == change.Null || string(a.text) == string(b.text) {
		return false, nil
	}
	if fault.On("changed_by_text") {
		return true, nil
	}
	t := e.rel.Columns[column].Type
	if t.Kind == change.Float || t.Kind == change.Array && (t.Elem == change.Number || t.Elem == change.Float) {
		return e.differ(column) // 0 and -0, {1.0} and {1.00}
	}
	return string(canonical(t, a.text)) != string(canonical(t, b.text)), nil
}

// differ compares a column of the two rows decoded.
func (e *Env) differ(column int) (bool, error) {
	a, err := e.value(newRow, column)
	if err != nil {
		return false, err
	}
	b, err := e.value(oldRow, column)
	if err != nil {
		return false, err
	}
	return !equal(a, b), nil
}

func (e *Env) missing(side rowSide, column int) *MissingError {
	side = e.seen(side)
	if masked, ok := errors.AsType[*MissingError](e.maskedError(side, column)); ok {
		return masked
	}
	c := &e.rel.Columns[column]
	m := &MissingError{Column: side.String() + "." + c.Name, Mend: fullIdentity(e.rel)}
	switch {
	case side == newRow:
		m.Why = "the update left this large value alone, so the server doesn't send it again"
	default:
		m.Why = "the table's replica identity leaves it out of the old row"
	}
	return m
}

func fullIdentity(rel *change.Relation) string {
	return "run ALTER TABLE " + tableName(rel) + " REPLICA IDENTITY FULL"
}

// tableName is the table's name in SQL.
func tableName(rel *change.Relation) string {
	return identifier(rel.Schema) + "." + identifier(rel.Name)
}

func identifier(s string) string {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c == '_' || i > 0 && c >= '0' && c <= '9') {
			return strconv.Quote(s)
		}
	}
	return s
}

// maxValue bounds what a condition decodes or matches a pattern against.
const maxValue = 1 << 20

func (e *Env) tooBig(side rowSide, column int, text []byte) error {
	if len(text) <= maxValue {
		return nil
	}
	return fmt.Errorf("%s.%s has %d bytes, a condition reads at most %d", side, e.rel.Columns[column].Name, len(text), maxValue)
}

// value returns a column as a Go value: nil for NULL, see change.Type.Decode.
func (e *Env) value(side rowSide, column int) (any, error) {
	c := e.cell(side, column)
	switch c.state {
	case change.Null:
		return nil, nil
	case change.NotInWAL:
		return nil, e.missing(side, column)
	}
	if c.decoded {
		return c.value, nil
	}
	if err := e.tooBig(side, column, c.text); err != nil {
		return nil, err
	}
	t := e.rel.Columns[column].Type
	v, err := t.Decode(canonicalText(t, c.text))
	if err != nil {
		return nil, fmt.Errorf("%s.%s: %w", side, e.rel.Columns[column].Name, err)
	}
	c.value, c.decoded = v, true
	return v, nil
}

// alias is b as a string, without copying it: only for calls that don't keep it.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// canonical returns text in the form in which equal values have equal bytes, for the
// kinds of which indexable says so. It is a part of text.
func canonical(t change.Type, text []byte) []byte {
	if t.Kind == change.Number {
		return trimNumber(text)
	}
	return canonicalText(t, text)
}

// canonicalText drops the padding of char(n).
func canonicalText(t change.Type, text []byte) []byte {
	if t.Kind == change.Text && t.Name == "bpchar" && !fault.On("char_padded") {
		for len(text) > 0 && text[len(text)-1] == ' ' {
			text = text[:len(text)-1]
		}
	}
	return text
}

// trimNumber drops the zeros behind the point, since 10, 10.0 and 10.00 are equal.
func trimNumber(text []byte) []byte {
	if fault.On("trailing_zeros_count") {
		return text
	}
	point := -1
	for i, c := range text {
		if c == '.' {
			point = i
			break
		}
	}
	if point < 0 {
		return text
	}
	end := len(text)
	for end > point+1 && text[end-1] == '0' {
		end--
	}
	if end == point+1 {
		end = point
	}
	return text[:end]
}
