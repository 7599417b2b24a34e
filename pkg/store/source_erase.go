package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/change"
)

// MayErase returns ErrPrivilege unless the connected role may erase: then nothing is begun
// that it couldn't end.
func (s *Source) MayErase(ctx context.Context) error {
	var may bool
	var owner, me string
	err := s.db.QueryRow(ctx, `select has_function_privilege('rowbell.begin_erasing()', 'execute') and pg_has_role(nspowner, 'usage'), pg_get_userbyid(nspowner), current_user
from pg_namespace where nspname = 'rowbell'`).Scan(&may, &owner, &me)
	if err != nil {
		return sourceError("look who may erase", err)
	}
	if !may {
		return said{fmt.Sprintf("role %s may not erase: that is for %s, who owns schema rowbell; give ROWBELL_SOURCE_URL and ROWBELL_STATE_URL with that role", me, owner), ErrPrivilege}
	}
	return nil
}

// TenantCounts is what there is of a tenant in the source.
type TenantCounts struct {
	TenantID  string     `json:"tenant_id"` // "" = the operators
	Workflows int        `json:"workflows"` // with those that are drafts or inactive
	Active    int        `json:"active"`
	Templates int        `json:"templates"`
	Secrets   int        `json:"secrets"`
	ChangedAt *time.Time `json:"changed_at,omitempty"` // when a workflow last changed
}

// Tenants counts what there is of each tenant, by id. It looks at definitions, which are
// few, and not at the log. tenantID nil: of all.
func (s *Source) Tenants(ctx context.Context, tenantID *string) ([]TenantCounts, error) {
	const what = "list tenants"
	rows, err := s.db.Query(ctx, `select tenant, sum(workflows)::int4, sum(active)::int4, sum(templates)::int4, sum(secrets)::int4, max(changed_at)
from (
	select coalesce(tenant_id, '') as tenant, count(*) as workflows, count(*) filter (where status = 'active') as active, 0 as templates, 0 as secrets, max(updated_at) as changed_at
	from rowbell.workflow_definition where $1::text is null or coalesce(tenant_id, '') = $1 group by tenant_id
	union all select coalesce(tenant_id, ''), 0, 0, count(*), 0, null from rowbell.template where $1::text is null or coalesce(tenant_id, '') = $1 group by 1
	union all select coalesce(tenant_id, ''), 0, 0, 0, count(*), null from rowbell.secret where $1::text is null or coalesce(tenant_id, '') = $1 group by 1
) c group by tenant order by tenant collate "C"`, tenantID)
	if err != nil {
		return nil, sourceError(what, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[TenantCounts])
	if err != nil {
		return nil, sourceError(what, err)
	}
	return list, nil
}

// TenantWorkflows are the ids of workflows that are or were a tenant's, and of these those
// that others have or had too.
func (s *Source) TenantWorkflows(ctx context.Context, tenantID string) (ids, others []string, err error) {
	const what = "read the workflows of a tenant"
	rows, err := s.db.Query(ctx, `select m.workflow_id, exists (select from rowbell.workflow_version o where o.workflow_id = m.workflow_id and o.tenant_id is distinct from $1)
from (select distinct workflow_id from rowbell.workflow_version where tenant_id = $1) m`, tenantID)
	if err != nil {
		return nil, nil, sourceError(what, err)
	}
	var id string
	var other bool
	_, err = pgx.ForEachRow(rows, []any{&id, &other}, func() error {
		ids = append(ids, id)
		if other {
			others = append(others, id)
		}
		return nil
	})
	if err != nil {
		return nil, nil, sourceError(what, err)
	}
	return ids, others, nil
}

// deletedAtOnce is how many workflows one transaction deletes: the version trigger looks at
// each, and a worker reads as many versions at once.
const deletedAtOnce = 100

// DeleteWorkflows deletes all workflows of a tenant, and returns how many. Each gets a last
// version that says so, by which workers stop it. A worker whose checkpoint is at passed or
// behind has read all of them: passed is 0 if no version is left of the tenant.
func (s *Source) DeleteWorkflows(ctx context.Context, tenantID string) (n int64, passed change.LSN, err error) {
	what := "delete the workflows of tenant " + tenantID
	for {
		var some int64
		var versions bool
		var lsn string
		err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `set local lock_timeout = '2s'`); err != nil {
				return err
			}
			if err := sayWho(ctx, tx, ""); err != nil {
				return err
			}
			tag, err := tx.Exec(ctx, `delete from rowbell.workflow_definition where id in (
	select id from rowbell.workflow_definition where tenant_id = $1 order by id limit $2 for update)`, tenantID, deletedAtOnce)
			if err != nil {
				return err
			}
			some = tag.RowsAffected()
			// Whatever is deleted here was committed before this position, and the deletion is
			// behind it.
			return tx.QueryRow(ctx, `select exists (select from rowbell.workflow_version where tenant_id = $1), pg_current_wal_insert_lsn()::text`, tenantID).Scan(&versions, &lsn)
		})
		if err == nil {
			passed, err = change.ParseLSN(lsn)
		}
		if err != nil {
			return n, 0, sourceError(what, err)
		}
		if n += some; some < deletedAtOnce {
			if n == 0 && !versions {
				passed = 0
			}
			return n, passed, nil
		}
	}
}

