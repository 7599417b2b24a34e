package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Prerequisites is what the doctor asks the source's server. It judges nothing.
type Prerequisites struct {
	VersionNum  int    // server_version_num, such as 150018
	Version     string // server_version
	SystemID    string // system identifier
	Database    string
	DatabaseOID uint32
	InRecovery  bool // a standby

	WALLevel             string // must be logical
	MaxSlots, UsedSlots  int
	MaxSenders           int
	UsedSenders          int
	MaxSlotWALKeepSizeMB int64 // -1: slots may hold back any amount of WAL

	Role        string // as which we are connected
	Superuser   bool
	Replication bool
	CreateRole  bool
	// CreateOnDatabase says that the role may make the schema and publications.
	CreateOnDatabase bool

	// Pooler says why the connection seems to go through a pooler, which can neither
	// replicate nor keep a session; "" if it is direct.
	Pooler string

	// EmitAllowed says that the role may call pg_logical_emit_message, as heartbeats do.
	// EmitGrantees are the others who may: PUBLIC by default, and then any database user
	// can forge domain events and actors.
	EmitAllowed  bool
	EmitGrantees []string

	Blockers []Blocker
}

// Blocker is a transaction that has a transaction id and is not over. Making a slot waits
// for all of them, of every database of the server.
type Blocker struct {
	PID         uint32 // 0: a prepared transaction
	GID         string // of a prepared transaction; "" otherwise
	XID         uint32 // 32 bits
	Database    string
	Role        string
	Application string
	State       string // idle in transaction and so on; prepared; "" if the role may not see it
	Since       time.Time
}

// Mend is the statement that ends it.
func (b Blocker) Mend() string {
	if b.PID == 0 {
		return fmt.Sprintf("ROLLBACK PREPARED '%s'; -- or COMMIT PREPARED, in database %s", b.GID, b.Database)
	}
	return fmt.Sprintf("SELECT pg_terminate_backend(%d);", b.PID)
}

// Prerequisites asks the server all of it. It needs none of our tables.
func (s *Source) Prerequisites(ctx context.Context) (Prerequisites, error) {
	var p Prerequisites
	const what = "ask the server for its prerequisites"
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return p, fmt.Errorf("%s: %w", what, err)
	}
	defer conn.Release()
	var pid uint32
	err = conn.QueryRow(ctx, `select current_setting('server_version_num')::int, current_setting('server_version'),
	(select system_identifier::text from pg_control_system()), current_database()::text,
	(select oid from pg_database where datname = current_database()), pg_is_in_recovery(),
	current_setting('wal_level'),
	current_setting('max_replication_slots')::int, (select count(*) from pg_replication_slots)::int,
	current_setting('max_wal_senders')::int, (select count(*) from pg_stat_replication)::int,
	(select setting::bigint from pg_settings where name = 'max_slot_wal_keep_size'),
	r.rolname::text, r.rolsuper, r.rolreplication or r.rolsuper, r.rolcreaterole or r.rolsuper,
	has_database_privilege(current_database(), 'create'), pg_backend_pid(),
	(select bool_and(has_function_privilege(f.oid, 'execute')) from pg_proc f where f.proname = 'pg_logical_emit_message')
from pg_roles r where r.rolname = current_user`).
		Scan(&p.VersionNum, &p.Version, &p.SystemID, &p.Database, &p.DatabaseOID, &p.InRecovery,
			&p.WALLevel, &p.MaxSlots, &p.UsedSlots, &p.MaxSenders, &p.UsedSenders, &p.MaxSlotWALKeepSizeMB,
			&p.Role, &p.Superuser, &p.Replication, &p.CreateRole, &p.CreateOnDatabase, &pid, &p.EmitAllowed)
	if err != nil {
		return p, sourceError(what, err)
	}
	// A pooler answers the startup itself, with a process id that it made up.
	if told := conn.Conn().PgConn().PID(); told != pid {
		p.Pooler = fmt.Sprintf("the connection was opened as process %d, and its queries run in process %d", told, pid)
	}

	rows, err := conn.Query(ctx, `select distinct case when a.grantee = 0 then 'PUBLIC' else pg_get_userbyid(a.grantee)::text end
from pg_proc f, aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a
where f.proname = 'pg_logical_emit_message' and a.privilege_type = 'EXECUTE'
	and a.grantee <> f.proowner and a.grantee <> (select oid from pg_roles where rolname = current_user)
order by 1`)
	if err != nil {
		return p, sourceError(what, err)
	}
	if p.EmitGrantees, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return p, sourceError(what, err)
	}

	// pg_locks shows everybody's transaction ids to everybody; pg_stat_activity does not.
	rows, err = conn.Query(ctx, `select * from (
	select distinct on (l.pid) l.pid, '' as gid, l.transactionid::text::bigint, coalesce(a.datname, '')::text, coalesce(a.usename, '')::text,
		coalesce(a.application_name, ''), coalesce(a.state, ''), coalesce(a.xact_start, now()) as since
	from pg_locks l left join pg_stat_activity a on a.pid = l.pid
	where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted and l.pid <> pg_backend_pid()
	order by l.pid, age(l.transactionid) desc
) running
union all
select 0, gid, transaction::text::bigint, database::text, owner::text, '', 'prepared', prepared from pg_prepared_xacts
order by since`)
	if err != nil {
		return p, sourceError(what, err)
	}
	p.Blockers, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Blocker])
	if err != nil {
		return p, sourceError(what, err)
	}
	return p, nil
}

// TableRights says whether the connected role could capture a table.
type TableRights struct {
	Table  string // as it was asked for
	Exists bool
	Owner  string
	Member bool // of the owner, so that it may publish the table
	// Identity says that updates and deletes can be captured, not only inserts.
	Identity bool
}

// TableRights looks at tables, named as SQL names them or by their labels.
func (s *Source) TableRights(ctx context.Context, tables []string) ([]TableRights, error) {
	const what = "look at the owners of tables"
	rights := make([]TableRights, len(tables))
	for i, table := range tables {
		name, err := s.resolve(ctx, table)
		if err != nil {
			return nil, sourceError(what, err)
		}
		r := TableRights{Table: table}
		err = s.db.QueryRow(ctx, `select c.oid is not null, coalesce(pg_get_userbyid(c.relowner), '')::text,
	coalesce(pg_has_role(c.relowner, 'usage'), false),
	c.oid is not null and not exists (select from rowbell.tables_without_identity(c.oid))
from (select to_regclass($1) as oid) asked left join pg_class c on c.oid = asked.oid`, name).
			Scan(&r.Exists, &r.Owner, &r.Member, &r.Identity)
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == "42602" { // not even a name
			err = nil
		}
		if err != nil {
			return nil, sourceError(what, err)
		}
		rights[i] = r
	}
	return rights, nil
}
