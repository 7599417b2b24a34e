package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/rowbell/rowbell/cdc"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Operator does what an operator asks for on the command line, beside the workers.
type Operator struct {
	app *App
	// Step, if there is one, is told what long work begins to do now.
	Step func(what string)
}

func (o *Operator) step(what string) {
	if o.Step != nil {
		o.Step(what)
	}
}

// NewOperator opens the pools. Close frees them.
func NewOperator(cfg Config, log *slog.Logger) (*Operator, error) {
	a, err := newApp(cfg, log)
	if err != nil {
		return nil, err
	}
	return &Operator{app: a}, nil
}

// Close frees the pools.
func (o *Operator) Close() { o.app.closePools() }

// Prepare does what a worker does before it reads, but for the migrations: it claims
// state for this installation and makes the publications.
func (o *Operator) Prepare(ctx context.Context) error {
	if err := o.app.claimInstallation(ctx); err != nil {
		return err
	}
	return o.app.preparePublications(ctx)
}

// Start makes slot and first checkpoint if they don't exist, so that what commits from
// now on will be read by the worker that comes.
func (o *Operator) Start(ctx context.Context) error { return o.app.ensureStarted(ctx) }

// Capture captures a table, or changes what is captured of it.
func (o *Operator) Capture(ctx context.Context, table string, opts store.CaptureOptions) error {
	return o.app.source.Capture(ctx, o.app.cfg.Publication, table, opts)
}

// Resynced is what a resync did.
type Resynced struct {
	Stream   int32      // counts in positions from now on
	From, To change.LSN // the stretch of WAL that was given up; zero if unknown
}

// Resync gives up what the slot can't supply any more: it makes the slot anew, reads
// the definitions again, and starts the next stream there. Executions that were
// recorded stay. Workers that run go on by themselves. Returns cdc.ErrBusy while a
// worker holds the slot.
func (o *Operator) Resync(ctx context.Context) (Resynced, error) {
	if err := o.app.claimInstallation(ctx); err != nil {
		return Resynced{}, err
	}
	r, err := o.restart(ctx)
	if err != nil {
		return r, err
	}
	return r, o.noteStream(ctx, "stream.resync", r, map[string]any{})
}

// noteStream writes that a stream was started anew.
func (o *Operator) noteStream(ctx context.Context, action string, r Resynced, detail map[string]any) error {
	detail["stream"], detail["from_lsn"], detail["to_lsn"] = r.Stream, r.From.String(), r.To.String()
	return o.audit(ctx, "", "", action, "slot", o.app.cfg.Slot, detail)
}

// Adopt makes state this installation's, after a copy or a restore, and starts the
// next stream on the source as it is now. Pending deliveries are kept, or discarded.
func (o *Operator) Adopt(ctx context.Context, discardPending bool) (Resynced, error) {
	a := o.app
	if discardPending {
		o.step("Cancelling what was pending")
	} else {
		o.step("Taking over what was pending")
	}
	here, err := a.here(ctx)
	if err != nil {
		return Resynced{}, err
	}
	if err := a.state.AdoptInstallation(ctx, here, discardPending); err != nil {
		return Resynced{}, err
	}
	r, err := o.restart(ctx)
	if err != nil {
		return r, err
	}
	return r, o.noteStream(ctx, "stream.adopt", r, map[string]any{"discard_pending": discardPending})
}

// restart begins the next stream with a new slot.
func (o *Operator) restart(ctx context.Context) (Resynced, error) {
	var r Resynced
	a := o.app
	cfg := a.cdcConfig()
	o.step("Making sure of the publications")
	if err := a.preparePublications(ctx); err != nil {
		return r, err
	}
	known, err := a.state.Checkpoint(ctx, a.cfg.Slot)
	if err != nil && !errors.Is(err, workflow.ErrNotFound) {
		return r, err
	}
	// A table's from_xid is of the server that captured it: here xids may be others. This
	// may fail for want of a right or a lock, so it comes before the slot is dropped.
	if err := o.recapture(ctx); err != nil {
		return r, err
	}
	o.step("Making the slot anew, when transactions that run now have ended")
	if err := cdc.DropSlot(ctx, cfg); err != nil && !errors.Is(err, cdc.ErrNoSlot) {
		return r, err
	}
	from, err := cdc.CreateSlot(ctx, cfg)
	if err != nil {
		return r, err
	}
	o.step("Reading the definitions")
	first, err := a.firstLoad(ctx, known.Position.Stream+1, from)
	if err != nil {
		return r, err
	}
	started, err := a.state.Resync(ctx, first)
	if errors.Is(err, workflow.ErrNotFound) {
		started, err = first.Checkpoint, a.state.Begin(ctx, first) // nothing was ever read here
	}
	if err != nil {
		return r, err
	}
	r.Stream, r.From, r.To = started.Position.Stream, known.ConfirmLSN, from
	return r, nil
}

func (o *Operator) recapture(ctx context.Context) error {
	a := o.app
	load, err := a.source.FirstLoad(ctx)
	if err != nil {
		return err
	}
	for i, t := range load.Tables {
		o.step(fmt.Sprintf("Capturing tables again: %d of %d, %s", i+1, len(load.Tables), t.Label))
		err := a.source.Capture(ctx, a.cfg.Publication, t.Label, store.CaptureOptions{Renew: true})
		if errors.Is(err, workflow.ErrNotFound) { // nothing comes of it, until it is made and captured again
			a.log.WarnContext(ctx, "a captured table is gone", "table", t.Label, "err", err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Uninstall removes slot, publications and schema from the source, and state. Returns
// cdc.ErrBusy while a worker holds the slot.
func (o *Operator) Uninstall(ctx context.Context) (store.Uninstalled, error) {
	a := o.app
	o.step("Dropping the slot")
	if err := cdc.DropSlot(ctx, a.cdcConfig()); err != nil && !errors.Is(err, cdc.ErrNoSlot) {
		return store.Uninstalled{}, err
	}
	o.step("Dropping publications and schema, with the log")
	u, err := store.Uninstall(ctx, a.sourcePool)
	if err == nil && !a.cfg.stateInSource() {
		if _, err = store.Uninstall(ctx, a.statePool); err != nil {
			err = fmt.Errorf("state: %w", err)
		}
	}
	return u, err
}
