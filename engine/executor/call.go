package executor

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Functions of the application run on connections to its database, which has others to
// serve: few run at once, and few of one lane. A delivery waits for its turn for a while
// only, since others need the worker.
const (
	mostCalls    = 8
	callsPerLane = 4
	callWait     = time.Second
)

// callers are the queues through which calls are made; each is one call's at a time.
type callers struct {
	turns chan struct{} // a token for each call that is made

	mu   sync.Mutex
	idle []Queue
}

func newCallers() *callers { return &callers{turns: make(chan struct{}, mostCalls)} }

func (c *callers) get(open func() Queue) Queue {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.idle); n > 0 {
		q := c.idle[n-1]
		c.idle = c.idle[:n-1]
		return q
	}
	return open()
}

func (c *callers) put(q Queue) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = append(c.idle, q)
}

// closeCallers ends their connections, when no attempt runs any more.
func (e *Executor) closeCallers() {
	for _, q := range e.callers.idle {
		e.closeQueue(q)
	}
	e.callers.idle = nil
}

// callTurn waits for the turn of a delivery that calls a function. Release it after ok.
func (e *Executor) callTurn(work context.Context, t *task) (release func(), ok bool) {
	wait := time.NewTimer(callWait)
	defer wait.Stop()
	take := func(tokens chan struct{}) bool {
		select {
		case tokens <- struct{}{}:
			return true
		case <-wait.C:
		case <-work.Done():
		}
		return false
	}
	if !take(t.lane.calls) {
		return nil, false
	}
	if !take(e.callers.turns) {
		<-t.lane.calls
		return nil, false
	}
	return func() { <-e.callers.turns; <-t.lane.calls }, true
}

// call is what became of an attempt's Delivery.Call.
type call struct {
	made    bool
	written bool // the delivery has ended, and that is recorded
	lost    bool // another process has its lease
}

// caller lets an attempt take effect in the transaction that writes its outcome.
func (e *Executor) caller(l *workflow.Leased, d *actions.Delivery) *call {
	c := &call{}
	d.Call = func(ctx context.Context, f workflow.FunctionCall) (string, error) {
		if c.made {
			return "", errors.New("an attempt calls one function, once")
		}
		c.made = true
		q := e.callers.get(e.open)
		defer e.callers.put(q)
		said, err := q.Call(ctx, l, f)
		c.written, c.lost = err == nil, errors.Is(err, workflow.ErrConflict)
		return said, err
	}
	return c
}

// over says that nothing is left to be found out about an attempt, and what that is. One
// that called nothing, since deliveries are redirected, is like any other.
func (c *call) over(o *workflow.Outcome) bool {
	switch {
	case c.written:
		o.Verb = workflow.Written
	case c.lost:
		o.Verb = workflow.GiveBack // it changes nothing
	default:
		return false
	}
	return true
}
