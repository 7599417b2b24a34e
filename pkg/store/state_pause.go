package store

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// pausedSQL says of a row q of queue that it is paused, by refs, kinds, and both joined by
// a blank. Refs may be very many: in a subquery they are hashed once, while "= any" of an
// array would compare with each of them, for each row.
func pausedSQL(refs, kinds, both string) string {
	return `(q.version_ref in (select unnest(` + refs + `::int4[])) or q.kind = any (` + kinds + `::text[])
		or cardinality(` + both + `::text[]) > 0 and (q.version_ref || ' ' || q.kind) in (select unnest(` + both + `::text[])))`
}

// claimPausedSQL is claimSQL that leaves out what is paused. It is a statement of its own,
// so that claims take no longer while nothing is.
var claimPausedSQL = func() string {
	sql := claimSQL
	for _, change := range [][2]string{
		{"else 0 end as room\n", "else 0 end as room, coalesce(r.behind, '-infinity') as behind\n"},
		{"unnest($5::int8[], $6::int4[]) r (lane, room)", "unnest($5::int8[], $6::int4[], $13::timestamptz[]) r (lane, room, behind)"},
		{"q.ready_at <= now() and", "q.ready_at <= now() and q.ready_at >= s.behind and not (" + pausedSQL("$10", "$11", "$12") + ") and"},
	} {
		if strings.Count(sql, change[0]) != 1 {
			panic("claimSQL has changed: " + change[0])
		}
		sql = strings.Replace(sql, change[0], change[1], 1)
	}
	return sql
}()

// pausedArgs are args of claimSQL, with what is paused.
func pausedArgs(c workflow.Claim, args []any) []any {
	lanes, rooms := slices.Clone(args[4].([]int64)), make([]*int32, 0, len(c.Room))
	at := make(map[int64]int, len(lanes))
	for i, room := range args[5].([]int32) {
		rooms = append(rooms, &room)
		at[lanes[i]] = i
	}
	behind := make([]*time.Time, len(lanes))
	// A claim looks at so many lanes at most, and each of them is compared with each here.
	first, _ := slices.BinarySearchFunc(c.Paused.Behind, c.After+1, func(b workflow.Behind, lane int64) int {
		switch {
		case b.Lane < lane:
			return -1
		case b.Lane > lane:
			return 1
		}
		return 0
	})
	for _, b := range c.Paused.Behind[first:min(len(c.Paused.Behind), first+lanesAtOnce)] {
		if i, known := at[b.Lane]; known {
			behind[i] = &b.At
			continue
		}
		lanes, rooms, behind = append(lanes, b.Lane), append(rooms, nil), append(behind, &b.At)
	}
	args = slices.Clone(args)
	args[4], args[5] = lanes, rooms
	return append(args, orEmpty(c.Paused.Refs), orEmpty(c.Paused.Kinds), bothOf(c.Paused), behind)
}

// orEmpty is a list that is no null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func bothOf(p *workflow.Paused) []string {
	both := make([]string, len(p.Of))
	for i, o := range p.Of {
		both[i] = strconv.Itoa(int(o.Ref)) + " " + o.Kind
	}
	return both
}

const (
	// fewPaused is how many paused deliveries of a lane a claim may read past.
	fewPaused = 20
	// lateReady is how long a row may take to be seen after its ready_at was written.
	lateReady = 5 * time.Second
)

// BehindPaused looks at which lanes have more than a few paused deliveries that are due
// before the first one that isn't paused, and returns where that stands, at most limit lanes
// sorted by their numbers. What comes before that by its time, but later than this looks,
// such as what a process gives back, is seen when this looks again.
func (q *Queue) BehindPaused(ctx context.Context, p *workflow.Paused, limit int) ([]workflow.Behind, error) {
	const what = "look at which deliveries are paused"
	conn, err := q.open(ctx)
	if err != nil {
		return nil, stateError(what, err)
	}
	rows, err := conn.Query(ctx, `with recursive lane (lane) as (
	(select q.lane from rowbell.queue q order by q.lane limit 1)
	union all
	select (select q.lane from rowbell.queue q where q.lane > l.lane order by q.lane limit 1) from lane l where l.lane is not null
)
select l.lane, b.at from lane l
cross join lateral (
	select least(now() - $4::interval, (
		select q.ready_at from rowbell.queue q
		where q.lane = l.lane and q.ready_at <= now() and (q.lease_until is null or q.lease_until <= now()) and not (`+pausedSQL("$1", "$2", "$3")+`)
		order by q.ready_at limit 1
	)) as at
) b
where l.lane is not null and (
	select count(*) from (select from rowbell.queue q where q.lane = l.lane and q.ready_at < b.at limit $5::int4) few
) >= $5::int4
order by l.lane limit $6`, orEmpty(p.Refs), orEmpty(p.Kinds), bothOf(p), lateReady, fewPaused, limit)
	if err != nil {
		return nil, stateError(what, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[workflow.Behind])
	if err != nil {
		return nil, stateError(what, err)
	}
	return list, nil
}

// VersionsOf are the surrogates of all versions of these workflows and tenants, by both; and
// the last surrogate that there is: until that grows there are no more.
func (s *State) VersionsOf(ctx context.Context, workflowIDs, tenantIDs []string) (byWorkflow, byTenant map[string][]int32, last int32, err error) {
	const what = "read which versions are of paused workflows and tenants"
	if err = s.db.QueryRow(ctx, `select coalesce(max(ref), 0) from rowbell.surrogate`).Scan(&last); err != nil {
		return nil, nil, 0, stateError(what, err)
	}
	byWorkflow, byTenant = make(map[string][]int32), make(map[string][]int32)
	for _, by := range []struct {
		column string
		ids    []string
		refs   map[string][]int32
	}{{"id", workflowIDs, byWorkflow}, {"tenant_id", tenantIDs, byTenant}} {
		if len(by.ids) == 0 {
			continue
		}
		rows, err := s.db.Query(ctx, `select `+by.column+`, ref from rowbell.surrogate where `+by.column+` = any ($1) and kind = 'workflow'`, by.ids)
		if err != nil {
			return nil, nil, 0, stateError(what, err)
		}
		var id string
		var ref int32
		if _, err := pgx.ForEachRow(rows, []any{&id, &ref}, func() error { by.refs[id] = append(by.refs[id], ref); return nil }); err != nil {
			return nil, nil, 0, stateError(what, err)
		}
	}
	return byWorkflow, byTenant, last, nil
}

// LastVersion is the last surrogate that was given out.
func (s *State) LastVersion(ctx context.Context) (int32, error) {
	var last int32
	if err := s.db.QueryRow(ctx, `select coalesce(max(ref), 0) from rowbell.surrogate`).Scan(&last); err != nil {
		return 0, stateError("read which versions there are", err)
	}
	return last, nil
}
