package condition

import (
	"runtime"
	"sync"
	"weak"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Cache shares what was bound from the same text for the same table and operation, as
// long as somebody uses it. The zero value is ready; it may be used by several
// goroutines.
type Cache struct {
	mu    sync.Mutex
	bound map[cacheKey]weak.Pointer[Bound]
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
	c.mu.Lock()
	p := c.bound[key]
	c.mu.Unlock()
	if b := p.Value(); b != nil {
		return b, nil
	}
	b, err := bindClause(cl, rel, t, op)
	if err != nil || len(b.programs) == 0 {
		return b, err
	}
	p = weak.Make(b)
	c.mu.Lock()
	if c.bound == nil {
		c.bound = make(map[cacheKey]weak.Pointer[Bound])
	}
	c.bound[key] = p
	c.mu.Unlock()
	runtime.AddCleanup(b, func(key cacheKey) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.bound[key] == p {
			delete(c.bound, key)
		}
	}, key)
	return b, nil
}

// Len is the number of shared entries.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.bound)
}
