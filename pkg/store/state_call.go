package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/rowbell/rowbell/pkg/fault"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// RefusedState is the SQLSTATE by which a function says that no other try can help.
const RefusedState = "RB001"

const (
	// longestLock is how long a called function waits for a lock of the application's.
	longestLock = 2 * time.Second
	// longestSettle is how long the outcome may take to be written after it.
	longestSettle = 10 * time.Second
	// callTries is how often a call is made that the server broke off for the sake of
	// another transaction: a deadlock, or one that could not be put in a row.
	callTries = 3
)

// callConn is the connection on which functions of the application run: unlike the
// queue's, it has the planner's settings as the server gives them.
type callConn struct {
	conn     *pgx.Conn
	prepared bool
}

func (c *callConn) close(ctx context.Context) error {
	if c.conn == nil {
		return nil
	}
	conn := c.conn
	c.conn, c.prepared = nil, false
	return conn.Close(ctx)
}

func (c *callConn) open(ctx context.Context, s *State) (*pgx.Conn, error) {
	if c.conn == nil || c.conn.IsClosed() {
		pooled, err := s.acquire(ctx)
		if err != nil {
			return nil, err
		}
		c.conn, c.prepared = pooled.Hijack(), false
		if _, err := c.conn.Exec(ctx, `select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'`); err != nil {
			return nil, errors.Join(err, c.close(ctx))
		}
	}
	if c.prepared {
		return c.conn, nil
	}
	for name, sql := range map[string]string{
		"rowbell_call_settle": callSettleSQL, "rowbell_lock": lockOpenSQL, "rowbell_next": nextOrderSQL, "rowbell_stop": stopSQL, "rowbell_close": closeSQL,
	} {
		if _, err := c.conn.PgConn().Prepare(ctx, name, sql, nil); err != nil {
			return nil, errors.Join(err, c.close(ctx))
		}
	}
	c.prepared = true
	return c.conn, nil
}

const (
	// callLimitsSQL bounds what comes after it in the transaction.
	callLimitsSQL = `select set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true)`

	// callChainSQL says in the WAL, as rowbell.set_chain does, what the function's changes
	// come of: a workflow that they set off again is stopped after a while.
	callChainSQL = `select pg_logical_emit_message(true, 'rowbell.chain', $1::text) where $1::text is not null`

	// callSQL calls a function if the delivery is the process's, and keeps it so: nobody
	// else can take a row that is locked. What the function returns goes by a setting of
	// the transaction to where it is written, since nothing here waits for this process.
	callSQL = `with held as materialized (
	select from rowbell.queue q where q.execution_id = $1::text and q.action = $2::int2 and q.recipient = $3::text
	and q.lease_by = $4::text and q.lease_until is not null and q.attempts = $5::int2 for update
)
select set_config('rowbell.result', coalesce(left(c.result::text, 1024), ''), true) from (
	select %s($6::text, $7::jsonb) as result from held offset 0
) c`

	// callPlanSQL says of what settles what Queue.open says of the whole connection.
	callPlanSQL = `select set_config('statement_timeout', $1, true), set_config('lock_timeout', '0', true), set_config('plan_cache_mode', 'force_generic_plan', true),
	set_config('jit', 'off', true), set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`

	// callSettleSQL is settleSQL with what the function returned, and how long it took.
	callSettleSQL = `with o as materialized (
	select o.id, o.action, o.recipient, o.verb, o.tried, o.code, (extract(epoch from clock_timestamp() - now()) * 1000)::int4 as ms, o.started_at, o.reason,
		nullif(current_setting('rowbell.result', true), '') as response, o.retry_ms, o.stop, o.attempts
	from ` + outcomesSQL + `
` + settleOutcomesSQL
)

// registered is a function of rowbell.function.
type registered struct {
	function string // schema and name, quoted
	timeout  time.Duration
}

// Call calls a registered function, and writes that the delivery succeeded, in one
// transaction that never waits for this process. It returns the start of what the
// function returned. Returns ErrConflict if another process has the delivery's lease, and
// a *workflow.CallError if the server refused something; then nothing has happened. After
// an error of the connection the transaction may have committed: then the delivery is not
// in the queue any more, and no outcome of it changes anything.
func (q *Queue) Call(ctx context.Context, l *workflow.Leased, c workflow.FunctionCall) (response string, err error) {
	what := "call function " + c.Function
	for try := 1; ; try++ {
		response, err = q.callOnce(ctx, l, c)
		var pg *pgconn.PgError
		if try == callTries || !errors.As(err, &pg) || pg.Code != "40001" && pg.Code != "40P01" {
			break
		}
		select {
		case <-time.After(10*time.Millisecond + rand.N(40*time.Millisecond)):
		case <-ctx.Done():
		}
	}
	var pg *pgconn.PgError
	switch failed := (*workflow.CallError)(nil); {
	case err == nil || errors.As(err, &failed) || errors.Is(err, workflow.ErrConflict):
		return response, err
	case errors.As(err, &pg):
		return "", &workflow.CallError{Permanent: permanent(pg.Code), Err: fmt.Errorf("%s: %s", what, callText(pg))}
	}
	return "", stateError(what, err)
}

