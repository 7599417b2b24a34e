package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// ErrLockTimeout says that a lock in the application's database was not to be had within
// 2 s. Nothing is wrong: try again later. It comes with workflow.ErrConflict.
var ErrLockTimeout = errors.New("gave up waiting for a lock")

// ErrPrivilege says that the role may not do what was attempted; the text has the GRANT.
var ErrPrivilege = errors.New("not allowed")

// Source works on the application's database. Its methods may be called from any
// goroutine.
type Source struct {
	db     database
	pool   *pgxpool.Pool // for what needs a connection to itself
	tenant *Tenant       // nil = all
}

// OpenSource works through pool, which the caller closes.
func OpenSource(pool *pgxpool.Pool) *Source { return &Source{db: pool, pool: pool} }

// FirstLoad is what the source has when a stream begins: the latest version of each
// workflow that is not deleted (drafts and inactive ones too) and of each table that is
// not released, ordered by id and label. In the stream, versions of transactions that
// Snapshot sees are to be skipped, since they are in here.
type FirstLoad struct {
	Snapshot string // pg_snapshot as text: xmin:xmax:xip,…
	Versions []workflow.Version
	Tables   []workflow.Table
}

// FirstLoad reads both tables and the snapshot they were read with. The slot must exist
// already, so that what the snapshot does not see comes through it.
func (s *Source) FirstLoad(ctx context.Context) (FirstLoad, error) {
	if err := s.SeesAll(ctx); err != nil {
		return FirstLoad{}, err
	}
	var f FirstLoad
	err := pgx.BeginTxFunc(ctx, s.db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `select pg_current_snapshot()::text`).Scan(&f.Snapshot); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `select `+versionColumns+` from (
	select distinct on (workflow_id) * from rowbell.workflow_version order by workflow_id, version desc
) v where status <> 'deleted' order by workflow_id`)
		if err != nil {
			return err
		}
		if f.Versions, err = pgx.CollectRows(rows, scanVersion); err != nil {
			return err
		}
		rows, err = tx.Query(ctx, `select `+tableColumns+` from (
	select distinct on (schema_name, table_name) * from rowbell.captured_table order by schema_name, table_name, version desc
) t where not released order by label`)
		if err != nil {
			return err
		}
		f.Tables, err = pgx.CollectRows(rows, scanTable)
		return err
	})
	if err != nil {
		return FirstLoad{}, sourceError("read the latest versions of workflows and captured tables", err)
	}
	return f, nil
}

// VersionRef names a row of workflow_version by the workflow's id, or one of
// captured_table by the table's label.
type VersionRef struct {
	ID      string
	Version int32
}

// split gives the refs as the two arrays that a query takes.
func split(refs []VersionRef) (ids []string, versions []int32) {
	ids, versions = make([]string, len(refs)), make([]int32, len(refs))
	for i, r := range refs {
		ids[i], versions[i] = r.ID, r.Version
	}
	return ids, versions
}

// Versions reads exactly these versions, in the order of refs. Returns ErrNotFound,
// naming it, if one is missing.
func (s *Source) Versions(ctx context.Context, refs []VersionRef) ([]workflow.Version, error) {
	ids, numbers := split(refs)
	rows, err := s.db.Query(ctx, `select `+versionColumns+`
from unnest($1::text[], $2::int[]) with ordinality as want (id, number, n)
join rowbell.workflow_version on workflow_id = want.id and version = want.number order by want.n`, ids, numbers)
	if err != nil {
		return nil, sourceError("read versions of workflows", err)
	}
	got, err := pgx.CollectRows(rows, scanVersion)
	if err != nil {
		return nil, sourceError("read versions of workflows", err)
	}
	for i, r := range refs {
		if i >= len(got) || got[i].WorkflowID != r.ID || got[i].Version != r.Version {
			return nil, fmt.Errorf("version %d of workflow %s is applied, but rowbell.workflow_version does not have it: if its commit waits for a standby, it comes by itself; else restore the row, or rowbell resync: %w",
				r.Version, r.ID, workflow.ErrNotFound)
		}
	}
	return got, nil
}

// Tables reads exactly these versions of captured tables, in the order of refs, whose
// ids are labels. Returns ErrNotFound, naming it, if one is missing.
func (s *Source) Tables(ctx context.Context, refs []VersionRef) ([]workflow.Table, error) {
	labels, numbers := split(refs)
	rows, err := s.db.Query(ctx, `select `+tableColumns+`
from unnest($1::text[], $2::int[]) with ordinality as want (id, number, n)
join rowbell.captured_table on label = want.id and version = want.number order by want.n`, labels, numbers)
	if err != nil {
		return nil, sourceError("read captured tables", err)
	}
	got, err := pgx.CollectRows(rows, scanTable)
	if err != nil {
		return nil, sourceError("read captured tables", err)
	}
	for i, r := range refs {
		if i >= len(got) || got[i].Label != r.ID || got[i].Version != r.Version {
			return nil, fmt.Errorf("version %d of captured table %s is applied, but rowbell.captured_table does not have it: if its commit waits for a standby, it comes by itself; else restore the row, or rowbell resync: %w",
				r.Version, r.ID, workflow.ErrNotFound)
		}
	}
	return got, nil
}

