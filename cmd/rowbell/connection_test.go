package main

import (
	"strings"
	"testing"

	"github.com/rowbell/rowbell/actions/email/mailtest"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// Connections are listed and tried, limits shown and a tenant's turns set, alike on the
// database and by a server; and no password is shown.
func TestServerConnections(t *testing.T) {
	t.Parallel()
	mails, err := mailtest.Listen(mailtest.Config{Password: func(user string) (string, bool) { return "hunter2hunter2", user == "shop" }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mails.Close)
	w := newTwins(t, func(db *pgtest.Database, env []string) {
		db.Exec(t, `create table orders (id bigint primary key, tenant_id text not null, card text, note text); create table members (id text, tenant text, role text)`)
		wants(t, rowbell(t, env, "capture", "orders", "--redacted", "card", "--hidden", "note"), 0)
		db.Exec(t, `begin; insert into rowbell.workflow_definition (id, tenant_id, name, status, settings) values ('guarded', 'acme', 'Guarded', 'active', '{"storm": 20, "owners": ["user:ann"]}');
			insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ('guarded', 'orders', 'create');
			insert into rowbell.workflow_action (workflow_id, action_type) values ('guarded', 'log'); commit`)
	}, "ROWBELL_SMTP_URL=smtp://shop:hunter2hunter2@"+mails.Addr+"?tls=none", "ROWBELL_MAIL_FROM=Shop <shop@example.com>",
		"ROWBELL_DIRECTORY_ROLE_MEMBERS=select id from members where role = $1 and tenant = $2", "ROWBELL_ALERTS=mailto:ops@example.com,https://hooks.example.com/T0/s3cr3t", "ROWBELL_STORM_MINUTE=off")
	run := func(code int, line string, texts ...string) {
		t.Helper()
		r := w.same(t, code, strings.Fields(line), texts...)
		for _, secret := range []string{"hunter2", "s3cr3t"} {
			if strings.Contains(r.stdout+r.stderr, secret) {
				t.Errorf("rowbell %s shows a secret:\n%s%s", line, r.stdout, r.stderr)
			}
		}
	}
	run(0, "connection list", "mail        ready", "smtp://127.0.0.1:", "nats        missing", "ROWBELL_NATS_URL", "directory   partly", "SQL for who has a role", "functions   missing")
	run(0, "connection list --json", `"name": "sign-in"`, `"state": "missing"`, `"ROWBELL_OIDC_ISSUER"`)
	run(0, "connection verify mail", "ok ", " answers, on this machine, authenticated by ")
	run(0, "connection verify directory --json", `"works": true`, "its SQL can be run")
	run(0, "connection verify chat", "no active workflow posts into a chat")
	run(1, "connection verify nats", "it is not set up; set ROWBELL_NATS_URL")
	wants(t, rowbell(t, w.directly, "connection", "verify", "post"), 1, "there is no connection post; there are mail, chat")
	wants(t, rowbell(t, w.byServer, "connection", "verify", "post"), 1, "there is no connection post")
	w.each(func(db *pgtest.Database) { db.Exec(t, `alter table members rename column role to title`) })
	run(1, "connection verify directory", "failed ", `column "role" does not exist`, "it doesn't work as it is set up")
	run(0, "limits", "ROWBELL_STORM_MINUTE", "off", "told to mailto:ops@example.com, https://hooks.example.com/…", "guarded   acme    20     20", "user:ann", "orders  tenant_id      card      note")
	run(0, "limits --tenant globex --json", `"workflows": []`, `"setting": "ROWBELL_TENANT_CONCURRENCY"`)
	run(0, "tenant weight acme 3", "Tenant acme gets 3 turns while others get one.")
	run(0, "limits", "acme    3")
	run(1, "tenant weight acmee 3", "acmee")
	run(2, "tenant weight acme 101", "it is 1 to 100")
	w.each(func(db *pgtest.Database) {
		if got := pgtest.Query[string](t, db, `select action || ' ' || object_id from rowbell.audit_log where action in ('connection.verify', 'tenant.weight') order by id`); strings.Join(got, ", ") != "connection.verify mail, connection.verify directory, connection.verify chat, connection.verify directory, tenant.weight acme" {
			t.Errorf("the audit log has %q", got)
		}
	})
}
