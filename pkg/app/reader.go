package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"github.com/rowbell/rowbell/cdc"
	"github.com/rowbell/rowbell/engine"
	"github.com/rowbell/rowbell/engine/checkpoint"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const (
	// pollSlot is how often a waiting worker looks whether the slot is free.
	pollSlot = 250 * time.Millisecond
	// patience is how long after a holder's lease ran out its connection is ended.
	patience = 5 * time.Second
	// settle is how long what was read may take to be recorded once the stream has broken
	// off. A server that has gone without a word would be waited for much longer.
	settle = 5 * time.Second
	// pollGap is how often a stopped stream is looked at again.
	pollGap = 5 * time.Second
)

// phase is what the reader is doing, for people and for the metric.
type phase string

const (
	phaseStarting phase = "starting"
	phaseWaiting  phase = "waiting"   // another worker holds the slot; ready to take over
	phaseHolding  phase = "holding"   // reading
	phaseRetrying phase = "retrying"  // something failed and is tried again
	phaseStopped  phase = "stopped"   // a gap: needs rowbell resync
	phaseMustMend phase = "must_mend" // an operator must mend something
)

// readerStatus is what the reader tells the health checks.
type readerStatus struct {
	metrics *metrics

	mu    sync.Mutex
	phase phase
	err   error
	since time.Time
	beat  *cdc.Heartbeat // while holding
}

func (r *readerStatus) set(p phase, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase != p {
		r.since = time.Now()
	}
	r.phase, r.err = p, err
	r.metrics.setRole(p)
}

// hold notes whose heartbeats come back; nil when the holding ends.
func (r *readerStatus) hold(h *cdc.Heartbeat) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.beat = h
}

func (r *readerStatus) heartbeat() *cdc.Heartbeat {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.beat
}

// get returns the phase, what is wrong in it, and when it began.
func (r *readerStatus) get() (p phase, since time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.phase, r.since, r.err
}

