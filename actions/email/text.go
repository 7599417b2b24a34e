package email

import (
	"bufio"
	"bytes"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"
	extast "github.com/yuin/goldmark/extension/ast"
	markdownhtml "github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/util"
)

// bodyText writes Markdown for those who read mails as plain text: without its marks, with
// links written out.
func bodyText(source string, doc ast.Node) (string, error) {
	t := &plain{source: []byte(source)}
	lines := t.blocks(doc)
	size := 0
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
		size += len(l) + 1
	}
	if size > maxPart {
		return "", errTooLong
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n"), nil
}

// plain writes plain text.
type plain struct{ source []byte }

// blocks are the lines of what a container holds, with an empty one between blocks.
func (t *plain) blocks(parent ast.Node) []string {
	var lines []string
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		of := t.block(n)
		if len(of) == 0 {
			continue
		}
		if lines != nil && parent.Kind() != ast.KindListItem || lines != nil && n.Kind() == ast.KindParagraph {
			lines = append(lines, "")
		}
		lines = append(lines, of...)
	}
	return lines
}

func (t *plain) block(n ast.Node) []string {
	switch n := n.(type) {
	case *ast.Heading:
		lines := t.inlines(n)
		if n.Level > 2 || len(lines) == 0 {
			return lines
		}
		width := utf8.RuneCountInString(lines[len(lines)-1])
		return append(lines, strings.Repeat(map[int]string{1: "=", 2: "-"}[n.Level], min(max(width, 3), 60)))
	case *ast.Blockquote:
		return prefix(t.blocks(n), "> ", "> ")
	case *ast.List:
		var lines []string
		number := n.Start
		for item := n.FirstChild(); item != nil; item = item.NextSibling() {
			mark := "- "
			if n.IsOrdered() {
				mark = strconv.Itoa(number) + ". "
				number++
			}
			if lines != nil && !n.IsTight {
				lines = append(lines, "")
			}
			of := t.blocks(item)
			if len(of) == 0 {
				of = []string{""}
			}
			lines = append(lines, prefix(of, mark, strings.Repeat(" ", len(mark)))...)
		}
		return lines
	case *ast.CodeBlock, *ast.FencedCodeBlock:
		var lines []string
		segments := n.Lines()
		for i := range segments.Len() {
			s := segments.At(i)
			lines = append(lines, strings.TrimRight(string(s.Value(t.source)), "\r\n"))
		}
		return prefix(lines, "    ", "    ")
	case *ast.ThematicBreak:
		return []string{strings.Repeat("- ", 20)}
	case *extast.Table:
		var lines []string
		for row := n.FirstChild(); row != nil; row = row.NextSibling() {
			var cells []string
			for cell := row.FirstChild(); cell != nil; cell = cell.NextSibling() {
				cells = append(cells, strings.Join(t.inlines(cell), " "))
			}
			lines = append(lines, strings.Join(cells, " | "))
			if row.Kind() == extast.KindTableHeader {
				lines = append(lines, strings.Repeat("-", min(max(utf8.RuneCountInString(lines[len(lines)-1]), 3), 60)))
			}
		}
		return lines
	}
	return t.inlines(n) // paragraphs, and what a list item holds
}

func prefix(lines []string, first, rest string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		if i == 0 {
			out[i] = first + l
		} else {
			out[i] = rest + l
		}
	}
	return out
}

// inlines are the lines of what is in a block.
func (t *plain) inlines(n ast.Node) []string {
	var b strings.Builder
	t.inline(&b, n)
	if b.Len() == 0 {
		return nil
	}
	return strings.Split(b.String(), "\n")
}

func (t *plain) inline(b *strings.Builder, parent ast.Node) {
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		switch n := n.(type) {
		case *ast.Text:
			value := n.Segment.Value(t.source)
			if n.IsRaw() || parent.Kind() == ast.KindCodeSpan {
				b.Write(value)
			} else {
				b.WriteString(readable(value))
			}
			if n.SoftLineBreak() || n.HardLineBreak() {
				b.WriteByte('\n')
			}
		case *ast.String:
			b.WriteString(readable(n.Value))
		case *ast.AutoLink:
			b.Write(n.URL(t.source))
		case *ast.Link:
			var label strings.Builder
			t.inline(&label, n)
			said, to := label.String(), string(util.URLEscape(n.Destination, true))
			b.WriteString(said)
			if mayFollow(to) && said != to && "mailto:"+said != to {
				if said != "" {
					b.WriteByte(' ')
				}
				b.WriteString("<" + to + ">")
			}
		case *extast.Strikethrough:
			b.WriteByte('~')
			t.inline(b, n)
			b.WriteByte('~')
		default: // emphasis, code, what a picture shows
			t.inline(b, n)
		}
	}
}

// readable is a text with escapes and entities read, by the same code that writes HTML, so
// that both parts say the same.
func readable(source []byte) string {
	if !bytes.ContainsAny(source, `\&`) {
		return string(source)
	}
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	markdownhtml.DefaultWriter.Write(w, source)
	_ = w.Flush() // to a buffer
	return html.UnescapeString(out.String())
}

// mayFollow is what policy says of a link.
func mayFollow(to string) bool {
	u, err := url.Parse(to)
	return err == nil && slices.Contains([]string{"https", "http", "mailto"}, u.Scheme)
}
