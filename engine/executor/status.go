package executor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// statuses keeps the present status of workflows that have something to deliver.
type statuses struct {
	store Store
	group singleflight.Group

	mu      sync.Mutex
	known   map[string]*status
	changed chan string // ids of workflows whose status has changed
}

type status struct {
	workflow.Status
	used    time.Time
	checked time.Time // from when it is known, or was asked for in vain
	asked   time.Time // when what is known was asked for
}

const (
	refreshEach = time.Second
	staleAfter  = 2 * time.Second  // then it is asked for before it counts
	forgetAfter = 10 * time.Second // a workflow that delivers nothing
)

func newStatuses(store Store) *statuses {
	return &statuses{store: store, known: make(map[string]*status), changed: make(chan string, 64)}
}

// get returns a workflow's present status. While the source can't be reached what was
// known last counts, and an error is returned of what was never known.
//
// That a workflow is off counts only if it was asked for after since, when a delivery was
// recorded already: before, it may have been off for the last time, and the delivery be
// of the version that turned it on again.
func (s *statuses) get(ctx context.Context, id string, since time.Time) (workflow.Status, error) {
	for again := false; ; again = true {
		now := time.Now()
		s.mu.Lock()
		k := s.known[id]
		var counts, fresh, inVain bool
		var is workflow.Status
		if k != nil {
			k.used = now
			is = k.Status
			counts = is == workflow.Active || k.asked.After(since)
			fresh = now.Sub(k.checked) < staleAfter
			inVain = k.checked.After(k.asked)
		}
		s.mu.Unlock()
		switch {
		case fresh && counts:
			return is, nil
		case again || fresh && inVain:
			return "", fmt.Errorf("the status of workflow %s is not known", id)
		}
		_, err, _ := s.group.Do(id, func() (any, error) { return nil, s.refresh(ctx, []string{id}) })
		if err == nil {
			continue
		}
		s.mu.Lock()
		if k = s.known[id]; k != nil {
			k.checked = now // not again for each delivery
			is, counts = k.Status, k.Status == workflow.Active || k.asked.After(since)
		}
		s.mu.Unlock()
		if k == nil || !counts {
			return "", err
		}
		return is, nil
	}
}

// refresh asks for the statuses of these workflows.
func (s *statuses) refresh(ctx context.Context, ids []string) error {
	ctx, cancel := context.WithTimeout(ctx, longestRead)
	defer cancel()
	asked := time.Now()
	got, err := s.store.Statuses(ctx, ids)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		k := s.known[id]
		is, ok := got[id]
		if !ok { // it can't be told yet
			if k != nil && !asked.Before(k.asked) {
				delete(s.known, id)
			}
			continue
		}
		if k == nil {
			k = &status{used: asked}
			s.known[id] = k
		}
		if !asked.Before(k.asked) { // else another answer has overtaken this one
			k.Status, k.checked, k.asked = is, asked, asked
		}
	}
	return nil
}

// inUse are the workflows that had something to deliver lately; others are forgotten.
func (s *statuses) inUse() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id, k := range s.known {
		if time.Since(k.used) > forgetAfter {
			delete(s.known, id)
			continue
		}
		ids = append(ids, id)
	}
	return ids
}

// off are those of these workflows that are known not to be active.
func (s *statuses) off(ids []string) map[string]workflow.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	off := make(map[string]workflow.Status)
	for _, id := range ids {
		if k := s.known[id]; k != nil && k.Status != workflow.Active {
			off[id] = k.Status
		}
	}
	return off
}

// StatusChanged says that a workflow may have been turned on or off. It never blocks:
// what it drops a sweep finds.
func (e *Executor) StatusChanged(workflowID string) {
	select {
	case e.statuses.changed <- workflowID:
	default:
	}
}

func offReason(is workflow.Status) string {
	switch is {
	case workflow.Deleted:
		return "the workflow was deleted"
	case workflow.Draft:
		return "the workflow was made a draft"
	}
	return "the workflow was turned off"
}

