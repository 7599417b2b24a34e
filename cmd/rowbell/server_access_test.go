package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// Keys, link keys, members, tenants and who did what.
func TestServerAccess(t *testing.T) {
	t.Parallel()
	w := newTwins(t, func(db *pgtest.Database, _ []string) {
		db.Exec(t, `create table orders (id bigint primary key, tenant_id text not null)`)
		db.Exec(t, `begin; insert into rowbell.workflow_definition (id, tenant_id, name, status) values ('large-order', 'acme', 'Large order', 'active'), ('other', 'globex', 'Other', 'draft'), ('ours', null, '=Ours', 'draft');
			insert into rowbell.workflow_trigger (workflow_id, entity_type, operation) select id, 'orders', 'create' from rowbell.workflow_definition;
			insert into rowbell.workflow_action (workflow_id, action_type) select id, 'log' from rowbell.workflow_definition; commit`)
		for _, name := range []string{"Larger order", "Largest order"} {
			db.Exec(t, `update rowbell.workflow_definition set name = $1 where id = 'large-order'`, name)
		}
	})
	run := func(code int, line string, texts ...string) result {
		t.Helper()
		return w.same(t, code, strings.Fields(line), texts...)
	}
	of := func(code int, line, sql string, texts ...string) result {
		t.Helper()
		return w.sameOf(t, code, with(t, line, sql), texts...)
	}
	server := func(code int, line string, texts ...string) {
		t.Helper()
		wants(t, rowbell(t, w.byServer, strings.Fields(line)...), code, texts...)
	}

	run(0, "key list --tenant acme", "There are no such keys.")
	run(0, "key create --tenant acme --role viewer,operator --right person.read --name dashboard", "rbk_", "It is shown this once. For tenant acme, viewer,operator,person.read; revoke it by: rowbell key revoke ")
	run(0, "key create --role admin --expires 90d --json", `"key": "rbk_`, `"tenant_id": null`)
	run(2, "key create --name nothing", "a key needs a role or a right; roles are viewer, operator, author, publisher and admin")
	run(2, "key create --role viewer --expires 2020-01-01 --tenant", "--tenant wants a value")
	run(2, "key create --role viewer --expires 2020-01-01", "it would have expired already")
	run(2, "key create --role boss", `boss`)
	run(0, "key list --tenant acme", "dashboard")
	run(0, "key list --tenant acme --output yaml", "last_used_at: null")
	of(0, "key revoke ?", `select 'rbk_' || id || '_SECRET' from rowbell.api_key where tenant_id = 'acme'`, " dashboard is revoked.")
	of(1, "key revoke ?", `select id from rowbell.api_key where tenant_id = 'acme'`, "revoked")
	run(1, "key revoke 01M8ACT0GY5N3C8Q7V2T4B9D6E", "01M8ACT0GY5N3C8Q7V2T4B9D6E")
	run(0, "key list --tenant acme --revoked", "revoked")
	server(0, "key list --tenant all", "first key", "of a test")

	dir := t.TempDir()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	good, bad := filepath.Join(dir, "good.pem"), filepath.Join(dir, "bad.pem")
	for file, text := range map[string][]byte{good: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), bad: []byte("nothing")} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(0, "link list", "There are no such link keys.")
	run(0, "link add-key --role author --name shop", "-----BEGIN PRIVATE KEY-----", "The private key is shown this once", "kid rbl_", "and in aud: rowbell. Revoke it by: rowbell link revoke ")
	run(0, "link add-key --tenant acme --role viewer --expires 2099-01-01 "+good, "Its links must have in their header: kid rbl_")
	run(2, "link add-key --role viewer "+bad, "PEM")
	run(0, "link list", "shop")
	run(0, "link list --tenant acme --json", `"tenant_id": "acme"`)
	of(0, "link revoke ?", `select id from rowbell.link_key where name = 'shop'`, " shop is revoked.")
	of(1, "link revoke ?", `select id from rowbell.link_key where name = 'shop'`, "revoked")
	run(0, "link list --revoked --output yaml", "revoked_by: ")
	server(2, "link create ann --key "+good+" --role viewer", "rowbell link create works on the database itself, and not by a server")

	const issuer = "https://login.example.com"
	run(0, "member list", "There are no such members.")
	run(0, "member add 248289761001 --tenant acme --role publisher --issuer "+issuer+" --name Ann --email ann@example.com", "Ann is publisher in tenant acme. Take it back by: rowbell member remove ")
	run(0, "member add 1 --role admin --json --issuer "+issuer, `"subject": "1"`)
	run(2, "member add 2 --role admin", "a member needs the issuer of their tokens, as ROWBELL_OIDC_ISSUER has it")
	run(0, "member list", "ann@example.com")
	run(0, "member list --tenant all --json", `"subject": "1"`)
	of(0, "member remove ?", `select id from rowbell.member where subject = '248289761001'`, "Ann is no member any more in tenant acme.")
	of(1, "member remove ?", `select '01M8ACT0GY5N3C8Q7V2T4B9D6E'`, "01M8ACT0GY5N3C8Q7V2T4B9D6E")

	run(0, "tenant list", "acme  ", "globex  ")
	run(0, "tenant list --json", `"destinations": 0`, `"tenant_id": ""`)
	server(2, "tenant delete acme --yes", "rowbell tenant delete works on the database itself, and not by a server: name the database by ROWBELL_SOURCE_URL or --source-url")
	for _, line := range []string{"check", "erase row orders 1 --yes", "secret status", "migrate"} {
		server(2, line, "works on the database itself, and not by a server")
	}

	run(0, "audit list --object workflow:large-order", "large-order@3", "sql")
	run(0, "audit list --tenant none --action workflow --text Ours", "ours@1")
	run(0, "audit list --tenant acme --object workflow --since 1h --json", `"object_id": "large-order"`, `"line": "`)
	run(0, "audit list --object workflow --csv", "large-order@1")
	server(0, "audit list --action key.create --csv", `"{""name"": ""dashboard"", `)
	first := run(0, "audit list --object workflow:large-order --limit 2", "large-order@2", "There is more: --after ")
	_, after, _ := strings.Cut(strings.TrimSpace(first.stderr), "--after ")
	server(0, "audit list --object workflow:large-order --limit 2 --after "+after, "large-order@1")
	server(1, "audit list --after nonsense", "not a cursor of this list")
	run(0, "audit list --actor nobody", "Nothing of that kind was done.")
	run(0, "audit show large-order@2", "Larger order")
	run(1, "audit show nothing", `there is no entry "nothing" in the audit log; rowbell audit list has their ids`)
	server(0, "audit list --action key.create --limit 1000", "key:", "api")
	id := pgtest.One[string](t, w.served, `select id from rowbell.audit_log where action = 'key.create' and tenant_id = 'acme'`)
	server(0, "audit show "+id, "via            api", "request        01", `detail         {"name": "dashboard", `)

	for _, line := range []string{"key revoke", "link revoke", "member remove", "audit list --tenant", "audit list --tenant=g"} {
		args := append([]string{completeWord}, strings.Fields(line)...)
		if !strings.Contains(line, "=") {
			args = append(args, "")
		}
		w.same(t, 0, args)
	}
	if r := rowbell(t, w.byServer, completeWord, "audit", "list", "--tenant", "g"); !strings.Contains(r.stdout, "globex") {
		t.Errorf("tenants that begin with g are\n%s", r.stdout)
	}

	// What there is goes by who asks.
	made := rowbell(t, w.byServer, "key", "create", "--tenant", "acme", "--role", "admin", "--name", "acme's")
	wants(t, made, 0)
	acme := []string{w.byServer[0], "ROWBELL_KEY=" + strings.TrimSpace(made.stdout), "TZ=UTC"}
	theirs := func(code int, line string, texts ...string) result {
		t.Helper()
		r := rowbell(t, acme, strings.Fields(line)...)
		wants(t, r, code, texts...)
		return r
	}
	if r := theirs(0, "key list", "acme's"); strings.Contains(r.stdout, "first key") {
		t.Errorf("a tenant's key lists\n%s", r.stdout)
	}
	theirs(0, "key create --role viewer --name another", "rbk_", "For tenant acme, viewer")
	theirs(1, "tenant list", "which tenants there are concerns all of them")
	theirs(0, "audit list --object workflow:other", "Nothing of that kind was done.")
	theirs(0, "pause --all", "Paused: tenant acme, until")
	server(0, "pause --kind webhook", "Paused: kind webhook")
	theirs(1, "resume --all", "Resumed: tenant acme", "an operator has paused this for everybody", "Ask an operator to end it")
}
