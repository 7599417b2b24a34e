package change

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
)

var (
	// ErrNumericSyntax says that a text is not a number.
	ErrNumericSyntax = errors.New("not a number")
	// ErrNumericRange says that a result has more digits than PostgreSQL's numeric
	// can hold: MaxNumericDigits before the point, MaxNumericScale behind it.
	ErrNumericRange = errors.New("out of the range of numeric")
	// ErrDivisionByZero is what Div returns for a divisor of zero.
	ErrDivisionByZero = errors.New("division by zero")
)

const (
	MaxNumericDigits = 131072 // before the decimal point
	MaxNumericScale  = 16383  // behind it
)

// Numeric is a value of PostgreSQL's numeric: a decimal number of any length, NaN,
// Infinity or -Infinity. Nothing is rounded but the quotient of Div. It keeps the
// scale that it came with, so String gives back the server's digits: 1.50 and 1.5
// are equal (Cmp) and print differently. The zero value is 0. Do not compare with
// ==.
//
// A number of up to 18 digits lives in the struct itself, and comparing two of
// them allocates nothing whatever their scales.
type Numeric struct {
	form  numericForm
	scale int32    // digits behind the point
	small int64    // the digits as one number, unless large is set; never MinInt64
	large *big.Int // never changed once set
}

// numericForm is ordered as PostgreSQL orders the values.
type numericForm int8

const (
	negInfinite numericForm = iota - 1
	finite
	infinite
	notANumber // equal to itself, greater than everything
)

var (
	NumericNaN    = Numeric{form: notANumber}
	NumericInf    = Numeric{form: infinite}
	NumericNegInf = Numeric{form: negInfinite}
)

// NumericFromInt returns v with scale 0.
func NumericFromInt(v int64) Numeric {
	if v == math.MinInt64 {
		return Numeric{large: big.NewInt(v)}
	}
	return Numeric{small: v}
}

// NumericFromFloat returns the shortest decimal that reads back as v: 0.1 for 0.1.
func NumericFromFloat(v float64) Numeric {
	switch {
	case math.IsNaN(v):
		return NumericNaN
	case math.IsInf(v, 1):
		return NumericInf
	case math.IsInf(v, -1):
		return NumericNegInf
	case v == math.Trunc(v) && math.Abs(v) < 1<<53:
		return Numeric{small: int64(v)}
	}
	var b [32]byte
	n, err := parseNumeric(strconv.AppendFloat(b[:0], v, 'e', -1, 64))
	if err != nil {
		panic(err) // no float64 has that many digits
	}
	return n
}

// ParseNumeric reads a number as PostgreSQL does: an optional sign, digits with at
// most one point among them, an optional exponent; or NaN, Infinity, inf, in any
// case. Returns ErrNumericSyntax or ErrNumericRange.
func ParseNumeric(s string) (Numeric, error) { return parseNumeric(s) }

// parseNumeric is ParseNumeric also for a column's text. It keeps none of s, and
// allocates nothing for a number of up to 18 digits.
func parseNumeric[T string | []byte](s T) (Numeric, error) {
	i, neg := 0, false
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') {
		neg = s[0] == '-'
		i++
	}
	start := i
	var v uint64 // the digits, while they are few
	digits, scale, seen := 0, 0, false
	point := -1
scan:
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			seen = true
			if digits > 0 || c != '0' {
				digits++
			}
			if digits <= 18 {
				v = v*10 + uint64(c-'0')
			}
			if point >= 0 {
				scale++
			}
		case c == '.' && point < 0:
			point = i
		default:
			break scan
		}
	}
	if !seen {
		return parseNumericWord(string(s))
	}
	end := i
	exp := 0
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		e, err := strconv.ParseInt(string(s[i+1:]), 10, 32)
		if err != nil {
			if errors.Is(err, strconv.ErrRange) {
				return Numeric{}, ErrNumericRange
			}
			return Numeric{}, syntaxError(string(s))
		}
		exp = int(e)
		i = len(s)
	}
	if i != len(s) {
		return Numeric{}, syntaxError(string(s))
	}
	scale -= exp
	// Digits before the point come from digits and a negative scale. The bounds are
	// checked before anything of that size is made.
	if scale > MaxNumericScale || digits > 0 && digits-scale > MaxNumericDigits {
		return Numeric{}, ErrNumericRange
	}
	if digits == 0 {
		return Numeric{scale: int32(max(scale, 0))}, nil
	}
	n := Numeric{scale: int32(scale)}
	if digits <= 18 {
		n.small = int64(v)
		if neg {
			n.small = -n.small
		}
	} else {
		text := string(s[start:end])
		if point >= 0 {
			text = text[:point-start] + text[point-start+1:]
		}
		n.large, _ = new(big.Int).SetString(text, 10) // it is all digits
		if neg {
			n.large.Neg(n.large)
		}
		n = n.shrink()
	}
	if scale < 0 {
		n = n.rescale(0)
	}
	return n, nil
}

