package condition

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"

	"github.com/rowbell/rowbell/pkg/change"
)

// certainty is what is known of a condition before any row is there.
type certainty uint8

const (
	depends certainty = iota // on the row
	always
	never
)

func certain(v bool) certainty {
	if v {
		return always
	}
	return never
}

func (t certainty) not() certainty {
	switch t {
	case always:
		return never
	case never:
		return always
	}
	return depends
}

// decided compares two constants.
func decided(compare func(a, b any) bool, a, b any) (t certainty) {
	defer func() {
		if recover() != nil {
			t = depends // it fails, and does so for each row
		}
	}()
	return certain(compare(a, b))
}

// warn notes what doesn't stop the condition; the same only once.
func (b *binder) warn(loc file.Location, message, mend string) {
	w := b.clause.errorAt(loc, message, mend)
	if !slices.ContainsFunc(b.warnings, func(x *Error) bool { return x.Message == message && x.Where == w.Where }) {
		b.warnings = append(b.warnings, w)
	}
}

// settled warns if a part of the condition doesn't depend on the row.
func (b *binder) settled(n ast.Node, o operand) {
	loc := file.Location{From: first(n)}
	switch truth := o.truth; {
	case b.told: // by combine, which knows why
		b.told = false
	case truth == always:
		// What asks for the operation may say something for another; true is what the form
		// writes for {}.
		if !b.readsOp && b.clause.text != "true" {
			b.warn(loc, "this always holds, so it says nothing", "")
		}
	case truth == never:
		b.warn(loc, fmt.Sprintf("this can never hold for %s", b.op.Phrase()), "")
	}
}

// combine says of an "and" or an "or" what is known of it, and warns if its parts
// contradict each other, or leave nothing out.
func (b *binder) combine(o *operand, loc file.Location, either bool, left, right operand) {
	if either {
		o.any = slices.Concat(left.any, right.any)
		switch {
		case left.truth == always || right.truth == always:
			o.truth = always
		case left.truth == never && right.truth == never:
			o.truth = never
		default:
			if x := b.search.neither(left.any, right.any); x != nil {
				o.truth, b.told = always, true
				b.warn(loc, fmt.Sprintf("one of the two about %s always holds, so this says nothing", b.columnOf(x)),
					`for "neither of them" join by && (all), or use not in [...] (not_in)`)
			}
		}
		return
	}
	o.all = slices.Concat(left.all, right.all)
	switch {
	case left.truth == never || right.truth == never:
		o.truth = never
	case left.truth == always && right.truth == always:
		o.truth = always
	default:
		if x, _ := b.search.opposed(left.all, right.all); x != nil {
			o.truth, b.told = never, true
			b.warn(loc, fmt.Sprintf("the two about %s never hold together", b.columnOf(x)), `for "one of them" join by || (any), or use in [...]`)
		}
	}
}

func (b *binder) columnOf(l *leaf) string { return b.rel.Columns[l.column].Name }

// mostCompared bounds the search for contradictions in one clause, and between those of
// one form: by the pairs of leaves, and of their constants.
const mostCompared = 100_000

// search looks for contradictions, and gives up when it has compared too much.
type search struct{ compared int }

// afford says whether there is enough left for n comparisons, and takes them.
func (s *search) afford(n int) bool {
	s.compared += min(n, mostCompared)
	s.compared = min(s.compared, 2*mostCompared)
	return s.compared <= mostCompared
}

// opposed finds two leaves, one of each list, that never hold together.
func (s *search) opposed(list, with []*leaf) (*leaf, *leaf) {
	for _, x := range list {
		for _, y := range with {
			if !s.afford(1) {
				return nil, nil
			}
			if x.column != y.column || x.side != y.side {
				continue
			}
			if s.afford(2*x.constants()*y.constants()) && (contradict(x, y) || contradict(y, x)) {
				return x, y
			}
		}
	}
	return nil, nil
}

// neither finds a leaf whose opposite never holds together with that of one of the other
// list: one of the two always holds.
func (s *search) neither(list, with []*leaf) *leaf {
	if !s.afford(len(list) + len(with)) {
		return nil
	}
	x, _ := s.opposed(negated(list), negated(with))
	return x
}

// constants counts what the leaf compares with.
func (l *leaf) constants() int {
	n := len(l.raw)
	if l.other != nil {
		n += len(l.other.floats) + len(l.other.times) + len(l.other.values)
	}
	return n
}

// contradiction looks for leaves among list, of clauses up to the i-th, and those of that
// one that never hold together.
func (f *Form) contradiction(s *search, i int, list, of []*leaf, op change.Op) *Error {
	for n, x := range of {
		y, _ := s.opposed(list, of[n:n+1])
		if y == nil {
			y, _ = s.opposed(of[:n], of[n:n+1])
		}
		if y == nil {
			continue
		}
		w := &Error{
			Where:   cmp.Or(x.where, f.clauses[i].where),
			Message: fmt.Sprintf("this and %s never hold together, so the trigger never fires for %s", cmp.Or(y.where, "another condition"), op.Phrase()),
		}
		if x.op == isEqual && y.op == isEqual && !x.negated && !y.negated {
			w.Mend = "for one of several values use in"
		}
		return w
	}
	return nil
}

