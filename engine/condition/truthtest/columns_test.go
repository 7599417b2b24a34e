package truthtest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// column is one column of the table, with what its type can be asked.
type column struct {
	name    string
	sqlType string
	kind    string // under which it is counted
	triple  bool   // its name means something else in a form, so it can only be spelled out

	values func(r *rand.Rand) string // a random value, as text
	// constant is a value to compare with, near those of the rows.
	constant func(r *rand.Rand) constant
	// part is what contains looks for; nil: there is no contains.
	part func(r *rand.Rand) constant

	operators []string
	// compared is the SQL that compares as conditions do; %s is the column.
	compared string
	// text is what starts_with and the like see; %s is the column.
	text string
	// different is what changed compares, if it isn't compared.
	different string
	// has is the SQL of contains, if it isn't that of text; %s is the column, then the part.
	has string
}

// constant is written in JSON and in SQL.
type constant struct{ json, sql string }

// The operators of each kind of type.
var (
	always    = []string{"is_null", "not_null", "changed", "changed", "changed_from", "changed_to"}
	equality  = append([]string{"eq", "eq", "ne", "in", "not_in"}, always...)
	orders    = append([]string{"gt", "gte", "lt", "lte", "between"}, equality...)
	textual   = append([]string{"contains", "starts_with", "matches"}, equality...)
	texts     = append([]string{"contains", "starts_with", "matches"}, orders...)
	jsonEqual = append([]string{"contains"}, equality...)
)

func quoteJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // no text fails
	}
	return string(b)
}

var (
	wholes = []string{"0", "1", "-1", "2", "9", "10", "100", "32767", "-32768"}
	// Too long for a float8.
	bigs     = []string{"9223372036854775807", "-9223372036854775808", "9007199254740991", "9007199254740992", "9007199254740993", "9223372036854775806", "9223372036854775808", "-9223372036854775809"}
	numerics = []string{
		"0", "0.0", "-0.5", "1", "1.0", "1.00", "1.5", "1.50", "9", "9.99", "10", "10.00", "100", "99.995", "-1", "-1.50", "NaN", "Infinity", "-Infinity",
		"12345678901234567890.12345", "12345678901234567890.12346", "12345678901234567890.1234500", "9007199254740993", "9007199254740992", "9007199254740992.5", "0.10000000000000000001", "0.1", "100000000000000000000", "0.00000000000000000001",
	}
	money  = []string{"0", "1", "1.5", "9.99", "10", "99.99", "-0.01", "NaN", "1234567890.12"}
	floats = []string{"0", "-0", "1", "-1", "0.1", "0.3", "1.5", "-2.5", "NaN", "Infinity", "-Infinity", "1e20", "1e-5", "123456.789", "16777217"}
	words  = []string{"", "a", "A", "b", "B", "ab", "aB", "abc", "a b", "ab ", " a", "a%b", "a_b", `a\b`, `a"b`, "a'b", "é", "Z", "z", "10", "9", "NULL", "-"}
	moods  = []string{"sad", "ok", "happy", "very happy"}
	dates  = []string{"2026-01-31", "2026-02-01", "2025-12-31", "1969-12-31", "0044-03-15 BC", "10000-01-01", "infinity", "-infinity"}
	times  = []string{
		"2026-01-31 00:00:00", "2026-01-31 10:00:00", "2026-01-31 10:00:00.000001", "2026-01-31 10:00:00.5", "2026-02-01 00:00:00", "2025-12-31 23:59:59.999999",
		"0044-03-15 12:00:00 BC", "10000-01-01 00:00:00", "infinity", "-infinity",
	}
	clocks = []string{"00:00:00", "09:00:00", "09:00:00.5", "09:30:00", "17:00:00.000001", "23:59:59.999999", "24:00:00"}
	uuids  = []string{
		"00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12", "ffffffff-ffff-ffff-ffff-ffffffffffff",
	}
	blobs     = []string{`\x`, `\x00`, `\x00ff`, `\x00fe`, `\xdeadbeef`, `\xff`}
	documents = []string{
		"1", "1.0", "1.5", "0", "-7", `"a"`, `"1"`, `""`, "null", "true", "false", "[]", "[1,2]", "[2,1]", `[null,"a"]`, "{}", `{"a":1}`, `{"a":{"b":[null,true]}}`, `{"b":2,"a":1}`,
	}
	listed     = []string{`["a","b"]`, `["ab"]`, "[]", `"abc"`, `""`, `["1",1,null]`, `"b"`}
	textLists  = []string{"{}", "{a}", "{a,b}", "{b,a}", "{a,NULL}", "{NULL}", `{"",b}`, `{"a b","c\"d"}`, `{"NULL",ab}`, "{10,9}"}
	wholeLists = []string{"{}", "{1}", "{1,2}", "{2,1,NULL}", "{2147483647}", "{NULL}", "{-1,0}"}
	exactLists = []string{"{}", "{1}", "{1.0}", "{1.00,2.50}", "{1,2.5}", "{NaN}", "{Infinity,-Infinity}", "{NULL,0.10}", "{12345678901234567890.12345}"}
)

