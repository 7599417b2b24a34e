package email

import (
	"encoding/json"
	"html"
	"strings"
	"testing"
	"time"
	"unicode"

	xhtml "golang.org/x/net/html"

	"github.com/rowbell/rowbell/actions/email/mailtest"
	"github.com/rowbell/rowbell/pkg/template"
)

// both makes the parts of Markdown.
func both(t testing.TB, source string) (inHTML, inText string) {
	t.Helper()
	doc, err := parse(source)
	if err != nil {
		t.Fatal(err)
	}
	if inHTML, err = bodyHTML(source, doc); err != nil {
		t.Fatal(err)
	}
	if inText, err = bodyText(source, doc); err != nil {
		t.Fatal(err)
	}
	return inHTML, inText
}

// bare leaves styles out.
func bare(t testing.TB, s string) string {
	t.Helper()
	var b strings.Builder
	z := xhtml.NewTokenizer(strings.NewReader(s))
	for z.Next() != xhtml.ErrorToken {
		token := z.Token()
		for i, a := range token.Attr {
			if a.Key == "style" {
				token.Attr = append(token.Attr[:i:i], token.Attr[i+1:]...)
				break
			}
		}
		b.WriteString(token.String())
	}
	return strings.TrimSpace(b.String())
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ source, html, text string }{
		{"a *b* **c** `d`\ne", "<p>a <em>b</em> <strong>c</strong> <code>d</code><br>\ne</p>", "a b c d\ne"},
		{"# A\n\n## Bär\n\n### C", "<h1>A</h1>\n<h2>Bär</h2>\n<h3>C</h3>", "A\n===\n\nBär\n---\n\nC"},
		{"[x](https://a.example/?a=1&b=2)", `<p><a href="https://a.example/?a=1&amp;b=2">x</a></p>`, "x <https://a.example/?a=1&b=2>"},
		{"[https://a.example](https://a.example)", `<p><a href="https://a.example">https://a.example</a></p>`, "https://a.example"},
		{"<https://a.example> [me](mailto:a@b.example)", `<p><a href="https://a.example">https://a.example</a> <a href="mailto:a@b.example">me</a></p>`, "https://a.example me <mailto:a@b.example>"},
		{"[x][1]\n\n[1]: https://a.example", `<p><a href="https://a.example">x</a></p>`, "x <https://a.example>"},
		{"- a\n- b\n  1. c\n  2. d", "<ul>\n<li>a</li>\n<li>b\n<ol>\n<li>c</li>\n<li>d</li>\n</ol>\n</li>\n</ul>", "- a\n- b\n  1. c\n  2. d"},
		{"3. a\n\n4. b\n\n   c", "<ol start=\"3\">\n<li>\n<p>a</p>\n</li>\n<li>\n<p>b</p>\n<p>c</p>\n</li>\n</ol>", "3. a\n\n4. b\n\n   c"},
		{"> a\n>\n> b", "<blockquote>\n<p>a</p>\n<p>b</p>\n</blockquote>", "> a\n>\n> b"},
		{"|A|B|\n|:-|-:|\n|1|*2*|", "<table>\n<thead>\n<tr>\n<th align=\"left\">A</th>\n<th align=\"right\">B</th>\n</tr>\n</thead>\n<tbody>\n<tr>\n<td align=\"left\">1</td>\n<td align=\"right\"><em>2</em></td>\n</tr>\n</tbody>\n</table>", "A | B\n-----\n1 | 2"},
		{"```sql\nselect '<&>';\n```", "<pre><code>select &#39;&lt;&amp;&gt;&#39;;\n</code></pre>", "    select '<&>';"},
		{"a\n\n---\n\nb ~~c~~", "<p>a</p>\n<hr>\n<p>b <del>c</del></p>", "a\n\n- - - - - - - - - - - - - - - - - - - -\n\nb ~c~"},
		{"![a cat](https://a.example/cat.png)", `<p><img src="https://a.example/cat.png" alt="a cat"></p>`, "a cat"},
		{`\*a\* &amp; \&amp; &lt;b&gt; &#10;x`, "<p>*a* &amp; &amp;amp; &lt;b&gt; \nx</p>", "*a* & &amp; <b>\nx"},

		// Nothing of HTML is HTML, and nothing leads where it shouldn't.
		{"<b>x</b> <script>alert(1)</script>", "<p>&lt;b&gt;x&lt;/b&gt; &lt;script&gt;alert(1)&lt;/script&gt;</p>", "<b>x</b> <script>alert(1)</script>"},
		{"<div onclick=x>\ny\n</div>", "<p>&lt;div onclick=x&gt;<br>\ny<br>\n&lt;/div&gt;</p>", "<div onclick=x>\ny\n</div>"},
		{"[x](javascript:alert(1)) [y](/orders) [z](data:text/html,x) [u](//a.example) [v](vbscript:x)", "<p>x y z u v</p>", "x y z u v"},
		{"![x](http://a.example/x.png) ![y](data:image/png;base64,xx)", "", "x y"},
		{"[x](https://a.example \"onmouseover=alert(1)\")", `<p><a href="https://a.example">x</a></p>`, "x <https://a.example>"},
	} {
		inHTML, inText := both(t, c.source)
		if got := bare(t, inHTML); got != c.html && c.html != "" {
			t.Errorf("%q is\n%s\nwant\n%s", c.source, got, c.html)
		}
		if strings.Contains(inHTML, "data:") || strings.Contains(inHTML, "http://") {
			t.Errorf("%q is\n%s", c.source, inHTML)
		}
		if inText != c.text {
			t.Errorf("%q is\n%q\nwant\n%q", c.source, inText, c.text)
		}
	}
}

