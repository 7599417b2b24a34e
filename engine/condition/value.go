package condition

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rowbell/rowbell/pkg/change"
)

// What follows is called by programs. The signatures are those that the virtual
// machine calls without reflection; an error is a panic, which it recovers.

func parseFloatText(s string) (float64, error) { return strconv.ParseFloat(s, 64) }

// readColumn returns a column's Go value, nil for NULL.
func readColumn(env, ref any) any {
	r := ref.(columnRef)
	v, err := env.(*Env).value(r.side, r.column)
	raise(err)
	return v
}

func readActor(env any) any { return env.(*Env).ctx.Actor }

func readCommitTime(env any) any { return env.(*Env).ctx.CommittedAt.UTC() }

func readLSN(env any) any { return env.(*Env).ctx.Position.CommitLSN.String() }

func readEventID(env any) any {
	ctx := env.(*Env).ctx
	return change.EventID(ctx.CommittedAt, ctx.Position, ctx.Side).String()
}

// truth is a value as a condition: nil is false.
func truth(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	}
	panic(fmt.Errorf("true or false is needed, not %s", nameOf(v)))
}

// maxElements bounds how many list elements one evaluation looks at.
const maxElements = 100_000

// elements is a list to loop over, counted against the bound.
func elements(env, v any) []any {
	e := env.(*Env)
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		if e.work += len(v) + 1; e.work > maxElements {
			panic(fmt.Errorf("it looks at more than %d list elements", maxElements))
		}
		return v
	}
	panic(fmt.Errorf("a list is needed, not %s", nameOf(v)))
}

// made counts a text that was made against the bound: a loop can keep many.
func made(env, v any) any {
	if s, ok := v.(string); ok {
		e := env.(*Env)
		if e.made += len(s); e.made > maxValue {
			panic(fmt.Errorf("it makes more than %d bytes of text", maxValue))
		}
	}
	return v
}

// get indexes json and lists: nil where there is nothing.
func get(of, key any) any {
	switch of := of.(type) {
	case nil:
		return nil
	case map[string]any:
		if k, ok := key.(string); ok {
			return of[k]
		}
		panic(fmt.Errorf("a part of an object has a name, not %s", nameOf(key)))
	case []any:
		i, ok := key.(int)
		if !ok {
			panic(fmt.Errorf("an element of a list has a number, not %s", nameOf(key)))
		}
		if i < 0 {
			i += len(of)
		}
		if i < 0 || i >= len(of) {
			return nil
		}
		return of[i]
	}
	panic(fmt.Errorf("%s has no parts", nameOf(of)))
}

// nameOf says what a value is, for errors.
func nameOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case bool:
		return strconv.FormatBool(v)
	case string:
		return "the text " + quote(v)
	case int:
		return "the number " + strconv.Itoa(v)
	case float64:
		return "the number " + strconv.FormatFloat(v, 'g', -1, 64)
	case change.Numeric:
		return "the number " + shorten(v.String())
	case time.Time:
		return "a time"
	case time.Duration:
		return "a duration"
	case []any:
		return "a list"
	case []byte:
		return "bytes"
	}
	return "an object"
}

func shorten(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// numeric returns a number exactly; ok is false for what is none.
func toNumeric(v any) (change.Numeric, bool) {
	switch v := v.(type) {
	case int:
		return change.NumericFromInt(int64(v)), true
	case float64:
		return change.NumericFromFloat(v), true
	case change.Numeric:
		return v, true
	}
	return change.Numeric{}, false
}

// floats returns both numbers as float64 if one of them is: then PostgreSQL compares
// and computes so.
func floats(a, b any) (x, y float64, ok bool) {
	x, ok1 := a.(float64)
	y, ok2 := b.(float64)
	if !ok1 && !ok2 {
		return 0, 0, false
	}
	other := func(v any) (float64, bool) {
		switch v := v.(type) {
		case int:
			return float64(v), true
		case change.Numeric:
			return v.Float(), true
		}
		return 0, false
	}
	if !ok1 {
		x, ok1 = other(a)
	}
	if !ok2 {
		y, ok2 = other(b)
	}
	return x, y, ok1 && ok2
}

// order compares two values that are not nil.
func order(a, b any) (int, error) {
	switch x := a.(type) {
	case int:
		if y, ok := b.(int); ok {
			return cmp.Compare(x, y), nil
		}
	case string:
		if y, ok := b.(string); ok {
			return strings.Compare(x, y), nil
		}
	case time.Time:
		if y, ok := b.(time.Time); ok {
			return x.Compare(y), nil
		}
	case time.Duration:
		if y, ok := b.(time.Duration); ok {
			return cmp.Compare(x, y), nil
		}
	case []byte:
		if y, ok := b.([]byte); ok {
			return bytes.Compare(x, y), nil
		}
	}
	if x, y, ok := floats(a, b); ok {
		return compareFloats(x, y), nil
	}
	x, ok1 := toNumeric(a)
	y, ok2 := toNumeric(b)
	if ok1 && ok2 {
		return x.Cmp(y), nil
	}
	return 0, fmt.Errorf("%s can't be compared with %s", nameOf(a), nameOf(b))
}

// equal compares by value; what is of different kinds is not equal.
func equal(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	switch x := a.(type) {
	case bool:
		y, ok := b.(bool)
		return ok && x == y
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, equal)
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for k, v := range x {
			w, ok := y[k]
			if !ok || !equal(v, w) {
				return false
			}
		}
		return true
	}
	n, err := order(a, b)
	return err == nil && n == 0
}

