package executor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/engine/executor"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/preference"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// counting counts what is asked of a store.
type counting struct {
	*store.State
	queries, people atomic.Int32
	fail            atomic.Bool
}

func (c *counting) Preferences(ctx context.Context, people []workflow.PersonKey) ([]workflow.Preferences, error) {
	c.queries.Add(1)
	c.people.Add(int32(len(people)))
	if c.fail.Load() {
		return nil, errors.New("preferences are away")
	}
	return c.State.Preferences(ctx, people)
}

// asks lets an executor ask the world's state, at a time of the test's.
func (w *world) asks(now *atomic.Pointer[time.Time]) (*counting, func(*executor.Config)) {
	c := &counting{State: w.state}
	return c, func(cfg *executor.Config) {
		cfg.Preferences = preference.New(c, preference.Config{Now: func() time.Time {
			if t := now.Load(); t != nil {
				return *t
			}
			return time.Now()
		}, Fresh: -1})
	}
}

func at(t testing.TB, text string) *atomic.Pointer[time.Time] {
	t.Helper()
	now, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	p := &atomic.Pointer[time.Time]{}
	p.Store(&now)
	return p
}

// Who has opted out gets nothing, the others do, and what is critical passes.
func TestOptedOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mail := []action{{kind: "mail"}}
	to := []string{"user:ann", "user:ben"}
	f := w.define(t, definition{id: "f", actions: mail, recipients: to})
	g := w.define(t, definition{id: "g", actions: mail, recipients: to})
	urgent := w.define(t, definition{id: "urgent", actions: mail, recipients: to, settings: `{"critical": true}`})
	broken := w.define(t, definition{id: "broken", actions: mail, recipients: to, settings: `{"critical": "yes"}`})
	w.db.Exec(t, `select rowbell.set_preference('ann', false, channel => 'mail', tenant => 'acme');
select rowbell.set_preference('ann', true, workflow => 'g', tenant => 'acme');
select rowbell.set_preference('ben', false, tenant => 'globex')`)
	_, asks := w.asks(&atomic.Pointer[time.Time]{})
	for _, d := range []*defined{f, g, urgent, broken} {
		w.queued(t, d, 1)
	}
	w.start(t, "p1", asks)
	w.eventually(t, f, "success 1")
	w.eventually(t, g, "success 1")
	w.eventually(t, urgent, "success 1")
	w.eventually(t, broken, "failure 1")
	want := strings.Join([]string{
		"broken  dead settings: critical is \"yes\"; it is true or false",
		"f ann cancelled opted_out: they don't want anything by mail", "f ben succeeded",
		"g ann succeeded", "g ben succeeded", "urgent ann succeeded", "urgent ben succeeded",
	}, "\n")
	if got := w.rows(t, `select concat_ws(' ', workflow_id, coalesce(recipient, ''), status, reason) from rowbell.delivery_done order by workflow_id, recipient`); got != want {
		t.Errorf("deliveries ended so:\n%s\nwant\n%s", got, want)
	}
	if _, attempts := w.probe.counts(); attempts != 5 {
		t.Errorf("%d attempts", attempts)
	}
}

