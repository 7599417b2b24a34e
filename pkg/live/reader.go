package live

import (
	"context"
	"sync"

	"github.com/rowbell/rowbell/pkg/store"
)

// reader is one that listens.
type reader struct {
	feed   *Feed
	filter Filter
	after  *place // what it knows; nil: it begins where it joined
	most   int
	out    chan Event
	some   chan struct{}   // a token: something waits
	joined chan struct{}   // closed when from is known
	in     bool            // guarded by feed.mu
	from   place           // behind it the poller tells it all
	shown  map[string]bool // of pump: what filter.Sees has said of tenants

	mu      sync.Mutex
	waiting []Event
	missed  int
	last    Event // of what it missed
}

// push lets an event wait for the reader, if it is for it. It never blocks.
func (r *reader) push(e Event) {
	if e.Type != Missed {
		var sees bool
		if e, sees = r.filter.see(e); !sees {
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.missed > 0 && len(r.waiting) <= r.most/2 {
		r.waiting = append(r.waiting, r.gap())
	}
	if r.missed > 0 || len(r.waiting) >= r.most {
		if r.missed++; e.ID != "" || r.last.ID == "" {
			r.last = e
		}
		return
	}
	r.waiting = append(r.waiting, e)
	select {
	case r.some <- struct{}{}:
	default:
	}
}

// gap says what was missed, and forgets it; with mu. Who goes on after it misses no more.
func (r *reader) gap() Event {
	e := Event{ID: r.last.ID, Type: Missed, At: r.last.At, Missed: &MissedEvents{Count: r.missed}}
	r.missed, r.last = 0, Event{}
	return e
}

// take takes the first event that waits.
func (r *reader) take() (Event, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		if r.missed == 0 {
			return Event{}, false
		}
		return r.gap(), true
	}
	e := r.waiting[0]
	r.waiting[0] = Event{}
	r.waiting = r.waiting[1:]
	return e, true
}

// mostShown is of how many tenants it is remembered what the database says.
const mostShown = 10_000

// shows says that the database shows the reader a tenant's rows.
func (r *reader) shows(ctx context.Context, tenantID string) (bool, error) {
	shown, known := r.shown[tenantID]
	if known {
		return shown, nil
	}
	shown, err := r.filter.Sees(ctx, tenantID)
	if err != nil {
		return false, err
	}
	if len(r.shown) >= mostShown {
		clear(r.shown)
	}
	r.shown[tenantID] = shown
	return shown, nil
}

// guard is the wall behind the filter: it lets through what the database shows the reader.
func (r *reader) guard(ctx context.Context, e Event) (_ Event, shown bool, err error) {
	if r.filter.Sees == nil || e.Type == Missed {
		return e, true, nil
	}
	if all, err := r.shows(ctx, ""); all || err != nil {
		return e, all, err
	}
	switch {
	case e.shared && e.Type == Pause:
		return e.plain(), true, nil
	case e.tenantID == "" || e.tenantID == noTenant:
		return e, false, nil
	}
	shown, err = r.shows(ctx, e.tenantID)
	return e, shown, err
}

// pump hands the reader what there is for it, until ctx or the feed ends, or the database
// doesn't say what it may see: then it is to come again.
func (r *reader) pump(ctx context.Context) {
	send := func(e Event) bool {
		e, shown, err := r.guard(ctx, e)
		if err != nil && ctx.Err() == nil {
			r.feed.cfg.Logger.WarnContext(ctx, "a reader of the live feed is cut off, since the database doesn't say what it may see", "err", err)
		}
		if err != nil || !shown {
			return err == nil
		}
		select {
		case r.out <- e:
			return true
		case <-ctx.Done():
		case <-r.feed.done:
		}
		return false
	}
	select {
	case <-r.joined:
	case <-ctx.Done():
		return
	case <-r.feed.done:
		return
	}
	if r.after != nil && !r.backlog(ctx, send) {
		return
	}
	for {
		e, some := r.take()
		if some {
			if !send(e) {
				return
			}
			continue
		}
		select {
		case <-r.some:
		case <-ctx.Done():
			return
		case <-r.feed.done:
			return
		}
	}
}

// backlog hands the reader what has ended since it was away. It returns false if there is
// nobody to hand it to any more.
func (r *reader) backlog(ctx context.Context, send func(Event) bool) bool {
	after := *r.after
	if after.compare(r.from) >= 0 {
		return true
	}
	f := &r.filter
	if !f.wants(Execution) && !f.wants(Delivery) {
		return true
	}
	select { // of the database's connections not all are for those who come again
	case r.feed.backlogs <- struct{}{}:
		defer func() { <-r.feed.backlogs }()
	case <-ctx.Done():
		return false
	case <-r.feed.done:
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	n, alive := 0, true
	of := store.LiveWindow{Tenant: f.Tenant, WorkflowID: f.WorkflowID}
	missed := false
	err := read(ctx, r.feed.cfg.Log, after, r.from.at, mostBacklog, f.wants(Delivery), of, func(e Event, at place) bool {
		if at.compare(r.from) > 0 {
			return false
		}
		e, sees := f.see(e)
		if !sees {
			return true
		}
		if n++; n > mostBacklog {
			missed = true
			return false
		}
		alive = send(e)
		return alive
	})
	if !alive {
		return false
	}
	if err != nil && ctx.Err() == nil {
		r.feed.cfg.Logger.WarnContext(ctx, "what a reader of the live feed has missed could not be read", "err", err)
	}
	if err != nil || missed {
		return send(Event{ID: r.from.String(), Type: Missed, At: r.from.at, Missed: &MissedEvents{}})
	}
	return true
}
