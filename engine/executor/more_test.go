package executor_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/engine/executor"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// A secret that a receiver sends back, or that an error quotes, stands nowhere.
func TestSecretsAreMasked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const secret, other = `whsec_c2Vj"cmV0/+8=`, "c2Vj"
	w.secrets["acme/key"], w.secrets["acme/other"], w.secrets["beta/key"] = secret, other, "beta's own"
	w.probe.does(func(ctx context.Context, d *actions.Delivery) (actions.Result, error) {
		key, err := d.Secret(ctx, "key")
		if err != nil {
			return actions.Result{}, err
		}
		if _, err := d.Secret(ctx, "other"); err != nil {
			return actions.Result{}, err
		}
		said := fmt.Sprintf("%s and %s and %q", key, strings.TrimPrefix(key, "whsec_"), key)
		switch d.Workflow.ID {
		case "good":
			return actions.Result{Code: 200, Response: "got " + said}, nil
		case "panics":
			panic(said)
		}
		return actions.Result{Code: 400, Response: "got " + said}, fmt.Errorf("refused %s", said)
	})
	quick := `{"retry": ["10ms"]}`
	good := w.define(t, definition{id: "good", actions: []action{{}}})
	bad := w.define(t, definition{id: "bad", settings: quick, actions: []action{{}, {}}})
	panics := w.define(t, definition{id: "panics", settings: quick, actions: []action{{}}})
	beta := w.define(t, definition{id: "beta", tenant: "beta", settings: `{"retry": []}`, actions: []action{{}}})
	w.start(t, "p1")
	for _, f := range []*defined{good, bad, panics, beta} {
		w.queued(t, f, 1)
	}
	w.eventually(t, good, "success 1")
	w.eventually(t, bad, "failure 1")
	w.eventually(t, panics, "failure 1")
	w.eventually(t, beta, "failure 1")
	all := w.rows(t, `select l::text from rowbell.workflow_log l union all select d::text from rowbell.delivery_done d union all select a::text from rowbell.delivery_attempt a`)
	for _, s := range []string{"c2Vj", "cmV0"} {
		if i := strings.Index(all, s); i >= 0 {
			t.Errorf("%s stands in the log: %s", s, all[max(0, i-100):i+20])
		}
	}
	for _, want := range []string{"got *** and ***", "refused *** and ***", "panicked", "tenant beta has no secret other"} {
		if !strings.Contains(all, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

// On hold nothing is claimed or reserved. What waits for its transaction is released.
func TestHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", actions: []action{{}}})
	p := w.start(t, "p1", func(c *executor.Config) { c.Hold = true })
	b := w.batch(f, 5)
	p.Reserve(b.Deliveries)
	if b.Deliveries[0].Leased {
		t.Error("reserved on hold")
	}
	p.record(t, b, lease)
	e := w.batch(f, 1)
	e.Executions[0].BigRef = true
	big := workflow.Big{Stream: 1, CommitLSN: e.Events[0].Position.CommitLSN, CommittedAt: e.Events[0].CommittedAt, Status: workflow.BigReleased}
	e.Big = []workflow.Big{big}
	w.record(t, e)
	pgtest.Eventually(t, soon, "the big transaction is released", func() bool {
		return w.rows(t, `select string_agg(state || attempts, ' ') from rowbell.delivery`) == "ready0 ready0 ready0 ready0 ready0 ready0"
	})
	if n, _ := w.probe.counts(); n != 0 {
		t.Errorf("%d were sent", n)
	}
	p.stop()
	p.wait(t, soon)
	w.start(t, "p2")
	w.eventually(t, f, "success 6")
}

// What is recorded of a transaction in parts waits for its end.
func TestBigTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.define(t, definition{id: "f", actions: []action{{}, {order: 1}}})
	p := w.start(t, "p1")
	b := w.batch(f, 300)
	big := workflow.Big{Stream: 1, CommitLSN: b.Events[0].Position.CommitLSN, CommittedAt: b.Events[0].CommittedAt, Status: workflow.BigOpen}
	for i, x := range b.Executions { // all of one transaction
		x.BigRef = true
		x.Event.Position.CommitLSN, x.Event.Position.Seq = big.CommitLSN, int32(i)
	}
	b.Big = []workflow.Big{big}
	p.record(t, b, lease)
	if b.Deliveries[0].Leased {
		t.Error("reserved before its transaction has ended")
	}
	other := w.define(t, definition{id: "other", actions: []action{{}}})
	w.queued(t, other, 5)
	w.eventually(t, other, "success 5")
	if n, _ := w.probe.counts(); n != 5 {
		t.Errorf("%d were sent, want the other 5", n)
	}
	big.Status = workflow.BigReleased
	w.record(t, &workflow.Batch{Previous: w.last, Next: w.last, Big: []workflow.Big{big}})
	w.eventually(t, f, "success 300")
	if deliveries, attempts := w.probe.counts(); deliveries != 605 || attempts != 605 {
		t.Errorf("%d deliveries in %d attempts", deliveries, attempts)
	}
}

