package template_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/osteele/liquid"
	"go.uber.org/goleak"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/template"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func variables(t testing.TB) map[string]any {
	t.Helper()
	e := &workflow.Event{
		ID: "01J0", Table: "orders", Op: change.Update, TenantID: "acme", CommittedAt: time.Date(2026, 11, 5, 9, 7, 3, 45e6, time.UTC),
		Data: []byte(`{"new": {"id": 7, "total": 19.90, "count": 3, "zero": 0, "huge": 123456789012345678901234567890.5, "half": -2.5,
			"name": "ann lee", "note": null, "blank": " ", "paid": true, "off": false, "day": "2026-01-02", "local": "2026-01-02T03:04:05.678",
			"tags": ["b", "a", "b", null], "sizes": [10, 9.5, 2], "none": [], "odd name": "x", "größe": "L", "deep": {"a": {"b": [1, [2, 3], {"c": "<d>"}]}}},
			"old": {"total": 5}, "changed": ["total", "name"], "unavailable": [], "actor": {"id": "ada", "roles": ["clerk"]}}`),
	}
	vars, err := template.EventVariables(e)
	if err != nil {
		t.Fatal(err)
	}
	return vars
}

func render(t testing.TB, source string, vars map[string]any) (string, error) {
	t.Helper()
	tpl, err := template.Compile(source)
	if err != nil {
		t.Fatalf("Compile(%.200q): %v", source, err)
	}
	return tpl.Render(vars)
}

