package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/fault"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Queue claims deliveries for one process and writes what became of them, through a
// connection of its own, which it opens when it needs it and again after it broke. It
// belongs to one goroutine; a process may have several.
type Queue struct {
	state   *State
	process string
	lease   time.Duration

	conn     *pgx.Conn
	names    map[int32]surrogate // of those that were met
	prepared bool                // the statements that settle, on this connection
	cols     []array
	params   [][]byte
	calls    callConn
}

// surrogate is what the number of a workflow's or a table's version stands for.
type surrogate struct{ tenantID, name string }

// Queue makes a queue for a process, whose leases last so long. Close it.
func (s *State) Queue(process string, lease time.Duration) *Queue {
	return &Queue{state: s, process: process, lease: lease, cols: make([]array, len(outcomeTypes)), names: make(map[int32]surrogate)}
}

// Close ends the connection.
func (q *Queue) Close(ctx context.Context) error {
	err := q.calls.close(ctx)
	if q.conn == nil {
		return err
	}
	conn := q.conn
	q.conn = nil
	return errors.Join(err, conn.Close(ctx))
}

// open returns the connection.
func (q *Queue) open(ctx context.Context) (*pgx.Conn, error) {
	if q.conn != nil && !q.conn.IsClosed() {
		return q.conn, nil
	}
	c, err := q.state.acquire(ctx)
	if err != nil {
		return nil, err
	}
	q.conn, q.prepared = c.Hijack(), false
	// The queue is empty at one moment and long at the next, and statistics know nothing
	// of that; every statement here goes by keys.
	_, err = q.conn.Exec(ctx, `select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off';
set plan_cache_mode = force_generic_plan; set jit = off; set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off`)
	if err != nil {
		return nil, errors.Join(err, q.conn.Close(ctx))
	}
	return q.conn, nil
}

// lanesAtOnce is how many lanes one claim looks at.
const lanesAtOnce = 500

// claimSQL steps through the lanes by their index, takes what is due of each, and leases
// it. What another process is just claiming is skipped. Of a destination whose breaker is
// open nothing is taken, and one delivery once its time is over, or who tried one is gone.
const claimSQL = `with recursive lane (lane) as (
	(select q.lane from rowbell.queue q where q.lane > $1::int8 order by q.lane limit 1)
	union all
	select (select q.lane from rowbell.queue q where q.lane > l.lane order by q.lane limit 1) from lane l where l.lane is not null
), seen as materialized (
	select l.lane, case when $9::bool or d.state is null or d.state in ('closed', 'disabled') then coalesce(r.room, $4::int4)
		when d.state = 'open' and d.probe_at <= now() or d.state = 'half_open' and ` + proberGone + ` then least(coalesce(r.room, $4::int4), 1)
		else 0 end as room
	from (select lane from lane where lane is not null limit $2::int4) l
	left join unnest($5::int8[], $6::int4[]) r (lane, room) on r.lane = l.lane
	left join rowbell.destination d on d.lane = l.lane
), pick as materialized (
	select p.* from seen s cross join lateral (
		select q.ctid from rowbell.queue q
		where q.lane = s.lane and q.ready_at <= now() and (q.lease_until is null or q.lease_until <= now())
		order by q.ready_at limit s.room for update skip locked
	) p limit $3::int4
), taken as (
	update rowbell.queue q set lease_until = clock_timestamp() + $7::interval, lease_by = $8::text
	from pick p where q.ctid = p.ctid -- locked above, so that it stays
	returning q.*
)
select v.last, v.n, ` + leasedColumns + `
from (select coalesce(max(lane), 0) as last, count(*)::int4 as n from seen) v
left join taken t on true ` + leasedJoins + `
order by t.ready_at, t.priority`

