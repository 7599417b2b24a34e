package definition

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxFile is how long a file may be: a document is no longer.
const maxFile = 1 << 20

// maxDepth bounds how deep a file may be nested.
const maxDepth = 64

// maxTokens bounds YAML, since the library's parser takes time by the square of what is
// in one mapping or nested: this many take it a second at most.
const maxTokens = 40_000

// Problem is something in a file that can't be read.
type Problem struct {
	File         string
	Line, Column int // from 1; 0 unknown
	Message      string
	Pointer      string // a JSON pointer as a URI fragment, #/triggers/0; "" unknown
}

func (p *Problem) Error() string {
	place := p.File
	if p.Line > 0 {
		place += fmt.Sprintf(":%d:%d", p.Line, p.Column)
	}
	return place + ": " + p.Message
}

type nodeKind uint8

const (
	null nodeKind = iota
	boolean
	number
	text
	list
	mapping
)

func (k nodeKind) String() string {
	return [...]string{"nothing", "true or false", "a number", "a text", "a list", "a mapping"}[k]
}

// node is a value in a file, and where it stands.
type node struct {
	kind         nodeKind
	line, column int
	value        string // of a scalar: as in JSON, but a text without quotes
	items        []*node
	members      []member
}

type member struct {
	key          string
	line, column int
	value        *node
}

// place is a line and a column, from 1.
type place struct{ line, column int }

// escaped writes a key as a JSON pointer has it.
var escaped = strings.NewReplacer("~", "~0", "/", "~1")

// pointers is where things stand that begin at these places, as JSON pointers in URI
// fragments (RFC 6901); a place where nothing begins is not in it. Of what begins at the
// same place it is the outermost.
func (n *node) pointers(wanted map[place]bool) map[place]string {
	found := make(map[place]string, len(wanted))
	var path []string
	note := func(line, column int) {
		at := place{line, column}
		if _, ok := found[at]; !ok && line > 0 && wanted[at] {
			found[at] = "#" + strings.Join(path, "")
		}
	}
	var walk func(n *node)
	walk = func(n *node) {
		note(n.line, n.column)
		for _, m := range n.members {
			path = append(path, "/"+escaped.Replace(m.key))
			note(m.line, m.column)
			walk(m.value)
			path = path[:len(path)-1]
		}
		for i, item := range n.items {
			path = append(path, "/"+strconv.Itoa(i))
			walk(item)
			path = path[:len(path)-1]
		}
	}
	walk(n)
	return found
}

func (n *node) get(key string) *node {
	for _, m := range n.members {
		if m.key == key {
			return m.value
		}
	}
	return nil
}

// json writes the value as JSON.
func (n *node) json(b *bytes.Buffer) {
	switch n.kind {
	case null:
		b.WriteString("null")
	case boolean, number:
		b.WriteString(n.value)
	case text:
		writeText(b, n.value)
	case list:
		b.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			item.json(b)
		}
		b.WriteByte(']')
	case mapping:
		b.WriteByte('{')
		for i, m := range n.members {
			if i > 0 {
				b.WriteByte(',')
			}
			writeText(b, m.key)
			b.WriteByte(':')
			m.value.json(b)
		}
		b.WriteByte('}')
	}
}

// writeText writes a JSON text that keeps characters as they are.
func writeText(b *bytes.Buffer, s string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string can always be written
	b.Truncate(b.Len() - 1)
}

func (n *node) raw() json.RawMessage {
	var b bytes.Buffer
	n.json(&b)
	return b.Bytes()
}

// parseJSON reads JSON into a tree. Returns a *Problem.
func parseJSON(file string, data []byte) (*node, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	p := &jsonParser{dec: dec, data: data, file: file, line: 1, column: 1}
	if !utf8.Valid(data) {
		for i, r := range string(data) { // what is broken comes as one byte
			if _, size := utf8.DecodeRune(data[i:]); r == utf8.RuneError && size == 1 {
				p.forward(i)
				return nil, &Problem{File: file, Line: p.line, Column: p.column, Message: "this is not JSON: it is no UTF-8"}
			}
		}
	}
	n, err := p.value(0)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = p.problem("there is more behind the end of the document")
		}
	}
	return n, err
}

type jsonParser struct {
	dec          *json.Decoder
	data         []byte
	file         string
	at           int // where line and column are, so that no byte is counted twice
	line, column int
}

// forward counts lines and columns up to byte i; it never goes back.
func (p *jsonParser) forward(i int) {
	passed := p.data[p.at:max(min(i, len(p.data)), p.at)]
	if n := bytes.LastIndexByte(passed, '\n'); n >= 0 {
		p.line += bytes.Count(passed, []byte("\n"))
		p.column = utf8.RuneCount(passed[n+1:]) + 1
	} else {
		p.column += utf8.RuneCount(passed)
	}
	p.at += len(passed)
}

