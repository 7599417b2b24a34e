package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// EnsurePublications makes the publications <name> and <name>_insert, or mends them, and
// notes the name where rowbell.capture finds it. Call it before the slot is made: a slot
// fails at a row that was written before its publication existed. Where role
// rowbell_publisher exists or can be made it becomes their owner.
func (s *Source) EnsurePublications(ctx context.Context, name string) error {
	if _, err := s.db.Exec(ctx, `select rowbell.ensure_publications($1)`, name); err != nil {
		return sourceError(fmt.Sprintf("make the publications %s and %[1]s_insert", name), err)
	}
	return nil
}

// SetTenantColumn notes which column rowbell.capture takes for the tenant column of
// tables that have it.
func (s *Source) SetTenantColumn(ctx context.Context, column string) error {
	if _, err := s.db.Exec(ctx, `update rowbell.setting set tenant_column = $1 where tenant_column <> $1`, column); err != nil {
		return sourceError("note the tenant column", err)
	}
	return nil
}

// CaptureOptions says how a table is captured. A nil member leaves it as it is or, at a
// first capture, to what can be told from the table.
type CaptureOptions struct {
	TenantColumn *string  // "" = the table has none
	KeyColumns   []string // name a row in the log; the primary key by default
	Hidden       []string // never leave the decoder
	Redacted     []string // masked wherever they are stored or shown
	Label        string   // what workflows call it; "" = as it is, or schema and name
	// Renew writes a new row, with a new from_xid, though nothing changed: after a
	// resync or adopt.
	Renew bool
}

// Capture publishes a table and says in captured_table how it is captured. The table is
// named as SQL names it, or by its label. Returns ErrNotFound if there is no such table
// or publication, ErrPrivilege if a GRANT is missing, ErrLockTimeout (and ErrConflict) if
// somebody holds a lock: then try again.
func (s *Source) Capture(ctx context.Context, publication, table string, o CaptureOptions) error {
	what := "capture " + table
	name, err := s.resolve(ctx, table)
	if err != nil {
		return sourceError(what, err)
	}
	_, err = s.call(ctx, `call rowbell.capture($1, tenant_column => $2, key_columns => $3, hidden => $4, redacted => $5,
	label => nullif($6, ''), publication => $7, renew => $8)`,
		name, o.TenantColumn, o.KeyColumns, o.Hidden, o.Redacted, o.Label, publication, o.Renew)
	if err != nil {
		return sourceError(what, err)
	}
	return nil
}

// Release ends the capture of a table. Returns errors as Capture does, and ErrNotFound if
// it is not captured.
func (s *Source) Release(ctx context.Context, publication, table string) error {
	what := "release " + table
	name, err := s.resolve(ctx, table)
	if err != nil {
		return sourceError(what, err)
	}
	if _, err := s.call(ctx, `call rowbell.release($1, publication => $2)`, name, publication); err != nil {
		return sourceError(what, err)
	}
	return nil
}

// call runs a procedure that commits in between, so that who asks for it, which audit_log
// takes from settings, can't be said for one transaction. The session ends with it.
func (s *Source) call(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	o := originOf(ctx)
	if o == (Origin{}) {
		return s.db.Exec(ctx, sql, args...)
	}
	pooled, err := s.pool.Acquire(ctx)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	conn := pooled.Hijack()
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing) // what it did has been answered
	}()
	_, err = conn.Exec(ctx, `select set_config(name, value, false)
from (values ('rowbell.actor', $1), ('rowbell.via', $2), ('rowbell.address', $3), ('rowbell.request_id', $4)) v (name, value) where value <> ''`,
		o.Actor, o.Via, o.Address, o.RequestID)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	return conn.Exec(ctx, sql, args...)
}

