package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// LiveWindow is a stretch of time of which what has happened is wanted, in its order.
type LiveWindow struct {
	// After and AfterID are the last that is known, and UpTo the last that is wanted.
	After   time.Time
	AfterID string
	UpTo    time.Time
	// Tenant is whose; nil: everybody's, "" = operators'. WorkflowID is of which workflow;
	// "" = of any.
	Tenant     *string
	WorkflowID string
	Limit      int
}

// LiveExecution is an execution that was recorded, or settled, just now.
type LiveExecution struct {
	ID              string                   `json:"id"`
	EventID         string                   `json:"event_id"`
	Status          workflow.ExecutionStatus `json:"status"`
	WorkflowID      string                   `json:"workflow_id"`
	WorkflowName    string                   `json:"workflow_name"`
	WorkflowVersion int32                    `json:"workflow_version"`
	TenantID        string                   `json:"tenant_id"` // "" = an operators' workflow
	Table           string                   `json:"table"`     // domain:<name> for a domain event
	RowKey          string                   `json:"row_key"`
	Operation       string                   `json:"operation"`
	CommittedAt     time.Time                `json:"committed_at"` // by the source's clock
	ExecutedAt      time.Time                `json:"executed_at"`
	SettledAt       *time.Time               `json:"settled_at"` // null while it is pending
	Error           string                   `json:"error,omitempty"`
	// Did is what became of its deliveries, those alike together. None while it is pending.
	Did []LiveDone `json:"did"`
	// only is its one delivery, if it had just one.
	only *LiveDelivery
}

// Only is the execution's one delivery; nil if it had none, or several.
func (x *LiveExecution) Only() *LiveDelivery { return x.only }

// LiveDone is what became of deliveries of one action kind.
type LiveDone struct {
	Kind      string `json:"kind"`
	Status    string `json:"status"` // succeeded, dead or cancelled
	Count     int    `json:"count"`
	Recipient string `json:"recipient,omitempty"` // of a single one
	Reason    string `json:"reason,omitempty"`    // why one of them gave up or was cancelled
	// Of the one delivery of an execution that had just one:
	Attempts   int16 `json:"attempts,omitempty"`
	Code       int16 `json:"code,omitempty"`        // HTTP status or SMTP code of the last attempt
	DurationMS int32 `json:"duration_ms,omitempty"` // of the last attempt
}

// LiveDelivery is a delivery that has ended just now.
type LiveDelivery struct {
	ID           string    `json:"id"`
	ExecutionID  string    `json:"execution_id"`
	WorkflowID   string    `json:"workflow_id"`
	WorkflowName string    `json:"workflow_name"`
	TenantID     string    `json:"tenant_id"`
	Kind         string    `json:"kind"`
	Recipient    string    `json:"recipient,omitempty"`
	Status       string    `json:"status"` // succeeded, dead or cancelled
	Reason       string    `json:"reason,omitempty"`
	Attempts     int16     `json:"attempts"`
	Code         int16     `json:"code,omitempty"`
	DurationMS   int32     `json:"duration_ms,omitempty"` // of the last attempt
	EndedAt      time.Time `json:"ended_at"`
}

const (
	// liveSlack is how long it may take until it is to be seen that a transaction began.
	liveSlack = 20 * time.Millisecond
	// liveReads is for how long a transaction may be one that has yet to write: what has
	// written nothing for longer reads.
	liveReads = 2 * time.Second
	// longestLive is how far back a transaction that hangs may hold the horizon.
	longestLive = 30 * time.Second
)

// LiveHorizon is the time up to which everything is to be seen: what is written by a
// transaction that has not ended yet carries a later one. A role that may not see when
// others' transactions began goes two seconds back instead.
func (s *State) LiveHorizon(ctx context.Context) (time.Time, error) {
	const what = "read up to when everything is recorded"
	var now, at time.Time
	// Before the transactions are looked at: one that begins meanwhile is later than this.
	if err := s.db.QueryRow(ctx, `select clock_timestamp()`).Scan(&now); err != nil {
		return at, stateError(what, err)
	}
	err := s.db.QueryRow(ctx, `select greatest($1::timestamptz - $4::interval, least($1, (
	select min(coalesce(a.xact_start, $1 - $3::interval)) from pg_stat_activity a
	where a.datname = current_database() and a.pid <> pg_backend_pid() and coalesce(a.backend_type, 'client backend') = 'client backend'
	and case when a.xact_start is null then a.backend_xid is not null
		else a.application_name like 'rowbell/%' and (a.backend_xid is not null or a.xact_start > $1 - $3::interval) end
)) - $2::interval)`, now, liveSlack, liveReads, longestLive).Scan(&at)
	if err != nil {
		return at, stateError(what, err)
	}
	return at, nil
}

