package change

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func array(elem Kind) Type { return Type{Kind: Array, Elem: elem, Name: "_x"} }

func day(year int, month time.Month, day, hour, minute, second, nanos int) time.Time {
	return time.Date(year, month, day, hour, minute, second, nanos, time.UTC)
}

func TestDecodeAndJSON(t *testing.T) {
	num := func(s string) Numeric {
		n, err := ParseNumeric(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	scalar := func(k Kind) Type { return Type{Kind: k, Name: k.String()} }
	for _, c := range []struct {
		typ  Type
		text string
		want any // an error if it is one
		json string
	}{
		{scalar(Bool), "t", true, "true"},
		{scalar(Bool), "f", false, "false"},
		{scalar(Bool), "yes", errWanted, `"yes"`},
		{scalar(Int), "-9223372036854775808", math.MinInt64, "-9223372036854775808"},
		{scalar(Int), "0", 0, "0"},
		{scalar(Int), "007", 7, `"007"`}, // not what the server sends, and not JSON
		{scalar(Int), "1.0", errWanted, "1.0"},
		{scalar(Int), "", errWanted, `""`},
		{scalar(Float), "1e+20", 1e20, "1e+20"},
		{scalar(Float), "0.1", 0.1, "0.1"},
		{scalar(Float), "-0", math.Copysign(0, -1), "-0"},
		{scalar(Float), "Infinity", math.Inf(1), `"Infinity"`},
		{scalar(Float), "-Infinity", math.Inf(-1), `"-Infinity"`},
		{scalar(Float), "NaN", math.NaN(), `"NaN"`},
		{scalar(Number), "12345678901234567890.1230", num("12345678901234567890.1230"), "12345678901234567890.1230"},
		{scalar(Number), "NaN", NumericNaN, `"NaN"`},
		{scalar(Number), "-Infinity", NumericNegInf, `"-Infinity"`},
		{scalar(Number), "12,5", errWanted, `"12,5"`},
		{scalar(Bytea), `\x`, []byte{}, `""`},
		{scalar(Bytea), `\x00ff10`, []byte{0, 255, 16}, `"AP8Q"`},
		{scalar(Bytea), `a\\b\001\377`, []byte("a\\b\x01\xff"), `"YVxiAf8="`},
		{scalar(Bytea), `\x0`, errWanted, `"\\x0"`},
		{scalar(Bytea), `\9`, errWanted, `"\\9"`},
		{scalar(Date), "2024-02-29", day(2024, 2, 29, 0, 0, 0, 0), `"2024-02-29"`},
		{scalar(Date), "2023-02-29", errWanted, `"2023-02-29"`},
		{scalar(Date), "0044-03-15 BC", day(-43, 3, 15, 0, 0, 0, 0), `"0044-03-15 BC"`},
		{scalar(Date), "0001-12-31 BC", day(0, 12, 31, 0, 0, 0, 0), `"0001-12-31 BC"`},
		{scalar(Date), "5874897-12-31", day(5874897, 12, 31, 0, 0, 0, 0), `"5874897-12-31"`},
		{scalar(Date), "infinity", Infinity, `"infinity"`},
		{scalar(Date), "2024-01-02 00:00:00", errWanted, `"2024-01-02 00:00:00"`},
		{scalar(Timestamp), "2024-01-02 03:04:05.0601", day(2024, 1, 2, 3, 4, 5, 60_100_000), `"2024-01-02T03:04:05.0601"`},
		{scalar(Timestamp), "2024-01-02 03:04:05", day(2024, 1, 2, 3, 4, 5, 0), `"2024-01-02T03:04:05"`},
		{scalar(Timestamp), "294276-12-31 23:59:59.999999", day(294276, 12, 31, 23, 59, 59, 999_999_000), `"294276-12-31 23:59:59.999999"`},
		{scalar(Timestamp), "-infinity", NegInfinity, `"-infinity"`},
		{scalar(Timestamp), "2024-01-02 24:00:00", errWanted, `"2024-01-02 24:00:00"`},
		{scalar(TimestampTZ), "2024-01-02 03:04:05.123456+00", day(2024, 1, 2, 3, 4, 5, 123_456_000), `"2024-01-02T03:04:05.123456Z"`},
		{scalar(TimestampTZ), "2024-01-01 03:04:05.120+05:30", day(2023, 12, 31, 21, 34, 5, 120_000_000), `"2023-12-31T21:34:05.120Z"`},
		{scalar(TimestampTZ), "1890-01-01 00:19:32+00:19:32", day(1890, 1, 1, 0, 0, 0, 0), `"1890-01-01T00:00:00Z"`},
		{scalar(TimestampTZ), "1890-01-01 00:00:00-04:56:02", day(1890, 1, 1, 4, 56, 2, 0), `"1890-01-01T04:56:02Z"`},
		{scalar(TimestampTZ), "9999-12-31 23:00:00-02", day(10000, 1, 1, 1, 0, 0, 0), `"9999-12-31 23:00:00-02"`},
		{scalar(TimestampTZ), "0044-03-15 12:00:00+01 BC", day(-43, 3, 15, 11, 0, 0, 0), `"0044-03-15 12:00:00+01 BC"`},
		{scalar(TimestampTZ), "2024-01-02 03:04:05", errWanted, `"2024-01-02 03:04:05"`},
		{scalar(Time), "24:00:00", "24:00:00", `"24:00:00"`},
		{scalar(TimeTZ), "03:04:05+02", "03:04:05+02", `"03:04:05+02"`},
		{scalar(Interval), "1 year -2 days", "1 year -2 days", `"1 year -2 days"`},
		{scalar(UUID), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", `"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`},
		{scalar(JSON), `null`, nil, `null`},
		{
			scalar(JSON), `{"a": [1, 2.5, 1e400, 12345678901234567890, true, null, "x"]}`,
			map[string]any{"a": []any{1, 2.5, math.Inf(1), 12345678901234567890.0, true, nil, "x"}},
			`{"a": [1, 2.5, 1e400, 12345678901234567890, true, null, "x"]}`,
		},
		{scalar(JSON), `{} {}`, errWanted, `"{} {}"`},
		{scalar(JSON), `{"a":`, errWanted, `"{\"a\":"`},
		{scalar(Text), "a\"\\\n\r\t\x01\x7fé€😀\u2028", "a\"\\\n\r\t\x01\x7fé€😀\u2028", "\"a\\\"\\\\\\n\\r\\t\\u0001\x7fé€😀\u2028\""},
		{scalar(Text), "a\xffb\xe2\x82", "a\xffb\xe2\x82", "\"a\ufffdb\ufffd\ufffd\""},
		{scalar(Text), "", "", `""`},
		{array(Int), "{}", []any{}, "[]"},
		{array(Int), "{1,NULL,-3}", []any{1, nil, -3}, "[1,null,-3]"},
		{array(Int), "[0:2]={1,2,3}", []any{1, 2, 3}, "[1,2,3]"},
		{array(Int), "[-1:0][2:3]={{1,2},{3,4}}", []any{[]any{1, 2}, []any{3, 4}}, "[[1,2],[3,4]]"},
		{array(Int), "{1,x}", errWanted, `[1,"x"]`},
		{array(Int), "{1,,2}", errWanted, `"{1,,2}"`},
		{array(Int), "{1,2", errWanted, `"{1,2"`},
		{array(Int), "{1,2}}", errWanted, `"{1,2}}"`},
		{array(Int), "{1,}", errWanted, `"{1,}"`},
		{array(Int), "1", errWanted, `"1"`},
		{array(Int), "[1:2", errWanted, `"[1:2"`},
		{array(Int), "", errWanted, `""`},
		{array(Int), "{{{{{{{1}}}}}}}", errWanted, `"{{{{{{{1}}}}}}}"`},
		{
			array(Text), `{a,"b,c","NULL",NULL,"","d\"e\\f","{}"," x"}`,
			[]any{"a", "b,c", "NULL", nil, "", `d"e\f`, "{}", " x"},
			`["a","b,c","NULL",null,"","d\"e\\f","{}"," x"]`,
		},
		{array(Text), `{{a,NULL},{"x y",c}}`, []any{[]any{"a", nil}, []any{"x y", "c"}}, `[["a",null],["x y","c"]]`},
		{array(Bytea), `{"\\x6162","\\x"}`, []any{[]byte("ab"), []byte{}}, `["YWI=",""]`},
		{array(JSON), `{"{\"a\": \"b\\\\c\"}",1}`, []any{map[string]any{"a": `b\c`}, 1}, `[{"a": "b\\c"},1]`},
		{array(Bool), "{t,f}", []any{true, false}, "[true,false]"},
		{array(TimestampTZ), `{"2024-01-02 03:04:05+00",infinity}`, []any{day(2024, 1, 2, 3, 4, 5, 0), Infinity}, `["2024-01-02T03:04:05Z","infinity"]`},
		{array(Number), "{1.50,NaN}", []any{num("1.50"), NumericNaN}, `[1.50,"NaN"]`},
		{Type{Kind: Array, Elem: Text, Name: "_box"}, "{(1,1),(0,0);(2,2),(1,1)}", []any{"(1,1),(0,0)", "(2,2),(1,1)"}, `["(1,1),(0,0)","(2,2),(1,1)"]`},
	} {
		t.Run(c.typ.Name+" "+c.text, func(t *testing.T) {
			got, err := c.typ.Decode([]byte(c.text))
			switch want := c.want.(type) {
			case wantedError:
				if err == nil {
					t.Errorf("Decode gave %#v, want an error", got)
				} else if !strings.Contains(err.Error(), c.typ.Name) {
					t.Errorf("error %q does not name type %s", err, c.typ.Name)
				}
			case float64:
				if err != nil || math.Float64bits(got.(float64)) != math.Float64bits(want) && !(math.IsNaN(want) && math.IsNaN(got.(float64))) {
					t.Errorf("Decode gave %v, %v, want %v", got, err, want)
				}
			default:
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("Decode gave %#v, %v, want %#v", got, err, want)
				}
			}
			const before = `{"k":`
			out := AppendJSON([]byte(before), c.typ, []byte(c.text))
			if got := string(out); got != before+c.json {
				t.Errorf("AppendJSON gave %s, want %s", got[len(before):], c.json)
			}
		})
	}
}

type wantedError struct{}

var errWanted wantedError

func TestInfinitiesAreBeyondEverything(t *testing.T) {
	for _, text := range []string{"4713-01-01 BC", "5874897-12-31"} {
		v, err := Type{Kind: Date}.Decode([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if at := v.(time.Time); !at.Before(Infinity) || !at.After(NegInfinity) {
			t.Errorf("%s is %s, not between the infinities", text, at)
		}
	}
}

func TestValueErrorIsShort(t *testing.T) {
	_, err := Type{Kind: Int, Name: "int8"}.Decode([]byte(strings.Repeat("é", 10_000)))
	if err == nil || len(err.Error()) > 250 || !utf8.ValidString(err.Error()) || !strings.Contains(err.Error(), "20000 bytes") {
		t.Errorf("got %v", err)
	}
}

func TestDecodeDoesNotAliasItsText(t *testing.T) {
	for _, c := range []struct {
		typ  Type
		text string
	}{
		{Type{Kind: Text}, "abc"},
		{Type{Kind: Bytea}, "abc"},
		{Type{Kind: JSON}, `{"a":"b"}`},
		{Type{Kind: Number}, "12345678901234567890123"},
		{array(Text), `{abc,"d\"e"}`},
		{array(Bytea), `{abc}`},
	} {
		text := []byte(c.text)
		v, err := c.typ.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		before := fmt.Sprint(v)
		clear(text)
		if after := fmt.Sprint(v); after != before {
			t.Errorf("%s: %s became %s", c.typ.Kind, before, after)
		}
	}
}

func TestAppendJSONAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, 4096)
	for _, c := range []struct {
		typ  Type
		text string
	}{
		{Type{Kind: Int}, "9223372036854775807"},
		{Type{Kind: Number}, "123456789012345678901234567890.123"},
		{Type{Kind: Float}, "1.5e-07"},
		{Type{Kind: TimestampTZ}, "2024-01-02 03:04:05.123456+05:30"},
		{Type{Kind: Bytea}, `\x` + strings.Repeat("ab", 300)},
		{Type{Kind: Bytea}, `a\\b\001\377`},
		{Type{Kind: Text}, "a\"é€\xff"},
		{Type{Kind: JSON}, `{"a": [1, 2.5]}`},
		{array(Text), `{a,"b\"c",NULL}`},
		{array(Bytea), `{"\\x6162"}`},
	} {
		text := []byte(c.text)
		if n := testing.AllocsPerRun(100, func() { AppendJSON(dst, c.typ, text) }); n != 0 {
			t.Errorf("%s %s: %v allocations", c.typ.Kind, c.text, n)
		}
	}
}

func FuzzAppendJSON(f *testing.F) {
	for _, text := range []string{
		"", "t", "-1.5e+20", "NaN", `\x00ff`, `a\\b\001`, "2024-01-02 03:04:05.123456+05:30", "0044-03-15 BC", "infinity",
		`{"a": [1, null]}`, `{a,"b\"c",NULL}`, `[0:2]={{1,2},{3,4}}`, "a\xff\x00\"\\", `{"\\x6162"}`, "00001-01-01",
	} {
		for k := Text; k <= Array; k++ {
			f.Add(uint8(k), uint8(k), []byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, kind, elem uint8, text []byte) {
		typ := Type{Kind: Kind(kind), Elem: Kind(elem)}
		const before = `[0,`
		out := AppendJSON([]byte(before), typ, text)
		if !strings.HasPrefix(string(out), before) {
			t.Fatalf("%s: what stood before became %q", typ.Kind, out)
		}
		out = out[len(before):]
		if !json.Valid(out) {
			t.Fatalf("%s of %s: %q gave %q, which is not JSON", typ.Kind, typ.Elem, text, out)
		}
		if !utf8.Valid(out) {
			t.Fatalf("%s of %s: %q gave %q, which is not UTF-8", typ.Kind, typ.Elem, text, out)
		}
		// What a condition can read must not be a string in JSON by mistake, and the
		// other way round.
		v, err := typ.Decode(text)
		if err != nil {
			if _, ok := v.(string); ok {
				t.Fatalf("%s: a value with an error: %v", typ.Kind, v)
			}
			return
		}
		if n, ok := v.(Numeric); ok {
			again, err := ParseNumeric(n.String())
			if err != nil || again.Cmp(n) != 0 || again.String() != n.String() {
				t.Fatalf("%q is %s, which reads back as %s, %v", text, n, again, err)
			}
		}
		if typ.Kind == Text {
			var s string
			if err := json.Unmarshal(out, &s); err != nil || utf8.Valid(text) && s != string(text) {
				t.Fatalf("%q came back as %q, %v", text, s, err)
			}
		}
	})
}

// BenchmarkAppendJSON writes one value of each kind.
func BenchmarkAppendJSON(b *testing.B) {
	dst := make([]byte, 0, 4096)
	for _, c := range []struct {
		typ  Type
		text string
	}{
		{Type{Kind: Int}, "123456789"},
		{Type{Kind: Number}, "12345.6700"},
		{Type{Kind: Text}, "an ordinary line of text, forty bytes or so"},
		{Type{Kind: TimestampTZ}, "2024-01-02 03:04:05.123456+00"},
		{Type{Kind: TimestampTZ}, "2024-01-02 03:04:05.123456+05:30"},
		{Type{Kind: Bytea}, `\x` + strings.Repeat("ab", 32)},
		{Type{Kind: JSON}, `{"status": "paid", "lines": [1, 2.5, {"sku": "a-1"}]}`},
		{array(Text), `{a,"b,c",NULL}`},
	} {
		text := []byte(c.text)
		b.Run(c.typ.Kind.String()+"/"+strings.ReplaceAll(c.text[:min(len(c.text), 40)], "/", " "), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				AppendJSON(dst, c.typ, text)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct {
		kind Kind
		text string
	}{
		{Int, "123456789"},
		{Number, "12345.6700"},
		{Text, "paid"},
		{TimestampTZ, "2024-01-02 03:04:05.123456+00"},
		{JSON, `{"status": "paid", "lines": [1, 2.5]}`},
	} {
		text := []byte(c.text)
		b.Run(c.kind.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := (Type{Kind: c.kind}).Decode(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