// resolve turns a captured table's label, or a table's name without SQL's quotes, into
// its name in SQL. What it does not know it returns as it is.
func (s *Source) resolve(ctx context.Context, table string) (string, error) {
	schema, name, ok := strings.Cut(table, ".")
	if !ok {
		schema, name = "public", table
	}
	var resolved string
	err := s.db.QueryRow(ctx, `select coalesce(
	(select format('%I.%I', t.schema_name, t.table_name)
		from (select distinct on (schema_name, table_name) * from rowbell.captured_table order by schema_name, table_name, version desc) t
		where t.label = $1 and not t.released and to_regclass(format('%I.%I', t.schema_name, t.table_name)) is not null),
	(select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $2 and c.relname = $3),
	$1)`, table, schema, name).Scan(&resolved)
	return resolved, err
}

// PublicationState is what is found of the two publications. One that was dropped by hand
// stops the slot for ever at the first row written in between.
type PublicationState struct {
	Exists       bool // <name>
	InsertExists bool // <name>_insert
	// Complete says that both have the options they need and that <name>_insert has
	// workflow_version and captured_table. EnsurePublications mends what is not.
	Complete bool
	Owner    string // of <name>
	Member   bool   // the connected role may alter both
	Tables   []PublishedTable
}

// PublishedTable is an application's table in one of the publications.
type PublishedTable struct {
	Schema, Name string
	InsertOnly   bool // in <name>_insert
}

// PublicationState reads what there is of the publications <name> and <name>_insert.
func (s *Source) PublicationState(ctx context.Context, name string) (PublicationState, error) {
	var p PublicationState
	what := "look at publication " + name
	err := s.db.QueryRow(ctx, `select p.oid is not null, i.oid is not null,
	coalesce(p.pubviaroot and p.pubinsert and p.pubupdate and p.pubdelete and i.pubviaroot and i.pubinsert
		and not i.pubupdate and not i.pubdelete, false)
		and 2 = (select count(*) from pg_publication_tables t where t.pubname = i.pubname and t.schemaname = 'rowbell'
			and t.tablename in ('workflow_version', 'captured_table')),
	coalesce(pg_get_userbyid(p.pubowner), ''),
	coalesce(pg_has_role(p.pubowner, 'usage') and pg_has_role(i.pubowner, 'usage'), false)
from (select) one
left join pg_publication p on p.pubname = $1::text
left join pg_publication i on i.pubname = $1::text || '_insert'`, name).
		Scan(&p.Exists, &p.InsertExists, &p.Complete, &p.Owner, &p.Member)
	if err != nil {
		return p, sourceError(what, err)
	}
	rows, err := s.db.Query(ctx, `select schemaname, tablename, pubname <> $1::text from pg_publication_tables
where pubname in ($1::text, $1::text || '_insert') and schemaname <> 'rowbell' order by 1, 2, 3`, name)
	if err != nil {
		return p, sourceError(what, err)
	}
	p.Tables, err = pgx.CollectRows(rows, pgx.RowToStructByPos[PublishedTable])
	if err != nil {
		return p, sourceError(what, err)
	}
	return p, nil
}

// TablesPublishedWithoutIdentity lists tables, or partitions of them, that publication
// <name> has for all operations and that have lost their replica identity, so that the
// application's UPDATE and DELETE fail. The mend is ALTER TABLE … REPLICA IDENTITY, a
// primary key, or rowbell.capture, which moves the table to <name>_insert.
func (s *Source) TablesPublishedWithoutIdentity(ctx context.Context, publication string) ([]string, error) {
	const what = "look for published tables without replica identity"
	rows, err := s.db.Query(ctx, `select distinct format('%I.%I', n.nspname, b.relname)
from pg_publication p
join pg_publication_tables t on t.pubname = p.pubname
join pg_class c on c.relname = t.tablename
join pg_namespace cn on cn.oid = c.relnamespace and cn.nspname = t.schemaname
cross join lateral rowbell.tables_without_identity(c.oid) bare
join pg_class b on b.oid = bare
join pg_namespace n on n.oid = b.relnamespace
where p.pubname in ($1::text, $1::text || '_insert') and (p.pubupdate or p.pubdelete) order by 1`, publication)
	if err != nil {
		return nil, sourceError(what, err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, sourceError(what, err)
	}
	return tables, nil
}

// LostTables lists the labels of captured tables that are not published any more: they
// were dropped, made again under their name, or renamed.
func (s *Source) LostTables(ctx context.Context, publication string) ([]string, error) {
	const what = "look for captured tables that are not published"
	rows, err := s.db.Query(ctx, `select t.label
from (select distinct on (schema_name, table_name) * from rowbell.captured_table order by schema_name, table_name, version desc) t
where not t.released and not exists (select from pg_publication_tables p
	where p.pubname in ($1::text, $1::text || '_insert') and p.schemaname = t.schema_name and p.tablename = t.table_name)
order by t.label`, publication)
	if err != nil {
		return nil, sourceError(what, err)
	}
	labels, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, sourceError(what, err)
	}
	return labels, nil
}

