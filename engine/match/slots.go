package match

import (
	"slices"

	"github.com/rowbell/rowbell/engine/condition"
)

// node is a rule under one of its keys, or the head of a group of them: all that a
// match needs, in one line of the cache if the key is short. With many workflows the
// time of a match is that of the few loads from memory which it takes: one in the
// table, one here.
type node struct {
	rest     *condition.Bound // rule.rest
	compiled *Compiled
	priority int32
	next     uint32 // with the same hash; 0 none. Heads of groups come first
	flags    flags
	length   uint8 // of key; longKey: the key is one of slots.long
	key      [keySize]byte
}

// wideNode is a node for a key that is too long for one line.
type wideNode struct {
	node
	more [wideSize - keySize]byte // the key's end
}

// flags say what a rule is besides its condition.
type flags uint8

const (
	several flags = 1 << iota // its workflow has more triggers for this table and operation
	isGroup                   // it is no rule but the head of a group: priority is its place
	becomes                   // it holds only if its condition, which rest has whole, did not hold for the old row
)

const (
	keySize  = 38 // makes the node 64 bytes
	wideSize = keySize + 64
	longKey  = 255

	// wideRef marks the places of wide nodes.
	wideRef = 1 << 31
)

// cold is what of a node only changes need.
type cold struct {
	hash uint32
	prev uint32 // with the same hash; 0: it is the first
}

// group holds rules under one key that ask the same column to lie in a range, or one of
// the same columns to have changed, or both.
type group struct {
	column  int   // of the range; -1 none
	changed []int // in order; nil: they ask for no change
	root    uint32
	size    int
	head    uint32 // its node
}

// place is where a rule stands under one of its keys.
type place struct {
	ref   uint32 // of its node; of its interval, in a group
	group uint32 // 0: in none
}

const (
	// few rules under one key stand there each by itself, whatever else they ask for:
	// to look at them is not more than to look into a tree.
	few = 2
	// maxGroups bounds the groups under one key.
	maxGroups = 16
)

// slots is a hash table of nodes with open addressing. The zero value is empty.
type slots struct {
	list []slot  // a power of two long, at most half full
	tags []uint8 // of the slots, 0 for an empty one: so small that they stay in the cache, and most of what isn't there is known by them
	used int

	nodes     arena[node]
	wide      arena[wideNode]
	cold      arena[cold] // at the places of nodes
	wideCold  arena[cold] // at those of wide
	long      map[uint32][]byte
	groups    arena[group]
	intervals trees
}

type slot struct {
	hash uint32
	node uint32 // 0: empty
}

func (s *slots) at(ref uint32) *node {
	if ref&wideRef != 0 {
		return &s.wide.at(ref &^ wideRef).node
	}
	return s.nodes.at(ref)
}

func (s *slots) coldAt(ref uint32) *cold {
	if ref&wideRef != 0 {
		return s.wideCold.at(ref &^ wideRef)
	}
	return s.cold.at(ref)
}

// first returns the first node under a hash, 0 if there is none.
func (s *slots) first(hash uint64) uint32 {
	if s.used == 0 {
		return 0
	}
	mask := uint32(len(s.list) - 1)
	for i := uint32(hash) & mask; ; i = (i + 1) & mask {
		switch s.tags[i] {
		case 0:
			return 0
		case tag(uint32(hash)):
			if e := &s.list[i]; e.hash == uint32(hash) {
				return e.node
			}
		}
	}
}

// has says that the node n at ref stands under key.
func (s *slots) has(ref uint32, n *node, key []byte) bool {
	if n.length <= keySize {
		return string(n.key[:n.length]) == string(key)
	}
	return s.hasLong(ref, n, key)
}

func (s *slots) hasLong(ref uint32, n *node, key []byte) bool {
	if n.length == longKey {
		return string(s.long[ref]) == string(key)
	}
	return len(key) == int(n.length) && string(key[:keySize]) == string(n.key[:]) &&
		string(key[keySize:]) == string(s.wide.at(ref &^ wideRef).more[:n.length-keySize])
}

// tag is the upper bits of a hash, which don't choose the slot.
func tag(hash uint32) uint8 { return uint8(hash>>24) | 1 }

func (s *slots) set(i uint32, e slot) { s.list[i], s.tags[i] = e, tag(e.hash) }

// find returns the slot of a hash, or the empty one where it belongs.
func (s *slots) find(hash uint32) uint32 {
	mask := uint32(len(s.list) - 1)
	i := hash & mask
	for s.list[i].node != 0 && s.list[i].hash != hash {
		i = (i + 1) & mask
	}
	return i
}

