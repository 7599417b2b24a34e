package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// busyHour is from how many executions on a workflow version's hour has a row: what it has
// less is counted when somebody asks.
const busyHour = 16

// hourSQL counts hour $1, whose executions' ids are from $2 to before $3. (The ids say the
// time, so that one stretch of the key is read.)
//
// It is counted at c, which comes behind the snapshot that is counted, and before the counting:
// whatever is in the count had settled by then, and is not taken for something that ended since.
var hourSQL = fmt.Sprintf(`with c as materialized (
	select clock_timestamp() as at
), counted as (
	update rowbell.statistic_hour set counted_at = (select at from c) where hour = $1
), x as materialized (
	select x.version_ref, x.status, x.action >= 0 as sole, case when x.status <> 'cancelled' then `+stepSQL+` end as step, count(*)::int4 as n
	from rowbell.execution x
	where x.committed_at >= $1 and x.committed_at < $1::timestamptz + interval '1 hour' and x.id >= $2 and x.id < $3
	and (select at from c) is not null
	group by 1, 2, 3, 4
), d as materialized (
	select tenant_id, sent, dead, dropped from (
		select case when grouping(v.tenant_id) = 1 then '*' else coalesce(v.tenant_id, '') end as tenant_id,
			coalesce(sum(n) filter (where e.status in ('success', 'succeeded')), 0)::int4 as sent,
			coalesce(sum(n) filter (where e.status in ('failure', 'dead')), 0)::int4 as dead,
			coalesce(sum(n) filter (where e.status = 'cancelled'), 0)::int4 as dropped
		from (
			select version_ref, status, n from x where sole
			union all select d.version_ref, d.status, count(*)::int4 from rowbell.delivery_ended d
			where d.committed_at >= $1 and d.committed_at < $1::timestamptz + interval '1 hour' and d.execution_id >= $2 and d.execution_id < $3
			and d.action >= 0 and (select at from c) is not null
			group by 1, 2
		) e join rowbell.surrogate v on v.ref = e.version_ref group by grouping sets ((v.tenant_id), ())
	) e where sent + dead + dropped > 0
), t as materialized (
	select tenant_id, sum(success)::int4 as success, sum(failure)::int4 as failure, sum(cancelled)::int4 as cancelled,
		coalesce(array_agg(step order by step) filter (where step is not null), '{}') as steps, coalesce(array_agg(n order by step) filter (where step is not null), '{}') as counts
	from (
		select case when grouping(v.tenant_id) = 1 then '*' else coalesce(v.tenant_id, '') end as tenant_id, x.step, sum(x.n)::int4 as n, %[1]s
		from x join rowbell.surrogate v on v.ref = x.version_ref group by grouping sets ((v.tenant_id, x.step), (x.step))
	) s group by tenant_id
), both_of as materialized (
	select tenant_id, coalesce(t.success, 0) as success, coalesce(t.failure, 0) as failure, coalesce(t.cancelled, 0) as cancelled,
		coalesce(t.steps, '{}') as steps, coalesce(t.counts, '{}') as counts,
		coalesce(d.sent, 0) as sent, coalesce(d.dead, 0) as dead, coalesce(d.dropped, 0) as dropped
	from t full join d using (tenant_id)
), w as materialized (
	select version_ref, sum(success)::int4 as success, sum(failure)::int4 as failure, sum(cancelled)::int4 as cancelled,
		coalesce(array_agg(step order by step) filter (where step is not null), '{}') as steps, coalesce(array_agg(n order by step) filter (where step is not null), '{}') as counts
	from (select version_ref, step, sum(n)::int4 as n, %[1]s from x group by version_ref, step) s group by version_ref having sum(n) >= %[2]d
), t_gone as (
	delete from rowbell.tenant_statistic where hour = $1 and tenant_id not in (select tenant_id from both_of)
), w_gone as (
	delete from rowbell.workflow_statistic where hour = $1 and version_ref not in (select version_ref from w)
), t_put as (
	insert into rowbell.tenant_statistic as s (hour, tenant_id, success, failure, cancelled, steps, counts, sent, dead, dropped)
	select $1, tenant_id, success, failure, cancelled, steps, counts, sent, dead, dropped from both_of
	on conflict (tenant_id, hour) do update set success = excluded.success, failure = excluded.failure, cancelled = excluded.cancelled,
		steps = excluded.steps, counts = excluded.counts, sent = excluded.sent, dead = excluded.dead, dropped = excluded.dropped
	where (s.success, s.failure, s.cancelled, s.steps, s.counts, s.sent, s.dead, s.dropped)
		is distinct from (excluded.success, excluded.failure, excluded.cancelled, excluded.steps, excluded.counts, excluded.sent, excluded.dead, excluded.dropped)
)
insert into rowbell.workflow_statistic as s (hour, version_ref, success, failure, cancelled, steps, counts)
select $1, version_ref, success, failure, cancelled, steps, counts from w
on conflict (version_ref, hour) do update set success = excluded.success, failure = excluded.failure, cancelled = excluded.cancelled,
	steps = excluded.steps, counts = excluded.counts
where (s.success, s.failure, s.cancelled, s.steps, s.counts) is distinct from (excluded.success, excluded.failure, excluded.cancelled, excluded.steps, excluded.counts)`,
	`coalesce(sum(n) filter (where status = 'success'), 0) as success, coalesce(sum(n) filter (where status = 'failure'), 0) as failure,
			coalesce(sum(n) filter (where status = 'cancelled'), 0) as cancelled`, busyHour)

