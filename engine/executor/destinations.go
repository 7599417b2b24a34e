package executor

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Destinations is what all processes know of where deliveries go; store's State is one.
// Its methods may be called from any goroutine.
type Destinations interface {
	NoteAttempts(ctx context.Context, list []workflow.Attempts, b workflow.Breaker) ([]workflow.Barred, error)
	Barred(ctx context.Context, limit int) ([]workflow.Barred, error)
	Probe(ctx context.Context, lane int64, process string, lease time.Duration) (bool, error)
	TakeTokens(ctx context.Context, list []workflow.TokenRequest) ([]workflow.TokenGrant, error)
	Executors(ctx context.Context, process string, while time.Duration) ([]string, error)
	ExecutorLeft(ctx context.Context, process string) error
	TenantWeights(ctx context.Context) (map[string]int, error)
	DisabledUntold(ctx context.Context, while time.Duration, limit int) ([]workflow.Destination, error)
	DisabledTold(ctx context.Context, lane int64, disabledAt time.Time) error
}

// Alerts tells owners. An alert whose Key it knows it leaves alone.
type Alerts interface {
	Raise(ctx context.Context, list ...workflow.Alert) error
}

const (
	lookEach   = time.Second           // how often the others' breakers are looked at
	tokenEach  = 50 * time.Millisecond // how often tokens are asked for
	seenEach   = 2 * time.Second       // how often a process says that it delivers
	seenFor    = 15 * time.Second      // and for how long that counts
	weighEach  = 10 * time.Second      // how often the tenants' weights are read
	mostBarred = 20_000                // destinations that take nothing, in memory
	mostNoted  = 2000                  // destinations that are noted at once
	mostKnown  = 100_000               // destinations in memory
	knownFor   = 10 * time.Minute      // one to which nothing goes
	shownEach  = time.Minute           // how often a success is noted where nothing else is
	alertWhile = 30 * time.Second      // how long telling an owner may take
	longCall   = 5 * time.Second       // what a statement may take here
	alertsMost = 20                    // told at once
)

// destination names one.
type destination struct {
	lane                 int64
	kind, tenantID, name string
}

// destinations is what this process knows of them, and what it has yet to tell the others.
type destinations struct {
	store   Destinations
	breaker workflow.Breaker
	process string
	limits  actions.Limits // the operator's, for all

	noted chan struct{} // a token: something is to be told at once

	mu       sync.Mutex
	known    map[int64]*notes
	disabled map[int64]string // why deliveries are cancelled, by lane
	looked   time.Time        // when what is disabled was asked for
}

// notes are what attempts at one destination came to since it was told.
type notes struct {
	workflow.Attempts
	used    time.Time
	shown   time.Time // when a success was told last
	ailing  bool      // failures were told, and no success since
	probing bool      // this process has the right to try one
}

func newDestinations(cfg *Config) *destinations {
	if cfg.Destinations == nil {
		return nil
	}
	return &destinations{
		store: cfg.Destinations, breaker: cfg.Breaker.WithDefaults(), process: cfg.Process, limits: cfg.Limits,
		noted: make(chan struct{}, 1), known: make(map[int64]*notes), disabled: make(map[int64]string),
	}
}

// of is the destination of a delivery; ok is false if it is this process and its
// database, for which there are neither limits nor a breaker.
func (d *destinations) of(t *task, step *actions.Step) (to destination, ok bool) {
	if d == nil || step == nil {
		return to, false
	}
	to = destination{lane: t.Lane, kind: step.Kind.Name, tenantID: t.TenantID, name: step.Runner.Destination()}
	return to, to.name != ""
}

// get returns what is known of a destination; with mu.
func (d *destinations) get(to destination, now time.Time) *notes {
	n := d.known[to.lane]
	if n == nil {
		if len(d.known) >= mostKnown {
			d.forget(now.Add(-lookEach)) // it forgets what was not told yet, of very many
		}
		n = &notes{Attempts: workflow.Attempts{Lane: to.lane, TenantID: to.tenantID, Kind: to.kind, Destination: to.name}}
		d.known[to.lane] = n
	}
	n.used = now
	return n
}