// leasedColumns are of a row t of queue, with its event. scanLeased reads them; the row
// that says how far a claim came may have no t, and so there is no null among them.
// The data of a big event doesn't come along.
const leasedColumns = `coalesce(t.execution_id, ''), coalesce(t.action, 0::int2), coalesce(t.version_ref, 0), coalesce(t.recipient, ''), coalesce(t.kind, ''),
	coalesce(t."order", 0), coalesce(t.priority, 0), coalesce(t.attempts, 0::int2), coalesce(t.base, 0::int2), coalesce(t.lane, 0), coalesce(t.addressed, false), coalesce(t.sole, false),
	coalesce(t.committed_at, 'epoch'), coalesce(e.event_id, ''), coalesce(e.stream, 0), coalesce((e.commit_lsn - '0/0')::int8, 0),
	coalesce(e.seq, 0), coalesce(e.side, 0::int2), coalesce(e.table_ref, 0), coalesce(e.op::text, ''), coalesce(e.tenant_id, ''),
	coalesce(e.row_key, ''), coalesce(e.domain, ''), coalesce(t.xid, 0), t.address::text, e.chain::text, case when pg_column_size(e.data) <= 32768 then e.data end`

const leasedJoins = `left join rowbell.event e on e.event_id = left(t.execution_id, 26) and e.committed_at = t.committed_at`

// Claim leases deliveries that are due, at most those that c has room for, lanes by
// turns. They are sorted by the time since when they are due, and priority.
func (q *Queue) Claim(ctx context.Context, c workflow.Claim) (workflow.Claimed, error) {
	got := workflow.Claimed{Last: c.After}
	conn, err := q.open(ctx)
	if err != nil {
		return got, stateError("connect to claim deliveries", err)
	}
	lanes, rooms := make([]int64, 0, len(c.Room)), make([]int32, 0, len(c.Room))
	for lane, room := range c.Room {
		lanes, rooms = append(lanes, lane), append(rooms, int32(room))
	}
	sql, args := claimSQL, []any{c.After, lanesAtOnce, c.Most, c.PerLane, lanes, rooms, q.lease, q.process, c.Barred}
	if c.Paused != nil {
		sql, args = claimPausedSQL, pausedArgs(c, args)
	}
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return got, stateError("claim deliveries", err)
	}
	defer rows.Close()
	var n int32
	for rows.Next() {
		l, err := scanLeased(rows, &got.Last, &n)
		if err != nil {
			return got, stateError("claim deliveries", err)
		}
		if l != nil {
			got.Deliveries = append(got.Deliveries, l)
		}
	}
	if err := rows.Err(); err != nil {
		return got, stateError("claim deliveries", err)
	}
	if err := q.name(ctx, conn, got.Deliveries); err != nil {
		return got, stateError("claim deliveries", err)
	}
	got.End = n < lanesAtOnce
	if k := len(got.Deliveries); k >= c.Most && k > 0 {
		// It was full before it came to the last lane.
		got.Last, got.End = got.Deliveries[0].Lane, false
		for _, l := range got.Deliveries {
			got.Last = max(got.Last, l.Lane)
		}
	}
	return got, nil
}

// mostNames is how many surrogates are remembered.
const mostNames = 100_000

// name fills in what the surrogates of deliveries stand for: tenants and tables. They
// never change, and are asked for once.
func (q *Queue) name(ctx context.Context, conn *pgx.Conn, list []*workflow.Leased) error {
	var unknown []int32
	note := func(ref int32) {
		if _, ok := q.names[ref]; !ok && ref != 0 && !slices.Contains(unknown, ref) {
			unknown = append(unknown, ref)
		}
	}
	for _, l := range list {
		note(l.VersionRef)
		if l.Event != nil {
			note(l.Event.TableRef)
		}
	}
	if len(unknown) > 0 {
		if len(q.names) > mostNames {
			clear(q.names)
			return q.name(ctx, conn, list)
		}
		rows, err := conn.Query(ctx, `select ref, coalesce(tenant_id, ''), name from rowbell.surrogate where ref = any ($1)`, unknown)
		if err != nil {
			return err
		}
		var ref int32
		var s surrogate
		if _, err := pgx.ForEachRow(rows, []any{&ref, &s.tenantID, &s.name}, func() error { q.names[ref] = s; return nil }); err != nil {
			return err
		}
	}
	for _, l := range list {
		l.TenantID = q.names[l.VersionRef].tenantID
		if l.Event != nil && l.Event.Domain == "" {
			l.Event.Table = q.names[l.Event.TableRef].name
		}
	}
	return nil
}

