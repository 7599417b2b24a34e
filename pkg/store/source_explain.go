package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// TableNamed is the captured table of this label, or of this schema and name, as it is
// captured now. Returns ErrNotFound if it isn't captured.
func (s *Source) TableNamed(ctx context.Context, name string) (workflow.Table, error) {
	what := "look up table " + name
	rows, err := s.db.Query(ctx, `select `+tableColumns+` from (
	select distinct on (schema_name, table_name) * from rowbell.captured_table order by schema_name, table_name, version desc
) t where not released and (label = $1 or schema_name || '.' || table_name = $1) order by label <> $1 limit 1`, name)
	if err != nil {
		return workflow.Table{}, sourceError(what, err)
	}
	t, err := pgx.CollectExactlyOneRow(rows, scanTable)
	if errors.Is(err, pgx.ErrNoRows) {
		return t, fmt.Errorf("table %s isn't captured; run rowbell capture %s: %w", name, name, workflow.ErrNotFound)
	}
	if err != nil {
		return t, sourceError(what, err)
	}
	return t, nil
}

// VersionAt is a version and when it was written.
type VersionAt struct {
	workflow.Version
	CreatedAt time.Time
}

// VersionsOn reads all versions of the workflows of which one had a trigger on a table,
// of at most limit workflows: first those that serve the tenant's rows, then at most others
// of the rest. more says that there are yet others.
func (s *Source) VersionsOn(ctx context.Context, label, tenant string, limit, others int) (list []VersionAt, more bool, err error) {
	what := "read the workflows on " + label
	ids, more, err := s.workflowsOn(ctx, label, tenant, limit, others)
	if err != nil {
		return nil, false, sourceError(what, err)
	}
	rows, err := s.db.Query(ctx, `select `+versionColumns+`, created_at from rowbell.workflow_version
where workflow_id = any ($1) order by workflow_id, version`, ids)
	if err != nil {
		return nil, false, sourceError(what, err)
	}
	list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (VersionAt, error) {
		var v VersionAt
		var document []byte
		err := row.Scan(&v.WorkflowID, &v.Version.Version, &v.TenantID, &v.Status, &document, &v.CreatedAt)
		v.Document = document
		return v, err
	})
	if err != nil {
		return nil, false, sourceError(what, err)
	}
	return list, more, nil
}

// workflowsOn are the ids of the workflows of which a version had a trigger on a table, those
// first that serve the tenant's rows. There may be very many versions, of which the index
// workflow_version_tables finds these: not under row-level security, which would have each row
// looked at before what is no operator of the server's. So they are looked for as who connects,
// and for one tenant by its id; what is read of them goes through it.
func (s *Source) workflowsOn(ctx context.Context, label, tenant string, limit, others int) (ids []string, more bool, err error) {
	const query = `select distinct workflow_id from rowbell.workflow_version
where (document -> 'triggers' @> $1::jsonb or document -> 'triggers' @> $2::jsonb) and `
	find := func(whose string, most int) ([]string, error) {
		rows, err := s.pool.Query(ctx, query+whose+` order by workflow_id limit `+strconv.Itoa(most+1), planned([]any{triggersOn(label), triggersOn("public." + label), tenant})...)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[string])
	}
	whose := `(tenant_id is null or tenant_id = $3)`
	if s.tenant.one() {
		if s.tenant.ID != tenant {
			return nil, false, nil
		}
		whose = `tenant_id = $3`
	}
	if ids, err = find(whose, limit); err != nil || len(ids) > limit || s.tenant.one() {
		return ids[:min(len(ids), limit)], len(ids) > limit, err
	}
	rest, err := find(`tenant_id <> $3`, limit)
	if err != nil {
		return nil, false, err
	}
	rest = slices.DeleteFunc(rest, func(id string) bool { return slices.Contains(ids, id) }) // an id may have been used by several
	most := min(others, limit-len(ids))
	return append(ids, rest[:min(len(rest), most)]...), len(rest) > most, nil
}

