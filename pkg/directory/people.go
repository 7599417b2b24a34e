package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/spelling"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// list names the members of a role or group of a tenant.
type list struct{ of, name, tenant string }

// answer is what a query returned, and as of when: what it returned counts for those
// whose transaction the snapshot sees.
type answer struct {
	people []workflow.Person
	seen   change.Snapshot
}

// moment is what an answer must have seen.
type moment struct {
	xid         uint64    // 0: nothing
	committedAt time.Time // of that transaction
}

// lateXID is how long a transaction counts as not yet visible that the source's server
// hasn't come to. One that is later than that is of another history of the server, whose
// ids are used again: a restored backup.
const lateXID = time.Minute

func (m moment) before(s change.Snapshot) bool {
	return m.xid == 0 || s.Sees(m.xid) || m.xid >= s.Xmax && time.Since(m.committedAt) > lateXID
}

// errNotVisible says that a commit has come through the slot, and its rows are not yet
// visible to others: its backend is just about to end, or waits for a standby.
var errNotVisible = errors.New("the change is not yet visible to readers of the source")

// query is one that returns people.
type query struct {
	of    string // what it is called in messages
	sql   string
	many  bool // $1 is text[]
	flag  string
	write string // an example
}

// queries are those that there are.
func (d *Directory) queries() []query {
	all := []query{d.usersQuery(), d.membersQuery("role"), d.membersQuery("group")}
	return slices.DeleteFunc(all, func(q query) bool { return q.sql == "" })
}

func (d *Directory) usersQuery() query {
	return query{
		of: "users", sql: d.cfg.UsersSQL, many: true, flag: "directory-users",
		write: "SELECT id::text AS id, name, email, locale, time_zone AS zone FROM users WHERE id::text = ANY ($1) AND tenant_id = $2",
	}
}

func (d *Directory) membersQuery(of string) query {
	if of == "role" {
		return query{
			of: "members of a role", sql: d.cfg.RoleMembersSQL, flag: "directory-role-members",
			write: "SELECT user_id AS id FROM user_roles WHERE role = $1 AND tenant_id = $2",
		}
	}
	return query{
		of: "members of a group", sql: d.cfg.GroupMembersSQL, flag: "directory-group-members",
		write: "SELECT user_id AS id FROM group_members WHERE group_name = $1 AND tenant_id = $2",
	}
}

