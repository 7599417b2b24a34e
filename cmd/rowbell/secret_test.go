package main

import (
	"bytes"
	"encoding/base64"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/secret"
)

// What the manual shows of changing a key is what the command prints, before and after.
func TestSecretManual(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)\\$ rowbell secret status\n(.*?)```").FindStringSubmatch(string(page))
	if shown == nil {
		t.Fatal("the manual has no rowbell secret status")
	}
	db, _ := shop(t)
	raw := map[string][]byte{"old": bytes.Repeat([]byte{7}, secret.KeySize), "new": bytes.Repeat([]byte{9}, secret.KeySize)}
	env := []string{"ROWBELL_SOURCE_URL=" + db.URL, "ROWBELL_SECRET_KEY=" + base64.StdEncoding.EncodeToString(raw["new"]) + "," + base64.StdEncoding.EncodeToString(raw["old"])}
	old, err := secret.NewKey(raw["old"])
	if err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `insert into rowbell.secret (tenant_id, name, plain) select 'acme', 'planted-' || n, 'planted-' || n from generate_series(1, 251) n`)
	for _, name := range []string{"planted-1", "planted-250"} {
		db.Exec(t, `update rowbell.secret set plain = null, sealed = $2, key_id = $3, sealed_at = now() where name = $1`, name, old.Seal("planted-secret", "acme", name), old.ID())
	}
	wants(t, rowbell(t, env, "secret", "status"), 0, "seals  0", "opens  2", "2 secrets sealed with other keys than the present one: keep those keys", "249 secrets not sealed yet")
	wants(t, rowbell(t, env[:1], "secret", "status"), 0, "unknown  2", "There is no ROWBELL_SECRET_KEY here")
	wants(t, rowbell(t, env[:1], "secret", "rotate"), 1, "there is no ROWBELL_SECRET_KEY here; give the new key, a comma, and the old one")
	wants(t, rowbell(t, env, "secret", "rotate"), 0, "2 secrets sealed anew", "seals  2")
	wants(t, rowbell(t, env, "secret", "rotate"), 0, "0 secrets sealed anew")
	db.Exec(t, `update rowbell.secret set plain = null, sealed = 'x', key_id = (select key_id from rowbell.secret where name = 'planted-1'), sealed_at = now() where plain is not null`)
	r := rowbell(t, env, "secret", "status")
	masked := func(s string) string {
		return regexp.MustCompile(`(?m)^[0-9a-f]{16}`).ReplaceAllString(strings.TrimSpace(s), strings.Repeat("0", 16))
	}
	if got := masked(r.stdout); got != masked(shown[1]) {
		t.Errorf("rowbell secret status gives\n%s\nand the manual shows\n%s", got, shown[1])
	}
	if strings.Contains(r.stdout+r.stderr, "planted") {
		t.Errorf("a secret is in %s%s", r.stdout, r.stderr)
	}
}
