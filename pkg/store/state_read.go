package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// FeedCursor is a place in the order in which executions were recorded. The zero
// cursor is before all.
type FeedCursor struct {
	ExecutedAt  time.Time
	ExecutionID string
}

// FeedRow is one execution with the event that it ran for.
type FeedRow struct {
	ExecutionID     string
	CommittedAt     time.Time // of the change, by the source's clock
	ExecutedAt      time.Time // when it was recorded, by the state server's
	Operation       string    // create, update, delete or emit
	Table           string
	RowKey          string
	Data            json.RawMessage
	WorkflowID      string
	WorkflowName    string
	WorkflowVersion int32
	TenantID        string // "" = none
	Status          workflow.ExecutionStatus
	Error           string
}

// Cursor is the place of this row.
func (f *FeedRow) Cursor() FeedCursor { return FeedCursor{f.ExecutedAt, f.ExecutionID} }

// Feed returns up to limit executions recorded after a cursor, in the order in which
// they were recorded. Of a zero cursor it returns the first ones there are; to follow
// what is new start from Now.
func (s *State) Feed(ctx context.Context, after FeedCursor, limit int) ([]FeedRow, error) {
	rows, err := s.pool.Query(ctx, `select l.id, l.committed_at, l.executed_at, coalesce(e.operation, ''), coalesce(e.table_name, ''),
	coalesce(e.row_key, ''), e.data, l.workflow_id, l.workflow_name, l.workflow_version, coalesce(l.tenant_id, ''), l.status, coalesce(l.error, '')
from (
	select * from rowbell.workflow_log
	where executed_at >= $1 and (executed_at, id) > ($1, $2)
	order by executed_at, id limit $3
) l
left join lateral (
	select operation, table_name, row_key, data from rowbell.workflow_event
	where id = l.trigger_event_id and committed_at = l.committed_at
) e on true
order by l.executed_at, l.id`, after.ExecutedAt, after.ExecutionID, limit)
	if err != nil {
		return nil, stateError("read the feed", err)
	}
	feed, err := pgx.CollectRows(rows, pgx.RowToStructByPos[FeedRow])
	if err != nil {
		return nil, stateError("read the feed", err)
	}
	return feed, nil
}

// Now is the cursor of this moment, by the state server's clock.
func (s *State) Now(ctx context.Context) (FeedCursor, error) {
	var c FeedCursor
	if err := s.pool.QueryRow(ctx, `select clock_timestamp()`).Scan(&c.ExecutedAt); err != nil {
		return c, stateError("read the state server's clock", err)
	}
	return c, nil
}

// QueueStats is how much waits to be delivered.
type QueueStats struct {
	// Depth by state: waiting (for a lower order, or for a transaction's release),
	// ready, leased. All three are there.
	Depth map[string]int64
	// Oldest is how long ago the oldest delivery that might be tried now was recorded.
	Oldest time.Duration
}

// QueueStats counts the queue. It reads all of it: not for each request.
func (s *State) QueueStats(ctx context.Context) (QueueStats, error) {
	var waiting, leased, ready int64
	var oldest time.Duration
	err := s.pool.QueryRow(ctx, `select
	count(*) filter (where not due), count(*) filter (where due and held), count(*) filter (where due and not held),
	coalesce(greatest(clock_timestamp() - min(executed_at) filter (where due and ready_at <= clock_timestamp()), '0'), '0')
from (
	select executed_at, ready_at, ready_at is not null and ready_at <> 'infinity' as due,
		lease_until is not null and lease_until > clock_timestamp() as held
	from rowbell.queue
) q`).Scan(&waiting, &leased, &ready, &oldest)
	if err != nil {
		return QueueStats{}, stateError("count the queue", err)
	}
	return QueueStats{
		Depth:  map[string]int64{"waiting": waiting, "ready": ready, "leased": leased},
		Oldest: oldest,
	}, nil
}
