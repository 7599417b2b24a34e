package template_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/osteele/liquid"

	"github.com/rowbell/rowbell/pkg/template"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func renderFor(t testing.TB, source string, o template.Options, vars map[string]any, who template.Reader) string {
	t.Helper()
	tpl, err := template.CompileFor(source, o)
	if err != nil {
		t.Fatalf("%.200q: %v", source, err)
	}
	got, err := tpl.RenderFor(vars, who)
	if err != nil {
		t.Fatalf("%.200q: %v", source, err)
	}
	return got
}

func TestChannels(t *testing.T) {
	t.Parallel()
	vars := map[string]any{"v": `<b>"x" & 'y'</b>`, "m": "*a*\n\n    code\n# [l](http://x)\n", "n": json.Number("-1.5"), "o": map[string]any{"k": "<"}, "l": []any{"<", ">"}, "none": nil}
	for _, c := range []struct {
		channel      template.Channel
		source, want string
	}{
		{template.Plain, "{{ v }}{{ v | raw }}{{ v | escape }}", strings.Repeat(`<b>"x" & 'y'</b>`, 3)},
		{template.HTML, "<p>{{ v }}</p>", `<p>&lt;b&gt;&#34;x&#34; &amp; &#39;y&#39;&lt;/b&gt;</p>`},
		{template.HTML, "{{ v | raw }} {{ 'a<b' | escape }} {{ 'a<b' | escape | upcase }} {{ 'a<b' | raw | append: '' }}", `<b>"x" & 'y'</b> a&lt;b A&amp;LT;B a&lt;b`},
		{template.HTML, "{{ o }}{{ l }}{{ l | json }}{{ none }}{{ n }}", `{&#34;k&#34;:&#34;&lt;&#34;}&lt;&gt;[&#34;&lt;&#34;,&#34;&gt;&#34;]-1.5`},
		{template.HTML, "{{ 'a<\nb\r\nc' | newline_to_br }}", "a&lt;<br>\nb<br>\nc"},
		// What a capture holds is of the channel already.
		{template.HTML, "{% capture c %}<i>{{ l[0] }}</i>{% endcapture %}{{ c }}{% assign d = c %}{{ d }}{{ c | default: 'x' }}{% if c == '<i>&lt;</i>' %}!{% endif %}{{ c.size }}", "<i>&lt;</i><i>&lt;</i><i>&lt;</i>!11"},
		{template.Chat, "*{{ v }}* {{ '<!channel>' }}", `*&lt;b&gt;"x" &amp; 'y'&lt;/b&gt;* &lt;!channel&gt;`},
		{template.Markdown, "**{{ n }}** {{ 'a_b*c' }}", `**\-1\.5** a\_b\*c`},
		{template.Markdown, "{{ m }}|", "\\*a\\*  \n&#10;&#32;&#32;&#32;&#32;code  \n\\# \\[l\\]\\(http\\:\\/\\/x\\)&#10;|"},
		{template.Markdown, "{{ '    x' }} {{ 'ü 漢' }}", "&#32;&#32;&#32;&#32;x ü 漢"},
	} {
		if got := renderFor(t, c.source, template.Options{Channel: c.channel}, vars, template.Reader{}); got != c.want {
			t.Errorf("%s: %s\ngives %q\nwant  %q", c.channel, c.source, got, c.want)
		}
	}
}

var shared = map[string]map[string]string{
	"footer": {"": "-- {{ workflow.name }}{% if note %} ({{ note }}){% endif %}", "de": "-- {{ workflow.name | upcase }}{{ x }}"},
	"row":    {"": "{{ key }}={{ value }};"},
	"static": {"": "<hr>"},
	"outer":  {"": "[{% render 'row', key: 'a', value: new.a %}{% assign x = 1 %}]"},
	"a":      {"": "{% render 'b' %}"},
	"b":      {"": "\n{% render 'a' %}"},
	"bad":    {"": "ok", "de": "a\n{{ x | nope }}"},
	"fails":  {"": "\n{{ 1 | divided_by: 0 }}"},
	"deep1":  {"": "{% render 'deep2' %}"}, "deep2": {"": "{% render 'deep3' %}"}, "deep3": {"": "{% render 'deep4' %}"}, "deep4": {"": "{% render 'deep5' %}"},
	"deep5": {"": "{% render 'deep6' %}"}, "deep6": {"": "{% render 'deep7' %}"}, "deep7": {"": "{% render 'deep8' %}"}, "deep8": {"": "{% render 'deep9' %}"}, "deep9": {"": "x"},
	"big1": {"": strings.Repeat("x", template.MaxSource)}, "big2": {"": strings.Repeat("x", template.MaxSource)}, "big3": {"": strings.Repeat("x", template.MaxSource)}, "big4": {"": strings.Repeat("x", template.MaxSource)},
}