// place is where the next token starts, or the present one ends.
func (p *jsonParser) place() (line, column int) {
	i := int(p.dec.InputOffset())
	for i < len(p.data) && strings.IndexByte(" \t\r\n,:", p.data[i]) >= 0 {
		i++
	}
	p.forward(i)
	return p.line, p.column
}

func (p *jsonParser) problem(format string, args ...any) error {
	line, column := p.place()
	return &Problem{File: p.file, Line: line, Column: column, Message: fmt.Sprintf(format, args...)}
}

func (p *jsonParser) token() (json.Token, error) {
	t, err := p.dec.Token()
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return t, nil
	case errors.As(err, &syntax):
		p.at, p.line, p.column = 0, 1, 1 // it may lie behind
		p.forward(int(syntax.Offset) - 1)
		return nil, &Problem{File: p.file, Line: p.line, Column: p.column, Message: "this is not JSON: " + syntax.Error()}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, p.problem("this is not JSON: it ends too early")
	}
	return nil, p.problem("this is not JSON: %v", err)
}

func (p *jsonParser) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, p.problem("it is nested deeper than %d", maxDepth)
	}
	n := &node{}
	n.line, n.column = p.place()
	t, err := p.token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case nil:
	case bool:
		n.kind, n.value = boolean, strconv.FormatBool(t)
	case json.Number:
		n.kind, n.value = number, t.String()
	case string:
		n.kind, n.value = text, t
		if strings.ContainsRune(t, 0) {
			return nil, &Problem{File: p.file, Line: n.line, Column: n.column, Message: zeroByte}
		}
	case json.Delim:
		n.kind = list
		if t == '{' {
			n.kind = mapping
		}
		seen := make(map[string]bool)
		for p.dec.More() {
			var m member
			if n.kind == mapping {
				m.line, m.column = p.place()
				key, err := p.token()
				if err != nil {
					return nil, err
				}
				m.key = key.(string) // the decoder allows nothing else there
				if seen[m.key] {
					return nil, &Problem{File: p.file, Line: m.line, Column: m.column, Message: fmt.Sprintf("key %q stands there twice", m.key)}
				}
				if strings.ContainsRune(m.key, 0) {
					return nil, &Problem{File: p.file, Line: m.line, Column: m.column, Message: zeroByte}
				}
				seen[m.key] = true
			}
			if m.value, err = p.value(depth + 1); err != nil {
				return nil, err
			}
			if n.kind == mapping {
				n.members = append(n.members, m)
			} else {
				n.items = append(n.items, m.value)
			}
		}
		if _, err := p.token(); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// parseYAML reads YAML into a tree. Returns a *Problem.
func parseYAML(file string, data []byte) (*node, error) {
	roots, err := parseAllYAML(file, data)
	if err != nil {
		return nil, err
	}
	if len(roots) > 1 {
		return nil, &Problem{File: file, Line: roots[1].line, Column: roots[1].column, Message: "there is a second document; a file holds one workflow"}
	}
	return roots[0], nil
}

// parseAllYAML reads the documents of a YAML file, of which there is at least one, into
// trees; each may be as long as a file. Returns a *Problem.
func parseAllYAML(file string, data []byte) ([]*node, error) {
	var roots []*node
	for _, text := range documentsOf(data) {
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		of, err := parseDocuments(file, text)
		if err != nil {
			return nil, err
		}
		roots = append(roots, of...)
	}
	if len(roots) == 0 {
		return nil, &Problem{File: file, Message: "it is empty"}
	}
	return roots, nil
}

// documentsOf splits YAML at the lines that separate documents, which can stand nowhere
// else. (YAML 1.2.2, section 9.1.2.) Each has an empty line for each line before it, so that
// its places are those in the file.
func documentsOf(data []byte) [][]byte {
	var list [][]byte
	start, lines, before := 0, 0, 0
	for at := 0; at < len(data); {
		end := len(data)
		if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		if line := bytes.TrimRight(data[at:end], " \t\r\n"); string(line) == "---" {
			list = append(list, append(bytes.Repeat([]byte("\n"), before), data[start:at]...))
			start, before = end, lines+1
		}
		at, lines = end, lines+1
	}
	if start == 0 {
		return [][]byte{data}
	}
	return append(list, append(bytes.Repeat([]byte("\n"), before), data[start:]...))
}