// permanent says of a SQLSTATE that the same call would fail again: the function said so,
// or its tables don't take what this event has (PostgreSQL manual, appendix A: class 22
// data exception, 23 integrity constraint violation).
func permanent(code string) bool {
	return code == RefusedState || strings.HasPrefix(code, "22") || strings.HasPrefix(code, "23")
}

// callText is what may be shown of an error inside a function: not its detail, which
// quotes rows, nor its context, which is code.
func callText(pg *pgconn.PgError) string {
	s := cmp.Or(pg.Message, "it failed")
	if pg.Code != RefusedState {
		s = fmt.Sprintf("%s (SQLSTATE %s)", s, pg.Code)
	}
	if pg.Hint != "" {
		s += "; " + pg.Hint
	}
	switch pg.Code {
	case "57014":
		s += "; it took longer than its timeout in rowbell.function"
	case "55P03":
		s += fmt.Sprintf("; it waited %s for a lock", longestLock)
	case "42501":
		s += "; the worker's role needs the right: rowbell check has the GRANT"
	}
	const most = 1000
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return storable(s)
}

func (q *Queue) callOnce(ctx context.Context, l *workflow.Leased, c workflow.FunctionCall) (string, error) {
	conn, err := q.calls.open(ctx, q.state)
	if err != nil {
		return "", err
	}
	f, err := q.registered(ctx, conn, c)
	if err != nil {
		return "", err
	}
	settle := q.fill([]workflow.Outcome{{Leased: l, Verb: workflow.Succeeded, Tried: true, StartedAt: time.Now()}})
	ms := func(d time.Duration) []byte { return []byte(strconv.FormatInt(d.Milliseconds(), 10)) }
	b := &pgconn.Batch{}
	b.ExecParams(callLimitsSQL, [][]byte{ms(f.timeout), ms(min(longestLock, f.timeout))}, nil, nil, nil)
	b.ExecParams(callChainSQL, [][]byte{c.Chain}, nil, nil, nil)
	b.ExecParams(fmt.Sprintf(callSQL, f.function), [][]byte{
		[]byte(l.ExecutionID), []byte(strconv.Itoa(int(l.Action))), []byte(l.Recipient), []byte(q.process), []byte(strconv.Itoa(int(l.Attempts))),
		[]byte(c.Key), c.Payload,
	}, nil, nil, nil)
	const called, settled = 2, 4
	at := settled
	parts := []*pgconn.Batch{b}
	if fault.On("call_in_own_transaction") {
		b = &pgconn.Batch{}
		parts = append(parts, b)
	}
	b.ExecParams(callPlanSQL, [][]byte{ms(longestSettle)}, nil, nil, nil)
	binaryFormat := []int16{pgtype.BinaryFormatCode}
	var ids [][]byte
	if len(settle) > 0 {
		var list array
		list.reset(pgtype.TextOID)
		list.text(l.ExecutionID)
		ids = [][]byte{list.finish(1)}
		b.ExecPrepared("rowbell_lock", ids, binaryFormat, nil)
		at++
	}
	b.ExecPrepared("rowbell_call_settle", q.params, binaryFormat, binaryFormat)
	if len(settle) > 0 {
		for _, name := range []string{"rowbell_next", "rowbell_stop", "rowbell_close"} {
			b.ExecPrepared(name, ids, binaryFormat, nil)
		}
	}
	response, ran, n, i := "", false, int64(0), 0
	for k, part := range parts {
		if k > 0 { // only of the planted mistake are there two: it shows where a worker ends in between
			time.Sleep(5 * time.Millisecond)
		}
		results := conn.PgConn().ExecBatch(ctx, part)
		for ; results.NextResult(); i++ {
			rows := results.ResultReader().Read().Rows
			if len(rows) != 1 || len(rows[0]) != 1 {
				continue
			}
			switch i {
			case called:
				response, ran = string(rows[0][0]), true
			case at:
				n = int64(binary.BigEndian.Uint64(rows[0][0]))
			}
		}
		if err := results.Close(); err != nil {
			return "", err
		}
	}
	if !ran || n != 1 {
		return "", conflict("delivery %s is another process's by now", l.ID())
	}
	return response, nil
}

// registered looks a function up.
func (q *Queue) registered(ctx context.Context, conn *pgx.Conn, c workflow.FunctionCall) (registered, error) {
	var f registered
	var ms int64
	err := conn.QueryRow(ctx, `select function, (extract(epoch from timeout) * 1000)::int8 from rowbell.function
where name = $1 and coalesce(tenant_id, $2) = $2 order by tenant_id nulls last limit 1`, c.Function, c.TenantID).Scan(&f.function, &ms)
	if errors.Is(err, pgx.ErrNoRows) {
		whose := "operators' workflows"
		if c.TenantID != "" {
			whose = "tenant " + c.TenantID
		}
		return f, &workflow.CallError{Err: fmt.Errorf("function %s is not registered for %s; an operator can do so: SELECT rowbell.register_function('%s', 'schema.function(text,jsonb)'); the next attempt finds it", c.Function, whose, c.Function)}
	}
	f.timeout = time.Duration(ms) * time.Millisecond
	return f, err
}
