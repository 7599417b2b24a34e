package store_test

import (
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
	"github.com/rowbell/rowbell/pkg/store"
)

// A secret can be written again by SQL when it was sealed already, as docs/actions.md has
// it, and is sealed anew.
func TestSecretIsWrittenAgain(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	s := store.OpenSource(db.Pool(t))
	sealed := func(want string) {
		t.Helper()
		seal := func(secret store.StoredSecret) []byte { return []byte("sealed " + *secret.Plain) }
		if n, err := s.SealSecrets(t.Context(), 10, "key", seal); err != nil || n != 1 {
			t.Fatalf("%d secrets were sealed, %v", n, err)
		}
		if got := pgtest.One[string](t, db, `select convert_from(sealed, 'UTF8') || ' ' || key_id from rowbell.secret where plain is null and sealed_at is not null`); got != "sealed "+want+" key" {
			t.Errorf("it is %q", got)
		}
	}
	db.Exec(t, `insert into rowbell.secret (tenant_id, name, plain) values ('acme', 'crm', 'one')`)
	sealed("one")
	db.Exec(t, `update rowbell.secret set plain = 'two' where tenant_id = 'acme' and name = 'crm'`)
	if got := pgtest.One[bool](t, db, `select plain = 'two' and sealed is null and key_id is null and sealed_at is null from rowbell.secret`); !got {
		t.Error("what was sealed has not gone")
	}
	sealed("two")
	db.Exec(t, `update rowbell.secret set plain = 'three', sealed = null, key_id = null, sealed_at = null`)
	sealed("three")
}