// scanLeased reads leasedColumns behind what before takes; nil if there is no delivery
// in the row.
func scanLeased(row pgx.Rows, before ...any) (*workflow.Leased, error) {
	var op string
	var lsn, xid int64
	var address, chain *string
	l, e := &workflow.Leased{}, &workflow.Event{}
	err := row.Scan(append(before, &l.ExecutionID, &l.Action, &l.VersionRef, &l.Recipient, &l.Kind, &l.Order, &l.Priority, &l.Attempts, &l.Base, &l.Lane,
		&l.Addressed, &l.Sole, &e.CommittedAt, &e.ID, &e.Position.Stream, &lsn, &e.Position.Seq, &e.Side, &e.TableRef, &op,
		&e.TenantID, &e.RowKey, &e.Domain, &xid, &address, &chain, &e.Data)...)
	if err != nil || l.ExecutionID == "" {
		return nil, err
	}
	l.XID = uint64(xid)
	if address != nil {
		l.Person = workflow.ParsePerson([]byte(*address))
	}
	if e.Domain != "" {
		e.Table = workflow.DomainPrefix + e.Domain
	}
	if chain != nil {
		if c, err := workflow.ParseChain([]byte(*chain)); err == nil {
			e.Chain = &c
		}
	}
	if e.ID != "" { // it is there as long as a delivery is pending: retention sees to that
		e.CommittedAt, e.Position.CommitLSN, e.Op = e.CommittedAt.UTC(), change.LSN(lsn), opOf(op)
		l.Event = e
	}
	return l, nil
}

func opOf(c string) change.Op {
	switch c {
	case "c":
		return change.Create
	case "u":
		return change.Update
	case "d":
		return change.Delete
	case "e":
		return change.Emit
	}
	return change.OpNone
}

// ClaimUnwanted leases up to limit deliveries of these workflows that no process works
// on, whatever they wait for, so that they can be cancelled. Their events don't come
// along.
func (q *Queue) ClaimUnwanted(ctx context.Context, workflowIDs []string, limit int) ([]*workflow.Leased, error) {
	const what = "claim the deliveries of workflows that were turned off"
	conn, err := q.open(ctx)
	if err != nil {
		return nil, stateError(what, err)
	}
	// The queue has no index by workflow: what isn't done is little, and this is rare.
	rows, err := conn.Query(ctx, `with pick as materialized (
	select execution_id, action, recipient from rowbell.queue
	where version_ref in (select ref from rowbell.surrogate where kind = 'workflow' and id = any ($1))
	and (lease_until is null or lease_until <= now())
	limit $2 for update skip locked
)
update rowbell.queue q set lease_until = clock_timestamp() + $3::interval, lease_by = $4
from pick p where q.execution_id = p.execution_id and q.action = p.action and q.recipient = p.recipient
returning q.execution_id, q.action, q.recipient, q.version_ref, q.kind, q."order", q.attempts, q.sole`, workflowIDs, limit, q.lease, q.process)
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

// keys are the arrays that name deliveries.
func keys(list []*workflow.Leased) (ids []string, actions []int16, recipients []string) {
	for _, l := range list {
		ids, actions, recipients = append(ids, l.ExecutionID), append(actions, l.Action), append(recipients, l.Recipient)
	}
	return ids, actions, recipients
}

// Renew makes the leases of these deliveries last from now on, and returns those that
// are the process's no more. It passes over those whose outcome is just being written.
func (q *Queue) Renew(ctx context.Context, list []*workflow.Leased) (lost []*workflow.Leased, err error) {
	const what = "renew the leases of deliveries"
	conn, err := q.open(ctx)
	if err != nil {
		return nil, stateError(what, err)
	}
	ids, actions, recipients := keys(list)
	// Outcomes of some of them may be about to be written through another connection,
	// which holds their rows: waiting for it would be for a deadlock. And one that was just
	// given back is nobody's: it must not become this process's again.
	rows, err := conn.Query(ctx, `with k as materialized (
	select * from unnest($1::text[], $2::int2[], $3::text[]) with ordinality as k (id, action, recipient, n)
), pick as materialized (
	select q.execution_id, q.action, q.recipient
	from k join rowbell.queue q on q.execution_id = k.id and q.action = k.action and q.recipient = k.recipient
	where q.lease_by = $5 and q.lease_until is not null for update of q skip locked
), renewed as (
	update rowbell.queue q set lease_until = clock_timestamp() + $4::interval
	from pick p where q.execution_id = p.execution_id and q.action = p.action and q.recipient = p.recipient
)
select k.n from k join rowbell.queue q on q.execution_id = k.id and q.action = k.action and q.recipient = k.recipient
where q.lease_by = $5 and q.lease_until is not null`, ids, actions, recipients, q.lease, q.process)
	if err != nil {
		return nil, stateError(what, err)
	}
	kept := make([]bool, len(list))
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&n}, func() error { kept[n-1] = true; return nil }); err != nil {
		return nil, stateError(what, err)
	}
	for i, l := range list {
		if !kept[i] {
			lost = append(lost, l)
		}
	}
	return lost, nil
}

