package directory_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/pkg/directory"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const accounts = `
create table account (id bigint primary key, tenant text, name text, email text, phone text, locale text, zone text);
create table part (account bigint, tenant text, role text, team text);
insert into account values
	(1, 'acme', 'Ann', 'ann@acme.example', '+4312345678', 'de-AT', 'Europe/Vienna'),
	(2, 'acme', 'Ben', null, null, null, null),
	(3, 'acme', 'Cid', 'cid@acme.example', null, 'en', 'America/New_York'),
	(4, 'beta', 'Dot', 'dot@beta.example', null, null, null);
insert into part values (1, 'acme', 'approver', 'sales'), (2, 'acme', 'approver', 'board'), (3, 'acme', 'intern', 'sales'), (4, 'beta', 'approver', 'sales')`

var peopleConfig = directory.Config{
	UsersSQL:        `select id, name, email, phone, locale, zone from account where id::text = any ($1) and tenant = $2`,
	RoleMembersSQL:  `select account as id from part where role = $1 and tenant = $2 order by 1`,
	GroupMembersSQL: `select a.id, a.name, a.email from part p join account a on a.id = p.account where p.team = $1 and p.tenant = $2 order by 1`,
}

func openPeople(t testing.TB, cfg directory.Config) (*pgtest.Database, *directory.Directory) {
	t.Helper()
	db := pgtest.DB(t)
	db.Exec(t, accounts)
	return db, directory.New(cfg, db.Pool(t))
}

// whom is a question, written "user:1 role:approver -actor -role:intern".
func whom(text string, row map[string]any) directory.Question {
	q := directory.Question{TenantID: "acme", What: "orders 7", Row: func() (map[string]any, error) { return row, nil }}
	for word := range strings.FieldsSeq(text) {
		out, excluded := strings.CutPrefix(word, "-")
		of, value, _ := strings.Cut(out, ":")
		if excluded {
			q.Exclude = append(q.Exclude, workflow.Exclusion{Type: of, Value: value})
		} else {
			q.Recipients = append(q.Recipients, workflow.Recipient{Type: of, Value: value})
		}
	}
	return q
}

// tell writes an answer on one line.
func tell(p directory.People, err error) string {
	if err != nil {
		if errors.Is(err, directory.ErrNever) {
			return "never: " + err.Error()
		}
		return "error: " + err.Error()
	}
	var parts []string
	for _, x := range p.To {
		s := x.ID
		for _, f := range []string{x.Name, x.Email, x.Phone, x.Locale, x.Zone} {
			if f != "" {
				s += " " + f
			}
		}
		if x.Stranger {
			s += " ?"
		}
		parts = append(parts, s+" ("+strings.Join(x.Reasons, ", ")+")")
	}
	for _, x := range p.Left {
		parts = append(parts, "without "+x.ID+": "+x.Why)
	}
	if p.Why != "" {
		parts = append(parts, p.Why)
	}
	return strings.Join(parts, "; ")
}

func TestResolve(t *testing.T) {
	t.Parallel()
	_, d := openPeople(t, peopleConfig)
	row := map[string]any{
		"owner": "1", "watchers": []any{"2", "3", nil, "9"}, "email": "kim@shop.example", "shouted": "Kim@Shop.example", "copy": "CID@acme.example", "phone": "+49301234567", "none": nil,
		"hidden": "***", "odd": map[string]any{"a": 1},
	}
	for _, c := range []struct{ ask, actor, want string }{
		{"user:1", "", "1 Ann ann@acme.example +4312345678 de-AT Europe/Vienna (user 1)"},
		{"user:4", "", "4 ? (user 4)"}, // of another tenant
		{"user:x", "", "x ? (user x)"},
		{"role:approver", "", "1 Ann ann@acme.example +4312345678 de-AT Europe/Vienna (role approver); 2 Ben (role approver)"},
		{"group:sales", "", "1 Ann ann@acme.example (group sales); 3 Cid cid@acme.example (group sales)"},
		{"role:approver attribute:owner user:1", "", "1 Ann ann@acme.example +4312345678 de-AT Europe/Vienna (role approver, column owner, user 1); 2 Ben (role approver)"},
		{"attribute:watchers", "", "2 Ben (column watchers); 3 Cid cid@acme.example en America/New_York (column watchers); 9 ? (column watchers)"},
		{"attribute:email", "", "kim@shop.example kim@shop.example ? (column email)"},
		{"attribute:shouted attribute:email", "", "kim@shop.example Kim@Shop.example ? (column shouted, column email)"},
		{"attribute:phone", "", "+49301234567 +49301234567 ? (column phone)"},
		{"attribute:copy user:3", "", "3 Cid cid@acme.example en America/New_York (user 3, column copy)"}, // one person, once
		{"role:approver -actor", "1", "2 Ben (role approver); without 1: left_out: the workflow excludes them: made the change"},
		{"role:approver -actor", "", "1 Ann ann@acme.example +4312345678 de-AT Europe/Vienna (role approver); 2 Ben (role approver)"},
		{"group:sales -role:intern", "", "1 Ann ann@acme.example (group sales); without 3: left_out: the workflow excludes them: role intern"},
		{"group:sales -attribute:owner -user:3", "", "without 1: left_out: the workflow excludes them: column owner; without 3: left_out: the workflow excludes them: user 3; there is no recipient: all 2 are left out"},
		{"group:sales -attribute:copy", "", "1 Ann ann@acme.example (group sales); without 3: left_out: the workflow excludes them: column copy"},
		{"user:1 -actor", "1", "without 1: left_out: the workflow excludes them: made the change; there is no recipient: 1 is left out (the workflow excludes them: made the change)"},
		{"role:nobody group:none attribute:none", "", "there is no recipient: nobody has the role nobody, nobody is in the group none, nothing stands in none"},
		{"attribute:gone", "", "never: the recipient is in column gone, which orders 7 does not have, or which is not in the WAL"},
		{"attribute:hidden", "", "never: the recipient is in column hidden, which is redacted"},
		{"attribute:odd", "", "never: the recipient is in column odd: it holds no id but map[a:1]"},
		{"user:1 -attribute:gone", "", "never: the recipient is in column gone, which orders 7 does not have, or which is not in the WAL"},
	} {
		q := whom(c.ask, row)
		q.Actor = c.actor
		for range 2 { // asked, and kept
			if got := tell(d.Resolve(t.Context(), q)); got != c.want {
				t.Errorf("%s\n got %s\nwant %s", c.ask, got, c.want)
			}
		}
	}
	if got := tell((*directory.Directory)(nil).Resolve(t.Context(), whom("user:1 attribute:email", row))); got != "1 ? (user 1); kim@shop.example kim@shop.example ? (column email)" {
		t.Errorf("without a directory: %s", got)
	}
	if got := tell((*directory.Directory)(nil).Resolve(t.Context(), whom("role:approver", row))); !strings.Contains(got, "error: recipients of type role need ROWBELL_DIRECTORY_ROLE_MEMBERS") {
		t.Errorf("without a directory: %s", got)
	}
}

// Nobody is asked about a row before others can see it, however fresh an answer is.
func TestVisible(t *testing.T) {
	t.Parallel()
	cfg := peopleConfig
	cfg.Keep, cfg.Timeout = time.Hour, time.Second
	db, d := openPeople(t, cfg)
	const want = "1 Ann ann@acme.example (group sales); 3 Cid cid@acme.example (group sales)"
	if got := tell(d.Resolve(t.Context(), whom("group:sales", nil))); got != want {
		t.Fatal(got)
	}
	conn, err := pgx.Connect(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	q := whom("group:sales", nil)
	q.CommittedAt = time.Now()
	if err := tx.QueryRow(t.Context(), `insert into part values (2, 'acme', 'approver', 'sales') returning pg_current_xact_id()::text::bigint`).Scan(&q.XID); err != nil {
		t.Fatal(err)
	}
	// What was kept is of before, and what would be read too.
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if got := tell(d.Resolve(short, q)); !strings.HasPrefix(got, "error: ") {
		t.Errorf("while it is not visible: %s", got)
	}
	if got := tell(d.Resolve(t.Context(), whom("group:sales", nil))); got != want {
		t.Errorf("what doesn't need it: %s", got)
	}
	done := make(chan string)
	go func() { done <- tell(d.Resolve(context.Background(), q)) }()
	time.Sleep(100 * time.Millisecond)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got != "1 Ann ann@acme.example (group sales); 2 Ben (group sales); 3 Cid cid@acme.example (group sales)" {
		t.Errorf("once it is visible: %s", got)
	}
	// An id that the server hasn't come to is of the moment, or of another history.
	q.XID += 1 << 20
	short, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if got := tell(d.Resolve(short, q)); !strings.HasPrefix(got, "error: ") {
		t.Errorf("an id to come: %s", got)
	}
	q.CommittedAt = time.Now().Add(-time.Hour)
	if got := tell(d.Resolve(t.Context(), q)); !strings.HasPrefix(got, "1 Ann") {
		t.Errorf("an id of another history: %s", got)
	}
}

func TestCheckPeople(t *testing.T) {
	t.Parallel()
	db, _ := openPeople(t, peopleConfig)
	for sql, want := range map[string]string{
		`select id, name from account where id = any ($1::bigint[]) and tenant = $2`: ``,
		`select id::text, zone from account where id::text = any ($1)`:               ``,
		`select name from account where id::text = any ($1)`:                         `it returns no column id; write SELECT`,
		`select id, mail from (select id, email as mail from account) a`:             `it returns a column "mail"; did you mean "email"?`,
		`select id, tenant from account where id::text = any ($1)`:                   `it returns a column "tenant"; there may be id, name, email, phone, locale, zone`,
		`select id, id from account`:                                                 `it returns two columns id`,
		`select id from account where id = any ($1)`:                                 `cast them where ids are of another type, as in id = ANY ($1::bigint[])`,
		`select id from account where tenant = $3`:                                   `has 3 parameters`,
		`delete from account returning id`:                                           `writes, and may only read`,
		`select 1 as id from pg_sleep(10)`:                                           `took longer than 200ms`,
		`select id form account`:                                                     `the directory's SQL for users failed: syntax error`,
	} {
		d := directory.New(directory.Config{UsersSQL: sql, Timeout: 200 * time.Millisecond}, db.Pool(t))
		switch err := d.Check(t.Context()); {
		case want == "" && err != nil:
			t.Errorf("%s: %v", sql, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", sql, err, want)
		}
	}
	d := directory.New(directory.Config{RolesSQL: `select 1`, RoleMembersSQL: `select`, GroupMembersSQL: `select 'a' as id where $1 = $2`}, db.Pool(t))
	if err := d.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "SQL for roles returns column ?column?") || !strings.Contains(err.Error(), "members of a role: it returns no column id") || strings.Contains(err.Error(), "group") {
		t.Errorf("several at once: %v", err)
	}
}

