package sentence_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/rowbell/rowbell/engine/sentence"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Whatever stands in a document, there is a sentence: one line of printable text that a
// person can still read.
func FuzzOf(f *testing.F) {
	add := func(w *workflow.Workflow) {
		document, err := json.Marshal(w)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(document)
	}
	add(of(on("orders", "update", `{"status": {"changed_to": "approved"}, "any": [{"a": 1}, {"not": {"b": {"in": [1, 2, 3]}}}]}`), webhook(), to("user", "ann")))
	add(of(settings(`{"firing": "becomes_true"}`), on("a.b", "create"), expr(`new.a > old.a && !(new.b in ["x"]) || changed("c")`), cond("role_based", `{"roles": ["x"], "attributes": {"level": {"gte": 3}}}`), record()))
	add(of(settings(`{"firing": "once_per_row"}`), on("domain:x", "create"), cond("time_based", `{"zone": "Europe/Berlin", "days": ["mon"], "hours": [{"from": "09:00", "to": "17:30"}], "dates": {"from": "2026-01-01"}, "holidays": ["12-25"], "column": "due", "within": "3d"}`)))
	f.Add([]byte(`{"triggers": [{"entity_type": "\u0000“”\u2028", "operation": "\n", "field_conditions": [[[{}]]]}], "actions": [{"action_config": {"url": "http://%zz"}}], "recipients": [{}]}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		w, err := workflow.Parse(document)
		if err != nil {
			return
		}
		text := sentence.Of(w)
		check(t, text)
		if n := utf8.RuneCountInString(text); n > 8000 {
			t.Errorf("%d characters", n)
		}
		if !strings.HasSuffix(text, ".") {
			t.Errorf("%q ends without a full stop", text)
		}
		for _, x := range w.Triggers {
			check(t, sentence.Trigger(x))
		}
		for _, x := range w.Conditions {
			check(t, sentence.Condition(x))
		}
		for _, x := range w.Actions {
			check(t, sentence.Action(x, w.Recipients))
		}
		if same := sentence.Changes(w, w); len(same) > 0 {
			t.Errorf("of itself it differs in %q", same)
		}
		for _, other := range []*workflow.Workflow{{}, of(on("orders", "create"), webhook(), to("user", "ann"))} {
			for _, line := range append(sentence.Changes(w, other), sentence.Changes(other, w)...) {
				check(t, line)
			}
			line := sentence.Line(other, w)
			check(t, line)
			if n := utf8.RuneCountInString(line); n > 100 {
				t.Errorf("%q has %d characters", line, n)
			}
		}
	})
}

// FuzzExpression seeks what the reader of expressions can't stand.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{`new.a == 1 && old["b c"] in [1, "x", nil]`, `not (changed("x") or -1 < new.y)`, `new?.a.b["c"] != date("2026-01-31")`, `let x = 1; x > 0`, `1_000 < new.a`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		config, err := json.Marshal(map[string]string{"expression": source})
		if err != nil {
			return
		}
		check(t, sentence.Condition(workflow.Condition{Type: "expression", Config: config}))
	})
}

func check(t *testing.T, text string) {
	t.Helper()
	if text == "" || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%q is empty, no UTF-8, or more than a line of print", text)
	}
}
