package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// partitioned are the tables that have a partition for each day, in the order in which
// retention takes them. (make_partitions has the same list.)
var partitioned = []string{"event", "execution", "delivery_ended", "attempt"}

// partitionsAhead is for how many days partitions are made ahead.
const partitionsAhead = 7

// keepSQL inserts again, into the DEFAULT partition, what outlives a day's partition:
// failed and cancelled executions, and the events and attempts of these and of pending
// ones (which stand in queue and execution_open). %s: the day, as 20260131.
var keepSQL = []string{
	`insert into rowbell.event select e.* from rowbell.event_%[1]s e
where exists (select from rowbell.execution_%[1]s x where x.id >= e.event_id || '-' and x.id < e.event_id || '.' and x.status <> 'success')
or exists (select from rowbell.execution_default x where x.id >= e.event_id || '-' and x.id < e.event_id || '.')
or exists (select from rowbell.queue q where q.execution_id >= e.event_id || '-' and q.execution_id < e.event_id || '.')
or exists (select from rowbell.execution_open o where o.id >= e.event_id || '-' and o.id < e.event_id || '.')`,
	`insert into rowbell.execution select x.* from rowbell.execution_%[1]s x where x.status <> 'success'`,
	`insert into rowbell.delivery_ended select d.* from rowbell.delivery_ended_%[1]s d
where exists (select from rowbell.execution_%[1]s x where x.id = d.execution_id and x.status <> 'success')
or exists (select from rowbell.execution_default x where x.id = d.execution_id)
or exists (select from rowbell.execution_open o where o.id = d.execution_id)`,
	`insert into rowbell.attempt select a.* from rowbell.attempt_%[1]s a
where exists (select from rowbell.execution_%[1]s x where x.id = a.execution_id and x.status <> 'success')
or exists (select from rowbell.execution_default x where x.id = a.execution_id)
or exists (select from rowbell.queue q where q.execution_id = a.execution_id)
or exists (select from rowbell.execution_open o where o.id = a.execution_id)`,
}

// MaintainPartitions makes the partitions of the days to come, and lets go of days of
// commit time that lie more than keepDays back. Their pending, failed and cancelled
// executions, with events and attempts, outlive them by moving to the DEFAULT partition
// (workflow_log_kept), where ended ones stay until they are keptDays old.
//
// Any process may call it at any time, say each hour; two at once do it one after the
// other. It waits for a table's lock for 2 s at most, and may then return an error of the
// server's (55P03): the next call goes on from where this one stopped.
func (s *State) MaintainPartitions(ctx context.Context, keepDays, keptDays int) error {
	conn, err := s.acquire(ctx)
	if err != nil {
		return stateError("maintain partitions", err)
	}
	defer conn.Release()
	// For the session, not for each transaction: a transaction that waited for it would go
	// on with a catalogue from before the wait.
	if _, err := conn.Exec(ctx, `select pg_advisory_lock($1)`, maintenanceLock); err != nil {
		return stateError("wait for another process that maintains partitions", err)
	}
	err = maintenance{conn.Conn()}.run(ctx, keepDays, keptDays)
	// Where ctx ended pgx has closed the connection, and the lock has gone with it.
	if _, unlockErr := conn.Exec(context.WithoutCancel(ctx), `select pg_advisory_unlock($1)`, maintenanceLock); unlockErr != nil && err == nil {
		err = stateError("let others maintain partitions", unlockErr)
	}
	return err
}

type maintenance struct{ conn *pgx.Conn }

