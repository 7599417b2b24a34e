package email

import (
	"bytes"
	_ "embed" // layout.html
	"errors"
	"fmt"
	"html"
	"io"
	"regexp"
	"strings"
	"sync"

	"github.com/microcosm-cc/bluemonday"
	"github.com/vanng822/go-premailer/premailer"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	markdownhtml "github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
	xhtml "golang.org/x/net/html"
)

// markdown reads CommonMark with tables and strikethrough, without HTML: tags are text,
// because no parser looks for them. A line break stays one, as who writes a mail expects.
var markdown = newMarkdown()

func newMarkdown() goldmark.Markdown {
	blocks := parser.DefaultBlockParsers()
	inlines := parser.DefaultInlineParsers()
	without := func(list []util.PrioritizedValue, not any) []util.PrioritizedValue {
		var kept []util.PrioritizedValue
		for _, v := range list {
			if fmt.Sprintf("%T", v.Value) != fmt.Sprintf("%T", not) {
				kept = append(kept, v)
			}
		}
		return kept
	}
	return goldmark.New(
		goldmark.WithParser(parser.NewParser(
			parser.WithBlockParsers(without(blocks, parser.NewHTMLBlockParser())...),
			parser.WithInlineParsers(without(inlines, parser.NewRawHTMLParser())...),
			parser.WithParagraphTransformers(parser.DefaultParagraphTransformers()...),
		)),
		goldmark.WithRenderer(renderer.NewRenderer(renderer.WithNodeRenderers(
			util.Prioritized(markdownhtml.NewRenderer(markdownhtml.WithHardWraps()), 1000),
		))),
		goldmark.WithExtensions(
			extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute)),
			extension.Strikethrough,
		),
	)
}

// The limits of what a body becomes.
const (
	maxBody = 32 << 10 // bytes of Markdown, with its values
	maxPart = 1 << 20  // bytes of what is made of it, styles among them
	// maxDepth is how deep lists and quotations may be in each other, and maxColumns how
	// many columns a table may have. The parser takes time by the square of the one, and
	// fills each row up to the other.
	// Links it may look for to the end of a paragraph, each of them.
	maxDepth   = 30
	maxColumns = 20
	maxLinks   = 500
)

// parse reads Markdown.
func parse(source string) (ast.Node, error) {
	if err := checkShape(source); err != nil {
		return nil, err
	}
	return markdown.Parser().Parse(text.NewReader([]byte(source))), nil
}

// checkShape looks at what begins each line: > - * + and numbers, as often as they follow
// each other, and white space, of which two columns are enough for a level. A line of | - :
// alone is what makes a table.
func checkShape(source string) error {
	if strings.Count(source, "](") > maxLinks {
		return fmt.Errorf("there are more than %d links; leave some out", maxLinks)
	}
	for line := range strings.SplitSeq(source, "\n") {
		if strings.Count(line, "|") > maxColumns+1 && strings.Trim(line, "|-: \t\r") == "" {
			return fmt.Errorf("a table has more than %d columns; leave some out", maxColumns)
		}
		marks, columns := 0, 0
		for i := 0; i < len(line); i++ {
			switch c := line[i]; {
			case c == ' ':
				columns++
			case c == '\t':
				columns += 4
			case c == '>', (c == '-' || c == '*' || c == '+') && (i+1 == len(line) || line[i+1] == ' ' || line[i+1] == '\t'):
				marks++
			case c >= '0' && c <= '9' || c == '.' || c == ')':
				if i+1 < len(line) && (c == '.' || c == ')') && (line[i+1] == ' ' || line[i+1] == '\t') {
					marks++
				}
			default:
				i = len(line)
			}
			if marks > maxDepth || columns > 16*maxDepth {
				return fmt.Errorf("lists or quotations are more than %d deep; use fewer of > and - at the beginning of a line, and less white space there", maxDepth)
			}
		}
	}
	return nil
}

// policy is what may be in a mail, whatever the renderer made: no scripts, styles, forms
// or frames; links to pages and addresses; pictures over https.
var policy = newPolicy()

func newPolicy() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowElements("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "del", "code", "pre", "blockquote",
		"ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td")
	p.RequireParseableURLs(true)
	p.AllowRelativeURLs(false)
	p.AllowURLSchemes("https", "http", "mailto")
	p.AllowAttrs("href").OnElements("a")
	p.AllowAttrs("src").Matching(regexp.MustCompile(`^https://`)).OnElements("img")
	p.AllowAttrs("alt").OnElements("img")
	p.AllowAttrs("start").Matching(bluemonday.Integer).OnElements("ol")
	p.AllowAttrs("align").Matching(regexp.MustCompile(`^(left|right|center)$`)).OnElements("th", "td")
	return p
}

var errTooLong = fmt.Errorf("it makes a mail of more than %d KiB; shorten it, or shorten long values by the filter truncate", maxPart>>10)

// bodyHTML is the part between the layout's.
func bodyHTML(source string, doc ast.Node) (string, error) {
	var raw bytes.Buffer
	if err := markdown.Renderer().Render(&raw, []byte(source), doc); err != nil {
		return "", err
	}
	if raw.Len() > maxPart {
		return "", errTooLong
	}
	return styled(policy.SanitizeReader(&raw))
}

