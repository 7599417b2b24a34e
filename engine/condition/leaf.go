package condition

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/fault"
)

// leafOp is what a leaf asks of its column.
type leafOp uint8

const (
	isEqual leafOp = iota // equal to one of the constants
	isLess
	isAtMost
	isMore
	isAtLeast
	isNull
	hasPart
	hasPrefix
	hasSuffix
	matchesPattern
	hasChanged
)

// leaf compares one column with constants. It works on the column's bytes as far as
// it can. What a short constant needs lies in the leaf itself: with many workflows the
// loads from memory are what an evaluation costs.
type leaf struct {
	op      leafOp
	negated bool
	index   bool // an index can look it up: equality of the row that the event is about
	digits  bool // the constants are digits, compared as numbers and not as bytes
	side    rowSide
	column  int32

	// raw are the constants as bytes, for every kind that can be compared so.
	raw   [][]byte
	one   [1][]byte // what raw is if there is one
	short [16]byte  // and the bytes, if they are few
	set   map[string]struct{}
	other *constants // for the kinds that can't
	where string     // set for a leaf that stands alone
}

// constants are those that a leaf compares with decoded values.
type constants struct {
	floats  []float64
	times   []time.Time
	values  []any
	pattern *textPattern
	columns []int // of hasChanged, besides the leaf's: one of them is enough
}

// maxDigits bounds a constant, since 1e100000 is short to write and long to keep.
const maxDigits = 1000

// manyConstants is from where on a set is faster than comparing one by one.
const manyConstants = 8

// indexed says that an index can look the leaf up.
func (l *leaf) indexed() bool { return l.index && !l.negated }

// indexable says that equal values of the type have equal bytes once canonical.
func indexable(t change.Type) bool {
	switch t.Kind {
	case change.Text, change.Int, change.Number, change.Bool, change.UUID:
		return true
	}
	return false
}

// add converts a constant to the column's type.
func (l *leaf) add(c *change.Column, o operand) error {
	v, err := literalOf(c.Type, o)
	if err != nil {
		return fmt.Errorf("column %s %w", c.Name, err)
	}
	if c.Type.Kind == change.JSON {
		l.more().values = append(l.more().values, v)
		return nil
	}
	switch v := v.(type) {
	case string:
		l.addRaw(canonicalText(c.Type, []byte(v)))
	case bool:
		if v {
			l.addRaw([]byte("t"))
		} else {
			l.addRaw([]byte("f"))
		}
	case change.Numeric:
		if l.op == isEqual {
			l.addRaw([]byte(v.Normalize().String()))
		} else {
			l.digits = true
			l.addRaw([]byte(v.String()))
		}
	case float64:
		l.more().floats = append(l.more().floats, v)
	case time.Time:
		l.more().times = append(l.more().times, v)
	default:
		l.more().values = append(l.more().values, v)
	}
	return nil
}

func (l *leaf) more() *constants {
	if l.other == nil {
		l.other = &constants{}
	}
	return l.other
}

func (l *leaf) addRaw(b []byte) {
	if len(l.raw) == 0 {
		if len(b) <= len(l.short) {
			b = l.short[:copy(l.short[:], b):len(b)]
		}
		l.one[0] = b
		l.raw = l.one[:]
		return
	}
	l.raw = append(l.raw, b)
	if len(l.raw) == manyConstants {
		l.set = make(map[string]struct{})
		for _, r := range l.raw {
			l.set[string(r)] = struct{}{}
		}
	} else if l.set != nil {
		l.set[string(b)] = struct{}{}
	}
}

// content is a key under which leaves that do the same are equal; ok is false if there
// is none.
func (l *leaf) content(key []byte) ([]byte, bool) {
	flag := func(b bool) byte {
		if b {
			return 1
		}
		return 0
	}
	key = append(key, byte(l.op), flag(l.negated), flag(l.digits), byte(l.side))
	key = binary.AppendVarint(key, int64(l.column))
	key = binary.AppendUvarint(key, uint64(len(l.where)))
	key = append(key, l.where...)
	key = binary.AppendUvarint(key, uint64(len(l.raw)))
	for _, r := range l.raw {
		key = binary.AppendUvarint(key, uint64(len(r)))
		key = append(key, r...)
	}
	return key, l.other == nil && len(l.raw) < manyConstants
}

