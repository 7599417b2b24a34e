package live

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Log is what happens, as state has it; store's State is one.
type Log interface {
	LiveHorizon(ctx context.Context) (time.Time, error)
	LiveSettled(ctx context.Context, w store.LiveWindow) ([]store.LiveExecution, error)
	LiveEnded(ctx context.Context, w store.LiveWindow) ([]store.LiveDelivery, error)
	LivePending(ctx context.Context, from string, w store.LiveWindow) (list []store.LiveExecution, last string, full bool, err error)
	LastEvent(ctx context.Context) (string, error)
	LiveBarred(ctx context.Context, limit int) ([]workflow.Destination, error)
}

// Config says what a feed reads.
type Config struct {
	Log Log
	// Pauses are those that hold. nil: there are no events of them.
	Pauses func(ctx context.Context) ([]workflow.Pause, error)
	// Stream is how the stream stands. nil: there are no events of it.
	Stream func(ctx context.Context) StreamState
	// Every is how often it reads. Defaults to 1 s.
	Every time.Duration
	// Buffer is how many events wait for a reader. Defaults to 1024.
	Buffer int
	// Readers is how many there may be. Defaults to 1000.
	Readers int
	Logger  *slog.Logger
}

const (
	readAtOnce   = 1000             // rows of one kind
	mostPending  = 5000             // events whose executions are looked at, at a time
	mostBacklogs = 2                // readers at a time that hear of what they have missed
	mostBacklog  = 5000             // events of one kind that a reader gets who was away
	behindMost   = 30 * time.Second // how far behind the poller may be before it leaves something out
	streamEvery  = 5 * time.Second  // how often readers hear of the stream
	callTimeout  = 25 * time.Second
	retryWait    = 2 * time.Second
	commitSlack  = 5 * time.Second // how far the commit times of neighbours in the record may lie apart
)

var (
	// ErrReaders says that there are as many readers as there may be.
	ErrReaders = errors.New("there are too many readers of the feed; try again later")
	// ErrEnded says that the feed's Run has ended.
	ErrEnded = errors.New("the feed has ended")
)

// Feed tells its readers what happens.
type Feed struct {
	cfg      Config
	wake     chan struct{} // a token: a reader has come
	done     chan struct{} // closed when Run ends
	backlogs chan struct{} // a token for each reader that hears now of what it has missed

	mu      sync.Mutex
	readers map[*reader]bool
	ended   bool
	pumps   sync.WaitGroup

	// Of Run alone:
	at        place     // up to where everything was told
	watching  bool      // executions are told of as pending
	event     string    // the last event of which they were
	recorded  time.Time // up to when they were
	barred    map[int64]workflow.Destination
	paused    map[string]workflow.Pause
	stream    *Event
	streamAt  time.Time // when it was read
	polling   bool
	failing   bool
	pausesOff bool
}

// New makes a feed. It reads nothing until Run.
func New(cfg Config) *Feed {
	cfg.Every, cfg.Buffer, cfg.Readers = cmp.Or(cfg.Every, time.Second), cmp.Or(cfg.Buffer, 1024), cmp.Or(cfg.Readers, 1000)
	return &Feed{cfg: cfg, wake: make(chan struct{}, 1), done: make(chan struct{}), backlogs: make(chan struct{}, mostBacklogs), readers: make(map[*reader]bool)}
}

// Subscribe returns what happens from now on and passes the filter, until ctx ends or the
// feed does, when the channel is closed. after is the ID of the last event that the reader
// knows; "" = none: else what has ended since then comes first. Returns ErrReaders, ErrEnded, and
// another error if after is no ID.
func (f *Feed) Subscribe(ctx context.Context, filter Filter, after string) (<-chan Event, error) {
	r := &reader{feed: f, filter: filter, most: f.cfg.Buffer, some: make(chan struct{}, 1), joined: make(chan struct{}), out: make(chan Event), shown: make(map[string]bool)}
	if after != "" {
		p, err := parsePlace(after)
		if err != nil {
			return nil, err
		}
		r.after = &p
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.ended:
		return nil, ErrEnded
	case len(f.readers) >= f.cfg.Readers:
		return nil, ErrReaders
	}
	f.readers[r] = true
	f.pumps.Add(1)
	go func() {
		defer f.pumps.Done()
		r.pump(ctx)
		f.mu.Lock()
		delete(f.readers, r)
		f.mu.Unlock()
		close(r.out)
	}()
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return r.out, nil
}

// Readers is how many there are.
func (f *Feed) Readers() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.readers)
}

