package template

import "strings"

// Channel is the language that a template's own text is in. What its variables hold is
// escaped for it, so that a value is read as the text that it is, and can't bring markup
// along. The filter raw lets a value through as it stands.
type Channel uint8

// The channels.
const (
	Plain    Channel = iota // text without markup, where nothing is escaped
	Markdown                // CommonMark; also what Teams takes
	HTML                    // text of elements, and attributes in quotes
	Chat                    // Slack's mrkdwn: & < > start its links and mentions
	Token                   // one part of a NATS subject
)

// String is the channel's name, as commands take it.
func (c Channel) String() string {
	switch c {
	case Markdown:
		return "markdown"
	case HTML:
		return "html"
	case Chat:
		return "chat"
	case Token:
		return "token"
	}
	return "plain"
}

// markup is text in the channel's language: it is not escaped again.
type markup string

// escape writes a value as text of the channel.
func (c Channel) escape(s string) string {
	switch c {
	case Markdown:
		return escapeMarkdown(s)
	case HTML:
		return htmlEscaper.Replace(s)
	case Chat:
		return chatEscaper.Replace(s)
	case Token:
		return escapeToken(s)
	}
	return s
}

// Escape writes a value as text of the channel, as an output of a template does.
func (c Channel) Escape(s string) string { return c.escape(s) }

// escapeToken: of subjects dots part the tokens, * and > are wildcards, and white space ends
// them. What isn't a letter, a digit, - or _ is written as in URLs: %2E.
func escapeToken(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			b.WriteByte(c)
			continue
		}
		const hex = "0123456789ABCDEF"
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return b.String()
}

var (
	htmlEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;")
	chatEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
)

// escapeMarkdown: in CommonMark a backslash before any ASCII punctuation makes it a
// character like others, also in a link's destination and before what a renderer would
// make a link of by itself. A line break stays one (two spaces at the line's end), so
// that the paragraph, list item or quotation goes on; white space that could indent a code
// block, and line breaks at either end, are written as entities, which are never structure.
func escapeMarkdown(s string) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/4)
	last := len(strings.TrimRight(s, "\r\n"))
	start := true // of a line
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\r' && i+1 < len(s) && s[i+1] == '\n':
			continue
		case c == '\n' || c == '\r':
			if start || i >= last {
				b.WriteString("&#10;")
			} else {
				b.WriteString("  \n")
			}
			start = true
			continue
		case start && (c == ' ' || c == '\t'):
			b.WriteString("&#32;")
			continue
		case c >= '!' && c <= '/' || c >= ':' && c <= '@' || c >= '[' && c <= '`' || c >= '{' && c <= '~':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
		start = false
	}
	return b.String()
}

// unmarked is a value as filters and comparisons take it: markup is a text to them.
func unmarked(v any) any {
	if m, ok := v.(markup); ok {
		return string(m)
	}
	return v
}

// rawFilter lets a value through as markup of the channel.
func rawFilter(r *run, in any, _ []any) (any, error) {
	s, err := r.text(in)
	return markup(s), err
}

// escapeFilter does what an output does anyway, and not twice.
func escapeFilter(r *run, in any, _ []any) (any, error) {
	s, err := r.text(in)
	if err != nil {
		return nil, err
	}
	return r.escaped(s)
}

// escaped pays for escaping.
func (r *run) escaped(s string) (markup, error) {
	if r.channel == Plain {
		return markup(s), nil
	}
	s = cut(r.channel.escape(s))
	return markup(s), r.spend(len(s))
}

// breaks puts the channel's line break for each line break of a text, which is escaped.
func breaks(r *run, in any, _ []any) (any, error) {
	s, err := r.text(in)
	if err != nil {
		return nil, err
	}
	m, err := r.escaped(s)
	if err != nil || r.channel != HTML {
		return m, err
	}
	var out sink
	replace(&out, strings.ReplaceAll(string(m), "\r\n", "\n"), "\n", "<br>\n", -1)
	return markup(out.String()), r.spend(out.Len())
}
