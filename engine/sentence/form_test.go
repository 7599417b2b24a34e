package sentence_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/engine/sentence"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Every example of the manual can be said.
func TestManualIsSaid(t *testing.T) {
	manual, err := os.ReadFile("../../docs/conditions.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, m := range regexp.MustCompile("(?s)```json ([a-z_]+)\n(.*?)\n```").FindAllStringSubmatch(string(manual), -1) {
		kinds[m[1]]++
		said := sentence.Condition(workflow.Condition{Type: m[1], Config: json.RawMessage(m[2])})
		if strings.Contains(said, "can't be read") || strings.Contains(said, "nothing is asked") {
			t.Errorf("%s %s: %s", m[1], m[2], said)
		}
		// And if it is written as the expression that it stands for.
		c := workflow.Condition{Type: m[1], Config: json.RawMessage(m[2])}
		parsed, err := condition.Parse(condition.Source{Conditions: []workflow.Condition{c}})
		if err != nil {
			t.Errorf("%s: %v", m[2], err)
			continue
		}
		if m[1] == "time_based" || m[1] == "role_based" && !strings.Contains(m[2], "directory") {
			config, err := json.Marshal(map[string]string{"expression": parsed.Expressions()[0]})
			if err != nil {
				t.Fatal(err)
			}
			if got := sentence.Condition(workflow.Condition{Type: "expression", Config: config}); got != strings.Replace(said, "1 week", "7 days", 1) {
				t.Errorf("%s\n is %s\n%s\n is %s", config, got, m[2], said)
			}
		}
	}
	for _, kind := range []string{"field_value", "time_based", "role_based"} {
		if kinds[kind] < 5 {
			t.Errorf("the manual has %d examples of %s", kinds[kind], kind)
		}
	}
}

// A form, and the expression that package condition makes of it, say the same.
func TestFormAndExpression(t *testing.T) {
	for _, form := range []string{
		`{"status": "approved"}`,
		`{"status": {"ne": "draft"}, "total": {"gt": 1000.00, "lte": -5e3}, "weight": {"gte": 0, "lt": 1234567890.123}}`,
		`{"status": {"in": ["new", "in progress"]}, "city": {"not_in": ["Porto", "Braga", "Faro"]}}`,
		`{"note": {"contains": "a \"b\"\n"}, "sku": {"starts_with": "EU-"}, "email": {"matches": "@example\\.(com|org)$"}}`,
		`{"note": null, "shipped_at": {"not_null": true}, "customer_id": {"is_null": false}}`,
		`{"status": {"changed_from": "new", "changed_to": ["approved", "shipped", "lost"]}, "city": {"changed": true}, "zip": {"changed": false}}`,
		`{"is_paid": {"changed_from": false}, "archived": true, "total": {"changed_to": null}}`,
		`{"placed_at": {"gte": "2026-01-31"}, "odd name": 1, "in": {"gt": "b"}}`,
		`{"any": [{"status": "open", "total": {"gt": 10}}, {"not": {"city": "Porto", "all": [{"note": null}, {"any": [{"vip": true}, {"total": 0}]}]}}]}`,
		`{"not": {"any": [{"status": {"changed": true}}, {"total": {"changed": true}}]}}`,
		`{"field": "any", "operator": "ne", "value": true}`,
		`[{"status": "open"}, {"total": {"gt": 10}}]`,
	} {
		c := workflow.Condition{Type: "field_value", Config: json.RawMessage(form)}
		parsed, err := condition.Parse(condition.Source{Conditions: []workflow.Condition{c}})
		if err != nil {
			t.Errorf("%s: %v", form, err)
			continue
		}
		for _, expression := range parsed.Expressions() {
			config, err := json.Marshal(map[string]string{"expression": expression})
			if err != nil {
				t.Fatal(err)
			}
			got, want := sentence.Condition(workflow.Condition{Type: "expression", Config: config}), sentence.Condition(c)
			if got != want {
				t.Errorf("%s\n is %s\n%s\n is %s", expression, got, form, want)
			}
		}
	}
}
