package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/engine/executor"
	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// ownConditions decides what actions ask for themselves, for events as they were recorded. The
// types of columns are not recorded, so tables are read as they are now, and kept for a while.
type ownConditions struct {
	table    func(ctx context.Context, label string) (*workflow.Table, *change.Relation, error)
	programs trial.Programs

	group singleflight.Group // by labels

	mu    sync.Mutex
	known map[string]*knownTable // which never change
}

type knownTable struct {
	table   *workflow.Table
	rel     *change.Relation
	missing error // it isn't captured; nil: it is
	read    time.Time
	again   bool // it was read since a condition couldn't be decided by what was kept
}

const (
	tablesFor    = 10 * time.Second
	againAfter   = time.Second
	longestTable = 5 * time.Second
	mostTables   = 10_000
)

// good is for how long one is gone by.
func (t *knownTable) good() time.Duration {
	if t.missing != nil {
		return againAfter
	}
	return tablesFor
}

func (a *App) ownConditions() *ownConditions {
	return &ownConditions{table: a.definitions().Table, known: make(map[string]*knownTable)}
}

// decide is executor.Config's OnlyIf.
func (o *ownConditions) decide(ctx context.Context, action int, kind string, list []workflow.Condition, e *workflow.Event) (executor.Decided, error) {
	if e.Op == change.Emit {
		return o.on(action, kind, list, e, nil), nil
	}
	t, fresh, err := o.find(ctx, e.Table)
	if err != nil {
		return executor.Decided{}, err
	}
	d := o.on(action, kind, list, e, t)
	if !d.Failed || fresh {
		return d, nil
	}
	// The table may have been changed since it was read.
	now, err := o.findAgain(ctx, e.Table, t)
	if err != nil {
		return executor.Decided{}, err
	}
	if now == t {
		return d, nil
	}
	return o.on(action, kind, list, e, now), nil
}

// find returns a table as it was read a while ago at most; or longer ago, while it can't be
// read now. fresh says that it was read since this was asked for.
func (o *ownConditions) find(ctx context.Context, label string) (t *knownTable, fresh bool, err error) {
	kept := o.kept(label)
	if kept != nil && time.Since(kept.read) < kept.good() {
		return kept, false, nil
	}
	now, err := o.read(ctx, label, kept, false)
	if err != nil && kept != nil && kept.missing == nil {
		return kept, false, nil
	}
	return now, true, err
}

// findAgain returns a table as it is now, for a condition that can't be decided by it as it was
// read before. Conditions that never can don't read it each time: once that was done, it's done
// again after a while only.
func (o *ownConditions) findAgain(ctx context.Context, label string, before *knownTable) (*knownTable, error) {
	kept := o.kept(label)
	if kept != nil && kept != before && kept.read.After(before.read) {
		before = kept // and that may not do either
	}
	if before.again && time.Since(before.read) < againAfter {
		return before, nil
	}
	return o.read(ctx, label, before, true)
}

func (o *ownConditions) kept(label string) *knownTable {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.known[label]
}

// read reads a table, once for all who want it at the time and know no more than before.
func (o *ownConditions) read(ctx context.Context, label string, before *knownTable, again bool) (*knownTable, error) {
	c := o.group.DoChan(label, func() (any, error) {
		if kept := o.kept(label); kept != nil && kept != before && (before == nil || kept.read.After(before.read)) {
			return kept, nil // it was read between the look and this
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), longestTable)
		defer cancel()
		now := &knownTable{read: time.Now(), again: again}
		var err error
		now.table, now.rel, err = o.table(ctx, label)
		switch {
		case errors.Is(err, workflow.ErrNotFound):
			now.missing = err
		case err != nil:
			return nil, err
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		if len(o.known) >= mostTables {
			clear(o.known)
		}
		o.known[label] = now
		return now, nil
	})
	select {
	case r := <-c:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*knownTable), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// on decides by a table; nil: the event is of none.
func (o *ownConditions) on(action int, kind string, list []workflow.Condition, e *workflow.Event, t *knownTable) executor.Decided {
	if t == nil {
		t = &knownTable{}
	}
	if t.missing != nil {
		return executor.Decided{Failed: true, Reason: "its condition can't be decided: " + t.missing.Error()}
	}
	c, err := trial.Recorded(e, t.table, t.rel)
	if err != nil {
		return executor.Decided{Failed: true, Reason: "its condition can't be decided: " + err.Error()}
	}
	own := o.programs.OnlyIf(c, action, kind, list)
	return executor.Decided{Reason: own.Reason, Failed: own.Verdict == condition.Failed}
}
