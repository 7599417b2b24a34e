package pgoutput

import (
	"encoding/binary"
	"fmt"
	"hash"
	"hash/fnv"
	"slices"

	"github.com/rowbell/rowbell/pkg/change"
)

// Relations knows the tables and types that one replication connection has
// described so far. A new connection starts with a new one, since the server
// describes everything again. The zero value is ready. It is not safe for
// concurrent use; the relations that it gives out are.
type Relations struct {
	byOID map[uint32]*change.Relation
	types map[uint32]change.Type
	last  *change.Relation // the one that Get gave last
}

// Apply takes in a Relation or Type message; others are left alone. A description
// equal to the one before keeps its *change.Relation, so that nothing is bound anew.
func (r *Relations) Apply(m *Message) {
	switch {
	case m.Type != nil:
		if r.types == nil {
			r.types = make(map[uint32]change.Type)
		}
		r.types[m.Type.OID] = userType(m.Type)
	case m.Relation != nil:
		rel := r.resolve(m.Relation)
		if old := r.byOID[rel.OID]; old != nil && same(old, rel) {
			return
		}
		if r.byOID == nil {
			r.byOID = make(map[uint32]*change.Relation)
		}
		r.byOID[rel.OID] = rel
		r.last = rel
	}
}

// Get returns the relation as it was described last, or nil if it never was.
func (r *Relations) Get(oid uint32) *change.Relation {
	if r.last != nil && r.last.OID == oid {
		return r.last
	}
	rel := r.byOID[oid]
	if rel != nil {
		r.last = rel
	}
	return rel
}

// For returns the relation of an Insert, Update or Delete. It is an error,
// ErrMalformed, if no Relation message described it before, or if a row has
// another number of columns.
func (r *Relations) For(m *Message) (*change.Relation, error) {
	rel := r.Get(m.RelationOID)
	if rel == nil {
		return nil, fmt.Errorf("%w: %s for relation %d, which no Relation message has described", ErrMalformed, m.Kind, m.RelationOID)
	}
	for _, row := range [...]change.Row{m.Old, m.New} {
		if !row.Empty() && row.Len() != len(rel.Columns) {
			return nil, fmt.Errorf("%w: %s for %s.%s has a row of %d columns, but its Relation message has %d",
				ErrMalformed, m.Kind, rel.Schema, rel.Name, row.Len(), len(rel.Columns))
		}
	}
	return rel, nil
}

func (r *Relations) resolve(m *RelationMessage) *change.Relation {
	rel := &change.Relation{
		OID:             m.OID,
		Schema:          m.Namespace,
		Name:            m.Name,
		ReplicaIdentity: m.ReplicaIdentity,
		Columns:         make([]change.Column, len(m.Columns)),
	}
	if rel.Schema == "" {
		rel.Schema = "pg_catalog"
	}
	for i, c := range m.Columns {
		rel.Columns[i] = change.Column{Name: c.Name, Type: r.typeOf(c.TypeOID), Modifier: c.Modifier, Key: c.Key}
	}
	rel.Fingerprint = fingerprint(rel)
	return rel
}

func (r *Relations) typeOf(oid uint32) change.Type {
	if t, ok := typesByOID[oid]; ok {
		return t
	}
	if t, ok := r.types[oid]; ok {
		return t
	}
	return change.Type{OID: oid, Kind: change.Text}
}

// userType says how to read a type that does not come with PostgreSQL. A domain
// has the name of what it is over. The elements of an array of a user type are
// text, whatever they are: the stream does not say what a domain in an array is
// over, and the answer must not depend on what else the connection has seen.
func userType(m *TypeMessage) change.Type {
	t := change.Type{OID: m.OID, Kind: change.Text, Name: m.Name}
	if m.Namespace == "" {
		if b, ok := typesByName[m.Name]; ok {
			b.OID = m.OID
			return b
		}
	}
	if len(m.Name) > 1 && m.Name[0] == '_' {
		t.Kind, t.Elem = change.Array, change.Text
	}
	return t
}

func same(a, b *change.Relation) bool {
	return a.Fingerprint == b.Fingerprint && a.Schema == b.Schema && a.Name == b.Name &&
		a.ReplicaIdentity == b.ReplicaIdentity && slices.Equal(a.Columns, b.Columns)
}

// fingerprint hashes everything that describes the relation. Its value may be
// stored: what goes in, and in which order, stays.
func fingerprint(rel *change.Relation) uint64 {
	h := fnv.New64a()
	hashUint32(h, rel.OID)
	hashString(h, rel.Schema)
	hashString(h, rel.Name)
	hashUint32(h, uint32(rel.ReplicaIdentity))
	hashUint32(h, uint32(len(rel.Columns)))
	for _, c := range rel.Columns {
		hashString(h, c.Name)
		hashUint32(h, c.Type.OID)
		hashUint32(h, uint32(c.Type.Kind))
		hashUint32(h, uint32(c.Type.Elem))
		hashString(h, c.Type.Name)
		hashUint32(h, uint32(c.Modifier))
		key := uint32(0)
		if c.Key {
			key = 1
		}
		hashUint32(h, key)
	}
	return h.Sum64()
}

func hashUint32(h hash.Hash64, v uint32) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	h.Write(b[:]) // never fails (package hash)
}

func hashString(h hash.Hash64, s string) {
	hashUint32(h, uint32(len(s)))
	h.Write([]byte(s))
}