// Styles stand at their elements, and what depends on the reader's window in the head.
func TestLayout(t *testing.T) {
	t.Parallel()
	inHTML, _ := both(t, "# A\n\n`b` [c](https://c.example)\n\n```\nd\n```\n")
	for _, want := range []string{
		`<h1 style="margin:0 0 16px;font-size:24px;line-height:1.3">`, `<a href="https://c.example" style="color:#1d4ed8">`,
		`<pre style="margin:0 0 16px;`, `padding:0;background-color:transparent">d`, `background-color:#f3f4f6;font:14px Consolas, Menlo, monospace">b`,
	} {
		if !strings.Contains(inHTML, want) {
			t.Errorf("there is no %s in\n%s", want, inHTML)
		}
	}
	page, err := pageHTML("A <&> B", inHTML, &button{"Open >", "https://a.example/?b=1&c=2"}, []footLine{{text: "why <b>"}, {link: "Stop", url: "https://stop.example"}}, "de")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"<title>A &lt;&amp;&gt; B</title>", "@media (prefers-color-scheme: dark)", "@media (max-width: 480px)", `role="presentation"`,
		`<td class="body" dir="auto" style="padding:28px 32px`, `<a href="https://a.example/?b=1&amp;c=2" style="display:inline-block;`, ">Open &gt;</a>",
		`<p lang="de" style="margin:0 0 8px">why &lt;b&gt;</p>`, `<a href="https://stop.example" style="color:#4b5563">Stop</a>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("there is no %s in\n%s", want, page)
		}
	}
	if strings.Contains(page, "@body@") || strings.Contains(page, "pr-el-id") || strings.Count(page, "<style") != 1 {
		t.Errorf("the page is\n%s", page)
	}
}

// The worst sources that are known of: whatever stands in them, time and size are bounded.
func TestWorstSources(t *testing.T) {
	t.Parallel()
	for name, unit := range map[string]string{
		"quotes": ">", "quotes apart": "> ", "lists": "- ", "list": "- a\n", "brackets": "[", "links": "[a](b", "pictures": "![", "stars": "*a ",
		"strong": "**a*", "lines": "_", "ticks": "` `` ", "tildes": "~~a~ ", "entities": "&#1;", "tags": "<a b='", "breaks": "\n", "references": "[a]: b\n",
		"open references": "[a]: <\n\"", "headings": "a\n=\n", "white space": "          a\n", "tabs": "\t\t\t- a\n", "numbers": "1. ", "nested": "* a\n  * b\n    * c\n",
		"mixed": "> - > - a\n", "emphasis": "*a_b*c_ ", "targets": "[a](<b", "parentheses": "[a]((((((", "fences": "```\n", "cells": "||||||||||\n",
		"table": "|a|b|\n|-|-|\n", "rows": "",
	} {
		source := strings.Repeat(unit, maxBody/max(1, len(unit)))
		if name == "rows" {
			source = "|" + strings.Repeat("a|", maxColumns) + "\n|" + strings.Repeat("-|", maxColumns) + "\n"
			source += strings.Repeat("|\n", (maxBody-len(source))/2)
		}
		start := time.Now()
		size := 0
		doc, err := parse(source)
		if err == nil {
			var s string
			if s, err = bodyHTML(source, doc); err == nil {
				size = len(s)
				s, err = bodyText(source, doc)
				size = max(size, len(s))
			}
		}
		if took := time.Since(start); took > 10*time.Second { // a fiftieth of that where nothing else runs
			t.Errorf("%s take %s", name, took)
		}
		if size > maxPart || err == nil && size == 0 && !strings.Contains("breaks references", name) {
			t.Errorf("%s make %d bytes", name, size)
		}
		if err != nil && !strings.Contains(err.Error(), "; ") {
			t.Errorf("%s: %v, without a mend", name, err)
		}
	}
}

