package engine

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rowbell/rowbell/engine/checkpoint"
	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/fault"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Config says how much is gathered before it is recorded.
type Config struct {
	// BatchSize is the most executions that one statement records. Defaults to 1000.
	BatchSize int
	// BacklogBatch and BacklogWait are for a stream that is behind: fewer executions
	// than this wait for more, but no longer than this. They default to 500 and 20 ms.
	BacklogBatch int
	BacklogWait  time.Duration
	// BatchBytes is the most event data that one statement records. Defaults to 4 MiB.
	BatchBytes int
	// HoldBytes is how much of one transaction is kept in memory before it is taken in
	// parts: received bytes, and 256 more for each event. It decides which transactions
	// are big, so all workers of an installation must agree. Defaults to 16 MiB.
	HoldBytes int
	// MaxDepth is how many executions may lead to one another, of workflows that don't say
	// otherwise. All workers of an installation must agree. Defaults to 3.
	MaxDepth int32
	// StormTransaction and StormMinute are how many matches of one workflow, of those that
	// don't say otherwise, in one transaction and in one minute of commit time are delivered
	// without being held for an operator. 0: all.
	StormTransaction, StormMinute int32
	// MoveInterval and MoveBytes are how long, and for how many received bytes,
	// traffic that matches nothing may go on before the checkpoint is moved over it.
	// They default to 10 s and 16 MiB.
	MoveInterval time.Duration
	MoveBytes    int
	// TellInterval is the least time between two confirmations. Defaults to 1 s.
	TellInterval time.Duration
	// StateInSource says that state lives in the source's server, so that a checkpoint
	// is told to the slot only once the stream has passed the WAL that holds it.
	StateInSource bool
	// ReadVersion and ReadTable read rows of workflow_version and captured_table as
	// they come in the stream; package store has them.
	ReadVersion func(*change.Relation, change.Row) (workflow.Version, error)
	ReadTable   func(*change.Relation, change.Row) (workflow.Table, error)

	// Described hands in what the catalog says of captured tables (Hooks.Undescribed),
	// so that verdicts needn't wait for a row. May be nil.
	Described <-chan *change.Relation
	// Lost hands in the labels of captured tables that are not published any more, each
	// time all of them, for verdicts. May be nil.
	Lost <-chan []string

	Logger *slog.Logger
}

// Start is what was read when the slot was taken.
type Start struct {
	Checkpoint workflow.Checkpoint
	// Snapshot is the pg_snapshot of the first load: transactions that it sees count
	// for nothing, since the definitions read under it hold them already.
	Snapshot      string
	NextSurrogate int32
	Failures      []workflow.FailureCount
	OpenBig       *workflow.Big // a transaction of which only a part is recorded
	Storms        workflow.StormCounts
	Tables        []Table
	Versions      []Version
}

// Table is a captured table with the surrogate that events refer to it by.
type Table struct {
	workflow.Table
	Ref int32
}

// Version is a workflow version with the surrogate that executions refer to it by.
type Version struct {
	workflow.Version
	Ref int32
}

// Hooks are what the engine tells others. They are called from its goroutines and
// must not block. Any may be nil.
type Hooks struct {
	// Confirm says that lsn may be told to the slot once the stream has passed
	// recordedAt; zero means at once.
	Confirm func(lsn, recordedAt change.LSN)
	// Recorded is called after each batch with the checkpoint that it wrote.
	Recorded func(workflow.Checkpoint)
	// Reserve is called with the deliveries of a batch before it is recorded, and marks
	// those as Leased that this process takes from memory. Deliver is called with the
	// same once they are recorded, or could not be; since is the time before that.
	Reserve func([]*workflow.Delivery)
	Deliver func(ds []*workflow.Delivery, since time.Time, recorded bool)
	// Verdicts hands over what has changed in what can be said of workflows.
	Verdicts func([]workflow.Health)
	// Withdrawn says that a workflow is not active any more, so nothing is to be said of
	// its health.
	Withdrawn func(workflowID string)
	// Uncaptured hands over the labels of all tables that active workflows name and that
	// aren't captured, or are lost (Config.Lost), whenever definitions have changed.
	Uncaptured func(labels []string)
	// Undescribed asks for what the catalog says of a captured table that the stream
	// hasn't described yet.
	Undescribed func(schema, table string)
	// Alert is what the owner of a workflow is to be told: that it was stopped in a loop, or
	// that matches of it are held. It may come again, with the same key.
	Alert func(workflow.Alert)
	// Heartbeat is called with each heartbeat that came through the slot.
	Heartbeat func(content string)
}

