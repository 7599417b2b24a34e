package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Named is a name, and what helps to recognise it.
type Named struct{ Name, Says string }

// WorkflowNames are the ids of workflows that start with begun, with what they are called.
func (s *Source) WorkflowNames(ctx context.Context, begun string, limit int) ([]Named, error) {
	return s.names(ctx, `select id, name from rowbell.workflow_definition where starts_with(id, $1) order by id limit $2`, begun, limit)
}

// TenantNames are the tenants that have workflows and whose ids start with begun.
func (s *Source) TenantNames(ctx context.Context, begun string, limit int) ([]Named, error) {
	return s.names(ctx, `select distinct tenant_id, '' from rowbell.workflow_definition where starts_with(tenant_id, $1) order by 1 limit $2`, begun, limit)
}

// TemplateNames are the stored templates whose names start with begun.
func (s *Source) TemplateNames(ctx context.Context, begun string, limit int) ([]Named, error) {
	return s.names(ctx, `select name, max(description) from rowbell.template where starts_with(name, $1) group by name order by 1 limit $2`, begun, limit)
}

func (s *Source) names(ctx context.Context, sql, begun string, limit int) ([]Named, error) {
	rows, err := s.db.Query(ctx, sql, begun, limit)
	if err != nil {
		return nil, sourceError("list names", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Named])
	if err != nil {
		return nil, sourceError("list names", err)
	}
	return list, nil
}
