package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Tenant is on whose behalf statements run.
type Tenant struct {
	ID    string // "" sees nothing
	All   bool   // for all tenants and the operators: ID is not heeded
	Actor string // who acts, for created_by and the audit log; "" = the database user
}

// setting is the value of rowbell.tenant.
func (t Tenant) setting() string {
	switch {
	case t.All:
		return "*"
	case t.ID == "*":
		return "" // would be all
	}
	return t.ID
}

// one says that statements are for a single tenant.
func (t *Tenant) one() bool { return t != nil && !t.All }

// apiRole is the role that statements for a tenant run as: rowbell.ensure_api makes it.
const apiRole = "rowbell_api"

// errWorkerOnly is of methods of the recorder and the queue.
var errWorkerOnly = errors.New("this is the worker's alone, and not done in the name of somebody")

// As gives the same state for one tenant, or for all with the rights that the API has: what
// it does not see, row-level security hides, and what it may not change is refused. Each
// statement runs as role rowbell_api, in a transaction that names the tenant; nothing of
// that stays with a connection. Methods of the recorder and the queue, which are no matter
// of anybody's rights, refuse. Returns
// ErrPrivilege from every method if the role is missing, or may not be taken on.
func (s *State) As(t Tenant) *State {
	return &State{pool: s.pool, db: tenantDB{s.pool, t}, tenant: &t, reach: s.reach}
}

// As gives the same source, as State.As does.
func (s *Source) As(t Tenant) *Source {
	return &Source{pool: s.pool, db: tenantDB{s.pool, t}, tenant: &t}
}

// acquire lends a connection for what only the worker does.
func (s *State) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	if s.tenant != nil {
		return nil, errWorkerOnly
	}
	return s.pool.Acquire(ctx)
}

// SeesAll returns ErrPrivilege, with the mend, if the source is for all tenants and row-level
// security hides some of it: a worker would take what it can't see for deleted.
func (s *Source) SeesAll(ctx context.Context) error {
	if s.tenant != nil {
		return nil
	}
	var all bool
	var user, schemaOwner string
	err := s.db.QueryRow(ctx, `select rowbell.sees_all(true), session_user::text, pg_get_userbyid(nspowner)::text from pg_namespace where nspname = 'rowbell'`).Scan(&all, &user, &schemaOwner)
	if err != nil {
		return sourceError("look whether all tenants' rows are seen", err)
	}
	if !all {
		return fmt.Errorf("%w: %s sees and edits the rows of some tenants only; as %s run: INSERT INTO rowbell.sql_member (role_name, tenant_id, access) VALUES ('%s', '*', 'edit') ON CONFLICT (role_name, tenant_id) DO UPDATE SET access = 'edit'",
			ErrPrivilege, user, schemaOwner, strings.ReplaceAll(user, "'", "''"))
	}
	return nil
}

// TenantRole says of a database whether statements for a tenant can run there.
type TenantRole struct {
	Exists  bool // role rowbell_api
	Granted bool // it has its rights on the tables, which rowbell migrate gives
	Member  bool // the connected role may take it on
}

const tenantRoleSQL = `select r.oid is not null, coalesce(has_schema_privilege(r.oid, 'rowbell', 'usage'), false),
	coalesce(pg_has_role(r.oid, case when current_setting('server_version_num')::int >= 160000 then 'set' else 'member' end), false)
from (select to_regrole('` + apiRole + `')::oid as oid) r`

// TenantRole looks at the source.
func (s *Source) TenantRole(ctx context.Context) (TenantRole, error) {
	r, err := tenantRole(ctx, s.db)
	if err != nil {
		return r, sourceError("look at role "+apiRole, err)
	}
	return r, nil
}

// TenantRole looks at the state's database.
func (s *State) TenantRole(ctx context.Context) (TenantRole, error) {
	r, err := tenantRole(ctx, s.db)
	if err != nil {
		return r, stateError("look at role "+apiRole, err)
	}
	return r, nil
}

func tenantRole(ctx context.Context, db database) (r TenantRole, err error) {
	err = db.QueryRow(ctx, tenantRoleSQL).Scan(&r.Exists, &r.Granted, &r.Member)
	return r, err
}

// database is what most statements need of a pool.
type database interface {
	execer
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
	Begin(ctx context.Context) (pgx.Tx, error)
	BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error)
}

// tenantDB runs statements for a tenant. A single one goes to the server together with the
// one that names the tenant, as a batch: that is one transaction and one round trip
// (PostgreSQL manual, "Pipelining").
type tenantDB struct {
	pool *pgxpool.Pool
	t    Tenant
}

