package app

import (
	"context"
	"sync"
	"time"

	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// ringEach is how often those who listen to inboxes are notified. Each NOTIFY makes commits
// of its whole server wait for each other, so they are few, whatever the rate of notifications.
const ringEach = 200 * time.Millisecond

// inbox is where notifications go: state, and soon after whoever listens.
type inbox struct {
	state *store.State

	mu      sync.Mutex
	pending map[workflow.PersonKey]struct{}
	some    chan struct{} // a token: something is pending
}

func newInbox(state *store.State) *inbox {
	return &inbox{state: state, pending: make(map[workflow.PersonKey]struct{}), some: make(chan struct{}, 1)}
}

// mostPending is more than are named one by one.
const mostPending = 2000

// Notify puts a notification into its recipient's inbox.
func (i *inbox) Notify(ctx context.Context, n workflow.Notification) error {
	if err := i.state.Notify(ctx, n); err != nil {
		return err
	}
	i.mu.Lock()
	if len(i.pending) < mostPending {
		i.pending[workflow.PersonKey{TenantID: n.TenantID, ID: n.RecipientID}] = struct{}{}
	}
	i.mu.Unlock()
	select {
	case i.some <- struct{}{}:
	default:
	}
	return nil
}

// run notifies until ctx ends, and for what came before. What can't be told is lost: who
// listens looks by themself now and then too.
func (i *inbox) run(ctx context.Context) error {
	for {
		select {
		case <-i.some:
		case <-ctx.Done():
			return i.ring(ctx)
		}
		select {
		case <-time.After(ringEach):
		case <-ctx.Done():
		}
		if err := i.ring(ctx); err != nil {
			return err
		}
	}
}

func (i *inbox) ring(ctx context.Context) error {
	i.mu.Lock()
	people := make([]workflow.PersonKey, 0, len(i.pending))
	for p := range i.pending {
		people = append(people, p)
	}
	clear(i.pending)
	i.mu.Unlock()
	if len(people) == 0 {
		return nil
	}
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = i.state.RingInbox(call, people)
	return nil
}
