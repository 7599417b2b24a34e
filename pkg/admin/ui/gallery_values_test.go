package ui

import (
	"fmt"
	"strings"
	"testing"
)

func exampleNamed(t *testing.T, name string) *example {
	t.Helper()
	for _, e := range gallery() {
		if e.Name == name {
			return e
		}
	}
	t.Fatalf("there is no example %s", name)
	return nil
}

// The values that an example compares columns with are found, each once, wherever they stand; and
// those alone.
func TestLiterals(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"order-approved":    "status changed_to approved",
		"order-at-risk":     "status in new, status in approved, total gte 2000",
		"order-cancelled":   "status changed_to cancelled, total gte 1000, status ne new",
		"invoice-attention": "status eq overdue, status eq open, amount gte 2000, amount lte 100000, amount lte 0",
		"order-deleted":     "status not_in cancelled, status not_in delivered",
		"loyalty-points":    "status changed_from shipped, status eq delivered",
		"credit-raised":     "", // two columns are compared
		"night-change":      "",
		"customer-welcome":  "",
	} {
		var got []string
		for _, l := range exampleNamed(t, name).Literals {
			got = append(got, fmt.Sprintf("%s %s %s", l.Column, l.Op, l.Text))
		}
		if got := strings.Join(got, ", "); got != want {
			t.Errorf("%s compares with %s, want %s", name, got, want)
		}
	}
}

// What was chosen stands in the place of the example's values, as the column takes it.
func TestLiteralsAreMapped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		example string
		values  map[int]string
		kinds   map[string]string
		want    []string
	}{
		{"order-at-risk", map[int]string{0: "Open", 1: "", 2: "2500.50"}, map[string]string{"status": "text", "total": "number"}, []string{`{"stage":{"in":["Open","approved"]},"total":{"gte":2500.50}}`}},
		{"order-at-risk", map[int]string{0: "1", 1: "2"}, map[string]string{"status": "number"}, []string{`{"stage":{"in":[1,2]},"total":{"gte":2000}}`}},
		{"order-at-risk", map[int]string{0: "1", 2: "much"}, map[string]string{"status": "text"}, []string{`{"stage":{"in":["1","approved"]},"total":{"gte":"much"}}`}},
		{"order-cancelled", map[int]string{0: "Void", 1: "50", 2: `a "b"`}, map[string]string{"status": "text", "total": "number"}, []string{`{"stage":{"changed_to":"Void"}}`, `{"total":{"gte":50}}`, `old.stage != \"a \\\"b\\\"\"`}},
		{"invoice-attention", map[int]string{0: "late", 2: "1", 3: "9", 4: "-1"}, nil, []string{`{"stage":"late"}`, `{"stage":"open","any":[{"amount":{"between":[1,9]}},{"amount":{"lte":-1}}]}`}},
	} {
		e := exampleNamed(t, c.example)
		d := e.mapped(&mapping{Columns: map[string]map[string]string{e.Needs[0].Table: {"status": "stage"}}, Values: c.values, Kinds: c.kinds})
		text := written(t, d)
		text = strings.NewReplacer("\n", "", " ", "").Replace(text)
		for _, want := range c.want {
			if !strings.Contains(text, strings.ReplaceAll(want, " ", "")) {
				t.Errorf("%s: %s is not in %s", c.example, want, text)
			}
		}
	}
}