// read holds the slot for as long and as often as it can, until ctx ends.
func (a *App) read(ctx, work context.Context) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 200*time.Millisecond, 2*time.Second
	held := false // ever
	for ctx.Err() == nil {
		start := time.Now()
		err := a.hold(ctx, work, &held)
		if ctx.Err() != nil {
			return drainError(err)
		}
		if time.Since(start) > 5*time.Second {
			wait.Reset()
		}
		pause := wait.NextBackOff()
		var gap *checkpoint.GapError
		switch {
		case err == nil:
			continue
		case errors.As(err, &gap) || errors.Is(err, cdc.ErrLost):
			a.stopAtGap(ctx, err)
			pause = pollGap
		case needsOperator(err):
			if !held {
				return err
			}
			a.reader.set(phaseMustMend, err)
			a.log.ErrorContext(ctx, "reading has stopped until this is mended", "err", err)
			pause = pollGap
		case errors.Is(err, workflow.ErrConflict):
			return fmt.Errorf("a key was recorded twice, which the fence should have prevented: this worker stops, report it: %w", err)
		case errors.Is(err, workflow.ErrFenced):
			a.log.WarnContext(ctx, "another worker has taken the slot", "err", err)
			a.reader.set(phaseWaiting, nil)
			wait.Reset()
			pause = pollSlot
		default:
			a.reader.set(phaseRetrying, err)
			a.log.WarnContext(ctx, "the stream broke off, will try again", "err", err, "retry_in", pause)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	return nil
}

// drainError is what is left of an error after an orderly stop was asked for.
func drainError(err error) error {
	if errors.Is(err, errDrainTimeout) {
		return err
	}
	return nil
}

// errMissingVersion says that a definition which counts was removed by force. Going on
// without it would decide differently from what is recorded.
var errMissingVersion = errors.New("a version that counts is missing")

// errUnsettled is why recording was broken off after the stream had.
var errUnsettled = errors.New("what was read before the stream broke off could not be recorded in time; it will be read again")

// needsOperator says that trying again can't help.
func needsOperator(err error) bool {
	for _, e := range []error{
		errMissingVersion, cdc.ErrWALLevel, cdc.ErrPrivilege, cdc.ErrPooler, cdc.ErrStandby, cdc.ErrMismatched, cdc.ErrNoPublication, cdc.ErrMalformed,
		checkpoint.ErrMismatched, errOtherInstallation,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// stopAtGap writes down that a stretch of WAL is lost, once, and says so.
func (a *App) stopAtGap(ctx context.Context, err error) {
	a.reader.set(phaseStopped, err)
	a.log.ErrorContext(ctx, "a stretch of WAL is lost: nothing is read until you run: rowbell resync", "err", err)
	gaps, listErr := a.state.OpenGaps(ctx, a.cfg.Slot)
	if listErr != nil || len(gaps) > 0 {
		return
	}
	var from, to change.LSN
	var gap *checkpoint.GapError
	var lost *cdc.LostError
	reason := err.Error()
	switch {
	case errors.As(err, &gap):
		from, to, reason = gap.From, gap.To, gap.Reason
	case errors.As(err, &lost):
		from, to = lost.Confirmed, lost.Confirmed // how far the loss goes shows at the resync
	}
	if err := a.state.Gap(ctx, a.cfg.Slot, from, to, reason); err != nil {
		a.log.ErrorContext(ctx, "the gap could not be written to rowbell.stream_gap", "err", err)
	}
}

// hold takes the slot once, reads until something ends it, and gives it back.
func (a *App) hold(ctx, work context.Context, held *bool) error {
	if gaps, err := a.state.OpenGaps(ctx, a.cfg.Slot); err != nil {
		return err
	} else if len(gaps) > 0 {
		return &checkpoint.GapError{Kind: checkpoint.ErrGap, From: gaps[0].From, To: gaps[0].To, Reason: gaps[0].Reason}
	}
	if err := a.ensureStarted(ctx); err != nil {
		return err
	}
	stream, err := a.takeSlot(ctx)
	if err != nil {
		return err
	}
	defer stream.Abort()
	h, err := a.state.Acquire(ctx, a.cfg.Slot, a.applicationName(), lease)
	if err != nil {
		return fmt.Errorf("read the checkpoint: %w", err)
	}
	var start engine.Start
	err = a.keeping(ctx, stream, h.Epoch, func(ctx context.Context) (err error) {
		start, err = a.start(ctx, stream, &h)
		return err
	})
	if err != nil {
		return err
	}
	rec, err := a.state.Recorder(ctx, a.cfg.Slot, h.Epoch)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), lease)
		defer cancel()
		_ = rec.Close(closing) // what it recorded has been answered
	}()

	rec.LeaseTo(a.id, a.cfg.DeliveryLease)
	a.health.begin()
	defer a.capturer.want(nil) // only who reads the definitions knows
	tables := newDescriber(a.sourcePool, a.log)
	heartbeat := cdc.NewHeartbeat(a.cdcConfig(), stream.Abort)
	var eng *engine.Engine
	err = a.keeping(ctx, stream, h.Epoch, func(context.Context) (err error) {
		eng, err = engine.New(engine.Config{
			StateInSource: a.cfg.stateInSource(), ReadVersion: store.VersionFromRow, ReadTable: store.TableFromRow,
			Described: tables.out, Lost: a.lost, Logger: a.log,
			MaxDepth: int32(a.cfg.MaxDepth), StormTransaction: stormLimit(a.cfg.StormTransaction), StormMinute: stormLimit(a.cfg.StormMinute),
		}, start, rec, a.judge,
			engine.Hooks{
				Confirm: stream.Confirm, Recorded: a.recorded, Heartbeat: heartbeat.Seen,
				Verdicts: a.health.changed, Withdrawn: a.health.withdrawn, Uncaptured: a.capturer.want,
				Undescribed: tables.want, Reserve: a.executor.Reserve, Deliver: a.executor.Recorded,
				Alert: a.alert,
			}, a.engine)
		return err
	})
	if err != nil {
		return err
	}
	a.health.replace()
	a.recorded(start.Checkpoint)
	*held = true
	a.reader.hold(heartbeat)
	a.reader.set(phaseHolding, nil)
	defer a.reader.hold(nil)
	a.log.InfoContext(ctx, "holding the slot", "slot", a.cfg.Slot, "epoch", h.Epoch, "position", h.Checkpoint.Position.String(),
		"confirmed", stream.System().Confirmed.String(), "workflows", len(start.Versions), "tables", len(start.Tables))

	g, gctx := errgroup.WithContext(ctx)
	done, finish := context.WithCancel(gctx) // ends what only serves the stream
	work, kill := context.WithCancelCause(work)
	defer kill(nil)
	broken := context.AfterFunc(gctx, func() {
		if ctx.Err() == nil { // an orderly stop has its own limit
			time.AfterFunc(settle, func() { kill(errUnsettled) })
		}
	})
	defer broken()
	g.Go(func() error { defer finish(); return stream.Run(gctx) })
	g.Go(func() error { defer stream.Finish(); return eng.Run(work, stream.Parts()) })
	g.Go(func() error { return heartbeat.Run(done) })
	g.Go(func() error { return tables.run(done) })
	g.Go(func() error { return a.renew(done, h.Epoch, stream) })
	err = g.Wait()
	releasing, cancel := context.WithTimeout(context.WithoutCancel(ctx), lease)
	defer cancel()
	if releaseErr := a.state.Release(releasing, a.cfg.Slot, h.Epoch); releaseErr != nil && err == nil {
		a.log.WarnContext(ctx, "the lease could not be given back; it runs out by itself", "err", releaseErr)
	}
	return err
}