var outcomeTypes = []elem{tText, tInt2, tText, tChar, tBool, tInt2, tInt4, tTime, tText, tText, tInt8, tText, tInt2}

// settleSQL writes outcomes of deliveries that the process still has the lease of. That
// the attempts so far and the lease are those of the claim makes it safe to repeat: a
// commit whose answer was lost is not counted twice. A gate (action -1) that passes is no
// success of the execution's, and one that ends in another way stops what comes after it.
const settleSQL = `with o as materialized (
	select * from ` + outcomesSQL + `
` + settleOutcomesSQL

const outcomesSQL = `unnest($2::text[], $3::int2[], $4::text[], $5::"char"[], $6::bool[], $7::int2[], $8::int4[], $9::timestamptz[],
		$10::text[], $11::text[], $12::int8[], $13::text[], $14::int2[])
		as o (id, action, recipient, verb, tried, code, ms, started_at, reason, response, retry_ms, stop, attempts)`

// settleOutcomesSQL is settleSQL behind the rows of o.
const settleOutcomesSQL = `), gone as (
	delete from rowbell.queue q using o
	where o.verb in ('s', 'd', 'c') and q.execution_id = o.id and q.action = o.action and q.recipient = o.recipient
	and q.lease_by = $1::text and q.lease_until is not null and q.attempts = o.attempts
	returning q.execution_id, q.committed_at, q.executed_at, q.version_ref, q.priority, q."order", q.action, q.recipient, q.kind, q.sole, q.address,
		(q.attempts + o.tried::int4)::int2 as attempts, o.verb, o.code, o.ms, o.reason, o.response, o.stop
), sole as (
	insert into rowbell.execution (id, committed_at, executed_at, settled_at, version_ref, priority, duration_ms, action, attempts, code, status, kind,
		recipient, error, result, address)
	select execution_id, committed_at, executed_at, clock_timestamp(), version_ref, priority, ms, action, attempts, code,
		case verb when 's' then 'success' when 'd' then 'failure' else 'cancelled' end, kind, nullif(recipient, ''), reason,
		case when response is not null then jsonb_build_object('response', response) end, address
	from gone where sole
), ended as (
	insert into rowbell.delivery_ended (execution_id, committed_at, ended_at, version_ref, "order", duration_ms, action, attempts, code, recipient, kind,
		status, reason, address, response)
	select execution_id, committed_at, clock_timestamp(), version_ref, "order", ms, action, attempts, code, recipient, kind,
		case verb when 's' then 'succeeded' when 'd' then 'dead' else 'cancelled' end, reason, address, response
	from gone where not sole
), open as (
	update rowbell.execution_open x set open = x.open - d.n, died = x.died or d.died, succeeded = x.succeeded or d.succeeded,
		error = coalesce(x.error, d.error), stop = coalesce(x.stop, d.stop)
	from (
		select execution_id, count(*)::int4 as n, bool_or(verb = 'd') as died, bool_or(verb = 's' and action >= 0) as succeeded,
			min(reason) filter (where verb = 'd') as error,
			min(case when action >= 0 then stop when verb <> 's' then coalesce(stop, reason, 'the gate did not pass') end) as stop
		from gone where not sole group by execution_id
	) d where x.id = d.execution_id
), again as (
	update rowbell.queue q set attempts = (q.attempts + o.tried::int4)::int2, lease_until = null, error = coalesce(o.reason, q.error),
		ready_at = case when o.retry_ms > 0 then clock_timestamp() + o.retry_ms * interval '1 ms' else q.ready_at end
	from o where o.verb in ('r', 'g') and q.execution_id = o.id and q.action = o.action and q.recipient = o.recipient
	and q.lease_by = $1::text and q.lease_until is not null and q.attempts = o.attempts
	returning q.execution_id, q.committed_at, q.action, q.recipient, q.attempts, o.tried, o.code, o.ms, o.started_at, o.reason, o.response
), tries as (
	insert into rowbell.attempt (execution_id, committed_at, action, recipient, attempt, started_at, duration_ms, code, error, response)
	select execution_id, committed_at, action, recipient, attempts, started_at, ms, code, reason, response from again where tried
)
select (select count(*) from gone) + (select count(*) from again)`

