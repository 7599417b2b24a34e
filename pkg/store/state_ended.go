package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// DeliveryStatus is where a delivery stands, for whoever looks for it.
type DeliveryStatus string

const (
	DeliverySucceeded DeliveryStatus = "succeeded"
	DeliveryDead      DeliveryStatus = "dead"      // gave up
	DeliveryCancelled DeliveryStatus = "cancelled" // was not wanted any more
	DeliveryRetrying  DeliveryStatus = "retrying"  // has failed, and will be tried again
	DeliveryPending   DeliveryStatus = "pending"   // in the queue, and was never tried
)

// DeliveryFilter chooses deliveries. What is zero chooses nothing out.
type DeliveryFilter struct {
	Statuses   []DeliveryStatus // empty: dead ones
	WorkflowID string
	TenantID   *string // "": operators' workflows
	Kind       string
	Recipient  string
	Table      string    // label of the event's table; RowKey goes with it
	RowKey     string    // as the log has it
	Cause      string    // a part of the reason, in upper or lower case
	Since      time.Time // commit time of the change: not before,
	Until      time.Time // and before
	Before     string    // id of a delivery: what comes behind it in the list
	Limit      int       // defaults to 100; at most 1000
}

// Limits of one list.
const (
	listedByDefault = 100
	mostListed      = 1000
)

// ListedDelivery is one delivery in a list.
type ListedDelivery struct {
	ID           string         `json:"id"`
	Status       DeliveryStatus `json:"status"`
	ExecutionID  string         `json:"execution_id"`
	EventID      string         `json:"event_id"`
	WorkflowID   string         `json:"workflow_id"`
	WorkflowName string         `json:"workflow_name"`
	Version      int32          `json:"workflow_version"`
	TenantID     string         `json:"tenant_id,omitempty"`
	Action       int16          `json:"action"` // index in the version's actions; -1 the gate
	Kind         string         `json:"kind"`
	Recipient    string         `json:"recipient,omitempty"`
	Reason       string         `json:"reason,omitempty"` // of the last attempt, or why there is no other
	Attempts     int16          `json:"attempts"`
	Code         int            `json:"code,omitempty"`
	CommittedAt  time.Time      `json:"committed_at"`         // of the change
	EndedAt      *time.Time     `json:"ended_at,omitempty"`   // nil: it has not ended
	NextAt       *time.Time     `json:"next_at,omitempty"`    // when it may be tried
	Table        string         `json:"table,omitempty"`      // "" if the event is gone
	RowKey       string         `json:"row_key,omitempty"`    // the same
	RowTenant    string         `json:"row_tenant,omitempty"` // the same
	VersionRef   int32          `json:"-"`                    // surrogate of the version
}

// The three of deliveriesSQL: what ended of executions with one delivery, what ended of
// others, and what has not. The event's id stands by itself, since where row-level security
// hides events of others the server uses no index for what a function makes of a column.
const (
	soleEndedSQL = `
	select x.id as execution_id, left(x.id, 26) as event_id, x.version_ref, x.action, coalesce(x.recipient, '') as recipient, x.kind,
		case x.status when 'success' then 'succeeded' when 'failure' then 'dead' else 'cancelled' end as status,
		x.error as reason, x.attempts, x.code, x.duration_ms, x.settled_at as ended_at, null::timestamptz as next_at, x.committed_at,
		x.result ->> 'response' as response, x.address
	from rowbell.execution x where x.action is not null`

	severalEndedSQL = `
	select d.execution_id, left(d.execution_id, 26) as event_id, d.version_ref, d.action, d.recipient, d.kind, d.status, d.reason, d.attempts, d.code, d.duration_ms, d.ended_at, null, d.committed_at,
		d.response, d.address
	from rowbell.delivery_ended d`

	queuedSQL = `
	select q.execution_id, left(q.execution_id, 26) as event_id, q.version_ref, q.action, q.recipient, q.kind, case when q.attempts = 0 then 'pending' else 'retrying' end as status,
		q.error as reason, q.attempts, null::smallint as code, null::integer as duration_ms, null::timestamptz as ended_at, nullif(q.ready_at, 'infinity') as next_at,
		q.committed_at, null::text as response, q.address
	from rowbell.queue q`

	// deliveriesSQL has all deliveries, ended or not, with one set of columns.
	deliveriesSQL = `(` + soleEndedSQL + ` union all ` + severalEndedSQL + ` union all ` + queuedSQL + `)`
)

