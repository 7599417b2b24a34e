package app

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// healthWriter keeps workflow_health current. It is a display: it is late when the
// source is busy, and nothing decides by it.
type healthWriter struct {
	store healthStore
	log   *slog.Logger
	wake  chan struct{}

	mu      sync.Mutex
	pending map[string]workflow.Health // by workflow; not written yet
	gone    map[string]bool            // of workflows that are not active any more
	all     bool                       // pending is all there is: replace the table
	begun   bool                       // it isn't yet: nothing is to be written
}

type healthStore interface {
	WriteHealth(ctx context.Context, changed []workflow.Health) error
	RemoveHealth(ctx context.Context, workflowIDs []string) error
	ReplaceHealth(ctx context.Context, all []workflow.Health) error
}

func newHealthWriter(s healthStore, log *slog.Logger) *healthWriter {
	return &healthWriter{store: s, log: log, wake: make(chan struct{}, 1), pending: make(map[string]workflow.Health), gone: make(map[string]bool)}
}

// begin forgets what an earlier holding left unwritten. Until replace nothing is written.
func (w *healthWriter) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.pending)
	clear(w.gone)
	w.all, w.begun = false, true
}

// replace says that what was handed over since begin is all there is.
func (w *healthWriter) replace() {
	w.mu.Lock()
	w.all, w.begun = true, false
	w.mu.Unlock()
	w.signal()
}

// changed hands over verdicts that have changed.
func (w *healthWriter) changed(hs []workflow.Health) {
	w.mu.Lock()
	for _, h := range hs {
		w.pending[h.WorkflowID] = h
		delete(w.gone, h.WorkflowID)
	}
	w.mu.Unlock()
	w.signal()
}

// withdrawn says that a workflow is not active any more.
func (w *healthWriter) withdrawn(workflowID string) {
	w.mu.Lock()
	delete(w.pending, workflowID)
	w.gone[workflowID] = true
	w.mu.Unlock()
	w.signal()
}

func (w *healthWriter) signal() {
	select {
	case w.wake <- struct{}{}:
	default: // it is awake
	}
}

// run writes until ctx ends, and tries again what could not be written.
func (w *healthWriter) run(ctx context.Context) error {
	for {
		select {
		case <-w.wake:
		case <-ctx.Done():
			return nil
		}
		for ctx.Err() == nil {
			err := w.write(ctx)
			if err == nil {
				break
			}
			if ctx.Err() == nil {
				w.log.WarnContext(ctx, "rowbell.workflow_health could not be written, will try again", "err", err)
			}
			select {
			case <-time.After(2 * time.Second):
			case <-ctx.Done():
			}
		}
	}
}

func (w *healthWriter) write(ctx context.Context) error {
	w.mu.Lock()
	if w.begun { // a part of it would be taken for all
		w.mu.Unlock()
		return nil
	}
	hs, all := make([]workflow.Health, 0, len(w.pending)), w.all
	for _, h := range w.pending {
		hs = append(hs, h)
	}
	gone := slices.Collect(maps.Keys(w.gone))
	clear(w.pending)
	clear(w.gone)
	w.all = false
	w.mu.Unlock()
	var err error
	switch {
	case all:
		err = w.store.ReplaceHealth(ctx, hs)
	case len(hs) > 0:
		err = w.store.WriteHealth(ctx, hs)
	}
	if err == nil && len(gone) > 0 && !all {
		err = w.store.RemoveHealth(ctx, gone)
	}
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all = w.all || all
		for _, id := range gone {
			if _, newer := w.pending[id]; !newer {
				w.gone[id] = true
			}
		}
		for _, h := range hs {
			if _, newer := w.pending[h.WorkflowID]; !newer {
				w.pending[h.WorkflowID] = h
			}
		}
	}
	return err
}
