package executor

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

// Trouble is something that an executor can't do at present, and tries again.
type Trouble struct {
	What  string // what it can't do: "claim deliveries"
	Err   error
	Since time.Time
}

// health is what goes wrong at present, by what it is.
type health struct {
	mu      sync.Mutex
	trouble map[string]Trouble
}

// note says how it went: err is nil if all is well again.
func (h *health) note(what string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		delete(h.trouble, what)
		return
	}
	t, known := h.trouble[what]
	if !known {
		t = Trouble{What: what, Since: time.Now()}
	}
	t.Err = err
	if h.trouble == nil {
		h.trouble = make(map[string]Trouble)
	}
	h.trouble[what] = t
}

// Troubles are what goes wrong at present, the oldest first.
func (e *Executor) Troubles() []Trouble {
	e.health.mu.Lock()
	defer e.health.mu.Unlock()
	return slices.SortedFunc(maps.Values(e.health.trouble), func(a, b Trouble) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.What, b.What))
	})
}
