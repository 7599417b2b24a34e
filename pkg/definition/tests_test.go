package definition_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/pgtest"
	secretpkg "github.com/rowbell/rowbell/pkg/secret"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

var inserted = workflow.Test{Name: "new", Change: &workflow.TestChange{New: json.RawMessage(`{"a":1}`)}, Expect: workflow.TestExpect{Fires: true}}

// A test is put into a file behind the others, and nothing else changes.
func TestInsertTest(t *testing.T) {
	t.Parallel()
	item := func(indent string) string {
		var b strings.Builder
		for _, line := range []string{"- name: new", "  change:", "    new:", "      a: 1", "  expect:", "    fires: true"} {
			b.WriteString(indent + line + "\n")
		}
		return b.String()
	}
	const other = "- {name: b, change: {}, expect: {fires: true}}\n"
	for name, c := range map[string]struct{ before, after string }{
		"none":          {"id: a # why\n", "id: a # why\ntests:\n" + item("  ")},
		"no last line":  {"id: a", "id: a\ntests:\n" + item("  ")},
		"at the end":    {"id: a\ntests:\n  # one\n  " + other + "# the end\n", "id: a\ntests:\n  # one\n  " + other + item("  ") + "# the end\n"},
		"in the middle": {"tests:\n" + other + "\n# which\nid: a\n", "tests:\n" + other + item("") + "\n# which\nid: a\n"},
		"far in":        {"tests:\n      - name: b\n        change: {}\n        expect: {fires: true}\nid: a\n", "tests:\n      - name: b\n        change: {}\n        expect: {fires: true}\n" + item("      ") + "id: a\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := definition.InsertTest("w.yaml", []byte(c.before), inserted)
			if err != nil || string(got) != c.after {
				t.Errorf("%v: it is\n%s\nwant\n%s", err, got, c.after)
			}
		})
	}
	for name, text := range map[string]string{
		"in a flow":   "id: a\ntests: [{name: b, change: {}, expect: {fires: true}}]\n",
		"in settings": "id: a\nsettings:\n  tests:\n    - {name: b, change: {}, expect: {fires: true}}\n",
		"a flow":      "{id: a}\n",
		"there is it": "id: a\ntests:\n  - {name: new, change: {}, expect: {fires: true}}\n",
	} {
		if got, err := definition.InsertTest("w.yaml", []byte(text), inserted); err == nil {
			t.Errorf("%s: it was put in:\n%s", name, got)
		}
	}
	if _, err := definition.InsertTest("w.json", []byte(`{"id": "a"}`), inserted); err == nil || !strings.Contains(err.Error(), "w.json is JSON") {
		t.Errorf("JSON: %v", err)
	}
}

// Columns of tests that are called like a secret stay in a draft as they are, and what is
// secret doesn't.
func TestDraftKeepsTests(t *testing.T) {
	t.Parallel()
	db, s := opened(t)
	db.Exec(t, `create table orders (id bigint primary key, tenant_id text, token text)`)
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id) values ('w', 'acme')`)
	const text = `id: w
triggers:
  - {entity_type: orders, operation: create, field_conditions: {token: abc}}
actions:
  - {action_type: webhook, action_config: {url: https://example.com, secret: whsec_cm93YmVsbC1leGFtcGxlLXNlY3JldC0zMi1ieXRlcyE=}}
tests:
  - {name: a token, change: {new: {id: 1, token: abc}}, expect: {fires: true}}
`
	doc, err := definition.Read("w.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutDraft(t.Context(), "w", doc, "ann", false); err != nil {
		t.Fatal(err)
	}
	if n := pgtest.One[int](t, db, `select count(*)::int from rowbell.secret`); n != 1 {
		t.Errorf("%d secrets, want 1", n)
	}
	list, err := s.TestStored(t.Context(), "w", store.WorkflowFilter{})
	if err != nil || len(list) != 2 || len(list[1].Tests) != 1 || !list[1].Tests[0].Passed {
		t.Errorf("%v: the draft's tests come to %+v", err, list)
	}
	if _, err := s.Activate(t.Context(), "w", "ann", "", false); err != nil {
		t.Fatal(err)
	}
	if got := db.QueryString(t, `select document #>> '{settings,tests,0,change,new,token}' from rowbell.workflow_version where version = 2`); got != "abc" {
		t.Errorf("version 2 has the token %s", got)
	}
	// A test that fails keeps it from being activated.
	db.Exec(t, `update rowbell.workflow_definition set status = 'inactive'; update rowbell.workflow_trigger set field_conditions = '{"token": "def"}'`)
	_, err = s.Activate(t.Context(), "w", "ann", "", false)
	failing, ok := errors.AsType[*definition.TestsError](err)
	if !ok || !errors.Is(err, definition.ErrTests) || len(failing.Failed) != 1 || failing.Failed[0].Name != "a token" {
		t.Errorf("it was activated: %v", err)
	}
	done, err := s.Activate(t.Context(), "w", "ann", "", true)
	if err != nil || len(done.Tests) != 1 || done.Tests[0].Passed {
		t.Errorf("%v: by force it comes to %+v", err, done)
	}
	// What somebody wrote by SQL, and is none.
	db.Exec(t, `update rowbell.workflow_definition set status = 'inactive', settings = '{"tests": [{"nmae": "x"}]}'`)
	if _, err := s.Activate(t.Context(), "w", "ann", "", false); err == nil || !strings.Contains(err.Error(), `unknown field "nmae"`) {
		t.Errorf("it was activated: %v", err)
	}
	checked, err := s.CheckOne(t.Context(), "w")
	if err != nil || len(checked[0].Report.Warnings) == 0 || !strings.Contains(checked[0].Report.Warnings[len(checked[0].Report.Warnings)-1].Message, "tests: test 1: ") {
		t.Errorf("%v: it is checked as %+v", err, checked)
	}
}