// patterns mean the same to RE2 and to PostgreSQL, on one line of text.
var patterns = []string{"^a", "b$", "^$", "a.*b", "[0-9]+", "x|b", "^[a-c]+$", "(a|b){2}", `\d`, "a b", "^.$", "[^a]", "B", `\\`, "0", "-", "h.*y", "^[A-Z]", "^1", "(^| )a"}

func from(list []string) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return pick(r, list) }
}

// near is a number of the list, or one close to it, or the same in other digits.
func near(r *rand.Rand, list []string) string {
	s := pick(r, list)
	if strings.ContainsAny(s, "NyeE") {
		return s
	}
	switch r.IntN(6) {
	case 0:
		if !strings.Contains(s, ".") {
			s += "."
		}
		s += strings.Repeat("0", 1+r.IntN(3))
	case 1:
		s = s[:len(s)-1] + string(rune('0'+r.IntN(10)))
	case 2:
		if !strings.Contains(s, ".") {
			s += "."
		}
		s += pick(r, []string{"5", "01", "000000000000000000001"})
	}
	return s
}

// numberAs writes a number in JSON, as a number if it can be, or as a text.
func numberAs(r *rand.Rand, s, sqlType string) constant {
	c := constant{json: s, sql: quote(s) + "::" + sqlType}
	if strings.ContainsAny(s, "NI") || one(r, 4) {
		c.json = quoteJSON(s)
	}
	return c
}

func numbers(sqlType string, extra []string, lists ...[]string) func(*rand.Rand) constant {
	all := append([]string(nil), extra...)
	for _, l := range lists {
		all = append(all, l...)
	}
	return func(r *rand.Rand) constant { return numberAs(r, near(r, all), sqlType) }
}

func textsAs(sqlType string, list []string) func(*rand.Rand) constant {
	return func(r *rand.Rand) constant {
		s := pick(r, list)
		if one(r, 6) {
			s += pick(r, []string{"a", " ", "b", "é"})
		}
		if one(r, 8) && s != "" {
			s = string([]rune(s)[:1])
		}
		return constant{quoteJSON(s), quote(s) + "::" + sqlType}
	}
}

// moments are written in every way that conditions take.
func moments(sqlType string) func(*rand.Rand) constant {
	all := []string{
		"2026-01-31", "2026-02-01", "2025-12-31", "1969-12-31", "infinity", "-infinity", "Infinity", "2026-01-31 10:00", "2026-01-31T10:00:00Z", "2026-01-31 10:00:00.5",
		"2026-01-31T10:00:00.000001", "2026-02-01 00:00:00", "2025-12-31T23:59:59.999999Z", "9999-12-31", "0001-01-01",
		"2026-01-31T12:00:00+02:00", "2026-01-31 10:00:00-05:30", "2026-02-01T05:30+05:30",
	}
	return func(r *rand.Rand) constant {
		s := pick(r, all)
		return constant{quoteJSON(s), quote(s) + "::" + sqlType}
	}
}

// listAs writes a list in JSON and as an array.
func listAs(elementType string, element func(*rand.Rand) constant) func(*rand.Rand) constant {
	return func(r *rand.Rand) constant {
		var j, s []string
		for range r.IntN(3) {
			if one(r, 6) {
				j, s = append(j, "null"), append(s, "null")
				continue
			}
			c := element(r)
			j, s = append(j, c.json), append(s, c.sql)
		}
		return constant{"[" + strings.Join(j, ",") + "]", "array[" + strings.Join(s, ",") + "]::" + elementType + "[]"}
	}
}

