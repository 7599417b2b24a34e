package sentence_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rowbell/rowbell/engine/sentence"
	"github.com/rowbell/rowbell/examples"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// The examples, from the documents that the database makes of their rows.
func TestExamples(t *testing.T) {
	want := map[string]string{
		"order-approved":    `When an order is updated and its status becomes approved, send a webhook to 127.0.0.1:8000 and notify maria.`,
		"large-order":       `When an order is created and its total is at least 1000.00, notify lena and karl.`,
		"credit-raised":     `When a customer is updated and its credit limit increases, send a webhook to 127.0.0.1:8000, then notify the row's account manager.`,
		"order-deleted":     `When an order is deleted and its status is neither cancelled nor delivered, record it.`,
		"invoice-attention": `For all tenants, when an invoice is updated and its status is overdue, or when one is created and its status is open, and its amount is either between 2000 and 100000 or at most 0, notify the row's account manager.`,
		"invoice-overdue":   `When an invoice is updated and its status is overdue, send an e-mail to everyone with role finance.`,
		"customer-welcome":  `When a customer is created, send an e-mail to the row's email.`,
	}
	// What the manual quotes is what they are.
	manual, err := os.ReadFile("../../docs/workflows-in-sql.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(manual), "\n## In a sentence\n")
	section, _, _ = strings.Cut(section, "\n## ")
	quoted := 0
	for line := range strings.Lines(section) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "> "); ok {
			quoted++
			if !slices.Contains(slices.Collect(maps.Values(want)), text) {
				t.Errorf("the manual quotes %s", text)
			}
		}
	}
	if quoted == 0 {
		t.Error("the manual quotes no sentence")
	}

	db := pgtest.DB(t)
	if err := store.Migrate(t.Context(), db.URL, db.URL); err != nil {
		t.Fatal(err)
	}
	conn := db.Conn(t)
	for _, script := range append([]examples.Workflow{{SQL: examples.Shop}}, examples.Workflows()...) {
		if _, err := conn.Exec(t.Context(), script.SQL, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", script.File, err)
		}
	}
	documents := pgtest.Query[string](t, db, "select document::text from rowbell.workflow_version")
	if len(documents) != len(want) {
		t.Errorf("%d documents, want %d", len(documents), len(want))
	}
	for _, document := range documents {
		w, err := workflow.Parse([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		if got := sentence.Of(w); got != want[w.ID] {
			t.Errorf("%s:\n got %s\nwant %s", w.ID, got, want[w.ID])
		}
		if got := sentence.Changes(w, w); len(got) > 0 {
			t.Errorf("%s: of itself it differs in %s", w.ID, strings.Join(got, "; "))
		}
	}
}
