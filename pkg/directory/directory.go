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

// Config says how people are looked up.
type Config struct {
	// RolesSQL returns the names of an actor's roles as one column of text. $1 is the
	// actor's id and $2 the tenant of the workflow that asks, both text; $2 is null for
	// an operators' workflow.
	RolesSQL string
	// Timeout is how long the server may take for one query. Defaults to 2 s.
	Timeout time.Duration
	// Keep is how long an answer counts. Defaults to 30 s.
	Keep time.Duration
	// MostRoles is how many roles one actor may have, and MostKept how many answers are
	// kept. They default to 1000 and 20000.
	MostRoles, MostKept int
}

// Directory answers who has which roles. Any goroutine may use it.
type Directory struct {
	cfg   Config
	pool  *pgxpool.Pool
	group singleflight.Group

	mu    sync.Mutex
	young map[person]answer // of the two halves of what is kept, this one takes what is new
	old   map[person]answer
}

type person struct{ actor, tenant string }

type answer struct {
	roles []string
	at    time.Time
}

// New makes a directory that asks through a pool, which stays the caller's to close.
func New(cfg Config, pool *pgxpool.Pool) *Directory {
	cfg.Timeout = cmp.Or(cfg.Timeout, 2*time.Second)
	cfg.Keep = cmp.Or(cfg.Keep, 30*time.Second)
	cfg.MostRoles = cmp.Or(cfg.MostRoles, 1000)
	cfg.MostKept = cmp.Or(cfg.MostKept, 20000)
	return &Directory{cfg: cfg, pool: pool, young: make(map[person]answer)}
}

// patience is how much longer than its query an answer may take: for a connection.
const patience = 3 * time.Second

// Roles returns the roles of an actor, as the directory knew them within the last
// Config.Keep. tenant "" stands for none. The error says what the server said of the query,
// and may be shown; another try may succeed.
func (d *Directory) Roles(ctx context.Context, actor, tenant string) ([]string, error) {
	p := person{actor, tenant}
	if roles, ok := d.kept(p); ok {
		return roles, nil
	}
	// Who came first may go away while others wait for the same.
	ask := context.WithoutCancel(ctx)
	done := d.group.DoChan(tenant+"\x00"+actor, func() (any, error) {
		ask, cancel := context.WithTimeout(ask, d.cfg.Timeout+patience)
		defer cancel()
		at := time.Now()
		roles, err := d.ask(ask, &p.actor, nullable(p.tenant))
		if err != nil {
			return nil, err
		}
		d.keep(p, answer{roles, at})
		return roles, nil
	})
	select {
	case r := <-done:
		if r.Err != nil {
			return nil, d.explain(r.Err)
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

func (d *Directory) kept(p person) ([]string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, ok := d.young[p]
	if !ok {
		a, ok = d.old[p]
	}
	if !ok || time.Since(a.at) > d.cfg.Keep {
		return nil, false
	}
	return a.roles, true
}

func (d *Directory) keep(p person, a answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.young) >= max(1, d.cfg.MostKept/2) {
		d.old, d.young = d.young, make(map[person]answer)
	}
	d.young[p] = a
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
func (d *Directory) explain(err error) error {
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && pg.Code == "57014":
		return fmt.Errorf("the directory's SQL for roles took longer than %v", d.cfg.Timeout)
	case errors.As(err, &pg) && pg.Code == "25006":
		return fmt.Errorf("the directory's SQL for roles writes, and may only read: %s", pg.Message)
	case errors.As(err, &pg):
		return fmt.Errorf("the directory's SQL for roles failed: %s (SQLSTATE %s)", pg.Message, pg.Code)
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("the directory did not answer in time")
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return errors.New("the directory's database can't be reached")
	}
	return fmt.Errorf("the directory's SQL for roles: %w", err)
}

// Check tries the query out, with null for actor and tenant, and says what is wrong with
// it: for the one who configures it.
func (d *Directory) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout+patience)
	defer cancel()
	if err := d.describe(ctx); err != nil {
		return err
	}
	if _, err := d.ask(ctx, nil, nil); err != nil {
		return d.explain(err)
	}
	return nil
}

// describe asks the server what the query returns.
func (d *Directory) describe(ctx context.Context) error {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return d.explain(err)
	}
	defer conn.Release()
	st, err := conn.Conn().PgConn().Prepare(ctx, "", d.cfg.RolesSQL, texts)
	if err != nil {
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == "42883" && strings.Contains(pg.Message, "text") {
			return fmt.Errorf("%w. $1 and $2 are text: cast them where ids are of another type, as in user_id = $1::bigint", d.explain(err))
		}
		return d.explain(err)
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
