package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// TestSearchWorkflows compares all pages with what there is, in order.
func TestSearchWorkflows(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	if err := store.MigrateSource(t.Context(), db.URL); err != nil {
		t.Fatal(err)
	}
	s := store.OpenSource(db.Pool(t))
	names := []string{"Überfällig", "orders: tell sales", "Orders: tell Finance", "order", "invoices", "ORDER"}
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status, created_by, updated_at)
		select 'w' || n, case n % 3 when 0 then null when 1 then 'acme' else 'beta' end, ($1::text[])[1 + n % 6] || case when n % 4 = 0 then '' else ' ' || n end,
			case n % 4 when 0 then 'draft' else 'active' end, 'admin-' || n % 5, '2026-01-01'::timestamptz + n % 50 * interval '1 second' from generate_series(1, 400) n`, names)
	db.Exec(t, `insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) select 'w' || n, case n % 7 when 0 then 'public.orders' when 1 then 'orders' else 'invoices' end, 'create' from generate_series(1, 400) n`)
	db.Exec(t, `insert into rowbell.workflow_health (workflow_id, version, verdict) select id, version, case when right(id, 1) = '3' then 'broken' else 'ok' end from rowbell.workflow_definition where status = 'active'`)
	all, err := s.Workflows(t.Context(), store.WorkflowFilter{})
	if err != nil || len(all) != 400 {
		t.Fatalf("%d workflows, %v", len(all), err)
	}
	by := map[string]string{}
	for _, w := range pgtest.Structs[struct{ ID, CreatedBy string }](t, db, `select id, created_by from rowbell.workflow_definition`) {
		by[w.ID] = w.CreatedBy
	}
	on := map[string]bool{}
	for _, id := range pgtest.Query[string](t, db, `select workflow_id from rowbell.workflow_trigger where entity_type like '%orders'`) {
		on[id] = true
	}
	for name, f := range map[string]store.WorkflowSearch{
		"all": {}, "a tenant": {TenantID: str("acme")}, "operators": {TenantID: str("")}, "active": {Status: workflow.Active}, "broken": {Verdict: workflow.Broken},
		"by name": {Name: "TELL"}, "by name, in another script": {Name: "berF"}, "by name of a tenant": {Name: "order", TenantID: str("beta")}, "nothing": {Name: "zzz"},
		"on a table": {Table: "orders"}, "made by": {CreatedBy: "admin-3"}, "several": {Table: "public.orders", TenantID: str("acme"), Verdict: workflow.OK},
	} {
		for _, updated := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, updated %v", name, updated), func(t *testing.T) {
				f.Updated, f.Limit = updated, 17
				want := slices.DeleteFunc(slices.Clone(all), func(w store.ListedWorkflow) bool {
					return f.TenantID != nil && *f.TenantID != w.TenantID || f.Status != "" && f.Status != w.Status || f.Verdict != "" && f.Verdict != w.Verdict ||
						!strings.Contains(strings.ToLower(w.Name), strings.ToLower(f.Name)) || f.Table != "" && !on[w.ID] || f.CreatedBy != "" && f.CreatedBy != by[w.ID]
				})
				slices.SortFunc(want, func(a, b store.ListedWorkflow) int {
					if updated {
						if c := b.UpdatedAt.Compare(a.UpdatedAt); c != 0 {
							return c
						}
						return strings.Compare(b.ID, a.ID)
					}
					if c := strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)); c != 0 {
						return c
					}
					return strings.Compare(a.ID, b.ID)
				})
				var got []store.ListedWorkflow
				for range 100 {
					page, err := s.SearchWorkflows(t.Context(), f)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, page.Items...)
					if f.Cursor = page.Next; f.Cursor == "" {
						break
					}
				}
				ids := func(list []store.ListedWorkflow) string {
					var b strings.Builder
					for _, w := range list {
						b.WriteString(w.ID + " ")
					}
					return b.String()
				}
				if ids(got) != ids(want) {
					t.Errorf("got %d: %.200s\nwant %d: %.200s", len(got), ids(got), len(want), ids(want))
				}
			})
		}
	}
	page, err := s.SearchWorkflows(t.Context(), store.WorkflowSearch{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []store.WorkflowSearch{{Cursor: "x"}, {Cursor: page.Next, Updated: true}, {Cursor: "bnVsbA"}} {
		if _, err := s.SearchWorkflows(t.Context(), bad); !errors.Is(err, store.ErrCursor) {
			t.Errorf("cursor %q: %v", bad.Cursor, err)
		}
	}
}