func TestRender(t *testing.T) {
	t.Parallel()
	vars := variables(t)
	for _, c := range []struct{ source, want string }{
		{"", ""},
		{"no tags, { } % }} %}", "no tags, { } % }} %}"},
		{"{", "{"},
		{"a{ {b", "a{ {b"},
		{"Order {{ new.id }}: {{new.total}} EUR", "Order 7: 19.90 EUR"},
		{"{{ old.total }} to {{ new.total }}", "5 to 19.90"},
		{"[{{ new.note }}{{ new.nope }}{{ nope.a.b[3] }}{{ new.id.x }}{{ old.name }}{{ nil }}]", "[]"},
		{"{{ new.huge }}", "123456789012345678901234567890.5"},
		{
			"{{ actor.id }} {{ actor.roles | join }} {{ event.table }}.{{ event.operation }} {{ event.id }} {{ event.tenant_id }} {{ event.committed_at }}",
			"ada clerk orders.update 01J0 acme 2026-11-05T09:07:03.045Z",
		},
		{`{{ new["odd name"] }}{{ new.größe }}{{ new[ changed[0] ] }}`, "xL19.90"},
		{"{{ changed | join: ', ' }} {{ changed.size }} {{ changed.first }} {{ changed.last }} {{ changed[-1] }}[{{ changed[5] }}]", "total, name 2 total name name[]"},
		{"{{ new.paid }} {{ new.off }} {{ new.tags }} {{ new.deep }}", `true false bab {"a":{"b":[1,[2,3],{"c":"<d>"}]}}`},
		{"{{ 'a}}b' }}{{ \"c%}d\" }}", "a}}bc%}d"},
		{"a {{- ' b ' -}} c", "a b c"},
		{"a\n {%- if true -%} b {%- endif -%} c", "abc"},
		{"{{-5}}|{{ -5 }}|{{ new.id-}} x", "5|-5|7x"},
		{"{{\n new.id\n|\nplus:\n1 }}", "8"},

		// Conditions.
		{"{% if new.total > 10 %}big{% else %}small{% endif %}", "big"},
		{"{% if new.total == 19.9 %}same{% endif %}{% if new.total != 19.90 %}other{% endif %}", "same"},
		{"{% if new.huge > 123456789012345678901234567890.4 %}exact{% endif %}", "exact"},
		{"{% if 100 < new.total %}wrong{% elsif new.total >= 19.90 and new.total <= 19.90 %}right{% endif %}", "right"},
		{"{% if new.total > old.total %}up{% endif %}", "up"},
		{"{% if new.note %}x{% endif %}{% if new.zero %}0 is true{% endif %}{% if new.off %}x{% endif %}", "0 is true"},
		{"{% if new.note == nil and new.note == blank and new.blank == blank and new.none == empty and new.blank != empty %}y{% endif %}", "y"},
		{"{% if new.note > 1 or new.note < 1 or new.name > 1 %}x{% endif %}", ""},
		{"{% if new.name contains 'lee' and changed contains 'total' and new.deep contains 'a' %}y{% endif %}{% if changed contains 'x' %}x{% endif %}", "y"},
		{"{% if new.total contains 9 %}y{% endif %}", "y"},
		{"{% if new.id == '7' %}x{% endif %}{% if new.tags == new.tags and new.deep == new.deep and new.tags != changed %}y{% endif %}", "y"},
		{"{% if true or false and false %}right to left{% endif %}", "right to left"},
		{"{% if (true or false) and false %}x{% else %}y{% endif %}", "y"},
		{"{% if true or new.count | divided_by: 0 > 1 %}not looked at{% endif %}", "not looked at"},
		{"{% if new.name | size > 5 %}long{% endif %}", "long"},
		{"{% unless new.paid %}due{% else %}paid{% endunless %}{% unless false %}!{% endunless %}", "paid!"},
		{"{% unless true %}a{% elsif true %}b{% endunless %}", "b"},
		{"{% case new.count %} x {% when 1, 2 %}few{% when 3.0 or 4 %}some{% else %}many{% endcase %}", "some"},
		{"{% case new.name %}{% when 'bob' %}b{% else %}e{% endcase %}{% case 1 %}{% endcase %}", "e"},
		{"{% assign t = new.total | times: 2 %}{{ t }}{% assign new = 'n' %}{{ new }}", "39.80n"},
		{"{% capture c %}<{{ new.id }}>{% endcapture %}{{ c }}{{ c | size }}", "<7>3"},
		{"a{% comment %}{{ {% for %} {% endcomment x %}{% endcomment %}b", "ab"},
		{"{% raw %}{{ a }} {% for %}{% endraw %}", "{{ a }} {% for %}"},
		{"x {%- raw -%} {{ a }} {%- endraw -%} y", "x{{ a }}y"},

		// Filters.
		{"{{ new.note | default: 'none' }} {{ new.none | default: 1 }} {{ new.off | default: 2 }} {{ new.off | default: 3, allow_false: true }} {{ new.zero | default: 4 }}", "none 1 2 false 0"},
		{"{{ new.total | append: ' EUR' | prepend: '= ' }}", "= 19.90 EUR"},
		{"{{ new.name | upcase }} {{ 'ÄB' | downcase }} {{ 'éA b' | capitalize }}[{{ '' | capitalize }}]", "ANN LEE äb Éa b[]"},
		{"[{{ ' a ' | strip }}{{ ' a' | lstrip }}{{ 'a ' | rstrip }}]{{ 'a\nb' | strip_newlines }}", "[aaa]ab"},
		{"{{ 'a-a' | replace: 'a', 'bb' }} {{ 'a-a' | replace_first: 'a', 'b' }} {{ 'a-a' | remove: 'a' }} {{ 'a-a' | remove_first: 'a' }} {{ 'ab' | replace: '', 'x' }}", "bb-bb b-a - -a ab"},
		{"{{ 'häuser' | truncate: 5 }} {{ 'häuser' | truncate: 6 }} {{ 'häuser' | truncate: 3, '…' }} {{ 'häuser' | truncate: 2 }} {{ 'häuser' | truncate: -1, '' }}", "hä... häuser hä… ... "},
		{"{{ 'a b  c' | truncatewords: 2 }} {{ 'a b' | truncatewords: 2 }} {{ 'a b' | truncatewords: 1, '!' }}", "a b... a b a!"},
		{"{{ 'häuser' | slice: 1 }} {{ 'häuser' | slice: -3, 2 }} {{ 'abc' | slice: 9 }}{{ 'abc' | slice: 0, -3 }} {{ new.tags | slice: 1, 2 }}", "ä se  ab"},
		{"{{ 'a,b,,' | split: ',' | join: '+' }} {{ ' a  b ' | split: ' ' | size }} {{ 'hä' | split: '' | last }}", "a+b 2 ä"},
		{"{{ new.tags | uniq | compact | sort | reverse | join: ',' }} {{ new.tags | first }} {{ new.name | first }}", "b,a b "},
		{"{{ new.sizes | sort | join }} {{ new.sizes | size }} {{ 'hä' | size }} {{ 5 | size }} {{ 'hä'.size }}", "2 9.5 10 3 2 0 2"},
		{"{{ new.deep.a.b | json }} {{ new.name | json }} {{ new.note | json }} {{ new.total | json }}", `[1,[2,3],{"c":"<d>"}] "ann lee" null 19.90`},
		{"/o?q={{ 'a b&c/é' | url_encode }}", "/o?q=a+b%26c%2F%C3%A9"},
		{"{{ 0.1 | plus: 0.2 }} {{ new.total | minus: 0.9 }} {{ '2' | plus: '3' }} {{ new.total | times: new.count }}", "0.3 19.00 5 59.70"},
		{"{{ 7 | divided_by: 2 }} {{ -7 | divided_by: 2 }} {{ 7 | divided_by: 2.0 }} {{ 1.0 | divided_by: 3 }} {{ 10 | divided_by: 2.5 }}", "3 -4 3.5 0.3333333333333333 4"},
		{"{{ 7 | modulo: 3 }} {{ -7 | modulo: 3 }} {{ 7.5 | modulo: 2 }}", "1 2 1.5"},
		{"{{ new.half | abs }} {{ new.half | ceil }} {{ new.half | floor }} {{ new.half | round }} {{ 2.5 | round }} {{ 19.905 | round: 2 }} {{ new.total | round: 2 }} {{ 155 | round: -1 }}", "2.5 -2 -3 -3 3 19.91 19.90 160"},
		{"{{ 1.50 | at_least: 1 }} {{ 1 | at_least: 2 }} {{ 3 | at_most: 2.0 }}", "1.50 2 2.0"},
		{"[{{ new.note | plus: 1 }}{{ 1 | plus: new.note }}{{ new.name | times: 2 }}{{ new.paid | round }}] {{ new.note | plus: 1 | default: '?' }}", "[] ?"},
		{
			"{{ event.committed_at | date: '%Y-%m-%d %H:%M:%S.%L %j %a %A %b %B %-d %e %-m %I:%M %p %l %P %y %Z %z %u %w %V %G %F %T %R %D %%' }}",
			"2026-11-05 09:07:03.045 309 Thu Thursday Nov November 5  5 11 09:07 AM  9 am 26 UTC +0000 4 4 45 2026 2026-11-05 09:07:03 09:07 11/05/26 %",
		},
		{
			"{{ new.day | date: '%d.%m.%Y' }} {{ new.local | date: '%H:%M' }} {{ new.name | date: '%Y' }}{{ new.note | date: '%Y' }} {{ new.day | date: '%-q%ä%' }} {{ new.day | date: '%s' }}",
			"02.01.2026 03:04 ann lee %-q%ä% 1767312000",
		},
	} {
		got, err := render(t, c.source, vars)
		if err != nil || got != c.want {
			t.Errorf("%s\ngives %q, %v\nwant  %q", c.source, got, err, c.want)
		}
	}
	if got, err := render(t, "{{ a }} {{ b }} {{ c }} {{ d }} {{ e }}", map[string]any{"a": 1, "b": int64(2), "c": 1.5, "d": []any{int32(3)}, "e": time.Unix(0, 0).UTC()}); got != "1 2 1.5 3 1970-01-01T00:00:00Z" || err != nil {
		t.Errorf("Go values give %q, %v", got, err)
	}
}