func (a *App) recorded(cp workflow.Checkpoint) { a.checkpoint.Store(&cp) }

// Recorded is the checkpoint that this process read or wrote last; the zero
// Checkpoint before it first held the slot.
func (a *App) Recorded() workflow.Checkpoint {
	if cp := a.checkpoint.Load(); cp != nil {
		return *cp
	}
	return workflow.Checkpoint{}
}

// takeSlot connects to the slot, and waits as long as another worker holds it. A
// holder whose lease ran out some time ago is dead or cut off, and its connection is
// ended; if state can't be reached nobody is.
func (a *App) takeSlot(ctx context.Context) (*cdc.Stream, error) {
	cfg := a.cdcConfig()
	for {
		stream, err := cdc.Connect(ctx, cfg)
		if err == nil || !errors.Is(err, cdc.ErrBusy) {
			return stream, err
		}
		var busy *cdc.BusyError
		stranger := errors.As(err, &busy) && busy.ApplicationName != "" && !busy.Ours
		p, _, _ := a.reader.get()
		switch {
		case stranger:
			if p != phaseMustMend {
				a.log.ErrorContext(ctx, "the slot is read by somebody else, waiting", "slot", a.cfg.Slot, "err", err)
			}
			a.reader.set(phaseMustMend, err)
		default:
			if p != phaseWaiting {
				a.log.InfoContext(ctx, "another worker holds the slot, waiting", "slot", a.cfg.Slot, "holder", err.Error())
			}
			a.reader.set(phaseWaiting, nil)
		}
		if err := a.waitForSlot(ctx, cfg, stranger); err != nil {
			return nil, err
		}
	}
}

// waitForSlot waits until the slot seems free, or, if a stranger has it, is a worker's.
func (a *App) waitForSlot(ctx context.Context, cfg cdc.Config, stranger bool) error {
	for {
		select {
		case <-time.After(pollSlot):
		case <-ctx.Done():
			return ctx.Err()
		}
		slot, err := cdc.SlotInfo(ctx, cfg)
		if err != nil {
			return err
		}
		if slot.ActivePID == 0 || stranger && slot.Ours {
			return nil
		}
		holder, _, expired, err := a.state.Holder(ctx, a.cfg.Slot)
		if errors.Is(err, workflow.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if expired < patience {
			continue
		}
		ended, err := cdc.EndHolder(ctx, cfg, slot.ActivePID, holder)
		if err != nil {
			return err
		}
		if ended {
			a.metrics.takeovers.Inc()
			a.log.WarnContext(ctx, "ended the connection of a holder that was not heard of", "holder", holder,
				"pid", slot.ActivePID, "silent_for", expired+lease)
		}
	}
}

// renew keeps the lease, and notices when the server is being shut down: then the
// replication connection is closed at once, since the server waits for it.
func (a *App) renew(ctx context.Context, epoch int64, stream *cdc.Stream) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		call, cancel := context.WithTimeout(ctx, lease)
		err := a.state.Renew(call, a.cfg.Slot, epoch, lease)
		if err == nil && !a.cfg.stateInSource() {
			err = a.sourcePool.Ping(call)
		}
		cancel()
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, workflow.ErrFenced):
			return err
		case cdc.IsShutdown(err):
			stream.Abort()
			return fmt.Errorf("the server is shutting down: %w", err)
		default:
			a.log.WarnContext(ctx, "the lease could not be renewed", "err", err)
		}
	}
}

