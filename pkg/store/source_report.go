package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Health reads workflow_health of definitions that still exist: what the worker that
// holds the slot last said of each, ordered by id.
func (s *Source) Health(ctx context.Context) ([]workflow.Health, error) {
	const what = "read rowbell.workflow_health"
	rows, err := s.db.Query(ctx, `select h.workflow_id, h.version, coalesce(h.tenant_id, ''), h.verdict, h.message, h.warnings
from rowbell.workflow_health h join rowbell.workflow_definition d on d.id = h.workflow_id order by 1`)
	if err != nil {
		return nil, sourceError(what, err)
	}
	health, err := pgx.CollectRows(rows, pgx.RowToStructByPos[workflow.Health])
	if err != nil {
		return nil, sourceError(what, err)
	}
	return health, nil
}

// SQLMembers counts the database roles that see or edit a tenant's workflows by SQL, without
// those that see all.
func (s *Source) SQLMembers(ctx context.Context) (int, error) {
	var n int
	if err := s.db.QueryRow(ctx, `select count(distinct role_name) from rowbell.sql_member where tenant_id <> '*'`).Scan(&n); err != nil {
		return 0, sourceError("count rowbell.sql_member", err)
	}
	return n, nil
}

// LacksColumns returns which of the columns a table, named as SQL names it, does not
// have. A table that does not exist lacks all.
func (s *Source) LacksColumns(ctx context.Context, table string, columns []string) ([]string, error) {
	rows, err := s.db.Query(ctx, `select c from unnest($2::text[]) c
where not exists (select from pg_attribute where attrelid = to_regclass($1) and attname = c and attnum > 0 and not attisdropped)
order by 1`, table, columns)
	if err != nil {
		return nil, sourceError("look at the columns of "+table, err)
	}
	lacking, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, sourceError("look at the columns of "+table, err)
	}
	return lacking, nil
}

// Platform is what managed servers have of their own.
type Platform struct {
	RDS, Azure, CloudSQL bool
	RDSReplication       bool // the role may replicate by being in rds_replication
}

// Platform says who runs the server, as far as its roles tell, since managed servers
// are configured in ways of their own.
func (s *Source) Platform(ctx context.Context) (Platform, error) {
	var p Platform
	err := s.db.QueryRow(ctx, `select exists (select from pg_roles where rolname = 'rds_superuser'),
	exists (select from pg_roles where rolname = 'azure_pg_admin'),
	exists (select from pg_roles where rolname = 'cloudsqlsuperuser'),
	coalesce(pg_has_role(current_user, (select oid from pg_roles where rolname = 'rds_replication'), 'member'), false)`).
		Scan(&p.RDS, &p.Azure, &p.CloudSQL, &p.RDSReplication)
	if err != nil {
		return p, sourceError("ask who runs the server", err)
	}
	return p, nil
}