// LatestVersion is the last version of a workflow, or the one of this number if it isn't 0.
// Returns ErrNotFound if there is none.
func (s *Source) LatestVersion(ctx context.Context, workflowID string, number int32) (workflow.Version, error) {
	what := "read workflow " + workflowID
	rows, err := s.db.Query(ctx, `select `+versionColumns+` from rowbell.workflow_version
where workflow_id = $1 and ($2 = 0 or version = $2) order by version desc limit 1`, workflowID, number)
	if err != nil {
		return workflow.Version{}, sourceError(what, err)
	}
	v, err := pgx.CollectExactlyOneRow(rows, scanVersion)
	switch {
	case errors.Is(err, pgx.ErrNoRows) && number != 0:
		return v, notFound("workflow %s has no version %d", workflowID, number)
	case errors.Is(err, pgx.ErrNoRows):
		return v, notFound("there is no workflow %s", workflowID)
	case err != nil:
		return v, sourceError(what, err)
	}
	return v, nil
}

// RowText reads one row of a captured table by its key columns, each column as pgoutput
// would write it; nil for NULL. It is read only, and bounded in time. For a tenant only rows
// are there that name it in the table's tenant column: the role that is taken on elsewhere
// has no rights on the application's tables. Returns ErrNotFound if there is no such row,
// and ErrRefused if the key is none.
func (s *Source) RowText(ctx context.Context, t *workflow.Table, columns []string, key []string) ([][]byte, error) {
	what := fmt.Sprintf("read %s %s", t.Label, strconv.Quote(strings.Join(key, ",")))
	if len(key) != len(t.KeyColumns) {
		return nil, refused("%s: the key of %s is %s, so it takes %d values separated by commas, not %d", what, t.Label, strings.Join(t.KeyColumns, ", "), len(t.KeyColumns), len(key))
	}
	var q strings.Builder
	q.WriteString("select ")
	for i, c := range columns {
		if i > 0 {
			q.WriteString(", ")
		}
		q.WriteString(pgx.Identifier{c}.Sanitize())
	}
	q.WriteString(" from " + pgx.Identifier{t.Schema, t.Name}.Sanitize() + " where ")
	params := make([][]byte, len(key))
	for i, k := range t.KeyColumns {
		if i > 0 {
			q.WriteString(" and ")
		}
		fmt.Fprintf(&q, "%s = $%d", pgx.Identifier{k}.Sanitize(), i+1)
		params[i] = []byte(key[i])
	}
	if s.tenant.one() {
		if t.TenantColumn == "" || s.tenant.ID == "" {
			return nil, fmt.Errorf("%s: %s has no tenant column, so its rows are the operators': %w", what, t.Label, workflow.ErrNotFound)
		}
		fmt.Fprintf(&q, " and %s::text = $%d", pgx.Identifier{t.TenantColumn}.Sanitize(), len(params)+1)
		params = append(params, []byte(s.tenant.ID))
	}
	q.WriteString(" limit 1")
	var row [][]byte
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		// As the replication connection has it: these are the texts that it would bring.
		if _, err := tx.Exec(ctx, `select set_config(name, value, true) from (values ('statement_timeout', '5s'), ('lock_timeout', '2s'),
	('datestyle', 'ISO, YMD'), ('intervalstyle', 'postgres'), ('timezone', 'UTC'), ('extra_float_digits', '1'), ('bytea_output', 'hex')) v (name, value)`); err != nil {
			return err
		}
		result := tx.Conn().PgConn().ExecParams(ctx, q.String(), params, nil, nil, nil).Read()
		if result.Err != nil {
			return result.Err
		}
		if len(result.Rows) == 0 {
			return pgx.ErrNoRows
		}
		row = result.Rows[0]
		return nil
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("%s: there is no such row: %w", what, workflow.ErrNotFound)
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && strings.HasPrefix(pg.Code, "22") { // data exception: it is all about the key
		return nil, refused("%s: it can't be the key of a row: %s", what, pg.Message)
	}
	if err != nil {
		return nil, sourceError(what, err)
	}
	return row, nil
}
