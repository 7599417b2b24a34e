package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// WorkflowRuns are what a list shows of one workflow's executions.
type WorkflowRuns struct {
	WorkflowID string `json:"workflow_id"`
	// Last is the newest that has ended, whenever that was.
	Last    LastExecution `json:"last_execution"`
	Total   Counts        `json:"total"`   // without percentiles and deliveries
	Buckets []Bucket      `json:"buckets"` // in order, without gaps
}

// WorkflowRuns reads statistics, and the last executions, of several workflows at once, in the
// order in which they are named; one of which none has ended is missing. Of the filter Days,
// Zone, Since, Until and TenantID count. Percentiles and deliveries are left out, and so no row
// of an execution is read that went well: busy hours are counted already, and of the others an
// index knows how many there are (execution_version), and another one those that didn't go
// well (execution_unwell), which are few.
func (s *State) WorkflowRuns(ctx context.Context, workflowIDs []string, f StatisticFilter) ([]WorkflowRuns, error) {
	what := fmt.Sprintf("read statistics of %d workflows", len(workflowIDs))
	if err := f.complete(); err != nil {
		return nil, err
	}
	of := make(map[string]*statistics, len(workflowIDs))
	var last map[string]LastExecution
	g, both := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := pgx.BeginTxFunc(both, s.db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			return readRuns(both, tx, workflowIDs, f, of)
		})
		if err != nil {
			return stateError(what, err)
		}
		return nil
	})
	g.Go(func() (err error) {
		last, err = s.LastExecutions(both, workflowIDs, f.TenantID)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	list := []WorkflowRuns{}
	for _, id := range workflowIDs {
		x, ok := last[id]
		if of[id] == nil || !ok {
			continue
		}
		r := of[id].result()
		list = append(list, WorkflowRuns{WorkflowID: id, Last: x, Total: r.Total, Buckets: r.Buckets})
		delete(of, id) // who is named twice is there once
	}
	return list, nil
}

// readRuns reads the hours that were counted, and counts what lies between them. What it finds
// goes into of, by workflow.
func readRuns(ctx context.Context, tx pgx.Tx, ids []string, f StatisticFilter, of map[string]*statistics) error {
	var args parameters
	sql := "select ref, id from rowbell.surrogate where kind = 'workflow' and id = any (" + args.add(ids) + ")"
	if f.TenantID != nil {
		sql += " and " + tenantIs("tenant_id", *f.TenantID, &args)
	}
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	var ref int32
	var id string
	versions := make(map[int32]*statistics)
	var refs []int32
	if _, err := pgx.ForEachRow(rows, []any{&ref, &id}, func() error {
		if of[id] == nil {
			mine := f
			mine.WorkflowID = id // of one workflow, deliveries are not counted
			of[id] = mine.empty()
		}
		versions[ref], refs = of[id], append(refs, ref)
		return nil
	}); err != nil || len(refs) == 0 {
		return err
	}
	since, until := f.Since, f.Until
	rows, err = tx.Query(ctx, `select version_ref, hour, success, failure, cancelled from rowbell.workflow_statistic
where version_ref = any ($1) and hour >= $2 and hour < $3`, refs, since, until)
	if err != nil {
		return err
	}
	counted := make(map[int32][]time.Time)
	var hour time.Time
	var success, failure, cancelled int64
	if _, err := pgx.ForEachRow(rows, []any{&ref, &hour, &success, &failure, &cancelled}, func() error {
		counted[ref] = append(counted[ref], hour.UTC())
		c := versions[ref].of(hour)
		c.Success, c.Failure, c.Cancelled = c.Success+success, c.Failure+failure, c.Cancelled+cancelled
		return nil
	}); err != nil {
		return err
	}
	g := stretches(refs, counted, since, until)
	// All of them by the index alone, and then those that didn't go well. The whole of the time
	// stands there as well, so that only its partitions are planned and locked.
	rows, err = tx.Query(ctx, `select w.ref, x.hour, x.n from unnest($1::int4[], $2::timestamptz[], $3::timestamptz[]) w (ref, since, until) cross join lateral (
	select `+hourOf+` as hour, count(*) as n from rowbell.execution x
	where x.version_ref = w.ref and x.committed_at >= w.since and x.committed_at < w.until and x.committed_at >= $4 and x.committed_at < $5 group by 1
) x`, planned([]any{g.refs, g.since, g.until, since, until})...)
	if err != nil {
		return err
	}
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&ref, &hour, &n}, func() error {
		versions[ref].of(hour).Success += n
		return nil
	}); err != nil {
		return err
	}
	rows, err = tx.Query(ctx, `select w.ref, x.hour, x.status, x.n from unnest($1::int4[], $2::timestamptz[], $3::timestamptz[]) w (ref, since, until) cross join lateral (
	select `+hourOf+` as hour, x.status, count(*) as n from rowbell.execution x
	where x.version_ref = w.ref and x.committed_at >= w.since and x.committed_at < w.until and x.committed_at >= $4 and x.committed_at < $5 and x.status <> 'success' group by 1, 2
) x`, planned([]any{g.refs, g.since, g.until, since, until})...)
	if err != nil {
		return err
	}
	var status workflow.ExecutionStatus
	_, err = pgx.ForEachRow(rows, []any{&ref, &hour, &status, &n}, func() error {
		c := versions[ref].of(hour)
		c.Success -= n
		if status == workflow.Failure {
			c.Failure += n
		} else {
			c.Cancelled += n
		}
		return nil
	})
	return err
}

// uncounted are stretches of time of workflow versions that are not among the counted hours.
type uncounted struct {
	refs         []int32
	since, until []time.Time
}

func stretches(refs []int32, counted map[int32][]time.Time, since, until time.Time) (g uncounted) {
	for _, ref := range refs {
		at := since
		hours := counted[ref]
		slices.SortFunc(hours, time.Time.Compare)
		for _, hour := range append(hours, until) {
			if at.Before(hour) {
				g.refs, g.since, g.until = append(g.refs, ref), append(g.since, at), append(g.until, hour)
			}
			at = hour.Add(time.Hour)
		}
	}
	return g
}