func parseNumericWord(s string) (Numeric, error) {
	switch strings.ToLower(s) {
	case "nan":
		return NumericNaN, nil
	case "infinity", "+infinity", "inf", "+inf":
		return NumericInf, nil
	case "-infinity", "-inf":
		return NumericNegInf, nil
	}
	return Numeric{}, syntaxError(s)
}

func syntaxError(s string) error {
	return fmt.Errorf("%s is %w", shorten(s), ErrNumericSyntax)
}

// IsNaN says that n is NaN.
func (n Numeric) IsNaN() bool { return n.form == notANumber }

// IsInf says that n is Infinity or -Infinity.
func (n Numeric) IsInf() bool { return n.form == infinite || n.form == negInfinite }

// Sign returns -1, 0 or 1; for NaN 0.
func (n Numeric) Sign() int {
	switch {
	case n.form == notANumber:
		return 0
	case n.form != finite:
		return int(n.form)
	case n.large != nil:
		return n.large.Sign()
	}
	return cmp.Compare(n.small, 0)
}

// Scale is the number of digits behind the point.
func (n Numeric) Scale() int { return int(n.scale) }

// Int returns n if it is a whole number that fits.
func (n Numeric) Int() (int64, bool) {
	if n.form != finite {
		return 0, false
	}
	m := n.Normalize()
	if m.scale != 0 {
		return 0, false
	}
	if m.large != nil {
		return m.large.Int64(), m.large.IsInt64()
	}
	return m.small, true
}

// Float returns the float64 nearest to n.
func (n Numeric) Float() float64 {
	switch n.form {
	case notANumber:
		return math.NaN()
	case infinite:
		return math.Inf(1)
	case negInfinite:
		return math.Inf(-1)
	}
	if n.large == nil && n.scale == 0 && n.small > -1<<53 && n.small < 1<<53 {
		return float64(n.small)
	}
	var b [64]byte
	f, _ := strconv.ParseFloat(string(n.Append(b[:0])), 64) // ErrRange comes with ±Inf
	return f
}

// Cmp orders as PostgreSQL does: -Infinity, numbers, Infinity, NaN, and NaN equals NaN.
func (n Numeric) Cmp(m Numeric) int {
	if n.form != finite || m.form != finite {
		return cmp.Compare(n.form, m.form)
	}
	if n.large == nil && m.large == nil {
		if n.scale == m.scale {
			return cmp.Compare(n.small, m.small)
		}
		return cmpSmall(n, m)
	}
	if s, t := n.Sign(), m.Sign(); s != t {
		return cmp.Compare(s, t)
	}
	scale := max(n.scale, m.scale)
	return n.coefficient(scale).Cmp(m.coefficient(scale))
}

// cmpSmall compares two numbers of different scale by widening one to 128 bits.
func cmpSmall(n, m Numeric) int {
	s, t := cmp.Compare(n.small, 0), cmp.Compare(m.small, 0)
	if s != t || s == 0 {
		return cmp.Compare(s, t)
	}
	if n.scale > m.scale {
		return -cmpSmall(m, n)
	}
	a, b := abs(n.small), abs(m.small)
	d := m.scale - n.scale
	if int(d) >= len(pow10) { // a × 10^d is more than any int64
		return s
	}
	hi, lo := bits.Mul64(a, pow10[d])
	if hi != 0 {
		return s
	}
	return s * cmp.Compare(lo, b)
}

// Equal says that n and m are the same number, or both NaN.
func (n Numeric) Equal(m Numeric) bool { return n.Cmp(m) == 0 }

// Neg returns -n.
func (n Numeric) Neg() Numeric {
	switch {
	case n.form == notANumber:
	case n.form != finite:
		n.form = -n.form
	case n.large != nil:
		n.large = new(big.Int).Neg(n.large)
	default:
		n.small = -n.small
	}
	return n
}

