package store_test

import (
	"slices"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// What runs with the rights of the schema's owner is not for everybody who may use the
// schema, and finds nothing by way of a caller's search_path.
func TestDefinersRights(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	// These look themselves at who calls them.
	want := []string{"granted_tenants", "register_function", "unregister_function"}
	if got := pgtest.Query[string](t, db, `select proname::text from pg_proc p where pronamespace = 'rowbell'::regnamespace and prosecdef
		and has_function_privilege('public', oid, 'execute') order by 1`); !slices.Equal(got, want) {
		t.Errorf("everybody may call %v, want %v", got, want)
	}
	if got := pgtest.Query[string](t, db, `select oid::regprocedure::text from pg_proc where pronamespace = 'rowbell'::regnamespace and prosecdef
		and not coalesce('search_path=pg_catalog, pg_temp' = any (proconfig), false) order by 1`); len(got) > 0 {
		t.Errorf("the caller's search_path counts in %v", got)
	}
}
