package store_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// notifying makes an active workflow whose notification has this title.
func notifying(t *testing.T, db *pgtest.Database, id, tenant, title string) {
	t.Helper()
	conn := db.Conn(t)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []struct {
		sql  string
		args []any
	}{
		{`insert into rowbell.workflow_definition (id, tenant_id, status) values ($1, nullif($2, ''), 'active')`, []any{id, tenant}},
		{`insert into rowbell.workflow_action (id, workflow_id, action_type, action_config) values ($1, $1, 'notification', jsonb_build_object('title', $2::text))`, []any{id, title}},
	} {
		if _, err := tx.Exec(t.Context(), q.sql, q.args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func pinned(t *testing.T, db *pgtest.Database, id string) string {
	t.Helper()
	all := document(t, db, id).Templates
	var out []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, locale := range slices.Sorted(maps.Keys(all[name])) {
			out = append(out, name+"/"+locale+"="+all[name][locale])
		}
	}
	return strings.Join(out, " ")
}

// A version has the templates that its texts render, as its tenant sees them.
func TestTemplatesArePinned(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	db.Exec(t, `insert into rowbell.template (tenant_id, name, locale, source) values
		(null, 'footer', '', 'F {%- render "sign" -%}'), (null, 'footer', 'de', 'G'), (null, 'sign', '', 'S'), (null, 'other', '', 'O'),
		('acme', 'sign', '', 'A'), ('zeta', 'footer', '', 'Z')`)
	notifying(t, db, "op", "", `x {% render 'footer' %}`)
	notifying(t, db, "acme", "acme", "x\n{%-\n\trender  \"footer\", a: 1 %}")
	notifying(t, db, "zeta", "zeta", `{% if a %}{% render 'footer' %}{% render 'missing' %}{% endif %}`)
	notifying(t, db, "none", "acme", `renders 'footer' not`)
	want := func(id, versionsWanted, templates string) {
		t.Helper()
		wantVersions(t, db, id, versionsWanted)
		if got := pinned(t, db, id); got != templates {
			t.Errorf("%s has pinned %q, want %q", id, got, templates)
		}
	}
	want("op", "1 active", `footer/=F {%- render "sign" -%} footer/de=G sign/=S`)
	want("acme", "1 active", `footer/=F {%- render "sign" -%} footer/de=G sign/=A`)
	want("zeta", "1 active", `footer/=Z`)
	want("none", "1 active", "")
	if db.QueryString(t, `select (document ? 'templates')::text from rowbell.workflow_version where workflow_id = 'none'`) != "false" {
		t.Error("a workflow without templates has an empty list of them")
	}

	// A change writes versions of those that use it, through others too, and of no other.
	db.Exec(t, `update rowbell.template set source = 'S2' where tenant_id is null and name = 'sign'`)
	want("op", "1 active, 2 active", `footer/=F {%- render "sign" -%} footer/de=G sign/=S2`)
	wantVersions(t, db, "acme", "1 active")
	wantVersions(t, db, "zeta", "1 active")
	db.Exec(t, `update rowbell.template set source = 'A2' where tenant_id = 'acme'; update rowbell.template set description = 'signs', source = source`)
	want("acme", "1 active, 2 active", `footer/=F {%- render "sign" -%} footer/de=G sign/=A2`)
	wantVersions(t, db, "op", "1 active, 2 active")

	// What was missing comes, and a name that the operators have is taken over by the tenant.
	db.Exec(t, `insert into rowbell.template (tenant_id, name, source) values ('zeta', 'missing', 'M')`)
	want("zeta", "1 active, 2 active", "footer/=Z missing/=M")
	db.Exec(t, `insert into rowbell.template (tenant_id, name, source) values ('acme', 'footer', 'mine')`)
	want("acme", "1 active, 2 active, 3 active", "footer/=mine")
	db.Exec(t, `delete from rowbell.template where tenant_id = 'acme' and name = 'footer'`) // the operators' is there
	want("acme", "1 active, 2 active, 3 active, 4 active", `footer/=F {%- render "sign" -%} footer/de=G sign/=A2`)

	// An inactive workflow gets them when it is turned on.
	db.Exec(t, `update rowbell.workflow_definition set status = 'inactive' where id = 'op'`)
	db.Exec(t, `update rowbell.template set source = 'S3' where tenant_id is null and name = 'sign'`)
	want("op", "1 active, 2 active, 3 inactive", `footer/=F {%- render "sign" -%} footer/de=G sign/=S2`)
	db.Exec(t, `update rowbell.workflow_definition set status = 'active' where id = 'op'`)
	want("op", "1 active, 2 active, 3 inactive, 4 active", `footer/=F {%- render "sign" -%} footer/de=G sign/=S3`)

	for _, c := range []struct{ sql, want string }{
		{`delete from rowbell.template where name = 'missing'`, `template missing is still used by workflow zeta`},
		{`delete from rowbell.template where tenant_id is null and name = 'footer'`, `template footer is still used by 2 workflows: acme, op`},
		{`update rowbell.template set name = 'renamed' where tenant_id is null and name = 'sign'`, `template sign is still used by workflow op`},
		{`truncate rowbell.template`, `TRUNCATE of rowbell.template refused`},
		{`insert into rowbell.template (name, source) values ('a''b', '')`, `name_must_have_1_to_64_letters`},
		{`insert into rowbell.template (name, locale, source) values ('sign', 'german!', '')`, `locale_must_be_as_de`},
		{`insert into rowbell.template (name, source) values ('sign', '')`, `template_is_there_for_this_tenant_name_and_locale`},
		{`insert into rowbell.template (name, source) values ('long', repeat('x', 65537))`, `source_must_have_at_most_65536_bytes`},
	} {
		if _, err := db.Conn(t).Exec(t.Context(), c.sql); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.sql, err, c.want)
		}
	}
	// One language of two, one that is put back at once, and one that nobody uses can go.
	db.Exec(t, `delete from rowbell.template where tenant_id is null and name = 'footer' and locale = 'de'`)
	db.Exec(t, `begin; delete from rowbell.template where name = 'missing'; insert into rowbell.template (tenant_id, name, source) values ('zeta', 'missing', 'again'); commit`)
	db.Exec(t, `delete from rowbell.template where name = 'other'`)
	want("zeta", "1 active, 2 active, 3 active", "footer/=Z missing/=again")
}