func (m maintenance) run(ctx context.Context, keepDays, keptDays int) error {
	made, err := m.makeAhead(ctx)
	if err != nil {
		return stateError("make partitions for the coming days", err)
	}
	days, err := m.olderThan(ctx, keepDays)
	if err != nil {
		return stateError("list partitions", err)
	}
	for _, day := range days {
		if err := m.letGo(ctx, day); err != nil {
			return stateError(fmt.Sprintf("let go of the partitions of %s", day), err)
		}
	}
	if err := m.trim(ctx, keepDays, keptDays); err != nil {
		return stateError("delete what was kept long enough", err)
	}
	if err := m.forgetFired(ctx); err != nil {
		return stateError("forget the rows for which deleted workflows have fired", err)
	}
	if made == 0 && len(days) == 0 {
		return nil
	}
	// Autovacuum never analyzes a partitioned table itself, only its partitions.
	for _, t := range partitioned {
		if _, err := m.conn.Exec(ctx, `analyze rowbell.`+t); err != nil {
			return stateError("analyze rowbell."+t, err)
		}
	}
	return nil
}

// tx runs f in a transaction that waits for locks for 2 s at most.
func (m maintenance) tx(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, m.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local lock_timeout = '2s'`); err != nil {
			return err
		}
		return f(tx)
	})
}

// maintenanceLock is "rowbellP" in ASCII.
const maintenanceLock int64 = 0x726f7762656c6c50

func (m maintenance) makeAhead(ctx context.Context) (made int, err error) {
	err = m.tx(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select rowbell.make_partitions($1)`, partitionsAhead).Scan(&made)
	})
	return made, err
}

