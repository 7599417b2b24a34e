package change

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// TextOfJSON is AppendJSON backwards: the text and state that a column of type t has for
// a JSON value, whether AppendJSON wrote it or somebody by hand. What people write is
// taken as long as it means one thing: a number in quotes, a time with a space in place
// of the T, with an offset or without seconds, bytea as \x00ff, an array as {a,b}.
//
// null is always SQL's NULL, and an array of json has one dimension. The error names the
// value and what is wanted.
func TextOfJSON(t Type, value []byte) ([]byte, State, error) {
	value = bytes.TrimSpace(value)
	if !json.Valid(value) {
		return nil, NotInWAL, fmt.Errorf("%s is not JSON", shorten(string(value)))
	}
	if string(value) == "null" {
		return nil, Null, nil
	}
	text, err := textOfJSON(t, value)
	if err != nil {
		name := t.Name
		if name == "" {
			name = t.Kind.String()
		}
		return nil, NotInWAL, fmt.Errorf("%s is no %s: %w", short(value), name, err)
	}
	return text, Present, nil
}

// short shows a JSON value in an error.
func short(value []byte) string {
	const most = 60
	if len(value) <= most {
		return string(value)
	}
	return strings.ToValidUTF8(string(value[:most]), "") + "…"
}

func textOfJSON(t Type, value []byte) ([]byte, error) {
	if t.Kind != Array {
		return scalarOfJSON(t.Kind, t.Name, value)
	}
	if value[0] == '"' { // as PostgreSQL writes it
		var s string
		if err := json.Unmarshal(value, &s); err != nil {
			return nil, err
		}
		if _, err := decodeArray([]byte(s), Type{Kind: Array, Elem: Text, Name: t.Name}); err != nil {
			return nil, errors.New("want a list, or a text as {a,b}")
		}
		return []byte(s), nil
	}
	if value[0] != '[' {
		return nil, errors.New("want a list")
	}
	return appendArrayOfJSON(nil, t, value, 0, &shape{})
}

// shape is that of an array so far: PostgreSQL's are rectangular.
type shape struct {
	lengths []int
	depth   int // of the values; 0 = not seen yet
}

// appendArrayOfJSON appends one dimension.
func appendArrayOfJSON(dst []byte, t Type, value []byte, depth int, s *shape) ([]byte, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(value, &list); err != nil {
		return nil, err
	}
	if depth == maxArrayDepth {
		return nil, fmt.Errorf("it has more than %d dimensions", maxArrayDepth)
	}
	switch {
	case depth > 0 && len(list) == 0:
		return nil, errors.New("a list in it is empty")
	case depth == len(s.lengths):
		s.lengths = append(s.lengths, len(list))
	case s.lengths[depth] != len(list):
		return nil, errors.New("its lists have different lengths")
	}
	nested := func(v []byte) bool { return t.Elem != JSON && v[0] == '[' }
	delimiter := byte(',')
	if t.Name == "_box" {
		delimiter = ';'
	}
	dst = append(dst, '{')
	for i, v := range list {
		if i > 0 {
			dst = append(dst, delimiter)
		}
		if !nested(v) && s.depth == 0 {
			s.depth = depth + 1
		}
		switch {
		case nested(v) == (s.depth == depth+1):
			return nil, errors.New("it mixes values and lists")
		case nested(v):
			var err error
			if dst, err = appendArrayOfJSON(dst, t, v, depth+1, s); err != nil {
				return nil, err
			}
		case string(v) == "null":
			dst = append(dst, "NULL"...)
		default:
			text, err := scalarOfJSON(t.Elem, strings.TrimPrefix(t.Name, "_"), v)
			if err != nil {
				return nil, fmt.Errorf("element %s: %w", short(v), err)
			}
			dst = appendArrayElement(dst, text, delimiter)
		}
	}
	return append(dst, '}'), nil
}