// Whoever changes a template and whoever writes a version that renders it at the same
// time don't miss each other.
func TestTemplatesConcurrently(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	db.Exec(t, `insert into rowbell.template (name, source) values ('footer', '1')`)
	for _, editorFirst := range []bool{true, false} {
		id := map[bool]string{true: "editor-first", false: "author-first"}[editorFirst]
		text := "text of " + id
		editor, author := db.Conn(t), db.Conn(t)
		exec := func(c *pgx.Conn, sql string, args ...any) {
			t.Helper()
			if _, err := c.Exec(t.Context(), sql, args...); err != nil {
				t.Error(err)
			}
		}
		edit := func() { exec(editor, `update rowbell.template set source = $1`, text) }
		write := func() {
			exec(author, `insert into rowbell.workflow_definition (id, status) values ($1, 'active')`, id)
			exec(author, `insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ($1, 'notification', '{"title": "{% render ''footer'' %}"}')`, id)
			exec(author, `set constraints all immediate`)
		}
		first, second, then := editor, author, write
		exec(editor, `begin`)
		exec(author, `begin`)
		if editorFirst {
			edit()
		} else {
			write()
			first, second, then = author, editor, edit
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			then()
			exec(second, `commit`)
		}()
		deadline := time.Now().Add(20 * time.Second)
		for pgtest.One[int64](t, db, `select count(*) from pg_locks where not granted and locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`) == 0 {
			if time.Now().After(deadline) {
				t.Fatal("the second one doesn't wait for the first")
			}
		}
		exec(first, `commit`)
		<-done
		if got := pinned(t, db, id); got != "footer/="+text {
			t.Errorf("%s: the latest version has pinned %q", id, got)
		}
	}
}

