package executor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/fault"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// longestAttempt bounds an attempt whose kind has no shorter limit.
const longestAttempt = time.Minute

// longestWait is how long a receiver may ask to wait.
const longestWait = 7 * 24 * time.Hour

// Events whose data doesn't come with a claim may be very big: few are in memory at once,
// and few of them for one lane, which may hang. An attempt waits for its turn for a while
// only, since others need the worker.
const (
	bigMost    = 8
	bigPerLane = 2
	bigWait    = time.Second
)

// work runs deliveries one after the other, until the pool is closed.
func (e *Executor) work(work context.Context) {
	for {
		t := e.pool.next()
		if t == nil {
			return
		}
		r := e.run(work, t)
		if r.postponed {
			e.pool.putBack(t)
			continue
		}
		if !r.outcome.Tried && r.outcome.Verb != workflow.Written {
			e.pool.uncharge(t)
		}
		e.pool.ran(t)
		e.results <- r
	}
}

// run makes one attempt at a delivery, or finds that there is to be none.
func (e *Executor) run(work context.Context, t *task) result {
	r := result{task: t, outcome: workflow.Outcome{Leased: t.Leased}}
	o := &r.outcome
	least := min(leastLease, e.cfg.Lease/4)
	if !e.pool.holds(t, least) {
		o.Verb = workflow.GiveBack // it changes nothing if another process has it
		return r
	}
	putOff := func(err error) result {
		o.Verb, o.RetryIn, o.Reason = workflow.GiveBack, retryWait, err.Error()
		return r
	}
	p, err := e.plans.get(work, t.VersionRef)
	if err != nil {
		return putOff(err)
	}
	if p.workflow.ID != "" {
		status, err := e.statuses.get(work, p.workflow.ID, t.came)
		if err != nil {
			return putOff(err)
		}
		if status != workflow.Active {
			o.Verb, o.Reason = workflow.Cancel, offReason(status)
			return r
		}
	}
	if e.pauses.holds(t, p.workflow.ID) {
		o.Verb = workflow.GiveBack
		return r
	}
	var step *actions.Step
	dead := func(reason string) result {
		o.Verb, o.Reason, o.Stop = workflow.Dead, reason, stopReason(step, o.Action)
		return r
	}
	switch {
	case p.err != nil:
		return dead(p.err.Error())
	case t.Event == nil:
		return dead("its event is gone from rowbell.workflow_event")
	case t.Gate():
	case int(t.Action) >= len(p.Steps):
		return dead(fmt.Sprintf("version %d of the workflow has no action %d", p.workflow.Version, t.Action+1))
	default:
		step = &p.Steps[t.Action]
	}
	event := t.Event
	if event.Data == nil {
		begun := time.Now()
		release, ok := e.bigTurn(work, t)
		if !ok {
			o.Verb, o.RetryIn = workflow.GiveBack, retryWait
			return r
		}
		defer release()
		call, cancel := context.WithTimeout(work, longestRead)
		data, err := e.store.EventData(call, event)
		cancel()
		if errors.Is(err, workflow.ErrNotFound) {
			return dead("its event is gone from rowbell.workflow_event")
		}
		if err != nil {
			return putOff(err)
		}
		with := *event
		with.Data = data
		event = &with
		if time.Since(begun) > staleAfter || !e.pool.holds(t, least) {
			o.Verb = workflow.GiveBack // what was looked at above may be so no more
			return r
		}
	}
	if step != nil {
		if settled, err := e.leftOut(work, o, step, event); err != nil {
			return putOff(err)
		} else if settled {
			return r
		}
	}
	if !t.Addressed {
		e.resolve(work, &r, p, step, event)
		return r
	}
	if step != nil {
		if settled, err := e.unwanted(work, o, p, step, event); err != nil {
			return putOff(err)
		} else if settled {
			return r
		}
	}
	if step != nil && step.Kind.InTransaction {
		release, ok := e.callTurn(work, t)
		if !ok {
			o.Verb, o.RetryIn = workflow.GiveBack, retryWait
			return r
		}
		defer release()
	}
	// What was read above may have taken longer than the lease lasts: the database was slow,
	// or this process stood still.
	if !e.pool.holds(t, least) || e.pauses.holds(t, p.workflow.ID) {
		o.Verb = workflow.GiveBack
		return r
	}
	switch {
	case t.Gate():
		e.decide(work, o, p, event)
	case o.Recipient != "" && !e.reachable(o, step):
	default:
		e.deliver(work, &r, p, step, event)
	}
	return r
}

// bigTurn waits for the turn of a delivery whose event is big. Release it after ok.
func (e *Executor) bigTurn(work context.Context, t *task) (release func(), ok bool) {
	wait := time.NewTimer(bigWait)
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
	if !take(t.lane.big) {
		return nil, false
	}
	if !take(e.bigData) {
		<-t.lane.big
		return nil, false
	}
	return func() { <-e.bigData; <-t.lane.big }, true
}

