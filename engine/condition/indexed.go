package condition

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
)

// What follows tells an index what must hold for a condition to hold, so that it can
// leave out what can't. Eval checks all of it again, exactly.

// Range is a comparison that must hold: a column of the row that the event is about
// lies from Low to High, both included, as Env.Number tells it. NULL doesn't.
type Range struct {
	Column    int
	Low, High float64 // infinities where there is no bound; Low > High if nothing can lie there
}

// Ranges returns the ranges that must hold for an event of operation op on rel, which b
// is bound to: one for each column that is compared by gt, gte, lt, lte or between with
// constants, or for equality if Equalities doesn't have it. They are wider than the
// condition rather than narrower.
func (b *Bound) Ranges(rel *change.Relation, op change.Op) []Range {
	var list []Range
	for _, l := range b.leaves {
		r, ok := l.interval(rel, op)
		if !ok {
			continue
		}
		known := false
		for i := range list {
			if list[i].Column == r.Column {
				list[i].Low, list[i].High = max(list[i].Low, r.Low), min(list[i].High, r.High)
				known = true
			}
		}
		if !known {
			list = append(list, r)
		}
	}
	return list
}

// interval returns what a leaf's column must lie between.
func (l *leaf) interval(rel *change.Relation, op change.Op) (Range, bool) {
	side := newRow
	if op == change.Delete {
		side = oldRow
	}
	if l.negated || l.index || l.side != side || l.op > isAtLeast {
		return Range{}, false
	}
	t := rel.Columns[l.column].Type
	if !placed(t) {
		return Range{}, false
	}
	low, high := math.Inf(1), math.Inf(-1)
	take := func(at float64) { low, high = min(low, at), max(high, at) }
	for _, c := range l.raw {
		at, ok := place(t, c)
		if !ok {
			return Range{}, false
		}
		take(at)
	}
	if l.other != nil {
		for _, f := range l.other.floats {
			take(placeFloat(f))
		}
		for _, at := range l.other.times {
			take(placeTime(at))
		}
		if len(l.other.values) > 0 || l.other.pattern != nil {
			return Range{}, false
		}
	}
	if low > high {
		return Range{}, false // no constant
	}
	// With several constants one is enough.
	switch l.op {
	case isLess, isAtMost:
		low = math.Inf(-1)
	case isMore, isAtLeast:
		high = math.Inf(1)
	}
	return Range{Column: int(l.column), Low: low, High: high}, true
}

// Changes returns what must have changed: of each set of columns at least one. It is
// for conditions of updates.
func (b *Bound) Changes() [][]int {
	var list [][]int
	for _, l := range b.leaves {
		if l.op == hasChanged && !l.negated {
			set := []int{int(l.column)}
			if l.other != nil {
				set = append(set, l.other.columns...)
			}
			list = append(list, set)
		}
	}
	return list
}

// Number returns a column of the row that the event is about as a number that orders as
// its values do: of two values the greater one never has the smaller number, but values
// that lie close together may have the same. For other kinds than those of Ranges, and
// for a text that is no value of its type, it is as if the column weren't in the WAL.
func (e *Env) Number(column int) (float64, change.State) {
	side := newRow
	if e.op == change.Delete {
		side = oldRow
	}
	c := e.cell(side, column)
	if c.state != change.Present {
		return 0, c.state
	}
	t := e.rel.Columns[column].Type
	at, ok := place(t, canonical(t, c.text))
	if !ok {
		return 0, change.NotInWAL
	}
	return at, change.Present
}

// Changed says whether an update changed a column, by value; known is false if that
// can't be told, since the old value isn't in the WAL.
func (e *Env) Changed(column int) (changed, known bool) {
	changed, err := e.changed(column)
	return changed, err == nil
}

// ManySpellings says that equal values of the type may come in different bytes.
func ManySpellings(t change.Type) bool {
	return t.Kind == change.Number || t.Kind == change.Text && t.Name == "bpchar"
}

// placed says whether Number knows the type.
func placed(t change.Type) bool {
	switch t.Kind {
	case change.Int, change.Number, change.Float, change.Date, change.Timestamp, change.TimestampTZ, change.Time, change.Text:
		return true
	}
	return false
}

// place is Number for canonical text.
func place(t change.Type, text []byte) (float64, bool) {
	switch t.Kind {
	case change.Int, change.Number:
		return placeDigits(text)
	case change.Float:
		if len(text) > maxFloatText {
			return 0, false
		}
		f, err := parseFloatText(alias(text))
		return placeFloat(f), err == nil
	case change.Date, change.Timestamp, change.TimestampTZ:
		return t.Moment(text)
	case change.Time, change.Text:
		var first [8]byte
		copy(first[:], text)
		return float64(binary.BigEndian.Uint64(first[:])), true
	}
	return 0, false
}

// maxFloatText bounds what is read as a float; PostgreSQL writes 25 characters at most.
const maxFloatText = 64

// placeDigits rounds a number in plain notation. One that is too long for a float64 is
// as far away as infinity, and so is NaN, which is above all else.
func placeDigits(text []byte) (float64, bool) {
	switch decimalRank(text) {
	case 1, 2:
		return math.Inf(1), true
	case -1:
		return math.Inf(-1), true
	}
	whole := 0
	for whole < len(text) && text[whole] != '.' {
		whole++
	}
	switch negative := len(text) > 0 && text[0] == '-'; {
	case negative && whole > 309: // with the sign
		return math.Inf(-1), true
	case !negative && whole > 308:
		return math.Inf(1), true
	}
	f, err := parseFloatText(alias(text))
	return f, err == nil
}

func placeFloat(f float64) float64 {
	if math.IsNaN(f) {
		return math.Inf(1)
	}
	return f
}

func placeTime(t time.Time) float64 {
	return float64(t.Unix()) + float64(t.Nanosecond())/1e9
}
