package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// templates is a shop whose workflow renders a template, and the commands about both.
func templates(t *testing.T) (db *pgtest.Database, run, workflows func(args ...string) result) {
	t.Helper()
	db, workflows = shop(t)
	env := []string{"ROWBELL_SOURCE_URL=" + db.URL, "TZ=UTC"}
	return db, func(args ...string) result { return rowbell(t, env, append([]string{"template"}, args...)...) }, workflows
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	db, run, workflows := templates(t)
	db.Exec(t, `insert into orders values (42, 'acme', 'approved', 1234.5, 'urgent', 'ann')`)
	file := func(text string) string { return write(t, "t.liquid", text) }

	wants(t, run("list"), 0, "There are no such templates.")
	wants(t, run("set", "sum", file("{{ new.total | money: 'EUR' }}"), "--description", "what it costs", "--actor", "ann"), 0, "Template sum is stored. No active workflow renders it.")
	wants(t, run("set", "footer", file("\n{{ x | nope }}")), 1, `not stored: template "footer", line 2: the filter "nope" is unknown`)
	wants(t, run("set", "footer", file("{% render 'summ' %}")), 1, `not stored: template "footer", line 1: there is no template "summ"; did you mean "sum"?`)
	wants(t, run("set", "foot.er", file("x")), 1, `"foot.er" is no name of a template`)
	wants(t, run("set", "footer", file("x"), "--locale", "de_AT"), 1, `"de_AT" is no language; write it as de or de-AT`)
	wants(t, run("set", "footer", "none.liquid"), 1, "can't read none.liquid: no such file")
	wants(t, run("set", "footer", file(strings.Repeat("x", 1<<16+1))), 1, "has more than 65536 bytes")
	wants(t, run("set", "footer", file("Sum: {% render 'sum' %} {{ actor.id }}")), 0)
	wants(t, run("set", "footer", file("Summe: {% render 'sum' %}"), "--locale", "de"), 0)
	wants(t, run("set", "sum", file("{% render 'footer' %}")), 1, "renders itself")
	wants(t, run("set", "footer", file("Summe: {% render 'sum' %}"), "--locale", "de"), 0, "Template footer was stored like this already.")

	db.Exec(t, `update rowbell.workflow_action set action_config = '{"title": {"en": "Order {{ new.id }}", "de": "Auftrag {{ new.id }}"}, "body": "a\n{% render ''footer'' %}\n{{ new.note }}"}' where id = 'a1'`)
	wants(t, run("list"), 0, "TENANT  NAME    LOCALE  BYTES", "-       footer  -", "-       footer  de", "what it costs")
	wants(t, run("list", "--tenant", "acme"), 0, "There are no such templates.")
	wants(t, run("show", "footer"), 0, "Rendered by  big", "--- for everybody, changed", "Sum: {% render", "--- de, changed")
	wants(t, run("show", "sum"), 0, "Rendered by  big", "Description  what it costs", "made by ann")
	wants(t, run("show", "sum", "--locale", ""), 0, "{{ new.total | money: 'EUR' }}")
	wants(t, run("show", "sum", "--locale", "fr"), 1, `no text for locale "fr"`)
	wants(t, run("show", "som"), 1, `the operators have no template som; did you mean "sum"?`)
	wants(t, run("delete", "sum", "--yes"), 1, "template sum is still used by workflow big", "Take {% render 'sum' %} out")
	wants(t, run("set", "sum", file("{{ new.totle | money: 'EUR' }}")), 0, "These active workflows have a new version by it: big\nbig:\n  warning: action 1 (notification), body, line 2, template \"footer\", line 1, template \"sum\", line 1: table orders has no column totle; did you mean \"total\"?")
	wants(t, run("set", "sum", file("{{ new.total | money: 'EUR' }}!")), 0, "new version by it: big\n")
	wants(t, workflows("versions", "big"), 0, "template “sum” changed", "3 more")
	wants(t, workflows("diff", "big"), 0, "From version 3 to version 4:\n  - template “sum” changed\n")
	wants(t, workflows("check", "big"), 0)

	// What a file says is judged with the templates there are.
	yaml := workflows("show", "big", "--yaml")
	if strings.Contains(yaml.stdout, "templates:") {
		t.Errorf("the YAML has templates:\n%s", yaml.stdout)
	}
	broken := write(t, "big.yaml", strings.Replace(yaml.stdout, "'footer'", "'fotter'", 1))
	wants(t, workflows("check", broken), 1, `action 1 (notification): body: line 2: there is no template "fotter"; did you mean "footer"?`)
	odd := write(t, "big.yaml", strings.Replace(yaml.stdout, "Order {{ new.id }}", "Order {{ actr.id }}", 1))
	wants(t, workflows("check", odd), 0, `action 1 (notification), title, translation en, line 1: there is no variable actr; did you mean "actor"?`)
	good := write(t, "big.yaml", strings.Replace(yaml.stdout, "Big orders", "Bigger orders", 1))
	wants(t, workflows("draft", "big", good, "--actor", "ann"), 0)
	// A template that changes meanwhile is no conflict with the draft.
	wants(t, run("set", "sum", file("{{ new.total | money: 'EUR' }}")), 0)
	wants(t, workflows("activate", "big", "--actor", "ann"), 0, "big is active: its draft is version 6.")
	wants(t, workflows("restore", "big", "2", "--actor", "ann"), 0)
	wants(t, workflows("simulate", "big", "--draft", "--row", "orders", "42", "--old", `{"status": "new"}`), 0, "title      Order 42", "Sum: €1,234.50")
	wants(t, workflows("discard", "big", "--yes"), 0)

	// Previews.
	mail := file("**{{ new.note }}**{% for c in changed %} {{ c }}{% endfor %}, {{ event.committed_at | date: 'long time' }}{% render 'footer' %} {{ new.nte }}{{ recepient.name }}")
	got := run("preview", mail, "--channel", "markdown", "--row", "orders", "42", "--new", `{"note": "a*b"}`, "--at", "2026-11-05T23:30:00Z", "--locale", "de-AT", "--zone", "Europe/Vienna")
	wants(t, got, 0, "**a\\*b**, 6\\. November 2026\\, 00\\:30Summe: €\u00a01\\.234\\,50 ", `warning: line 1: table orders has no column nte; did you mean "note"?`, `warning: line 1: there is no variable recepient; did you mean "recipient"?`)
	wants(t, run("preview", file("Hi {{ recipient.name }} {{ new.total }}")), 0, "Hi Alex Example \n")
	wants(t, run("preview", file("{{ new.v }} {{ event.table }}"), "--channel", "html", "--domain", "x", "--new", `{"v": "<"}`), 0, "&lt; domain:x")
	wants(t, run("preview", file("\n{{ 1 | divided_by: 0 }}")), 1, "It would not be sent: line 2: divided_by: division by zero")
	wants(t, run("preview", file("{{ a")), 1, "rowbell: line 1: }} is missing at the end of the template")
	wants(t, run("preview", "--workflow", "big", "--row", "orders", "42", "--person", `{"name": "Ann", "locale": "en"}`), 0, "--- title\nOrder 42\n\n--- body\na\nSum: €1,234.50 \nurgent\n")
	wants(t, run("preview", "--workflow", "big", "--row", "orders", "42", "--locale", "de"), 0, "Auftrag 42", "Summe: 1.234,50\u00a0€")
	asJSON := run("preview", "--workflow", "big", "--row", "orders", "42", "--locale", "de", "--json")
	var out struct {
		Texts []struct{ Name, Text string }
	}
	if err := json.Unmarshal([]byte(asJSON.stdout), &out); err != nil || len(out.Texts) != 3 || out.Texts[0].Text != "Auftrag 42" {
		t.Errorf("%v: %s", err, asJSON.stdout)
	}
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.notification`); n != 0 {
		t.Error("a preview has sent something")
	}
	wants(t, run("preview", "--workflow", "big", "--action", "2", "--row", "orders", "42"), 1, "action 2 is of kind log, which has no templates")
	wants(t, run("preview", "--workflow", "big", "--action", "3", "--row", "orders", "42"), 1, "workflow big has no action 3; it has 2")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"nothing to render. Give a FILE, or --workflow ID", nil},
		{"nothing to render it for", []string{"--workflow", "big"}},
		{"--channel goes with FILE", []string{"--workflow", "big", "--channel", "html", "--row", "orders", "42"}},
		{`there is no channel "pdf"`, []string{mail, "--channel", "pdf"}},
		{"--action goes with --workflow", []string{mail, "--action", "1"}},
		{"--action wants a number from 1", []string{"--workflow", "big", "--action", "0", "--row", "orders", "42"}},
		{`"42" is one argument too many`, []string{mail, "42"}},
		{"the row's key is missing", []string{mail, "--row", "orders"}},
		{"--new goes with --event, --row or --domain", []string{mail, "--new", "{}"}},
		{"--person is no person", []string{mail, "--person", `{"nme": 1}`}},
		{`"Mars" is no time zone`, []string{mail, "--zone", "Mars"}},
	} {
		wants(t, run(append([]string{"preview"}, c.args...)...), 2, c.want)
	}

	db.Exec(t, `delete from rowbell.workflow_definition`)
	wants(t, run("delete", "footer", "--locale", "de", "--yes"), 0, "Template footer is deleted.")
	wants(t, run("delete", "footer", "--yes"), 0)
	wants(t, run("delete", "footer", "--yes"), 1, "the operators have no template footer")
}