// attempt tries once, and says in o what became of it. It returns how it failed as well.
func (e *Executor) attempt(work context.Context, o *workflow.Outcome, p *plan, step *actions.Step, event *workflow.Event) (*actions.Error, error) {
	seen := &secrets{store: e.store, tenant: p.workflow.TenantID}
	d := &actions.Delivery{
		ID: o.ID(), Attempt: int(o.Attempts) + 1, Event: event, Workflow: p.workflow, Recipient: o.Recipient, Person: o.Person, Secret: seen.get,
	}
	var inside *call
	if step.Kind.InTransaction {
		inside = e.caller(o.Leased, d)
	}
	if fault.On("key_per_attempt") {
		d.ID += "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	}
	ctx, cancel := bounded(work, step.Runner)
	o.StartedAt = time.Now()
	res, err := protect(ctx, step.Runner, d)
	o.Duration = time.Since(o.StartedAt)
	late := ctx.Err() != nil
	cancel()
	if err != nil && work.Err() != nil {
		o.Verb = workflow.GiveBack // the process ends, and has cut it off
		return &actions.Error{}, err
	}
	if inside != nil && inside.over(o) {
		if inside.written {
			e.metrics.tried(step.Kind.Name, "succeeded", o.Duration)
			e.metrics.latency.Observe(max(0, time.Since(event.CommittedAt).Seconds()))
		}
		return &actions.Error{}, nil
	}
	o.Tried = true
	o.Code, o.Response = res.Code, seen.mask(res.Response)
	if err == nil {
		o.Verb = workflow.Succeeded
		e.metrics.tried(step.Kind.Name, "succeeded", o.Duration)
		e.metrics.latency.Observe(max(0, time.Since(event.CommittedAt).Seconds()))
		return &actions.Error{}, nil
	}
	o.Reason = seen.mask(err.Error())
	var how *actions.Error
	if !errors.As(err, &how) {
		how = &actions.Error{Down: late}
	}
	err = errors.New(o.Reason) // without secrets

	if how.Busy {
		e.pool.pauseLane(o.Lane, min(cmp.Or(how.RetryAfter, time.Second), time.Minute))
	}
	n := int(o.Attempts - o.Base) // of the waits so far
	if how.Permanent || n >= len(step.Retry) {
		o.Verb = workflow.Dead
		if !how.Permanent && n > 0 {
			o.Reason = fmt.Sprintf("gave up after %d attempts: %s", n+1, o.Reason)
		}
		o.Stop = stopReason(step, o.Action)
		e.metrics.tried(step.Kind.Name, "dead", o.Duration)
		return how, err
	}
	o.Verb = workflow.Retry
	o.RetryIn = max(vary(step.Retry[n]), min(how.RetryAfter, longestWait), time.Millisecond)
	e.metrics.tried(step.Kind.Name, "retry", o.Duration)
	return how, err
}

// stopReason is why actions of a higher order are cancelled when this one has given up;
// "" if they are not.
func stopReason(step *actions.Step, action int16) string {
	if step == nil || !step.StopOnFailure {
		return ""
	}
	return actionName(action, step) + " failed" + workflow.StoppedSuffix
}

func actionName(action int16, step *actions.Step) string {
	return fmt.Sprintf("action %d (%s)", action+1, step.Kind.Name)
}

// vary makes a wait up to 20 % shorter or longer.
func vary(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// bounded is work with an end to the attempt; work itself if the runner sees to that, for
// a timer more is a fiftieth of what a webhook takes.
func bounded(work context.Context, r actions.Runner) (context.Context, context.CancelFunc) {
	if t, ok := r.(actions.Timed); ok && t.Timeout() > 0 && t.Timeout() <= longestAttempt {
		return work, func() {}
	}
	return context.WithTimeout(work, longestAttempt)
}

// protect runs an action that may panic.
func protect(ctx context.Context, r actions.Runner, d *actions.Delivery) (res actions.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the action panicked, which is a mistake in Rowbell: %v\n%s", p, firstFrames(debug.Stack()))
		}
	}()
	return r.Run(ctx, d)
}

// firstFrames is as much of a stack as helps to find the place.
func firstFrames(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	return strings.Join(lines[min(7, len(lines)):min(13, len(lines))], "\n")
}

// secrets hands secrets to one attempt, and takes them out of what came of it: a
// receiver may send back what it was sent.
type secrets struct {
	store  Store
	tenant string
	values []string
}

func (s *secrets) get(ctx context.Context, name string) (string, error) {
	v, err := s.store.Secret(ctx, s.tenant, name)
	if err == nil && !slices.Contains(s.values, v) {
		s.values = append(s.values, v)
	}
	return v, err
}

func (s *secrets) mask(text string) string {
	if text == "" {
		return ""
	}
	var forms []string
	for _, v := range s.values {
		quoted, _ := json.Marshal(v) // never fails
		for _, form := range []string{v, strings.TrimPrefix(v, "whsec_"), strings.Trim(string(quoted), `"`), url.QueryEscape(v), url.PathEscape(v)} {
			if len(form) >= 4 {
				forms = append(forms, form)
			}
		}
	}
	// The longest first: one may stand in another.
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	for _, form := range forms {
		text = strings.ReplaceAll(text, form, "***")
	}
	return text
}
