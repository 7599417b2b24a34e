package app_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// A key is changed while webhooks are signed: first the workers learn the new one, then it
// comes first, then the old one is taken away. Nothing fails in between, and no secret and
// no key stands in what anybody is told.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	db.Exec(t, shop)
	h := newHooks(t)
	const older, newer = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	keys := func(raw string) func(*app.Config) {
		return func(c *app.Config) { delivers(c); c.SecretKey = app.Secret(raw) }
	}
	var o *app.Operator
	status := func(raw string) app.KeyStatus {
		t.Helper()
		o = operator(t, db, keys(raw))
		k, err := o.SecretStatus(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(k)
		if err != nil || strings.Contains(string(text), "0123456789") || strings.Contains(string(text), "whsec") {
			t.Errorf("the status is %s, %v", text, err)
		}
		return k
	}
	rows := 0
	order := func() {
		t.Helper()
		rows++
		db.Exec(t, `insert into orders (tenant_id) values ('acme')`)
		pgtest.Eventually(t, pgtest.Patience, "the webhook", func() bool { n, _ := h.count(); return n == rows })
	}
	w := startWorker(t, db, keys(older))
	w.holds(t)
	defineHook(t, db, "hook", h.URL+"/in", "")
	db.Exec(t, `insert into rowbell.secret (tenant_id, name, plain) select 'acme', 'planted-' || n, 'planted-secret-' || n from generate_series(1, 250) n`)
	captured(t, db)
	pgtest.Eventually(t, pgtest.Patience, "all to be sealed", func() bool {
		return pgtest.One[bool](t, db, `select bool_and(plain is null) and count(*) = 251 from rowbell.secret`)
	})
	order()
	if k := status(older); k.Older() != 0 || k.Plain != 0 || len(k.Keys) != 1 || k.Keys[0].Secrets != 251 {
		t.Errorf("at first: %+v", k)
	}
	db.Exec(t, `update rowbell.secret set sealed = '\x00' where name = 'planted-250'`) // damaged: it stays, and stops nothing
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, db, keys(older+newer))
	w.holds(t)
	order()
	if k := status(newer); k.Older() != 251 || len(k.Keys) != 2 || k.Keys[1].Use != "unknown" {
		t.Errorf("with the new key alone: %+v", k)
	}
	// The new key comes first: one that the worker does not know of yet can open them all.
	second := startWorker(t, db, keys(newer+older))
	pgtest.Eventually(t, pgtest.Patience, "all to be sealed anew", func() bool {
		return pgtest.One[int64](t, db, `select count(distinct key_id) from rowbell.secret where name <> 'planted-250'`) == 1
	})
	order()
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	second.holds(t)
	// Where both orders were about, the last word is of who is left.
	status(newer + older)
	if _, err := o.RotateSecrets(t.Context(), func(int) {}); err != nil {
		t.Fatal(err)
	}
	k := status(newer + older)
	if k.Older() != 1 || k.Keys[0].Use != "seals" || k.Keys[0].Secrets != 250 || k.Keys[1].Use != "opens" || k.Keys[1].Secrets != 1 {
		t.Errorf("in the end: %+v", k)
	}
	db.Exec(t, `delete from rowbell.secret where name = 'planted-250'`)
	if err := second.stop(); err != nil {
		t.Fatal(err)
	}
	startWorker(t, db, keys(newer)).holds(t)
	order()
	if k := status(newer); k.Older() != 0 || len(k.Keys) != 1 {
		t.Errorf("with the new key alone, in the end: %+v", k)
	}
	if len(h.wrong) != 0 {
		t.Errorf("not verified: %q", h.wrong)
	}
	if n := pgtest.One[int64](t, db, `select count(*) from rowbell.secret where position(convert_to('planted', 'UTF8') in sealed) > 0`); n != 0 {
		t.Errorf("%d secrets stand in what is sealed", n)
	}
}
