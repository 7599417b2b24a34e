package change

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
)

func numeric(t testing.TB, s string) Numeric {
	t.Helper()
	n, err := ParseNumeric(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestParseNumeric(t *testing.T) {
	zeros := strings.Repeat("0", 20)
	for _, c := range []struct{ in, want string }{
		{"0", "0"},
		{"-0", "0"},
		{"0.00", "0.00"},
		{"-0.00", "0.00"},
		{"007", "7"},
		{"+1.50", "1.50"},
		{"-1.50", "-1.50"},
		{".5", "0.5"},
		{"1.", "1"},
		{"-.05", "-0.05"},
		{"0.000001", "0.000001"},
		{"1e3", "1000"},
		{"1.5E2", "150"},
		{"1.5e+0", "1.5"},
		{"15e-3", "0.015"},
		{"1.50e1", "15.0"},
		{"0e5", "0"},
		{"0e-3", "0.000"},
		{"999999999999999999", "999999999999999999"},
		{"1000000000000000000", "1000000000000000000"},
		{"9223372036854775807", "9223372036854775807"},
		{"-9223372036854775808", "-9223372036854775808"},
		{"9223372036854775808", "9223372036854775808"},
		{"12345678901234567890.1234567890", "12345678901234567890.1234567890"},
		{"0." + zeros + "1", "0." + zeros + "1"},
		{"1" + zeros + ".0", "1" + zeros + ".0"},
		{"NaN", "NaN"},
		{"nan", "NaN"},
		{"Infinity", "Infinity"},
		{"-infinity", "-Infinity"},
		{"inf", "Infinity"},
		{"1e131071", "1" + strings.Repeat("0", 131071)},
		{"1e-16383", "0." + strings.Repeat("0", 16382) + "1"},
	} {
		n, err := ParseNumeric(c.in)
		if err != nil || n.String() != c.want {
			t.Errorf("%s: got %s, %v, want %s", shorten(c.in), shorten(n.String()), err, shorten(c.want))
		}
	}
	for _, in := range []string{"", " ", "-", ".", "e5", "1e", "1e+", "1.2.3", "1 ", "0x10", "1_000", "٣", "--1", "-NaN", "infinit"} {
		if n, err := ParseNumeric(in); !errors.Is(err, ErrNumericSyntax) {
			t.Errorf("%q: got %s, %v, want ErrNumericSyntax", in, n, err)
		}
	}
	for _, in := range []string{"1e131072", "1e-16384", "0." + strings.Repeat("0", 16384), "1e999999999", "1e99999999999", "-1e-99999999999"} {
		if n, err := ParseNumeric(in); !errors.Is(err, ErrNumericRange) {
			t.Errorf("%s: got %s, %v, want ErrNumericRange", shorten(in), n, err)
		}
	}
}

func TestNumericOrder(t *testing.T) {
	// Ascending; the same value in one entry.
	order := [][]string{
		{"-Infinity"},
		{"-1e30"},
		{"-9223372036854775808"},
		{"-9223372036854775807", "-9223372036854775807.000"},
		{"-1.5", "-1.50"},
		{"-1.49999999999999999999"},
		{"-0.1"},
		{"-1e-30"},
		{"0", "0.000", "0e-16383"},
		{"1e-16383"},
		{"1e-30"},
		{"0.1", "0.10"},
		{"1", "1.000000000000000000", "1.00000000000000000000000000"},
		{"1.00000000000000000000000001"},
		{"9223372036854775807"},
		{"9223372036854775808", "9223372036854775808.0"},
		{"1e30"},
		{"1e131071"},
		{"Infinity"},
		{"NaN", "nan"},
	}
	for i, a := range order {
		for j, b := range order {
			for _, x := range a {
				for _, y := range b {
					n, m := numeric(t, x), numeric(t, y)
					want := 0
					if i != j {
						want = 1
						if i < j {
							want = -1
						}
					}
					if got := n.Cmp(m); got != want {
						t.Errorf("%s cmp %s = %d, want %d", x, y, got, want)
					}
					if want == 0 && n.Normalize().String() != m.Normalize().String() {
						t.Errorf("%s and %s are equal, but normalize to %s and %s", x, y, n.Normalize(), m.Normalize())
					}
					if want != 0 && n.Normalize().String() == m.Normalize().String() {
						t.Errorf("%s and %s are not equal, but normalize to the same", x, y)
					}
				}
			}
		}
	}
}

func TestNumericArithmetic(t *testing.T) {
	for _, c := range []struct{ op, a, b, want string }{
		{"+", "1.10", "2.2", "3.30"},
		{"+", "5", "-3", "2"},
		{"+", "9223372036854775807", "1", "9223372036854775808"},
		{"+", "-9223372036854775807", "-1", "-9223372036854775808"},
		{"+", "9223372036854775808", "-1", "9223372036854775807"},
		{"+", "0.1", "1e20", "100000000000000000000.1"},
		{"+", "Infinity", "1", "Infinity"},
		{"+", "1", "-Infinity", "-Infinity"},
		{"+", "Infinity", "Infinity", "Infinity"},
		{"+", "Infinity", "-Infinity", "NaN"},
		{"+", "NaN", "Infinity", "NaN"},
		{"+", "1", "NaN", "NaN"},
		{"-", "1.0", "1", "0.0"},
		{"-", "1", "Infinity", "-Infinity"},
		{"*", "1.10", "-2.2", "-2.420"},
		{"*", "3037000500", "3037000500", "9223372037000250000"},
		{"*", "4294967296", "-4294967296", "-18446744073709551616"},
		{"*", "Infinity", "-2", "-Infinity"},
		{"*", "-Infinity", "-Infinity", "Infinity"},
		{"*", "Infinity", "0", "NaN"},
		{"*", "NaN", "0", "NaN"},
		{"/", "1", "3", "0.33333333333333333333"},
		{"/", "2", "3", "0.66666666666666666667"},
		{"/", "-2", "3", "-0.66666666666666666667"},
		{"/", "10", "4", "2.5000000000000000"},
		{"/", "0", "4", "0.00000000000000000000"},
		{"/", "1", "Infinity", "0"},
		{"/", "Infinity", "-1", "-Infinity"},
		{"/", "Infinity", "Infinity", "NaN"},
		{"/", "NaN", "0", "NaN"},
	} {
		n, m := numeric(t, c.a), numeric(t, c.b)
		got, err := map[string]func(Numeric) (Numeric, error){"+": n.Add, "-": n.Sub, "*": n.Mul, "/": n.Div}[c.op](m)
		if err != nil || got.String() != c.want {
			t.Errorf("%s %s %s = %s, %v, want %s", c.a, c.op, c.b, got, err, c.want)
		}
		if n.String() != numeric(t, c.a).String() || m.String() != numeric(t, c.b).String() {
			t.Errorf("%s %s %s changed its operands", c.a, c.op, c.b)
		}
	}
	for _, a := range []string{"1", "0", "Infinity"} {
		if _, err := numeric(t, a).Div(numeric(t, "0.0")); !errors.Is(err, ErrDivisionByZero) {
			t.Errorf("%s / 0.0: %v, want ErrDivisionByZero", a, err)
		}
	}
	large, small := numeric(t, "1e131071"), numeric(t, "1e-16383")
	if n, err := large.Mul(numeric(t, "10")); !errors.Is(err, ErrNumericRange) {
		t.Errorf("1e131071 × 10 = %s, %v", shorten(n.String()), err)
	}
	if n, err := large.Mul(numeric(t, "9")); err != nil || n.Cmp(large) <= 0 {
		t.Errorf("9e131071 is a numeric, but: %v", err)
	}
	if n, err := small.Mul(numeric(t, "0.1")); !errors.Is(err, ErrNumericRange) {
		t.Errorf("1e-16384 = %s, %v", shorten(n.String()), err)
	}
	nines := numeric(t, strings.Repeat("9", MaxNumericDigits))
	if n, err := nines.Add(numeric(t, "1")); !errors.Is(err, ErrNumericRange) {
		t.Errorf("999…9 + 1 = %s, %v", shorten(n.String()), err)
	}
}

// Random operands against big.Rat, which is exact.
func TestNumericAgainstRat(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	rat := func(n Numeric) *big.Rat {
		v, ok := new(big.Rat).SetString(n.String())
		if !ok {
			t.Fatalf("%s is not a number", n)
		}
		return v
	}
	for range 20_000 {
		n, m := randomNumeric(t, r), randomNumeric(t, r)
		x, y := rat(n), rat(m)
		if got, want := n.Cmp(m), x.Cmp(y); got != want {
			t.Fatalf("%s cmp %s = %d, want %d", n, m, got, want)
		}
		sum, err1 := n.Add(m)
		difference, err2 := n.Sub(m)
		product, err3 := n.Mul(m)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatalf("%s, %s: %v", n, m, err)
		}
		if rat(sum).Cmp(new(big.Rat).Add(x, y)) != 0 || rat(difference).Cmp(new(big.Rat).Sub(x, y)) != 0 || rat(product).Cmp(new(big.Rat).Mul(x, y)) != 0 {
			t.Fatalf("%s, %s: sum %s, difference %s, product %s", n, m, sum, difference, product)
		}
		if back := numeric(t, n.String()); back.String() != n.String() || back.Cmp(n) != 0 {
			t.Fatalf("%s reads back as %s", n, back)
		}
		if norm := n.Normalize(); norm.Cmp(n) != 0 {
			t.Fatalf("%s normalized is %s", n, norm)
		}
		if want, _ := x.Float64(); n.Float() != want {
			t.Fatalf("%s as float64 is %v, want %v", n, n.Float(), want)
		}
	}
}

// randomNumeric favours the ends of 64 bits, and few digits.
func randomNumeric(t testing.TB, r *rand.Rand) Numeric {
	var b strings.Builder
	if r.IntN(2) == 0 {
		b.WriteByte('-')
	}
	switch r.IntN(4) {
	case 0:
		b.WriteString([]string{"0", "1", "9223372036854775806", "9223372036854775807", "9223372036854775808", "18446744073709551616", "999999999999999999", "1000000000000000000"}[r.IntN(8)])
	case 1:
		for range 1 + r.IntN(40) {
			b.WriteByte(byte('0' + r.IntN(10)))
		}
	default:
		for range 1 + r.IntN(6) {
			b.WriteByte(byte('0' + r.IntN(10)))
		}
	}
	if scale := r.IntN(12); scale > 0 && r.IntN(2) == 0 {
		b.WriteByte('.')
		for range scale * (1 + 2*r.IntN(2)) {
			b.WriteByte(byte('0' + r.IntN(10)*r.IntN(2)))
		}
	}
	return numeric(t, b.String())
}

func TestNumericConversions(t *testing.T) {
	for _, v := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64} {
		n := NumericFromInt(v)
		if got, ok := n.Int(); !ok || got != v || n.Neg().Neg().Cmp(n) != 0 {
			t.Errorf("%d came back as %d, %v", v, got, ok)
		}
	}
	for in, want := range map[string]int64{"1.000": 1, "-20.0": -20, "9223372036854775807.0": math.MaxInt64, "1000": 1000} {
		if got, ok := numeric(t, in).Int(); !ok || got != want {
			t.Errorf("Int of %s = %d, %v", in, got, ok)
		}
	}
	for _, in := range []string{"1.5", "9223372036854775808", "NaN", "Infinity", "1e30"} {
		if got, ok := numeric(t, in).Int(); ok {
			t.Errorf("Int of %s = %d", in, got)
		}
	}
	for v, want := range map[float64]string{0.1: "0.1", -1.5: "-1.5", 1e21: "1000000000000000000000", 5e-324: "0." + strings.Repeat("0", 323) + "5", 3: "3", math.Inf(1): "Infinity", math.Inf(-1): "-Infinity"} {
		n := NumericFromFloat(v)
		if n.String() != want || n.Float() != v {
			t.Errorf("%v became %s, and %v again", v, n, n.Float())
		}
	}
	if n := NumericFromFloat(math.NaN()); !n.IsNaN() || !math.IsNaN(n.Float()) || n.Sign() != 0 {
		t.Errorf("NaN became %s", n)
	}
	if b, err := numeric(t, "-1.50").MarshalJSON(); err != nil || string(b) != "-1.50" {
		t.Errorf("got %s, %v", b, err)
	}
	if b, err := NumericNaN.MarshalJSON(); err != nil || string(b) != `"NaN"` {
		t.Errorf("got %s, %v", b, err)
	}
}

