package template

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// maxDigits bounds numbers that are calculated with: what PostgreSQL declares at most.
const maxDigits = 1000

var errDigits = fmt.Errorf("a number has more than %d digits, which is too long to calculate with", maxDigits)

// decimal is n / 10^places.
type decimal struct {
	n      *big.Int
	places int
}

// parseDecimal reads a number as JSON or a template writes it. It returns false for what
// is none, and for what has more than maxDigits digits.
func parseDecimal(s string) (decimal, bool) {
	s = strings.TrimSpace(s)
	mantissa, exponent := s, 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		var err error
		mantissa = s[:i]
		if exponent, err = strconv.Atoi(s[i+1:]); err != nil || exponent < -maxDigits || exponent > maxDigits {
			return decimal{}, false
		}
	}
	if len(mantissa) > maxDigits+2 {
		return decimal{}, false
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimPrefix(whole, "-") + fraction
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return decimal{}, false
	}
	n, _ := new(big.Int).SetString(digits, 10)
	if whole != "" && whole[0] == '-' {
		n.Neg(n)
	}
	d := decimal{n, len(fraction) - exponent}
	if d.places < 0 {
		d = decimal{n.Mul(n, ten(-d.places)), 0}
	}
	return d, d.fits()
}

// fits says whether it has at most maxDigits digits.
func (d decimal) fits() bool {
	const bitsPerDigit = 3.33
	return d.n.BitLen() <= int(maxDigits*bitsPerDigit) && d.places <= maxDigits
}

func ten(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

func (d decimal) text() string {
	s := new(big.Int).Abs(d.n).String()
	if d.places > 0 {
		if len(s) <= d.places {
			s = strings.Repeat("0", d.places+1-len(s)) + s
		}
		s = s[:len(s)-d.places] + "." + s[len(s)-d.places:]
	}
	if d.n.Sign() < 0 {
		s = "-" + s
	}
	return s
}

// with is d with more places, which doesn't change its value.
func (d decimal) with(places int) *big.Int {
	if places == d.places {
		return d.n
	}
	return new(big.Int).Mul(d.n, ten(places-d.places))
}

// same gives both with the same places.
func same(a, b decimal) (x, y *big.Int, places int) {
	places = max(a.places, b.places)
	return a.with(places), b.with(places), places
}

// A rounding says which whole number a quotient becomes.
type rounding uint8

const (
	down    rounding = iota // to the next lower one
	up                      // to the next higher one
	nearest                 // halves away from zero
)

func divide(x, y *big.Int, how rounding) *big.Int {
	if y.Sign() < 0 {
		x, y = new(big.Int).Neg(x), new(big.Int).Neg(y)
	}
	q, rest := new(big.Int).DivMod(x, y, new(big.Int)) // rest ≥ 0: q is rounded down
	switch twice := new(big.Int).Lsh(rest, 1).Cmp(y); {
	case rest.Sign() == 0 || how == down:
	case how == up, twice > 0, twice == 0 && x.Sign() > 0:
		q.Add(q, big.NewInt(1))
	}
	return q
}

// round gives a number at most so many places.
func (d decimal) round(places int, how rounding) decimal {
	if places >= d.places {
		return d
	}
	d = decimal{divide(d.n, ten(d.places-places), how), places}
	if places < 0 {
		d = decimal{d.n.Mul(d.n, ten(-places)), 0}
	}
	return d
}

// quotientPlaces are those of a quotient that isn't of two integers.
const quotientPlaces = 16

func quotient(a, b decimal) (decimal, error) {
	x, y, places := same(a, b)
	if y.Sign() == 0 {
		return decimal{}, errors.New("division by zero; put {% if … != 0 %} around it")
	}
	if places == 0 {
		return decimal{divide(x, y, down), 0}, nil
	}
	return decimal{divide(new(big.Int).Mul(x, ten(quotientPlaces)), y, nearest), quotientPlaces}.shortest(), nil
}

// shortest leaves out zeros at the end of the decimal places.
func (d decimal) shortest() decimal {
	for rest := new(big.Int); d.places > 0; d.places-- {
		n, _ := new(big.Int).QuoRem(d.n, big.NewInt(10), rest)
		if rest.Sign() != 0 {
			break
		}
		d.n = n
	}
	return d
}

func remainder(a, b decimal) (decimal, error) {
	x, y, places := same(a, b)
	if y.Sign() == 0 {
		return decimal{}, errors.New("division by zero; put {% if … != 0 %} around it")
	}
	return decimal{new(big.Int).Sub(x, new(big.Int).Mul(y, divide(x, y, down))), places}, nil
}

// compareNumbers orders by value; numbers that are too long for that, by what float64
// keeps of it.
func compareNumbers(a, b json.Number) int {
	if a == b {
		return 0
	}
	x, ok1 := parseDecimal(string(a))
	y, ok2 := parseDecimal(string(b))
	if ok1 && ok2 {
		x, y, _ := same(x, y)
		return x.Cmp(y)
	}
	f, _ := strconv.ParseFloat(string(a), 64) // what is out of range is infinite
	g, _ := strconv.ParseFloat(string(b), 64)
	return cmp.Compare(f, g)
}

// toDecimal reads an operand. Numbers in text count; of all else ok is false.
func (r *run) toDecimal(v any) (d decimal, ok bool, err error) {
	var s string
	switch v := v.(type) {
	case json.Number:
		s = string(v)
	case string:
		if len(v) > maxDigits+2 {
			return d, false, nil
		}
		s = v
	default:
		return d, false, nil
	}
	if err := r.spend(perNumber + len(s)); err != nil {
		return d, false, err
	}
	if d, ok = parseDecimal(s); !ok {
		if _, isNumber := v.(json.Number); isNumber {
			return d, false, errDigits
		}
	}
	return d, ok, nil
}

// perNumber is what calculating costs beside the digits.
const perNumber = 64

// calculation is a filter of one number and an argument.
func calculation(f func(a, b decimal) (decimal, error)) func(*run, any, []any) (any, error) {
	return func(r *run, in any, args []any) (any, error) {
		a, ok, err := r.toDecimal(in)
		if !ok || err != nil {
			return nil, err
		}
		b, ok, err := r.toDecimal(args[0])
		if !ok || err != nil {
			return nil, err
		}
		return r.result(f(a, b))
	}
}

// function is a filter of one number.
func function(f func(d decimal) decimal) func(*run, any, []any) (any, error) {
	return func(r *run, in any, _ []any) (any, error) {
		d, ok, err := r.toDecimal(in)
		if !ok || err != nil {
			return nil, err
		}
		return r.result(f(d), nil)
	}
}

func (r *run) result(d decimal, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	if !d.fits() {
		return nil, errDigits
	}
	s := d.text()
	return json.Number(s), r.spend(len(s))
}

// extreme is a filter that keeps the operand which is greater, or less.
func extreme(sign int) func(*run, any, []any) (any, error) {
	return func(r *run, in any, args []any) (any, error) {
		a, ok, err := r.toDecimal(in)
		if !ok || err != nil {
			return nil, err
		}
		b, ok, err := r.toDecimal(args[0])
		if !ok || err != nil {
			return nil, err
		}
		x, y, _ := same(a, b)
		if x.Cmp(y) == sign {
			b = a
		}
		return r.result(b, nil)
	}
}

func roundFilter(r *run, in any, args []any) (any, error) {
	d, ok, err := r.toDecimal(in)
	if !ok || err != nil {
		return nil, err
	}
	places, err := intArg(args, 0, 0)
	if err != nil {
		return nil, err
	}
	return r.result(d.round(min(max(places, -maxDigits), maxDigits), nearest), nil)
}
