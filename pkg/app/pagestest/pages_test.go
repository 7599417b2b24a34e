package pagestest

import (
	"fmt"
	"testing"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// Widths of the pictures, in pixels: a desk's screen and a telephone's.
var widths = []int64{1280, 390}

// A visitor shows a key, sees that all is well, finds what has run, and leaves.
func TestFirstVisit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.open(t, widths[0])
	b.to("/")
	b.sees("Sign in")
	b.accessible()
	b.signIn(w.key("", access.Admin))
	b.sees("All is well")
	b.sees("There is no workflow yet")
	b.accessible()
	w.db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('big', 'acme', 'Large order', 'active');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation, field_conditions) values ('big', 'orders', 'create', '{"total": {"gte": 1000}}');
		insert into rowbell.workflow_action (workflow_id, action_type) values ('big', 'log')`)
	pgtest.Eventually(t, pgtest.Patience, "the workflow to apply and the table to be captured", func() bool {
		return pgtest.One[bool](t, w.db, `select count(*) = 2 from rowbell.applied where id in ('big', 'orders')`)
	})
	w.db.Exec(t, `insert into orders (tenant_id, total, customer) values ('acme', 1200, 'Ada')`)
	b.press("Workflows")
	b.sees("Large order")
	b.accessible()
	b.press("Large order")
	b.sees("When an order is created and its total is at least 1000")
	b.accessible()
	b.press("Edit")
	b.sees("As it is published") // nothing is kept as a draft by looking
	pgtest.Eventually(t, pgtest.Patience, "the run", func() bool {
		return pgtest.One[int64](t, w.db, `select count(*) from rowbell.workflow_log where status = 'success'`) == 1
	})
	b.press("Runs")
	b.sees("Done")
	b.accessible()
	b.press("Large order")
	b.sees("What changed")
	b.sees("Ada")
	b.accessible()
	for _, width := range widths {
		one := w.open(t, width)
		one.signIn(w.key("acme", access.Viewer))
		for _, path := range []string{"/", "/workflows", "/workflows/big", "/runs", "/about"} {
			one.to(path)
			one.accessible()
			one.shot(fmt.Sprintf("%s-%d", path, width))
		}
	}
}
