package executor

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Pauses says what is paused. Its methods may be called from any goroutine.
type Pauses interface {
	// Pauses are those that hold, at most limit, the oldest first.
	Pauses(ctx context.Context, limit int) ([]workflow.Pause, error)
	// VersionsOf are the surrogates of all versions of workflows and tenants, and the last
	// one that there is; LastVersion is that one alone.
	VersionsOf(ctx context.Context, workflowIDs, tenantIDs []string) (byWorkflow, byTenant map[string][]int32, last int32, err error)
	LastVersion(ctx context.Context) (int32, error)
}

const (
	pausesEach = time.Second      // how often they are read
	mostPauses = 10_000           // that hold at once
	pastEach   = 10 * time.Second // how often what stands before the others in the queue is looked at, at most
	pastShare  = 20               // and how much more time than it takes passes between
	mostBehind = 50_000           // lanes in memory
	mostSaid   = 20               // pauses that the log tells of at a time
	noVersions = -1               // instead of the last version, where it doesn't matter
)

// pauses is what this process knows of them. Deliveries that are paused stay in the queue,
// free: a claim leaves them out, what is in memory is given back, and none begins.
//
// What was known last counts while the source can't be read; before anything is known,
// everything waits.
type pauses struct {
	store Pauses
	now   atomic.Pointer[pausesNow] // nil: it isn't known yet

	// Of keepPauses alone:
	known   []workflow.Pause // as read last
	read    time.Time        // when that was asked for
	last    int32            // surrogate up to which now has the versions
	looked  time.Time        // when what is behind paused deliveries was looked at
	took    time.Duration    // by that
	warned  bool             // that there are too many
	failing bool
}

// pausesNow is what is paused; it is never changed.
type pausesNow struct {
	list     []workflow.Pause
	all      bool
	tenants  map[tenantKind]bool // with "" for every kind
	refs     map[int32]bool
	kinds    map[string]bool
	refKinds map[workflow.RefKind]bool
	claim    *workflow.Paused
}

type tenantKind struct{ tenantID, kind string }

func newPauses(store Pauses) *pauses {
	p := &pauses{store: store}
	if store == nil {
		p.now.Store(&pausesNow{})
	}
	return p
}

// claim is what a claim leaves out, and whether that is everything.
func (p *pauses) claim() (out *workflow.Paused, all bool) {
	now := p.now.Load()
	if now == nil || now.all {
		return nil, true
	}
	return now.claim, false
}

// cover says whether a delivery of a version is known to be paused. Of a version that is
// new this is known a second later: holds knows.
func (p *pauses) cover(tenantID string, ref int32, kind string) bool {
	now := p.now.Load()
	switch {
	case now == nil || now.all:
		return true
	case len(now.list) == 0:
		return false
	}
	return now.refs[ref] || now.kinds[kind] || now.refKinds[workflow.RefKind{Ref: ref, Kind: kind}] ||
		now.tenants[tenantKind{tenantID, ""}] || now.tenants[tenantKind{tenantID, kind}]
}

// holds says whether a delivery of a workflow is paused.
func (p *pauses) holds(t *task, workflowID string) bool {
	if p.cover(t.TenantID, t.VersionRef, t.Kind) {
		return true
	}
	list := p.now.Load().list
	return slices.ContainsFunc(list, func(p workflow.Pause) bool { return p.Covers(t.TenantID, workflowID, t.Kind) })
}

// Paused are the pauses that hold, as far as this process knows, the oldest first. While
// nothing is known, and so everything waits, known is false.
func (e *Executor) Paused() (list []workflow.Pause, known bool) {
	now := e.pauses.now.Load()
	if now == nil {
		return nil, false
	}
	return now.list, true
}