// recorder writes batches; store's Recorder is one.
type recorder interface {
	// Record writes the batch and moves the checkpoint, or returns
	// workflow.ErrFenced and has written nothing.
	Record(ctx context.Context, b *workflow.Batch) error
	// WALInsertLSN is where the state server writes next: beyond everything recorded.
	WALInsertLSN(ctx context.Context) (change.LSN, error)
}

// Engine matches one stream and records what matched. It serves one holding of the
// slot: whoever takes the slot again makes a new one.
type Engine struct {
	cfg     Config
	hooks   Hooks
	rec     recorder
	metrics *Metrics
	judge   match.Judge

	tracker  *checkpoint.Tracker
	index    *match.Index
	snapshot change.Snapshot
	lastXID  uint64            // the 64-bit xid last seen, to widen the next
	next     int32             // surrogate to give out next
	tables   map[string]*Table // by change.TableLabel of the table itself
	failures map[failureKey]*failure
	openBig  *workflow.Big
	storms   storms
	loopTold map[string]time.Time // hour for which the owner of a workflow was told of a loop

	bindings map[*change.Relation]*binding
	last     *binding // of the relation last seen
	domain   *binding // of the domain events last seen
	txn      transaction
	matches  []match.Match
	cctx     condition.Context

	batch    *batch
	batches  int64               // number of the present batch, from 1
	recorded workflow.Checkpoint // what the batches handed over so far lead to
	unmoved  int                 // bytes received since
	out      chan *batch
	counts   counts
	data     []byte // scratch for event data
	row      []byte // scratch for the row of a domain event
}

// New makes an engine that goes on from start.
func New(cfg Config, start Start, rec recorder, judge match.Judge, hooks Hooks, metrics *Metrics) (*Engine, error) {
	cfg.BatchSize = cmp.Or(cfg.BatchSize, 1000)
	cfg.BacklogBatch = cmp.Or(cfg.BacklogBatch, 500)
	cfg.BacklogWait = cmp.Or(cfg.BacklogWait, 20*time.Millisecond)
	cfg.BatchBytes = cmp.Or(cfg.BatchBytes, 4<<20)
	cfg.HoldBytes = cmp.Or(cfg.HoldBytes, 16<<20)
	cfg.MaxDepth = cmp.Or(cfg.MaxDepth, 3)
	cfg.MoveInterval = cmp.Or(cfg.MoveInterval, 10*time.Second)
	cfg.MoveBytes = cmp.Or(cfg.MoveBytes, 16<<20)
	cfg.TellInterval = cmp.Or(cfg.TellInterval, time.Second)
	sn, err := change.ParseSnapshot(start.Snapshot)
	if err != nil {
		return nil, fmt.Errorf("the checkpoint's first load: %w", err)
	}
	e := &Engine{
		cfg: cfg, hooks: hooks, rec: rec, metrics: metrics, judge: judge,
		tracker:  checkpoint.NewTracker(start.Checkpoint),
		index:    match.New(),
		snapshot: sn,
		lastXID:  max(sn.Xmax, start.Checkpoint.XIDFloor),
		next:     start.NextSurrogate,
		tables:   make(map[string]*Table),
		failures: make(map[failureKey]*failure),
		openBig:  start.OpenBig,
		loopTold: make(map[string]time.Time),
		storms:   newStorms(start.Storms, start.Checkpoint),
		bindings: make(map[*change.Relation]*binding),
		batch:    newBatch(start.Checkpoint),
		batches:  1,
		recorded: start.Checkpoint,
		out:      make(chan *batch),
		counts:   counts{executions: make(map[workflow.ExecutionStatus]int)},
	}
	metrics.reset()
	for _, f := range start.Failures {
		e.failures[failureKey{f.WorkflowID, f.Hour}] = &failure{FailureCount: f}
	}
	for _, t := range start.Tables {
		e.capture(t)
	}
	for _, v := range start.Versions {
		e.apply(v)
	}
	e.tellVerdicts()
	e.tellUncaptured()
	return e, nil
}