func notEqual(a, b any) bool { return !equal(a, b) }

// compared is order with nil: then ok is false.
func compared(a, b any) (n int, ok bool) {
	if a == nil || b == nil {
		return 0, false
	}
	n, err := order(a, b)
	raise(err)
	return n, true
}

func less(a, b any) bool {
	n, ok := compared(a, b)
	return ok && n < 0
}

func atMost(a, b any) bool {
	n, ok := compared(a, b)
	return ok && n <= 0
}

func more(a, b any) bool {
	n, ok := compared(a, b)
	return ok && n > 0
}

func atLeast(a, b any) bool {
	n, ok := compared(a, b)
	return ok && n >= 0
}

func lesser(a, b any) any {
	if n, ok := compared(a, b); !ok {
		return nil
	} else if n <= 0 {
		return a
	}
	return b
}

func greater(a, b any) any {
	if n, ok := compared(a, b); !ok {
		return nil
	} else if n >= 0 {
		return a
	}
	return b
}

// in looks for an element of a list, or for a key of an object. nil is in nothing.
func in(v, among any) bool {
	if v == nil {
		return false
	}
	switch among := among.(type) {
	case nil:
		return false
	case []any:
		return slices.ContainsFunc(among, func(e any) bool { return equal(e, v) })
	case map[string]any:
		k, ok := v.(string)
		if ok {
			_, ok = among[k]
		}
		return ok
	}
	panic(fmt.Errorf("in needs a list, not %s", nameOf(among)))
}

// contains looks for a text in a text, or for an element of a list.
func contains(in, part any) bool {
	if in == nil || part == nil {
		return false
	}
	switch in := in.(type) {
	case string:
		return strings.Contains(in, textOf("contains", part))
	case []any:
		return slices.ContainsFunc(in, func(e any) bool { return equal(e, part) })
	}
	panic(fmt.Errorf("contains needs a text or a list, not %s", nameOf(in)))
}

func startsWith(s, part any) bool {
	return s != nil && part != nil && strings.HasPrefix(textOf("startsWith", s), textOf("startsWith", part))
}

func endsWith(s, part any) bool {
	return s != nil && part != nil && strings.HasSuffix(textOf("endsWith", s), textOf("endsWith", part))
}

func matchText(s, pattern any) bool {
	if s == nil {
		return false
	}
	text := textOf("matches", s)
	p := pattern.(*textPattern)
	raise(p.tooLong(len(text)))
	return p.MatchString(text)
}

func textOf(who string, v any) string {
	s, ok := v.(string)
	if !ok {
		panic(fmt.Errorf("%s needs a text, not %s", who, nameOf(v)))
	}
	return s
}

func negate(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case int:
		if v == math.MinInt {
			return change.NumericFromInt(int64(v)).Neg()
		}
		return -v
	case float64:
		return -v
	case change.Numeric:
		return v.Neg()
	case time.Duration:
		return -v
	}
	panic(fmt.Errorf("%s has no sign", nameOf(v)))
}

// arithmetic works out numbers: ints as long as they fit, then numeric; float64 if one
// of them is.
func arithmetic(sign string, a, b any, exact func(x, y change.Numeric) (change.Numeric, error), approximate func(x, y float64) float64) any {
	if a == nil || b == nil {
		return nil
	}
	if x, y, ok := floats(a, b); ok {
		return approximate(x, y)
	}
	x, ok1 := toNumeric(a)
	y, ok2 := toNumeric(b)
	if !ok1 || !ok2 {
		panic(fmt.Errorf("%s %s %s can't be worked out", nameOf(a), sign, nameOf(b)))
	}
	n, err := exact(x, y)
	raise(err)
	if n.Scale() == 0 {
		if _, ok := a.(int); ok {
			if i, ok := n.Int(); ok {
				return int(i)
			}
		}
	}
	return n
}

