package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
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
const mostCounted = 500

// FailureCauses counts failed executions by workflow and cause.
func (s *State) FailureCauses(ctx context.Context, f CauseFilter) (Causes, error) {
	const what = "count failures by their causes"
	if f.Since.IsZero() {
		f.Since = time.Now().Add(-24 * time.Hour)
	}
	q := logSearch{sources: executionSources, tenantID: f.TenantID, statuses: []string{string(workflow.Failure)}, since: f.Since, limit: mostCounted}
	if f.WorkflowID != "" {
		q.workflowIDs = []string{f.WorkflowID}
	}
	p := &pager{logSearch: q, begun: time.Now()}
	if err := p.choose(ctx, s); err != nil {
		return Causes{}, stateError(what, err)
	}
	if p.nothing {
		return Causes{Causes: []Cause{}, All: true, From: f.Since.UTC()}, nil
	}
	for {
		c, err := s.failureCauses(ctx, p, listLimit(f.Limit))
		if err != nil {
			return Causes{}, stateError(what, err)
		}
		if c.Counted > mostCounted || p.from.IsZero() || !p.from.After(p.since) {
			if c.All = c.Counted <= mostCounted; c.All {
				c.From = f.Since.UTC()
			}
			return c, nil
		}
		// The window was too short for so many.
		from := p.from
		p.step++
		if p.setWindow(); !p.from.Before(from) { // the hours whose counts are known have all been looked at
			p.from = p.since.Truncate(time.Millisecond)
			p.along(p.windowTop())
		}
	}
}

// failureCauses counts those of the search's window.
func (s *State) failureCauses(ctx context.Context, p *pager, limit int) (Causes, error) {
	var args parameters
	p.look = mostCounted + 1
	with := p.with(&args)
	mine := "true"
	if p.tenantID != nil {
		mine = tenantIs("v.tenant_id", *p.tenantID, &args)
	}
	rows, err := s.db.Query(ctx, fmt.Sprintf(`%s, g as (
	select v.id, v.name, v.tenant_id, coalesce(regexp_replace(c.error, '[0-9]+', '#', 'g'), 'unknown') as cause, c.id as execution_id, c.error, c.committed_at
	from c join rowbell.surrogate v on v.ref = c.version_ref and %s
)
select (select count(*) from c), (select min(committed_at) from c), id, max(name), coalesce(tenant_id, ''), cause, count(*)::int4, min(committed_at), max(committed_at),
	(array_agg(execution_id order by committed_at desc))[1], coalesce((array_agg(error order by committed_at desc))[1], '')
from g group by id, tenant_id, cause order by count(*) desc, max(committed_at) desc, id, cause limit %d`, with, mine, limit), planned(args)...)
	if err != nil {
		return Causes{}, err
	}
	c := Causes{}
	c.Causes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Cause, error) {
		var g Cause
		err := row.Scan(&c.Counted, &c.From, &g.WorkflowID, &g.WorkflowName, &g.TenantID, &g.Cause, &g.Count, &g.FirstSeen, &g.LastSeen, &g.ExampleID, &g.ExampleError)
		g.FirstSeen, g.LastSeen = g.FirstSeen.UTC(), g.LastSeen.UTC()
		return g, err
	})
	c.From = c.From.UTC()
	return c, err
}