//go:embed layout.html
var layoutSource string

// layout is layout.html with its styles where they are for: mail programs take some
// notice of a style element, and some none.
type layout struct {
	pieces []string          // around title, body and foot
	styles map[string]string // by tag, and by parent>tag where that differs
	button string            // of its p, and of its a
	link   string
	foot   string // of a p
	small  string // of an a in the foot
}

// samples has each element that bodyHTML can have.
const samples = `<p><a></a><strong></strong><em></em><del></del><code></code><img></p>
<h1></h1><h2></h2><h3></h3><h4></h4><h5></h5><h6></h6><hr><blockquote></blockquote><pre><code></code></pre>
<ul><li></li></ul><ol><li></li></ol><table><thead><tr><th></th></tr></thead><tbody><tr><td></td></tr></tbody></table>
<p class="button"><a></a></p>`

// theLayout inlines the styles once, and not for each mail: they are always the same.
var theLayout = sync.OnceValues(func() (*layout, error) {
	inline := func(source string) (string, error) {
		p, err := premailer.NewPremailerFromString(source, &premailer.Options{RemoveClasses: false, CssToAttributes: false})
		if err != nil {
			return "", err
		}
		return p.Transform()
	}
	page, err := inline(layoutSource)
	if err != nil {
		return nil, err
	}
	l := &layout{styles: make(map[string]string)}
	for _, mark := range []string{"@title@", "@body@", "@foot@"} {
		before, after, ok := strings.Cut(page, mark)
		if !ok {
			return nil, fmt.Errorf("layout.html has no %s", mark)
		}
		l.pieces = append(l.pieces, before)
		page = after
	}
	l.pieces = append(l.pieces, page)
	sample, err := inline(strings.NewReplacer("@body@", samples, "@foot@", "<p><a></a></p>").Replace(layoutSource))
	if err != nil {
		return nil, err
	}
	root, err := xhtml.Parse(strings.NewReader(sample))
	if err != nil {
		return nil, err
	}
	l.learn(root, "")
	return l, nil
})

// learn takes the styles of the samples.
func (l *layout) learn(n *xhtml.Node, where string) {
	if n.Type == xhtml.ElementNode {
		style, class := attribute(n, "style"), attribute(n, "class")
		switch {
		case n.Data == "td" && class != "":
			where = class
		case where == "foot" && n.Data == "p":
			l.foot = style
		case where == "foot" && n.Data == "a":
			l.small = style
		case class == "button":
			l.button, where = style, class
		case where == "button":
			l.link = style
		case where == "body":
			if _, ok := l.styles[n.Data]; !ok {
				l.styles[n.Data] = style
			}
			l.styles[n.Parent.Data+">"+n.Data] = style
		}
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		l.learn(c, where)
	}
}

func attribute(n *xhtml.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// styled gives each element its style.
func styled(from io.Reader) (string, error) {
	l, err := theLayout()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	var open []string
	z := xhtml.NewTokenizer(from)
	for {
		switch z.Next() {
		case xhtml.ErrorToken:
			if err := z.Err(); !errors.Is(err, io.EOF) {
				return "", err
			}
			return b.String(), nil
		case xhtml.StartTagToken, xhtml.SelfClosingTagToken:
			t := z.Token()
			parent := ""
			if len(open) > 0 {
				parent = open[len(open)-1]
			}
			style, ok := l.styles[parent+">"+t.Data]
			if !ok {
				style = l.styles[t.Data]
			}
			if style != "" {
				t.Attr = append(t.Attr, xhtml.Attribute{Key: "style", Val: style})
			}
			b.WriteString(t.String())
			if t.Type == xhtml.StartTagToken && t.Data != "br" && t.Data != "hr" && t.Data != "img" {
				open = append(open, t.Data)
			}
		case xhtml.EndTagToken:
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
			b.Write(z.Raw())
		default:
			b.Write(z.Raw())
		}
		if b.Len() > maxPart {
			return "", errTooLong
		}
	}
}

// pageHTML is the whole part.
func pageHTML(title, body string, button *button, foot []footLine, language string) (string, error) {
	l, err := theLayout()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(l.pieces[0])
	b.WriteString(html.EscapeString(title))
	b.WriteString(l.pieces[1])
	b.WriteString(body)
	if button != nil {
		fmt.Fprintf(&b, "<p class=\"button\" style=\"%s\"><a href=\"%s\" style=\"%s\">%s</a></p>\n",
			html.EscapeString(l.button), html.EscapeString(button.url), html.EscapeString(l.link), html.EscapeString(button.text))
	}
	b.WriteString(l.pieces[2])
	for _, line := range foot {
		fmt.Fprintf(&b, "<p lang=\"%s\" style=\"%s\">%s", language, html.EscapeString(l.foot), html.EscapeString(line.text))
		if line.url != "" {
			fmt.Fprintf(&b, " <a href=\"%s\" style=\"%s\">%s</a>", html.EscapeString(line.url), html.EscapeString(l.small), html.EscapeString(line.link))
		}
		b.WriteString("</p>\n")
	}
	b.WriteString(l.pieces[3])
	return b.String(), nil
}
