package main

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
)

// letIn is who shows a key or a link to the API of this database.
func letIn(t *testing.T, db *pgtest.Database, text string) (*access.Principal, error) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+text)
	return access.New(access.Config{Instance: "shop"}, store.OpenSource(pool)).Authenticate(t.Context(), r)
}

func TestKeyCommands(t *testing.T) {
	t.Parallel()
	db, _ := shop(t)
	env := []string{"ROWBELL_SOURCE_URL=" + db.URL, "ROWBELL_INSTANCE=shop"}
	wants(t, rowbell(t, env, "key", "list"), 0, "There are no such keys. Make one: rowbell key create --role admin")
	r := rowbell(t, env, "key", "create", "--tenant", "acme", "--role", "viewer,operator", "--right", "redacted.read", "--expires", "90d", "--name", "dashboard", "--actor", "ann")
	wants(t, r, 0, "rbk_")
	if !regexp.MustCompile(`^rbk_\w{26}_\w{33}\n$`).MatchString(r.stdout) || !strings.Contains(r.stderr, "It is shown this once. For tenant acme, viewer,operator,redacted.read; revoke it by: rowbell key revoke 0") {
		t.Errorf("it prints %s and %s", r.stdout, r.stderr)
	}
	key := strings.TrimSpace(r.stdout)
	p, err := letIn(t, db, key)
	if err != nil || p.Tenant != "acme" || !p.Can(access.DeliveryWrite) || !p.Can(access.RedactedRead) {
		t.Errorf("with it one is %+v (%v)", p, err)
	}
	r = rowbell(t, env, "key", "create", "--role", "admin", "--json")
	var made struct {
		Key      string  `json:"key"`
		ID       string  `json:"id"`
		TenantID *string `json:"tenant_id"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &made); err != nil || !strings.Contains(made.Key, made.ID) || made.TenantID != nil || strings.Contains(strings.ToLower(r.stdout), "hash") {
		t.Errorf("%v: it prints %s", err, r.stdout)
	}
	wants(t, rowbell(t, env, "key", "list"), 0, "acme    viewer,operator,redacted.read  active  20", "all     admin ", "never", "ann   dashboard")
	wants(t, rowbell(t, env, "key", "list", "--tenant", "all", "--json"), 0, `"tenant_id": null`, made.ID)
	wants(t, rowbell(t, env, "key", "revoke", key, made.ID, "--actor", "bea"), 0, "dashboard is revoked.", made.ID+" is revoked.")
	wants(t, rowbell(t, env, "key", "list"), 0, "There are no such keys")
	wants(t, rowbell(t, env, "key", "list", "--revoked"), 0, "revoked  20")
	wants(t, rowbell(t, env, "key", "revoke", made.ID), 1, "was revoked already")
	wants(t, rowbell(t, env, "key", "revoke", key+"X"), 1, "was revoked already")
	if _, err := letIn(t, db, key); err == nil || !strings.Contains(err.Error(), "was revoked") {
		t.Errorf("with a revoked key: %v", err)
	}
	for want, args := range map[string][]string{
		"a key needs a role or a right":                                           {},
		`there is no role "veiwer"; did you mean "viewer"?`:                       {"--role", "veiwer"},
		`there is no right "secret.show"`:                                         {"--right", "secret.show"},
		`--expires "soon" is no time. Write 90d, 12h`:                             {"--role", "viewer", "--expires", "soon"},
		"it would have expired already":                                           {"--role", "viewer", "--expires", "2020-01-31"},
		"a tenant's id has 1 to 200 characters":                                   {"--role", "viewer", "--tenant", ""},
		"the name has more than 200 characters, or control characters":            {"--role", "viewer", "--name", "a\tb"},
		"--expires \"-\" is no time. Write 90d, 12h, 2027-01-31 or 2027-01-31T18": {"--role", "viewer", "--expires", "-"},
	} {
		wants(t, rowbell(t, env, append([]string{"key", "create"}, args...)...), 2, want, "See rowbell key create --help")
	}
}

func TestLinkCommands(t *testing.T) {
	t.Parallel()
	db, _ := shop(t)
	env := []string{"ROWBELL_SOURCE_URL=" + db.URL, "ROWBELL_INSTANCE=shop"}
	wants(t, rowbell(t, env, "link", "list"), 0, "There are no such link keys. Add one: rowbell link add-key --role viewer")
	r := rowbell(t, env, "link", "add-key", "--role", "author,viewer", "--name", "shop", "--actor", "ann")
	wants(t, r, 0, "-----BEGIN PRIVATE KEY-----")
	kid := regexp.MustCompile(`kid (rbl_\w{26}), and in aud: shop\.`).FindStringSubmatch(r.stderr)
	if kid == nil {
		t.Fatalf("it says %s", r.stderr)
	}
	private := filepath.Join(t.TempDir(), "link.pem")
	if err := os.WriteFile(private, []byte(r.stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	wants(t, rowbell(t, env, "link", "list"), 0, "all     author,viewer  active  -        ann  shop")
	r = rowbell(t, env, "link", "create", "ann", "--key", private, "--tenant", "acme", "--role", "author", "--name", "Ann Archer")
	wants(t, r, 0, "eyJ")
	p, err := letIn(t, db, strings.TrimSpace(r.stdout))
	if err != nil || p.Kind != access.KindLink || p.Tenant != "acme" || p.Subject != "ann" || p.Name != "Ann Archer" || !p.Can(access.WorkflowWrite) {
		t.Errorf("with it one is %+v (%v)", p, err)
	}
	wants(t, rowbell(t, env, "link", "create", "ann", "--key", private, "--role", "author"), 1, "it has no tenant; an application without tenants writes \"*\" there")
	wants(t, rowbell(t, env, "link", "create", "ann", "--key", private, "--tenant", "acme", "--role", "admin"), 1, "its key may not give the role admin")
	wants(t, rowbell(t, env, "link", "create", "ann", "--key", private, "--tenant", "acme"), 2, "a link gives a role: --role viewer")
	wants(t, rowbell(t, env, "link", "create", "ann", "--role", "viewer"), 2, "give the private key: --key link.pem")
	wants(t, rowbell(t, env, "link", "create", "ann", "--key", private, "--role", "viewer", "--lives", "1h"), 2, `--lives "1h" is no time from 1s to 15m`)
	wants(t, rowbell(t, env, "link", "add-key"), 2, "a link key needs the roles that its links may give")
	wants(t, rowbell(t, env, "link", "add-key", "--role", "viewer", private), 2, "this is the private key, which stays with the application")
	wants(t, rowbell(t, env, "link", "add-key", "--role", "viewer", "/nowhere"), 1, "/nowhere")
	wants(t, rowbell(t, env, "link", "revoke", kid[1]), 0, "shop is revoked.")
	wants(t, rowbell(t, env, "link", "create", "ann", "--key", private, "--tenant", "acme", "--role", "author"), 1, "its public half is no link key that counts here")
	wants(t, rowbell(t, env, "link", "revoke", kid[1]), 1, "was revoked already")
}

func TestMemberCommands(t *testing.T) {
	t.Parallel()
	db, _ := shop(t)
	env := []string{"ROWBELL_SOURCE_URL=" + db.URL}
	provider := append([]string{"ROWBELL_OIDC_ISSUER=https://login.example.com", "ROWBELL_OIDC_AUDIENCE=rowbell"}, env...)
	wants(t, rowbell(t, env, "member", "list"), 0, "There are no such members.")
	wants(t, rowbell(t, env, "member", "add", "ann", "--role", "admin"), 2, "a member needs the issuer of their tokens, as ROWBELL_OIDC_ISSUER has it")
	wants(t, rowbell(t, provider, "member", "add", "ann"), 2, "a member needs a role or a right")
	wants(t, rowbell(t, provider, "member", "add", "ann", "--role", "admin", "--name", "Ann Archer", "--actor", "bea"), 0, "Ann Archer is admin in tenant all. Take it back by: rowbell member remove 0")
	wants(t, rowbell(t, provider, "member", "add", "ann", "--role", "publisher", "--tenant", "acme", "--json"), 0, `"tenant_id": "acme"`, `"publisher"`)
	wants(t, rowbell(t, env, "member", "list"), 0, "all     ann      admin      bea", "acme    ann      publisher", "https://login.example.com")
	wants(t, rowbell(t, env, "member", "list", "--tenant", "acme", "--json"), 0, `"subject": "ann"`)
	id := pgtest.One[string](t, db, `select id from rowbell.member where tenant_id = 'acme'`)
	wants(t, rowbell(t, env, "member", "remove", id), 0, "ann is no member any more in tenant acme.")
	wants(t, rowbell(t, env, "member", "remove", id), 1, "there is no member "+id)
}