// deliveriesOf is deliveriesSQL for a list of those with some statuses. Successes are very
// many, and have no index by status: where none is wanted the indexes of the others serve.
func deliveriesOf(statuses []DeliveryStatus) string {
	if slices.Contains(statuses, DeliverySucceeded) {
		return deliveriesSQL
	}
	ended := slices.Contains(statuses, DeliveryDead) || slices.Contains(statuses, DeliveryCancelled)
	queued := slices.Contains(statuses, DeliveryRetrying) || slices.Contains(statuses, DeliveryPending)
	var parts []string
	if ended || !queued {
		parts = append(parts, soleEndedSQL+` and x.status <> 'success'`, severalEndedSQL+` where d.status <> 'succeeded'`)
	}
	if queued {
		parts = append(parts, queuedSQL)
	}
	return `(` + strings.Join(parts, ` union all `) + `)`
}

const deliveryColumns = `d.execution_id, d.action, d.recipient, d.status, d.version_ref, v.id, v.name, v.version, coalesce(v.tenant_id, ''), d.kind,
	coalesce(d.reason, ''), d.attempts, coalesce(d.code, 0)::int4, d.committed_at, d.ended_at, d.next_at,
	coalesce(t.name, 'domain:' || e.domain, ''), coalesce(e.row_key, ''), coalesce(e.tenant_id, '')`

const deliveryJoins = `join rowbell.surrogate v on v.ref = d.version_ref
left join rowbell.event e on e.event_id = d.event_id and e.committed_at = d.committed_at
left join rowbell.surrogate t on t.ref = e.table_ref`

func scanDelivery(row pgx.CollectableRow, more ...any) (ListedDelivery, error) {
	var l ListedDelivery
	err := row.Scan(append([]any{
		&l.ExecutionID, &l.Action, &l.Recipient, &l.Status, &l.VersionRef, &l.WorkflowID, &l.WorkflowName, &l.Version, &l.TenantID, &l.Kind,
		&l.Reason, &l.Attempts, &l.Code, &l.CommittedAt, &l.EndedAt, &l.NextAt, &l.Table, &l.RowKey, &l.RowTenant,
	}, more...)...)
	if err == nil {
		l.ID, l.EventID = workflow.DeliveryID(l.ExecutionID, l.Action, l.Recipient), l.ExecutionID[:workflow.EventIDSize]
		l.CommittedAt = l.CommittedAt.UTC()
	}
	return l, err
}

// Deliveries lists deliveries, those of the newest changes first.
func (s *State) Deliveries(ctx context.Context, f DeliveryFilter) ([]ListedDelivery, error) {
	const what = "list deliveries"
	sql, args, err := f.sql()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	rows, err := s.db.Query(ctx, sql, args...)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (ListedDelivery, error) { return scanDelivery(row) })
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

// sql is what lists the deliveries, and its arguments.
func (f DeliveryFilter) sql() (string, []any, error) {
	if len(f.Statuses) == 0 {
		f.Statuses = []DeliveryStatus{DeliveryDead}
	}
	var where strings.Builder
	statuses := make([]string, len(f.Statuses))
	for i, s := range f.Statuses {
		statuses[i] = string(s)
	}
	args := []any{statuses}
	add := func(sql string, value any) {
		args = append(args, value)
		where.WriteString(" and " + strings.ReplaceAll(sql, "?", fmt.Sprintf("$%d", len(args))))
	}
	if f.WorkflowID != "" {
		add("d.version_ref in (select ref from rowbell.surrogate where kind = 'workflow' and id = ?)", f.WorkflowID)
	}
	if f.TenantID != nil {
		add("d.version_ref in (select ref from rowbell.surrogate where kind = 'workflow' and coalesce(tenant_id, '') = ?)", *f.TenantID)
	}
	if f.Kind != "" {
		add("d.kind = ?", f.Kind)
	}
	if f.Recipient != "" {
		add("d.recipient = ?", f.Recipient)
	}
	if f.Table != "" {
		add("coalesce(t.name, 'domain:' || e.domain) = ?", f.Table)
	}
	if f.RowKey != "" {
		add("e.row_key = ?", f.RowKey)
	}
	if f.Cause != "" {
		add("position(lower(?) in lower(d.reason)) > 0", f.Cause)
	}
	if !f.Since.IsZero() {
		add("d.committed_at >= ?", f.Since)
	}
	if !f.Until.IsZero() {
		add("d.committed_at < ?", f.Until)
	}
	if f.Before != "" {
		id, action, recipient, ok := workflow.ParseDeliveryID(f.Before)
		if !ok {
			return "", nil, fmt.Errorf("%q is not the id of a delivery", f.Before)
		}
		args = append(args, id, action, recipient)
		n := len(args)
		fmt.Fprintf(&where, " and (d.execution_id, d.action, d.recipient) < ($%d, $%d, $%d)", n-2, n-1, n)
	}
	limit := min(cmp.Or(max(f.Limit, 0), listedByDefault), mostListed)
	return `select ` + deliveryColumns + ` from ` + deliveriesOf(f.Statuses) + ` d ` + deliveryJoins + `
where d.status = any ($1)` + where.String() + fmt.Sprintf(`
order by d.execution_id desc, d.action desc, d.recipient desc limit %d`, limit), args, nil
}

