package executor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/directory"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Config says how much is done at once.
type Config struct {
	// Concurrency is how many attempts run at once; PerDestination and PerTenant how
	// many of them to one destination of a tenant, and of one tenant. They default to
	// 128, 16 and 96.
	Concurrency, PerDestination, PerTenant int
	// Lease is how long a delivery is this process's without being renewed, which is
	// done after a third of it. Defaults to 30 s.
	Lease time.Duration
	// Held and HeldBytes are how many deliveries, and how much event data of theirs, are
	// leased and in memory at once. They default to 32768 and 64 MiB.
	Held, HeldBytes int
	// Sweep is how often all of the queue is looked through for deliveries of workflows
	// that are not active any more. Defaults to 15 s.
	Sweep time.Duration
	// Hold says that nothing is claimed or sent.
	Hold bool
	// Plan reads what a workflow does; Registry.Plan, or one that redirects. Its error
	// is why the workflow's deliveries end.
	Plan func(*workflow.Workflow) (*actions.Plan, error)
	// OnlyIf decides an action's own conditions, by its index and kind, for an event as it was
	// recorded. An error is one of the database, and may go away. nil: nobody can, and an action
	// that has any fails.
	OnlyIf func(ctx context.Context, action int, kind string, list []workflow.Condition, event *workflow.Event) (Decided, error)
	// Directory says who has which roles, and who people are. nil: nobody has any, gates that
	// need to know wait, and then give up; and of people there are only the ids.
	Directory *directory.Directory
	// Preferences says what people want. nil: everything, at any time.
	Preferences Preferences
	// GateRetry are the waits after a gate could not be decided, and after recipients could
	// not be found out. Defaults to 1 s, 5 s,
	// 30 s, 2 min and 10 min.
	GateRetry []time.Duration
	// Destinations are shared with other processes: breakers, limits, weights of tenants. nil:
	// there are no breakers, and a destination's own limits don't hold.
	Destinations Destinations
	// Breaker says when a destination is left alone, and when it is disabled.
	Breaker workflow.Breaker
	// Limits are those of every destination that has none of its own which are lower.
	Limits actions.Limits
	// Process is this one's name among those that deliver; as the Queue has it. It is needed
	// with Destinations.
	Process string
	// Alerts is told of each destination that is disabled, once. nil: nobody is.
	Alerts Alerts
	// Pauses says what is paused. nil: nothing is.
	Pauses Pauses

	Logger *slog.Logger
}

// Queue is a connection to the queue; store's Queue is one. It belongs to one goroutine.
type Queue interface {
	Claim(ctx context.Context, c workflow.Claim) (workflow.Claimed, error)
	ClaimUnwanted(ctx context.Context, workflowIDs []string, limit int) ([]*workflow.Leased, error)
	ClaimDisabled(ctx context.Context, limit int) ([]*workflow.Leased, error)
	Renew(ctx context.Context, list []*workflow.Leased) (lost []*workflow.Leased, err error)
	Settle(ctx context.Context, outcomes []workflow.Outcome) (lost int, err error)
	Address(ctx context.Context, list []workflow.Addressing) (done []bool, err error)
	// Call calls a function, and writes that the delivery succeeded, in one transaction.
	Call(ctx context.Context, l *workflow.Leased, c workflow.FunctionCall) (response string, err error)
	ReleaseBig(ctx context.Context, limit int) (int, error)
	ClaimDiscarded(ctx context.Context, limit int) ([]*workflow.Leased, error)
	BehindPaused(ctx context.Context, p *workflow.Paused, limit int) ([]workflow.Behind, error)
	Close(ctx context.Context) error
}

