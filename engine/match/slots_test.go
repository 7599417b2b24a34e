package match

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/engine/condition"
)

// TestSlots fills and empties a table under few hashes and few keys, with rules of all
// demands, against a list.
func TestSlots(t *testing.T) {
	r := seedOf(t)
	var s slots
	type item struct {
		hash uint64
		key  string
		rule *rule
		want demands
		at   place
	}
	var live []item
	inside := func(i item, column int, x float64) bool {
		low, high := i.want.between(column)
		return low <= x && x <= high
	}
	found := func(hash uint64, key string, x float64) []string {
		var list []string
		for ref := s.first(hash); ref != 0; ref = s.at(ref).next {
			n := s.at(ref)
			if !s.has(ref, n, []byte(key)) {
				continue
			}
			if n.flags&isGroup == 0 {
				list = append(list, n.compiled.WorkflowID)
				continue
			}
			g := s.groups.at(uint32(n.priority))
			refs := s.intervals.all(g.root, nil)
			if len(refs) != g.size {
				t.Fatalf("a group of %d has %d", g.size, len(refs))
			}
			if g.column >= 0 {
				refs = s.intervals.stab(g.root, x, nil)
			}
			for _, ref := range refs {
				list = append(list, s.intervals.at(ref).compiled.WorkflowID)
			}
		}
		slices.Sort(list)
		return list
	}
	grouped, wide, hits := 0, 0, 0
	for step := range 30_000 {
		if r.IntN(2) == 0 && len(live) < 400 || len(live) == 0 {
			key := fmt.Sprintf("%d", r.IntN(2)) + strings.Repeat("k", pick(r, 0, 0, keySize, 300))
			i := item{hash: uint64(r.IntN(5)) * 0x100000001, key: key, rule: &rule{compiled: &Compiled{WorkflowID: fmt.Sprint("w", step)}}}
			for column := range 3 {
				if r.IntN(3) == 0 {
					low := float64(r.IntN(10))
					i.want.ranges = append(i.want.ranges, condition.Range{Column: column, Low: low, High: low + float64(r.IntN(4)) - 0.5})
				}
			}
			if r.IntN(3) == 0 {
				i.want.changed = []int{r.IntN(10)}
				i.want.changes = [][]int{i.want.changed}
			}
			i.at = s.insert(i.hash, []byte(i.key), i.rule, i.want)
			if i.at.group != 0 {
				grouped++
			} else if i.at.ref&wideRef != 0 {
				wide++
			}
			live = append(live, i)
		} else {
			n := r.IntN(len(live))
			s.remove(live[n].at)
			live[n] = live[len(live)-1]
			live = live[:len(live)-1]
		}
		if len(live) == 0 {
			continue
		}
		probe, x := pick(r, live...), float64(r.IntN(12))
		var want []string
		for _, i := range live {
			if i.hash != probe.hash || i.key != probe.key {
				continue
			}
			if i.at.group == 0 || inside(i, s.groups.at(i.at.group).column, x) {
				want = append(want, i.rule.compiled.WorkflowID)
			}
		}
		slices.Sort(want)
		if got := found(probe.hash, probe.key, x); !slices.Equal(got, want) {
			t.Fatalf("step %d: got %v, want %v", step, got, want)
		}
		hits += len(want)
	}
	if grouped < 1000 || wide < 1000 || hits < 30_000 {
		t.Errorf("the test does too little: %d in groups, %d under wide keys, %d found", grouped, wide, hits)
	}
	for _, i := range live {
		s.remove(i.at)
	}
	if s.first(12345) != 0 || s.used != 0 || len(s.long) != 0 {
		t.Error("found what was never put in, or something is left")
	}
}

// TestGroupsAreBounded asks for more different changes under one key than there may be
// groups.
func TestGroupsAreBounded(t *testing.T) {
	var s slots
	var places []place
	for i := range 200 {
		want := demands{changed: []int{i}, changes: [][]int{{i}}}
		if i%2 == 0 {
			want.ranges = []condition.Range{{Column: 1, Low: float64(i), High: math.Inf(1)}}
		}
		places = append(places, s.insert(7, []byte("k"), &rule{}, want))
	}
	groups, alone := 0, 0
	for ref := s.first(7); ref != 0; ref = s.at(ref).next {
		if s.at(ref).flags&isGroup != 0 {
			groups++
			if alone > 0 {
				t.Fatal("a group stands behind rules")
			}
		} else {
			alone++
		}
	}
	if groups != maxGroups {
		t.Errorf("%d groups, want %d", groups, maxGroups)
	}
	for _, p := range places {
		s.remove(p)
	}
	if s.used != 0 {
		t.Error("something is left")
	}
}

// TestTrees compares trees of random intervals with a list of them.
func TestTrees(t *testing.T) {
	r := seedOf(t)
	bound := func() float64 {
		return pick(r, math.Inf(-1), math.Inf(1), 0, 1, 1, 2, 3, float64(r.IntN(1000)), r.Float64())
	}
	for range 20 {
		var all trees
		var roots [3]uint32
		var live [3][]uint32
		for step := range 2000 {
			k := r.IntN(len(roots))
			if r.IntN(5) < 3 || len(live[k]) == 0 {
				ref := all.take()
				*all.at(ref) = interval{low: bound(), high: bound()}
				roots[k] = all.insert(roots[k], ref)
				live[k] = append(live[k], ref)
			} else {
				n := r.IntN(len(live[k]))
				roots[k] = all.remove(roots[k], live[k][n])
				all.give(live[k][n])
				live[k] = slices.Delete(live[k], n, n+1)
			}
			x := bound()
			var want []uint32
			for _, ref := range live[k] {
				if i := all.at(ref); i.low <= x && x <= i.high {
					want = append(want, ref)
				}
			}
			got := all.stab(roots[k], x, nil)
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("step %d: at %g: got %v, want %v", step, x, got, want)
			}
			if n := len(all.all(roots[k], nil)); n != len(live[k]) {
				t.Fatalf("step %d: %d intervals, want %d", step, n, len(live[k]))
			}
		}
	}
}

// TestTreeStaysFlat puts bounds in in order, which makes a plain tree a list.
func TestTreeStaysFlat(t *testing.T) {
	var all trees
	var depth func(ref uint32) int
	depth = func(ref uint32) int {
		if ref == 0 {
			return 0
		}
		return 1 + max(depth(all.at(ref).left), depth(all.at(ref).right))
	}
	root := uint32(0)
	const n = 100_000
	for i := range n {
		ref := all.take()
		*all.at(ref) = interval{low: float64(i / 3), high: math.Inf(1)}
		root = all.insert(root, ref)
	}
	if d := depth(root); d > 60 {
		t.Errorf("%d intervals stand %d deep", n, d)
	}
}