// DeliveryAttempt is one try.
type DeliveryAttempt struct {
	Attempt    int16     `json:"attempt"`
	StartedAt  time.Time `json:"started_at"`
	DurationMS int64     `json:"duration_ms"`
	Code       int       `json:"code,omitempty"`
	Error      string    `json:"error,omitempty"`
	Response   string    `json:"response,omitempty"`
}

// ShownDelivery is all that is known of one delivery.
type ShownDelivery struct {
	ListedDelivery
	Response string            `json:"response,omitempty"` // start of what was answered last
	Person   *workflow.Person  `json:"person,omitempty"`
	Tries    []DeliveryAttempt `json:"tries"` // in their order
	Data     json.RawMessage   `json:"data,omitempty"`
}

// Delivery reads one delivery by its id. Returns ErrNotFound if there is none.
func (s *State) Delivery(ctx context.Context, id string) (ShownDelivery, error) {
	what := "read delivery " + id
	var d ShownDelivery
	executionID, action, recipient, ok := workflow.ParseDeliveryID(id)
	if !ok {
		return d, notDelivery(id)
	}
	rows, err := s.db.Query(ctx, `select `+deliveryColumns+`, coalesce(d.response, ''), d.address::text, d.duration_ms, e.data
from `+deliveriesSQL+` d `+deliveryJoins+` where d.execution_id = $1 and d.action = $2 and d.recipient = $3 limit 1`, executionID, action, recipient)
	if err != nil {
		return d, stateError(what, err)
	}
	var lastMS *int64
	d, err = pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (ShownDelivery, error) {
		var d ShownDelivery
		var address *string
		var data []byte
		l, err := scanDelivery(row, &d.Response, &address, &lastMS, &data)
		d.ListedDelivery, d.Data = l, data
		if address != nil {
			d.Person = workflow.ParsePerson([]byte(*address))
		}
		return d, err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return d, notFound("there is no delivery %s in the queue or in the log", id)
	}
	if err != nil {
		return d, stateError(what, err)
	}
	rows, err = s.db.Query(ctx, `select attempt, started_at, duration_ms::int8, coalesce(code, 0)::int4, coalesce(error, ''), coalesce(response, '')
from rowbell.attempt where execution_id = $1 and action = $2 and recipient = $3 order by attempt`, executionID, action, recipient)
	if err != nil {
		return d, stateError(what, err)
	}
	if d.Tries, err = pgx.CollectRows(rows, pgx.RowToStructByPos[DeliveryAttempt]); err != nil {
		return d, stateError(what, err)
	}
	d.addLastTry(lastMS)
	return d, nil
}

func notDelivery(id string) error {
	return fmt.Errorf("%.100q is not the id of a delivery; it is an execution's id, _, the action's index, and for a recipient's share _ and their id: rowbell delivery list shows them", id)
}

// PutBack says of the actions of a version what the log doesn't keep.
type PutBack struct {
	Lane      int64
	Addressed bool // the kind has no recipients that are to be resolved first
}