// Executions with several deliveries: what comes after one of them has ended.
const (
	// lockOpenSQL takes them in one order, so that two processes don't wait for each other.
	lockOpenSQL = `select from rowbell.execution_open where id = any ($1) order by id for update`

	// nextOrderSQL lets those begin that waited for a lower order.
	nextOrderSQL = `update rowbell.queue q set ready_at = clock_timestamp() from rowbell.execution_open x
where x.id = any ($1) and x.stop is null and x.open > 0 and q.execution_id = x.id and q.ready_at is null
and q."order" = (select min(m."order") from rowbell.queue m where m.execution_id = x.id)`

	// stopSQL cancels them instead, once everything of the lower order has ended.
	stopSQL = `with gone as (
	delete from rowbell.queue q using rowbell.execution_open x
	where x.id = any ($1) and x.stop is not null and x.open > 0 and q.execution_id = x.id
	and not exists (select from rowbell.queue m where m.execution_id = x.id and m.ready_at is not null)
	returning q.*, x.stop
), ended as (
	insert into rowbell.delivery_ended (execution_id, committed_at, ended_at, version_ref, "order", action, attempts, recipient, kind, status, reason, address)
	select execution_id, committed_at, clock_timestamp(), version_ref, "order", action, attempts, recipient, kind, 'cancelled', stop, address from gone
)
update rowbell.execution_open x set open = x.open - d.n
from (select execution_id, count(*)::int4 as n from gone group by 1) d where x.id = d.execution_id`

	// closeSQL settles those that have nothing left.
	closeSQL = `with done as (
	delete from rowbell.execution_open x where x.id = any ($1) and x.open = 0 returning *
)
insert into rowbell.execution (id, committed_at, executed_at, settled_at, version_ref, priority, status, error, result)
select id, committed_at, executed_at, clock_timestamp(), version_ref, priority,
	case when died then 'failure' when succeeded then 'success' else 'cancelled' end,
	case when died then error when not succeeded then (
		select min(d.reason) from rowbell.delivery_ended d where d.execution_id = done.id and d.committed_at = done.committed_at
	) end, result
from done`
)

// Settle writes outcomes, all or none, and settles executions and starts what waited for
// a lower order. An outcome of a delivery whose lease another process has taken changes
// nothing: lost counts them.
func (q *Queue) Settle(ctx context.Context, outcomes []workflow.Outcome) (lost int, err error) {
	what := fmt.Sprintf("write the outcomes of %d deliveries", len(outcomes))
	conn, err := q.open(ctx)
	if err != nil {
		return 0, stateError(what, err)
	}
	if err := q.prepare(ctx, conn); err != nil {
		return 0, stateError(what, err)
	}
	several := q.fill(outcomes)
	n, err := q.execute(ctx, conn, several)
	if err != nil {
		return 0, stateError(what, err)
	}
	return len(outcomes) - int(n), nil
}

