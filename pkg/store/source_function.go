package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// FunctionUse is a function that an action of an active workflow names.
type FunctionUse struct {
	WorkflowID string
	TenantID   string // "" = an operators' workflow
	Name       string
	Function   string // schema and name, quoted as SQL needs it; "" if it is not registered
	Schema     string // quoted
	Exists     bool   // it takes (text, jsonb)
	// Executable and Usable say that the connected role has EXECUTE on it, and USAGE on its
	// schema.
	Executable, Usable bool
}

// CountFunctions is how many functions are registered that a tenant's workflows may call, "" =
// operators'; nil: all there are.
func (s *Source) CountFunctions(ctx context.Context, tenant *string) (n int, err error) {
	err = s.db.QueryRow(ctx, `select count(*) from rowbell.function where $1::text is null or tenant_id is null or tenant_id = $1`, tenant).Scan(&n)
	if err != nil {
		return 0, sourceError("count the registered functions", err)
	}
	return n, nil
}

// FunctionUses are those of all active workflows, at most limit of them, those first that
// can't be called.
func (s *Source) FunctionUses(ctx context.Context, limit int) ([]FunctionUse, error) {
	const what = "look at the functions that workflows call"
	rows, err := s.db.Query(ctx, `select workflow_id, tenant_id, name, coalesce(function, ''), coalesce(quote_ident(n.nspname), ''), p.oid is not null,
	coalesce(has_function_privilege(p.oid, 'execute'), false), coalesce(has_schema_privilege(n.oid, 'usage'), false)
from (
	select distinct d.id as workflow_id, coalesce(d.tenant_id, '') as tenant_id, a -> 'action_config' ->> 'function' as name
	from rowbell.workflow_definition d join rowbell.workflow_version v on v.workflow_id = d.id and v.version = d.version
	cross join lateral jsonb_array_elements(v.document -> 'actions') as a
	where d.status = 'active' and a ->> 'action_type' = 'function' and a -> 'action_config' ->> 'function' <> ''
) u
left join lateral (
	select f.function from rowbell.function f where f.name = u.name and coalesce(f.tenant_id, u.tenant_id) = u.tenant_id order by f.tenant_id nulls last limit 1
) f on true
-- Not by to_regprocedure, which finds nothing where the role may not look.
left join pg_proc p on f.function = (select format('%I.%I', x.nspname, p.proname) from pg_namespace x where x.oid = p.pronamespace)
	and p.pronargs = 2 and p.proargtypes[0] = 'text'::regtype and p.proargtypes[1] = 'jsonb'::regtype
left join pg_namespace n on n.oid = p.pronamespace
order by (p.oid is not null and has_function_privilege(p.oid, 'execute') and has_schema_privilege(n.oid, 'usage')), workflow_id, name limit $1`, limit)
	if err != nil {
		return nil, sourceError(what, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[FunctionUse])
	if err != nil {
		return nil, sourceError(what, err)
	}
	return list, nil
}