// hourOf is the hour that x belongs to: date_trunc looks the time zone up each time, and takes
// longer than all the rest of counting a row.
const hourOf = `date_bin('1 hour', x.committed_at, 'epoch')`

// stepSQL is the step of how long execution x took; see duration.
const stepSQL = `floor(2 * ln(greatest(extract(epoch from x.settled_at - x.executed_at)::float8 * 1000, 0) + 1) / ln(2::float8))::int2`

// CountHours counts the hours that are due, the newest first, into the tables that
// Statistics reads, and forgets those that are older than keptDays. Hours of which the log
// has let go (keepDays) stay as they were. Any process may call it at any time, say each
// minute: two at once count different hours. It returns how many hours it counted.
func (s *State) CountHours(ctx context.Context, keepDays, keptDays int) (n int, err error) {
	const what = "count the executions of an hour"
	_, err = s.db.Exec(ctx, `insert into rowbell.statistic_hour (hour, next_at)
select h, greatest(h, clock_timestamp()) from (select coalesce(
	(select max(hour) from rowbell.statistic_hour),
	(select greatest(e.committed_at, clock_timestamp() - make_interval(days => $1::int)) from rowbell.event e order by e.event_id limit 1),
	clock_timestamp()) as since) l,
	generate_series(date_trunc('hour', l.since, 'UTC'), clock_timestamp() + interval '1 hour', interval '1 hour') h
on conflict do nothing`, keepDays)
	if err != nil {
		return 0, stateError(what, err)
	}
	for {
		more, err := s.countHour(ctx, keepDays)
		if err != nil {
			return n, stateError(what, err)
		}
		if !more {
			break
		}
		n++
	}
	for _, sql := range []string{
		`delete from rowbell.tenant_statistic where hour < clock_timestamp() - make_interval(days => $1::int)`,
		`delete from rowbell.workflow_statistic where hour < clock_timestamp() - make_interval(days => $1::int)`,
		`delete from rowbell.statistic_hour where hour < clock_timestamp() - make_interval(days => $1::int)`,
	} {
		if _, err := s.db.Exec(ctx, sql, max(keepDays, keptDays)); err != nil {
			return n, stateError("forget old statistics", err)
		}
	}
	return n, nil
}

// How often the hour that runs is counted, and how much of the time counting may take.
const (
	countEach     = time.Minute
	countingShare = 50
)

// recounts are how long after its end an hour is counted again, for what was recorded late.
var recounts = []time.Duration{2 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}

