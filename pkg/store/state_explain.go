package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const recordedColumns = `id, stream, commit_lsn::text, seq, side, committed_at, coalesce(table_name, ''), operation,
	coalesce(tenant_id, ''), coalesce(row_key, ''), data`

func scanRecorded(row pgx.CollectableRow) (*workflow.Event, error) {
	var e workflow.Event
	var lsn, operation string
	err := row.Scan(&e.ID, &e.Position.Stream, &lsn, &e.Position.Seq, &e.Side, &e.CommittedAt, &e.Table, &operation, &e.TenantID, &e.RowKey, &e.Data)
	if err != nil {
		return nil, err
	}
	if e.Position.CommitLSN, err = change.ParseLSN(lsn); err != nil {
		return nil, err
	}
	if operation == change.Emit.String() {
		e.Op = change.Emit
	} else if op, ok := change.ParseOp(operation); ok {
		e.Op = op
	}
	return &e, nil
}

// RecordedEvent reads an event by its id. Returns ErrNotFound if it isn't recorded, or is
// no longer.
func (s *State) RecordedEvent(ctx context.Context, id string) (*workflow.Event, error) {
	what := "read event " + id
	rows, err := s.db.Query(ctx, `select `+recordedColumns+` from rowbell.workflow_event where id = $1`, id)
	if err != nil {
		return nil, stateError(what, err)
	}
	e, err := pgx.CollectExactlyOneRow(rows, scanRecorded)
	if err != nil {
		return nil, stateError(what, err)
	}
	return e, nil
}

// RowEvents reads the last recorded events of a row, the latest first.
func (s *State) RowEvents(ctx context.Context, table, key string, limit int) ([]*workflow.Event, error) {
	what := fmt.Sprintf("read the events of %s %q", table, key)
	rows, err := s.db.Query(ctx, `select `+recordedColumns+` from rowbell.workflow_event where table_name = $1 and row_key = $2
order by stream desc, workflow_event.commit_lsn desc, seq desc, side desc limit $3`, table, key, limit)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, scanRecorded)
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

// EventExecution is an execution of an event, and what it waits for while it is pending.
type EventExecution struct {
	ID         string
	WorkflowID string
	Version    int32
	Name       string
	Status     workflow.ExecutionStatus
	Error      string
	// Of its unfinished deliveries: how many wait, are ready, are leased; whether the gate is
	// among them; when the first ready one may be tried; the last attempt's error.
	Waiting, Ready, Leased int
	Gate                   bool
	NextAt                 *time.Time
	LastError              string
	Storm                  string // id of the storm that holds it; "" none does
	// Stopped are the actions that were never begun since one of a lower order failed, by their
	// indexes, and Reasons why, in the same order.
	Stopped []int16
	Reasons []string
}

// EventExecutions reads the executions of an event, replays too.
func (s *State) EventExecutions(ctx context.Context, eventID string) ([]EventExecution, error) {
	what := "read the executions of event " + eventID
	rows, err := s.db.Query(ctx, `select l.id, l.workflow_id, l.workflow_version, l.workflow_name, l.status, coalesce(l.error, ''),
	coalesce(d.waiting, 0)::int, coalesce(d.ready, 0)::int, coalesce(d.leased, 0)::int, coalesce(d.gate, false), d.next_at, coalesce(d.error, ''), coalesce(d.storm, ''),
	coalesce(s.actions, '{}'), coalesce(s.reasons, '{}')
from rowbell.workflow_log l
left join lateral (
	select count(*) filter (where state = 'waiting') as waiting, count(*) filter (where state = 'ready') as ready,
		count(*) filter (where state = 'leased') as leased, bool_or(kind = 'gate') as gate,
		min(ready_at) filter (where state = 'ready' and ready_at > clock_timestamp()) as next_at, max(error) as error, max(storm) as storm
	from rowbell.delivery where execution_id = l.id
) d on l.status = 'pending'
left join lateral (
	select array_agg(e.action order by e.action) as actions, array_agg(e.reason order by e.action) as reasons
	from rowbell.delivery_done e
	where e.execution_id = l.id and e.committed_at = l.committed_at and e.status = 'cancelled' and e.attempts = 0 and e.action >= 0 and e.recipient is null
	and e.reason like '%' || $2
) s on l.status = 'failure'
where l.trigger_event_id = $1 order by l.priority, l.id`, eventID, workflow.StoppedSuffix)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[EventExecution])
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

// AppliedFrom is the position from which a version applied: to the transactions that
// committed after it.
type AppliedFrom struct {
	VersionRef
	Stream    int32
	CommitLSN change.LSN
}

// AppliedPositions reads from where the versions of these workflows applied, as far as
// that is known.
func (s *State) AppliedPositions(ctx context.Context, workflowIDs []string) ([]AppliedFrom, error) {
	const what = "read from where versions applied"
	rows, err := s.db.Query(ctx, `select distinct on (id, version) id, version, stream, commit_lsn::text
from rowbell.surrogate where kind = 'workflow' and id = any ($1) and commit_lsn is not null
order by id, version, stream, surrogate.commit_lsn`, workflowIDs)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (AppliedFrom, error) {
		var a AppliedFrom
		var lsn string
		err := row.Scan(&a.ID, &a.Version, &a.Stream, &lsn)
		if err == nil {
			a.CommitLSN, err = change.ParseLSN(lsn)
		}
		return a, err
	})
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

// BigStatusAt is where a transaction stands that was recorded in parts or is held; "" if
// it is neither.
func (s *State) BigStatusAt(ctx context.Context, at change.Position) (workflow.BigStatus, error) {
	const what = "read where the event's transaction stands"
	rows, err := s.db.Query(ctx, `select status from rowbell.big_transaction where stream = $1 and commit_lsn = $2::text::pg_lsn`, at.Stream, at.CommitLSN.String())
	if err != nil {
		return "", stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return "", stateError(what, err)
	}
	if len(list) == 0 {
		return "", nil
	}
	return workflow.BigStatus(list[0]), nil
}

// HasFired says whether a workflow with firing mode once_per_row has fired for a row.
func (s *State) HasFired(ctx context.Context, workflowID, table, key string) (bool, error) {
	var fired bool
	err := s.db.QueryRow(ctx, `select exists (select from rowbell.fired where workflow_id = $1 and table_label = $2 and row_key = $3)`,
		workflowID, table, key).Scan(&fired)
	if err != nil {
		return false, stateError("read whether workflow "+workflowID+" has fired for the row", err)
	}
	return fired, nil
}