// Released says that the table which had this label last was released. A release that comes
// through the slot may not be visible to others yet: it holds the lock of captures until it
// is. Returns ErrLockTimeout if that takes longer than 2 s.
func (s *Source) Released(ctx context.Context, label string) (bool, error) {
	var released bool
	err := pgx.BeginTxFunc(ctx, s.db, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local lock_timeout = '2s'`); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock_shared(hashtextextended('rowbell.capture', 0))`); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `select coalesce((select released from rowbell.captured_table
where label = $1 order by version desc limit 1), false)`, label).Scan(&released)
	})
	if err != nil {
		return false, sourceError("look whether "+label+" was released", err)
	}
	return released, nil
}

// Uninstalled says what Uninstall removed and what it left.
type Uninstalled struct {
	Publications []string // dropped
	Slots        []string // logical slots with pgoutput in this database: they hold WAL back until they are dropped
	// Roles are those of rowbell_publisher and rowbell_api that are still there: another
	// database of the server uses them, or the connected role may not drop them.
	Roles []string
}

// Uninstall drops the schema rowbell and the publications that it notes, in one
// transaction, and roles rowbell_publisher and rowbell_api if nothing else needs them. It leaves the
// application's tables alone, and slots: drop those first, or WAL stays. Returns
// ErrNotFound if there is no schema rowbell.
func Uninstall(ctx context.Context, pool *pgxpool.Pool) (Uninstalled, error) {
	var u Uninstalled
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local lock_timeout = '2s'`); err != nil {
			return err
		}
		var schema, setting bool
		err := tx.QueryRow(ctx, `select to_regnamespace('rowbell') is not null, to_regclass('rowbell.setting') is not null`).Scan(&schema, &setting)
		if err != nil {
			return err
		}
		if !schema {
			return fmt.Errorf("there is no schema rowbell in this database: %w", pgx.ErrNoRows)
		}
		if setting { // a state database has none
			rows, err := tx.Query(ctx, `select p.pubname::text from rowbell.setting s
join pg_publication p on p.pubname in (s.publication, s.publication || '_insert') order by 1`)
			if err != nil {
				return err
			}
			if u.Publications, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
				return err
			}
		}
		for _, p := range u.Publications {
			if _, err := tx.Exec(ctx, `drop publication `+pgx.Identifier{p}.Sanitize()); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `drop schema rowbell cascade`); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `select slot_name::text from pg_replication_slots
where database = current_database() and plugin = 'pgoutput' order by 1`)
		if err != nil {
			return err
		}
		u.Slots, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return Uninstalled{}, sourceError("uninstall", err)
	}
	// Whether other databases need a role only trying tells, and a failure is an answer.
	for _, role := range []string{"rowbell_publisher", apiRole} {
		if _, err := pool.Exec(ctx, `drop role if exists `+role); err == nil {
			continue
		}
		var left bool
		if err := pool.QueryRow(ctx, `select exists (select from pg_roles where rolname = $1)`, role).Scan(&left); err != nil {
			return u, sourceError("look for role "+role, err)
		}
		if left {
			u.Roles = append(u.Roles, role)
		}
	}
	return u, nil
}
