package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Create writes a workflow that there is not yet, with its parts and its status: one version
// comes of it, whose number is returned. Returns ErrConflict if there is one of this id, or
// if an id is one of another workflow's parts.
func (s *Source) Create(ctx context.Context, e Edit, w *workflow.Workflow) (version int32, err error) {
	what := fmt.Sprintf("%s of workflow %s", e.Action, e.WorkflowID)
	tenant := ""
	if w.TenantID != nil {
		tenant = *w.TenantID
	}
	err = s.edits(ctx, e.Actor, e.Comment, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `insert into rowbell.workflow_definition (id, tenant_id, name, description, status, settings)
values ($1, nullif($2, ''), $3, $4, $5, $6) on conflict (id) do nothing`, e.WorkflowID, tenant, w.Name, w.Description, w.Status, object(w.Settings))
		if err == nil && tag.RowsAffected() == 0 {
			err = conflict("somebody else has made a workflow of this id just now; look at it again")
		}
		if err != nil {
			return err
		}
		if err := s.putParts(ctx, tx, e.WorkflowID, w); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `set constraints all immediate`); err != nil {
			return err
		}
		var after edited
		if err := tx.QueryRow(ctx, `select status, version from rowbell.workflow_definition where id = $1`, e.WorkflowID).Scan(&after.Status, &after.Version); err != nil {
			return err
		}
		version = after.Version
		return note(ctx, tx, Act{TenantID: tenant, Action: e.Action, ObjectType: "workflow", ObjectID: e.WorkflowID, After: after, Detail: e.Detail})
	})
	if err != nil {
		return 0, sourceError(what, err)
	}
	return version, nil
}

// Replace makes w, but for its id and tenant, what the workflow is, with its status, as
// Publish does, and leaves the draft that is there.
func (s *Source) Replace(ctx context.Context, e Edit, w *workflow.Workflow) (int32, error) {
	return s.edit(ctx, e, func(tx pgx.Tx, _ string) error {
		if _, err := tx.Exec(ctx, `update rowbell.workflow_definition set name = $2, description = $3, status = $4, settings = $5 where id = $1`,
			e.WorkflowID, w.Name, w.Description, w.Status, object(w.Settings)); err != nil {
			return err
		}
		return s.putParts(ctx, tx, e.WorkflowID, w)
	})
}

// Delete takes a workflow away; a version that says so comes of it, and its versions and
// executions stay. Returns ErrConflict if it has changed.
func (s *Source) Delete(ctx context.Context, e Edit) error {
	err := s.edits(ctx, e.Actor, e.Comment, func(tx pgx.Tx) error {
		tenant, before, err := s.hold(ctx, tx, e)
		if err != nil {
			return err
		}
		before.Draft = nil
		if _, err := tx.Exec(ctx, `delete from rowbell.workflow_definition where id = $1`, e.WorkflowID); err != nil {
			return err
		}
		if _, err = tx.Exec(ctx, `set constraints all immediate`); err != nil {
			return err
		}
		return note(ctx, tx, Act{TenantID: tenant, Action: e.Action, ObjectType: "workflow", ObjectID: e.WorkflowID, Before: before, Detail: e.Detail})
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
	err := s.edits(ctx, actor, "", func(tx pgx.Tx) error {
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
			if err := note(ctx, tx, Act{TenantID: e.TenantID, Action: action, ObjectType: "template", ObjectID: e.Name, Detail: map[string]any{"locale": e.Locale}}); err != nil {
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

// edits does f in a transaction of an actor's. The comment is kept with the versions that come
// of it.
func (s *Source) edits(ctx context.Context, actor, comment string, f func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local lock_timeout = '2s'`); err != nil {
			return err
		}
		if err := sayWho(ctx, tx, actor); err != nil {
			return err
		}
		if comment != "" {
			if _, err := tx.Exec(ctx, `select set_config('rowbell.comment', $1, true)`, storable(comment)); err != nil {
				return err
			}
		}
		return f(tx)
	})
}

// hold locks the workflow of an edit, if it is still what the edit was decided by, and says
// what it is.
func (s *Source) hold(ctx context.Context, tx pgx.Tx, e Edit) (tenantID string, is edited, err error) {
	var same bool
	err = tx.QueryRow(ctx, `select coalesce(tenant_id, ''), version = $2 and draft is not distinct from $3::jsonb, status, version, draft
from rowbell.workflow_definition where id = $1 for no key update`, e.WorkflowID, e.Version, e.Draft).Scan(&tenantID, &same, &is.Status, &is.Version, &is.Draft)
	if err == nil && !same {
		err = conflict("somebody else has changed it just now; look at it again")
	}
	return tenantID, is, err
}
