package change

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"
	"unicode/utf8"
)

// AppendJSON appends the text of a column as one JSON value, and is valid JSON
// whatever the text holds:
//
//   - Bool, Int, Float, Number: true, false, numbers with the server's digits; NaN
//     and infinities as strings.
//   - TimestampTZ: RFC 3339 in UTC with Z. Timestamp: the same without offset.
//     Date: YYYY-MM-DD. The fraction as the server sent it. Infinities and years
//     that RFC 3339 can't write (BC, after 9999) as PostgreSQL writes them.
//   - Bytea: base64. JSON: as it is. Array: an array of its elements.
//   - everything else, and what doesn't parse for its kind: a string, with U+FFFD
//     for bytes that aren't UTF-8.
//
// It makes no intermediate values and allocates nothing but dst's growth.
func AppendJSON(dst []byte, t Type, text []byte) []byte {
	if t.Kind == Array {
		return appendJSONArray(dst, t, text)
	}
	return appendJSONScalar(dst, t.Kind, text)
}

func appendJSONScalar(dst []byte, k Kind, text []byte) []byte {
	switch k {
	case Bool:
		if v, ok := parseBool(text); ok {
			if v {
				return append(dst, "true"...)
			}
			return append(dst, "false"...)
		}
	case Int, Float, Number:
		if isJSONNumber(text) {
			return append(dst, text...)
		}
	case Date, Timestamp, TimestampTZ:
		if c, ok := parseClock(text, k); ok {
			if dst, ok := appendJSONTime(dst, k, &c); ok {
				return dst
			}
		}
	case Bytea:
		return appendJSONBytea(dst, text)
	case JSON:
		if json.Valid(text) {
			return appendValidUTF8(dst, text)
		}
	}
	return AppendJSONString(dst, text)
}

// appendJSONTime reports false for what RFC 3339 can't write.
func appendJSONTime(dst []byte, k Kind, c *clock) ([]byte, bool) {
	if c.infinite != 0 || c.year < 1 || len(c.date) != len("2006-01-02") {
		return dst, false
	}
	if c.offset != 0 {
		t := time.Date(c.year, c.month, c.day, 0, 0, c.seconds-c.offset, 0, time.UTC)
		if y := t.Year(); y < 1 || y > 9999 {
			return dst, false
		}
		dst = t.AppendFormat(append(dst, '"'), "2006-01-02T15:04:05")
	} else {
		dst = append(dst, '"')
		dst = append(dst, c.date...)
		if k == Date {
			return append(dst, '"'), true
		}
		dst = append(dst, 'T')
		dst = append(dst, c.time...)
	}
	dst = append(dst, c.fraction...)
	if k == TimestampTZ {
		dst = append(dst, 'Z')
	}
	return append(dst, '"'), true
}

func appendJSONBytea(dst, text []byte) []byte {
	start := len(dst)
	// The bytes go behind the place of the base64 that they become, and are cut off
	// in the end. There are never more of them than of text.
	room := 2 + base64.StdEncoding.EncodedLen(len(text))
	dst = slices.Grow(dst, room+len(text))
	raw, err := appendBytea(dst[start+room:start+room], text)
	if err != nil {
		return AppendJSONString(dst, text)
	}
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, raw)
	return append(dst, '"')
}

func appendJSONArray(dst []byte, t Type, text []byte) []byte {
	start := len(dst)
	s := newArrayScanner(text, t)
	for {
		token := s.next()
		if token != arrayClose && token != arrayEnd && len(dst) > start && dst[len(dst)-1] != '[' {
			dst = append(dst, ',')
		}
		switch token {
		case arrayOpen:
			dst = append(dst, '[')
		case arrayClose:
			dst = append(dst, ']')
		case arrayNull:
			dst = append(dst, "null"...)
		case arrayElement:
			if !s.escaped {
				dst = appendJSONScalar(dst, t.Elem, s.element)
				break
			}
			// The element without escapes goes behind dst, its JSON behind that, and then
			// the JSON is moved over the element.
			n := len(dst)
			dst = s.appendElement(dst)
			m := len(dst)
			dst = appendJSONScalar(dst, t.Elem, dst[n:m:m])
			dst = append(dst[:n], dst[m:]...)
		case arrayEnd:
			return dst
		case arrayBad:
			return AppendJSONString(dst[:start], text)
		}
	}
}

// AppendJSONString appends s as a JSON string, with U+FFFD for bytes that aren't UTF-8.
func AppendJSONString[T string | []byte](dst []byte, s T) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0 // of what needs no escape
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, s[start:i]...)
			dst = append(dst, "\ufffd"...)
			i++
			start = i
			continue
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendValidUTF8(dst, s []byte) []byte {
	if utf8.Valid(s) {
		return append(dst, s...)
	}
	return append(dst, bytes.ToValidUTF8(s, []byte("\ufffd"))...)
}

// isJSONNumber says that s is a number by JSON's grammar.
func isJSONNumber(s []byte) bool {
	if len(s) > 0 && s[0] == '-' {
		s = s[1:]
	}
	n := digitCount(s)
	if n == 0 || n > 1 && s[0] == '0' {
		return false
	}
	s = s[n:]
	if len(s) > 0 && s[0] == '.' {
		n := digitCount(s[1:])
		if n == 0 {
			return false
		}
		s = s[1+n:]
	}
	if len(s) > 0 && (s[0] == 'e' || s[0] == 'E') {
		s = s[1:]
		if len(s) > 0 && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		n := digitCount(s)
		return n > 0 && n == len(s)
	}
	return len(s) == 0
}

func digitCount(s []byte) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
