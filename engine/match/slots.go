package match

import "github.com/rowbell/rowbell/engine/condition"

// node is a rule under one of its keys: all that a match needs, close together. With
// many workflows the time of a match is that of the few loads from memory which it
// takes: one in the table, one or two here.
type node struct {
	rule     *rule
	rest     *condition.Bound // rule.rest
	compiled *Compiled
	priority int32
	next     uint32 // with the same hash; 0 none
	several  bool
	length   uint8 // of key; longKey: the key is one of rule.keys
	key      [keySize]byte
}

const (
	keySize = 94 // makes the node 128 bytes: two lines of the cache, and the first is enough for a short key
	longKey = 255

	chunkBits = 5
	chunkSize = 1 << chunkBits
)

// slots is a hash table of nodes with open addressing. The zero value is empty.
type slots struct {
	list []slot // a power of two long, at most half full
	used int

	// The nodes lie in chunks, so that they are close to each other; they are named by
	// their place, from 1, which is half as long as a pointer.
	chunks []*[chunkSize]node
	placed uint32 // places given out
	free   uint32 // first of the places given back, linked by next; 0 none
}

type slot struct {
	hash uint32
	node uint32 // 0: empty
}

func (s *slots) at(ref uint32) *node {
	return &s.chunks[ref>>chunkBits][ref&(chunkSize-1)]
}

// first returns the first node under a hash, nil if there is none.
func (s *slots) first(hash uint64) *node {
	if s.used == 0 {
		return nil
	}
	mask := uint32(len(s.list) - 1)
	for i := uint32(hash) & mask; ; i = (i + 1) & mask {
		switch e := &s.list[i]; {
		case e.node == 0:
			return nil
		case e.hash == uint32(hash):
			return s.at(e.node)
		}
	}
}

// next returns the node after n under the same hash, nil if there is none.
func (s *slots) next(n *node) *node {
	if n.next == 0 {
		return nil
	}
	return s.at(n.next)
}

// has says that the node stands under key. A key that is too long for the node is one
// of its rule's.
func (n *node) has(key []byte) bool {
	if n.length != longKey {
		return string(n.key[:n.length]) == string(key)
	}
	for _, k := range n.rule.keys {
		if string(k) == string(key) {
			return true
		}
	}
	return false
}

// find returns the slot of a hash, or the empty one where it belongs.
func (s *slots) find(hash uint32) uint32 {
	mask := uint32(len(s.list) - 1)
	i := hash & mask
	for s.list[i].node != 0 && s.list[i].hash != hash {
		i = (i + 1) & mask
	}
	return i
}

func (s *slots) insert(hash uint64, key []byte, r *rule) {
	if 2*(s.used+1) > len(s.list) {
		old := s.list
		s.list = make([]slot, max(8, 2*len(old)))
		for _, e := range old {
			if e.node != 0 {
				s.list[s.find(e.hash)] = e
			}
		}
	}
	ref := s.place()
	n := s.at(ref)
	e := &s.list[s.find(uint32(hash))]
	if e.node == 0 {
		s.used++
	}
	*n = node{rule: r, rest: r.rest, compiled: r.compiled, priority: r.priority, next: e.node, several: r.several, length: longKey}
	if len(key) <= keySize {
		n.length = uint8(copy(n.key[:], key))
	}
	*e = slot{uint32(hash), ref}
}

// place returns the place of an unused node.
func (s *slots) place() uint32 {
	if ref := s.free; ref != 0 {
		s.free = s.at(ref).next
		return ref
	}
	s.placed++
	if int(s.placed>>chunkBits) == len(s.chunks) {
		s.chunks = append(s.chunks, new([chunkSize]node))
	}
	return s.placed
}

// remove takes out the node of a rule that stands under key.
func (s *slots) remove(hash uint64, key []byte, r *rule) {
	i := s.find(uint32(hash))
	for link := &s.list[i].node; *link != 0; {
		ref := *link
		n := s.at(ref)
		if n.rule == r && n.has(key) {
			*link = n.next
			*n = node{next: s.free}
			s.free = ref
			break
		}
		link = &n.next
	}
	if s.list[i].node == 0 {
		s.used--
		s.close(i)
	}
}

// close moves up the slots that stand behind an empty one because it was taken.
func (s *slots) close(hole uint32) {
	mask := uint32(len(s.list) - 1)
	for i := (hole + 1) & mask; s.list[i].node != 0; i = (i + 1) & mask {
		home := s.list[i].hash & mask
		// It may go to the hole unless its home lies behind it.
		if (i-home)&mask >= (i-hole)&mask {
			s.list[hole] = s.list[i]
			hole = i
		}
	}
	s.list[hole] = slot{}
}
