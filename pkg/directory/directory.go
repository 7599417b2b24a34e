package directory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/singleflight"
)

// Config says how people are looked up. Each query is optional: what needs one that isn't
// there is refused, and says so. In all of them $2 is the tenant of the workflow that
// asks, as text, and null for an operators' workflow.
type Config struct {
	// RolesSQL returns the names of an actor's roles as one column of text. $1 is the
	// actor's id, text.
	RolesSQL string
	// UsersSQL returns the users with the ids $1, text[]: a row for each with a column id,
	// and any of name, email, phone, locale and zone. Whom it doesn't return is unknown.
	UsersSQL string
	// RoleMembersSQL and GroupMembersSQL return the users who have the role, or are in the
	// group, $1, text: columns as of UsersSQL, which is asked for the rest if there is id
	// alone.
	RoleMembersSQL, GroupMembersSQL string
	// Timeout is how long the server may take for one query. Defaults to 2 s.
	Timeout time.Duration
	// Keep is how long an answer counts. Defaults to 30 s.
	Keep time.Duration
	// MostRoles is how many roles one actor may have, MostPeople how many recipients one
	// action, and MostKept how many roles, and how many people, are kept in memory. They
	// default to 1000, 10,000 and 20,000.
	MostRoles, MostPeople, MostKept int
}

// Directory answers who has which roles, and who people are. Any goroutine may use it.
type Directory struct {
	cfg   Config
	pool  *pgxpool.Pool
	group singleflight.Group
	roles *cache[person, []string]
	lists *cache[list, answer] // of members
	users *cache[person, answer]

	useMu sync.Mutex
	use   Use
}

// Use is when a directory has answered last, and when it failed.
type Use struct {
	At, FailedAt time.Time // zero: never
	Error        string    // of the last failure; it may be shown
}

// LastUse is when the directory was used, since it was made. d may be nil.
func (d *Directory) LastUse() Use {
	if d == nil {
		return Use{}
	}
	d.useMu.Lock()
	defer d.useMu.Unlock()
	return d.use
}

// used notes what came of a query; err is one that may be shown.
func (d *Directory) used(err error) {
	if errors.Is(err, context.Canceled) {
		return // who asked has gone away
	}
	d.useMu.Lock()
	defer d.useMu.Unlock()
	if err == nil {
		d.use.At = time.Now()
		return
	}
	d.use.FailedAt, d.use.Error = time.Now(), err.Error()
}

// person is somebody of a tenant.
type person struct{ id, tenant string }

// New makes a directory that asks through a pool, which stays the caller's to close.
func New(cfg Config, pool *pgxpool.Pool) *Directory {
	cfg.Timeout = cmp.Or(cfg.Timeout, 2*time.Second)
	cfg.Keep = cmp.Or(cfg.Keep, 30*time.Second)
	cfg.MostRoles = cmp.Or(cfg.MostRoles, 1000)
	cfg.MostPeople = cmp.Or(cfg.MostPeople, 10_000)
	cfg.MostKept = cmp.Or(cfg.MostKept, 20_000)
	return &Directory{
		cfg: cfg, pool: pool,
		roles: newCache[person](cfg.Keep, cfg.MostKept, func([]string) int { return 1 }),
		lists: newCache[list](cfg.Keep, cfg.MostKept, func(a answer) int { return 1 + len(a.people) }),
		users: newCache[person](cfg.Keep, cfg.MostKept, func(answer) int { return 1 }),
	}
}

// patience is how much longer than its query an answer may take: for a connection.
const patience = 3 * time.Second

// Roles returns the roles of an actor, as the directory knew them within the last
// Config.Keep. tenant "" stands for none. The error says what the server said of the query,
// and may be shown; another try may succeed. d may be nil.
func (d *Directory) Roles(ctx context.Context, actor, tenant string) ([]string, error) {
	if d == nil || d.cfg.RolesSQL == "" {
		return nil, errors.New("roles by directory need ROWBELL_DIRECTORY_ROLES, which this worker doesn't have")
	}
	p := person{actor, tenant}
	if roles, ok := d.roles.get(p); ok {
		return roles, nil
	}
	// Who came first may go away while others wait for the same.
	ask := context.WithoutCancel(ctx)
	// The key begins as none of members does, whose answer is another type: an actor is what
	// somebody's message says, and may hold a NUL.
	done := d.group.DoChan("roles\x00"+tenant+"\x00"+actor, func() (any, error) {
		ask, cancel := context.WithTimeout(ask, d.cfg.Timeout+patience)
		defer cancel()
		at := time.Now()
		roles, err := d.ask(ask, &p.id, nullable(p.tenant))
		if err != nil {
			d.used(d.explain(err, "roles"))
			return nil, err
		}
		d.used(nil)
		d.roles.put(p, roles, at)
		return roles, nil
	})
	select {
	case r := <-done:
		if r.Err != nil {
			return nil, d.explain(r.Err, "roles")
		}
		return r.Val.([]string), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// texts are the parameters' types. They are told to the server, so that what $1 = is
// compared with doesn't decide how an id is read.
var texts = []uint32{pgtype.TextOID, pgtype.TextOID}

// ask runs the query for an actor and a tenant; nil stands for null.
func (d *Directory) ask(ctx context.Context, actor, tenant *string) ([]string, error) {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	var roles []string
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, fmt.Sprintf(`set local statement_timeout = %d`, d.cfg.Timeout.Milliseconds())); err != nil {
			return err
		}
		roles, err = d.run(ctx, tx.Conn().PgConn(), actor, tenant)
		return err
	})
	return roles, err
}

