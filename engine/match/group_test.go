package match

import (
	"fmt"
	"testing"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// looked returns how many rules were evaluated for an event, and what matched.
func looked(table *Table, ev change.Event) (evaluated, matches int) {
	ev.Relation = table.rel
	before := table.evaluated
	matches = len(table.Match(&ev, testContext, nil))
	return int(table.evaluated - before), matches
}

// TestOnlyStabbedRangesAreEvaluated counts what an event looks at among many ranges,
// under no equality, under the same one, for all tenants and for one.
func TestOnlyStabbedRangesAreEvaluated(t *testing.T) {
	const n = 2000
	for name, c := range map[string]struct{ tenant, form string }{
		"of a tenant":          {"a", `{"total":{"between":[%d,%d]}}`},
		"of operators":         {"", `{"total":{"gte":%d,"lte":%d}}`},
		"under one equality":   {"a", `{"status":"paid","total":{"between":[%d,%d]}}`},
		"under one of several": {"a", `{"status":{"in":["paid","open"]},"note":"n","total":{"between":[%d,%d]}}`},
	} {
		t.Run(name, func(t *testing.T) {
			var list []*Compiled
			for i := range n {
				// Ten of them hold at any number between.
				list = append(list, simple(fmt.Sprintf("w%d", i), c.tenant, "update", fmt.Sprintf(c.form, i*10, i*10+99)))
			}
			_, _, table := index(t, 'f', list...)
			for total, want := range map[string]int{"5000.5": 10, "99": 10, "20080": 1, "-1": 0, "20090": 0, "NaN": 0} {
				got, matches := looked(table, change.Event{Op: change.Update, New: row("1", "a", "paid", total, "n"), Old: row("1", "a", "x", "0", "n")})
				if matches != want || got > want+few {
					t.Errorf("total %s: looked at %d rules and matched %d, want %d", total, got, matches, want)
				}
			}
			// NULL lies nowhere; a value that can't be known may lie anywhere.
			if got, _ := looked(table, change.Event{Op: change.Update, New: row("1", "a", "paid", nil, "n"), Old: row("1", "a", "x", "0", "n")}); got > few {
				t.Errorf("NULL: looked at %d rules", got)
			}
			got, matches := looked(table, change.Event{Op: change.Update, New: row("1", "a", "paid", unchanged{}, "n")})
			if got != n || matches != n {
				t.Errorf("not in the WAL: looked at %d rules, %d failed, want %d", got, matches, n)
			}
		})
	}
}

// TestUnchangedAreNotEvaluated counts the same for columns that must have changed.
func TestUnchangedAreNotEvaluated(t *testing.T) {
	const n = 1000
	var list []*Compiled
	for i := range n {
		list = append(list,
			simple(fmt.Sprintf("s%d", i), "a", "update", fmt.Sprintf(`{"status":{"changed":true,"starts_with":"x%d"}}`, i)),
			simple(fmt.Sprintf("n%d", i), "a", "update", fmt.Sprintf(`{"note":{"changed":true},"total":{"gt":%d}}`, i)),
		)
	}
	_, _, table := index(t, 'f', list...)
	for _, c := range []struct {
		name        string
		old         change.Row
		most, least int
	}{
		{"another column", row("1", "a", "s", "1", "n"), 2 * few, 0},
		{"status", row("1", "a", "t", "10", "n"), n + 2*few, n},
		{"note", row("1", "a", "s", "10", "m"), 10 + 2*few, 10},
		{"both", row("1", "a", "t", "10", "m"), n + 10 + 2*few, n + 10},
	} {
		got, _ := looked(table, change.Event{Op: change.Update, New: row("1", "a", "s", "10", "n"), Old: c.old})
		if got > c.most || got < c.least {
			t.Errorf("%s changed: looked at %d rules, want %d to %d", c.name, got, c.least, c.most)
		}
	}
	// An old row that leaves a value out doesn't say whether it changed: each fails for itself.
	got, matches := looked(table, change.Event{Op: change.Update, New: row("1", "a", "s", "10", "n"), Old: row("1", "a", "s", "10", unchanged{})})
	if got < 10 || got > 10+2*few || matches != 10 {
		t.Errorf("unknown: looked at %d rules and matched %d, want 10", got, matches)
	}
}

// TestShapesAreBounded asks for equality on every pair of 12 columns: beyond the bound a
// rule stands under fewer columns, and is found all the same.
func TestShapesAreBounded(t *testing.T) {
	rel := &change.Relation{OID: 1, Schema: "public", Name: "orders", ReplicaIdentity: 'f', Fingerprint: 5}
	values := make([]any, 12)
	for i := range values {
		rel.Columns = append(rel.Columns, change.Column{Name: fmt.Sprintf("c%d", i), Type: change.Type{OID: 25, Kind: change.Text, Name: "text"}, Key: true})
		values[i] = "v"
	}
	ix := New()
	ix.Capture(&workflow.Table{Schema: "public", Name: "orders", Version: 1, Label: "orders"})
	count := 0
	for a := range 12 {
		for b := range a {
			ix.Apply(simple(fmt.Sprintf("w%d-%d", a, b), "", "create", fmt.Sprintf(`{"c%d":"v","c%d":"v"}`, a, b)))
			count++
		}
	}
	table := ix.Bind(rel)
	shapes := table.ops[change.Create].shapes
	if len(shapes) > maxShapes {
		t.Errorf("%d shapes", len(shapes))
	}
	for _, s := range shapes {
		if len(s.columns) == 0 {
			t.Error("rules with equalities stand under none of them")
		}
	}
	if _, matches := looked(table, change.Event{Op: change.Create, New: row(values...)}); matches != count {
		t.Errorf("%d matches, want %d", matches, count)
	}
}