const versionColumns = `workflow_id, version, coalesce(tenant_id, ''), status, document`

func scanVersion(row pgx.CollectableRow) (workflow.Version, error) {
	var v workflow.Version
	var document []byte // json as it is stored, or nil
	err := row.Scan(&v.WorkflowID, &v.Version, &v.TenantID, &v.Status, &document)
	v.Document = document
	return v, err
}

const tableColumns = `schema_name, table_name, version, label, coalesce(tenant_column, ''), key_columns, hidden, redacted, insert_only, released, from_xid`

func scanTable(row pgx.CollectableRow) (workflow.Table, error) {
	var t workflow.Table
	err := row.Scan(&t.Schema, &t.Name, &t.Version, &t.Label, &t.TenantColumn, &t.KeyColumns, &t.Hidden, &t.Redacted,
		&t.InsertOnly, &t.Released, &t.FromXID)
	return t, err
}

// VersionFromRow reads a row of workflow_version from the stream. Nothing of the result
// points into the row.
func VersionFromRow(rel *change.Relation, row change.Row) (workflow.Version, error) {
	var v workflow.Version
	f := fields{rel: rel, row: row, types: pgtype.NewMap()}
	f.scan("workflow_id", pgtype.TextOID, &v.WorkflowID)
	f.scan("version", pgtype.Int4OID, &v.Version)
	v.TenantID = f.text("tenant_id")
	f.scan("status", pgtype.TextOID, (*string)(&v.Status))
	if document := f.text("document"); document != "" {
		v.Document = []byte(document)
	}
	if f.err != nil {
		return workflow.Version{}, fmt.Errorf("read a row of rowbell.workflow_version from the stream: %w", f.err)
	}
	return v, nil
}

// TableFromRow reads a row of captured_table from the stream, as VersionFromRow does.
func TableFromRow(rel *change.Relation, row change.Row) (workflow.Table, error) {
	var t workflow.Table
	f := fields{rel: rel, row: row, types: pgtype.NewMap()}
	f.scan("schema_name", pgtype.TextOID, &t.Schema)
	f.scan("table_name", pgtype.TextOID, &t.Name)
	f.scan("version", pgtype.Int4OID, &t.Version)
	f.scan("label", pgtype.TextOID, &t.Label)
	t.TenantColumn = f.text("tenant_column")
	f.scan("key_columns", pgtype.TextArrayOID, &t.KeyColumns)
	f.scan("hidden", pgtype.TextArrayOID, &t.Hidden)
	f.scan("redacted", pgtype.TextArrayOID, &t.Redacted)
	f.scan("insert_only", pgtype.BoolOID, &t.InsertOnly)
	f.scan("released", pgtype.BoolOID, &t.Released)
	f.scan("from_xid", pgtype.XID8OID, &t.FromXID)
	if f.err != nil {
		return workflow.Table{}, fmt.Errorf("read a row of rowbell.captured_table from the stream: %w", f.err)
	}
	return t, nil
}

// fields reads columns by name and keeps the first error.
type fields struct {
	rel   *change.Relation
	row   change.Row
	types *pgtype.Map // not to be shared between goroutines; these rows are rare
	err   error
}

func (f *fields) scan(column string, oid uint32, to any) {
	i := f.rel.Column(column)
	text, state := f.row.Column(i)
	switch {
	case f.err != nil:
	case i < 0:
		f.err = fmt.Errorf("the relation has no column %s", column)
	case state != change.Present:
		f.err = fmt.Errorf("column %s has no value", column)
	default:
		if err := f.types.Scan(oid, pgtype.TextFormatCode, text, to); err != nil {
			f.err = fmt.Errorf("column %s: %w", column, err)
		}
	}
}

// text reads a column that may be null, which is "".
func (f *fields) text(column string) string {
	i := f.rel.Column(column)
	text, state := f.row.Column(i)
	if i < 0 && f.err == nil {
		f.err = fmt.Errorf("the relation has no column %s", column)
	}
	if i >= 0 && state == change.NotInWAL && f.err == nil {
		f.err = fmt.Errorf("column %s is not in the WAL", column)
	}
	return string(text)
}

// WriteHealth writes one row for each of these workflows, over what it had. A row that
// says what it said keeps its time.
func (s *Source) WriteHealth(ctx context.Context, health []workflow.Health) error {
	if err := writeHealth(ctx, s.db, health); err != nil {
		return sourceError("write workflow_health", err)
	}
	return nil
}

// RemoveHealth removes the rows of these workflows, as of deleted ones.
func (s *Source) RemoveHealth(ctx context.Context, workflowIDs []string) error {
	if _, err := s.db.Exec(ctx, `delete from rowbell.workflow_health where workflow_id = any ($1)`, workflowIDs); err != nil {
		return sourceError("remove from workflow_health", err)
	}
	return nil
}

