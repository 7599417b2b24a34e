package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// WorkflowFilter chooses workflows.
type WorkflowFilter struct {
	Tenant *string         // nil: all; "" = operators' workflows
	Status workflow.Status // "" all

	// These count for Definitions alone.
	Exceptional bool     // only those whose settings have limits, owners or a weight of their own
	Kinds       []string // only those that have an action of one of these kinds; nil: all
	Tables      []string // only those with a trigger on one of these, by its label, and those with a draft; nil: all
	Limit       int      // the first so many; 0: all
}

// ListedWorkflow is a workflow in a list.
type ListedWorkflow struct {
	ID        string           `json:"id"`
	TenantID  string           `json:"tenant_id,omitempty"` // "" = an operators' workflow
	Name      string           `json:"name"`
	Status    workflow.Status  `json:"status"`
	Version   int32            `json:"version"`
	Draft     bool             `json:"draft"` // there is one beside the live version
	UpdatedAt time.Time        `json:"updated_at"`
	Verdict   workflow.Verdict `json:"verdict,omitempty"` // of workflow_health; "" none for this version
	Message   string           `json:"message,omitempty"`
	Warnings  []string         `json:"warnings,omitempty"`
}

const listedColumns = `d.id, coalesce(d.tenant_id, ''), d.name, d.status, d.version, d.draft is not null, d.updated_at,
	coalesce(h.verdict, ''), coalesce(h.message, ''), coalesce(h.warnings, '{}')`

// What health says of another version than the latest says nothing of that.
const withHealth = ` left join rowbell.workflow_health h on h.workflow_id = d.id and h.version = d.version and d.status = 'active'`

// Workflows lists definitions by tenant and id, operators' first.
func (s *Source) Workflows(ctx context.Context, f WorkflowFilter) ([]ListedWorkflow, error) {
	const what = "list workflows"
	rows, err := s.db.Query(ctx, `select `+listedColumns+` from rowbell.workflow_definition d`+withHealth+`
where ($1::text is null or coalesce(d.tenant_id, '') = $1) and ($2 = '' or d.status = $2)
order by coalesce(d.tenant_id, '') collate "C", d.id collate "C"`, f.Tenant, f.Status)
	if err != nil {
		return nil, sourceError(what, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ListedWorkflow])
	if err != nil {
		return nil, sourceError(what, err)
	}
	return list, nil
}

// Definition is a workflow as it stands, with its draft.
type Definition struct {
	ListedWorkflow
	Document json.RawMessage // of its latest version
	// DraftText is the draft as it is stored; nil without one.
	DraftText json.RawMessage
	CreatedBy string
	CreatedAt time.Time
}

const definitionQuery = `select ` + listedColumns + `, v.document, d.draft, d.created_by, d.created_at
from rowbell.workflow_definition d` + withHealth + `
join rowbell.workflow_version v on v.workflow_id = d.id and v.version = d.version`

func scanDefinition(row pgx.CollectableRow) (Definition, error) {
	var d Definition
	var document, draft []byte
	err := row.Scan(&d.ID, &d.TenantID, &d.Name, &d.Status, &d.Version, &d.Draft, &d.UpdatedAt, &d.Verdict, &d.Message, &d.Warnings,
		&document, &draft, &d.CreatedBy, &d.CreatedAt)
	d.Document, d.DraftText = document, draft
	return d, err
}

// Definition reads one workflow. Returns ErrNotFound, which says whether it was deleted.
func (s *Source) Definition(ctx context.Context, id string) (Definition, error) {
	what := "read workflow " + id
	rows, err := s.db.Query(ctx, definitionQuery+` where d.id = $1`, id)
	if err != nil {
		return Definition{}, sourceError(what, err)
	}
	list, err := pgx.CollectRows(rows, scanDefinition)
	if err != nil {
		return Definition{}, sourceError(what, err)
	}
	if len(list) == 0 {
		return Definition{}, s.noWorkflow(ctx, id)
	}
	return list[0], nil
}