// keeping does what comes before reading, and keeps the slot and the lease meanwhile:
// with 100,000 definitions it can take longer than either lasts, and a worker that lost
// them each time would never begin.
func (a *App) keeping(ctx context.Context, stream *cdc.Stream, epoch int64, do func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	done, finish := context.WithCancel(ctx)
	g.Go(func() error { defer finish(); return do(ctx) })
	g.Go(func() error { stream.Keep(done); return nil })
	g.Go(func() error { return a.renew(done, epoch, stream) })
	return g.Wait()
}

// start reads the definitions that the checkpoint says are applied: exactly these
// versions, never the latest.
func (a *App) start(ctx context.Context, stream *cdc.Stream, h *store.Held) (engine.Start, error) {
	var none engine.Start
	sys := stream.System()
	// Where the server writes is asked now: what is recorded was written before.
	slot, err := cdc.SlotInfo(ctx, a.cdcConfig())
	if err != nil {
		return none, err
	}
	cp, err := checkpoint.Resume(
		checkpoint.Known{SystemID: h.SystemID, Timeline: h.Timeline, Checkpoint: h.Checkpoint},
		checkpoint.Server{SystemID: sys.SystemID, Timeline: sys.Timeline, Confirmed: sys.Confirmed, WALPos: slot.WALPos},
		func() ([]checkpoint.Switch, error) { return a.timelineHistory(ctx, sys.Timeline) },
	)
	if err != nil {
		return none, err
	}
	if sys.Timeline != h.Timeline {
		if err := a.state.Adopt(ctx, a.cfg.Slot, h.Epoch, sys.Timeline, cp.ConfirmLSN); err != nil {
			return none, fmt.Errorf("go on with timeline %d: %w", sys.Timeline, err)
		}
		a.log.WarnContext(ctx, "the server was promoted; nothing recorded is affected", "timeline", sys.Timeline, "before", h.Timeline)
	}
	start := engine.Start{
		Checkpoint: cp, Snapshot: h.Snapshot, NextSurrogate: h.NextSurrogate, Failures: h.Failures, OpenBig: h.OpenBig, Storms: h.Storms,
	}
	var versions, tables []store.VersionRef
	refs := make(map[workflow.AppliedKind]map[string]int32)
	refs[workflow.AppliedWorkflow], refs[workflow.AppliedTable] = make(map[string]int32), make(map[string]int32)
	for _, ap := range h.Applied {
		refs[ap.Kind][ap.ID] = ap.Surrogate
		ref := store.VersionRef{ID: ap.ID, Version: ap.Version}
		if ap.Kind == workflow.AppliedWorkflow {
			versions = append(versions, ref)
		} else {
			tables = append(tables, ref)
		}
	}
	missing := func(err error) error {
		if errors.Is(err, workflow.ErrNotFound) {
			return fmt.Errorf("%w: %w", errMissingVersion, err)
		}
		return err
	}
	ts, err := a.source.Tables(ctx, tables)
	if err != nil {
		return none, missing(err)
	}
	for _, t := range ts {
		start.Tables = append(start.Tables, engine.Table{Table: t, Ref: refs[workflow.AppliedTable][t.Label]})
	}
	vs, err := a.source.Versions(ctx, versions)
	if err != nil {
		return none, missing(err)
	}
	for _, v := range vs {
		start.Versions = append(start.Versions, engine.Version{Version: v, Ref: refs[workflow.AppliedWorkflow][v.WorkflowID]})
	}
	return start, nil
}

func (a *App) timelineHistory(ctx context.Context, timeline int32) ([]checkpoint.Switch, error) {
	history, err := cdc.TimelineHistory(ctx, a.cdcConfig(), timeline)
	if err != nil {
		return nil, err
	}
	switches := make([]checkpoint.Switch, len(history))
	for i, h := range history {
		switches[i] = checkpoint.Switch{Timeline: h.Timeline, LSN: h.LSN}
	}
	return switches, nil
}

func (a *App) cdcConfig() cdc.Config {
	return cdc.Config{
		SourceURL: a.cfg.SourceURL, Slot: a.cfg.Slot, Publication: a.cfg.Publication, Instance: a.cfg.Instance,
		WorkerID: a.id, Coalesce: cdc.Coalesce(a.cfg.ReadCoalescing), Logger: a.log, Metrics: a.stream,
		HeartbeatInterval: a.cfg.HeartbeatInterval,
	}
}
