package app

import (
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const operations = "../../docs/operations.md"

// The manual's tables have every setting with its default, every metric and every
// health check, and none that there isn't.
func TestManual(t *testing.T) {
	text, err := os.ReadFile(operations)
	if err != nil {
		t.Fatal(err)
	}
	manual := string(text)

	settings := make(map[string]bool)
	for _, s := range Settings() {
		settings[s.Env()] = true
		row := regexp.MustCompile("(?m)^\\| `" + s.Env() + "` \\| ([^|]*) \\|").FindStringSubmatch(manual)
		switch {
		case row == nil:
			t.Errorf("%s is not in %s", s.Env(), operations)
		case s.Default != "" && row[1] != "`"+s.Default+"`":
			t.Errorf("%s: the default of %s is %s, not %s", operations, s.Env(), s.Default, row[1])
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\| .(ROWBELL_\w+)`).FindAllStringSubmatch(manual, -1) {
		if !settings[m[1]] {
			t.Errorf("%s: %s is no setting", operations, m[1])
		}
	}

	a, err := New(Config{SourceURL: testSource, Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0"}, slog.New(slog.DiscardHandler), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close() //nolint:errcheck // it never ran
	descs := make(chan *prometheus.Desc, 1000)
	a.reg.Describe(descs)
	close(descs)
	metrics := make(map[string]bool)
	for d := range descs {
		name := regexp.MustCompile(`fqName: "([^"]*)"`).FindStringSubmatch(d.String())[1]
		if strings.HasPrefix(name, "rowbell_") {
			metrics[name] = true
			if !strings.Contains(manual, "`"+name+"`") {
				t.Errorf("%s is not in %s", name, operations)
			}
		}
	}
	for _, m := range regexp.MustCompile("`(rowbell_[a-z_]+)`").FindAllStringSubmatch(manual, -1) {
		if !metrics[m[1]] && m[1] != "rowbell_publisher" && m[1] != "rowbell_api" && m[1] != "rowbell_" {
			t.Errorf("%s: %s is no metric", operations, m[1])
		}
	}
	for _, c := range a.checks() {
		if !strings.Contains(manual, "\n| `"+c.Name+"` |") {
			t.Errorf("the health check %s is not in %s", c.Name, operations)
		}
	}
}

// Every condition and expression in the manual is one that the engine takes.
func TestManualConditions(t *testing.T) {
	text, err := os.ReadFile("../../docs/workflows-in-sql.md")
	if err != nil {
		t.Fatal(err)
	}
	rel := &change.Relation{Schema: "public", Name: "orders", ReplicaIdentity: 'f'}
	for name, typ := range map[string]change.Type{
		"status": {Name: "text"}, "sku": {Name: "text"}, "note": {Name: "text"}, "email": {Name: "text"}, "address": {Name: "text"},
		"customer": {Name: "text"}, "tenant_id": {Name: "text"}, "any": {Name: "int4", Kind: change.Int},
		"total": {Name: "numeric", Kind: change.Number}, "amount": {Name: "numeric", Kind: change.Number},
		"meta": {Name: "jsonb", Kind: change.JSON}, "tags": {Name: "_text", Kind: change.Array, Elem: change.Text},
		"due_at": {Name: "timestamptz", Kind: change.TimestampTZ}, "shipped_at": {Name: "timestamptz", Kind: change.TimestampTZ},
	} {
		rel.Columns = append(rel.Columns, change.Column{Name: name, Type: typ, Modifier: -1})
	}
	table := &workflow.Table{Schema: "public", Name: "orders", Label: "orders", TenantColumn: "tenant_id"}
	judge := func(what string, s condition.Source) {
		f, err := condition.Parse(s)
		if err == nil {
			_, err = f.Bind(rel, table, change.Update)
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	forms := 0
	for _, m := range regexp.MustCompile("`(\\{\"[^`]*\\})`").FindAllStringSubmatch(string(text), -1) {
		form := m[1]
		if strings.Contains(form, "…") || strings.HasPrefix(form, `{"firing"`) || strings.HasPrefix(form, `{"retry"`) {
			continue
		}
		forms++
		src := condition.Source{Trigger: workflow.Trigger{FieldConditions: []byte(form)}}
		for kind, key := range map[string]string{"time_based": `"hours":|"within":`, "role_based": `"roles":`, "expression": `"expression":`} {
			if regexp.MustCompile(key).MatchString(form) {
				src = condition.Source{Conditions: []workflow.Condition{{Type: kind, Config: []byte(form)}}}
			}
		}
		judge(form, src)
	}
	if forms < 8 {
		t.Errorf("only %d conditions were found in the manual", forms)
	}
}