// liveEvent are the columns of an event e and a version v that LiveExecution has.
const liveEvent = `v.id, v.name, v.version, coalesce(v.tenant_id, ''), coalesce(t.name, 'domain:' || e.domain, ''), coalesce(e.row_key, ''),
	coalesce(case e.op when 'c' then 'create' when 'u' then 'update' when 'd' then 'delete' when 'e' then 'emit' end, '')`

// liveSettledSQL goes by the blocks that hold what is so late, whatever the statistics say
// of a partition that was made today, and of a tenant (offset 0).
const liveSettledSQL = `select x.id, left(x.id, 26), x.status, ` + liveEvent + `, x.committed_at, x.executed_at, x.settled_at, coalesce(x.error, ''),
	x.action is not null, coalesce(x.action, 0::int2), coalesce(x.kind, ''), coalesce(x.recipient, ''), coalesce(x.attempts, 0::int2), coalesce(x.code, 0::int2), coalesce(x.duration_ms, 0)
from (
	select x.* from (select * from rowbell.execution where settled_at >= $1 and settled_at <= $3 offset 0) x join rowbell.surrogate v on v.ref = x.version_ref
	where (x.settled_at, x.id) > ($1, $2) and ($4::text is null or coalesce(v.tenant_id, '') = $4) and ($5::text = '' or v.id = $5)
	order by x.settled_at, x.id limit $6
) x
join rowbell.surrogate v on v.ref = x.version_ref
left join rowbell.event e on e.event_id = left(x.id, 26) and e.committed_at = x.committed_at
left join rowbell.surrogate t on t.ref = e.table_ref
order by x.settled_at, x.id`

// LiveSettled are the executions that were settled in a window, the first first.
func (s *State) LiveSettled(ctx context.Context, w LiveWindow) ([]LiveExecution, error) {
	const what = "read what was settled just now"
	var list []LiveExecution
	err := s.readLive(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, liveSettledSQL, w.After, w.AfterID, w.UpTo, w.Tenant, w.WorkflowID, w.Limit)
		if err != nil {
			return err
		}
		if list, err = pgx.CollectRows(rows, scanSettled); err != nil {
			return err
		}
		several := make(map[string]*LiveExecution)
		for i := range list {
			if list[i].only == nil {
				several[list[i].ID] = &list[i]
			}
		}
		return liveDone(ctx, tx, several)
	})
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

func scanSettled(row pgx.CollectableRow) (LiveExecution, error) {
	var x LiveExecution
	var d LiveDelivery
	var settled time.Time
	var only bool
	var action int16
	err := row.Scan(&x.ID, &x.EventID, &x.Status, &x.WorkflowID, &x.WorkflowName, &x.WorkflowVersion, &x.TenantID, &x.Table, &x.RowKey, &x.Operation,
		&x.CommittedAt, &x.ExecutedAt, &settled, &x.Error, &only, &action, &d.Kind, &d.Recipient, &d.Attempts, &d.Code, &d.DurationMS)
	x.SettledAt, x.Did = &settled, []LiveDone{}
	if !only {
		return x, err
	}
	d.ID, d.ExecutionID, d.EndedAt, d.Reason = workflow.DeliveryID(x.ID, action, d.Recipient), x.ID, settled, x.Error
	d.WorkflowID, d.WorkflowName, d.TenantID = x.WorkflowID, x.WorkflowName, x.TenantID
	switch x.Status {
	case workflow.Success:
		d.Status = "succeeded"
	case workflow.Failure:
		d.Status = "dead"
	case workflow.Cancelled, workflow.Pending:
		d.Status = "cancelled"
	}
	x.only, x.Did = &d, []LiveDone{{Kind: d.Kind, Status: d.Status, Count: 1, Recipient: d.Recipient, Reason: d.Reason, Attempts: d.Attempts, Code: d.Code, DurationMS: d.DurationMS}}
	return x, err
}

