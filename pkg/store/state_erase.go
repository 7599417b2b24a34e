package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Erased is the proof of what was erased: what was done to each table, and what a look at
// it afterwards found.
type Erased struct {
	Tables []ErasedTable `json:"tables"` // in the order in which they were come to
	// Mentions are rows whose events still have the person in them: what to erase besides.
	Mentions []Mention `json:"mentions,omitempty"`
	// Cancelled counts deliveries that were still to be made.
	Cancelled int64 `json:"cancelled"`
}

// ErasedTable is one table's part in it.
type ErasedTable struct {
	Table   string `json:"table"`
	Deleted int64  `json:"deleted"` // rows that are gone
	Emptied int64  `json:"emptied"` // rows that stay without what was to be erased
	Left    int64  `json:"left"`    // rows that still have it
}

// Mention is a row whose events have the person in them.
type Mention struct {
	Table  string `json:"table"`
	RowKey string `json:"row_key"`
	Events int64  `json:"events"`
}

// Left is how many rows still have what was to be erased.
func (e *Erased) Left() int64 {
	var n int64
	for _, t := range e.Tables {
		n += t.Left
	}
	return n
}

// Counts are what audit_log keeps: table → rows.
func (e *Erased) Counts() map[string]any {
	counts := make(map[string]any, len(e.Tables))
	for _, t := range e.Tables {
		if t.Deleted+t.Emptied+t.Left == 0 {
			continue
		}
		counts[t.Table] = map[string]int64{"deleted": t.Deleted, "emptied": t.Emptied, "left": t.Left}
	}
	return counts
}

func (e *Erased) table(name string) *ErasedTable {
	for i := range e.Tables {
		if e.Tables[i].Table == name {
			return &e.Tables[i]
		}
	}
	e.Tables = append(e.Tables, ErasedTable{Table: name})
	return &e.Tables[len(e.Tables)-1]
}

// Join adds what was erased elsewhere.
func (e *Erased) Join(o *Erased) {
	for _, t := range o.Tables {
		into := e.table(t.Table)
		into.Deleted, into.Emptied, into.Left = into.Deleted+t.Deleted, into.Emptied+t.Emptied, into.Left+t.Left
	}
	e.Mentions, e.Cancelled = append(e.Mentions, o.Mentions...), e.Cancelled+o.Cancelled
}

// erasedText stands where something was erased.
const erasedText = "erased"

// clocks is by how much those of source and state may differ.
const clocks = time.Minute

// Sizes of what one transaction of an erasure takes.
const (
	eraseEvents   = 200  // events, with all that hangs on them
	erasePages    = 1000 // pages of 8 kB
	eraseRows     = 1000
	eraseMentions = 20
)

// Eraser erases from state, in transactions that are small, so that it may be interrupted
// and repeated at any time. While it is open nobody makes, moves or drops partitions.
// It belongs to one goroutine. Close it.
type Eraser struct {
	conn  *pgx.Conn
	queue *Queue
	tell  func(string)
	told  time.Time // when it last told of progress

	Erased Erased
}

// Eraser makes an eraser for a process, under whose name deliveries are cancelled. tell is
// told now and then how far it is; it may be nil.
func (s *State) Eraser(ctx context.Context, process string, lease time.Duration, tell func(string)) (*Eraser, error) {
	pooled, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, stateError("connect to erase", err)
	}
	if tell == nil {
		tell = func(string) {}
	}
	e := &Eraser{conn: pooled.Hijack(), queue: s.Queue(process, lease), tell: tell}
	// What moves from a day's partition to the default one would not be found in either.
	_, err = e.conn.Exec(ctx, fmt.Sprintf(`set jit = off; select pg_advisory_lock(%d)`, maintenanceLock))
	if err != nil {
		return nil, errors.Join(stateError("wait for a process that maintains partitions", err), e.Close(ctx))
	}
	return e, nil
}

// progress tells how far it is, now and then.
func (e *Eraser) progress(format string, args ...any) {
	const each = 5 * time.Second
	if e.told.IsZero() {
		e.told = time.Now()
	}
	if time.Since(e.told) > each {
		e.told = time.Now()
		e.tell(fmt.Sprintf(format, args...))
	}
}

// Close ends its connections.
func (e *Eraser) Close(ctx context.Context) error {
	return errors.Join(e.queue.Close(ctx), e.conn.Close(ctx))
}

// eraseError says in which table it was.
func eraseError(table string, err error) error {
	return stateError("erase from rowbell."+table, err)
}

// tx runs f in a transaction that waits for locks for 2 s at most.
func (e *Eraser) tx(ctx context.Context, f func(pgx.Tx) error) error {
	return maintenance{e.conn}.tx(ctx, f)
}

// exec does sql until it changes fewer than eraseRows rows, each time in a transaction of
// its own, and counts. sql ends in a limit of eraseRows, or takes all at once.
func (e *Eraser) exec(ctx context.Context, table string, emptied bool, sql string, args ...any) error {
	for {
		var n int64
		err := e.tx(ctx, func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, sql, args...)
			n = tag.RowsAffected()
			return err
		})
		if err != nil {
			return eraseError(table, err)
		}
		e.count(table, emptied, n)
		if n < eraseRows || !strings.Contains(sql, " limit ") {
			return nil
		}
	}
}

func (e *Eraser) count(table string, emptied bool, n int64) {
	t := e.Erased.table(table)
	if emptied {
		t.Emptied += n
	} else {
		t.Deleted += n
	}
}

// left counts rows afterwards.
func (e *Eraser) left(ctx context.Context, table, sql string, args ...any) error {
	var n int64
	if err := e.conn.QueryRow(ctx, sql, args...).Scan(&n); err != nil {
		return eraseError(table, err)
	}
	e.Erased.table(table).Left += n
	return nil
}

