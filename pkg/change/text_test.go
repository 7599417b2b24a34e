package change_test

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// TestTextOfJSONAgainstServer takes each value through JSON and back, and lets the server
// read what came of it: it must be the value that it was.
func TestTextOfJSONAgainstServer(t *testing.T) {
	conn := pgtest.DB(t).Conn(t)
	for _, settings := range []string{"set timezone = utc", "set timezone = 'Asia/Kolkata'"} {
		if _, err := conn.Exec(t.Context(), "reset all; set datestyle = iso; "+settings, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			t.Run(settings+"/"+v.sqlType, func(t *testing.T) {
				typ := v.typ
				typ.Name = cmp.Or(typ.Name, typeName(v.sqlType))
				for _, literal := range v.literals {
					var text string
					if err := conn.QueryRow(t.Context(), fmt.Sprintf("select format('%%s', $1::text::%s)", v.sqlType), literal).Scan(&text); err != nil {
						t.Fatal(err)
					}
					written := change.AppendJSON(nil, typ, []byte(text))
					back, state, err := change.TextOfJSON(typ, written)
					if err != nil {
						t.Fatalf("%s: %v", written, err)
					}
					if string(written) == "null" { // of json: it can't be told from NULL
						if state != change.Null {
							t.Errorf("null is %d", state)
						}
						continue
					}
					var again string
					var same bool
					compare := "$1::text::" + v.sqlType + " = $2::text::" + v.sqlType
					switch v.sqlType {
					case "json":
						compare = "btrim($1::text) = btrim($2::text)"
					case "box[]": // has no equality
						compare = "$1::text = $2::text"
					}
					if err := conn.QueryRow(t.Context(), fmt.Sprintf("select format('%%s', $1::text::%s), %s", v.sqlType, compare), string(back), text).Scan(&again, &same); err != nil {
						t.Fatalf("%s became %s, which the server doesn't read: %v", text, back, err)
					}
					// Lower bounds are dropped, and JSON has no array of arrays of json.
					if !same && !strings.HasPrefix(text, "[") && v.sqlType != "jsonb[]" {
						t.Errorf("%s became %s by %s", text, back, written)
					}
					if strings.Contains(settings, "utc") && v.sqlType != "bytea" && v.sqlType != "json" && same && string(back) != text && !strings.Contains(text, "\"u") {
						t.Errorf("%s became %s, not the text that the server writes", text, back)
					}
					if got := change.AppendJSON(nil, typ, []byte(again)); !reflect.DeepEqual(parse(t, string(got)), parse(t, string(written))) {
						t.Errorf("%s became %s", written, got)
					}
				}
			})
		}
	}
}

// typeName is how the stream names a type.
func typeName(sqlType string) string {
	if elem, ok := strings.CutSuffix(sqlType, "[]"); ok {
		return "_" + elem
	}
	return sqlType
}

