package match

import (
	"cmp"

	"github.com/rowbell/rowbell/engine/condition"
)

// trees are balanced trees of intervals that share their memory. A tree is named by the
// place of its root; 0 is the empty one. They are treaps: in the order of the lower
// bounds, and heaps of a hash of the place. The zero value is ready.
type trees struct {
	arena[interval]
}

// interval is a rule that asks a column to lie between two bounds, both included: all
// that a match needs, in one line of the cache.
type interval struct {
	low, high   float64
	top         float64 // the highest bound of it and of what is below
	left, right uint32
	rest        *condition.Bound
	compiled    *Compiled
	priority    int32
	flags       flags
	_           [3]byte
}

// weight decides which of two intervals stands above the other.
func weight(ref uint32) uint32 {
	ref ^= ref >> 16
	ref *= 0x85ebca6b
	ref ^= ref >> 13
	ref *= 0xc2b2ae35
	return ref ^ ref>>16
}

// before says that a stands left of b.
func (t *trees) before(a, b uint32) bool {
	return cmp.Or(cmp.Compare(t.at(a).low, t.at(b).low), cmp.Compare(a, b)) < 0
}

// update works top out again.
func (t *trees) update(ref uint32) {
	n := t.at(ref)
	n.top = n.high
	if n.left != 0 {
		n.top = max(n.top, t.at(n.left).top)
	}
	if n.right != 0 {
		n.top = max(n.top, t.at(n.right).top)
	}
}

// insert returns the tree with a new interval.
func (t *trees) insert(root, ref uint32) uint32 {
	if root == 0 {
		t.update(ref)
		return ref
	}
	n := t.at(root)
	switch {
	case weight(ref) > weight(root):
		n := t.at(ref)
		n.left, n.right = t.split(root, ref)
		root = ref
	case t.before(ref, root):
		n.left = t.insert(n.left, ref)
	default:
		n.right = t.insert(n.right, ref)
	}
	t.update(root)
	return root
}

// split takes a tree apart at where an interval belongs.
func (t *trees) split(root, ref uint32) (left, right uint32) {
	if root == 0 {
		return 0, 0
	}
	n := t.at(root)
	if t.before(root, ref) {
		n.right, right = t.split(n.right, ref)
		t.update(root)
		return root, right
	}
	left, n.left = t.split(n.left, ref)
	t.update(root)
	return left, root
}

// remove returns the tree without an interval that stands in it.
func (t *trees) remove(root, ref uint32) uint32 {
	n := t.at(root)
	switch {
	case root == ref:
		root = t.merge(n.left, n.right)
		n.left, n.right = 0, 0
		return root
	case t.before(ref, root):
		n.left = t.remove(n.left, ref)
	default:
		n.right = t.remove(n.right, ref)
	}
	t.update(root)
	return root
}

// merge joins two trees, of which the one stands left of the other.
func (t *trees) merge(left, right uint32) uint32 {
	switch {
	case left == 0:
		return right
	case right == 0:
		return left
	case weight(left) > weight(right):
		n := t.at(left)
		n.right = t.merge(n.right, right)
		t.update(left)
		return left
	}
	n := t.at(right)
	n.left = t.merge(left, n.left)
	t.update(right)
	return right
}

// stab appends the intervals that x lies in.
func (t *trees) stab(root uint32, x float64, found []uint32) []uint32 {
	for root != 0 {
		n := t.at(root)
		if n.top < x {
			return found
		}
		found = t.stab(n.left, x, found)
		if n.low > x {
			return found
		}
		if n.high >= x {
			found = append(found, root)
		}
		root = n.right
	}
	return found
}

// all appends all intervals.
func (t *trees) all(root uint32, found []uint32) []uint32 {
	for root != 0 {
		n := t.at(root)
		found = append(t.all(n.left, found), root)
		root = n.right
	}
	return found
}