// insert puts a rule under a key, by itself or into a group of those that ask for the
// same.
func (s *slots) insert(hash uint64, key []byte, r *rule, want demands) place {
	if 2*(s.used+1) > len(s.list) {
		old := s.list
		s.list = make([]slot, max(8, 2*len(old)))
		s.tags = make([]uint8, len(s.list))
		for _, e := range old {
			if e.node != 0 {
				s.set(s.find(e.hash), e)
			}
		}
	}
	last := uint32(0) // head of a group
	at := s.list[s.find(uint32(hash))].node
	if want.some() {
		same, groups := uint32(0), 0
		var best uint32 // group that could take it
		for ; at != 0; at = s.at(at).next {
			n := s.at(at)
			if n.flags&isGroup == 0 {
				break
			}
			last = at
			if !s.has(at, n, key) {
				continue
			}
			groups++
			switch g := s.groups.at(uint32(n.priority)); {
			case want.same(g):
				same = uint32(n.priority)
			case want.fit(g) && (best == 0 || narrower(g, s.groups.at(best))):
				best = uint32(n.priority)
			}
		}
		if same == 0 && groups >= maxGroups {
			same = best
		}
		if same == 0 && groups < maxGroups && s.alone(at, key) >= few {
			same = s.open(uint32(hash), key, want)
		}
		if same != 0 {
			return place{ref: s.join(same, r, want), group: same}
		}
	} else {
		for ; at != 0 && s.at(at).flags&isGroup != 0; at = s.at(at).next {
			last = at
		}
	}
	n := node{rest: r.rest, compiled: r.compiled, priority: r.priority, flags: r.flags}
	return place{ref: s.add(uint32(hash), key, last, n)}
}

// alone counts the rules that stand by themselves under a key, up to few.
func (s *slots) alone(at uint32, key []byte) int {
	count := 0
	for ; at != 0 && count < few; at = s.at(at).next {
		if s.has(at, s.at(at), key) {
			count++
		}
	}
	return count
}

// add puts a node behind another one of the same hash, or in front of all.
func (s *slots) add(hash uint32, key []byte, behind uint32, n node) uint32 {
	var ref uint32
	if len(key) <= keySize {
		n.length = uint8(copy(n.key[:], key))
		ref = s.nodes.take()
		s.cold.reach(ref)
	} else {
		ref = s.wide.take()
		s.wideCold.reach(ref)
		n.length = longKey
		if len(key) <= wideSize {
			n.length = uint8(len(key))
			copy(s.wide.at(ref).more[:], key[copy(n.key[:], key):])
		}
		ref |= wideRef
	}
	if n.length == longKey {
		if s.long == nil {
			s.long = make(map[uint32][]byte)
		}
		s.long[ref] = slices.Clone(key)
	}
	if behind != 0 {
		b := s.at(behind)
		n.next, b.next = b.next, ref
	} else {
		i := s.find(hash)
		if n.next = s.list[i].node; n.next == 0 {
			s.used++
		}
		s.set(i, slot{hash, ref})
	}
	*s.at(ref) = n
	*s.coldAt(ref) = cold{hash: hash, prev: behind}
	if n.next != 0 {
		s.coldAt(n.next).prev = ref
	}
	return ref
}

// drop takes a node out.
func (s *slots) drop(ref uint32) {
	n, c := s.at(ref), s.coldAt(ref)
	if n.next != 0 {
		s.coldAt(n.next).prev = c.prev
	}
	if c.prev != 0 {
		s.at(c.prev).next = n.next
	} else {
		i := s.find(c.hash)
		if s.list[i].node = n.next; n.next == 0 {
			s.used--
			s.close(i)
		}
	}
	if n.length == longKey {
		delete(s.long, ref)
	}
	if ref&wideRef != 0 {
		s.wide.give(ref &^ wideRef)
	} else {
		s.nodes.give(ref)
	}
}

// open makes a group under a key.
func (s *slots) open(hash uint32, key []byte, want demands) uint32 {
	ref := s.groups.take()
	g := group{column: want.column(), changed: want.changed}
	g.head = s.add(hash, key, 0, node{priority: int32(ref), flags: isGroup})
	*s.groups.at(ref) = g
	return ref
}

// join puts a rule into a group.
func (s *slots) join(ref uint32, r *rule, want demands) uint32 {
	g := s.groups.at(ref)
	low, high := want.between(g.column)
	i := s.intervals.take()
	*s.intervals.at(i) = interval{low: low, high: high, rest: r.rest, compiled: r.compiled, priority: r.priority, flags: r.flags}
	g.root = s.intervals.insert(g.root, i)
	g.size++
	return i
}

// remove takes a rule out of one of its places.
func (s *slots) remove(p place) {
	if p.group == 0 {
		s.drop(p.ref)
		return
	}
	g := s.groups.at(p.group)
	g.root = s.intervals.remove(g.root, p.ref)
	s.intervals.give(p.ref)
	if g.size--; g.size == 0 {
		s.drop(g.head)
		s.groups.give(p.group)
	}
}

// close moves up the slots that stand behind an empty one because it was taken.
func (s *slots) close(hole uint32) {
	mask := uint32(len(s.list) - 1)
	for i := (hole + 1) & mask; s.list[i].node != 0; i = (i + 1) & mask {
		home := s.list[i].hash & mask
		// It may go to the hole unless its home lies behind it.
		if (i-home)&mask >= (i-hole)&mask {
			s.set(hole, s.list[i])
			hole = i
		}
	}
	s.list[hole], s.tags[hole] = slot{}, 0
}
