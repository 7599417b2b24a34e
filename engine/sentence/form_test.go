package sentence_test

import (
	"encoding/json"
	"testing"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/engine/sentence"
	"github.com/rowbell/rowbell/pkg/workflow"
)

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