// sweep keeps statuses current, cancels what waits of workflows that are not active any
// more, and lets begin what waited for its transaction. With no results to write to, as
// on hold, it goes without the cancelling.
func (e *Executor) sweep(ctx context.Context, results chan<- result) error {
	q := e.open()
	defer e.closeQueue(q)
	refresh := time.NewTicker(refreshEach)
	defer refresh.Stop()
	all := time.NewTicker(e.cfg.Sweep)
	defer all.Stop()
	failed := false
	note := func(err error) {
		if ctx.Err() == nil {
			e.health.note("look for workflows that were turned off", err)
		}
		if err != nil && ctx.Err() == nil && !failed {
			e.cfg.Logger.WarnContext(ctx, "workflows that were turned off could not be looked for, will try again", "err", err)
		}
		failed = err != nil
	}
	for {
		select {
		case id := <-e.statuses.changed:
			ids := []string{id}
			for len(e.statuses.changed) > 0 {
				ids = append(ids, <-e.statuses.changed)
			}
			note(e.look(ctx, q, ids, results))
		case <-refresh.C:
			err := e.release(ctx, q)
			if err == nil {
				err = e.cancelDisabled(ctx, q, results)
			}
			if err == nil && results != nil {
				err = e.discard(ctx, q, results)
			}
			if ids := e.statuses.inUse(); len(ids) > 0 && err == nil {
				err = e.look(ctx, q, ids, results)
			}
			note(err)
		case <-all.C:
			call, cancel := context.WithTimeout(ctx, longestSweep)
			ids, err := e.store.QueuedWorkflows(call)
			cancel()
			if err == nil && len(ids) > 0 {
				err = e.look(ctx, q, ids, results)
			}
			note(err)
		case <-ctx.Done():
			return nil
		}
	}
}

// unwantedAtOnce is how many deliveries are cancelled, or released, at a time.
const unwantedAtOnce = 2000

// longestSweep is how long a statement of a sweep may take: a network that swallows
// packets would keep it for ever.
const longestSweep = 30 * time.Second

// look asks for the statuses of workflows, and cancels what waits of those that are off.
func (e *Executor) look(ctx context.Context, q Queue, ids []string, results chan<- result) error {
	asked := time.Now()
	if err := e.statuses.refresh(ctx, ids); err != nil {
		return err
	}
	off := e.statuses.off(ids)
	if len(off) == 0 || results == nil {
		return nil
	}
	end := func(t *task, l *workflow.Leased, workflowID string) {
		o := workflow.Outcome{Leased: l, Verb: workflow.GiveBack}
		if is := off[workflowID]; is != "" {
			o.Verb, o.Reason = workflow.Cancel, offReason(is)
		}
		results <- result{task: t, outcome: o}
	}
	// What waits behind something that hangs may be of versions that nothing was tried of.
	for _, ref := range e.pool.versions() {
		if _, err := e.plans.get(ctx, ref); err != nil && !errors.Is(err, workflow.ErrNotYet) {
			return err
		}
	}
	// One that came since then may be of the version that turns its workflow on again.
	for _, t := range e.pool.pull(func(t *task) bool { return t.came.Before(asked) && off[e.plans.workflowOf(t.VersionRef)] != "" }) {
		end(t, t.Leased, e.plans.workflowOf(t.VersionRef))
	}
	calls, stop := outlast(ctx, lastWrite)
	defer stop()
	for ctx.Err() == nil && len(off) > 0 {
		stopped := slices.Collect(maps.Keys(off))
		call, done := context.WithTimeout(calls, longestSweep)
		list, err := q.ClaimUnwanted(call, stopped, unwantedAtOnce)
		done()
		if err != nil {
			return err
		}
		if len(list) > 0 {
			// Those that are on again by now get theirs back, for the same reason.
			if err := e.statuses.refresh(calls, stopped); err != nil {
				return err // the leases run out
			}
			off = e.statuses.off(stopped)
		}
		later := false
		for _, l := range list {
			p, err := e.plans.get(ctx, l.VersionRef)
			switch {
			case errors.Is(err, workflow.ErrNotYet):
				later = true
				end(nil, l, "") // it is given back
			case err != nil:
				return err // the leases run out
			default:
				end(nil, l, p.workflow.ID)
			}
		}
		if later || len(list) < unwantedAtOnce {
			break
		}
	}
	return nil
}

// release lets begin what waited for the end of its transaction.
func (e *Executor) release(ctx context.Context, q Queue) error {
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, longestSweep)
		n, err := q.ReleaseBig(call, unwantedAtOnce)
		cancel()
		if err != nil {
			return err
		}
		if n > 0 {
			e.pool.wake()
		}
		if n < unwantedAtOnce {
			break
		}
	}
	return nil
}
