package definition_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// A history has an end, at which it says what changed as everywhere; what is before it can be
// compared all the same.
func TestHistoryOfManyVersions(t *testing.T) {
	t.Parallel()
	db, s := opened(t)
	db.Exec(t, `insert into rowbell.workflow_definition (id, name) values ('w', '0')`)
	db.Exec(t, `do $$ begin for i in 1..204 loop update rowbell.workflow_definition set name = i; commit; end loop; end $$`)
	list, err := s.History(t.Context(), "w")
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 200 || list[0].Version != 205 || list[199].Version != 6 {
		t.Fatalf("%d entries: %+v", len(list), list)
	}
	if !slices.Equal(list[199].Changes, []string{"renamed from “4” to “5”"}) {
		t.Errorf("the last is %q", list[199].Changes)
	}
	d, err := s.Diff(t.Context(), "w", "1", "live")
	if err != nil || d.From != "version 1" || d.To != "version 205" || d.YAML == "" {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := s.Diff(t.Context(), "w", "1", "206"); !errors.Is(err, workflow.ErrNotFound) || err.Error() != "workflow w has no version 206; it has 1 to 205" {
		t.Error(err)
	}
	if _, err := s.History(t.Context(), "v"); !errors.Is(err, workflow.ErrNotFound) {
		t.Error(err)
	}
}
