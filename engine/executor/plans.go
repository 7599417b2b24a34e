package executor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// plan is what a workflow version does.
type plan struct {
	*actions.Plan
	workflow actions.Workflow // the zero one if its version is gone
	gate     gate
	err      error // why it can't be done, ever; then there is no Plan
}

// plans reads versions as deliveries of them come by, and keeps those that were used
// last. A version never changes.
type plans struct {
	store Store
	read  func(*workflow.Workflow) (*actions.Plan, error)
	group singleflight.Group

	mu    sync.Mutex
	known map[int32]*knownPlan
}

type knownPlan struct {
	*plan
	used time.Time
}

// longestRead is how long something may take that a worker needs to read.
const longestRead = 5 * time.Second

// mostPlans is how many are kept.
const mostPlans = 10000

func newPlans(store Store, read func(*workflow.Workflow) (*actions.Plan, error)) *plans {
	return &plans{store: store, read: read, known: make(map[int32]*knownPlan)}
}

// get returns a version's plan. An error is one of the database, or ErrNotYet, and may go away.
func (p *plans) get(ctx context.Context, ref int32) (*plan, error) {
	now := time.Now()
	p.mu.Lock()
	if k := p.known[ref]; k != nil {
		k.used = now
		p.mu.Unlock()
		return k.plan, nil
	}
	p.mu.Unlock()
	v, err, _ := p.group.Do(strconv.Itoa(int(ref)), func() (any, error) {
		loaded, err := p.load(ctx, ref)
		if err != nil {
			return nil, err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.known) >= mostPlans {
			p.forget()
		}
		p.known[ref] = &knownPlan{loaded, now}
		return loaded, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*plan), nil
}

// workflowOf is the id of the workflow that a version is of; "" if it isn't known yet.
func (p *plans) workflowOf(ref int32) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.known[ref]; k != nil {
		return k.workflow.ID
	}
	return ""
}

// forget drops the half that was not used for the longest time, more or less.
func (p *plans) forget() {
	var oldest, newest time.Time
	for _, k := range p.known {
		if oldest.IsZero() || k.used.Before(oldest) {
			oldest = k.used
		}
		if k.used.After(newest) {
			newest = k.used
		}
	}
	middle := oldest.Add(newest.Sub(oldest) / 2)
	for ref, k := range p.known {
		if !k.used.After(middle) {
			delete(p.known, ref)
		}
	}
}

func (p *plans) load(ctx context.Context, ref int32) (*plan, error) {
	ctx, cancel := context.WithTimeout(ctx, longestRead)
	defer cancel()
	v, err := p.store.Version(ctx, ref)
	if errors.Is(err, workflow.ErrNotFound) {
		return &plan{err: fmt.Errorf("the workflow's version is gone: %w", err)}, nil
	}
	if err != nil {
		return nil, err
	}
	loaded := &plan{workflow: actions.Workflow{ID: v.WorkflowID, Version: v.Version, TenantID: v.TenantID}}
	w, err := workflow.Parse(v.Document)
	if err != nil {
		loaded.err = err
		return loaded, nil
	}
	loaded.workflow.Name = w.Name
	if loaded.gate, loaded.err = readGate(w); loaded.err != nil {
		return loaded, nil
	}
	if loaded.workflow.Critical, loaded.err = w.Critical(); loaded.err != nil {
		return loaded, nil
	}
	loaded.Plan, loaded.err = p.read(w)
	return loaded, nil
}