// Definitions reads all workflows that the filter chooses, with documents and drafts.
func (s *Source) Definitions(ctx context.Context, f WorkflowFilter) ([]Definition, error) {
	const what = "read workflows"
	var args parameters
	where := "true"
	if f.Tenant != nil {
		where += " and coalesce(d.tenant_id, '') = " + args.add(*f.Tenant)
	}
	if f.Status != "" {
		where += " and d.status = " + args.add(f.Status)
	}
	if f.Exceptional { // as index workflow_definition_exceptional has it
		where += " and d.settings ?| array['storm', 'max_depth', 'critical', 'owners']"
	}
	if f.Kinds != nil {
		where += " and exists (select from jsonb_path_query(v.document, '$.actions[*].action_type') k where k #>> '{}' = any (" + args.add(f.Kinds) + "))"
	}
	if f.Tables != nil { // by the document: a worker has no rights on workflow_trigger
		var on []string
		for _, label := range f.Tables {
			on = append(on, triggersOn(label), triggersOn("public."+label))
		}
		where += " and (d.draft is not null or v.document -> 'triggers' @> any (" + args.add(on) + "::jsonb[]))"
	}
	rows, err := s.db.Query(ctx, definitionQuery+` where `+where+`
order by coalesce(d.tenant_id, '') collate "C", d.id collate "C" limit nullif(`+args.add(f.Limit)+`::int, 0)`, args...)
	if err != nil {
		return nil, sourceError(what, err)
	}
	list, err := pgx.CollectRows(rows, scanDefinition)
	if err != nil {
		return nil, sourceError(what, err)
	}
	return list, nil
}

// triggersOn is what a document's triggers have in them if one is on a table.
func triggersOn(entity string) string {
	text, _ := json.Marshal([]map[string]string{{"entity_type": entity}}) // texts alone
	return string(text)
}

// DefinitionsOf reads the workflows that there are of these ids, without the texts of templates.
func (s *Source) DefinitionsOf(ctx context.Context, ids []string) ([]Definition, error) {
	const what = "read workflows by their ids"
	rows, err := s.db.Query(ctx, strings.Replace(definitionQuery, "v.document", "v.document - 'templates'", 1)+` where d.id = any ($1)`, ids)
	if err != nil {
		return nil, sourceError(what, err)
	}
	list, err := pgx.CollectRows(rows, scanDefinition)
	if err != nil {
		return nil, sourceError(what, err)
	}
	return list, nil
}

// noWorkflow is the error for an id that has no definition.
func (s *Source) noWorkflow(ctx context.Context, id string) error {
	var last int32
	err := s.db.QueryRow(ctx, `select coalesce(max(version), 0) from rowbell.workflow_version where workflow_id = $1`, id).Scan(&last)
	if err != nil {
		return sourceError("look for versions of workflow "+id, err)
	}
	if last > 0 {
		return notFound("workflow %s was deleted, as its version %d says; its versions are still there. To have it again, insert a row with this id and its tenant into rowbell.workflow_definition, then restore a version", id, last)
	}
	return notFound("there is no workflow %s", id)
}

// VersionInfo is a row of workflow_version with who wrote it.
type VersionInfo struct {
	workflow.Version
	DBUser    string
	CreatedBy string
	CreatedAt time.Time
	Comment   string // what its editor said of it; "" nothing
}