func (d *Directory) run(ctx context.Context, conn *pgconn.PgConn, actor, tenant *string) ([]string, error) {
	args := make([][]byte, 2)
	for i, s := range []*string{actor, tenant} {
		if s != nil {
			args[i] = []byte(*s)
		}
	}
	// To stop in the middle of too many rows the connection has to go.
	ctx, drop := context.WithCancel(ctx)
	defer drop()
	res := conn.ExecParams(ctx, d.cfg.RolesSQL, args, texts, nil, nil)
	roles := []string{}
	var wrong error
	for res.NextRow() {
		v := res.Values()
		switch {
		case wrong != nil:
		case len(v) != 1:
			wrong = columns(len(v))
		case len(roles) == d.cfg.MostRoles:
			wrong = fmt.Errorf("it returned more than %d roles", d.cfg.MostRoles)
		case v[0] != nil:
			roles = append(roles, string(v[0]))
		}
		if wrong != nil {
			drop()
		}
	}
	if _, err := res.Close(); wrong == nil && err != nil {
		return nil, err
	}
	return roles, wrong
}

func columns(n int) error {
	return fmt.Errorf("it returns %d columns, not one with the names of the roles", n)
}

// explain puts an error into the words of whoever has to mend the query.
func (d *Directory) explain(err error, of string) error {
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && pg.Code == "57014":
		return fmt.Errorf("the directory's SQL for %s took longer than %v", of, d.cfg.Timeout)
	case errors.As(err, &pg) && pg.Code == "25006":
		return fmt.Errorf("the directory's SQL for %s writes, and may only read: %s", of, pg.Message)
	case errors.As(err, &pg):
		return fmt.Errorf("the directory's SQL for %s failed: %s (SQLSTATE %s)", of, pg.Message, pg.Code)
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("the directory did not answer in time")
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return errors.New("the directory's database can't be reached")
	}
	return fmt.Errorf("the directory's SQL for %s: %w", of, err)
}

// Check tries the queries out, with null for what they are asked and the tenant, and says
// what is wrong with them: for the one who configures them.
func (d *Directory) Check(ctx context.Context) error {
	var problems []error
	if d.cfg.RolesSQL != "" {
		problems = append(problems, d.checkRoles(ctx))
	}
	for _, q := range d.queries() {
		problems = append(problems, d.checkPeople(ctx, q))
	}
	return errors.Join(problems...)
}

func (d *Directory) checkRoles(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout+patience)
	defer cancel()
	if err := d.describe(ctx); err != nil {
		return err
	}
	if _, err := d.ask(ctx, nil, nil); err != nil {
		return d.explain(err, "roles")
	}
	return nil
}

// describe asks the server what the query returns.
func (d *Directory) describe(ctx context.Context) error {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return d.explain(err, "roles")
	}
	defer conn.Release()
	st, err := conn.Conn().PgConn().Prepare(ctx, "", d.cfg.RolesSQL, texts)
	if err != nil {
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == "42883" && strings.Contains(pg.Message, "text") {
			return fmt.Errorf("%w. $1 and $2 are text: cast them where ids are of another type, as in user_id = $1::bigint", d.explain(err, "roles"))
		}
		return d.explain(err, "roles")
	}
	if len(st.ParamOIDs) > 2 {
		return fmt.Errorf("the directory's SQL for roles has %d parameters; there are $1, the actor's id, and $2, the tenant", len(st.ParamOIDs))
	}
	if len(st.Fields) != 1 {
		return fmt.Errorf("the directory's SQL for roles: %w; write SELECT role FROM user_roles WHERE user_id = $1", columns(len(st.Fields)))
	}
	switch f := st.Fields[0]; f.DataTypeOID {
	case pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID, pgtype.NameOID:
		return nil
	default:
		return fmt.Errorf("the directory's SQL for roles returns column %s, which is not text; cast it: %s::text (of an array: unnest(%s))", f.Name, f.Name, f.Name)
	}
}