// partitions are the tables of a partitioned one.
func (e *Eraser) partitions(ctx context.Context, table string) ([]string, error) {
	rows, err := e.conn.Query(ctx, `select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = to_regclass('rowbell.' || $1) order by c.relname`, table)
	if err != nil {
		return nil, eraseError(table, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, eraseError(table, err)
	}
	return list, nil
}

// pages goes through a table from end to end, in transactions of erasePages pages: for what
// no index finds. f is given a condition on t.ctid.
func (e *Eraser) pages(ctx context.Context, table string, f func(tx pgx.Tx, here string) error) error {
	name := pgx.Identifier{"rowbell", table}.Sanitize()
	var pages int64
	err := e.conn.QueryRow(ctx, `select (pg_relation_size($1::text::regclass) + 8191) / 8192`, name).Scan(&pages)
	if err != nil {
		return eraseError(table, err)
	}
	begun := time.Now()
	for from := int64(0); from < pages; from += erasePages {
		here := fmt.Sprintf("t.ctid >= '(%d,0)'::tid and t.ctid < '(%d,0)'::tid", from, from+erasePages)
		if from+erasePages >= pages {
			here = fmt.Sprintf("t.ctid >= '(%d,0)'::tid", from) // and what has been added since
		}
		if err := e.tx(ctx, func(tx pgx.Tx) error { return f(tx, here) }); err != nil {
			return eraseError(table, err)
		}
		if done := from + erasePages; done < pages {
			left := time.Duration(float64(time.Since(begun)) / float64(done) * float64(pages-done)).Round(time.Second)
			e.progress("%s: %d of %d MB looked through, about %s to go", table, done/128, pages/128, left)
		}
	}
	return nil
}

// everyPage is pages of all partitions of a table.
func (e *Eraser) everyPage(ctx context.Context, table string, f func(tx pgx.Tx, partition, here string) error) error {
	list, err := e.partitions(ctx, table)
	if err != nil {
		return err
	}
	for _, p := range list {
		if err := e.pages(ctx, p, func(tx pgx.Tx, here string) error { return f(tx, pgx.Identifier{"rowbell", p}.Sanitize(), here) }); err != nil {
			return err
		}
	}
	return nil
}

// take leases deliveries that are chosen by what follows "from rowbell.queue q", whoever has
// them, so that they can be cancelled.
func (q *Queue) take(ctx context.Context, chosen string, args ...any) ([]*workflow.Leased, error) {
	conn, err := q.open(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, fmt.Sprintf(`with pick as materialized (
	select q.execution_id, q.action, q.recipient from rowbell.queue q %s limit %d for update of q
)
update rowbell.queue q set lease_until = clock_timestamp() + $1::interval, lease_by = $2
from pick p where q.execution_id = p.execution_id and q.action = p.action and q.recipient = p.recipient
returning q.execution_id, q.action, q.recipient, q.version_ref, q.kind, q."order", q.attempts, q.sole`, chosen, eraseRows),
		append([]any{q.lease, q.process}, args...)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*workflow.Leased, error) {
		l := &workflow.Leased{Addressed: true}
		return l, row.Scan(&l.ExecutionID, &l.Action, &l.Recipient, &l.VersionRef, &l.Kind, &l.Order, &l.Attempts, &l.Sole)
	})
}

// cancel ends deliveries that are in the queue, also those that a process has just now: it
// finds its lease gone. An attempt that runs may still arrive.
func (e *Eraser) cancel(ctx context.Context, chosen string, args ...any) error {
	for {
		list, err := e.queue.take(ctx, chosen, args...)
		if err != nil {
			return eraseError("queue", err)
		}
		if len(list) == 0 {
			return nil
		}
		outcomes := make([]workflow.Outcome, len(list))
		for i, l := range list {
			outcomes[i] = workflow.Outcome{Leased: l, Verb: workflow.Cancel, Reason: erasedText}
		}
		lost, err := e.queue.Settle(ctx, outcomes)
		if err != nil {
			return err
		}
		e.Erased.Cancelled += int64(len(list) - lost)
	}
}

// foundEvent names an event.
type foundEvent struct {
	ID string
	At time.Time
}

// findRowSQL finds events of a row by the index of their keys.
const findRowSQL = `select e.event_id, e.committed_at from rowbell.event e
where e.row_key = $1 and e.table_ref in (select ref from rowbell.surrogate where kind = 'table' and id = $2) and ($3::text is null or coalesce(e.tenant_id, '') = $3)
order by e.event_id limit `

// EraseRow erases all that the log has of one row of a table, whose key is written as the
// log has it: its events, and of their executions all but that they were, and how they
// ended. tenantID nil: of all tenants. before is called with the ids of events before they
// are erased, and may be called again with the same.
func (e *Eraser) EraseRow(ctx context.Context, table, key string, tenantID *string, before func(ctx context.Context, eventIDs []string) error) error {
	e.tell("looking for events of the row by its key")
	var done []string
	var first time.Time
	workflows := make(map[string]bool)
	tenants := make(map[string]bool)
	for {
		rows, err := e.conn.Query(ctx, findRowSQL+fmt.Sprint(eraseEvents), key, table, tenantID)
		if err != nil {
			return eraseError("event", err)
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[foundEvent])
		if err != nil {
			return eraseError("event", err)
		}
		if len(list) == 0 {
			break
		}
		for _, f := range list {
			if first.IsZero() || f.At.Before(first) {
				first = f.At
			}
			done = append(done, f.ID)
		}
		if err := before(ctx, done[len(done)-len(list):]); err != nil {
			return err
		}
		if err := e.events(ctx, list, workflows, tenants); err != nil {
			return err
		}
		e.progress("%d events are erased", len(done))
	}
	// Without it a workflow that fires once per row fires again, if the row changes again.
	err := e.exec(ctx, "fired", false, `delete from rowbell.fired f using (select distinct id from rowbell.surrogate where kind = 'workflow' and ($3::text is null or coalesce(tenant_id, '') in ('', $3))) w
where f.workflow_id = w.id and f.table_label = $2 and f.row_key = $1`, key, table, tenantID)
	if err != nil {
		return err
	}
	err = e.exec(ctx, "saved_view", false, `delete from rowbell.saved_view t where `+rowsView, key, table, tenantID)
	if err != nil {
		return err
	}
	if err := e.quotations(ctx, keysOf(workflows), keysOf(tenants), first); err != nil {
		return err
	}
	return e.rowLeft(ctx, table, key, tenantID, done)
}