// literalOf converts a constant to what a column of type t is compared with. Its error
// goes on after "column x".
func literalOf(t change.Type, o operand) (any, error) {
	s, isText := o.value.(string)
	n, isNumber := o.value.(change.Numeric)
	mismatch := func() error {
		if o.kind == listKind {
			return fmt.Errorf("is %s and can't be compared with a list; write in for one of several values", typeName(t))
		}
		return fmt.Errorf("is %s and can't be compared with %s", typeName(t), constantName(o))
	}
	switch t.Kind {
	case change.Bool:
		if b, ok := o.value.(bool); ok {
			return b, nil
		}
		return nil, mismatch()
	case change.Int, change.Number, change.Float:
		if isText {
			v, err := change.ParseNumeric(s)
			if err != nil {
				return nil, mismatch()
			}
			n, isNumber = v, true
		}
		if !isNumber {
			return nil, mismatch()
		}
		if t.Kind == change.Float {
			return n.Float(), nil
		}
		if digits := len(n.String()); digits > maxDigits {
			return nil, fmt.Errorf("is compared with a number of %d digits, at most %d are taken", digits, maxDigits)
		}
		return n, nil
	case change.Date, change.Timestamp, change.TimestampTZ:
		if at, ok := o.value.(time.Time); ok {
			return at, nil
		}
		if !isText {
			return nil, mismatch()
		}
		at, err := parseMoment(s, t.Kind)
		if err != nil {
			return nil, fmt.Errorf("is %s: %w", typeName(t), err)
		}
		return at, nil
	case change.JSON:
		return goValue(o.value), nil
	case change.Array:
		if o.kind != listKind {
			return nil, fmt.Errorf("is a list; compare it with a list, or use contains")
		}
		values := make([]any, len(o.list))
		for i, e := range o.list {
			if e.kind == nullKind {
				continue
			}
			v, err := literalOf(elementType(t), e)
			if err != nil {
				return nil, err
			}
			values[i] = v
		}
		return values, nil
	}
	if !isText {
		return nil, mismatch()
	}
	switch t.Kind {
	case change.UUID:
		u, ok := normalUUID(s)
		if !ok {
			return nil, fmt.Errorf("is uuid, which %s is not", quote(s))
		}
		return u, nil
	case change.Bytea:
		v, err := parseHex(s)
		if err != nil {
			return nil, fmt.Errorf("is bytea: %w", err)
		}
		return v, nil
	case change.Time:
		v, ok := normalTime(s)
		if !ok {
			return nil, fmt.Errorf("is a time of day, which %s is not; write 15:04 or 15:04:05", quote(s))
		}
		return v, nil
	}
	return s, nil
}

func elementType(t change.Type) change.Type {
	return change.Type{Kind: t.Elem, Name: strings.TrimPrefix(t.Name, "_")}
}

func constantName(o operand) string {
	switch v := o.value.(type) {
	case nil:
		return "null"
	case string:
		return "the text " + quote(v)
	case change.Numeric:
		return "the number " + v.String()
	case bool:
		return fmt.Sprint(v)
	}
	return o.kind.String()
}

// normalUUID accepts what PostgreSQL does: any case, with or without braces, hyphens
// after any group of four digits.
func normalUUID(s string) (string, bool) {
	if len(s) > 2 && s[0] == '{' && s[len(s)-1] == '}' {
		s = s[1 : len(s)-1]
	}
	digits := make([]byte, 0, 36)
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'f':
		case c >= 'A' && c <= 'F':
			c += 'a' - 'A'
		case c == '-' && i > 0 && s[i-1] != '-':
			continue
		default:
			return "", false
		}
		switch len(digits) {
		case 8, 13, 18, 23:
			digits = append(digits, '-')
		}
		digits = append(digits, c)
		if len(digits) > 36 {
			return "", false
		}
	}
	return string(digits), len(digits) == 36 && s[len(s)-1] != '-'
}