// parseDocuments reads what has no line that is --- alone; it may be empty but for comments.
func parseDocuments(file string, data []byte) ([]*node, error) {
	tokens := lexer.Tokenize(string(data))
	if len(tokens) > maxTokens {
		at := tokens[maxTokens].Position
		return nil, &Problem{File: file, Line: at.Line, Column: at.Column, Message: fmt.Sprintf("it is longer than %d words and signs, which is too much to be read as YAML; write it as JSON", maxTokens)}
	}
	doc, err := parser.Parse(tokens, 0)
	if err != nil {
		p := &Problem{File: file, Message: "this is not YAML: " + strings.TrimSpace(err.Error())}
		var at yaml.Error
		if errors.As(err, &at) {
			p.Message = "this is not YAML: " + at.GetMessage()
			if t := at.GetToken(); t != nil && t.Position != nil {
				p.Line, p.Column = t.Position.Line, t.Position.Column
			}
		}
		return nil, p
	}
	y := yamlParser{file}
	var roots []*node
	for _, d := range doc.Docs {
		if d.Body == nil || d.Body.Type() == ast.CommentType {
			continue
		}
		root, err := y.value(d.Body, 0)
		if err != nil {
			return nil, err
		}
		roots = append(roots, root)
	}
	return roots, nil
}

// numeric is a number in JSON.
var numeric = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// zeroByte is said of what PostgreSQL would not take.
const zeroByte = "the text can't be stored: it holds a zero byte, or is no UTF-8"

type yamlParser struct{ file string }

func (y yamlParser) problem(n ast.Node, format string, args ...any) error {
	p := &Problem{File: y.file, Message: fmt.Sprintf(format, args...)}
	if t := n.GetToken(); t != nil && t.Position != nil {
		p.Line, p.Column = t.Position.Line, t.Position.Column
	}
	return p
}

func (y yamlParser) value(from ast.Node, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, y.problem(from, "it is nested deeper than %d", maxDepth)
	}
	n := &node{}
	if t := from.GetToken(); t != nil && t.Position != nil {
		n.line, n.column = t.Position.Line, t.Position.Column
	}
	switch from := from.(type) {
	case *ast.NullNode:
	case *ast.BoolNode:
		n.kind, n.value = boolean, strconv.FormatBool(from.Value)
	case *ast.IntegerNode, *ast.FloatNode:
		n.kind, n.value = number, from.GetToken().Value
		// Else 010 would be 8 to one reader and 10 to the next.
		if !numeric.MatchString(n.value) {
			return nil, y.problem(from, "%s is a number in one way and a text in another; write it in decimal digits, or in quotes", n.value)
		}
	case *ast.InfinityNode, *ast.NanNode:
		return nil, y.problem(from, "%s is no number in JSON; put it in quotes", from.GetToken().Value)
	case *ast.StringNode:
		n.kind, n.value = text, from.Value
		// 1e5 is a number by YAML's own schema, though not to the library.
		if from.Token.Type == token.StringType && numeric.MatchString(from.Value) {
			n.kind = number
		}
	case *ast.LiteralNode:
		n.kind, n.value = text, from.Value.Value
	case *ast.SequenceNode:
		n.kind = list
		for _, item := range from.Values {
			v, err := y.value(item, depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, v)
		}
	case *ast.MappingNode:
		n.kind = mapping
		for _, entry := range from.Values {
			if err := y.entry(n, entry, depth); err != nil {
				return nil, err
			}
		}
		if len(n.members) > 0 && !from.IsFlowStyle { // a block has no token of its own: it starts with its first key
			n.line, n.column = n.members[0].line, n.members[0].column
		}
	case *ast.MappingValueNode:
		n.kind = mapping
		if err := y.entry(n, from, depth); err != nil {
			return nil, err
		}
		n.line, n.column = n.members[0].line, n.members[0].column
	default:
		return nil, y.problem(from, "%s is not understood in a workflow; write the value out", strings.ToLower(from.Type().String()))
	}
	if !utf8.ValidString(n.value) || strings.ContainsRune(n.value, 0) {
		return nil, y.problem(from, zeroByte)
	}
	return n, nil
}

func (y yamlParser) entry(into *node, entry *ast.MappingValueNode, depth int) error {
	m := member{}
	if t := entry.Key.GetToken(); t != nil && t.Position != nil {
		m.line, m.column = t.Position.Line, t.Position.Column
	}
	key, ok := entry.Key.(ast.ScalarNode)
	if !ok {
		return y.problem(entry, "a key is a word")
	}
	if _, merge := entry.Key.(*ast.MergeKeyNode); merge {
		return y.problem(entry.Key, "<< is not understood in a workflow; write the keys out")
	}
	m.key = key.GetToken().Value
	if s, ok := entry.Key.(*ast.StringNode); ok {
		m.key = s.Value
	}
	if !utf8.ValidString(m.key) || strings.ContainsRune(m.key, 0) {
		return y.problem(entry.Key, zeroByte)
	}
	if into.get(m.key) != nil {
		return y.problem(entry.Key, "key %q stands there twice", m.key)
	}
	var err error
	if m.value, err = y.value(entry.Value, depth+1); err != nil {
		return err
	}
	into.members = append(into.members, m)
	return nil
}
