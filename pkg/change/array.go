package change

import (
	"bytes"
	"errors"
)

// maxArrayDepth is PostgreSQL's MAXDIM.
const maxArrayDepth = 6

var errArray = errors.New("want an array: {…} with elements separated by commas")

type arrayToken uint8

const (
	arrayBad     arrayToken = iota
	arrayEnd                // the end of the text, with every brace closed
	arrayOpen               // {
	arrayClose              // }
	arrayNull               // NULL
	arrayElement            // an element; scanner.element has it
)

// arrayScanner reads PostgreSQL's text of an array, as array_out writes it.
type arrayScanner struct {
	text      []byte
	off       int
	delimiter byte
	depth     int
	expect    byte // 'v' a value or {, '}' the same or } (after {), ',' a delimiter or }, 'e' the end

	element []byte // of arrayElement: the bytes between quotes, or without quotes
	escaped bool   // element holds backslashes, each of which means the next byte
}

// newArrayScanner drops the lower bounds ([0:2]={…}).
func newArrayScanner(text []byte, t Type) arrayScanner {
	s := arrayScanner{text: text, delimiter: ',', expect: '{'}
	if t.Name == "_box" { // the one type of PostgreSQL with another delimiter
		s.delimiter = ';'
	}
	if len(text) > 0 && text[0] == '[' {
		s.off = bytes.IndexByte(text, '=') + 1 // 0 if there is none, where [ fails
	}
	return s
}

func (s *arrayScanner) next() arrayToken {
	if s.off >= len(s.text) {
		if s.expect == 'e' {
			return arrayEnd
		}
		return arrayBad
	}
	if s.expect == 'e' {
		return arrayBad
	}
	c := s.text[s.off]
	if s.expect == ',' {
		switch c {
		case '}':
			return s.close()
		case s.delimiter:
			s.off++
			if s.off >= len(s.text) {
				return arrayBad
			}
			c = s.text[s.off]
			s.expect = 'v'
		default:
			return arrayBad
		}
	}
	switch {
	case c == '{':
		if s.depth == maxArrayDepth {
			return arrayBad
		}
		s.depth++
		s.off++
		s.expect = '}'
		return arrayOpen
	case c == '}' && s.expect == '}':
		return s.close()
	case s.expect == '{':
		return arrayBad
	case c == '"':
		return s.quoted()
	}
	return s.bare()
}

func (s *arrayScanner) close() arrayToken {
	s.off++
	s.depth--
	s.expect = ','
	if s.depth == 0 {
		s.expect = 'e'
	}
	return arrayClose
}

func (s *arrayScanner) quoted() arrayToken {
	s.escaped = false
	for i := s.off + 1; i < len(s.text); i++ {
		switch s.text[i] {
		case '\\':
			s.escaped = true
			i++
		case '"':
			s.element = s.text[s.off+1 : i]
			s.off = i + 1
			s.expect = ','
			return arrayElement
		}
	}
	return arrayBad
}

func (s *arrayScanner) bare() arrayToken {
	s.escaped = false
	i := s.off
	for i < len(s.text) && s.text[i] != s.delimiter && s.text[i] != '}' {
		if c := s.text[i]; c == '"' || c == '{' || c == '\\' {
			return arrayBad
		}
		i++
	}
	if i == s.off {
		return arrayBad
	}
	s.element = s.text[s.off:i]
	s.off = i
	s.expect = ','
	if string(s.element) == "NULL" {
		return arrayNull
	}
	return arrayElement
}

// appendElement appends the element without its escapes.
func (s *arrayScanner) appendElement(dst []byte) []byte {
	if !s.escaped {
		return append(dst, s.element...)
	}
	for i := 0; i < len(s.element); i++ {
		if s.element[i] == '\\' {
			i++ // quoted has seen that there is one
		}
		dst = append(dst, s.element[i])
	}
	return dst
}

func decodeArray(text []byte, t Type) ([]any, error) {
	s := newArrayScanner(text, t)
	var stack [maxArrayDepth][]any
	var whole []any
	for {
		switch s.next() {
		case arrayEnd:
			return whole, nil
		case arrayOpen:
			stack[s.depth-1] = []any{}
		case arrayClose:
			if s.depth == 0 {
				whole = stack[0]
			} else {
				stack[s.depth-1] = append(stack[s.depth-1], stack[s.depth])
			}
		case arrayNull:
			stack[s.depth-1] = append(stack[s.depth-1], nil)
		case arrayElement:
			element := s.element
			if s.escaped {
				element = s.appendElement(nil)
			}
			v, err := decodeScalar(t.Elem, element)
			if err != nil {
				return nil, err
			}
			stack[s.depth-1] = append(stack[s.depth-1], v)
		case arrayBad:
			return nil, errArray
		}
	}
}