func columns(citext bool) []*column {
	number := "%s::numeric"
	c := `%s::text collate "C"`
	text := textsAs("text", words)
	list := []*column{
		{name: "i2", sqlType: "int2", kind: "int2", values: from(wholes), constant: numbers("numeric", []string{"32768", "NaN", "1e2", "70000"}, wholes), operators: orders, compared: number},
		{
			name: "i4", sqlType: "int4", kind: "int4", values: from(append([]string{"2147483647", "-2147483648"}, wholes...)),
			constant: numbers("numeric", []string{"2147483648", "2147483647", "Infinity", "1.5E1", "1e30"}, wholes), operators: orders, compared: number,
		},
		{
			name: "i8", sqlType: "int8", kind: "int8", values: from(slices.Concat(bigs[:6], bigs[:6], wholes)), constant: numbers("numeric", nil, bigs, bigs, wholes), operators: orders, compared: number,
		},
		{name: "num", sqlType: "numeric", kind: "numeric", values: func(r *rand.Rand) string { return near(r, numerics) }, constant: numbers("numeric", []string{"1e2", "2.5e-1", "-0"}, numerics), operators: orders, compared: number},
		{name: "price", sqlType: "numeric(12,2)", kind: "numeric(12,2)", values: from(money), constant: numbers("numeric", nil, money, numerics), operators: orders, compared: number},
		// The digits of a float4 are what counts: 0.1 equals 0.1.
		{name: "f4", sqlType: "float4", kind: "float4", values: from(floats), constant: numbers("float8", []string{"0.1000000000000000055511151231257827", "100", "16777216"}, floats), operators: orders, compared: "%s::text::float8"},
		{name: "f8", sqlType: "float8", kind: "float8", values: from(floats), constant: numbers("float8", []string{"0.1000000000000000055511151231257827", "100", "0.30000000000000004"}, floats), operators: orders, compared: "%s"},
		{name: "flag", sqlType: "bool", kind: "bool", values: from([]string{"t", "f"}), constant: func(r *rand.Rand) constant {
			s := pick(r, []string{"true", "false"})
			return constant{s, s}
		}, operators: equality, compared: "%s"},
		{name: "txt", sqlType: "text", kind: "text", values: func(r *rand.Rand) string {
			s := pick(r, words)
			if one(r, 5) { // out of line: not sent again if an update leaves it alone
				s = strings.Repeat(s+"x", 3000)
			}
			return s
		}, constant: text, part: text, operators: texts, compared: c, text: c},
		{name: "body", sqlType: "text", kind: "text (large)", values: func(r *rand.Rand) string {
			return strings.Repeat(pick(r, []string{"a", "b", "ab"}), pick(r, []int{1, 3000}))
		}, constant: text, part: text, operators: texts, compared: c, text: c},
		{name: "vc", sqlType: "varchar(20)", kind: "varchar", values: from(words), constant: text, part: text, operators: texts, compared: c, text: c},
		{name: "ch", sqlType: "char(6)", kind: "char(n)", values: from(words), constant: textsAs("bpchar", words), part: text, operators: texts, compared: `%s collate "C"`, text: c},
		{name: "mood", sqlType: "mood", kind: "enum", values: from(moods), constant: textsAs("text", moods), part: textsAs("text", moods), operators: textual, compared: c, text: c},
		{name: "dom", sqlType: "amount", kind: "domain", values: from(money), constant: numbers("numeric", nil, money), operators: orders, compared: number},
		{name: "d", sqlType: "date", kind: "date", values: from(dates), constant: moments("timestamp"), operators: orders, compared: "%s::timestamp"},
		{name: "ts", sqlType: "timestamp", kind: "timestamp", values: from(times), constant: moments("timestamp"), operators: orders, compared: "%s"},
		{name: "tz", sqlType: "timestamptz", kind: "timestamptz", values: from(times), constant: moments("timestamptz"), operators: orders, compared: "%s"},
		{name: "tm", sqlType: "time", kind: "time", values: from(clocks), constant: textsOnly("time", append([]string{"09:00", "09:30", "24:00", "17:00:00.0000010", "09:00:00.50", "08:59"}, clocks...)), part: textsAs("text", []string{"09", ":00", "9:"}), operators: texts, compared: "%s", text: c},
		{name: "u", sqlType: "uuid", kind: "uuid", values: from(uuids), constant: func(r *rand.Rand) constant {
			s := pick(r, uuids)
			switch r.IntN(4) {
			case 0:
				s = strings.ToUpper(s)
			case 1:
				s = "{" + s + "}"
			case 2:
				s = strings.ReplaceAll(s, "-", "")
			}
			return constant{quoteJSON(s), quote(s) + "::uuid"}
		}, part: textsAs("text", []string{"a0ee", "-", "A0", "0000", "380a11"}), operators: textual, compared: "%s", text: c},
		{name: "b", sqlType: "bytea", kind: "bytea", values: from(blobs), constant: textsOnly("bytea", append([]string{`\x00FF`, `\xDEADBEEF`, `\x01`}, blobs...)), operators: orders, compared: "%s"},
		// changed compares jsonb by its text: 1 and 1.0 are different digits.
		{name: "j", sqlType: "jsonb", kind: "jsonb", values: from(documents), constant: func(r *rand.Rand) constant {
			for {
				if s := pick(r, documents); s != "null" {
					return constant{s, quote(s) + "::jsonb"}
				}
			}
		}, operators: equality, compared: "%s", different: c},
		{
			name: "js", sqlType: "jsonb", kind: "jsonb list", values: from(listed), constant: textsOnly("jsonb", nil), part: textsAs("text", []string{"a", "b", "ab", "1", ""}),
			operators: append([]string{"contains", "contains"}, always[:4]...), compared: "%s", different: c,
			has: `case jsonb_typeof(%[1]s) when 'string' then strpos(%[1]s #>> '{}', %[2]s) > 0 when 'array' then exists (select from jsonb_array_elements(%[1]s) e where e = to_jsonb(%[2]s)) end`,
		},
		{
			name: "ta", sqlType: "text[]", kind: "text[]", values: from(textLists), constant: listAs("text", textsAs("text", []string{"a", "b", "", "ab", "NULL", "10"})), part: textsAs("text", []string{"a", "b", "", "ab", "NULL", "A"}),
			operators: jsonEqual, compared: "%s", has: "%[2]s = any (%[1]s)",
		},
		{
			name: "ia", sqlType: "int4[]", kind: "int4[]", values: from(wholeLists), constant: listAs("numeric", numbers("numeric", nil, wholes)), part: numbers("numeric", []string{"2147483647"}, wholes[:4]),
			operators: jsonEqual, compared: "%s::numeric[]", has: "%[2]s = any (%[1]s::numeric[])",
		},
		{
			name: "na", sqlType: "numeric[]", kind: "numeric[]", values: from(exactLists), constant: listAs("numeric", numbers("numeric", nil, []string{"1", "2.5", "NaN", "0.1", "Infinity"})),
			part:      numbers("numeric", []string{"12345678901234567890.12345", "2.50"}, []string{"1", "2.5", "NaN", "0.1", "Infinity"}),
			operators: jsonEqual, compared: "%s", has: "%[2]s = any (%[1]s)",
		},
		{name: "any", sqlType: "int4", kind: "int4", triple: true, values: from(wholes), constant: numbers("numeric", nil, wholes), operators: orders, compared: number},
		{name: "not", sqlType: "text", kind: "text", triple: true, values: from(words), constant: text, part: text, operators: texts, compared: c, text: c},
		{name: "odd name", sqlType: "text", kind: "text", values: from(words), constant: text, part: text, operators: texts, compared: c, text: c},
	}
	if citext {
		// Equal is what has the same bytes, also here.
		list = append(list, &column{name: "ci", sqlType: "citext", kind: "citext", values: from(words), constant: text, part: text, operators: texts, compared: c, text: c})
	}
	return list
}

func textsOnly(sqlType string, list []string) func(*rand.Rand) constant {
	return func(r *rand.Rand) constant {
		s := pick(r, list)
		return constant{quoteJSON(s), quote(s) + "::" + sqlType}
	}
}

// of is the column of a row, compared as conditions do.
func (c *column) of(row, how string) string {
	return "(" + fmt.Sprintf(how, row+`."`+c.name+`"`) + ")"
}
