package change_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// values are SQL literals of each type, the odd ones above all.
var values = []struct {
	sqlType  string
	typ      change.Type
	literals []string
}{
	{"bool", change.Type{Kind: change.Bool}, []string{"t", "f"}},
	{"int2", change.Type{Kind: change.Int}, []string{"-32768", "0", "32767"}},
	{"int4", change.Type{Kind: change.Int}, []string{"-2147483648", "0", "2147483647"}},
	{"int8", change.Type{Kind: change.Int}, []string{"-9223372036854775808", "-1", "0", "9007199254740993", "9223372036854775807"}},
	{"oid", change.Type{Kind: change.Int}, []string{"0", "4294967295"}},
	{"float4", change.Type{Kind: change.Float}, []string{"-3.4028235e38", "-0", "0", "1e-45", "0.1", "1e20", "Infinity", "-Infinity", "NaN"}},
	{"float8", change.Type{Kind: change.Float}, []string{"-1.7976931348623157e308", "-0", "5e-324", "0.1", "123456.789", "1e15", "1e16", "Infinity", "-Infinity", "NaN"}},
	{"numeric", change.Type{Kind: change.Number}, []string{
		"0", "0.000", "-0.5", "1.50", "1.5", "0.000001", "12345678901234567890.123456789012345678901234567890", "9223372036854775807", "9223372036854775808",
		"-9223372036854775808", "1e100", "1e-100", "-1e131071", "1e-16383", "NaN", "Infinity", "-Infinity", "999999999999999999.9",
	}},
	{"text", change.Type{Kind: change.Text}, []string{"", " ", `a"b\c`, "\x01\t\r\n\b\f\x1f\x7f", "é€😀\u2028</script>", strings.Repeat("x", 300)}},
	{"bytea", change.Type{Kind: change.Bytea}, []string{`\x`, `\x00`, `\x00ff`, `\x00ff10`, `\x5c5c275c`, `\x6162ff0a7f80`}},
	{"date", change.Type{Kind: change.Date}, []string{"2024-02-29", "0001-01-01", "0001-12-31 BC", "4713-01-01 BC", "0005-02-29 BC", "9999-12-31", "10000-01-01", "5874897-12-31", "infinity", "-infinity", "1969-12-31"}},
	{"time", change.Type{Kind: change.Time}, []string{"00:00:00", "24:00:00", "03:04:05.000001"}},
	{"timetz", change.Type{Kind: change.TimeTZ}, []string{"00:00:00+15:59", "23:59:59.999999-15:59", "03:04:05+01:02:03"}},
	{"timestamp", change.Type{Kind: change.Timestamp}, []string{
		"2024-02-29 23:59:59.999999", "2024-01-01 00:00:00", "2024-01-01 00:00:00.1", "0001-01-01 00:00:00", "0001-12-31 23:59:59.9 BC", "4713-01-01 00:00:00 BC",
		"9999-12-31 23:59:59.999999", "10000-01-01 00:00:00", "200000-12-31 23:59:59.999999", "294276-12-31 23:59:59", "infinity", "-infinity", "1969-12-31 23:59:59.999999",
	}},
	{"timestamptz", change.Type{Kind: change.TimestampTZ}, []string{
		"2024-02-29 23:59:59.999999+00", "2024-07-01 00:00:00+05:30", "2024-01-01 00:00:00.1-11:30", "1890-06-01 12:00:00+00", "0001-01-02 00:00:00+00", "0001-12-31 12:00:00+00 BC",
		"4713-01-02 00:00:00+00 BC", "9999-12-30 00:00:00+00", "10000-01-02 00:00:00+00", "200000-12-31 23:59:59.999999+00", "294276-12-30 23:59:59+00", "infinity", "-infinity", "1969-12-31 23:59:59.999999+00",
	}},
	{"interval", change.Type{Kind: change.Interval}, []string{"0", "1 year -2 days 03:00:00.5", "-1 mon", "178000000 years"}},
	{"uuid", change.Type{Kind: change.UUID}, []string{"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}},
	{"json", change.Type{Kind: change.JSON}, []string{"null", ` {"a" : [1,  2.50], "a": null} `, `"\u00e9\ud83d\ude00"`, "12345678901234567890.5", "true", "[]", `"\u0000"`}},
	{"jsonb", change.Type{Kind: change.JSON}, []string{"null", `{"b": 1e3, "a": {"c": [null, false]}}`, "1e400", `"é"`, "-0.00", "{}"}},
	{"int4[]", change.Type{Kind: change.Array, Elem: change.Int}, []string{"{}", "{1,NULL,-3}", "[0:2]={1,2,3}", "[-1:0][2:3]={{1,2},{3,4}}", "{{{1},{2}},{{3},{4}}}"}},
	{"text[]", change.Type{Kind: change.Array, Elem: change.Text}, []string{`{a,"b,c","NULL",NULL,"","d\"e\\f","{}"," x","null"}`, "{\"\n\t\x01\",é}", `{"\\\\"}`}},
	{"numeric[]", change.Type{Kind: change.Array, Elem: change.Number}, []string{"{1.50,NaN,-Infinity,1e30}"}},
	{"float8[]", change.Type{Kind: change.Array, Elem: change.Float}, []string{"{1e20,NaN,-0}"}},
	{"bool[]", change.Type{Kind: change.Array, Elem: change.Bool}, []string{"{t,f,NULL}"}},
	{"jsonb[]", change.Type{Kind: change.Array, Elem: change.JSON}, []string{`{"{\"a\": \"b\\\\c\"}",1,"[\"x\"]",NULL,"null"}`}},
	{"date[]", change.Type{Kind: change.Array, Elem: change.Date}, []string{`{2024-01-01,infinity,"0044-03-15 BC"}`}},
	{"box[]", change.Type{Kind: change.Array, Elem: change.Text, Name: "_box"}, []string{"{(1,1),(0,0);(2,2),(1,1)}"}},
	{"int4range", change.Type{Kind: change.Text}, []string{"empty", "[1,5)", "(,)"}},
	{"inet", change.Type{Kind: change.Text}, []string{"10.0.0.1/8", "::1"}},
}

// TestAgainstServer reads what the server writes, under several settings of a session,
// and compares: the JSON with the server's to_json, times with its epoch, and the order
// of the values with its ORDER BY.
func TestAgainstServer(t *testing.T) {
	conn := pgtest.DB(t).Conn(t)
	for _, settings := range []string{
		"set timezone = utc",
		"set timezone = 'Asia/Kolkata'; set bytea_output = escape; set intervalstyle = iso_8601",
		"set timezone = 'Europe/Amsterdam'; set extra_float_digits = 3", // +00:19:32 until 1937
		"set timezone = 'America/St_Johns'",
	} {
		if _, err := conn.Exec(t.Context(), "reset all; set datestyle = iso; "+settings, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			t.Run(settings+"/"+v.sqlType, func(t *testing.T) {
				typ := v.typ
				typ.Name = cmp.Or(typ.Name, v.sqlType)
				checkValues(t, conn, v.sqlType, typ, v.literals)
			})
		}
	}
}

type serverValue struct {
	Text, JSON, Base64 string
	Epoch              string
	Rank               int64
}

func checkValues(t *testing.T, conn *pgx.Conn, sqlType string, typ change.Type, literals []string) {
	base64, epoch, order := "''", "''", "1"
	switch typ.Kind {
	case change.Bytea:
		base64 = "translate(encode(v, 'base64'), E'\\n', '')"
	case change.Date, change.Timestamp, change.TimestampTZ:
		epoch = "case when isfinite(v) then trunc(extract(epoch from v)::numeric * 1000000)::text else v::text end"
		order = "rank() over (order by v)"
	case change.Int, change.Number:
		order = "rank() over (order by v)"
	}
	asJSON := "to_json(v)::text"
	switch {
	case typ.Kind == change.TimestampTZ:
		asJSON = "to_json(v at time zone 'utc')::text"
	case sqlType == "oid": // a string to the server
		asJSON = "to_json(v::int8)::text"
	}
	// format calls the type's output function, as pgoutput does; a cast may not.
	rows, err := conn.Query(t.Context(), fmt.Sprintf(`select format('%%s', v), %s, %s, %s, %s
		from (select x::%s from unnest($1::text[]) x) t(v)`, asJSON, base64, epoch, order, sqlType), literals)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[serverValue])
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != len(literals) {
		t.Fatalf("%d values, want %d", len(list), len(literals))
	}
	decoded := make([]any, len(list))
	for i, s := range list {
		if decoded[i], err = typ.Decode([]byte(s.Text)); err != nil {
			t.Fatal(err)
		}
		checkJSON(t, typ, s)
		if at, ok := decoded[i].(time.Time); ok {
			checkTime(t, s, at)
		}
	}
	for i := range list {
		for j := range list {
			var got int
			switch a := decoded[i].(type) {
			case int:
				got = cmp.Compare(a, decoded[j].(int))
			case change.Numeric:
				got = a.Cmp(decoded[j].(change.Numeric))
			case time.Time:
				got = a.Compare(decoded[j].(time.Time))
			default:
				continue
			}
			if want := cmp.Compare(list[i].Rank, list[j].Rank); got != want {
				t.Errorf("%s compared with %s is %d, the server says %d", list[i].Text, list[j].Text, got, want)
			}
		}
	}
}

func checkJSON(t *testing.T, typ change.Type, s serverValue) {
	t.Helper()
	got := string(change.AppendJSON(nil, typ, []byte(s.Text)))
	switch typ.Kind {
	case change.Bytea:
		if want := `"` + s.Base64 + `"`; got != want {
			t.Errorf("%s: got %s, want %s", s.Text, got, want)
		}
	case change.Timestamp, change.TimestampTZ:
		var text string
		if err := json.Unmarshal([]byte(got), &text); err != nil {
			t.Fatal(err)
		}
		const local = "2006-01-02T15:04:05.999999999"
		written, utc := strings.CutSuffix(text, "Z")
		at, err := time.Parse(local, written)
		if err != nil { // nothing that RFC 3339 can write
			if text != s.Text || !strings.Contains(s.Text, "BC") && !strings.Contains(s.Text, "infinity") && strings.Index(s.Text, "-") < 5 {
				t.Errorf("%s: got %s", s.Text, got)
			}
			return
		}
		if utc != (typ.Kind == change.TimestampTZ) {
			t.Errorf("%s: got %s", s.Text, got)
		}
		want, err := time.Parse(`"`+local+`"`, s.JSON)
		if err != nil || !at.Equal(want) {
			t.Errorf("%s: got %s, the server has %s", s.Text, got, s.JSON)
		}
	case change.Text, change.Array:
		if g, w := parse(t, got), parse(t, s.JSON); !reflect.DeepEqual(g, w) {
			t.Errorf("%s: got %s, the server has %s", s.Text, got, s.JSON)
		}
	default:
		if got != s.JSON {
			t.Errorf("%s: got %s, the server has %s", s.Text, got, s.JSON)
		}
	}
}

// parse keeps the digits of numbers.
func parse(t *testing.T, s string) (v any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return v
}

func checkTime(t *testing.T, s serverValue, at time.Time) {
	t.Helper()
	switch s.Epoch {
	case "infinity":
		if !at.Equal(change.Infinity) {
			t.Errorf("infinity is %s", at)
		}
	case "-infinity":
		if !at.Equal(change.NegInfinity) {
			t.Errorf("-infinity is %s", at)
		}
	default:
		// In parts: the ends of PostgreSQL's range overflow 64 bits of microseconds.
		got, err := change.NumericFromInt(at.Unix()).Mul(change.NumericFromInt(1_000_000))
		if err != nil {
			t.Fatal(err)
		}
		if got, err = got.Add(change.NumericFromInt(int64(at.Nanosecond() / 1000))); err != nil || got.String() != s.Epoch {
			t.Errorf("%s is %s, %s µs after 1970, the server says %s", s.Text, at, got, s.Epoch)
		}
	}
}

// TestNumericAgainstServer computes with random numbers and compares every digit.
func TestNumericAgainstServer(t *testing.T) {
	conn := pgtest.DB(t).Conn(t)
	random := pgtest.Rand(t)
	var a, b []string
	odd := []string{"0", "0.000", "1", "-1", "NaN", "Infinity", "-Infinity", "9223372036854775807", "-9223372036854775808", "0.0001", "9999", "10000", "10001", "1e40", "1e-40"}
	for _, x := range odd {
		for _, y := range odd {
			a, b = append(a, x), append(b, y)
		}
	}
	for range 5000 {
		a, b = append(a, randomDecimal(random)), append(b, randomDecimal(random))
	}
	type result struct {
		A, B, Sum, Difference, Product, Quotient, Negative string
		Order                                              int
	}
	rows, err := conn.Query(t.Context(), `select a::text, b::text, (a + b)::text, (a - b)::text, (a * b)::text,
			coalesce((a / nullif(b, 0))::text, ''), (-a)::text, case when a < b then -1 when a > b then 1 else 0 end
		from (select x::numeric, y::numeric from unnest($1::text[], $2::text[]) t(x, y)) t(a, b)`, a, b)
	if err != nil {
		t.Fatal(err)
	}
	results, err := pgx.CollectRows(rows, pgx.RowToStructByPos[result])
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != len(a) {
		t.Fatalf("%d results, want %d", len(results), len(a))
	}
	for i, r := range results {
		x, err1 := change.ParseNumeric(a[i])
		y, err2 := change.ParseNumeric(b[i])
		if err1 != nil || err2 != nil || x.String() != r.A || y.String() != r.B {
			t.Fatalf("%s, %s were read as %s, %s, the server has %s, %s", a[i], b[i], x, y, r.A, r.B)
		}
		if got := x.Cmp(y); got != r.Order {
			t.Errorf("%s cmp %s = %d, the server says %d", x, y, got, r.Order)
		}
		if got := x.Neg().String(); got != r.Negative {
			t.Errorf("-(%s) = %s, the server says %s", x, got, r.Negative)
		}
		for op, c := range map[string]struct {
			f    func(change.Numeric) (change.Numeric, error)
			want string
		}{"+": {x.Add, r.Sum}, "-": {x.Sub, r.Difference}, "*": {x.Mul, r.Product}, "/": {x.Div, r.Quotient}} {
			if c.want == "" {
				continue
			}
			if got, err := c.f(y); err != nil || got.String() != c.want {
				t.Errorf("%s %s %s = %s, %v, the server says %s", x, op, y, got, err, c.want)
			}
		}
	}
}

func randomDecimal(r *rand.Rand) string {
	var b strings.Builder
	if r.IntN(3) == 0 {
		b.WriteByte('-')
	}
	b.WriteString("0")
	for range r.IntN([]int{4, 10, 30}[r.IntN(3)]) {
		b.WriteByte(byte('0' + r.IntN(10)*r.IntN(2)))
	}
	if r.IntN(2) == 0 {
		b.WriteByte('.')
		for range 1 + r.IntN([]int{4, 10, 30}[r.IntN(3)]) {
			b.WriteByte(byte('0' + r.IntN(10)*r.IntN(2)))
		}
	}
	return b.String()
}