func (d *destinations) forget(before time.Time) {
	for lane, n := range d.known {
		if n.used.Before(before) && n.Tries == 0 && !n.probing {
			delete(d.known, lane)
		}
	}
}

// whyDisabled is why deliveries to a lane are cancelled; "" if they are not. sure says that
// it was asked for after since, when a delivery was there already: before, the destination
// may have been enabled again, and the delivery be one that was put back for that.
func (d *destinations) whyDisabled(lane int64, since time.Time) (why string, sure bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.disabled[lane], d.looked.After(since)
}

// deliver makes an attempt, if the destination takes one; r says what became of it.
func (e *Executor) deliver(work context.Context, r *result, p *plan, step *actions.Step, event *workflow.Event) {
	o := &r.outcome
	to, away := e.destinations.of(r.task, step)
	if !away {
		_, _ = e.attempt(work, o, p, step, event) // o has it all
		return
	}
	d := e.destinations
	if why, sure := d.whyDisabled(to.lane, r.task.came); why != "" && !sure {
		o.Verb, o.RetryIn = workflow.GiveBack, lookEach
		return
	} else if why != "" {
		o.Verb, o.Reason, o.Stop = workflow.Cancel, why, cancelStop(step, o.Action)
		return
	}
	switch e.admit(work, r.task, to, step) {
	case admitted:
	case refusedForNow:
		o.Verb = workflow.GiveBack
		return
	case postponed:
		r.postponed = true
		return
	}
	how, err := e.attempt(work, o, p, step, event)
	if d.note(to, step.Limits.Lower(d.limits), p.workflow.ID, o, how, err) {
		e.pool.pauseLane(to.lane, time.Second) // until it is known how it stands
	}
}

// admission says what becomes of a delivery that is about to be tried.
type admission int

const (
	admitted      admission = iota
	refusedForNow           // others may have it, when its destination takes something again
	postponed               // it waits on, here
)

// admit says whether a delivery may be tried now.
func (e *Executor) admit(work context.Context, t *task, to destination, step *actions.Step) admission {
	d := e.destinations
	limits := step.Limits.Lower(d.limits)
	if !e.pool.admit(t, to, limits) {
		d.mu.Lock()
		n := d.get(to, time.Now())
		d.setLimits(n, limits)
		d.mu.Unlock()
		return postponed
	}
	switch e.pool.barOf(to.lane) {
	case free:
		return admitted
	case shut:
		return refusedForNow
	case probe:
	}
	call, cancel := context.WithTimeout(work, longCall)
	defer cancel()
	mine, err := d.store.Probe(call, to.lane, d.process, d.breaker.Probe)
	if err != nil || !mine {
		e.giveBack(e.pool.barLane(to.lane, shut)) // until it is looked at again
		return refusedForNow
	}
	d.mu.Lock()
	d.get(to, time.Now()).probing = true
	d.mu.Unlock()
	return admitted
}

// setLimits notes the limits that hold, for people.
func (d *destinations) setLimits(n *notes, limits actions.Limits) {
	n.Rate, n.Concurrency = limits.Rate.String(), limits.Concurrency
}

// note counts an attempt, which ended with err and came to o. It returns whether the
// others are to hear of it before more is tried.
func (d *destinations) note(to destination, limits actions.Limits, workflowID string, o *workflow.Outcome, how *actions.Error, err error) (enough bool) {
	now := time.Now()
	d.mu.Lock()
	n := d.get(to, now)
	d.setLimits(n, limits)
	n.WorkflowID = workflowID
	down := err != nil && (how.Down || how.Busy || how.Gone)
	probed := n.probing
	switch {
	case o.Verb == workflow.GiveBack: // it was cut off: nobody knows
	case err != nil && !down && !how.Permanent && o.Code == 0:
		// It may not even have come to calling it: a secret that can't be read.
	case down:
		n.Tries++
		n.Failures++
		n.Trailing++
		n.Error, n.RetryAfter = cmp.Or(cutError(err), n.Error), how.RetryAfter
		n.Gone = n.Gone || how.Gone
		enough = how.Gone || n.Trailing >= d.breaker.InARow ||
			n.Tries >= d.breaker.Tries && float64(n.Failures) >= d.breaker.Share*float64(n.Tries)
	default:
		n.Tries++
		n.Trailing = 0
		n.Delivered = n.Delivered || err == nil
	}
	if probed {
		n.probing, n.Probe = false, true
	}
	d.mu.Unlock()
	if enough || probed {
		select {
		case d.noted <- struct{}{}:
		default:
		}
	}
	return enough
}