// TestTextOfJSONByHand: what people write.
func TestTextOfJSONByHand(t *testing.T) {
	array := func(elem change.Kind, name string) change.Type {
		return change.Type{Kind: change.Array, Elem: elem, Name: name}
	}
	for _, c := range []struct {
		typ         change.Type
		value, want string // want starts with ! for a part of the error
	}{
		{change.Type{Kind: change.Int, Name: "int4"}, `"5"`, "5"},
		{change.Type{Kind: change.Int, Name: "int4"}, `1e3`, "1000"},
		{change.Type{Kind: change.Int, Name: "int4"}, `5.0`, "5"},
		{change.Type{Kind: change.Int, Name: "int4"}, `5.5`, "!5.5 is no int4: want a whole number from -2147483648 to 2147483647"},
		{change.Type{Kind: change.Int, Name: "int2"}, `32768`, "!from -32768 to 32767"},
		{change.Type{Kind: change.Int, Name: "oid"}, `-1`, "!from 0 to 4294967295"},
		{change.Type{Kind: change.Int, Name: "int4"}, `true`, "!want a"},
		{change.Type{Kind: change.Number, Name: "numeric"}, `"1000.00"`, "1000.00"},
		{change.Type{Kind: change.Number, Name: "numeric"}, `"x"`, `!"x" is no numeric: want a number`},
		{change.Type{Kind: change.Number, Name: "numeric"}, `[1]`, "!want a number"},
		{change.Type{Kind: change.Float, Name: "float8"}, `"nan"`, "NaN"},
		{change.Type{Kind: change.Float, Name: "float8"}, `1e999`, "!want a number"},
		{change.Type{Kind: change.Float, Name: "float8"}, `"0x10"`, "!want a number"},
		{change.Type{Kind: change.Bool}, `"t"`, "t"},
		{change.Type{Kind: change.Bool}, `1`, "!want true or false"},
		{change.Type{Kind: change.Text, Name: "text"}, `5`, "!5 is no text: want a text, in quotes"},
		{change.Type{Kind: change.Text, Name: "text"}, `{"a": 1}`, "!want a text"},
		{change.Type{Kind: change.Text, Name: "text"}, `"a\u0000b"`, "!NUL"},
		{change.Type{Kind: change.Text, Name: "text"}, `nul`, "!is not JSON"},
		{change.Type{Kind: change.Text, Name: "text"}, `"a" "b"`, "!is not JSON"},
		{change.Type{Kind: change.Date}, `"2026-02-30"`, "!want a date"},
		{change.Type{Kind: change.Date}, `"2026-02-03"`, "2026-02-03"},
		{change.Type{Kind: change.Timestamp}, `"2026-02-03"`, "2026-02-03 00:00:00"},
		{change.Type{Kind: change.Timestamp}, `"2026-02-03T10:20:00.5+02:00"`, "2026-02-03 10:20:00.5"},
		{change.Type{Kind: change.TimestampTZ}, `"2026-02-03T10:20:00.5+02:00"`, "2026-02-03 08:20:00.5+00"},
		{change.Type{Kind: change.TimestampTZ}, `"2026-02-03 10:20"`, "2026-02-03 10:20:00+00"},
		{change.Type{Kind: change.TimestampTZ}, `"2026-02-03 10:20:30+01"`, "2026-02-03 09:20:30+00"},
		{change.Type{Kind: change.TimestampTZ}, `"tomorrow"`, "!want a time as 2026-01-31T10:00:00Z"},
		{change.Type{Kind: change.TimestampTZ}, `20260101`, "!want a text"},
		{change.Type{Kind: change.Bytea}, `"\\x00ff"`, `\x00ff`},
		{change.Type{Kind: change.Bytea}, `"AP8="`, `\x00ff`},
		{change.Type{Kind: change.Bytea}, `"*"`, "!want base64"},
		{change.Type{Kind: change.UUID}, `"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"`, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{change.Type{Kind: change.UUID}, `"a0ee"`, "!want a0eebc99"},
		{change.Type{Kind: change.JSON}, ` {"a": [1]} `, `{"a": [1]}`},
		{array(change.Text, "_text"), `["a", null, "b,c", ""]`, `{a,NULL,"b,c",""}`},
		{array(change.Text, "_text"), `"{a,b}"`, `{a,b}`},
		{array(change.Text, "_text"), `"a,b"`, "!want a list"},
		{array(change.Text, "_text"), `[1]`, "!element 1: want a text"},
		{array(change.Text, "_text"), `5`, "!want a list"},
		{array(change.Int, "_int4"), `[[1, 2], [3, 4]]`, `{{1,2},{3,4}}`},
		{array(change.Int, "_int4"), `[[1, 2], [3]]`, "!different lengths"},
		{array(change.Int, "_int4"), `[[1], 2]`, "!mixes values and lists"},
		{array(change.Int, "_int4"), `[1, [2]]`, "!mixes values and lists"},
		{array(change.Int, "_int4"), `[[], []]`, "!empty"},
		{array(change.Int, "_int4"), `[]`, "{}"},
		{array(change.Int, "_int4"), `[[1], [[2]]]`, "!mixes values and lists"},
		{array(change.Int, "_int4"), `[[[[[[[1]]]]]]]`, "!more than 6 dimensions"},
		{array(change.Int, "_int4"), `[9999999999]`, "!element 9999999999: want a whole number"},
	} {
		text, state, err := change.TextOfJSON(c.typ, []byte(c.value))
		if part, wrong := strings.CutPrefix(c.want, "!"); wrong {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s of %s: got %q, %v, want %s", c.value, c.typ.Kind, text, err, c.want)
			}
			continue
		}
		if err != nil || state != change.Present || string(text) != c.want {
			t.Errorf("%s of %s: got %q, %v, want %q", c.value, c.typ.Kind, text, err, c.want)
		}
	}
	if _, state, err := change.TextOfJSON(change.Type{Kind: change.Int}, []byte("null")); err != nil || state != change.Null {
		t.Errorf("null is %d, %v", state, err)
	}
}