// liveDone fills in what became of the deliveries of executions that had several.
func liveDone(ctx context.Context, tx pgx.Tx, several map[string]*LiveExecution) error {
	if len(several) == 0 {
		return nil
	}
	ids := make([]string, 0, len(several))
	for id := range several {
		ids = append(ids, id)
	}
	rows, err := tx.Query(ctx, `select execution_id, kind, status, count(*)::int4, case when count(*) = 1 then min(recipient) else '' end, coalesce(min(reason), '')
from rowbell.delivery_ended where execution_id = any ($1) group by execution_id, kind, status order by execution_id, min(action), kind, status desc`, ids)
	if err != nil {
		return err
	}
	var id string
	var d LiveDone
	_, err = pgx.ForEachRow(rows, []any{&id, &d.Kind, &d.Status, &d.Count, &d.Recipient, &d.Reason}, func() error {
		several[id].Did = append(several[id].Did, d)
		return nil
	})
	return err
}

const liveSettings = `set local enable_seqscan = off; set local jit = off; set local enable_hashjoin = off; set local enable_mergejoin = off; set local statement_timeout = '20s'`

// readLive reads in one transaction that doesn't read whole tables: their statistics are
// those of yesterday.
func (s *State) readLive(ctx context.Context, read func(tx pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, s.db, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, liveSettings); err != nil {
			return err
		}
		return read(tx)
	})
}

// LiveEnded are the deliveries of executions with several that ended in a window, the first
// first. An only delivery comes with its execution.
func (s *State) LiveEnded(ctx context.Context, w LiveWindow) ([]LiveDelivery, error) {
	const what = "read which deliveries ended just now"
	var list []LiveDelivery
	err := s.readLive(ctx, func(tx pgx.Tx) error {
		// The id is made of the key, so that it sorts as well.
		rows, err := tx.Query(ctx, `select d.id, d.execution_id, v.id, v.name, coalesce(v.tenant_id, ''), d.kind, d.recipient, d.status, coalesce(d.reason, ''),
	d.attempts, coalesce(d.code, 0::int2), coalesce(d.duration_ms, 0), d.ended_at
from (
	select *, execution_id || '_' || action || case when recipient = '' then '' else '_' || recipient end as id from rowbell.delivery_ended
	where ended_at >= $1 and ended_at <= $3 and action >= 0 offset 0
) d
join rowbell.surrogate v on v.ref = d.version_ref
where (d.ended_at, d.id) > ($1, $2::text collate "C") and ($4::text is null or coalesce(v.tenant_id, '') = $4) and ($5::text = '' or v.id = $5)
order by d.ended_at, d.id limit $6`, w.After, w.AfterID, w.UpTo, w.Tenant, w.WorkflowID, w.Limit)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (LiveDelivery, error) {
			var d LiveDelivery
			err := row.Scan(&d.ID, &d.ExecutionID, &d.WorkflowID, &d.WorkflowName, &d.TenantID, &d.Kind, &d.Recipient, &d.Status, &d.Reason,
				&d.Attempts, &d.Code, &d.DurationMS, &d.EndedAt)
			return d, err
		})
		return err
	})
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