// normalTime writes a time of day as PostgreSQL does.
func normalTime(s string) (string, bool) {
	if s == "24:00" || s == "24:00:00" {
		return "24:00:00", true
	}
	for _, layout := range []string{"15:04", "15:04:05.999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Format("15:04:05.999999"), true
		}
	}
	return "", false
}

// raise carries an error through the virtual machine, which turns a panic into the
// error of its run.
func raise(err error) {
	if err != nil {
		panic(err)
	}
}

// evalLeaf is how programs call a leaf.
func evalLeaf(env, l any) bool {
	ok, err := l.(*leaf).eval(env.(*Env))
	raise(err)
	return ok
}

func (l *leaf) eval(e *Env) (bool, error) {
	ok, err := l.holds(e)
	return ok != l.negated, err
}

func (l *leaf) holds(e *Env) (bool, error) {
	column := int(l.column)
	if l.op == hasChanged {
		return l.changed(e)
	}
	if e.masked != nil {
		if err := e.maskedError(l.side, column); err != nil {
			return false, err
		}
	}
	c := e.cell(l.side, column)
	if l.op == isNull && e.seen(l.side) == newRow {
		return c.state == change.Null, nil // what isn't sent again is never NULL
	}
	switch c.state {
	case change.NotInWAL:
		return false, e.missing(l.side, column)
	case change.Null:
		return l.op == isNull || l.negated && fault.On("ne_skips_null"), nil
	}
	t := &e.rel.Columns[column].Type
	switch l.op {
	case isNull:
		return false, nil
	case hasPart:
		return bytes.Contains(canonicalText(*t, c.text), l.raw[0]), nil
	case hasPrefix:
		return bytes.HasPrefix(canonicalText(*t, c.text), l.raw[0]), nil
	case hasSuffix:
		return bytes.HasSuffix(canonicalText(*t, c.text), l.raw[0]), nil
	case matchesPattern:
		if err := e.tooBig(l.side, column, c.text); err != nil {
			return false, err
		}
		if err := l.other.pattern.tooLong(len(c.text)); err != nil {
			return false, err
		}
		return l.other.pattern.Match(canonicalText(*t, c.text)), nil
	}
	if l.raw != nil {
		got := canonical(*t, c.text)
		if l.set != nil && l.op == isEqual {
			_, ok := l.set[string(got)]
			return ok, nil
		}
		for _, want := range l.raw {
			switch {
			case l.digits:
				if l.ordered(compareDecimals(got, want)) {
					return true, nil
				}
			case l.op == isEqual:
				if string(got) == string(want) {
					return true, nil
				}
			case l.ordered(compareTexts(got, want)):
				return true, nil
			}
		}
		return false, nil
	}
	if l.other.floats != nil {
		f, err := parseFloat(c.text)
		if err != nil {
			return false, err
		}
		for _, want := range l.other.floats {
			if l.ordered(compareFloats(f, want)) {
				return true, nil
			}
		}
		return false, nil
	}
	v, err := e.value(l.side, column)
	if err != nil {
		return false, err
	}
	for _, want := range l.other.times {
		if at, ok := v.(time.Time); ok && l.ordered(at.Compare(want)) {
			return true, nil
		}
	}
	for _, want := range l.other.values {
		if l.op == isEqual {
			if equal(v, want) {
				return true, nil
			}
			continue
		}
		n, err := order(v, want)
		if err != nil {
			return false, err
		}
		if l.ordered(n) {
			return true, nil
		}
	}
	return false, nil
}

// changed says whether one of the leaf's columns changed.
func (l *leaf) changed(e *Env) (bool, error) {
	ok, err := e.changed(int(l.column))
	if l.other == nil {
		return ok, err
	}
	for i := 0; !ok && err == nil && i < len(l.other.columns); i++ {
		ok, err = e.changed(l.other.columns[i])
	}
	return ok, err
}