// A plain secret in a file is the stored one too when that is sealed, for who has the key.
func TestApplyKnowsSealedSecrets(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	db.Exec(t, `create table orders (id bigint primary key, tenant_id text)`)
	cfg := app.Config{SourceURL: db.URL}
	if err := app.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "w.yaml")
	const secret = "whsec_cm93YmVsbC1leGFtcGxlLXNlY3JldC0zMi1ieXRlcyE="
	if err := os.WriteFile(path, []byte("id: w\ntenant_id: acme\nactions:\n  - {action_type: webhook, action_config: {url: https://example.com, secret: "+secret+"}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	apply := func(key string) int {
		t.Helper()
		cfg.SecretKey = app.Secret(key)
		o, err := app.NewOperator(cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		s, err := o.Workflows()
		if err != nil {
			t.Fatal(err)
		}
		b, err := definition.ReadBundle([]string{path})
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Plan(t.Context(), b, definition.PlanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Apply(t.Context(), p, ""); err != nil {
			t.Fatal(err)
		}
		return p.Changed()
	}
	const key = "0123456789abcdef0123456789abcdef"
	if n := apply(key); n != 1 {
		t.Errorf("%d changes", n)
	}
	sealing, err := secretpkg.NewKey([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	conn := db.Pool(t)
	n, err := store.OpenSource(conn).SealSecrets(t.Context(), 10, sealing.ID(), func(s store.StoredSecret) []byte { return sealing.Seal(*s.Plain, s.TenantID, s.Name) })
	if err != nil || n != 1 {
		t.Fatalf("%d sealed, %v", n, err)
	}
	if n := apply(key); n != 0 {
		t.Errorf("with the key there are %d changes", n)
	}
	if n := apply(""); n != 1 {
		t.Errorf("without the key there are %d changes", n)
	}
}

// What was changed between plan and deed stays as it is, and the rest is done.
func TestApplyConflict(t *testing.T) {
	t.Parallel()
	db, s := opened(t)
	plan := func(text string) *definition.Plan {
		t.Helper()
		path := filepath.Join(t.TempDir(), "w.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := definition.ReadBundle([]string{path})
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Plan(t.Context(), b, definition.PlanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := plan("id: a\nname: A\n---\nid: b\nname: B\n")
	db.Exec(t, `insert into rowbell.workflow_definition (id, name) values ('b', 'theirs')`)
	done, err := s.Apply(t.Context(), p, "ann")
	if !errors.Is(err, workflow.ErrConflict) || len(done) != 1 || done[0].ID != "a" {
		t.Errorf("%v: done is %+v", err, done)
	}
	for _, edit := range []string{`update rowbell.workflow_definition set description = 'theirs'`, `update rowbell.workflow_definition set draft = '{"name": "theirs"}'`} {
		p = plan("id: b\nname: B\n")
		db.Exec(t, edit)
		if done, err := s.Apply(t.Context(), p, "ann"); !errors.Is(err, workflow.ErrConflict) || len(done) != 0 {
			t.Errorf("after %s: %v, done is %+v", edit, err, done)
		}
	}
	if got := db.QueryString(t, `select string_agg(name, ' ' order by id) from rowbell.workflow_definition`); got != "A theirs" {
		t.Errorf("the names are %s", got)
	}
	// A part that another workflow has isn't taken over, and leaves nothing behind.
	db.Exec(t, `insert into rowbell.workflow_action (id, workflow_id, action_type) values ('x', 'a', 'log')`)
	if _, err := s.Apply(t.Context(), plan("id: c\nactions:\n  - {action_type: log, id: x}\n"), "ann"); !errors.Is(err, workflow.ErrConflict) || !strings.Contains(err.Error(), "action x is a part of another workflow") {
		t.Errorf("it comes to %v", err)
	}
	if n := pgtest.One[int](t, db, `select count(*)::int from rowbell.workflow_definition where id = 'c'`); n != 0 {
		t.Error("it was made")
	}
}

// Many documents in one file are read however long they are together, each with its places.
func TestReadManyDocuments(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("# the first\n---\n")
	for i := range 600 {
		if i > 0 {
			b.WriteString("--- \n")
		}
		fmt.Fprintf(&b, "id: w%d\ndescription: |\n  --- is no end here\n  %s\n", i, strings.Repeat("x", 2000))
		for k := range 30 {
			if k == 0 {
				b.WriteString("triggers:\n")
			}
			b.WriteString("  - {entity_type: orders, operation: update, field_conditions: {a: 1}}\n")
		}
	}
	b.WriteString("---\nid: last\nnmae: x\n")
	path := filepath.Join(t.TempDir(), "all.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	bundle, err := definition.ReadBundle([]string{path})
	want := fmt.Sprintf("%s:%d:1: unknown key \"nmae\"", path, strings.Count(b.String(), "\n"))
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("it says %.200v, want %s", err, want)
	}
	if len(bundle.Workflows) != 600 || bundle.Workflows[599].Workflow.ID != "w599" {
		t.Errorf("%d workflows", len(bundle.Workflows))
	}
}