// keepPauses reads what is paused until ctx ends, and has it heeded.
func (e *Executor) keepPauses(ctx context.Context) error {
	p := e.pauses
	q := e.open()
	defer e.closeQueue(q)
	each := time.NewTicker(pausesEach)
	defer each.Stop()
	for {
		e.readPauses(ctx)
		if err := e.heedPauses(ctx); err != nil {
			e.note(ctx, "read which versions are paused", err)
		} else if p.read != (time.Time{}) {
			e.note(ctx, "read which versions are paused", nil)
			e.note(ctx, "look at which deliveries are paused", e.lookBehind(ctx, q))
		}
		select {
		case <-each.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// readPauses reads what is paused. If it can't be read, what was known holds.
func (e *Executor) readPauses(ctx context.Context) {
	p := e.pauses
	call, cancel := context.WithTimeout(ctx, longestRead)
	defer cancel()
	asked := time.Now()
	list, err := p.store.Pauses(call, mostPauses+1)
	e.note(ctx, "read what is paused", err)
	if err != nil {
		if ctx.Err() == nil && !p.failing {
			e.cfg.Logger.WarnContext(ctx, "what is paused could not be read, will try again; what was known holds", "err", err)
		}
		p.failing = true
		return
	}
	p.failing = false
	if many := len(list) > mostPauses; many != p.warned {
		if p.warned = many; many {
			e.cfg.Logger.ErrorContext(ctx, "there are too many pauses: the newest ones don't hold; pause tenants or kinds instead of workflows", "most", mostPauses)
		}
	}
	p.known, p.read = list[:min(len(list), mostPauses)], asked
}

// heedPauses brings what holds now into effect.
func (e *Executor) heedPauses(ctx context.Context) error {
	p := e.pauses
	if p.read.IsZero() {
		return nil
	}
	var list []workflow.Pause
	since := time.Since(p.read)
	for i := range p.known {
		if k := &p.known[i]; k.Until.IsZero() || k.Left > since {
			list = append(list, *k)
		}
	}
	before := p.now.Load()
	same := before != nil && slices.EqualFunc(before.list, list, func(a, b workflow.Pause) bool {
		a.Left, b.Left = 0, 0
		return a.Until.Equal(b.Until) && a == b
	})
	if same {
		return e.heedVersions(ctx, before)
	}
	call, cancel := context.WithTimeout(ctx, longestRead)
	defer cancel()
	now, last, err := p.compile(call, list)
	p.now.Store(now) // without the versions it holds too: attempts are looked at one by one
	p.last, p.looked = last, time.Time{}
	e.sayPauses(ctx, before, now)
	e.metrics.pauses(list)
	e.pullPaused()
	e.pool.wake() // something may have ended
	return err
}

// heedVersions brings pauses that hold already into effect for versions that are new.
func (e *Executor) heedVersions(ctx context.Context, now *pausesNow) error {
	p := e.pauses
	if len(now.list) == 0 {
		return nil
	}
	e.pullPaused() // what was on its way into memory
	if p.last == noVersions {
		return nil
	}
	call, cancel := context.WithTimeout(ctx, longestRead)
	defer cancel()
	last, err := p.store.LastVersion(call)
	if err != nil || last == p.last {
		return err
	}
	next, last, err := p.compile(call, now.list)
	if err != nil {
		return err
	}
	next.claim.Behind = now.claim.Behind
	p.now.Store(next)
	p.last = last
	return nil
}

// pullPaused gives back what is paused of what waits in memory.
func (e *Executor) pullPaused() {
	e.giveBack(e.pool.pull(func(t *task) bool { return e.pauses.holds(t, e.plans.workflowOf(t.VersionRef)) }))
}

// compile prepares what is to be looked up often. With an error what it returns lacks the
// versions.
func (p *pauses) compile(ctx context.Context, list []workflow.Pause) (*pausesNow, int32, error) {
	now := &pausesNow{
		list: list, tenants: make(map[tenantKind]bool), refs: make(map[int32]bool), kinds: make(map[string]bool),
		refKinds: make(map[workflow.RefKind]bool), claim: &workflow.Paused{},
	}
	if len(list) == 0 {
		now.claim = nil
		return now, noVersions, nil
	}
	var workflows, tenants []string
	for i := range list {
		switch k := &list[i]; {
		case k.All():
			now.all = true
		case k.WorkflowID != "":
			workflows = append(workflows, k.WorkflowID)
		case k.TenantID != "":
			tenants = append(tenants, k.TenantID)
			now.tenants[tenantKind{k.TenantID, k.Kind}] = true
		default:
			now.kinds[k.Kind] = true
			now.claim.Kinds = append(now.claim.Kinds, k.Kind)
		}
	}
	if now.all || len(workflows)+len(tenants) == 0 {
		return now, noVersions, nil
	}
	byWorkflow, byTenant, last, err := p.store.VersionsOf(ctx, workflows, tenants)
	if err != nil {
		return now, 0, err
	}
	for i := range list {
		k := &list[i]
		refs := byTenant[k.TenantID]
		if k.WorkflowID != "" {
			refs = byWorkflow[k.WorkflowID]
		}
		for _, ref := range refs {
			if k.Kind == "" {
				now.refs[ref] = true
			} else {
				now.refKinds[workflow.RefKind{Ref: ref, Kind: k.Kind}] = true
			}
		}
	}
	for ref := range now.refs {
		now.claim.Refs = append(now.claim.Refs, ref)
	}
	for of := range now.refKinds {
		now.claim.Of = append(now.claim.Of, of)
	}
	return now, last, nil
}

// lookBehind looks, now and then, at what stands in the queue behind deliveries that are
// paused: a claim is not to read past very many of them each time.
func (e *Executor) lookBehind(ctx context.Context, q Queue) error {
	p := e.pauses
	now := p.now.Load()
	if now.claim == nil || now.all || time.Since(p.looked) < max(pastEach, pastShare*p.took) {
		return nil
	}
	call, cancel := context.WithTimeout(ctx, longestSweep)
	defer cancel()
	p.looked = time.Now()
	behind, err := q.BehindPaused(call, now.claim, mostBehind)
	p.took = time.Since(p.looked)
	if err != nil {
		return err
	}
	next, claim := *now, *now.claim
	claim.Behind = behind
	next.claim = &claim
	p.now.Store(&next)
	return nil
}

// sayPauses tells the log which pauses have begun, and which are over.
func (e *Executor) sayPauses(ctx context.Context, before, now *pausesNow) {
	var old []workflow.Pause
	if before != nil {
		old = before.list
	}
	ended, begun := without(old, now.list), without(now.list, old)
	more := 0
	for _, list := range []*[]workflow.Pause{&ended, &begun} {
		if n := len(*list) - mostSaid; n > 0 {
			more += n
			*list = (*list)[:mostSaid]
		}
	}
	for i := range ended {
		p := &ended[i]
		e.cfg.Logger.InfoContext(ctx, "deliveries are not paused any more", "pause", p.ID, "of", p.String())
	}
	for i := range begun {
		p := &begun[i]
		until := "resumed"
		if !p.Until.IsZero() {
			until = p.Until.UTC().Format(time.RFC3339)
		}
		e.cfg.Logger.InfoContext(ctx, "deliveries are paused", "pause", p.ID, "of", p.String(), "until", until, "by", p.CreatedBy, "reason", cmp.Or(p.Reason, "-"))
	}
	if more > 0 {
		e.cfg.Logger.InfoContext(ctx, "more pauses have begun or ended", "pauses", more)
	}
}

// without are the pauses that are not in another list.
func without(list, other []workflow.Pause) []workflow.Pause {
	ids := make(map[string]bool, len(other))
	for i := range other {
		ids[other[i].ID] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(p workflow.Pause) bool { return ids[p.ID] })
}
