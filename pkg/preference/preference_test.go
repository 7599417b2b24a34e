package preference

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWanted(t *testing.T) {
	t.Parallel()
	on := func(w, c string) workflow.Preference {
		return workflow.Preference{WorkflowID: w, Channel: c, Wanted: true}
	}
	off := func(w, c string) workflow.Preference { return workflow.Preference{WorkflowID: w, Channel: c} }
	for _, c := range []struct {
		name string
		list []workflow.Preference
		want bool
		by   string
	}{
		{"nothing said", nil, true, ""},
		{"nothing wanted", []workflow.Preference{off("", "")}, false, "anything"},
		{"another workflow", []workflow.Preference{off("other", "email"), off("other", "")}, true, ""},
		{"another channel", []workflow.Preference{off("", "chat"), off("wf", "chat")}, true, ""},
		{"no mail", []workflow.Preference{off("", "email")}, false, "anything by email"},
		{"no mail but of this", []workflow.Preference{off("", "email"), on("wf", "email")}, true, "this workflow by email"},
		{"nothing but this", []workflow.Preference{on("wf", ""), off("", "")}, true, "this workflow"},
		{"the workflow weighs more than the channel", []workflow.Preference{on("", "email"), off("wf", "")}, false, "this workflow"},
		{"and the other way round", []workflow.Preference{off("", "email"), on("wf", "")}, true, "this workflow"},
		{"the channel weighs more than all", []workflow.Preference{on("", "email"), off("", "")}, true, "anything by email"},
		{"both weigh most", []workflow.Preference{off("wf", "email"), on("wf", ""), on("", "email"), on("", "")}, false, "this workflow by email"},
	} {
		got, by := Wanted(c.list, "wf", "email")
		said := ""
		if by != nil {
			said = Describe(*by)
		}
		if got != c.want || said != c.by {
			t.Errorf("%s: %t by %q, want %t by %q", c.name, got, said, c.want, c.by)
		}
	}
}

// people is a store that counts what it is asked.
type people struct {
	mu      sync.Mutex
	known   map[workflow.PersonKey]workflow.Preferences
	err     error
	queries atomic.Int32
	asked   atomic.Int32
	hold    chan struct{} // a query waits for it
}

func (p *people) Preferences(ctx context.Context, keys []workflow.PersonKey) ([]workflow.Preferences, error) {
	p.queries.Add(1)
	p.asked.Add(int32(len(keys)))
	if p.hold != nil {
		select {
		case <-p.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return nil, p.err
	}
	list := make([]workflow.Preferences, len(keys))
	for i, k := range keys {
		list[i] = p.known[k]
	}
	return list, nil
}

func (p *people) set(tenant, id string, what workflow.Preferences) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = make(map[workflow.PersonKey]workflow.Preferences)
	}
	p.known[workflow.PersonKey{TenantID: tenant, ID: id}] = what
}

func question(id string) Question {
	return Question{TenantID: "acme", Person: workflow.Person{ID: id}, WorkflowID: "wf", Channel: "email"}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 21, 30, 0, 0, time.UTC) // a Thursday
	vienna, _ := time.LoadLocation("Europe/Vienna")
	night := []workflow.QuietHours{{Days: workflow.EveryDay, From: 22 * time.Hour, To: 7 * time.Hour}}
	var s people
	s.set("acme", "ann", workflow.Preferences{Wanted: []workflow.Preference{{Channel: "email"}}, Quiet: night})
	s.set("acme", "ben", workflow.Preferences{Quiet: night})
	s.set("acme", "cid", workflow.Preferences{Quiet: []workflow.QuietHours{{Days: workflow.EveryDay, To: 24 * time.Hour}}})
	s.set("acme", "dot", workflow.Preferences{Quiet: []workflow.QuietHours{{Days: workflow.EveryDay, From: 22 * time.Hour, To: 7 * time.Hour, Zone: "America/New_York"}}})
	a := New(&s, Config{Zone: vienna, Now: func() time.Time { return at }})
	for _, c := range []struct {
		id, zone, reason string
		wait             time.Duration
	}{
		{"ann", "", "opted_out: they don't want anything by email", 0},
		{"ben", "", "quiet_hours: they want nothing before Fri 27 Nov 07:00 (Europe/Vienna)", 8*time.Hour + 30*time.Minute},
		{"ben", "UTC", "", 0},
		{"ben", "nowhere", "quiet_hours: they want nothing before Fri 27 Nov 07:00 (Europe/Vienna)", 8*time.Hour + 30*time.Minute},
		{"ben", "Asia/Tokyo", "quiet_hours: they want nothing before Fri 27 Nov 07:00 (Asia/Tokyo)", 30 * time.Minute},
		{"cid", "", "opted_out: their quiet hours have no end", 0},
		{"dot", "Europe/Vienna", "", 0}, // 16:30 there
		{"eve", "", "", 0},
	} {
		q := question(c.id)
		q.Person.Zone = c.zone
		if got, err := a.Ask(t.Context(), q); err != nil || got != (Answer{c.reason, c.wait}) {
			t.Errorf("%s in %q: %+v, %v; want %q, %s", c.id, c.zone, got, err, c.reason, c.wait)
		}
	}
	other := question("ann")
	other.TenantID = "globex"
	if got, err := a.Ask(t.Context(), other); err != nil || got.Reason != "" {
		t.Errorf("ann of another tenant: %+v, %v", got, err)
	}
}

