package template_test

import (
	"bytes"
	"html"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"

	"github.com/rowbell/rowbell/pkg/template"
)

// What a value holds is text to a Markdown renderer, wherever it stands: it adds no markup,
// and none of it is lost.
func TestMarkdownValues(t *testing.T) {
	t.Parallel()
	parts := []string{
		"*", "_", "`", "[", "]", "(", ")", "<", ">", "!", "#", "-", "+", "=", "|", "~", "\n", "\n\n", " ", "    ", "\t", "1.", "1)", "a",
		"http://x.y", "www.x.yz", "a@b.cd", "&amp;", "&", "\\", "{", "}", ":", "'", `"`, "\r\n", "\r", "---", "===", "```", "~~~", "- ", "* ",
		"<b>", "<!--", "$", "^", "ä", "\u2028", "[x]: y", ":-:|", "[^1]", "https://x.yz/?a=b",
	}
	frames := make(map[string]*template.Template)
	for _, frame := range []string{"A {{ v }} B", "{{ v }}", "A\n{{ v }}\nB", "- {{ v }}", "> {{ v }}", "**{{ v }}**", "[{{ v }}](https://example.com/{{ v | url_encode }})"} {
		tpl, err := template.CompileFor(frame, template.Options{Channel: template.Markdown})
		if err != nil {
			t.Fatal(err)
		}
		frames[frame] = tpl
	}
	renderer := goldmark.New(goldmark.WithExtensions(extension.GFM, extension.Footnote, extension.DefinitionList))
	tags := regexp.MustCompile(`<[^>]*>`)
	ours := regexp.MustCompile(`^</?(p|br|ul|li|blockquote|strong)>$|^<a href="https://example\.com/[^"]*">$|^</a>$`)
	spaces := regexp.MustCompile(`\s+`)
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		value := ""
		for range 1 + random.IntN(8) {
			value += parts[random.IntN(len(parts))]
		}
		for frame, tpl := range frames {
			source, err := tpl.Render(map[string]any{"v": value})
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := renderer.Convert([]byte(source), &out); err != nil {
				t.Fatal(err)
			}
			for _, tag := range tags.FindAllString(out.String(), -1) {
				if !ours.MatchString(tag) || strings.HasPrefix(tag, "<a") && frame[0] != '[' || strings.HasPrefix(tag, "<strong") && frame[0] != '*' {
					t.Errorf("%q in %q adds %s: %q gives %q", value, frame, tag, source, out.String())
				}
			}
			if frame[0] == '[' || frame[0] == '*' {
				continue // which a value that ends with a space may keep from being a link, or bold
			}
			want := strings.ReplaceAll(frame, "{{ v }}", value)
			if frame[0] == '-' || frame[0] == '>' {
				want = want[2:]
			}
			got := html.UnescapeString(tags.ReplaceAllString(out.String(), " "))
			if spaces.ReplaceAllString(got, "") != spaces.ReplaceAllString(want, "") {
				t.Errorf("%q in %q: %q gives %q", value, frame, source, out.String())
			}
		}
	}
}