func TestTemplateStore(t *testing.T) {
	t.Parallel()
	db := sourceDB(t)
	pool, err := pgxpool.New(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	s := store.OpenSource(pool)
	set := func(tpl store.Template) ([]string, bool) {
		t.Helper()
		versions, same, err := s.SetTemplate(t.Context(), tpl, "ann")
		if err != nil {
			t.Fatal(err)
		}
		return versions, same
	}
	set(store.Template{Name: "footer", Source: "F", Description: "at the end"})
	set(store.Template{TenantID: "acme", Name: "footer", Locale: "de", Source: "A"})
	notifying(t, db, "w", "acme", "{% render 'footer' %}")
	if versions, same := set(store.Template{TenantID: "acme", Name: "footer", Locale: "DE", Source: "B"}); !slices.Equal(versions, []string{"w"}) || same {
		t.Errorf("a change gives versions %q, same %t", versions, same)
	}
	if versions, same := set(store.Template{TenantID: "acme", Name: "footer", Locale: "DE", Source: "B"}); len(versions) != 0 || !same {
		t.Errorf("no change gives versions %q, same %t", versions, same)
	}
	set(store.Template{Name: "footer", Source: "F2"})
	all, err := s.Templates(t.Context(), nil, "")
	if err != nil || len(all) != 2 || all[0].Source != "F2" || all[0].Description != "at the end" || all[0].CreatedBy != "ann" || all[1].TenantID != "acme" || all[1].Locale != "DE" || all[1].UpdatedAt.IsZero() {
		t.Errorf("there are %+v, %v", all, err)
	}
	operators := ""
	if list, err := s.Templates(t.Context(), &operators, "footer"); err != nil || len(list) != 1 {
		t.Errorf("the operators have %+v, %v", list, err)
	}
	for tenant, want := range map[string]string{"": "F2", "zeta": "F2", "acme": ""} {
		got, err := s.TemplatesFor(t.Context(), tenant)
		if err != nil || got["footer"][""] != want || tenant == "acme" && got["footer"]["DE"] != "B" {
			t.Errorf("tenant %q sees %q, %v", tenant, got, err)
		}
	}
	if list, err := s.RenderedBy(t.Context(), "acme", "footer"); err != nil || !slices.Equal(list, []string{"w"}) {
		t.Errorf("it is rendered by %q, %v", list, err)
	}
	none := "fr"
	for _, c := range []struct {
		tenant, name string
		locale       *string
		want         string
		is           error
	}{
		{"acme", "foter", nil, `tenant acme has no template foter; did you mean "footer"?`, workflow.ErrNotFound},
		{"", "x", nil, "the operators have no template x; see rowbell template list", workflow.ErrNotFound},
		{"acme", "footer", &none, `not in locale "fr"; there are ["DE"]`, workflow.ErrNotFound},
	} {
		if err := s.DeleteTemplate(t.Context(), c.tenant, c.name, c.locale, "ann"); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("delete %s of %q: %v, want %s", c.name, c.tenant, err, c.want)
		}
	}
	if err := s.DeleteTemplate(t.Context(), "acme", "footer", nil, "ann"); err != nil { // the operators' takes its place
		t.Error(err)
	}
	if err := s.DeleteTemplate(t.Context(), "", "footer", nil, "ann"); err == nil || !strings.Contains(err.Error(), "template footer is still used by workflow w") || !strings.Contains(err.Error(), "Take {% render 'footer' %} out") {
		t.Errorf("delete what is used: %v", err)
	}
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.audit_log where object_type = 'template' and actor = 'ann' and object_id = 'footer'`); n != 5 { // what changed nothing has none
		t.Errorf("the audit log has %d entries", n)
	}
}