func cutError(err error) string {
	const most = 2000
	text := err.Error()
	return text[:min(len(text), most)]
}

// take takes what is to be told: of all that has changed something, and of what has merely
// succeeded now and then.
func (d *destinations) take(now time.Time) []workflow.Attempts {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []workflow.Attempts
	for _, n := range d.known {
		if len(list) == mostNoted {
			break
		}
		healthy := n.Failures == 0 && !n.ailing && !n.Probe
		switch {
		case n.Tries == 0 && !n.Probe && !n.shown.IsZero():
			continue
		case healthy && now.Sub(n.shown) < shownEach:
			// What it told before holds. The window of a breaker counts only from the first
			// failure on.
			n.Tries, n.Delivered = 0, false
			continue
		}
		list = append(list, n.Attempts)
		n.shown, n.ailing = now, n.Trailing > 0
		n.clear()
	}
	return list
}

// clear empties the counts.
func (n *notes) clear() {
	n.Tries, n.Failures, n.Trailing, n.RetryAfter = 0, 0, 0, 0
	n.Delivered, n.Gone, n.Probe, n.Error = false, false, false, ""
}

// restore puts back what could not be told, before what has come since.
func (d *destinations) restore(list []workflow.Attempts) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range list {
		n := d.known[a.Lane]
		if n == nil {
			n = &notes{Attempts: a, used: time.Now()}
			d.known[a.Lane] = n
			continue
		}
		if n.Trailing == n.Tries {
			n.Trailing += a.Trailing
		}
		n.Tries, n.Failures = n.Tries+a.Tries, n.Failures+a.Failures
		n.Delivered, n.Gone, n.Probe = n.Delivered || a.Delivered, n.Gone || a.Gone, n.Probe || a.Probe
		n.Error = cmp.Or(n.Error, a.Error)
		n.ailing = true
	}
}

