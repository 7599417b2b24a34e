package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// readStorms counts the executions that were recorded of the stream for changes of the
// newest minute of commit time and the one before. Ids begin with the time, so that they
// are ranges of the keys; the checkpoint's transaction is told by the LSN in its events'
// ids.
func readStorms(ctx context.Context, tx pgx.Tx, at change.Position) (workflow.StormCounts, error) {
	var s workflow.StormCounts
	var newest *string
	err := tx.QueryRow(ctx, `select max(id) from (
	(select id from rowbell.execution order by id desc limit 1)
	union all (select id from rowbell.execution_open order by id desc limit 1)
	union all (select execution_id from rowbell.queue order by execution_id desc limit 1)
) l`).Scan(&newest)
	if err != nil || newest == nil || len(*newest) < workflow.EventIDSize {
		return s, err
	}
	id, err := ulid.ParseStrict((*newest)[:workflow.EventIDSize])
	if err != nil {
		return s, nil //nolint:nilerr // not an id of ours: nothing was counted
	}
	s.Minute = int64(id.Time() / 1000 / 60)
	from := func(minute int64) string {
		var first ulid.ULID
		_ = first.SetTime(uint64(max(minute, 0)) * 60 * 1000) // a time that an id had
		return first.String()[:10]
	}
	begun := change.Position{Stream: at.Stream, CommitLSN: at.CommitLSN}
	if at.Seq == change.SeqWhole {
		begun.CommitLSN = 0 // it is recorded whole: no more of it comes
	}
	// Ten characters of the id are the time. The next nine are 45 bits of the LSN, of which
	// only three low ones follow: commit records are aligned to 8 bytes.
	lsn := change.EventID(time.UnixMilli(0), begun, change.SideFirst).String()[10:19]
	// Counted before they are joined: after a busy minute there are very many.
	rows, err := tx.Query(ctx, `select v.id, sum(x.newest)::int4, sum(x.before)::int4, sum(x.in_txn)::int4
from (
	select version_ref, count(*) filter (where id >= $2) as newest, count(*) filter (where id < $2) as before,
		count(*) filter (where $4 and substr(id, 11, 9) = $3) as in_txn
	from (
		select id, version_ref from rowbell.execution where id >= $1
		union all select id, version_ref from rowbell.execution_open where id >= $1
		union all select execution_id, version_ref from rowbell.queue where execution_id >= $1 and sole
	) l where strpos(substr(id, 28), '-') = 0 group by version_ref
) x join rowbell.surrogate v on v.ref = x.version_ref group by v.id`, from(s.Minute-1), from(s.Minute), lsn, begun.CommitLSN != 0)
	if err != nil {
		return s, err
	}
	s.Counts, err = pgx.CollectRows(rows, pgx.RowToStructByPos[workflow.StormCount])
	return s, err
}

// Storm is what the storm guard holds of one workflow, or has held.
type Storm struct {
	ID           string             `json:"id"`
	Status       workflow.BigStatus `json:"status"` // held, released or discarded
	WorkflowID   string             `json:"workflow_id"`
	WorkflowName string             `json:"workflow_name"`
	Version      int32              `json:"workflow_version"`
	TenantID     string             `json:"tenant_id,omitempty"`
	CommittedAt  time.Time          `json:"committed_at"` // of the first change that was held
	Executions   int                `json:"executions"`   // that it still has
	Deliveries   int                `json:"deliveries"`   // the same
	DecidedBy    string             `json:"decided_by,omitempty"`
	DecidedAt    *time.Time         `json:"decided_at,omitempty"`
}

const stormSQL = `select -b.stream, (b.commit_lsn - '0/0')::int8, b.status, v.id, v.name, v.version, coalesce(v.tenant_id, ''), b.committed_at,
	(select count(distinct q.execution_id)::int4 from rowbell.queue q where q.big_lsn = b.commit_lsn and q.big_stream = b.stream),
	(select count(*)::int4 from rowbell.queue q where q.big_lsn = b.commit_lsn and q.big_stream = b.stream),
	coalesce(b.decided_by, ''), case when b.status <> 'held' then b.updated_at end
from rowbell.big_transaction b join rowbell.surrogate v on v.ref = -b.stream where b.stream < 0`

