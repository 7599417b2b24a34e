package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
)

const pauseColumns = `id, coalesce(tenant_id, ''), coalesce(workflow_id, ''), coalesce(kind, ''), reason, until,
	coalesce(extract(epoch from until - clock_timestamp()), 0)::float8, created_by, created_at`

func scanPause(row pgx.CollectableRow) (workflow.Pause, error) {
	var p workflow.Pause
	var until *time.Time
	var left float64
	err := row.Scan(&p.ID, &p.TenantID, &p.WorkflowID, &p.Kind, &p.Reason, &until, &left, &p.CreatedBy, &p.CreatedAt)
	if until != nil {
		p.Until, p.Left = *until, time.Duration(left*float64(time.Second))
	}
	return p, err
}

// Pauses are those that hold, at most limit, the oldest first.
func (s *Source) Pauses(ctx context.Context, limit int) ([]workflow.Pause, error) {
	const what = "read what is paused"
	rows, err := s.db.Query(ctx, `select `+pauseColumns+` from rowbell.pause where until is null or until > clock_timestamp() order by created_at, id limit $1`, limit)
	if err != nil {
		return nil, sourceError(what, err)
	}
	list, err := pgx.CollectRows(rows, scanPause)
	if err != nil {
		return nil, sourceError(what, err)
	}
	return list, nil
}

// Pause writes a pause for so long, 0: until it is ended, and notes who did. One of just
// the same deliveries is replaced. What has ended by itself a while ago is removed.
func (s *Source) Pause(ctx context.Context, p workflow.Pause, long time.Duration, actor string) (workflow.Pause, error) {
	const what = "write rowbell.pause"
	var written workflow.Pause
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if err := sayWho(ctx, tx, actor); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `delete from rowbell.pause where until < clock_timestamp() - interval '1 day'
	or coalesce(tenant_id, '') = $1 and coalesce(workflow_id, '') = $2 and coalesce(kind, '') = $3`, p.TenantID, p.WorkflowID, p.Kind)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `insert into rowbell.pause (tenant_id, workflow_id, kind, reason, until)
values (nullif($1, ''), nullif($2, ''), nullif($3, ''), $4, case when $5::interval > '0' then clock_timestamp() + $5 end)
returning `+pauseColumns, p.TenantID, p.WorkflowID, p.Kind, p.Reason, long)
		if err != nil {
			return err
		}
		if written, err = pgx.CollectExactlyOneRow(rows, scanPause); err != nil {
			return err
		}
		return auditPause(ctx, tx, "pause.begin", &written)
	})
	if err == nil {
		return written, nil
	}
	if err = sourceError(what, err); errors.Is(err, workflow.ErrConflict) {
		return written, conflict("somebody else has paused %s just now; rowbell pause list shows it", &p)
	}
	return written, err
}

func auditPause(ctx context.Context, tx pgx.Tx, action string, p *workflow.Pause) error {
	detail := map[string]any{"of": p.String()}
	for name, value := range map[string]string{"workflow_id": p.WorkflowID, "kind": p.Kind, "reason": p.Reason} {
		if value != "" {
			detail[name] = value
		}
	}
	if !p.Until.IsZero() {
		detail["until"] = p.Until.UTC()
	}
	tenant := p.TenantID
	if p.WorkflowID != "" { // it concerns the workflow's
		err := tx.QueryRow(ctx, `select coalesce(tenant_id, '') from rowbell.workflow_definition where id = $1`, p.WorkflowID).Scan(&tenant)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) { // it may be deleted
			return err
		}
	}
	return note(ctx, tx, Act{TenantID: tenant, Action: action, ObjectType: "pause", ObjectID: p.ID, Detail: detail})
}

// Resume ends the pauses that choose wants, and notes who did. It returns those that held.
func (s *Source) Resume(ctx context.Context, actor string, choose func(workflow.Pause) bool) ([]workflow.Pause, error) {
	const what = "end pauses in rowbell.pause"
	var ended []workflow.Pause
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if err := sayWho(ctx, tx, actor); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `select `+pauseColumns+` from rowbell.pause where until is null or until > clock_timestamp() order by created_at, id`)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, scanPause)
		if err != nil {
			return err
		}
		for i := range list {
			if !choose(list[i]) {
				continue
			}
			tag, err := tx.Exec(ctx, `delete from rowbell.pause where id = $1`, list[i].ID)
			if err != nil {
				return err
			}
			if tag.RowsAffected() == 0 {
				continue // somebody else has just done so
			}
			if err := auditPause(ctx, tx, "pause.end", &list[i]); err != nil {
				return err
			}
			ended = append(ended, list[i])
		}
		return nil
	})
	if err != nil {
		return nil, sourceError(what, err)
	}
	return ended, nil
}

// OwnsWorkflows says whether a tenant has any workflow.
func (s *Source) OwnsWorkflows(ctx context.Context, tenantID string) (bool, error) {
	var is bool
	err := s.db.QueryRow(ctx, `select exists (select from rowbell.workflow_definition where tenant_id = $1)`, tenantID).Scan(&is)
	if err != nil {
		return false, sourceError("look for workflows of tenant "+tenantID, err)
	}
	return is, nil
}

// ChoosePauses are the pauses of a list with these ids, and the one of just the same
// deliveries as of, if that isn't nil. Returns ErrNotFound if one of them isn't there.
func ChoosePauses(list []workflow.Pause, ids []string, of *workflow.Pause) ([]workflow.Pause, error) {
	for _, id := range ids {
		if !slices.ContainsFunc(list, func(p workflow.Pause) bool { return p.ID == id }) {
			return nil, notFound("there is no pause %s; rowbell pause list has all", id)
		}
	}
	same := func(p workflow.Pause) bool {
		return of != nil && p.TenantID == of.TenantID && p.WorkflowID == of.WorkflowID && p.Kind == of.Kind
	}
	if of != nil && !slices.ContainsFunc(list, same) {
		text := fmt.Sprintf("there is no pause of %s", of)
		if len(list) > 0 {
			text += "; paused are: " + PauseNames(list)
		}
		return nil, notFound("%s", text)
	}
	return slices.DeleteFunc(slices.Clone(list), func(p workflow.Pause) bool { return !slices.Contains(ids, p.ID) && !same(p) }), nil
}

// PauseNames says what is paused, not of very many.
func PauseNames(list []workflow.Pause) string {
	const most = 5
	var names []string
	for i := range list[:min(most, len(list))] {
		names = append(names, list[i].String())
	}
	if more := len(list) - most; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, "; ")
}