// LastEvent is the id of the newest event; "" if there is none.
func (s *State) LastEvent(ctx context.Context) (string, error) {
	var id string
	err := s.readLive(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select coalesce((select event_id from rowbell.event order by event_id desc limit 1), '')`).Scan(&id)
	})
	if err != nil {
		return "", stateError("look for the newest event", err)
	}
	return id, nil
}

// livePendingSQL goes by the events' ids, which grow with the record, and to each execution
// by its key. Replays, whose events are old, are not found.
const livePendingSQL = `with e as materialized (
	select * from rowbell.event where event_id > $1 order by event_id limit $4
)
select e.event_id, coalesce(x.id, ''), coalesce(x.executed_at, 'epoch'), coalesce(x.pending, false), coalesce(v.id, ''), coalesce(v.name, ''), coalesce(v.version, 0), coalesce(v.tenant_id, ''),
	coalesce(t.name, 'domain:' || e.domain, ''), coalesce(e.row_key, ''),
	coalesce(case e.op when 'c' then 'create' when 'u' then 'update' when 'd' then 'delete' when 'e' then 'emit' end, ''), e.committed_at,
	x.executed_at > $2 and x.executed_at <= $3
from e
left join lateral (
	select s.id, s.version_ref, s.executed_at, false as pending from rowbell.execution s
	where s.id >= e.event_id || '-' and s.id < e.event_id || '.' and s.committed_at = e.committed_at
	union all
	select q.execution_id, q.version_ref, q.executed_at, true from rowbell.queue q
	where q.execution_id >= e.event_id || '-' and q.execution_id < e.event_id || '.' and q.sole
	union all
	select o.id, o.version_ref, o.executed_at, true from rowbell.execution_open o
	where o.id >= e.event_id || '-' and o.id < e.event_id || '.'
) x on true
left join rowbell.surrogate v on v.ref = x.version_ref
left join rowbell.surrogate t on t.ref = e.table_ref`

// LivePending are the executions that were recorded in a window and are pending yet, the
// first first, from what limit events behind the event from have; and the last of these
// events that was recorded in the window, or before. full says that there may be more of
// them. Those of replays are left out.
func (s *State) LivePending(ctx context.Context, from string, w LiveWindow) (list []LiveExecution, last string, full bool, err error) {
	const what = "read what was recorded just now"
	last = from
	err = s.readLive(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, livePendingSQL, from, w.After, w.UpTo, w.Limit)
		if err != nil {
			return err
		}
		events := make(map[string]bool)
		var x LiveExecution
		var pending bool
		var within *bool
		columns := []any{
			&x.EventID, &x.ID, &x.ExecutedAt, &pending, &x.WorkflowID, &x.WorkflowName, &x.WorkflowVersion, &x.TenantID,
			&x.Table, &x.RowKey, &x.Operation, &x.CommittedAt, &within,
		}
		_, err = pgx.ForEachRow(rows, columns, func() error {
			events[x.EventID] = true
			if !x.ExecutedAt.After(w.UpTo) {
				last = max(last, x.EventID)
			}
			if pending && within != nil && *within {
				x.Status, x.Did = workflow.Pending, []LiveDone{}
				list = append(list, x)
			}
			return nil
		})
		full = len(events) == w.Limit
		return err
	})
	if err != nil {
		return nil, from, false, stateError(what, err)
	}
	slices.SortFunc(list, func(a, b LiveExecution) int {
		return cmp.Or(a.ExecutedAt.Compare(b.ExecutedAt), cmp.Compare(a.ID, b.ID))
	})
	return list, last, full, nil
}

// LiveBarred are the destinations that are open, half open or disabled, at most limit.
func (s *State) LiveBarred(ctx context.Context, limit int) ([]workflow.Destination, error) {
	const what = "read which destinations take nothing"
	rows, err := s.db.Query(ctx, `select `+destinationColumns+` from rowbell.destination where state <> 'closed' order by lane limit $1`, limit)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (workflow.Destination, error) { return scanDestination(row) })
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

// LiveSlot is how a slot's worker stands, as far as state knows.
type LiveSlot struct {
	Holder     string    // application_name of the worker that holds it; "" = none
	HeldUntil  time.Time // by the state server's clock
	Held       bool
	Stream     int32
	ConfirmLSN string
	MovedAt    time.Time     // when the checkpoint moved last: each ten seconds at least, while the slot is read
	Age        time.Duration // since then
	OpenGaps   int           // stretches of WAL that were lost and not accepted
}

// LiveSlot reads how a slot stands. Returns ErrNotFound before Begin.
func (s *State) LiveSlot(ctx context.Context, slot string) (LiveSlot, error) {
	var l LiveSlot
	err := s.db.QueryRow(ctx, `select coalesce(h.holder, ''), coalesce(h.leader_until, 'epoch'), coalesce(h.leader_until > clock_timestamp(), false), c.stream, c.confirm_lsn::text, c.moved_at,
	clock_timestamp() - c.moved_at, (select count(*) from rowbell.stream_gap g where g.slot = c.slot and g.closed_at is null)::int4
from rowbell.checkpoint c left join rowbell.holder h on h.slot = c.slot where c.slot = $1`, slot).Scan(
		&l.Holder, &l.HeldUntil, &l.Held, &l.Stream, &l.ConfirmLSN, &l.MovedAt, &l.Age, &l.OpenGaps)
	if err != nil {
		return l, stateError("read how slot "+slot+" stands", err)
	}
	return l, nil
}

// SeesTenant says whether row-level security shows rows of a tenant, "" = the operators'.
func (s *State) SeesTenant(ctx context.Context, tenantID string) (bool, error) {
	var sees bool
	err := s.db.QueryRow(ctx, `select rowbell.sees_all(false) or $1 <> '' and $1 = any (rowbell.tenants(false))`, storable(tenantID)).Scan(&sees)
	if err != nil {
		return false, stateError("look whose rows are seen", err)
	}
	return sees, nil
}