func scanStorm(row pgx.CollectableRow) (Storm, error) {
	var s Storm
	var ref int32
	var lsn int64
	err := row.Scan(&ref, &lsn, &s.Status, &s.WorkflowID, &s.WorkflowName, &s.Version, &s.TenantID, &s.CommittedAt, &s.Executions, &s.Deliveries, &s.DecidedBy, &s.DecidedAt)
	s.ID = workflow.StormID(ref, change.LSN(lsn))
	return s, err
}

// Storms lists storms, the newest first: those that hold something, and with all those that
// did.
func (s *State) Storms(ctx context.Context, all bool, limit int) ([]Storm, error) {
	const what = "list storms"
	rows, err := s.db.Query(ctx, stormSQL+`
and ($1 or b.status = 'held' and exists (select from rowbell.queue q where q.big_lsn = b.commit_lsn and q.big_stream = b.stream)) order by b.committed_at desc, b.stream limit $2`, all, limit)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, scanStorm)
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

// DecideStorm releases what a storm holds, or discards it. It is named by its id, or by a
// workflow's for all that are held of it. It returns the storms as they were. Returns
// ErrNotFound if nothing of that name is held.
func (s *State) DecideStorm(ctx context.Context, name string, to workflow.BigStatus, by string) ([]Storm, error) {
	what := fmt.Sprintf("decide the storm %s", name)
	if to != workflow.BigReleased && to != workflow.BigDiscarded {
		return nil, fmt.Errorf("%s: %q is no decision", what, to)
	}
	var list []Storm
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		where, args := ` and v.id = $1`, []any{name}
		if ref, lsn, ok := workflow.ParseStormID(name); ok {
			where, args = ` and b.stream = $1 and b.commit_lsn = $2::text::pg_lsn`, []any{workflow.StormStream(ref), lsn.String()}
		}
		rows, err := tx.Query(ctx, stormSQL+` and b.status = 'held'`+where+` order by b.committed_at, b.stream for update of b`, args...)
		if err != nil {
			return err
		}
		if list, err = pgx.CollectRows(rows, scanStorm); err != nil {
			return err
		}
		if len(list) == 0 {
			return notFound("nothing is held under %q; give the id of a storm, or a workflow's: rowbell storm list has what is held, with --all what was decided too", name)
		}
		b := &pgx.Batch{}
		for _, one := range list {
			ref, lsn, _ := workflow.ParseStormID(one.ID)
			b.Queue(`update rowbell.big_transaction set status = $3, updated_at = clock_timestamp(), decided_by = nullif($4, '') where stream = $1 and commit_lsn = $2::text::pg_lsn`,
				workflow.StormStream(ref), lsn.String(), string(to), by)
		}
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return nil, orSaid(what, err)
	}
	return list, nil
}

// ClaimDiscarded leases up to limit deliveries of discarded storms, so that they can be
// cancelled. Their events don't come along.
func (q *Queue) ClaimDiscarded(ctx context.Context, limit int) ([]*workflow.Leased, error) {
	const what = "claim the deliveries of discarded storms"
	conn, err := q.open(ctx)
	if err != nil {
		return nil, stateError(what, err)
	}
	rows, err := conn.Query(ctx, `with pick as materialized (
	select q.execution_id, q.action, q.recipient
	from rowbell.big_transaction b join rowbell.queue q on q.big_lsn = b.commit_lsn and q.big_stream = b.stream
	where b.status = 'discarded' and (q.lease_until is null or q.lease_until <= now())
	limit $1 for update of q skip locked
)
update rowbell.queue q set lease_until = clock_timestamp() + $2::interval, lease_by = $3
from pick p where q.execution_id = p.execution_id and q.action = p.action and q.recipient = p.recipient
returning q.execution_id, q.action, q.recipient, q.version_ref, q.kind, q."order", q.attempts, q.sole`, limit, q.lease, q.process)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*workflow.Leased, error) {
		l := &workflow.Leased{Addressed: true}
		return l, row.Scan(&l.ExecutionID, &l.Action, &l.Recipient, &l.VersionRef, &l.Kind, &l.Order, &l.Attempts, &l.Sole)
	})
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}
