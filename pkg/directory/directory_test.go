package directory_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/pkg/directory"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const people = `create table member (user_id text, tenant text, role text);
insert into member values ('ann', 'acme', 'approver'), ('ann', 'acme', 'staff'), ('ann', 'acme', null), ('ann', 'beta', 'guest'), ('root', null, 'operator')`

const rolesSQL = `select role from member where user_id = $1 and tenant is not distinct from $2 order by role`

func open(t testing.TB, cfg directory.Config) (*pgtest.Database, *directory.Directory) {
	t.Helper()
	db := pgtest.DB(t)
	db.Exec(t, people)
	if cfg.RolesSQL == "" {
		cfg.RolesSQL = rolesSQL
	}
	return db, directory.New(cfg, db.Pool(t))
}

func roles(t testing.TB, d *directory.Directory, actor, tenant string) string {
	t.Helper()
	list, err := d.Roles(t.Context(), actor, tenant)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, " ")
}

func TestRoles(t *testing.T) {
	t.Parallel()
	_, d := open(t, directory.Config{})
	for _, c := range []struct{ actor, tenant, want string }{
		{"ann", "acme", "approver staff"},
		{"ann", "beta", "guest"},
		{"ann", "", ""},
		{"root", "", "operator"},
		{"x' or true --", "acme", ""},
		{"", "acme", ""},
	} {
		if got := roles(t, d, c.actor, c.tenant); got != c.want {
			t.Errorf("%s of %q has %q, want %q", c.actor, c.tenant, got, c.want)
		}
	}
	if _, err := d.Roles(t.Context(), "a\x00b", "acme"); err == nil {
		t.Error("an id that is no text has roles")
	}
	if err := d.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// An answer counts for a while, and no longer; failures are asked again.
func TestKeep(t *testing.T) {
	t.Parallel()
	db, d := open(t, directory.Config{Keep: 300 * time.Millisecond, MostKept: 4})
	if got := roles(t, d, "ann", "beta"); got != "guest" {
		t.Fatal(got)
	}
	db.Exec(t, `update member set role = 'owner' where role = 'guest'`)
	begun := time.Now()
	pgtest.Eventually(t, 10*time.Second, "the new role", func() bool { return roles(t, d, "ann", "beta") == "owner" })
	if took := time.Since(begun); took < 200*time.Millisecond {
		t.Errorf("the old role counted for %v", took)
	}
	_, bounded := open(t, directory.Config{Keep: time.Hour, MostKept: 4})
	for i := range 50 {
		roles(t, bounded, fmt.Sprint("user", i), "acme")
	}
	if n := directory.Kept(bounded); n > 4 {
		t.Errorf("%d answers are kept", n)
	}
	db.Exec(t, `alter table member rename to members`)
	pgtest.Eventually(t, 10*time.Second, "an error", func() bool { _, err := d.Roles(t.Context(), "ann", "beta"); return err != nil })
	db.Exec(t, `alter table members rename to member`)
	if got := roles(t, d, "ann", "beta"); got != "owner" {
		t.Errorf("after a failure: %s", got)
	}
}

// Those who ask the same at once are answered by one query, and one who gives up takes
// nothing from the others.
func TestTogether(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	db.Exec(t, people)
	db.Exec(t, `create function slow(text) returns setof text language sql as $$ select 'slow' from pg_sleep(0.5) $$`)
	cfg, err := pgxpool.ParseConfig(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	d := directory.New(directory.Config{RolesSQL: `select slow($1)`}, pool)
	begun := time.Now()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%4 == 0 {
				time.AfterFunc(100*time.Millisecond, cancel)
			}
			got, err := d.Roles(ctx, "ann", "acme")
			if (err != nil) != (i%4 == 0) || err == nil && !slices.Equal(got, []string{"slow"}) {
				t.Errorf("%d: %v, %v", i, got, err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(begun); took > 3*time.Second { // one after the other they would take 10 s
		t.Errorf("it took %v", took)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	db.Exec(t, people)
	db.Exec(t, `create table account (id bigint, roles text[]); create table forbidden (user_id text, role text); create table editable (user_id text, role text)`)
	role, url := db.Role(t, "reader", "")
	db.Exec(t, `grant select on member, account to `+role+`; grant all on editable to `+role)
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	for sql, want := range map[string]string{
		`select role from member where user_id = $1`:                                   ``,
		`select role from member where user_id = $1 and tenant = $2;`:                  ``,
		`select 'everybody'::text`:                                                     ``,
		`select unnest(roles) from account where id = $1::bigint -- ids`:               ``,
		`with m as (select * from member) select role::name from m where user_id = $1`: ``,
		`select rolle from member where user_id = $1`:                                  `column "rolle" does not exist`,
		`select role from member where user_id = $1; delete from member`:               `cannot insert multiple commands`,
		`select role form member`:                                                      `syntax error`,
		`select user_id, role from member where user_id = $1`:                          `it returns 2 columns`,
		`select role from member where user_id = $1 and tenant = $3`:                   `has 3 parameters`,
		`select roles from account where id = $1::bigint`:                              `returns column roles, which is not text; cast it: roles::text (of an array: unnest(roles))`,
		`select id from account where id = $1::bigint`:                                 `returns column id, which is not text`,
		`select unnest(roles) from account where id = $1`:                              `cast them where ids are of another type, as in user_id = $1::bigint`,
		`select role from forbidden where user_id = $1`:                                `permission denied for table forbidden`,
		`delete from editable where user_id = $1 returning role`:                       `writes, and may only read`,
		`select pg_sleep(10)::text`:                                                    `took longer than 200ms`,
		`update account set roles = roles`:                                             `it returns 0 columns`,
	} {
		d := directory.New(directory.Config{RolesSQL: sql, Timeout: 200 * time.Millisecond}, pool)
		switch err := d.Check(t.Context()); {
		case want == "" && err != nil:
			t.Errorf("%s: %v", sql, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", sql, err, want)
		}
	}
}

// Too many rows are an error, and cost no more than the connection.
func TestTooMany(t *testing.T) {
	t.Parallel()
	_, d := open(t, directory.Config{RolesSQL: `select n::text from generate_series(1, case when $1 = 'few' then 10 else 1000000 end) n`, MostRoles: 10})
	if _, err := d.Roles(t.Context(), "many", ""); err == nil || !strings.Contains(err.Error(), "more than 10 roles") {
		t.Errorf("a million roles: %v", err)
	}
	if got := roles(t, d, "few", ""); len(strings.Fields(got)) != 10 {
		t.Errorf("ten roles: %s", got)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		roles      workflow.Roles
		actor, has string
		want       string
	}{
		{workflow.Roles{Any: []string{"approver", "admin"}}, "ann", "staff admin", ""},
		{workflow.Roles{Any: []string{"approver", "admin"}}, "ann", "staff guest", "ann has the roles staff, guest, and not one of approver, admin"},
		{workflow.Roles{Any: []string{"approver"}}, "ann", "", "ann has no roles, and not approver"},
		{workflow.Roles{Any: []string{"approver"}}, "", "", "there is no actor (rowbell.set_actor), and so no roles, and not approver"},
		{workflow.Roles{All: []string{"staff", "finance"}}, "ann", "finance staff", ""},
		{workflow.Roles{All: []string{"staff", "finance"}}, "ann", "staff", "ann has the role staff, and not finance"},
		{workflow.Roles{None: []string{"robot"}}, "ann", "staff", ""},
		{workflow.Roles{None: []string{"robot"}}, "", "", ""},
		{workflow.Roles{None: []string{"robot", "x"}}, "r7", "robot staff", "r7 has the roles robot, staff, and may not have robot"},
		{workflow.Roles{Actors: []string{"ann"}}, "ann", "", ""},
		{workflow.Roles{Actors: []string{"ann", "bob"}}, "eve", "", "the actor is eve, and not one of ann, bob"},
		{workflow.Roles{Actors: []string{"ann"}}, "", "", "there is no actor (rowbell.set_actor), and it is to be ann"},
		{workflow.Roles{NotActors: []string{"ann"}}, "ann", "", "the actor is ann, which may not be"},
		{workflow.Roles{NotActors: []string{"ann"}}, "", "", ""},
		{workflow.Roles{NotActors: []string{"ann"}}, "bob", "", ""},
		{workflow.Roles{Any: []string{"a"}, None: []string{"b"}, NotActors: []string{"bob"}}, "bob", "a", "the actor is bob, which may not be"},
	} {
		if got := directory.Judge(c.roles, c.actor, strings.Fields(c.has)); got != c.want {
			t.Errorf("%+v of %s with %s:\n got %q\nwant %q", c.roles, c.actor, c.has, got, c.want)
		}
	}
}

// When it has answered last, and what went wrong last, is known.
func TestLastUse(t *testing.T) {
	t.Parallel()
	db, d := open(t, directory.Config{Keep: time.Millisecond})
	if u := d.LastUse(); u != (directory.Use{}) {
		t.Errorf("nobody has asked, and it is %+v", u)
	}
	if got := roles(t, d, "ann", "beta"); got != "guest" {
		t.Fatal(got)
	}
	if u := d.LastUse(); time.Since(u.At) > time.Minute || !u.FailedAt.IsZero() {
		t.Errorf("it has answered, and it is %+v", u)
	}
	db.Exec(t, `alter table member rename to members`)
	if _, err := d.Roles(t.Context(), "bob", "beta"); err == nil {
		t.Fatal("there is no table, and it answers")
	}
	if u := d.LastUse(); u.FailedAt.Before(u.At) || !strings.Contains(u.Error, "member") {
		t.Errorf("it has failed, and it is %+v", u)
	}
	var none *directory.Directory
	if u := none.LastUse(); u != (directory.Use{}) {
		t.Errorf("there is none, and it is %+v", u)
	}
}