// members are those of a role or group.
func (d *Directory) members(ctx context.Context, l list, m moment) ([]workflow.Person, error) {
	for {
		if a, ok := d.lists.get(l); ok && m.before(a.seen) {
			return a.people, nil
		}
		// Who came first may go away while others wait for the same.
		ask := context.WithoutCancel(ctx)
		done := d.group.DoChan(strings.Join([]string{l.of, l.tenant, l.name}, "\x00"), func() (any, error) {
			at := time.Now()
			a, err := d.people(ask, d.membersQuery(l.of), l.name, l.tenant, m)
			if err != nil {
				return nil, err
			}
			if d.cfg.UsersSQL != "" && !slices.ContainsFunc(a.people, known) {
				if a, err = d.complete(ask, a, l.tenant, m); err != nil {
					return nil, err
				}
			}
			d.lists.put(l, a, at)
			return a, nil
		})
		select {
		case r := <-done:
			if r.Err != nil {
				return nil, r.Err
			}
			if a := r.Val.(answer); m.before(a.seen) {
				return a.people, nil
			}
			// Who asked first needed less.
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// known says that there is more of a person than an id.
func known(p workflow.Person) bool {
	return p.Name != "" || p.Email != "" || p.Phone != "" || p.Locale != "" || p.Zone != ""
}

// complete asks who people are of whom there are ids.
func (d *Directory) complete(ctx context.Context, a answer, tenant string, m moment) (answer, error) {
	ids := make([]string, len(a.people))
	for i, p := range a.people {
		ids[i] = p.ID
	}
	found, err := d.find(ctx, ids, tenant, m)
	if err != nil {
		return a, err
	}
	whole := answer{seen: a.seen}
	for _, p := range a.people {
		if q, ok := found[p.ID]; ok {
			p = q
		}
		whole.people = append(whole.people, p)
	}
	return whole, nil
}

// idsAtOnce is how many users one query is asked for.
const idsAtOnce = 1000

// find looks users up. Whom the directory doesn't know is not in the answer.
func (d *Directory) find(ctx context.Context, ids []string, tenant string, m moment) (map[string]workflow.Person, error) {
	found := make(map[string]workflow.Person, len(ids))
	var unknown []string
	for _, id := range ids {
		a, ok := d.users.get(person{id, tenant})
		switch {
		case !ok || !m.before(a.seen):
			unknown = append(unknown, id)
		case len(a.people) > 0:
			found[id] = a.people[0]
		}
	}
	for piece := range slices.Chunk(unknown, idsAtOnce) {
		at := time.Now()
		array, err := textArray(piece)
		if err != nil {
			return nil, err
		}
		a, err := d.people(ctx, d.usersQuery(), array, tenant, m)
		if err != nil {
			return nil, err
		}
		for _, p := range a.people {
			if slices.Contains(piece, p.ID) {
				found[p.ID] = p
			}
		}
		for _, id := range piece {
			one := answer{seen: a.seen}
			if p, ok := found[id]; ok {
				one.people = []workflow.Person{p}
			}
			d.users.put(person{id, tenant}, one, at)
		}
	}
	return found, nil
}

// textArray writes a text[] as PostgreSQL reads it.
func textArray(list []string) (string, error) {
	b, err := pgtype.NewMap().Encode(pgtype.TextArrayOID, pgtype.TextFormatCode, list, nil)
	return string(b), err
}

// people runs a query for what is asked and a tenant, as soon as m is visible to it.
func (d *Directory) people(ctx context.Context, q query, asked, tenant string, m moment) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout+patience)
	defer cancel()
	wait := 2 * time.Millisecond
	for {
		a, err := d.try(ctx, q, &asked, nullable(tenant), m)
		if !errors.Is(err, errNotVisible) {
			if err != nil {
				err = d.explain(err, q.of)
			}
			d.used(err)
			return a, err
		}
		select {
		case <-time.After(wait):
			wait = min(2*wait, 250*time.Millisecond)
		case <-ctx.Done():
			return a, err
		}
	}
}

// try runs a query once. The error is errNotVisible if m isn't.
func (d *Directory) try(ctx context.Context, q query, asked, tenant *string, m moment) (answer, error) {
	var a answer
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return a, err
	}
	defer conn.Release()
	// One snapshot for what is looked at and what is returned.
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly, IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		var seen string
		b := &pgx.Batch{}
		b.Queue(fmt.Sprintf(`set local statement_timeout = %d`, d.cfg.Timeout.Milliseconds()))
		b.Queue(`select pg_current_snapshot()::text`).QueryRow(func(row pgx.Row) error { return row.Scan(&seen) })
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		if a.seen, err = change.ParseSnapshot(seen); err != nil {
			return err
		}
		if !m.before(a.seen) {
			return errNotVisible
		}
		a.people, err = d.read(ctx, tx.Conn().PgConn(), q, asked, tenant)
		return err
	})
	return a, err
}