// Store is what else is read. Its methods may be called from any goroutine.
type Store interface {
	// Version is the workflow version that a surrogate stands for, and ErrNotFound if
	// there is none any more; ErrNotYet if it can't be seen yet.
	Version(ctx context.Context, ref int32) (workflow.Version, error)
	// Statuses are the present ones of workflows. One that isn't active is left out if a
	// version that can't be seen yet may have made it so.
	Statuses(ctx context.Context, workflowIDs []string) (map[string]workflow.Status, error)
	// QueuedWorkflows are the ids of all workflows that have deliveries in the queue.
	QueuedWorkflows(ctx context.Context) ([]string, error)
	// EventData is the data of an event that was too big to come with a claim.
	EventData(ctx context.Context, e *workflow.Event) ([]byte, error)
	// Fired is the execution that a workflow which fires once per row has fired with for
	// the row of an event, and ErrNotFound if there is none.
	Fired(ctx context.Context, workflowID string, e *workflow.Event) (executionID string, err error)
	// Secret is a tenant's secret. The error may be shown to the tenant.
	Secret(ctx context.Context, tenantID, name string) (string, error)
}

// Executor delivers, for one process.
type Executor struct {
	cfg          Config
	store        Store
	open         func() Queue
	pool         *pool
	plans        *plans
	statuses     *statuses
	destinations *destinations // nil: nothing is known of them
	pauses       *pauses
	results      chan result
	callers      *callers
	bigData      chan struct{} // a token for each big event that is in memory
	metrics      *Metrics
	health       health
}

// result is what became of a delivery, on its way to be written.
type result struct {
	task      *task // nil: not of the pool
	outcome   workflow.Outcome
	address   *workflow.Addressing // instead: whom it is for
	postponed bool                 // instead: it waits on, in memory
}

// New makes an executor. open opens a connection to the queue.
func New(cfg Config, store Store, open func() Queue, metrics *Metrics) *Executor {
	cfg.Concurrency = cmp.Or(cfg.Concurrency, 128)
	cfg.PerDestination = min(cmp.Or(cfg.PerDestination, 16), cfg.Concurrency)
	cfg.PerTenant = min(cmp.Or(cfg.PerTenant, 96), cfg.Concurrency)
	cfg.Lease = cmp.Or(cfg.Lease, 30*time.Second)
	cfg.Held = cmp.Or(cfg.Held, 32768)
	cfg.Sweep = cmp.Or(cfg.Sweep, 15*time.Second)
	cfg.HeldBytes = cmp.Or(cfg.HeldBytes, 64<<20)
	if cfg.GateRetry == nil {
		cfg.GateRetry = []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}
	}
	e := &Executor{
		cfg: cfg, store: store, open: open, metrics: metrics,
		pool: newPool(limits{
			running: cfg.Concurrency, perLane: cfg.PerDestination, perTenant: cfg.PerTenant, held: cfg.Held, bytes: cfg.HeldBytes,
		}),
		results: make(chan result, 4096),
		callers: newCallers(),
		bigData: make(chan struct{}, bigMost),
	}
	e.pool.lease = cfg.Lease
	e.plans = newPlans(store, cfg.Plan)
	e.statuses = newStatuses(store)
	e.destinations = newDestinations(&e.cfg)
	e.pauses = newPauses(cfg.Pauses)
	metrics.capacity.Set(float64(cfg.Concurrency))
	return e
}

// Run delivers until ctx ends; what runs then may go on until work ends. It returns nil:
// whatever fails is tried again.
func (e *Executor) Run(ctx, work context.Context) error {
	if e.cfg.Hold {
		return e.sweep(ctx, nil)
	}
	workers, sweeps := errgroup.Group{}, errgroup.Group{}
	for range e.cfg.Concurrency {
		workers.Go(func() error { e.work(work); return nil })
	}
	sweeps.Go(func() error { return e.claims(ctx) })
	sweeps.Go(func() error { return e.sweep(ctx, e.results) })
	sweeps.Go(func() error { return e.housekeep(ctx) })
	if e.destinations != nil {
		sweeps.Go(func() error { return e.keepDestinations(ctx) })
	}
	if e.cfg.Pauses != nil {
		sweeps.Go(func() error { return e.keepPauses(ctx) })
	}
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		e.settle(work)
	}()

	<-ctx.Done()
	_ = sweeps.Wait()
	renewing, stop := context.WithCancel(work)
	defer stop()
	kept := make(chan struct{})
	go func() { defer close(kept); _ = e.housekeep(renewing) }()
	// Claims have ended, and Reserve says no from here on. But what was reserved before
	// may be on its way into the record yet.
	e.giveBack(e.pool.close())
	select {
	case <-e.pool.calm:
	case <-work.Done():
	}
	e.giveBack(e.pool.late())
	_ = workers.Wait()
	e.closeCallers()
	e.sayLeft()
	stop()
	<-kept
	close(e.results)
	<-settled
	return nil
}