func TestPartials(t *testing.T) {
	t.Parallel()
	o := template.Options{Partials: workflow.NewLibrary(shared), Channel: template.HTML}
	vars := map[string]any{"workflow": map[string]any{"name": "Big & old"}, "new": map[string]any{"a": "<"}}
	for source, want := range map[string]string{
		"{% render 'footer' %}":                                                                   "-- Big &amp; old",
		"{% assign note = 'hidden' %}{% render 'footer' %}":                                       "-- Big &amp; old",
		"{% render 'footer', note: 'a' | append: '' %}":                                           "",
		"{% render 'footer', note: new.a, other: 1 %}{{ note }}":                                  "-- Big &amp; old (&lt;)",
		"{% render 'outer' %}{{ x }}{% render 'static' %}":                                        "[a=&lt;;]<hr>",
		"{% for p in new %}{% render 'row', key: p[0], value: p[1] %}{% endfor %}":                "a=&lt;;",
		"{% capture c %}{% render 'static' %}{% endcapture %}{{ c }}{% render 'static' -%}  \n x": "<hr><hr>x",
		"{% capture c %}<i>{% endcapture %}{% render 'row', key: c, value: 1 %}":                  "<i>=1;",
	} {
		tpl, err := template.CompileFor(source, o)
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), `"|" stands where`) {
				t.Errorf("%s: %v", source, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got, err := tpl.Render(vars); got != want || err != nil {
			t.Errorf("%s\ngives %q, %v\nwant  %q", source, got, err, want)
		}
	}
	for source, want := range map[string]string{
		"\n{% render 'foter' %}":                  `line 2: there is no template "foter"; did you mean "footer"?`,
		"{% render 'nothing like it' %}":          `there is no template "nothing like it"; store it first`,
		"{% render name %}":                       `"name" stands where the name of a template in quotes`,
		"{% render 'footer' with new %}":          `line 1: the tag render does not know the word "with"; it takes arguments`,
		"{% render 'footer', note %}":             `"%}" stands where : (as in note: 10) is expected`,
		"{% render 'footer', note: 1, note: 2 %}": `the argument "note" is there twice`,
		"{% render 'footer', nil: 1 %}":           `"nil" can't be set`,
		"{% render 'a' %}":                        `line 1: template "a", line 1: template "b", line 2: the template "a" renders itself: a → b → a`,
		"x{% render 'bad' %}":                     `line 1: template "bad" (de), line 2: the filter "nope" is unknown`,
		"{% render 'deep1' %}":                    "templates render each other more than 8 deep: deep1 → deep2",
		"{% render 'big1' %}{% render 'big2' %}{% render 'big3' %}{% render 'big4' %}": "have more than 262144 bytes together",
	} {
		if _, err := template.CompileFor(source, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngives %v\nwant  %s", source, err, want)
		}
	}
	tpl, err := template.CompileFor("a\n{% render 'fails' %}", o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tpl.Render(nil); err == nil || !strings.Contains(err.Error(), `line 2: template "fails", line 2: divided_by: division by zero`) {
		t.Errorf("it fails with %v", err)
	}
}

func TestLoops(t *testing.T) {
	t.Parallel()
	many := make([]any, 250)
	for i := range many {
		many[i] = i
	}
	vars := map[string]any{"l": []any{"a", "b", "c"}, "none": []any{}, "o": map[string]any{"y": 2, "x": 1}, "many": many, "text": "abc", "n": json.Number("2")}
	for source, want := range map[string]string{
		"{% for x in l %}{{ forloop.index }}{{ x }}{% unless forloop.last %},{% endunless %}{% endfor %}":                                                                           "1a,2b,3c",
		"{% for x in l reversed limit: n offset: 1 %}{{ x }}{{ forloop.rindex }}{{ forloop.rindex0 }}{{ forloop.index0 }}{{ forloop.length }} {% endfor %}":                         "c2102 b1012 ",
		"{% for x in l limit: 1, offset: 0 %}{{ forloop.first }}{% endfor %}":                                                                                                       "true",
		"{% for x in none %}x{% else %}none{% endfor %}{% for x in missing %}x{% else %}none{% endfor %}{% for x in text %}x{% endfor %}":                                           "nonenone",
		"{% for p in o %}{{ p[0] }}:{{ p[1] }} {% endfor %}":                                                                                                                        "x:1 y:2 ",
		"{% assign x = 'kept' %}{% for x in l %}{% assign last = x %}{% for x in l %}{{ forloop.index }}{% endfor %}{{ forloop.index }} {% endfor %}{{ x }}{{ last }}{{ forloop }}": "1231 1232 1233 keptc",
		"{% for x in many %}{% assign n = forloop.length %}{% endfor %}{{ n }}":                                                                                                     "100",
		"{% for x in many offset: 249 %}{{ x }}{% endfor %}{% for x in many offset: 300 %}x{% endfor %}{% for x in many limit: -1 %}x{% endfor %}":                                  "249",
		"{% for x in l | sort | reverse %}{{ x }}{% endfor %}":                                                                                                                      "cba",
	} {
		if got := renderFor(t, source, template.Options{}, vars, template.Reader{}); got != want {
			t.Errorf("%s\ngives %q\nwant  %q", source, got, want)
		}
	}
	engine := liquid.NewEngine()
	for _, source := range []string{
		"{% for x in l %}{{ x }}{% if forloop.first %}<{% endif %}{{ forloop.index }}/{{ forloop.length }} {% endfor %}",
		"{% for x in l limit: 2 offset: 1 %}{{ x }}{% endfor %}{% for x in l reversed %}{{ x }}{% endfor %}{% for x in none %}{% else %}e{% endfor %}",
	} {
		want, err := engine.ParseAndRenderString(source, vars)
		if err != nil {
			t.Fatal(err)
		}
		if got := renderFor(t, source, template.Options{}, vars, template.Reader{}); got != want {
			t.Errorf("%s\ngives %q\nthere %q", source, got, want)
		}
	}
	for source, want := range map[string]string{
		"{% for x l %}{% endfor %}":                        `"l" stands where in (as in {% for column in changed %}) is expected`,
		"{% for x in l sorted %}{% endfor %}":              `the tag for does not know the word "sorted"; it takes limit: 10, offset: 10 and reversed`,
		"{% for x in l limit 3 %}{% endfor %}":             `"3" stands where : (as in limit: 10) is expected`,
		"{% for x in (1..3) %}{% endfor %}":                "ranges (1..3) are not allowed; a loop goes over the elements of an array",
		"{% for x in l %}{% else %}{% else %}{% endfor %}": `"else" can't follow else`,
		"{% for x in l %}{% break %}{% endfor %}":          `the tag "break" is not allowed: a loop runs to its end`,
		"{% for x in l %}":                                 `the tag "for" is not closed`,
	} {
		if _, err := template.Compile(source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngives %v\nwant  %s", source, err, want)
		}
	}
}

func TestTranslations(t *testing.T) {
	t.Parallel()
	var text template.Text
	if err := json.Unmarshal([]byte(`{"en": "Paid {{ n | number }}{% render 'footer' %}", "de": "Bezahlt {{ n | number }}{% render 'footer' %}", "pt-BR": "Pago"}`), &text); err != nil {
		t.Fatal(err)
	}
	vars := map[string]any{"n": 1234.5, "workflow": map[string]any{"name": "w"}}
	for _, c := range []struct{ reader, workflow, want string }{
		{"de-AT", "", "Bezahlt 1\u00a0234,5-- W"},
		{"de_CH.UTF-8", "", "Bezahlt 1’234.5-- W"},
		{"DE", "en", "Bezahlt 1.234,5-- W"},
		{"pt-BR", "", "Pago"},
		{"pt-PT", "en", "Paid 1,234.5-- w"},
		{"fr", "de-AT", "Bezahlt 1.234,5-- W"}, // numbers as the text's language has them
		{"", "de-AT", "Bezahlt 1\u00a0234,5-- W"},
		{"", "", "Paid 1,234.5-- w"},
		{"fr", "", "Paid 1,234.5-- w"},
		{"en-GB", "", "Paid 1,234.5-- w"},
	} {
		tpl, err := text.Compile(template.Options{Partials: workflow.NewLibrary(shared), Locale: c.workflow})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tpl.RenderFor(vars, template.Reader{Locale: c.reader}); err != nil || got != c.want {
			t.Errorf("%q, workflow %q: %q, %v; want %q", c.reader, c.workflow, got, err, c.want)
		}
	}
	back, err := json.Marshal(template.Text{"": "one"})
	if err != nil || string(back) != `"one"` {
		t.Errorf("%s, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"de": 3}`), &text); err == nil || !strings.Contains(err.Error(), "neither a text nor translations") {
		t.Errorf("a number as a translation: %v", err)
	}
	if _, err := (template.Text{"de": "{{ a", "en": "{% x %}", "fr": "y"}).Compile(template.Options{}); err == nil || !strings.Contains(err.Error(), "translation de: line 1: }} is missing") || !strings.Contains(err.Error(), "translation en: line 1: the tag") {
		t.Errorf("two broken translations: %v", err)
	}
	if _, err := template.CompileFor("x", template.Options{Zone: "Nowhere"}); err == nil || !strings.Contains(err.Error(), `"Nowhere" is no time zone`) {
		t.Errorf("a wrong zone: %v", err)
	}
	if !(template.Text{"de": " ", "en": ""}).Blank() || (template.Text{"": "x"}).Blank() || !template.Text(nil).Blank() {
		t.Error("Blank")
	}
}

// Amounts, numbers and dates as readers write them.
func TestLocales(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]any{"t": "2026-11-05T23:07:03.5Z", "d": "2026-03-01", "n": json.Number("1234567.5"), "neg": json.Number("-1234.565"), "code": "XQZ", "none": nil, "text": "abc", "huge": json.Number(strings.Repeat("9", 30) + ".125")}
	s := strings.NewReplacer("_", "\u00a0") // a space that lines don't break at
	for _, c := range []struct{ locale, source, want string }{
		{"de", "{{ n | money: 'EUR' }} {{ neg | money: 'eur' }} {{ n | money: 'JPY' }} {{ 0 | money: 'BHD' }} {{ huge | money: 'EUR' }}", "1.234.567,50_€ -1.234,57_€ 1.234.568_¥ 0,000_BHD 999.999.999.999.999.999.999.999.999.999,13_€"},
		{"en-US", "{{ n | money: 'EUR' }} {{ neg | money: 'USD' }} {{ 1 | money: 'SLE' }} {{ '19.9' | money: 'CHF' }}", "€1,234,567.50 -$1,234.57 SLE_1.00 CHF_19.90"},
		{"", "{{ n | money: 'EUR' }} {{ 0.005 | money: 'EUR' }}{{ none | money: 'EUR' }}{{ text | money: 'EUR' }}", "€1,234,567.50 €0.01abc"},
		{"fr", "{{ n | money: 'EUR' }}", "1_234_567,50_€"},
		{"nl", "{{ neg | money: 'EUR' }}", "€_-1.234,57"},
		{"de-AT", "{{ n | money: 'EUR' }} {{ n | number }}", "€_1.234.567,50 1_234_567,5"},
		{"de-CH", "{{ n | money: 'CHF' }}", "CHF_1’234’567.50"},
		{"sv", "{{ neg | money: 'SEK' }}", "−1_234,57_kr"},
		{"pl", "{{ n | money: 'PLN' }}", "1_234_567,50_zł"},
		{"pt-BR", "{{ n | money: 'BRL' }}", "R$_1.234.567,50"},
		{"pt-PT", "{{ n | money: 'EUR' }}", "1_234_567,50_€"},
		{"ja", "{{ n | money: 'JPY' }}", "￥1,234,568"},
		{"en-IN", "{{ n | money: 'INR' }}", "₹12,34,567.50"},
		{"ar", "{{ 1234.5 | number }}", "١٬٢٣٤٫٥"},
		{"de", "{{ 1 | money: code }} {{ 1 | money: none }}", "1_XQZ 1"},
		{"de", "{{ n | number }} {{ n | number: 0 }} {{ 5 | number: 2 }} {{ text | number }}{{ none | number }} {{ n | number: 99 | size }}", "1.234.567,5 1.234.568 5,00 abc 40"},
		{"de", "{{ 0.19 | percent }} {{ 0.1950 | percent }} {{ 0.195 | percent: 0 }} {{ 2 | percent: 1 }} {{ -0.5 | percent }}", "19_% 19,5_% 20_% 200,0_% -50_%"},
		{"tr", "{{ 0.5 | percent }}", "%50"},
		{"en-US", "{{ t | date: 'short' }} | {{ t | date: 'medium' }} | {{ t | date: 'long time' }} | {{ t | date: 'full' }} | {{ t | date: 'time' }}", "11/6/26 | Nov 6, 2026 | November 6, 2026, 12:07 am | Friday, November 6, 2026 | 12:07 am"},
		{"en-AU", "{{ t | date: 'short' }} | {{ t | date: 'long time' }}", "06/11/2026 | 6 November 2026, 00:07"},
		{"de", "{{ t | date: 'short' }} | {{ t | date: 'medium time' }} | {{ t | date: 'long' }} | {{ d | date: 'full' }} | {{ d | date: '%a %-d. %B %b' }}", "06.11.26 | 06.11.2026, 00:07 | 6. November 2026 | Sonntag, 1. März 2026 | So. 1. März März"},
		{"de-AT", "{{ '2026-01-07' | date: 'long' }}", "7. Jänner 2026"},
		{"fr", "{{ d | date: 'full' }}", "dimanche 1 mars 2026"},
		{"es", "{{ d | date: 'long' }}", "1 de marzo de 2026"},
		{"it", "{{ d | date: 'full' }}", "domenica 1 marzo 2026"},
		{"nl", "{{ d | date: 'medium' }}", "1 mrt. 2026"},
		{"pt", "{{ d | date: 'long' }}", "1 de março de 2026"},
		{"pl", "{{ d | date: 'full' }}", "niedziela, 1 marca 2026"},
		{"sv", "{{ d | date: 'short' }} {{ d | date: 'full' }}", "2026-03-01 söndag 1 mars 2026"},
		{"da", "{{ d | date: 'full' }} {{ t | date: 'time' }}", "søndag den 1. marts 2026 00.07"},
		{"ja", "{{ t | date: 'full time' }}", "2026年11月6日金曜日 0:07"},
		{"fi", "{{ t | date: 'long time' }}", "2026-11-06 00:07"}, // not known: what nobody misreads
		{"de", "{{ t | date: 'time', 'Asia/Tokyo' }} {{ t | date: '%H:%M %z', 'UTC' }} {{ '2026-11-05T23:07:03' | date: 'time' }} {{ text | date: 'long' }}", "08:07 23:07 +0000 23:07 abc"},
		{"de", "{{ '2026-03-29T00:59:59Z' | date: 'time' }} {{ '2026-03-29T01:00:00Z' | date: 'time' }}", "01:59 03:00"}, // daylight saving
	} {
		if got := renderFor(t, c.source, template.Options{}, vars, template.Reader{Locale: c.locale, Zone: berlin}); got != s.Replace(c.want) {
			t.Errorf("%q: %s\ngives %q\nwant  %q", c.locale, c.source, got, s.Replace(c.want))
		}
	}
	for source, want := range map[string]string{
		"\n{{ n | money: 'EURO' }}":               `line 2: money: "EURO" is no currency; write its code of ISO 4217, as 'EUR' or 'USD'`,
		"{{ n | money: 978 }}":                    `"978" is no currency`,
		"{{ t | date: 'shrt' }}":                  `date: there is no format "shrt"; there are short, medium, long, full and time`,
		"{{ t | date: '%d', 'Europe/Berln' }}":    `date: "Europe/Berln" is no time zone`,
		"{{ t | date: '%d', 'Local' }}":           `"Local" is no time zone`,
		"{{ t | date: '%d', '../../etc/hosts' }}": `is no time zone`,
	} {
		if _, err := template.Compile(source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngives %v\nwant  %s", source, err, want)
		}
	}
	tpl, err := template.Compile("{{ t | date: '%d', text }}")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tpl.Render(vars); err == nil || !strings.Contains(err.Error(), `line 1: date: "abc" is no time zone`) {
		t.Errorf("a row's zone: %v", err)
	}
	who := template.ReaderOf(&workflow.Person{Locale: "de", Zone: "Europe/Berlin"})
	if who.Locale != "de" || who.Zone.String() != "Europe/Berlin" || template.ReaderOf(&workflow.Person{Zone: "x"}).Zone != nil || template.ReaderOf(nil) != (template.Reader{}) {
		t.Errorf("ReaderOf: %+v", who)
	}
}

// Every locale writes every day and each hour of it without leaving letters of a pattern.
func TestCalendars(t *testing.T) {
	t.Parallel()
	for _, locale := range []string{"cs", "da", "de", "de-AT", "en", "en-GB", "es", "fr", "fr-CA", "hu", "it", "ja", "nb", "nl", "pl", "pt", "pt-PT", "ro", "sk", "sv", "tr", "uk", "zh"} {
		seen := make(map[string]bool)
		for day := range 365 {
			vars := map[string]any{"t": time.Date(2026, 1, 1+day, day%24, 5, 0, 0, time.UTC)}
			got := renderFor(t, "{{ t | date: 'full' }}|{{ t | date: 'long' }}|{{ t | date: 'medium' }}|{{ t | date: 'short' }}|{{ t | date: 'time' }}|", template.Options{}, vars, template.Reader{Locale: locale})
			if strings.Contains(got, "cccc") || strings.Contains(got, "MMM") || strings.Contains(got, " |") || strings.Contains(got, "||") || !strings.Contains(got, "05") {
				t.Fatalf("%s: %s", locale, got)
			}
			for part := range strings.SplitSeq(got[:strings.LastIndexByte(got[:len(got)-1], '|')], "|") {
				seen[part] = true
			}
		}
		if len(seen) < 2*365 {
			t.Errorf("%s: %d texts for 365 days", locale, len(seen))
		}
	}
}

func TestUses(t *testing.T) {
	t.Parallel()
	tpl, err := template.Text{
		"":   "a\n{{ new.a }}{% render 'outer' %}",
		"de": "{% for c in changed %}{{ new[c] }}{{ c }}{{ forloop.index }}{{ old.z }}{% endfor %}{% render 'footer', workflow: new.b %}",
	}.Compile(template.Options{Partials: workflow.NewLibrary(shared)})
	if err != nil {
		t.Fatal(err)
	}
	want := []template.Use{
		{Variable: "new.a", Where: "line 2"},
		{Variable: "changed", Where: "translation de, line 1"},
		{Variable: "new", Where: "translation de, line 1"},
		{Variable: "old.z", Where: "translation de, line 1"},
		{Variable: "new.b", Where: "translation de, line 1"},
	}
	if got := tpl.Uses(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// What many texts of a workflow render is compiled once, whatever it holds: a document of a
// megabyte has room for thousands of texts.
func TestLibraryIsShared(t *testing.T) {
	t.Parallel()
	sources := map[string]map[string]string{"bad": {"": strings.Repeat("{{ a }}", 9000) + "{% nope %}"}}
	for _, name := range []string{"a", "b", "c"} {
		sources[name] = map[string]string{"": strings.Repeat("{{ new.a }}", 5000)}
	}
	library := workflow.NewLibrary(sources)
	begun := time.Now()
	for range 5000 {
		tpl, err := template.CompileFor("{% render 'a' %}{% render 'b' %}{% render 'c' %}", template.Options{Partials: library})
		if err != nil {
			t.Fatal(err)
		}
		if got := tpl.Variables(); len(got) != 1 || got[0] != "new.a" {
			t.Fatalf("it reads %q", got)
		}
		if _, err := template.CompileFor("{% render 'bad' %}", template.Options{Partials: library}); err == nil || !strings.Contains(err.Error(), `template "bad", line 1: the tag "nope" is unknown`) {
			t.Fatal(err)
		}
	}
	if took := time.Since(begun); took > 10*time.Second { // each by itself it would be minutes
		t.Errorf("10,000 texts took %s", took)
	}
}