// RetryDelivery puts an ended delivery back into the queue, under the id that it had: its
// execution is pending again. What was cancelled because this one had given up comes back
// with it, and waits for it. of says what is to be known of an action, GateAction too.
// It returns the ids of all that came back.
//
// Returns ErrNotFound if there is no such delivery, and ErrConflict if it is in the queue,
// has succeeded, or its event is no longer in the log.
func (s *State) RetryDelivery(ctx context.Context, id string, of func(action int16) PutBack) ([]string, error) {
	executionID, action, recipient, ok := workflow.ParseDeliveryID(id)
	if !ok {
		return nil, notDelivery(id)
	}
	var back []string
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		r := retry{tx: tx, executionID: executionID, of: of}
		if err := r.lock(ctx); err != nil {
			return err
		}
		var err error
		if r.sole {
			err = r.putSole(ctx, action, recipient)
		} else {
			err = r.put(ctx, action, recipient)
		}
		if err != nil {
			return err
		}
		back = r.back
		at, _, _ := idTime(executionID)
		_, err = tx.Exec(ctx, reopenedSQL, at)
		return err
	})
	if err != nil {
		return nil, orSaid("put delivery "+id+" back into the queue", err)
	}
	return back, nil
}

// retry is one delivery on its way back.
type retry struct {
	tx          pgx.Tx
	executionID string
	of          func(action int16) PutBack

	settled, sole bool
	back          []string
}

// lock finds the execution where it stands, and keeps others from settling it meanwhile.
func (r *retry) lock(ctx context.Context) error {
	var eventThere bool
	err := r.tx.QueryRow(ctx, `select exists (select from rowbell.event where event_id = left($1, 26)) from rowbell.execution_open where id = $1 for update`, r.executionID).Scan(&eventThere)
	if errors.Is(err, pgx.ErrNoRows) {
		r.settled = true
		err = r.tx.QueryRow(ctx, `select action is not null, exists (select from rowbell.event e where e.event_id = left(x.id, 26) and e.committed_at = x.committed_at)
from rowbell.execution x where id = $1 for update`, r.executionID).Scan(&r.sole, &eventThere)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		var queued bool
		if err := r.tx.QueryRow(ctx, `select exists (select from rowbell.queue where execution_id = $1)`, r.executionID).Scan(&queued); err != nil {
			return err
		}
		if queued {
			return conflict("execution %s is pending: its delivery is in the queue already", r.executionID)
		}
		return notFound("there is no execution %s in the log", r.executionID)
	}
	if err == nil && !eventThere {
		return conflict("the event of execution %s is no longer in the log, so there is nothing to deliver", r.executionID)
	}
	return err
}

// refuse says why a delivery can't be put back; nil if it can.
func (r *retry) refuse(action int16, recipient string, status DeliveryStatus) error {
	if status == DeliverySucceeded {
		return conflict("delivery %s has succeeded, and its receiver would take it for the same again; run the execution anew: rowbell replay",
			workflow.DeliveryID(r.executionID, action, recipient))
	}
	return nil
}

// putSole puts back an execution's only delivery.
func (r *retry) putSole(ctx context.Context, action int16, recipient string) error {
	var status string
	err := r.tx.QueryRow(ctx, `select status from rowbell.execution where id = $1 and action = $2 and coalesce(recipient, '') = $3`, r.executionID, action, recipient).Scan(&status)
	if errors.Is(err, pgx.ErrNoRows) {
		return notFound("execution %s has no delivery %s", r.executionID, workflow.DeliveryID(r.executionID, action, recipient))
	}
	if err != nil {
		return err
	}
	if status == string(workflow.Success) {
		return r.refuse(action, recipient, DeliverySucceeded)
	}
	to := r.of(action)
	_, err = r.tx.Exec(ctx, `with gone as (
	delete from rowbell.execution where id = $1 returning *
), tried as (
	insert into rowbell.attempt (execution_id, committed_at, action, recipient, attempt, started_at, duration_ms, code, error, response)
	select id, committed_at, action, coalesce(recipient, ''), attempts, settled_at - make_interval(secs => duration_ms / 1000.0), duration_ms, code, error, result ->> 'response'
	from gone where attempts > 0 and duration_ms is not null
)
insert into rowbell.queue (committed_at, executed_at, ready_at, version_ref, priority, "order", action, attempts, base, sole, addressed, execution_id, recipient, kind, error, address, lane)
select committed_at, executed_at, clock_timestamp(), version_ref, priority, 0, action, attempts, attempts, true, $3 or recipient is not null, id, coalesce(recipient, ''), kind,
	case when attempts > 0 then error end, address, $2
from gone`, r.executionID, to.Lane, to.Addressed)
	r.back = append(r.back, workflow.DeliveryID(r.executionID, action, recipient))
	return err
}