// EraseTenant deletes what the source has of a tenant whose workflows are deleted, once no
// worker has their versions applied, and what audit_log says of it, but for that it was
// deleted. It may be repeated.
func (s *Source) EraseTenant(ctx context.Context, t TenantSweep) (Erased, error) {
	var e Erased
	names, conditions, err := ownedTables(ctx, s.pool)
	if err != nil {
		return e, sourceError("list the tables that have tenants", err)
	}
	erase := func(table, where string, args ...any) error {
		name := pgx.Identifier{"rowbell", table}.Sanitize()
		for {
			var n int64
			err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, `set local lock_timeout = '2s'`); err != nil {
					return err
				}
				if err := sayWho(ctx, tx, ""); err != nil {
					return err
				}
				if _, err := tx.Exec(ctx, `select rowbell.begin_erasing()`); err != nil {
					return err
				}
				tag, err := tx.Exec(ctx, fmt.Sprintf(`delete from %[1]s where ctid = any (array(select t.ctid from %[1]s t where %[2]s limit %[3]d))`, name, where, eraseRows), args...)
				n = tag.RowsAffected()
				return err
			})
			if err != nil {
				return sourceError("erase from rowbell."+table, err)
			}
			if e.table(table).Deleted += n; n < eraseRows {
				break
			}
		}
		var left int64
		if err := s.db.QueryRow(ctx, `select count(*) from `+name+` t where `+where, args...).Scan(&left); err != nil {
			return sourceError("look whether anything is left in rowbell."+table, err)
		}
		e.table(table).Left += left
		return nil
	}
	for i, name := range names {
		if strings.Contains(conditions[i], "version_ref") || slices.Contains(stateTables, name) {
			continue // of state, which may be the same database
		}
		if err := erase(name, conditions[i], t.ID, t.Workflows); err != nil {
			return e, err
		}
	}
	err = erase("workflow_version", `t.tenant_id = $1 and not exists (select from rowbell.workflow_definition d where d.id = t.workflow_id and d.tenant_id = $1)`, t.ID)
	if err != nil {
		return e, err
	}
	// Last, since the triggers of other tables have just written there.
	return e, erase("audit_log", `t.tenant_id = $1 and t.action <> 'tenant.delete'`, t.ID)
}

// stateTables are the tables of state from which State.Eraser has deleted already.
var stateTables = []string{
	"alert", "alert_watch", "big_transaction", "destination", "dismissal", "failure_count", "fired", "notification", "preference", "quiet_hours", "replay", "replay_item", "saved_view", "tenant_weight",
}