// Bounds hold, and what is wrong with an answer is said.
func TestManyPeople(t *testing.T) {
	t.Parallel()
	cfg := peopleConfig
	cfg.MostPeople = 50
	cfg.RoleMembersSQL = `select i as id, case when $1 = 'bad' then repeat('x', 300) else 'n' || i end as name, null as email from generate_series(1, case $1 when 'many' then 51 else 50 end) i`
	cfg.GroupMembersSQL = `select repeat('x', 300) as id`
	_, d := openPeople(t, cfg)
	p, err := d.Resolve(t.Context(), whom("role:few", nil))
	if err != nil || len(p.To) != 50 || p.To[49].Name != "n50" {
		t.Errorf("%d people, %v", len(p.To), err)
	}
	if got := tell(d.Resolve(t.Context(), whom("role:few user:x", nil))); got != "never: there are more than 50 recipients" {
		t.Error(got)
	}
	if got := tell(d.Resolve(t.Context(), whom("role:many", nil))); got != "error: the directory's SQL for members of a role: it returned more than 50 people" {
		t.Error(got)
	}
	if got := tell(d.Resolve(t.Context(), whom("group:x", nil))); !strings.Contains(got, "is no recipient: an id has at most 200 bytes") {
		t.Error(got)
	}
	ids := make([]string, 0, 50)
	for i := range 50 {
		ids = append(ids, fmt.Sprintf("user:%d", i))
	}
	if p, err := d.Resolve(t.Context(), whom(strings.Join(ids, " "), nil)); err != nil || len(p.To) != 50 || p.To[1].Name != "Ann" || !p.To[0].Stranger {
		t.Errorf("%v, %v", p, err)
	}
}