func TestNumericCmpAllocatesNothing(t *testing.T) {
	a, b, c := numeric(t, "1000"), numeric(t, "123456789012.3400"), numeric(t, "0.0000000000000000000000000001")
	if n := testing.AllocsPerRun(100, func() { _, _, _ = a.Cmp(b), b.Cmp(c), c.Cmp(a) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	text := []byte("123456789012.3400")
	if n := testing.AllocsPerRun(100, func() { _, _ = parseNumeric(text) }); n != 0 {
		t.Errorf("parsing: %v allocations", n)
	}
}

func FuzzParseNumeric(f *testing.F) {
	for _, s := range []string{"0", "-1.50", "1e10", ".5", "NaN", "-inf", "12345678901234567890.123", "1e131071", "1e-16383"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseNumeric(s)
		if err != nil {
			return
		}
		again, err := ParseNumeric(n.String())
		if err != nil || again.String() != n.String() || again.Cmp(n) != 0 {
			t.Fatalf("%q is %s, which reads back as %s, %v", s, n, again, err)
		}
		if norm := n.Normalize(); norm.Cmp(n) != 0 || n.Neg().Neg().Cmp(n) != 0 {
			t.Fatalf("%q is %s, normalized %s, negated twice %s", s, n, norm, n.Neg().Neg())
		}
	})
}

func BenchmarkNumericCmp(b *testing.B) {
	n, m := numeric(b, "1000"), numeric(b, "123456.78")
	b.ReportAllocs()
	for b.Loop() {
		n.Cmp(m)
	}
}

func BenchmarkNumericParse(b *testing.B) {
	text := []byte("123456.78")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseNumeric(text); err != nil {
			b.Fatal(err)
		}
	}
}
