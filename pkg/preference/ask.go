package preference

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Store reads preferences.
type Store interface {
	// Preferences are those of these people, in their order; the zero value of who has none.
	Preferences(ctx context.Context, people []workflow.PersonKey) ([]workflow.Preferences, error)
}

// A Question is whether somebody wants to be told something, and whether now.
type Question struct {
	TenantID   string // whose people they are
	Person     workflow.Person
	WorkflowID string
	Channel    string // the action kind
}

// An Answer says what is to become of a delivery to somebody.
type Answer struct {
	// Reason is why it isn't to be sent, or not now; "" if it is.
	Reason string
	// Wait is for how long it is put off; 0 with a Reason: it isn't wanted at all.
	Wait time.Duration
}

// Config of an Asker.
type Config struct {
	// Zone is whose clock counts for people whose zone nobody knows. Defaults to UTC.
	Zone *time.Location
	// Fresh is for how long an answer of the database counts. Defaults to 2 s.
	Fresh time.Duration
	// Most is how many people's preferences are remembered. Defaults to 50,000.
	Most int
	// Now is the time. Defaults to time.Now.
	Now func() time.Time
}

// peopleAtOnce is how many people one query asks for.
const peopleAtOnce = 1000

// Asker answers questions from a Store. Those that come while a query is on its way are the
// next query, together. Its methods may be called from any goroutine.
type Asker struct {
	store Store
	cfg   Config

	mu      sync.Mutex
	known   map[workflow.PersonKey]known
	waiting map[workflow.PersonKey]*lookup // that are to be asked for next

	turn chan struct{} // holds a token while somebody asks
}

type known struct {
	workflow.Preferences
	read time.Time
}

// lookup is a person who is asked for. done is closed when the rest is there.
type lookup struct {
	done chan struct{}
	got  workflow.Preferences
	err  error
}

// New makes an Asker.
func New(store Store, cfg Config) *Asker {
	if cfg.Zone == nil {
		cfg.Zone = time.UTC
	}
	cfg.Fresh = cmp.Or(cfg.Fresh, 2*time.Second)
	cfg.Most = cmp.Or(cfg.Most, 50_000)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Asker{
		store: store, cfg: cfg, known: make(map[workflow.PersonKey]known),
		waiting: make(map[workflow.PersonKey]*lookup), turn: make(chan struct{}, 1),
	}
}

// Ask answers a question. An error is one of the database, and may go away.
func (a *Asker) Ask(ctx context.Context, q Question) (Answer, error) {
	p, err := a.preferences(ctx, workflow.PersonKey{TenantID: q.TenantID, ID: q.Person.ID})
	if err != nil {
		return Answer{}, err
	}
	return answer(p, q, a.cfg.Zone, a.cfg.Now()), nil
}

// answer decides.
func answer(p workflow.Preferences, q Question, zone *time.Location, now time.Time) Answer {
	if wanted, by := Wanted(p.Wanted, q.WorkflowID, q.Channel); !wanted {
		return Answer{Reason: optedOut(*by)}
	}
	if len(p.Quiet) == 0 {
		return Answer{}
	}
	if own, ok := LoadZone(q.Person.Zone); ok {
		zone = own
	}
	until, quiet, ever := QuietUntil(p.Quiet, zone, now)
	switch {
	case ever:
		return Answer{Reason: workflow.Why(workflow.WhyOptedOut, "their quiet hours have no end")}
	case quiet:
		if len(p.Quiet) == 1 { // whose zone the reader expects
			if own, ok := LoadZone(p.Quiet[0].Zone); ok {
				zone = own
			}
		}
		return Answer{
			Reason: workflow.Why(workflow.WhyQuiet, fmt.Sprintf("they want nothing before %s (%s)", until.In(zone).Format("Mon 2 Jan 15:04"), zone)),
			Wait:   max(until.Sub(now), time.Second),
		}
	}
	return Answer{}
}

// preferences are what is known of somebody, at most Fresh old.
func (a *Asker) preferences(ctx context.Context, key workflow.PersonKey) (workflow.Preferences, error) {
	a.mu.Lock()
	if k, ok := a.known[key]; ok && a.cfg.Now().Sub(k.read) < a.cfg.Fresh {
		a.mu.Unlock()
		return k.Preferences, nil
	}
	l := a.waiting[key]
	if l == nil {
		l = &lookup{done: make(chan struct{})}
		a.waiting[key] = l
	}
	a.mu.Unlock()
	for {
		select {
		case <-l.done:
			return l.got, l.err
		case a.turn <- struct{}{}:
			a.ask(ctx)
			<-a.turn
		case <-ctx.Done():
			return workflow.Preferences{}, ctx.Err()
		}
	}
}

// longestAsk is how long a query may take.
const longestAsk = 5 * time.Second

// ask makes one query, for all that wait or as many as it may be.
func (a *Asker) ask(ctx context.Context) {
	var people []workflow.PersonKey
	var lookups []*lookup
	a.mu.Lock()
	for key, l := range a.waiting {
		if len(people) == peopleAtOnce {
			break
		}
		people, lookups = append(people, key), append(lookups, l)
		delete(a.waiting, key)
	}
	a.mu.Unlock()
	if len(people) == 0 {
		return
	}
	// Others wait for it, whatever becomes of the one who asks.
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), longestAsk)
	read := a.cfg.Now() // before: what is written while it is asked may be in it or not
	got, err := a.store.Preferences(call, people)
	cancel()
	if err == nil && len(got) != len(people) {
		err = fmt.Errorf("asked for the preferences of %d people, and got those of %d", len(people), len(got))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.known)+len(people) > a.cfg.Most {
		a.forget(read)
	}
	for i, l := range lookups {
		if err == nil {
			l.got = got[i]
			a.known[people[i]] = known{got[i], read}
		}
		l.err = err
		close(l.done)
	}
}

// forget drops what is too old to count, and all if that isn't enough.
func (a *Asker) forget(now time.Time) {
	for key, k := range a.known {
		if now.Sub(k.read) >= a.cfg.Fresh {
			delete(a.known, key)
		}
	}
	if len(a.known)+peopleAtOnce > a.cfg.Most {
		clear(a.known)
	}
}