// putOneSQL puts one ended delivery of several back, waiting: $4 lane, $5 addressed.
const putOneSQL = `with gone as (
	delete from rowbell.delivery_ended where execution_id = $1 and action = $2 and recipient = $3 returning *
), tried as (
	insert into rowbell.attempt (execution_id, committed_at, action, recipient, attempt, started_at, duration_ms, code, error, response)
	select execution_id, committed_at, action, recipient, attempts, ended_at - make_interval(secs => duration_ms / 1000.0), duration_ms, code, reason, response
	from gone where attempts > 0 and duration_ms is not null
), x as (
	select executed_at, priority from rowbell.execution_open where id = $1
	union all
	select executed_at, priority from rowbell.execution where id = $1
)
insert into rowbell.queue (committed_at, executed_at, version_ref, priority, "order", action, attempts, base, sole, addressed, execution_id, recipient, kind, error, address, lane)
select g.committed_at, x.executed_at, g.version_ref, x.priority, g."order", g.action, g.attempts, g.attempts, false, $5 or g.recipient <> '', g.execution_id, g.recipient, g.kind,
	case when g.attempts > 0 then g.reason end, g.address, $4
from gone g, x`

// reopenSQL makes a settled execution with several deliveries pending, with nothing open.
const reopenSQL = `with gone as (delete from rowbell.execution where id = $1 returning *)
insert into rowbell.execution_open (committed_at, executed_at, version_ref, priority, open, id, result)
select committed_at, executed_at, version_ref, priority, 0, id, result from gone`

// recountSQL sets an execution to what has become of its deliveries: $2 more are open, and
// $3 says that whatever stopped it is being tried again.
const recountSQL = `update rowbell.execution_open x set open = x.open + $2, died = coalesce(d.died, false), succeeded = coalesce(d.succeeded, false), error = d.error,
	stop = case when $3 then null else x.stop end
from (
	select bool_or(status = 'dead') as died, bool_or(status = 'succeeded' and action >= 0) as succeeded, min(reason) filter (where status = 'dead') as error
	from rowbell.delivery_ended where execution_id = $1
) d where x.id = $1`

// put puts back one delivery of several, and those that were cancelled because of it.
func (r *retry) put(ctx context.Context, action int16, recipient string) error {
	var status DeliveryStatus
	var order int32
	var reason string
	err := r.tx.QueryRow(ctx, `select status, "order", coalesce(reason, '') from rowbell.delivery_ended where execution_id = $1 and action = $2 and recipient = $3`,
		r.executionID, action, recipient).Scan(&status, &order, &reason)
	if errors.Is(err, pgx.ErrNoRows) {
		var queued bool
		err := r.tx.QueryRow(ctx, `select exists (select from rowbell.queue where execution_id = $1 and action = $2 and recipient = $3)`, r.executionID, action, recipient).Scan(&queued)
		if err != nil {
			return err
		}
		if queued {
			return conflict("delivery %s is in the queue already", workflow.DeliveryID(r.executionID, action, recipient))
		}
		return notFound("execution %s has no delivery %s", r.executionID, workflow.DeliveryID(r.executionID, action, recipient))
	}
	if err != nil {
		return err
	}
	if err := r.refuse(action, recipient, status); err != nil {
		return err
	}
	if r.settled {
		if _, err := r.tx.Exec(ctx, reopenSQL, r.executionID); err != nil {
			return err
		}
	}
	if err := r.putOne(ctx, action, recipient); err != nil {
		return err
	}
	stopped, err := r.putStopped(ctx, action, order, reason)
	if err != nil {
		return err
	}
	if _, err := r.tx.Exec(ctx, recountSQL, r.executionID, len(r.back), stopped); err != nil {
		return err
	}
	_, err = r.tx.Exec(ctx, `update rowbell.queue q set ready_at = clock_timestamp()
where q.execution_id = $1 and q.ready_at is null and q."order" = (select min(m."order") from rowbell.queue m where m.execution_id = $1)`, r.executionID)
	return err
}