// History reads the latest versions of a workflow, at most limit of them, the latest first.
// Returns ErrNotFound if there never was one.
func (s *Source) History(ctx context.Context, id string, limit int) ([]VersionInfo, error) {
	what := "read the versions of workflow " + id
	rows, err := s.db.Query(ctx, `select `+versionColumns+`, db_user, created_by, created_at, coalesce(comment, '')
from rowbell.workflow_version where workflow_id = $1 order by version desc limit $2`, id, limit)
	if err != nil {
		return nil, sourceError(what, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (VersionInfo, error) {
		var v VersionInfo
		var document []byte
		err := row.Scan(&v.WorkflowID, &v.Version.Version, &v.TenantID, &v.Status, &document, &v.DBUser, &v.CreatedBy, &v.CreatedAt, &v.Comment)
		v.Document = document
		return v, err
	})
	if err != nil {
		return nil, sourceError(what, err)
	}
	if len(list) == 0 {
		return nil, notFound("there is no workflow %s", id)
	}
	return list, nil
}

// Edit is a change of a workflow that somebody makes through the command line or an API.
type Edit struct {
	WorkflowID string
	Actor      string // for created_by and audit_log; "" = the database user
	// Action is what audit_log calls it: workflow.activate.
	Action string
	Detail map[string]any // for audit_log
	// Comment is kept with the version that comes of it: what changed, and why.
	Comment string
	// Version and Draft are what the change was decided by. If the workflow has another
	// version or draft meanwhile, it is refused by ErrConflict. Draft nil: there was none.
	Version int32
	Draft   json.RawMessage
}

// edited is what audit_log has of a workflow; its documents are in workflow_version.
type edited struct {
	Status  workflow.Status `json:"status"`
	Version int32           `json:"version"`
	Draft   json.RawMessage `json:"draft,omitempty"` // if it is what was changed
}

// edit does f in a transaction that holds the workflow. What f changes is one version.
func (s *Source) edit(ctx context.Context, e Edit, f func(tx pgx.Tx, tenantID string) error) (version int32, err error) {
	what := fmt.Sprintf("%s of workflow %s", e.Action, e.WorkflowID)
	err = s.edits(ctx, e.Actor, e.Comment, func(tx pgx.Tx) error {
		tenant, before, err := s.hold(ctx, tx, e)
		if err != nil {
			return err
		}
		if err := f(tx, tenant); err != nil {
			return err
		}
		// Now, so that what the version trigger has to say comes with what was done.
		if _, err := tx.Exec(ctx, `set constraints all immediate`); err != nil {
			return err
		}
		var after edited
		err = tx.QueryRow(ctx, `select status, version, draft from rowbell.workflow_definition where id = $1`, e.WorkflowID).Scan(&after.Status, &after.Version, &after.Draft)
		if err != nil {
			return err
		}
		version = after.Version
		if before.Version != after.Version || bytes.Equal(before.Draft, after.Draft) {
			before.Draft, after.Draft = nil, nil // the versions have what was changed
		}
		return note(ctx, tx, Act{TenantID: tenant, Action: e.Action, ObjectType: "workflow", ObjectID: e.WorkflowID, Before: before, After: after, Detail: e.Detail})
	})
	if err != nil {
		return 0, sourceError(what, err)
	}
	return version, nil
}

// SetDraft puts a draft beside the live version; nil discards the one that is there.
// Plain secrets in it move to table secret.
func (s *Source) SetDraft(ctx context.Context, e Edit, draft json.RawMessage) error {
	_, err := s.edit(ctx, e, func(tx pgx.Tx, _ string) error {
		_, err := tx.Exec(ctx, `update rowbell.workflow_definition set draft = $2 where id = $1`, e.WorkflowID, draft)
		return err
	})
	return err
}

// SetStatus changes the status, and returns the version that came of it.
func (s *Source) SetStatus(ctx context.Context, e Edit, status workflow.Status) (int32, error) {
	return s.edit(ctx, e, func(tx pgx.Tx, _ string) error {
		_, err := tx.Exec(ctx, `update rowbell.workflow_definition set status = $2 where id = $1 and status <> $2`, e.WorkflowID, status)
		return err
	})
}

// Publish makes w, but for its id and tenant, what the workflow is, with its status, and
// takes the draft away: one version comes of it, whose number is returned. Parts keep
// their ids. Returns ErrConflict if an id is one of another workflow's parts.
func (s *Source) Publish(ctx context.Context, e Edit, w *workflow.Workflow) (int32, error) {
	return s.edit(ctx, e, func(tx pgx.Tx, _ string) error {
		if _, err := tx.Exec(ctx, `update rowbell.workflow_definition set name = $2, description = $3, status = $4, settings = $5, draft = null where id = $1`,
			e.WorkflowID, w.Name, w.Description, w.Status, object(w.Settings)); err != nil {
			return err
		}
		return s.putParts(ctx, tx, e.WorkflowID, w)
	})
}

// putParts makes w's parts those of the workflow.
func (s *Source) putParts(ctx context.Context, tx pgx.Tx, workflowID string, w *workflow.Workflow) error {
	var b pgx.Batch
	// Recipients go first and come last, since they refer to actions.
	remove := func(table string, ids []string) {
		b.Queue(`delete from rowbell.`+table+` where workflow_id = $1 and id <> all ($2)`, workflowID, ids)
	}
	remove("workflow_recipient", ids(w.Recipients, func(r workflow.Recipient) string { return r.ID }))
	remove("workflow_trigger", ids(w.Triggers, func(t workflow.Trigger) string { return t.ID }))
	remove("workflow_condition", ids(w.Conditions, func(c workflow.Condition) string { return c.ID }))
	remove("workflow_action", ids(w.Actions, func(a workflow.Action) string { return a.ID }))
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	put := func(what, id, sql string, args ...any) error {
		tag, err := tx.Exec(ctx, sql, append([]any{id, workflowID}, args...)...)
		var pg *pgconn.PgError
		// Another tenant's part is not even seen.
		hidden := s.tenant != nil && errors.As(err, &pg) && pg.Code == "42501"
		if hidden || err == nil && tag.RowsAffected() == 0 {
			err = conflict("%s %s is a part of another workflow; leave its id out, then it gets one of its own", what, id)
		}
		return err
	}
	for _, t := range w.Triggers {
		if err := put("trigger", t.ID, `insert into rowbell.workflow_trigger as p (id, workflow_id, entity_type, operation, field_conditions, priority)
values ($1, $2, $3, $4, $5, $6) on conflict (id) do update
set entity_type = excluded.entity_type, operation = excluded.operation, field_conditions = excluded.field_conditions, priority = excluded.priority
where p.workflow_id = excluded.workflow_id`, t.EntityType, t.Operation, object(t.FieldConditions), t.Priority); err != nil {
			return err
		}
	}
	for _, c := range w.Conditions {
		if err := put("condition", c.ID, `insert into rowbell.workflow_condition as p (id, workflow_id, condition_type, condition_config)
values ($1, $2, $3, $4) on conflict (id) do update
set condition_type = excluded.condition_type, condition_config = excluded.condition_config
where p.workflow_id = excluded.workflow_id`, c.Type, object(c.Config)); err != nil {
			return err
		}
	}
	for _, a := range w.Actions {
		if err := put("action", a.ID, `insert into rowbell.workflow_action as p (id, workflow_id, action_type, action_config, "order")
values ($1, $2, $3, $4, $5) on conflict (id) do update
set action_type = excluded.action_type, action_config = excluded.action_config, "order" = excluded."order"
where p.workflow_id = excluded.workflow_id`, a.Type, object(a.Config), a.Order); err != nil {
			return err
		}
	}
	for _, r := range w.Recipients {
		if err := put("recipient", r.ID, `insert into rowbell.workflow_recipient as p (id, workflow_id, action_id, recipient_type, recipient_id)
values ($1, $2, $3, $4, $5) on conflict (id) do update
set action_id = excluded.action_id, recipient_type = excluded.recipient_type, recipient_id = excluded.recipient_id
where p.workflow_id = excluded.workflow_id`, r.ActionID, r.Type, r.Value); err != nil {
			return err
		}
	}
	return nil
}

func ids[P any](parts []P, id func(P) string) []string {
	list := make([]string, len(parts))
	for i, p := range parts {
		list[i] = id(p)
	}
	return list
}

// object is a JSON object, the empty one for nothing.
func object(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || string(raw) == "null" {
		return json.RawMessage("{}")
	}
	return raw
}

// CapturedTables reads what is captured now, by label.
func (s *Source) CapturedTables(ctx context.Context) ([]workflow.Table, error) {
	const what = "read captured tables"
	rows, err := s.db.Query(ctx, `select `+tableColumns+` from (
	select distinct on (schema_name, table_name) * from rowbell.captured_table order by schema_name, table_name, version desc
) t where not released order by label`)
	if err != nil {
		return nil, sourceError(what, err)
	}
	tables, err := pgx.CollectRows(rows, scanTable)
	if err != nil {
		return nil, sourceError(what, err)
	}
	return tables, nil
}

// TableLabels lists the application's tables by the labels that they would have, and the
// column that would be their tenant column where they have it.
func (s *Source) TableLabels(ctx context.Context) (labels []string, tenantColumn string, err error) {
	const what = "list tables"
	rows, err := s.db.Query(ctx, `select n.nspname::text, c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname not in ('rowbell', 'pg_catalog', 'information_schema') and n.nspname not like 'pg\_t%' order by 1, 2`)
	if err != nil {
		return nil, "", sourceError(what, err)
	}
	labels, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var schema, name string
		err := row.Scan(&schema, &name)
		return change.TableLabel(schema, name), err
	})
	if err == nil {
		err = s.db.QueryRow(ctx, `select tenant_column from rowbell.setting`).Scan(&tenantColumn)
	}
	if err != nil {
		return nil, "", sourceError(what, err)
	}
	return labels, tenantColumn, nil
}

// KeyColumns are those that tell a table's rows apart, which rowbell.capture takes if it
// isn't told others: of the primary key, else of the replica identity's index.
func (s *Source) KeyColumns(ctx context.Context, schema, name string) ([]string, error) {
	what := "look up the key of " + change.TableLabel(schema, name)
	var keys []string
	err := s.db.QueryRow(ctx, `select coalesce(array_agg(a.attname::text order by k.n), '{}')
from pg_index i, unnest(i.indkey::int2[]) with ordinality as k (attnum, n), pg_attribute a
where i.indexrelid = (select x.indexrelid from pg_index x join pg_class c on c.oid = x.indrelid join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = $2 and (x.indisprimary or x.indisreplident) order by x.indisprimary desc limit 1)
	and k.n <= i.indnkeyatts and a.attrelid = i.indrelid and a.attnum = k.attnum`, schema, name).Scan(&keys)
	if err != nil {
		return nil, sourceError(what, err)
	}
	return keys, nil
}
