package workflow

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseTest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ test, problem string }{
		{`{"name": "a", "change": {"new": {"a": 1}}, "expect": {"fires": true}}`, ""},
		{`{"name": "a", "change": {"old": {}, "actor": null, "at": "2026-01-01T00:00:00+01:00"}, "expect": {"fires": false, "stopped_by": "x"}}`, ""},
		{`{"name": "a", "event": {"entity_type": "orders", "operation": "update", "data": {}}, "expect": {"fires": true}}`, ""},
		{`{"name": "a", "change": {}, "expect": {"fires": true, "recipients": [{"user": "a"}, {"attribute": "b", "value": null}], "texts": [{"action": "x", "title": {"equals": "a"}}]}}`, ""},
		{`{"change": {}, "expect": {"fires": true}}`, "it has no name"},
		{`{"name": "a", "expect": {"fires": true}}`, "it needs a change"},
		{`{"name": "a", "change": {}, "event": {"entity_type": "orders", "operation": "update", "data": {}}, "expect": {"fires": true}}`, "one of them"},
		{`{"name": "a", "change": {}}`, "it expects nothing"},
		{`{"name": "a", "change": {}, "expect": {"stopped_by": "x"}}`, "it expects nothing"},
		{`{"name": "a", "change": {"new": [1]}, "expect": {"fires": true}}`, "new, old and actor of its change are objects"},
		{`{"name": "a", "change": {"nwe": {}}, "expect": {"fires": true}}`, `unknown field "nwe"`},
		{`{"name": "a", "change": {"at": "today"}, "expect": {"fires": true}}`, "it can't be read"},
		{`{"name": "a", "event": {"entity_type": "orders"}, "expect": {"fires": true}}`, "its event lacks"},
		{`{"name": "a", "change": {}, "expect": {"fires": true, "stopped_by": "x"}}`, "leave one out"},
		{`{"name": "a", "change": {}, "expect": {"fires": false, "recipients": [{"user": "a"}]}}`, "neither recipients nor texts"},
		{`{"name": "a", "change": {}, "expect": {"fires": true, "recipients": [{"user": "a", "role": "b"}]}}`, "a recipient is written as"},
		{`{"name": "a", "change": {}, "expect": {"fires": true, "recipients": [{"user": "a", "value": "b"}]}}`, "a recipient is written as"},
		{`{"name": "a", "change": {}, "expect": {"fires": true, "texts": [{"action": "x"}]}}`, "it expects no text"},
		{`{"name": "a", "change": {}, "expect": {"fires": true, "texts": [{"title": {"contains": "a", "equals": "a"}}]}}`, "title: a text is written as it is"},
	} {
		_, err := ParseTest(json.RawMessage(c.test))
		if c.problem == "" && err != nil || c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)) {
			t.Errorf("%s: got %v, want %q", c.test, err, c.problem)
		}
	}
}

func TestTestsOfAWorkflow(t *testing.T) {
	t.Parallel()
	w := Workflow{Settings: json.RawMessage(`{"firing": "every"}`)}
	for _, name := range []string{"a", "b"} {
		test := Test{Name: name, Change: &TestChange{New: json.RawMessage(`{"total": 1.50}`)}, Expect: TestExpect{
			Fires: true, Texts: []TestTexts{{Action: "x", Texts: map[string]TestText{"title": {Text: "T"}, "body": {Text: "B", Contains: true}}}},
		}}
		if err := w.AddTest(test); err != nil {
			t.Fatal(err)
		}
		if err := w.AddTest(test); err == nil || !strings.Contains(err.Error(), "there is a test called") {
			t.Errorf("it was added twice: %v", err)
		}
	}
	tests, err := w.Tests()
	if err != nil || len(tests) != 2 || string(tests[1].Change.New) != `{"total":1.50}` || !tests[1].Expect.Texts[0].Texts["body"].Contains || tests[1].Expect.Texts[0].Texts["title"].Text != "T" {
		t.Errorf("%v: the tests are %+v in %s", err, tests, w.Settings)
	}
	if f, err := w.Firing(); f != Every || err != nil {
		t.Errorf("it fires %s, %v", f, err)
	}
	w.DropTests()
	if string(w.Settings) != `{"firing":"every"}` {
		t.Errorf("without tests the settings are %s", w.Settings)
	}
	for settings, problem := range map[string]string{
		`{"tests": 1}`: "it is a list of tests", `{"tests": [1]}`: "test 1: it can't be read",
		`{"tests": [{"name": "a", "change": {}, "expect": {"fires": true}}, {"name": "a", "change": {}, "expect": {"fires": true}}]}`: `test 2: there is another one called "a"`,
		`{"tests": [` + strings.Repeat("{},", 100) + `{}]}`:                                                                           "101 tests are too many",
	} {
		w := Workflow{Settings: json.RawMessage(settings)}
		if _, err := w.Tests(); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%.60s: got %v, want %q", settings, err, problem)
		}
	}
}