// eitherChanged makes one leaf of two that ask for changes; nil if they don't. An index
// can look it up.
func eitherChanged(a, b *leaf) *leaf {
	if a == nil || b == nil || a.op != hasChanged || b.op != hasChanged || a.negated || b.negated {
		return nil
	}
	l := &leaf{op: hasChanged, side: newRow, column: a.column, other: &constants{}}
	for _, from := range []*leaf{a, b} {
		l.other.columns = append(l.other.columns, int(from.column))
		if from.other != nil {
			l.other.columns = append(l.other.columns, from.other.columns...)
		}
	}
	l.other.columns = l.other.columns[1:]
	return l
}

// compareTexts orders as collation C does.
func compareTexts(a, b []byte) int {
	if fault.On("text_order_ignores_case") {
		a, b = bytes.ToLower(a), bytes.ToLower(b)
	}
	return bytes.Compare(a, b)
}

// compareDecimals compares two numbers in plain notation without zeros in front, as
// PostgreSQL and change.Numeric write them, by their digits: nothing is parsed, and
// nothing allocated however long they are. NaN equals NaN and is above all else.
func compareDecimals(a, b []byte) int {
	if fault.On("numeric_as_float") {
		x, _ := parseFloat(a)
		y, _ := parseFloat(b)
		return compareFloats(x, y)
	}
	x, y := decimalRank(a), decimalRank(b)
	if x != y || x != 0 {
		return cmp.Compare(x, y)
	}
	negative := len(a) > 0 && a[0] == '-'
	if other := len(b) > 0 && b[0] == '-'; negative != other {
		if isZero(a) && isZero(b) {
			return 0
		}
		if negative {
			return -1
		}
		return 1
	}
	if negative {
		return compareDigits(b[1:], a[1:])
	}
	return compareDigits(a, b)
}

func compareDigits(a, b []byte) int {
	whole1, fraction1 := cutPoint(a)
	whole2, fraction2 := cutPoint(b)
	return cmp.Or(
		cmp.Compare(len(whole1), len(whole2)),
		bytes.Compare(whole1, whole2),
		bytes.Compare(fraction1, fraction2),
	)
}

// cutPoint splits a number at its point, without the zeros at its end.
func cutPoint(text []byte) (whole, fraction []byte) {
	text = trimNumber(text)
	if i := bytes.IndexByte(text, '.'); i >= 0 {
		return text[:i], text[i+1:]
	}
	return text, nil
}

func isZero(text []byte) bool {
	for _, c := range text {
		if c >= '1' && c <= '9' {
			return false
		}
	}
	return true
}

// decimalRank orders NaN and the infinities against the numbers, which are 0.
func decimalRank(text []byte) int {
	switch {
	case len(text) > 0 && text[0] == 'N':
		if fault.On("nan_least") {
			return -2
		}
		return 2
	case len(text) > 0 && text[0] == 'I':
		return 1
	case len(text) > 1 && text[0] == '-' && text[1] == 'I':
		return -1
	}
	return 0
}

// ordered turns how the column compares with a constant into the leaf's answer.
func (l *leaf) ordered(n int) bool {
	switch l.op {
	case isEqual:
		return n == 0
	case isLess:
		return n < 0
	case isAtMost:
		return n <= 0
	case isMore:
		return n > 0
	case isAtLeast:
		return n >= 0
	}
	return false
}

var errFloat = errors.New("a floating-point column holds no number")

func parseFloat(b []byte) (float64, error) {
	f, err := parseFloatText(alias(b))
	if err != nil {
		return 0, errFloat
	}
	return f, nil
}

// compareFloats orders as PostgreSQL does: NaN equals NaN, and is above all else.
func compareFloats(a, b float64) int {
	switch {
	case math.IsNaN(a) && math.IsNaN(b):
		return 0
	case fault.On("nan_least") && (math.IsNaN(a) || math.IsNaN(b)):
		return cmp.Compare(a, b)
	case math.IsNaN(a):
		return 1
	case math.IsNaN(b):
		return -1
	}
	return cmp.Compare(a, b)
}
