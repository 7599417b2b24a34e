package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rowbell/rowbell/cdc"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// errOtherInstallation says that state belongs to another instance, server or
// database: a copy of production, most often.
var errOtherInstallation = errors.New("state belongs to another installation")

// here is the installation that this process would be.
func (a *App) here(ctx context.Context) (store.Installation, error) {
	id, err := cdc.Identify(ctx, a.cdcConfig())
	if err != nil {
		return store.Installation{}, err
	}
	return store.Installation{Instance: a.cfg.Instance, SystemID: id.SystemID, DatabaseOID: id.DatabaseOID}, nil
}

// claimInstallation makes state ours if it is nobody's yet, and returns
// errOtherInstallation if it is somebody else's.
func (a *App) claimInstallation(ctx context.Context) error {
	here, err := a.here(ctx)
	if err != nil {
		return err
	}
	known, err := a.state.Installation(ctx)
	if errors.Is(err, workflow.ErrNotFound) {
		return a.state.SetInstallation(ctx, here)
	}
	if err != nil {
		return err
	}
	return compareInstallations(known, here)
}

func compareInstallations(known, here store.Installation) error {
	what := ""
	switch {
	case known.Instance != here.Instance:
		what = fmt.Sprintf("its instance is %q, this one is %q; set ROWBELL_INSTANCE=%s if that is a slip", known.Instance, here.Instance, known.Instance)
	case known.SystemID != here.SystemID:
		what = fmt.Sprintf("its source was the server with system identifier %s, this one has %s (a copy or a restore)", known.SystemID, here.SystemID)
	case known.DatabaseOID != here.DatabaseOID:
		what = fmt.Sprintf("its source was the database with oid %d, this one has %d (a copy)", known.DatabaseOID, here.DatabaseOID)
	default:
		return nil
	}
	return fmt.Errorf("%w: %s. Nothing is read or sent. To make it this installation's, run: rowbell adopt --discard-pending (or --keep, to deliver what was pending)", errOtherInstallation, what)
}

// ensureStarted sees to it that slot and checkpoint exist. On an empty installation
// it makes the slot, reads the definitions under one snapshot, and writes the first
// checkpoint with both. Until that row exists all of it can be repeated, by any worker.
// Returns a *cdc.LostError if there is a checkpoint but no slot.
func (a *App) ensureStarted(ctx context.Context) error {
	if err := a.claimInstallation(ctx); err != nil {
		return err
	}
	cfg := a.cdcConfig()
	slot, err := cdc.SlotInfo(ctx, cfg)
	if err != nil {
		return err
	}
	known, err := a.state.Checkpoint(ctx, a.cfg.Slot)
	switch {
	case err == nil && !slot.Exists:
		return &cdc.LostError{Slot: a.cfg.Slot, Confirmed: known.ConfirmLSN, Reason: "it does not exist any more: it was dropped, or not carried over by a failover"}
	case err == nil:
		return slot.Err(cfg)
	case !errors.Is(err, workflow.ErrNotFound):
		return err
	}
	if other, err := a.state.OtherSlot(ctx, a.cfg.Slot); err != nil {
		return err
	} else if other != "" {
		return fmt.Errorf("%w: its slot is %q, this one would be %q, and an installation has one; set ROWBELL_SLOT=%[2]s", errOtherInstallation, other, a.cfg.Slot)
	}
	if slot, err = a.ensureSlot(ctx, cfg, slot); err != nil {
		return err
	}
	first, err := a.firstLoad(ctx, 1, slot.Confirmed)
	if err != nil {
		return err
	}
	if err := a.state.Begin(ctx, first); err != nil && !errors.Is(err, workflow.ErrConflict) {
		return err
	}
	return nil
}

// ensureSlot makes the slot unless it is there. A slot without a confirmed position is
// still being made by another worker: definitions must not be read before it is ready,
// or changes between the two would be lost.
func (a *App) ensureSlot(ctx context.Context, cfg cdc.Config, slot cdc.Slot) (cdc.Slot, error) {
	for {
		switch {
		case !slot.Exists:
			a.log.InfoContext(ctx, "creating the replication slot", "slot", a.cfg.Slot)
			if _, err := cdc.CreateSlot(ctx, cfg); err != nil && !errors.Is(err, cdc.ErrExists) {
				return slot, err
			}
		case slot.Err(cfg) != nil:
			return slot, slot.Err(cfg)
		case slot.Confirmed != 0:
			return slot, nil
		default:
			select {
			case <-time.After(pollSlot):
			case <-ctx.Done():
				return slot, ctx.Err()
			}
		}
		var err error
		if slot, err = cdc.SlotInfo(ctx, cfg); err != nil {
			return slot, err
		}
	}
}

// firstLoad reads all definitions under one snapshot. Transactions that it sees are
// skipped in the stream, however much of them the slot still sends.
func (a *App) firstLoad(ctx context.Context, stream int32, from change.LSN) (store.First, error) {
	var none store.First
	id, err := cdc.Identify(ctx, a.cdcConfig())
	if err != nil {
		return none, err
	}
	load, err := a.source.FirstLoad(ctx)
	if err != nil {
		return none, fmt.Errorf("read the definitions for the first time: %w", err)
	}
	first := store.First{
		Slot: a.cfg.Slot, SystemID: id.SystemID, Timeline: id.Timeline, Snapshot: load.Snapshot,
		Checkpoint: workflow.Checkpoint{
			// Nothing is recorded yet, so no transaction is to be skipped by its position.
			Position: change.Position{Stream: stream, Seq: change.SeqWhole}, EndLSN: from, ConfirmLSN: from,
		},
	}
	next, err := a.state.NextSurrogate(ctx)
	if err != nil {
		return none, err
	}
	add := func(ap workflow.Applied) {
		ap.Surrogate = next
		next++
		first.Applied = append(first.Applied, ap)
	}
	for _, t := range load.Tables {
		if !t.Released {
			add(workflow.Applied{Kind: workflow.AppliedTable, ID: t.Label, Version: t.Version, Name: t.Label})
		}
	}
	for _, v := range load.Versions {
		if v.Status == workflow.Deleted {
			continue
		}
		w, err := workflow.Parse(v.Document)
		if err != nil {
			return none, fmt.Errorf("workflow %s, version %d: %w", v.WorkflowID, v.Version, err)
		}
		add(workflow.Applied{
			Kind: workflow.AppliedWorkflow, ID: v.WorkflowID, Version: v.Version, TenantID: v.TenantID, Name: w.Name,
		})
	}
	return first, nil
}
