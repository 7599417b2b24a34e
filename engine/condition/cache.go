package condition

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"weak"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Cache shares what was bound from the same text for the same table and operation, as
// long as somebody uses it. The zero value is ready; it may be used by several
// goroutines.
type Cache struct {
	once sync.Once
	s    *shared
}

// shared is what the clean-up of each Bound refers to. It lies apart from the Cache: that
// is a part of an index, which would be kept as long as any Bound is, which it keeps.
type shared struct {
	mu    sync.Mutex
	bound map[cacheKey]weak.Pointer[Bound]
	rests map[string]weak.Pointer[Bound]
}

func (c *Cache) shared() *shared {
	c.once.Do(func() {
		c.s = &shared{bound: make(map[cacheKey]weak.Pointer[Bound]), rests: make(map[string]weak.Pointer[Bound])}
	})
	return c.s
}

type cacheKey struct {
	text        string
	where       string // errors at run time name it
	fingerprint uint64
	table       string
	version     int32 // of the captured table: hidden columns, tenant column
	op          change.Op
	trigger     bool
}

// clause binds a clause, or finds it bound. Only what holds a program is kept: leaves
// are smaller than an entry here.
func (c *Cache) clause(cl *clause, rel *change.Relation, t *workflow.Table, op change.Op) (*Bound, error) {
	key := cacheKey{cl.text, cl.where, rel.Fingerprint, t.Label, t.Version, op, cl.trigger}
	known := c.shared()
	known.mu.Lock()
	p := known.bound[key]
	known.mu.Unlock()
	if b := p.Value(); b != nil {
		return b, nil
	}
	b, err := bindClause(cl, rel, t, op)
	if err != nil || len(b.programs) == 0 {
		return b, err
	}
	p = weak.Make(b)
	known.mu.Lock()
	known.bound[key] = p
	known.mu.Unlock()
	runtime.AddCleanup(b, func(key cacheKey) {
		known.mu.Lock()
		defer known.mu.Unlock()
		if known.bound[key] == p {
			delete(known.bound, key)
		}
	}, key)
	return b, nil
}

// Rest returns what remains to be checked of b by a caller that has checked these
// equalities: nil for nothing. It has no Columns and no Equalities. Workflows that ask
// for the same, as those made from one template do, get the same.
func (c *Cache) Rest(b *Bound, checked []Equality) *Bound {
	r := &Bound{programs: b.programs, keep: b.keep}
	var key []byte
	known := true
	for _, l := range b.leaves {
		done := l.indexed() && slices.ContainsFunc(checked, func(e Equality) bool {
			return e.Column == int(l.column) && &e.Values[0] == &l.raw[0]
		})
		if done {
			continue
		}
		if len(r.leaves) == 0 {
			r.one[0] = l
			r.leaves = r.one[:]
		} else {
			r.leaves = append(r.leaves, l)
		}
		var ok bool
		key, ok = l.content(key)
		known = known && ok
	}
	if len(r.leaves) == 0 && len(r.programs) == 0 {
		return nil
	}
	if len(r.programs) == 0 {
		r.keep = nil
	}
	if !known {
		return r
	}
	for _, p := range r.programs {
		key = fmt.Appendf(key, "%p", p) // the same again only while that one lives
	}
	return c.share(string(key), r)
}

// share returns the living Bound of this key, or makes it r.
func (c *Cache) share(key string, r *Bound) *Bound {
	known := c.shared()
	known.mu.Lock()
	defer known.mu.Unlock()
	if same := known.rests[key].Value(); same != nil {
		return same
	}
	p := weak.Make(r)
	known.rests[key] = p
	runtime.AddCleanup(r, func(key string) {
		known.mu.Lock()
		defer known.mu.Unlock()
		if known.rests[key] == p {
			delete(known.rests, key)
		}
	}, key)
	return r
}

// Len is the number of shared entries.
func (c *Cache) Len() int {
	known := c.shared()
	known.mu.Lock()
	defer known.mu.Unlock()
	return len(known.bound) + len(known.rests)
}