// Add returns n + m, exact. Returns ErrNumericRange.
func (n Numeric) Add(m Numeric) (Numeric, error) {
	if n.form != finite || m.form != finite {
		switch {
		case n.form == finite:
			return m, nil
		case m.form == finite || n.form == m.form:
			return n, nil
		}
		return NumericNaN, nil // Infinity - Infinity, and NaN with anything
	}
	scale := max(n.scale, m.scale)
	if n.large == nil && m.large == nil {
		a, ok1 := scaleUp(n.small, scale-n.scale)
		b, ok2 := scaleUp(m.small, scale-m.scale)
		// The sum wrapped if its sign is that of neither.
		if sum := a + b; ok1 && ok2 && (a^sum)&(b^sum) >= 0 && sum != math.MinInt64 {
			return Numeric{scale: scale, small: sum}, nil
		}
	}
	return Numeric{scale: scale, large: new(big.Int).Add(n.coefficient(scale), m.coefficient(scale))}.bounded()
}

// Sub returns n - m, exact. Returns ErrNumericRange.
func (n Numeric) Sub(m Numeric) (Numeric, error) { return n.Add(m.Neg()) }

// Mul returns n × m, exact. Returns ErrNumericRange.
func (n Numeric) Mul(m Numeric) (Numeric, error) {
	if n.form != finite || m.form != finite {
		if n.form == notANumber || m.form == notANumber {
			return NumericNaN, nil
		}
		switch n.Sign() * m.Sign() {
		case 1:
			return NumericInf, nil
		case -1:
			return NumericNegInf, nil
		}
		return NumericNaN, nil // Infinity × 0
	}
	scale := n.scale + m.scale
	if n.large == nil && m.large == nil {
		hi, lo := bits.Mul64(abs(n.small), abs(m.small))
		if hi == 0 && lo <= math.MaxInt64 && scale <= MaxNumericScale {
			v := int64(lo)
			if (n.small < 0) != (m.small < 0) {
				v = -v
			}
			return Numeric{scale: scale, small: v}, nil
		}
	}
	return Numeric{scale: scale, large: new(big.Int).Mul(n.coefficient(n.scale), m.coefficient(m.scale))}.bounded()
}

// Div returns n ÷ m with the digits that PostgreSQL gives: at least 16 significant
// ones, no fewer behind the point than n or m have, the last one rounded half away
// from zero. Returns ErrDivisionByZero or ErrNumericRange.
func (n Numeric) Div(m Numeric) (Numeric, error) {
	switch {
	case n.form == notANumber || m.form == notANumber:
		return NumericNaN, nil
	case m.form == finite && m.Sign() == 0:
		return Numeric{}, ErrDivisionByZero
	case n.form != finite && m.form != finite:
		return NumericNaN, nil
	case m.form != finite:
		return Numeric{}, nil
	case n.form != finite:
		if m.Sign() < 0 {
			return n.Neg(), nil
		}
		return n, nil
	}
	scale := divScale(n, m)
	// q = n.coef × 10^-n.scale ÷ (m.coef × 10^-m.scale) × 10^scale
	num, den := n.coefficient(n.scale), m.coefficient(m.scale)
	if e := scale + m.scale - n.scale; e >= 0 {
		num = new(big.Int).Mul(num, bigPow10(e))
	} else {
		den = new(big.Int).Mul(den, bigPow10(-e))
	}
	q, r := new(big.Int).QuoRem(num, den, new(big.Int))
	if r.Lsh(r, 1).CmpAbs(den) >= 0 {
		q.Add(q, big.NewInt(int64(num.Sign()*den.Sign())))
	}
	return Numeric{scale: scale, large: q}.bounded()
}

// divScale is PostgreSQL's select_div_scale (numeric.c), which thinks in groups of
// four digits.
func divScale(n, m Numeric) int32 {
	weight1, first1 := n.leadingGroup()
	weight2, first2 := m.leadingGroup()
	qweight := weight1 - weight2
	if first1 <= first2 {
		qweight--
	}
	return min(max(16-4*qweight, n.scale, m.scale, 0), 1000)
}

// leadingGroup returns the first nonzero digit of n in base 10000, and its weight.
func (n Numeric) leadingGroup() (weight, first int32) {
	text := n.digits(nil)
	if text[0] == '0' {
		return 0, 0
	}
	e := int32(len(text)) - 1 - n.scale // the place of the first decimal digit
	weight = e >> 2
	for i := range e&3 + 1 {
		first *= 10
		if int(i) < len(text) {
			first += int32(text[i] - '0')
		}
	}
	return weight, first
}