// become is the statement that a transaction for a tenant begins with. The settings end
// with it.
const become = `select set_config('rowbell.tenant', $1, true), set_config('rowbell.actor', $2, true), set_config('role', '` + apiRole + `', true)`

// refused says what lacks if the role can't be taken on.
func (d tenantDB) refused(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	user := pgx.Identifier{d.pool.Config().ConnConfig.User}.Sanitize()
	switch pg.Code {
	case "22023": // invalid_parameter_value: there is no such role
		return fmt.Errorf("%w: role %s, which the API takes on, is missing; as a superuser run: CREATE ROLE %[2]s NOLOGIN; GRANT %[2]s TO %[3]s; then: rowbell migrate: %[4]w", ErrPrivilege, apiRole, user, err)
	case "42501":
		return fmt.Errorf("%w: %s may not take on role %s, as the API does; run: GRANT %[3]s TO %[2]s;: %[4]w", ErrPrivilege, user, apiRole, err)
	}
	return err
}

// Query returns rows whose Close ends the transaction; its error is among those of Err.
func (d tenantDB) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	b := &pgx.Batch{}
	// A batch has no modes of its own: see planned.
	planned := false
	if len(args) > 0 {
		if _, planned = args[0].(pgx.QueryExecMode); planned {
			args = args[1:]
		}
	}
	b.Queue(sql, args...)
	results := d.send(ctx, b, planned)
	rows, err := results.Query()
	if err != nil {
		return rows, errors.Join(err, ignoreSame(results.Close(), err))
	}
	return &tenantRows{Rows: rows, results: results}, nil
}

// ignoreSame is nil for an error that has been returned already.
func ignoreSame(err, known error) error {
	if err == nil || errors.Is(known, err) || err.Error() == known.Error() {
		return nil
	}
	return err
}

func (d tenantDB) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, err := d.Query(ctx, sql, args...)
	return tenantRow{rows, err}
}

func (d tenantDB) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	b := &pgx.Batch{}
	b.Queue(sql, args...)
	results := d.SendBatch(ctx, b)
	tag, err := results.Exec()
	if closeErr := results.Close(); err == nil {
		err = closeErr // of the commit
	}
	return tag, err
}

// SendBatch sends the batch behind the statement that names the tenant.
func (d tenantDB) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	return d.send(ctx, b, false)
}

// send is SendBatch; with planned each statement is planned for its arguments.
func (d tenantDB) send(ctx context.Context, b *pgx.Batch, planned bool) pgx.BatchResults {
	all := &pgx.Batch{}
	if planned {
		all.Queue(become+`, set_config('plan_cache_mode', 'force_custom_plan', true)`, d.t.setting(), d.t.Actor)
	} else {
		all.Queue(become, d.t.setting(), d.t.Actor)
	}
	all.QueuedQueries = append(all.QueuedQueries, b.QueuedQueries...)
	results := d.pool.SendBatch(ctx, all)
	if _, err := results.Exec(); err != nil {
		_ = results.Close() // the same error
		return pgx.FailedBatchResults(b, d.refused(err))
	}
	return results
}

func (d tenantDB) Begin(ctx context.Context) (pgx.Tx, error) { return d.BeginTx(ctx, pgx.TxOptions{}) }

func (d tenantDB) BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error) {
	b := &pgx.Batch{}
	b.BeginTx(o)
	b.Queue(become, d.t.setting(), d.t.Actor)
	results := d.pool.SendBatch(ctx, b)
	tx := results.Tx()
	if err := results.Close(); err != nil {
		if rollbackErr := tx.Rollback(context.WithoutCancel(ctx)); rollbackErr != nil && !errors.Is(rollbackErr, pgx.ErrTxClosed) {
			err = errors.Join(err, rollbackErr)
		}
		return nil, d.refused(err)
	}
	return tx, nil
}

// tenantRows are the rows of a transaction's only statement.
type tenantRows struct {
	pgx.Rows
	results pgx.BatchResults
	closed  bool
	err     error
}

func (r *tenantRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.Close()
	return false
}

// Close ends the transaction. Where the caller is done before the last row it is committed
// as well: what the statement does it has done by then.
func (r *tenantRows) Close() {
	if r.closed {
		return
	}
	r.closed = true
	r.Rows.Close()
	r.err = r.Rows.Err()
	if err := r.results.Close(); r.err == nil {
		r.err = err
	}
}

func (r *tenantRows) Err() error {
	if r.closed {
		return r.err
	}
	return r.Rows.Err()
}

// tenantRow is one row, or what went wrong.
type tenantRow struct {
	rows pgx.Rows
	err  error
}

func (r tenantRow) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}
