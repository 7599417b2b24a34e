package match

import (
	"cmp"
	"math"
	"slices"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
)

// demands are what a rule asks for besides equality: by them it is grouped.
type demands struct {
	ranges  []condition.Range // the one to group by first
	changes [][]int           // of each at least one has changed, in order
	changed []int             // the one to group by; nil none
}

// maxChanged bounds the columns of which one must have changed, for a group.
const maxChanged = 16

// demandsOf reads them off a rule, without ranges of the columns that its key holds.
func demandsOf(r *rule, rel *change.Relation, columns []int) demands {
	var d demands
	for _, x := range r.full.Ranges(rel, r.op) {
		if !slices.Contains(columns, x.Column) {
			d.ranges = append(d.ranges, x)
		}
	}
	// Bounds on both sides leave less.
	open := func(x condition.Range) int {
		n := 0
		if math.IsInf(x.Low, -1) {
			n++
		}
		if math.IsInf(x.High, 1) {
			n++
		}
		return n
	}
	slices.SortStableFunc(d.ranges, func(a, b condition.Range) int { return cmp.Compare(open(a), open(b)) })
	if r.op != change.Update {
		return d
	}
	for _, set := range r.full.Changes() {
		if len(set) > maxChanged {
			continue
		}
		slices.Sort(set)
		d.changes = append(d.changes, set)
		if d.changed == nil || len(set) < len(d.changed) {
			d.changed = set
		}
	}
	return d
}

func (d *demands) some() bool { return len(d.ranges) > 0 || d.changed != nil }

// column is the one to group by; -1 none.
func (d *demands) column() int {
	if len(d.ranges) == 0 {
		return -1
	}
	return d.ranges[0].Column
}

// between returns the bounds of a column; without any for -1.
func (d *demands) between(column int) (low, high float64) {
	for _, x := range d.ranges {
		if x.Column == column {
			return x.Low, x.High
		}
	}
	return math.Inf(-1), math.Inf(1)
}

// same says that g is the group to be in.
func (d *demands) same(g *group) bool {
	return g.column == d.column() && slices.Equal(g.changed, d.changed)
}

// fit says that a rule can be in g: whenever g is left out it would not have held.
func (d *demands) fit(g *group) bool {
	if g.column >= 0 && !slices.ContainsFunc(d.ranges, func(x condition.Range) bool { return x.Column == g.column }) {
		return false
	}
	return g.changed == nil || slices.ContainsFunc(d.changes, func(set []int) bool { return subset(set, g.changed) })
}

// narrower says that g leaves out more than other: a range more than a change.
func narrower(g, other *group) bool {
	rank := func(g *group) int {
		n := 0
		if g.column >= 0 {
			n += 2
		}
		if g.changed != nil {
			n++
		}
		return n
	}
	return rank(g) > rank(other)
}