// countHour counts one hour that is due.
func (s *State) countHour(ctx context.Context, keepDays int) (more bool, err error) {
	err = pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local jit = off`); err != nil {
			return err
		}
		var hour, now time.Time
		var reopened bool
		err := tx.QueryRow(ctx, `select hour, clock_timestamp(), next_at = '-infinity' from rowbell.statistic_hour
where next_at <= clock_timestamp() and (next_at > '-infinity' or counted_at is null or counted_at < clock_timestamp() - $1::interval)
order by hour desc limit 1 for update skip locked`, countEach).Scan(&hour, &now, &reopened)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		more = true
		if now.Sub(hour) > time.Duration(keepDays)*24*time.Hour {
			_, err := tx.Exec(ctx, `update rowbell.statistic_hour set next_at = null where hour = $1`, hour)
			return err
		}
		begun := time.Now()
		if _, err := tx.Exec(ctx, hourSQL, hour, firstID(hour), firstID(hour.Add(time.Hour))); err != nil {
			return err
		}
		var pending bool
		err = tx.QueryRow(ctx, `select exists (select from rowbell.queue where committed_at >= $1 and committed_at < $1::timestamptz + interval '1 hour')`, hour).Scan(&pending)
		if err != nil {
			return err
		}
		next := nextCount(hour, now, time.Since(begun), pending)
		if at := now.Add(countEach); reopened && (next == nil || at.Before(*next)) { // by then most have ended anew
			next = &at
		}
		_, err = tx.Exec(ctx, `update rowbell.statistic_hour set next_at = $2 where hour = $1`, hour, next)
		return err
	})
	return more, err
}

// nextCount is when an hour is counted again that was counted now; nil = no more.
func nextCount(hour, now time.Time, took time.Duration, pending bool) *time.Time {
	var next time.Time
	end := hour.Add(time.Hour)
	if now.Before(end) {
		next = now.Add(max(countEach, countingShare*took))
	}
	for _, after := range recounts {
		if at := end.Add(after); at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if pending { // at intervals that grow with its age
		if at := now.Add(max(10*time.Minute, now.Sub(end)/10)); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if next.IsZero() {
		return nil
	}
	return &next
}

// firstID is the least id that an event of that time can have.
func firstID(at time.Time) string {
	var id ulid.ULID
	_ = id.SetTime(uint64(max(at.UnixMilli(), 0))) // fails from the year 10889 on
	return id.String()
}

// countAgainSQL says that executions of commit time $1 are added, to an hour that was counted.
const countAgainSQL = `update rowbell.statistic_hour set next_at = least(next_at, clock_timestamp() + interval '1 minute') where hour = date_trunc('hour', $1::timestamptz, 'UTC')`

// reopenedSQL says that an execution of commit time $1, which may have been counted, is pending
// again. It would be counted twice when it ends: until the hour is counted anew, as soon as
// somebody counts but once a minute at most, nothing is added to it. (It waits for a count that
// runs, and so comes behind it.)
const reopenedSQL = `update rowbell.statistic_hour set next_at = '-infinity' where hour = date_trunc('hour', $1::timestamptz, 'UTC')`

// StatisticFilter says of what statistics are asked for: of one workflow; else of a tenant;
// else of all.
type StatisticFilter struct {
	WorkflowID string
	TenantID   *string   // of the workflows; "" = operators'. With a WorkflowID: it must be its
	Since      time.Time // commit time, to the hour. Defaults to 24 hours before Until
	Until      time.Time // Defaults to now
	Days       bool      // by day instead of by hour
	Zone       *time.Location
	// Live adds what has ended since its hour was counted: a few minutes of it, at most mostLive,
	// and nothing to hours of which something was retried since. Of a workflow it is counted
	// anyway, but for busy hours.
	Live bool
}

// Counts are how executions ended.
type Counts struct {
	Success   int64 `json:"success"`
	Failure   int64 `json:"failure"`
	Cancelled int64 `json:"cancelled"`
	// P50 and P95 are how long it took from the recording of those that succeeded or failed
	// to their end: to a fifth, since counts are kept by steps. nil: there was none.
	P50 *time.Duration `json:"p50_ns,omitempty"`
	P95 *time.Duration `json:"p95_ns,omitempty"`
	// Deliveries are how those ended that have: of a tenant or of all, not of one workflow.
	Deliveries *DeliveryCounts `json:"deliveries,omitempty"`

	steps map[int16]int64
}

// DeliveryCounts are how deliveries ended: an execution has as many as it has actions, and
// people whom these tell.
type DeliveryCounts struct {
	Succeeded int64 `json:"succeeded"`
	Dead      int64 `json:"dead"`
	Cancelled int64 `json:"cancelled"` // with people who were left out
}

// add adds deliveries of another time.
func (d *DeliveryCounts) add(succeeded, dead, cancelled int64) {
	d.Succeeded += succeeded
	d.Dead += dead
	d.Cancelled += cancelled
}

// Bucket is an hour or a day of statistics.
type Bucket struct {
	From time.Time `json:"from"`
	Counts
}

// Statistics are what became of executions by commit time of the change. What is pending is
// not among them.
type Statistics struct {
	Total   Counts   `json:"total"`
	Buckets []Bucket `json:"buckets"` // in order, without gaps
	// AsOf is when the hour of these was counted that was counted first of all, of those that
	// will be again: what has ended since may be missing. The hour that runs is counted each
	// minute or so. With Live it is now, where all that has ended since was added.
	AsOf time.Time `json:"as_of"`
}

// mostStatisticHours is what statistics go back at most.
const mostStatisticHours = 92 * 24

// Statistics reads statistics. Returns ErrNotFound if there is no such workflow in the log.
func (s *State) Statistics(ctx context.Context, f StatisticFilter) (Statistics, error) {
	what := "read statistics"
	if err := f.complete(); err != nil {
		return Statistics{}, err
	}
	st := f.empty()
	if f.WorkflowID != "" {
		what += " of workflow " + f.WorkflowID
	}
	// In one snapshot: what a count moves into the tables meanwhile is neither missing nor twice.
	err := pgx.BeginTxFunc(ctx, s.db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error { return st.read(ctx, tx) })
	if errors.Is(err, pgx.ErrNoRows) {
		return Statistics{}, notFound("there is no workflow %s in the log", f.WorkflowID)
	}
	if err != nil {
		return Statistics{}, stateError(what, err)
	}
	return st.result(), nil
}

// complete fills in what was left out. Returns ErrRange.
func (f *StatisticFilter) complete() error {
	if f.Until.IsZero() {
		f.Until = time.Now()
	}
	if f.Since.IsZero() {
		f.Since = f.Until.Add(-24 * time.Hour)
	}
	f.Since, f.Until = f.Since.UTC().Truncate(time.Hour), f.Until.UTC()
	if f.Zone == nil {
		f.Zone = time.UTC
	}
	if f.Until.Sub(f.Since) > mostStatisticHours*time.Hour {
		return fmt.Errorf("%w: statistics of more than %d days can't be asked for at once", ErrRange, mostStatisticHours/24)
	}
	return nil
}

// empty are statistics without anything, of a filter that is complete.
func (f *StatisticFilter) empty() *statistics {
	return &statistics{f: *f, since: f.Since, until: f.Until, buckets: make(map[time.Time]*Counts)}
}

// ErrRange says that too much is asked for.
var ErrRange = errors.New("too long")

// statistics are being read.
type statistics struct {
	f            StatisticFilter
	since, until time.Time
	buckets      map[time.Time]*Counts
	asOf         time.Time
}

func (st *statistics) read(ctx context.Context, tx pgx.Tx) error {
	var err error
	if st.f.WorkflowID != "" {
		err = st.readWorkflow(ctx, tx)
	} else {
		err = st.readTenant(ctx, tx)
	}
	if err != nil {
		return err
	}
	// An hour that was not counted yet has nothing but what ended since it began.
	var first *time.Time
	var now time.Time
	var reopened bool
	err = tx.QueryRow(ctx, `select min(coalesce(counted_at, hour)), now(), coalesce(bool_or(next_at = '-infinity'), false)
from rowbell.statistic_hour where hour >= $1 and hour < $2 and next_at is not null`, st.since, st.until).Scan(&first, &now, &reopened)
	if err != nil {
		return err
	}
	st.asOf = st.until
	if now.Before(st.until) {
		st.asOf = now
	}
	all := first == nil || !first.Before(st.asOf)
	if st.f.Live && st.f.WorkflowID == "" {
		looked, err := st.readLive(ctx, tx)
		if err != nil {
			return err
		}
		all = all || looked < st.mostLive() && !reopened && now.Sub(*first) < liveBack
	}
	if !all {
		st.asOf = *first
	}
	return nil
}

// from is the beginning of the bucket that an hour belongs to.
func (st *statistics) from(hour time.Time) time.Time {
	if !st.f.Days {
		return hour.UTC()
	}
	t := hour.In(st.f.Zone)
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, st.f.Zone)
}

func (st *statistics) of(hour time.Time) *Counts {
	at := st.from(hour)
	c := st.buckets[at]
	if c == nil {
		c = st.none()
		st.buckets[at] = c
	}
	return c
}

// none is nothing counted.
func (st *statistics) none() *Counts {
	c := &Counts{steps: make(map[int16]int64)}
	if st.f.WorkflowID == "" {
		c.Deliveries = &DeliveryCounts{}
	}
	return c
}

func (st *statistics) readTenant(ctx context.Context, tx pgx.Tx) error {
	tenant := "*"
	if st.f.TenantID != nil {
		tenant = *st.f.TenantID
	}
	rows, err := tx.Query(ctx, `select hour, success, failure, cancelled, steps, counts, sent, dead, dropped from rowbell.tenant_statistic
where tenant_id = $1 and hour >= $2 and hour < $3`, tenant, st.since, st.until)
	if err != nil {
		return err
	}
	return st.add(rows, nil)
}

// How far back, and at how much of what has ended, of all tenants, it is looked for what has ended
// since its hour was counted: who looks at more would be slow, each time, on the busiest installations.
const (
	liveBack = 5 * time.Minute
	mostLive = 50_000
	// For one tenant it is more: what others have doesn't fill its share.
	mostLiveOfAll = 200_000
)

// mostLive is how much is looked at.
func (st *statistics) mostLive() int64 {
	if st.f.TenantID != nil {
		return mostLiveOfAll
	}
	return mostLive
}

// readLive counts what has ended since its hour was counted, and says how much it has looked at
// for that: if it is st.mostLive, there may be more. (The indexes execution_settled and
// delivery_ended_at find it: a stretch of blocks at the end of each partition. By
// clock_timestamp, which is volatile, they could not.)
func (st *statistics) readLive(ctx context.Context, tx pgx.Tx) (looked int64, err error) {
	args := parameters{st.since, st.until, liveBack, st.mostLive()}
	of := ""
	if st.f.TenantID != nil {
		of = ` and ` + tenantIs("v.tenant_id", *st.f.TenantID, &args)
	}
	// It is found first, by itself and of all tenants: for one the server would go along all that
	// its workflows did, version by version.
	found := func(table, at string) string {
		return `with e as materialized (
	select x.* from ` + table + ` x where x.committed_at >= $1 and x.committed_at < $2 and ` + at + ` > now() - $3::interval limit $4
)`
	}
	uncounted := func(at string) string {
		return ` from e x join rowbell.surrogate v on v.ref = x.version_ref left join rowbell.statistic_hour h on h.hour = ` + hourOf + `
	where (h.counted_at is null or ` + at + ` > h.counted_at and h.next_at is distinct from '-infinity')` + of
	}
	// How much was looked at stands in a row of its own, without an hour.
	rows, err := tx.Query(ctx, found("rowbell.execution", "x.settled_at")+`
select hour, status, step, count(*), count(*) filter (where action >= 0) from (
	select `+hourOf+` as hour, x.status, x.action, `+stepSQL+` as step`+uncounted("x.settled_at")+`
) x group by 1, 2, 3
union all select null, '', 0::int2, count(*), 0 from e`, planned(args)...)
	if err != nil {
		return 0, err
	}
	var hour *time.Time
	var status workflow.ExecutionStatus
	var step int16
	var n, sole int64
	if _, err := pgx.ForEachRow(rows, []any{&hour, &status, &step, &n, &sole}, func() error {
		if hour == nil {
			looked = n
		} else {
			st.ended(*hour, status, step, n, sole)
		}
		return nil
	}); err != nil {
		return 0, err
	}
	rows, err = tx.Query(ctx, found("rowbell.delivery_ended", "x.ended_at")+`
select hour, count(*) filter (where status = 'succeeded'), count(*) filter (where status = 'dead'), count(*) filter (where status = 'cancelled') from (
	select `+hourOf+` as hour, x.status`+uncounted("x.ended_at")+` and x.action >= 0
) x group by 1
union all select null, count(*), 0, 0 from e`, planned(args)...)
	if err != nil {
		return 0, err
	}
	var succeeded, dead, cancelled int64
	_, err = pgx.ForEachRow(rows, []any{&hour, &succeeded, &dead, &cancelled}, func() error {
		if hour == nil {
			looked = max(looked, succeeded)
		} else {
			st.of(*hour).Deliveries.add(succeeded, dead, cancelled)
		}
		return nil
	})
	return looked, err
}

// count adds executions that were counted just now.
func (st *statistics) count(rows pgx.Rows) error {
	var hour time.Time
	var status workflow.ExecutionStatus
	var step int16
	var n, sole int64
	_, err := pgx.ForEachRow(rows, []any{&hour, &status, &step, &n, &sole}, func() error {
		st.ended(hour, status, step, n, sole)
		return nil
	})
	return err
}

// ended adds so many executions that ended so. Of those with one delivery, which is told last,
// that ended as they did.
func (st *statistics) ended(hour time.Time, status workflow.ExecutionStatus, step int16, n, sole int64) {
	c := st.of(hour)
	var none DeliveryCounts
	d := cmp.Or(c.Deliveries, &none)
	switch status {
	case workflow.Success:
		c.Success += n
		d.Succeeded += sole
	case workflow.Failure:
		c.Failure += n
		d.Dead += sole
	default:
		c.Cancelled += n
		d.Cancelled += sole
		return
	}
	c.steps[step] += n
}

// add adds rows of the tables: of a workflow's, whose hours are told to seen, or of a tenant's.
func (st *statistics) add(rows pgx.Rows, seen func(ref int32, hour time.Time)) error {
	var ref int32
	var hour time.Time
	var success, failure, cancelled, sent, dead, dropped int64
	var steps []int16
	var counts []int64
	into := []any{&hour, &success, &failure, &cancelled, &steps, &counts}
	if seen != nil {
		into = append(into, &ref)
	} else {
		into = append(into, &sent, &dead, &dropped)
	}
	_, err := pgx.ForEachRow(rows, into, func() error {
		c := st.of(hour)
		c.Success += success
		c.Failure += failure
		c.Cancelled += cancelled
		for i, n := range counts {
			c.steps[steps[i]] += n
		}
		if seen != nil {
			seen(ref, hour)
		} else {
			c.Deliveries.add(sent, dead, dropped)
		}
		return nil
	})
	return err
}

// readWorkflow reads the hours that have rows, and counts what lies between them.
func (st *statistics) readWorkflow(ctx context.Context, tx pgx.Tx) error {
	var args parameters
	sql := "select ref from rowbell.surrogate where kind = 'workflow' and id = " + args.add(st.f.WorkflowID)
	if st.f.TenantID != nil {
		sql += " and " + tenantIs("tenant_id", *st.f.TenantID, &args)
	}
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	refs, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return err
	}
	if len(refs) == 0 {
		return pgx.ErrNoRows
	}
	counted := make(map[int32][]time.Time)
	rows, err = tx.Query(ctx, `select hour, success, failure, cancelled, steps, counts, version_ref from rowbell.workflow_statistic
where version_ref = any ($1) and hour >= $2 and hour < $3`, refs, st.since, st.until)
	if err != nil {
		return err
	}
	if err := st.add(rows, func(ref int32, hour time.Time) { counted[ref] = append(counted[ref], hour.UTC()) }); err != nil {
		return err
	}
	between := stretches(refs, counted, st.since, st.until)
	rows, err = tx.Query(ctx, `select `+hourOf+`, x.status, x.step, count(*), 0::int8
from unnest($1::int4[], $2::timestamptz[], $3::timestamptz[]) w (ref, since, until) cross join lateral (
	select x.committed_at, x.status, `+stepSQL+` as step from rowbell.execution x
	where x.version_ref = w.ref and x.committed_at >= w.since and x.committed_at < w.until offset 0
) x group by 1, 2, 3`, between.refs, between.since, between.until)
	if err != nil {
		return err
	}
	return st.count(rows)
}

func (st *statistics) result() Statistics {
	r := Statistics{Total: *st.none(), AsOf: st.asOf.UTC()}
	for hour := st.since; hour.Before(st.until); hour = hour.Add(time.Hour) {
		at := st.from(hour)
		if n := len(r.Buckets); n > 0 && r.Buckets[n-1].From.Equal(at) {
			continue
		}
		b := Bucket{From: at, Counts: *st.none()}
		if c := st.buckets[at]; c != nil {
			b.Counts = *c
			if d := c.Deliveries; d != nil {
				r.Total.Deliveries.add(d.Succeeded, d.Dead, d.Cancelled)
			}
			r.Total.Success += c.Success
			r.Total.Failure += c.Failure
			r.Total.Cancelled += c.Cancelled
			for step, n := range c.steps {
				r.Total.steps[step] += n
			}
		}
		b.percentiles()
		r.Buckets = append(r.Buckets, b)
	}
	r.Total.percentiles()
	return r
}

func (c *Counts) percentiles() {
	steps := make([]int16, 0, len(c.steps))
	var all int64
	for step, n := range c.steps {
		steps = append(steps, step)
		all += n
	}
	if all == 0 {
		return
	}
	slices.Sort(steps)
	at := func(share float64) *time.Duration {
		rank := share * float64(all)
		var before float64
		for _, step := range steps {
			n := float64(c.steps[step])
			if before+n >= rank {
				low, high := duration(step), duration(step+1)
				d := low + time.Duration((rank-before)/n*float64(high-low))
				return &d
			}
			before += n
		}
		d := duration(steps[len(steps)-1] + 1)
		return &d
	}
	c.P50, c.P95 = at(0.5), at(0.95)
}

// duration is where a step begins.
func duration(step int16) time.Duration {
	return time.Duration((math.Exp2(float64(step)/2) - 1) * float64(time.Millisecond))
}

// LastExecution is the newest settled execution of a workflow.
type LastExecution struct {
	ID          string                   `json:"id"`
	Status      workflow.ExecutionStatus `json:"status"`
	CommittedAt time.Time                `json:"committed_at"`
}

// LastExecutions reads the newest settled execution of each of these workflows, by
// workflow; with a tenant, as far as they were its. One that has none is missing.
func (s *State) LastExecutions(ctx context.Context, workflowIDs []string, tenantID *string) (map[string]LastExecution, error) {
	const what = "read the last executions of workflows"
	list := make(map[string]LastExecution)
	top, bottom, err := s.logEnds(ctx)
	if err != nil {
		return nil, stateError(what, err)
	}
	// The days that have partitions are read from the newest on, each workflow down to the first
	// day that has one. Where the DEFAULT partition is among them the server reads all.
	err = s.lastExecutions(ctx, list, workflowIDs, tenantID, "x.committed_at >= $3 and x.committed_at < $4", bottom, cmp.Or(top, bottom))
	rest := slices.DeleteFunc(slices.Clone(workflowIDs), func(id string) bool { return list[id].ID != "" && !top.IsZero() })
	if err == nil && len(rest) > 0 {
		if top.IsZero() {
			err = s.lastExecutions(ctx, list, rest, tenantID, "true")
		} else {
			err = s.lastExecutions(ctx, list, rest, tenantID, "x.committed_at < $3", bottom)
		}
	}
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

// lastExecutions adds the newest ones of which a condition is true.
func (s *State) lastExecutions(ctx context.Context, list map[string]LastExecution, workflowIDs []string, tenantID *string, within string, args ...any) error {
	rows, err := s.db.Query(ctx, `select distinct on (v.id) v.id, x.id, x.status, x.committed_at
from unnest($1::text[]) w (id)
join rowbell.surrogate v on v.id = w.id and v.kind = 'workflow' and ($2::text is null or coalesce(v.tenant_id, '') = $2)
cross join lateral (
	select x.id, x.status, x.committed_at from rowbell.execution x where x.version_ref = v.ref and `+within+` order by x.committed_at desc limit 1
) x order by v.id, x.committed_at desc`, planned(append([]any{workflowIDs, tenantID}, args...))...)
	if err != nil {
		return err
	}
	var id string
	var last LastExecution
	_, err = pgx.ForEachRow(rows, []any{&id, &last.ID, &last.Status, &last.CommittedAt}, func() error {
		last.CommittedAt = last.CommittedAt.UTC()
		list[id] = last
		return nil
	})
	return err
}
