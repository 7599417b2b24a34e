package condition

import (
	"encoding/json"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Operators are those of field_conditions that a column of a type can be compared by, as far
// as it matters which type it is, in the order in which people are told of them. They are
// found by binding a condition with each.
func Operators(t change.Type) []string {
	rel := &change.Relation{OID: 1, Schema: "public", Name: "t", ReplicaIdentity: 'f', Columns: []change.Column{
		{Name: "id", Type: change.Type{OID: 20, Kind: change.Int, Name: "int8"}, Modifier: -1, Key: true}, {Name: "c", Type: t, Modifier: -1, Key: true},
	}}
	table := &workflow.Table{Schema: "public", Name: "t", Label: "t", Version: 1, KeyColumns: []string{"id"}}
	var list []string
	for _, op := range operators {
		for _, operand := range operandsOf(op, t) {
			config, err := json.Marshal(map[string]any{"c": map[string]any{op: operand}})
			if err != nil {
				continue // operands are plain values
			}
			form, err := Parse(Source{Trigger: workflow.Trigger{EntityType: "t", Operation: "update", FieldConditions: config}})
			if err != nil {
				continue
			}
			if _, err := form.Bind(rel, table, change.Update); err == nil {
				list = append(list, op)
				break
			}
		}
	}
	return list
}

// operandsOf are values that an operator could take of a column of a type.
func operandsOf(op string, t change.Type) []any {
	switch op {
	case "is_null", "not_null", "changed":
		return []any{true}
	}
	v := example(t.Kind)
	if t.Kind == change.Array {
		element := example(t.Elem)
		if op == "contains" {
			return []any{element}
		}
		v = []any{element}
	}
	switch op {
	case "in", "not_in":
		return []any{[]any{v}}
	case "between":
		return []any{[]any{v, v}}
	case "contains":
		return []any{v, "a"}
	case "changed_from", "changed_to":
		return []any{v, []any{v}} // a list stands for any of its values
	}
	return []any{v}
}

// example is a value of a kind, as forms write it.
func example(k change.Kind) any {
	switch k {
	case change.Bool:
		return true
	case change.Int, change.Float, change.Number:
		return 1
	case change.Date:
		return "2026-01-31"
	case change.Time:
		return "10:00:00"
	case change.TimeTZ:
		return "10:00:00+00"
	case change.Timestamp:
		return "2026-01-31T10:00:00"
	case change.TimestampTZ:
		return "2026-01-31T10:00:00Z"
	case change.Interval:
		return "1 day"
	case change.UUID:
		return "00000000-0000-4000-8000-000000000000"
	case change.JSON:
		return map[string]any{"a": 1}
	case change.Bytea:
		return "YQ=="
	case change.Text, change.Array:
	}
	return "a"
}
