package definition_test

import (
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Workflows are about the application's tables, and say nothing of others.
func TestCheckOwnTables(t *testing.T) {
	t.Parallel()
	_, s := opened(t)
	for _, table := range []string{"rowbell.secret", "rowbell.api_key", "pg_catalog.pg_authid", "information_schema.tables", "pg_toast.pg_toast_1255"} {
		report, err := s.Check(t.Context(), &workflow.Workflow{
			Triggers: []workflow.Trigger{{EntityType: table, Operation: "update", FieldConditions: []byte(`{"hush": 1}`)}},
			Actions:  []workflow.Action{{Type: "log"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(report.Errors) != 1 || !strings.Contains(report.Errors[0].Message, "table "+table+" is Rowbell's or PostgreSQL's own") {
			t.Errorf("%s: %+v", table, report)
		}
	}
}