// prepare makes the statements that settle.
func (q *Queue) prepare(ctx context.Context, conn *pgx.Conn) error {
	if q.prepared {
		return nil
	}
	settle := settleSQL
	if fault.On("settle_without_lease") {
		settle = strings.ReplaceAll(settle, "q.lease_by = $1::text", "$1::text is not null")
	}
	for name, sql := range map[string]string{
		settleName: settle, "rowbell_lock": lockOpenSQL, "rowbell_next": nextOrderSQL, "rowbell_stop": stopSQL, "rowbell_close": closeSQL,
	} {
		if _, err := conn.PgConn().Prepare(ctx, name, sql, nil); err != nil {
			return err
		}
	}
	q.prepared = true
	return nil
}

const settleName = "rowbell_settle"

// execute runs the prepared statements, and returns how many outcomes were written. All
// of them are sent at once, and are one transaction: it never waits for this process,
// which may be stopped at any moment, with rows that others need.
func (q *Queue) execute(ctx context.Context, conn *pgx.Conn, several []string) (int64, error) {
	binaryFormat := []int16{pgtype.BinaryFormatCode}
	b := &pgconn.Batch{}
	settle := func() { b.ExecPrepared(settleName, q.params, binaryFormat, binaryFormat) }
	if len(several) == 0 {
		settle()
	} else {
		var list array
		list.reset(pgtype.TextOID)
		for _, id := range several {
			list.text(id)
		}
		ids := [][]byte{list.finish(len(several))}
		b.ExecPrepared("rowbell_lock", ids, binaryFormat, nil)
		settle()
		for _, name := range []string{"rowbell_next", "rowbell_stop", "rowbell_close"} {
			b.ExecPrepared(name, ids, binaryFormat, nil)
		}
	}
	n := int64(-1)
	results := conn.PgConn().ExecBatch(ctx, b)
	for results.NextResult() {
		if rows := results.ResultReader().Read().Rows; len(rows) == 1 && len(rows[0]) == 1 && len(rows[0][0]) == 8 {
			n = int64(binary.BigEndian.Uint64(rows[0][0]))
		}
	}
	if err := results.Close(); err != nil {
		return 0, err
	}
	if n < 0 {
		return 0, errors.New("the statement returned no count")
	}
	return n, nil
}

// fill encodes the outcomes, and returns the executions that have several deliveries.
func (q *Queue) fill(outcomes []workflow.Outcome) (several []string) {
	for i := range q.cols {
		q.cols[i].reset(outcomeTypes[i].oid)
	}
	c := q.cols
	seen := make(map[string]bool)
	for i := range outcomes {
		o := &outcomes[i]
		if !o.Sole && !seen[o.ExecutionID] {
			seen[o.ExecutionID] = true
			several = append(several, o.ExecutionID)
		}
		c[0].text(o.ExecutionID)
		c[1].int2(o.Action)
		c[2].text(o.Recipient)
		c[3].bytes([]byte{verbChar(o.Verb)})
		c[4].bool(o.Tried)
		if o.Code != 0 {
			c[5].int2(int16(min(o.Code, 32767)))
		} else {
			c[5].null()
		}
		if o.Tried {
			c[6].int4(int32(min(o.Duration.Milliseconds(), 1<<31-1)))
			c[7].time(o.StartedAt)
		} else {
			c[6].null()
			c[7].null()
		}
		c[8].textOrNull(o.Reason)
		c[9].textOrNull(o.Response)
		c[10].int8(o.RetryIn.Milliseconds())
		c[11].textOrNull(o.Stop)
		c[12].int2(o.Attempts)
	}
	q.params = append(q.params[:0], []byte(q.process))
	for i := range c {
		q.params = append(q.params, c[i].finish(len(outcomes)))
	}
	return several
}