// What both can do, the reference library does alike.
func TestLikeTheLibrary(t *testing.T) {
	t.Parallel()
	vars := map[string]any{
		"s": "The quick brown fox", "n": 7, "f": 2.5, "list": []any{"x", "y", "x"}, "o": map[string]any{"a": map[string]any{"b": "deep"}}, "yes": true, "no": false,
	}
	engine := liquid.NewEngine()
	for _, source := range []string{
		"plain { text }",
		"{{ s }} {{ n }} {{ f }} {{ o.a.b }} {{ o['a'].b }} {{ missing }} {{ list[1] }} {{ list.size }} {{ list }}",
		"a  {{- n -}}  b {%- if yes -%}  c  {%- endif -%} d",
		"{% if n > 5 and f < 3 %}a{% elsif yes %}b{% else %}c{% endif %}",
		"{% if n >= 8 or no %}a{% elsif s contains 'quick' %}b{% else %}c{% endif %}",
		"{% unless no %}a{% endunless %}{% unless yes %}b{% else %}c{% endunless %}",
		"{% case n %}{% when 1 %}one{% when 6, 7 %}six or seven{% else %}else{% endcase %}",
		"{% assign x = s | upcase | append: '!' %}{{ x }}{% capture y %}{{ x }}{{ n }}{% endcapture %}{{ y }}",
		"a{% comment %}b{{ c }}{% endcomment %}d{% raw %}{{ e }}{% endraw %}",
		"{{ s | downcase }} {{ s | replace: 'o', '0' }} {{ s | remove: ' ' }} {{ s | truncate: 10 }} {{ s | truncatewords: 2 }} {{ s | slice: 4, 5 }} {{ s | size }}",
		"{{ s | split: ' ' | join: '-' }} {{ list | uniq | join: ',' }} {{ list | sort | reverse | join }} {{ list | first }}{{ list | last }}",
		"{{ n | plus: 1 }} {{ n | minus: 10 }} {{ n | times: 3 }} {{ n | divided_by: 2 }} {{ n | modulo: 4 }} {{ f | ceil }} {{ f | floor }} {{ f | round }} {{ n | at_most: 5 }} {{ n | at_least: 9 }}",
		"{{ missing | default: 'd' }} {{ no | default: 'd' }} {{ no | default: 'd', allow_false: true }} {{ '' | default: 'e' }}",
		"{{ '2026-03-04T05:06:07Z' | date: '%Y-%m-%d %H:%M:%S %b %-d %A %j %I %p' }}",
		"{{ 'a b&ü' | url_encode }} {{ ' x ' | strip }}|{{ ' x ' | lstrip }}|{{ ' x ' | rstrip }}|",
	} {
		want, err := engine.ParseAndRenderString(source, vars)
		if err != nil {
			t.Fatalf("the library: %s: %v", source, err)
		}
		if got, err2 := render(t, source, vars); err2 != nil || got != want {
			t.Errorf("%s\ngives %q, %v\nthere %q", source, got, err2, want)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ source, want string }{
		{strings.Repeat("x", template.MaxSource+1), "the template has 65537 bytes; the most are 65536"},
		{"{% tablerow x in y %}", `the tag "tablerow" is not allowed`},
		{"{% cycle 'a' %}", `the tag "cycle" is not allowed`},
		{"{% break %}", `the tag "break" is not allowed`},
		{"{%- continue -%}", `the tag "continue" is not allowed`},
		{"{% include 'x' %}", `the tag "include" is not allowed: use render, which names one stored template`},
		{"{% render 'x' %}", `there is no template "x"; store it first`},
		{"{% increment x %}", `the tag "increment" is not allowed: templates have no counters; use forloop.index, or assign and the filter plus`},
		{"{% decrement x %}", `the tag "decrement" is not allowed`},
		{"{% if a %}{% cycle x %}{% endif %}", `the tag "cycle" is not allowed`},
		{"{{ (1..10000000000) | join }}", "ranges (1..3) are not allowed"},
		{"{{ 1..3 }}", "ranges (1..3) are not allowed"},
		{"{% liquid %}", `line 1: the tag "liquid" is unknown; there are: assign, capture, case, comment, for, if, raw, render, unless`},
		{"{% %}", `"%}" stands where the name of a tag is expected`},
		{"{{ }}", `"}}" stands where a value is expected`},
		{"{{ a", "}} is missing at the end of the template"},
		{"{{", "}} is missing at the end of the template"},
		{"\n{% if a", "line 2: %} is missing at the end of the template"},
		{"{{ 'a }}", "the text that starts with 'a }} is not closed; write ' at its end"},
		{"x\n{% if a %}\n\n{{ b }}", `line 2: the tag "if" is not closed; write {% endif %} where it ends`},
		{"{% comment %}", `the tag "comment" is not closed; write {% endcomment %} where it ends`},
		{"{% raw %}{{", `the tag "raw" is not closed`},
		{"{% endif %}", `the tag "endif" does not belong here: there is no open tag that it belongs to; open it by {% if … %}, or remove this`},
		{"{% if a %}{% endcase %}", `the tag "endcase" does not belong here: the innermost open tag is "if"`},
		{"{% else %}", `the tag "else" does not belong here`},
		{"{% if a %}{% when 1 %}{% endif %}", `the tag "when" does not belong here`},
		{"{% if a %}{% else %}{% else %}{% endif %}", `"else" can't follow else`},
		{"{% if a %}{% else %}{% elsif b %}{% endif %}", `"elsif" can't follow else`},
		{"{% case a %}{% else %}{% when b %}{% endcase %}", `"when" can't follow else`},
		{"{% if %}{% endif %}", `"%}" stands where a value is expected`},
		{"{% if a %}{% endif b %}", `"b" stands where %} is expected`},
		{"{{ a | nope }}", `line 1: the filter "nope" is unknown; there are: abs, append, at_least`},
		{"{{ a | append }}", "the filter append has 0 arguments; it takes 1"},
		{"{{ a | truncate: 1, 2, 3 }}", "the filter truncate has 3 arguments; it takes 0 to 2"},
		{"{{ a | append: x: 1 }}", `the filter append has no argument called "x"`},
		{"{{ a | }}", `"}}" stands where the name of a filter is expected`},
		{"{{ a b }}", `"b" stands where }} is expected`},
		{"{{ a = b }}", `"=" stands where }} is expected`},
		{"{{ a. }}", `"}}" stands where a name (write odd ones as ["name"]) is expected`},
		{"{{ a[1 }}", `"}}" stands where ] is expected`},
		{"{{ (a }}", `"}}" stands where ) is expected`},
		{"{{ a & b }}", `'&' is not understood here`},
		{"{{ a %} }}", `'%' is not understood here`},
		{"{{ 1. }}", `"1." is no number`},
		{"{{ and }}", `"and" stands where a value is expected`},
		{"{% assign nil = 1 %}", `"nil" can't be set`},
		{"{% assign a.b = 1 %}", `"." stands where = (as in {% assign name = value %}) is expected`},
		{"{% capture %}{% endcapture %}", `"%}" stands where the name of a variable after capture is expected`},
		{strings.Repeat("{% if a %}", 40), "tags are nested more than 32 deep; make the template flatter"},
		{"{{ " + strings.Repeat("(", 40), "parentheses are nested more than 32 deep"},
		{"{{ " + strings.Repeat("a[", 40), "parentheses are nested more than 32 deep"},
	} {
		tpl, err := template.Compile(c.source)
		if err == nil || !strings.Contains(err.Error(), c.want) || tpl != nil {
			t.Errorf("%.60s\ngives %v\nwant  %s", c.source, err, c.want)
		}
	}
}

func TestRenderErrors(t *testing.T) {
	t.Parallel()
	vars := variables(t)
	for _, c := range []struct{ source, want string }{
		{"\n{{ 1 | divided_by: new.zero }}", "line 2: divided_by: division by zero; put {% if … != 0 %} around it"},
		{"{% if 1 | modulo: 0 %}{% endif %}", "line 1: modulo: division by zero"},
		{"{% assign x = 1.0 | divided_by: 0 %}", "line 1: divided_by: division by zero"},
		{"{{ new.name | truncate: 'x' }}", `line 1: truncate: "x" is no whole number`},
		{"{{ new.name | slice: 1.5 }}", `slice: "1.5" is no whole number`},
		{"{{ new.name | slice: 99999999999999999999 }}", `is no whole number`},
	} {
		if got, err := render(t, c.source, vars); err == nil || !strings.Contains(err.Error(), c.want) || got != "" {
			t.Errorf("%s\ngives %q, %v\nwant  %s", c.source, got, err, c.want)
		}
	}
	if _, err := template.EventVariables(&workflow.Event{ID: "e1", Data: []byte("{")}); err == nil || !strings.Contains(err.Error(), "event e1") {
		t.Errorf("broken data gives %v", err)
	}
}

// hostile are templates that would take long, or much memory, were there no bounds.
func hostile() map[string]string {
	fill := func(head, part string) string {
		return head + strings.Repeat(part, (template.MaxSource-len(head))/len(part))
	}
	long := "{% assign a = '" + strings.Repeat("xy", 4000) + "' %}{% assign a = a | append: a | append: a | append: a %}"
	big := "{% assign a = '0123456789' %}{% assign a = a | append: a | append: a | append: a | append: a %}"
	return map[string]string{
		"unclosed tags":     fill("", "{%a {{b}}"),
		"unclosed outputs":  fill("", "{{ a "),
		"unclosed texts":    fill("{{", "'a' | append: 'b"),
		"opening raws":      fill("", "{% raw %}"),
		"raws":              fill("{% raw %}", "{%-  endra"),
		"spaces":            fill("{{", " "),
		"lines":             fill("", "{{a}}\n"),
		"whens":             fill("{% case a %}{% when 1", ",1"),
		"nested tags":       fill("", "{%if a%}"),
		"nested captures":   strings.Repeat("{% capture a %}{{a}}{{a}}", 32) + "x" + strings.Repeat("{% endcapture %}", 32),
		"captures":          fill("{% assign a = 'x' %}", "{%capture a%}{{a}}{{a}}{{a}}{%endcapture%}"),
		"appends":           fill("{% assign a = 'x' %}", "{%assign a=a|append:a%}"),
		"chain of appends":  fill(long+"{{ a", "|append:a") + "}}",
		"replaces":          fill(long, "{{a|replace:'x',a}}"),
		"replace of itself": fill(long+"{{ a", "|replace:'x',a") + "}}",
		"splits":            fill(long, "{%assign b=a|split:''|join:a%}"),
		"split and sort":    fill(long, "{{a|split:''|sort|uniq|reverse|size}}"),
		"split and print":   fill(long+"{% assign b = a | split: '' %}", "{%assign c=b|append:''%}"),
		"long joins":        fill(long+"{% assign b = a | split: 'x' %}", "{%assign c=b|join:a%}"),
		"upcases":           fill(long+"{{ a", "|upcase|downcase") + "}}",
		"url_encodes":       fill("{% assign a = '"+strings.Repeat("ü", 5000)+"' %}{{ a", "|url_encode") + "}}",
		"contains":          fill(long, "{%if a contains 'yyyyyyyyyyyyyx'%}{%endif%}"),
		"comparisons":       fill(long, "{%if a==a and a<=a%}{%endif%}"),
		"dates":             fill("", "{{'2026-01-02'|date:'%Y%m%d%H%M%S%c%c%c%c%c%c'}}"),
		"squares":           fill("{% assign n = 9999999999 %}", "{%assign n=n|times:n%}"),
		"big divisions":     fill(big+"{% assign n = a | append: a | append: a | append: a | plus: 1 %}", "{{n|divided_by:3.7}}"),
		"big roundings":     fill("", "{{1|round:-2000000000}}{{1.5|round:2000000000}}"),
		"big numbers":       fill("{% assign n = "+strings.Repeat("9", 30000)+" %}", "{%if n>1%}{%endif%}"),
		"exponents":         "{{ '1e999999999' | plus: 1 }}{{ '1e-999999999' | plus: 1 }}{{ '1e1000' | times: 10 }}",
		"nested loops":      strings.Repeat("{%for a in rows%}", 31) + "{{a}}" + strings.Repeat("{%endfor%}", 31),
		"loops of nothing":  strings.Repeat("{%for a in rows%}", 31) + strings.Repeat("{%endfor%}", 31),
		"loops of texts":    "{%for a in rows%}{%for b in rows%}" + strings.Repeat("x", 5000) + "{%endfor%}{%endfor%}",
		"loops of dates":    "{%for a in rows%}{%for b in rows%}{%for c in rows%}{%assign d='2026-01-02'|date:'full time','Asia/Tokyo'%}{%endfor%}{%endfor%}{%endfor%}",
		"loops of money":    "{%for a in rows%}{%for b in rows%}{%for c in rows%}{%assign d=c|money:'EUR'%}{%endfor%}{%endfor%}{%endfor%}",
		"loops of zones":    "{%for a in rows%}{%for b in rows%}{%assign z=a|append:b%}{%assign d='2026-01-02'|date:'time',z|default:'UTC'%}{%endfor%}{%endfor%}",
		"loops of or":       "{%for a in rows%}{%for b in rows%}{%for c in rows%}" + fill("{% if nil", " or nil") + "%}{%endif%}{%endfor%}{%endfor%}{%endfor%}",
		"loops of whens":    "{%for a in rows%}{%for b in rows%}{%for c in rows%}" + fill("{% case a %}{% when 0", ",0")[:60000] + "%}{%endcase%}{%endfor%}{%endfor%}{%endfor%}",
		"loops of captures": "{%for a in rows%}{%for b in rows%}{%capture c%}{{c}}{{b}}{%endcapture%}{%endfor%}{%endfor%}",
		"loops of objects":  fill("", "{%for a in wide%}{%endfor%}"),
		"loops of renders":  "{%for a in rows%}{%for b in rows%}{%for c in rows%}{%render 'p6'%}{%endfor%}{%endfor%}{%endfor%}",
		"renders":           fill("", "{%render 'p6'%}"),
		"many or":           fill("{% if a", " or a") + "%}{% endif %}",
		"printed rows":      fill("", "{%assign a=row|json%}"),
		"a big array":       fill("", "{%assign a=rows|sort|uniq%}"),
		"a big text":        fill("", "{%if text==blank or text contains 'z'%}{%endif%}"),
		"a big text, cut":   fill("", "{{text|truncate:10}}"),
		"a big text's size": fill("", "{{text.size}}"),
		"a big row's keys":  fill("", "{{wide|json}}"),
	}
}

// tower are templates each of which renders the next one as often as it can.
func tower() map[string]map[string]string {
	all := map[string]map[string]string{"p0": {"": "{{ 'x' }}"}}
	for i := range 6 {
		all[fmt.Sprintf("p%d", i+1)] = map[string]string{"": strings.Repeat(fmt.Sprintf("{%%render 'p%d'%%}", i), 2000)}
	}
	return all
}

// TestBounded runs hostile templates: each ends soon, with little memory, in an error or
// with an output of bounded size.
func TestBounded(t *testing.T) {
	vars := variables(t)
	vars["text"] = strings.Repeat("long text ", 1<<20)
	rows, wide := make([]any, 200_000), make(map[string]any)
	for i := range rows {
		rows[i] = json.Number(fmt.Sprint(len(rows) - i))
		wide[fmt.Sprint(i)] = rows[i]
	}
	vars["rows"], vars["wide"], vars["row"] = rows, wide, variables(t)["new"]
	for name, source := range hostile() {
		t.Run(name, func(t *testing.T) {
			source = strings.ToValidUTF8(source[:min(len(source), template.MaxSource)], "")
			begun := time.Now()
			tpl, err := template.CompileFor(source, template.Options{Partials: workflow.NewLibrary(tower()), Channel: template.Markdown, Locale: "de-AT"})
			compiled := time.Since(begun)
			var out string
			if err == nil {
				out, err = tpl.Render(vars)
			}
			took := time.Since(begun)
			if took > 2*time.Second { // some 50 times what is usual
				t.Errorf("it took %s (%s to compile)", took, compiled)
			}
			if len(out) > template.MaxText || !utf8.ValidString(out) {
				t.Errorf("%d bytes of output", len(out))
			}
			t.Logf("%s, %d bytes, %.100v", took, len(out), err)
		})
	}
}

// Output and values are cut at whole characters.
func TestCut(t *testing.T) {
	t.Parallel()
	vars := map[string]any{"long": strings.Repeat("ü", template.MaxText), "odd": "x" + strings.Repeat("ü", template.MaxText)}
	for _, source := range []string{
		"{{ long }}", "{{ odd }}", "{{ long | append: 'xyz' }}", "{{ odd | upcase }}", "x{{ long }}{{ odd }}",
		"{% capture c %}{{ odd }}{% endcapture %}{{ c }}{{ c }}", strings.Repeat("a", template.MaxText-10) + "{{long}}",
	} {
		got, err := render(t, source, vars)
		if err != nil || len(got) > template.MaxText || len(got) < template.MaxText-10 || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
			t.Errorf("%.40s gives %d bytes, %v; valid %t; ends %q", source, len(got), err, utf8.ValidString(got), got[max(0, len(got)-8):])
		}
	}
	vars["filler"] = strings.Repeat("b", template.MaxText-2) // two bytes are left: none for the ellipsis
	if got, err := render(t, "{{ filler }}{{ long }}{{ 1 }}", vars); err != nil || len(got) > template.MaxText || !strings.HasSuffix(got, "b…") {
		t.Errorf("%d bytes, %v, ends %q", len(got), err, got[len(got)-8:])
	}
}

