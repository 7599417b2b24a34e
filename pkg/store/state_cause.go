package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// CauseFilter chooses failures that are counted by their causes.
type CauseFilter struct {
	TenantID   *string // of the workflow; "" = operators' workflows
	WorkflowID string
	Since      time.Time // commit time of the change. Defaults to 24 hours ago
	Limit      int       // how many causes: those with the most failures. Defaults to 100; at most 1000
}

// Cause is why executions failed.
type Cause struct {
	WorkflowID   string    `json:"workflow_id"`
	WorkflowName string    `json:"workflow_name"`
	TenantID     string    `json:"tenant_id,omitempty"`
	Cause        string    `json:"cause"` // the error with its numbers left out
	Count        int       `json:"count"`
	FirstSeen    time.Time `json:"first_seen"` // commit times
	LastSeen     time.Time `json:"last_seen"`
	ExampleID    string    `json:"example_execution_id"` // the last of them
	ExampleError string    `json:"example_error"`
}

// Causes are failed executions by their causes.
type Causes struct {
	Causes []Cause `json:"causes"` // the most frequent first
	// Counted is how many failures were looked at: the newest ones. All says that these are
	// all that were asked for; if not, From is the commit time of the oldest.
	Counted int       `json:"counted"`
	All     bool      `json:"all"`
	From    time.Time `json:"from"`
}

// mostCounted is how many failures are counted by their causes.
const mostCounted = 1000

// FailureCauses counts failed executions by workflow and cause.
func (s *State) FailureCauses(ctx context.Context, f CauseFilter) (Causes, error) {
	const what = "count failures by their causes"
	if f.Since.IsZero() {
		f.Since = time.Now().Add(-24 * time.Hour)
	}
	var args parameters
	const failed = "select x.id, x.version_ref, x.committed_at, x.error from rowbell.execution x where x.status <> 'success' and x.committed_at >= "
	// The status as a variable, so that the index of failures by their end isn't taken.
	const each = "select x.* from unnest('{failure}'::text[]) s (status) cross join lateral (%s$1 and x.status = s.status order by x.committed_at desc limit %d) x"
	args.add(f.Since)
	sql := fmt.Sprintf(each, failed, mostCounted+1)
	if f.WorkflowID != "" || f.TenantID != nil {
		versions := "select ref from rowbell.surrogate where kind = 'workflow'"
		if f.WorkflowID != "" {
			versions += " and id = " + args.add(f.WorkflowID)
		}
		if f.TenantID != nil {
			versions += " and " + tenantIs("tenant_id", *f.TenantID, &args)
		}
		sql = fmt.Sprintf("select x.* from (%s) w cross join lateral (%s$1 and x.version_ref = w.ref and x.status = 'failure' order by x.committed_at desc limit %[3]d) x order by x.committed_at desc limit %[3]d",
			versions, failed, mostCounted+1)
	}
	limit := listLimit(f.Limit)
	rows, err := s.db.Query(ctx, fmt.Sprintf(`with f as materialized (%s), g as (
	select v.id, v.name, v.tenant_id, coalesce(regexp_replace(f.error, '[0-9]+', '#', 'g'), 'unknown') as cause, f.id as execution_id, f.error, f.committed_at
	from f join rowbell.surrogate v on v.ref = f.version_ref
)
select (select count(*) from f), (select min(committed_at) from f), id, max(name), coalesce(tenant_id, ''), cause, count(*)::int4, min(committed_at), max(committed_at),
	(array_agg(execution_id order by committed_at desc))[1], coalesce((array_agg(error order by committed_at desc))[1], '')
from g group by id, tenant_id, cause order by count(*) desc, max(committed_at) desc, id, cause limit %d`, sql, limit), planned(args)...)
	if err != nil {
		return Causes{}, stateError(what, err)
	}
	c := Causes{Causes: []Cause{}, All: true, From: f.Since.UTC()}
	var n int
	var oldest time.Time
	c.Causes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Cause, error) {
		var g Cause
		err := row.Scan(&n, &oldest, &g.WorkflowID, &g.WorkflowName, &g.TenantID, &g.Cause, &g.Count, &g.FirstSeen, &g.LastSeen, &g.ExampleID, &g.ExampleError)
		g.FirstSeen, g.LastSeen = g.FirstSeen.UTC(), g.LastSeen.UTC()
		return g, err
	})
	if err != nil {
		return Causes{}, stateError(what, err)
	}
	if c.Counted = n; n > mostCounted {
		c.All, c.From = false, oldest.UTC()
	}
	return c, nil
}