// Run reads what happens while there are readers, until ctx ends; it returns nil.
func (f *Feed) Run(ctx context.Context) error {
	defer f.pumps.Wait()
	defer func() {
		f.mu.Lock()
		f.ended = true
		f.mu.Unlock()
		close(f.done)
	}()
	for {
		if f.Readers() == 0 {
			f.polling = false
			select {
			case <-f.wake:
			case <-ctx.Done():
				return nil
			}
			continue
		}
		began := time.Now()
		err := f.poll(ctx)
		wait := max(f.cfg.Every-time.Since(began), time.Since(began)) // the database has other work
		if err != nil && ctx.Err() == nil {
			if !f.failing {
				f.cfg.Logger.WarnContext(ctx, "what happens could not be read for the live feed, will try again", "err", err)
			}
			wait = retryWait
		}
		f.failing = err != nil
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-f.wakeOf(err):
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// wakeOf is what ends a wait early: a reader that has come, unless reading fails.
func (f *Feed) wakeOf(err error) <-chan struct{} {
	if err != nil {
		return nil
	}
	return f.wake
}

// poll tells what has happened since the last time.
func (f *Feed) poll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	upTo, err := f.cfg.Log.LiveHorizon(ctx)
	if err != nil {
		return err
	}
	if !f.polling {
		f.at, f.polling, f.watching = place{at: upTo}, true, false
		f.barred, f.paused, f.stream, f.streamAt = nil, nil, nil, time.Time{}
	}
	readers := f.admit()
	if !f.at.at.Before(upTo) {
		return f.states(ctx, readers)
	}
	if behind := upTo.Sub(f.at.at); behind > behindMost {
		f.at = place{at: upTo.Add(-f.cfg.Every)}
		f.tell(readers, Event{ID: f.at.String(), Type: Missed, At: f.at.at, Missed: &MissedEvents{}, shared: true})
	}
	if err := f.watch(ctx, readers, upTo); err != nil {
		return err
	}
	err = read(ctx, f.cfg.Log, f.at, upTo, readAtOnce, slices.ContainsFunc(readers, func(r *reader) bool { return r.filter.wants(Delivery) }), store.LiveWindow{}, func(e Event, at place) bool {
		f.at = at
		f.tell(readers, e)
		return true
	})
	if err != nil {
		return err
	}
	f.at = place{upTo, behindAll}
	return f.states(ctx, readers)
}

// read reads what ended between a place and a time, in its order, and yields it, until yield
// returns false. of says of whom and of which workflow.
func read(ctx context.Context, log Log, from place, upTo time.Time, atOnce int, deliveries bool, of store.LiveWindow, yield func(Event, place) bool) error {
	type found struct {
		place
		Event
	}
	for {
		var list []found
		var end *place // nothing behind it is known yet
		of.UpTo, of.Limit, of.After, of.AfterID = upTo, atOnce, from.at, from.id
		executions, err := log.LiveSettled(ctx, of)
		if err != nil {
			return err
		}
		for i := range executions {
			x := &executions[i]
			at := place{*x.SettledAt, x.ID}
			if x.Only() != nil && deliveries {
				list = append(list, found{at, onlyEvent(x)})
			}
			list = append(list, found{at, settledEvent(x)})
		}
		if len(executions) == atOnce {
			end = &list[len(list)-1].place
		}
		if deliveries {
			ended, err := log.LiveEnded(ctx, of)
			if err != nil {
				return err
			}
			for i := range ended {
				list = append(list, found{place{ended[i].EndedAt, ended[i].ID}, deliveryEvent(&ended[i])})
			}
			if n := len(ended); n == atOnce && (end == nil || list[len(list)-1].compare(*end) < 0) {
				end = &list[len(list)-1].place
			}
		}
		if end != nil {
			last := *end // sorting moves it
			end = &last
		}
		slices.SortStableFunc(list, func(a, b found) int { return a.compare(b.place) })
		for i := range list {
			if e := &list[i]; end == nil || e.compare(*end) <= 0 {
				if !yield(e.Event, e.place) {
					return nil
				}
			}
		}
		if end == nil {
			return nil
		}
		from = *end
	}
}

// watch tells of executions that were recorded and are pending, if anybody wants to know.
func (f *Feed) watch(ctx context.Context, readers []*reader, upTo time.Time) (err error) {
	wanted := slices.ContainsFunc(readers, func(r *reader) bool { return r.filter.pending() })
	if wanted && f.watching {
		return f.pending(ctx, readers, upTo)
	}
	if wanted { // from now on
		if f.event, err = f.cfg.Log.LastEvent(ctx); err != nil {
			return err
		}
		f.recorded = upTo
	}
	f.watching = wanted
	return nil
}

// pending tells of executions that were recorded and are not settled.
func (f *Feed) pending(ctx context.Context, readers []*reader, upTo time.Time) error {
	list, last, full, err := f.cfg.Log.LivePending(ctx, slackBefore(f.event), store.LiveWindow{After: f.recorded, UpTo: upTo, Limit: mostPending})
	if err != nil {
		return err
	}
	for i := range list {
		f.tell(readers, pendingEvent(&list[i]))
	}
	if full { // the rest is left out
		f.tell(readers, Event{Type: Missed, At: upTo, Missed: &MissedEvents{}, shared: true})
		if last, err = f.cfg.Log.LastEvent(ctx); err != nil {
			return err
		}
	}
	f.event, f.recorded = last, upTo
	return nil
}

// slackBefore is the id before which no event was recorded after this one: their order is
// that of commits, and their ids begin with the commits' times.
func slackBefore(id string) string {
	u, err := ulid.ParseStrict(id)
	if err != nil {
		return ""
	}
	at := u.Time()
	at -= min(at, uint64(commitSlack.Milliseconds()))
	_ = u.SetTime(at) // it is less than one that was valid
	return u.String()
}

// states tells of what is only a state, where that has changed.
func (f *Feed) states(ctx context.Context, readers []*reader) error {
	if err := f.destinations(ctx, readers); err != nil {
		return err
	}
	if f.cfg.Stream != nil && time.Since(f.streamAt) >= streamEvery {
		f.streamAt = time.Now()
		s := f.cfg.Stream(ctx)
		f.stream = &Event{Type: Stream, At: time.Now(), Stream: &s}
		f.tell(readers, *f.stream)
	}
	if f.cfg.Pauses == nil {
		return nil
	}
	list, err := f.cfg.Pauses(ctx)
	if err != nil { // the source may be away while state goes on
		if !f.pausesOff && ctx.Err() == nil {
			f.cfg.Logger.WarnContext(ctx, "what is paused could not be read for the live feed", "err", err)
		}
		f.pausesOff = true
		return nil
	}
	f.pausesOff = false
	now := make(map[string]workflow.Pause, len(list))
	for i := range list {
		now[list[i].ID] = list[i]
	}
	for id, p := range f.paused {
		if _, holds := now[id]; !holds {
			f.tell(readers, pauseEvent(p, false))
		}
	}
	for i := range list {
		if _, known := f.paused[list[i].ID]; !known && f.paused != nil {
			f.tell(readers, pauseEvent(list[i], true))
		}
	}
	f.paused = now
	return nil
}

func pauseEvent(p workflow.Pause, begun bool) Event {
	s := &PauseState{
		ID: p.ID, Begun: begun, Scope: p.Scope(), TenantID: p.TenantID, WorkflowID: p.WorkflowID, Kind: p.Kind, Reason: p.Reason, CreatedBy: p.CreatedBy,
	}
	if !p.Until.IsZero() {
		s.Until = &p.Until
	}
	// Whose a workflow is isn't known here: operators alone hear of it.
	return Event{Type: Pause, At: time.Now(), Pause: s, tenantID: cmp.Or(p.TenantID, noTenant), shared: p.TenantID == "" && p.WorkflowID == ""}
}

// noTenant is no tenant's id, nor the operators'.
const noTenant = "\x00"

// destinations tells of those that have changed.
func (f *Feed) destinations(ctx context.Context, readers []*reader) error {
	list, err := f.cfg.Log.LiveBarred(ctx, mostBacklog)
	if err != nil {
		return err
	}
	now := make(map[int64]workflow.Destination, len(list))
	for i := range list {
		d := list[i]
		now[d.Lane] = d
		if was, known := f.barred[d.Lane]; f.barred != nil && (!known || was.State != d.State) {
			f.tell(readers, destinationEvent(d))
		}
	}
	for lane, was := range f.barred {
		if _, barred := now[lane]; !barred {
			was.State, was.DisabledReason, was.LastError = workflow.Closed, "", ""
			f.tell(readers, destinationEvent(was))
		}
	}
	f.barred = now
	return nil
}

func destinationEvent(d workflow.Destination) Event {
	return Event{Type: Destination, At: time.Now(), tenantID: d.TenantID, Destination: &DestinationState{
		ID: workflow.LaneID(d.Lane), TenantID: d.TenantID, Kind: d.Kind, Destination: d.Destination, State: d.State, Reason: cmp.Or(d.DisabledReason, d.LastError),
	}}
}

// admit takes in the readers that have come, and returns all.
func (f *Feed) admit() []*reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]*reader, 0, len(f.readers))
	for r := range f.readers {
		if !r.in {
			r.in, r.from = true, f.at
			if f.stream != nil {
				r.push(*f.stream)
			}
			close(r.joined)
		}
		list = append(list, r)
	}
	return list
}

func (f *Feed) tell(readers []*reader, e Event) {
	for _, r := range readers {
		r.push(e)
	}
}