func verbChar(v workflow.Verb) byte {
	switch v {
	case workflow.Succeeded:
		return 's'
	case workflow.Dead:
		return 'd'
	case workflow.Cancel:
		return 'c'
	case workflow.Retry:
		if fault.On("forget_retry") {
			return 'c'
		}
		return 'r'
	case workflow.GiveBack:
		return 'g'
	case workflow.Written: // not to be written
	}
	return '?'
}

// addressSQL replaces a delivery by one for each recipient, under the same lease. Those
// who are left out have ended at once.
const addressSQL = `with gone as (
	delete from rowbell.queue where execution_id = $1 and action = $2 and recipient = '' and not addressed and lease_by = $4 returning *
), shares as (
	insert into rowbell.queue (committed_at, executed_at, ready_at, lease_until, version_ref, priority, "order", action, attempts, sole, addressed,
		execution_id, recipient, address, kind, lease_by, lane)
	select g.committed_at, g.executed_at, g.ready_at, clock_timestamp() + $5::interval, g.version_ref, g.priority, g."order", g.action, 0,
		g.sole and cardinality($3::text[]) + cardinality($7::text[]) = 1, true, g.execution_id, r.id, r.address::json, g.kind, g.lease_by, g.lane
	from gone g cross join unnest($3::text[], $6::text[]) r (id, address)
), left_out as (
	insert into rowbell.delivery_ended (execution_id, committed_at, ended_at, version_ref, "order", action, attempts, recipient, kind, status, reason, address)
	select g.execution_id, g.committed_at, clock_timestamp(), g.version_ref, g."order", g.action, 0, r.id, g.kind, 'cancelled', r.why, r.address::json
	from gone g cross join unnest($7::text[], $8::text[], $9::text[]) r (id, address, why)
), made as (
	insert into rowbell.execution_open (committed_at, executed_at, version_ref, priority, open, id)
	select committed_at, executed_at, version_ref, priority, cardinality($3::text[]), execution_id
	from gone where sole and cardinality($3::text[]) + cardinality($7::text[]) > 1
), more as (
	update rowbell.execution_open x set open = x.open + cardinality($3::text[]) - 1
	from gone g where not g.sole and x.id = g.execution_id
)
select count(*) from gone`

// Address replaces deliveries by one for each of their recipients, all or none. A
// delivery whose lease another process has taken is left alone: done says which were
// not.
func (q *Queue) Address(ctx context.Context, list []workflow.Addressing) (done []bool, err error) {
	what := fmt.Sprintf("address %d deliveries", len(list))
	conn, err := q.open(ctx)
	if err != nil {
		return nil, stateError(what, err)
	}
	b := &pgx.Batch{}
	for _, a := range list {
		ids, people := make([]string, len(a.People)), make([]string, len(a.People))
		for i := range a.People {
			ids[i], people[i] = a.People[i].ID, storable(string(a.People[i].JSON()))
		}
		leftIDs, left, why := make([]string, len(a.Left)), make([]string, len(a.Left)), make([]string, len(a.Left))
		for i := range a.Left {
			leftIDs[i], left[i], why[i] = a.Left[i].ID, storable(string(a.Left[i].JSON())), storable(a.Left[i].Why)
		}
		b.Queue(addressSQL, a.ExecutionID, a.Action, ids, q.process, q.lease, people, leftIDs, left, why).QueryRow(func(row pgx.Row) error {
			var n int
			err := row.Scan(&n)
			done = append(done, n == 1)
			return err
		})
	}
	if err := conn.SendBatch(ctx, b).Close(); err != nil {
		return nil, stateError(what, err)
	}
	return done, nil
}

// ReleaseBig lets deliveries begin that waited for the end of their transaction, at most
// limit of them, and returns how many it moved on.
func (q *Queue) ReleaseBig(ctx context.Context, limit int) (int, error) {
	const what = "release the deliveries of a big transaction"
	conn, err := q.open(ctx)
	if err != nil {
		return 0, stateError(what, err)
	}
	tag, err := conn.Exec(ctx, `with pick as materialized (
	select q.execution_id, q.action, q.recipient
	from rowbell.big_transaction b join rowbell.queue q on q.big_lsn = b.commit_lsn and q.big_stream = b.stream
	where b.status = 'released' limit $1 for update of q skip locked
)
update rowbell.queue q set big_lsn = null, big_stream = null,
	ready_at = case when q.ready_at = 'infinity' then clock_timestamp() else q.ready_at end
from pick p where q.execution_id = p.execution_id and q.action = p.action and q.recipient = p.recipient`, limit)
	if err != nil {
		return 0, stateError(what, err)
	}
	return int(tag.RowsAffected()), nil
}