// olderThan lists days, as 20260131, that have a table older than so many days: a
// partition, or one that was detached before a process died.
func (m maintenance) olderThan(ctx context.Context, days int) ([]string, error) {
	rows, err := m.conn.Query(ctx, `select distinct right(c.relname, 8)
from pg_catalog.pg_class c
where c.relnamespace = 'rowbell'::regnamespace and c.relkind = 'r'
and c.relname ~ ('^(' || $1 || ')_[0-9]{8}$')
and right(c.relname, 8) < to_char((clock_timestamp() at time zone 'UTC')::date - $2::int, 'YYYYMMDD')
order by 1`, strings.Join(partitioned, "|"), days)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// letGo moves what is kept of a day, and drops its tables. Detaching locks out everybody
// and takes a moment, so it is a transaction of its own; moving may take long and locks
// nobody out. In between, the day's rows are not seen; a process that dies there leaves
// them to the next call.
func (m maintenance) letGo(ctx context.Context, day string) error {
	if _, err := time.Parse("20060102", day); err != nil {
		return err // a table of somebody else's
	}
	err := m.tx(ctx, func(tx pgx.Tx) error {
		for _, t := range partitioned {
			// A table that could not be attached, since the DEFAULT partition had rows of its
			// day, is missing; an empty one stands in for it.
			_, err := tx.Exec(ctx, fmt.Sprintf(`create table if not exists rowbell.%[1]s_%[2]s (like rowbell.%[1]s)`, t, day))
			if err != nil {
				return err
			}
			var attached bool
			err = tx.QueryRow(ctx, `select exists (select from pg_catalog.pg_inherits where inhrelid = to_regclass($1))`,
				"rowbell."+t+"_"+day).Scan(&attached)
			if err != nil {
				return err
			}
			if !attached {
				continue
			}
			if _, err := tx.Exec(ctx, fmt.Sprintf(`alter table rowbell.%[1]s detach partition rowbell.%[1]s_%[2]s`, t, day)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return m.tx(ctx, func(tx pgx.Tx) error {
		for _, sql := range keepSQL {
			if _, err := tx.Exec(ctx, fmt.Sprintf(sql, day)); err != nil {
				return err
			}
		}
		for _, t := range partitioned {
			if _, err := tx.Exec(ctx, fmt.Sprintf(`drop table rowbell.%s_%s`, t, day)); err != nil {
				return err
			}
		}
		return nil
	})
}

// trim deletes from the DEFAULT partitions, and from the small tables, what is too old.
func (m maintenance) trim(ctx context.Context, keepDays, keptDays int) error {
	return m.tx(ctx, func(tx pgx.Tx) error {
		for _, sql := range []string{
			`delete from rowbell.execution_default x where x.committed_at < clock_timestamp() - make_interval(days => case x.status when 'success' then $1::int else $2::int end)`,
			`delete from rowbell.delivery_ended_default d where d.committed_at < clock_timestamp() - make_interval(days => $1::int)
and d.committed_at < clock_timestamp() - make_interval(days => $2::int)
and not exists (select from rowbell.execution_open o where o.id = d.execution_id)`,
			`delete from rowbell.attempt_default a where a.committed_at < clock_timestamp() - make_interval(days => $1::int)
and a.committed_at < clock_timestamp() - make_interval(days => $2::int)
and not exists (select from rowbell.queue q where q.execution_id = a.execution_id)
and not exists (select from rowbell.execution_open o where o.id = a.execution_id)`,
			`delete from rowbell.event_default e where e.committed_at < clock_timestamp() - make_interval(days => $1::int)
and e.committed_at < clock_timestamp() - make_interval(days => $2::int)
and not exists (select from rowbell.execution_default x where x.id >= e.event_id || '-' and x.id < e.event_id || '.')
and not exists (select from rowbell.queue q where q.execution_id >= e.event_id || '-' and q.execution_id < e.event_id || '.')
and not exists (select from rowbell.execution_open o where o.id >= e.event_id || '-' and o.id < e.event_id || '.')`,
			`delete from rowbell.failure_count f where f.hour < (select max(hour) from rowbell.failure_count g where g.slot = f.slot) - make_interval(days => $1::int)
and $2::int is not null`,
			`delete from rowbell.big_transaction b where b.committed_at < clock_timestamp() - make_interval(days => $1::int)
and $2::int is not null and (b.status in ('released', 'skipped', 'discarded') or b.stream < 0)
and not exists (select from rowbell.queue q where q.big_lsn = b.commit_lsn and q.big_stream = b.stream)`,
			`delete from rowbell.dismissal d where d.dismissed_at < clock_timestamp() - make_interval(days => greatest($1::int, $2::int))`,
			`delete from rowbell.replay r where r.ended_at < clock_timestamp() - make_interval(days => $2::int) and $1::int is not null`,
		} {
			if _, err := tx.Exec(ctx, sql, keepDays, keptDays); err != nil {
				return err
			}
		}
		return nil
	})
}

// firedAtOnce is how many rows one transaction forgets, while which nobody records a row
// that fires.
const firedAtOnce = 10_000

// goneFiredSQL are rows for which workflows had fired that are deleted by now.
const goneFiredSQL = `select f.ctid from (
	select distinct s.id from rowbell.surrogate s
	where s.kind = 'workflow' and not exists (select from rowbell.applied a where a.kind = 'workflow' and a.id = s.id)
) gone join rowbell.fired f on f.workflow_id = gone.id limit `

// forgetFiredSQL is one transaction. A batch that makes a workflow again and fires for one
// of its old rows either is seen here, and then the rows stay, or waits until they are
// gone: otherwise it would let the old row stand, and that row would go. It is sent at
// once, so that the lock never waits for this process, which may be stopped at any moment.
var forgetFiredSQL = fmt.Sprintf(`set local lock_timeout = '2s';
lock table rowbell.fired in share row exclusive mode;
delete from rowbell.fired where ctid = any (array(%s%d))`, goneFiredSQL, firedAtOnce)

// forgetFired deletes the rows for which deleted workflows had fired. Those of others are
// kept: without them the workflow would fire again.
func (m maintenance) forgetFired(ctx context.Context) error {
	for {
		var some bool
		if err := m.conn.QueryRow(ctx, `select exists (`+goneFiredSQL+`1)`).Scan(&some); err != nil || !some {
			return err
		}
		if _, err := m.conn.PgConn().Exec(ctx, forgetFiredSQL).ReadAll(); err != nil {
			return err
		}
	}
}