// Anybody can write a context message, with a NUL in the actor. Such a one is not taken for
// a question after the members of a role, whose answer is another type.
func TestActorIsNoRole(t *testing.T) {
	t.Parallel()
	cfg := peopleConfig
	cfg.RolesSQL, cfg.Timeout = `select name from account where id::text = $1 and tenant = $2`, 30*time.Second
	db, d := openPeople(t, cfg)
	tx, err := db.Pool(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background()) //nolint:errcheck // it is over by then
	if _, err := tx.Exec(t.Context(), `lock table part in access exclusive mode`); err != nil {
		t.Fatal(err)
	}
	members, roles := make(chan string, 1), make(chan error, 1)
	go func() { members <- tell(d.Resolve(t.Context(), whom("role:approver", nil))) }()
	pgtest.Eventually(t, pgtest.Patience, "the members to be asked for", func() bool {
		return pgtest.One[bool](t, db, `select exists (select from pg_locks where relation = 'part'::regclass and not granted)`)
	})
	go func() {
		_, err := d.Roles(t.Context(), "acme\x00approver", "role")
		roles <- err
	}()
	select {
	case err = <-roles:
	case <-time.After(5 * time.Second): // it waits for the other's answer
	}
	if err == nil || !strings.Contains(err.Error(), "the directory's SQL for roles failed") {
		t.Errorf("roles of such an actor: %v", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-members; !strings.Contains(got, "1 Ann") {
		t.Errorf("the members are %s", got)
	}
}