// keepDestinations tells the others what attempts came to, hears of them what they know,
// and takes attempts at destinations that have a rate. It goes on until ctx ends, and
// tells what is left then. Failures of the database are only noted in health: deliveries
// go on by what was known.
func (e *Executor) keepDestinations(ctx context.Context) error {
	d := e.destinations
	look, seen, weigh, tokens := time.NewTicker(lookEach), time.NewTicker(seenEach), time.NewTicker(weighEach), time.NewTicker(tokenEach)
	defer look.Stop()
	defer seen.Stop()
	defer weigh.Stop()
	defer tokens.Stop()
	e.note(ctx, "say that it delivers", e.sayDelivers(ctx))
	e.note(ctx, "read the tenants' weights", e.readWeights(ctx))
	e.note(ctx, "look at destinations", e.lookAtDestinations(ctx))
	for {
		select {
		case <-look.C:
			err := e.tellDestinations(ctx)
			if err == nil {
				err = e.lookAtDestinations(ctx)
			}
			e.note(ctx, "look at destinations", err)
			e.note(ctx, "tell owners of disabled destinations", e.alertDisabled(ctx))
		case <-d.noted:
			e.note(ctx, "look at destinations", e.tellDestinations(ctx))
		case <-seen.C:
			e.note(ctx, "say that it delivers", e.sayDelivers(ctx))
		case <-weigh.C:
			e.note(ctx, "read the tenants' weights", e.readWeights(ctx))
		case <-tokens.C:
			e.note(ctx, "take attempts at destinations with a rate", e.takeTokens(ctx))
		case <-e.pool.tokens:
			e.note(ctx, "take attempts at destinations with a rate", e.takeTokens(ctx))
			pause(ctx, tokenEach/5) // not for each delivery of many
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
			defer cancel()
			_ = e.tellDestinations(last) // others find out by themselves
			return nil
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// note tells health how it went, unless the process is about to stop.
func (e *Executor) note(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		e.health.note(what, err)
	}
}

// tellDestinations writes what attempts came to, and heeds how destinations stand then.
func (e *Executor) tellDestinations(ctx context.Context) error {
	d := e.destinations
	list := d.take(time.Now())
	if len(list) == 0 {
		return nil
	}
	call, cancel := context.WithTimeout(ctx, longCall)
	defer cancel()
	states, err := d.store.NoteAttempts(call, list, d.breaker)
	if err != nil {
		d.restore(list)
		return err
	}
	for _, s := range states {
		d.mu.Lock()
		was := d.disabled[s.Lane]
		if s.State == workflow.Disabled {
			d.disabled[s.Lane] = s.Reason
		} else {
			delete(d.disabled, s.Lane)
		}
		d.mu.Unlock()
		before := e.pool.barOf(s.Lane)
		now := barOf(s)
		e.giveBack(e.pool.barLane(s.Lane, now))
		switch {
		case s.State == workflow.Disabled && was == "":
			e.cfg.Logger.WarnContext(ctx, "a destination is disabled", "destination_id", workflow.LaneID(s.Lane), "kind", s.Kind, "reason", s.Reason)
		case now == shut && before == free:
			e.cfg.Logger.WarnContext(ctx, "a destination's breaker opens, deliveries to it wait", "destination_id", workflow.LaneID(s.Lane), "kind", s.Kind)
		case now == free && before != free && was == "":
			e.cfg.Logger.InfoContext(ctx, "a destination's breaker closes", "destination_id", workflow.LaneID(s.Lane), "kind", s.Kind)
		}
	}
	return nil
}

// barOf is what a destination's state means for its lane. Of a disabled one all is taken,
// to be cancelled.
func barOf(s workflow.Barred) bar {
	switch s.State {
	case workflow.Open, workflow.HalfOpen:
		if s.Due {
			return probe
		}
		return shut
	case workflow.Closed, workflow.Disabled:
	}
	return free
}

// lookAtDestinations hears what others know.
func (e *Executor) lookAtDestinations(ctx context.Context) error {
	d := e.destinations
	call, cancel := context.WithTimeout(ctx, longCall)
	defer cancel()
	asked := time.Now()
	list, err := d.store.Barred(call, mostBarred)
	if err != nil {
		return err
	}
	bars, disabled := make(map[int64]bar), make(map[int64]string)
	counts := make(map[[2]string]int)
	d.mu.Lock()
	for _, s := range list {
		counts[[2]string{s.Kind, string(s.State)}]++
		if s.State == workflow.Disabled {
			disabled[s.Lane] = s.Reason
			continue
		}
		bars[s.Lane] = barOf(s)
		if n := d.known[s.Lane]; n != nil && n.probing {
			bars[s.Lane] = probe // this process is at it
		}
	}
	d.disabled, d.looked = disabled, asked
	d.forget(time.Now().Add(-knownFor))
	d.mu.Unlock()
	e.metrics.barred(counts)
	e.giveBack(e.pool.setBars(bars))
	return nil
}

func (e *Executor) takeTokens(ctx context.Context) error {
	now := time.Now()
	asked := e.pool.wanted(now)
	if len(asked) == 0 {
		return nil
	}
	e.metrics.limited.Add(float64(len(asked)))
	call, cancel := context.WithTimeout(ctx, longCall)
	defer cancel()
	grants, err := e.destinations.store.TakeTokens(call, asked)
	if err != nil {
		return err
	}
	e.pool.granted(grants, now)
	if len(grants) < len(asked) {
		return e.tellDestinations(ctx) // those that nothing was sent to yet
	}
	return nil
}

func (e *Executor) sayDelivers(ctx context.Context) error {
	call, cancel := context.WithTimeout(ctx, longCall)
	defer cancel()
	list, err := e.destinations.store.Executors(call, e.destinations.process, seenFor)
	if err != nil {
		return err
	}
	e.pool.setProcesses(max(0, slices.Index(list, e.destinations.process)), len(list))
	return nil
}

// sayLeft says that this process delivers no more, and what its last attempts came to: who
// has the right to try a destination keeps it from the others until that is known.
func (e *Executor) sayLeft() {
	if e.destinations == nil {
		return
	}
	call, cancel := context.WithTimeout(context.Background(), lastWrite)
	defer cancel()
	_ = e.tellDestinations(call)
	_ = e.destinations.store.ExecutorLeft(call, e.destinations.process) // others find out, after a while
}

func (e *Executor) readWeights(ctx context.Context) error {
	call, cancel := context.WithTimeout(ctx, longCall)
	defer cancel()
	weights, err := e.destinations.store.TenantWeights(call)
	if err == nil {
		e.pool.setWeights(weights)
	}
	return err
}

// alertDisabled tells the owners of destinations that were disabled.
func (e *Executor) alertDisabled(ctx context.Context) error {
	if e.cfg.Alerts == nil {
		return nil
	}
	call, cancel := context.WithTimeout(ctx, alertWhile)
	defer cancel()
	list, err := e.destinations.store.DisabledUntold(call, alertWhile, alertsMost)
	for _, d := range list {
		told := e.cfg.Alerts.Raise(call, disabledAlert(d))
		if told == nil {
			told = e.destinations.store.DisabledTold(call, d.Lane, d.DisabledAt)
		}
		err = errors.Join(err, told)
	}
	return err
}

// disabledAlert is what a destination's owner is told.
func disabledAlert(d workflow.Destination) workflow.Alert {
	at := d.DisabledAt.UTC().Format(time.RFC3339Nano)
	text := "Nothing is sent to " + d.Destination + " any more: " + d.DisabledReason + ".\n" +
		"Deliveries that waited for it were cancelled, and so are new ones.\n" +
		"When it works again, let deliveries go with: rowbell destination enable " + workflow.LaneID(d.Lane) + "\n" +
		"What was cancelled meanwhile can be replayed.\n"
	return workflow.Alert{
		Key: "endpoint/" + workflow.LaneID(d.Lane) + "/" + at, Kind: workflow.AlertEndpoint, TenantID: d.TenantID, WorkflowID: d.WorkflowID,
		Through: d.Kind, Subject: d.Kind + " to " + d.Destination + " was disabled", Text: text, At: d.DisabledAt,
	}
}

// cancelDisabled cancels what waits for disabled destinations.
func (e *Executor) cancelDisabled(ctx context.Context, q Queue, results chan<- result) error {
	if e.destinations == nil || results == nil {
		return nil
	}
	e.destinations.mu.Lock()
	some := len(e.destinations.disabled) > 0
	e.destinations.mu.Unlock()
	if !some {
		return nil
	}
	calls, stop := outlast(ctx, lastWrite)
	defer stop()
	for ctx.Err() == nil {
		call, done := context.WithTimeout(calls, longestSweep)
		list, err := q.ClaimDisabled(call, unwantedAtOnce)
		done()
		if err != nil {
			return err
		}
		later := false
		for _, l := range list {
			o := workflow.Outcome{Leased: l, Verb: workflow.GiveBack}
			p, err := e.plans.get(ctx, l.VersionRef)
			if errors.Is(err, workflow.ErrNotYet) {
				later = true
				results <- result{outcome: o}
				continue
			}
			if err != nil {
				return err // the leases run out
			}
			// It was disabled as this was claimed.
			if why, _ := e.destinations.whyDisabled(l.Lane, time.Time{}); why != "" {
				o.Verb, o.Reason = workflow.Cancel, why
				if p.Plan != nil && l.Action >= 0 && int(l.Action) < len(p.Steps) {
					o.Stop = cancelStop(&p.Steps[l.Action], l.Action)
				}
			}
			results <- result{outcome: o}
		}
		if later || len(list) < unwantedAtOnce {
			break
		}
	}
	return nil
}

// cancelStop is stopReason where a delivery was not tried, since nothing is sent to its
// destination.
func cancelStop(step *actions.Step, action int16) string {
	if why := stopReason(step, action); why != "" {
		return actionName(action, step) + " was cancelled" + workflow.StoppedSuffix
	}
	return ""
}
