package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// failureRows is how many executions of one workflow that failed in their condition
// are recorded in one hour of commit time. The others are counted only.
const failureRows = 10

type failureKey struct {
	workflowID string
	hour       time.Time
}

// failure is a count, and where it stands in the batch that is gathered.
type failure struct {
	workflow.FailureCount
	in int64 // number of the batch that has it; 0 none yet
	at int
}

// batch is what is gathered for one statement.
type batch struct {
	workflow.Batch
	bytes int       // of event data
	move  bool      // record it though nothing matched, to move the checkpoint
	since time.Time // when it began to wait for more, of a stream that is behind
}

func newBatch(from workflow.Checkpoint) *batch {
	return &batch{Batch: workflow.Batch{Previous: from, Next: from}}
}

func (b *batch) empty() bool {
	return !b.move && len(b.Executions) == 0 && len(b.Applied) == 0 && len(b.Big) == 0 && len(b.Failures) == 0
}

func (b *batch) full(c *Config) bool {
	return len(b.Executions) >= c.BatchSize || b.bytes >= c.BatchBytes
}

// gather adds the executions of one event to the batch. The matches are in the order
// in which they are to run.
func (e *Engine) gather(b *binding, ev *change.Event, pos change.Position) {
	var events [2]*workflow.Event // by side
	for i := range e.matches {
		m := &e.matches[i]
		rec := events[m.Side]
		if m.Err != nil {
			m.Err = b.layout.withhold(m.Err, m.Compiled.Workflow)
		}
		if m.Err == nil && m.Compiled.OncePerRow {
			m.Err = b.layout.checkKey(rowOf(b, ev, m.Side), b.label)
		}
		if m.Err != nil && !e.countFailure(m) {
			continue
		}
		if rec == nil {
			rec = e.event(b, ev, pos, m.Side)
			events[m.Side] = rec
		}
		x := &workflow.Execution{
			Event: rec, VersionRef: m.Compiled.Ref, TenantID: m.Compiled.TenantID, Priority: m.Priority, BigRef: e.txn.big,
		}
		e.batch.Executions = append(e.batch.Executions, x)
		delivers := m.Err == nil && !m.Compiled.LogOnly && !e.loops(m.Compiled)
		x.Storm = e.guard(m.Compiled, delivers)
		switch {
		case m.Err != nil:
			x.Status, x.Error = workflow.Failure, rowError(b.label, rec.RowKey, m.Err)
		case m.Compiled.LogOnly:
			x.Status = workflow.Success
		case !delivers:
			x.Status, x.Error = workflow.Failure, e.loopError(m.Compiled, rec)
		default:
			x.Status = workflow.Pending
			if m.Compiled.OncePerRow {
				e.batch.Fired = append(e.batch.Fired, workflow.Fired{Execution: x, WorkflowID: m.Compiled.WorkflowID})
			}
			e.batch.Deliveries = AppendDeliveries(e.batch.Deliveries, m.Compiled, x)
		}
		e.counts.executions[x.Status]++
	}
}

// AppendDeliveries appends the deliveries of a pending execution of c: of its gate, which
// the executor decides before the actions begin, and of its actions.
func AppendDeliveries(list []*workflow.Delivery, c *match.Compiled, x *workflow.Execution) []*workflow.Delivery {
	if c.Gated {
		list = append(list, &workflow.Delivery{
			Execution: x, Action: workflow.GateAction, Kind: workflow.GateKind, Order: workflow.GateOrder,
			Lane: workflow.Lane(c.TenantID, workflow.GateKind), Addressed: true,
		})
	}
	for n, a := range c.Workflow.Actions {
		list = append(list, &workflow.Delivery{
			Execution: x, Action: int16(n), Kind: a.Type, Order: a.Order, Lane: c.Routes[n].Lane, Addressed: c.Routes[n].Addressed,
		})
	}
	return list
}

// opOf is what ev did for one side.
func opOf(b *binding, ev *change.Event, side change.Side) change.Op {
	switch {
	case !b.table.TenantChange(ev):
		return ev.Op
	case side == change.SideSecond:
		return change.Create
	}
	return change.Delete
}

// rowOf is the row that ev is about for one side.
func rowOf(b *binding, ev *change.Event, side change.Side) change.Row {
	if opOf(b, ev, side) == change.Delete {
		return ev.Old
	}
	return ev.New
}

// event is what is stored of ev for one side.
func (e *Engine) event(b *binding, ev *change.Event, pos change.Position, side change.Side) *workflow.Event {
	op, row := opOf(b, ev, side), rowOf(b, ev, side)
	rec := &workflow.Event{
		ID:          change.EventID(e.txn.committedAt, pos, side).String(),
		Position:    pos,
		Side:        side,
		CommittedAt: e.txn.committedAt,
		TableRef:    b.ref,
		Table:       b.label,
		Domain:      b.domain,
		Op:          op,
		TenantID:    b.layout.tenantOf(row),
		RowKey:      b.layout.keyOf(row),
		Chain:       e.chain(),
		XID:         e.txn.xid,
	}
	if b.domain != "" {
		e.data = appendDomainData(e.data[:0], ev, e.txn.actor)
	} else {
		e.data = b.layout.appendData(e.data[:0], op, ev, e.txn.actor)
	}
	rec.Data = append([]byte(nil), e.data...)
	e.batch.bytes += len(rec.Data)
	e.batch.Events = append(e.batch.Events, rec)
	return rec
}

// countFailure counts an execution that failed in its condition, and says whether it
// is still to be recorded. The count is kept with the checkpoint, by hour of commit
// time, so that a replay decides the same.
func (e *Engine) countFailure(m *match.Match) bool {
	var missing *condition.MissingError
	reason := reasonError
	if errors.As(m.Err, &missing) {
		reason = reasonNotInWAL
	}
	e.metrics.conditionErrors.WithLabelValues(reason).Inc()
	k := failureKey{m.Compiled.WorkflowID, e.txn.committedAt.UTC().Truncate(time.Hour)}
	f := e.failures[k]
	if f == nil {
		f = &failure{FailureCount: workflow.FailureCount{WorkflowID: k.workflowID, Hour: k.hour}}
		e.failures[k] = f
		e.forgetFailures(k.hour)
	}
	f.Counted++
	record := f.Recorded < failureRows
	if record {
		f.Recorded++
		if f.Recorded == failureRows {
			m.Err = fmt.Errorf("%w (the %dth such failure in this hour: further ones are only counted)", m.Err, failureRows)
		}
	}
	if f.in == e.batches {
		e.batch.Failures[f.at] = f.FailureCount
		return record
	}
	f.in, f.at = e.batches, len(e.batch.Failures)
	e.batch.Failures = append(e.batch.Failures, f.FailureCount)
	return record
}

// forgetFailures drops counts of hours that lie so far back that commit times, which
// are not monotonic, won't return to them.
func (e *Engine) forgetFailures(now time.Time) {
	for k := range e.failures {
		if now.Sub(k.hour) > 24*time.Hour {
			delete(e.failures, k)
		}
	}
}
