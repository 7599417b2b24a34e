package app_test

import (
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// Each event gets the text that applied when it committed, in the reader's language: also
// if it is delivered after the template has changed, and after a restart.
func TestTemplateThatApplied(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	db.Exec(t, `
		create table staff (id text, name text, locale text, zone text);
		insert into staff values ('ann', 'Ann', 'de-AT', 'Europe/Vienna'), ('ben', 'Ben', 'en', 'America/New_York')`)
	people := func(c *app.Config) {
		c.DirectoryUsers = `select id, name, locale, zone from staff where id = any ($1)`
	}
	hold := func(c *app.Config) { c.Delivery = app.DeliveryHold }
	w := startWorker(t, db, delivers, people, hold)
	w.holds(t)
	db.Exec(t, `insert into rowbell.template (name, locale, source) values ('sum', '', 'Sum {{ new.total | money: "EUR" }}'), ('sum', 'de', 'Summe {{ new.total | money: "EUR" }}')`)
	db.Exec(t, `begin;
		insert into rowbell.workflow_definition (id, tenant_id, status) values ('w', 'acme', 'active');
		insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('w', 'orders', 'create');
		insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ('w', 'notification', '{"title": "{% render ''sum'' %}, {{ recipient.name }}", "body": "{{ event.committed_at | date: ''%Z'' }}"}');
		insert into rowbell.workflow_recipient (workflow_id, recipient_type, recipient_id) values ('w', 'user', 'ann'), ('w', 'user', 'ben');
		commit`)
	captured(t, db)
	db.Exec(t, `insert into orders (tenant_id, total) values ('acme', 1234.5)`)
	// In one transaction the versions come last, and count for what commits after it.
	db.Exec(t, `begin; update rowbell.template set source = replace(source, 'Sum', 'Total sum') where locale = ''; insert into orders (tenant_id, total) values ('acme', 2); commit`)
	db.Exec(t, `insert into orders (tenant_id, total) values ('acme', 3)`)
	pgtest.Eventually(t, pgtest.Patience, "three executions", func() bool {
		return pgtest.One[int64](t, db, `select count(*) from rowbell.workflow_log`) == 3
	})
	db.Exec(t, `update rowbell.template set source = 'too late'`)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, db, delivers, people)
	settled(t, db, "success 3")
	got := strings.Join(pgtest.Query[string](t, db, `select recipient_id || ': ' || title || ' (' || body || ')' from rowbell.notification order by recipient_id, title collate "C"`), "\n")
	want := strings.ReplaceAll(`ann: Summe €_1.234,50, Ann (CET)
ann: Summe €_2,00, Ann (CET)
ann: Summe €_3,00, Ann (CET)
ben: Sum €1,234.50, Ben (EST)
ben: Sum €2.00, Ben (EST)
ben: Total sum €3.00, Ben (EST)`, "_", "\u00a0")
	for _, zones := range [][2]string{{"CEST", "CET"}, {"EDT", "EST"}} { // whatever the season is
		got = strings.ReplaceAll(got, zones[0], zones[1])
	}
	if got != want {
		t.Errorf("the inboxes have\n%s\nwant\n%s", got, want)
	}
	if err := w.stop(); err != nil {
		t.Error(err)
	}
}