// In quiet hours a delivery waits for their end, without an attempt, and says why; one that
// has failed before keeps its count.
func TestQuietHours(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", actions: []action{{kind: "mail", config: `{"retry": ["1ms"]}`}}, recipients: []string{"user:ann", "user:ben"}})
	w.db.Exec(t, `select rowbell.set_quiet_hours('ann', '22:00', '07:00', zone => 'Europe/Vienna', tenant => 'acme')`)
	// The clocks are put forward in this night: its end is an hour sooner.
	now := at(t, "2026-03-28T23:00:00+01:00")
	_, asks := w.asks(now)
	w.queued(t, f, 1)
	first := w.start(t, "p1", asks)
	waits := func(attempts int) {
		t.Helper()
		want := fmt.Sprintf("ann %d quiet_hours: they want nothing before Sun 29 Mar 07:00 (Europe/Vienna) 07:00:00", attempts)
		got := ""
		pgtest.Eventually(t, soon, "ann's delivery to wait: "+want, func() bool {
			got = w.rows(t, `select concat_ws(' ', recipient, attempts, error, date_trunc('minute', ready_at - now() + interval '30 s')) from rowbell.delivery where lease_until is null`)
			return got == want
		})
		if got != want {
			t.Fatalf("what waits:\n%s\nwant\n%s", got, want)
		}
	}
	waits(0)
	if n := w.rows(t, `select count(*)::text from rowbell.failing`); n != "0" {
		t.Error("what waits for the end of quiet hours is said to fail")
	}
	if n := w.probe.attempts(w.rows(t, `select id from rowbell.delivery`)); n != nil {
		t.Errorf("attempts %v in quiet hours", n)
	}
	// In the morning it fails once; by its second attempt there is another night.
	w.probe.does(func(context.Context, *actions.Delivery) (actions.Result, error) {
		evening := now.Load().Add(15 * time.Hour)
		now.Store(&evening)
		return actions.Result{}, errors.New("no")
	})
	morning := now.Load().Add(7 * time.Hour)
	now.Store(&morning)
	w.db.Exec(t, `update rowbell.queue set ready_at = now()`)
	want := "ann 1 quiet_hours: they want nothing before Mon 30 Mar 07:00 (Europe/Vienna)"
	got := ""
	pgtest.Eventually(t, soon, "another night", func() bool {
		got = w.rows(t, `select concat_ws(' ', recipient, attempts, error) from rowbell.delivery where lease_until is null`)
		return got == want
	})
	if got != want {
		t.Fatalf("what waits:\n%s\nwant\n%s", got, want)
	}
	w.probe.does(nil)
	if n := first.gauge(t, "rowbell_deliveries_quieted_total"); n < 2 {
		t.Errorf("rowbell_deliveries_quieted_total is %v", n)
	}
	// Taken away, they hold nothing any longer than it was to wait.
	w.db.Exec(t, `select rowbell.clear_quiet_hours('ann', 'acme'); update rowbell.queue set ready_at = now()`)
	w.eventually(t, f, "success 1")
	if got := w.rows(t, `select concat_ws(' ', recipient, status, attempts) from rowbell.delivery_done order by 1`); got != "ann succeeded 2\nben succeeded 1" {
		t.Errorf("deliveries ended so:\n%s", got)
	}
}

// Ten thousand shares are few queries; while preferences can't be read nothing is sent.
func TestPreferencesOfMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", actions: []action{{kind: "mail"}}, recipients: []string{"attribute:to"}})
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = fmt.Sprintf(`"p%d"`, i)
	}
	w.db.Exec(t, `select rowbell.set_preference('p' || n, false, tenant => 'acme') from generate_series(0, 999, 10) n`)
	c := &counting{State: w.state}
	c.fail.Store(true)
	row := `{"new": {"id": 1, "to": [` + strings.Join(ids, ",") + `]}}`
	w.queued(t, f, 10, row, row, row, row, row, row, row, row, row, row)
	w.start(t, "p1", func(cfg *executor.Config) { cfg.Preferences = preference.New(c, preference.Config{}) })
	pgtest.Eventually(t, soon, "deliveries to wait for the database", func() bool {
		return w.rows(t, `select (count(*) > 0)::text from rowbell.delivery where error = 'preferences are away' and attempts = 0`) == "true"
	})
	if _, attempts := w.probe.counts(); attempts != 0 {
		t.Errorf("%d attempts while preferences can't be read", attempts)
	}
	c.fail.Store(false)
	before := c.queries.Load()
	w.eventually(t, f, "success 10")
	if got := w.rows(t, `select string_agg(status || ' ' || n, ', ' order by 1) from (select status, count(*) n from rowbell.delivery_done group by 1) d`); got != "cancelled 1000, succeeded 9000" {
		t.Errorf("deliveries: %s", got)
	}
	if n := c.queries.Load() - before; n > 1500 {
		t.Errorf("%d queries for 10,000 shares", n)
	} else {
		t.Logf("%d queries of %d people for 10,000 shares", n, c.people.Load())
	}
}
