package store_test

import (
	"errors"
	"maps"
	"testing"

	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// A version that applies, by what has come through the slot, and that the source doesn't show yet,
// is neither gone nor does its workflow count as turned off.
func TestNotYetVisible(t *testing.T) {
	t.Parallel()
	w := newWorld(t) // where version 3 of wf-a applies, as number 2
	d := store.Definitions{State: w.state, Source: store.OpenSource(w.db.Pool(t))}
	is := func(when string, wantStatus map[string]workflow.Status, wantErr error) {
		t.Helper()
		statuses, err := d.Statuses(t.Context(), []string{"wf-a", "nothing"})
		if err != nil || !maps.Equal(statuses, wantStatus) {
			t.Errorf("%s: statuses %v, %v; want %v", when, statuses, err, wantStatus)
		}
		v, err := d.Version(t.Context(), 2)
		if !errors.Is(err, wantErr) || wantErr == nil && (err != nil || v.WorkflowID != "wf-a" || v.Version != 3) {
			t.Errorf("%s: version %+v, %v; want the error %v", when, v, err, wantErr)
		}
	}
	unknown := map[string]workflow.Status{"nothing": workflow.Deleted}
	is("before the source has it", unknown, workflow.ErrNotYet)
	w.db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('wf-a', 'acme', 'First', 'draft')`)
	w.db.Exec(t, `update rowbell.workflow_definition set name = 'Second'`)
	is("at the version before", unknown, workflow.ErrNotYet)
	w.db.Exec(t, `update rowbell.workflow_definition set status = 'inactive'`)
	off := map[string]workflow.Status{"wf-a": workflow.Inactive, "nothing": workflow.Deleted}
	is("at the version", off, nil)
	w.db.Exec(t, `update rowbell.workflow_definition set name = 'Fourth'`)
	w.db.Exec(t, `alter table rowbell.workflow_version disable trigger all; delete from rowbell.workflow_version where version = 3`)
	is("removed by force", off, workflow.ErrNotFound)
}
