package executor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/engine/executor"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// decider decides actions' own conditions by what a test has written as their config, and
// counts how often it was asked.
type decider struct {
	mu    sync.Mutex
	asked map[string]int // by event and action
	down  int            // how often it can't say yet
}

func (d *decider) decide(_ context.Context, action int, _ string, list []workflow.Condition, e *workflow.Event) (executor.Decided, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked[fmt.Sprint(e.ID, " ", action)]++
	if d.down > 0 {
		d.down--
		return executor.Decided{}, errors.New("the source can't be reached")
	}
	var c struct{ Says string }
	if err := json.Unmarshal(list[0].Config, &c); err != nil {
		return executor.Decided{}, err
	}
	switch c.Says {
	case "holds":
		return executor.Decided{}, nil
	case "fails":
		return executor.Decided{Failed: true, Reason: "division by zero"}, nil
	}
	return executor.Decided{Reason: workflow.NotMet + c.Says}, nil
}

// says is an action's configuration, with a condition of which the decider says this.
func says(what, more string) string {
	return fmt.Sprintf(`{"only_if": [{"condition_type": "field_value", "condition_config": {"says": %q}}]%s}`, what, more)
}

// An action whose own conditions don't hold is left out, with the reason and without an attempt;
// what comes after it goes on. One of which they can't be decided has failed.
func TestOnlyIf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := &decider{asked: make(map[string]int), down: 2}
	decides := func(c *executor.Config) { c.OnlyIf = d.decide }
	p := w.start(t, "p1", decides)
	w.start(t, "p2", decides)
	to := []string{"user:ann", "user:ben"}
	for i, c := range []struct {
		d        definition
		log      string // of two executions
		errs     string
		done     string
		attempts int // of both
	}{
		{definition{actions: []action{{config: says("holds", "")}}}, "success 2", "", "0 succeeded", 2},
		{definition{actions: []action{{config: says("too small", "")}}}, "cancelled 2", "its condition was not met: too small", "0 cancelled its condition was not met: too small", 0},
		{definition{actions: []action{{config: says("too small", "")}, {}, {config: says("holds", ""), order: 1}}}, "success 2", "", "0 cancelled its condition was not met: too small, 1 succeeded, 2 succeeded", 4},
		{definition{actions: []action{{config: says("too small", "")}, {config: says("not paid", ""), order: 1}}}, "cancelled 2", "its condition was not met: not paid", "0 cancelled its condition was not met: too small, 1 cancelled its condition was not met: not paid", 0},
		{definition{actions: []action{{config: says("fails", "")}, {order: 1}}}, "failure 2", "division by zero", "0 dead division by zero, 1 cancelled action 1 (probe) failed, and its on_failure is stop", 0},
		{definition{actions: []action{{config: says("fails", `, "on_failure": "continue"`)}, {order: 1}}}, "failure 2", "division by zero", "0 dead division by zero, 1 succeeded", 2},
		{definition{actions: []action{{kind: "mail", config: says("too small", "")}, {order: 1}}, recipients: to}, "success 2", "", "0 cancelled its condition was not met: too small, 1 succeeded", 2},
		{definition{actions: []action{{kind: "mail", config: says("holds", "")}}, recipients: to}, "success 2", "", "0 succeeded, 0 succeeded", 4},
		{definition{settings: once, actions: []action{{config: says("too small", "")}}}, "cancelled 2", "", "", 0},
	} {
		c.d.id = fmt.Sprint("f", i)
		f := w.define(t, c.d)
		_, before := w.probe.counts()
		p.record(t, w.batch(f, 1), lease)
		w.queued(t, f, 1)
		w.eventually(t, f, c.log)
		if c.done == "" {
			continue
		}
		if got := w.rows(t, `select distinct coalesce(error, '') from rowbell.workflow_log where workflow_id = $1`, f.id); got != c.errs {
			t.Errorf("%s: the log says %q, want %q", f.id, got, c.errs)
		}
		if got := w.rows(t, `select distinct string_agg(concat_ws(' ', action, status, reason), ', ' order by action) from rowbell.delivery_done where workflow_id = $1 group by execution_id`, f.id); got != c.done {
			t.Errorf("%s: deliveries\n%s\nwant\n%s", f.id, got, c.done)
		}
		if _, after := w.probe.counts(); after-before != c.attempts {
			t.Errorf("%s: %d attempts, want %d", f.id, after-before, c.attempts)
		}
	}
	if n := labelled(t, p.reg, "rowbell_attempts_total", "dead"); n != 0 {
		t.Errorf("%v attempts are counted of what was not tried", n)
	}
	if d.down != 0 {
		t.Errorf("it was down for %d more", d.down)
	}
}

// They are decided once: what was tried is not asked again, nor is each recipient's share.
func TestOnlyIfIsDecidedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.probe.does(func(_ context.Context, d *actions.Delivery) (actions.Result, error) {
		if d.Attempt < 3 {
			return actions.Result{}, errors.New("not now")
		}
		return actions.Result{}, nil
	})
	d := &decider{asked: make(map[string]int)}
	w.start(t, "p1", func(c *executor.Config) { c.OnlyIf = d.decide })
	const again = `, "retry": ["0s", "0s", "0s"]`
	f := w.define(t, definition{id: "f", actions: []action{{config: says("holds", again)}, {kind: "mail", config: says("holds", again)}}, recipients: []string{"user:ann", "user:ben"}})
	w.queued(t, f, 4)
	w.eventually(t, f, "success 4")
	if _, attempts := w.probe.counts(); attempts != 4*3*3 {
		t.Errorf("%d attempts", attempts)
	}
	if len(d.asked) != 8 {
		t.Errorf("asked of %d", len(d.asked))
	}
	for what, n := range d.asked {
		if n != 1 {
			t.Errorf("asked %d times of %s", n, what)
		}
	}
}

// Without anybody who can decide, nothing is sent that may not be meant.
func TestOnlyIfWithNobodyToDecide(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(t, "p1")
	f := w.define(t, definition{id: "f", actions: []action{{config: says("holds", "")}}})
	w.queued(t, f, 1)
	w.eventually(t, f, "failure 1")
	if n, _ := w.probe.counts(); n != 0 {
		t.Errorf("%d deliveries", n)
	}
}