// rowsView is a view of what became of a row; without a table, of all that have its key.
const rowsView = `t.filter ->> 'row_key' = $1 and coalesce(t.filter ->> 'table', $2) in ($2, 'public.' || $2) and ($3::text is null or t.tenant_id in ('', $3))`

func keysOf(m map[string]bool) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// ofEventsSQL joins what has an execution's id to events $1, $2. %[1]s is that column.
const ofEventsSQL = `unnest($1::text[], $2::timestamptz[]) as e (id, at) where %[1]s >= e.id || '-' and %[1]s < e.id || '.'`

// eventsSQL erases what hangs on events. What is told apart by recipients goes whole, since
// they may come from the row.
var eventsSQL = []struct {
	table   string
	emptied bool
	sql     string
}{
	{"attempt", false, `delete from rowbell.attempt t using ` + fmt.Sprintf(ofEventsSQL, "t.execution_id") + ` and t.committed_at = e.at`},
	{"delivery_ended", false, `delete from rowbell.delivery_ended t using ` + fmt.Sprintf(ofEventsSQL, "t.execution_id") + ` and t.committed_at = e.at`},
	{"notification", false, `delete from rowbell.notification t using ` + fmt.Sprintf(ofEventsSQL, "t.delivery_id") + ` and $2::timestamptz[] is not null`},
	{"replay_item", false, `delete from rowbell.replay_item t using ` + fmt.Sprintf(ofEventsSQL, "t.id") + ` and t.committed_at = e.at`},
	{"execution", true, `update rowbell.execution t set error = case when t.error is not null then '` + erasedText + `' end, result = null, recipient = null, address = null from ` +
		fmt.Sprintf(ofEventsSQL, "t.id") + ` and t.committed_at = e.at`},
	{"execution_open", true, `update rowbell.execution_open t set error = case when t.error is not null then '` + erasedText + `' end, result = null, stop = case when t.stop is not null then '` + erasedText + `' end from ` +
		fmt.Sprintf(ofEventsSQL, "t.id") + ` and t.committed_at = e.at`},
	{"event", false, `delete from rowbell.event t using unnest($1::text[], $2::timestamptz[]) as e (id, at) where t.event_id = e.id and t.committed_at = e.at`},
}

