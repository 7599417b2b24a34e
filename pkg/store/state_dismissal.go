package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Dismissal says that a cause of failures needs nobody any more. It counts until another
// execution fails for it.
type Dismissal struct {
	ID         string    `json:"id"` // of the cause
	TenantID   string    `json:"tenant_id,omitempty"`
	WorkflowID string    `json:"workflow_id"`
	Cause      string    `json:"cause"`
	Note       string    `json:"note"` // why
	By         string    `json:"by"`
	At         time.Time `json:"at"` // state server's clock
}

// causeID names a cause of a workflow's failures. The workflow's id may have been another
// tenant's before.
func causeID(tenantID, workflowID, cause string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s %d:%s %s", len(tenantID), tenantID, len(workflowID), workflowID, cause))
	return hex.EncodeToString(sum[:16])
}

// Bounds of what is dismissed.
const (
	mostDismissals = 1000   // of a tenant
	mostFailures   = 10_000 // of a workflow, among which a cause is looked for: the newest
)

const dismissalColumns = `d.id, d.tenant_id, d.workflow_id, d.cause, d.note, d.dismissed_by, d.dismissed_at`

func scanDismissal(row pgx.CollectableRow) (Dismissal, error) {
	d, err := pgx.RowToStructByPos[Dismissal](row)
	d.At = d.At.UTC()
	return d, err
}

// dismissals reads those of these causes, by id.
func (s *State) dismissals(ctx context.Context, ids []string) (map[string]Dismissal, error) {
	rows, err := s.db.Query(ctx, `select `+dismissalColumns+` from rowbell.dismissal d where d.id = any ($1)`, ids)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, scanDismissal)
	of := make(map[string]Dismissal, len(list))
	for _, d := range list {
		of[d.ID] = d
	}
	return of, err
}

// Dismissals lists what has been dismissed, the last first.
func (s *State) Dismissals(ctx context.Context, tenantID *string, workflowID string, limit int) ([]Dismissal, error) {
	rows, err := s.db.Query(ctx, `select `+dismissalColumns+` from rowbell.dismissal d
where ($1::text is null or d.tenant_id = $1) and ($2 = '' or d.workflow_id = $2) order by d.dismissed_at desc, d.id limit $3`, tenantID, workflowID, listLimit(limit))
	if err == nil {
		var list []Dismissal
		if list, err = pgx.CollectRows(rows, scanDismissal); err == nil {
			return list, nil
		}
	}
	return nil, stateError("list dismissed causes of failures", err)
}

// Dismissal reads one. Returns ErrNotFound.
func (s *State) Dismissal(ctx context.Context, id string) (Dismissal, error) {
	of, err := s.dismissals(ctx, []string{id})
	if err != nil {
		return Dismissal{}, stateError("read a dismissed cause of failures", err)
	}
	d, ok := of[id]
	if !ok {
		return d, notFound("no cause of failures is dismissed under %.80q", id)
	}
	return d, nil
}

// Dismiss dismisses a cause of a workflow's failures, with the note that d has, by whom it says;
// with a tenant, one of its workflow. Returns ErrNotFound if no execution has failed for it, and
// ErrConflict if too many are dismissed already.
func (s *State) Dismiss(ctx context.Context, d Dismissal, tenantID *string) (Dismissal, error) {
	what := fmt.Sprintf("dismiss a cause of failures of workflow %s", d.WorkflowID)
	// The newest failures of the workflow, by execution_unwell: the error itself is read, since a
	// cause has # in place of numbers.
	err := s.db.QueryRow(ctx, `select v.tenant_id from (
	select coalesce(v.tenant_id, '') as tenant_id, f.error from rowbell.surrogate v cross join lateral (
		select x.error, x.committed_at from rowbell.execution x where x.version_ref = v.ref and x.status <> 'success' and x.status = 'failure' order by x.committed_at desc limit $4
	) f where v.kind = 'workflow' and v.id = $1 and ($2::text is null or coalesce(v.tenant_id, '') = $2)
	order by f.committed_at desc limit $4
) v where coalesce(regexp_replace(v.error, '[0-9]+', '#', 'g'), 'unknown') = $3 limit 1`, d.WorkflowID, tenantID, d.Cause, mostFailures).Scan(&d.TenantID)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, notFound("no execution of workflow %s in the log has failed like this; rowbell failure list has the causes that there are", d.WorkflowID)
	}
	if err != nil {
		return d, stateError(what, err)
	}
	d.ID = causeID(d.TenantID, d.WorkflowID, d.Cause)
	err = s.db.QueryRow(ctx, `insert into rowbell.dismissal as d (id, tenant_id, workflow_id, cause, note, dismissed_by)
select $1, $2, $3, $4, $5, $6 where (select count(*) from rowbell.dismissal o where o.tenant_id = $2 and o.id <> $1) < $7
on conflict (id) do update set note = excluded.note, dismissed_by = excluded.dismissed_by, dismissed_at = clock_timestamp()
returning d.dismissed_at`, d.ID, d.TenantID, d.WorkflowID, storable(d.Cause), storable(d.Note), d.By, mostDismissals).Scan(&d.At)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, conflict("%d causes of failures are dismissed, and that is the most; bring some back first", mostDismissals)
	}
	if err != nil {
		return d, stateError(what, err)
	}
	d.At = d.At.UTC()
	return d, nil
}

// RestoreFailure takes a dismissal away. Returns ErrNotFound.
func (s *State) RestoreFailure(ctx context.Context, id string) error {
	tag, err := s.db.Exec(ctx, `delete from rowbell.dismissal where id = $1`, id)
	if err != nil {
		return stateError("bring a dismissed cause of failures back", err)
	}
	if tag.RowsAffected() == 0 {
		return notFound("no cause of failures is dismissed under %.80q", id)
	}
	return nil
}
