package app

import (
	"context"
	"errors"
	"sync"
	"time"

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

	mu    sync.Mutex
	known map[string]knownTable
}

type knownTable struct {
	table *workflow.Table
	rel   *change.Relation
	read  time.Time
}

const (
	tablesFor  = 10 * time.Second
	mostTables = 10_000
)

func (a *App) ownConditions() *ownConditions {
	return &ownConditions{table: a.definitions().Table, known: make(map[string]knownTable)}
}

// decide is executor.Config's OnlyIf.
func (o *ownConditions) decide(ctx context.Context, action int, kind string, list []workflow.Condition, e *workflow.Event) (executor.Decided, error) {
	if e.Op == change.Emit {
		return o.on(action, kind, list, e, knownTable{}), nil
	}
	t, fresh, err := o.find(ctx, e.Table, tablesFor)
	if err == nil {
		d := o.on(action, kind, list, e, t)
		if !d.Failed || fresh {
			return d, nil
		}
		// The table may have been changed since it was read.
		if t, _, err = o.find(ctx, e.Table, 0); err == nil {
			return o.on(action, kind, list, e, t), nil
		}
	}
	if errors.Is(err, workflow.ErrNotFound) {
		return executor.Decided{Failed: true, Reason: "its condition can't be decided: " + err.Error()}, nil
	}
	return executor.Decided{}, err
}

// find returns a table as it was read at most so long ago; or longer ago, while it can't be
// read now. fresh says that it was read just now.
func (o *ownConditions) find(ctx context.Context, label string, age time.Duration) (t knownTable, fresh bool, err error) {
	o.mu.Lock()
	t, known := o.known[label]
	o.mu.Unlock()
	if known && time.Since(t.read) < age {
		return t, false, nil
	}
	now := knownTable{read: time.Now()}
	now.table, now.rel, err = o.table(ctx, label)
	switch {
	case errors.Is(err, workflow.ErrNotFound):
		return now, true, err
	case err != nil && known && age > 0:
		return t, false, nil
	case err != nil:
		return now, false, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.known) >= mostTables {
		clear(o.known)
	}
	o.known[label] = now
	return now, true, nil
}

func (o *ownConditions) on(action int, kind string, list []workflow.Condition, e *workflow.Event, t knownTable) executor.Decided {
	c, err := trial.Recorded(e, t.table, t.rel)
	if err != nil {
		return executor.Decided{Failed: true, Reason: "its condition can't be decided: " + err.Error()}
	}
	own := o.programs.OnlyIf(c, action, kind, list)
	return executor.Decided{Reason: own.Reason, Failed: own.Verdict == condition.Failed}
}