// ReplaceHealth makes all the rows there are. It writes those only that are other than
// they should be: whoever takes the slot does this, mostly over what stands there already.
func (s *Source) ReplaceHealth(ctx context.Context, all []workflow.Health) error {
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		// A worker that was stopped for a while writes its own at the same time: rows that are
		// removed and rows that are written have no common order. Readers don't wait.
		if _, err := tx.Exec(ctx, `lock table rowbell.workflow_health in share row exclusive mode`); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `select workflow_id, version, coalesce(tenant_id, ''), verdict, message, warnings from rowbell.workflow_health`)
		if err != nil {
			return err
		}
		there := make(map[string]workflow.Health)
		var h workflow.Health
		if _, err := pgx.ForEachRow(rows, []any{&h.WorkflowID, &h.Version, &h.TenantID, &h.Verdict, &h.Message, &h.Warnings}, func() error {
			there[h.WorkflowID] = h
			h.Warnings = nil
			return nil
		}); err != nil {
			return err
		}
		var changed []workflow.Health
		for _, h := range all {
			if was, ok := there[h.WorkflowID]; !ok || !equalHealth(was, h) {
				changed = append(changed, h)
			}
			delete(there, h.WorkflowID)
		}
		if len(there) > 0 {
			if _, err := tx.Exec(ctx, `delete from rowbell.workflow_health where workflow_id = any ($1)`, slices.Sorted(maps.Keys(there))); err != nil {
				return err
			}
		}
		return writeHealth(ctx, tx, changed)
	})
	if err != nil {
		return sourceError("rewrite workflow_health", err)
	}
	return nil
}

func equalHealth(a, b workflow.Health) bool {
	return a.Version == b.Version && a.TenantID == b.TenantID && a.Verdict == b.Verdict && a.Message == b.Message && slices.Equal(a.Warnings, b.Warnings)
}

type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// healthRows is how many rows one statement writes.
const healthRows = 1000

// writeHealth writes rows in the order of their ids, so that two workers that do so at once
// don't wait for each other in a circle.
func writeHealth(ctx context.Context, db execer, health []workflow.Health) error {
	health = slices.SortedFunc(slices.Values(health), func(a, b workflow.Health) int { return cmp.Compare(a.WorkflowID, b.WorkflowID) })
	for part := range slices.Chunk(health, healthRows) {
		ids, versions, tenants := make([]string, len(part)), make([]int32, len(part)), make([]string, len(part))
		verdicts, messages, warnings := make([]string, len(part)), make([]string, len(part)), make([]string, len(part))
		for i, h := range part {
			ids[i], versions[i], tenants[i], verdicts[i], messages[i] = h.WorkflowID, h.Version, h.TenantID, string(h.Verdict), h.Message
			list, err := json.Marshal(h.Warnings)
			if err != nil || h.Warnings == nil {
				list = []byte("[]")
			}
			warnings[i] = string(list)
		}
		_, err := db.Exec(ctx, `insert into rowbell.workflow_health as h (workflow_id, version, tenant_id, verdict, message, warnings)
select u.id, u.version, nullif(u.tenant, ''), u.verdict, u.message, array(select jsonb_array_elements_text(u.warnings::jsonb))
from unnest($1::text[], $2::int4[], $3::text[], $4::text[], $5::text[], $6::text[]) u (id, version, tenant, verdict, message, warnings)
on conflict (workflow_id) do update
set version = excluded.version, tenant_id = excluded.tenant_id, verdict = excluded.verdict,
	message = excluded.message, warnings = excluded.warnings, updated_at = now()
where (h.version, h.tenant_id, h.verdict, h.message, h.warnings)
	is distinct from (excluded.version, excluded.tenant_id, excluded.verdict, excluded.message, excluded.warnings)`,
			ids, versions, tenants, verdicts, messages, warnings)
		if err != nil {
			return err
		}
	}
	return nil
}

// sourceError says what was attempted, with the server's detail and hint, and makes the
// errors of package workflow of what it can.
func sourceError(what string, err error) error {
	var pg *pgconn.PgError
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%s: %w", what, workflow.ErrNotFound)
	}
	if !errors.As(err, &pg) {
		return fmt.Errorf("%s: %w", what, reached(err))
	}
	switch pg.Code {
	case "P0002", "42P01", "42704", "42703", "3F000": // no data, undefined table, object, column, schema
		return fmt.Errorf("%s: %w: %w", what, workflow.ErrNotFound, explain(err))
	case "55P03": // lock_not_available
		return fmt.Errorf("%s: %w: %w: %w", what, workflow.ErrConflict, ErrLockTimeout, explain(err))
	case "23503", "23505", "42710", "55000": // foreign key and unique violation, duplicate object, not in prerequisite state
		return fmt.Errorf("%s: %w: %w", what, workflow.ErrConflict, explain(err))
	case "42501": // insufficient privilege
		return fmt.Errorf("%s: %w: %w", what, ErrPrivilege, explain(err))
	}
	if isRefusal(pg) {
		return fmt.Errorf("%s: %w: %w", what, workflow.ErrRefused, explain(err))
	}
	return fmt.Errorf("%s: %w", what, reached(explain(err)))
}