func (r *retry) putOne(ctx context.Context, action int16, recipient string) error {
	to := r.of(action)
	_, err := r.tx.Exec(ctx, putOneSQL, r.executionID, action, recipient, to.Lane, to.Addressed)
	r.back = append(r.back, workflow.DeliveryID(r.executionID, action, recipient))
	return err
}

// putStopped puts back what was cancelled because an action had given up, or its destination
// was disabled, or the gate had not passed: its reason says so. While another delivery of
// that action is still as this one was, it stays. stopped says whether the action is no
// longer what stops the execution.
func (r *retry) putStopped(ctx context.Context, action int16, order int32, reason string) (stopped bool, err error) {
	var another bool
	err = r.tx.QueryRow(ctx, `select exists (select from rowbell.delivery_ended where execution_id = $1 and action = $2
	and (status = 'dead' or status = 'cancelled' and starts_with(reason, $3)))`, r.executionID, action, wasDisabled).Scan(&another)
	if err != nil || another {
		return false, err
	}
	// The gate's own reason stands with those that it stopped; of an action, which one it was,
	// and whether it failed or was cancelled.
	because := fmt.Sprintf("action %d (%%"+workflow.StoppedSuffix, action+1)
	if action == workflow.GateAction {
		because = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(reason)
	}
	rows, err := r.tx.Query(ctx, `select action, recipient from rowbell.delivery_ended
where execution_id = $1 and status = 'cancelled' and "order" > $2 and attempts = 0 and reason like $3`, r.executionID, order, because)
	if err != nil {
		return false, err
	}
	type key struct {
		Action    int16
		Recipient string
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[key])
	if err != nil {
		return false, err
	}
	for _, k := range list {
		if err := r.putOne(ctx, k.Action, k.Recipient); err != nil {
			return false, err
		}
	}
	// One whose stop it is may still have deliveries that wait to be cancelled for it.
	err = r.tx.QueryRow(ctx, `select coalesce(stop like $2, true) from rowbell.execution_open where id = $1`, r.executionID, because).Scan(&stopped)
	return stopped, err
}

// Unfinished reads the ids of an execution's deliveries that are in the queue, at most so many:
// those of the highest order first.
func (s *State) Unfinished(ctx context.Context, executionID string, limit int) ([]string, error) {
	what := "read what has not ended of execution " + executionID
	rows, err := s.db.Query(ctx, `select action, recipient from rowbell.queue where execution_id = $1 order by "order" desc, action desc, recipient desc limit $2`, executionID, limit)
	if err != nil {
		return nil, stateError(what, err)
	}
	ids, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var action int16
		var recipient string
		err := row.Scan(&action, &recipient)
		return workflow.DeliveryID(executionID, action, recipient), err
	})
	if err != nil {
		return nil, stateError(what, err)
	}
	return ids, nil
}

// Take leases a delivery that has not ended, whoever has it, so that its outcome is this
// process's to write. Returns ErrNotFound if it is not in the queue.
func (q *Queue) Take(ctx context.Context, id string) (*workflow.Leased, error) {
	executionID, action, recipient, ok := workflow.ParseDeliveryID(id)
	if !ok {
		return nil, notDelivery(id)
	}
	what := "take delivery " + id
	conn, err := q.open(ctx)
	if err != nil {
		return nil, stateError(what, err)
	}
	l := &workflow.Leased{Addressed: true}
	err = conn.QueryRow(ctx, `update rowbell.queue set lease_until = clock_timestamp() + $4::interval, lease_by = $5
where execution_id = $1 and action = $2 and recipient = $3
returning execution_id, action, recipient, version_ref, kind, "order", attempts, sole`, executionID, action, recipient, q.lease, q.process).
		Scan(&l.ExecutionID, &l.Action, &l.Recipient, &l.VersionRef, &l.Kind, &l.Order, &l.Attempts, &l.Sole)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, notFound("delivery %s is not in the queue: it has ended, or there is none", id)
	}
	if err != nil {
		return nil, stateError(what, err)
	}
	return l, nil
}
