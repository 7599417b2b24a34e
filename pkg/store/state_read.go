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
	rows, err := s.db.Query(ctx, `select l.id, l.committed_at, l.executed_at, coalesce(e.operation, ''), coalesce(e.table_name, ''),
	coalesce(e.row_key, ''), e.data, l.workflow_id, l.workflow_name, l.workflow_version, coalesce(l.tenant_id, ''), l.status, coalesce(l.error, '')
from (
	select * from rowbell.workflow_log
	where executed_at >= $1 and (executed_at, id) > ($1, $2)
	order by executed_at, id limit $3
) l
left join lateral (
	select operation, table_name, row_key, data from rowbell.workflow_event
	where id = l.trigger_event_id and committed_at = l.committed_at offset 0
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

// DeliveryRow is one attempt at a delivery of an execution, or a delivery that was not
// tried yet, or an execution that has no deliveries.
type DeliveryRow struct {
	ExecutionID     string
	ExecutionStatus workflow.ExecutionStatus
	ExecutionError  string
	DeliveryID      string // "" = the execution has none; the fields below are empty then
	Action          int16  // index in the version's actions
	Kind            string
	Recipient       string // "" = the action as a whole
	State           string // waiting, ready, leased, succeeded, dead or cancelled
	// At is when the delivery ended, or may be tried; zero while nobody knows.
	At      time.Time
	Reason  string // why it gave up or was cancelled; before its end, of the last attempt
	Attempt int16  // from 1; 0 = there was none
	Outcome string // of the attempt: retry, succeeded, dead or cancelled
	Code    int16  // that the attempt got (HTTP, SMTP); 0 without one
	// StartedAt and Duration are the attempt's, by the worker's clock.
	StartedAt time.Time
	Duration  time.Duration
	Error     string // why the attempt failed
	Title     string // of the notification that it became
}

// deliveryFeedSQL goes to each execution by its key, in each table: the lists are short,
// and the log is long.
const deliveryFeedSQL = `select l.id, l.status, coalesce(l.error, ''), coalesce(d.id, ''), coalesce(d.action, 0::int2), coalesce(d.kind, ''),
	coalesce(d.recipient, ''), coalesce(d.state, ''), coalesce(nullif(d.at, 'infinity'), 'epoch'), coalesce(d.reason, ''),
	coalesce(a.attempt, 0::int2),
	coalesce(a.outcome, ''), coalesce(a.code, 0::int2), coalesce(a.started_at, 'epoch'), make_interval(secs => coalesce(a.duration_ms, 0) / 1000.0),
	coalesce(a.error, ''), coalesce(n.title, '')
from unnest($1::text[]) want (id)
cross join lateral (
	select id, status, error, committed_at, executed_at from rowbell.workflow_log where id = want.id offset 0
) l
left join lateral (
	select id, action, kind, recipient, status as state, ended_at as at, reason from rowbell.delivery_done
	where execution_id = l.id and committed_at = l.committed_at
	union all
	select id, action, kind, recipient, state, ready_at, error from rowbell.delivery where execution_id = l.id
	offset 0
) d on true
left join lateral (
	select attempt, outcome, code, started_at, duration_ms, error from rowbell.delivery_attempt
	where execution_id = l.id and delivery_id = d.id offset 0
) a on true
left join rowbell.notification n on n.delivery_id = d.id
order by l.executed_at, l.id, d.action, d.id, a.attempt`

// DeliveryFeed returns how these executions stand: each attempt at each of their
// deliveries so far, in the order in which they were recorded. An execution that is not
// in the log is left out. The pool should have jit off: the server overrates the query, and
// would compile it for longer than it runs.
func (s *State) DeliveryFeed(ctx context.Context, executionIDs []string) ([]DeliveryRow, error) {
	rows, err := s.db.Query(ctx, deliveryFeedSQL, executionIDs)
	if err != nil {
		return nil, stateError("read deliveries", err)
	}
	feed, err := pgx.CollectRows(rows, pgx.RowToStructByPos[DeliveryRow])
	if err != nil {
		return nil, stateError("read deliveries", err)
	}
	for i := range feed {
		for _, t := range []*time.Time{&feed[i].At, &feed[i].StartedAt} {
			if t.Unix() == 0 {
				*t = time.Time{}
			}
		}
	}
	return feed, nil
}

// Now is the cursor of this moment, by the state server's clock.
func (s *State) Now(ctx context.Context) (FeedCursor, error) {
	var c FeedCursor
	if err := s.db.QueryRow(ctx, `select clock_timestamp()`).Scan(&c.ExecutedAt); err != nil {
		return c, stateError("read the state server's clock", err)
	}
	return c, nil
}

// hiddenFromWorkers are the tables that a worker has no rights on, and needs none.
var hiddenFromWorkers = []string{"workflow_trigger", "workflow_condition", "workflow_action", "workflow_recipient"}

// Ungranted lists the tables that this role may do nothing with, and a worker must: what is granted
// was granted before a migration made them. The schema must be there.
func (s *State) Ungranted(ctx context.Context) ([]string, error) {
	rows, err := s.db.Query(ctx, `select c.relname::text from pg_class c
where c.relnamespace = to_regnamespace('rowbell') and c.relkind in ('r', 'p') and not c.relispartition and c.relname <> all ($1)
and not has_any_column_privilege(c.oid, 'select') and not has_any_column_privilege(c.oid, 'insert') and not has_any_column_privilege(c.oid, 'update')
order by 1`, hiddenFromWorkers)
	if err == nil {
		var list []string
		if list, err = pgx.CollectRows(rows, pgx.RowTo[string]); err == nil {
			return list, nil
		}
	}
	return nil, stateError("look for tables without rights", err)
}

// QueueStats is how much waits to be delivered.
type QueueStats struct {
	// Depth by state: waiting (for a lower order, or for a transaction's release),
	// ready, leased. All three are there.
	Depth map[string]int64
	// Retrying is how many of them were tried before, and failed.
	Retrying int64
	// Oldest is how long ago the oldest delivery that might be tried now was recorded.
	Oldest time.Duration
}

// QueueStats counts the queue. It reads all of it: not for each request.
func (s *State) QueueStats(ctx context.Context) (QueueStats, error) {
	var waiting, leased, ready, retrying int64
	var oldest time.Duration
	err := s.db.QueryRow(ctx, `select
	count(*) filter (where not due), count(*) filter (where due and held), count(*) filter (where due and not held),
	count(*) filter (where attempts > 0),
	coalesce(greatest(clock_timestamp() - min(executed_at) filter (where due and ready_at <= clock_timestamp()), '0'), '0')
from (
	select executed_at, ready_at, attempts, ready_at is not null and ready_at <> 'infinity' as due,
		lease_until is not null and lease_until > clock_timestamp() as held
	from rowbell.queue
) q`).Scan(&waiting, &leased, &ready, &retrying, &oldest)
	if err != nil {
		return QueueStats{}, stateError("count the queue", err)
	}
	return QueueStats{
		Depth:    map[string]int64{"waiting": waiting, "ready": ready, "leased": leased},
		Retrying: retrying,
		Oldest:   oldest,
	}, nil
}