// ErasePerson takes somebody's id out of what audit_log says was done about them: what they
// want, and deliveries to them. What they did themselves stays.
func (s *Source) ErasePerson(ctx context.Context, p Person) (Erased, error) {
	var e Erased
	// The last part of a delivery's id is whom it is to.
	const where = `($2::text is null or coalesce(t.tenant_id, '') in ('', $2)) and (t.object_type = 'person' and t.object_id = any ($1)
	or t.object_type = 'delivery' and substr(t.object_id, strpos(t.object_id, '_') + 1) ~ '^-?[0-9]+_' and regexp_replace(substr(t.object_id, strpos(t.object_id, '_') + 1), '^-?[0-9]+_', '') = any ($1))`
	return e, s.emptyAudit(ctx, &e, `case t.object_type when 'person' then $3
	else left(t.object_id, strpos(t.object_id, '_')) || substring(substr(t.object_id, strpos(t.object_id, '_') + 1) from '^-?[0-9]+_') || $3 end`, where, p.IDs, p.TenantID, p.Token)
}

// EraseRow takes out of what audit_log says was done to deliveries whom they were to, if
// they were about one of these events.
func (s *Source) EraseRow(ctx context.Context, eventIDs []string) (Erased, error) {
	var e Erased
	const where = `t.object_type = 'delivery' and left(t.object_id, 26) = any ($1) and substr(t.object_id, strpos(t.object_id, '_') + 1) ~ '^-?[0-9]+_'`
	return e, s.emptyAudit(ctx, &e, `left(t.object_id, strpos(t.object_id, '_')) || substring(substr(t.object_id, strpos(t.object_id, '_') + 1) from '^-?[0-9]+')`, where, eventIDs)
}

// emptyAudit changes the object's id in some rows of audit_log.
func (s *Source) emptyAudit(ctx context.Context, e *Erased, to, where string, args ...any) error {
	const what = "erase from rowbell.audit_log"
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select set_config('lock_timeout', '2s', true), rowbell.begin_erasing()`); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `update rowbell.audit_log t set object_id = `+to+` where `+where, args...)
		e.table("audit_log").Emptied += tag.RowsAffected()
		return err
	})
	if err != nil {
		return sourceError(what, err)
	}
	var left int64
	n := strings.Count(where, "$2") // a token is only in what it becomes
	if err := s.db.QueryRow(ctx, `select count(*) from rowbell.audit_log t where `+where, args[:min(len(args), 1+min(n, 1))]...).Scan(&left); err != nil {
		return sourceError(what, err)
	}
	e.table("audit_log").Left += left
	return nil
}

// NamesPerson lists the workflows that name somebody as a recipient or an owner: what is
// configured is for people to change.
func (s *Source) NamesPerson(ctx context.Context, ids []string, tenantID *string) ([]string, error) {
	const what = "look which workflows name somebody"
	owners := make([]string, len(ids))
	for i, id := range ids {
		owners[i] = "user:" + id
	}
	rows, err := s.db.Query(ctx, `select d.id from rowbell.workflow_definition d
where ($2::text is null or coalesce(d.tenant_id, '') in ('', $2)) and (
	exists (select from rowbell.workflow_recipient r where r.workflow_id = d.id and r.recipient_type = 'user' and r.recipient_id = any ($1))
	or d.settings -> 'owners' ?| $3) order by d.id collate "C" limit 100`, ids, tenantID, owners)
	if err != nil {
		return nil, sourceError(what, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, sourceError(what, err)
	}
	return list, nil
}

// ownTenantWorkflows are those of ids that are not among others.
func ownTenantWorkflows(ids, others []string) []string {
	own := []string{}
	for _, id := range ids {
		if !slices.Contains(others, id) {
			own = append(own, id)
		}
	}
	slices.Sort(own)
	return slices.Compact(own)
}

// OwnWorkflows are the ids of workflows that only this tenant has or had, by what source and
// state know.
func OwnWorkflows(ctx context.Context, source *Source, state *State, tenantID string) ([]string, error) {
	ids, others, err := source.TenantWorkflows(ctx, tenantID)
	if err != nil {
		return nil, err
	}
	more, otherToo, err := state.TenantWorkflows(ctx, tenantID)
	if err != nil {
		return nil, err
	}
	return ownTenantWorkflows(append(ids, more...), append(others, otherToo...)), nil
}
