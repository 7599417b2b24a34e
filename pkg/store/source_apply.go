package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Create writes a workflow that there is not yet, with its parts and its status: one version
// comes of it, whose number is returned. Returns ErrConflict if there is one of this id, or
// if an id is one of another workflow's parts.
func (s *Source) Create(ctx context.Context, e Edit, w *workflow.Workflow) (version int32, err error) {
	return s.put(ctx, e, func(tx pgx.Tx) (tenantID string, err error) {
		if w.TenantID != nil {
			tenantID = *w.TenantID
		}
		tag, err := tx.Exec(ctx, `insert into rowbell.workflow_definition (id, tenant_id, name, description, status, settings)
values ($1, nullif($2, ''), $3, $4, $5, $6) on conflict (id) do nothing`, e.WorkflowID, tenantID, w.Name, w.Description, w.Status, object(w.Settings))
		if err == nil && tag.RowsAffected() == 0 {
			err = conflict("somebody else has made a workflow of this id just now; look at it again")
		}
		if err != nil {
			return "", err
		}
		return tenantID, putParts(ctx, tx, e.WorkflowID, w)
	})
}

// Replace makes w, but for its id and tenant, what the workflow is, with its status, as
// Publish does, and leaves the draft that is there. Returns the number of the version that
// came of it.
func (s *Source) Replace(ctx context.Context, e Edit, w *workflow.Workflow) (int32, error) {
	return s.put(ctx, e, func(tx pgx.Tx) (tenantID string, err error) {
		if tenantID, err = s.hold(ctx, tx, e); err != nil {
			return "", err
		}
		if _, err := tx.Exec(ctx, `update rowbell.workflow_definition set name = $2, description = $3, status = $4, settings = $5 where id = $1`,
			e.WorkflowID, w.Name, w.Description, w.Status, object(w.Settings)); err != nil {
			return "", err
		}
		return tenantID, putParts(ctx, tx, e.WorkflowID, w)
	})
}

// put does f in a transaction, and returns the number of the version that came of it. What f
// writes may have plain secrets. The version trigger moves them by an update, which has to
// wait as the trigger itself does: made immediate, it would run inside itself. So the
// version is looked for when all is committed.
func (s *Source) put(ctx context.Context, e Edit, f func(tx pgx.Tx) (tenantID string, err error)) (version int32, err error) {
	var at time.Time
	err = s.edits(ctx, e.Actor, func(tx pgx.Tx) error {
		tenantID, err := f(tx)
		if err != nil {
			return err
		}
		if err := audit(ctx, tx, tenantID, e); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `select now()`).Scan(&at)
	})
	if err == nil {
		err = s.pool.QueryRow(ctx, `select coalesce(max(version) filter (where created_at = $2), max(version), 0)
from rowbell.workflow_version where workflow_id = $1`, e.WorkflowID, at).Scan(&version)
	}
	if err != nil {
		return 0, sourceError(fmt.Sprintf("%s of workflow %s", e.Action, e.WorkflowID), err)
	}
	return version, nil
}

// Delete takes a workflow away; a version that says so comes of it, and its versions and
// executions stay. Returns ErrConflict if it has changed.
func (s *Source) Delete(ctx context.Context, e Edit) error {
	err := s.edits(ctx, e.Actor, func(tx pgx.Tx) error {
		tenant, err := s.hold(ctx, tx, e)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `delete from rowbell.workflow_definition where id = $1`, e.WorkflowID); err != nil {
			return err
		}
		if err := audit(ctx, tx, tenant, e); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `set constraints all immediate`)
		return err
	})
	if err != nil {
		return sourceError(fmt.Sprintf("%s of workflow %s", e.Action, e.WorkflowID), err)
	}
	return nil
}

// TemplateEdit is a stored template of one language to be written, or taken away.
type TemplateEdit struct {
	Template
	Remove bool
}

// EditTemplates writes and takes away stored templates, all in one transaction, so that
// those which render one another change together. Returns an error that names them if
// workflows render one that is taken away.
func (s *Source) EditTemplates(ctx context.Context, edits []TemplateEdit, actor string) error {
	err := s.edits(ctx, actor, func(tx pgx.Tx) error {
		for _, e := range edits {
			action := "template.set"
			var err error
			if e.Remove {
				action = "template.delete"
				_, err = tx.Exec(ctx, `delete from rowbell.template where coalesce(tenant_id, '') = $1 and name = $2 and lower(locale) = lower($3)`, e.TenantID, e.Name, e.Locale)
			} else {
				_, err = tx.Exec(ctx, `insert into rowbell.template (tenant_id, name, locale, source, description)
values (nullif($1, ''), $2, $3, $4, $5)
on conflict (coalesce(tenant_id, ''), name, lower(locale)) do update
set source = excluded.source, description = excluded.description, locale = excluded.locale`, e.TenantID, e.Name, e.Locale, e.Source, e.Description)
			}
			if err != nil {
				return fmt.Errorf("template %s: %w", e.Name, err)
			}
			if _, err := tx.Exec(ctx, `insert into rowbell.audit_log (tenant_id, action, object_type, object_id, detail)
values (nullif($1, ''), $2, 'template', $3, jsonb_build_object('locale', $4::text))`, e.TenantID, action, e.Name, e.Locale); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `set constraints all immediate`)
		return err
	})
	if err != nil {
		return sourceError("change templates", err)
	}
	return nil
}

// edits does f in a transaction of an actor's.
func (s *Source) edits(ctx context.Context, actor string, f func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local lock_timeout = '2s'`); err != nil {
			return err
		}
		if actor != "" {
			// What rowbell.set_actor does for created_by; who edits workflows may not call that.
			if _, err := tx.Exec(ctx, `select set_config('rowbell.actor', $1, true)`, actor); err != nil {
				return err
			}
		}
		return f(tx)
	})
}

// hold locks the workflow of an edit, if it is still what the edit was decided by.
func (s *Source) hold(ctx context.Context, tx pgx.Tx, e Edit) (tenantID string, err error) {
	var same bool
	err = tx.QueryRow(ctx, `select coalesce(tenant_id, ''), version = $2 and draft is not distinct from $3::jsonb
from rowbell.workflow_definition where id = $1 for no key update`, e.WorkflowID, e.Version, e.Draft).Scan(&tenantID, &same)
	if err == nil && !same {
		err = conflict("somebody else has changed it just now; look at it again")
	}
	return tenantID, err
}

func audit(ctx context.Context, tx pgx.Tx, tenantID string, e Edit) error {
	detail := e.Detail
	if detail == nil {
		detail = map[string]any{}
	}
	_, err := tx.Exec(ctx, `insert into rowbell.audit_log (tenant_id, action, object_type, object_id, detail)
values (nullif($1, ''), $2, 'workflow', $3, $4)`, tenantID, e.Action, e.WorkflowID, detail)
	return err
}
