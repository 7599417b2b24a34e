package definition_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// opened is a service on a database of its own.
func opened(t *testing.T) (*pgtest.Database, *definition.Service) {
	t.Helper()
	db := pgtest.DB(t)
	cfg := app.Config{SourceURL: db.URL}
	if err := app.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	o, err := app.NewOperator(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	s, err := o.Workflows()
	if err != nil {
		t.Fatal(err)
	}
	return db, s
}

func ptr[T any](v T) *T { return &v }

// anyText is what somebody could write where a text belongs.
var anyText = rapid.OneOf(
	rapid.SampledFrom([]string{"", "a", "no", "null", "0123", "1e3", "- a", "a: b", "#", "a\nb", " a\nb\n", "ä", "日本", "😀", "\u2028", "{{ new.a }}", "it's", `"`, `\`, "<<", "a\tb"}),
	rapid.StringMatching(`[a-z :#'"\n-]{0,20}`), rapid.String().Filter(func(s string) bool { return !strings.ContainsRune(s, 0) }))

// anyObject is JSON that somebody could have written into a table.
func anyObject() *rapid.Generator[json.RawMessage] {
	keys := anyText.Filter(func(s string) bool { return s != workflow.TestsKey && s != "secret" && s != "password" && s != "token" })
	var values func(depth int) *rapid.Generator[any]
	values = func(depth int) *rapid.Generator[any] {
		scalars := []*rapid.Generator[any]{
			rapid.Just[any](nil), rapid.Map(rapid.Bool(), func(b bool) any { return b }), rapid.Map(anyText, func(s string) any { return s }),
			rapid.Map(rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?`), func(s string) any { return json.Number(s) }),
		}
		if depth == 0 {
			return rapid.OneOf(scalars...)
		}
		inner := values(depth - 1)
		return rapid.OneOf(append(scalars,
			rapid.Map(rapid.SliceOfN(inner, 0, 3), func(l []any) any { return l }),
			rapid.Map(rapid.MapOfN(keys, inner, 0, 3), func(m map[string]any) any { return m }))...)
	}
	return rapid.Custom(func(t *rapid.T) json.RawMessage {
		raw, err := json.Marshal(rapid.MapOfN(keys, values(3), 0, 3).Draw(t, "object"))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	})
}

// anyTest is a saved test.
func anyTest(t *rapid.T, name string, objects *rapid.Generator[json.RawMessage]) workflow.Test {
	test := workflow.Test{Name: name, FiredBefore: rapid.Bool().Draw(t, "fired"), Expect: workflow.TestExpect{Fires: rapid.Bool().Draw(t, "fires")}}
	test.Change = &workflow.TestChange{EntityType: anyText.Draw(t, "table"), New: objects.Draw(t, "new"), Actor: objects.Draw(t, "actor")}
	switch {
	case !test.Expect.Fires:
		test.Expect.StoppedBy = anyText.Draw(t, "stopped")
	case rapid.Bool().Draw(t, "recipients"):
		test.Expect.Recipients = []workflow.TestRecipient{{User: "a"}, {Attribute: "b", Value: ptr(anyText.Draw(t, "value"))}}
		test.Expect.Texts = []workflow.TestTexts{{Action: "x", Texts: map[string]workflow.TestText{"title": {Text: anyText.Draw(t, "title"), Contains: true}}}}
	}
	return test
}

// From YAML into the tables and back nothing is lost, and a second time there is nothing to
// do.
func TestYAMLThroughTheTables(t *testing.T) {
	t.Parallel()
	db, s := opened(t)
	objects := anyObject()
	n := 0
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		n++
		id := fmt.Sprintf("w%d", n)
		word := anyText.Filter(func(s string) bool { return s != "" })
		part := func(kind string, i int) string { return fmt.Sprintf("%s-%s%d", id, kind, i) }
		w := &workflow.Workflow{
			ID: id, Name: anyText.Draw(t, "name"), Description: anyText.Draw(t, "description"), Status: rapid.SampledFrom([]workflow.Status{workflow.Draft, workflow.Inactive}).Draw(t, "status"),
			Settings: objects.Draw(t, "settings"),
		}
		if rapid.Bool().Draw(t, "tenant") {
			w.TenantID = ptr("acme")
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "triggers") {
			w.Triggers = append(w.Triggers, workflow.Trigger{ID: part("t", i), EntityType: word.Draw(t, "table"), Operation: "update", FieldConditions: objects.Draw(t, "form"), Priority: rapid.Int32().Draw(t, "priority")})
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "conditions") {
			w.Conditions = append(w.Conditions, workflow.Condition{ID: part("c", i), Type: "expression", Config: objects.Draw(t, "config")})
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "actions") {
			w.Actions = append(w.Actions, workflow.Action{ID: part("a", i), Type: word.Draw(t, "kind"), Config: objects.Draw(t, "config"), Order: rapid.Int32().Draw(t, "order")})
		}
		for i := range rapid.IntRange(0, 2).Draw(t, "recipients") {
			to := workflow.Recipient{ID: part("r", i), Type: "user", Value: word.Draw(t, "recipient")}
			if len(w.Actions) > 0 && rapid.Bool().Draw(t, "of one") {
				to.ActionID = &w.Actions[0].ID
			}
			w.Recipients = append(w.Recipients, to)
		}
		for i := range rapid.IntRange(0, 2).Draw(t, "tests") {
			if err := w.AddTest(anyTest(t, fmt.Sprintf("test %d", i), objects)); err != nil {
				t.Fatal(err)
			}
		}
		first, err := definition.YAML(w)
		if err != nil {
			t.Fatal(err)
		}
		apply := func(text []byte) int {
			path := filepath.Join(dir, id+".yaml")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			b, err := definition.ReadBundle([]string{path})
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			p, err := s.Plan(t.Context(), b, definition.PlanOptions{})
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			if _, err := s.Apply(t.Context(), p, "ann"); err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			return p.Changed()
		}
		if apply(first) != 1 || apply(first) != 0 {
			t.Errorf("a second time there is something to do for\n%s", first)
		}
		list, _, err := s.Export(t.Context(), []string{id}, store.WorkflowFilter{})
		if err != nil {
			t.Fatal(err)
		}
		want, err := definition.YAML(definition.InStoredOrder(w))
		if err != nil {
			t.Fatal(err)
		}
		if string(list[0].YAML) != string(want) {
			t.Errorf("it came back as\n%s\nand was\n%s", list[0].YAML, want)
		}
		if apply(list[0].YAML) != 0 {
			t.Errorf("what was exported is something else than what is there:\n%s", list[0].YAML)
		}
	})
	if got := pgtest.One[int](t, db, `select count(*)::int from rowbell.workflow_version where version > 1`); got != 0 {
		t.Errorf("%d workflows have more than one version", got)
	}
}

// Numbers are written as the server writes them.
func TestPlainNumber(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	conn := db.Conn(t)
	numbers := rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		number := numbers.Draw(t, "number")
		var want string
		if err := conn.QueryRow(t.Context(), `select $1::jsonb::text`, number).Scan(&want); err != nil {
			t.Fatal(err)
		}
		if got := definition.PlainNumber(number); got != want {
			t.Errorf("%s is %s, want %s", number, got, want)
		}
	})
}

// A stored template comes back as it was.
func TestTemplateRoundTrip(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		d := &definition.TemplateDocument{
			Name: rapid.StringMatching(`[a-z/_0-9-]{1,20}`).Draw(t, "name"), Description: anyText.Draw(t, "description"),
			Texts: rapid.MapOfN(rapid.SampledFrom([]string{"", "de", "de-AT", "no", "en"}), anyText, 1, 4).Draw(t, "texts"),
		}
		if rapid.Bool().Draw(t, "tenant") {
			d.TenantID = anyText.Filter(func(s string) bool { return s != "" }).Draw(t, "of")
		}
		path := filepath.Join(dir, "t.yaml")
		if err := os.WriteFile(path, d.YAML(), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := definition.ReadBundle([]string{path})
		if err != nil || len(b.Templates) != 1 {
			t.Fatalf("%v in\n%s", err, d.YAML())
		}
		got := b.Templates[0]
		if got.Name != d.Name || got.Description != d.Description || got.TenantID != d.TenantID || !maps.Equal(got.Texts, d.Texts) {
			t.Errorf("it came back as\n%s\nand was\n%s", got.YAML(), d.YAML())
		}
	})
}
