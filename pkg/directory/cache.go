package directory

import (
	"sync"
	"time"
)

// cache keeps answers for a while, by count of what is in them. Of its two halves the
// young one takes what is new; when it is full it becomes the old one.
type cache[K comparable, V any] struct {
	keep time.Duration
	most int
	size func(V) int

	mu         sync.Mutex
	young, old map[K]entry[V]
	count      int // in young
}

type entry[V any] struct {
	value V
	at    time.Time
}

func newCache[K comparable, V any](keep time.Duration, most int, size func(V) int) *cache[K, V] {
	return &cache[K, V]{keep: keep, most: most, size: size, young: make(map[K]entry[V])}
}

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.young[k]
	if !ok {
		e, ok = c.old[k]
	}
	if !ok || time.Since(e.at) > c.keep {
		var none V
		return none, false
	}
	return e.value, true
}

// put keeps an answer that was asked for at a time.
func (c *cache[K, V]) put(k K, v V, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count >= max(1, c.most/2) {
		c.old, c.young, c.count = c.young, make(map[K]entry[V]), 0
	}
	c.young[k] = entry[V]{v, at}
	c.count += c.size(v)
}

// len is how many answers are kept.
func (c *cache[K, V]) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.young) + len(c.old)
}