// giveBack lets others have deliveries that were not tried.
func (e *Executor) giveBack(tasks []*task) {
	for _, t := range tasks {
		e.results <- giveBack(t)
	}
}

func giveBack(t *task) result {
	return result{task: t, outcome: workflow.Outcome{Leased: t.Leased, Verb: workflow.GiveBack}}
}

// Reserve marks those of these deliveries as Leased that there is room for; they are
// about to be recorded. Recorded must be called when they are, or could not be.
func (e *Executor) Reserve(list []*workflow.Delivery) {
	if e.cfg.Hold {
		return
	}
	var last *workflow.Execution
	var first int32 // the lowest order of the last execution, whose deliveries come in order
	for _, d := range list {
		if d.Execution != last {
			last, first = d.Execution, d.Order
		}
		if d.Order > first || d.Execution.BigRef || d.Execution.Storm != 0 || e.pauses.cover(d.Execution.TenantID, d.Execution.VersionRef, d.Kind) {
			continue
		}
		d.Leased = e.pool.reserve(d.Lane, d.Execution.TenantID, sizeOfFresh(d))
	}
}

func sizeOfFresh(d *workflow.Delivery) int {
	return sizeOf(&workflow.Leased{Event: d.Execution.Event})
}

// Recorded takes what was reserved: since has passed since the moment before it was
// recorded, from which on its lease counts. If it could not be recorded the room is
// free again.
func (e *Executor) Recorded(list []*workflow.Delivery, since time.Time, recorded bool) {
	if e.cfg.Hold {
		return
	}
	fresh := make([]*workflow.Leased, 0, len(list))
	left := false // for a claim
	for i := 0; i < len(list); {
		x := list[i].Execution
		n := i + 1
		for n < len(list) && list[n].Execution == x {
			n++
		}
		id := ""
		for _, d := range list[i:n] {
			if !d.Leased {
				left = left || !e.pauses.cover(x.TenantID, x.VersionRef, d.Kind)
				continue
			}
			if !recorded {
				e.pool.unreserve(d.Lane, sizeOfFresh(d))
				continue
			}
			if id == "" {
				id = x.ID()
			}
			fresh = append(fresh, &workflow.Leased{
				ExecutionID: id, Action: d.Action, VersionRef: x.VersionRef, TenantID: x.TenantID, Kind: d.Kind, Order: d.Order,
				Priority: x.Priority, Lane: d.Lane, Addressed: d.Addressed, Sole: n-i == 1, Event: x.Event,
				XID: x.Event.XID,
			})
		}
		i = n
	}
	e.pool.add(fresh, since.Add(e.cfg.Lease), true)
	if recorded && left {
		e.pool.wake()
	}
}

// claimMost is how many deliveries are claimed at once.
const claimMost = 1000

// claimPaced is the same while retries are held back for the sake of fresh deliveries, which
// a big claim keeps waiting.
const claimPaced = 100

const (
	idlePoll  = 250 * time.Millisecond // how often the queue is looked at that gave nothing
	retryWait = time.Second            // after a failure of the database
	lastWrite = 2 * time.Second        // what a write may take once the process must end
	// leastLease is how long a lease must still last for an attempt to begin.
	leastLease = 2 * time.Second
)