// hostile are values of rows that try to be more than text.
var hostile = []string{
	"**bold** _it_ `code` ~~x~~", "# heading", "- list\n- more", "> quote", "1. one", "[x](https://evil.example)", "![x](https://evil.example/x.png)",
	"<https://evil.example>", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</td></tr></table><h1>x", "&lt;script&gt;", "&#60;b&#62;",
	"[x]: https://evil.example", "[x][1]\n\n[1]: https://evil.example", "```\ncode\n```", "    indented", "\tindented", "a\n===", "a\n---", "|a|b|\n|-|-|\n|1|2|",
	"\\", "\\\\*x*", "{{ actor }} {% if %}", "x\r\n\r\n<b>y</b>", "a  \nb", "\u202eevil", "\u2028# x", "](https://evil.example) [", "\") onmouseover=\"alert(1)",
	"javascript:alert(1)", "@body@ @foot@ @title@", "\n\n-- \nfake foot", "\x00\x01\x1b[31m", "=?utf-8?q?=0D=0ABcc:_x@evil.example?=", "~~~\nx\n~~~", "***", "___", "a\\\nb",
	"x@evil.example", "www.evil.example", "https://evil.example/login",
}

// What a value holds is read as it stands there, and makes no element.
func TestHostileValues(t *testing.T) {
	t.Parallel()
	s := serve(t, mailtest.Config{})
	m := mailer(t, s.Addr, "smtp://HOST")
	r := runner(t, m, `{"subject": "S {{ new.v }} E", "body": "Start {{ new.v }} end.\n\n- item {{ new.v }}\n\n> quoted {{ new.v }}\n\n[link](https://a.example/{{ new.v | url_encode }})",
		"button": {"text": "B {{ new.v }}", "url": "https://a.example/{{ new.v | url_encode }}"}}`, Options{})
	allowed := map[string]int{"a": 2, "p": 8, "ul": 1, "li": 1, "blockquote": 1, "table": 2, "h1": 0, "script": 0, "img": 0, "strong": 0, "em": 0, "code": 0, "pre": 0, "del": 0, "ol": 0, "hr": 0}
	for _, v := range hostile {
		d := delivery(1)
		value, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		d.Event.Data = []byte(`{"new": {"v": ` + string(value) + `}, "old": null}`)
		_, read := sent(t, s, r, d)
		if want := oneLine("S " + v + " E"); read.Subject != want {
			t.Errorf("the subject with %q is %q", v, read.Subject)
		}
		for name := range read.Header {
			if !strings.Contains(" Date From To Subject Message-Id Auto-Submitted X-Rowbell-Delivery Mime-Version Content-Type ", " "+name+" ") {
				t.Errorf("%q brings the header %s", v, name)
			}
		}
		counts := map[string]int{}
		var texts strings.Builder
		z := xhtml.NewTokenizer(strings.NewReader(read.HTML))
		for z.Next() != xhtml.ErrorToken {
			token := z.Token()
			switch token.Type {
			case xhtml.StartTagToken, xhtml.SelfClosingTagToken:
				counts[token.Data]++
				for _, a := range token.Attr {
					if strings.HasPrefix(a.Key, "on") || (a.Key == "href" || a.Key == "src") && !strings.HasPrefix(a.Val, "https://a.example/") {
						t.Errorf("%q makes %s", v, token.String())
					}
				}
			case xhtml.TextToken:
				texts.WriteString(token.Data)
			}
		}
		for tag, most := range allowed {
			if counts[tag] > most {
				t.Errorf("%q makes %d elements %s in\n%s", v, counts[tag], tag, read.HTML)
			}
		}
		// Without white space, and what marks lists and quotations in plain text. (And
		// without \\: where a value has one before a line break, goldmark shows another.)
		flat := func(s string) string {
			return strings.Map(func(c rune) rune {
				if unicode.IsSpace(c) || c == '>' || c == '-' || c == '\\' {
					return -1
				}
				return c
			}, s)
		}
		for part, text := range map[string]string{"text": read.Text, "HTML": texts.String()} {
			if strings.Count(flat(text), flat(clean(v))) < 3 {
				t.Errorf("%q is not three times in the %s\n%s", v, part, text)
			}
		}
	}
}

