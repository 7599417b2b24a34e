package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
)

// write records batches in order, and lets the slot know how far that has come.
func (e *Engine) write(ctx context.Context) error {
	tell := time.NewTicker(e.cfg.TellInterval)
	defer tell.Stop()
	var durable, told change.LSN
	for {
		select {
		case b, ok := <-e.out:
			if !ok {
				_, err := e.tell(ctx, durable, told)
				return err
			}
			start := time.Now()
			if err := e.record(ctx, b); err != nil {
				return fmt.Errorf("record %d executions up to %s: %w", len(b.Executions), b.Next.Position, err)
			}
			e.metrics.recorded(b, time.Since(start))
			durable = b.Next.ConfirmLSN
			if e.hooks.Recorded != nil {
				e.hooks.Recorded(b.Next)
			}
		case <-tell.C:
			var err error
			if told, err = e.tell(ctx, durable, told); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// record writes one batch. What of its deliveries this process takes from memory is
// settled before, since the lease is recorded with them.
func (e *Engine) record(ctx context.Context, b *batch) error {
	if e.hooks.Reserve == nil || len(b.Deliveries) == 0 {
		return e.rec.Record(ctx, &b.Batch)
	}
	e.hooks.Reserve(b.Deliveries)
	since := time.Now()
	err := e.rec.Record(ctx, &b.Batch)
	e.hooks.Deliver(b.Deliveries, since, err == nil)
	return err
}

// tell lets the slot know what is durable. With state in the source, a checkpoint is
// told only with the LSN that the stream must have passed for a standby which has
// followed that far to hold the checkpoint row too.
func (e *Engine) tell(ctx context.Context, durable, told change.LSN) (change.LSN, error) {
	if durable <= told || e.hooks.Confirm == nil {
		return told, nil
	}
	var at change.LSN
	if e.cfg.StateInSource {
		var err error
		if at, err = e.rec.WALInsertLSN(ctx); err != nil {
			return told, fmt.Errorf("ask for the WAL position that holds the checkpoint: %w", err)
		}
	}
	e.hooks.Confirm(durable, at)
	return durable, nil
}