// A big event is read when its delivery is to be tried; those that hang don't keep
// others from being delivered.
func TestBigEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	random := pgtest.Rand(t)
	var noise strings.Builder
	for noise.Len() < 100_000 {
		fmt.Fprintf(&noise, "%016x", random.Uint64())
	}
	data := `{"new":{"note":"` + noise.String() + `"}}`
	rows := []string{data, data, data, data, data, data, data, data, data, data, data, data}
	var mu sync.Mutex
	whole := 0
	w.probe.does(func(_ context.Context, d *actions.Delivery) (actions.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		if string(d.Event.Data) == data {
			whole++
		}
		return actions.Result{}, nil
	})
	hangs := w.define(t, definition{id: "hangs", actions: []action{{config: `{"to": "hangs"}`}}})
	big := w.define(t, definition{id: "big", actions: []action{{config: `{"to": "big"}`}}})
	small := w.define(t, definition{id: "small", actions: []action{{config: `{"to": "small"}`}}})
	w.probe.hang("hangs")
	w.queued(t, hangs, len(rows), rows...)
	p := w.start(t, "p1", func(c *executor.Config) { c.Concurrency = 8 })
	pgtest.Eventually(t, soon, "some hang", func() bool { return w.probe.runningNow("to hangs") == 2 })
	w.queued(t, small, 50)
	w.queued(t, big, len(rows), rows...)
	p.record(t, w.batch(big, 1, data), lease) // this one is in memory
	w.eventually(t, small, "success 50")
	w.eventually(t, big, "success 13")
	w.probe.open()
	w.eventually(t, hangs, "success 12")
	mu.Lock()
	defer mu.Unlock()
	if whole != 25 {
		t.Errorf("%d big events came whole, want 25", whole)
	}
}

// What can't be done ends with the reason.
func TestCannotBePlanned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := w.define(t, definition{id: "config", actions: []action{{}, {config: `{"to": "nowhere"}`}}})
	kind := w.define(t, definition{id: "kind", actions: []action{{kind: "pigeon"}}})
	settings := w.define(t, definition{id: "settings", settings: `{"retry": "often"}`, actions: []action{{}}})
	gone := w.define(t, definition{id: "gone", actions: []action{{}}})
	eventless := w.define(t, definition{id: "eventless", actions: []action{{}}})
	stranger := w.define(t, definition{id: "stranger", actions: []action{{}}})
	for _, f := range []*defined{config, kind, settings, gone, eventless, stranger} {
		w.queued(t, f, 2)
	}
	w.db.Exec(t, `update rowbell.workflow_definition set name = 'A later version' where id = 'gone'`)
	w.db.Exec(t, `alter table rowbell.workflow_version disable trigger all; delete from rowbell.workflow_version where workflow_id = 'gone' and version = 1`)
	w.db.Exec(t, `delete from rowbell.event where event_id in (select trigger_event_id from rowbell.workflow_log where workflow_id = 'eventless')`)
	w.db.Exec(t, `update rowbell.queue set action = 7 where execution_id in (select id from rowbell.workflow_log where workflow_id = 'stranger')`)
	w.start(t, "p1")
	for f, want := range map[*defined]string{
		config:    "action 2 (probe): to: nowhere is no destination",
		kind:      `action 1 (pigeon): unknown action kind "pigeon"; there are: probe, mail`,
		settings:  `settings: retry: "often" is no list; write a list of the waits after each failed attempt, as ["5s", "5m", "2h", "1d"]; [] for a single attempt`,
		gone:      "the workflow's version is gone: version 1 of workflow gone is applied, but",
		eventless: "its event is gone from rowbell.workflow_event",
		stranger:  "version 1 of the workflow has no action 8",
	} {
		w.eventually(t, f, "failure 2")
		if got := w.rows(t, `select distinct error from rowbell.workflow_log where workflow_id = $1`, f.id); !strings.HasPrefix(got, want) {
			t.Errorf("%s\n got %s\nwant %s", f.id, got, want)
		}
	}
	if n, _ := w.probe.counts(); n != 0 {
		t.Errorf("%d were sent", n)
	}
}