// shift adds a duration to a time. What is infinite stays so.
func shift(t time.Time, d time.Duration) time.Time {
	if t.Equal(change.Infinity) || t.Equal(change.NegInfinity) {
		return t
	}
	return t.Add(d)
}

func add(a, b any) any {
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			if len(x)+len(y) > maxValue {
				panic(fmt.Errorf("it makes a text of more than %d bytes", maxValue))
			}
			return x + y
		}
	case time.Time:
		if y, ok := b.(time.Duration); ok {
			return shift(x, y)
		}
	case time.Duration:
		switch y := b.(type) {
		case time.Duration:
			return x + y
		case time.Time:
			return shift(y, x)
		}
	}
	return arithmetic("+", a, b, change.Numeric.Add, func(x, y float64) float64 { return x + y })
}

func subtract(a, b any) any {
	switch x := a.(type) {
	case time.Time:
		switch y := b.(type) {
		case time.Duration:
			return shift(x, -y)
		case time.Time:
			return x.Sub(y)
		}
	case time.Duration:
		if y, ok := b.(time.Duration); ok {
			return x - y
		}
	}
	return arithmetic("-", a, b, change.Numeric.Sub, func(x, y float64) float64 { return x - y })
}

// scaled multiplies a duration.
func scaled(d time.Duration, by float64) any {
	v := float64(d) * by
	if math.IsNaN(v) || math.Abs(v) > math.MaxInt64/2 {
		panic(fmt.Errorf("a duration can't be that long"))
	}
	return time.Duration(v)
}

func multiply(a, b any) any {
	if d, ok := a.(time.Duration); ok {
		if n, ok := toNumeric(b); ok {
			return scaled(d, n.Float())
		}
	}
	return arithmetic("*", a, b, change.Numeric.Mul, func(x, y float64) float64 { return x * y })
}

func divide(a, b any) any {
	if n, ok := toNumeric(b); ok && n.Sign() == 0 && !n.IsNaN() && a != nil {
		panic(change.ErrDivisionByZero)
	}
	if d, ok := a.(time.Duration); ok {
		if n, ok := toNumeric(b); ok {
			return scaled(d, 1/n.Float())
		}
	}
	return arithmetic("/", a, b, change.Numeric.Div, func(x, y float64) float64 { return x / y })
}

func modulo(a, b any) any {
	if a == nil || b == nil {
		return nil
	}
	x, ok1 := a.(int)
	y, ok2 := b.(int)
	switch {
	case !ok1 || !ok2:
		panic(fmt.Errorf("%% needs whole numbers, not %s and %s", nameOf(a), nameOf(b)))
	case y == 0:
		panic(change.ErrDivisionByZero)
	case y == -1:
		return 0
	}
	return x % y
}

func length(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return utf8.RuneCountInString(v)
	case []any:
		return len(v)
	case map[string]any:
		return len(v)
	case []byte:
		return len(v)
	}
	panic(fmt.Errorf("%s has no length", nameOf(v)))
}

func lower(v any) any {
	if v == nil {
		return nil
	}
	return strings.ToLower(textOf("lower", v))
}

func upper(v any) any {
	if v == nil {
		return nil
	}
	return strings.ToUpper(textOf("upper", v))
}

func trim(v any) any {
	if v == nil {
		return nil
	}
	return strings.TrimSpace(textOf("trim", v))
}

func absolute(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case float64:
		return math.Abs(v)
	case time.Duration:
		return v.Abs()
	}
	n, ok := toNumeric(v)
	if !ok {
		panic(fmt.Errorf("abs needs a number, not %s", nameOf(v)))
	}
	if n.Sign() < 0 {
		return negate(v)
	}
	return v
}

// toInt drops what is behind the point.
func toInt(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case int:
		return v
	}
	n := mustNumber("int", v)
	whole, _, _ := strings.Cut(n.String(), ".")
	i, err := strconv.Atoi(whole)
	if err != nil {
		panic(fmt.Errorf("%s doesn't fit an int", nameOf(n)))
	}
	return i
}

func toFloat(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case float64:
		return v
	}
	return mustNumber("float", v).Float()
}

func mustNumber(who string, v any) change.Numeric {
	if s, ok := v.(string); ok {
		n, err := change.ParseNumeric(strings.TrimSpace(s))
		raise(err)
		return n
	}
	n, ok := toNumeric(v)
	if !ok {
		panic(fmt.Errorf("%s needs a number, not %s", who, nameOf(v)))
	}
	return n
}

func toText(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case change.Numeric:
		return v.String()
	}
	panic(fmt.Errorf("%s is no text", nameOf(v)))
}
