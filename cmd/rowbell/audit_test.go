package main

import (
	"encoding/csv"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// leaves says of every command what it leaves in the audit log; "" is nothing. What only
// looks, or comes before there is a log or after it, leaves nothing; so does a worker, whose
// work is in the log of executions.
var leaves = map[string]string{
	"run": "", "migrate": "", "check": "", "demo": "", "version": "", "uninstall": "",
	"capture": "table.change", "resync": "stream.resync", "adopt": "stream.adopt",
	"workflow": "", "workflow list": "", "workflow show": "", "workflow versions": "", "workflow diff": "", "workflow check": "", "workflow depends": "",
	"workflow simulate": "", "workflow explain": "", "workflow statistics": "",
	"view": "", "view list": "", "view save": "view.save", "view delete": "view.delete",
	"failure": "", "failure list": "", "failure dismiss": "failure.dismiss", "failure restore": "failure.restore",
	"workflow restore": "workflow.restore", "workflow draft": "workflow.draft", "workflow activate": "workflow.activate",
	"workflow deactivate": "workflow.deactivate", "workflow discard": "workflow.discard",
	"template": "", "template list": "", "template show": "", "template preview": "", "template set": "template.set", "template delete": "template.delete",
	"preference": "", "preference list": "", "preference set": "preference.set", "preference quiet": "quiet_hours.add",
	"destination": "", "destination list": "", "destination show": "", "destination enable": "destination.enable", "destination disable": "destination.disable",
	"destination rotate-secret": "secret.rotate",
	"delivery":                  "", "delivery list": "", "delivery show": "", "delivery retry": "delivery.retry", "delivery cancel": "delivery.cancel",
	"replay": "replay.start", "replay list": "", "replay show": "", "replay cancel": "replay.cancel",
	"storm": "", "storm list": "", "storm release": "storm.release", "storm discard": "storm.discard",
	"secret": "", "secret status": "", "secret rotate": "secret.reseal",
	"workflow schema": "", "workflow validate": "", "workflow export": "",
	"workflow test": "workflow.test", "workflow apply": "workflow.apply", "workflow import": "workflow.import",
	"pause": "pause.begin", "pause list": "", "resume": "pause.end", "tail": "",
	"key": "", "key create": "key.create", "key list": "", "key revoke": "key.revoke",
	"link": "", "link add-key": "link_key.create", "link list": "", "link revoke": "link_key.revoke", "link create": "",
	"member": "", "member add": "member.set", "member list": "", "member remove": "member.remove",
	"completion": "",
	"audit":      "", "audit list": "", "audit show": "",
	"tenant": "", "tenant list": "", "tenant weight": "tenant.weight", "tenant delete": "tenant.delete",
	"connection": "", "connection list": "", "connection verify": "connection.verify", "limits": "",
	"erase": "", "erase row": "row.erase", "erase person": "person.erase",
}

// No command can be added without saying what it leaves in the audit log.
func TestCommandsAreAudited(t *testing.T) {
	t.Parallel()
	known := maps.Clone(leaves)
	check := func(name string) {
		if _, ok := known[name]; !ok {
			t.Errorf("rowbell %s: say in audit_test.go what it leaves in the audit log, and run it there", name)
		}
		delete(known, name)
	}
	for _, c := range commands() {
		check(c.name)
		for _, s := range c.sub {
			check(c.name + " " + s.name)
		}
	}
	for name := range known {
		t.Errorf("there is no command %s", name)
	}
}

// Each command that changes something leaves one row in the audit log that says who, what,
// and that it was the command line; and what was planted as a secret isn't in any.
func TestAuditLog(t *testing.T) {
	t.Parallel()
	answer := http.StatusNotFound
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/later") {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(answer)
	}))
	t.Cleanup(hook.Close)
	db := migrated(t)
	const key, olderKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk="
	const secret, query = "whsec_cm93YmVsbC1leGFtcGxlLXNlY3JldC0zMi1ieXRlcyE=", "key=planted-in-a-query"
	env := []string{
		"ROWBELL_SOURCE_URL=" + db.URL, "ROWBELL_SLOT=" + pgtest.Slot(t, db), "TZ=UTC", "ROWBELL_LISTEN=127.0.0.1:0", "ROWBELL_OPS_LISTEN=127.0.0.1:0",
		"ROWBELL_EGRESS_ALLOW=127.0.0.0/8", "ROWBELL_SECRET_KEY=" + key + "," + olderKey, "ROWBELL_CAPTURE=manual",
	}
	if r := rowbell(t, env, "migrate"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	db.Exec(t, `create table orders (id bigint primary key, tenant_id text not null, note text); create table stock (sku text primary key, tenant_id text not null);
		select rowbell.ensure_publications('rowbell')`)
	db.Exec(t, `call rowbell.capture('orders')`)
	db.Exec(t, `call rowbell.capture('stock')`)
	worker := program(t, env, "run")
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() { _ = worker.Process.Signal(os.Interrupt); _ = worker.Wait() } // it may have ended
	t.Cleanup(func() { stop() })
	eventually := func(what, sql string) {
		t.Helper()
		pgtest.Eventually(t, pgtest.Patience, what, func() bool { return pgtest.One[bool](t, db, sql) })
	}
	eventually("tables to be read", `select count(*) = 2 from rowbell.applied where kind = 'table'`)
	define := func(id, table, path, settings string) {
		t.Helper()
		db.Exec(t, `with d as (insert into rowbell.workflow_definition (id, tenant_id, name, status, settings) values ($1, 'acme', $1, 'active', $4::jsonb)),
			t as (insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) values ($1, $2, 'create'))
			insert into rowbell.workflow_action (workflow_id, action_type, action_config) values ($1, 'webhook', $3::jsonb)`,
			id, table, `{"url": "`+hook.URL+path+`?`+query+`", "secret": "`+secret+`", "retry": ["1h"]}`, settings)
	}
	define("crm", "orders", "/crm", `{}`)
	define("slow", "orders", "/later", `{}`)
	define("storm", "stock", "/crm", `{"storm": {"transaction": 1}}`)
	eventually("the workflows to apply", `select count(*) = 3 from rowbell.applied where kind = 'workflow'`)
	db.Exec(t, `insert into orders values (1, 'acme', 'a'), (2, 'acme', 'b'), (3, 'acme', 'c')`)
	eventually("deliveries to be tried", `select count(*) filter (where status = 'failure') = 3 and (select count(*) from rowbell.delivery where error is not null and state <> 'leased') = 3 from rowbell.workflow_log`)
	hold := func(n string) {
		t.Helper()
		db.Exec(t, `insert into stock select '`+n+`' || i, 'acme' from generate_series(1, 3) i`)
		eventually("a storm to be held", `select exists (select from rowbell.big_transaction b join rowbell.queue q on q.big_lsn = b.commit_lsn and q.big_stream = b.stream where b.status = 'held' and b.stream < 0)`)
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ran := make(map[string]bool)
	// do runs a command, and looks at the one row that it leaves.
	do := func(actor string, args ...string) {
		t.Helper()
		name := args[0]
		if len(args) > 1 {
			if _, ok := leaves[name+" "+args[1]]; ok {
				name += " " + args[1]
			}
		}
		ran[name] = true
		count := func() int {
			return pgtest.One[int](t, db, `select count(*)::int from rowbell.audit_log where action = $1 and actor = $2 and via = 'cli' and object_id <> ''`, leaves[name], actor)
		}
		before := count()
		r := rowbell(t, env, append(args, "--actor", actor)...)
		if r.code != 0 {
			t.Errorf("rowbell %s: %s%s", strings.Join(args, " "), r.stdout, r.stderr)
			return
		}
		if n := count() - before; n != 1 {
			t.Errorf("rowbell %s leaves %d rows of %s, want 1; there are %v", strings.Join(args, " "), n, leaves[name],
				pgtest.Query[string](t, db, `select concat_ws(' ', action, actor, via, object_id) from rowbell.audit_log order by at desc limit 3`))
		}
	}
	one := func(sql string) string { t.Helper(); return pgtest.One[string](t, db, sql) }

	do("ann", "capture", "stock", "--redacted", "sku")
	yaml := rowbell(t, env, "workflow", "show", "crm", "--yaml").stdout
	do("ann", "workflow", "draft", "crm", file("crm.yaml", strings.Replace(yaml, "name: crm", "name: Tell the CRM", 1)))
	do("ann", "workflow", "discard", "crm", "--yes")
	do("ann", "workflow", "draft", "crm", file("crm.yaml", strings.Replace(yaml, "name: crm", "name: Tell the CRM", 1)))
	do("ben", "workflow", "activate", "crm")
	do("ben", "workflow", "restore", "crm", "1")
	do("ben", "workflow", "deactivate", "slow")
	eventually("its deliveries to be cancelled", `select count(*) = 0 from rowbell.delivery where workflow_id = 'slow'`)
	do("ben", "workflow", "activate", "slow")
	do("ann", "template", "set", "footer", file("footer.liquid", "Bye"), "--tenant", "acme")
	do("ann", "template", "delete", "footer", "--tenant", "acme", "--yes")
	do("ann", "preference", "set", "cid", "off", "--channel", "email")
	do("ann", "preference", "quiet", "cid", "22:00-07:00")
	eventually("the destination to be noted", `select exists (select from rowbell.endpoint where destination like '%/crm')`)
	lane := one(`select id from rowbell.endpoint where destination like '%/crm'`)
	do("ann", "destination", "disable", lane, "--reason", "it moves")
	do("ann", "destination", "enable", lane)
	eventually("secrets to be sealed", `select bool_and(plain is null) from rowbell.secret`)
	// It signs for one workflow each.
	do("ann", "destination", "rotate-secret", one(`select id from rowbell.endpoint where destination like '%/later'`))
	do("ann", "view", "save", "Failed", "--status", "failure", "--tenant", "acme")
	do("ann", "view", "delete", one(`select id from rowbell.saved_view`))
	do("ann", "failure", "dismiss", strings.Fields(rowbell(t, env, "failure", "list", "--workflow", "crm").stdout)[7], "--note", "it is known")
	do("ann", "failure", "restore", one(`select id from rowbell.dismissal`))
	do("ann", "delivery", "retry", one(`select min(id) from rowbell.delivery_done where workflow_id = 'crm'`))
	db.Exec(t, `insert into orders values (4, 'acme', 'd')`)
	eventually("a delivery to wait", `select exists (select from rowbell.delivery where workflow_id = 'slow' and error is not null)`)
	do("ann", "delivery", "cancel", one(`select min(id) from rowbell.delivery where workflow_id = 'slow'`))
	answer = http.StatusOK
	do("ann", "replay", "--workflow", "crm", "--since", "1h", "--rate", "1/h", "--yes")
	do("ann", "replay", "cancel", one(`select max(id)::text from rowbell.replay`))
	hold("a")
	do("ann", "storm", "release", "storm")
	eventually("it to be over", `select count(*) = 0 from rowbell.queue where big_stream < 0`)
	hold("b")
	do("ann", "storm", "discard", "storm", "--yes")
	do("ann", "secret", "rotate")
	do("ann", "workflow", "test", "crm", "--record", one(`select min(id) from rowbell.workflow_event where row_key = '1'`), "--force")
	do("ann", "workflow", "apply", file("new.yaml", "id: new\ntenant_id: acme\nstatus: inactive\n"), "--yes")
	do("ann", "workflow", "import", file("other.yaml", "id: other\ntenant_id: acme\n"))
	do("ann", "pause", "--kind", "email")
	do("ann", "resume", "--kind", "email")
	do("ann", "key", "create", "--role", "viewer")
	do("ann", "key", "revoke", one(`select min(id) from rowbell.api_key where created_by = 'ann'`))
	do("ann", "link", "add-key", "--role", "viewer")
	do("ann", "link", "revoke", one(`select min(id) from rowbell.link_key`))
	do("ann", "member", "add", "dan", "--role", "viewer", "--issuer", "https://login.example.com")
	do("ann", "member", "remove", one(`select min(id) from rowbell.member`))
	do("ann", "tenant", "weight", "acme", "3")
	do("ann", "connection", "verify", "chat")
	do("ann", "erase", "row", "orders", "1", "--yes")
	do("ann", "erase", "person", "cid", "--yes")

	log := auditList(t, env)
	// Edits by SQL are in the list, in the name of the database's user, and none is there twice.
	seen := make(map[string]int)
	for _, e := range log {
		seen[e.Action+" "+e.ObjectID]++
	}
	for what, n := range map[string]int{"workflow.create crm": 1, "workflow.create slow": 1, "workflow.activate crm": 1, "workflow.activate slow": 1, "workflow.deactivate slow": 1, "workflow.draft crm": 2, "workflow.change crm": 0} {
		if seen[what] != n {
			t.Errorf("%s is %d times in the list, want %d", what, seen[what], n)
		}
	}
	for i := range log {
		if i > 0 && log[i].At.After(log[i-1].At) {
			t.Errorf("entry %d is newer than the one before", i)
		}
		e := log[i]
		if e.Action == "workflow.create" && (e.ID != e.ObjectID+"@1" || e.Via != "sql" || e.Actor != e.DBUser || !slices.Equal(e.Changes, []string{"created"})) {
			t.Errorf("an edit by SQL is %+v", e)
		}
		if e.Action == "workflow.activate" && e.ObjectID == "crm" {
			if want := `name: "crm" → "Tell the CRM"`; e.Actor != "ben" || e.Version != 2 || !slices.ContainsFunc(e.Changes, func(c string) bool { return strings.Contains(c, "Tell the CRM") }) {
				t.Errorf("an activation is %+v, want %s", e, want)
			}
			wants(t, rowbell(t, env, "audit", "show", e.ID), 0, "ben", "workflow.activate", "workflow crm, version 2", "Tell the CRM", "cli")
		}
	}
	for _, e := range log {
		if e.Action == "workflow.draft" && !slices.Equal(e.Changes, []string{"renamed from “crm” to “Tell the CRM”"}) {
			t.Errorf("a draft is said to be %q", e.Changes)
		}
	}
	// Filters, and going on.
	for _, c := range []struct {
		args []string
		want func(e listedAudit) bool
	}{
		{[]string{"--actor", "ben"}, func(e listedAudit) bool { return e.Actor == "ben" }},
		{[]string{"--action", "workflow"}, func(e listedAudit) bool { return strings.HasPrefix(e.Action, "workflow.") }},
		{[]string{"--action", "workflow.create"}, func(e listedAudit) bool { return e.Action == "workflow.create" }},
		{[]string{"--object", "workflow:slow"}, func(e listedAudit) bool { return e.ObjectType == "workflow" && e.ObjectID == "slow" }},
		{[]string{"--object", "destination"}, func(e listedAudit) bool { return e.ObjectType == "destination" }},
		{[]string{"--tenant", "acme"}, func(e listedAudit) bool { return e.TenantID == "acme" }},
		{[]string{"--tenant", "none"}, func(e listedAudit) bool { return e.TenantID == "" }},
		{[]string{"--text", "IT MOVES"}, func(e listedAudit) bool { return e.Action == "destination.disable" || e.Action == "destination.enable" }},
		{[]string{"--until", "2020-01-01T00:00:00Z"}, func(listedAudit) bool { return false }},
		{[]string{"--since", "1h"}, func(listedAudit) bool { return true }},
	} {
		var want []string
		for _, e := range log {
			if c.want(e) {
				want = append(want, e.ID)
			}
		}
		var got []string
		for _, e := range auditList(t, env, c.args...) {
			got = append(got, e.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("audit list %v has %v, want %v", c.args, got, want)
		}
	}
	var pages []string
	after := []string{}
	for range 100 {
		r := rowbell(t, env, append([]string{"audit", "list", "--output", "json", "--limit", "7"}, after...)...)
		var page []listedAudit
		if err := json.Unmarshal([]byte(r.stdout), &page); err != nil {
			t.Fatalf("%v: %s%s", err, r.stdout, r.stderr)
		}
		for _, e := range page {
			pages = append(pages, e.ID)
		}
		_, place, more := strings.Cut(strings.TrimSpace(r.stderr), "There is more: --after ")
		if !more {
			break
		}
		after = []string{"--after", place}
	}
	var all []string
	for _, e := range log {
		all = append(all, e.ID)
	}
	if !slices.Equal(pages, all) {
		t.Errorf("page by page it is %v, in one %v", pages, all)
	}
	r := rowbell(t, env, "audit", "list", "--csv", "--limit", "1000")
	rows, err := csv.NewReader(strings.NewReader(r.stdout)).ReadAll()
	if err != nil || len(rows) != len(log)+1 || rows[0][0] != "at" {
		t.Errorf("as CSV it has %d rows, %v", len(rows), err)
	}
	wants(t, rowbell(t, env, "audit", "list", "--limit", "5"), 0, "ACTION", "person.erase")
	wants(t, rowbell(t, env, "audit", "list", "--after", "nowhere"), 1, `"nowhere" is not a cursor of this list`)
	wants(t, rowbell(t, env, "audit", "list", "--csv", "--output", "yaml"), 2, "either --csv or --output, not both")
	wants(t, rowbell(t, env, "audit", "show", "none"), 1, `there is no entry "none" in the audit log`)

	// A change is caught, whoever makes it.
	for _, sql := range []string{`update rowbell.audit_log set actor = 'eve'`, `delete from rowbell.audit_log`, `truncate rowbell.audit_log`, `select rowbell.trim_audit(1)`} {
		if _, err := db.Conn(t).Exec(t.Context(), sql); err == nil {
			t.Errorf("%s was not refused", sql)
		}
	}
	if text := one(`select string_agg(a::text, '') from rowbell.audit_log a`); strings.Contains(text, secret) || strings.Contains(text, query) {
		t.Error("the audit log holds a secret")
	}

	wants(t, rowbell(t, env, "tenant", "list"), 0, "acme")
	wants(t, rowbell(t, env, "tenant", "delete", "acme"), 2, "this would delete tenant acme for ever, with all that there is of it. Add --yes to do it")
	wants(t, rowbell(t, env, "tenant", "delete", "acmee", "--yes"), 1, `there is nothing of tenant acmee here; did you mean "acme"?`)
	do("ann", "tenant", "delete", "acme", "--yes")
	stop()
	do("ann", "resync")
	do("ann", "adopt", "--keep")
	for name, action := range leaves {
		if action != "" && !ran[name] {
			t.Errorf("rowbell %s isn't run here", name)
		}
	}
}

// listedAudit is an entry as --output json has it.
type listedAudit struct {
	ID         string    `json:"id"`
	At         time.Time `json:"at"`
	TenantID   string    `json:"tenant_id"`
	Actor      string    `json:"actor"`
	DBUser     string    `json:"db_user"`
	Via        string    `json:"via"`
	Action     string    `json:"action"`
	ObjectType string    `json:"object_type"`
	ObjectID   string    `json:"object_id"`
	Version    int       `json:"version"`
	Changes    []string  `json:"changes"`
}

func auditList(t *testing.T, env []string, args ...string) []listedAudit {
	t.Helper()
	r := rowbell(t, env, append([]string{"audit", "list", "--output", "json", "--limit", "1000"}, args...)...)
	var list []listedAudit
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		t.Fatalf("audit list %v: %v: %s%s", args, err, r.stdout, r.stderr)
	}
	return list
}
