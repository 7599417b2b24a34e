package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// A view is its owner's in one tenant, unless it is shared there.
func TestSavedViews(t *testing.T) {
	t.Parallel()
	db, state := alone(t)
	acme := state.As(store.Tenant{ID: "acme"})
	names := func(s *store.State, tenant, owner string) string {
		t.Helper()
		list, err := s.SavedViews(t.Context(), tenant, owner)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, v := range list {
			names = append(names, v.Name)
		}
		return fmt.Sprint(names)
	}
	save := func(s *store.State, v store.SavedView) store.SavedView {
		t.Helper()
		v, err := s.SaveView(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	failed := save(acme, store.SavedView{TenantID: "acme", Owner: "ann", Name: "failed", Filter: store.ViewFilter{Status: "failure", Within: "day"}})
	save(acme, store.SavedView{TenantID: "acme", Owner: "ann", Name: "Big", Shared: true, Filter: store.ViewFilter{WorkflowID: "big"}})
	save(acme, store.SavedView{TenantID: "acme", Owner: "bo", Name: "Mine", Filter: store.ViewFilter{Table: "orders", RowKey: "7"}})
	save(state, store.SavedView{Owner: "ann", Name: "All", Shared: true, Filter: store.ViewFilter{Error: "404"}})
	for _, c := range [][3]string{{"acme", "ann", "[Big failed]"}, {"acme", "bo", "[Big Mine]"}, {"", "ann", "[All]"}, {"globex", "ann", "[]"}} {
		if got := names(state, c[0], c[1]); got != c[2] {
			t.Errorf("in %q %s sees %s, want %s", c[0], c[1], got, c[2])
		}
	}
	if got := names(state.As(store.Tenant{ID: "globex"}), "acme", "ann"); got != "[]" {
		t.Errorf("another tenant sees %s", got)
	}
	again := save(acme, store.SavedView{TenantID: "acme", Owner: "ann", Name: "failed", Filter: store.ViewFilter{Status: "cancelled"}})
	if v, err := acme.SavedView(t.Context(), failed.ID); err != nil || again.ID != failed.ID || v.Filter != (store.ViewFilter{Status: "cancelled"}) {
		t.Errorf("saved once more it is %+v, %v", v, err)
	}
	if _, err := state.As(store.Tenant{ID: "globex"}).SaveView(t.Context(), store.SavedView{TenantID: "acme", Owner: "x", Name: "x"}); err == nil {
		t.Error("a view of another tenant's is saved")
	}
	if err := state.As(store.Tenant{ID: "globex"}).DeleteView(t.Context(), failed.ID); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("removed by another tenant: %v", err)
	}
	if err := acme.DeleteView(t.Context(), failed.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := acme.SavedView(t.Context(), failed.ID); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("it is gone: %v", err)
	}
	db.Exec(t, `insert into rowbell.saved_view (id, tenant_id, owner, name, shared, filter) select 'v' || n, 'acme', 'cy', 'n' || n, false, '{"status": "failure"}' from generate_series(1, 100) n`)
	for _, v := range []store.SavedView{{Name: strings.Repeat("ä", 81)}, {Name: "long", Filter: store.ViewFilter{Error: strings.Repeat("x", 1001)}}} {
		v.TenantID, v.Owner = "acme", "dora"
		if _, err := acme.SaveView(t.Context(), v); !errors.Is(err, workflow.ErrRefused) || !strings.Contains(err.Error(), "at most") {
			t.Errorf("a view that is too long: %v", err)
		}
	}
	if _, err := acme.SaveView(t.Context(), store.SavedView{TenantID: "acme", Owner: "cy", Name: "one more"}); !errors.Is(err, workflow.ErrConflict) {
		t.Errorf("with a hundred others: %v", err)
	}
	save(acme, store.SavedView{TenantID: "acme", Owner: "cy", Name: "n7"}) // one of them
	// However many others share, one's own are listed.
	db.Exec(t, `insert into rowbell.saved_view (id, tenant_id, owner, name, shared, filter) select 's' || n, 'acme', 'o' || n, 'a' || n, true, '{"status": "failure"}' from generate_series(1, 300) n`)
	if got := names(acme, "acme", "bo"); !strings.HasSuffix(got, " Mine]") {
		t.Errorf("beside 300 that are shared bo sees %s", got)
	}
}
