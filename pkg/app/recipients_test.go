package app_test

import (
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// Who gets a role in the transaction of the change is told of it; who made the change is
// not, and the log says why of each.
func TestRecipientsByDirectory(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop+`; create table staff (id text primary key, tenant text, name text, email text, locale text);
		create table duty (staff text, tenant text, role text);
		insert into staff values ('ann', 'acme', 'Ann Lee', 'ann@acme.example', 'de-AT'), ('bob', 'acme', 'Bob Ray', null, null), ('cid', 'acme', 'Cid', null, null), ('eve', 'other', 'Eve', null, null);
		insert into duty values ('ann', 'acme', 'lead'), ('bob', 'acme', 'lead'), ('eve', 'other', 'lead')`)
	w := startWorker(t, db, delivers, func(c *app.Config) {
		c.DirectoryUsers = `select id, name, email, locale from staff where id = any ($1) and tenant = $2`
		c.DirectoryRoleMembers = `select staff as id from duty where role = $1 and tenant = $2`
	})
	w.holds(t)
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name, status, settings) values ('tell', 'acme', 'Tell', 'active', '{"exclude": ["actor"]}');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('tell', 'orders', 'create');
		insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('tell', 'notification', '{"title": "Order {{ new.id }} for {{ recipient.name }}"}');
		insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ('tell', 'role', 'lead'), ('tell', 'user', 'ann')`)
	captured(t, db)
	const order = `insert into orders (tenant_id, status) values ('acme', 'new')`
	db.Exec(t, order)
	settled(t, db, "success 1")
	db.Exec(t, `begin; select rowbell.set_actor('bob'); `+order+`; insert into duty values ('cid', 'acme', 'lead'); commit`)
	settled(t, db, "success 2")
	if got := pgtest.One[string](t, db, `select string_agg(recipient_id || ': ' || title, ', ' order by title, recipient_id) from rowbell.notification`); got !=
		"ann: Order 1 for Ann Lee, bob: Order 1 for Bob Ray, ann: Order 2 for Ann Lee, cid: Order 2 for Cid" {
		t.Errorf("the inboxes have %s", got)
	}
	if got := pgtest.One[string](t, db, `select string_agg(concat_ws(' ', d.recipient, d.recipient_name, d.status, d.recipient_reasons, d.reason), E'\n' order by d.recipient)
		from rowbell.delivery_done d join rowbell.workflow_log l on l.id = d.execution_id join rowbell.workflow_event e on e.id = l.trigger_event_id where e.row_key = '2'`); got !=
		`ann Ann Lee succeeded ["role lead","user ann"]
bob Bob Ray cancelled ["role lead"] left_out: the workflow excludes them: made the change
cid Cid succeeded ["role lead"]` {
		t.Errorf("the log has\n%s", got)
	}
	// A group is nobody's: there is no query for it.
	db.Exec(t, `insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ('tell', 'group', 'board')`)
	pgtest.Eventually(t, pgtest.Patience, "it is broken", func() bool {
		return strings.Contains(pgtest.One[string](t, db, `select coalesce(max(verdict || ' ' || message), '') from rowbell.workflow_health where workflow_id = 'tell'`),
			"broken action 1 (notification): recipients of type group need ROWBELL_DIRECTORY_GROUP_MEMBERS; ask an operator")
	})
}