// claims leases what is due, as long as there is room. It goes round the lanes, and
// rests when a round is over in which nothing was left for want of room.
func (e *Executor) claims(ctx context.Context) error {
	q := e.open()
	defer e.closeQueue(q)
	// A claim that is cut may have been made: nobody would know what it leased.
	calls, end := outlast(ctx, lastWrite)
	defer end()
	after := int64(math.MinInt64)
	round := time.Now() // when it began
	again, failed := false, false
	for ctx.Err() == nil {
		e.giveBack(e.pool.surplus())
		c := e.pool.room(after)
		c.Barred = e.destinations == nil
		nothing := false
		c.Paused, nothing = e.pauses.claim()
		wait := idlePoll
		switch {
		case nothing: // everything is paused, or it isn't known yet what is
			after = math.MinInt64
		case c.Most == 0:
			again = true
		default:
			begun := time.Now()
			call, cancel := context.WithTimeout(calls, e.cfg.Lease/3)
			got, err := q.Claim(call, c)
			cancel()
			if ctx.Err() == nil {
				e.health.note("claim deliveries", err)
			}
			switch {
			case err != nil && ctx.Err() == nil:
				if !failed {
					e.cfg.Logger.WarnContext(ctx, "deliveries could not be claimed, will try again", "err", err)
				}
				failed, wait = true, retryWait
			case err == nil:
				failed = false
				e.pool.claimed(c, got)
				e.pool.add(got.Deliveries, begun.Add(e.cfg.Lease), false)
				e.metrics.claimed.Add(float64(len(got.Deliveries)))
				again = again || len(got.Deliveries) == c.Most
				after, wait = got.Last, 0
				if got.End {
					if !again {
						// With very many lanes a round is work for the server.
						wait = max(idlePoll, 4*time.Since(round))
					}
					after, again = math.MinInt64, false
				}
			}
		}
		if wait > 0 {
			select {
			case <-e.pool.claim:
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
		if after == math.MinInt64 {
			round = time.Now()
		}
	}
	return nil
}

// outlast returns a context that ends a while after ctx.
func outlast(ctx context.Context, while time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(while, cancel) })
	return longer, func() { stop(); cancel() }
}

func (e *Executor) closeQueue(q Queue) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = q.Close(ctx) // nothing is pending on it
}

// housekeep renews leases, and keeps the pool's measures current.
func (e *Executor) housekeep(ctx context.Context) error {
	q := e.open()
	defer e.closeQueue(q)
	tick := time.NewTicker(rateWindow / 5)
	defer tick.Stop()
	beat := time.NewTimer(paceBeat)
	defer beat.Stop()
	renew := time.NewTicker(e.cfg.Lease / 10)
	defer renew.Stop()
	for {
		select {
		case now := <-tick.C:
			e.pool.tick(now)
			if e.pool.beat(now) {
				beat.Reset(paceBeat)
			}
			held, waiting, running := e.pool.state()
			e.metrics.held.Set(float64(held))
			e.metrics.waiting.Set(float64(waiting))
			e.metrics.running.Set(float64(running))
		case now := <-beat.C:
			if e.pool.beat(now) {
				beat.Reset(paceBeat)
			}
		case <-renew.C:
			e.renew(ctx, q)
		case <-ctx.Done():
			return nil
		}
	}
}

// renew renews the leases that have lasted for a third of their time.
func (e *Executor) renew(ctx context.Context, q Queue) {
	now := time.Now()
	tasks := e.pool.expiring(now.Add(e.cfg.Lease * 2 / 3))
	if len(tasks) == 0 {
		return
	}
	list := make([]*workflow.Leased, len(tasks))
	for i, t := range tasks {
		list[i] = t.Leased
	}
	call, cancel := context.WithTimeout(ctx, e.cfg.Lease/3)
	defer cancel()
	gone, err := q.Renew(call, list)
	if err != nil {
		if ctx.Err() == nil {
			e.cfg.Logger.WarnContext(ctx, "leases of deliveries could not be renewed, will try again", "deliveries", len(list), "err", err)
		}
		return
	}
	lost := make(map[*workflow.Leased]bool, len(gone))
	for _, l := range gone {
		lost[l] = true
	}
	e.pool.renewed(tasks, now.Add(e.cfg.Lease), lost)
}

