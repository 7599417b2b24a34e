package change

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"
)

// Infinity and NegInfinity stand for PostgreSQL's infinity and -infinity in dates
// and timestamps. They are later and earlier than every other value that
// PostgreSQL can hold, so comparisons come out as the server's do.
var (
	Infinity    = time.Date(10_000_000, time.January, 1, 0, 0, 0, 0, time.UTC)
	NegInfinity = time.Date(-10_000_000, time.January, 1, 0, 0, 0, 0, time.UTC)
)

// String gives the name of the family.
func (k Kind) String() string {
	names := [...]string{
		Text: "text", Bool: "bool", Int: "int", Float: "float", Number: "numeric", Bytea: "bytea", Date: "date",
		Time: "time", TimeTZ: "timetz", Timestamp: "timestamp", TimestampTZ: "timestamptz", Interval: "interval",
		UUID: "uuid", JSON: "json", Array: "array",
	}
	if int(k) < len(names) {
		return names[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// Decode turns the text of a column into a Go value, which doesn't alias text:
//
//   - Bool: bool. Int: int. Float: float64; a float4 is read from its digits too,
//     so that 0.1 equals 0.1. Number: Numeric. Bytea: []byte.
//   - Date, Timestamp, TimestampTZ: time.Time in UTC, of any year (1 BC is year 0);
//     infinity and -infinity are Infinity and NegInfinity.
//   - JSON: nil, bool, string, []any, map[string]any; a number is an int if it is
//     written as a whole number and fits, else the nearest float64, or an infinity
//     beyond its range.
//   - Array: []any of the element's values, nested for more dimensions, nil for
//     NULL elements. Lower bounds are dropped.
//   - everything else: string.
//
// Text is never an error. A text that isn't of its kind is one that names the type
// and shows the value, shortened.
func (t Type) Decode(text []byte) (any, error) {
	if t.Kind == Array {
		v, err := decodeArray(text, t)
		if err != nil {
			return nil, t.valueError(text, err)
		}
		return v, nil
	}
	v, err := decodeScalar(t.Kind, text)
	if err != nil {
		return nil, t.valueError(text, err)
	}
	return v, nil
}

func (t Type) valueError(text []byte, err error) error {
	name := t.Name
	if name == "" {
		name = t.Kind.String()
	}
	return fmt.Errorf("value %s of type %s: %w", shorten(string(text)), name, err)
}

// shorten quotes s for an error text, at most 60 bytes of it.
func shorten(s string) string {
	const most = 60
	if len(s) <= most {
		return strconv.Quote(s)
	}
	cut := most
	for cut > most-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%q… (%d bytes)", s[:cut], len(s))
}

func decodeScalar(k Kind, text []byte) (any, error) {
	switch k {
	case Bool:
		if b, ok := parseBool(text); ok {
			return b, nil
		}
		return nil, errors.New("want t or f")
	case Int:
		n, err := strconv.ParseInt(string(text), 10, strconv.IntSize)
		if err != nil {
			return nil, errors.New("want a whole number that fits an int")
		}
		return int(n), nil
	case Float:
		f, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return nil, errors.New("want a floating-point number")
		}
		return f, nil
	case Number:
		return boxed(parseNumeric(text))
	case Bytea:
		return boxed(appendBytea(nil, text))
	case Date:
		return boxed(parseTime(text, k))
	case Timestamp, TimestampTZ:
		return boxed(parseTime(text, k))
	case JSON:
		return decodeJSON(text)
	}
	return string(text), nil
}

// boxed keeps the value of a failure from becoming a non-nil any.
func boxed[T any](v T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

func parseBool(text []byte) (value, ok bool) {
	switch string(text) {
	case "t", "true":
		return true, true
	case "f", "false":
		return false, true
	}
	return false, false
}

var errBytea = errors.New(`want hexadecimal after \x, or bytes with backslash escapes`)

// appendBytea decodes both output formats, hex (the default) and escape.
func appendBytea(dst, text []byte) ([]byte, error) {
	if dst == nil {
		dst = []byte{}
	}
	if len(text) >= 2 && text[0] == '\\' && text[1] == 'x' {
		dst, err := hex.AppendDecode(dst, text[2:])
		if err != nil {
			return nil, errBytea
		}
		return dst, nil
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' {
			dst = append(dst, c)
			continue
		}
		switch rest := text[i+1:]; {
		case len(rest) >= 1 && rest[0] == '\\':
			dst = append(dst, '\\')
			i++
		case len(rest) >= 3 && rest[0] <= '3' && octal(rest[0]) && octal(rest[1]) && octal(rest[2]):
			dst = append(dst, (rest[0]-'0')<<6|(rest[1]-'0')<<3|(rest[2]-'0'))
			i += 3
		default:
			return nil, errBytea
		}
	}
	return dst, nil
}

func octal(c byte) bool { return c >= '0' && c <= '7' }

var errTime = errors.New("want a date or timestamp in ISO style (datestyle = ISO)")

// clock is a date or timestamp in parts.
type clock struct {
	infinite int // 1, -1; all else is zero then
	year     int // astronomical: 1 BC is 0
	month    time.Month
	day      int
	seconds  int // of the day
	nanos    int
	offset   int // seconds east of UTC
	// Parts of the text.
	date, time, fraction []byte // 2024-01-31, 10:00:00, .123456
}

func parseTime(text []byte, k Kind) (time.Time, error) {
	c, ok := parseClock(text, k)
	if !ok {
		return time.Time{}, errTime
	}
	switch c.infinite {
	case 1:
		return Infinity, nil
	case -1:
		return NegInfinity, nil
	}
	return time.Date(c.year, c.month, c.day, 0, 0, c.seconds-c.offset, c.nanos, time.UTC), nil
}

// parseClock reads what PostgreSQL writes under datestyle ISO, and nothing else:
// [year]-MM-DD, then for timestamps a space, HH:MM:SS and a fraction, then for
// timestamptz an offset ±HH, ±HH:MM or ±HH:MM:SS, then " BC" perhaps.
func parseClock(text []byte, k Kind) (c clock, ok bool) {
	switch string(text) {
	case "infinity":
		return clock{infinite: 1}, true
	case "-infinity":
		return clock{infinite: -1}, true
	}
	rest, bc := bytes.CutSuffix(text, []byte(" BC"))
	digits := 0
	for digits < len(rest) && digits < 8 && rest[digits] >= '0' && rest[digits] <= '9' {
		c.year = c.year*10 + int(rest[digits]-'0')
		digits++
	}
	if digits < 4 || digits > 7 || c.year == 0 || len(rest) < digits+6 {
		return c, false
	}
	c.date = rest[:digits+6]
	month, ok1 := twoDigits(rest[digits:], '-')
	day, ok2 := twoDigits(rest[digits+3:], '-')
	if bc {
		c.year = 1 - c.year
	}
	c.month, c.day = time.Month(month), day
	if !ok1 || !ok2 || month < 1 || month > 12 || day < 1 || day > daysIn(c.year, month) {
		return c, false
	}
	rest = rest[digits+6:]
	if k == Date {
		return c, len(rest) == 0
	}
	if len(rest) < 9 || rest[0] != ' ' && rest[0] != 'T' {
		return c, false
	}
	c.time = rest[1:9]
	hour, ok1 := twoDigits(rest, rest[0])
	minute, ok2 := twoDigits(rest[3:], ':')
	second, ok3 := twoDigits(rest[6:], ':')
	if !ok1 || !ok2 || !ok3 || hour > 23 || minute > 59 || second > 59 {
		return c, false
	}
	c.seconds = hour*3600 + minute*60 + second
	rest = rest[9:]
	if len(rest) > 0 && rest[0] == '.' {
		i, unit := 1, 100_000_000
		for ; i < len(rest) && rest[i] >= '0' && rest[i] <= '9'; i++ {
			c.nanos += int(rest[i]-'0') * unit
			unit /= 10
		}
		if i < 2 || i > 10 {
			return c, false
		}
		c.fraction, rest = rest[:i], rest[i:]
	}
	if k == Timestamp {
		return c, len(rest) == 0
	}
	if len(rest) == 0 {
		return c, false
	}
	sign := rest[0]
	if sign != '+' && sign != '-' {
		return c, false
	}
	hour, ok = twoDigits(rest, sign)
	if !ok {
		return c, false
	}
	rest = rest[3:]
	c.offset = hour * 3600
	for unit := 60; len(rest) > 0 && unit > 0; unit /= 60 {
		v, ok := twoDigits(rest, ':')
		if !ok || v > 59 {
			return c, false
		}
		c.offset += v * unit
		rest = rest[3:]
	}
	if sign == '-' {
		c.offset = -c.offset
	}
	return c, len(rest) == 0
}

// twoDigits reads a separator and two digits.
func twoDigits(b []byte, separator byte) (int, bool) {
	if len(b) < 3 || b[0] != separator || b[1] < '0' || b[1] > '9' || b[2] < '0' || b[2] > '9' {
		return 0, false
	}
	return int(b[1]-'0')*10 + int(b[2]-'0'), true
}

func daysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

func decodeJSON(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("want JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("want one JSON value, and nothing after it")
	}
	return plainNumbers(v), nil
}

// plainNumbers puts an int or a float64 for each json.Number, in place.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(string(v), 10, strconv.IntSize); err == nil {
			return int(n)
		}
		f, _ := strconv.ParseFloat(string(v), 64) // ErrRange comes with ±Inf
		return f
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plainNumbers(v[k])
		}
	}
	return v
}