// read runs the query, and reads people from it.
func (d *Directory) read(ctx context.Context, conn *pgconn.PgConn, q query, asked, tenant *string) ([]workflow.Person, error) {
	args := make([][]byte, 2)
	for i, s := range []*string{asked, tenant} {
		if s != nil {
			args[i] = []byte(*s)
		}
	}
	// To stop in the middle of too many rows the connection has to go.
	ctx, drop := context.WithCancel(ctx)
	defer drop()
	res := conn.ExecParams(ctx, q.sql, args, q.types(), nil, nil)
	var people []workflow.Person
	var fields []field
	var wrong error
	seen := make(map[string]bool)
	for wrong == nil && res.NextRow() {
		if fields == nil {
			if fields, wrong = fieldsOf(res.FieldDescriptions()); wrong != nil {
				break
			}
		}
		var p workflow.Person
		for i, v := range res.Values() {
			if v != nil {
				*fields[i](&p) = string(v)
			}
		}
		switch {
		case p.ID == "" || seen[p.ID]:
		case len(people) == d.cfg.MostPeople:
			wrong = fmt.Errorf("it returned more than %d people", d.cfg.MostPeople)
		default:
			if wrong = checkID(p.ID); wrong == nil {
				seen[p.ID] = true
				people = append(people, p)
			}
		}
	}
	if wrong != nil {
		drop()
	}
	if _, err := res.Close(); wrong == nil && err != nil {
		return nil, err
	}
	return people, wrong
}

func (q query) types() []uint32 {
	if q.many {
		return []uint32{pgtype.TextArrayOID, pgtype.TextOID}
	}
	return texts
}

// field is where a column goes.
type field func(*workflow.Person) *string

// fieldNames are the columns that a query may return, in the order of messages.
var fieldNames = []string{"id", "name", "email", "phone", "locale", "zone"}

var fieldsByName = map[string]field{
	"id":     func(p *workflow.Person) *string { return &p.ID },
	"name":   func(p *workflow.Person) *string { return &p.Name },
	"email":  func(p *workflow.Person) *string { return &p.Email },
	"phone":  func(p *workflow.Person) *string { return &p.Phone },
	"locale": func(p *workflow.Person) *string { return &p.Locale },
	"zone":   func(p *workflow.Person) *string { return &p.Zone },
}

func fieldsOf(columns []pgconn.FieldDescription) ([]field, error) {
	var list []field
	var names []string
	for _, c := range columns {
		f := fieldsByName[c.Name]
		switch {
		case f == nil:
			mend := spelling.Mend(c.Name, fieldNames)
			if mend == "" {
				mend = "there may be " + strings.Join(fieldNames, ", ") + ": name it so by AS, or leave it out"
			}
			return nil, fmt.Errorf("it returns a column %q; %s", c.Name, mend)
		case slices.Contains(names, c.Name):
			return nil, fmt.Errorf("it returns two columns %s", c.Name)
		}
		list, names = append(list, f), append(names, c.Name)
	}
	if !slices.Contains(names, "id") {
		return nil, errors.New("it returns no column id")
	}
	return list, nil
}

// checkPeople tries a query out.
func (d *Directory) checkPeople(ctx context.Context, q query) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout+patience)
	defer cancel()
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return d.explain(err, q.of)
	}
	st, err := conn.Conn().PgConn().Prepare(ctx, "", q.sql, q.types())
	conn.Release()
	if err != nil {
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == "42883" && strings.Contains(pg.Message, "text") {
			what := "$1 and $2 are text: cast them where ids are of another type, as in user_id = $1::bigint"
			if q.many {
				what = "$1 is text[] and $2 text: cast them where ids are of another type, as in id = ANY ($1::bigint[])"
			}
			return fmt.Errorf("%w. %s", d.explain(err, q.of), what)
		}
		return d.explain(err, q.of)
	}
	if len(st.ParamOIDs) > 2 {
		return fmt.Errorf("the directory's SQL for %s has %d parameters; there are $1, what is asked for, and $2, the tenant", q.of, len(st.ParamOIDs))
	}
	if _, err := fieldsOf(st.Fields); err != nil {
		return fmt.Errorf("the directory's SQL for %s: %w; write %s", q.of, err, q.write)
	}
	if _, err := d.try(ctx, q, nil, nil, moment{}); err != nil {
		return d.explain(err, q.of)
	}
	return nil
}