// Normalize returns n without zeros at the end of its fraction: equal numbers have
// equal strings then.
func (n Numeric) Normalize() Numeric {
	if n.form != finite || n.scale == 0 {
		return n
	}
	if n.large == nil {
		if n.small == 0 {
			return Numeric{}
		}
		for n.scale > 0 && n.small%10 == 0 {
			n.small /= 10
			n.scale--
		}
		return n
	}
	text := n.digits(nil)
	zeros := int32(0)
	for zeros < n.scale && text[len(text)-1-int(zeros)] == '0' {
		zeros++
	}
	if zeros == 0 {
		return n
	}
	return Numeric{scale: n.scale - zeros, large: new(big.Int).Quo(n.large, bigPow10(zeros))}.shrink()
}

// String gives PostgreSQL's text: all digits, the scale kept, no exponent.
func (n Numeric) String() string {
	var b [40]byte
	return string(n.Append(b[:0]))
}

// Append appends String to dst.
func (n Numeric) Append(dst []byte) []byte {
	switch n.form {
	case notANumber:
		return append(dst, "NaN"...)
	case infinite:
		return append(dst, "Infinity"...)
	case negInfinite:
		return append(dst, "-Infinity"...)
	}
	if n.Sign() < 0 {
		dst = append(dst, '-')
	}
	start := len(dst)
	dst = n.digits(dst)
	if n.scale == 0 {
		return dst
	}
	// Zeros in front, until there is a digit before the point.
	if missing := int(n.scale) + 1 - (len(dst) - start); missing > 0 {
		end := len(dst)
		for range missing {
			dst = append(dst, '0')
		}
		copy(dst[start+missing:], dst[start:end])
		for i := range missing {
			dst[start+i] = '0'
		}
	}
	point := len(dst) - int(n.scale)
	dst = append(dst, 0)
	copy(dst[point+1:], dst[point:])
	dst[point] = '.'
	return dst
}

// MarshalJSON gives a number with all digits; NaN and the infinities are strings.
func (n Numeric) MarshalJSON() ([]byte, error) {
	if n.form != finite {
		return strconv.AppendQuote(nil, n.String()), nil
	}
	return n.Append(nil), nil
}

// digits appends the digits without sign and point; 0 is "0".
func (n Numeric) digits(dst []byte) []byte {
	if n.large == nil {
		return strconv.AppendUint(dst, abs(n.small), 10)
	}
	start := len(dst)
	dst = n.large.Append(dst, 10)
	if dst[start] == '-' {
		dst = append(dst[:start], dst[start+1:]...)
	}
	return dst
}

// coefficient returns the digits of n as one number, for the given scale, which is
// not below n's. The result is not to be changed.
func (n Numeric) coefficient(scale int32) *big.Int {
	c := n.large
	if c == nil {
		c = big.NewInt(n.small)
	}
	if scale > n.scale {
		c = new(big.Int).Mul(c, bigPow10(scale-n.scale))
	}
	return c
}

// rescale returns the same number with a greater scale.
func (n Numeric) rescale(scale int32) Numeric {
	if n.large == nil {
		if v, ok := scaleUp(n.small, scale-n.scale); ok {
			return Numeric{scale: scale, small: v}
		}
	}
	return Numeric{scale: scale, large: n.coefficient(scale)}.shrink()
}

// shrink moves a number that fits into the struct.
func (n Numeric) shrink() Numeric {
	if n.large != nil && n.large.IsInt64() && n.large.Int64() != math.MinInt64 {
		n.small, n.large = n.large.Int64(), nil
	}
	return n
}

func (n Numeric) bounded() (Numeric, error) {
	if n.scale > MaxNumericScale {
		return Numeric{}, ErrNumericRange
	}
	// From bits the digits are known to within a few; near the limit they are counted.
	if n.large != nil {
		least := int64(n.large.BitLen()) * 30102 / 100000
		if least-int64(n.scale) >= MaxNumericDigits-10 && len(n.digits(nil))-int(n.scale) > MaxNumericDigits {
			return Numeric{}, ErrNumericRange
		}
	}
	return n.shrink(), nil
}

// pow10 holds the powers of ten that fit 64 bits.
var pow10 = [...]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

func bigPow10(e int32) *big.Int {
	if int(e) < len(pow10) {
		return new(big.Int).SetUint64(pow10[e])
	}
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(e)), nil)
}

// scaleUp returns v × 10^e, and whether that fits.
func scaleUp(v int64, e int32) (int64, bool) {
	if v == 0 || e == 0 {
		return v, true
	}
	if int(e) >= len(pow10) {
		return 0, false
	}
	hi, lo := bits.Mul64(abs(v), pow10[e])
	if hi != 0 || lo > math.MaxInt64 {
		return 0, false
	}
	if v < 0 {
		return -int64(lo), true
	}
	return int64(lo), true
}

func abs(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}