// EventData reads the data of an event that was too big to come with a claim. Returns
// ErrNotFound if the event is gone.
func (s *State) EventData(ctx context.Context, e *workflow.Event) ([]byte, error) {
	var data []byte
	err := s.db.QueryRow(ctx, `select data from rowbell.event where event_id = $1 and committed_at = $2`, e.ID, e.CommittedAt).Scan(&data)
	if err != nil {
		return nil, stateError("read the data of event "+e.ID, err)
	}
	return data, nil
}

// VersionOf is the workflow version that a surrogate stands for. Returns ErrNotFound if
// there is none.
func (s *State) VersionOf(ctx context.Context, ref int32) (VersionRef, error) {
	var v VersionRef
	err := s.db.QueryRow(ctx, `select id, version from rowbell.surrogate where ref = $1 and kind = 'workflow'`, ref).Scan(&v.ID, &v.Version)
	if err != nil {
		return v, stateError(fmt.Sprintf("read which workflow version number %d is", ref), err)
	}
	return v, nil
}

// applied are the versions of these workflows that count at the checkpoint, by workflow. One
// that was deleted is missing.
func (s *State) applied(ctx context.Context, workflowIDs []string) (map[string]int32, error) {
	const what = "read which versions of workflows apply"
	rows, err := s.db.Query(ctx, `select a.id, max(a.version) from rowbell.checkpoint c
join rowbell.applied a on a.slot = c.slot and a.kind = 'workflow' and a.id = any ($1) group by a.id`, workflowIDs)
	if err != nil {
		return nil, stateError(what, err)
	}
	versions := make(map[string]int32)
	var id string
	var version int32
	if _, err := pgx.ForEachRow(rows, []any{&id, &version}, func() error { versions[id] = version; return nil }); err != nil {
		return nil, stateError(what, err)
	}
	return versions, nil
}

// Fired is the execution for which a workflow that fires once per row has fired, for the
// row of an event. Returns ErrNotFound if there is none.
func (s *State) Fired(ctx context.Context, workflowID string, e *workflow.Event) (executionID string, err error) {
	err = s.db.QueryRow(ctx, `select execution_id from rowbell.fired where workflow_id = $1 and table_label = $2 and row_key = $3`,
		workflowID, e.Table, storable(e.RowKey)).Scan(&executionID)
	if err != nil {
		return "", stateError(fmt.Sprintf("read whether workflow %s has fired for %s %s", workflowID, e.Table, storable(e.RowKey)), err)
	}
	return executionID, nil
}

// QueuedWorkflows are the ids of all workflows that have deliveries in the queue. It
// reads all of the queue.
func (s *State) QueuedWorkflows(ctx context.Context) ([]string, error) {
	const what = "read whose deliveries are in the queue"
	rows, err := s.db.Query(ctx, `select distinct id from rowbell.surrogate where ref in (select distinct version_ref from rowbell.queue)`)
	if err != nil {
		return nil, stateError(what, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, stateError(what, err)
	}
	return ids, nil
}

// Notify puts a notification into its recipient's inbox. A delivery that is there
// already is left as it is.
func (s *State) Notify(ctx context.Context, n workflow.Notification) error {
	_, err := s.db.Exec(ctx, `insert into rowbell.notification (id, tenant_id, recipient_id, delivery_id, title, body, link)
values ($1, nullif($2, ''), $3, $4, $5, $6, nullif($7, '')) on conflict (delivery_id) do nothing`,
		ulid.Make().String(), n.TenantID, n.RecipientID, n.DeliveryID, n.Title, n.Body, n.Link)
	if err != nil {
		return stateError("put a notification into the inbox", err)
	}
	return nil
}