// events erases events with all that hangs on them, and notes whose executions they had.
func (e *Eraser) events(ctx context.Context, list []foundEvent, workflows, tenants map[string]bool) error {
	ids, at := make([]string, len(list)), make([]time.Time, len(list))
	for i, f := range list {
		ids[i], at[i] = f.ID, f.At
	}
	if err := e.cancel(ctx, `join unnest($3::text[]) as e (id) on q.execution_id >= e.id || '-' and q.execution_id < e.id || '.'`, ids); err != nil {
		return err
	}
	return e.tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select distinct v.id, coalesce(v.tenant_id, '') from rowbell.surrogate v where v.ref in (
	select t.version_ref from rowbell.execution t, `+fmt.Sprintf(ofEventsSQL, "t.id")+` and t.committed_at = e.at)`, ids, at)
		if err != nil {
			return eraseError("surrogate", err)
		}
		var id, tenant string
		if _, err := pgx.ForEachRow(rows, []any{&id, &tenant}, func() error { workflows[id], tenants[tenant] = true, true; return nil }); err != nil {
			return eraseError("surrogate", err)
		}
		for _, s := range eventsSQL {
			tag, err := tx.Exec(ctx, s.sql, ids, at)
			if err != nil {
				return eraseError(s.table, err)
			}
			e.count(s.table, s.emptied, tag.RowsAffected())
		}
		return nil
	})
}

// quotations erases where errors are quoted: what owners were told of these workflows, what was
// dismissed of their failures, and the last error of these tenants' destinations, since the
// first of what was erased.
func (e *Eraser) quotations(ctx context.Context, workflowIDs, tenantIDs []string, first time.Time) error {
	if len(workflowIDs) == 0 {
		return nil
	}
	first = first.Add(-clocks)
	const about = `(a.workflow_id = any ($1) or a.kind = 'endpoint' and coalesce(a.tenant_id, '') = any ($2)) and a.at >= $3`
	err := e.exec(ctx, "notification", false, `delete from rowbell.notification n using rowbell.alert a
where `+about+` and n.delivery_id >= 'alert:' || a.key || ':' and n.delivery_id < 'alert:' || a.key || ';'`, workflowIDs, tenantIDs, first)
	if err != nil {
		return err
	}
	err = e.exec(ctx, "alert", true, `update rowbell.alert a set body = '`+erasedText+`', error = case when a.error is not null then '`+erasedText+`' end
where `+about+` and (a.body <> '`+erasedText+`' or a.error <> '`+erasedText+`')`, workflowIDs, tenantIDs, first)
	if err != nil {
		return err
	}
	err = e.exec(ctx, "dismissal", false, `delete from rowbell.dismissal d where d.workflow_id = any ($1) and d.dismissed_at >= $2`, workflowIDs, first)
	if err != nil {
		return err
	}
	return e.exec(ctx, "destination", true, `update rowbell.destination d set last_error = '`+erasedText+`'
where coalesce(d.tenant_id, '') = any ($1) and d.last_error_at >= $2 and d.last_error <> '`+erasedText+`'`, tenantIDs, first)
}

// rowLeft looks whether anything of a row is left.
func (e *Eraser) rowLeft(ctx context.Context, table, key string, tenantID *string, ids []string) error {
	if err := e.left(ctx, "event", `select count(*) from (`+findRowSQL+`1000000) l`, key, table, tenantID); err != nil {
		return err
	}
	err := e.left(ctx, "fired", `select count(*) from rowbell.fired f join (select distinct id from rowbell.surrogate where kind = 'workflow' and ($3::text is null or coalesce(tenant_id, '') in ('', $3))) w
on f.workflow_id = w.id where f.table_label = $2 and f.row_key = $1`, key, table, tenantID)
	if err != nil {
		return err
	}
	if err := e.left(ctx, "saved_view", `select count(*) from rowbell.saved_view t where `+rowsView, key, table, tenantID); err != nil {
		return err
	}
	for part := range slices.Chunk(ids, 10*eraseEvents) {
		for name, column := range map[string]string{
			"attempt": "t.execution_id", "delivery_ended": "t.execution_id", "notification": "t.delivery_id", "replay_item": "t.id", "queue": "t.execution_id",
		} {
			err := e.left(ctx, name, `select count(*) from rowbell.`+name+` t, unnest($1::text[]) as e (id) where `+column+` >= e.id || '-' and `+column+` < e.id || '.'`, part)
			if err != nil {
				return err
			}
		}
		err := e.left(ctx, "execution", `select count(*) from rowbell.execution t, unnest($1::text[]) as e (id) where t.id >= e.id || '-' and t.id < e.id || '.'
and (t.result is not null or t.recipient is not null or t.address is not null or t.error <> '`+erasedText+`')`, part)
		if err != nil {
			return err
		}
	}
	return nil
}

// Person names somebody whose data is to be erased.
type Person struct {
	IDs      []string // by which deliveries, inbox and preferences know them: their id, and addresses
	TenantID *string  // nil: whatever the tenant
	// Token stands for them from now on, where a row needs something. It is nobody's.
	Token string
}

// personOf is the condition that a row with execution_id, committed_at and version_ref is of
// the person's tenant: that of the workflow, and for an operators' workflow that of the
// row. $2 is the tenant. %[1]s is the column with the execution's id.
const personOf = `($2::text is null or exists (
	select from rowbell.surrogate v where v.ref = t.version_ref and (coalesce(v.tenant_id, '') = $2 or v.tenant_id is null and exists (
		select from rowbell.event ev where ev.event_id = left(%[1]s, 26) and ev.committed_at = t.committed_at and coalesce(ev.tenant_id, '') = $2))))`

// attempts have no version; they are those of the tenant whose executions are.
const attemptOf = `($2::text is null or exists (
	select from rowbell.surrogate v where v.ref = split_part(substr(t.execution_id, 28), '-', 1)::int4 and (coalesce(v.tenant_id, '') = $2 or v.tenant_id is null and exists (
		select from rowbell.event ev where ev.event_id = left(t.execution_id, 26) and ev.committed_at = t.committed_at and coalesce(ev.tenant_id, '') = $2))))`

// ErasePerson erases what the log has of somebody: deliveries to them stay as facts without
// whom they were to, and changes without who made them. What is still to be delivered to
// them is cancelled.
func (e *Eraser) ErasePerson(ctx context.Context, p Person) error {
	queued := strings.ReplaceAll(strings.ReplaceAll(fmt.Sprintf(personOf, "t.execution_id"), "$2", "$4"), "t.", "q.")
	if err := e.cancel(ctx, `where q.recipient = any ($3) and `+queued, p.IDs, p.TenantID); err != nil {
		return err
	}
	for _, table := range []string{"preference", "quiet_hours"} {
		err := e.exec(ctx, table, false, `delete from rowbell.`+table+` t where t.recipient_id = any ($1) and ($2::text is null or t.tenant_id = $2)`, p.IDs, p.TenantID)
		if err != nil {
			return err
		}
	}
	if err := e.exec(ctx, "saved_view", false, `delete from rowbell.saved_view t where `+personsView, p.IDs, p.TenantID); err != nil {
		return err
	}
	err := e.exec(ctx, "notification", false, fmt.Sprintf(`delete from rowbell.notification where id in (
	select id from rowbell.notification t where t.recipient_id = any ($1) and ($2::text is null or coalesce(t.tenant_id, '') in ('', $2)) limit %d)`, eraseRows), p.IDs, p.TenantID)
	if err != nil {
		return err
	}
	err = e.exec(ctx, "alert", true, `update rowbell.alert a set
	told = array(select case when substr(x, strpos(x, ':') + 1) = any ($1) then left(x, strpos(x, ':')) || $3 else x end from unnest(a.told) x),
	error = case when exists (select from unnest($1) i where position(i in a.error) > 0) then '`+erasedText+`' else a.error end
where ($2::text is null or coalesce(a.tenant_id, '') in ('', $2))
and (exists (select from unnest(a.told) x where substr(x, strpos(x, ':') + 1) = any ($1)) or exists (select from unnest($1) i where position(i in a.error) > 0))`, p.IDs, p.TenantID, p.Token)
	if err != nil {
		return err
	}
	if err := e.personsAddresses(ctx, p); err != nil {
		return err
	}
	if err := e.personsDeliveries(ctx, p); err != nil {
		return err
	}
	if err := e.personsEvents(ctx, p); err != nil {
		return err
	}
	return e.personLeft(ctx, p)
}

// addresses are patterns that find those of the person's ids in texts that are addresses.
// Other ids may be words or numbers that stand for something else there.
func (p *Person) addresses() []string {
	list := []string{}
	for _, id := range p.IDs {
		if strings.Contains(id, "@") {
			list = append(list, `(^|[^[:alnum:]_.+@-])`+regexp.QuoteMeta(id)+`($|[^[:alnum:]_.@-]|\.($|[^[:alnum:]]))`)
		}
	}
	return list
}

// personsView is a view that somebody has saved who has come by a link, or of what somebody was
// told.
const personsView = `($2::text is null or t.tenant_id in ('', $2)) and (t.filter ->> 'recipient' = any ($1) or t.owner like 'link:%' and substr(t.owner, 6) = any ($1))`

// Texts that may hold an address, $1 being patterns and $2 the tenant.
const (
	addressedNotification = `($2::text is null or coalesce(t.tenant_id, '') in ('', $2)) and exists (select from unnest($1::text[]) p where concat_ws(' ', t.title, t.body, t.link) ~ p)`
	addressedAlert        = `($2::text is null or coalesce(t.tenant_id, '') in ('', $2)) and exists (select from unnest($1::text[]) p where concat_ws(' ', t.subject, t.body) ~ p)`
	addressedDismissal    = `($2::text is null or t.tenant_id in ('', $2)) and exists (select from unnest($1::text[]) p where concat_ws(' ', t.cause, t.note) ~ p)`
)

// personsAddresses erases where somebody's address stands in what others were told.
func (e *Eraser) personsAddresses(ctx context.Context, p Person) error {
	patterns := p.addresses()
	if len(patterns) == 0 {
		return nil
	}
	err := e.exec(ctx, "alert", true, `update rowbell.alert t set subject = '`+erasedText+`', body = '`+erasedText+`' where `+addressedAlert, patterns, p.TenantID)
	if err != nil {
		return err
	}
	if err := e.exec(ctx, "dismissal", false, `delete from rowbell.dismissal t where `+addressedDismissal, patterns, p.TenantID); err != nil {
		return err
	}
	return e.pages(ctx, "notification", func(tx pgx.Tx, here string) error {
		tag, err := tx.Exec(ctx, `delete from rowbell.notification t where `+here+` and `+addressedNotification, patterns, p.TenantID)
		e.count("notification", false, tag.RowsAffected())
		return err
	})
}

// personsDeliveries takes somebody out of what has ended.
func (e *Eraser) personsDeliveries(ctx context.Context, p Person) error {
	err := e.everyPage(ctx, "execution", func(tx pgx.Tx, partition, here string) error {
		tag, err := tx.Exec(ctx, `update `+partition+` t set recipient = $3, address = null, result = null, error = case when t.error is not null then '`+erasedText+`' end
where `+here+` and t.recipient = any ($1) and `+fmt.Sprintf(personOf, "t.id"), p.IDs, p.TenantID, p.Token)
		e.count("execution", true, tag.RowsAffected())
		return err
	})
	if err != nil {
		return err
	}
	err = e.everyPage(ctx, "delivery_ended", func(tx pgx.Tx, partition, here string) error {
		// The execution's error may be that of the person's delivery.
		var delivered, executions int64
		err := tx.QueryRow(ctx, `with gone as (
	update `+partition+` t set recipient = $3, address = null, response = null, reason = case when t.reason is not null then '`+erasedText+`' end
	where `+here+` and t.recipient = any ($1) and `+fmt.Sprintf(personOf, "t.execution_id")+`
	returning t.execution_id, t.committed_at, t.status
), failed as (
	update rowbell.execution x set error = '`+erasedText+`'
	from (select distinct execution_id, committed_at from gone where status <> 'succeeded') g
	where x.id = g.execution_id and x.committed_at = g.committed_at and x.error is not null returning 1
), open as (
	update rowbell.execution_open x set error = '`+erasedText+`'
	from (select distinct execution_id from gone where status <> 'succeeded') g where x.id = g.execution_id and x.error is not null
)
select (select count(*) from gone), (select count(*) from failed)`, p.IDs, p.TenantID, p.Token).Scan(&delivered, &executions)
		e.count("delivery_ended", true, delivered)
		e.count("execution", true, executions)
		return err
	})
	if err != nil {
		return err
	}
	return e.everyPage(ctx, "attempt", func(tx pgx.Tx, partition, here string) error {
		tag, err := tx.Exec(ctx, `update `+partition+` t set recipient = $3, response = null, error = case when t.error is not null then '`+erasedText+`' end
where `+here+` and t.recipient = any ($1) and `+attemptOf, p.IDs, p.TenantID, p.Token)
		e.count("attempt", true, tag.RowsAffected())
		return err
	})
}

// eventOf is the condition that an event is of the person's tenant.
const eventOf = `($2::text is null or coalesce(t.tenant_id, '') = $2)`

// personsEvents takes the actor out of changes that somebody made, and looks which rows
// have them among their values.
func (e *Eraser) personsEvents(ctx context.Context, p Person) error {
	type mention struct {
		ref int32
		key string
	}
	mentions := make(map[mention]int64)
	err := e.everyPage(ctx, "event", func(tx pgx.Tx, partition, here string) error {
		rows, err := tx.Query(ctx, `select t.event_id, t.committed_at, t.data::text from `+partition+` t
where `+here+` and t.data -> 'actor' ->> 'id' = any ($1) and `+eventOf, p.IDs, p.TenantID)
		if err != nil {
			return err
		}
		b := &pgx.Batch{}
		var id, data string
		var at time.Time
		_, err = pgx.ForEachRow(rows, []any{&id, &at, &data}, func() error {
			without, err := withoutActor([]byte(data))
			b.Queue(`update `+partition+` set data = $3 where event_id = $1 and committed_at = $2`, id, at, string(without))
			return err
		})
		if err != nil {
			return err
		}
		if b.Len() > 0 {
			if err := tx.SendBatch(ctx, b).Close(); err != nil {
				return err
			}
			e.count("event", true, int64(b.Len()))
		}
		if len(mentions) >= eraseMentions {
			return nil
		}
		if rows, err = tx.Query(ctx, `select t.table_ref, coalesce(t.row_key, ''), count(*) from `+partition+` t
where `+here+` and `+eventOf+` and exists (select from unnest($1::text[]) i where strpos(t.data::text, to_json(i)::text) > 0) group by 1, 2 limit 20`, p.IDs, p.TenantID); err != nil {
			return err
		}
		var m mention
		var n int64
		_, err = pgx.ForEachRow(rows, []any{&m.ref, &m.key, &n}, func() error { mentions[m] += n; return nil })
		return err
	})
	if err != nil {
		return err
	}
	for m, n := range mentions {
		var table string
		err := e.conn.QueryRow(ctx, `select coalesce((select name from rowbell.surrogate where ref = $1), '')`, m.ref).Scan(&table)
		if err != nil {
			return eraseError("event", err)
		}
		e.Erased.Mentions = append(e.Erased.Mentions, Mention{table, m.key, n})
	}
	slices.SortFunc(e.Erased.Mentions, func(a, b Mention) int { return strings.Compare(a.Table+"\x00"+a.RowKey, b.Table+"\x00"+b.RowKey) })
	return nil
}

// withoutActor is an event's data without who made the change.
func withoutActor(data []byte) ([]byte, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, err
	}
	m["actor"] = json.RawMessage("null")
	return json.Marshal(m)
}

// personLeft looks whether anything of somebody is left.
func (e *Eraser) personLeft(ctx context.Context, p Person) error {
	e.tell("looking whether anything is left")
	for _, l := range []struct{ table, where string }{
		{"queue", `t.recipient = any ($1) and ` + fmt.Sprintf(personOf, "t.execution_id")},
		{"execution", `t.recipient = any ($1) and ` + fmt.Sprintf(personOf, "t.id")},
		{"delivery_ended", `t.recipient = any ($1) and ` + fmt.Sprintf(personOf, "t.execution_id")},
		{"attempt", `t.recipient = any ($1) and ` + attemptOf},
		{"event", `t.data -> 'actor' ->> 'id' = any ($1) and ` + eventOf},
		{"notification", `t.recipient_id = any ($1) and ($2::text is null or coalesce(t.tenant_id, '') in ('', $2))`},
		{"preference", `t.recipient_id = any ($1) and ($2::text is null or t.tenant_id = $2)`},
		{"quiet_hours", `t.recipient_id = any ($1) and ($2::text is null or t.tenant_id = $2)`},
		{"saved_view", personsView},
		{"alert", `($2::text is null or coalesce(t.tenant_id, '') in ('', $2)) and exists (select from unnest(t.told) x where substr(x, strpos(x, ':') + 1) = any ($1))`},
	} {
		if err := e.left(ctx, l.table, `select count(*) from rowbell.`+l.table+` t where `+l.where, p.IDs, p.TenantID); err != nil {
			return err
		}
	}
	if patterns := p.addresses(); len(patterns) > 0 {
		if err := e.left(ctx, "notification", `select count(*) from rowbell.notification t where `+addressedNotification, patterns, p.TenantID); err != nil {
			return err
		}
		if err := e.left(ctx, "dismissal", `select count(*) from rowbell.dismissal t where `+addressedDismissal, patterns, p.TenantID); err != nil {
			return err
		}
		return e.left(ctx, "alert", `select count(*) from rowbell.alert t where `+addressedAlert, patterns, p.TenantID)
	}
	return nil
}

// TenantSweep is a tenant that is to be deleted.
type TenantSweep struct {
	ID string
	// Workflows are the ids of its workflows that no other tenant has or had.
	Workflows []string
	// Before: of changes of its rows that operators' workflows matched, those committed
	// before then.
	Before time.Time
}

// AppliedOf counts a tenant's workflows whose versions a worker has applied: it has not read
// yet that they were deleted.
func (s *State) AppliedOf(ctx context.Context, tenantID string) (n int, err error) {
	err = s.db.QueryRow(ctx, `select count(*)::int4 from rowbell.applied a join rowbell.surrogate v on v.ref = a.surrogate where v.tenant_id = $1`, tenantID).Scan(&n)
	if err != nil {
		return 0, stateError("read which versions of tenant "+tenantID+" apply", err)
	}
	return n, nil
}

// TenantWorkflows are the ids of workflows that were a tenant's, as far as state knows, and
// of these those that others have had too.
func (s *State) TenantWorkflows(ctx context.Context, tenantID string) (ids, others []string, err error) {
	const what = "read the workflows of a tenant"
	rows, err := s.db.Query(ctx, `select v.id, bool_or(o.ref is not null) from rowbell.surrogate v
left join rowbell.surrogate o on o.id = v.id and o.kind = 'workflow' and o.tenant_id is distinct from v.tenant_id
where v.kind = 'workflow' and v.tenant_id = $1 group by v.id`, tenantID)
	if err != nil {
		return nil, nil, stateError(what, err)
	}
	var id string
	var other bool
	_, err = pgx.ForEachRow(rows, []any{&id, &other}, func() error {
		ids = append(ids, id)
		if other {
			others = append(others, id)
		}
		return nil
	})
	if err != nil {
		return nil, nil, stateError(what, err)
	}
	return ids, others, nil
}

// TenantsOf are the tenants that workflows are or were of; "" stands for operators.
func (s *State) TenantsOf(ctx context.Context, workflowIDs []string) ([]string, error) {
	const what = "read whose workflows these are"
	rows, err := s.db.Query(ctx, `select distinct coalesce(tenant_id, '') from rowbell.surrogate where kind = 'workflow' and id = any ($1)`, workflowIDs)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

// TenantCount is how much there is of a tenant in state.
type TenantCount struct {
	Executions   int  `json:"executions"` // that have ended
	More         bool `json:"more"`       // more than that: they are not counted to the end
	Pending      int  `json:"pending"`    // deliveries in the queue
	Destinations int  `json:"destinations"`
	Anything     bool `json:"-"` // some table has a row of the tenant
}

// mostTenantCounted is how many executions are counted.
const mostTenantCounted = 100_000

// CountTenant counts what state has of a tenant, not very far.
func (s *State) CountTenant(ctx context.Context, tenantID string) (TenantCount, error) {
	var c TenantCount
	const what = "count what there is of a tenant"
	err := s.db.QueryRow(ctx, fmt.Sprintf(`with mine as materialized (select ref from rowbell.surrogate where kind = 'workflow' and tenant_id = $1)
select (select count(*)::int4 from (select 1 from mine join rowbell.execution x on x.version_ref = mine.ref limit %d) l),
	(select count(*)::int4 from rowbell.queue where version_ref in (select ref from mine)),
	(select count(*)::int4 from rowbell.destination where tenant_id = $1)`, mostTenantCounted+1), tenantID).Scan(&c.Executions, &c.Pending, &c.Destinations)
	if err != nil {
		return c, stateError(what, err)
	}
	if c.Executions > mostTenantCounted {
		c.Executions, c.More = mostTenantCounted, true
	}
	c.Anything = c != TenantCount{}
	if !c.Anything {
		if c.Anything, err = anyOfTenant(ctx, s.pool, tenantID); err != nil {
			return c, stateError(what, err)
		}
	}
	return c, nil
}

// AnyOfTenant says whether some table of the source has a row of a tenant.
func (s *Source) AnyOfTenant(ctx context.Context, tenantID string) (bool, error) {
	some, err := anyOfTenant(ctx, s.pool, tenantID)
	if err != nil {
		return false, sourceError("look for a tenant", err)
	}
	return some, nil
}

func anyOfTenant(ctx context.Context, conn querier, tenantID string) (bool, error) {
	names, conditions, err := ownedTables(ctx, conn)
	if err != nil {
		return false, err
	}
	var parts []string
	for i, name := range names {
		if strings.Contains(conditions[i], "t.tenant_id = $1") {
			parts = append(parts, `exists (select from `+pgx.Identifier{"rowbell", name}.Sanitize()+` t where t.tenant_id = $1)`)
		}
	}
	if parts == nil {
		return false, nil
	}
	rows, err := conn.Query(ctx, `select `+strings.Join(parts, ` or `), tenantID)
	if err != nil {
		return false, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowTo[bool])
}

// TenantDestinations counts destinations by tenant; "" counts the operators'.
func (s *State) TenantDestinations(ctx context.Context) (map[string]int, error) {
	const what = "count destinations"
	rows, err := s.db.Query(ctx, `select coalesce(tenant_id, ''), count(*)::int4 from rowbell.destination group by 1`)
	if err != nil {
		return nil, stateError(what, err)
	}
	counts := make(map[string]int)
	var id string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&id, &n}, func() error { counts[id] = n; return nil }); err != nil {
		return nil, stateError(what, err)
	}
	return counts, nil
}

// EraseTenant deletes what state has of a tenant, once no worker has its workflows applied.
func (e *Eraser) EraseTenant(ctx context.Context, t TenantSweep) error {
	const refs = `select ref from rowbell.surrogate where kind = 'workflow' and tenant_id = $1`
	const mine = `version_ref in (` + refs + `)`
	if err := e.exec(ctx, "replay_item", false, `delete from rowbell.replay_item where `+mine, t.ID); err != nil {
		return err
	}
	err := e.exec(ctx, "replay", false, `delete from rowbell.replay where filter ->> 'tenant' = $1
or jsonb_array_length(coalesce(filter -> 'workflows', '[]')) > 0 and not exists (select from jsonb_array_elements_text(filter -> 'workflows') w where w <> all ($2))`, t.ID, t.Workflows)
	if err != nil {
		return err
	}
	// Whoever has one leased finds it gone.
	for {
		before := e.Erased.Cancelled
		if err := e.cancel(ctx, `where q.version_ref in (`+strings.ReplaceAll(refs, "$1", "$3")+`)`, t.ID); err != nil {
			return err
		}
		if e.Erased.Cancelled == before {
			break
		}
	}
	if err := e.exec(ctx, "execution_open", false, `delete from rowbell.execution_open where `+mine, t.ID); err != nil {
		return err
	}
	e.tell("deleting executions")
	if err := e.tenantsExecutions(ctx, t.ID); err != nil {
		return err
	}
	e.tell("looking through the events")
	if err := e.tenantsEvents(ctx, t); err != nil {
		return err
	}
	err = e.exec(ctx, "big_transaction", false, `delete from rowbell.big_transaction where stream < 0 and -stream in (`+refs+`)`, t.ID)
	if err != nil {
		return err
	}
	return e.rest(ctx, t)
}

// tenantsExecutions deletes the executions of a tenant's workflows, with all that hangs on
// them but the events.
func (e *Eraser) tenantsExecutions(ctx context.Context, tenantID string) error {
	for {
		var n int64
		err := e.tx(ctx, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, fmt.Sprintf(`delete from rowbell.execution x using (
	select id, committed_at from rowbell.execution where version_ref in (select ref from rowbell.surrogate where kind = 'workflow' and tenant_id = $1) limit %d
) p where x.id = p.id and x.committed_at = p.committed_at returning x.id, x.committed_at`, eraseRows), tenantID)
			if err != nil {
				return err
			}
			list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[foundEvent])
			if err != nil {
				return err
			}
			n = int64(len(list))
			e.count("execution", false, n)
			ids, at := make([]string, len(list)), make([]time.Time, len(list))
			for i, f := range list {
				ids[i], at[i] = f.ID, f.At
			}
			for _, table := range []string{"delivery_ended", "attempt"} {
				tag, err := tx.Exec(ctx, `delete from rowbell.`+table+` t using unnest($1::text[], $2::timestamptz[]) as e (id, at) where t.execution_id = e.id and t.committed_at = e.at`, ids, at)
				if err != nil {
					return err
				}
				e.count(table, false, tag.RowsAffected())
			}
			return nil
		})
		if err != nil {
			return eraseError("execution", err)
		}
		if n < eraseRows {
			return nil
		}
		e.progress("%d executions are deleted", e.Erased.table("execution").Deleted)
	}
}

// tenantsEvents erases the events of a tenant's rows. Executions that they have yet are of
// operators' workflows.
func (e *Eraser) tenantsEvents(ctx context.Context, t TenantSweep) error {
	list, err := e.partitions(ctx, "event")
	if err != nil {
		return err
	}
	ignored := make(map[string]bool)
	for _, p := range list {
		var found []foundEvent
		name := pgx.Identifier{"rowbell", p}.Sanitize()
		// Found first, then erased: both use the connection.
		err := e.pages(ctx, p, func(tx pgx.Tx, here string) error {
			rows, err := tx.Query(ctx, `select t.event_id, t.committed_at from `+name+` t where `+here+` and t.tenant_id = $1 and t.committed_at < $2`, t.ID, t.Before)
			if err != nil {
				return err
			}
			more, err := pgx.CollectRows(rows, pgx.RowToStructByPos[foundEvent])
			found = append(found, more...)
			return err
		})
		if err != nil {
			return err
		}
		for part := range slices.Chunk(found, eraseEvents) {
			if err := e.events(ctx, part, ignored, ignored); err != nil {
				return err
			}
		}
	}
	return nil
}

// notGeneric are the tables that are not deleted from by a tenant's id or a workflow's: their
// rows go in another way, or belong to nobody.
const notGeneric = `'^((event|execution|delivery_ended|attempt)(_default|_[0-9]{8})?|execution_open|queue|surrogate|applied|workflow_(definition|trigger|condition|action|recipient|version)|audit_log)$'`

// ownedTables are the tables whose rows say whose they are, with the condition that they are
// a tenant's $1, or of its workflows $2.
func ownedTables(ctx context.Context, conn querier) (names, conditions []string, err error) {
	rows, err := conn.Query(ctx, `select c.relname::text, string_agg(case a.attname when 'tenant_id' then 't.tenant_id = $1'
	when 'workflow_id' then 't.workflow_id = any ($2)' else 't.version_ref in (select ref from rowbell.surrogate where kind = ''workflow'' and tenant_id = $1)' end, ' or ' order by a.attname)
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attname in ('tenant_id', 'workflow_id', 'version_ref')
where c.relnamespace = 'rowbell'::regnamespace and c.relkind = 'r' and c.relname !~ `+notGeneric+`
group by 1 order by 1`)
	if err != nil {
		return nil, nil, err
	}
	var name, condition string
	_, err = pgx.ForEachRow(rows, []any{&name, &condition}, func() error {
		names, conditions = append(names, name), append(conditions, "("+condition+") and $2::text[] is not null and $1::text is not null")
		return nil
	})
	return names, conditions, err
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// rest deletes from all tables whose rows say that they are the tenant's, whoever has made
// these tables, and last what its versions' numbers stand for.
func (e *Eraser) rest(ctx context.Context, t TenantSweep) error {
	names, conditions, err := ownedTables(ctx, e.conn)
	if err != nil {
		return stateError("list the tables that have tenants", err)
	}
	for i, name := range names {
		err := e.pages(ctx, name, func(tx pgx.Tx, here string) error {
			tag, err := tx.Exec(ctx, `delete from `+pgx.Identifier{"rowbell", name}.Sanitize()+` t where `+here+` and (`+conditions[i]+`)`, t.ID, t.Workflows)
			e.count(name, false, tag.RowsAffected())
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ForgetTenant deletes what the numbers of a tenant's versions stand for, once nothing has
// them any more. The greatest number of all stays given out: workers give out the one behind
// it next.
func (e *Eraser) ForgetTenant(ctx context.Context, t TenantSweep) error {
	err := e.exec(ctx, "surrogate", true, `update rowbell.surrogate set id = '`+erasedText+`', name = '', tenant_id = null
where tenant_id = $1 and ref = (select max(ref) from rowbell.surrogate)`, t.ID)
	if err != nil {
		return err
	}
	return e.exec(ctx, "surrogate", false, `delete from rowbell.surrogate where tenant_id = $1`, t.ID)
}

// TenantLeft looks whether anything of a tenant is left. It is to come before ForgetTenant,
// since executions are known by their versions' numbers.
func (e *Eraser) TenantLeft(ctx context.Context, t TenantSweep) error {
	e.tell("looking whether anything is left")
	const mine = `version_ref in (select ref from rowbell.surrogate where kind = 'workflow' and tenant_id = $1)`
	for _, table := range []string{"execution", "execution_open", "queue", "delivery_ended"} {
		if err := e.left(ctx, table, `select count(*) from rowbell.`+table+` where `+mine, t.ID); err != nil {
			return err
		}
	}
	if err := e.left(ctx, "event", `select count(*) from rowbell.event where tenant_id = $1 and committed_at < $2`, t.ID, t.Before); err != nil {
		return err
	}
	names, conditions, err := ownedTables(ctx, e.conn)
	if err != nil {
		return stateError("list the tables that have tenants", err)
	}
	for i, name := range names {
		err := e.left(ctx, name, `select count(*) from `+pgx.Identifier{"rowbell", name}.Sanitize()+` t where `+conditions[i], t.ID, t.Workflows)
		if err != nil {
			return err
		}
	}
	return nil
}