func TestTooMuch(t *testing.T) {
	t.Parallel()
	s := serve(t, mailtest.Config{})
	m := mailer(t, s.Addr, "smtp://HOST")
	for body, want := range map[string]string{
		"{{ new.none }}": "body: the template gives nothing for this event",

		strings.Repeat("a", maxBody+1):                                         "body: it has more than 32768 bytes",
		strings.Repeat("> ", 40) + "x":                                         "body: lists or quotations are more than 30 deep",
		"|" + strings.Repeat("a|", 30) + "\n" + strings.Repeat("|-", 30) + "|": "body: a table has more than 20 columns",
	} {
		config, err := json.Marshal(map[string]string{"subject": "a", "body": body})
		if err != nil {
			t.Fatal(err)
		}
		_, err = runner(t, m, string(config), Options{}).Run(t.Context(), delivery(1))
		if e := how(t, err); !e.Permanent || !strings.Contains(e.Error(), want) {
			t.Errorf("%.40q gives %v", body, err)
		}
	}
	if n := len(s.Mails()); n != 0 {
		t.Errorf("%d mails arrived", n)
	}
}

// What escapes for Markdown and what reads it agree, whatever the value.
func FuzzValue(f *testing.F) {
	for _, v := range hostile {
		f.Add(v)
	}
	tpl, err := template.Text{"": "Start {{ v }} end."}.Compile(template.Options{Channel: template.Markdown})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, v string) {
		source, err := tpl.RenderFor(map[string]any{"v": v}, template.Reader{})
		if err != nil || len(source) > maxBody {
			return
		}
		doc, err := parse(clean(source))
		if err != nil {
			t.Fatalf("%q: %v", v, err)
		}
		inHTML, err := bodyHTML(clean(source), doc)
		if err != nil {
			t.Fatalf("%q: %v", v, err)
		}
		plain := strings.NewReplacer("<p>", "", "</p>", "", "<br>", "", `\`, "").Replace(bare(t, inHTML))
		if strings.Contains(plain, "<") {
			t.Fatalf("%q makes %s", v, inHTML)
		}
		got := strings.Join(strings.Fields(html.UnescapeString(plain)), " ")
		if want := strings.Join(strings.Fields("Start "+strings.ReplaceAll(clean(v), `\`, "")+" end."), " "); got != want {
			t.Fatalf("%q is read as %q", v, got)
		}
	})
}
