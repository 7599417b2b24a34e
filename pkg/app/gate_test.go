package app_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// A domain event is delivered as a webhook whose type and table are its name, and only if
// the directory knows its actor as who the workflow asks for.
func TestDomainEventByDirectory(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop+`; create table member (id text, tenant text, role text); insert into member values ('ann', 'acme', 'approver')`)
	h := newHooks(t)
	w := startWorker(t, db, delivers, func(c *app.Config) {
		c.DirectoryRoles = `select role from member where id = $1 and tenant = $2`
	})
	w.holds(t)
	defineHook(t, db, "hook", h.URL+"/in", "")
	db.Exec(t, `update rowbell.workflow_trigger set entity_type = 'domain:order.shipped'`)
	db.Exec(t, `insert into rowbell.workflow_condition (workflow_id, condition_type, condition_config) values ('hook', 'role_based', '{"roles": ["approver"], "by": "directory"}')`)
	const emit = `begin; select rowbell.emit('order.shipped', '{"order_id": 42}', 'acme'); select rowbell.set_actor($$%$$, attributes => '{"level": 3}'); commit`
	for _, actor := range []string{"ann", "bob"} {
		db.Exec(t, strings.Replace(emit, "%", actor, 1))
	}
	settled(t, db, "cancelled 1, success 1")
	if ids, requests := h.count(); ids != 1 || requests != 1 || len(h.wrong) != 0 {
		t.Errorf("%d ids in %d requests; not verified: %q", ids, requests, h.wrong)
	}
	for _, bodies := range h.bodies {
		var b struct {
			Type string
			Data struct {
				Event struct {
					Table, Operation string
					TenantID         string `json:"tenant_id"`
				}
				New   map[string]any
				Old   map[string]any
				Actor struct {
					ID         string
					Attributes map[string]any
				}
			}
		}
		if err := json.Unmarshal([]byte(bodies[0]), &b); err != nil {
			t.Fatal(err)
		}
		if b.Type != "domain:order.shipped.emit" || b.Data.Event.Table != "domain:order.shipped" || b.Data.Event.Operation != "emit" || b.Data.Event.TenantID != "acme" ||
			b.Data.New["order_id"] != 42.0 || b.Data.Old != nil || b.Data.Actor.ID != "ann" || b.Data.Actor.Attributes["level"] != 3.0 {
			t.Errorf("the body is %s", bodies[0])
		}
	}
	if got := pgtest.One[string](t, db, `select error from rowbell.workflow_log where status = 'cancelled'`); got != "bob has no roles, and not approver (by directory)" {
		t.Errorf("the reason is %q", got)
	}
}

// Once per row, through restarts.
func TestOncePerRow(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	h := newHooks(t)
	w := startWorker(t, db, delivers)
	w.holds(t)
	defineHook(t, db, "hook", h.URL+"/in", "")
	db.Exec(t, `update rowbell.workflow_trigger set operation = 'update', field_conditions = '{"status": "paid"}'`)
	db.Exec(t, `update rowbell.workflow_definition set settings = '{"firing": "once_per_row"}'`)
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id) select 'acme' from generate_series(1, 5)`)
	db.Exec(t, `update orders set status = 'paid' where id < 4`)
	db.Exec(t, `update orders set total = 1`)
	settled(t, db, "cancelled 3, success 3")
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	startWorker(t, db, delivers).holds(t)
	db.Exec(t, `update orders set status = 'paid'`)
	settled(t, db, "cancelled 6, success 5")
	if ids, requests := h.count(); ids != 5 || requests != 5 {
		t.Errorf("%d ids in %d requests", ids, requests)
	}
}

// Without a directory a workflow that needs it is broken, and says what to do.
func TestRolesWithoutDirectory(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	w := startWorker(t, db, delivers)
	w.holds(t)
	define(t, db, "w", "acme", "create", "{}", "log")
	db.Exec(t, `insert into rowbell.workflow_condition (workflow_id, condition_type, condition_config) values ('w', 'role_based', '{"roles": ["approver"], "by": "directory"}')`)
	const want = `broken condition 1 (role_based): roles by directory need ROWBELL_DIRECTORY_ROLES; ask an operator`
	got := ""
	pgtest.Eventually(t, pgtest.Patience, "the verdict", func() bool {
		got = db.QueryString(t, `select coalesce(max(verdict || ' ' || message), '') from rowbell.workflow_health`)
		return strings.HasPrefix(got, want)
	})
}
