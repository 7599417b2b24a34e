package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// A cause that is dismissed is not among those that fail, until another execution fails for
// it; and it is nobody's but its tenant's.
func TestDismissals(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	fillLog(t, db, 2000)
	db.Exec(t, `update rowbell.execution set settled_at = clock_timestamp() - interval '1 minute' where settled_at > clock_timestamp() - interval '1 minute'`)
	since := time.Now().Add(-100 * time.Hour)
	of := func(f store.CauseFilter) store.Causes {
		t.Helper()
		f.Since = since
		c, err := state.FailureCauses(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	one := func(f store.CauseFilter) store.Cause {
		t.Helper()
		c := of(f)
		if len(c.Causes) != 1 {
			t.Fatalf("there are %+v", c)
		}
		return c.Causes[0]
	}
	acme, big := store.CauseFilter{TenantID: str("acme"), WorkflowID: "acme-0"}, str("big")
	gone := acme
	gone.Dismissed = true
	before := of(store.CauseFilter{})
	fails := one(acme)
	if fails.Dismissed != nil || fails.ID == "" || fails.LastEnded.IsZero() {
		t.Errorf("before, it is %+v", fails)
	}
	if n := len(of(gone).Causes); n != 0 {
		t.Errorf("%d are dismissed", n)
	}
	for what, d := range map[string]store.Dismissal{
		"another workflow": {WorkflowID: "quiet-0", Cause: fails.Cause}, "another cause": {WorkflowID: "acme-0", Cause: "it rains"}, "an error as it is": {WorkflowID: "acme-0", Cause: fails.ExampleError},
		"no workflow": {WorkflowID: "none", Cause: fails.Cause},
	} {
		d.Note, d.By = "x", "ann"
		if _, err := state.Dismiss(t.Context(), d, nil); !errors.Is(err, workflow.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	mine := store.Dismissal{WorkflowID: "acme-0", Cause: fails.Cause, Note: "the shop was closed", By: "ann"}
	if _, err := state.Dismiss(t.Context(), mine, big); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("for another tenant: %v", err)
	}
	if _, err := state.As(store.Tenant{ID: "big"}).Dismiss(t.Context(), mine, nil); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("by row-level security alone: %v", err)
	}
	d, err := state.As(store.Tenant{ID: "acme"}).Dismiss(t.Context(), mine, str("acme"))
	if err != nil {
		t.Fatal(err)
	}
	if d.ID != fails.ID || d.TenantID != "acme" || time.Since(d.At) > time.Minute {
		t.Errorf("it is dismissed as %+v", d)
	}
	if c := of(acme); c.Causes == nil || len(c.Causes) != 0 || c.Dismissed != fails.Count || c.Counted != fails.Count {
		t.Errorf("dismissed, there are %+v", c)
	}
	if c := of(store.CauseFilter{}); len(c.Causes) != len(before.Causes)-1 || c.Dismissed != fails.Count {
		t.Errorf("of all there were %d, and are %d, with %d dismissed", len(before.Causes), len(c.Causes), c.Dismissed)
	}
	if g := one(gone); g.Dismissed == nil || *g.Dismissed != d || g.Count != fails.Count {
		t.Errorf("among those dismissed it is %+v", g)
	}
	long := gone
	long.Since = time.Now()
	if c, err := state.FailureCauses(t.Context(), long); err != nil || len(c.Causes) != 1 || c.Causes[0].Count != 0 || c.Causes[0].WorkflowName != fails.WorkflowName {
		t.Errorf("where nothing failed of late: %+v, %v", c, err)
	}
	if list, err := state.As(store.Tenant{ID: "big"}).Dismissals(t.Context(), nil, "", 0); err != nil || len(list) != 0 {
		t.Errorf("another tenant sees %+v, %v", list, err)
	}
	// A change from before that is given up only now has failed since.
	db.Exec(t, `insert into rowbell.execution (committed_at, executed_at, settled_at, version_ref, priority, id, status, error)
		select x.committed_at, x.executed_at, clock_timestamp(), x.version_ref, x.priority, x.id || '-1', x.status, x.error from rowbell.execution x where x.id = $1`, fails.ExampleID)
	if g := one(acme); g.Dismissed == nil || g.Dismissed.Note != mine.Note || g.Count != fails.Count+1 {
		t.Errorf("after another failure it is %+v", g)
	}
	if n := len(of(gone).Causes); n != 0 {
		t.Errorf("after another failure %d are dismissed", n)
	}
	mine.Note = "closed again"
	if _, err = state.Dismiss(t.Context(), mine, nil); err != nil {
		t.Fatal(err)
	}
	if g := one(gone); g.Dismissed.Note != mine.Note {
		t.Errorf("dismissed once more it is %+v", g)
	}
	if err := state.As(store.Tenant{ID: "big"}).RestoreFailure(t.Context(), d.ID); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("brought back by another tenant: %v", err)
	}
	if err := state.RestoreFailure(t.Context(), d.ID); err != nil {
		t.Fatal(err)
	}
	if err := state.RestoreFailure(t.Context(), d.ID); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("brought back twice: %v", err)
	}
	if g := one(acme); g.Dismissed != nil {
		t.Errorf("brought back it is %+v", g)
	}
	// There is an end to them, and they go with the log.
	db.Exec(t, `insert into rowbell.dismissal (id, tenant_id, workflow_id, cause, note, dismissed_by, dismissed_at) select md5(n::text), 'acme', 'acme-0', 'c', 'n', 'ann', now() - interval '91 days' from generate_series(1, 1000) n`)
	if _, err := state.Dismiss(t.Context(), mine, nil); !errors.Is(err, workflow.ErrConflict) {
		t.Errorf("with a thousand others: %v", err)
	}
	if err := state.MaintainPartitions(t.Context(), 30, 90); err != nil {
		t.Fatal(err)
	}
	if n := pgtest.One[int](t, db, `select count(*)::int from rowbell.dismissal`); n != 0 {
		t.Errorf("%d are left of long ago", n)
	}
}