// However many ask at the same time, and for whomever, a few queries answer them.
func TestAskedTogether(t *testing.T) {
	t.Parallel()
	s := people{hold: make(chan struct{})}
	s.set("acme", "p17", workflow.Preferences{Wanted: []workflow.Preference{{}}})
	a := New(&s, Config{Fresh: time.Hour})
	const n = 5000
	var wg sync.WaitGroup
	var begun, refused atomic.Int32
	for i := range n {
		wg.Go(func() {
			begun.Add(1)
			got, err := a.Ask(t.Context(), question(fmt.Sprintf("p%d", i%2500)))
			if err != nil {
				t.Error(err)
			}
			if got.Reason != "" {
				refused.Add(1)
			}
		})
	}
	for a.pending()+int(s.asked.Load()) < 2500 || begun.Load() < n { // all but those of the first query
		runtime.Gosched()
	}
	time.Sleep(50 * time.Millisecond) // for those that have begun and not asked yet
	first := s.asked.Load()           // who may be asked for again while that is under way
	close(s.hold)
	wg.Wait()
	asked := s.asked.Load()
	if q := s.queries.Load(); q > 5 || asked > 2500+first || refused.Load() != 2 {
		t.Errorf("%d queries for %d people, %d refused", q, asked, refused.Load())
	}
	for i := range n { // known by now
		if _, err := a.Ask(t.Context(), question(fmt.Sprintf("p%d", i%2500))); err != nil {
			t.Fatal(err)
		}
	}
	if again := s.asked.Load() - asked; again != 0 {
		t.Errorf("%d people were asked for who are known", again)
	}
}

func (a *Asker) pending() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.waiting)
}

func TestAskErrors(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := people{err: errors.New("away")}
	a := New(&s, Config{Now: func() time.Time { return now }})
	if _, err := a.Ask(t.Context(), question("ann")); err == nil || err.Error() != "away" {
		t.Errorf("Ask = %v", err)
	}
	s.err = nil
	if got, err := a.Ask(t.Context(), question("ann")); err != nil || got.Reason != "" {
		t.Errorf("Ask = %+v, %v: an error is remembered", got, err)
	}
	s.set("acme", "ann", workflow.Preferences{Wanted: []workflow.Preference{{}}})
	if got, _ := a.Ask(t.Context(), question("ann")); got.Reason != "" {
		t.Errorf("it was asked again at once: %+v", got)
	}
	now = now.Add(2 * time.Second)
	if got, _ := a.Ask(t.Context(), question("ann")); !strings.HasPrefix(got.Reason, "opted_out: ") {
		t.Errorf("what is known doesn't get old: %+v", got)
	}
	// One who goes away leaves the others their answer.
	s.hold = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { _, err := a.Ask(ctx, question("ben")); gone <- err }()
	for s.queries.Load() < 4 {
		runtime.Gosched()
	}
	answered := make(chan error)
	go func() { _, err := a.Ask(t.Context(), question("cid")); answered <- err }()
	cancel()
	close(s.hold)
	if err := <-gone; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("the one who went away: %v", err)
	}
	if err := <-answered; err != nil {
		t.Errorf("Ask = %v, since another one's context ended", err)
	}
}

func TestRemembersFew(t *testing.T) {
	t.Parallel()
	var s people
	a := New(&s, Config{Most: 3000, Fresh: time.Hour})
	for i := range 10_000 {
		if _, err := a.Ask(t.Context(), question(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if len(a.known) > 3000 {
		t.Errorf("%d people are remembered", len(a.known))
	}
}