func TestRenderIsConcurrent(t *testing.T) {
	t.Parallel()
	vars := variables(t)
	tpl, err := template.Compile("{% assign x = new.total | times: 2 %}{{ x }}{{ new.tags | sort | join }}")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan string)
	for range 4 {
		go func() {
			out := ""
			for range 200 {
				out, _ = tpl.Render(vars)
			}
			done <- out
		}()
	}
	for range 4 {
		if got := <-done; got != "39.80a b b " {
			t.Errorf("got %q", got)
		}
	}
}

// FuzzTemplate: no panic; bounded output; a template that compiles does so again.
func FuzzTemplate(f *testing.F) {
	for _, source := range hostile() {
		f.Add(source[:min(len(source), 2000)])
	}
	for _, source := range []string{
		"{{ new.total | times: 2 | round: 1 }}", "{% if a %}{% elsif b %}{% else %}{% endif %}", "{% case a %}{% when 1 or 2 %}{% endcase %}",
		"{%- capture x -%}{{ new.tags | sort | join: ',' }}{%- endcapture -%}{{ x }}", "{% raw %}{{{% endraw %}", "{{ event.committed_at | date: '%-d %%' }}",
	} {
		f.Add(source)
	}
	vars := variables(f)
	f.Fuzz(func(t *testing.T, source string) {
		begun := time.Now()
		tpl, err := template.CompileFor(source, template.Options{Partials: workflow.NewLibrary(tower()), Channel: template.HTML, Locale: "de"})
		if err != nil {
			return
		}
		out, err := tpl.Render(vars)
		if len(out) > template.MaxText {
			t.Errorf("%d bytes", len(out))
		}
		if err == nil && utf8.ValidString(source) && !utf8.ValidString(out) {
			t.Errorf("the output %q is not UTF-8", out)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
		again, err2 := tpl.Render(vars)
		if again != out || (err == nil) != (err2 == nil) {
			t.Errorf("gave %q, %v, and then %q, %v", out, err, again, err2)
		}
	})
}

func BenchmarkRender(b *testing.B) {
	vars := variables(b)
	tpl, err := template.Compile("Order {{ new.id }}: {{ new.total | round: 2 }} EUR{% if new.total > 10 %} (big){% endif %}, by {{ actor.id }}")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tpl.Render(vars); err != nil {
			b.Fatal(err)
		}
	}
}