const (
	settleMost = 1000
	// While much is to do, so many are written without waiting for more, and fewer wait
	// so long for more: what a transaction costs is then shared.
	settleEnough = 500
	settleWait   = 20 * time.Millisecond
	settleBusy   = 64
)

// settle writes outcomes until the channel is closed. It goes on trying until work ends,
// and for a moment longer.
func (e *Executor) settle(work context.Context) {
	q := e.open()
	defer e.closeQueue(q)
	calls, end := outlast(work, lastWrite)
	defer end()
	batch := make([]result, 0, settleMost)
	for {
		r, ok := <-e.results
		if !ok {
			return
		}
		batch = e.gather(append(batch[:0], r))
		e.write(work, calls, q, batch)
	}
}

// gather adds what has come meanwhile. While much runs it waits a little for more: a
// transaction for each would cost more than it gives.
func (e *Executor) gather(batch []result) []result {
	batch = e.drain(batch)
	if len(batch) >= settleEnough {
		return batch
	}
	if _, waiting, running := e.pool.state(); waiting+running < settleBusy {
		return batch
	}
	time.Sleep(settleWait) // not woken by each that comes: the channel has room for them
	return e.drain(batch)
}

// drain adds what is there.
func (e *Executor) drain(batch []result) []result {
	for len(batch) < settleMost {
		select {
		case r, ok := <-e.results:
			if !ok {
				return batch
			}
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

// write writes a batch, and frees its room. Calls end some time after work.
func (e *Executor) write(work, calls context.Context, q Queue, batch []result) {
	var outcomes []workflow.Outcome
	var addressings []workflow.Addressing
	var tasks, addressed, leaving []*task
	several := false
	// In one order, so that two processes don't wait for each other.
	slices.SortFunc(batch, func(a, b result) int { return byKey(a.leased(), b.leased()) })
	for _, r := range batch {
		if r.address != nil {
			addressings = append(addressings, *r.address)
			addressed = append(addressed, r.task)
			continue
		}
		several = several || !r.outcome.Sole
		if r.outcome.Verb == workflow.Written {
			e.metrics.deliveries.WithLabelValues(r.outcome.Kind, string(workflow.Succeeded)).Inc()
			tasks = append(tasks, r.task)
			continue
		}
		outcomes = append(outcomes, r.outcome)
		if r.task == nil {
			continue
		}
		tasks = append(tasks, r.task)
		if v := r.outcome.Verb; v == workflow.Retry || v == workflow.GiveBack {
			leaving = append(leaving, r.task)
		}
	}
	if len(outcomes)+len(tasks) > 0 {
		e.pool.leave(leaving)
		if len(outcomes) > 0 {
			e.settleAll(work, calls, q, outcomes)
		}
		e.pool.settled(tasks)
		if several {
			e.pool.wake() // a higher order may have begun
		}
	}
	if len(addressings) > 0 {
		shares := e.address(work, calls, q, addressings)
		e.pool.settled(addressed)
		e.pool.add(shares.list, shares.until, false)
		if late := e.pool.late(); len(late) > 0 {
			var back []result
			for _, t := range late {
				back = append(back, giveBack(t))
			}
			e.write(work, calls, q, back)
		}
	}
}

func (r *result) leased() *workflow.Leased {
	if r.task != nil {
		return r.task.Leased
	}
	return r.outcome.Leased
}

func byKey(a, b *workflow.Leased) int {
	return cmp.Or(strings.Compare(a.ExecutionID, b.ExecutionID), cmp.Compare(a.Action, b.Action), strings.Compare(a.Recipient, b.Recipient))
}

// settleAll writes outcomes. One that the database refuses keeps no other from being
// written, and its delivery ends: it would be refused again.
func (e *Executor) settleAll(work, calls context.Context, q Queue, outcomes []workflow.Outcome) {
	begun := time.Now()
	var lost int
	err := e.persist(work, calls, "outcomes of deliveries", len(outcomes), func(ctx context.Context) (err error) {
		lost, err = q.Settle(ctx, outcomes)
		return err
	})
	switch n := len(outcomes); {
	case err == nil:
		e.metrics.settled(outcomes, lost, time.Since(begun))
	case !refused(err): // work has ended
	case n > 1:
		e.settleAll(work, calls, q, outcomes[:n/2])
		e.settleAll(work, calls, q, outcomes[n/2:])
	case outcomes[0].Reason != unwritable:
		o := outcomes[0]
		e.cfg.Logger.ErrorContext(work, "what became of a delivery can't be written; it ends as dead", "delivery_id", o.ID(), "err", err)
		o.Verb, o.Reason, o.Response, o.Code = workflow.Dead, unwritable, "", 0
		e.settleAll(work, calls, q, []workflow.Outcome{o})
	default:
		e.cfg.Logger.ErrorContext(work, "that a delivery ended can't be written either; it is tried again after its lease", "delivery_id", outcomes[0].ID(), "err", err)
	}
}

const unwritable = "what became of it could not be written down"

// shares are leased until a time.
type shares struct {
	list  []*workflow.Leased
	until time.Time
}

// address replaces deliveries by their recipients' shares.
func (e *Executor) address(work, calls context.Context, q Queue, list []workflow.Addressing) shares {
	s := shares{until: time.Now().Add(e.cfg.Lease)}
	var done []bool
	err := e.persist(work, calls, "recipients of deliveries", len(list), func(ctx context.Context) (err error) {
		done, err = q.Address(ctx, list)
		return err
	})
	switch n := len(list); {
	case err == nil:
	case !refused(err): // work has ended
		return s
	case n > 1:
		a, b := e.address(work, calls, q, list[:n/2]), e.address(work, calls, q, list[n/2:])
		s.list = slices.Concat(a.list, b.list)
		return s
	default:
		e.settleAll(work, calls, q, []workflow.Outcome{{
			Leased: list[0].Leased, Verb: workflow.Dead, Reason: "its recipients can't be written down: " + err.Error(),
		}})
		return s
	}
	for i, a := range list {
		if !done[i] {
			e.metrics.leasesLost.Inc()
			continue
		}
		for i := range a.People {
			share := *a.Leased
			share.Recipient, share.Person, share.XID = a.People[i].ID, &a.People[i], 0
			share.Attempts, share.Base = 0, 0 // those were at finding out whom it is for
			share.Addressed, share.Sole = true, a.Sole && len(a.People)+len(a.Left) == 1
			s.list = append(s.list, &share)
		}
	}
	return s
}

func refused(err error) bool {
	return errors.Is(err, workflow.ErrRefused) || errors.Is(err, workflow.ErrConflict)
}

// persist calls write until it succeeds, the database refuses it, or work ends.
func (e *Executor) persist(work, calls context.Context, what string, n int, write func(context.Context) error) error {
	wait := 50 * time.Millisecond
	for first := true; ; first = false {
		call, cancel := context.WithTimeout(calls, e.cfg.Lease/3)
		err := write(call)
		cancel()
		e.health.note("write "+what, err)
		if err == nil {
			return nil
		}
		e.metrics.settleFailures.Inc()
		if refused(err) {
			return err
		}
		if first {
			e.cfg.Logger.WarnContext(work, "what became of deliveries could not be written, will try again", "what", what, "deliveries", n, "err", err)
		}
		select {
		case <-time.After(wait):
			wait = min(2*wait, 2*time.Second)
		case <-work.Done():
			e.cfg.Logger.ErrorContext(work, "stopping without having written what became of deliveries; they will be tried again with the same keys",
				"what", what, "deliveries", n, "err", err)
			return errors.Join(err, fmt.Errorf("gave up: %w", context.Cause(work)))
		}
	}
}