func (l *leaf) not() *leaf {
	n := *l
	n.negated = !n.negated
	if len(n.raw) == 1 {
		n.one[0] = l.raw[0]
		n.raw = n.one[:]
	}
	return &n
}

func negated(list []*leaf) []*leaf {
	n := make([]*leaf, len(list))
	for i, l := range list {
		n[i] = l.not()
	}
	return n
}

// contradict says that two leaves are about one column and never hold together. It does
// not find all that do.
func contradict(x, y *leaf) bool {
	if x.column != y.column || x.side != y.side {
		return false
	}
	switch {
	case x.op == hasChanged || y.op == hasChanged:
		return x.op == y.op && x.negated != y.negated && x.other == nil && y.other == nil
	case x.op == isNull && !x.negated:
		// What is compared with a constant is not NULL.
		return y.op == isNull && y.negated || y.op != isNull && !y.negated
	case x.op == isEqual && !x.negated && y.op == isEqual:
		return !x.some(func(v constantValue) bool {
			return y.some(func(w constantValue) bool { return v.compare(w) == 0 }) != y.negated
		})
	case x.op == isEqual && !x.negated && y.ranges() && !y.negated:
		return !x.some(func(v constantValue) bool {
			return y.some(func(w constantValue) bool {
				n := v.compare(w)
				return n == incomparable || y.ordered(n)
			})
		})
	case x.ranges() && y.ranges() && !x.negated && !y.negated && x.lower() && !y.lower():
		return x.some(func(least constantValue) bool {
			return y.some(func(most constantValue) bool {
				n := least.compare(most)
				return n > 0 && n != incomparable || n == 0 && (x.op == isMore || y.op == isLess)
			})
		})
	}
	return false
}

func (l *leaf) ranges() bool {
	return l.op == isLess || l.op == isAtMost || l.op == isMore || l.op == isAtLeast
}

func (l *leaf) lower() bool { return l.op == isMore || l.op == isAtLeast }

// constantValue is a constant of a leaf: bytes, compared as digits or as they are, or a
// Go value.
type constantValue struct {
	raw    []byte
	number bool
	value  any
}

// incomparable is what compare returns for values that have no order.
const incomparable = 2

func (v constantValue) compare(w constantValue) int {
	switch {
	case v.raw != nil && w.raw != nil && (v.number || w.number):
		return compareDecimals(v.raw, w.raw)
	case v.raw != nil && w.raw != nil:
		return bytes.Compare(v.raw, w.raw)
	case v.raw != nil || w.raw != nil:
		return incomparable
	case equal(v.value, w.value):
		return 0
	}
	n, err := order(v.value, w.value)
	if err != nil {
		return incomparable
	}
	return n
}

// some says that is holds for one of the constants. A leaf without any has nothing to
// compare, so it holds for that.
func (l *leaf) some(is func(constantValue) bool) bool {
	n := 0
	for _, r := range l.raw {
		n++
		if is(constantValue{raw: r, number: l.digits}) {
			return true
		}
	}
	if l.other != nil {
		for _, f := range l.other.floats {
			n++
			if is(constantValue{value: f}) {
				return true
			}
		}
		for _, t := range l.other.times {
			n++
			if is(constantValue{value: t}) {
				return true
			}
		}
		for _, v := range l.other.values {
			n++
			if is(constantValue{value: v}) {
				return true
			}
		}
	}
	return n == 0
}

// never says that no value of the column's type equals any of the constants.
func (l *leaf) never(c *change.Column) bool {
	if l.negated || len(l.raw) == 0 {
		return false
	}
	for _, r := range l.raw {
		switch {
		case c.Type.Kind == change.Int && bytes.ContainsAny(r, ".NI"): // 1.5, NaN, Infinity
		case c.Type.Kind == change.Text && (c.Type.Name == "varchar" || c.Type.Name == "bpchar") && c.Modifier > 4 && longer(r, int(c.Modifier)-4):
		default:
			return false
		}
	}
	return true
}

// longer says that text has more than n characters.
func longer(text []byte, n int) bool { return len(text) > n && len([]rune(string(text))) > n }

// wide are the types of text whose values may be so large that the server stores them
// apart (TOAST), and doesn't send them again with an update that leaves them alone.
var wide = []string{"", "text", "citext", "xml", "hstore", "tsvector"}

// mayBeMissing warns of a column whose value an update may not send.
// (PostgreSQL manual: Logical Replication Message Formats, TupleData, 'u'.)
func (b *binder) mayBeMissing(o operand) {
	if o.column == nil || b.op != change.Update || o.column.side != newRow || b.rel.ReplicaIdentity == 'f' {
		return
	}
	c := &b.rel.Columns[o.column.column]
	switch c.Type.Kind {
	case change.JSON, change.Array, change.Bytea:
	case change.Text:
		if !slices.Contains(wide, c.Type.Name) && (c.Type.Name != "varchar" || c.Modifier > 0 && c.Modifier < 2000) {
			return
		}
	default:
		return
	}
	if c.Key {
		return
	}
	b.warn(o.loc, fmt.Sprintf("a large value of %s that an update leaves alone is not in the WAL: then this can't be decided, and the execution fails", c.Name),
		strings.TrimSpace(fullIdentity(b.rel)))
}