// appendArrayElement quotes as array_out does.
func appendArrayElement(dst, text []byte, delimiter byte) []byte {
	plain := len(text) > 0 && !strings.EqualFold(string(text), "null") &&
		!bytes.ContainsFunc(text, func(r rune) bool {
			return r == '"' || r == '\\' || r == '{' || r == '}' || r == rune(delimiter) || r == ' ' || r >= '\t' && r <= '\r'
		})
	if plain {
		return append(dst, text...)
	}
	dst = append(dst, '"')
	for _, c := range text {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

func scalarOfJSON(k Kind, name string, value []byte) ([]byte, error) {
	if k == JSON {
		return value, nil
	}
	quoted := value[0] == '"'
	text := string(value)
	if quoted {
		if err := json.Unmarshal(value, &text); err != nil {
			return nil, err
		}
	}
	if strings.Contains(text, "\x00") {
		return nil, errors.New("PostgreSQL's texts hold no NUL character")
	}
	switch k {
	case Bool:
		if v, ok := parseBool([]byte(text)); ok {
			return []byte(strconv.FormatBool(v)[:1]), nil
		}
		return nil, errors.New("want true or false")
	case Int, Float, Number:
		return numberOfJSON(k, name, strings.TrimSpace(text))
	}
	if !quoted {
		return nil, errors.New("want a text, in quotes")
	}
	switch k {
	case Date, Timestamp, TimestampTZ:
		return timeOfText(k, strings.TrimSpace(text))
	case Bytea:
		raw, err := base64.StdEncoding.DecodeString(text)
		if strings.HasPrefix(text, `\x`) {
			raw, err = hex.DecodeString(text[2:])
		}
		if err != nil {
			return nil, errors.New(`want base64, or hexadecimal as \x00ff`)
		}
		return hex.AppendEncode([]byte(`\x`), raw), nil
	case UUID:
		u := strings.ToLower(strings.TrimSpace(text))
		digits := strings.ReplaceAll(u, "-", "")
		if _, err := hex.DecodeString(digits); err != nil || len(digits) != 32 {
			return nil, errors.New("want a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
		}
		return []byte(digits[:8] + "-" + digits[8:12] + "-" + digits[12:16] + "-" + digits[16:20] + "-" + digits[20:]), nil
	}
	return []byte(text), nil
}

func numberOfJSON(k Kind, name, text string) ([]byte, error) {
	if k == Float {
		switch strings.ToLower(text) {
		case "nan":
			return []byte("NaN"), nil
		case "infinity", "inf":
			return []byte("Infinity"), nil
		case "-infinity", "-inf":
			return []byte("-Infinity"), nil
		}
		if f, err := strconv.ParseFloat(text, 64); err != nil || math.IsInf(f, 0) || strings.ContainsAny(text, "xX_pP") {
			return nil, errors.New("want a number, or NaN or Infinity as a text")
		}
		return []byte(text), nil
	}
	n, err := ParseNumeric(text)
	if err != nil {
		return nil, errors.New("want a number")
	}
	if k == Number {
		return []byte(n.String()), nil
	}
	i, ok := n.Int()
	least, most := int64(math.MinInt64), int64(math.MaxInt64)
	switch name {
	case "int2":
		least, most = math.MinInt16, math.MaxInt16
	case "int4":
		least, most = math.MinInt32, math.MaxInt32
	case "oid":
		least, most = 0, math.MaxUint32
	}
	if !ok || i < least || i > most {
		return nil, fmt.Errorf("want a whole number from %d to %d", least, most)
	}
	return strconv.AppendInt(nil, i, 10), nil
}

// timeOfText reads what AppendJSON writes of times, what PostgreSQL writes under datestyle
// ISO, and what lies between, and writes it as PostgreSQL does, in UTC.
func timeOfText(k Kind, text string) ([]byte, error) {
	if k == Date {
		if _, ok := parseClock([]byte(text), Date); ok {
			return []byte(text), nil
		}
		return nil, errors.New("want a date as 2026-01-31")
	}
	const local, zoned = "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00"
	if c, ok := parseClock([]byte(text), k); ok && (c.infinite != 0 || len(c.date) > len("2006-01-02") || c.year < 1) {
		return []byte(text), nil // what RFC 3339 can't write
	}
	iso := text
	if len(iso) > 10 && (iso[10] == 'T' || iso[10] == 't') {
		iso = iso[:10] + " " + iso[11:]
	}
	for _, layout := range []string{zoned, "2006-01-02 15:04:05.999999999Z07", local, "2006-01-02 15:04Z07:00", "2006-01-02 15:04", "2006-01-02"} {
		at, err := time.Parse(layout, strings.Replace(iso, "z", "Z", 1))
		if err != nil {
			continue
		}
		if k == Timestamp { // what stands there counts, whatever the offset
			return at.AppendFormat(nil, local), nil
		}
		return append(at.UTC().AppendFormat(nil, local), "+00"...), nil
	}
	want := "want a time as 2026-01-31T10:00:00"
	if k == TimestampTZ {
		want += "Z"
	}
	return nil, errors.New(want)
}
