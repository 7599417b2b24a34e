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
	// Dismissed asks for those that are dismissed, in place of those that aren't: the last
	// dismissed first, also those of which there was no failure since then.
	Dismissed bool
}

// Cause is why executions failed.
type Cause struct {
	ID           string    `json:"id"` // of workflow and cause
	WorkflowID   string    `json:"workflow_id"`
	WorkflowName string    `json:"workflow_name"`
	TenantID     string    `json:"tenant_id,omitempty"`
	Cause        string    `json:"cause"` // the error with its numbers left out
	Count        int       `json:"count"`
	FirstSeen    time.Time `json:"first_seen,omitempty,omitzero"` // commit times; zero without any
	LastSeen     time.Time `json:"last_seen,omitempty,omitzero"`
	LastEnded    time.Time `json:"last_ended,omitempty,omitzero"`  // when it was given up last
	ExampleID    string    `json:"example_execution_id,omitempty"` // the last of them
	ExampleError string    `json:"example_error,omitempty"`
	// Dismissed says that it was dismissed: unless another execution failed since, it is.
	Dismissed *Dismissal `json:"dismissed,omitempty"`
}

// dismissed says that a dismissal still counts.
func (c *Cause) dismissed() bool { return c.Dismissed != nil && !c.LastEnded.After(c.Dismissed.At) }

// Causes are failed executions by their causes.
type Causes struct {
	Causes []Cause `json:"causes"` // the most frequent first; of those that are dismissed, the last one
	// Dismissed is how many of what was counted failed for a cause that is dismissed.
	Dismissed int `json:"dismissed"`
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
	if f.Since.IsZero() {
		f.Since = time.Now().Add(-24 * time.Hour)
	}
	c, err := s.allCauses(ctx, f)
	if err != nil {
		return c, err
	}
	ids := make([]string, len(c.Causes))
	for i := range c.Causes {
		g := &c.Causes[i]
		g.ID = causeID(g.TenantID, g.WorkflowID, g.Cause)
		ids[i] = g.ID
	}
	of, err := s.dismissals(ctx, ids)
	if err != nil {
		return c, stateError("read which causes of failures are dismissed", err)
	}
	open := make([]Cause, 0, len(c.Causes)) // as JSON it is a list, though there is none
	seen := make(map[string]Cause)
	for _, g := range c.Causes {
		if d, ok := of[g.ID]; ok {
			g.Dismissed = &d
		}
		if !g.dismissed() {
			open = append(open, g)
		} else {
			c.Dismissed += g.Count
		}
		seen[g.ID] = g
	}
	if f.Dismissed {
		c.Causes, err = s.dismissedCauses(ctx, f, seen)
		return c, err
	}
	c.Causes = open[:min(len(open), listLimit(f.Limit))]
	return c, nil
}

// dismissedCauses lists those that are dismissed, with what was counted of them.
func (s *State) dismissedCauses(ctx context.Context, f CauseFilter, seen map[string]Cause) ([]Cause, error) {
	list, err := s.Dismissals(ctx, f.TenantID, f.WorkflowID, f.Limit)
	if err != nil {
		return nil, err
	}
	names, err := s.workflowNames(ctx, list)
	if err != nil {
		return nil, err
	}
	causes := []Cause{}
	for _, d := range list {
		g, ok := seen[d.ID]
		if !ok {
			g = Cause{ID: d.ID, WorkflowID: d.WorkflowID, WorkflowName: names[d.WorkflowID], TenantID: d.TenantID, Cause: d.Cause, Dismissed: &d}
		}
		if g.dismissed() {
			causes = append(causes, g)
		}
	}
	return causes, nil
}

// workflowNames are what the workflows of dismissals are called.
func (s *State) workflowNames(ctx context.Context, list []Dismissal) (map[string]string, error) {
	ids := make([]string, len(list))
	for i, d := range list {
		ids[i] = d.WorkflowID
	}
	names := make(map[string]string)
	rows, err := s.db.Query(ctx, `select distinct on (id) id, name from rowbell.surrogate where kind = 'workflow' and id = any ($1) order by id, ref desc`, ids)
	if err == nil {
		var id, name string
		_, err = pgx.ForEachRow(rows, []any{&id, &name}, func() error {
			names[id] = name
			return nil
		})
	}
	if err != nil {
		return nil, stateError("read the names of workflows", err)
	}
	return names, nil
}

// allCauses are those of both sorts, without what says whether they are dismissed.
func (s *State) allCauses(ctx context.Context, f CauseFilter) (Causes, error) {
	const what = "count failures by their causes"
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
		c, err := s.failureCauses(ctx, p)
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
func (s *State) failureCauses(ctx context.Context, p *pager) (Causes, error) {
	var args parameters
	p.look = mostCounted + 1
	with := p.with(&args)
	mine := "true"
	if p.tenantID != nil {
		mine = tenantIs("v.tenant_id", *p.tenantID, &args)
	}
	rows, err := s.db.Query(ctx, fmt.Sprintf(`%s, g as (
	select v.id, v.name, v.tenant_id, coalesce(regexp_replace(c.error, '[0-9]+', '#', 'g'), 'unknown') as cause, c.id as execution_id, c.error, c.committed_at, c.settled_at
	from c join rowbell.surrogate v on v.ref = c.version_ref and %s
)
select (select count(*) from c), (select min(committed_at) from c), id, max(name), coalesce(tenant_id, ''), cause, count(*)::int4, min(committed_at), max(committed_at), max(settled_at),
	(array_agg(execution_id order by committed_at desc))[1], coalesce((array_agg(error order by committed_at desc))[1], '')
from g group by id, tenant_id, cause order by count(*) desc, max(committed_at) desc, id, cause`, with, mine), planned(args)...)
	if err != nil {
		return Causes{}, err
	}
	c := Causes{}
	c.Causes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Cause, error) {
		var g Cause
		err := row.Scan(&c.Counted, &c.From, &g.WorkflowID, &g.WorkflowName, &g.TenantID, &g.Cause, &g.Count, &g.FirstSeen, &g.LastSeen, &g.LastEnded, &g.ExampleID, &g.ExampleError)
		g.FirstSeen, g.LastSeen, g.LastEnded = g.FirstSeen.UTC(), g.LastSeen.UTC(), g.LastEnded.UTC()
		return g, err
	})
	c.From = c.From.UTC()
	return c, err
}
