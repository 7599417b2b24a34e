package ui

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/engine/trial"
)

func TestAdvice(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"crm.example.com answered 404 Not Found; there is nothing at this path; check url": "nothing at this address",
		"crm.example.com answered 401 Unauthorized":                                        "doesn't accept who we say we are",
		"crm.example.com answered 429 Too Many Requests":                                   "too much at once",
		"crm.example.com answered 503 Service Unavailable":                                 "trouble of its own",
		"crm.example.com answered 422 Unprocessable Entity":                                "doesn't want what it was sent",
		"crm.example.com: no answer within 10s; a receiver should answer first":            "can't be reached",
		`secret "crm" can't be read: there is none`:                                        "secret is missing",
		"condition 1 (expression): column note of row 7 can't be compared with a number":   "condition can't be decided",
		"something that nobody has seen yet":                                               "Look at the example",
	} {
		got := adviceOn(text, "big")
		if !strings.Contains(got.Text, want) {
			t.Errorf("on %q the advice is %q", text, got.Text)
		}
		if current := strings.Contains(got.Text, "current version"); got.Current != current {
			t.Errorf("on %q current is %t", text, got.Current)
		}
		if (got.Action == "") != (got.Path == "") {
			t.Errorf("on %q the action %q leads to %q", text, got.Action, got.Path)
		}
	}
}

func TestCauses(t *testing.T) {
	t.Parallel()
	const cause = "#.#.#.#:# answered # Not Found; row # is gone"
	if got := causeText(cause); got != "… answered … Not Found; row … is gone" {
		t.Errorf("it reads %q", got)
	}
	if got := longestPart(cause); got != "Not Found; row" {
		t.Errorf("it is found by %q", got)
	}
	if got := longestPart(strings.Repeat("é", 400)); len([]rune(got)) != 150 {
		t.Errorf("a long one is found by %d characters", len([]rune(got)))
	}
}

func TestLineDiff(t *testing.T) {
	t.Parallel()
	text := func(list []diffLine) string {
		var lines []string
		for _, l := range list {
			lines = append(lines, l.Text)
		}
		return strings.Join(lines, "|")
	}
	for _, c := range []struct{ before, after, want string }{
		{"a b c", "a x c", " a|-b|+x| c"},
		{"", "a b", "+a|+b"},
		{"a b", "", "-a|-b"},
		{"a b", "a b", " a| b"},
		{"a", "a b c", " a|+b|+c"},
	} {
		if got := text(lineDiff(strings.Fields(c.before), strings.Fields(c.after))); got != c.want {
			t.Errorf("from %q to %q: %s, want %s", c.before, c.after, got, c.want)
		}
	}
	long := slices.Repeat([]string{"a"}, mostLines+1)
	if got := lineDiff(long, long); len(got) != 2*len(long) {
		t.Errorf("too long ones have %d lines", len(got))
	}
	got := diffLines("--- version 1\n+++ version 2\n@@ -1,3 +1,3 @@\n name: a\n-old\n+new\n@@ -9 +9 @@\n z\n")
	if want := " name: a|-old|+new|…| z"; text(got) != want {
		t.Errorf("a diff reads %q, want %q", text(got), want)
	}
}

func TestCellIsNoFormula(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "", "ann": "ann", "=1+1": "'=1+1", "@sum": "'@sum", "-1": "'-1", "+1": "'+1", "a=1": "a=1"} {
		if got := cell(in); got != want {
			t.Errorf("%q becomes %q", in, got)
		}
	}
}

func TestStoppedByTheFirstClause(t *testing.T) {
	t.Parallel()
	value := func(text, shown string) *condition.Value { return &condition.Value{Text: text, Shown: shown} }
	holds := condition.Clause{Text: "status eq open", Kind: condition.Comparison, Verdict: condition.True, Left: value("new.status", "open")}
	total := condition.Clause{
		Text: "total gte 1000", Kind: condition.Comparison, Verdict: condition.False, Left: value("new.total", "12.50"), Right: &condition.Value{Text: "1000", Shown: "1000", Constant: true},
	}
	moved := condition.Clause{Text: "status changed", Kind: condition.Changed, Verdict: condition.False, Left: value("old.status", "open"), Right: value("new.status", "open")}
	all := func(list ...condition.Clause) condition.Clause {
		return condition.Clause{Kind: condition.All, Verdict: condition.False, Children: list}
	}
	either := condition.Clause{Kind: condition.Any, Verdict: condition.False, Children: []condition.Clause{total, moved}}
	for want, clauses := range map[string][]condition.Clause{
		"total is at least 1000 – total was 12.50": {all(holds, all(total, moved))},
		"status changed – it stayed open":          {holds, moved},
		"At least one of these: total is at least 1000 – total was 12.50; status changed – it stayed open": {either},
		"": {holds},
	} {
		if got := stopped([]trial.Trigger{{Verdict: condition.NotEvaluated, Clauses: []condition.Clause{total}}, {Verdict: condition.False, Clauses: clauses}}); got != want {
			t.Errorf("stopped by %q, want %q", got, want)
		}
	}
	if got := len(flat([]condition.Clause{all(holds, all(total, moved)), either})); got != 4 {
		t.Errorf("flat has %d clauses", got)
	}
}

func TestFacts(t *testing.T) {
	t.Parallel()
	got := facts(json.RawMessage(`{"reason": "they move", "count": 3, "none": "", "of": {"a": 1}}`))
	if want := [][2]string{{"reason", "they move"}, {"count", "3"}, {"of", `{"a": 1}`}}; !slices.Equal(got, want) {
		t.Errorf("facts are %q", got)
	}
	for _, none := range []string{"", "null", "[1]"} {
		if got := facts(json.RawMessage(none)); got != nil {
			t.Errorf("facts of %s are %q", none, got)
		}
	}
	if got := actText("link_key.create") + ", " + actText("resync"); got != "Link key: create, Resync" {
		t.Errorf("acts read %q", got)
	}
}