// Run takes parts until the channel is closed, records what is left, and returns
// nil; or until something fails. It returns workflow.ErrFenced (wrapped) when another
// worker has taken the slot. When ctx ends, what isn't recorded is dropped: the slot
// still holds it.
func (e *Engine) Run(ctx context.Context, parts <-chan *change.Parts) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.write(ctx) })
	g.Go(func() error {
		defer close(e.out)
		return e.take(ctx, parts)
	})
	return g.Wait()
}

// take is the loop that reads and matches.
func (e *Engine) take(ctx context.Context, parts <-chan *change.Parts) error {
	move := time.NewTicker(e.cfg.MoveInterval)
	defer move.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		out := e.out
		if e.batch.empty() {
			out = nil
		} else if wait := e.gatherMore(); wait > 0 {
			out = nil
			due.Reset(wait)
		}
		select {
		case p, ok := <-parts:
			if !ok {
				return e.flush(ctx)
			}
			if err := e.takeParts(ctx, p); err != nil {
				return err
			}
			if e.unmoved >= e.cfg.MoveBytes {
				e.moveOver()
			}
		case out <- e.batch:
			e.handedOver()
		case <-move.C:
			e.moveOver()
		case <-due.C:
		case rel := <-e.cfg.Described:
			e.described(rel)
		case labels := <-e.cfg.Lost:
			e.index.Lost(labels)
			e.tellVerdicts()
			e.tellUncaptured()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// behind is how old the last commit that was taken must be for the stream to count as
// behind: then throughput matters, and the next few milliseconds don't.
const behind = time.Second

// gatherMore says how long a small batch is to wait for more while the stream is behind.
func (e *Engine) gatherMore() time.Duration {
	b := e.batch
	if b.move || len(b.Executions) >= e.cfg.BacklogBatch {
		return 0
	}
	now := time.Now()
	if now.Sub(e.txn.committedAt) < behind {
		return 0
	}
	if b.since.IsZero() {
		b.since = now
	}
	return e.cfg.BacklogWait - now.Sub(b.since)
}

// moveOver sees to it that the checkpoint is moved over what was taken, though
// nothing in it matched.
func (e *Engine) moveOver() {
	if e.batch.Next != e.recorded {
		e.batch.move = true
	}
}

// flush hands over what is gathered, and waits until the writer has taken it.
func (e *Engine) flush(ctx context.Context) error {
	e.batch.Next = e.tracker.Checkpoint()
	e.moveOver()
	if e.batch.empty() {
		return nil
	}
	select {
	case e.out <- e.batch:
		e.handedOver()
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// handedOver starts the next batch where the last one ended.
func (e *Engine) handedOver() {
	e.recorded = e.batch.Next
	e.batch = newBatch(e.recorded)
	e.batches++
	e.unmoved = 0
}

// takeParts takes what the stream handed over. Its memory is given back once nothing
// of it is held for a transaction whose end is still to come.
func (e *Engine) takeParts(ctx context.Context, p *change.Parts) error {
	held := false
	for i := range p.List {
		var err error
		if held, err = e.takePart(ctx, &p.List[i], p); err != nil {
			return err
		}
	}
	if p.Idle != 0 {
		e.tracker.Idle(p.Idle)
	}
	e.batch.Next = e.tracker.Checkpoint()
	e.counts.flush(e.metrics)
	if fault.On("confirm_before_record") {
		e.hooks.Confirm(e.batch.Next.ConfirmLSN, 0)
	}
	if !held {
		p.Release()
	}
	return nil
}
