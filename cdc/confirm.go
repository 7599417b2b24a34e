package cdc

import (
	"sync"

	"github.com/rowbell/rowbell/pkg/change"
)

// maxConfirmations bounds what waits to be told. When it is full the newest one
// replaces the one before: the slot is told a little later, never too much.
const maxConfirmations = 64

// confirmations holds what may be told to the slot, and when.
type confirmations struct {
	mu      sync.Mutex
	waiting [maxConfirmations]confirmation // the first n; both fields rise
	n       int
	told    change.LSN // what a status may say now
}

// confirmation says that lsn may be told once the stream has passed recordedAt.
type confirmation struct {
	lsn        change.LSN
	recordedAt change.LSN
}

// add notes a confirmation. One that is not beyond the last is ignored.
func (c *confirmations) add(lsn, recordedAt change.LSN) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if lsn <= c.told || c.n > 0 && lsn <= c.waiting[c.n-1].lsn {
		return
	}
	// Whatever waits for a later point than this one does is covered by it.
	for c.n > 0 && c.waiting[c.n-1].recordedAt >= recordedAt {
		c.n--
	}
	if c.n == maxConfirmations {
		c.n--
	}
	c.waiting[c.n] = confirmation{lsn, recordedAt}
	c.n++
}

// advance returns what may be told when the stream has passed received. It is never
// beyond received, and never goes back.
func (c *confirmations) advance(received change.LSN) change.LSN {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := 0
	for i < c.n && c.waiting[i].recordedAt <= received && c.waiting[i].lsn <= received {
		c.told = c.waiting[i].lsn
		i++
	}
	c.n = copy(c.waiting[:], c.waiting[i:c.n])
	return c.told
}

// durable is the greatest LSN that was confirmed, told or not.
func (c *confirmations) durable() change.LSN {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n > 0 {
		return c.waiting[c.n-1].lsn
	}
	return c.told
}

// begin sets what the slot holds already.
func (c *confirmations) begin(lsn change.LSN) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = lsn
}

// pending says that something waits for the stream to pass a point.
func (c *confirmations) pending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n > 0
}
